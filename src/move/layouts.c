/* The named layouts, and the recommended ones: packed, to pair with any other. */
#include "move/layout.h"
#include "base/allocator.h"

/* A shape with its defaults filled in, and the regions made from it. Once the buffers are known to
 * be large enough, no size computed from it overflows: all are below the buffers' sizes. */
typedef struct grid {
    kvf_allocator allocator;
    kvf_shape shape;
    size_t page; /* bytes of one part of all layers of one block */
    size_t count;
    kvf_region *regions;
} grid;

/* SIZE_MAX for a product that overflows: no buffer has that size. */
static size_t times(size_t a, size_t b) {
    size_t product;
    return kvf__mul(a, b, &product) ? product : SIZE_MAX;
}

static size_t layer_bytes(const grid *g, size_t layer) {
    return g->shape.bytes_per_layer ? g->shape.bytes_per_layer[layer] : g->shape.bytes;
}

static kvf_status measure_layers(grid *g, kvf_error *error) {
    /* If all layers are alike, checking one suffices. */
    size_t checks = g->shape.bytes_per_layer ? g->shape.layers : 1;
    for (size_t l = 0; l < checks; l++) {
        if (layer_bytes(g, l) % g->shape.rows != 0)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                             .index = l * g->shape.parts, .what = "rows must divide the bytes");
        if (!kvf__add(g->page, layer_bytes(g, l), &g->page))
            g->page = SIZE_MAX;
    }
    if (!g->shape.bytes_per_layer)
        g->page = times(g->page, g->shape.layers);
    return KVF_OK;
}

static kvf_status measure(grid *g, const kvf_shape *shape, kvf_error *error) {
    if (!shape || shape->blocks == 0 || shape->layers == 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "a shape needs blocks and layers");
    *g = (grid){.allocator = kvf__allocator(shape->allocator), .shape = *shape};
    if (g->shape.parts == 0)
        g->shape.parts = 1;
    if (g->shape.rows == 0)
        g->shape.rows = 1;
    g->count = times(g->shape.layers, g->shape.parts);
    if (g->count > UINT32_MAX)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = UINT32_MAX, .what = "layers times parts out of range");
    return measure_layers(g, error);
}

static kvf_status check_buffer(const kvf_buffer *buffer, size_t index, size_t needed,
                               kvf_error *error) {
    size_t end;
    if (!buffer->base)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                         .index = index, .what = "a buffer's base is NULL");
    const char *what = NULL;
    if (needed > buffer->bytes)
        what = "a buffer is too small";
    else if (!kvf__add((size_t)(uintptr_t)buffer->base, needed, &end))
        what = "a buffer's addresses overflow";
    if (!what)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX | KVF_ERROR_EXPECTED,
                     .index = index, .expected = needed, .what = what);
}

static kvf_status take_regions(grid *g, kvf_error *error) {
    g->regions = kvf__alloc_zero(&g->allocator, g->count, sizeof *g->regions);
    return g->regions ? KVF_OK : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

/* For layouts with everything in one buffer. */
static kvf_status open_one(grid *g, const kvf_shape *shape, const kvf_buffer *buffer,
                           kvf_error *error) {
    kvf_status status = measure(g, shape, error);
    if (status != KVF_OK)
        return status;
    size_t needed = times(times(g->shape.blocks, g->shape.parts), g->page);
    status = check_buffer(buffer, 0, needed, error);
    return status == KVF_OK ? take_regions(g, error) : status;
}

/* For layouts with a buffer for each layer, or for each part of a layer. */
static kvf_status open_many(grid *g, const kvf_shape *shape, const kvf_buffer *buffers,
                            bool by_part, kvf_error *error) {
    kvf_status status = measure(g, shape, error);
    if (status != KVF_OK)
        return status;
    if (!buffers)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "buffers are NULL");
    const size_t per_layer = by_part ? g->shape.parts : 1;
    const size_t pieces = by_part ? g->shape.blocks : times(g->shape.blocks, g->shape.parts);
    for (size_t l = 0; l < g->shape.layers; l++)
        for (size_t i = l * per_layer; i < (l + 1) * per_layer; i++) {
            status = check_buffer(&buffers[i], i, times(pieces, layer_bytes(g, l)), error);
            if (status != KVF_OK)
                return status;
        }
    return take_regions(g, error);
}

