/* Several threads on one problem, each with its own blocks of rows and memory of its own: what they
 * share is only read. Under ThreadSanitizer this shows that no kernel writes to more than it is
 * given; the core's OpenMP would not, as its runtime's barriers are not to be seen there. */
#include "harness.h"

#include <pthread.h>

#define N_THREADS 3

typedef struct {
    const problem* p;
    const fastkm_kernels* kernels;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const int32_t* none;
    int32_t* labels;  /* (n,) each thread writes those of its blocks */
    double* sq_dists; /* (n,) as well */
    uint32_t* masks;  /* (n,) as well */
    double* closest;  /* (n,) as well */
    int64_t first;    /* block */
    fastkm_scratch scratch;
    fastkm_sums sums; /* of some of the centroids */
    fastkm_sums own;  /* of all, and of this thread's rows */
    double *gains, *errors;
} share;

static void* take_part(void* of_thread) {
    share* s = of_thread;
    const fastkm_points* points = &s->p->points;
    const int64_t n = points->n, step = N_THREADS * FASTKM_BLOCK_ROWS;
    for (int64_t i = s->first * FASTKM_BLOCK_ROWS; i < n; i += step) {
        const int64_t end = end_of(i, n);
        s->kernels->assign(points, s->frame, s->centroids, i, end, 1, &s->scratch, s->labels + i);
        s->kernels->accumulate(points, i, end, s->none, s->labels, &s->scratch, &s->own);
        s->kernels->own_sq_dists(points, s->frame, s->centroids, i, end, s->labels, &s->scratch,
                                 s->sq_dists + i);
        if (s->p->k > FASTKM_MAX_CANDIDATES) continue;
        s->kernels->accept(points, s->frame, s->centroids, i, end, 0, s->masks, &s->scratch,
                           s->closest);
        s->kernels->propose(points, s->frame, s->centroids, NULL, i, end, s->closest, s->p->weights,
                            &s->scratch, s->masks, s->gains, s->errors);
        s->kernels->settle(points, s->frame, s->centroids, i, end, UINT32_MAX, s->closest,
                           s->p->weights, &s->scratch, s->masks, s->gains);
    }
    /* All rows, of which each thread adds those of its centroids. */
    s->kernels->accumulate(points, 0, n, s->none, s->p->labels, &s->scratch, &s->sums);
    return NULL;
}

void run_in_threads(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                    const fastkm_centroids* centroids, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    int32_t *none = take((size_t)n * 4, 4), *labels = take((size_t)n * 4, 4);
    uint32_t* masks = take((size_t)n * 4, 4);
    double *sq_dists = take((size_t)n * 8, 8), *closest = take((size_t)n * 8, 8);
    fastkm_sums shared = {columns->columns.sum_scale,
                          columns->low_scale,
                          zeros((size_t)(k * d) * 8, 8),
                          zeros((size_t)(k * d) * 8, 8),
                          zeros((size_t)k * 8, 8),
                          0,
                          k};
    share shares[N_THREADS];
    pthread_t threads[N_THREADS];
    for (int64_t i = 0; i < n; i++) {
        none[i] = -1;
        masks[i] = UINT32_MAX;
        closest[i] = INFINITY;
    }
    for (int t = 0; t < N_THREADS; t++) {
        shares[t] = (share){p,
                            kernels,
                            frame,
                            centroids,
                            none,
                            labels,
                            sq_dists,
                            masks,
                            closest,
                            t,
                            take_scratch(kernels, d, k),
                            shared,
                            shared,
                            take((size_t)k * 8, 8),
                            take((size_t)k * 8, 8)};
        shares[t].sums.j_begin = k * t / N_THREADS;
        shares[t].sums.j_end = k * (t + 1) / N_THREADS;
        shares[t].own.sums = zeros((size_t)(k * d) * 8, 8);
        shares[t].own.low_sums = zeros((size_t)(k * d) * 8, 8);
        shares[t].own.counts = zeros((size_t)k * 8, 8);
    }
    for (int t = 0; t < N_THREADS; t++)
        if (pthread_create(&threads[t], NULL, take_part, &shares[t])) abort();
    for (int t = 0; t < N_THREADS; t++) pthread_join(threads[t], NULL);
    for (int64_t i = 0; i < n; i++)
        CHECK(labels[i] == p->labels[i], "threads: labels of the oracle");
    for (int64_t item = 0; item < k * d; item++) {
        uint64_t sum = 0;
        for (int t = 0; t < N_THREADS; t++) sum += shares[t].own.sums[item];
        CHECK(sum == shared.sums[item], "threads: sums of rows and of centroids");
    }
}
