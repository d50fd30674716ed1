/* A completion counts several transfers and keeps the first error. */
#ifndef KVF_COMPLETION_H
#define KVF_COMPLETION_H

#include <kvferry/transfer.h>

#include "engine/engine.h"

/* Adds a transfer. Errors: INVALID when armed, NO_MEMORY. */
kvf_status kvf__completion_add(kvf_completion *completion, kvf_transfer *transfer,
                               kvf_error *error);

/* Removes a transfer that was added but could not be submitted. */
void kvf__completion_remove(kvf_completion *completion, kvf_transfer *transfer);

/* Counts a transfer that has ended. With the engine's `lock` held. */
void kvf__completion_note(kvf_completion *completion, kvf_engine *engine, const kvf_error *error);

#endif
