/* Exact sums. A value v of a feature becomes the integer nearest to v 2^e: adding 1.5 x 2^52 leaves it in the low bits
 * of the double, and the offset that its bits carry is taken off once, count times, when the mean is formed. Integer
 * addition is exact, so neither the order of rows nor adding and removing them again leaves a trace. */

static int64_t accumulate(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                          const int32_t* labels_old, const int32_t* labels, fastkm_scratch* scratch,
                          const fastkm_sums* sums) {
    const int64_t d = points->d;
    const double* FASTKM_RESTRICT shift = sums->shift;
    const double* FASTKM_RESTRICT scale = sums->scale;
    const double* FASTKM_RESTRICT row = scratch->row;
    int64_t n_changed = 0;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int32_t from = labels_old[i], to = labels[i];
        if (from == to) continue;
        n_changed++;
        const int adds = to >= sums->j_begin && to < sums->j_end;
        const int removes = from >= sums->j_begin && from < sums->j_end;
        if (!adds && !removes) continue;
        load_row(points, i, scratch->row);
        if (adds) {
            uint64_t* FASTKM_RESTRICT sum = sums->sums + to * d;
            for (int64_t f = 0; f < d; f++) {
                const double rounded = (row[f] - shift[f]) * scale[f] + FASTKM_ROUNDING_OFFSET;
                uint64_t bits;
                memcpy(&bits, &rounded, 8);
                sum[f] += bits;
            }
            sums->counts[to]++;
        }
        if (removes) {
            uint64_t* FASTKM_RESTRICT sum = sums->sums + from * d;
            for (int64_t f = 0; f < d; f++) {
                const double rounded = (row[f] - shift[f]) * scale[f] + FASTKM_ROUNDING_OFFSET;
                uint64_t bits;
                memcpy(&bits, &rounded, 8);
                sum[f] -= bits;
            }
            sums->counts[from]--;
        }
    }
    return n_changed;
}

/* Sums under weights, in float64. These round, so their order is fixed: one thread owns a centroid and meets its rows
 * in ascending order. */
static void accumulate_weighted(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                                const int32_t* labels, const double* weights, fastkm_scratch* scratch,
                                const fastkm_weighted_sums* sums) {
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
