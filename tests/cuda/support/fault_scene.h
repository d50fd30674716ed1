/*
 * Shared by the fault sweeps: scenarios that use every part of the engine, a fault that strikes
 * during one, and what must hold whatever happened.
 *
 *     device first -> pinned middle -> device second -> device third -> other pinned middle
 *
 * The four transfers are submitted one after the other, with marks, waits of a compute stream and
 * events in between. Then, whatever failed:
 *
 * - every call's error comes from the fault and has its native code;
 * - every accepted transfer ends, with one callback;
 * - transfers that succeeded after only successful ones have moved their content, and no other
 *   block has changed;
 * - the blocks of bound transfers are assigned, or pending again, in order;
 * - all blocks become idle, and what is written to them afterwards stays;
 * - streams that wait for an event run empty, and the next transfer works or is refused;
 * - nothing leaks, and CUDA is not misused.
 */
#ifndef KVF_TEST_FAULT_SCENE_H
#define KVF_TEST_FAULT_SCENE_H

#include "device_fixture.h"

typedef struct scenario {
    const char *name; /* starts with its strategy's */
    kvf_cuda_strategy strategy;
    size_t pairs, bytes; /* of a transfer; of a part of a layer of a block */
    bool in_a_row;       /* consecutive ids: few, large boxes */
    bool by_layer;
    bool background; /* all transfers are in the background, */
    bool required;   /* except the last, which needs the others enqueued */
    bool bound;      /* the first two are bound */
    bool cancel;     /* the first half-way, the second before it starts */
    bool leave;      /* all is destroyed while transfers are in flight */
    bool slow;       /* copies take a while, so that transfers end late */
    bool create;     /* engine, tiers and pinned memory are created under the fault */
    bool thread;     /* the engine has its thread */
} scenario;

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_CALL,
    FAULT_OPERATION, /* fails when executed, and ends the context */
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

/* What a run did while its fault could strike. */
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

/* Whether this error means that the context is lost. */
bool scene_is_fatal(cudaError_t error);

/* How densely sweeps sample: `usual`, or less under sanitizers, which slow runs down. */
size_t scene_density(size_t usual);

/* cmocka teardown: prints the run in which a test failed. */
int scene_tell(void **state);

#endif
