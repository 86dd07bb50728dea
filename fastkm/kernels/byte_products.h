/* Products of integers of a byte each: four times as many in an operation as float32 has, for
 * bounds of all distances of a row. What they leave is measured; README.md proves it. Only
 * instruction sets that multiply bytes have it, those with a largest code for a row. */

#ifdef LARGEST_ROW_CODE

/* Codes are kept in fours of features, as they are multiplied. */
#define FOUR 4

/* A tile takes half a panel's vectors or all, so that their codes stay in the first-level cache,
 * and as many centroids as there are registers for the sums. */
#define CODED_VECTORS 2
#define CODED_CENTROIDS (TILE_VECTORS / CODED_VECTORS * FASTKM_TILE_CENTROIDS)

static FASTKM_INLINE int64_t coded_tile_size(int64_t n_left) {
    if (n_left >= CODED_CENTROIDS) return CODED_CENTROIDS;
    return FASTKM_MIN(n_left, FASTKM_TILE_CENTROIDS);
}

/* Calls function(..., n) with the tile's size as a compile-time constant. */
#define WITH_CODED_TILE(n, call)        \
    do {                                \
        if ((n) == CODED_CENTROIDS)     \
            call(CODED_CENTROIDS);      \
        else                            \
            WITH_CONSTANT_TILE(n, call) \
    } while (0)

/* What a pass costs, in multiply-adds of the fused kernel: of brute force for a value of a row and
 * for a centroid; of bytes for these and for a product; for a row that bounds leave open and for a
 * distance that is measured, and each of their values. Fitted to passes of one thread, within 7 %
 * of all (docs/design.md); BYTE_COSTS has the instruction set's. */
typedef struct {
    double value, centroid, coded_value, coded_centroid, byte_product;
    double open_row, open_value, distance, distance_value;
} byte_costs;
static const byte_costs costs = BYTE_COSTS;

/* The same of a centroid's value that is coded, its share in fresh memory included; and where that
 * is not fresh. */
#define COST_OF_PACKING 1000
#define COST_OF_REPACKING 60

/* Where byte products do not pay they are tried again, at last after so many panels. */
#define MOST_SKIPPED 255
#define FEWER_TRIES 32
/* A row that bytes leave open may make its panel dear: about so many rows are judged by. */
#define ROWS_TO_JUDGE_BY 256

static double cost_in_floats(int64_t n_rows, int64_t d, int64_t k, int is_kept) {
    const double loading = is_kept ? 0 : (double)d * costs.value;
    return (double)n_rows * (loading + (double)k * ((double)d + costs.centroid));
}

/* Of products of bytes, without what they leave. */
static double cost_in_bytes(int64_t n_rows, int64_t d, int64_t k, int is_kept) {
    const double loading = is_kept ? 0 : (double)d * costs.coded_value;
    const double centroid = (double)d * costs.byte_product + costs.coded_centroid;
    return (double)n_rows * (loading + (double)k * centroid);
}

/* With so few centroids a row's bounds are gone through one by one, which takes a share of that. */
#define FEW_CENTROIDS 32
#define SHARE_OF_FEW 0.45

static double cost_of_left(int64_t n_open, int64_t n_distances, int64_t d, int64_t k) {
    const double open = (double)n_open * (costs.open_row + (double)d * costs.open_value);
    const double distances =
        (double)n_distances * (costs.distance + (double)d * costs.distance_value);
    return (open + distances) * (k <= FEW_CENTROIDS ? SHARE_OF_FEW : 1);
}

/* Of what brute force costs, the share that bytes do at least. */
static double least_share_in_bytes(int64_t n, int64_t d, int64_t k, int is_kept) {
    const double packing = (is_kept ? COST_OF_REPACKING : COST_OF_PACKING) * (double)k * (double)d;
    return (packing + cost_in_bytes(n, d, k, is_kept)) / cost_in_floats(n, d, k, is_kept);
}

static FASTKM_INLINE int64_t fours_of(int64_t d) {
    return (d + FOUR - 1) / FOUR;
}

/* So many values in a row let sums run in vectors. */
#define CODED_AT_ONCE 16

