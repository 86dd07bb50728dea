"""Panels of curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look
from ._panels import grid_of_panels

_MOST_BESIDE = 3  # panels
_BAND_ALPHA = 0.2
_QUIET_ALPHA = 0.45
_PANEL = (280.0, 200.0)  # pixels


def curves(what: drawn.Curves) -> go.Figure:
    """Draw the panels, of one height and width."""
    n_columns = 2 if len(what.panels) == 4 else min(len(what.panels), _MOST_BESIDE)
    grid = grid_of_panels(
        [panel.title for panel in what.panels], n_columns, _PANEL, between=(70, 96)
    )
    for i, panel in enumerate(what.panels):
        row, column = divmod(i, n_columns)
        place = {"row": row + 1, "col": column + 1}
        for line in panel.lines:
            for trace in _traces(line, panel):
                grid.figure.add_trace(trace, **place)
        grid.figure.update_xaxes(
            _axis(
                panel.x_ticks,
                has_log=panel.has_log_x,
                showline=True,
                range=np.log10(panel.x_limits) if panel.has_log_x else panel.x_limits,
            ),
            **place,
        )
        grid.figure.update_yaxes(
            _axis(panel.y_ticks, has_log=panel.has_log_y, has_grid=True), **place
        )
        grid.write_below(i, "; ".join(filter(None, [panel.x_name, panel.subtitle])))
        _mark(grid.figure, panel, place, axis="" if i == 0 else str(i + 1))
    return grid.head(what.title, what.note, what.legend, left=74)


def _traces(line: drawn.Line, panel: drawn.Panel) -> list[Any]:
    traces = []
    if line.spread is not None:
        is_known = ~np.isnan(line.y + line.spread)
        x, low, high = (
            values[is_known] for values in (line.x, line.y - line.spread, line.y + line.spread)
        )
        red, green, blue = style.channels(line.color)
        traces.append(
            go.Scatter(
                x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]),
                mode="lines", line={"width": 0}, fill="toself", hoverinfo="skip",
                fillcolor=f"rgba({red},{green},{blue},{_BAND_ALPHA})", name="spread",
            )
        )  # fmt: skip
    traces.append(
        go.Scatter(
            x=line.x,
            y=line.y,
            mode="lines+markers" if line.has_dots else "lines",
            line={"color": line.color, "width": 1.2 if line.is_quiet else 2.4},
            marker={"color": line.color, "size": 6},
            opacity=_QUIET_ALPHA if line.is_quiet else 1,
            name=look.plain(line.name),
            text=_hover(line, panel),
            hovertemplate="%{text}<extra></extra>",
        )
    )
    return traces


def _hover(line: drawn.Line, panel: drawn.Panel) -> list[str]:
    spread = np.full(line.y.shape, math.nan) if line.spread is None else line.spread
    head = f"{look.plain(line.name)}<br>" if line.name not in ("", panel.key) else ""
    x_name = panel.x_name.split(",")[0]
    texts = []
    for x, value, deviation in zip(line.x, line.values, spread, strict=True):
        text = f"{head}{x_name} {x:.0f}<br>{panel.title} {drawn.text_of_value(value)}"
        if not math.isnan(deviation):
            text += f" ± {drawn.text_of_value(deviation)}"
        texts.append(text)
    return texts


def _axis(
    ticks: drawn.Ticks | None, *, has_log: bool, has_grid: bool = False, **options: Any
) -> dict[str, Any]:
    if ticks is not None:
        options.update(tickvals=ticks.at, ticktext=ticks.texts, tickangle=0)
    if has_log:
        options["type"] = "log"
    return look.quiet_axis(has_grid=has_grid, ticks="outside", tickcolor=style.MUTED, **options)


def _mark(figure: go.Figure, panel: drawn.Panel, place: dict[str, int], axis: str) -> None:
    if panel.mark is None:
        return
    x, y, text = panel.mark
    figure.add_vline(x, line={"color": style.CHOSEN, "width": 1, "dash": "dash"}, **place)
    figure.add_trace(
        go.Scatter(
            x=[x], y=[y], mode="markers", name="chosen", hoverinfo="skip",
            marker={
                "symbol": "circle-open", "size": 13, "color": style.CHOSEN, "line": {"width": 2.5},
            },
        ),
        **place,
    )  # fmt: skip
    is_left, is_high = panel.mark_is_left(), panel.mark_is_high()
    figure.add_annotation(
        text=f"<b>{text}</b>", showarrow=False, font=look.font(style.NOTE_SIZE, style.CHOSEN),
        x=math.log10(x) if panel.has_log_x else x, y=0 if is_high else 1,
        xanchor="left" if is_left else "right", yanchor="bottom" if is_high else "top",
        xref=f"x{axis}", yref=f"y{axis} domain", xshift=4 if is_left else -4,
    )  # fmt: skip
