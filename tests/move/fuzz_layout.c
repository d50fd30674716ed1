/* Decodes bytes to regions, shapes and moves. Layouts are compared with painted bytes, moves with a
 * copy made block by block. */
#include <kvferry/move.h>

#include "layout_oracle.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static char arena[ORACLE_ARENA];

static void require(bool holds, const char *rule) {
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", rule);
    abort();
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* The rest of the input; zeros past its end. */
typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static uint64_t take(input *in, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | (in->size ? *in->data : 0);
        in->data += in->size > 0;
        in->size -= in->size > 0;
    }
    return value;
}

static size_t take_up_to(input *in, size_t most) {
    return (size_t)take(in, 1) % (most + 1);
}

enum { MAX_REGIONS = 6, MAX_LAYERS = 4, MAX_PARTS = 3, MAX_BUFFERS = MAX_LAYERS * MAX_PARTS };

/* Mostly no tile, and mostly a valid one. */
static void take_tile(input *in, kvf_region *r) {
    const size_t how = take(in, 1);
    if (how < 128)
        return;
    r->order = (kvf_tile_order)(how % 16 ? 1 + how % 2 : how / 16 % 4);
    r->tokens = how & 2 ? oracle_rows(r) : take_up_to(in, 6);
    r->heads = how & 4 ? oracle_rows(r) : take_up_to(in, 6);
    if (how & 8)
        r->bytes = (r->tokens * r->heads) % 17;
}

/* Any region within the arena: at most 255 + 7 * 255 + 4 * 255 + 16 bytes. */
static kvf_region take_small_region(input *in) {
    kvf_region r = {.base = arena + take(in, 1),
                    .block_stride = take(in, 1),
                    .bytes = take_up_to(in, 16),
                    .rows = take_up_to(in, 5)};
    r.row_pitch = take(in, 1);
    r.layer = (uint32_t)take_up_to(in, 3);
    r.kind = take(in, 1);
    take_tile(in, &r);
    return r;
}

