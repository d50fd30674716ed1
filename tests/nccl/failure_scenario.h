/* What ranks go through while things fail: three operations at once, two of them with trackers.
 * Whatever happens, everybody gets an answer, and what has landed anywhere is there everywhere;
 * but one operation at most may have landed on some ranks only. */
#ifndef KVF_TEST_ORDEAL_H
#define KVF_TEST_ORDEAL_H

#include "group_fixture.h"

typedef enum ordeal_op { ORDEAL_ONBOARD, ORDEAL_HAND_OVER, ORDEAL_OFFLOAD, ORDEAL_OPS } ordeal_op;

typedef struct ordeal_end {
    kvf_error joined;          /* OK, or why there is no group or wire */
    kvf_error ops[ORDEAL_OPS]; /* how they ended, or why they were not submitted */
} ordeal_end;

/* How the newest ordeal ended for each rank. */
extern ordeal_end ordeal_ends[RIG_RANKS];

typedef struct ordeal_options {
    bool joins;                     /* as part of it: the rig was opened alone */
    const kvf_allocator *allocator; /* with `joins`, of one rank's group: */
    int allocating;
    void (*before)(rig_rank *rank);    /* joining, on every rank, and all wait for all; NULL */
    void (*submitted)(rig_rank *rank); /* after the submits; NULL */
    bool ends;                         /* destroys wire and group as part of it */
    bool dies;                         /* a device may: then content is not looked at */
} ordeal_options;

/* Runs it on all ranks, and checks the above. */
void ordeal_run(group_rig *rig, const ordeal_options *how);

/* Whether all of it went well on all ranks. */
bool ordeal_went_well(const group_rig *rig);

#endif
