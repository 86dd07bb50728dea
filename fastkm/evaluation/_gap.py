"""The gap statistic: how much less the rows scatter in clusters than rows without clusters do.

Tibshirani, Walther and Hastie (2001), "Estimating the number of clusters in a data set via the gap
statistic", Journal of the Royal Statistical Society B 63(2). With W_k the sum of squared distances
of rows to the mean of their cluster, and W*_kb the same of reference set b of B,

    Gap(k) = mean over b of log W*_kb  -  log W_k                      (their equation 3 and step 3)
    s_k    = sd_k sqrt(1 + 1/B)        sd_k: over b, divided by B            (their section 3.2)
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ._measures import FloatArray

Box = Literal["features", "principal axes"]
BOXES: tuple[Box, ...] = ("features", "principal axes")


class Reference(NamedTuple):
    """The box that reference rows are drawn from."""

    low: FloatArray  # (d,), along the axes, seen from the middle
    high: FloatArray
    middle: FloatArray  # (d,), in the features; added last, or turning would round it in float32
    axes: FloatArray | None  # (d, d), an axis in each column; None: the features themselves
    dtype: Any  # of the rows drawn

    def draw(self, n: int, draws: np.random.Generator) -> npt.NDArray[Any]:
        """Return n rows, uniform in the box, shape (n, d)."""
        unit = draws.random((n, len(self.low)), dtype=self.dtype)
        unit *= (self.high - self.low).astype(self.dtype)
        unit += self.low.astype(self.dtype)
        if self.axes is not None:
            unit = unit @ self.axes.T.astype(self.dtype)
        unit += self.middle.astype(self.dtype)
        return unit


def reference_of(rows: npt.NDArray[Any], box: Box) -> Reference:
    """Return the box of dense rows (n, d): of their features, or of their principal axes.

    References have the precision of the rows, float32 or float64, so that both are clustered alike.
    """
    dtype = np.float32 if np.result_type(rows.dtype, np.float32) == np.float32 else np.float64
    if box == "features":
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        return Reference(0 * low, high - low, low, None, dtype)
    points = rows.astype(np.float64, copy=False)
    middle = points.mean(axis=0)
    centred = points - middle
    axes = np.linalg.eigh(centred.T @ centred)[1]
    along = centred @ axes
    return Reference(along.min(axis=0), along.max(axis=0), middle, axes, dtype)


def log_dispersion(dispersion: float) -> float:
    """Return log W; -inf where every row is its cluster's mean."""
    return math.log(dispersion) if dispersion > 0 else -math.inf


def gap(reference_logs: FloatArray, log_w: float) -> float:
    """Return Gap(k) from log W*_kb, shape (B,), and log W_k.

    It is infinite where the rows leave no scatter, and NaN without references or where the
    references leave none either.
    """
    if not reference_logs.size or not np.isfinite(reference_logs).all():
        return math.nan
    return float(reference_logs.mean()) - log_w


def standard_error(reference_logs: FloatArray) -> float:
    """Return s_k; NaN for fewer than two references, which have no deviation."""
    n = reference_logs.size
    if n < 2 or not np.isfinite(reference_logs).all():
        return math.nan
    return float(reference_logs.std()) * math.sqrt(1 + 1 / n)
