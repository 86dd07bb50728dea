# Labels of kept cells round after round, but for tiles of centroids that gaps exclude.

cdef enum:
    GAP_CELLS_AT_ONCE = 16


cdef class CellGaps:
    """How much farther than each row's own centroid those of a tile are, at least, in each of the cells.

    order is of the k centroids and puts near ones together: tiles are cut from it.
    """
    cdef Cells cells
    cdef _Crew crew
    cdef fastkm_gaps gaps
    cdef const int32_t[::1] order
    cdef _Memory floats, raw, places, place_of, own_memory, own_table, work_memory
    cdef fastkm_gap_scratch* own
    cdef fastkm_cell_work* work
    cdef readonly int64_t k
    cdef int64_t n_passed
    cdef double expected_work
    cdef bint is_followed

    def __cinit__(self, Cells cells not None, const int32_t[::1] order not None, int n_threads, str isa not None):
        cdef int64_t d = cells.points.d, k = order.shape[0], n_tiles, stride, n_cells = cells.n_cells
        cdef float* memory
        self.k = k
        self.cells = cells
        self.crew = _Crew(cells.points, k, n_threads, isa)
        if self.crew.kernels != cells.crew.kernels:
            raise ValueError("The cells must be of the same instruction set.")
        self.gaps.k = k
        self.gaps.n_tiles = n_tiles = (k + FASTKM_TILE_CENTROIDS - 1) // FASTKM_TILE_CENTROIDS
        self.gaps.stride = stride = (n_tiles + 15) // 16 * 16
        self.take_order(order)
        self.raw = _Memory()
        self.raw.allocate(_size(k, d, sizeof(double)), zero=True)
        self.gaps.raw = <double*>self.raw.start
        self.floats = _Memory()
        self.floats.allocate(_size(n_cells + 3, stride, sizeof(float)) + _size(k + 1, d + 2, sizeof(float)),
                             zero=True)
        self.gaps.gaps = memory = <float*>self.floats.start
        self.gaps.fixed = memory + n_cells * stride
        self.gaps.growing = self.gaps.fixed + stride
        self.gaps.tile_drifts = self.gaps.growing + stride
        self.gaps.tiles = self.gaps.tile_drifts + stride
        self.gaps.sq_norms = self.gaps.tiles + k * d
        self.gaps.drifts = self.gaps.sq_norms + k + 1
        (self.gaps.drifts - 1)[0] = INFINITY
        self.places = _Memory()
        self.places.allocate(_size(cells.points.n, 1, sizeof(int32_t)))
        self.gaps.own = <int32_t*>self.places.start
        self.place_scratches()

    cdef int take_order(self, const int32_t[::1] order) except -1:
        self.order = order
        self.place_of = _Memory()
        self.place_of.allocate(_size(self.k, 1, sizeof(int32_t)))
        self.gaps.order = &order[0]
        self.gaps.place_of = <int32_t*>self.place_of.start
        _invert_order("order", &order[0], self.k, <int32_t*>self.place_of.start)
        return 0

    cdef int place_scratches(self) except -1:
        cdef int64_t size = self.gaps.n_tiles * FASTKM_CELL_ROWS, t
        cdef float* memory
        self.own_memory = _Memory()
        self.own_memory.allocate(_size(self.crew.n_threads, self.gaps.stride + 2 * size, sizeof(float)))
        self.own_table = _Memory()
        self.own_table.allocate(self.crew.n_threads * sizeof(fastkm_gap_scratch))
        self.own = <fastkm_gap_scratch*>self.own_table.start
        for t in range(self.crew.n_threads):
            memory = <float*>self.own_memory.start + t * (self.gaps.stride + 2 * size)
            self.own[t].tiles = <int32_t*>memory
            self.own[t].best = memory + self.gaps.stride
            self.own[t].second = self.own[t].best + size
        self.work_memory = _Memory()
        self.work_memory.allocate(self.crew.n_threads * WORK_STRIDE * sizeof(fastkm_cell_work), zero=True)
        self.work = <fastkm_cell_work*>self.work_memory.start
        return 0

    cdef int begin(self, const int32_t[::1] labels) except -1:
        """Take the labels, and forget all that is known of distances."""
        cdef int64_t i, label, n = self.cells.points.n
        if labels.shape[0] != n:
            raise ValueError(f"labels must have one label per point; got {labels.shape[0]} for {n}.")
        for i in range(n):
            if labels[i] < -1 or labels[i] >= self.k:
                raise ValueError(f"labels must be in -1 to {self.k - 1}; got {labels[i]} in row {i}.")
        for i in range(n):
            label = labels[self.cells.order[i]]
            self.gaps.own[i] = self.gaps.place_of[label] if label >= 0 else -1
        memset(self.gaps.gaps, 0, self.cells.n_cells * self.gaps.stride * sizeof(float))
        self.expected_work = <double>n * self.k * (self.cells.points.d + 8)
        self.is_followed = False
        return 0

    cdef int follow(self, const fastkm_centroids* centroids) except -1:
        """Take the centroids. What they move before all rows have been labelled is added up."""
        cdef int is_more = self.is_followed and self.n_passed < self.cells.points.n
        with nogil:
            self.crew.kernels.follow_gaps(&self.cells.frame.frame, centroids, is_more, &self.gaps)
        self.is_followed = True
        self.n_passed = 0
        return 0

    cdef int64_t assign(self, const _Round* task, const fastkm_centroids* centroids, Sums sums) except -1:
        """Label the rows at [start, stop) in the cells' order; return how many labels changed."""
        cdef int64_t begin = task.start // FASTKM_CELL_ROWS, n_changed = 0, g
        cdef int64_t end = (task.stop + FASTKM_CELL_ROWS - 1) // FASTKM_CELL_ROWS, n = self.cells.points.n
        cdef int64_t n_tasks = (end - begin + GAP_CELLS_AT_ONCE - 1) // GAP_CELLS_AT_ONCE
        cdef int64_t n_owners = min(<int64_t>(4 * self.crew.n_threads), self.k)
        cdef int used = self.crew.threads_for(n_tasks, self.expected_work * (task.stop - task.start) / n)
        cdef bint is_serial = used == 1, accumulates = sums is not None and (is_serial or sums.is_private)
        if not self.is_followed:
            self.follow(centroids)
        if task.start == 0 and task.labels != task.labels_old:
            memcpy(task.labels, task.labels_old, n * sizeof(int32_t))
        with nogil:
            if is_serial:
                for g in range(n_tasks):
                    n_changed += self.assign_task(task, centroids, sums, accumulates, True, begin, end, g, 0)
            else:
                if accumulates:
                    sums.clear_private(used)
                for g in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.assign_task(task, centroids, sums, accumulates, False, begin, end, g,
                                                  threadid())
                if accumulates:
                    sums.merge_private(used)
        if sums is not None and not accumulates:
            with nogil:
                for g in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.accumulate_owned(task, sums, g, n_owners, threadid())
            n_changed //= n_owners  # every owner counted all of them
        if task.start == self.n_passed:
            self.n_passed = task.stop
        return n_changed

    cdef int64_t assign_task(self, const _Round* task, const fastkm_centroids* centroids, Sums sums, bint accumulates,
                             bint is_serial, int64_t begin, int64_t end, int64_t g, int t) noexcept nogil:
        cdef int64_t first = begin + g * GAP_CELLS_AT_ONCE
        cdef fastkm_sums mine
        cdef fastkm_sums* moved = NULL
        cdef fastkm_cell_work* work = &self.work[t * WORK_STRIDE]
        if accumulates:
            mine = sums.sums if is_serial else sums.private_sums(t)
            moved = &mine
        work.n_changed = 0
        self.crew.kernels.assign_by_gaps(
            &self.crew.points.points, &self.cells.frame.frame, centroids, &self.cells.cells, &self.gaps, first,
            min(first + GAP_CELLS_AT_ONCE, end), &self.crew.scratches[t], &self.own[t], work, task.labels_old,
            task.labels, moved
        )
        return work.n_changed

    cdef int64_t accumulate_owned(self, const _Round* task, Sums sums, int64_t owner, int64_t n_owners,
                                  int t) noexcept nogil:
        cdef fastkm_sums mine = sums.sums
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        return self.crew.kernels.accumulate_listed(
            &self.crew.points.points, self.cells.cells.order + task.start, task.stop - task.start, task.labels_old,
            task.labels, &self.crew.scratches[t], &mine
        )

    def take_work(self):
        """Return the products computed and the rows decided in float64 since the last call."""
        cdef int64_t n_products = 0, n_exact = 0
        cdef int t
        for t in range(self.crew.n_threads):
            n_products += self.work[t * WORK_STRIDE].n_products
            n_exact += self.work[t * WORK_STRIDE].n_exact
            self.work[t * WORK_STRIDE].n_products = self.work[t * WORK_STRIDE].n_exact = 0
        # A row whose cell is skipped costs as much as some multiplications.
        self.expected_work = <double>n_products * (self.cells.points.d + 8) + 40.0 * self.cells.points.n
        return n_products, n_exact