/* Any values at all, except for the number of rows, which bounds the time. */
static kvf_region take_wild_region(input *in) {
    kvf_region r = {.base = (void *)(uintptr_t)take(in, 8),
                    .block_stride = take(in, take_up_to(in, 8)),
                    .bytes = take(in, take_up_to(in, 8)),
                    .rows = take(in, 1)};
    r.row_pitch = take(in, take_up_to(in, 8));
    r.layer = (uint32_t)take(in, 4);
    r.tokens = take(in, take_up_to(in, 8));
    r.heads = take(in, take_up_to(in, 8));
    r.order = (kvf_tile_order)take_up_to(in, 3);
    return r;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static bool is_valid_tile(const kvf_region *r) {
    if (r->order == KVF_ORDER_OPAQUE)
        return r->tokens == 0 && r->heads == 0;
    const size_t outer = r->order == KVF_ORDER_NHD ? r->tokens : r->heads;
    return (r->order == KVF_ORDER_NHD || r->order == KVF_ORDER_HND) && r->tokens > 0 &&
           r->heads > 0 && oracle_bytes(r) % (r->tokens * r->heads) == 0 &&
           (oracle_rows(r) == 1 || oracle_rows(r) == outer);
}

static bool is_valid(const kvf_region *list, size_t count, size_t blocks) {
    bool valid = count > 0 && blocks > 0;
    for (size_t i = 0; i < count; i++)
        valid = valid && list[i].bytes > 0 &&
                (oracle_rows(&list[i]) == 1 || list[i].row_pitch >= list[i].bytes) &&
                (i == 0 || list[i].layer >= list[i - 1].layer) && is_valid_tile(&list[i]);
    return valid;
}

static void check_sums(const kvf_layout *layout) {
    size_t count, bytes = 0, layers = 0;
    const kvf_region *r = kvf_layout_regions(layout, &count);
    for (size_t i = 0; i < count; i++) {
        bytes += r[i].bytes * r[i].rows;
        layers += i == 0 || r[i].layer != r[i - 1].layer;
    }
    require(kvf_layout_block_bytes(layout) == bytes, "block bytes are the sum of the regions'");
    require(kvf_layout_layers(layout) == layers, "layers are counted");
}

static void check_recommended(const kvf_layout *layout, kvf_layout_use use, size_t blocks) {
    const size_t needed = kvf_layout_recommend_bytes(layout, blocks);
    if (needed > ORACLE_ARENA)
        return;
    kvf_layout *packed;
    kvf_status status =
        kvf_layout_recommend(layout, use, blocks, (kvf_buffer){arena, needed}, NULL, &packed, NULL);
    require(status == KVF_OK, "every layout has a packed layout");
    size_t count, painted;
    const kvf_region *r = kvf_layout_regions(packed, &count);
    bool twice = oracle_overlaps(r, count, blocks, arena, &painted);
    require(!twice && painted == needed, "a packed layout fills its buffer");
    require(kvf_layout_digest(packed) == kvf_layout_digest(layout), "a packed layout pairs up");
    kvf_layout_destroy(packed);
}

static void check_small_regions(input *in) {
    kvf_region list[MAX_REGIONS] = {{0}};
    const size_t count = take_up_to(in, MAX_REGIONS), blocks = take_up_to(in, 8);
    const bool alike = take(in, 1) & 1;
    for (size_t i = 0; i < count; i++) {
        list[i] = take_small_region(in);
        if (alike) {
            list[i].block_stride = list[0].block_stride;
            list[i].rows = list[0].rows;
            list[i].row_pitch = list[0].row_pitch;
        }
    }
    kvf_layout *layout = NULL;
    kvf_error error;
    kvf_status status = kvf_layout_create(list, count, blocks, NULL, &layout, &error);
    kvf_status want = KVF_ERR_INVALID;
    if (is_valid(list, count, blocks))
        want = oracle_accepts(list, count, blocks, arena) ? KVF_OK : KVF_ERR_LAYOUT;
    /* An overlap may be reported before a later invalid region. */
    require(status == want || (want == KVF_ERR_INVALID && status == KVF_ERR_LAYOUT),
            "a layout is created exactly when nothing overlaps");
    if (status != KVF_OK)
        return;
    check_sums(layout);
    check_recommended(layout, KVF_USE_WHOLE_BLOCKS, blocks);
    check_recommended(layout, KVF_USE_BY_LAYER, blocks + 1);
    kvf_layout_destroy(layout);
}

static bool wraps(const kvf_region *r, size_t blocks) {
    size_t blocks_reach, rows_reach, end = (size_t)(uintptr_t)r->base;
    return __builtin_mul_overflow(blocks - 1, r->block_stride, &blocks_reach) ||
           __builtin_mul_overflow(r->rows - 1, r->row_pitch, &rows_reach) ||
           __builtin_add_overflow(end, blocks_reach, &end) ||
           __builtin_add_overflow(end, rows_reach, &end) ||
           __builtin_add_overflow(end, r->bytes, &end);
}

static void check_wild_regions(input *in) {
    kvf_region list[MAX_REGIONS] = {{0}};
    const size_t count = take_up_to(in, MAX_REGIONS), blocks = take(in, take_up_to(in, 5));
    for (size_t i = 0; i < count; i++)
        list[i] = take_wild_region(in);
    kvf_layout *layout;
    kvf_error error;
    if (kvf_layout_create(list, count, blocks, NULL, &layout, &error) != KVF_OK) {
        require(!(error.fields & KVF_ERROR_INDEX) || error.index < count,
                "an error's index is in range");
        return;
    }
    const kvf_region *r = kvf_layout_regions(layout, NULL);
    for (size_t i = 0; i < count; i++)
        require(!wraps(&r[i], blocks), "no address wraps");
    check_sums(layout);
    check_recommended(layout, KVF_USE_BY_LAYER, 2);
    kvf_layout_destroy(layout);
}

static kvf_status make_named(size_t which, const kvf_shape *shape, const kvf_buffer *buffers,
                             kvf_layout **out, kvf_error *error) {
    switch (which) {
    case 0:
        return kvf_layout_contiguous(shape, buffers[0], out, error);
    case 1:
        return kvf_layout_per_layer(shape, buffers, KVF_BLOCK_FIRST, out, error);
    case 2:
        return kvf_layout_per_layer(shape, buffers, KVF_BLOCK_SECOND, out, error);
    case 3:
        return kvf_layout_per_part(shape, buffers, out, error);
    case 4:
        return kvf_layout_mla(shape, buffers, out, error);
    case 5:
        return kvf_layout_page_first(shape, buffers[0], out, error);
    default:
        return kvf_layout_token_first(shape, buffers[0], out, error);
    }
}

/* Every byte of every region is in the buffer that the region names. */
static void check_bounds(const kvf_layout *layout, const kvf_buffer *buffers) {
    size_t count;
    const kvf_region *r = kvf_layout_regions(layout, &count);
    const size_t blocks = kvf_layout_blocks(layout);
    for (size_t i = 0; i < count; i++) {
        const kvf_buffer *b = &buffers[r[i].buffer];
        require(r[i].base >= b->base && oracle_end(&r[i], blocks) <= (char *)b->base + b->bytes,
                "a region lies in its buffer");
    }
    require(!oracle_overlaps(r, count, blocks, arena, NULL), "a named layout does not overlap");
}

/* Enlarges buffers as errors demand until the layout is created. */
static kvf_layout *make_with_enough(size_t which, const kvf_shape *shape, kvf_buffer *buffers) {
    kvf_layout *layout;
    kvf_error error;
    for (size_t tries = 0; tries <= MAX_BUFFERS; tries++) {
        kvf_status status = make_named(which, shape, buffers, &layout, &error);
        if (status == KVF_OK)
            return layout;
        if (status == KVF_ERR_INVALID)
            return NULL;
        require(status == KVF_ERR_RANGE && error.index < MAX_BUFFERS,
                "the error names a buffer that is too small");
        require(error.expected > buffers[error.index].bytes,
                "the error expects more than the buffer has");
        buffers[error.index].bytes = error.expected;
    }
    require(false, "the size that the error expects is enough");
    return NULL;
}

static void check_shape(input *in) {
    size_t bytes_per_layer[MAX_LAYERS];
    kvf_shape shape = {.blocks = take_up_to(in, 5),
                       .layers = take_up_to(in, MAX_LAYERS),
                       .parts = take_up_to(in, MAX_PARTS),
                       .rows = take_up_to(in, 4)};
    for (size_t i = 0; i < MAX_LAYERS; i++)
        bytes_per_layer[i] = take_up_to(in, 32) * (shape.rows ? shape.rows : 1);
    shape.bytes = take_up_to(in, 64);
    shape.bytes_per_layer = take(in, 1) & 1 ? bytes_per_layer : NULL;
    kvf_buffer buffers[MAX_BUFFERS];
    uint64_t digest = 0;
    for (size_t which = 0; which < 7; which++) {
        for (size_t i = 0; i < MAX_BUFFERS; i++)
            buffers[i] = (kvf_buffer){arena + i * (ORACLE_ARENA / MAX_BUFFERS), take(in, 1)};
        kvf_layout *layout = make_with_enough(which, &shape, buffers);
        if (!layout)
            continue;
        check_bounds(layout, buffers);
        check_sums(layout);
        require(digest == 0 || digest == kvf_layout_digest(layout), "layouts of a shape pair up");
        digest = kvf_layout_digest(layout);
        kvf_layout_destroy(layout);
    }
}

/* ---- moves ---------------------------------------------------------------------------------- */

enum { MAX_PAIRS = 12 };

typedef struct pairs {
    uint64_t src[MAX_PAIRS], dst[MAX_PAIRS];
    size_t count;
} pairs;

/* Ids that mostly advance by the same step, so that there are runs. */
static pairs take_pairs(input *in, size_t blocks) {
    pairs p = {.count = take_up_to(in, MAX_PAIRS)};
    for (size_t i = 0; i < p.count; i++) {
        const uint64_t how = take(in, 1);
        if (i > 0 && how & 3) {
            p.src[i] = p.src[i - 1] + (how & 1);
            p.dst[i] = p.dst[i - 1] + (how & 4 ? -(how >> 1 & 1) : how >> 1 & 1);
        } else {
            p.src[i] = how >> 2 & 7;
            p.dst[i] = how >> 5;
        }
        /* One id past the last block tests the checks; larger ones would add nothing. */
        p.src[i] %= blocks + 1;
        p.dst[i] %= blocks + 1;
    }
    return p;
}

static kvf_box_limits take_limits(input *in) {
    const uint64_t how = take(in, 1);
    return (kvf_box_limits){.max_pitch = how & 1 ? SIZE_MAX : take(in, 1),
                            .negative_pitch = how & 2,
                            .narrow_pitch = how & 4,
                            .slices = how & 8,
                            .free_slice_pitch = how & 16,
                            .src_segment = how & 32 ? 1 + take(in, 1) : 0,
                            .dst_segment = how & 64 ? 1 + take(in, 1) : 0};
}

static bool has_range_error(const pairs *p, size_t blocks) {
    for (size_t i = 0; i < p->count; i++)
        if (p->src[i] >= blocks || p->dst[i] >= blocks)
            return true;
    return false;
}

static bool has_conflict(const pairs *p) {
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < i; k++)
            if (p->dst[i] == p->dst[k] && p->src[i] != p->src[k])
                return true;
    return false;
}

