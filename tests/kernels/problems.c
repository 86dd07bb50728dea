/* Data, memory and the record. */
#include "harness.h"

static uint64_t state;

static uint64_t next_bits(void) { /* Steele, Lea and Flood 2014: splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(void) {
    return (double)(next_bits() >> 11) * 0x1p-53;
}

/* ---- memory ---- */

#define GUARD_BYTES 192
#define GUARD 0xa5
#define MOST_TAKEN 1024
static struct {
    unsigned char *memory, *begin;
    size_t n_bytes;
} taken[MOST_TAKEN];
static int n_taken;

void* take(size_t n_bytes, size_t off) {
    unsigned char* memory = malloc(n_bytes + 2 * GUARD_BYTES + 2 * FASTKM_ALIGN);
    if (memory == NULL || n_taken == MOST_TAKEN) abort();
    unsigned char* begin = memory + GUARD_BYTES;
    begin += (FASTKM_ALIGN - (uintptr_t)begin % FASTKM_ALIGN) % FASTKM_ALIGN + off;
    /* Garbage, unless a tool follows what is not written yet. */
    if (getenv("HARNESS_LEAVES_MEMORY") == NULL) {
        memset(memory, GUARD, n_bytes + 2 * GUARD_BYTES + 2 * FASTKM_ALIGN);
        memset(begin, 0x5a, n_bytes);
    } else {
        memset(begin - FASTKM_ALIGN, GUARD, FASTKM_ALIGN);
        memset(begin + n_bytes, GUARD, FASTKM_ALIGN);
    }
    taken[n_taken].memory = memory;
    taken[n_taken].begin = begin;
    taken[n_taken++].n_bytes = n_bytes;
    return begin;
}

void* zeros(size_t n_bytes, size_t off) {
    return memset(take(n_bytes, off), 0, n_bytes);
}

void release_all(void) {
    for (int t = 0; t < n_taken; t++) {
        int stands = 1;
        for (int b = 1; b <= FASTKM_ALIGN; b++)
            stands &= taken[t].begin[-b] == GUARD &&
                      taken[t].begin[taken[t].n_bytes + (size_t)b - 1] == GUARD;
        check(stands, "guards: a kernel wrote outside of its buffer", t);
        free(taken[t].memory);
    }
    n_taken = 0;
}

fastkm_scratch take_scratch(const fastkm_kernels* kernels, int64_t d, int64_t k) {
    fastkm_scratch scratch =
        fastkm_scratch_in(take(fastkm_scratch_bytes(kernels, d, k), 0), kernels, d, k);
    scratch.panel = take((size_t)(d * kernels->panel_rows) * 4, 0); /* with guards of its own */
    return scratch;
}

columns_of take_columns(int64_t d) {
    const size_t row = (size_t)d * sizeof(double);
    columns_of columns = {
        take(row, 8),
        {take(row, 8), take(row, 8), take(row, 8), take(row / 2, 4), take(row, 8)},
        {0},
        0};
    return columns;
}

/* ---- what seeding asks of the oracle ---- */

double gain_of(const problem* p, const double* closest, const double* weights, int64_t j) {
    double gain = 0;
    for (int64_t i = 0; i < p->points.n; i++)
        gain += (weights ? weights[i] : 1) * fmax(closest[i] - p->sq_dists[i * p->k + j], 0);
    return gain;
}

double potential_of(const problem* p, const double* closest, const double* weights) {
    double sum = 0;
    for (int64_t i = 0; i < p->points.n; i++) sum += (weights ? weights[i] : 1) * closest[i];
    return sum;
}

/* ---- the record ---- */

static struct {
    char* bytes;
    size_t size, capacity, at;
    const char* isa;
    int is_reference;
    int64_t n_checks, n_values, n_failures;
} book;

void begin_isa(const char* isa, int is_reference) {
    book.isa = isa;
    book.is_reference = is_reference;
    book.at = 0;
    book.n_checks = book.n_values = 0;
}

void check(int holds, const char* name, int line) {
    book.n_checks++;
    if (holds) return;
    if (book.n_failures++ < 20) fprintf(stderr, "FAILED, %s: %s (%d)\n", book.isa, name, line);
}

void record(const char* name, const void* values, size_t n_bytes) {
    if (book.is_reference) {
        if (book.size + n_bytes > book.capacity) {
            book.capacity = 2 * (book.size + n_bytes);
            book.bytes = realloc(book.bytes, book.capacity);
            if (book.bytes == NULL) abort();
        }
        memcpy(book.bytes + book.size, values, n_bytes);
        book.size += n_bytes;
        return;
    }
    check(book.at + n_bytes <= book.size && memcmp(book.bytes + book.at, values, n_bytes) == 0,
          name, 0);
    book.at += n_bytes;
    book.n_values++;
}

int64_t n_checks(void) {
    return book.n_checks;
}

int64_t n_recorded(void) {
    return book.n_values;
}

int64_t n_failures(void) {
    return book.n_failures;
}

/* ---- problems ---- */

static double value_of(int kind, int64_t i, int64_t f) {
    const double noise = uniform() + uniform() + uniform() - 1.5;
    if (kind == MIXTURE) return (double)((i * 7 + f * 3) % 5) + 0.3 * noise;
    /* Where float32 cannot tell the nearest. */
    if (kind == FAR_BLOBS) return (i % 2 ? 1e4 : -1e4) + 1e-3 * noise;
    return (double)(next_bits() % 7);
}

/* Half precision of a small normal number, by truncation. */
static uint16_t half_of(double value) {
    int exponent;
    const double fraction = frexp(fabs(value), &exponent);
    const uint16_t sign = value < 0 ? 0x8000 : 0;
    if (value == 0 || exponent < -13) return sign;
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)(fraction * 2048) & 1023));
}

