/* Squared distances in float64, direct form. No fused multiply-add: the sources are compiled
 * without contraction. */

/* Vectors across centroids; features from first to last, as the contract of the labels asks. */
#define EXACT_VECTORS (FASTKM_EXACT_LANES / DOUBLE_LANES)
#define EXACT_GROUPS (DOUBLE_LANES > 2 ? 4 : 1)

static FASTKM_INLINE void exact_groups(const double* row, const double* exact, int64_t d, /* IN  */
                                       const int n_groups,                                /* IN  */
                                       double* dists)                                     /* OUT */
{
    vd sum[4 * EXACT_VECTORS];
    for (int v = 0; v < n_groups * EXACT_VECTORS; v++) sum[v] = vd_set1(0);
    for (int64_t f = 0; f < d; f++) {
        const vd x = vd_set1(row[f]);
        for (int g = 0; g < n_groups; g++)
            for (int v = 0; v < EXACT_VECTORS; v++) {
                const double* c = exact + (g * d + f) * FASTKM_EXACT_LANES + v * DOUBLE_LANES;
                const vd difference = vd_sub(x, vd_load(c));
                sum[g * EXACT_VECTORS + v] =
                    vd_add(sum[g * EXACT_VECTORS + v], vd_mul(difference, difference));
            }
    }
    for (int v = 0; v < n_groups * EXACT_VECTORS; v++) vd_store(dists + v * DOUBLE_LANES, sum[v]);
}

/* Of the row in scratch, not yet scaled. */
static void sq_dists_of_row(const fastkm_frame* frame, const fastkm_centroids* centroids,
                            fastkm_scratch* scratch) {
    const int64_t d = centroids->d;
    const int64_t n_groups = (centroids->k + FASTKM_EXACT_LANES - 1) / FASTKM_EXACT_LANES;
    int64_t g = 0;
    if (frame->exact_scale != 1)
        for (int64_t f = 0; f < d; f++) scratch->row[f] *= frame->exact_scale;
    for (; g + EXACT_GROUPS <= n_groups; g += EXACT_GROUPS)
        exact_groups(scratch->row, centroids->exact + g * d * FASTKM_EXACT_LANES, d, EXACT_GROUPS,
                     scratch->dists + g * FASTKM_EXACT_LANES);
    /* Each sum waits for itself, so two take no longer than one. */
    for (; EXACT_GROUPS > 2 && g + 2 <= n_groups; g += 2)
        exact_groups(scratch->row, centroids->exact + g * d * FASTKM_EXACT_LANES, d, 2,
                     scratch->dists + g * FASTKM_EXACT_LANES);
    for (; g < n_groups; g++)
        exact_groups(scratch->row, centroids->exact + g * d * FASTKM_EXACT_LANES, d, 1,
                     scratch->dists + g * FASTKM_EXACT_LANES);
}

static void sq_dists(const fastkm_points* points, const fastkm_frame* frame,
                     const fastkm_centroids* centroids, int64_t i, fastkm_scratch* scratch) {
    load_row(points, i, scratch->row);
    sq_dists_of_row(frame, centroids, scratch);
}

/* The first of the least: their minimum first, as comparing with the best so far waits each time.
 */
static int64_t first_of_least(const double* dists, int64_t n) {
    double lanes[DOUBLE_LANES], least = INFINITY;
    int64_t j = 0;
    vd least_vd = vd_set1(INFINITY);
    for (; j + DOUBLE_LANES <= n; j += DOUBLE_LANES)
        least_vd = vd_min(least_vd, vd_load(dists + j));
    vd_store(lanes, least_vd);
    for (int l = 0; l < DOUBLE_LANES; l++) least = FASTKM_MIN(least, lanes[l]);
    for (; j < n; j++) least = FASTKM_MIN(least, dists[j]);
    for (j = 0; j < n - 1 && dists[j] != least;) j++;
    return j;
}

static int32_t exact_label(const fastkm_points* points, const fastkm_frame* frame,
                           const fastkm_centroids* centroids, int64_t i, fastkm_scratch* scratch) {
    sq_dists(points, frame, centroids, i, scratch);
    return (int32_t)first_of_least(scratch->dists, centroids->k);
}

