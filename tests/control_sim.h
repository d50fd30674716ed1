/*
 * A network of control state machines on a simulated clock, and what must hold of it.
 *
 * Links keep the order between two ranks and delay at random. Operations have tags in common or of
 * their own, take all ranks or some, and may be spoiled. At most one thing happens that breaks the
 * group. In the end every rank leaves.
 */
#ifndef KVF_TEST_CONTROL_SIM_H
#define KVF_TEST_CONTROL_SIM_H

#include "support.h"

#include "control.h"

enum {
    SIM_RANKS = 8,
    SIM_OPS = 12,
    SIM_TRANSFERS = 12,
};

#define SIM_TIMEOUT UINT64_C(1000000)
#define SIM_BEAT    (SIM_TIMEOUT / 10)
#define SIM_DELAY   (SIM_TIMEOUT / 10)

/* What is wrong with an operation; `spoiler` is the rank to blame. */
typedef enum sim_spoil {
    SIM_WELL,
    SIM_KIND,     /* the spoiler announces another kind */
    SIM_DIGEST,   /* ... another digest */
    SIM_HANDS,    /* ... a hand of another digest, or one more */
    SIM_ABSENT,   /* never comes */
    SIM_LATE,     /* comes when the others have been refused */
    SIM_BAD_VOTE, /* votes that it failed */
    SIM_SPOILS,
} sim_spoil;

/* What breaks the group; `culprit` is the rank to blame. */
typedef enum sim_break {
    SIM_PEACE,
    SIM_DEATH,    /* says nothing any more */
    SIM_LOSS,     /* ... and the channels of the others notice */
    SIM_CUT,      /* lives on, cut off from all */
    SIM_DOUBT,    /* says so */
    SIM_GARBAGE,  /* sends nonsense to rank 0, or rank 0 to all */
    SIM_NO_VOTE,  /* votes no more */
    SIM_OPTIONS,  /* has other options from the beginning */
    SIM_NO_SHOW,  /* never comes at all */
    SIM_DESERTER, /* leaves early, which breaks nothing */
    SIM_BREAKS,
} sim_break;

typedef struct sim_op {
    uint64_t tag, digest;
    uint32_t kind;
    bool all;
    unsigned members; /* set of ranks */
    size_t transfer_count;
    struct {
        int from, to;
    } transfers[SIM_TRANSFERS]; /* what goes from whom to whom, when not `all` */
    sim_spoil spoil;
    int spoiler;
} sim_op;

typedef struct sim_options {
    int ranks;
    uint64_t seed;
    size_t ops;
    bool spoils; /* some operations are spoiled */
    sim_break breaks;
    int culprit;
    const kvf_allocator *allocator; /* of all controls; NULL: malloc */
    bool may_lack_memory;           /* rank 0 may break for that instead */
} sim_options;

/* What was seen, for tests to see that they test something. */
typedef struct sim_counts {
    uint64_t ended_well, ended_badly, refused, broken, quiet, messages;
} sim_counts;

/* Runs it to its end, asserting all along. */
void sim_run(const sim_options *options, sim_counts *counts);

#endif
