#include "common.h"
/* Where one build is for two architectures, as macOS has them, the other one's part is empty. */
#if defined(__aarch64__) || defined(_M_ARM64)
#include "simd_neon.h"
#include "body.h"
#endif
