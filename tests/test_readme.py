"""README's promises: its example prints what it says, its commands and files are there."""

import pytest
from pages import (
    ROOT,
    blocks,
    examples,
    missing_targets,
    n_fences,
    printed_by,
    promises_beside_examples,
)

README = ROOT / "README.md"
if not README.exists():
    pytest.skip("README.md is not beside tests/: not a checkout", allow_module_level=True)
TEXT = README.read_text(encoding="utf-8")
EXAMPLES = examples(README)


def test_readme_has_an_example_with_its_output():
    assert any(example.output for example in EXAMPLES)


@pytest.mark.parametrize(("code", "output"), EXAMPLES)
def test_example_prints_what_readme_says(code, output, tmp_path):
    assert printed_by([code], tmp_path) == [output]


def test_every_fence_is_one_of_a_block_and_every_output_has_its_code():
    assert n_fences(README) == 2 * len(blocks(README))
    assert promises_beside_examples(README) == []


@pytest.mark.parametrize("environment", [".venv", ".venv-test"])
def test_each_command_makes_its_own_environment(environment):
    lines = [
        line for line in TEXT.splitlines() if line.startswith(f"python3 -m venv {environment} && ")
    ]
    assert len(lines) == 1
    assert lines[0].count(f" && {environment}/bin/") == 2


def test_files_that_readme_links_to_exist():
    assert missing_targets(README) == []


def test_benchmark_block_has_its_markers():
    assert TEXT.count("<!-- benchmarks: begin") == TEXT.count("<!-- benchmarks: end -->") == 1
