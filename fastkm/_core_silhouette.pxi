# Mean distances of rows to the rows of each cluster.

# Targets packed at once, which share a second-level cache with a panel, and a task's panels, for which they are packed.
cdef enum:
    MOST_TARGET_BYTES = 1 << 18
    MOST_TARGETS = 256 * FASTKM_TILE_CENTROIDS
    MOST_TASK_BYTES = 1 << 22
    MOST_TASK_ROWS = 1024


cdef class Silhouette:
    """How far some rows, the queries, are from the others of their cluster and from the nearest other cluster.

    order (n,) has the rows of each cluster together, and begins (k + 1,) says where; each of the queries has a cluster.
    A task is queries [task_begins[t], task_begins[t + 1]), and origins (n_tasks, d) are near them; all share a scale.
    """
    cdef _Crew crew
    cdef fastkm_silhouette queries
    cdef fastkm_silhouette_scratch* own
    cdef const int32_t[::1] order, rows, clusters
    cdef const int64_t[::1] begins, task_begins
    cdef const double[:, ::1] origins
    cdef const float[:, ::1] origins_f32
    cdef double scale
    cdef _Memory results, own_memory, own_table
    cdef readonly int64_t n_queries, n_tasks, targets_at_once

    def __cinit__(self, Points points not None, const int32_t[::1] order, const int64_t[::1] begins,
                  const int32_t[::1] rows, const int32_t[::1] clusters, const int64_t[::1] task_begins,
                  const double[:, ::1] origins, const float[:, ::1] origins_f32, double scale, int n_threads,
                  str isa not None):
        cdef int64_t k = begins.shape[0] - 1, m = rows.shape[0]
        self.crew = _Crew(points, 1, n_threads, isa)
        self.order, self.begins, self.rows, self.clusters = order, begins, rows, clusters
        self.task_begins, self.origins, self.origins_f32, self.scale = task_begins, origins, origins_f32, scale
        self.n_queries = m
        self.n_tasks = task_begins.shape[0] - 1
        if k < 1 or order.shape[0] != points.n or clusters.shape[0] != m or m < 1 or self.n_tasks < 1:
            raise ValueError("order must have all rows, clusters one for each query, and neither may be empty.")
        if origins.shape[0] != self.n_tasks or origins_f32.shape[0] != self.n_tasks or origins.shape[1] != points.d \
                or origins_f32.shape[1] != points.d:
            raise ValueError(f"origins must have shape {(self.n_tasks, points.d)}.")
        _check_indices("order", order, points.n)
        _check_indices("rows", rows, points.n)
        _check_indices("clusters", clusters, k)
        _check_begins("begins", begins, points.n, points.n)
        _check_begins("task_begins", task_begins, m, self.task_rows(points.d))
        self.place()

    @staticmethod
    def task_rows(int64_t d):
        """Return the most queries that a task may have for d features."""
        cdef int64_t rows = MOST_TASK_BYTES // (4 * d) // 64 * 64
        return max(64, min(rows, MOST_TASK_ROWS))

    cdef int place(self) except -1:
        cdef int64_t d = self.crew.points.d, rows = self.task_rows(d), t
        cdef int64_t targets = MOST_TARGET_BYTES // (4 * d) // FASTKM_TILE_CENTROIDS * FASTKM_TILE_CENTROIDS
        cdef float* memory
        cdef double* results
        targets = max(<int64_t>FASTKM_TILE_CENTROIDS, min(targets, <int64_t>MOST_TARGETS))
        self.targets_at_once = targets
        self.results = _Memory()
        self.results.allocate(_size(4, self.n_queries, sizeof(double)), zero=True)
        results = <double*>self.results.start
        self.queries.order, self.queries.begins = &self.order[0], &self.begins[0]
        self.queries.queries, self.queries.clusters = &self.rows[0], &self.clusters[0]
        self.queries.sums, self.queries.own = results, results + self.n_queries
        self.queries.other, self.queries.reaches = results + 2 * self.n_queries, results + 3 * self.n_queries
        for t in range(self.n_queries):
            self.queries.other[t] = INFINITY
        cdef int64_t size = (targets + rows) * (d + 1)
        size = (size + 15) // 16 * 16
        self.own_memory = _Memory()
        self.own_memory.allocate(_size(self.crew.n_threads, size, sizeof(float)))
        self.own_table = _Memory()
        self.own_table.allocate(self.crew.n_threads * sizeof(fastkm_silhouette_scratch))
        self.own = <fastkm_silhouette_scratch*>self.own_table.start
        for t in range(self.crew.n_threads):
            memory = <float*>self.own_memory.start + t * size
            self.own[t].n_targets = targets
            self.own[t].panels = memory
            self.own[t].norms = memory + rows * d
            self.own[t].tiles = self.own[t].norms + rows
            self.own[t].target_norms = self.own[t].tiles + targets * d
        return 0

    def measure(self, int64_t t_begin, int64_t t_end, int64_t p_begin, int64_t p_end):
        """Add the distances of tasks [t_begin, t_end) to the rows at places [p_begin, p_end), after all before."""
        cdef int64_t t
        if not 0 <= t_begin < t_end <= self.n_tasks or not 0 <= p_begin < p_end <= self.crew.points.n \
                or p_begin % self.targets_at_once:
            raise ValueError(f"tasks {t_begin} to {t_end} or places {p_begin} to {p_end} are none.")
        cdef double work = <double>(self.task_begins[t_end] - self.task_begins[t_begin]) * (p_end - p_begin)
        cdef int used = self.crew.threads_for(t_end - t_begin, work * (self.crew.points.d + 8))
        with nogil:
            if used == 1:
                for t in range(t_begin, t_end):
                    self.measure_task(t, p_begin, p_end, 0)
            else:
                for t in prange(t_begin, t_end, num_threads=used, schedule="dynamic", chunksize=1):
                    self.measure_task(t, p_begin, p_end, threadid())

    cdef void measure_task(self, int64_t t, int64_t p_begin, int64_t p_end, int thread) noexcept nogil:
        cdef fastkm_frame frame
        frame.shift = &self.origins[t, 0]
        frame.shift_f32 = &self.origins_f32[t, 0]
        frame.scale = self.scale
        frame.exact_scale = 1
        self.crew.kernels.silhouette(&self.crew.points.points, &frame, &self.queries, self.task_begins[t],
                                     self.task_begins[t + 1], p_begin, p_end, &self.crew.scratches[thread],
                                     &self.own[thread])

    def take(self, double[::1] own, double[::1] other, double[::1] reaches):
        """Write the queries' mean distances within their cluster and to the nearest other, and from the origins."""
        cdef size_t n_bytes = self.n_queries * sizeof(double)
        if own.shape[0] != self.n_queries or other.shape[0] != self.n_queries or reaches.shape[0] != self.n_queries:
            raise ValueError(f"own, other and reaches must have shape {(self.n_queries,)}.")
        memcpy(&own[0], self.queries.own, n_bytes)
        memcpy(&other[0], self.queries.other, n_bytes)
        memcpy(&reaches[0], self.queries.reaches, n_bytes)


cdef int _check_indices(str name, const int32_t[::1] indices, int64_t n) except -1:
    cdef int64_t i
    for i in range(indices.shape[0]):
        if not 0 <= indices[i] < n:
            raise ValueError(f"{name} must be in 0 to {n - 1}; got {indices[i]}.")
    return 0


cdef int _check_begins(str name, const int64_t[::1] begins, int64_t n, int64_t most) except -1:
    """Raise unless begins cut [0, n) into parts of 1 to most."""
    cdef int64_t i, size
    for i in range(begins.shape[0] - 1):
        size = begins[i + 1] - begins[i]
        if size < 1 or size > most:
            raise ValueError(f"{name} must cut {n} rows into parts of 1 to {most}; got one of {size}.")
    if begins[0] != 0 or begins[begins.shape[0] - 1] != n:
        raise ValueError(f"{name} must begin at 0 and end at {n}.")
    return 0
