/*
 * Who runs, who waits, who has to leave.
 *
 * Whoever waits longest is resumed as soon as there are blocks for all its tokens. On the device
 * the one that ran longest ago has the next step; after a turn of some steps it leaves, if others
 * wait. Where a step needs one more block and none is left, the sequence that came last has to
 * leave, in the middle of its onboarding if need be; the one that came first always gets on.
 */
#ifndef KVF_EXAMPLE_SCHEDULER_H
#define KVF_EXAMPLE_SCHEDULER_H

#include "sequence.h"

void runtime_open(runtime *rt, machine *machine, const options *options);

/* Does what can be done without waiting. false: nothing could. */
bool runtime_round(runtime *rt);

/* Ends whatever is under way; the machine is closed too. */
void runtime_close(runtime *rt);

#endif
