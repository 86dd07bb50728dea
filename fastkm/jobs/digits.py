"""Cluster handwritten digits: three seedings compared, a held-out quarter, five drawings.

The 1797 images of 8 x 8 pixels that scikit-learn brings along, every pixel scaled to mean 0 and
variance 1, in ten clusters.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans as ScikitLearnKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler, scale

from .. import KMeans
from .. import evaluation as ev
from .. import plotting as draw

N_CLUSTERS = 10
N_FITS = 7  # of each row of the table; its time is their median
MAX_FIT_SECONDS = 5.0  # on a busy machine fewer fits must do
SEED = 0
HELD_OUT_SEED = 42  # of the split, and of the clustering whose matrix is shown
OTHER_SEEDS = range(10)  # by which the held-out score varies
DPI = 150


class Digits(NamedTuple):
    """The images as they come, and as they are clustered."""

    pixels: npt.NDArray[np.float64]  # (1797, 64), 0 to 16
    X: npt.NDArray[np.float64]  # (1797, 64), each column of mean 0 and variance 1
    y: npt.NDArray[np.int64]  # (1797,), 0 to 9


class HeldOut(NamedTuple):
    """What clusters of three quarters of the rows say of the last quarter."""

    y: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    cluster_labels: dict[int, int]  # inferred from the three quarters
    ari: float
    other_aris: list[float]  # of the same split, clustered with other seeds
    n_fitted: int


def load() -> Digits:
    """Return scikit-learn's digits, with their scaled form."""
    digits = load_digits()
    return Digits(digits.data, scale(digits.data), digits.target)


def pca_seeds(X: npt.NDArray[Any], k: int = N_CLUSTERS) -> npt.NDArray[Any]:
    """Return the first k principal axes of X, shape (k, d), as places to start from.

    The sign of an axis is arbitrary, and releases of scikit-learn differ in it. Here an axis points
    to the row that lies farthest out along it.
    """
    pca = PCA(k, svd_solver="full")
    along = pca.fit_transform(X)
    farthest = np.abs(along).argmax(axis=0)
    signs = np.sign(along[farthest, np.arange(k)])
    axes: npt.NDArray[Any] = pca.components_ * signs[:, np.newaxis]
    return axes


def compare_seedings(digits: Digits, n_fits: int = N_FITS) -> ev.ScoreTable:
    """Fit with each seeding by fastkm and by scikit-learn, and score the clusters."""
    seedings: dict[str, dict[str, Any]] = {
        "k-means++": {"init": "k-means++", "n_init": 10},
        "random": {"init": "random", "n_init": 10},
        "PCA-based": {"init": pca_seeds(digits.X), "n_init": 1},
    }
    libraries = {"fastkm": KMeans, "scikit-learn": ScikitLearnKMeans}
    return ev.score_table(
        {
            seeding: {
                library: kmeans(N_CLUSTERS, random_state=SEED, **options)
                for library, kmeans in libraries.items()
            }
            for seeding, options in seedings.items()
        },
        digits.X,
        digits.y,
        n_fits=n_fits,
        max_seconds=MAX_FIT_SECONDS,
        reference="scikit-learn",
    )


def hold_out_quarter(digits: Digits) -> HeldOut:
    """Cluster three quarters of the rows and predict the last."""
    X, X_held, y, y_held = train_test_split(
        digits.X, digits.y, test_size=0.25, random_state=HELD_OUT_SEED
    )

    def fit(seed: int) -> Any:
        return KMeans(N_CLUSTERS, n_init=10, random_state=seed).fit(X)

    def ari(labels: npt.NDArray[Any]) -> float:
        return float(adjusted_rand_score(y_held, labels))

    kmeans = fit(HELD_OUT_SEED)
    labels = kmeans.predict(X_held)
    return HeldOut(
        y_held,
        labels,
        ev.infer_cluster_labels(kmeans.labels_, y),
        ari(labels),
        [ari(fit(seed).predict(X_held)) for seed in OTHER_SEEDS],
        len(X),
    )


