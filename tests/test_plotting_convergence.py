"""What a history says of a fit, drawn."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from fastkm import KMeans, MiniBatchKMeans
from fastkm.callbacks import Each, History, Round, Step
from fastkm.plotting import _curves, plot_convergence

X, _ = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def of_rounds(*runs):
    """Return a history of runs, each a list of (sq_shift, n_changed, inertia_bound)."""
    history = History()
    for restart, rounds in enumerate(runs):
        for i, (sq_shift, n_changed, bound) in enumerate(rounds):
            history(Round(restart, i + 1, sq_shift, n_changed, bound, 0.0))
    return history


ONE_RUN = [(100.0, 50, 9.0), (1.0, 5, 8.0), (0.01, 1, 7.5)]


def strong(ax):
    (line,) = (line for line in ax.lines if line.get_linewidth() == 2)
    return line


def test_each_round_is_a_point_of_each_panel():
    figure = plot_convergence(of_rounds(ONE_RUN))
    assert len(figure.axes) == 3
    for ax, values in zip(figure.axes, np.transpose(ONE_RUN), strict=True):
        x, y = ax.lines[0].get_data()
        np.testing.assert_array_equal(x, [1, 2, 3])
        np.testing.assert_array_equal(y, values)


def test_shifts_and_changed_labels_are_on_logarithmic_axes_with_a_foot_for_zero():
    figure = plot_convergence(of_rounds([*ONE_RUN, (0.0, 0, 7.5)]))
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "linear"]
    for ax, smallest in zip(figure.axes[:2], (0.01, 1), strict=True):
        y = ax.lines[0].get_ydata()
        assert 0 < y[-1] < smallest
        foot = {tick.get_text(): place for tick, place in
                zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}["0"]  # fmt: skip
        assert foot == y[-1]
    assert "0 is drawn at the foot" in figure._supxlabel.get_text()
    assert "foot" not in plot_convergence(of_rounds(ONE_RUN))._supxlabel.get_text()


def test_a_fit_that_never_moved_is_on_a_linear_axis():
    figure = plot_convergence(of_rounds([(0.0, 5, 1.0)]))
    assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log", "linear"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.0]


def test_the_run_that_ends_lowest_is_strong():
    worse = [(3.0, 9, 8.0), (1.0, 1, 7.9)]
    figure = plot_convergence(of_rounds(worse, ONE_RUN, worse))
    for ax, values in zip(figure.axes, np.transpose(ONE_RUN), strict=True):
        assert len(ax.lines) == 3
        np.testing.assert_array_equal(strong(ax).get_ydata(), values)
        assert strong(ax) is ax.lines[-1]  # on top of the others
    assert "3 runs" in figure._supxlabel.get_text()


def test_several_fits_have_colors_and_a_legend():
    figure = plot_convergence({"a": of_rounds(ONE_RUN), "b": of_rounds(ONE_RUN[1:])})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    patches = [patch.get_facecolor() for patch in legend.get_patches()]
    for ax in figure.axes:
        assert len({line.get_color() for line in ax.lines}) == 2
    assert len(set(patches)) == 2
    assert plot_convergence(of_rounds(ONE_RUN)).legends == []


def test_histories_of_fits_are_drawn():
    history, steps = History(), History()
    kmeans = KMeans(10, random_state=0, callback=history).fit(X)
    MiniBatchKMeans(10, random_state=0, callback=steps).fit(X)
    assert len(plot_convergence(history).axes[0].lines[0].get_xdata()) == kmeans.n_iter_
    figure = plot_convergence(steps)
    arrays = steps.as_arrays()
    for ax, key in zip(figure.axes, ("sq_shift", "mean_inertia", "smoothed_inertia"), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), arrays[key])
    assert "step" in figure.axes[0].get_xlabel()
    # What both kinds of fit record can be compared.
    both = plot_convergence({"all rows": history, "batches": steps})
    assert [ax.get_title(loc="left") for ax in both.axes] == ["Squared shift of the centroids"]


def test_very_long_histories_are_thinned_and_this_is_said():
    history = History()
    for i in range(5000):
        history(Step(i + 1, 1.0 / (i + 1), 1.0, 1.0, 0.0))
    figure = plot_convergence(history)
    x = figure.axes[0].lines[0].get_xdata()
    assert len(x) == 2000
    assert (x[0], x[-1]) == (1, 5000)
    assert "at most 2,000 of them drawn" in figure._supxlabel.get_text()


@pytest.mark.parametrize("last", [1, 2, 3, 7, 10, 19, 46, 300, 5000])
def test_ticks_begin_at_one_end_at_the_last_and_are_few(last):
    at = _curves.ticks_from_one(last).at
    assert at[0] == 1
    assert at[-1] == last
    assert at == sorted(set(at))
    assert len(at) <= 8


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plot_convergence(History()), ValueError, "callback=history first"),
        (lambda: plot_convergence({}), ValueError, "at least"),
        (lambda: plot_convergence(KMeans(2)), TypeError, "got KMeans: fit with"),
        (lambda: plot_convergence(Each(History())), TypeError, "got Each"),
        (lambda: plot_convergence({"a": [1]}), TypeError, "got list for 'a'"),
        (
            lambda: plot_convergence(of_rounds(ONE_RUN), ["mean_inertia"]),
            ValueError,
            "'inertia_bound'.*got .*'mean_inertia'",
        ),
        (lambda: plot_convergence(of_rounds(ONE_RUN), backend=None), ValueError, "got None"),
    ],
)
def test_bad_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert plt.get_fignums() == []
