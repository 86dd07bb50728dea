"""Sketches and cells leave work out and change no seed: all is compared with none of them."""

import numpy as np
import pytest
from core_tools import DTYPES, ISAS, unchanged
from test_core_distances import sums_of_sixteen

from fastkm import KMeans, _core, _seed_pruning
from fastkm._potential import Potential
from fastkm._problem import Problem
from fastkm._shared import Shared
from fastkm.seeding import pick_plusplus_rows

KINDS = ["sketches", "cells"]


@pytest.fixture
def force(monkeypatch):
    """Seed by sketches or by cells alone from the first seed on, whatever the data, and count."""
    seen = {"sketches": 0, "cells": 0}

    class Insistent(_seed_pruning.Sketching):
        def is_worth_it(self, n_accepted, n_measured, n_candidates):
            return True

    def make(kind):
        def made(problem):
            seen[kind] += 1
            return original(problem)

        original = getattr(_seed_pruning, f"make_{kind}")
        return made

    def start(kind, n_directions=6):
        for name in ("LEAST_ROWS", "LEAST_SEEDS", "FIRST_SKETCHED_SEED", "FIRST_CELL_SEED"):
            monkeypatch.setattr(_seed_pruning, name, 1)
        monkeypatch.setattr("fastkm._potential.FIRST_CELL_SEED", 1)
        monkeypatch.setattr("fastkm.seeding.is_seeded_solo", lambda problem, n_candidates: False)
        monkeypatch.setattr(_seed_pruning, "LEAF_ROWS", 20)
        monkeypatch.setattr(_seed_pruning, "LEAST_DIRECTIONS", 1)
        monkeypatch.setattr(
            _seed_pruning, "n_directions", lambda problem: min(n_directions, problem.d)
        )
        monkeypatch.setattr(_seed_pruning, "keeps_panels", lambda points, n_seeds: False)
        monkeypatch.setattr(_seed_pruning, "MOST_CELL_FEATURES", 0 if kind == "sketches" else 1000)
        if kind == "cells":
            monkeypatch.setattr(_seed_pruning, "uses_sketches", lambda problem, n_seeds: False)
        monkeypatch.setattr("fastkm._potential.Sketching", Insistent)
        monkeypatch.setattr(_seed_pruning, "make_sketches", make("sketches"))
        monkeypatch.setattr("fastkm._potential.make_cells", make("cells"))
        return seen

    return start


def trace(X, n_seeds, *, weights=None, isa=None, n_threads=1, n_candidates=None, seed=0):
    """Seed, and return the rows with all distances and potentials on the way, bit by bit."""
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    random_state = np.random.RandomState(seed)
    potential = Potential(problem, n_seeds)
    seen = [potential.start(seed), potential._closest.tobytes()]
    for _ in range(1, n_seeds):
        thresholds = random_state.uniform(size=n_candidates or 5) * potential.total
        rows = potential.draw(thresholds)
        best = int(np.argmin(potential.propose(rows)))
        seen += [rows.tolist(), best, potential.accept(best), potential._closest.tobytes()]
    return seen


def without(monkeypatch, *args, **kwargs):
    with monkeypatch.context() as patch:
        for name in ("uses_sketches", "uses_cells"):
            patch.setattr(_seed_pruning, name, lambda problem, n_seeds: False)
        patch.setattr("fastkm._potential.uses_cells", lambda problem, n_seeds: False)
        return trace(*args, **kwargs)


def mixture(n, d, n_clusters=12, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(n_clusters, d)) * 8
    return centres[generator.integers(n_clusters, size=n)] + generator.normal(size=(n, d))


