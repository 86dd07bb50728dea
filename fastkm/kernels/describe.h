/* Moments of the columns: one pass before a fit, for centring, scaling, the tolerance and the check
 * for NaN.
 *
 * Rows are taken MOMENT_ROWS at a time, so that the running moments are read and written once for
 * all of them. With few features neighbouring rows lie side by side in one vector, each with
 * moments of its own, joined at the end. The order of additions depends on d alone: not on vector
 * width or layout. */

static FASTKM_INLINE int64_t rows_side_by_side(int64_t d) {
    return d < FASTKM_ROWS_BESIDE ? FASTKM_ROWS_BESIDE : 1;
}

/* Rows [i, i + n_rows) one behind the other. */
static void load_rows(const fastkm_points* points, int64_t i, int64_t n_rows, double* rows) {
    const int64_t d = points->d;
    fastkm_points flat = *points;
    if (points->col_stride * d == points->row_stride) {
        flat.base += i * points->row_stride;
        flat.d = n_rows * d;
        load_row(&flat, 0, rows);
    } else {
        for (int64_t r = 0; r < n_rows; r++) load_row(points, i + r, rows + r * d);
    }
}

/* The moments of `width` columns: sum, sum of squares, minimum and maximum, one array behind the
 * other. */
static FASTKM_INLINE void add_value(double x, double origin, int64_t width, double* moments) {
    const double difference = x - origin;
    moments[0] += difference;
    moments[width] += difference * difference;
    moments[2 * width] = x < moments[2 * width] ? x : moments[2 * width];
    moments[3 * width] = x > moments[3 * width] ? x : moments[3 * width];
}

/* Adds FASTKM_MOMENT_ROWS rows, `stride` bytes apart. Memory sends the rows from i_ahead on
 * meanwhile: n_lines of them a vector. */
static FASTKM_INLINE void add_rows(const char* rows, int64_t stride, const int32_t dtype,
                                   const double* origin, int64_t width, const fastkm_points* points,
                                   int64_t i_ahead, int64_t n_lines, double* moments) {
    /* A number, as it runs past the last row. */
    uintptr_t ahead = (uintptr_t)points->base + (uintptr_t)(i_ahead * points->row_stride);
    int64_t f = 0;
    for (; f + DOUBLE_LANES <= width; f += DOUBLE_LANES) {
        for (int64_t line = 0; line < n_lines; line++, ahead += LINE_BYTES)
            prefetch((const char*)ahead);
        const vd origin_vd = vd_load(origin + f);
        vd sum = vd_load(moments + f), sum_sq = vd_load(moments + width + f);
        vd min = vd_load(moments + 2 * width + f), max = vd_load(moments + 3 * width + f);
        for (int r = 0; r < FASTKM_MOMENT_ROWS; r++) {
            const vd x = load_doubles(rows + r * stride, f, dtype);
            const vd difference = vd_sub(x, origin_vd);
            sum = vd_add(sum, difference);
            sum_sq = vd_add(sum_sq, vd_mul(difference, difference));
            min = vd_min(x, min);
            max = vd_max(x, max);
        }
        vd_store(moments + f, sum);
        vd_store(moments + width + f, sum_sq);
        vd_store(moments + 2 * width + f, min);
        vd_store(moments + 3 * width + f, max);
    }
    for (; f < width; f++)
        for (int r = 0; r < FASTKM_MOMENT_ROWS; r++)
            add_value(load_double(rows + r * stride, f, dtype), origin[f], width, moments + f);
}

