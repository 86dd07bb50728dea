/* Mean distances of some rows, the queries, to the rows of each cluster, the targets; README.md
 * says how far off they are.
 *
 * The frame is the queries' own: its origin is near the mean of their cluster, and so no norm is
 * much larger than the mean distances that are wanted. */

/* Products of so many features are added up before they join the others. */
#define PRODUCT_CHAIN 64
/* Up to here squared differences, which cancel nothing, take no longer than products. */
#define MOST_DIRECT_FEATURES 4
/* A squared distance below this share of the norms is measured again by differences. */
#define NEAR_SHARE 0x1p-6f

/* Of a tile's targets and a panel's queries: products, then squared distances. */
typedef float pair_values[FASTKM_TILE_CENTROIDS][PANEL_ROWS];

/* ||y||^2 of a panel's rows, summed in float64. */
static void panel_norms(const float* panel, int64_t d, float* norms) {
    double sums[PANEL_ROWS] = {0};
    for (int64_t f = 0; f < d; f++)
        for (int r = 0; r < PANEL_ROWS; r += DOUBLE_LANES) {
            const vd y = vd_load_f32(panel + f * PANEL_ROWS + r);
            vd_store(sums + r, vd_add(vd_load(sums + r), vd_mul(y, y)));
        }
    for (int r = 0; r < PANEL_ROWS; r++) norms[r] = (float)sums[r];
}

/* The products of [0, d), a chain of features at a time; what is after the last is in registers. */
static FASTKM_INLINE void chain_products(const float* panel, const float* tile, int64_t d,
                                         const int n_targets, pair_values kept,
                                         vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS]) {
    lines_ahead none = {NULL, 0};
    for (int64_t f = 0; f < d; f += PRODUCT_CHAIN) {
        for (int j = 0; j < n_targets; j++)
            for (int v = 0; v < TILE_VECTORS; v++) product[j][v] = vf_set1(0);
        add_products(panel + f * PANEL_ROWS, tile + f * n_targets, FASTKM_MIN(d - f, PRODUCT_CHAIN),
                     n_targets, &none, product);
        if (d <= PRODUCT_CHAIN) return;
        for (int j = 0; j < n_targets; j++)
            for (int v = 0; v < TILE_VECTORS; v++) {
                if (f > 0) product[j][v] = vf_add(product[j][v], vf_load(kept[j] + v * LANES));
                vf_store(kept[j] + v * LANES, product[j][v]);
            }
    }
}

/* The squared distance of a vector of queries and target j, by differences. */
static FASTKM_INLINE vf sq_differences(const float* panel, const float* tile, int64_t d,
                                       const int n_targets, int j, int v) {
    vf sum = vf_set1(0);
    for (int64_t f = 0; f < d; f++) {
        const vf z = vf_set1(-0.5f * tile[f * n_targets + j]);
        const vf difference = vf_sub(vf_load(panel + f * PANEL_ROWS + v * LANES), z);
        sum = vf_fma(difference, difference, sum);
    }
    return sum;
}

/* Measures again what is near, and only that. */
static void measure_near(const float* panel, const float* tile, int64_t d, int n_targets,
                         const float* norms, const float* target_norms, pair_values sq_dists) {
    for (int j = 0; j < n_targets; j++)
        for (int v = 0; v < TILE_VECTORS; v++) {
            float* pairs = sq_dists[j] + v * LANES;
            const vf both = vf_add(vf_load(norms + v * LANES), vf_set1(target_norms[j]));
            const vm is_far = vf_lt(vf_mul(vf_set1(NEAR_SHARE), both), vf_load(pairs));
            if (!(~vm_bits(is_far) & ((1u << LANES) - 1))) continue;
            vf_store(pairs, vf_select(is_far, vf_load(pairs),
                                      sq_differences(panel, tile, d, n_targets, j, v)));
        }
}

/* All squared distances by products. */
static FASTKM_INLINE void sq_dists_by_products(const float* panel, const float* tile, int64_t d,
                                               const int n_targets, const float* norms,
                                               const float* target_norms, pair_values sq_dists) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    uint32_t far = (1u << LANES) - 1;
    chain_products(panel, tile, d, n_targets, sq_dists, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vf norm = vf_load(norms + v * LANES);
        for (int j = 0; j < n_targets; j++) {
            const vf both = vf_add(norm, vf_set1(target_norms[j]));
            const vf sq_dist = vf_add(both, product[j][v]);
            far &= vm_bits(vf_lt(vf_mul(vf_set1(NEAR_SHARE), both), sq_dist));
            vf_store(sq_dists[j] + v * LANES, sq_dist);
        }
    }
    if (far != (1u << LANES) - 1)
        measure_near(panel, tile, d, n_targets, norms, target_norms, sq_dists);
}

/* And all by differences. */
static FASTKM_INLINE void sq_dists_by_differences(const float* panel, const float* tile, int64_t d,
                                                  const int n_targets, pair_values sq_dists) {
    for (int j = 0; j < n_targets; j++)
        for (int v = 0; v < TILE_VECTORS; v++)
            vf_store(sq_dists[j] + v * LANES, sq_differences(panel, tile, d, n_targets, j, v));
}

/* Adds the distances of a panel's queries to a tile's targets, these in float32, to the sums. */
static FASTKM_INLINE void add_tile(const float* panel, const float* tile, int64_t d,
                                   const int n_targets, const float* norms,
                                   const float* target_norms, double* sums) {
    pair_values sq_dists;
    float tile_sums[PANEL_ROWS];
    if (d <= MOST_DIRECT_FEATURES)
        sq_dists_by_differences(panel, tile, d, n_targets, sq_dists);
    else
        sq_dists_by_products(panel, tile, d, n_targets, norms, target_norms, sq_dists);
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf sum = vf_sqrt(vf_load(sq_dists[0] + v * LANES));
        for (int j = 1; j < n_targets; j++)
            sum = vf_add(sum, vf_sqrt(vf_load(sq_dists[j] + v * LANES)));
        vf_store(tile_sums + v * LANES, sum);
    }
    for (int r = 0; r < PANEL_ROWS; r += DOUBLE_LANES)
        vd_store(sums + r, vd_add(vd_load(sums + r), vd_load_f32(tile_sums + r)));
}

