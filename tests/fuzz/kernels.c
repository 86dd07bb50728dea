/* A libFuzzer target over the kernels' table: bytes become rows of any dtype and layout, centroids
 * and weights, and every instruction set that the machine runs must give what the contract says.
 *
 * Labels and distances are compared with the direct form in float64 below, which shares no line
 * with the kernels; sums, moments and gains with the portable kernels, bit for bit, and means with
 * sums in long double. Every buffer is of exactly the size that the contract asks for, so that a
 * sanitizer sees a step outside. `.ci/sanitize fuzz` builds and runs it; with FASTKM_FUZZ_MAIN it
 * is a program that takes the files of a corpus, for valgrind. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROWS 600
#define MOST_FEATURES 150
#define MOST_CENTROIDS 70
#define MOST_WORK 20000 /* n d k: so that an input takes milliseconds */

/* ---- bytes, and numbers when they have ended ------------------------------------------------ */

typedef struct {
    const uint8_t* bytes;
    size_t left;
    uint64_t state;
} source;

static uint64_t next_random(source* from) {
    from->state ^= from->state << 13;
    from->state ^= from->state >> 7;
    from->state ^= from->state << 17;
    return from->state;
}

static uint64_t take(source* from, size_t n_bytes) {
    uint64_t value = 0;
    if (from->left < n_bytes) {
        from->left = 0;
        value = next_random(from);
        return n_bytes < 8 ? value & (((uint64_t)1 << 8 * n_bytes) - 1) : value;
    }
    memcpy(&value, from->bytes, n_bytes);
    from->bytes += n_bytes;
    from->left -= n_bytes;
    return value;
}

static int64_t take_below(source* from, int64_t limit) {
    return (int64_t)(take(from, 2) % (uint64_t)limit);
}

static void* room(size_t n_bytes) {
    void* memory = NULL;
    if (posix_memalign(&memory, FASTKM_ALIGN, n_bytes ? n_bytes : 1)) abort();
    return memory;
}

/* ---- what is expected ------------------------------------------------------------------------ */

static const char* isa_now = "";

#define EXPECT(condition, ...)                                              \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s: %s does not hold: ", isa_now, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fprintf(stderr, "\n");                                          \
            abort();                                                        \
        }                                                                   \
    } while (0)

static int same_bits(const void* one, const void* other, size_t n_bytes) {
    return memcmp(one, other, n_bytes) == 0;
}

/* Equal as numbers, so that zeros of either sign are, and so are two that are none. */
static int same_number(double one, double other) {
    return one == other || (one != one && other != other);
}

static int same_numbers(const double* one, const double* other, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!same_number(one[i], other[i])) return 0;
    return 1;
}

/* ---- a problem ------------------------------------------------------------------------------- */

static const int64_t SIZES[] = {2, 4, 8, 1, 1, 2, 2, 4, 4, 8, 8};

enum style {
    RAW_BITS,
    SMALL_INTEGERS,
    FAR_BLOB,
    BLOBS,
    ALL_SCALES,
    ONE_VALUE,
    TINY,
    MIXED,
    N_STYLES
};

typedef struct {
    int64_t n, d, k, n_candidates;
    char* memory; /* of X */
    fastkm_points points;
    double* values;               /* (n, d) what X holds */
    double* centroids;            /* (k, d) */
    double* weights;              /* (n,) or NULL */
    int32_t *labels_old, *labels; /* (n,) expected */
    double* label_sq_dists;       /* (n, k) of the contract, times exact_scale^2 */
    double *mean, *variance, *shift, *sum_scale;
    float* shift_f32;
    fastkm_frame frame;
    double low_scale;
    int has_finite_sums;
} problem;

/* As IEEE 754-2008 defines it. */
static double value_of_half(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double magnitude =
        exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half >> 15 ? -magnitude : magnitude;
}

static uint16_t half_near(double value) {
    uint16_t best = 0;
    const double magnitude = fabs(value);
    for (int bit = 14; bit >= 0; bit--) {
        const uint16_t tried = (uint16_t)(best | 1u << bit);
        if (tried < 0x7c00 && value_of_half(tried) <= magnitude) best = tried;
    }
    return (uint16_t)(best | (value < 0 ? 0x8000 : 0));
}

static double drawn(source* from, int style, int64_t i, int64_t f) {
    const uint64_t bits = take(from, 2);
    const double unit = (double)bits / 65536;
    double value;
    switch (style) {
    case SMALL_INTEGERS:
        return (double)(bits % 5) - 2;
    case FAR_BLOB:
        return 1e6 + unit;
    case BLOBS:
        return (double)((uint64_t)(i * 7919 + f * 31) % 3) * 40 + unit;
    case ALL_SCALES:
        return ldexp(unit - 0.5, (int)(bits % 1900) - 950);
    case ONE_VALUE:
        return 3.25;
    case TINY:
        return ldexp(unit, -1030);
    default: /* MIXED: most near 0, some far */
        value = bits % 16 ? unit : unit * 1e12;
        return bits % 3 ? value : -value;
    }
}