/* Stores a region, completed from the shape. Its rows touch unless `where` has a pitch. */
static void put(grid *g, size_t layer, size_t part, kvf_region where) {
    where.rows = g->shape.rows;
    where.bytes = layer_bytes(g, layer) / where.rows;
    if (where.row_pitch == 0)
        where.row_pitch = where.bytes;
    where.layer = (uint32_t)layer;
    where.part = (uint32_t)part;
    where.kind = g->shape.kind;
    where.tokens = g->shape.tokens;
    where.heads = g->shape.heads;
    where.order = g->shape.order;
    g->regions[layer * g->shape.parts + part] = where;
}

static kvf_status finish(grid *g, kvf_layout **out, kvf_error *error) {
    kvf_status status =
        kvf_layout_create(g->regions, g->count, g->shape.blocks, &g->allocator, out, error);
    kvf__free(&g->allocator, g->regions, g->count, sizeof *g->regions);
    return status;
}

/*     | b0: l0 K V | l1 K V | ... | b1: l0 K V | l1 K V | ... |
 *       <----------------------> stride                          */
kvf_status kvf_layout_contiguous(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                                 kvf_error *error) {
    grid g = {0};
    kvf_status status = open_one(&g, shape, &buffer, error);
    if (status != KVF_OK)
        return status;
    char *at = buffer.base;
    for (size_t l = 0; l < g.shape.layers; l++)
        for (size_t p = 0; p < g.shape.parts; p++) {
            put(&g, l, p, (kvf_region){.base = at, .block_stride = g.page * g.shape.parts});
            at += layer_bytes(&g, l);
        }
    return finish(&g, out, error);
}

/*     block first:  | b0 K | b0 V | b1 K | b1 V | ... |
 *                     <---------> stride
 *     block second: | b0 K | b1 K | ... | b0 V | b1 V | ... |
 *                     <--> stride                             */
kvf_status kvf_layout_per_layer(const kvf_shape *shape, const kvf_buffer *buffers,
                                kvf_layer_order order, kvf_layout **out, kvf_error *error) {
    if (order != KVF_BLOCK_FIRST && order != KVF_BLOCK_SECOND)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "unknown layer order");
    grid g = {0};
    kvf_status status = open_many(&g, shape, buffers, false, error);
    if (status != KVF_OK)
        return status;
    const bool first = order == KVF_BLOCK_FIRST;
    const size_t next_part = first ? 1 : g.shape.blocks, next_block = first ? g.shape.parts : 1;
    for (size_t l = 0; l < g.shape.layers; l++)
        for (size_t p = 0; p < g.shape.parts; p++)
            put(&g, l, p,
                (kvf_region){.base = (char *)buffers[l].base + p * next_part * layer_bytes(&g, l),
                             .block_stride = next_block * layer_bytes(&g, l),
                             .buffer = (uint32_t)l});
    return finish(&g, out, error);
}

/*     | b0 | b1 | b2 | ... |   each
 *       <-> stride                    */
kvf_status kvf_layout_per_part(const kvf_shape *shape, const kvf_buffer *buffers, kvf_layout **out,
                               kvf_error *error) {
    grid g = {0};
    kvf_status status = open_many(&g, shape, buffers, true, error);
    if (status != KVF_OK)
        return status;
    for (size_t l = 0; l < g.shape.layers; l++)
        for (size_t p = 0; p < g.shape.parts; p++) {
            const size_t i = l * g.shape.parts + p;
            put(&g, l, p,
                (kvf_region){.base = buffers[i].base,
                             .block_stride = layer_bytes(&g, l),
                             .buffer = (uint32_t)i});
        }
    return finish(&g, out, error);
}

