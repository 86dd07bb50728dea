"""Judge what the user gave, in scikit-learn's words. The only place that does."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_array,
    check_non_negative,
    validate_data,
)

from . import _core

# As many as labels can count, and more than the core takes.
MOST_ROWS = 2**31

# What scikit-learn's k-means converts to, and so what its messages speak of.
_SKLEARN_DTYPES = [np.float64, np.float32]


def check_points(X: npt.ArrayLike, estimator: Any = None, *, reset: bool = True) -> Any:
    """Return X as an array that the core reads as it stands.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        An ndarray of a real number type of at most 8 bytes in native byte order is taken as it is,
        in any memory order, read-only or memory-mapped. All else (lists, data frames, object
        arrays, other byte orders) is converted once, as scikit-learn's k-means does: to float64,
        unless it is float32.
    estimator : estimator or None
        Whose name the messages carry, and whose `n_features_in_` and `feature_names_in_` are set
        (`reset`) or compared.
    reset : bool
        Whether this is a fit.

    Returns
    -------
    points : ndarray, csr_matrix or csr_array of shape (n, d)
        `X` itself or a view of it where no conversion is needed; n and d are at least 1. Sparse
        rows are float32 or float64, their columns ascending without duplicates.

    Notes
    -----
    NaN and infinity are not looked for: the core sees every value while it describes X, and
    `check_is_finite` then asks it.

    Raises
    ------
    ValueError
        If X is not 2-D, empty, complex, not numeric, or has another number of features than the
        fit had.
    """
    if _is_plain(X) and _fits(X, estimator, reset):
        return X
    if issparse(X):
        _check_structure(X)
        X = _not_to_be_written(X)
    dtype = None if _is_taken_as_it_is(X) else _SKLEARN_DTYPES
    options = {"accept_sparse": "csr", "dtype": dtype, "ensure_all_finite": False}
    if estimator is None:
        points = check_array(X, input_name="X", **options)
    else:
        points = validate_data(estimator, X, reset=reset, **options)
    # Fields of packed records are not aligned to their type; C may not read them in place.
    return _canonical(points) if issparse(points) else np.require(points, requirements="A")


def _is_plain(X: Any) -> bool:
    """Tell whether scikit-learn would return X itself, which takes it as long as a small fit."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size > 0
        and _is_taken_as_it_is(X)
        and X.flags.aligned
    )


def _fits(X: Any, estimator: Any, reset: bool) -> bool:
    """Note the features of an array without names, or tell whether they are the fit's."""
    if estimator is None:
        return True
    if reset:
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
        return True
    known = vars(estimator)
    return known.get("n_features_in_") == X.shape[1] and "feature_names_in_" not in known


def _check_structure(X: Any) -> None:
    """Refuse compressed rows or columns that SciPy would convert and not see where they point.

    Those that need no conversion the core looks at.
    """
    if X.format not in {"csr", "csc", "bsr"} or (X.format == "csr" and X.dtype in _SKLEARN_DTYPES):
        return
    starts = np.asarray(X.indptr, dtype=np.int64)
    sizes = np.array(X.shape) // (X.blocksize if X.format == "bsr" else 1)
    n_long, n_across = sizes[::-1] if X.format == "csc" else sizes
    n_entries = min(len(X.indices), len(X.data))
    is_whole = (
        len(starts) == n_long + 1
        and starts[0] == 0
        and starts[-1] <= n_entries
        and bool((starts[:-1] <= starts[1:]).all())
    )
    used = X.indices[: starts[-1]] if is_whole else X.indices[:0]
    if not is_whole or (used.size and not 0 <= used.min() <= used.max() < n_across):
        raise ValueError(
            f"X must be a valid {X.format.upper()} matrix of shape {X.shape}; its indptr or "
            "indices point outside of it."
        )


def _not_to_be_written(X: Any) -> Any:
    """Return a copy where SciPy before 1.11 would add equal columns up, to convert the values."""
    is_converted = X.format == "csr" and X.dtype not in _SKLEARN_DTYPES
    return X.copy() if is_converted and not X.has_canonical_format else X


def _canonical(points: Any) -> Any:
    """Return the CSR rows with columns that ascend, each at most once: a copy only if need be."""
    arrays = [np.require(a, requirements=["C", "A"]) for a in (points.data, points.indices)]
    starts = np.ascontiguousarray(points.indptr, dtype=np.int64)
    try:
        _core.SparsePoints(arrays[0], arrays[1], starts, points.shape[1])
    except _core.UnsortedError:
        rows = type(points)((*arrays, points.indptr), shape=points.shape, copy=True)
        rows.sum_duplicates()
        return rows
    if arrays[0] is points.data and arrays[1] is points.indices:
        return points
    return type(points)((*arrays, points.indptr), shape=points.shape, copy=False)


def read_only_view(points: Any) -> Any:
    """Return the rows, dense or CSR, over the same memory but not to be written to."""
    if issparse(points):
        arrays = [_read_only(a) for a in (points.data, points.indices, points.indptr)]
        return type(points)(tuple(arrays), shape=points.shape, copy=False)
    return _read_only(points)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    locked = array.view()
    locked.flags.writeable = False
    return locked


