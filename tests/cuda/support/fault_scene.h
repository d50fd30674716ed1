/*
 * What the fault sweeps share: scenarios that use every part of the engine, a fault that strikes in
 * the middle of one, and what must hold whatever came of it.
 *
 *     device first -> pinned middle -> device second -> device third -> other pinned middle
 *
 * The four transfers are submitted one behind the other, with marks, waits of a compute stream and
 * events between them. Then, whatever failed:
 *
 * - every call said something that the fault explains, with its native code, and every transfer
 * that was accepted ended, with one callback;
 * - what ended well and rests on what ended well has its content, and blocks of nobody have theirs;
 * - assignments have the blocks assigned, or pending again, in order;
 * - soon all blocks are idle, and what is then written to them stays;
 * - streams that were promised an event run empty, and the next transfer works or is refused;
 * - nothing is leaked or misused.
 */
#ifndef KVF_TEST_FAULT_SCENE_H
#define KVF_TEST_FAULT_SCENE_H

#include "device_fixture.h"

typedef struct scenario {
    const char *name; /* begins with its strategy's */
    kvf_cuda_strategy strategy;
    size_t pairs, bytes; /* of a transfer; of a part of a layer of a block */
    bool in_a_row;       /* ids are in a row: few, large boxes */
    bool by_layer;
    bool background; /* all transfers are ... */
    bool required;   /* ... but the last, which needs the others in their streams */
    bool bound;      /* the first two fill assignments */
    bool cancel;     /* the first, half-way, and the second, before it begins */
    bool leave;      /* nobody waits: all is destroyed while it is on its way */
    bool slow;       /* copies take their time, so that ends come late */
    bool create;     /* the engine, the tiers and pinned memory are made under the fault too */
    bool thread;     /* the engine has its thread */
} scenario;

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_CALL,
    FAULT_OPERATION, /* fails when it is executed, and ends the context */
    FAULT_ALLOCATION,
} fault_kind;

typedef struct fault {
    fault_kind kind;
    const char *function;    /* the call */
    fakecuda_kind operation; /* the operation */
    uint64_t nth;            /* of that function's calls, of those operations, of allocations */
    cudaError_t error;
    bool for_ever;
} fault;

/* What a run took while its fault could strike. */
typedef struct scene_counts {
    struct {
        const char *function;
        uint64_t calls;
    } functions[64];
    size_t function_count;
    uint64_t operations[FAKECUDA_KINDS];
    uint64_t allocations;
} scene_counts;

/* Runs a scenario under a fault and checks all of the above. */
void scene_run(const scenario *how, const fault *f, scene_counts *counts);

/* Whether a runtime that answers so has lost its context. */
bool scene_is_fatal(cudaError_t error);

/* How densely sweeps sample: `usual`, less under sanitizers, whose runs take that much longer. */
size_t scene_density(size_t usual);

/* For cmocka, behind every test: says which run a test that failed was in. */
int scene_tell(void **state);

#endif
