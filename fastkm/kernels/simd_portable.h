/* Vector operations in plain C, for any machine. GCC and Clang have vectors of their own, which
 * they map to whatever the machine has; elsewhere a vector is an array. */
#include <math.h>

#define ISA portable
#define LANES 4
#define TILE_VECTORS 2
#define DOUBLE_LANES 2

#if defined(__GNUC__)
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef int64_t vd_mask __attribute__((vector_size(16)));
#define LANE(a, l) (a)[l]
#define LANEWISE(result, expression, whole) result = whole
#define CHOOSE(mask, a, b) (((mask) & (a)) | (~(mask) & (b)))
#else
typedef struct {
    float v[LANES];
} vf;
typedef struct {
    int32_t v[LANES];
} vi;
typedef struct {
    double v[DOUBLE_LANES];
} vd;
#define LANE(a, l) (a).v[l]
#define LANEWISE(result, expression, whole)                                  \
    for (int l = 0; l < (int)(sizeof(result) / sizeof LANE(result, 0)); l++) \
    LANE(result, l) = expression
#endif
typedef vi vm; /* all bits of a lane, or none */

/* An operation lane by lane, or as a whole where the compiler has vectors. */
#define BINARY(name, type, expression, whole)        \
    static FASTKM_INLINE type name(type a, type b) { \
        type r;                                      \
        LANEWISE(r, expression, whole);              \
        return r;                                    \
    }
#define LEFT LANE(a, l)
#define RIGHT LANE(b, l)

BINARY(vf_add, vf, LEFT + RIGHT, a + b)
BINARY(vf_sub, vf, LEFT - RIGHT, a - b)
BINARY(vf_mul, vf, LEFT* RIGHT, a* b)
BINARY(vf_min, vf, LEFT < RIGHT ? LEFT : RIGHT, (vf)CHOOSE(a < b, (vi)a, (vi)b))
BINARY(vf_max, vf, LEFT > RIGHT ? LEFT : RIGHT, (vf)CHOOSE(a > b, (vi)a, (vi)b))
BINARY(vi_or, vi, LEFT | RIGHT, a | b)
BINARY(vd_add, vd, LEFT + RIGHT, a + b)
BINARY(vd_sub, vd, LEFT - RIGHT, a - b)
BINARY(vd_mul, vd, LEFT* RIGHT, a* b)
BINARY(vd_min, vd, LEFT < RIGHT ? LEFT : RIGHT, (vd)CHOOSE(a < b, (vd_mask)a, (vd_mask)b))
BINARY(vd_max, vd, LEFT > RIGHT ? LEFT : RIGHT, (vd)CHOOSE(a > b, (vd_mask)a, (vd_mask)b))

static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    vm r;
    LANEWISE(r, -(LEFT < RIGHT), a < b);
    return r;
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    vi r;
    LANEWISE(r, LANE(m, l) ? LEFT : RIGHT, CHOOSE(m, a, b));
    return r;
}

static FASTKM_INLINE vf vf_select(vm m, vf a, vf b) {
    vf r;
    LANEWISE(r, LANE(m, l) ? LEFT : RIGHT, (vf)CHOOSE(m, (vi)a, (vi)b));
    return r;
}

static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
    return vf_add(vf_mul(a, b), c);
}
static FASTKM_INLINE vf vf_load(const float* p) {
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}
static FASTKM_INLINE vf vf_load_bytes(const int8_t* p) {
    const float lanes[LANES] = {p[0], p[1], p[2], p[3]};
    return vf_load(lanes);
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    memcpy(p, &a, sizeof a);
}
static FASTKM_INLINE vf vf_set1(float a) {
    const float lanes[LANES] = {a, a, a, a};
    return vf_load(lanes);
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    for (int l = 0; l < LANES; l++) LANE(a, l) = sqrtf(LANE(a, l));
    return a;
}
static FASTKM_INLINE float vf_sum(vf a) {
    return (LANE(a, 0) + LANE(a, 2)) + (LANE(a, 1) + LANE(a, 3));
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    uint32_t bits = 0;
    for (int l = 0; l < LANES; l++) bits |= (uint32_t)(LANE(m, l) & 1) << l;
    return bits;
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    vi r;
    memcpy(&r, p, sizeof r);
    return r;
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    memcpy(p, &a, sizeof a);
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    const int32_t lanes[LANES] = {a, a, a, a};
    return vi_load(lanes);
}
static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    float rows[LANES][LANES], columns[LANES][LANES];
    for (int i = 0; i < LANES; i++) vf_store(rows[i], r[i]);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) columns[i][l] = rows[l][i];
    for (int i = 0; i < LANES; i++) r[i] = vf_load(columns[i]);
}

static FASTKM_INLINE vd vd_load(const double* p) {
    vd r;
    memcpy(&r, p, sizeof r);
    return r;
}
static FASTKM_INLINE vd vd_load_f32(const float* p) {
    float singles[DOUBLE_LANES];
    memcpy(singles, p, sizeof singles);
    const double lanes[DOUBLE_LANES] = {singles[0], singles[1]};
    return vd_load(lanes);
}
static FASTKM_INLINE vd vd_load_u8(const uint8_t* p) {
    const double lanes[DOUBLE_LANES] = {p[0], p[1]};
    return vd_load(lanes);
}
/* By memcpy, as rows need not be aligned. */
static FASTKM_INLINE vd vd_load_few(const double* p, int64_t n) {
    double few[DOUBLE_LANES] = {0};
    for (int l = 0; l < DOUBLE_LANES; l++)
        if (l < n) memcpy(few + l, p + l, sizeof *few);
    return vd_load(few);
}
static FASTKM_INLINE vd vd_load_few_f32(const float* p, int64_t n) {
    double few[DOUBLE_LANES] = {0};
    float single;
    for (int l = 0; l < DOUBLE_LANES; l++) {
        if (l >= n) break;
        memcpy(&single, p + l, sizeof single);
        few[l] = single;
    }
    return vd_load(few);
}
static FASTKM_INLINE void vd_store(double* p, vd a) {
    memcpy(p, &a, sizeof a);
}
static FASTKM_INLINE vf vf_of_doubles(const vd parts[2]) {
    const float lanes[LANES] = {(float)LANE(parts[0], 0), (float)LANE(parts[0], 1),
                                (float)LANE(parts[1], 0), (float)LANE(parts[1], 1)};
    return vf_load(lanes);
}
static FASTKM_INLINE vd vd_sqrt(vd a) {
    for (int l = 0; l < DOUBLE_LANES; l++) LANE(a, l) = sqrt(LANE(a, l));
    return a;
}
static FASTKM_INLINE vd vd_set1(double a) {
    const double lanes[DOUBLE_LANES] = {a, a};
    return vd_load(lanes);
}

/* Portable C has no prefetch. */
static FASTKM_INLINE void prefetch(const char* p) {
    (void)p;
}

/* Portable C has no switch for denormal numbers: they stay, slower and no less right. */
static FASTKM_INLINE uint32_t flush_denormals(void) {
    return 0;
}
static FASTKM_INLINE void restore_denormals(uint32_t saved) {
    (void)saved;
}
