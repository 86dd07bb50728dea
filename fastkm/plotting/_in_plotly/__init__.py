"""Draws with Plotly what `_drawn` says: always a Figure, with hover text."""

from ._comparison import scores
from ._counts import bars, matrix
from ._curves import curves
from ._images import images, strips
from ._plane import regions
from ._silhouette import bands

__all__ = [
    "bands",
    "bars",
    "curves",
    "images",
    "matrix",
    "regions",
    "scores",
    "strips",
]
