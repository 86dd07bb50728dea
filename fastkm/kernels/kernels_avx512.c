#include "common.h"
#define ISA avx512
#include "simd_avx512.h"
#include "body.h"
