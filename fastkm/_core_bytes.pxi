# Centroids as codes of a byte a value, and each thread's work with them.

# Where bytes do not pay centroids are not even coded but after some rounds, at last after so many.
cdef enum:
    MOST_WAITED = 30


cdef class _Bytes:
    """What an engine needs to label rows by products of bytes."""
    cdef fastkm_byte_centroids bytes
    cdef fastkm_byte_work* works
    cdef _Memory centroid_memory, thread_memory, work_table
    cdef _Crew crew
    cdef int64_t k, d
    cdef int n_waited, n_to_wait  # rounds without bytes, where these do not pay

    def __cinit__(self, int64_t k, int64_t d, _Crew crew not None, bint always):
        cdef int64_t width = (d + 3) // 4 * 4, rows = crew.kernels.panel_rows
        cdef size_t n_bytes, n_floats
        cdef float* floats
        cdef char* mine
        cdef int t
        self.k = k
        self.d = d
        self.crew = crew
        self.centroid_memory = _Memory()
        self.centroid_memory.allocate(_size(k, 4 * (d + 6) + width, 1))
        floats = <float*>self.centroid_memory.start
        self.bytes.framed = floats
        self.bytes.factors = floats + k * d
        self.bytes.offsets = <int32_t*>(self.bytes.factors + k)
        self.bytes.norms = self.bytes.factors + 2 * k
        self.bytes.offs = self.bytes.factors + 3 * k
        self.bytes.fixed = self.bytes.factors + 4 * k
        self.bytes.squares = self.bytes.factors + 5 * k
        self.bytes.tiles = <int8_t*>(self.bytes.factors + 6 * k)
        n_floats = k * rows + width
        n_bytes = (_size(n_floats, 1, sizeof(float)) + _size(width, rows, 1) + FASTKM_ALIGN - 1) \
            // FASTKM_ALIGN * FASTKM_ALIGN
        self.thread_memory = _Memory()
        self.thread_memory.allocate(_size(crew.n_threads, n_bytes, 1))
        self.work_table = _Memory()
        self.work_table.allocate(_size(crew.n_threads, sizeof(fastkm_byte_work), 1), zero=True)
        self.works = <fastkm_byte_work*>self.work_table.start
        for t in range(crew.n_threads):
            mine = self.thread_memory.start + t * n_bytes
            self.works[t].is_always = always
            self.works[t].lowers = <float*>mine
            self.works[t].codes = <uint8_t*>(mine + k * rows * sizeof(float))
            self.works[t].row = <float*>(self.works[t].codes + width * rows)

    cdef tuple work(self):
        cdef int64_t n_tried = 0, n_open = 0, n_listed = 0, n_distances = 0
        cdef int t
        for t in range(self.crew.n_threads):
            n_tried += self.works[t].n_tried
            n_open += self.works[t].n_open
            n_listed += self.works[t].n_listed
            n_distances += self.works[t].n_distances
        return n_tried, n_open, n_listed, n_distances

    cdef bint pays(self) noexcept:
        cdef double share = 0
        cdef int t, n_works = 0
        for t in range(self.crew.n_threads):
            if self.works[t].n_tried > 0 and not self.works[t].is_always:
                share += self.works[t].share
                n_works += 1
        return share <= n_works  # also before any is tried

    cdef bint is_due(self) noexcept:
        """Whether the next centroids are tried in bytes; to be asked once for each."""
        cdef int t
        if self.pays():
            self.n_waited = 0
            return True
        if self.n_to_wait == 0:
            self.n_waited = self.n_to_wait = min(2 * self.n_waited + 2, MOST_WAITED)
        self.n_to_wait -= 1
        if self.n_to_wait > 0:
            return False
        for t in range(self.crew.n_threads):
            self.works[t].n_failed = self.works[t].n_to_skip = 0
            self.works[t].share = 1
        return True

    cdef int pack(self, const fastkm_centroids* centroids, const fastkm_frame* frame) except -1:
        cdef int64_t step = PACKED_AT_ONCE, n_tasks = (self.k + step - 1) // step, task
        cdef int used = self.crew.threads_for(n_tasks, 64.0 * self.k * self.d)
        with nogil:
            if used == 1:
                self.crew.kernels.pack_bytes(frame, centroids, &self.bytes, 0, self.k)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    self.crew.kernels.pack_bytes(frame, centroids, &self.bytes, task * step,
                                                 min(task * step + step, self.k))
        return 0
