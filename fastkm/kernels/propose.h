/* Greedy k-means++: which candidates would bring a row nearer, and by how much in all. A candidate
 * whose float32 distance is above the current one by more than the rounding bound changes nothing.
 * The others' gains are right to that bound, which mostly decides who is best; else the direct form
 * in float64 does, and it alone makes the distances that the next draw goes by. */

/* Products of a panel's points and all candidates, and a bit for each that is not above its row's
 * limit. A product below its row's own is a gain, to within the error; all in the frame's units. */
typedef struct {
    float products[FASTKM_MAX_CANDIDATES][PANEL_ROWS];
    int32_t possible[PANEL_ROWS];
    float own[PANEL_ROWS], limits[PANEL_ROWS], errors[PANEL_ROWS];
} proposal;

/* Sets bit j of the rows whose product is not above their limit. */
static FASTKM_INLINE void mark_possible(const vf product[TILE_VECTORS], int64_t j,
                                        const float* limits, int32_t* possible) {
    const vi none = vi_set1(0), bit = vi_set1((int32_t)((uint32_t)1 << j));
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vm is_above = vf_lt(vf_load(limits + v * LANES), product[v]);
        int32_t* rows = possible + v * LANES;
        vi_store(rows, vi_or(vi_load(rows), vi_select(is_above, none, bit)));
    }
}

static FASTKM_INLINE void propose_tile(const float* panel, const fastkm_centroids* candidates,
                                       int64_t j_begin, const int n_candidates, lines_ahead* ahead,
                                       proposal* found) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products_of_tile(panel, candidates, j_begin, n_candidates, ahead, product);
    for (int j = 0; j < n_candidates; j++) {
        mark_possible(product[j], j_begin + j, found->limits, found->possible);
        for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(found->products[j_begin + j] + v * LANES, product[j][v]);
    }
}

/* Products above the limit belong to candidates that are surely no nearer than the current
 * distance; errors are what float32 may be wrong by. */
static void find_limits(const fastkm_frame* frame, const rounding_bound* bound, float max_norm,
                        int64_t n_rows, const double* closest, const float* sq_norms,
                        proposal* found) {
    const double ratio = frame->scale / frame->exact_scale * (frame->scale / frame->exact_scale);
    double current[PANEL_ROWS] = {0};
    memcpy(current, closest, (size_t)n_rows * sizeof *current);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        const double scaled = current[r] * ratio;
        const float norm = sqrtf(sq_norms[r]) * bound->slack, both = norm + max_norm;
        const float error = (bound->a * max_norm * (both + norm) + bound->b * both * both +
                             bound->c * (1 + both) + bound->a * sq_norms[r]) *
                            (1.01f * bound->slack);
        const double whole_error = error + 0x1p-21 * (scaled + sq_norms[r]);
        const double limit = scaled - sq_norms[r] + whole_error;
        /* Not a number, or more than a float holds: nothing is surely farther, not even an infinite
         * product. */
        found->limits[r] = limit < (double)FLT_MAX ? (float)limit : INFINITY;
        found->own[r] = (float)(scaled - sq_norms[r]);
        found->errors[r] = (float)whole_error;
    }
    for (int64_t r = n_rows; r < PANEL_ROWS; r++) found->limits[r] = found->own[r] = -INFINITY;
}

/* Gains of one row by the direct form; the mask keeps the candidates that are nearer. */
static uint32_t gain_exactly(const fastkm_points* points, const fastkm_frame* frame,
                             const fastkm_centroids* candidates, int64_t i, uint32_t possible,
                             double closest, double weight, fastkm_scratch* scratch,
                             double* gains) {
    uint32_t nearer = 0;
    for (int64_t j = 0; possible; possible >>= 1, j++) {
        if (!(possible & 1)) continue;
        const double dist = row_sq_dist(points, frame, i, candidates->raw + j * points->d, scratch);
        if (!(dist < closest)) continue;
        gains[j] += weight * (closest - dist);
        nearer |= 1u << j;
    }
    return nearer;
}

/* What a proposal of one block reads and writes. */
typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* candidates;
    const double* closest;
    const double* weights; /* or NULL */
    fastkm_scratch* scratch;
    uint32_t* masks;
    double *gains, *errors;
} proposal_pass;

