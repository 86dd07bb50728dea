"""The mini-batch k-means estimator, with scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from time import perf_counter
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from . import _batches
from ._control import control_of
from ._draws import Undoable
from ._estimator import STACKLEVEL_OF_USER, CentroidEstimator, fit_context
from ._problem import Problem
from ._sparse_problem import make_problem
from ._threads import effective_n_threads
from ._validation import (
    check_is_finite,
    check_n_samples,
    check_points,
    check_room,
    check_weights,
)
from .seeding import make_seed

# scikit-learn's number of seedings under n_init="auto" from random rows or a callable, and of rows
# to seed from: so many batches, or so many rows a cluster where those would be too few.
_N_INIT_OF_CHEAP_SEEDS = 3
_BATCHES_TO_SEED_FROM = 3
_ROWS_PER_CLUSTER_TO_SEED_FROM = 3
# Bytes that learning holds at once: the seeds, the centroids of two steps, and what the core packs
# of them, at least as much as one; and labelling, of a row its label and its distance.
_LEAST_ROOM_OF_STEPS = {"of_row": 0, "of_centroid_value": 32}
_LEAST_ROOM_OF_LABELS = {"of_row": 12, "of_centroid_value": 16}


class MiniBatchKMeans(CentroidEstimator):
    """Cluster rows by mini-batch k-means: from a few rows at a time, reproducibly.

    Takes the place of ``sklearn.cluster.MiniBatchKMeans``: the same parameters, attributes, methods
    and messages, and the same random draws.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    init : {"k-means++", "random"}, callable or array-like of shape (k, d), default="k-means++"
        Where learning starts. "k-means++" chooses by greedy k-means++ among `init_size` rows drawn
        at random, "random" different ones of them, both in proportion to the weights. An array
        gives the centroids. A callable is called as ``init(X, n_clusters,
        random_state=random_state)`` with the rows drawn, read-only, and returns them.
    max_iter : int, default=100
        Most passes: learning ends once as many rows were drawn as X has times `max_iter`.
    batch_size : int, default=1024
        Rows of a batch, drawn with replacement in proportion to their weights; at most all.
    verbose : int, default=0
        Whether to print each step's inertia and why learning stopped.
    compute_labels : bool, default=True
        Whether to label all rows and compute their inertia in the end.
    random_state : int, RandomState instance or None, default=None
        Source of the draws. They come in scikit-learn's order: the same seed draws the same
        batches, and for float64 input the same rows to start from.
    tol : float, default=0.0
        Learning stops when the squared shifts of the centroids in a step sum to no more than `tol`
        times the mean variance of the features; 0 does not look at them.
    max_no_improvement : int or None, default=10
        Learning stops after so many steps in a row that do not lower the smoothed inertia; None
        goes on.
    init_size : int or None, default=None
        Number of rows to seed from. None takes three batches, or ``3 * n_clusters`` rows where that
        is less than `n_clusters`.
    n_init : "auto" or int, default="auto"
        Number of seedings, of which the one of the lowest inertia on `init_size` other rows is
        learnt from. "auto" makes 3 for "random" and callables and 1 for "k-means++" and arrays.
    reassignment_ratio : float, default=0.01
        Centroids that have learnt from less than this share of what the greatest has are put on
        rows of the batch at hand, from time to time and whenever one has learnt nothing; 0 never.
    n_threads : int or None, default=None
        Number of threads; None takes as many as OpenMP's settings, the scheduler and the container
        allow. Never more than the CPUs that the process may run on are started. The result does not
        depend on it.
    callback : callable or None, default=None
        Called after each step of `fit` with a `fastkm.callbacks.Step`: iteration, squared shift,
        the batch's inertia, seconds. If it returns True learning ends with that step; all else is
        as ever. An exception ends the fit. Not called by `partial_fit`, where the caller has the
        loop. See `fastkm.callbacks`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centroids: float32 if all X so far were float32, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the nearest centroid of each row of the last X: what ``predict(X)`` returns. Only
        with `compute_labels`.
    inertia_ : float
        Weighted sum of the squared distances of the rows to their centroids, in the unit of X
        squared, computed in float64. After `fit` without `compute_labels`, an estimate: the
        smoothed mean of the batches' rows times the sum of the weights.
    n_iter_ : int
        Passes over X that the batches of `fit` add up to, rounded up.
    n_steps_ : int
        Batches learnt from.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names that are all strings.

    Notes
    -----
    A step takes O(batch_size d k) time, the labels in the end O(n d k). X is read in place: beside
    it a fit holds O(n) numbers, the batch and the rows to seed from.

    CSR rows stay sparse, in the batch too: d is then the number of a row's entries, and a step
    takes another O(n_features k). The centroids have the bits that the same rows give when they are
    dense, the inertia differs by rounding; `partial_fit` takes dense and sparse batches in turn.

    Where more than half a batch would be reassigned, the centroids of the lowest weight are, ties
    to the lowest index; scikit-learn leaves ties to NumPy's sort.

    References
    ----------
    Sculley (2010), "Web-scale k-means clustering", WWW.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkm import MiniBatchKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> kmeans = MiniBatchKMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.predict([[0, 0], [12, 3]]) == kmeans.labels_[[0, 3]]
    array([ True,  True])

    Batch by batch, for rows that arrive one after the other:

    >>> kmeans = MiniBatchKMeans(n_clusters=2, init=[[0, 0], [9, 9]], n_init=1)
    >>> kmeans = kmeans.partial_fit(X[:4]).partial_fit(X[4:])
    >>> kmeans.cluster_centers_
    array([[ 1.,  2.],
           [10.,  2.]])
    """

    _sklearn_name = "MiniBatchKMeans"
    _sklearn_state = CentroidEstimator._sklearn_state | {
        "_batch_size",
        "_counts",
        "_init_size",
        "_n_since_last_reassign",
        "_random_state",
    }
    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 (scikit-learn's machinery)
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "compute_labels": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callback": [callable, None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | Literal["auto"] = "auto",
        reassignment_ratio: float = 0.01,
        n_threads: int | None = None,
        callback: Callable[[Any], bool | None] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.n_threads = n_threads
        self.callback = callback

    @fit_context
    def fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Find the clusters of X from batches drawn at random.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows to cluster; read in place and left as it is.
        y : ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, none negative and not all zero; None weighs each 1. Seeding uses
            the weights unless `init` is an array or a callable.

        Returns
        -------
        self : MiniBatchKMeans
            Fitted.

        Raises
        ------
        ValueError
            If X, the weights or a parameter are not what they must be, before any work; or if all
            of the rows drawn to seed from weigh nothing.
        MemoryError
            If memory runs out; before any work where already the centroids find no room.

        Warns
        -----
        RuntimeWarning
            If several seedings from one array are asked for, or `init_size` is below `n_clusters`.
        """
        begun = perf_counter()
        points = check_points(X, self)
        n = points.shape[0]
        check_n_samples(n, self.n_clusters)
        self._check_room(points.shape)
        n_init = self._resolve_n_init(_N_INIT_OF_CHEAP_SEEDS)
        self._resolve_sizes(n)
        weights = check_weights(sample_weight, points)
        init = self._check_init(points)
        random_state = check_random_state(self.random_state)

        problem = make_problem(points, weights, n_threads=effective_n_threads(self.n_threads))
        check_is_finite(problem.is_finite, points, self)
        rules = self._rules(
            n_steps=self.max_iter * n // self._batch_size,
            tol=self.tol * problem.mean_variance(),
        )
        dtype = np.float32 if points.dtype == np.float32 else np.float64
        tasks = self._tasks((X, y, sample_weight), 1, rules.n_steps, "step")
        control = control_of(problem, dtype, self.callback, tasks, begun)
        seeds = self._best_seeds(problem, init, n_init, random_state)
        run = _batches.run(problem, seeds, rules, random_state, control)

        self.n_steps_ = run.n_steps
        self.n_iter_ = -(-run.n_steps * self._batch_size // n)
        self._keep(run.state, dtype)
        if self.compute_labels:
            self._label(problem)
        else:
            if hasattr(self, "labels_"):
                del self.labels_  # of an earlier fit
            total_weight = n if weights is None else float(weights.sum())
            self.inertia_ = run.mean_inertia * total_weight
        control.end()
        return self

    @fit_context
    def partial_fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from X as one batch.

        The first call seeds the centroids from X; after `fit`, learning goes on from there.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The batch; read in place and left as it is.
        y : ignored
            For scikit-learn's pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, none negative and not all zero; None weighs each 1.

        Returns
        -------
        self : MiniBatchKMeans
            Fitted.

        Raises
        ------
        ValueError
            As `fit` raises it; too few rows only at the first call.

        Warns
        -----
        RuntimeWarning
            As `fit` does, at the first call.
        """
        is_first = not hasattr(self, "cluster_centers_")
        points = check_points(X, self, reset=is_first)
        weights = check_weights(sample_weight, points)
        if is_first:
            check_n_samples(points.shape[0], self.n_clusters)
            self._check_room(points.shape)
            self._resolve_n_init(_N_INIT_OF_CHEAP_SEEDS)
            self._resolve_sizes(points.shape[0])
            init = self._check_init(points)
        if not hasattr(self, "_random_state"):
            self._random_state = check_random_state(self.random_state)

        problem = make_problem(points, weights, n_threads=effective_n_threads(self.n_threads))
        check_is_finite(problem.is_finite, points, self)
        is_single = points.dtype == np.float32
        if is_first:
            centroids = self._seeds(problem, init, self._random_state)
            state = _batches.State(centroids, np.zeros(self.n_clusters))
        else:
            is_single = is_single and self.cluster_centers_.dtype == np.float32
            centroids = np.ascontiguousarray(self.cluster_centers_, dtype=np.float64)
            state = _batches.State(centroids, self._counts, self._n_since_last_reassign)
        draws = None
        if _batches.is_reassignment_due(state, self._batch_size):
            draws = Undoable(self._random_state)
        problem.cover(centroids)
        try:
            _batches.Stepper(problem, len(centroids)).step(
                state, draws, self._rules(n_steps=1, tol=0.0)
            )
            self.n_steps_ = getattr(self, "n_steps_", 0) + 1
            self._keep(state, np.float32 if is_single else np.float64)
            if self.compute_labels:
                self._label(problem)
        except BaseException:  # of what is no attribute, `fit_context` knows nothing
            if draws is not None:
                draws.undo()
            raise
        return self

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator, fitted alike; see `KMeans.to_sklearn`."""
        theirs = super().to_sklearn()
        # Its steps take the weights learnt from in the dtype of the rows.
        theirs._counts = self._counts.astype(self.cluster_centers_.dtype)
        return theirs

    def _check_room(self, shape: tuple[int, int]) -> None:
        check_room(shape, self.n_clusters, **_LEAST_ROOM_OF_STEPS)
        if self.compute_labels:
            check_room(shape, self.n_clusters, **_LEAST_ROOM_OF_LABELS)

    def _resolve_sizes(self, n_samples: int) -> None:
        """Set the sizes of a batch and of the rows to seed from; called by `fit` itself."""
        self._batch_size = min(self.batch_size, n_samples)
        by_clusters = _ROWS_PER_CLUSTER_TO_SEED_FROM * self.n_clusters
        init_size = self.init_size
        if init_size is None:
            init_size = _BATCHES_TO_SEED_FROM * self._batch_size
            if init_size < self.n_clusters:
                init_size = by_clusters
        elif init_size < self.n_clusters:
            warnings.warn(
                f"init_size={init_size} should be larger than n_clusters={self.n_clusters}. "
                "Setting it to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=STACKLEVEL_OF_USER,
            )
            init_size = by_clusters
        self._init_size = min(init_size, n_samples)

    def _rules(self, *, n_steps: int, tol: float) -> _batches.Rules:
        return _batches.Rules(
            batch_size=self._batch_size,
            n_steps=n_steps,
            tol=tol,
            max_no_improvement=self.max_no_improvement,
            reassignment_ratio=self.reassignment_ratio,
            verbose=bool(self.verbose),
        )

    def _best_seeds(
        self, problem: Problem, init: Any, n_init: int, random_state: np.random.RandomState
    ) -> npt.NDArray[np.float64]:
        """Return the seeds of the lowest inertia on rows drawn for that."""
        # Drawn even where nothing depends on them: the draws that follow are scikit-learn's.
        indices = random_state.randint(0, problem.n, self._init_size)
        if n_init == 1 and not self.verbose:
            return self._seeds(problem, init, random_state)
        validation = problem.part(indices)
        best, best_inertia = None, np.inf
        for i in range(1, n_init + 1):
            if self.verbose:
                print(f"Init {i}/{n_init} with method {init}")
            seeds = self._seeds(problem, init, random_state)
            _, inertia = _batches.label(validation, seeds)
            if self.verbose:
                print(f"Inertia for init {i}/{n_init}: {inertia}")
            if best is None or inertia < best_inertia:
                best, best_inertia = seeds, inertia
        assert best is not None, "n_init is at least 1"
        return best

    def _seeds(
        self, problem: Problem, init: Any, random_state: np.random.RandomState
    ) -> npt.NDArray[np.float64]:
        part = problem
        if self._init_size < problem.n:
            part = problem.part(random_state.randint(0, problem.n, self._init_size))
            if isinstance(init, str) and part.sample_weight is not None:
                self._check_has_weight(part.sample_weight)
        return make_seed(init, part.X, part, self.n_clusters, random_state)(1)[0]

    def _check_has_weight(self, weights: npt.NDArray[np.float64]) -> None:
        if not weights.any():
            raise ValueError(
                f"The {len(weights)} rows drawn to seed from must not all have zero weight; pass "
                "a larger init_size, or leave out rows of zero weight."
            )

    def _keep(self, state: _batches.State, dtype: npt.DTypeLike) -> None:
        self.cluster_centers_ = state.centroids.astype(dtype, copy=False)
        self._n_features_out = len(self.cluster_centers_)
        self._counts = state.counts
        self._n_since_last_reassign = state.n_since_reassignment

    def _label(self, problem: Problem) -> None:
        centroids = self.cluster_centers_.astype(np.float64, copy=False)
        self.labels_, self.inertia_ = _batches.label(problem, centroids)
