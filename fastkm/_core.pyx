"""Typed entry points over the C kernels: cheap re-checks, no GIL, OpenMP over blocks of rows.

Nothing here judges user input or decides anything: shapes and dtypes are re-checked so that a wrong call is an
exception and not a crash, memory is allocated once per object, and rows are handed to the kernels block by block.
With one thread no OpenMP call is made, so a forked child is safe.
"""

from cpython.buffer cimport (
    Py_buffer, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer,
)
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, rint, sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

import os

cdef extern from "kernels.h" nogil:
    enum:
        FASTKM_BLOCK_ROWS
        FASTKM_CELL_ROWS
        FASTKM_LARGEST_CODE
        FASTKM_STEP_PARTS
        FASTKM_CELLS_BESIDE
        FASTKM_BLOCKS_BESIDE
        FASTKM_TILE_CENTROIDS
        FASTKM_RIVALS
        FASTKM_EXACT_LANES
        FASTKM_MAX_CANDIDATES
        FASTKM_ALIGN
        FASTKM_GROUP_CELLS
        FASTKM_MAX_HALVINGS
        FASTKM_F16, FASTKM_F32, FASTKM_F64
        FASTKM_I8, FASTKM_U8, FASTKM_I16, FASTKM_U16
        FASTKM_I32, FASTKM_U32, FASTKM_I64, FASTKM_U64

    ctypedef struct fastkm_points:
        const char* base
        int64_t n, d, row_stride, col_stride
        int32_t dtype

    ctypedef struct fastkm_frame:
        const double* shift
        const float* shift_f32
        double scale, exact_scale

    ctypedef struct fastkm_centroids:
        int64_t k, d
        const double* raw
        float* tiles
        float* sq_norms
        double* exact
        float max_norm

    ctypedef struct fastkm_byte_centroids:
        int8_t* tiles
        float* framed
        float* factors
        int32_t* offsets
        float* norms
        float* offs
        float* fixed
        float* squares

    ctypedef struct fastkm_byte_work:
        uint8_t* codes
        float* lowers
        float* row
        int64_t n_failed, n_to_skip, is_always
        double share
        int64_t n_tried, n_open, n_listed, n_distances, n_exact

    ctypedef struct fastkm_panels:
        float* values
        float* sq_norms

    ctypedef struct fastkm_scratch:
        float* panel
        double* row
        double* dists

    ctypedef struct fastkm_sums:
        const double* scale
        double low_scale
        uint64_t* sums
        uint64_t* low_sums
        int64_t* counts
        int64_t j_begin, j_end

    ctypedef struct fastkm_basis:
        int64_t p
        const float* tiles
        const double* directions
        int64_t stride
        float skew

    ctypedef struct fastkm_sketches:
        float* panels
        float* sq_norms
        float* errors

    ctypedef struct fastkm_centroid_sketches:
        const int32_t* order
        const int32_t* place
        int64_t head
        float* tiles
        float* sq_norms
        float* rests
        float* errors
        float* moves
        float* drifts
        float* framed
        double* inside

    ctypedef struct fastkm_codes:
        int64_t p, stride
        const float* sketch_steps
        float step
        int8_t* panels
        int8_t* rows
        float* sq_norms
        float* sketch_errors
        float* errors

    ctypedef struct fastkm_proposal:
        const fastkm_centroids* candidates
        const double* closest
        uint32_t* masks
        double* gains
        double* errors

    ctypedef struct fastkm_labelling:
        const fastkm_centroids* centroids
        int32_t* labels

    ctypedef struct fastkm_sketched:
        fastkm_codes codes
        const float* tiles
        const float* sq_norms
        float max_norm, max_error, stretch
        const int16_t* rows
        const float* row_errors
        float max_row_error

    ctypedef struct fastkm_kept_cells:
        int64_t n, d
        const int32_t* order
        fastkm_panels panels
        float* boxes
        float* norms

    ctypedef struct fastkm_cell_state:
        double* closest
        float* limits
        float* reaches
        uint32_t* live
        uint64_t* masks
        uint8_t* touched

    ctypedef struct fastkm_gaps:
        int64_t k, n_tiles, stride
        const int32_t* order
        const int32_t* place_of
        double* raw
        float* tiles
        float* sq_norms
        float* fixed
        float* growing
        float* drifts
        float* tile_drifts
        float* gaps
        int32_t* own

    ctypedef struct fastkm_gap_scratch:
        int32_t* tiles
        float* best
        float* second

    ctypedef struct fastkm_splits:
        int32_t depth
        const int32_t* features
        const double* thresholds

    ctypedef struct fastkm_row_bounds:
        float sq_norm, error, own_rest
        int32_t[FASTKM_RIVALS] rivals

    ctypedef struct fastkm_travel:
        double alone, with_fastest

    ctypedef struct fastkm_row_gaps:
        int32_t rival
        float to_rival, to_others

    ctypedef struct fastkm_filter:
        int64_t p, head
        const int32_t* order
        const int32_t* slots
        float* sketches
        fastkm_row_bounds* bounds
        fastkm_centroid_sketches centroids
        float max_norm, max_error, stretch
        double* drifts
        double* tile_moves
        double* panel_moves
        float* gaps
        bint by_rows
        fastkm_travel* travels
        fastkm_row_gaps* row_gaps

    ctypedef struct fastkm_filter_work:
        float* panel
        float* products
        int32_t* tiles
        int32_t* moved
        int64_t n_moved, n_products, n_rows_read, n_distances, n_forced_rows

    ctypedef struct fastkm_cell_plan:
        int32_t n_halvings

    ctypedef struct fastkm_transposed:
        int64_t k, stride
        float* columns
        float* sq_norms
        float* fixed
        float* growing
        int32_t* indices

    ctypedef struct fastkm_cells:
        const int32_t* rows
        const int64_t* begins
        const int64_t* groups
        float* boxes
        fastkm_transposed table

    ctypedef struct fastkm_cell_scratch:
        fastkm_transposed table
        float* box
        float* products
        float* tiles
        float* sq_norms
        int32_t** lists

    ctypedef struct fastkm_cell_work:
        int64_t n_products, n_exact, n_changed

    ctypedef struct fastkm_silhouette:
        const int32_t* order
        const int64_t* begins
        const int32_t* queries
        const int32_t* clusters
        double* sums
        double* own
        double* other
        double* reaches

    ctypedef struct fastkm_silhouette_scratch:
        int64_t n_targets
        float* tiles
        float* target_norms
        float* panels
        float* norms

    ctypedef struct fastkm_weighted_sums:
        const double* shift
        double* sums
        double* weights
        int64_t j_begin, j_end

    ctypedef struct fastkm_moments:
        const double* origin
        double* sum
        double* sum_sq
        double* min
        double* max

    ctypedef struct fastkm_columns:
        double* mean
        double* variance
        double* shift
        float* shift_f32
        double* sum_scale

    ctypedef struct fastkm_extent:
        double reach, largest

    ctypedef struct fastkm_sparse:
        const void* values
        const void* columns
        const int64_t* starts
        int64_t n, d
        int32_t is_double, is_wide
        double scale
        double* sq_norms

    ctypedef struct fastkm_sparse_centroids:
        int64_t k, d
        const double* raw
        double* bundles
        double* sq_norms
        double* sq_norm_tails
        int32_t* columns
        int64_t* n_columns
        double max_norm

    ctypedef struct fastkm_sparse_scratch:
        double* row
        double* dists

    ctypedef struct fastkm_lesson:
        const double* centroids
        const double* counts
        const double* weights
        const int64_t* rows
        const int64_t* begins
        double exact_scale
        double* moved
        double* moved_counts
        double* sq_dists

    ctypedef struct fastkm_sparse_gathered:
        const int64_t* sources
        const int64_t* starts
        void* values
        int32_t* columns
        double* sq_norms

    ctypedef struct fastkm_sparse_kernels:
        void (*norms)(const fastkm_sparse*, int64_t, int64_t) noexcept nogil
        void (*pack)(const fastkm_sparse_centroids*, double, int64_t, int64_t) noexcept nogil
        void (*pack_norm)(const fastkm_sparse_centroids*, double, int64_t) noexcept nogil
        int64_t (*assign)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t, int64_t, int,
                          fastkm_sparse_scratch*, int32_t*) noexcept nogil
        int64_t (*accumulate)(const fastkm_sparse*, int64_t, int64_t, const int32_t*, const int32_t*,
                              const fastkm_sums*) noexcept nogil
        void (*means)(const fastkm_sums*, int64_t, int64_t, int64_t, double*) noexcept nogil
        void (*accumulate_weighted)(const fastkm_sparse*, int64_t, int64_t, const int32_t*,
                                    const double*, const fastkm_weighted_sums*) noexcept nogil
        void (*own_sq_dists)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t, int64_t,
                             const int32_t*, fastkm_sparse_scratch*, double*) noexcept nogil
        double (*own_sq_dist)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t, int32_t,
                              fastkm_sparse_scratch*) noexcept nogil
        void (*sq_dists)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t,
                         fastkm_sparse_scratch*) noexcept nogil
        void (*propose)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t, int64_t,
                        const double*, const double*, int, fastkm_sparse_scratch*, uint32_t*,
                        double*, double*) noexcept nogil
        void (*accept)(const fastkm_sparse*, const fastkm_sparse_centroids*, int64_t, int64_t, int64_t,
                       const uint32_t*, double*) noexcept nogil
        void (*describe)(const fastkm_sparse*, int64_t, int64_t, int64_t*, const fastkm_moments*) noexcept nogil
        void (*gather)(const fastkm_sparse*, const fastkm_sparse_gathered*, int64_t, int64_t) noexcept nogil
        void (*learn)(const fastkm_sparse*, const fastkm_sparse_centroids*, const fastkm_lesson*, int64_t,
                      int64_t, fastkm_sparse_scratch*) noexcept nogil

    ctypedef struct fastkm_kernels:
        const char* isa
        int32_t panel_rows
        float (*pack)(const fastkm_frame*, const fastkm_centroids*, int64_t, int64_t) noexcept nogil
        int64_t (*assign)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                          int64_t, int64_t, int, fastkm_scratch*, int32_t*) noexcept nogil
        int64_t (*assign_kept)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                               const fastkm_panels*, int64_t, int64_t, fastkm_scratch*, int32_t*) noexcept nogil
        int64_t (*assign_beside)(const fastkm_points*, const fastkm_frame*, const fastkm_labelling*, int64_t,
                                 int64_t, int64_t, fastkm_scratch*) noexcept nogil
        void (*pack_bytes)(const fastkm_frame*, const fastkm_centroids*, const fastkm_byte_centroids*,
                           int64_t, int64_t) noexcept nogil
        double (*least_share_in_bytes)(int64_t, int64_t, int64_t) noexcept nogil
        int64_t (*assign_bytes)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                                const fastkm_byte_centroids*, int64_t, int64_t, fastkm_scratch*,
                                fastkm_byte_work*, int32_t*) noexcept nogil
        int64_t (*orthonormalise)(double*, const double*, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*take_off_block)(double*, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        double (*length_of)(const double*, int64_t) noexcept nogil
        double (*skewness)(const double*, int64_t, int64_t) noexcept nogil
        void (*sketch)(const fastkm_points*, const fastkm_frame*, const fastkm_basis*, int64_t, int64_t,
                       fastkm_scratch*, const fastkm_sketches*) noexcept nogil
        void (*sketch_rows)(const fastkm_points*, const fastkm_frame*, const fastkm_basis*, int64_t, int64_t,
                            fastkm_scratch*, float*, const fastkm_filter*) noexcept nogil
        void (*measure_rows)(const fastkm_points*, const fastkm_frame*, int64_t, int64_t, const int32_t*,
                             fastkm_scratch*, const fastkm_filter*) noexcept nogil
        void (*follow)(const fastkm_frame*, const fastkm_basis*, const double*, const double*, int64_t, int64_t,
                       int64_t, int64_t, const fastkm_centroid_sketches*) noexcept nogil
        void (*assign_filtered)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                                const fastkm_filter*, int64_t, int64_t, const int32_t*, fastkm_scratch*,
                                fastkm_filter_work*, int32_t*) noexcept nogil
        int64_t (*accumulate)(const fastkm_points*, int64_t, int64_t, const int32_t*,
                              const int32_t*, fastkm_scratch*, const fastkm_sums*) noexcept nogil
        void (*means)(const fastkm_sums*, int64_t, int64_t, int64_t, double*) noexcept nogil
        void (*accumulate_weighted)(const fastkm_points*, int64_t, int64_t, const int32_t*,
                                    const double*, fastkm_scratch*, const fastkm_weighted_sums*) noexcept nogil
        void (*own_sq_dists)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                             int64_t, int64_t, const int32_t*, fastkm_scratch*, double*) noexcept nogil
        double (*sq_dist)(const double*, const double*, int64_t, double) noexcept nogil
        void (*distances)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*, int64_t,
                          int64_t, fastkm_scratch*, bint, void*) noexcept nogil
        void (*propose)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                        const fastkm_panels*, int64_t, int64_t, const double*, const double*,
                        fastkm_scratch*, uint32_t*, double*, double*) noexcept nogil
        void (*propose_beside)(const fastkm_points*, const fastkm_frame*, const fastkm_proposal*, int64_t, int64_t,
                               int64_t, const double*, fastkm_scratch*) noexcept nogil
        void (*encode)(const fastkm_points*, const fastkm_frame*, const fastkm_basis*, int64_t, int64_t,
                       fastkm_scratch*, float*, const fastkm_codes*) noexcept nogil
        int64_t (*propose_sketched)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                                    const fastkm_sketched*, int64_t, int64_t, const double*, const double*,
                                    float*, uint32_t*, double*, double*) noexcept nogil
        void (*settle)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*, int64_t, int64_t,
                       uint32_t, const double*, const double*, fastkm_scratch*, uint32_t*, double*) noexcept nogil
        int64_t (*accept)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                          int64_t, int64_t, int64_t, const uint32_t*, fastkm_scratch*, double*) noexcept nogil
        void (*split)(const double*, int64_t, int64_t, int32_t, char*, int32_t*, double*) noexcept nogil
        void (*sort)(const fastkm_points*, const fastkm_splits*, int64_t, int64_t, fastkm_scratch*,
                     uint16_t*) noexcept nogil
        void (*fill_cell)(const fastkm_points*, const fastkm_frame*, int64_t, char*,
                          const fastkm_kept_cells*) noexcept nogil
        void (*begin_cell)(const fastkm_frame*, const fastkm_kept_cells*, int64_t, const double*,
                           const fastkm_cell_state*) noexcept nogil
        void (*propose_group)(const fastkm_frame*, const fastkm_centroids*, const fastkm_kept_cells*, int64_t,
                              const double*, const fastkm_cell_state*, double*, double*) noexcept nogil
        void (*accept_cells)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                             const fastkm_kept_cells*, int64_t, int64_t, int64_t, fastkm_scratch*,
                             const fastkm_cell_state*, double*) noexcept nogil
        void (*sum_blocks)(const double**, double*) noexcept nogil
        void (*follow_gaps)(const fastkm_frame*, const fastkm_centroids*, int, const fastkm_gaps*) noexcept nogil
        void (*assign_by_gaps)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                               const fastkm_kept_cells*, const fastkm_gaps*, int64_t, int64_t, fastkm_scratch*,
                               fastkm_gap_scratch*, fastkm_cell_work*, const int32_t*, int32_t*,
                               const fastkm_sums*) noexcept nogil
        void (*fill_panels)(const fastkm_points*, const fastkm_frame*, int64_t, int64_t,
                            const fastkm_panels*) noexcept nogil
        void (*load)(const fastkm_points*, const int64_t*, int64_t, double*) noexcept nogil
        void (*describe)(const fastkm_points*, int64_t, int64_t, fastkm_scratch*,
                         const fastkm_moments*) noexcept nogil
        void (*plan_cells)(const fastkm_points*, const int32_t*, int64_t, fastkm_scratch*, double*, double*,
                           fastkm_cell_plan*) noexcept nogil
        void (*find_parts)(const fastkm_points*, const fastkm_cell_plan*, const double*, const int32_t*, int64_t,
                           int64_t, fastkm_scratch*, uint16_t*) noexcept nogil
        void (*bound_columns)(const fastkm_transposed*, int64_t) noexcept nogil
        void (*enclose)(const fastkm_points*, const fastkm_frame*, const fastkm_cells*, int64_t, int64_t,
                        fastkm_scratch*) noexcept nogil
        void (*assign_cells)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                             const fastkm_cells*, int64_t, int64_t, fastkm_scratch*, fastkm_cell_scratch*,
                             fastkm_cell_work*, const int32_t*, int32_t*, const fastkm_sums*) noexcept nogil
        int64_t (*accumulate_listed)(const fastkm_points*, const int32_t*, int64_t, const int32_t*, const int32_t*,
                                     fastkm_scratch*, const fastkm_sums*) noexcept nogil
        void (*find_origin)(const fastkm_points*, int64_t, fastkm_scratch*, double*) noexcept nogil
        int32_t (*join_moments)(const double*, int64_t, int64_t, int64_t, const double*, int32_t,
                                const fastkm_columns*, fastkm_extent*) noexcept nogil
        void (*silhouette)(const fastkm_points*, const fastkm_frame*, const fastkm_silhouette*, int64_t, int64_t,
                           int64_t, int64_t, fastkm_scratch*, const fastkm_silhouette_scratch*) noexcept nogil
        fastkm_sparse_kernels sparse
        void (*gather)(const fastkm_points*, const int64_t*, int64_t, char*) noexcept nogil
        void (*learn)(const fastkm_points*, const fastkm_lesson*, int64_t, int64_t, fastkm_scratch*) noexcept nogil

    const fastkm_kernels* fastkm_built(int index)
    bint fastkm_is_supported(const fastkm_kernels* kernels)
    size_t fastkm_scratch_bytes(const fastkm_kernels* kernels, int64_t d, int64_t k)
    int fastkm_sparse_check(const fastkm_sparse* rows, int64_t n_entries)
    fastkm_scratch fastkm_scratch_in(char* memory, const fastkm_kernels* kernels, int64_t d, int64_t k)

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


