/*
 * Decides which sequence runs, waits or leaves the device.
 *
 * The sequence that has waited longest is resumed as soon as there are blocks for all its tokens.
 * Of the sequences on the device, the one whose last step was longest ago runs next. After a turn
 * of some steps a sequence leaves if others wait. If a step needs another block and none is free,
 * the sequence that was resumed last must leave, even while it is being onboarded. So the one
 * resumed first always proceeds.
 */
#ifndef KVF_EXAMPLE_SCHEDULER_H
#define KVF_EXAMPLE_SCHEDULER_H

#include "sequence.h"

void runtime_open(runtime *rt, machine *machine, const options *options);

/* Does everything that needs no waiting. Returns false if there was nothing to do. */
bool runtime_round(runtime *rt);

/* Ends steps and transfers in flight, frees everything and closes the machine. */
void runtime_close(runtime *rt);

#endif
