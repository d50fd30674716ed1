/* What ranks go through while things fail: three operations at once, two of them with assignments.
 * Whatever happens, everybody gets an answer, and what has landed anywhere is there everywhere;
 * but one operation at most may have landed on some ranks only. */
#ifndef KVF_TEST_FAILURE_SCENARIO_H
#define KVF_TEST_FAILURE_SCENARIO_H

#include "group_fixture.h"

typedef enum scenario_op {
    ORDEAL_ONBOARD,
    ORDEAL_HAND_OVER,
    ORDEAL_OFFLOAD,
    ORDEAL_OPS
} scenario_op;

typedef struct scenario_end {
    kvf_error joined;          /* OK, or why there is no group or wire */
    kvf_error ops[ORDEAL_OPS]; /* how they ended, or why they were not submitted */
} scenario_end;

/* How the newest ordeal ended for each rank. */
extern scenario_end scenario_ends[RIG_RANKS];

typedef struct scenario_options {
    bool joins;                     /* as part of it: the fixture was opened alone */
    const kvf_allocator *allocator; /* with `joins`, of one rank's group: */
    int allocating;
    void (*before)(fixture_rank *rank);    /* joining, on every rank, and all wait for all; NULL */
    void (*submitted)(fixture_rank *rank); /* after the submits; NULL */
    bool ends;                             /* destroys wire and group as part of it */
    bool dies;                             /* a device may: then content is not looked at */
} scenario_options;

/* Runs it on all ranks, and checks the above. */
void scenario_run(group_fixture *fixture, const scenario_options *how);

/* Whether all of it went well on all ranks. */
bool scenario_went_well(const group_fixture *fixture);

#endif
