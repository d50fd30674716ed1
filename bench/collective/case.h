/* One rank's measurement of one case of `kvferry bench collective`. */
#ifndef KVF_BENCH_COLLECTIVE_CASE_H
#define KVF_BENCH_COLLECTIVE_CASE_H

#include "output/measure.h"
#include "tiers/tier_pair.h"

#include <kvferry/nccl.h>

typedef struct collective_case {
    tier_pair_spec tier_pair; /* host to device */
    kvf_share mode;
    size_t samples;
    size_t chunk_bytes, chunks; /* of the wire; 0: its defaults */
    bool verify;
} collective_case;

/* On one rank; wait_us and run_us are medians. */
typedef struct collective_result {
    uint64_t bytes; /* that arrive on this rank */
    kvf_wire_memory memory;
    summary ns;     /* from this rank's submit, after all ranks have synchronized, until all have
                       voted that the blocks are in place */
    double wait_us; /* its first part, until all ranks were known to have submitted */
    double run_us;  /* the rest */
    uint64_t host_bytes, wire_bytes, chunks; /* of one sample */
    uint64_t host_share;                     /* what host_bytes must be in this mode */
    uint64_t wrong_samples;                  /* samples with other host_bytes */
    uint64_t corrupt_blocks;                 /* in all samples */
} collective_result;

/* Called on every rank. Ends the program on failure; wrong bytes are counted instead. */
void collective_case_run(backend *backend, kvf_group *group, const collective_case *chosen,
                         collective_result *result);

#endif
