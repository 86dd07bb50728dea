/* Vector operations in plain C, for any machine. */
#include <math.h>

#define ISA portable
#define LANES 4
#define TILE_VECTORS 2

typedef struct {
    float v[LANES];
} vf;
typedef struct {
    int32_t v[LANES];
} vi;
typedef struct {
    int32_t v[LANES];
} vm;

#define FOR_LANES(expression)         \
    for (int l = 0; l < LANES; l++) { \
        expression;                   \
    }

static FASTKM_INLINE vf vf_set1(float a) {
    vf r;
    FOR_LANES(r.v[l] = a)
    return r;
}
/* memcpy, as rows of the user's need not be aligned. */
static FASTKM_INLINE vf vf_load(const float* p) {
    vf r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    FOR_LANES(p[l] = a.v[l])
}
static FASTKM_INLINE vf vf_add(vf a, vf b) {
    FOR_LANES(a.v[l] += b.v[l])
    return a;
}
static FASTKM_INLINE vf vf_sub(vf a, vf b) {
    FOR_LANES(a.v[l] -= b.v[l])
    return a;
}
static FASTKM_INLINE vf vf_mul(vf a, vf b) {
    FOR_LANES(a.v[l] *= b.v[l])
    return a;
}
static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
    return vf_add(vf_mul(a, b), c);
}
static FASTKM_INLINE vf vf_min(vf a, vf b) {
    FOR_LANES(a.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l])
    return a;
}
static FASTKM_INLINE vf vf_max(vf a, vf b) {
    FOR_LANES(a.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l])
    return a;
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    FOR_LANES(a.v[l] = sqrtf(a.v[l]))
    return a;
}
static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    vm r;
    FOR_LANES(r.v[l] = -(a.v[l] < b.v[l]))
    return r;
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    uint32_t bits = 0;
    FOR_LANES(bits |= (uint32_t)(m.v[l] & 1) << l)
    return bits;
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    vi r;
    FOR_LANES(r.v[l] = a)
    return r;
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    vi r;
    FOR_LANES(r.v[l] = p[l])
    return r;
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    FOR_LANES(p[l] = a.v[l])
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    FOR_LANES(a.v[l] = (m.v[l] & a.v[l]) | (~m.v[l] & b.v[l]))
    return a;
}
static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < i; l++) {
            const float swapped = r[i].v[l];
            r[i].v[l] = r[l].v[i];
            r[l].v[i] = swapped;
        }
}

#define DOUBLE_LANES 2
typedef struct {
    double v[DOUBLE_LANES];
} vd;
static FASTKM_INLINE vd vd_set1(double a) {
    return (vd){{a, a}};
}
static FASTKM_INLINE vd vd_load(const double* p) {
    return (vd){{p[0], p[1]}};
}
static FASTKM_INLINE void vd_store(double* p, vd a) {
    p[0] = a.v[0];
    p[1] = a.v[1];
}
static FASTKM_INLINE vd vd_add(vd a, vd b) {
    return (vd){{a.v[0] + b.v[0], a.v[1] + b.v[1]}};
}
static FASTKM_INLINE vd vd_sub(vd a, vd b) {
    return (vd){{a.v[0] - b.v[0], a.v[1] - b.v[1]}};
}
static FASTKM_INLINE vd vd_mul(vd a, vd b) {
    return (vd){{a.v[0] * b.v[0], a.v[1] * b.v[1]}};
}

static FASTKM_INLINE vd vd_min(vd a, vd b) {
    return (vd){{a.v[0] < b.v[0] ? a.v[0] : b.v[0], a.v[1] < b.v[1] ? a.v[1] : b.v[1]}};
}
static FASTKM_INLINE vd vd_max(vd a, vd b) {
    return (vd){{a.v[0] > b.v[0] ? a.v[0] : b.v[0], a.v[1] > b.v[1] ? a.v[1] : b.v[1]}};
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
