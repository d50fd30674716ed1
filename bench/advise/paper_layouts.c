#include "advise/paper_layouts.h"

#include "base/base.h"

#include <stdlib.h>

/* Made-up addresses: the memory is never accessed. */
#define DEVICE_BASE ((uintptr_t)1 << 45)
#define HOST_BASE   ((uintptr_t)1 << 46)

/* Buffers start at huge pages, as device allocators return large ones. */
#define PAGE ((size_t)2 << 20)

static kvf_shape shape_of(const kv_blocks *kv, size_t blocks, kvf_tile_order order) {
    return (kvf_shape){.blocks = blocks,
                       .layers = kv->layers,
                       .parts = kv->parts,
                       .bytes = kv->part_bytes,
                       .tokens = kv->tokens,
                       .heads = kv->heads,
                       .order = order};
}

static kvf_buffer whole(const kvf_shape *shape, uintptr_t base) {
    return (kvf_buffer){.base = (void *)base,
                        .bytes = shape->blocks * shape->layers * shape->parts * shape->bytes};
}

/* `count` buffers: one per layer, or one per part of a layer. */
static kvf_buffer *cut(const kvf_shape *shape, uintptr_t base, size_t count) {
    kvf_buffer *buffers = must_grow(NULL, count, sizeof *buffers);
    size_t bytes = whole(shape, base).bytes / count;
    for (size_t i = 0; i < count; i++) {
        buffers[i].base = (void *)(base + i * ((bytes + PAGE - 1) / PAGE * PAGE));
        buffers[i].bytes = bytes;
    }
    return buffers;
}

static kvf_status per_part(kvf_shape *shape, uintptr_t base, kvf_layout **out, kvf_error *error) {
    kvf_buffer *buffers = cut(shape, base, shape->layers * shape->parts);
    kvf_status status = kvf_layout_per_part(shape, buffers, out, error);
    free(buffers);
    return status;
}

static kvf_status per_layer(kvf_shape *shape, uintptr_t base, kvf_layer_order order,
                            kvf_layout **out, kvf_error *error) {
    kvf_buffer *buffers = cut(shape, base, shape->layers);
    kvf_status status = kvf_layout_per_layer(shape, buffers, order, out, error);
    free(buffers);
    return status;
}

static kvf_status parts_apart(kvf_shape *shape, uintptr_t base, kvf_layout **out,
                              kvf_error *error) {
    return per_layer(shape, base, KVF_BLOCK_SECOND, out, error);
}

static kvf_status parts_together(kvf_shape *shape, uintptr_t base, kvf_layout **out,
                                 kvf_error *error) {
    return per_layer(shape, base, KVF_BLOCK_FIRST, out, error);
}

static kvf_status mla(kvf_shape *shape, uintptr_t base, kvf_layout **out, kvf_error *error) {
    kvf_buffer *buffers = cut(shape, base, shape->layers);
    kvf_status status = kvf_layout_mla(shape, buffers, out, error);
    free(buffers);
    return status;
}

static kvf_status contiguous(kvf_shape *shape, uintptr_t base, kvf_layout **out, kvf_error *error) {
    return kvf_layout_contiguous(shape, whole(shape, base), out, error);
}

static kvf_status page_first(kvf_shape *shape, uintptr_t base, kvf_layout **out, kvf_error *error) {
    return kvf_layout_page_first(shape, whole(shape, base), out, error);
}

static kvf_status token_first(kvf_shape *shape, uintptr_t base, kvf_layout **out,
                              kvf_error *error) {
    shape->rows = shape->tokens;
    return kvf_layout_token_first(shape, whole(shape, base), out, error);
}

typedef struct maker {
    const char *name;
    kvf_status (*make)(kvf_shape *shape, uintptr_t base, kvf_layout **out, kvf_error *error);
    bool with_k_and_v, with_mla;
} maker;

static const maker makers[] = {
    {"k_v_apart", per_part, true, false},         /* a buffer per layer and part */
    {"layer_k_v", parts_apart, true, false},      /* a buffer per layer: all K, then all V */
    {"layer_block", parts_together, true, false}, /* ... block by block, K then V */
    {"layer_mla", mla, false, true},
    {"contiguous", contiguous, true, true},
    {"page_first", page_first, true, false},
    {"token_first", token_first, true, true},
};

