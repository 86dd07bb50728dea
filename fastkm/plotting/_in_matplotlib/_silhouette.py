"""Silhouettes, a band per cluster."""

from __future__ import annotations

from matplotlib.axes import Axes

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look


def bands(what: drawn.Bands, ax: Axes | None) -> Axes:
    """Draw the bands below each other, from cluster 0 at the top."""
    k = len(what.bands)
    ax = look.one_panel(ax, (6.6, min(max(0.2 * k + 2.0, 4.4), 12.0)))
    for band in what.bands:
        values, places = band.outline()
        ax.fill_betweenx(places, 0, values, color=style.cluster_color(band.cluster), linewidth=0)
    ax.axvline(what.mean, color=style.INK, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.axvline(0, color=style.MUTED, linewidth=0.8)
    look.quiet_axes(ax, grid="x")
    ax.set_xlim(what.limits)
    ax.set_ylim(what.length, 0)
    marks = what.value_ticks()
    ax.set_xticks(marks.at, labels=marks.texts)
    ticks = what.label_ticks()
    size = style.NOTE_SIZE if k <= style.MANY else style.TINY_SIZE
    ax.set_yticks(ticks.at, labels=list(map(look.plain, ticks.texts)), fontsize=size)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    look.name_axes(ax, "silhouette", "cluster and inferred class" if what.is_named else "cluster")
    look.head_axes(ax, what.title, what.note)
    return ax
