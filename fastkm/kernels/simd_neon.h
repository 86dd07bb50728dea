/* Vector operations for NEON as every 64-bit ARM processor has it, FMA included. */
#include <arm_neon.h>

#define ISA neon
#define LANES 4
#define TILE_VECTORS 4

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm; /* all bits of a lane, or none */

static FASTKM_INLINE vf vf_set1(float a) {
    return vdupq_n_f32(a);
}
static FASTKM_INLINE vf vf_load(const float* p) {
    return vld1q_f32(p);
}
static FASTKM_INLINE vf vf_load_bytes(const int8_t* p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    const int16x8_t halves = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bytes)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves)));
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    vst1q_f32(p, a);
}
static FASTKM_INLINE vf vf_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
static FASTKM_INLINE vf vf_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
static FASTKM_INLINE vf vf_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
#if defined(__GNUC__) && !defined(__clang__)
    __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(c) : "w"(a), "w"(b));
    return c;
#else
    return vfmaq_f32(c, a, b);
#endif
}
/* Chosen by a comparison, as elsewhere: NaN in a gives b. Of fmin's instructions one gives NaN, and
 * the other is not NaN where b is. */
static FASTKM_INLINE vf vf_min(vf a, vf b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static FASTKM_INLINE vf vf_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    return vsqrtq_f32(a);
}
static FASTKM_INLINE float vf_sum(vf a) {
    return vaddvq_f32(a);
}
static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    return vcltq_f32(a, b);
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    static const uint32_t bits[LANES] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(bits)));
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    return vdupq_n_s32(a);
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    return vld1q_s32(p);
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    vst1q_s32(p, a);
}
static FASTKM_INLINE vi vi_or(vi a, vi b) {
    return vorrq_s32(a, b);
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    return vbslq_s32(m, a, b);
}
static FASTKM_INLINE vf vf_select(vm m, vf a, vf b) {
    return vbslq_f32(m, a, b);
}

/* Rows become columns: pairs, then quads. */
static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
    const float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
    const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
    const float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vtrn1q_f64(even01, even23));
    r[1] = vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23));
    r[2] = vreinterpretq_f32_f64(vtrn2q_f64(even01, even23));
    r[3] = vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23));
}

#define DOUBLE_LANES 2
typedef float64x2_t vd;
static FASTKM_INLINE vd vd_set1(double a) {
    return vdupq_n_f64(a);
}
static FASTKM_INLINE vd vd_load(const double* p) {
    return vld1q_f64(p);
}
static FASTKM_INLINE vd vd_load_f32(const float* p) {
    return vcvt_f64_f32(vld1_f32(p));
}
static FASTKM_INLINE vd vd_load_u8(const uint8_t* p) {
    const double lanes[DOUBLE_LANES] = {p[0], p[1]};
    return vd_load(lanes);
}
static FASTKM_INLINE vd vd_load_few(const double* p, int64_t n) {
    double few[DOUBLE_LANES] = {0};
    for (int l = 0; l < DOUBLE_LANES; l++)
        if (l < n) few[l] = p[l];
    return vd_load(few);
}
static FASTKM_INLINE vd vd_load_few_f32(const float* p, int64_t n) {
    double few[DOUBLE_LANES] = {0};
    for (int l = 0; l < DOUBLE_LANES; l++)
        if (l < n) few[l] = p[l];
    return vd_load(few);
}
static FASTKM_INLINE void vd_store(double* p, vd a) {
    vst1q_f64(p, a);
}
static FASTKM_INLINE vf vf_of_doubles(const vd parts[2]) {
    return vcvt_high_f32_f64(vcvt_f32_f64(parts[0]), parts[1]);
}
static FASTKM_INLINE vd vd_add(vd a, vd b) {
    return vaddq_f64(a, b);
}
static FASTKM_INLINE vd vd_sub(vd a, vd b) {
    return vsubq_f64(a, b);
}
static FASTKM_INLINE vd vd_mul(vd a, vd b) {
    return vmulq_f64(a, b);
}
static FASTKM_INLINE vd vd_sqrt(vd a) {
    return vsqrtq_f64(a);
}
static FASTKM_INLINE vd vd_min(vd a, vd b) {
    return vbslq_f64(vcltq_f64(a, b), a, b);
}
static FASTKM_INLINE vd vd_max(vd a, vd b) {
    return vbslq_f64(vcgtq_f64(a, b), a, b);
}

/* Towards the second-level cache; any address will do. */
static FASTKM_INLINE void prefetch(const char* p) {
#if defined(_MSC_VER) && !defined(__clang__)
    __prefetch(p);
#else
    __builtin_prefetch(p, 0, 2);
#endif
}

/* Denormal numbers stay: it is right either way, and these processors compute with them. */
static FASTKM_INLINE uint32_t flush_denormals(void) {
    return 0;
}
static FASTKM_INLINE void restore_denormals(uint32_t saved) {
    (void)saved;
}
