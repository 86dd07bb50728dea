/* The filter: bounds of all distances from a few directions; README.md proves them.
 *
 * Most centroids are far from a row, and a sketch of p + 1 numbers shows it: below, by
 * Cauchy-Schwarz outside of the directions; above, for the row's own centroid, by what its distance
 * outside was when it was last measured. What the sketch cannot exclude is measured, and rows that
 * it decides alone are not read at all.
 */

/* Sums that a vector or two can hold. */
#define SUMS_AT_ONCE 16

/* Panels whose sketches are on their way while one is at hand. */
#define PANELS_AHEAD 2

/* By this share bounds that last are wider than they need be: more than rounds on their way. */
#define MARGIN 1e-4

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

/* At most the distance inside of the basis. */
static FASTKM_INLINE double inside_lower(const filter_pass* pass, const row_sketch* row,
                                         float product, int32_t j) {
    const float sq = inside_sq(pass->filter, row, product, j) - row->rounding;
    const float inside = sq > 0 ? (sqrtf(sq) - row->error) / pass->filter->stretch : 0;
    return inside > 0 ? inside * 0.99999 : 0;
}

/* At least the distance outside of the basis, from an upper bound of the whole and a lower one of
 * what is inside. */
static float outside_of(float upper, double inside_lower) {
    const double inside = FASTKM_MAX(inside_lower, 0);
    const double outside = (double)upper * upper - inside * inside;
    return outside < 0 ? FLT_MIN : (float)(sqrt(outside) * (1 + 0x1p-20)) + FLT_MIN;
}

/* An upper bound that grows with its centroid's drifts, as it would have been before all of them;
 * and as it is after them. */
static float before_drifts(float upper, double drifts) {
    const double before = upper - drifts;
    return (float)(before + (fabs(before) + drifts) * 0x1p-22);
}

static float after_drifts(float before, double drifts) {
    return (float)((before + drifts) * (1 + 0x1p-22) + drifts * 0x1p-40);
}

/* At most the distance outside of the basis, from a lower bound of the whole. */
static double outside_lower(const filter_pass* pass, const row_sketch* row, float product,
                            int32_t j, float lower) {
    const float stretch = pass->filter->stretch;
    const float sq = inside_sq(pass->filter, row, product, j) + row->rounding;
    const double inside = (sqrtf(FASTKM_MAX(sq, 0)) + row->error) * stretch * 1.00001;
    const double outside = (double)lower * lower - inside * inside;
    return lower > 0 && outside > 0 ? sqrt(outside) * (1 - 0x1p-20) : 0;
}

/* Measures centroid j; the row is in scratch->panel. */
static void measure(const filter_pass* pass, const row_sketch* row, int32_t j,
                    measured_row* measured) {
    const int64_t d = pass->points->d;
    pass->work->n_distances++;
    measure_row(pass->scratch->panel, pass->filter->centroids.framed + j * d, d, row->input_error,
                pass->sum_error, j, measured);
}

/* Of the centroids that are not a row's own: the nearest as far as is known, how much farther it is
 * than the own one at least, and how much all others are. */
typedef struct {
    int32_t rival;
    float gap, other_gap;
} nearest_others;

/* A gap that is no number counts as the least. */
static FASTKM_INLINE void add_gap(nearest_others* others, int32_t j, float gap) {
    if (!(gap >= others->gap)) {
        others->other_gap = others->gap;
        others->gap = gap;
        others->rival = j;
    } else if (gap < others->other_gap) {
        others->other_gap = gap;
    }
}

/* A panel's rows between the sketches and their labels. */
typedef struct {
    int32_t rows[PANEL_ROWS];
    int32_t slots[PANEL_ROWS];
    int64_t n_rows;
    int64_t open[PANEL_ROWS], n_open; /* rows that the sketches do not decide */
    float* gaps;                      /* the filter's, of this panel; not used by rows */
    double* moves;
    int32_t* tiles; /* of centroids that the gaps do not exclude */
    int32_t* marks; /* (n_tiles,) by rows: whether a tile is among them */
    int64_t n_tiles, n_own_tiles;
    float* products; /* (k, PANEL_ROWS) of sketches, of those tiles; infinite for a row and its own
                        centroid */
    float own_products[PANEL_ROWS], limits[PANEL_ROWS];
    /* By rows: the two least products of sketches that are above the limits, and whose the least
     * is; and the centroids whose sketch did not show that they are farther, but their last
     * distance. */
    float least[PANEL_ROWS], second[PANEL_ROWS];
    int32_t nearest[PANEL_ROWS];
    nearest_others rivals[PANEL_ROWS];
    float uppers[PANEL_ROWS]; /* at least the distances to the own centroids, by a margin */
    int32_t own[PANEL_ROWS];
    float own_rests[PANEL_ROWS];
    /* What row_sketch has, of each row. */
    float sq_norms[PANEL_ROWS], rests[PANEL_ROWS], errors[PANEL_ROWS], input_errors[PANEL_ROWS],
        roundings[PANEL_ROWS];
    measured_row measured[PANEL_ROWS];
    int is_forced; /* labelled by force, so that no gaps are known */
    fastkm_candidate_list* lists;
} filtered_panel;

