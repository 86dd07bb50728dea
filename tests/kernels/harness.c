/* The kernels without Python: every implementation that this machine runs, through the dispatcher,
 * against the portable one bit by bit and against plain float64. For machines that only an emulator
 * stands for, and compilers that have no Python to build for; the tests of the core do more. */
#include "harness.h"

/* The sizes stand on both sides of lanes, tiles, panels, groups and blocks. */
static const struct {
    int64_t n, d, k;
} SIZES[] = {{1, 1, 1},   {2, 3, 2},    {3, 2, 3},    {7, 4, 5},     {8, 5, 6},      {9, 8, 7},
             {15, 15, 8}, {16, 16, 9},  {17, 17, 12}, {63, 7, 13},   {64, 31, 6},    {65, 33, 25},
             {255, 3, 4}, {256, 9, 24}, {257, 6, 7},  {300, 64, 30}, {130, 100, 50}, {70, 1, 41},
             {90, 2, 50}, {100, 3, 63}, {80, 4, 72},  {150, 2, 133}, {190, 4, 20}};
#define N_SIZES (sizeof SIZES / sizeof *SIZES)

static void describe_columns(const problem* p, const fastkm_kernels* kernels, columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d;
    fastkm_scratch scratch = take_scratch(kernels, d, 1);
    double* moments = take((size_t)(4 * d) * sizeof *moments, 8);
    const int32_t n_bits = (int32_t)fmin(50, 62 - ceil(log2((double)(n < 2 ? 2 : n))));
    const fastkm_moments target = {columns->origin, moments, moments + d, moments + 2 * d,
                                   moments + 3 * d};
    fastkm_extent extent;
    kernels->find_origin(&p->points, 1, &scratch, columns->origin);
    RECORD("find_origin", columns->origin, d);
    kernels->describe(&p->points, 0, n, &scratch, &target);
    RECORD("describe", moments, 4 * d);
    CHECK(kernels->join_moments(moments, 1, n, d, columns->origin, n_bits, &columns->columns,
                                &extent),
          "join_moments: sums of finite values are finite");
    RECORD("join_moments: mean", columns->columns.mean, d);
    RECORD("join_moments: variance", columns->columns.variance, d);
    RECORD("join_moments: shift", columns->columns.shift, d);
    RECORD("join_moments: sum_scale", columns->columns.sum_scale, d);
    RECORD("join_moments: extent", &extent.reach, 1);
    for (int64_t f = 0; f < d; f++) {
        double sum = 0, least = INFINITY, most = -INFINITY, largest = 0;
        for (int64_t i = 0; i < n; i++) {
            const double x = p->X[i * d + f];
            sum += x;
            largest = fmax(largest, fabs(x));
            least = fmin(least, x);
            most = fmax(most, x);
        }
        CHECK(moments[2 * d + f] == least && moments[3 * d + f] == most, "describe: extremes");
        CHECK(fabs(columns->columns.mean[f] - sum / (double)n) <= 1e-13 * largest * (double)(n + 8),
              "means of columns");
    }
    columns->low_scale = ldexp(1, n_bits);
    int exponent = 0;
    frexp(extent.reach, &exponent);
    columns->frame =
        (fastkm_frame){columns->columns.shift, columns->columns.shift_f32, ldexp(1, -exponent), 1};
    if (p->is_narrow) /* float32 holds the values, and must hold the shift */
        for (int64_t f = 0; f < d; f++) columns->columns.shift[f] = columns->columns.shift_f32[f];
}

static void check_labels(const problem* p, const char* name, const int32_t* labels) {
    for (int64_t i = 0; i < p->points.n; i++) CHECK(labels[i] == p->labels[i], name);
}

