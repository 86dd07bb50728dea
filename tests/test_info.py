"""The report that bug reports begin with says what is true."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import sklearn

import fastkm
from fastkm import _core
from fastkm._info import report
from fastkm._threads import effective_n_threads


def facts(text):
    return dict(re.split(r":\s+", line, maxsplit=1) for line in text.splitlines())


def info(isa):
    env = {name: value for name, value in os.environ.items() if name != "FASTKM_ISA"}
    if isa is not None:
        env["FASTKM_ISA"] = isa
    out = subprocess.run(
        [sys.executable, "-m", "fastkm", "info"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return facts(out.stdout)


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_info_names_the_forced_instruction_set(isa):
    assert info(isa)["instruction set used"] == f"{isa} (forced by FASTKM_ISA)"


def test_info_names_the_chosen_instruction_set():
    assert info(None)["instruction set used"] == _core.supported_isas()[-1]


def test_report_tells_versions_build_and_threads():
    said = facts(report())
    assert said["fastkm"] == fastkm.__version__
    assert said["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert said["NumPy, scikit-learn"] == f"{np.__version__}, {sklearn.__version__}"
    assert said["compiler"] == _core.compiler()
    assert re.match(r"(GCC|Clang|MSVC)", said["compiler"])
    assert said["instruction sets built"].split(", ") == list(_core.BUILT_ISAS)
    assert said["instruction sets supported"].split(", ") == list(_core.supported_isas())
    assert said["threads"] == f"{effective_n_threads(None)} of {os.cpu_count()} CPUs"


def test_report_tells_whether_there_is_openmp():
    said = facts(report())["OpenMP"]
    if _core.has_openmp():
        assert re.fullmatch(r"(libgomp|libomp|vcomp) \d{6}", said)
    else:
        assert said == "none: built single-threaded"
