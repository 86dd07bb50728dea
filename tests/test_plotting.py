"""Drawings, looked at through matplotlib's own objects: what is drawn, where, in which colour."""

import doctest
import itertools
import subprocess
import sys
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from sklearn.cluster import (
    AgglomerativeClustering,
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
)
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import silhouette_samples
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastkm
from fastkm import plotting
from fastkm.callbacks import History
from fastkm.evaluation import confusion_matrix, infer_cluster_labels, score_table
from fastkm.plotting import (
    _comparison,
    _convergence,
    _counts,
    _images,
    _regions,
    _silhouette,
    _style,
    _sweep,
    plot_centroids,
    plot_cluster_samples,
    plot_cluster_sizes,
    plot_comparison,
    plot_confusion_matrix,
    plot_convergence,
    plot_decision_regions,
    plot_silhouette,
    plot_sweep,
)

X, Y = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def kmeans():
    return KMeans(10, n_init=1, random_state=0).fit(X)


@pytest.fixture(scope="module")
def many():
    return KMeans(64, n_init=1, max_iter=10, random_state=0).fit(X)


@pytest.fixture(scope="module")
def flat():
    points, _ = make_blobs(400, centers=[[0, 0], [6, 0], [0, 6]], random_state=0)
    return points, KMeans(3, n_init=1, random_state=0).fit(points)


def table():
    options = {"n_init": 1, "random_state": 0}
    seedings = ("k-means++", "random")
    return score_table(
        {
            init: {"a": KMeans(3, init=init, **options), "b": BisectingKMeans(3)}
            for init in seedings
        },
        X[:200],
        Y[:200],
    )


def every_drawing(estimator):
    names = infer_cluster_labels(estimator.labels_, Y)
    plane = PCA(2).fit_transform(X)
    in_plane = KMeans(len(estimator.cluster_centers_), n_init=1, random_state=0).fit(plane)
    yield plot_centroids(estimator, cluster_labels=names)
    yield plot_centroids(estimator, title="A title far too long for a figure of this size " * 3)
    yield plot_cluster_samples(X, estimator.labels_, cluster_labels=names)
    yield plot_decision_regions(in_plane, plane, resolution=40)
    yield plot_decision_regions(estimator, X, cluster_labels=names, resolution=40)
    yield plot_confusion_matrix(Y, estimator.labels_, names)
    yield plot_confusion_matrix(Y, estimator.labels_)
    yield plot_cluster_sizes(estimator.labels_, cluster_labels=names)
    yield plot_comparison(table())
    silhouettes = silhouette_samples(X, estimator.labels_)
    yield plot_silhouette(silhouettes, estimator.labels_)
    yield plot_silhouette(silhouettes, estimator.labels_, cluster_labels=names, max_rows=500)
    yield plot_sweep(sweep(range(1, 65, 3)), chosen={"inertia": 10, "silhouette": 31})
    yield plot_sweep(sweep([2, 5]), ["silhouette"], chosen={"silhouette": 5})
    history = History()
    fastkm.KMeans(len(estimator.cluster_centers_), n_init=3, random_state=0, callback=history).fit(
        X[:500]
    )
    yield plot_convergence(history)
    yield plot_convergence({"one fit": history, "another": history})


def sweep(ks):
    ks = np.array(ks)
    return {"k": ks, "inertia": 1e7 / ks, "silhouette": np.where(ks > 1, 1 / (1 + ks), np.nan)}


def figure_of(drawing):
    return drawing if isinstance(drawing, Figure) else drawing.figure


