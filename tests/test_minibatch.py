"""MiniBatchKMeans: scikit-learn's steps, with scikit-learn as referee."""

import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import reference
import sklearn.cluster
from beside import compares_batches
from sklearn.exceptions import NotFittedError

from fastkm import MiniBatchKMeans, _core
from fastkm._batches import Rules, State, Stepper, label, run
from fastkm._problem import Problem

Theirs = sklearn.cluster.MiniBatchKMeans


@pytest.fixture(scope="module")
def crowd():
    """3000 rows around 8 overlapping centres in 6 dimensions, some far from the origin."""
    generator = np.random.default_rng(5)
    centres = generator.uniform(-4, 4, size=(8, 6))
    centres += np.array([0, 0, 50, 0, -20, 0])
    return centres[generator.integers(8, size=3000)] + generator.normal(size=(3000, 6))


def assert_same_fit(ours, theirs, X):
    assert ours.n_steps_ == theirs.n_steps_
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-9)
    assert np.array_equal(ours._counts, theirs._counts)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert np.array_equal(ours.labels_, ours.predict(X))
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


SETTINGS = {
    "defaults": {},
    "many small batches": {"batch_size": 20, "max_no_improvement": 40},
    "random rows": {"init": "random", "batch_size": 100},
    "several seedings": {"n_init": 4, "init_size": 60, "batch_size": 50},
    "tol": {"tol": 1e-3, "max_no_improvement": None, "batch_size": 200},
    "all passes": {"max_no_improvement": None, "max_iter": 3, "batch_size": 700},
    "eager reassignment": {"reassignment_ratio": 0.9, "batch_size": 64},
    "no reassignment": {"reassignment_ratio": 0, "batch_size": 64},
    "more clusters than a batch": {"n_clusters": 40, "batch_size": 10, "max_no_improvement": 30},
    "one step": {"max_iter": 1, "batch_size": 10_000},
    "one cluster": {"n_clusters": 1},
}


@compares_batches
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_same_random_state_takes_scikit_learns_steps(crowd, settings, seed, monkeypatch):
    # scikit-learn leaves ties between counts to NumPy's unstable sort; ours go to the lowest index.
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda a, *args, **kw: argsort(a, *args, kind="stable"))
    parameters = {"n_clusters": 8, "random_state": seed, **settings}
    ours, theirs = MiniBatchKMeans(**parameters).fit(crowd), Theirs(**parameters).fit(crowd)
    assert_same_fit(ours, theirs, crowd)


@compares_batches
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_same_random_state_takes_scikit_learns_steps_with_weights(crowd, rng, init, seed):
    weights = rng.uniform(0, 3, size=len(crowd)) * (rng.random(len(crowd)) < 0.8)
    parameters = {"init": init, "n_init": 2, "batch_size": 128, "random_state": seed}
    ours = MiniBatchKMeans(8, **parameters).fit(crowd, sample_weight=weights)
    theirs = Theirs(8, **parameters).fit(crowd, sample_weight=weights)
    assert_same_fit(ours, theirs, crowd)


@compares_batches
def test_random_state_instance_is_left_as_scikit_learn_leaves_it(crowd):
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    MiniBatchKMeans(5, batch_size=50, random_state=ours).fit(crowd)
    Theirs(5, batch_size=50, random_state=theirs).fit(crowd)
    assert ours.uniform() == theirs.uniform()


