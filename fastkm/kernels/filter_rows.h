/* What the filter keeps of each row: its sketch, and how far outside of the basis it is. */

/* Sums that a vector or two can hold. */
#define SUMS_AT_ONCE 16

/* Squared distance of float32 coordinates and float64 ones. */
static double sq_dist_to(const float* y, const double* z, int64_t n) {
    double sums[SUMS_AT_ONCE] = {0}, total = 0;
    int64_t q = 0;
    for (; q + SUMS_AT_ONCE <= n; q += SUMS_AT_ONCE)
        for (int s = 0; s < SUMS_AT_ONCE; s++) {
            const double off = y[q + s] - z[q + s];
            sums[s] += off * off;
        }
    for (int s = 0; s < SUMS_AT_ONCE; s++) total += sums[s];
    for (; q < n; q++) total += (y[q] - z[q]) * (y[q] - z[q]);
    return total;
}

/* Keeps how far row i, which is sketched, is from its own centroid outside of the basis, at most:
 * sq_dist is measured, and off by at most sum_error of the distance for the additions. */
static void keep_own_rest(const fastkm_filter* filter, int64_t i, int32_t label, int64_t d,
                          float sq_dist, float sum_error) {
    const fastkm_centroid_sketches* centroids = &filter->centroids;
    const int64_t p = filter->p;
    const int32_t j = centroids->place[label], slot = filter->slots[i];
    const float* sketch = filter->sketches + slot * (p + 2);
    const float sketch_sum_error = 0x1p-22f, flushed = sqrtf((float)d) * 0x1p-61f;
    fastkm_row_bounds* bounds = filter->bounds + slot;
    /* Of the sketch, which is as long as the row but for its error. */
    const float norm = sqrtf(bounds->sq_norm) * 1.0001f + bounds->error;
    const float input_error =
        0x1.2p-23f * (norm + filter->max_norm * 1.0001f + filter->max_error) + flushed;
    const float dist = sqrtf(sq_dist);
    const float upper =
        dist < INFINITY ? dist + (input_error + sum_error * dist) * 1.0001f : INFINITY;
    const double sq_inside = sq_dist_to(sketch, centroids->inside + j * 2 * p, p);
    const double error = (double)bounds->error + centroids->errors[j];
    const double inside = (sqrt(sq_inside) * (1 - sketch_sum_error) - error) / filter->stretch;
    bounds->own_rest = before_drifts(outside_of(upper, inside * 0.99999), filter->drifts[j]);
}

static const float* framed_centroid(const fastkm_filter* filter, int32_t label, int64_t d) {
    return filter->centroids.framed + filter->centroids.place[label] * d;
}

static void measure_rows(const fastkm_points* points, const fastkm_frame* frame, int64_t i_begin,
                         int64_t i_end, const int32_t* labels, fastkm_scratch* scratch,
                         const fastkm_filter* filter) {
    const int64_t d = points->d;
    for (int64_t i = i_begin; i < i_end; i++) {
        centre_row(points, frame, i, scratch->panel);
        keep_own_rest(filter, i, labels[i], d,
                      sq_dist_f32(scratch->panel, framed_centroid(filter, labels[i], d), d),
                      sum_error_for(d));
    }
}

/* Sketches row by row, so that panels can be put together from any rows. */
static void sketch_rows(const fastkm_points* points, const fastkm_frame* frame,
                        const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                        const int32_t* labels, fastkm_scratch* scratch, float* panel,
                        const fastkm_filter* filter) {
    const int64_t d = points->d, p = basis->p, width = p + 2;
    const float* own[PANEL_ROWS];
    float sq_norms[PANEL_ROWS], errors[PANEL_ROWS], sq_dists[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        float *rests = panel + p * PANEL_ROWS, *tails = rests + PANEL_ROWS;
        for (int64_t r = 0; r < PANEL_ROWS; r++)
            own[r] = framed_centroid(filter, labels[i + FASTKM_MIN(r, n_rows - 1)], d);
        load_and_measure(points, frame, i, n_rows, own, scratch->panel, sq_norms, sq_dists);
        sketch_loaded(points, basis, i, scratch->panel, panel, sq_norms, errors);
        sum_squares(panel + filter->head * PANEL_ROWS, p - filter->head, tails);
        for (int64_t r = 0; r < PANEL_ROWS; r++) tails[r] = sqrtf(tails[r] + rests[r] * rests[r]);
        for (int64_t r_begin = 0; r_begin < n_rows; r_begin += LANES)
            for (int64_t q = 0; q < width; q += LANES)
                store_coordinates(panel + q * PANEL_ROWS + r_begin, FASTKM_MIN(width - q, LANES),
                                  filter->slots + i + r_begin, FASTKM_MIN(n_rows - r_begin, LANES),
                                  filter->sketches + q, width);
        for (int64_t r = 0; r < n_rows; r++) {
            fastkm_row_bounds* bounds = filter->bounds + filter->slots[i + r];
            bounds->sq_norm = sq_norms[r];
            bounds->error = errors[r];
            keep_own_rest(filter, i + r, labels[i + r], d, sq_dists[r], sum_error_of_loading(d));
        }
    }
}
