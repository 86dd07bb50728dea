/* Greedy k-means++ on CSR rows. Gains from products are right to a bound that comes with them:
 * mostly that decides which candidate is best, and only the accepted one's distances are computed
 * in the direct form. These have the bits of propose.h: a feature that is zero in both rows adds
 * zero to its partial sum, so walking the union of two rows' columns gives what all features give.
 */

static FASTKM_INLINE double union_sq_dist(const fastkm_sparse* rows, int64_t i,
                                          const fastkm_sparse_centroids* candidates, int64_t j,
                                          const int is_double, const int is_wide) {
    const double* raw = candidates->raw + j * rows->d;
    const int32_t* columns = candidates->columns + j * rows->d;
    const int64_t p_end = rows->starts[i + 1], q_end = candidates->n_columns[j];
    const double scale = rows->scale;
    int64_t p = rows->starts[i], q = 0;
    double partial[PARTIAL_SUMS] = {0};
    while (p < p_end && q < q_end) {
        const int64_t of_row = entry_column(rows, p, is_wide), of_candidate = columns[q];
        const int64_t f = FASTKM_MIN(of_row, of_candidate);
        /* No branch, which could not be predicted: the row's value, or zero where it has none at f.
         */
        uint64_t x_bits = bits_of(entry_value(rows, p, is_double)) & (0 - (uint64_t)(of_row == f));
        double x, difference;
        memcpy(&x, &x_bits, 8);
        difference = x * scale - raw[f] * scale;
        partial[(uint64_t)f % PARTIAL_SUMS] += difference * difference;
        p += of_row == f;
        q += of_candidate == f;
    }
    for (; p < p_end; p++) {
        const double difference = entry_value(rows, p, is_double) * scale;
        partial[entry_column(rows, p, is_wide) % PARTIAL_SUMS] += difference * difference;
    }
    for (; q < q_end; q++) {
        const double difference = raw[columns[q]] * scale;
        partial[columns[q] % PARTIAL_SUMS] += difference * difference;
    }
    for (int half = PARTIAL_SUMS / 2; half > 0; half /= 2)
        for (int s = 0; s < half; s++) partial[s] += partial[s + half];
    return partial[0];
}

static double candidate_sq_dist(const fastkm_sparse* rows, int64_t i,
                                const fastkm_sparse_centroids* candidates, int64_t j) {
    double dist;
#define DIST(is_double, is_wide) dist = union_sq_dist(rows, i, candidates, j, is_double, is_wide)
    WITH_CONSTANT_FORMAT(rows, DIST)
#undef DIST
    return dist;
}

static void sparse_propose(const fastkm_sparse* rows, const fastkm_sparse_centroids* candidates,
                           int64_t i_begin, int64_t i_end, const double* closest,
                           const double* weights, int exactly, fastkm_sparse_scratch* scratch,
                           uint32_t* masks, double* gains, double* errors) {
    const int64_t k = candidates->k;
    for (int64_t j = 0; j < k; j++) gains[j] = errors[j] = 0;
    for (int64_t i = i_begin; i < i_end; i++) {
        const int64_t n_entries = rows->starts[i + 1] - rows->starts[i];
        const double sq_norm = rows->sq_norms[i], norm = sqrt(sq_norm) * 1.001;
        uint32_t nearer = 0;
        row_offsets(rows, candidates, i, scratch->dists);
        for (int64_t j = 0; j < k; j++) {
            const double radius = sqrt(candidates->sq_norms[j]) * 1.001;
            const double error = 2 * (sparse_bound_at(n_entries, rows->d, norm, radius) +
                                      norm * norm * (double)(n_entries + 8) * 0x1p-53);
            const double weight = weights ? weights[i] : 1;
            double dist = scratch->dists[j] + sq_norm;
            if (dist - error > closest[i]) continue;
            if (exactly) dist = candidate_sq_dist(rows, i, candidates, j);
            if (exactly && !(dist < closest[i])) continue;
            gains[j] += weight * (closest[i] - dist);
            errors[j] += weight * error;
            nearer |= 1u << j;
        }
        masks[i] = nearer;
    }
}

static void sparse_accept(const fastkm_sparse* rows, const fastkm_sparse_centroids* candidates,
                          int64_t i_begin, int64_t i_end, int64_t accepted, const uint32_t* masks,
                          double* closest) {
    for (int64_t i = i_begin; i < i_end; i++)
        if (masks[i] >> accepted & 1) {
            const double dist = candidate_sq_dist(rows, i, candidates, accepted);
            closest[i] = dist < closest[i] ? dist : closest[i];
        }
}
