/* The filter over rounds of centroids that move: whatever it leaves out, labels are the oracle's.
 */
#include "harness.h"

#define ROUNDS 5

/* Centroids in the kernels' layouts. */
static fastkm_centroids pack_all(const problem* p, const fastkm_kernels* kernels,
                                 const fastkm_frame* frame, const double* raw,
                                 fastkm_centroids packed) {
    packed.raw = raw;
    packed.max_norm = 0;
    for (int64_t j = 0; j < p->k; j += 24)
        packed.max_norm =
            fmaxf(packed.max_norm, kernels->pack(frame, &packed, j, j + 24 < p->k ? j + 24 : p->k));
    return packed;
}

/* A filter that knows nothing yet. Rows come in the reverse order, and so do centroids. */
static fastkm_filter take_filter(const problem* p, const fastkm_kernels* kernels,
                                 const fastkm_basis* basis, int by_rows) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k, m = basis->p, width = m + 2,
                  n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS,
                  n_panels = (n + kernels->panel_rows - 1) / kernels->panel_rows;
    const size_t per_centroid = (size_t)k * sizeof(float);
    int32_t *order = take((size_t)n * 4, 4), *slots = take((size_t)n * 4, 4),
            *centroid_order = take((size_t)k * 4, 4), *place = take((size_t)k * 4, 4);
    fastkm_filter filter = {
        .p = m,
        .head = n % 2 ? m / 3 : 0,
        .order = order,
        .slots = slots,
        .sketches = take((size_t)(n * width) * sizeof(float) + FASTKM_ALIGN, 4),
        .bounds = take((size_t)n * sizeof(fastkm_row_bounds), 4),
        .stretch = (float)(1 + 1.1 * (double)basis->skew + 1e-6),
        .drifts = zeros((size_t)k * sizeof(double), 8),
        .tile_moves = zeros((size_t)n_tiles * sizeof(double), 8),
        .panel_moves = zeros((size_t)n_panels * sizeof(double), 8),
        .gaps = take((size_t)(n_panels * n_tiles) * sizeof(float), 4),
        .by_rows = by_rows,
        .travels = zeros((size_t)k * sizeof(fastkm_travel), 8),
        .row_gaps = take((size_t)n * sizeof(fastkm_row_gaps), 4),
    };
    filter.centroids = (fastkm_centroid_sketches){
        .order = centroid_order,
        .place = place,
        .head = filter.head,
        .tiles = take(per_centroid * (size_t)width, 4),
        .sq_norms = take(per_centroid, 4),
        .rests = take(per_centroid, 4),
        .errors = take(per_centroid, 4),
        .moves = take(per_centroid, 4),
        .drifts = take(per_centroid, 4),
        .framed = take(per_centroid * (size_t)d, 4),
        .inside = zeros((size_t)(2 * k * m) * sizeof(double), 8),
    };
    for (int64_t j = 0; j < k; j++) centroid_order[j] = place[j] = (int32_t)(k - 1 - j);
    for (int64_t i = 0; i < n; i++) {
        order[i] = slots[i] = (int32_t)(n - 1 - i);
        filter.row_gaps[i] = (fastkm_row_gaps){0, -INFINITY, -INFINITY};
    }
    for (int64_t gap = 0; gap < n_panels * n_tiles; gap++) filter.gaps[gap] = -INFINITY;
    return filter;
}

/* What the core does between two passes. */
static void follow(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                   const fastkm_basis* basis, const double* now, const double* before,
                   fastkm_filter* filter) {
    const int64_t k = p->k, d = p->points.d, middle = k / 2;
    const float* moves = filter->centroids.moves;
    float fastest = 0, second = 0, max_sq_norm = 0;
    kernels->follow(frame, basis, now, before, d, k, 0, middle, &filter->centroids);
    kernels->follow(frame, basis, now, before, d, k, middle, k, &filter->centroids);
    filter->max_error = 0;
    for (int64_t j = 0; j < k; j++) {
        const double inside_sq = filter->centroids.sq_norms[j];
        CHECK(inside_sq >= 0 && inside_sq < INFINITY, "follow: norms of sketches");
        max_sq_norm = fmaxf(max_sq_norm, filter->centroids.sq_norms[j]);
        filter->max_error = fmaxf(filter->max_error, filter->centroids.errors[j]);
        second = fmaxf(second, fminf(moves[j], fastest));
        fastest = fmaxf(fastest, moves[j]);
    }
    filter->max_norm = (float)(sqrt(max_sq_norm) * (1 + 1e-6));
    for (int64_t j = 0; j < k; j++) {
        const int64_t c = filter->centroids.order[j];
        const double *to = now + c * d, *from = before + c * d;
        double sq_move = 0, sq_inside = 0;
        for (int64_t f = 0; f < d; f++) {
            const double move = (to[f] - from[f]) * frame->scale;
            sq_move += move * move;
        }
        for (int64_t q = 0; q < basis->p; q++) {
            double inside = 0;
            for (int64_t f = 0; f < d; f++)
                inside +=
                    (to[f] - from[f]) * frame->scale * basis->directions[f * basis->stride + q];
            sq_inside += inside * inside;
        }
        const double drift = filter->centroids.drifts[j];
        CHECK(moves[j] >= sqrt(sq_move), "follow: moves are upper bounds");
        CHECK(drift * drift >= sq_move - sq_inside * (1 + 1e-9) - 1e-12 * sq_move,
              "follow: drifts are upper bounds of what is outside");
        fastkm_travel* travel = filter->travels + c;
        travel->alone += moves[j];
        travel->with_fastest += (double)moves[j] + (moves[j] == fastest ? second : fastest);
        filter->drifts[j] += filter->centroids.drifts[j];
    }
    for (int64_t t = 0; t * FASTKM_TILE_CENTROIDS < k; t++) {
        float most = 0;
        for (int64_t j = t * FASTKM_TILE_CENTROIDS; j < k && j < (t + 1) * FASTKM_TILE_CENTROIDS;
             j++)
            most = fmaxf(most, moves[j]);
        filter->tile_moves[t] += most;
    }
}

