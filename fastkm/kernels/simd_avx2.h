/* Vector operations for AVX2 with FMA. */
#include <immintrin.h>

#define ISA avx2
#define LANES 8
#define TILE_VECTORS 2

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static FASTKM_INLINE vf vf_set1(float a) {
    return _mm256_set1_ps(a);
}
static FASTKM_INLINE vf vf_load(const float* p) {
    return _mm256_loadu_ps(p);
}
static FASTKM_INLINE vf vf_load_bytes(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    _mm256_storeu_ps(p, a);
}
static FASTKM_INLINE vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
static FASTKM_INLINE vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
static FASTKM_INLINE vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
static FASTKM_INLINE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
static FASTKM_INLINE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    return _mm256_sqrt_ps(a);
}
static FASTKM_INLINE float vf_sum(vf a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    return (uint32_t)_mm256_movemask_ps(m);
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    return _mm256_set1_epi32(a);
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    return _mm256_loadu_si256((const __m256i*)p);
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    _mm256_storeu_si256((__m256i*)p, a);
}
static FASTKM_INLINE vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(b), _mm256_castsi256_ps(a), m));
}
static FASTKM_INLINE vf vf_select(vm m, vf a, vf b) {
    return _mm256_blendv_ps(b, a, m);
}

/* Of seven bits, so that two products of bytes fit sixteen. */
#define LARGEST_ROW_CODE 63
#define BYTE_COSTS {8, 1, 20, 13, 0.57, 2000, 9, 900, 3}
static FASTKM_INLINE vi vi_load_bytes(const uint8_t* p) {
    return _mm256_loadu_si256((const __m256i*)p);
}
static FASTKM_INLINE void vi_store_bytes(uint8_t* p, vi a) {
    _mm256_storeu_si256((__m256i*)p, a);
}
/* Four bytes, in each lane. */
static FASTKM_INLINE vi vi_set1_bytes(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vi_set1(four);
}
/* The low bytes of four vectors, side by side in each lane. */
static FASTKM_INLINE vi vi_low_bytes(vf a, vf b, vf c, vf d) {
    const vi low = _mm256_set1_epi32(255);
    const vi ab = vi_or(_mm256_and_si256(_mm256_castps_si256(a), low),
                        _mm256_slli_epi32(_mm256_and_si256(_mm256_castps_si256(b), low), 8));
    const vi cd = vi_or(_mm256_and_si256(_mm256_castps_si256(c), low),
                        _mm256_slli_epi32(_mm256_castps_si256(d), 8));
    return vi_or(ab, _mm256_slli_epi32(cd, 16));
}
/* Adds the four products of each lane's unsigned bytes and signed ones. */
static FASTKM_INLINE vi vi_add_byte_products(vi a_unsigned, vi b_signed, vi sum) {
    const vi pairs = _mm256_maddubs_epi16(a_unsigned, b_signed);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static FASTKM_INLINE vf vf_of_ints(vi a) {
    return _mm256_cvtepi32_ps(a);
}

/* Rows become columns: pairs, then quads, then the two 128-bit lanes. */
static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    vf t[LANES];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

#define FOLDS_QUADS 1
/* Four values each from at[0] and at[4]. */
static FASTKM_INLINE vf vf_load_quads(const float* const* at) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(at[0])), _mm_loadu_ps(at[4]),
                                1);
}
/* Each of the values of a's 128 bits four times. */
static FASTKM_INLINE void vf_spread(vf a, vf spread[4]) {
    spread[0] = _mm256_permute_ps(a, 0x00);
    spread[1] = _mm256_permute_ps(a, 0x55);
    spread[2] = _mm256_permute_ps(a, 0xaa);
    spread[3] = _mm256_permute_ps(a, 0xff);
}
/* Rows become columns within 128 bits. */
static FASTKM_INLINE void vf_transpose_quads(vf r[4]) {
    const vf a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    const vf c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_shuffle_ps(a, c, 0x44);
    r[1] = _mm256_shuffle_ps(a, c, 0xee);
    r[2] = _mm256_shuffle_ps(b, d, 0x44);
    r[3] = _mm256_shuffle_ps(b, d, 0xee);
}

#define DOUBLE_LANES 4
typedef __m256d vd;
static FASTKM_INLINE vd vd_set1(double a) {
    return _mm256_set1_pd(a);
}
static FASTKM_INLINE vd vd_load(const double* p) {
    return _mm256_loadu_pd(p);
}
static FASTKM_INLINE vd vd_load_f32(const float* p) {
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
}
static FASTKM_INLINE vd vd_load_u8(const uint8_t* p) {
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
}
static FASTKM_INLINE __m256i vd_first(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
static FASTKM_INLINE vd vd_load_few(const double* p, int64_t n) {
    return _mm256_maskload_pd(p, vd_first(n));
}
static FASTKM_INLINE vd vd_load_few_f32(const float* p, int64_t n) {
    const __m128i first =
        _mm_cmpgt_epi32(_mm_set1_epi32((int)FASTKM_MIN(n, 4)), _mm_setr_epi32(0, 1, 2, 3));
    return _mm256_cvtps_pd(_mm_maskload_ps(p, first));
}
static FASTKM_INLINE void vd_store(double* p, vd a) {
    _mm256_storeu_pd(p, a);
}
static FASTKM_INLINE vf vf_of_doubles(const vd parts[2]) {
    return _mm256_set_m128(_mm256_cvtpd_ps(parts[1]), _mm256_cvtpd_ps(parts[0]));
}
static FASTKM_INLINE vd vd_add(vd a, vd b) {
    return _mm256_add_pd(a, b);
}
static FASTKM_INLINE vd vd_sub(vd a, vd b) {
    return _mm256_sub_pd(a, b);
}
static FASTKM_INLINE vd vd_mul(vd a, vd b) {
    return _mm256_mul_pd(a, b);
}
static FASTKM_INLINE vd vd_sqrt(vd a) {
    return _mm256_sqrt_pd(a);
}
static FASTKM_INLINE vd vd_min(vd a, vd b) {
    return _mm256_min_pd(a, b);
}
static FASTKM_INLINE vd vd_max(vd a, vd b) {
    return _mm256_max_pd(a, b);
}

#include "simd_x86.h"
