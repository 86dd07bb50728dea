"""Tell how far a long evaluation is, and learn whether to go on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..callbacks import does_stop


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: what its `progress` callable gets after each fit.

    Attributes
    ----------
    n_done, n_fits : int
        Fits so far, and fits in all.
    k : int
        Number of clusters of the fit just done.
    rows : {"X", "reference"}
        What it clustered: the data, or a reference set of the gap statistic.
    seconds : float
        Since the sweep began.

    Examples
    --------
    A sweep that starts no further fit after a minute, and returns what is done:

    >>> from fastkm.evaluation import sweep
    >>> X = [[0.0], [1.0], [10.0], [11.0]]
    >>> sweep(X, [1, 2, 3], progress=lambda progress: progress.seconds > 60).is_complete
    True
    """

    n_done: int
    n_fits: int
    k: int
    rows: Literal["X", "reference"]
    seconds: float


class Stopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """Raised between two fits when the callable returned True."""


class Reporter:
    """Counts fits and passes each on."""

    def __init__(self, progress: Callable[[Progress], bool | None] | None, n_fits: int) -> None:
        self._progress = progress
        self._n_fits = n_fits
        self._n_done = 0
        self._start = time.perf_counter()

    def tell(self, k: int, rows: Literal["X", "reference"]) -> None:
        """Report one more fit; raise Stopped if the answer is to stop."""
        self._n_done += 1
        if self._progress is None:
            return
        seconds = time.perf_counter() - self._start
        if does_stop(self._progress, Progress(self._n_done, self._n_fits, k, rows, seconds)):
            raise Stopped


class Line:
    """One line on a terminal, written over and over; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._stream: Any = sys.stderr if sys.stderr and sys.stderr.isatty() else None
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Write it anew."""
        what = f"k = {progress.k}" + ("" if progress.rows == "X" else ", a gap reference")
        text = f"fit {progress.n_done} of {progress.n_fits}: {what}; {progress.seconds:.1f} s"
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def close(self) -> None:
        """End the line, if there is one."""
        if self._width:
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def check_progress(progress: Any) -> Callable[[Progress], bool | None] | None:
    """Return what to call after each fit: nothing, a line on stderr, or the callable given."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return Line()
    if not callable(progress):
        raise TypeError(
            f"progress must be True, a callable that takes a Progress, or None; got {progress!r}."
        )
    return progress  # type: ignore[no-any-return]
