/* Serves prompts over two tiers: what a runtime does with kvferry, without a model.
 *
 * For each request: make tokens, hash them, look up the longest prefix that the tiers hold, onboard
 * what only the host has, compute the rest, offload what the host lacks. Full tiers evict the least
 * recently used blocks. Each request ends before the next one starts, so that results depend only
 * on the requests, not on time.
 */
#ifndef KVF_BENCH_SERVER_H
#define KVF_BENCH_SERVER_H

#include "tiers/store.h"

typedef struct server server;

typedef struct server_options {
    size_t device_blocks, host_blocks; /* capacities, at least 1 */
    size_t regions, region_bytes;      /* of each block, see store_spec */
    size_t block_tokens;
    bool integrity, verify;
} server_options;

typedef struct server_counts {
    uint64_t requests, blocks;
    uint64_t device_hits, host_hits, computed; /* add up to blocks */
    uint64_t onboarded, offloaded;             /* blocks moved */
    uint64_t onboard_bytes, offload_bytes, boxes;
    uint64_t onboard_ns, offload_ns; /* submit to completion, over all transfers */
    uint64_t verified_blocks, corrupt_blocks;
} server_counts;

/* The backend must outlive the server. Ends the program on failure. */
server *server_open(backend *backend, const server_options *options);
void server_close(server *server);

/* Serves a prompt with one block per id. Ends the program if a transfer fails. */
void server_serve(server *server, const uint64_t *ids, size_t count);

const server_counts *server_get_counts(const server *server);

/* The microseconds of each of `count` transfers. The caller may sort them. */
double *server_latencies(server *server, size_t *count);

#endif
