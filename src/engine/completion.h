/* One completion counts several transfers. */
#ifndef KVF_COMPLETION_H
#define KVF_COMPLETION_H

#include <kvferry/transfer.h>

#include "engine/engine.h"

/* Counts a transfer in. Errors: INVALID when armed, NO_MEMORY. */
kvf_status kvf__completion_add(kvf_completion *completion, kvf_transfer *transfer,
                               kvf_error *error);

/* Takes the transfer that was added last out again: it was never submitted. */
void kvf__completion_remove(kvf_completion *completion, kvf_transfer *transfer);

/* A transfer is over; with its engine's `lock` held. */
void kvf__completion_note(kvf_completion *completion, kvf_engine *engine, const kvf_error *error);

void kvf__completion_hold(kvf_completion *completion);

#endif