/* Makes the move block by block in `wanted`, the expected destination. */
static void move_by_block(const kvf_layout *src, const kvf_layout *dst, const pairs *p,
                          const char *target, char *wanted) {
    size_t count;
    const kvf_region *from = kvf_layout_regions(src, &count), *to = kvf_layout_regions(dst, NULL);
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < count; k++)
            for (size_t at = 0; at < oracle_bytes(&from[k]); at++)
                wanted[oracle_byte(&to[k], p->dst[i], at) - target] =
                    *oracle_byte(&from[k], p->src[i], at);
}

static bool in_one_segment(const char *at, size_t width, size_t segment) {
    return segment == 0 || (uintptr_t)at / segment == ((uintptr_t)at + width - 1) / segment;
}

static void copy_box(const kvf_box *b, const kvf_box_limits *limits) {
    require(b->width > 0 && b->rows > 0 && b->slices > 0, "no box is empty");
    require(b->slices == 1 || limits->slices, "slices need to be allowed");
    require(b->rows == 1 || limits->max_pitch > 0, "rows need to be allowed");
    for (size_t s = 0; s < b->slices; s++)
        for (size_t r = 0; r < b->rows; r++) {
            char *to = b->dst + (ptrdiff_t)s * b->dst_slice_pitch + (ptrdiff_t)r * b->dst_row_pitch;
            const char *from =
                b->src + (ptrdiff_t)s * b->src_slice_pitch + (ptrdiff_t)r * b->src_row_pitch;
            require(in_one_segment(to, b->width, limits->dst_segment) &&
                        in_one_segment(from, b->width, limits->src_segment),
                    "no copy crosses a segment");
            memcpy(to, from, b->width);
        }
}

