# Greedy k-means++ on one thread, several seeds a call and the seeds of several runs side by side.

cdef struct _SoloSeeding:
    const fastkm_kernels* kernels
    const fastkm_points* points
    const fastkm_frame* frame
    const fastkm_panels* panels
    fastkm_scratch* scratch
    fastkm_centroids packed
    const double* uniforms  # (n_seeds - 1, n_candidates)
    int64_t* rows  # (n_seeds,) the first is given
    int64_t* candidates
    double* values  # (n_candidates, d) of the candidates
    double* closest
    uint32_t* masks
    double* gains
    double* errors
    double* block_gains
    double* block_errors
    double* cumulative  # (n_blocks,) potential up to a block's end
    int64_t n_seeds, n_picked, n_blocks


cdef void _seeding_accept(_SoloSeeding* seeding, int64_t candidate) noexcept nogil:
    cdef int64_t n = seeding.points.n, b, i, end
    cdef double total = 0, in_block
    for b in range(seeding.n_blocks):
        i = b * FASTKM_BLOCK_ROWS
        end = min(<int64_t>(i + FASTKM_BLOCK_ROWS), n)
        seeding.kernels.accept(seeding.points, seeding.frame, &seeding.packed, i, end, candidate, seeding.masks,
                               seeding.scratch, seeding.closest)
        in_block = 0
        for i in range(i, end):
            in_block += seeding.closest[i]
        total += in_block
        seeding.cumulative[b] = total
    seeding.rows[seeding.n_picked] = seeding.candidates[candidate]
    seeding.n_picked += 1


cdef void _seeding_begin(_SoloSeeding* seeding) noexcept nogil:
    cdef int64_t i
    seeding.candidates[0] = seeding.rows[0]
    seeding.kernels.load(seeding.points, seeding.candidates, 1, seeding.values)
    for i in range(seeding.points.n):
        seeding.closest[i] = INFINITY
        seeding.masks[i] = 1
    _seeding_accept(seeding, 0)


cdef int64_t _seeding_draw(const _SoloSeeding* seeding, double threshold) noexcept nogil:
    """The first row at which the cumulative potential reaches the threshold."""
    cdef int64_t b = 0, i, end
    cdef double before = 0, running = 0
    while b < seeding.n_blocks - 1 and seeding.cumulative[b] < threshold:
        b += 1
    if b > 0:
        before = seeding.cumulative[b - 1]
    i = b * FASTKM_BLOCK_ROWS
    end = min(<int64_t>(i + FASTKM_BLOCK_ROWS), seeding.points.n) - 1
    while i < end:
        running += seeding.closest[i]
        if not before + running < threshold:
            break
        i += 1
    return i


cdef void _seeding_propose(_SoloSeeding* seeding) noexcept nogil:
    """Gains to within errors."""
    cdef int64_t b, j, i
    for j in range(seeding.packed.k):
        seeding.gains[j] = seeding.errors[j] = 0
    for b in range(seeding.n_blocks):
        i = b * FASTKM_BLOCK_ROWS
        seeding.kernels.propose(
            seeding.points, seeding.frame, &seeding.packed, seeding.panels, i,
            min(<int64_t>(i + FASTKM_BLOCK_ROWS), seeding.points.n), seeding.closest, NULL,
            seeding.scratch, seeding.masks, seeding.block_gains, seeding.block_errors
        )
        for j in range(seeding.packed.k):
            seeding.gains[j] += seeding.block_gains[j]
            seeding.errors[j] += seeding.block_errors[j]


cdef void _seeding_settle(_SoloSeeding* seeding) noexcept nogil:
    """The last proposal's gains, exact."""
    cdef int64_t b, j, i
    for j in range(seeding.packed.k):
        seeding.gains[j] = 0
    for b in range(seeding.n_blocks):
        i = b * FASTKM_BLOCK_ROWS
        seeding.kernels.settle(
            seeding.points, seeding.frame, &seeding.packed, i,
            min(<int64_t>(i + FASTKM_BLOCK_ROWS), seeding.points.n), ALL_CANDIDATES, seeding.closest, NULL,
            seeding.scratch, seeding.masks, seeding.block_gains
        )
        for j in range(seeding.packed.k):
            seeding.gains[j] += seeding.block_gains[j]


cdef int64_t _seeding_best(const _SoloSeeding* seeding, double total) noexcept nogil:
    """The first candidate that leaves the least potential."""
    cdef int64_t j, best = 0
    for j in range(1, seeding.packed.k):
        if total - seeding.gains[j] < total - seeding.gains[best]:
            best = j
    return best


cdef bint _seeding_is_sure(const _SoloSeeding* seeding, int64_t best, double total) noexcept nogil:
    """Whether errors, and the rounding of sums beside them, leave no doubt who is best."""
    cdef int64_t j
    cdef double slack = 1e-10 * total
    cdef double least = seeding.gains[best] - (seeding.errors[best] + slack)
    for j in range(seeding.packed.k):
        if not seeding.gains[j] + (seeding.errors[j] + slack) < least \
                and seeding.candidates[j] != seeding.candidates[best]:
            return False
    return True


