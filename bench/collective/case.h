/* A cell of `kvferry bench collective` as one rank of it measures it. */
#ifndef KVF_BENCH_COLLECTIVE_CASE_H
#define KVF_BENCH_COLLECTIVE_CASE_H

#include "output/measure.h"
#include "tiers/tier_pair.h"

#include <kvferry/nccl.h>

typedef struct collective_case {
    tier_pair_spec tier_pair; /* from the host to the device */
    kvf_share mode;
    size_t samples;
    size_t chunk_bytes, chunks; /* of the wire; 0: its usual ones */
    bool verify;
} collective_case;

/* On one rank. wait_us and run_us are medians. */
typedef struct collective_result {
    uint64_t bytes; /* that this rank has in the end */
    kvf_wire_memory memory;
    summary ns;     /* from this rank's submit, which all ranks have been waited for to do, until
                       all have voted that the blocks are there */
    double wait_us; /* of that, until all ranks were known to have come */
    double run_us;  /* ... and from then on */
    uint64_t host_bytes, wire_bytes, chunks; /* of one sample */
    uint64_t host_share;                     /* what host_bytes has to be by the mode */
    uint64_t unlike;                         /* samples with other host_bytes */
    uint64_t corrupt_blocks;                 /* in all samples */
} collective_result;

/* Every rank calls it. Ends the program when something fails, a wrong byte apart. */
void collective_case_run(backend *backend, kvf_group *group, const collective_case *chosen,
                         collective_result *result);

#endif
