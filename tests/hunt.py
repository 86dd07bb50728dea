"""Whole fits of hostile data, of sizes at which fits choose among techniques by themselves.

    python tests/hunt.py --seconds 3600 --seed 1

The suite's draws are small, so that most techniques take part only where they are forced. Here each
fit is made in two ways that must give the same bits, and some rows are labelled by the oracle.
Prints what was drawn where that fails, and then exits with 1.
"""

import argparse
import sys
import time
import warnings

import numpy as np
import reference
from hostile import DTYPES_OF, KINDS, hostile
from sklearn.exceptions import ConvergenceWarning

from fastkm import KMeans

MOST_VALUES = 4_000_000
ROWS_ASKED = 1000


def between(g, low, high):
    """Draw a whole number, each order of magnitude as likely as the next."""
    return int(np.exp(g.uniform(np.log(low), np.log(high + 1))))


def draw(seed):
    """Return what is clustered, and the parameters of two fits that must agree."""
    g = np.random.default_rng(seed)
    kind = KINDS[g.integers(len(KINDS))]
    d, k = between(g, 1, 700), between(g, 2, 300)
    n = max(min(between(g, 2000, 50_000), MOST_VALUES // d), 2 * k)
    dtype = str(g.choice(DTYPES_OF[kind]))
    X, centroids = hostile(kind, n, d, k, dtype, seed)
    if g.random() < 0.5 and np.dtype(dtype).kind == "f":  # rows around centroids
        width = 10.0 ** g.uniform(-4, -1) * np.ptp(centroids, axis=0)
        X = centroids[g.integers(k, size=n)] + width * np.clip(g.normal(size=(n, d)), -3, 3)
        largest = np.finfo(dtype).max
        X = np.clip(X, -largest, largest).astype(dtype)
    init = str(g.choice(["random", "k-means++", "rows"]))
    common = {
        "n_clusters": k,
        "init": X[g.choice(n, size=k, replace=False)] if init == "rows" else init,
        "n_init": int(g.choice([1, 1, 3])),
        "max_iter": int(g.choice([3, 12, 40])),
        "tol": 0,
        "random_state": int(seed),
    }
    ways = [
        {"algorithm": str(g.choice(["lloyd", "elkan", "auto"])), "n_threads": int(g.choice([1, 3]))}
        for _ in range(2)
    ]
    ways[0]["algorithm"] = "auto"
    orders = "C", str(g.choice(["C", "F"]))
    about = f"{kind}, {dtype}, {(n, d, k)}, from {init}, {ways}, {orders}"
    return X, common, ways, orders, about


def what_is_wrong(seed):
    """Return what differs, or an empty string; and what was drawn."""
    X, common, ways, orders, about = draw(seed)
    untouched = X.copy()
    one, other = (
        KMeans(**common, **way).fit(np.asarray(X, order=order))
        for way, order in zip(ways, orders, strict=True)
    )
    found = [
        name
        for name in ("labels_", "cluster_centers_", "inertia_", "n_iter_")
        if not np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    ]
    if not np.array_equal(X, untouched):
        found.append("X was changed")
    rows = np.random.default_rng(seed).choice(len(X), size=min(ROWS_ASKED, len(X)), replace=False)
    wanted = reference.assign(X[rows], one.cluster_centers_)
    if not np.array_equal(one.labels_[rows], wanted):
        found.append(f"{np.count_nonzero(one.labels_[rows] != wanted)} labels not the oracle's")
    return ", ".join(found), about


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the first fit")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", RuntimeWarning)  # the oracle's squares leave float64
    end = time.monotonic() + options.seconds
    n_fits = n_wrong = 0
    while time.monotonic() < end:
        wrong, about = what_is_wrong(options.seed + n_fits)
        n_fits += 1
        if wrong:
            n_wrong += 1
            print(f"seed {options.seed + n_fits - 1}: {wrong}; {about}", flush=True)
    print(f"{n_fits} data sets fitted in two ways each, {n_wrong} wrong")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
