/* Makes all kinds of layouts, and decodes bytes to a move between two of them. */
#include "move_parts.h"

enum { MAX_PAIRS = 64, MAX_PLANS = 4 };

/* ---- layouts -------------------------------------------------------------------------------- */

/* The order in which `count` things are laid out. */
static size_t in_order(size_t order, size_t count, size_t i) {
    return order == 0 ? i : order == 1 ? count - 1 - i : (i + order - 2) % count;
}

static bool is_uniform(const move_shape *s) {
    for (size_t l = 0; l < s->layers; l++)
        for (size_t p = 0; p < s->parts; p++)
            if (s->rows[l][p] != s->rows[0][0] || s->bytes[l][p] != s->bytes[l][0] ||
                s->tokens[l][p] != s->tokens[0][0] || s->heads[l][p] != s->heads[0][0])
                return false;
    return true;
}

/* The order and rows that a placement gives to a region's tile. */
typedef struct tile_form {
    kvf_tile_order order;
    size_t rows;
} tile_form;

static tile_form form_of(const move_placement *placement, size_t region, size_t tokens,
                         size_t heads) {
    const bool hnd = placement->hnd >> region & 1;
    return (tile_form){.order = hnd ? KVF_ORDER_HND : KVF_ORDER_NHD,
                       .rows = !(placement->split >> region & 1) ? 1
                               : hnd                             ? heads
                                                                 : tokens};
}

static kvf_layout *make_named(move_side side, move_kind kind, const move_shape *s,
                              const move_placement *placement) {
    size_t bytes[MOVE_LAYERS];
    for (size_t l = 0; l < s->layers; l++)
        bytes[l] = s->rows[l][0] * s->bytes[l][0];
    kvf_shape shape = {.blocks = placement->blocks,
                       .layers = s->layers,
                       .parts = s->parts,
                       .bytes_per_layer = bytes,
                       .rows = s->rows[0][0],
                       .tokens = s->tokens[0][0],
                       .heads = s->heads[0][0]};
    if (shape.tokens) {
        const tile_form form = form_of(placement, 0, shape.tokens, shape.heads);
        shape.order = form.order;
        shape.rows = form.rows;
    }
    kvf_buffer buffers[MOVE_REGIONS];
    const size_t one = kind == MOVE_PER_PART || kind == MOVE_MLA ? 1 : s->parts;
    const size_t count = s->layers * s->parts / one;
    char *at = move_arenas[side];
    for (size_t i = 0; i < count; i++) {
        const size_t b = in_order(placement->order, count, i);
        buffers[b] = (kvf_buffer){at, placement->blocks * one * bytes[b * one / s->parts]};
        at += buffers[b].bytes + placement->pad_block;
    }
    if (at > move_arenas[side] + MOVE_ARENA)
        return NULL;
    const kvf_buffer all = {move_arenas[side], MOVE_ARENA};
    kvf_layout *layout = NULL;
    kvf_status status = KVF_ERR_INVALID;
    if (kind == MOVE_CONTIGUOUS)
        status = kvf_layout_contiguous(&shape, all, &layout, NULL);
    else if (kind == MOVE_BLOCK_FIRST || kind == MOVE_BLOCK_SECOND)
        status = kvf_layout_per_layer(&shape, buffers,
                                      kind == MOVE_BLOCK_FIRST ? KVF_BLOCK_FIRST : KVF_BLOCK_SECOND,
                                      &layout, NULL);
    else if (kind == MOVE_PER_PART)
        status = kvf_layout_per_part(&shape, buffers, &layout, NULL);
    else if (kind == MOVE_MLA)
        status = kvf_layout_mla(&shape, buffers, &layout, NULL);
    else if (kind == MOVE_PAGE_FIRST)
        status = kvf_layout_page_first(&shape, all, &layout, NULL);
    else if (kind == MOVE_TOKEN_FIRST)
        status = kvf_layout_token_first(&shape, all, &layout, NULL);
    return status == KVF_OK ? layout : NULL;
}

/* Regions placed together: several with interleaved rows, or a single one.
 *
 *     r0 K V .. r1 K V .. ....    .. pad_row, .... pad_piece and pad_block
 */
typedef struct piece {
    size_t first, count, rows, width;
} piece;

