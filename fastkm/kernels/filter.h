/* The filter: bounds of all distances from a few directions; README.md proves them.
 *
 * Most centroids are far from a row, and a sketch of p + 1 numbers shows it: below, by
 * Cauchy-Schwarz outside of the directions; above, for the row's own centroid, by what its distance
 * outside was when it was last measured. What the sketch cannot exclude is measured, and rows that
 * it decides alone are not read at all.
 */

/* A distance measured alone costs as much as this many in the fused kernel. */
#define COST_OF_DISTANCE 10

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

/* Sketches of rows [i_begin, i_end), from a panel's first row: (Q'y, ||y - QQ'y||), their squared
 * norms, and how far rounding may have moved them. */
static void sketch(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                   fastkm_scratch* scratch, const fastkm_sketches* sketches) {
    const int64_t d = points->d, p = basis->p;
    const int64_t n_sums = (d - 1) / SKETCH_FEATURES + 1;
    const rounding_bound full = bound_for(FASTKM_MIN(d, SKETCH_FEATURES + n_sums)),
                         narrow = bound_for(p + 1);
    const float root_p = sqrtf((float)p) * 1.01f, flushed = bound_for(d).c;
    float y_sq_norms[PANEL_ROWS], inside_sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float* panel = sketches->panels + i * (p + 1);
        load_panel(points, frame, i, n_rows, scratch->panel, y_sq_norms);
        sum_squares(scratch->panel, d, y_sq_norms);
        project_panel(scratch->panel, basis, d, lines_of_next_panel(points, i, p * n_sums), panel);
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
            if (r >= n_rows) continue;
            sketches->sq_norms[i + r] = inside + rest * rest;
            sketches->errors[i + r] = (moved + rest_moved) * full.slack + flushed;
        }
    }
}

/* Centroids whose coordinates are found together: the directions are read once for them. */
#define FOLLOWED_TOGETHER 4

/* Coordinates of centroids [j_begin, j_end) in the basis, and the centroids in the frame. */
static void project_centroids(const fastkm_frame* frame, const fastkm_basis* basis,
                              const double* centroids, int64_t d, int64_t j_begin, int64_t j_end,
                              const fastkm_centroid_sketches* sketches) {
    const int64_t p = basis->p;
    for (int64_t j = j_begin; j < j_end; j++) {
        double* inside = sketches->inside + j * 2 * p;
        memcpy(inside + p, inside, (size_t)p * sizeof *inside);
        memset(inside, 0, (size_t)p * sizeof *inside);
    }
    for (int64_t f = 0; f < d; f++) {
        const double* q_f = basis->directions + f * p;
        for (int64_t j = j_begin; j < j_end; j++) {
            const double z = (centroids[j * d + f] - frame->shift[f]) * frame->scale;
            double* FASTKM_RESTRICT inside = sketches->inside + j * 2 * p;
            sketches->framed[j * d + f] = (float)z;
            for (int64_t q = 0; q < p; q++) inside[q] += z * q_f[q];
        }
    }
}

/* Sketches of centroids [j_begin, j_end), in float64 but for their last rounding, and how far the
 * centroids have moved outside of the basis since the last call. */
