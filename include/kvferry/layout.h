/** @file
 * Layouts: where the bytes of a block are.
 *
 * A layout is a list of regions over one range of block ids. It describes memory and holds none.
 *
 * @par Threads
 * Layouts never change: any thread, at any time. Do not destroy a layout that another call still
 * uses.
 *
 * @par Ownership
 * The caller destroys every layout that a function returns. Shapes, regions and lists passed in are
 * copied; the bytes that a layout describes are the caller's.
 *
 * @par Lifetimes
 * Tiers keep their layouts alive and moves copy what they need, so a layout may be destroyed as
 * soon as its owner is done with it. A layout touches no byte: the memory has to exist only when
 * something is moved.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; functions that only read
 * must not be passed NULL.
 */
#ifndef KVFERRY_LAYOUT_H
#define KVFERRY_LAYOUT_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A list of regions. Never changes. */
typedef struct kvf_layout kvf_layout;

/** The most blocks a layout can have: 2^31 - 1. */
#define KVF_MAX_BLOCKS UINT64_C(2147483647)

/**
 * The inner structure of a region: opaque, or a tile. A tile holds `tokens` x `heads` pieces of one
 * size, that of a head: the bytes of all rows / tokens / heads. Token n of head h is piece
 * n * heads + h (NHD) or h * tokens + n (HND):
 *
 *     NHD    | n0: h0 h1 h2 | n1: h0 h1 h2 | n2: h0 h1 h2 | n3: h0 h1 h2 |
 *     HND    | h0: n0 n1 n2 n3 | h1: n0 n1 n2 n3 | h2: n0 n1 n2 n3 |
 *
 * A tile is a single row, or one row for each outer index (token in NHD, head in HND); rows may
 * then lie apart:
 *
 *     NHD, rows = tokens    | n0: h0 h1 h2 |   | n1: h0 h1 h2 |   | n2: ...
 *     HND, rows = heads     | h0: n0 n1 n2 n3 |   | h1: n0 n1 n2 n3 |   | h2: ...
 *                             <-----------------> row_pitch
 *
 * A move between tiles puts each piece in its place, whatever the order and rows of either side.
 */
typedef enum kvf_tile_order {
    KVF_ORDER_OPAQUE, /**< No tile: bytes move in the order in which they lie. */
    KVF_ORDER_NHD,    /**< Tokens outermost. */
    KVF_ORDER_HND,    /**< Heads outermost. */
} kvf_tile_order;

/**
 * The same piece of every block: row r of block b is `bytes` long and starts at
 * base + b * block_stride + r * row_pitch.
 *
 *     base            + row_pitch                    + block_stride
 *      | row 0 of 0 | ...  | row 1 of 0 | ...         | row 0 of 1 | ...
 */
typedef struct kvf_region {
    void *base;           /**< Address of row 0 of block 0. */
    size_t block_stride;  /**< Bytes from one block to the next. */
    size_t bytes;         /**< Bytes of one row. */
    size_t rows;          /**< Rows per block; 0 means 1. */
    size_t row_pitch;     /**< Bytes from one row to the next; not read for a single row. */
    uint32_t layer;       /**< The layer, which can be waited for alone. Any numbers that do not
                               descend in the list. Functions that take a layer do not take these
                               numbers: they count the layout's layers from 0. */
    uint32_t part;        /**< Distinguishes K (0), V (1), scales, ... */
    uint32_t buffer;      /**< The allocation the region lies in: no copy spans two of them. */
    uint64_t kind;        /**< Tags the data type and, in an opaque region, the inner structure. The
                               caller chooses the numbers; they are only compared. Must not encode
                               the order of a tile, or tiles of different orders would not pair up.
                           */
    size_t tokens;        /**< Tokens of a tile; 0 for an opaque region. */
    size_t heads;         /**< Heads of a tile; 0 for an opaque region. */
    kvf_tile_order order; /**< 0: opaque. */
} kvf_region;

/** Memory in which a constructor places blocks. */
typedef struct kvf_buffer {
    void *base;   /**< The first byte. */
    size_t bytes; /**< The size. */
} kvf_buffer;

/**
 * What every block holds: `layers` layers of `parts` parts each (2: K and V; 1: MLA).
 * Zero-initialise, then set what differs.
 */