static size_t cut_into_pieces(const kvf_region *regions, size_t count, bool interleave,
                              piece *pieces) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const kvf_region *r = &regions[i];
        if (interleave && i > 0 && r->layer == r[-1].layer && r->rows == r[-1].rows &&
            r->rows > 1) {
            pieces[n - 1].count++;
            pieces[n - 1].width += r->bytes;
        } else {
            pieces[n++] = (piece){i, 1, r->rows, r->bytes};
        }
    }
    return n;
}

static void put_piece(kvf_region *regions, const piece *p, char *at, size_t row_pitch,
                      size_t stride) {
    for (size_t i = p->first; i < p->first + p->count; i++) {
        regions[i].base = at;
        regions[i].row_pitch = row_pitch;
        regions[i].block_stride = stride;
        at += regions[i].bytes;
    }
}

/* The end of the memory that is used. */
static size_t put_pieces(kvf_region *regions, const piece *pieces, size_t count, char *base,
                         const move_placement *placement) {
    size_t stride = placement->pad_block, at = 0;
    for (size_t i = 0; i < count; i++)
        stride += pieces[i].rows * (pieces[i].width + placement->pad_row) + placement->pad_piece;
    for (size_t i = 0; i < count; i++) {
        const piece *p = &pieces[in_order(placement->order, count, i)];
        const size_t row = p->width + placement->pad_row;
        if (!placement->apart) {
            put_piece(regions, p, base + at, row, stride);
            at += p->rows * row + placement->pad_piece;
        } else if (!placement->rows_outer) {
            const size_t own = p->rows * row + placement->pad_block;
            put_piece(regions, p, base + at, row, own);
            at += placement->blocks * own + placement->pad_piece;
        } else {
            const size_t all = placement->blocks * row + placement->pad_block;
            put_piece(regions, p, base + at, all, row);
            at += p->rows * all + placement->pad_piece;
        }
    }
    return placement->apart ? at : placement->blocks * stride;
}

static void make_tile(kvf_region *region, const move_placement *placement, size_t index,
                      size_t tokens, size_t heads) {
    const tile_form form = form_of(placement, index, tokens, heads);
    region->bytes = region->rows * region->bytes / form.rows;
    region->rows = form.rows;
    region->order = form.order;
    region->tokens = tokens;
    region->heads = heads;
}

static kvf_layout *make_own(move_side side, const move_shape *s, const move_placement *placement) {
    kvf_region regions[MOVE_REGIONS] = {{0}};
    piece pieces[MOVE_REGIONS];
    const size_t count = s->layers * s->parts;
    for (size_t i = 0; i < count; i++) {
        const size_t l = i / s->parts, p = i % s->parts;
        regions[i].bytes = s->bytes[l][p];
        regions[i].rows = s->rows[l][p];
        regions[i].layer = (uint32_t)l;
        regions[i].part = (uint32_t)p;
        regions[i].buffer = placement->buffers ? (uint32_t)l : 7;
        if (s->tokens[l][p])
            make_tile(&regions[i], placement, i, s->tokens[l][p], s->heads[l][p]);
    }
    const size_t n = cut_into_pieces(regions, count, placement->interleave, pieces);
    if (put_pieces(regions, pieces, n, move_arenas[side], placement) > MOVE_ARENA)
        return NULL;
    kvf_layout *layout = NULL;
    kvf_status status = kvf_layout_create(regions, count, placement->blocks, NULL, &layout, NULL);
    return status == KVF_OK ? layout : NULL;
}

