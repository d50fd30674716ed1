/*
 * The control protocol of a group: who announces what, in which order it runs, how it ended.
 *
 * Pure: no sockets, clocks or threads. The caller hands in messages, what this rank wants and the
 * time, and takes out messages to send and events:
 *
 *     announce --> rank 0 compares --> STARTED everywhere, with a place in the order
 *                                  \-> REFUSED to those who announced: others disagree or are late
 *     vote     --> rank 0 collects --> ENDED everywhere: all well, or whose fault it was
 *     doubt, silence, no votes in time      --> BROKEN everywhere
 *
 * Announcements meet by tag: of two ranks that name each other (in a hand, or with `all`), the n-th
 * of one under the tag that names the other meets the n-th of the other that names the one,
 * whenever they come. Those that meet, and those that these meet, are one operation. It starts when
 * everybody named has come. Self-hands pair within one announcement. The first disagreement refuses
 * it, and so it stays for those of it who come later.
 *
 * What an operation's outcome is, rank 0 decides, once. All ranks hear the same, but for one that
 * breaks by itself (its own doubt, or rank 0 out of reach): that one learns no more.
 *
 * Time counts only while it is looked at: a caller that was held up for long does not blame the
 * others for it. Rank 0 talks to itself without messages. Messages are of KVF_CHANNEL_BYTES at most
 * and checked: nonsense from a rank breaks the group, naming it. control_messages.h has them.
 *
 * Not for several threads at a time.
 */
#ifndef KVF_CUDA_CONTROL_H
#define KVF_CUDA_CONTROL_H

#include <kvferry/nccl.h>

#include "memory.h"

enum {
    KVF__CONTROL_HANDS = 32,    /* peers of one announcement */
    KVF__CONTROL_REASON = 96,   /* bytes of a reason, with its end */
    KVF__CONTROL_PAYLOAD = 256, /* bytes that rank 0 tells all at the beginning */
    KVF__CONTROL_OPEN = 1024,   /* announcements of one rank that are not over */
    KVF__CONTROL_RANKS = 4096,
};

/* One direction between this rank and another; pairs with the peer's of the other direction, in
 * order within the announcement. */
typedef struct kvf__control_hand {
    int peer;
    bool receives;
    uint64_t digest[2]; /* what both have to agree in */
} kvf__control_hand;

typedef struct kvf__announcement {
    uint64_t tag;
    uint32_t kind;      /* the caller's numbers; must agree */
    uint64_t digest[2]; /* what all have to agree in */
    bool all;           /* all ranks take part; else those that the hands name, and this one */
    size_t hand_count;
    kvf__control_hand hands[KVF__CONTROL_HANDS];
} kvf__announcement;

/* The status of REFUSED is PEER, or CANCELLED because this rank leaves; that of BROKEN is PEER, or
 * this rank's own, or TIMEOUT when a rank has not come before READY. */
typedef enum kvf__control_event_kind {
    KVF__CONTROL_READY,   /* all ranks are there; `payload` is rank 0's */
    KVF__CONTROL_STARTED, /* `number` may run, behind all that were started before it */
    KVF__CONTROL_REFUSED, /* `number` ends so, and nothing else happens */
    KVF__CONTROL_ENDED,   /* `number`: all have voted. OK, or the first bad vote, PEER */
    KVF__CONTROL_BROKEN,  /* everything that is not over ends so; the last event */
    KVF__CONTROL_QUIET,   /* behind a leave: all have left and nothing is open; the last event */
} kvf__control_event_kind;

typedef struct kvf__control_event {
    kvf__control_event_kind kind;
    uint64_t number;   /* of the announcement, as announce gave it */
    uint64_t sequence; /* of STARTED: its place in the order, from 1 on */
    int rank;          /* whose fault; -1 for nobody's */
    kvf_status status;
    char reason[KVF__CONTROL_REASON];
    unsigned char payload[KVF__CONTROL_PAYLOAD];
} kvf__control_event;

typedef struct kvf__control_options {
    int rank, ranks;
    uint64_t timeout_ns, beat_ns; /* beats come more often than the timeout */
    const void *payload;          /* rank 0's, [KVF__CONTROL_PAYLOAD], NULL for zeros */
    uint64_t digest[2];           /* what all ranks have to agree in from the beginning */
    kvf_allocator allocator;
} kvf__control_options;

typedef struct kvf__control kvf__control;

/* Errors: INVALID; RANGE for too many ranks; NO_MEMORY. */
kvf_status kvf__control_create(const kvf__control_options *options, uint64_t now,
                               kvf__control **out, kvf_error *error);

/* NULL is fine. */
void kvf__control_destroy(kvf__control *control);

/* What this rank wants. `*number` names it in events; from 1 on, never used twice. Errors, which
 * change nothing: INVALID; NO_MEMORY; AGAIN before READY, and when very many are open; PEER
 * (`index` the rank, if any) when the group is broken; CLOSED behind a leave. */
kvf_status kvf__control_announce(kvf__control *control, const kvf__announcement *announcement,
                                 uint64_t now, uint64_t *number, kvf_error *error);

/* How an operation whose STARTED was taken went here: OK, or an error that the other ranks learn
 * of. Once each; votes on what is not under way are ignored. */
void kvf__control_vote(kvf__control *control, uint64_t number, kvf_status status,
                       const char *reason, uint64_t now);

/* This rank cannot go on, and `rank`'s fault it is (-1: nobody's): breaks the group, but for the
 * others when this rank has left and nothing of it is open. */
void kvf__control_doubt(kvf__control *control, int rank, kvf_status status, const char *reason,
                        uint64_t now);

/* The channel has lost a rank, -1 for one unknown. Unless that one has left and owes nothing, this
 * breaks the group. Between others than this rank and rank 0 nothing is sent, so that nothing is
 * lost. */
void kvf__control_lost(kvf__control *control, int rank, kvf_status status, const char *reason,
                       uint64_t now);

/* This rank is about to go. What was announced and not started is refused, here as CANCELLED,
 * unless rank 0 starts it before it hears of this; what was started goes on to its end. Nobody's
 * silence counts any more once he has left and owes nothing; others' operations with a rank that
 * left are refused. */
void kvf__control_leave(kvf__control *control, uint64_t now);

/* A message came. */
void kvf__control_receive(kvf__control *control, int from, const void *message, size_t bytes,
                          uint64_t now);

/* Time has passed. Returns when to call again at the latest; UINT64_MAX when all is over. */
uint64_t kvf__control_tick(kvf__control *control, uint64_t now);

/* The next message to send: its length, or 0 when there is none. `message` holds
 * KVF_CHANNEL_BYTES. Messages are there until they are taken, behind BROKEN and QUIET, too. */
size_t kvf__control_next_message(kvf__control *control, int *to, void *message);

/* false when there is none. */
bool kvf__control_next_event(kvf__control *control, kvf__control_event *event);

/* NULL, or which invariant is broken. For tests. */
const char *kvf__control_check(const kvf__control *control);

#endif
