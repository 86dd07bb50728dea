/* Distances of one row measured in float32, direct form: all terms are squares, so nothing cancels,
 * and with a bound of their error they decide nearly all rows. */

/* A distance measured alone costs as much as this many in the fused kernel. */
#define COST_OF_DISTANCE 10

/* Of the centroids measured of a row, the nearest, and bounds of its distance and of the second
 * nearest's. */
typedef struct {
    int32_t label;
    int32_t tried; /* measured beside its own before it has a list, or -1 */
    float least, lower, upper;
    int32_t others[FASTKM_RIVALS]; /* the nearest of the others, or -1, and their distances */
    float other_lowers[FASTKM_RIVALS];
} measured_row;

static measured_row not_measured(int32_t own) {
    measured_row row = {own, -1, INFINITY, INFINITY, INFINITY, {0}, {0}};
    for (int o = 0; o < FASTKM_RIVALS; o++) {
        row.others[o] = -1;
        row.other_lowers[o] = INFINITY;
    }
    return row;
}

/* Of the others the second nearest and so on, nearest first. */
static void add_other(measured_row* measured, int32_t j, float lower) {
    for (int o = 0; o < FASTKM_RIVALS; o++) {
        if (!(lower < measured->other_lowers[o])) continue;
        const int32_t farther = measured->others[o];
        const float farther_lower = measured->other_lowers[o];
        measured->others[o] = j;
        measured->other_lowers[o] = lower;
        j = farther;
        lower = farther_lower;
    }
}

/* A row in the frame. */
static void centre_row(const fastkm_points* points, const fastkm_frame* frame, int64_t i,
                       float* y) {
    const int64_t d = points->d;
    const char* source = points->base + i * points->row_stride;
    int64_t f = 0;
    if (is_dense_float(points) && points->dtype == FASTKM_F32) {
        const vf scale = vf_set1((float)frame->scale);
        for (; f + LANES <= d; f += LANES)
            vf_store(y + f, vf_mul(vf_sub(vf_load((const float*)(source + f * 4)),
                                          vf_load(frame->shift_f32 + f)),
                                   scale));
    } else if (is_dense_float(points)) {
        const vd scale = vd_set1(frame->scale);
        for (; f + LANES <= d; f += LANES)
            vf_store(y + f, centred_doubles(source + f * 8, frame->shift + f, scale));
    }
    for (; f < d; f += CENTRE_COLUMNS) {
        const int64_t width = FASTKM_MIN(d - f, CENTRE_COLUMNS);
        centre_rows(points, frame, i, 1, f, width, (float (*)[CENTRE_COLUMNS])(y + f));
    }
}

static float sq_dist_f32(const float* y, const float* z, int64_t d) {
    vf sum[TILE_VECTORS];
    int64_t f = 0;
    for (int v = 0; v < TILE_VECTORS; v++) sum[v] = vf_set1(0);
    for (; f + PANEL_ROWS <= d; f += PANEL_ROWS)
        for (int v = 0; v < TILE_VECTORS; v++) {
            const vf difference = vf_sub(vf_load(y + f + v * LANES), vf_load(z + f + v * LANES));
            sum[v] = vf_fma(difference, difference, sum[v]);
        }
    for (; f + LANES <= d; f += LANES) {
        const vf difference = vf_sub(vf_load(y + f), vf_load(z + f));
        sum[0] = vf_fma(difference, difference, sum[0]);
    }
    for (int v = 1; v < TILE_VECTORS; v++) sum[0] = vf_add(sum[0], sum[v]);
    float total = vf_sum(sum[0]);
    for (; f < d; f++) total += (y[f] - z[f]) * (y[f] - z[f]);
    return total;
}

/* Additions that a square goes through in sq_dist_f32, and as many roundings again for good
 * measure; half of that in the root. */
static float sum_error_for(int64_t d) {
    return (float)(d / PANEL_ROWS + 2 * TILE_VECTORS + 2 * LANES + 8) * 0x1p-24f;
}

/* Measures centroid j of a row in float32, direct form. input_error is how far rounding may have
 * moved the row and the centroid. */
static FASTKM_INLINE void measure_row(const float* y, const float* z, int64_t d, float input_error,
                                      float sum_error, int32_t j, measured_row* measured) {
    const float dist = sqrtf(sq_dist_f32(y, z, d));
    const float error = (input_error + sum_error * dist) * 1.0001f;
    if (dist < measured->least) {
        add_other(measured, measured->label, measured->lower);
        measured->least = dist;
        measured->lower = dist - error;
        measured->upper = dist + error;
        measured->label = j;
    } else {
        add_other(measured, j, dist - error);
    }
}
