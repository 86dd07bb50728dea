/* ||z||^2 - 2 y.z of a panel's points and all centroids, and of these the nearest, the second
 * nearest and which: what float32 can say of a label. */

/* Nothing to bring. Some address all the same, as C knows no sum of NULL and an offset, not even 0.
 */
static lines_ahead no_lines(const void* anywhere) {
    return (lines_ahead){anywhere, 0};
}

static FASTKM_INLINE float least_lane(vf a) {
    float lanes[LANES];
    vf_store(lanes, a);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] = FASTKM_MIN(lanes[l], lanes[l + half]);
    return lanes[0];
}

/* What loading i's panel leaves to ask for of the rows after it, spread evenly over the tiles. */
static lines_ahead lines_of_next_panel(const fastkm_points* points, int64_t i, int64_t k) {
    const int64_t n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) / FASTKM_TILE_CENTROIDS;
    const next_panel rest = rest_of_panel_after(points, i);
    return (lines_ahead){rest.begin, (rest.n_lines + n_tiles - 1) / n_tiles};
}

static lines_ahead lines_of_row(const fastkm_points* points, int64_t i) {
    const int64_t bytes = points->d * points->col_stride;
    return (lines_ahead){points->base + i * points->row_stride,
                         points->col_stride > 0 && points->row_stride >= bytes
                             ? (bytes + LINE_BYTES - 1) / LINE_BYTES
                             : 0};
}

/* Adds -2 y.z over d features of a panel's points and n_centroids centroids; the factor is in the
 * tile. */
static FASTKM_INLINE void add_products(const float* panel, const float* tile, int64_t d,
                                       const int n_centroids, lines_ahead* ahead,
                                       vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS]) {
    const int64_t f_ahead = FASTKM_MIN(ahead->lines_per_tile, d);
#define ADD_FEATURE(f)                                                                             \
    do {                                                                                           \
        vf y[TILE_VECTORS];                                                                        \
        for (int v = 0; v < TILE_VECTORS; v++)                                                     \
            y[v] = vf_load(panel + (f) * PANEL_ROWS + v * LANES);                                  \
        for (int j = 0; j < n_centroids; j++) {                                                    \
            const vf z = vf_set1(tile[(f) * n_centroids + j]);                                     \
            for (int v = 0; v < TILE_VECTORS; v++) product[j][v] = vf_fma(y[v], z, product[j][v]); \
        }                                                                                          \
    } while (0)
    for (int64_t f = 0; f < f_ahead; f++) {
        prefetch(ahead->next + f * LINE_BYTES);
        ADD_FEATURE(f);
    }
    for (int64_t f = f_ahead; f < d; f++) ADD_FEATURE(f);
#undef ADD_FEATURE
    ahead->next += ahead->lines_per_tile * LINE_BYTES;
}

/* ||z||^2 - 2 y.z */
static FASTKM_INLINE void products(const float* panel, const float* tile, const float* sq_norms,
                                   int64_t d, const int n_centroids, lines_ahead* ahead,
                                   vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS]) {
    for (int j = 0; j < n_centroids; j++)
        for (int v = 0; v < TILE_VECTORS; v++) product[j][v] = vf_set1(sq_norms[j]);
    add_products(panel, tile, d, n_centroids, ahead, product);
}

/* Of the tile that begins with centroid j_begin. */
static FASTKM_INLINE void products_of_tile(const float* panel, const fastkm_centroids* centroids,
                                           int64_t j_begin, const int n_centroids,
                                           lines_ahead* ahead,
                                           vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS]) {
    products(panel, centroids->tiles + j_begin * centroids->d, centroids->sq_norms + j_begin,
             centroids->d, n_centroids, ahead, product);
}

/* Nearest and second nearest so far of a panel's points. */
typedef struct {
    float best[PANEL_ROWS], second[PANEL_ROWS];
    int32_t index[PANEL_ROWS];
} nearest_two;

/* One vector of candidates into the two nearest so far. */
static FASTKM_INLINE void fold(vf candidate, vi candidate_index, vf* best, vf* second, vi* index) {
    const vm is_nearer = vf_lt(candidate, *best);
    *second = vf_min(vf_max(candidate, *best), *second);
    *best = vf_min(candidate, *best);
    *index = vi_select(is_nearer, candidate_index, *index);
}

