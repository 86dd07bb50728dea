/* Exact sums. Adding 1.5 x 2^52 to a double below 2^51 leaves its nearest integer in the low bits;
 * the offset that the bits carry is taken off once, count times, when the mean is formed. Two such
 * limbs hold every bit of a value down to 2^-80 or so of its feature's largest. Integer addition is
 * exact, so neither the order of rows nor adding and removing them again leaves a trace. */

static FASTKM_INLINE uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* Features whose limbs are looked at together: of fewer, compilers unroll the loop and use no
 * vectors. */
#define FEATURES_SUMMED 64

/* Adds features [f, f_end) of a dense row's high limbs to `to` and takes them off `from`, as far as
 * these are asked for; the product is by a power of two and so exact. Returns bits of what that
 * leaves: none for most integers and float32. */
static FASTKM_INLINE uint64_t move_high_limbs(const char* row, const int32_t dtype, int64_t f,
                                              int64_t f_end, const double* FASTKM_RESTRICT scale,
                                              uint64_t* FASTKM_RESTRICT to, const int adds,
                                              uint64_t* FASTKM_RESTRICT from, const int removes) {
    uint64_t left = 0;
    for (; f < f_end; f++) {
        const double product = load_double(row, f, dtype) * scale[f];
        const double rounded = product + FASTKM_ROUNDING_OFFSET;
        left |= bits_of(product - (rounded - FASTKM_ROUNDING_OFFSET));
        if (adds) to[f] += bits_of(rounded);
        if (removes) from[f] -= bits_of(rounded);
    }
    return left;
}

/* The remainder is exact, as a difference of neighbours. */
static FASTKM_INLINE void move_low_limbs(const char* row, const int32_t dtype, int64_t f,
                                         int64_t f_end, const double* FASTKM_RESTRICT scale,
                                         double low_scale, uint64_t* FASTKM_RESTRICT to,
                                         const int adds, uint64_t* FASTKM_RESTRICT from,
                                         const int removes) {
    for (; f < f_end; f++) {
        const double product = load_double(row, f, dtype) * scale[f];
        const double remainder =
            product - ((product + FASTKM_ROUNDING_OFFSET) - FASTKM_ROUNDING_OFFSET);
        const uint64_t low = bits_of(remainder * low_scale + FASTKM_ROUNDING_OFFSET) -
                             bits_of(FASTKM_ROUNDING_OFFSET);
        if (adds) to[f] += low;
        if (removes) from[f] -= low;
    }
}

/* Adds a row to label j_to's sums and takes it off those of j_from, as far as these are asked for.
 * Memory sends the bytes from `ahead` on meanwhile. */
static FASTKM_INLINE void move_limbs(const char* row, const int32_t dtype, int64_t d,
                                     const char* ahead, const fastkm_sums* sums, int64_t j_to,
                                     const int adds, int64_t j_from, const int removes) {
    const int64_t to = adds ? j_to * d : 0, from = removes ? j_from * d : 0;
    const int64_t bytes = FEATURES_SUMMED * item_size(dtype);
    for (int64_t f = 0; f < d; f += FEATURES_SUMMED, ahead += bytes) {
#define MOVE(f_end)                                                                             \
    if (move_high_limbs(row, dtype, f, f_end, sums->scale, sums->sums + to, adds,               \
                        sums->sums + from, removes))                                            \
        move_low_limbs(row, dtype, f, f_end, sums->scale, sums->low_scale, sums->low_sums + to, \
                       adds, sums->low_sums + from, removes);
        if (f + FEATURES_SUMMED <= d) {
            for (int64_t byte = 0; byte < bytes; byte += LINE_BYTES) prefetch(ahead + byte);
            MOVE(f + FEATURES_SUMMED)
        } else {
            MOVE(d)
        }
#undef MOVE
    }
    if (adds) sums->counts[j_to]++;
    if (removes) sums->counts[j_from]--;
}

static FASTKM_INLINE int is_owned(const fastkm_sums* sums, int32_t j) {
    return j >= sums->j_begin && j < sums->j_end;
}

/* The r-th of the rows: without a list, row r. */
static FASTKM_INLINE int64_t row_at(const int32_t* rows, int64_t r) {
    return rows ? rows[r] : r;
}