static void follow(const fastkm_frame* frame, const fastkm_basis* basis, const double* centroids,
                   const double* old, int64_t d, int64_t k, int64_t j_begin, int64_t j_end,
                   const fastkm_centroid_sketches* sketches) {
    const int64_t p = basis->p, width = p + 1;
    for (int64_t j = j_begin; j < j_end; j += FOLLOWED_TOGETHER)
        project_centroids(frame, basis, centroids, d, j, FASTKM_MIN(j + FOLLOWED_TOGETHER, j_end),
                          sketches);
    for (int64_t j = j_begin; j < j_end; j++) {
        const int64_t group = j - j % FASTKM_TILE_CENTROIDS;
        const int64_t size = FASTKM_MIN(k - group, FASTKM_TILE_CENTROIDS);
        float* tile = sketches->tiles + group * width + j - group;
        const double *inside = sketches->inside + j * 2 * p, *last = inside + p;
        double sq_norm = 0, sq_inside = 0, sq_drift = 0, sq_drift_inside = 0, sq_sketch = 0;
        for (int64_t f = 0; f < d; f++) {
            const double z = (centroids[j * d + f] - frame->shift[f]) * frame->scale;
            const double moved = (centroids[j * d + f] - old[j * d + f]) * frame->scale;
            sq_norm += z * z;
            sq_drift += moved * moved;
        }
        for (int64_t q = 0; q < p; q++) {
            const double moved = inside[q] - last[q];
            const float t = (float)inside[q];
            sq_inside += inside[q] * inside[q];
            sq_drift_inside += moved * moved;
            sq_sketch += (double)t * t;
            tile[q * size] = -2 * t;
        }
        /* More than all that float64 rounds, in coordinates now and before and in sums of squares.
         */
        const double tiny = (sq_norm + sq_drift) * (double)(d + p) * 0x1p-44 + FLT_MIN;
        const double rest = sqrt(FASTKM_MAX(sq_norm - sq_inside, 0));
        const double rest_sq = 1.01 * basis->skew * sq_inside + tiny;
        const double rest_moved = FASTKM_MIN(rest_sq / rest, sqrt(rest_sq));
        const double drift = sq_drift - sq_drift_inside / (1 + basis->skew) + tiny;
        const float rest_f32 = (float)rest;
        tile[p * size] = -2 * rest_f32;
        sketches->sq_norms[j] = (float)(sq_sketch + (double)rest_f32 * rest_f32);
        sketches->rests[j] = rest_f32;
        sketches->errors[j] =
            (float)((rest_moved + 0x1p-23 * (sqrt(sq_inside) + rest)) * 1.0001 + sqrt(tiny));
        sketches->drifts[j] = drift < 0 ? 0 : (float)(sqrt(drift) * 1.0001);
    }
}

/* One filtered pass. */
typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const fastkm_filter* filter;
    rounding_bound bound;
    float sum_error; /* of a distance in float32, relative */
    float flushed;   /* what squares too small for float32 may take from it */
    fastkm_scratch* scratch;
    fastkm_filter_work* work;
} filter_pass;

/* What is known of a row without reading it, in the kernel's units. */
typedef struct {
    float sq_norm, rest; /* of its sketch */
    float error;         /* how far rounding may have moved its sketch and a centroid's, in all */
    float input_error;   /* how far it may have moved the row and a centroid themselves */
    float rounding;      /* of a product, or a squared distance, of sketches */
} row_sketch;

static FASTKM_INLINE row_sketch sketch_of(const filter_pass* pass, int64_t i) {
    const fastkm_filter* filter = pass->filter;
    const fastkm_sketches* sketches = &filter->sketches;
    const int64_t r = i % PANEL_ROWS;
    const float sq_norm = sketches->sq_norms[i], norm = sqrtf(sq_norm), radius = filter->max_norm;
    const float both = norm + radius;
    const float chain = pass->bound.a * (radius * (both + norm) + sq_norm);
    return (row_sketch){
        sq_norm, sketches->panels[(i - r) * (filter->p + 1) + filter->p * PANEL_ROWS + r],
        sketches->errors[i] + filter->max_error, 0x1.2p-23f * both + pass->flushed,
        (chain + pass->bound.c * (1 + both) + 1e-6f * both * both) * pass->bound.slack};
}

/* The product above which a centroid is surely farther than `upper`. */
static FASTKM_INLINE float product_limit(const fastkm_filter* filter, const row_sketch* row,
                                         float upper) {
    const float reach = (upper * filter->stretch + row->error) * 1.00001f;
    return reach * reach * 1.00001f - row->sq_norm + row->rounding;
}

/* Squared distance of a row and a centroid inside the basis, but for rounding and errors. */
static FASTKM_INLINE float inside_sq(const fastkm_filter* filter, const row_sketch* row,
                                     float product, int32_t j) {
    const float difference = row->rest - filter->centroids.rests[j];
    return product + row->sq_norm - difference * difference;
}

/* At least the distance to the own centroid. */
static FASTKM_INLINE float own_upper(const fastkm_filter* filter, const row_sketch* row,
                                     float product, int32_t own, float own_rest) {
    const float inside = sqrtf(inside_sq(filter, row, product, own) + row->rounding) + row->error;
    return sqrtf(inside * inside * filter->stretch * filter->stretch + own_rest * own_rest) *
               1.00001f +
           FLT_MIN;
}

/* At least the distance outside of the basis, from an upper bound of the whole and what is inside.
 */