# ---- what was built, and what runs here ------------------------------------------------------

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


# ---- memory ------------------------------------------------------------------------------------

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    /* Larger pages where the system has them: fewer faults when they are first written, fewer misses when rows are read
     * here and there. */
    static void ask_for_large_pages(char* start, size_t n_bytes) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = 4096, begin = ((uintptr_t)start + page - 1) / page * page;
        (void)madvise((void*)begin, ((uintptr_t)start + n_bytes - begin) / page * page, MADV_HUGEPAGE);
    #else
        (void)start;
        (void)n_bytes;
    #endif
    }
    /* Whether the system would give so much memory now; none of it is touched. */
    static int is_room_for(size_t n_bytes) {
    #ifdef __linux__
        /* Not by malloc, which would keep what it has freed. */
        void* block = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return block != MAP_FAILED && munmap(block, n_bytes) == 0;
    #else
        void* block = malloc(n_bytes);
        free(block);
        return block != NULL;
    #endif
    }
    """
    void ask_for_large_pages(char*, size_t)
    int is_room_for(size_t)

cdef enum:
    LARGE_BYTES = 1 << 22


cdef class _Memory:
    """Aligned memory that lives as long as the object."""
    cdef void* block
    cdef char* start

    def __cinit__(self):
        self.block = NULL

    def __dealloc__(self):
        free(self.block)

    cdef int allocate(self, size_t n_bytes, bint zero=False) except -1:
        self.block = calloc(1, n_bytes + FASTKM_ALIGN) if zero else malloc(n_bytes + FASTKM_ALIGN)
        if self.block == NULL:
            raise MemoryError(f"fastkm could not allocate {n_bytes} bytes.")
        self.start = <char*>(
            (<uintptr_t>self.block + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        )
        if n_bytes >= LARGE_BYTES:
            ask_for_large_pages(self.start, n_bytes)
        return 0


def has_room(n_bytes):
    """Whether so many bytes could be allocated at once; the system may promise more than it has."""
    return n_bytes <= 1 << 20 or (n_bytes < 1 << 62 and is_room_for(n_bytes) != 0)


cdef size_t _size(int64_t rows, int64_t columns, int64_t itemsize) except? 0:
    """Bytes of an array, refused before they overflow."""
    if rows > 0 and columns > (1 << 60) // itemsize // rows:
        raise MemoryError(f"An array of shape ({rows}, {columns}) is too large for memory.")
    return <size_t>(rows * columns * itemsize)


# ---- the points and their coordinates ----------------------------------------------------------

cdef dict _DTYPES = {
    ("f", 2): FASTKM_F16, ("f", 4): FASTKM_F32, ("f", 8): FASTKM_F64,
    ("i", 1): FASTKM_I8, ("u", 1): FASTKM_U8, ("i", 2): FASTKM_I16, ("u", 2): FASTKM_U16,
    ("i", 4): FASTKM_I32, ("u", 4): FASTKM_U32, ("i", 8): FASTKM_I64, ("u", 8): FASTKM_U64,
}


cdef class Points:
    """X where the user keeps it: any numeric dtype and strides, read-only or not, never copied."""
    cdef Py_buffer buffer
    cdef bint is_held
    cdef fastkm_points points
    cdef readonly int64_t n
    cdef readonly int64_t d
    cdef readonly bint is_narrow

    def __cinit__(self, X):
        PyObject_GetBuffer(X, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.is_held = True
        if self.buffer.ndim != 2:
            raise ValueError(f"points must have 2 dimensions; got {self.buffer.ndim}.")
        code = self.buffer.format.decode().lstrip("@=")
        kind = "f" if code in "efd" else "i" if code in "bhilqn" else "u" if code in "?BHILQN" else ""
        dtype = _DTYPES.get((kind, self.buffer.itemsize))
        if len(code) != 1 or dtype is None:
            raise TypeError(f"points must have a native real dtype; got the format {code!r}.")
        self.n = self.buffer.shape[0]
        self.d = self.buffer.shape[1]
        if self.n < 1 or self.d < 1 or self.n >= 2**31:
            raise ValueError(
                f"points must have shape (n, d) with 1 <= n < 2**31 and d >= 1; got {(self.n, self.d)}."
            )
        self.points.base = <const char*>self.buffer.buf
        self.points.n = self.n
        self.points.d = self.d
        self.points.row_stride = self.buffer.strides[0]
        self.points.col_stride = self.buffer.strides[1]
        self.points.dtype = dtype
        self.is_narrow = dtype in (
            FASTKM_F16, FASTKM_F32, FASTKM_I8, FASTKM_U8, FASTKM_I16, FASTKM_U16
        )

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.buffer)


cdef class Frame:
    """Coordinates of the kernels: (x - shift) * scale in float32, x * exact_scale in float64."""
    cdef const double[::1] shift
    cdef const float[::1] shift_f32
    cdef fastkm_frame frame

    def __init__(self, const double[::1] shift, const float[::1] shift_f32, double scale,
                 double exact_scale):
        if shift.shape[0] != shift_f32.shape[0]:
            raise ValueError("shift and shift_f32 must have the same length.")
        self.shift = shift
        self.shift_f32 = shift_f32
        self.frame.shift = &shift[0]
        self.frame.shift_f32 = &shift_f32[0]
        self.frame.scale = scale
        self.frame.exact_scale = exact_scale


# ---- threads -----------------------------------------------------------------------------------

include "_core_load.pxi"


cdef int _threads_worth(int n_threads, int64_t n_tasks, double work) noexcept nogil:
    cdef double most = work / 2e6 + 1
    if n_threads > n_tasks:
        n_threads = <int>n_tasks
    if n_threads > most:
        n_threads = <int>most
    return threads_to_take(n_threads) if n_threads > 1 else 1


cdef class _Crew:
    """The threads of a call and each one's scratch memory."""
    cdef Points points
    cdef const fastkm_kernels* kernels
    cdef int n_threads
    cdef _Memory scratch_memory
    cdef _Memory scratch_table
    cdef fastkm_scratch* scratches

    def __cinit__(self, Points points not None, int64_t k, int n_threads, str isa not None):
        cdef int t
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}.")
        self.points = points
        self.kernels = _kernels(isa)
        self.n_threads = n_threads if FASTKM_OPENMP else 1
        cdef size_t n_bytes = fastkm_scratch_bytes(self.kernels, points.d, k)
        self.scratch_memory = _Memory()
        self.scratch_memory.allocate(n_bytes * self.n_threads)
        self.scratch_table = _Memory()
        self.scratch_table.allocate(self.n_threads * sizeof(fastkm_scratch))
        self.scratches = <fastkm_scratch*>self.scratch_table.start
        for t in range(self.n_threads):
            self.scratches[t] = fastkm_scratch_in(
                self.scratch_memory.start + t * n_bytes, self.kernels, points.d, k
            )

    cdef int threads_for(self, int64_t n_tasks, double work) noexcept nogil:
        """Threads worth waking for so many tasks and, in all, so many multiplications."""
        return _threads_worth(self.n_threads, n_tasks, work)


