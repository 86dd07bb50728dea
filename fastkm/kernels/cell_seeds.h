/* Greedy k-means++ in few dimensions: a candidate farther from a cell's box than any of its rows
 * from its nearest seed changes nothing there, and it gains at most where a row's product is below
 * its limit. */

#define GAIN_SUMS 8 /* that no addition waits for the one before it; the smallest panel's rows */
#define REACHES_BESIDE 8 /* that no maximum waits for the one before it */

/* At least the distance, in the frame's units, whose square the farthest row's closest is. */
static float reach_of(const fastkm_frame* frame, const double* closest, int64_t n_rows) {
    double farthest[REACHES_BESIDE] = {0};
    int64_t r = 0;
    for (; r + REACHES_BESIDE <= n_rows; r += REACHES_BESIDE)
        for (int s = 0; s < REACHES_BESIDE; s++)
            farthest[s] = closest[r + s] <= farthest[s] ? farthest[s] : closest[r + s];
    for (; r < n_rows; r++) farthest[0] = FASTKM_MAX(closest[r], farthest[0]);
    for (int s = 1; s < REACHES_BESIDE; s++) farthest[0] = FASTKM_MAX(farthest[s], farthest[0]);
    return (float)(sqrt(farthest[0]) / frame->exact_scale * frame->scale * (1 + 0x1p-20)) + FLT_MIN;
}

/* What a product is below where the candidate is nearer, to within the rounding that open_by
 * bounds. */
static FASTKM_INLINE float limit_of(double closest, double per_exact_unit, float sq_norm) {
    const double limit = closest * per_exact_unit - sq_norm;
    return limit < (double)FLT_MAX ? (float)limit : INFINITY;
}

static double sq_ratio(double one, double other) {
    return one / other * (one / other);
}

static void begin_cell(const fastkm_frame* frame, const fastkm_kept_cells* cells, int64_t cell,
                       const double* closest, const fastkm_cell_state* state) {
    const double per_exact_unit = sq_ratio(frame->scale, frame->exact_scale);
    const int64_t begin = cell * FASTKM_CELL_ROWS;
    const int64_t n_rows = FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS);
    for (int64_t i = begin; i < begin + n_rows; i++) {
        state->closest[i] = closest[cells->order[i]];
        state->limits[i] = limit_of(state->closest[i], per_exact_unit, cells->panels.sq_norms[i]);
    }
    state->reaches[cell] = reach_of(frame, state->closest + begin, n_rows);
}

/* Squared distances of one candidate to the boxes of a group of cells. */
static FASTKM_INLINE void box_sq_dists(const fastkm_kept_cells* cells,
                                       const fastkm_centroids* candidates, int64_t group, int64_t j,
                                       float* sq_dists) {
    const int64_t d = cells->d;
    int64_t stride;
    const float* z = find_in_tiles(candidates, j, &stride);
    const float* box = cells->boxes + group * 2 * d * FASTKM_CELLS_BESIDE;
    vf sq_dist[FASTKM_CELLS_BESIDE / LANES];
    for (int v = 0; v < FASTKM_CELLS_BESIDE / LANES; v++) sq_dist[v] = vf_set1(0);
    for (int64_t f = 0; f < d; f++, box += 2 * FASTKM_CELLS_BESIDE) {
        const vf z_vf = vf_set1(-0.5f * z[f * stride]);
        for (int v = 0; v < FASTKM_CELLS_BESIDE / LANES; v++) {
            const vf below = vf_sub(vf_load(box + v * LANES), z_vf);
            const vf above = vf_sub(z_vf, vf_load(box + FASTKM_CELLS_BESIDE + v * LANES));
            const vf gap = vf_max(vf_max(below, above), vf_set1(0));
            sq_dist[v] = vf_fma(gap, gap, sq_dist[v]);
        }
    }
    for (int v = 0; v < FASTKM_CELLS_BESIDE / LANES; v++)
        vf_store(sq_dists + v * LANES, sq_dist[v]);
}

/* A bit for each candidate that is not too far away to be nearer to any of a cell's rows. */
static void find_live(const fastkm_centroids* candidates, const fastkm_kept_cells* cells,
                      int64_t group, const rounding_bound bound, const fastkm_cell_state* state) {
    const int64_t begin = group * FASTKM_CELLS_BESIDE;
    const int64_t n = FASTKM_MIN(n_cells_of(cells) - begin, FASTKM_CELLS_BESIDE);
    float limits[FASTKM_CELLS_BESIDE], sq_dists[FASTKM_CELLS_BESIDE];
    uint32_t* live = state->live + begin;
    for (int64_t c = 0; c < n; c++) {
        const float norms = cells->norms[begin + c] + candidates->max_norm;
        const float reach = state->reaches[begin + c] + (bound.a * norms + bound.c) * bound.slack;
        limits[c] = reach * reach * (1 + 2 * bound.a) + FLT_MIN;
        live[c] = 0;
    }
    const uint32_t saved = flush_denormals();
    for (int64_t j = 0; j < candidates->k; j++) {
        box_sq_dists(cells, candidates, group, j, sq_dists);
        for (int64_t c = 0; c < n; c++) live[c] |= (uint32_t)!(limits[c] < sq_dists[c]) << j;
    }
    restore_denormals(saved);
}