static float outside_of(const filter_pass* pass, const row_sketch* row, float product, int32_t j,
                        float upper) {
    const float sq = inside_sq(pass->filter, row, product, j) - row->rounding;
    const float inside = sq > 0 ? (sqrtf(sq) - row->error) / pass->filter->stretch : 0;
    const double low = inside > 0 ? inside * 0.99999f : 0;
    const double outside = (double)upper * upper - low * low;
    return outside < 0 ? FLT_MIN : (float)(sqrt(outside) * (1 + 0x1p-20)) + FLT_MIN;
}

static FASTKM_INLINE void sketch_tile(const float* panel, const fastkm_filter* filter,
                                      int64_t j_begin, const int n_centroids, lines_ahead ahead,
                                      float* out) {
    const int64_t width = filter->p + 1;
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, filter->centroids.tiles + j_begin * width, filter->centroids.sq_norms + j_begin,
             width, n_centroids, &ahead, product);
    for (int j = 0; j < n_centroids; j++)
        for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(out + (j_begin + j) * PANEL_ROWS + v * LANES, product[j][v]);
}

/* Adds to each row's list the centroids whose product is not above its limit. */
static void list_centroids(const float* products, int64_t k, const float* limits,
                           fastkm_candidate_list* lists) {
    vf limit[TILE_VECTORS];
    for (int v = 0; v < TILE_VECTORS; v++) limit[v] = vf_load(limits + v * LANES);
    for (int64_t j = 0; j < k; j++) {
        const float* of_j = products + j * PANEL_ROWS;
        for (int v = 0; v < TILE_VECTORS; v++) {
            uint32_t open =
                ~vm_bits(vf_lt(limit[v], vf_load(of_j + v * LANES))) & ((1u << LANES) - 1);
            for (int r = v * LANES; open; r++, open >>= 1) {
                if (!(open & 1)) continue;
                if (lists[r].count < FASTKM_KEPT_CANDIDATES) {
                    lists[r].index[lists[r].count] = (int32_t)j;
                    lists[r].product[lists[r].count] = of_j[r];
                }
                lists[r].count++;
            }
        }
    }
}

/* Of the centroids measured of a row, the nearest, and bounds of its distance and of the second
 * nearest's. */
typedef struct {
    int32_t label;
    int32_t tried; /* measured beside its own before it has a list, or -1 */
    float least, lower, upper, second_lower;
} measured_row;

/* A row in the frame. */
static void centre_row(const fastkm_points* points, const fastkm_frame* frame, int64_t i,
                       float* y) {
    const int64_t d = points->d;
    const char* source = points->base + i * points->row_stride;
    int64_t f = 0;
    if (points->dtype == FASTKM_F32 && points->col_stride == 4) {
        const vf scale = vf_set1((float)frame->scale);
        for (; f + LANES <= d; f += LANES)
            vf_store(y + f, vf_mul(vf_sub(vf_load((const float*)(source + f * 4)),
                                          vf_load(frame->shift_f32 + f)),
                                   scale));
    }
    for (; f < d; f += CENTRE_COLUMNS) {
        float values[1][CENTRE_COLUMNS];
        const int64_t width = FASTKM_MIN(d - f, CENTRE_COLUMNS);
        centre_rows(points, frame, i, 1, f, width, values);
        memcpy(y + f, values[0], (size_t)width * sizeof *y);
    }
}

static float sq_dist_f32(const float* y, const float* z, int64_t d) {
    vf sum[TILE_VECTORS];
    float partial[LANES], total = 0;
    int64_t f = 0;
    for (int v = 0; v < TILE_VECTORS; v++) sum[v] = vf_set1(0);
    for (; f + PANEL_ROWS <= d; f += PANEL_ROWS)
        for (int v = 0; v < TILE_VECTORS; v++) {
            const vf difference = vf_sub(vf_load(y + f + v * LANES), vf_load(z + f + v * LANES));
            sum[v] = vf_fma(difference, difference, sum[v]);
        }
    for (; f + LANES <= d; f += LANES) {
        const vf difference = vf_sub(vf_load(y + f), vf_load(z + f));
        sum[0] = vf_fma(difference, difference, sum[0]);
    }
    for (int v = 1; v < TILE_VECTORS; v++) sum[0] = vf_add(sum[0], sum[v]);
    vf_store(partial, sum[0]);
    for (int l = 0; l < LANES; l++) total += partial[l];
    for (; f < d; f++) total += (y[f] - z[f]) * (y[f] - z[f]);
    return total;
}

