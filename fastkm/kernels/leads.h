/* Labels of rows round after round, but for rows whose lead is left: how much farther, at least,
 * all other centroids are than the row's own. README.md proves it. */

/* Centroids at such a share of their distance less are surely farther than float64's rounding. */
#define RING_SLACK 0x1p-18
/* What rounding may move a row among the rings, in steps, while its centroid's path is no longer
 * than so many. */
#define RING_MARGIN 0x1p-8
#define MOST_STEPS 0x1p13
/* Rings are this share of the mean distance of a centroid to the nearest other one, of so many. */
#define STEPS_TO_NEAREST 8
#define NEAREST_SAMPLED 32
/* Centroids that can come near a ring within so many such rounds as the last count as near. */
#define ROUNDS_IN_RESERVE 0.5

/* A centroid's squared distances to all, in scratch; times the square of exact_scale. */
static void sq_dists_between(const fastkm_frame* frame, const fastkm_centroids* centroids,
                             int64_t j, fastkm_scratch* scratch) {
    memcpy(scratch->row, centroids->raw + j * centroids->d,
           (size_t)centroids->d * sizeof *scratch->row);
    sq_dists_of_row(frame, centroids, scratch);
}

static void choose_step(const fastkm_frame* frame, const fastkm_centroids* centroids,
                        fastkm_scratch* scratch, fastkm_leads* leads) {
    const int64_t k = centroids->k, n_sampled = FASTKM_MIN(k, NEAREST_SAMPLED);
    double total = 0;
    for (int64_t s = 0; s < n_sampled; s++) {
        const int64_t j = s * k / n_sampled;
        double nearest = INFINITY;
        sq_dists_between(frame, centroids, j, scratch);
        for (int64_t other = 0; other < k; other++)
            if (other != j) nearest = FASTKM_MIN(scratch->dists[other], nearest);
        total += sqrt(nearest) / (double)n_sampled;
    }
    leads->step = total * (frame->scale / frame->exact_scale) / STEPS_TO_NEAREST;
    leads->per_step = (float)(1 / leads->step);
    /* Without one all rows are in the last ring. */
    if (!(leads->step > 1 / (double)MOST_NORM && leads->step < (double)MOST_NORM))
        leads->per_step = 0;
}

/* The centroids that are near to each ring of a label, and at least how much farther than the own
 * one those are that were not near before. The last ring has no end, and all are near to it. */
static void find_near(const fastkm_frame* frame, const fastkm_centroids* centroids, int64_t j,
                      fastkm_scratch* scratch, const fastkm_leads* leads, double* largest_drift,
                      double* least_lead) {
    const double reserve = (leads->drifts[j] + leads->fastest) * ROUNDS_IN_RESERVE;
    const double path = leads->paths[j], per_step = 1 / leads->step;
    const double per_unit = frame->scale / frame->exact_scale * (1 - RING_SLACK);
    const double last = FASTKM_RINGS - 1, first = FASTKM_RINGS_INSIDE - RING_MARGIN;
    uint8_t* near_from = leads->near_from + j * leads->k;
    sq_dists_between(frame, centroids, j, scratch);
    for (int64_t other = 0; other < leads->k; other++) {
        const double dist = sqrt(scratch->dists[other]) * per_unit;
        const double ring = ((dist - reserve) / 2 - path) * per_step + first;
        const double clipped = ring > 0 ? FASTKM_MIN(ring, last) : 0;
        const int from = (int)clipped + ((int)clipped < clipped);
        if (other == j) continue;
        for (int r = from; r < near_from[other]; r++) {
            const double lead = dist - 2 * ((r - FASTKM_RINGS_INSIDE) * leads->step + path);
            if (!(lead >= least_lead[r])) least_lead[r] = lead;
        }
        near_from[other] = (uint8_t)from;
        largest_drift[from] = FASTKM_MAX(leads->drifts[other], largest_drift[from]);
    }
}

