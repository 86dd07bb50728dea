"""What is drawn, before a library draws it: numbers, places, colours and texts.

A public function makes one of these, and each backend has one function for each, of the same name
in small letters, that draws it: what is drawn is decided here, a backend decides only how.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_TICKS = 9  # of an axis of silhouettes

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """One image per cluster, in a grid."""

    pixels: FloatArray  # (k, height, width[, 3]), 0 to 1
    names: list[str | None]  # the inferred classes
    is_named: bool  # whether classes were inferred at all
    n_columns: int
    cmap: str
    title: str
    note: str


@dataclass(frozen=True)
class Strips:
    """Some images per cluster, side by side."""

    pixels: list[FloatArray]  # per cluster (m, height, width[, 3]), 0 to 1
    rows: list[IntArray]  # per cluster (m,), which rows of X these are
    sizes: list[int]  # rows in each cluster, drawn or not
    names: list[str | None]
    n_places: int
    n_columns: int  # of strips
    cmap: str
    title: str
    note: str


@dataclass(frozen=True)
class Regions:
    """A plane in feature space, its rows shown, and what is predicted on a grid of it."""

    points: FloatArray  # (m, 2), the rows shown
    rows: IntArray  # (m,), which rows of X these are
    labels: IntArray  # (m,)
    centroids: FloatArray | None  # (k, 2)
    names: list[str | None]  # inferred classes of all clusters seen
    grid: IntArray  # (resolution, resolution), from low to high
    extent: tuple[float, float, float, float]
    axis_names: tuple[str, str]
    has_one_scale: bool
    title: str
    note: str


@dataclass(frozen=True)
class Matrix:
    """Counts of rows by class and column, coloured by a share."""

    counts: IntArray  # (n_classes, n_columns)
    shares: FloatArray  # (n_classes, n_columns), 0 to 1
    classes: list[str]
    columns: list[str]
    by: str  # what the columns are
    whole: str  # what the shares are shares of
    title: str
    note: str


@dataclass(frozen=True)
class Bars:
    """A number of rows per cluster."""

    sizes: list[int]
    names: list[str | None]
    is_named: bool
    mean: float
    title: str
    note: str


@dataclass(frozen=True)
class Band:
    """The silhouettes of one cluster, from the largest to the smallest."""

    cluster: int
    name: str | None
    values: FloatArray  # (m,)
    rows: IntArray  # (m,)
    edges: FloatArray  # (m + 1,), where on the long axis each value begins, and the last ends
    mean: float  # of all the cluster's rows, drawn or not; NaN of an empty cluster
    size: int
    label_at: float  # on the long axis: beside the band, or as near as other labels leave room

    def outline(self) -> tuple[FloatArray, FloatArray]:
        """Return (values, places) of the band's steps."""
        return np.repeat(self.values, 2), np.repeat(self.edges, 2)[1:-1]


@dataclass(frozen=True)
class Bands:
    """Silhouettes, a band per cluster."""

    bands: list[Band]
    mean: float
    limits: tuple[float, float]  # of the silhouettes
    length: float  # of the axis along which the bands lie
    label_every: int  # of so many clusters one is labelled: there is no room for more
    is_named: bool
    title: str
    note: str

    def value_ticks(self) -> Ticks:
        """Return round numbers within the limits."""
        low, high = self.limits
        step = next(step for step in (0.05, 0.1, 0.2, 0.5) if (high - low) / step < _MOST_TICKS)
        places = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
        return Ticks(places.tolist(), [f"{place:.6g}" for place in places])

    def label_ticks(self) -> Ticks:
        """Return where along the long axis which cluster is named."""
        labelled = self.bands[:: self.label_every]
        texts = [
            str(band.cluster) if not self.is_named else f"{band.cluster}: {band.name or '-'}"
            for band in labelled
        ]
        return Ticks([band.label_at for band in labelled], texts)


@dataclass(frozen=True)
class Ticks:
    """Where an axis is marked, and with what."""

    at: list[float]
    texts: list[str]


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    color: str
    x: FloatArray
    y: FloatArray  # where it is drawn; NaN: a gap
    values: FloatArray  # what is said of it: y, but for what no log axis can show
    spread: FloatArray | None = None  # standard deviations; NaN: none
    is_quiet: bool = False  # one of many of its kind, and not the one to look at
    has_dots: bool = True


@dataclass(frozen=True)
class Panel:
    """Curves over one pair of axes."""

    key: str
    title: str
    subtitle: str
    lines: list[Line]
    x_name: str
    x_ticks: Ticks
    x_limits: tuple[float, float]  # the same in all panels
    y_ticks: Ticks | None = None  # None: the library's own
    has_log_x: bool = False
    has_log_y: bool = False
    mark: tuple[float, float, str] | None = None  # x, y and text of the point to look at

    def mark_is_high(self) -> bool:
        """Tell whether the marked point is in the upper half, so that its text goes below."""
        if self.mark is None:
            return False
        every = np.concatenate([line.y for line in self.lines])
        return bool(self.mark[1] > (np.nanmin(every) + np.nanmax(every)) / 2)

    def mark_is_left(self) -> bool:
        """Tell whether the marked point is in the left half, so that its text goes right of it."""
        if self.mark is None:
            return False
        scale = np.log if self.has_log_x else np.asarray
        return bool(scale(self.mark[0]) <= np.mean(scale(self.x_limits)))


@dataclass(frozen=True)
class Curves:
    """Panels of curves, with one legend for all."""

    panels: list[Panel]
    legend: list[tuple[str, str]]  # (name, colour); empty where there is nothing to tell apart
    title: str
    note: str


@dataclass(frozen=True)
class ScorePanel:
    """One metric of a score table."""

    key: str
    title: str
    subtitle: str
    values: FloatArray  # (n_rows,), of the table; NaN: unknown
    texts: list[str]
    has_dots: bool  # in place of bars
    limits: tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """A score table as panels that share their rows."""

    panels: list[ScorePanel]
    names: list[str]  # of the groups of rows, from the top
    variants: list[str]
    row_names: list[tuple[str, str]]  # (name, variant) of each row
    places: FloatArray  # (n_rows,), from 0 at the top
    colors: list[str]  # (n_rows,)
    thickness: float
    title: str
    note: str

    def variant_colors(self) -> list[tuple[str, str]]:
        """Return (variant, colour), for a legend; none where there is one variant."""
        if len(self.variants) < 2:
            return []
        of_variant = {
            variant: color for (_, variant), color in zip(self.row_names, self.colors, strict=True)
        }
        return list(of_variant.items())


def text_of_count(n: int, what: str = "row") -> str:
    """Return "1 row" or "1,234 rows"."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def text_of_tick(value: float) -> str:
    """Return a number of an axis, thousands and millions in short."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.6g}{unit}"
    return f"{value:.6g}"


def text_of_value(value: Any) -> str:
    """Return a number with about four digits."""
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return f"{number:,.0f}"
    return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.4g}"
