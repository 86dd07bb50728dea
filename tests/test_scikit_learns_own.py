"""scikit-learn's own tests of k-means, run with fastkm's classes under scikit-learn's names.

What it imports from private parts of its k-means stays its own, and says nothing about fastkm.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
import sklearn

# Before the tests are imported, names of sklearn.cluster become fastkm's.
PLUGIN = """
import pytest
import sklearn.cluster
import fastkm

for name in ("KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus"):
    setattr(sklearn.cluster, name, getattr(fastkm, name))

def pytest_collection_modifyitems(config, items):
    names = set(config.getini("left_out"))
    items[:] = [item for item in items if item.originalname not in names]

def pytest_addoption(parser):
    parser.addini("left_out", "tests by name", type="linelist")

def pytest_report_collectionfinish(items):
    ours = [item for item in items if "fastkm" in str(vars(item.module)["KMeans"])]
    return f"with fastkm's classes: {len(ours)}"
"""

# Tests of attributes and methods of scikit-learn's classes that begin with an underscore.
PRIVATE = {
    "test_kmeans_init_auto_with_initial_centroids": "_n_init",
    "test_n_init_auto": "_n_init",
    "test_sample_weight_init": "_init_centroids",
    "test_sample_weight_zero": "_init_centroids",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    name = "sklearn.cluster.tests.test_k_means"
    if find_spec("sklearn.cluster.tests") is None or find_spec(name) is None:
        pytest.skip("scikit-learn is installed without its tests")
    folder = tmp_path_factory.mktemp("own")
    (folder / "fastkm_for_sklearn.py").write_text(PLUGIN)
    (folder / "pytest.ini").write_text("[pytest]\nleft_out =\n  " + "\n  ".join(PRIVATE))
    arguments = ["-p", "fastkm_for_sklearn", "-p", "no:cacheprovider", "-q", "--pyargs", name]
    path = [str(folder), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "SKLEARN_RUN_FLOAT32_TESTS": "1",
        },
        capture_output=True,
        text=True,
    )


def test_none_fails(report):
    assert report.returncode == 0, report.stdout[-5000:] + report.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", report.stdout)[1]) > 100


def test_they_ran_with_fastkms_classes(report):
    assert int(re.search(r"with fastkm's classes: (\d+)", report.stdout)[1]) > 100


@pytest.mark.parametrize(("name", "attribute"), PRIVATE.items())
def test_what_is_left_out_is_private(name, attribute):
    spec = find_spec("sklearn.cluster.tests.test_k_means")
    with open(spec.origin) as source:
        body = source.read().partition(f"def {name}(")[2].partition("\ndef ")[0]
    if not body:
        pytest.skip(f"scikit-learn {sklearn.__version__} has no such test")
    assert f".{attribute}" in body
