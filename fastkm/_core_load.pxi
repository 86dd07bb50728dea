# How many threads are worth their waiting while other work wants the CPUs.
#
# OpenMP's threads wait for each other awake, for milliseconds. Where programs share the CPUs, a thread awake takes the
# time of one that it waits for, and each parallel region costs turns of the scheduler. The system knows how long a
# thread was ready to run and had no CPU; where that is much, calls take one thread for a while, which waits for none.
# So they do where rounds of equal shares show that another thread had no CPU.
#
# Nor may a call ask for threads that cannot be started: the runtime would end the process. So they are started here,
# once there has been room for their stacks, and else the call takes one.

cdef extern from *:
    """
    #if FASTKM_OPENMP && defined(__linux__)
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>

    enum {
        FASTKM_WINDOW_MS = 30,    /* longer than a woken thread may share its waker's CPU by mistake: 6 ms */
        FASTKM_STALE_MS = 1000,   /* what came between was no stretch of calls */
        FASTKM_FIRST_PAUSE_MS = 200,
        FASTKM_LONGEST_PAUSE_MS = 3200,
        FASTKM_LEAST_WAITING = 3, /* a third of the window */
        FASTKM_LONG_WAIT_US = 500 /* ten shares of a small problem's round; a turn of the scheduler is 3 to 6 ms */
    };

    /* Of the calling thread: nothing is shared, so nothing is locked. Times in ns; 0 before the first. */
    typedef struct {
        int64_t since, waited, alone_until, pause;
    } fastkm_load;
    static _Thread_local fastkm_load load_seen;

    /* Nanoseconds in which the calling thread was ready and had no CPU, or -1 where the system does not tell. */
    static int64_t time_waited(void) {
        char text[96];
        long long ran, waited;
        const int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
        if (file < 0) return -1;
        const ssize_t n = read(file, text, sizeof text - 1);
        (void)close(file);
        if (n <= 0) return -1;
        text[n] = 0;
        return sscanf(text, "%lld %lld", &ran, &waited) == 2 ? waited : -1;
    }

    static void watch_from(fastkm_load* seen, int64_t now, int64_t waited) {
        seen->since = now;
        seen->waited = waited;
        seen->alone_until = 0;
    }

    /* Nanoseconds since some moment; 0 where the system does not tell. */
    static int64_t time_now(void) {
        struct timespec clock;
        if (clock_gettime(CLOCK_MONOTONIC, &clock) != 0) return 0;
        return clock.tv_sec * (int64_t)1000000000 + clock.tv_nsec;
    }

    static void pause_threads(fastkm_load* seen, int64_t now) {
        const int64_t ms = 1000000;
        seen->pause = seen->pause == 0 ? FASTKM_FIRST_PAUSE_MS * ms : 2 * seen->pause;
        if (seen->pause > FASTKM_LONGEST_PAUSE_MS * ms) seen->pause = FASTKM_LONGEST_PAUSE_MS * ms;
        seen->alone_until = now + seen->pause;
    }

    /* Whether the calling thread has waited for others, with the same work, as long as for one without a CPU. */
    static int is_kept_waiting(int64_t since) {
        const int64_t now = time_now();
        if (now - since < FASTKM_LONG_WAIT_US * (int64_t)1000) return 0;
        pause_threads(&load_seen, now);
        return 1;
    }

    static int threads_for_load(int n_threads) {
        const int64_t ms = 1000000;
        fastkm_load* seen = &load_seen;
        if (n_threads <= 1) return n_threads;
        const int64_t now = time_now(), elapsed = now - seen->since;
        if (now < seen->alone_until) return 1;
        if (seen->alone_until == 0 && elapsed < FASTKM_WINDOW_MS * ms) return n_threads;
        const int64_t waited = time_waited();
        if (waited < 0) return n_threads;
        if (seen->alone_until != 0 || elapsed > FASTKM_STALE_MS * ms) {
            if (elapsed > FASTKM_LONGEST_PAUSE_MS * 2 * ms) seen->pause = 0;
            watch_from(seen, now, waited);
            return n_threads;
        }
        const int is_crowded = (waited - seen->waited) * FASTKM_LEAST_WAITING > elapsed;
        watch_from(seen, now, waited);
        if (!is_crowded) {
            seen->pause = 0;
            return n_threads;
        }
        pause_threads(seen, now);
        return 1;
    }

    static void forget_load_seen(void) { memset(&load_seen, 0, sizeof load_seen); }
    #else
    static int64_t time_now(void) { return 0; }
    static int is_kept_waiting(int64_t since) { return (void)since, 0; }
    static int threads_for_load(int n_threads) { return n_threads; }
    static void forget_load_seen(void) { }
    #endif

    #if FASTKM_OPENMP && defined(__linux__)
    #include <pthread.h>
    #include <sys/mman.h>

    /* What the runtime keeps of a thread and of all, beside the stack, several times over. */
    enum { FASTKM_BYTES_OF_THREAD = 1 << 16, FASTKM_BYTES_OF_TEAM = 1 << 20 };

    /* What must be left for the arrays of the call and of those after it. */
    enum { FASTKM_BYTES_LEFT = 1 << 25 };

    /* Threads that the runtime keeps for the calling thread, as many as its last region had; 0 before the first. */
    static _Thread_local int n_started;

    static int is_room_for_threads(int n_more) {
        pthread_attr_t attributes;
        size_t stack = 0, n_bytes;
        void* block;
        if (pthread_attr_init(&attributes) != 0) return 0;
        (void)pthread_attr_getstacksize(&attributes, &stack);
        (void)pthread_attr_destroy(&attributes);
        n_bytes = (size_t)n_more * (stack + FASTKM_BYTES_OF_THREAD) + FASTKM_BYTES_OF_TEAM + FASTKM_BYTES_LEFT;
        block = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (block == MAP_FAILED) return 0;
        (void)munmap(block, n_bytes);
        return 1;
    }

    static int start_threads(int n_threads) {
        if (n_threads <= 1) return 1;
        if (n_threads > n_started) {
            if (!is_room_for_threads(n_threads - (n_started > 1 ? n_started : 1))) return 1;
            /* At once: until the next region there may be no room left. */
            #pragma omp parallel num_threads(n_threads)
            { }
        }
        n_started = n_threads;
        return n_threads;
    }

    /* Threads wait awake for some milliseconds, and soon after are woken where they slept. */
    enum { FASTKM_ASLEEP_MS = 20 };

    /* Of the calling thread: when it asked for others last. */
    static _Thread_local int64_t asked_at;

    static void wake_threads(int n_threads) {
        const int64_t now = time_now();
        if (now - asked_at > FASTKM_ASLEEP_MS * (int64_t)1000000) seat_threads(n_threads);
        asked_at = now;
    }
    #else
    static int start_threads(int n_threads) { return n_threads; }
    static void wake_threads(int n_threads) { (void)n_threads; }
    #endif

    static int threads_to_take(int n_threads) {
        const int used = start_threads(threads_for_load(n_threads));
        if (used > 1) wake_threads(used);
        return used;
    }
    """
    int threads_for_load(int n_threads) noexcept nogil
    int threads_to_take(int n_threads) noexcept nogil
    int64_t time_now() noexcept nogil
    bint is_kept_waiting(int64_t since) noexcept nogil
    void forget_load_seen() noexcept nogil


def n_threads_now(int n_threads):
    """Return how many of the threads the calling thread's next call would take, as far as load decides."""
    return threads_for_load(n_threads)


def forget_load():
    """Let the calling thread's next call take all its threads, however long it has waited for a CPU so far."""
    forget_load_seen()
