#include "move/move.h"

#include "move/layout.h"

#include <stdlib.h>

static const kvf_box_limits no_limits = {
    .max_pitch = PTRDIFF_MAX,
    .negative_pitch = true,
    .narrow_pitch = true,
    .slices = true,
    .free_slice_pitch = true,
};

/* Opaque regions have 0 tokens and heads. A tile may have other rows on the other side. */
static const char *find_difference(const kvf_region *src, const kvf_region *dst) {
    if (src->tokens != dst->tokens || src->heads != dst->heads)
        return "regions differ in tile";
    bool tile = kvf__is_tile(dst);
    bool same_bytes =
        tile ? kvf__region_bytes(src) == kvf__region_bytes(dst) : src->bytes == dst->bytes;
    return !same_bytes                       ? "regions differ in bytes"
           : !tile && src->rows != dst->rows ? "regions differ in rows"
           : src->layer != dst->layer        ? "regions differ in layer"
           : src->part != dst->part          ? "regions differ in part"
           : src->kind != dst->kind          ? "regions differ in kind"
                                             : NULL;
}

static kvf_status check_regions(const kvf_region *src, const kvf_region *dst, size_t count,
                                kvf_error *error) {
    for (size_t i = 0; i < count; i++) {
        const char *what = find_difference(&src[i], &dst[i]);
        if (what)
            return KVF__FAIL(error, .status = KVF_ERR_LAYOUT, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = what);
    }
    return KVF_OK;
}

static kvf_status check_layouts(const kvf_move_spec *spec, kvf_error *error) {
    size_t src = spec->src->count, dst = spec->dst->count;
    if (src != dst)
        return KVF__FAIL(error, .status = KVF_ERR_LAYOUT, .fields = KVF_ERROR_INDEX,
                         .index = kvf__min(src, dst),
                         .what = "layouts differ in number of regions");
    return check_regions(spec->src->regions, spec->dst->regions, src, error);
}

static kvf_status check_layers(const kvf_move_spec *spec, uint32_t *count, kvf_error *error) {
    size_t layers = kvf_layout_layers(spec->src);
    size_t left = spec->first_layer < layers ? layers - spec->first_layer : 0;
    if (left == 0 || spec->layer_count > left)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .fields = KVF_ERROR_INDEX | KVF_ERROR_EXPECTED, .index = spec->first_layer,
                         .expected = layers, .what = "layer range exceeds the layout's layers");
    *count = spec->layer_count ? spec->layer_count : (uint32_t)left;
    return KVF_OK;
}

/* Strips of regions */

/* If only one side has rows, the other side's rows touch. With a single block the regions' strides
 * mean nothing. */
static kvf__strip make_strip(const kvf_move_spec *spec, kvf__region_ref ref) {
    const kvf_region *dst = &spec->dst->regions[ref.region];
    const kvf_region *src = &spec->src->regions[ref.region];
    const kvf_region *finer = dst->rows > src->rows ? dst : src;
    const size_t width = finer->bytes, rows = finer->rows;
    return (kvf__strip){
        .dst = dst->base,
        .src = src->base,
        .width = width,
        .rows = rows,
        .dst_pitch = rows > 1 ? (ptrdiff_t)(dst->rows > 1 ? dst->row_pitch : width) : 0,
        .src_pitch = rows > 1 ? (ptrdiff_t)(src->rows > 1 ? src->row_pitch : width) : 0,
        .dst_stride = spec->dst->blocks > 1 ? dst->block_stride : 0,
        .src_stride = spec->src->blocks > 1 ? src->block_stride : 0,
        .dst_buffer = dst->buffer,
        .src_buffer = src->buffer,
        .layer = ref.layer,
    };
}

/* A tile as lines of pieces. Lines run along tokens or heads, whichever are more:
 *
 *     heads <= tokens       NHD  | 0 1 | 0 1 | 0 1 |     HND  | 0 0 0 | 1 1 1 |   piece of line
 *                                  <---> pitch                  <-> pitch
 *                                  <-> next                     <-----> next
 */
typedef struct lines {
    size_t count, length; /* lines, pieces in one */
    size_t piece;         /* bytes */
    size_t next, pitch;   /* bytes between lines, and between the pieces of a line */
} lines;

