/* Directions and sketches, silhouettes, CSR rows. */
#include "harness.h"

#define N_DIRECTIONS 7

/* Directions in the layouts that the kernels read, as the core writes them. */
static fastkm_basis basis_of(const double* vectors, int64_t p, int64_t d) {
    const int64_t stride = (p + 15) / 16 * 16;
    double* directions = zeros((size_t)(d * stride) * 8, 0);
    float* tiles = take((size_t)(d * p) * 4, 0);
    for (int64_t q = 0; q < p; q++) {
        const int64_t group = q - q % FASTKM_TILE_CENTROIDS;
        const int64_t size = p - group < FASTKM_TILE_CENTROIDS ? p - group : FASTKM_TILE_CENTROIDS;
        for (int64_t f = 0; f < d; f++) {
            tiles[group * d + f * size + q - group] = (float)vectors[q * d + f];
            directions[f * stride + q] = (float)vectors[q * d + f];
        }
    }
    return (fastkm_basis){p, tiles, directions, stride, 1e-5f};
}

fastkm_basis find_directions(const problem* p, const fastkm_kernels* kernels,
                             const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d, rows = kernels->panel_rows, k = p->k;
    const int64_t m = k < N_DIRECTIONS ? k : N_DIRECTIONS, padded = (n + rows - 1) / rows * rows;
    double* vectors = take((size_t)(m * d) * 8, 8);
    double lengths[N_DIRECTIONS];
    fastkm_scratch scratch = take_scratch(kernels, d, 1);
    memcpy(vectors, p->centroids, (size_t)(m * d) * 8);
    for (int64_t j = 0; j < m; j++) {
        vectors[j * d + j % d] += 3 * frame->scale; /* some depend on others all the same */
        lengths[j] = kernels->length_of(vectors + j * d, d);
    }
    const int64_t half = m / 2 ? m / 2 : 1;
    int64_t rank = kernels->orthonormalise(vectors, lengths, 0, 0, half, d);
    for (int64_t j = half; j < m; j++) kernels->take_off_block(vectors, 0, rank, j, d);
    if (half < m) rank = kernels->orthonormalise(vectors, lengths, rank, half, m, d);
    /* Their last bits are the instruction set's: no label depends on which directions they are. */
    CHECK(rank >= 0 && rank <= m && rank <= d, "orthonormalise: rank");
    if (rank == 0) return (fastkm_basis){0};
    const double skew = kernels->skewness(vectors, rank, d);
    CHECK(skew >= 0 && skew < 1e-6, "skewness: of what was made orthonormal");
    for (int64_t a = 0; a < rank; a++)
        for (int64_t b = 0; b <= a; b++) {
            double product = 0;
            for (int64_t f = 0; f < d; f++) product += vectors[a * d + f] * vectors[b * d + f];
            CHECK(fabs(product - (a == b)) < 1e-6, "orthonormalise: products");
        }
    const fastkm_basis basis = basis_of(vectors, rank, d);
    fastkm_sketches sketches = {take((size_t)(padded * (rank + 1)) * 4, 0),
                                take((size_t)padded * 4, 0), take((size_t)padded * 4, 0)};
    kernels->sketch(&p->points, frame, &basis, 0, n, &scratch, &sketches);
    for (int64_t i = 0; i < n; i++)
        for (int64_t q = 0; q < rank; q++) {
            double product = 0;
            for (int64_t f = 0; f < d; f++)
                product += (p->X[i * d + f] - frame->shift[f]) * frame->scale *
                           basis.directions[f * basis.stride + q];
            const double sketched = sketches.panels[(i / rows * (rank + 1) + q) * rows + i % rows];
            CHECK(fabs(sketched - product) <= sketches.errors[i] + FLT_MIN,
                  "sketch: within its errors");
        }
    return basis;
}

