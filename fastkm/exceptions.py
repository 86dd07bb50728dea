"""The warnings of fastkm that others do not have."""

from __future__ import annotations

import sklearn
from sklearn.exceptions import InconsistentVersionWarning as SklearnInconsistentVersionWarning

from ._version import __version__

__all__ = ["InconsistentVersionWarning"]


class InconsistentVersionWarning(SklearnInconsistentVersionWarning):  # type: ignore[misc]
    """An estimator was pickled by another version of fastkm.

    It is scikit-learn's warning, so that a filter or a handler for that one meets this one too; the
    versions of scikit-learn that the other attributes name may well be the same.

    Parameters
    ----------
    estimator_name : str
        Class of the estimator.
    original_fastkm_version : str
        The version that pickled it.
    original_sklearn_version : str
        The version of scikit-learn that it was pickled under.

    Examples
    --------
    To refuse such an estimator in place of a warning:

    >>> import pickle, warnings
    >>> from fastkm import KMeans
    >>> from fastkm.exceptions import InconsistentVersionWarning
    >>> pickled = pickle.dumps(KMeans(2))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", InconsistentVersionWarning)
    ...     pickle.loads(pickled)
    KMeans(n_clusters=2)
    """

    def __init__(
        self, *, estimator_name: str, original_fastkm_version: str, original_sklearn_version: str
    ) -> None:
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=sklearn.__version__,
            original_sklearn_version=original_sklearn_version,
        )
        self.current_fastkm_version = __version__
        self.original_fastkm_version = original_fastkm_version

    def __str__(self) -> str:
        """Return the message."""
        return (
            f"Trying to unpickle estimator {self.estimator_name} from version "
            f"{self.original_fastkm_version} of fastkm when using version "
            f"{self.current_fastkm_version}. This might lead to breaking code or invalid results. "
            "Use at your own risk."
        )
