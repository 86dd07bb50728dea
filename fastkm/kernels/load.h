/* Reading X: any dtype and stride, to float64 rows or to centred float32 panels. */

/* Exact: a half is a float with a narrower exponent, so one product by 2^112 places it, denormals
 * included. */
static FASTKM_INLINE float half_to_float(uint16_t half) {
    const uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    float value;
    uint32_t bits;
    memcpy(&value, &magnitude, 4);
    value *= 0x1p112f;
    memcpy(&bits, &value, 4);
    if (magnitude >= 0x0f800000u) bits = magnitude | 0x7f800000u;
    bits |= sign;
    memcpy(&value, &bits, 4);
    return value;
}

#define SAME_VALUE(x) (x)

/* (dtype, C type, function to a number). float32 holds every value of the narrow ones. */
#define NARROW_DTYPES(_)                   \
    _(FASTKM_F16, uint16_t, half_to_float) \
    _(FASTKM_F32, float, SAME_VALUE)       \
    _(FASTKM_I8, int8_t, SAME_VALUE)       \
    _(FASTKM_U8, uint8_t, SAME_VALUE)      \
    _(FASTKM_I16, int16_t, SAME_VALUE)     \
    _(FASTKM_U16, uint16_t, SAME_VALUE)
#define WIDE_DTYPES(_)                  \
    _(FASTKM_F64, double, SAME_VALUE)   \
    _(FASTKM_I32, int32_t, SAME_VALUE)  \
    _(FASTKM_U32, uint32_t, SAME_VALUE) \
    _(FASTKM_I64, int64_t, SAME_VALUE)  \
    _(FASTKM_U64, uint64_t, SAME_VALUE)

/* Loops over the features of one row; the contiguous one is written apart so that it vectorises.
 * memcpy reads misaligned elements. */
#define FOR_FEATURES(type, source, col_stride, width, statement)            \
    if ((col_stride) == (int64_t)sizeof(type)) {                            \
        for (int64_t f = 0; f < (width); f++) {                             \
            type x;                                                         \
            memcpy(&x, (source) + f * (int64_t)sizeof(type), sizeof(type)); \
            statement;                                                      \
        }                                                                   \
    } else {                                                                \
        for (int64_t f = 0; f < (width); f++) {                             \
            type x;                                                         \
            memcpy(&x, (source) + f * (col_stride), sizeof(type));          \
            statement;                                                      \
        }                                                                   \
    }

static void load_row(const fastkm_points* points, /* IN       */
                     int64_t i,                   /* IN       */
                     double* FASTKM_RESTRICT row) /* OUT (d,) */
{
    const char* source = points->base + i * points->row_stride;
#define LOAD_CASE(dtype, type, value)                                                        \
    case dtype:                                                                              \
        FOR_FEATURES(type, source, points->col_stride, points->d, row[f] = (double)value(x)) \
        break;
    switch (points->dtype) {
        NARROW_DTYPES(LOAD_CASE)
        WIDE_DTYPES(LOAD_CASE)
    default:
        break;
    }
#undef LOAD_CASE
}

static void load(const fastkm_points* points, const int64_t* rows, int64_t n_rows, double* out) {
    for (int64_t r = 0; r < n_rows; r++) load_row(points, rows[r], out + r * points->d);
}

/* Calls function(..., dtype) with the dtype of rows that vectors read where they are as a
 * compile-time constant. */
#define WITH_CONSTANT_DTYPE(dtype, call) \
    switch (dtype) {                     \
    case FASTKM_U8:                      \
        call(FASTKM_U8);                 \
        break;                           \
    case FASTKM_F32:                     \
        call(FASTKM_F32);                \
        break;                           \
    default:                             \
        call(FASTKM_F64);                \
        break;                           \
    }

