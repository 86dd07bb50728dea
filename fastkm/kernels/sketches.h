/* Sketches: what a row or a centroid is in a few directions, and how long the rest is. */

/* Long sums round: features are added up some at a time, and then the sums of those. */
#define SKETCH_FEATURES 32

/* Adds features [f, f + width) to the coordinates of a panel in some directions. */
static FASTKM_INLINE void project_tile(const float* panel, const float* tile, int64_t f,
                                       int64_t width, const int n_directions, lines_ahead* ahead,
                                       float* sketch) {
    static const float zeros[FASTKM_TILE_CENTROIDS] = {0};
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel + f * PANEL_ROWS, tile + f * n_directions, zeros, width, n_directions, ahead,
             product);
    for (int q = 0; q < n_directions; q++)
        for (int v = 0; v < TILE_VECTORS; v++) {
            float* sum = sketch + q * PANEL_ROWS + v * LANES;
            vf_store(sum, f ? vf_add(vf_load(sum), product[q][v]) : product[q][v]);
        }
}

/* Q'y of a panel; its features stay in the first-level cache until all directions have met them. */
static void project_panel(const float* panel, const fastkm_basis* basis, int64_t d,
                          lines_ahead ahead, float* sketch) {
    const int64_t p = basis->p;
    for (int64_t f = 0; f < d; f += SKETCH_FEATURES) {
        const int64_t width = FASTKM_MIN(d - f, SKETCH_FEATURES);
        for (int64_t q = 0; q < p; q += FASTKM_TILE_CENTROIDS) {
#define PROJECT(n) \
    project_tile(panel, basis->tiles + q * d, f, width, n, &ahead, sketch + q * PANEL_ROWS)
            WITH_CONSTANT_TILE(p - q, PROJECT)
#undef PROJECT
        }
    }
}

static void sum_squares(const float* panel, int64_t d, float* sq_norms) {
    vf total[TILE_VECTORS];
    for (int v = 0; v < TILE_VECTORS; v++) total[v] = vf_set1(0);
    for (int64_t f_begin = 0; f_begin < d; f_begin += SKETCH_FEATURES) {
        vf sum[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) sum[v] = vf_set1(0);
        for (int64_t f = f_begin; f < FASTKM_MIN(f_begin + SKETCH_FEATURES, d); f++)
            for (int v = 0; v < TILE_VECTORS; v++) {
                const vf y = vf_load(panel + f * PANEL_ROWS + v * LANES);
                sum[v] = vf_fma(y, y, sum[v]);
            }
        for (int v = 0; v < TILE_VECTORS; v++) total[v] = vf_add(total[v], sum[v]);
    }
    for (int v = 0; v < TILE_VECTORS; v++) vf_store(sq_norms + v * LANES, total[v]);
}

/* Sketches of a panel's rows, from row i on, which is loaded: (Q'y, ||y - QQ'y||), their squared
 * norms, and how far rounding may have moved them. */
static void sketch_loaded(const fastkm_points* points, const fastkm_basis* basis, int64_t i,
                          const float* loaded, float* panel, float sq_norms[PANEL_ROWS],
                          float errors[PANEL_ROWS]) {
    const int64_t d = points->d, p = basis->p;
    const int64_t n_sums = (d - 1) / SKETCH_FEATURES + 1;
    const rounding_bound full = bound_for(FASTKM_MIN(d, SKETCH_FEATURES + n_sums)),
                         narrow = bound_for(p + 1);
    const float root_p = sqrtf((float)p) * 1.01f, flushed = bound_for(d).c;
    float y_sq_norms[PANEL_ROWS], inside_sq_norms[PANEL_ROWS];
    sum_squares(loaded, d, y_sq_norms);
    project_panel(loaded, basis, d, lines_of_next_panel(points, i, p * n_sums), panel);
    sum_squares(panel, p, inside_sq_norms);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        const float inside = inside_sq_norms[r];
        const float norm = sqrtf(y_sq_norms[r]) * full.slack;
        const float rest = sqrtf(FASTKM_MAX(y_sq_norms[r] - inside, 0));
        const float moved = full.a * norm * root_p;
        const float rest_sq = (full.a * norm * norm + 2.01f * norm * moved +
                               (narrow.a + 1.01f * basis->skew) * inside * full.slack) *
                                  full.slack +
                              flushed;
        const float rest_moved = FASTKM_MIN(rest_sq / rest, sqrtf(rest_sq));
        panel[p * PANEL_ROWS + r] = rest;
        sq_norms[r] = inside + rest * rest;
        errors[r] = (moved + rest_moved) * full.slack + flushed;
    }
}