static void run_move(const kvf_move *move, const kvf_box_limits *limits, size_t capacity) {
    kvf_box boxes[4];
    kvf_box_cursor cursor = {0};
    for (size_t n; (n = kvf_move_next(move, &cursor, boxes, capacity)) > 0;) {
        require(n <= capacity, "no more boxes than asked for");
        for (size_t i = 0; i < n; i++)
            copy_box(&boxes[i], limits);
    }
}

static void check_pairs(input *in, const kvf_layout *src, const kvf_layout *dst, char *target) {
    static char wanted[ORACLE_ARENA];
    const size_t blocks = kvf_layout_blocks(src);
    const pairs p = take_pairs(in, blocks);
    const kvf_box_limits limits = take_limits(in);
    const kvf_plan plan = {.count = p.count, .src_ids = p.src, .dst_ids = p.dst};
    const kvf_move_spec spec = {
        .src = src, .dst = dst, .plans = &plan, .plan_count = 1, .by_layer = take(in, 1) & 1};
    kvf_move *move;
    kvf_status status = kvf_move_create(&spec, &limits, NULL, &move, NULL);
    if (has_range_error(&p, blocks) || has_conflict(&p)) {
        require((status == KVF_ERR_RANGE && has_range_error(&p, blocks)) ||
                    (status == KVF_ERR_CONFLICT && has_conflict(&p)),
                "invalid pairs are refused");
        return;
    }
    require(status == KVF_OK, "valid pairs make a move");
    memset(target, 0, ORACLE_ARENA);
    memset(wanted, 0, ORACLE_ARENA);
    move_by_block(src, dst, &p, target, wanted);
    run_move(move, &limits, 1 + take_up_to(in, 3));
    require(memcmp(target, wanted, ORACLE_ARENA) == 0, "boxes move what blocks do, and no more");
    kvf_move_destroy(move);
}

