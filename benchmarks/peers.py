"""Who clusters: one fit function per package, and what its process is started with.

A fit function gets (points, start, rounds, n_threads), does ``rounds`` rounds of Lloyd's
algorithm from the given start rows and returns a Result. It imports its package itself: it runs
in a worker's process, never in the one that measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Result:
    centroids: np.ndarray
    n_iter: int | None = None  # rounds done, where the peer says so


@dataclass(frozen=True)
class Peer:
    name: str
    package: str  # the distribution whose version is recorded
    module: str
    fit: Callable[[np.ndarray, np.ndarray, int, int], Result]
    is_exact: bool = True
    # How far its inertia may be from the oracle's; None: as far as the workload allows all.
    tolerance: float | None = None
    dtypes: tuple[str, ...] = ("float32", "float64", "uint8")
    environment: dict[str, str] = field(default_factory=dict)


def fit_fastkm(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    from fastkm import KMeans

    estimator = KMeans(
        len(start), init=start, n_init=1, max_iter=rounds, tol=0, n_threads=n_threads
    )
    return _result(estimator.fit(points))


def fit_sklearn(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    from sklearn.cluster import KMeans

    return _result(_sklearn_estimator(KMeans, "lloyd", start, rounds).fit(points))


def fit_elkan(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    from sklearn.cluster import KMeans

    return _result(_sklearn_estimator(KMeans, "elkan", start, rounds).fit(points))


def fit_sklearnex(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    import daal4py
    from sklearnex.cluster import KMeans

    if daal4py.num_threads() != n_threads:  # oneDAL's threads do not read OMP_NUM_THREADS
        daal4py.daalinit(nthreads=n_threads)
    return _result(_sklearn_estimator(KMeans, "lloyd", start, rounds).fit(points))


def _sklearn_estimator(estimator: type, algorithm: str, start: np.ndarray, rounds: int):
    return estimator(len(start), init=start, n_init=1, max_iter=rounds, tol=0, algorithm=algorithm)


def _result(estimator) -> Result:
    return Result(estimator.cluster_centers_, int(estimator.n_iter_))


def fit_faiss(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    import faiss

    faiss.omp_set_num_threads(n_threads)
    clustering = faiss.Kmeans(
        points.shape[1],
        len(start),
        niter=rounds,
        max_points_per_centroid=len(points),  # at its default it clusters a sample of X
        min_points_per_centroid=1,
    )
    clustering.train(points, init_centroids=start.astype(np.float32))
    return Result(clustering.centroids)


def fit_superkmeans(points: np.ndarray, start: np.ndarray, rounds: int, n_threads: int) -> Result:
    from superkmeans import SuperKMeans

    clustering = SuperKMeans(  # takes no start rows; all else is set to the same work
        len(start),
        points.shape[1],
        hierarchical=False,
        iters=rounds,
        sampling_fraction=1.0,
        max_points_per_cluster=len(points),
        early_termination=False,
        n_threads=n_threads,
    )
    return Result(np.asarray(clustering.train(points.astype(np.float32, copy=False))))


PEERS = {
    peer.name: peer
    for peer in (
        # It promises the oracle's own trajectory: only the centres' dtype rounds.
        Peer("fastkm", "fastkm", "fastkm", fit_fastkm, tolerance=1e-6),
        Peer("sklearn", "scikit-learn", "sklearn", fit_sklearn),
        Peer("sklearn-elkan", "scikit-learn", "sklearn", fit_elkan),
        Peer("sklearnex", "scikit-learn-intelex", "sklearnex", fit_sklearnex),
        Peer(
            "faiss",
            "faiss-cpu",
            "faiss",
            fit_faiss,
            # The wheel's OpenBLAS does not know newer CPUs and would fall back to SSE3 kernels.
            environment={"OPENBLAS_CORETYPE": "SkylakeX"},
        ),
        Peer(
            "superkmeans",
            "superkmeans",
            "superkmeans",
            fit_superkmeans,
            is_exact=False,
            tolerance=5e-2,
        ),
    )
}


def environment(peer: Peer, n_threads: int, cpu_has_avx512: bool, isa: str | None) -> dict:
    """Return the environment variables that the peer's process gets on top of the caller's."""
    threads = str(n_threads)
    variables = {
        name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if cpu_has_avx512:
        variables |= peer.environment
    if peer.name == "fastkm" and isa:
        variables["FASTKM_ISA"] = isa
    return variables