HOSTILE = {
    "mixture": lambda X: X,
    "far from the origin": lambda X: X + 1e8,
    "two tight blobs": lambda X: 1e-3 * X + np.where(np.arange(len(X)) % 2, 1e4, -1e4)[:, None],
    "ties": lambda X: np.round(X / 6),
    "duplicates": lambda X: X[np.arange(len(X)) // 5],
    "on a line": lambda X: X[:, :1] * np.ones(X.shape[1]),
    "constant features": lambda X: np.where(np.arange(X.shape[1]) % 2, X, 3.0),
    "tiny": lambda X: X * 1e-30,
    "denormal": lambda X: X * 1e-40,
    "huge": lambda X: X * 1e30,
    "ends of float32": lambda X: np.where(np.arange(len(X))[:, None] % 9, 3.3e38, -3.3e38) + 0 * X,
    "mixed magnitudes": lambda X: X * 10.0 ** (np.arange(len(X)) % 30 - 15)[:, None],
    "one huge feature": lambda X: X * np.where(np.arange(X.shape[1]) == 1, 1e6, 1),
    "one far row": lambda X: np.where(np.arange(len(X))[:, None] == 7, 1e7, X),
    "isotropic": lambda X: np.random.default_rng(5).normal(size=X.shape),
    "all rows equal": lambda X: np.repeat(X[:1], len(X), axis=0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_keep_their_seeds(name, dtype, weighs, kind, force, monkeypatch):
    X = HOSTILE[name](mixture(1100, 14)).astype(dtype)
    weights = np.random.default_rng(2).uniform(0, 3, size=1100) if weighs else None
    expected = without(monkeypatch, X, 40, weights=weights)
    seen = force(kind)
    with unchanged(X):
        assert trace(X, 40, weights=weights) == expected
    assert seen[kind] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2])
def test_rows_nearer_by_less_than_float32_can_tell(d, kind, force, monkeypatch):
    # Rounding moves the rows by up to 6e-4, a good part of what seeds are apart.
    generator = np.random.default_rng(4)
    X = generator.normal(size=(3000, d)) * 0.05
    X += np.where(np.arange(3000) % 2, 1e4, -1e4)[:, None]
    seeds, rows = np.split(generator.permutation(3000).astype(np.int64), [100])

    def all_gains():
        potential = Potential(Problem(X, n_threads=1), 100)
        potential.start(seeds[0])
        for seed in seeds[1:]:
            potential.propose(np.array([seed, 0]))
            potential.accept(0)
        return [potential._propose(rows[i : i + 29], exactly=True) for i in range(0, 2900, 29)]

    with monkeypatch.context() as patch:
        patch.setattr("fastkm._potential.uses_cells", lambda problem, n_seeds: False)
        patch.setattr(_seed_pruning, "uses_sketches", lambda problem, n_seeds: False)
        expected = all_gains()
    force(kind)
    assert np.array_equal(all_gains(), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("n", "d", "n_seeds"),
    [(1, 1, 1), (2, 1, 2), (63, 1, 9), (64, 2, 9), (65, 3, 9), (255, 4, 20), (1025, 5, 20)]
    + [(300, d, 12) for d in range(6, 21)]
    + [(2049, 33, 20), (700, 100, 20)],
)
def test_every_size_on_every_instruction_set(isa, n, d, n_seeds, kind, force, monkeypatch):
    X = mixture(n, d, seed=n).astype(np.float32)
    expected = without(monkeypatch, X, n_seeds, isa=isa)
    force(kind)
    assert trace(X, n_seeds, isa=isa) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(isa, dtype, kind, force, monkeypatch):
    X = np.abs(mixture(400, 9)).astype(dtype)
    expected = without(monkeypatch, X, 15, isa=isa)
    force(kind)
    assert trace(X, 15, isa=isa) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["F", "strided", "reversed"])
def test_every_layout(order, kind, force, monkeypatch):
    X = mixture(700, 11)
    layout = {
        "F": np.asfortranarray(X),
        "strided": np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
        "reversed": np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    }[order]
    expected = without(monkeypatch, X, 20)
    force(kind)
    assert trace(layout, 20) == expected


