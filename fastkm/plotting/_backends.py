"""Which library draws: checked and imported when something is drawn, not before."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, Literal

Backend = Literal["matplotlib", "plotly"]

_MODULES = {"matplotlib": "matplotlib.pyplot", "plotly": "plotly.graph_objects"}


def pick(backend: str, ax: Any = None) -> ModuleType:
    """Return the package that draws with a library: one function per class of `_drawn`.

    Raises
    ------
    ValueError
        If the backend is unknown, or axes are given to Plotly, which has none.
    TypeError
        If `ax` is no matplotlib Axes.
    ImportError
        If the library is not installed; names the pip command.
    """
    if not isinstance(backend, str) or backend not in _MODULES:
        raise ValueError(f"backend must be 'matplotlib' or 'plotly'; got {backend!r}.")
    if backend == "plotly" and ax is not None:
        raise ValueError(
            "ax must be left out with backend='plotly': ax is where matplotlib draws, and Plotly "
            "returns a Figure of its own."
        )
    try:
        import_module(_MODULES[backend])
    except ImportError as error:
        raise ImportError(f"fastkm.plotting draws with {backend}: pip install {backend}") from error
    drawer = import_module(f"._in_{backend}", __package__)
    if ax is not None:
        drawer.check_axes(ax)
    return drawer
