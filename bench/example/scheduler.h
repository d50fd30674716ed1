/*
 * Who runs, who waits, who has to leave.
 *
 * Sequences come in the order of their names and wait. Whoever waits longest is resumed as soon as
 * there are blocks for all its tokens. On the device the one that ran longest ago has the next
 * step; after a turn of some steps it leaves, if others wait. A step that needs a block where none
 * is left makes the sequence that came last leave, in the middle of its onboarding if need be, so
 * that the one that came first always gets on.
 */
#ifndef KVF_EXAMPLE_SCHEDULER_H
#define KVF_EXAMPLE_SCHEDULER_H

#include "sequence.h"

typedef struct scheduler scheduler;

scheduler *scheduler_open(machine *machine, const options *options);

/* Does what can be done without waiting. false: nothing could. */
bool scheduler_round(scheduler *scheduler);

const counts *scheduler_counts(const scheduler *scheduler);

/* Ends whatever is under way. */
void scheduler_close(scheduler *scheduler);

#endif
