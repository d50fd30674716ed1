/*
 * A sequence: its tokens and its blocks. The scheduler decides what happens to it, this file how.
 *
 *                     resume: onboard, by layer
 *        on the host ---------------------------> on the device: steps, one after the other
 *          (waits)   <---------------------------
 *                     leave: offload, in the background
 *
 * Two assignments objects hold the ids of its blocks, one per tier. Assigned in `device` are the
 * blocks that compute may read, in `host` those that have arrived there: complete blocks, from the
 * first one on. All other blocks are computed again, like a prompt: the partial last block,
 * blocks for which the host had no room, and blocks whose transfer failed or was cancelled. A
 * partial block therefore never moves. Moving it would need a kvf_plan made by the caller, and
 * would save less than the compute of one block.
 */
#ifndef KVF_EXAMPLE_SEQUENCE_H
#define KVF_EXAMPLE_SEQUENCE_H

#include "pool.h"

typedef struct counts {
    uint64_t steps, discarded, finished, preempted, restarted;
    uint64_t offloaded, onboarded, shared; /* blocks */
    uint64_t again, cancelled, failed;     /* transfers */
    uint64_t mismatches;                   /* blocks of a layer */
    uint64_t texts;                        /* a digest of the finished texts */
} counts;

typedef struct sequence sequence;

/* What all sequences share. */
typedef struct runtime {
    const options *options;
    machine *machine;
    pool device, host;
    size_t most_blocks; /* of a sequence */
    uint64_t *ids;      /* [most_blocks], scratch */
    counts counts;

    /* The scheduler's own. */
    sequence **live; /* in no order */
    size_t live_count;
    uint64_t begun; /* sequences so far */
    uint64_t clock; /* counts events, to order them */
    uint64_t random;
    uint64_t *arrays; /* of all steps */
    step steps[MOST_LANES];
    sequence *in_lane[MOST_LANES]; /* NULL: free */
} runtime;

struct sequence {
    uint64_t name;
    size_t length; /* tokens when finished */
    kvf_sequence *tokens;
    kvf_assignments *device, *host;
    uint64_t *expected; /* [layers][most_blocks], checksums that follow from the tokens */

    bool on_device;
    size_t computed;   /* tokens with K and V on the device, once the steps in flight are done */
    kvf_bound *moving; /* its transfer: onboards if on_device, else offloads; NULL: none */
    bool cancelled;    /* `moving` was cancelled and has not ended yet */
    step *step;        /* in flight; NULL: none */
    bool discard;      /* the result of `step` is to be discarded */

    /* For the scheduler: */
    uint64_t since; /* when it arrived at its place, host or device */
    uint64_t ran;   /* when it had its last step */
    size_t turn;    /* steps since it was resumed */
    bool restarted; /* its client has hung up once */
};

sequence *sequence_create(runtime *rt, uint64_t name);

/* Cancels its transfer and waits for it to end. Its step, if any, must be done. */
void sequence_destroy(runtime *rt, sequence *s);

/* Polls its transfer. When an offload has ended, publishes the host blocks that arrived and gives
 * back the others. When an onboarding has failed, withdraws and gives back the host blocks whose
 * content did not arrive on the device. */
void sequence_collect(runtime *rt, sequence *s);

/* Takes device blocks for all its tokens, and starts onboarding what the host has. It must have no
 * transfer and no step in flight. Returns false if that is not possible now. */
bool sequence_resume(runtime *rt, sequence *s);

/* The number of device blocks that its next step lacks. */
size_t sequence_lacks(const runtime *rt, const sequence *s);

/* Takes these blocks. Returns false if the pool has too few now. */
bool sequence_grow(runtime *rt, sequence *s);

/* Starts a step. The sequence must have all blocks that the step needs, and no step in flight. */
void sequence_launch(runtime *rt, sequence *s, step *step);

/* Ends a step: checks attention's results and appends a token. Returns false until it has ended. */
bool sequence_finish_step(runtime *rt, sequence *s);

/* Gives back its device blocks: offloads those that the host lacks or, if it is being onboarded,
 * cancels that. Returns false if that is not possible now. */
bool sequence_leave(runtime *rt, sequence *s);

/* Resets it to its prompt, without blocks, whatever is in flight: the client has hung up, and asks
 * again. */
void sequence_restart(runtime *rt, sequence *s);

#endif
