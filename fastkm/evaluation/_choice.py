"""The number of clusters that each criterion would choose.

A rule takes the numbers of clusters, ascending, and the criterion's value at each, NaN where it has
none; it returns None where it has nothing to say. Ties go to the fewest clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

# Distances from the chord, between 0 and 1, are off by their rounding.
_ROUNDING = 1e-12


def highest(ks: Sequence[int], values: Sequence[float]) -> int | None:
    """Choose the k of the largest value."""
    known = [(value, -k) for k, value in zip(ks, values, strict=True) if not math.isnan(value)]
    return -max(known)[1] if known else None


def lowest(ks: Sequence[int], values: Sequence[float]) -> int | None:
    """Choose the k of the smallest value."""
    return highest(ks, [-value for value in values])


def elbow(ks: Sequence[int], values: Sequence[float]) -> int | None:
    """Choose the k whose value lies farthest below the chord from the first value to the last.

    Both axes are scaled to [0, 1] first: the knee of Satopaa, Albrecht, Irwin and Raghavan (2011),
    "Finding a 'kneedle' in a haystack", section III, without smoothing, as a whole curve is known.
    A curve that is nowhere below its chord has no elbow.
    """
    if len(ks) < 3 or not np.isfinite(values).all() or values[0] <= values[-1]:
        return None
    x = (np.asarray(ks) - ks[0]) / (ks[-1] - ks[0])
    y = (np.asarray(values) - values[-1]) / (values[0] - values[-1])
    below = (1 - x) - y
    best = int(np.argmax(below >= below.max() - _ROUNDING))  # the first of equals
    return ks[best] if best else None  # the first value is on the chord itself


def within_one_error(
    ks: Sequence[int], gaps: Sequence[float], errors: Sequence[float]
) -> int | None:
    """Choose the smallest k with Gap(k) >= Gap(next k) - s(next k).

    The rule of Tibshirani, Walther and Hastie (2001), section 3.2, with the next k of the list in
    place of k + 1. Where no k meets it the gap rises to the end, and the last k is chosen.
    """
    known = [j for j in range(len(ks)) if not math.isnan(gaps[j])]
    if len(known) < 2 or math.isnan(errors[known[-1]]):
        return None
    for j, following in pairwise(known):
        if gaps[j] >= gaps[following] - errors[following]:
            return ks[j]
    return ks[known[-1]]


RULES: dict[str, Callable[[Sequence[int], Sequence[float]], int | None]] = {
    "inertia": elbow,
    "silhouette": highest,
    "calinski_harabasz": highest,
    "davies_bouldin": lowest,
}
