/* Linear algebra for the few directions that sketches need, so that no other library's threads are
 * woken: they would stay awake, and in the way, for a tenth of a second. */

static FASTKM_INLINE double dot(const double* a, const double* b, int64_t d) {
    vd sum[4];
    double partial[DOUBLE_LANES], total = 0;
    int64_t f = 0;
    for (int v = 0; v < 4; v++) sum[v] = vd_set1(0);
    for (; f + 4 * DOUBLE_LANES <= d; f += 4 * DOUBLE_LANES)
        for (int v = 0; v < 4; v++)
            sum[v] = vd_add(sum[v], vd_mul(vd_load(a + f + v * DOUBLE_LANES),
                                           vd_load(b + f + v * DOUBLE_LANES)));
    for (; f < d; f++) total += a[f] * b[f];
    vd_store(partial, vd_add(vd_add(sum[0], sum[1]), vd_add(sum[2], sum[3])));
    for (int l = 0; l < DOUBLE_LANES; l++) total += partial[l];
    return total;
}

/* a -= factor b */
static FASTKM_INLINE void take_off(double* FASTKM_RESTRICT a, const double* FASTKM_RESTRICT b,
                                   double factor, int64_t d) {
    for (int64_t f = 0; f < d; f++) a[f] -= factor * b[f];
}

static void take_off_block(double* vectors, int64_t begin, int64_t end, int64_t j, int64_t d) {
    double* vector = vectors + j * d;
    for (int64_t i = begin; i < end; i++)
        take_off(vector, vectors + i * d, dot(vector, vectors + i * d, d), d);
}

/* Gram and Schmidt's way. A vector that depends on those before it, but for a part in 10^6, is left
 * out; so rounding leaves products of 10^-10 at most, far below those of float32. */
static int64_t orthonormalise(double* vectors, const double* lengths, int64_t rank, int64_t begin,
                              int64_t end, int64_t d) {
    const int64_t first = rank;
    for (int64_t j = begin; j < end; j++) {
        double* vector = vectors + rank * d;
        if (rank < j) memcpy(vector, vectors + j * d, (size_t)d * sizeof *vector);
        take_off_block(vectors, first, rank, rank, d);
        const double left = sqrt(dot(vector, vector, d));
        if (!(left > 1e-6 * lengths[j] && left < INFINITY)) continue;
        for (int64_t f = 0; f < d; f++) vector[f] /= left;
        rank++;
    }
    return rank;
}

static double length_of(const double* vector, int64_t d) {
    return sqrt(dot(vector, vector, d));
}

/* At least ||Q'Q - I||, by the squares of all entries; Q has the vectors as columns. */
static double skewness(const double* vectors, int64_t n, int64_t d) {
    double total = 0;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i <= j; i++) {
            const double off = dot(vectors + i * d, vectors + j * d, d) - (i == j);
            total += (i == j ? 1 : 2) * off * off;
        }
    return sqrt(total) * (1 + 1e-6) + 1e-12;
}
