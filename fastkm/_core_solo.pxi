# Runs of Lloyd's algorithm on one thread each, several rounds a call and several runs side by side.

cdef struct _Solo:
    # What a run reads and writes; of two arrays, the round of an even number writes the first.
    const fastkm_kernels* kernels
    const fastkm_points* points
    const fastkm_frame* frame
    const fastkm_panels* panels
    fastkm_scratch* scratch
    fastkm_centroids packed
    fastkm_sums sums
    double* positions[2]
    int32_t* labels[2]
    double* sq_dists
    double tol
    int64_t n_iter, n_changed
    bint is_strict, is_over, is_to_repair


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


cdef void _solo_label(_Solo* solo, int32_t* labels) noexcept nogil:
    cdef int64_t i = 0, end
    while i < solo.points.n:
        end = min(<int64_t>(i + FASTKM_BLOCK_ROWS), solo.points.n)
        solo.kernels.assign_kept(solo.points, solo.frame, &solo.packed, solo.panels, i, end, solo.scratch, labels + i)
        i = end


cdef void _solo_end_round(_Solo* solo) noexcept nogil:
    cdef double shift = solo.kernels.sq_dist(solo.positions[0], solo.positions[1], solo.packed.k * solo.packed.d, 1)
    solo.is_to_repair = False
    solo.is_strict = solo.n_changed == 0
    solo.is_over = solo.is_strict or shift <= solo.tol


cdef void _solo_round(_Solo* solo) noexcept nogil:
    cdef int64_t j
    cdef int before = solo.n_iter % 2, now = 1 - before
    solo.n_iter += 1
    _pack_alone(solo.kernels, solo.frame, &solo.packed, solo.positions[before])
    _solo_label(solo, solo.labels[now])
    solo.n_changed = solo.kernels.accumulate(
        solo.points, 0, solo.points.n, solo.labels[before], solo.labels[now], solo.scratch, &solo.sums
    )
    solo.kernels.means(&solo.sums, solo.packed.d, 0, solo.packed.k, solo.positions[now])
    for j in range(solo.packed.k):
        solo.is_to_repair |= solo.sums.counts[j] == 0
    if not solo.is_to_repair:
        _solo_end_round(solo)


cdef void _solo_advance(_Solo* solo, int64_t n_iter) noexcept nogil:
    if solo.is_to_repair:
        _solo_end_round(solo)
    while not (solo.is_over or solo.is_to_repair) and solo.n_iter < n_iter:
        _solo_round(solo)


cdef void _solo_finish(_Solo* solo, bint is_single) noexcept nogil:
    cdef int now = solo.n_iter % 2
    cdef double* final = solo.positions[now]
    cdef const double* labelled_by = solo.positions[1 - now]
    cdef bint is_labelled = solo.is_strict
    cdef int64_t value
    for value in range(solo.packed.k * solo.packed.d):
        if is_single:
            final[value] = <float>final[value]
        is_labelled &= final[value] == labelled_by[value]
    solo.packed.raw = final
    if not is_labelled:
        _pack_alone(solo.kernels, solo.frame, &solo.packed, final)
        _solo_label(solo, solo.labels[now])
    solo.kernels.own_sq_dists(solo.points, solo.frame, &solo.packed, 0, solo.points.n, solo.labels[now],
                              solo.scratch, solo.sq_dists)


cdef class SoloRun:
    """A run of one thread over points that are kept as panels; every label's rows are summed exactly."""
    cdef _Solo solo
    cdef tuple held
    cdef tuple label_arrays
    cdef tuple position_arrays

    def __cinit__(self, Points points not None, Frame frame not None, Panels panels not None,
                  const double[::1] sum_scale, double low_scale, positions, labels, double[::1] sq_dists,
                  double tol, str isa not None):
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
        cdef Sums sums = Sums(k, sum_scale, low_scale, 1)
        cdef _Crew crew = _Crew(points, k, 1, isa)
        self.held = (points, frame, panels, centroids, sums, crew, sq_dists)
        self.position_arrays = tuple(positions)
        self.label_arrays = tuple(labels)
        self.solo.kernels = crew.kernels
        self.solo.points = &points.points
        self.solo.frame = &frame.frame
        self.solo.panels = &panels.panels
        self.solo.scratch = crew.scratches
        self.solo.packed = centroids.centroids
        self.solo.sums = sums.sums
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

    def counts(self, int64_t[::1] out not None):
        """Write the number of points of each label into out (k,)."""
        cdef int64_t j
        if out.shape[0] != self.solo.packed.k:
            raise ValueError(f"out must have shape {(self.solo.packed.k,)}.")
        for j in range(self.solo.packed.k):
            out[j] = self.solo.sums.counts[j]


cdef class SoloRuns:
    """Runs side by side, each on a thread of its own."""
    cdef tuple runs
    cdef _Memory table
    cdef _Solo** solos
    cdef fastkm_seats seats
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

    def advance(self, int64_t n_iter):
        """Take each run to its round n_iter, to its end or to where it must be repaired."""
        cdef int64_t n_runs = len(self.runs), index
        cdef int used = threads_to_take(self.n_threads)
        with nogil:
            if used == 1:
                for index in range(n_runs):
                    _solo_advance(self.solos[index], n_iter)
            else:
                open_seats(&self.seats, used)
                with parallel(num_threads=used):
                    take_seat(&self.seats, threadid())
                    for index in prange(n_runs, schedule="dynamic", chunksize=1):
                        _solo_advance(self.solos[index], n_iter)

    def finish(self, bint is_single):
        """Round the centroids to float32 if asked to; label and measure the points under them."""
        cdef int64_t n_runs = len(self.runs), index
        cdef int used = threads_to_take(self.n_threads)
        with nogil:
            if used == 1:
                for index in range(n_runs):
                    _solo_finish(self.solos[index], is_single)
            else:
                open_seats(&self.seats, used)
                with parallel(num_threads=used):
                    take_seat(&self.seats, threadid())
                    for index in prange(n_runs, schedule="dynamic", chunksize=1):
                        _solo_finish(self.solos[index], is_single)