/* Sixteen partial sums, feature f into sum f mod 16, then halves added to halves: the same order,
 * and so the same bits, for every vector width. */
#define PARTIAL_SUMS 16

/* While several vectors are left their halves are added as vectors. */
static FASTKM_INLINE double sum_of_partials(vd sum[PARTIAL_SUMS / DOUBLE_LANES]) {
    double partial[DOUBLE_LANES];
    for (int half = PARTIAL_SUMS / DOUBLE_LANES / 2; half > 0; half /= 2)
        for (int v = 0; v < half; v++) sum[v] = vd_add(sum[v], sum[v + half]);
    vd_store(partial, sum[0]);
    for (int half = DOUBLE_LANES / 2; half > 0; half /= 2)
        for (int s = 0; s < half; s++) partial[s] += partial[s + half];
    return partial[0];
}

/* x - c, or both scaled first: near float64's limit the difference itself would overflow. */
static FASTKM_INLINE vd scaled_difference(vd x, vd c, vd scale, const int is_scaled) {
    return is_scaled ? vd_sub(vd_mul(x, scale), vd_mul(c, scale)) : vd_sub(x, c);
}

/* Of a row where it is; memory sends the bytes from `ahead` on meanwhile. */
static FASTKM_INLINE double scaled_sq_dist(const char* row, const int32_t dtype,
                                           const double* centroid, int64_t d, double scale,
                                           const int is_scaled, const char* ahead) {
    const int64_t d_vector = d - d % PARTIAL_SUMS, size = item_size(dtype);
    double partial[PARTIAL_SUMS];
    vd sum[PARTIAL_SUMS / DOUBLE_LANES];
    const vd scale_vd = vd_set1(scale);
    for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++) sum[v] = vd_set1(0);
    for (int64_t f = 0; f < d_vector; f += PARTIAL_SUMS) {
        const int is_line = PARTIAL_SUMS * size >= LINE_BYTES || f * size % LINE_BYTES == 0;
        for (int64_t byte = 0; ahead && is_line && byte < PARTIAL_SUMS * size; byte += LINE_BYTES)
            prefetch(ahead + f * size + byte);
        for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++) {
            const vd x = load_doubles(row, f + v * DOUBLE_LANES, dtype);
            const vd difference =
                scaled_difference(x, vd_load(centroid + f + v * DOUBLE_LANES), scale_vd, is_scaled);
            sum[v] = vd_add(sum[v], vd_mul(difference, difference));
        }
    }
    if (d_vector == d) return sum_of_partials(sum);
    for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++) {
        const int64_t f = d_vector + v * DOUBLE_LANES;
        if (f >= d) break;
        const vd difference =
            scaled_difference(load_few_doubles(row, f, d - f, dtype),
                              vd_load_few(centroid + f, d - f), scale_vd, is_scaled);
        sum[v] = vd_add(sum[v], vd_mul(difference, difference));
    }
    for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++)
        vd_store(partial + v * DOUBLE_LANES, sum[v]);
    /* Where d is smaller, the upper half is zero. */
#define ADD_HALF(half) \
    if ((half) < d)    \
        for (int s = 0; s < (half); s++) partial[s] += partial[s + (half)];
    ADD_HALF(8)
    ADD_HALF(4)
    ADD_HALF(2)
    ADD_HALF(1)
#undef ADD_HALF
    return partial[0];
}

static double sq_dist(const double* row, const double* centroid, int64_t d, double scale) {
    if (d <= LOW_D) {
        double low_d = 0;
#define LOW_D_SQ_DIST(constant_d)                                                            \
    low_d =                                                                                  \
        scale == 1                                                                           \
            ? scaled_sq_dist((const char*)row, FASTKM_F64, centroid, constant_d, 1, 0, NULL) \
            : scaled_sq_dist((const char*)row, FASTKM_F64, centroid, constant_d, scale, 1, NULL)
        WITH_CONSTANT_D(d, LOW_D_SQ_DIST)
#undef LOW_D_SQ_DIST
        return low_d;
    }
    return scale == 1 ? scaled_sq_dist((const char*)row, FASTKM_F64, centroid, d, 1, 0, NULL)
                      : scaled_sq_dist((const char*)row, FASTKM_F64, centroid, d, scale, 1, NULL);
}