static FASTKM_INLINE row_sketch sketch_of(const filtered_panel* panel, int64_t r) {
    return (row_sketch){panel->sq_norms[r], panel->rests[r], panel->errors[r],
                        panel->input_errors[r], panel->roundings[r]};
}

static FASTKM_INLINE int64_t n_tiles_of(int64_t k) {
    return (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
}

/* A bound to keep, rounded down: what is there now, and the moves so far. */
static float lasting(double gap, double moves) {
    return gap > 0 ? (float)((gap + moves) * (1 - 0x1p-23)) : -INFINITY;
}

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
            for (int64_t line = 0; line < here.lines_per_tile; line++)
                prefetch(here.next + line * LINE_BYTES);
            pass->work->n_products += panel->n_rows * n_centroids * (head + 1);
            return FASTKM_MAX(least_lane(gap), FLT_MIN);
        }
    }
    add_products(sketches + head * PANEL_ROWS, tile + head * n_centroids, width - 1 - head,
                 n_centroids, &here, product);
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

/* Squared distance of float32 coordinates and float64 ones. */
static double sq_dist_to(const float* y, const double* z, int64_t n) {
    double sums[SUMS_AT_ONCE] = {0}, total = 0;
    int64_t q = 0;
    for (; q + SUMS_AT_ONCE <= n; q += SUMS_AT_ONCE)
        for (int s = 0; s < SUMS_AT_ONCE; s++) {
            const double off = y[q + s] - z[q + s];
            sums[s] += off * off;
        }
    for (int s = 0; s < SUMS_AT_ONCE; s++) total += sums[s];
    for (; q < n; q++) total += (y[q] - z[q]) * (y[q] - z[q]);
    return total;
}

/* Keeps how far rows are from their own centroids outside of the basis, at most. */
static void measure_rows(const fastkm_points* points, const fastkm_frame* frame, int64_t i_begin,
                         int64_t i_end, const int32_t* labels, fastkm_scratch* scratch,
                         const fastkm_filter* filter) {
    const fastkm_centroid_sketches* centroids = &filter->centroids;
    const int64_t d = points->d, p = filter->p;
    const float sum_error = sum_error_for(d), sketch_sum_error = 0x1p-22f;
    const float flushed = sqrtf((float)d) * 0x1p-61f;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t j = centroids->place[labels[i]], slot = filter->slots[i];
        const float* sketch = filter->sketches + slot * (p + 2);
        fastkm_row_bounds* bounds = filter->bounds + slot;
        /* Of the sketch, which is as long as the row but for its error. */
        const float norm = sqrtf(bounds->sq_norm) * 1.0001f + bounds->error;
        const float input_error =
            0x1.2p-23f * (norm + filter->max_norm * 1.0001f + filter->max_error) + flushed;
        measured_row measured = not_measured(j);
        centre_row(points, frame, i, scratch->panel);
        measure_row(scratch->panel, centroids->framed + j * d, d, input_error, sum_error, j,
                    &measured);
        const double sq_inside = sq_dist_to(sketch, centroids->inside + j * 2 * p, p);
        const double error = (double)bounds->error + centroids->errors[j];
        const double inside = (sqrt(sq_inside) * (1 - sketch_sum_error) - error) / filter->stretch;
        bounds->own_rest =
            before_drifts(outside_of(measured.upper, inside * 0.99999), filter->drifts[j]);
    }
}

/* Sketches row by row, so that panels can be put together from any rows. */
static void sketch_rows(const fastkm_points* points, const fastkm_frame* frame,
                        const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                        fastkm_scratch* scratch, float* panel, const fastkm_filter* filter) {
    const int64_t p = basis->p, width = p + 2;
    float sq_norms[PANEL_ROWS], errors[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float *rests = panel + p * PANEL_ROWS, *tails = rests + PANEL_ROWS;
        sketch_loaded(points, frame, basis, i, n_rows, scratch, panel, sq_norms, errors);
        sum_squares(panel + filter->head * PANEL_ROWS, p - filter->head, tails);
        for (int64_t r = 0; r < PANEL_ROWS; r++) tails[r] = sqrtf(tails[r] + rests[r] * rests[r]);
        for (int64_t r = 0; r < n_rows; r++) {
            fastkm_row_bounds* bounds = filter->bounds + filter->slots[i + r];
            bounds->sq_norm = sq_norms[r];
            bounds->error = errors[r];
        }
        for (int64_t r_begin = 0; r_begin < n_rows; r_begin += LANES)
            for (int64_t q = 0; q < width; q += LANES)
                store_coordinates(panel + q * PANEL_ROWS + r_begin, FASTKM_MIN(width - q, LANES),
                                  filter->slots + i + r_begin, FASTKM_MIN(n_rows - r_begin, LANES),
                                  filter->sketches + q, width);
    }
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
