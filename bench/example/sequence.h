/*
 * A sequence: its tokens, and where its blocks are. The scheduler decides what happens to it; here
 * is how.
 *
 *                     resume: onboard, by layer
 *        on the host ---------------------------> on the device: steps, one after the other
 *          (waits)   <---------------------------
 *                     leave: offload, in the background
 *
 * Two objects hold the ids of its blocks in the two tiers: `device` has assigned what compute may
 * read, `host` what has landed there; both are complete blocks from the first one on. What neither
 * has (a last block that is not complete, blocks for which the host had no room, blocks whose
 * transfer failed or was cancelled) is computed again, as a prompt is. So a partial block never
 * moves. Moving it would take a kvf_plan of the caller's own, and saves less than a block's
 * compute.
 */
#ifndef KVF_EXAMPLE_SEQUENCE_H
#define KVF_EXAMPLE_SEQUENCE_H

#include "pool.h"

typedef struct counts {
    uint64_t steps, discarded, finished, preempted, restarted;
    uint64_t offloaded, onboarded, shared; /* blocks */
    uint64_t again, cancelled, failed;     /* transfers */
    uint64_t mismatches;                   /* blocks of a layer */
    uint64_t texts;                        /* a digest of what was finished */
} counts;

typedef struct sequence sequence;

/* What all sequences live in. */
typedef struct runtime {
    const options *options;
    machine *machine;
    pool device, host;
    size_t most_blocks; /* of a sequence */
    uint64_t *ids;      /* [most_blocks], for moments */
    counts counts;

    /* The scheduler's own. */
    sequence **live; /* in no order */
    size_t live_count;
    uint64_t begun; /* sequences so far */
    uint64_t clock; /* counts what happens, to tell earlier from later */
    uint64_t random;
    uint64_t *arrays; /* of the steps */
    step steps[MOST_LANES];
    sequence *in_lane[MOST_LANES]; /* NULL: free */
} runtime;

struct sequence {
    uint64_t name;
    size_t length; /* tokens at its end */
    kvf_sequence *tokens;
    kvf_assignments *device, *host;
    uint64_t *expected; /* [layers][most_blocks], checksums as the tokens have them */

    bool on_device;
    size_t computed;   /* tokens whose K and V the device's blocks have, once steps are done */
    kvf_bound *moving; /* its transfer: onboards while it is on the device, else offloads, or ... */
    bool cancelled;    /* ... was cancelled, and is still to end */
    step *step;        /* under way, or NULL */
    bool discard;      /* whose result is void */

    uint64_t since; /* for the scheduler: when it came to where it is, */
    uint64_t ran;   /* when it had its last step, */
    size_t turn;    /* how many since it was resumed, */
    bool restarted; /* whether its client has hung up already */
};

sequence *sequence_create(runtime *rt, uint64_t name);
/* Cancels, and waits for what is under way; its step, if any, must be done. */
void sequence_destroy(runtime *rt, sequence *s);

/* Looks after its transfer: what has landed is assigned afterwards, and what has not is free. */
void sequence_collect(runtime *rt, sequence *s);

/* Takes device blocks for all its tokens and onboards what the host has. Nothing of it may be under
 * way. false: not now. */
bool sequence_resume(runtime *rt, sequence *s);

/* How many device blocks its next step lacks, and taking them. false: not now. */
size_t sequence_lacks(const runtime *rt, const sequence *s);
bool sequence_grow(runtime *rt, sequence *s);

/* Begins a step. It has all the blocks it needs, and no step under way. */
void sequence_launch(runtime *rt, sequence *s, step *step);

/* Ends it: checks what attention has seen and appends a token. false: it is not over yet. */
bool sequence_finish_step(runtime *rt, sequence *s);

/* Gives up its device blocks: offloads those that the host lacks or, when it is being onboarded,
 * cancels that. false: not now. */
bool sequence_leave(runtime *rt, sequence *s);

/* Back to its prompt and without blocks, whatever is under way: the client has hung up, and will
 * ask again. */
void sequence_restart(runtime *rt, sequence *s);

#endif
