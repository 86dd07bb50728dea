/* Centroids that move round by round, for what keeps something from one round to the next. */
#include "harness.h"

static float* take_heats(int64_t k, int64_t d) {
    return d <= FASTKM_HEAT_FEATURES ? take((size_t)(FASTKM_HEAT_ROOM(k) * (1 + d)) * 4, 0) : NULL;
}

fastkm_centroids take_centroids(int64_t k, int64_t d) {
    return (fastkm_centroids){k,
                              d,
                              NULL,
                              take((size_t)(k * d) * 4, 0),
                              take((size_t)k * 4, 0),
                              take((size_t)((k + FASTKM_EXACT_LANES) * d) * 8, 0),
                              take_heats(k, d),
                              0};
}

void pack_centroids(const fastkm_kernels* kernels, const fastkm_frame* frame, const double* raw,
                    fastkm_centroids* packed) {
    packed->raw = raw;
    packed->max_norm = 0;
    for (int64_t j = 0; j < packed->k; j += 24) {
        const int64_t end = j + 24 < packed->k ? j + 24 : packed->k;
        packed->max_norm = fmaxf(packed->max_norm, kernels->pack(frame, packed, j, end));
    }
}

/* Towards rows, ever less, and one centroid of four not at all. */
void move_centroids(const problem* p, int turn, double* centroids) {
    const int64_t d = p->points.d;
    for (int64_t j = 0; j < p->k; j++)
        for (int64_t f = 0; f < d && (j + turn) % 4; f++) {
            double* value = centroids + j * d + f;
            *value += ldexp(p->X[(j * 13 + turn) % p->points.n * d + f] - *value, -2 - turn);
        }
}

fastkm_sums take_sums(const problem* p, const columns_of* columns) {
    const size_t size = (size_t)(p->k * p->points.d) * 8;
    return (fastkm_sums){columns->columns.sum_scale,
                         columns->low_scale,
                         zeros(size, 8),
                         zeros(size, 8),
                         zeros((size_t)p->k * 8, 8),
                         0,
                         p->k};
}

/* Sums that followed the labels have the bits of those that start anew. */
void check_sums(const problem* p, const fastkm_kernels* kernels, const fastkm_sums* followed,
                const int32_t* labels, fastkm_scratch* scratch, const char* name) {
    const int64_t n = p->points.n;
    const size_t size = (size_t)(p->k * p->points.d) * 8;
    fastkm_sums anew = *followed;
    int32_t* none = take((size_t)n * 4, 4);
    anew.sums = zeros(size, 8);
    anew.low_sums = zeros(size, 8);
    anew.counts = zeros((size_t)p->k * 8, 8);
    for (int64_t i = 0; i < n; i++) none[i] = -1;
    kernels->accumulate(&p->points, 0, n, none, labels, scratch, &anew);
    CHECK(memcmp(anew.sums, followed->sums, size) == 0 &&
              memcmp(anew.low_sums, followed->low_sums, size) == 0 &&
              memcmp(anew.counts, followed->counts, (size_t)p->k * 8) == 0,
          name);
}
