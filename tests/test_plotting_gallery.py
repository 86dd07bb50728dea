"""docs/gallery.md: its code runs, shows every drawing, and has its pictures beside it."""

import importlib.util
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from fastkm import plotting

DOCS = Path(__file__).resolve().parents[1] / "docs"
if not (DOCS / "gallery.py").exists():
    pytest.skip("docs/gallery.py is not beside tests/: not a checkout", allow_module_level=True)
pytest.importorskip("plotly", reason="plotly is not installed, and the gallery uses it")
spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
gallery = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gallery)
PICTURES = [block.picture for block in gallery.blocks() if block.picture]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rc = dict(mpl.rcParams)
    made = gallery.run(tmp_path_factory.mktemp("gallery"))
    mpl.rcParams.update(rc)
    return made


def test_every_block_of_code_is_found_and_every_picture_belongs_to_one():
    text = gallery.TEXT.read_text(encoding="utf-8")
    assert text.count("```python") == len(gallery.blocks())
    assert re.findall(r"images/([\w.-]+)", text) == PICTURES


def test_every_drawing_is_in_the_gallery():
    drawn = " ".join(block.code for block in gallery.blocks() if block.picture)
    assert [name for name in plotting.__all__ if f"{name}(" not in drawn] == []


def test_code_makes_the_pictures(made):
    assert [path.name for path in made] == PICTURES
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_there_small_and_of_the_size_that_the_code_makes(made, name):
    kept = DOCS / "images" / name
    assert kept.stat().st_size < 100_000
    (new,) = (path for path in made if path.name == name)
    assert plt.imread(kept).shape == pytest.approx(plt.imread(new).shape, rel=0.05)
