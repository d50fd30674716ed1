/* What ranks do while things fail: three operations at once, two of them with assignments. Whatever
 * fails, every rank gets a result, and the blocks of an operation that is OK on one rank are in
 * place on all ranks. At most one operation may be OK on some ranks only. */
#ifndef KVF_TEST_FAILURE_SCENARIO_H
#define KVF_TEST_FAILURE_SCENARIO_H

#include "group_fixture.h"

typedef enum scenario_op {
    SCENARIO_ONBOARD,
    SCENARIO_HAND_OVER,
    SCENARIO_OFFLOAD,
    SCENARIO_OPS
} scenario_op;

typedef struct scenario_end {
    kvf_error joined;            /* OK, or why the group or wire could not be created */
    kvf_error ops[SCENARIO_OPS]; /* results, or why they were not submitted */
} scenario_end;

/* The results of the last scenario, by rank. */
extern scenario_end scenario_ends[FIXTURE_RANKS];

typedef struct scenario_options {
    bool joins; /* creates group and wire: the fixture was opened with `alone` */
    const kvf_allocator *allocator; /* with `joins`, of one rank's group: */
    int allocating;
    void (*before)(
        fixture_rank *rank); /* joining, on every rank; then all ranks wait for each other; NULL */
    void (*submitted)(fixture_rank *rank); /* after the submits; NULL */
    bool ends;                             /* destroys wire and group */
    bool dies;                             /* a device may die: contents are not checked */
} scenario_options;

/* Runs the scenario on all ranks and checks the above. */
void scenario_run(group_fixture *fixture, const scenario_options *how);

/* Whether all operations were OK on all ranks. */
bool scenario_went_well(const group_fixture *fixture);

#endif
