"""The look of Plotly's drawings: headings, quiet axes, a figure of so many pixels."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from plotly import graph_objects as go

from .. import _style as style

_PIXELS = 4 / 3  # per point, the unit of the sizes that both backends share
_LETTER_WIDTH = {style.TITLE_SIZE: 0.62, style.NOTE_SIZE: 0.52}  # over the font's size
_MARGIN = 24  # on the right, and below what the axes need
_LEGEND = 26  # pixels of its height
_FONT = "Open Sans, DejaVu Sans, Verdana, Arial, sans-serif"

HOVER = {"bgcolor": "white", "font": {"color": style.INK, "family": _FONT}}


def pixels(points: float) -> float:
    """Return a size in points in pixels."""
    return points * _PIXELS


def font(size: float, color: str = style.INK) -> dict[str, Any]:
    """Return a font of a size in points."""
    return {"size": pixels(size), "color": color, "family": _FONT}


def plain(text: str) -> str:
    """Return a text in which no letter is taken for HTML."""
    return html.escape(text, quote=False)


def head(
    figure: go.Figure,
    title: str,
    note: str,
    size: tuple[float, float],
    *,
    left: float = 60,
    bottom: float = 50,
    top: float = 0,
    legend: Sequence[tuple[str, str]] = (),
) -> go.Figure:
    """Write the title and the note, and give the figure a size and margins, all in pixels.

    `size` is that of what is below the heading, margins included; `top` is room that the panels
    need above themselves; `legend` says below the note which colour is what.
    """
    width, height = size
    title, note = _wrap(title, style.TITLE_SIZE, width), _wrap(note, style.NOTE_SIZE, width)
    text = f"<b>{title}</b>"
    if note:
        text += f'<br><span style="font-size:{pixels(style.NOTE_SIZE):.0f}px;color:{style.MUTED}">'
        text += f"{note}</span>"
    n_lines = title.count("<br>") + 1, (note.count("<br>") + 1 if note else 0)
    heading = 26 + pixels(1.3 * (n_lines[0] * style.TITLE_SIZE + n_lines[1] * style.NOTE_SIZE))
    heading += _LEGEND if legend else 0
    figure.update_layout(
        title={
            "text": text, "x": 0, "xanchor": "left", "xref": "container", "pad": {"l": 12, "t": 24},
            "y": 1, "yanchor": "top", "yref": "container", "font": font(style.TITLE_SIZE),
        },
        width=width,
        height=height + heading + top,
        margin={"l": left, "r": _MARGIN, "t": heading + top, "b": bottom},
        font=font(style.NOTE_SIZE),
        paper_bgcolor="white",
        plot_bgcolor="white",
        hovermode="closest",
        hoverlabel=HOVER,
        showlegend=False,
    )  # fmt: skip
    if legend:
        _add_legend(figure, list(legend), 1 - heading / (height + heading + top))
    return figure


def quiet_axis(name: str = "", *, has_grid: bool = False, **options: Any) -> dict[str, Any]:
    """Return an axis in soft tones; its name is written along it."""
    return {
        "title": {"text": plain(name), "font": font(style.LABEL_SIZE)},
        "tickfont": font(style.NOTE_SIZE),
        "showgrid": has_grid,
        "gridcolor": style.GRID,
        "zeroline": False,
        "linecolor": style.MUTED,
        **options,
    }


def bare_axis(**options: Any) -> dict[str, Any]:
    """Return an axis that is not seen."""
    return {"visible": False, "zeroline": False, "showgrid": False, **options}


def _add_legend(figure: go.Figure, entries: list[tuple[str, str]], y: float) -> None:
    figure.update_traces(showlegend=False)
    for name, color in entries:
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="markers", name=plain(name), showlegend=True,
                marker={"color": color, "size": 12, "symbol": "square"},
            )
        )  # fmt: skip
    figure.update_layout(
        showlegend=True,
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "xref": "container",
            "y": y, "yanchor": "bottom", "yref": "container", "font": font(style.LABEL_SIZE),
            "itemclick": False, "itemdoubleclick": False,
        },
    )  # fmt: skip


def cluster_text(j: int, name: str | None) -> str:
    """Return what a hover text says of a cluster: its number, and its class where known."""
    return f"cluster {j}" + (f"<br>label {plain(name)}" if name is not None else "")


def _wrap(text: str, size: int, width: float) -> str:
    wrapped = style.wrap(text, int((width - 24) / (_LETTER_WIDTH[size] * pixels(size))))
    return plain(wrapped).replace("\n", "<br>")
