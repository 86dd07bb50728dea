/* One implementation: the shared bodies over the vector operations that the including source chose.
 * Everything is static, so that no function built for one instruction set can be linked into
 * another. */
#include "load.h"
#include "exact.h"
#include "distances.h"
#include "pack.h"
#include "folds.h"
#include "assign.h"
#include "subspace.h"
#include "sketches.h"
#include "measure.h"
#include "filter_bounds.h"
#include "filter_rows.h"
#include "filter_tiles.h"
#include "filter_refine.h"
#include "filter.h"
#include "byte_products.h"
#include "accumulate.h"
#include "neighbours.h"
#include "describe.h"
#include "propose.h"
#include "sparse.h"
#include "sparse_sums.h"
#include "sparse_propose.h"
#include "batch.h"
#include "cells.h"
#include "cell_seeds.h"
#include "gaps.h"
#include "leads.h"
#include "silhouette.h"
#include "codes.h"
#include "sketched_propose.h"
#include "sparse_batch.h"

#define TABLE_NAME_(isa) fastkm_kernels_##isa
#define TABLE_NAME(isa) TABLE_NAME_(isa)
#define ISA_STRING_(isa) #isa
#define ISA_STRING(isa) ISA_STRING_(isa)

extern const fastkm_kernels TABLE_NAME(ISA);
const fastkm_kernels TABLE_NAME(ISA) = {
    .isa = ISA_STRING(ISA),
    .panel_rows = PANEL_ROWS,
    .pack = pack,
    .assign = assign,
    .assign_kept = assign_kept,
    .assign_beside = assign_beside,
#ifdef LARGEST_ROW_CODE
    .pack_bytes = pack_bytes,
    .encode_panels = encode_panels,
    .assign_bytes = assign_bytes,
    .least_share_in_bytes = least_share_in_bytes,
#endif
    .orthonormalise = orthonormalise,
    .take_off_block = take_off_block,
    .length_of = length_of,
    .skewness = skewness,
    .sketch = sketch,
    .sketch_rows = sketch_rows,
    .measure_rows = measure_rows,
    .follow = follow,
    .assign_filtered = assign_filtered,
    .accumulate = accumulate,
    .means = means,
    .accumulate_weighted = accumulate_weighted,
    .own_sq_dists = own_sq_dists,
    .sq_dist = sq_dist,
    .distances = distances,
    .propose = propose,
    .propose_beside = propose_beside,
    .encode = encode,
    .propose_sketched = propose_sketched,
    .settle = settle,
    .accept = accept,
    .split = split,
    .sort = sort_rows,
    .fill_cell = fill_cell,
    .begin_cell = begin_cell,
    .propose_group = propose_group,
    .accept_cells = accept_cells,
    .sum_blocks = sum_blocks,
    .follow_gaps = follow_gaps,
    .assign_by_gaps = assign_by_gaps,
    .follow_moves = follow_moves,
    .follow_labels = follow_labels,
    .assign_by_leads = assign_by_leads,
    .fill_panels = fill_panels,
    .load = load,
    .describe = describe,
    .plan_cells = plan_cells,
    .find_parts = find_parts,
    .bound_columns = bound_columns,
    .enclose = enclose,
    .assign_cells = assign_cells,
    .accumulate_listed = accumulate_listed,
    .silhouette = silhouette,
    .find_origin = find_origin,
    .join_moments = join_moments,
    .sparse =
        {
            .norms = sparse_norms,
            .pack = sparse_pack,
            .pack_norm = sparse_pack_norm,
            .assign = sparse_assign,
            .accumulate = sparse_accumulate,
            .means = sparse_means,
            .accumulate_weighted = sparse_accumulate_weighted,
            .own_sq_dists = sparse_own_sq_dists,
            .own_sq_dist = sparse_own_sq_dist,
            .sq_dists = sparse_sq_dists,
            .propose = sparse_propose,
            .accept = sparse_accept,
            .describe = sparse_describe,
            .gather = sparse_gather,
            .learn = sparse_learn,
        },
    .gather = gather,
    .learn = learn,
};
