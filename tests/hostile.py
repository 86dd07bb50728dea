"""Data that break one method or another, of any size and seed, and centroids among them."""

import numpy as np

DTYPES_OF = {
    "normal": ["f2", "f4", "f8"],
    "far from the origin": ["f4", "f8"],
    "tight clusters far apart": ["f4", "f8"],
    "ties of 8 bits": ["u1", "i1", "f4", "f8"],
    "duplicates": ["f4", "f8"],
    "denormals": ["f4", "f8"],
    "ends of float32": ["f4", "f8"],
    "cut off at the ends of float32": ["f4", "f8"],
    "ends of float16": ["f2"],
    "one huge feature": ["f4", "f8"],
    "mixed magnitudes": ["f4", "f8"],
    "rows on the midplanes": ["f4", "f8"],
    "a last bit apart": ["f4", "f8"],
    "few directions": ["f4", "f8"],
}  # fmt: skip
KINDS = list(DTYPES_OF)


def hostile(kind, n, d, k, dtype, seed):
    """Return (X, centroids): X (n, d) of the dtype, centroids (k, d) float64."""
    g = np.random.default_rng([seed, n, d, k])
    X = g.normal(size=(n, d))
    where = g.integers(0, 3, size=(n, 1))
    if kind == "far from the origin":
        X = X * 10.0 ** g.uniform(-2, 1) + 10.0 ** g.uniform(3, 8)
    elif kind == "tight clusters far apart":
        X = X * 10.0 ** g.uniform(-5, -1) + (where - 1) * 10.0 ** g.uniform(2, 6)
    elif kind == "ties of 8 bits":
        X = g.integers(0, g.integers(2, 6), size=(n, d))
    elif kind == "duplicates":
        X = X[g.integers(0, max(1, n // 20), size=n)]
    elif kind == "denormals":
        X = X * 1e-40  # of float32; float64's squares leave its own range
    elif kind == "ends of float32":
        X = (where - 1) * 3e38 + np.clip(X, -3, 3) * 10.0 ** g.uniform(29, 37)
    elif kind == "cut off at the ends of float32":
        largest = np.finfo("f4").max
        X = np.clip(X * 10.0 ** g.integers(-60, 99, size=(n, d)), -largest, largest)
    elif kind == "ends of float16":
        X = (where - 1) * 60000 + np.clip(X, -3, 3) * 10.0 ** g.uniform(0, 3)
    elif kind == "one huge feature":
        X[:, g.integers(d)] *= 10.0 ** g.uniform(3, 12)
    elif kind == "mixed magnitudes":
        X = X * 10.0 ** g.integers(-12, 12, size=(n, d))
    elif kind == "few directions":
        rank = min(d, 3)
        X = X[:, :rank] @ g.normal(size=(rank, d)) * 10 + 1e-3 * X
    X = X.astype(dtype)
    centroids = X[g.integers(0, n, size=k)].astype(np.float64)
    if kind == "rows on the midplanes" and k > 1:
        # As nearly as float can be midway between two centroids, some moved along the midplane.
        one, other = centroids[g.integers(0, k, size=n)], centroids[g.integers(0, k, size=n)]
        X = ((one + other) / 2).astype(dtype)
    # Near pairs of centroids, whose midplanes run through the data, and equal ones.
    for j in range(1, k, 3):
        step = (X[g.integers(n)].astype(np.float64) - centroids[j - 1]) * 2.0 ** -g.integers(1, 30)
        centroids[j] = centroids[j - 1] + step
    if kind == "a last bit apart":
        nearby = np.nextafter(centroids[0], g.choice([-np.inf, np.inf], size=(k, d)))
        centroids = np.where(g.random((k, d)) < 0.3, nearby, centroids[0])
    if k > 3:
        centroids[k - 1] = centroids[1]
    return X, centroids