/* Cells that are asked for while one is looked into. */
#define CELLS_AHEAD 3

/* Asks memory for a cell that is looked into soon. */
static void prefetch_cell(const fastkm_kept_cells* cells, const fastkm_cell_state* state,
                          int64_t cell) {
    const int64_t i = cell * FASTKM_CELL_ROWS;
    const char* values = (const char*)(cells->panels.values + i * cells->d);
    const char* limits = (const char*)(state->limits + i);
    for (int64_t byte = 0; byte < FASTKM_CELL_ROWS * cells->d * 4; byte += LINE_BYTES)
        prefetch(values + byte);
    for (int64_t byte = 0; byte < FASTKM_CELL_ROWS * 4; byte += LINE_BYTES) prefetch(limits + byte);
}

/* How far a product of a cell's row may be from its limit while it is open which is larger, in the
 * frame's units: find_limits bounds it row by row, here the largest norm and distance stand for
 * all. Infinite where anything overflowed. */
static float open_by(const rounding_bound* bound, float norm, float max_norm, float reach) {
    const float both = norm + max_norm, sq_norm = norm * norm;
    const float error = (bound->a * max_norm * (both + norm) + bound->b * both * both +
                         bound->c * (1 + both) + bound->a * sq_norm) *
                        (1.02f * bound->slack);
    const float open = error + 0x1p-20f * (reach * reach + sq_norm) + FLT_MIN;
    return open < FLT_MAX ? open : INFINITY;
}

static int count_bits(uint64_t bits) {
    bits -= bits >> 1 & 0x5555555555555555u;
    bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int)(bits * 0x0101010101010101u >> 56);
}

/* What a group's candidates gain at most, lane by lane, and a bit for each row that they may. */
typedef struct {
    vf gains[FASTKM_MAX_CANDIDATES];
    double weighted[FASTKM_MAX_CANDIDATES];
    double doubts[FASTKM_MAX_CANDIDATES]; /* what is open of it */
    uint64_t bits[FASTKM_MAX_CANDIDATES]; /* of the cell at hand */
} cell_gains;

/* Gains of a vector of rows: what their products are below their limits. */
static FASTKM_INLINE vf gains_below(vf limit, vf product) {
    return vf_max(vf_sub(limit, product), vf_set1(0));
}

static FASTKM_INLINE void gain_by_tile(const float* panel, const fastkm_centroids* candidates,
                                       int64_t j_begin, const int n_candidates, const float* limits,
                                       int64_t row, const double* row_weights, lines_ahead* ahead,
                                       cell_gains* found) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products_of_tile(panel, candidates, j_begin, n_candidates, ahead, product);
    for (int j = 0; j < n_candidates; j++) {
        uint64_t above = 0;
        vf gain = found->gains[j_begin + j];
        for (int v = 0; v < TILE_VECTORS; v++) {
            const vf limit = vf_load(limits + v * LANES);
            above |= (uint64_t)vm_bits(vf_lt(limit, product[j][v])) << (row + v * LANES);
            gain = vf_add(gain, gains_below(limit, product[j][v]));
        }
        found->gains[j_begin + j] = gain;
        found->bits[j_begin + j] &= ~above;
        if (row_weights) {
            float less[PANEL_ROWS];
            double weighted[GAIN_SUMS] = {0};
            for (int v = 0; v < TILE_VECTORS; v++)
                vf_store(less + v * LANES, gains_below(vf_load(limits + v * LANES), product[j][v]));
            for (int r = 0; r < PANEL_ROWS; r += GAIN_SUMS)
                for (int s = 0; s < GAIN_SUMS; s++) weighted[s] += row_weights[r + s] * less[r + s];
            for (int s = 0; s < GAIN_SUMS; s++) found->weighted[j_begin + j] += weighted[s];
        }
    }
}

