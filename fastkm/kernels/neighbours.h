/* Cells: few rows that lie near each other, in a box, and the centroids that can be nearest to a
 * point of it; README.md proves which. Where there is only one, no row is read. */

/* How a label's rows are halved, over and over, along the widest feature left. */
static void plan_cells(const fastkm_points* points, const int32_t* rows, int64_t n_rows, /* IN  */
                       fastkm_scratch* scratch,                                          /* OUT */
                       double* mean, double* spread,                                     /* OUT */
                       fastkm_cell_plan* plan)                                           /* OUT */
{
    const int64_t d = points->d, n_sampled = FASTKM_MIN(n_rows, FASTKM_CELL_SAMPLE);
    for (int64_t f = 0; f < d; f++) mean[f] = spread[f] = 0;
    plan->n_halvings = 0;
    if (n_rows <= FASTKM_CELL_ROWS) return;
    for (int64_t s = 0; s < n_sampled; s++) {
        load_row(points, rows[s * n_rows / n_sampled], scratch->row);
        for (int64_t f = 0; f < d; f++) {
            const double step = (scratch->row[f] - mean[f]) / (double)(s + 1);
            spread[f] += step * step * (double)s * (double)(s + 1);
            mean[f] += step;
        }
    }
    /* Even values reach sqrt(3) deviations off their mean; each half's middle is half as far. */
    for (int64_t f = 0; f < d; f++) spread[f] = sqrt(3 * spread[f] / (double)n_sampled) / 2;
    while (plan->n_halvings < FASTKM_MAX_HALVINGS &&
           n_rows << FASTKM_HALVINGS_BEYOND > (int64_t)FASTKM_CELL_ROWS << plan->n_halvings) {
        int64_t widest = 0;
        for (int64_t f = 1; f < d; f++)
            if (spread[f] > spread[widest]) widest = f;
        plan->features[plan->n_halvings] = (int32_t)widest;
        plan->steps[plan->n_halvings++] = spread[widest];
        spread[widest] /= 2;
    }
}

/* In which of its label's parts each row lies, so numbered that most neighbours are numbered next
 * to each other: in a half that follows an upper one, the upper one comes first. */
static void find_parts(const fastkm_points* points, const fastkm_cell_plan* plans, /* IN  */
                       const double* means, const int32_t* labels,                 /* IN  */
                       int64_t i_begin, int64_t i_end,                             /* IN  */
                       fastkm_scratch* scratch,                                    /* OUT */
                       uint16_t* parts)                                            /* OUT */
{
    const int64_t d = points->d;
    double* FASTKM_RESTRICT middle = scratch->rows;
    for (int64_t i = i_begin; i < i_end; i++) {
        const fastkm_cell_plan* plan = &plans[labels[i]];
        uint32_t part = 0;
        if (plan->n_halvings > 0) {
            load_row(points, i, scratch->row);
            memcpy(middle, means + labels[i] * d, (size_t)d * sizeof *middle);
        }
        for (int32_t h = 0; h < plan->n_halvings; h++) {
            const int32_t f = plan->features[h];
            const int is_upper = scratch->row[f] > middle[f];
            middle[f] += is_upper ? plan->steps[h] : -plan->steps[h];
            part = part << 1 | ((uint32_t)is_upper ^ (part & 1));
        }
        parts[i] = (uint16_t)part;
    }
}

/* Asks memory for all lines of the rows. */
static void prefetch_rows(const fastkm_points* points, const int32_t* rows, int64_t n_rows) {
    const int64_t last = (points->d - 1) * points->col_stride;
    for (int64_t r = 0; r < n_rows; r++) {
        prefetch_row(points, rows[r]);
        prefetch(points->base + rows[r] * points->row_stride + last);
    }
}

