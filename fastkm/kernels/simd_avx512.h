/* Vector operations for AVX-512 F, DQ, BW and VL, and with VNNI where the including source asks. */
#include <immintrin.h>

#define LANES 16
#define TILE_VECTORS 4

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

static FASTKM_INLINE vf vf_set1(float a) {
    return _mm512_set1_ps(a);
}
static FASTKM_INLINE vf vf_load(const float* p) {
    return _mm512_loadu_ps(p);
}
static FASTKM_INLINE vf vf_load_bytes(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
static FASTKM_INLINE void vf_store(float* p, vf a) {
    _mm512_storeu_ps(p, a);
}
static FASTKM_INLINE vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
static FASTKM_INLINE vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
static FASTKM_INLINE vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
static FASTKM_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
static FASTKM_INLINE vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
static FASTKM_INLINE vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
static FASTKM_INLINE vf vf_sqrt(vf a) {
    return _mm512_sqrt_ps(a);
}
static FASTKM_INLINE float vf_sum(vf a) {
    return _mm512_reduce_add_ps(a);
}
static FASTKM_INLINE vm vf_lt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static FASTKM_INLINE uint32_t vm_bits(vm m) {
    return (uint32_t)m;
}
static FASTKM_INLINE vi vi_set1(int32_t a) {
    return _mm512_set1_epi32(a);
}
static FASTKM_INLINE vi vi_load(const int32_t* p) {
    return _mm512_loadu_si512(p);
}
static FASTKM_INLINE void vi_store(int32_t* p, vi a) {
    _mm512_storeu_si512(p, a);
}
static FASTKM_INLINE vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}
static FASTKM_INLINE vi vi_select(vm m, vi a, vi b) {
    return _mm512_mask_blend_epi32(m, b, a);
}
static FASTKM_INLINE vf vf_select(vm m, vf a, vf b) {
    return _mm512_mask_blend_ps(m, b, a);
}

#ifdef HAS_VNNI
#define LARGEST_ROW_CODE 127
#define BYTE_COSTS {9, 3, 24, 16, 0.25, 2100, 15, 2100, 5}
static FASTKM_INLINE vi vi_load_bytes(const uint8_t* p) {
    return _mm512_loadu_si512(p);
}
static FASTKM_INLINE void vi_store_bytes(uint8_t* p, vi a) {
    _mm512_storeu_si512(p, a);
}
/* Four bytes, in each lane. */
static FASTKM_INLINE vi vi_set1_bytes(const int8_t* p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vi_set1(four);
}
/* The low bytes of four vectors, side by side in each lane. */
static FASTKM_INLINE vi vi_low_bytes(vf a, vf b, vf c, vf d) {
    const vi low = _mm512_set1_epi32(255);
    const vi ab = vi_or(_mm512_and_si512(_mm512_castps_si512(a), low),
                        _mm512_slli_epi32(_mm512_and_si512(_mm512_castps_si512(b), low), 8));
    const vi cd = vi_or(_mm512_and_si512(_mm512_castps_si512(c), low),
                        _mm512_slli_epi32(_mm512_castps_si512(d), 8));
    return vi_or(ab, _mm512_slli_epi32(cd, 16));
}
/* Adds the four products of each lane's unsigned bytes and signed ones. */
static FASTKM_INLINE vi vi_add_byte_products(vi a_unsigned, vi b_signed, vi sum) {
#if defined(__GNUC__) && !defined(__clang__)
    /* For its own function GCC 12 moves every sum to another register and to memory. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a_unsigned), "v"(b_signed));
    return sum;
#else
    return _mm512_dpbusd_epi32(sum, a_unsigned, b_signed);
#endif
}
static FASTKM_INLINE vf vf_of_ints(vi a) {
    return _mm512_cvtepi32_ps(a);
}
#endif

/* Rows become columns: pairs, then quads, then the four 128-bit lanes. */
static FASTKM_INLINE void vf_transpose(vf r[LANES]) {
    vf t[LANES];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

#define HEAT_COLUMNS 32
/* values[column] in each lane. */
static FASTKM_INLINE vf vf_look_up(const float values[HEAT_COLUMNS], vi column) {
    return _mm512_permutex2var_ps(vf_load(values), column, vf_load(values + LANES));
}

#define DOUBLE_LANES 8
typedef __m512d vd;
static FASTKM_INLINE vd vd_set1(double a) {
    return _mm512_set1_pd(a);
}
static FASTKM_INLINE vd vd_load(const double* p) {
    return _mm512_loadu_pd(p);
}
static FASTKM_INLINE vd vd_load_f32(const float* p) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
static FASTKM_INLINE vd vd_load_u8(const uint8_t* p) {
    return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
static FASTKM_INLINE __mmask8 vd_first(int64_t n) {
    return (__mmask8)(n < DOUBLE_LANES ? (1u << n) - 1 : 0xff);
}
static FASTKM_INLINE vd vd_load_few(const double* p, int64_t n) {
    return _mm512_maskz_loadu_pd(vd_first(n), p);
}
static FASTKM_INLINE vd vd_load_few_f32(const float* p, int64_t n) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(vd_first(n), p));
}
static FASTKM_INLINE void vd_store(double* p, vd a) {
    _mm512_storeu_pd(p, a);
}
static FASTKM_INLINE vf vf_of_doubles(const vd parts[2]) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(parts[0])),
                              _mm512_cvtpd_ps(parts[1]), 1);
}
static FASTKM_INLINE vd vd_add(vd a, vd b) {
    return _mm512_add_pd(a, b);
}
static FASTKM_INLINE vd vd_sub(vd a, vd b) {
    return _mm512_sub_pd(a, b);
}
static FASTKM_INLINE vd vd_mul(vd a, vd b) {
    return _mm512_mul_pd(a, b);
}
static FASTKM_INLINE vd vd_sqrt(vd a) {
    return _mm512_sqrt_pd(a);
}
static FASTKM_INLINE vd vd_min(vd a, vd b) {
    return _mm512_min_pd(a, b);
}
static FASTKM_INLINE vd vd_max(vd a, vd b) {
    return _mm512_max_pd(a, b);
}

#include "simd_x86.h"
