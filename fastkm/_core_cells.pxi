# Rows of few features sorted into cells of neighbours: most of them no candidate of k-means++ can change.

# What halving a level's parts takes a row, as multiplications: most of it is branches that are not foreseen.
cdef enum:
    WORK_OF_HALVING = 1000


def split_rows(Points points not None, const int64_t[::1] chosen, int depth, int32_t[::1] features,
               double[::1] thresholds, int n_threads, str isa):
    """Write a tree of median splits of some rows, a multiple of 2^depth; see `sort_rows`."""
    cdef _Crew crew = _Crew(points, 1, n_threads, isa)
    cdef int64_t n = chosen.shape[0], d = points.d, r, first, node
    cdef int level, used
    cdef _Memory memory = _Memory()
    cdef double* sample
    cdef fastkm_valued_row* rows
    if depth < 0 or depth > 16 or features.shape[0] != 1 << depth or thresholds.shape[0] != 1 << depth:
        raise ValueError("features and thresholds must have a length of 2^depth, depth at most 16.")
    if n < 1 or n % (1 << depth) or n >= 2**31:
        raise ValueError(f"The number of rows must be a multiple of 2^{depth}; got {n}.")
    for r in range(n):
        if chosen[r] < 0 or chosen[r] >= points.n:
            raise ValueError(f"chosen must hold rows of {points.n} points; got {chosen[r]}.")
    memory.allocate(_size(n, d * sizeof(double) + sizeof(fastkm_valued_row), 1))
    rows = <fastkm_valued_row*>memory.start
    sample = <double*>(rows + n)
    with nogil:
        crew.kernels.load(&points.points, &chosen[0], n, sample)
        for r in range(n):
            rows[r].row = <int32_t>r
        for level in range(depth):
            first = <int64_t>1 << level
            used = crew.threads_for(first, <double>n * (d + WORK_OF_HALVING))
            if used == 1:
                for node in range(first, 2 * first):
                    crew.kernels.split(sample, n, d, node, level, &crew.scratches[0], rows, &features[0],
                                       &thresholds[0])
            else:
                for node in prange(first, 2 * first, num_threads=used, schedule="static"):
                    crew.kernels.split(sample, n, d, node, level, &crew.scratches[threadid()], rows, &features[0],
                                       &thresholds[0])


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


def order_by_leaf(const uint16_t[::1] leaves, int64_t n_leaves, int32_t[::1] order):
    """Write the rows in the order of their leaves, and of their numbers within a leaf."""
    cdef int64_t n = leaves.shape[0], i, leaf, begin = 0, count
    cdef _Memory memory = _Memory()
    if order.shape[0] != n or n >= 2**31:
        raise ValueError(f"order must hold {n} rows.")
    memory.allocate(_size(n_leaves, 1, sizeof(int64_t)), zero=True)
    cdef int64_t* begins = <int64_t*>memory.start
    for i in range(n):
        if leaves[i] >= n_leaves:
            raise ValueError(f"leaves must be below {n_leaves}; got {leaves[i]}.")
        begins[leaves[i]] += 1
    with nogil:
        for leaf in range(n_leaves):
            count = begins[leaf]
            begins[leaf] = begin
            begin += count
        for i in range(n):
            order[begins[leaves[i]]] = <int32_t>i
            begins[leaves[i]] += 1


cdef void _clear_from(float* values, int64_t begin, int64_t end) noexcept nogil:
    memset(values + begin, 0, (end - begin) * sizeof(float))


cdef class Cells:
    """All points in the float32 kernel's coordinates, neighbours together, and boxes around them.

    The rows are kept as they are beside that if so asked, not to be read from anywhere time and again.
    """
    cdef Points points
    cdef Frame frame
    cdef _Crew crew
    cdef fastkm_kept_cells cells
    cdef const int32_t[::1] order
    cdef _Memory memory, row_memory
    cdef int64_t n_cells, n_groups, bytes_of_rows

    def __init__(self, Points points not None, Frame frame not None, const int32_t[::1] order, bint keeps_rows,
                 int n_threads, str isa):
        cdef int64_t n = points.n, d = points.d, item = points.buffer.itemsize, n_rows, n_full, i
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
                             + _size(self.n_groups * FASTKM_CELLS_BESIDE, 2 * d + 1, sizeof(float)))
        self.cells.n = n
        self.cells.d = d
        self.cells.order = &order[0]
        self.cells.panels.values = <float*>self.memory.start
        self.cells.panels.sq_norms = self.cells.panels.values + n_rows * d
        self.cells.boxes = self.cells.panels.sq_norms + n_rows
        self.cells.norms = self.cells.boxes + self.n_groups * FASTKM_CELLS_BESIDE * 2 * d
        # Of the last group, cells may be missing, and rows of the last cell.
        n_full = (self.n_groups - 1) * FASTKM_CELLS_BESIDE
        _clear_from(self.cells.panels.values, n_full * FASTKM_CELL_ROWS * d, n_rows * d)
        _clear_from(self.cells.panels.sq_norms, n_full * FASTKM_CELL_ROWS, n_rows)
        _clear_from(self.cells.boxes, n_full * 2 * d, self.n_groups * FASTKM_CELLS_BESIDE * 2 * d)
        _clear_from(self.cells.norms, n_full, self.n_groups * FASTKM_CELLS_BESIDE)
        # Room for a cell's rows as they are: one for each cell, or for each thread.
        self.bytes_of_rows = (FASTKM_CELL_ROWS * d * item + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.row_memory = _Memory()
        self.row_memory.allocate(_size(self.n_cells if keeps_rows else self.crew.n_threads, self.bytes_of_rows, 1))
        self.cells.rows = points.points
        self.cells.rows.base = self.row_memory.start if keeps_rows else NULL
        self.cells.rows.row_stride = d * item
        self.cells.rows.col_stride = item

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
        cdef int64_t room = t if self.cells.rows.base == NULL else cell
        self.crew.kernels.fill_cell(&self.points.points, &self.frame.frame, cell,
                                    self.row_memory.start + room * self.bytes_of_rows, &self.cells)