/* The boxes of cells [c_begin, c_end): their middles, and half their widths, rounded up. */
static void enclose(const fastkm_points* points, const fastkm_frame* frame, /* IN  */
                    const fastkm_cells* cells,                              /* OUT */
                    int64_t c_begin, int64_t c_end,                         /* IN  */
                    fastkm_scratch* scratch)                                /* OUT */
{
    const int64_t d = points->d;
    for (int64_t c = c_begin; c < c_end; c++) {
        const int64_t begin = cells->begins[c], end = cells->begins[c + 1];
        float* FASTKM_RESTRICT low = cells->boxes + c * 2 * d;
        float* FASTKM_RESTRICT high = low + d;
        if (c + 1 < c_end) prefetch_rows(points, cells->rows + end, cells->begins[c + 2] - end);
        for (int64_t p = begin; p < end; p += PANEL_ROWS) {
            float sq_norms[PANEL_ROWS];
            int32_t rows[PANEL_ROWS]; /* the last row again where there are no more */
            for (int64_t r = 0; r < PANEL_ROWS; r++)
                rows[r] = cells->rows[FASTKM_MIN(p + r, end - 1)];
            gather_panel(points, frame, rows, PANEL_ROWS, scratch->panel, sq_norms);
            for (int64_t f = 0; f < d; f++) {
                const float* y = scratch->panel + f * PANEL_ROWS;
                vf least = vf_load(y), most = vf_sub(vf_set1(0), vf_load(y));
                for (int v = 1; v < TILE_VECTORS; v++) {
                    least = vf_min(vf_load(y + v * LANES), least);
                    most = vf_min(vf_sub(vf_set1(0), vf_load(y + v * LANES)), most);
                }
                low[f] = p > begin ? FASTKM_MIN(low[f], least_lane(least)) : least_lane(least);
                high[f] = p > begin ? FASTKM_MAX(high[f], -least_lane(most)) : -least_lane(most);
            }
        }
        for (int64_t f = 0; f < d; f++) {
            const float middle = low[f] / 2 + high[f] / 2;
            const float half = FASTKM_MAX(high[f] - middle, middle - low[f]);
            /* Rows that leave float32 with their shift are anywhere: comparisons lose what is no
             * number, but not infinity. */
            const int is_bounded = isfinite(middle) && isfinite(half);
            low[f] = is_bounded ? middle : 0;
            high[f] = is_bounded ? half * (1 + 0x1p-20f) + 4 * FLT_MIN : INFINITY;
        }
    }
}

/* The box around the boxes of cells [c_begin, c_end). */
static void enclose_boxes(const fastkm_cells* cells, int64_t d, int64_t c_begin, int64_t c_end,
                          float* FASTKM_RESTRICT box) {
    for (int64_t f = 0; f < d; f++) {
        const float* middle = cells->boxes + c_begin * 2 * d + f;
        float low = middle[0] - middle[d], high = middle[0] + middle[d];
        for (int64_t c = c_begin + 1; c < c_end; c++) {
            middle += 2 * d;
            low = FASTKM_MIN(low, middle[0] - middle[d]);
            high = FASTKM_MAX(high, middle[0] + middle[d]);
        }
        const float centre = low / 2 + high / 2;
        const float reach = FASTKM_MAX(fabsf(low), fabsf(high));
        box[f] = centre;
        box[d + f] = FASTKM_MAX(high - centre, centre - low) + reach * 0x1p-20f + 4 * FLT_MIN;
    }
}

/* The square of a smaller number may vanish. */
#define LEAST_NORM 0x1p-62f

/* The rounding bound of a product, E(R), is fixed + growing N for points of norm N, but for a part
 * that is the same for all centroids. */
static void bound_columns(const fastkm_transposed* table, int64_t d) {
    const rounding_bound bound = bound_for(d);
    for (int64_t j = 0; j < table->k; j++) {
        const float norm = sqrtf(table->sq_norms[j]) * bound.slack + LEAST_NORM;
        table->fixed[j] = ((bound.a + bound.b) * norm * norm + bound.c * (1 + norm)) * bound.slack;
        table->growing[j] = ((bound.a + bound.b) * 2 * norm + bound.c) * bound.slack;
    }
}