static double double_of(uint16_t half) {
    const int exponent = half >> 10 & 31;
    const double size = exponent ? ldexp(1 + (half & 1023) / 1024.0, exponent - 15) : 0;
    return half & 0x8000 ? -size : size;
}

/* Writes an item and returns its value: what the dtype made of the one given. */
static double store(char* to, int dtype, double value) {
#define STORE(name, type)               \
    case name: {                        \
        const type item = (type)value;  \
        memcpy(to, &item, sizeof item); \
        return (double)item;            \
    }
    switch (dtype) {
    case FASTKM_F16: {
        const uint16_t item = half_of(value);
        memcpy(to, &item, sizeof item);
        return double_of(item);
    }
        STORE(FASTKM_F32, float)
        STORE(FASTKM_F64, double)
        STORE(FASTKM_I8, int8_t)
        STORE(FASTKM_U8, uint8_t)
        STORE(FASTKM_I16, int16_t)
        STORE(FASTKM_U16, uint16_t)
        STORE(FASTKM_I32, int32_t)
        STORE(FASTKM_U32, uint32_t)
        STORE(FASTKM_I64, int64_t)
        STORE(FASTKM_U64, uint64_t)
    default:
        abort();
    }
#undef STORE
}

void find_nearest(const double* X, const double* centroids, int64_t n, int64_t d, int64_t k,
                  double* sq_dists, int32_t* labels) {
    for (int64_t i = 0; i < n; i++) {
        labels[i] = 0;
        for (int64_t j = 0; j < k; j++) {
            double sq_dist = 0;
            for (int64_t f = 0; f < d; f++) {
                const double difference = X[i * d + f] - centroids[j * d + f];
                sq_dist += difference * difference;
            }
            sq_dists[i * k + j] = sq_dist;
            if (sq_dist < sq_dists[i * k + labels[i]]) labels[i] = (int32_t)j;
        }
    }
}

problem make_problem(int64_t n, int64_t d, int64_t k, int kind, int layout, int dtype) {
    static const size_t sizes[] = {2, 4, 8, 1, 1, 2, 2, 4, 4, 8, 8};
    const size_t item = sizes[dtype];
    const int is_float = dtype <= FASTKM_F64,
              is_unsigned = dtype >= FASTKM_U8 && (dtype - FASTKM_U8) % 2 == 0;
    const int64_t column = (int64_t)item * (layout == STRIDED ? 3 : 1);
    const int64_t row = column * d + (layout == STRIDED ? (int64_t)item : 0);
    state = (uint64_t)(n * 1000003 + d * 1009 + k * 31 + kind);
    char* base = take((size_t)(n * row), layout == MISALIGNED ? 1 : item);
    problem p = {{base, n, d, row, column, dtype},
                 item,
                 dtype != FASTKM_F64 && dtype < FASTKM_I32,
                 !is_float || kind == INTEGERS,
                 k,
                 take((size_t)(n * d) * 8, 8),
                 take((size_t)(k * d) * 8, 8),
                 take((size_t)n * 8, 8),
                 take((size_t)(n * k) * 8, 8),
                 take((size_t)n * 4, 4)};
    for (int64_t i = 0; i < n; i++) {
        p.weights[i] = uniform() < 0.1 ? 0 : uniform() * 2;
        for (int64_t f = 0; f < d; f++) {
            double value = value_of(kind, i, f) * (is_float || kind != MIXTURE ? 1 : 20);
            if (item == 1) value = fmax(-100, fmin(100, value));
            p.X[i * d + f] =
                store(base + i * row + f * column, dtype, is_unsigned ? fabs(value) : value);
        }
    }
    /* Rows of the points, so that there are ties; of other ones the middle of two. */
    for (int64_t j = 0; j < k; j++) {
        const double *one = p.X + j * 5 % n * d, *other = p.X + (j * 11 + 1) % n * d;
        for (int64_t f = 0; f < d; f++)
            p.centroids[j * d + f] = j % 3 == 1 ? (one[f] + other[f]) / 2 : one[f];
    }
    find_nearest(p.X, p.centroids, n, d, k, p.sq_dists, p.labels);
    return p;
}
