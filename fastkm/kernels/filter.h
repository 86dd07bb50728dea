/* The filter: bounds of all distances from a few directions; README.md proves them.
 *
 * Most centroids are far from a row, and a sketch of p + 1 numbers shows it: below, by
 * Cauchy-Schwarz outside of the directions; above, for the row's own centroid, by what its distance
 * outside was when it was last measured. What the sketch cannot exclude is measured, and rows that
 * it decides alone are not read at all.
 */

/* Panels whose sketches are on their way while one is at hand. */
#define PANELS_AHEAD 2

/* The panel's sketches, coordinates first; past its end the last row's again. */
static void load_sketches(const filter_pass* pass, const filtered_panel* panel, float* out) {
    const int64_t width = pass->filter->p + 2;
    const float* rows[PANEL_ROWS];
    for (int64_t r = 0; r < PANEL_ROWS; r++)
        rows[r] = pass->filter->sketches + panel->slots[FASTKM_MIN(r, panel->n_rows - 1)] * width;
    for (int v = 0; v < TILE_VECTORS; v++)
        for (int64_t q = 0; q < width; q += LANES) {
            vf y[LANES];
            for (int r = 0; r < LANES; r++) y[r] = vf_load(rows[v * LANES + r] + q);
            vf_transpose(y);
            for (int64_t c = 0; c < FASTKM_MIN(LANES, width - q); c++)
                vf_store(out + (q + c) * PANEL_ROWS + v * LANES, y[c]);
        }
}

/* Rows that a pass has come to, and what it reads of them first is on its way. */
typedef struct {
    int64_t begin; /* the place in the order of the first, where all that follow are taken */
    int64_t n_rows;
    int32_t rows[PANEL_ROWS];
} awaited_rows;

/* Asks memory for what the pass reads first of these rows. */
static void prefetch_sketches(const filter_pass* pass, const awaited_rows* awaited) {
    const fastkm_filter* filter = pass->filter;
    const int64_t bytes = (filter->p + 2) * (int64_t)sizeof(float);
    for (int64_t r = 0; r < awaited->n_rows; r++) {
        const int64_t slot = filter->slots[awaited->rows[r]];
        const char* sketch = (const char*)filter->sketches + slot * bytes;
        for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES) prefetch(sketch + byte);
        prefetch(sketch + bytes - 1);
        prefetch((const char*)(filter->bounds + slot));
    }
}

/* Whether its label is surely the nearest centroid to a row, whatever has moved since its gaps were
 * found. */
static FASTKM_INLINE int is_nearest(const fastkm_filter* filter, int32_t row, int32_t label) {
    const fastkm_row_gaps gaps = filter->row_gaps[row];
    const fastkm_travel own = filter->travels[label], rival = filter->travels[gaps.rival];
    return (gaps.to_rival > own.alone + rival.alone) & (gaps.to_others > own.with_fastest);
}

/* Takes the next rows from place i of the order on, but for those that are surely nearest to their
 * own centroids, whatever has moved since their gaps were found: these keep their labels. Returns
 * the place behind them. */
static int64_t await_rows(const filter_pass* pass, int64_t i, int64_t i_end,
                          const int32_t* labels_old, int32_t* labels, awaited_rows* awaited) {
    const fastkm_filter* filter = pass->filter;
    awaited->begin = i;
    awaited->n_rows = 0;
    for (; i < i_end && awaited->n_rows < PANEL_ROWS; i++) {
        const int32_t row = filter->order[i], label = labels_old[row];
        const int is_settled = filter->by_rows && is_nearest(filter, row, label);
        labels[row] = label;
        awaited->rows[awaited->n_rows] = row; /* no branch, which would be foreseen badly */
        awaited->n_rows += !is_settled;
    }
    prefetch_sketches(pass, awaited);
    return i;
}

/* Products of the panel's sketches and those of tile o of its list; returns as sketch_tile. The
 * o-th row that the panel before it must read is asked for meanwhile. */
