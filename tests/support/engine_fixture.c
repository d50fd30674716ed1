#include "engine_fixture.h"

#include "move/layout_oracle.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fixture_watchdog(unsigned seconds) {
    alarm(seconds);
}

void fixture_needs(fixture_ability ability) {
    if (!fixture_has(ability))
        skip();
}

bool fixture_offers(const kvf_host_options *options) {
    return fixture_has(FIXTURE_IMITATION) ||
           (options->imitate_gbps == 0 && options->imitate_latency_us == 0);
}

bool fixture_moves(fixture_side src, fixture_side dst) {
    return !fixture_has(FIXTURE_DEVICE) || src == FIXTURE_NEAR || dst == FIXTURE_NEAR;
}

/* Memory and layouts */

static size_t layer_bytes(const kvf_shape *shape, size_t layer) {
    return shape->bytes_per_layer ? shape->bytes_per_layer[layer] : shape->bytes;
}

static size_t parts_of(const kvf_shape *shape) {
    return shape->parts ? shape->parts : 1;
}

static size_t rows_of(const kvf_shape *shape) {
    return shape->rows ? shape->rows : 1;
}

static size_t block_bytes(const kvf_shape *shape) {
    size_t bytes = 0;
    for (size_t l = 0; l < shape->layers; l++)
        bytes += parts_of(shape) * layer_bytes(shape, l);
    return bytes;
}

static char *allocate(fixture_memory *m, const fixture_placement *placement, size_t size) {
    m->side = placement->side;
    m->size = placement->offset + size;
    m->bytes = fixture_allocate(placement->side, m->size);
    return m->bytes + placement->offset;
}

static kvf_layout *recommend(const kvf_shape *shape, kvf_layout_use use, kvf_buffer buffer) {
    kvf_layout *pattern = NULL, *layout = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_layout_contiguous(shape, buffer, &pattern, &error), &error);
    test_expect(KVF_OK,
                kvf_layout_recommend(pattern, use, shape->blocks, buffer, shape->allocator, &layout,
                                     &error),
                &error);
    kvf_layout_destroy(pattern);
    return layout;
}

static kvf_layout *make_contiguous(const kvf_shape *shape, fixture_form form,
                                   const fixture_placement *placement, fixture_memory *m) {
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    const size_t size = shape->blocks * block_bytes(shape);
    const kvf_buffer buffer = {allocate(m, placement, size), size};
    if (form == FIXTURE_WHOLE_BLOCKS || form == FIXTURE_BY_LAYER)
        return recommend(
            shape, form == FIXTURE_WHOLE_BLOCKS ? KVF_USE_WHOLE_BLOCKS : KVF_USE_BY_LAYER, buffer);
    kvf_status status =
        form == FIXTURE_CONTIGUOUS   ? kvf_layout_contiguous(shape, buffer, &layout, &error)
        : form == FIXTURE_PAGE_FIRST ? kvf_layout_page_first(shape, buffer, &layout, &error)
                                     : kvf_layout_token_first(shape, buffer, &layout, &error);
    test_expect(KVF_OK, status, &error);
    return layout;
}

/* A single latent part is MLA. */
static kvf_status make_per_part(const kvf_shape *shape, const kvf_buffer *buffers, kvf_layout **out,
                                kvf_error *error) {
    return parts_of(shape) == 1 ? kvf_layout_mla(shape, buffers, out, error)
                                : kvf_layout_per_part(shape, buffers, out, error);
}

/* A buffer for every layer, or every part of one, each followed by a gap. */
static kvf_layout *make_apart(const kvf_shape *shape, fixture_form form,
                              const fixture_placement *placement, fixture_memory *m) {
    enum { GAP = 40 };
    size_t gap = GAP * (placement->unit ? placement->unit : 1);
    size_t parts = parts_of(shape), each = form == FIXTURE_PER_PART ? 1 : parts;
    size_t count = shape->layers * (parts / each), at = 0;
    kvf_buffer *buffers = calloc(count, sizeof *buffers);
    assert_non_null(buffers);
    char *base = allocate(m, placement, shape->blocks * block_bytes(shape) + count * gap);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = each * shape->blocks * layer_bytes(shape, i * each / parts);
        buffers[i] = (kvf_buffer){base + at, bytes};
        at += bytes + gap;
    }
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    kvf_status status =
        form == FIXTURE_PER_PART
            ? make_per_part(shape, buffers, &layout, &error)
            : kvf_layout_per_layer(shape, buffers,
                                   form == FIXTURE_BLOCK_FIRST ? KVF_BLOCK_FIRST : KVF_BLOCK_SECOND,
                                   &layout, &error);
    test_expect(KVF_OK, status, &error);
    free(buffers);
    return layout;
}

