/* Exact sums. Adding 1.5 x 2^52 to a double below 2^51 leaves its nearest integer in the low bits;
 * the offset that the bits carry is taken off once, count times, when the mean is formed. Two such
 * limbs hold every bit of a value down to 2^-80 or so of its feature's largest. Integer addition is
 * exact, so neither the order of rows nor adding and removing them again leaves a trace. */

static FASTKM_INLINE uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* Features between two requests to memory: of fewer, compilers unroll the loop and use no vectors.
 */
#define FEATURES_SUMMED 64

/* Adds features [f, f_end) of a dense row's high limbs to a label's sum, or takes them off; the
 * product is by a power of two and so exact. Returns bits of what that leaves: none for most
 * integers and float32. */
static FASTKM_INLINE uint64_t add_high_features(const char* row, const int is_single, int64_t f,
                                                int64_t f_end, const double* FASTKM_RESTRICT scale,
                                                uint64_t* FASTKM_RESTRICT sum, const int is_added) {
    uint64_t left = 0;
    for (; f < f_end; f++) {
        const double product = load_double(row, f, is_single) * scale[f];
        const double rounded = product + FASTKM_ROUNDING_OFFSET;
        left |= bits_of(product - (rounded - FASTKM_ROUNDING_OFFSET));
        sum[f] = is_added ? sum[f] + bits_of(rounded) : sum[f] - bits_of(rounded);
    }
    return left;
}

/* Whether there are low limbs too. Memory sends the bytes from `ahead` on meanwhile. */
static FASTKM_INLINE int add_high_limbs(const char* row, const int is_single, int64_t d,
                                        const char* ahead, const fastkm_sums* sums, int64_t j,
                                        const int is_added) {
    const int64_t bytes = FEATURES_SUMMED * (is_single ? 4 : 8);
    uint64_t* sum = sums->sums + j * d;
    uint64_t left = 0;
    int64_t f = 0;
    for (; f + FEATURES_SUMMED <= d; f += FEATURES_SUMMED, ahead += bytes) {
        for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES) prefetch(ahead + byte);
        left |=
            add_high_features(row, is_single, f, f + FEATURES_SUMMED, sums->scale, sum, is_added);
    }
    left |= add_high_features(row, is_single, f, d, sums->scale, sum, is_added);
    return left != 0;
}

/* The remainder is exact, as a difference of neighbours. */
static FASTKM_INLINE void add_low_limbs(const char* row, const int is_single, int64_t d,
                                        const fastkm_sums* sums, int64_t j, const int is_added) {
    const double* FASTKM_RESTRICT scale = sums->scale;
    const double low_scale = sums->low_scale;
    uint64_t* FASTKM_RESTRICT sum = sums->low_sums + j * d;
    for (int64_t f = 0; f < d; f++) {
        const double product = load_double(row, f, is_single) * scale[f];
        const double remainder =
            product - ((product + FASTKM_ROUNDING_OFFSET) - FASTKM_ROUNDING_OFFSET);
        const uint64_t low = bits_of(remainder * low_scale + FASTKM_ROUNDING_OFFSET) -
                             bits_of(FASTKM_ROUNDING_OFFSET);
        sum[f] = is_added ? sum[f] + low : sum[f] - low;
    }
}

static FASTKM_INLINE void add_limbs(const char* row, const int is_single, int64_t d,
                                    const char* ahead, const fastkm_sums* sums, int64_t j,
                                    const int is_added) {
    if (add_high_limbs(row, is_single, d, ahead, sums, j, is_added))
        add_low_limbs(row, is_single, d, sums, j, is_added);
    sums->counts[j] += is_added ? 1 : -1;
}

static FASTKM_INLINE int is_owned(const fastkm_sums* sums, int32_t j) {
    return j >= sums->j_begin && j < sums->j_end;
}

/* The next row from i on that enters or leaves one of the sums; counts those that change labels. */
static int64_t next_moved(int64_t i, int64_t i_end, const int32_t* labels_old,
                          const int32_t* labels, const fastkm_sums* sums, int64_t* n_changed) {
    for (; i < i_end; i++) {
        if (labels_old[i] == labels[i]) continue;
        ++*n_changed;
        if (is_owned(sums, labels_old[i]) || is_owned(sums, labels[i])) break;
    }
    return i;
}