static void label_rows(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                       const fastkm_centroids* centroids, fastkm_panels* panels) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    const int64_t n_padded = (n + FASTKM_BLOCK_ROWS - 1) / FASTKM_BLOCK_ROWS * FASTKM_BLOCK_ROWS;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    int32_t* labels = take((size_t)n * sizeof *labels, 4);
    panels->values = take((size_t)(n_padded * d) * sizeof(float), 0);
    panels->sq_norms = take((size_t)n_padded * sizeof(float), 0);
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->assign(&p->points, frame, centroids, i, end_of(i, n), 0, &scratch, labels + i);
    for (int64_t i = 0; i < n; i++)
        CHECK(labels[i] >= 0 && labels[i] < k, "assign without recheck");
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->assign(&p->points, frame, centroids, i, end_of(i, n), 1, &scratch, labels + i);
    check_labels(p, "assign: labels of the oracle", labels);
    memset(labels, 0xff, (size_t)n * sizeof *labels);
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->fill_panels(&p->points, frame, i, end_of(i, n), panels);
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->assign_kept(&p->points, frame, centroids, panels, i, end_of(i, n), &scratch,
                             labels + i);
    check_labels(p, "assign_kept: labels of the oracle", labels);
}

/* Of the rows where they are, and of panels. */
static void label_in_bytes(const problem* p, const fastkm_kernels* kernels,
                           const fastkm_frame* frame, const fastkm_centroids* centroids,
                           fastkm_panels* panels) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k, width = (d + 3) / 4 * 4,
                  rows = kernels->panel_rows;
    const int64_t n_padded = (n + FASTKM_BLOCK_ROWS - 1) / FASTKM_BLOCK_ROWS * FASTKM_BLOCK_ROWS;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_byte_centroids bytes;
    fastkm_byte_work work = {0};
    int32_t* labels = take((size_t)n * sizeof *labels, 4);
    float** arrays[] = {&bytes.factors, &bytes.norms, &bytes.offs, &bytes.fixed, &bytes.squares};
    if (kernels->assign_bytes == NULL) return;
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++)
        *arrays[a] = take((size_t)k * sizeof(float), 4);
    bytes.offsets = take((size_t)k * sizeof(int32_t), 4);
    bytes.framed = take((size_t)(k * d) * sizeof(float), 4);
    bytes.tiles = take((size_t)(k * width), 1);
    work.is_always = 1;
    work.codes = take((size_t)(width * rows), 0);
    work.lowers = take((size_t)(k * rows) * sizeof(float), 0);
    work.row = take((size_t)((d + 15) / 16 * 16) * sizeof(float), 0);
    for (int64_t j = 0; j < k; j += 24)
        kernels->pack_bytes(frame, centroids, &bytes, j, j + 24 < k ? j + 24 : k);
    panels->codes = take((size_t)(width * n_padded), 0);
    panels->errors = take((size_t)(4 * n_padded) * sizeof(float), 0);
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->encode_panels(d, i, end_of(i, n), panels);
    for (int kept = 0; kept < 2; kept++) {
        memset(labels, 0xff, (size_t)n * sizeof *labels);
        for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
            kernels->assign_bytes(&p->points, frame, centroids, &bytes, kept ? panels : NULL, i,
                                  end_of(i, n), &scratch, &work, labels + i);
        check_labels(p, kept ? "assign_bytes: labels of panels" : "assign_bytes: labels of rows",
                     labels);
        CHECK(work.n_tried == (kept + 1) * n, "assign_bytes: all rows are tried");
    }
}

/* Two owners, each of which sees every row and takes what is its own, find what one finds: rows
 * enter a sum, leave one, or both. */
static void sum_by_owners(const problem* p, const fastkm_kernels* kernels, const fastkm_sums* whole,
                          const int32_t* none, const int32_t* moved) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_sums sums = *whole;
    int32_t* rows = take((size_t)n * 4, 4);
    sums.sums = zeros((size_t)(k * d) * 8, 8);
    sums.low_sums = zeros((size_t)(k * d) * 8, 8);
    sums.counts = zeros((size_t)k * 8, 8);
    for (int64_t i = 0; i < n; i++) rows[i] = (int32_t)(n - 1 - i);
    for (int owner = 0; owner < 2; owner++) {
        sums.j_begin = owner ? k / 2 : 0;
        sums.j_end = owner ? k : k / 2;
        kernels->accumulate(&p->points, 0, n, none, p->labels, &scratch, &sums);
        kernels->accumulate_listed(&p->points, rows, n, p->labels, moved, &scratch, &sums);
    }
    CHECK(memcmp(sums.sums, whole->sums, (size_t)(k * d) * 8) == 0 &&
              memcmp(sums.low_sums, whole->low_sums, (size_t)(k * d) * 8) == 0 &&
              memcmp(sums.counts, whole->counts, (size_t)k * 8) == 0,
          "accumulate: sums of several owners");
}