/* Writes the centroids, of those in the table, that may be nearest to some point of the box, in
 * ascending order; returns how many. */
static int64_t list_nearest(const float* box, const fastkm_transposed* table, int64_t d,
                            const rounding_bound* bound, float* products, int32_t* list) {
    const uint32_t saved = flush_denormals();
    const float* half = box + d;
    float sq_middle = 0, sq_half = 0, least[LANES];
    int32_t nearest[LANES];
    int64_t n_listed = 0;
    for (int64_t f = 0; f < d; f++) {
        sq_middle += box[f] * box[f];
        sq_half += half[f] * half[f];
    }
    const float norm = (sqrtf(sq_middle) + sqrtf(sq_half)) * bound->slack + (float)d * LEAST_NORM;
    vf least_vf = vf_set1(INFINITY);
    vi nearest_vi = vi_set1(0);
    /* Each product less its bound: the least that it can be at the middle. */
    for (int64_t j = 0; j < table->k; j += LANES) {
        vf product = vf_sub(vf_load(table->sq_norms + j), vf_load(table->fixed + j));
        product = vf_fma(vf_set1(-norm), vf_load(table->growing + j), product);
        for (int64_t f = 0; f < d; f++)
            product = vf_fma(vf_set1(-2 * box[f]), vf_load(table->columns + f * table->stride + j),
                             product);
        vf_store(products + j, product);
        nearest_vi = vi_select(vf_lt(product, least_vf), vi_set1((int32_t)j), nearest_vi);
        least_vf = vf_min(product, least_vf);
    }
    vf_store(least, least_vf);
    vi_store(nearest, nearest_vi);
    int first = 0;
    for (int l = 1; l < LANES; l++)
        if (least[l] < least[first]) first = l;
    const int64_t own = FASTKM_MIN(nearest[first] + first, table->k - 1);
    const float error = table->fixed[own] + table->growing[own] * norm + bound->b * norm * norm +
                        bound->c * (1 + norm);
    const vf limit = vf_set1(products[own] + 2 * error * bound->slack);
    for (int64_t j = 0; j < table->k; j += LANES) {
        vf moved = vf_set1(0);
        for (int64_t f = 0; f < d; f++) {
            const float* column = table->columns + f * table->stride;
            const vf z = vf_load(column + j), own_z = vf_set1(column[own]);
            moved = vf_fma(vf_set1(half[f]), vf_max(vf_sub(z, own_z), vf_sub(own_z, z)), moved);
        }
        const vf lowest = vf_sub(vf_load(products + j), vf_add(moved, moved));
        uint32_t open = ~vm_bits(vf_lt(limit, lowest)) & ((1u << LANES) - 1);
        if (table->k - j < LANES) open &= (1u << (table->k - j)) - 1;
        if (open) n_listed += list_bits(open, LANES, (int32_t)j, list + n_listed);
    }
    restore_denormals(saved);
    return n_listed;
}

/* Copies the listed columns, and who they are. */
static void take_columns(const fastkm_transposed* table, int64_t d, const int32_t* list,
                         int64_t n_listed, fastkm_transposed* taken) {
    taken->k = n_listed;
    for (int64_t f = 0; f < d; f++)
        for (int64_t c = 0; c < n_listed; c++)
            taken->columns[f * taken->stride + c] = table->columns[f * table->stride + list[c]];
    for (int64_t c = 0; c < n_listed; c++) {
        taken->sq_norms[c] = table->sq_norms[list[c]];
        taken->fixed[c] = table->fixed[list[c]];
        taken->growing[c] = table->growing[list[c]];
        taken->indices[c] = table->indices[list[c]];
    }
    /* What fills the last vector is no one's nearest. */
    for (int64_t c = n_listed; c % LANES; c++) taken->sq_norms[c] = INFINITY;
}

