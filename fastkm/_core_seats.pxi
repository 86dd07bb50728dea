# A CPU of its own for each thread of a call.
#
# A virtual machine's system may wake a thread that has slept on the CPU of the one that wakes it, and leave both there
# for milliseconds while other CPUs are idle. So the first call after a pause has its threads part before they work.

cdef extern from *:
    """
    #if FASTKM_OPENMP && defined(__linux__)
    #include <sched.h>
    #include <string.h>

    /* The CPUs that threads of a call have started on, and how many threads have yet to start. */
    typedef struct {
        uint64_t taken[CPU_SETSIZE / 64];
        int n_missing;
    } fastkm_seats;

    static int is_seat_free(fastkm_seats* seats, int cpu) {
        const uint64_t bit = (uint64_t)1 << (cpu % 64);
        return !(__atomic_fetch_or(&seats->taken[cpu / 64], bit, __ATOMIC_RELAXED) & bit);
    }

    static void open_seats(fastkm_seats* seats, int n_threads) {
        const int cpu = sched_getcpu();
        memset(seats, 0, sizeof *seats);
        seats->n_missing = n_threads - 1;
        if (cpu >= 0 && cpu < CPU_SETSIZE) (void)is_seat_free(seats, cpu);
    }

    /* The calling thread goes to a CPU that no thread of the call is on; where it may run stays as it is. */
    static void change_seat(fastkm_seats* seats, int cpu) {
        cpu_set_t allowed, one;
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
        for (int step = 1; step < CPU_SETSIZE; step++) {
            const int other = (cpu + step) % CPU_SETSIZE;
            if (!CPU_ISSET(other, &allowed) || !is_seat_free(seats, other)) continue;
            CPU_ZERO(&one);
            CPU_SET(other, &one);
            if (sched_setaffinity(0, sizeof one, &one) == 0) (void)sched_setaffinity(0, sizeof allowed, &allowed);
            return;
        }
    }

    enum { FASTKM_LOOKS = 10000 }; /* a few microseconds, in which threads that were awake start */

    /* The caller lets those that wait for its CPU run, so that they can leave it. */
    static void make_room(fastkm_seats* seats) {
        for (int look = 0; look < FASTKM_LOOKS; look++)
            if (__atomic_load_n(&seats->n_missing, __ATOMIC_RELAXED) <= 0) return;
        (void)sched_yield();
    }

    /* What each other thread does first. */
    static void take_seat(fastkm_seats* seats) {
        const int cpu = sched_getcpu();
        if (cpu >= 0 && cpu < CPU_SETSIZE && !is_seat_free(seats, cpu)) change_seat(seats, cpu);
        __atomic_fetch_sub(&seats->n_missing, 1, __ATOMIC_RELAXED);
    }

    /* Wakes the threads that the calling thread's regions have. */
    static void seat_threads(int n_threads) {
        fastkm_seats seats;
        open_seats(&seats, n_threads);
        #pragma omp parallel num_threads(n_threads)
        {
            if (omp_get_thread_num() == 0)
                make_room(&seats);
            else
                take_seat(&seats);
        }
    }
    #endif
    """