/* Codes of centroid j, one of n in a tile. Values past the last are zeros. */
static void encode_centroid(const fastkm_frame* frame, const fastkm_centroids* centroids,
                            const fastkm_byte_centroids* bytes, int64_t j, int64_t tile_begin,
                            int64_t n) {
    const int64_t d = centroids->d;
    const double *c = centroids->raw + j * d, *shift = frame->shift, scale = frame->scale;
    float* FASTKM_RESTRICT z = bytes->framed + j * d;
    int8_t* tile = bytes->tiles + tile_begin * fours_of(d) * FOUR + (j - tile_begin) * FOUR;
    float magnitudes[CODED_AT_ONCE] = {0}, largest = 0;
    double sq_norms[CODED_AT_ONCE] = {0}, sq_offs[CODED_AT_ONCE] = {0}, sq_norm = 0, sq_off = 0;
    int32_t sums[CODED_AT_ONCE] = {0}, sum = 0;
    for (int64_t f = 0; f < d; f++) z[f] = (float)((c[f] - shift[f]) * scale);
    for (int64_t f = 0; f + CODED_AT_ONCE <= d; f += CODED_AT_ONCE)
        for (int s = 0; s < CODED_AT_ONCE; s++)
            magnitudes[s] = FASTKM_MAX(magnitudes[s], fabsf(z[f + s]));
    for (int64_t f = d - d % CODED_AT_ONCE; f < d; f++)
        magnitudes[0] = FASTKM_MAX(magnitudes[0], fabsf(z[f]));
    for (int s = 0; s < CODED_AT_ONCE; s++) largest = FASTKM_MAX(largest, magnitudes[s]);
    /* Below this steps are zero, and so are codes. */
    const float step = largest > 0x1p-100f ? largest / FASTKM_LARGEST_CODE : 0;
    const float per_step = step > 0 ? 1 / step : 0;
    for (int64_t f = 0; f < d; f += CODED_AT_ONCE) {
        float values[CODED_AT_ONCE] = {0};
        int8_t codes[CODED_AT_ONCE];
        memcpy(values, z + f, (size_t)FASTKM_MIN(d - f, CODED_AT_ONCE) * sizeof *z);
        for (int s = 0; s < CODED_AT_ONCE; s++) {
            /* The sum has no room for a fraction. */
            const float code = (values[s] * per_step + 0x1.8p23f) - 0x1.8p23f;
            const float off = values[s] - code * step;
            codes[s] = (int8_t)code;
            sums[s] += (int32_t)code;
            sq_offs[s] += (double)off * off;
            sq_norms[s] += (double)values[s] * values[s];
        }
        for (int64_t s = 0; s < CODED_AT_ONCE && f + s < fours_of(d) * FOUR; s += FOUR)
            memcpy(tile + (f + s) * n, codes + s, FOUR);
    }
    for (int s = 0; s < CODED_AT_ONCE; s++) {
        sq_off += sq_offs[s];
        sq_norm += sq_norms[s];
        sum += sums[s];
    }
    const rounding_bound bound = bound_for(d);
    const double square = 1.01 * ((double)bound.a + bound.b), norm = sqrt(sq_norm);
    bytes->factors[j] = -2 * step;
    bytes->offsets[j] = -(LARGEST_ROW_CODE + 1) * sum;
    bytes->norms[j] = (float)(norm * (1 + 0x1p-20)) + FLT_MIN;
    /* Products with the step and differences round. */
    bytes->offs[j] = (float)((sqrt(sq_off) + 0x1p-22 * norm) * (1 + 0x1p-20)) + FLT_MIN;
    bytes->squares[j] = (float)(square * sq_norm * (1 + 0x1p-20)) + FLT_MIN;
    bytes->fixed[j] = (float)((1 - square) * sq_norm);
}

static void pack_bytes(const fastkm_frame* frame, const fastkm_centroids* centroids,
                       const fastkm_byte_centroids* bytes, int64_t j_begin, int64_t j_end) {
    for (int64_t tile = j_begin; tile < j_end;) {
        const int64_t n = coded_tile_size(centroids->k - tile);
        for (int64_t j = tile; j < tile + n; j++)
            encode_centroid(frame, centroids, bytes, j, tile, n);
        tile += n;
    }
}