/* Takes off the leads of a label's rows what the last moves may have cost. */
static void follow_label(const fastkm_frame* frame, const fastkm_centroids* centroids, int64_t j,
                         int is_complete, fastkm_scratch* scratch, const fastkm_leads* leads) {
    const int64_t k = centroids->k, first = j * FASTKM_RINGS;
    const double drift = leads->drifts[j], path = leads->paths[j];
    double least_lead[FASTKM_RINGS], largest_drift[FASTKM_RINGS] = {0}, of_near = 0;
    for (int r = 0; r < FASTKM_RINGS; r++) least_lead[r] = INFINITY;
    if (leads->per_step > 0 && path < MOST_STEPS * leads->step) {
        find_near(frame, centroids, j, scratch, leads, largest_drift, least_lead);
        leads->places[j] =
            (float)(FASTKM_RINGS_INSIDE + 1 + RING_MARGIN - path * (double)leads->per_step);
    } else {
        for (int64_t other = 0; other < k; other++) {
            if (other != j) largest_drift[0] = FASTKM_MAX(leads->drifts[other], largest_drift[0]);
            if (leads->near_from[j * k + other]) least_lead[0] = -INFINITY;
            leads->near_from[j * k + other] = 0;
        }
        for (int r = 1; r < FASTKM_RINGS; r++) least_lead[r] = least_lead[0];
        leads->places[j] = INFINITY;
    }
    for (int r = 0; r < FASTKM_RINGS; r++) {
        double reserve = leads->reserves[first + r];
        of_near = FASTKM_MAX(largest_drift[r], of_near);
        const double taken = (drift + of_near) * (1 + (double)LEAST_LEAD);
        const double travel = (leads->travels[first + r] + taken) * (1 + 0x1p-50);
        if (is_complete && !(reserve > 0)) reserve = INFINITY; /* its rows were labelled anew */
        reserve -= taken;
        if (!(least_lead[r] >= reserve)) reserve = least_lead[r];
        leads->reserves[first + r] = reserve;
        leads->travels[first + r] = travel;
        leads->travels_f32[first + r] = (float)(travel * (1 - 0x1p-22));
        leads->limits[first + r] = reserve > 0 ? (float)(travel * (1 + 0x1p-22)) : INFINITY;
    }
}

static void follow_labels(const fastkm_frame* frame, const fastkm_centroids* centroids,
                          int64_t j_begin, int64_t j_end, int is_complete, fastkm_scratch* scratch,
                          const fastkm_leads* leads) {
    for (int64_t j = j_begin; j < j_end; j++)
        follow_label(frame, centroids, j, is_complete, scratch, leads);
}

static void follow_moves(const fastkm_frame* frame, const fastkm_centroids* centroids,
                         int is_complete, fastkm_scratch* scratch, fastkm_leads* leads) {
    const int64_t k = centroids->k, d = centroids->d;
    if (is_complete) leads->is_known = 1;
    leads->fastest = 0;
    for (int64_t j = 0; j < k; j++) {
        const double drift = drift_of(centroids->raw + j * d, leads->raw + j * d, d, frame->scale);
        leads->drifts[j] = drift;
        leads->paths[j] = (leads->paths[j] + drift) * (1 + 0x1p-50);
        leads->fastest = FASTKM_MAX(drift, leads->fastest);
    }
    memcpy(leads->raw, centroids->raw, (size_t)(k * d) * sizeof *leads->raw);
    if (leads->step == 0) choose_step(frame, centroids, scratch, leads);
}

/* So many rows are on their way from memory. */
#define ROWS_BEFORE_LISTING 256
#define ROWS_LISTED_AT_ONCE 32 /* a line of slots */

/* A bit for each of so many rows from i on, whose lead is used up, or that have no label. */
static FASTKM_INLINE uint32_t without_lead(const fastkm_leads* leads, int64_t i) {
    const float* FASTKM_RESTRICT limits = leads->limits;
    const uint16_t* FASTKM_RESTRICT slots = leads->slots + i;
    float limit[ROWS_LISTED_AT_ONCE];
    uint32_t has_lead = 0;
    for (int r = 0; r < ROWS_LISTED_AT_ONCE; r++) limit[r] = limits[slots[r]];
    for (int r = 0; r < ROWS_LISTED_AT_ONCE; r += LANES)
        has_lead |= vm_bits(vf_lt(vf_load(limit + r), vf_load(leads->leads + i + r))) << r;
    return ~has_lead;
}