# Share of the rows that change their labels, below which these are listed, and their sums moved after the labelling:
# where each thread would otherwise add to sums of its own at once, and where each looks through all labels.
cdef double FEW_MOVED = 0.05
cdef double MANY_MOVED = 0.5


cdef int64_t _chunk(int64_t n_blocks, int n_threads, double work) noexcept nogil:
    """Blocks handed out at once: neighbours, whose rows are prefetched; but at least eight turns a thread."""
    cdef int64_t by_work = <int64_t>(2e6 / (work / n_blocks + 1)) + 4
    cdef int64_t by_turns = n_blocks // (8 * n_threads) + 1
    return by_work if by_work < by_turns else by_turns


# Rows of a task of distances: few, as each takes the time of k d multiplications.
cdef enum:
    DISTANCE_ROWS = 64


cdef char* _matrix(out, int64_t n_columns, bint* is_single) except NULL:
    """Return where out (n, n_columns), C-ordered, begins, and whether it holds float32 and not float64."""
    cdef float[:, ::1] singles
    cdef double[:, ::1] doubles
    if out.ndim != 2 or out.shape[1] != n_columns or out.shape[0] == 0:
        raise ValueError(f"out must have {n_columns} columns.")
    is_single[0] = out.itemsize == 4
    if is_single[0]:
        singles = out
        return <char*>&singles[0, 0]
    doubles = out
    return <char*>&doubles[0, 0]


