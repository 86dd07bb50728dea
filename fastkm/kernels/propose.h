/* Greedy k-means++: which candidates would bring a row nearer, and by how much in all. A candidate
 * whose float32 distance is above the current one by more than the rounding bound changes nothing.
 * The others' gains are right to that bound, which mostly decides who is best; else the direct form
 * in float64 does, and it alone makes the distances that the next draw goes by. */

/* Products of a panel's points and all candidates, and a bit for each that is not above its row's
 * limit. */
typedef struct {
    float products[FASTKM_MAX_CANDIDATES][PANEL_ROWS];
    uint32_t possible[PANEL_ROWS];
} proposal;

static FASTKM_INLINE void propose_tile(const float* panel, const fastkm_centroids* candidates,
                                       int64_t j_begin, const int n_candidates, const float* limits,
                                       lines_ahead* ahead, proposal* found) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, candidates->tiles + j_begin * candidates->d, candidates->sq_norms + j_begin,
             candidates->d, n_candidates, ahead, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf limit = vf_load(limits + v * LANES);
        for (int j = 0; j < n_candidates; j++) {
            uint32_t nearer = ~vm_bits(vf_lt(limit, product[j][v])) & ((1u << LANES) - 1);
            vf_store(found->products[j_begin + j] + v * LANES, product[j][v]);
            for (uint32_t* mask = found->possible + v * LANES; nearer; nearer >>= 1, mask++)
                *mask |= (nearer & 1) << (j_begin + j);
        }
    }
}

/* Products above the limit belong to candidates that are surely no nearer than the current
 * distance; errors are what float32 may be wrong by, all in the frame's units. */
static void find_limits(const fastkm_frame* frame, const rounding_bound* bound, float max_norm,
                        int64_t n_rows, const double* closest, const float* sq_norms, float* limits,
                        double* errors) {
    const double ratio = frame->scale / frame->exact_scale * (frame->scale / frame->exact_scale);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        const double sq_norm = sq_norms[r], norm = sqrt(sq_norm) * bound->slack;
        const double both = norm + max_norm;
        const double current = r < n_rows ? closest[r] * ratio : 0;
        errors[r] = 1.01 * (bound->a * max_norm * (both + norm) + bound->b * both * both +
                            bound->c * (1 + both) + bound->a * sq_norm) +
                    0x1p-22 * (current + sq_norm);
        const double limit = current - sq_norm + errors[r];
        /* Not a number, or more than a float holds: nothing is surely farther, not even an infinite
         * product. */
        const float limit_f32 = limit < (double)FLT_MAX ? (float)limit : INFINITY;
        limits[r] = r < n_rows ? limit_f32 : -INFINITY;
    }
}

/* Gains of one row by the direct form; the mask keeps the candidates that are nearer. */
static uint32_t gain_exactly(const fastkm_points* points, const fastkm_frame* frame,
                             const fastkm_centroids* candidates, int64_t i, uint32_t possible,
                             double closest, double weight, fastkm_scratch* scratch,
                             double* gains) {
    uint32_t nearer = 0;
    load_row(points, i, scratch->row);
    for (int64_t j = 0; possible; possible >>= 1, j++) {
        if (!(possible & 1)) continue;
        const double dist =
            sq_dist(scratch->row, candidates->raw + j * points->d, points->d, frame->exact_scale);
        if (!(dist < closest)) continue;
        gains[j] += weight * (closest - dist);
        nearer |= 1u << j;
    }
    return nearer;
}

static void propose(const fastkm_points* points, const fastkm_frame* frame,
                    const fastkm_centroids* candidates, const fastkm_panels* panels,
                    int64_t i_begin, int64_t i_end, const double* closest, const double* weights,
                    int exactly, fastkm_scratch* scratch, uint32_t* masks, double* gains,
                    double* errors) {
    const int64_t d = points->d, k = candidates->k;
    const rounding_bound bound = bound_for(d);
    const double per_unit = frame->exact_scale / frame->scale * (frame->exact_scale / frame->scale);
    float sq_norms[PANEL_ROWS], limits[PANEL_ROWS];
    double row_errors[PANEL_ROWS];
    proposal found;
    for (int64_t j = 0; j < k; j++) gains[j] = errors[j] = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        const float* panel = scratch->panel;
        lines_ahead ahead = {points->base, 0};
        if (panels) {
            panel = panels->values + i * d;
            memcpy(sq_norms, panels->sq_norms + i, sizeof sq_norms);
        } else {
            ahead = lines_of_next_panel(points, i, k);
            load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        }
        find_limits(frame, &bound, candidates->max_norm, n_rows, closest + i, sq_norms, limits,
                    row_errors);
        memset(found.possible, 0, sizeof found.possible);
        const uint32_t saved = flush_denormals();
        for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS) {
#define PROPOSE(n) propose_tile(panel, candidates, j, n, limits, &ahead, &found)
            WITH_CONSTANT_TILE(k - j, PROPOSE)
#undef PROPOSE
        }
        restore_denormals(saved);
        for (int64_t r = 0; r < n_rows; r++) {
            uint32_t possible = found.possible[r];
            const double weight = weights ? weights[i + r] : 1;
            if (exactly && possible)
                possible = gain_exactly(points, frame, candidates, i + r, possible, closest[i + r],
                                        weight, scratch, gains);
            masks[i + r] = possible;
            if (exactly) continue;
            for (int64_t j = 0; possible; possible >>= 1, j++) {
                if (!(possible & 1)) continue;
                const double dist = ((double)found.products[j][r] + sq_norms[r]) * per_unit;
                gains[j] += weight * FASTKM_MAX(closest[i + r] - dist, 0);
                errors[j] += weight * (row_errors[r] * per_unit);
            }
        }
    }
}

/* Bring the rows that the accepted candidate is nearer to up to date. */
static void accept(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_centroids* candidates, int64_t i_begin, int64_t i_end,
                   int64_t accepted, const uint32_t* masks, fastkm_scratch* scratch,
                   double* closest) {
    const double* candidate = candidates->raw + accepted * points->d;
    for (int64_t i = i_begin; i < i_end; i++)
        if (masks[i] >> accepted & 1) {
            load_row(points, i, scratch->row);
            const double dist = sq_dist(scratch->row, candidate, points->d, frame->exact_scale);
            closest[i] = FASTKM_MIN(closest[i], dist);
        }
}

/* What load_panel gives, of rows that are few enough to be kept. */
static void fill_panels(const fastkm_points* points, const fastkm_frame* frame, int64_t i_begin,
                        int64_t i_end, const fastkm_panels* panels) {
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS)
        load_panel(points, frame, i, FASTKM_MIN(i_end - i, PANEL_ROWS),
                   panels->values + i * points->d, panels->sq_norms + i);
}
