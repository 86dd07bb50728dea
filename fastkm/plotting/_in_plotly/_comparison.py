"""A score table as panels of bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look
from ._panels import grid_of_panels

_MOST_BESIDE = 3  # panels


def scores(what: drawn.Scores) -> go.Figure:
    """Draw one panel per metric."""
    height = 28.0 * len(what.names) * (len(what.variants) + 0.6) + 30
    left = 40 + 7 * max(map(len, what.names))
    n_columns = min(len(what.panels), _MOST_BESIDE)
    grid = grid_of_panels(
        [panel.title for panel in what.panels], n_columns, (260, height), between=(40, 80)
    )
    for i, panel in enumerate(what.panels):
        row, column = divmod(i, n_columns)
        grid.figure.add_trace(_trace(panel, what), row=row + 1, col=column + 1)
        grid.figure.update_xaxes(
            look.quiet_axis(showticklabels=False, range=panel.limits, fixedrange=True),
            row=row + 1, col=column + 1,
        )  # fmt: skip
        grid.write_below(i, panel.subtitle)
        is_first = column == 0
        grid.figure.update_yaxes(
            look.quiet_axis(
                range=(len(what.names) - 0.45, -0.55),
                tickvals=list(range(len(what.names))),
                ticktext=list(map(look.plain, what.names)),
                showticklabels=is_first,
                showline=True,
                tickfont=look.font(style.LABEL_SIZE),
            ),
            row=row + 1,
            col=column + 1,
        )
    return grid.head(what.title, what.note, what.variant_colors(), left=left)


def _trace(panel: drawn.ScorePanel, what: drawn.Scores) -> Any:
    hover = [
        f"{look.plain(name)}" + (f", {look.plain(variant)}" if variant else "") + f"<br>{text}"
        for (name, variant), text in zip(what.row_names, panel.texts, strict=True)
    ]
    options: dict[str, Any] = {
        "y": what.places,
        "text": [look.plain(text) for text in panel.texts],
        "textfont": look.font(style.NOTE_SIZE),
        "cliponaxis": False,
        "hovertext": hover,
        "hovertemplate": f"%{{hovertext}}<br>{panel.title}<extra></extra>",
    }
    if panel.has_dots:
        return go.Scatter(
            x=panel.values, mode="markers+text", textposition="middle right",
            marker={"color": what.colors, "size": 11}, **options,
        )  # fmt: skip
    return go.Bar(
        x=np.nan_to_num(panel.values), orientation="h", width=what.thickness,
        marker={"color": what.colors, "line": {"width": 0}}, textposition="outside", **options,
    )  # fmt: skip