/* All candidates' gains on one cell; masks keep the rows where there may be any. */
static void gain_by_cell(const fastkm_centroids* candidates, const fastkm_kept_cells* cells,
                         int64_t cell, float open, const double* weights,
                         const fastkm_cell_state* state, cell_gains* found) {
    const lines_ahead none = no_lines(cells->panels.values);
    const int64_t begin = cell * FASTKM_CELL_ROWS, k = candidates->k;
    const int64_t n_rows = FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS);
    const uint64_t rows = ~(uint64_t)0 >> (FASTKM_CELL_ROWS - n_rows);
    double row_weights[FASTKM_CELL_ROWS] = {0};
    float limits[FASTKM_CELL_ROWS];
    const vf open_vf = vf_set1(open);
    for (int64_t v = 0; v < FASTKM_CELL_ROWS; v += LANES)
        vf_store(limits + v, vf_add(vf_load(state->limits + begin + v), open_vf));
    for (int64_t r = 0; weights && r < n_rows; r++)
        row_weights[r] = weights[cells->order[begin + r]];
    for (int64_t j = 0; j < k; j++) found->bits[j] = rows;
    for (int64_t row = 0; row < n_rows; row += PANEL_ROWS) {
        const float* panel = cells->panels.values + (begin + row) * cells->d;
        lines_ahead ahead = none;
        for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS) {
#define GAIN(n)                                                                                  \
    gain_by_tile(panel, candidates, j, n, limits + row, row, weights ? row_weights + row : NULL, \
                 &ahead, found)
            WITH_CONSTANT_TILE(k - j, GAIN)
#undef GAIN
        }
    }
    for (int64_t j = 0; j < k; j++) {
        double weight = 0;
        state->masks[cell * k + j] = found->bits[j];
        if (!weights)
            weight = count_bits(found->bits[j]);
        else
            for (int64_t r = 0; r < n_rows; r++)
                weight += found->bits[j] >> r & 1 ? row_weights[r] : 0;
        if (weight) found->doubts[j] += weight * open;
    }
}

/* Additions of float32 that a lane of a group's gains takes part in, and some to spare. */
#define GAIN_ADDITIONS (FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS / LANES + 8)

static void propose_group(const fastkm_frame* frame, const fastkm_centroids* candidates,
                          const fastkm_kept_cells* cells, int64_t group, const double* weights,
                          const fastkm_cell_state* state, double* gains, double* errors) {
    const rounding_bound bound = bound_for(cells->d);
    const double per_unit = sq_ratio(frame->exact_scale, frame->scale);
    const int64_t begin = group * FASTKM_CELLS_BESIDE;
    const int64_t end = FASTKM_MIN(n_cells_of(cells), begin + FASTKM_CELLS_BESIDE);
    int64_t live[FASTKM_CELLS_BESIDE], n_live = 0;
    cell_gains found;
    for (int64_t j = 0; j < candidates->k; j++) {
        found.gains[j] = vf_set1(0);
        gains[j] = errors[j] = found.weighted[j] = found.doubts[j] = 0;
    }
    find_live(candidates, cells, group, bound, state);
    for (int64_t cell = begin; cell < end; cell++)
        if (state->live[cell]) live[n_live++] = cell;
    if (n_live == 0) return;
    for (int64_t c = 0; c < FASTKM_MIN(n_live, CELLS_AHEAD); c++)
        prefetch_cell(cells, state, live[c]);
    const uint32_t saved = flush_denormals();
    for (int64_t c = 0; c < n_live; c++) {
        const int64_t cell = live[c];
        if (c + CELLS_AHEAD < n_live) prefetch_cell(cells, state, live[c + CELLS_AHEAD]);
        gain_by_cell(
            candidates, cells, cell,
            open_by(&bound, cells->norms[cell], candidates->max_norm, state->reaches[cell]),
            weights, state, &found);
    }
    restore_denormals(saved);
    for (int64_t j = 0; j < candidates->k; j++) {
        double gain = found.weighted[j];
        float lanes[LANES];
        vf_store(lanes, found.gains[j]);
        for (int l = 0; l < LANES && !weights; l++) gain += lanes[l];
        /* Each row's gain is below what was added, by twice what is open at most. */
        gains[j] = (gain - found.doubts[j]) * per_unit;
        errors[j] =
            (found.doubts[j] * (1 + 0x1p-20) + gain * (GAIN_ADDITIONS * 0x1p-23)) * per_unit;
    }
}

/* Rows that are asked for while one is measured. */
#define ACCEPTED_AHEAD 12

