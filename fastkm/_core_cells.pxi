# Greedy k-means++ in few dimensions: rows sorted into cells of neighbours, most of which no candidate can change.

def sort_rows(Points points not None, const int32_t[::1] features, const double[::1] thresholds, uint16_t[::1] leaves,
              int64_t start, int64_t stop, int n_threads, str isa):
    """Write the leaf of each of rows [start, stop) of a tree of median splits.

    Node v, from 1 on, sends rows whose feature is below its threshold to node 2 v and others to 2 v + 1.
    """
    cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b, node
    cdef fastkm_splits splits
    cdef _Crew crew = _Crew(points, 1, n_threads, isa)
    _check_rows(points.n, leaves.shape[0], start, stop)
    splits.depth = 0
    while features.shape[0] > 1 << splits.depth:
        splits.depth += 1
    if splits.depth > 16 or features.shape[0] != 1 << splits.depth or thresholds.shape[0] != features.shape[0]:
        raise ValueError("features and thresholds must have a length of 2^depth, depth at most 16.")
    for node in range(1, features.shape[0]):
        if features[node] < 0 or features[node] >= points.d:
            raise ValueError(f"features must be in 0 to {points.d - 1}; got {features[node]}.")
    splits.features = &features[0]
    splits.thresholds = &thresholds[0]
    cdef int used = crew.threads_for(n_blocks, <double>(stop - start) * (points.d + 8 * splits.depth))
    with nogil:
        if used == 1:
            crew.kernels.sort(&points.points, &splits, start, stop, &crew.scratches[0], &leaves[0])
        else:
            for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=8):
                crew.kernels.sort(&points.points, &splits, start + b * FASTKM_BLOCK_ROWS,
                                  min(start + (b + 1) * FASTKM_BLOCK_ROWS, stop), &crew.scratches[threadid()],
                                  &leaves[0])


