/* A device and a host tier, and the blocks that a benchmark moves from one to the other. */
#ifndef KVF_BENCH_TIER_PAIR_H
#define KVF_BENCH_TIER_PAIR_H

#include "tiers/id_pattern.h"
#include "tiers/store.h"

typedef struct tier_pair_spec {
    direction direction;
    size_t blocks, regions, fragment_bytes;
    const arrangement *host_layout;
    id_pattern pattern, host_pattern; /* of the device's and the host's ids */
} tier_pair_spec;

typedef struct tier_pair {
    backend *backend;
    size_t count;   /* blocks */
    uint64_t bytes; /* of all blocks */
    store src, dst;
    uint64_t *src_ids, *dst_ids, *seeds; /* [count] */
} tier_pair;

/* Creates both tiers and fills the source's blocks. Ends the program on failure. */
void tier_pair_open(tier_pair *pair, backend *backend, const tier_pair_spec *spec);
void tier_pair_close(tier_pair *pair);

/* Poison the destination's first `count` blocks; count those that differ from the source's. */
void tier_pair_poison(tier_pair *pair, size_t count);
size_t tier_pair_check(tier_pair *pair, size_t count);

/* Submit the first `count` blocks; wait and release. End the program on failure. */
kvf_transfer *tier_pair_submit(tier_pair *pair, size_t count, const kvf_submit_options *options);
void tier_pair_finish(kvf_transfer *transfer);

#endif
