# Sketches of the points and bounds from them: what Engine need not measure.

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
        self.memory.allocate(_size(d, p, sizeof(double) + sizeof(float)))
        cdef double* directions = <double*>self.memory.start
        cdef float* tiles = <float*>(directions + d * p)
        for f in range(d):
            for q in range(p):
                group = q - q % FASTKM_TILE_CENTROIDS
                size = min(p - group, <int64_t>FASTKM_TILE_CENTROIDS)
                tiles[group * d + f * size + q - group] = columns[f, q]
                directions[f * p + q] = columns[f, q]
        self.basis.p = p
        self.basis.tiles = tiles
        self.basis.directions = directions
        self.basis.skew = 0


def orthonormalise(double[:, ::1] vectors not None, str isa not None):
    """Make the rows of vectors (n, d) orthonormal in place; returns how many there are, the others depend on them."""
    if vectors.shape[0] < 1 or vectors.shape[1] < 1:
        return 0
    return _kernels(isa).orthonormalise(&vectors[0, 0], vectors.shape[0], vectors.shape[1])


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


cdef class Filter:
    """Sketches of points and centroids, and bounds that say which distances need no measuring.

    The bounds hold for the centroids that the engine had last; they grow as centroids drift.
    """
    cdef fastkm_filter filter
    cdef Basis basis
    cdef _Memory point_memory, centroid_memory, inside_memory, product_memory
    cdef int64_t n, d, k
    cdef int64_t panel_rows
    cdef int n_threads

    def __cinit__(self, Points points not None, const float[:, :] basis not None, int64_t k, int n_threads,
                  str isa not None):
        cdef int64_t p = basis.shape[1], width = p + 1
        if basis.shape[0] != points.d or p < 1 or k < 1 or n_threads < 1:
            raise ValueError(f"basis must have shape (d, p) with d = {points.d} and p >= 1, and k be at least 1.")
        self.basis = Basis(basis)
        self.basis.basis.skew = _skew_of(basis, isa)
        self.n = points.n
        self.d = points.d
        self.k = k
        self.n_threads = n_threads
        self.panel_rows = _kernels(isa).panel_rows
        cdef int64_t n_rows = (self.n + self.panel_rows - 1) // self.panel_rows * self.panel_rows
        self.point_memory = _Memory()
        self.point_memory.allocate(_size(n_rows, width + 3, sizeof(float)))
        self.filter.sketches.panels = <float*>self.point_memory.start
        self.filter.sketches.sq_norms = self.filter.sketches.panels + n_rows * width
        self.filter.sketches.errors = self.filter.sketches.sq_norms + n_rows
        self.filter.own_rests = self.filter.sketches.errors + n_rows
        self.centroid_memory = _Memory()
        self.centroid_memory.allocate(_size(k, width + 4 + self.d, sizeof(float)))
        self.filter.centroids.tiles = <float*>self.centroid_memory.start
        self.filter.centroids.sq_norms = self.filter.centroids.tiles + k * width
        self.filter.centroids.rests = self.filter.centroids.sq_norms + k
        self.filter.centroids.errors = self.filter.centroids.rests + k
        self.filter.centroids.drifts = self.filter.centroids.errors + k
        self.filter.centroids.framed = self.filter.centroids.drifts + k
        self.inside_memory = _Memory()
        self.inside_memory.allocate(_size(k, 2 * p, sizeof(double)), zero=True)
        self.filter.centroids.inside = <double*>self.inside_memory.start
        self.product_memory = _Memory()
        self.product_memory.allocate(_size(2 * n_threads * k, self.panel_rows, sizeof(float)))
        self.filter.p = p
        self.filter.stretch = <float>(1 + 1.1 * self.basis.basis.skew + 1e-6)

    cdef float* products_of(self, int t) noexcept nogil:
        return <float*>self.product_memory.start + 2 * t * self.k * self.panel_rows

    cdef int begin(self, const int32_t[::1] labels, bint measures) except -1:
        """Take the points' labels; the centroids' sketches are there. Bound the distances by those, or say that
        nothing is known."""
        cdef int64_t i, width = self.basis.p + 1
        cdef int32_t j
        cdef float rest
        if labels.shape[0] != self.n:
            raise ValueError(f"labels must have shape {(self.n,)}.")
        for i in range(self.n):
            j = labels[i]
            if j < 0 or j >= self.k:
                raise ValueError(f"labels must be in 0 to {self.k - 1}; got {j} in row {i}.")
            rest = self.filter.sketches.panels[
                (i // self.panel_rows * width + self.basis.p) * self.panel_rows + i % self.panel_rows
            ]
            rest += self.filter.centroids.rests[j]
            rest += self.filter.sketches.errors[i] + self.filter.centroids.errors[j]
            self.filter.own_rests[i] = <float>INFINITY if measures else rest * <float>(1 + 1e-6)
        return 0

    cdef int move(self, const double[:, ::1] old, const double[:, ::1] raw, Frame frame, _Crew crew) except -1:
        """Follow the centroids from old to raw."""
        cdef int64_t n_tasks = (self.k + CENTROIDS_FOLLOWED - 1) // CENTROIDS_FOLLOWED, task, j
        cdef int used = crew.threads_for(n_tasks, 4.0 * self.k * self.d * self.basis.p)
        cdef const double* before = &old[0, 0]
        cdef const double* now = &raw[0, 0]
        cdef float max_sq_norm = 0, max_error = 0
        with nogil:
            if used == 1:
                crew.kernels.follow(&frame.frame, &self.basis.basis, now, before, self.d, self.k, 0, self.k,
                                    &self.filter.centroids)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    crew.kernels.follow(&frame.frame, &self.basis.basis, now, before, self.d, self.k,
                                        task * CENTROIDS_FOLLOWED, min((task + 1) * CENTROIDS_FOLLOWED, self.k),
                                        &self.filter.centroids)
            for j in range(self.k):
                if not self.filter.centroids.sq_norms[j] <= max_sq_norm:
                    max_sq_norm = self.filter.centroids.sq_norms[j]
                if not self.filter.centroids.errors[j] <= max_error:
                    max_error = self.filter.centroids.errors[j]
        self.filter.max_norm = <float>(sqrt(max_sq_norm) * (1 + 1e-6))
        self.filter.max_error = max_error
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
    CENTROIDS_FOLLOWED = 16