/* Additions that a square goes through in sq_dist_f32, and as many roundings again for good
 * measure; half of that in the root. */
static float sum_error_for(int64_t d) {
    return (float)(d / PANEL_ROWS + 2 * TILE_VECTORS + 2 * LANES + 8) * 0x1p-24f;
}

/* Measures centroid j in float32, direct form; the row is in scratch->panel. */
static void measure(const filter_pass* pass, const row_sketch* row, int32_t j,
                    measured_row* measured) {
    const int64_t d = pass->points->d;
    const float dist =
        sqrtf(sq_dist_f32(pass->scratch->panel, pass->filter->centroids.framed + j * d, d));
    const float error = (row->input_error + pass->sum_error * dist) * 1.0001f;
    pass->work->n_distances++;
    if (dist < measured->least) {
        measured->second_lower = FASTKM_MIN(measured->second_lower, measured->lower);
        measured->least = dist;
        measured->lower = dist - error;
        measured->upper = dist + error;
        measured->label = j;
    } else {
        measured->second_lower = FASTKM_MIN(measured->second_lower, dist - error);
    }
}

/* A panel's rows between the sketches and their labels. */
typedef struct {
    int64_t i, n_rows;
    int64_t open[PANEL_ROWS], n_open; /* rows that the sketches do not decide */
    float* products; /* (k, PANEL_ROWS) of sketches; infinite for a row and its own centroid */
    float own_products[PANEL_ROWS], limits[PANEL_ROWS];
    int32_t own[PANEL_ROWS];
    row_sketch sketches[PANEL_ROWS];
    measured_row measured[PANEL_ROWS];
    fastkm_candidate_list* lists;
} filtered_panel;

static float product_of(const filtered_panel* panel, int64_t r, int32_t j) {
    return j == panel->own[r] ? panel->own_products[r] : panel->products[j * PANEL_ROWS + r];
}

/* Measures row r's own centroid, if that is still to do, and strikes off its list what that
 * excludes. */
static void tighten(const filter_pass* pass, int64_t r, filtered_panel* panel) {
    measured_row* measured = &panel->measured[r];
    fastkm_candidate_list* list = &panel->lists[r];
    int32_t n_kept = 0;
    centre_row(pass->points, pass->frame, panel->i + r, pass->scratch->panel);
    if (measured->upper == INFINITY) measure(pass, &panel->sketches[r], panel->own[r], measured);
    if (list->count > FASTKM_KEPT_CANDIDATES) return;
    const float limit = product_limit(pass->filter, &panel->sketches[r], measured->upper);
    for (int32_t c = 0; c < list->count; c++) {
        if (list->product[c] > limit) continue;
        list->index[n_kept] = list->index[c];
        list->product[n_kept++] = list->product[c];
    }
    list->count = n_kept;
}

/* New lists for the rows whose list overflowed, after the centroid with the nearest sketch has been
 * measured too. */
static void list_again(const filter_pass* pass, filtered_panel* panel) {
    const int64_t i = panel->i, n_rows = panel->n_rows, k = pass->centroids->k;
    float least[PANEL_ROWS];
    int32_t nearest[PANEL_ROWS];
    int64_t n_long = 0;
    for (int64_t r = 0; r < PANEL_ROWS; r++) panel->limits[r] = -INFINITY;
    for (int64_t r = 0; r < n_rows; r++) n_long += panel->lists[r].count > FASTKM_KEPT_CANDIDATES;
    if (!n_long) return;
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf best = vf_set1(INFINITY);
        vi index = vi_set1(0);
        for (int64_t j = 0; j < k; j++) {
            const vf product = vf_load(panel->products + j * PANEL_ROWS + v * LANES);
            index = vi_select(vf_lt(product, best), vi_set1((int32_t)j), index);
            best = vf_min(product, best);
        }
        vf_store(least + v * LANES, best);
        vi_store(nearest + v * LANES, index);
    }
    for (int64_t r = 0; r < n_rows; r++) {
        measured_row* measured = &panel->measured[r];
        if (panel->lists[r].count <= FASTKM_KEPT_CANDIDATES) continue;
        centre_row(pass->points, pass->frame, i + r, pass->scratch->panel);
        measure(pass, &panel->sketches[r], panel->own[r], measured);
        if (least[r] < INFINITY) {
            measured->tried = nearest[r];
            measure(pass, &panel->sketches[r], nearest[r], measured);
        }
        panel->limits[r] = product_limit(pass->filter, &panel->sketches[r], measured->upper);
        panel->lists[r].count = 0;
    }
    list_centroids(panel->products, k, panel->limits, panel->lists);
}

