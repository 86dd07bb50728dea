/* Kept cells: rows sorted by median splits, and labels round after round but for the tiles that
 * gaps exclude. */
#include "harness.h"

#define N_ROUNDS 6
#define DEPTH 3

/* The rows in the order of the leaves of a tree, which the oracle walks as well. */
static void sort_rows(const problem* p, const fastkm_kernels* kernels, int32_t* order) {
    const int64_t n = p->points.n, d = p->points.d;
    const int32_t depth = n >= 1 << DEPTH ? DEPTH : 0;
    const int64_t n_leaves = (int64_t)1 << depth, n_sampled = n / n_leaves * n_leaves;
    int32_t* features = zeros((size_t)n_leaves * 4, 4);
    double* thresholds = zeros((size_t)n_leaves * 8, 8);
    uint16_t* leaves = take((size_t)n * 2, 2);
    fastkm_scratch scratch = take_scratch(kernels, d, 1);
    int64_t at = 0;
    fastkm_valued_row* sample = take((size_t)n_sampled * sizeof *sample, 8);
    for (int64_t r = 0; r < n_sampled; r++) sample[r].row = (int32_t)r;
    for (int32_t level = 0; level < depth; level++)
        for (int64_t node = 1 << level; node < 2 << level; node++)
            kernels->split(p->X, n_sampled, d, node, level, &scratch, sample, features, thresholds);
    const fastkm_splits splits = {depth, features, thresholds};
    kernels->sort(&p->points, &splits, 0, n, &scratch, leaves);
    RECORD("split: thresholds", thresholds, n_leaves);
    for (int64_t i = 0; i < n; i++) {
        int64_t node = 1;
        while (node < n_leaves)
            node = 2 * node + (p->X[i * d + features[node]] >= thresholds[node]);
        CHECK(leaves[i] == node - n_leaves, "sort: leaves of the oracle");
    }
    for (int64_t leaf = 0; leaf < n_leaves; leaf++)
        for (int64_t i = 0; i < n; i++)
            if (leaves[i] == leaf) order[at++] = (int32_t)i;
    CHECK(at == n, "sort: each row has a leaf");
}

fastkm_kept_cells keep_cells(const problem* p, const fastkm_kernels* kernels,
                             const fastkm_frame* frame) {
    const int64_t n = p->points.n, d = p->points.d;
    const int64_t n_groups = (n - 1) / (FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS) + 1;
    const int64_t n_cells = n_groups * FASTKM_CELLS_BESIDE, n_rows = n_cells * FASTKM_CELL_ROWS;
    int32_t* order = take((size_t)n * 4, 4);
    char* rows = take(FASTKM_CELL_ROWS * (size_t)d * p->item_size, p->item_size);
    sort_rows(p, kernels, order);
    const fastkm_kept_cells cells = {
        n,
        d,
        order,
        {zeros((size_t)(n_rows * d) * 4, 0), zeros((size_t)n_rows * 4, 0), NULL, NULL},
        zeros((size_t)(n_cells * 2 * d) * 4, 0),
        zeros((size_t)n_cells * 4, 4),
        {0}};
    for (int64_t cell = 0; cell * FASTKM_CELL_ROWS < n; cell++)
        kernels->fill_cell(&p->points, frame, cell, rows, &cells);
    return cells;
}

/* Nothing is known yet, and no row has a label. Tiles are cut from the reverse order. */
static fastkm_gaps begin_gaps(const problem* p) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const int64_t n_tiles = (k - 1) / FASTKM_TILE_CENTROIDS + 1;
    const int64_t stride = (n_tiles + 15) / 16 * 16, n_cells = (n - 1) / FASTKM_CELL_ROWS + 1;
    int32_t *order = take((size_t)k * 4, 4), *place_of = take((size_t)k * 4, 4);
    float* drifts = zeros((size_t)(k + 1) * 4, 4);
    fastkm_gaps gaps = {k,
                        n_tiles,
                        stride,
                        order,
                        place_of,
                        zeros((size_t)(k * d) * 8, 8),
                        zeros((size_t)(k * d) * 4, 0),
                        zeros((size_t)k * 4, 4),
                        zeros((size_t)n_tiles * 4, 4),
                        zeros((size_t)n_tiles * 4, 4),
                        drifts + 1,
                        zeros((size_t)stride * 4, 0),
                        zeros((size_t)(n_cells * stride) * 4, 0),
                        take((size_t)n * 4, 4)};
    drifts[0] = INFINITY;
    for (int64_t j = 0; j < k; j++) order[j] = place_of[j] = (int32_t)(k - 1 - j);
    for (int64_t i = 0; i < n; i++) gaps.own[i] = -1;
    return gaps;
}

void label_by_gaps(const problem* p, const fastkm_kernels* kernels, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const int64_t n_cells = (n - 1) / FASTKM_CELL_ROWS + 1, middle = n_cells / 2;
    const fastkm_frame* frame = &columns->frame;
    const fastkm_kept_cells cells = keep_cells(p, kernels, frame);
    const fastkm_gaps gaps = begin_gaps(p);
    const size_t per_tile = (size_t)(gaps.n_tiles * FASTKM_CELL_ROWS) * 4;
    fastkm_gap_scratch mine = {take((size_t)gaps.stride * 4, 4), take(per_tile, 0),
                               take(per_tile, 0)};
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_centroids packed = take_centroids(k, d);
    fastkm_sums sums = take_sums(p, columns);
    double *raw = take((size_t)(k * d) * 8, 8), *sq_dists = take((size_t)(n * k) * 8, 8);
    int32_t *labels = take((size_t)n * 4, 4), *labels_old = take((size_t)n * 4, 4),
            *wanted = take((size_t)n * 4, 4);
    memcpy(raw, p->centroids, (size_t)(k * d) * 8);
    for (int64_t i = 0; i < n; i++) labels[i] = -1;
    for (int turn = 0; turn < N_ROUNDS; turn++) {
        fastkm_cell_work work = {0};
        int64_t n_changed = 0;
        memcpy(labels_old, labels, (size_t)n * 4);
        pack_centroids(kernels, frame, raw, &packed);
        kernels->follow_gaps(frame, &packed, 0, &gaps);
        if (turn >= 3) { /* and hardly on, before any row is labelled: the first move counts */
            move_centroids(p, 20, raw);
            pack_centroids(kernels, frame, raw, &packed);
            kernels->follow_gaps(frame, &packed, 1, &gaps);
        }
        find_nearest(p->X, raw, n, d, k, sq_dists, wanted);
        for (int part = 0; part < 2; part++)
            kernels->assign_by_gaps(&p->points, frame, &packed, &cells, &gaps, part ? middle : 0,
                                    part ? n_cells : middle, &scratch, &mine, &work, labels_old,
                                    labels, &sums);
        for (int64_t i = 0; i < n; i++) {
            CHECK(labels[i] == wanted[i], "assign_by_gaps: labels of the oracle");
            n_changed += labels[i] != labels_old[i];
        }
        CHECK(work.n_changed == n_changed, "assign_by_gaps: counts the rows that change");
        check_sums(p, kernels, &sums, labels, &scratch, "assign_by_gaps: sums");
        move_centroids(p, turn % 2, raw); /* far, so that what is forgotten shows */
    }
}