static lines lines_of(const kvf_region *r) {
    const bool along_tokens = r->heads <= r->tokens;
    lines l = {.count = along_tokens ? r->heads : r->tokens,
               .length = along_tokens ? r->tokens : r->heads};
    const bool along_outer = along_tokens == (r->order == KVF_ORDER_NHD);
    l.piece = kvf__region_bytes(r) / l.count / l.length;
    const size_t outer = r->rows > 1 ? r->row_pitch : l.piece * (along_outer ? l.count : l.length);
    l.next = along_outer ? l.piece : outer;
    l.pitch = along_outer ? outer : l.piece;
    return l;
}

/* A tile whose order differs on the other side becomes one strip per line, which transposes it by
 * rows. Anything else is one strip, including a tile of a single line: both orders are the same. */
static size_t strips_of(const kvf_move_spec *spec, kvf__region_ref ref) {
    const kvf_region *dst = &spec->dst->regions[ref.region];
    return dst->order == spec->src->regions[ref.region].order ? 1 : lines_of(dst).count;
}

static kvf__strip make_line(const kvf_move_spec *spec, kvf__region_ref ref, size_t index) {
    const lines dst = lines_of(&spec->dst->regions[ref.region]);
    const lines src = lines_of(&spec->src->regions[ref.region]);
    kvf__strip strip = make_strip(spec, ref);
    strip.width = dst.piece;
    strip.rows = dst.length;
    strip.dst += index * dst.next;
    strip.src += index * src.next;
    strip.dst_pitch = strip.rows > 1 ? (ptrdiff_t)dst.pitch : 0;
    strip.src_pitch = strip.rows > 1 ? (ptrdiff_t)src.pitch : 0;
    return strip;
}

/* Makes rows that touch on both sides one row. */
static void close_rows(kvf__strip *strip) {
    if (strip->rows > 1 && (size_t)strip->dst_pitch == strip->width &&
        (size_t)strip->src_pitch == strip->width) {
        strip->width *= strip->rows;
        strip->rows = 1;
        strip->dst_pitch = strip->src_pitch = 0;
    }
}

static bool is_moved(const kvf_move *move, kvf__region_ref ref) {
    return ref.layer >= move->first_layer && ref.layer - move->first_layer < move->layer_count;
}

static void add_strips_of(kvf_move *move, const kvf_move_spec *spec, kvf__region_ref ref) {
    const size_t count = strips_of(spec, ref);
    for (size_t i = 0; i < count; i++) {
        kvf__strip *strip = &move->strips[move->strip_count++];
        *strip = count > 1 ? make_line(spec, ref, i) : make_strip(spec, ref);
        move->block_bytes += strip->width * strip->rows;
        close_rows(strip);
    }
}

static int by_destination(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t)((const kvf__strip *)a)->dst;
    const uintptr_t y = (uintptr_t)((const kvf__strip *)b)->dst;
    return (x > y) - (x < y);
}

static int by_layer(const void *a, const void *b) {
    const uint32_t x = ((const kvf__strip *)a)->layer, y = ((const kvf__strip *)b)->layer;
    return x != y ? (x > y) - (x < y) : by_destination(a, b);
}

/* By destination, but with by_layer by layer first. Most lists are sorted already. */
static void sort_strips(kvf_move *move) {
    int (*order)(const void *, const void *) = move->by_layer ? by_layer : by_destination;
    size_t i = 1;
    while (i < move->strip_count && order(&move->strips[i - 1], &move->strips[i]) < 0)
        i++;
    if (i < move->strip_count)
        qsort(move->strips, move->strip_count, sizeof *move->strips, order);
}

/* No sum overflows: a block has at least as many bytes as pieces, and pieces as lines. */
static bool add_strips(kvf_move *move, const kvf_move_spec *spec) {
    const kvf_layout *dst = spec->dst;
    size_t count = 0;
    for (size_t i = 0; i < dst->count; i++)
        count += is_moved(move, dst->by_address[i]) ? strips_of(spec, dst->by_address[i]) : 0;
    move->strips = kvf__alloc(&move->allocator, count, sizeof *move->strips);
    if (!move->strips)
        return false;
    move->strip_capacity = count;
    uint32_t layer = 0;
    for (size_t i = 0; i < dst->count; i++) {
        layer += i > 0 && dst->regions[i].layer != dst->regions[i - 1].layer;
        const kvf__region_ref ref =
            move->by_layer ? (kvf__region_ref){i, layer} : dst->by_address[i];
        if (is_moved(move, ref))
            add_strips_of(move, spec, ref);
    }
    sort_strips(move);
    return true;
}