/* The label of row r, which is in scratch->panel, from its list, or from all centroids that the
 * sketches leave where the list overflowed. Keeps what its distance says of the rest. */
static int32_t refine(const filter_pass* pass, int64_t r, filtered_panel* panel) {
    const row_sketch* row = &panel->sketches[r];
    const fastkm_candidate_list* list = &panel->lists[r];
    const int is_listed = list->count <= FASTKM_KEPT_CANDIDATES;
    const int64_t n_candidates = is_listed ? list->count : pass->centroids->k;
    measured_row* measured = &panel->measured[r];
    float limit = product_limit(pass->filter, row, measured->upper);
    for (int64_t c = 0; c < n_candidates; c++) {
        const float upper = measured->upper;
        const int32_t j = is_listed ? list->index[c] : (int32_t)c;
        const float product = is_listed ? list->product[c] : panel->products[c * PANEL_ROWS + r];
        if (product > limit || j == measured->tried) continue;
        measure(pass, row, j, measured);
        if (measured->upper < upper) limit = product_limit(pass->filter, row, measured->upper);
    }
    int32_t label = measured->label;
    if (!(measured->second_lower > measured->upper * 1.000001f))
        label =
            exact_label(pass->points, pass->frame, pass->centroids, panel->i + r, pass->scratch);
    pass->filter->own_rests[panel->i + r] =
        outside_of(pass, row, product_of(panel, r, label), label, measured->upper);
    return label;
}

static void label_by_force(const filter_pass* pass, filtered_panel* panel, int32_t* labels) {
    const int64_t i = panel->i, n_rows = panel->n_rows;
    const rounding_bound bound = bound_for(pass->points->d);
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    load_panel(pass->points, pass->frame, i, n_rows, pass->scratch->panel, sq_norms);
    fold_panel(pass->scratch->panel, pass->centroids,
               lines_of_next_panel(pass->points, i, pass->centroids->k), &nearest);
    settle_panel(pass->points, pass->frame, pass->centroids, &bound, i, n_rows, 1, &nearest,
                 sq_norms, pass->scratch, labels);
    for (int64_t r = 0; r < n_rows; r++) {
        measured_row measured = {labels[r], -1, INFINITY, INFINITY, INFINITY, INFINITY};
        centre_row(pass->points, pass->frame, i + r, pass->scratch->panel);
        measure(pass, &panel->sketches[r], labels[r], &measured);
        pass->filter->own_rests[i + r] = outside_of(
            pass, &panel->sketches[r], product_of(panel, r, labels[r]), labels[r], measured.upper);
    }
    pass->work->n_forced_rows += n_rows;
}

/* Labels a panel's rows from their lists. Rows with few candidates are settled at once; the others
 * together, by force if that is cheaper. */
static void settle_lists(const filter_pass* pass, filtered_panel* panel, int32_t* labels) {
    const fastkm_candidate_list* lists = panel->lists;
    const int64_t k = pass->centroids->k;
    int64_t* open = panel->open;
    int64_t n_long = 0, n_candidates = 0;
    memcpy(labels, panel->own, (size_t)panel->n_rows * sizeof *labels);
    pass->work->n_rows_read += panel->n_open;
    for (int64_t o = 0; o < panel->n_open; o++) {
        const int64_t r = open[o];
        tighten(pass, r, panel);
        if (lists[r].count * COST_OF_DISTANCE <= k) {
            labels[r] = refine(pass, r, panel);
        } else {
            n_candidates += lists[r].count;
            open[n_long++] = r;
        }
    }
    if (n_candidates * COST_OF_DISTANCE > panel->n_rows * k) {
        label_by_force(pass, panel, labels);
        return;
    }
    for (int64_t o = 0; o < n_long; o++) {
        const int64_t r = open[o];
        centre_row(pass->points, pass->frame, panel->i + r, pass->scratch->panel);
        labels[r] = refine(pass, r, panel);
    }
}

/* Products of the sketches of the panel from row i on; the rows that the panel before it must read
 * are asked for meanwhile. */
