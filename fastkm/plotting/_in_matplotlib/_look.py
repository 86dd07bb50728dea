"""The look of matplotlib's drawings: headings, quiet axes, a new figure where none is given."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import _style as style

# Width of a letter over the font's size: matplotlib's default font is wide, its bold still wider.
_LETTER_WIDTH = {style.TITLE_SIZE: 0.7, style.NOTE_SIZE: 0.58}

SLANTED: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}


def check_axes(ax: Any) -> None:
    """Raise TypeError unless this is one Axes."""
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be one matplotlib Axes; got {type(ax).__name__}.")


def plain(text: str) -> str:
    """Return a text whose dollars are dollars, not the bounds of a formula."""
    return text.replace("$", r"\$")


def one_panel(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes given, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def grid_of_panels(
    n: int,
    n_columns: int,
    size: tuple[float, float],
    *,
    pads: tuple[float, float] = (0.04, 0.04),
    by_column: bool = False,
    has_common_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a new figure, its size and its pads in inches, and n axes of its grid.

    The places beyond n stay empty.
    """
    figure, axes = plt.subplots(
        -(-n // n_columns), n_columns, figsize=size, squeeze=False, sharey=has_common_y
    )
    figure.set_layout_engine("constrained", w_pad=pads[0], h_pad=pads[1])
    every = list((axes.T if by_column else axes).flat)
    for ax in every[n:]:
        ax.remove()
    return figure, every[:n]


def head_axes(ax: Axes, title: str, note: str = "") -> None:
    """Write a panel's title, and below it a note in a quieter tone, both wrapped to its width."""
    width = ax.get_window_extent().width / ax.figure.dpi
    title, note = _wrap(title, style.TITLE_SIZE, width), _wrap(note, style.NOTE_SIZE, width)
    pad = 8 + (4 + 1.3 * style.NOTE_SIZE * (note.count("\n") + 1) if note else 0)
    ax.set_title(
        title, loc="left", fontsize=style.TITLE_SIZE, fontweight="bold", color=style.INK, pad=pad
    )
    if note:
        ax.annotate(
            note, xy=(0, 1), xycoords="axes fraction", xytext=(0, 7), textcoords="offset points",
            fontsize=style.NOTE_SIZE, color=style.MUTED, va="bottom",
        )  # fmt: skip


def head_figure(figure: Figure, title: str, note: str = "") -> None:
    """Write a figure's title, and at its foot a note in a quieter tone, both wrapped."""
    width = figure.get_figwidth()
    title, note = _wrap(title, style.TITLE_SIZE, width), _wrap(note, style.NOTE_SIZE, width)
    figure.suptitle(
        title, x=0.012, ha="left", fontsize=style.TITLE_SIZE, fontweight="bold", color=style.INK
    )
    if note:
        figure.supxlabel(note, x=0.012, ha="left", fontsize=style.NOTE_SIZE, color=style.MUTED)


def head_panel(ax: Axes, title: str) -> None:
    """Write the title of one panel of several."""
    ax.set_title(
        plain(title), loc="left", fontsize=style.PANEL_SIZE, fontweight="bold", color=style.INK
    )


def legend(figure: Figure, entries: list[tuple[str, str]]) -> None:
    """Say at the figure's top right which colour is what; nothing for no entries."""
    if not entries:
        return
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=color) for _, color in entries],
        [plain(name) for name, _ in entries],
        loc="outside upper right",
        ncols=min(len(entries), 4),
        frameon=False,
        fontsize=style.LABEL_SIZE,
        labelcolor=style.INK,
    )


def quiet_axes(ax: Axes, *, grid: Literal["x", "y"] | None = None) -> None:
    """Drop the frame's top and right, soften the ticks, and draw a grid along x or y behind."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(style.MUTED)
    ax.tick_params(colors=style.MUTED, labelcolor=style.INK, labelsize=style.NOTE_SIZE)
    if grid is not None:
        ax.grid(axis=grid, color=style.GRID, linewidth=0.8)
        ax.set_axisbelow(True)


def name_axes(ax: Axes, x: str = "", y: str = "") -> None:
    """Write what is on the axes."""
    ax.set_xlabel(plain(x), fontsize=style.LABEL_SIZE, color=style.INK)
    ax.set_ylabel(plain(y), fontsize=style.LABEL_SIZE, color=style.INK)


def _wrap(text: str, size: int, width: float) -> str:
    """Break a title or a note into lines of `width` inches."""
    return style.wrap(plain(text), int(72 * width / (_LETTER_WIDTH[size] * size)))
