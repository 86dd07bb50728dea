# The C kernels as kernels/kernels.h declares them.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

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
        FASTKM_HEAT_FEATURES
        FASTKM_MAX_CANDIDATES
        FASTKM_ALIGN
        FASTKM_GROUP_CELLS
        FASTKM_RINGS
        FASTKM_MAX_HALVINGS
        FASTKM_F16, FASTKM_F32, FASTKM_F64
        FASTKM_I8, FASTKM_U8, FASTKM_I16, FASTKM_U16
        FASTKM_I32, FASTKM_U32, FASTKM_I64, FASTKM_U64

    int64_t FASTKM_HEAT_ROOM(int64_t k)

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
        float* heats
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
        uint8_t* codes
        float* errors

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
        fastkm_points rows

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

    ctypedef struct fastkm_leads:
        int64_t k
        int32_t is_known
        double* raw
        double* drifts
        double* paths
        double step
        uint8_t* near_from
        double* travels
        float* travels_f32
        double* reserves
        float* limits
        float* places
        float* leads
        uint16_t* slots

    ctypedef struct fastkm_lead_work:
        int32_t* rows
        int32_t* moved
        int64_t n_moved, n_read, n_exact

    ctypedef struct fastkm_valued_row:
        double value
        int32_t row

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
        double scale
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
        double (*least_share_in_bytes)(int64_t, int64_t, int64_t, int) noexcept nogil
        void (*encode_panels)(int64_t, int64_t, int64_t, const fastkm_panels*) noexcept nogil
        int64_t (*assign_bytes)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                                const fastkm_byte_centroids*, const fastkm_panels*, int64_t, int64_t,
                                fastkm_scratch*, fastkm_byte_work*, int32_t*) noexcept nogil
        int64_t (*orthonormalise)(double*, const double*, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*take_off_block)(double*, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        double (*length_of)(const double*, int64_t) noexcept nogil
        double (*skewness)(const double*, int64_t, int64_t) noexcept nogil
        void (*sketch)(const fastkm_points*, const fastkm_frame*, const fastkm_basis*, int64_t, int64_t,
                       fastkm_scratch*, const fastkm_sketches*) noexcept nogil
        void (*sketch_rows)(const fastkm_points*, const fastkm_frame*, const fastkm_basis*, int64_t, int64_t,
                            const int32_t*, fastkm_scratch*, float*, const fastkm_filter*) noexcept nogil
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
        void (*split)(const double*, int64_t, int64_t, int64_t, int32_t, fastkm_scratch*, fastkm_valued_row*,
                      int32_t*, double*) noexcept nogil
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
        void (*follow_moves)(const fastkm_frame*, const fastkm_centroids*, int, fastkm_scratch*,
                             fastkm_leads*) noexcept nogil
        void (*follow_labels)(const fastkm_frame*, const fastkm_centroids*, int64_t, int64_t, int, fastkm_scratch*,
                              const fastkm_leads*) noexcept nogil
        void (*assign_by_leads)(const fastkm_points*, const fastkm_frame*, const fastkm_centroids*,
                                const fastkm_leads*, int64_t, int64_t, const int32_t*, fastkm_scratch*,
                                fastkm_lead_work*, int32_t*) noexcept nogil
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
