"""Who watches a fit, round by round, and may stop it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from ._bound import InertiaBound
from ._problem import FloatArray, LabelArray, Problem
from ._tasks import Attributes, FitTasks
from .callbacks import Round, Step, does_stop


class Control:
    """A fit that nobody watches and nobody stops; what every fit calls on its way."""

    is_watching = False

    def begin_run(self) -> None:
        """Note that the next run starts, from 0."""

    def begin_round(self, centroids: FloatArray) -> None:
        """Note that the run's next round or the fit's next step starts at these centroids."""

    def end_round(
        self,
        n_iter: int,
        n_changed: int,
        sq_shift: float,
        moved: FloatArray,
        labels: LabelArray,
        weights: npt.NDArray[np.int64] | FloatArray,
    ) -> bool:
        """Tell whether the run ends with the round that moved the centroids to moved.

        The centroids' squared shifts sum to sq_shift; the labels are those of the round, the
        weights (k,) those of the labels' points.
        """
        return False

    def end_step(
        self, step: int, moved: FloatArray, sq_shift: float, inertia: float, smoothed: float
    ) -> bool:
        """Tell whether the fit ends with this step; the inertias are means of rows."""
        return False

    def end_run(self, attributes: Attributes) -> bool:
        """Tell whether no other run is to start; attributes returns those of this one's end."""
        return False

    def end(self) -> None:
        """Note that the estimator is fitted."""


UNWATCHED = Control()


def control_of(
    problem: Problem,
    centroid_dtype: npt.DTypeLike,
    callback: Callable[[Any], bool | None] | None,
    tasks: FitTasks | None,
    begun: float,
) -> Control:
    """Return who watches a fit.

    Parameters
    ----------
    problem : Problem
        The points and their weights.
    centroid_dtype : float32 or float64
        What the centroids are rounded to in the end.
    callback : callable or None
        Is told of each round; may stop the fit.
    tasks : FitTasks or None
        scikit-learn's callbacks; may end a run or keep others from starting.
    begun : float
        When the fit began, by `perf_counter`.
    """
    if callback is None and tasks is None:
        return UNWATCHED
    return _Watch(problem, centroid_dtype, callback, tasks, begun)


class _Watch(Control):
    """Tells a callback and scikit-learn's callbacks, and stops where they say so."""

    is_watching = True

    def __init__(
        self,
        problem: Problem,
        centroid_dtype: npt.DTypeLike,
        callback: Callable[[Any], bool | None] | None,
        tasks: FitTasks | None,
        begun: float,
    ) -> None:
        self._problem, self._dtype = problem, centroid_dtype
        self._callback, self._tasks, self._begun = callback, tasks, begun
        self._restart = -1
        self._bound: InertiaBound | None = None
        self._is_stopped = False

    def begin_run(self) -> None:
        """Note that the next run starts, from 0."""
        self._restart += 1
        if self._tasks is not None:
            self._tasks.begin_run()

    def begin_round(self, centroids: FloatArray) -> None:
        """Note that the run's next round or the fit's next step starts at these centroids."""
        if self._tasks is not None:
            self._tasks.begin_round(lambda: self._attributes(centroids))

    def end_round(
        self,
        n_iter: int,
        n_changed: int,
        sq_shift: float,
        moved: FloatArray,
        labels: LabelArray,
        weights: npt.NDArray[np.int64] | FloatArray,
    ) -> bool:
        """Tell whether the run ends with the round that moved the centroids to moved."""
        if self._callback is not None:
            if self._bound is None:
                self._bound = InertiaBound(self._problem, self._dtype)
            self._tell(
                Round(
                    restart=self._restart,
                    iteration=n_iter,
                    sq_shift=sq_shift,
                    n_changed=n_changed,
                    inertia_bound=self._bound.after_round(labels, moved, weights),
                    seconds=perf_counter() - self._begun,
                )
            )
        return self._is_over(moved)

    def end_step(
        self, step: int, moved: FloatArray, sq_shift: float, inertia: float, smoothed: float
    ) -> bool:
        """Tell whether the fit ends with this step; the inertias are means of rows."""
        self._tell(Step(step, sq_shift, inertia, smoothed, perf_counter() - self._begun))
        return self._is_over(moved)

    def end_run(self, attributes: Attributes) -> bool:
        """Tell whether no other run is to start; attributes returns those of this one's end."""
        is_last = self._tasks is not None and self._tasks.end_run(attributes)
        return self._is_stopped or is_last

    def end(self) -> None:
        """Note that the estimator is fitted."""
        if self._tasks is not None:
            self._tasks.end()

    def _tell(self, record: Round | Step) -> None:
        if self._callback is not None:
            self._is_stopped = does_stop(self._callback, record)

    def _is_over(self, moved: FloatArray) -> bool:
        ends_run = self._tasks is not None and self._tasks.end_round(
            lambda: self._attributes(moved)
        )
        return self._is_stopped or ends_run

    def _attributes(self, centroids: FloatArray) -> dict[str, Any]:
        """Return what an estimator predicts with that ends here; labels would take a pass."""
        stored = centroids.astype(self._dtype)
        return {"cluster_centers_": stored, "_n_features_out": len(stored)}
