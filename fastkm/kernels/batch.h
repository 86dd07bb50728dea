/* Mini-batches: rows gathered from anywhere, and centroids that learn from them. */

/* While one row is copied, memory already sends the next. */
static void gather(const fastkm_points* points, const int64_t* rows, int64_t n_rows, char* out) {
    const int64_t size = item_size(points->dtype), d = points->d;
    for (int64_t r = 0; r < n_rows; r++, out += d * size) {
        const char* source = points->base + rows[r] * points->row_stride;
        if (points->col_stride == size) {
            if (r + 1 < n_rows) prefetch_row(points, rows[r + 1]);
            memcpy(out, source, (size_t)(d * size));
        } else {
            for (int64_t f = 0; f < d; f++)
                memcpy(out + f * size, source + f * points->col_stride, (size_t)size);
        }
    }
}

/* Adds row * weight to sum, and returns what sq_dist would: both read the row once. */
static double add_and_measure(const double* FASTKM_RESTRICT row,
                              const double* FASTKM_RESTRICT centroid, int64_t d, double scale,
                              double weight, double* FASTKM_RESTRICT sum) {
    const int64_t d_vector = d - d % PARTIAL_SUMS;
    const vd scale_vd = vd_set1(scale), weight_vd = vd_set1(weight);
    double partial[PARTIAL_SUMS];
    vd squares[PARTIAL_SUMS / DOUBLE_LANES];
    for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++) squares[v] = vd_set1(0);
    for (int64_t f = 0; f < d_vector; f += PARTIAL_SUMS)
        for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++) {
            const int64_t at = f + v * DOUBLE_LANES;
            const vd x = vd_load(row + at);
            const vd difference = scaled_difference(x, vd_load(centroid + at), scale_vd, 1);
            squares[v] = vd_add(squares[v], vd_mul(difference, difference));
            vd_store(sum + at, vd_add(vd_load(sum + at), vd_mul(x, weight_vd)));
        }
    for (int v = 0; v < PARTIAL_SUMS / DOUBLE_LANES; v++)
        vd_store(partial + v * DOUBLE_LANES, squares[v]);
    for (int64_t f = d_vector; f < d; f++) {
        const double difference = row[f] * scale - centroid[f] * scale;
        partial[f - d_vector] += difference * difference;
        sum[f] += row[f] * weight;
    }
    for (int half = PARTIAL_SUMS / 2; half > 0; half /= 2)
        for (int s = 0; s < half; s++) partial[s] += partial[s + half];
    return partial[0];
}

/* A centroid with rows to learn from starts as the sum of what it has learnt from, scaled. */
static void begin_lesson(const fastkm_lesson* lesson, int64_t j, int64_t d) {
    const double* FASTKM_RESTRICT centroid = lesson->centroids + j * d;
    double* FASTKM_RESTRICT moved = lesson->moved + j * d;
    const double factor = lesson->counts[j] * lesson->exact_scale;
    if (lesson->begins[j] == lesson->begins[j + 1]) return;
    for (int64_t f = 0; f < d; f++) moved[f] = centroid[f] * factor;
}

/* The sum becomes a mean; a centroid that has learnt nothing stays where it is. */
static void end_lesson(const fastkm_lesson* lesson, int64_t j, int64_t d, double learnt) {
    double* FASTKM_RESTRICT moved = lesson->moved + j * d;
    const double count = lesson->counts[j] + learnt;
    lesson->moved_counts[j] = count;
    if (learnt > 0) {
        const double share = 1 / (count * lesson->exact_scale);
        for (int64_t f = 0; f < d; f++) moved[f] *= share;
    } else {
        memcpy(moved, lesson->centroids + j * d, (size_t)d * sizeof *moved);
    }
}

/* Each centroid becomes the mean of all that it has learnt from. Its rows are added in the order in
 * which they are listed, one by one, so the result depends on nothing else; their distances are
 * taken on the way, from the centroid as it was. */
static void learn(const fastkm_points* points, const fastkm_lesson* lesson, int64_t j_begin,
                  int64_t j_end, fastkm_scratch* scratch) {
    const int64_t d = points->d;
    const double scale = lesson->exact_scale;
    const double* FASTKM_RESTRICT row = scratch->row;
    for (int64_t j = j_begin; j < j_end; j++) {
        const double* FASTKM_RESTRICT centroid = lesson->centroids + j * d;
        double* FASTKM_RESTRICT moved = lesson->moved + j * d;
        double learnt = 0;
        begin_lesson(lesson, j, d);
        for (int64_t r = lesson->begins[j]; r < lesson->begins[j + 1]; r++) {
            const int64_t i = lesson->rows[r];
            const double weight = lesson->weights ? lesson->weights[i] : 1;
            if (r + 1 < lesson->begins[j + 1]) prefetch_row(points, lesson->rows[r + 1]);
            load_row(points, i, scratch->row);
            lesson->sq_dists[i] = add_and_measure(row, centroid, d, scale, weight * scale, moved);
            learnt += weight;
        }
        end_lesson(lesson, j, d, learnt);
    }
}