static int64_t accumulate(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                          const int32_t* labels_old, const int32_t* labels, fastkm_scratch* scratch,
                          const fastkm_sums* sums) {
    const int64_t d = points->d;
    const int is_direct = is_dense_float(points), is_single = points->dtype == FASTKM_F32;
    int64_t n_changed = 0;
    int64_t ahead = next_moved(i_begin, i_end, labels_old, labels, sums, &n_changed);
    while (ahead < i_end) {
        const int64_t i = ahead;
        const int adds = is_owned(sums, labels[i]), removes = is_owned(sums, labels_old[i]);
        const char* row = points->base + i * points->row_stride;
        ahead = next_moved(i + 1, i_end, labels_old, labels, sums, &n_changed);
        const char* next = points->base + FASTKM_MIN(ahead, i_end - 1) * points->row_stride;
        if (!is_direct) {
            load_row(points, i, scratch->row);
            row = (const char*)scratch->row;
        }
        if (is_direct && is_single) {
            if (adds) add_limbs(row, 1, d, next, sums, labels[i], 1);
            if (removes) add_limbs(row, 1, d, next, sums, labels_old[i], 0);
        } else {
            if (adds) add_limbs(row, 0, d, next, sums, labels[i], 1);
            if (removes) add_limbs(row, 0, d, next, sums, labels_old[i], 0);
        }
    }
    return n_changed;
}

static FASTKM_INLINE int64_t as_signed(uint64_t bits) {
    int64_t value;
    memcpy(&value, &bits, 8);
    return value;
}

/* The sum as an unevaluated pair of doubles, then one step of division with its exact remainder. */
static FASTKM_INLINE double mean_of(int64_t high, int64_t low, double count, double low_unit) {
    const double upper = (double)(high >> 32) * 0x1p32;
    const double lower = (double)(high & 0xffffffff) + (double)low * low_unit;
    const double tail_of_lower = ((double)(high & 0xffffffff) - lower) + (double)low * low_unit;
    const double total = upper + lower;
    const double shadow = total - upper;
    const double tail = ((upper - (total - shadow)) + (lower - shadow)) + tail_of_lower;
    const double quotient = total / count;
    return quotient + (fma(-quotient, count, total) + tail) / count;
}

/* Each of a centroid's rows has left offset_per_row in its sums. */
static FASTKM_INLINE void means_above(const fastkm_sums* sums, int64_t d, int64_t j_begin,
                                      int64_t j_end, const uint64_t offset_per_row,
                                      double* centroids) {
    const double low_unit = 1 / sums->low_scale;
    for (int64_t j = j_begin; j < j_end; j++) {
        const int64_t count = sums->counts[j];
        const uint64_t offset = (uint64_t)count * offset_per_row;
        if (count <= 0) continue;
        for (int64_t f = 0; f < d; f++) {
            const int64_t high = as_signed(sums->sums[j * d + f] - offset);
            const int64_t low = as_signed(sums->low_sums[j * d + f]);
            centroids[j * d + f] = mean_of(high, low, (double)count, low_unit) / sums->scale[f];
        }
    }
}

static void means(const fastkm_sums* sums, int64_t d, int64_t j_begin, int64_t j_end,
                  double* centroids) {
    means_above(sums, d, j_begin, j_end, bits_of(FASTKM_ROUNDING_OFFSET), centroids);
}

/* Sums under weights, in float64. These round, so their order is fixed: one thread owns a centroid
 * and meets its rows in ascending order. */
static void accumulate_weighted(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                                const int32_t* labels, const double* weights,
                                fastkm_scratch* scratch, const fastkm_weighted_sums* sums) {
    const int64_t d = points->d;
    const double* FASTKM_RESTRICT shift = sums->shift;
    const double* FASTKM_RESTRICT row = scratch->row;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t j = labels[i];
        const double weight = weights[i];
        if (j < sums->j_begin || j >= sums->j_end || weight == 0) continue;
        double* FASTKM_RESTRICT sum = sums->sums + j * d;
        load_row(points, i, scratch->row);
        for (int64_t f = 0; f < d; f++) sum[f] += weight * (row[f] - shift[f]);
        sums->weights[j] += weight;
    }
}
