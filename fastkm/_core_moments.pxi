# Means, variances and extents of the columns, by segments of the rows.

def find_origin(Points points not None, int64_t step, double[::1] origin, str isa):
    """Write the mean of every step-th row into origin (d,); 0 where it is not finite."""
    cdef _Crew crew = _Crew(points, 1, 1, isa)
    if origin.shape[0] != points.d or step < 1:
        raise ValueError(f"origin must have shape {(points.d,)} and step be positive; got step {step}.")
    crew.kernels.find_origin(&points.points, step, crew.scratches, &origin[0])


def join_moments(const double[:, :, ::1] moments, int64_t n, const double[::1] origin, int n_bits,
                 double[:, ::1] columns, float[::1] shift_f32, str isa):
    """Write the columns' mean, variance, shift and scale of sums into columns (4, d), and the shift in float32.

    Returns whether all sums are finite, the farthest that a value is from its column's mean, and the largest magnitude.
    """
    cdef int64_t d = origin.shape[0]
    cdef fastkm_columns target
    cdef fastkm_extent extent
    if d < 1 or moments.shape[0] < 1 or moments.shape[1] != 4 or moments.shape[2] != d or columns.shape[0] != 4 \
            or columns.shape[1] != d or shift_f32.shape[0] != d:
        raise ValueError(f"moments must have shape (n_segments, 4, {d}) and columns (4, {d}).")
    target.mean = &columns[0, 0]
    target.variance = &columns[1, 0]
    target.shift = &columns[2, 0]
    target.sum_scale = &columns[3, 0]
    target.shift_f32 = &shift_f32[0]
    is_finite = _kernels(isa).join_moments(&moments[0, 0, 0], moments.shape[0], n, d, &origin[0], n_bits, &target,
                                           &extent)
    return bool(is_finite), extent.reach, extent.largest


def describe(Points points not None, const double[::1] origin, double[:, :, ::1] moments,
             int64_t start, int64_t stop, int n_threads, str isa):
    """Write the moments of segments [start, stop) of the rows into moments (n_segments, 4, d).

    Row s holds segment s's sum and sum of squares of x - origin, minimum and maximum; a value that is not finite leaves
    a sum that is not. Segments are equal shares of the rows, so the result does not depend on n_threads.
    """
    cdef int64_t n_segments = moments.shape[0], n = points.n, d = points.d, s
    if origin.shape[0] != d or moments.shape[1] != 4 or moments.shape[2] != d:
        raise ValueError("origin must have shape (d,) and moments (n_segments, 4, d).")
    if start < 0 or stop > n_segments or start > stop:
        raise ValueError(f"segments {start} to {stop} are outside 0 to {n_segments}.")
    cdef _Crew crew = _Crew(points, 1, n_threads, isa)
    cdef int used = crew.threads_for(stop - start, 16.0 * n * d)
    with nogil:
        if used == 1:
            for s in range(start, stop):
                _describe_segment(crew, origin, moments, s, 0)
        else:
            for s in prange(start, stop, num_threads=used, schedule="dynamic", chunksize=1):
                _describe_segment(crew, origin, moments, s, threadid())


cdef void _describe_segment(_Crew crew, const double[::1] origin, double[:, :, ::1] moments,
                            int64_t s, int t) noexcept nogil:
    cdef int64_t n = crew.points.n, n_segments = moments.shape[0]
    cdef fastkm_moments target
    target.origin = &origin[0]
    target.sum = &moments[s, 0, 0]
    target.sum_sq = &moments[s, 1, 0]
    target.min = &moments[s, 2, 0]
    target.max = &moments[s, 3, 0]
    crew.kernels.describe(&crew.points.points, n * s // n_segments, n * (s + 1) // n_segments,
                          &crew.scratches[t], &target)
