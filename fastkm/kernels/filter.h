/* The filter: lower bounds of all distances from a few directions; README.md proves them.
 *
 * Most centroids are far from a row, and a sketch of p + 1 numbers shows it. What the sketch cannot
 * exclude is measured in float64, direct form, and rows that it decides alone are not read at all.
 */

/* A distance in float64, its centroid read for it alone, costs as much as this many in the fused
 * kernel. */
#define COST_OF_DISTANCE 10

static FASTKM_INLINE void project_tile(const float* panel, const float* basis, int64_t d,
                                       const int n_directions, float* sketch) {
    static const float zeros[FASTKM_TILE_CENTROIDS] = {0};
    lines_ahead none = {NULL, 0};
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, basis, zeros, d, n_directions, &none, product);
    for (int q = 0; q < n_directions; q++)
        for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(sketch + q * PANEL_ROWS + v * LANES, product[q][v]);
}

/* Sketches of rows [i_begin, i_end), from a panel's first row: (Q'y, ||y - QQ'y||), their squared
 * norms, and how far rounding may have moved them. */
static void sketch(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                   fastkm_scratch* scratch, const fastkm_sketches* sketches) {
    const int64_t d = points->d, p = basis->p;
    const rounding_bound full = bound_for(d), narrow = bound_for(p + 1);
    const float root_p = sqrtf((float)p) * 1.01f;
    float y_sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float* panel = sketches->panels + i * (p + 1);
        load_panel(points, frame, i, n_rows, scratch->panel, y_sq_norms);
        for (int64_t q = 0; q < p; q += FASTKM_TILE_CENTROIDS) {
#define PROJECT(n) project_tile(scratch->panel, basis->tiles + q * d, d, n, panel + q * PANEL_ROWS)
            WITH_CONSTANT_TILE(p - q, PROJECT)
#undef PROJECT
        }
        for (int64_t r = 0; r < PANEL_ROWS; r++) {
            float inside = 0;
            for (int64_t q = 0; q < p; q++) {
                const float t = panel[q * PANEL_ROWS + r];
                inside += t * t;
            }
            const float norm = sqrtf(y_sq_norms[r]) * full.slack;
            const float rest = sqrtf(FASTKM_MAX(y_sq_norms[r] - inside, 0));
            const float moved = full.a * norm * root_p;
            const float rest_sq = (full.a * norm * norm + 2.01f * norm * moved +
                                   (narrow.a + 1.01f * basis->skew) * inside * full.slack) *
                                      full.slack +
                                  full.c;
            const float rest_moved = FASTKM_MIN(rest_sq / rest, sqrtf(rest_sq));
            panel[p * PANEL_ROWS + r] = rest;
            if (r >= n_rows) continue;
            sketches->sq_norms[i + r] = inside + rest * rest;
            sketches->errors[i + r] = (moved + rest_moved) * full.slack + full.c;
        }
    }
}

/* The product above which a centroid is surely farther than the row's own, as far as `upper` tells.
 */
static FASTKM_INLINE float product_limit(const fastkm_filter* filter, const rounding_bound* bound,
                                         float upper, float sq_norm, float error) {
    const float reach = (upper * filter->stretch + error + filter->max_error) * 1.00001f;
    const float norm = sqrtf(sq_norm), radius = filter->max_norm;
    const float rounding =
        bound->a * (radius * (radius + 2 * norm) + sq_norm) + bound->c * (1 + norm + radius);
    return reach * reach * 1.00001f - sq_norm + (rounding + 1e-6f * sq_norm) * bound->slack;
}

