/* A layout: where the bytes of every block are, as a list of regions that was checked once. */
#ifndef KVF_LAYOUT_H
#define KVF_LAYOUT_H

#include <kvferry/layout.h>

#include <stdatomic.h>

/* The index of a region and of its layer, in the layout's order. */
typedef struct kvf__region_ref {
    size_t region;
    uint32_t layer;
} kvf__region_ref;

/* Only `holds` ever changes. Regions are the caller's, except that rows are at least 1 and the row
 * pitch of a single row is its bytes. They are checked: no address overflows, and no two bytes of
 * regions, blocks or rows overlap. */
struct kvf_layout {
    kvf_allocator allocator;
    atomic_size_t holds;
    size_t blocks;
    size_t layers;
    size_t block_bytes;
    uint64_t digest;
    size_t count;
    const kvf__region_ref *by_address; /* [count], all regions in the order of their addresses */
    kvf_region regions[];              /* [count], followed by the refs */
};

static inline bool kvf__is_tile(const kvf_region *r) {
    return r->order != KVF_ORDER_OPAQUE;
}

/* Bytes of one block. In a layout this cannot overflow: they are different addresses. */
static inline size_t kvf__region_bytes(const kvf_region *r) {
    return r->rows * r->bytes;
}

/* Takes one more reference, which kvf_layout_destroy releases. From any thread with a reference. */
kvf_layout *kvf__layout_hold(const kvf_layout *layout);

#endif
