/* What the filter knows of rows without reading them, and the bounds that follow. */

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
