"""Build the extension: one table of instruction sets, the OpenMP flags, and nothing else."""

import os
import platform
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

IS_X86_64 = platform.machine().lower() in {"x86_64", "amd64"}
IS_ARM64 = platform.machine().lower() in {"aarch64", "arm64"}
# A Python without the GIL cannot load the stable ABI, and gets an extension of its own.
IS_ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")
IS_MSVC = sys.platform == "win32" and "GCC" not in sys.version
KERNELS = Path("fastkm") / "kernels"
HEADERS = sorted(str(path) for path in [*KERNELS.glob("*.h"), KERNELS / "flags.txt"])

# (name, flags of MSVC). Each becomes a static library of its own, so that no code built for one
# instruction set can be linked into another.
X86_ISAS = [
    ("sse2", []),
    ("avx2", ["/arch:AVX2"]),
    ("avx512", ["/arch:AVX512"]),
    ("avx512vnni", ["/arch:AVX512"]),
]
ARM64_ISAS = [("neon", [])]
ISAS = [
    ("portable", []),
    *(X86_ISAS if IS_X86_64 else ARM64_ISAS if IS_ARM64 else []),
]
# Of GCC and Clang, by instruction set and for "all".
FLAGS = {
    name: flags.split()
    for name, colon, flags in (
        line.partition(":") for line in (KERNELS / "flags.txt").read_text("ascii").splitlines()
    )
    if colon and not name.startswith("#")
}

# Debugging symbols, which Python's own flags ask for, would be most of the wheel.
UNIX_FLAGS = ["-O3", "-g0", *FLAGS["all"]]
MSVC_FLAGS = ["/O2", "/std:c11", "/fp:precise"]
EXTENSION_FLAGS = ["/O2"] if IS_MSVC else ["-O2", "-g0"]
# For .ci/sanitize: FASTKM_SANITIZE=address,undefined. What is found ends the program.
SANITIZERS = os.environ.get("FASTKM_SANITIZE", "")
SANITIZE_LINK = [f"-fsanitize={SANITIZERS}"] if SANITIZERS else []
if SANITIZERS:
    SANITIZE_FLAGS = [
        *SANITIZE_LINK, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1", "-O1",
    ]  # fmt: skip
    UNIX_FLAGS += SANITIZE_FLAGS
    EXTENSION_FLAGS += SANITIZE_FLAGS
OPENMP_FLAGS = {"win32": (["/openmp"], []), "darwin": (["-Xpreprocessor", "-fopenmp"], ["-lomp"])}
OPENMP_COMPILE, OPENMP_LINK = OPENMP_FLAGS.get(sys.platform, (["-fopenmp"], ["-fopenmp"]))


def kernel_library(name, msvc_flags):
    """Describe the static library of one instruction set, for setuptools' build_clib."""
    sources = [str(KERNELS / f"kernels_{name}.c")]
    if name == "portable":
        sources.append(str(KERNELS / "dispatch.c"))
    flags = MSVC_FLAGS + msvc_flags if IS_MSVC else UNIX_FLAGS + FLAGS.get(name, [])
    return (
        f"fastkm_{name}",
        {"sources": sources, "cflags": flags, "obj_deps": {source: HEADERS for source in sources}},
    )


class BuildExt(build_ext):
    """Link OpenMP where the compiler has it; build single-threaded where it does not."""

    def build_extensions(self):
        """Add the OpenMP flags if a small program compiles and links with them."""
        if os.environ.get("FASTKM_OPENMP", "1") != "0" and self.has_openmp():
            for extension in self.extensions:
                extension.extra_compile_args += OPENMP_COMPILE
                extension.extra_link_args += OPENMP_LINK
        else:
            print("fastkm: no OpenMP, building single-threaded", file=sys.stderr)
        super().build_extensions()

    def has_openmp(self):
        """Try the flags on a program that starts a parallel region."""
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "openmp.c"
            source.write_text(program)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=OPENMP_COMPILE
                )
                self.compiler.link_executable(
                    objects, "openmp", output_dir=folder, extra_postargs=OPENMP_LINK
                )
            except Exception:  # distutils' compile and link errors differ between compilers
                return False
        return True


class BuildClib(build_clib):
    """Static libraries that a shared object can hold, for any set of CFLAGS."""

    def build_libraries(self, libraries):
        """Build them side by side, with position-independent code where that is distinguished."""
        if self.compiler.compiler_type != "unix":
            super().build_libraries(libraries)
            return
        for _, build_info in libraries:
            build_info["cflags"] = ["-fPIC", *build_info["cflags"]]
        one_by_one = super().build_libraries
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda library: one_by_one([library]), libraries))


setup(
    libraries=[kernel_library(*isa) for isa in ISAS],
    ext_modules=cythonize(
        Extension(
            "fastkm._core",
            ["fastkm/_core.pyx"],
            include_dirs=[str(KERNELS)],
            depends=[*HEADERS, *sorted(str(path) for path in Path("fastkm").glob("*.px[di]"))],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if IS_ABI3 else [],
            py_limited_api=IS_ABI3,
            extra_compile_args=EXTENSION_FLAGS,
            extra_link_args=SANITIZE_LINK,
        ),
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExt, "build_clib": BuildClib},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_ABI3 else {},
)
