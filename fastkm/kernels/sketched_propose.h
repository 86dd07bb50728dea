/* Greedy k-means++ from sketches: a candidate is a row, so its sketch is known, and one whose
 * sketch is farther than a row's nearest seed changes nothing there; README.md proves it. X is read
 * only where a sketch leaves that open. */

/* Panels of which a larger share of rows is open are read as a whole. */
#define OPEN_SHARE_OF_A_PANEL 0.75
/* So few rows are measured in float64, each for the candidates that its sketch leaves. */
#define FEW_ROWS (PANEL_ROWS / 8)

/* Products of sketches above the limit belong to candidates that are surely no nearer than the
 * current distance. */
static void find_sketch_limits(const fastkm_sketched* sketched, const rounding_bound* bound,
                               double ratio, int64_t n_rows, const double* closest,
                               const float* sq_norms, const float* errors, float* limits) {
    const float radius = sketched->max_norm, slack = bound->slack;
    double current[PANEL_ROWS] = {0};
    memcpy(current, closest, (size_t)n_rows * sizeof *current);
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        /* What float32 flushes to zero has a root below the constant. */
        const float upper = sqrtf((float)(current[r] * ratio)) * (1 + 0x1p-20f) + 0x1p-60f;
        const float reach =
            (upper * sketched->stretch + errors[r] + sketched->max_error) * 1.00001f;
        const float norm = sqrtf(sq_norms[r]);
        const float rounding = bound->a * (radius * (radius + 2 * norm) + sq_norms[r]) +
                               bound->c * (1 + norm + radius);
        limits[r] =
            reach * reach * 1.00001f - sq_norms[r] + (rounding + 1e-6f * sq_norms[r]) * slack;
    }
    for (int64_t r = n_rows; r < PANEL_ROWS; r++) limits[r] = -INFINITY;
}

static FASTKM_INLINE void screen_tile(const float* panel, const fastkm_sketched* sketched,
                                      int64_t j_begin, const int n_candidates, const float* limits,
                                      int32_t* possible) {
    const int64_t width = sketched->p + 1;
    lines_ahead none = {NULL, 0};
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products(panel, sketched->tiles + j_begin * width, sketched->candidate_sq_norms + j_begin,
             width, n_candidates, &none, product);
    for (int j = 0; j < n_candidates; j++) mark_possible(product[j], j_begin + j, limits, possible);
}

/* Rows from anywhere, as many as a panel holds, and the candidates that sketches leave to each. */
typedef struct {
    int64_t rows[2 * PANEL_ROWS];
    uint32_t possible[2 * PANEL_ROWS];
    int64_t n;
} open_rows;

/* What propose_rows does, of the first n of the open rows. */
static void propose_gathered(const proposal_pass* pass, const open_rows* open, int64_t n,
                             char* gathered) {
    const fastkm_points* points = pass->points;
    const int64_t d = points->d, item = item_size(points->dtype);
    const fastkm_points copied = {gathered, n, d, d * item, item, points->dtype};
    const lines_ahead none = {points->base, 0};
    float sq_norms[PANEL_ROWS];
    double closest[PANEL_ROWS], weights[PANEL_ROWS], row_errors[PANEL_ROWS];
    proposal found;
    gather(points, open->rows, n, gathered);
    load_panel(&copied, pass->frame, 0, n, pass->scratch->panel, sq_norms);
    for (int64_t r = 0; r < n; r++) {
        closest[r] = pass->closest[open->rows[r]];
        weights[r] = pass->weights ? pass->weights[open->rows[r]] : 1;
    }
    propose_panel(pass->frame, pass->candidates, pass->scratch->panel, sq_norms, n, closest, none,
                  &found, row_errors);
    for (int64_t r = 0; r < n; r++) pass->masks[open->rows[r]] = (uint32_t)found.possible[r];
    gain_roughly(pass->frame, &found, sq_norms, row_errors, n, closest, weights, pass->gains,
                 pass->errors);
}

static void propose_open(const proposal_pass* pass, open_rows* open, char* gathered) {
    const int64_t n = FASTKM_MIN(open->n, PANEL_ROWS);
    if (n > FEW_ROWS) {
        propose_gathered(pass, open, n, gathered);
    } else {
        for (int64_t r = 0; r < n; r++)
            pass->masks[open->rows[r]] = gain_row(pass, open->rows[r], open->possible[r]);
    }
    open->n -= n;
    memmove(open->rows, open->rows + n, (size_t)open->n * sizeof *open->rows);
    memmove(open->possible, open->possible + n, (size_t)open->n * sizeof *open->possible);
}

static int64_t propose_sketched(const fastkm_points* points, const fastkm_frame* frame,
                                const fastkm_centroids* candidates, const fastkm_sketched* sketched,
                                int64_t i_begin, int64_t i_end, const double* closest,
                                const double* weights, fastkm_scratch* scratch, char* gathered,
                                uint32_t* masks, double* gains, double* errors) {
    const proposal_pass pass = {points,  frame, candidates, closest, weights,
                                scratch, masks, gains,      errors};
    const double ratio = frame->scale / frame->exact_scale * (frame->scale / frame->exact_scale);
    const rounding_bound bound = bound_for(sketched->p + 1);
    const fastkm_sketches* rows = &sketched->rows;
    int64_t n_read = 0;
    open_rows open = {.n = 0};
    for (int64_t j = 0; j < candidates->k; j++) gains[j] = errors[j] = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS), n_before = open.n;
        float limits[PANEL_ROWS];
        int32_t possible[PANEL_ROWS] = {0};
        find_sketch_limits(sketched, &bound, ratio, n_rows, closest + i, rows->sq_norms + i,
                           rows->errors + i, limits);
        const uint32_t saved = flush_denormals();
        for (int64_t j = 0; j < candidates->k; j += FASTKM_TILE_CENTROIDS) {
#define SCREEN(n) \
    screen_tile(rows->panels + i * (sketched->p + 1), sketched, j, n, limits, possible)
            WITH_CONSTANT_TILE(candidates->k - j, SCREEN)
#undef SCREEN
        }
        restore_denormals(saved);
        for (int64_t r = 0; r < n_rows; r++) {
            masks[i + r] = 0;
            open.rows[open.n] = i + r;
            open.possible[open.n] = (uint32_t)possible[r];
            open.n += possible[r] != 0;
        }
        n_read += open.n - n_before;
        if ((double)(open.n - n_before) > OPEN_SHARE_OF_A_PANEL * (double)n_rows) {
            load_and_propose(&pass, i, n_rows);
            open.n = n_before;
        }
        for (int64_t o = n_before; o < open.n; o++) prefetch_row(points, open.rows[o]);
        if (open.n >= PANEL_ROWS) propose_open(&pass, &open, gathered);
    }
    if (open.n) propose_open(&pass, &open, gathered);
    return n_read;
}
