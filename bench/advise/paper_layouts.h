/* Common layouts of a model's blocks, at made-up addresses, and moves between them. The library
 * lowers the moves; nothing is computed here. */
#ifndef KVF_BENCH_PAPER_LAYOUTS_H
#define KVF_BENCH_PAPER_LAYOUTS_H

#include "tiers/id_pattern.h"

#include <kvferry/kvferry.h>

/* What a block holds. A part is K, V or MLA's vectors. */
typedef struct kv_blocks {
    size_t layers, parts;
    size_t part_bytes; /* of one part of one layer of a block */
    size_t tokens, heads;
} kv_blocks;

/* The most bytes of one layout, so that addresses suffice. */
#define PAPER_LAYOUTS_MOST_BYTES (UINT64_C(1) << 44)

/* A pair of layouts. */
typedef struct layout_pair {
    const char *device, *host; /* static text */
    unsigned device_number, host_number;
} layout_pair;

/* Pair `number`, from 0 on. Its names are NULL after the last one. */
layout_pair paper_layouts_pair(const kv_blocks *kv, size_t number);

/* A move of `count` blocks between a pair of layouts. */
typedef struct paper_move {
    const layout_pair *pair;
    const id_pattern *device_ids, *host_ids;
    size_t count;
    bool to_device;
    bool first_layer; /* only the first layer */
} paper_move;

/* Lowers a move within `limits` (NULL: no limits). `regions` (may be NULL) gets the device layout's
 * number of regions. Ends the program on failure. */
kvf_move *paper_layouts_lower(const kv_blocks *kv, const paper_move *wanted,
                              const kvf_box_limits *limits, size_t *regions);

#endif
