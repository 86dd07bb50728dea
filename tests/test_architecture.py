"""The map in fastkm's docstring is true, and importing fastkm does nothing else."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastkm

PACKAGE = Path(fastkm.__file__).parent
# Beside the layers: the package itself, which only gathers names, and a constant.
OUTSIDE_THE_MAP = {"__init__", "_version"}


def _map():
    """Return module -> layer, and layer -> the layers it may import from, as the table says."""
    rules = [
        i for i, line in enumerate(fastkm.__doc__.splitlines()) if set(line.strip()) == {"=", " "}
    ]
    lines = fastkm.__doc__.splitlines()
    layer, layer_of, imports_of = "", {}, {}
    bars = lines[rules[0]].split("  ")
    widths = [len(bar) for bar in bars]
    for line in lines[rules[1] + 1 : rules[2]]:
        layer = line[: widths[0]].strip() or layer  # rows may go on in a second line
        modules = line[widths[0] + 2 : widths[0] + 2 + widths[1]].strip()
        below = line[widths[0] + widths[1] + 4 :].strip()
        if modules:
            layer_of.update(dict.fromkeys(modules.rstrip(",").split(", "), layer))
        if below:
            named = set() if below == "nothing" else set(below.rstrip(",").split(", "))
            imports_of[layer] = imports_of.get(layer, set()) | named
    return layer_of, imports_of


def _modules():
    """Return (top-level name, source) of each module of the package."""
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyi")
        if name not in OUTSIDE_THE_MAP:
            yield name, path


def _imported(path):
    """Return the top-level names inside fastkm that a source imports, anywhere in it."""
    depth = len(path.relative_to(PACKAGE).parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level in (0, depth):
            module = node.module or ""
            base = module if node.level == 0 else f"fastkm.{module}".rstrip(".")
            dotted = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in dotted]
        names |= {part[1] if len(part) > 1 else "" for part in parts if part[0] == "fastkm"}
    return names


LAYER_OF, IMPORTS_OF = _map()
PYTHON_MODULES = [(name, path) for name, path in _modules() if path.suffix == ".py"]


def test_map_has_rows():
    assert len(IMPORTS_OF) >= 4
    assert LAYER_OF["kmeans"] == "estimators"
    assert IMPORTS_OF["compiled"] == set()


def test_every_module_is_on_the_map_and_the_map_names_no_other():
    assert {name for name, _ in _modules()} == set(LAYER_OF)


def test_map_runs_downwards():
    order = list(IMPORTS_OF)
    for layer, below in IMPORTS_OF.items():
        assert below <= set(order[order.index(layer) + 1 :])


@pytest.mark.parametrize(
    ("name", "path"), PYTHON_MODULES, ids=[str(p.relative_to(PACKAGE)) for _, p in PYTHON_MODULES]
)
def test_imports_are_those_of_the_map(name, path):
    # "" is the package itself: the commands, at the top, may import it as any user does.
    allowed = {m for m, layer in LAYER_OF.items() if layer in IMPORTS_OF[LAYER_OF[name]]}
    allowed |= {m for m, layer in LAYER_OF.items() if layer == LAYER_OF[name]} | {"_version"}
    if LAYER_OF[name] == "commands":
        allowed |= {"", *fastkm.__all__}
    assert _imported(path) <= allowed


def test_no_private_part_of_scikit_learns_k_means_is_imported():
    for _, path in PYTHON_MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                assert not node.module.startswith("sklearn.cluster._")
                if node.module == "sklearn.cluster":
                    assert not any(alias.name.startswith("_") for alias in node.names)


def test_importing_fastkm_loads_nothing_heavy_beyond_scikit_learns_base():
    code = """
import sys
import sklearn.base, sklearn.utils.validation
before = set(sys.modules)
import fastkm
print(sorted({".".join(name.split(".")[:2]) for name in set(sys.modules) - before}))
"""
    out = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    heavy = {
        "matplotlib", "plotly", "pandas", "polars", "PIL", "joblib",
        "scipy.stats", "scipy.optimize", "scipy.spatial", "scipy.special",
        "sklearn.cluster", "sklearn.datasets", "sklearn.decomposition", "sklearn.metrics",
        "fastkm.datasets", "fastkm.evaluation", "fastkm.jobs", "fastkm.plotting",
    }  # fmt: skip
    loaded = set(ast.literal_eval(out.stdout))
    assert "fastkm.kmeans" in loaded
    assert loaded & heavy == set()


def test_importing_fastkm_loads_no_package_beyond_what_scikit_learns_base_has():
    code = """
import sys
import sklearn.base
before = {name.partition(".")[0] for name in sys.modules}
import fastkm
print(sorted({name.partition(".")[0] for name in sys.modules} - before))
"""
    out = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    loaded = set(ast.literal_eval(out.stdout)) - set(sys.stdlib_module_names)
    # Cython's modules share a module without a file for their types.
    assert {name for name in loaded if not name.startswith("_cython_")} == {"fastkm"}


@pytest.mark.parametrize("name", ["callbacks", "datasets", "evaluation", "exceptions", "plotting"])
def test_public_modules_are_there_once_the_package_is_imported(name):
    code = f"import fastkm; print('{name}' in dir(fastkm), fastkm.{name}.__name__)"
    out = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert out.stdout.split() == ["True", f"fastkm.{name}"], out.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fastkm' has no attribute 'Kmeans'"):
        fastkm.Kmeans  # noqa: B018


def test_importing_fastkm_loads_no_plots_and_leaves_the_process_alone():
    code = """
import os, sys, threading
import sklearn.base, sklearn.utils.validation
from threadpoolctl import threadpool_info
before, pools = dict(os.environ), threadpool_info()
import fastkm
assert dict(os.environ) == before
print(sorted({"matplotlib", "plotly"} & set(sys.modules)))
after = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
assert all(after[pool["filepath"]] == pool["num_threads"] for pool in pools)
assert threading.active_count() == 1
"""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [["-c", "import fastkm"], ["-m", "fastkm", "info"]])
def test_sources_without_the_extension_say_how_to_go_on(tmp_path, command):
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / "fastkm" / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    out = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert out.returncode != 0
    told = out.stderr.splitlines()[-1]
    assert f"fastkm's extension is not built in {tmp_path / 'fastkm'}" in told
    assert "python -P" in told
    assert "pip install -e ." in told


def test_an_import_error_with_the_extension_in_place_is_told_as_it_is():
    code = "import sys; sys.modules['sklearn.base'] = None; import fastkm"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of sklearn.base")


def test_public_names_are_there():
    assert fastkm.__all__ == [
        "KMeans",
        "MiniBatchKMeans",
        "k_means",
        "kmeans_plusplus",
        "__version__",
    ]
    for name in fastkm.__all__:
        assert hasattr(fastkm, name)
