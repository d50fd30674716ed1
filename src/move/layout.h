/* A layout as the rest of src sees it. */
#ifndef KVF_LAYOUT_H
#define KVF_LAYOUT_H

#include <kvferry/layout.h>

#include <stdatomic.h>

/* A region and the ordinal of its layer. */
typedef struct kvf__region_ref {
    size_t region;
    uint32_t layer;
} kvf__region_ref;

/* Only `holds` ever changes. Regions are as the caller gave them, except that rows are 1 or more,
 * the row pitch of one row is its bytes, and nothing has to be checked again: no address of any
 * block wraps, no two bytes are one. */
struct kvf_layout {
    kvf_allocator allocator;
    atomic_size_t holds;
    size_t blocks;
    size_t layers;
    size_t block_bytes;
    uint64_t digest;
    size_t count;
    const kvf__region_ref *by_address; /* [count], all regions by their first address */
    kvf_region regions[];              /* the places lie behind them */
};

static inline bool kvf__is_tile(const kvf_region *r) {
    return r->order != KVF_ORDER_OPAQUE;
}

/* Of one block. Does not wrap in a layout: they are different addresses. */
static inline size_t kvf__region_bytes(const kvf_region *r) {
    return r->rows * r->bytes;
}

/* One more hold, to be dropped with kvf_layout_destroy. Any thread that has a hold. */
kvf_layout *kvf__layout_hold(const kvf_layout *layout);

#endif
