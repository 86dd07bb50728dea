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

#define FASTKM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FASTKM_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
