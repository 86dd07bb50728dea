/* Labels: the nearest by float32, the proof that it decided right, and float64 where it did not;
 * see README.md. */

/* Constants of the rounding bound E(R) = a R (R + 2 ||y||) + b (||y|| + R)^2 + c (1 + ||y|| + R);
 * README.md derives it. */
typedef struct {
    float a, b, c, slack;
} rounding_bound;

static rounding_bound bound_for(int64_t d) {
    const double chain = (double)(d + 8) * 0x1p-24;
    const double relative = chain < 0.25 ? chain / (1 - chain) : INFINITY;
    return (rounding_bound){(float)(relative * 1.001), (float)((double)(d + 8) * 0x1p-53),
                            (float)((double)(d + 8) * 0x1p-124), (float)(1.001 + 2 * relative)};
}

static FASTKM_INLINE vf bound_at(const rounding_bound* bound, vf norm, vf radius) {
    const vf both = vf_add(norm, radius);
    const vf product = vf_mul(vf_mul(vf_set1(bound->a), radius), vf_add(both, norm));
    const vf direct = vf_mul(vf_mul(vf_set1(bound->b), both), both);
    return vf_add(vf_add(product, direct), vf_mul(vf_set1(bound->c), vf_add(vf_set1(1), both)));
}

/* A bit for each of a vector's points whose two nearest lie no further apart than twice the bound.
 */
static FASTKM_INLINE uint32_t undecided_at(const rounding_bound* bound, vf best, vf second, vf norm,
                                           vf radius) {
    const vf margin = vf_mul(bound_at(bound, norm, radius), vf_set1(2 * bound->slack));
    return ~vm_bits(vf_lt(margin, vf_sub(second, best))) & ((1u << LANES) - 1);
}

/* A bit for each of a vector's points whose two nearest lie closer together than float32 can tell.
 */
static FASTKM_INLINE uint32_t undecided(const rounding_bound* bound, vf best, vf second, vf sq_norm,
                                        float max_norm) {
    const vf slack = vf_set1(bound->slack);
    const vf norm = vf_mul(vf_sqrt(sq_norm), slack);
    const vf sq_dist_f32 = vf_max(vf_add(best, vf_mul(sq_norm, slack)), vf_set1(0));
    vf radius = vf_set1(max_norm);
    /* Mostly the largest radius will do, and the roots need not be taken. */
    if (!undecided_at(bound, best, second, norm, radius)) return 0;
    for (int pass = 0; pass < 2; pass++) {
        const vf reach = vf_sqrt(vf_mul(vf_add(sq_dist_f32, bound_at(bound, norm, radius)), slack));
        radius = vf_min(vf_mul(vf_add(norm, reach), slack), radius);
    }
    return undecided_at(bound, best, second, norm, radius);
}

static int64_t settle_panel(const fastkm_points* points, const fastkm_frame* frame,
                            const fastkm_centroids* centroids, const rounding_bound* bound,
                            int64_t i_begin, const int32_t* rows, int64_t n_rows, int recheck,
                            const nearest_two* nearest, const float* sq_norms,
                            fastkm_scratch* scratch, int32_t* labels) {
    int64_t n_exact = 0;
    memcpy(labels, nearest->index, (size_t)n_rows * sizeof *labels);
    if (!recheck || centroids->k == 1) return 0;
    for (int64_t r = 0; r < n_rows; r += LANES) {
        uint32_t open = undecided(bound, vf_load(nearest->best + r), vf_load(nearest->second + r),
                                  vf_load(sq_norms + r), centroids->max_norm);
        for (int64_t i = r; open && i < n_rows; i++, open >>= 1)
            if (open & 1) {
                labels[i] =
                    exact_label(points, frame, centroids, rows ? rows[i] : i_begin + i, scratch);
                n_exact++;
            }
    }
    return n_exact;
}

/* A panel's rows as they are multiplied, and what is left to ask for of those after them. */
typedef struct {
    const float *values, *sq_norms;
    lines_ahead ahead;
} ready_panel;

/* That of row i where panels are kept; where panels is NULL it is loaded into scratch and sq_norms.
 * It is to meet k centroids. */
static FASTKM_INLINE ready_panel panel_of(const fastkm_points* points, const fastkm_frame* frame,
                                          const fastkm_panels* panels, int64_t i, int64_t n_rows,
                                          int64_t k, fastkm_scratch* scratch, float* sq_norms) {
    if (panels)
        return (ready_panel){panels->values + i * points->d, panels->sq_norms + i,
                             no_lines(points->base)};
    load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
    return (ready_panel){scratch->panel, sq_norms, lines_of_next_panel(points, i, k)};
}

/* Labels rows whose panels are kept where panels is not NULL, and loads each panel where it is. */
static FASTKM_INLINE int64_t assign_rows(const fastkm_points* points, const fastkm_frame* frame,
                                         const fastkm_centroids* centroids,
                                         const fastkm_panels* panels, int64_t i_begin,
                                         int64_t i_end, int recheck, fastkm_scratch* scratch,
                                         int32_t* labels) {
    const rounding_bound bound = bound_for(points->d);
    int64_t n_exact = 0;
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        const ready_panel panel =
            panel_of(points, frame, panels, i, n_rows, centroids->k, scratch, sq_norms);
        fold_panel(panel.values, centroids, panel.ahead, &nearest);
        n_exact += settle_panel(points, frame, centroids, &bound, i, NULL, n_rows, recheck,
                                &nearest, panel.sq_norms, scratch, labels + (i - i_begin));
    }
    return n_exact;
}

static int64_t assign(const fastkm_points* points, const fastkm_frame* frame,
                      const fastkm_centroids* centroids, int64_t i_begin, int64_t i_end,
                      int recheck, fastkm_scratch* scratch, int32_t* labels) {
    return assign_rows(points, frame, centroids, NULL, i_begin, i_end, recheck, scratch, labels);
}

static int64_t assign_kept(const fastkm_points* points, const fastkm_frame* frame,
                           const fastkm_centroids* centroids, const fastkm_panels* panels,
                           int64_t i_begin, int64_t i_end, fastkm_scratch* scratch,
                           int32_t* labels) {
    return assign_rows(points, frame, centroids, panels, i_begin, i_end, 1, scratch, labels);
}

/* Every panel is loaded once and meets the centroids of all runs. */
static int64_t assign_beside(const fastkm_points* points, const fastkm_frame* frame,
                             const fastkm_labelling* runs, int64_t n_runs, int64_t i_begin,
                             int64_t i_end, fastkm_scratch* scratch) {
    const rounding_bound bound = bound_for(points->d);
    int64_t n_exact = 0;
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    for (int64_t i = i_begin; i < i_end; i += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(i_end - i, PANEL_ROWS);
        lines_ahead ahead = lines_of_next_panel(points, i, runs[0].centroids->k);
        load_panel(points, frame, i, n_rows, scratch->panel, sq_norms);
        for (int64_t r = 0; r < n_runs; r++) {
            fold_panel(scratch->panel, runs[r].centroids, ahead, &nearest);
            n_exact += settle_panel(points, frame, runs[r].centroids, &bound, i, NULL, n_rows, 1,
                                    &nearest, sq_norms, scratch, runs[r].labels + i);
            ahead.lines_per_tile = 0; /* the first run's tiles have asked for all */
        }
    }
    return n_exact;
}
