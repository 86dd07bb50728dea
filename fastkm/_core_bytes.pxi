# Centroids as codes of a byte a value, and each thread's work with them.

# Products of so many features may not fit 32 bits, and centroids of so large a norm not float32.
cdef enum:
    MOST_BYTE_FEATURES = 1 << 15
cdef float LARGEST_BYTE_NORM = <float>1e15

# Where bytes do not pay centroids are not even coded but after some rounds, at last after so many.
cdef enum:
    MOST_WAITED = 30


cdef bint _has_bytes(_Crew crew) noexcept:
    return crew.kernels.assign_bytes != NULL and crew.points.d <= MOST_BYTE_FEATURES


cdef double _least_share_in_bytes(_Crew crew, int64_t k, bint is_kept) noexcept:
    return crew.kernels.least_share_in_bytes(crew.points.n, crew.points.d, k, is_kept) if _has_bytes(crew) else INFINITY


cdef struct _ByteTrial:
    fastkm_byte_centroids centroids
    fastkm_byte_work* works  # (n_threads,)
    int n_threads
    int n_waited, n_to_wait  # rounds without bytes, where these do not pay


cdef bint _bytes_pay(const _ByteTrial* trial) noexcept nogil:
    cdef double share = 0
    cdef int t, n_works = 0
    for t in range(trial.n_threads):
        if trial.works[t].n_tried > 0 and not trial.works[t].is_always:
            share += trial.works[t].share
            n_works += 1
    return share <= n_works  # also before any is tried


cdef bint _bytes_are_due(_ByteTrial* trial, const fastkm_centroids* centroids) noexcept nogil:
    """Whether these centroids, the next ones, are tried in bytes; to be asked once for each."""
    cdef int t
    if not centroids.max_norm < LARGEST_BYTE_NORM:
        return False
    if _bytes_pay(trial):
        trial.n_waited = 0
        return True
    if trial.n_to_wait == 0:
        trial.n_waited = trial.n_to_wait = min(2 * trial.n_waited + 2, <int>MOST_WAITED)
    trial.n_to_wait -= 1
    if trial.n_to_wait > 0:
        return False
    for t in range(trial.n_threads):
        trial.works[t].n_failed = trial.works[t].n_to_skip = 0
        trial.works[t].share = 1
    return True


cdef class _Bytes:
    """What it takes to label rows by products of bytes."""
    cdef _ByteTrial trial
    cdef _Memory centroid_memory, thread_memory, work_table
    cdef _Crew crew
    cdef int64_t k, d

    def __cinit__(self, int64_t k, int64_t d, _Crew crew not None, bint always):
        cdef int64_t width = (d + 3) // 4 * 4, rows = crew.kernels.panel_rows
        cdef size_t n_bytes, n_floats
        cdef float* floats
        cdef char* mine
        cdef int t
        self.k = k
        self.d = d
        self.crew = crew
        self.trial.n_threads = crew.n_threads
        self.centroid_memory = _Memory()
        self.centroid_memory.allocate(_size(k, 4 * (d + 6) + width, 1))
        floats = <float*>self.centroid_memory.start
        self.trial.centroids.framed = floats
        self.trial.centroids.factors = floats + k * d
        self.trial.centroids.offsets = <int32_t*>(self.trial.centroids.factors + k)
        self.trial.centroids.norms = self.trial.centroids.factors + 2 * k
        self.trial.centroids.offs = self.trial.centroids.factors + 3 * k
        self.trial.centroids.fixed = self.trial.centroids.factors + 4 * k
        self.trial.centroids.squares = self.trial.centroids.factors + 5 * k
        self.trial.centroids.tiles = <int8_t*>(self.trial.centroids.factors + 6 * k)
        n_floats = k * rows + width
        n_bytes = (_size(n_floats, 1, sizeof(float)) + _size(width, rows, 1) + FASTKM_ALIGN - 1) \
            // FASTKM_ALIGN * FASTKM_ALIGN
        self.thread_memory = _Memory()
        self.thread_memory.allocate(_size(crew.n_threads, n_bytes, 1))
        self.work_table = _Memory()
        self.work_table.allocate(_size(crew.n_threads, sizeof(fastkm_byte_work), 1), zero=True)
        self.trial.works = <fastkm_byte_work*>self.work_table.start
        for t in range(crew.n_threads):
            mine = self.thread_memory.start + t * n_bytes
            self.trial.works[t].is_always = always
            self.trial.works[t].lowers = <float*>mine
            self.trial.works[t].codes = <uint8_t*>(mine + k * rows * sizeof(float))
            self.trial.works[t].row = <float*>(self.trial.works[t].codes + width * rows)

    cdef tuple work(self):
        cdef int64_t n_tried = 0, n_open = 0, n_listed = 0, n_distances = 0
        cdef int t
        for t in range(self.crew.n_threads):
            n_tried += self.trial.works[t].n_tried
            n_open += self.trial.works[t].n_open
            n_listed += self.trial.works[t].n_listed
            n_distances += self.trial.works[t].n_distances
        return n_tried, n_open, n_listed, n_distances

    cdef int pack(self, const fastkm_centroids* centroids, const fastkm_frame* frame) except -1:
        cdef int64_t step = PACKED_AT_ONCE, n_tasks = (self.k + step - 1) // step, task
        cdef int used = self.crew.threads_for(n_tasks, 64.0 * self.k * self.d)
        with nogil:
            if used == 1:
                self.crew.kernels.pack_bytes(frame, centroids, &self.trial.centroids, 0, self.k)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    self.crew.kernels.pack_bytes(frame, centroids, &self.trial.centroids, task * step,
                                                 min(task * step + step, self.k))
        return 0
