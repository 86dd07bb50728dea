# Labels round after round, but for rows whose lead is left.

cdef enum:
    LABELS_FOLLOWED = 8
    MOST_ROWS_BY_LEADS = 4096  # of a task


cdef class Leads:
    """How much farther than each row's own centroid all k others are, at least."""
    cdef _Crew crew
    cdef fastkm_leads leads
    cdef _Memory of_rows, of_labels, work_memory, list_memory
    cdef fastkm_lead_work* work
    cdef readonly int64_t k
    cdef int64_t n, d, n_passed

    def __cinit__(self, Points points not None, int64_t k, int n_threads, str isa not None):
        cdef int64_t n = points.n, d = points.d, size
        cdef double* memory
        if k < 1 or k * FASTKM_RINGS > 2**16 or n >= 2**31:
            raise ValueError(f"k must be in 1 to {2**16 // FASTKM_RINGS} and n below 2^31; got k={k}, n={n}.")
        self.crew = _Crew(points, k, n_threads, isa)
        self.n, self.d, self.k = n, d, k
        self.leads.k = k
        self.of_rows = _Memory()
        self.of_rows.allocate(_size(n, sizeof(float) + sizeof(uint16_t), 1))
        self.leads.leads = <float*>self.of_rows.start
        self.leads.slots = <uint16_t*>(self.leads.leads + n)
        size = k * FASTKM_RINGS
        self.of_labels = _Memory()
        self.of_labels.allocate(_size(k, (d + 2) * sizeof(double) + sizeof(float), 1)
                                + _size(size, 2 * sizeof(double) + 2 * sizeof(float), 1)
                                + _size(k, k, 1))
        self.leads.raw = memory = <double*>self.of_labels.start
        self.leads.drifts = memory + k * d
        self.leads.paths = self.leads.drifts + k
        self.leads.travels = self.leads.paths + k
        self.leads.reserves = self.leads.travels + size
        self.leads.limits = <float*>(self.leads.reserves + size)
        self.leads.travels_f32 = self.leads.limits + size
        self.leads.places = self.leads.travels_f32 + size
        self.leads.near_from = <uint8_t*>(self.leads.places + k)
        self.work_memory = _Memory()
        self.work_memory.allocate(self.crew.n_threads * WORK_STRIDE * sizeof(fastkm_lead_work), zero=True)
        self.work = <fastkm_lead_work*>self.work_memory.start
        self.list_memory = _Memory()
        self.list_memory.allocate(_size(self.crew.n_threads, 2 * MOST_ROWS_BY_LEADS, sizeof(int32_t)))

    cdef int begin(self, const fastkm_centroids* centroids, const fastkm_frame* frame) except -1:
        """Take the centroids; of the rows nothing is known."""
        cdef int64_t i
        memset(self.of_labels.start, 0, <char*>(self.leads.near_from + self.k * self.k) - self.of_labels.start)
        for i in range(self.k * FASTKM_RINGS):
            self.leads.reserves[i] = INFINITY
        self.leads.step = 0
        self.leads.is_known = False
        memcpy(self.leads.raw, centroids.raw, self.k * self.d * sizeof(double))
        self.n_passed = 0
        self.follow(centroids, frame)
        return 0

    cdef int follow(self, const fastkm_centroids* centroids, const fastkm_frame* frame) except -1:
        cdef bint is_complete = self.n_passed == self.n
        cdef int64_t n_tasks = (self.k + LABELS_FOLLOWED - 1) // LABELS_FOLLOWED, task
        cdef int used = self.crew.threads_for(n_tasks, _following_work(self.k, self.d))
        with nogil:
            self.crew.kernels.follow_moves(frame, centroids, is_complete, &self.crew.scratches[0], &self.leads)
            if used == 1:
                self.crew.kernels.follow_labels(frame, centroids, 0, self.k, is_complete, &self.crew.scratches[0],
                                                &self.leads)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.crew.kernels.follow_labels(frame, centroids, task * LABELS_FOLLOWED,
                                                    min((task + 1) * LABELS_FOLLOWED, self.k), is_complete,
                                                    &self.crew.scratches[threadid()], &self.leads)
        self.n_passed = 0
        return 0

    cdef void pass_over(self, int64_t start, int64_t stop) noexcept:
        """Note that rows [start, stop) are labelled."""
        if start == self.n_passed:
            self.n_passed = stop

    cdef int32_t* rows_of(self, int t) noexcept nogil:
        return <int32_t*>self.list_memory.start + t * 2 * MOST_ROWS_BY_LEADS

    cdef int32_t* moved_of(self, int t) noexcept nogil:
        """A thread's list of the rows that have changed their labels in its last block, without another place."""
        return self.rows_of(t) + MOST_ROWS_BY_LEADS

    cdef int64_t assign_block(self, const _Round* task, const fastkm_centroids* centroids, const fastkm_frame* frame,
                              int64_t start, int64_t stop, int t) noexcept nogil:
        """Label rows [start, stop) and list those that change their labels; return how many these are."""
        cdef fastkm_lead_work* work = &self.work[t * WORK_STRIDE]
        work.rows = self.rows_of(t)
        work.moved = self.moved_of(t)
        if task.moved != NULL:
            work.moved = task.moved + (start - task.start)
        work.n_moved = 0
        self.crew.kernels.assign_by_leads(&self.crew.points.points, frame, centroids, &self.leads, start, stop,
                                          task.labels_old, &self.crew.scratches[t], work, task.labels)
        return work.n_moved

    def take_work(self):
        """Return the rows whose lead was found anew and the rows decided in float64 since the last call."""
        cdef int64_t n_read = 0, n_exact = 0
        cdef int t
        for t in range(self.crew.n_threads):
            n_read += self.work[t * WORK_STRIDE].n_read
            n_exact += self.work[t * WORK_STRIDE].n_exact
            self.work[t * WORK_STRIDE].n_read = self.work[t * WORK_STRIDE].n_exact = 0
        return n_read, n_exact