def test_callable_init_gets_the_rows_that_scikit_learn_draws(crowd):
    seen = []

    def first_rows(X, n_clusters, random_state):
        seen.append(np.array(X))
        return X[:n_clusters]

    for estimator in (MiniBatchKMeans, Theirs):
        estimator(4, init=first_rows, n_init=2, init_size=30, random_state=0).fit(crowd)
    assert len(seen) == 4
    assert all(part.shape == (30, 6) for part in seen)
    assert np.array_equal(seen[:2], seen[2:])


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
def test_partial_fits_take_scikit_learns_steps(crowd, rng, init, is_weighted):
    parameters = {"init": crowd[:6] if init == "array" else init, "n_init": 1, "random_state": 1}
    ours, theirs = MiniBatchKMeans(6, **parameters), Theirs(6, **parameters)
    for begin in range(0, 600, 60):
        batch = crowd[begin : begin + 60]
        weights = rng.uniform(0, 2, size=60) if is_weighted else None
        ours.partial_fit(batch, sample_weight=weights)
        theirs.partial_fit(batch, sample_weight=weights)
        np.testing.assert_allclose(
            ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(ours._counts, theirs._counts, rtol=1e-12)
        assert np.array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
        assert ours.n_steps_ == theirs.n_steps_
    assert not hasattr(ours, "n_iter_")
    assert np.array_equal(ours.predict(crowd), theirs.predict(crowd))


@compares_batches
def test_partial_fit_goes_on_from_fit(crowd):
    ours = MiniBatchKMeans(6, batch_size=100, random_state=1).fit(crowd)
    theirs = Theirs(6, batch_size=100, random_state=1).fit(crowd)
    for begin in range(0, 300, 30):
        ours.partial_fit(crowd[begin : begin + 30])
        theirs.partial_fit(crowd[begin : begin + 30])
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-9)
    assert ours.n_steps_ == theirs.n_steps_


def test_partial_fit_equals_hand_calculation():
    kmeans = MiniBatchKMeans(2, init=[[0.0], [10.0]], n_init=1, reassignment_ratio=0)
    kmeans.partial_fit([[1.0], [3.0], [11.0]], sample_weight=[3, 1, 2])
    # The first has learnt 3 * 1 + 1 * 3 = 6 of weight 4, the second 2 * 11 of weight 2.
    assert kmeans.cluster_centers_.tolist() == [[1.5], [11.0]]
    # Under these centres 3 * 0.25 + 1 * 2.25 + 0.
    assert kmeans.inertia_ == 3.0
    kmeans.partial_fit([[5.5], [5.5]])
    # (1.5 * 4 + 2 * 5.5) / 6, nothing new for the second.
    assert kmeans.cluster_centers_[0, 0] == pytest.approx(17 / 6, rel=1e-15)
    assert kmeans.cluster_centers_[1, 0] == 11
    assert kmeans._counts.tolist() == [6, 2]
    assert kmeans.n_steps_ == 2


def _tokens(text):
    """Words and numbers; numbers as floats, which may differ in their last digits."""
    number = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
    return number.sub("#", text), [float(x) for x in number.findall(text)]


@compares_batches
@pytest.mark.parametrize(
    "settings",
    [
        {"max_no_improvement": 3},
        {"tol": 0.05},
        {"max_iter": 1, "reassignment_ratio": 0.8, "n_init": 3, "batch_size": 20},
        {"init": "array", "max_iter": 1},
    ],
)
def test_verbose_prints_scikit_learns_lines(crowd, capsys, settings):
    parameters = {"n_clusters": 4, "batch_size": 300, "random_state": 0, "verbose": 1, **settings}
    if parameters.get("init") == "array":
        parameters["init"] = crowd[:4]
    MiniBatchKMeans(**parameters).fit(crowd)
    ours = _tokens(capsys.readouterr().out)
    Theirs(**parameters).fit(crowd)
    theirs = _tokens(capsys.readouterr().out)
    assert ours[0] == theirs[0]
    assert "Minibatch step" in ours[0]
    assert ours[1] == pytest.approx(theirs[1], rel=1e-9)


