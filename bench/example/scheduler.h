/*
 * Decides which sequences run, wait, or leave the device.
 *
 * The sequence that has waited longest is resumed as soon as the device has blocks for all its
 * tokens. Of the sequences on the device, the one that ran longest ago has the next step; after a
 * turn of some steps it leaves if others wait. If a step needs a block and none is free, the
 * sequence that came to the device last must leave, even while it is being onboarded. So the one
 * that came first always makes progress.
 */
#ifndef KVF_EXAMPLE_SCHEDULER_H
#define KVF_EXAMPLE_SCHEDULER_H

#include "sequence.h"

void runtime_open(runtime *rt, machine *machine, const options *options);

/* Does what can be done without waiting. false: there was nothing to do. */
bool runtime_round(runtime *rt);

/* Ends all steps and transfers, destroys the tiers and closes the machine. */
void runtime_close(runtime *rt);

#endif