/* Values of such a row. */
static FASTKM_INLINE vd load_doubles(const char* row, int64_t f, const int32_t dtype) {
    return dtype == FASTKM_U8    ? vd_load_u8((const uint8_t*)row + f)
           : dtype == FASTKM_F32 ? vd_load_f32((const float*)row + f)
                                 : vd_load((const double*)row + f);
}
/* The first n of them from f on, and zeros. */
static FASTKM_INLINE vd load_few_doubles(const char* row, int64_t f, int64_t n,
                                         const int32_t dtype) {
    uint8_t few[DOUBLE_LANES] = {0};
    if (dtype == FASTKM_F32) return vd_load_few_f32((const float*)row + f, n);
    if (dtype == FASTKM_F64) return vd_load_few((const double*)row + f, n);
    for (int l = 0; l < DOUBLE_LANES; l++)
        if (l < n) few[l] = (uint8_t)row[f + l];
    return vd_load_u8(few);
}
static FASTKM_INLINE double load_double(const char* row, int64_t f, const int32_t dtype) {
    float single;
    double value;
    if (dtype == FASTKM_U8) return (uint8_t)row[f];
    if (dtype == FASTKM_F32) {
        memcpy(&single, row + f * (int64_t)sizeof single, sizeof single);
        return single;
    }
    memcpy(&value, row + f * (int64_t)sizeof value, sizeof value);
    return value;
}

#define LINE_BYTES 64

