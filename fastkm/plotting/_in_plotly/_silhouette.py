"""Silhouettes, a band per cluster."""

from __future__ import annotations

from typing import Any

from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look


def bands(what: drawn.Bands, ax: None = None) -> go.Figure:
    """Draw the bands below each other, from cluster 0 at the top."""
    k = len(what.bands)
    figure = go.Figure([_band(band) for band in what.bands if band.size])
    figure.add_vline(what.mean, line={"color": style.INK, "width": 1.2, "dash": "dash"})
    figure.add_vline(0, line={"color": style.MUTED, "width": 0.8})
    marks, ticks = what.value_ticks(), what.label_ticks()
    texts = list(map(look.plain, ticks.texts))
    size = style.NOTE_SIZE if k <= style.MANY else style.TINY_SIZE
    figure.update_xaxes(
        look.quiet_axis(
            "silhouette",
            has_grid=True,
            range=what.limits,
            showline=True,
            tickvals=marks.at,
            ticktext=marks.texts,
        )
    )
    figure.update_yaxes(
        look.quiet_axis(
            "cluster and inferred class" if what.is_named else "cluster",
            tickvals=ticks.at, ticktext=texts, range=(what.length, 0), tickfont=look.font(size),
        )
    )  # fmt: skip
    left = 54 + 7 * max(map(len, texts))
    height = min(max(20 * k, 260), 1080)
    return look.head(figure, what.title, what.note, (left + 560, height + 56), left=left, bottom=56)


def _band(band: drawn.Band) -> Any:
    values, places = band.outline()
    of_cluster = (
        f"{look.cluster_text(band.cluster, band.name)}<br>{drawn.text_of_count(band.size)}, "
        f"mean {band.mean:.3f}"
    )
    texts = [
        f"row {i:,}<br>silhouette {value:.3f}<br>{of_cluster}"
        for i, value in zip(band.rows.tolist(), band.values.tolist(), strict=True)
        for _ in range(2)  # a step has two ends
    ]
    return go.Scatter(
        x=values, y=places, mode="lines", line={"width": 0}, fill="tozerox",
        fillcolor=style.cluster_color(band.cluster), name=f"cluster {band.cluster}",
        text=texts, hovertemplate="%{text}<extra></extra>", hoveron="points",
    )  # fmt: skip