/* Moves the centroids towards rows, ever less, some of them not at all. */
static void move(const problem* p, int turn, const double* before, double* now) {
    const int64_t d = p->points.d;
    for (int64_t j = 0; j < p->k; j++)
        for (int64_t f = 0; f < d; f++) {
            const double row = p->X[(j * 13 + turn) % p->points.n * d + f];
            const double part = (j + turn) % 4 ? ldexp(1, -2 - turn) : 0;
            now[j * d + f] = before[j * d + f] + part * (row - before[j * d + f]);
        }
}

/* Labels one round in two passes, and checks them, and the list of rows that change theirs. */
static void label_round(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                        const fastkm_centroids* packed, const fastkm_filter* filter,
                        fastkm_scratch* scratch, fastkm_filter_work* work, const int32_t* wanted,
                        const int32_t* labels_old, int32_t* labels, char* is_listed) {
    const int64_t n = p->points.n, rows = kernels->panel_rows;
    const int64_t middle = n / 2 / rows * rows; /* panels are cut from the order's beginning */
    int32_t* moved = work->moved;
    memset(is_listed, 0, (size_t)n);
    for (int part = 0; part < 2; part++) {
        const int64_t begin = part ? middle : 0, end = part ? n : middle;
        work->moved = moved + begin;
        work->n_moved = 0;
        kernels->assign_filtered(&p->points, frame, packed, filter, begin, end, labels_old, scratch,
                                 work, labels);
        CHECK(work->n_moved <= end - begin, "assign_filtered: rows of the pass are listed");
        for (int64_t m = 0; m < work->n_moved; m++) is_listed[work->moved[m]]++;
    }
    work->moved = moved;
    for (int64_t i = 0; i < n; i++) {
        CHECK(labels[i] == wanted[i], "assign_filtered: labels of the oracle");
        CHECK(is_listed[i] == (labels[i] != labels_old[i]),
              "assign_filtered: lists the rows that change, once");
    }
}

static void run_rounds(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                       const fastkm_basis* basis, int by_rows) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k,
                  n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
    fastkm_filter filter = take_filter(p, kernels, basis, by_rows);
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_centroids packed = take_centroids(k, d);
    fastkm_filter_work work = {
        .panel = take((size_t)((basis->p + 2) * kernels->panel_rows) * 4, 0),
        .products = take((size_t)(2 * k * kernels->panel_rows) * 4, 0),
        .tiles = take((size_t)(4 * n_tiles) * 4, 4),
        .moved = take((size_t)n * 4, 4),
    };
    double *now = take((size_t)(k * d) * 8, 8), *before = take((size_t)(k * d) * 8, 8),
           *sq_dists = take((size_t)(n * k) * 8, 8);
    int32_t *labels = take((size_t)n * 4, 4), *labels_old = take((size_t)n * 4, 4),
            *wanted = take((size_t)n * 4, 4);
    char* is_listed = take((size_t)n, 1);
    memcpy(now, p->centroids, (size_t)(k * d) * 8);
    memcpy(labels, p->labels, (size_t)n * 4);
    follow(p, kernels, frame, basis, now, now, &filter);
    kernels->sketch_rows(&p->points, frame, basis, 0, n, labels, &scratch, work.panel, &filter);
    find_nearest(p->X, now, n, d, k, sq_dists, wanted);
    for (int64_t i = 0; i < n; i++) {
        fastkm_row_bounds* bounds = filter.bounds + filter.slots[i];
        const double sq_dist = sq_dists[i * k + labels[i]] * frame->scale * frame->scale;
        const double rest = bounds->own_rest;
        bounds->own_rest = -1;
        kernels->measure_rows(&p->points, frame, i, i + 1, labels, &scratch, &filter);
        const double measured = bounds->own_rest;
        CHECK(rest == measured || fabs(rest * rest - measured * measured) <= 1e-4 * sq_dist + 1e-9,
              "sketch_rows: as far outside as measure_rows says, but for rounding");
        if (by_rows) bounds->own_rest = (float)rest;
        for (int o = 0; o < FASTKM_RIVALS; o++) bounds->rivals[o] = -1;
    }
    for (int turn = 0; turn < ROUNDS; turn++) {
        memcpy(labels_old, labels, (size_t)n * 4);
        memcpy(before, now, (size_t)(k * d) * 8);
        move(p, turn, before, now);
        find_nearest(p->X, now, n, d, k, sq_dists, wanted);
        packed = pack_all(p, kernels, frame, now, packed);
        follow(p, kernels, frame, basis, now, before, &filter);
        label_round(p, kernels, frame, &packed, &filter, &scratch, &work, wanted, labels_old,
                    labels, is_listed);
    }
    CHECK(work.n_rows_read <= ROUNDS * n && work.n_distances >= 0, "assign_filtered: its work");
}

void label_by_filter(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                     const fastkm_basis* basis) {
    for (int by_rows = 0; by_rows < 2; by_rows++) run_rounds(p, kernels, frame, basis, by_rows);
}