enum { MAKERS = sizeof makers / sizeof makers[0] };

enum { HOST_WHOLE, HOST_LAYER, HOST_SAME, HOST_TURNED, HOSTS };

static const char *const host_names[HOSTS] = {[HOST_WHOLE] = "whole",
                                              [HOST_LAYER] = "layer",
                                              [HOST_SAME] = "same",
                                              [HOST_TURNED] = "whole_turned"};

/* HOST_TURNED is paired with one device layout only: that shows its cost. */
static bool is_pair(const kv_blocks *kv, unsigned device, unsigned host) {
    bool is_mla = kv->parts == 1;
    return (is_mla ? makers[device].with_mla : makers[device].with_k_and_v) &&
           (host != HOST_TURNED || (device == 0 && kv->heads > 1 && kv->tokens > 1));
}

layout_pair paper_layouts_pair(const kv_blocks *kv, size_t number) {
    for (unsigned i = 0; i < MAKERS * HOSTS; i++) {
        unsigned device = i / HOSTS, host = i % HOSTS;
        if (is_pair(kv, device, host) && number-- == 0) {
            return (layout_pair){.device = makers[device].name,
                                 .host = host_names[host],
                                 .device_number = device,
                                 .host_number = host};
        }
    }
    return (layout_pair){0};
}

static kvf_layout *lay_out_device(const kv_blocks *kv, unsigned number, size_t blocks,
                                  uintptr_t base) {
    kvf_shape shape = shape_of(kv, blocks, KVF_ORDER_NHD);
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    must(makers[number].make(&shape, base, &layout, &error), &error, "making a device layout");
    return layout;
}

static kvf_layout *lay_out_host(const kv_blocks *kv, const layout_pair *pair, size_t blocks,
                                const kvf_layout *device) {
    kvf_shape shape = shape_of(kv, blocks, KVF_ORDER_HND);
    kvf_buffer buffer = whole(&shape, HOST_BASE);
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    if (pair->host_number == HOST_SAME)
        return lay_out_device(kv, pair->device_number, blocks, HOST_BASE);
    if (pair->host_number == HOST_TURNED) {
        must(contiguous(&shape, HOST_BASE, &layout, &error), &error, "making a host layout");
        return layout;
    }
    kvf_layout_use use = pair->host_number == HOST_LAYER ? KVF_USE_BY_LAYER : KVF_USE_WHOLE_BLOCKS;
    must(kvf_layout_recommend(device, use, blocks, buffer, NULL, &layout, &error), &error,
         "making a host layout");
    return layout;
}

static kvf_move *lower(const paper_move *wanted, const kvf_layout *device, const kvf_layout *host,
                       const kvf_box_limits *limits) {
    uint64_t *device_ids = id_pattern_make(wanted->device_ids, wanted->count, SEED);
    uint64_t *host_ids = id_pattern_make(wanted->host_ids, wanted->count, SEED + 1);
    bool to_device = wanted->to_device;
    kvf_move *move = NULL;
    kvf_error error = {0};
    kvf_plan plan = {.count = wanted->count,
                     .src_ids = to_device ? host_ids : device_ids,
                     .dst_ids = to_device ? device_ids : host_ids};
    kvf_move_spec spec = {.src = to_device ? host : device,
                          .dst = to_device ? device : host,
                          .plans = &plan,
                          .plan_count = 1,
                          .layer_count = wanted->first_layer ? 1 : 0};
    must(kvf_move_create(&spec, limits, NULL, &move, &error), &error, "making a move");
    free(device_ids);
    free(host_ids);
    return move;
}

kvf_move *paper_layouts_lower(const kv_blocks *kv, const paper_move *wanted,
                              const kvf_box_limits *limits, size_t *regions) {
    kvf_layout *device =
        lay_out_device(kv, wanted->pair->device_number,
                       id_pattern_blocks(wanted->device_ids, wanted->count), DEVICE_BASE);
    kvf_layout *host =
        lay_out_host(kv, wanted->pair, id_pattern_blocks(wanted->host_ids, wanted->count), device);
    kvf_move *move = lower(wanted, device, host, limits);
    if (regions)
        (void)kvf_layout_regions(device, regions);
    kvf_layout_destroy(device);
    kvf_layout_destroy(host);
    return move;
}
