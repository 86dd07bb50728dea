"""The same bits whatever runs a fit: threads, instruction set, layout, algorithm, time.

`bits_of_fits.py` makes the fits, in a process of its own for each instruction set. Nothing here
knows which result is right, which other tests do; all must be the same one.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from core_tools import ISAS

SCRIPT = Path(__file__).with_name("bits_of_fits.py")
# The fastest instruction set runs every fit in all of these, and the first of them twice; the
# others run each fit in one of theirs, in turn.
VARIANTS = [[2, "C"], [1, "F"], [3, "memmap"], [7, "C"], [16, "F"], [2, "C"]]
IN_TURN = [[2, "F"], [1, "C"], [3, "memmap"]]


def run(isa, folder):
    is_fastest = isa == ISAS[-1]
    variants = VARIANTS if is_fastest else IN_TURN
    command = [sys.executable, SCRIPT, folder, json.dumps(variants)]
    done = subprocess.run(
        command if is_fastest else [*command, "--in-turn"],
        env={**os.environ, "FASTKM_ISA": isa, "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{isa}: {done.returncode}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All results of all instruction sets: dicts as `bits_of_fits.py` prints them."""
    folders = {isa: tmp_path_factory.mktemp(isa) for isa in ISAS}
    with ThreadPoolExecutor(2) as pool:
        return [result for of_isa in pool.map(run, ISAS, folders.values()) for result in of_isa]


def group(results, *keys):
    groups = defaultdict(list)
    for result in results:
        groups[tuple(result[key] for key in keys)].append(result)
    return groups


def name(result):
    return f"{result['isa']}, {result['fit']}, n_threads={result['variant']}"


def assert_same(results, bits):
    """Assert that bits(result) is one and the same; name those that part from the first."""
    first, *others = results
    parted = [name(other) for other in others if bits(other) != bits(first)]
    assert not parted, f"not as {name(first)}: {parted}"


def test_every_instruction_set_ran(results):
    assert {result["isa"] for result in results} == set(ISAS)
    n_fits = len({result["fit"] for result in results})
    for isa, of_isa in group(results, "isa").items():
        n_variants = len(VARIANTS) if isa == (ISAS[-1],) else 1
        assert len(of_isa) == n_fits * n_variants
    assert {tuple(result["variant"]) for result in results} == {
        tuple(variant) for variant in VARIANTS + IN_TURN
    }


def test_fits_make_use_of_what_they_are_meant_to(results):
    missing = {name(result): result["missing"] for result in results if result["missing"]}
    assert not missing


def test_bits_do_not_depend_on_threads_instruction_set_layout_algorithm_or_run(results):
    groups = group(results, "path", "kind")
    assert len(groups) > 40
    for of_path in groups.values():
        assert_same(of_path, lambda result: result["bits"])


def test_float32_takes_the_path_of_float64_and_rounds_its_centres(results):
    groups = group(results, "path")
    # Between parts the centres are kept as attributes, which are float32.
    assert groups.pop(("batches one by one",))
    n_both = 0
    for of_path in groups.values():
        n_both += len({result["kind"] for result in of_path}) == 2
        assert_same(of_path, lambda result: (result["rounded centres"], result["bits"]["n_iter"]))
    assert n_both > 20