static void sketch(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                   fastkm_scratch* scratch, const fastkm_sketches* sketches) {
    float sq_norms[PANEL_ROWS], errors[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        sketch_loaded(points, basis, i, scratch->panel, sketches->panels + i * (basis->p + 1),
                      sq_norms, errors);
        memcpy(sketches->sq_norms + i, sq_norms, (size_t)n_rows * sizeof *sq_norms);
        memcpy(sketches->errors + i, errors, (size_t)n_rows * sizeof *errors);
    }
}

/* Some coordinates of as many rows as a vector has lanes, from a panel's columns to the rows. */
static void store_coordinates(const float* columns, int64_t n_columns, const int32_t* slots,
                              int64_t n_rows, float* out, int64_t width) {
    vf y[LANES];
    float last[LANES];
    for (int64_t c = 0; c < LANES; c++)
        y[c] = c < n_columns ? vf_load(columns + c * PANEL_ROWS) : vf_set1(0);
    vf_transpose(y);
    for (int64_t r = 0; r < n_rows; r++) {
        float* row = out + slots[r] * width;
        if (n_columns == LANES) {
            vf_store(row, y[r]);
        } else {
            vf_store(last, y[r]);
            memcpy(row, last, (size_t)n_columns * sizeof *row);
        }
    }
}

/* Centroids whose coordinates are found together, and vectors of directions. */
#define FOLLOWED_TOGETHER 4
#define DIRECTION_VECTORS 2
/* That no sum of squares waits for the one before it. */
#define SUMS_OF_SQUARES 16

/* Coordinates of centroids [j_begin, j_end) in the basis, and the centroids in the frame. */
static void project_centroids(const fastkm_frame* frame, const fastkm_basis* basis,
                              const double* centroids, int64_t d, int64_t j_begin, int64_t j_end,
                              const fastkm_centroid_sketches* sketches) {
    const int64_t p = basis->p;
    const double* rows[FOLLOWED_TOGETHER];
    for (int64_t j = 0; j < FOLLOWED_TOGETHER; j++) /* the last one again where there are no more */
        rows[j] = centroids + sketches->order[FASTKM_MIN(j_begin + j, j_end - 1)] * d;
    for (int64_t j = j_begin; j < j_end; j++) {
        double* inside = sketches->inside + j * 2 * p;
        memcpy(inside + p, inside, (size_t)p * sizeof *inside);
        for (int64_t f = 0; f < d; f++)
            sketches->framed[j * d + f] =
                (float)((rows[j - j_begin][f] - frame->shift[f]) * frame->scale);
    }
    for (int64_t q = 0; q < p; q += DIRECTION_VECTORS * DOUBLE_LANES) {
        vd sum[FOLLOWED_TOGETHER][DIRECTION_VECTORS];
        for (int j = 0; j < FOLLOWED_TOGETHER; j++)
            for (int v = 0; v < DIRECTION_VECTORS; v++) sum[j][v] = vd_set1(0);
        for (int64_t f = 0; f < d; f++) {
            const double* q_f = basis->directions + f * basis->stride + q;
            for (int j = 0; j < FOLLOWED_TOGETHER; j++) {
                const vd z = vd_set1((rows[j][f] - frame->shift[f]) * frame->scale);
                for (int v = 0; v < DIRECTION_VECTORS; v++)
                    sum[j][v] = vd_add(sum[j][v], vd_mul(z, vd_load(q_f + v * DOUBLE_LANES)));
            }
        }
        for (int64_t j = j_begin; j < j_end; j++) {
            double coordinates[DIRECTION_VECTORS * DOUBLE_LANES];
            for (int v = 0; v < DIRECTION_VECTORS; v++)
                vd_store(coordinates + v * DOUBLE_LANES, sum[j - j_begin][v]);
            memcpy(sketches->inside + j * 2 * p + q, coordinates,
                   (size_t)FASTKM_MIN(p - q, DIRECTION_VECTORS * DOUBLE_LANES) *
                       sizeof *coordinates);
        }
    }
}

