/* The operations that `kvferry bench plan` measures, on a stage of things they work with. */
#ifndef KVF_BENCH_PLAN_OPS_H
#define KVF_BENCH_PLAN_OPS_H

#include "engines/backend.h"
#include "output/measure.h"

/* How the block ids of assignments are given out. */
typedef enum id_order {
    IDS_DENSE,    /* 0, 1, 2, ... */
    IDS_SHUFFLED, /* the same, in random order */
    IDS_SPARSE,   /* anywhere in 64 bits */
} id_order;

typedef struct plan_stage plan_stage;

/* Everything for one number of blocks; ends the program on failure. */
plan_stage *plan_stage_open(size_t blocks, id_order ids, backend *backend);
void plan_stage_close(plan_stage *stage);

typedef struct plan_op {
    const char *name;
    bool uses_ids; /* the order of ids matters to it */
    bool hashes;   /* tokens a second are of interest */
    size_t spent;  /* What it works on is spent by one run. Several are then prepared for a
                      sample, this many blocks together. 0: one lasts for all runs. */
    void (*prepare)(void *stage, size_t instance); /* NULL: nothing to prepare */
    void (*run)(void *stage, size_t instance);
    bool (*check)(plan_stage *stage); /* whether the last run on instance 0 did what it should */
} plan_op;

/* What the samples say, nanoseconds of a run on all of the stage's blocks, and whether one more run
 * did what it should: what it left is compared with what is known, apart from the timing. */
typedef struct plan_result {
    summary ns;
    bool right;
} plan_result;

/* All operations, up to one without a name. */
extern const plan_op plan_ops[];

/* Tokens of a block in hash_sequence. */
#define PLAN_BLOCK_TOKENS 16

plan_result plan_op_measure(const plan_op *op, plan_stage *stage, size_t samples);

#endif
