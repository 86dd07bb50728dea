"""What is clustered: the points, the start rows and the number of rounds of every workload.

A letter is a data set, the number after it the number of clusters. Every workload is
deterministic: the same name, dtype and number of rows give the same points and start rows.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DTYPES = ("float32", "float64", "uint8")


class UnavailableError(Exception):
    """The workload cannot be had here; the message says why."""


@dataclass(frozen=True)
class Source:
    """Where points come from.

    ``make(n_rows, mnist)`` returns (points, unit): the points as their source holds them (8-bit
    integers, or floats), and the value that floating-point runs divide them by.
    """

    n: int
    d: int
    title: str
    make: Callable[[int, Path | None], tuple[np.ndarray, float]]
    is_integral: bool = False


@dataclass(frozen=True)
class Workload:
    name: str
    source: Source
    k: int
    rounds: int = 20
    # How far exact peers may drift apart by rounding alone, as a fraction of the inertia.
    tolerance: float = 1e-3

    @property
    def work(self) -> float:
        """Cost in arbitrary units, to share out a time budget: products, and passes over X."""
        return self.source.n * (self.k + 4) * (self.source.d + 8) * self.rounds


@dataclass(frozen=True)
class Problem:
    """A workload made ready: arrays, and a digest that names exactly these values."""

    workload: Workload
    points: np.ndarray
    start: np.ndarray
    digest: str


# --- generated points -------------------------------------------------------------------------


def mixture(n: int, d: int, n_components: int, seed: int) -> np.ndarray:
    """Draw float32 points (n, d) from Gaussians of unequal weights and widths."""
    rng = np.random.default_rng(seed)
    component, widths = _components(rng, n, n_components)
    means = rng.uniform(-10.0, 10.0, size=(n_components, d)).astype(np.float32)
    points = rng.standard_normal((n, d), dtype=np.float32)
    points *= widths[component, None]
    points += means[component]
    return points


def embeddings(n: int, d: int, n_components: int, seed: int) -> np.ndarray:
    """Draw unit-length float32 points (n, d) like those of a text or image encoder.

    A mixture of Gaussians whose variance falls off over the directions by a power law, turned by
    a random rotation so that no axis is special, every row divided by its Euclidean norm.
    """
    rng = np.random.default_rng(seed)
    component, widths = _components(rng, n, n_components)
    spectrum = np.arange(1, d + 1, dtype=np.float32) ** -0.5
    means = rng.standard_normal((n_components, d), dtype=np.float32)
    points = rng.standard_normal((n, d), dtype=np.float32)
    points *= widths[component, None]
    points += means[component]
    points *= spectrum
    rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
    points = points @ rotation.astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def _components(
    rng: np.random.Generator, n: int, n_components: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's component, and each component's width; weights differ by about 20."""
    weights = rng.uniform(0.05, 1.0, size=n_components)
    component = rng.choice(n_components, size=n, p=weights / weights.sum())
    widths = np.exp(rng.uniform(np.log(0.3), np.log(1.5), size=n_components))
    return component, widths.astype(np.float32)


# --- points that come with a package, or from a path ------------------------------------------


def _digits(n_rows: int, mnist: Path | None) -> tuple[np.ndarray, float]:
    from sklearn.datasets import load_digits
    from sklearn.preprocessing import scale

    return scale(load_digits().data)[:n_rows], 1.0


def _china(n_rows: int, mnist: Path | None) -> tuple[np.ndarray, float]:
    from sklearn.datasets import load_sample_image

    try:
        image = load_sample_image("china.jpg")
    except ImportError as error:
        raise UnavailableError(f"china.jpg cannot be decoded: {error}") from error
    return np.ascontiguousarray(image.reshape(-1, 3)[:n_rows]), 255.0


def _mnist(n_rows: int, mnist: Path | None) -> tuple[np.ndarray, float]:
    if mnist is None:
        raise UnavailableError("no MNIST: name its folder by --mnist or FASTKM_MNIST")
    for name in ("train-images-idx3-ubyte", "train-images.idx3-ubyte"):
        for path in (mnist / name, mnist / f"{name}.gz"):
            if path.exists():
                raw = path.read_bytes()
                if path.suffix == ".gz":
                    raw = gzip.decompress(raw)
                return read_idx_images(raw)[:n_rows], 255.0
    raise UnavailableError(f"no train-images-idx3-ubyte[.gz] in {mnist}")


