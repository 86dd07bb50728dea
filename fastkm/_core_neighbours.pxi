# Cells of near rows, and the centroids that can be nearest to any of them.

cdef enum:
    N_PARTS = 1 << FASTKM_MAX_HALVINGS
    CELLS_AT_ONCE = 16
    WORK_STRIDE = 8  # a cache line or more between the threads


cdef class Neighbours:
    """Rows in cells of near ones, in boxes that hold them.

    Made for the rows' labels, which say what is near at first: next find_parts of all rows, cut, and enclose all
    cells. From then on no label matters, and the cells hold for any centroids.
    """
    cdef fastkm_cells cells
    cdef _Crew crew
    cdef Frame frame
    cdef _Memory order, cell_begins, boxes, centroid_columns, own_memory, own_table, work_memory
    cdef _Memory label_begins, listed, parts, plans, means
    cdef fastkm_cell_scratch* own
    cdef fastkm_cell_work* work
    cdef int64_t* begins
    cdef int64_t n, d
    cdef readonly int64_t k, n_groups, n_cells
    cdef int64_t n_enclosed
    cdef bint is_cut

    def __cinit__(self, Points points not None, Frame frame not None, const int32_t[::1] labels not None,
                  int64_t k, int n_threads, str isa not None):
        if k < 1 or frame.shift.shape[0] != points.d:
            raise ValueError(f"k must be at least 1 and the frame have {points.d} features; got k={k}.")
        self.crew = _Crew(points, k, n_threads, isa)
        self.frame = frame
        self.n, self.d, self.k = points.n, points.d, k
        self.work_memory = _Memory()
        self.work_memory.allocate(self.crew.n_threads * WORK_STRIDE * sizeof(fastkm_cell_work), zero=True)
        self.work = <fastkm_cell_work*>self.work_memory.start
        self.list_by_label(labels)
        self.plan()
        self.parts = _Memory()
        self.parts.allocate(_size(self.n, 1, sizeof(uint16_t)), zero=True)

    cdef int place_columns(self) except -1:
        cdef int64_t d = self.d, stride = (self.k + FASTKM_ALIGN - 1) // FASTKM_ALIGN * FASTKM_ALIGN, t
        cdef int64_t width = 2 * d + 8
        cdef float* memory
        cdef int32_t* indices
        self.centroid_columns = _Memory()
        self.centroid_columns.allocate(_size(stride, d + 4, sizeof(float)), zero=True)
        self.set_columns(&self.cells.table, <float*>self.centroid_columns.start, stride)
        indices = self.cells.table.indices
        for t in range(self.k):
            indices[t] = <int32_t>t
        # What fills the last vector is no one's nearest.
        for t in range(self.k, stride):
            self.cells.table.sq_norms[t] = INFINITY
        self.cells.table.k = self.k
        self.own_table = _Memory()
        self.own_table.allocate(self.crew.n_threads * sizeof(fastkm_cell_scratch))
        self.own = <fastkm_cell_scratch*>self.own_table.start
        self.own_memory = _Memory()
        self.own_memory.allocate(_size(self.crew.n_threads, stride * width + 2 * d + FASTKM_ALIGN, sizeof(float)),
                                 zero=True)
        for t in range(self.crew.n_threads):
            memory = <float*>self.own_memory.start + t * (stride * width + (2 * d + 15) // 16 * 16)
            self.set_columns(&self.own[t].table, memory, stride)
            memory += stride * (d + 4)
            self.own[t].products = memory
            self.own[t].sq_norms = memory + stride
            self.own[t].lists[0] = <int32_t*>(memory + 2 * stride)
            self.own[t].lists[1] = <int32_t*>(memory + 3 * stride)
            self.own[t].tiles = memory + 4 * stride
            self.own[t].box = memory + (4 + d) * stride
        return 0

    cdef void set_columns(self, fastkm_transposed* table, float* memory, int64_t stride) noexcept:
        table.stride = stride
        table.columns = memory
        table.sq_norms = memory + self.d * stride
        table.fixed = table.sq_norms + stride
        table.growing = table.fixed + stride
        table.indices = <int32_t*>(table.growing + stride)

    cdef int list_by_label(self, const int32_t[::1] labels) except -1:
        """List the rows of each label, ascending, and where each label's begin."""
        cdef int32_t* rows
        cdef int64_t* begins
        cdef int64_t i
        self.check_labels(labels, 0, self.n)
        self.label_begins = _Memory()
        self.label_begins.allocate(_size(self.k + 2, 1, sizeof(int64_t)), zero=True)
        self.begins = begins = <int64_t*>self.label_begins.start
        self.listed = _Memory()
        self.listed.allocate(_size(self.n, 1, sizeof(int32_t)))
        rows = <int32_t*>self.listed.start
        with nogil:
            for i in range(self.n):
                begins[labels[i] + 2] += 1
            for i in range(2, self.k + 2):
                begins[i] += begins[i - 1]
            # Each label's beginning, which filling turns into its end.
            for i in range(self.n):
                rows[begins[labels[i] + 1]] = <int32_t>i
                begins[labels[i] + 1] += 1
        return 0

    cdef int check_labels(self, const int32_t[::1] labels, int64_t start, int64_t stop) except -1:
        _check_rows(self.n, labels.shape[0], start, stop)
        return _check_labels(&labels[0], start, stop, self.k)

    cdef int plan(self) except -1:
        """Decide how each label's rows are cut."""
        cdef int used = self.crew.threads_for(self.k, 64.0 * FASTKM_CELL_ROWS * self.k * self.d)
        cdef int64_t j
        self.plans = _Memory()
        self.plans.allocate(_size(self.k, 1, sizeof(fastkm_cell_plan)))
        self.means = _Memory()
        self.means.allocate(_size(self.k + self.crew.n_threads, self.d, sizeof(double)))
        with nogil:
            if used == 1:
                for j in range(self.k):
                    self.plan_label(j, 0)
            else:
                for j in prange(self.k, num_threads=used, schedule="dynamic", chunksize=8):
                    self.plan_label(j, threadid())
        return 0

    cdef void plan_label(self, int64_t j, int t) noexcept nogil:
        cdef double* means = <double*>self.means.start
        self.crew.kernels.plan_cells(&self.crew.points.points, <int32_t*>self.listed.start + self.begins[j],
                                     self.begins[j + 1] - self.begins[j], &self.crew.scratches[t],
                                     means + j * self.d, means + (self.k + t) * self.d,
                                     <fastkm_cell_plan*>self.plans.start + j)

    def find_parts(self, const int32_t[::1] labels, int64_t start, int64_t stop):
        """Find in which of its label's parts each of rows [start, stop) lies; labels as they were."""
        cdef int64_t n_blocks = (stop - start + FASTKM_BLOCK_ROWS - 1) // FASTKM_BLOCK_ROWS, b
        cdef int used = self.crew.threads_for(n_blocks, 64.0 * (stop - start))
        self.check_labels(labels, start, stop)
        self.check_is_open()
        with nogil:
            if used == 1:
                self.find_parts_of(&labels[0], start, stop, 0)
            else:
                for b in prange(n_blocks, num_threads=used, schedule="dynamic", chunksize=16):
                    self.find_parts_of(&labels[0], start + b * FASTKM_BLOCK_ROWS,
                                       min(start + (b + 1) * FASTKM_BLOCK_ROWS, stop), threadid())

    cdef void find_parts_of(self, const int32_t* labels, int64_t start, int64_t stop, int t) noexcept nogil:
        self.crew.kernels.find_parts(&self.crew.points.points, <fastkm_cell_plan*>self.plans.start,
                                     <double*>self.means.start, labels, start, stop, &self.crew.scratches[t],
                                     <uint16_t*>self.parts.start)

    cdef int check_is_open(self) except -1:
        if self.is_cut:
            raise ValueError("The rows have been cut into cells already.")
        return 0

    def cut(self):
        """Cut the rows, of which all parts have been found, into cells and groups."""
        cdef int64_t j, c
        cdef int used = self.crew.threads_for(self.k, 64.0 * self.n)
        cdef _Memory counts = _Memory()
        self.check_is_open()
        self.order = _Memory()
        self.order.allocate(_size(self.n, 1, sizeof(int32_t)))
        counts.allocate(_size(self.crew.n_threads, N_PARTS + 1, sizeof(int32_t)))
        with nogil:
            if used == 1:
                for j in range(self.k):
                    self.sort_label(j, <int32_t*>counts.start)
            else:
                for j in prange(self.k, num_threads=used, schedule="dynamic", chunksize=1):
                    self.sort_label(j, <int32_t*>counts.start + threadid() * (N_PARTS + 1))
        self.n_cells = self.n_groups = 0
        for j in range(self.k):
            c = (self.begins[j + 1] - self.begins[j] + FASTKM_CELL_ROWS - 1) // FASTKM_CELL_ROWS
            self.n_cells += c
            self.n_groups += (c + FASTKM_GROUP_CELLS - 1) // FASTKM_GROUP_CELLS
        self.cell_begins = _Memory()
        self.cell_begins.allocate(_size(self.n_cells + self.n_groups + 2, 1, sizeof(int64_t)))
        self.boxes = _Memory()
        self.boxes.allocate(_size(self.n_cells, 2 * self.d, sizeof(float)))
        self.list_cells(<int64_t*>self.cell_begins.start)
        self.cells.rows = <int32_t*>self.order.start
        self.cells.boxes = <float*>self.boxes.start
        self.place_columns()
        self.is_cut = True
        self.listed = self.parts = self.plans = self.means = self.label_begins = None

    cdef void sort_label(self, int64_t j, int32_t* ends) noexcept nogil:
        """Order a label's rows by their parts."""
        cdef const int32_t* listed = <int32_t*>self.listed.start
        cdef const uint16_t* parts = <uint16_t*>self.parts.start
        cdef int32_t* rows = <int32_t*>self.order.start
        cdef int64_t begin = self.begins[j], end = self.begins[j + 1], r
        cdef int32_t n_parts = 1 << (<fastkm_cell_plan*>self.plans.start)[j].n_halvings, part
        memset(ends, 0, (n_parts + 1) * sizeof(int32_t))
        # The mask guards the memory should the labels have changed in between.
        for r in range(begin, end):
            ends[(parts[listed[r]] & (n_parts - 1)) + 1] += 1
        for part in range(1, n_parts):
            ends[part] += ends[part - 1]
        for r in range(begin, end):
            part = parts[listed[r]] & (n_parts - 1)
            rows[begin + ends[part]] = listed[r]
            ends[part] += 1

    cdef void list_cells(self, int64_t* begins) noexcept nogil:
        cdef int64_t* groups = begins + self.n_cells + 1
        cdef int64_t j, c = 0, g = 0, cell, n_here
        for j in range(self.k):
            n_here = (self.begins[j + 1] - self.begins[j] + FASTKM_CELL_ROWS - 1) // FASTKM_CELL_ROWS
            for cell in range(n_here):
                if cell % FASTKM_GROUP_CELLS == 0:
                    groups[g] = c
                    g += 1
                begins[c] = self.begins[j] + cell * FASTKM_CELL_ROWS
                c += 1
        begins[c] = self.n
        groups[g] = c
        self.cells.begins = begins
        self.cells.groups = groups

    def enclose(self, int64_t start, int64_t stop):
        """Find the boxes of cells [start, stop)."""
        cdef int64_t n_tasks = (stop - start + CELLS_AT_ONCE - 1) // CELLS_AT_ONCE, task
        cdef int used = self.crew.threads_for(n_tasks, 16.0 * FASTKM_CELL_ROWS * self.d * (stop - start))
        if not self.is_cut or start < 0 or start > stop or stop > self.n_cells:
            raise ValueError(f"cells {start} to {stop} are not among {self.n_cells}.")
        with nogil:
            if used == 1:
                self.enclose_cells(start, stop, 0)
            else:
                for task in prange(n_tasks, num_threads=used, schedule="dynamic", chunksize=1):
                    self.enclose_cells(start + task * CELLS_AT_ONCE, min(start + (task + 1) * CELLS_AT_ONCE, stop),
                                       threadid())
        self.n_enclosed += stop - start

    cdef void enclose_cells(self, int64_t start, int64_t stop, int t) noexcept nogil:
        self.crew.kernels.enclose(&self.crew.points.points, &self.frame.frame, &self.cells, start, stop,
                                  &self.crew.scratches[t])

    cdef int follow(self, const fastkm_centroids* centroids) except -1:
        """Take the centroids, packed, as columns."""
        cdef fastkm_transposed* table = &self.cells.table
        cdef int64_t j, f, group, size
        with nogil:
            for j in range(self.k):
                group = j - j % FASTKM_TILE_CENTROIDS
                size = min(self.k - group, <int64_t>FASTKM_TILE_CENTROIDS)
                for f in range(self.d):
                    table.columns[f * table.stride + j] = (
                        centroids.tiles[group * self.d + f * size + j - group] / -2
                    )
                table.sq_norms[j] = centroids.sq_norms[j]
            self.crew.kernels.bound_columns(table, self.d)
        return 0

    cdef int64_t first_group_from(self, int64_t row) noexcept nogil:
        """Return the first group that begins at the row, in the order of the cells, or later."""
        cdef int64_t low = 0, high = self.n_groups, middle
        while low < high:
            middle = (low + high) // 2
            if self.cells.begins[self.cells.groups[middle]] < row:
                low = middle + 1
            else:
                high = middle
        return low

    cdef int64_t assign(self, const _Round* task, const fastkm_centroids* centroids, Sums sums, int used) except -1:
        """Label the rows of the groups that begin in the task's range; return how many labels changed."""
        cdef int64_t begin = self.first_group_from(task.start), end = self.first_group_from(task.stop)
        cdef int64_t n_owners = min(<int64_t>(4 * used), self.k), n_changed = 0, g
        cdef int64_t chunk = (end - begin) // (16 * used) + 1
        cdef bint is_serial = used == 1
        with nogil:
            if is_serial:
                for g in range(begin, end):
                    n_changed += self.assign_group(task, centroids, sums, True, g, 0)
            else:
                if task.accumulates:
                    sums.clear_private(used)
                for g in prange(begin, end, num_threads=used, schedule="dynamic", chunksize=chunk):
                    n_changed += self.assign_group(task, centroids, sums, False, g, threadid())
                if task.accumulates:
                    sums.merge_private(used)
        if sums is not None and not task.accumulates:
            with nogil:
                for g in prange(n_owners, num_threads=used, schedule="dynamic", chunksize=1):
                    n_changed += self.accumulate_owned(task, sums, begin, end, g, n_owners, threadid())
            n_changed //= n_owners  # every owner counted all of them
        return n_changed

    cdef int64_t assign_group(self, const _Round* task, const fastkm_centroids* centroids, Sums sums,
                              bint is_serial, int64_t g, int t) noexcept nogil:
        cdef fastkm_sums mine
        cdef fastkm_sums* moved = NULL
        cdef fastkm_cell_work* work = &self.work[t * WORK_STRIDE]
        if task.accumulates:
            mine = sums.sums if is_serial else sums.private_sums(t)
            moved = &mine
        work.n_changed = 0
        self.crew.kernels.assign_cells(&self.crew.points.points, &self.frame.frame, centroids, &self.cells, g, g + 1,
                                       &self.crew.scratches[t], &self.own[t], work, task.labels_old, task.labels,
                                       moved)
        return work.n_changed

    cdef int64_t accumulate_owned(self, const _Round* task, Sums sums, int64_t begin, int64_t end, int64_t owner,
                                  int64_t n_owners, int t) noexcept nogil:
        cdef fastkm_sums mine = sums.sums
        cdef int64_t first = self.cells.begins[self.cells.groups[begin]]
        cdef int64_t n_rows = self.cells.begins[self.cells.groups[end]] - first
        mine.j_begin = self.k * owner // n_owners
        mine.j_end = self.k * (owner + 1) // n_owners
        return self.crew.kernels.accumulate_listed(&self.crew.points.points, self.cells.rows + first, n_rows,
                                                   task.labels_old, task.labels, &self.crew.scratches[t], &mine)

    def expected_products(self, Engine engine not None, int64_t n_groups):
        """Return the products a row left in so many groups, under the engine's centroids; labels none."""
        cdef int64_t step = max(self.n_groups // n_groups, <int64_t>1), n_rows = 0, g
        cdef fastkm_cell_work work
        if engine.neighbours is not self or n_groups < 1:
            raise ValueError("The engine must use the neighbours, and n_groups be at least 1.")
        work.n_products = 0
        for g in range(0, self.n_groups, step):
            self.crew.kernels.assign_cells(&self.crew.points.points, &self.frame.frame, &engine.centroids.centroids,
                                           &self.cells, g, g + 1, &self.crew.scratches[0], &self.own[0], &work,
                                           NULL, NULL, NULL)
            n_rows += self.cells.begins[self.cells.groups[g + 1]] - self.cells.begins[self.cells.groups[g]]
        return work.n_products / <double>n_rows

    def take_work(self):
        """Return the products computed and the rows decided in float64 since the last call."""
        cdef int64_t n_products = 0, n_exact = 0
        cdef int t
        for t in range(self.crew.n_threads):
            n_products += self.work[t * WORK_STRIDE].n_products
            n_exact += self.work[t * WORK_STRIDE].n_exact
            self.work[t * WORK_STRIDE].n_products = self.work[t * WORK_STRIDE].n_exact = 0
        return n_products, n_exact
