/* The fused kernel: products, argmin, second best and the proof that float32 decided right; see
 * README.md. */

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
    products(panel, centroids->tiles + j_begin * centroids->d, centroids->sq_norms + j_begin,
             centroids->d, n_centroids, ahead, product);
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

/* ||z||^2 - 2 y.z of one centroid, of rows that are in registers. */
static FASTKM_INLINE void low_d_products(vf y[LOW_D][TILE_VECTORS], float sq_norm, const float* z,
                                         int64_t stride, const int d, vf product[TILE_VECTORS]) {
    for (int v = 0; v < TILE_VECTORS; v++) product[v] = vf_set1(sq_norm);
    for (int f = 0; f < d; f++) {
        const vf z_f = vf_set1(z[f * stride]);
        for (int v = 0; v < TILE_VECTORS; v++) product[v] = vf_fma(y[f][v], z_f, product[v]);
    }
}

/* With so few features the points and the fold stay in registers, and the centroids stream past. */
static FASTKM_INLINE void fold_low_d(const float* panel, const fastkm_centroids* centroids,
                                     const int d, nearest_two* nearest) {
    vf y[LOW_D][TILE_VECTORS], best[TILE_VECTORS], second[TILE_VECTORS];
    vi index[TILE_VECTORS];
    for (int v = 0; v < TILE_VECTORS; v++) {
        for (int f = 0; f < d; f++) y[f][v] = vf_load(panel + f * PANEL_ROWS + v * LANES);
        best[v] = second[v] = vf_set1(INFINITY);
        index[v] = vi_set1(0);
    }
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

#ifdef FOLDS_QUADS
/* The nearest of one vector's rows, whose quads are known, and the second nearest there. */
static FASTKM_INLINE void find_in_quads(const vf* y, const float* quads, const int d,
                                        int32_t* index, float* second) {
    const float* at[LANES];
    vf row[FASTKM_QUAD], of_row[FASTKM_QUAD];
    for (int l = 0; l < LANES; l++) at[l] = quads + (int64_t)index[l] * (1 + d);
    for (int r = 0; r < FASTKM_QUAD; r++) row[r] = vf_load_quads(at + r);
    for (int f = 0; f < d; f++) {
        for (int l = 0; l < LANES; l++) at[l] += FASTKM_QUAD;
        vf_spread(y[f * TILE_VECTORS], of_row);
        for (int r = 0; r < FASTKM_QUAD; r++)
            row[r] = vf_fma(of_row[r], vf_load_quads(at + r), row[r]);
    }
    vf_transpose_quads(row);
    vf best = row[0], others = vf_set1(INFINITY);
    vi place = vi_set1(0);
    for (int c = 1; c < FASTKM_QUAD; c++) fold(row[c], vi_set1(c), &best, &others, &place);
    vf_store(second, vf_min(others, vf_load(second)));
    vi_store(index, vi_add(place, vi_load(index)));
}

/* As fold_low_d, and the same bits: of each quad the nearest alone, and of the nearest quad again
 * all; README.md proves it. */
static FASTKM_INLINE void fold_quads(const float* panel, const fastkm_centroids* centroids,
                                     const int d, nearest_two* nearest) {
    vf y[LOW_D][TILE_VECTORS], best[TILE_VECTORS], second[TILE_VECTORS];
    vi index[TILE_VECTORS];
    const float* quad = centroids->quads;
    for (int v = 0; v < TILE_VECTORS; v++) {
        for (int f = 0; f < d; f++) y[f][v] = vf_load(panel + f * PANEL_ROWS + v * LANES);
        best[v] = second[v] = vf_set1(INFINITY);
        index[v] = vi_set1(0);
    }
    for (int64_t j = 0; j < centroids->k; j += FASTKM_QUAD, quad += FASTKM_QUAD * (1 + d)) {
        vf least[TILE_VECTORS];
        for (int c = 0; c < FASTKM_QUAD; c++) {
            vf product[TILE_VECTORS];
            low_d_products(y, quad[c], quad + FASTKM_QUAD + c, FASTKM_QUAD, d, product);
            for (int v = 0; v < TILE_VECTORS; v++)
                least[v] = c ? vf_min(product[v], least[v]) : product[v];
        }
        for (int v = 0; v < TILE_VECTORS; v++)
            fold(least[v], vi_set1((int32_t)j), &best[v], &second[v], &index[v]);
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf_store(nearest->best + v * LANES, best[v]);
        vf_store(nearest->second + v * LANES, second[v]);
        vi_store(nearest->index + v * LANES, index[v]);
    }
    for (int v = 0; v < TILE_VECTORS; v++)
        find_in_quads(&y[0][v], centroids->quads, d, nearest->index + v * LANES,
                      nearest->second + v * LANES);
}
#else
#define fold_quads fold_low_d /* has_quads says no */
#endif

/* Constants of the rounding bound E(R) = a R (R + 2 ||y||) + b (||y|| + R)^2 + c (1 + ||y|| + R);
 * README.md derives it. */
typedef struct {
    float a, b, c, slack;
} rounding_bound;

static rounding_bound bound_for(int64_t d) {
    const double chain = (double)(d + 8) * 0x1p-24;
    const double relative = chain < 0.25 ? chain / (1 - chain) : INFINITY;
    return (rounding_bound){(float)(relative * 1.001), (float)((double)(d + 8) * 0x1p-53),
                            (float)((double)(d + 8) * 0x1p-124), (float)(1.001 + 2 * relative)};
}

static FASTKM_INLINE vf bound_at(const rounding_bound* bound, vf norm, vf radius) {
    const vf both = vf_add(norm, radius);
    const vf product = vf_mul(vf_mul(vf_set1(bound->a), radius), vf_add(both, norm));
    const vf direct = vf_mul(vf_mul(vf_set1(bound->b), both), both);
    return vf_add(vf_add(product, direct), vf_mul(vf_set1(bound->c), vf_add(vf_set1(1), both)));
}

/* A bit for each of a vector's points whose two nearest lie no further apart than twice the bound.
 */
static FASTKM_INLINE uint32_t undecided_at(const rounding_bound* bound, vf best, vf second, vf norm,
                                           vf radius) {
    const vf margin = vf_mul(bound_at(bound, norm, radius), vf_set1(2 * bound->slack));
    return ~vm_bits(vf_lt(margin, vf_sub(second, best))) & ((1u << LANES) - 1);
}

/* A bit for each of a vector's points whose two nearest lie closer together than float32 can tell.
 */
static FASTKM_INLINE uint32_t undecided(const rounding_bound* bound, vf best, vf second, vf sq_norm,
                                        float max_norm) {
    const vf slack = vf_set1(bound->slack);
    const vf norm = vf_mul(vf_sqrt(sq_norm), slack);
    const vf sq_dist_f32 = vf_max(vf_add(best, vf_mul(sq_norm, slack)), vf_set1(0));
    vf radius = vf_set1(max_norm);
    /* Mostly the largest radius will do, and the roots need not be taken. */
    if (!undecided_at(bound, best, second, norm, radius)) return 0;
    for (int pass = 0; pass < 2; pass++) {
        const vf reach = vf_sqrt(vf_mul(vf_add(sq_dist_f32, bound_at(bound, norm, radius)), slack));
        radius = vf_min(vf_mul(vf_add(norm, reach), slack), radius);
    }
    return undecided_at(bound, best, second, norm, radius);
}

static void reset_nearest(nearest_two* nearest) {
    for (int r = 0; r < PANEL_ROWS; r++) {
        nearest->best[r] = nearest->second[r] = INFINITY;
        nearest->index[r] = 0;
    }
}

static int64_t settle_panel(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const rounding_bound* bound,
                            int64_t i_begin, const int32_t* rows, int64_t n_rows, int recheck,
                            const nearest_two* nearest, const float* sq_norms,
                            fastkm_scratch* scratch, int32_t* labels) {
    int64_t n_exact = 0;
    memcpy(labels, nearest->index, (size_t)n_rows * sizeof *labels);
    if (!recheck || centroids->k == 1) return 0;
    for (int64_t r = 0; r < n_rows; r += LANES) {
        uint32_t open = undecided(bound, vf_load(nearest->best + r), vf_load(nearest->second + r),
                                  vf_load(sq_norms + r), centroids->max_norm);
        for (int64_t i = r; open && i < n_rows; i++, open >>= 1)
            if (open & 1) {
                labels[i] =
                    exact_label(points, frame, centroids, rows ? rows[i] : i_begin + i, scratch);
                n_exact++;
            }
    }
    return n_exact;
}

static void fold_panel(const float* panel, const fastkm_centroids* centroids, lines_ahead ahead,
                       nearest_two* nearest) {
    const int64_t d = centroids->d, k = centroids->k;
    const uint32_t saved = flush_denormals();
    if (has_quads(centroids) && centroids->max_norm < MOST_NORM) {
#define FOLD(constant_d) fold_quads(panel, centroids, constant_d, nearest)
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

/* Labels rows whose panels are kept where panels is not NULL, and loads each panel where it is. */
static FASTKM_INLINE int64_t assign_rows(const fastkm_points* points, const fastkm_frame* frame,
                                         const fastkm_centroids* centroids,
                                         const fastkm_panels* panels, int64_t i_begin,
                                         int64_t i_end, int recheck, fastkm_scratch* scratch,
                                         int32_t* labels) {
    const rounding_bound bound = bound_for(points->d);
    int64_t n_exact = 0;
    nearest_two nearest;
    float loaded_sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        const float *panel = scratch->panel, *sq_norms = loaded_sq_norms;
        lines_ahead ahead = no_lines(scratch->panel);
        if (panels) {
            panel = panels->values + i * points->d;
            sq_norms = panels->sq_norms + i;
        } else {
            load_panel(points, frame, i, n_rows, scratch->panel, loaded_sq_norms);
            ahead = lines_of_next_panel(points, i, centroids->k);
        }
        fold_panel(panel, centroids, ahead, &nearest);
        n_exact += settle_panel(points, frame, centroids, &bound, i, NULL, n_rows, recheck,
                                &nearest, sq_norms, scratch, labels + (i - i_begin));
    }
    return n_exact;
}

static int64_t assign(const fastkm_points* points, const fastkm_frame* frame,
                      const fastkm_centroids* centroids, int64_t i_begin, int64_t i_end,
                      int recheck, fastkm_scratch* scratch, int32_t* labels) {
    return assign_rows(points, frame, centroids, NULL, i_begin, i_end, recheck, scratch, labels);
}

static int64_t assign_kept(const fastkm_points* points, const fastkm_frame* frame,
                           const fastkm_centroids* centroids, const fastkm_panels* panels,
                           int64_t i_begin, int64_t i_end, fastkm_scratch* scratch,
                           int32_t* labels) {
    return assign_rows(points, frame, centroids, panels, i_begin, i_end, 1, scratch, labels);
}

/* Every panel is loaded once and meets the centroids of all runs. */
static int64_t assign_beside(const fastkm_points* points, const fastkm_frame* frame,
                             const fastkm_labelling* runs, int64_t n_runs, int64_t i_begin,
                             int64_t i_end, fastkm_scratch* scratch) {
    const rounding_bound bound = bound_for(points->d);
    int64_t n_exact = 0;
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        lines_ahead ahead = lines_of_next_panel(points, i, runs[0].centroids->k);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        for (int64_t r = 0; r < n_runs; r++) {
            fold_panel(scratch->panel, runs[r].centroids, ahead, &nearest);
            n_exact += settle_panel(points, frame, runs[r].centroids, &bound, i, NULL, n_rows, 1,
                                    &nearest, sq_norms, scratch, runs[r].labels + i);
            ahead.lines_per_tile = 0; /* the first run's tiles have asked for all */
        }
    }
    return n_exact;
}
