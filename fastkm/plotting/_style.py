"""The look all drawings share: a cluster's colour, inks, sizes, headings; matplotlib on demand."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22272e"
MUTED = "#68717c"
GRID = "#e4e7eb"

# The ten-colour sequence of Petroff (2021), "Accessible color sequences for data visualization",
# arXiv:2107.02270: distinguishable with any of the usual colour-vision deficiencies.
_BASE_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
# From the eleventh cluster on the ten hues come again, mixed with white (> 0) or black (< 0). No
# 64 colours can be told apart by eye, which is why drawings also write the clusters' numbers.
_TINTS = (0.0, 0.45, -0.35, 0.25, -0.55, -0.18, 0.58)

TITLE_SIZE = 13
LABEL_SIZE = 10
NOTE_SIZE = 9
# Width of a letter over the font's size: matplotlib's default font is wide, its bold still wider.
_LETTER_WIDTH = {TITLE_SIZE: 0.7, NOTE_SIZE: 0.58}


def cluster_color(j: int) -> str:
    """Return the colour of cluster j as #rrggbb: the same in every drawing, whatever k is.

    Colours repeat after 70 clusters.
    """
    tint = _TINTS[j // len(_BASE_COLORS) % len(_TINTS)]
    return mix(_BASE_COLORS[j % len(_BASE_COLORS)], tint)


def mix(color: str, tint: float) -> str:
    """Mix a colour #rrggbb with white (tint up to 1) or with black (down to -1)."""
    goal = 255 if tint > 0 else 0
    mixed = (round(c + (goal - c) * abs(tint)) for c in channels(color))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def channels(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of #rrggbb, each 0 to 255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def pyplot() -> Any:
    """Return matplotlib.pyplot, or say how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "fastkm.plotting draws with matplotlib: pip install 'fastkm[plot]'"
        ) from error
    return plt


def one_panel(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes given, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    _, ax = pyplot().subplots(figsize=size, layout="constrained")
    return ax


def head_axes(ax: Axes, title: str, note: str = "") -> None:
    """Write a panel's title, and below it a note in a quieter tone, both wrapped to its width."""
    width = ax.get_window_extent().width / ax.figure.dpi
    title, note = (
        _wrap(title, TITLE_SIZE, width),
        _wrap(note, NOTE_SIZE, width),
    )
    pad = 8 + (4 + 1.3 * NOTE_SIZE * (note.count("\n") + 1) if note else 0)
    ax.set_title(title, loc="left", fontsize=TITLE_SIZE, fontweight="bold", color=INK, pad=pad)
    if note:
        ax.annotate(
            note,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=NOTE_SIZE,
            color=MUTED,
            va="bottom",
        )


def head_figure(figure: Figure, title: str, note: str = "") -> None:
    """Write a figure's title, and at its foot a note in a quieter tone, both wrapped."""
    width = figure.get_figwidth()
    title, note = (
        _wrap(title, TITLE_SIZE, width),
        _wrap(note, NOTE_SIZE, width),
    )
    figure.suptitle(title, x=0.012, ha="left", fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if note:
        figure.supxlabel(note, x=0.012, ha="left", fontsize=NOTE_SIZE, color=MUTED)


def _wrap(text: str, size: int, width: float) -> str:
    """Break a title or a note into lines of `width` inches."""
    return fill(text, max(12, int(72 * width / (_LETTER_WIDTH[size] * size))))


def quiet_axes(ax: Axes, *, grid: Literal["x", "y"] | None = None) -> None:
    """Drop the frame's top and right, soften the ticks, and draw a grid along x or y behind."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=NOTE_SIZE)
    if grid is not None:
        ax.grid(axis=grid, color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)


def name_of(j: int, cluster_labels: Any) -> str | None:
    """Return the inferred class of cluster j as text; None where none is known."""
    if cluster_labels is None or j not in cluster_labels:
        return None
    return str(cluster_labels[j])