/* Of a panel's rows: what 1 in a code stands for, and the shares of a centroid's norm, and of how
 * far its codes are off, in the error of the products. */
typedef struct {
    float steps[PANEL_ROWS], per_norm[PANEL_ROWS], per_off[PANEL_ROWS];
    float constants[PANEL_ROWS]; /* of the error, whatever the centroid */
} byte_panel;

/* Where four features of a vector of rows are: half after half of a panel. */
static FASTKM_INLINE uint8_t* coded(uint8_t* codes, int64_t d, int64_t half, int64_t q, int v) {
    return codes + ((half * fours_of(d) + q) * CODED_VECTORS + v) * LANES * FOUR;
}

/* Codes of the rows of a panel; lines are asked for with each four of a vector. */
static void encode_panel(const float* panel, int64_t d, const rounding_bound* bound,
                         const float* sq_norms, lines_ahead ahead, uint8_t* codes,
                         byte_panel* rows) {
    /* Plus this, a number of steps has its nearest integer and what makes that positive in its low
     * byte. */
    const vf to_code = vf_set1(0x1.8p23f + LARGEST_ROW_CODE + 1);
    for (int v = 0; v < TILE_VECTORS; v++) {
        const float* columns = panel + v * LANES;
        float per_step[LANES], *steps = rows->steps + v * LANES, sq_offs[LANES];
        vf most = vf_set1(0), least = vf_set1(0), sq_off = vf_set1(0);
        for (int64_t f = 0; f < d; f++) {
            const vf y = vf_load(columns + f * PANEL_ROWS);
            most = vf_max(y, most);
            least = vf_min(y, least);
        }
        vf_store(steps, vf_max(most, vf_sub(vf_set1(0), least)));
        for (int l = 0; l < LANES; l++) {
            const int has_step = steps[l] > 0x1p-100f && steps[l] < 0x1p100f;
            steps[l] = has_step ? steps[l] / LARGEST_ROW_CODE : 0;
            per_step[l] = has_step ? 1 / steps[l] : 0;
        }
        const vf step = vf_load(steps), per = vf_load(per_step);
        for (int64_t f = 0; f < d; f += FOUR) {
            vf code[FOUR];
            bring_lines(&ahead);
            for (int c = 0; c < FOUR; c++) {
                code[c] = to_code;
                if (f + c >= d) continue;
                const vf y = vf_load(columns + (f + c) * PANEL_ROWS);
                code[c] = vf_fma(y, per, to_code);
                const vf off = vf_sub(y, vf_mul(vf_sub(code[c], to_code), step));
                sq_off = vf_fma(off, off, sq_off);
            }
            vi_store_bytes(coded(codes, d, v / CODED_VECTORS, f / FOUR, v % CODED_VECTORS),
                           vi_low_bytes(code[0], code[1], code[2], code[3]));
        }
        vf_store(sq_offs, sq_off);
        for (int l = 0; l < LANES; l++) {
            const int64_t r = v * LANES + l;
            const float norm = sqrtf(sq_norms[r]) * bound->slack;
            /* The product and the difference round, too; more than all that is flushed. */
            const float off = sqrtf(sq_offs[l]) * bound->slack + 0x1p-22f * norm + 0x1p-50f;
            const float both = bound->a + bound->b;
            rows->per_norm[r] = (2.001f * off + 2.02f * both * norm + bound->c) * 1.001f;
            rows->per_off[r] = 2.001f * (norm + off);
            rows->constants[r] =
                (bound->b * norm * norm + bound->c * (1 + norm)) * 1.01f * bound->slack;
            if (!(norm < 0x1p60f)) rows->per_norm[r] = INFINITY;
        }
    }
}