cdef int _check_rows(int64_t n, int64_t length, int64_t start, int64_t stop) except -1:
    if length != n or start < 0 or stop < start or stop > n or start % FASTKM_BLOCK_ROWS:
        raise ValueError(
            f"rows {start} to {stop} of arrays of length {length} do not fit {n} points in blocks."
        )
    return 0


def find_origin(Points points not None, int64_t step, double[::1] origin, str isa):
    """Write the mean of every step-th row into origin (d,); 0 where it is not finite."""
    cdef _Crew crew = _Crew(points, 1, 1, isa)
    if origin.shape[0] != points.d or step < 1:
        raise ValueError(f"origin must have shape {(points.d,)} and step be positive; got step {step}.")
    crew.kernels.find_origin(&points.points, step, crew.scratches, &origin[0])


def join_moments(const double[:, :, ::1] moments, int64_t n, const double[::1] origin, int n_bits,
                 double[:, ::1] columns, float[::1] shift_f32, str isa):
    """Write the columns' mean, variance, shift and scale of sums into columns (4, d), and the shift in float32.

    Returns whether all sums are finite, the farthest that a value is from its column's mean, and the largest magnitude.
    """
    cdef int64_t d = origin.shape[0]
    cdef fastkm_columns target
    cdef fastkm_extent extent
    if d < 1 or moments.shape[0] < 1 or moments.shape[1] != 4 or moments.shape[2] != d or columns.shape[0] != 4 \
            or columns.shape[1] != d or shift_f32.shape[0] != d:
        raise ValueError(f"moments must have shape (n_segments, 4, {d}) and columns (4, {d}).")
    target.mean = &columns[0, 0]
    target.variance = &columns[1, 0]
    target.shift = &columns[2, 0]
    target.sum_scale = &columns[3, 0]
    target.shift_f32 = &shift_f32[0]
    is_finite = _kernels(isa).join_moments(&moments[0, 0, 0], moments.shape[0], n, d, &origin[0], n_bits, &target,
                                           &extent)
    return bool(is_finite), extent.reach, extent.largest


def describe(Points points not None, const double[::1] origin, double[:, :, ::1] moments,
             int64_t start, int64_t stop, int n_threads, str isa):
    """Write the moments of segments [start, stop) of the rows into moments (n_segments, 4, d).

    Row s holds segment s's sum and sum of squares of x - origin, minimum and maximum; a value that is not finite leaves
    a sum that is not. Segments are equal shares of the rows, so the result does not depend on n_threads.
    """
    cdef int64_t n_segments = moments.shape[0], n = points.n, d = points.d, s
    if origin.shape[0] != d or moments.shape[1] != 4 or moments.shape[2] != d:
        raise ValueError("origin must have shape (d,) and moments (n_segments, 4, d).")
    if start < 0 or stop > n_segments or start > stop:
        raise ValueError(f"segments {start} to {stop} are outside 0 to {n_segments}.")
    cdef _Crew crew = _Crew(points, 1, n_threads, isa)
    cdef int used = crew.threads_for(stop - start, <double>n * d)
    with nogil:
        if used == 1:
            for s in range(start, stop):
                _describe_segment(crew, origin, moments, s, 0)
        else:
            for s in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=1):
                _describe_segment(crew, origin, moments, s, threadid())


