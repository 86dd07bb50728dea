"""Judge a clustering: against known classes, and beside other clusterings of the same rows.

Everything here takes cluster labels, or any estimator with scikit-learn's attributes,
scikit-learn's own included. The scores are scikit-learn's metrics, called, but for the silhouette.

=========================  ===========================================================
`infer_cluster_labels`     name each cluster by the class most of its rows have
`infer_data_labels`        the class of each row by its cluster's name
`clustering_accuracy`      share of rows whose class their cluster gives right
`confusion_matrix`         classes against clusters, or against inferred classes
`cluster_sizes`            rows per cluster
`score_table`              time and scores of several estimators in one table
`sweep`                    scores for several numbers of clusters, and which to take
`compare`                  fastkm beside scikit-learn on one's own rows
`silhouette_samples`       how much nearer each row is to its cluster than to the next
`silhouette_score`         the mean of that, or an estimate from a sample
=========================  ===========================================================
"""

from ._clusters import (
    ConfusionMatrix,
    cluster_sizes,
    clustering_accuracy,
    confusion_matrix,
    infer_cluster_labels,
    infer_data_labels,
)
from ._compare import compare
from ._progress import Progress
from ._scores import ScoreTable, score_table
from ._silhouette import silhouette_samples, silhouette_score
from ._sweep import sweep
from ._sweep_table import SweepTable

__all__ = [
    "infer_cluster_labels",
    "infer_data_labels",
    "clustering_accuracy",
    "confusion_matrix",
    "ConfusionMatrix",
    "cluster_sizes",
    "score_table",
    "ScoreTable",
    "sweep",
    "SweepTable",
    "Progress",
    "compare",
    "silhouette_samples",
    "silhouette_score",
]