cdef class Cells:
    """All points in the float32 kernel's coordinates, neighbours together, and boxes around them."""
    cdef Points points
    cdef Frame frame
    cdef _Crew crew
    cdef fastkm_kept_cells cells
    cdef const int32_t[::1] order
    cdef _Memory memory, row_memory
    cdef int64_t n_cells, n_groups, bytes_of_rows

    def __init__(self, Points points not None, Frame frame not None, const int32_t[::1] order, int n_threads, str isa):
        cdef int64_t n = points.n, d = points.d, n_rows, i
        if order.shape[0] != n or frame.shift.shape[0] != d:
            raise ValueError("order and frame must be of the points.")
        for i in range(n):
            if order[i] < 0 or order[i] >= n:
                raise ValueError(f"order must hold rows of {n} points; got {order[i]}.")
        self.points = points
        self.frame = frame
        self.order = order
        self.crew = _Crew(points, 1, n_threads, isa)
        self.n_cells = (n + FASTKM_CELL_ROWS - 1) // FASTKM_CELL_ROWS
        self.n_groups = (self.n_cells + FASTKM_CELLS_BESIDE - 1) // FASTKM_CELLS_BESIDE
        n_rows = self.n_groups * FASTKM_CELLS_BESIDE * FASTKM_CELL_ROWS
        self.memory = _Memory()
        # The points, their norms, and of each cell a box and a norm.
        self.memory.allocate(_size(n_rows, d + 1, sizeof(float))
                             + _size(self.n_groups * FASTKM_CELLS_BESIDE, 2 * d + 1, sizeof(float)), zero=True)
        self.cells.n = n
        self.cells.d = d
        self.cells.order = &order[0]
        self.cells.panels.values = <float*>self.memory.start
        self.cells.panels.sq_norms = self.cells.panels.values + n_rows * d
        self.cells.boxes = self.cells.panels.sq_norms + n_rows
        self.cells.norms = self.cells.boxes + self.n_groups * FASTKM_CELLS_BESIDE * 2 * d
        # Room for a cell's rows as they are, for each thread.
        self.bytes_of_rows = (FASTKM_CELL_ROWS * d * 8 + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.row_memory = _Memory()
        self.row_memory.allocate(_size(self.crew.n_threads, self.bytes_of_rows, 1))

    def fill(self, int64_t start, int64_t stop):
        """Read the points that stand at [start, stop) in the cells' order."""
        cdef int64_t first = start // FASTKM_CELL_ROWS, end = (stop + FASTKM_CELL_ROWS - 1) // FASTKM_CELL_ROWS, cell
        cdef int used = self.crew.threads_for(end - first, 4.0 * (stop - start) * self.points.d)
        _check_rows(self.points.n, self.points.n, start, stop)
        with nogil:
            if used == 1:
                for cell in range(first, end):
                    self.fill_cell(cell, 0)
            else:
                for cell in prange(first, end, num_threads=used, schedule="dynamic", chunksize=16):
                    self.fill_cell(cell, threadid())

    cdef void fill_cell(self, int64_t cell, int t) noexcept nogil:
        self.crew.kernels.fill_cell(&self.points.points, &self.frame.frame, cell,
                                    self.row_memory.start + t * self.bytes_of_rows, &self.cells)


# Cells that a thread looks into at a time.
cdef enum:
    LIVE_CELLS_AT_ONCE = 8


cdef class CellSeeder:
    """A seeder that looks into the cells that a candidate is near enough to.

    It begins where the seeder stands, has the same methods, and keeps the seeder's closest and block_sums up to date.
    """
    cdef readonly Seeder seeder
    cdef Cells cells
    cdef fastkm_cell_state state
    cdef _Memory memory, touched_memory, gains_memory
    cdef int32_t* listed
    cdef int64_t n_listed
    cdef double* gains_of
    cdef double* errors_of
    cdef bint is_settled

    def __init__(self, Cells cells not None, Seeder seeder not None):
        cdef int64_t n = cells.points.n, n_cells = cells.n_cells, k = seeder.candidates.k, cell
        if seeder.points is not cells.points or seeder.crew.kernels != cells.crew.kernels:
            raise ValueError("cells and seeder must be of the same points.")
        self.seeder = seeder
        self.cells = cells
        self.memory = _Memory()
        self.memory.allocate(_size(n, sizeof(double) + sizeof(uint32_t), 1)
                             + _size(n_cells, sizeof(float) + sizeof(uint32_t) + sizeof(int32_t), 1), zero=True)
        self.state.closest = <double*>self.memory.start
        self.state.masks = <uint32_t*>(self.state.closest + n)
        self.state.live = self.state.masks + n
        self.state.reaches = <float*>(self.state.live + n_cells)
        self.listed = <int32_t*>(self.state.reaches + n_cells)
        self.touched_memory = _Memory()
        self.touched_memory.allocate(_size(seeder.crew.n_threads, self.bytes_of_touched(), 1), zero=True)
        self.gains_memory = _Memory()
        self.gains_memory.allocate(_size(2 * self.tasks_of(n_cells), k, sizeof(double)))
        self.gains_of = <double*>self.gains_memory.start
        self.errors_of = self.gains_of + self.tasks_of(n_cells) * k
        cdef int used = seeder.crew.threads_for(n_cells, 8.0 * n)
        with nogil:
            if used == 1:
                for cell in range(n_cells):
                    self.begin_cell(cell)
            else:
                for cell in prange(n_cells, num_threads=used, schedule="static"):
                    self.begin_cell(cell)

    cdef void begin_cell(self, int64_t cell) noexcept nogil:
        self.seeder.crew.kernels.begin_cell(&self.seeder.frame.frame, &self.cells.cells, cell, &self.seeder.closest[0],
                                            &self.state)

    @property
    def n_live(self):
        """Cells that the last proposal looked into."""
        return self.n_listed

    cdef int64_t tasks_of(self, int64_t n_cells) noexcept nogil:
        return (n_cells + LIVE_CELLS_AT_ONCE - 1) // LIVE_CELLS_AT_ONCE

    cdef int64_t bytes_of_touched(self) noexcept nogil:
        return (self.seeder.n_blocks + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN

    def propose(self, const double[:, ::1] candidates):
        """Find each candidate's gain, as Seeder.propose does."""
        cdef Seeder seeder = self.seeder
        cdef int64_t k = seeder.candidates.k, n_groups = self.cells.n_groups, g, task, n_tasks, cell
        # A box costs as much as four rows.
        cdef double box_work = 4.0 * self.cells.n_cells * self.cells.points.d * k
        cdef int used = seeder.crew.threads_for(n_groups, box_work)
        seeder.candidates.pack(candidates, seeder.frame, seeder.crew)
        self.is_settled = False
        self.n_listed = 0
        with nogil:
            if used == 1:
                for g in range(n_groups):
                    self.find_live(g)
            else:
                for g in prange(n_groups, num_threads=used, schedule="static"):
                    self.find_live(g)
            for cell in range(self.cells.n_cells):
                self.listed[self.n_listed] = <int32_t>cell
                self.n_listed += self.state.live[cell] != 0
            n_tasks = self.tasks_of(self.n_listed)
            used = seeder.crew.threads_for(
                n_tasks, <double>self.n_listed * FASTKM_CELL_ROWS * (self.cells.points.d + 8) * k
            )
            if used == 1:
                for task in range(n_tasks):
                    self.propose_task(task)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.propose_task(task)

    cdef void find_live(self, int64_t g) noexcept nogil:
        self.seeder.crew.kernels.find_live(&self.seeder.candidates.centroids, &self.cells.cells, g, &self.state)

    cdef void propose_task(self, int64_t task) noexcept nogil:
        cdef int64_t k = self.seeder.candidates.k, first = task * LIVE_CELLS_AT_ONCE
        self.seeder.crew.kernels.propose_cells(
            &self.seeder.frame.frame, &self.seeder.candidates.centroids, &self.cells.cells, self.listed + first,
            min(self.n_listed - first, <int64_t>LIVE_CELLS_AT_ONCE), self.seeder.weights_or_null(), &self.state,
            self.gains_of + task * k, self.errors_of + task * k
        )

    def settle(self):
        """Make the gains exact, as Seeder.settle does."""
        cdef int64_t c, cell, i, n = self.cells.points.n
        self.seeder.masks[:] = 0
        with nogil:
            for c in range(self.n_listed):
                cell = self.listed[c]
                for i in range(cell * FASTKM_CELL_ROWS, min(n, (cell + 1) * FASTKM_CELL_ROWS)):
                    self.seeder.masks[self.cells.order[i]] = self.state.masks[i] & self.state.live[cell]
        self.seeder.settle()
        self.is_settled = True

    def gains(self):
        """Return the sum of each candidate's gains, as a list."""
        if self.is_settled:
            return self.seeder.gains()
        return _column_sums(self.gains_of, self.tasks_of(self.n_listed), self.seeder.candidates.k)

    def errors(self):
        """Return what each of them may be wrong by, as a list."""
        if self.is_settled:
            return self.seeder.errors()
        return _column_sums(self.errors_of, self.tasks_of(self.n_listed), self.seeder.candidates.k)

    def accept(self, int64_t candidate):
        """Take a proposed candidate as a seed; block_sums and closest change accordingly."""
        cdef Seeder seeder = self.seeder
        cdef int64_t n_tasks = self.tasks_of(self.n_listed), task, b, t
        cdef int64_t n_touched = 0, size = self.bytes_of_touched()
        cdef uint8_t* touched = <uint8_t*>self.touched_memory.start
        cdef double work = <double>self.n_listed * FASTKM_CELL_ROWS * self.cells.points.d
        cdef int used = seeder.crew.threads_for(n_tasks, work)
        seeder.check_candidate(candidate)
        seeder.n_accepted += 1
        with nogil:
            if used == 1:
                for task in range(n_tasks):
                    self.accept_task(candidate, task, 0)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.accept_task(candidate, task, threadid())
            for b in range(seeder.n_blocks):
                for t in range(1, used):
                    touched[b] |= touched[t * size + b]
                    touched[t * size + b] = 0
                n_touched += touched[b]
            # A sum waits for the one before it: as long as for 32 multiplications.
            used = seeder.crew.threads_for(n_touched, 32.0 * n_touched * FASTKM_BLOCK_ROWS)
            if used == 1:
                for b in range(seeder.n_blocks):
                    self.sum_if_touched(touched, b)
            else:
                for b in prange(seeder.n_blocks, num_threads=used, schedule="dynamic", chunksize=64):
                    self.sum_if_touched(touched, b)

    cdef void accept_task(self, int64_t candidate, int64_t task, int t) noexcept nogil:
        cdef fastkm_cell_state mine = self.state
        cdef int64_t first = task * LIVE_CELLS_AT_ONCE
        mine.touched = <uint8_t*>self.touched_memory.start + t * self.bytes_of_touched()
        self.seeder.crew.kernels.accept_cells(
            &self.cells.points.points, &self.seeder.frame.frame, &self.seeder.candidates.centroids, &self.cells.cells,
            self.listed + first, min(self.n_listed - first, <int64_t>LIVE_CELLS_AT_ONCE), candidate,
            &self.seeder.crew.scratches[t], &mine, &self.seeder.closest[0]
        )

    cdef void sum_if_touched(self, uint8_t* touched, int64_t b) noexcept nogil:
        if touched[b]:
            touched[b] = 0
            self.seeder.sum_block(b)