cdef void _describe_segment(_Crew crew, const double[::1] origin, double[:, :, ::1] moments,
                            int64_t s, int t) noexcept nogil:
    cdef int64_t n = crew.points.n, n_segments = moments.shape[0]
    cdef fastkm_moments target
    target.origin = &origin[0]
    target.sum = &moments[s, 0, 0]
    target.sum_sq = &moments[s, 1, 0]
    target.min = &moments[s, 2, 0]
    target.max = &moments[s, 3, 0]
    crew.kernels.describe(&crew.points.points, n * s // n_segments, n * (s + 1) // n_segments,
                          &crew.scratches[t], &target)


# ---- assignment and sums -----------------------------------------------------------------------

# A multiple of the sizes of both layouts' groups.
cdef enum:
    PACKED_AT_ONCE = FASTKM_TILE_CENTROIDS * FASTKM_EXACT_LANES // 2


cdef class Centroids:
    """k centroids in the layouts that the kernels stream; packed again for each new position."""
    cdef fastkm_centroids centroids
    cdef const double[:, ::1] raw
    cdef _Memory tiles
    cdef _Memory sq_norms
    cdef _Memory exact
    cdef readonly int64_t k
    cdef readonly int64_t d

    def __cinit__(self, int64_t k, int64_t d):
        if k < 1 or d < 1 or k >= 2**31:
            raise ValueError(f"centroids must have shape (k, d) with k, d >= 1; got {(k, d)}.")
        self.k = k
        self.d = d
        self.tiles = _Memory()
        self.tiles.allocate(_size(k, d, sizeof(float)))
        self.sq_norms = _Memory()
        self.sq_norms.allocate(_size(k, 1, sizeof(float)))
        self.exact = _Memory()
        self.exact.allocate(_size(k + FASTKM_EXACT_LANES, d, sizeof(double)))
        self.centroids.k = k
        self.centroids.d = d
        self.centroids.tiles = <float*>self.tiles.start
        self.centroids.sq_norms = <float*>self.sq_norms.start
        self.centroids.exact = <double*>self.exact.start

    cdef int pack(self, const double[:, ::1] raw, Frame frame, _Crew crew) except -1:
        cdef int64_t step = PACKED_AT_ONCE
        cdef int64_t n_tasks = (self.k + step - 1) // step, task
        cdef double work = 64.0 * self.k * self.d
        # Rows that are too few for a second thread wake none for the centroids, unless those are many.
        if crew.threads_for(crew.points.n, <double>self.k * self.d * crew.points.n) == 1:
            work /= 8
        cdef int used = crew.threads_for(n_tasks, work)
        cdef float norm, max_norm = 0
        cdef _Memory norms = _Memory()
        if raw.shape[0] != self.k or raw.shape[1] != self.d or frame.shift.shape[0] != self.d:
            raise ValueError(f"centroids must have shape {(self.k, self.d)}.")
        norms.allocate(_size(n_tasks, 1, sizeof(float)))
        cdef float* norm_of = <float*>norms.start
        self.raw = raw
        self.centroids.raw = &raw[0, 0]
        with nogil:
            if used == 1:
                for task in range(n_tasks):
                    norm_of[task] = crew.kernels.pack(
                        &frame.frame, &self.centroids, task * step, min(task * step + step, self.k)
                    )
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    norm_of[task] = crew.kernels.pack(
                        &frame.frame, &self.centroids, task * step, min(task * step + step, self.k)
                    )
        for task in range(n_tasks):
            norm = norm_of[task]
            if not norm <= max_norm:
                max_norm = norm
        self.centroids.max_norm = max_norm
        return 0


# A thread keeps sums of its own up to this size; larger ones are shared, each thread owning some of the centroids.
cdef enum:
    PRIVATE_SUMS_BYTES = 1024 * 1024
    MEANS_AT_ONCE = 4  # that a thread forms in one turn


