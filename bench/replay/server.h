/* A small server of prompts over two tiers: what a runtime does with kvferry, but for the model.
 *
 * For each request: tokens, hashes, the longest prefix that either tier has; onboard what only the
 * host has, compute the rest, offload what the host lacks; full tiers give up what was least
 * recently used. A request is served to its end before the next one, so that what happens follows
 * from the requests alone and never from time.
 */
#ifndef KVF_BENCH_SERVER_H
#define KVF_BENCH_SERVER_H

#include "tiers/store.h"

typedef struct server server;

typedef struct server_options {
    size_t device_blocks, host_blocks; /* capacities, 1 or more */
    size_t regions, region_bytes;      /* of each block, see store_spec */
    size_t block_tokens;
    bool integrity, verify;
} server_options;

typedef struct server_counts {
    uint64_t requests, blocks;
    uint64_t device_hits, host_hits, computed; /* add up to blocks */
    uint64_t onboarded, offloaded;             /* blocks moved */
    uint64_t onboard_bytes, offload_bytes, boxes;
    uint64_t onboard_ns, offload_ns; /* submit to completion, in all */
    uint64_t verified_blocks, corrupt_blocks;
} server_counts;

/* The backend must outlive the server. Ends the program on failure. */
server *server_open(backend *backend, const server_options *options);
void server_close(server *server);

/* Serves a prompt of one block for each id. Ends the program when a transfer fails. */
void server_serve(server *server, const uint64_t *ids, size_t count);

const server_counts *server_get_counts(const server *server);

/* Microseconds that each transfer took, `count` of them. The caller may sort them. */
double *server_latencies(server *server, size_t *count);

#endif
