"""What lies beside tests/ in a checkout and in an sdist, and in no wheel."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_benchmarks():
    """Import the checkout's benchmarks; its fastkm/ stays off sys.path."""
    folder = ROOT / "benchmarks"
    if not (folder / "__init__.py").exists():
        pytest.skip("benchmarks/ is not beside tests/: not a checkout", allow_module_level=True)
    if "benchmarks" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks"] = module
    spec.loader.exec_module(module)