static void sum_rows(const problem* p, const fastkm_kernels* kernels, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_sums sums = {columns->columns.sum_scale,
                        columns->low_scale,
                        zeros((size_t)(k * d) * 8, 8),
                        zeros((size_t)(k * d) * 8, 8),
                        zeros((size_t)k * 8, 8),
                        0,
                        k};
    double* means = zeros((size_t)(k * d) * 8, 8);
    int32_t *none = take((size_t)n * 4, 4), *moved = take((size_t)n * 4, 4),
            *rows = take((size_t)n * 4, 4);
    int64_t n_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        none[i] = -1;
        moved[i] = i % 3 ? p->labels[i] : (int32_t)((p->labels[i] + 1) % k);
        if (i % 3 == 0) rows[n_rows++] = (int32_t)i;
    }
    CHECK(kernels->accumulate(&p->points, 0, n, none, p->labels, &scratch, &sums) == n,
          "accumulate: changes");
    RECORD("accumulate: sums", sums.sums, k * d);
    RECORD("accumulate: low sums", sums.low_sums, k * d);
    kernels->accumulate_listed(&p->points, rows, n_rows, p->labels, moved, &scratch, &sums);
    RECORD("accumulate_listed: sums", sums.sums, k * d);
    RECORD("accumulate_listed: counts", sums.counts, k);
    sum_by_owners(p, kernels, &sums, none, moved);
    kernels->means(&sums, d, 0, k, means);
    RECORD("means", means, k * d);
    for (int64_t j = 0; j < k; j++)
        for (int64_t f = 0; f < d; f++) {
            double sum = 0, largest = 0;
            int64_t count = 0;
            for (int64_t i = 0; i < n; i++) {
                if (moved[i] != j) continue;
                sum += p->X[i * d + f];
                largest = fmax(largest, fabs(p->X[i * d + f]));
                count++;
            }
            CHECK(sums.counts[j] == count, "accumulate: counts of the oracle");
            /* Sums of integers do not round, so only the quotient does, once, on both sides. */
            const double mean = count ? sum / (double)count : 0;
            CHECK(fabs(means[j * d + f] - mean) <=
                      (p->is_integer ? 0 : 1e-15 * largest * (double)(n + 8)),
                  "means of the oracle");
        }
}

static void weigh_rows(const problem* p, const fastkm_kernels* kernels, const columns_of* columns) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    fastkm_weighted_sums sums = {
        1, columns->columns.shift, zeros((size_t)(k * d) * 8, 8), zeros((size_t)k * 8, 8), 0, k};
    kernels->accumulate_weighted(&p->points, 0, n, p->labels, p->weights, &scratch, &sums);
    RECORD("accumulate_weighted: sums", sums.sums, k * d);
    RECORD("accumulate_weighted: weights", sums.weights, k);
    for (int64_t j = 0; j < k; j++)
        for (int64_t f = 0; f < d; f++) {
            double sum = 0, size = 0;
            for (int64_t i = 0; i < n; i++) {
                const double term = p->weights[i] * (p->X[i * d + f] - columns->columns.shift[f]);
                sum += p->labels[i] == j ? term : 0;
                size += fabs(term);
            }
            CHECK(fabs(sums.sums[j * d + f] - sum) <= 1e-15 * size * (double)(n + 8),
                  "weighted sums of the oracle");
        }
}

