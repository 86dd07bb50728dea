#include "common.h"
#include "simd_avx2.h"
#include "body.h"
