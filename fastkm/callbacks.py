"""What a fit tells after each round, and ready-made listeners that stop or record it.

Any callable will do as ``callback=`` of `KMeans`, `MiniBatchKMeans` and `k_means`. It is called
with a `Round` or a `Step` and says by what it returns whether the fit goes on: ``True`` stops it;
``False`` and None, as of a function that returns nothing, do not. Anything else raises a TypeError
at the first round, so that a function that happens to return a number neither stops a fit unnoticed
nor fails to.

scikit-learn's own callbacks, ``sklearn.callback`` since 1.9, are another thing and are set by
``set_callbacks``: they see tasks that begin and end in any estimator, and may have an estimator
fitted so far to predict with. ``callback=`` is a parameter, so that it is cloned, and is told what
k-means knows: shifts, changed labels, a bound. A fit can have both. Neither sees ``partial_fit``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Round", "Step", "TimeBudget", "History", "Each"]


@dataclass(frozen=True)
class Round:
    """One round of `KMeans`: all rows labelled, all centroids moved.

    Attributes
    ----------
    restart : int
        Which of the `n_init` runs, from 0.
    iteration : int
        Which round of the run, from 1: what ``n_iter_`` would be if the run ended here.
    sq_shift : float
        Sum of the centroids' squared shifts in this round, in the unit of X squared: what `tol`
        times the mean variance of the features is compared with.
    n_changed : int
        Rows whose label is not that of the round before; all of them in the first round.
    inertia_bound : float
        The fit's inertia is at most this if the run ends here: see Notes.
    seconds : float
        Since the fit began.

    Notes
    -----
    `inertia_bound` is the inertia of this round's labels under the centroids as they are after it,
    rounded up by what rounding may have taken off. Ending here labels the rows anew, which can only
    lower it: the bound is an upper one, and tight where few labels are about to change. The next
    round's is no larger but for rounding, where float64 holds the centroids.

    Examples
    --------
    >>> from fastkm import KMeans
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> def tell(a_round):
    ...     print(a_round.iteration, a_round.n_changed, a_round.sq_shift)
    >>> kmeans = KMeans(2, init=[[1, 2], [10, 4]], callback=tell).fit(X)
    1 6 4.0
    2 0 0.0
    """

    restart: int
    iteration: int
    sq_shift: float
    n_changed: int
    inertia_bound: float
    seconds: float


@dataclass(frozen=True)
class Step:
    """One step of `MiniBatchKMeans`: a batch labelled, and the centroids moved by it.

    There is no number of changed labels and no bound on the inertia of X here: a step looks at no
    row outside its batch.

    Attributes
    ----------
    iteration : int
        Which step, from 1.
    sq_shift : float
        Sum of the centroids' squared shifts in this step, reassigned ones included, in the unit of
        X squared.
    mean_inertia : float
        Mean squared distance of the batch's rows to their nearest centroids before these moved.
    smoothed_inertia : float
        `mean_inertia` averaged over the steps with weights that decay: what `max_no_improvement`
        looks at.
    seconds : float
        Since the fit began.

    Examples
    --------
    >>> from fastkm import MiniBatchKMeans
    >>> def tell(step):
    ...     print(step.iteration, step.mean_inertia)
    >>> kmeans = MiniBatchKMeans(1, init=[[3.0]], n_init=1, max_iter=1, callback=tell)
    >>> kmeans = kmeans.fit([[1.0], [1.0]])
    1 4.0
    """

    iteration: int
    sq_shift: float
    mean_inertia: float
    smoothed_inertia: float
    seconds: float


@dataclass(frozen=True)
class TimeBudget:
    """Stops a fit once it has taken so many seconds.

    Parameters
    ----------
    seconds : float
        Time for the whole fit, seeding and all restarts included. It is looked at after each round,
        so seeding and the round at hand are finished, and labelling the rows in the end comes on
        top: one more pass over X. One round is always done.

    Raises
    ------
    ValueError
        If `seconds` is negative or NaN.
    TypeError
        If it is no number.

    Examples
    --------
    >>> from fastkm import KMeans
    >>> from fastkm.callbacks import TimeBudget
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> KMeans(2, init=[[1, 2], [1, 4]], callback=TimeBudget(seconds=0)).fit(X).n_iter_
    1
    """

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, Real):
            raise TypeError(f"seconds must be a number; got {self.seconds!r}.")
        if not self.seconds >= 0:
            raise ValueError(f"seconds must be at least 0; got {self.seconds!r}.")

    def __call__(self, record: Round | Step) -> bool:
        """Tell whether the time is over."""
        return record.seconds >= self.seconds


class History:
    """Records the rounds of the latest fit; never stops it.

    `clone` copies the callbacks of an estimator as it copies all parameters, so where model
    selection fits clones the records are with these: ``search.best_estimator_.callback``.

    Attributes
    ----------
    records : list of Round or Step
        In the order in which they came; a new list with each fit. ``pandas.DataFrame(records)``
        makes a table of it.

    Examples
    --------
    >>> from fastkm import KMeans
    >>> from fastkm.callbacks import History
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> kmeans = KMeans(2, init=[[1, 2], [1, 4]], callback=History()).fit(X)
    >>> kmeans.callback.as_arrays()["n_changed"]
    array([6, 0])
    """

    def __init__(self) -> None:
        self.records: list[Round | Step] = []

    def __call__(self, record: Round | Step) -> None:
        """Add a record, to a new list if it is a fit's first."""
        if record.iteration == 1 and getattr(record, "restart", 0) == 0:
            self.records = []
        self.records.append(record)

    def __repr__(self) -> str:
        """Return how many records there are."""
        return f"<History of {len(self.records)} records>"

    def as_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return one array per field of the records; none before the first fit.

        Returns
        -------
        arrays : dict of str to ndarray of shape (n_records,)
        """
        if not self.records:
            return {}
        names = [field.name for field in fields(self.records[0])]
        return {name: np.array([getattr(r, name) for r in self.records]) for name in names}


class Each:
    """Calls several callbacks in turn, and stops the fit if one of them does.

    Parameters
    ----------
    *callbacks : callables
        Each is called every time, also after one that stops the fit.

    Examples
    --------
    >>> from fastkm import KMeans
    >>> from fastkm.callbacks import Each, History, TimeBudget
    >>> history = History()
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> kmeans = KMeans(2, callback=Each(history, TimeBudget(seconds=60))).fit(X)
    >>> len(history.records) == kmeans.n_iter_
    True
    """

    def __init__(self, *callbacks: Callable[[Any], bool | None]) -> None:
        self.callbacks = callbacks

    def __call__(self, record: Round | Step) -> bool:
        """Call all, and tell whether one stops the fit."""
        return any([does_stop(callback, record) for callback in self.callbacks])

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"Each({', '.join(map(repr, self.callbacks))})"


def does_stop(callback: Callable[[Any], bool | None], record: Any) -> bool:
    """Call it, and tell whether the answer stops the fit.

    Raises
    ------
    TypeError
        If the answer is neither None nor a bool.
    """
    answer = callback(record)
    if answer is None:
        return False
    if isinstance(answer, (bool, np.bool_)):
        return bool(answer)
    raise TypeError(
        f"A callback must return True to stop the fit, False or None to go on; got {answer!r} from "
        f"{callback!r}."
    )
