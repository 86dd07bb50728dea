/* The contract between the Cython core and the C kernels.
 *
 * Kernels work on one block of rows in one thread. They allocate nothing, start no thread, print
 * nothing and keep no state: all memory is the caller's. Every implementation gives the same
 * labels, sums and distances, bit for bit; README.md in this folder says why. */
#ifndef FASTKM_KERNELS_H
#define FASTKM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Rows per block. The unit of work, and of the fixed order in which float64 partial sums are added.
 */
#define FASTKM_BLOCK_ROWS 256
/* Centroids per register tile. */
#define FASTKM_TILE_CENTROIDS 6
/* Centroids per group of the float64 layout. */
#define FASTKM_EXACT_LANES 8
/* Up to so many features there are heats of centroids; for so many of k an array has room. */
#define FASTKM_HEAT_FEATURES 4
#define FASTKM_HEAT_ROOM(k) ((k) < 97 ? 128 : (k) + 31)
/* Candidates that one proposal of k-means++ can hold: a bit each. */
#define FASTKM_MAX_CANDIDATES 32
/* Rows that describe takes at a time, and the rows that it lays side by side where there are fewer
 * features. */
#define FASTKM_MOMENT_ROWS 4
#define FASTKM_ROWS_BESIDE 8
/* Measured centroids, beside its own, of which the filter keeps a row's distances. */
#define FASTKM_RIVALS 2
/* Candidates that the filter keeps of a row. */
#define FASTKM_KEPT_CANDIDATES 64
/* Rows of a cell of near rows, a multiple of every panel's. */
#define FASTKM_CELL_ROWS 64
/* For seeding: cells whose boxes lie side by side. */
#define FASTKM_CELLS_BESIDE 16
/* Blocks that are summed side by side, that none waits for its own last addition. */
#define FASTKM_BLOCKS_BESIDE 8
/* For labelling: cells of a group, the most rows that a label's extent is judged by, and how often
 * rows are halved: until a cell's are left and then twice more, for their order within it. */
#define FASTKM_GROUP_CELLS 16
#define FASTKM_CELL_SAMPLE 64
#define FASTKM_HALVINGS_BEYOND 2
#define FASTKM_MAX_HALVINGS 14
/* Rings of a label around its centroid, and those of them within the way that it has moved. */
#define FASTKM_RINGS 32
#define FASTKM_RINGS_INSIDE 20
/* The largest code, and how finely candidates are told beside it. */
#define FASTKM_LARGEST_CODE 127
#define FASTKM_STEP_PARTS 8
/* Alignment in bytes of every buffer that a kernel reads or writes with vectors. */
#define FASTKM_ALIGN 64
/* Added to a double below 2^51, leaves its nearest integer in the low bits. */
#define FASTKM_ROUNDING_OFFSET 0x1.8p52

