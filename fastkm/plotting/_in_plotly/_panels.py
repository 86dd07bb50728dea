"""Several panels in one figure, of sizes in pixels."""

from __future__ import annotations

from typing import NamedTuple

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from .. import _style as style
from . import _look as look

_RIGHT = 24  # pixels right of the last panel
_TITLE = 30  # pixels above a panel, for its title


class Grid(NamedTuple):
    """A figure with panels in rows."""

    figure: go.Figure
    size: tuple[float, float]  # of all panels, pixels
    below: float  # pixels under each panel

    def write_below(self, i: int, text: str) -> None:
        """Write a quiet line under panel i."""
        axis = "" if i == 0 else str(i + 1)
        self.figure.add_annotation(
            text=look.plain(text), x=0, xref=f"x{axis} domain", xanchor="left", showarrow=False,
            y=0, yref=f"y{axis} domain", yanchor="top", yshift=-self.below + 46,
            font=look.font(style.SMALL_SIZE, style.MUTED),
        )  # fmt: skip

    def head(self, title: str, note: str, legend: list[tuple[str, str]], left: float) -> go.Figure:
        """Write the title, the note and the legend, and give the figure its size."""
        width, height = self.size
        size = left + width + _RIGHT, height + self.below
        return look.head(
            self.figure,
            title,
            note,
            size,
            left=left,
            bottom=self.below,
            top=_TITLE,
            legend=legend,
        )


def grid_of_panels(
    titles: list[str], n_columns: int, size: tuple[float, float], *, between: tuple[float, float]
) -> Grid:
    """Return a figure of panels of one size, with so many pixels between them."""
    n_rows = -(-len(titles) // n_columns)
    width = n_columns * size[0] + (n_columns - 1) * between[0]
    height = n_rows * size[1] + (n_rows - 1) * between[1]
    figure = make_subplots(
        n_rows,
        n_columns,
        specs=[
            [{} if row * n_columns + column < len(titles) else None for column in range(n_columns)]
            for row in range(n_rows)
        ],
        horizontal_spacing=between[0] / width,
        vertical_spacing=between[1] / height,
    )
    for i, title in enumerate(titles):
        axis = "" if i == 0 else str(i + 1)
        figure.add_annotation(
            text=f"<b>{look.plain(title)}</b>", x=0, xref=f"x{axis} domain", xanchor="left",
            y=1, yref=f"y{axis} domain", yanchor="bottom", yshift=6, showarrow=False,
            font=look.font(style.PANEL_SIZE),
        )  # fmt: skip
    return Grid(figure, (width, height), between[1] - _TITLE)
