/*
 * Rank 0's side of the control protocol: what all ranks have announced, met and voted.
 *
 *     claim    one rank's announcement
 *     deal       claims that have met, directly or by way of others
 *
 *                    somebody named is missing          all have come
 *     announce --> WAITING -------------------------------> STARTED --votes--> ENDED
 *                     \--disagree, late, left--> REFUSED
 *
 * A refused deal stays as long as somebody named is missing, so that who comes hears the same.
 */
#ifndef KVF_CUDA_CONTROL_FIRST_H
#define KVF_CUDA_CONTROL_FIRST_H

#include "control_messages.h"

typedef struct kvf__first kvf__first;

/* NULL when there is no memory. */
kvf__first *kvf__first_create(int ranks, uint64_t timeout_ns, const kvf_allocator *allocator);
void kvf__first_destroy(kvf__first *first);

/* A checked announcement of a rank that has not left. Errors: NO_MEMORY, nothing has changed;
 * RANGE, somebody goes beyond a limit, and `*fault` says who. */
kvf_status kvf__first_announce(kvf__first *first, int rank, uint64_t number,
                               const kvf__announcement *announcement, uint64_t now,
                               kvf__fault *fault);

/* false: the rank has nothing of that number to vote on. */
bool kvf__first_vote(kvf__first *first, int rank, uint64_t number, const kvf__fault *vote,
                     uint64_t now);

/* Once a rank. */
void kvf__first_leave(kvf__first *first, int rank);

/* Whether a rank has left, and whether nothing is wanted of it any more. */
bool kvf__first_has_left(const kvf__first *first, int rank);
bool kvf__first_is_gone(const kvf__first *first, int rank);

/* Whether all have left and nothing is open. */
bool kvf__first_is_quiet(const kvf__first *first);

/* Refuses what is late. true: a vote is missing for too long, and the group is to break. `*next` is
 * when to call again at the latest. */
bool kvf__first_tick(kvf__first *first, uint64_t now, uint64_t *next, kvf__fault *fault);

/* The next message for a rank: STARTED, REFUSED or ENDED. false when there is none. */
bool kvf__first_next(kvf__first *first, int rank, kvf__message *message);

/* NULL, or which invariant is broken. For tests. */
const char *kvf__first_check(const kvf__first *first);

#endif
