/*
 * What differs between the host engine and a GPU: where memory comes from, and how compute is
 * ordered with transfers. The rest of the runtime is the same for both.
 *
 *     host    compute runs inside the calls below and is complete when they return
 *     cuda    the calls below enqueue compute in a stream; it runs later, in parallel with the
 *             host, with transfers and with the steps of other lanes
 */
#ifndef KVF_EXAMPLE_MACHINE_H
#define KVF_EXAMPLE_MACHINE_H

#include "content.h"
#include "example.h"

/*
 * One step of a sequence: writes K and V of its newest tokens, then attends to all tokens.
 *
 *     table   | read; may still be in flight | written, then read |
 *             0                              written              blocks
 */
typedef struct step {
    unsigned lane;
    size_t tokens, first_new; /* tokens from first_new on are written */
    size_t blocks, written;   /* blocks from index `written` on are written */
    kvf_transfer *landing;    /* brings the blocks in flight, layer by layer; NULL: none are */
    /* In memory that compute reaches: */
    uint64_t *table; /* [blocks], ids in the device tier */
    uint64_t *seeds; /* [tokens - first_new] */
    uint64_t *sums;  /* [layers][blocks], the result */
} step;

typedef struct machine machine;
struct machine {
    kvf_engine *engine;
    kvf_memory device_memory, host_memory; /* of the two tiers */
    bool in_order; /* `begin` makes a step wait for other users of the blocks that it writes */

    void *(*allocate)(machine *machine, kvf_memory memory, size_t bytes); /* NULL: out of memory */
    void (*release)(machine *machine, kvf_memory memory, void *bytes);

    /* The calls of a step, in this order. The work on a layer waits for that layer only. */
    void (*begin)(machine *machine, kvf_tier *tier, const step *step);
    void (*layer)(machine *machine, const step *step, const layer_view *view);
    void (*end)(machine *machine, kvf_tier *tier, const step *step);
    bool (*done)(machine *machine, const step *step);

    void (*close)(machine *machine); /* frees the machine and destroys its engine */
};

machine *machine_host_open(const options *options);
machine *machine_cuda_open(const options *options);

#endif
