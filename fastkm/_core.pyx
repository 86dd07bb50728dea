"""Typed entry points over the C kernels: cheap re-checks, no GIL, OpenMP over blocks of rows.

Nothing here judges user input or decides anything: shapes and dtypes are re-checked so that a wrong call is an
exception and not a crash, memory is allocated once per object, and rows are handed to the kernels block by block.
With one thread no OpenMP call is made, so a forked child is safe.
"""

from cpython.buffer cimport (
    Py_buffer, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, rint, sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

import os
from time import perf_counter

from fastkm._kernels cimport *

include "_core_build.pxi"
include "_core_memory.pxi"
include "_core_points.pxi"
include "_core_seats.pxi"
include "_core_load.pxi"
include "_core_crew.pxi"
include "_core_turns.pxi"
include "_core_moments.pxi"
include "_core_centroids.pxi"
include "_core_sums.pxi"


cdef struct _Round:
    # One pass over some rows: where to begin, and what to write.
    int64_t start, stop
    int64_t block_rows  # of a task
    int32_t* labels
    const int32_t* labels_old
    bint recheck
    bint accumulates  # at once, block by block
    int32_t* moved  # room for rows whose labels change, each block's from its own first place on; or NULL
    int64_t* n_moved_of  # of each block


include "_core_bytes.pxi"


cdef class Engine  # whose centroids the neighbours look at
cdef class Cells  # whose rows are labelled by gaps


include "_core_filter.pxi"
include "_core_neighbours.pxi"
include "_core_gaps.pxi"
include "_core_leads.pxi"


# Share of the rows that change their labels, below which these are listed, and their sums moved after the labelling:
# where each thread would otherwise add to sums of its own at once, and where each looks through all labels.
cdef double FEW_MOVED = 0.05
cdef double MANY_MOVED = 0.5
# To list a row and move it later costs as much as so many features of a centroid in the sums of a thread's own.
cdef double COST_OF_LISTED = 5.0

# Rows are read for their labels and again for their sums: of long ones so many stay in the second-level cache.
cdef enum:
    LONG_ROW_BYTES = 1024
    BLOCK_OF_LONG_ROWS = FASTKM_BLOCK_ROWS // 4

# Rows of a task of distances: few, as each takes the time of k d multiplications.
cdef enum:
    DISTANCE_ROWS = 64


cdef char* _matrix(out, int64_t n_columns, bint* is_single) except NULL:
    """Return where out (n, n_columns), C-ordered, begins, and whether it holds float32 and not float64."""
    cdef float[:, ::1] singles
    cdef double[:, ::1] doubles
    if out.ndim != 2 or out.shape[1] != n_columns or out.shape[0] == 0:
        raise ValueError(f"out must have {n_columns} columns.")
    is_single[0] = out.itemsize == 4
    if is_single[0]:
        singles = out
        return <char*>&singles[0, 0]
    doubles = out
    return <char*>&doubles[0, 0]


def sq_shift(const double[:, ::1] centroids, const double[:, ::1] moved, str isa):
    """Return the sum of the squared differences of two arrays (k, d)."""
    cdef int64_t k = centroids.shape[0], d = centroids.shape[1]
    if k < 1 or d < 1 or moved.shape[0] != k or moved.shape[1] != d:
        raise ValueError(f"moved must have shape {(k, d)}; got {(moved.shape[0], moved.shape[1])}.")
    return _kernels(isa).sq_dist(&centroids[0, 0], &moved[0, 0], k * d, 1)


cdef class Engine:
    """Labels, distances and sums of points under k centroids."""
    cdef Points points
    cdef Frame frame
    cdef Centroids centroids
    cdef _Crew crew
    cdef Filter filter
    cdef Neighbours neighbours
    cdef CellGaps gaps
    cdef Leads leads
    cdef _Bytes bytes
    cdef bint has_bytes
    cdef _Memory exact_counts
    cdef int64_t* n_exact_of
    cdef _Memory moved_memory
    cdef readonly int64_t k
    cdef double row_work

    def __cinit__(self, Points points not None, Frame frame not None, int64_t k, int n_threads,
                  str isa not None):
        if frame.shift.shape[0] != points.d:
            raise ValueError(f"The frame has {frame.shift.shape[0]} features, the points {points.d}.")
        self.points = points
        self.frame = frame
        self.k = k
        self.centroids = Centroids(k, points.d)
        self.crew = _Crew(points, k, n_threads, isa)
        self.exact_counts = _Memory()
        self.exact_counts.allocate(self.crew.n_threads * FASTKM_ALIGN, zero=True)
        self.n_exact_of = <int64_t*>self.exact_counts.start
        self.row_work = _row_work(k, points.d)

    @property
    def in_bytes(self):
        """Whether rows are labelled by products of bytes where these pay."""
        return self.bytes is not None

    @property
    def pays_in_bytes(self):
        """Whether products of bytes are used, and panels tried last did not cost more than brute force."""
        return self.bytes is not None and _bytes_pay(&self.bytes.trial)

    @property
    def least_share_in_bytes(self):
        """Of what brute force costs, the share that products of bytes do at least, infinite where there are none."""
        return _least_share_in_bytes(self.crew, self.k, False)

    def byte_work(self):
        """Return the rows tried in bytes, those left open, and the distances listed and measured of these.

        All since use_bytes.
        """
        return (0, 0, 0, 0) if self.bytes is None else self.bytes.work()

    @property
    def n_exact(self):
        """Rows decided in float64 since the engine was made."""
        cdef int t
        return sum(self.n_exact_of[t * 8] for t in range(self.crew.n_threads))

    def set_centroids(self, const double[:, ::1] centroids):
        """Take centroids (k, d), which must not change before the engine has been given the next ones."""
        cdef const double[:, ::1] old = self.centroids.raw
        self.centroids.pack(centroids, self.frame, self.crew)
        self.has_bytes = (self.bytes is not None and self.filter is None and self.neighbours is None
                          and self.gaps is None and self.leads is None
                          and _bytes_are_due(&self.bytes.trial, &self.centroids.centroids))
        if self.has_bytes:
            self.bytes.pack(&self.centroids.centroids, &self.frame.frame)
        if self.filter is not None:
            self.filter.move(old, centroids, self.frame, self.crew)
        if self.neighbours is not None:
            self.neighbours.follow(&self.centroids.centroids)
        if self.gaps is not None:
            self.gaps.follow(&self.centroids.centroids)
        if self.leads is not None:
            self.leads.follow(&self.centroids.centroids, &self.frame.frame)

    def use_bytes(self, bint wanted=True, bint always=False):
        """Label rows by products of bytes where these pay, from the next centroids on; or do not; or always.

        Not all instruction sets have them, nor so many features.
        """
        self.bytes = None
        if wanted and _has_bytes(self.crew):
            self.bytes = _Bytes(self.k, self.points.d, self.crew, always)
        self.has_bytes = False

    def use_neighbours(self, Neighbours neighbours):
        """Label the rows cell by cell, from now on; None ends that.

        Then assign takes [start, stop) in the order of the cells, and labels the groups that begin there. After
        slices of all rows all are labelled.
        """
        if neighbours is not None:
            if neighbours.crew.points is not self.points or neighbours.frame is not self.frame \
                    or neighbours.k != self.k or neighbours.crew.kernels != self.crew.kernels \
                    or neighbours.crew.n_threads < self.crew.n_threads:
                raise ValueError("The neighbours must be of the engine's points, and for its threads.")
            if not neighbours.is_cut or neighbours.n_enclosed < neighbours.n_cells:
                raise ValueError("The neighbours must be cut into cells, and these enclosed.")
        self.check_centroids()
        self.neighbours = neighbours
        if neighbours is not None:
            self.leads = None
            neighbours.follow(&self.centroids.centroids)

    def use_gaps(self, CellGaps gaps, const int32_t[::1] labels=None):
        """Label the rows of kept cells by gaps, from now on; None ends that.

        labels are the points' last ones, -1 where they have none, which the next call to assign must be given too.
        Then assign takes [start, stop) in the order of the cells. After slices of all rows, from 0 on, all are
        labelled.
        """
        if gaps is not None:
            if gaps.cells.points is not self.points or gaps.cells.frame is not self.frame or gaps.k != self.k \
                    or gaps.crew.kernels != self.crew.kernels or gaps.crew.n_threads < self.crew.n_threads:
                raise ValueError("The gaps must be of the engine's points, and for its threads.")
            if labels is None:
                raise ValueError("Gaps begin with labels.")
            gaps.begin(labels)
            self.leads = None
        self.gaps = gaps

    def use_leads(self, Leads leads):
        """Label only rows whose lead is used up, from now on; None ends that, and so does what else leaves work out.

        Nothing is known at first. Then labels_old of assign holds the labels under the last centroids, -1 where there
        are none.
        """
        if leads is not None:
            if self.filter is not None or self.neighbours is not None or self.gaps is not None:
                raise ValueError("Leads are kept in brute force alone.")
            if leads.crew.points is not self.points or leads.k != self.k or leads.crew.kernels != self.crew.kernels \
                    or leads.crew.n_threads < self.crew.n_threads:
                raise ValueError("The leads must be of the engine's points, and for its threads.")
            self.check_centroids()
            leads.begin(&self.centroids.centroids, &self.frame.frame)
            self.has_bytes = False
        self.leads = leads

    def use_filter(self, Filter filter, const int32_t[::1] labels=None):
        """Leave out what the filter excludes, from now on; None ends that.

        labels are the points' last ones, which the next call to assign must be given too. All rows must be sketched
        before it.
        """
        self.check_centroids()
        if filter is not None:
            self.check_filter(filter)
            if labels is None:
                raise ValueError("A filter begins with labels.")
            filter.move(self.centroids.raw, self.centroids.raw, self.frame, self.crew)
            filter.begin(labels)
            self.leads = None
        self.filter = filter

    cdef int check_filter(self, Filter filter) except -1:
        if filter.n != self.points.n or filter.d != self.points.d or filter.k != self.k \
                or filter.panel_rows != self.crew.kernels.panel_rows or filter.n_threads < self.crew.n_threads:
            raise ValueError("The filter must fit the engine.")
        return 0

    def sketch(self, int64_t start, int64_t stop):
        """Sketch rows [start, stop) for the filter, and measure their distances to their labels' centroids.

        Sketches of an earlier run stay.
        """
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used
        if self.filter is None or self.filter.labels is None:
            raise ValueError("There is no filter to sketch for: call use_filter first.")
        used = self.crew.threads_for(n_blocks, <double>(stop - start) * self.points.d * self.filter.basis.p)
        _check_rows(self.points.n, self.filter.n, start, stop)
        with nogil:
            if used == 1:
                self.sketch_rows(start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.sketch_rows(start + b * FASTKM_BLOCK_ROWS,
                                     min(start + (b + 1) * FASTKM_BLOCK_ROWS, stop), threadid())

    cdef void sketch_rows(self, int64_t start, int64_t stop, int t) noexcept nogil:
        if self.filter.is_sketched:
            self.crew.kernels.measure_rows(&self.points.points, &self.frame.frame, start, stop,
                                           &self.filter.labels[0], &self.crew.scratches[t], &self.filter.filter)
        else:
            self.crew.kernels.sketch_rows(&self.points.points, &self.frame.frame, &self.filter.basis.basis, start,
                                          stop, &self.filter.labels[0], &self.crew.scratches[t],
                                          self.filter.panel_of(t), &self.filter.filter)

    def filter_work(self):
        """Return the products in sketches, the rows read, the distances measured and the rows labelled by force.

        Of all passes since the last call.
        """
        cdef int64_t[4] total = [0, 0, 0, 0]
        cdef int t, item
        for t in range(self.crew.n_threads):
            for item in range(4):
                total[item] += self.n_exact_of[t * 8 + 1 + item]
                self.n_exact_of[t * 8 + 1 + item] = 0
        return total[0], total[1], total[2], total[3]

    cdef int64_t label_block(self, const _Round* task, int64_t i, int64_t end, int t) noexcept nogil:
        """Label rows [i, end); return how many change their labels, if there is a place to list them."""
        cdef fastkm_filter_work work
        if self.filter is None and self.has_bytes and task.recheck:
            self.n_exact_of[t * 8] += self.crew.kernels.assign_bytes(
                &self.points.points, &self.frame.frame, &self.centroids.centroids,
                &self.bytes.trial.centroids, NULL, i, end, &self.crew.scratches[t], &self.bytes.trial.works[t],
                task.labels + i
            )
            return self.list_moved(task, i, end)
        if self.leads is not None:
            return self.leads.assign_block(task, &self.centroids.centroids, &self.frame.frame, i, end, t)
        if self.filter is None:
            self.n_exact_of[t * 8] += self.crew.kernels.assign(
                &self.points.points, &self.frame.frame, &self.centroids.centroids, i, end, task.recheck,
                &self.crew.scratches[t], task.labels + i
            )
            return self.list_moved(task, i, end)
        work.panel = self.filter.panel_of(t)
        work.products = self.filter.products_of(t)
        work.tiles = self.filter.tiles_of(t)
        work.moved = NULL
        if task.moved != NULL:
            work.moved = task.moved + (i - task.start)
        work.n_moved = work.n_products = work.n_rows_read = work.n_distances = work.n_forced_rows = 0
        self.crew.kernels.assign_filtered(
            &self.points.points, &self.frame.frame, &self.centroids.centroids, &self.filter.filter, i, end,
            task.labels_old, &self.crew.scratches[t], &work, task.labels
        )
        self.n_exact_of[t * 8 + 1] += work.n_products
        self.n_exact_of[t * 8 + 2] += work.n_rows_read
        self.n_exact_of[t * 8 + 3] += work.n_distances
        self.n_exact_of[t * 8 + 4] += work.n_forced_rows
        return work.n_moved

    cdef int check_centroids(self) except -1:
        if self.centroids.centroids.raw == NULL:
            raise ValueError("The engine has no centroids yet: call set_centroids first.")
        return 0

    cdef int64_t assign_block(self, const _Round* task, Sums sums, bint is_serial, int64_t b, int t) noexcept nogil:
        cdef int64_t i = task.start + b * task.block_rows
        cdef int64_t end = min(i + task.block_rows, task.stop)
        cdef int64_t n_moved = self.label_block(task, i, end, t)
        cdef const int32_t* moved = NULL
        cdef fastkm_sums mine
        if task.moved != NULL:
            task.n_moved_of[b] = n_moved
        if not task.accumulates:
            return 0
        mine = sums.sums if is_serial else sums.private_sums(t)
        if task.moved != NULL:
            moved = task.moved + (i - task.start)
        elif self.leads is not None:
            moved = self.leads.moved_of(t)
        return self.accumulate(task, &mine, i, end, moved, n_moved, t)

    cdef int64_t accumulate(self, const _Round* task, const fastkm_sums* sums, int64_t start, int64_t stop,
                            const int32_t* moved, int64_t n_moved, int t) noexcept nogil:
        """Move the sums of rows [start, stop), or of those that have moved if not NULL; return how many changed."""
        if moved == NULL:
            return self.crew.kernels.accumulate(&self.points.points, start, stop, task.labels_old, task.labels,
                                                &self.crew.scratches[t], sums)
        return self.crew.kernels.accumulate_listed(&self.points.points, moved, n_moved, task.labels_old, task.labels,
                                                   &self.crew.scratches[t], sums)

    cdef int64_t accumulate_owned(self, const _Round* task, Sums sums, int64_t n_listed, int64_t owner,
                                  int64_t n_owners, int t) noexcept nogil:
        cdef fastkm_sums mine = sums.owned(owner, n_owners)
        return self.accumulate(task, &mine, task.start, task.stop, task.moved, n_listed, t)

    cdef int64_t list_moved(self, const _Round* task, int64_t start, int64_t stop) noexcept nogil:
        """List which of the rows change their labels; return how many, 0 without a list."""
        cdef int32_t* moved = task.moved + (start - task.start)
        cdef int64_t i, n_moved = 0
        if task.moved == NULL:
            return 0
        for i in range(start, stop):
            moved[n_moved] = <int32_t>i
            n_moved += task.labels[i] != task.labels_old[i]
        return n_moved

    cdef int64_t move_listed(self, const _Round* task, int64_t n_blocks, Sums sums, int used) noexcept nogil:
        """Move the sums of the rows that blocks have listed; return how many these are."""
        cdef int64_t n_moved = 0, b, owner, n_owners
        for b in range(n_blocks):
            memmove(task.moved + n_moved, task.moved + b * task.block_rows, task.n_moved_of[b] * sizeof(int32_t))
            n_moved += task.n_moved_of[b]
        used = _threads_worth(used, self.k, 4.0 * n_moved * self.points.d)
        if used == 1:
            self.accumulate(task, &sums.sums, task.start, task.stop, task.moved, n_moved, 0)
        else:
            n_owners = min(<int64_t>(4 * used), self.k)
            for owner in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                self.accumulate_owned(task, sums, n_moved, owner, n_owners, threadid())
        return n_moved

    def assign(self, int32_t[::1] labels, int64_t start, int64_t stop, const int32_t[::1] labels_old=None,
               Sums sums=None, bint recheck=True):
        """Label rows [start, stop); with labels_old and sums, also move the sums of rows whose label changed.

        With a filter, [start, stop) is of its order, and labels_old holds the labels under the last centroids;
        without labels_old, labels does. With neighbours, see use_neighbours.
        Returns the number of changed labels, 0 without sums.
        """
        cdef _Round task
        cdef int64_t block_rows = self.rows_at_once(stop - start)
        cdef int64_t n_blocks = (stop - start + block_rows - 1) // block_rows
        cdef int64_t n_changed = 0, b, n_owners, chunk
        cdef double work = self.row_work * (stop - start)
        cdef int used = self.crew.threads_for(n_blocks, work)
        cdef bint is_serial = used == 1, few_move
        self.check_centroids()
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sums is not None:
            if labels_old is None or labels_old.shape[0] != self.points.n or sums.k != self.k \
                    or sums.d != self.points.d or sums.n_threads < used:
                raise ValueError("sums and labels_old must fit the engine.")
        if labels_old is not None and labels_old.shape[0] != self.points.n:
            raise ValueError("labels_old must have one label per point.")
        task.labels_old = &labels[0]
        if labels_old is not None:
            task.labels_old = &labels_old[0]
        if self.filter is not None:
            self.filter.check_labels(task.labels_old, start, stop, used)
        task.start = start
        task.stop = stop
        task.block_rows = block_rows
        task.labels = &labels[0]
        task.recheck = recheck
        task.moved = NULL
        task.accumulates = sums is not None and (is_serial or sums.is_private)
        if sums is not None and self.gaps is None and self.neighbours is None:
            few_move = sums.share_moved < (FEW_MOVED if task.accumulates else MANY_MOVED)
            if task.accumulates and COST_OF_LISTED * sums.share_moved * (stop - start) >= 1.0 * used * self.k * sums.d:
                few_move = False
            task.accumulates = task.accumulates and not few_move
            if few_move or self.filter is not None:  # which lists them in passing
                self.make_list(&task, n_blocks)
        if self.leads is not None:
            self.leads.pass_over(start, stop)
        if self.gaps is not None:
            return self.gaps.assign(&task, &self.centroids.centroids, sums)
        if self.neighbours is not None:
            return self.neighbours.assign(&task, &self.centroids.centroids, sums, used)
        with nogil:
            if is_serial:
                for b in range(n_blocks):
                    n_changed += self.assign_block(&task, sums, True, b, 0)
            else:
                chunk = _chunk(n_blocks, used, work)
                if task.accumulates:
                    sums.clear_private(used)
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    n_changed += self.assign_block(&task, sums, False, b, threadid())
                if task.accumulates:
                    sums.merge_private(used)
        if task.moved != NULL and not task.accumulates:
            n_changed = self.move_listed(&task, n_blocks, sums, used)
        elif sums is not None and not task.accumulates:
            n_owners = min(<int64_t>(4 * used), self.k)
            with nogil:
                for b in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.accumulate_owned(&task, sums, 0, b, n_owners, threadid())
            n_changed //= n_owners  # every owner counted all of them
        if sums is not None:
            sums.share_moved = <double>n_changed / max(stop - start, 1)
        return n_changed

    cdef int64_t rows_at_once(self, int64_t n_rows) noexcept nogil:
        """Rows of a task."""
        if self.filter is not None:
            return self.filter.rows_at_once(n_rows)
        if self.leads is not None:
            return _rows_of_gaps(n_rows, self.crew.n_threads, MOST_ROWS_BY_LEADS)
        if self.points.d * self.points.buffer.itemsize > LONG_ROW_BYTES:
            return BLOCK_OF_LONG_ROWS
        return FASTKM_BLOCK_ROWS

    cdef int make_list(self, _Round* task, int64_t n_blocks) except -1:
        if self.moved_memory is None:
            self.moved_memory = _Memory()
            self.moved_memory.allocate(_size(self.points.n, 1, sizeof(int32_t)) + FASTKM_ALIGN
                                       + _size(self.points.n // BLOCK_OF_LONG_ROWS + 1, 1, sizeof(int64_t)))
        task.n_moved_of = <int64_t*>self.moved_memory.start
        task.moved = <int32_t*>(task.n_moved_of + n_blocks)
        return 0

    def assign_and_measure(self, int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Label rows [start, stop) and write their squared distances to their centroids, times exact_scale^2.

        What assign and then own_sq_dists write, while each block of rows is in cache.
        """
        cdef _Round task
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b, chunk
        cdef double work = self.row_work * (stop - start)
        cdef int used = self.crew.threads_for(n_blocks, work)
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sq_dists.shape[0] != self.points.n:
            raise ValueError("sq_dists must have one value per point.")
        task.start = start
        task.stop = stop
        task.block_rows = FASTKM_BLOCK_ROWS
        task.labels = &labels[0]
        task.labels_old = task.labels
        task.recheck = True
        task.moved = NULL
        task.accumulates = False
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.assign_block(&task, None, True, b, 0)
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, 0)
            else:
                chunk = _chunk(n_blocks, used, work)
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=chunk):
                    self.assign_block(&task, None, True, b, threadid())
                    self.own_block(task.labels, &sq_dists[0], start, stop, b, threadid())

    def means(self, Sums sums not None, double[:, ::1] centroids):
        """Write the mean of each label's points into centroids (k, d); labels without points keep theirs."""
        cdef int64_t step = MEANS_AT_ONCE, n_tasks = (self.k + step - 1) // step, task
        cdef int used = self.crew.threads_for(n_tasks, 256.0 * self.k * self.points.d)
        if centroids.shape[0] != sums.k or centroids.shape[1] != sums.d or sums.k != self.k:
            raise ValueError(f"centroids must have shape {(sums.k, sums.d)}.")
        with nogil:
            if used == 1:
                self.crew.kernels.means(&sums.sums, sums.d, 0, sums.k, &centroids[0, 0])
            else:
                for task in prange(n_tasks, num_threads=used, schedule="static"):
                    self.crew.kernels.means(&sums.sums, sums.d, task * step, min(task * step + step, sums.k),
                                            &centroids[0, 0])

    def accumulate_weighted(self, const int32_t[::1] labels, const double[::1] weights, const double[::1] shift,
                            double[:, ::1] sums, double[::1] weight_sums, int64_t start, int64_t stop,
                            double scale=1.0):
        """Add weight * (x * scale - shift) of rows [start, stop) to their labels' sums (k, d), in ascending order."""
        cdef int64_t n_owners = min(<int64_t>(4 * self.crew.n_threads), self.k), owner
        cdef int used = self.crew.threads_for(n_owners, (stop - start) * _row_work(4, self.points.d))
        cdef fastkm_weighted_sums target
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if weights.shape[0] != self.points.n or shift.shape[0] != self.points.d or \
                sums.shape[0] != self.k or sums.shape[1] != self.points.d or weight_sums.shape[0] != self.k:
            raise ValueError("weights, shift and sums must fit the engine.")
        target.scale = scale
        target.shift = &shift[0]
        target.sums = &sums[0, 0]
        target.weights = &weight_sums[0]
        if used == 1:
            n_owners = 1
        with nogil:
            if used == 1:
                self.weigh_owned(target, &labels[0], &weights[0], start, stop, 0, 1, 0)
            else:
                for owner in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    self.weigh_owned(target, &labels[0], &weights[0], start, stop, owner, n_owners, threadid())

    cdef void weigh_owned(self, fastkm_weighted_sums mine, const int32_t* labels, const double* weights,
                          int64_t start, int64_t stop, int64_t owner, int64_t n_owners, int t) noexcept nogil:
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        self.crew.kernels.accumulate_weighted(&self.points.points, start, stop, labels, weights,
                                              &self.crew.scratches[t], &mine)

    def own_sq_dists(self, const int32_t[::1] labels, double[::1] sq_dists, int64_t start, int64_t stop):
        """Write rows [start, stop)'s squared distances to the centroids of their labels, times exact_scale^2.

        sq_dists is of these rows alone.
        """
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, (stop - start) * _row_work(4, self.points.d))
        cdef double* of_all
        self.check_centroids()
        _check_rows(self.points.n, labels.shape[0], start, stop)
        if sq_dists.shape[0] != stop - start or start == stop:
            raise ValueError("sq_dists must have one value per row.")
        _check_labels(&labels[0], start, stop, self.k)
        of_all = &sq_dists[0] - start
        with nogil:
            if used == 1:
                for b in range(n_blocks):
                    self.own_block(&labels[0], of_all, start, stop, b, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=4):
                    self.own_block(&labels[0], of_all, start, stop, b, threadid())

    cdef void own_block(self, const int32_t* labels, double* sq_dists, int64_t start, int64_t stop,
                        int64_t b, int t) noexcept nogil:
        cdef int64_t i = start + b * FASTKM_BLOCK_ROWS
        self.crew.kernels.own_sq_dists(
            &self.points.points, &self.frame.frame, &self.centroids.centroids, i,
            min(i + FASTKM_BLOCK_ROWS, stop), labels, &self.crew.scratches[t], sq_dists + i
        )

    def distances(self, out not None, int64_t start, int64_t stop):
        """Write rows [start, stop)'s distances to all centroids into out (n, k), float32 or float64."""
        cdef int64_t n_blocks = (stop - start + DISTANCE_ROWS - 1) // DISTANCE_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, self.row_work * (stop - start))
        cdef bint is_single = False
        cdef char* target = _matrix(out, self.k, &is_single)
        self.check_centroids()
        _check_rows(self.points.n, out.shape[0], start, stop)
        with nogil:
            if used == 1:
                self.distances_of(target, is_single, start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.distances_of(target, is_single, start + b * DISTANCE_ROWS,
                                      min(start + (b + 1) * DISTANCE_ROWS, stop), threadid())

    cdef void distances_of(self, char* out, bint is_single, int64_t start, int64_t stop, int t) noexcept nogil:
        cdef int64_t itemsize = 4 if is_single else 8
        self.crew.kernels.distances(&self.points.points, &self.frame.frame, &self.centroids.centroids, start, stop,
                                    &self.crew.scratches[t], is_single, out + start * self.k * itemsize)


# ---- mini-batches, k-means++, runs of small problems, CSR rows, silhouettes ---------------------------------

include "_core_beside.pxi"
include "_core_batch.pxi"
include "_core_seeding.pxi"
include "_core_seeders_beside.pxi"
include "_core_cells.pxi"
include "_core_solo.pxi"
include "_core_solo_seeding.pxi"
include "_core_cell_seeding.pxi"
include "_core_sparse.pxi"
include "_core_sparse_batch.pxi"
include "_core_silhouette.pxi"
