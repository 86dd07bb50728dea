"""Packages that bring an OpenMP runtime or threads of their own, in one process with fastkm.

Those that are not installed are skipped; `.ci/beside` installs them all.
"""

import os
import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

LONGEST_RUN = 180  # seconds

# How each is imported and put to work on several threads, and what must come out.
PACKAGES = {
    "torch": (
        "torch",
        """
        a = torch.ones(600, 600, requires_grad=True)
        product = a @ a
        product.sum().backward()
        assert product[0, 0] == 600 and a.grad[0, 0] == 1200
        rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        assert torch.cdist(rows, rows)[0, 1] == 5
        """,
    ),
    "faiss": (
        "faiss",
        """
        index = faiss.IndexFlatL2(X.shape[1])
        index.add(X)
        assert (index.search(X[:2000], 1)[1][:, 0] == np.arange(2000)).all()
        """,
    ),
    "xgboost": (
        "xgboost",
        """
        model = xgboost.XGBRegressor(n_estimators=20, n_jobs=2).fit(X[:, 1:], X[:, 0])
        assert np.isfinite(model.predict(X[:, 1:])).all()
        """,
    ),
    "lightgbm": (
        "lightgbm",
        """
        rows = lightgbm.Dataset(X[:, 1:], label=X[:, 0])
        model = lightgbm.train({"num_threads": 2, "verbose": -1}, rows, num_boost_round=20)
        assert np.isfinite(model.predict(X[:, 1:])).all()
        """,
    ),
    "sklearnex": (
        "from sklearnex.cluster import KMeans as TheirKMeans",
        """
        theirs = TheirKMeans(8, init=X[:8], n_init=1, max_iter=5).fit(X)
        assert np.bincount(theirs.labels_).sum() == len(X)
        """,
    ),
    "sklearn": (
        "from sklearn.ensemble import HistGradientBoostingRegressor",
        """
        model = HistGradientBoostingRegressor(max_iter=20).fit(X[:, 1:], X[:, 0])
        assert np.isfinite(model.predict(X[:, 1:])).all()
        """,
    ),
}

PROGRAM = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")  # the other package's
import numpy as np

X = np.random.default_rng(0).normal(size=(30_000, 16)).astype(np.float32)

def load_other():
    global OTHER
    OTHER

def load_fastkm():
    global KMeans, MiniBatchKMeans
    from fastkm import KMeans, MiniBatchKMeans

def work():
WORK

def fit():
    bits = hashlib.sha256()
    for estimator in (KMeans(8, max_iter=20), MiniBatchKMeans(8, batch_size=10_000)):
        estimator.set_params(random_state=0, n_init=1, n_threads=2).fit(X)
        for array in (estimator.labels_, estimator.cluster_centers_, estimator.predict(X)):
            bits.update(array.tobytes())
    return bits.hexdigest()

for step in sys.argv[1:]:
    answer = {"+other": load_other, "+fastkm": load_fastkm, "other": work, "fit": fit}[step]()
    if step == "fit":
        print(answer)
"""

ORDERS = {
    "fastkm first": ["+fastkm", "fit", "+other", "fit", "other", "fit", "other", "fit"],
    "fastkm second": ["+other", "other", "+fastkm", "fit", "other", "fit"],
    "both imported before either works": ["+other", "+fastkm", "fit", "other", "fit"],
}


def _run(package, steps):
    """Run the steps in a process of their own and return what the fits found."""
    imports, work = PACKAGES[package]
    if " " not in imports:
        imports = f"import {imports}"
    names = imports.split()[-1]
    program = PROGRAM.replace("global OTHER", f"global {names}").replace("OTHER", imports)
    program = program.replace("WORK", textwrap.indent(textwrap.dedent(work).strip(), "    "))
    run = subprocess.Popen(
        [sys.executable, "-c", program, *steps],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = run.communicate(timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        pytest.fail(f"no answer in {LONGEST_RUN} seconds")
    assert run.returncode == 0, errors
    found = out.split()
    assert len(found) == steps.count("fit")
    return found


@pytest.fixture(scope="module")
def alone():
    (bits,) = _run("sklearn", ["+fastkm", "fit"])
    return bits


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="ends what hangs as POSIX does")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("package", PACKAGES)
def test_fits_beside_another_package_have_the_same_bits(package, order, alone):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; .ci/beside installs it")
    assert set(_run(package, ORDERS[order])) == {alone}