@pytest.mark.parametrize(
    "module", [_comparison, _convergence, _counts, _images, _regions, _silhouette, _sweep]
)
def test_examples_of_the_docstrings_run(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


def test_one_panel_returns_axes_and_several_a_figure(kmeans):
    kinds = [type(drawing) for drawing in every_drawing(kmeans)]
    assert kinds[:9] == [Figure, Figure, Figure, Axes, Axes, Axes, Axes, Axes, Figure]
    assert kinds[9:] == [Axes, Axes, Figure, Figure, Figure, Figure]


class Laid(NamedTuple):
    """Where the texts of a drawing came to lie, in pixels."""

    size: tuple[int, int]
    boxes: list  # (text, box) of every text
    panels: list  # for each panel, (text, box) of its title, labels and ticks


@pytest.fixture(scope="module", params=[10, 64])
def laid_out(request, kmeans, many):
    """Return where the texts of every drawing lie, for 10 and for 64 clusters."""
    plt.switch_backend("Agg")
    laid = []
    for drawing in every_drawing(kmeans if request.param == 10 else many):
        figure = figure_of(drawing)
        figure.canvas.draw()
        panels = []
        for ax in figure.axes:
            heads = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
            panels.append(boxes_of([*heads, *ax.get_xticklabels(), *ax.get_yticklabels()]))
        every = boxes_of(figure.findobj(mpl.text.Text))
        laid.append(Laid(figure.canvas.get_width_height(), every, panels))
        plt.close(figure)
    return laid


def boxes_of(texts):
    shown = [text for text in texts if text.get_text() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


def test_no_text_is_clipped(laid_out):
    for drawing in laid_out:
        width, height = drawing.size
        for text, box in drawing.boxes:
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
            assert inside, f"{text!r} at {box} leaves {width} x {height}"


def test_titles_labels_and_ticks_do_not_overlap(laid_out):
    for drawing in laid_out:
        for panel in drawing.panels:
            # A box holds the ascent and descent of letters that may not occur: allow 5 % a side.
            for (a, box), (b, other) in itertools.combinations(panel, 2):
                assert not box.shrunk(0.98, 0.9).overlaps(other), (a, b)


def test_drawings_do_not_show_or_change_rcparams(kmeans, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    before = dict(mpl.rcParams)
    for drawing in every_drawing(kmeans):
        plt.close(figure_of(drawing))
    assert dict(mpl.rcParams) == before


def test_given_axes_are_drawn_on_and_returned(flat):
    points, estimator = flat
    labels = estimator.labels_
    _, axes = plt.subplots(1, 4)
    assert plot_decision_regions(estimator, points, resolution=20, ax=axes[0]) is axes[0]
    assert plot_confusion_matrix(labels, labels, ax=axes[1]) is axes[1]
    assert plot_cluster_sizes(labels, ax=axes[2]) is axes[2]
    assert plot_silhouette(np.zeros(len(labels)), labels, ax=axes[3]) is axes[3]
    assert len(plt.get_fignums()) == 1


# The simulation of dichromacy by Machado, Oliveira and Fernandes (2009), severity 1.0.
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def lab(rgb):
    """CIE L*a*b* of linear sRGB under D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = rgb @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("vision", VISION)
def test_ten_clusters_can_be_told_apart_whatever_the_vision(vision):
    srgb = np.array([to_rgb(_style.cluster_color(j)) for j in range(10)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    colors = lab(np.clip(linear @ VISION[vision].T, 0, 1))
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2)
    # A difference of 2.3 is just noticeable side by side; far apart on a slide it takes several.
    assert distances[np.triu_indices(10, 1)].min() > 6 * 2.3


def test_sixty_four_clusters_have_sixty_four_colors():
    assert len({_style.cluster_color(j) for j in range(64)}) == 64


def test_cluster_has_the_same_color_in_all_drawings(kmeans, flat):
    colors = [_style.cluster_color(j) for j in range(10)]
    bars = plot_cluster_sizes(kmeans.labels_).patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == colors
    for figure in (plot_centroids(kmeans), plot_cluster_samples(X, kmeans.labels_)):
        assert [to_hex(ax.spines["left"].get_edgecolor()) for ax in figure.axes] == colors
    points, estimator = flat
    (dots,) = plot_decision_regions(estimator, points, resolution=20).collections[-1:]
    expected = [colors[j] for j in estimator.predict(points)]
    assert [to_hex(color) for color in dots.get_facecolors()] == expected
    bands = plot_silhouette(np.ones(len(X)), kmeans.labels_).collections
    assert [to_hex(band.get_facecolor()[0]) for band in bands] == colors


def test_centroid_images_are_the_centroids_on_one_scale(kmeans):
    figure = plot_centroids(kmeans, (8, 8))
    drawn = np.array([ax.images[0].get_array() for ax in figure.axes])
    centroids = kmeans.cluster_centers_
    low, high = centroids.min(), centroids.max()
    np.testing.assert_allclose(drawn.reshape(10, 64), (centroids - low) / (high - low))


def test_centroids_are_titled_with_their_inferred_class(kmeans):
    names = infer_cluster_labels(kmeans.labels_, Y)
    del names[4]
    titles = [ax.get_title() for ax in plot_centroids(kmeans, cluster_labels=names).axes]
    assert titles == [str(names.get(j, "no rows")) for j in range(10)]


def test_centroid_images_may_be_taken_to_pixels_and_be_rgb():
    estimator = KMeans(2, n_init=1, random_state=0).fit(np.eye(12))
    figure = plot_centroids(estimator, (2, 2, 3), to_pixels=lambda rows: -rows)
    centroid = -estimator.cluster_centers_
    expected = (centroid - centroid.min()) / (centroid.max() - centroid.min())
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), expected[1].reshape(2, 2, 3))


@pytest.mark.parametrize(
    ("k", "n_columns"), [(1, 1), (2, 2), (7, 4), (10, 5), (16, 4), (36, 6), (64, 8)]
)
def test_grid_of_images_is_full_where_it_can_be(k, n_columns):
    assert _images._n_columns(k) == n_columns


def test_samples_of_a_cluster_are_rows_of_that_cluster(kmeans):
    n_samples = 6
    figure = plot_cluster_samples(X, kmeans.labels_, (8, 8), n_samples=n_samples)
    for j, ax in enumerate(figure.axes):
        strip = np.asarray(ax.images[0].get_array())
        members = X[kmeans.labels_ == j].reshape(-1, 8, 8)
        for place in range(n_samples):
            image = 16 * strip[:, 9 * place : 9 * place + 8]  # a gap of one pixel between images
            assert np.isclose(members, image).all(axis=(1, 2)).any()


def test_small_and_empty_clusters_leave_places_blank():
    figure = plot_cluster_samples(np.eye(4), [0, 2, 2, 2], n_samples=3, n_clusters=4)
    strips = [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in figure.axes]
    # Images are 2 wide with a gap of 1: of 8 columns, 2 per image hold numbers.
    assert [int((~np.isnan(strip[0])).sum()) for strip in strips] == [2, 0, 6, 0]


def test_samples_are_the_same_for_the_same_seed(kmeans):
    def strips(seed):
        figure = plot_cluster_samples(X, kmeans.labels_, n_samples=3, random_state=seed)
        return np.ma.stack([ax.images[0].get_array() for ax in figure.axes])

    assert np.ma.allequal(strips(1), strips(1))
    assert not np.ma.allequal(strips(1), strips(2))


def test_regions_have_the_color_of_the_cluster_predicted_there(flat):
    points, estimator = flat
    image = plot_decision_regions(estimator, points, resolution=30).images[0]
    assert image.origin == "lower"  # row 0 of the image is the bottom of the plane
    left, right, bottom, top = image.get_extent()
    x = left + (right - left) * (np.arange(30) + 0.5) / 30
    y = bottom + (top - bottom) * (np.arange(30) + 0.5) / 30
    tints = [to_rgb(_style.mix(_style.cluster_color(j), 0.55)) for j in range(3)]
    for row, column in ((0, 0), (0, 29), (29, 0), (14, 15), (29, 29)):
        (j,) = estimator.predict([[x[column], y[row]]])
        np.testing.assert_allclose(image.get_array()[row, column], tints[j])


def test_regions_of_many_features_are_those_of_points_in_the_plane(kmeans):
    image = plot_decision_regions(kmeans, X, resolution=9).images[0]
    left, right, bottom, top = image.get_extent()
    pca = PCA(2, svd_solver="full").fit(X)
    centre = pca.inverse_transform([[(left + right) / 2, (bottom + top) / 2]])
    (j,) = kmeans.predict(centre)
    expected = to_rgb(_style.mix(_style.cluster_color(j), 0.55))
    np.testing.assert_allclose(image.get_array()[4, 4], expected)


def test_every_centroid_is_marked_at_its_place(flat):
    points, estimator = flat
    ax = plot_decision_regions(estimator, points, cluster_labels={0: "a", 2: "c"}, resolution=20)
    marks = {t.get_text(): t.xy for t in ax.texts if t.get_text() in ("a", "1", "c")}
    for j, text in enumerate(("a", "1", "c")):
        np.testing.assert_allclose(marks[text], estimator.cluster_centers_[j])


def test_rows_beyond_max_points_are_sampled_and_the_sample_stated(flat):
    points, estimator = flat
    ax = plot_decision_regions(estimator, points, max_points=50, resolution=20)
    assert len(ax.collections[-1].get_offsets()) == 50
    assert any(text.get_text().startswith("50 of 400 rows, at random") for text in ax.texts)


def test_plane_of_two_features_holds_the_others_at_their_mean(kmeans):
    ax = plot_decision_regions(kmeans, X, plane=(20, 43), resolution=9)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 20", "feature 43")
    left, right, bottom, top = ax.images[0].get_extent()
    middle = X.mean(axis=0)
    middle[[20, 43]] = (left + right) / 2, (bottom + top) / 2
    (j,) = kmeans.predict([middle])
    expected = to_rgb(_style.mix(_style.cluster_color(j), 0.55))
    np.testing.assert_allclose(ax.images[0].get_array()[4, 4], expected)
    np.testing.assert_array_equal(ax.collections[-1].get_offsets(), X[:, [20, 43]])


def test_plane_may_be_a_fitted_transformers(kmeans):
    to_plane = make_pipeline(StandardScaler(), PCA(2)).fit(X[:500])
    ax = plot_decision_regions(kmeans, X, plane=to_plane, resolution=9)
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), to_plane.transform(X))
    left, right, bottom, top = ax.images[0].get_extent()
    centre = to_plane.inverse_transform([[(left + right) / 2, (bottom + top) / 2]])
    (j,) = kmeans.predict(centre)
    expected = to_rgb(_style.mix(_style.cluster_color(j), 0.55))
    np.testing.assert_allclose(ax.images[0].get_array()[4, 4], expected)


def test_means_of_a_mixture_are_its_centroids(flat):
    points, _ = flat
    mixture = GaussianMixture(3, random_state=0).fit(points)
    ax = plot_decision_regions(mixture, points, resolution=20)
    marks = {text.get_text(): text.xy for text in ax.texts if text.get_text() in "012"}
    for j, mean in enumerate(mixture.means_):
        np.testing.assert_allclose(marks[str(j)], mean)
    assert len(plot_centroids(mixture, (1, 2)).axes) == 3


@pytest.mark.parametrize(
    "estimator",
    [
        fastkm.KMeans(4, random_state=0),
        fastkm.MiniBatchKMeans(4, random_state=0),
        KMeans(4, n_init=1, random_state=0),
        MiniBatchKMeans(4, n_init=1, random_state=0),
        BisectingKMeans(4, random_state=0),
        GaussianMixture(4, covariance_type="diag", reg_covar=1.0, random_state=0),
    ],
    ids=lambda estimator: f"{type(estimator).__module__.split('.')[0]}.{type(estimator).__name__}",
)
def test_every_kind_of_estimator_is_drawn(estimator):
    rows, y = X[:200], Y[:200]
    labels = estimator.fit(rows).predict(rows)
    names = infer_cluster_labels(labels, y)
    assert len(plot_centroids(estimator).axes) == 4
    assert len(plot_cluster_samples(rows, labels, n_clusters=4).axes) == 4
    assert len(plot_decision_regions(estimator, rows, resolution=10).texts) == 5
    assert len(plot_silhouette(silhouette_samples(rows, labels), labels).get_yticks()) == 4
    assert plot_confusion_matrix(y, labels, names).get_xlabel() == "inferred class"
    assert len(plot_cluster_sizes(labels, 4).patches) == 4


def test_dollars_are_dollars():
    figure = plot_cluster_sizes([0, 1, 1], cluster_labels={0: "$5 to $9", 1: "more"}).figure
    figure.canvas.draw()
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks[0] == r"0: \$5 to \$9"  # as matplotlib wants them: escaped, drawn as they are


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_regions_are_drawn_for_any_dtype_and_estimator(dtype):
    rows = X[:300].astype(dtype)
    for estimator in (KMeans(4, n_init=1), MiniBatchKMeans(4, n_init=1), BisectingKMeans(4)):
        ax = plot_decision_regions(estimator.fit(rows), rows, resolution=10)
        assert len(ax.collections[-1].get_offsets()) == 300


def test_regions_take_a_data_frame_and_name_its_features():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X[:50, 2:4], columns=["width", "height"])
    estimator = KMeans(2, n_init=1, random_state=0).fit(frame)
    ax = plot_decision_regions(estimator, frame, resolution=10)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


def test_confusion_numbers_are_the_counts(kmeans):
    names = infer_cluster_labels(kmeans.labels_, Y)
    ax = plot_confusion_matrix(Y, kmeans.labels_, names)
    counts = confusion_matrix(Y, kmeans.labels_, names).counts
    drawn = np.zeros_like(counts)
    for text in ax.texts:
        if text.get_text().isdigit():
            x, y = text.get_position()
            drawn[y, x] = int(text.get_text())
    np.testing.assert_array_equal(drawn, counts)
    shares = ax.images[0].get_array()
    np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True))


def test_clusters_are_ordered_along_the_diagonal_and_colored_by_purity():
    # Cluster 0 is 2 b's and 1 a, cluster 1 is 1 c, cluster 2 is 3 a's.
    y, labels = ["b", "b", "a", "c", "a", "a", "a"], [0, 0, 0, 1, 2, 2, 2]
    ax = plot_confusion_matrix(y, labels)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "0", "1"]
    expected = [[1, 1 / 3, 0], [0, 2 / 3, 0], [0, 0, 1]]
    np.testing.assert_allclose(ax.images[0].get_array(), expected)


def test_comparison_draws_each_value_of_the_table():
    scores = table()
    figure = plot_comparison(scores, ["ari", "inertia"])
    bars, dots = figure.axes
    assert [bar.get_width() for bar in bars.patches] == scores["ari"]
    np.testing.assert_array_equal(dots.collections[0].get_offsets()[:, 0], scores["inertia"])


def test_comparison_survives_missing_values():
    fitted = KMeans(3, n_init=1, random_state=0).fit(X[:100])
    figure = plot_comparison(score_table({"fitted": fitted}, X[:100]))
    figure.canvas.draw()
    time = figure.axes[0]
    assert "-" in [text.get_text() for text in time.texts]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plot_centroids(KMeans(2)), NotFittedError, "not fitted"),
        (lambda: plot_decision_regions(KMeans(2), X), NotFittedError, "not fitted"),
        (lambda: plot_decision_regions(X, KMeans(2)), TypeError, "estimator; got ndarray"),
        (
            lambda: plot_centroids(AgglomerativeClustering(2).fit(X[:9])),
            TypeError,
            "AgglomerativeClustering has none",
        ),
        (
            lambda: plot_decision_regions(AgglomerativeClustering(2).fit(X[:9]), X[:9]),
            TypeError,
            "must have predict",
        ),
        (lambda: plot_cluster_samples(X, Y[:5]), ValueError, "inconsistent numbers of samples"),
        (lambda: plot_cluster_samples(X, Y, (8, 9)), ValueError, r"\(8, 9\) for 64 features"),
        (lambda: plot_cluster_samples(X, Y, 64), ValueError, "got 64 for 64 features"),
        (lambda: plot_cluster_samples(X, Y, "ab"), ValueError, "got ab for 64 features"),
        (lambda: plot_cluster_samples(X, Y, (8.0, 8)), ValueError, r"got \(8.0, 8\) for 64"),
        (lambda: plot_cluster_samples(X, Y, np.ones((3, 2))), ValueError, "for 64 features"),
        (lambda: plot_cluster_samples(KMeans(2), X), TypeError, "must be rows; got KMeans"),
        (lambda: plot_cluster_samples(X[:, :50], Y), ValueError, "50 features make no square"),
        (lambda: plot_cluster_samples(X, Y, n_samples=0), ValueError, "n_samples must be 1"),
        (lambda: plot_cluster_samples(X * np.nan, Y), ValueError, "NaN"),
        (lambda: plot_comparison(table(), ["accuracy"]), ValueError, r"got \['accuracy'\]"),
        (
            lambda: plot_decision_regions(KMeans(2).fit(X[:9, 2:3]), X[:9, 2:3]),
            ValueError,
            "at least two features",
        ),
        (
            lambda: plot_decision_regions(KMeans(2).fit(X[:9]), X[:9, :5]),
            ValueError,
            "X has 5 features, but KMeans is expecting 64",
        ),
        (lambda: regions_of(plane=(1, 64)), ValueError, "two different features, of 0 to 63"),
        (lambda: regions_of(plane=(1, 1)), ValueError, "two different features"),
        (lambda: regions_of(plane="ab"), TypeError, "pair of features or a fitted transformer"),
        (lambda: regions_of(plane=PCA(2)), NotFittedError, "not fitted"),
        (lambda: regions_of(plane=PCA(3).fit(X)), ValueError, "to two columns; got 3"),
        (lambda: regions_of(plane=KMeans(2).fit(X)), TypeError, "must have inverse_transform"),
        (lambda: regions_of(resolution=1), ValueError, "resolution must be 2 or more"),
        (lambda: regions_of(max_points=0), ValueError, "max_points must be 1 or more"),
        (lambda: regions_of(max_points=9.5), TypeError, "max_points must be a whole number"),
        (lambda: regions_of(ax=[1]), TypeError, "ax must be one matplotlib Axes; got list"),
        (lambda: regions_of(backend="bokeh"), ValueError, "'plotly'; got 'bokeh'"),
        (lambda: plot_cluster_samples(X, Y, (8, 8, 1)), ValueError, r"\(height, width, 3\)"),
        (
            lambda: plot_cluster_samples(X, Y, to_pixels=lambda rows: rows / 0.0 * 0.0),
            ValueError,
            "pixels must be finite",
        ),
        (
            lambda: plot_cluster_samples(X, Y, to_pixels=lambda rows: rows[0]),
            ValueError,
            "one row of pixels for each",
        ),
        (lambda: plot_cluster_sizes(Y, cluster_labels=["a"]), TypeError, "must map clusters"),
        (lambda: plot_cluster_sizes(Y, 3), ValueError, "n_clusters must exceed every label"),
        (lambda: plot_confusion_matrix(Y, Y[:5]), ValueError, "inconsistent numbers"),
        (lambda: plot_comparison({"ari": [1]}), TypeError, "must be what .*score_table returns"),
        (lambda: plot_comparison(table(), "ari"), TypeError, r"such as \['ari'\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_bad_arguments_are_refused_before_anything_is_drawn(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert plt.get_fignums() == []


def regions_of(**options):
    return plot_decision_regions(KMeans(2, n_init=1, random_state=0).fit(X[:50]), X[:50], **options)


def test_missing_matplotlib_is_an_error_that_names_the_command(kmeans, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: plot_centroids(kmeans),
        lambda: plot_cluster_samples(X, Y),
        lambda: plot_decision_regions(kmeans, X),
        lambda: plot_confusion_matrix(Y, Y),
        lambda: plot_cluster_sizes(Y),
        lambda: plot_comparison(table()),
        lambda: plot_silhouette([1, 0], [0, 1]),
        lambda: plot_sweep(sweep([2, 3])),
        lambda: plot_convergence(History()),
    ):
        with pytest.raises(ImportError, match="pip install matplotlib"):
            draw()


def test_importing_the_package_imports_no_plotting_library():
    code = (
        "import sys, fastkm, fastkm.plotting, fastkm.evaluation;"
        "assert not {'matplotlib', 'plotly'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_drawing_is_covered_here():
    assert set(plotting.__all__) <= set(globals())
