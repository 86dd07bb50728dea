/* Rows and their sketches, a byte a value; whatever the codes are, it is measured how far they are
 * from what they stand for. */

static void encode_values(const float* FASTKM_RESTRICT values, int64_t n, float step,
                          int8_t* FASTKM_RESTRICT codes, float* FASTKM_RESTRICT decoded) {
    const float per_step = 1 / step;
    for (int64_t f = 0; f < n; f++) {
        const float steps = FASTKM_MAX(values[f] * per_step, -FASTKM_LARGEST_CODE);
        /* The sum has no room for a fraction. */
        const float code = (FASTKM_MIN(steps, FASTKM_LARGEST_CODE) + 0x1.8p23f) - 0x1.8p23f;
        codes[f] = (int8_t)code;
        decoded[f] = code * step;
    }
}

/* Whole vectors. */
static void decode(const int8_t* codes, int64_t n, float* values) {
    for (int64_t f = 0; f < n; f += LANES) vf_store(values + f, vf_load_bytes(codes + f));
}

/* So many squares of differences of parts of steps fit 31 bits. */
#define SQUARES_AT_ONCE 256

/* The squared distance of a row to a candidate in parts of a step. */
static int64_t sq_parts(const int8_t* FASTKM_RESTRICT row, const int16_t* FASTKM_RESTRICT candidate,
                        int64_t n) {
    int64_t total = 0;
    for (int64_t begin = 0; begin < n; begin += SQUARES_AT_ONCE) {
        const int64_t end = FASTKM_MIN(begin + SQUARES_AT_ONCE, n);
        int32_t sum = 0;
        for (int64_t f = begin; f < end; f++) {
            const int16_t parts = (int16_t)(row[f] * FASTKM_STEP_PARTS - candidate[f]);
            sum += parts * parts;
        }
        total += sum;
    }
    return total;
}

static void encode_sketches(const fastkm_codes* codes, int64_t i, int64_t n_rows,
                            const float* panel, const float* sketch_errors, float* sq_norms) {
    double sq_norm[PANEL_ROWS] = {0}, sq_off[PANEL_ROWS] = {0};
    float decoded[PANEL_ROWS];
    for (int64_t f = 0; f <= codes->p; f++) {
        const float* values = panel + f * PANEL_ROWS;
        encode_values(values, PANEL_ROWS, codes->sketch_steps[f],
                      codes->panels + i * (codes->p + 1) + f * PANEL_ROWS, decoded);
        for (int64_t r = 0; r < PANEL_ROWS; r++) {
            const double off = (double)values[r] - decoded[r];
            sq_norm[r] += (double)decoded[r] * decoded[r];
            sq_off[r] += off * off;
        }
    }
    for (int64_t r = 0; r < n_rows; r++) {
        sq_norms[r] = (float)sq_norm[r];
        codes->sketch_errors[i + r] = (float)((sketch_errors[r] + sqrt(sq_off[r])) * (1 + 1e-6));
    }
}

/* Rows [i_begin, i_end), from a panel's first row. */
static void encode(const fastkm_points* points, const fastkm_frame* frame,
                   const fastkm_basis* basis, int64_t i_begin, int64_t i_end,
                   fastkm_scratch* scratch, float* room, const fastkm_codes* codes) {
    const int64_t d = points->d, stride = codes->stride;
    const float sum_error = sum_error_for(stride), flushed = 0x1p-59f * sqrtf((float)stride);
    float *panel = room, *y = room + (codes->p + 1) * PANEL_ROWS, *decoded = y + stride;
    float sq_norms[PANEL_ROWS], errors[PANEL_ROWS];
    for (int64_t f = d; f < stride; f++) y[f] = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        sketch_loaded(points, basis, i, scratch->panel, panel, sq_norms, errors);
        for (int64_t r = 0; r < n_rows; r++) {
            const float norm = sqrtf(sq_norms[r]) * 1.001f;
            centre_row(points, frame, i + r, y);
            encode_values(y, stride, codes->step, codes->rows + (i + r) * stride, decoded);
            const float off = sqrtf(sq_dist_f32(y, decoded, stride));
            codes->errors[i + r] =
                (off * (1 + sum_error) + 4 * 0x1p-24f * norm + flushed) * 1.0001f;
        }
        encode_sketches(codes, i, n_rows, panel, errors, codes->sq_norms + i);
    }
}