/* Write one value in the dtype, finite, and return it. */
static double write_value(source* from, int style, int32_t dtype, int64_t i, int64_t f, char* to) {
    uint64_t bits = style == RAW_BITS ? take(from, (size_t)SIZES[dtype]) : 0;
    const double wanted = style == RAW_BITS ? 0 : drawn(from, style, i, f);
    float single;
    double value;
#define INTEGER(type, least, largest)                                                        \
    {                                                                                        \
        type integer = style == RAW_BITS     ? (type)bits                                    \
                       : wanted < (least)    ? (type)(least)                                 \
                       : wanted >= (largest) ? (type)((largest) - 2048 * (sizeof(type) > 2)) \
                                             : (type)wanted;                                 \
        memcpy(to, &integer, sizeof integer);                                                \
        return (double)integer;                                                              \
    }
    switch (dtype) {
    case FASTKM_F16: {
        uint16_t half = style == RAW_BITS ? (uint16_t)bits : half_near(wanted);
        if ((half & 0x7c00) == 0x7c00) half ^= 0x4000;
        memcpy(to, &half, sizeof half);
        return value_of_half(half);
    }
    case FASTKM_F32:
        single = (float)fmax(-3e38, fmin(3e38, wanted));
        if (style == RAW_BITS) {
            if ((bits & 0x7f800000) == 0x7f800000) bits ^= 0x40000000;
            memcpy(&single, &bits, sizeof single);
        }
        memcpy(to, &single, sizeof single);
        return single;
    case FASTKM_F64:
        value = wanted;
        if (style == RAW_BITS) {
            if ((bits >> 52 & 2047) == 2047) bits ^= (uint64_t)1 << 62;
            memcpy(&value, &bits, sizeof value);
        }
        memcpy(to, &value, sizeof value);
        return value;
    case FASTKM_I8:
        INTEGER(int8_t, -128.0, 127.0)
    case FASTKM_U8:
        INTEGER(uint8_t, 0.0, 255.0)
    case FASTKM_I16:
        INTEGER(int16_t, -32768.0, 32767.0)
    case FASTKM_U16:
        INTEGER(uint16_t, 0.0, 65535.0)
    case FASTKM_I32:
        INTEGER(int32_t, -0x1p31, 0x1p31)
    case FASTKM_U32:
        INTEGER(uint32_t, 0.0, 0x1p32)
    case FASTKM_I64:
        INTEGER(int64_t, -0x1p63, 0x1p63)
    default:
        INTEGER(uint64_t, 0.0, 0x1p64)
    }
#undef INTEGER
}

/* Rows in any order and spacing; only misaligned where the bytes of a row are. */
static void lay_out(problem* of, source* from, int32_t dtype, uint64_t layout, int style) {
    const int64_t size = SIZES[dtype], n = of->n, d = of->d;
    const int64_t offset = layout & 1 ? 1 : 0, is_fortran = layout >> 1 & 1;
    const int64_t between = layout >> 2 & 3, spread = layout >> 4 & 1 ? 2 : 1;
    const int64_t col = is_fortran ? size * (n + between) : size * spread;
    const int64_t row = is_fortran ? size : size * spread * d + size * between;
    /* From the first byte of the first value to the last of the last, and no more. */
    const size_t n_bytes = (size_t)(offset + (n - 1) * row + (d - 1) * col + size);
    of->memory = malloc(n_bytes);
    memset(of->memory, 0xff, n_bytes); /* between the values: NaN */
    of->points = (fastkm_points){of->memory + offset, n, d, row, col, dtype};
    if (layout >> 5 & 1) {
        of->points.base += (n - 1) * row;
        of->points.row_stride = -row;
    }
    if (layout >> 6 & 1) {
        of->points.base += (d - 1) * col;
        of->points.col_stride = -col;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t f = 0; f < d; f++)
            of->values[i * d + f] = write_value(from, style, dtype, i, f,
                                                (char*)of->points.base + i * of->points.row_stride +
                                                    f * of->points.col_stride);
}

static void draw_centroids(problem* of, source* from) {
    for (int64_t j = 0; j < of->k; j++) {
        const int64_t kind = take_below(from, 8), i = take_below(from, of->n);
        const int64_t other = take_below(from, of->n);
        for (int64_t f = 0; f < of->d; f++) {
            const double x = of->values[i * of->d + f], y = of->values[other * of->d + f];
            double* c = of->centroids + j * of->d + f;
            *c = kind < 4   ? x
                 : kind < 6 ? x / 2 + y / 2
                 : kind < 7 ? x * (1 + 0x1p-40)
                            : (take_below(from, 2) ? 1e100 : -1e3);
            if (!isfinite(*c)) *c = x;
        }
    }
}

/* What Problem does before a fit. */
static int describe_problem(problem* of, const fastkm_kernels* kernels) {
    const int64_t n = of->n, d = of->d;
    char* memory = room(fastkm_scratch_bytes(kernels, d, 1));
    fastkm_scratch scratch = fastkm_scratch_in(memory, kernels, d, 1);
    double* origin = room((size_t)d * 8);
    double* moments = room((size_t)d * 32);
    const fastkm_moments target = {origin, moments, moments + d, moments + 2 * d, moments + 3 * d};
    const fastkm_columns columns = {of->mean, of->variance, of->shift, of->shift_f32,
                                    of->sum_scale};
    const int n_bits = 50; /* n <= 2^12 */
    fastkm_extent extent;
    kernels->find_origin(&of->points, (n + 63) / 64, &scratch, origin);
    kernels->describe(&of->points, 0, n, &scratch, &target);
    of->has_finite_sums =
        kernels->join_moments(moments, 1, n, d, origin, n_bits, &columns, &extent);
    of->low_scale = ldexp(1, n_bits);
    const int is_narrow = of->points.dtype == FASTKM_F16 || of->points.dtype == FASTKM_F32 ||
                          (of->points.dtype >= FASTKM_I8 && of->points.dtype <= FASTKM_U16);
    int exponent, of_largest;
    const int limit = is_narrow ? 126 : 1000;
    frexp(extent.reach, &exponent);
    frexp(extent.largest, &of_largest);
    of->frame.scale = ldexp(1, -exponent < -limit ? -limit : -exponent > limit ? limit : -exponent);
    int exact = -exponent < limit - of_largest ? -exponent : limit - of_largest;
    exact = exact < limit ? exact : limit;
    exact = exact > -limit ? exact : -limit;
    of->frame.exact_scale = abs(exponent) > 400 ? ldexp(1, exact) : 1;
    if (is_narrow)
        for (int64_t f = 0; f < d; f++) of->shift[f] = of->shift_f32[f];
    of->frame.shift = of->shift;
    of->frame.shift_f32 = of->shift_f32;
    free(memory);
    free(origin);
    free(moments);
    return 1;
}

