"""What evaluation and plotting accept as cluster labels and as classes.

Cluster labels are the non-negative integers an estimator gives its rows. Classes are the truth they
are compared with: integers, booleans, whole-numbered floats or strings, with none missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite, check_array

IntArray = npt.NDArray[np.int64]


class Classes(NamedTuple):
    """Classes as sorted distinct values, and each row's position among them."""

    values: npt.NDArray[Any]
    codes: IntArray


def check_rows(X: Any) -> Any:
    """Return X as a finite array, or CSR matrix, of shape (n, d); converted only if it must be.

    Raises
    ------
    ValueError
        If it has not two dimensions, has no row or no column, or holds text, NaN or infinity.
    """
    rows = check_array(X, accept_sparse="csr", ensure_all_finite=False, input_name="X")
    try:
        assert_all_finite(rows, input_name="X")
    except ValueError as error:
        raise ValueError(
            f"{str(error).rstrip('.')}: drop such rows (from y as well) or impute the values, as "
            "sklearn.impute does."
        ) from None
    return rows


def check_lists_ks(ks: Any) -> None:
    """Check that `ks` lists something: asked before y, which ``sweep(X, 2, 10)`` gives as 10.

    Raises
    ------
    TypeError
        If `ks` is text or not iterable.
    """
    if isinstance(ks, str | bytes) or not isinstance(ks, Iterable):
        raise TypeError(f"ks must list numbers of clusters, such as range(2, 11); got {ks!r}.")


def check_ks(ks: Iterable[int], n: int) -> list[int]:
    """Return the numbers of clusters in ascending order.

    Raises
    ------
    TypeError
        If `ks` is not iterable or holds anything but integers.
    ValueError
        If it is empty, repeats a number, or one is below 1 or above n.
    """
    check_lists_ks(ks)
    numbers = sorted(check_count(k, "every k of ks", 1) for k in ks)
    if not numbers:
        raise ValueError("ks must name at least one number of clusters; got none.")
    repeated = sorted({k for k in numbers if numbers.count(k) > 1})
    if repeated:
        raise ValueError(f"ks must name each number of clusters once; got {repeated} repeatedly.")
    check_at_most_n(numbers[-1], "every k of ks", n)
    return numbers


def check_at_most_n(k: int, name: str, n: int) -> None:
    """Raise ValueError if there are fewer rows than clusters."""
    if k > n:
        raise ValueError(f"{name} must be at most the number of rows of X, {n}; got {k}.")


def check_count(value: Any, name: str, least: int) -> int:
    """Return an integer option, or say that it is none or too small."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer; got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be {least} or more; got {value}.")
    return int(value)


def check_labels(labels: npt.ArrayLike, name: str = "labels") -> IntArray:
    """Return cluster labels as an int64 array of shape (n,), or say what is wrong with them.

    Raises
    ------
    TypeError
        If an estimator is given in place of its labels, or the labels are not integers.
    ValueError
        If they are not one-dimensional, are empty, or hold a negative number.
    """
    refuse_estimator(labels, f"{name} must be an array of cluster labels")
    array = np.asarray(labels)
    _check_1d(array, name)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must hold integers, as an estimator's labels_ do; got dtype {array.dtype}."
        )
    if array.min() < 0:
        raise ValueError(
            f"{name} must be 0 or more; got {array.min()}: leave out the rows that belong to no "
            "cluster (noise)."
        )
    return array.astype(np.int64, copy=False)


def check_classes(y: npt.ArrayLike, name: str = "y") -> Classes:
    """Return the sorted distinct classes of `y` and each row's position among them.

    Raises
    ------
    TypeError
        If an estimator is given in place of classes, or `y` mixes kinds that cannot be sorted
        together, such as strings and numbers.
    ValueError
        If it is not one-dimensional, is empty, or has missing (None, NaN) or continuous entries.
    """
    refuse_estimator(y, f"{name} must be an array of classes")
    # A list holding "a" and NaN would become the strings 'a' and 'nan', so it goes through objects.
    array = np.asarray(y) if hasattr(y, "__array__") else np.asarray(y, dtype=object)
    _check_1d(array, name)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    elif array.dtype.kind == "f":
        _refuse_missing(int(np.isnan(array).sum()), array.size, name)
    if array.dtype.kind == "f" and not np.all(array == np.trunc(array)):
        value = array[array != np.trunc(array)][0]
        raise ValueError(
            f"{name} must hold classes; got continuous values such as {value}: bin them first."
        )
    if array.dtype.kind not in "biufUST":
        raise TypeError(f"{name} must hold integers or strings; got dtype {array.dtype}.")
    values, codes = np.unique(array, return_inverse=True)
    return Classes(values, codes.astype(np.int64, copy=False))


def refuse_estimator(
    value: Any,
    expectation: str,
    instead: str = "pass its labels_, or what its predict(X) returns",
) -> None:
    """Raise TypeError, with what is expected and what helps, if `value` is an estimator."""
    if hasattr(value, "fit"):
        raise TypeError(f"{expectation}; got {type(value).__name__}: {instead}.")


def check_estimators(estimators: Any) -> None:
    """Raise TypeError unless these are a mapping."""
    if not isinstance(estimators, Mapping):
        raise TypeError(
            "estimators must map names to estimators, such as {'fastkm': KMeans(10)}; got "
            f"{type(estimators).__name__}."
        )


def check_same_length(**arrays: Sized) -> None:
    """Raise ValueError, naming the arguments, unless all have the same number of rows."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {found}.")


def check_rows_and_classes(X: Any, y: npt.ArrayLike | None) -> tuple[Any, Classes | None]:
    """Return what `check_rows` makes of X and, if there is y, `check_classes` of it."""
    rows_of_x = check_rows(X)
    if y is None:
        return rows_of_x, None
    classes = check_classes(y)
    check_same_length(X=range(rows_of_x.shape[0]), y=classes.codes)
    return rows_of_x, classes


def _check_1d(array: npt.NDArray[Any], name: str) -> None:
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have shape (n,), one entry per row; got shape {array.shape}."
        )
    if array.size == 0:
        raise ValueError(f"{name} must have at least one entry; got an empty array.")


def _from_objects(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    entries = array.tolist()
    _refuse_missing(sum(map(_is_missing, entries)), len(entries), name)
    is_text = [isinstance(entry, str) for entry in entries]
    if any(is_text) and not all(is_text):
        raise TypeError(f"{name} mixes strings with other types; convert it, e.g. to str.")
    return np.asarray(entries)


def _is_missing(entry: Any) -> bool:
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(entry, float | np.floating) and bool(np.isnan(entry))


def _refuse_missing(n_missing: int, n: int, name: str) -> None:
    if n_missing:
        raise ValueError(
            f"{name} must give every row a class; {n_missing} of {n} entries are missing (None or "
            f"NaN): drop those rows from {name} and from what it is compared with."
        )