def copies(monkeypatch, most_bytes):
    """Limit what cells may take; return whether each of those made copies the rows, as a list."""
    is_copied, make = [], _core.Cells

    def watched(points, frame, order, keeps_rows, *threads):
        is_copied.append(keeps_rows)
        return make(points, frame, order, keeps_rows, *threads)

    monkeypatch.setattr(_seed_pruning, "MOST_CELL_BYTES", most_bytes)
    monkeypatch.setattr(_core, "Cells", watched)
    return is_copied


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_cells_too_large_for_a_copy_of_the_rows_keep_the_seeds(isa, dtype, force, monkeypatch):
    X = np.abs(mixture(400, 9)).astype(dtype)
    expected = without(monkeypatch, X, 15, isa=isa)
    force("cells")
    is_copied = copies(monkeypatch, (4 + X.itemsize) * X.size - 1)
    assert trace(X, 15, isa=isa) == expected
    assert is_copied == [False]


def test_seeds_of_fortran_ordered_rows_that_cells_copy_or_not(force, monkeypatch):
    X = mixture(700, 11)
    expected = without(monkeypatch, X, 20)
    force("cells")
    is_copied = copies(monkeypatch, 12 * X.size)
    assert trace(np.asfortranarray(X), 20, n_threads=3) == expected
    monkeypatch.setattr(_seed_pruning, "MOST_CELL_BYTES", 4 * X.size)
    assert trace(np.asfortranarray(X), 20, n_threads=3) == expected
    assert is_copied == [True, False]


