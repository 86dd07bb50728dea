# Mini-batches: rows gathered from others, and what centroids learn from them.

cdef int _list_by_label(const int32_t[::1] labels, int64_t n, int64_t k, int64_t* rows, int64_t* begins) except -1:
    """Write the rows (n,) of each label, ascending, and where each label's begin (k + 1,)."""
    cdef int64_t i, j
    if labels.shape[0] != n:
        raise ValueError("There must be one label per row.")
    for i in range(n):
        if labels[i] < 0 or labels[i] >= k:
            raise ValueError(f"labels must be in 0 to {k - 1}; got {labels[i]} in row {i}.")
    with nogil:
        memset(begins, 0, (k + 1) * sizeof(int64_t))
        for i in range(n):
            begins[labels[i]] += 1
        # Each label's end, which filling from the last row down turns into its beginning.
        for j in range(1, k + 1):
            begins[j] += begins[j - 1]
        for i in range(n - 1, -1, -1):
            begins[labels[i]] -= 1
            rows[begins[labels[i]]] = i
    return 0


cdef int _set_lesson(fastkm_lesson* lesson, int64_t n, int64_t k, int64_t d, const double[::1] weights,
                     const double[::1] counts, double[:, ::1] moved, double[::1] moved_counts,
                     double[::1] sq_dists) except -1:
    """Take the arrays of a lesson of n rows to k centroids, if they fit."""
    if counts.shape[0] != k or moved.shape[0] != k or moved.shape[1] != d or moved_counts.shape[0] != k \
            or sq_dists.shape[0] != n or (weights is not None and weights.shape[0] != n):
        raise ValueError("The arrays must fit the batch and the centroids.")
    lesson.counts = &counts[0]
    lesson.weights = &weights[0] if weights is not None else NULL
    lesson.moved = &moved[0, 0]
    lesson.moved_counts = &moved_counts[0]
    lesson.sq_dists = &sq_dists[0]
    return 0


cdef int _check_sources(const int64_t[::1] rows, int64_t start, int64_t stop, int64_t n) except -1:
    """Check that entries [start, stop) name some of n rows."""
    cdef int64_t i
    for i in range(start, stop):
        if rows[i] < 0 or rows[i] >= n:
            raise ValueError(f"rows must be in 0 to {n - 1}; got {rows[i]}.")
    return 0


