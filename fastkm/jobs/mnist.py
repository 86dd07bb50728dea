"""Cluster MNIST: k from 10 to 256, full rounds and mini-batches, test accuracy, four drawings.

60,000 images of 28 x 28 pixels, as the bytes they are; each cluster stands for the digit that most
of its training images show. Inertia is told in units of pixels / 255.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
from sklearn.metrics import homogeneity_score

from .. import KMeans, MiniBatchKMeans
from .. import evaluation as ev
from .. import plotting as draw
from ..datasets import Mnist, load_mnist
from ..evaluation._table import Column, Table, write_seconds

KS = (10, 16, 36, 64, 144, 256)
QUICK_KS = (10, 36, 64)
N_QUICK = 6000  # training images
K_DRAWN = 36  # of the centroids and sizes that are drawn
# Of five seeds three end 0.3 % or more above the best inertia at k = 10 by one run, one by four.
N_INIT = 4
SEED = 0
PIXEL_SCALE = 255
UNKNOWN = -1  # the digit of test images in a cluster without training images
INTERRUPTED = 130  # exit status, as of a shell's command that Ctrl-C ends
DPI = 150


class Scores(NamedTuple):
    """What one clustering of the training images is told by."""

    inertia: float  # in units of pixels / 255
    homogeneity: float
    accuracy: float  # by the majority digit of each cluster


# What a widely read tutorial prints, with scikit-learn's MiniBatchKMeans on the same images.
TUTORIAL = {
    10: Scores(2_383_375, 0.466, 0.565),
    16: Scores(2_208_198, 0.553, 0.651),
    36: Scores(1_961_341, 0.678, 0.767),
    64: Scores(1_822_362, 0.728, 0.790),
    144: Scores(1_635_514, 0.805, 0.867),
    256: Scores(1_519_708, 0.843, 0.900),
}
TUTORIAL_TEST_ACCURACY = 0.888  # at k = 256


class Fit(NamedTuple):
    """A fitted estimator and its scores."""

    k: int
    method: str
    estimator: Any
    scores: Scores
    seconds: float
    cluster_labels: dict[int, int]  # inferred from the training images


def estimators(k: int, seed: int) -> dict[str, Any]:
    """Return the two ways to cluster, not yet fitted."""
    return {
        "KMeans": KMeans(k, n_init=N_INIT, random_state=seed),
        "MiniBatchKMeans": MiniBatchKMeans(k, random_state=seed),
    }


def sweep(
    X: npt.NDArray[np.uint8],
    y: npt.NDArray[Any],
    ks: Sequence[int] = KS,
    seed: int = SEED,
    before_fit: Callable[[str], object] = lambda text: None,
) -> Iterator[Fit]:
    """Fit each estimator with each k, and yield it with its scores.

    Parameters
    ----------
    X : ndarray of shape (n, d), uint8
        Training images; read as they are.
    y : ndarray of shape (n,)
        Their digits.
    ks : sequence of int
        Numbers of clusters.
    seed : int
        Of every fit.
    before_fit : callable
        Is told before each fit which one it is.
    """
    every = [(k, *item) for k in ks for item in estimators(k, seed).items()]
    for i, (k, method, estimator) in enumerate(every, start=1):
        before_fit(f"fit {i} of {len(every)}: {method}, k = {k}, {len(X):,} images")
        begun = perf_counter()
        estimator.fit(X)
        seconds = perf_counter() - begun
        scores = Scores(
            estimator.inertia_ / PIXEL_SCALE**2,
            homogeneity_score(y, estimator.labels_),
            ev.clustering_accuracy(y, estimator.labels_),
        )
        cluster_labels = ev.infer_cluster_labels(estimator.labels_, y)
        yield Fit(k, method, estimator, scores, seconds, cluster_labels)


def accuracy_on_test(fit: Fit, data: Mnist) -> float:
    """Return the share of test images whose cluster stands for the digit they show."""
    labels = fit.estimator.predict(data.X_test)
    inferred = ev.infer_data_labels(labels, fit.cluster_labels, default=UNKNOWN)
    return float(np.mean(inferred == data.y_test))


def make_table(fits: Sequence[Fit], references: Mapping[int, Scores]) -> Table:
    """Return the fits in rows, with the references of their k beside where there are any."""
    columns = [Column("k", "k"), Column("method", "method", is_text=True)]
    writers = {"inertia": "{:,.0f}", "homogeneity": "{:.3f}", "accuracy": "{:.3f}"}
    for key, writer in writers.items():
        columns.append(Column(key, key, writer.format))
        if references:
            columns.append(Column(f"{key}_reference", "(ref.)", writer.format))
    columns.append(Column("seconds", "time", write_seconds))
    rows = []
    for fit in fits:
        row: dict[str, Any] = {"k": fit.k, "method": fit.method, "seconds": fit.seconds}
        known = references.get(fit.k)
        for i, key in enumerate(writers):
            row[key] = fit.scores[i]
            row[f"{key}_reference"] = None if known is None else known[i]
        rows.append(row)
    note = "(ref.): a tutorial's figures, by scikit-learn's MiniBatchKMeans"
    return Table(tuple(columns), tuple(rows), (note,) if references else ())


def draw_all(
    data: Mnist, fits: Sequence[Fit], references: Mapping[int, Scores], out: Path
) -> Iterator[Path]:
    """Write the four drawings as PNG into `out`, a folder that exists; yield each one's path."""
    from matplotlib import pyplot as plt

    ours = {fit.k: fit for fit in fits if fit.method == "KMeans"}
    few, most = ours[K_DRAWN], ours[max(ours)]

    def confusion() -> Any:
        title = f"Test images by digit, k = {most.k}"
        labels = most.estimator.predict(data.X_test)
        axes = draw.plot_confusion_matrix(data.y_test, labels, most.cluster_labels, title=title)
        axes.set(xlabel="inferred digit", ylabel="digit")
        return axes.figure

    drawings: dict[str, Callable[[], Any]] = {
        "curves": lambda: _draw_curves(fits, references),
        "centroids": lambda: draw.plot_centroids(
            few.estimator,
            (28, 28),
            cluster_labels=few.cluster_labels,
            title=f"The mean image of each of {K_DRAWN} clusters",
        ),
        "sizes": lambda: (
            draw.plot_cluster_sizes(
                few.estimator.labels_,
                K_DRAWN,
                cluster_labels=few.cluster_labels,
                title=f"Training images in each of {K_DRAWN} clusters",
            ).figure
        ),
        "confusion": confusion,
    }
    for name, drawing in drawings.items():
        figure = drawing()
        path = out / f"{name}.png"
        figure.savefig(path, dpi=DPI)
        plt.close(figure)
        yield path


