"""Draws with matplotlib what `_drawn` says: Axes of one panel, a Figure of several."""

from ._comparison import scores
from ._counts import bars, matrix
from ._curves import curves
from ._images import images, strips
from ._look import check_axes
from ._plane import regions
from ._silhouette import bands

__all__ = [
    "bands",
    "bars",
    "check_axes",
    "curves",
    "images",
    "matrix",
    "regions",
    "scores",
    "strips",
]
