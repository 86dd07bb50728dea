# The threads of a call: how many are worth waking, their scratch memory, and the blocks that each takes.

# What a row's label takes beside its k d multiplications, as multiplications: for each centroid, and for the row.
cdef enum:
    WORK_OF_FOLD = 5
    WORK_OF_ROW = 100


cdef double _brute_work(int64_t k, int64_t d) noexcept nogil:
    return <double>k * (d + WORK_OF_FOLD)


cdef double _row_work(int64_t k, int64_t d) noexcept nogil:
    return _brute_work(k, d) + WORK_OF_ROW


def brute_work(int64_t k, int64_t d):
    """Return what a row's products with all centroids take, and folding them, in multiplications."""
    return _brute_work(k, d)


def row_work(int64_t k, int64_t d):
    """Return what labelling a row takes in all, in multiplications."""
    return _row_work(k, d)


# What following a label takes, as multiplications, for each other one, and for a feature of the two.
cdef enum:
    WORK_TO_FOLLOW = 8000
    WORK_OF_PAIR = 160
    WORK_OF_DIFFERENCE = 4


cdef double _following_work(int64_t k, int64_t d) noexcept nogil:
    return <double>k * (WORK_TO_FOLLOW + (WORK_OF_PAIR + <double>WORK_OF_DIFFERENCE * d) * k)


def following_work(int64_t k, int64_t d):
    """Return what it takes to follow all labels for a round of leads, in multiplications."""
    return _following_work(k, d)


cdef int _threads_worth(int n_threads, int64_t n_tasks, double work) noexcept nogil:
    cdef double most = work / 1e6 + 1
    if n_threads > n_tasks:
        n_threads = <int>n_tasks
    if n_threads > most:
        n_threads = <int>most
    return threads_to_take(n_threads) if n_threads > 1 else 1


cdef class _Crew:
    """The threads of a call and each one's scratch memory."""
    cdef Points points
    cdef const fastkm_kernels* kernels
    cdef int n_threads
    cdef _Memory scratch_memory
    cdef _Memory scratch_table
    cdef fastkm_scratch* scratches

    def __cinit__(self, Points points not None, int64_t k, int n_threads, str isa not None):
        cdef int t
        if n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}.")
        self.points = points
        self.kernels = _kernels(isa)
        self.n_threads = n_threads if FASTKM_OPENMP else 1
        cdef size_t n_bytes = fastkm_scratch_bytes(self.kernels, points.d, k)
        self.scratch_memory = _Memory()
        self.scratch_memory.allocate(n_bytes * self.n_threads)
        self.scratch_table = _Memory()
        self.scratch_table.allocate(self.n_threads * sizeof(fastkm_scratch))
        self.scratches = <fastkm_scratch*>self.scratch_table.start
        for t in range(self.n_threads):
            self.scratches[t] = fastkm_scratch_in(
                self.scratch_memory.start + t * n_bytes, self.kernels, points.d, k
            )

    cdef int threads_for(self, int64_t n_tasks, double work) noexcept nogil:
        """Threads worth waking for so many tasks and, in all, so many multiplications."""
        return _threads_worth(self.n_threads, n_tasks, work)


cdef int64_t _chunk(int64_t n_blocks, int n_threads, double work) noexcept nogil:
    """Blocks handed out at once: neighbours, whose rows are prefetched; but at least eight turns a thread."""
    cdef int64_t by_work = <int64_t>(2e6 / (work / n_blocks + 1)) + 4
    cdef int64_t by_turns = n_blocks // (8 * n_threads) + 1
    return by_work if by_work < by_turns else by_turns


cdef int _check_rows(int64_t n, int64_t length, int64_t start, int64_t stop) except -1:
    if length != n or start < 0 or stop < start or stop > n or start % FASTKM_BLOCK_ROWS:
        raise ValueError(
            f"rows {start} to {stop} of arrays of length {length} do not fit {n} points in blocks."
        )
    return 0


cdef int _check_labels(const int32_t* labels, int64_t start, int64_t stop, int64_t k) except -1:
    cdef int64_t i
    cdef uint32_t n_wrong = 0  # at most n
    with nogil:
        for i in range(start, stop):
            n_wrong += <uint32_t>labels[i] >= <uint32_t>k
    for i in range(start, stop if n_wrong else start):
        if labels[i] < 0 or labels[i] >= k:
            raise ValueError(f"labels must be in 0 to {k - 1}; got {labels[i]} in row {i}.")
    return 0
