/* Which centroids the gaps and the products of sketches leave, a tile at a time. */

/* Whether the centroid at place j is farther than the own one by what its distance was. */
static int is_excluded_rival(const filter_pass* pass, filtered_panel* panel, int64_t r, int32_t j,
                             float product) {
    const fastkm_row_bounds* bounds = pass->filter->bounds + panel->slots[r];
    for (int o = 0; o < FASTKM_RIVALS; o++) {
        if (bounds->rivals[o] != j) continue;
        const row_sketch sketch = sketch_of(panel, r);
        const double inside = inside_lower(pass, &sketch, product, j);
        const double rest = bounds->rival_rests[o] - pass->filter->drifts[j];
        const double sq_lower = inside * inside + (rest > 0 ? rest * rest : 0);
        const double upper = panel->uppers[r];
        if (!(sq_lower > upper * upper)) return 0;
        add_gap(&panel->rivals[r], j, (float)(sqrt(sq_lower) * (1 - MARGIN) - upper));
        return 1;
    }
    return 0;
}

/* In place of the gap of a tile that is listed already: gaps are positive, or -infinity. */
#define LISTED -1.0f

/* All tiles of centroids: first those that hold an own one. */
static void take_all_tiles(const filter_pass* pass, filtered_panel* panel) {
    const int64_t n_tiles = n_tiles_of(pass->centroids->k);
    panel->n_tiles = 0;
    memset(panel->marks, 0, (size_t)n_tiles * sizeof *panel->marks);
    for (int64_t r = 0; r < panel->n_rows; r++) {
        const int32_t t = panel->own[r] / FASTKM_TILE_CENTROIDS;
        if (!panel->marks[t]) panel->tiles[panel->n_tiles++] = t;
        panel->marks[t] = 1;
    }
    panel->n_own_tiles = panel->n_tiles;
    for (int64_t t = 0; t < n_tiles; t++)
        if (!panel->marks[t]) panel->tiles[panel->n_tiles++] = (int32_t)t;
}

/* Which tiles of centroids the panel's gaps do not exclude after the last moves: first those that
 * hold an own centroid, and then the others. */
static void choose_tiles(const filter_pass* pass, filtered_panel* panel) {
    const fastkm_filter* filter = pass->filter;
    const int64_t n_tiles = n_tiles_of(pass->centroids->k);
    float *gaps = panel->gaps, fastest = 0;
    panel->n_tiles = 0;
    for (int64_t r = 0; r < panel->n_rows; r++) {
        const int32_t t = panel->own[r] / FASTKM_TILE_CENTROIDS;
        fastest = FASTKM_MAX(fastest, filter->centroids.moves[panel->own[r]]);
        if (gaps[t] == LISTED) continue;
        panel->tiles[panel->n_tiles++] = t;
        gaps[t] = LISTED;
    }
    panel->n_own_tiles = panel->n_tiles;
    *panel->moves += fastest;
    for (int64_t t = 0; t < n_tiles; t++)
        if (!(gaps[t] > *panel->moves + filter->tile_moves[t]) && gaps[t] != LISTED)
            panel->tiles[panel->n_tiles++] = (int32_t)t;
}

/* How much farther a centroid is than a vector of rows' own ones, at least, from its product. */
static FASTKM_INLINE vf margin_of(const filter_pass* pass, const filtered_panel* panel, int64_t r,
                                  vf product) {
    const vf sq_norm = vf_load(panel->sq_norms + r);
    const vf sq = vf_add(product, vf_sub(sq_norm, vf_load(panel->roundings + r)));
    const vf root = vf_mul(vf_sqrt(vf_max(sq, vf_set1(0))), vf_set1((float)(1 - MARGIN)));
    const vf unstretch = vf_set1((1 - 1e-6f) / pass->filter->stretch);
    const vf lower = vf_mul(vf_sub(root, vf_load(panel->errors + r)), unstretch);
    return vf_sub(lower, vf_load(panel->uppers + r));
}

/* Keeps a product of some of the rows with centroid j if it is one of the two least. */
static FASTKM_INLINE void keep_product(filtered_panel* panel, int64_t r, vf product, int32_t j) {
    const vf least = vf_load(panel->least + r);
    const vi nearest = vi_load(panel->nearest + r);
    vf_store(panel->second + r, vf_min(vf_max(product, least), vf_load(panel->second + r)));
    vf_store(panel->least + r, vf_min(product, least));
    vi_store(panel->nearest + r, vi_select(vf_lt(product, least), vi_set1(j), nearest));
}

/* The same of one row. */
static void keep_product_of(filtered_panel* panel, int64_t r, float product, int32_t j) {
    if (product < panel->least[r]) {
        panel->second[r] = panel->least[r];
        panel->least[r] = product;
        panel->nearest[r] = j;
    } else {
        panel->second[r] = FASTKM_MIN(panel->second[r], product);
    }
}

/* Products of the panel's sketches and a tile's, unless their heads and what is left of the norms
 * show already that no row is as near to any of these centroids as to its own. Returns how much
 * farther they are then, or 0. */