typedef struct kvf_shape {
    size_t blocks;                  /**< Block ids 0 .. blocks - 1. */
    size_t layers;                  /**< 1 or more. */
    size_t parts;                   /**< Parts per layer; 0 means 1. */
    size_t bytes;                   /**< Bytes of one part of one layer of one block. */
    const size_t *bytes_per_layer;  /**< [layers] Replaces `bytes` if layers differ; else NULL. */
    size_t rows;                    /**< Rows of each part; divides its bytes. 0 means 1. */
    uint64_t kind;                  /**< As in kvf_region. */
    size_t tokens;                  /**< As in kvf_region, if each part is a tile; else 0. */
    size_t heads;                   /**< As `tokens`. */
    kvf_tile_order order;           /**< Shapes that differ in order and in rows still pair up. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_shape;

/**
 * Makes a layout of the caller's own regions, 1 or more, in the order in which they pair with those
 * of another layout. `blocks` is the number of block ids.
 *
 * Regions may interleave if their strides and rows agree (rows that touch count as one, and with a
 * single block the stride does not matter); other regions must not lie within each other's extent.
 *
 * Errors, with `index` naming the region and `other_index` the one it collides with: INVALID for
 * NULL, no regions, no blocks, 0 bytes, a row pitch below the bytes, descending layers, an unknown
 * order, an opaque region with tokens or heads, a tile without, tokens and heads that do not divide
 * the bytes of all rows, and a tile whose rows are neither 1 nor its outer count; RANGE for more
 * than KVF_MAX_BLOCKS blocks, addresses that overflow, and a region longer than PTRDIFF_MAX bytes;
 * LAYOUT if blocks, rows or regions overlap; NO_MEMORY.
 */
KVF_API kvf_status kvf_layout_create(const kvf_region *regions, size_t count, size_t blocks,
                                     const kvf_allocator *allocator, kvf_layout **out,
                                     kvf_error *error);

/*
 * The named constructors. All of them list the regions in the same order, by layer and then by
 * part, so any two layouts of one shape pair up. Errors: those of kvf_layout_create; INVALID for a
 * NULL buffer (`index`), rows that do not divide the bytes (`index` is a region), and an unknown
 * order or use; RANGE for a buffer that is too small (`index` names it, `expected` is the bytes it
 * needs, SIZE_MAX if that overflows).
 */

/** One buffer, whole blocks one after another.
 *
 *     | b0: l0 K V | l1 K V | ... | b1: l0 K V | l1 K V | ... |
 */
KVF_API kvf_status kvf_layout_contiguous(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);

/** Whether block or part is the outer index in the buffer of a layer. */
typedef enum kvf_layer_order {
    KVF_BLOCK_FIRST,  /**< [block][part]: | b0 K | b0 V | b1 K | b1 V | ... | */
    KVF_BLOCK_SECOND, /**< [part][block]: | b0 K | b1 K | ... | b0 V | b1 V | ... | */
} kvf_layer_order;

/** One buffer per layer, `buffers[layers]`, with all its parts. */
KVF_API kvf_status kvf_layout_per_layer(const kvf_shape *shape, const kvf_buffer *buffers,
                                        kvf_layer_order order, kvf_layout **out, kvf_error *error);

/** One buffer per part of each layer, `buffers[layers * parts]`: l0 K, l0 V, l1 K, ...
 *
 *     | b0 | b1 | b2 | ... |   each
 */
KVF_API kvf_status kvf_layout_per_part(const kvf_shape *shape, const kvf_buffer *buffers,
                                       kvf_layout **out, kvf_error *error);

/** MLA: one latent part, one buffer per layer, `buffers[layers]`. `shape->parts` must be 0 or 1.
 *
 *     | b0 | b1 | b2 | ... |   each
 */
KVF_API kvf_status kvf_layout_mla(const kvf_shape *shape, const kvf_buffer *buffers,
                                  kvf_layout **out, kvf_error *error);

/** One buffer; for each part, every block is a page of all layers.
 *
 *     | K: b0 l0 l1 ... | b1 l0 l1 ... | ... | V: b0 l0 l1 ... | b1 l0 l1 ... | ... |
 */
KVF_API kvf_status kvf_layout_page_first(const kvf_shape *shape, kvf_buffer buffer,
                                         kvf_layout **out, kvf_error *error);

/** As page first, but within a page rows (tokens) are the outer index and layers the inner one.
 *
 *     | K: b0 row0 l0 l1 ... | b0 row1 l0 l1 ... | ... | V: ... |
 */
KVF_API kvf_status kvf_layout_token_first(const kvf_shape *shape, kvf_buffer buffer,
                                          kvf_layout **out, kvf_error *error);

/** How a host tier is mostly read. */
typedef enum kvf_layout_use {
    KVF_USE_WHOLE_BLOCKS, /**< All layers at once: whole blocks one after another. */
    KVF_USE_BY_LAYER,     /**< Layer by layer: all blocks of a layer, then the next layer. */
} kvf_layout_use;

/** Bytes that kvf_layout_recommend needs for `blocks` blocks; SIZE_MAX if that overflows. */
KVF_API size_t kvf_layout_recommend_bytes(const kvf_layout *layout, size_t blocks);

/** Makes a packed layout of `blocks` blocks in `buffer` that pairs with `layout` and suits `use`:
 *  copies are large on this side. Tiles keep their order. Errors: those of the named
 *  constructors. */
KVF_API kvf_status kvf_layout_recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks,
                                        kvf_buffer buffer, const kvf_allocator *allocator,
                                        kvf_layout **out, kvf_error *error);

/** Releases the caller's reference. Does nothing for NULL. */
KVF_API void kvf_layout_destroy(kvf_layout *layout);

/** Number of block ids. */
KVF_API size_t kvf_layout_blocks(const kvf_layout *layout);

/** The regions, `*count` of them (`count` may be NULL). Valid as long as the layout. */
KVF_API const kvf_region *kvf_layout_regions(const kvf_layout *layout, size_t *count);

/** Number of layers. */
KVF_API size_t kvf_layout_layers(const kvf_layout *layout);

/** Bytes of one block, over all regions. */
KVF_API size_t kvf_layout_block_bytes(const kvf_layout *layout);

/**
 * XXH3-64 of everything in which two layouts must agree to exchange blocks, as little-endian u64:
 * the number of regions, then each region's bytes, rows, layer, part and kind; for a tile the bytes
 * of all rows, 0, layer, part, kind, tokens and heads. Addresses, strides, the number of blocks,
 * and the order and rows of tiles are left out.
 */
KVF_API uint64_t kvf_layout_digest(const kvf_layout *layout);

#ifdef __cplusplus
}
#endif
#endif
