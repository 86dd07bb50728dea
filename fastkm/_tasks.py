"""A fit as scikit-learn's callbacks see it: a tree of tasks that begin and end.

scikit-learn has had callbacks since 1.9, as ``sklearn.callback``. The root is the fit, its subtasks
the rounds, or the steps of mini-batches; where there are several runs, a task for each run stands
between. Every task that begins also ends, unless an exception ends the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

if find_spec("sklearn.callback") is not None:
    from sklearn.callback import CallbackSupportMixin

    CallbackSupport = CallbackSupportMixin
else:

    class CallbackSupport:  # type: ignore[no-redef]
        """What takes the mixin's place where scikit-learn has no callbacks: nothing."""


# Makes the attributes of an estimator that can predict; called only if a callback asks for one.
Attributes = Callable[[], dict[str, Any]]


class FitTasks:
    """The tasks of one fit.

    Parameters
    ----------
    estimator : estimator
        Whose ``set_callbacks`` has been called.
    data : dict
        ``X``, ``y`` and ``metadata`` for the callbacks.
    n_runs : int
        Number of runs.
    n_rounds : int
        Most rounds of a run.
    name : str
        What a round is called.
    """

    def __init__(
        self, estimator: Any, data: dict[str, Any], n_runs: int, n_rounds: int, name: str
    ) -> None:
        self._estimator, self._data = estimator, data
        self._n_rounds, self._name = n_rounds, name
        self._has_run_tasks = n_runs > 1
        self._fit = estimator._init_callback_context(
            max_subtasks=n_runs if self._has_run_tasks else n_rounds
        )
        self._run = self._fit
        self._round = self._fit
        self._begin(self._fit)

    def begin_run(self) -> None:
        """Begin the next run; its rounds are the fit's own where it is the only one."""
        if self._has_run_tasks:
            self._run = self._fit.subcontext(task_name="run", max_subtasks=self._n_rounds)
            self._begin(self._run)

    def begin_round(self, attributes: Attributes) -> None:
        """Begin the next round; attributes returns those of an estimator that ended before it."""
        self._round = self._run.subcontext(task_name=self._name)
        self._begin(self._round, attributes)

    def end_round(self, attributes: Attributes) -> bool:
        """End the round, and tell whether a callback ends the run with it."""
        return self._end(self._round, attributes)

    def end_run(self, attributes: Attributes) -> bool:
        """End the run, and tell whether a callback wants no other."""
        return self._has_run_tasks and self._end(self._run, attributes)

    def end(self) -> None:
        """End the fit; the estimator has its attributes."""
        self._end(self._fit, dict)

    def _begin(self, task: Any, attributes: Attributes | None = None) -> None:
        task.call_on_fit_task_begin(
            estimator=self._estimator, **self._data, reconstruction_attributes=attributes
        )

    def _end(self, task: Any, attributes: Attributes) -> bool:
        return bool(
            task.call_on_fit_task_end(
                estimator=self._estimator, **self._data, reconstruction_attributes=attributes
            )
        )
