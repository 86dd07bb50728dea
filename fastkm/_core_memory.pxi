# Aligned memory, and whether there is room for it.

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    /* Larger pages where the system has them: fewer faults when they are first written, fewer misses when rows are read
     * here and there. */
    static void ask_for_large_pages(char* start, size_t n_bytes) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = 4096, begin = ((uintptr_t)start + page - 1) / page * page;
        (void)madvise((void*)begin, ((uintptr_t)start + n_bytes - begin) / page * page, MADV_HUGEPAGE);
    #else
        (void)start;
        (void)n_bytes;
    #endif
    }
    /* Whether the system would give so much memory now; none of it is touched. */
    static int is_room_for(size_t n_bytes) {
    #ifdef __linux__
        /* Not by malloc, which would keep what it has freed. */
        void* block = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return block != MAP_FAILED && munmap(block, n_bytes) == 0;
    #else
        void* block = malloc(n_bytes);
        free(block);
        return block != NULL;
    #endif
    }
    """
    void ask_for_large_pages(char*, size_t)
    int is_room_for(size_t)

cdef enum:
    LARGE_BYTES = 1 << 22


cdef class _Memory:
    """Aligned memory that lives as long as the object."""
    cdef void* block
    cdef char* start

    def __cinit__(self):
        self.block = NULL

    def __dealloc__(self):
        free(self.block)

    cdef int allocate(self, size_t n_bytes, bint zero=False) except -1:
        self.block = calloc(1, n_bytes + FASTKM_ALIGN) if zero else malloc(n_bytes + FASTKM_ALIGN)
        if self.block == NULL:
            raise MemoryError(f"fastkm could not allocate {n_bytes} bytes.")
        self.start = <char*>(
            (<uintptr_t>self.block + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        )
        if n_bytes >= LARGE_BYTES:
            ask_for_large_pages(self.start, n_bytes)
        return 0


def has_room(n_bytes):
    """Whether so many bytes could be allocated at once; the system may promise more than it has."""
    return n_bytes <= 1 << 20 or (n_bytes < 1 << 62 and is_room_for(n_bytes) != 0)


cdef size_t _size(int64_t rows, int64_t columns, int64_t itemsize) except? 0:
    """Bytes of an array, refused before they overflow."""
    if rows > 0 and columns > (1 << 60) // itemsize // rows:
        raise MemoryError(f"An array of shape ({rows}, {columns}) is too large for memory.")
    return <size_t>(rows * columns * itemsize)
