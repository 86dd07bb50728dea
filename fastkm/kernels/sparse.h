/* CSR rows: labels, distances and sums, each in time that grows with the entries and not with d;
 * see README.md.
 *
 * ||x - c||^2 = ||c||^2 - 2 x.c + ||x||^2, in float64: centroids lie in the lanes, features first,
 * so that each entry of a row reads one short run of memory and adds to all centroids of a bundle
 * at once. */

/* A row's format as compile-time constants. */
#define WITH_CONSTANT_FORMAT(rows, call)               \
    switch ((rows)->is_double * 2 + (rows)->is_wide) { \
    case 0:                                            \
        call(0, 0);                                    \
        break;                                         \
    case 1:                                            \
        call(0, 1);                                    \
        break;                                         \
    case 2:                                            \
        call(1, 0);                                    \
        break;                                         \
    default:                                           \
        call(1, 1);                                    \
        break;                                         \
    }

static FASTKM_INLINE double entry_value(const fastkm_sparse* rows, int64_t p, const int is_double) {
    return is_double ? ((const double*)rows->values)[p] : (double)((const float*)rows->values)[p];
}

static FASTKM_INLINE int64_t entry_column(const fastkm_sparse* rows, int64_t p, const int is_wide) {
    return is_wide ? ((const int64_t*)rows->columns)[p] : ((const int32_t*)rows->columns)[p];
}

/* ---- centroids ------------------------------------------------------------------------------ */

static FASTKM_INLINE int64_t groups_of(int64_t k, int64_t j_bundle) {
    const int64_t n_groups = (k - j_bundle + FASTKM_EXACT_LANES - 1) / FASTKM_EXACT_LANES;
    return FASTKM_MIN(n_groups, FASTKM_BUNDLE_GROUPS);
}

static void sparse_pack(const fastkm_sparse_centroids* centroids, double scale, int64_t f_begin,
                        int64_t f_end) {
    const int64_t k = centroids->k, d = centroids->d;
    for (int64_t j = 0; j < k; j += FASTKM_BUNDLE_CENTROIDS) {
        const int64_t width = groups_of(k, j) * FASTKM_EXACT_LANES,
                      n_real = FASTKM_MIN(width, k - j);
        const double* raw = centroids->raw + j * d;
        double* bundle = centroids->bundles + j * d;
        for (int64_t f = f_begin; f < f_end; f++) {
            for (int64_t lane = 0; lane < n_real; lane++)
                bundle[f * width + lane] = raw[lane * d + f] * scale;
            for (int64_t lane = n_real; lane < width; lane++) bundle[f * width + lane] = 0;
        }
    }
}

/* high + low += value, with the rounding of high kept in low. */
static FASTKM_INLINE void add_with_tail(double value, double* high, double* low) {
    const double sum = *high + value, part = sum - *high;
    *low += (*high - (sum - part)) + (value - part);
    *high = sum;
}

static FASTKM_INLINE void vd_add_with_tail(vd value, vd* high, vd* low) {
    const vd sum = vd_add(*high, value), part = vd_sub(sum, *high);
    *low = vd_add(*low, vd_add(vd_sub(*high, vd_sub(sum, part)), vd_sub(value, part)));
    *high = sum;
}

#define NORM_VECTORS (FASTKM_EXACT_LANES / DOUBLE_LANES)

