/* Rows sorted once into cells of neighbours, with a box around each: for greedy k-means++ in few
 * dimensions, and for the rounds after it. */

/* Puts the least `middle` values in front, and the next one behind them. Pivots are drawn, so that
 * no order of the rows makes it slow. */
static void halve_rows(fastkm_valued_row* rows, int64_t n, int64_t middle) {
    uint32_t draw = (uint32_t)n;
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t i = low, j = high;
        draw = draw * 1664525u + 1013904223u;
        const double pivot =
            rows[low + (int64_t)((uint64_t)(draw >> 8) * (high - low + 1) >> 24)].value;
        while (i <= j) {
            while (rows[i].value < pivot) i++;
            while (pivot < rows[j].value) j--;
            if (i > j) break;
            const fastkm_valued_row kept = rows[i];
            rows[i++] = rows[j];
            rows[j--] = kept;
        }
        if (middle <= j)
            high = j;
        else if (middle >= i)
            low = i;
        else
            return;
    }
}

/* The feature in which some rows of a sample lie farthest apart; the first of those. */
static int32_t widest_feature(const double* sample, int64_t d, const fastkm_valued_row* rows,
                              int64_t n, double* FASTKM_RESTRICT least,
                              double* FASTKM_RESTRICT largest) {
    int32_t widest = 0;
    memcpy(least, sample + rows[0].row * d, (size_t)d * sizeof *least);
    memcpy(largest, least, (size_t)d * sizeof *least);
    for (int64_t r = 1; r < n; r++) {
        const double* x = sample + rows[r].row * d;
        for (int64_t f = 0; f < d; f++) {
            least[f] = FASTKM_MIN(x[f], least[f]);
            largest[f] = FASTKM_MAX(x[f], largest[f]);
        }
    }
    for (int64_t f = 1; f < d; f++)
        if (largest[f] - least[f] > largest[widest] - least[widest]) widest = (int32_t)f;
    return widest;
}

static void split(const double* sample, int64_t n, int64_t d, int64_t node, int32_t level,
                  fastkm_scratch* scratch, fastkm_valued_row* rows, int32_t* features,
                  double* thresholds) {
    const int64_t size = n >> level;
    fastkm_valued_row* here = rows + (node - ((int64_t)1 << level)) * size;
    double* least = (double*)scratch->panel;
    const int32_t feature = widest_feature(sample, d, here, size, least, least + d);
    for (int64_t r = 0; r < size; r++) here[r].value = sample[here[r].row * d + feature];
    halve_rows(here, size, size / 2);
    features[node] = feature;
    thresholds[node] = here[size / 2].value;
}

/* Rows whose way down the tree goes side by side, that none waits for its own last node. */
#define ROWS_SORTED_BESIDE 16

static FASTKM_INLINE void sort_dense_rows(const fastkm_points* points, const fastkm_splits* splits,
                                          int64_t i, const int32_t dtype, uint16_t* leaves) {
    int32_t node[ROWS_SORTED_BESIDE];
    const char* rows = points->base + i * points->row_stride;
    for (int r = 0; r < ROWS_SORTED_BESIDE; r++) node[r] = 1;
    for (int32_t level = 0; level < splits->depth; level++)
        for (int r = 0; r < ROWS_SORTED_BESIDE; r++) {
            const double x =
                load_double(rows + r * points->row_stride, splits->features[node[r]], dtype);
            node[r] = 2 * node[r] + !(x < splits->thresholds[node[r]]);
        }
    for (int r = 0; r < ROWS_SORTED_BESIDE; r++)
        leaves[i + r] = (uint16_t)(node[r] - (1 << splits->depth));
}

