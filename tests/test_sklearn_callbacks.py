"""scikit-learn's callback protocol: what it sees of a fit, and how it stops one."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import reference
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastkm import KMeans, MiniBatchKMeans
from fastkm.callbacks import History

HAS_PROTOCOL = find_spec("sklearn.callback") is not None
needs_protocol = pytest.mark.skipif(not HAS_PROTOCOL, reason="scikit-learn before 1.9")
each_estimator = pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])


class Recorder:
    """A callback that notes every hook, and stops where told to."""

    def __init__(self, stops=lambda name, task_id, parent_id: False):
        self.events, self.begun, self.ended, self.stops = [], [], [], stops

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.events.append(("begin", context.task_name, context.task_id))
        self.begun.append((context, fitted_estimator))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.events.append(("end", context.task_name, context.task_id))
        self.ended.append((context, X, y, metadata, fitted_estimator))
        parent = context.parent
        parent_id = None if parent is None else parent.task_id
        return self.stops(context.task_name, context.task_id, parent_id)

    def fitted(self, name):
        return [fitted for context, *_, fitted in self.ended if context.task_name == name]


class Spreading(Recorder):
    """One that meta-estimators hand on to what they fit."""

    max_propagation_depth = None


@pytest.mark.skipif(HAS_PROTOCOL, reason="scikit-learn 1.9 or newer")
@each_estimator
def test_without_the_protocol_there_is_no_set_callbacks(estimator):
    assert not hasattr(estimator(), "set_callbacks")


@needs_protocol
@pytest.mark.parametrize(("estimator", "name"), [(KMeans, "round"), (MiniBatchKMeans, "step")])
def test_a_single_run_is_a_fit_of_rounds(cloud, estimator, name):
    recorder = Recorder()
    kmeans = estimator(3, random_state=0, max_iter=20, tol=0).set_callbacks(recorder).fit(cloud)
    n_rounds = kmeans.n_iter_ if estimator is KMeans else kmeans.n_steps_
    assert n_rounds > 3
    rounds = [(event, name, i) for i in range(n_rounds) for event in ("begin", "end")]
    fit = ("fit", 0)
    assert recorder.events == [
        ("setup", *fit), ("begin", *fit), *rounds, ("end", *fit), ("teardown", *fit)
    ]  # fmt: skip
    root = recorder.begun[0][0]
    steps_per_pass = 1  # the cloud is smaller than a batch
    assert root.max_subtasks == 20 * steps_per_pass
    assert {context.max_subtasks for context, _ in recorder.begun[1:]} == {0}
    assert {name for name in vars(kmeans) if "callback" in name} == {"callback", "_skl_callbacks"}


@needs_protocol
def test_several_runs_are_tasks_between(cloud):
    recorder, history = Recorder(), History()
    kmeans = KMeans(3, init="random", n_init=3, random_state=0, callback=history)
    kmeans.set_callbacks(recorder).fit(cloud)
    contexts = [context for context, _ in recorder.begun]
    root = contexts[0]
    assert (root.task_name, root.max_subtasks, root.sequential_subtasks) == ("fit", 3, True)
    runs = [c for c in contexts if c.task_name == "run"]
    assert [(c.task_id, c.max_subtasks, c.parent) for c in runs] == [
        (i, kmeans.max_iter, root) for i in range(3)
    ]
    rounds = [(c.parent.task_id, c.task_id + 1) for c in contexts if c.task_name == "round"]
    assert rounds == [(r.restart, r.iteration) for r in history.records]
    inertias = [fitted.inertia_ for fitted in recorder.fitted("run")]
    assert min(inertias) == kmeans.inertia_
    for fitted in recorder.fitted("run"):
        assert np.array_equal(fitted.predict(cloud), fitted.labels_)


@needs_protocol
@each_estimator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_estimators_fitted_so_far_predict(cloud, estimator, dtype):
    X, recorder = cloud.astype(dtype), Recorder()
    init = X[:4]
    options = {"init": init, "n_init": 1, "tol": 0, "random_state": 0}
    kmeans = estimator(4, **options).set_callbacks(recorder).fit(X)
    before = [fitted for context, fitted in recorder.begun if context.task_name != "fit"]
    after = recorder.fitted("round" if estimator is KMeans else "step")
    assert np.array_equal(before[0].cluster_centers_, init)
    if estimator is KMeans:
        moved = reference.update(X, reference.assign(X, init), init)
        np.testing.assert_allclose(after[0].cluster_centers_, moved, rtol=1e-6)
    for earlier, later in zip(after[:-1], before[1:], strict=True):
        assert np.array_equal(earlier.cluster_centers_, later.cluster_centers_)
    assert {fitted.cluster_centers_.dtype for fitted in before + after} == {np.dtype(dtype)}
    assert np.array_equal(after[-1].predict(X), kmeans.labels_)
    assert after[-1].transform(X).shape == (400, 4)
    whole = recorder.fitted("fit")[0]
    assert whole is not kmeans
    assert whole.inertia_ == kmeans.inertia_


@needs_protocol
@each_estimator
def test_hooks_get_the_data(blobs, rng, estimator):
    frame = pd.DataFrame(blobs, columns=list("abcde"))
    y, weights = rng.integers(3, size=len(blobs)), rng.uniform(1, 2, size=len(blobs))
    for sample_weight in (None, weights):
        recorder = Recorder()
        kmeans = estimator(3, random_state=0, max_iter=3).set_callbacks(recorder)
        kmeans.fit_predict(frame, y, sample_weight=sample_weight)
        for _, X, got_y, metadata, fitted in recorder.ended:
            assert X is frame
            assert got_y is y
            assert (metadata is None) == (sample_weight is None)
            assert metadata is None or metadata["sample_weight"] is weights
            fitted.predict(X)  # with the names of the features: no warning


@needs_protocol
def test_a_round_that_stops_ends_its_run_and_a_run_that_stops_ends_the_fit(cloud):
    options = {"init": "random", "n_init": 4, "random_state": 0}
    # The second round of each run, and the second run.
    recorder = Recorder(
        lambda name, i, parent: (name == "round" and i == 1) or (name == "run" and i == 1)
    )
    kmeans = KMeans(5, **options).set_callbacks(recorder).fit(cloud)
    tasks = [event[1:] for event in recorder.events if event[0] == "begin"]
    rounds = [("round", 0), ("round", 1)]
    assert tasks == [("fit", 0), ("run", 0), *rounds, ("run", 1), *rounds]
    expected = KMeans(5, init="random", n_init=2, random_state=0, max_iter=2).fit(cloud)
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)
    assert np.array_equal(kmeans.labels_, expected.labels_)
    assert kmeans.n_iter_ == 2


@needs_protocol
@each_estimator
def test_a_single_run_ends_with_the_round_that_stops(cloud, estimator):
    recorder = Recorder(lambda name, i, parent: i == 2)
    kmeans = estimator(5, random_state=0, tol=0).set_callbacks(recorder).fit(cloud)
    assert (kmeans.n_iter_ if estimator is KMeans else kmeans.n_steps_) == 3
    assert np.array_equal(kmeans.predict(cloud), kmeans.labels_)


@needs_protocol
@each_estimator
def test_both_kinds_see_the_fit_and_either_stops_it(cloud, estimator):
    recorder, history = Recorder(), History()
    kmeans = estimator(5, random_state=0, callback=history).set_callbacks(recorder).fit(cloud)
    ends = [e for e in recorder.events if e[0] == "end" and e[1] != "fit"]
    assert len(ends) == len(history.records)
    kmeans.set_params(callback=lambda record: record.iteration == 2).fit(cloud)
    assert recorder.events[-4:-2] == [
        (event, "round" if estimator is KMeans else "step", 1) for event in ("begin", "end")
    ]


@needs_protocol
@each_estimator
def test_watching_changes_no_bit_and_clones_are_watched_too(cloud, estimator):
    plain = estimator(5, random_state=0).fit(cloud)
    recorder = Recorder()
    watched = clone(estimator(5, random_state=0).set_callbacks(recorder)).fit(cloud)
    assert recorder.events
    for name in ("cluster_centers_", "labels_", "inertia_", "n_iter_"):
        assert np.array_equal(getattr(watched, name), getattr(plain, name))


@needs_protocol
@each_estimator
def test_an_exception_in_a_hook_tears_down_and_leaves_the_estimator_unfitted(cloud, estimator):
    def fail(name, task_id, parent_id):
        raise KeyError("mine")

    recorder = Recorder(fail)
    kmeans = estimator(5).set_callbacks(recorder)
    with pytest.raises(KeyError, match="mine"):
        kmeans.fit(cloud)
    assert recorder.events[-1][0] == "teardown"
    assert not hasattr(kmeans, "cluster_centers_")
    assert not hasattr(kmeans, "_callback_fit_ctx")


@needs_protocol
@each_estimator
def test_a_pipeline_hands_its_callbacks_on(cloud, estimator):
    recorder = Spreading()
    pipeline = make_pipeline(StandardScaler(), estimator(3, random_state=0, max_iter=5))
    pipeline.set_callbacks(recorder).fit(cloud)
    name = "round" if estimator is KMeans else "step"
    rounds = [c for c, _ in recorder.begun if c.task_name == name]
    n_iter = pipeline[-1].n_iter_ if estimator is KMeans else pipeline[-1].n_steps_
    assert len(rounds) == n_iter
    fit = rounds[0].parent
    assert fit.estimator_name == estimator.__name__
    assert fit.source_estimator_name == fit.parent.estimator_name == "Pipeline"
    assert not hasattr(pipeline[-1], "_skl_callbacks")


@needs_protocol
def test_scoring_monitor_scores_each_round(blobs):
    from sklearn.callback import ScoringMonitor

    truth = np.arange(len(blobs)) % 4
    monitor = ScoringMonitor(scoring="adjusted_rand_score")
    kmeans = KMeans(4, init=blobs[:4], tol=0).set_callbacks(monitor).fit(blobs, truth)
    log = pd.DataFrame(monitor.get_logs().data)
    rounds = log[log.task_name == "round"].sort_values("task_id")
    assert len(rounds) == kmeans.n_iter_
    centroids = blobs[:4]
    for score in rounds["adjusted_rand_score"]:
        centroids = reference.update(blobs, reference.assign(blobs, centroids), centroids)
        labels = reference.assign(blobs, centroids)
        np.testing.assert_allclose(score, adjusted_rand_score(truth, labels))


@needs_protocol
@pytest.mark.parametrize(
    ("options", "bars"), [("", ["KMeans - fit"]), ("n_init=2", ["KMeans - fit", "KMeans - run #1"])]
)
def test_progress_bar_is_drawn(options, bars):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    # Of its own process: the bar runs in a thread and writes to the terminal.
    code = f"""
import numpy as np
from sklearn.callback import ProgressBar
from fastkm import KMeans
X = np.random.default_rng(0).normal(size=(200, 2))
KMeans(3, random_state=0, {options}).set_callbacks(ProgressBar()).fit(X)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    for bar in bars:
        assert bar in out.stdout
    assert out.stdout.count("100%") >= len(bars)
