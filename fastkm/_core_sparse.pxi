# CSR rows: what Points, Engine and Seeder are for dense ones, with the same methods.

class UnsortedError(ValueError):
    """The columns of a row do not ascend, or one is there twice."""


cdef class SparsePoints:
    """CSR rows where the user keeps them: float32 or float64 values, int32 or int64 columns, never copied."""
    cdef Py_buffer values_buffer
    cdef Py_buffer columns_buffer
    cdef int n_held
    cdef const int64_t[::1] starts
    cdef fastkm_sparse rows
    cdef _Memory sq_norms
    cdef _Memory places  # of a batch that is filled from other rows; see SparseBatch
    cdef _Memory entries
    cdef readonly int64_t n
    cdef readonly int64_t d
    cdef readonly int64_t n_entries
    cdef readonly bint is_narrow

    def __cinit__(self, values, columns, const int64_t[::1] starts, int64_t d):
        cdef int verdict
        PyObject_GetBuffer(values, &self.values_buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.n_held = 1
        PyObject_GetBuffer(columns, &self.columns_buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.n_held = 2
        self.rows.is_double = self.check_buffer("values", &self.values_buffer, "f", "d")
        self.rows.is_wide = self.check_buffer("columns", &self.columns_buffer, "i", "lq")
        self.n_entries = min(self.values_buffer.shape[0], self.columns_buffer.shape[0])
        self.n = starts.shape[0] - 1
        self.d = d
        if self.n < 1 or d < 1 or self.n >= 2**31 or d >= 2**31:
            raise ValueError(
                f"points must have shape (n, d) with n and d in 1 to 2**31 - 1; got {(self.n, d)}."
            )
        self.starts = starts
        self.rows.values = self.values_buffer.buf
        self.rows.columns = self.columns_buffer.buf
        self.rows.starts = &starts[0]
        self.rows.n = self.n
        self.rows.d = d
        self.rows.scale = 0
        self.is_narrow = not self.rows.is_double
        with nogil:
            verdict = fastkm_sparse_check(&self.rows, self.n_entries)
        if verdict == 2:
            raise ValueError(f"The matrix of shape {(self.n, d)} has entries outside of it.")
        if verdict == 1:
            raise UnsortedError("The columns of every row must ascend, without duplicates.")

    cdef int check_buffer(self, str name, Py_buffer* buffer, str narrow, str wide) except -1:
        code = buffer.format.decode().lstrip("@=")
        if len(code) != 1 or code not in narrow + wide + ("l" if buffer.itemsize == 4 else ""):
            raise TypeError(f"{name} must have a native dtype of 4 or 8 bytes; got the format {code!r}.")
        if buffer.ndim != 1 or (buffer.shape[0] > 1 and buffer.strides[0] != buffer.itemsize) \
                or <uintptr_t>buffer.buf % <uintptr_t>buffer.itemsize:
            raise ValueError(f"{name} must be aligned and have 1 dimension without gaps.")
        return buffer.itemsize == 8

    cdef int set_scale(self, double scale, _SparseCrew crew) except -1:
        """Find the rows' norms in the units of the scale."""
        cdef int64_t n_blocks = (self.n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = _threads_worth(crew.n_threads, n_blocks, <double>self.n_entries)
        if self.rows.scale == scale:
            return 0
        self.sq_norms = _Memory()
        self.sq_norms.allocate(_size(self.n, 1, sizeof(double)))
        self.rows.sq_norms = <double*>self.sq_norms.start
        self.rows.scale = scale
        with nogil:
            if used == 1:
                crew.kernels.norms(&self.rows, 0, self.n)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="static"):
                    crew.kernels.norms(&self.rows, b * FASTKM_BLOCK_ROWS, min((b + 1) * FASTKM_BLOCK_ROWS, self.n))
        return 0

    def __dealloc__(self):
        if self.n_held > 0:
            PyBuffer_Release(&self.values_buffer)
        if self.n_held > 1:
            PyBuffer_Release(&self.columns_buffer)


cdef class _SparseCrew:
    """The threads of a call and each one's scratch memory: a row of zeros and a row of distances."""
    cdef const fastkm_sparse_kernels* kernels
    cdef int n_threads
    cdef _Memory scratch_memory
    cdef _Memory scratch_table
    cdef fastkm_sparse_scratch* scratches

    def __cinit__(self, int64_t d, int64_t k, int n_threads, str isa):
        cdef int t
        cdef int64_t width = d + k + 2 * FASTKM_EXACT_LANES
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}.")
        self.kernels = &_kernels(isa).sparse
        self.n_threads = n_threads if FASTKM_OPENMP else 1
        width = (width + FASTKM_EXACT_LANES - 1) // FASTKM_EXACT_LANES * FASTKM_EXACT_LANES
        self.scratch_memory = _Memory()
        self.scratch_memory.allocate(_size(self.n_threads, width, sizeof(double)), zero=True)
        self.scratch_table = _Memory()
        self.scratch_table.allocate(self.n_threads * sizeof(fastkm_sparse_scratch))
        self.scratches = <fastkm_sparse_scratch*>self.scratch_table.start
        for t in range(self.n_threads):
            self.scratches[t].dists = <double*>self.scratch_memory.start + t * width
            self.scratches[t].row = self.scratches[t].dists + (width - d)


def describe_sparse(SparsePoints points not None, const double[::1] origin, double[:, :, ::1] moments,
                    int64_t start, int64_t stop, int n_threads, str isa):
    """Write what `describe` writes, of CSR rows: entries that are not stored count as zeros."""
    cdef int64_t n_segments = moments.shape[0], d = points.d, s
    cdef const fastkm_sparse_kernels* kernels = &_kernels(isa).sparse
    if origin.shape[0] != d or moments.shape[1] != 4 or moments.shape[2] != d:
        raise ValueError("origin must have shape (d,) and moments (n_segments, 4, d).")
    if start < 0 or stop > n_segments or start > stop:
        raise ValueError(f"segments {start} to {stop} are outside 0 to {n_segments}.")
    cdef int used = _threads_worth(n_threads if FASTKM_OPENMP else 1, stop - start, 4.0 * points.n_entries)
    cdef _Memory counts = _Memory()
    counts.allocate(_size(used, d, sizeof(int64_t)))
    cdef int64_t* counts_of = <int64_t*>counts.start
    with nogil:
        if used == 1:
            for s in range(start, stop):
                _describe_sparse_segment(points, kernels, origin, moments, s, counts_of)
        else:
            for s in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=1):
                _describe_sparse_segment(points, kernels, origin, moments, s, counts_of + threadid() * d)


