/*
 * A driver that does the same operations to a model and to a real tracker and compares everything
 * that can be seen of both.
 */
#ifndef KVF_TEST_TRACKER_RUN_H
#define KVF_TEST_TRACKER_RUN_H

#include "assignments_oracle.h"

/* Where the driver's decisions come from: a number below `bound`, which is more than 0. */
typedef struct model_source {
    uint64_t (*below)(void *user, uint64_t bound);
    void *user;
} model_source;

typedef struct model_run {
    model_tracker model;
    kvf_assignments *real;
    test_allocator memory;
    model_source source;
    size_t reserved;       /* blocks that the real one must hold without allocating */
    const char *operation; /* the last one */
    const char *broken;    /* the first rule that did not hold, or NULL */
} model_run;

/* Makes both, with an offset and a layout from the source. */
void model_run_begin(model_run *run, model_source source);

/* Does one operation to both. false when a rule was broken, which `broken` names. */
bool model_run_step(model_run *run);

/* Destroys the real one. false when it left memory behind. */
bool model_run_end(model_run *run);

#endif