static kvf_layout *take_named(input *in, const kvf_shape *shape, char *memory) {
    const size_t which = take_up_to(in, 6);
    const bool mla = which == 4;
    kvf_buffer buffers[MAX_BUFFERS];
    for (size_t i = 0; i < MAX_BUFFERS; i++)
        buffers[i] = (kvf_buffer){memory + i * (ORACLE_ARENA / MAX_BUFFERS), 0};
    return make_with_enough(mla && shape->parts > 1 ? 0 : which, shape, buffers);
}

/* Makes every second pair of shapes one of tiles, of any orders and rows. */
static void make_tiles(input *in, kvf_shape *shape, kvf_shape *other) {
    const size_t how = take(in, 1);
    if (how & 1)
        return;
    shape->tokens = 1 + take_up_to(in, 3);
    shape->heads = shape->rows;
    shape->bytes *= shape->tokens;
    *other = *shape;
    shape->order = how & 2 ? KVF_ORDER_NHD : KVF_ORDER_HND;
    other->order = how & 4 ? KVF_ORDER_NHD : KVF_ORDER_HND;
    shape->rows = how & 8 ? 1 : how & 2 ? shape->tokens : shape->heads;
    other->rows = how & 16 ? 1 : how & 4 ? other->tokens : other->heads;
}

static void check_move(input *in) {
    static char target[ORACLE_ARENA];
    const size_t row_count = 1 + take_up_to(in, 3);
    kvf_shape shape = {.blocks = 1 + take_up_to(in, 6),
                       .layers = 1 + take_up_to(in, MAX_LAYERS - 1),
                       .parts = 1 + take_up_to(in, MAX_PARTS - 1),
                       .rows = row_count,
                       .bytes = row_count * (1 + take_up_to(in, 12))};
    kvf_shape turned = shape;
    make_tiles(in, &shape, &turned);
    /* Filled once: nothing writes to it afterwards. */
    for (size_t i = 0; arena[ORACLE_ARENA - 1] == 0 && i < ORACLE_ARENA; i++)
        arena[i] = (char)(1 + (i * 31 + i / 255) % 255);
    kvf_layout *src = take_named(in, &shape, arena), *dst = take_named(in, &turned, target);
    check_pairs(in, src, dst, target);
    kvf_layout_destroy(src);
    kvf_layout_destroy(dst);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    switch (take_up_to(&in, 3)) {
    case 0:
        check_small_regions(&in);
        break;
    case 1:
        check_wild_regions(&in);
        break;
    case 2:
        check_shape(&in);
        break;
    default:
        check_move(&in);
    }
    return 0;
}
