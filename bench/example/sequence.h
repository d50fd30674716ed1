/*
 * A sequence: its tokens, and where its blocks are. The scheduler decides when a sequence moves or
 * runs; this file does it.
 *
 *                     resume: onboard, by layer
 *        on the host ---------------------------> on the device: steps, one after the other
 *          (waits)   <---------------------------
 *                     leave: offload, in the background
 *
 * Two assignments objects hold the ids of its blocks in the two tiers. Assigned in `device` are the
 * blocks that compute may read, assigned in `host` those that have landed there; both are complete
 * blocks, without gaps from the first one on. Blocks that are in neither tier (the partial last
 * block, blocks for which the host had no room, blocks whose transfer failed or was cancelled) are
 * computed again, as a prompt is. So a partial block never moves: moving one would need a kvf_plan
 * of the caller's own and save less than the compute of one block.
 */
#ifndef KVF_EXAMPLE_SEQUENCE_H
#define KVF_EXAMPLE_SEQUENCE_H

#include "pool.h"

typedef struct counts {
    uint64_t steps, discarded, finished, preempted, restarted;
    uint64_t offloaded, onboarded, shared; /* blocks */
    uint64_t again, cancelled, failed;     /* transfers; again: submits refused with AGAIN */
    uint64_t mismatches;                   /* wrong checksums, one per block and layer */
    uint64_t texts;                        /* a digest of the finished sequences' tokens */
} counts;

typedef struct sequence sequence;

/* The state that all sequences share. */
typedef struct runtime {
    const options *options;
    machine *machine;
    pool device, host;
    size_t most_blocks; /* blocks of the longest sequence */
    uint64_t *ids;      /* [most_blocks], scratch */
    counts counts;

    /* The scheduler's own. */
    sequence **live; /* in no particular order */
    size_t live_count;
    uint64_t begun; /* sequences created so far */
    uint64_t clock; /* advances with each event, to compare their times */
    uint64_t random;
    uint64_t *arrays; /* memory of the steps' arrays */
    step steps[MOST_LANES];
    sequence *in_lane[MOST_LANES]; /* NULL: free */
} runtime;

struct sequence {
    uint64_t name;
    size_t length; /* tokens at which it is finished */
    kvf_sequence *tokens;
    kvf_assignments *device, *host;
    uint64_t *expected; /* [layers][most_blocks], checksums computed from the tokens */

    bool on_device;
    size_t computed;   /* tokens whose K and V are in device blocks when its step has ended */
    kvf_bound *moving; /* its transfer, or NULL; an onboarding if on_device, else an offload, ... */
    bool cancelled;    /* ... or one that was cancelled and has not ended */
    step *step;        /* the step in progress, or NULL */
    bool discard;      /* the result of `step` is void */

    /* The scheduler's own; times are values of `clock`. */
    uint64_t since; /* when it came to the device, or started to wait */
    uint64_t ran;   /* when it had its last step */
    size_t turn;    /* steps since it was resumed */
    bool restarted; /* its client has hung up once */
};

sequence *sequence_create(runtime *rt, uint64_t name);
/* Cancels its transfer and waits for its end. Its step, if any, must have ended. */
void sequence_destroy(runtime *rt, sequence *s);

/* Polls its transfer. When an offload has ended, publishes the host blocks that landed and gives
 * back the others. When an onboarding has failed, withdraws and gives back the host blocks that did
 * not arrive on the device. */
void sequence_collect(runtime *rt, sequence *s);

/* Takes device blocks for all its tokens and onboards the blocks that the host has. It must have no
 * transfer or step in progress. false: not possible now. */
bool sequence_resume(runtime *rt, sequence *s);

/* The number of device blocks that its next step lacks. */
size_t sequence_lacks(const runtime *rt, const sequence *s);
/* Takes them. false: not enough are available now. */
bool sequence_grow(runtime *rt, sequence *s);

/* Starts a step. The sequence must have all blocks that it needs, and no step in progress. */
void sequence_launch(runtime *rt, sequence *s, step *step);

/* If the step has ended, checks attention's checksums and appends a token. false: not ended yet. */
bool sequence_finish_step(runtime *rt, sequence *s);

/* Gives back its device blocks: offloads those that the host lacks or, during onboarding, cancels
 * the onboarding. false: not possible now. */
bool sequence_leave(runtime *rt, sequence *s);

/* Returns to the prompt and gives back all blocks, even during a transfer or a step: the client has
 * hung up and will ask again. */
void sequence_restart(runtime *rt, sequence *s);

#endif
