/* Two tiers and the blocks that go from one to the other: what a transfer of the bench moves. */
#ifndef KVF_BENCH_ROUTE_H
#define KVF_BENCH_ROUTE_H

#include "tiers/id_pattern.h"
#include "tiers/store.h"

typedef struct route_spec {
    direction direction;
    size_t blocks, regions, fragment_bytes;
    const arrangement *host_layout;
    id_pattern pattern, host_pattern; /* of the device's and the host's ids */
} route_spec;

typedef struct route {
    backend *backend;
    size_t count;   /* blocks */
    uint64_t bytes; /* of them all */
    store src, dst;
    uint64_t *src_ids, *dst_ids, *seeds; /* [count] */
} route;

/* Makes both tiers and fills the source's blocks. Ends the program when they cannot be had. */
void route_open(route *route, backend *backend, const route_spec *spec);
void route_close(route *route);

/* Poisons the destination's first `count` blocks; counts those that are not the source's. */
void route_poison(route *route, size_t count);
size_t route_check(route *route, size_t count);

/* Submits the first `count` blocks; waits and releases. They end the program on failure. */
kvf_transfer *route_submit(route *route, size_t count, const kvf_submit_options *options);
void route_finish(kvf_transfer *transfer);

#endif