def test_verbose_tells_reason_and_reassignments(crowd, capsys):
    MiniBatchKMeans(4, max_no_improvement=2, random_state=0, verbose=1).fit(crowd)
    assert "Converged (lack of improvement in inertia) at step" in capsys.readouterr().out
    MiniBatchKMeans(4, tol=10, random_state=0, verbose=1).fit(crowd)
    assert "Converged (small centers change) at step 2/" in capsys.readouterr().out
    MiniBatchKMeans(8, reassignment_ratio=0.9, random_state=0, verbose=1).fit(crowd)
    assert "[MiniBatchKMeans] Reassigning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameters", "n_rows"),
    [
        ({"n_clusters": 20, "init_size": 5}, 100),
        ({"n_clusters": 3, "init": np.zeros((3, 6)), "n_init": 4}, 100),
        ({"n_clusters": 3, "init": np.zeros((2, 6)), "n_init": 1}, 100),
        ({"n_clusters": 3, "init": np.zeros((3, 5)), "n_init": 1}, 100),
        ({"n_clusters": 20}, 10),
        ({"batch_size": 0}, 100),
        ({"batch_size": 2.5}, 100),
        ({"max_no_improvement": -1}, 100),
        ({"init_size": 0}, 100),
        ({"reassignment_ratio": -0.1}, 100),
        ({"compute_labels": "yes"}, 100),
        ({"n_init": 0}, 100),
        ({"max_iter": 0}, 100),
        ({"tol": -1.0}, 100),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_errors_and_warnings_are_scikit_learns(crowd, outcome, parameters, n_rows, method):
    ours = outcome(getattr(MiniBatchKMeans(**parameters), method), crowd[:n_rows])
    theirs = outcome(getattr(Theirs(**parameters), method), crowd[:n_rows])
    assert ours == theirs
    assert ours != (None, [])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_warnings_point_at_the_caller(crowd, method):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(MiniBatchKMeans(20, init_size=5), method)(crowd[:100])
        getattr(MiniBatchKMeans(2, init=crowd[:2], n_init=2), method)(crowd[:100])
    assert [warning.filename for warning in caught] == [__file__, __file__]


@pytest.mark.parametrize(
    ("batch_size", "n_clusters", "init_size", "n_rows", "expected"),
    [
        (5, 10, None, 1000, 15),
        (2, 10, None, 1000, 30),  # three batches are too few: three rows a cluster
        (1024, 10, None, 1000, 1000),
        (5, 10, 20, 1000, 20),
    ],
)
def test_init_size_is_scikit_learns(batch_size, n_clusters, init_size, n_rows, expected):
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    parameters = {"batch_size": batch_size, "init_size": init_size, "max_iter": 1}
    ours = MiniBatchKMeans(n_clusters, **parameters).fit(X)
    theirs = Theirs(n_clusters, **parameters).fit(X)
    assert ours._init_size == theirs._init_size == expected


def test_survives_reassigning_more_than_the_batch_holds(crowd):
    # All but one centroid are far from every row, so that 39 of 40 are to be reassigned from
    # batches of 10, of which at most 5 are.
    init = np.vstack([crowd[:1], np.full((39, 6), 1e6)])
    kmeans = MiniBatchKMeans(40, init=init, n_init=1, batch_size=10, random_state=0)
    kmeans.partial_fit(crowd[:40])
    assert (np.abs(kmeans.cluster_centers_) < 1e3).all(axis=1).sum() == 1 + 20
    kmeans = MiniBatchKMeans(40, init=init, n_init=1, batch_size=10, max_iter=1, random_state=0)
    kmeans.fit(crowd[:40])
    # Four steps of at most five reassignments each, ties to the lowest index.
    assert (np.abs(kmeans.cluster_centers_[:6]) < 1e3).all()
    assert np.isfinite(kmeans.cluster_centers_).all()


def test_survives_a_ratio_above_one(crowd):
    kmeans = MiniBatchKMeans(3, reassignment_ratio=2, batch_size=50, random_state=0).fit(crowd)
    assert np.isfinite(kmeans.cluster_centers_).all()


@compares_batches
def test_inertia_estimate_without_labels_is_scikit_learns(crowd, rng):
    for weights in (None, rng.uniform(1, 2, size=len(crowd))):
        parameters = {"compute_labels": False, "random_state": 0, "batch_size": 100}
        ours = MiniBatchKMeans(4, **parameters).fit(crowd, sample_weight=weights)
        theirs = Theirs(4, **parameters).fit(crowd, sample_weight=weights)
        assert not hasattr(ours, "labels_")
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


def test_refit_without_labels_leaves_none_of_the_earlier_fit(crowd):
    kmeans = MiniBatchKMeans(4, random_state=0).fit(crowd)
    assert not hasattr(kmeans.set_params(compute_labels=False).fit(crowd), "labels_")


def test_one_step_without_labels_has_the_batchs_inertia(crowd):
    # scikit-learn has no estimate after one step, and fails.
    kmeans = MiniBatchKMeans(
        1, init=np.zeros((1, 6)), n_init=1, max_iter=1, batch_size=3000, compute_labels=False
    ).fit(np.full((3000, 6), 2.0))
    assert kmeans.inertia_ == 3000 * 6 * 4.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64, bool])