def test_cells_without_room_for_a_copy_of_the_rows_keep_the_seeds(force, monkeypatch):
    def make(points, frame, order, keeps_rows, *threads):
        if keeps_rows:
            raise MemoryError
        return cells(points, frame, order, keeps_rows, *threads)

    X, cells = mixture(700, 11), _core.Cells
    expected = without(monkeypatch, X, 20)
    seen = force("cells")
    monkeypatch.setattr(_core, "Cells", make)
    assert trace(X, 20) == expected
    assert seen["cells"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_every_number_of_threads(n_threads, kind, force, monkeypatch):
    X = mixture(40_000, 20).astype(np.float32)
    expected = without(monkeypatch, X, 12)
    force(kind)
    assert trace(X, 12, n_threads=n_threads) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_candidates", [1, 6, 7, 31, 32, 33, 70])
def test_every_number_of_candidates(n_candidates, kind, force, monkeypatch):
    X = mixture(900, 8).astype(np.float32)
    expected = without(monkeypatch, X, 8, n_candidates=n_candidates)
    force(kind)
    assert trace(X, 8, n_candidates=n_candidates) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_rows_as_far_as_can_be_without_gain_are_told_apart(kind, force, monkeypatch):
    # Mirror images: half the rows are nearer to the second seed by a rounding or by nothing.
    generator = np.random.default_rng(3)
    X = generator.normal(size=(1500, 10))
    X[:, 0] = np.where(np.arange(1500) % 3, generator.normal(size=1500) * 1e-9, 0)
    X[0], X[1] = 1, 1
    X[1, 0] = -1
    force(kind)
    potential = Potential(Problem(X, n_threads=1), 2)
    potential.start(0)
    potential.propose(np.array([1, 5]))
    potential.accept(0)
    distances = [sums_of_sixteen(X, X[[seed]], np.zeros(1500, int)) for seed in (0, 1)]
    assert np.array_equal(potential._closest, np.minimum(*distances))


def test_most_cells_are_not_looked_into():
    X = mixture(50_000, 3, n_clusters=200, seed=1).astype(np.float32)
    problem = Problem(X, n_threads=1)
    potential = Potential(problem, 300)
    rows = np.random.default_rng(0).choice(50_000, size=(300, 2))
    potential.start(0)
    for step in rows:
        potential.propose(step)
        potential.accept(0)
    n_cells = -(-len(X) // _core.CELL_ROWS)
    assert problem.shared.cells is not None
    assert potential._cell_seeder.n_live < 0.3 * n_cells


def test_most_rows_are_not_read_again():
    latent = mixture(6000, 6, n_clusters=40)
    mixing = np.random.default_rng(1).normal(size=(6, 900))
    X = (latent @ mixing).astype(np.float32)
    problem = Problem(X, n_threads=1)
    potential = Potential(problem, 60)
    generator = np.random.default_rng(0)
    potential.start(0)
    for _ in range(59):
        rows = potential.draw(generator.uniform(size=5) * potential.total)
        potential.propose(rows)
        potential.accept(0)
    assert problem.shared.codes is not None
    n_measured = potential._seeder(5).propose_sketched(
        problem.shared.codes, rows, problem.rows(rows)
    )
    assert n_measured < 2000


def test_useless_sketches_are_tried_less_and_less(monkeypatch):
    monkeypatch.setattr(_seed_pruning, "HEADROOM", 1e6)  # all codes are 0
    X = np.random.default_rng(0).normal(size=(5000, 900)).astype(np.float32)
    potential = Potential(Problem(X, n_threads=2), 100)
    tries = []
    is_worth_it = potential._sketching.is_worth_it

    def record(n_accepted, *counts):
        tries.append(n_accepted)
        return is_worth_it(n_accepted, *counts)

    monkeypatch.setattr(potential._sketching, "is_worth_it", record)
    potential.start(0)
    for row in range(1, 60):
        potential.propose(np.arange(row, row + 8))
        potential.accept(0)
    assert tries == [6, 12, 24, 48]


def bound_and_settle(X, isa, weights=None, n_candidates=9, n_threads=1):
    """Yield gains from codes, their errors, masks, and then the same in float64."""
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    sketches = _seed_pruning.make_sketches(problem)
    if sketches is None:
        return
    potential = Potential(problem, 30)
    potential.start(0)
    for row in range(1, 8):
        rows = (row * 13 + 17 * np.arange(n_candidates)) % problem.n
        seeder, candidates = potential._seeder(n_candidates), problem.rows(rows)
        n_measured = seeder.propose_sketched(sketches, rows, candidates)
        found = np.array(seeder.gains()), np.array(seeder.errors()), potential._masks.copy()
        assert n_measured >= sum(int(mask).bit_count() for mask in potential._masks)
        seeder.propose(candidates)
        seeder.settle()
        yield *found, np.array(seeder.gains()), potential._masks.copy(), potential.total
        potential._proposer = seeder
        potential._accept(row % n_candidates)


def check_bounds(*args, **kwargs):
    for gains, errors, masks, exact, exact_masks, total in bound_and_settle(*args, **kwargs):
        assert np.array_equal(masks & exact_masks, exact_masks)
        # Sums of at most 2000 gains round by less than this share of the potential.
        assert (np.abs(gains - exact) <= errors + 1e-12 * total).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HOSTILE)
def test_gains_from_codes_are_right_to_within_their_errors(name, dtype, isa, force):
    force("sketches")
    X = HOSTILE[name](mixture(1100, 21)).astype(dtype)
    check_bounds(X, isa)
    check_bounds(X, isa, weights=np.random.default_rng(2).uniform(0, 3, size=1100), n_threads=3)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 255, 256, 257, 600])
