/*
 * Does the same operations on kvf_assignments and on the oracle, and compares everything that can
 * be observed of both.
 */
#ifndef KVF_TEST_ASSIGNMENTS_RUN_H
#define KVF_TEST_ASSIGNMENTS_RUN_H

#include "assignments_oracle.h"

/* The source of all decisions: a number below `bound`, which is not 0. */
typedef struct oracle_source {
    uint64_t (*below)(void *user, uint64_t bound);
    void *user;
} oracle_source;

typedef struct oracle_run {
    oracle_assignments oracle;
    kvf_assignments *real;
    test_allocator memory;
    oracle_source source;
    size_t reserved;       /* blocks that must fit without allocating */
    const char *operation; /* the last one */
    const char *broken;    /* the first violated rule, or NULL */
} oracle_run;

/* Creates both, with an offset and a hash layout from the source. */
void oracle_run_begin(oracle_run *run, oracle_source source);

/* Does one operation on both. false when a rule is violated, which `broken` names. */
bool oracle_run_step(oracle_run *run);

/* Destroys the object. false when it leaks memory. */
bool oracle_run_end(oracle_run *run);

#endif
