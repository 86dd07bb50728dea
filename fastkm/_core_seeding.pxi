# Greedy k-means++: what candidates would change.

cdef class Panels:
    """All points in the float32 kernel's coordinates and order."""
    cdef Points points
    cdef fastkm_panels panels
    cdef _Crew crew
    cdef _Memory memory
    cdef _Memory code_memory
    cdef bint is_always

    def __init__(self, Points points not None, Frame frame not None, int n_threads, str isa):
        cdef int64_t n_blocks = (points.n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int64_t n = n_blocks * FASTKM_BLOCK_ROWS
        self.crew = _Crew(points, 1, n_threads, isa)
        cdef int used = self.crew.threads_for(n_blocks, 32.0 * points.n * points.d)
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
                    self.fill_block(frame, b)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="static"):
                    self.fill_block(frame, b)

    cdef void fill_block(self, Frame frame, int64_t b) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        self.crew.kernels.fill_panels(&self.points.points, &frame.frame, i,
                                      min(i + FASTKM_BLOCK_ROWS, self.points.n), &self.panels)

    def least_share_in_bytes(self, int64_t k):
        """Return of brute force's cost the share that products of bytes do at least; infinite where there are none."""
        return _least_share_in_bytes(self.crew, k, True)

    def encode(self, bint always=False):
        """Keep the points' codes, too: runs that begin later label by them where that pays, or always.

        Nothing happens if they are kept already; not all instruction sets have them, nor so many features.
        """
        cdef int64_t n = self.points.n, d = self.points.d, b
        cdef int64_t n_blocks = (n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        cdef int64_t n_kept = n_blocks * FASTKM_BLOCK_ROWS, width = (d + 3) // 4 * 4
        cdef int used = self.crew.threads_for(n_blocks, 16.0 * n * d)
        if self.code_memory is not None or not _has_bytes(self.crew):
            return
        self.is_always = always
        memory = _Memory()
        memory.allocate(_size(n_kept, width + 4 * sizeof(float), 1))
        self.code_memory = memory
        self.panels.codes = <uint8_t*>self.code_memory.start
        self.panels.errors = <float*>(self.panels.codes + n_kept * width)
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.encode_block(b)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="static"):
                    self.encode_block(b)

    cdef void encode_block(self, int64_t b) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        self.crew.kernels.encode_panels(self.points.d, i, min(i + FASTKM_BLOCK_ROWS, self.points.n), &self.panels)


# Blocks of rows that a task takes.
cdef enum:
    BLOCKS_AT_ONCE = 4
# Rows' codes are padded to whole vectors of every instruction set.
cdef enum:
    CODE_LANES = 16
cdef uint32_t ALL_CANDIDATES = <uint32_t>0xffffffff