static FASTKM_INLINE int64_t item_size(int32_t dtype) {
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

static int is_dense_float(const fastkm_points* points) {
    return (points->dtype == FASTKM_F32 || points->dtype == FASTKM_F64) &&
           points->col_stride == item_size(points->dtype);
}

/* Whether vectors read a row where it is. */
static int is_in_place(const fastkm_points* points) {
    return is_dense_float(points) || (points->dtype == FASTKM_U8 && points->col_stride == 1);
}

/* Asks memory for a dense row that is read soon. */
static void prefetch_row(const fastkm_points* points, int64_t i) {
    const char* row = points->base + i * points->row_stride;
    if (points->col_stride != item_size(points->dtype)) return;
    for (int64_t byte = 0; byte < points->d * points->col_stride; byte += LINE_BYTES)
        prefetch(row + byte);
}

#define PANEL_ROWS (LANES * TILE_VECTORS)
#define CENTRE_COLUMNS 64

/* y = (x - shift) * scale of a few rows and columns, row by row. For narrow dtypes the subtraction
 * is the one rounding (the product by a power of two is exact, or underflows within the bound's
 * allowance); for wide ones it happens in float64 and is rounded once more. */
static FASTKM_INLINE void centre_rows(const fastkm_points* points, /* IN */
                                      const fastkm_frame* frame,   /* IN */
                                      int64_t i, int64_t n_rows, int64_t f_begin,
                                      int64_t width,                                /* IN */
                                      float (*FASTKM_RESTRICT out)[CENTRE_COLUMNS]) /* OUT */
{
    const float* FASTKM_RESTRICT shift_f32 = frame->shift_f32 + f_begin;
    const double* FASTKM_RESTRICT shift = frame->shift + f_begin;
    const float scale_f32 = (float)frame->scale;
    const double scale = frame->scale;
    const char* source = points->base + i * points->row_stride + f_begin * points->col_stride;
#define NARROW_CASE(dtype, type, value)                                       \
    case dtype:                                                               \
        for (int64_t r = 0; r < n_rows; r++, source += points->row_stride) {  \
            float* FASTKM_RESTRICT y = out[r];                                \
            FOR_FEATURES(type, source, points->col_stride, width,             \
                         y[f] = ((float)value(x) - shift_f32[f]) * scale_f32) \
        }                                                                     \
        break;
#define WIDE_CASE(dtype, type, value)                                           \
    case dtype:                                                                 \
        for (int64_t r = 0; r < n_rows; r++, source += points->row_stride) {    \
            float* FASTKM_RESTRICT y = out[r];                                  \
            FOR_FEATURES(type, source, points->col_stride, width,               \
                         y[f] = (float)(((double)value(x) - shift[f]) * scale)) \
        }                                                                       \
        break;
    switch (points->dtype) {
        NARROW_DTYPES(NARROW_CASE)
        WIDE_DTYPES(WIDE_CASE)
    default:
        break;
    }
#undef NARROW_CASE
#undef WIDE_CASE
}

/* A panel holds PANEL_ROWS centred points, features first; points past the end are zero. */

/* Few features: the compiler turns a constant stride into shuffles. */
static FASTKM_INLINE void panel_of_floats(const float* FASTKM_RESTRICT x, const float* shift,
                                          float scale, const int d, float* FASTKM_RESTRICT panel) {
    for (int f = 0; f < d; f++) {
        const float shift_f = shift[f];
        for (int r = 0; r < PANEL_ROWS; r++)
            panel[f * PANEL_ROWS + r] = (x[r * d + f] - shift_f) * scale;
    }
}
static FASTKM_INLINE void panel_of_doubles(const double* FASTKM_RESTRICT x, const double* shift,
                                           double scale, const int d,
                                           float* FASTKM_RESTRICT panel) {
    for (int f = 0; f < d; f++) {
        const double shift_f = shift[f];
        for (int r = 0; r < PANEL_ROWS; r++)
            panel[f * PANEL_ROWS + r] = (float)((x[r * d + f] - shift_f) * scale);
    }
}

#define LOW_D FASTKM_HEAT_FEATURES
#define WITH_CONSTANT_D(d, call) \
    switch (d) {                 \
    case 1:                      \
        call(1);                 \
        break;                   \
    case 2:                      \
        call(2);                 \
        break;                   \
    case 3:                      \
        call(3);                 \
        break;                   \
    default:                     \
        call(LOW_D);             \
        break;                   \
    }

/* Whether a full panel of dense low-dimensional floats or doubles was loaded. */
static int load_low_d_panel(const fastkm_points* points, const fastkm_frame* frame, int64_t i,
                            int64_t n_rows, float* panel, float* sq_norms) {
    const int64_t size = points->dtype == FASTKM_F32 ? 4 : 8;
    const char* source = points->base + i * points->row_stride;
    if (points->d > LOW_D || n_rows < PANEL_ROWS || points->row_stride != points->d * size ||
        (points->d > 1 && points->col_stride != size) || (uintptr_t)source % (uintptr_t)size)
        return 0;
    if (points->dtype == FASTKM_F32) {
#define FLOATS(d) \
    panel_of_floats((const float*)source, frame->shift_f32, (float)frame->scale, d, panel)
        WITH_CONSTANT_D(points->d, FLOATS)
#undef FLOATS
    } else if (points->dtype == FASTKM_F64) {
#define DOUBLES(d) panel_of_doubles((const double*)source, frame->shift, frame->scale, d, panel)
        WITH_CONSTANT_D(points->d, DOUBLES)
#undef DOUBLES
    } else {
        return 0;
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf sq_norm = vf_set1(0);
        for (int64_t f = 0; f < points->d; f++) {
            const vf y = vf_load(panel + f * PANEL_ROWS + v * LANES);
            sq_norm = vf_fma(y, y, sq_norm);
        }
        vf_store(sq_norms + v * LANES, sq_norm);
    }
    return 1;
}

/* Transposes a square of rows into a panel's columns; returns its share of the squared norms. */
static FASTKM_INLINE vf store_square(vf y[LANES], const int n_columns, float* column, vf sq_norm) {
    vf_transpose(y);
    for (int f = 0; f < n_columns; f++) {
        sq_norm = vf_fma(y[f], y[f], sq_norm);
        vf_store(column + f * PANEL_ROWS, y[f]);
    }
    return sq_norm;
}

/* A square of float32 rows that lie densely: centred on the way to the registers. */
static FASTKM_INLINE void centre_square(const char* source, int64_t row_stride,
                                        const float* shift_f32, float scale, vf y[LANES]) {
    const vf shift = vf_load(shift_f32), scale_vf = vf_set1(scale);
    for (int r = 0; r < LANES; r++)
        y[r] = vf_mul(vf_sub(vf_load((const float*)(source + r * row_stride)), shift), scale_vf);
}

/* A vector of float64 values, centred, and rounded to float32 last. */
static FASTKM_INLINE vf centred_doubles(const char* source, const double* shift, vd scale) {
    vd part[LANES / DOUBLE_LANES];
    for (int p = 0; p < LANES / DOUBLE_LANES; p++) {
        const vd x = vd_load((const double*)source + p * DOUBLE_LANES);
        part[p] = vd_mul(vd_sub(x, vd_load(shift + p * DOUBLE_LANES)), scale);
    }
    return vf_of_doubles(part);
}

/* A square of float64 rows. */
static FASTKM_INLINE void centre_square_of_doubles(const char* source, int64_t row_stride,
                                                   const double* shift, double scale, vf y[LANES]) {
    const vd scale_vd = vd_set1(scale);
    for (int r = 0; r < LANES; r++)
        y[r] = centred_doubles(source + r * row_stride, shift, scale_vd);
}

/* Memory to bring into the second-level cache while something is computed: so many lines with each
 * tile, or each other step of it. */
typedef struct {
    const char* next;
    int64_t lines_per_tile;
} lines_ahead;

static FASTKM_INLINE void bring_lines(lines_ahead* ahead) {
    for (int64_t line = 0; line < ahead->lines_per_tile; line++)
        prefetch(ahead->next + line * LINE_BYTES);
    ahead->next += ahead->lines_per_tile * LINE_BYTES;
}

/* The rows after i's panel; none where they do not lie densely. */
typedef struct {
    const char* begin;
    int64_t n_lines;
} next_panel;

static next_panel panel_after(const fastkm_points* points, int64_t i) {
    const int64_t begin = FASTKM_MIN(i + PANEL_ROWS, points->n),
                  end = FASTKM_MIN(begin + PANEL_ROWS, points->n);
    const int is_dense =
        points->row_stride > 0 && points->col_stride * points->d == points->row_stride;
    return (next_panel){points->base + begin * points->row_stride,
                        is_dense ? (end - begin) * points->row_stride / LINE_BYTES : 0};
}

/* Of float64, twice as many as of float32, half are asked for in loading i's panel, evenly over its
 * squares: products do not last long enough for all. */
static lines_ahead lines_of_squares(const fastkm_points* points, int64_t i) {
    const next_panel panel = panel_after(points, i);
    const int64_t n_squares = TILE_VECTORS * (points->d / LANES);
    const int is_wide = is_dense_float(points) && points->dtype == FASTKM_F64;
    return (lines_ahead){panel.begin, is_wide && n_squares > 0 ? panel.n_lines / 2 / n_squares : 0};
}

/* Those that loading does not ask for. */
static next_panel rest_of_panel_after(const fastkm_points* points, int64_t i) {
    const next_panel panel = panel_after(points, i);
    const int64_t n_asked =
        lines_of_squares(points, i).lines_per_tile * TILE_VECTORS * (points->d / LANES);
    return (next_panel){panel.begin + n_asked * LINE_BYTES, panel.n_lines - n_asked};
}

/* Adds a square of rows' squared differences from others, feature by feature, to each row's sums.
 */
static FASTKM_INLINE void add_sq_differences(const vf y[LANES], const float* const* others,
                                             int64_t f, vf sum[LANES]) {
    for (int r = 0; r < LANES; r++) {
        const vf difference = vf_sub(y[r], vf_load(others[r] + f));
        sum[r] = vf_fma(difference, difference, sum[r]);
    }
}

/* Loads a panel and, with others, measures how far each of its rows is from the one that is its:
 * this costs a sixth of reading the rows again. */
static FASTKM_INLINE void load_panel_of(const fastkm_points* points, const fastkm_frame* frame,
                                        int64_t i, int64_t n_rows, const float* const* others,
                                        const int has_others, float* panel, float* sq_norms,
                                        float* sq_dists) {
    const int is_single = points->dtype == FASTKM_F32, is_dense = is_dense_float(points);
    const int64_t size = is_single ? 4 : 8;
    float rows[LANES][CENTRE_COLUMNS];
    lines_ahead ahead = lines_of_squares(points, i);
    if (!has_others && load_low_d_panel(points, frame, i, n_rows, panel, sq_norms)) return;
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int64_t n_here = FASTKM_MAX(FASTKM_MIN(n_rows - v * LANES, LANES), 0);
        const float* const* others_here = has_others ? others + v * LANES : NULL;
        int64_t f_begin = 0;
        vf sq_norm = vf_set1(0), y[LANES], sum[LANES], total = vf_set1(0);
        for (int r = 0; has_others && r < LANES; r++) sum[r] = vf_set1(0);
        for (; is_dense && n_here == LANES && f_begin + LANES <= points->d; f_begin += LANES) {
            const char* square =
                points->base + (i + v * LANES) * points->row_stride + f_begin * size;
            bring_lines(&ahead);
            if (is_single)
                centre_square(square, points->row_stride, frame->shift_f32 + f_begin,
                              (float)frame->scale, y);
            else
                centre_square_of_doubles(square, points->row_stride, frame->shift + f_begin,
                                         frame->scale, y);
            if (has_others) add_sq_differences(y, others_here, f_begin, sum);
            sq_norm = store_square(y, LANES, panel + f_begin * PANEL_ROWS + v * LANES, sq_norm);
        }
        for (int64_t r = n_here; r < LANES; r++) memset(rows[r], 0, sizeof rows[r]);
        for (; f_begin < points->d; f_begin += CENTRE_COLUMNS) {
            const int64_t width = FASTKM_MIN(points->d - f_begin, CENTRE_COLUMNS);
            float* column = panel + f_begin * PANEL_ROWS + v * LANES;
            int64_t c = 0;
            centre_rows(points, frame, i + v * LANES, n_here, f_begin, width, rows);
            for (; c + LANES <= width; c += LANES) {
                for (int r = 0; r < LANES; r++) y[r] = vf_load(rows[r] + c);
                if (has_others) add_sq_differences(y, others_here, f_begin + c, sum);
                sq_norm = store_square(y, LANES, column + c * PANEL_ROWS, sq_norm);
            }
            for (; c < width; c++) {
                float gathered[LANES], of_others[LANES];
                for (int r = 0; r < LANES; r++) gathered[r] = rows[r][c];
                const vf value = vf_load(gathered);
                sq_norm = vf_fma(value, value, sq_norm);
                vf_store(column + c * PANEL_ROWS, value);
                if (!has_others) continue;
                for (int r = 0; r < LANES; r++) of_others[r] = others_here[r][f_begin + c];
                const vf difference = vf_sub(value, vf_load(of_others));
                total = vf_fma(difference, difference, total);
            }
        }
        vf_store(sq_norms + v * LANES, sq_norm);
        if (!has_others) continue;
        vf_transpose(sum);
        for (int l = 0; l < LANES; l++) total = vf_add(total, sum[l]);
        vf_store(sq_dists + v * LANES, total);
    }
}

