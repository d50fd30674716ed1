/* Two tiers and the blocks that go from one to the other: what a transfer of the bench moves. */
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
    uint64_t bytes; /* of them all */
    store src, dst;
    uint64_t *src_ids, *dst_ids, *seeds; /* [count] */
} tier_pair;

/* Makes both tiers and fills the source's blocks. Ends the program when they cannot be had. */
void tier_pair_open(tier_pair *pair, backend *backend, const tier_pair_spec *spec);
void tier_pair_close(tier_pair *pair);

/* Poisons the destination's first `count` blocks; counts those that are not the source's. */
void tier_pair_poison(tier_pair *pair, size_t count);
size_t tier_pair_check(tier_pair *pair, size_t count);

/* Submits the first `count` blocks; waits and releases. They end the program on failure. */
kvf_transfer *tier_pair_submit(tier_pair *pair, size_t count, const kvf_submit_options *options);
void tier_pair_finish(kvf_transfer *transfer);

#endif
