/* Labels of kept cells round after round. A tile of centroids stays excluded from a cell while the
 * centroids have moved less than they would have to; README.md proves it. A cell that all tiles are
 * excluded from keeps its labels unread. */

/* What rounding may add to a gap, or to a sum of drifts, is less than this share of it. */
#define GAP_SLACK 0x1p-22f
/* A centroid must be farther than the own one by this share of the distance, more than float64's
 * rounding. */
#define LEAST_LEAD 0x1p-20f
/* The rounding bound of products is widened by this for what is done with them here. */
#define GAP_WIDENING 1.3f

/* At least how far a centroid moved, in the frame's units. */
static float drift_of(const double* one, const double* other, int64_t d, double scale) {
    const double drift = sqrt(sq_dist(one, other, d, scale)) * (1 + LEAST_LEAD);
    return drift < (double)FLT_MAX / 2 ? (float)drift + FLT_MIN : INFINITY;
}

/* One centroid into its place of a tile of n. */
static void place_centroid(const fastkm_frame* frame, const fastkm_centroids* centroids,
                           int64_t place, int64_t n, int is_more, const fastkm_gaps* gaps) {
    const int64_t d = centroids->d, j = gaps->order[place], c = place % FASTKM_TILE_CENTROIDS;
    int64_t stride;
    const float* z = find_in_tiles(centroids, j, &stride);
    float* tile = gaps->tiles + (place - c) * d + c;
    const float drift = drift_of(centroids->raw + j * d, gaps->raw + j * d, d, frame->scale);
    for (int64_t f = 0; f < d; f++) tile[f * n] = z[f * stride];
    gaps->sq_norms[place] = centroids->sq_norms[j];
    gaps->drifts[place] = is_more ? (gaps->drifts[place] + drift) * (1 + GAP_SLACK) : drift;
}

static void follow_gaps(const fastkm_frame* frame, const fastkm_centroids* centroids, int is_more,
                        const fastkm_gaps* gaps) {
    const rounding_bound bound = bound_for(centroids->d);
    const float a = bound.a + bound.b, widening = GAP_WIDENING * bound.slack;
    for (int64_t t = 0; t < gaps->n_tiles; t++) {
        const int64_t begin = t * FASTKM_TILE_CENTROIDS;
        const int64_t end = FASTKM_MIN(gaps->k, begin + FASTKM_TILE_CENTROIDS);
        float sq_norm = 0, drift = 0;
        for (int64_t place = begin; place < end; place++) {
            place_centroid(frame, centroids, place, end - begin, is_more, gaps);
            if (!(gaps->sq_norms[place] <= sq_norm)) sq_norm = gaps->sq_norms[place];
            drift = FASTKM_MAX(drift, gaps->drifts[place]);
        }
        const float norm = sqrtf(sq_norm) * bound.slack + LEAST_NORM;
        gaps->tile_drifts[t] = drift;
        gaps->fixed[t] =
            norm < MOST_NORM ? (a * norm * norm + bound.c * (1 + norm)) * widening : INFINITY;
        gaps->growing[t] = (2 * a * norm + bound.c) * widening;
    }
    memcpy(gaps->raw, centroids->raw, (size_t)(gaps->k * centroids->d) * sizeof *gaps->raw);
}

typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const fastkm_kept_cells* cells;
    const fastkm_gaps* gaps;
    const rounding_bound bound;
    fastkm_scratch* scratch;
    fastkm_gap_scratch* mine;
    fastkm_cell_work* work;
    const int32_t* labels_old;
    int32_t* labels;
    const fastkm_sums* sums;
} gap_pass;

#define DRIFTS_BESIDE 8 /* that no maximum waits for the one before it */

static float largest_drift(const fastkm_gaps* gaps, const int32_t* own, int64_t n_rows) {
    float largest[DRIFTS_BESIDE] = {0};
    for (int64_t r = 0; r < n_rows; r += DRIFTS_BESIDE)
        for (int64_t s = 0; s < DRIFTS_BESIDE; s++) {
            const float drift = gaps->drifts[own[FASTKM_MIN(r + s, n_rows - 1)]];
            largest[s] = FASTKM_MAX(largest[s], drift);
        }
    for (int s = 1; s < DRIFTS_BESIDE; s++) largest[0] = FASTKM_MAX(largest[0], largest[s]);
    return largest[0];
}

/* Narrows a cell's gaps by what the centroids have moved, and lists the tiles that are not excluded
 * then, or none if all are. The rows' own tiles are among them. */