void measure_silhouettes(const problem* p, const fastkm_kernels* kernels,
                         const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k, n_targets = 4 * FASTKM_TILE_CENTROIDS;
    int32_t *order = take((size_t)n * 4, 4), *queries = take((size_t)n * 4, 4);
    int64_t *begins = take((size_t)(k + 1) * 8, 8), n_clusters = 0, at = 0;
    int32_t *clusters = take((size_t)n * 4, 4), *cluster_of = take((size_t)k * 4, 4);
    fastkm_scratch scratch = take_scratch(kernels, d, 1);
    for (int32_t j = 0; j < k; j++) {
        const int64_t begin = at;
        for (int64_t i = 0; i < n; i++)
            if (p->labels[i] == j) order[at++] = (int32_t)i;
        if (at == begin) continue;
        cluster_of[j] = (int32_t)n_clusters;
        begins[n_clusters++] = begin;
    }
    begins[n_clusters] = n;
    fastkm_silhouette pass = {order,
                              begins,
                              queries,
                              clusters,
                              zeros((size_t)n * 8, 8),
                              zeros((size_t)n * 8, 8),
                              take((size_t)n * 8, 8),
                              zeros((size_t)n * 8, 8)};
    const int64_t rows = (n + 63) / 64 * 64;
    const fastkm_silhouette_scratch mine = {
        n_targets, take((size_t)(n_targets * d) * 4, 0), take((size_t)n_targets * 4, 0),
        take((size_t)(rows * d) * 4, 0), take((size_t)rows * 4, 0)};
    for (int64_t q = 0; q < n; q++) {
        queries[q] = (int32_t)q;
        clusters[q] = cluster_of[p->labels[q]];
        pass.other[q] = INFINITY;
    }
    const int64_t middle = n > n_targets ? n_targets : n;
    kernels->silhouette(&p->points, frame, &pass, 0, n, 0, middle, &scratch, &mine);
    if (middle < n) kernels->silhouette(&p->points, frame, &pass, 0, n, middle, n, &scratch, &mine);
    for (int64_t q = 0; q < n; q++) {
        double own = 0, other = INFINITY, largest = 0;
        for (int64_t c = 0; c < n_clusters; c++) {
            double sum = 0;
            for (int64_t o = begins[c]; o < begins[c + 1]; o++) {
                double sq_dist = 0, sq_norm = 0;
                for (int64_t f = 0; f < d; f++) {
                    const double difference = p->X[q * d + f] - p->X[order[o] * d + f];
                    const double centred =
                        (p->X[order[o] * d + f] - frame->shift[f]) * frame->scale;
                    sq_dist += difference * difference;
                    sq_norm += centred * centred;
                }
                sum += sqrt(sq_dist) * frame->scale;
                largest = fmax(largest, sqrt(sq_norm));
            }
            const int64_t size = begins[c + 1] - begins[c];
            if (c == clusters[q])
                own = size > 1 ? sum / (double)(size - 1) : 0;
            else
                other = fmin(other, sum / (double)size);
        }
        /* README's bound of a mean for any one of its terms, 4 (s + 3) u r, and the inputs'. */
        const double close = (4 * (64 + (double)d / 64 + 4) + 8) * 0x1p-24 * 2 * largest;
        CHECK(begins[clusters[q] + 1] - begins[clusters[q]] == 1 ||
                  fabs(pass.own[q] - own) <= close,
              "silhouette: distances within the cluster");
        CHECK(n_clusters == 1 || fabs(pass.other[q] - other) <= close,
              "silhouette: distances to the nearest other");
    }
}

/* The problem's rows, but for two entries of three, which are zeros. */
static fastkm_sparse sparse_of(const problem* p, double* X) {
    const int64_t n = p->points.n, d = p->points.d;
    const int is_double = p->points.dtype == FASTKM_F64, is_wide = n % 2 == 0;
    char *values = take((size_t)(n * d) * (is_double ? 8 : 4), 8),
         *columns = take((size_t)(n * d) * (is_wide ? 8 : 4), 8);
    int64_t *starts = take((size_t)(n + 1) * 8, 8), at = 0;
    for (int64_t i = 0; i < n; i++) {
        starts[i] = at;
        for (int64_t f = 0; f < d; f++) {
            const float single = (float)p->X[i * d + f];
            const int32_t narrow = (int32_t)f;
            X[i * d + f] = 0;
            if ((i * d + f * (i + 1)) % 3) continue;
            X[i * d + f] = is_double ? p->X[i * d + f] : single;
            memcpy(values + at * (is_double ? 8 : 4),
                   is_double ? (const void*)(p->X + i * d + f) : &single, is_double ? 8 : 4);
            memcpy(columns + at * (is_wide ? 8 : 4), is_wide ? (const void*)&f : &narrow,
                   is_wide ? 8 : 4);
            at++;
        }
    }
    starts[n] = at;
    return (fastkm_sparse){
        values, columns, starts, n, d, is_double, is_wide, 1, take((size_t)n * 8, 8)};
}

static void seed_sparse(const problem* p, const fastkm_sparse_kernels* kernels,
                        const fastkm_sparse* rows, const fastkm_sparse_centroids* candidates,
                        fastkm_sparse_scratch* scratch, const double* sq_dists) {
    const int64_t n = rows->n, k = candidates->k;
    double *closest = take((size_t)n * 8, 8), *gains = take((size_t)k * 8, 8),
           *errors = take((size_t)k * 8, 8);
    uint32_t* masks = take((size_t)n * 4, 4);
    if (k > FASTKM_MAX_CANDIDATES) return;
    for (int64_t i = 0; i < n; i++) {
        closest[i] = INFINITY;
        masks[i] = UINT32_MAX;
    }
    kernels->accept(rows, candidates, 0, n, 0, masks, closest);
    RECORD("sparse accept", closest, n);
    for (int exactly = 0; exactly < 2; exactly++) {
        for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS) {
            kernels->propose(rows, candidates, i, end_of(i, n), closest, p->weights, exactly,
                             scratch, masks, gains, errors);
            if (exactly) RECORD("sparse propose: exact gains", gains, k);
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < k; j++)
                CHECK(masks[i] >> j & 1 || sq_dists[i * k + j] >= closest[i] * (1 - 1e-13),
                      "sparse propose: masks have all that are nearer");
    }
    RECORD("sparse propose: exact masks", masks, n);
}