static FASTKM_INLINE void list_tile(const float* panel, const fastkm_filter* filter,
                                    int64_t j_begin, const int n_centroids, const float* limits,
                                    const int32_t* own, fastkm_candidate_list* lists) {
    const int64_t width = filter->p + 1;
    lines_ahead none = {NULL, 0};
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, filter->tiles + j_begin * width, filter->centroid_sq_norms + j_begin, width,
             n_centroids, &none, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf limit = vf_load(limits + v * LANES);
        for (int j = 0; j < n_centroids; j++) {
            uint32_t open = ~vm_bits(vf_lt(limit, product[j][v])) & ((1u << LANES) - 1);
            float values[LANES];
            if (!open) continue;
            vf_store(values, product[j][v]);
            for (int l = 0; open; l++, open >>= 1) {
                fastkm_candidate_list* list = &lists[v * LANES + l];
                if (!(open & 1) || own[v * LANES + l] == j_begin + j) continue;
                if (list->count < FASTKM_KEPT_CANDIDATES) {
                    list->index[list->count] = (int32_t)(j_begin + j);
                    list->product[list->count] = values[l];
                }
                list->count++;
            }
        }
    }
}

typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const fastkm_filter* filter;
    rounding_bound bound;
    fastkm_scratch* scratch;
    fastkm_filter_work* work;
} filter_pass;

static FASTKM_INLINE float upper_of(const fastkm_frame* frame, double sq_dist_scaled) {
    return (float)(sqrt(sq_dist_scaled) / frame->exact_scale * frame->scale * (1 + 0x1p-20)) +
           FLT_MIN;
}

/* Measures the row's own centroid and strikes off the list what that excludes; returns the squared
 * distance. */
static double tighten(const filter_pass* pass, int64_t i, int32_t own,
                      fastkm_candidate_list* list) {
    const fastkm_filter* filter = pass->filter;
    const int64_t d = pass->points->d;
    int32_t n_kept = 0;
    load_row(pass->points, i, pass->scratch->row);
    const double own_dist =
        sq_dist(pass->scratch->row, pass->centroids->raw + own * d, d, pass->frame->exact_scale);
    filter->upper[i] = upper_of(pass->frame, own_dist);
    pass->work->n_distances++;
    if (list->count > FASTKM_KEPT_CANDIDATES) return own_dist;
    const float limit = product_limit(filter, &pass->bound, filter->upper[i],
                                      filter->sketches.sq_norms[i], filter->sketches.errors[i]);
    for (int32_t c = 0; c < list->count; c++) {
        if (list->product[c] > limit) continue;
        list->index[n_kept] = list->index[c];
        list->product[n_kept++] = list->product[c];
    }
    list->count = n_kept;
    return own_dist;
}

/* Measures the listed centroids against the row's own. The row is in scratch->row. */
static int32_t refine(const filter_pass* pass, int64_t i, int32_t own, double own_dist,
                      const fastkm_candidate_list* list) {
    const int64_t d = pass->points->d;
    const fastkm_filter* filter = pass->filter;
    const double* raw = pass->centroids->raw;
    const double scale = pass->frame->exact_scale, rounding = 1 + 8 * (double)(d + 8) * 0x1p-53;
    double second = INFINITY, least = own_dist;
    float limit = INFINITY;
    int32_t label = own;
    for (int32_t c = 0; c < list->count; c++) {
        if (list->product[c] > limit) continue;
        const double dist = sq_dist(pass->scratch->row, raw + list->index[c] * d, d, scale);
        pass->work->n_distances++;
        if (dist < least) {
            second = least;
            least = dist;
            label = list->index[c];
            filter->upper[i] = upper_of(pass->frame, least);
            limit = product_limit(filter, &pass->bound, filter->upper[i],
                                  filter->sketches.sq_norms[i], filter->sketches.errors[i]);
        } else if (dist < second) {
            second = dist;
        }
    }
    /* The contract's own order of additions parts those that this one cannot. */
    if (second > least * rounding && least < INFINITY) return label;
    return exact_label(pass->points, pass->frame, pass->centroids, i, pass->scratch);
}

