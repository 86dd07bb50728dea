"""The silhouette of a clustering, in memory that grows with the rows and not with their pairs.

Rows are sorted by cluster, and clusters so that near ones are neighbours. A task is some hundred
rows of one cluster, or of a few small ones near each other; it meets all rows in coordinates whose
origin is its own mean. `kernels/README.md` says how near to float64 that comes.
"""

from __future__ import annotations

from numbers import Integral
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d

from fastkm import _core
from fastkm._problem import FIRST_RATE, SLICE_SECONDS, Problem
from fastkm._threads import effective_n_threads
from fastkm._validation import check_is_finite, check_points

from ._checks import check_same_length, refuse_estimator

FloatArray = npt.NDArray[np.float64]
Metric = Literal["euclidean", "sqeuclidean"]

_METRICS = ("euclidean", "sqeuclidean")
# Values of X, or distances to centroids, in float64 at once.
_BLOCK_VALUES = 2**18
# Clusters are put together up to so many rows: several panels, which the targets are packed for.
_GROUP_ROWS = 512
# Tasks in a call for each thread, so that unequal ones even out.
_TASKS_PER_THREAD = 4
# Rows whose origin is farther than this many times their mean distances are measured from another.
_LARGEST_REACH = 3.0
# Squares of what is 2^-30 of the data's reach still have all of float32's digits at twice that.
_HEADROOM = 30
_LARGEST_EXPONENT = 126
# Rows of each cluster that a sample keeps, if it can.
_LEAST_SAMPLED = 8


def silhouette_samples(
    X: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    metric: Metric = "euclidean",
    n_threads: int | None = None,
) -> FloatArray:
    """Return each row's silhouette: how much nearer it is to its own cluster than to the next.

    For a row with mean distance a to the other rows of its cluster, and b to the rows of the
    nearest other cluster, that is ``(b - a) / max(a, b)``.

    Parameters
    ----------
    X : array-like of shape (n, d)
        The rows, of any real dtype, in any memory order; never copied or written where it is an
        ndarray.
    labels : array-like of shape (n,)
        Cluster of each row: integers, strings or anything else that can be sorted. A label such as
        -1 for noise is a cluster like any other.
    metric : {"euclidean", "sqeuclidean"}, default="euclidean"
        Distance, or squared distance, which takes O(n k d) instead of O(n^2 d).
    n_threads : int, optional
        Threads; by default all that this process may use.

    Returns
    -------
    ndarray of shape (n,), float64
        Between -1 and 1; 0 for the only row of a cluster, and where a = b = 0.

    Raises
    ------
    ValueError
        If the lengths differ, X holds NaN or infinity, there are fewer than 2 clusters or as many
        as rows, or `metric` is unknown.
    TypeError
        If X is sparse, or an estimator is given in place of labels.

    See Also
    --------
    silhouette_score : Their mean, or an estimate of it from a sample.

    Notes
    -----
    Memory is O(n + k d), and some MB a thread. All rows meet all rows, but for "sqeuclidean", where
    the mean over a cluster's rows y of ``|x - y|^2`` is ``|x - m|^2`` plus their own mean squared
    distance to their mean m. Distances are float32 in coordinates centred on each cluster, sums of
    them float64; float64's values are met to some 1e-7, wherever the data lie and however tight the
    clusters are (``fastkm/kernels/README.md`` has the bound). Nothing depends on the number of
    threads; last bits may depend on the instruction set.

    References
    ----------
    P. J. Rousseeuw (1987), Silhouettes: a graphical aid to the interpretation and validation of
    cluster analysis, Journal of Computational and Applied Mathematics 20, 53-65, equation (2).

    Examples
    --------
    >>> from fastkm.evaluation import silhouette_samples
    >>> silhouette_samples([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1]).round(2).tolist()
    [0.8, 0.75, 0.43, 0.64]
    """
    clustering = _check(X, labels, metric, n_threads)
    return _samples(clustering, metric, np.arange(clustering.problem.n, dtype=np.int32))