def gather(Points source not None, const int64_t[::1] rows, unsigned char[:, ::1] memory, int n_threads, str isa):
    """Copy rows of the source, in their dtype, into memory of shape (len(rows), bytes of a row)."""
    cdef int64_t n = rows.shape[0], n_blocks = (n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
    cdef _Crew crew = _Crew(source, 1, n_threads, isa)
    cdef int used = crew.threads_for(n_blocks, 16.0 * n * source.d)
    if memory.shape[0] != n or memory.shape[1] != source.d * source.buffer.itemsize:
        raise ValueError(f"memory must hold {n} rows like the source's.")
    _check_sources(rows, 0, n, source.n)
    with nogil:
        if used == 1:
            for b in range(n_blocks):
                _gather_block(source, crew, rows, memory, b)
        else:
            for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                _gather_block(source, crew, rows, memory, b)


cdef void _gather_block(Points source, _Crew crew, const int64_t[::1] rows, unsigned char[:, ::1] memory,
                        int64_t b) noexcept nogil:
    cdef int64_t i = b * FASTKM_BLOCK_ROWS
    crew.kernels.gather(&source.points, &rows[i], min(FASTKM_BLOCK_ROWS, rows.shape[0] - i), <char*>&memory[i, 0])


cdef class Batch:
    """Rows gathered from points into memory of their own, and what k centroids learn from them."""
    cdef Points source
    cdef Points points
    cdef unsigned char[:, ::1] memory
    cdef readonly Engine engine
    cdef _Memory order
    cdef int64_t* rows
    cdef int64_t* begins

    def __init__(self, Points points, Engine engine, Points source=None, unsigned char[:, ::1] memory=None):
        """Take the batch's points, an engine on them, and to gather rows the source and the points' own memory."""
        if engine.points is not points:
            raise ValueError("The engine must be of the batch's points.")
        if source is not None:
            if source.d != points.d or source.points.dtype != points.points.dtype or memory is None:
                raise ValueError("The source's rows must be like the batch's.")
            if <char*>&memory[0, 0] != points.points.base or memory.shape[0] != points.n \
                    or memory.shape[1] != points.d * points.buffer.itemsize:
                raise ValueError("The memory must be that of the batch's points.")
        self.points = points
        self.engine = engine
        self.source = source
        self.memory = memory
        self.order = _Memory()
        self.order.allocate(_size(points.n + engine.k + 1, 1, sizeof(int64_t)))
        self.rows = <int64_t*>self.order.start
        self.begins = self.rows + points.n

    def assign(self, int32_t[::1] labels, int64_t start, int64_t stop, const int64_t[::1] rows=None):
        """Label rows [start, stop) of the batch; first fill them with those rows of the source, if given."""
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef double work = (self.engine.row_work + 16.0 * self.points.d) * (stop - start)
        cdef int used = self.engine.crew.threads_for(n_blocks, work)
        cdef const int64_t* sources = NULL
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if rows is not None:
            if self.source is None or rows.shape[0] != self.points.n:
                raise ValueError(f"rows must be {self.points.n} of the source.")
            _check_sources(rows, start, stop, self.source.n)
            sources = &rows[0]
        task.start = start
        task.stop = stop
        task.block_rows = FASTKM_BLOCK_ROWS
        task.labels = &labels[0]
        task.recheck = True
        task.moved = NULL
        task.accumulates = False
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&task, sources, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.assign_block(&task, sources, b, threadid())

    cdef void assign_block(self, const _Round* task, const int64_t* sources, int64_t b, int t) noexcept nogil:
        cdef int64_t i = task.start + b * FASTKM_BLOCK_ROWS
        if sources != NULL:
            self.engine.crew.kernels.gather(&self.source.points, sources + i, min(FASTKM_BLOCK_ROWS, task.stop - i),
                                            <char*>&self.memory[i, 0])
        self.engine.assign_block(task, None, True, b, t)

    def sort(self, const int32_t[::1] labels):
        """List the rows of each label, ascending, for learn."""
        _list_by_label(labels, self.points.n, self.engine.k, self.rows, self.begins)

    def learn(self, const double[::1] weights, const double[::1] counts, double[:, ::1] moved,
              double[::1] moved_counts, double[::1] sq_dists, int64_t start, int64_t stop):
        """Let centroids [start, stop) learn from their rows, as sort has listed them.

        Writes their entries of moved (k, d) and moved_counts (k,), and the squared distances of their rows to the
        engine's centroids, times exact_scale^2. weights may be None: each 1.
        """
        cdef int64_t n = self.points.n, k = self.engine.k, d = self.points.d, j
        cdef int64_t n_rows
        cdef int used
        cdef int64_t chunk
        cdef fastkm_lesson lesson
        _set_lesson(&lesson, n, k, d, weights, counts, moved, moved_counts, sq_dists)
        if start < 0 or stop > k or start > stop or self.engine.centroids.centroids.raw == NULL:
            raise ValueError(f"centroids {start} to {stop} are not among the {k} that were set.")
        lesson.centroids = self.engine.centroids.centroids.raw
        lesson.rows = self.rows
        lesson.begins = self.begins
        lesson.exact_scale = self.engine.frame.frame.exact_scale
        n_rows = self.begins[stop] - self.begins[start] + stop - start
        used = self.engine.crew.threads_for(stop - start, 16.0 * n_rows * d)
        chunk = (stop - start) // (16 * used) + 1  # many a centroid has but a row or two
        with nogil:
            if used == 1:
                self.engine.crew.kernels.learn(&self.points.points, &lesson, start, stop,
                                               &self.engine.crew.scratches[0])
            else:
                for j in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=chunk):
                    self.engine.crew.kernels.learn(&self.points.points, &lesson, j, j + 1,
                                                   &self.engine.crew.scratches[threadid()])
