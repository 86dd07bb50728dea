#include "common.h"
#include "simd_sse2.h"
#include "body.h"
