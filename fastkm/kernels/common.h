/* What every kernel source needs before it chooses its vector operations. */
#ifndef FASTKM_COMMON_H
#define FASTKM_COMMON_H

#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define FASTKM_INLINE __forceinline
#define FASTKM_RESTRICT __restrict
#else
#define FASTKM_INLINE inline __attribute__((always_inline))
#define FASTKM_RESTRICT restrict
#endif

#define FASTKM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FASTKM_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