static void load_panel(const fastkm_points* points, /* IN                  */
                       const fastkm_frame* frame,   /* IN                  */
                       int64_t i, int64_t n_rows,   /* IN                  */
                       float* panel,                /* OUT (d, PANEL_ROWS) */
                       float* sq_norms)             /* OUT (PANEL_ROWS,)   */
{
    load_panel_of(points, frame, i, n_rows, NULL, 0, panel, sq_norms, NULL);
}

/* The same, and the rows' squared distances to others in the frame, each with at most
 * sum_error_of_loading of itself off by additions. */
static void load_and_measure(const fastkm_points* points, /* IN                  */
                             const fastkm_frame* frame,   /* IN                  */
                             int64_t i, int64_t n_rows,   /* IN                  */
                             const float* const* others,  /* IN (PANEL_ROWS,)    */
                             float* panel,                /* OUT (d, PANEL_ROWS) */
                             float* sq_norms,             /* OUT (PANEL_ROWS,)   */
                             float* sq_dists)             /* OUT (PANEL_ROWS,)   */
{
    load_panel_of(points, frame, i, n_rows, others, 1, panel, sq_norms, sq_dists);
}

/* Additions that a square goes through there, and three roundings before; half of that in the root,
 * so this is twice what it need be. */
static float sum_error_of_loading(int64_t d) {
    return (float)(d / LANES + 2 * LANES + 8) * 0x1p-24f;
}