/* Of row i, read where it is if it can be; memory sends row i_ahead meanwhile, unless it is
 * negative. */
static FASTKM_INLINE double row_sq_dist_ahead(const fastkm_points* points,
                                              const fastkm_frame* frame, int64_t i,
                                              const double* centroid, int64_t i_ahead,
                                              fastkm_scratch* scratch) {
    const int64_t d = points->d;
    const char* row = points->base + i * points->row_stride;
    if (d > LOW_D && frame->exact_scale == 1 && is_in_place(points)) {
        const char* ahead = i_ahead < 0 ? NULL : points->base + i_ahead * points->row_stride;
#define IN_PLACE(dtype) return scaled_sq_dist(row, dtype, centroid, d, 1, 0, ahead)
        WITH_CONSTANT_DTYPE(points->dtype, IN_PLACE)
#undef IN_PLACE
    }
    if (i_ahead >= 0) prefetch_row(points, i_ahead);
    load_row(points, i, scratch->row);
    return sq_dist(scratch->row, centroid, d, frame->exact_scale);
}

static FASTKM_INLINE double row_sq_dist(const fastkm_points* points, const fastkm_frame* frame,
                                        int64_t i, const double* centroid,
                                        fastkm_scratch* scratch) {
    return row_sq_dist_ahead(points, frame, i, centroid, -1, scratch);
}

/* Rows that are on their way from memory while one is measured, and bytes of short ones. */
#define ROWS_AHEAD 4
#define BYTES_AHEAD 1024

/* Of rows where they are. */
static FASTKM_INLINE void own_rows_in_place(const fastkm_points* points,
                                            const fastkm_centroids* centroids, int64_t i_begin,
                                            int64_t i_end, const int32_t* labels, const int64_t d,
                                            const int32_t dtype, double* sq_dists_out) {
    const int64_t n_ahead = FASTKM_MAX(BYTES_AHEAD / (d * item_size(dtype)), ROWS_AHEAD);
    for (int64_t i = i_begin; i < i_end; i++) {
        const int64_t i_ahead = FASTKM_MIN(i + n_ahead, points->n - 1);
        sq_dists_out[i - i_begin] = scaled_sq_dist(points->base + i * points->row_stride, dtype,
                                                   centroids->raw + labels[i] * d, d, 1, 0,
                                                   points->base + i_ahead * points->row_stride);
    }
}

static FASTKM_INLINE void own_sq_dists_of(const fastkm_points* points,
                                          const fastkm_centroids* centroids, int64_t i_begin,
                                          int64_t i_end, const int32_t* labels, const int64_t d,
                                          double* sq_dists_out) {
#define IN_PLACE(dtype) \
    own_rows_in_place(points, centroids, i_begin, i_end, labels, d, dtype, sq_dists_out)
    WITH_CONSTANT_DTYPE(points->dtype, IN_PLACE)
#undef IN_PLACE
}

static void own_sq_dists(const fastkm_points* points, const fastkm_frame* frame,
                         const fastkm_centroids* centroids, int64_t i_begin, int64_t i_end,
                         const int32_t* labels, fastkm_scratch* scratch, double* sq_dists_out) {
    const int64_t d = points->d;
#define OWN_SQ_DISTS(d) own_sq_dists_of(points, centroids, i_begin, i_end, labels, d, sq_dists_out)
    if (!is_in_place(points) || frame->exact_scale != 1) {
        for (int64_t i = i_begin; i < i_end; i++) {
            prefetch_row(points, FASTKM_MIN(i + ROWS_AHEAD, points->n - 1));
            load_row(points, i, scratch->row);
            sq_dists_out[i - i_begin] =
                sq_dist(scratch->row, centroids->raw + labels[i] * d, d, frame->exact_scale);
        }
    } else if (d <= LOW_D) {
        WITH_CONSTANT_D(d, OWN_SQ_DISTS)
    } else {
        OWN_SQ_DISTS(d);
    }
#undef OWN_SQ_DISTS
}
