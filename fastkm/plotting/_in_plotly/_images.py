"""Images of clusters, laid out in one large image: quick at any number of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_STRIP = 42.0  # pixels of a strip's height
_STRIP_NAME = 150  # pixels beside a strip, for its name
_IMAGE = 96.0  # pixels of the longer side of an image
_LEAST_WIDTH = 560.0  # pixels of a figure, for its title


class _Mosaic:
    """One large image of many small ones, and what the pointer shows over each."""

    def __init__(self, n_rows: int, n_columns: int, shape: tuple[int, ...], gaps: tuple[int, int]):
        self.height, self.width = shape[:2]
        self.step = self.height + gaps[0], self.width + gaps[1]
        size = n_rows * self.step[0] - gaps[0], n_columns * self.step[1] - gaps[1]
        self.pixels = np.full((*size, *shape[2:]), np.nan, dtype=np.float32)
        self.middles: list[tuple[float, float]] = []
        self.texts: list[str] = []

    def put(self, row: int, column: int, image: drawn.FloatArray, text: str) -> None:
        """Put an image at a place of the grid."""
        top, left = row * self.step[0], column * self.step[1]
        self.pixels[top : top + self.height, left : left + self.width] = image
        self.middles.append((left + (self.width - 1) / 2, top + (self.height - 1) / 2))
        self.texts.append(text)

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of a place, in pixels of the mosaic."""
        top, left = row * self.step[0] - 0.5, column * self.step[1] - 0.5
        return left, top, left + self.width, top + self.height

    def traces(self, cmap: str, scale: float) -> list[Any]:
        """Return what draws it, row 0 at the top, and what the pointer finds over each image.

        Texts are on marks of one image each, as a text on each pixel would make large files.
        """
        x, y = np.array(self.middles).reshape(-1, 2).T
        marks = go.Scatter(
            x=x, y=y, mode="markers", text=self.texts, hovertemplate="%{text}<extra></extra>",
            marker={
                "symbol": "square", "size": scale * min(self.height, self.width), "opacity": 0,
                "color": style.MUTED,
            },
        )  # fmt: skip
        return [self._image(cmap), marks]

    def _image(self, cmap: str) -> Any:
        if self.pixels.ndim == 3:  # RGB; gaps are white
            pixels = np.nan_to_num(255 * self.pixels, nan=255).round().astype(np.uint8)
            return go.Image(z=pixels, hoverinfo="skip")
        return go.Heatmap(
            z=self.pixels, colorscale=cmap, zmin=0, zmax=1, showscale=False, hoverinfo="skip"
        )


def images(what: drawn.Images) -> go.Figure:
    """Draw one image per cluster, framed in the cluster's colour."""
    k, height, width = what.pixels.shape[:3]
    n_rows = -(-k // what.n_columns)
    scale = _IMAGE / max(height, width)  # screen pixels of a pixel
    # Names above and numbers below need so many screen pixels, whatever the image's own.
    gaps = int(np.ceil((46 if what.is_named else 26) / scale)), int(np.ceil(16 / scale))
    mosaic = _Mosaic(n_rows, what.n_columns, what.pixels.shape[1:], gaps)
    figure = go.Figure()
    for j in range(k):
        name = what.names[j] if what.is_named else None
        place = divmod(j, what.n_columns)
        mosaic.put(*place, what.pixels[j], look.cluster_text(j, name))
        left, top, right, bottom = mosaic.box(*place)
        figure.add_shape(
            type="rect", x0=left, x1=right, y0=top, y1=bottom,
            line={"color": style.cluster_color(j), "width": 3},
        )  # fmt: skip
        above = f"<b>{look.plain(name or 'no rows')}</b>" if what.is_named else f"cluster {j}"
        _write(figure, above, (left + right) / 2, top, "bottom", style.LABEL_SIZE, style.INK)
        if what.is_named:
            below = f"cluster {j}"
            _write(figure, below, (left + right) / 2, bottom, "top", style.SMALL_SIZE, style.MUTED)
    figure.add_traces(mosaic.traces(what.cmap, scale))
    high, wide = mosaic.pixels.shape[:2]
    _frame_mosaic(figure, (-0.5, wide - 0.5), (high - 0.5, -0.5))
    size = max(scale * wide + 24 + 24, _LEAST_WIDTH), scale * high + 30
    return look.head(figure, what.title, what.note, size, left=24, bottom=30, top=26)


def strips(what: drawn.Strips) -> go.Figure:
    """Draw a strip of images per cluster, beside a bar in the cluster's colour."""
    k = len(what.pixels)
    n_rows = -(-k // what.n_columns)
    shape = what.pixels[0].shape[1:]
    height, width = shape[:2]
    scale = _STRIP / height
    gap = max(1, width // 8)
    # Between two columns of strips, and before the first, there is room for names.
    name_room = -(-_STRIP_NAME // (scale * (width + gap)))
    per_column = what.n_places + int(name_room)
    mosaic = _Mosaic(n_rows, what.n_columns * per_column, shape, (max(1, round(4 / scale)), gap))
    figure = go.Figure()
    for j, (images_of_cluster, rows) in enumerate(zip(what.pixels, what.rows, strict=True)):
        column, row = divmod(j, n_rows)
        first = column * per_column + int(name_room)
        for place, (image, i) in enumerate(zip(images_of_cluster, rows.tolist(), strict=True)):
            text = f"row {i:,}<br>{look.cluster_text(j, what.names[j])}"
            mosaic.put(row, first + place, image, text)
        left, top, _, bottom = mosaic.box(row, first)
        figure.add_shape(
            type="line", x0=left - 4 / scale, x1=left - 4 / scale, y0=top, y1=bottom,
            line={"color": style.cluster_color(j), "width": 6},
        )  # fmt: skip
        figure.add_annotation(
            text=_strip_text(j, what.sizes[j], what.names[j]), x=left - 10 / scale,
            y=(top + bottom) / 2, xanchor="right", yanchor="middle", align="right",
            showarrow=False, font=look.font(style.SMALL_SIZE),
        )  # fmt: skip
    figure.add_traces(mosaic.traces(what.cmap, scale))
    high, wide = mosaic.pixels.shape[:2]
    _frame_mosaic(figure, (-0.5, wide - 0.5), (high - 0.5, -0.5))
    size = max(scale * wide + 12 + 24, _LEAST_WIDTH), scale * high + 20
    return look.head(figure, what.title, what.note, size, left=12, bottom=20)


def _strip_text(j: int, size: int, name: str | None) -> str:
    rows = drawn.text_of_count(size)
    small = f'<span style="color:{style.MUTED}">'
    if name is None:
        return f"<b>cluster {j}</b><br>{small}{rows}</span>"
    return f"<b>{look.plain(name)}</b><br>{small}cluster {j}, {rows}</span>"


def _write(
    figure: go.Figure, text: str, x: float, y: float, anchor: str, size: float, color: str
) -> None:
    figure.add_annotation(
        text=text, x=x, y=y, xanchor="center", yanchor=anchor, showarrow=False,
        font=look.font(size, color),
    )  # fmt: skip


def _frame_mosaic(
    figure: go.Figure, x_range: tuple[float, float], y_range: tuple[float, float]
) -> None:
    figure.update_xaxes(look.bare_axis(range=x_range, constrain="domain"))
    figure.update_yaxes(look.bare_axis(range=y_range, scaleanchor="x", constrain="domain"))
