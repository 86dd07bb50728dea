/* Labels of the rows whose lists are not empty: what the sketches leave is measured. */

static float product_of(const filtered_panel* panel, int64_t r, int32_t j) {
    return j == panel->own[r] ? panel->own_products[r] : panel->products[j * PANEL_ROWS + r];
}

/* Measures row r's own centroid, if that is still to do, and strikes off its list what that
 * excludes. */
static void tighten(const filter_pass* pass, int64_t r, filtered_panel* panel) {
    const row_sketch sketch = sketch_of(panel, r);
    measured_row* measured = &panel->measured[r];
    fastkm_candidate_list* list = &panel->lists[r];
    int32_t n_kept = 0;
    centre_row(pass->points, pass->frame, panel->rows[r], pass->scratch->panel);
    if (measured->upper == INFINITY) measure(pass, &sketch, panel->own[r], measured);
    if (list->count > FASTKM_KEPT_CANDIDATES) return;
    const float limit = product_limit(pass->filter, &sketch, measured->upper);
    for (int32_t c = 0; c < list->count; c++) {
        if (list->product[c] > limit) {
            keep_product_of(panel, r, list->product[c], list->index[c]);
            continue;
        }
        list->index[n_kept] = list->index[c];
        list->product[n_kept++] = list->product[c];
    }
    list->count = n_kept;
}

/* Makes the products of the tiles that are excluded infinite: from here on all are looked at. */
static void show_excluded(filtered_panel* panel, int64_t k) {
    const int64_t n_tiles = n_tiles_of(k);
    for (int64_t t = 0; t < n_tiles; t++) {
        int64_t o = 0;
        while (o < panel->n_tiles && panel->tiles[o] != t) o++;
        if (o < panel->n_tiles) continue;
        const int64_t begin = t * FASTKM_TILE_CENTROIDS * PANEL_ROWS;
        const int64_t end = FASTKM_MIN((t + 1) * FASTKM_TILE_CENTROIDS, k) * PANEL_ROWS;
        for (int64_t item = begin; item < end; item++) panel->products[item] = INFINITY;
    }
}

/* New lists for the rows whose list overflowed, after the centroid with the nearest sketch has been
 * measured too. */
static void list_again(const filter_pass* pass, filtered_panel* panel) {
    const int64_t n_rows = panel->n_rows, k = pass->centroids->k;
    float least[PANEL_ROWS];
    int32_t nearest[PANEL_ROWS];
    int64_t n_long = 0;
    for (int64_t r = 0; r < PANEL_ROWS; r++) panel->limits[r] = -INFINITY;
    for (int64_t r = 0; r < n_rows; r++) n_long += panel->lists[r].count > FASTKM_KEPT_CANDIDATES;
    if (!n_long) return;
    show_excluded(panel, k);
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
        const row_sketch sketch = sketch_of(panel, r);
        measured_row* measured = &panel->measured[r];
        if (panel->lists[r].count <= FASTKM_KEPT_CANDIDATES) continue;
        centre_row(pass->points, pass->frame, panel->rows[r], pass->scratch->panel);
        measure(pass, &sketch, panel->own[r], measured);
        if (least[r] < INFINITY) {
            measured->tried = nearest[r];
            measure(pass, &sketch, nearest[r], measured);
        }
        panel->limits[r] = product_limit(pass->filter, &sketch, measured->upper);
        panel->lists[r].count = 0;
    }
    for (int64_t o = 0; o < panel->n_tiles; o++)
        list_tile(pass, panel, panel->tiles[o] * FASTKM_TILE_CENTROIDS);
}

/* The label of row r, which is in scratch->panel, from its list, or from all centroids that the
 * sketches leave where the list overflowed. Keeps what its distance says of the rest. */
static int32_t refine(const filter_pass* pass, int64_t r, filtered_panel* panel) {
    const fastkm_filter* filter = pass->filter;
    const row_sketch sketch = sketch_of(panel, r), *row = &sketch;
    const fastkm_candidate_list* list = &panel->lists[r];
    fastkm_row_bounds* bounds = filter->bounds + panel->slots[r];
    const int is_listed = list->count <= FASTKM_KEPT_CANDIDATES;
    const int64_t n_candidates = is_listed ? list->count : pass->centroids->k;
    measured_row* measured = &panel->measured[r];
    float limit = product_limit(filter, row, measured->upper);
    for (int64_t c = 0; c < n_candidates; c++) {
        const float upper = measured->upper;
        const int32_t j = is_listed ? list->index[c] : (int32_t)c;
        const float product = is_listed ? list->product[c] : panel->products[c * PANEL_ROWS + r];
        if (product > limit) keep_product_of(panel, r, product, j);
        if (product > limit || j == measured->tried) continue;
        measure(pass, row, j, measured);
        if (measured->upper < upper) limit = product_limit(filter, row, measured->upper);
    }
    int32_t label = measured->label;
    const int is_clear = measured->other_lowers[0] > measured->upper * 1.000001f;
    if (!is_clear)
        label = filter->centroids.place[exact_label(pass->points, pass->frame, pass->centroids,
                                                    panel->rows[r], pass->scratch)];
    bounds->own_rest = before_drifts(
        outside_of(measured->upper, inside_lower(pass, row, product_of(panel, r, label), label)),
        filter->drifts[label]);
    for (int o = 0; o < FASTKM_RIVALS; o++) {
        const int32_t j = is_clear ? measured->others[o] : -1;
        bounds->rivals[o] = j;
        if (j < 0) continue;
        const double rest =
            outside_lower(pass, row, product_of(panel, r, j), j, measured->other_lowers[o]);
        bounds->rival_rests[o] = (float)((rest + filter->drifts[j]) * (1 - 0x1p-23));
    }
    return label;
}

static void label_by_force(const filter_pass* pass, filtered_panel* panel, int32_t* labels) {
    const int64_t n_rows = panel->n_rows;
    const int32_t* rows = panel->rows;
    const rounding_bound bound = bound_for(pass->points->d);
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    gather_panel(pass->points, pass->frame, rows, n_rows, pass->scratch->panel, sq_norms);
    fold_panel(pass->scratch->panel, pass->centroids, no_lines(pass->scratch->panel), &nearest);
    settle_panel(pass->points, pass->frame, pass->centroids, &bound, 0, rows, n_rows, 1, &nearest,
                 sq_norms, pass->scratch, labels);
    for (int64_t r = 0; r < n_rows; r++) {
        const row_sketch sketch = sketch_of(panel, r);
        labels[r] = pass->filter->centroids.place[labels[r]];
        measured_row measured = not_measured(labels[r]);
        centre_row(pass->points, pass->frame, rows[r], pass->scratch->panel);
        measure(pass, &sketch, labels[r], &measured);
        pass->filter->bounds[panel->slots[r]].own_rest = before_drifts(
            outside_of(measured.upper,
                       inside_lower(pass, &sketch, product_of(panel, r, labels[r]), labels[r])),
            pass->filter->drifts[labels[r]]);
        for (int o = 0; o < FASTKM_RIVALS; o++)
            pass->filter->bounds[panel->slots[r]].rivals[o] = -1;
    }
    panel->is_forced = 1;
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
        centre_row(pass->points, pass->frame, panel->rows[r], pass->scratch->panel);
        labels[r] = refine(pass, r, panel);
    }
}
