"""The blocks of code in a Markdown page, and the output that the page promises of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Block(NamedTuple):
    """A fenced block: what its fence names, and what it holds."""

    language: str
    text: str


class Example(NamedTuple):
    """A block of Python, and the block of text right after it: what it prints."""

    code: str
    output: str


def blocks(page: Path) -> list[Block]:
    """Return the page's fenced blocks in order."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(*each) for each in found]


def examples(page: Path) -> list[Example]:
    """Return the page's Python blocks; one without a block of text after it prints nothing."""
    found = blocks(page)
    following = [*found[1:], Block("", "")]
    return [
        Example(block.text, after.text if after.language == "text" else "")
        for block, after in zip(found, following, strict=True)
        if block.language == "python"
    ]


def promises_beside_examples(page: Path) -> list[str]:
    """Return the blocks of text that follow no block of Python: nobody checks them."""
    found = blocks(page)
    before = [Block("", ""), *found[:-1]]
    return [
        block.text
        for former, block in zip(before, found, strict=True)
        if block.language == "text" and former.language != "python"
    ]


def n_fences(page: Path) -> int:
    """Return how many fences the page has, found by `blocks` or not: two a block."""
    return sum(line.lstrip(" >").startswith("```") for line in page.read_text("utf-8").splitlines())


def missing_targets(page: Path) -> list[str]:
    """Return the files that the page's relative links name and that are not there."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8"))
    return [t for t in targets if "://" not in t and not (page.parent / t).is_file()]


# The blocks share their names; what each prints is caught by itself. matplotlib is imported before
# warnings become errors, as old ones warn while they are imported beside new packages.
_RUNNER = """
import contextlib, io, json, sys, warnings
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot
warnings.simplefilter("error")
names, printed = {}, []
for number, code in enumerate(json.load(sys.stdin), 1):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, f"block {number}", "exec"), names)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def printed_by(codes: list[str], folder: Path) -> list[str]:
    """Run the blocks one after the other, in a process and a folder of their own."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _RUNNER],
        input=json.dumps(codes),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: list[str] = json.loads(done.stdout)
    return printed