/* Products of a panel, and what they leave possible. */
static void propose_panel(const fastkm_frame* frame, const fastkm_centroids* candidates,
                          const float* panel, const float* sq_norms, int64_t n_rows,
                          const double* closest, lines_ahead* ahead, proposal* found) {
    const rounding_bound bound = bound_for(candidates->d);
    find_limits(frame, &bound, candidates->max_norm, n_rows, closest, sq_norms, found);
    memset(found->possible, 0, sizeof found->possible);
    const uint32_t saved = flush_denormals();
    for (int64_t j = 0; j < candidates->k; j += FASTKM_TILE_CENTROIDS) {
#define PROPOSE(n) propose_tile(panel, candidates, j, n, ahead, found)
        WITH_CONSTANT_TILE(candidates->k - j, PROPOSE)
#undef PROPOSE
    }
    restore_denormals(saved);
    for (int64_t r = n_rows; r < PANEL_ROWS; r++) found->possible[r] = 0;
}

static FASTKM_INLINE float sum_of_lanes(vf a) {
    float lanes[LANES];
    vf_store(lanes, a);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

/* A panel's sum of products by weights rounds each value at most 12 times; README.md. */
#define GAIN_ROUNDING 0x1p-20
#define GAIN_UNDERFLOW 0x1p-136

/* Gains of a panel's rows, to within the errors. What is not possible has none. */
static void gain_roughly(const fastkm_frame* frame, const proposal* found, int64_t d,
                         int64_t n_rows, const double* weights, double* gains, double* errors) {
    const double per_unit = frame->exact_scale / frame->scale * (frame->exact_scale / frame->scale);
    const vf zero = vf_set1(0);
    float row_weights[PANEL_ROWS];
    uint32_t possible = 0;
    for (int64_t r = 0; r < PANEL_ROWS; r++) possible |= (uint32_t)found->possible[r];
    if (!possible) return;
    for (int64_t r = 0; r < PANEL_ROWS; r++) row_weights[r] = 1;
    /* Apart, or compilers make one loop of masked loads from NULL, at a hundred cycles each. */
    for (int64_t r = 0; weights && r < n_rows; r++) row_weights[r] = (float)weights[r];
    for (int64_t j = 0; possible; possible >>= 1, j++) {
        vf gain = zero, error = zero;
        if (!(possible & 1)) continue;
        for (int v = 0; v < TILE_VECTORS; v++) {
            const vf product = vf_load(found->products[j] + v * LANES);
            const vf weight = vf_load(row_weights + v * LANES);
            const vf less = vf_max(vf_sub(vf_load(found->own + v * LANES), product), zero);
            const vf doubt = vf_mul(weight, vf_load(found->errors + v * LANES));
            const vm is_above = vf_lt(vf_load(found->limits + v * LANES), product);
            gain = vf_fma(weight, less, gain);
            error = vf_add(error, vf_select(is_above, zero, doubt));
        }
        const double total = sum_of_lanes(gain), total_error = sum_of_lanes(error);
        gains[j] += total * per_unit;
        errors[j] += (total * GAIN_ROUNDING + total_error * (1 + GAIN_ROUNDING) +
                      (double)(d + 8) * GAIN_UNDERFLOW) *
                     per_unit;
    }
}

/* Adds a row's gains in float64; returns a mask of the candidates that are nearer. */
static uint32_t gain_row(const proposal_pass* pass, int64_t i, uint32_t possible) {
    return gain_exactly(pass->points, pass->frame, pass->candidates, i, possible, pass->closest[i],
                        pass->weights ? pass->weights[i] : 1, pass->scratch, pass->gains);
}

static void propose_rows(const proposal_pass* pass, const float* panel, const float* sq_norms,
                         int64_t i, int64_t n_rows, lines_ahead* ahead) {
    proposal found;
    propose_panel(pass->frame, pass->candidates, panel, sq_norms, n_rows, pass->closest + i, ahead,
                  &found);
    memcpy(pass->masks + i, found.possible, (size_t)n_rows * sizeof *found.possible);
    gain_roughly(pass->frame, &found, pass->points->d, n_rows,
                 pass->weights ? pass->weights + i : NULL, pass->gains, pass->errors);
}

static void propose(const fastkm_points* points, const fastkm_frame* frame,
                    const fastkm_centroids* candidates, const fastkm_panels* panels,
                    int64_t i_begin, int64_t i_end, const double* closest, const double* weights,
                    fastkm_scratch* scratch, uint32_t* masks, double* gains, double* errors) {
    const proposal_pass pass = {points,  frame, candidates, closest, weights,
                                scratch, masks, gains,      errors};
    float sq_norms[PANEL_ROWS];
    for (int64_t j = 0; j < candidates->k; j++) gains[j] = errors[j] = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        ready_panel panel =
            panel_of(points, frame, panels, i, n_rows, candidates->k, scratch, sq_norms);
        propose_rows(&pass, panel.values, panel.sq_norms, i, n_rows, &panel.ahead);
    }
}