cdef void _describe_sparse_segment(SparsePoints points, const fastkm_sparse_kernels* kernels,
                                   const double[::1] origin, double[:, :, ::1] moments, int64_t s,
                                   int64_t* counts) noexcept nogil:
    cdef int64_t n = points.n, n_segments = moments.shape[0]
    cdef fastkm_moments target
    target.origin = &origin[0]
    target.sum = &moments[s, 0, 0]
    target.sum_sq = &moments[s, 1, 0]
    target.min = &moments[s, 2, 0]
    target.max = &moments[s, 3, 0]
    kernels.describe(&points.rows, n * s // n_segments, n * (s + 1) // n_segments, counts, &target)


# Features packed at once.
cdef enum:
    PACK_FEATURES = 1024


cdef class SparseCentroids:
    """k centroids in the layout that the kernels for CSR rows read; packed again for each new position."""
    cdef fastkm_sparse_centroids centroids
    cdef const double[:, ::1] raw
    cdef _Memory bundles
    cdef _Memory norms
    cdef _Memory columns
    cdef readonly int64_t k
    cdef readonly int64_t d

    def __cinit__(self, int64_t k, int64_t d, bint has_columns=False):
        cdef int64_t width = (k + FASTKM_EXACT_LANES - 1) // FASTKM_EXACT_LANES * FASTKM_EXACT_LANES
        if k < 1 or d < 1 or k >= 2**31:
            raise ValueError(f"centroids must have shape (k, d) with k, d >= 1; got {(k, d)}.")
        self.k = k
        self.d = d
        self.bundles = _Memory()
        self.bundles.allocate(_size(width, d, sizeof(double)))
        self.norms = _Memory()
        self.norms.allocate(_size(3, width, sizeof(double)), zero=True)
        self.centroids.k = k
        self.centroids.d = d
        self.centroids.bundles = <double*>self.bundles.start
        self.centroids.sq_norms = <double*>self.norms.start
        self.centroids.sq_norm_tails = self.centroids.sq_norms + width
        self.centroids.n_columns = <int64_t*>(self.centroids.sq_norms + 2 * width)
        self.centroids.columns = NULL
        if has_columns:
            self.columns = _Memory()
            self.columns.allocate(_size(k, d, sizeof(int32_t)))
            self.centroids.columns = <int32_t*>self.columns.start

    cdef int pack(self, const double[:, ::1] raw, double scale, _SparseCrew crew) except -1:
        cdef int64_t n_tasks = (self.d + PACK_FEATURES - 1) // PACK_FEATURES, task, j
        cdef int used = _threads_worth(crew.n_threads, n_tasks, 4.0 * self.k * self.d)
        cdef double largest = 0
        if raw.shape[0] != self.k or raw.shape[1] != self.d:
            raise ValueError(f"centroids must have shape {(self.k, self.d)}.")
        self.raw = raw
        self.centroids.raw = &raw[0, 0]
        with nogil:
            if used == 1:
                crew.kernels.pack(&self.centroids, scale, 0, self.d)
                for j in range(self.k):
                    crew.kernels.pack_norm(&self.centroids, scale, j)
            else:
                for task in prange(n_tasks + self.k, num_threads=used, schedule="dynamic", chunksize=1):
                    if task < n_tasks:
                        crew.kernels.pack(&self.centroids, scale, task * PACK_FEATURES,
                                          min(task * PACK_FEATURES + PACK_FEATURES, self.d))
                    else:
                        crew.kernels.pack_norm(&self.centroids, scale, task - n_tasks)
        for j in range(self.k):
            if self.centroids.sq_norms[j] > largest:
                largest = self.centroids.sq_norms[j]
        self.centroids.max_norm = sqrt(largest) * (1 + 2.0 ** -20)
        return 0


cdef class SparseEngine:
    """Labels, distances and sums of CSR rows under k centroids."""
    cdef SparsePoints points
    cdef SparseCentroids centroids
    cdef _SparseCrew crew
    cdef _Memory exact_counts
    cdef int64_t* n_exact_of
    cdef readonly int64_t k
    cdef double scale
    cdef double row_work

    def __cinit__(self, SparsePoints points not None, Frame frame not None, int64_t k, int n_threads, str isa):
        if frame.shift.shape[0] != points.d:
            raise ValueError(f"The frame has {frame.shift.shape[0]} features, the points {points.d}.")
        self.points = points
        self.scale = frame.frame.exact_scale
        self.k = k
        self.centroids = SparseCentroids(k, points.d)
        self.crew = _SparseCrew(points.d, k, n_threads, isa)
        points.set_scale(self.scale, self.crew)
        self.exact_counts = _Memory()
        self.exact_counts.allocate(self.crew.n_threads * FASTKM_ALIGN, zero=True)
        self.n_exact_of = <int64_t*>self.exact_counts.start
        # An entry costs about as much as four multiplications of dense rows.
        self.row_work = 4.0 * (k + 8) * (points.n_entries + points.n) / points.n

    @property
    def n_exact(self):
        """Rows decided by the direct form since the engine was made."""
        cdef int t
        return sum(self.n_exact_of[t * 8] for t in range(self.crew.n_threads))

    def set_centroids(self, const double[:, ::1] centroids):
        """Take centroids (k, d), which must not change while the engine uses them."""
        self.centroids.pack(centroids, self.scale, self.crew)

    cdef int check_centroids(self) except -1:
        if self.centroids.centroids.raw == NULL:
            raise ValueError("The engine has no centroids yet: call set_centroids first.")
        return 0

    cdef int64_t assign_block(self, const _Round* task, Sums sums, bint is_serial, int64_t b, int t) noexcept nogil:
        cdef int64_t i = task.start + b * FASTKM_BLOCK_ROWS
        cdef int64_t end = min(i + FASTKM_BLOCK_ROWS, task.stop)
        cdef fastkm_sums mine
        self.n_exact_of[t * 8] += self.crew.kernels.assign(
            &self.points.rows, &self.centroids.centroids, i, end, task.recheck, &self.crew.scratches[t],
            task.labels + i
        )
        if not task.accumulates:
            return 0
        mine = sums.sums if is_serial else sums.private_sums(t)
        return self.crew.kernels.accumulate(&self.points.rows, i, end, task.labels_old, task.labels, &mine)

    cdef int64_t accumulate_owned(self, const _Round* task, Sums sums, int64_t owner,
                                  int64_t n_owners) noexcept nogil:
        cdef fastkm_sums mine = sums.sums
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        return self.crew.kernels.accumulate(&self.points.rows, task.start, task.stop, task.labels_old,
                                            task.labels, &mine)

    def assign(self, int32_t[::1] labels, int64_t start, int64_t stop, const int32_t[::1] labels_old=None,
               Sums sums=None, bint recheck=True):
        """Label rows [start, stop); with labels_old and sums, also move the sums of rows whose label changed.

        Returns the number of changed labels, 0 without sums.
        """
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        cdef int64_t n_changed = 0, b, n_owners
        cdef int used = _threads_worth(self.crew.n_threads, n_blocks, self.row_work * (stop - start))
        cdef bint is_serial = used == 1
        _check_rows(self.points.n, labels.shape[0], start, stop)
        self.check_centroids()
        if sums is not None:
            if labels_old is None or labels_old.shape[0] != self.points.n or sums.k != self.k \
                    or sums.d != self.points.d or sums.n_threads < used:
                raise ValueError("sums and labels_old must fit the engine.")
            task.labels_old = &labels_old[0]
        task.start = start
        task.stop = stop
        task.labels = &labels[0]
        task.recheck = recheck
        task.accumulates = sums is not None and (is_serial or sums.is_private)
        with nogil:
            if is_serial:
                for b in range(n_blocks):
                    n_changed += self.assign_block(&task, sums, True, b, 0)
            else:
                if task.accumulates:
                    sums.clear_private(used)
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.assign_block(&task, sums, False, b, threadid())
                if task.accumulates:
                    sums.merge_private(used)
        if sums is not None and not task.accumulates:
            n_owners = min(<int64_t>(4 * used), self.k)
            with nogil:
                for b in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.accumulate_owned(&task, sums, b, n_owners)
            n_changed //= n_owners  # every owner counted all of them
        return n_changed

    def means(self, Sums sums not None, double[:, ::1] centroids):
        """Write the mean of each label's points into centroids (k, d); labels without points keep theirs."""
        cdef int64_t j
        cdef int used = _threads_worth(self.crew.n_threads, self.k, 8.0 * self.k * self.points.d)
        if centroids.shape[0] != sums.k or centroids.shape[1] != sums.d or sums.k != self.k:
            raise ValueError(f"centroids must have shape {(sums.k, sums.d)}.")
        with nogil:
            if used == 1:
                self.crew.kernels.means(&sums.sums, sums.d, 0, sums.k, &centroids[0, 0])
            else:
                for j in prange(sums.k, num_threads=used, schedule="dynamic", chunksize=1):
                    self.crew.kernels.means(&sums.sums, sums.d, j, j + 1, &centroids[0, 0])

    def accumulate_weighted(self, const int32_t[::1] labels, const double[::1] weights, const double[::1] shift,
                            double[:, ::1] sums, double[::1] weight_sums, int64_t start, int64_t stop,
                            double scale=1.0):
        """Add weight * x * scale of rows [start, stop) to their labels' sums (k, d), ascending; shift is zero."""
        cdef int64_t n_owners = min(<int64_t>(4 * self.crew.n_threads), self.k), owner
        cdef int used = _threads_worth(self.crew.n_threads, n_owners,
                                       4.0 * (stop - start) * (self.points.n_entries // self.points.n))
        cdef fastkm_weighted_sums target
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if weights.shape[0] != self.points.n or shift.shape[0] != self.points.d or \
                sums.shape[0] != self.k or sums.shape[1] != self.points.d or weight_sums.shape[0] != self.k:
            raise ValueError("weights, shift and sums must fit the engine.")
        target.scale = scale
        target.shift = &shift[0]
        target.sums = &sums[0, 0]
        target.weights = &weight_sums[0]
        if used == 1:
            n_owners = 1
        with nogil:
            if used == 1:
                self.weigh_owned(target, &labels[0], &weights[0], start, stop, 0, 1)
            else:
                for owner in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    self.weigh_owned(target, &labels[0], &weights[0], start, stop, owner, n_owners)

    cdef void weigh_owned(self, fastkm_weighted_sums mine, const int32_t* labels, const double* weights,
                          int64_t start, int64_t stop, int64_t owner, int64_t n_owners) noexcept nogil:
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        self.crew.kernels.accumulate_weighted(&self.points.rows, start, stop, labels, weights, &mine)

    def own_sq_dists(self, const int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Write rows [start, stop)'s squared distances to the centroids of their labels, times exact_scale^2.

        sq_dists is of these rows alone.
        """
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = _threads_worth(self.crew.n_threads, n_blocks, self.row_work / self.k * (stop - start))
        cdef double* of_all
        _check_rows(self.points.n, labels.shape[0], start, stop)
        self.check_centroids()
        if sq_dists.shape[0] != stop - start or start == stop:
            raise ValueError("sq_dists must have one value per row.")
        _check_labels(&labels[0], start, stop, self.k)
        of_all = &sq_dists[0] - start
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.own_block(&labels[0], of_all, start, stop, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.own_block(&labels[0], of_all, start, stop, b, threadid())

    def assign_and_measure(self, int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Label rows [start, stop) and write their squared distances to their centroids, times exact_scale^2.

        What assign and then own_sq_dists write, while each block of rows is in cache.
        """
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = _threads_worth(self.crew.n_threads, n_blocks, self.row_work * (stop - start))
        _check_rows(self.points.n, labels.shape[0], start, stop)
        self.check_centroids()
        if sq_dists.shape[0] != self.points.n:
            raise ValueError("sq_dists must have one value per point.")
        task.start = start
        task.stop = stop
        task.labels = &labels[0]
        task.recheck = True
        task.accumulates = False
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&task, None, True, b, 0)
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.assign_block(&task, None, True, b, threadid())
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, threadid())

    cdef int check_label(self, int32_t label, int64_t i) except -1:
        if label < 0 or label >= self.k:
            raise ValueError(f"labels must be in 0 to {self.k - 1}; got {label} in row {i}.")
        return 0

    cdef void own_block(self, const int32_t* labels, double* sq_dists, int64_t start, int64_t stop,
                        int64_t b, int t) noexcept nogil:
        cdef int64_t i = start + b * FASTKM_BLOCK_ROWS
        self.crew.kernels.own_sq_dists(&self.points.rows, &self.centroids.centroids, i,
                                       min(i + FASTKM_BLOCK_ROWS, stop), labels, &self.crew.scratches[t],
                                       sq_dists + i)

    def own_sq_dists_as_dense(self, const int32_t[::1] labels, const int64_t[::1] rows, double[::1] sq_dists):
        """Write some rows' squared distances to their labels' centroids, with the bits of dense rows; O(d) each."""
        cdef int64_t r, i
        self.check_centroids()
        if labels.shape[0] != self.points.n or sq_dists.shape[0] != self.points.n:
            raise ValueError("labels and sq_dists must have one value per point.")
        for r in range(rows.shape[0]):
            i = rows[r]
            if i < 0 or i >= self.points.n:
                raise ValueError(f"rows must be in 0 to {self.points.n - 1}; got {i}.")
            self.check_label(labels[i], i)
            sq_dists[i] = self.crew.kernels.own_sq_dist(&self.points.rows, &self.centroids.centroids, i, labels[i],
                                                        &self.crew.scratches[0])

    def distances(self, out not None, int64_t start, int64_t stop):
        """Write rows [start, stop)'s distances to all centroids into out (n, k), float32 or float64."""
        cdef int used = _threads_worth(self.crew.n_threads, stop - start, 2 * self.row_work * (stop - start))
        cdef bint is_single = False
        cdef char* target = _matrix(out, self.k, &is_single)
        cdef int64_t i
        _check_rows(self.points.n, out.shape[0], start, stop)
        self.check_centroids()
        with nogil:
            if used == 1:
                for i in range(start, stop):
                    self.distances_of(target, is_single, i, 0)
            else:
                for i in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=64):
                    self.distances_of(target, is_single, i, threadid())

    cdef void distances_of(self, char* out, bint is_single, int64_t i, int t) noexcept nogil:
        cdef const double* sq_dists = self.crew.scratches[t].dists
        cdef double unscale = 1 / self.scale
        cdef int64_t j
        self.crew.kernels.sq_dists(&self.points.rows, &self.centroids.centroids, i, &self.crew.scratches[t])
        if is_single:
            for j in range(self.k):
                (<float*>out)[i * self.k + j] = <float>(sqrt(sq_dists[j]) * unscale)
        else:
            for j in range(self.k):
                (<double*>out)[i * self.k + j] = sqrt(sq_dists[j]) * unscale


cdef class SparseSeeder:
    """Squared distances of all CSR rows to their nearest seed, and what further seeds would change."""
    cdef SparsePoints points
    cdef SparseCentroids candidates
    cdef _SparseCrew crew
    cdef const double[::1] weights
    cdef double[::1] closest
    cdef double[::1] block_sums
    cdef uint32_t[::1] masks
    cdef double[:, ::1] gains_of_blocks
    cdef _Memory errors_memory
    cdef double* errors_of
    cdef int64_t n_blocks
    cdef double scale

    def __init__(self, SparsePoints points not None, Frame frame not None, const double[::1] weights,
                 int64_t n_candidates, double[::1] closest, double[::1] block_sums, uint32_t[::1] masks,
                 double[:, ::1] gains, int n_threads, str isa):
        self.n_blocks = (points.n + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        if n_candidates < 1 or n_candidates > FASTKM_MAX_CANDIDATES:
            raise ValueError(f"n_candidates must be in 1 to {FASTKM_MAX_CANDIDATES}; got {n_candidates}.")
        if closest.shape[0] != points.n or masks.shape[0] != points.n or block_sums.shape[0] != self.n_blocks \
                or gains.shape[0] != self.n_blocks or gains.shape[1] != n_candidates \
                or (weights is not None and weights.shape[0] != points.n):
            raise ValueError("The seeder's arrays must fit the points.")
        self.points = points
        self.scale = frame.frame.exact_scale
        self.weights = weights
        self.closest = closest
        self.block_sums = block_sums
        self.masks = masks
        self.gains_of_blocks = gains
        self.errors_memory = _Memory()
        self.errors_memory.allocate(_size(self.n_blocks, n_candidates, sizeof(double)), zero=True)
        self.errors_of = <double*>self.errors_memory.start
        self.candidates = SparseCentroids(n_candidates, points.d, has_columns=True)
        self.crew = _SparseCrew(points.d, n_candidates, n_threads, isa)
        points.set_scale(self.scale, self.crew)

    def begin(self, const double[:, ::1] candidates):
        """Propose candidates where there is no seed yet: each is nearer to every row."""
        self.candidates.pack(candidates, self.scale, self.crew)
        self.masks[:] = <uint32_t>0xffffffff

    def propose(self, const double[:, ::1] candidates):
        """Find each candidate's gain: how much of the potential it would take away.

        candidates has shape (n_candidates, d) and must not change until accept. The gains of each block of rows are in
        gains (n_blocks, n_candidates), to be added in order; they are right to within `errors`.
        """
        self.candidates.pack(candidates, self.scale, self.crew)
        self.propose_blocks(False)

    def settle(self):
        """Make the last proposal's gains exact: the sums of float64 distances."""
        self.propose_blocks(True)
        memset(self.errors_of, 0, self.n_blocks * self.candidates.k * sizeof(double))

    def gains(self):
        """Return the sum of each candidate's last gains, as a list."""
        return _column_sums(&self.gains_of_blocks[0, 0], self.n_blocks, self.candidates.k)

    cdef int propose_blocks(self, bint exactly) except -1:
        cdef int64_t b
        cdef double work = 4.0 * self.points.n_entries * (self.candidates.k + 8)
        cdef int used = _threads_worth(self.crew.n_threads, self.n_blocks, work)
        cdef _Turns turns = _Turns(self.n_blocks, work)
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.propose_block(b, exactly, 0)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=1):
                        self.propose_block(b, exactly, threadid())
        return 0

    def errors(self):
        """Return what each of them may be wrong by, as a list."""
        return _column_sums(self.errors_of, self.n_blocks, self.candidates.k)

    cdef void propose_block(self, int64_t b, bint exactly, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        cdef const double* weights = NULL
        if self.weights is not None:
            weights = &self.weights[0]
        self.crew.kernels.propose(
            &self.points.rows, &self.candidates.centroids, i, min(i + FASTKM_BLOCK_ROWS, self.points.n),
            &self.closest[0], weights, exactly, &self.crew.scratches[t], &self.masks[0], &self.gains_of_blocks[b, 0],
            self.errors_of + b * self.candidates.k
        )

    def accept(self, int64_t candidate):
        """Take a proposed candidate as a seed; block_sums and closest change accordingly."""
        cdef int64_t b
        cdef double work = 4.0 * self.points.n_entries
        cdef int used = _threads_worth(self.crew.n_threads, self.n_blocks, work)
        cdef _Turns turns = _Turns(self.n_blocks, work)
        if candidate < 0 or candidate >= self.candidates.k or self.candidates.centroids.raw == NULL:
            raise ValueError(f"candidate {candidate} was not proposed.")
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.accept_block(candidate, b)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=4):
                        self.accept_block(candidate, b)

    cdef void accept_block(self, int64_t candidate, int64_t b) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS, end = min(i + FASTKM_BLOCK_ROWS, self.points.n)
        cdef double total = 0
        self.crew.kernels.accept(&self.points.rows, &self.candidates.centroids, i, end, candidate,
                                 &self.masks[0], &self.closest[0])
        if self.weights is None:
            for i in range(i, end):
                total += self.closest[i]
        else:
            for i in range(i, end):
                total += self.weights[i] * self.closest[i]
        self.block_sums[b] = total
