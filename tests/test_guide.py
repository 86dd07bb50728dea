"""docs/guide.md: its code prints what the guide says, and its links lead somewhere."""

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

GUIDE = ROOT / "docs" / "guide.md"
if not GUIDE.exists():
    pytest.skip("docs/guide.md is not beside tests/: not a checkout", allow_module_level=True)
EXAMPLES = examples(GUIDE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    return printed_by([example.code for example in EXAMPLES], tmp_path_factory.mktemp("guide"))


@pytest.mark.parametrize("i", range(len(EXAMPLES)))
def test_block_prints_what_the_guide_says(printed, i):
    assert printed[i] == EXAMPLES[i].output


def test_every_fence_is_one_of_a_block_and_every_output_has_its_code():
    assert n_fences(GUIDE) == 2 * len(blocks(GUIDE))
    assert promises_beside_examples(GUIDE) == []


def test_files_that_the_guide_links_to_exist():
    assert missing_targets(GUIDE) == []
