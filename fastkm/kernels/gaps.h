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

/* Of a cell's rows, in whole panels of which the last may be short. */
typedef struct {
    int64_t n_values; /* of the rows' panels */
    float best[FASTKM_CELL_ROWS], second[FASTKM_CELL_ROWS];
    int32_t index[FASTKM_CELL_ROWS]; /* places */
    float norm;                      /* at least the rows' norms */
    float margin;                    /* twice what products with the nearest centroids may be off */
    float own_dist;                  /* at least the distances to these */
} settled_cell;

/* The two nearest of a tile alone, and into those of all, of the panel that begins with `row`. */
static FASTKM_INLINE void fold_apart(const float* panel, const fastkm_gaps* gaps, int64_t d,
                                     int64_t begin, const int n, float* tile_best,
                                     float* tile_second, int64_t row, settled_cell* cell) {
    lines_ahead none = no_lines(panel);
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, gaps->tiles + begin * d, gaps->sq_norms + begin, d, n, &none, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int64_t r = row + v * LANES;
        vf best = vf_set1(INFINITY), second = best;
        vi index = vi_set1(0);
        for (int j = 0; j < n; j++)
            fold(product[j][v], vi_set1((int32_t)begin + j), &best, &second, &index);
        vf_store(tile_best + r, best);
        vf_store(tile_second + r, second);
        const vf before = vf_load(cell->best + r);
        const vm is_nearer = vf_lt(best, before);
        const vf others = vf_min(second, vf_load(cell->second + r));
        vf_store(cell->second + r, vf_min(vf_max(best, before), others));
        vf_store(cell->best + r, vf_min(best, before));
        vi_store(cell->index + r, vi_select(is_nearer, index, vi_load(cell->index + r)));
    }
}

static void fold_listed(const gap_pass* pass, const float* panels, int64_t n_listed,
                        settled_cell* cell) {
    const int64_t d = pass->points->d;
    const uint32_t saved = flush_denormals();
    for (int64_t r = 0; r < cell->n_values; r++) {
        cell->best[r] = cell->second[r] = INFINITY;
        cell->index[r] = 0;
    }
    for (int64_t l = 0; l < n_listed; l++) {
        const int64_t begin = (int64_t)pass->mine->tiles[l] * FASTKM_TILE_CENTROIDS;
        float* best = pass->mine->best + l * FASTKM_CELL_ROWS;
        float* second = pass->mine->second + l * FASTKM_CELL_ROWS;
        for (int64_t row = 0; row < cell->n_values; row += PANEL_ROWS) {
#define FOLD(n) fold_apart(panels + row * d, pass->gaps, d, begin, n, best, second, row, cell)
            WITH_CONSTANT_TILE(pass->gaps->k - begin, FOLD)
#undef FOLD
        }
    }
    restore_denormals(saved);
}

/* The largest squared distance of n points, but for rounding. */
static FASTKM_INLINE float largest_of(const float* sq_norms, const float* products, int64_t n) {
    vf most = vf_set1(0);
    for (int64_t r = 0; r < n; r += LANES)
        most = vf_max(vf_add(vf_load(sq_norms + r), vf_load(products + r)), most);
    return -least_lane(vf_sub(vf_set1(0), most));
}

/* As `undecided`, one margin for all rows. */
static void find_margin(const gap_pass* pass, const float* sq_norms, settled_cell* cell) {
    const rounding_bound* bound = &pass->bound;
    const float norm = cell->norm, sq_dist_f32 = largest_of(sq_norms, cell->best, cell->n_values);
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
    cell->margin = norm < MOST_NORM ? 2 * error : INFINITY;
    cell->own_dist = sqrtf((sq_dist_f32 + of_norm + 2 * error) * bound->slack);
}

/* A bit for each row whose two nearest lie closer together than float32 can tell. Those get a best
 * product of -infinity: none of their centroids is surely their own. */