static void sparse_pack_norm(const fastkm_sparse_centroids* centroids, double scale, int64_t j) {
    const int64_t d = centroids->d, d_vector = d - d % FASTKM_EXACT_LANES;
    const double* raw = centroids->raw + j * d;
    const vd scale_vd = vd_set1(scale);
    vd high[NORM_VECTORS], low[NORM_VECTORS];
    double highs[FASTKM_EXACT_LANES], lows[FASTKM_EXACT_LANES], sum = 0, tail = 0;
    for (int v = 0; v < NORM_VECTORS; v++) high[v] = low[v] = vd_set1(0);
    for (int64_t f = 0; f < d_vector; f += FASTKM_EXACT_LANES)
        for (int v = 0; v < NORM_VECTORS; v++) {
            const vd c = vd_mul(vd_load(raw + f + v * DOUBLE_LANES), scale_vd);
            vd_add_with_tail(vd_mul(c, c), &high[v], &low[v]);
        }
    for (int v = 0; v < NORM_VECTORS; v++) {
        vd_store(highs + v * DOUBLE_LANES, high[v]);
        vd_store(lows + v * DOUBLE_LANES, low[v]);
    }
    for (int64_t f = d_vector; f < d; f++) {
        const double c = raw[f] * scale;
        add_with_tail(c * c, &highs[f - d_vector], &lows[f - d_vector]);
    }
    for (int lane = 0; lane < FASTKM_EXACT_LANES; lane++) {
        add_with_tail(highs[lane], &sum, &tail);
        tail += lows[lane];
    }
    centroids->sq_norms[j] = sum;
    centroids->sq_norm_tails[j] = tail;
    if (centroids->columns != NULL) {
        int32_t* columns = centroids->columns + j * d;
        int64_t n_columns = 0;
        for (int64_t f = 0; f < d; f++)
            if (raw[f] != 0) columns[n_columns++] = (int32_t)f;
        centroids->n_columns[j] = n_columns;
    }
}

static void sparse_norms(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end) {
    const double scale = rows->scale;
    for (int64_t i = i_begin; i < i_end; i++) {
        double sum = 0;
#define ADD_ENTRIES(is_double, is_wide)                               \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) { \
        const double x = entry_value(rows, p, is_double) * scale;     \
        sum += x * x;                                                 \
    }
        WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
        rows->sq_norms[i] = sum;
    }
}

/* ---- products ------------------------------------------------------------------------------- */

#define GROUP_VECTORS (FASTKM_EXACT_LANES / DOUBLE_LANES)

/* x.c of one row and a bundle of n_groups groups. Even and odd entries have sums of their own:
 * shorter chains. */
static FASTKM_INLINE void row_products(const fastkm_sparse* rows, int64_t i, const double* bundle,
                                       const int n_groups, const int is_double, const int is_wide,
                                       double* products) {
    const int n_vectors = n_groups * GROUP_VECTORS;
    const double scale = rows->scale;
    const int64_t end = rows->starts[i + 1];
    int64_t p = rows->starts[i];
    vd even[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS], odd[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS];
    for (int v = 0; v < n_vectors; v++) even[v] = odd[v] = vd_set1(0);
    for (; p + 2 <= end; p += 2) {
        const vd x_even = vd_set1(entry_value(rows, p, is_double) * scale);
        const vd x_odd = vd_set1(entry_value(rows, p + 1, is_double) * scale);
        const double* c_even =
            bundle + entry_column(rows, p, is_wide) * (n_groups * FASTKM_EXACT_LANES);
        const double* c_odd =
            bundle + entry_column(rows, p + 1, is_wide) * (n_groups * FASTKM_EXACT_LANES);
        for (int v = 0; v < n_vectors; v++) {
            even[v] = vd_add(even[v], vd_mul(x_even, vd_load(c_even + v * DOUBLE_LANES)));
            odd[v] = vd_add(odd[v], vd_mul(x_odd, vd_load(c_odd + v * DOUBLE_LANES)));
        }
    }
    if (p < end) {
        const vd x = vd_set1(entry_value(rows, p, is_double) * scale);
        const double* c = bundle + entry_column(rows, p, is_wide) * (n_groups * FASTKM_EXACT_LANES);
        for (int v = 0; v < n_vectors; v++)
            even[v] = vd_add(even[v], vd_mul(x, vd_load(c + v * DOUBLE_LANES)));
    }
    for (int v = 0; v < n_vectors; v++)
        vd_store(products + v * DOUBLE_LANES, vd_add(even[v], odd[v]));
}

