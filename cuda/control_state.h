/*
 * One rank's inside: what it does (control.c), and what it hears and says (control_talk.c).
 *
 *     own announcement    UNSENT -> SENT -> STARTED -> RUNNING -> VOTED -> OVER
 *                                      \------------ refused -----------/
 *
 * Nothing that is to be sent is kept as bytes: flags and the announcements themselves say what is
 * due, and a message is written when it is taken.
 */
#ifndef KVF_CUDA_CONTROL_STATE_H
#define KVF_CUDA_CONTROL_STATE_H

#include "control_first.h"

typedef enum kvf__own_state {
    KVF__OWN_UNSENT,
    KVF__OWN_SENT,
    KVF__OWN_STARTED, /* the event is not taken yet */
    KVF__OWN_RUNNING,
    KVF__OWN_VOTED,
    KVF__OWN_OVER, /* the event is not taken yet */
} kvf__own_state;

/* An announcement of this rank. */
typedef struct kvf__own {
    struct kvf__own *next;
    struct kvf__own *next_to_send, *next_event; /* in these queues */
    kvf__own_state state;
    uint64_t number, sequence;
    bool queued; /* to be sent */
    bool refused;
    kvf__fault fault; /* its vote, or how it ended */
    kvf__announcement announcement;
} kvf__own;

typedef struct kvf__own_queue {
    kvf__own *first, **last;
} kvf__own_queue;

/* Of rank 0: another rank. Of another rank: rank 0, the only one. */
typedef struct kvf__peer {
    uint64_t heard, sent; /* when */
    uint64_t announced;   /* its last number */
    bool here;            /* has said hello */
    bool lost;            /* the channel has lost it, behind its leave */
    bool ready_due, beat_due, quiet_due, broken_due;
} kvf__peer;

struct kvf__control {
    kvf__control_options options;
    unsigned char payload[KVF__CONTROL_PAYLOAD];
    uint64_t clock, looked_at; /* time that counts, and the caller's time then */
    bool ready, left, quiet, broken;
    bool ready_event, quiet_event, broken_event; /* not taken yet */
    bool hello_due, leave_due, doubt_due;        /* to rank 0 */
    kvf__fault fault;                            /* why it is broken; its status as seen here */
    kvf_status told_status;                      /* as the others are told */
    kvf__own *owns, **last_own;                  /* by number */
    size_t own_count, open;                      /* all; those that are not over */
    uint64_t last_number, last_sequence;
    kvf__own_queue to_send, events;
    kvf__first *first; /* rank 0's */
    size_t here;       /* ranks that have said hello, rank 0 among them */
    int talking_to;    /* rank 0: whom it has sent the last message */
    size_t peer_count;
    kvf__peer peers[]; /* rank 0: by rank */
};

static inline bool kvf__control_is_first(const kvf__control *c) {
    return c->options.rank == 0;
}

static inline bool kvf__control_is_over(const kvf__control *c) {
    return c->broken || c->quiet;
}

/* Whether it was set. */
static inline bool kvf__flag_clear(bool *flag) {
    bool was = *flag;
    *flag = false;
    return was;
}

/* Looks at the time. */
void kvf__control_look(kvf__control *c, uint64_t now);

/* All ranks are there. */
void kvf__control_be_ready(kvf__control *c);

/* Everything ends. `local`: it was found out here, and everybody but `except` is told. */
void kvf__control_break(kvf__control *c, const kvf__fault *fault, bool local, int except);

/* The same, found out here, and all are told. */
void kvf__control_break_for(kvf__control *c, int rank, kvf_status status, const char *reason);

/* What rank 0 has decided on an announcement of this rank. NULL, or what is wrong with it. */
const char *kvf__control_obey(kvf__control *c, const kvf__message *m);

/* Rank 0 hears what it has decided for itself, and whether all is quiet. */
void kvf__control_hear_oneself(kvf__control *c);

/* Rank 0: whether nothing is wanted any more of another rank. */
bool kvf__control_is_gone(const kvf__control *c, int rank);

#endif
