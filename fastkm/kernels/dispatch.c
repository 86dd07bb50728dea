/* Which implementations exist, which this machine runs, and what they share. */
#include "common.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FASTKM_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define FASTKM_ARM64 1
#endif

extern const fastkm_kernels fastkm_kernels_portable;
#ifdef FASTKM_X86
extern const fastkm_kernels fastkm_kernels_sse2;
extern const fastkm_kernels fastkm_kernels_avx2;
extern const fastkm_kernels fastkm_kernels_avx512;
extern const fastkm_kernels fastkm_kernels_avx512vnni;
#elif defined(FASTKM_ARM64)
extern const fastkm_kernels fastkm_kernels_neon; /* every such processor runs it */
#endif

static const fastkm_kernels* const BUILT[] = {
    &fastkm_kernels_portable,
#ifdef FASTKM_X86
    &fastkm_kernels_sse2,     &fastkm_kernels_avx2,
    &fastkm_kernels_avx512,   &fastkm_kernels_avx512vnni,
#elif defined(FASTKM_ARM64)
    &fastkm_kernels_neon,
#endif
};
#define N_BUILT ((int)(sizeof BUILT / sizeof BUILT[0]))

const fastkm_kernels* fastkm_built(int index) {
    return index >= 0 && index < N_BUILT ? BUILT[index] : NULL;
}

#ifdef FASTKM_X86
typedef struct {
    uint32_t eax, ebx, ecx, edx;
} cpuid_registers;

static cpuid_registers cpuid(uint32_t leaf) {
    cpuid_registers r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int words[4];
    __cpuid(words, 0);
    if ((uint32_t)words[0] >= leaf) {
        __cpuidex(words, (int)leaf, 0);
        r = (cpuid_registers){(uint32_t)words[0], (uint32_t)words[1], (uint32_t)words[2],
                              (uint32_t)words[3]};
    }
#else
    if ((uint32_t)__get_cpuid_max(0, NULL) >= leaf)
        __cpuid_count(leaf, 0, r.eax, r.ebx, r.ecx, r.edx);
#endif
    return r;
}

/* The register state that the operating system saves and restores. */
static uint64_t saved_state(void) {
    if (!(cpuid(1).ecx >> 27 & 1)) return 0;
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
#endif
}

static int has_all(uint64_t present, uint64_t wanted) {
    return (present & wanted) == wanted;
}

static int supports_avx2(void) {
    return has_all(saved_state(), 0x6) &&                /* XMM, YMM */
           has_all(cpuid(1).ecx, 1u << 12 | 1u << 28) && /* FMA, AVX */
           has_all(cpuid(7).ebx, 1u << 5);               /* AVX2 */
}

static int supports_avx512(void) {
    return supports_avx2() && has_all(saved_state(), 0xe6) &&                /* opmask, ZMM */
           has_all(cpuid(7).ebx, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31); /* F, DQ, BW, VL */
}

static int supports_avx512vnni(void) {
    return supports_avx512() && has_all(cpuid(7).ecx, 1u << 11); /* VNNI */
}
#endif

int fastkm_is_supported(const fastkm_kernels* kernels) {
#ifdef FASTKM_X86
    if (kernels == &fastkm_kernels_avx2) return supports_avx2();
    if (kernels == &fastkm_kernels_avx512) return supports_avx512();
    if (kernels == &fastkm_kernels_avx512vnni) return supports_avx512vnni();
#endif
    return kernels != NULL;
}

static size_t aligned(size_t bytes) {
    return (bytes + FASTKM_ALIGN - 1) / FASTKM_ALIGN * FASTKM_ALIGN;
}

static size_t panel_bytes(const fastkm_kernels* kernels, int64_t d) {
    return aligned((size_t)d * (size_t)kernels->panel_rows * sizeof(float));
}

static size_t dists_bytes(int64_t k) {
    return (size_t)((k + FASTKM_EXACT_LANES - 1) / FASTKM_EXACT_LANES) * FASTKM_EXACT_LANES *
           sizeof(double);
}

/* Rows, an origin and four moments, each as wide as the rows that describe lays side by side. */
static size_t moments_bytes(int64_t d) {
    return (size_t)FASTKM_MAX(d, FASTKM_ROWS_BESIDE * FASTKM_ROWS_BESIDE) *
           (FASTKM_MOMENT_ROWS + 5) * sizeof(double);
}

static size_t lists_bytes(const fastkm_kernels* kernels) {
    return aligned(2 * (size_t)kernels->panel_rows * sizeof(fastkm_candidate_list));
}

size_t fastkm_scratch_bytes(const fastkm_kernels* kernels, int64_t d, int64_t k) {
    return panel_bytes(kernels, d) + aligned((size_t)d * 8) + aligned(moments_bytes(d)) +
           aligned(dists_bytes(k)) + lists_bytes(kernels);
}

fastkm_scratch fastkm_scratch_in(char* memory, const fastkm_kernels* kernels, int64_t d,
                                 int64_t k) {
    const size_t row = aligned((size_t)d * 8);
    fastkm_scratch scratch;
    scratch.panel = (float*)memory;
    scratch.row = (double*)(memory + panel_bytes(kernels, d));
    scratch.rows = (double*)((char*)scratch.row + row);
    scratch.dists = (double*)((char*)scratch.rows + aligned(moments_bytes(d)));
    scratch.lists = (fastkm_candidate_list*)((char*)scratch.dists + aligned(dists_bytes(k)));
    return scratch;
}

int fastkm_sparse_check(const fastkm_sparse* rows, int64_t n_entries) {
    int is_sorted = 1;
    if (rows->starts[0] < 0 || rows->starts[rows->n] > n_entries) return 2;
    for (int64_t i = 0; i < rows->n; i++) {
        int64_t last = -1;
        if (rows->starts[i + 1] < rows->starts[i] || rows->starts[i + 1] > n_entries) return 2;
        for (int64_t p = rows->starts[i]; p < rows->starts[i + 1]; p++) {
            const int64_t f = rows->is_wide ? ((const int64_t*)rows->columns)[p]
                                            : ((const int32_t*)rows->columns)[p];
            if (f < 0 || f >= rows->d) return 2;
            is_sorted &= f > last;
            last = f;
        }
    }
    return is_sorted ? 0 : 1;
}