#ifdef __cplusplus
extern "C" {
#endif

enum fastkm_dtype {
    FASTKM_F16,
    FASTKM_F32,
    FASTKM_F64,
    FASTKM_I8,
    FASTKM_U8, /* and bool */
    FASTKM_I16,
    FASTKM_U16,
    FASTKM_I32,
    FASTKM_U32,
    FASTKM_I64,
    FASTKM_U64,
    FASTKM_N_DTYPES
};

/* X where the user keeps it: any dtype above, any strides. */
typedef struct {
    const char* base;
    int64_t n, d;
    int64_t row_stride, col_stride; /* bytes */
    int32_t dtype;
} fastkm_points;

/* The coordinates of the float32 kernel, y = (x - shift) * scale, and of the float64 one, x *
 * exact_scale. */
typedef struct {
    const double* shift; /* (d,) */
    const float*
        shift_f32;      /* (d,) the same values; read only for dtypes that float32 holds exactly */
    double scale;       /* power of two that brings the centred values near 1 */
    double exact_scale; /* power of two, 1 unless squares of the values leave float64's range */
} fastkm_frame;

/* Centroids in the layouts that the kernels read. */
typedef struct {
    int64_t k, d;
    const double* raw; /* (k, d) as the caller gave them */
    float* tiles; /* -2 z in groups of at most six centroids, each group (d, group size); z = (c -
                     shift) * scale */
    float* sq_norms; /* (k,) ||z||^2 */
    double* exact;   /* c * exact_scale in groups of eight, each group (d, 8) */
    float* heats; /* (1 + d, FASTKM_HEAT_ROOM(k)) norms and -2 z of a few centroids together, in the
                     instruction set's own order; NULL where there are more features */
    float max_norm; /* at least the largest ||z|| */
} fastkm_centroids;

/* Centroids as codes of a byte a value, for products of integers; all arrays OUT of pack_bytes. */
typedef struct {
    int8_t* tiles;    /* in groups as fastkm_centroids.tiles, each group (d / 4, group size, 4), and
                         zeros from d on */
    float* framed;    /* (k, d) z itself */
    float* factors;   /* (k,) -2 times what 1 in a code stands for */
    int32_t* offsets; /* (k,) what the sum of products is too large by, as rows' codes are positive
                       */
    float* norms;     /* (k,) at least ||z|| */
    float* offs;      /* (k,) at least how far the codes are from z */
    float* fixed;     /* (k,) ||z||^2, less its own share of the rounding */
    float* squares;   /* (k,) that share */
} fastkm_byte_centroids;

/* What a thread's pass of byte products works in, and how it went. */
typedef struct {
    uint8_t* codes;              /* (d rounded up to fours, panel rows) */
    float* lowers;               /* (k, panel rows) */
    float* row;                  /* (d,) and whole vectors */
    int64_t n_failed, n_to_skip; /* panels, as of the last tries */
    int64_t is_always;           /* whether all panels are tried */
    double share;                /* what those cost, of brute force; the last ones count most */
    int64_t n_tried, n_open, n_listed, n_distances; /* rows; those that bounds do not decide, and
                                                       of these centroids listed and measured */
    int64_t n_exact;
} fastkm_byte_work;

/* Points as the float32 kernel reads them, kept: all rows of whole blocks. */
typedef struct {
    float* values;   /* (n / panel rows, d, panel rows) */
    float* sq_norms; /* (n,) */
    uint8_t* codes;  /* (n / panel rows, d rounded up to fours, panel rows) OUT of encode_panels, or
                        NULL; and so is */
    float* errors;   /* (n / panel rows, 4, panel rows) what those stand for, and their errors */
} fastkm_panels;

/* Centroids that may be nearer to a row than its own. */
typedef struct {
    int32_t index[FASTKM_KEPT_CANDIDATES];
    float product[FASTKM_KEPT_CANDIDATES];
    int32_t count; /* may exceed FASTKM_KEPT_CANDIDATES, and then the list is not complete */
} fastkm_candidate_list;

/* A thread's own working memory; sizes from fastkm_scratch_bytes. */
typedef struct {
    float* panel;                 /* (d, panel rows): some points, centred, features first */
    double* row;                  /* (d,) one row in float64 */
    double* rows;                 /* rows and running moments of describe */
    double* dists;                /* (k rounded up to 8,) */
    fastkm_candidate_list* lists; /* (2, panel rows) */
} fastkm_scratch;

/* Exact sums in fixed point, two limbs a value: the integer nearest to x * scale, and the integer
 * nearest to what is left times low_scale. Adding is integer addition, modulo 2^64. */
typedef struct {
    const double* scale; /* (d,) powers of two with |x * scale| <= 2^50 */
    double low_scale;    /* power of two, at most 2^50 */
    uint64_t* sums;     /* (k, d) of the high limbs, each FASTKM_ROUNDING_OFFSET's bits too large */
    uint64_t* low_sums; /* (k, d) of the low limbs */
    int64_t* counts;    /* (k,) */
    int64_t j_begin, j_end; /* only these centroids' sums are written */
} fastkm_sums;

/* Directions for sketches, orthonormal but for rounding. */
typedef struct {
    int64_t p;
    const float* tiles; /* (d, p) in groups of at most six directions, each group (d, group size) */
    const double* directions; /* (d, stride) the same values, and zeros from p on */
    int64_t stride;           /* p rounded up to FASTKM_ALIGN bytes, twice over */
    float skew;               /* at least ||Q'Q - I|| */
} fastkm_basis;

/* Sketches of points: their coordinates in a basis and the norm of the rest. */
typedef struct {
    float* panels;   /* (n / panel rows, p + 1, panel rows) */
    float* sq_norms; /* (n,) of the sketches */
    float* errors;   /* (n,) how far rounding may have moved a sketch */
} fastkm_sketches;

/* The same of centroids, in an order of their own, and how they move. */
typedef struct {
    const int32_t* order; /* (k,) the centroids in that order */
    const int32_t* place; /* (k,) where each centroid is in it */
    int64_t head;         /* as the filter's */
    float* tiles;    /* -2 times the sketches and the norms of all but their heads, in groups as
                        fastkm_centroids.tiles */
    float* sq_norms; /* (k,) */
    float* rests;    /* (k,) the sketches' last numbers */
    float* errors;   /* (k,) */
    float* moves;    /* (k,) at least how far each has moved */
    float* drifts;   /* (k,) at least how far it has moved outside of the basis */
    float* framed;   /* (k, d) the centroids themselves, (c - shift) * scale */
    double* inside;  /* (k, 2, p) coordinates now and before */
} fastkm_centroid_sketches;

/* What one run's k-means++ proposes, and finds, among runs that go side by side. */
typedef struct {
    const fastkm_centroids* candidates;
    const double* closest;  /* (n,) */
    uint32_t* masks;        /* (n,) */
    double *gains, *errors; /* (n_blocks, k) */
} fastkm_proposal;

/* What one run labels its points by, among runs that go side by side. */
typedef struct {
    const fastkm_centroids* centroids;
    int32_t* labels; /* (n,) */
} fastkm_labelling;

/* Points for k-means++, a byte a value: their sketches, and the rows themselves. */
typedef struct {
    int64_t p, stride;         /* a row takes stride bytes: d, and zeros to whole vectors */
    const float* sketch_steps; /* (p + 1,) what 1 in a code of a sketch stands for */
    float step;                /* the same of a row, in the frame */
    int8_t* panels;            /* (n / panel rows, p + 1, panel rows) */
    int8_t* rows;              /* (n, stride) */
    float* sq_norms;           /* (n,) of the sketches that the codes stand for */
    float* sketch_errors;      /* (n,) how far those may be from the true ones */
    float* errors;             /* (n,) how far a row's codes may be from the row */
} fastkm_codes;

/* Codes of points, and k-means++'s candidates among them. */
typedef struct {
    fastkm_codes codes;
    const float* tiles;    /* sketches as coded, -2 times, in groups as fastkm_centroids.tiles, and
                              times the steps */
    const float* sq_norms; /* (k,) */
    float max_norm, max_error; /* of their sketches */
    float stretch;             /* a sketched distance is at most stretch times the true one */
    const int16_t* rows;       /* (k, stride) the candidates in parts of a step */
    const float* row_errors;   /* (k,) how far those may be from them, in the frame */
    float max_row_error;
} fastkm_sketched;

/* All points in the float32 kernel's order, sorted so that each cell holds neighbours, and the box
 * around each cell. */
typedef struct {
    int64_t n, d;
    const int32_t* order; /* (n,) rows of the points */
    fastkm_panels panels; /* of the rows in that order; whole cells */
    float* boxes; /* (n_cells / FASTKM_CELLS_BESIDE, d, 2, FASTKM_CELLS_BESIDE): least, largest */
    float* norms; /* (n_cells,) at least those of its rows */
    fastkm_points rows; /* the rows themselves in that order; of no base if they are not kept */
} fastkm_kept_cells;

/* What seeding by cells keeps up to date, in the cells' order. */
typedef struct {
    double* closest; /* (n,) */
    float* limits;   /* (whole cells,) squared in the frame, less the row's norm: what products are
                        below where a candidate is nearer */
    float* reaches;  /* (n_cells,) at least its rows' distances to their nearest seeds */
    uint32_t* live;  /* (n_cells,) candidates that may be nearer to any of its rows */
    uint64_t* masks; /* (n_cells, k) the rows that each candidate may be nearer to, a bit each; only
                        those of live cells are written */
    uint8_t* touched; /* (n_blocks,) whether any row of a block of the points was accepted in */
} fastkm_cell_state;

/* Centroids in an order that puts near ones into one tile, and what is known of kept cells under
 * them: for each cell and tile how much farther, at least, the tile's centroids are from each row
 * than the row's own. A place is one in that order. */
typedef struct {
    int64_t k, n_tiles;
    int64_t stride;          /* of a cell's gaps: n_tiles rounded up */
    const int32_t* order;    /* (k,) the centroids at the places */
    const int32_t* place_of; /* (k,) of each centroid */
    double* raw;             /* (k, d) the centroids as they were followed last */
    float* tiles;            /* (k, d) as in fastkm_centroids, in that order */
    float* sq_norms;         /* (k,) */
    float* fixed;            /* (n_tiles,) with growing: the rounding bound of a tile's products */
    float* growing;          /* (n_tiles,) */
    float* drifts;           /* (k,) at least how far each moved since the last pass; before the
                                first there is another, infinite */
    float* tile_drifts;      /* (stride,) the largest of each tile */
    float* gaps;             /* (n_cells, stride) INOUT; 0 where nothing is known */
    int32_t* own;            /* (n,) INOUT: the rows' places in the cells' order; -1: none */
} fastkm_gaps;

/* A row of a sample, and its value in the feature at which it is halved. */
typedef struct {
    double value;
    int32_t row;
} fastkm_valued_row;

/* A thread's own memory for gaps. */
typedef struct {
    int32_t* tiles; /* (stride,) of those not excluded */
    float* best;    /* (n_tiles, FASTKM_CELL_ROWS) products of their nearest centroids */
    float* second;  /* (n_tiles, FASTKM_CELL_ROWS) */
} fastkm_gap_scratch;

/* For each row how much farther all other centroids are than its own, at least: its lead. Rows of
 * one label that lie about as far from their centroid are in one ring, as the same centroids are
 * near to all of them. */
typedef struct {
    int64_t k;
    int32_t is_known;   /* whether rows have leads: not before all have been labelled once */
    double* raw;        /* (k, d) the centroids as they were followed last */
    double* drifts;     /* (k,) at least how far each moved then */
    double fastest;     /* the largest of them */
    double* paths;      /* (k,) how far each moved in all since the leads began */
    double step;        /* ring r ends r - FASTKM_RINGS_INSIDE steps beyond its centroid's path */
    float per_step;     /* 1 / step, or 0 */
    uint8_t* near_from; /* (k, k) the first ring of a label that another centroid is near to */
    double* travels;    /* (k, FASTKM_RINGS) what moves have taken off the leads in a ring */
    float* travels_f32; /* (k, FASTKM_RINGS) at most that */
    double* reserves;   /* (k, FASTKM_RINGS) the leads over centroids that were not near once */
    float* limits;      /* (k, FASTKM_RINGS) what leads must be above */
    float* places;      /* (k,) of a row at its centroid, in steps from where the first ring ends */
    float* leads;       /* (n,) INOUT: and what travels were when it was found */
    uint16_t* slots;    /* (n,) INOUT: of a row's label and ring in the arrays (k, FASTKM_RINGS) */
} fastkm_leads;

/* What a thread labels by leads in, and the work that it could not avoid. */
typedef struct {
    int32_t* rows;   /* (i_end - i_begin,) */
    int32_t* moved;  /* (i_end - i_begin,) rows whose labels change */
    int64_t n_moved; /* of those in the list */
    int64_t n_read;  /* rows whose lead was found anew */
    int64_t n_exact; /* rows decided in float64 */
} fastkm_lead_work;

/* Median splits: node v, from 1 on, sends rows below its threshold to 2 v and others to 2 v + 1. */
typedef struct {
    int32_t depth;
    const int32_t* features;  /* (2^depth,) */
    const double* thresholds; /* (2^depth,) */
} fastkm_splits;

/* What is known of a row's distances before it is read. */
typedef struct {
    float sq_norm; /* of its sketch */
    float error;   /* how far rounding may have moved its sketch */
    float
        own_rest; /* at least the distance to the own centroid outside of the basis, less all that
                     it has drifted there since the filter began; infinite where nothing is known */
    /* Places of centroids that were measured, or -1, and at most how far each is outside of the
     * basis and all that it has drifted there since the filter began. */
    int32_t rivals[FASTKM_RIVALS];
    float rival_rests[FASTKM_RIVALS];
} fastkm_row_bounds;

/* How far a centroid has moved, round by round, and how far with the fastest other one. */
typedef struct {
    double alone, with_fastest;
} fastkm_travel;

/* A row is as near to no other centroid as to its own: not to its rival until it and the own one
 * have travelled so far, and not to the others until the own one and the fastest have. */
typedef struct {
    int32_t rival;
    float to_rival, to_others;
} fastkm_row_gaps;

/* What a filtered pass knows before it reads X. All moves are since the filter began. */
typedef struct {
    int64_t p;
    int64_t head;         /* the first coordinates, which alone may show enough; 0: not tried */
    const int32_t* order; /* (n,) the rows, near ones together: panels are cut from it */
    const int32_t* slots; /* (n,) where a row's sketch and bounds are: much in that order */
    float* sketches;      /* (n, p + 2) of the points, and a vector more: the last is the norm
                             of all but the head */
    fastkm_row_bounds* bounds; /* (n,) INOUT */
    fastkm_centroid_sketches centroids;
    float max_norm, max_error; /* of the centroids' sketches */
    float stretch;  /* a sketched distance and the true one inside differ by at most this factor */
    double* drifts; /* (k,) of the centroids, outside of the basis */
    double* tile_moves;  /* (n_tiles,) of a tile's fastest centroid, round by round */
    double* panel_moves; /* (n_panels,) INOUT: of a panel's fastest own centroid */
    float* gaps; /* (n_panels, n_tiles) INOUT: no row of the panel is as near to a centroid of the
                    tile as to its own until panel and tile have moved so far, all told */
    int by_rows; /* gaps are kept for rows, and not for panels and tiles */
    fastkm_travel* travels;    /* (k,) of the labels' centroids */
    fastkm_row_gaps* row_gaps; /* (n,) INOUT */
} fastkm_filter;

/* What a thread's filtered pass works in, and the work that it could not avoid. */
typedef struct {
    float* panel;          /* (p + 2, panel rows) some sketches, coordinates first */
    float* products;       /* (2, k, panel rows) */
    int32_t* tiles;        /* (2, 2, n_tiles) */
    int32_t* moved;        /* (i_end - i_begin,) rows whose labels change; or NULL */
    int64_t n_moved;       /* of those in the list */
    int64_t n_products;    /* of two numbers, in sketches */
    int64_t n_rows_read;   /* of X */
    int64_t n_distances;   /* measured */
    int64_t n_forced_rows; /* labelled by brute force */
} fastkm_filter_work;

/* How the rows of one label are halved: at the middle of which feature, and how far from there the
 * middles of its halves are. */
typedef struct {
    int32_t n_halvings;
    int32_t features[FASTKM_MAX_HALVINGS];
    double steps[FASTKM_MAX_HALVINGS];
} fastkm_cell_plan;

/* Some centroids, features first, so that vectors hold one feature of several. */
typedef struct {
    int64_t k, stride;
    float* columns;   /* (d, stride) z, as in fastkm_centroids */
    float* sq_norms;  /* (stride,) */
    float* fixed;     /* (stride,) with growing: the rounding bound of their products */
    float* growing;   /* (stride,) */
    int32_t* indices; /* (stride,) which centroids they are */
} fastkm_transposed;

/* Rows that lie near each other, cell by cell, and the centroids' columns. */
typedef struct {
    const int32_t* rows;     /* (n,) */
    const int64_t* begins;   /* (n_cells + 1,) of each cell's rows */
    const int64_t* groups;   /* (n_groups + 1,) of each group's cells */
    float* boxes;            /* (n_cells, 2, d) middles and half widths, of the centred rows */
    fastkm_transposed table; /* of all centroids */
} fastkm_cells;

/* A thread's own memory for cells. */
typedef struct {
    fastkm_transposed table; /* of a group's centroids */
    float* box;              /* (2, d) */
    float* products;         /* (stride,) */
    float* tiles;            /* (k, d) */
    float* sq_norms;         /* (k,) */
    int32_t* lists[2];       /* (stride,) */
} fastkm_cell_scratch;

/* Work that a pass over cells could not avoid. */
typedef struct {
    int64_t n_products; /* pairs of a row and a centroid */
    int64_t n_exact;    /* rows decided in float64 */
    int64_t n_changed;  /* rows moved from sums to others */
} fastkm_cell_work;

/* What a silhouette is made of: rows, the queries, and how far they are from those of each cluster.
 */
typedef struct {
    const int32_t* order;    /* (n,) the rows, those of a cluster together */
    const int64_t* begins;   /* (k + 1,) where each cluster's begin */
    const int32_t* queries;  /* (n_queries,) rows */
    const int32_t* clusters; /* (n_queries,) theirs */
    double* sums;            /* (n_queries,) INOUT: of distances to the cluster at hand */
    double* own;             /* (n_queries,) mean distance to the others of its cluster */
    double* other;           /* (n_queries,) INOUT: to the nearest other cluster so far */
    double* reaches;         /* (n_queries,) distance to the frame's origin */
} fastkm_silhouette;

/* A thread's own memory for silhouettes. */
typedef struct {
    int64_t n_targets;   /* packed at once */
    float* tiles;        /* (n_targets, d) as fastkm_centroids.tiles */
    float* target_norms; /* (n_targets,) squared */
    float* panels;       /* (rows of a task, d): its queries, as whole panels */
    float* norms;        /* (rows of a task,) squared */
} fastkm_silhouette_scratch;

/* Sums of weighted values, in float64. */
typedef struct {
    double scale;           /* 1, or smaller where sums might overflow */
    const double* shift;    /* (d,) times scale */
    double* sums;           /* (k, d) of weight * (x * scale - shift) */
    double* weights;        /* (k,) */
    int64_t j_begin, j_end; /* only these centroids' sums are written */
} fastkm_weighted_sums;

/* Moments of the columns of a range of rows; all arrays (d,), and OUT but the origin. NaN shows in
 * the sum alone. */
typedef struct {
    const double* origin; /* (d,) a point near the data */
    double* sum;          /* of x - origin */
    double* sum_sq;       /* of (x - origin)^2 */
    double* min;
    double* max;
} fastkm_moments;

/* What is known of the columns before a fit; all arrays (d,). */
typedef struct {
    double* mean;
    double* variance;  /* divided by n */
    double* shift;     /* near the mean */
    float* shift_f32;  /* the shift, rounded */
    double* sum_scale; /* as in fastkm_sums */
} fastkm_columns;

/* Of all columns: the farthest that a value is from its mean, and the largest magnitude. */
typedef struct {
    double reach, largest;
} fastkm_extent;

/* What mini-batch k-means learns from one batch. Rows are listed by label; those of label j are
 * rows[begins[j]] to rows[begins[j + 1] - 1]. */
typedef struct {
    const double* centroids; /* (k, d) as they were */
    const double* counts;    /* (k,) weight of the rows that each has learnt from */
    const double* weights;   /* (n,) of the batch's rows, or NULL: each 1 */
    const int64_t* rows;     /* (n,) */
    const int64_t* begins;   /* (k + 1,) */
    double exact_scale;      /* as in the frame */
    double* moved;           /* (k, d) as they are now */
    double* moved_counts;    /* (k,) */
    double* sq_dists; /* (n,) of the rows to the centroids as they were, times exact_scale^2 */
} fastkm_lesson;

#include "sparse_kernels.h"

typedef struct {
    const char* isa;
    int32_t panel_rows; /* points per panel: vectors per tile x lanes */

    /* Write centroids [j_begin, j_end) into the packed layouts; j_begin is a multiple of 24.
     * Returns max ||z||. */
    float (*pack)(const fastkm_frame* frame,         /* IN  */
                  const fastkm_centroids* centroids, /* OUT */
                  int64_t j_begin, int64_t j_end);   /* IN  */

    /* The label of each row [i_begin, i_end): at most FASTKM_BLOCK_ROWS rows. Returns how many rows
     * were decided in float64. With recheck == 0 the float32 decision stands: for tests that show
     * the recheck to be needed. */
    int64_t (*assign)(const fastkm_points* points,       /* IN  */
                      const fastkm_frame* frame,         /* IN  */
                      const fastkm_centroids* centroids, /* IN  */
                      int64_t i_begin, int64_t i_end,    /* IN  */
                      int recheck,                       /* IN  */
                      fastkm_scratch* scratch,           /* OUT */
                      int32_t* labels);                  /* OUT (i_end - i_begin,) */

    /* The same from panels that are kept; i_begin is the first row of a block. */
    int64_t (*assign_kept)(const fastkm_points* points,       /* IN  */
                           const fastkm_frame* frame,         /* IN  */
                           const fastkm_centroids* centroids, /* IN  */
                           const fastkm_panels* panels,       /* IN: of all points */
                           int64_t i_begin, int64_t i_end,    /* IN  */
                           fastkm_scratch* scratch,           /* OUT */
                           int32_t* labels);                  /* OUT (i_end - i_begin,) */

    /* What assign writes, rechecked, for several runs in one pass over a block of rows; returns the
     * number of exact decisions of all. The scratch is one for the largest k. */
    int64_t (*assign_beside)(const fastkm_points* points,    /* IN  */
                             const fastkm_frame* frame,      /* IN  */
                             const fastkm_labelling* runs,   /* OUT (n_runs,) */
                             int64_t n_runs,                 /* IN  */
                             int64_t i_begin, int64_t i_end, /* IN  */
                             fastkm_scratch* scratch);       /* OUT */

    /* Codes of centroids [j_begin, j_end); j_begin is a multiple of 24. NULL in instruction sets
     * that have no products of bytes, as the next one. */
    void (*pack_bytes)(const fastkm_frame* frame,          /* IN  */
                       const fastkm_centroids* centroids,  /* IN  */
                       const fastkm_byte_centroids* bytes, /* OUT */
                       int64_t j_begin, int64_t j_end);    /* IN  */

    /* Of what assign costs, the share that assign_bytes does at least, packing included. */
    double (*least_share_in_bytes)(int64_t n, int64_t d, int64_t k, int is_kept);

    /* Codes of the panels of rows [i_begin, i_end), which are filled. */
    void (*encode_panels)(int64_t d, int64_t i_begin, int64_t i_end, /* IN  */
                          const fastkm_panels* panels);              /* OUT: codes, errors */

    /* What assign does with recheck, most of it in bytes where that pays; of points that are kept,
     * and encoded, where panels is not NULL. */
    int64_t (*assign_bytes)(const fastkm_points* points,        /* IN    */
                            const fastkm_frame* frame,          /* IN    */
                            const fastkm_centroids* centroids,  /* IN    */
                            const fastkm_byte_centroids* bytes, /* IN    */
                            const fastkm_panels* panels,        /* IN or NULL */
                            int64_t i_begin, int64_t i_end,     /* IN    */
                            fastkm_scratch* scratch,            /* OUT   */
                            fastkm_byte_work* work,             /* INOUT */
                            int32_t* labels);                   /* OUT (i_end - i_begin,) */

    /* Make vectors [begin, end) orthonormal, each orthogonal to those before it, and put them
     * behind the first `rank`, which have been taken off them. Returns the new rank: those that
     * depend on others are left out. */
    int64_t (*orthonormalise)(double* vectors,       /* INOUT (n, d) */
                              const double* lengths, /* IN (n,) before anything was taken off */
                              int64_t rank, int64_t begin, int64_t end, int64_t d);

    /* Take orthonormal vectors [begin, end) off vector j. */
    void (*take_off_block)(double* vectors, /* INOUT (n, d) */
                           int64_t begin, int64_t end, int64_t j, int64_t d);

    double (*length_of)(const double* vector, /* IN (d,) */
                        int64_t d);

    /* At least the norm of what the vectors' products with each other are off the identity. */
    double (*skewness)(const double* vectors, /* IN (n, d) */
                       int64_t n, int64_t d);

    /* Sketches of rows [i_begin, i_end), from the first row of a panel. */
    void (*sketch)(const fastkm_points* points,      /* IN  */
                   const fastkm_frame* frame,        /* IN  */
                   const fastkm_basis* basis,        /* IN  */
                   int64_t i_begin, int64_t i_end,   /* IN  */
                   fastkm_scratch* scratch,          /* OUT */
                   const fastkm_sketches* sketches); /* OUT */

    /* The same for a filter, whose centroids are followed, and how far the centroids of the rows'
     * labels are. panel has p + 2 panel rows. */
    void (*sketch_rows)(const fastkm_points* points,    /* IN  */
                        const fastkm_frame* frame,      /* IN  */
                        const fastkm_basis* basis,      /* IN  */
                        int64_t i_begin, int64_t i_end, /* IN  */
                        const int32_t* labels,          /* IN (n,) */
                        fastkm_scratch* scratch,        /* OUT */
                        float* panel,                   /* OUT */
                        const fastkm_filter* filter);   /* OUT */

    /* The last alone, of rows [i_begin, i_end) that are sketched. */
    void (*measure_rows)(const fastkm_points* points,    /* IN  */
                         const fastkm_frame* frame,      /* IN  */
                         int64_t i_begin, int64_t i_end, /* IN  */
                         const int32_t* labels,          /* IN (n,) */
                         fastkm_scratch* scratch,        /* OUT */
                         const fastkm_filter* filter);   /* OUT */

    /* Sketches of centroids [j_begin, j_end) of their order, and how far they moved from the old
     * ones. */
    void (*follow)(const fastkm_frame* frame,                  /* IN  */
                   const fastkm_basis* basis,                  /* IN  */
                   const double* centroids, const double* old, /* IN (k, d) */
                   int64_t d, int64_t k,                       /* IN  */
                   int64_t j_begin, int64_t j_end,             /* IN  */
                   const fastkm_centroid_sketches* sketches);  /* INOUT */

    /* The labels that assign gives, for rows [i_begin, i_end) of the filter's order, which have
     * labels already; labels may be labels_old. */
    void (*assign_filtered)(const fastkm_points* points,       /* IN  */
                            const fastkm_frame* frame,         /* IN  */
                            const fastkm_centroids* centroids, /* IN  */
                            const fastkm_filter* filter,       /* INOUT */
                            int64_t i_begin, int64_t i_end,    /* IN  */
                            const int32_t* labels_old,         /* IN (n,) */
                            fastkm_scratch* scratch,           /* OUT */
                            fastkm_filter_work* work,          /* INOUT */
                            int32_t* labels);                  /* INOUT (n,) */

    /* Move the rows whose label changed from the sums of the old label (-1: none) to those of the
     * new one. Returns how many changed. */
    int64_t (*accumulate)(const fastkm_points* points,    /* IN    */
                          int64_t i_begin, int64_t i_end, /* IN    */
                          const int32_t* labels_old,      /* IN (n,) */
                          const int32_t* labels,          /* IN (n,) */
                          fastkm_scratch* scratch,        /* OUT   */
                          const fastkm_sums* sums);       /* INOUT */

    /* Centroids from exact sums, the quotients rounded once; those of labels without points stay as
     * they are. */
    void (*means)(const fastkm_sums* sums,                   /* IN */
                  int64_t d, int64_t j_begin, int64_t j_end, /* IN */
                  double* centroids);                        /* INOUT (k, d) */

    /* Add the rows of the sums' own centroids, in ascending order. */
    void (*accumulate_weighted)(const fastkm_points* points,       /* IN    */
                                int64_t i_begin, int64_t i_end,    /* IN    */
                                const int32_t* labels,             /* IN (n,) */
                                const double* weights,             /* IN (n,) */
                                fastkm_scratch* scratch,           /* OUT   */
                                const fastkm_weighted_sums* sums); /* INOUT */

    /* Squared distance of each row to the centroid of its label, times exact_scale^2. */
    void (*own_sq_dists)(const fastkm_points* points,       /* IN  */
                         const fastkm_frame* frame,         /* IN  */
                         const fastkm_centroids* centroids, /* IN  */
                         int64_t i_begin, int64_t i_end,    /* IN  */
                         const int32_t* labels,             /* IN (n,) */
                         fastkm_scratch* scratch,           /* OUT */
                         double* sq_dists);                 /* OUT (i_end - i_begin,) */

    /* Squared distance of two vectors, each difference times scale. */
    double (*sq_dist)(const double* one,   /* IN (d,) */
                      const double* other, /* IN (d,) */
                      int64_t d, double scale);

    /* Distance of each row to every centroid, float if is_single and else double. */
    void (*distances)(const fastkm_points* points,       /* IN  */
                      const fastkm_frame* frame,         /* IN  */
                      const fastkm_centroids* centroids, /* IN  */
                      int64_t i_begin, int64_t i_end,    /* IN  */
                      fastkm_scratch* scratch,           /* OUT */
                      int is_single,                     /* IN  */
                      void* distances);                  /* OUT (i_end - i_begin, k) */

    /* k-means++: each candidate's weighted gain, to within errors, and for each row a mask of the
     * candidates that may be nearer than closest. The candidates are packed as centroids; closest
     * is in units of exact_scale^2. */
    void (*propose)(const fastkm_points* points,        /* IN  */
                    const fastkm_frame* frame,          /* IN  */
                    const fastkm_centroids* candidates, /* IN  */
                    const fastkm_panels* panels,        /* IN: of all points, or NULL */
                    int64_t i_begin, int64_t i_end,     /* IN  */
                    const double* closest,              /* IN (n,) */
                    const double* weights,              /* IN (n,) or NULL */
                    fastkm_scratch* scratch,            /* OUT */
                    uint32_t* masks,                    /* OUT (n,) */
                    double* gains, double* errors);     /* OUT (k,) */

    /* What propose gives, for several runs in one pass over a block of rows. */
    void (*propose_beside)(const fastkm_points* points,      /* IN  */
                           const fastkm_frame* frame,        /* IN  */
                           const fastkm_proposal* proposals, /* OUT (n_proposals,) */
                           int64_t n_proposals,              /* IN  */
                           int64_t i_begin, int64_t i_end,   /* IN  */
                           const double* weights,            /* IN (n,) or NULL */
                           fastkm_scratch* scratch);         /* OUT */

    /* Codes of rows [i_begin, i_end), from the first row of a panel. */
    void (*encode)(const fastkm_points* points,    /* IN  */
                   const fastkm_frame* frame,      /* IN  */
                   const fastkm_basis* basis,      /* IN  */
                   int64_t i_begin, int64_t i_end, /* IN  */
                   fastkm_scratch* scratch,        /* OUT */
                   float* room,                    /* OUT ((p + 1) panel rows + 2 stride,) */
                   const fastkm_codes* codes);     /* OUT but for the steps */

    /* What propose gives, from codes alone: the errors are larger. Returns of how many pairs of a
     * row and a candidate the sketches say too little. Any number of rows, from the first of a
     * panel. */
    int64_t (*propose_sketched)(const fastkm_points* points,        /* IN  */
                                const fastkm_frame* frame,          /* IN  */
                                const fastkm_centroids* candidates, /* IN  */
                                const fastkm_sketched* sketched,    /* IN  */
                                int64_t i_begin, int64_t i_end,     /* IN  */
                                const double* closest,              /* IN (n,) */
                                const double* weights,              /* IN (n,) or NULL */
                                float* room,                        /* OUT as of encode */
                                uint32_t* masks,                    /* OUT (n,) */
                                double* gains, double* errors);     /* OUT (k,) */

    /* Gains in float64 of what the masks leave possible of some candidates, and masks of those that
     * are nearer. */
    void (*settle)(const fastkm_points* points,        /* IN  */
                   const fastkm_frame* frame,          /* IN  */
                   const fastkm_centroids* candidates, /* IN  */
                   int64_t i_begin, int64_t i_end,     /* IN  */
                   uint32_t wanted,                    /* IN: a bit for each of those candidates */
                   const double* closest,              /* IN (n,) */
                   const double* weights,              /* IN (n,) or NULL */
                   fastkm_scratch* scratch,            /* OUT */
                   uint32_t* masks,                    /* INOUT (n,) */
                   double* gains);                     /* INOUT (k,) */

    /* k-means++: the distances of the rows that the accepted candidate is nearer to; returns how
     * many may have changed. */
    int64_t (*accept)(const fastkm_points* points,        /* IN  */
                      const fastkm_frame* frame,          /* IN  */
                      const fastkm_centroids* candidates, /* IN  */
                      int64_t i_begin, int64_t i_end,     /* IN  */
                      int64_t accepted,                   /* IN  */
                      const uint32_t* masks,              /* IN (n,) */
                      fastkm_scratch* scratch,            /* OUT */
                      double* closest);                   /* INOUT (n,) */

    /* Halve a node's part of a sample of n rows at the median of its widest feature. Parents come
     * before their children; the nodes of a level are apart. n is a multiple of 2^(level + 1). */
    void (*split)(const double* sample, int64_t n, int64_t d, int64_t node, int32_t level, /* IN  */
                  fastkm_scratch* scratch,                                                 /* OUT */
                  fastkm_valued_row* rows, /* INOUT (n,) each row once, part by part */
                  int32_t* features,       /* OUT: the node's, as fastkm_splits has them */
                  double* thresholds);     /* OUT: the node's */

    /* The leaf, from 0 on, that each row falls to. */
    void (*sort)(const fastkm_points* points,    /* IN  */
                 const fastkm_splits* splits,    /* IN  */
                 int64_t i_begin, int64_t i_end, /* IN  */
                 fastkm_scratch* scratch,        /* OUT */
                 uint16_t* leaves);              /* OUT (n,) */

    /* One cell's panels and box. */
    void (*fill_cell)(const fastkm_points* points, /* IN  */
                      const fastkm_frame* frame,   /* IN  */
                      int64_t cell,                /* IN  */
                      char* rows, /* OUT: room for the cell's rows in their dtype */
                      const fastkm_kept_cells* cells); /* OUT */

    /* One cell's part of the state, but for masks; after that accept_cells keeps it up to date. */
    void (*begin_cell)(const fastkm_frame* frame,       /* IN  */
                       const fastkm_kept_cells* cells,  /* IN  */
                       int64_t cell,                    /* IN  */
                       const double* closest,           /* IN (n,) of the points */
                       const fastkm_cell_state* state); /* OUT */

    /* What propose gives, of a group of FASTKM_CELLS_BESIDE cells; errors hold what the gains may
     * be wrong by, infinite or not a number where that is not known. */
    void (*propose_group)(const fastkm_frame* frame,          /* IN  */
                          const fastkm_centroids* candidates, /* IN  */
                          const fastkm_kept_cells* cells,     /* IN  */
                          int64_t group,                      /* IN  */
                          const double* weights,              /* IN (n,) of the points, or NULL */
                          const fastkm_cell_state* state,     /* OUT: live, masks */
                          double* gains, double* errors);     /* OUT (k,) */

    /* What accept does, of at most FASTKM_CELLS_BESIDE cells; touched says where. */
    void (*accept_cells)(const fastkm_points* points,        /* IN  */
                         const fastkm_frame* frame,          /* IN  */
                         const fastkm_centroids* candidates, /* IN  */
                         const fastkm_kept_cells* cells,     /* IN  */
                         int64_t c_begin, int64_t c_end,     /* IN  */
                         int64_t accepted,                   /* IN  */
                         fastkm_scratch* scratch,            /* OUT */
                         const fastkm_cell_state* state,     /* INOUT */
                         double* closest);                   /* INOUT (n,) of the points */

    /* The sums of some blocks of rows, each from first to last. */
    void (*sum_blocks)(const double* const* blocks, /* IN  (FASTKM_BLOCKS_BESIDE,) */
                       double* sums);               /* OUT (FASTKM_BLOCKS_BESIDE,) */

    /* Take the centroids, packed, and how far they have moved: beside what drifts hold, if is_more.
     */
    void (*follow_gaps)(const fastkm_frame* frame,         /* IN  */
                        const fastkm_centroids* centroids, /* IN  */
                        int is_more,                       /* IN  */
                        const fastkm_gaps* gaps);          /* INOUT */

    /* Label the rows of kept cells [c_begin, c_end), given the labels under the last centroids, and
     * move those that change from sums to others, where sums is not NULL. Only labels that change
     * are written. */
    void (*assign_by_gaps)(const fastkm_points* points,       /* IN  */
                           const fastkm_frame* frame,         /* IN  */
                           const fastkm_centroids* centroids, /* IN  */
                           const fastkm_kept_cells* cells,    /* IN  */
                           const fastkm_gaps* gaps,           /* INOUT */
                           int64_t c_begin, int64_t c_end,    /* IN  */
                           fastkm_scratch* scratch,           /* OUT */
                           fastkm_gap_scratch* mine,          /* OUT */
                           fastkm_cell_work* work,            /* INOUT */
                           const int32_t* labels_old,         /* IN (n,) */
                           int32_t* labels,                   /* INOUT (n,) */
                           const fastkm_sums* sums);          /* INOUT, or NULL */

    /* See how far the centroids, packed, have moved; is_complete tells whether all rows have been
     * labelled under the last ones. Without a step, one is chosen. */
    void (*follow_moves)(const fastkm_frame* frame,         /* IN    */
                         const fastkm_centroids* centroids, /* IN    */
                         int is_complete,                   /* IN    */
                         fastkm_scratch* scratch,           /* OUT   */
                         fastkm_leads* leads);              /* INOUT */

    /* What that takes off the leads of labels [j_begin, j_end). */
    void (*follow_labels)(const fastkm_frame* frame,         /* IN    */
                          const fastkm_centroids* centroids, /* IN    */
                          int64_t j_begin, int64_t j_end,    /* IN    */
                          int is_complete,                   /* IN    */
                          fastkm_scratch* scratch,           /* OUT   */
                          const fastkm_leads* leads);        /* INOUT */

    /* Label rows [i_begin, i_end), given the labels under the last centroids. */
    void (*assign_by_leads)(const fastkm_points* points,       /* IN  */
                            const fastkm_frame* frame,         /* IN  */
                            const fastkm_centroids* centroids, /* IN  */
                            const fastkm_leads* leads,         /* INOUT */
                            int64_t i_begin, int64_t i_end,    /* IN  */
                            const int32_t* labels_old,         /* IN (n,) */
                            fastkm_scratch* scratch,           /* OUT */
                            fastkm_lead_work* work,            /* INOUT */
                            int32_t* labels);                  /* OUT (n,): rows of the range */

    /* Rows [i_begin, i_end), from the first row of a block, into their panels. */
    void (*fill_panels)(const fastkm_points* points,    /* IN  */
                        const fastkm_frame* frame,      /* IN  */
                        int64_t i_begin, int64_t i_end, /* IN  */
                        const fastkm_panels* panels);   /* OUT */

    /* Rows in float64. */
    void (*load)(const fastkm_points* points, /* IN */
                 const int64_t* rows,         /* IN (n_rows,) */
                 int64_t n_rows,              /* IN */
                 double* out);                /* OUT (n_rows, d) */

    /* The moments of some rows. */
    void (*describe)(const fastkm_points* points,    /* IN    */
                     int64_t i_begin, int64_t i_end, /* IN    */
                     fastkm_scratch* scratch,        /* OUT   */
                     const fastkm_moments* moments); /* OUT   */

    /* A point near the data: the mean of some rows. */
    void (*find_origin)(const fastkm_points* points, /* IN  */
                        int64_t step,                /* IN: every step-th row */
                        fastkm_scratch* scratch,     /* OUT */
                        double* origin);             /* OUT (d,) */

    /* Columns from the moments of segments of the rows, sum, sum_sq, min and max of each. Returns
     * whether all sums are finite. */
    int32_t (*join_moments)(const double* moments,         /* IN (n_segments, 4, d) */
                            int64_t n_segments,            /* IN */
                            int64_t n, int64_t d,          /* IN */
                            const double* origin,          /* IN (d,) */
                            int32_t n_bits,                /* IN: of a limb of the sums */
                            const fastkm_columns* columns, /* OUT */
                            fastkm_extent* extent);        /* OUT */

    /* Copy rows, in their dtype, one behind the other. */
    void (*gather)(const fastkm_points* points, /* IN */
                   const int64_t* rows,         /* IN (n_rows,) */
                   int64_t n_rows,              /* IN */
                   char* out);                  /* OUT (n_rows, d) */

    /* Centroids [j_begin, j_end) learn from their rows of a batch: entries j of moved and
     * moved_counts, and sq_dists of those rows. */
    void (*learn)(const fastkm_points* points,    /* IN  */
                  const fastkm_lesson* lesson,    /* OUT */
                  int64_t j_begin, int64_t j_end, /* IN  */
                  fastkm_scratch* scratch);       /* OUT */

    /* How the rows of one label are cut into cells. */
    void (*plan_cells)(const fastkm_points* points, const int32_t* rows, int64_t n_rows, /* IN */
                       fastkm_scratch* scratch,                                          /* OUT */
                       double* mean, double* spread, /* OUT (d,) */
                       fastkm_cell_plan* plan);      /* OUT */

    /* In which of its label's parts each row lies. */
    void (*find_parts)(const fastkm_points* points,    /* IN  */
                       const fastkm_cell_plan* plans,  /* IN (k,) */
                       const double* means,            /* IN (k, d) */
                       const int32_t* labels,          /* IN (n,) */
                       int64_t i_begin, int64_t i_end, /* IN  */
                       fastkm_scratch* scratch,        /* OUT */
                       uint16_t* parts);               /* OUT (n,) */

    /* The rounding bounds of a table whose squared norms are known. */
    void (*bound_columns)(const fastkm_transposed* table, /* OUT */
                          int64_t d);                     /* IN  */

    /* The boxes of some cells. */
    void (*enclose)(const fastkm_points* points, const fastkm_frame* frame, /* IN  */
                    const fastkm_cells* cells,                              /* OUT */
                    int64_t c_begin, int64_t c_end,                         /* IN  */
                    fastkm_scratch* scratch);                               /* OUT */

    /* The labels that assign gives, of the rows of some groups of cells; and with sums, what
     * accumulate does for these rows. Without labels it only counts the products. */
    void (*assign_cells)(const fastkm_points* points,       /* IN  */
                         const fastkm_frame* frame,         /* IN  */
                         const fastkm_centroids* centroids, /* IN  */
                         const fastkm_cells* cells,         /* IN  */
                         int64_t g_begin, int64_t g_end,    /* IN  */
                         fastkm_scratch* scratch,           /* OUT */
                         fastkm_cell_scratch* mine,         /* OUT */
                         fastkm_cell_work* work,            /* INOUT */
                         const int32_t* labels_old,         /* IN (n,) */
                         int32_t* labels,          /* OUT (n,), the groups' rows, or NULL */
                         const fastkm_sums* sums); /* INOUT or NULL */

    /* As accumulate, for the rows listed. */
    int64_t (*accumulate_listed)(const fastkm_points* points,         /* IN    */
                                 const int32_t* rows, int64_t n_rows, /* IN    */
                                 const int32_t* labels_old,           /* IN (n,) */
                                 const int32_t* labels,               /* IN (n,) */
                                 fastkm_scratch* scratch,             /* OUT   */
                                 const fastkm_sums* sums);            /* INOUT */

    /* Distances of queries [q_begin, q_end) to targets [p_begin, p_end), which are places in the
     * order, after those to all before. All means are in the frame's scale. */
    void (*silhouette)(const fastkm_points* points,            /* IN  */
                       const fastkm_frame* frame,              /* IN  */
                       const fastkm_silhouette* pass,          /* INOUT */
                       int64_t q_begin, int64_t q_end,         /* IN  */
                       int64_t p_begin, int64_t p_end,         /* IN  */
                       fastkm_scratch* scratch,                /* OUT */
                       const fastkm_silhouette_scratch* mine); /* OUT */

    fastkm_sparse_kernels sparse; /* for CSR rows */
} fastkm_kernels;

/* The implementations built in, slowest first; NULL past the end. */
const fastkm_kernels* fastkm_built(int index);
/* Whether this machine and its operating system run the implementation. */
int fastkm_is_supported(const fastkm_kernels* kernels);

/* Bytes of one thread's scratch, and the scratch carved out of such memory (aligned to
 * FASTKM_ALIGN). */
size_t fastkm_scratch_bytes(const fastkm_kernels* kernels, int64_t d, int64_t k);
fastkm_scratch fastkm_scratch_in(char* memory, const fastkm_kernels* kernels, int64_t d, int64_t k);

#ifdef __cplusplus
}
#endif
#endif
