#include "common.h"
#define ISA avx512vnni
#define HAS_VNNI
#include "simd_avx512.h"
#include "body.h"
