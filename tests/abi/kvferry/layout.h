#ifndef KVFERRY_LAYOUT_H
#define KVFERRY_LAYOUT_H
#include "status.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_layout kvf_layout;
#define KVF_MAX_BLOCKS UINT64_C(2147483647)
typedef enum kvf_tile_order {
    KVF_ORDER_OPAQUE,
    KVF_ORDER_NHD,
    KVF_ORDER_HND,
} kvf_tile_order;
typedef struct kvf_region {
    void *base;
    size_t block_stride;
    size_t bytes;
    size_t rows;
    size_t row_pitch;
    uint32_t group;
    uint32_t part;
    uint32_t buffer;
    uint64_t kind;
    size_t tokens;
    size_t heads;
    kvf_tile_order order;
} kvf_region;
typedef struct kvf_buffer {
    void *base;
    size_t bytes;
} kvf_buffer;
typedef struct kvf_shape {
    size_t blocks;
    size_t layers;
    size_t parts;
    size_t bytes;
    const size_t *bytes_per_layer;
    size_t rows;
    uint64_t kind;
    size_t tokens;
    size_t heads;
    kvf_tile_order order;
    const kvf_allocator *allocator;
} kvf_shape;
KVF_API kvf_status kvf_layout_create(const kvf_region *regions, size_t count, size_t blocks,
                                     const kvf_allocator *allocator, kvf_layout **out,
                                     kvf_error *error);
KVF_API kvf_status kvf_layout_contiguous(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);
typedef enum kvf_layer_order {
    KVF_BLOCK_FIRST,
    KVF_BLOCK_SECOND,
} kvf_layer_order;
KVF_API kvf_status kvf_layout_per_layer(const kvf_shape *shape, const kvf_buffer *buffers,
                                        kvf_layer_order order, kvf_layout **out, kvf_error *error);
KVF_API kvf_status kvf_layout_per_part(const kvf_shape *shape, const kvf_buffer *buffers,
                                       kvf_layout **out, kvf_error *error);
KVF_API kvf_status kvf_layout_mla(const kvf_shape *shape, const kvf_buffer *buffers,
                                  kvf_layout **out, kvf_error *error);
KVF_API kvf_status kvf_layout_page_first(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);
KVF_API kvf_status kvf_layout_token_first(const kvf_shape *shape, kvf_buffer buffer,
                                          kvf_layout **out, kvf_error *error);
typedef enum kvf_layout_use {
    KVF_USE_WHOLE_BLOCKS,
    KVF_USE_BY_LAYER,
} kvf_layout_use;
KVF_API size_t kvf_layout_recommend_bytes(const kvf_layout *layout, size_t blocks);
KVF_API kvf_status kvf_layout_recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks,
                                        kvf_buffer buffer, const kvf_allocator *allocator,
                                        kvf_layout **out, kvf_error *error);
KVF_API void kvf_layout_destroy(kvf_layout *layout);
KVF_API size_t kvf_layout_blocks(const kvf_layout *layout);
KVF_API const kvf_region *kvf_layout_regions(const kvf_layout *layout, size_t *count);
KVF_API size_t kvf_layout_groups(const kvf_layout *layout);
KVF_API size_t kvf_layout_block_bytes(const kvf_layout *layout);
KVF_API uint64_t kvf_layout_digest(const kvf_layout *layout);
#ifdef __cplusplus
}
#endif
#endif