static float sketch_listed(const filter_pass* pass, filtered_panel* panel, int64_t o,
                           const filtered_panel* before) {
    const int64_t k = pass->centroids->k, j = panel->tiles[o] * FASTKM_TILE_CENTROIDS;
    const int has_head = pass->filter->head > 0 && o >= panel->n_own_tiles;
    const lines_ahead ahead = o < before->n_open
                                  ? lines_of_row(pass->points, before->rows[before->open[o]])
                                  : no_lines(panel->products);
    float gap = 0;
    if (has_head) {
#define SKETCH(n) gap = sketch_tile(pass, panel, j, n, 1, ahead)
        WITH_CONSTANT_TILE(k - j, SKETCH)
#undef SKETCH
    } else {
#define SKETCH(n) sketch_tile(pass, panel, j, n, 0, ahead)
        WITH_CONSTANT_TILE(k - j, SKETCH)
#undef SKETCH
    }
    return gap;
}

/* How far rounding reaches, and at least the distances to the own centroids: inside of the basis by
 * their products, outside by own_rests. */
static void bound_own(const filter_pass* pass, const float own_sketch_rests[PANEL_ROWS],
                      filtered_panel* panel) {
    const fastkm_filter* filter = pass->filter;
    const rounding_bound* bound = &pass->bound;
    const vf radius = vf_set1(filter->max_norm), stretch = vf_set1(filter->stretch);
    const vf a = vf_set1(bound->a), c = vf_set1(bound->c), slack = vf_set1(bound->slack);
    const vf outwards = vf_set1(1.00001f);
    for (int64_t r = 0; r < PANEL_ROWS; r += LANES) {
        const vf sq_norm = vf_load(panel->sq_norms + r), norm = vf_sqrt(sq_norm);
        const vf both = vf_add(norm, radius);
        const vf chain = vf_mul(a, vf_fma(radius, vf_add(both, norm), sq_norm));
        const vf flushed = vf_mul(c, vf_add(vf_set1(1), both));
        const vf rest = vf_mul(vf_set1(2e-6f), vf_mul(both, both));
        const vf rounding = vf_mul(vf_add(vf_add(chain, flushed), rest), slack);
        const vf error = vf_add(vf_load(panel->errors + r), vf_set1(filter->max_error));
        vf_store(panel->roundings + r, rounding);
        vf_store(panel->errors + r, error);
        vf_store(panel->input_errors + r,
                 vf_add(vf_mul(vf_set1(0x1.2p-23f), both), vf_set1(pass->flushed)));

        const vf between = vf_sub(vf_load(panel->rests + r), vf_load(own_sketch_rests + r));
        const vf product = vf_load(panel->own_products + r);
        const vf inside_sq =
            vf_add(vf_sub(vf_add(product, sq_norm), vf_mul(between, between)), rounding);
        const vf inside = vf_mul(vf_add(vf_sqrt(inside_sq), error), stretch);
        const vf own_rest = vf_load(panel->own_rests + r);
        const vf upper = vf_fma(vf_sqrt(vf_fma(inside, inside, vf_mul(own_rest, own_rest))),
                                outwards, vf_set1(FLT_MIN));
        const vf reach = vf_mul(vf_fma(upper, stretch, error), outwards);
        const vf limit = vf_add(vf_sub(vf_mul(vf_mul(reach, reach), outwards), sq_norm), rounding);
        vf_store(panel->uppers + r, vf_mul(upper, vf_set1((float)(1 + MARGIN))));
        vf_store(panel->limits + r, limit);
    }
}

/* Takes the rows awaited. Their labels are those before the centroids moved, and nothing is listed
 * yet. */