static void sketch_panel(const filter_pass* pass, int64_t i, const filtered_panel* before,
                         float* products) {
    const fastkm_filter* filter = pass->filter;
    const float* sketches = filter->sketches.panels + i * (filter->p + 1);
    const int64_t k = pass->centroids->k;
    int64_t o = 0;
    for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS, o++) {
        const lines_ahead ahead = o < before->n_open
                                      ? lines_of_row(pass->points, before->i + before->open[o])
                                      : (lines_ahead){NULL, 0};
#define SKETCH(n) sketch_tile(sketches, filter, j, n, ahead, products)
        WITH_CONSTANT_TILE(k - j, SKETCH)
#undef SKETCH
    }
    for (; o < before->n_open; o++) prefetch_row(pass->points, before->i + before->open[o]);
}

/* Measures a row's own centroid, of which nothing is known yet; returns at least the distance. */
static float measure_own(const filter_pass* pass, int64_t r, filtered_panel* panel) {
    const int64_t i = panel->i + r;
    const int32_t own = panel->own[r];
    if (i + 1 < pass->points->n) prefetch_row(pass->points, i + 1);
    centre_row(pass->points, pass->frame, i, pass->scratch->panel);
    measure(pass, &panel->sketches[r], own, &panel->measured[r]);
    pass->filter->own_rests[i] = outside_of(pass, &panel->sketches[r], panel->own_products[r], own,
                                            panel->measured[r].upper);
    return panel->measured[r].upper;
}

/* Which centroids each row's sketch and its own centroid's leave, before anything is measured. */
static void list_panel(const filter_pass* pass, int64_t i, int64_t n_rows,
                       const int32_t* labels_old, filtered_panel* panel) {
    const fastkm_filter* filter = pass->filter;
    panel->i = i;
    panel->n_rows = n_rows;
    panel->n_open = 0;
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        panel->lists[r].count = 0;
        panel->limits[r] = -INFINITY;
    }
    for (int64_t r = 0; r < n_rows; r++) {
        const int32_t own = labels_old[i + r];
        float* own_product = panel->products + own * PANEL_ROWS + r;
        float* own_rest = &filter->own_rests[i + r];
        *own_rest = (*own_rest + filter->centroids.drifts[own]) * (1 + 0x1p-22f);
        panel->own[r] = own;
        panel->own_products[r] = *own_product;
        *own_product = INFINITY;
        panel->measured[r] = (measured_row){own, -1, INFINITY, INFINITY, INFINITY, INFINITY};
        panel->sketches[r] = sketch_of(pass, i + r);
        panel->limits[r] =
            product_limit(filter, &panel->sketches[r],
                          *own_rest < INFINITY ? own_upper(filter, &panel->sketches[r],
                                                           panel->own_products[r], own, *own_rest)
                                               : measure_own(pass, r, panel));
    }
    list_centroids(panel->products, pass->centroids->k, panel->limits, panel->lists);
    for (int64_t r = 0; r < n_rows; r++)
        if (panel->lists[r].count) panel->open[panel->n_open++] = r;
}

static void assign_filtered(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const fastkm_filter* filter,
                            int64_t i_begin, int64_t i_end, const int32_t* labels_old,
                            fastkm_scratch* scratch, fastkm_filter_work* work, int32_t* labels) {
    const filter_pass pass = {points,
                              frame,
                              centroids,
                              filter,
                              bound_for(filter->p + 1),
                              sum_error_for(points->d),
                              sqrtf((float)points->d) * 0x1p-61f,
                              scratch,
                              work};
    filtered_panel panels[2];
    filtered_panel *panel = &panels[0], *before = &panels[1];
    for (int side = 0; side < 2; side++) {
        panels[side].n_open = panels[side].n_rows = 0;
        panels[side].products = work->products + side * centroids->k * PANEL_ROWS;
        panels[side].lists = scratch->lists + side * PANEL_ROWS;
    }
    for (int64_t i = i_begin; i < i_end + PANEL_ROWS; i += PANEL_ROWS) {
        if (i < i_end) {
            sketch_panel(&pass, i, before, panel->products);
            list_panel(&pass, i, FASTKM_MIN(i_end - i, PANEL_ROWS), labels_old, panel);
        }
        if (before->n_rows) {
            list_again(&pass, before);
            settle_lists(&pass, before, labels + (before->i - i_begin));
        }
        filtered_panel* const last = before;
        before = panel;
        panel = last;
    }
}
