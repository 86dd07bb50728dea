#include "common.h"
#include "simd_portable.h"
#include "body.h"
