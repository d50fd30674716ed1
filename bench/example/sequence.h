/*
 * A sequence: its tokens, and where its blocks are. Of what happens to it only the scheduler
 * decides; here is how.
 *
 *                     resume: onboard, by layer
 *        on the host ---------------------------> on the device: steps, one after the other
 *          (waits)   <---------------------------
 *                     leave: offload, in the background; or nothing, where there is no time
 *
 * Two trackers hold the ids of its blocks in the two tiers. `device` has assigned what compute may
 * read, `host` what has landed there: always complete blocks, and always the first ones. What
 * neither has (a last block that is not complete, blocks the host had no room for, those whose
 * transfer failed or was cancelled) is not an error but computed again, like a prompt.
 */
#ifndef KVF_EXAMPLE_SEQUENCE_H
#define KVF_EXAMPLE_SEQUENCE_H

#include "pool.h"

typedef struct counts {
    uint64_t steps, finished, discarded, preempted, restarted;
    uint64_t offloaded, onboarded, shared; /* blocks */
    uint64_t again, cancelled, failed;     /* transfers */
    uint64_t mismatches;                   /* blocks of a layer */
    uint64_t texts;                        /* a digest of what was finished */
} counts;

/* What all sequences live in. */
typedef struct runtime {
    const options *options;
    machine *machine;
    pool device, host;
    layer_view *views;  /* [layers] of the device tier */
    size_t most_blocks; /* of a sequence */
    uint64_t *ids;      /* [most_blocks], for moments */
    counts counts;
} runtime;

typedef struct sequence {
    uint64_t name;
    size_t prompt, length; /* tokens at its beginning, and at its end */
    kvf_sequence *tokens;
    kvf_assignments *device, *host;
    size_t computed;    /* tokens whose K and V the device's blocks have, once steps are done */
    uint64_t *expected; /* [layers][most_blocks], the checksums as the tokens have them */

    bool on_device;
    kvf_bound *moving; /* its transfer: onboards while it is on the device, else offloads, or ... */
    bool cancelled;    /* ... was cancelled, and is still to end */
    step *step;        /* under way, or NULL */
    bool discard;      /* whose result is void */
    bool restarted;    /* its client has hung up once */
    uint64_t since;    /* for the scheduler: when it came to where it is, */
    uint64_t ran;      /* when it had its last step, */
    size_t turn;       /* and how many since it was resumed */
} sequence;

sequence *sequence_create(runtime *runtime, uint64_t name);
/* Cancels and waits for what is under way; its step, if any, must be done. */
void sequence_destroy(runtime *runtime, sequence *sequence);

/* Looks after its transfer. Afterwards what has landed is assigned, and what has not is free. */
void sequence_collect(runtime *runtime, sequence *sequence);

/* Takes device blocks for all its tokens and onboards what the host has. false: not now. */
bool sequence_resume(runtime *runtime, sequence *sequence);

/* How many device blocks its next step lacks, and taking them. */
size_t sequence_lacks(const runtime *runtime, const sequence *sequence);
bool sequence_grow(runtime *runtime, sequence *sequence);

/* Begins a step. It has all the blocks it needs, and no step under way. */
void sequence_launch(runtime *runtime, sequence *sequence, step *step);

/* Ends a step: checks what attention has seen and appends a token. false: it is not over yet. */
bool sequence_finish_step(runtime *runtime, sequence *sequence);

/* Gives up its device blocks: offloads those that the host lacks or, when it is still being
 * onboarded, cancels that. false: not now. */
bool sequence_leave(runtime *runtime, sequence *sequence);

/* Gives up all its blocks, whatever is under way. */
void sequence_drop(runtime *runtime, sequence *sequence);

/* Back to its prompt: the client has hung up, and asks again. */
void sequence_restart(runtime *runtime, sequence *sequence);

#endif