kvf_layout *move_oracle_layout(move_side side, move_kind kind, const move_shape *shape,
                               const move_placement *placement) {
    if (kind == MOVE_OWN)
        return make_own(side, shape, placement);
    if (kind != MOVE_WHOLE_BLOCKS && kind != MOVE_BY_LAYER)
        return is_uniform(shape) ? make_named(side, kind, shape, placement) : NULL;
    kvf_layout *packed = NULL, *pattern = make_own(side, shape, placement);
    if (!pattern)
        return NULL;
    kvf_status status = kvf_layout_recommend(
        pattern, kind == MOVE_WHOLE_BLOCKS ? KVF_USE_WHOLE_BLOCKS : KVF_USE_BY_LAYER,
        placement->blocks, (kvf_buffer){move_arenas[side], MOVE_ARENA}, NULL, &packed, NULL);
    kvf_layout_destroy(pattern);
    return status == KVF_OK ? packed : NULL;
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* The rest of the input; zeros past its end. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static size_t take(input *in) {
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static size_t take_below(input *in, size_t bound) {
    return take(in) % bound;
}

/* Half the time 0. */
static size_t take_pad(input *in) {
    const size_t x = take(in);
    return x & 1 ? 0 : x / 2 % 9;
}

/* Few distinct sizes, so that regions can become rows of one another. */
static move_shape take_shape(input *in) {
    static const size_t sizes[] = {4, 4, 4, 8, 12, 1, 3, 7};
    const size_t how = take(in);
    const bool uniform = how & 1, per_layer = how & 2;
    move_shape s = {.layers = 1 + take_below(in, MOVE_LAYERS),
                    .parts = 1 + take_below(in, MOVE_PARTS)};
    for (size_t l = 0; l < s.layers; l++)
        for (size_t p = 0; p < s.parts; p++) {
            const bool first = l == 0 && p == 0;
            if (!uniform || first || (per_layer && p == 0)) {
                const size_t x = take(in);
                s.bytes[l][p] = sizes[x % 8];
                s.rows[l][p] = uniform && !first ? s.rows[0][0] : 1 + x / 8 % 3;
            } else {
                s.bytes[l][p] = per_layer ? s.bytes[l][0] : s.bytes[0][0];
                s.rows[l][p] = s.rows[0][0];
            }
        }
    return s;
}

/* A tile of few tokens and heads; now and then none. */
typedef struct tile {
    size_t tokens, heads;
} tile;

static tile take_tile(input *in) {
    const size_t x = take(in);
    return x % 5 == 4 ? (tile){0, 0} : (tile){1 + x / 5 % 4, 1 + x / 20 % 4};
}

/* Makes some regions tiles, or all of them the same tile in uniform shapes. The bytes of a row
 * become those of a piece. */
static void take_tiles(input *in, move_shape *s) {
    const bool uniform = is_uniform(s);
    tile t = {0, 0};
    for (size_t l = 0; l < s->layers; l++)
        for (size_t p = 0; p < s->parts; p++) {
            if (!uniform || (l == 0 && p == 0))
                t = take_tile(in);
            if (t.tokens == 0)
                continue;
            s->tokens[l][p] = t.tokens;
            s->heads[l][p] = t.heads;
            s->bytes[l][p] *= t.tokens * t.heads;
            s->rows[l][p] = 1;
        }
}

/* Half the time all tiles have the same order and rows, as in real layouts. */
static void take_forms(input *in, move_placement *placement) {
    const size_t how = take(in);
    placement->hnd = how & 1 ? how & 2 ? UINT32_MAX : 0 : (uint32_t)(take(in) | take(in) << 8);
    placement->split = how & 4 ? how & 8 ? UINT32_MAX : 0 : (uint32_t)(take(in) | take(in) << 8);
}

static move_placement take_placement(input *in) {
    const size_t how = take(in);
    return (move_placement){.blocks = 1 + take_below(in, MOVE_BLOCKS),
                            .order = how >> 4,
                            .pad_row = take_pad(in),
                            .pad_piece = take_pad(in),
                            .pad_block = take_pad(in),
                            .interleave = how & 1,
                            .apart = how & 2,
                            .rows_outer = how & 4,
                            .buffers = how & 8};
}

/* false: no limits. */
static bool take_limits(input *in, kvf_box_limits *limits) {
    const size_t how = take(in), more = take(in);
    *limits = (kvf_box_limits){.max_pitch = more & 1   ? SIZE_MAX
                                            : more & 2 ? take(in)
                                                       : 8 * take(in),
                               .negative_pitch = how & 1,
                               .narrow_pitch = how & 2,
                               .slices = how & 4,
                               .free_slice_pitch = how & 8};
    if (how >> 4 >= 8) {
        limits->src_segment = more & 4 ? 1 + 3 * take(in) : 0;
        limits->dst_segment = more & 8 ? 1 + 3 * take(in) : 0;
    }
    return more % 32 != 31;
}

typedef struct pairs {
    uint64_t src[MAX_PAIRS], dst[MAX_PAIRS];
    size_t count;
} pairs;

static bool is_taken(const pairs *p, uint64_t dst) {
    for (size_t i = 0; i < p->count; i++)
        if (p->dst[i] == dst)
            return true;
    return false;
}

/* Ids that advance by the same step while they are in range (or one past it, with `over`) and not
 * yet taken (or even if they are, with `twice`). */
static void take_run(input *in, pairs *p, size_t src_blocks, size_t dst_blocks, bool over,
                     bool twice) {
    const size_t src_how = take(in), dst_how = take(in);
    uint64_t src = src_how % (src_blocks + over), dst = dst_how % (dst_blocks + over);
    const uint64_t src_step = src_how / 16 % 6 - 2u, dst_step = 1 + dst_how / 16 % 8 / 5;
    const bool down = dst_how >= 128;
    for (size_t left = 1 + take_below(in, 8); left > 0 && p->count < MAX_PAIRS; left--) {
        if (src >= src_blocks + over || dst >= dst_blocks + over || (!twice && is_taken(p, dst)))
            break;
        p->src[p->count] = src;
        p->dst[p->count++] = dst;
        src += src_step;
        dst += down ? 0 - dst_step : dst_step;
    }
}

static void shuffle(input *in, pairs *p) {
    for (size_t i = 1; i < p->count; i++) {
        const size_t k = take_below(in, i + 1);
        const uint64_t src = p->src[i], dst = p->dst[i];
        p->src[i] = p->src[k];
        p->dst[i] = p->dst[k];
        p->src[k] = src;
        p->dst[k] = dst;
    }
}

static pairs take_pairs(input *in, size_t src_blocks, size_t dst_blocks) {
    pairs p = {.count = 0};
    const size_t how = take(in);
    for (size_t runs = how % 7; runs > 0; runs--)
        take_run(in, &p, src_blocks, dst_blocks, how >= 0xf0, how >> 4 == 0xe);
    for (size_t i = 0; how & 0x10 && i < p.count && p.count < MAX_PAIRS; i += 3) {
        p.src[p.count] = p.src[i];
        p.dst[p.count++] = p.dst[i];
    }
    if (how & 0x20)
        shuffle(in, &p);
    return p;
}

/* Cuts the pairs at random; plans may share pairs. */
static size_t take_plans(input *in, const pairs *p, kvf_plan *plans) {
    const size_t count = take_below(in, MAX_PLANS + 1), overlap = take_below(in, 3);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t left = p->count - at, n = i + 1 == count ? left : take_below(in, left + 1);
        plans[i] = (kvf_plan){.count = n, .src_ids = p->src + at, .dst_ids = p->dst + at};
        at += n < overlap ? 0 : n - overlap;
    }
    return count;
}

static const char *check_decoded(input *in, const kvf_layout *src, const kvf_layout *dst,
                                 move_counts *counts) {
    kvf_box_limits limits;
    kvf_plan plans[MAX_PLANS];
    const bool limited = take_limits(in, &limits);
    const size_t how = take(in);
    kvf_move_spec spec = {
        .src = src, .dst = dst, .plans = plans, .by_layer = how & 1, .same_tier = how >> 2 == 63};
    if (how & 2) {
        spec.first_layer = (uint32_t)take_below(in, kvf_layout_layers(src) + (how >> 5 == 7));
        spec.layer_count = (uint32_t)take_below(in, kvf_layout_layers(src) + (how >> 5 == 7));
    }
    const pairs p = take_pairs(in, kvf_layout_blocks(src), kvf_layout_blocks(dst));
    spec.plan_count = take_plans(in, &p, plans);
    return move_oracle_check(&spec, limited ? &limits : NULL, counts);
}

/* The caller's own regions twice as often as other kinds, and where no other kind fits. */
static kvf_layout *take_layout(input *in, move_side side, const move_shape *shape,
                               const move_placement *placement) {
    const size_t kind = take_below(in, MOVE_KINDS + 2);
    kvf_layout *layout =
        kind < MOVE_KINDS ? move_oracle_layout(side, (move_kind)kind, shape, placement) : NULL;
    return layout ? layout : move_oracle_layout(side, MOVE_OWN, shape, placement);
}

const char *move_oracle_decode(const uint8_t *data, size_t size, move_counts *counts) {
    input in = {data, size};
    move_shape shape = take_shape(&in);
    move_placement src_placement = take_placement(&in), dst_placement = take_placement(&in);
    if (take(&in) % 3 == 1) {
        take_tiles(&in, &shape);
        take_forms(&in, &src_placement);
        take_forms(&in, &dst_placement);
    }
    kvf_layout *src = take_layout(&in, MOVE_SRC, &shape, &src_placement);
    kvf_layout *dst = take_layout(&in, MOVE_DST, &shape, &dst_placement);
    const char *broken = src && dst ? check_decoded(&in, src, dst, counts) : NULL;
    kvf_layout_destroy(src);
    kvf_layout_destroy(dst);
    return broken;
}