def test_dtypes_of_centres_and_labels(rng, dtype):
    X = rng.integers(0, 2 if dtype is bool else 50, size=(300, 4)).astype(dtype)
    expected = np.float32 if dtype == np.float32 else np.float64
    kmeans = MiniBatchKMeans(3, batch_size=40, random_state=0).fit(X)
    assert kmeans.cluster_centers_.dtype == expected
    assert kmeans.partial_fit(X).cluster_centers_.dtype == expected
    partial = MiniBatchKMeans(3, random_state=0).partial_fit(X)
    assert partial.cluster_centers_.dtype == expected
    assert kmeans.labels_.dtype == np.int32
    assert np.array_equal(kmeans.labels_, reference.assign(X, kmeans.cluster_centers_))


def test_integers_take_the_centres_of_float32_to_float64(crowd):
    kmeans = MiniBatchKMeans(3, random_state=0).partial_fit(crowd.astype(np.float32))
    kmeans.partial_fit(np.round(crowd).astype(int))
    assert kmeans.cluster_centers_.dtype == np.float64
    lists = MiniBatchKMeans(2, random_state=0).partial_fit([[1, 2], [3, 4]])
    assert lists.partial_fit([[5, 6], [7, 8]]).cluster_centers_.dtype == np.float64


def test_dtypes_and_layouts_of_the_same_values_take_the_same_steps(rng):
    X = rng.integers(0, 100, size=(500, 7))
    wide = np.zeros((1000, 14))
    wide[::2, ::2] = X
    strided = wide[::2, ::2]
    expected = MiniBatchKMeans(5, batch_size=64, random_state=0).fit(X)
    for other in (X.astype(np.uint8), X.astype(np.float64), np.asfortranarray(X), strided):
        fit = MiniBatchKMeans(5, batch_size=64, random_state=0).fit(other)
        assert np.array_equal(fit.cluster_centers_, expected.cluster_centers_)
        assert np.array_equal(fit.labels_, expected.labels_)
        assert fit.inertia_ == expected.inertia_
    single = MiniBatchKMeans(5, batch_size=64, random_state=0).fit(X.astype(np.float32))
    assert np.array_equal(single.cluster_centers_, expected.cluster_centers_.astype(np.float32))
    assert single.n_steps_ == expected.n_steps_


def test_input_is_read_in_place_and_left_alone(crowd):
    X, init, weights = crowd.copy(), crowd[:4].copy(), np.linspace(0, 1, len(crowd))
    before = X.copy(), init.copy(), weights.copy()
    for array in (X, init, weights):
        array.flags.writeable = False
    kmeans = MiniBatchKMeans(4, init=init, n_init=1, random_state=0)
    kmeans.fit(X, sample_weight=weights).partial_fit(X, sample_weight=weights)
    assert all(np.array_equal(a, b) for a, b in zip((X, init, weights), before, strict=True))
    assert not np.shares_memory(kmeans.cluster_centers_, init)
    older = kmeans.cluster_centers_
    kept = older.copy()
    assert kmeans.partial_fit(X).cluster_centers_ is not older
    assert np.array_equal(older, kept)


