/* Mini-batches of CSR rows. The centroids get the bits of batch.h: a zero would add zero to each
 * sum, so only the entries are added, and O(d) is spent on a centroid, not on a row. */

/* Asks memory for a row's entries that are read soon. */
static void prefetch_entries(const fastkm_sparse* rows, int64_t i) {
    const int64_t value_size = rows->is_double ? 8 : 4, column_size = rows->is_wide ? 8 : 4;
    const int64_t begin = rows->starts[i], end = rows->starts[i + 1];
    for (int64_t byte = begin * value_size; byte < end * value_size; byte += LINE_BYTES)
        prefetch((const char*)rows->values + byte);
    for (int64_t byte = begin * column_size; byte < end * column_size; byte += LINE_BYTES)
        prefetch((const char*)rows->columns + byte);
}

static void sparse_gather(const fastkm_sparse* source, const fastkm_sparse_gathered* gathered,
                          int64_t i_begin, int64_t i_end) {
    const size_t size = source->is_double ? sizeof(double) : sizeof(float);
    for (int64_t i = i_begin; i < i_end; i++) {
        const int64_t from = source->starts[gathered->sources[i]], to = gathered->starts[i];
        const int64_t n_entries = gathered->starts[i + 1] - to;
        if (i + 1 < i_end) prefetch_entries(source, gathered->sources[i + 1]);
        memcpy((char*)gathered->values + (size_t)to * size,
               (const char*)source->values + (size_t)from * size, (size_t)n_entries * size);
        if (source->is_wide)
            for (int64_t p = 0; p < n_entries; p++)
                gathered->columns[to + p] = (int32_t)((const int64_t*)source->columns)[from + p];
        else
            memcpy(gathered->columns + to, (const int32_t*)source->columns + from,
                   (size_t)n_entries * sizeof(int32_t));
        gathered->sq_norms[i] = source->sq_norms[gathered->sources[i]];
    }
}

static void sparse_learn(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids,
                         const fastkm_lesson* lesson, int64_t j_begin, int64_t j_end,
                         fastkm_sparse_scratch* scratch) {
    const int64_t d = rows->d;
    const double scale = lesson->exact_scale;
    for (int64_t j = j_begin; j < j_end; j++) {
        double* FASTKM_RESTRICT moved = lesson->moved + j * d;
        double learnt = 0;
        begin_lesson(lesson, j, d);
        for (int64_t r = lesson->begins[j]; r < lesson->begins[j + 1]; r++) {
            const int64_t i = lesson->rows[r];
            const double weight = lesson->weights ? lesson->weights[i] : 1;
            const double factor = weight * scale;
#define ADD_ENTRIES(is_double, is_wide)                             \
    for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) \
        moved[entry_column(rows, p, is_wide)] += entry_value(rows, p, is_double) * factor;
            WITH_CONSTANT_FORMAT(rows, ADD_ENTRIES)
#undef ADD_ENTRIES
            lesson->sq_dists[i] = own_sq_dist_of(rows, centroids, i, (int32_t)j, scratch);
            learnt += weight;
        }
        end_lesson(lesson, j, d, learnt);
    }
}
