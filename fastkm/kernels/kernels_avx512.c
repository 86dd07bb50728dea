#include "common.h"
#include "simd_avx512.h"
#include "body.h"
