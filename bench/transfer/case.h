/* A cell of `kvferry bench transfer`: one transfer by each of several strategies, measured in turn
 * and beside the link's own copy. */
#ifndef KVF_BENCH_TRANSFER_CASE_H
#define KVF_BENCH_TRANSFER_CASE_H

#include "output/measure.h"
#include "tiers/tier_pair.h"

typedef struct transfer_case {
    tier_pair_spec pair;
    const unsigned *strategies; /* [strategy_count], by the engine's numbers */
    size_t strategy_count;
    size_t samples;
    bool verify;
    bool both_ways; /* with transfers of the same kind the other way, all the time */
    bool latency;   /* measure the first layer and a single block as well */
    bool compute;   /* measure beside a computation as well */
    bool poll;      /* wait for a transfer without ever resting */
} transfer_case;

/* What the samples of one strategy say; single numbers are medians. What was not measured is NaN.
 */
typedef struct transfer_result {
    uint64_t bytes, boxes;
    moved_by moved_by;
    summary ns; /* submit to completion */
    double submit_ns, cpu_ns;
    double link_ns; /* the best way's */
    double opposing_gbps;
    double first_layer_ns;   /* of a transfer by layer, from its submit */
    double first_block_ns;   /* of a transfer of one block */
    double overlapped_ns;    /* beside the computation */
    double compute_alone_ns; /* the computation without transfers, and beside them */
    double compute_overlapped_ns;
    size_t corrupt_blocks; /* in all samples */
} transfer_result;

/* Fills in results[strategy_count]. Ends the program when a transfer fails. */
void transfer_case_run(backend *backend, const transfer_case *chosen, transfer_result *results);

#endif