/* The rows whose lead is used up, or that have no label. */
static int64_t list_without_lead(const fastkm_leads* leads, int64_t i_begin, int64_t i_end,
                                 int64_t n, const int32_t* labels, int32_t* rows) {
    const float *leads_kept = leads->leads, *limits = leads->limits;
    const uint16_t* slots = leads->slots;
    int64_t n_rows = 0, i = i_begin;
    for (; i + ROWS_LISTED_AT_ONCE <= i_end; i += ROWS_LISTED_AT_ONCE) {
        const int64_t ahead = i + ROWS_BEFORE_LISTING;
        if (ahead < n) prefetch((const char*)(slots + ahead));
        for (int64_t p = ahead; p < FASTKM_MIN(ahead + ROWS_LISTED_AT_ONCE, n);
             p += LINE_BYTES / 4) {
            prefetch((const char*)(leads_kept + p));
            prefetch((const char*)(labels + p));
        }
        n_rows += list_bits(without_lead(leads, i), ROWS_LISTED_AT_ONCE, (int32_t)i, rows + n_rows);
    }
    for (; i < i_end; i++) {
        rows[n_rows] = (int32_t)i;
        n_rows += !(leads_kept[i] > limits[slots[i]]);
    }
    return n_rows;
}

/* Of a panel's rows: at most how far their centroids are, and at least how much farther all others,
 * or -infinity. */
typedef struct {
    float own[PANEL_ROWS], leads[PANEL_ROWS];
} panel_leads;

static void find_leads(const rounding_bound* bound, const float* sq_norms,
                       const nearest_two* nearest, float max_norm, panel_leads* found) {
    const vf slack = vf_set1(bound->slack), widening = vf_set1(GAP_WIDENING * bound->slack);
    const vf zero = vf_set1(0), none = vf_set1(-INFINITY);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf sq_norm = vf_load(sq_norms + v * LANES);
        const vf norm = vf_fma(vf_sqrt(sq_norm), slack, vf_set1(LEAST_NORM));
        const vf of_norm = vf_mul(vf_mul(vf_set1(bound->a), norm), norm);
        const vf of_product = bound_at(bound, norm, vf_set1(max_norm));
        const vf error = vf_mul(of_product, widening);
        const vf unsure = vf_mul(vf_add(of_norm, of_product), widening);
        const vf sq_own = vf_max(vf_add(sq_norm, vf_load(nearest->best + v * LANES)), zero);
        const vf sq_other = vf_add(sq_norm, vf_load(nearest->second + v * LANES));
        const vf own = vf_sqrt(vf_mul(vf_add(sq_own, vf_add(unsure, error)), slack));
        const vf other = vf_sqrt(vf_max(vf_sub(sq_other, unsure), zero));
        const vf lead = vf_sub(vf_mul(other, vf_set1(1 - LEAST_LEAD)),
                               vf_mul(own, vf_set1(1 + 2 * LEAST_LEAD)));
        vf_store(found->own + v * LANES, own);
        /* Squares of more might have overflowed. */
        const vf positive = vf_select(vf_lt(zero, lead), lead, none);
        vf_store(found->leads + v * LANES,
                 vf_select(vf_lt(positive, vf_set1(MOST_NORM)), positive, none));
    }
}