static uint64_t find_open(const settled_cell* cell, float* own_best) {
    uint64_t open = 0;
    for (int64_t r = 0; r < cell->n_values; r += LANES) {
        const vf best = vf_load(cell->best + r);
        const vm is_sure = vf_lt(vf_set1(cell->margin), vf_sub(vf_load(cell->second + r), best));
        vf_store(own_best + r, vf_select(is_sure, best, vf_set1(-INFINITY)));
        open |= (uint64_t)(~vm_bits(is_sure) & ((1u << LANES) - 1)) << r;
    }
    return open;
}

/* At least how much farther than a row's own centroid the listed tile's others are, for all rows of
 * the cell; 0 if that is not known. */
static float gap_of(const gap_pass* pass, int64_t l, const float* sq_norms,
                    const settled_cell* cell, const float* own_best) {
    const rounding_bound* bound = &pass->bound;
    const int32_t tile = pass->mine->tiles[l];
    const float norm = cell->norm, of_norm = bound->a * norm * norm * (GAP_WIDENING * bound->slack);
    const float error = pass->gaps->fixed[tile] + pass->gaps->growing[tile] * norm;
    float* FASTKM_RESTRICT products = pass->mine->best + l * FASTKM_CELL_ROWS;
    const float* FASTKM_RESTRICT seconds = pass->mine->second + l * FASTKM_CELL_ROWS;
    vf lead = vf_set1(INFINITY);
    for (int64_t r = 0; r < cell->n_values; r += LANES) {
        const vf best = vf_load(products + r);
        const vm is_others = vf_lt(vf_load(own_best + r), best);
        const vf product = vf_select(is_others, best, vf_load(seconds + r));
        vf_store(products + r, product);
        lead = vf_min(vf_sub(product, vf_load(cell->best + r)), lead);
    }
    const float sq_dist_f32 = largest_of(sq_norms, products, cell->n_values);
    const float dist = sqrtf((sq_dist_f32 + of_norm + error) * bound->slack);
    const float sq_lead = least_lane(lead) - error - cell->margin - 2 * bound->b * norm * norm;
    const float gap =
        sq_lead / (dist + cell->own_dist) * (1 - 4 * GAP_SLACK) - cell->own_dist * LEAST_LEAD;
    return gap > 0 && gap < MOST_NORM ? gap : 0;
}

/* Writes the labels of a cell's rows that change. */
static void relabel(const gap_pass* pass, int64_t i_begin, int64_t n_rows, const settled_cell* cell,
                    uint64_t open) {
    int32_t* own = pass->gaps->own + i_begin;
    int32_t differs = 0;
    for (int64_t r = 0; r < n_rows; r++) differs |= cell->index[r] ^ own[r];
    if (!differs && !open) return;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t i = pass->cells->order[i_begin + r];
        int32_t place = cell->index[r];
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

static void label_by_gaps(const gap_pass* pass, int64_t c) {
    const int64_t begin = c * FASTKM_CELL_ROWS;
    const int64_t n_rows = FASTKM_MIN(pass->cells->n - begin, FASTKM_CELL_ROWS);
    const int64_t n_listed = list_tiles(pass->gaps, c, n_rows, pass->mine->tiles);
    const float* sq_norms = pass->cells->panels.sq_norms + begin;
    float own_best[FASTKM_CELL_ROWS], *gaps = pass->gaps->gaps + c * pass->gaps->stride;
    settled_cell cell;
    if (n_listed == 0) return;
    pass->work->n_products += n_listed * FASTKM_TILE_CENTROIDS * n_rows;
    cell.n_values = (n_rows + PANEL_ROWS - 1) / PANEL_ROWS * PANEL_ROWS;
    cell.norm = pass->cells->norms[c];
    fold_listed(pass, pass->cells->panels.values + begin * pass->points->d, n_listed, &cell);
    find_margin(pass, sq_norms, &cell);
    relabel(pass, begin, n_rows, &cell, find_open(&cell, own_best));
    for (int64_t l = 0; l < n_listed; l++)
        gaps[pass->mine->tiles[l]] = gap_of(pass, l, sq_norms, &cell, own_best);
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