/* Sketches of centroids [j_begin, j_end), in float64 but for their last rounding, and how far the
 * centroids have moved since the last call, in all and outside of the basis. */
static void follow(const fastkm_frame* frame, const fastkm_basis* basis, const double* centroids,
                   const double* old, int64_t d, int64_t k, int64_t j_begin, int64_t j_end,
                   const fastkm_centroid_sketches* sketches) {
    const int64_t p = basis->p, width = p + 2;
    for (int64_t j = j_begin; j < j_end; j += FOLLOWED_TOGETHER)
        project_centroids(frame, basis, centroids, d, j, FASTKM_MIN(j + FOLLOWED_TOGETHER, j_end),
                          sketches);
    for (int64_t j = j_begin; j < j_end; j++) {
        const int64_t group = j - j % FASTKM_TILE_CENTROIDS;
        const int64_t size = FASTKM_MIN(k - group, FASTKM_TILE_CENTROIDS);
        float* tile = sketches->tiles + group * width + j - group;
        const double *inside = sketches->inside + j * 2 * p, *last = inside + p;
        const double *now = centroids + sketches->order[j] * d, *before = old + (now - centroids);
        double sq_norm = 0, sq_inside = 0, sq_move = 0, sq_move_inside = 0, sq_sketch = 0,
               sq_tail = 0;
        double sq_norms[SUMS_OF_SQUARES] = {0}, sq_moves[SUMS_OF_SQUARES] = {0};
        for (int64_t f = 0; f < d; f += SUMS_OF_SQUARES) {
            const int64_t n = FASTKM_MIN(d - f, SUMS_OF_SQUARES);
#define ADD_SQUARES(n)                                                      \
    for (int64_t s = 0; s < (n); s++) {                                     \
        const double z = (now[f + s] - frame->shift[f + s]) * frame->scale; \
        const double moved = (now[f + s] - before[f + s]) * frame->scale;   \
        sq_norms[s] += z * z;                                               \
        sq_moves[s] += moved * moved;                                       \
    }
            if (n == SUMS_OF_SQUARES) {
                ADD_SQUARES(SUMS_OF_SQUARES)
            } else {
                ADD_SQUARES(n)
            }
#undef ADD_SQUARES
        }
        for (int s = 0; s < SUMS_OF_SQUARES; s++) {
            sq_norm += sq_norms[s];
            sq_move += sq_moves[s];
        }
        for (int64_t q = 0; q < p; q++) {
            const double moved = inside[q] - last[q];
            const float t = (float)inside[q];
            sq_inside += inside[q] * inside[q];
            sq_move_inside += moved * moved;
            sq_sketch += (double)t * t;
            if (q >= sketches->head) sq_tail += (double)t * t;
            tile[q * size] = -2 * t;
        }
        /* More than all that float64 rounds, in coordinates now and before and in sums of squares.
         */
        const double tiny = (sq_norm + sq_move) * (double)(d + p) * 0x1p-44 + FLT_MIN;
        const double rest = sqrt(FASTKM_MAX(sq_norm - sq_inside, 0));
        const double rest_sq = 1.01 * basis->skew * sq_inside + tiny;
        const double rest_moved = FASTKM_MIN(rest_sq / rest, sqrt(rest_sq));
        const double sq_drift = sq_move - sq_move_inside / (1 + basis->skew) + tiny;
        const float rest_f32 = (float)rest;
        tile[p * size] = -2 * rest_f32;
        tile[(p + 1) * size] = -2 * (float)sqrt(sq_tail + (double)rest_f32 * rest_f32);
        sketches->sq_norms[j] = (float)(sq_sketch + (double)rest_f32 * rest_f32);
        sketches->rests[j] = rest_f32;
        sketches->errors[j] =
            (float)((rest_moved + 0x1p-23 * (sqrt(sq_inside) + rest)) * 1.0001 + sqrt(tiny));
        sketches->moves[j] = (float)(sqrt(sq_move) * 1.0001) + FLT_MIN;
        sketches->drifts[j] = sq_drift < 0 ? 0 : (float)(sqrt(sq_drift) * 1.0001);
    }
}
