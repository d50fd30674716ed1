/*
 * What a tracker should do, told by three plain lists, and a driver that does the same operations
 * to such a model and to a real tracker and compares everything that can be seen of both.
 */
#ifndef KVF_TEST_TRACKER_MODEL_H
#define KVF_TEST_TRACKER_MODEL_H

#include "support.h"

enum { MODEL_BLOCKS = 160 };

typedef struct model_block {
    uint64_t id;
    kvf_hash hash;
    uint64_t flight; /* 0: the caller's own */
    bool landed;     /* of staged blocks: to be committed once everything before it is */
} model_block;

typedef struct model_list {
    model_block at[MODEL_BLOCKS];
    size_t count;
} model_list;

typedef struct model_tracker {
    uint64_t offset;
    kvf_hash_layout layout;
    model_list assigned, staged, pending;
    uint64_t last_flight;
} model_tracker;

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
