/*
 * A driver that does the same operations to a oracle and to a real assignments object and compares
 * everything that can be seen of both.
 */
#ifndef KVF_TEST_ASSIGNMENTS_RUN_H
#define KVF_TEST_ASSIGNMENTS_RUN_H

#include "assignments_oracle.h"

/* Where the driver's decisions come from: a number below `bound`, which is more than 0. */
typedef struct oracle_source {
    uint64_t (*below)(void *user, uint64_t bound);
    void *user;
} oracle_source;

typedef struct oracle_run {
    oracle_assignments oracle;
    kvf_assignments *real;
    test_allocator memory;
    oracle_source source;
    size_t reserved;       /* blocks that the real one must hold without allocating */
    const char *operation; /* the last one */
    const char *broken;    /* the first rule that did not hold, or NULL */
} oracle_run;

/* Makes both, with an offset and a layout from the source. */
void oracle_run_begin(oracle_run *run, oracle_source source);

/* Does one operation to both. false when a rule was broken, which `broken` names. */
bool oracle_run_step(oracle_run *run);

/* Destroys the real one. false when it left memory behind. */
bool oracle_run_end(oracle_run *run);

#endif