kvf_status kvf_layout_mla(const kvf_shape *shape, const kvf_buffer *buffers, kvf_layout **out,
                          kvf_error *error) {
    if (shape && shape->parts > 1)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "an MLA layout has one part");
    return kvf_layout_per_part(shape, buffers, out, error);
}

/*     by page: | K: b0 l0 l1 ...           | b1 l0 l1 ... | ... | V: ... |
 *     by row:  | K: b0 r0 l0 l1 .. r1 l0 l1 .. | b1 ...   | ... | V: ... |
 *                      <-------> pitch
 *                   <------------------------> stride, a page              */
static kvf_status paged(const kvf_shape *shape, const kvf_buffer *buffer, bool by_row,
                        kvf_layout **out, kvf_error *error) {
    grid g = {0};
    kvf_status status = open_one(&g, shape, buffer, error);
    if (status != KVF_OK)
        return status;
    const size_t cut = by_row ? g.shape.rows : 1;
    char *at = buffer->base;
    for (size_t l = 0; l < g.shape.layers; l++) {
        for (size_t p = 0; p < g.shape.parts; p++)
            put(&g, l, p,
                (kvf_region){.base = at + p * g.shape.blocks * g.page,
                             .block_stride = g.page,
                             .row_pitch = by_row ? g.page / cut : 0});
        at += layer_bytes(&g, l) / cut;
    }
    return finish(&g, out, error);
}

kvf_status kvf_layout_page_first(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                                 kvf_error *error) {
    return paged(shape, &buffer, false, out, error);
}

kvf_status kvf_layout_token_first(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                                  kvf_error *error) {
    return paged(shape, &buffer, true, out, error);
}

/* Recommended layouts */

size_t kvf_layout_recommend_bytes(const kvf_layout *layout, size_t blocks) {
    return times(layout->block_bytes, blocks);
}

/* The end of the run of regions that starts at `first`. Regions of a run are packed together. */
static size_t run_end(const kvf_layout *layout, kvf_layout_use use, size_t first) {
    size_t end = first;
    while (end < layout->count && (use == KVF_USE_WHOLE_BLOCKS ||
                                   layout->regions[end].layer == layout->regions[first].layer))
        end++;
    return end;
}

/* Packs one run for all blocks; returns its bytes in one block.
 *
 *     | b0: region, region, ... | b1: region, region, ... | ... |
 *       <---------------------> stride                            */
static size_t pack_run(kvf_region *run, size_t count, char *base) {
    size_t stride = 0;
    for (size_t i = 0; i < count; i++) {
        run[i].base = base + stride;
        run[i].row_pitch = run[i].bytes;
        run[i].buffer = 0;
        stride += kvf__region_bytes(&run[i]);
    }
    for (size_t i = 0; i < count; i++)
        run[i].block_stride = stride;
    return stride;
}

/*     whole blocks: one run
 *     by layer:     | run of l0 | run of l1 | ... |  */
kvf_status kvf_layout_recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks,
                                kvf_buffer buffer, const kvf_allocator *allocator, kvf_layout **out,
                                kvf_error *error) {
    if (!layout || blocks == 0 || (use != KVF_USE_WHOLE_BLOCKS && use != KVF_USE_BY_LAYER))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "layout is NULL, blocks are 0 or use is unknown");
    kvf_status status = check_buffer(&buffer, 0, kvf_layout_recommend_bytes(layout, blocks), error);
    if (status != KVF_OK)
        return status;
    grid g = {
        .allocator = kvf__allocator(allocator), .shape.blocks = blocks, .count = layout->count};
    status = take_regions(&g, error);
    if (status != KVF_OK)
        return status;
    char *at = buffer.base;
    for (size_t i = 0, end; i < g.count; i = end) {
        end = run_end(layout, use, i);
        for (size_t k = i; k < end; k++)
            g.regions[k] = layout->regions[k];
        at += pack_run(&g.regions[i], end - i, at) * blocks;
    }
    return finish(&g, out, error);
}