/* Sums of products of some rows' codes, which have no sign, and a tile's. */
static FASTKM_INLINE void byte_products(const uint8_t* codes, const int8_t* tile,
                                        const int32_t* offsets, int64_t n_fours,
                                        const int n_centroids, lines_ahead* ahead,
                                        vi product[CODED_CENTROIDS][CODED_VECTORS]) {
    const int64_t q_ahead = FASTKM_MIN(ahead->lines_per_tile, n_fours);
    for (int j = 0; j < n_centroids; j++)
        for (int v = 0; v < CODED_VECTORS; v++) product[j][v] = vi_set1(offsets[j]);
#define ADD_FOUR(q)                                                                 \
    do {                                                                            \
        vi y[CODED_VECTORS];                                                        \
        for (int v = 0; v < CODED_VECTORS; v++)                                     \
            y[v] = vi_load_bytes(codes + ((q) * CODED_VECTORS + v) * LANES * FOUR); \
        for (int j = 0; j < n_centroids; j++) {                                     \
            const vi z = vi_set1_bytes(tile + ((q) * n_centroids + j) * FOUR);      \
            for (int v = 0; v < CODED_VECTORS; v++)                                 \
                product[j][v] = vi_add_byte_products(y[v], z, product[j][v]);       \
        }                                                                           \
    } while (0)
    for (int64_t q = 0; q < q_ahead; q++) {
        prefetch(ahead->next + q * LINE_BYTES);
        ADD_FOUR(q);
    }
    for (int64_t q = q_ahead; q < n_fours; q++) ADD_FOUR(q);
#undef ADD_FOUR
    for (int64_t line = q_ahead; line < ahead->lines_per_tile; line++)
        prefetch(ahead->next + line * LINE_BYTES);
    ahead->next += ahead->lines_per_tile * LINE_BYTES;
}

/* Codes of panels that are kept, and with them what encode_panel says of their rows. */
static byte_panel* kept_codes(const fastkm_panels* panels, int64_t d, int64_t i, uint8_t** codes) {
    *codes = panels->codes + i * fours_of(d) * FOUR;
    return (byte_panel*)panels->errors + i / PANEL_ROWS;
}

static void encode_panels(int64_t d, int64_t i_begin, int64_t i_end, const fastkm_panels* panels) {
    const rounding_bound bound = bound_for(d);
    const uint32_t saved = flush_denormals();
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        uint8_t* codes;
        byte_panel* rows = kept_codes(panels, d, i, &codes);
        encode_panel(panels->values + i * d, d, &bound, panels->sq_norms + i,
                     no_lines(panels->values), codes, rows);
    }
    restore_denormals(saved);
}

/* Lower bounds of the products of the rows from r_begin on and a tile, but for the rows' constants;
 * kept, and folded into the two nearest so far. */
static FASTKM_INLINE void bound_tile(const uint8_t* codes, const byte_panel* rows,
                                     const fastkm_byte_centroids* bytes, int64_t n_fours,
                                     int64_t r_begin, int64_t j_begin, const int n_centroids,
                                     lines_ahead* ahead, float* lowers, nearest_two* nearest) {
    vi product[CODED_CENTROIDS][CODED_VECTORS];
    const float *factors = bytes->factors + j_begin, *fixed = bytes->fixed + j_begin;
    const float *norms = bytes->norms + j_begin, *offs = bytes->offs + j_begin;
    byte_products(codes, bytes->tiles + j_begin * n_fours * FOUR, bytes->offsets + j_begin, n_fours,
                  n_centroids, ahead, product);
    for (int v = 0; v < CODED_VECTORS; v++) {
        const int64_t r = r_begin + v * LANES;
        float* FASTKM_RESTRICT kept = lowers + j_begin * PANEL_ROWS + r;
        const vf step = vf_load(rows->steps + r), zero = vf_set1(0);
        const vf less_per_norm = vf_sub(zero, vf_load(rows->per_norm + r));
        const vf less_per_off = vf_sub(zero, vf_load(rows->per_off + r));
        vf best = vf_load(nearest->best + r), second = vf_load(nearest->second + r);
        vi index = vi_load(nearest->index + r);
        for (int j = 0; j < n_centroids; j++) {
            const vf scaled = vf_mul(vf_of_ints(product[j][v]), step);
            const vf middle = vf_fma(scaled, vf_set1(factors[j]), vf_set1(fixed[j]));
            const vf lower = vf_fma(less_per_off, vf_set1(offs[j]),
                                    vf_fma(less_per_norm, vf_set1(norms[j]), middle));
            vf_store(kept + j * PANEL_ROWS, lower);
            fold(lower, vi_set1((int32_t)j_begin + j), &best, &second, &index);
        }
        vf_store(nearest->best + r, best);
        vf_store(nearest->second + r, second);
        vi_store(nearest->index + r, index);
    }
}