/* The contract's label, of the listed ones. */
static int32_t exact_label_among(const fastkm_points* points, const fastkm_frame* frame,
                                 const fastkm_centroids* centroids, const int32_t* list,
                                 int64_t n_listed, int64_t i, fastkm_scratch* scratch) {
    const int64_t d = points->d;
    double least = INFINITY;
    int32_t label = -1;
    if (n_listed * FASTKM_EXACT_LANES > centroids->k)
        return exact_label(points, frame, centroids, i, scratch);
    load_row(points, i, scratch->row);
    for (int64_t c = 0; c < n_listed; c++) {
        const double* exact = centroids->exact +
                              list[c] / FASTKM_EXACT_LANES * FASTKM_EXACT_LANES * d +
                              list[c] % FASTKM_EXACT_LANES;
        double sum = 0;
        for (int64_t f = 0; f < d; f++) {
            const double difference =
                scratch->row[f] * frame->exact_scale - exact[f * FASTKM_EXACT_LANES];
            sum += difference * difference;
        }
        if (sum < least) {
            least = sum;
            label = list[c];
        }
    }
    return label >= 0 ? label : exact_label(points, frame, centroids, i, scratch);
}

typedef struct {
    const fastkm_points* points;
    const fastkm_frame* frame;
    const fastkm_centroids* centroids;
    const fastkm_cells* cells;
    const rounding_bound bound;
    fastkm_scratch* scratch;
    fastkm_cell_scratch* mine;
    fastkm_cell_work* work;
    const int32_t* labels_old;
    int32_t* labels;
    const fastkm_sums* sums;
} cell_pass;

/* The listed centroids as the fused kernel reads them. */
static fastkm_centroids pack_listed(const cell_pass* pass, const fastkm_transposed* table,
                                    const int32_t* list, int64_t n_listed) {
    const int64_t d = pass->points->d;
    fastkm_centroids packed = *pass->centroids;
    packed.k = n_listed;
    packed.tiles = pass->mine->tiles;
    packed.sq_norms = pass->mine->sq_norms;
    packed.heats = NULL;
    for (int64_t group = 0; group < n_listed; group += FASTKM_TILE_CENTROIDS) {
        const int64_t n = FASTKM_MIN(n_listed - group, FASTKM_TILE_CENTROIDS);
        float* FASTKM_RESTRICT tile = packed.tiles + group * d;
        for (int64_t j = 0; j < n; j++) {
            const float* FASTKM_RESTRICT z = table->columns + list[group + j];
            for (int64_t f = 0; f < d; f++) tile[f * n + j] = -2 * z[f * table->stride];
            packed.sq_norms[group + j] = table->sq_norms[list[group + j]];
        }
    }
    return packed;
}

/* Then it is not worth while to leave the others out. */
#define IS_NEARLY_ALL(n_listed, k) ((n_listed) * 4 > (k) * 3)

