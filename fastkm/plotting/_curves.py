"""Axes of curves: their ticks, and how a logarithmic one shows zeros."""

from __future__ import annotations

import math

import numpy as np

from . import _drawn as drawn

_LOG_FROM = 12.0  # ratio of the largest to the smallest value above which an axis is logarithmic
_ROOM = 0.075  # of the axis that a tick's text takes
_MOST_DECADES = 8  # labelled


def needs_log(values: drawn.FloatArray) -> bool:
    """Tell whether values differ so much that a linear axis would hide the small ones."""
    known = values[np.isfinite(values)]
    return bool(known.size) and known.min() > 0 and known.max() / known.min() >= _LOG_FROM


def limits_of(values: drawn.FloatArray, *, has_log: bool) -> tuple[float, float]:
    """Return where an axis begins and ends that has room on either side of these values."""
    places = np.log(values) if has_log else values
    low, high = float(places.min()), float(places.max())
    margin = 0.05 * (high - low) if high > low else 0.5
    limits = np.array([low - margin, high + margin])
    first, last = (np.exp(limits) if has_log else limits).tolist()
    return first, last


def ticks_at(values: drawn.FloatArray, *, has_log: bool) -> drawn.Ticks:
    """Return ticks at as many of the values, ascending whole numbers, as there is room for."""
    places = np.log(values) if has_log else values
    span = float(places[-1] - places[0]) or 1.0
    kept = [0]
    for i in range(1, len(values)):
        if places[i] - places[kept[-1]] >= _ROOM * span:
            kept.append(i)
    return drawn.Ticks(values[kept].tolist(), [f"{values[i]:.0f}" for i in kept])


def ticks_from_one(last: int) -> drawn.Ticks:
    """Return about six round ticks from 1 to `last`, both included."""
    step = max(1, last // 5)
    magnitude = 10 ** int(math.log10(step))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= step)
    inner = [t for t in range(step, last, step) if t > 1 and last - t >= 0.5 * step]
    at = [1, *inner, *([last] if last > 1 else [])]
    return drawn.Ticks([float(t) for t in at], [f"{t:,}" for t in at])


def on_log(values: drawn.FloatArray) -> tuple[float | None, drawn.Ticks] | None:
    """Return where a logarithmic axis puts 0 (None: there is none), and its ticks.

    None where no value is above 0, so that there is no such axis.
    """
    positive = values[values > 0]
    if not positive.size:
        return None
    low, high = math.log10(positive.min()), math.log10(positive.max())
    first, last = math.floor(low), math.ceil(high)
    step = math.ceil((last - first + 1) / _MOST_DECADES)
    decades = range(first, last + 1, step)
    at = [10.0**exponent for exponent in decades]
    texts = [_text_of_decade(exponent) for exponent in decades]
    if not (values == 0).any():
        return None, drawn.Ticks(at, texts)
    foot = 10.0 ** (first - 0.7 * step)  # its text clear of the lowest decade's
    return foot, drawn.Ticks([foot, *at], ["0", *texts])


def _text_of_decade(exponent: int) -> str:
    return f"{10.0**exponent:,g}" if -4 < exponent < 5 else f"1e{exponent}"