def silhouette_score(
    X: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_threads: int | None = None,
) -> float:
    """Return the mean silhouette of all rows, or an estimate of it from some of them.

    Parameters
    ----------
    X, labels, metric, n_threads
        As of `silhouette_samples`.
    sample_size : int, optional
        Rows whose silhouettes are measured, each exactly: against all rows, not among themselves as
        in scikit-learn, whose sample thins out the clusters. At least one for each cluster.
    random_state : int, RandomState or None
        Of the sample.

    Returns
    -------
    float
        Between -1 and 1.

    Raises
    ------
    ValueError
        As `silhouette_samples`, or if `sample_size` is less than the number of clusters.
    TypeError
        If X is sparse, an estimator is given in place of labels, or `sample_size` is not an
        integer.

    Notes
    -----
    The sample is stratified: of each cluster rows are drawn without replacement, in proportion to
    its size, but at least 8, or all where it has fewer, or a fair share where the sample is too
    small for that. The estimate is the mean of the clusters' sampled means, weighted by the
    clusters' sizes. It is unbiased, and only differences within clusters make it vary. A sample
    takes O(sample_size n d).

    Examples
    --------
    >>> from fastkm.evaluation import silhouette_score
    >>> X, labels = [[0.0], [1.0], [4.0], [6.0]], ["a", "a", "b", "b"]
    >>> round(silhouette_score(X, labels), 3)
    0.654
    >>> round(silhouette_score(X, labels, metric="sqeuclidean"), 3)
    0.863
    """
    clustering = _check(X, labels, metric, n_threads)
    n, k = clustering.problem.n, len(clustering.sizes)
    if sample_size is not None and not isinstance(sample_size, Integral):
        raise TypeError(f"sample_size must be an integer; got {sample_size!r}.")
    if sample_size is not None and sample_size < k:
        raise ValueError(
            f"sample_size must be at least 1 for each of the {k} clusters; got {sample_size}."
        )
    if sample_size is None or sample_size >= n:
        samples = _samples(clustering, metric, np.arange(n, dtype=np.int32))
        return float(samples.mean())
    n_sampled = allocate(clustering.sizes, int(sample_size))
    rows = _draw(clustering.codes, n_sampled, check_random_state(random_state))
    weights = (clustering.sizes / n_sampled / n)[clustering.codes[rows]]
    return float(_samples(clustering, metric, rows) @ weights)


class _Clustering(NamedTuple):
    """Rows and the clusters they are in."""

    X: npt.NDArray[Any]
    problem: Problem
    codes: npt.NDArray[np.int32]  # (n,) of the clusters
    sizes: npt.NDArray[np.int64]  # (k,)


def _check(X: Any, labels: npt.ArrayLike, metric: str, n_threads: int | None) -> _Clustering:
    """Return the rows, described, and their clusters, numbered; or say what is wrong."""
    if metric not in _METRICS:
        raise ValueError(f"metric must be 'euclidean' or 'sqeuclidean'; got {metric!r}.")
    if issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert "
            "to a dense numpy array, or sklearn.metrics.silhouette_samples, which takes CSR."
        )
    points = check_points(X)
    refuse_estimator(labels, "labels must be an array of cluster labels")
    named: npt.NDArray[Any] = column_or_1d(labels)
    check_same_length(X=points, labels=named)
    assert_all_finite(named, input_name="labels")
    values, codes, sizes = np.unique(named, return_inverse=True, return_counts=True)
    n, k = len(points), len(values)
    if not 1 < k < n:
        raise ValueError(
            f"Number of labels is {k}. Valid values are 2 to n_samples - 1 (inclusive)"
        )
    problem = Problem(points, n_threads=effective_n_threads(n_threads))
    check_is_finite(problem.is_finite, points)
    return _Clustering(points, problem, codes.astype(np.int32), sizes.astype(np.int64))


