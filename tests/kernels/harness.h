/* What the parts of the harness share: problems with their oracle, guarded memory, and the record
 * that the portable kernel's results leave for the others. */
#ifndef FASTKM_HARNESS_H
#define FASTKM_HARNESS_H

#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIXTURE, FAR_BLOBS, INTEGERS, N_KINDS };
enum { DENSE, MISALIGNED, STRIDED, N_LAYOUTS };

/* Points in some dtype and layout, and what plain float64 says of them. */
typedef struct {
    fastkm_points points;
    size_t item_size;
    int is_narrow;  /* float32 holds the values exactly */
    int is_integer; /* and so do integers below 2^24 */
    int64_t k;
    double* X;         /* (n, d) the values */
    double* centroids; /* (k, d) some of them equal, and equally near to rows */
    double* weights;   /* (n,) */
    double* sq_dists;  /* (n, k) from the first feature to the last */
    int32_t* labels;   /* (n,) the first of the nearest */
} problem;

typedef struct {
    double* origin;
    fastkm_columns columns;
    fastkm_frame frame;
    double low_scale;
} columns_of;

problem make_problem(int64_t n, int64_t d, int64_t k, int kind, int layout, int dtype);
void find_nearest(const double* X, const double* centroids, int64_t n, int64_t d, int64_t k,
                  double* sq_dists, int32_t* labels);

/* What a candidate gains over closest, where only rows that come nearer count, and what there is to
 * gain; weights may be NULL. */
double gain_of(const problem* p, const double* closest, const double* weights, int64_t j);
double potential_of(const problem* p, const double* closest, const double* weights);

/* Memory so many bytes behind a multiple of FASTKM_ALIGN, garbage in it and guards around it. */
void* take(size_t n_bytes, size_t off);
void* zeros(size_t n_bytes, size_t off);
fastkm_scratch take_scratch(const fastkm_kernels* kernels, int64_t d, int64_t k);
columns_of take_columns(int64_t d);
/* Check all guards, and free. */
void release_all(void);

void begin_isa(const char* isa, int is_reference);
void record(const char* name, const void* values, size_t n_bytes);
#define RECORD(name, values, n) record(name, values, (size_t)(n) * sizeof *(values))
void check(int holds, const char* name, int line);
#define CHECK(condition, name) check(condition, name, __LINE__)
int64_t n_checks(void);
int64_t n_recorded(void);
int64_t n_failures(void);

/* Some of what the centroids span, p = 0 where that is nothing. */
fastkm_basis find_directions(const problem* p, const fastkm_kernels* kernels,
                             const fastkm_frame* frame);
void label_by_filter(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                     const fastkm_basis* basis);
void measure_silhouettes(const problem* p, const fastkm_kernels* kernels,
                         const fastkm_frame* frame);
void run_sparse(const problem* p, const fastkm_kernels* kernels);
void run_in_threads(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame,
                    const fastkm_centroids* centroids, const columns_of* columns);

/* Centroids that move, in rounds.c. */
fastkm_centroids take_centroids(int64_t k, int64_t d);
void pack_centroids(const fastkm_kernels* kernels, const fastkm_frame* frame, const double* raw,
                    fastkm_centroids* packed);
void move_centroids(const problem* p, int turn, double* centroids);
fastkm_sums take_sums(const problem* p, const columns_of* columns);
void check_sums(const problem* p, const fastkm_kernels* kernels, const fastkm_sums* followed,
                const int32_t* labels, fastkm_scratch* scratch, const char* name);

void run_beside(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame);
/* Rows in cells of neighbours, in gaps.c. */
fastkm_kept_cells keep_cells(const problem* p, const fastkm_kernels* kernels,
                             const fastkm_frame* frame);
void seed_in_cells(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame);
void label_by_gaps(const problem* p, const fastkm_kernels* kernels, const columns_of* columns);
void label_by_leads(const problem* p, const fastkm_kernels* kernels, const columns_of* columns);
void label_in_cells(const problem* p, const fastkm_kernels* kernels, const columns_of* columns);
void propose_in_codes(const problem* p, const fastkm_kernels* kernels, const fastkm_frame* frame);

static inline int64_t end_of(int64_t i, int64_t n) {
    return i + FASTKM_BLOCK_ROWS < n ? i + FASTKM_BLOCK_ROWS : n;
}

#endif
