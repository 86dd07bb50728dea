"""README's promises: its example prints what it says, its commands and files are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
if not README.exists():
    pytest.skip("README.md is not beside tests/: not a checkout", allow_module_level=True)
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def _examples():
    """Pair every python block with the text block right after it, the output it promises."""
    following = [*BLOCKS[1:], ("", "")]
    return [
        (code, after if kind == "text" else "")
        for (language, code), (kind, after) in zip(BLOCKS, following, strict=True)
        if language == "python"
    ]


def test_readme_has_an_example_with_its_output():
    assert any(output for _, output in _examples())


@pytest.mark.parametrize(("code", "output"), _examples())
def test_example_prints_what_readme_says(code, output, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


@pytest.mark.parametrize("environment", [".venv", ".venv-test"])
def test_each_command_makes_its_own_environment(environment):
    lines = [
        line for line in TEXT.splitlines() if line.startswith(f"python3 -m venv {environment} && ")
    ]
    assert len(lines) == 1
    assert lines[0].count(f" && {environment}/bin/") == 2


def test_files_that_readme_links_to_exist():
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)\)", TEXT) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_benchmark_block_has_its_markers():
    assert TEXT.count("<!-- benchmarks: begin") == TEXT.count("<!-- benchmarks: end -->") == 1
