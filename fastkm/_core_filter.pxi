# Sketches of the points and bounds from them: what Engine need not measure.

cdef enum:
    DIRECTIONS_AT_ONCE = 2 * FASTKM_ALIGN // 8


cdef class Basis:
    """Directions in the layouts that the kernels read: the columns of (d, p), p >= 1."""
    cdef fastkm_basis basis
    cdef _Memory memory
    cdef readonly int64_t d
    cdef readonly int64_t p

    def __cinit__(self, const float[:, :] columns not None):
        cdef int64_t d = columns.shape[0], p = columns.shape[1], q, f, group, size
        if d < 1 or p < 1:
            raise ValueError(f"columns must have shape (d, p) with d and p at least 1; got {(d, p)}.")
        self.d = d
        self.p = p
        self.memory = _Memory()
        cdef int64_t stride = (p + DIRECTIONS_AT_ONCE - 1) // DIRECTIONS_AT_ONCE * DIRECTIONS_AT_ONCE
        self.memory.allocate(_size(d, stride, sizeof(double) + sizeof(float)), zero=True)
        cdef double* directions = <double*>self.memory.start
        cdef float* tiles = <float*>(directions + d * stride)
        for f in range(d):
            for q in range(p):
                group = q - q % FASTKM_TILE_CENTROIDS
                size = min(p - group, <int64_t>FASTKM_TILE_CENTROIDS)
                tiles[group * d + f * size + q - group] = columns[f, q]
                directions[f * stride + q] = columns[f, q]
        self.basis.p = p
        self.basis.tiles = tiles
        self.basis.directions = directions
        self.basis.stride = stride
        self.basis.skew = 0


# Vectors made orthonormal by one thread, before all take them off the others; and multiplications that one of Gram
# and Schmidt's takes the time of, as it waits for the one before.
cdef enum:
    VECTORS_AT_ONCE = 12
    COST_OF_TAKING_OFF = 20


def orthonormalise(double[:, ::1] vectors not None, int n_threads, str isa not None):
    """Make the rows of vectors (n, d) orthonormal in place; returns how many there are, the others depend on them."""
    cdef const fastkm_kernels* kernels = _kernels(isa)
    cdef int64_t n = vectors.shape[0], d = vectors.shape[1], rank = 0, first, begin, end, j
    cdef int used
    cdef _Memory memory = _Memory()
    cdef double* lengths
    if n < 1 or d < 1:
        return 0
    memory.allocate(_size(n, 1, sizeof(double)))
    lengths = <double*>memory.start
    with nogil:
        for j in range(n):
            lengths[j] = kernels.length_of(&vectors[j, 0], d)
        begin = 0
        while begin < n:
            end = min(begin + VECTORS_AT_ONCE, n)
            first = rank
            rank = kernels.orthonormalise(&vectors[0, 0], lengths, first, begin, end, d)
            used = _threads_worth(n_threads, n - end, <double>COST_OF_TAKING_OFF * (n - end) * (rank - first) * d)
            if used == 1:
                for j in range(end, n):
                    kernels.take_off_block(&vectors[0, 0], first, rank, j, d)
            else:
                for j in prange(end, n, num_threads=used, schedule="static"):
                    kernels.take_off_block(&vectors[0, 0], first, rank, j, d)
            begin = end
    return rank


