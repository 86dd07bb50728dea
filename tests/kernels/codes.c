/* Proposals from a byte a value: less is known, and nothing that is settled differs for it. */
#include "harness.h"

#define MOST_DIRECTIONS 5

/* The axes reflected at the diagonal's plane: orthonormal but for rounding. */
static fastkm_basis reflected_axes(int64_t d) {
    const int64_t p = d < MOST_DIRECTIONS ? d : MOST_DIRECTIONS, stride = (p + 15) / 16 * 16;
    double* directions = zeros((size_t)(d * stride) * 8, 0);
    float* tiles = take((size_t)(d * p) * 4, 0); /* one group */
    for (int64_t f = 0; f < d; f++)
        for (int64_t q = 0; q < p; q++) {
            tiles[f * p + q] = (float)((f == q) - 2.0 / (double)d);
            directions[f * stride + q] = tiles[f * p + q];
        }
    return (fastkm_basis){p, tiles, directions, stride, 1e-5f};
}

static fastkm_codes encode_all(const problem* p, const fastkm_kernels* kernels,
                               const fastkm_frame* frame, const fastkm_basis* basis, float* room,
                               fastkm_scratch* scratch) {
    const int64_t n = p->points.n, d = p->points.d, rows = kernels->panel_rows, m = basis->p;
    const int64_t stride = (d + 15) / 16 * 16, padded = (n + rows - 1) / rows * rows;
    float* steps = take((size_t)(m + 1) * 4, 4);
    for (int64_t q = 0; q <= m; q++) steps[q] = 0x1p-6f; /* some values are too large for a code */
    const fastkm_codes codes = {m,
                                stride,
                                steps,
                                0x1p-7f,
                                take((size_t)(padded * (m + 1)), 0),
                                take((size_t)(padded * stride), 0),
                                take((size_t)padded * 4, 0),
                                take((size_t)padded * 4, 0),
                                take((size_t)padded * 4, 0)};
    kernels->encode(&p->points, frame, basis, 0, n, scratch, room, &codes);
    for (int64_t i = 0; i < n; i++) {
        double sq_off = 0;
        for (int64_t f = 0; f < d; f++) {
            const double y = (p->X[i * d + f] - frame->shift[f]) * frame->scale;
            const double off = y - (double)codes.step * codes.rows[i * stride + f];
            sq_off += off * off;
        }
        CHECK(sqrt(sq_off) <= (double)codes.errors[i] + FLT_MIN,
              "encode: rows within their errors");
    }
    return codes;
}

/* Rows as candidates, in parts of a step. */
static fastkm_sketched sketch_candidates(const problem* p, const fastkm_kernels* kernels,
                                         const fastkm_frame* frame, const fastkm_codes* codes,
                                         float skew, const int64_t* chosen,
                                         const fastkm_centroids* candidates) {
    const int64_t k = candidates->k, d = p->points.d, width = codes->p + 1,
                  rows = kernels->panel_rows;
    const double part = (double)codes->step / FASTKM_STEP_PARTS,
                 largest = FASTKM_LARGEST_CODE * FASTKM_STEP_PARTS;
    float *tiles = take((size_t)(k * width) * 4, 4), *sq_norms = take((size_t)k * 4, 4),
          *row_errors = take((size_t)k * 4, 4), max_sq_norm = 0;
    int16_t* parts = zeros((size_t)(k * codes->stride) * 2, 0);
    fastkm_sketched sketched = {*codes, tiles,      sq_norms,
                                0,      0,          (float)(1 + 1.1 * (double)skew + 1e-6),
                                parts,  row_errors, 0};
    for (int64_t j = 0; j < k; j++) {
        const int64_t group = j - j % FASTKM_TILE_CENTROIDS, i = chosen[j];
        const int64_t size = k - group < FASTKM_TILE_CENTROIDS ? k - group : FASTKM_TILE_CENTROIDS;
        double sq_off = 0;
        for (int64_t q = 0; q < width; q++) {
            const float step = codes->sketch_steps[q];
            const float code = codes->panels[(i / rows * width + q) * rows + i % rows];
            tiles[group * width + q * size + j - group] = -2 * (step * code) * step;
        }
        for (int64_t f = 0; f < d; f++) {
            const double y = (candidates->raw[j * d + f] - frame->shift[f]) * frame->scale / part;
            const double code = rint(fmax(-largest, fmin(largest, y)));
            parts[j * codes->stride + f] = (int16_t)code;
            sq_off += (y - code) * (y - code);
        }
        row_errors[j] =
            (float)(sqrt(sq_off) * part * (1 + 1e-6) + (double)candidates->max_norm * 0x1p-40);
        sq_norms[j] = codes->sq_norms[i];
        max_sq_norm = fmaxf(max_sq_norm, sq_norms[j]);
        sketched.max_error = fmaxf(sketched.max_error, codes->sketch_errors[i]);
        sketched.max_row_error = fmaxf(sketched.max_row_error, row_errors[j]);
    }
    sketched.max_norm = (float)(sqrt((double)max_sq_norm) * (1 + 1e-6));
    return sketched;
}

