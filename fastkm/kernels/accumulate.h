/* Exact sums. Adding 1.5 x 2^52 to a double below 2^51 leaves its nearest integer in the low bits;
 * the offset that the bits carry is taken off once, count times, when the mean is formed. Two such
 * limbs hold every bit of a value down to 2^-80 or so of its feature's largest. Integer addition is
 * exact, so neither the order of rows nor adding and removing them again leaves a trace. */

static FASTKM_INLINE uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* Both products are by powers of two and so exact; the remainder is too, as a difference of
 * neighbours. Returns whether there is a low limb at all: mostly there is none for integers and
 * float32. */
static int to_limbs(const double* FASTKM_RESTRICT row, int64_t d, const fastkm_sums* sums,
                    uint64_t* FASTKM_RESTRICT limbs) {
    const double* FASTKM_RESTRICT scale = sums->scale;
    uint64_t* FASTKM_RESTRICT low = limbs + d;
    uint64_t any = 0;
    for (int64_t f = 0; f < d; f++) {
        const double product = row[f] * scale[f];
        const double rounded = product + FASTKM_ROUNDING_OFFSET;
        const double remainder = product - (rounded - FASTKM_ROUNDING_OFFSET);
        limbs[f] = bits_of(rounded);
        low[f] = bits_of(remainder * sums->low_scale + FASTKM_ROUNDING_OFFSET) -
                 bits_of(FASTKM_ROUNDING_OFFSET);
        any |= low[f];
    }
    return any != 0;
}

static FASTKM_INLINE void add_limbs(const uint64_t* FASTKM_RESTRICT limbs, int64_t d,
                                    uint64_t* FASTKM_RESTRICT sum) {
    for (int64_t f = 0; f < d; f++) sum[f] += limbs[f];
}

static FASTKM_INLINE void remove_limbs(const uint64_t* FASTKM_RESTRICT limbs, int64_t d,
                                       uint64_t* FASTKM_RESTRICT sum) {
    for (int64_t f = 0; f < d; f++) sum[f] -= limbs[f];
}

static int64_t accumulate(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                          const int32_t* labels_old, const int32_t* labels, fastkm_scratch* scratch,
                          const fastkm_sums* sums) {
    const int64_t d = points->d;
    const uint64_t* limbs = scratch->limbs;
    int64_t n_changed = 0;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t from = labels_old[i], to = labels[i];
        if (from == to) continue;
        n_changed++;
        const int adds = to >= sums->j_begin && to < sums->j_end;
        const int removes = from >= sums->j_begin && from < sums->j_end;
        if (!adds && !removes) continue;
        load_row(points, i, scratch->row);
        const int has_low = to_limbs(scratch->row, d, sums, scratch->limbs);
        if (adds) {
            add_limbs(limbs, d, sums->sums + to * d);
            if (has_low) add_limbs(limbs + d, d, sums->low_sums + to * d);
            sums->counts[to]++;
        }
        if (removes) {
            remove_limbs(limbs, d, sums->sums + from * d);
            if (has_low) remove_limbs(limbs + d, d, sums->low_sums + from * d);
            sums->counts[from]--;
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
