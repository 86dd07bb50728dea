/* Towards the second-level cache; any address will do. */
static FASTKM_INLINE void prefetch(const char* p) {
    _mm_prefetch(p, _MM_HINT_T1);
}

/* Denormal numbers as zero while the float32 tiles run: they cost a hundred times a normal product,
 * and the rounding bound pays for what is flushed. */
static FASTKM_INLINE uint32_t flush_denormals(void) {
    const uint32_t saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040u);
    return saved;
}
static FASTKM_INLINE void restore_denormals(uint32_t saved) {
    _mm_setcsr(saved);
}