/* The contract of labels: first feature to last, ties to the lowest index. */
static void expect_labels(problem* of) {
    const double scale = of->frame.exact_scale;
    for (int64_t i = 0; i < of->n; i++) {
        double* dists = of->label_sq_dists + i * of->k;
        of->labels[i] = 0;
        for (int64_t j = 0; j < of->k; j++) {
            double sum = 0;
            for (int64_t f = 0; f < of->d; f++) {
                const double x = of->values[i * of->d + f] * scale;
                const double c = of->centroids[j * of->d + f] * scale;
                sum += (x - c) * (x - c); /* compiled without contraction */
            }
            dists[j] = sum;
            if (dists[j] < dists[of->labels[i]]) of->labels[i] = (int32_t)j;
        }
    }
}

/* ---- what is asked of each instruction set --------------------------------------------------- */

typedef struct {
    char* memory;
    fastkm_scratch scratch;
    fastkm_centroids centroids;
} engine;

static engine engine_of(const problem* of, const fastkm_kernels* kernels, int64_t k) {
    engine made;
    made.memory = room(fastkm_scratch_bytes(kernels, of->d, k));
    made.scratch = fastkm_scratch_in(made.memory, kernels, of->d, k);
    made.centroids.k = k;
    made.centroids.d = of->d;
    made.centroids.raw = of->centroids;
    made.centroids.tiles = room((size_t)(k * of->d) * 4);
    made.centroids.sq_norms = room((size_t)k * 4);
    made.centroids.exact = room((size_t)((k + 7) / 8 * 8 * of->d) * 8);
    made.centroids.heats = of->d <= FASTKM_HEAT_FEATURES
                               ? room((size_t)(FASTKM_HEAT_ROOM(k) * (1 + of->d)) * 4)
                               : NULL;
    made.centroids.max_norm = kernels->pack(&of->frame, &made.centroids, 0, k);
    return made;
}

static void free_engine(engine* made) {
    free(made->memory);
    free(made->centroids.tiles);
    free(made->centroids.sq_norms);
    free(made->centroids.exact);
    free(made->centroids.heats);
}

/* What two instruction sets must have in common, bit for bit. */
typedef struct {
    double *moments, *means, *weighted, *own, *closest, *moved, *moved_counts, *learnt;
    uint64_t* sums;
    int64_t* counts;
    uint32_t* masks;
    double *settled, *sparse_moments;
} results;

#define FOR_BLOCKS(n)                                                                        \
    for (int64_t i_begin = 0, i_end; i_begin < (n) && (i_end = i_begin + FASTKM_BLOCK_ROWS,  \
                                                      i_end = i_end < (n) ? i_end : (n), 1); \
         i_begin = i_end)

static void check_moments(const problem* of, const fastkm_kernels* kernels, engine* with,
                          results* found) {
    const int64_t d = of->d;
    double* origin = room((size_t)d * 8);
    const fastkm_moments target = {origin, found->moments, found->moments + d,
                                   found->moments + 2 * d, found->moments + 3 * d};
    kernels->find_origin(&of->points, (of->n + 63) / 64, &with->scratch, origin);
    kernels->describe(&of->points, 0, of->n, &with->scratch, &target);
    for (int64_t f = 0; f < d; f++) {
        double low = INFINITY, high = -INFINITY;
        for (int64_t i = 0; i < of->n; i++) {
            low = fmin(low, of->values[i * d + f]);
            high = fmax(high, of->values[i * d + f]);
        }
        EXPECT(target.min[f] == low && target.max[f] == high, "feature %ld", (long)f);
    }
    free(origin);
}

static void check_labels(const problem* of, const fastkm_kernels* kernels, engine* with) {
    const int64_t n = of->n, d = of->d, k = of->k;
    const int64_t n_whole = (n + FASTKM_BLOCK_ROWS - 1) / FASTKM_BLOCK_ROWS * FASTKM_BLOCK_ROWS;
    const int64_t width = (d + 3) / 4 * 4, rows = kernels->panel_rows;
    int32_t* labels = room((size_t)n * 4);
    fastkm_panels panels = {room((size_t)(n_whole * d) * 4), room((size_t)n_whole * 4),
                            room((size_t)(n_whole * width)), room((size_t)(4 * n_whole) * 4)};
    memset(labels, 0xff, (size_t)n * 4);
    FOR_BLOCKS(n)
    kernels->assign(&of->points, &of->frame, &with->centroids, i_begin, i_end, 1, &with->scratch,
                    labels + i_begin);
    for (int64_t i = 0; i < n; i++)
        EXPECT(labels[i] == of->labels[i], "assign, row %ld: %d for %d", (long)i, labels[i],
               of->labels[i]);
    FOR_BLOCKS(n) kernels->fill_panels(&of->points, &of->frame, i_begin, i_end, &panels);
    memset(labels, 0xff, (size_t)n * 4);
    FOR_BLOCKS(n)
    kernels->assign_kept(&of->points, &of->frame, &with->centroids, &panels, i_begin, i_end,
                         &with->scratch, labels + i_begin);
    EXPECT(same_bits(labels, of->labels, (size_t)n * 4), "assign_kept");
    if (kernels->assign_bytes && with->centroids.max_norm < 1e15f) {
        float* floats = room((size_t)(k * d + 6 * k) * 4);
        const fastkm_byte_centroids bytes = {room((size_t)(k * width)),
                                             floats,
                                             floats + k * d,
                                             (int32_t*)(floats + k * d + k),
                                             floats + k * d + 2 * k,
                                             floats + k * d + 3 * k,
                                             floats + k * d + 4 * k,
                                             floats + k * d + 5 * k};
        fastkm_byte_work work = {0};
        work.codes = room((size_t)(width * rows));
        work.lowers = room((size_t)(k * rows) * 4);
        work.row = room((size_t)width * 4 + 64);
        work.is_always = 1;
        kernels->pack_bytes(&of->frame, &with->centroids, &bytes, 0, k);
        FOR_BLOCKS(n) kernels->encode_panels(d, i_begin, i_end, &panels);
        for (int kept = 0; kept < 2; kept++) {
            memset(labels, 0xff, (size_t)n * 4);
            FOR_BLOCKS(n)
            kernels->assign_bytes(&of->points, &of->frame, &with->centroids, &bytes,
                                  kept ? &panels : NULL, i_begin, i_end, &with->scratch, &work,
                                  labels + i_begin);
            for (int64_t i = 0; i < n; i++)
                EXPECT(labels[i] == of->labels[i], "assign_bytes, row %ld: %d for %d", (long)i,
                       labels[i], of->labels[i]);
        }
        free(floats);
        free(bytes.tiles);
        free(work.codes);
        free(work.lowers);
        free(work.row);
    }
    free(panels.values);
    free(panels.sq_norms);
    free(panels.codes);
    free(panels.errors);
    free(labels);
}

