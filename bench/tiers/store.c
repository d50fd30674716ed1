#include "tiers/store.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

/* Region buffers start at pages, as device allocators return them. */
#define PAGE ((size_t)4096)

struct arrangement {
    const char *name;
    size_t (*bytes)(const kvf_shape *shape);
    kvf_status (*make)(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                       kvf_error *error);
};

static size_t times(size_t a, size_t b) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        fail(EXIT_USAGE, "%zu x %zu bytes exceed the address space", a, b);
    return product;
}

static kvf_shape shape_of(const store_spec *spec) {
    size_t parts = spec->regions % 2 == 0 ? 2 : 1;
    return (kvf_shape){
        .blocks = spec->blocks,
        .layers = spec->regions / parts,
        .parts = parts,
        .bytes = spec->region_bytes,
    };
}

static size_t packed_bytes(const kvf_shape *shape) {
    return times(times(shape->blocks, shape->layers * shape->parts), shape->bytes);
}

static size_t region_buffer_bytes(const kvf_shape *shape) {
    return (times(shape->blocks, shape->bytes) + PAGE - 1) / PAGE * PAGE;
}

static size_t per_region_bytes(const kvf_shape *shape) {
    return times(region_buffer_bytes(shape), shape->layers * shape->parts);
}

/* The buffers of all regions, one after the other in `buffer`. */
static kvf_buffer *cut(const kvf_shape *shape, kvf_buffer buffer) {
    size_t count = shape->layers * shape->parts;
    size_t bytes = region_buffer_bytes(shape);
    kvf_buffer *buffers = must_grow(NULL, count, sizeof *buffers);
    for (size_t i = 0; i < count; i++)
        buffers[i] = (kvf_buffer){.base = (char *)buffer.base + i * bytes, .bytes = bytes};
    return buffers;
}

static kvf_status make_per_region(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                                  kvf_error *error) {
    kvf_buffer *buffers = cut(shape, buffer);
    kvf_status status = kvf_layout_per_part(shape, buffers, out, error);
    free(buffers);
    return status;
}

/* The layout that the library recommends as the partner of a layout of this shape. The partner's
 * addresses do not matter: a contiguous layout of `buffer` stands in for it. */
static kvf_status recommend(const kvf_shape *shape, kvf_layout_use use, kvf_buffer buffer,
                            kvf_layout **out, kvf_error *error) {
    kvf_layout *other = NULL;
    kvf_status status = kvf_layout_contiguous(shape, buffer, &other, error);
    if (status == KVF_OK)
        status = kvf_layout_recommend(other, use, shape->blocks, buffer, NULL, out, error);
    kvf_layout_destroy(other);
    return status;
}

static kvf_status make_whole(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                             kvf_error *error) {
    return recommend(shape, KVF_USE_WHOLE_BLOCKS, buffer, out, error);
}

static kvf_status make_layer(const kvf_shape *shape, kvf_buffer buffer, kvf_layout **out,
                             kvf_error *error) {
    return recommend(shape, KVF_USE_BY_LAYER, buffer, out, error);
}

static const arrangement arrangements[] = {
    {"region", per_region_bytes, make_per_region},
    {"whole", packed_bytes, make_whole},
    {"layer", packed_bytes, make_layer},
    {"contiguous", packed_bytes, kvf_layout_contiguous},
    {"page_first", packed_bytes, kvf_layout_page_first},
};

const arrangement *arrangement_find(const char *name) {
    for (size_t i = 0; i < sizeof arrangements / sizeof arrangements[0]; i++)
        if (strcmp(arrangements[i].name, name) == 0)
            return &arrangements[i];
    return NULL;
}

const char *arrangement_name(const arrangement *arrangement) {
    return arrangement->name;
}

void store_open(store *store, backend *backend, const store_spec *spec) {
    kvf_error error = {0};
    kvf_shape shape = shape_of(spec);
    *store = (struct store){.backend = backend, .side = spec->side};
    store->bytes = spec->arrangement->bytes(&shape);
    store->memory = backend->type->allocate(backend, spec->side, store->bytes);
    if (!store->memory)
        fail(EXIT_CHECK, "out of memory for a tier of %zu bytes", store->bytes);
    kvf_buffer buffer = {.base = store->memory, .bytes = store->bytes};
    must(spec->arrangement->make(&shape, buffer, &store->layout, &error), &error,
         "making a layout");
    const kvf_layout *layouts[] = {store->layout};
    kvf_tier_options options = {
        .layouts = layouts,
        .layout_count = 1,
        .memory = backend->type->memory(spec->side),
        .integrity = spec->integrity,
    };
    must(kvf_tier_create(backend->engine, &options, &store->tier, &error), &error, "making a tier");
}

void store_close(store *store) {
    kvf_tier_destroy(store->tier);
    kvf_layout_destroy(store->layout);
    store->backend->type->release(store->backend, store->side, store->memory, store->bytes);
}
