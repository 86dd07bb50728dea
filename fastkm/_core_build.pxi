# What was built, and what runs here.

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FASTKM_OPENMP _OPENMP
    static int fastkm_max_threads(void) { return omp_get_max_threads(); }
    static int fastkm_n_procs(void) { return omp_get_num_procs(); }
    #else
    #define FASTKM_OPENMP 0
    static int fastkm_max_threads(void) { return 1; }
    static int fastkm_n_procs(void) { return 1; }
    #endif
    #if defined(__clang__)
    #define FASTKM_COMPILER "Clang " __clang_version__
    #define FASTKM_OPENMP_RUNTIME "libomp"
    #elif defined(__GNUC__)
    #define FASTKM_COMPILER "GCC " __VERSION__
    #define FASTKM_OPENMP_RUNTIME "libgomp"
    #elif defined(_MSC_VER)
    #define FASTKM_COMPILER "MSVC"
    #define FASTKM_OPENMP_RUNTIME "vcomp"
    #else
    #define FASTKM_COMPILER "unknown"
    #define FASTKM_OPENMP_RUNTIME "unknown"
    #endif
    """
    int FASTKM_OPENMP
    const char* FASTKM_COMPILER
    const char* FASTKM_OPENMP_RUNTIME
    int fastkm_max_threads()
    int fastkm_n_procs()

BLOCK_ROWS = FASTKM_BLOCK_ROWS
MAX_CANDIDATES = FASTKM_MAX_CANDIDATES
CELL_ROWS = FASTKM_CELL_ROWS


cdef list _tables():
    cdef list names = []
    cdef int index = 0
    while fastkm_built(index) != NULL:
        names.append(fastkm_built(index).isa.decode())
        index += 1
    return names


# Where each instruction set that has been asked for stands. A virtual machine takes microseconds to say again that it
# has one.
cdef dict _INDEX_OF = {}


cdef const fastkm_kernels* _kernels(str isa) except NULL:
    cdef int index = 0
    if isa in _INDEX_OF:
        return fastkm_built(_INDEX_OF[isa])
    while fastkm_built(index) != NULL:
        if fastkm_built(index).isa.decode() == isa:
            if not fastkm_is_supported(fastkm_built(index)):
                raise RuntimeError(
                    f"The instruction set {isa!r} is built but this machine does not run it; "
                    f"choose one of {', '.join(supported_isas())}."
                )
            _INDEX_OF[isa] = index
            return fastkm_built(index)
        index += 1
    raise ValueError(f"isa must be one of {', '.join(BUILT_ISAS)}; got {isa!r}.")


BUILT_ISAS = tuple(_tables())


def supported_isas():
    """Names of the implementations that this machine runs, slowest first."""
    return tuple(
        name for index, name in enumerate(BUILT_ISAS) if fastkm_is_supported(fastkm_built(index))
    )


cdef str _choose_isa():
    wanted = os.environ.get("FASTKM_ISA", "").strip().lower()
    if not wanted:
        *_, fastest = supported_isas()
        return fastest
    if wanted not in supported_isas():
        raise ImportError(
            f"FASTKM_ISA must name an instruction set that fastkm has and this machine runs "
            f"({', '.join(supported_isas())}); got {wanted!r}. Unset FASTKM_ISA to let fastkm choose."
        )
    return wanted


DEFAULT_ISA = _choose_isa()
TILE_CENTROIDS = FASTKM_TILE_CENTROIDS


def has_openmp():
    """Whether the extension was built with OpenMP."""
    return FASTKM_OPENMP != 0


def openmp_runtime():
    """Name and version date of the OpenMP runtime, or None."""
    return f"{FASTKM_OPENMP_RUNTIME.decode()} {FASTKM_OPENMP}" if FASTKM_OPENMP else None


def openmp_max_threads():
    """Threads that OpenMP would start now; 1 without OpenMP."""
    return fastkm_max_threads()


def openmp_n_procs():
    """CPUs that OpenMP could run threads on now; 1 without OpenMP."""
    return fastkm_n_procs()


def compiler():
    """Name and version of the compiler that built the extension."""
    return FASTKM_COMPILER.decode()