static void sort_rows(const fastkm_points* points, const fastkm_splits* splits, int64_t i_begin,
                      int64_t i_end, fastkm_scratch* scratch, uint16_t* leaves) {
    int64_t i = i_begin;
    for (; is_in_place(points) && i + ROWS_SORTED_BESIDE <= i_end; i += ROWS_SORTED_BESIDE) {
        for (int64_t r = ROWS_SORTED_BESIDE; r < 2 * ROWS_SORTED_BESIDE && i + r < points->n; r++)
            prefetch_row(points, i + r);
#define SORT_ROWS(dtype) sort_dense_rows(points, splits, i, dtype, leaves)
        WITH_CONSTANT_DTYPE(points->dtype, SORT_ROWS)
#undef SORT_ROWS
    }
    for (; i < i_end; i++) {
        int32_t node = 1;
        load_row(points, i, scratch->row);
        for (int32_t level = 0; level < splits->depth; level++)
            node = 2 * node + !(scratch->row[splits->features[node]] < splits->thresholds[node]);
        leaves[i] = (uint16_t)(node - (1 << splits->depth));
    }
}

static int64_t n_cells_of(const fastkm_kept_cells* cells) {
    return (cells->n + FASTKM_CELL_ROWS - 1) / FASTKM_CELL_ROWS;
}

static float* box_of(const fastkm_kept_cells* cells, int64_t cell) {
    return cells->boxes + cell / FASTKM_CELLS_BESIDE * (2 * cells->d * FASTKM_CELLS_BESIDE) +
           cell % FASTKM_CELLS_BESIDE;
}

/* The least and the largest value of a panel's column. */
static FASTKM_INLINE void find_range(const float* column, int64_t n_rows, float* least,
                                     float* largest) {
    if (n_rows < PANEL_ROWS) {
        *least = *largest = column[0];
        for (int64_t r = 1; r < n_rows; r++) {
            *least = FASTKM_MIN(*least, column[r]);
            *largest = FASTKM_MAX(*largest, column[r]);
        }
        return;
    }
    vf low = vf_load(column), most_negative = vf_sub(vf_set1(0), low);
    for (int v = 1; v < TILE_VECTORS; v++) {
        const vf values = vf_load(column + v * LANES);
        low = vf_min(values, low);
        most_negative = vf_min(vf_sub(vf_set1(0), values), most_negative);
    }
    *least = least_lane(low);
    *largest = -least_lane(most_negative);
}

/* Rows, of this cell and the next one, that are on their way from memory. */
#define ROWS_BEFORE_FILLING 16

static void fill_cell(const fastkm_points* points, const fastkm_frame* frame, int64_t cell,
                      char* rows, const fastkm_kept_cells* cells) {
    const int64_t d = points->d, item = item_size(points->dtype), begin = cell * FASTKM_CELL_ROWS;
    const int64_t n_rows = FASTKM_MIN(cells->n - begin, FASTKM_CELL_ROWS);
    const rounding_bound bound = bound_for(d);
    const fastkm_points gathered = {rows, n_rows, d, d * item, item, points->dtype};
    float* box = box_of(cells, cell);
    float max_sq_norm = 0;
    int64_t indices[1];
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t ahead = begin + r + ROWS_BEFORE_FILLING;
        if (ahead < cells->n) prefetch_rows(points, cells->order + ahead, 1);
        indices[0] = cells->order[begin + r];
        gather(points, indices, 1, rows + r * d * item);
    }
    for (int64_t i = 0; i < FASTKM_CELL_ROWS; i += PANEL_ROWS) {
        float* panel = cells->panels.values + (begin + i) * d;
        float* sq_norms = cells->panels.sq_norms + begin + i;
        const int64_t n_here = FASTKM_MIN(n_rows - i, PANEL_ROWS);
        if (n_here <= 0) break;
        load_panel(&gathered, frame, i, n_here, panel, sq_norms);
        for (int64_t r = 0; r < n_here; r++)
            if (!(sq_norms[r] <= max_sq_norm)) max_sq_norm = sq_norms[r];
        for (int64_t f = 0; f < d; f++) {
            const float* column = panel + f * PANEL_ROWS;
            float least, largest;
            find_range(column, n_here, &least, &largest);
            if (i) {
                least = FASTKM_MIN(least, box[2 * f * FASTKM_CELLS_BESIDE]);
                largest = FASTKM_MAX(largest, box[(2 * f + 1) * FASTKM_CELLS_BESIDE]);
            }
            box[2 * f * FASTKM_CELLS_BESIDE] = least;
            box[(2 * f + 1) * FASTKM_CELLS_BESIDE] = largest;
        }
    }
    cells->norms[cell] = sqrtf(max_sq_norm) * bound.slack;
}