static FASTKM_INLINE void fold_tile(const float* panel, const fastkm_centroids* centroids,
                                    int64_t j_begin, const int n_centroids, lines_ahead* ahead,
                                    nearest_two* nearest) {
    vf product[FASTKM_TILE_CENTROIDS][TILE_VECTORS];
    products_of_tile(panel, centroids, j_begin, n_centroids, ahead, product);
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf best = vf_load(nearest->best + v * LANES);
        vf second = vf_load(nearest->second + v * LANES);
        vi index = vi_load(nearest->index + v * LANES);
        for (int j = 0; j < n_centroids; j++)
            fold(product[j][v], vi_set1((int32_t)j_begin + j), &best, &second, &index);
        vf_store(nearest->best + v * LANES, best);
        vf_store(nearest->second + v * LANES, second);
        vi_store(nearest->index + v * LANES, index);
    }
}

/* With so few features the points and the fold stay in registers, and the centroids stream past. */
static FASTKM_INLINE void begin_low_d(const float* panel, const int d, vf y[LOW_D][TILE_VECTORS],
                                      vf best[TILE_VECTORS], vf second[TILE_VECTORS],
                                      vi index[TILE_VECTORS]) {
    for (int v = 0; v < TILE_VECTORS; v++) {
        for (int f = 0; f < d; f++) y[f][v] = vf_load(panel + f * PANEL_ROWS + v * LANES);
        best[v] = second[v] = vf_set1(INFINITY);
        index[v] = vi_set1(0);
    }
}

/* ||z||^2 - 2 y.z of one centroid, of rows that are in registers. */
static FASTKM_INLINE void low_d_products(vf y[LOW_D][TILE_VECTORS], float sq_norm, const float* z,
                                         int64_t stride, const int d, vf product[TILE_VECTORS]) {
    for (int v = 0; v < TILE_VECTORS; v++) product[v] = vf_set1(sq_norm);
    for (int f = 0; f < d; f++) {
        const vf z_f = vf_set1(z[f * stride]);
        for (int v = 0; v < TILE_VECTORS; v++) product[v] = vf_fma(y[f][v], z_f, product[v]);
    }
}

static FASTKM_INLINE void fold_low_d(const float* panel, const fastkm_centroids* centroids,
                                     const int d, nearest_two* nearest) {
    vf y[LOW_D][TILE_VECTORS], best[TILE_VECTORS], second[TILE_VECTORS];
    vi index[TILE_VECTORS];
    begin_low_d(panel, d, y, best, second, index);
    for (int64_t group = 0; group < centroids->k; group += FASTKM_TILE_CENTROIDS) {
        const int64_t group_size = FASTKM_MIN(centroids->k - group, FASTKM_TILE_CENTROIDS);
        const float* tile = centroids->tiles + group * d;
        for (int64_t j = group; j < group + group_size; j++, tile++) {
            const vi candidate_index = vi_set1((int32_t)j);
            vf product[TILE_VECTORS];
            low_d_products(y, centroids->sq_norms[j], tile, group_size, d, product);
            for (int v = 0; v < TILE_VECTORS; v++)
                fold(product[v], candidate_index, &best[v], &second[v], &index[v]);
        }
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf_store(nearest->best + v * LANES, best[v]);
        vf_store(nearest->second + v * LANES, second[v]);
        vi_store(nearest->index + v * LANES, index[v]);
    }
}

/* Of norms above, products might overflow. */
#define MOST_NORM 0x1p60f

#ifdef HAS_HEATS
/* At one vector's rows, whose nearest heats are known: the place of the nearest centroid there, and
 * the second nearest. */