static int64_t list_tiles(const fastkm_gaps* gaps, int64_t cell, int64_t n_rows, int32_t* tiles) {
    const int32_t* own = gaps->own + cell * FASTKM_CELL_ROWS;
    float* gap = gaps->gaps + cell * gaps->stride;
    const vf moved = vf_set1(largest_drift(gaps, own, n_rows));
    int64_t n_listed = 0;
    uint32_t any_open = 0;
    for (int64_t t = 0; t < gaps->n_tiles; t += LANES) {
        const vf both = vf_add(moved, vf_load(gaps->tile_drifts + t));
        const vf left = vf_fma(vf_load(gap + t), vf_set1(1 - GAP_SLACK),
                               vf_mul(both, vf_set1(-1 - LEAST_LEAD)));
        uint32_t open = ~vm_bits(vf_lt(vf_set1(0), left)) & ((1u << LANES) - 1);
        if (gaps->n_tiles - t < LANES) open &= (1u << (gaps->n_tiles - t)) - 1;
        vf_store(gap + t, left);
        any_open |= open;
        for (int l = 0; l < LANES; l++) tiles[t + l] = (int32_t)(open >> l & 1);
    }
    if (!any_open) return 0;
    for (int64_t r = 0; r < n_rows; r++) tiles[own[r] / FASTKM_TILE_CENTROIDS] = 1;
    for (int64_t t = 0; t < gaps->n_tiles; t++) {
        const int32_t is_listed = tiles[t];
        tiles[n_listed] = (int32_t)t;
        n_listed += is_listed;
    }
    return n_listed;
}

/* The two nearest of a tile alone, and into those of all. */
static FASTKM_INLINE void fold_apart(const float* panel, const fastkm_gaps* gaps, int64_t d,
                                     int64_t begin, const int n, float* tile_best,
                                     float* tile_second, nearest_two* nearest) {
    lines_ahead none = no_lines(panel);
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, gaps->tiles + begin * d, gaps->sq_norms + begin, d, n, &none, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf best = vf_set1(INFINITY), second = best;
        vi index = vi_set1(0);
        for (int j = 0; j < n; j++)
            fold(product[j][v], vi_set1((int32_t)begin + j), &best, &second, &index);
        vf_store(tile_best + v * LANES, best);
        vf_store(tile_second + v * LANES, second);
        const vf before = vf_load(nearest->best + v * LANES);
        const vm is_nearer = vf_lt(best, before);
        const vf others = vf_min(second, vf_load(nearest->second + v * LANES));
        vf_store(nearest->second + v * LANES, vf_min(vf_max(best, before), others));
        vf_store(nearest->best + v * LANES, vf_min(best, before));
        vi_store(nearest->index + v * LANES,
                 vi_select(is_nearer, index, vi_load(nearest->index + v * LANES)));
    }
}

static void fold_listed(const gap_pass* pass, const float* panel, int64_t n_listed,
                        nearest_two* nearest) {
    const uint32_t saved = flush_denormals();
    reset_nearest(nearest);
    for (int64_t l = 0; l < n_listed; l++) {
        const int64_t begin = (int64_t)pass->mine->tiles[l] * FASTKM_TILE_CENTROIDS;
        float* best = pass->mine->best + l * PANEL_ROWS;
        float* second = pass->mine->second + l * PANEL_ROWS;
#define FOLD(n) fold_apart(panel, pass->gaps, pass->points->d, begin, n, best, second, nearest)
        WITH_CONSTANT_TILE(pass->gaps->k - begin, FOLD)
#undef FOLD
    }
    restore_denormals(saved);
}

/* The largest squared distance of a panel's points, but for rounding. */
static FASTKM_INLINE float largest_of(const float* sq_norms, const float* products) {
    vf most = vf_set1(0);
    for (int v = 0; v < TILE_VECTORS; v++)
        most = vf_max(vf_add(vf_load(sq_norms + v * LANES), vf_load(products + v * LANES)), most);
    return -least_lane(vf_sub(vf_set1(0), most));
}

/* What is known of a panel's rows and their own centroids. */
typedef struct {
    nearest_two nearest;
    float norm;     /* at least the rows' norms */
    float margin;   /* twice what products with the nearest centroids may be off */
    float own_dist; /* at least the distances to these */
} settled_panel;

/* As `undecided`, one margin for all rows. */
static void find_margin(const gap_pass* pass, const float* sq_norms, settled_panel* panel) {
    const rounding_bound* bound = &pass->bound;
    const float norm = panel->norm, sq_dist_f32 = largest_of(sq_norms, panel->nearest.best);
    const float of_norm = bound->a * norm * norm * (GAP_WIDENING * bound->slack);
    float radius = pass->centroids->max_norm, error = INFINITY;
    for (int step = 0; step < 3; step++) {
        const float both = norm + radius;
        error =
            (bound->a * radius * (both + norm) + bound->b * both * both + bound->c * (1 + both)) *
            (GAP_WIDENING * bound->slack);
        const float reach = sqrtf((sq_dist_f32 + of_norm + error) * bound->slack);
        radius = FASTKM_MIN((norm + reach) * bound->slack, radius);
    }
    panel->margin = norm < MOST_NORM ? 2 * error : INFINITY;
    panel->own_dist = sqrtf((sq_dist_f32 + of_norm + 2 * error) * bound->slack);
}

/* A bit for each row whose two nearest lie closer together than float32 can tell. Those get a best
 * product of -infinity: none of their centroids is surely their own. */
