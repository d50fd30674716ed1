/* Transfers the other way, without end: what a measured transfer has against it. */
#ifndef KVF_BENCH_OPPOSING_H
#define KVF_BENCH_OPPOSING_H

#include "tiers/tier_pair.h"

typedef struct opposing opposing;

/* A thread for it, which waits. The pair of tiers and the options of its submits must outlive it.
 */
opposing *opposing_open(tier_pair *pair);
void opposing_close(opposing *opposing);

/* Begins; on return the first transfer is submitted. The options are read until the end. */
void opposing_begin(opposing *opposing, const kvf_submit_options *options);

/* Lets what was submitted finish and returns 10^9 bytes/s over [from, to), of clock_ns. A transfer
 * only partly inside counts in proportion. */
double opposing_end(opposing *opposing, uint64_t from, uint64_t to);

#endif
