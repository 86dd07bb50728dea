# Passes that are one call each, and as long as X is large, answer Ctrl-C between their turns.

# What a turn is to take, and the multiplications per second that are assumed of the first: few, so that it is short.
cdef double SECONDS_OF_TURN = 0.025
cdef double FIRST_RATE = 4e9


cdef class _Turns:
    """Ranges of a pass's tasks; every one is timed for the next, and Python's signals are handled between two."""
    cdef int64_t n_tasks, start, stop
    cdef double work_of_task, rate, begun

    def __cinit__(self, int64_t n_tasks, double work):
        self.n_tasks = n_tasks
        self.work_of_task = (work + 1) / max(n_tasks, 1)
        self.rate = FIRST_RATE

    cdef bint next(self) except -1:
        """Move start and stop to the next range, if any is left; raise what a signal's handler raises."""
        cdef double now
        cdef int64_t n_done = self.stop - self.start
        self.start = self.stop
        if self.start == self.n_tasks:
            return False
        now = perf_counter()
        if n_done > 0:
            PyErr_CheckSignals()
            self.rate = n_done * self.work_of_task / max(now - self.begun, 1e-6)
        self.stop = self.start + max(1, <int64_t>min(SECONDS_OF_TURN * self.rate / self.work_of_task,
                                                     <double>(self.n_tasks - self.start)))
        self.begun = now
        return True