/* Shares in the errors of products with a centroid. */
typedef struct {
    float norm, off, square;
} coded_errors;

/* A pass of byte products over some rows. */
typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const fastkm_byte_centroids* bytes;
    const fastkm_panels* panels; /* where they are kept, or NULL */
    coded_errors largest;        /* of all centroids */
    rounding_bound bound;
    float sum_error, flushed; /* as in filter_pass */
    fastkm_scratch* scratch;
    fastkm_byte_work* work;
} byte_pass;

/* Of a row's centroids measured so far: the nearest, the two least squares, the largest norm. */
typedef struct {
    int32_t label;
    float least, second, norm;
} coded_row;

static FASTKM_INLINE void measure_coded(const byte_pass* pass, int32_t j, coded_row* measured) {
    const int64_t d = pass->points->d;
    const float sq_dist = sq_dist_f32(pass->work->row, pass->bytes->framed + j * d, d);
    pass->work->n_distances++;
    measured->norm = FASTKM_MAX(measured->norm, pass->bytes->norms[j]);
    measured->second = FASTKM_MIN(FASTKM_MAX(sq_dist, measured->least), measured->second);
    measured->label = sq_dist < measured->least ? j : measured->label;
    measured->least = FASTKM_MIN(sq_dist, measured->least);
}

/* How far a distance measured may be off. */
static FASTKM_INLINE float measured_error(const byte_pass* pass, float norm, float sq_norm,
                                          float dist) {
    const float reach = sqrtf(sq_norm) * pass->bound.slack + norm;
    return (0x1.2p-23f * reach + pass->flushed + pass->sum_error * dist) * 1.0001f;
}

/* The bound above which a centroid is surely farther than the nearest one measured: none, where the
 * row leaves float32 with its frame and the bound is no number. */
static float lower_limit(const byte_pass* pass, const coded_row* measured, float sq_norm,
                         float constant) {
    const float dist = sqrtf(measured->least);
    const float upper = dist + measured_error(pass, measured->norm, sq_norm, dist);
    const float limit = (upper * upper * 1.00001f - sq_norm) +
                        pass->bound.a * sq_norm * pass->bound.slack + constant;
    return fabsf(limit) < INFINITY ? limit : INFINITY;
}

/* Row i's label, where all centroids that may be nearest are measured. */
static int32_t label_as_measured(const byte_pass* pass, int64_t i, float sq_norm,
                                 const coded_row* measured) {
    const float dist = sqrtf(measured->least), other = sqrtf(measured->second);
    const float upper = dist + measured_error(pass, measured->norm, sq_norm, dist);
    const float other_lower = other - measured_error(pass, measured->norm, sq_norm, other);
    /* A second that is infinite is of one that was not measured, or of one whose square is. */
    const int is_decided =
        measured->second < INFINITY ? other_lower > upper * 1.000001f : measured->least < 0x1p120f;
    if (is_decided) return measured->label;
    pass->work->n_exact++;
    return exact_label(pass->points, pass->frame, pass->centroids, i, pass->scratch);
}

/* Row i's label from its list: the nearest by its bound is measured already. */
static int32_t label_from_list(const byte_pass* pass, int64_t i, float sq_norm, float constant,
                               const fastkm_candidate_list* list, coded_row* measured) {
    const int32_t nearest = measured->label;
    float least = measured->least, limit = lower_limit(pass, measured, sq_norm, constant);
    for (int32_t c = 0; c < list->count; c++) {
        if (list->index[c] == nearest || list->product[c] > limit) continue;
        measure_coded(pass, list->index[c], measured);
        if (!(measured->least < least)) continue;
        least = measured->least;
        limit = lower_limit(pass, measured, sq_norm, constant);
    }
    return label_as_measured(pass, i, sq_norm, measured);
}