/* One tile of targets: -2z, and their norms. */
static void fill_tile(const fastkm_points* points, const fastkm_frame* frame, const int32_t* rows,
                      int64_t n_targets, fastkm_scratch* scratch, float* FASTKM_RESTRICT tile,
                      float* target_norms) {
    const int64_t d = points->d;
    float* const z = (float*)scratch->row;
    for (int64_t j = 0; j < n_targets; j++) {
        double norm = 0;
        centre_row(points, frame, rows[j], z);
        for (int64_t f = 0; f < d; f++) {
            tile[f * n_targets + j] = -2 * z[f];
            norm += (double)z[f] * z[f];
        }
        target_norms[j] = (float)norm;
    }
}

/* The mean distances to a cluster all of whose rows have been added. */
static void end_cluster(const fastkm_silhouette* pass, int64_t cluster, int64_t q, int64_t n_rows,
                        const double* sums) {
    const int64_t size = pass->begins[cluster + 1] - pass->begins[cluster];
    for (int64_t r = 0; r < n_rows; r++)
        if (pass->clusters[q + r] == cluster)
            pass->own[q + r] = size > 1 ? sums[r] / (double)(size - 1) : 0;
        else
            pass->other[q + r] = FASTKM_MIN(pass->other[q + r], sums[r] / (double)size);
}

/* One panel of queries, from q on, and the packed targets [begin, end), from a cluster on. */
static void add_tiles(const fastkm_silhouette* pass, const fastkm_silhouette_scratch* mine,
                      int64_t d, const float* panel, const float* norms, int64_t q, int64_t n_rows,
                      int64_t begin, int64_t end, int64_t cluster) {
    double sums[PANEL_ROWS] = {0};
    memcpy(sums, pass->sums + q, (size_t)n_rows * sizeof *sums);
    for (int64_t p = begin; p < end; cluster++) {
        const int64_t stop = FASTKM_MIN(end, pass->begins[cluster + 1]);
        for (int64_t n_targets; p < stop; p += n_targets) {
            const float* tile = mine->tiles + (p - begin) * d;
            const float* target_norms = mine->target_norms + (p - begin);
            n_targets = FASTKM_MIN(stop - p, FASTKM_TILE_CENTROIDS);
#define ADD(n) add_tile(panel, tile, d, n, norms, target_norms, sums)
            WITH_CONSTANT_TILE(n_targets, ADD)
#undef ADD
        }
        if (p < pass->begins[cluster + 1]) break;
        end_cluster(pass, cluster, q, n_rows, sums);
        memset(sums, 0, sizeof sums);
    }
    memcpy(pass->sums + q, sums, (size_t)n_rows * sizeof *sums);
}

/* Packs targets [begin, end), no tile of two clusters; returns the cluster that is next. */
static int64_t fill_tiles(const fastkm_points* points, const fastkm_frame* frame,
                          const fastkm_silhouette* pass, int64_t begin, int64_t end,
                          int64_t cluster, fastkm_scratch* scratch,
                          const fastkm_silhouette_scratch* mine) {
    for (int64_t p = begin, n_targets; p < end; p += n_targets) {
        const int64_t stop = FASTKM_MIN(end, pass->begins[cluster + 1]);
        n_targets = FASTKM_MIN(stop - p, FASTKM_TILE_CENTROIDS);
        fill_tile(points, frame, pass->order + p, n_targets, scratch,
                  mine->tiles + (p - begin) * points->d, mine->target_norms + (p - begin));
        if (p + n_targets == pass->begins[cluster + 1]) cluster++;
    }
    return cluster;
}

/* The queries are kept as panels; of the targets so many are packed at once as stay in cache while
 * all panels meet them. */
static void silhouette(const fastkm_points* points, const fastkm_frame* frame,
                       const fastkm_silhouette* pass, int64_t q_begin, int64_t q_end,
                       int64_t p_begin, int64_t p_end, fastkm_scratch* scratch,
                       const fastkm_silhouette_scratch* mine) {
    const int64_t d = points->d;
    int64_t cluster = 0;
    const uint32_t saved = flush_denormals();
    while (pass->begins[cluster + 1] <= p_begin) cluster++;
    for (int64_t q = q_begin; q < q_end; q += PANEL_ROWS) {
        float* panel = mine->panels + (q - q_begin) * d;
        float* norms = mine->norms + (q - q_begin);
        const int64_t n_rows = FASTKM_MIN(q_end - q, PANEL_ROWS);
        gather_panel(points, frame, pass->queries + q, n_rows, panel, norms);
        panel_norms(panel, d, norms);
        for (int64_t r = 0; r < n_rows; r++) pass->reaches[q + r] = sqrt(norms[r]);
    }
    for (int64_t p = p_begin, end; p < p_end; p = end) {
        const int64_t first = cluster;
        end = FASTKM_MIN(p + mine->n_targets, p_end);
        cluster = fill_tiles(points, frame, pass, p, end, cluster, scratch, mine);
        for (int64_t q = q_begin; q < q_end; q += PANEL_ROWS)
            add_tiles(pass, mine, d, mine->panels + (q - q_begin) * d, mine->norms + (q - q_begin),
                      q, FASTKM_MIN(q_end - q, PANEL_ROWS), p, end, first);
    }
    restore_denormals(saved);
}
