"""Make the pictures of gallery.md: run its blocks of code, save what each draws.

``python docs/gallery.py``, with fastkm[plot,plotly] installed, writes them into docs/images.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
TEXT = HERE / "gallery.md"
DPI = 80
N_COLORS = 128  # of a picture: a third of the bytes of all colours


class Block(NamedTuple):
    """A block of code, and the picture that it makes, if any."""

    code: str
    picture: str  # file name; "" where the block makes none
    line: int  # of gallery.md on which the code begins


def blocks() -> list[Block]:
    """Return the blocks of gallery.md in order."""
    text = TEXT.read_text(encoding="utf-8")
    pattern = r"^```python\n(.*?)^```\n(?:\n!\[[^\]]+\]\(images/([^)]+)\))?"
    return [
        Block(match[1], match[2] or "", text.count("\n", 0, match.start(1)) + 1)
        for match in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL)
    ]


def run(out: Path) -> list[Path]:
    """Run all blocks, write the pictures into `out`, a folder, and return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    paths = []
    names: dict[str, Any] = {}
    # What the code itself writes goes where it is deleted.
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for block in blocks():
            # Blank lines in front, so that a traceback tells the line of gallery.md.
            exec(compile("\n" * (block.line - 1) + block.code, str(TEXT), "exec"), names)
            if block.picture:
                paths.append(out / block.picture)
                drawing = names.pop("drawing")
                figure = drawing if hasattr(drawing, "savefig") else drawing.figure
                paths[-1].write_bytes(picture(figure))
                plt.close(figure)
    return paths


def picture(figure: Any) -> bytes:
    """Return a figure as PNG of few colours."""
    from PIL import Image

    full, small = BytesIO(), BytesIO()
    figure.savefig(full, dpi=DPI)
    Image.open(full).convert("RGB").quantize(N_COLORS).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "images", help="folder for the pictures")
    for path in run(parser.parse_args().out.resolve()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