static void describe(const fastkm_points* points, int64_t i_begin, int64_t i_end,
                     fastkm_scratch* scratch, const fastkm_moments* moments) {
    const int64_t d = points->d, n_beside = rows_side_by_side(d), width = n_beside * d;
    const int64_t step = n_beside * FASTKM_MOMENT_ROWS;
    double* rows = scratch->rows;
    double* origin = rows + FASTKM_MOMENT_ROWS * width;
    double* beside = origin + width;
    const int is_dense = points->col_stride * d == points->row_stride;
    const int64_t n_lines =
        is_dense ? step * points->row_stride * DOUBLE_LANES / width / LINE_BYTES : 0;
    const int is_direct = is_in_place(points) && (n_beside == 1 || is_dense);
    const int64_t stride =
        is_direct ? n_beside * points->row_stride : width * (int64_t)sizeof *rows;
    int64_t i = i_begin;
    for (int64_t c = 0; c < width; c++) {
        origin[c] = moments->origin[c % d];
        beside[c] = beside[width + c] = 0;
        beside[2 * width + c] = INFINITY;
        beside[3 * width + c] = -INFINITY;
    }
    for (; i + step <= i_end; i += step) {
        const char* source = points->base + i * points->row_stride;
        const int64_t i_ahead = FASTKM_MIN(i + 2 * step, points->n);
        if (!is_direct) {
            load_rows(points, i, step, rows);
            source = (const char*)rows;
        }
#define ADD_ROWS(dtype) \
    add_rows(source, stride, dtype, origin, width, points, i_ahead, n_lines, beside)
        WITH_CONSTANT_DTYPE(is_direct ? points->dtype : FASTKM_F64, ADD_ROWS)
#undef ADD_ROWS
    }
    for (; i < i_end; i++) {
        load_row(points, i, rows);
        for (int64_t f = 0; f < d; f++) add_value(rows[f], origin[f], width, beside + f);
    }
    for (int64_t f = 0; f < d; f++) {
        double sum = 0, sum_sq = 0, min = INFINITY, max = -INFINITY;
        for (int64_t c = f; c < width; c += d) {
            sum += beside[c];
            sum_sq += beside[width + c];
            min = FASTKM_MIN(beside[2 * width + c], min);
            max = FASTKM_MAX(beside[3 * width + c], max);
        }
        moments->sum[f] = sum;
        moments->sum_sq[f] = sum_sq;
        moments->min[f] = min;
        moments->max[f] = max;
    }
}

/* The mean of every step-th row, near the data; 0 where it is no number. */
static void find_origin(const fastkm_points* points, int64_t step, fastkm_scratch* scratch,
                        double* origin) {
    const int64_t d = points->d, n_rows = (points->n + step - 1) / step;
    for (int64_t f = 0; f < d; f++) origin[f] = 0;
    for (int64_t r = 0; r < n_rows; r++) {
        load_row(points, r * step, scratch->row);
        for (int64_t f = 0; f < d; f++) origin[f] += scratch->row[f];
    }
    for (int64_t f = 0; f < d; f++) {
        origin[f] /= (double)n_rows;
        if (!isfinite(origin[f])) origin[f] = 0;
    }
}

/* The least e with magnitude < 2^e; 0 for 0. */
static int exponent_of(double magnitude) {
    int exponent;
    frexp(magnitude, &exponent);
    return exponent;
}

/* Columns from segments' moments. Rounding may leave a trace of variance in a constant column, or
 * less than none. The shift has few bits, so that centring leaves integers and other short numbers
 * short. A limb of the sums holds 2^n_bits times a column's largest magnitude. */
static int32_t join_moments(const double* moments, int64_t n_segments, int64_t n, int64_t d,
                            const double* origin, int32_t n_bits, const fastkm_columns* columns,
                            fastkm_extent* extent) {
    int32_t is_finite = 1;
    extent->reach = extent->largest = 0;
    for (int64_t f = 0; f < d; f++) {
        double sum = 0, sum_sq = 0, low = INFINITY, high = -INFINITY;
        for (int64_t s = 0; s < n_segments; s++) {
            const double* segment = moments + s * 4 * d + f;
            is_finite &= isfinite(segment[0]) != 0;
            sum += segment[0];
            sum_sq += segment[d];
            low = FASTKM_MIN(low, segment[2 * d]);
            high = FASTKM_MAX(high, segment[3 * d]);
        }
        const double offset = sum / (double)n;
        double mean = origin[f] + offset, variance = sum_sq / (double)n - offset * offset;
        if (!isfinite(mean)) mean = low / 2 + high / 2;
        mean = FASTKM_MIN(FASTKM_MAX(mean, low), high);
        if (variance < 0) variance = 0;
        if (low == high) {
            variance = 0;
            mean = low;
        }
        const double reach = FASTKM_MIN(FASTKM_MAX(high - mean, mean - low), DBL_MAX);
        const double largest = FASTKM_MAX(fabs(low), fabs(high));
        const int grid_exponent = exponent_of(reach) - 10;
        const double grid = ldexp(1, FASTKM_MAX(-1022, FASTKM_MIN(grid_exponent, 1000)));
        const double shift = rint(mean / grid) * grid;
        columns->mean[f] = mean;
        columns->variance[f] = variance;
        columns->shift[f] = isfinite(shift) ? shift : mean;
        columns->shift_f32[f] = (float)columns->shift[f];
        columns->sum_scale[f] = ldexp(1, FASTKM_MIN(n_bits - exponent_of(largest), 1023));
        extent->reach = FASTKM_MAX(extent->reach, reach);
        extent->largest = FASTKM_MAX(extent->largest, largest);
    }
    return is_finite;
}