cdef class Sums:
    """Exact sums and counts of the points of each label, kept up to date as labels change."""
    cdef fastkm_sums sums
    cdef const double[::1] scale
    cdef _Memory memory
    cdef _Memory private_memory
    cdef int64_t k, d
    cdef size_t n_bytes
    cdef int n_threads
    cdef readonly bint is_private  # to each thread, until a pass ends
    cdef double share_moved  # of the rows labelled last

    def __cinit__(self, int64_t k, const double[::1] scale, double low_scale, int n_threads):
        self.k = k
        self.d = scale.shape[0]
        self.scale = scale
        self.n_threads = n_threads
        self.n_bytes = _size(2 * k, self.d + 1, sizeof(uint64_t))
        self.n_bytes = (self.n_bytes + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.memory = _Memory()
        self.memory.allocate(self.n_bytes, zero=True)
        self.is_private = n_threads == 1 or self.n_bytes <= PRIVATE_SUMS_BYTES
        if n_threads > 1 and self.is_private:
            self.private_memory = _Memory()
            self.private_memory.allocate(self.n_bytes * n_threads)
        self.share_moved = 1
        self.sums.scale = &scale[0]
        self.sums.low_scale = low_scale
        self.sums.j_begin = 0
        self.sums.j_end = k
        self.place(&self.sums, self.memory.start)

    cdef void place(self, fastkm_sums* sums, char* memory) noexcept nogil:
        sums.sums = <uint64_t*>memory
        sums.low_sums = sums.sums + self.k * self.d
        sums.counts = <int64_t*>(sums.low_sums + self.k * self.d)

    cdef fastkm_sums private_sums(self, int t) noexcept nogil:
        cdef fastkm_sums mine = self.sums
        self.place(&mine, self.private_memory.start + t * self.n_bytes)
        return mine

    cdef fastkm_sums owned(self, int64_t owner, int64_t n_owners) noexcept nogil:
        """Those of a range of centroids."""
        cdef fastkm_sums mine = self.sums
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        return mine

    cdef void clear_private(self, int used) noexcept nogil:
        memset(self.private_memory.start, 0, self.n_bytes * used)

    cdef void merge_private(self, int used) noexcept nogil:
        # Sums and counts lie one behind the other, and all are integers.
        cdef uint64_t* mine
        cdef int t
        cdef int64_t item
        for t in range(used):
            mine = self.private_sums(t).sums
            for item in range(self.k * (2 * self.d + 1)):
                self.sums.sums[item] += mine[item]

    def counts(self, int64_t[::1] out):
        """Write the number of points of each label into out (k,); return how many labels have none."""
        cdef int64_t j, n_empty = 0
        if out.shape[0] != self.k:
            raise ValueError(f"out must have shape {(self.k,)}.")
        for j in range(self.k):
            out[j] = self.sums.counts[j]
            n_empty += out[j] == 0
        return n_empty


def sq_shift(const double[:, ::1] centroids, const double[:, ::1] moved, str isa):
    """Return the sum of the squared differences of two arrays (k, d)."""
    cdef int64_t k = centroids.shape[0], d = centroids.shape[1]
    if k < 1 or d < 1 or moved.shape[0] != k or moved.shape[1] != d:
        raise ValueError(f"moved must have shape {(k, d)}; got {(moved.shape[0], moved.shape[1])}.")
    return _kernels(isa).sq_dist(&centroids[0, 0], &moved[0, 0], k * d, 1)


cdef struct _Round:
    # One pass over some rows: where to begin, and what to write.
    int64_t start, stop
    int64_t block_rows  # of a task
    int32_t* labels
    const int32_t* labels_old
    bint recheck
    bint accumulates  # at once, block by block
    int32_t* moved  # room for rows whose labels change, each block's from its own first place on; or NULL
    int64_t* n_moved_of  # of each block


include "_core_bytes.pxi"


cdef class Engine  # whose centroids the neighbours look at
cdef class Cells  # whose rows are labelled by gaps


include "_core_filter.pxi"
include "_core_neighbours.pxi"
include "_core_gaps.pxi"


# Products of so many features may not fit 32 bits, and centroids of so large a norm not float32.
cdef enum:
    MOST_BYTE_FEATURES = 1 << 15
cdef float LARGEST_BYTE_NORM = <float>1e15


cdef class Engine:
    """Labels, distances and sums of points under k centroids."""
    cdef Points points
    cdef Frame frame
    cdef Centroids centroids
    cdef _Crew crew
    cdef Filter filter
    cdef Neighbours neighbours
    cdef CellGaps gaps
    cdef _Bytes bytes
    cdef bint has_bytes
    cdef _Memory exact_counts
    cdef int64_t* n_exact_of
    cdef _Memory moved_memory
    cdef readonly int64_t k
    cdef double row_work

    def __cinit__(self, Points points not None, Frame frame not None, int64_t k, int n_threads,
                  str isa not None):
        if frame.shift.shape[0] != points.d:
            raise ValueError(f"The frame has {frame.shift.shape[0]} features, the points {points.d}.")
        self.points = points
        self.frame = frame
        self.k = k
        self.centroids = Centroids(k, points.d)
        self.crew = _Crew(points, k, n_threads, isa)
        self.exact_counts = _Memory()
        self.exact_counts.allocate(self.crew.n_threads * FASTKM_ALIGN, zero=True)
        self.n_exact_of = <int64_t*>self.exact_counts.start
        self.row_work = <double>k * points.d

    @property
    def in_bytes(self):
        """Whether rows are labelled by products of bytes where these pay."""
        return self.bytes is not None

    @property
    def pays_in_bytes(self):
        """Whether products of bytes are used, and panels tried last did not cost more than brute force."""
        return self.bytes is not None and self.bytes.pays()

    @property
    def least_share_in_bytes(self):
        """Of what brute force costs, the share that products of bytes do at least, infinite where there are none."""
        if self.crew.kernels.assign_bytes == NULL or self.points.d > MOST_BYTE_FEATURES:
            return float("inf")
        return self.crew.kernels.least_share_in_bytes(self.points.n, self.points.d, self.k)

    def byte_work(self):
        """Return the rows tried in bytes, those left open, and the distances listed and measured of these.

        All since use_bytes.
        """
        return (0, 0, 0, 0) if self.bytes is None else self.bytes.work()

    @property
    def n_exact(self):
        """Rows decided in float64 since the engine was made."""
        cdef int t
        return sum(self.n_exact_of[t * 8] for t in range(self.crew.n_threads))

    def set_centroids(self, const double[:, ::1] centroids):
        """Take centroids (k, d), which must not change before the engine has been given the next ones."""
        cdef const double[:, ::1] old = self.centroids.raw
        self.centroids.pack(centroids, self.frame, self.crew)
        self.has_bytes = (self.bytes is not None and self.filter is None and self.neighbours is None
                          and self.gaps is None and self.centroids.centroids.max_norm < LARGEST_BYTE_NORM
                          and self.bytes.is_due())
        if self.has_bytes:
            self.bytes.pack(&self.centroids.centroids, &self.frame.frame)
        if self.filter is not None:
            self.filter.move(old, centroids, self.frame, self.crew)
        if self.neighbours is not None:
            self.neighbours.follow(&self.centroids.centroids)
        if self.gaps is not None:
            self.gaps.follow(&self.centroids.centroids)

    def use_bytes(self, bint wanted=True, bint always=False):
        """Label rows by products of bytes where these pay, from the next centroids on; or do not; or always.

        Not all instruction sets have them, nor so many features.
        """
        self.bytes = None
        if wanted and self.crew.kernels.assign_bytes != NULL and self.points.d <= MOST_BYTE_FEATURES:
            self.bytes = _Bytes(self.k, self.points.d, self.crew, always)
        self.has_bytes = False

    def use_neighbours(self, Neighbours neighbours):
        """Label the rows cell by cell, from now on; None ends that.

        Then assign takes [start, stop) in the order of the cells, and labels the groups that begin there. After
        slices of all rows all are labelled.
        """
        if neighbours is not None:
            if neighbours.crew.points is not self.points or neighbours.frame is not self.frame \
                    or neighbours.k != self.k or neighbours.crew.kernels != self.crew.kernels \
                    or neighbours.crew.n_threads < self.crew.n_threads:
                raise ValueError("The neighbours must be of the engine's points, and for its threads.")
            if not neighbours.is_cut or neighbours.n_enclosed < neighbours.n_cells:
                raise ValueError("The neighbours must be cut into cells, and these enclosed.")
        self.check_centroids()
        self.neighbours = neighbours
        if neighbours is not None:
            neighbours.follow(&self.centroids.centroids)

    def use_gaps(self, CellGaps gaps, const int32_t[::1] labels=None):
        """Label the rows of kept cells by gaps, from now on; None ends that.

        labels are the points' last ones, -1 where they have none, which the next call to assign must be given too.
        Then assign takes [start, stop) in the order of the cells. After slices of all rows, from 0 on, all are
        labelled.
        """
        if gaps is not None:
            if gaps.cells.points is not self.points or gaps.cells.frame is not self.frame or gaps.k != self.k \
                    or gaps.crew.kernels != self.crew.kernels or gaps.crew.n_threads < self.crew.n_threads:
                raise ValueError("The gaps must be of the engine's points, and for its threads.")
            if labels is None:
                raise ValueError("Gaps begin with labels.")
            gaps.begin(labels)
        self.gaps = gaps

    def use_filter(self, Filter filter, const int32_t[::1] labels=None):
        """Leave out what the filter excludes, from now on; None ends that.

        labels are the points' last ones, which the next call to assign must be given too. All rows must be sketched
        before it.
        """
        self.check_centroids()
        if filter is not None:
            self.check_filter(filter)
            if labels is None:
                raise ValueError("A filter begins with labels.")
            filter.move(self.centroids.raw, self.centroids.raw, self.frame, self.crew)
            filter.begin(labels)
        self.filter = filter

    cdef int check_filter(self, Filter filter) except -1:
        if filter.n != self.points.n or filter.d != self.points.d or filter.k != self.k \
                or filter.panel_rows != self.crew.kernels.panel_rows or filter.n_threads < self.crew.n_threads:
            raise ValueError("The filter must fit the engine.")
        return 0

    def sketch(self, int64_t start, int64_t stop):
        """Sketch rows [start, stop) for the filter, and measure their distances to their labels' centroids.

        Sketches of an earlier run stay.
        """
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used
        if self.filter is None or self.filter.labels is None:
            raise ValueError("There is no filter to sketch for: call use_filter first.")
        used = self.crew.threads_for(n_blocks, <double>(stop - start) * self.points.d * self.filter.basis.p)
        _check_rows(self.points.n, self.filter.n, start, stop)
        with nogil:
            if used == 1:
                self.sketch_rows(start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.sketch_rows(start + b * FASTKM_BLOCK_ROWS,
                                     min(start + (b + 1) * FASTKM_BLOCK_ROWS, stop), threadid())

    cdef void sketch_rows(self, int64_t start, int64_t stop, int t) noexcept nogil:
        if not self.filter.is_sketched:
            self.crew.kernels.sketch_rows(&self.points.points, &self.frame.frame, &self.filter.basis.basis, start,
                                          stop, &self.crew.scratches[t], self.filter.panel_of(t),
                                          &self.filter.filter)
        self.crew.kernels.measure_rows(&self.points.points, &self.frame.frame, start, stop, &self.filter.labels[0],
                                       &self.crew.scratches[t], &self.filter.filter)

    def filter_work(self):
        """Return the products in sketches, the rows read, the distances measured and the rows labelled by force.

        Of all passes since the last call.
        """
        cdef int64_t[4] total = [0, 0, 0, 0]
        cdef int t, item
        for t in range(self.crew.n_threads):
            for item in range(4):
                total[item] += self.n_exact_of[t * 8 + 1 + item]
                self.n_exact_of[t * 8 + 1 + item] = 0
        return total[0], total[1], total[2], total[3]

    cdef int64_t label_block(self, const _Round* task, int64_t i, int64_t end, int t) noexcept nogil:
        """Label rows [i, end); return how many change their labels, if there is a place to list them."""
        cdef fastkm_filter_work work
        if self.filter is None and self.has_bytes and task.recheck:
            self.n_exact_of[t * 8] += self.crew.kernels.assign_bytes(
                &self.points.points, &self.frame.frame, &self.centroids.centroids, &self.bytes.bytes, i, end,
                &self.crew.scratches[t], &self.bytes.works[t], task.labels + i
            )
            return self.list_moved(task, i, end)
        if self.filter is None:
            self.n_exact_of[t * 8] += self.crew.kernels.assign(
                &self.points.points, &self.frame.frame, &self.centroids.centroids, i, end, task.recheck,
                &self.crew.scratches[t], task.labels + i
            )
            return self.list_moved(task, i, end)
        work.panel = self.filter.panel_of(t)
        work.products = self.filter.products_of(t)
        work.tiles = self.filter.tiles_of(t)
        work.moved = NULL
        if task.moved != NULL:
            work.moved = task.moved + (i - task.start)
        work.n_moved = work.n_products = work.n_rows_read = work.n_distances = work.n_forced_rows = 0
        self.crew.kernels.assign_filtered(
            &self.points.points, &self.frame.frame, &self.centroids.centroids, &self.filter.filter, i, end,
            task.labels_old, &self.crew.scratches[t], &work, task.labels
        )
        self.n_exact_of[t * 8 + 1] += work.n_products
        self.n_exact_of[t * 8 + 2] += work.n_rows_read
        self.n_exact_of[t * 8 + 3] += work.n_distances
        self.n_exact_of[t * 8 + 4] += work.n_forced_rows
        return work.n_moved

    cdef int check_centroids(self) except -1:
        if self.centroids.centroids.raw == NULL:
            raise ValueError("The engine has no centroids yet: call set_centroids first.")
        return 0

    cdef int64_t assign_block(self, const _Round* task, Sums sums, bint is_serial, int64_t b, int t) noexcept nogil:
        cdef int64_t i = task.start + b * task.block_rows
        cdef int64_t end = min(i + task.block_rows, task.stop)
        cdef int64_t n_moved = self.label_block(task, i, end, t)
        cdef fastkm_sums mine
        if task.moved != NULL:
            task.n_moved_of[b] = n_moved
        if not task.accumulates:
            return 0
        mine = sums.sums if is_serial else sums.private_sums(t)
        if task.moved == NULL:
            return self.crew.kernels.accumulate(&self.points.points, i, end, task.labels_old, task.labels,
                                                &self.crew.scratches[t], &mine)
        return self.crew.kernels.accumulate_listed(&self.points.points, task.moved + (i - task.start), n_moved,
                                                   task.labels_old, task.labels, &self.crew.scratches[t], &mine)

    cdef int64_t list_moved(self, const _Round* task, int64_t start, int64_t stop) noexcept nogil:
        """List which of the rows change their labels; return how many, 0 without a list."""
        cdef int32_t* moved = task.moved + (start - task.start)
        cdef int64_t i, n_moved = 0
        if task.moved == NULL:
            return 0
        for i in range(start, stop):
            moved[n_moved] = <int32_t>i
            n_moved += task.labels[i] != task.labels_old[i]
        return n_moved

    cdef int64_t move_listed(self, const _Round* task, int64_t n_blocks, Sums sums, int used) noexcept nogil:
        """Move the sums of the rows that blocks have listed; return how many these are."""
        cdef int64_t n_moved = 0, b, owner, n_owners
        for b in range(n_blocks):
            memmove(task.moved + n_moved, task.moved + b * task.block_rows, task.n_moved_of[b] * sizeof(int32_t))
            n_moved += task.n_moved_of[b]
        used = _threads_worth(used, self.k, 4.0 * n_moved * self.points.d)
        if used == 1:
            self.crew.kernels.accumulate_listed(&self.points.points, task.moved, n_moved, task.labels_old,
                                                task.labels, &self.crew.scratches[0], &sums.sums)
        else:
            n_owners = min(<int64_t>(4 * used), self.k)
            for owner in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                self.move_owned(task, n_moved, sums, owner, n_owners, threadid())
        return n_moved

    cdef void move_owned(self, const _Round* task, int64_t n_moved, Sums sums, int64_t owner, int64_t n_owners,
                         int t) noexcept nogil:
        cdef fastkm_sums mine = sums.owned(owner, n_owners)
        self.crew.kernels.accumulate_listed(&self.points.points, task.moved, n_moved, task.labels_old, task.labels,
                                            &self.crew.scratches[t], &mine)

    cdef int64_t accumulate_owned(self, const _Round* task, Sums sums, int64_t owner, int64_t n_owners,
                                  int t) noexcept nogil:
        cdef fastkm_sums mine = sums.owned(owner, n_owners)
        return self.crew.kernels.accumulate(&self.points.points, task.start, task.stop, task.labels_old,
                                            task.labels, &self.crew.scratches[t], &mine)

    def assign(self, int32_t[::1] labels, int64_t start, int64_t stop, const int32_t[::1] labels_old=None,
               Sums sums=None, bint recheck=True):
        """Label rows [start, stop); with labels_old and sums, also move the sums of rows whose label changed.

        With a filter, [start, stop) is of its order, and labels_old holds the labels under the last centroids;
        without labels_old, labels does. With neighbours, see use_neighbours.
        Returns the number of changed labels, 0 without sums.
        """
        cdef _Round task
        cdef int64_t block_rows = FASTKM_BLOCK_ROWS
        if self.filter is not None:
            block_rows = self.filter.rows_at_once(stop - start)
        cdef int64_t n_blocks = (stop - start + block_rows - 1) // block_rows
        cdef int64_t n_changed = 0, b, n_owners, chunk
        cdef double work = self.row_work * (stop - start)
        cdef int used = self.crew.threads_for(n_blocks, work)
        cdef bint is_serial = used == 1, few_move
        self.check_centroids()
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sums is not None:
            if labels_old is None or labels_old.shape[0] != self.points.n or sums.k != self.k \
                    or sums.d != self.points.d or sums.n_threads < used:
                raise ValueError("sums and labels_old must fit the engine.")
        if labels_old is not None and labels_old.shape[0] != self.points.n:
            raise ValueError("labels_old must have one label per point.")
        task.labels_old = &labels[0]
        if labels_old is not None:
            task.labels_old = &labels_old[0]
        if self.filter is not None:
            self.filter.check_labels(task.labels_old, start, stop, used)
        task.start = start
        task.stop = stop
        task.block_rows = block_rows
        task.labels = &labels[0]
        task.recheck = recheck
        task.moved = NULL
        task.accumulates = sums is not None and (is_serial or sums.is_private)
        if sums is not None and self.gaps is None and self.neighbours is None:
            few_move = sums.share_moved < (FEW_MOVED if task.accumulates else MANY_MOVED)
            task.accumulates = task.accumulates and not few_move
            if few_move or self.filter is not None:  # which lists them in passing
                self.make_list(&task, n_blocks)
        if self.gaps is not None:
            return self.gaps.assign(&task, &self.centroids.centroids, sums)
        if self.neighbours is not None:
            return self.neighbours.assign(&task, &self.centroids.centroids, sums, used)
        with nogil:
            if is_serial:
                for b in range(n_blocks):
                    n_changed += self.assign_block(&task, sums, True, b, 0)
            else:
                chunk = _chunk(n_blocks, used, work)
                if task.accumulates:
                    sums.clear_private(used)
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    n_changed += self.assign_block(&task, sums, False, b, threadid())
                if task.accumulates:
                    sums.merge_private(used)
        if task.moved != NULL and not task.accumulates:
            n_changed = self.move_listed(&task, n_blocks, sums, used)
        elif sums is not None and not task.accumulates:
            n_owners = min(<int64_t>(4 * used), self.k)
            with nogil:
                for b in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.accumulate_owned(&task, sums, b, n_owners, threadid())
            n_changed //= n_owners  # every owner counted all of them
        if sums is not None:
            sums.share_moved = <double>n_changed / max(stop - start, 1)
        return n_changed

    cdef int make_list(self, _Round* task, int64_t n_blocks) except -1:
        if self.moved_memory is None:
            self.moved_memory = _Memory()
            self.moved_memory.allocate(_size(self.points.n, 1, sizeof(int32_t)) + FASTKM_ALIGN
                                       + _size(self.points.n // FASTKM_BLOCK_ROWS + 1, 1, sizeof(int64_t)))
        task.n_moved_of = <int64_t*>self.moved_memory.start
        task.moved = <int32_t*>(task.n_moved_of + n_blocks)
        return 0

    def assign_and_measure(self, int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Label rows [start, stop) and write their squared distances to their centroids, times exact_scale^2.

        What assign and then own_sq_dists write, while each block of rows is in cache.
        """
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b, chunk
        cdef double work = self.row_work * (stop - start)
        cdef int used = self.crew.threads_for(n_blocks, work)
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sq_dists.shape[0] != self.points.n:
            raise ValueError("sq_dists must have one value per point.")
        task.start = start
        task.stop = stop
        task.block_rows = FASTKM_BLOCK_ROWS
        task.labels = &labels[0]
        task.recheck = True
        task.moved = NULL
        task.accumulates = False
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&task, None, True, b, 0)
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, 0)
            else:
                chunk = _chunk(n_blocks, used, work)
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    self.assign_block(&task, None, True, b, threadid())
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, threadid())

    def means(self, Sums sums not None, double[:, ::1] centroids):
        """Write the mean of each label's points into centroids (k, d); labels without points keep theirs."""
        cdef int64_t step = MEANS_AT_ONCE, n_tasks = (self.k + step - 1) // step, task
        cdef int used = self.crew.threads_for(n_tasks, 256.0 * self.k * self.points.d)
        if centroids.shape[0] != sums.k or centroids.shape[1] != sums.d or sums.k != self.k:
            raise ValueError(f"centroids must have shape {(sums.k, sums.d)}.")
        with nogil:
            if used == 1:
                self.crew.kernels.means(&sums.sums, sums.d, 0, sums.k, &centroids[0, 0])
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    self.crew.kernels.means(&sums.sums, sums.d, task * step, min(task * step + step, sums.k),
                                            &centroids[0, 0])

    def accumulate_weighted(self, const int32_t[::1] labels, const double[::1] weights, const double[::1] shift,
                            double[:, ::1] sums, double[::1] weight_sums, int64_t start, int64_t stop):
        """Add weight * (x - shift) of rows [start, stop) to their labels' sums (k, d), in ascending order."""
        cdef int64_t n_owners = min(<int64_t>(4 * self.crew.n_threads), self.k), owner
        cdef int used = self.crew.threads_for(n_owners, <double>(stop - start) * self.points.d)
        cdef fastkm_weighted_sums target
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if weights.shape[0] != self.points.n or shift.shape[0] != self.points.d or \
                sums.shape[0] != self.k or sums.shape[1] != self.points.d or weight_sums.shape[0] != self.k:
            raise ValueError("weights, shift and sums must fit the engine.")
        target.shift = &shift[0]
        target.sums = &sums[0, 0]
        target.weights = &weight_sums[0]
        if used == 1:
            n_owners = 1
        with nogil:
            if used == 1:
                self.weigh_owned(target, &labels[0], &weights[0], start, stop, 0, 1, 0)
            else:
                for owner in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    self.weigh_owned(target, &labels[0], &weights[0], start, stop, owner, n_owners, threadid())

    cdef void weigh_owned(self, fastkm_weighted_sums mine, const int32_t* labels, const double* weights,
                          int64_t start, int64_t stop, int64_t owner, int64_t n_owners, int t) noexcept nogil:
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        self.crew.kernels.accumulate_weighted(&self.points.points, start, stop, labels, weights,
                                              &self.crew.scratches[t], &mine)

    def own_sq_dists(self, const int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Write rows [start, stop)'s squared distances to the centroids of their labels, times exact_scale^2."""
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, <double>(stop - start) * self.points.d)
        self.check_centroids()
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sq_dists.shape[0] != self.points.n:
            raise ValueError("sq_dists must have one value per point.")
        for b in range(start, stop):
            if labels[b] < 0 or labels[b] >= self.k:
                raise ValueError(f"labels must be in 0 to {self.k - 1}; got {labels[b]} in row {b}.")
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.own_block(&labels[0], &sq_dists[0], start, stop, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.own_block(&labels[0], &sq_dists[0], start, stop, b, threadid())

    cdef void own_block(self, const int32_t* labels, double* sq_dists, int64_t start, int64_t stop,
                        int64_t b, int t) noexcept nogil:
        cdef int64_t i = start + b * FASTKM_BLOCK_ROWS
        self.crew.kernels.own_sq_dists(
            &self.points.points, &self.frame.frame, &self.centroids.centroids, i,
            min(i + FASTKM_BLOCK_ROWS, stop), labels, &self.crew.scratches[t], sq_dists + i
        )

    def distances(self, out not None, int64_t start, int64_t stop):
        """Write rows [start, stop)'s distances to all centroids into out (n, k), float32 or float64."""
        cdef int64_t n_blocks = (stop - start + DISTANCE_ROWS - 1) // DISTANCE_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, self.row_work * (stop - start))
        cdef bint is_single = False
        cdef char* target = _matrix(out, self.k, &is_single)
        self.check_centroids()
        _check_rows(self.points.n, out.shape[0], start, stop)
        with nogil:
            if used == 1:
                self.distances_of(target, is_single, start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.distances_of(target, is_single, start + b * DISTANCE_ROWS,
                                      min(start + (b + 1) * DISTANCE_ROWS, stop), threadid())

    cdef void distances_of(self, char* out, bint is_single, int64_t start, int64_t stop, int t) noexcept nogil:
        cdef int64_t itemsize = 4 if is_single else 8
        self.crew.kernels.distances(&self.points.points, &self.frame.frame, &self.centroids.centroids, start, stop,
                                    &self.crew.scratches[t], is_single, out + start * self.k * itemsize)


# ---- mini-batches, k-means++, runs of small problems, CSR rows, silhouettes ---------------------------------

include "_core_beside.pxi"
include "_core_batch.pxi"
include "_core_seeding.pxi"
include "_core_seeders_beside.pxi"
include "_core_cells.pxi"
include "_core_seats.pxi"
include "_core_solo.pxi"
include "_core_solo_seeding.pxi"
include "_core_cell_seeding.pxi"
include "_core_sparse.pxi"
include "_core_sparse_batch.pxi"
include "_core_silhouette.pxi"
