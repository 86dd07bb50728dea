/* Mini-batches: rows gathered from anywhere, and centroids that learn from them. */

static int64_t item_size(int32_t dtype) {
    switch (dtype) {
    case FASTKM_I8:
    case FASTKM_U8:
        return 1;
    case FASTKM_F16:
    case FASTKM_I16:
    case FASTKM_U16:
        return 2;
    case FASTKM_F32:
    case FASTKM_I32:
    case FASTKM_U32:
        return 4;
    default:
        return 8;
    }
}

/* While one row is copied, memory already sends the next. */
static void gather(const fastkm_points* points, const int64_t* rows, int64_t n_rows, char* out) {
    const int64_t size = item_size(points->dtype), d = points->d;
    for (int64_t r = 0; r < n_rows; r++, out += d * size) {
        const char* source = points->base + rows[r] * points->row_stride;
        if (points->col_stride == size) {
            if (r + 1 < n_rows) {
                const char* next = points->base + rows[r + 1] * points->row_stride;
                for (int64_t byte = 0; byte < d * size; byte += LINE_BYTES) prefetch(next + byte);
            }
            memcpy(out, source, (size_t)(d * size));
        } else {
            for (int64_t f = 0; f < d; f++)
                memcpy(out + f * size, source + f * points->col_stride, (size_t)size);
        }
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
        const double count = lesson->counts[j];
        double learnt = 0;
        for (int64_t f = 0; f < d; f++) moved[f] = centroid[f] * (count * scale);
        for (int64_t r = lesson->begins[j]; r < lesson->begins[j + 1]; r++) {
            const int64_t i = lesson->rows[r];
            const double weight = lesson->weights ? lesson->weights[i] : 1;
            load_row(points, i, scratch->row);
            lesson->sq_dists[i] = sq_dist(row, centroid, d, scale);
            for (int64_t f = 0; f < d; f++) moved[f] += row[f] * (weight * scale);
            learnt += weight;
        }
        lesson->moved_counts[j] = count + learnt;
        if (learnt > 0) {
            const double share = 1 / ((count + learnt) * scale);
            for (int64_t f = 0; f < d; f++) moved[f] *= share;
        } else {
            memcpy(moved, centroid, (size_t)d * sizeof *moved);
        }
    }
}