static void label_by_force(const filter_pass* pass, int64_t i, int64_t n_rows, int32_t* labels) {
    const int64_t d = pass->points->d;
    const rounding_bound bound = bound_for(d);
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    load_panel(pass->points, pass->frame, i, n_rows, pass->scratch->panel, sq_norms);
    fold_panel(pass->scratch->panel, pass->centroids,
               lines_of_next_panel(pass->points, i, pass->centroids->k), &nearest);
    settle_panel(pass->points, pass->frame, pass->centroids, &bound, i, n_rows, 1, &nearest,
                 sq_norms, pass->scratch, labels);
    for (int64_t r = 0; r < n_rows; r++) {
        load_row(pass->points, i + r, pass->scratch->row);
        pass->filter->upper[i + r] =
            upper_of(pass->frame, sq_dist(pass->scratch->row, pass->centroids->raw + labels[r] * d,
                                          d, pass->frame->exact_scale));
    }
    pass->work->n_forced_rows += n_rows;
}

/* Labels the rows of a panel from their lists. Rows with few candidates are settled at once; the
 * others together, by force if that is cheaper. */
static void settle_lists(const filter_pass* pass, int64_t i, int64_t n_rows, const int32_t* own,
                         int32_t* labels) {
    fastkm_candidate_list* lists = pass->scratch->lists;
    const int64_t k = pass->centroids->k;
    int64_t open[PANEL_ROWS], n_open = 0, n_long = 0, n_candidates = 0;
    double own_dists[PANEL_ROWS];
    for (int64_t r = 0; r < n_rows; r++) {
        labels[r] = own[r];
        if (lists[r].count) open[n_open++] = r;
    }
    for (int64_t o = 0; o < n_open; o++) {
        const int64_t r = open[o];
        if (o + 1 < n_open) prefetch_row(pass->points, i + open[o + 1]);
        own_dists[r] = tighten(pass, i + r, own[r], &lists[r]);
        if (lists[r].count <= FASTKM_KEPT_CANDIDATES && lists[r].count * COST_OF_DISTANCE <= k) {
            labels[r] = refine(pass, i + r, own[r], own_dists[r], &lists[r]);
        } else {
            n_candidates += lists[r].count;
            open[n_long++] = r;
        }
    }
    if (n_candidates * COST_OF_DISTANCE > n_rows * k) {
        label_by_force(pass, i, n_rows, labels);
        return;
    }
    for (int64_t o = 0; o < n_long; o++) {
        const int64_t r = open[o];
        load_row(pass->points, i + r, pass->scratch->row);
        if (lists[r].count <= FASTKM_KEPT_CANDIDATES) {
            labels[r] = refine(pass, i + r, own[r], own_dists[r], &lists[r]);
        } else {
            labels[r] =
                exact_label(pass->points, pass->frame, pass->centroids, i + r, pass->scratch);
            pass->filter->upper[i + r] =
                upper_of(pass->frame, FASTKM_MIN(own_dists[r], pass->scratch->dists[labels[r]]));
            pass->work->n_distances += k;
        }
    }
}

static void assign_filtered(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const fastkm_filter* filter,
                            int64_t i_begin, int64_t i_end, const int32_t* labels_old,
                            fastkm_scratch* scratch, fastkm_filter_work* work, int32_t* labels) {
    const filter_pass pass = {points,  frame, centroids, filter, bound_for(filter->p + 1),
                              scratch, work};
    fastkm_candidate_list* lists = scratch->lists;
    float limits[PANEL_ROWS];
    int32_t own[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        const float* panel = filter->sketches.panels + i * (filter->p + 1);
        for (int64_t r = 0; r < PANEL_ROWS; r++) {
            lists[r].count = 0;
            limits[r] = -INFINITY;
            own[r] = -1;
            if (r >= n_rows) continue;
            own[r] = labels_old[i + r];
            filter->upper[i + r] = (filter->upper[i + r] + filter->drifts[own[r]]) * (1 + 0x1p-22f);
            limits[r] =
                product_limit(filter, &pass.bound, filter->upper[i + r],
                              filter->sketches.sq_norms[i + r], filter->sketches.errors[i + r]);
        }
        for (int64_t j = 0; j < centroids->k; j += FASTKM_TILE_CENTROIDS) {
#define LIST(n) list_tile(panel, filter, j, n, limits, own, lists)
            WITH_CONSTANT_TILE(centroids->k - j, LIST)
#undef LIST
        }
        settle_lists(&pass, i, n_rows, own, labels + (i - i_begin));
    }
}
