/* The operations that `kvferry bench plan` measures, and the data they work on. */
#ifndef KVF_BENCH_PLAN_OPS_H
#define KVF_BENCH_PLAN_OPS_H

#include "engines/backend.h"
#include "output/measure.h"

/* The order of the block ids in assignments. */
typedef enum id_order {
    IDS_DENSE,    /* 0, 1, 2, ... */
    IDS_SHUFFLED, /* the same, in random order */
    IDS_SPARSE,   /* anywhere in 64 bits */
} id_order;

typedef struct ops_bench ops_bench;

/* The data for `blocks` blocks. Ends the program on failure. */
ops_bench *ops_bench_open(size_t blocks, id_order ids, backend *backend);
void ops_bench_close(ops_bench *bench);

typedef struct op {
    const char *name;
    bool uses_ids; /* the order of ids matters */
    bool hashes;   /* tokens per second are reported */
    size_t spent;  /* Above 0: a run uses up its instance, and a sample has several, of about this
                      many blocks together. 0: one instance serves all runs. */
    void (*prepare)(void *bench, size_t instance); /* NULL: nothing to prepare */
    void (*run)(void *bench, size_t instance);
    bool (*check)(ops_bench *bench); /* whether the last run on instance 0 was right */
} op;

/* Nanoseconds of a run over all blocks, and whether the results were right, which is checked
 * outside the timing. */
typedef struct ops_result {
    summary ns;
    bool right;
} ops_result;

/* All operations; ends with a NULL name. */
extern const op ops[];

/* Tokens per block in hash_sequence. */
#define OPS_BLOCK_TOKENS 16

ops_result ops_measure(const op *op, ops_bench *bench, size_t samples);

#endif
