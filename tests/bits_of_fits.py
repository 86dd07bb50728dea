"""Print the bits of many fits, a JSON line each: what `test_same_bits` compares.

A process of its own runs this for each instruction set, which FASTKM_ISA forces. Arguments: a
folder for memory-mapped files, and the variants to run of each fit, as JSON: [[n_threads, layout],
...]; with --in-turn each fit runs in one of them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix, random
from sklearn.exceptions import ConvergenceWarning

from fastkm import KMeans, MiniBatchKMeans, _core, _problem, _threads, kmeans_plusplus

_threads.n_usable_cpus = lambda: 64  # start as many as asked, though the machine have fewer CPUs

# ---- what a fit made use of --------------------------------------------------------------------

# Of the core, by what it is for; products of bytes are told by the engines and the solo runs.
TECHNIQUES = {
    "Filter": "sketches of rounds",
    "Neighbours": "cells of rounds",
    "CellGaps": "gaps",
    "Sketches": "sketches of seeds",
    "CellSeeder": "cells of seeds",
    "Panels": "kept panels",
    "SoloRuns": "solo runs",
    "SoloSeedings": "solo seeds",
    "orthonormalise": "directions",
    "Batch": "batches",
    "SparseBatch": "sparse batches",
}
used: set[str] = set()
engines: list[Any] = []


def watch() -> None:
    """Note in `used` what of the core is asked for, and keep the engines."""

    def noting(name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            used.add(TECHNIQUES[name])
            return original(*args, **kwargs)

        return call

    for name in TECHNIQUES:
        original = getattr(_core, name)
        setattr(_core, name, noting(name, original))
        for kind in (_problem.Problem, _sparse_problem_class()):
            if kind.batch_class is original:
                kind.batch_class = staticmethod(getattr(_core, name))

    def beside(seeders: list[Any]) -> Any:
        if len(seeders) > 1:
            used.add("seeds side by side")
        return seeders_beside(seeders)

    def engine(problem: Any, k: int) -> Any:
        engines.append(make_engine(problem, k))
        return engines[-1]

    def solo_run(*args: Any) -> Any:
        engines.append(make_solo_run(*args))
        return engines[-1]

    seeders_beside, make_engine = _core.SeedersBeside, _problem.Problem.engine
    make_solo_run = _core.SoloRun
    _core.SeedersBeside = beside
    _core.SoloRun = solo_run
    _problem.Problem.engine = engine


def _sparse_problem_class() -> Any:
    from fastkm._sparse_problem import SparseProblem

    return SparseProblem


# ---- data, all of whose values float32 holds ---------------------------------------------------


@cache
def rows(name: str) -> Any:
    g = np.random.default_rng(list(name.encode()))
    if name == "latent":  # variance in few of many directions
        X = g.normal(size=(34_000, 9)) @ g.normal(size=(9, 130))
        X += 0.1 * g.normal(size=X.shape)
    elif name == "plane":
        X = g.normal(size=(30, 3))[g.integers(30, size=90_000)] * 8 + g.normal(size=(90_000, 3))
    elif name == "cloud":
        X = g.normal(size=(20_000, 20)) + 100
    elif name == "small":
        X = g.normal(size=(3000, 8)) * [1, 1, 1, 1, 1, 1, 100, 0.01]
    elif name == "small, many features":
        X = 3 * g.normal(size=(12, 160))[g.integers(12, size=1500)] + g.normal(size=(1500, 160))
    elif name == "ties":
        return g.integers(0, 3, size=(54_000, 5)).astype(np.uint8)
    elif name == "wide":
        X = g.normal(size=(1200, 12)) @ g.normal(size=(12, 1600)) * 20 + 128
        return np.clip(X, 0, 255).astype(np.uint8)
    elif name == "few values":  # more clusters than different rows: empty ones are repaired
        return g.integers(0, 4, size=(5000, 2)).astype(np.uint8)
    elif name == "sparse":
        X = random(6000, 300, density=0.03, format="csr", random_state=g, dtype=np.float32)
        return csr_matrix(X.astype(np.float64))
    else:
        raise ValueError(name)
    return X.astype(np.float32).astype(np.float64)


@cache
def weights(name: str) -> Any:
    """Weights of the rows, zeros among them."""
    g = np.random.default_rng(5)
    n = rows(name).shape[0]
    return g.uniform(0.1, 3, size=n) * (g.random(n) < 0.9)


@cache
def laid_out(name: str, dtype: str, layout: str, folder: Path) -> Any:
    X = rows(name).astype(dtype)
    if name == "sparse":
        X = csr_array(X) if layout == "F" else X
        if layout == "memmap":  # of columns, too: 64 bits each
            X = csr_matrix(X)
            X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
        return X
    if layout == "memmap":
        path = folder / f"{name}-{dtype}".replace(" ", "-")
        X.tofile(path)
        return np.memmap(path, dtype, "r", shape=X.shape)
    return np.asarray(X, order=layout)


# ---- fits --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """A fit, and what its bits must be equal to: those of all fits of the same path."""

    path: str
    algorithm: str
    run: Callable[..., dict[str, Any]]  # takes X and n_threads
    data: str
    dtype: str = "f8"
    uses: frozenset[str] = field(default_factory=frozenset)


def of_estimator(cls: Any, data: str, *args: Any, **options: Any) -> Callable[..., dict[str, Any]]:
    weighs = options.pop("weighs", False)

    def run(X: Any, n_threads: int) -> dict[str, Any]:
        km = cls(*args, n_threads=n_threads, **({"random_state": 3} | options))
        km.fit(X, sample_weight=weights(data) if weighs else None)
        some = X[-300:]
        return {
            "centres": km.cluster_centers_,
            "n_iter": km.n_iter_,
            "labels": km.labels_,
            "inertia": km.inertia_,
            "predict": km.predict(X),
            "transform": km.transform(some),
            "score": km.score(some),
        }

    return run


def of_parts(data: str, k: int) -> Callable[..., dict[str, Any]]:
    def run(X: Any, n_threads: int) -> dict[str, Any]:
        km = MiniBatchKMeans(k, random_state=3, n_threads=n_threads)
        for begin in range(0, 4500, 1500):
            weight = weights(data)[begin : begin + 1500]
            km.partial_fit(X[begin : begin + 1500], sample_weight=weight)
        results = {"centres": km.cluster_centers_, "n_iter": km.n_steps_}
        return results | {"labels": km.labels_, "inertia": km.inertia_}

    return run


def of_seeds(
    data: str, k: int, weighs: bool = False, **options: Any
) -> Callable[..., dict[str, Any]]:
    def run(X: Any, n_threads: int) -> dict[str, Any]:
        weight = weights(data) if weighs else None
        centres, indices = kmeans_plusplus(
            X, k, sample_weight=weight, random_state=3, n_threads=n_threads, **options
        )
        if hasattr(centres, "toarray"):
            centres = centres.toarray()
        return {"centres": centres.astype(np.float64), "n_iter": 0, "labels": indices}

    return run


def first_rows(X: Any, k: int, random_state: Any) -> Any:
    chosen = random_state.permutation(X.shape[0])[:k]
    return X[np.sort(chosen)].astype(np.float64)


def fits() -> list[Fit]:
    made = []

    def add(path: str, run: Any, data: str, dtypes: str, uses: str, algorithm: str = "") -> None:
        techniques = frozenset(uses.split("; ")) if uses else frozenset()
        if _core.DEFAULT_ISA != "avx512vnni":  # where bytes pay for more clusters, or not at all
            techniques -= {"bytes"}
        made.extend(Fit(path, algorithm, run, data, dtype, techniques) for dtype in dtypes.split())

    def add_kmeans(path: str, data: str, k: int, dtypes: str, uses: str, **options: Any) -> None:
        """Add a fit that goes one way under every algorithm; uses is of "auto"."""
        options = {"tol": 0, "max_iter": 8, "n_init": 1} | options
        uses_of = {"auto": uses, "lloyd": "", "elkan": options.pop("elkan", "")}
        for algorithm, its_uses in uses_of.items():
            run = of_estimator(KMeans, data, k, algorithm=algorithm, **options)
            its_dtypes = dtypes if algorithm == "auto" else dtypes.split()[0]
            add(path, run, data, its_dtypes, its_uses, algorithm)

    sketched = "sketches of rounds; directions"
    add_kmeans(
        "many clusters, many features",
        "latent",
        132,
        "f4 f8",
        f"{sketched}; sketches of seeds; bytes",
        max_iter=20,
        elkan=sketched,
    )
    add_kmeans(
        "few clusters, many features", "latent", 20, "f8 f4", "", init="random", elkan=sketched
    )
    add_kmeans(
        "few features",
        "plane",
        64,
        "f8 f4",
        "cells of seeds; gaps",
        elkan="cells of seeds; cells of rounds",
    )
    add_kmeans("many clusters, few features", "plane", 440, "f4", "cells of seeds; cells of rounds")
    add_kmeans(
        "a run a thread",
        "small",
        10,
        "f8 f4",
        "solo runs; solo seeds; kept panels",
        n_init=7,
        max_iter=40,
    )
    add_kmeans(
        "a run a thread, in bytes",
        "small, many features",
        10,
        "f8 f4",
        "solo runs; solo seeds; kept panels; bytes",
        n_init=3,
    )
    add_kmeans(
        "a run of all threads, in bytes", "small, many features", 10, "f4", "solo runs; bytes"
    )
    add_kmeans("runs side by side", "cloud", 20, "f8", "seeds side by side", n_init=3)
    add_kmeans("ties", "ties", 40, "u1 f8 f4 i2 f2", "cells of seeds; gaps")
    add_kmeans("wide", "wide", 7, "u1 f4", "", elkan=sketched)
    add_kmeans("empty clusters", "few values", 20, "u1 f4", "", max_iter=5)
    add_kmeans("weights", "cloud", 15, "f8 f4", "", weighs=True, n_init=2)
    add_kmeans("weights, random", "plane", 40, "f8", "", weighs=True, init="random")
    add_kmeans(
        "weights, many features", "latent", 40, "f4", "", weighs=True, init="random", elkan=sketched
    )
    add_kmeans("given", "cloud", 20, "f8 f4", "", init=rows("cloud")[:20].copy())
    add_kmeans("callable", "plane", 20, "f8", "", init=first_rows, n_init=2)
    for name, k in (("latent", 40), ("plane", 30)):
        for weighs in (False, True):
            run = of_estimator(MiniBatchKMeans, name, k, weighs=weighs, max_iter=2)
            add(f"batches of {name}, {weighs}", run, name, "f8 f4", "batches")
    for init in ("random", rows("cloud")[:50].copy(), first_rows):
        kind = init if isinstance(init, str) else type(init).__name__
        n_init = 1 if isinstance(init, np.ndarray) else 3
        run = of_estimator(
            MiniBatchKMeans,
            "cloud",
            50,
            init=init,
            n_init=n_init,
            max_iter=2,
            reassignment_ratio=0.2,
        )
        add(f"batches from {kind}", run, "cloud", "f4 f8", "batches")
    add("batches one by one", of_parts("cloud", 12), "cloud", "f8 f4", "batches")
    add("sketched seeds", of_seeds("latent", 70), "latent", "f8 f4", "sketches of seeds")
    add("seeds of cells", of_seeds("plane", 300), "plane", "f8 f4", "cells of seeds")
    add("seeds of kept panels", of_seeds("cloud", 18), "cloud", "f8", "kept panels")
    add("seeds, a run a thread", of_seeds("small", 50), "small", "f8 f4", "solo seeds")
    add("seeds of many candidates", of_seeds("cloud", 8, n_local_trials=70), "cloud", "f8", "")
    add("weighted seeds", of_seeds("plane", 60, True), "plane", "f8 f4", "cells of seeds")
    add(
        "weighted sketched seeds", of_seeds("latent", 40, True), "latent", "f4", "sketches of seeds"
    )
    for init in ("k-means++", "random"):
        for weighs in (False, True):
            add_kmeans(
                f"CSR, {init}, {weighs}",
                "sparse",
                12,
                "f8 f4",
                "",
                init=init,
                n_init=2,
                weighs=weighs,
            )
    add(
        "CSR batches",
        of_estimator(MiniBatchKMeans, "sparse", 12, max_iter=3),
        "sparse",
        "f8 f4",
        "sparse batches",
    )
    add("CSR seeds", of_seeds("sparse", 30), "sparse", "f8 f4", "")
    return made  # fmt: skip


def digest(value: Any) -> str:
    if isinstance(value, np.ndarray):
        content = f"{value.dtype.str} {value.shape} ".encode() + value.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]
    return float(value).hex()


def main(folder: str, variants: str) -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", RuntimeWarning)
    watch()
    for number, fit in enumerate(fits()):
        of_fit = json.loads(variants)
        turn = number % len(of_fit) if "--in-turn" in sys.argv else None
        for n_threads, layout in of_fit if turn is None else of_fit[turn : turn + 1]:
            used.clear()
            engines.clear()
            X = laid_out(fit.data, fit.dtype, layout, Path(folder))
            results = fit.run(X, n_threads)
            if any(engine.byte_work()[0] for engine in engines if hasattr(engine, "byte_work")):
                used.add("bytes")
            # What "auto" takes depends on the threads: directions take as long on many as on one.
            wanted = fit.uses if fit.algorithm != "auto" or n_threads <= 2 else frozenset()
            print(
                json.dumps(
                    {
                        "fit": f"{fit.path}, {fit.algorithm}, {fit.dtype}",
                        "path": fit.path,
                        "algorithm": fit.algorithm,
                        # Of the bits: float32 gives centres of its own, all else float64's.
                        "kind": "float32" if fit.dtype == "f4" else "float64",
                        "isa": _core.DEFAULT_ISA,
                        "variant": [n_threads, layout],
                        "missing": sorted(wanted - used),
                        "bits": {name: digest(value) for name, value in results.items()},
                        # float32's centres are those of float64, rounded.
                        "rounded centres": digest(results["centres"].astype(np.float32)),
                    }
                )
            )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
