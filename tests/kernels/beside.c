/* Runs side by side: each has what it would have alone. */
#include "harness.h"

#define N_RUNS 3

static void label_beside(const problem* p, const fastkm_kernels* kernels,
                         const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    double *raw[N_RUNS], *sq_dists = take((size_t)(n * k) * 8, 8);
    int32_t* wanted = take((size_t)n * 4, 4);
    fastkm_centroids packed[N_RUNS];
    fastkm_labelling runs[N_RUNS];
    for (int r = 0; r < N_RUNS; r++) {
        packed[r] = take_centroids(r == 1 ? (k + 1) / 2 : k, d);
        raw[r] = take((size_t)(k * d) * 8, 8);
        memcpy(raw[r], r ? raw[r - 1] : p->centroids, (size_t)(k * d) * 8);
        if (r) move_centroids(p, r, raw[r]);
        pack_centroids(kernels, frame, raw[r], &packed[r]);
        runs[r] = (fastkm_labelling){&packed[r], take((size_t)n * 4, 4)};
    }
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->assign_beside(&p->points, frame, runs, N_RUNS, i, end_of(i, n), &scratch);
    for (int r = 0; r < N_RUNS; r++) {
        find_nearest(p->X, raw[r], n, d, packed[r].k, sq_dists, wanted);
        for (int64_t i = 0; i < n; i++)
            CHECK(runs[r].labels[i] == wanted[i], "assign_beside: labels of the oracle");
    }
}

static void propose_beside(const problem* p, const fastkm_kernels* kernels,
                           const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const int64_t n_blocks = (n - 1) / FASTKM_BLOCK_ROWS + 1;
    const size_t of_blocks = (size_t)(n_blocks * k) * 8;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_centroids packed[N_RUNS];
    fastkm_proposal runs[N_RUNS];
    uint32_t* masks = take((size_t)n * 4, 4);
    double *gains = take((size_t)k * 8, 8), *errors = take((size_t)k * 8, 8);
    for (int r = 0; r < N_RUNS; r++) {
        double *raw = take((size_t)(k * d) * 8, 8), *closest = take((size_t)n * 8, 8);
        memcpy(raw, p->centroids, (size_t)(k * d) * 8);
        for (int turn = 0; turn < r; turn++) move_centroids(p, turn, raw);
        packed[r] = take_centroids(k, d);
        pack_centroids(kernels, frame, raw, &packed[r]);
        for (int64_t i = 0; i < n; i++) closest[i] = p->sq_dists[i * k + r % k];
        runs[r] = (fastkm_proposal){&packed[r], closest, take((size_t)n * 4, 4), take(of_blocks, 8),
                                    take(of_blocks, 8)};
    }
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->propose_beside(&p->points, frame, runs, N_RUNS, i, end_of(i, n), p->weights,
                                &scratch);
    for (int r = 0; r < N_RUNS; r++)
        for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS) {
            const int64_t of_block = i / FASTKM_BLOCK_ROWS * k;
            kernels->propose(&p->points, frame, &packed[r], NULL, i, end_of(i, n), runs[r].closest,
                             p->weights, &scratch, masks, gains, errors);
            CHECK(memcmp(gains, runs[r].gains + of_block, (size_t)k * 8) == 0 &&
                      memcmp(errors, runs[r].errors + of_block, (size_t)k * 8) == 0,
                  "propose_beside: gains of one run alone");
            CHECK(memcmp(masks + i, runs[r].masks + i, (size_t)(end_of(i, n) - i) * 4) == 0,
                  "propose_beside: masks of one run alone");
        }
}

void run_beside(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame) {
    label_beside(p, kernels, frame);
    if (p->k <= FASTKM_MAX_CANDIDATES) propose_beside(p, kernels, frame);
}
