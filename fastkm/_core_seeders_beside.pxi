# Greedy k-means++ of several runs, side by side.

cdef struct _Acceptance:
    # What a run's seeder takes as a seed, and has to bring up to date.
    int64_t candidate
    bint is_first
    double* closest
    double* block_sums


cdef class SeedersBeside:
    """Seeders of several runs on the same points, each block of which is loaded once for all."""
    cdef list seeders
    cdef Seeder first
    cdef fastkm_proposal* proposals
    cdef _Acceptance* acceptances
    cdef _Memory proposal_memory, acceptance_memory
    cdef int64_t n_seeders

    def __cinit__(self, seeders):
        cdef Seeder seeder
        cdef int64_t index
        self.seeders = list(seeders)
        if not self.seeders:
            raise ValueError("There must be a seeder.")
        self.n_seeders = len(self.seeders)
        self.first = self.seeders[0]
        self.proposal_memory = _Memory()
        self.acceptance_memory = _Memory()
        self.proposal_memory.allocate(_size(self.n_seeders, 1, sizeof(fastkm_proposal)), zero=True)
        self.acceptance_memory.allocate(_size(self.n_seeders, 1, sizeof(_Acceptance)), zero=True)
        self.proposals = <fastkm_proposal*>self.proposal_memory.start
        self.acceptances = <_Acceptance*>self.acceptance_memory.start
        for index, seeder in enumerate(self.seeders):
            if seeder.points is not self.first.points or seeder.frame is not self.first.frame \
                    or seeder.crew.kernels != self.first.crew.kernels \
                    or seeder.weights_or_null() != self.first.weights_or_null():
                raise ValueError("Seeders side by side must be of the same points and weights.")
            self.proposals[index].candidates = &seeder.candidates.centroids
            self.proposals[index].closest = self.acceptances[index].closest = &seeder.closest[0]
            self.proposals[index].masks = &seeder.masks[0]
            self.proposals[index].gains = &seeder.gains_of_blocks[0, 0]
            self.proposals[index].errors = seeder.errors_of
            self.acceptances[index].block_sums = &seeder.block_sums[0]

    def propose(self, candidates):
        """Do what Seeder.propose does, for every seeder with its candidates."""
        cdef Seeder seeder, first = self.first
        cdef int64_t b, n_candidates = 0
        for seeder, values in zip(self.seeders, candidates, strict=True):
            seeder.candidates.pack(values, seeder.frame, seeder.crew)
            n_candidates += seeder.candidates.k
        cdef double work = <double>first.points.n * first.points.d * n_candidates
        cdef int used = first.crew.threads_for(first.n_blocks, work)
        cdef _Turns turns = _Turns(first.n_blocks, work)
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.propose_block(b, 0)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=2):
                        self.propose_block(b, threadid())

    cdef void propose_block(self, int64_t b, int t) noexcept nogil:
        cdef int64_t i = b * FASTKM_BLOCK_ROWS
        self.first.crew.kernels.propose_beside(
            &self.first.points.points, &self.first.frame.frame, self.proposals, self.n_seeders, i,
            min(i + FASTKM_BLOCK_ROWS, self.first.points.n), self.first.weights_or_null(),
            &self.first.crew.scratches[t]
        )

    def accept(self, accepted):
        """Do what Seeder.accept does, for every seeder with the index of one of its candidates."""
        cdef Seeder seeder, first = self.first
        cdef int64_t b, candidate, index
        cdef double work = 0
        for index, (seeder, candidate) in enumerate(zip(self.seeders, accepted, strict=True)):
            seeder.check_candidate(candidate)
            seeder.n_accepted += 1
            self.acceptances[index].candidate = candidate
            self.acceptances[index].is_first = seeder.n_accepted == 1
            work += <double>first.points.n * (8 + 4 * first.points.d // seeder.n_accepted)
        cdef int used = first.crew.threads_for(first.n_blocks, work)
        cdef int64_t chunk = _chunk(first.n_blocks, used, work)
        cdef _Turns turns = _Turns(first.n_blocks, work)
        while turns.next():
            with nogil:
                if used == 1:
                    for b in range(turns.start, turns.stop):
                        self.accept_block(b, 0)
                else:
                    for b in prange(turns.start, turns.stop, num_threads=used, schedule="dynamic", chunksize=chunk):
                        self.accept_block(b, threadid())

    cdef void accept_block(self, int64_t b, int t) noexcept nogil:
        cdef int64_t n = self.first.points.n, i = b * FASTKM_BLOCK_ROWS, index, n_nearer
        cdef const fastkm_proposal* proposal
        cdef const _Acceptance* acceptance
        for index in range(self.n_seeders):
            proposal = &self.proposals[index]
            acceptance = &self.acceptances[index]
            n_nearer = self.first.crew.kernels.accept(
                &self.first.points.points, &self.first.frame.frame, proposal.candidates, i,
                min(i + FASTKM_BLOCK_ROWS, n), acceptance.candidate, proposal.masks, &self.first.crew.scratches[t],
                acceptance.closest
            )
            if n_nearer or acceptance.is_first:
                acceptance.block_sums[b] = _block_sum(acceptance.closest, self.first.weights_or_null(), b, n)