static FASTKM_INLINE float sketch_tile(const filter_pass* pass, filtered_panel* panel,
                                       int64_t j_begin, const int n_centroids, const int has_head,
                                       lines_ahead ahead) {
    const fastkm_filter* filter = pass->filter;
    const int64_t width = filter->p + 2, head = has_head ? filter->head : 0;
    const float* tile = filter->centroids.tiles + j_begin * width;
    const float* sketches = pass->work->panel;
    lines_ahead here = {ahead.next, FASTKM_MIN(ahead.lines_per_tile, head)};
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(sketches, tile, filter->centroids.sq_norms + j_begin, head, n_centroids, &here,
             product);
    here.lines_per_tile = ahead.lines_per_tile - here.lines_per_tile;
    if (has_head) {
        const float *tails = sketches + (width - 1) * PANEL_ROWS,
                    *tails_of_tile = tile + (width - 1) * n_centroids;
        vf gap = vf_set1(INFINITY), least[TILE_VECTORS];
        uint32_t is_open = 0;
        for (int v = 0; v < TILE_VECTORS; v++) {
            const vf tail = vf_load(tails + v * LANES);
            least[v] = vf_set1(INFINITY);
            for (int j = 0; j < n_centroids; j++)
                least[v] = vf_min(vf_fma(tail, vf_set1(tails_of_tile[j]), product[j][v]), least[v]);
            is_open |=
                ~vm_bits(vf_lt(vf_load(panel->limits + v * LANES), least[v])) & ((1u << LANES) - 1);
            gap = vf_min(margin_of(pass, panel, v * LANES, least[v]), gap);
        }
        if (!is_open) {
            for (int v = 0; v < TILE_VECTORS; v++) /* whose it is does not show */
                vf_store(panel->second + v * LANES,
                         vf_min(least[v], vf_load(panel->second + v * LANES)));
            bring_lines(&here);
            pass->work->n_products += panel->n_rows * n_centroids * (head + 1);
            return FASTKM_MAX(least_lane(gap), FLT_MIN);
        }
    }
    const char* first_here = here.next;
    add_products(sketches + head * PANEL_ROWS, tile + head * n_centroids, width - 1 - head,
                 n_centroids, &here, product);
    for (int64_t line = width - 1 - head; line < here.lines_per_tile; line++)
        prefetch(first_here + line * LINE_BYTES);
    for (int j = 0; j < n_centroids; j++)
        for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(panel->products + (j_begin + j) * PANEL_ROWS + v * LANES, product[j][v]);
    pass->work->n_products += panel->n_rows * n_centroids * (width - 1 + has_head);
    return 0;
}

/* Adds centroid j to the lists of the rows, from r_begin on, whose limits its products are not
 * above. */
static void list_open(const filter_pass* pass, filtered_panel* panel, vf limit, int64_t r_begin,
                      int32_t j) {
    const float* products = panel->products + j * PANEL_ROWS;
    const vf product = vf_load(products + r_begin);
    const vm is_above = vf_lt(limit, product);
    uint32_t open = ~vm_bits(is_above) & ((1u << LANES) - 1);
    if (pass->filter->by_rows)
        keep_product(panel, r_begin, vf_select(is_above, product, vf_set1(INFINITY)), j);
    /* Past the panel's end a product that is no number is not above the limit either. */
    for (int64_t r = r_begin; open && r < panel->n_rows; r++, open >>= 1) {
        fastkm_candidate_list* list = &panel->lists[r];
        if (!(open & 1) || is_excluded_rival(pass, panel, r, j, products[r])) continue;
        if (list->count < FASTKM_KEPT_CANDIDATES) {
            list->index[list->count] = j;
            list->product[list->count] = products[r];
        }
        list->count++;
    }
}

/* Adds those of a tile's centroids to the lists whose product is not above the row's limit. Returns
 * how much farther than its own centroid they are at least to every row; 0 where that is unknown.
 */
static float list_tile(const filter_pass* pass, filtered_panel* panel, int64_t j_begin) {
    const int64_t j_end = FASTKM_MIN(j_begin + FASTKM_TILE_CENTROIDS, pass->centroids->k);
    vf gap = vf_set1(INFINITY);
    uint32_t is_open = 0;
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int64_t r_begin = v * LANES;
        const float* of_tile = panel->products + r_begin;
        const vf limit = vf_load(panel->limits + r_begin);
        vf least = vf_load(of_tile + j_begin * PANEL_ROWS);
        for (int64_t j = j_begin + 1; j < j_end; j++)
            least = vf_min(vf_load(of_tile + j * PANEL_ROWS), least);
        if (~vm_bits(vf_lt(limit, least)) & ((1u << LANES) - 1)) {
            is_open = 1;
            for (int64_t j = j_begin; j < j_end; j++)
                list_open(pass, panel, limit, r_begin, (int32_t)j);
            continue;
        }
        if (pass->filter->by_rows)
            for (int64_t j = j_begin; j < j_end; j++)
                keep_product(panel, r_begin, vf_load(of_tile + j * PANEL_ROWS), (int32_t)j);
        else if (!is_open)
            gap = vf_min(margin_of(pass, panel, r_begin, least), gap);
    }
    return is_open ? 0 : least_lane(gap);
}
