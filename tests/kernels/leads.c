/* Rows that keep their labels until moves have used their leads up. */
#include "harness.h"

#define N_ROUNDS 6

/* Nothing is known yet; the centroids come from raw. */
static fastkm_leads begin_leads(const problem* p, const double* raw) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k, size = k * FASTKM_RINGS;
    fastkm_leads leads = {.k = k,
                          .raw = take((size_t)(k * d) * 8, 8),
                          .drifts = zeros((size_t)k * 8, 8),
                          .paths = zeros((size_t)k * 8, 8),
                          .near_from = zeros((size_t)(k * k), 1),
                          .travels = zeros((size_t)size * 8, 8),
                          .travels_f32 = zeros((size_t)size * 4, 4),
                          .reserves = take((size_t)size * 8, 8),
                          .limits = take((size_t)size * 4, 4),
                          .places = zeros((size_t)k * 4, 4),
                          .leads = take((size_t)n * 4, 4),
                          .slots = take((size_t)n * 2, 2)};
    memcpy(leads.raw, raw, (size_t)(k * d) * 8);
    for (int64_t r = 0; r < size; r++) leads.reserves[r] = INFINITY;
    return leads;
}

static void follow(const fastkm_kernels* kernels, const fastkm_frame* frame,
                   const fastkm_centroids* packed, int is_complete, fastkm_scratch* scratch,
                   fastkm_leads* leads) {
    const int64_t k = packed->k, middle = k / 2;
    kernels->follow_moves(frame, packed, is_complete, scratch, leads);
    kernels->follow_labels(frame, packed, middle, k, is_complete, scratch, leads);
    kernels->follow_labels(frame, packed, 0, middle, is_complete, scratch, leads);
}

void label_by_leads(const problem* p, const fastkm_kernels* kernels, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const fastkm_frame* frame = &columns->frame;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_centroids packed = take_centroids(k, d);
    double *raw = take((size_t)(k * d) * 8, 8), *sq_dists = take((size_t)(n * k) * 8, 8);
    int32_t *labels = take((size_t)n * 4, 4), *labels_old = take((size_t)n * 4, 4),
            *wanted = take((size_t)n * 4, 4), *rows = take((size_t)n * 4, 4),
            *moved = take((size_t)n * 4, 4);
    memcpy(raw, p->centroids, (size_t)(k * d) * 8);
    fastkm_leads leads = begin_leads(p, raw);
    for (int64_t i = 0; i < n; i++) labels[i] = -1;
    for (int turn = 0; turn < N_ROUNDS; turn++) {
        int64_t n_changed = 0, n_moved = 0, n_read = 0;
        memcpy(labels_old, labels, (size_t)n * 4);
        pack_centroids(kernels, frame, raw, &packed);
        follow(kernels, frame, &packed, turn > 0, &scratch, &leads);
        if (turn >= 3) { /* and hardly on, before any row is labelled: the first move counts */
            move_centroids(p, 20, raw);
            pack_centroids(kernels, frame, raw, &packed);
            follow(kernels, frame, &packed, 0, &scratch, &leads);
        }
        find_nearest(p->X, raw, n, d, k, sq_dists, wanted);
        for (int64_t i = 0; i < n; i = end_of(i, n)) {
            fastkm_lead_work work = {rows, moved + n_moved, 0, 0, 0};
            kernels->assign_by_leads(&p->points, frame, &packed, &leads, i, end_of(i, n),
                                     labels_old, &scratch, &work, labels);
            n_moved += work.n_moved;
            n_read += work.n_read;
        }
        for (int64_t i = 0; i < n; i++) {
            CHECK(labels[i] == wanted[i], "assign_by_leads: labels of the oracle");
            n_changed += labels[i] != labels_old[i];
        }
        for (int64_t r = 0; r < n_moved; r++)
            CHECK(labels[moved[r]] != labels_old[moved[r]], "assign_by_leads: rows that change");
        CHECK(n_moved == n_changed, "assign_by_leads: lists all rows that change");
        CHECK(turn > 0 || n_read == n, "assign_by_leads: looks at all rows first");
        move_centroids(p, turn % 2, raw);
    }
}
