"""What a bug report begins with: versions, compiler, instruction sets, threads."""

import os
import platform

import numpy
import sklearn

from . import _core
from ._threads import effective_n_threads
from ._version import __version__


def report() -> str:
    """Describe this build of fastkm and the machine it runs on.

    Returns
    -------
    report : str
        One ``name: value`` pair per line.

    Examples
    --------
    >>> from fastkm._info import report
    >>> print(report().splitlines()[0].split(":")[0])
    fastkm
    """
    openmp = _core.openmp_runtime() or "none: built single-threaded"
    forced = " (forced by FASTKM_ISA)" if os.environ.get("FASTKM_ISA") else ""
    facts = {
        "fastkm": __version__,
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "NumPy, scikit-learn": f"{numpy.__version__}, {sklearn.__version__}",
        "compiler": _core.compiler(),
        "instruction sets built": ", ".join(_core.BUILT_ISAS),
        "instruction sets supported": ", ".join(_core.supported_isas()),
        "instruction set used": f"{_core.DEFAULT_ISA}{forced}",
        "OpenMP": openmp,
        "threads": f"{effective_n_threads(None)} of {os.cpu_count()} CPUs",
    }
    width = max(map(len, facts))
    return "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in facts.items())
