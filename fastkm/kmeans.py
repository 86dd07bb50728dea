"""The k-means estimator, with scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from time import perf_counter
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._control import control_of
from ._draws import Drawing
from ._estimator import STACKLEVEL_OF_USER, CentroidEstimator, fit_context
from ._restarts import run_restarts
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

# scikit-learn's number of runs under n_init="auto" from random rows or a callable.
_N_INIT_OF_CHEAP_SEEDS = 10
# Labels among which all clusters are mostly found.
_ROWS_LOOKED_THROUGH = 2**14
# Bytes that a run holds at once: two label arrays; where it starts, the centroids of two rounds and
# their sums in float64, and what the core packs, at least as much.
_LEAST_ROOM = {"of_row": 8, "of_centroid_value": 40}


class KMeans(CentroidEstimator):
    """Cluster rows by k-means, exactly and reproducibly.

    Takes the place of ``sklearn.cluster.KMeans``: the same parameters, attributes, methods and
    messages.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters k.
    init : {"k-means++", "random"}, callable or array-like of shape (k, d), default="k-means++"
        Where each run starts. "k-means++" chooses rows by greedy k-means++, "random" different rows
        at random, both in proportion to the weights. An array gives the centroids. A callable is
        called as ``init(X, n_clusters, random_state=random_state)`` and returns them; the X it gets
        is the array given to `fit`, read-only. Neither is centred, as scikit-learn's are.
    n_init : "auto" or int, default="auto"
        Number of runs, of which the lowest inertia is kept. "auto" makes 10 for "random" and
        callables and 1 for "k-means++" and arrays.
    max_iter : int, default=300
        Most rounds of one run.
    tol : float, default=1e-4
        A run stops when the squared shifts of the centroids in a round sum to no more than `tol`
        times the mean variance of the features; 0 stops by unchanged labels only.
    verbose : int, default=0
        Whether to print each round's inertia and why a run stopped.
    random_state : int, RandomState instance or None, default=None
        Source of the draws for seeding. They come in scikit-learn's order: the same seed picks the
        same rows for float64 input.
    copy_x : bool, default=True
        Taken for scikit-learn's sake. X is not written to, whichever it is.
    algorithm : {"auto", "lloyd", "elkan"}, default="auto"
        How distances are saved, not what comes out: all give the same bits. "lloyd" computes every
        distance. "elkan" leaves out, after the first round, those that lower bounds exclude; the
        bounds are those of `fastkm/kernels/README.md`, not Elkan's. "auto" does so where it is
        likely to pay: many clusters, and either few features or variance in few directions.
    n_threads : int or None, default=None
        Number of threads; None takes as many as OpenMP's settings, the scheduler and the container
        allow. Never more than the CPUs that the process may run on are started. The result does not
        depend on it.
    callback : callable or None, default=None
        Called after each round with a `fastkm.callbacks.Round`: iteration, squared shift, number of
        labels changed, an upper bound on the inertia, seconds. If it returns True the run at hand
        ends with that round and no other starts; the best of the runs so far is kept, with labels
        and inertia as ever. It changes nothing else. An exception ends the fit. See
        `fastkm.callbacks`, which has a time budget and a history.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centroids: float32 if X is float32, else float64.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the nearest centroid of each row of X: what ``predict(X)`` returns.
    inertia_ : float
        Weighted sum of the squared distances of the rows to their centroids, in the unit of X
        squared, computed in float64.
    n_iter_ : int
        Rounds of the run that was kept.
    n_features_in_ : int
        Number of features of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names that are all strings.

    Notes
    -----
    Labels are the argmin of the squared distances evaluated in float64, ties to the lowest index,
    whatever the dtype, the number of threads and the instruction set. Integers, float16 and
    float32 are read where they stand; a fit takes O(n) memory beside X, and O(n d k) time a round.
    Rows that take at most 1 MiB as float32 are kept in that form too, those of many features as
    bytes beside it, and several runs on them go side by side, a thread each. Larger ones by
    k-means++ are seeded together where that reads less: 12 bytes a row and run, 12 MiB or those of
    a run a thread at most.
    The bounds of "auto" take at most 0.3 of what X takes as float32, from 127 features on,
    4 + d / 8 bytes a row (6 more while they are made) with fewer than 64, or 6 bytes a row.
    Lists, data frames and unusual dtypes are converted once, as scikit-learn does.

    References
    ----------
    Lloyd (1982), "Least squares quantization in PCM", IEEE Transactions on Information Theory;
    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkm import KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.labels_
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> kmeans.predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    >>> kmeans.cluster_centers_
    array([[10.,  2.],
           [ 1.,  2.]])
    """

    _sklearn_name = "KMeans"
    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 (scikit-learn's machinery)
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"auto", "lloyd", "elkan"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "callback": [callable, None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: Literal["auto", "lloyd", "elkan"] = "auto",
        n_threads: int | None = None,
        callback: Callable[[Any], bool | None] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_threads = n_threads
        self.callback = callback

    @fit_context
    def fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Find the clusters of X.

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
        self : KMeans
            Fitted.

        Raises
        ------
        ValueError
            If X, the weights or a parameter are not what they must be, before any work.
        MemoryError
            If memory runs out; before any work where already the centroids find no room.

        Warns
        -----
        ConvergenceWarning
            If fewer clusters than `n_clusters` have rows: X has fewer distinct rows.
        RuntimeWarning
            If several runs from one array are asked for, or "elkan" for one cluster.
        """
        begun = perf_counter()
        points = check_points(X, self)
        check_n_samples(points.shape[0], self.n_clusters)
        check_room(points.shape, self.n_clusters, **_LEAST_ROOM)
        weights = check_weights(sample_weight, points)
        init = self._check_init(points)
        n_init = self._resolve_n_init(_N_INIT_OF_CHEAP_SEEDS)
        self._warn_if_elkan_for_one()

        problem = make_problem(points, weights, n_threads=effective_n_threads(self.n_threads))
        check_is_finite(problem.is_finite, points, self)
        dtype = np.float32 if points.dtype == np.float32 else np.float64
        tasks = self._tasks((X, y, sample_weight), n_init, self.max_iter, "round")
        control = control_of(problem, dtype, self.callback, tasks, begun)
        with Drawing(self.random_state, stays_inside=isinstance(init, str)) as random_state:
            best = run_restarts(
                problem,
                make_seed(init, points, problem, self.n_clusters, random_state),
                self.n_clusters,
                n_init,
                max_iter=self.max_iter,
                tol=self.tol * problem.mean_variance(),
                verbose=bool(self.verbose),
                centroid_dtype=dtype,
                algorithm=self.algorithm,
                control=control,
            )
        self._warn_if_fewer_clusters(best.labels)

        self.__dict__.update(best.attributes())
        control.end()
        return self

    def _warn_if_elkan_for_one(self) -> None:
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=STACKLEVEL_OF_USER,
            )

    def _warn_if_fewer_clusters(self, labels: npt.NDArray[np.int32]) -> None:
        is_used = np.zeros(self.n_clusters, dtype=bool)
        for start in range(0, len(labels), _ROWS_LOOKED_THROUGH):  # mostly the first show all
            is_used[labels[start : start + _ROWS_LOOKED_THROUGH]] = True
            if is_used.all():
                return
        warnings.warn(
            f"Number of distinct clusters ({np.count_nonzero(is_used)}) found smaller than "
            f"n_clusters ({self.n_clusters}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
            stacklevel=STACKLEVEL_OF_USER,
        )