void run_sparse(const problem* p, const fastkm_kernels* all) {
    const fastkm_sparse_kernels* kernels = &all->sparse;
    const int64_t n = p->points.n, d = p->points.d, k = p->k, width = (k + 7) / 8 * 8;
    double *X = take((size_t)(n * d) * 8, 8), *centroids = take((size_t)(k * d) * 8, 8);
    double *sq_dists = take((size_t)(n * k) * 8, 8), *own = take((size_t)n * 8, 8);
    int32_t *wanted = take((size_t)n * 4, 4), *labels = take((size_t)n * 4, 4),
            *none = take((size_t)n * 4, 4);
    const fastkm_sparse rows = sparse_of(p, X);
    fastkm_sparse_scratch scratch = {zeros((size_t)d * 8, 0), zeros((size_t)width * 8, 0)};
    fastkm_sparse_centroids packed = {k,
                                      d,
                                      centroids,
                                      take((size_t)(width * d) * 8, 0),
                                      zeros((size_t)width * 8, 0),
                                      zeros((size_t)width * 8, 0),
                                      take((size_t)(k * d) * 4, 4),
                                      take((size_t)k * 8, 8),
                                      0};
    for (int64_t j = 0; j < k; j++) /* rows as they are, so that there are ties */
        for (int64_t f = 0; f < d; f++) centroids[j * d + f] = X[j * 5 % n * d + f];
    find_nearest(X, centroids, n, d, k, sq_dists, wanted);
    CHECK(fastkm_sparse_check(&rows, rows.starts[n]) == 0, "sparse: entries are sorted");
    kernels->norms(&rows, 0, n);
    RECORD("sparse norms", rows.sq_norms, n);
    kernels->pack(&packed, 1, 0, d);
    for (int64_t j = 0; j < k; j++) kernels->pack_norm(&packed, 1, j);
    for (int64_t j = 0; j < k; j++)
        packed.max_norm = fmax(packed.max_norm, sqrt(packed.sq_norms[j]) * (1 + 0x1p-20));
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->assign(&rows, &packed, i, end_of(i, n), 1, &scratch, labels + i);
    for (int64_t i = 0; i < n; i++) {
        CHECK(labels[i] == wanted[i], "sparse assign: labels of the oracle");
        none[i] = -1;
        kernels->sq_dists(&rows, &packed, i, &scratch);
        RECORD("sparse sq_dists", scratch.dists, k);
        for (int64_t j = 0; j < k; j++)
            CHECK(fabs(scratch.dists[j] - sq_dists[i * k + j]) <=
                      1e-14 * (double)(d + 8) * sq_dists[i * k + j],
                  "sparse sq_dists of the oracle");
        own[i] = kernels->own_sq_dist(&rows, &packed, i, labels[i], &scratch);
    }
    RECORD("sparse own_sq_dist", own, n);
    kernels->own_sq_dists(&rows, &packed, 0, n, labels, &scratch, own);
    RECORD("sparse own_sq_dists", own, n);
    double* scale = take((size_t)d * 8, 8);
    for (int64_t f = 0; f < d; f++) scale[f] = 0x1p30;
    fastkm_sums sums = {scale,
                        0x1p50,
                        zeros((size_t)(k * d) * 8, 8),
                        zeros((size_t)(k * d) * 8, 8),
                        zeros((size_t)k * 8, 8),
                        0,
                        k};
    CHECK(kernels->accumulate(&rows, 0, n, none, labels, &sums) == n, "sparse accumulate: changes");
    RECORD("sparse accumulate: sums", sums.sums, k * d);
    RECORD("sparse accumulate: low sums", sums.low_sums, k * d);
    double* means = zeros((size_t)(k * d) * 8, 8);
    kernels->means(&sums, d, 0, k, means);
    RECORD("sparse means", means, k * d);
    fastkm_weighted_sums weighted = {
        1, NULL, zeros((size_t)(k * d) * 8, 8), zeros((size_t)k * 8, 8), 0, k};
    kernels->accumulate_weighted(&rows, 0, n, labels, p->weights, &weighted);
    RECORD("sparse accumulate_weighted", weighted.sums, k * d);
    seed_sparse(p, kernels, &rows, &packed, &scratch, sq_dists);
}
