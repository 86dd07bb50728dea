"""CITATION.cff and the changelog speak of this version."""

import re

import pytest
from pages import ROOT

import fastkm

CITATION = ROOT / "CITATION.cff"
if not CITATION.exists():
    pytest.skip("CITATION.cff is not beside tests/: not a checkout", allow_module_level=True)


def test_citation_names_this_version():
    text = CITATION.read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", text, flags=re.MULTILINE) == [fastkm.__version__]


def test_changelog_has_the_sections_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    dated = r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}"
    assert [version for version in versions[1:] if not re.fullmatch(dated, version)] == []
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