static fastkm_leads leads_of(const problem* of, char** memory) {
    const int64_t n = of->n, d = of->d, k = of->k, size = k * FASTKM_RINGS;
    double* doubles = room((size_t)(k * (d + 2) + 2 * size) * 8);
    float* floats = room((size_t)(2 * size + k + n) * 4);
    uint16_t* slots = room((size_t)n * 2 + (size_t)(k * k));
    fastkm_leads made = {.k = k,
                         .raw = doubles,
                         .drifts = doubles + k * d,
                         .paths = doubles + k * (d + 1),
                         .travels = doubles + k * (d + 2),
                         .reserves = doubles + k * (d + 2) + size,
                         .limits = floats,
                         .travels_f32 = floats + size,
                         .places = floats + 2 * size,
                         .leads = floats + 2 * size + k,
                         .near_from = (uint8_t*)(slots + n),
                         .slots = slots};
    memory[0] = (char*)doubles;
    memory[1] = (char*)floats;
    memory[2] = (char*)slots;
    memcpy(made.raw, of->centroids, (size_t)(k * d) * 8);
    memset(made.paths, 0, (size_t)k * 8);
    memset(made.travels, 0, (size_t)size * 8);
    memset(made.near_from, 0, (size_t)(k * k));
    for (int64_t r = 0; r < size; r++) made.reserves[r] = INFINITY;
    return made;
}

#define ROUNDS_OF_LEADS 6

/* Round after round as brute force does, which has been compared with the oracle. */
static void check_leads(const problem* of, const fastkm_kernels* kernels) {
    const int64_t n = of->n, d = of->d, k = of->k;
    source from = {NULL, 0, (uint64_t)(n * 31 + d * 7 + k) | 1};
    char* memory[3];
    engine with = engine_of(of, kernels, k);
    fastkm_leads leads = leads_of(of, memory);
    double* raw = room((size_t)(k * d) * 8);
    int32_t* labels = room((size_t)n * 4);
    int32_t* expected = room((size_t)n * 4);
    int32_t* lists = room(2 * FASTKM_BLOCK_ROWS * 4);
    memcpy(raw, of->centroids, (size_t)(k * d) * 8);
    memset(labels, 0xff, (size_t)n * 4);
    with.centroids.raw = raw;
    for (int turn = 0; turn < ROUNDS_OF_LEADS; turn++) {
        with.centroids.max_norm = kernels->pack(&of->frame, &with.centroids, 0, k);
        kernels->follow_moves(&of->frame, &with.centroids, turn > 0, &with.scratch, &leads);
        kernels->follow_labels(&of->frame, &with.centroids, 0, k, turn > 0, &with.scratch, &leads);
        FOR_BLOCKS(n) {
            fastkm_lead_work work = {lists, lists + FASTKM_BLOCK_ROWS, 0, 0, 0};
            kernels->assign_by_leads(&of->points, &of->frame, &with.centroids, &leads, i_begin,
                                     i_end, labels, &with.scratch, &work, labels);
            kernels->assign(&of->points, &of->frame, &with.centroids, i_begin, i_end, 1,
                            &with.scratch, expected + i_begin);
        }
        for (int64_t i = 0; i < n; i++)
            EXPECT(labels[i] == expected[i], "leads, turn %d, row %ld: %d for %d", turn, (long)i,
                   labels[i], expected[i]);
        for (int64_t j = 0; j < k; j++) {
            const int64_t i = (int64_t)(next_random(&from) % (uint64_t)n);
            const double share = ldexp(1, -(int)(next_random(&from) % 24));
            if (next_random(&from) % 3 == 0) continue;
            for (int64_t f = 0; f < d; f++)
                raw[j * d + f] = raw[j * d + f] * (1 - share) + of->values[i * d + f] * share;
        }
    }
    for (int m = 0; m < 3; m++) free(memory[m]);
    free(raw);
    free(labels);
    free(expected);
    free(lists);
    free_engine(&with);
}

