"""Images of clusters: a grid of one each, or strips of some each."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look


def images(what: drawn.Images) -> Figure:
    """Draw one image per cluster, framed in the cluster's colour."""
    k, height, width = what.pixels.shape[:3]
    n_rows = -(-k // what.n_columns)
    # As high as wide for square images; the longer side of others is that long.
    longest = max(height, width)
    across, down = 0.9 * max(width / longest, 0.5), 0.9 * max(height / longest, 0.2)
    figure, axes = look.grid_of_panels(
        k,
        what.n_columns,
        (max(what.n_columns * (across + 0.15) + 0.3, 4.5), n_rows * (down + 0.52) + 0.6),
        pads=(0.06, 0.05),
    )
    name_size = _name_size(what.names)
    for j, ax in enumerate(axes):
        ax.imshow(what.pixels[j], cmap=what.cmap, vmin=0, vmax=1, interpolation="nearest")
        _frame(ax, style.cluster_color(j))
        if not what.is_named:
            ax.set_title(f"cluster {j}", fontsize=style.NOTE_SIZE, color=style.INK, pad=4)
            continue
        ax.set_title(
            look.plain(what.names[j] or "no rows"),
            fontsize=name_size,
            fontweight="bold",
            color=style.INK,
            pad=4,
        )
        ax.set_xlabel(f"cluster {j}", fontsize=style.SMALL_SIZE, color=style.MUTED, labelpad=4)
    look.head_figure(figure, what.title, what.note)
    return figure


def strips(what: drawn.Strips) -> Figure:
    """Draw a strip of images per cluster, beside a bar in the cluster's colour."""
    k = len(what.pixels)
    n_rows = -(-k // what.n_columns)
    height, width = what.pixels[0].shape[1:3]
    strip_height = 0.42 if what.n_columns == 1 else 0.34
    figure, axes = look.grid_of_panels(
        k,
        what.n_columns,
        (
            what.n_columns * (what.n_places * strip_height * width / height + 1.35) + 0.2,
            n_rows * (strip_height + 0.08) + 0.9,
        ),
        by_column=True,
    )
    for j, ax in enumerate(axes):
        strip = _strip(what.pixels[j], what.n_places)
        ax.imshow(strip, cmap=what.cmap, vmin=0, vmax=1, interpolation="nearest")
        _label_strip(ax, j, what.sizes[j], what.names[j])
    look.head_figure(figure, what.title, what.note)
    return figure


def _strip(pixels: drawn.FloatArray, n_places: int) -> drawn.FloatArray:
    """Lay images side by side with gaps; places without an image stay blank."""
    m, height, width = pixels.shape[:3]
    gap = max(1, width // 8)
    blank = 1.0 if pixels.ndim == 4 else np.nan  # NaN is drawn as nothing; RGB has no such value
    strip = np.full((height, n_places * (width + gap) - gap, *pixels.shape[3:]), blank)
    for place in range(m):
        start = place * (width + gap)
        strip[:, start : start + width] = pixels[place]
    return strip


def _label_strip(ax: Axes, j: int, size: int, name: str | None) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
    ax.spines["left"].set_color(style.cluster_color(j))
    ax.spines["left"].set_linewidth(5)
    ax.spines["left"].set_position(("outward", 4))
    heading = f"cluster {j}" if name is None else look.plain(name)
    below = drawn.text_of_count(size)
    below = below if name is None else f"cluster {j}, {below}"
    texts: tuple[tuple[str, int, dict[str, Any]], ...] = (
        (heading, 1, {"va": "bottom", "fontsize": 9, "fontweight": "bold", "color": style.INK}),
        (below, -1, {"va": "top", "fontsize": 7.5, "color": style.MUTED}),
    )
    for text, offset, options in texts:
        ax.annotate(
            text, (0, 0.5), (-12, offset), xycoords="axes fraction",
            textcoords="offset points", ha="right", **options,
        )  # fmt: skip


def _frame(ax: Axes, color: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(color)
        spine.set_linewidth(3)


def _name_size(names: list[str | None]) -> float:
    """Return the size at which the longest class still fits above an image."""
    longest = max((len(name) for name in names if name), default=1)
    return max(6.0, 11.0 * min(1.0, 8 / max(longest, 1)))
