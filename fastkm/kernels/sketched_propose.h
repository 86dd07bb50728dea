/* Greedy k-means++ from bytes: a candidate is a row, so its sketch is known, and one whose sketch
 * is farther than a row's nearest seed changes nothing there. Of the others a row's codes tell how
 * far they are, but for a little; README.md proves it. X is read only where that leaves open which
 * candidate is best. */

/* Products of sketches above the limit belong to candidates that are surely no nearer than the
 * current distance. */
static void find_sketch_limits(const fastkm_sketched* sketched, const rounding_bound* bound,
                               double ratio, int64_t n_rows, const double* closest,
                               const float* sq_norms, const float* errors, float* limits) {
    const float radius = sketched->max_norm, slack = bound->slack;
    double current[PANEL_ROWS] = {0};
    memcpy(current, closest, (size_t)n_rows * sizeof *current);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        /* What float32 flushes to zero has a root below the constant. */
        const float upper = sqrtf((float)(current[r] * ratio)) * (1 + 0x1p-20f) + 0x1p-60f;
        const float reach =
            (upper * sketched->stretch + errors[r] + sketched->max_error) * 1.00001f;
        const float norm = sqrtf(sq_norms[r]);
        const float rounding = bound->a * (radius * (radius + 2 * norm) + sq_norms[r]) +
                               bound->c * (1 + norm + radius);
        limits[r] =
            reach * reach * 1.00001f - sq_norms[r] + (rounding + 1e-6f * sq_norms[r]) * slack;
    }
    for (int64_t r = n_rows; r < PANEL_ROWS; r++) limits[r] = -INFINITY;
}

static FASTKM_INLINE void screen_tile(const float* panel, const fastkm_sketched* sketched,
                                      int64_t j_begin, const int n_candidates, const float* limits,
                                      lines_ahead* ahead, int32_t* possible) {
    const int64_t width = sketched->codes.p + 1;
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, sketched->tiles + j_begin * width, sketched->sq_norms + j_begin, width,
             n_candidates, ahead, product);
    for (int j = 0; j < n_candidates; j++) mark_possible(product[j], j_begin + j, limits, possible);
}

/* A bit for each candidate that the sketches leave to a panel's rows. */
static void screen_panel(const fastkm_sketched* sketched, int64_t k, int64_t i, const float* limits,
                         float* panel, int32_t* possible) {
    const int64_t width = sketched->codes.p + 1;
    const int64_t n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
    const int8_t* codes = sketched->codes.panels + i * width;
    lines_ahead ahead = {(const char*)(codes + width * PANEL_ROWS),
                         (width * PANEL_ROWS / LINE_BYTES + n_tiles) / n_tiles};
    memset(possible, 0, PANEL_ROWS * sizeof *possible);
    decode(codes, width * PANEL_ROWS, panel);
    const uint32_t saved = flush_denormals();
    for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS) {
#define SCREEN(n) screen_tile(panel, sketched, j, n, limits, &ahead, possible)
        WITH_CONSTANT_TILE(k - j, SCREEN)
#undef SCREEN
    }
    restore_denormals(saved);
}

