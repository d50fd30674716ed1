/** @file
 * Layouts: where the bytes of a block are.
 *
 * A layout is a list of regions over one range of block ids. It says where bytes lie.
 *
 * @par Threads
 * Layouts never change: any thread, at any time, but for destroying one that another call still
 * uses.
 *
 * @par Ownership
 * Whoever is given a layout destroys it. Shapes, regions and lists given to it are copied; the
 * bytes that it tells of are the caller's.
 *
 * @par Lifetimes
 * Tiers keep what they need of a layout alive, and moves copy it: it may be destroyed as soon as
 * its maker is done with it. A layout touches no byte: memory only has to be there when something
 * is moved.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others that read need
 * a layout.
 */
#ifndef KVFERRY_LAYOUT_H
#define KVFERRY_LAYOUT_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A layout. */
typedef struct kvf_layout kvf_layout;

/** Blocks a layout can have at most: 2^31 - 1. */
#define KVF_MAX_BLOCKS UINT64_C(2147483647)

/**
 * What the bytes of a region are inside: nothing that a move knows of, or a tile. A tile holds
 * `tokens` x `heads` pieces of one size, that of a head: the bytes of all rows / tokens / heads.
 * Token n of head h is piece n * heads + h (NHD) or h * tokens + n (HND):
 *
 *     NHD    | n0: h0 h1 h2 | n1: h0 h1 h2 | n2: h0 h1 h2 | n3: h0 h1 h2 |
 *     HND    | h0: n0 n1 n2 n3 | h1: n0 n1 n2 n3 | h2: n0 n1 n2 n3 |
 *
 * A tile is one row, or a row for each of the outer ones (a token in NHD, a head in HND), which
 * then may lie apart:
 *
 *     NHD, rows = tokens    | n0: h0 h1 h2 |   | n1: h0 h1 h2 |   | n2: ...
 *     HND, rows = heads     | h0: n0 n1 n2 n3 |   | h1: n0 n1 n2 n3 |   | h2: ...
 *                             <-----------------> row_pitch
 *
 * A move between tiles brings each piece to its place, whatever order and rows either side has.
 */
typedef enum kvf_tile_order {
    KVF_ORDER_OPAQUE, /**< No tile: bytes are moved in the order in which they lie. */
    KVF_ORDER_NHD,    /**< Tokens outermost. */
    KVF_ORDER_HND,    /**< Heads outermost. */
} kvf_tile_order;

/**
 * One piece of every block: block b has row r at base + b * block_stride + r * row_pitch, `bytes`
 * long.
 *
 *     base            + row_pitch                    + block_stride
 *      | row 0 of 0 | ...  | row 1 of 0 | ...         | row 0 of 1 | ...
 */
typedef struct kvf_region {
    void *base;           /**< Where row 0 of block 0 begins. */
    size_t block_stride;  /**< Bytes from one block to the next. */
    size_t bytes;         /**< Bytes of one row. */
    size_t rows;          /**< Rows a block; 0 means 1. */
    size_t row_pitch;     /**< Bytes from one row to the next; not read for one row. */
    uint32_t layer;       /**< What can be waited for alone: the layer. Any numbers that ascend in
                               the list; functions that take layers count them from 0. */
    uint32_t part;        /**< Tells K (0) from V (1), scales, ... */
    uint32_t buffer;      /**< The allocation it lies in: copies never span two of them. */
    uint64_t kind;        /**< Tags the type, and what the bytes of an opaque region are inside; the
                               caller's own numbers, compared only. Must not tell the order of a
                               tile, or tiles of two orders would not pair up. */
    size_t tokens;        /**< Of a tile; 0 for an opaque region. */
    size_t heads;         /**< Of a tile; 0 for an opaque region. */
    kvf_tile_order order; /**< 0: opaque. */
} kvf_region;

/** A piece of memory a constructor places blocks in. */
typedef struct kvf_buffer {
    void *base;   /**< Where it begins. */
    size_t bytes; /**< How long it is. */
} kvf_buffer;

/**
 * What every block holds: `layers` layers of `parts` parts (2: K and V; 1: MLA). Zero-initialise,
 * then set what differs.
 */