static kvf_layout *make_padded(const kvf_shape *shape, const fixture_placement *placement,
                               fixture_memory *m) {
    enum { ROW_GAP = 3, REGION_GAP = 5, BLOCK_GAP = 7 };
    size_t unit = placement->unit ? placement->unit : 1;
    size_t parts = parts_of(shape), rows = rows_of(shape), count = shape->layers * parts;
    kvf_region *regions = calloc(count, sizeof *regions);
    assert_non_null(regions);
    size_t gaps = (count * (rows * ROW_GAP + REGION_GAP) + BLOCK_GAP) * unit, at = 0;
    size_t stride = block_bytes(shape) + gaps;
    char *base = allocate(m, placement, shape->blocks * stride);
    for (size_t i = 0; i < count; i++) {
        size_t row = layer_bytes(shape, i / parts) / rows;
        regions[i] = (kvf_region){
            .base = base + at,
            .block_stride = stride,
            .bytes = row,
            .rows = rows,
            .row_pitch = row + ROW_GAP * unit,
            .layer = (uint32_t)(i / parts),
            .part = (uint32_t)(i % parts),
            .kind = shape->kind,
            .tokens = shape->tokens,
            .heads = shape->heads,
            .order = shape->order,
        };
        at += rows * (row + ROW_GAP * unit) + REGION_GAP * unit;
    }
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_layout_create(regions, count, shape->blocks, NULL, &layout, &error),
                &error);
    free(regions);
    return layout;
}

fixture_memory fixture_memory_make_at(const kvf_shape *shape, fixture_form form,
                                      const fixture_placement *placement) {
    fixture_memory m = {0};
    switch (form) {
    case FIXTURE_BLOCK_FIRST:
    case FIXTURE_BLOCK_SECOND:
    case FIXTURE_PER_PART:
        m.layout = make_apart(shape, form, placement, &m);
        break;
    case FIXTURE_PADDED:
        m.layout = make_padded(shape, placement, &m);
        break;
    default:
        m.layout = make_contiguous(shape, form, placement, &m);
    }
    return m;
}

fixture_memory fixture_memory_make(const kvf_shape *shape, fixture_form form) {
    return fixture_memory_make_at(shape, form, &(fixture_placement){0});
}

void fixture_memory_free(fixture_memory *memory) {
    kvf_layout_destroy(memory->layout);
    fixture_deallocate(memory->side, memory->bytes);
    *memory = (fixture_memory){0};
}

fixture_tier fixture_tier_make_on(kvf_engine *engine, fixture_side side, const kvf_shape *shape,
                                  fixture_form form, bool integrity) {
    fixture_tier t = {.memory =
                          fixture_memory_make_at(shape, form, &(fixture_placement){.side = side})};
    const kvf_layout *layouts[] = {t.memory.layout};
    const kvf_tier_options options = {.layouts = layouts,
                                      .layout_count = 1,
                                      .memory = fixture_kind(side),
                                      .integrity = integrity && fixture_has(FIXTURE_INTEGRITY)};
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_tier_create(engine, &options, &t.tier, &error), &error);
    return t;
}

fixture_tier fixture_tier_make(kvf_engine *engine, const kvf_shape *shape, fixture_form form,
                               bool integrity) {
    return fixture_tier_make_on(engine, FIXTURE_FAR, shape, form, integrity);
}

void fixture_tier_free(fixture_tier *tier) {
    kvf_tier_destroy(tier->tier);
    fixture_memory_free(&tier->memory);
    tier->tier = NULL;
}

/* Content */

/* The stream of a tag's bytes. */
typedef struct stream {
    uint64_t tag, word;
    size_t at;
} stream;

static char next_byte(stream *s) {
    if (s->at % 8 == 0) {
        uint64_t x = (s->tag + 1) * UINT64_C(0x9e3779b97f4a7c15);
        x += s->at / 8 * UINT64_C(0xbf58476d1ce4e5b9);
        x ^= x >> 29;
        x *= UINT64_C(0x94d049bb133111eb);
        s->word = x ^ x >> 32;
    }
    return (char)(s->word >> 8 * (s->at++ % 8));
}

