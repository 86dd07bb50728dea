"""Metrics against k: every value at its place, the chosen k marked."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from fastkm.evaluation._table import Column, Table
from fastkm.plotting import _drawn, _style, plot_sweep


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@dataclass(frozen=True, repr=False)
class SweepTable(Table):
    chosen: dict = field(default_factory=dict)
    spread: dict = field(default_factory=dict)


def as_table(columns, **extras):
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return SweepTable(tuple(Column(key, key) for key in columns), tuple(rows), **extras)


COLUMNS = {
    "k": [2, 3, 4, 5],
    "inertia": [9.0, 5.0, 4.0, 3.5],
    "silhouette": [0.2, 0.6, 0.5, 0.4],
    "name": ["a", "b", "c", "d"],
}


def curves(figure):
    """Return the curve of each panel as (x, y)."""
    return [(ax.lines[0].get_xdata(), ax.lines[0].get_ydata()) for ax in figure.axes]


def ring(ax):
    """Return where the chosen k is marked; None where there is none."""
    rings = [line for line in ax.lines if to_hex(line.get_markeredgecolor()) == _style.CHOSEN]
    rings = [line for line in rings if line.get_marker() == "o"]
    return tuple(float(*values) for values in rings[0].get_data()) if rings else None


@pytest.mark.parametrize("kind", ["mapping", "table", "frame"])
def test_each_metric_has_a_panel_with_its_values(kind):
    table = {"mapping": lambda: COLUMNS, "table": lambda: as_table(COLUMNS)}.get(kind)
    if table is None:
        table = lambda: pytest.importorskip("pandas").DataFrame(COLUMNS)  # noqa: E731
    figure = plot_sweep(table())
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Inertia", "Silhouette"]
    for key, (x, y) in zip(("inertia", "silhouette"), curves(figure), strict=True):
        np.testing.assert_array_equal(x, COLUMNS["k"])
        np.testing.assert_array_equal(y, COLUMNS[key])


def test_rows_are_drawn_by_ascending_k():
    backwards = {key: values[::-1] for key, values in COLUMNS.items()}
    for (x, y), key in zip(curves(plot_sweep(backwards)), ("inertia", "silhouette"), strict=True):
        np.testing.assert_array_equal(x, COLUMNS["k"])
        np.testing.assert_array_equal(y, COLUMNS[key])
    (band,) = plot_sweep(
        backwards, ["inertia"], spread={"inertia": [0.1, 0.2, 0.3, 0.4]}
    ).axes[0].collections  # fmt: skip
    assert max(y for k, y in band.get_paths()[0].vertices if k == 2) == 9.4


def test_panels_have_one_axis_of_k_also_where_a_metric_begins_later():
    figure = plot_sweep({"k": [1, 2, 3], "inertia": [3, 2, 1], "ari": [None, None, 0.5]})
    first, second = (ax.get_xlim() for ax in figure.axes)
    assert first == second
    assert first[0] < 1 < 3 < first[1]


@pytest.mark.parametrize(
    ("k", "places"), [(2, ("left", "top")), (3, ("left", "bottom")), (5, ("right", "top"))]
)
def test_name_of_the_chosen_k_keeps_away_from_the_point(k, places):
    columns = {"k": [2, 3, 4, 5], "silhouette": [0.1, 0.6, 0.5, 0.2]}
    (text,) = plot_sweep(columns, chosen={"silhouette": k}).axes[0].texts
    assert (text.get_ha(), text.get_va()) == places


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.25"), (900, "900"), (1500, "1.5k"), (-2e6, "-2M"), (3e9, "3G"), (0, "0")],
)
def test_large_numbers_of_an_axis_are_short(value, text):
    assert _drawn.text_of_tick(value) == text


def test_chosen_k_is_marked_in_its_metrics_panel_only():
    figure = plot_sweep(as_table(COLUMNS, chosen={"silhouette": 3}))
    assert [ring(ax) for ax in figure.axes] == [None, (3.0, 0.6)]
    assert [text.get_text() for text in figure.axes[1].texts] == ["k = 3"]
    assert "ring and dashes" in figure._supxlabel.get_text()
    assert "ring" not in plot_sweep(COLUMNS)._supxlabel.get_text()


def test_given_choice_comes_before_the_tables():
    table = as_table(COLUMNS, chosen={"silhouette": 3})
    assert ring(plot_sweep(table, ["silhouette"], chosen={"silhouette": 4}).axes[0]) == (4.0, 0.5)


def test_spread_is_a_band_of_one_deviation_to_either_side():
    deviations = [1.0, np.nan, 0.5, 0.25]
    figure = plot_sweep(as_table(COLUMNS, spread={"inertia": deviations}), ["inertia"])
    (band,) = figure.axes[0].collections
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    for k, value, deviation in zip(COLUMNS["k"], COLUMNS["inertia"], deviations, strict=True):
        at_k = corners[corners[:, 0] == k, 1]
        if np.isnan(deviation):
            assert at_k.size == 0
        else:
            np.testing.assert_allclose(
                [at_k.min(), at_k.max()], [value - deviation, value + deviation]
            )


def test_undefined_values_leave_a_gap_and_a_column_without_values_no_panel():
    columns = {"k": [1, 2, 3], "silhouette": [None, 0.5, 0.4], "gap": [None, None, np.nan]}
    figure = plot_sweep(columns)
    ((_, y),) = curves(figure)
    np.testing.assert_array_equal(y, [np.nan, 0.5, 0.4])


@pytest.mark.parametrize(("ks", "scale"), [([2, 5, 10], "linear"), ([2, 16, 256], "log")])
def test_axis_of_k_is_logarithmic_where_k_spans_much(ks, scale):
    ax = plot_sweep({"k": ks, "inertia": [3.0, 2.0, 1.0]}).axes[0]
    assert ax.get_xscale() == scale
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(k) for k in ks]


def test_many_ks_are_not_all_labelled():
    ks = np.arange(2, 101)
    ax = plot_sweep({"k": ks, "silhouette": 1 / ks}).axes[0]
    assert 5 <= len(ax.get_xticklabels()) <= 20


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plot_sweep([1, 2]), TypeError, "table must have columns"),
        (lambda: plot_sweep({"inertia": [1.0]}), ValueError, 'must have a column "k"'),
        (lambda: plot_sweep({"k": [2], "ari": [1.0, 2.0]}), ValueError, "columns of one length"),
        (lambda: plot_sweep({"k": [2, 2], "ari": [1.0, 2.0]}), ValueError, "one row per k"),
        (lambda: plot_sweep({"k": [0, 2], "ari": [1.0, 2.0]}), ValueError, "whole numbers from 1"),
        (lambda: plot_sweep({"k": [1.5], "ari": [1.0]}), ValueError, "whole numbers from 1"),
        (lambda: plot_sweep({"k": ["a"], "ari": [1.0]}), ValueError, "whole numbers from 1"),
        (lambda: plot_sweep({"k": [], "ari": []}), ValueError, "whole numbers from 1"),
        (lambda: plot_sweep({"k": [2]}), ValueError, "metrics must be among"),
        (lambda: plot_sweep(COLUMNS, ["name"]), ValueError, "metrics must be among"),
        (lambda: plot_sweep(COLUMNS, "inertia"), TypeError, "sequence of names"),
        (
            lambda: plot_sweep(COLUMNS, chosen={"inertia": 9}),
            ValueError,
            "must be a k of the table",
        ),
        (
            lambda: plot_sweep({"k": [1, 2], "ari": [np.nan, 1.0]}, chosen={"ari": 1}),
            ValueError,
            "where the metric has a value",
        ),
        (lambda: plot_sweep({"k": [2], "gap": [np.nan]}, ["gap"]), ValueError, "no value to draw"),
        (lambda: plot_sweep(COLUMNS, spread={"inertia": [1.0]}), ValueError, "each of 4 rows"),
        (lambda: plot_sweep(COLUMNS, spread={"inertia": [-1.0] * 4}), ValueError, "0 or more"),
        (lambda: plot_sweep(COLUMNS, backend="agg"), ValueError, "backend must be"),
    ],
)
def test_bad_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert plt.get_fignums() == []
