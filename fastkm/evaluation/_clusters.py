"""Name clusters by classes, and count rows by cluster and class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from sklearn import metrics
from sklearn.metrics.cluster import contingency_matrix

from ._checks import IntArray, check_classes, check_labels, check_same_length

Matching = Literal["majority", "one-to-one"]


def infer_cluster_labels(
    labels: npt.ArrayLike, y: npt.ArrayLike, *, matching: Matching = "majority"
) -> dict[int, Any]:
    """Name each cluster by a class: the one most of its rows have, or its partner one to one.

    Parameters
    ----------
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row, such as an estimator's ``labels_``.
    y : array-like of shape (n,), integers, booleans, whole floats or strings
        Class of each row.
    matching : {"majority", "one-to-one"}, default="majority"
        "majority": each cluster by the class most of its rows have, whatever the others are named;
        ties go to the smallest class. "one-to-one": no class twice, paired so that the most rows
        are right (see `clustering_accuracy`).

    Returns
    -------
    dict of int to class
        The class of each cluster that has one, in the order of the clusters. A cluster without rows
        has no entry, as nothing is known about it; nor, one to one, has a cluster without partner,
        because there are more clusters than classes or no class left that any of its rows has.

    Raises
    ------
    ValueError
        If the lengths differ, `y` has missing or continuous entries, or `matching` is unknown.
    TypeError
        If `labels` does not hold integers.

    See Also
    --------
    infer_data_labels : Carry the names over to rows, also to rows not seen before.

    Examples
    --------
    >>> from fastkm.evaluation import infer_cluster_labels
    >>> infer_cluster_labels([0, 0, 0, 2, 2], ["cat", "dog", "cat", "dog", "cow"])
    {0: 'cat', 2: 'cow'}
    >>> infer_cluster_labels([0, 0, 1, 1, 1], [7, 7, 7, 7, 4])
    {0: 7, 1: 7}
    >>> infer_cluster_labels([0, 0, 1, 1, 1], [7, 7, 7, 7, 4], matching="one-to-one")
    {0: 7, 1: 4}
    """
    clusters = check_labels(labels)
    classes = check_classes(y)
    check_same_length(labels=clusters, y=classes.codes)
    counts = contingency_matrix(classes.codes, clusters)
    named, columns = _pairs(counts, matching)
    names = classes.values[named].tolist()
    return dict(zip(np.unique(clusters)[columns].tolist(), names, strict=True))


def _pairs(counts: IntArray, matching: Matching) -> tuple[IntArray, IntArray]:
    """Return the row (class) and the column (cluster) of each pair, by ascending column."""
    if matching == "majority":
        # argmax takes the first of equals: the smallest class.
        return counts.argmax(axis=0), np.arange(counts.shape[1])
    if matching != "one-to-one":
        raise ValueError(f"matching must be 'majority' or 'one-to-one'; got {matching!r}.")
    rows, columns = linear_sum_assignment(counts, maximize=True)
    by_column = np.argsort(columns)
    rows, columns = rows[by_column], columns[by_column]
    # The solver pairs what is left over too, at no gain: such a name would have no row behind it.
    has_rows = counts[rows, columns] > 0
    return rows[has_rows], columns[has_rows]


def infer_data_labels(
    labels: npt.ArrayLike, cluster_labels: Mapping[int, Any], *, default: Any = None
) -> npt.NDArray[Any]:
    """Give each row the class its cluster is named by.

    Parameters
    ----------
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row: ``labels_``, or ``predict`` of new rows.
    cluster_labels : mapping of int to class
        What `infer_cluster_labels` returned.
    default : class, optional
        Class of the rows whose cluster has no name, because no row was in it when the names were
        inferred. Without it, such a row is an error.

    Returns
    -------
    ndarray of shape (n,)
        Inferred class of each row, of the classes' own dtype.

    Raises
    ------
    ValueError
        If a row's cluster has no name and no default is given.

    Examples
    --------
    >>> from fastkm.evaluation import infer_cluster_labels, infer_data_labels
    >>> names = infer_cluster_labels([0, 0, 1], [7, 7, 4])
    >>> infer_data_labels([1, 0, 0, 1], names).tolist()
    [4, 7, 7, 4]
    """
    clusters, codes = np.unique(check_labels(labels), return_inverse=True)
    unnamed = [j for j in clusters.tolist() if j not in cluster_labels]
    if unnamed and default is None:
        raise ValueError(
            f"cluster_labels must name every cluster in labels; clusters {unnamed} have no name, "
            "as no row was in them when the names were inferred: pass default= for their rows."
        )
    return np.asarray([cluster_labels.get(j, default) for j in clusters.tolist()])[codes]


def clustering_accuracy(
    y: npt.ArrayLike,
    labels: npt.ArrayLike,
    matching: Matching = "majority",
) -> float:
    """Return the share of rows whose class their cluster gives right.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class of each row.
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    matching : {"majority", "one-to-one"}, default="majority"
        How clusters stand for classes. "majority": each for the class most of its rows have; many
        may stand for one class, so splitting clusters never scores less. "one-to-one": one cluster
        for one class, paired so that the most rows are right. Where there are more clusters than
        classes, or fewer, the rows of what stays unpaired are wrong.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, `y` has missing or continuous entries, or `matching` is unknown.

    Notes
    -----
    "one-to-one" solves the assignment problem with SciPy's ``linear_sum_assignment``. It is at most
    the "majority" accuracy, as it picks among fewer ways of naming. The majority's is also known as
    purity, the other as clustering accuracy (ACC).

    Classes come first, as in scikit-learn's metrics. Integers given the other way round cannot be
    told from these: "one-to-one" is the same either way, but "majority" is not, and grows with the
    number of classes instead of that of clusters.

    References
    ----------
    Kuhn (1955), "The Hungarian method for the assignment problem", Naval Research Logistics
    Quarterly.

    Examples
    --------
    >>> from fastkm.evaluation import clustering_accuracy
    >>> y, labels = [0, 0, 0, 1], [0, 0, 1, 2]
    >>> clustering_accuracy(y, labels)
    1.0
    >>> clustering_accuracy(y, labels, matching="one-to-one")
    0.75
    """
    classes = check_classes(y)
    clusters = check_labels(labels)
    check_same_length(y=classes.codes, labels=clusters)
    counts = contingency_matrix(classes.codes, clusters)
    return float(counts[_pairs(counts, matching)].sum() / len(clusters))


class ConfusionMatrix(NamedTuple):
    """Counts of rows, with the classes and the columns they belong to.

    Attributes
    ----------
    counts : ndarray of shape (n_classes, n_columns), int64
        Rows of each class, a row of the matrix, in each column.
    classes : ndarray of shape (n_classes,)
        The classes, sorted.
    columns : ndarray of shape (n_columns,)
        The clusters, or the inferred classes, of the columns.
    by : {"cluster", "inferred class"}
        What the columns are.

    Examples
    --------
    >>> from fastkm.evaluation import confusion_matrix
    >>> counts, classes, columns, by = confusion_matrix(["a", "a", "b"], [1, 0, 1])
    >>> counts.tolist(), classes.tolist(), columns.tolist(), by
    ([[1, 1], [0, 1]], ['a', 'b'], [0, 1], 'cluster')
    """

    counts: IntArray
    classes: npt.NDArray[Any]
    columns: npt.NDArray[Any]
    by: Literal["cluster", "inferred class"]


def confusion_matrix(
    y: npt.ArrayLike,
    labels: npt.ArrayLike,
    cluster_labels: Mapping[int, Any] | None = None,
    *,
    n_clusters: int | None = None,
) -> ConfusionMatrix:
    """Count the rows of each class in each cluster, or under each inferred class.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class of each row.
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    cluster_labels : mapping of int to class, optional
        Names of the clusters, from `infer_cluster_labels`, perhaps on other rows. With it the
        columns are classes and the matrix is square; without it the columns are the clusters.
    n_clusters : int, optional
        Number of columns when they are clusters. Default: one more than the largest label.

    Returns
    -------
    ConfusionMatrix
        ``counts`` of shape (n_classes, n_columns), ``classes``, ``columns`` and ``by``.

    Raises
    ------
    ValueError
        If the lengths differ, `y` has missing entries, a cluster has no name in `cluster_labels`,
        or a label is not below `n_clusters`.

    Examples
    --------
    >>> from fastkm.evaluation import confusion_matrix
    >>> y, labels = ["a", "a", "b", "b"], [0, 2, 1, 1]
    >>> confusion_matrix(y, labels).counts
    array([[1, 0, 1],
           [0, 2, 0]])
    >>> confusion_matrix(y, labels, {0: "a", 1: "b", 2: "b"}).counts
    array([[1, 1],
           [0, 2]])
    """
    classes = check_classes(y)
    clusters = check_labels(labels)
    check_same_length(y=classes.codes, labels=clusters)
    if cluster_labels is None:
        columns = np.arange(_n_columns(clusters, n_clusters))
        counts = np.zeros((len(classes.values), len(columns)), dtype=np.int64)
        counts[:, np.unique(clusters)] = contingency_matrix(classes.codes, clusters)
        return ConfusionMatrix(counts, classes.values, columns, "cluster")
    inferred = infer_data_labels(clusters, cluster_labels)
    every = check_classes(np.concatenate([classes.values, inferred])).values
    counts = metrics.confusion_matrix(classes.values[classes.codes], inferred, labels=every)
    return ConfusionMatrix(counts.astype(np.int64, copy=False), every, every, "inferred class")


def cluster_sizes(labels: npt.ArrayLike, n_clusters: int | None = None) -> IntArray:
    """Count the rows of each cluster.

    Parameters
    ----------
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    n_clusters : int, optional
        Number of clusters, so that empty ones at the end are counted too. Default: one more than
        the largest label.

    Returns
    -------
    ndarray of shape (n_clusters,), int64
        Rows of each cluster; 0 for an empty one.

    Raises
    ------
    ValueError
        If a label is not below `n_clusters`.

    Examples
    --------
    >>> from fastkm.evaluation import cluster_sizes
    >>> cluster_sizes([2, 0, 2], n_clusters=4)
    array([1, 0, 2, 0])
    """
    clusters = check_labels(labels)
    return np.bincount(clusters, minlength=_n_columns(clusters, n_clusters)).astype(np.int64)


def _n_columns(clusters: IntArray, n_clusters: int | None) -> int:
    n_needed = int(clusters.max()) + 1
    if n_clusters is None:
        return n_needed
    if n_clusters < n_needed:
        raise ValueError(
            f"n_clusters must exceed every label; got n_clusters={n_clusters} and a label of "
            f"{n_needed - 1}."
        )
    return n_clusters
