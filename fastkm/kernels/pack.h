/* Centroids into the layouts that the kernels stream. */

/* Calls function(..., n) with the tile's size as a compile-time constant. */
#define WITH_CONSTANT_TILE(n, call)  \
    switch (n) {                     \
    case 1:                          \
        call(1);                     \
        break;                       \
    case 2:                          \
        call(2);                     \
        break;                       \
    case 3:                          \
        call(3);                     \
        break;                       \
    case 4:                          \
        call(4);                     \
        break;                       \
    case 5:                          \
        call(5);                     \
        break;                       \
    default:                         \
        call(FASTKM_TILE_CENTROIDS); \
        break;                       \
    }

/* Where a centroid's -2 z begins in the tiles; its features are `stride` values apart. */
static FASTKM_INLINE const float* find_in_tiles(const fastkm_centroids* centroids, int64_t j,
                                                int64_t* stride) {
    const int64_t group = j - j % FASTKM_TILE_CENTROIDS;
    *stride = FASTKM_MIN(centroids->k - group, FASTKM_TILE_CENTROIDS);
    return centroids->tiles + group * centroids->d + j - group;
}

#define PARTIAL_SQ_NORMS 8 /* that no product waits for the sum before it */

/* z = (c - shift) * scale, rounded once, of some features of one centroid. */
static FASTKM_INLINE void centre_centroid(const fastkm_frame* frame, /* IN */
                                          const double* centroid, int64_t f_begin, int64_t width,
                                          float z[CENTRE_COLUMNS],          /* OUT */
                                          double sq_norm[PARTIAL_SQ_NORMS]) /* INOUT */
{
    const double* FASTKM_RESTRICT shift = frame->shift + f_begin;
    const double* FASTKM_RESTRICT c = centroid + f_begin;
    for (int64_t f = 0; f < width; f++) z[f] = (float)((c[f] - shift[f]) * frame->scale);
    for (int64_t f = width; f % PARTIAL_SQ_NORMS; f++) z[f] = 0;
    for (int64_t f = 0; f < width; f += PARTIAL_SQ_NORMS)
        for (int s = 0; s < PARTIAL_SQ_NORMS; s++) sq_norm[s] += (double)z[f + s] * z[f + s];
}

/* Returns the group's largest squared norm. */
static FASTKM_INLINE double pack_tile(const fastkm_frame* frame, const fastkm_centroids* centroids,
                                      int64_t group, const int n) {
    const int64_t d = centroids->d;
    float z[FASTKM_TILE_CENTROIDS][CENTRE_COLUMNS];
    double partial[FASTKM_TILE_CENTROIDS][PARTIAL_SQ_NORMS] = {{0}}, max_sq_norm = 0;
    for (int64_t f_begin = 0; f_begin < d; f_begin += CENTRE_COLUMNS) {
        const int64_t width = FASTKM_MIN(d - f_begin, CENTRE_COLUMNS);
        float* FASTKM_RESTRICT tile = centroids->tiles + group * d + f_begin * n;
        for (int j = 0; j < n; j++)
            centre_centroid(frame, centroids->raw + (group + j) * d, f_begin, width, z[j],
                            partial[j]);
        for (int64_t f = 0; f < width; f++)
            for (int j = 0; j < n; j++) tile[f * n + j] = -2 * z[j][f];
    }
    for (int j = 0; j < n; j++) {
        double sq_norm = 0;
        for (int s = 0; s < PARTIAL_SQ_NORMS; s++) sq_norm += partial[j][s];
        centroids->sq_norms[group + j] = (float)sq_norm;
        max_sq_norm = FASTKM_MAX(max_sq_norm, sq_norm);
    }
    return max_sq_norm;
}

/* The last group is filled up with zeros. */
static void pack_exact(const fastkm_frame* frame, const fastkm_centroids* centroids,
                       int64_t group) {
    const int64_t d = centroids->d, n = FASTKM_MIN(centroids->k - group, FASTKM_EXACT_LANES);
    const double* FASTKM_RESTRICT raw = centroids->raw + group * d;
    const double scale = frame->exact_scale;
    double* FASTKM_RESTRICT exact = centroids->exact + group * d;
    if (n < FASTKM_EXACT_LANES) memset(exact, 0, (size_t)(d * FASTKM_EXACT_LANES) * sizeof *exact);
    for (int64_t f = 0; f < d; f++)
        for (int64_t j = 0; j < n; j++) exact[f * FASTKM_EXACT_LANES + j] = raw[j * d + f] * scale;
}

