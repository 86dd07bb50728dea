"""The look all drawings share, in either backend: a cluster's colour, inks, sizes, names."""

from __future__ import annotations

from textwrap import fill
from typing import Any

INK = "#22272e"
MUTED = "#68717c"
GRID = "#e4e7eb"
CHOSEN = "#bd1f01"  # what a drawing points at, such as the k chosen

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
REGION_TINT = 0.55  # of a region beside its cluster's rows
EDGE_TINT = -0.4  # of a row's edge: keeps pale dots visible on pale ground

TITLE_SIZE = 13
PANEL_SIZE = 11
LABEL_SIZE = 10
NOTE_SIZE = 9
SMALL_SIZE = 8
TINY_SIZE = 7

SHORT_NAME = 4  # letters that fit below a bar or a column
MANY = 24  # clusters; above, bars and ticks are written smaller or not at all


def cluster_color(j: int) -> str:
    """Return the colour of cluster j as #rrggbb: the same in every drawing, whatever k is.

    Colours repeat after 70 clusters.
    """
    tint = _TINTS[j // len(_BASE_COLORS) % len(_TINTS)]
    return mix(_BASE_COLORS[j % len(_BASE_COLORS)], tint)


def cluster_colors(k: int) -> list[str]:
    """Return the colours of clusters 0 to k - 1."""
    return [cluster_color(j) for j in range(k)]


def mix(color: str, tint: float) -> str:
    """Mix a colour #rrggbb with white (tint up to 1) or with black (down to -1)."""
    goal = 255 if tint > 0 else 0
    mixed = (round(c + (goal - c) * abs(tint)) for c in channels(color))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def channels(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of #rrggbb, each 0 to 255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def name_of(j: int, cluster_labels: Any) -> str | None:
    """Return the inferred class of cluster j as text; None where none is known."""
    if cluster_labels is None or j not in cluster_labels:
        return None
    return str(cluster_labels[j])


def names_of(k: int, cluster_labels: Any) -> list[str | None]:
    """Return the inferred class of clusters 0 to k - 1; None where none is known."""
    return [name_of(j, cluster_labels) for j in range(k)]


def wrap(text: str, n_letters: int) -> str:
    """Break a title or a note into lines of so many letters."""
    return fill(text, max(12, n_letters))