static void check_sums(const problem* of, const fastkm_kernels* kernels, engine* with,
                       results* found) {
    const int64_t n = of->n, d = of->d, k = of->k;
    int32_t* none = room((size_t)n * 4);
    const fastkm_sums sums = {
        of->sum_scale, of->low_scale, found->sums, found->sums + k * d, found->counts, 0, k};
    const fastkm_weighted_sums weighted = {1, of->shift, found->weighted, found->weighted + k * d,
                                           0, k};
    memset(none, 0xff, (size_t)n * 4);
    memset(found->sums, 0, (size_t)(2 * k * d) * 8);
    memset(found->counts, 0, (size_t)k * 8);
    memset(found->weighted, 0, (size_t)(k * d + k) * 8);
    FOR_BLOCKS(n)
    kernels->accumulate(&of->points, i_begin, i_end, none, of->labels_old, &with->scratch, &sums);
    FOR_BLOCKS(n)
    kernels->accumulate(&of->points, i_begin, i_end, of->labels_old, of->labels, &with->scratch,
                        &sums);
    memcpy(found->means, of->centroids, (size_t)(k * d) * 8);
    kernels->means(&sums, d, 0, k, found->means);
    if (of->weights) FOR_BLOCKS(n)
    kernels->accumulate_weighted(&of->points, i_begin, i_end, of->labels, of->weights,
                                 &with->scratch, &weighted);
    free(none);
}

/* Within a few bits of the column's largest value: means of long doubles are right to 2^-54. */
static void check_means(const problem* of, const results* found) {
    const int64_t d = of->d;
    for (int64_t j = 0; j < of->k; j++)
        for (int64_t f = 0; f < d; f++) {
            long double sum = 0;
            double largest = 0;
            int64_t count = 0;
            for (int64_t i = 0; i < of->n; i++) {
                largest = fmax(largest, fabs(of->values[i * d + f]));
                if (of->labels[i] != j) continue;
                sum += of->values[i * d + f];
                count++;
            }
            EXPECT(found->counts[j] == count, "label %ld", (long)j);
            if (!count) continue;
            const long double off = sum / count - (long double)found->means[j * d + f];
            EXPECT(fabsl(off) <= (long double)largest * 0x1p-52L + 0x1p-1073L,
                   "mean %ld, feature %ld: %g off", (long)j, (long)f, (double)off);
        }
}

static void check_distances(const problem* of, const fastkm_kernels* kernels, engine* with,
                            results* found) {
    const int64_t n = of->n, d = of->d, k = of->k;
    double* doubles = room((size_t)(n * k) * 8);
    float* singles = room((size_t)(n * k) * 4);
    const double scale = of->frame.exact_scale;
    FOR_BLOCKS(n)
    kernels->own_sq_dists(&of->points, &of->frame, &with->centroids, i_begin, i_end, of->labels,
                          &with->scratch, found->own + i_begin);
    kernels->distances(&of->points, &of->frame, &with->centroids, 0, n, &with->scratch, 0, doubles);
    kernels->distances(&of->points, &of->frame, &with->centroids, 0, n, &with->scratch, 1, singles);
    for (int64_t i = 0; i < n; i++) {
        const double own = of->label_sq_dists[i * k + of->labels[i]];
        const double* c = of->centroids + of->labels[i] * d;
        /* Of another order of additions, and of scaling before or after: d + 4 roundings each. */
        if (own < 1e300 && own > 1e-250)
            EXPECT(fabs(found->own[i] - own) <= own * (double)(2 * d + 8) * 0x1p-53, "row %ld",
                   (long)i);
        EXPECT(same_number(found->own[i], kernels->sq_dist(of->values + i * d, c, d, scale)),
               "row %ld", (long)i);
        for (int64_t j = 0; j < k; j++) {
            const double expected = sqrt(of->label_sq_dists[i * k + j]) * (1 / scale);
            EXPECT(same_number(doubles[i * k + j], expected), "row %ld to %ld", (long)i, (long)j);
            EXPECT(same_number(singles[i * k + j], (float)expected), "row %ld to %ld", (long)i,
                   (long)j);
        }
    }
    free(doubles);
    free(singles);
}

/* The rows are at their distances to the last centroid; the others, at most 32, are candidates. */
static void check_seeding(const problem* of, const fastkm_kernels* kernels, results* found) {
    const int64_t n = of->n, d = of->d, k = of->n_candidates;
    const double scale = of->frame.exact_scale;
    engine with = engine_of(of, kernels, k);
    double* gains = room((size_t)k * 8);
    double* errors = room((size_t)k * 8);
    const double* seed = of->centroids + (of->k - 1) * d;
    const uint32_t all = k < 32 ? ((uint32_t)1 << k) - 1 : 0xffffffffu;
    for (int64_t i = 0; i < n; i++)
        found->closest[i] = kernels->sq_dist(of->values + i * d, seed, d, scale);
    FOR_BLOCKS(n) {
        kernels->propose(&of->points, &of->frame, &with.centroids, NULL, i_begin, i_end,
                         found->closest, of->weights, &with.scratch, found->masks, gains, errors);
        for (int64_t j = 0; j < k; j++) {
            double gain = 0;
            for (int64_t i = i_begin; i < i_end; i++) {
                const double dist =
                    kernels->sq_dist(of->values + i * d, of->centroids + j * d, d, scale);
                if (!(dist < found->closest[i])) continue;
                EXPECT(found->masks[i] >> j & 1, "row %ld has no bit of %ld", (long)i, (long)j);
                gain += (of->weights ? of->weights[i] : 1) * (found->closest[i] - dist);
            }
            if (isfinite(gain) && isfinite(errors[j]) && isfinite(gains[j]))
                EXPECT(fabs(gains[j] - gain) <= errors[j] + 1e-12 * gain, "gain of %ld: %g for %g",
                       (long)j, gains[j], gain);
        }
        kernels->settle(&of->points, &of->frame, &with.centroids, i_begin, i_end, all,
                        found->closest, of->weights, &with.scratch, found->masks,
                        found->settled + i_begin / FASTKM_BLOCK_ROWS * k);
        kernels->accept(&of->points, &of->frame, &with.centroids, i_begin, i_end, 0, found->masks,
                        &with.scratch, found->closest);
    }
    for (int64_t i = 0; i < n; i++) {
        const double* x = of->values + i * d;
        const double before = kernels->sq_dist(x, seed, d, scale);
        const double nearer = kernels->sq_dist(x, of->centroids, d, scale);
        EXPECT(same_number(found->closest[i], nearer < before ? nearer : before), "row %ld",
               (long)i);
    }
    free(gains);
    free(errors);
    free_engine(&with);
}