@validate_params(  # type: ignore[untyped-decorator]
    {
        "X": ["array-like", "sparse matrix"],
        "sample_weight": ["array-like", None],
        "return_n_iter": [bool],
    },
    prefer_skip_nested_validation=False,
)
def k_means(
    X: npt.ArrayLike,
    n_clusters: int,
    *,
    sample_weight: npt.ArrayLike | None = None,
    init: Any = "k-means++",
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    verbose: int = False,
    tol: float = 1e-4,
    random_state: int | np.random.RandomState | None = None,
    copy_x: bool = True,
    algorithm: Literal["auto", "lloyd", "elkan"] = "auto",
    return_n_iter: bool = False,
    n_threads: int | None = None,
    callback: Callable[[Any], bool | None] | None = None,
) -> tuple[Any, ...]:
    """Cluster rows by k-means: `KMeans` as a function.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The rows to cluster.
    n_clusters : int
        Number of clusters.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row; None weighs each 1.
    init, n_init, max_iter, verbose, tol, random_state, copy_x, algorithm, n_threads, callback
        As `KMeans` takes them.
    return_n_iter : bool, default=False
        Whether to return the number of rounds too.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
        ``cluster_centers_``.
    label : ndarray of shape (n_samples,), int32
        ``labels_``.
    inertia : float
        ``inertia_``, in the unit of X squared.
    best_n_iter : int
        ``n_iter_``; only with `return_n_iter`.

    Raises
    ------
    ValueError, TypeError
        As `KMeans.fit` raises them.

    Examples
    --------
    >>> from fastkm import k_means
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> centroid, label, inertia = k_means(X, n_clusters=2, random_state=0)
    >>> label
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> inertia
    16.0
    """
    kmeans = KMeans(
        n_clusters=n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
        n_threads=n_threads,
        callback=callback,
    ).fit(X, sample_weight=sample_weight)
    results = (kmeans.cluster_centers_, kmeans.labels_, kmeans.inertia_)
    return (*results, kmeans.n_iter_) if return_n_iter else results
