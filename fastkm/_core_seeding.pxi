# Greedy k-means++: what candidates would change.

cdef class Panels:
    """All points in the float32 kernel's coordinates and order."""
    cdef Points points
    cdef fastkm_panels panels
    cdef _Memory memory

    def __init__(self, Points points not None, Frame frame not None, int n_threads, str isa):
        cdef int64_t n_blocks = (points.n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int64_t n = n_blocks * FASTKM_BLOCK_ROWS
        cdef _Crew crew = _Crew(points, 1, n_threads, isa)
        cdef int used = crew.threads_for(n_blocks, 4.0 * points.n * points.d)
        if frame.shift.shape[0] != points.d:
            raise ValueError("The frame must be of the points.")
        self.points = points
        self.memory = _Memory()
        self.memory.allocate(_size(n, points.d + 1, sizeof(float)))
        self.panels.values = <float*>self.memory.start
        self.panels.sq_norms = self.panels.values + n * points.d
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.fill_block(frame, crew, b)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="static"):
                    self.fill_block(frame, crew, b)

    cdef void fill_block(self, Frame frame, _Crew crew, int64_t b) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        crew.kernels.fill_panels(&self.points.points, &frame.frame, i, min(i + FASTKM_BLOCK_ROWS, self.points.n),
                                 &self.panels)


cdef list _column_sums(const double* values, int64_t n_rows, int64_t n_columns):
    cdef int64_t i, j
    cdef double total
    sums = []
    for j in range(n_columns):
        total = 0
        for i in range(n_rows):
            total += values[i * n_columns + j]
        sums.append(total)
    return sums


cdef class Seeder:
    """Squared distances of all points to their nearest seed, and what further seeds would change."""
    cdef Points points
    cdef Frame frame
    cdef Panels panels
    cdef Centroids candidates
    cdef _Crew crew
    cdef const double[::1] weights
    cdef double[::1] closest
    cdef double[::1] block_sums
    cdef uint32_t[::1] masks
    cdef double[:, ::1] gains
    cdef _Memory errors_memory
    cdef double* errors_of
    cdef int64_t n_blocks
    cdef int64_t n_accepted

    def __init__(self, Points points not None, Frame frame not None, Panels panels, const double[::1] weights,
                 int64_t n_candidates, double[::1] closest, double[::1] block_sums, uint32_t[::1] masks,
                 double[:, ::1] gains, int n_threads, str isa):
        self.n_blocks = (points.n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        if n_candidates < 1 or n_candidates > FASTKM_MAX_CANDIDATES:
            raise ValueError(f"n_candidates must be in 1 to {FASTKM_MAX_CANDIDATES}; got {n_candidates}.")
        if closest.shape[0] != points.n or masks.shape[0] != points.n or block_sums.shape[0] != self.n_blocks \
                or gains.shape[0] != self.n_blocks or gains.shape[1] != n_candidates \
                or (weights is not None and weights.shape[0] != points.n):
            raise ValueError("The seeder's arrays must fit the points.")
        if panels is not None and panels.points is not points:
            raise ValueError("The panels must be of the seeder's points.")
        self.points = points
        self.frame = frame
        self.panels = panels
        self.weights = weights
        self.closest = closest
        self.block_sums = block_sums
        self.masks = masks
        self.gains = gains
        self.errors_memory = _Memory()
        self.errors_memory.allocate(_size(self.n_blocks, n_candidates, sizeof(double)), zero=True)
        self.errors_of = <double*>self.errors_memory.start
        self.candidates = Centroids(n_candidates, points.d)
        self.crew = _Crew(points, n_candidates, n_threads, isa)

    def begin(self, const double[:, ::1] candidates):
        """Propose candidates where there is no seed yet: each is nearer to every row."""
        self.candidates.pack(candidates, self.frame, self.crew)
        self.masks[:] = <uint32_t>0xffffffff

    def propose(self, const double[:, ::1] candidates, bint exactly=True):
        """Find each candidate's gain: how much of the potential it would take away.

        candidates has shape (n_candidates, d) and must not change until accept. The gains of each block of rows are in
        gains (n_blocks, n_candidates), to be added in order. Not exactly: they are right to within `errors`, and
        found much sooner.
        """
        cdef int64_t b
        cdef int used = self.crew.threads_for(
            self.n_blocks, <double>self.points.n * self.points.d * self.candidates.k
        )
        self.candidates.pack(candidates, self.frame, self.crew)
        with nogil:
            if used == 1:
                for b in range(self.n_blocks):
                    self.propose_block(b, exactly, 0)
            else:
                for b in prange(self.n_blocks, num_threads=used, schedule="dynamic", chunksize=2):
                    self.propose_block(b, exactly, threadid())

    def errors(self):
        """Return what the sum of each candidate's last gains may be wrong by, as a list."""
        return _column_sums(self.errors_of, self.n_blocks, self.candidates.k)

    cdef void propose_block(self, int64_t b, bint exactly, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        cdef const double* weights = NULL
        cdef const fastkm_panels* panels = NULL
        if self.weights is not None:
            weights = &self.weights[0]
        if self.panels is not None:
            panels = &self.panels.panels
        self.crew.kernels.propose(
            &self.points.points, &self.frame.frame, &self.candidates.centroids, panels, i,
            min(i + FASTKM_BLOCK_ROWS, self.points.n), &self.closest[0], weights, exactly,
            &self.crew.scratches[t], &self.masks[0], &self.gains[b, 0], self.errors_of + b * self.candidates.k
        )

    def accept(self, int64_t candidate):
        """Take a proposed candidate as a seed; block_sums and closest change accordingly."""
        cdef int64_t b
        # The j-th seed is nearer to about one row in j.
        cdef double work = <double>self.points.n * (8 + 4 * self.points.d // (self.n_accepted + 1))
        cdef int used = self.crew.threads_for(self.n_blocks, work)
        cdef int64_t chunk = _chunk(self.n_blocks, used, work)
        if candidate < 0 or candidate >= self.candidates.k or self.candidates.centroids.raw == NULL:
            raise ValueError(f"candidate {candidate} was not proposed.")
        self.n_accepted += 1
        with nogil:
            if used == 1:
                for b in range(self.n_blocks):
                    self.accept_block(candidate, b, 0)
            else:
                for b in prange(self.n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    self.accept_block(candidate, b, threadid())

    cdef void accept_block(self, int64_t candidate, int64_t b, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS, end = min(i + FASTKM_BLOCK_ROWS, self.points.n)
        cdef double total = 0
        self.crew.kernels.accept(&self.points.points, &self.frame.frame, &self.candidates.centroids, i, end,
                                 candidate, &self.masks[0], &self.crew.scratches[t], &self.closest[0])
        if self.weights is None:
            for i in range(i, end):
                total += self.closest[i]
        else:
            for i in range(i, end):
                total += self.weights[i] * self.closest[i]
        self.block_sums[b] = total
