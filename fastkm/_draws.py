"""Where random draws come from, in scikit-learn's order, at little cost for a small fit."""

from __future__ import annotations

from functools import cached_property
from numbers import Integral
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from ._problem import FloatArray

# Rows; beyond it equal shares are searched like any others.
_MOST_DOUBT = 1e-3

# Making a RandomState gathers entropy, even for a seed, which takes as long as five rounds of a
# small fit; seeding one anew does not. These are in nobody's hands.
_SPARE: list[np.random.RandomState] = []


class Drawing:
    """A context with the RandomState of a fit.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        As the user gave it.
    stays_inside : bool
        Whether nobody else gets to see the RandomState, so that another fit may have it later.
    """

    def __init__(self, random_state: Any, *, stays_inside: bool) -> None:
        self._given = random_state
        self._is_to_be_lent = stays_inside and isinstance(random_state, Integral)
        self._lent: np.random.RandomState | None = None

    def __enter__(self) -> np.random.RandomState:
        """Return what `sklearn.utils.check_random_state` does, or one in the same state."""
        if not self._is_to_be_lent:
            given: np.random.RandomState = check_random_state(self._given)
            return given
        try:
            lent = _SPARE.pop()
        except IndexError:  # none yet, or other fits have them
            lent = np.random.RandomState()
        lent.seed(self._given)
        self._lent = lent
        return lent

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keep the RandomState for the next fit."""
        if self._lent is not None:
            _SPARE.append(self._lent)


class Undoable:
    """The choices of a RandomState, which can be undone; its state is copied for the first only."""

    def __init__(self, random_state: np.random.RandomState) -> None:
        self._random_state = random_state
        self._before: Any = None

    def choice(self, n: int, *, replace: bool, size: int) -> npt.NDArray[np.int64]:
        """Return what the RandomState's method does."""
        if self._before is None:
            self._before = self._random_state.get_state()
        return self._random_state.choice(n, replace=replace, size=size)

    def undo(self) -> None:
        """Take the RandomState back to before the first choice."""
        if self._before is not None:
            self._random_state.set_state(self._before)


class RowDraw:
    """Draws rows with replacement: what ``RandomState.choice(n, size, p=weights / sum)`` draws."""

    def __init__(self, n: int, weights: FloatArray | None) -> None:
        self._n, self._weights = n, weights
        # Up to n roundings of the shares' sums, in rows, and as much again for the products.
        self._doubt = 1.0 if weights is not None else 4.0 * n * n * 2.0**-53

    def __call__(self, random_state: np.random.RandomState, size: int) -> npt.NDArray[np.int64]:
        """Return that many rows, each the first whose cumulative share is above a uniform draw."""
        uniforms = random_state.random_sample(size)
        if self._doubt < _MOST_DOUBT:
            # Equal shares all but tell the row.
            places = uniforms * self._n
            rows = places.astype(np.int64)
            if np.abs(places - rows - 0.5).max() < 0.5 - self._doubt:
                return rows
        return self._cumulative.searchsorted(uniforms, side="right").astype(np.int64)

    def row(self, uniform: float) -> int:
        """Return the row of one uniform draw."""
        if self._doubt < _MOST_DOUBT:
            place = uniform * self._n
            row = int(place)
            if abs(place - row - 0.5) < 0.5 - self._doubt:
                return row
        return int(self._cumulative.searchsorted(uniform, side="right"))

    @cached_property
    def _cumulative(self) -> FloatArray:
        n, weights = self._n, self._weights
        share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        cumulative: FloatArray = share.cumsum()
        cumulative /= cumulative[-1]
        return cumulative
