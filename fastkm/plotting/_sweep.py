"""Metrics against the number of clusters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation._table import Table
from . import _backends as backends
from . import _curves, _metrics
from . import _drawn as drawn
from . import _style as style
from ._checks import check_metrics


def plot_sweep(
    table: Any,
    metrics: Sequence[str] | None = None,
    *,
    chosen: Mapping[str, int] | None = None,
    spread: Mapping[str, npt.ArrayLike] | None = None,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw metrics against the number of clusters, one panel per metric, the chosen k marked.

    Parameters
    ----------
    table : table of a sweep, mapping or data frame
        Has a column "k", the numbers of clusters, and a column of the same length for each metric,
        such as "inertia" or "silhouette". NaN, where a metric is not defined, leaves a gap.
    metrics : sequence of str, optional
        Columns to draw. Default: all columns of numbers but "k".
    chosen : mapping of metric to int, optional
        The k to mark in a metric's panel. Default: ``table.chosen``, where there is one.
    spread : mapping of metric to array-like, optional
        Standard deviations of a metric, drawn as a band of one to either side; NaN where there is
        none. Default: ``table.spread``, where there is one.
    title : str, optional
        Title of the figure.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        One panel per metric. Where the numbers of clusters span more than one order of magnitude,
        their axis is logarithmic. No axis of a metric starts at 0.

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    TypeError
        If `table` is neither a table nor a mapping of columns, or a metric is not numbers.
    ValueError
        If there is no column "k" of different whole numbers, the columns' lengths differ, a metric
        is unknown or has no value, a chosen k is not in the table, or `backend` is unknown.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from fastkm.plotting import plot_sweep
    >>> X, _ = load_iris(return_X_y=True)
    >>> ks = range(2, 7)
    >>> fits = [KMeans(k, n_init=1, random_state=0).fit(X) for k in ks]
    >>> figure = plot_sweep(
    ...     {"k": ks, "inertia": [fit.inertia_ for fit in fits]}, chosen={"inertia": 3})
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Inertia']
    """
    drawer = backends.pick(backend)
    columns = _columns(table)
    ks, order = _check_ks(columns)
    numeric = [key for key, values in columns.items() if key != "k" and _is_numeric(values)]
    default = [key for key in numeric if not np.isnan(_numbers(columns[key])).all()]
    metrics = check_metrics(metrics, numeric, default)
    chosen = getattr(table, "chosen", None) or {} if chosen is None else chosen
    spread = getattr(table, "spread", None) or {} if spread is None else spread
    has_log = _curves.needs_log(ks)
    ticks = _curves.ticks_at(ks, has_log=has_log)
    limits = _curves.limits_of(ks, has_log=has_log)
    panels = []
    for key in metrics:
        values = _numbers(columns[key])[order]
        if np.isnan(values).all():
            raise ValueError(f"metric {key!r} has no value to draw: all are NaN or None.")
        line = drawn.Line(
            key, style.cluster_color(0), ks, values, values, _spread_of(key, spread, order)
        )
        panels.append(
            drawn.Panel(
                key,
                _metrics.title_of(key),
                _metrics.better(key),
                [line],
                "k, the number of clusters",
                ticks,
                limits,
                has_log_x=has_log,
                mark=_mark(key, chosen, ks, values),
            )
        )
    note = f"k from {ks[0]:.0f} to {ks[-1]:.0f}"
    if any(panel.mark for panel in panels):
        note += "; ring and dashes: the k chosen by that metric"
    if any(panel.lines[0].spread is not None for panel in panels):
        note += "; band: one standard deviation to either side"
    return drawer.curves(drawn.Curves(panels, [], title or "Metrics by number of clusters", note))


def _columns(table: Any) -> dict[str, Any]:
    """Return a table's columns, or a mapping's, in their order."""
    if isinstance(table, Table):
        keys: Iterable[Any] = [column.key for column in table.columns]
    elif hasattr(table, "keys"):
        keys = table.keys()
    else:
        raise TypeError(
            'table must have columns, as a sweep\'s table or a mapping such as {"k": ..., '
            f'"inertia": ...}} has; got {type(table).__name__}.'
        )
    columns = {str(key): table[key] for key in keys}
    if "k" not in columns:
        raise ValueError(
            f'table must have a column "k", the numbers of clusters; got {list(columns)}.'
        )
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"table must have columns of one length; got {lengths}.")
    return columns


def _check_ks(columns: dict[str, Any]) -> tuple[drawn.FloatArray, npt.NDArray[np.intp]]:
    """Return the numbers of clusters, ascending, and the order of the table that makes them so."""
    ks = _numbers(columns["k"]) if _is_numeric(columns["k"]) else np.array([math.nan])
    are_whole = ks.size > 0 and bool(np.all(ks >= 1)) and bool(np.all(ks == np.trunc(ks)))
    if not are_whole or len(np.unique(ks)) < len(ks):
        raise ValueError(
            'column "k" must hold different whole numbers from 1 on, one row per k; got '
            f"{list(columns['k'])}."
        )
    order = np.argsort(ks)
    return ks[order], order


def _is_numeric(values: Any) -> bool:
    entries = [value for value in values if value is not None]
    kinds = {np.asarray(value).dtype.kind for value in entries}
    return bool(entries) and kinds <= set("iuf")


def _numbers(values: Any) -> drawn.FloatArray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _spread_of(
    key: str, spread: Mapping[str, Any], order: npt.NDArray[np.intp]
) -> drawn.FloatArray | None:
    if key not in spread:
        return None
    deviations = _numbers(spread[key])
    if deviations.shape != order.shape or (deviations < 0).any():
        raise ValueError(
            f"spread[{key!r}] must hold a standard deviation, 0 or more or NaN, for each of "
            f"{len(order)} rows; got {list(spread[key])}."
        )
    return None if np.isnan(deviations).all() else deviations[order]


def _mark(
    key: str, chosen: Mapping[str, int], ks: drawn.FloatArray, values: drawn.FloatArray
) -> tuple[float, float, str] | None:
    k = chosen.get(key)
    if k is None:
        return None
    at = np.flatnonzero(ks == k)
    if not at.size or np.isnan(values[at[0]]):
        raise ValueError(
            f"chosen[{key!r}] must be a k of the table where the metric has a value; got {k!r}."
        )
    return float(k), float(values[at[0]]), f"k = {k}"