typedef struct kvf_shape {
    size_t blocks;                  /**< Block ids 0 .. blocks - 1. */
    size_t layers;                  /**< 1 or more. */
    size_t parts;                   /**< 1 or more; 0 means 1. */
    size_t bytes;                   /**< Bytes of one part of one layer of one block. */
    const size_t *bytes_per_layer;  /**< [layers], instead of `bytes` where layers differ; NULL. */
    size_t rows;                    /**< Rows each part is seen as; divides the bytes. 0 means 1. */
    uint64_t kind;                  /**< See kvf_region. */
    size_t tokens;                  /**< See kvf_region: of each part, where it is a tile. */
    size_t heads;                   /**< As `tokens`. */
    kvf_tile_order order;           /**< Shapes that differ in order, and in rows, pair up. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_shape;

/**
 * A layout of the caller's own regions, at least one, in the order in which they pair with another
 * layout's. `blocks` is the number of block ids.
 *
 * Errors, `index` naming the region (and `other_index` the other one where two collide): INVALID
 * for NULL, no regions, no blocks, 0 bytes, a row pitch below the bytes, layers that descend, an
 * order that does not exist, an opaque region with tokens or heads, a tile without, tokens and
 * heads that do not divide the bytes of all rows, rows of a tile that are neither 1 nor its outer
 * count; RANGE for more than KVF_MAX_BLOCKS blocks, addresses that overflow or a region longer than
 * PTRDIFF_MAX bytes; LAYOUT where blocks, rows
 * or regions overlap; NO_MEMORY. Regions may interleave when their strides and rows agree (rows
 * that touch count as one, and with one block the stride does not matter); others may not lie in
 * each other's extent.
 */
KVF_API kvf_status kvf_layout_create(const kvf_region *regions, size_t count, size_t blocks,
                                     const kvf_allocator *allocator, kvf_layout **out,
                                     kvf_error *error);

/*
 * The named constructors. All emit regions in the same order, layer then part, so that any two of
 * one shape pair up. Errors: those of kvf_layout_create; INVALID for a NULL buffer (`index`), rows
 * that do not divide the bytes (`index` a region), an order or use that does not exist; RANGE for a
 * buffer that is too small (`index` names it, `expected` the bytes it needs, SIZE_MAX where these
 * overflow).
 */

/** One buffer, whole blocks one behind the other.
 *
 *     | b0: l0 K V | l1 K V | ... | b1: l0 K V | l1 K V | ... |
 */
KVF_API kvf_status kvf_layout_contiguous(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);

/** Which index runs slower in a layer's buffer. */
typedef enum kvf_layer_order {
    KVF_BLOCK_FIRST,  /**< [block][part]: | b0 K | b0 V | b1 K | b1 V | ... | */
    KVF_BLOCK_SECOND, /**< [part][block]: | b0 K | b1 K | ... | b0 V | b1 V | ... | */
} kvf_layer_order;

/** A buffer a layer, `buffers[layers]`, holding all its parts. */
KVF_API kvf_status kvf_layout_per_layer(const kvf_shape *shape, const kvf_buffer *buffers,
                                        kvf_layer_order order, kvf_layout **out, kvf_error *error);

/** A buffer for every part of every layer, `buffers[layers * parts]`: l0 K, l0 V, l1 K, ...
 *
 *     | b0 | b1 | b2 | ... |   each
 */
KVF_API kvf_status kvf_layout_per_part(const kvf_shape *shape, const kvf_buffer *buffers,
                                       kvf_layout **out, kvf_error *error);

/** MLA: one latent part, a buffer a layer. `shape->parts` must be 0 or 1.
 *
 *     | b0 | b1 | b2 | ... |   each
 */
KVF_API kvf_status kvf_layout_mla(const kvf_shape *shape, const kvf_buffer *buffers,
                                  kvf_layout **out, kvf_error *error);

/** One buffer, a page of all layers for each part.
 *
 *     | K: b0 l0 l1 ... | b1 l0 l1 ... | ... | V: b0 l0 l1 ... | b1 l0 l1 ... | ... |
 */
KVF_API kvf_status kvf_layout_page_first(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);

/** As page first, but a page's rows (tokens) run slower than its layers.
 *
 *     | K: b0 row0 l0 l1 ... | b0 row1 l0 l1 ... | ... | V: ... |
 */
KVF_API kvf_status kvf_layout_token_first(const kvf_shape *shape, kvf_buffer buffer,
                                          kvf_layout **out, kvf_error *error);

/** What a host tier is mostly read for. */
typedef enum kvf_layout_use {
    KVF_USE_WHOLE_BLOCKS, /**< All layers at once: whole blocks one behind the other. */
    KVF_USE_BY_LAYER,     /**< Layer by layer: all blocks of a layer, then the next layer. */
} kvf_layout_use;

/** Bytes kvf_layout_recommend needs for `blocks` blocks; SIZE_MAX when that overflows. */
KVF_API size_t kvf_layout_recommend_bytes(const kvf_layout *layout, size_t blocks);

/** A packed layout of `blocks` blocks in `buffer` that pairs with `layout` and suits `use`: large
 *  copies on this side. Tiles keep their order. Errors: as the constructors. */
KVF_API kvf_status kvf_layout_recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks,
                                        kvf_buffer buffer, const kvf_allocator *allocator,
                                        kvf_layout **out, kvf_error *error);

/** Drops the caller's hold on the layout. NULL is fine. */
KVF_API void kvf_layout_destroy(kvf_layout *layout);

/** Number of block ids. */
KVF_API size_t kvf_layout_blocks(const kvf_layout *layout);

/** The regions, `*count` of them (`count` may be NULL); valid as long as the layout. */
KVF_API const kvf_region *kvf_layout_regions(const kvf_layout *layout, size_t *count);

/** Number of different layers: of layers. */
KVF_API size_t kvf_layout_layers(const kvf_layout *layout);

/** Bytes of one block over all regions. */
KVF_API size_t kvf_layout_block_bytes(const kvf_layout *layout);

/**
 * XXH3-64 over what two layouts must agree in to exchange blocks: the number of regions and each
 * one's bytes, rows, layer, part and kind, as little-endian u64; of a tile the bytes of all rows,
 * 0, layer, part, kind, tokens and heads. Addresses, strides, the number of blocks and the order
 * and rows of tiles are not in it.
 */
KVF_API uint64_t kvf_layout_digest(const kvf_layout *layout);

#ifdef __cplusplus
}
#endif
#endif