/* Bounds a row's gains by its codes, where candidates are possible; returns how many are. */
static int64_t bound_gains(const proposal_pass* pass, const fastkm_sketched* sketched, int64_t i,
                           uint32_t possible) {
    const int64_t stride = sketched->codes.stride;
    const int8_t* row = sketched->codes.rows + i * stride;
    const int16_t* candidate = sketched->rows;
    const double root_unit = pass->frame->exact_scale / pass->frame->scale;
    const double unit = sketched->codes.step / FASTKM_STEP_PARTS * root_unit;
    const double closest = pass->closest[i], row_error = sketched->codes.errors[i];
    const double weight = pass->weights ? pass->weights[i] : 1;
    /* Most pairs end here, without a root of their own. */
    const double most_error = (row_error + sketched->max_row_error) * root_unit;
    const double reach = (sqrt(closest) + most_error) / unit * (1 + 4e-6), limit = reach * reach;
    uint32_t left = 0;
    int64_t n_measured = 0;
    for (int64_t j = 0; possible; possible >>= 1, j++, candidate += stride) {
        if (!(possible & 1)) continue;
        n_measured++;
        const double sq_dist = (double)sq_parts(row, candidate, stride);
        if (sq_dist > limit) continue;
        const double dist = sqrt(sq_dist) * unit;
        const double error = (row_error + sketched->row_errors[j]) * root_unit;
        const double lower = FASTKM_MAX(dist * (1 - 1e-6) - error, 0);
        const double upper = dist * (1 + 1e-6) + error;
        const double most = closest - lower * lower;
        const double least = FASTKM_MAX(closest - upper * upper, 0);
        if (most <= 0) continue;
        pass->gains[j] += weight * ((most + least) / 2);
        pass->errors[j] += weight * ((most - least) / 2);
        left |= 1u << j;
    }
    pass->masks[i] = left;
    return n_measured;
}

/* Rows that their sketches leave open, and for which candidates. */
typedef struct {
    int64_t rows[2 * PANEL_ROWS];
    uint32_t possible[2 * PANEL_ROWS];
    int64_t n;
} open_rows;

/* That many of them are on their way from memory while others are decoded. */
#define OPEN_ROWS_AHEAD 8

static void prefetch_codes(const fastkm_codes* codes, const open_rows* open, int64_t o) {
    if (o >= open->n) return;
    const char* row = (const char*)(codes->rows + open->rows[o] * codes->stride);
    for (int64_t byte = 0; byte < codes->stride; byte += LINE_BYTES) prefetch(row + byte);
}

static int64_t bound_open(const proposal_pass* pass, const fastkm_sketched* sketched, int64_t n,
                          open_rows* open) {
    int64_t n_measured = 0;
    for (int64_t o = 0; o < n; o++) {
        prefetch_codes(&sketched->codes, open, o + OPEN_ROWS_AHEAD);
        n_measured += bound_gains(pass, sketched, open->rows[o], open->possible[o]);
    }
    open->n -= n;
    memmove(open->rows, open->rows + n, (size_t)open->n * sizeof *open->rows);
    memmove(open->possible, open->possible + n, (size_t)open->n * sizeof *open->possible);
    return n_measured;
}

static int64_t propose_sketched(const fastkm_points* points, const fastkm_frame* frame,
                                const fastkm_centroids* candidates, const fastkm_sketched* sketched,
                                int64_t i_begin, int64_t i_end, const double* closest,
                                const double* weights, float* room, uint32_t* masks, double* gains,
                                double* errors) {
    const proposal_pass pass = {points, frame, candidates, closest, weights,
                                NULL,   masks, gains,      errors};
    const fastkm_codes* codes = &sketched->codes;
    const double ratio = frame->scale / frame->exact_scale * (frame->scale / frame->exact_scale);
    const rounding_bound bound = bound_for(codes->p + 1);
    int64_t n_measured = 0;
    open_rows open = {.n = 0};
    for (int64_t j = 0; j < candidates->k; j++) gains[j] = errors[j] = 0;
    memset(masks + i_begin, 0, (size_t)(i_end - i_begin) * sizeof *masks);
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float limits[PANEL_ROWS];
        int32_t possible[PANEL_ROWS];
        find_sketch_limits(sketched, &bound, ratio, n_rows, closest + i, codes->sq_norms + i,
                           codes->sketch_errors + i, limits);
        screen_panel(sketched, candidates->k, i, limits, room, possible);
        for (int64_t r = 0; r < n_rows; r++) {
            open.rows[open.n] = i + r;
            open.possible[open.n] = (uint32_t)possible[r];
            open.n += possible[r] != 0;
        }
        if (open.n > OPEN_ROWS_AHEAD)
            n_measured += bound_open(&pass, sketched, open.n - OPEN_ROWS_AHEAD, &open);
    }
    return n_measured + bound_open(&pass, sketched, open.n, &open);
}
