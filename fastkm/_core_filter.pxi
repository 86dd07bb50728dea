# Sketches of the points and bounds from them: what Engine need not measure.

cdef class Filter:
    """Sketches of points and centroids, and bounds that say which distances need no measuring.

    The bounds hold for the centroids that the engine had last; they grow as centroids drift.
    """
    cdef fastkm_filter filter
    cdef fastkm_basis basis
    cdef fastkm_sketches centroid_sketches
    cdef _Memory point_memory, basis_memory, centroid_memory
    cdef float* tiles
    cdef float* sq_norms
    cdef float* drifts
    cdef int64_t n, d, k
    cdef int64_t panel_rows

    def __cinit__(self, Points points not None, const float[:, ::1] basis, double skew, int64_t k,
                  str isa not None):
        cdef int64_t p = basis.shape[1], q, f, group, size, width = p + 1
        self.n = points.n
        self.d = points.d
        self.k = k
        if basis.shape[0] != self.d or p < 1 or k < 1:
            raise ValueError(f"basis must have shape (d, p) with d = {self.d} and p >= 1, and k be at least 1.")
        self.panel_rows = _kernels(isa).panel_rows
        cdef int64_t n_rows = (self.n + self.panel_rows - 1) // self.panel_rows * self.panel_rows
        cdef int64_t k_rows = (self.k + self.panel_rows - 1) // self.panel_rows * self.panel_rows
        self.point_memory = _Memory()
        self.point_memory.allocate(_size(n_rows, width + 3, sizeof(float)))
        self.filter.sketches.panels = <float*>self.point_memory.start
        self.filter.sketches.sq_norms = self.filter.sketches.panels + n_rows * width
        self.filter.sketches.errors = self.filter.sketches.sq_norms + n_rows
        self.filter.upper = self.filter.sketches.errors + n_rows
        self.centroid_memory = _Memory()
        self.centroid_memory.allocate(_size(k_rows, 2 * width + 4, sizeof(float)), zero=True)
        self.centroid_sketches.panels = <float*>self.centroid_memory.start
        self.centroid_sketches.sq_norms = self.centroid_sketches.panels + k_rows * width
        self.centroid_sketches.errors = self.centroid_sketches.sq_norms + k_rows
        self.tiles = self.centroid_sketches.errors + k_rows
        self.sq_norms = self.tiles + k_rows * width
        self.drifts = self.sq_norms + k_rows
        self.basis_memory = _Memory()
        self.basis_memory.allocate(_size(self.d, p, sizeof(float)))
        cdef float* packed = <float*>self.basis_memory.start
        for q in range(p):
            group = q - q % FASTKM_TILE_CENTROIDS
            size = min(p - group, <int64_t>FASTKM_TILE_CENTROIDS)
            for f in range(self.d):
                packed[group * self.d + f * size + q - group] = basis[f, q]
        self.basis.p = p
        self.basis.tiles = packed
        self.basis.skew = <float>(skew * 1.0001)
        self.filter.p = p
        self.filter.tiles = self.tiles
        self.filter.centroid_sq_norms = self.sq_norms
        self.filter.drifts = self.drifts
        self.filter.stretch = <float>(1 + 1.1 * skew + 1e-6)

    def set_upper(self, const double[::1] sq_dists, double scale):
        """Take the points' squared distances to their own centroids; scale turns their root into kernel units."""
        cdef int64_t i
        if sq_dists.shape[0] != self.n:
            raise ValueError(f"sq_dists must have shape {(self.n,)}.")
        for i in range(self.n):
            self.filter.upper[i] = <float>(sqrt(sq_dists[i]) * scale * (1 + 1e-6)) + <float>1e-37

    cdef int move(self, const double[:, ::1] old, const double[:, ::1] raw, Frame frame, _Crew crew) except -1:
        """Follow the centroids: how far each drifted, and their new sketches."""
        cdef int64_t width = self.basis.p + 1, j, f, group, size
        cdef double drift, difference, sq_norm
        cdef float max_sq_norm = 0, max_error = 0
        cdef float value
        cdef Points centroids = Points(raw)
        with nogil:
            for j in range(self.k):
                drift = 0
                for f in range(self.d):
                    difference = (raw[j, f] - old[j, f]) * frame.frame.scale
                    drift += difference * difference
                self.drifts[j] = <float>(sqrt(drift) * (1 + 1e-6)) + (<float>1e-37 if drift > 0 else 0)
            crew.kernels.sketch(&centroids.points, &frame.frame, &self.basis, 0, self.k, &crew.scratches[0],
                                &self.centroid_sketches)
            for j in range(self.k):
                group = j - j % FASTKM_TILE_CENTROIDS
                size = min(self.k - group, <int64_t>FASTKM_TILE_CENTROIDS)
                sq_norm = 0
                for f in range(width):
                    value = self.centroid_sketches.panels[
                        (j // self.panel_rows * width + f) * self.panel_rows + j % self.panel_rows
                    ]
                    self.tiles[group * width + f * size + j - group] = -2 * value
                    sq_norm += <double>value * value
                self.sq_norms[j] = <float>sq_norm
                if not self.sq_norms[j] <= max_sq_norm:
                    max_sq_norm = self.sq_norms[j]
                if not self.centroid_sketches.errors[j] <= max_error:
                    max_error = self.centroid_sketches.errors[j]
        self.filter.max_norm = <float>(sqrt(max_sq_norm) * (1 + 1e-6))
        self.filter.max_error = max_error
        return 0