static FASTKM_INLINE void look_again(const vf* y, const fastkm_centroids* centroids, const int d,
                                     const int32_t* heat, int32_t* place, vf* others) {
    vf best = vf_set1(INFINITY);
    vi index = vi_set1(0);
    *others = vf_set1(INFINITY);
#ifdef HEAT_COLUMNS
    const int64_t size = heat_size(centroids->k);
    const float* values = centroids->heats;
    const vi column = vi_load(heat);
    for (int64_t c = 0; c < size; c++, values += (1 + d) * HEAT_COLUMNS) {
        vf product = vf_look_up(values, column);
        for (int f = 0; f < d; f++)
            product = vf_fma(y[f * TILE_VECTORS],
                             vf_look_up(values + (1 + f) * HEAT_COLUMNS, column), product);
        fold(product, vi_set1((int32_t)c), &best, others, &index);
    }
#else
    const float* at[LANES];
    vf row[QUAD], of_row[QUAD];
    for (int l = 0; l < LANES; l++) at[l] = centroids->heats + (int64_t)heat[l] * QUAD * (1 + d);
    for (int r = 0; r < QUAD; r++) row[r] = vf_load_quads(at + r);
    for (int f = 0; f < d; f++) {
        for (int l = 0; l < LANES; l++) at[l] += QUAD;
        vf_spread(y[f * TILE_VECTORS], of_row);
        for (int r = 0; r < QUAD; r++) row[r] = vf_fma(of_row[r], vf_load_quads(at + r), row[r]);
    }
    vf_transpose_quads(row);
    for (int c = 0; c < QUAD; c++) fold(row[c], vi_set1(c), &best, others, &index);
#endif
    vi_store(place, index);
}

/* As fold_low_d, and the same bits: of each heat the nearest alone, and of the nearest heat all
 * once more; README.md proves it. */
static FASTKM_INLINE void fold_heats(const float* panel, const fastkm_centroids* centroids,
                                     const int d, nearest_two* nearest) {
    const int32_t size = (int32_t)heat_size(centroids->k);
    vf y[LOW_D][TILE_VECTORS], best[TILE_VECTORS], second[TILE_VECTORS];
    vi index[TILE_VECTORS];
    begin_low_d(panel, d, y, best, second, index);
    const float* heat = centroids->heats;
    for (int32_t h = 0; (int64_t)h * size < centroids->k; h++, heat += HEAT_STEP(d)) {
        const float* z = heat;
        vf least[TILE_VECTORS];
        low_d_products(y, z[0], z + HEAT_STRIDE, HEAT_STRIDE, d, least);
        for (int32_t c = 1; c < size; c++) {
            vf product[TILE_VECTORS];
            z += MEMBER_STEP(d);
            low_d_products(y, z[0], z + HEAT_STRIDE, HEAT_STRIDE, d, product);
            for (int v = 0; v < TILE_VECTORS; v++) least[v] = vf_min(product[v], least[v]);
        }
        for (int v = 0; v < TILE_VECTORS; v++)
            fold(least[v], vi_set1(h), &best[v], &second[v], &index[v]);
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        int32_t place[LANES], *label = nearest->index + v * LANES;
        vf others;
        vi_store(label, index[v]);
        look_again(&y[0][v], centroids, d, label, place, &others);
        vf_store(nearest->best + v * LANES, best[v]);
        vf_store(nearest->second + v * LANES, vf_min(others, second[v]));
        for (int l = 0; l < LANES; l++) label[l] = label[l] * size + place[l];
    }
}
#else
#define fold_heats fold_low_d /* has_heats says no */
#endif

static void reset_nearest(nearest_two* nearest) {
    for (int r = 0; r < PANEL_ROWS; r++) {
        nearest->best[r] = nearest->second[r] = INFINITY;
        nearest->index[r] = 0;
    }
}

static void fold_panel(const float* panel, const fastkm_centroids* centroids, lines_ahead ahead,
                       nearest_two* nearest) {
    const int64_t d = centroids->d, k = centroids->k;
    const uint32_t saved = flush_denormals();
    if (has_heats(centroids) && centroids->max_norm < MOST_NORM) {
#define FOLD(constant_d) fold_heats(panel, centroids, constant_d, nearest)
        WITH_CONSTANT_D(d, FOLD)
#undef FOLD
    } else if (d <= LOW_D) {
#define FOLD(constant_d) fold_low_d(panel, centroids, constant_d, nearest)
        WITH_CONSTANT_D(d, FOLD)
#undef FOLD
    } else {
        reset_nearest(nearest);
        for (int64_t j = 0; j < k; j += FASTKM_TILE_CENTROIDS) {
#define FOLD(n) fold_tile(panel, centroids, j, n, &ahead, nearest)
            WITH_CONSTANT_TILE(k - j, FOLD)
#undef FOLD
        }
    }
    restore_denormals(saved);
}