def test_extreme_values_neither_overflow_nor_vanish():
    X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    expected = MiniBatchKMeans(2, init=X[[0, 3]], n_init=1, random_state=0).fit(X)
    for exponent in (-450, 450):
        scaled = np.ldexp(X, exponent)
        fit = MiniBatchKMeans(2, init=scaled[[0, 3]], n_init=1, random_state=0).fit(scaled)
        assert np.array_equal(fit.cluster_centers_, np.ldexp(expected.cluster_centers_, exponent))
        assert np.array_equal(fit.labels_, expected.labels_)
        assert fit.inertia_ == np.ldexp(expected.inertia_, 2 * exponent)
    for exponent in (-1000, 1000):  # inertia leaves float64's range, centres need not
        scaled = np.ldexp(X, exponent)
        fit = MiniBatchKMeans(2, init=scaled[[0, 3]], n_init=1, random_state=0).fit(scaled)
        assert (fit.cluster_centers_ >= scaled.min(axis=0)).all()
        assert (fit.cluster_centers_ <= scaled.max(axis=0)).all()
        assert np.array_equal(fit.labels_, expected.labels_)


def test_rows_of_zero_weight_are_never_learnt_from(crowd):
    weights = np.ones(len(crowd))
    weights[::2] = 0
    spoilt = crowd.copy()
    spoilt[::2] = 1e5
    ours = MiniBatchKMeans(5, batch_size=50, random_state=0).fit(spoilt, sample_weight=weights)
    assert np.abs(ours.cluster_centers_).max() < 1e3


def test_seeding_from_rows_without_weight_is_an_error(crowd):
    weights = np.zeros(len(crowd))
    weights[0] = 1
    with pytest.raises(ValueError, match="rows drawn to seed from must not all have zero weight"):
        MiniBatchKMeans(2, init_size=3, random_state=0).fit(crowd, sample_weight=weights)


def test_not_fitted(crowd):
    with pytest.raises(NotFittedError):
        MiniBatchKMeans().predict(crowd)


def test_nan_is_refused_with_scikit_learns_words(crowd, outcome):
    X = crowd.copy()
    X[17, 3] = np.nan
    for method in ("fit", "partial_fit"):
        ours = outcome(getattr(MiniBatchKMeans(3), method), X)
        assert ours == outcome(getattr(Theirs(3), method), X)
        assert ours[0] is not None


