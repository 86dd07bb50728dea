# Centroids in the layouts that the kernels stream.

# A multiple of the sizes of both layouts' groups.
cdef enum:
    PACKED_AT_ONCE = FASTKM_TILE_CENTROIDS * FASTKM_EXACT_LANES // 2


cdef class Centroids:
    """k centroids in the layouts that the kernels stream; packed again for each new position."""
    cdef fastkm_centroids centroids
    cdef const double[:, ::1] raw
    cdef _Memory tiles
    cdef _Memory sq_norms
    cdef _Memory exact
    cdef _Memory heats  # None where there are too many features
    cdef readonly int64_t k
    cdef readonly int64_t d

    def __cinit__(self, int64_t k, int64_t d):
        if k < 1 or d < 1 or k >= 2**31:
            raise ValueError(f"centroids must have shape (k, d) with k, d >= 1; got {(k, d)}.")
        self.k = k
        self.d = d
        self.tiles = _Memory()
        self.tiles.allocate(_size(k, d, sizeof(float)))
        self.sq_norms = _Memory()
        self.sq_norms.allocate(_size(k, 1, sizeof(float)))
        self.exact = _Memory()
        self.exact.allocate(_size(k + FASTKM_EXACT_LANES, d, sizeof(double)))
        self.centroids.k = k
        self.centroids.d = d
        self.centroids.tiles = <float*>self.tiles.start
        self.centroids.sq_norms = <float*>self.sq_norms.start
        self.centroids.exact = <double*>self.exact.start
        self.centroids.heats = NULL
        if d <= FASTKM_HEAT_FEATURES:
            self.heats = _Memory()
            self.heats.allocate(_size(FASTKM_HEAT_ROOM(k), d + 1, sizeof(float)))
            self.centroids.heats = <float*>self.heats.start

    cdef int pack(self, const double[:, ::1] raw, Frame frame, _Crew crew) except -1:
        cdef int64_t step = PACKED_AT_ONCE
        cdef int64_t n_tasks = (self.k + step - 1) // step, task
        cdef double work = 64.0 * self.k * self.d
        # Rows that are too few for a second thread wake none for the centroids, unless those are many.
        if crew.threads_for(crew.points.n, <double>self.k * self.d * crew.points.n) == 1:
            work /= 8
        cdef int used = crew.threads_for(n_tasks, work)
        cdef float norm, max_norm = 0
        cdef _Memory norms = _Memory()
        if raw.shape[0] != self.k or raw.shape[1] != self.d or frame.shift.shape[0] != self.d:
            raise ValueError(f"centroids must have shape {(self.k, self.d)}.")
        norms.allocate(_size(n_tasks, 1, sizeof(float)))
        cdef float* norm_of = <float*>norms.start
        self.raw = raw
        self.centroids.raw = &raw[0, 0]
        with nogil:
            if used == 1:
                for task in range(n_tasks):
                    norm_of[task] = crew.kernels.pack(
                        &frame.frame, &self.centroids, task * step, min(task * step + step, self.k)
                    )
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    norm_of[task] = crew.kernels.pack(
                        &frame.frame, &self.centroids, task * step, min(task * step + step, self.k)
                    )
        for task in range(n_tasks):
            norm = norm_of[task]
            if not norm <= max_norm:
                max_norm = norm
        self.centroids.max_norm = max_norm
        return 0
