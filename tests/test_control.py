"""Ctrl-C, during any long call: answered soon, and without a trace in the estimator."""

import gc

import numpy as np
import pytest
from checkout import load_benchmarks
from core_tools import needs_timer

from fastkm import KMeans, MiniBatchKMeans, _batches, _core
from fastkm._problem import Problem
from fastkm.seeding import _pick_plusplus_rows_of_runs

load_benchmarks()
from benchmarks import interrupt  # noqa: E402

# The promise is 0.2 s on a machine with nothing else to do, which `python -m benchmarks.interrupt`
# measures; here other tests may have the CPUs.
LONGEST_ANSWER = 0.5
# One thread of portable C: a pass over all rows takes longer than an answer may.
CALLS = interrupt.calls(1, 1.0)

pytestmark = needs_timer


state = interrupt.state_of


@pytest.fixture(autouse=True)
def no_place_where_exceptions_are_lost():
    """Take away Python's callbacks of the garbage collector: Hypothesis leaves one behind."""
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(callbacks)


@pytest.fixture(scope="module")
def interrupter():
    interrupter = interrupt.Interrupter()
    yield interrupter
    interrupter.close()


# Mutation: SLICE_SECONDS = 10 in fastkm/_problem.py turned 18 of the first 30 red.
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("name", [name for name in CALLS if name not in interrupt.NOT_PROMISED])
def test_ctrl_c_is_answered_and_leaves_the_estimator_as_it_was(name, interrupter, monkeypatch):
    monkeypatch.setattr(_core, "DEFAULT_ISA", "portable")
    call = CALLS[name]()
    before = state(call.estimator)
    for after in (0.2, 0.05):
        answer = interrupter.seconds_to_answer(call.do, after)
        if answer is not None:
            assert answer < LONGEST_ANSWER
            assert state(call.estimator) == before
            return
    pytest.skip("this machine is done before it can be interrupted")


# A pass over these rows for 30 candidates takes seconds.
# Mutation: _Turns that do not ask for signals.
@pytest.mark.parametrize("n_runs", [1, 3])
def test_a_pass_of_seeding_answers_before_it_ends(n_runs, interrupter):
    problem = Problem(interrupt.windows(2_000_000, 256), n_threads=1, isa="portable")

    def seed():
        _pick_plusplus_rows_of_runs(problem, 10, np.random.RandomState(0), n_runs, 30)

    for after in (0.6, 1.0):
        answer = interrupter.seconds_to_answer(seed, after)
        assert answer is not None
        assert answer < LONGEST_ANSWER


def interrupt_at(monkeypatch, owner, name, call):
    """Press Ctrl-C when a function is called for the call-th time."""
    function, n_calls = getattr(owner, name), 0

    def interrupted(*args, **kwargs):
        nonlocal n_calls
        n_calls += 1
        if n_calls == call:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_a_fit_that_an_error_ends_leaves_an_estimator_as_it_was(cls, cloud):
    for estimator in (cls(3, random_state=0), cls(3, random_state=0).fit(cloud)):
        before = state(estimator)
        with pytest.raises(ValueError, match="NaN"):
            estimator.fit(np.full((9, 2), np.nan))
        assert state(estimator) == before


# The centroids are found then, and the labels are not.
def test_mini_batches_interrupted_while_they_label_leave_no_trace(cloud, monkeypatch):
    estimator = MiniBatchKMeans(3, random_state=0).fit(cloud[:, :2])
    before = state(estimator)
    with monkeypatch.context() as patch:
        interrupt_at(patch, _batches, "label", 1)
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(cloud)
    assert state(estimator) == before


# The third batch is one after which clusters of low weight are reassigned, by draws.
@pytest.mark.parametrize("n_learnt", [0, 1, 2])
def test_partial_fit_interrupted_goes_on_as_if_it_had_not_begun(n_learnt, cloud, monkeypatch):
    def learn(is_interrupted):
        estimator = MiniBatchKMeans(9, random_state=0, reassignment_ratio=0.9)
        for i in range(6):
            if is_interrupted and i == n_learnt:
                before = state(estimator)
                with monkeypatch.context() as patch:
                    interrupt_at(patch, _batches, "label", 1)
                    with pytest.raises(KeyboardInterrupt):
                        estimator.partial_fit(cloud[:90])
                assert state(estimator) == before
            estimator.partial_fit(cloud[60 * i : 60 * i + 60])
        return state(estimator)

    assert learn(True) == learn(False)