cdef class Sketches:
    """All points a byte a value, and their coordinates in a few directions with the norm of the rest, a byte each.

    sketch_steps (p + 1,) and step are what 1 in a code of a sketch and of a point stands for, in the frame. Any will
    do; how far the codes are from what they stand for is measured.
    """
    cdef Points points
    cdef Frame frame
    cdef _Crew crew
    cdef Basis basis
    cdef fastkm_codes codes
    cdef _Memory memory, code_memory, room_memory
    cdef int64_t bytes_of_room

    def __init__(self, Points points not None, Frame frame not None, const float[:, :] basis not None,
                 const float[::1] sketch_steps not None, float step, int n_threads, str isa not None):
        cdef int64_t d = points.d, p = basis.shape[1], f
        if basis.shape[0] != d or p < 1 or frame.shift.shape[0] != d or sketch_steps.shape[0] != p + 1:
            raise ValueError(f"frame and basis must be of the points, and basis have shape ({d}, p) with p >= 1.")
        self.points = points
        self.frame = frame
        self.crew = _Crew(points, 1, n_threads, isa)
        self.basis = Basis(basis)
        self.basis.basis.skew = _skew_of(basis, isa)
        cdef int64_t panel_rows = self.crew.kernels.panel_rows, stride = (d + CODE_LANES - 1) // CODE_LANES * CODE_LANES
        cdef int64_t n = (points.n + panel_rows - 1) // panel_rows * panel_rows
        self.memory = _Memory()
        self.memory.allocate(_size(n, 3, sizeof(float)) + _size(p + 1, 1, sizeof(float)))
        cdef float* values = <float*>self.memory.start
        self.codes.sq_norms = values
        self.codes.sketch_errors = values + n
        self.codes.errors = values + 2 * n
        self.codes.sketch_steps = values + 3 * n
        for f in range(p + 1):
            values[3 * n + f] = sketch_steps[f]
        self.code_memory = _Memory()
        self.code_memory.allocate(_size(n, p + 1 + stride, 1))
        self.codes.panels = <int8_t*>self.code_memory.start
        self.codes.rows = self.codes.panels + n * (p + 1)
        self.codes.p = p
        self.codes.stride = stride
        self.codes.step = step
        cdef size_t room = _size(panel_rows, p + 1, sizeof(float)) + _size(2, stride, sizeof(float))
        self.bytes_of_room = (room + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.room_memory = _Memory()
        self.room_memory.allocate(_size(self.crew.n_threads, self.bytes_of_room, 1))

    cdef float* room_of(self, int t) noexcept nogil:
        return <float*>(self.room_memory.start + t * self.bytes_of_room)

    def fill(self, int64_t start, int64_t stop):
        """Encode rows [start, stop)."""
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, <double>(stop - start) * self.points.d * self.basis.p)
        _check_rows(self.points.n, self.points.n, start, stop)
        with nogil:
            if used == 1:
                self.fill_rows(start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.fill_rows(start + b * FASTKM_BLOCK_ROWS, min(start + (b + 1) * FASTKM_BLOCK_ROWS, stop),
                                   threadid())

    cdef void fill_rows(self, int64_t start, int64_t stop, int t) noexcept nogil:
        self.crew.kernels.encode(&self.points.points, &self.frame.frame, &self.basis.basis, start, stop,
                                 &self.crew.scratches[t], self.room_of(t), &self.codes)


cdef float _larger(float one, float other) noexcept nogil:
    """The larger of two bounds, of which NaN says nothing."""
    if one < INFINITY and other < INFINITY:
        return max(one, other)
    return <float>INFINITY


cdef class _SketchedCandidates:
    """Codes of points, and some of the points as candidates, which rows and values hold."""
    cdef fastkm_sketched sketched
    cdef _Memory memory

    def __init__(self, Sketches sketches, const int64_t[::1] rows, const double[:, ::1] values, float max_norm):
        cdef int64_t k = rows.shape[0], width = sketches.basis.p + 1, panel_rows = sketches.crew.kernels.panel_rows
        cdef int64_t j, f, group, size, stride = sketches.codes.stride
        cdef float max_sq_norm = 0, max_error = 0, max_row_error = 0, sketch_step
        cdef double part = sketches.codes.step / FASTKM_STEP_PARTS, value, sq_off
        cdef double largest = FASTKM_LARGEST_CODE * FASTKM_STEP_PARTS
        cdef const fastkm_frame* frame = &sketches.frame.frame
        cdef const int8_t* codes
        self.memory = _Memory()
        self.memory.allocate(_size(k, (width + 2) * sizeof(float) + stride * sizeof(int16_t), 1), zero=True)
        cdef float* tiles = <float*>self.memory.start
        cdef float* sq_norms = tiles + k * width
        cdef float* row_errors = sq_norms + k
        cdef int16_t* parts = <int16_t*>(row_errors + k)
        for j in range(k):
            if rows[j] < 0 or rows[j] >= sketches.points.n:
                raise ValueError(f"rows must be in 0 to {sketches.points.n - 1}; got {rows[j]}.")
            group = j - j % FASTKM_TILE_CENTROIDS
            size = min(k - group, <int64_t>FASTKM_TILE_CENTROIDS)
            codes = sketches.codes.panels + rows[j] // panel_rows * width * panel_rows + rows[j] % panel_rows
            for f in range(width):
                sketch_step = sketches.codes.sketch_steps[f]
                tiles[group * width + f * size + j - group] = -2 * (sketch_step * codes[f * panel_rows]) * sketch_step
            sq_off = 0
            for f in range(sketches.points.d):
                value = (values[j, f] - frame.shift[f]) * frame.scale / part
                parts[j * stride + f] = <int16_t>rint(max(-largest, min(largest, value)))
                sq_off += (value - parts[j * stride + f]) * (value - parts[j * stride + f])
            row_errors[j] = <float>(sqrt(sq_off) * part * (1 + 1e-6) + max_norm * 2.0 ** -40)
            sq_norms[j] = sketches.codes.sq_norms[rows[j]]
            max_sq_norm = _larger(max_sq_norm, sq_norms[j])
            max_error = _larger(max_error, sketches.codes.sketch_errors[rows[j]])
            max_row_error = _larger(max_row_error, row_errors[j])
        self.sketched.codes = sketches.codes
        self.sketched.tiles = tiles
        self.sketched.sq_norms = sq_norms
        self.sketched.max_norm = <float>(sqrt(max_sq_norm) * (1 + 1e-6))
        self.sketched.max_error = max_error
        self.sketched.stretch = <float>(1 + 1.1 * sketches.basis.basis.skew + 1e-6)
        self.sketched.rows = parts
        self.sketched.row_errors = row_errors
        self.sketched.max_row_error = max_row_error


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
    cdef double[:, ::1] gains_of_blocks
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
        self.gains_of_blocks = gains
        self.errors_memory = _Memory()
        self.errors_memory.allocate(_size(self.n_blocks, n_candidates, sizeof(double)), zero=True)
        self.errors_of = <double*>self.errors_memory.start
        self.candidates = Centroids(n_candidates, points.d)
        self.crew = _Crew(points, n_candidates, n_threads, isa)

    def begin(self, const double[:, ::1] candidates):
        """Propose candidates where there is no seed yet: each is nearer to every row."""
        self.candidates.pack(candidates, self.frame, self.crew)
        self.masks[:] = <uint32_t>0xffffffff

    def propose(self, const double[:, ::1] candidates):
        """Find each candidate's gain: how much of the potential it would take away.

        candidates has shape (n_candidates, d) and must not change until accept. The gains of each block of rows are in
        gains (n_blocks, n_candidates), to be added in order; they are right to within `errors`.
        """
        cdef int64_t b
        cdef double work = <double>self.points.n * self.points.d * self.candidates.k
        cdef int used = self.crew.threads_for(self.n_blocks, work)
        cdef _Turns turns = _Turns(self.n_blocks, work)
        self.candidates.pack(candidates, self.frame, self.crew)
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.propose_block(b, 0)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=2):
                        self.propose_block(b, threadid())

    cdef void propose_block(self, int64_t b, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        cdef const fastkm_panels* panels = NULL
        if self.panels is not None:
            panels = &self.panels.panels
        self.crew.kernels.propose(
            &self.points.points, &self.frame.frame, &self.candidates.centroids, panels, i,
            min(i + FASTKM_BLOCK_ROWS, self.points.n), &self.closest[0], self.weights_or_null(),
            &self.crew.scratches[t], &self.masks[0], &self.gains_of_blocks[b, 0],
            self.errors_of + b * self.candidates.k
        )

    cdef const double* weights_or_null(self) noexcept nogil:
        if self.weights is None:
            return NULL
        return &self.weights[0]

    def propose_sketched(self, Sketches sketches not None, const int64_t[::1] rows, const double[:, ::1] candidates):
        """Propose rows of the points, which candidates holds, from codes alone: the errors are larger.

        Returns of how many pairs of a point and a candidate the sketches say too little.
        """
        cdef int64_t task, n_measured = 0, n_tasks = (self.n_blocks + BLOCKS_AT_ONCE - 1) // BLOCKS_AT_ONCE
        if sketches.points is not self.points or sketches.crew.kernels != self.crew.kernels \
                or sketches.crew.n_threads < self.crew.n_threads or rows.shape[0] != self.candidates.k:
            raise ValueError("sketches and rows must fit the seeder.")
        self.candidates.pack(candidates, self.frame, self.crew)
        cdef _SketchedCandidates sketched = _SketchedCandidates(
            sketches, rows, candidates, self.candidates.centroids.max_norm
        )
        cdef double work = <double>self.points.n * (sketches.basis.p + 1) * self.candidates.k
        cdef int used = self.crew.threads_for(n_tasks, work)
        cdef _Turns turns = _Turns(n_tasks, work)
        memset(&self.gains_of_blocks[0, 0], 0, self.n_blocks * self.candidates.k * sizeof(double))
        memset(self.errors_of, 0, self.n_blocks * self.candidates.k * sizeof(double))
        while turns.next():
            with nogil:
                if used == 1:
                    for task in range(turns.start, turns.stop):
                        n_measured += self.propose_sketched_task(sketches, &sketched.sketched, task, 0)
                else:
                    for task in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=1):
                        n_measured += self.propose_sketched_task(sketches, &sketched.sketched, task, threadid())
        return n_measured

    cdef int64_t propose_sketched_task(self, Sketches sketches, const fastkm_sketched* sketched, int64_t task,
                                       int t) noexcept nogil:
        cdef int64_t b = task * BLOCKS_AT_ONCE, i = b * FASTKM_BLOCK_ROWS
        return self.crew.kernels.propose_sketched(
            &self.points.points, &self.frame.frame, &self.candidates.centroids, sketched, i,
            min(i + BLOCKS_AT_ONCE * FASTKM_BLOCK_ROWS, self.points.n), &self.closest[0], self.weights_or_null(),
            sketches.room_of(t), &self.masks[0], &self.gains_of_blocks[b, 0], self.errors_of + b * self.candidates.k
        )

    def settle(self, uint32_t wanted=ALL_CANDIDATES):
        """Make the last proposal's gains exact, of candidates with a bit in wanted: the sums of float64 distances."""
        cdef double work = <double>self.points.n * self.points.d
        cdef int used = self.crew.threads_for(self.n_blocks, work)
        cdef _Turns turns = _Turns(self.n_blocks, work)
        while turns.next():
            with nogil:
                self.settle_blocks(wanted, turns.start, turns.stop, used)

    cdef void settle_all(self, uint32_t wanted) noexcept nogil:
        cdef int used = self.crew.threads_for(self.n_blocks, <double>self.points.n * self.points.d)
        self.settle_blocks(wanted, 0, self.n_blocks, used)

    cdef void settle_blocks(self, uint32_t wanted, int64_t start, int64_t stop, int used) noexcept nogil:
        cdef int64_t b, j
        if used == 1:
            for b in range(start, stop):
                self.settle_block(b, wanted, 0)
        else:
            for b in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=2):
                self.settle_block(b, wanted, threadid())
        for b in range(start, stop):
            for j in range(self.candidates.k):
                if wanted >> j & 1:
                    self.errors_of[b * self.candidates.k + j] = 0

    cdef void settle_block(self, int64_t b, uint32_t wanted, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        self.crew.kernels.settle(
            &self.points.points, &self.frame.frame, &self.candidates.centroids, i,
            min(i + FASTKM_BLOCK_ROWS, self.points.n), wanted, &self.closest[0], self.weights_or_null(),
            &self.crew.scratches[t], &self.masks[0], &self.gains_of_blocks[b, 0]
        )

    def gains(self):
        """Return the sum of each candidate's last gains, as a list."""
        return _column_sums(&self.gains_of_blocks[0, 0], self.n_blocks, self.candidates.k)

    def errors(self):
        """Return what each of them may be wrong by, as a list."""
        return _column_sums(self.errors_of, self.n_blocks, self.candidates.k)

    def accept(self, int64_t candidate):
        """Take a proposed candidate as a seed; block_sums and closest change accordingly."""
        cdef int64_t b
        # The j-th seed is nearer to about one row in j.
        cdef double work = <double>self.points.n * (8 + 4 * self.points.d // (self.n_accepted + 1))
        cdef int used = self.crew.threads_for(self.n_blocks, work)
        cdef int64_t chunk = _chunk(self.n_blocks, used, work)
        cdef _Turns turns = _Turns(self.n_blocks, work)
        self.check_candidate(candidate)
        self.n_accepted += 1
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.accept_block(candidate, b, 0)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=chunk):
                        self.accept_block(candidate, b, threadid())

    cdef int check_candidate(self, int64_t candidate) except -1:
        if candidate < 0 or candidate >= self.candidates.k or self.candidates.centroids.raw == NULL:
            raise ValueError(f"candidate {candidate} was not proposed.")
        return 0

    cdef void accept_block(self, int64_t candidate, int64_t b, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        cdef int64_t n_nearer = self.crew.kernels.accept(
            &self.points.points, &self.frame.frame, &self.candidates.centroids, i,
            min(i + FASTKM_BLOCK_ROWS, self.points.n), candidate, &self.masks[0], &self.crew.scratches[t],
            &self.closest[0]
        )
        if n_nearer or self.n_accepted == 1:
            self.sum_block(b)

    cdef void sum_block(self, int64_t b) noexcept nogil:
        self.block_sums[b] = _block_sum(&self.closest[0], self.weights_or_null(), b, self.points.n)


cdef double _block_sum(const double* closest, const double* weights, int64_t b, int64_t n) noexcept nogil:
    """The weighted sum of a block of rows, in order."""
    cdef int64_t i = b * FASTKM_BLOCK_ROWS, end = min(i + FASTKM_BLOCK_ROWS, n)
    cdef double total = 0
    if weights == NULL:
        for i in range(i, end):
            total += closest[i]
    else:
        for i in range(i, end):
            total += weights[i] * closest[i]
    return total