/* All rows are a batch: listed by label, with what each centroid has learnt before. */
typedef struct {
    int64_t *rows, *begins;
    double* counts;
} listing;

static listing list_rows(const problem* of) {
    listing made = {room((size_t)of->n * 8), room((size_t)(of->k + 1) * 8),
                    room((size_t)of->k * 8)};
    int64_t at = 0;
    for (int64_t j = 0; j < of->k; j++) {
        made.begins[j] = at;
        made.counts[j] = (double)(j % 3) * 2.5;
        for (int64_t i = 0; i < of->n; i++)
            if (of->labels[i] == j) made.rows[at++] = i;
    }
    made.begins[of->k] = at;
    return made;
}

static void free_listing(listing* made) {
    free(made->rows);
    free(made->begins);
    free(made->counts);
}

static fastkm_lesson lesson_of(const problem* of, const listing* listed, const results* found) {
    return (fastkm_lesson){of->centroids, listed->counts,      of->weights,
                           listed->rows,  listed->begins,      of->frame.exact_scale,
                           found->moved,  found->moved_counts, found->learnt};
}

static void check_batch(const problem* of, const fastkm_kernels* kernels, engine* with,
                        results* found) {
    const int64_t n = of->n, d = of->d, size = SIZES[of->points.dtype];
    listing listed = list_rows(of);
    const fastkm_lesson lesson = lesson_of(of, &listed, found);
    double* loaded = room((size_t)(n * d) * 8);
    char* gathered = room((size_t)(n * d * size));
    const fastkm_points copy = {gathered, n, d, d * size, size, of->points.dtype};
    kernels->load(&of->points, listed.rows, n, loaded);
    kernels->gather(&of->points, listed.rows, n, gathered);
    for (int64_t r = 0; r < n; r++)
        EXPECT(same_numbers(loaded + r * d, of->values + listed.rows[r] * d, d), "load, %ld",
               (long)r);
    for (int64_t r = 0; r < n; r++) listed.rows[r] = r;
    kernels->load(&copy, listed.rows, n, gathered == NULL ? NULL : found->learnt + n);
    EXPECT(same_numbers(found->learnt + n, loaded, n * d), "gather");
    free_listing(&listed);
    listed = list_rows(of);
    fastkm_lesson again = lesson;
    again.rows = listed.rows;
    again.begins = listed.begins;
    again.counts = listed.counts;
    memset(found->moved, 0, (size_t)(of->k * d) * 8);
    kernels->learn(&of->points, &again, 0, of->k, &with->scratch);
    free(loaded);
    free(gathered);
    free_listing(&listed);
}

/* ---- the same rows in CSR format ---------------------------------------------------------------
 */

typedef struct {
    fastkm_sparse rows;
    void *values, *columns;
    int64_t* starts;
    double* sq_norms;
} csr;

/* Zeros are left out, but for some, which may be stored. */
static csr csr_of(const problem* of, int is_wide, int keeps_zeros) {
    const int64_t n = of->n, d = of->d;
    const int is_double = of->points.dtype == FASTKM_F64;
    csr made = {.starts = room((size_t)(n + 1) * 8), .sq_norms = room((size_t)n * 8)};
    int64_t n_entries = 0;
    for (int64_t i = 0; i < n; i++) {
        made.starts[i] = n_entries;
        for (int64_t f = 0; f < d; f++)
            n_entries += of->values[i * d + f] != 0 || (keeps_zeros && (i + f) % 5 == 0);
    }
    made.starts[n] = n_entries;
    made.values = room((size_t)(n_entries * (is_double ? 8 : 4)));
    made.columns = room((size_t)(n_entries * (is_wide ? 8 : 4)));
    for (int64_t i = 0, p = 0; i < n; i++)
        for (int64_t f = 0; f < d; f++) {
            const double x = of->values[i * d + f];
            if (x == 0 && !(keeps_zeros && (i + f) % 5 == 0)) continue;
            if (is_double)
                ((double*)made.values)[p] = x;
            else
                ((float*)made.values)[p] = (float)x;
            if (is_wide)
                ((int64_t*)made.columns)[p] = f;
            else
                ((int32_t*)made.columns)[p] = (int32_t)f;
            p++;
        }
    made.rows = (fastkm_sparse){made.values, made.columns,          made.starts,  n, d, is_double,
                                is_wide,     of->frame.exact_scale, made.sq_norms};
    EXPECT(fastkm_sparse_check(&made.rows, n_entries) == 0, "the rows are canonical");
    return made;
}

static void free_csr(csr* made) {
    free(made->values);
    free(made->columns);
    free(made->starts);
    free(made->sq_norms);
}

static fastkm_sparse_centroids sparse_centroids_of(const problem* of,
                                                   const fastkm_sparse_kernels* kernels, int64_t k,
                                                   int has_columns) {
    const int64_t width = (k + 7) / 8 * 8;
    double* norms = room((size_t)width * 16);
    fastkm_sparse_centroids made = {k,
                                    of->d,
                                    of->centroids,
                                    room((size_t)(width * of->d) * 8),
                                    norms,
                                    norms + width,
                                    has_columns ? room((size_t)(k * of->d) * 4) : NULL,
                                    room((size_t)k * 8),
                                    0};
    double largest = 0;
    memset(norms, 0, (size_t)width * 16);
    kernels->pack(&made, of->frame.exact_scale, 0, of->d);
    for (int64_t j = 0; j < k; j++) {
        kernels->pack_norm(&made, of->frame.exact_scale, j);
        if (!(made.sq_norms[j] <= largest)) largest = made.sq_norms[j];
    }
    made.max_norm = sqrt(largest) * (1 + 1e-12);
    return made;
}

