/* Greedy k-means++: which candidates would bring a row nearer, and by how much in all. float32
 * proposes: a candidate whose distance is at or above the current one by more than the rounding
 * bound changes nothing; float64 disposes. */

static FASTKM_INLINE void mask_tile(const float* panel, const fastkm_centroids* candidates,
                                    int64_t j_begin, const int n_candidates, const float* limits,
                                    lines_ahead* ahead, uint32_t* masks) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, candidates->tiles + j_begin * candidates->d, candidates->sq_norms + j_begin,
             candidates->d, n_candidates, ahead, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf limit = vf_load(limits + v * LANES);
        for (int j = 0; j < n_candidates; j++) {
            uint32_t nearer = ~vm_bits(vf_lt(limit, product[j][v])) & ((1u << LANES) - 1);
            for (uint32_t* mask = masks + v * LANES; nearer; nearer >>= 1, mask++)
                *mask |= (nearer & 1) << (j_begin + j);
        }
    }
}

/* Products above the limit belong to candidates that are surely no nearer than the current
 * distance. */
static void find_limits(const fastkm_frame* frame, const rounding_bound* bound, float max_norm,
                        int64_t n_rows, const double* closest, const float* sq_norms,
                        float* limits) {
    const double ratio = frame->scale / frame->exact_scale * (frame->scale / frame->exact_scale);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        const double sq_norm = sq_norms[r], norm = sqrt(sq_norm) * bound->slack;
        const double both = norm + max_norm;
        const double error = bound->a * max_norm * (both + norm) + bound->b * both * both +
                             bound->c * (1 + both) + bound->a * sq_norm;
        const double current = r < n_rows ? closest[r] * ratio : 0;
        const double limit = current - sq_norm + 1.01 * error + 0x1p-22 * (current + sq_norm);
        /* Not a number, or more than a float holds: nothing is surely farther, not even an infinite
         * product. */
        const float limit_f32 = limit < (double)FLT_MAX ? (float)limit : INFINITY;
        limits[r] = r < n_rows ? limit_f32 : -INFINITY;
    }
}

static void propose(const fastkm_points* points, const fastkm_frame* frame,
                    const fastkm_centroids* candidates, int64_t i_begin, int64_t i_end,
                    const double* closest, const double* weights, fastkm_scratch* scratch,
                    uint32_t* masks, double* gains) {
    const int64_t d = points->d, k = candidates->k;
    const rounding_bound bound = bound_for(d);
    float sq_norms[PANEL_ROWS], limits[PANEL_ROWS];
    uint32_t possible[PANEL_ROWS];
    for (int64_t j = 0; j < k; j++) gains[j] = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        lines_ahead ahead = lines_of_next_panel(points, i, k);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        find_limits(frame, &bound, candidates->max_norm, n_rows, closest + i, sq_norms, limits);
        memset(possible, 0, sizeof possible);
        const uint32_t saved = flush_denormals();
        for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS) {
#define MASK(n) mask_tile(scratch->panel, candidates, j, n, limits, &ahead, possible)
            WITH_CONSTANT_TILE(k - j, MASK)
#undef MASK
        }
        restore_denormals(saved);
        for (int64_t r = 0; r < n_rows; r++) {
            uint32_t nearer = 0;
            if (possible[r]) load_row(points, i + r, scratch->row);
            for (int64_t j = 0; possible[r] && j < k; j++) {
                if (!(possible[r] >> j & 1)) continue;
                const double dist =
                    sq_dist(scratch->row, candidates->raw + j * d, d, frame->exact_scale);
                if (!(dist < closest[i + r])) continue;
                gains[j] += (weights ? weights[i + r] : 1) * (closest[i + r] - dist);
                nearer |= 1u << j;
            }
            masks[i + r] = nearer;
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
            closest[i] = sq_dist(scratch->row, candidate, points->d, frame->exact_scale);
        }
}
