/* Continuous transfers in the opposite direction, to measure a transfer against. */
#ifndef KVF_BENCH_OPPOSING_H
#define KVF_BENCH_OPPOSING_H

#include "tiers/tier_pair.h"

typedef struct opposing opposing;

/* Starts a thread, which waits for opposing_begin. `pair` must outlive it. */
opposing *opposing_open(tier_pair *pair);
void opposing_close(opposing *opposing);

/* Starts transfers; on return the first one is submitted. `options` is read until opposing_end. */
void opposing_begin(opposing *opposing, const kvf_submit_options *options);

/* Waits for the submitted transfers, and returns their 10^9 bytes/s over [from, to), times of
 * clock_ns. A transfer only partly inside counts in proportion. */
double opposing_end(opposing *opposing, uint64_t from, uint64_t to);

#endif