/* Every panel of a block is loaded once and meets the candidates of all runs. */
static void propose_beside(const fastkm_points* points, const fastkm_frame* frame,
                           const fastkm_proposal* proposals, int64_t n_proposals, int64_t i_begin,
                           int64_t i_end, const double* weights, fastkm_scratch* scratch) {
    const int64_t b = i_begin / FASTKM_BLOCK_ROWS;
    int64_t n_tiles = 0;
    for (int64_t p = 0; p < n_proposals; p++) {
        const int64_t k = proposals[p].candidates->k;
        n_tiles += (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
        memset(proposals[p].gains + b * k, 0, (size_t)k * sizeof(double));
        memset(proposals[p].errors + b * k, 0, (size_t)k * sizeof(double));
    }
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float sq_norms[PANEL_ROWS];
        lines_ahead ahead = lines_of_next_panel(points, i, n_tiles * FASTKM_TILE_CENTROIDS);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        for (int64_t p = 0; p < n_proposals; p++) {
            const fastkm_proposal* one = proposals + p;
            const int64_t k = one->candidates->k;
            const proposal_pass pass = {
                points,  frame,      one->candidates,    one->closest,       weights,
                scratch, one->masks, one->gains + b * k, one->errors + b * k};
            propose_rows(&pass, scratch->panel, sq_norms, i, n_rows, &ahead);
        }
    }
}

/* The next row from i on with a candidate of the wanted ones in its mask, or i_end. */
static int64_t next_masked(const uint32_t* masks, uint32_t wanted, int64_t i, int64_t i_end) {
    while (i < i_end && !(masks[i] & wanted)) i++;
    return i;
}

static void settle(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_centroids* candidates, int64_t i_begin, int64_t i_end,
                   uint32_t wanted, const double* closest, const double* weights,
                   fastkm_scratch* scratch, uint32_t* masks, double* gains) {
    const proposal_pass pass = {points,  frame, candidates, closest, weights,
                                scratch, masks, gains,      NULL};
    for (int64_t j = 0; j < candidates->k; j++)
        if (wanted >> j & 1) gains[j] = 0;
    int64_t next = next_masked(masks, wanted, i_begin, i_end);
    while (next < i_end) {
        const int64_t i = next;
        next = next_masked(masks, wanted, i + 1, i_end);
        if (next < i_end) prefetch_row(points, next);
        masks[i] = (masks[i] & ~wanted) | gain_row(&pass, i, masks[i] & wanted);
    }
}

#define LONG_ROW_BYTES 1024

/* Bring the rows that the accepted candidate is nearer to up to date; returns how many there may
 * be. */
static int64_t accept(const fastkm_points* points, const fastkm_frame* frame,
                      const fastkm_centroids* candidates, int64_t i_begin, int64_t i_end,
                      int64_t accepted, const uint32_t* masks, fastkm_scratch* scratch,
                      double* closest) {
    const double* candidate = candidates->raw + accepted * points->d;
    const uint32_t wanted = 1u << accepted;
    /* Short rows are on their way at once, and asking line by line takes longer than measuring. */
    const int is_long = points->d * item_size(points->dtype) >= LONG_ROW_BYTES;
    int64_t n_nearer = 0, i = next_masked(masks, wanted, i_begin, i_end), ahead = i;
    for (int row = 0; row < (is_long ? ROWS_AHEAD : 1) && ahead < i_end; row++) {
        prefetch_row(points, ahead);
        ahead = next_masked(masks, wanted, ahead + 1, i_end);
    }
    for (; i < i_end; n_nearer++) {
        if (!is_long && ahead < i_end) prefetch_row(points, ahead);
        const double dist = row_sq_dist_ahead(points, frame, i, candidate,
                                              is_long && ahead < i_end ? ahead : -1, scratch);
        closest[i] = FASTKM_MIN(closest[i], dist);
        i = is_long ? next_masked(masks, wanted, i + 1, i_end) : ahead;
        if (ahead < i_end) ahead = next_masked(masks, wanted, ahead + 1, i_end);
    }
    return n_nearer;
}

/* What load_panel gives, of rows that are few enough to be kept. */
static void fill_panels(const fastkm_points* points, const fastkm_frame* frame, int64_t i_begin,
                        int64_t i_end, const fastkm_panels* panels) {
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS)
        load_panel(points, frame, i, FASTKM_MIN(i_end - i, PANEL_ROWS),
                   panels->values + i * points->d, panels->sq_norms + i);
}
