/* Sums and moments of CSR rows. */

/* The limbs of accumulate.h, without the offset that a dense row leaves in the sum of every
 * feature, zeros included. */
static FASTKM_INLINE void add_entry_limbs(const fastkm_sums* sums, double x, int64_t f, int64_t to,
                                          int64_t from) {
    const double product = x * sums->scale[f];
    const double rounded = product + FASTKM_ROUNDING_OFFSET;
    const double remainder = product - (rounded - FASTKM_ROUNDING_OFFSET);
    const uint64_t high = bits_of(rounded) - bits_of(FASTKM_ROUNDING_OFFSET);
    if (to >= 0) sums->sums[to + f] += high;
    if (from >= 0) sums->sums[from + f] -= high;
    if (remainder != 0) {
        const uint64_t low = bits_of(remainder * sums->low_scale + FASTKM_ROUNDING_OFFSET) -
                             bits_of(FASTKM_ROUNDING_OFFSET);
        if (to >= 0) sums->low_sums[to + f] += low;
        if (from >= 0) sums->low_sums[from + f] -= low;
    }
}

static int64_t sparse_accumulate(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end,
                                 const int32_t* labels_old, const int32_t* labels,
                                 const fastkm_sums* sums) {
    const int64_t d = rows->d;
    int64_t n_changed = 0;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t from = labels_old[i], to = labels[i];
        if (from == to) continue;
        n_changed++;
        const int adds = to >= sums->j_begin && to < sums->j_end;
        const int removes = from >= sums->j_begin && from < sums->j_end;
        if (!adds && !removes) continue;
        const int64_t to_row = adds ? to * d : -1, from_row = removes ? from * d : -1;
#define ADD_ENTRIES(is_double, is_wide)                                                        \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++)                            \
        add_entry_limbs(sums, entry_value(rows, p, is_double), entry_column(rows, p, is_wide), \
                        to_row, from_row);
        WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
        if (adds) sums->counts[to]++;
        if (removes) sums->counts[from]--;
    }
    return n_changed;
}

static void sparse_means(const fastkm_sums* sums, int64_t d, int64_t j_begin, int64_t j_end,
                         double* centroids) {
    means_above(sums, d, j_begin, j_end, 0, centroids);
}

static void sparse_accumulate_weighted(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end,
                                       const int32_t* labels, const double* weights,
                                       const fastkm_weighted_sums* sums) {
    const double scale = sums->scale;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t j = labels[i];
        const double weight = weights[i];
        if (j < sums->j_begin || j >= sums->j_end || weight == 0) continue;
        double* sum = sums->sums + j * rows->d;
#define ADD_ENTRIES(is_double, is_wide)                             \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) \
        sum[entry_column(rows, p, is_wide)] += weight * (entry_value(rows, p, is_double) * scale);
        WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
        sums->weights[j] += weight;
    }
}

static void sparse_describe(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end,
                            int64_t* counts, const fastkm_moments* moments) {
    const int64_t d = rows->d;
    for (int64_t f = 0; f < d; f++) {
        counts[f] = 0;
        moments->sum[f] = moments->sum_sq[f] = 0;
        moments->min[f] = INFINITY;
        moments->max[f] = -INFINITY;
    }
#define ADD_ENTRIES(is_double, is_wide)                                                        \
    for (int64_t p = rows->starts[i_begin]; p < rows->starts[i_end]; p++) {                    \
        const int64_t f = entry_column(rows, p, is_wide);                                      \
        const double x = entry_value(rows, p, is_double), difference = x - moments->origin[f]; \
        counts[f]++;                                                                           \
        moments->sum[f] += difference;                                                         \
        moments->sum_sq[f] += difference * difference;                                         \
        moments->min[f] = x < moments->min[f] ? x : moments->min[f];                           \
        moments->max[f] = x > moments->max[f] ? x : moments->max[f];                           \
    }
    WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
    for (int64_t f = 0; f < d; f++) {
        const double n_zeros = (double)(i_end - i_begin - counts[f]), origin = moments->origin[f];
        if (n_zeros == 0) continue;
        moments->sum[f] -= n_zeros * origin;
        moments->sum_sq[f] += n_zeros * (origin * origin);
        moments->min[f] = FASTKM_MIN(moments->min[f], 0);
        moments->max[f] = FASTKM_MAX(moments->max[f], 0);
    }
}
