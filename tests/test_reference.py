"""docs/api has everything public, and docs/index.rst has every page."""

import importlib
import pkgutil
import re

import pytest
from pages import ROOT

import fastkm

API = ROOT / "docs" / "api"
if not API.exists():
    pytest.skip("docs/api is not beside tests/: not a checkout", allow_module_level=True)
INDEX = ROOT / "docs" / "index.rst"
# Named in full by the page of `fastkm`, which they are imported into; and the commands.
ELSEWHERE = {"kmeans", "minibatch", "seeding", "jobs"}
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(fastkm.__path__)
    if not module.name.startswith("_") and module.name not in ELSEWHERE
)


def test_every_estimator_and_function_of_fastkm_is_on_its_page():
    page = (API / "fastkm.rst").read_text(encoding="utf-8")
    named = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", page, flags=re.MULTILINE)
    assert sorted(named) == sorted(set(fastkm.__all__) - {"__version__"})


@pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans"])
def test_every_method_of_an_estimator_is_on_its_page(name):
    page = (API / "fastkm.rst").read_text(encoding="utf-8")
    (listed,) = re.findall(rf":: {name}\n   :members: (.+)$", page, flags=re.MULTILINE)
    own = {
        method
        for base in getattr(fastkm, name).__mro__
        if base.__module__.startswith("fastkm")
        for method, value in vars(base).items()
        if not method.startswith(("_", "set_")) and callable(value)
    }
    assert sorted(listed.split(", ")) == sorted(own)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_module_has_a_page_and_says_what_is_public(name):
    page = (API / f"{name}.rst").read_text(encoding="utf-8")
    assert f"\n.. automodule:: fastkm.{name}\n   :members:\n" in page
    module = importlib.import_module(f"fastkm.{name}")
    assert module.__all__
    # Sphinx leaves out what has no docstring, without a warning.
    assert [public for public in module.__all__ if not getattr(module, public).__doc__] == []


def test_every_page_is_in_the_index():
    index = INDEX.read_text(encoding="utf-8")
    pages = [*(f"api/{path.stem}" for path in API.glob("*.rst"))]
    pages += [path.stem for path in INDEX.parent.glob("*.md")]
    assert len(pages) >= 10
    assert [page for page in pages if f"\n   {page}\n" not in f"{index}\n"] == []
