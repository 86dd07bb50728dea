/* Distances of rows to all centroids: the sums of exact.h in the same order, and their roots.
 *
 * A row alone would read all centroids from cache for one subtraction each; here a tile of rows and
 * centroids stays in registers, and a value read serves the whole tile. Larger tiles bring nothing
 * (python -m benchmarks.transform): with 4 rows and 2 groups AVX-512 makes 14e9 differences a
 * second at d = 784, of 16e9 that subtraction, product and sum allow at 3 GHz. */
#define DISTANCE_ROWS (DOUBLE_LANES > 2 ? 4 : 2)
#define DISTANCE_GROUPS (DOUBLE_LANES > 4 ? 2 : 1)
/* Rows in float64 that the scratch for a float32 panel holds. */
#define DISTANCE_PANEL_ROWS (PANEL_ROWS / 2)

/* The sums of n_rows rows and n_groups groups of centroids, both constant where it is inlined. */
static FASTKM_INLINE void distance_tile(const double* rows, const double* exact, int64_t d, /* IN */
                                        const int n_rows, const int n_groups,               /* IN */
                                        double unscale,                                     /* IN */
                                        double* tile) /* OUT (n_rows, groups) */
{
    const int n_vectors = n_groups * EXACT_VECTORS;
    vd sum[DISTANCE_ROWS][DISTANCE_GROUPS * EXACT_VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < n_vectors; v++) sum[r][v] = vd_set1(0);
    for (int64_t f = 0; f < d; f++) {
        vd c[DISTANCE_GROUPS * EXACT_VECTORS];
        for (int v = 0; v < n_vectors; v++)
            c[v] = vd_load(exact + (v / EXACT_VECTORS * d + f) * FASTKM_EXACT_LANES +
                           v % EXACT_VECTORS * DOUBLE_LANES);
        for (int r = 0; r < n_rows; r++) {
            const vd x = vd_set1(rows[r * d + f]);
            for (int v = 0; v < n_vectors; v++) {
                const vd difference = vd_sub(x, c[v]);
                sum[r][v] = vd_add(sum[r][v], vd_mul(difference, difference));
            }
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < n_vectors; v++)
            vd_store(tile + (r * DISTANCE_GROUPS * EXACT_VECTORS + v) * DOUBLE_LANES,
                     vd_mul(vd_sqrt(sum[r][v]), vd_set1(unscale)));
}

static void any_distance_tile(const double* rows, const double* exact, int64_t d, int n_rows,
                              int n_groups, double unscale, double* tile) {
#define TILE(constant_rows, constant_groups) \
    distance_tile(rows, exact, d, constant_rows, constant_groups, unscale, tile)
    if (n_rows == DISTANCE_ROWS) {
        if (n_groups == DISTANCE_GROUPS)
            TILE(DISTANCE_ROWS, DISTANCE_GROUPS);
        else
            TILE(DISTANCE_ROWS, 1);
    } else if (n_groups == DISTANCE_GROUPS) {
        TILE(1, DISTANCE_GROUPS);
    } else {
        TILE(1, 1);
    }
#undef TILE
}

static void store_distances(const double* tile, int n_rows, int64_t n_columns, int is_single,
                            char* out, int64_t k) {
    const int64_t width = DISTANCE_GROUPS * FASTKM_EXACT_LANES;
    for (int r = 0; r < n_rows; r++)
        if (is_single)
            for (int64_t j = 0; j < n_columns; j++)
                ((float*)out)[r * k + j] = (float)tile[r * width + j];
        else
            for (int64_t j = 0; j < n_columns; j++) ((double*)out)[r * k + j] = tile[r * width + j];
}

static void distances(const fastkm_points* points, const fastkm_frame* frame,
                      const fastkm_centroids* centroids, int64_t i_begin, int64_t i_end,
                      fastkm_scratch* scratch, int is_single, void* out) {
    const int64_t d = points->d, k = centroids->k;
    const int64_t n_groups = (k + FASTKM_EXACT_LANES - 1) / FASTKM_EXACT_LANES;
    const int64_t itemsize = is_single ? sizeof(float) : sizeof(double);
    double tile[DISTANCE_ROWS * DISTANCE_GROUPS * FASTKM_EXACT_LANES];
    double* const rows = (double*)scratch->panel;
    for (int64_t i = i_begin; i < i_end; i += DISTANCE_PANEL_ROWS) {
        const int n_rows = (int)FASTKM_MIN(i_end - i, DISTANCE_PANEL_ROWS);
        for (int r = 0; r < n_rows; r++) load_row(points, i + r, rows + r * d);
        if (frame->exact_scale != 1)
            for (int64_t value = 0; value < n_rows * d; value++) rows[value] *= frame->exact_scale;
        for (int64_t g = 0, wide; g < n_groups; g += wide) {
            const int64_t left = n_groups - g, j = g * FASTKM_EXACT_LANES;
            wide = left >= DISTANCE_GROUPS ? DISTANCE_GROUPS : 1;
            for (int r = 0, tall; r < n_rows; r += tall) {
                tall = n_rows - r >= DISTANCE_ROWS ? DISTANCE_ROWS : 1;
                any_distance_tile(rows + r * d, centroids->exact + j * d, d, tall, (int)wide,
                                  1 / frame->exact_scale, tile);
                store_distances(tile, tall, FASTKM_MIN(k - j, wide * FASTKM_EXACT_LANES), is_single,
                                (char*)out + ((i - i_begin + r) * k + j) * itemsize, k);
            }
        }
    }
}