char *fixture_byte(const kvf_layout *layout, size_t region, uint64_t id, size_t row,
                   size_t column) {
    return oracle_address(&kvf_layout_regions(layout, NULL)[region], id, row) + column;
}

/* The number of copies for a block's part of a region: one if its rows are adjacent. */
static size_t pieces_of(const kvf_region *r) {
    return oracle_solid(r) ? 1 : oracle_rows(r);
}

/* A region of our own with room for one block's part of `r`, as its block 0, rows adjacent. The
 * caller frees its base. */
static kvf_region make_room(const kvf_region *r) {
    kvf_region room = *r;
    room.base = malloc(oracle_bytes(r));
    room.row_pitch = r->bytes;
    assert_non_null(room.base);
    return room;
}

/* Copies a block's part of a region out. */
static kvf_region take(const kvf_region *r, uint64_t id) {
    kvf_region taken = make_room(r);
    for (size_t i = 0, pieces = pieces_of(r); i < pieces; i++)
        fixture_read(oracle_address(&taken, 0, i), oracle_address(r, id, i),
                     oracle_bytes(r) / pieces);
    return taken;
}

/* Copies it into a block, and frees it. */
static void put(kvf_region *taken, const kvf_region *r, uint64_t id) {
    for (size_t i = 0, pieces = pieces_of(r); i < pieces; i++)
        fixture_write(oracle_address(r, id, i), oracle_address(taken, 0, i),
                      oracle_bytes(r) / pieces);
    free(taken->base);
}

void fixture_fill(const kvf_layout *layout, uint64_t id, uint64_t tag) {
    size_t count;
    const kvf_region *r = kvf_layout_regions(layout, &count);
    stream s = {.tag = tag};
    for (size_t i = 0; i < count; i++) {
        kvf_region filled = make_room(&r[i]);
        for (size_t at = 0; at < oracle_bytes(&r[i]); at++)
            *oracle_byte(&filled, 0, at) = next_byte(&s);
        put(&filled, &r[i], id);
    }
}

void fixture_fill_all(const kvf_layout *layout, uint64_t tag) {
    for (size_t id = 0; id < kvf_layout_blocks(layout); id++)
        fixture_fill(layout, id, tag + id);
}

bool fixture_holds(const kvf_layout *layout, uint64_t id, uint64_t tag) {
    size_t count;
    const kvf_region *r = kvf_layout_regions(layout, &count);
    stream s = {.tag = tag};
    bool holds = true;
    for (size_t i = 0; holds && i < count; i++) {
        kvf_region taken = take(&r[i], id);
        for (size_t at = 0; at < oracle_bytes(&r[i]); at++)
            holds &= *oracle_byte(&taken, 0, at) == next_byte(&s);
        free(taken.base);
    }
    return holds;
}

static void copy_block(const kvf_layout *src, uint64_t src_id, const kvf_layout *dst,
                       uint64_t dst_id, size_t region) {
    const kvf_region *r = &kvf_layout_regions(dst, NULL)[region];
    kvf_region from = take(&kvf_layout_regions(src, NULL)[region], src_id), to = make_room(r);
    for (size_t at = 0; at < oracle_bytes(r); at++)
        *oracle_byte(&to, 0, at) = *oracle_byte(&from, 0, at);
    put(&to, r, dst_id);
    free(from.base);
}

void fixture_copy(const kvf_layout *src, const kvf_layout *dst, const kvf_plan *plans, size_t count,
                  uint32_t first_layer, uint32_t layer_count) {
    size_t region_count;
    const kvf_region *regions = kvf_layout_regions(src, &region_count);
    uint32_t layer = 0;
    for (size_t i = 0; i < region_count; i++) {
        layer += i > 0 && regions[i].layer != regions[i - 1].layer;
        if (layer < first_layer || (layer_count && layer >= first_layer + layer_count))
            continue;
        for (size_t p = 0; p < count; p++)
            for (size_t k = 0; k < plans[p].count; k++)
                copy_block(src, plans[p].src_ids[k], dst, plans[p].dst_ids[k], i);
    }
}

kvf_plan fixture_plan(const uint64_t *src_ids, const uint64_t *dst_ids, size_t count) {
    return (kvf_plan){.count = count, .src_ids = src_ids, .dst_ids = dst_ids};
}

void fixture_drain(kvf_engine *engine) {
    while (kvf_engine_progress(engine) > 0)
        usleep(20);
}
