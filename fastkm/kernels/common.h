/* What every kernel source needs before it chooses its vector operations. */
#ifndef FASTKM_COMMON_H
#define FASTKM_COMMON_H

#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define FASTKM_INLINE __forceinline
#define FASTKM_RESTRICT __restrict
#else
#define FASTKM_INLINE inline __attribute__((always_inline))
#define FASTKM_RESTRICT restrict
#endif

/* Which is the lowest bit that is set; one is. */
static FASTKM_INLINE int lowest_bit(uint64_t bits) {
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long bit;
    if (_BitScanForward(&bit, (unsigned long)bits)) return (int)bit;
    _BitScanForward(&bit, (unsigned long)(bits >> 32));
    return (int)bit + 32;
#else
    return __builtin_ctzll(bits);
#endif
}

/* Lists begin and on those numbers whose bits are set, n_bits at most; may write as many places.
 * Returns how many are listed. */
static FASTKM_INLINE int64_t list_bits(uint32_t bits, int n_bits, int32_t begin, int32_t* list) {
    static const int32_t places[16][4] = {
        {0}, {0},    {1},    {0, 1},    {2},    {0, 2},    {1, 2},    {0, 1, 2},
        {3}, {0, 3}, {1, 3}, {0, 1, 3}, {2, 3}, {0, 2, 3}, {1, 2, 3}, {0, 1, 2, 3}};
    static const uint8_t counts[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    int64_t n_listed = 0;
    for (int b = 0; b < n_bits; b += 4) {
        const uint32_t four = bits >> b & 15;
        for (int l = 0; l < 4; l++) list[n_listed + l] = begin + b + places[four][l];
        n_listed += counts[four];
    }
    return n_listed;
}

#define FASTKM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FASTKM_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
