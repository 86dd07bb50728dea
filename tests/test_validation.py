"""Bad input: scikit-learn's exception and words where it has them, before any work."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn import config_context
from sklearn.exceptions import NotFittedError

import fastkm.kmeans
from fastkm import KMeans, MiniBatchKMeans, kmeans_plusplus
from fastkm._validation import check_centroids, check_points, check_weights

GOOD = np.arange(24.0).reshape(8, 3) ** 2


def _with(value, dtype=np.float64):
    X = GOOD.astype(dtype)
    X[5, 1] = value
    return X


BAD_X = {
    "nan": _with(np.nan),
    "nan float32": _with(np.nan, np.float32),
    "nan float16": _with(np.nan, np.float16),
    "inf": _with(np.inf),
    "-inf float32": _with(-np.inf, np.float32),
    "inf float16": _with(np.inf, np.float16),
    "nan fortran": np.asfortranarray(_with(np.nan)),
    "nan strided": np.repeat(_with(np.nan), 2, axis=1)[:, ::2],
    "nan list": _with(np.nan).tolist(),
    "nan object": _with(np.nan).astype(object),
    "scalar": 3.0,
    "1-D": GOOD[0],
    "1-D list": GOOD[0].tolist(),
    "3-D": GOOD[None],
    "no rows": GOOD[:0],
    "no features": GOOD[:, :0],
    "empty list": [],
    "too few rows": GOOD[:3],
    "strings": np.array([["a", "b"]] * 8),
    "numbers and strings": [[1, "a"]] * 8,
    "string": "abc",
    "bytes": np.array([[b"x", b"y"]] * 8),
    "complex": GOOD.astype(complex),
    "object of objects": np.array([[object(), 1]] * 8),
    "none": None,
    "dict": {"a": 1},
    "ragged": [[1, 2], [3]] * 4,
    "matrix": np.matrix(GOOD),
    "frame with text": pd.DataFrame({"a": ["x"] * 8}),
    "series": pd.Series(np.arange(8.0)),
}


@pytest.mark.parametrize("case", BAD_X)
def test_bad_x_raises_what_scikit_learn_raises(case, outcome):
    X = BAD_X[case]
    ours, theirs = outcome(KMeans(4).fit, X), outcome(sklearn.cluster.KMeans(4).fit, X)
    assert ours[0] is not None
    assert ours == theirs


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize("case", [case for case in BAD_X if case != "too few rows"])
def test_bad_x_after_fit_raises_what_scikit_learn_raises(case, method, outcome):
    X = BAD_X[case]
    ours = outcome(getattr(KMeans(4, random_state=0).fit(GOOD), method), X)
    theirs = outcome(getattr(sklearn.cluster.KMeans(4, random_state=0).fit(GOOD), method), X)
    assert ours[0] is not None
    assert ours == theirs


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_wrong_number_of_features(method, outcome):
    ours = outcome(getattr(KMeans(2).fit(GOOD), method), GOOD[:, :2])
    theirs = outcome(getattr(sklearn.cluster.KMeans(2).fit(GOOD), method), GOOD[:, :2])
    assert "X has 2 features" in ours[0][1]
    assert ours == theirs


@pytest.mark.parametrize("method", ["predict", "transform", "score", "get_feature_names_out"])
def test_unfitted(method, outcome):
    arguments = () if method == "get_feature_names_out" else (GOOD,)
    ours = outcome(getattr(KMeans(), method), *arguments)
    theirs = outcome(getattr(sklearn.cluster.KMeans(), method), *arguments)
    assert issubclass(ours[0][0], (NotFittedError, AttributeError))
    assert ours == theirs


def test_parameters_like_valid_ones_are_judged_anew():
    KMeans(2, n_init=1).fit(GOOD)
    for options in ({"n_clusters": 2.0}, {"copy_x": 1.0}, {"tol": "0.0001"}, {"max_iter": None}):
        for _ in range(2):
            with pytest.raises(ValueError, match="must be"):
                KMeans(**{"n_clusters": 2, "n_init": 1, **options}).fit(GOOD)
    given = np.array(GOOD, dtype=float)[:2]
    KMeans(2, init=given, n_init=1).fit(GOOD)
    for init in (given[0, 0], given[0], given[:, :, None]):
        with pytest.raises(ValueError, match=r"init|2D|dim"):
            KMeans(2, init=init, n_init=1).fit(GOOD)


def test_init_is_copied_and_its_values_are_looked_at():
    init = np.array(GOOD, dtype=float)[:2]
    kept = init.copy()
    KMeans(2, init=init, n_init=1).fit(GOOD)
    assert np.array_equal(init, kept)
    for value in (np.nan, np.inf):
        init[0, 0] = value
        with pytest.raises(ValueError, match="Input contains"):
            KMeans(2, init=init, n_init=1).fit(GOOD)


BAD_PARAMETERS = [
    {"n_clusters": 0},
    {"n_clusters": -1},
    {"n_clusters": 2.0},
    {"n_clusters": "2"},
    {"n_clusters": 9},
    {"max_iter": 0},
    {"max_iter": 1.5},
    {"tol": -1e-4},
    {"tol": np.nan},
    {"tol": "0"},
    {"n_init": 0},
    {"n_init": 2.5},
    {"n_init": "all"},
    {"verbose": -1},
    {"verbose": "yes"},
    {"random_state": "seed"},
    {"random_state": -1},
    {"copy_x": "yes"},
    {"copy_x": None},
    {"init": 5},
    {"init": None},
    {"init": scipy.sparse.csr_array(GOOD[:4])},
    {"init": GOOD[:3]},
    {"init": GOOD[:4, :2]},
    {"init": GOOD[0]},
    {"init": _with(np.nan)[4:]},
    {"init": _with(np.inf)[4:]},
    {"init": [["a"] * 3] * 4},
    {"init": lambda X, k, random_state: X[:3]},
    {"init": lambda X, k, random_state: X[:k, :2]},
    {"init": lambda X, k, random_state: X[:k] * np.nan},
]


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
def test_bad_parameter_raises_what_scikit_learn_raises(parameters, outcome):
    parameters = {"n_clusters": 4, "n_init": 1, **parameters}
    ours = outcome(KMeans(**parameters).fit, GOOD)
    theirs = outcome(sklearn.cluster.KMeans(**parameters).fit, GOOD)
    assert ours[0] is not None
    assert _ordered(ours) == _ordered(theirs)


def _ordered(result):
    """The outcome with the names of a set, printed in any order, in alphabetical order."""
    (kind, message), caught = result
    head, brace, tail = message.partition("{")
    names, _, rest = tail.partition("}")
    return kind, head, brace, sorted(names.split(", ")), rest, caught


def test_unknown_seeding_and_algorithm_name_the_choices(outcome):
    ours = outcome(KMeans(init="k-mean").fit, GOOD)
    theirs = outcome(sklearn.cluster.KMeans(init="k-mean").fit, GOOD)
    assert _ordered(ours) == _ordered(theirs)
    ours = outcome(KMeans(algorithm="full").fit, GOOD)
    theirs = outcome(sklearn.cluster.KMeans(algorithm="full").fit, GOOD)
    kind, head, brace, names, rest, caught = _ordered(theirs)
    assert _ordered(ours) == (kind, head, brace, sorted([*names, "'auto'"]), rest, caught)


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, "2"])
def test_bad_n_threads(n_threads):
    with pytest.raises(ValueError, match="'n_threads' parameter of KMeans must be"):
        KMeans(2, n_threads=n_threads).fit(GOOD)
    fitted = KMeans(2).fit(GOOD).set_params(n_threads=n_threads)
    with pytest.raises(ValueError, match="n_threads must be a positive int or None"):
        fitted.predict(GOOD)


BAD_WEIGHTS = {
    "too few": np.ones(7),
    "too many": np.ones(9),
    "2-D": np.ones((8, 1)),
    "nan": [np.nan] + [1] * 7,
    "inf": [np.inf] + [1] * 7,
    "strings": ["a"] * 8,
    "complex": np.ones(8) * 1j,
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_raise_what_scikit_learn_raises(case, outcome):
    weights = BAD_WEIGHTS[case]
    ours = outcome(KMeans(4).fit, GOOD, sample_weight=weights)
    theirs = outcome(sklearn.cluster.KMeans(4).fit, GOOD, sample_weight=weights)
    assert ours[0] is not None
    assert ours == theirs
    ours = outcome(KMeans(4).fit(GOOD).score, GOOD, sample_weight=weights)
    theirs = outcome(sklearn.cluster.KMeans(4).fit(GOOD).score, GOOD, sample_weight=weights)
    assert ours == theirs


@pytest.mark.parametrize("zero", [np.zeros(8), [0] * 8, 0])
def test_weights_that_are_all_zero(zero):
    # scikit-learn's words since 1.9, with every version.
    with pytest.raises(ValueError, match=r"^Sample weights must contain at least one non-zero"):
        KMeans(4).fit(GOOD, sample_weight=zero)


@pytest.mark.parametrize("negative", [[-1] + [1] * 7, -1.0, [-1] * 8])
def test_negative_weights(negative):
    message = "^Negative values in data passed to `sample_weight`"
    with pytest.raises(ValueError, match=message):
        KMeans(4).fit(GOOD, sample_weight=negative)
    with pytest.raises(ValueError, match=message):
        KMeans(4).fit(GOOD).score(GOOD, sample_weight=negative)


def test_centroids_are_a_copy():
    init = GOOD[:4].copy()
    assert not np.shares_memory(check_centroids(init, 4, GOOD), init)


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("way", [np.asarray, np.ndarray.tolist, lambda init: lambda *_, **__: init])
def test_seeds_that_float32_cannot_hold_are_refused_for_float32_rows(cls, way):
    init = GOOD[:4].astype(float)
    init[1, 2] = -1e39
    X = GOOD.astype("f4")
    with pytest.raises(ValueError, match=r"centers hold a value too large for dtype\('float32'\)"):
        cls(4, init=way(init), n_init=1).fit(X)
    assert np.isfinite(cls(4, init=way(init), n_init=1).fit(GOOD.astype(float)).inertia_)
    init[1, 2] = -3e38
    assert np.isfinite(cls(4, init=way(init), n_init=1).fit(X).cluster_centers_).all()


def test_packed_fields_are_aligned_by_a_copy():
    record = np.zeros(8, dtype=[("flag", "u1"), ("row", "f8", 3)])
    assert not record["row"].flags.aligned
    assert check_points(record["row"]).flags.aligned


def test_weights_whose_sum_overflows():
    with pytest.raises(ValueError, match=r"finite sum; got weights up to 1e\+308"):
        KMeans(4).fit(GOOD, sample_weight=[1e308] * 8)


def test_number_as_weight_weighs_every_row(outcome):
    assert check_weights(1, GOOD) is None
    assert check_weights(2.5, GOOD).tolist() == [2.5] * 8
    assert "NaN" in outcome(check_weights, np.nan, GOOD)[0][1]


@pytest.mark.parametrize("ones", [None, 1, np.ones(8), [1] * 8, np.ones(8, dtype=np.float32)])
def test_weights_of_one_are_no_weights(ones):
    assert check_weights(ones, GOOD) is None


@pytest.mark.parametrize("case", BAD_X)
def test_bad_x_raises_in_kmeans_plusplus(case):
    kind = TypeError if case in ("matrix", "object of objects", "dict") else ValueError
    with pytest.raises(kind):
        kmeans_plusplus(BAD_X[case], 4)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_clusters": 0},
        {"n_clusters": 9},
        {"n_local_trials": 0},
        {"random_state": "x"},
        {"sample_weight": np.ones(3)},
        {"x_squared_norms": np.ones(3)},
    ],
    ids=str,
)
def test_bad_parameter_of_kmeans_plusplus(parameters, outcome):
    parameters = {"n_clusters": 4, **parameters}
    ours = outcome(kmeans_plusplus, GOOD, **parameters)
    theirs = outcome(sklearn.cluster.kmeans_plusplus, GOOD, **parameters)
    assert ours[0] is not None
    assert ours == theirs


def test_warnings_are_scikit_learns(outcome):
    duplicated = np.repeat([[0.0, 1], [2, 5]], 4, axis=0)
    for parameters, X in [
        ({"n_clusters": 2, "init": GOOD[:2], "n_init": 3}, GOOD),
        ({"n_clusters": 1, "algorithm": "elkan"}, GOOD),
        ({"n_clusters": 3, "random_state": 0}, duplicated),
    ]:
        ours = outcome(KMeans(**parameters).fit, X)
        theirs = outcome(sklearn.cluster.KMeans(**parameters).fit, X)
        assert ours[0] is None
        assert len(ours[1]) == 1
        assert ours == theirs


@pytest.mark.parametrize(
    "parameters",
    [{"n_clusters": 2, "init": GOOD[:2], "n_init": 3}, {"n_clusters": 1, "algorithm": "elkan"}],
)
def test_warning_points_at_the_line_that_called_fit(parameters):
    with pytest.warns(RuntimeWarning) as caught:
        KMeans(**parameters).fit(GOOD)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "bad",
    [
        {"X": BAD_X["too few rows"]},
        {"X": BAD_X["nan"]},
        {"sample_weight": np.zeros(8)},
        {"sample_weight": -np.ones(8)},
        {"init": GOOD[:3]},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_nothing_runs_on_bad_input(bad, monkeypatch):
    def run_restarts(*args, **kwargs):
        raise AssertionError("the fit ran")

    monkeypatch.setattr(fastkm.kmeans, "run_restarts", run_restarts)
    with pytest.raises(AssertionError, match="the fit ran"):
        KMeans(4).fit(GOOD)
    before = {name: np.array(value) for name, value in bad.items()}
    kmeans = KMeans(4, init=bad.get("init", "random"))
    with pytest.raises(ValueError):  # noqa: PT011 (the words are tested above)
        kmeans.fit(bad.get("X", GOOD), sample_weight=bad.get("sample_weight"))
    assert not hasattr(kmeans, "cluster_centers_")
    for name, value in bad.items():
        assert np.array_equal(value, before[name], equal_nan=True)


def test_nan_is_found_under_assume_finite():
    with config_context(assume_finite=True), pytest.raises(ValueError, match="contains NaN"):
        KMeans(2).fit(BAD_X["nan"])


@pytest.mark.parametrize("dtype", [bool, "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_are_taken_where_they_stand(dtype, order):
    X = np.asarray(GOOD % 2, dtype=dtype, order=order)
    X.flags.writeable = False
    points = check_points(X)
    assert points.dtype == X.dtype
    assert np.shares_memory(points, X)
    assert points.strides == X.strides


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (GOOD.astype(">f8"), np.float64),
        (GOOD.astype(">i4"), np.float64),
        (GOOD.astype(np.longdouble), np.float64),
        (GOOD.astype(object), np.float64),
        (GOOD.astype(str), np.float64),
        (GOOD.tolist(), np.float64),
        (pd.DataFrame(GOOD), np.float64),
        (pd.DataFrame(GOOD.astype(np.float32)), np.float32),
        (pd.DataFrame(GOOD.astype(np.int8)), np.float64),
    ],
    ids=["big-endian", "big-endian int", "longdouble", "object", "text", "list", "f8", "f4", "i1"],
)
def test_other_containers_are_converted_as_scikit_learn_does(X, expected):
    points = check_points(X)
    assert points.dtype == expected
    assert points.dtype.isnative
    assert np.array_equal(points, GOOD.astype(np.int8) if points.max() < 529 else GOOD)