static void free_sparse_centroids(fastkm_sparse_centroids* made) {
    free(made->bundles);
    free(made->sq_norms);
    free(made->columns);
    free(made->n_columns);
}

static void check_sparse(const problem* of, const fastkm_sparse_kernels* kernels,
                         const csr* of_rows, const results* dense, results* found) {
    const int64_t n = of->n, d = of->d, k = of->k;
    const double scale = of->frame.exact_scale;
    const fastkm_sparse* rows = &of_rows->rows;
    fastkm_sparse_centroids centroids = sparse_centroids_of(of, kernels, k, 0);
    fastkm_sparse_scratch scratch = {room((size_t)d * 8), room((size_t)((k + 7) / 8 * 8) * 8)};
    int32_t* labels = room((size_t)n * 4);
    double* means = room((size_t)(k * d) * 8);
    const fastkm_sums sums = {
        of->sum_scale, of->low_scale, found->sums, found->sums + k * d, found->counts, 0, k};
    memset(scratch.row, 0, (size_t)d * 8);
    kernels->norms(rows, 0, n);
    FOR_BLOCKS(n)
    kernels->assign(rows, &centroids, i_begin, i_end, 1, &scratch, labels + i_begin);
    for (int64_t i = 0; i < n; i++)
        EXPECT(labels[i] == of->labels[i], "sparse assign, row %ld: %d for %d", (long)i, labels[i],
               of->labels[i]);
    memset(labels, 0xff, (size_t)n * 4);
    memset(found->sums, 0, (size_t)(2 * k * d) * 8);
    memset(found->counts, 0, (size_t)k * 8);
    kernels->accumulate(rows, 0, n, labels, of->labels_old, &sums);
    kernels->accumulate(rows, 0, n, of->labels_old, of->labels, &sums);
    memcpy(means, of->centroids, (size_t)(k * d) * 8);
    kernels->means(&sums, d, 0, k, means);
    EXPECT(same_numbers(means, dense->means, k * d), "means of CSR rows");
    kernels->own_sq_dists(rows, &centroids, 0, n, of->labels, &scratch, found->own);
    for (int64_t i = 0; i < n; i++) {
        const double own = dense->own[i];
        EXPECT(same_number(kernels->own_sq_dist(rows, &centroids, i, of->labels[i], &scratch), own),
               "row %ld", (long)i);
        if (own < 1e290 && own > 1e-250)
            EXPECT(fabs(found->own[i] - own) <= own * 0x1p-36, "row %ld: %g for %g", (long)i,
                   found->own[i], own);
        kernels->sq_dists(rows, &centroids, i, &scratch);
        for (int64_t j = 0; j < k; j++) {
            const double expected = of->label_sq_dists[i * k + j];
            if (expected < 1e290 && expected > 1e-250)
                EXPECT(fabs(scratch.dists[j] - expected) <= expected * 0x1p-36, "row %ld to %ld",
                       (long)i, (long)j);
        }
    }
    free_sparse_centroids(&centroids);
    centroids = sparse_centroids_of(of, kernels, of->n_candidates, 1);
    for (int exactly = 0; exactly < 2; exactly++) {
        double* gains = room((size_t)centroids.k * 8);
        double* errors = room((size_t)centroids.k * 8);
        for (int64_t i = 0; i < n; i++)
            found->closest[i] = dense->closest[n + i]; /* before accept */
        FOR_BLOCKS(n) {
            kernels->propose(rows, &centroids, i_begin, i_end, found->closest, of->weights, exactly,
                             &scratch, found->masks, gains, errors);
            kernels->accept(rows, &centroids, i_begin, i_end, 0, found->masks, found->closest);
        }
        EXPECT(same_numbers(found->closest, dense->closest, n), "seeding, exactly: %d", exactly);
        free(gains);
        free(errors);
    }
    for (int64_t f = 0; f < d; f++) EXPECT(scratch.row[f] == 0, "the scratch row");
    {
        listing listed = list_rows(of);
        const fastkm_lesson lesson = lesson_of(of, &listed, found);
        memset(found->moved, 0, (size_t)(k * d) * 8);
        free_sparse_centroids(&centroids);
        centroids = sparse_centroids_of(of, kernels, k, 0);
        kernels->learn(rows, &centroids, &lesson, 0, k, &scratch);
        EXPECT(same_numbers(found->moved, dense->moved, k * d), "learn of CSR rows");
        EXPECT(same_numbers(found->moved_counts, dense->moved_counts, k), "learn of CSR rows");
        free_listing(&listed);
    }
    free_sparse_centroids(&centroids);
    free(scratch.row);
    free(scratch.dists);
    free(labels);
    free(means);
}

/* ---- everything ------------------------------------------------------------------------------ */

static results results_of(const problem* of) {
    const size_t n = (size_t)of->n, d = (size_t)of->d, k = (size_t)of->k;
    results made = {.moments = room(4 * d * 8),
                    .means = room(k * d * 8),
                    .weighted = room((k * d + k) * 8),
                    .own = room(n * 8),
                    .closest = room(2 * n * 8),
                    .moved = room(k * d * 8),
                    .moved_counts = room(k * 8),
                    .learnt = room((n + n * d) * 8),
                    .sums = room(2 * k * d * 8),
                    .counts = room(k * 8),
                    .masks = room(n * 4),
                    .settled = room((n / FASTKM_BLOCK_ROWS + 1) * k * 8)};
    return made;
}

