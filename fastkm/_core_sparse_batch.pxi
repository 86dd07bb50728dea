# Mini-batches of CSR rows: what Batch is for dense ones.

cdef class SparseBatch:
    """A batch of CSR rows, gathered from others if need be, and what k centroids learn from them."""
    cdef SparsePoints points
    cdef SparsePoints source
    cdef readonly SparseEngine engine
    cdef fastkm_sparse_gathered gathered
    cdef int64_t* sources
    cdef int64_t* starts
    cdef int64_t capacity
    cdef _Memory order
    cdef int64_t* rows
    cdef int64_t* begins

    def __init__(self, SparsePoints points not None, SparseEngine engine not None, SparsePoints source=None):
        """Take the batch's points and an engine on them; to gather rows of a source, points without entries."""
        if engine.points is not points:
            raise ValueError("The engine must be of the batch's points.")
        self.points = points
        self.engine = engine
        self.order = _Memory()
        self.order.allocate(_size(points.n + engine.k + 1, 1, sizeof(int64_t)), zero=True)
        self.rows = <int64_t*>self.order.start
        self.begins = self.rows + points.n
        if source is not None:
            self.take_source(source)

    cdef int take_source(self, SparsePoints source) except -1:
        cdef SparsePoints points = self.points
        if source.d != points.d or source.rows.is_double != points.rows.is_double:
            raise ValueError("The source's rows must be like the batch's.")
        if source is points or points.n_entries != 0:
            raise ValueError("Only points without entries can be filled.")
        source.set_scale(self.engine.scale, self.engine.crew)
        self.source = source
        points.places = _Memory()
        points.places.allocate(_size(2, points.n + 1, sizeof(int64_t)), zero=True)
        self.sources = <int64_t*>points.places.start
        self.starts = self.sources + points.n
        self.gathered.sources = self.sources
        self.gathered.starts = self.starts
        self.gathered.sq_norms = points.rows.sq_norms
        self.capacity = 0
        self.make_room(1)
        points.rows.starts = self.starts
        points.rows.is_wide = False
        return 0

    cdef int make_room(self, int64_t n_entries) except -1:
        """Make place for so many entries, and some more, so that seldom more is needed."""
        cdef int64_t capacity = n_entries + n_entries // 4
        cdef int64_t size = sizeof(double) if self.points.rows.is_double else sizeof(float)
        cdef _Memory entries
        if n_entries <= self.capacity:
            return 0
        entries = _Memory()
        entries.allocate(_size(capacity, size + sizeof(int32_t), 1))
        self.points.entries = entries
        self.capacity = capacity
        self.gathered.values = entries.start
        self.gathered.columns = <int32_t*>(entries.start + capacity * size)
        self.points.rows.values = self.gathered.values
        self.points.rows.columns = self.gathered.columns
        return 0

    cdef int place(self, const int64_t[::1] rows) except -1:
        """Find where the entries of each row will be."""
        cdef int64_t r, row, n_entries = 0
        cdef const int64_t* starts
        if self.source is None or rows.shape[0] != self.points.n:
            raise ValueError(f"rows must be {self.points.n} of the source.")
        _check_sources(rows, 0, rows.shape[0], self.source.n)
        starts = self.source.rows.starts
        for r in range(rows.shape[0]):
            row = rows[r]
            n_entries += starts[row + 1] - starts[row]
        self.make_room(n_entries)
        n_entries = 0
        for r in range(rows.shape[0]):
            row = rows[r]
            self.sources[r] = row
            n_entries += starts[row + 1] - starts[row]
            self.starts[r + 1] = n_entries
        self.points.n_entries = n_entries
        return 0

    def assign(self, int32_t[::1] labels, int64_t start, int64_t stop, const int64_t[::1] rows=None):
        """Label rows [start, stop) of the batch; first fill them with those rows of the source, if given.

        All rows of a batch are looked up where it starts, at 0: what follows must be of the same.
        """
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef bint gathers = rows is not None
        cdef double row_work
        cdef int used
        _check_rows(self.points.n, labels.shape[0], start, stop)
        self.engine.check_centroids()
        if gathers and start == 0:
            self.place(rows)
        elif gathers and self.source is None:
            raise ValueError("There is no source to gather rows from.")
        row_work = 4.0 * (self.engine.k + 16) * (self.points.n_entries + self.points.n) / self.points.n
        used = _threads_worth(self.engine.crew.n_threads, n_blocks, row_work * (stop - start))
        task.start = start
        task.stop = stop
        task.labels = &labels[0]
        task.recheck = True
        task.accumulates = False
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&task, gathers, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.assign_block(&task, gathers, b, threadid())

    cdef void assign_block(self, const _Round* task, bint gathers, int64_t b, int t) noexcept nogil:
        cdef int64_t i = task.start + b * FASTKM_BLOCK_ROWS
        if gathers:
            self.engine.crew.kernels.gather(&self.source.rows, &self.gathered, i,
                                            min(i + FASTKM_BLOCK_ROWS, task.stop))
        self.engine.assign_block(task, None, True, b, t)

    def sort(self, const int32_t[::1] labels):
        """List the rows of each label, ascending, for learn."""
        _list_by_label(labels, self.points.n, self.engine.k, self.rows, self.begins)

    def learn(self, const double[::1] weights, const double[::1] counts, double[:, ::1] moved,
              double[::1] moved_counts, double[::1] sq_dists, int64_t start, int64_t stop):
        """Let centroids [start, stop) learn from their rows, as sort has listed them: as Batch.learn does."""
        cdef int64_t n = self.points.n, k = self.engine.k, d = self.points.d, j
        cdef double work
        cdef int used
        cdef fastkm_lesson lesson
        _set_lesson(&lesson, n, k, d, weights, counts, moved, moved_counts, sq_dists)
        if start < 0 or stop > k or start > stop or self.engine.centroids.centroids.raw == NULL:
            raise ValueError(f"centroids {start} to {stop} are not among the {k} that were set.")
        lesson.centroids = self.engine.centroids.centroids.raw
        lesson.rows = self.rows
        lesson.begins = self.begins
        lesson.exact_scale = self.engine.scale
        work = 32.0 * (self.begins[stop] - self.begins[start]) * self.points.n_entries / n + 2.0 * (stop - start) * d
        used = _threads_worth(self.engine.crew.n_threads, stop - start, work)
        with nogil:
            if used == 1:
                self.learn_between(&lesson, start, stop, 0)
            else:
                for j in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=1):
                    self.learn_between(&lesson, j, j + 1, threadid())

    cdef void learn_between(self, const fastkm_lesson* lesson, int64_t start, int64_t stop, int t) noexcept nogil:
        self.engine.crew.kernels.learn(&self.points.rows, &self.engine.centroids.centroids, lesson, start, stop,
                                       &self.engine.crew.scratches[t])