static void measure(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                    const fastkm_centroids* centroids) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    double *own = take((size_t)n * 8, 8), *doubles = take((size_t)(n * k) * 8, 8);
    float* singles = take((size_t)(n * k) * 4, 4);
    kernels->own_sq_dists(&p->points, frame, centroids, 0, n, p->labels, &scratch, own);
    RECORD("own_sq_dists", own, n);
    kernels->distances(&p->points, frame, centroids, 0, n, &scratch, 0, doubles);
    RECORD("distances, float64", doubles, n * k);
    kernels->distances(&p->points, frame, centroids, 0, n, &scratch, 1, singles);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) {
            const double sq_dist = p->sq_dists[i * k + j], dist = sqrt(sq_dist);
            const double close = 1e-15 * (double)(d + 8);
            CHECK(fabs(doubles[i * k + j] - dist) <= close * dist, "distances of the oracle");
            CHECK(fabs(singles[i * k + j] - dist) <= (close + 0x1p-23) * dist,
                  "float32 distances of the oracle");
            if (j == p->labels[i])
                CHECK(fabs(own[i] - sq_dist) <= close * sq_dist, "own_sq_dists of the oracle");
            const double one = kernels->sq_dist(p->X + i * d, p->centroids + j * d, d, 1);
            RECORD("sq_dist", &one, 1);
        }
}

static void seed(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                 const fastkm_centroids* candidates, const fastkm_panels* panels) {
    const int64_t n = p->points.n, d = p->points.d, k = p->k;
    fastkm_scratch scratch = take_scratch(kernels, d, k);
    uint32_t* masks = take((size_t)n * 4, 4);
    double *closest = take((size_t)n * 8, 8), *gains = take((size_t)k * 8, 8),
           *errors = take((size_t)k * 8, 8);
    double totals[FASTKM_MAX_CANDIDATES];
    if (k > FASTKM_MAX_CANDIDATES) return;
    for (int64_t i = 0; i < n; i++) {
        masks[i] = UINT32_MAX;
        closest[i] = INFINITY;
    }
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->accept(&p->points, frame, candidates, i, end_of(i, n), 0, masks, &scratch,
                        closest);
    RECORD("accept: the first seed", closest, n);
    for (int with_panels = 0; with_panels < 2; with_panels++) {
        memset(totals, 0, sizeof totals);
        for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS) {
            kernels->propose(&p->points, frame, candidates, with_panels ? panels : NULL, i,
                             end_of(i, n), closest, p->weights, &scratch, masks, gains, errors);
            for (int64_t j = 0; j < k; j++) totals[j] += gains[j] - errors[j];
            for (int64_t r = i; r < end_of(i, n); r++)
                for (int64_t j = 0; j < k; j++)
                    CHECK(masks[r] >> j & 1 || p->sq_dists[r * k + j] >= closest[r] * (1 - 1e-13),
                          "propose: masks have all that are nearer");
            kernels->settle(&p->points, frame, candidates, i, end_of(i, n), UINT32_MAX, closest,
                            p->weights, &scratch, masks, gains);
            RECORD("settle: gains", gains, k);
            for (int64_t j = 0; j < k; j++) totals[j] -= gains[j];
        }
        RECORD("settle: masks", masks, n);
        for (int64_t j = 0; j < k; j++)
            CHECK(totals[j] <= 1e-12 * gain_of(p, closest, p->weights, j),
                  "propose: gains less their errors are bounds");
    }
    if (n <= FASTKM_BLOCK_ROWS)
        for (int64_t j = 0; j < k; j++) {
            const double gain = gain_of(p, closest, p->weights, j);
            /* Differences of distances, which may cancel, round. */
            CHECK(fabs(gains[j] - gain) <=
                      1e-14 * (double)(n + d) * potential_of(p, closest, p->weights),
                  "settle: gains of the oracle");
        }
    for (int64_t i = 0; i < n; i += FASTKM_BLOCK_ROWS)
        kernels->accept(&p->points, frame, candidates, i, end_of(i, n), k - 1, masks, &scratch,
                        closest);
    RECORD("accept: the last candidate", closest, n);
    for (int64_t i = 0; i < n; i++) {
        const double nearest = fmin(p->sq_dists[i * k], p->sq_dists[i * k + k - 1]);
        CHECK(fabs(closest[i] - nearest) <= 1e-14 * (double)(d + 8) * nearest,
              "accept: distances of the oracle");
    }
}

