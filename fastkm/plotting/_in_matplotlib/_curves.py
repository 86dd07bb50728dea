"""Panels of curves."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_MOST_BESIDE = 3  # panels
_BAND_ALPHA = 0.2
_QUIET_ALPHA = 0.45


def curves(what: drawn.Curves) -> Figure:
    """Draw the panels, of one height and width."""
    n_columns = min(len(what.panels), _MOST_BESIDE)
    if len(what.panels) == 4:
        n_columns = 2
    n_rows = -(-len(what.panels) // n_columns)
    figure, axes = look.grid_of_panels(
        len(what.panels),
        n_columns,
        (max(3.7 * n_columns, 5.0), 2.9 * n_rows + 0.8),
        pads=(0.08, 0.1),
    )
    for panel, ax in zip(what.panels, axes, strict=True):
        _draw_panel(ax, panel)
    look.legend(figure, what.legend)
    look.head_figure(figure, what.title, what.note)
    return figure


def _draw_panel(ax: Axes, panel: drawn.Panel) -> None:
    for line in panel.lines:
        ax.plot(
            line.x,
            line.y,
            color=line.color,
            linewidth=1 if line.is_quiet else 2,
            alpha=_QUIET_ALPHA if line.is_quiet else 1,
            marker="o" if line.has_dots else None,
            markersize=4,
            label=look.plain(line.name),
        )
        if line.spread is not None:
            low, high = line.y - line.spread, line.y + line.spread
            ax.fill_between(line.x, low, high, color=line.color, alpha=_BAND_ALPHA, linewidth=0)
    look.quiet_axes(ax, grid="y")
    if panel.has_log_x:
        ax.set_xscale("log")
    if panel.has_log_y:
        ax.set_yscale("log")
    _set_ticks(ax.xaxis, panel.x_ticks)
    ax.set_xlim(panel.x_limits)
    if panel.y_ticks is not None:
        _set_ticks(ax.yaxis, panel.y_ticks)
    else:
        # matplotlib's own would set a factor beside the axis, in the way of the title.
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: drawn.text_of_tick(value)))
    _mark(ax, panel)
    look.head_panel(ax, panel.title)
    ax.set_xlabel(
        "; ".join(filter(None, [panel.x_name, panel.subtitle])),
        fontsize=style.SMALL_SIZE, color=style.MUTED, loc="left",
    )  # fmt: skip


def _set_ticks(axis: Any, ticks: drawn.Ticks) -> None:
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_ticks(ticks.at, labels=ticks.texts)


def _mark(ax: Axes, panel: drawn.Panel) -> None:
    if panel.mark is None:
        return
    x, y, text = panel.mark
    ax.axvline(x, color=style.CHOSEN, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
    ax.plot(
        [x], [y], marker="o", markersize=11, markerfacecolor="none", markeredgewidth=2,
        markeredgecolor=style.CHOSEN, linestyle="none", zorder=4,
    )  # fmt: skip
    is_left, is_high = panel.mark_is_left(), panel.mark_is_high()
    ax.annotate(
        text, (x, 0 if is_high else 1), (4 if is_left else -4, 3 if is_high else -2),
        xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="left" if is_left else "right", va="bottom" if is_high else "top",
        fontsize=style.NOTE_SIZE, fontweight="bold", color=style.CHOSEN,
    )  # fmt: skip