cdef void _seeding_pick(_SoloSeeding* seeding) noexcept nogil:
    cdef const double* uniforms = seeding.uniforms + (seeding.n_picked - 1) * seeding.packed.k
    cdef double total = seeding.cumulative[seeding.n_blocks - 1]
    cdef int64_t j, best
    for j in range(seeding.packed.k):
        # At a potential of 0 every row is a seed already, and any will do.
        seeding.candidates[j] = 0 if total == 0 else _seeding_draw(seeding, uniforms[j] * total)
    seeding.kernels.load(seeding.points, seeding.candidates, seeding.packed.k, seeding.values)
    _pack_alone(seeding.kernels, seeding.frame, &seeding.packed, seeding.values)
    _seeding_propose(seeding)
    best = _seeding_best(seeding, total)
    if not _seeding_is_sure(seeding, best, total):
        _seeding_settle(seeding)
        best = _seeding_best(seeding, total)
    _seeding_accept(seeding, best)


cdef void _seeding_advance(_SoloSeeding* seeding, int64_t n_seeds) noexcept nogil:
    if seeding.n_picked == 0:
        _seeding_begin(seeding)
    while seeding.n_picked < n_seeds:
        _seeding_pick(seeding)


cdef class SoloSeeding:
    """Seeds of one run on points of equal weight, kept as panels; the draws are given."""
    cdef _SoloSeeding seeding
    cdef tuple held

    def __cinit__(self, Points points not None, Frame frame not None, Panels panels not None,
                  const double[:, ::1] uniforms, int64_t[::1] rows, str isa not None):
        cdef int64_t n = points.n, d = points.d, n_candidates = uniforms.shape[1]
        if panels.points is not points or frame.shift.shape[0] != d:
            raise ValueError("The panels and the frame must be of the points.")
        if n_candidates < 1 or n_candidates > FASTKM_MAX_CANDIDATES:
            raise ValueError(f"n_candidates must be in 1 to {FASTKM_MAX_CANDIDATES}; got {n_candidates}.")
        if rows.shape[0] != uniforms.shape[0] + 1 or rows[0] < 0 or rows[0] >= n:
            raise ValueError(f"rows must have length {uniforms.shape[0] + 1} and begin with a row.")
        cdef Centroids centroids = Centroids(n_candidates, d)
        cdef _Crew crew = _Crew(points, n_candidates, 1, isa)
        cdef _Memory values = _Memory(), masks = _Memory()
        self.seeding.n_seeds = rows.shape[0]
        self.seeding.n_blocks = (n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        values.allocate(_size(n_candidates * (d + 5) + n + self.seeding.n_blocks, 1, sizeof(double)))
        masks.allocate(_size(n, 1, sizeof(uint32_t)))
        self.held = (points, frame, panels, centroids, crew, values, masks, uniforms, rows)
        self.seeding.kernels = crew.kernels
        self.seeding.points = &points.points
        self.seeding.frame = &frame.frame
        self.seeding.panels = &panels.panels
        self.seeding.scratch = crew.scratches
        self.seeding.packed = centroids.centroids
        if uniforms.shape[0] > 0:
            self.seeding.uniforms = &uniforms[0, 0]
        self.seeding.rows = &rows[0]
        self.seeding.masks = <uint32_t*>masks.start
        self.seeding.values = <double*>values.start
        self.seeding.packed.raw = self.seeding.values
        self.seeding.gains = self.seeding.values + n_candidates * d
        self.seeding.errors = self.seeding.gains + n_candidates
        self.seeding.block_gains = self.seeding.errors + n_candidates
        self.seeding.block_errors = self.seeding.block_gains + n_candidates
        self.seeding.candidates = <int64_t*>(self.seeding.block_errors + n_candidates)
        self.seeding.closest = self.seeding.block_errors + 2 * n_candidates
        self.seeding.cumulative = self.seeding.closest + n


cdef class SoloSeedings:
    """Seedings side by side, each on a thread of its own."""
    cdef tuple seedings
    cdef _Memory table
    cdef _SoloSeeding** structs
    cdef int n_threads

    def __cinit__(self, seedings, int n_threads):
        cdef SoloSeeding seeding
        cdef int64_t index
        self.seedings = tuple(seedings)
        self.n_threads = _threads_of_solos(n_threads, len(self.seedings))
        self.table = _Memory()
        self.table.allocate(_size(len(self.seedings), 1, sizeof(_SoloSeeding*)))
        self.structs = <_SoloSeeding**>self.table.start
        for index, seeding in enumerate(self.seedings):
            self.structs[index] = &seeding.seeding

    def advance(self, int64_t n_seeds):
        """Pick each run's seeds up to that number."""
        cdef int64_t n_runs = len(self.seedings), index
        cdef int used = threads_to_take(self.n_threads)
        with nogil:
            if used == 1:
                for index in range(n_runs):
                    _seeding_advance(self.structs[index], min(n_seeds, self.structs[index].n_seeds))
            else:
                for index in prange(n_runs, num_threads=used, schedule="dynamic", chunksize=1):
                    _seeding_advance(self.structs[index], min(n_seeds, self.structs[index].n_seeds))
