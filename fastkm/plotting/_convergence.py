"""How a fit went: what a recorded history says of its rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _backends as backends
from . import _curves, _metrics
from . import _drawn as drawn
from . import _style as style
from ._checks import check_metrics

# What History records of a round or a step, in the order of the panels. The first two fall over
# orders of magnitude, often to 0, the rest level off.
_ON_LOG = ("sq_shift", "n_changed")
_KNOWN = (*_ON_LOG, "inertia_bound", "mean_inertia", "smoothed_inertia")
_MOST_DOTS = 60  # of a curve; above, it is a line only
_MOST_POINTS = 2000  # of a curve
_ONLY = ""  # the name of a single history

Records = dict[str, Any]


def plot_convergence(
    history: Any,
    metrics: Sequence[str] | None = None,
    *,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw what each round of a fit did: the centroids' shift, the labels changed, the inertia.

    Parameters
    ----------
    history : fastkm.callbacks.History or mapping of str to History
        Of fits with ``callback=history``; several by name are drawn in colours of their own. Each
        of the `n_init` runs of a fit is a curve; the one that ends with the lowest bound on the
        inertia is drawn stronger.
    metrics : sequence of str, optional
        What to draw of "sq_shift", "n_changed" and "inertia_bound" for `KMeans`, of "sq_shift",
        "mean_inertia" and "smoothed_inertia" for `MiniBatchKMeans`. Default: all that every
        history has.
    title : str, optional
        Title of the figure.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        One panel per metric. Shifts and changed labels are on logarithmic axes, with a place for 0
        at the foot.

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    TypeError
        If something else than histories is given.
    ValueError
        If a history is empty, a metric is unknown or `backend` is.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastkm import KMeans
    >>> from fastkm.callbacks import History
    >>> from fastkm.plotting import plot_convergence
    >>> X, _ = load_iris(return_X_y=True)
    >>> history = History()
    >>> kmeans = KMeans(3, random_state=0, callback=history).fit(X)
    >>> figure = plot_convergence(history)
    >>> [ax.get_title(loc="left") for ax in figure.axes][:2]
    ['Squared shift of the centroids', 'Labels changed']
    """
    drawer = backends.pick(backend)
    histories = {_ONLY: history} if not isinstance(history, Mapping) else history
    if not histories:
        raise ValueError("history must hold a History at least; got an empty mapping.")
    recorded = {str(name): _records(name, each) for name, each in histories.items()}
    known = [key for key in _KNOWN if all(key in records for records in recorded.values())]
    metrics = check_metrics(metrics, known, known)
    unit = "round" if all("restart" in records for records in recorded.values()) else "step"
    last = max(int(records["iteration"].max()) for records in recorded.values())
    panels = [_panel(key, recorded, unit, last) for key in metrics]
    colors = {name: style.cluster_color(i) for i, name in enumerate(recorded)}
    return drawer.curves(
        drawn.Curves(
            panels,
            [] if list(recorded) == [_ONLY] else list(colors.items()),
            title or "Convergence of the fit" + "s" * (len(recorded) > 1),
            _note(recorded, unit, panels, last),
        )
    )


def _records(name: Any, history: Any) -> Records:
    if not hasattr(history, "as_arrays"):
        of = f" for {name!r}" if name != _ONLY else ""
        raise TypeError(
            "history must be a fastkm.callbacks.History, or map names to them; got "
            f"{type(history).__name__}{of}: fit with callback=history and pass that."
        )
    arrays: Records = history.as_arrays()
    if not arrays:
        raise ValueError(
            "history must have records, and has none: fit an estimator with callback=history first."
        )
    return arrays


def _panel(key: str, recorded: dict[str, Records], unit: str, last: int) -> drawn.Panel:
    every = np.concatenate([records[key] for records in recorded.values()]).astype(np.float64)
    log = _curves.on_log(every) if key in _ON_LOG else None
    foot, y_ticks = (None, None) if log is None else log
    lines = []
    for i, (name, records) in enumerate(recorded.items()):
        runs = _runs(records)
        best = _best(records, runs)
        for run, rows in enumerate(runs):
            values = records[key][rows].astype(np.float64)
            lines.append(
                drawn.Line(
                    _name_of_run(name, run, len(runs)),
                    style.cluster_color(i),
                    records["iteration"][rows].astype(np.float64),
                    values if foot is None else np.where(values == 0, foot, values),
                    values,
                    is_quiet=run != best,
                    has_dots=len(rows) <= _MOST_DOTS and run == best,
                )
            )
    lines.sort(key=lambda line: not line.is_quiet)  # those to look at on top
    axis = "axis does not start at 0" if log is None else "logarithmic axis"
    return drawn.Panel(
        key,
        _metrics.title_of(key),
        axis,
        lines,
        unit,
        _curves.ticks_from_one(last),
        _curves.limits_of(np.array([1.0, last]), has_log=False),
        y_ticks,
        has_log_y=log is not None,
    )


def _runs(records: Records) -> list[drawn.IntArray]:
    """Return the records of each run, thinned where there are very many; the last is kept."""
    restarts = records.get("restart", np.zeros(len(records["iteration"]), dtype=np.int64))
    runs = []
    for restart in np.unique(restarts):
        rows = np.flatnonzero(restarts == restart)
        if len(rows) > _MOST_POINTS:
            rows = rows[np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(np.int64)]
        runs.append(rows)
    return runs


def _best(records: Records, runs: list[drawn.IntArray]) -> int:
    if "inertia_bound" not in records:
        return 0
    return int(np.argmin([records["inertia_bound"][rows[-1]] for rows in runs]))


def _name_of_run(name: str, run: int, n_runs: int) -> str:
    parts = [name] if name != _ONLY else []
    if n_runs > 1:
        parts.append(f"run {run}")
    return ", ".join(parts)


def _note(recorded: dict[str, Records], unit: str, panels: list[drawn.Panel], last: int) -> str:
    n_runs = max(len(_runs(records)) for records in recorded.values())
    note = (
        f"up to {drawn.text_of_count(last, unit)}"
        if n_runs > 1 or len(recorded) > 1
        else (drawn.text_of_count(last, unit))
    )
    if n_runs > 1:
        note += f"; {n_runs} runs, strong: the one with the lowest bound on the inertia"
    if last > _MOST_POINTS:
        note += f"; at most {_MOST_POINTS:,} of them drawn, evenly"
    if any(panel.y_ticks is not None and "0" in panel.y_ticks.texts for panel in panels):
        note += "; 0 is drawn at the foot of a logarithmic axis"
    return note
