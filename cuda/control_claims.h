/*
 * Rank 0's inside: what has been announced, as claims and as the operations that claims make.
 *
 *     bucket of a tag    claim - claim - ...   those who wait for somebody, in the order they came
 *     deal               claim - claim - ...   those who have met, and who those have met
 *     owed by a rank     claim - claim - ...   what it is to vote on, in the order of the start
 *     told to a rank     claim - claim - ...   what it is to hear next
 */
#ifndef KVF_CUDA_CONTROL_CLAIMS_H
#define KVF_CUDA_CONTROL_CLAIMS_H

#include "control_first.h"

enum { KVF__TAG_BUCKETS = 256 };

/* In a ring with its list's head; `next` NULL: in none. */
typedef struct kvf__node {
    struct kvf__node *prev, *next;
    void *owner;
} kvf__node;

typedef struct kvf__deal kvf__deal;

typedef struct kvf__claim {
    size_t bytes; /* of the allocation */
    int rank;
    uint64_t number, tag, digest[2];
    uint32_t kind;
    bool all, refused;
    size_t hand_count;
    kvf__control_hand *hands;
    uint64_t *unmet; /* set of ranks named whose claim has not come */
    size_t unmet_count;
    kvf__deal *deal;
    struct kvf__claim *next;      /* of the deal */
    kvf__node bucket;             /* while somebody is unmet */
    kvf__node owed;               /* in the rank's list while it is to vote */
    struct kvf__claim *next_told; /* in the rank's queue of messages */
    kvf__message_type told;       /* in that queue; 0: not in it */
} kvf__claim;

typedef enum kvf__deal_state {
    KVF__DEAL_WAITING,
    KVF__DEAL_STARTED,
    KVF__DEAL_REFUSED,
    KVF__DEAL_ENDED
} kvf__deal_state;

struct kvf__deal {
    kvf__deal_state state;
    kvf__node time; /* in `waiting`, `fronts` or `refused` */
    kvf__claim *claims;
    size_t unmet;  /* of all claims */
    size_t untold; /* claims in queues */
    uint64_t since;
    uint64_t sequence;
    size_t owing, in_front; /* claims not voted on, and those that their ranks owe first */
    bool disagrees;
    int twice;                 /* a rank with two claims in it; -1 */
    int at_odds, at_odds_with; /* ranks whose hands do not pair; -1 */
    const char *odds;
    kvf__fault fault;
    uint64_t members[]; /* set of ranks */
};

typedef struct kvf__member {
    bool left;
    size_t open;    /* claims waiting or started */
    kvf__node owed; /* claims to vote on, in the order of their start */
    kvf__claim *told, **last_told;
} kvf__member;

struct kvf__first {
    kvf_allocator allocator;
    int ranks;
    size_t words; /* of a set of ranks */
    uint64_t timeout;
    uint64_t sequence;
    size_t left;       /* ranks */
    size_t open;       /* claims waiting or started */
    size_t remembered; /* claims refused that somebody has not come to */
    kvf__node waiting; /* deals, by `since` */
    kvf__node fronts;  /* started deals that all who owe them owe first, by `since` */
    kvf__node refused; /* deals that somebody has not come to, or that are not told */
    kvf__node buckets[KVF__TAG_BUCKETS];
    kvf__member members[];
};

/* Lists */

static inline void kvf__list_empty(kvf__node *list) {
    list->prev = list->next = list;
}

static inline bool kvf__list_is_empty(const kvf__node *list) {
    return list->next == list;
}

static inline void kvf__list_append(kvf__node *list, kvf__node *n, void *owner) {
    *n = (kvf__node){list->prev, list, owner};
    list->prev->next = n;
    list->prev = n;
}

/* Nothing when it is in no list. */
static inline void kvf__list_remove(kvf__node *n) {
    if (!n->next)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    *n = (kvf__node){NULL, NULL, NULL};
}

/* Sets of ranks */

static inline bool kvf__ranks_have(const uint64_t *set, int rank) {
    return (set[rank / 64] >> (rank % 64) & 1) != 0;
}

static inline void kvf__ranks_add(uint64_t *set, int rank) {
    set[rank / 64] |= UINT64_C(1) << (rank % 64);
}

static inline void kvf__ranks_remove(uint64_t *set, int rank) {
    set[rank / 64] &= ~(UINT64_C(1) << (rank % 64));
}

/* A claim without a deal; NULL when there is no memory. */
kvf__claim *kvf__claim_make(kvf__first *first, int rank, uint64_t number,
                            const kvf__announcement *a);
void kvf__claim_free(kvf__first *first, kvf__claim *c);

/* A deal of this claim alone; NULL when there is no memory. */
kvf__deal *kvf__deal_make(kvf__first *first, kvf__claim *c, uint64_t now);

/* With all its claims. */
void kvf__deal_free(kvf__first *first, kvf__deal *d);

/* `rank` is not to come to a claim any more. */
void kvf__claim_unname(kvf__first *first, kvf__claim *c, int rank);

/* Puts a new claim in its place: its deal becomes one with those of the claims that it meets. Of
 * deals that become one a refused one stays, or else the older. */
void kvf__claim_meet(kvf__first *first, kvf__claim *c);

/* Whose fault it is that the claims of a deal cannot be one operation; OK when they can. */
kvf__fault kvf__deal_judge(const kvf__deal *d);

/* The lowest rank that claims of a deal wait for; -1. */
int kvf__deal_missing(const kvf__first *first, const kvf__deal *d);

#endif
