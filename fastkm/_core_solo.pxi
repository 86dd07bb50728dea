# Runs of Lloyd's algorithm, many rounds a call: several side by side on a thread each, or one on several threads.

cdef extern from *:
    """
    #if FASTKM_OPENMP
    static int team_size(void) { return omp_get_num_threads(); }
    static void wait_for_team(void) {
        #pragma omp barrier
    }
    #else
    static int team_size(void) { return 1; }
    static void wait_for_team(void) { }
    #endif
    """
    int team_size() nogil
    void wait_for_team() nogil


cdef enum:
    ROWS_OF_UNIT = 64  # shares of rows are of whole panels, and of whole cache lines of labels
    # Each thread's own sums cost as much an item, which comes from another core's cache, as so many labels looked at.
    COST_OF_OWN_ITEM = 20
    COST_OF_MOVED = 8  # of a row that changes its label, in the same unit, and 1 a feature


cdef struct _Solo:
    # What a run reads and writes; of two arrays, the round of an even number writes the first.
    const fastkm_kernels* kernels
    const fastkm_points* points
    const fastkm_frame* frame
    const fastkm_panels* panels
    fastkm_scratch* scratches
    fastkm_centroids packed
    _ByteTrial* bytes  # NULL where the points' codes are not kept
    fastkm_sums sums
    fastkm_sums* own_sums  # (n_threads,) of what a round moves in a thread's rows; NULL where they would be too large
    int64_t* own_changed
    double* positions[2]
    int32_t* labels[2]
    double* sq_dists
    double tol
    int64_t n_iter, n_changed
    bint is_in_bytes, is_strict, is_over, is_to_repair, is_labelled
    bint is_crowded  # a share was so late that its thread had no CPU


cdef void _pack_alone(const fastkm_kernels* kernels, const fastkm_frame* frame, fastkm_centroids* packed,
                      const double* raw) noexcept nogil:
    cdef int64_t j = 0
    cdef float norm, max_norm = 0
    packed.raw = raw
    while j < packed.k:
        norm = kernels.pack(frame, packed, j, min(<int64_t>(j + PACKED_AT_ONCE), packed.k))
        j += PACKED_AT_ONCE
        if not norm <= max_norm:
            max_norm = norm
    packed.max_norm = max_norm


cdef int _threads_of_solos(int n_threads, int64_t n_solos) except -1:
    if n_threads < 1 or n_solos < 1:
        raise ValueError(f"n_threads and the number of runs must be at least 1; got {n_threads} and {n_solos}.")
    return <int>min(<int64_t>n_threads, n_solos) if FASTKM_OPENMP else 1


