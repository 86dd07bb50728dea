"""Wrong calls into the core are exceptions, and each instruction set runs a whole process."""

import os
import subprocess
import sys

import numpy as np
import pytest
from core_tools import ISAS, make_engine

from fastkm import _core
from fastkm._problem import Problem

N, D, K = 300, 4, 3


@pytest.fixture
def parts(rng):
    """Return what a call needs, by name; a test replaces one part by a wrong one."""
    X = rng.normal(size=(N, D))
    problem, engine = make_engine(X, X[:K])
    return {
        "problem": problem,
        "engine": engine,
        "labels": np.zeros(N, np.int32),
        "labels_old": np.full(N, -1, np.int32),
        "sums": _core.Sums(K, problem.sum_scale, problem.low_scale, 1),
        "weights": np.ones(N),
        "shift": np.zeros(D),
        "sq_dists": np.zeros(N),
        "out": np.zeros((N, K)),
        "totals": np.zeros((K, D)),
        "weight_sums": np.zeros(K),
        "means": np.zeros((K, D)),
        "centroids": np.zeros((K, D)),
        "start": 0,
        "stop": N,
    }


CALLS = {
    "assign": lambda p: p["engine"].assign(
        p["labels"], p["start"], p["stop"], p["labels_old"], p["sums"]
    ),
    "means": lambda p: p["engine"].means(p["sums"], p["means"]),
    "counts": lambda p: p["sums"].counts(p["counts"]),
    "accumulate_weighted": lambda p: p["engine"].accumulate_weighted(
        p["labels"], p["weights"], p["shift"], p["totals"], p["weight_sums"], p["start"], p["stop"]
    ),
    "own_sq_dists": lambda p: p["engine"].own_sq_dists(
        p["labels"], p["sq_dists"], p["start"], p["stop"]
    ),
    "distances": lambda p: p["engine"].distances(p["out"], p["start"], p["stop"]),
    "set_centroids": lambda p: p["engine"].set_centroids(p["centroids"]),
}
ROW_CALLS = ["assign", "accumulate_weighted", "own_sq_dists", "distances"]


def locked(array):
    array.flags.writeable = False
    return array


WRONG = [
    *((call, {"start": start, "stop": stop}) for call in ROW_CALLS
      for start, stop in [(1, N), (255, N), (-256, N), (0, N + 1), (256, 0), (512, N), (0, -1),
                          (2**62, 2**62), (-(2**62), N)]),
    *((call, {"labels": wrong}) for call in ["assign", "accumulate_weighted", "own_sq_dists"]
      for wrong in (np.zeros(N - 1, np.int32), np.zeros(N + 1, np.int32), np.zeros(0, np.int32),
                    np.zeros(N, np.int64), np.zeros(2 * N, np.int32)[::2], None,
                    np.zeros((N, 1), np.int32))),
    ("assign", {"labels": locked(np.zeros(N, np.int32))}),
    ("assign", {"labels_old": np.zeros(N - 1, np.int32)}),
    ("assign", {"labels_old": None}),
    *((call, {"sums": _core.Sums(*wrong)}) for call in ("assign", "means") for wrong in
      [(K + 1, np.ones(D), 1.0, 1), (K - 1, np.ones(D), 1.0, 1), (K, np.ones(D + 1), 1.0, 1),
       (K, np.ones(D - 1), 1.0, 1)]),
    ("assign", {"sums": _core.Sums(K, np.ones(D), 1.0, 0)}),
    ("means", {"sums": None}),
    ("means", {"means": np.zeros((K + 1, D))}),
    ("means", {"means": np.zeros((K, D - 1))}),
    ("means", {"means": np.zeros((K, D), np.float32)}),
    ("means", {"means": np.asfortranarray(np.zeros((K, D)))}),
    ("means", {"means": locked(np.zeros((K, D)))}),
    ("counts", {"counts": np.zeros(K - 1, np.int64)}),
    ("counts", {"counts": np.zeros(K, np.int32)}),
    ("counts", {"counts": None}),
    ("accumulate_weighted", {"weights": np.ones(N - 1)}),
    ("accumulate_weighted", {"weights": np.ones(N, np.float32)}),
    ("accumulate_weighted", {"weights": None}),
    ("accumulate_weighted", {"shift": np.zeros(D - 1)}),
    ("accumulate_weighted", {"totals": np.zeros((K - 1, D))}),
    ("accumulate_weighted", {"totals": np.zeros((K, D + 1))}),
    ("accumulate_weighted", {"weight_sums": np.zeros(K - 1)}),
    ("own_sq_dists", {"sq_dists": np.zeros(N - 1)}),
    ("own_sq_dists", {"sq_dists": None}),
    ("own_sq_dists", {"labels": np.full(N, K, np.int32)}),
    ("own_sq_dists", {"labels": np.full(N, -1, np.int32)}),
    ("distances", {"out": np.zeros((N, K - 1))}),
    ("distances", {"out": np.zeros((N, K + 1))}),
    ("distances", {"out": np.zeros((N - 1, K))}),
    ("distances", {"out": np.asfortranarray(np.zeros((N, K)))}),
    ("distances", {"out": np.zeros((N, K), dtype=np.float16)}),
    ("distances", {"out": np.zeros((N, K), dtype=np.int32)}),
    ("distances", {"out": np.zeros((N, K, 1))}),
    ("distances", {"out": locked(np.zeros((N, K)))}),
    ("set_centroids", {"centroids": np.zeros((K - 1, D))}),
    ("set_centroids", {"centroids": np.zeros((K + 1, D))}),
    ("set_centroids", {"centroids": np.zeros((K, D + 1))}),
    ("set_centroids", {"centroids": np.zeros((K, D), np.float32)}),
    ("set_centroids", {"centroids": None}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "wrong"), WRONG)
