"""A score table as panels of bars."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_MOST_BESIDE = 3  # panels


def scores(what: drawn.Scores) -> Figure:
    """Draw one panel per metric."""
    n_columns = min(len(what.panels), _MOST_BESIDE)
    n_rows = -(-len(what.panels) // n_columns)
    height = 0.28 * len(what.names) * (len(what.variants) + 0.6) + 0.75
    figure, axes = look.grid_of_panels(
        len(what.panels),
        n_columns,
        (3.5 * n_columns + 0.8, n_rows * height + 0.9),
        pads=(0.08, 0.1),
        has_common_y=True,
    )
    for panel, ax in zip(what.panels, axes, strict=True):
        _draw_panel(ax, panel, what)
    look.legend(figure, what.variant_colors())
    look.head_figure(figure, what.title, what.note)
    return figure


def _draw_panel(ax: Axes, panel: drawn.ScorePanel, what: drawn.Scores) -> None:
    ax.set_xlim(panel.limits)
    if panel.has_dots:
        ax.scatter(panel.values, what.places, s=70, c=what.colors, zorder=3)
    else:
        lengths = np.nan_to_num(panel.values)
        ax.barh(what.places, lengths, height=what.thickness, color=what.colors)
    for value, place, text in zip(panel.values, what.places, panel.texts, strict=True):
        ax.annotate(
            text, (0.0 if np.isnan(value) else max(value, 0.0), place),
            (8 if panel.has_dots else 4, 0), textcoords="offset points", va="center",
            fontsize=style.NOTE_SIZE, color=style.INK,
        )  # fmt: skip
    ax.set_ylim(len(what.names) - 0.45, -0.55)
    ax.set_yticks(range(len(what.names)), labels=list(map(look.plain, what.names)))
    look.quiet_axes(ax, grid="x")
    ax.tick_params(axis="y", length=0, labelsize=style.LABEL_SIZE)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    look.head_panel(ax, panel.title)
    ax.set_xlabel(panel.subtitle, fontsize=style.SMALL_SIZE, color=style.MUTED, loc="left")