def _is_taken_as_it_is(X: Any) -> bool:
    if not isinstance(X, np.ndarray):
        return False
    return X.dtype.kind in "biuf" and X.dtype.itemsize <= 8 and X.dtype.isnative


def check_is_finite(is_finite: bool, points: npt.NDArray[Any], estimator: Any = None) -> None:
    """Raise scikit-learn's ValueError unless `is_finite`, which the core found out.

    Raised under ``assume_finite`` too: there scikit-learn saves the time that looking takes, and
    here the answer is known already.
    """
    if is_finite:
        return
    with config_context(assume_finite=False):
        check_array(
            points,
            accept_sparse="csr",
            dtype=_SKLEARN_DTYPES,
            estimator=estimator,
            input_name="X",
        )


def check_weights(
    sample_weight: npt.ArrayLike | None, points: npt.NDArray[Any]
) -> npt.NDArray[np.float64] | None:
    """Return the weights as float64, or None where each is 1.

    Parameters
    ----------
    sample_weight : array-like of shape (n,), number or None
        A number is every row's weight.
    points : ndarray of shape (n, d)
        The rows.

    Returns
    -------
    weights : ndarray of shape (n,), float64, or None
        May be `sample_weight` itself; nobody writes to it.

    Raises
    ------
    ValueError
        If there are not n weights, one is not finite or negative, all are zero, or their sum
        overflows.
    """
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, points, dtype=np.float64)
    if isinstance(sample_weight, Number):
        assert_all_finite(weights, input_name="sample_weight")
    # scikit-learn looks for this from 1.9 on; here with every version.
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    check_non_negative(weights, "`sample_weight`")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(
            f"sample_weight must have a finite sum; got weights up to {weights.max():g}. Divide "
            "them by a constant: nothing but inertia and score depends on their scale."
        )
    return None if (weights == 1).all() else weights


def check_n_samples(n_samples: int, n_clusters: int) -> None:
    """Raise scikit-learn's ValueError if there are fewer rows than clusters."""
    if n_samples < n_clusters:
        raise ValueError(f"n_samples={n_samples} should be >= n_clusters={n_clusters}.")


def check_room(
    shape: tuple[int, int], n_clusters: int, *, of_row: int, of_centroid_value: int
) -> None:
    """Raise unless the least that a call allocates could be had: before any work.

    Parameters
    ----------
    shape : tuple of int
        n and d.
    n_clusters : int
        k.
    of_row, of_centroid_value : int
        Bytes that the call holds at once, at least, for each of n rows and for each of k d values.

    Raises
    ------
    MemoryError
        If there is no room for so much now. That there is does not mean that it suffices.
    """
    n, d = shape
    if n >= MOST_ROWS:  # too many, which `Problem` tells better
        return
    n_bytes = of_row * n + of_centroid_value * n_clusters * d
    if not _core.has_room(n_bytes):
        raise MemoryError(
            f"n_samples={n}, n_features={d} and n_clusters={n_clusters} need at least "
            f"{n_bytes / 1e9:.3g} GB of memory beside X, which is more than there is; use fewer "
            "clusters, features or rows."
        )


def check_centroids(
    centroids: npt.ArrayLike, n_clusters: int, points: Any
) -> npt.NDArray[np.float64]:
    """Return centroids to start from as a float64 array of their own.

    Parameters
    ----------
    centroids : array-like of shape (n_clusters, n_features)
        What the user's `init` is or returned.
    n_clusters : int
        How many they must be.
    points : ndarray or CSR of shape (n_samples, n_features)
        The rows, as `check_points` returns them: centroids stay float32 if these are.

    Returns
    -------
    centroids : ndarray of shape (n_clusters, n_features), float64
        A C-ordered copy.

    Raises
    ------
    ValueError
        If they are not numbers, not finite, too large for float32 rows or of another shape.
    """
    checked = _as_centroids(centroids, n_clusters, points.shape[1])
    if points.dtype == np.float32 and np.abs(checked).max(initial=0) > np.finfo(np.float32).max:
        raise ValueError(
            "The initial centers hold a value too large for dtype('float32'), which X is."
        )
    return checked


def _as_centroids(
    centroids: npt.ArrayLike, n_clusters: int, n_features: int
) -> npt.NDArray[np.float64]:
    if (
        type(centroids) is np.ndarray
        and centroids.shape == (n_clusters, n_features)
        and centroids.dtype in _SKLEARN_DTYPES
        and np.isfinite(centroids).all()
    ):
        # What scikit-learn would return, which takes it as long as two rounds of a small fit.
        return np.array(centroids, dtype=np.float64, order="C")
    checked = check_array(centroids, dtype=np.float64, copy=True, order="C")
    if checked.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {checked.shape} does not "
            f"match the number of clusters {n_clusters}."
        )
    if checked.shape[1] != n_features:
        raise ValueError(
            f"The shape of the initial centers {checked.shape} does not "
            f"match the number of features of the data {n_features}."
        )
    return np.asarray(checked)