def multiply(a, Basis b not None, float[:, ::1] out not None, int n_threads, str isa not None):
    """Write the float32 product of a (n, d) and b's columns into out (n, p)."""
    cdef Points points = Points(a)
    cdef _Crew crew = _Crew(points, 1, n_threads, isa)
    cdef int64_t rows = crew.kernels.panel_rows, width = b.p + 1, n = points.n
    cdef int64_t n_tasks = (n + rows - 1) // rows, task, i, q
    cdef int used = crew.threads_for(n_tasks, <double>n * b.d * b.p)
    cdef fastkm_sketches sketches
    cdef fastkm_frame frame
    cdef _Memory memory = _Memory(), origin = _Memory()
    if points.d != b.d or out.shape[0] != n or out.shape[1] != b.p:
        raise ValueError("a, b and out must fit.")
    memory.allocate(_size(n_tasks * rows, width + 2, sizeof(float)))
    sketches.panels = <float*>memory.start
    sketches.sq_norms = sketches.panels + n_tasks * rows * width
    sketches.errors = sketches.sq_norms + n_tasks * rows
    origin.allocate(_size(b.d, 1, sizeof(double) + sizeof(float)), zero=True)
    frame.shift = <double*>origin.start
    frame.shift_f32 = <float*>(<double*>origin.start + b.d)
    frame.scale = frame.exact_scale = 1
    with nogil:
        if used == 1:
            crew.kernels.sketch(&points.points, &frame, &b.basis, 0, n, &crew.scratches[0], &sketches)
        else:
            for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                crew.kernels.sketch(&points.points, &frame, &b.basis, task * rows, min((task + 1) * rows, n),
                                    &crew.scratches[threadid()], &sketches)
        for i in range(n):
            for q in range(b.p):
                out[i, q] = sketches.panels[(i // rows * width + q) * rows + i % rows]


# Where a third of the directions is not worth a look before the others.
cdef enum:
    LEAST_DIRECTIONS_WITH_HEAD = 24
    LEAST_TILES_WITH_HEAD = 4
    # With gaps or leads of rows, tasks of each thread at least; with gaps rows of a task at most.
    TASKS_OF_GAPS = 8
    MOST_ROWS_AT_ONCE = 1024


cdef int64_t _rows_of_gaps(int64_t n_rows, int n_threads, int64_t most) noexcept nogil:
    """Rows of a task with gaps or leads of rows: many, as the few that are looked at fill panels."""
    cdef int64_t rows = n_rows // (TASKS_OF_GAPS * n_threads)
    if rows < FASTKM_BLOCK_ROWS:
        return FASTKM_BLOCK_ROWS
    return min(rows // FASTKM_BLOCK_ROWS * FASTKM_BLOCK_ROWS, most)


cdef class Filter:
    """Sketches of points and centroids, and bounds that say which distances need no measuring.

    The bounds hold for the centroids that the engine had last, under which all rows must have been labelled; they
    grow as centroids move. Centroids are kept in an order that brings near ones together, and so are rows, by their
    labels: nothing else depends on it.
    """
    cdef fastkm_filter filter
    cdef readonly Basis basis
    cdef _Memory order_memory, point_memory, gap_memory, row_gap_memory, centroid_memory, float64_memory, thread_memory
    cdef int64_t n, d, k, n_panels, n_tiles
    cdef int64_t panel_rows
    cdef size_t bytes_of_thread
    cdef int n_threads
    cdef readonly int64_t p
    cdef const int32_t[::1] labels
    cdef bint is_sketched

    def __cinit__(self, Points points not None, const float[:, :] basis not None, int64_t k, int n_threads,
                  str isa not None, const int32_t[::1] centroid_order=None):
        cdef int64_t p = basis.shape[1], width = p + 2
        if basis.shape[0] != points.d or p < 1 or k < 1 or n_threads < 1:
            raise ValueError(f"basis must have shape (d, p) with d = {points.d} and p >= 1, and k be at least 1.")
        if points.n >= 2**31:
            raise ValueError(f"The filter takes less than 2^31 rows; got {points.n}.")
        self.basis = Basis(basis)
        self.basis.basis.skew = _skew_of(basis, isa)
        self.n = points.n
        self.d = points.d
        self.k = k
        self.n_threads = n_threads
        self.panel_rows = _kernels(isa).panel_rows
        self.n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) // FASTKM_TILE_CENTROIDS
        self.n_panels = (self.n + self.panel_rows - 1) // self.panel_rows
        self.keep_order(centroid_order)
        self.point_memory = _Memory()
        self.point_memory.allocate(
            _size(self.n, width, sizeof(float)) + FASTKM_ALIGN + _size(self.n, 1, sizeof(fastkm_row_bounds))
        )
        self.filter.bounds = <fastkm_row_bounds*>self.point_memory.start
        self.filter.sketches = <float*>(self.filter.bounds + self.n)
        self.gap_memory = _Memory()
        self.gap_memory.allocate(_size(self.n_panels, self.n_tiles, sizeof(float)))
        self.filter.gaps = <float*>self.gap_memory.start
        self.centroid_memory = _Memory()
        self.centroid_memory.allocate(_size(k, width + 5 + self.d, sizeof(float)))
        self.filter.centroids.tiles = <float*>self.centroid_memory.start
        self.filter.centroids.sq_norms = self.filter.centroids.tiles + k * width
        self.filter.centroids.rests = self.filter.centroids.sq_norms + k
        self.filter.centroids.errors = self.filter.centroids.rests + k
        self.filter.centroids.moves = self.filter.centroids.errors + k
        self.filter.centroids.drifts = self.filter.centroids.moves + k
        self.filter.centroids.framed = self.filter.centroids.drifts + k
        self.float64_memory = _Memory()
        self.float64_memory.allocate(self.float64_bytes(), zero=True)
        self.filter.centroids.inside = <double*>self.float64_memory.start
        self.filter.drifts = self.filter.centroids.inside + k * 2 * p
        self.filter.tile_moves = self.filter.drifts + k
        self.filter.panel_moves = self.filter.tile_moves + self.n_tiles
        self.filter.travels = <fastkm_travel*>(self.filter.panel_moves + self.n_panels)
        self.thread_memory = _Memory()
        # Of one thread: a panel of sketches, and products and tiles of two panels.
        self.bytes_of_thread = _size(2 * k + p + 2, self.panel_rows, sizeof(float)) + 4 * self.n_tiles * sizeof(int32_t)
        self.bytes_of_thread = (self.bytes_of_thread + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN
        self.thread_memory.allocate(_size(n_threads, self.bytes_of_thread, 1))
        self.filter.p = self.p = p
        if p >= LEAST_DIRECTIONS_WITH_HEAD and self.n_tiles >= LEAST_TILES_WITH_HEAD:
            self.filter.head = self.filter.centroids.head = p // 3
        self.filter.stretch = <float>(1 + 1.1 * self.basis.basis.skew + 1e-6)

    def restart(self, const int32_t[::1] centroid_order=None):
        """Forget the centroids and all that is known of rows beside their sketches, for another run.

        All rows must be sketched.

        Centroids come in another order, rows in that of their sketches.
        """
        cdef int32_t* rows = <int32_t*>self.filter.order
        cdef int64_t i
        self.is_sketched = True
        self.filter.by_rows = False
        self.take_centroid_order(centroid_order)
        for i in range(self.n):
            rows[self.filter.slots[i]] = <int32_t>i
        memset(self.float64_memory.start, 0, self.float64_bytes())

    cdef size_t float64_bytes(self) except? 0:
        """Of the centroids' coordinates and of all moves."""
        return _size(self.k, 2 * self.basis.p + 1, sizeof(double)) \
            + _size(self.n_tiles + self.n_panels, 1, sizeof(double)) + _size(self.k, 1, sizeof(fastkm_travel))

    cdef int keep_order(self, const int32_t[::1] centroid_order) except -1:
        """Make room for orders. Rows as they come."""
        cdef int32_t* rows
        cdef int32_t* slots
        cdef int64_t i
        self.order_memory = _Memory()
        self.order_memory.allocate(_size(2 * (self.n + self.k), 1, sizeof(int32_t)))
        self.filter.centroids.order = <int32_t*>self.order_memory.start
        self.filter.centroids.place = self.filter.centroids.order + self.k
        self.filter.order = rows = <int32_t*>self.filter.centroids.place + self.k
        self.filter.slots = slots = rows + self.n
        self.take_centroid_order(centroid_order)
        for i in range(self.n):
            rows[i] = slots[i] = <int32_t>i
        return 0

    cdef int take_centroid_order(self, const int32_t[::1] centroid_order) except -1:
        """Copy the centroids' order, by default as they come, and where each is in it."""
        cdef int32_t* order = <int32_t*>self.filter.centroids.order
        cdef int32_t* place = <int32_t*>self.filter.centroids.place
        cdef int64_t j
        if centroid_order is not None and centroid_order.shape[0] != self.k:
            raise ValueError(f"centroid_order must have shape {(self.k,)}.")
        for j in range(self.k):
            order[j] = <int32_t>j if centroid_order is None else centroid_order[j]
        _invert_order("centroid_order", order, self.k, place)
        return 0

    cdef float* panel_of(self, int t) noexcept nogil:
        return <float*>(self.thread_memory.start + t * self.bytes_of_thread)

    cdef float* products_of(self, int t) noexcept nogil:
        return self.panel_of(t) + (self.basis.p + 2) * self.panel_rows

    cdef int32_t* tiles_of(self, int t) noexcept nogil:
        return <int32_t*>(self.products_of(t) + 2 * self.k * self.panel_rows)

    cdef int check_labels(self, const int32_t* labels, int64_t start, int64_t stop, int n_threads) except -1:
        """Check the labels of rows [start, stop) of the order."""
        cdef const int32_t* rows = self.filter.order
        cdef int64_t i
        cdef uint32_t n_wrong = 0  # at most n
        cdef uint32_t k = <uint32_t>self.k
        with nogil:
            if stop - start == self.n:  # in whatever order
                for i in range(self.n):
                    n_wrong += <uint32_t>labels[i] >= k
            elif n_threads == 1:
                for i in range(start, stop):
                    n_wrong += <uint32_t>labels[rows[i]] >= k
            else:
                for i in prange(start, stop, num_threads=n_threads, schedule="static"):
                    n_wrong += <uint32_t>labels[rows[i]] >= k
        for i in range(start, stop if n_wrong else start):
            if labels[rows[i]] < 0 or labels[rows[i]] >= self.k:
                raise ValueError(
                    f"The filter needs a last label of row {rows[i]}, in 0 to {self.k - 1}; got {labels[rows[i]]}."
                )
        return 0

    cdef int begin(self, const int32_t[::1] labels) except -1:
        """Take the points' labels. Nothing is known of their distances, but what sketches of an earlier run say."""
        cdef fastkm_row_bounds* bounds
        cdef int64_t i, slot, p = self.basis.p
        cdef int32_t j, o
        cdef float rest
        if labels.shape[0] != self.n:
            raise ValueError(f"labels must have shape {(self.n,)}.")
        self.check_labels(&labels[0], 0, self.n, 1)
        self.labels = labels
        self.forget_gaps()
        for i in range(self.n):
            slot = self.filter.slots[i]
            bounds = self.filter.bounds + slot
            bounds.own_rest = <float>INFINITY
            if self.is_sketched:
                j = self.filter.centroids.place[labels[i]]
                rest = self.filter.sketches[slot * (p + 2) + p] + self.filter.centroids.rests[j]
                rest += bounds.error + self.filter.centroids.errors[j]
                bounds.own_rest = rest * <float>(1 + 1e-6)
            for o in range(FASTKM_RIVALS):
                bounds.rivals[o] = -1
        return 0

    def place(self, const int32_t[::1] labels not None):
        """Sort rows as sort does, and keep their sketches in that order: before the first is made."""
        cdef const int32_t* rows = self.filter.order
        cdef int32_t* slots = <int32_t*>self.filter.slots
        cdef int64_t i
        self.sort(labels)
        for i in range(self.n):
            slots[rows[i]] = <int32_t>i

    def sort(self, const int32_t[::1] labels not None):
        """Bring rows (n,) together that have one label; forget what is known of the panels they were in."""
        cdef int32_t* rows = <int32_t*>self.filter.order
        cdef const int32_t* place = self.filter.centroids.place
        cdef _Memory memory = _Memory()
        cdef int64_t* ends
        cdef int32_t* before
        cdef int64_t i, j
        if labels.shape[0] != self.n:
            raise ValueError(f"labels must have shape {(self.n,)}.")
        self.check_labels(&labels[0], 0, self.n, 1)
        memory.allocate(_size(self.k + 1, 1, sizeof(int64_t)) + _size(self.n, 1, sizeof(int32_t)))
        ends = <int64_t*>memory.start
        before = <int32_t*>(ends + self.k + 1)
        with nogil:
            memset(ends, 0, (self.k + 1) * sizeof(int64_t))
            memcpy(before, rows, self.n * sizeof(int32_t))
            for i in range(self.n):
                ends[place[labels[i]] + 1] += 1
            for j in range(self.k):
                ends[j + 1] += ends[j]
            for i in range(self.n):
                j = place[labels[before[i]]]
                rows[ends[j]] = before[i]
                ends[j] += 1
        self.forget_gaps()

    def keep_row_gaps(self):
        """Keep gaps of rows from now on, and none of panels: rows whose gap is left are not looked at.

        Better where few rows come near another centroid: late in long runs, and with few tiles of centroids.
        """
        if not self.filter.by_rows:
            self.row_gap_memory = _Memory()
            self.row_gap_memory.allocate(_size(self.n, 1, sizeof(fastkm_row_gaps)))
            self.filter.row_gaps = <fastkm_row_gaps*>self.row_gap_memory.start
            self.filter.by_rows = True
            self.forget_gaps()

    cdef void forget_gaps(self) noexcept nogil:
        cdef int64_t item
        for item in range(self.n_panels * self.n_tiles):
            self.filter.gaps[item] = -<float>INFINITY
        for item in range(self.n if self.filter.by_rows else 0):
            self.filter.row_gaps[item].rival = 0
            self.filter.row_gaps[item].to_rival = self.filter.row_gaps[item].to_others = -<float>INFINITY

    cdef int64_t rows_at_once(self, int64_t n_rows) noexcept nogil:
        """Rows of a task."""
        return _rows_of_gaps(n_rows, self.n_threads, MOST_ROWS_AT_ONCE) if self.filter.by_rows else FASTKM_BLOCK_ROWS

    cdef int move(self, const double[:, ::1] old, const double[:, ::1] raw, Frame frame, _Crew crew) except -1:
        """Follow the centroids from old to raw."""
        cdef int64_t n_tasks = (self.k + CENTROIDS_FOLLOWED - 1) // CENTROIDS_FOLLOWED, task, j
        cdef int used = crew.threads_for(n_tasks, 16.0 * self.k * self.d * self.basis.p)
        cdef const double* before = &old[0, 0]
        cdef const double* now = &raw[0, 0]
        cdef float max_sq_norm = 0, max_error = 0, fastest
        with nogil:
            if used == 1:
                crew.kernels.follow(&frame.frame, &self.basis.basis, now, before, self.d, self.k, 0, self.k,
                                    &self.filter.centroids)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    crew.kernels.follow(&frame.frame, &self.basis.basis, now, before, self.d, self.k,
                                        task * CENTROIDS_FOLLOWED, min((task + 1) * CENTROIDS_FOLLOWED, self.k),
                                        &self.filter.centroids)
            self.move_rows()
            for j in range(self.k):
                if not self.filter.centroids.sq_norms[j] <= max_sq_norm:
                    max_sq_norm = self.filter.centroids.sq_norms[j]
                if not self.filter.centroids.errors[j] <= max_error:
                    max_error = self.filter.centroids.errors[j]
        for task in range(self.n_tiles):
            fastest = 0
            for j in range(task * FASTKM_TILE_CENTROIDS, min((task + 1) * FASTKM_TILE_CENTROIDS, self.k)):
                self.filter.drifts[j] += self.filter.centroids.drifts[j]
                fastest = max(fastest, self.filter.centroids.moves[j])
            self.filter.tile_moves[task] += fastest
        self.filter.max_norm = <float>(sqrt(max_sq_norm) * (1 + 1e-6))
        self.filter.max_error = max_error
        return 0

    cdef void move_rows(self) noexcept nogil:
        """Add to the centroids' travels."""
        cdef const float* moves = self.filter.centroids.moves
        cdef fastkm_travel* travel
        cdef float fastest = 0, second = 0
        cdef int64_t j
        for j in range(self.k):
            second = max(second, min(moves[j], fastest))
            fastest = max(fastest, moves[j])
        for j in range(self.k):
            travel = self.filter.travels + self.filter.centroids.order[j]
            travel.alone += moves[j]
            travel.with_fastest += <double>moves[j] + (second if moves[j] == fastest else fastest)


cdef int _invert_order(str name, const int32_t* order, int64_t k, int32_t* place_of) except -1:
    """Write where each of k centroids is in an order of them."""
    cdef int64_t j
    for j in range(k):
        place_of[j] = -1
    for j in range(k):
        if order[j] < 0 or order[j] >= k or place_of[order[j]] >= 0:
            raise ValueError(f"{name} must hold each of {k} centroids once; got {order[j]} at {j}.")
        place_of[order[j]] = <int32_t>j
    return 0


cdef float _skew_of(const float[:, :] basis, str isa) except -1:
    """At least the norm of Q'Q - I."""
    cdef int64_t d = basis.shape[0], p = basis.shape[1], f, q
    cdef _Memory memory = _Memory()
    memory.allocate(_size(d, p, sizeof(double)))
    cdef double* vectors = <double*>memory.start
    for q in range(p):
        for f in range(d):
            vectors[q * d + f] = basis[f, q]
    return <float>(_kernels(isa).skewness(vectors, p, d) * (1 + 1e-6))


# Centroids of one task of Filter.move.
cdef enum:
    CENTROIDS_FOLLOWED = 4
