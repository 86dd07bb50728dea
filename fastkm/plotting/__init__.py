"""Draw clusterings: one function per drawing, for any estimator with scikit-learn's attributes.

==========================  ============================================================  ========
`plot_centroids`            every centroid as an image                                    Figure
`plot_cluster_samples`      rows of every cluster as images                               Figure
`plot_decision_regions`     the plane as the clusters divide it, with rows and centroids  Axes
`plot_confusion_matrix`     classes against clusters or inferred classes                  Axes
`plot_cluster_sizes`        rows per cluster                                              Axes
`plot_comparison`           a score table, one panel per metric                           Figure
==========================  ============================================================  ========

A drawing of one panel takes ``ax=`` and returns the Axes, one of several returns the Figure. None
calls ``show`` or changes rcParams, and a cluster has the same colour in all of them. matplotlib is
imported when the first is drawn: ``pip install 'fastkm[plot]'``.
"""

from ._comparison import plot_comparison
from ._counts import plot_cluster_sizes, plot_confusion_matrix
from ._images import plot_centroids, plot_cluster_samples
from ._regions import plot_decision_regions

__all__ = [
    "plot_centroids",
    "plot_cluster_samples",
    "plot_decision_regions",
    "plot_confusion_matrix",
    "plot_cluster_sizes",
    "plot_comparison",
]