/* Adds centroids to the lists of rows whose limits their lower bounds are not above. */
static int64_t list_lowers(const float* lowers, const float* limits, int64_t k,
                           fastkm_candidate_list* lists) {
    int64_t n_listed = 0;
    for (int64_t r_begin = 0; r_begin < PANEL_ROWS; r_begin += LANES) {
        const vf limit = vf_load(limits + r_begin);
        int has_limit = 0;
        for (int64_t r = r_begin; r < r_begin + LANES; r++) has_limit |= limits[r] > -INFINITY;
        for (int64_t j = 0; has_limit && j < k; j++) {
            const float* of_rows = lowers + j * PANEL_ROWS;
            uint32_t open =
                ~vm_bits(vf_lt(limit, vf_load(of_rows + r_begin))) & ((1u << LANES) - 1);
            for (; open; open &= open - 1) {
                const int64_t r = r_begin + lowest_bit(open);
                fastkm_candidate_list* list = &lists[r];
                if (list->count < FASTKM_KEPT_CANDIDATES) {
                    list->index[list->count] = (int32_t)j;
                    list->product[list->count] = of_rows[r];
                }
                list->count++;
                n_listed++;
            }
        }
    }
    return n_listed;
}

/* How far above the least of row r's bounds that of its nearest centroid may be. */
static FASTKM_INLINE float least_margin(const byte_panel* rows, const fastkm_byte_centroids* bytes,
                                        int64_t r, int32_t with_least) {
    const float error =
        rows->per_norm[r] * bytes->norms[with_least] + rows->per_off[r] * bytes->offs[with_least];
    return 2.0001f * (error + bytes->squares[with_least] + rows->constants[r]) + FLT_MIN;
}

/* Label of row r of a panel: of the centroids whose bounds are within the margin. */
static int32_t label_of_few(const byte_pass* pass, int64_t i_begin, int64_t r,
                            const byte_panel* rows, const float* sq_norms,
                            const nearest_two* nearest) {
    const float* lowers = pass->work->lowers + r;
    const float limit = nearest->best[r] + least_margin(rows, pass->bytes, r, nearest->index[r]);
    coded_row measured = {nearest->index[r], INFINITY, INFINITY, 0};
    centre_row(pass->points, pass->frame, i_begin + r, pass->work->row);
    for (int32_t j = 0; j < pass->centroids->k; j++)
        if (!(lowers[j * PANEL_ROWS] > limit)) measure_coded(pass, j, &measured);
    return label_as_measured(pass, i_begin + r, sq_norms[r], &measured);
}

/* Labels the rows of a panel whose nearest centroid the bounds do not tell. Returns 0 where that
 * alone is dearer than brute force, and then leaves it. */
static int settle_open(const byte_pass* pass, int64_t i_begin, const int64_t* open, int64_t n_open,
                       const byte_panel* rows, const float* sq_norms, const nearest_two* nearest,
                       int64_t n_rows, int32_t* labels) {
    const int64_t d = pass->points->d, k = pass->centroids->k;
    const double most =
        pass->work->is_always ? INFINITY : cost_in_floats(n_rows, d, k, pass->panels != NULL);
    fastkm_candidate_list* lists = pass->scratch->lists;
    coded_row measured[PANEL_ROWS];
    float limits[PANEL_ROWS];
    int64_t n_listed;
    pass->work->n_open += n_open;
    if (cost_of_left(n_open, n_open, d, k) > most) return 0;
    if (k <= FEW_CENTROIDS) {
        for (int64_t o = 0; o < n_open; o++)
            labels[open[o]] = label_of_few(pass, i_begin, open[o], rows, sq_norms, nearest);
        return 1;
    }
    for (int64_t r = 0; r < PANEL_ROWS; r++) {
        limits[r] = -INFINITY;
        lists[r].count = 0;
    }
    for (int64_t o = 0; o < n_open; o++) {
        const int64_t r = open[o];
        measured[o] = (coded_row){nearest->index[r], INFINITY, INFINITY, 0};
        centre_row(pass->points, pass->frame, i_begin + r, pass->work->row);
        measure_coded(pass, nearest->index[r], &measured[o]);
        limits[r] = lower_limit(pass, &measured[o], sq_norms[r], rows->constants[r]);
    }
    n_listed = list_lowers(pass->work->lowers, limits, k, lists);
    pass->work->n_listed += n_listed;
    if (cost_of_left(0, n_listed, d, k) > most) return 0;
    for (int64_t o = 0; o < n_open; o++)
        if (lists[open[o]].count > FASTKM_KEPT_CANDIDATES) return 0;
    for (int64_t o = 0; o < n_open; o++) {
        const int64_t r = open[o];
        labels[r] = nearest->index[r];
        if (lists[r].count == 0 || (lists[r].count == 1 && lists[r].index[0] == nearest->index[r]))
            continue;
        centre_row(pass->points, pass->frame, i_begin + r, pass->work->row);
        labels[r] = label_from_list(pass, i_begin + r, sq_norms[r], rows->constants[r], &lists[r],
                                    &measured[o]);
    }
    return 1;
}

