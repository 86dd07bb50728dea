/* Centroids into the layouts that the kernels stream. */

static float pack(const fastkm_frame* frame, const fastkm_centroids* centroids, int64_t j_begin,
                  int64_t j_end) {
    const int64_t d = centroids->d, k = centroids->k;
    double max_sq_norm = 0;
    for (int64_t j = j_begin; j < j_end; j++) {
        const int64_t group = j - j % FASTKM_TILE_CENTROIDS;
        const int64_t group_size = FASTKM_MIN(k - group, FASTKM_TILE_CENTROIDS);
        float* tile = centroids->tiles + group * d + j % FASTKM_TILE_CENTROIDS;
        double* exact = centroids->exact + j / FASTKM_EXACT_LANES * FASTKM_EXACT_LANES * d +
                        j % FASTKM_EXACT_LANES;
        const double* centroid = centroids->raw + j * d;
        double sq_norm = 0;
        for (int64_t f = 0; f < d; f++) {
            const float z = (float)((centroid[f] - frame->shift[f]) * frame->scale);
            tile[f * group_size] = -2 * z;
            sq_norm += (double)z * z;
            exact[f * FASTKM_EXACT_LANES] = centroid[f] * frame->exact_scale;
        }
        centroids->sq_norms[j] = (float)sq_norm;
        max_sq_norm = FASTKM_MAX(max_sq_norm, sq_norm);
    }
    for (int64_t j = j_end; j_end == k && j % FASTKM_EXACT_LANES; j++)
        for (int64_t f = 0; f < d; f++)
            centroids->exact[(j / FASTKM_EXACT_LANES * d + f) * FASTKM_EXACT_LANES +
                             j % FASTKM_EXACT_LANES] = 0;
    /* Rounded up past float32's rounding of z and of the root. */
    return (float)(sqrt(max_sq_norm) * (1 + 0x1p-20)) + FLT_MIN;
}
