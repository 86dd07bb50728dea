"""Draw clusterings: one function per drawing, for any estimator with scikit-learn's attributes.

==========================  ============================================================  ========
`plot_centroids`            every centroid as an image                                    Figure
`plot_cluster_samples`      rows of every cluster as images                               Figure
`plot_decision_regions`     the plane as the clusters divide it, with rows and centroids  Axes
`plot_sweep`                metrics against k, the chosen k marked                        Figure
`plot_silhouette`           how well each row lies in its cluster                         Axes
`plot_confusion_matrix`     classes against clusters or inferred classes                  Axes
`plot_cluster_sizes`        rows per cluster                                              Axes
`plot_convergence`          what each round of a fit did                                  Figure
`plot_comparison`           a score table, one panel per metric                           Figure
==========================  ============================================================  ========

matplotlib draws, or Plotly with ``backend="plotly"``: the same numbers, colours and words, where
the pointer shows the row, its cluster and its label. The result is then always a
`plotly.graph_objects.Figure`; ``figure.write_html(path, include_plotlyjs=True)`` makes a page of it
that opens without a network.

With matplotlib a drawing of one panel takes ``ax=`` and returns the Axes, one of several returns
the Figure. None calls ``show`` or changes rcParams, and a cluster has the same colour in all of
them. A library is imported when it draws first: ``pip install matplotlib``, or
``pip install plotly``.
"""

# Each function checks what it is given and computes a class of _drawn: numbers, places, texts;
# _in_matplotlib and _in_plotly draw these, and do nothing else.

from ._comparison import plot_comparison
from ._convergence import plot_convergence
from ._counts import plot_cluster_sizes, plot_confusion_matrix
from ._images import plot_centroids, plot_cluster_samples
from ._regions import plot_decision_regions
from ._silhouette import plot_silhouette
from ._sweep import plot_sweep

__all__ = [
    "plot_centroids",
    "plot_cluster_samples",
    "plot_decision_regions",
    "plot_sweep",
    "plot_silhouette",
    "plot_confusion_matrix",
    "plot_cluster_sizes",
    "plot_convergence",
    "plot_comparison",
]
