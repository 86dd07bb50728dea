/* Seeding over kept cells: what candidates gain, and the state that accepting one leaves. */
#include "harness.h"

#define MOST_CANDIDATES 7 /* more than a tile's */

typedef struct {
    const problem* p;
    const fastkm_kernels* kernels;
    const fastkm_frame* frame;
    const fastkm_centroids* candidates;
    fastkm_kept_cells cells;
    int64_t n_cells, n_groups;
    double* closest; /* (n,) */
} seeding;

static fastkm_cell_state begin_state(const seeding* s) {
    const int64_t n = s->p->points.n, n_rows = s->n_cells * FASTKM_CELL_ROWS;
    const fastkm_cell_state state = {take((size_t)n_rows * 8, 8),
                                     take((size_t)n_rows * 4, 4),
                                     take((size_t)s->n_cells * 4, 4),
                                     zeros((size_t)s->n_cells * 4, 4),
                                     take((size_t)(s->n_cells * s->candidates->k) * 8, 8),
                                     zeros((size_t)((n - 1) / FASTKM_BLOCK_ROWS + 1), 1)};
    for (int64_t i = n; i < n_rows; i++) state.limits[i] = -INFINITY;
    for (int64_t cell = 0; cell < s->n_cells; cell++)
        s->kernels->begin_cell(s->frame, &s->cells, cell, s->closest, &state);
    return state;
}

static void propose_all(const seeding* s, const double* weights, const fastkm_cell_state* state) {
    const int64_t n = s->p->points.n, d = s->p->points.d, k = s->candidates->k;
    double *gains = take((size_t)k * 8, 8), *errors = take((size_t)k * 8, 8);
    const double rounding = 1e-14 * (double)(n + d) * potential_of(s->p, s->closest, weights);
    double totals[MOST_CANDIDATES] = {0}, doubts[MOST_CANDIDATES] = {0};
    for (int64_t g = 0; g < s->n_groups; g++) {
        s->kernels->propose_group(s->frame, s->candidates, &s->cells, g, weights, state, gains,
                                  errors);
        for (int64_t j = 0; j < k; j++) {
            totals[j] += gains[j];
            doubts[j] += errors[j];
        }
    }
    for (int64_t j = 0; j < k; j++) {
        const double gain = gain_of(s->p, s->closest, weights, j);
        CHECK(!(fabs(totals[j] - gain) > doubts[j] + rounding),
              "propose_group: gains of the oracle, to within the errors");
        for (int64_t place = 0; place < n; place++) {
            const int64_t i = s->cells.order[place], cell = place / FASTKM_CELL_ROWS;
            const int is_masked = state->live[cell] >> j & 1 &&
                                  state->masks[cell * k + j] >> place % FASTKM_CELL_ROWS & 1;
            CHECK(is_masked || s->p->sq_dists[i * s->p->k + j] >= s->closest[i] * (1 - 1e-13),
                  "propose_group: masks have all that are nearer");
        }
    }
}

/* As the kernel that knows no cells does. */
static void accept_everywhere(const seeding* s, int64_t j, fastkm_scratch* scratch,
                              double* closest) {
    const int64_t n = s->p->points.n;
    uint32_t* masks = take((size_t)n * 4, 4);
    for (int64_t i = 0; i < n; i++) masks[i] = UINT32_MAX;
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        s->kernels->accept(&s->p->points, s->frame, s->candidates, i, end_of(i, n), j, masks,
                           scratch, closest);
}

static void accept(const seeding* s, int64_t j, int64_t cells_at_once, fastkm_scratch* scratch,
                   const fastkm_cell_state* state) {
    const int64_t n = s->p->points.n;
    double *before = take((size_t)n * 8, 8), *wanted = take((size_t)n * 8, 8);
    memcpy(before, s->closest, (size_t)n * 8);
    memcpy(wanted, s->closest, (size_t)n * 8);
    accept_everywhere(s, j, scratch, wanted);
    memset(state->touched, 0, (size_t)((n - 1) / FASTKM_BLOCK_ROWS + 1));
    for (int64_t cell = 0; cell < s->n_cells; cell += cells_at_once) {
        const int64_t end = cell + cells_at_once < s->n_cells ? cell + cells_at_once : s->n_cells;
        s->kernels->accept_cells(&s->p->points, s->frame, s->candidates, &s->cells, cell, end, j,
                                 scratch, state, s->closest);
    }
    CHECK(memcmp(s->closest, wanted, (size_t)n * 8) == 0, "accept_cells: what accept does");
    RECORD("accept_cells", s->closest, n);
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        CHECK(state->touched[i / FASTKM_BLOCK_ROWS] ==
                  (memcmp(before + i, wanted + i, (size_t)(end_of(i, n) - i) * 8) != 0),
              "accept_cells: touched blocks");
    const fastkm_cell_state fresh = begin_state(s);
    CHECK(memcmp(state->closest, fresh.closest, (size_t)n * 8) == 0 &&
              memcmp(state->limits, fresh.limits, (size_t)n * 4) == 0 &&
              memcmp(state->reaches, fresh.reaches, (size_t)s->n_cells * 4) == 0,
          "accept_cells: the state that begin_cell makes");
}

void seed_in_cells(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d;
    const int64_t k = p->k < MOST_CANDIDATES ? p->k : MOST_CANDIDATES;
    fastkm_centroids candidates = take_centroids(k, d);
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    seeding s = {.p = p,
                 .kernels = kernels,
                 .frame = frame,
                 .candidates = &candidates,
                 .cells = keep_cells(p, kernels, frame),
                 .n_cells = (n - 1) / FASTKM_CELL_ROWS + 1,
                 .n_groups = (n - 1) / (FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS) + 1,
                 .closest = take((size_t)n * 8, 8)};
    pack_centroids(kernels, frame, p->centroids, &candidates);
    if (n % 2) { /* the rows once more in the cells' order */
        int64_t* rows = take((size_t)n * 8, 8);
        char* copied = take((size_t)(n * d) * p->item_size, p->item_size);
        for (int64_t place = 0; place < n; place++) rows[place] = s.cells.order[place];
        kernels->gather(&p->points, rows, n, copied);
        const int64_t item = (int64_t)p->item_size;
        s.cells.rows = (fastkm_points){copied, n, d, d * item, item, p->points.dtype};
    }
    for (int64_t i = 0; i < n; i++) s.closest[i] = INFINITY;
    accept_everywhere(&s, 0, &scratch, s.closest);
    const fastkm_cell_state state = begin_state(&s);
    for (int turn = 0; turn < 3; turn++) {
        propose_all(&s, p->weights, &state);
        propose_all(&s, NULL, &state);
        accept(&s, turn ? k / 2 / turn : k - 1, turn + 1, &scratch, &state);
    }
}