def draw_all(digits: Digits, table: ev.ScoreTable, held_out: HeldOut, out: Path) -> list[Path]:
    """Write the five drawings as PNG into `out`, a folder that exists, and return their paths."""
    from matplotlib import pyplot as plt

    kmeans = table.estimators["k-means++", "fastkm"]
    cluster_labels = ev.infer_cluster_labels(kmeans.labels_, digits.y)
    to_pixels = StandardScaler().fit(digits.pixels).inverse_transform
    plane = PCA(2, svd_solver="full").fit_transform(digits.X)
    in_plane = KMeans(N_CLUSTERS, n_init=10, random_state=SEED).fit(plane)
    regions = draw.plot_decision_regions(
        in_plane,
        plane,
        cluster_labels=ev.infer_cluster_labels(in_plane.labels_, digits.y),
        title="Digits clustered in their PCA plane",
    )
    regions.set(xlabel="first principal component", ylabel="second principal component")
    figures: dict[str, Any] = {
        "centroids": draw.plot_centroids(
            kmeans,
            (8, 8),
            cluster_labels=cluster_labels,
            to_pixels=to_pixels,
            title="The mean image of each cluster",
        ),
        "samples": draw.plot_cluster_samples(
            digits.pixels,
            kmeans.labels_,
            (8, 8),
            cluster_labels=cluster_labels,
            title="What the clusters hold",
        ),
        "regions": regions.figure,
        "confusion": draw.plot_confusion_matrix(
            held_out.y,
            held_out.labels,
            held_out.cluster_labels,
            title="Held-out digits against inferred digits",
        ).figure,
        "seedings": draw.plot_comparison(table, title="Three ways to start, two libraries"),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        figure.savefig(paths[-1], dpi=DPI)
        plt.close(figure)
    return paths


def add_command(commands: Any) -> None:
    """Add ``digits`` to the commands of an argument parser."""
    parser = commands.add_parser(
        "digits",
        help="cluster handwritten digits, score, compare with scikit-learn, draw",
        description=__doc__,
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("digits-out"),
        metavar="DIR",
        help="folder for the drawings, made if need be (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the job, printing as it goes, and return the exit status."""
    if find_spec("matplotlib") is None:
        print("digits draws with matplotlib: pip install matplotlib", file=sys.stderr)
        return 1
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"digits cannot make the folder given by --out: {error}", file=sys.stderr)
        return 1
    digits = load()
    n, d = digits.X.shape
    print(
        f"Handwritten digits: {n} images of 8 x 8 pixels, {d} features scaled to unit variance.\n"
    )

    print(f"Three seedings, k = {N_CLUSTERS} (n_init = 10, 10, 1)")
    table = compare_seedings(digits)
    print(table, end="\n\n")

    held_out = hold_out_quarter(digits)
    print(f"Fitted to {held_out.n_fitted} rows, tested on the {len(held_out.y)} held out")
    print(_held_out_text(held_out), end="\n\n")

    kmeans = table.estimators["k-means++", "fastkm"]
    print("Rows per cluster (k-means++)")
    print(
        _sizes_text(kmeans.labels_, ev.infer_cluster_labels(kmeans.labels_, digits.y)), end="\n\n"
    )

    print("Drawings")
    for path in draw_all(digits, table, held_out, args.out):
        print(f"  {path}")
    return 0


def _held_out_text(held_out: HeldOut) -> str:
    matrix = ev.confusion_matrix(held_out.y, held_out.labels, held_out.cluster_labels)
    names = [str(name) for name in matrix.columns.tolist()]
    width = max(4, *map(len, names))
    share = np.trace(matrix.counts) / matrix.counts.sum()
    others = held_out.other_aris
    lines = [
        f"adjusted Rand index {held_out.ari:.3f}, accuracy by majority digit {share:.1%};",
        f"with {len(others)} other seeds the index is {min(others):.3f} to {max(others):.3f}, "
        f"median {np.median(others):.3f}",
        "digit (rows) against inferred digit (columns):",
        " " * 5 + "".join(name.rjust(width) for name in names),
    ]
    for name, counts in zip(matrix.classes.tolist(), matrix.counts.tolist(), strict=True):
        cells = "".join((str(count) if count else ".").rjust(width) for count in counts)
        lines.append(f"{name:>5}{cells}")
    return "\n".join(lines)


def _sizes_text(labels: npt.NDArray[Any], cluster_labels: Mapping[int, Any]) -> str:
    every = range(N_CLUSTERS)
    lines: dict[str, Iterable[Any]] = {
        "cluster": every,
        "mostly": [cluster_labels.get(j, "-") for j in every],
        "rows": ev.cluster_sizes(labels, N_CLUSTERS).tolist(),
    }
    return "\n".join(
        f"{heading:<8}" + "".join(f"{cell!s:>5}" for cell in cells)
        for heading, cells in lines.items()
    )
