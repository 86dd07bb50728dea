"""Plotly's drawings say what matplotlib's say, and tell more under the pointer."""

import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import silhouette_samples

import fastkm
from fastkm import plotting
from fastkm.callbacks import History
from fastkm.evaluation import infer_cluster_labels, score_table
from fastkm.plotting import (
    _style,
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

go = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")

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
def names(kmeans):
    return infer_cluster_labels(kmeans.labels_, Y)


@pytest.fixture(scope="module")
def flat():
    points, _ = make_blobs(400, centers=[[0, 0], [6, 0], [0, 6]], random_state=0)
    return points, KMeans(3, n_init=1, random_state=0).fit(points)


@pytest.fixture(scope="module")
def history():
    history = History()
    fastkm.KMeans(10, n_init=2, random_state=0, callback=history).fit(X[:500])
    return history


@pytest.fixture(scope="module")
def table():
    options = {"n_init": 1, "random_state": 0}
    kinds = {"a": KMeans(3, **options), "b": KMeans(3, init="random", **options)}
    return score_table({"three": kinds, "again": kinds}, X[:200], Y[:200])


SWEEP = {"k": [2, 3, 30], "inertia": [9e6, 5e6, 4e6], "silhouette": [0.2, np.nan, 0.5]}
OPTIONS = {"chosen": {"silhouette": 30}, "spread": {"inertia": [1e6, np.nan, 2e6]}}


@pytest.fixture(scope="module")
def calls(kmeans, names, flat, history, table):
    """Return each drawing as a function of the backend."""
    points, in_plane = flat
    silhouettes = silhouette_samples(X, kmeans.labels_)
    return {
        "plot_centroids": lambda **b: plot_centroids(kmeans, cluster_labels=names, **b),
        "plot_cluster_samples": lambda **b: plot_cluster_samples(X, kmeans.labels_, **b),
        "plot_decision_regions": lambda **b: plot_decision_regions(
            in_plane, points, cluster_labels={0: "a", 2: "c"}, resolution=30, **b
        ),
        "plot_sweep": lambda **b: plot_sweep(SWEEP, **OPTIONS, **b),
        "plot_silhouette": lambda **b: plot_silhouette(silhouettes, kmeans.labels_, **b),
        "plot_confusion_matrix": lambda **b: plot_confusion_matrix(Y, kmeans.labels_, **b),
        "plot_cluster_sizes": lambda **b: plot_cluster_sizes(
            kmeans.labels_, cluster_labels=names, **b
        ),
        "plot_convergence": lambda **b: plot_convergence({"a": history, "b": history}, **b),
        "plot_comparison": lambda **b: plot_comparison(table, ["ari", "inertia"], **b),
    }


def both(calls, name):
    return calls[name](), calls[name](backend="plotly")


def of_kind(figure, kind):
    return [trace for trace in figure.data if trace.type == kind]


def plain(text):
    return " ".join(re.sub("<[^>]*>", " ", text).split())


@pytest.mark.parametrize("name", plotting.__all__)
def test_every_drawing_is_a_figure_whose_page_needs_no_network(calls, name, tmp_path):
    figure = calls[name](backend="plotly")
    assert isinstance(figure, go.Figure)
    figure.write_html(tmp_path / "page.html", include_plotlyjs=True)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "plotly.js v" in page
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="http', page) == []
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", plotting.__all__)
def test_both_backends_have_the_same_title_and_note(calls, name):
    drawing, figure = both(calls, name)
    if hasattr(drawing, "get_title"):
        title, notes = drawing.get_title(loc="left"), [text.get_text() for text in drawing.texts]
    else:
        title, notes = drawing.get_suptitle(), [drawing.get_supxlabel()]
    said = plain(figure.layout.title.text)
    assert said.startswith(" ".join(title.split()))
    assert any(said.endswith(" ".join(note.split())) for note in notes)


@pytest.mark.parametrize("name", plotting.__all__)
def test_axes_are_refused_with_plotly(calls, name):
    _, ax = plt.subplots()
    with pytest.raises((ValueError, TypeError), match="ax"):
        calls[name](backend="plotly", ax=ax)


@pytest.mark.parametrize("name", plotting.__all__)
def test_unknown_backend_is_refused(calls, name):
    with pytest.raises(ValueError, match="backend must be 'matplotlib' or 'plotly'; got 'agg'"):
        calls[name](backend="agg")


@pytest.mark.parametrize("name", plotting.__all__)
def test_missing_plotly_is_an_error_that_names_the_command(calls, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match="with plotly: pip install plotly"):
        calls[name](backend="plotly")


def test_plotly_needs_no_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None;"
        "from fastkm.plotting import plot_cluster_sizes as draw;"
        "draw([0, 1, 1], backend='plotly')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bars_are_the_same(calls, names):
    ax, figure = both(calls, "plot_cluster_sizes")
    (bars,) = of_kind(figure, "bar")
    assert list(bars.y) == [bar.get_height() for bar in ax.patches]
    assert list(bars.marker.color) == [to_hex(bar.get_facecolor()) for bar in ax.patches]
    ticks = [text.replace("<br>", "\n") for text in figure.layout.xaxis.ticktext]
    assert ticks == [tick.get_text() for tick in ax.get_xticklabels()]
    share = bars.y[3] / len(X)
    assert bars.hovertext[3] == (
        f"cluster 3<br>label {names[3]}<br>{bars.y[3]} rows, {share:.1%} of all"
    )


def test_matrices_are_the_same(calls):
    ax, figure = both(calls, "plot_confusion_matrix")
    (cells,) = of_kind(figure, "heatmap")
    np.testing.assert_array_equal(cells.z, ax.images[0].get_array())
    written = {(j, i): text.get_text() for text in ax.texts for j, i in [text.get_position()]}
    shown = {(j, i): text for i, row in enumerate(cells.text) for j, text in enumerate(row) if text}
    assert shown == {place: text for place, text in written.items() if text.isdigit()}
    columns = [tick.get_text() for tick in ax.get_xticklabels()]
    assert list(figure.layout.xaxis.ticktext) == columns
    assert cells.customdata[0][0].startswith(f"class 0, cluster {columns[0]}<br>")


def test_centroids_are_the_same_images(calls, kmeans, names):
    drawing, figure = both(calls, "plot_centroids")
    (mosaic,) = of_kind(figure, "heatmap")
    frames = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [frame.line.color for frame in frames] == _style.cluster_colors(10)
    for frame, ax in zip(frames, drawing.axes, strict=True):
        rows = slice(int(frame.y0 + 0.5), int(frame.y1 + 0.5))
        columns = slice(int(frame.x0 + 0.5), int(frame.x1 + 0.5))
        image = np.asarray(mosaic.z)[rows, columns]
        np.testing.assert_allclose(image, ax.images[0].get_array(), rtol=1e-6)  # float32
    marks = figure.data[1]
    assert list(marks.text) == [f"cluster {j}<br>label {names[j]}" for j in range(10)]
    for frame, x, y in zip(frames, marks.x, marks.y, strict=True):
        assert (x, y) == ((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2)


def test_samples_are_the_same_rows_and_numbered(calls, kmeans):
    drawing, figure = both(calls, "plot_cluster_samples")
    mosaic = np.asarray(of_kind(figure, "heatmap")[0].z)
    marks = figure.data[1]
    clusters = []
    for text, x, y in zip(marks.text, marks.x, marks.y, strict=True):
        row, cluster = re.fullmatch(r"row ([\d,]+)<br>cluster (\d+)", text).groups()
        row = int(row.replace(",", ""))
        assert kmeans.labels_[row] == int(cluster)
        top, left = int(y - 3.5), int(x - 3.5)
        image = mosaic[top : top + 8, left : left + 8]
        np.testing.assert_allclose(16 * image, X[row].reshape(8, 8), rtol=1e-6)
        clusters.append(int(cluster))
    assert clusters == np.repeat(np.arange(10), 12).tolist()
    first = np.asarray(drawing.axes[0].images[0].get_array())[:, :8]
    left = int(marks.x[0] - 3.5)
    np.testing.assert_allclose(mosaic[:8, left : left + 8], first, rtol=1e-6)


def test_rgb_images_are_drawn_in_their_colors():
    estimator = KMeans(2, n_init=1, random_state=0).fit(np.eye(12))
    figure = plot_centroids(estimator, (2, 2, 3), backend="plotly")
    mosaic = np.asarray(of_kind(figure, "image")[0].z)
    drawn = [ax.images[0].get_array() for ax in plot_centroids(estimator, (2, 2, 3)).axes]
    for frame, image in zip(figure.layout.shapes, drawn, strict=True):
        left = int(frame.x0 + 0.5)
        np.testing.assert_array_equal(mosaic[:2, left : left + 2], np.round(255 * image))
    assert max(image.max() for image in drawn) == 1


def test_regions_rows_and_centroids_are_the_same(calls, flat):
    _, estimator = flat
    ax, figure = both(calls, "plot_decision_regions")
    regions, borders = of_kind(figure, "heatmap")
    tints = {
        j: _style.channels(_style.mix(_style.cluster_color(j), _style.REGION_TINT))
        for j in range(3)
    }
    grid = np.asarray(regions.z)
    drawn = np.round(255 * ax.images[0].get_array())
    np.testing.assert_array_equal(
        np.array([tints[j] for j in grid.flat]).reshape(drawn.shape), drawn
    )
    # The colour scale is steps: a cluster's value lies in the middle of its own.
    scale = {round(float(place), 6): color for place, color in regions.colorscale}
    assert len(regions.colorscale) == 6
    assert regions.colorscale[2][1] == _style.mix(_style.cluster_color(1), _style.REGION_TINT)
    assert (regions.zmin, regions.zmax) == (-0.5, 2.5)
    assert set(scale) == {0.0, round(1 / 3, 6), round(2 / 3, 6), 1.0}
    assert np.asarray(borders.z).any()
    assert borders.hoverinfo == "skip"
    # Cells are where matplotlib has them.
    left, _, bottom, _ = ax.images[0].get_extent()
    np.testing.assert_allclose(
        [regions.x0 - regions.dx / 2, regions.y0 - regions.dy / 2], [left, bottom]
    )
    (rows,) = of_kind(figure, "scattergl")
    np.testing.assert_array_equal(np.stack([rows.x, rows.y], 1), ax.collections[-1].get_offsets())
    faces = [to_hex(color) for color in ax.collections[-1].get_facecolors()]
    assert list(rows.marker.color) == faces
    marks = {plain(mark.text): (mark.x, mark.y) for mark in figure.layout.annotations}
    for j, text in enumerate(("a", "1", "c")):
        np.testing.assert_allclose(marks[text], estimator.cluster_centers_[j])


def test_pointer_shows_row_cluster_and_label(flat):
    points, estimator = flat
    options = {"cluster_labels": {0: "a<b", 1: "b"}, "max_points": 20, "resolution": 10}
    figure = plot_decision_regions(estimator, points, **options, backend="plotly")
    (rows,) = of_kind(figure, "scattergl")
    assert len(rows.text) == 20
    for text, x, y in zip(rows.text, rows.x, rows.y, strict=True):
        row, cluster, *label = text.split("<br>")
        i, j = int(row.removeprefix("row ")), int(cluster.removeprefix("cluster "))
        np.testing.assert_array_equal(points[i], [x, y])
        assert estimator.labels_[i] == j
        assert label == {0: ["label a&lt;b"], 1: ["label b"], 2: []}[j]


def test_silhouettes_are_the_same(calls, kmeans):
    ax, figure = both(calls, "plot_silhouette")
    bands = [trace for trace in figure.data if trace.type == "scatter"]
    assert [band.fillcolor for band in bands] == _style.cluster_colors(10)
    silhouettes = silhouette_samples(X, kmeans.labels_)
    for band, drawn in zip(bands, ax.collections, strict=True):
        corners = {tuple(corner) for path in drawn.get_paths() for corner in path.vertices}
        assert set(zip(band.x, band.y, strict=True)) <= corners
        for text, value in list(zip(band.text, band.x, strict=True))[::2]:
            i = int(re.match(r"row ([\d,]+)<br>", text)[1].replace(",", ""))
            assert silhouettes[i] == value
            mean = silhouettes[kmeans.labels_ == kmeans.labels_[i]].mean()
            assert f"cluster {kmeans.labels_[i]}<br>" in text
            assert text.endswith(f"mean {mean:.3f}")
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert list(figure.layout.yaxis.ticktext) == ticks
    np.testing.assert_allclose(figure.layout.yaxis.tickvals, ax.get_yticks())


def test_sweeps_are_the_same(calls):
    drawing, figure = both(calls, "plot_sweep")
    curves = [trace for trace in figure.data if trace.mode == "lines+markers"]
    for curve, ax in zip(curves, drawing.axes, strict=True):
        np.testing.assert_array_equal([curve.x, curve.y], ax.lines[0].get_data())
        assert curve.line.color == to_hex(ax.lines[0].get_color())
    (ring,) = (trace for trace in figure.data if trace.name == "chosen")
    assert (ring.x, ring.y, ring.xaxis) == ((30,), (0.5,), "x2")
    (band,) = (trace for trace in figure.data if trace.name == "spread")
    corners = {
        (k, y) for path in drawing.axes[0].collections[0].get_paths() for k, y in path.vertices
    }
    assert set(zip(band.x, band.y, strict=True)) <= corners
    assert figure.layout.xaxis.type == "log"
    assert curves[0].text[0] == "k 2<br>Inertia 9,000,000 ± 1,000,000"
    assert curves[0].text[1] == "k 3<br>Inertia 5,000,000"
    written = [plain(note.text) for note in figure.layout.annotations]
    assert "k = 30" in written


def test_convergence_is_the_same_and_zero_is_said_to_be_zero(calls, history):
    drawing, figure = both(calls, "plot_convergence")
    curves = [trace for trace in figure.data if trace.mode and "lines" in trace.mode]
    lines = [line for ax in drawing.axes for line in ax.lines]
    for curve, line in zip(curves, lines, strict=True):
        np.testing.assert_array_equal([curve.x, curve.y], line.get_data())
        assert curve.line.color == to_hex(line.get_color())
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert legend == ["a", "b"]
    changed = [curve for curve in curves if curve.yaxis == "y2"]
    last = [curve.text[-1] for curve in changed]
    assert {text.split("<br>")[-1] for text in last} == {"Labels changed 0"}
    assert last[0].startswith(("a, run 0<br>", "a, run 1<br>"))
    places = dict(zip(figure.layout.yaxis2.ticktext, figure.layout.yaxis2.tickvals, strict=True))
    assert {curve.y[-1] for curve in changed} == {places["0"]}


def test_comparisons_are_the_same(calls, table):
    drawing, figure = both(calls, "plot_comparison")
    (bars,), (dots,) = of_kind(figure, "bar"), figure.data[1:2]
    assert list(bars.x) == [bar.get_width() for bar in drawing.axes[0].patches]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in drawing.axes[0].patches]
    np.testing.assert_allclose(bars.y, middles)
    np.testing.assert_array_equal(dots.x, table["inertia"])
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["a", "b"]
    assert bars.hovertext[1] == f"three, b<br>{table['ari'][1]:.3f}"


@pytest.mark.parametrize("k", [10, 64])
def test_labels_of_bars_and_bands_have_room(k):
    """Ticks are farther apart, in pixels, than a line of their letters is high."""
    labels = np.random.default_rng(0).integers(k, size=2000)
    figure = plot_silhouette(np.full(2000, 0.5), labels, backend="plotly")
    axis, margin = figure.layout.yaxis, figure.layout.margin
    length = figure.layout.height - margin.t - margin.b
    places = np.array(axis.tickvals) / max(axis.range) * length
    assert np.diff(places).min() > axis.tickfont.size
    assert len(axis.ticktext) == k
    figure = plot_cluster_sizes(labels, backend="plotly")
    axis, margin = figure.layout.xaxis, figure.layout.margin
    room = (figure.layout.width - margin.l - margin.r) / np.ptp(axis.range)
    assert room > axis.tickfont.size
