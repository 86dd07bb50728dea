"""docs/guide.md: its code prints what the guide says, and its links lead somewhere."""

import json
import subprocess
import sys

import pytest
from pages import ROOT, blocks, examples, missing_targets, n_fences, promises_beside_examples

GUIDE = ROOT / "docs" / "guide.md"
if not GUIDE.exists():
    pytest.skip("docs/guide.md is not beside tests/: not a checkout", allow_module_level=True)
EXAMPLES = examples(GUIDE)

# The blocks share their names, as the guide says; each one's output is caught by itself.
RUNNER = """
import contextlib, io, json, sys
import matplotlib
matplotlib.use("Agg")
names, printed = {}, []
for number, code in enumerate(json.load(sys.stdin), 1):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, f"block {number}", "exec"), names)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", RUNNER],
        input=json.dumps([example.code for example in EXAMPLES]),
        cwd=tmp_path_factory.mktemp("guide"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("i", range(len(EXAMPLES)))
def test_block_prints_what_the_guide_says(printed, i):
    assert printed[i] == EXAMPLES[i].output


def test_every_fence_is_one_of_a_block_and_every_output_has_its_code():
    assert n_fences(GUIDE) == 2 * len(blocks(GUIDE))
    assert promises_beside_examples(GUIDE) == []


def test_files_that_the_guide_links_to_exist():
    assert missing_targets(GUIDE) == []