/* Joining strips */

/* Whether two strips may be joined at all. */
static bool go_together(const kvf_move *move, const kvf__strip *a, const kvf__strip *b) {
    return a->dst_stride == b->dst_stride && a->src_stride == b->src_stride &&
           a->dst_buffer == b->dst_buffer && a->src_buffer == b->src_buffer &&
           (!move->by_layer || a->layer == b->layer);
}

static bool touches(const kvf_move *move, const kvf__strip *a, const kvf__strip *b) {
    return b->dst == a->dst + a->width && b->src == a->src + a->width && a->rows == b->rows &&
           a->dst_pitch == b->dst_pitch && a->src_pitch == b->src_pitch && go_together(move, a, b);
}

/* Joins each strip with the following ones that touch it on both sides. */
static void join_touching(kvf_move *move) {
    size_t kept = 0;
    for (size_t i = 1; i < move->strip_count; i++) {
        kvf__strip *last = &move->strips[kept];
        if (touches(move, last, &move->strips[i])) {
            last->width += move->strips[i].width;
        } else {
            close_rows(last);
            move->strips[++kept] = move->strips[i];
        }
    }
    close_rows(&move->strips[kept]);
    move->strip_count = kept + 1;
}

static ptrdiff_t distance(const void *from, const void *to) {
    return (ptrdiff_t)((uintptr_t)to - (uintptr_t)from);
}

/* Joins b to a if its rows continue a's at a's pitch, or if both are single rows whose distance is
 * a pitch that the limits allow. */
static bool join_rows_of(const kvf_move *move, kvf__strip *a, const kvf__strip *b) {
    if (a->width != b->width || !go_together(move, a, b))
        return false;
    ptrdiff_t dst = distance(a->dst, b->dst), src = distance(a->src, b->src);
    const kvf__strip *pattern = a->rows > 1 ? a : b;
    ptrdiff_t dst_pitch = pattern->rows > 1 ? pattern->dst_pitch : dst;
    ptrdiff_t src_pitch = pattern->rows > 1 ? pattern->src_pitch : src;
    bool follows = dst == (ptrdiff_t)a->rows * dst_pitch && src == (ptrdiff_t)a->rows * src_pitch &&
                   (b->rows == 1 || (b->dst_pitch == dst_pitch && b->src_pitch == src_pitch));
    if (!follows || !kvf__pitch_fits(&move->limits, dst_pitch, a->width) ||
        !kvf__pitch_fits(&move->limits, src_pitch, a->width))
        return false;
    a->rows += b->rows;
    a->dst_pitch = dst_pitch;
    a->src_pitch = src_pitch;
    return true;
}

/* Joins strips whose rows are equally far apart. */
static void join_rows(kvf_move *move) {
    size_t kept = 0;
    for (size_t i = 1; i < move->strip_count; i++)
        if (!join_rows_of(move, &move->strips[kept], &move->strips[i]))
            move->strips[++kept] = move->strips[i];
    move->strip_count = kept + 1;
}

/* Repeats, since joining strips may make them fit their neighbours. */
void kvf__move_join(kvf_move *move) {
    for (size_t before = 0; before != move->strip_count;) {
        before = move->strip_count;
        join_touching(move);
        join_rows(move);
    }
}

static bool join_regions(kvf_move *move, const kvf_move_spec *spec) {
    if (!add_strips(move, spec))
        return false;
    kvf__move_join(move);
    return true;
}

/* The steps of runs, limited to those that fit every strip */

static uint32_t largest_step(size_t max_pitch, size_t stride) {
    size_t step = stride ? max_pitch / stride : 1;
    return step < INT32_MAX ? (uint32_t)step : INT32_MAX;
}