static void begin_panel(const filter_pass* pass, const awaited_rows* awaited,
                        const int32_t* labels_old, filtered_panel* panel) {
    const int64_t place = awaited->begin / PANEL_ROWS;
    panel->n_rows = awaited->n_rows;
    panel->n_open = panel->is_forced = 0;
    panel->gaps = pass->filter->gaps + place * n_tiles_of(pass->centroids->k);
    panel->moves = pass->filter->panel_moves + place;
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        panel->lists[r].count = 0;
        panel->own[r] = -1;
        panel->least[r] = panel->second[r] = INFINITY;
        panel->nearest[r] = 0;
        panel->rivals[r] = (nearest_others){0, INFINITY, INFINITY};
    }
    for (int64_t r = 0; r < panel->n_rows; r++) {
        panel->rows[r] = awaited->rows[r];
        panel->slots[r] = pass->filter->slots[panel->rows[r]];
        panel->own[r] = pass->filter->centroids.place[labels_old[panel->rows[r]]];
    }
}

/* What is known of each row without reading it. Past the panel's end no centroid is near. */
static void bound_rows(const filter_pass* pass, filtered_panel* panel) {
    const fastkm_filter* filter = pass->filter;
    float own_sketch_rests[PANEL_ROWS] = {0};
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        panel->sq_norms[r] = panel->errors[r] = panel->own_products[r] = panel->own_rests[r] = 0;
        if (r >= panel->n_rows) continue;
        const int32_t own = panel->own[r];
        float* own_product = panel->products + own * PANEL_ROWS + r;
        const fastkm_row_bounds* bounds = filter->bounds + panel->slots[r];
        panel->own_rests[r] = after_drifts(bounds->own_rest, filter->drifts[own]);
        panel->own_products[r] = *own_product;
        *own_product = INFINITY;
        own_sketch_rests[r] = filter->centroids.rests[own];
        panel->sq_norms[r] = bounds->sq_norm;
        panel->errors[r] = bounds->error;
        panel->measured[r] = not_measured(own);
    }
    memcpy(panel->rests, pass->work->panel + filter->p * PANEL_ROWS, sizeof panel->rests);
    bound_own(pass, own_sketch_rests, panel);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        if (r >= panel->n_rows) panel->limits[r] = panel->uppers[r] = -INFINITY;
    }
}

/* Which centroids each row's sketch and its own centroid's leave, before anything is measured. Of
 * the panel's tiles those remain whose products are there. */
static void list_panel(const filter_pass* pass, filtered_panel* panel,
                       const filtered_panel* before) {
    int64_t n_left = 0;
    load_sketches(pass, panel, pass->work->panel);
    for (int64_t o = 0; o < panel->n_own_tiles; o++) sketch_listed(pass, panel, o, before);
    bound_rows(pass, panel);
    for (int64_t o = 0; o < panel->n_tiles; o++) {
        const int32_t t = panel->tiles[o];
        float gap = o < panel->n_own_tiles ? 0 : sketch_listed(pass, panel, o, before);
        if (gap == 0) {
            gap = list_tile(pass, panel, t * FASTKM_TILE_CENTROIDS);
            panel->tiles[n_left++] = t;
        }
        if (!pass->filter->by_rows)
            panel->gaps[t] = lasting(gap, *panel->moves + pass->filter->tile_moves[t]);
    }
    for (int64_t o = panel->n_tiles; o < before->n_open; o++)
        prefetch_row(pass->points, before->rows[before->open[o]]);
    panel->n_tiles = n_left;
    for (int64_t r = 0; r < panel->n_rows; r++)
        if (panel->lists[r].count) panel->open[panel->n_open++] = r;
}

/* Keeps how much farther than its own centroid the others are from each row at least: as measured,
 * or as the sketches say. */