static void free_results(results* made) {
    free(made->moments);
    free(made->means);
    free(made->weighted);
    free(made->own);
    free(made->closest);
    free(made->moved);
    free(made->moved_counts);
    free(made->learnt);
    free(made->sums);
    free(made->counts);
    free(made->masks);
    free(made->settled);
}

static void check_dense(const problem* of, const fastkm_kernels* kernels, results* found) {
    engine with = engine_of(of, kernels, of->k);
    check_moments(of, kernels, &with, found);
    check_labels(of, kernels, &with);
    check_leads(of, kernels);
    check_sums(of, kernels, &with, found);
    check_means(of, found);
    check_distances(of, kernels, &with, found);
    check_seeding(of, kernels, found);
    for (int64_t i = 0; i < of->n; i++)
        found->closest[of->n + i] =
            kernels->sq_dist(of->values + i * of->d, of->centroids + (of->k - 1) * of->d, of->d,
                             of->frame.exact_scale);
    check_batch(of, kernels, &with, found);
    free_engine(&with);
}

static void compare(const problem* of, const results* found, const results* portable) {
    const int64_t n = of->n, d = of->d, k = of->k, q = of->n_candidates;
    const int64_t n_blocks = (n + FASTKM_BLOCK_ROWS - 1) / FASTKM_BLOCK_ROWS;
    EXPECT(same_numbers(found->moments, portable->moments, 4 * d), "moments");
    EXPECT(same_bits(found->sums, portable->sums, (size_t)(2 * k * d) * 8), "sums");
    EXPECT(same_numbers(found->means, portable->means, k * d), "means");
    EXPECT(same_numbers(found->weighted, portable->weighted, k * d + k), "weighted sums");
    EXPECT(same_numbers(found->own, portable->own, n), "distances to labels' centroids");
    EXPECT(same_numbers(found->closest, portable->closest, n), "distances to seeds");
    EXPECT(same_bits(found->masks, portable->masks, (size_t)n * 4), "settled masks");
    EXPECT(same_numbers(found->settled, portable->settled, n_blocks * q), "settled gains");
    EXPECT(same_numbers(found->moved, portable->moved, k * d), "what centroids learn");
    EXPECT(same_numbers(found->moved_counts, portable->moved_counts, k), "what they learnt from");
    EXPECT(same_numbers(found->learnt, portable->learnt, n), "a batch's distances");
}

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t n_bytes) {
    source from = {bytes, n_bytes, 0x9e3779b97f4a7c15u + n_bytes};
    const int32_t dtype = (int32_t)take_below(&from, FASTKM_N_DTYPES);
    const int style = (int)take_below(&from, N_STYLES);
    const uint64_t layout = take(&from, 1), options = take(&from, 1);
    problem of = {0};
    of.n = 1 + take_below(&from, MOST_ROWS);
    of.d = 1 + take_below(&from, options & 1 ? 9 : MOST_FEATURES);
    of.k = 1 + take_below(&from, MOST_CENTROIDS);
    from.state ^= take(&from, 8) | 1;
    while (of.n * of.d * of.k > MOST_WORK) {
        if (of.n > of.k)
            of.n = of.n / 2 + 1;
        else
            of.k = of.k / 2 + 1;
    }
    of.n_candidates = of.k < FASTKM_MAX_CANDIDATES ? of.k : FASTKM_MAX_CANDIDATES;
    of.values = room((size_t)(of.n * of.d) * 8);
    of.centroids = room((size_t)(of.k * of.d) * 8);
    of.labels = room((size_t)of.n * 4);
    of.labels_old = room((size_t)of.n * 4);
    of.label_sq_dists = room((size_t)(of.n * of.k) * 8);
    double* columns = room((size_t)of.d * 32);
    of.mean = columns;
    of.variance = columns + of.d;
    of.shift = columns + 2 * of.d;
    of.sum_scale = columns + 3 * of.d;
    of.shift_f32 = room((size_t)of.d * 4);
    lay_out(&of, &from, dtype, layout, style);
    draw_centroids(&of, &from);
    if (options & 2) of.weights = room((size_t)of.n * 8);
    for (int64_t i = 0; i < of.n; i++) {
        of.labels_old[i] = (int32_t)take_below(&from, of.k + 1) - 1;
        if (of.weights) of.weights[i] = (double)take_below(&from, 5) * 0.37;
    }
    results portable = {0};
    for (int index = 0; fastkm_built(index) != NULL; index++) {
        const fastkm_kernels* kernels = fastkm_built(index);
        results found;
        if (!fastkm_is_supported(kernels)) continue;
        isa_now = kernels->isa;
        if (index == 0) {
            describe_problem(&of, kernels);
            expect_labels(&of);
        }
        found = results_of(&of);
        check_dense(&of, kernels, &found);
        if (index > 0) compare(&of, &found, &portable);
        if (of.points.dtype == FASTKM_F32 || of.points.dtype == FASTKM_F64) {
            results sparse = results_of(&of);
            csr rows = csr_of(&of, options >> 2 & 1, options >> 3 & 1);
            check_sparse(&of, &kernels->sparse, &rows, &found, &sparse);
            free_csr(&rows);
            free_results(&sparse);
        }
        if (index == 0)
            portable = found;
        else
            free_results(&found);
    }
    free_results(&portable);
    free(of.memory);
    free(of.values);
    free(of.centroids);
    free(of.weights);
    free(of.labels);
    free(of.labels_old);
    free(of.label_sq_dists);
    free(columns);
    free(of.shift_f32);
    return 0;
}

#ifdef FASTKM_FUZZ_MAIN
int main(int n_arguments, char** arguments) {
    static uint8_t bytes[1 << 16];
    for (int a = 1; a < n_arguments; a++) {
        FILE* file = fopen(arguments[a], "rb");
        if (!file) return 2;
        const size_t n_bytes = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, n_bytes);
    }
    printf("%d inputs held\n", n_arguments - 1);
    return 0;
}
#endif
