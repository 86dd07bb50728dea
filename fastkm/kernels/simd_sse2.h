/* Vector operations for SSE2, which every x86-64 processor has. */
#include <emmintrin.h>

#define ISA sse2
#define LANES 4
#define TILE_VECTORS 2

typedef __m128 vf;
typedef __m128i vi;
typedef __m128 vm;

static FASTKM_INLINE vf vf_set1(float a) {
    return _mm_set1_ps(a);
}
static FASTKM_INLINE vf vf_load(const float* p) {
    return _mm_loadu_ps(p);
}
static FASTKM_INLINE vf vf_load_bytes(const int8_t* p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    const __m128i once = _mm_cvtsi32_si128(bytes), twice = _mm_unpacklo_epi8(once, once);
    return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(twice, twice), 24));
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    _mm_storeu_ps(p, a);
}
static FASTKM_INLINE vf vf_add(vf a, vf b) {
    return _mm_add_ps(a, b);
}
static FASTKM_INLINE vf vf_sub(vf a, vf b) {
    return _mm_sub_ps(a, b);
}
static FASTKM_INLINE vf vf_mul(vf a, vf b) {
    return _mm_mul_ps(a, b);
}
static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
static FASTKM_INLINE vf vf_min(vf a, vf b) {
    return _mm_min_ps(a, b);
}
static FASTKM_INLINE vf vf_max(vf a, vf b) {
    return _mm_max_ps(a, b);
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    return _mm_sqrt_ps(a);
}
static FASTKM_INLINE float vf_sum(vf a) {
    const __m128 two = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    return _mm_cmplt_ps(a, b);
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    return (uint32_t)_mm_movemask_ps(m);
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    return _mm_set1_epi32(a);
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    return _mm_loadu_si128((const __m128i*)p);
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    _mm_storeu_si128((__m128i*)p, a);
}
static FASTKM_INLINE vi vi_or(vi a, vi b) {
    return _mm_or_si128(a, b);
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    const vi mask = _mm_castps_si128(m);
    return _mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b));
}
static FASTKM_INLINE vf vf_select(vm m, vf a, vf b) {
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
}

static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
}

#define FOLDS_QUADS 1
static FASTKM_INLINE vf vf_load_quads(const float* const* at) {
    return vf_load(at[0]);
}
/* Each of a's values four times. */
static FASTKM_INLINE void vf_spread(vf a, vf spread[4]) {
    spread[0] = _mm_shuffle_ps(a, a, 0x00);
    spread[1] = _mm_shuffle_ps(a, a, 0x55);
    spread[2] = _mm_shuffle_ps(a, a, 0xaa);
    spread[3] = _mm_shuffle_ps(a, a, 0xff);
}
static FASTKM_INLINE void vf_transpose_quads(vf r[4]) {
    vf_transpose(r);
}

#define DOUBLE_LANES 2
typedef __m128d vd;
static FASTKM_INLINE vd vd_set1(double a) {
    return _mm_set1_pd(a);
}
static FASTKM_INLINE vd vd_load(const double* p) {
    return _mm_loadu_pd(p);
}
static FASTKM_INLINE vd vd_load_f32(const float* p) {
    return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i*)p)));
}
static FASTKM_INLINE vd vd_load_u8(const uint8_t* p) {
    return _mm_setr_pd(p[0], p[1]);
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
    _mm_storeu_pd(p, a);
}
static FASTKM_INLINE vf vf_of_doubles(const vd parts[2]) {
    return _mm_movelh_ps(_mm_cvtpd_ps(parts[0]), _mm_cvtpd_ps(parts[1]));
}
static FASTKM_INLINE vd vd_add(vd a, vd b) {
    return _mm_add_pd(a, b);
}
static FASTKM_INLINE vd vd_sub(vd a, vd b) {
    return _mm_sub_pd(a, b);
}
static FASTKM_INLINE vd vd_mul(vd a, vd b) {
    return _mm_mul_pd(a, b);
}
static FASTKM_INLINE vd vd_sqrt(vd a) {
    return _mm_sqrt_pd(a);
}
static FASTKM_INLINE vd vd_min(vd a, vd b) {
    return _mm_min_pd(a, b);
}
static FASTKM_INLINE vd vd_max(vd a, vd b) {
    return _mm_max_pd(a, b);
}

#include "simd_x86.h"