/* Squared distances to a candidate of some rows where they are. */
static FASTKM_INLINE void dists_in_place(const fastkm_points* points, const double* candidate,
                                         const int32_t* rows, int64_t n_rows, const int64_t d,
                                         double* dists) {
    for (int64_t r = 0; r < n_rows; r++) {
        const char* row = points->base + rows[r] * points->row_stride;
        if (r + ACCEPTED_AHEAD < n_rows) prefetch_rows(points, rows + r + ACCEPTED_AHEAD, 1);
#define IN_PLACE(dtype) dists[r] = scaled_sq_dist(row, dtype, candidate, d, 1, 0, NULL)
        WITH_CONSTANT_DTYPE(points->dtype, IN_PLACE)
#undef IN_PLACE
    }
}

static void dists_of_rows(const fastkm_points* points, const fastkm_frame* frame,
                          const double* candidate, const int32_t* rows, int64_t n_rows,
                          fastkm_scratch* scratch, double* dists) {
    const int64_t d = points->d;
    prefetch_rows(points, rows, FASTKM_MIN(n_rows, ACCEPTED_AHEAD));
#define IN_PLACE(d) dists_in_place(points, candidate, rows, n_rows, d, dists)
    if (!is_in_place(points) || frame->exact_scale != 1) {
        for (int64_t r = 0; r < n_rows; r++) {
            if (r + ACCEPTED_AHEAD < n_rows) prefetch_rows(points, rows + r + ACCEPTED_AHEAD, 1);
            load_row(points, rows[r], scratch->row);
            dists[r] = sq_dist(scratch->row, candidate, d, frame->exact_scale);
        }
    } else if (d > LOW_D) {
        IN_PLACE(d);
    } else {
        WITH_CONSTANT_D(d, IN_PLACE)
    }
#undef IN_PLACE
}

/* Takes a cell's distances that are below the rows' closest. */
static void take_dists(const fastkm_frame* frame, const fastkm_kept_cells* cells, int64_t cell,
                       uint64_t bits, const double* dists, const fastkm_cell_state* state,
                       double* closest) {
    const double per_exact_unit = sq_ratio(frame->scale, frame->exact_scale);
    const int64_t begin = cell * FASTKM_CELL_ROWS;
    int is_nearer = 0;
    for (; bits; bits &= bits - 1) {
        const int64_t i = begin + lowest_bit(bits);
        const double dist = *dists++;
        if (!(dist < state->closest[i])) continue;
        const int32_t row = cells->order[i];
        state->closest[i] = closest[row] = dist;
        state->limits[i] = limit_of(dist, per_exact_unit, cells->panels.sq_norms[i]);
        state->touched[row / FASTKM_BLOCK_ROWS] = 1;
        is_nearer = 1;
    }
    if (is_nearer)
        state->reaches[cell] =
            reach_of(frame, state->closest + begin, FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS));
}

static void accept_cells(const fastkm_points* points, const fastkm_frame* frame,
                         const fastkm_centroids* candidates, const fastkm_kept_cells* cells,
                         int64_t begin, int64_t end, int64_t accepted, fastkm_scratch* scratch,
                         const fastkm_cell_state* state, double* closest) {
    const fastkm_points* source = cells->rows.base ? &cells->rows : points;
    int32_t rows[FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS];
    double dists[FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS];
    uint64_t bits[FASTKM_CELLS_BESIDE];
    int64_t n_rows = 0;
    for (int64_t cell = begin; cell < end; cell++) {
        const int is_live = state->live[cell] >> accepted & 1;
        uint64_t left = is_live ? state->masks[cell * candidates->k + accepted] : 0;
        bits[cell - begin] = left;
        for (; left; left &= left - 1) {
            const int64_t place = cell * FASTKM_CELL_ROWS + lowest_bit(left);
            rows[n_rows++] = source == points ? cells->order[place] : (int32_t)place;
        }
    }
    dists_of_rows(source, frame, candidates->raw + accepted * points->d, rows, n_rows, scratch,
                  dists);
    n_rows = 0;
    for (int64_t cell = begin; cell < end; cell++) {
        if (!bits[cell - begin]) continue;
        take_dists(frame, cells, cell, bits[cell - begin], dists + n_rows, state, closest);
        n_rows += count_bits(bits[cell - begin]);
    }
}

/* Sums of as many blocks side by side, each in the order of its rows. */
static void sum_blocks(const double* const* blocks, double* sums) {
    double total[FASTKM_BLOCKS_BESIDE] = {0};
    const double* closest[FASTKM_BLOCKS_BESIDE];
    for (int s = 0; s < FASTKM_BLOCKS_BESIDE; s++) closest[s] = blocks[s];
    for (int64_t r = 0; r < FASTKM_BLOCK_ROWS; r++)
        for (int s = 0; s < FASTKM_BLOCKS_BESIDE; s++) total[s] += closest[s][r];
    for (int s = 0; s < FASTKM_BLOCKS_BESIDE; s++) sums[s] = total[s];
}
