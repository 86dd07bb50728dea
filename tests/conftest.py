"""Data that several tests share, and scikit-learn's exception beside fastkm's."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

# Python started by a test imports the installed package, not the sources in the current folder.
os.environ["PYTHONSAFEPATH"] = "1"

MOST_THREADS = 64


@pytest.fixture(autouse=True, scope="session")
def as_many_threads_as_asked():
    """Start the threads that a test asks for, though the machine have fewer CPUs."""
    # Not above: SciPy's filters of warnings, set when it is imported, must come after pytest's.
    from fastkm import _threads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "n_usable_cpus", lambda: MOST_THREADS)
        yield


@pytest.fixture(autouse=True)
def threads_from_the_start():
    """Keep threads that waited for each other in one test from being saved in the next."""
    from fastkm import _core

    _core.forget_load()


@pytest.fixture
def rng():
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def blobs():
    """600 rows around 6 well-parted centres in 5 dimensions, float64, away from the origin."""
    generator = np.random.default_rng(7)
    centres = generator.uniform(-10, 10, size=(6, 5)) + 30
    return centres[generator.integers(6, size=600)] + generator.normal(size=(600, 5))


@pytest.fixture(scope="session")
def cloud():
    """One cloud of 400 rows in 4 dimensions: many rounds until k-means settles."""
    return np.random.default_rng(11).normal(size=(400, 4))


@pytest.fixture
def outcome():
    """Return a function that calls another and tells what came: a value or an exception."""

    def call(function, *args, **kwargs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                function(*args, **kwargs)
            except Exception as error:
                raised = (type(error), str(error))
            else:
                raised = None
        return raised, [(warning.category, str(warning.message)) for warning in caught]

    return call