/* A few columns of dense rows from anywhere; returns the squared norms with their share. */
static FASTKM_INLINE vf gather_columns(const fastkm_points* points, const fastkm_frame* frame,
                                       const int32_t* rows, int64_t n_rows, const int is_single,
                                       int64_t f_begin, const int64_t n_columns, float* columns,
                                       vf sq_norm) {
    const vf scale = vf_set1((float)frame->scale);
    const float* shift_f32 = frame->shift_f32 + f_begin;
    float y[LANES][LANES];
    /* What becomes zero where there are no more rows. */
    for (int64_t c = 0; n_rows < LANES && c < n_columns; c++)
        vf_store(y[c], vf_set1(is_single ? shift_f32[c] : 0));
    for (int64_t r = 0; r < n_rows; r++) {
        const char* row = points->base + rows[r] * points->row_stride;
        for (int64_t c = 0; c < n_columns; c++) {
            const int64_t f = f_begin + c;
            if (is_single)
                memcpy(&y[c][r], row + f * 4, 4);
            else
                y[c][r] =
                    (float)((load_double(row, f, FASTKM_F64) - frame->shift[f]) * frame->scale);
        }
    }
    for (int64_t c = 0; c < n_columns; c++) {
        vf value = vf_load(y[c]);
        if (is_single) value = vf_mul(vf_sub(value, vf_set1(shift_f32[c])), scale);
        sq_norm = vf_fma(value, value, sq_norm);
        vf_store(columns + c * PANEL_ROWS, value);
    }
    return sq_norm;
}