void propose_in_codes(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    if (k > FASTKM_MAX_CANDIDATES) return;
    const fastkm_basis basis = reflected_axes(d);
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    float* room =
        take((size_t)((basis.p + 1) * kernels->panel_rows + 2 * ((d + 15) / 16 * 16)) * 4, 0);
    const fastkm_codes codes = encode_all(p, kernels, frame, &basis, room, &scratch);
    fastkm_centroids candidates = take_centroids(k, d);
    int64_t* chosen = take((size_t)k * 8, 8);
    double *raw = take((size_t)(k * d) * 8, 8), *sq_dists = take((size_t)(n * k) * 8, 8),
           *closest = take((size_t)n * 8, 8), *gains = take((size_t)k * 8, 8),
           *errors = take((size_t)k * 8, 8), *wanted = take((size_t)k * 8, 8);
    uint32_t *masks = take((size_t)n * 4, 4), *all = take((size_t)n * 4, 4);
    int32_t* nearest = take((size_t)n * 4, 4);
    for (int64_t j = 0; j < k; j++) {
        chosen[j] = (j * 7 + 3) % n;
        memcpy(raw + j * d, p->X + chosen[j] * d, (size_t)d * 8);
    }
    pack_centroids(kernels, frame, raw, &candidates);
    const fastkm_sketched sketched =
        sketch_candidates(p, kernels, frame, &codes, basis.skew, chosen, &candidates);
    find_nearest(p->X, raw, n, d, k, sq_dists, nearest);
    for (int64_t i = 0; i < n; i++) closest[i] = p->sq_dists[i * k];
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS) {
        const int64_t end = end_of(i, n);
        kernels->propose_sketched(&p->points, frame, &candidates, &sketched, i, end, closest,
                                  p->weights, room, masks, gains, errors);
        for (int64_t j = 0; j < k; j++) {
            double gain = 0, size = 0;
            for (int64_t r = i; r < end; r++) {
                const double nearer = closest[r] - sq_dists[r * k + j];
                gain += p->weights[r] * fmax(nearer, 0);
                size += p->weights[r] * closest[r];
                CHECK(masks[r] >> j & 1 || nearer <= closest[r] * 1e-13,
                      "propose_sketched: masks have all that are nearer");
            }
            CHECK(fabs(gains[j] - gain) <= errors[j] + 1e-13 * size,
                  "propose_sketched: gains within their errors");
        }
        kernels->settle(&p->points, frame, &candidates, i, end, UINT32_MAX, closest, p->weights,
                        &scratch, masks, gains);
        for (int64_t r = i; r < end; r++) all[r] = k == 32 ? UINT32_MAX : (1u << k) - 1;
        kernels->settle(&p->points, frame, &candidates, i, end, UINT32_MAX, closest, p->weights,
                        &scratch, all, wanted);
        CHECK(memcmp(gains, wanted, (size_t)k * 8) == 0 &&
                  memcmp(masks + i, all + i, (size_t)(end - i) * 4) == 0,
              "propose_sketched: settled, as if no pair had been left out");
    }
}