static coded_errors largest_errors(const fastkm_byte_centroids* bytes, int64_t k) {
    coded_errors largest = {0, 0, 0};
    for (int64_t j = 0; j < k; j++) {
        largest.norm = FASTKM_MAX(bytes->norms[j], largest.norm);
        largest.off = FASTKM_MAX(bytes->offs[j], largest.off);
        largest.square = FASTKM_MAX(bytes->squares[j], largest.square);
    }
    return largest;
}

/* A bit for each of a vector's rows whose second least bound may be of a nearer centroid than the
 * least, as far as the largest errors of all centroids tell. */
static FASTKM_INLINE uint32_t close_to_second(const byte_panel* rows, const coded_errors* largest,
                                              int64_t r, const nearest_two* nearest) {
    const vf of_norm = vf_mul(vf_load(rows->per_norm + r), vf_set1(largest->norm));
    const vf error = vf_add(vf_fma(vf_load(rows->per_off + r), vf_set1(largest->off), of_norm),
                            vf_add(vf_set1(largest->square), vf_load(rows->constants + r)));
    const vf margin = vf_fma(error, vf_set1(2.0001f), vf_set1(FLT_MIN));
    const vf gap = vf_sub(vf_load(nearest->second + r), vf_load(nearest->best + r));
    return ~vm_bits(vf_lt(margin, gap)) & ((1u << LANES) - 1);
}

/* Encodes the panel in scratch. Of the lines that loading leaves to ask for half are asked for with
 * the codes; the rest is returned. */
static lines_ahead encode_loaded(const byte_pass* pass, int64_t i, const float* sq_norms,
                                 byte_panel* rows) {
    const int64_t d = pass->points->d;
    const next_panel rest = rest_of_panel_after(pass->points, i);
    const int64_t n_steps = TILE_VECTORS * fours_of(d);
    const int64_t n_tiles = n_tiles_of(pass->centroids->k);
    const lines_ahead with_codes = {rest.begin, rest.n_lines / 2 / n_steps};
    const int64_t n_asked = with_codes.lines_per_tile * n_steps;
    encode_panel(pass->scratch->panel, d, &pass->bound, sq_norms, with_codes, pass->work->codes,
                 rows);
    return (lines_ahead){rest.begin + n_asked * LINE_BYTES,
                         (rest.n_lines - n_asked + n_tiles - 1) / n_tiles};
}

