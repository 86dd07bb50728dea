# Greedy k-means++ over cells of neighbours, a seed at a time or several a call.
# Few, as a candidate's rows are in few cells, and at most FASTKM_CELLS_BESIDE.
cdef enum:
    CELLS_ACCEPTED_AT_ONCE = 4
# Rows lie anywhere: reading one takes as long as so many multiplications.
cdef enum:
    WORK_OF_FAR_ROW = 200


cdef class CellSeeder:
    """A seeder that looks into the cells that a candidate is near enough to.

    It begins where the seeder stands, has the same methods, and keeps the seeder's closest and block_sums up to date.
    """
    cdef readonly Seeder seeder
    cdef Cells cells
    cdef fastkm_cell_state state
    cdef _Memory memory, touched_memory, gains_memory, pick_memory
    cdef double* gains_of
    cdef double* errors_of
    cdef double* cumulative  # (n_blocks,) potential up to a block's end
    cdef double* values  # (k, d) candidates that pick draws
    cdef double* sums  # (2, k) their gains and errors
    cdef int64_t* drawn  # (k,) their rows
    cdef int32_t* summed  # (n_blocks,) blocks whose sums have changed
    cdef bint is_settled

    def __init__(self, Cells cells not None, Seeder seeder not None):
        cdef int64_t n_cells = cells.n_cells, n_rows = n_cells * FASTKM_CELL_ROWS, k = seeder.candidates.k, cell, i
        if seeder.points is not cells.points or seeder.crew.kernels != cells.crew.kernels:
            raise ValueError("cells and seeder must be of the same points.")
        self.seeder = seeder
        self.cells = cells
        self.memory = _Memory()
        self.memory.allocate(_size(n_rows, sizeof(double) + sizeof(float), 1)
                             + _size(n_cells, k * sizeof(uint64_t) + sizeof(float) + sizeof(uint32_t), 1))
        self.state.closest = <double*>self.memory.start
        self.state.masks = <uint64_t*>(self.state.closest + n_rows)
        self.state.limits = <float*>(self.state.masks + n_cells * k)
        self.state.reaches = self.state.limits + n_rows
        self.state.live = <uint32_t*>(self.state.reaches + n_cells)
        for cell in range(n_cells):
            self.state.live[cell] = 0
        for i in range(cells.points.n, n_rows):
            self.state.limits[i] = -INFINITY
        self.touched_memory = _Memory()
        self.touched_memory.allocate(_size(seeder.crew.n_threads, self.bytes_of_touched(), 1), zero=True)
        self.gains_memory = _Memory()
        self.gains_memory.allocate(_size(2 * cells.n_groups, k, sizeof(double)))
        self.gains_of = <double*>self.gains_memory.start
        self.errors_of = self.gains_of + cells.n_groups * k
        self.place_pick()
        cdef int used = seeder.crew.threads_for(n_cells, <double>WORK_OF_FAR_ROW * n_rows)
        with nogil:
            if used == 1:
                for cell in range(n_cells):
                    self.begin_cell(cell)
            else:
                for cell in prange(n_cells, num_threads=used, schedule="static"):
                    self.begin_cell(cell)

    cdef int place_pick(self) except -1:
        cdef int64_t k = self.seeder.candidates.k, n_blocks = self.seeder.n_blocks
        self.pick_memory = _Memory()
        self.pick_memory.allocate(_size(k, self.cells.points.d + 3, sizeof(double)) + _size(n_blocks, 12, 1))
        self.values = <double*>self.pick_memory.start
        self.sums = self.values + k * self.cells.points.d
        self.drawn = <int64_t*>(self.sums + 2 * k)
        self.cumulative = <double*>(self.drawn + k)
        self.summed = <int32_t*>(self.cumulative + n_blocks)
        return 0

    cdef void begin_cell(self, int64_t cell) noexcept nogil:
        self.seeder.crew.kernels.begin_cell(&self.seeder.frame.frame, &self.cells.cells, cell, &self.seeder.closest[0],
                                            &self.state)

    @property
    def n_live(self):
        """Cells that the last proposal looked into."""
        return self.count_live(ALL_CANDIDATES)

    cdef int64_t count_live(self, uint32_t candidates) noexcept nogil:
        """Cells that the last proposal looked into for any of the candidates."""
        cdef int64_t cell, n_live = 0
        for cell in range(self.cells.n_cells):
            n_live += (self.state.live[cell] & candidates) != 0
        return n_live

    cdef int64_t bytes_of_touched(self) noexcept nogil:
        return (self.seeder.n_blocks + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN

    def propose(self, const double[:, ::1] candidates):
        """Find each candidate's gain, as Seeder.propose does."""
        self.seeder.candidates.pack(candidates, self.seeder.frame, self.seeder.crew)
        with nogil:
            self.propose_all()

    cdef void propose_all(self) noexcept nogil:
        cdef int64_t n_groups = self.cells.n_groups, g
        # A box costs as much as four rows; about as many cells as last time are looked into.
        cdef double work = 4.0 * self.cells.n_cells * self.cells.points.d
        work += <double>self.count_live(ALL_CANDIDATES) * FASTKM_CELL_ROWS * (self.cells.points.d + 8)
        cdef int used = self.seeder.crew.threads_for(n_groups, work * self.seeder.candidates.k)
        self.is_settled = False
        if used == 1:
            for g in range(n_groups):
                self.propose_group(g)
        else:
            for g in prange(n_groups, num_threads=used, schedule="dynamic", chunksize=1):
                self.propose_group(g)

    cdef void propose_group(self, int64_t g) noexcept nogil:
        cdef int64_t k = self.seeder.candidates.k
        self.seeder.crew.kernels.propose_group(
            &self.seeder.frame.frame, &self.seeder.candidates.centroids, &self.cells.cells, g,
            self.seeder.weights_or_null(), &self.state, self.gains_of + g * k, self.errors_of + g * k
        )

    def settle(self):
        """Make the gains exact, as Seeder.settle does."""
        with nogil:
            self.settle_all()

    cdef void settle_all(self) noexcept nogil:
        cdef int64_t cell, i, j, begin, k = self.seeder.candidates.k
        cdef uint32_t live, mask
        memset(&self.seeder.masks[0], 0, self.cells.points.n * sizeof(uint32_t))
        for cell in range(self.cells.n_cells):
            live = self.state.live[cell]
            if live == 0:
                continue
            begin = cell * FASTKM_CELL_ROWS
            for i in range(begin, min(begin + FASTKM_CELL_ROWS, self.cells.points.n)):
                mask = 0
                for j in range(k):
                    mask |= <uint32_t>(self.state.masks[cell * k + j] >> (i - begin) & 1) << j
                self.seeder.masks[self.cells.order[i]] = mask & live
        self.seeder.settle_all(ALL_CANDIDATES)
        self.is_settled = True

    def gains(self):
        """Return the sum of each candidate's gains, as a list."""
        if self.is_settled:
            return self.seeder.gains()
        return _column_sums(self.gains_of, self.cells.n_groups, self.seeder.candidates.k)

    def errors(self):
        """Return what each of them may be wrong by, as a list."""
        if self.is_settled:
            return self.seeder.errors()
        return _column_sums(self.errors_of, self.cells.n_groups, self.seeder.candidates.k)

    def accept(self, int64_t candidate):
        """Take a proposed candidate as a seed; block_sums and closest change accordingly."""
        self.seeder.check_candidate(candidate)
        with nogil:
            self.accept_all(candidate)

    cdef void accept_all(self, int64_t candidate) noexcept nogil:
        cdef int64_t n_tasks = (self.cells.n_cells + CELLS_ACCEPTED_AT_ONCE - 1) // CELLS_ACCEPTED_AT_ONCE
        cdef int64_t task
        cdef double n_rows = FASTKM_CELL_ROWS * self.count_live(<uint32_t>1 << candidate)
        cdef int used = self.seeder.crew.threads_for(n_tasks, n_rows * (self.cells.points.d + WORK_OF_FAR_ROW))
        self.seeder.n_accepted += 1
        if used == 1:
            for task in range(n_tasks):
                self.accept_some(candidate, task, 0)
        else:
            for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                self.accept_some(candidate, task, threadid())
        self.sum_touched(used)

    cdef void accept_some(self, int64_t candidate, int64_t task, int t) noexcept nogil:
        cdef fastkm_cell_state mine = self.state
        cdef int64_t first = task * CELLS_ACCEPTED_AT_ONCE
        mine.touched = <uint8_t*>self.touched_memory.start + t * self.bytes_of_touched()
        self.seeder.crew.kernels.accept_cells(
            &self.cells.points.points, &self.seeder.frame.frame, &self.seeder.candidates.centroids, &self.cells.cells,
            first, min(first + CELLS_ACCEPTED_AT_ONCE, self.cells.n_cells), candidate,
            &self.seeder.crew.scratches[t], &mine, &self.seeder.closest[0]
        )

    cdef void sum_touched(self, int n_threads) noexcept nogil:
        """Sum the blocks that any of so many threads touched."""
        cdef int64_t b, t, n_summed = 0, n_tasks, size = self.bytes_of_touched()
        cdef uint8_t* touched = <uint8_t*>self.touched_memory.start
        cdef uint8_t is_touched
        cdef int used
        for b in range(self.seeder.n_blocks):
            is_touched = 0
            for t in range(n_threads):
                is_touched |= touched[t * size + b]
                touched[t * size + b] = 0
            self.summed[n_summed] = <int32_t>b
            n_summed += is_touched
        n_tasks = (n_summed + FASTKM_BLOCKS_BESIDE - 1) // FASTKM_BLOCKS_BESIDE
        used = self.seeder.crew.threads_for(n_tasks, 24.0 * n_summed * FASTKM_BLOCK_ROWS)
        if used == 1:
            for t in range(n_tasks):
                self.sum_some(t, n_summed)
        else:
            for t in prange(n_tasks, num_threads=used, schedule="static"):
                self.sum_some(t, n_summed)

    cdef void sum_some(self, int64_t task, int64_t n_summed) noexcept nogil:
        cdef int64_t first = task * FASTKM_BLOCKS_BESIDE, s
        cdef const double* closest[FASTKM_BLOCKS_BESIDE]
        cdef double[FASTKM_BLOCKS_BESIDE] total
        if self.seeder.weights is not None or first + FASTKM_BLOCKS_BESIDE > n_summed \
                or self.summed[first + FASTKM_BLOCKS_BESIDE - 1] == self.seeder.n_blocks - 1:
            for s in range(first, min(first + FASTKM_BLOCKS_BESIDE, n_summed)):
                self.seeder.sum_block(self.summed[s])
            return
        for s in range(FASTKM_BLOCKS_BESIDE):
            closest[s] = &self.seeder.closest[self.summed[first + s] * <int64_t>FASTKM_BLOCK_ROWS]
        self.seeder.crew.kernels.sum_blocks(closest, total)
        for s in range(FASTKM_BLOCKS_BESIDE):
            self.seeder.block_sums[self.summed[first + s]] = total[s]

    def pick(self, const double[:, ::1] uniforms, int64_t[::1] rows, int64_t begin, int64_t end, int64_t instead):
        """Pick seeds [begin, end) as Potential would, given its draws; where no potential is left, `instead`.

        uniforms has shape (n_seeds - 1, k), and rows (n_seeds,) holds the seeds before.
        """
        cdef int64_t j
        if uniforms.shape[1] != self.seeder.candidates.k or begin < 1 or end > rows.shape[0] \
                or end > uniforms.shape[0] + 1:
            raise ValueError("uniforms and rows must fit the seeder and the seeds.")
        if instead < 0 or instead >= self.cells.points.n:
            raise ValueError(f"instead must be a row; got {instead}.")
        with nogil:
            for j in range(begin, end):
                rows[j] = self.pick_one(&uniforms[j - 1, 0], instead)

    cdef int64_t pick_one(self, const double* uniforms, int64_t instead) noexcept nogil:
        cdef int64_t k = self.seeder.candidates.k, j, best
        cdef double total = self.add_up()
        for j in range(k):
            self.drawn[j] = instead if total == 0 else self.draw(uniforms[j] * total)
        self.seeder.crew.kernels.load(&self.cells.points.points, self.drawn, k, self.values)
        _pack_alone(self.seeder.crew.kernels, &self.seeder.frame.frame, &self.seeder.candidates.centroids, self.values)
        self.propose_all()
        _add_columns(self.gains_of, self.cells.n_groups, k, self.sums)
        _add_columns(self.errors_of, self.cells.n_groups, k, self.sums + k)
        best = self.surely_best(total)
        if best < 0:
            self.settle_all()
            _add_columns(&self.seeder.gains_of_blocks[0, 0], self.seeder.n_blocks, k, self.sums)
            best = 0
            for j in range(1, k):
                if total - self.sums[j] < total - self.sums[best]:
                    best = j
        self.accept_all(best)
        return self.drawn[best]

    cdef double add_up(self) noexcept nogil:
        """Add up the blocks' sums and return the potential."""
        cdef double total = 0
        cdef int64_t b
        for b in range(self.seeder.n_blocks):
            total += self.seeder.block_sums[b]
            self.cumulative[b] = total
        return total

    cdef int64_t draw(self, double threshold) noexcept nogil:
        """The first row at which the cumulative potential reaches the threshold."""
        cdef int64_t low = 0, high = self.seeder.n_blocks - 1, middle, i, last
        cdef double before = 0, running = 0
        while low < high:
            middle = (low + high) // 2
            if self.cumulative[middle] < threshold:
                low = middle + 1
            else:
                high = middle
        if low > 0:
            before = self.cumulative[low - 1]
        i = low * FASTKM_BLOCK_ROWS
        last = min(i + FASTKM_BLOCK_ROWS, self.cells.points.n) - 1
        while i < last:
            if self.seeder.weights is None:
                running += self.seeder.closest[i]
            else:
                running += self.seeder.weights[i] * self.seeder.closest[i]
            if not before + running < threshold:
                break
            i += 1
        return i

    cdef int64_t surely_best(self, double total) noexcept nogil:
        """The first of the candidates that surely gain most, all of the same row; -1 if they may differ."""
        cdef int64_t k = self.seeder.candidates.k, d = self.cells.points.d, j, best = 0, first
        cdef double slack = 1e-10 * total, least
        for j in range(1, k):
            if self.sums[j] > self.sums[best]:
                best = j
        least = self.sums[best] - (self.sums[k + best] + slack)
        first = best
        for j in range(k):
            if not self.sums[j] + (self.sums[k + j] + slack) < least and j != best:
                if not _is_same(self.values + j * d, self.values + best * d, d):
                    return -1
                first = min(first, j)
        return first


cdef bint _is_same(const double* one, const double* other, int64_t d) noexcept nogil:
    cdef int64_t f
    for f in range(d):
        if one[f] != other[f]:
            return False
    return True


cdef void _add_columns(const double* values, int64_t n_rows, int64_t n_columns, double* sums) noexcept nogil:
    cdef int64_t i, j
    for j in range(n_columns):
        sums[j] = 0
    for i in range(n_rows):
        for j in range(n_columns):
            sums[j] += values[i * n_columns + j]