def test_codes_of_every_width(d, dtype, isa, force):
    force("sketches", n_directions=13)
    check_bounds(np.abs(mixture(333, d)).astype(dtype), isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("headroom", [1e-9, 1e-3, 0.3, 1e3, 1e9])
def test_codes_may_be_clipped_or_coarse(headroom, isa, force, monkeypatch):
    X = mixture(700, 30).astype(np.float32)
    expected = without(monkeypatch, X, 12, isa=isa)
    monkeypatch.setattr(_seed_pruning, "HEADROOM", headroom)
    force("sketches")
    check_bounds(X, isa)
    assert trace(X, 12, isa=isa) == expected


def test_codes_tell_gains_to_a_few_per_cent(force):
    force("sketches")
    for gains, errors, *_ in bound_and_settle(mixture(2000, 100), ISAS[-1]):
        assert errors.max() < 0.1 * gains.max()


@pytest.mark.parametrize("isa", ISAS)
def test_squares_of_the_longest_codes_do_not_overflow(isa, force):
    # Opposite corners of a cube: all differences are as large as codes can be.
    force("sketches", n_directions=1)
    X = np.repeat(np.where(np.arange(400) % 2, 1.0, -1.0)[:, None], 1500, axis=1)
    X[:, 0] += np.arange(400) * 1e-5
    check_bounds(X, isa)


@pytest.mark.parametrize("isa", ISAS)
def test_rounding_counts_where_codes_are_exact(isa, force, monkeypatch):
    # Whole numbers of steps, but every other row is a little farther than float32 can tell.
    force("sketches", n_directions=1)
    monkeypatch.setattr(_seed_pruning, "HEADROOM", 1)
    rows, signs = np.arange(20), np.random.default_rng(8).choice([-1, 1], size=40)
    half = np.full((20, 40), 100.0)
    half[:, 0] = 127
    half[rows, 1 + rows // 2] += 1
    half[rows[1::2], 20 + rows[1::2]] += 1 + 3e-6
    half *= signs
    check_bounds(np.concatenate([half, -half]), isa)


@pytest.mark.parametrize("isa", ISAS)
def test_what_rounding_moves_a_sketch_by_counts_where_its_code_is_exact(isa):
    # All rows are multiples of the one direction, so nothing of them is outside. But float32 adds
    # 512 equal squares of 127 m to 100 units of 2^-24 too much, those of 126 m to too little: the
    # first row has a rest, which is no smaller than the two are apart, and the candidate has none.
    d, m = 2**14, 15
    X = np.full((64, d), 128.0 * m, dtype=np.float32)
    X[0], X[1] = 127 * m, 126 * m
    X[2, 0] += 1  # the first seed, which is farther from row 0 than row 1 is
    X[32:] *= -1
    zeros = np.zeros(d)
    points, frame = _core.Points(X), _core.Frame(zeros, zeros.astype("f4"), 1.0, 1.0)
    basis = np.full((d, 1), 2.0**-7, dtype=np.float32)
    # Of coordinates, 127 m 2^7 and 126 m 2^7, and of the rest that row 0 has: 1 is enough of it.
    norms = np.array([127.0 * m, 126.0 * m]) * 2**7
    sums = [_float32_sum(np.float32((q * m) ** 2) * 32, d // 32) for q in (127, 126)]
    rest = np.sqrt(max(sums[0] - norms[0] ** 2, 0))
    assert rest**2 > 90 * 2.0**-24 * norms[0] ** 2
    assert sums[1] <= norms[1] ** 2
    steps = np.array([m * 2.0**7, rest], dtype=np.float32)
    sketches = _core.Sketches(points, frame, basis, steps, float(m), 1, isa)
    sketches.fill(0, len(X))
    closest, masks = np.full(64, np.inf), np.zeros(64, np.uint32)
    arrays = closest, np.empty(1), masks, np.empty((1, 1))
    seeder = _core.Seeder(points, frame, None, None, 1, *arrays, 1, isa)
    seeder.begin(X[2:3].astype(float))
    seeder.accept(0)
    candidates = X[1:2].astype(float)
    seeder.propose_sketched(sketches, np.array([1]), candidates)
    nearer = sums_of_sixteen(X.astype(float), candidates, np.zeros(64, int)) < closest
    assert nearer[0]
    assert (masks[nearer] == 1).all()


def _float32_sum(value, times):
    total = np.float32(0)
    for _ in range(times):
        total = np.float32(total + value)
    return float(total)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_settling_some_candidates_gives_the_bits_of_settling_all(isa, n_threads):
    problem = Problem(mixture(3000, 10), n_threads=n_threads, isa=isa)
    potential = Potential(problem, 9)
    potential.start(0)
    seeder, rows = potential._seeder(7), np.arange(5, 12)
    found = []
    for steps in ([0b1111111], [0b1000, 0b0100001, 0b0010110, 0b1000000]):
        seeder.propose(problem.rows(rows))
        for wanted in steps:
            rough = np.array(seeder.gains())
            seeder.settle(wanted)
            is_other = (wanted >> np.arange(7) & 1) == 0
            assert np.array_equal(rough[is_other], np.array(seeder.gains())[is_other])
            assert not np.array(seeder.errors())[~is_other].any()
        found.append((seeder.gains(), potential._masks.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("isa", ISAS)
def test_mirrored_candidates_leave_the_choice_to_float64(isa, force, monkeypatch):
    # Whatever one candidate gains, its image gains too, but for a rounding.
    half = mixture(500, 12)
    X = np.concatenate([half, half * np.where(np.arange(12) == 3, -1, 1)])
    expected = without(monkeypatch, X, 20, isa=isa)
    force("sketches")
    assert trace(X, 20, isa=isa) == expected
    potential = Potential(Problem(X, n_threads=1, isa=isa), 3)
    potential.start(0)
    potential.propose(np.array([7, 507, 7, 200, 507]))
    potential.accept(1)


@pytest.mark.parametrize("kind", KINDS)
def test_further_runs_use_what_the_first_one_made(kind, force):
    seen = force(kind)
    problem = Problem(mixture(2000, 12), n_threads=1)
    rows = [pick_plusplus_rows(problem, 10, np.random.RandomState(3)) for _ in range(3)]
    assert seen[kind] == 1
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_after_the_last_seeding(kind, force, monkeypatch):
    seen = force(kind)
    kept = []

    class Watched(Shared):
        def end_seeding(self, **options):
            super().end_seeding(**options)
            kept.append((self.codes, self.cells))

    monkeypatch.setattr("fastkm._problem.Shared", Watched)
    KMeans(10, n_init=3, random_state=0, algorithm="lloyd").fit(mixture(2000, 12))
    assert seen[kind] == 1
    assert kept == [(None, None)]


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HOSTILE)
def test_seeds_picked_in_one_call_are_those_picked_one_by_one(
    name, dtype, weighs, force, monkeypatch
):
    force("cells")
    X = HOSTILE[name](mixture(1500, 14)).astype(dtype)
    weights = np.random.default_rng(2).uniform(0, 3, size=1500) if weighs else None
    problem = Problem(X, weights, n_threads=2)
    states = np.random.RandomState(1), np.random.RandomState(1)
    rows = pick_plusplus_rows(problem, 50, states[0])
    monkeypatch.setattr(Potential, "picks", lambda self, n_candidates: False)
    assert np.array_equal(rows, pick_plusplus_rows(problem, 50, states[1]))
    assert states[0].random_sample() == states[1].random_sample()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", HOSTILE)
def test_gains_over_cells_are_right_to_within_their_errors(name, dtype, weighs, isa, force):
    force("cells")
    X = HOSTILE[name](mixture(1111, 13)).astype(dtype)
    weights = np.random.default_rng(2).uniform(0, 3, size=1111) if weighs else None
    problem = Problem(X, weights, n_threads=3, isa=isa)
    potential = Potential(problem, 30)
    potential.start(0)
    for row in range(1, 12):
        candidates = problem.rows((row * 13 + 17 * np.arange(9)) % 1111)
        seeder = potential._cells_of(potential._seeder(9))
        seeder.propose(candidates)
        gains, errors = np.array(seeder.gains()), np.array(seeder.errors())
        seeder.settle()
        exact = np.array(seeder.gains())
        # Where nothing is known the errors are infinite or no numbers; sums of 1111 gains round by
        # less than this share of the potential.
        is_right = np.abs(gains - exact) <= errors + 1e-12 * potential.total
        assert (is_right | ~np.isfinite(errors)).all()
        brute = potential._seeder(9)
        brute.propose(candidates)
        brute.settle()
        assert exact.tolist() == brute.gains()
        seeder.propose(candidates)
        potential._proposer = seeder
        potential._accept(row % 9)


def test_gains_over_cells_mostly_decide(force):
    force("cells")
    problem = Problem(mixture(20_000, 20), n_threads=1)
    potential = Potential(problem, 30)
    potential.start(0)
    seeder = potential._cells_of(potential._seeder(6))
    seeder.propose(problem.rows(np.arange(100, 106)))
    assert max(seeder.errors()) < 1e-4 * max(seeder.gains())


def test_rows_stay_in_order_within_a_leaf(rng):
    leaves = rng.integers(0, 37, size=5000).astype(np.uint16)
    order = np.empty(5000, np.int32)
    _core.order_by_leaf(leaves, 40, order)
    assert np.array_equal(order, np.argsort(leaves, kind="stable"))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pattern", ["random", "ascending", "pipe", "equal"])
def test_splits_are_at_medians_of_the_widest_feature(pattern, isa, rng):
    values = {
        "random": rng.normal(size=4096),
        "ascending": np.arange(4096.0),
        "pipe": np.minimum(np.arange(4096.0), np.arange(4096.0)[::-1]),
        "equal": np.zeros(4096),
    }[pattern]
    X = np.column_stack([rng.uniform(size=4096) * 1e-3, values])
    problem = Problem(X, n_threads=1)
    trees = []
    for n_threads in (1, 3):
        features, thresholds = np.zeros(8, np.int32), np.zeros(8)
        _core.split_rows(problem.points, np.arange(4096), 3, features, thresholds, n_threads, isa)
        trees.append((features, thresholds))
    assert all(map(np.array_equal, *trees))
    if pattern == "equal":
        assert features[1] == 0
        return
    assert features[1] == 1
    assert thresholds[1] == np.sort(values)[2048]


def test_every_row_is_in_one_cell(rng):
    X = mixture(3000, 4)
    problem = Problem(X, n_threads=2)
    features, thresholds = _seed_pruning._median_splits(problem)
    leaves = np.empty(3000, np.uint16)
    _core.sort_rows(problem.points, features, thresholds, leaves, 0, 3000, 2, problem.isa)
    nodes = np.ones(3000, int)
    while nodes[0] < len(features):
        below = X[np.arange(3000), features[nodes]] < thresholds[nodes]
        nodes = 2 * nodes + ~below
    assert np.array_equal(leaves, nodes - len(features))
    assert np.bincount(leaves).max() < 4 * 3000 / len(features)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: _core.Cells(p.points, p.frame, np.zeros(3, np.int32), False, 1, p.isa),
        lambda p: _core.Cells(p.points, p.frame, np.full(p.n, p.n, np.int32), False, 1, p.isa),
        lambda p: _core.Sketches(
            p.points, p.frame, np.ones((2, 1), "f4"), np.ones(2, "f4"), 1, 1, p.isa
        ),
        lambda p: _core.Sketches(
            p.points, p.frame, np.ones((5, 1), "f4"), np.ones(1, "f4"), 1, 1, p.isa
        ),
        lambda p: _core.sort_rows(
            p.points, np.full(2, p.d, "i4"), np.zeros(2), np.zeros(p.n, "u2"), 0, p.n, 1, p.isa
        ),
        lambda p: _core.sort_rows(
            p.points, np.zeros(3, "i4"), np.zeros(3), np.zeros(p.n, "u2"), 0, p.n, 1, p.isa
        ),
        lambda p: _core.split_rows(
            p.points, np.arange(6), 2, np.zeros(4, "i4"), np.zeros(4), 1, p.isa
        ),
        lambda p: _core.split_rows(
            p.points, np.full(8, p.n), 2, np.zeros(4, "i4"), np.zeros(4), 1, p.isa
        ),
        lambda p: _core.split_rows(
            p.points, np.arange(8), 2, np.zeros(2, "i4"), np.zeros(4), 1, p.isa
        ),
        lambda p: _core.split_rows(
            p.points, np.arange(8), 2, np.zeros(4, "i4"), np.zeros(4), 0, p.isa
        ),
        lambda p: _core.order_by_leaf(np.full(9, 4, "u2"), 4, np.zeros(9, "i4")),
        lambda p: _core.order_by_leaf(np.zeros(9, "u2"), 4, np.zeros(8, "i4")),
    ],
)
def test_what_does_not_fit_the_points_raises(wrong, rng):
    with pytest.raises(ValueError, match="must"):
        wrong(Problem(rng.normal(size=(100, 5)), n_threads=1))
