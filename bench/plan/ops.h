/* The operations that `kvferry bench plan` measures, on a stage of things they work with. */
#ifndef KVF_BENCH_PLAN_OPS_H
#define KVF_BENCH_PLAN_OPS_H

#include "engines/backend.h"
#include "output/measure.h"

/* How the block ids of trackers are given out. */
typedef enum id_order {
    IDS_DENSE,    /* 0, 1, 2, ... */
    IDS_SHUFFLED, /* the same, in random order */
    IDS_SPARSE,   /* anywhere in 64 bits */
} id_order;

typedef struct ops_bench ops_bench;

/* Everything for one number of blocks; ends the program on failure. */
ops_bench *ops_bench_open(size_t blocks, id_order ids, backend *backend);
void ops_bench_close(ops_bench *bench);

typedef struct op {
    const char *name;
    bool uses_ids; /* the order of ids matters to it */
    bool hashes;   /* tokens a second are of interest */
    size_t spent;  /* What it works on is spent by one run. Several are then prepared for a
                      sample, this many blocks together. 0: one lasts for all runs. */
    void (*prepare)(void *bench, size_t instance); /* NULL: nothing to prepare */
    void (*run)(void *bench, size_t instance);
    bool (*check)(ops_bench *bench); /* whether the last run on instance 0 did what it should */
} op;

/* What the samples say, nanoseconds of a run on all of the stage's blocks, and whether one more run
 * did what it should: what it left is compared with what is known, apart from the timing. */
typedef struct ops_result {
    summary ns;
    bool right;
} ops_result;

/* All operations, up to one without a name. */
extern const op ops[];

/* Tokens of a block in hash_sequence. */
#define OPS_BLOCK_TOKENS 16

ops_result ops_measure(const op *op, ops_bench *bench, size_t samples);

#endif