/* A heat is some neighbouring centroids, of which only the nearest meets those of other heats. */
#define QUAD 4
#if defined HEAT_COLUMNS
/* (heat size, 1 + d, heats): a value of all heats lies side by side, to be looked up. Every heat
 * walks through all of them, which pays in a first-level cache of 32 KiB. */
#define HAS_HEATS 1
#define HEATS_FIT(k, d) ((k) * (1 + (d)) <= 8192)
#define HEAT_STRIDE HEAT_COLUMNS
#define HEAT_STEP(d) 1
#define MEMBER_STEP(d) ((1 + (d)) * HEAT_STRIDE)
static FASTKM_INLINE int64_t heat_size(int64_t k) {
    return FASTKM_MAX((k + HEAT_COLUMNS - 1) / HEAT_COLUMNS, QUAD);
}
#elif defined FOLDS_QUADS
/* (heats, 1 + d, heat size): a value of a heat lies side by side, to be loaded. */
#define HAS_HEATS 1
#define HEATS_FIT(k, d) 1
#define HEAT_STRIDE QUAD
#define HEAT_STEP(d) ((1 + (d)) * HEAT_STRIDE)
#define MEMBER_STEP(d) 1
static FASTKM_INLINE int64_t heat_size(int64_t k) {
    (void)k;
    return QUAD;
}
#endif

/* Whether the two nearest are sought heat by heat. From so many centroids on that saves more
 * than finding the nearest of each row's heat again costs. */
static int has_heats(const fastkm_centroids* centroids) {
#ifdef HAS_HEATS
    const int64_t k = centroids->k, d = centroids->d;
    return centroids->heats != NULL && k >= 12 * (d + 2) && HEATS_FIT(k, d);
#else
    (void)centroids;
    return 0;
#endif
}

#ifdef HAS_HEATS
static float* find_in_heats(const fastkm_centroids* centroids, int64_t j) {
    const int64_t d = centroids->d, size = heat_size(centroids->k);
    return centroids->heats + j / size * HEAT_STEP(d) + j % size * MEMBER_STEP(d);
}

/* From the tiles; the last heat is filled up with infinite norms. */
static void pack_heats(const fastkm_centroids* centroids, int64_t j_begin, int64_t j_end) {
    const int64_t d = centroids->d, size = heat_size(centroids->k);
    for (int64_t j = j_begin; j < j_end; j++) {
        int64_t stride;
        const float* FASTKM_RESTRICT z = find_in_tiles(centroids, j, &stride);
        float* FASTKM_RESTRICT values = find_in_heats(centroids, j);
        values[0] = centroids->sq_norms[j];
        for (int64_t f = 0; f < d; f++) values[(1 + f) * HEAT_STRIDE] = z[f * stride];
    }
    for (int64_t j = j_end; j_end == centroids->k && j % size; j++) {
        float* values = find_in_heats(centroids, j);
        values[0] = INFINITY;
        for (int64_t f = 0; f < d; f++) values[(1 + f) * HEAT_STRIDE] = 0;
    }
}
#endif

static float pack(const fastkm_frame* frame, const fastkm_centroids* centroids, int64_t j_begin,
                  int64_t j_end) {
    double max_sq_norm = 0, sq_norm = 0;
    for (int64_t j = j_begin; j < j_end; j += FASTKM_TILE_CENTROIDS) {
#define PACK(n) sq_norm = pack_tile(frame, centroids, j, n)
        WITH_CONSTANT_TILE(j_end - j, PACK)
#undef PACK
        max_sq_norm = FASTKM_MAX(max_sq_norm, sq_norm);
    }
    for (int64_t j = j_begin; j < j_end; j += FASTKM_EXACT_LANES) pack_exact(frame, centroids, j);
#ifdef HAS_HEATS
    if (has_heats(centroids)) pack_heats(centroids, j_begin, j_end);
#endif
    /* Rounded up past float32's rounding of z and of the root. */
    return (float)(sqrt(max_sq_norm) * (1 + 0x1p-20)) + FLT_MIN;
}
