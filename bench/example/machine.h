/*
 * What differs between the host engine and a GPU: where memory comes from, and how a step of
 * compute is ordered against transfers. All else of the runtime is the same on both.
 *
 *     host    compute runs in the calls below; when they return it has happened
 *     cuda    the calls put it into a stream; it happens later, beside the host, beside transfers
 *             and beside the steps of other lanes
 */
#ifndef KVF_EXAMPLE_MACHINE_H
#define KVF_EXAMPLE_MACHINE_H

#include "content.h"
#include "example.h"

/*
 * One step of one sequence: writes the K and V of its newest tokens, then attends to all of them.
 *
 *     table   | read, perhaps still on their way | written, then read |
 *                                                written
 */
typedef struct step {
    unsigned lane;
    size_t tokens, first_new; /* tokens from first_new on are written */
    size_t blocks, written;
    kvf_transfer *landing; /* brings those on their way, layer by layer; NULL: all are there */
    /* In memory that compute reaches: */
    uint64_t *table; /* [blocks], ids in the device tier */
    uint64_t *seeds; /* [tokens - first_new] */
    uint64_t *sums;  /* [layers][blocks], the result */
} step;

typedef struct machine machine;
struct machine {
    kvf_engine *engine;
    kvf_memory device_memory, host_memory; /* of the two tiers */
    bool in_order; /* begin has a step wait for who still uses the blocks it writes */

    void *(*allocate)(machine *machine, kvf_memory memory, size_t bytes); /* NULL: none left */
    void (*release)(machine *machine, kvf_memory memory, void *bytes);

    /* A step, in this order. What is done to a layer waits for that layer only. */
    void (*begin)(machine *machine, kvf_tier *tier, const step *step);
    void (*layer)(machine *machine, const step *step, const layer_view *view);
    void (*end)(machine *machine, kvf_tier *tier, const step *step);
    bool (*done)(machine *machine, const step *step);

    void (*close)(machine *machine); /* frees it, its engine included */
};

machine *machine_host_open(const options *options);
machine *machine_cuda_open(const options *options);

#endif
