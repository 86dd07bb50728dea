"""Every public object says what it does and shows it, and the examples run."""

import doctest
import importlib
import inspect

import pytest
from matplotlib import pyplot as plt

import fastkm

MODULES = ["callbacks", "datasets", "evaluation", "exceptions", "plotting"]
PUBLIC = [("fastkm", name) for name in fastkm.__all__ if name != "__version__"] + [
    (module, name)
    for module in (f"fastkm.{each}" for each in MODULES)
    for name in importlib.import_module(module).__all__
]


@pytest.fixture
def closed_figures():
    yield
    plt.close("all")


@pytest.mark.usefixtures("closed_figures")
@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_examples_print_what_they_say(module, name):
    public = getattr(importlib.import_module(module), name)
    finder = doctest.DocTestFinder(recurse=False)
    examples = finder.find(inspect.unwrap(public), name, globs={})
    runner = doctest.DocTestRunner()
    n_run = sum(runner.run(example).attempted for example in examples)
    assert n_run > 0
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_parameter_is_documented(module, name):
    public = getattr(importlib.import_module(module), name)
    documented = set()
    for line in inspect.getdoc(public).replace("\n*", "\n").splitlines():
        if not line.startswith(" ") and " : " in line:
            documented.update(line.partition(" : ")[0].split(", "))
        elif ", " in line and not line.startswith(" "):
            documented.update(line.split(", "))
    assert set(inspect.signature(public).parameters) <= documented


@pytest.mark.parametrize(
    "name", ["fit", "fit_predict", "fit_transform", "predict", "transform", "score"]
)
def test_methods_have_docstrings_of_their_own(name):
    for estimator in (fastkm.KMeans, fastkm.MiniBatchKMeans):
        doc = inspect.getdoc(getattr(estimator, name))
        assert "Parameters\n----------" in doc
        assert "Returns\n-------" in doc
    doc = inspect.getdoc(fastkm.MiniBatchKMeans.partial_fit)
    assert "Parameters\n----------" in doc