def _samples(
    clustering: _Clustering, metric: str, rows: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Return the silhouettes of some rows."""
    measure = _mean_distances if metric == "euclidean" else _mean_sq_distances
    samples = np.zeros(len(rows))
    scored = np.flatnonzero(clustering.sizes[clustering.codes[rows]] > 1)
    if len(scored) == 0:
        return samples
    own, other = measure(clustering, rows[scored])
    largest = np.maximum(own, other)
    np.divide(other - own, largest, out=own, where=largest > 0)
    samples[scored] = np.where(largest > 0, own, 0.0)
    return samples


def _means(clustering: _Clustering) -> FloatArray:
    """Return the clusters' means (k, d).

    Differences from one of a cluster's rows are summed, so that a cluster of equal rows has them
    for its mean, and one that is far from the origin loses nothing.
    """
    X, codes, k = clustering.X, clustering.codes, len(clustering.sizes)
    order = np.argsort(codes, kind="stable")
    begins = np.cumsum(clustering.sizes) - clustering.sizes
    firsts = X[order[begins]].astype(np.float64)
    sums = np.zeros((k, X.shape[1]))
    step = max(1, _BLOCK_VALUES // X.shape[1])
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        clusters = codes[rows]
        starts = np.flatnonzero(np.diff(clusters, prepend=-1))
        differences = X[rows].astype(np.float64) - firsts[clusters]
        sums[clusters[starts]] += np.add.reduceat(differences, starts)
    means: FloatArray = firsts + sums / clustering.sizes[:, None]
    return means


# ---- distances ---------------------------------------------------------------------------------


def _mean_distances(
    clustering: _Clustering, rows: npt.NDArray[np.int32]
) -> tuple[FloatArray, FloatArray]:
    """Return each row's mean distance to the others of its cluster, and to the nearest cluster.

    Where an origin that several clusters share proves to be too far from a row, it is measured
    again from its own cluster's.
    """
    means = _means(clustering)
    groups = group_clusters(means, clustering.sizes)
    own, other, reaches = _measure(clustering, means, groups, rows)
    is_alone = np.empty(len(means), dtype=bool)
    for group in groups:
        is_alone[group] = len(group) == 1
    is_far = reaches > _LARGEST_REACH * np.maximum(own, other)
    again = np.flatnonzero(is_far & ~is_alone[clustering.codes[rows]])
    if len(again):
        alone = list(np.arange(len(means))[:, None])
        own[again], other[again], _ = _measure(clustering, means, alone, rows[again])
    return own, other


def group_clusters(means: FloatArray, sizes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return groups of clusters: large ones alone, small ones with near ones.

    Halved where their means spread most, until each has 512 rows or less, or one cluster.
    """
    groups, open_groups = [], [np.arange(len(means))]
    while open_groups:
        group = open_groups.pop()
        if len(group) == 1 or sizes[group].sum() <= _GROUP_ROWS:
            groups.append(group)
            continue
        widest = np.argmax(np.ptp(means[group], axis=0))
        group = group[np.argsort(means[group, widest], kind="stable")]
        open_groups += [group[: len(group) // 2], group[len(group) // 2 :]]
    return groups


def _measure(
    clustering: _Clustering,
    means: FloatArray,
    groups: list[npt.NDArray[np.int64]],
    rows: npt.NDArray[np.int32],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the mean distances of the rows, and how far each is from its group's origin."""
    problem, sizes = clustering.problem, clustering.sizes
    in_order = np.concatenate(groups)
    rank = np.empty(len(sizes), dtype=np.int32)
    rank[in_order] = np.arange(len(sizes))
    codes = rank[clustering.codes]
    queries = np.argsort(codes[rows], kind="stable")
    group_ends = np.cumsum([len(group) for group in groups])
    ends = np.searchsorted(codes[rows[queries]], group_ends)
    task_begins, group_of = _cut(ends, problem)
    origins = np.array([sizes[group] @ means[group] / sizes[group].sum() for group in groups])
    with np.errstate(over="ignore"):  # of values that float32 does not hold it is not read
        origins_f32 = origins.astype(np.float32)
    if problem.points.is_narrow:
        origins = origins_f32.astype(np.float64)  # both then stand for the same point
    silhouette = _core.Silhouette(
        problem.points,
        np.argsort(codes, kind="stable").astype(np.int32),
        np.concatenate([[0], np.cumsum(sizes[in_order])]),
        rows[queries],
        codes[rows[queries]],
        task_begins,
        origins[group_of],
        origins_f32[group_of],
        _scale(problem),
        problem.n_threads,
        problem.isa,
    )
    _run(silhouette, task_begins, problem)
    taken, results = np.empty((3, len(rows))), np.empty((3, len(rows)))
    silhouette.take(*taken)
    results[:, queries] = taken
    own, other, reaches = results
    return own, other, reaches


def _scale(problem: Problem) -> float:
    """Return a power of two for coordinates whose squares float32 holds, also of near rows."""
    exponent = np.frexp(problem.scale)[1] - 1 + _HEADROOM
    limit = _LARGEST_EXPONENT if problem.points.is_narrow else 1000
    return float(np.ldexp(1.0, min(exponent, limit)))


def _cut(
    ends: npt.NDArray[np.int64], problem: Problem
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where tasks begin, each within a group that ends there, and the group of each."""
    most = _core.Silhouette.task_rows(problem.d)
    share = -(-int(ends[-1]) // (_TASKS_PER_THREAD * problem.n_threads))
    most = min(most, -(-share // _core.CELL_ROWS) * _core.CELL_ROWS)
    task_begins, group_of, begin = [0], [], 0
    for group, end in enumerate(ends.tolist()):
        while begin < end:
            begin = min(begin + most, end)
            task_begins.append(begin)
            group_of.append(group)
    return np.array(task_begins, dtype=np.int64), np.array(group_of, dtype=np.int64)


def _run(
    silhouette: _core.Silhouette, task_begins: npt.NDArray[np.int64], problem: Problem
) -> None:
    """Measure all tasks in calls of some 25 ms, between which Ctrl-C is heard."""
    rate, n, step = FIRST_RATE, problem.n, _TASKS_PER_THREAD * problem.n_threads
    for first in range(0, silhouette.n_tasks, step):
        last = min(first + step, silhouette.n_tasks)
        n_rows = int(task_begins[last] - task_begins[first])
        granule_work = float(n_rows) * silhouette.targets_at_once * (problem.d + 8)
        begin = 0
        while begin < n:
            n_granules = max(1, int(SLICE_SECONDS * rate / granule_work))
            end = min(n, begin + n_granules * silhouette.targets_at_once)
            begun = perf_counter()
            silhouette.measure(first, last, begin, end)
            seconds = max(perf_counter() - begun, 1e-6)
            rate = granule_work / silhouette.targets_at_once * (end - begin) / seconds
            begin = end


# ---- squared distances -------------------------------------------------------------------------


def _mean_sq_distances(
    clustering: _Clustering, rows: npt.NDArray[np.int32]
) -> tuple[FloatArray, FloatArray]:
    """Return what `_mean_distances` does, of squared distances, from the means alone."""
    problem, codes, sizes = clustering.problem, clustering.codes, clustering.sizes
    k = len(sizes)
    means = _means(clustering)
    engine = problem.engine(k)
    engine.set_centroids(means)
    scatter = np.bincount(codes, weights=problem.own_sq_dists(engine, codes), minlength=k) / sizes
    own, other = np.empty(len(rows)), np.empty(len(rows))
    step = max(1, _BLOCK_VALUES // max(k, problem.d))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        here, at = codes[block], np.arange(len(block))
        sq_dists = _distances(problem, clustering.X[block], means) * problem.exact_scale
        sq_dists *= sq_dists
        sq_dists += scatter
        own[start : start + step] = sq_dists[at, here] * (sizes[here] / (sizes[here] - 1))
        sq_dists[at, here] = np.inf
        other[start : start + step] = sq_dists.min(axis=1)
    return own, other


def _distances(problem: Problem, block: npt.NDArray[Any], means: FloatArray) -> FloatArray:
    """Return the distances of some rows to the means, in float64's direct form."""
    engine = _core.Engine(
        _core.Points(block), problem.frame, len(means), problem.n_threads, problem.isa
    )
    engine.set_centroids(means)
    distances = np.empty((len(block), len(means)))
    engine.distances(distances, 0, len(block))
    return distances


# ---- samples -----------------------------------------------------------------------------------


def allocate(sizes: npt.NDArray[np.int64], sample_size: int) -> npt.NDArray[np.int64]:
    """Return how many rows of each cluster a stratified sample has.

    Parameters
    ----------
    sizes : ndarray of shape (k,), int64
        Rows of each cluster, each at least 1.
    sample_size : int
        At least k, at most their sum.

    Returns
    -------
    ndarray of shape (k,), int64
        In proportion to the sizes, but at least 8, the size, or the clusters' equal share,
        whichever is least; the sum is `sample_size`. What rounding leaves goes to the largest
        fractions.
    """
    least = np.minimum(sizes, min(_LEAST_SAMPLED, sample_size // len(sizes)))
    low, high = 0.0, 1.0  # of the factor with which the shares have the right sum
    for _ in range(60):
        factor = (low + high) / 2
        if np.maximum(factor * sizes, least).sum() < sample_size:
            low = factor
        else:
            high = factor
    shares = np.maximum(low * sizes, least)
    counts: npt.NDArray[np.int64] = np.floor(shares).astype(np.int64)
    n_left = sample_size - int(counts.sum())
    # Each fraction is less than 1, so there are more of them than they sum up to: no whole share
    # gets one more.
    counts[np.argsort(counts - shares, kind="stable")[:n_left]] += 1
    return counts


def _draw(
    codes: npt.NDArray[np.int32], n_sampled: npt.NDArray[np.int64], random: Any
) -> npt.NDArray[np.int32]:
    """Return so many rows of each cluster, drawn without replacement."""
    shuffled = random.permutation(len(codes))
    by_cluster = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sizes = np.bincount(codes)
    begins = np.cumsum(sizes) - sizes
    place = np.arange(len(codes)) - np.repeat(begins, sizes)
    return np.sort(by_cluster[place < np.repeat(n_sampled, sizes)]).astype(np.int32)