def read_idx_images(raw: bytes) -> np.ndarray:
    """Return the images of an IDX file as uint8 rows (n, height * width)."""
    magic, n, height, width = np.frombuffer(raw, dtype=">i4", count=4).tolist()
    if magic != 2051:
        raise UnavailableError(f"magic number {magic} is not that of an IDX file of images, 2051")
    return np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(n, height * width)


def find_mnist(option: str | None) -> Path | None:
    """Return MNIST's folder: the option, else FASTKM_MNIST, else ../shared/data/mnist."""
    named = option or os.environ.get("FASTKM_MNIST")
    if named:
        return Path(named)
    beside = ROOT.parent / "shared" / "data" / "mnist"
    return beside if beside.is_dir() else None


# --- the table --------------------------------------------------------------------------------


def _generated(generate: Callable, d: int, n_components: int, seed: int) -> Callable:
    return lambda n_rows, mnist: (generate(n_rows, d, n_components, seed), 1.0)


DIGITS = Source(1797, 64, "digits, scaled", _digits)
CHINA = Source(273280, 3, "china.jpg pixels", _china, is_integral=True)
PLANE = Source(1_000_000, 2, "2-D mixture", _generated(mixture, 2, 100, 2))
SPACE = Source(1_000_000, 16, "16-D mixture", _generated(mixture, 16, 300, 16))
MNIST = Source(60000, 784, "MNIST/255", _mnist, is_integral=True)
TEXTS = Source(100_000, 384, "embedding-like", _generated(embeddings, 384, 600, 384))
IMAGES = Source(200_000, 768, "embedding-like", _generated(embeddings, 768, 1200, 768))

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("d10", DIGITS, 10),
        Workload("a64", CHINA, 64, tolerance=1e-2),  # 8-bit pixels tie often,
        Workload("a1024", CHINA, 1024, tolerance=1e-2),  # and a tie may go either way
        Workload("b100", PLANE, 100),
        Workload("c64", SPACE, 64),
        Workload("c1000", SPACE, 1000),
        Workload("e10", MNIST, 10),
        Workload("e64", MNIST, 64),
        Workload("e256", MNIST, 256),
        Workload("f1000", TEXTS, 1000),
        Workload("g2000", IMAGES, 2000, rounds=10),
    )
}
QUICK = ("d10", "a64", "b100", "c64", "e10", "e64", "e256")


def prepare(
    workload: Workload, dtype: str, mnist: Path | None, n_rows: int | None = None
) -> Problem:
    """Make the points in the dtype asked for, and distinct start rows.

    Integers are the source's own; they are refused where the source has none. Start rows are
    float32 for float32 points and float64 otherwise, as the estimators' centres are.
    """
    n = workload.source.n if n_rows is None else min(n_rows, workload.source.n)
    if n < workload.k:
        raise UnavailableError(f"{n} rows are fewer than {workload.k} clusters")
    if dtype == "uint8" and not workload.source.is_integral:
        raise UnavailableError(f"{workload.source.title} are no 8-bit integers")
    points, unit = workload.source.make(n, mnist)
    if dtype != "uint8" and (points.dtype != dtype or unit != 1.0):
        points = points.astype(dtype) / np.dtype(dtype).type(unit)
    points = np.ascontiguousarray(points)
    start = _distinct_rows(points, workload.k, seed=zlib.crc32(workload.name.encode()))
    start = start.astype(np.float32 if dtype == "float32" else np.float64)
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{points.dtype} {points.shape} {workload.rounds}".encode())
    digest.update(points)
    digest.update(start)
    return Problem(workload, points, start, digest.hexdigest())


def _distinct_rows(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Pick k rows that differ, so that no cluster starts empty."""
    order = np.random.default_rng(seed).permutation(len(points))
    candidates = points[order[: 8 * k]]
    _, first = np.unique(candidates, axis=0, return_index=True)
    if len(first) < k:
        raise UnavailableError(f"fewer than {k} distinct rows")
    return candidates[np.sort(first)[:k]]
