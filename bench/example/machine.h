/*
 * What differs between the host engine and a GPU: where memory comes from, and how a step of
 * compute is ordered with transfers. The rest of the runtime is the same on both.
 *
 *     host    compute runs inside the calls below and is complete when they return
 *     cuda    the calls enqueue compute in a stream; it runs later, concurrently with the host,
 *             with transfers and with the steps of other lanes
 */
#ifndef KVF_EXAMPLE_MACHINE_H
#define KVF_EXAMPLE_MACHINE_H

#include "content.h"
#include "example.h"

/*
 * One step of one sequence: writes the K and V of its newest tokens, then attends to all of them.
 *
 *     table   | read, perhaps still on their way | written, then read |
 *             0                                  written              blocks
 */
typedef struct step {
    unsigned lane;
    size_t tokens, first_new; /* tokens from first_new on are written */
    size_t blocks, written;   /* blocks from index `written` on are written */
    kvf_transfer *landing;    /* brings the blocks on their way, layer by layer; NULL: none are */
    /* In memory that compute reaches: */
    uint64_t *table; /* [blocks], ids in the device tier */
    uint64_t *seeds; /* [tokens - first_new], of the new tokens, see content.h */
    uint64_t *sums;  /* [layers][blocks], the result: checksums */
} step;

typedef struct machine machine;
struct machine {
    kvf_engine *engine;
    kvf_memory device_memory, host_memory; /* kinds of memory of the two tiers */
    bool in_order; /* `begin` makes a step wait for other users of the blocks it writes */

    void *(*allocate)(machine *machine, kvf_memory memory, size_t bytes); /* NULL: out of memory */
    void (*release)(machine *machine, kvf_memory memory, void *bytes);

    /* A step makes these calls in this order: begin, layer for each layer, end, and done until it
     * returns true. Compute on a layer waits for that layer only. */
    void (*begin)(machine *machine, kvf_tier *tier, const step *step);
    void (*layer)(machine *machine, const step *step, const layer_view *view);
    void (*end)(machine *machine, kvf_tier *tier, const step *step);
    bool (*done)(machine *machine, const step *step);

    void (*close)(machine *machine); /* frees the machine and its engine */
};

machine *machine_host_open(const options *options);
machine *machine_cuda_open(const options *options);

#endif