/* A square of dense rows from anywhere. */
static FASTKM_INLINE void gather_square(const fastkm_points* points, const fastkm_frame* frame,
                                        const int32_t* rows, const int is_single, int64_t f_begin,
                                        vf y[LANES]) {
    const vf shift = vf_load(frame->shift_f32 + f_begin), scale = vf_set1((float)frame->scale);
    const vd scale_vd = vd_set1(frame->scale);
    for (int r = 0; r < LANES; r++) {
        const char* row = points->base + rows[r] * points->row_stride;
        y[r] = is_single ? vf_mul(vf_sub(vf_load((const float*)row + f_begin), shift), scale)
                         : centred_doubles(row + f_begin * 8, frame->shift + f_begin, scale_vd);
    }
}

static FASTKM_INLINE void gather_dense_panel(const fastkm_points* points, const fastkm_frame* frame,
                                             const int32_t* rows, int64_t n_rows,
                                             const int is_single, float* panel, float* sq_norms) {
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int32_t* here = rows + v * LANES;
        const int64_t n_here = FASTKM_MAX(FASTKM_MIN(n_rows - v * LANES, LANES), 0);
        float* columns = panel + v * LANES;
        int64_t f = 0;
        vf sq_norm = vf_set1(0), y[LANES];
        for (; n_here == LANES && f + LANES <= points->d; f += LANES) {
            gather_square(points, frame, here, is_single, f, y);
            sq_norm = store_square(y, LANES, columns + f * PANEL_ROWS, sq_norm);
        }
#define COLUMNS(n_columns)                                                         \
    sq_norm = gather_columns(points, frame, here, n_here, is_single, f, n_columns, \
                             columns + f * PANEL_ROWS, sq_norm)
        if (f == 0 && points->d <= LOW_D) {
            WITH_CONSTANT_D(points->d, COLUMNS)
        } else {
            for (; f < points->d; f += LANES) COLUMNS(FASTKM_MIN(points->d - f, LANES));
        }
#undef COLUMNS
        vf_store(sq_norms + v * LANES, sq_norm);
    }
}

/* Rows from anywhere into a panel, as load_panel. */
static void gather_panel(const fastkm_points* points, const fastkm_frame* frame, /* IN  */
                         const int32_t* rows, int64_t n_rows,                    /* IN  */
                         float* panel, float* sq_norms)                          /* OUT */
{
    const int64_t d = points->d;
    float centred[LANES][CENTRE_COLUMNS];
    if (is_dense_float(points)) {
        if (points->dtype == FASTKM_F32)
            gather_dense_panel(points, frame, rows, n_rows, 1, panel, sq_norms);
        else
            gather_dense_panel(points, frame, rows, n_rows, 0, panel, sq_norms);
        return;
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int32_t* here = rows + v * LANES;
        const int64_t n_here = FASTKM_MAX(FASTKM_MIN(n_rows - v * LANES, LANES), 0);
        float* columns = panel + v * LANES;
        vf sq_norm = vf_set1(0), y[LANES];
        for (int64_t r = n_here; r < LANES; r++) memset(centred[r], 0, sizeof centred[r]);
        for (int64_t f_begin = 0; f_begin < d; f_begin += CENTRE_COLUMNS) {
            const int64_t width = FASTKM_MIN(d - f_begin, CENTRE_COLUMNS);
            int64_t c = 0;
            for (int64_t r = 0; r < n_here; r++)
                centre_rows(points, frame, here[r], 1, f_begin, width, &centred[r]);
            for (; c + LANES <= width; c += LANES) {
                for (int r = 0; r < LANES; r++) y[r] = vf_load(centred[r] + c);
                sq_norm = store_square(y, LANES, columns + (f_begin + c) * PANEL_ROWS, sq_norm);
            }
            for (; c < width; c++) {
                float gathered[LANES];
                for (int r = 0; r < LANES; r++) gathered[r] = centred[r][c];
                const vf value = vf_load(gathered);
                sq_norm = vf_fma(value, value, sq_norm);
                vf_store(columns + (f_begin + c) * PANEL_ROWS, value);
            }
        }
        vf_store(sq_norms + v * LANES, sq_norm);
    }
}
