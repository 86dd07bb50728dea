"""A package in a process of its own, asked over lines of JSON.

The process is started with the checkout last on its path, so that an installed fastkm is what it
imports. One that dies or stays silent is an error, never a wait without end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from .workloads import ROOT

# The two that most benchmarks set side by side, and where each keeps its classes.
PACKAGES = {"fastkm": "fastkm", "scikit-learn": "sklearn.cluster"}
LONGEST_ANSWER = 1800.0  # seconds
_SETTLE = 0.06  # seconds
_LAUNCH = (
    "import sys, importlib; sys.path.append(sys.argv.pop(1)); "
    "getattr(importlib.import_module(sys.argv.pop(1)), sys.argv.pop(1))()"
)


class PeerError(Exception):
    """A peer could not do what it was asked; ``is_missing`` where it is not installed."""

    def __init__(self, message: str, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class Process:
    """A function that calls `serve`, and the pipes to it; returns when it is ready.

    Parameters
    ----------
    function : str
        As ``module:name``.
    arguments : list of str
        Its ``sys.argv[1:]``.
    errors : Path
        File that takes what the package prints.
    variables : mapping
        Added to the environment.
    limit : float
        Seconds that an answer may take.
    """

    def __init__(
        self,
        function: str,
        arguments: list[str],
        errors: Path,
        variables: Mapping[str, str] | None = None,
        limit: float = LONGEST_ANSWER,
    ) -> None:
        self._limit = limit
        self._errors = errors.open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _LAUNCH, str(ROOT), *function.split(":"), *arguments],
            env={**os.environ, **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._answer_to({})  # that it is ready
        except PeerError:
            self.close()
            raise

    def ask(self, do: str, **arguments: object) -> dict:
        """Call the worker's method ``do`` and return its answer."""
        return self._answer_to({"do": do, **arguments})

    def _answer_to(self, request: dict[str, object]) -> dict:
        watch = threading.Timer(self._limit, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            was_in_time = watch.is_alive()
            watch.cancel()
        if not line:
            raise PeerError(self._how_it_ended(was_in_time))
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"], is_missing=answer.get("missing", False))
        return answer

    def _how_it_ended(self, was_in_time: bool) -> str:
        if not was_in_time:
            return f"no answer within {self._limit:g} s"
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:] or ["no message"]
        return f"its process ended with {self._process.wait()}: {last[0]}"

    def close(self) -> None:
        """End the process, with force if it does not end by itself."""
        with contextlib.suppress(BrokenPipeError):  # what was not read when it died
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def settle() -> None:
    """Wait before a fit until the threads of the last one have stopped spinning."""
    time.sleep(_SETTLE)


def in_turn(names: Iterable[str], turn: int) -> list[str]:
    """Return the names in the order of a turn: the first one changes from turn to turn."""
    names = list(names)
    return names[::-1] if turn % 2 else names


def serve(worker: object) -> None:
    """Answer `Process.ask` by the worker's methods until the pipe closes.

    An empty request asks whether the worker is there, and gets an empty answer.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a package prints goes to standard error
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request) if request else {}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
