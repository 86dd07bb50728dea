/* Moments of the columns: one pass before a fit, for centring, scaling, the tolerance and the check for NaN. */

static void describe(const fastkm_points* points, int64_t i_begin, int64_t i_end, fastkm_scratch* scratch,
                     const fastkm_moments* moments) {
    const int64_t d = points->d;
    const double* FASTKM_RESTRICT row = scratch->row;
    const double* FASTKM_RESTRICT origin = moments->origin;
    double* FASTKM_RESTRICT sum = moments->sum;
    double* FASTKM_RESTRICT sum_sq = moments->sum_sq;
    double* FASTKM_RESTRICT min = moments->min;
    double* FASTKM_RESTRICT max = moments->max;
    double* FASTKM_RESTRICT nonfinite = moments->nonfinite;
    for (int64_t i = i_begin; i < i_end; i++) {
        load_row(points, i, scratch->row);
        for (int64_t f = 0; f < d; f++) {
            const double x = row[f], difference = x - origin[f];
            sum[f] += difference;
            sum_sq[f] += difference * difference;
            min[f] = x < min[f] ? x : min[f];
            max[f] = x > max[f] ? x : max[f];
            nonfinite[f] += x * 0;
        }
    }
}
