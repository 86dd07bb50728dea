# Exact sums of the points of each label.

# A thread keeps sums of its own up to this size; larger ones are shared, each thread owning some of the centroids.
cdef enum:
    PRIVATE_SUMS_BYTES = 1024 * 1024
    MEANS_AT_ONCE = 4  # that a thread forms in one turn


cdef int64_t _items_of_sums(int64_t k, int64_t d) noexcept nogil:
    """Sums and counts, which lie one behind the other; all are integers of eight bytes."""
    return k * (2 * d + 1)


cdef void _clear_sums(const fastkm_sums* sums, int64_t k, int64_t d) noexcept nogil:
    memset(sums.sums, 0, _items_of_sums(k, d) * sizeof(uint64_t))


cdef void _add_sums(const fastkm_sums* sums, int64_t k, int64_t d, const fastkm_sums* total) noexcept nogil:
    cdef int64_t item
    for item in range(_items_of_sums(k, d)):
        total.sums[item] += sums.sums[item]


cdef class Sums:
    """Exact sums and counts of the points of each label, kept up to date as labels change."""
    cdef fastkm_sums sums
    cdef const double[::1] scale
    cdef _Memory memory
    cdef _Memory private_memory
    cdef int64_t k, d
    cdef size_t n_bytes
    cdef int n_threads
    cdef readonly bint is_private  # to each thread, until a pass ends
    cdef double share_moved  # of the rows labelled last

    def __cinit__(self, int64_t k, const double[::1] scale, double low_scale, int n_threads):
        self.k = k
        self.d = scale.shape[0]
        self.scale = scale
        self.n_threads = n_threads
        self.n_bytes = _size(2 * k, self.d + 1, sizeof(uint64_t))
        self.n_bytes = (self.n_bytes + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.memory = _Memory()
        self.memory.allocate(self.n_bytes, zero=True)
        self.is_private = n_threads == 1 or self.n_bytes <= PRIVATE_SUMS_BYTES
        if n_threads > 1 and self.is_private:
            self.private_memory = _Memory()
            self.private_memory.allocate(self.n_bytes * n_threads)
        self.share_moved = 1
        self.sums.scale = &scale[0]
        self.sums.low_scale = low_scale
        self.sums.j_begin = 0
        self.sums.j_end = k
        self.place(&self.sums, self.memory.start)

    cdef void place(self, fastkm_sums* sums, char* memory) noexcept nogil:
        sums.sums = <uint64_t*>memory
        sums.low_sums = sums.sums + self.k * self.d
        sums.counts = <int64_t*>(sums.low_sums + self.k * self.d)

    cdef fastkm_sums private_sums(self, int t) noexcept nogil:
        cdef fastkm_sums mine = self.sums
        self.place(&mine, self.private_memory.start + t * self.n_bytes)
        return mine

    cdef fastkm_sums owned(self, int64_t owner, int64_t n_owners) noexcept nogil:
        """Those of a range of centroids."""
        cdef fastkm_sums mine = self.sums
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        return mine

    cdef void clear_private(self, int used) noexcept nogil:
        memset(self.private_memory.start, 0, self.n_bytes * used)

    cdef void merge_private(self, int used) noexcept nogil:
        cdef fastkm_sums mine
        cdef int t
        for t in range(used):
            mine = self.private_sums(t)
            _add_sums(&mine, self.k, self.d, &self.sums)

    def counts(self, int64_t[::1] out):
        """Write the number of points of each label into out (k,); return how many labels have none."""
        cdef int64_t j, n_empty = 0
        if out.shape[0] != self.k:
            raise ValueError(f"out must have shape {(self.k,)}.")
        for j in range(self.k):
            out[j] = self.sums.counts[j]
            n_empty += out[j] == 0
        return n_empty
