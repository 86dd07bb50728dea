/* Cells of near rows, cut once, and the centroids that can be nearest to any of their boxes. */
#include "harness.h"

#define N_ROUNDS 4

/* A label's rows in the order of their parts; returns where the next label's begin. */
static int64_t list_label(const problem* p, int64_t j, const uint16_t* parts, int32_t n_parts,
                          int64_t at, int32_t* rows) {
    for (int32_t part = 0; part < n_parts; part++)
        for (int64_t i = 0; i < p->points.n; i++)
            if (p->labels[i] == j && parts[i] == part) rows[at++] = (int32_t)i;
    return at;
}

static fastkm_transposed take_table(int64_t k, int64_t d, int64_t stride) {
    const size_t size = (size_t)stride * 4;
    return (fastkm_transposed){k,
                               stride,
                               zeros(size * (size_t)d, 0),
                               zeros(size, 0),
                               zeros(size, 0),
                               zeros(size, 0),
                               zeros(size, 0)};
}

static fastkm_cells cut(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                        int64_t stride, int64_t* n_groups) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_cell_plan* plans = take((size_t)k * sizeof *plans, 8);
    double *means = take((size_t)(k * d) * 8, 8), *spread = take((size_t)d * 8, 8);
    int32_t* rows = take((size_t)n * 4, 4);
    uint16_t* parts = zeros((size_t)n * 2, 2);
    int64_t *begins = take((size_t)(n + 1) * 8, 8), *groups = take((size_t)(n + 1) * 8, 8);
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    int64_t at = 0, c = 0, g = 0;
    for (int64_t j = 0; j < k; j++) {
        int64_t n_rows = 0;
        for (int64_t i = 0; i < n; i++)
            if (p->labels[i] == j) rows[n_rows++] = (int32_t)i;
        kernels->plan_cells(&p->points, rows, n_rows, &scratch, means + j * d, spread, plans + j);
    }
    kernels->find_parts(&p->points, plans, means, p->labels, 0, n, &scratch, parts);
    RECORD("find_parts", parts, n);
    for (int64_t j = 0; j < k; j++) {
        const int64_t begin = at;
        at = list_label(p, j, parts, 1 << plans[j].n_halvings, at, rows);
        for (int64_t r = begin; r < at; r += FASTKM_CELL_ROWS) {
            if ((r - begin) / FASTKM_CELL_ROWS % FASTKM_GROUP_CELLS == 0) groups[g++] = c;
            begins[c++] = r;
        }
    }
    CHECK(at == n, "find_parts: each row is in one of its label's parts");
    begins[c] = n;
    groups[g] = c;
    *n_groups = g;
    const fastkm_cells cells = {rows, begins, groups, take((size_t)(c * 2 * d) * 4, 4),
                                take_table(k, d, stride)};
    kernels->enclose(&p->points, frame, &cells, 0, c, &scratch);
    for (int64_t j = 0; j < stride; j++) {
        cells.table.indices[j] = (int32_t)j;
        if (j >= k) cells.table.sq_norms[j] = INFINITY;
    }
    return cells;
}

/* The centroids as columns. */
static void follow(const fastkm_kernels* kernels, const fastkm_centroids* packed,
                   const fastkm_transposed* table) {
    const int64_t d = packed->d, k = packed->k;
    for (int64_t j = 0; j < k; j++) {
        const int64_t group = j - j % FASTKM_TILE_CENTROIDS;
        const int64_t size = k - group < FASTKM_TILE_CENTROIDS ? k - group : FASTKM_TILE_CENTROIDS;
        for (int64_t f = 0; f < d; f++)
            table->columns[f * table->stride + j] =
                packed->tiles[group * d + f * size + j - group] / -2;
        table->sq_norms[j] = packed->sq_norms[j];
    }
    kernels->bound_columns(table, d);
}

void label_in_cells(const problem* p, const fastkm_kernels* kernels, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const int64_t stride = (k + FASTKM_ALIGN - 1) / FASTKM_ALIGN * FASTKM_ALIGN;
    const size_t size = (size_t)stride * 4;
    const fastkm_frame* frame = &columns->frame;
    int64_t n_groups;
    const fastkm_cells cells = cut(p, kernels, frame, stride, &n_groups);
    fastkm_cell_scratch mine = {take_table(k, d, stride), zeros((size_t)(2 * d) * 4, 0),
                                zeros(size, 0),           zeros(size * (size_t)d, 0),
                                zeros(size, 0),           {zeros(size, 0), zeros(size, 0)}};
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
        follow(kernels, &packed, &cells.table);
        find_nearest(p->X, raw, n, d, k, sq_dists, wanted);
        for (int64_t g = 0; g < n_groups; g++)
            kernels->assign_cells(&p->points, frame, &packed, &cells, g, g + 1, &scratch, &mine,
                                  &work, labels_old, labels, &sums);
        for (int64_t i = 0; i < n; i++) {
            CHECK(labels[i] == wanted[i], "assign_cells: labels of the oracle");
            n_changed += labels[i] != labels_old[i];
        }
        CHECK(work.n_changed == n_changed, "assign_cells: counts the rows that change");
        check_sums(p, kernels, &sums, labels, &scratch, "assign_cells: sums");
        move_centroids(p, turn, raw);
    }
}
