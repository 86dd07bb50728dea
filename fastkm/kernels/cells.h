/* Greedy k-means++ in few dimensions. Rows are sorted once into cells of neighbours; a candidate
 * farther from a cell's box than any of its rows from its nearest seed changes nothing there. */

static void sort_rows(const fastkm_points* points, const fastkm_splits* splits, int64_t i_begin,
                      int64_t i_end, fastkm_scratch* scratch, uint16_t* leaves) {
    const int64_t d = points->d;
    for (int64_t i = i_begin; i < i_end; i += FASTKM_MOMENT_ROWS) {
        /* Several rows, that none waits for its own last node. */
        int32_t node[FASTKM_MOMENT_ROWS];
        const int64_t n_rows = FASTKM_MIN(i_end - i, FASTKM_MOMENT_ROWS);
        for (int64_t r = 0; r < FASTKM_MOMENT_ROWS; r++) {
            node[r] = 1;
            load_row(points, i + FASTKM_MIN(r, n_rows - 1), scratch->rows + r * d);
        }
        for (int32_t level = 0; level < splits->depth; level++)
            for (int64_t r = 0; r < FASTKM_MOMENT_ROWS; r++)
                node[r] = 2 * node[r] + !(scratch->rows[r * d + splits->features[node[r]]] <
                                          splits->thresholds[node[r]]);
        for (int64_t r = 0; r < n_rows; r++)
            leaves[i + r] = (uint16_t)(node[r] - (1 << splits->depth));
    }
}

static int64_t n_cells_of(const fastkm_kept_cells* cells) {
    return (cells->n + FASTKM_CELL_ROWS - 1) / FASTKM_CELL_ROWS;
}

static float* box_of(const fastkm_kept_cells* cells, int64_t cell) {
    return cells->boxes + cell / FASTKM_CELLS_BESIDE * (2 * cells->d * FASTKM_CELLS_BESIDE) +
           cell % FASTKM_CELLS_BESIDE;
}

/* The least and the largest value of a panel's column. */
static FASTKM_INLINE void find_range(const float* column, int64_t n_rows, float* least,
                                     float* largest) {
    if (n_rows < PANEL_ROWS) {
        *least = *largest = column[0];
        for (int64_t r = 1; r < n_rows; r++) {
            *least = FASTKM_MIN(*least, column[r]);
            *largest = FASTKM_MAX(*largest, column[r]);
        }
        return;
    }
    vf low = vf_load(column), most_negative = vf_sub(vf_set1(0), low);
    for (int v = 1; v < TILE_VECTORS; v++) {
        const vf values = vf_load(column + v * LANES);
        low = vf_min(values, low);
        most_negative = vf_min(vf_sub(vf_set1(0), values), most_negative);
    }
    *least = least_lane(low);
    *largest = -least_lane(most_negative);
}

static void fill_cell(const fastkm_points* points, const fastkm_frame* frame, int64_t cell,
                      char* rows, const fastkm_kept_cells* cells) {
    const int64_t d = points->d, item = item_size(points->dtype), begin = cell * FASTKM_CELL_ROWS;
    const int64_t n_rows = FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS);
    const rounding_bound bound = bound_for(d);
    const fastkm_points gathered = {rows, n_rows, d, d * item, item, points->dtype};
    float* box = box_of(cells, cell);
    float max_sq_norm = 0;
    int64_t indices[FASTKM_CELL_ROWS] = {0};
    for (int64_t r = 0; r < n_rows; r++) indices[r] = cells->order[begin + r];
    gather(points, indices, n_rows, rows);
    for (int64_t i = 0; i < FASTKM_CELL_ROWS; i += PANEL_ROWS) {
        float* panel = cells->panels.values + (begin + i) * d;
        float* sq_norms = cells->panels.sq_norms + begin + i;
        const int64_t n_here = FASTKM_MIN(n_rows - i, PANEL_ROWS);
        if (n_here <= 0) break;
        load_panel(&gathered, frame, i, n_here, panel, sq_norms);
        for (int64_t r = 0; r < n_here; r++)
            if (!(sq_norms[r] <= max_sq_norm)) max_sq_norm = sq_norms[r];
        for (int64_t f = 0; f < d; f++) {
            const float* column = panel + f * PANEL_ROWS;
            float least, largest;
            find_range(column, n_here, &least, &largest);
            if (i) {
                least = FASTKM_MIN(least, box[2 * f * FASTKM_CELLS_BESIDE]);
                largest = FASTKM_MAX(largest, box[(2 * f + 1) * FASTKM_CELLS_BESIDE]);
            }
            box[2 * f * FASTKM_CELLS_BESIDE] = least;
            box[(2 * f + 1) * FASTKM_CELLS_BESIDE] = largest;
        }
    }
    cells->norms[cell] = sqrtf(max_sq_norm) * bound.slack;
}

/* At least the distance, in the frame's units, whose square the farthest row's closest is. */
static float reach_of(const fastkm_frame* frame, const double* closest, int64_t n_rows) {
    double farthest = 0;
    for (int64_t r = 0; r < n_rows; r++)
        if (!(closest[r] <= farthest)) farthest = closest[r];
    return (float)(sqrt(farthest) / frame->exact_scale * frame->scale * (1 + 0x1p-20)) + FLT_MIN;
}

static void begin_cell(const fastkm_frame* frame, const fastkm_kept_cells* cells, int64_t cell,
                       const double* closest, const fastkm_cell_state* state) {
    const int64_t begin = cell * FASTKM_CELL_ROWS;
    const int64_t n_rows = FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS);
    for (int64_t i = begin; i < begin + n_rows; i++) state->closest[i] = closest[cells->order[i]];
    state->reaches[cell] = reach_of(frame, state->closest + begin, n_rows);
}

