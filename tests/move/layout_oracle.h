/* The oracle for layouts within a small arena: paints every byte. */
#ifndef KVF_TEST_LAYOUT_ORACLE_H
#define KVF_TEST_LAYOUT_ORACLE_H

#include <kvferry/layout.h>

#include <string.h>

enum { ORACLE_ARENA = 1 << 16 };

static inline size_t oracle_rows(const kvf_region *r) {
    return r->rows ? r->rows : 1;
}

static inline char *oracle_address(const kvf_region *r, size_t block, size_t row) {
    return (char *)r->base + block * r->block_stride + row * r->row_pitch;
}

static inline size_t oracle_bytes(const kvf_region *r) {
    return oracle_rows(r) * r->bytes;
}

/* The offset in a tile of the `at`-th byte in the order token, head, byte. */
static inline size_t oracle_offset_in_tile(const kvf_region *r, size_t at) {
    const size_t piece = oracle_bytes(r) / (r->tokens * r->heads);
    const size_t token = at / piece / r->heads, head = at / piece % r->heads;
    const size_t index =
        r->order == KVF_ORDER_NHD ? token * r->heads + head : head * r->tokens + token;
    return index * piece + at % piece;
}

/* The `at`-th byte of a block's region: row by row, or in a tile by token, head and byte, whatever
 * its order. */
static inline char *oracle_byte(const kvf_region *r, size_t block, size_t at) {
    const size_t offset = r->order == KVF_ORDER_OPAQUE ? at : oracle_offset_in_tile(r, at);
    return oracle_address(r, block, offset / r->bytes) + offset % r->bytes;
}

/* Whether two rows of any blocks and regions share a byte. Sets *painted, if not NULL, to the
 * number of distinct bytes. */
static inline bool oracle_overlaps(const kvf_region *regions, size_t count, size_t blocks,
                                   const char *arena, size_t *painted) {
    static unsigned char map[ORACLE_ARENA];
    size_t total = 0, again = 0;
    memset(map, 0, sizeof map);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < blocks; b++)
            for (size_t r = 0; r < oracle_rows(&regions[i]); r++)
                for (size_t k = 0; k < regions[i].bytes; k++) {
                    unsigned char *byte = &map[oracle_address(&regions[i], b, r) + k - arena];
                    again += *byte;
                    total += !*byte;
                    *byte = 1;
                }
    if (painted)
        *painted = total;
    return again != 0;
}

static inline bool oracle_solid(const kvf_region *r) {
    return oracle_rows(r) == 1 || r->row_pitch == r->bytes;
}

/* Whether the library promises an exact answer for two interleaved regions. */
static inline bool oracle_alike(const kvf_region *a, const kvf_region *b, size_t blocks) {
    if (blocks > 1 && a->block_stride != b->block_stride)
        return false;
    return (oracle_solid(a) && oracle_solid(b)) ||
           (oracle_rows(a) == oracle_rows(b) && a->row_pitch == b->row_pitch);
}

static inline char *oracle_end(const kvf_region *r, size_t blocks) {
    return oracle_address(r, blocks - 1, oracle_rows(r) - 1) + r->bytes;
}

static inline bool oracle_extents_meet(const kvf_region *a, const kvf_region *b, size_t blocks) {
    return (char *)a->base < oracle_end(b, blocks) && (char *)b->base < oracle_end(a, blocks);
}

/* Whether the library should accept these valid regions. */
static inline bool oracle_accepts(const kvf_region *regions, size_t count, size_t blocks,
                                  const char *arena) {
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (!oracle_alike(&regions[i], &regions[k], blocks) &&
                oracle_extents_meet(&regions[i], &regions[k], blocks))
                return false;
    return !oracle_overlaps(regions, count, blocks, arena, NULL);
}

#endif