static void keep_row_gaps(const filter_pass* pass, const filtered_panel* panel,
                          const int32_t places[PANEL_ROWS]) {
    const fastkm_filter* filter = pass->filter;
    const int32_t* order = filter->centroids.order;
    float gaps[PANEL_ROWS], other_gaps[PANEL_ROWS];
    for (int64_t r = 0; r < PANEL_ROWS; r += LANES) {
        vf_store(gaps + r, margin_of(pass, panel, r, vf_load(panel->least + r)));
        vf_store(other_gaps + r, margin_of(pass, panel, r, vf_load(panel->second + r)));
    }
    for (int64_t r = 0; r < panel->n_rows; r++) {
        const measured_row* measured = &panel->measured[r];
        nearest_others others = panel->rivals[r];
        if (panel->is_forced) others.gap = others.other_gap = -INFINITY;
        add_gap(&others, panel->nearest[r], gaps[r]);
        if (!(other_gaps[r] >= others.other_gap)) others.other_gap = other_gaps[r];
        if (measured->upper < INFINITY) {
            const float nearer = panel->uppers[r] - measured->upper;
            others.gap += nearer;
            others.other_gap += nearer;
            for (int o = 0; o < FASTKM_RIVALS; o++)
                add_gap(&others, measured->others[o],
                        measured->other_lowers[o] * (float)(1 - MARGIN) - measured->upper);
        }
        const int32_t label = order[places[r]], rival = order[FASTKM_MAX(others.rival, 0)];
        const fastkm_travel own = filter->travels[label];
        filter->row_gaps[panel->rows[r]] =
            (fastkm_row_gaps){rival, lasting(others.gap, own.alone + filter->travels[rival].alone),
                              lasting(others.other_gap, own.with_fastest)};
    }
}

/* Writes the panel's labels. To a row that leaves its centroid that one is a centroid as all
 * others, of which no gap is known. */
static void end_panel(const filter_pass* pass, filtered_panel* panel, int32_t* labels) {
    fastkm_filter_work* work = pass->work;
    int32_t places[PANEL_ROWS];
    list_again(pass, panel);
    settle_lists(pass, panel, places);
    for (int64_t r = 0; r < panel->n_rows; r++) {
        labels[panel->rows[r]] = pass->filter->centroids.order[places[r]];
        if (places[r] == panel->own[r]) continue;
        if (work->moved) work->moved[work->n_moved++] = panel->rows[r];
        if (!pass->filter->by_rows) panel->gaps[panel->own[r] / FASTKM_TILE_CENTROIDS] = -INFINITY;
    }
    if (pass->filter->by_rows) keep_row_gaps(pass, panel, places);
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
    for (int side = 0; side < 2; side++) {
        panels[side].products = work->products + side * centroids->k * PANEL_ROWS;
        panels[side].tiles = work->tiles + side * 2 * n_tiles_of(centroids->k);
        panels[side].marks = panels[side].tiles + n_tiles_of(centroids->k);
        panels[side].lists = scratch->lists + side * PANEL_ROWS;
    }
    filtered_panel *panel = &panels[0], *before = &panels[1];
    before->n_open = before->n_rows = 0;
    awaited_rows awaited[PANELS_AHEAD + 1];
    int64_t i = i_begin, n_awaited = 0;
    for (; n_awaited < PANELS_AHEAD; n_awaited++)
        i = await_rows(&pass, i, i_end, labels_old, labels, &awaited[n_awaited]);
    for (int64_t b = 0; awaited[b % (PANELS_AHEAD + 1)].n_rows || before->n_rows; b++) {
        const awaited_rows* here = &awaited[b % (PANELS_AHEAD + 1)];
        panel->n_rows = 0;
        if (here->n_rows) {
            begin_panel(&pass, here, labels_old, panel);
            if (filter->by_rows)
                take_all_tiles(&pass, panel);
            else
                choose_tiles(&pass, panel);
            i = await_rows(&pass, i, i_end, labels_old, labels,
                           &awaited[(b + PANELS_AHEAD) % (PANELS_AHEAD + 1)]);
            list_panel(&pass, panel, before);
        }
        if (before->n_rows) end_panel(&pass, before, labels);
        filtered_panel* const last = before;
        before = panel;
        panel = last;
    }
}