static uint64_t find_open(settled_panel* panel, float* own_best) {
    uint64_t open = 0;
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf best = vf_load(panel->nearest.best + v * LANES);
        const vf lead = vf_sub(vf_load(panel->nearest.second + v * LANES), best);
        const vm is_sure = vf_lt(vf_set1(panel->margin), lead);
        vf_store(own_best + v * LANES, vf_select(is_sure, best, vf_set1(-INFINITY)));
        open |= (uint64_t)(~vm_bits(is_sure) & ((1u << LANES) - 1)) << v * LANES;
    }
    return open;
}

/* At least how much farther than a row's own centroid the listed tile's others are, for all rows of
 * the panel; 0 if that is not known. */
static float gap_of(const gap_pass* pass, int64_t l, const float* sq_norms,
                    const settled_panel* panel, const float* own_best) {
    const rounding_bound* bound = &pass->bound;
    const int32_t tile = pass->mine->tiles[l];
    const float norm = panel->norm,
                of_norm = bound->a * norm * norm * (GAP_WIDENING * bound->slack);
    const float error = pass->gaps->fixed[tile] + pass->gaps->growing[tile] * norm;
    float* FASTKM_RESTRICT products = pass->mine->best + l * PANEL_ROWS;
    vf lead = vf_set1(INFINITY);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf best = vf_load(products + v * LANES);
        const vm is_others = vf_lt(vf_load(own_best + v * LANES), best);
        const vf second = vf_load(pass->mine->second + l * PANEL_ROWS + v * LANES);
        const vf product = vf_select(is_others, best, second);
        vf_store(products + v * LANES, product);
        lead = vf_min(vf_sub(product, vf_load(panel->nearest.best + v * LANES)), lead);
    }
    const float dist = sqrtf((largest_of(sq_norms, products) + of_norm + error) * bound->slack);
    const float sq_lead = least_lane(lead) - error - panel->margin - 2 * bound->b * norm * norm;
    const float gap =
        sq_lead / (dist + panel->own_dist) * (1 - 4 * GAP_SLACK) - panel->own_dist * LEAST_LEAD;
    return gap > 0 && gap < MOST_NORM ? gap : 0;
}

/* Writes the labels of a panel's rows that change. */
static void relabel(const gap_pass* pass, int64_t i_begin, int64_t n_rows,
                    const settled_panel* panel, uint64_t open) {
    int32_t* own = pass->gaps->own + i_begin;
    int32_t differs = 0;
    for (int64_t r = 0; r < n_rows; r++) differs |= panel->nearest.index[r] ^ own[r];
    if (!differs && !open) return;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t i = pass->cells->order[i_begin + r];
        int32_t place = panel->nearest.index[r];
        if (open >> r & 1 && pass->gaps->k > 1) {
            place = pass->gaps->place_of[exact_label(pass->points, pass->frame, pass->centroids, i,
                                                     pass->scratch)];
            pass->work->n_exact++;
        }
        if (place == own[r]) continue;
        own[r] = place;
        pass->labels[i] = pass->gaps->order[place];
        if (pass->sums)
            pass->work->n_changed += accumulate(pass->points, i, i + 1, pass->labels_old,
                                                pass->labels, pass->scratch, pass->sums);
    }
}

static void label_by_gaps(const gap_pass* pass, int64_t cell) {
    const int64_t begin = cell * FASTKM_CELL_ROWS;
    const int64_t end = FASTKM_MIN(pass->cells->n, begin + FASTKM_CELL_ROWS);
    const int64_t n_listed = list_tiles(pass->gaps, cell, end - begin, pass->mine->tiles);
    float* gaps = pass->gaps->gaps + cell * pass->gaps->stride;
    pass->work->n_products += n_listed * FASTKM_TILE_CENTROIDS * (end - begin);
    for (int64_t i = begin; n_listed && i < end; i += PANEL_ROWS) {
        const float* sq_norms = pass->cells->panels.sq_norms + i;
        settled_panel panel;
        float own_best[PANEL_ROWS];
        fold_listed(pass, pass->cells->panels.values + i * pass->points->d, n_listed,
                    &panel.nearest);
        panel.norm = pass->cells->norms[cell];
        find_margin(pass, sq_norms, &panel);
        relabel(pass, i, FASTKM_MIN(end - i, PANEL_ROWS), &panel, find_open(&panel, own_best));
        for (int64_t l = 0; l < n_listed; l++) {
            const float gap = gap_of(pass, l, sq_norms, &panel, own_best);
            float* kept = gaps + pass->mine->tiles[l];
            *kept = i == begin ? gap : FASTKM_MIN(*kept, gap);
        }
    }
}

static void assign_by_gaps(const fastkm_points* points, const fastkm_frame* frame,
                           const fastkm_centroids* centroids, const fastkm_kept_cells* cells,
                           const fastkm_gaps* gaps, int64_t c_begin, int64_t c_end,
                           fastkm_scratch* scratch, fastkm_gap_scratch* mine,
                           fastkm_cell_work* work, const int32_t* labels_old, int32_t* labels,
                           const fastkm_sums* sums) {
    const gap_pass pass = {points,  frame, centroids, cells,      gaps,   bound_for(points->d),
                           scratch, mine,  work,      labels_old, labels, sums};
    for (int64_t c = c_begin; c < c_end; c++) label_by_gaps(&pass, c);
}
