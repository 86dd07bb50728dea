"""The silhouette plot: each row's value at a place of its own, whatever the clusters' sizes."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_samples

from fastkm.plotting import _silhouette, plot_silhouette

X, _ = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def steps(band):
    """Return (value, from, to) of each step that a band's outline goes through, top to bottom."""
    if not band.get_paths():
        return []
    x, y = band.get_paths()[0].vertices.T
    steps = {}
    for value, place in zip(x, y, strict=True):
        if value != 0:
            steps.setdefault(float(value), []).append(float(place))
    return [(value, min(places), max(places)) for value, places in steps.items()]


def test_bands_hold_each_row_from_the_best_to_the_worst():
    ax = plot_silhouette([0.1, 0.5, -0.2, 0.3, 0.4], [0, 0, 0, 1, 1])
    first, second = (sorted(steps(band), key=lambda step: step[1]) for band in ax.collections)
    assert [value for value, *_ in first] == [0.5, 0.1, -0.2]
    assert [value for value, *_ in second] == [0.4, 0.3]
    # A row is one unit long, and a band begins after the one before.
    np.testing.assert_allclose([end - begin for _, begin, end in first + second], 1)
    assert second[0][1] > first[-1][2]
    low, high = ax.get_ylim()
    assert low > high  # cluster 0 is at the top


def test_dashes_are_at_the_mean():
    values = [0.1, 0.5, -0.2, 0.3, 0.4]
    ax = plot_silhouette(values, [0, 0, 0, 1, 1])
    (dashed,) = (line for line in ax.lines if line.get_linestyle() != "-")
    np.testing.assert_allclose(dashed.get_xdata(), np.mean(values))
    assert "their mean, 0.220" in ax.texts[0].get_text()


def test_rows_beyond_max_rows_are_thinned_and_this_is_said():
    values = np.linspace(-0.5, 0.9, 1000)
    ax = plot_silhouette(values, np.repeat([0, 1], [100, 900]), max_rows=50)
    n_steps = [len(steps(band)) for band in ax.collections]
    assert n_steps == [5, 45]
    assert ax.texts[0].get_text().startswith("50 of 1,000 rows, evenly")
    # Bands keep the length of all their rows, and the mean is that of all.
    lengths = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in ax.collections]
    np.testing.assert_allclose(lengths, [100, 900])
    assert "mean of all, 0.200" in ax.texts[0].get_text().replace("\n", " ")


def test_a_cluster_of_few_rows_stays_in_a_thinned_drawing():
    ax = plot_silhouette(np.full(1001, 0.5), np.repeat([0, 1], [1000, 1]), max_rows=10)
    assert [len(band.get_paths()) for band in ax.collections] == [1, 1]


def test_an_empty_cluster_has_a_name_and_no_band():
    ax = plot_silhouette([0.1, 0.2], [0, 2], n_clusters=4)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1", "2", "3"]
    assert [len(steps(band)) for band in ax.collections] == [1, 0, 1, 0]


def test_inferred_classes_are_beside_the_clusters():
    ax = plot_silhouette([0.1, 0.2], [0, 1], cluster_labels={1: "cat"})
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0: -", "1: cat"]


def test_labels_of_small_clusters_are_moved_apart_and_stay_in_order():
    places = np.array([10.0, 10.5, 11.0, 50.0, 99.0, 99.5])
    apart = _silhouette._apart(places, 4.0, 100.0)
    assert (np.diff(apart) >= 4.0).all()
    assert apart[3] == 50.0  # nothing near: it stays beside its band
    assert apart[-1] == 98.0  # half a label's height from the end


def test_of_very_many_clusters_only_some_are_labelled():
    ax = plot_silhouette(np.full(250, 0.5), np.arange(250))
    texts = [tick.get_text() for tick in ax.get_yticklabels()]
    assert texts[:3] == ["0", "3", "6"]
    assert len(ax.collections) == 250


@pytest.mark.parametrize("kind", ["digits", "skewed"])
def test_sixty_four_labels_do_not_overlap(kind):
    if kind == "digits":
        labels = KMeans(64, n_init=1, max_iter=10, random_state=0).fit(X).labels_
        values = silhouette_samples(X, labels)
    else:
        labels = np.repeat(np.arange(64), [1] * 24 + [100] * 16 + [1] * 24)
        values = np.full(len(labels), 0.5)
    ax = plot_silhouette(values, labels)
    ax.figure.canvas.draw()
    boxes = [tick.get_window_extent() for tick in ax.get_yticklabels()]
    assert len(boxes) == 64
    for above, below in itertools.pairwise(boxes):
        assert not above.shrunk(1, 0.9).overlaps(below)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda **b: plot_silhouette([0.1, 0.2], [0], **b), ValueError, "inconsistent numbers"),
        (lambda **b: plot_silhouette([0.1, np.nan], [0, 1], **b), ValueError, "1 of 2 are NaN"),
        (lambda **b: plot_silhouette([0.1, 1.1], [0, 1], **b), ValueError, "between -1 and 1"),
        (lambda **b: plot_silhouette([[0.1, 0.2]], [0, 1], **b), ValueError, r"shape \(1, 2\)"),
        (
            lambda **b: plot_silhouette([0.1, 0.2], [1, 1], **b),
            ValueError,
            "all 2 rows are in cluster 1",
        ),
        (lambda **b: plot_silhouette([0.1, 0.2], [0, -1], **b), ValueError, "noise"),
        (
            lambda **b: plot_silhouette([0.1, 0.2], KMeans(2), **b),
            TypeError,
            "pass its labels_",
        ),
        (
            lambda **b: plot_silhouette([0.1, 0.2], [0, 1], max_rows=0, **b),
            ValueError,
            "max_rows must be 1 or more",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, words, backend):
    if backend == "plotly":
        pytest.importorskip("plotly", reason="plotly is not installed")
    with pytest.raises(error, match=words):
        call(backend=backend)
    assert plt.get_fignums() == []
