# The points and their coordinates.

cdef dict _DTYPES = {
    ("f", 2): FASTKM_F16, ("f", 4): FASTKM_F32, ("f", 8): FASTKM_F64,
    ("i", 1): FASTKM_I8, ("u", 1): FASTKM_U8, ("i", 2): FASTKM_I16, ("u", 2): FASTKM_U16,
    ("i", 4): FASTKM_I32, ("u", 4): FASTKM_U32, ("i", 8): FASTKM_I64, ("u", 8): FASTKM_U64,
}


cdef class Points:
    """X where the user keeps it: any numeric dtype and strides, read-only or not, never copied."""
    cdef Py_buffer buffer
    cdef bint is_held
    cdef fastkm_points points
    cdef readonly int64_t n
    cdef readonly int64_t d
    cdef readonly bint is_narrow

    def __cinit__(self, X):
        PyObject_GetBuffer(X, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        self.is_held = True
        if self.buffer.ndim != 2:
            raise ValueError(f"points must have 2 dimensions; got {self.buffer.ndim}.")
        code = self.buffer.format.decode().lstrip("@=")
        kind = "f" if code in "efd" else "i" if code in "bhilqn" else "u" if code in "?BHILQN" else ""
        dtype = _DTYPES.get((kind, self.buffer.itemsize))
        if len(code) != 1 or dtype is None:
            raise TypeError(f"points must have a native real dtype; got the format {code!r}.")
        self.n = self.buffer.shape[0]
        self.d = self.buffer.shape[1]
        if self.n < 1 or self.d < 1 or self.n >= 2**31:
            raise ValueError(
                f"points must have shape (n, d) with 1 <= n < 2**31 and d >= 1; got {(self.n, self.d)}."
            )
        self.points.base = <const char*>self.buffer.buf
        self.points.n = self.n
        self.points.d = self.d
        self.points.row_stride = self.buffer.strides[0]
        self.points.col_stride = self.buffer.strides[1]
        self.points.dtype = dtype
        self.is_narrow = dtype in (
            FASTKM_F16, FASTKM_F32, FASTKM_I8, FASTKM_U8, FASTKM_I16, FASTKM_U16
        )

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.buffer)


cdef class Frame:
    """Coordinates of the kernels: (x - shift) * scale in float32, x * exact_scale in float64."""
    cdef const double[::1] shift
    cdef const float[::1] shift_f32
    cdef fastkm_frame frame

    def __init__(self, const double[::1] shift, const float[::1] shift_f32, double scale,
                 double exact_scale):
        if shift.shape[0] != shift_f32.shape[0]:
            raise ValueError("shift and shift_f32 must have the same length.")
        self.shift = shift
        self.shift_f32 = shift_f32
        self.frame.shift = &shift[0]
        self.frame.shift_f32 = &shift_f32[0]
        self.frame.scale = scale
        self.frame.exact_scale = exact_scale
