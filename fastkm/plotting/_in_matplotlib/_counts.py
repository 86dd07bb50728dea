"""Counts as a matrix and as bars."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_MOST_WRITTEN = 450  # cells; above, numbers would be too small to read
_DARK = 0.55  # share from which a cell is too dark for dark letters


def matrix(what: drawn.Matrix, ax: Axes | None) -> Axes:
    """Draw counts as cells, coloured by their share."""
    n_rows, n_columns = what.counts.shape
    ax = look.one_panel(
        ax, (min(max(0.5 * n_columns + 1.9, 4.6), 16), max(0.48 * n_rows + 1.3, 3.2))
    )
    image = ax.imshow(what.shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02, shrink=0.9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.NOTE_SIZE, colors=style.MUTED, labelcolor=style.INK)
    bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    bar.set_label(f"share of the {what.whole}", fontsize=style.NOTE_SIZE, color=style.INK)
    if what.counts.size <= _MOST_WRITTEN:
        _write_counts(ax, what)
    _label_cells(ax, what)
    look.name_axes(ax, what.by, "class")
    look.head_axes(ax, what.title, what.note)
    return ax


def bars(what: drawn.Bars, ax: Axes | None) -> Axes:
    """Draw a bar per cluster in the cluster's colour, and their mean."""
    k = len(what.sizes)
    ax = look.one_panel(ax, (min(max(0.55 * k + 1.2, 4.6), 14), 3.8))
    drawn_bars = ax.bar(range(k), what.sizes, color=style.cluster_colors(k), width=0.8)
    if k <= style.MANY:
        ax.bar_label(
            drawn_bars,
            fmt="{:,.0f}",
            padding=3,
            fontsize=style.NOTE_SIZE,
            color=style.INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    ax.axhline(what.mean, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
    look.quiet_axes(ax, grid="y")
    ax.set_xlim(-0.6, k - 0.4)
    ax.margins(y=0.1)
    _label_bars(ax, what)
    ax.tick_params(axis="x", length=0)
    look.name_axes(ax, "cluster and inferred class" if what.is_named else "cluster", "rows")
    look.head_axes(ax, what.title, what.note)
    return ax


def _label_bars(ax: Axes, what: drawn.Bars) -> None:
    k = len(what.sizes)
    size = style.NOTE_SIZE if k <= style.MANY else style.TINY_SIZE
    names = [look.plain(name or "-") for name in what.names]
    if not what.is_named:
        ax.set_xticks(range(k), labels=[str(j) for j in range(k)], fontsize=size)
    elif max(map(len, names)) <= style.SHORT_NAME:
        below = [f"{j}\n{name}" for j, name in enumerate(names)]
        ax.set_xticks(range(k), labels=below, fontsize=size)
    else:
        beside = [f"{j}: {name}" for j, name in enumerate(names)]
        ax.set_xticks(range(k), labels=beside, fontsize=size, **look.SLANTED)


def _write_counts(ax: Axes, what: drawn.Matrix) -> None:
    size = style.LABEL_SIZE if what.counts.shape[1] <= 16 else style.TINY_SIZE
    for (i, j), count in np.ndenumerate(what.counts):
        if count:
            color = "white" if what.shares[i, j] > _DARK else style.INK
            ax.text(j, i, f"{count}", ha="center", va="center", fontsize=size, color=color)


def _label_cells(ax: Axes, what: drawn.Matrix) -> None:
    columns, classes = list(map(look.plain, what.columns)), list(map(look.plain, what.classes))
    size = style.NOTE_SIZE if len(columns) <= 30 else style.TINY_SIZE
    slant = look.SLANTED if max(map(len, columns)) > style.SHORT_NAME else {}
    ax.set_xticks(range(len(columns)), labels=columns, fontsize=size, **slant)
    ax.set_yticks(range(len(classes)), labels=classes, fontsize=style.NOTE_SIZE)
    ax.tick_params(length=0, labelcolor=style.INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    # White lines between the cells.
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.2)
    ax.tick_params(which="minor", length=0)