/* Labels a panel's rows by byte products; returns 0 where that does not pay. */
static int label_by_bytes(const byte_pass* pass, int64_t i, int64_t n_rows, const float* sq_norms,
                          int32_t* labels) {
    const fastkm_byte_centroids* bytes = pass->bytes;
    const int64_t d = pass->points->d, k = pass->centroids->k;
    byte_panel encoded, *rows = &encoded;
    uint8_t* codes = pass->work->codes;
    nearest_two nearest;
    int64_t open[PANEL_ROWS], n_open = 0;
    lines_ahead ahead = no_lines(pass->points->base);
    const uint32_t saved = flush_denormals();
    if (pass->panels)
        rows = kept_codes(pass->panels, d, i, &codes);
    else
        ahead = encode_loaded(pass, i, sq_norms, rows);
    reset_nearest(&nearest);
    for (int64_t half = 0; half < TILE_VECTORS / CODED_VECTORS; half++) {
        for (int64_t j = 0; j < k; j += coded_tile_size(k - j)) {
#define BOUND(n)                                                      \
    bound_tile(coded(codes, d, half, 0, 0), rows, bytes, fours_of(d), \
               half * CODED_VECTORS * LANES, j, n, &ahead, pass->work->lowers, &nearest)
            WITH_CODED_TILE(coded_tile_size(k - j), BOUND);
#undef BOUND
        }
    }
    restore_denormals(saved);
    memcpy(labels, nearest.index, (size_t)n_rows * sizeof *labels);
    for (int64_t v = 0; v < n_rows; v += LANES) {
        uint32_t close = close_to_second(rows, &pass->largest, v, &nearest);
        for (int64_t r = v; close && r < n_rows; r++, close >>= 1)
            if ((close & 1) && !(nearest.second[r] - nearest.best[r] >
                                 least_margin(rows, bytes, r, nearest.index[r])))
                open[n_open++] = r;
    }
    return settle_open(pass, i, open, n_open, rows, sq_norms, &nearest, n_rows, labels);
}

/* Tries a panel in bytes, and judges from what they left whether to skip others: the more panels
 * the more often they did not pay. Returns whether its rows are labelled. */
static int try_bytes(const byte_pass* pass, int64_t i, int64_t n_rows, const float* sq_norms,
                     int32_t* labels) {
    fastkm_byte_work* work = pass->work;
    const int64_t d = pass->points->d, k = pass->centroids->k;
    const int64_t n_open = work->n_open, n_distances = work->n_distances;
    const int is_kept = pass->panels != NULL;
    const int is_settled = label_by_bytes(pass, i, n_rows, sq_norms, labels);
    const double in_floats = cost_in_floats(n_rows, d, k, is_kept);
    const double in_bytes =
        cost_in_bytes(n_rows, d, k, is_kept) +
        cost_of_left(work->n_open - n_open, work->n_distances - n_distances, d, k);
    const double share = (in_bytes + (is_settled ? 0 : in_floats)) / in_floats;
    if (work->n_tried == 0) work->share = cost_in_bytes(n_rows, d, k, is_kept) / in_floats;
    work->share += (share - work->share) * FASTKM_MIN((double)n_rows / ROWS_TO_JUDGE_BY, 1);
    work->n_tried += n_rows;
    work->n_failed = work->share < 1 ? work->n_failed / FEWER_TRIES
                                     : FASTKM_MIN(FEWER_TRIES * (work->n_failed + 1), MOST_SKIPPED);
    work->n_to_skip = work->n_failed;
    return is_settled;
}

/* What assign does, most of it in bytes. */
static int64_t assign_bytes(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const fastkm_byte_centroids* bytes,
                            const fastkm_panels* panels, int64_t i_begin, int64_t i_end,
                            fastkm_scratch* scratch, fastkm_byte_work* work, int32_t* labels) {
    const byte_pass pass = {points,
                            frame,
                            centroids,
                            bytes,
                            panels,
                            largest_errors(bytes, centroids->k),
                            bound_for(points->d),
                            sum_error_for(points->d),
                            sqrtf((float)points->d) * 0x1p-61f,
                            scratch,
                            work};
    float sq_norms[PANEL_ROWS];
    work->n_exact = 0;
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        int32_t* here = labels + (i - i_begin);
        ready_panel panel =
            panel_of(points, frame, panels, i, n_rows, centroids->k, scratch, sq_norms);
        nearest_two nearest;
        int is_settled = 0;
        if (work->n_to_skip > 0 && !work->is_always) {
            work->n_to_skip--;
        } else {
            is_settled = try_bytes(&pass, i, n_rows, panel.sq_norms, here);
            panel.ahead = no_lines(points->base);
        }
        if (is_settled) continue;
        fold_panel(panel.values, centroids, panel.ahead, &nearest);
        work->n_exact += settle_panel(points, frame, centroids, &pass.bound, i, NULL, n_rows, 1,
                                      &nearest, panel.sq_norms, scratch, here);
    }
    return work->n_exact;
}

#endif