/* Writes the labels of a panel's rows, and what is known of them. */
static void keep_leads(const fastkm_leads* leads, const panel_leads* found, const int32_t* rows,
                       int64_t i_begin, int64_t n_rows, const int32_t* nearest,
                       const int32_t* labels_old, fastkm_lead_work* work, int32_t* labels) {
    const float last = FASTKM_RINGS - 1, per_step = leads->per_step;
    const float* FASTKM_RESTRICT places = leads->places;
    const float* FASTKM_RESTRICT travels = leads->travels_f32;
    float* FASTKM_RESTRICT kept = leads->leads;
    uint16_t* FASTKM_RESTRICT slots = leads->slots;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t i = rows ? rows[r] : i_begin + r, j = nearest[r];
        const int ring = (int)FASTKM_MIN(found->own[r] * per_step + places[j], last);
        const int64_t slot = j * FASTKM_RINGS + FASTKM_MAX(ring, 0);
        slots[i] = (uint16_t)slot;
        kept[i] = (found->leads[r] + travels[slot]) * (1 - 0x1p-22f);
    }
    int64_t n_moved = work->n_moved;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t i = rows ? rows[r] : i_begin + r;
        work->moved[n_moved] = (int32_t)i;
        n_moved += labels_old[i] != nearest[r];
        labels[i] = nearest[r];
    }
    work->n_moved = n_moved;
}

/* What to bring of the next rows of a list, which ascend: all lines between the first and the last,
 * tile by tile, where most hold a row; else the rows are asked for at once. */
static lines_ahead lines_of_rows(const fastkm_points* points, const int32_t* rows, int64_t n_rows,
                                 int64_t k) {
    const int64_t n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
    if (n_rows <= 0) return no_lines(points->base);
    const int64_t n_spanned = rows[n_rows - 1] - rows[0] + 1;
    const int64_t lines_per_tile = n_spanned * points->row_stride / LINE_BYTES / n_tiles + 1;
    const int is_close = 2 * n_spanned <= 5 * n_rows && lines_of_row(points, 0).lines_per_tile > 0;
    if (is_close && points->d > LOW_D && lines_per_tile <= points->d)
        return (lines_ahead){points->base + rows[0] * points->row_stride, lines_per_tile};
    prefetch_rows(points, rows, n_rows);
    return no_lines(points->base);
}

/* With so many of four rows left, all are labelled, which are read in passing. */
#define NEARLY_ALL_OF_FOUR 3

static void assign_by_leads(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const fastkm_leads* leads,
                            int64_t i_begin, int64_t i_end, const int32_t* labels_old,
                            fastkm_scratch* scratch, fastkm_lead_work* work, int32_t* labels) {
    const rounding_bound bound = bound_for(points->d);
    int64_t n_left = i_end - i_begin;
    if (leads->is_known)
        n_left = list_without_lead(leads, i_begin, i_end, points->n, labels_old, work->rows);
    const int is_all = 4 * n_left > NEARLY_ALL_OF_FOUR * (i_end - i_begin);
    const int32_t* rows = is_all ? NULL : work->rows;
    if (is_all) {
        n_left = i_end - i_begin;
    } else {
        prefetch_rows(points, rows, FASTKM_MIN(n_left, PANEL_ROWS));
        if (labels != labels_old)
            memcpy(labels + i_begin, labels_old + i_begin,
                   (size_t)(i_end - i_begin) * sizeof *labels);
    }
    for (int64_t p = 0; p < n_left; p += PANEL_ROWS) {
        const int64_t i = i_begin + p, n_rows = FASTKM_MIN(n_left - p, PANEL_ROWS);
        const int32_t* here = rows ? rows + p : NULL;
        nearest_two nearest;
        panel_leads found;
        float sq_norms[PANEL_ROWS];
        int32_t nearest_labels[PANEL_ROWS];
        lines_ahead ahead = no_lines(scratch->panel);
        if (here) {
            gather_panel(points, frame, here, n_rows, scratch->panel, sq_norms);
            ahead = lines_of_rows(points, here + n_rows,
                                  FASTKM_MIN(n_left - p - n_rows, PANEL_ROWS), centroids->k);
        } else {
            load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
            ahead = lines_of_next_panel(points, i, centroids->k);
        }
        fold_panel(scratch->panel, centroids, ahead, &nearest);
        work->n_exact += settle_panel(points, frame, centroids, &bound, i, here, n_rows, 1,
                                      &nearest, sq_norms, scratch, nearest_labels);
        find_leads(&bound, sq_norms, &nearest, centroids->max_norm, &found);
        keep_leads(leads, &found, here, i, n_rows, nearest_labels, labels_old, work, labels);
    }
    work->n_read += n_left;
}
