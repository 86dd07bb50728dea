# First rounds of several runs, side by side.

cdef class EnginesBeside:
    """Engines of several runs on the same points, each block of which is loaded once for all."""
    cdef list engines
    cdef Engine first  # counts the exact decisions of all
    cdef fastkm_labelling* runs
    cdef fastkm_sums* sums
    cdef _Memory run_memory, sums_memory
    cdef int64_t n_runs

    def __cinit__(self, engines):
        cdef Engine engine
        self.engines = list(engines)
        if not self.engines:
            raise ValueError("There must be an engine.")
        self.n_runs = len(self.engines)
        self.first = self.engines[0]
        for engine in self.engines:
            if engine.points is not self.first.points or engine.frame is not self.first.frame \
                    or engine.crew.kernels != self.first.crew.kernels or engine.k != self.first.k \
                    or engine.crew.n_threads != self.first.crew.n_threads:
                raise ValueError("Engines side by side must be of the same points, threads and number of clusters.")
            engine.check_centroids()
        self.run_memory = _Memory()
        self.run_memory.allocate(_size(self.n_runs, 1, sizeof(fastkm_labelling)), zero=True)
        self.runs = <fastkm_labelling*>self.run_memory.start
        self.sums_memory = _Memory()
        self.sums_memory.allocate(_size(self.n_runs * (self.first.crew.n_threads + 1), 1, sizeof(fastkm_sums)),
                                  zero=True)
        self.sums = <fastkm_sums*>self.sums_memory.start

    def assign(self, labels, sums, const int32_t[::1] none, int64_t start, int64_t stop):
        """Label rows [start, stop) for every engine, and add them to its sums.

        labels and sums are a list each, of what Engine.assign takes; sums that a thread each holds. none is -1 for
        every point: they had no labels before.
        """
        cdef int32_t[::1] of_run
        cdef Sums own
        cdef Engine engine
        cdef int64_t n = self.first.points.n, n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS
        cdef int64_t b, r
        cdef double work = self.first.row_work * self.n_runs * (stop - start)
        cdef int used = self.first.crew.threads_for(n_blocks, work), t
        cdef int64_t chunk = _chunk(n_blocks, used, work)
        _check_rows(n, none.shape[0], start, stop)
        for r, (engine, of_run, own) in enumerate(zip(self.engines, labels, sums, strict=True)):
            if of_run.shape[0] != n or own.k != self.first.k or own.d != self.first.points.d \
                    or own.n_threads < used or not own.is_private:
                raise ValueError("labels and sums must fit the engines.")
            self.runs[r].centroids = &engine.centroids.centroids
            self.runs[r].labels = &of_run[0]
            if used == 1:
                self.sums[r] = own.sums
                continue
            own.clear_private(used)
            for t in range(used):
                self.sums[t * self.n_runs + r] = own.private_sums(t)
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&none[0], start + b * FASTKM_BLOCK_ROWS, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    self.assign_block(&none[0], start + b * FASTKM_BLOCK_ROWS, stop, threadid())
        if used > 1:
            for own in sums:
                own.merge_private(used)

    cdef void assign_block(self, const int32_t* none, int64_t i, int64_t stop, int t) noexcept nogil:
        cdef int64_t end = min(i + FASTKM_BLOCK_ROWS, stop), r
        cdef int64_t* n_exact = self.first.n_exact_of + t * 8
        n_exact[0] += self.first.crew.kernels.assign_beside(
            &self.first.points.points, &self.first.frame.frame, self.runs, self.n_runs, i, end,
            &self.first.crew.scratches[t]
        )
        for r in range(self.n_runs):
            self.first.crew.kernels.accumulate(&self.first.points.points, i, end, none, self.runs[r].labels,
                                               &self.first.crew.scratches[t], &self.sums[t * self.n_runs + r])