def test_a_wrong_argument_is_an_exception(parts, call, wrong):
    if call == "counts":
        parts["counts"] = np.zeros(K, np.int64)
    CALLS[call](parts)  # right as it is
    with pytest.raises((ValueError, TypeError, BufferError)):
        CALLS[call]({**parts, **wrong})


@pytest.mark.parametrize("call", ["assign", "own_sq_dists", "distances"])
def test_an_engine_without_centroids_says_so(parts, call):
    parts["engine"] = parts["problem"].engine(K)
    with pytest.raises(ValueError, match="call set_centroids first"):
        CALLS[call](parts)


@pytest.mark.parametrize("k", [0, -1, 2**31])
def test_an_engine_needs_a_number_of_centroids(parts, k):
    with pytest.raises(ValueError, match="centroids must have shape"):
        parts["problem"].engine(k)


def test_more_than_memory_holds_is_a_memory_error(parts):
    problem = parts["problem"]
    with pytest.raises(MemoryError):
        _core.Centroids(2**31 - 1, 2**40)
    with pytest.raises(MemoryError):
        _core.Sums(2**58, problem.sum_scale, problem.low_scale, 1)


@pytest.mark.parametrize("n_threads", [0, -1])
def test_no_threads_are_refused(parts, n_threads):
    problem = parts["problem"]
    with pytest.raises(ValueError, match="n_threads must be at least 1"):
        _core.Engine(problem.points, problem.frame, K, n_threads, ISAS[0])
    with pytest.raises(ValueError, match="n_threads must be at least 1"):
        _core.describe(problem.points, np.zeros(D), np.zeros((1, 4, D)), 0, 1, n_threads, ISAS[0])


@pytest.mark.parametrize("isa", ["avx3", "", "AVX2", None])
def test_an_unknown_instruction_set_is_refused(parts, isa):
    problem = parts["problem"]
    with pytest.raises((ValueError, TypeError), match=r"isa"):
        _core.Engine(problem.points, problem.frame, K, 1, isa)


def test_a_frame_must_fit_the_points(parts):
    problem = parts["problem"]
    with pytest.raises(ValueError, match="same length"):
        _core.Frame(np.zeros(3), np.zeros(2, np.float32), 1.0, 1.0)
    other = _core.Frame(np.zeros(D - 1), np.zeros(D - 1, np.float32), 1.0, 1.0)
    with pytest.raises(ValueError, match="features"):
        _core.Engine(problem.points, other, K, 1, ISAS[0])
    for wrong in (None, problem.points):
        with pytest.raises(TypeError):
            _core.Engine(problem.points, wrong, K, 1, ISAS[0])
    with pytest.raises(TypeError):
        _core.Engine(None, problem.frame, K, 1, ISAS[0])


@pytest.mark.parametrize(
    ("origin", "shape", "start", "stop"),
    [(D - 1, (2, 4, D), 0, 2), (D, (2, 3, D), 0, 2), (D, (2, 4, D + 1), 0, 2),
     (D, (2, 4, D), 0, 3), (D, (2, 4, D), -1, 2), (D, (2, 4, D), 2, 1)],
)  # fmt: skip
def test_describe_refuses_what_does_not_fit(parts, origin, shape, start, stop):
    with pytest.raises(ValueError, match=r"origin|segments"):
        _core.describe(
            parts["problem"].points, np.zeros(origin), np.zeros(shape), start, stop, 1, ISAS[0]
        )