def _draw_curves(fits: Sequence[Fit], references: Mapping[int, Scores]) -> Any:
    """Draw inertia, homogeneity, accuracy and time over k, a line for each way to cluster."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    ks = sorted({fit.k for fit in fits})
    lines: dict[str, dict[int, tuple[float, ...]]] = {
        method: {fit.k: (*fit.scores, fit.seconds) for fit in fits if fit.method == method}
        for method in dict.fromkeys(fit.method for fit in fits)
    }
    if references:
        lines["tutorial (MiniBatchKMeans)"] = {k: references[k] for k in ks if k in references}
    looks = (("#3f90da", "o", "-"), ("#e76300", "s", "-"), ("#68717c", "x", "--"))
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 7), layout="constrained")
    headings = (
        "Inertia (pixels / 255)",
        "Homogeneity",
        "Accuracy by majority digit",
        "Seconds (log scale)",
    )
    for column, (ax, heading) in enumerate(zip(axes.flat, headings, strict=True)):
        for (method, values), (color, marker, style) in zip(lines.items(), looks, strict=False):
            points = [(k, scores[column]) for k, scores in values.items() if column < len(scores)]
            if points:
                ax.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=style,
                        label=method, markersize=5)  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks(ks, labels=map(str, ks))
        ax.minorticks_off()
        ax.set_title(heading, loc="left", fontsize=11, fontweight="bold")
        ax.set_xlabel("k")
        ax.grid(axis="y", color="#e4e7eb")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[1, 1].set_yscale("log")
    axes[1, 1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1, 1].yaxis.set_minor_locator(NullLocator())
    axes[1, 1].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0, 0].legend(frameon=False)
    n = len(fits[0].estimator.labels_)
    figure.suptitle(f"{n:,} MNIST images: scores of the clusters over k", x=0.012, ha="left",
                    fontsize=13, fontweight="bold")  # fmt: skip
    return figure


class Progress:
    """One line on a terminal, written over and over; nothing where the stream is none."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._width = 0

    def show(self, text: str) -> None:
        """Write the line anew."""
        if self._stream is not None:
            self.clear()
            self._stream.write(text)
            self._stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Leave the line blank for what is printed next."""
        if self._stream is not None and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def add_command(commands: Any) -> None:
    """Add ``mnist`` to the commands of an argument parser."""
    parser = commands.add_parser(
        "mnist",
        help="cluster MNIST for k = 10 to 256, score, classify the test images, draw",
        description=__doc__,
    )
    named = os.environ.get("FASTKM_MNIST")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(named) if named else None,
        metavar="DIR",
        help="folder of MNIST's four IDX files or of mnist.npz "
        "(default: what FASTKM_MNIST names, else OpenML's copy, kept by scikit-learn)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("mnist-out"),
        metavar="DIR",
        help="folder for the drawings, made if need be (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"cluster {N_QUICK:,} training images for k = {', '.join(map(str, QUICK_KS))} only",
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of every fit (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the job, printing as it goes, and return the exit status."""
    if find_spec("matplotlib") is None:
        return _fail("draws with matplotlib: pip install matplotlib")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _fail(f"cannot make the folder given by --out: {error}")
    progress = Progress(sys.stderr)
    try:
        return _run(args, progress)
    except KeyboardInterrupt:
        progress.clear()
        print("mnist was interrupted: what was done until then stands above", file=sys.stderr)
        return INTERRUPTED