/* Labels a cell's rows, given those of the table's centroids that may be nearest to them. */
static void label_cell(const cell_pass* pass, const fastkm_transposed* table, int64_t c,
                       int32_t* list, int64_t n_listed) {
    const int64_t begin = pass->cells->begins[c], end = pass->cells->begins[c + 1];
    const int32_t* rows = pass->cells->rows;
    fastkm_centroids packed = *pass->centroids;
    nearest_two nearest;
    float sq_norms[PANEL_ROWS];
    pass->work->n_products += (end - begin) * (n_listed > 1 ? n_listed : 0);
    if (!pass->labels) return;
    if (n_listed == 1) {
        for (int64_t p = begin; p < end; p++) pass->labels[rows[p]] = table->indices[list[0]];
        return;
    }
    if (IS_NEARLY_ALL(n_listed, pass->centroids->k)) {
        n_listed = pass->centroids->k;
        memcpy(list, pass->cells->table.indices, (size_t)n_listed * sizeof *list);
    } else {
        packed = pack_listed(pass, table, list, n_listed);
        for (int64_t l = 0; l < n_listed; l++) list[l] = table->indices[list[l]];
    }
    for (int64_t p = begin; p < end; p += PANEL_ROWS) {
        const int64_t n_rows = FASTKM_MIN(end - p, PANEL_ROWS);
        gather_panel(pass->points, pass->frame, rows + p, n_rows, pass->scratch->panel, sq_norms);
        fold_panel(pass->scratch->panel, &packed, no_lines(pass->scratch->panel), &nearest);
        for (int64_t r = 0; r < n_rows; r++) pass->labels[rows[p + r]] = list[nearest.index[r]];
        for (int64_t r = 0; r < n_rows; r += LANES) {
            uint32_t open =
                undecided(&pass->bound, vf_load(nearest.best + r), vf_load(nearest.second + r),
                          vf_load(sq_norms + r), packed.max_norm);
            for (int64_t i = r; open && i < n_rows; i++, open >>= 1)
                if (open & 1) {
                    pass->labels[rows[p + i]] =
                        exact_label_among(pass->points, pass->frame, pass->centroids, list,
                                          n_listed, rows[p + i], pass->scratch);
                    pass->work->n_exact++;
                }
        }
    }
}

/* The group's list first, from which those of its cells are taken. While a cell is labelled, memory
 * sends the rows of the next. */
static void label_group(const cell_pass* pass, int64_t g) {
    const fastkm_cells* cells = pass->cells;
    const int64_t d = pass->points->d, begin = cells->groups[g], end = cells->groups[g + 1];
    fastkm_cell_scratch* mine = pass->mine;
    const fastkm_transposed* table = &cells->table;
    int64_t n_listed = 0;
    if (end - begin > 1) {
        enclose_boxes(cells, d, begin, end, mine->box);
        n_listed = list_nearest(mine->box, table, d, &pass->bound, mine->products, mine->lists[0]);
        if (!IS_NEARLY_ALL(n_listed, table->k)) {
            take_columns(table, d, mine->lists[0], n_listed, &mine->table);
            table = &mine->table;
        }
    }
    for (int64_t c = begin; c <= end; c++) {
        const int64_t n_before = n_listed;
        if (c < end) {
            n_listed = list_nearest(cells->boxes + c * 2 * d, table, d, &pass->bound,
                                    mine->products, mine->lists[c & 1]);
            for (int64_t p = cells->begins[c]; pass->labels && p < cells->begins[c + 1]; p++) {
                prefetch((const char*)(pass->labels + cells->rows[p]));
                prefetch((const char*)(pass->labels_old + cells->rows[p]));
            }
            if (pass->labels && n_listed > 1)
                prefetch_rows(pass->points, cells->rows + cells->begins[c],
                              cells->begins[c + 1] - cells->begins[c]);
        }
        if (c == begin) continue;
        label_cell(pass, table, c - 1, mine->lists[(c - 1) & 1], n_before);
        if (pass->sums)
            pass->work->n_changed +=
                accumulate_listed(pass->points, cells->rows + cells->begins[c - 1],
                                  cells->begins[c] - cells->begins[c - 1], pass->labels_old,
                                  pass->labels, pass->scratch, pass->sums);
    }
}

static void assign_cells(const fastkm_points* points, const fastkm_frame* frame,
                         const fastkm_centroids* centroids, const fastkm_cells* cells,
                         int64_t g_begin, int64_t g_end, fastkm_scratch* scratch,
                         fastkm_cell_scratch* mine, fastkm_cell_work* work,
                         const int32_t* labels_old, int32_t* labels, const fastkm_sums* sums) {
    const cell_pass pass = {points,  frame, centroids, cells,      bound_for(points->d),
                            scratch, mine,  work,      labels_old, labels,
                            sums};
    for (int64_t g = g_begin; g < g_end; g++) label_group(&pass, g);
}
