"""No kernel reads before or past an array: pages beside it that may not be touched."""

import os
import subprocess
import sys

import pytest
from core_tools import ISAS

FENCED = """
import ctypes, itertools, mmap
import numpy as np
from fastkm import _core, _lloyd
from fastkm._potential import Potential
from fastkm._problem import Problem

libc = ctypes.CDLL(None)
PAGE, PROT_NONE, keep = mmap.PAGESIZE, 0, []

def fenced(values, at_end):
    # Between two pages that may not be touched, at one of them.
    size = -(-values.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    keep.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = PAGE + (size - values.nbytes if at_end else 0)
    array = np.frombuffer(memory, values.dtype, values.size, offset)
    array[:] = values.ravel()
    for fence in (address, address + PAGE + size):
        assert libc.mprotect(ctypes.c_void_p(fence), PAGE, PROT_NONE) == 0
    return array.reshape(values.shape)

rng = np.random.default_rng(0)
SIZES = [(1, 1, 1), (5, 2, 3), (15, 3, 7), (63, 4, 9), (65, 5, 8), (70, 15, 2), (17, 16, 13),
         (257, 33, 6), (33, 130, 12)]
for at_end in (False, True):
    for (n, d, k), dtype, order in itertools.product(SIZES, ["f2", "f4", "f8", "u1", "i8"], "CF"):
        values = (rng.normal(size=(n, d)) * 9).astype(dtype)
        X = fenced(values if order == "C" else values.T.copy(), at_end)
        X = X if order == "C" else X.T
        weights = fenced(rng.uniform(size=n), at_end)
        centroids = fenced(rng.normal(size=(k, d)), at_end)
        problem = Problem(X, weights, n_threads=1)
        engine = problem.engine(k)
        engine.set_centroids(centroids)
        labels, old = (fenced(np.full(n, -1, np.int32), at_end) for _ in range(2))
        sums = _core.Sums(k, fenced(problem.sum_scale, at_end), problem.low_scale, 1)
        engine.assign(labels, 0, n, old, sums)
        engine.means(sums, fenced(np.zeros((k, d)), at_end))
        engine.own_sq_dists(labels, fenced(np.zeros(n), at_end), 0, n)
        engine.distances(fenced(np.zeros((n, k)), at_end), 0, n)
        engine.accumulate_weighted(labels, weights, fenced(problem.shift, at_end),
                                   fenced(np.zeros((k, d)), at_end), fenced(np.zeros(k), at_end),
                                   0, n)
        potential = Potential(problem, 1)
        potential.start(n - 1)
        potential.propose(np.arange(min(n, 7)))
        potential.accept(0)
        keep.clear()
print("read nothing else")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's mprotect")
@pytest.mark.parametrize("isa", ISAS)
def test_nothing_beside_an_array_is_read(isa):
    env = {**os.environ, "FASTKM_ISA": isa}
    out = subprocess.run(
        [sys.executable, "-c", FENCED], env=env, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, f"{isa}: {out.returncode} {out.stderr}"
    assert out.stdout.strip() == "read nothing else"