static void copy_rows(const problem* p, const fastkm_kernels* kernels) {
    const int64_t n = p->points.n, d = p->points.d;
    int64_t* rows = take((size_t)n * 8, 8);
    double* values = take((size_t)(n * d) * 8, 8);
    char* copied = take((size_t)(n * d) * p->item_size, 1);
    for (int64_t i = 0; i < n; i++) rows[i] = n - 1 - i;
    kernels->load(&p->points, rows, n, values);
    kernels->gather(&p->points, rows, n, copied);
    RECORD("gather", copied, n * d * (int64_t)p->item_size);
    for (int64_t i = 0; i < n; i++)
        for (int64_t f = 0; f < d; f++)
            CHECK(values[i * d + f] == p->X[(n - 1 - i) * d + f], "load: values in float64");
}

static void run_dense(const problem* p, const fastkm_kernels* kernels) {
    const int64_t d = p->points.d, k = p->k;
    fastkm_panels panels = {0};
    columns_of columns = take_columns(d);
    fastkm_centroids centroids = take_centroids(k, d);
    describe_columns(p, kernels, &columns);
    pack_centroids(kernels, &columns.frame, p->centroids, &centroids);
    RECORD("pack: tiles", centroids.tiles, k * d);
    label_rows(p, kernels, &columns.frame, &centroids, &panels);
    label_in_bytes(p, kernels, &columns.frame, &centroids, &panels);
    sum_rows(p, kernels, &columns);
    weigh_rows(p, kernels, &columns);
    measure(p, kernels, &columns.frame, &centroids);
    seed(p, kernels, &columns.frame, &centroids, &panels);
    copy_rows(p, kernels);
    run_beside(p, kernels, &columns.frame);
    label_by_gaps(p, kernels, &columns);
    label_by_leads(p, kernels, &columns);
    label_in_cells(p, kernels, &columns);
    seed_in_cells(p, kernels, &columns.frame);
    propose_in_codes(p, kernels, &columns.frame);
    const fastkm_basis basis = find_directions(p, kernels, &columns.frame);
    if (basis.p) label_by_filter(p, kernels, &columns.frame, &basis);
    measure_silhouettes(p, kernels, &columns.frame);
    run_sparse(p, kernels);
    run_in_threads(p, kernels, &columns.frame, &centroids, &columns);
}

/* harness [EVERY]: of the problems only every so many one. */
int main(int n_arguments, char** arguments) {
    const long every = n_arguments > 1 ? atol(arguments[1]) : 1;
    const fastkm_kernels* kernels;
    for (int index = 0; (kernels = fastkm_built(index)) != NULL; index++) {
        int64_t n_problems = 0, n_met = 0;
        if (!fastkm_is_supported(kernels)) {
            printf("%s: built, and this machine does not run it\n", kernels->isa);
            continue;
        }
        begin_isa(kernels->isa, index == 0);
        for (size_t s = 0; s < N_SIZES; s++)
            for (int kind = 0; kind < N_KINDS; kind++)
                for (int layout = 0; layout < N_LAYOUTS; layout++) {
                    if (n_met++ % every) continue;
                    const int dtype =
                        (int)(s + (size_t)kind + 5 * (size_t)layout) % FASTKM_N_DTYPES;
                    problem p =
                        make_problem(SIZES[s].n, SIZES[s].d, SIZES[s].k, kind, layout, dtype);
                    run_dense(&p, kernels);
                    release_all();
                    n_problems++;
                }
        printf("%s: %lld problems, %lld checks, %lld values of the portable kernel's compared\n",
               kernels->isa, (long long)n_problems, (long long)n_checks(), (long long)n_recorded());
        fflush(stdout);
    }
    return n_failures() > 0;
}
