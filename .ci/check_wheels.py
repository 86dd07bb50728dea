"""Check what the named wheels hold: tag, licences, and nothing left over from the build."""

import re
import sys
import zipfile
from pathlib import Path

MAX_MEGABYTES = 3.0
WANTED = ["fastkm/_core.pyi", "fastkm/py.typed"]
LICENCES = ["LICENSE", *(f"licenses/{path.name}" for path in sorted(Path("licenses").iterdir()))]
SOURCES = (".c", ".h", ".pyx", ".pxd", ".pxi", ".o", ".a")
# Where build machines keep checkouts and temporary files: cibuildwheel's images, GitHub's runners.
BUILD_PATHS = re.compile(rb"(/tmp/|/home/|/Users/|/project/|[A-Z]:\\a\\)[\w./\\-]*")


def check(path):
    """Raise AssertionError at the first thing that is wrong with the wheel at path."""
    wheel = zipfile.ZipFile(path)
    names = wheel.namelist()
    is_free_threaded = re.search(r"-cp3\d+t-", path.name) is not None
    assert is_free_threaded or "-cp311-abi3-" in path.name, f"{path.name} is no stable-ABI wheel"
    info = next(name for name in names if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
    for wanted in [*WANTED, *(f"{info}/licenses/{licence}" for licence in LICENCES)]:
        assert wanted in names, f"{path.name} lacks {wanted}"
    extensions = [name for name in names if re.fullmatch(r"fastkm/_core\..*(so|pyd)", name)]
    assert len(extensions) == 1, f"{path.name} has the extensions {extensions}"
    sources = [name for name in names if name.endswith(SOURCES)]
    assert not sources, f"{path.name} ships sources: {sources}"
    found = BUILD_PATHS.search(wheel.read(extensions[0]))
    assert not found, f"{extensions[0]} of {path.name} names a path of the build: {found[0]!r}"
    megabytes = path.stat().st_size / 1e6
    assert megabytes < MAX_MEGABYTES, f"{path.name} has {megabytes:.1f} MB, {MAX_MEGABYTES} allowed"
    print(f"{path.name}: {len(names)} files, {megabytes:.1f} MB")


if __name__ == "__main__":
    assert len(sys.argv) > 1, "name the wheels to check"
    for argument in sys.argv[1:]:
        check(Path(argument))