def _run(args: argparse.Namespace, progress: Progress) -> int:
    progress.show("loading MNIST")
    try:
        data = load_mnist(args.data)
    except (OSError, ValueError) as error:
        progress.clear()
        return _fail(f"has no images to cluster: {error}")
    ks, n, references = (QUICK_KS, N_QUICK, {}) if args.quick else (KS, None, TUTORIAL)
    X, y = data.X_train[:n], data.y_train[:n]
    progress.clear()
    if len(X) < max(ks):
        return _fail(f"makes {max(ks)} clusters and needs as many images; got {len(X)}")
    print(f"MNIST: {len(X):,} training images of 28 x 28 pixels, {len(data.X_test):,} test images.")
    print(f"KMeans is the best of {N_INIT} runs, MiniBatchKMeans as it is by default.\n")

    fits: list[Fit] = []
    try:
        for fit in sweep(X, y, ks, args.seed, progress.show):
            fits.append(fit)
            progress.clear()
            print(_line(fit), flush=True)
    finally:  # however it ends
        progress.clear()
        if fits:
            print(f"\nScores of the clusters\n{make_table(fits, references)}\n", flush=True)

    print(_test_text(fits, data, references), end="\n\n")
    print("Drawings")
    for path in draw_all(data, fits, references, args.out):
        print(f"  {path}", flush=True)
    return 0


def _fail(reason: str) -> int:
    print(f"mnist {reason}", file=sys.stderr)
    return 1


def _line(fit: Fit) -> str:
    inertia, homogeneity, accuracy = fit.scores
    return (
        f"k = {fit.k:<3}  {fit.method:<15}  inertia {inertia:>9,.0f}  homogeneity "
        f"{homogeneity:.3f}  accuracy {accuracy:.3f}  {write_seconds(fit.seconds):>8}"
    )


def _test_text(fits: Sequence[Fit], data: Mnist, references: Mapping[int, Scores]) -> str:
    k = max(fit.k for fit in fits)
    accuracies = [f"{fit.method} {accuracy_on_test(fit, data):.3f}" for fit in fits if fit.k == k]
    if k in references:
        accuracies.append(f"(ref.) {TUTORIAL_TEST_ACCURACY:.3f}")
    return (
        f"Test images, k = {k}: share whose nearest centroid stands for their digit\n"
        f"{', '.join(accuracies)}"
    )
