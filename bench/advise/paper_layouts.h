/* The usual layouts of a model's blocks, over addresses at which nothing is, and moves between
 * them: what the library makes of them is what counts, and none of it is computed here. */
#ifndef KVF_BENCH_PAPER_LAYOUTS_H
#define KVF_BENCH_PAPER_LAYOUTS_H

#include "tiers/id_pattern.h"

#include <kvferry/kvferry.h>

/* What a block holds. A part is K or V, or MLA's vectors. */
typedef struct kv_blocks {
    size_t layers, parts;
    size_t part_bytes; /* of one part of one layer of a block */
    size_t tokens, heads;
} kv_blocks;

/* Bytes of all that is laid out, at most: addresses have to do for it. */
#define PAPER_LAYOUTS_MOST_BYTES (UINT64_C(1) << 44)

/* A pair of layouts, by number: pair 0 is the first, NULL names behind the last. */
typedef struct layout_pair {
    const char *device, *host; /* static text; NULL: there are no more */
    unsigned device_number, host_number;
} layout_pair;

layout_pair paper_layouts_pair(const kv_blocks *kv, size_t number);

/* What to move between a pair: `count` blocks. */
typedef struct paper_move {
    const layout_pair *pair;
    const id_pattern *device_ids, *host_ids;
    size_t count;
    bool to_device;
    bool first_layer; /* alone */
} paper_move;

/* The move, lowered within `limits` (NULL: everything goes); ends the program when the library
 * refuses. `regions` (may be NULL) gets how many the device layout has. */
kvf_move *paper_layouts_lower(const kv_blocks *kv, const paper_move *wanted,
                              const kvf_box_limits *limits, size_t *regions);

#endif
