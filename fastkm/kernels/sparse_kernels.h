/* The contract of the kernels for CSR rows; what kernels.h says holds here too. A row's entries are
 * sorted by column, each column at most once; explicit zeros are allowed. */
#ifndef FASTKM_SPARSE_KERNELS_H
#define FASTKM_SPARSE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Groups of FASTKM_EXACT_LANES centroids that lie side by side, features first: one bundle. */
#define FASTKM_BUNDLE_GROUPS 4
#define FASTKM_BUNDLE_CENTROIDS 32

/* CSR rows where the user keeps them. */
typedef struct {
    const void* values;    /* float32 or float64 */
    const void* columns;   /* int32 or int64 */
    const int64_t* starts; /* (n + 1,) */
    int64_t n, d;
    int32_t is_double, is_wide;
    double scale;     /* power of two that every value is multiplied by: exact_scale */
    double* sq_norms; /* (n,) ||x * scale||^2 */
} fastkm_sparse;

/* Centroids as the kernels for CSR rows read them; all times the rows' scale. */
typedef struct {
    int64_t k, d;
    const double* raw; /* (k, d) as the caller gave them, not scaled */
    double* bundles;   /* (d, 8 groups) in bundles of at most 32 centroids, padded with zeros to a
                          multiple of 8 */
    double* sq_norms;  /* (k rounded up to 8,) ||c||^2, rounded to double ... */
    double* sq_norm_tails; /* ... and what that leaves */
    int32_t* columns;      /* (k, d) columns that are not zero, ascending; NULL unless candidates of
                              k-means++ */
    int64_t* n_columns;    /* (k,) how many */
    double max_norm;       /* at least the largest ||c|| */
} fastkm_sparse_centroids;

/* A thread's own working memory. */
typedef struct {
    double* row;   /* (d,) all zero between calls */
    double* dists; /* (k rounded up to 8,) */
} fastkm_sparse_scratch;

/* A batch of rows and where its entries go. */
typedef struct {
    const int64_t* sources; /* (n,) which row of the source each row is */
    const int64_t* starts;  /* (n + 1,) as long as those rows are */
    void* values;           /* of the source's format */
    int32_t* columns;
    double* sq_norms; /* (n,) */
} fastkm_sparse_gathered;

typedef struct {
    /* ||x * scale||^2 of rows [i_begin, i_end) into rows->sq_norms. */
    void (*norms)(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end);

    /* Write features [f_begin, f_end) of all centroids into the bundles. */
    void (*pack)(const fastkm_sparse_centroids* centroids,      /* OUT */
                 double scale, int64_t f_begin, int64_t f_end); /* IN  */

    /* Write centroid j's norm and, where there is room for it, its list of columns. */
    void (*pack_norm)(const fastkm_sparse_centroids* centroids, /* OUT */
                      double scale, int64_t j);                 /* IN  */

    /* The label of each row [i_begin, i_end): at most FASTKM_BLOCK_ROWS rows. Returns how many rows
     * were decided by the direct form; with recheck == 0 none is. */
    int64_t (*assign)(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids, /* IN  */
                      int64_t i_begin, int64_t i_end, int recheck,                         /* IN  */
                      fastkm_sparse_scratch* scratch,                                      /* OUT */
                      int32_t* labels); /* OUT (i_end - i_begin,) */

    /* As fastkm_kernels' accumulate, but the sums hold no rounding offset: zeros add nothing. */
    int64_t (*accumulate)(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end, /* IN    */
                          const int32_t* labels_old, const int32_t* labels,          /* IN (n,) */
                          const fastkm_sums* sums);                                  /* INOUT */

    /* As fastkm_kernels' means, for such sums. */
    void (*means)(const fastkm_sums* sums, int64_t d, int64_t j_begin, int64_t j_end, /* IN */
                  double* centroids); /* INOUT (k, d) */

    /* Add weight * x of the rows of the sums' own centroids, in ascending order; the sums' shift is
     * not used. */
    void (*accumulate_weighted)(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end, /* IN */
                                const int32_t* labels, const double* weights, /* IN (n,) */
                                const fastkm_weighted_sums* sums);            /* INOUT */

    /* Squared distance of each row to the centroid of its label, times scale^2. */
    void (*own_sq_dists)(const fastkm_sparse* rows,
                         const fastkm_sparse_centroids* centroids,              /* IN  */
                         int64_t i_begin, int64_t i_end, const int32_t* labels, /* IN (n,) */
                         fastkm_sparse_scratch* scratch,                        /* OUT */
                         double* sq_dists); /* OUT (i_end - i_begin,) */

    /* The same of one row with the bits that the dense kernels give; O(d). */
    double (*own_sq_dist)(const fastkm_sparse* rows,
                          const fastkm_sparse_centroids* centroids, /* IN  */
                          int64_t i, int32_t label,                 /* IN  */
                          fastkm_sparse_scratch* scratch);          /* OUT */

    /* Squared distances of row i to every centroid, times scale^2, into scratch->dists. */
    void (*sq_dists)(const fastkm_sparse* rows, const fastkm_sparse_centroids* centroids, /* IN  */
                     int64_t i,                                                           /* IN  */
                     fastkm_sparse_scratch* scratch);                                     /* OUT */

    /* As fastkm_kernels' propose. Exactly: with the same bits. Else from products: gains to within
     * errors, and masks of all candidates that may be nearer. After accept, either way, closest has
     * the bits of the dense kernels. */
    void (*propose)(const fastkm_sparse* rows, const fastkm_sparse_centroids* candidates, /* IN  */
                    int64_t i_begin, int64_t i_end,                                       /* IN  */
                    const double* closest,          /* IN (n,) */
                    const double* weights,          /* IN (n,) or NULL */
                    int exactly,                    /* IN  */
                    fastkm_sparse_scratch* scratch, /* OUT */
                    uint32_t* masks,                /* OUT (n,) */
                    double* gains, double* errors); /* OUT (k,) */
    void (*accept)(const fastkm_sparse* rows, const fastkm_sparse_centroids* candidates, /* IN  */
                   int64_t i_begin, int64_t i_end, int64_t accepted,                     /* IN  */
                   const uint32_t* masks, /* IN (n,) */
                   double* closest);      /* INOUT (n,) */

    /* Add the moments of some rows' entries to moments, and count the entries of each column. */
    void (*describe)(const fastkm_sparse* rows, int64_t i_begin, int64_t i_end, /* IN    */
                     int64_t* counts,                                           /* OUT (d,) */
                     const fastkm_moments* moments);                            /* OUT   */

    /* Copy rows [i_begin, i_end) of a batch out of the source. */
    void (*gather)(const fastkm_sparse* source,            /* IN  */
                   const fastkm_sparse_gathered* gathered, /* OUT */
                   int64_t i_begin, int64_t i_end);        /* IN  */

    /* As fastkm_kernels' learn; distances are right to rounding, all else has its bits. */
    void (*learn)(const fastkm_sparse* rows,                /* IN  */
                  const fastkm_sparse_centroids* centroids, /* IN  */
                  const fastkm_lesson* lesson,              /* OUT */
                  int64_t j_begin, int64_t j_end,           /* IN  */
                  fastkm_sparse_scratch* scratch);          /* OUT */
} fastkm_sparse_kernels;

/* Where the first row stands that breaks the promise: 0 none, 1 not sorted or a column twice, 2 out
 * of bounds. */
int fastkm_sparse_check(const fastkm_sparse* rows, int64_t n_entries);

#endif