cdef int64_t _solo_first_row(const _Solo* solo, int share, int n_shares) noexcept nogil:
    cdef int64_t n_units = (solo.points.n + ROWS_OF_UNIT - 1) // ROWS_OF_UNIT
    return min(n_units * share // n_shares * ROWS_OF_UNIT, solo.points.n)


cdef void _solo_pack(_Solo* solo, const double* positions) noexcept nogil:
    _pack_alone(solo.kernels, solo.frame, &solo.packed, positions)
    solo.is_in_bytes = solo.bytes != NULL and _bytes_are_due(solo.bytes, &solo.packed)
    if solo.is_in_bytes:
        solo.kernels.pack_bytes(solo.frame, &solo.packed, &solo.bytes.centroids, 0, solo.packed.k)


cdef void _solo_label(_Solo* solo, int32_t* labels, int share, int n_shares) noexcept nogil:
    cdef int64_t i = _solo_first_row(solo, share, n_shares), end
    cdef int64_t stop = _solo_first_row(solo, share + 1, n_shares)
    while i < stop:
        end = min(<int64_t>(i + FASTKM_BLOCK_ROWS), stop)
        if solo.is_in_bytes:
            solo.kernels.assign_bytes(solo.points, solo.frame, &solo.packed, &solo.bytes.centroids, solo.panels, i,
                                      end, solo.scratches + share, solo.bytes.works + share, labels + i)
        else:
            solo.kernels.assign_kept(solo.points, solo.frame, &solo.packed, solo.panels, i, end,
                                     solo.scratches + share, labels + i)
        i = end


cdef void _solo_end_round(_Solo* solo) noexcept nogil:
    cdef double shift = solo.kernels.sq_dist(solo.positions[0], solo.positions[1], solo.packed.k * solo.packed.d, 1)
    solo.is_to_repair = False
    solo.is_strict = solo.n_changed == 0
    solo.is_over = solo.is_strict or shift <= solo.tol


cdef bint _solo_sums_in_shares(const _Solo* solo, int n_shares) noexcept nogil:
    """Whether each thread is to sum its own rows, as many of which move as did before; else one thread sums all."""
    cdef int64_t cost = solo.points.n + (COST_OF_MOVED + solo.points.d) * solo.n_changed
    cdef int64_t n_items = n_shares * _items_of_sums(solo.packed.k, solo.packed.d)
    return n_shares > 1 and solo.own_sums != NULL and cost > COST_OF_OWN_ITEM * n_items


cdef int64_t _solo_sum(_Solo* solo, int64_t i, int64_t stop, int thread, const fastkm_sums* sums) noexcept nogil:
    cdef int before = solo.n_iter % 2
    return solo.kernels.accumulate(solo.points, i, stop, solo.labels[before], solo.labels[1 - before],
                                   solo.scratches + thread, sums)


cdef void _solo_sum_share(_Solo* solo, int share, int n_shares) noexcept nogil:
    cdef fastkm_sums* sums = solo.own_sums + share
    _clear_sums(sums, solo.packed.k, solo.packed.d)
    solo.own_changed[share] = _solo_sum(solo, _solo_first_row(solo, share, n_shares),
                                        _solo_first_row(solo, share + 1, n_shares), share, sums)


cdef void _solo_add_shares(_Solo* solo, int n_shares) noexcept nogil:
    cdef int share
    solo.n_changed = 0
    for share in range(n_shares):
        solo.n_changed += solo.own_changed[share]
        _add_sums(solo.own_sums + share, solo.packed.k, solo.packed.d, &solo.sums)


cdef void _solo_update(_Solo* solo) noexcept nogil:
    cdef int64_t j
    solo.n_iter += 1
    solo.kernels.means(&solo.sums, solo.packed.d, 0, solo.packed.k, solo.positions[solo.n_iter % 2])
    for j in range(solo.packed.k):
        solo.is_to_repair |= solo.sums.counts[j] == 0
    if not solo.is_to_repair:
        _solo_end_round(solo)


cdef bint _solo_goes_on(const _Solo* solo, int64_t n_iter) noexcept nogil:
    return not (solo.is_over or solo.is_to_repair or solo.is_crowded) and solo.n_iter < n_iter


cdef void _solo_prepare_round(_Solo* solo, int64_t n_iter) noexcept nogil:
    if _solo_goes_on(solo, n_iter):
        _solo_pack(solo, solo.positions[solo.n_iter % 2])


cdef void _solo_resume(_Solo* solo, int64_t n_iter) noexcept nogil:
    if solo.is_to_repair:
        _solo_end_round(solo)
    _solo_prepare_round(solo, n_iter)


cdef void _solo_advance(_Solo* solo, int64_t n_iter, int share, int n_shares) noexcept nogil:
    """A thread's part of the rounds up to n_iter, to the run's end, to where it must be repaired or to a late share."""
    cdef bint in_shares
    cdef int64_t waits_since
    while _solo_goes_on(solo, n_iter):
        in_shares = _solo_sums_in_shares(solo, n_shares)
        _solo_label(solo, solo.labels[1 - solo.n_iter % 2], share, n_shares)
        if in_shares:
            _solo_sum_share(solo, share, n_shares)
        if n_shares > 1:
            waits_since = time_now()
            wait_for_team()
            if share == 0:
                solo.is_crowded = is_kept_waiting(waits_since)
        if share == 0:
            if in_shares:
                _solo_add_shares(solo, n_shares)
            else:
                solo.n_changed = _solo_sum(solo, 0, solo.points.n, 0, &solo.sums)
            _solo_update(solo)
            _solo_prepare_round(solo, n_iter)
        if n_shares > 1:
            wait_for_team()


cdef void _solo_settle(_Solo* solo, bint is_single) noexcept nogil:
    cdef int now = solo.n_iter % 2
    cdef double* final = solo.positions[now]
    cdef const double* labelled_by = solo.positions[1 - now]
    cdef int64_t value
    solo.is_labelled = solo.is_strict
    for value in range(solo.packed.k * solo.packed.d):
        if is_single:
            final[value] = <float>final[value]
        solo.is_labelled &= final[value] == labelled_by[value]
    solo.packed.raw = final
    if not solo.is_labelled:
        _solo_pack(solo, final)


cdef void _solo_measure(_Solo* solo, int64_t n_iter, int share, int n_shares) noexcept nogil:
    """A thread's part of the labels and distances under the settled centroids; n_iter is as all parts have it."""
    cdef int32_t* labels = solo.labels[solo.n_iter % 2]
    cdef int64_t i = _solo_first_row(solo, share, n_shares)
    if not solo.is_labelled:
        _solo_label(solo, labels, share, n_shares)
    solo.kernels.own_sq_dists(solo.points, solo.frame, &solo.packed, i, _solo_first_row(solo, share + 1, n_shares),
                              labels, solo.scratches + share, solo.sq_dists + i)


# What a thread does of a run, all of it or its share: (run, n_iter, share, n_shares).
ctypedef void (*_solo_part)(_Solo*, int64_t, int, int) noexcept nogil


cdef class SoloRun:
    """A run over points that are kept as panels; every label's rows are summed exactly."""
    cdef _Solo solo
    cdef _Crew crew
    cdef _Bytes bytes  # or None
    cdef tuple held
    cdef tuple label_arrays
    cdef tuple position_arrays

    def __cinit__(self, Points points not None, Frame frame not None, Panels panels not None,
                  const double[::1] sum_scale, double low_scale, positions, labels, double[::1] sq_dists,
                  double tol, int n_threads, str isa not None):
        cdef double[:, ::1] first = positions[0], second = positions[1]
        cdef int32_t[::1] even = labels[0], odd = labels[1]
        cdef int64_t n = points.n, d = points.d, k = first.shape[0]
        if panels.points is not points or frame.shift.shape[0] != d or sum_scale.shape[0] != d:
            raise ValueError("The panels, the frame and the scale must be of the points.")
        if first.shape[1] != d or second.shape[0] != k or second.shape[1] != d:
            raise ValueError(f"positions must be two arrays of shape (k, {d}).")
        if even.shape[0] != n or odd.shape[0] != n or sq_dists.shape[0] != n:
            raise ValueError(f"labels and sq_dists must have length {n}.")
        cdef Centroids centroids = Centroids(k, d)
        cdef Sums sums = Sums(k, sum_scale, low_scale, n_threads)
        cdef _Memory own_sums = _Memory(), own_changed = _Memory()
        cdef int t
        self.crew = _Crew(points, k, n_threads, isa)
        self.held = (points, frame, panels, centroids, sums, sq_dists, own_sums, own_changed)
        if panels.panels.codes != NULL:
            self.bytes = _Bytes(k, d, self.crew, panels.is_always)
            self.solo.bytes = &self.bytes.trial
        self.position_arrays = tuple(positions)
        self.label_arrays = tuple(labels)
        self.solo.kernels = self.crew.kernels
        self.solo.points = &points.points
        self.solo.frame = &frame.frame
        self.solo.panels = &panels.panels
        self.solo.scratches = self.crew.scratches
        self.solo.packed = centroids.centroids
        self.solo.sums = sums.sums
        self.solo.n_changed = n
        if self.crew.n_threads > 1 and sums.is_private:
            own_sums.allocate(_size(self.crew.n_threads, 1, sizeof(fastkm_sums)))
            own_changed.allocate(_size(self.crew.n_threads, 1, sizeof(int64_t)))
            self.solo.own_sums = <fastkm_sums*>own_sums.start
            self.solo.own_changed = <int64_t*>own_changed.start
            for t in range(self.crew.n_threads):
                self.solo.own_sums[t] = sums.private_sums(t)
        self.solo.positions = [&first[0, 0], &second[0, 0]]
        self.solo.labels = [&even[0], &odd[0]]
        self.solo.sq_dists = &sq_dists[0]
        self.solo.tol = tol

    @property
    def n_iter(self):
        """Rounds so far."""
        return self.solo.n_iter

    @property
    def is_over(self):
        """Whether the labels or the centroids have come to rest."""
        return self.solo.is_over

    @property
    def is_strict(self):
        """Whether the last round changed no label."""
        return self.solo.is_strict

    @property
    def is_to_repair(self):
        """Whether the last round left a label without points: its centroid is to be set before the next call."""
        return self.solo.is_to_repair

    @property
    def labels(self):
        """Labels of the last round."""
        return self.label_arrays[self.solo.n_iter % 2]

    @property
    def centroids(self):
        """Where the last round put the centroids."""
        return self.position_arrays[self.solo.n_iter % 2]

    @property
    def labelled_by(self):
        """The centroids that the last round's labels are of."""
        return self.position_arrays[1 - self.solo.n_iter % 2]

    def byte_work(self):
        """Return what Engine.byte_work does, of all rounds so far."""
        return (0, 0, 0, 0) if self.bytes is None else self.bytes.work()

    def counts(self, int64_t[::1] out not None):
        """Write the number of points of each label into out (k,)."""
        cdef int64_t j
        if out.shape[0] != self.solo.packed.k:
            raise ValueError(f"out must have shape {(self.solo.packed.k,)}.")
        for j in range(self.solo.packed.k):
            out[j] = self.solo.sums.counts[j]


cdef class SoloRuns:
    """Runs side by side, each on a thread of its own; or one run, whose rows all threads share."""
    cdef tuple runs
    cdef _Memory table
    cdef _Solo** solos
    cdef int n_threads

    def __cinit__(self, runs, int n_threads):
        cdef SoloRun run
        cdef int64_t index
        self.runs = tuple(runs)
        self.n_threads = _threads_of_solos(n_threads, len(self.runs))
        self.table = _Memory()
        self.table.allocate(_size(len(self.runs), 1, sizeof(_Solo*)))
        self.solos = <_Solo**>self.table.start
        for index, run in enumerate(self.runs):
            self.solos[index] = &run.solo
        if len(self.runs) == 1:
            self.n_threads = min(n_threads, run.crew.n_threads)

    cdef int take_part(self, _solo_part part, int64_t n_iter) except -1:
        cdef int64_t n_runs = len(self.runs), index
        cdef int used = threads_to_take(self.n_threads)
        with nogil:
            if used == 1:
                for index in range(n_runs):
                    part(self.solos[index], n_iter, 0, 1)
            else:
                with parallel(num_threads=used):
                    if n_runs == 1:
                        part(self.solos[0], n_iter, threadid(), team_size())
                    else:
                        for index in prange(n_runs, schedule="dynamic", chunksize=1):
                            part(self.solos[index], n_iter, 0, 1)
        return 0

    def advance(self, int64_t n_iter):
        """Take each run to its round n_iter, to its end or to where it must be repaired."""
        cdef _Solo* shared = self.solos[0]
        cdef int64_t index
        for index in range(len(self.runs)):
            _solo_resume(self.solos[index], n_iter)
        self.take_part(_solo_advance, n_iter)
        if shared.is_crowded:
            shared.is_crowded = False
            with nogil:
                _solo_prepare_round(shared, n_iter)
                _solo_advance(shared, n_iter, 0, 1)

    def finish(self, bint is_single):
        """Round the centroids to float32 if asked to; label and measure the points under them."""
        cdef int64_t index
        for index in range(len(self.runs)):
            _solo_settle(self.solos[index], is_single)
        self.take_part(_solo_measure, self.solos[0].n_iter)