/* The place of the next row from place r on that enters or leaves one of the sums; counts those
 * that change labels. */
static FASTKM_INLINE int64_t next_moved(const int32_t* rows, int64_t r, int64_t r_end,
                                        const int32_t* labels_old, const int32_t* labels,
                                        const fastkm_sums* sums, int64_t* n_changed) {
    for (; r < r_end; r++) {
        const int64_t i = row_at(rows, r);
        if (labels_old[i] == labels[i]) continue;
        ++*n_changed;
        if (is_owned(sums, labels_old[i]) || is_owned(sums, labels[i])) break;
    }
    return r;
}

static FASTKM_INLINE int64_t accumulate_rows_of(const fastkm_points* points, const int64_t d,
                                                const int32_t* rows, int64_t r_begin, int64_t r_end,
                                                const int32_t* labels_old, const int32_t* labels,
                                                fastkm_scratch* scratch, const fastkm_sums* sums) {
    const int is_direct = is_in_place(points);
    int64_t n_changed = 0;
    int64_t ahead = next_moved(rows, r_begin, r_end, labels_old, labels, sums, &n_changed);
    while (ahead < r_end) {
        const int64_t i = row_at(rows, ahead);
        const int32_t to = labels[i], from = labels_old[i];
        const int adds = is_owned(sums, to), removes = is_owned(sums, from);
        const char* row = points->base + i * points->row_stride;
        ahead = next_moved(rows, ahead + 1, r_end, labels_old, labels, sums, &n_changed);
        const int64_t i_ahead = row_at(rows, FASTKM_MIN(ahead, r_end - 1));
        const char* next = points->base + i_ahead * points->row_stride;
        if (!is_direct) {
            load_row(points, i, scratch->row);
            row = (const char*)scratch->row;
        }
#define MOVE(dtype)                                            \
    if (adds && removes)                                       \
        move_limbs(row, dtype, d, next, sums, to, 1, from, 1); \
    else if (adds)                                             \
        move_limbs(row, dtype, d, next, sums, to, 1, from, 0); \
    else                                                       \
        move_limbs(row, dtype, d, next, sums, to, 0, from, 1)
        WITH_CONSTANT_DTYPE(is_direct ? points->dtype : FASTKM_F64, MOVE)
#undef MOVE
    }
    return n_changed;
}

static FASTKM_INLINE int64_t accumulate_rows(const fastkm_points* points, const int32_t* rows,
                                             int64_t r_begin, int64_t r_end,
                                             const int32_t* labels_old, const int32_t* labels,
                                             fastkm_scratch* scratch, const fastkm_sums* sums) {
#define ACCUMULATE(d) \
    return accumulate_rows_of(points, d, rows, r_begin, r_end, labels_old, labels, scratch, sums)
    if (points->d <= LOW_D) WITH_CONSTANT_D(points->d, ACCUMULATE)
    ACCUMULATE(points->d);
#undef ACCUMULATE
}

static int64_t accumulate(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                          const int32_t* labels_old, const int32_t* labels, fastkm_scratch* scratch,
                          const fastkm_sums* sums) {
    return accumulate_rows(points, NULL, i_begin, i_end, labels_old, labels, scratch, sums);
}

static int64_t accumulate_listed(const fastkm_points* points, const int32_t* rows, int64_t n_rows,
                                 const int32_t* labels_old, const int32_t* labels,
                                 fastkm_scratch* scratch, const fastkm_sums* sums) {
    return accumulate_rows(points, rows, 0, n_rows, labels_old, labels, scratch, sums);
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
    const double scale = sums->scale;
    const double* FASTKM_RESTRICT shift = sums->shift;
    const double* FASTKM_RESTRICT row = scratch->row;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t j = labels[i];
        const double weight = weights[i];
        if (j < sums->j_begin || j >= sums->j_end || weight == 0) continue;
        double* FASTKM_RESTRICT sum = sums->sums + j * d;
        load_row(points, i, scratch->row);
        for (int64_t f = 0; f < d; f++) sum[f] += weight * (row[f] * scale - shift[f]);
        sums->weights[j] += weight;
    }
}
