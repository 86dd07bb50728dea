"""scikit-learn's own checks of estimators, on every estimator that fastkm exports.

``python tests/test_estimator_checks.py`` prints the counts that docs/reliability.md shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from importlib import import_module

if __name__ == "__main__":
    os.environ.setdefault("SCIPY_ARRAY_API", "1")  # before SciPy is imported, or a check is skipped

import pytest
import sklearn
import sklearn.cluster
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import fastkm

# The settings with which scikit-learn checks its own classes of these names.
QUICK = {
    "KMeans": {"n_clusters": 2, "n_init": 2, "max_iter": 5},
    "MiniBatchKMeans": {"n_clusters": 2, "n_init": 2, "max_iter": 5, "batch_size": 10},
}

# Repeated rows and weighted rows use the random draws of the seeding differently.
REASON = "sample_weight is not equivalent to removing/repeating samples."
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": REASON,
    "check_sample_weight_equivalence_on_sparse_data": REASON,
}


def exported():
    """One instance of each estimator in ``fastkm.__all__``."""
    things = [getattr(fastkm, name) for name in fastkm.__all__]
    classes = [x for x in things if isinstance(x, type) and issubclass(x, BaseEstimator)]
    return [cls(**QUICK.get(cls.__name__, {})) for cls in classes]


@parametrize_with_checks(exported(), expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_estimator_contract(estimator, check):
    check(estimator)


def test_both_estimators_are_checked():
    assert {type(estimator).__name__ for estimator in exported()} >= {"KMeans", "MiniBatchKMeans"}


@pytest.mark.parametrize("estimator", exported(), ids=lambda estimator: type(estimator).__name__)
def test_scikit_learn_expects_the_same_failures_of_its_own(estimator):
    try:
        table = import_module("sklearn.utils._test_common.instance_generator")
        declared = table.PER_ESTIMATOR_XFAIL_CHECKS
    except (ImportError, AttributeError):
        pytest.skip("this scikit-learn keeps its expected failures elsewhere")
    theirs = getattr(sklearn.cluster, type(estimator).__name__)
    assert EXPECTED_FAILURES.items() <= declared[theirs].items()


def counts(estimator):
    """How many checks ended how: a Counter of "passed", "xfail", "skipped" and "failed"."""
    results = check_estimator(
        estimator, expected_failed_checks=EXPECTED_FAILURES, on_skip=None, on_fail=None
    )
    return Counter(result["status"] for result in results)


def main():
    """Print the counts as a table; the exit status is the number of checks that failed."""
    print(f"scikit-learn {sklearn.__version__}\n")
    print("| estimator | checks | passed | expected failures | skipped | failed |")
    print("|---|---|---|---|---|---|")
    n_failed = 0
    for estimator in exported():
        found = counts(estimator)
        columns = [found[status] for status in ("passed", "xfail", "skipped", "failed")]
        print("|", *" | ".join(map(str, [f"`{estimator}`", found.total(), *columns])).split(), "|")
        n_failed += found["failed"]
    return n_failed


def test_nothing_is_skipped_where_scipy_speaks_the_array_api():
    # NumPy arrays under array_api_dispatch: the check that is skipped without this variable.
    run = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", __file__],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [line.split("|") for line in run.stdout.splitlines() if line.startswith("| `")]
    assert len(rows) == len(exported())
    for *_, skipped, failed, _ in rows:
        assert (int(skipped), int(failed)) == (0, 0)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(main())