/* Squared distances of one candidate to the boxes of a group of cells. */
static FASTKM_INLINE void box_sq_dists(const fastkm_kept_cells* cells,
                                       const fastkm_centroids* candidates, int64_t group, int64_t j,
                                       float* sq_dists) {
    const int64_t d = cells->d, tile = j - j % FASTKM_TILE_CENTROIDS;
    const int64_t tile_size = FASTKM_MIN(candidates->k - tile, FASTKM_TILE_CENTROIDS);
    const float* z = candidates->tiles + tile * d + j % FASTKM_TILE_CENTROIDS;
    const float* box = cells->boxes + group * 2 * d * FASTKM_CELLS_BESIDE;
    vf sq_dist[FASTKM_CELLS_BESIDE / LANES];
    for (int v = 0; v < FASTKM_CELLS_BESIDE / LANES; v++) sq_dist[v] = vf_set1(0);
    for (int64_t f = 0; f < d; f++, box += 2 * FASTKM_CELLS_BESIDE) {
        const vf z_vf = vf_set1(-0.5f * z[f * tile_size]);
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

static void find_live(const fastkm_centroids* candidates, const fastkm_kept_cells* cells,
                      int64_t group, const fastkm_cell_state* state) {
    const rounding_bound bound = bound_for(cells->d);
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

/* Asks memory for a cell that is looked into soon. */
static void prefetch_cell(const fastkm_kept_cells* cells, const fastkm_cell_state* state,
                          int64_t cell) {
    const int64_t i = cell * FASTKM_CELL_ROWS;
    const char* values = (const char*)(cells->panels.values + i * cells->d);
    const char* closest = (const char*)(state->closest + i);
    for (int64_t byte = 0; byte < FASTKM_CELL_ROWS * cells->d * 4; byte += LINE_BYTES)
        prefetch(values + byte);
    for (int64_t byte = 0; byte < FASTKM_CELL_ROWS * 8; byte += LINE_BYTES)
        prefetch(closest + byte);
}

static void propose_cells(const fastkm_frame* frame, const fastkm_centroids* candidates,
                          const fastkm_kept_cells* cells, const int32_t* listed, int64_t n_listed,
                          const double* weights, const fastkm_cell_state* state, double* gains,
                          double* errors) {
    lines_ahead none = {(const char*)cells->panels.values, 0};
    proposal found;
    double row_weights[PANEL_ROWS] = {0};
    for (int64_t j = 0; j < candidates->k; j++) gains[j] = errors[j] = 0;
    for (int64_t c = 0; c < n_listed; c++) {
        const int64_t i_begin = listed[c] * (int64_t)FASTKM_CELL_ROWS;
        const int64_t i_end = FASTKM_MIN(cells->n, i_begin + FASTKM_CELL_ROWS);
        if (c + 1 < n_listed) prefetch_cell(cells, state, listed[c + 1]);
        for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
            const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
            const float* sq_norms = cells->panels.sq_norms + i;
            propose_panel(frame, candidates, cells->panels.values + i * cells->d, sq_norms, n_rows,
                          state->closest + i, &none, &found);
            memcpy(state->masks + i, found.possible, (size_t)n_rows * sizeof *found.possible);
            for (int64_t r = 0; weights && r < n_rows; r++)
                if (found.possible[r]) row_weights[r] = weights[cells->order[i + r]];
            gain_roughly(frame, &found, cells->d, n_rows, weights ? row_weights : NULL, gains,
                         errors);
        }
    }
}

/* Asks memory for the rows of a live cell that the accepted candidate may be nearer to. */
static void prefetch_possible(const fastkm_points* points, const fastkm_kept_cells* cells,
                              const fastkm_cell_state* state, int64_t cell, int64_t accepted) {
    const int64_t begin = cell * FASTKM_CELL_ROWS;
    const int64_t end = FASTKM_MIN(cells->n, begin + FASTKM_CELL_ROWS);
    if (!(state->live[cell] >> accepted & 1)) return;
    for (int64_t i = begin; i < end; i++)
        if (state->masks[i] >> accepted & 1) prefetch_row(points, cells->order[i]);
}

static void accept_cells(const fastkm_points* points, const fastkm_frame* frame,
                         const fastkm_centroids* candidates, const fastkm_kept_cells* cells,
                         const int32_t* listed, int64_t n_listed, int64_t accepted,
                         fastkm_scratch* scratch, const fastkm_cell_state* state, double* closest) {
    const double* candidate = candidates->raw + accepted * points->d;
    for (int64_t c = 0; c < n_listed; c++) {
        const int64_t i_begin = listed[c] * (int64_t)FASTKM_CELL_ROWS;
        const int64_t i_end = FASTKM_MIN(cells->n, i_begin + FASTKM_CELL_ROWS);
        int is_nearer = 0;
        if (c == 0) prefetch_possible(points, cells, state, listed[0], accepted);
        if (c + 1 < n_listed) prefetch_possible(points, cells, state, listed[c + 1], accepted);
        if (!(state->live[listed[c]] >> accepted & 1)) continue;
        for (int64_t i = i_begin; i < i_end; i++) {
            const int64_t row = cells->order[i];
            if (!(state->masks[i] >> accepted & 1)) continue;
            const double dist = row_sq_dist(points, frame, row, candidate, scratch);
            if (!(dist < state->closest[i])) continue;
            state->closest[i] = closest[row] = dist;
            state->touched[row / FASTKM_BLOCK_ROWS] = 1;
            is_nearer = 1;
        }
        if (is_nearer)
            state->reaches[listed[c]] = reach_of(frame, state->closest + i_begin, i_end - i_begin);
    }
}