/* Calls function(groups, is_double, is_wide) with constants. */
#define WITH_CONSTANT_BUNDLE(rows, n_groups, call)  \
    switch (n_groups) {                             \
    case 1:                                         \
        WITH_CONSTANT_FORMAT(rows, call##_1) break; \
    case 2:                                         \
        WITH_CONSTANT_FORMAT(rows, call##_2) break; \
    case 3:                                         \
        WITH_CONSTANT_FORMAT(rows, call##_3) break; \
    default:                                        \
        WITH_CONSTANT_FORMAT(rows, call##_4) break; \
    }

/* ---- the direct form ------------------------------------------------------------------------ */

/* Put the row, scaled, into scratch->row, or take it out again. */
static void spread_row(const fastkm_sparse* rows, int64_t i, double scale, double* row) {
#define SPREAD(is_double, is_wide)                                  \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) \
        row[entry_column(rows, p, is_wide)] =                       \
            scale == 0 ? 0 : entry_value(rows, p, is_double) * scale;
    WITH_CONSTANT_FORMAT(rows, SPREAD)
#undef SPREAD
}

static void clear_row(const fastkm_sparse* rows, int64_t i, double* row) {
    spread_row(rows, i, 0, row);
}

/* Distances of a spread row to a bundle, features from first to last, as the contract of the labels
 * asks. */
static FASTKM_INLINE void direct_bundle(const double* row, const double* bundle, int64_t d,
                                        const int n_groups, double* dists) {
    const int n_vectors = n_groups * GROUP_VECTORS;
    vd sum[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS];
    for (int v = 0; v < n_vectors; v++) sum[v] = vd_set1(0);
    for (int64_t f = 0; f < d; f++) {
        const vd x = vd_set1(row[f]);
        for (int v = 0; v < n_vectors; v++) {
            const vd difference =
                vd_sub(x, vd_load(bundle + f * (n_groups * FASTKM_EXACT_LANES) + v * DOUBLE_LANES));
            sum[v] = vd_add(sum[v], vd_mul(difference, difference));
        }
    }
    for (int v = 0; v < n_vectors; v++) vd_store(dists + v * DOUBLE_LANES, sum[v]);
}

static void direct_dists(const double* row, const fastkm_sparse_centroids* centroids,
                         int64_t j_bundle, double* dists) {
    const double* bundle = centroids->bundles + j_bundle * centroids->d;
    switch (groups_of(centroids->k, j_bundle)) {
    case 1:
        direct_bundle(row, bundle, centroids->d, 1, dists);
        break;
    case 2:
        direct_bundle(row, bundle, centroids->d, 2, dists);
        break;
    case 3:
        direct_bundle(row, bundle, centroids->d, 3, dists);
        break;
    default:
        direct_bundle(row, bundle, centroids->d, 4, dists);
        break;
    }
}

/* ---- labels --------------------------------------------------------------------------------- */

/* E(R) of README.md with the constants of float64; norm and radius are bounds from above. */
static FASTKM_INLINE double sparse_bound_at(int64_t n_entries, int64_t d, double norm,
                                            double radius) {
    const double a = (double)(n_entries + 8) * 0x1p-53, b = (double)(d + 8) * 0x1p-53;
    const double both = norm + radius;
    return 1.001 * (a * radius * (both + norm) + b * both * both) + (double)(d + 8) * 0x1p-1060;
}

/* What two values of ||c||^2 - 2 x.c must differ by for their order to be the contract's. */
static double sparse_margin(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                            int64_t i, double best) {
    const int64_t n_entries = rows->starts[i + 1] - rows->starts[i], d = rows->d;
    const double slack = 1.001, sq_norm = rows->sq_norms[i] * slack, norm = sqrt(sq_norm);
    double radius = centroids->max_norm;
    if (!(fabs(best) <= DBL_MAX)) return INFINITY;
    for (int pass = 0; pass < 2; pass++) {
        const double error = sparse_bound_at(n_entries, d, norm, radius);
        const double reach = sqrt(FASTKM_MAX(best + sq_norm, 0) + error);
        radius = FASTKM_MIN((norm + reach) * slack, radius);
    }
    return 2 * slack * sparse_bound_at(n_entries, d, norm, radius);
}

/* ||c||^2 - 2 x.c of row i and every centroid. */
static void row_offsets(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                        int64_t i, double* offsets) {
    const int64_t k = centroids->k;
    for (int64_t j = 0; j < k; j += FASTKM_BUNDLE_CENTROIDS) {
        const double* bundle = centroids->bundles + j * centroids->d;
#define PRODUCTS_1(is_double, is_wide) \
    row_products(rows, i, bundle, 1, is_double, is_wide, offsets + j)
#define PRODUCTS_2(is_double, is_wide) \
    row_products(rows, i, bundle, 2, is_double, is_wide, offsets + j)
#define PRODUCTS_3(is_double, is_wide) \
    row_products(rows, i, bundle, 3, is_double, is_wide, offsets + j)
#define PRODUCTS_4(is_double, is_wide) \
    row_products(rows, i, bundle, 4, is_double, is_wide, offsets + j)
        WITH_CONSTANT_BUNDLE(rows, groups_of(k, j), PRODUCTS)
    }
    for (int64_t j = 0; j < k; j++) offsets[j] = centroids->sq_norms[j] - 2 * offsets[j];
}

/* The contract's argmin among the centroids that the margin leaves. */
static int32_t sparse_exact_label(const fastkm_sparse* rows,
                                  const fastkm_sparse_centroids* centroids, int64_t i, double best,
                                  double margin, fastkm_sparse_scratch* scratch) {
    const int64_t k = centroids->k;
    double dists[FASTKM_BUNDLE_CENTROIDS], least = 0;
    int32_t label = -1;
    row_offsets(rows, centroids, i, scratch->dists);
    spread_row(rows, i, rows->scale, scratch->row);
    for (int64_t j_bundle = 0; j_bundle < k; j_bundle += FASTKM_BUNDLE_CENTROIDS) {
        const int64_t j_end = FASTKM_MIN(j_bundle + FASTKM_BUNDLE_CENTROIDS, k);
        int is_ready = 0;
        for (int64_t j = j_bundle; j < j_end; j++) {
            if (scratch->dists[j] - best > margin) continue;
            if (!is_ready) direct_dists(scratch->row, centroids, j_bundle, dists);
            is_ready = 1;
            if (label < 0 || dists[j - j_bundle] < least) {
                label = (int32_t)j;
                least = dists[j - j_bundle];
            }
        }
    }
    clear_row(rows, i, scratch->row);
    return label;
}

typedef struct {
    double best, second;
    int32_t index;
} sparse_nearest;

static FASTKM_INLINE void fold_products(const double* products, const double* sq_norms,
                                        int64_t j_begin, int64_t j_end, sparse_nearest* nearest) {
    sparse_nearest found = *nearest;
    for (int64_t j = j_begin; j < j_end; j++) {
        const double candidate = sq_norms[j] - 2 * products[j - j_begin];
        const int is_nearer = candidate < found.best;
        const double loser = is_nearer ? found.best : candidate;
        found.second = loser < found.second ? loser : found.second;
        found.index = is_nearer ? (int32_t)j : found.index;
        found.best = is_nearer ? candidate : found.best;
    }
    *nearest = found;
}

static FASTKM_INLINE void fold_bundle(const fastkm_sparse* rows,
                                      const fastkm_sparse_centroids* centroids, int64_t j_bundle,
                                      int64_t i_begin, int64_t i_end, const int n_groups,
                                      const int is_double, const int is_wide,
                                      sparse_nearest* nearest) {
    const double* bundle = centroids->bundles + j_bundle * centroids->d;
    const int64_t j_end = FASTKM_MIN(j_bundle + n_groups * FASTKM_EXACT_LANES, centroids->k);
    double products[FASTKM_BUNDLE_CENTROIDS];
    for (int64_t i = i_begin; i < i_end; i++) {
        row_products(rows, i, bundle, n_groups, is_double, is_wide, products);
        fold_products(products, centroids->sq_norms, j_bundle, j_end, nearest + (i - i_begin));
    }
}

static int64_t sparse_assign(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                             int64_t i_begin, int64_t i_end, int recheck,
                             fastkm_sparse_scratch* scratch, int32_t* labels) {
    const int64_t k = centroids->k;
    int64_t n_exact = 0;
    sparse_nearest nearest[FASTKM_BLOCK_ROWS];
    for (int64_t r = 0; r < i_end - i_begin; r++)
        nearest[r] = (sparse_nearest){INFINITY, INFINITY, 0};
    for (int64_t j = 0; j < k; j += FASTKM_BUNDLE_CENTROIDS) {
#define FOLD_1(is_double, is_wide) \
    fold_bundle(rows, centroids, j, i_begin, i_end, 1, is_double, is_wide, nearest)
#define FOLD_2(is_double, is_wide) \
    fold_bundle(rows, centroids, j, i_begin, i_end, 2, is_double, is_wide, nearest)
#define FOLD_3(is_double, is_wide) \
    fold_bundle(rows, centroids, j, i_begin, i_end, 3, is_double, is_wide, nearest)
#define FOLD_4(is_double, is_wide) \
    fold_bundle(rows, centroids, j, i_begin, i_end, 4, is_double, is_wide, nearest)
        WITH_CONSTANT_BUNDLE(rows, groups_of(k, j), FOLD)
    }
    for (int64_t i = i_begin; i < i_end; i++) {
        const sparse_nearest found = nearest[i - i_begin];
        labels[i - i_begin] = found.index;
        if (!recheck || k == 1) continue;
        const double margin = sparse_margin(rows, centroids, i, found.best);
        if (found.second - found.best > margin) continue;
        labels[i - i_begin] = sparse_exact_label(rows, centroids, i, found.best, margin, scratch);
        n_exact++;
    }
    return n_exact;
}

/* ---- distances ------------------------------------------------------------------------------ */

/* ||x - c||^2 is the sum over x's entries of (x_f - c_f)^2 and, over all other features, of c_f^2:
 * the latter is
 * ||c||^2 less the entries' part, both with their tails. Too little left to be right of it, and the
 * direct form decides. */
static FASTKM_INLINE double rest_of(double sq_norm, double sq_norm_tail, double high, double low) {
    double rest = sq_norm, tail = sq_norm_tail;
    add_with_tail(-high, &rest, &tail);
    return rest + (tail - low);
}

static FASTKM_INLINE int is_reliable(double rest, double sq_norm) {
    return rest >= 0x1p-30 * sq_norm;
}

static double sparse_own_sq_dist(const fastkm_sparse* rows,
                                 const fastkm_sparse_centroids* centroids, int64_t i, int32_t label,
                                 fastkm_sparse_scratch* scratch) {
    double dist;
    spread_row(rows, i, 1, scratch->row);
    dist = sq_dist(scratch->row, centroids->raw + label * rows->d, rows->d, rows->scale);
    clear_row(rows, i, scratch->row);
    return dist;
}

static double own_sq_dist_of(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                             int64_t i, int32_t j, fastkm_sparse_scratch* scratch) {
    const double scale = rows->scale;
    const double* raw = centroids->raw + j * rows->d;
    double sum = 0, high = 0, low = 0, rest;
#define ADD_ENTRIES(is_double, is_wide)                                                     \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) {                       \
        const double centre = raw[entry_column(rows, p, is_wide)], scaled = centre * scale; \
        const double difference = entry_value(rows, p, is_double) * scale - scaled;         \
        sum += difference * difference;                                                     \
        add_with_tail(scaled * scaled, &high, &low);                                        \
    }
    WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
    rest = rest_of(centroids->sq_norms[j], centroids->sq_norm_tails[j], high, low);
    return is_reliable(rest, centroids->sq_norms[j])
               ? sum + rest
               : sparse_own_sq_dist(rows, centroids, i, j, scratch);
}

static void sparse_own_sq_dists(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                                int64_t i_begin, int64_t i_end, const int32_t* labels,
                                fastkm_sparse_scratch* scratch, double* sq_dists_out) {
    for (int64_t i = i_begin; i < i_end; i++)
        sq_dists_out[i - i_begin] = own_sq_dist_of(rows, centroids, i, labels[i], scratch);
}

static FASTKM_INLINE void bundle_parts(const fastkm_sparse* rows, int64_t i, const double* bundle,
                                       const int n_groups, const int is_double, const int is_wide,
                                       double* sums, double* highs, double* lows) {
    const int n_vectors = n_groups * GROUP_VECTORS;
    vd sum[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS], high[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS];
    vd low[FASTKM_BUNDLE_GROUPS * GROUP_VECTORS];
    for (int v = 0; v < n_vectors; v++) sum[v] = high[v] = low[v] = vd_set1(0);
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) {
        const vd x = vd_set1(entry_value(rows, p, is_double) * rows->scale);
        const double* centres =
            bundle + entry_column(rows, p, is_wide) * (n_groups * FASTKM_EXACT_LANES);
        for (int v = 0; v < n_vectors; v++) {
            const vd c = vd_load(centres + v * DOUBLE_LANES), difference = vd_sub(x, c);
            sum[v] = vd_add(sum[v], vd_mul(difference, difference));
            vd_add_with_tail(vd_mul(c, c), &high[v], &low[v]);
        }
    }
    for (int v = 0; v < n_vectors; v++) {
        vd_store(sums + v * DOUBLE_LANES, sum[v]);
        vd_store(highs + v * DOUBLE_LANES, high[v]);
        vd_store(lows + v * DOUBLE_LANES, low[v]);
    }
}

static void sparse_sq_dists(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                            int64_t i, fastkm_sparse_scratch* scratch) {
    const int64_t k = centroids->k;
    double sums[FASTKM_BUNDLE_CENTROIDS], highs[FASTKM_BUNDLE_CENTROIDS],
        lows[FASTKM_BUNDLE_CENTROIDS];
    double direct[FASTKM_BUNDLE_CENTROIDS];
    for (int64_t j_bundle = 0; j_bundle < k; j_bundle += FASTKM_BUNDLE_CENTROIDS) {
        const double* bundle = centroids->bundles + j_bundle * centroids->d;
        const int64_t j_end = FASTKM_MIN(j_bundle + FASTKM_BUNDLE_CENTROIDS, k);
        int has_direct = 0;
#define PARTS_1(is_double, is_wide) \
    bundle_parts(rows, i, bundle, 1, is_double, is_wide, sums, highs, lows)
#define PARTS_2(is_double, is_wide) \
    bundle_parts(rows, i, bundle, 2, is_double, is_wide, sums, highs, lows)
#define PARTS_3(is_double, is_wide) \
    bundle_parts(rows, i, bundle, 3, is_double, is_wide, sums, highs, lows)
#define PARTS_4(is_double, is_wide) \
    bundle_parts(rows, i, bundle, 4, is_double, is_wide, sums, highs, lows)
        WITH_CONSTANT_BUNDLE(rows, groups_of(k, j_bundle), PARTS)
        for (int64_t j = j_bundle; j < j_end; j++) {
            const int64_t lane = j - j_bundle;
            const double rest = rest_of(centroids->sq_norms[j], centroids->sq_norm_tails[j],
                                        highs[lane], lows[lane]);
            scratch->dists[j] = sums[lane] + rest;
            if (is_reliable(rest, centroids->sq_norms[j])) continue;
            if (!has_direct) {
                spread_row(rows, i, rows->scale, scratch->row);
                direct_dists(scratch->row, centroids, j_bundle, direct);
                clear_row(rows, i, scratch->row);
                has_direct = 1;
            }
            scratch->dists[j] = direct[lane];
        }
    }
}