/* Whether the limits allow this strip every slice pitch that block ids can make. */
static bool any_slice_pitch(const kvf_box_limits *limits, const kvf__strip *s) {
    if (s->rows == 1)
        return true;
    if (!limits->slices)
        return false;
    return limits->free_slice_pitch || (s->dst_stride % kvf__magnitude(s->dst_pitch) == 0 &&
                                        s->src_stride % kvf__magnitude(s->src_pitch) == 0);
}

static size_t extent_of(const kvf__strip *s, ptrdiff_t pitch) {
    return (s->rows - 1) * kvf__magnitude(pitch) + s->width;
}

/* Whether two blocks that are neighbours on both sides form one box in some strip. */
static bool neighbours_fit(const kvf_move *move) {
    const kvf__run two = {.count = 2, .src_step = 1, .dst_step = 1};
    for (size_t i = 0; i < move->strip_count; i++) {
        kvf_box box = kvf__move_box(&move->strips[i], &two);
        if (kvf__box_fits(&move->limits, &box))
            return true;
    }
    return false;
}

static void limit_steps(const kvf_move *move, kvf__pairs_spec *pairs) {
    const kvf_box_limits *l = &move->limits;
    pairs->max_src_step = pairs->max_dst_step = INT32_MAX;
    pairs->backwards = l->negative_pitch;
    pairs->standing = l->narrow_pitch;
    pairs->neighbours_first = neighbours_fit(move);
    for (size_t i = 0; i < move->strip_count; i++) {
        const kvf__strip *s = &move->strips[i];
        bool strides_fit = l->narrow_pitch || (s->dst_stride >= extent_of(s, s->dst_pitch) &&
                                               s->src_stride >= extent_of(s, s->src_pitch));
        bool fits = any_slice_pitch(l, s) && strides_fit;
        uint32_t src = fits ? largest_step(l->max_pitch, s->src_stride) : 0;
        uint32_t dst = fits ? largest_step(l->max_pitch, s->dst_stride) : 0;
        pairs->max_src_step = src < pairs->max_src_step ? src : pairs->max_src_step;
        pairs->max_dst_step = dst < pairs->max_dst_step ? dst : pairs->max_dst_step;
    }
}

static kvf_status fill(kvf_move *move, const kvf_move_spec *spec, kvf_error *error) {
    if (!join_regions(move, spec))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__pairs_spec pairs = {
        .plans = spec->plans,
        .plan_count = spec->plan_count,
        .src_blocks = kvf_layout_blocks(spec->src),
        .dst_blocks = kvf_layout_blocks(spec->dst),
        .same_tier = spec->same_tier,
    };
    limit_steps(move, &pairs);
    return kvf__pairs_to_runs(&pairs, &move->allocator, &move->runs, error);
}

kvf_status kvf_move_create(const kvf_move_spec *spec, const kvf_box_limits *limits,
                           const kvf_allocator *allocator, kvf_move **out, kvf_error *error) {
    if (!spec || !out || !spec->src || !spec->dst || (!spec->plans && spec->plan_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    uint32_t layers = 0;
    kvf_status status = check_layouts(spec, error);
    if (status == KVF_OK)
        status = check_layers(spec, &layers, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator own = kvf__allocator(allocator);
    kvf_move *move = kvf__alloc_zero(&own, 1, sizeof *move);
    if (!move)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    move->allocator = own;
    atomic_init(&move->holds, 1);
    move->limits = limits ? *limits : no_limits;
    move->first_layer = spec->first_layer;
    move->layer_count = layers;
    move->by_layer = spec->by_layer;
    status = fill(move, spec, error);
    if (status != KVF_OK) {
        kvf_move_destroy(move);
        return status;
    }
    *out = move;
    return KVF_OK;
}

void kvf_move_destroy(kvf_move *move) {
    if (!move || atomic_fetch_sub_explicit(&move->holds, 1, memory_order_acq_rel) != 1)
        return;
    kvf_allocator allocator = move->allocator;
    kvf__runs_free(&move->runs, &allocator);
    kvf__free(&allocator, move->strips, move->strip_capacity, sizeof *move->strips);
    kvf__free(&allocator, move, 1, sizeof *move);
}