def seeder(problem, **wrong):
    given = {"weights": np.ones(N), "n_candidates": K, "closest": np.full(N, np.inf),
             "block_sums": np.zeros(2), "masks": np.zeros(N, np.uint32),
             "gains": np.zeros((2, K)), **wrong}  # fmt: skip
    return _core.Seeder(problem.points, problem.frame, None, *given.values(), 1, ISAS[0])


@pytest.mark.parametrize(
    "wrong",
    [{"weights": np.ones(N - 1)}, {"n_candidates": 0}, {"n_candidates": 33},
     {"n_candidates": K - 1}, {"closest": np.ones(N + 1)}, {"block_sums": np.zeros(1)},
     {"masks": np.zeros(N - 1, np.uint32)}, {"masks": np.zeros(N, np.int32)},
     {"gains": np.zeros((1, K))}, {"gains": np.zeros((2, K + 1))}, {"closest": None}],
)  # fmt: skip
def test_a_seeder_refuses_what_does_not_fit(parts, wrong):
    seeder(parts["problem"]).propose(np.zeros((K, D)))
    with pytest.raises((ValueError, TypeError)):
        seeder(parts["problem"], **wrong)


def test_panels_of_other_points_are_refused(parts):
    problem = parts["problem"]
    other, _ = make_engine(np.zeros((N, D)), np.zeros((K, D)))
    arrays = [np.ones(N), K, np.full(N, np.inf), np.zeros(2), np.zeros(N, np.uint32)]
    panels = _core.Panels(other.points, other.frame, 1, ISAS[0])
    with pytest.raises(ValueError, match="panels must be of the seeder's points"):
        _core.Seeder(problem.points, problem.frame, panels, *arrays, np.zeros((2, K)), 1, ISAS[0])
    wider, _ = make_engine(np.zeros((N, D + 1)), np.zeros((K, D + 1)))
    with pytest.raises(ValueError, match="frame must be of the points"):
        _core.Panels(problem.points, wider.frame, 1, ISAS[0])


@pytest.mark.parametrize("candidate", [-1, K, 0])
def test_a_seeder_accepts_only_what_was_proposed(parts, candidate):
    a_seeder = seeder(parts["problem"])
    if candidate != 0:
        a_seeder.propose(np.zeros((K, D)))
    with pytest.raises(ValueError, match="was not proposed"):
        a_seeder.accept(candidate)
    with pytest.raises(ValueError, match="centroids must have shape"):
        a_seeder.propose(np.zeros((K + 1, D)))


# ---- whole processes ----

FIT = """
import hashlib
import numpy as np
from fastkm import KMeans, _core, kmeans_plusplus
rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 13)) + 3
weights = rng.uniform(size=3000)
digest = hashlib.sha256()
for points in (X, X.astype("f4"), X.astype("f2"), (X * 9).astype("i2"), X[:, :3]):
    for sample_weight in (None, weights):
        km = KMeans(17, n_init=2, random_state=3, n_threads=1)
        km.fit(points, sample_weight=sample_weight)
        digest.update(km.labels_.tobytes() + km.cluster_centers_.tobytes())
        digest.update(repr((km.inertia_, km.n_iter_)).encode() + km.transform(points).tobytes())
    digest.update(kmeans_plusplus(points, 40, random_state=1, n_threads=1)[1].tobytes())
print(_core.DEFAULT_ISA, digest.hexdigest())
"""


def run_with_isa(isa, code):
    env = {**os.environ, "FASTKM_ISA": isa}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )


def test_every_forced_instruction_set_gives_the_same_bits():
    digests = {}
    for isa in ISAS:
        out = run_with_isa(isa, FIT)
        assert out.returncode == 0, f"{isa}: {out.returncode}: {out.stderr}"
        used, digests[isa] = out.stdout.split()
        assert used == isa
    assert len(set(digests.values())) == 1, digests


@pytest.mark.parametrize("isa", ["avx3", "neon", "portable,avx2"])
def test_an_unknown_forced_instruction_set_is_an_import_error(isa):
    out = run_with_isa(isa, "import fastkm._core")
    assert out.returncode == 1
    assert "ImportError: FASTKM_ISA must name an instruction set" in out.stderr
    assert f"({', '.join(ISAS)}); got '{isa}'" in out.stderr


def test_forcing_takes_any_case_and_none_takes_the_fastest():
    code = "import fastkm._core as c; print(c.DEFAULT_ISA)"
    assert run_with_isa(f" {ISAS[0].upper()} ", code).stdout.strip() == ISAS[0]
    assert run_with_isa("", code).stdout.strip() == ISAS[-1]


def test_supported_are_built_and_portable_is_always_there():
    assert set(ISAS) <= set(_core.BUILT_ISAS)
    assert ISAS[0] == "portable"
    assert Problem(np.ones((1, 1)), n_threads=1).isa == _core.DEFAULT_ISA