@pytest.mark.parametrize("d", [1, 3, 16, 33])
def test_bits_do_not_depend_on_threads_or_instruction_set(rng, d):
    X = (rng.normal(size=(3000, d)) + rng.integers(0, 9, size=(3000, 1)) * 3).astype(np.float32)
    weights = rng.uniform(0, 2, size=len(X))
    rules = Rules(700, 12, 0.0, None, 0.05, False)
    results = []
    for isa in _core.supported_isas():
        for n_threads in (1, 2, 3, 5):
            problem = Problem(X, weights, n_threads=n_threads, isa=isa)
            fit = run(problem, X[:50].astype(float), rules, np.random.RandomState(0))
            # A whole batch in place, with its weights, large enough for every thread.
            stepper = Stepper(problem, 50)
            inertia = stepper.step(fit.state, np.random.RandomState(1), rules)
            labels, final = label(problem, fit.state.centroids)
            results.append((fit.state.centroids, fit.state.counts, labels, [inertia, final]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_forced_instruction_sets_give_the_same_bits_through_the_front_door():
    code = """
import numpy as np
from fastkm import MiniBatchKMeans
X = np.random.default_rng(0).normal(size=(4000, 20))
for n_threads in (1, 2, 4):
    fit = MiniBatchKMeans(30, batch_size=800, random_state=0, n_threads=n_threads).fit(X)
    print(fit.n_steps_, fit.inertia_.hex(), hash(fit.cluster_centers_.tobytes()))
"""
    outputs = set()
    for isa in _core.supported_isas():
        env = {**os.environ, "FASTKM_ISA": isa, "PYTHONHASHSEED": "0"}
        out = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        outputs.update(out.stdout.splitlines())
    assert len(outputs) == 1


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_step_equals_oracle(rng, n_rows, dtype, order):
    X = np.asarray(rng.integers(0, 30, size=(400, 5)), dtype=dtype, order=order)
    problem = Problem(X, n_threads=2)
    init, counts = rng.uniform(0, 30, size=(7, 5)), rng.integers(0, 9, size=7).astype(float)
    rows = rng.integers(0, 400, size=n_rows)
    state = State(init, counts)
    stepper = Stepper.on_rows_of(problem, n_rows, 7)
    inertia = stepper.step(state, None, Rules(n_rows, 1, 0.0, None, 0.0, False), rows)
    batch = X[rows].astype(float)
    labels = reference.assign(batch, init)
    assert inertia == pytest.approx(reference.inertia(batch, labels, init), rel=1e-13)
    for j in range(7):
        own = batch[labels == j]
        total = counts[j] + len(own)
        mean = (init[j] * counts[j] + own.sum(axis=0)) / total if len(own) else init[j]
        np.testing.assert_allclose(state.centroids[j], mean, rtol=1e-14)
        assert state.counts[j] == total


def test_core_refuses_what_does_not_fit(rng):
    X = rng.normal(size=(300, 4))
    problem = Problem(X, n_threads=1)
    memory = np.empty((10, 4))
    part = problem.of_rows(memory)
    engine = part.engine(3)
    batch = _core.Batch(part.points, engine, problem.points, memory.view(np.uint8))
    labels = np.zeros(10, dtype=np.int32)
    engine.set_centroids(X[:3])
    with pytest.raises(ValueError, match="rows must be in 0 to 299"):
        batch.assign(labels, 0, 10, np.full(10, 300))
    with pytest.raises(ValueError, match="labels must be in 0 to 2"):
        batch.sort(np.full(10, 3, dtype=np.int32))
    with pytest.raises(ValueError, match="must be that of the batch's points"):
        _core.Batch(part.points, engine, problem.points, np.empty((10, 32), dtype=np.uint8))
    with pytest.raises(ValueError, match="engine must be of the batch's points"):
        _core.Batch(problem.points, engine)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8"])
@pytest.mark.parametrize("layout", ["C", "F", "reversed"])
def test_parts_are_copies_of_rows(rng, dtype, layout):
    X = rng.integers(0, 100, size=(700, 9)).astype(dtype)
    X = {"C": X, "F": np.asfortranarray(X), "reversed": X[::-1, ::-1]}[layout]
    weights = rng.uniform(size=700)
    rows = rng.integers(700, size=300)
    part = Problem(X, weights, n_threads=2).part(rows)
    assert part.X.dtype == X.dtype
    assert np.array_equal(part.X, X[rows])
    assert np.array_equal(part.sample_weight, weights[rows])


def test_core_copies_no_row_that_is_not_there(rng):
    points = Problem(rng.normal(size=(10, 3)), n_threads=1)
    for wrong in (np.array([10]), np.array([-1])):
        with pytest.raises(ValueError, match="rows must be in 0 to 9"):
            _core.gather(points.points, wrong, np.empty((1, 24), dtype=np.uint8), 1, points.isa)
    with pytest.raises(ValueError, match="memory must hold 2 rows"):
        _core.gather(
            points.points,
            np.zeros(2, dtype=np.int64),
            np.empty((2, 8), dtype=np.uint8),
            1,
            points.isa,
        )
