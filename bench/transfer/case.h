/* One combination of `kvferry bench transfer`: the same transfer by several strategies, measured in
 * turn with each other and with the link's own copies. */
#ifndef KVF_BENCH_TRANSFER_CASE_H
#define KVF_BENCH_TRANSFER_CASE_H

#include "output/measure.h"
#include "tiers/tier_pair.h"

typedef struct transfer_case {
    tier_pair_spec pair;
    const unsigned *strategies; /* [strategy_count], the engine's numbers */
    size_t strategy_count;
    size_t samples;
    bool verify;
    bool both_ways; /* during transfers of the same kind in the opposite direction */
    bool latency;   /* also measure the first layer and a single block */
    bool compute;   /* also measure during a computation */
    bool poll;      /* poll transfers without sleeping */
} transfer_case;

/* The results of one strategy. Single numbers are medians; NaN: not measured. */
typedef struct transfer_result {
    uint64_t bytes, boxes;
    moved_by moved_by;
    summary ns; /* submit to completion */
    double submit_ns, cpu_ns;
    double link_ns; /* of the fastest way */
    double opposing_gbps;
    double first_layer_ns;        /* of a transfer by layer, from its submit */
    double first_block_ns;        /* of a transfer of one block */
    double overlapped_ns;         /* of transfers during the computation */
    double compute_alone_ns;      /* of the computation without transfers */
    double compute_overlapped_ns; /* of the computation during transfers */
    size_t corrupt_blocks;        /* in all samples */
} transfer_result;

/* Fills in results[strategy_count]. Ends the program when a transfer fails. */
void transfer_case_run(backend *backend, const transfer_case *chosen, transfer_result *results);

#endif
