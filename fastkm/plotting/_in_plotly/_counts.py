"""Counts as a matrix and as bars."""

from __future__ import annotations

import numpy as np
from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_MOST_WRITTEN = 700  # cells; above, numbers would be too small to read, and are hover text only


def matrix(what: drawn.Matrix, ax: None = None) -> go.Figure:
    """Draw counts as cells, coloured by their share."""
    n_rows, n_columns = what.counts.shape
    is_written = what.counts.size <= _MOST_WRITTEN
    columns, classes = list(map(look.plain, what.columns)), list(map(look.plain, what.classes))
    texts = np.array(
        [
            [
                f"class {name}, {what.by} {column}<br>{drawn.text_of_count(count)}, "
                f"{share:.1%} of the {what.whole}"
                for column, count, share in zip(columns, counts, shares, strict=True)
            ]
            for name, counts, shares in zip(
                classes, what.counts.tolist(), what.shares.tolist(), strict=True
            )
        ],
        dtype=object,
    )
    figure = go.Figure(
        go.Heatmap(
            z=what.shares, zmin=0, zmax=1, colorscale="Blues", xgap=1.5, ygap=1.5,
            customdata=texts, hovertemplate="%{customdata}<extra></extra>",
            text=np.where(what.counts > 0, what.counts.astype(str), "") if is_written else None,
            texttemplate="%{text}" if is_written else None,
            textfont={"size": look.pixels(style.NOTE_SIZE if n_columns <= 24 else 6)},
            colorbar={
                "title": {"text": f"share of the {what.whole}", "side": "right"},
                "tickformat": ".0%", "tickvals": [0, 0.5, 1], "thickness": 14, "outlinewidth": 0,
            },
        )
    )  # fmt: skip
    size = style.NOTE_SIZE if n_columns <= 30 else style.TINY_SIZE
    figure.update_xaxes(
        look.quiet_axis(
            what.by, tickvals=list(range(n_columns)), ticktext=columns, tickfont=look.font(size)
        )
    )
    figure.update_yaxes(
        look.quiet_axis(
            "class", tickvals=list(range(n_rows)), ticktext=classes, autorange="reversed"
        )
    )
    wide = max(map(len, columns)) > style.SHORT_NAME
    bottom = 60 + (6 * max(map(len, columns)) if wide else 0)
    left = 50 + 7 * max(map(len, classes))
    width = min(max((48 if n_columns <= 24 else 19) * n_columns, 320), 1500)
    figure_size = left + width + 120, max(34 * n_rows, 140) + bottom
    return look.head(figure, what.title, what.note, figure_size, left=left, bottom=bottom)


def bars(what: drawn.Bars, ax: None = None) -> go.Figure:
    """Draw a bar per cluster in the cluster's colour, and their mean."""
    k = len(what.sizes)
    total = sum(what.sizes)
    figure = go.Figure(
        go.Bar(
            x=list(range(k)), y=what.sizes, width=0.8, cliponaxis=False,
            marker={"color": style.cluster_colors(k), "line": {"width": 0}},
            text=[f"{size:,}" for size in what.sizes] if k <= style.MANY else None,
            textposition="outside", textfont=look.font(style.NOTE_SIZE),
            hovertext=[
                f"{look.cluster_text(j, name)}<br>{drawn.text_of_count(size)}, "
                f"{size / total:.1%} of all"
                for j, (name, size) in enumerate(zip(what.names, what.sizes, strict=True))
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_hline(what.mean, line={"color": style.MUTED, "width": 1, "dash": "dash"})
    ticks = [str(j) for j in range(k)]
    if what.is_named:
        names = [look.plain(name or "-") for name in what.names]
        is_short = max(map(len, names)) <= style.SHORT_NAME and k <= style.MANY
        separator = "<br>" if is_short else ": "
        ticks = [f"{j}{separator}{name}" for j, name in enumerate(names)]
    size = style.NOTE_SIZE if k <= style.MANY else style.TINY_SIZE
    figure.update_xaxes(
        look.quiet_axis(
            "cluster and inferred class" if what.is_named else "cluster",
            tickvals=list(range(k)), ticktext=ticks, range=(-0.6, k - 0.4),
            tickfont=look.font(size), showline=True,
            tickangle=0 if k <= style.MANY and not _is_long(ticks) else -90,
        )
    )  # fmt: skip
    top = 1.1 * max(what.sizes)
    figure.update_yaxes(look.quiet_axis("rows", has_grid=True, range=(0, top), tickformat=","))
    bottom = 70 + (6 * max(map(len, ticks)) if _is_long(ticks) else 0)
    width = min(max(52 * k, 340), 1300)
    return look.head(
        figure, what.title, what.note, (width + 90, 250 + bottom), left=66, bottom=bottom
    )


def _is_long(ticks: list[str]) -> bool:
    return max(len(part) for tick in ticks for part in tick.split("<br>")) > style.SHORT_NAME
