/*
 * The inside of a group. All ranks must make the same NCCL calls in the same order. What a rank
 * calls next therefore follows only from the order of its turns and from the tables it has read,
 * which are equal on all ranks, never from time:
 *
 *     1. One gather runs at a time. The next starts when the host has read the last one's table.
 *     2. While nothing runs, a rank announces the first turn of its queue as soon as there is one.
 *     3. A turn that all ranks announce alike is run: all its chunks, then a gather of the votes.
 *        That gather also announces the next turn, if there is one. In an operation whose chunks
 *        are not all collectives, an empty gather every few chunks shows that every rank goes on.
 *     4. If all ranks have announced the next turn with their votes, and alike, it runs at once.
 *        Otherwise rule 2 applies.
 *
 *     submit --> queue [ voting | announcing | ... ] --> gather --> chunks --> gather --> ended
 *
 * Locks: `lock` guards the queue, the results of turns and the counters. The other fields of an
 * open group belong to its driver: the group's thread, or the caller's call that holds `driver`.
 * NCCL is called with `comm_lock` held, because the watchdog takes the communicator away from a
 * driver that is stuck in CUDA. A thread that aborts holds only `abort_lock`.
 */
#ifndef KVF_NCCL_GROUP_H
#define KVF_NCCL_GROUP_H

#include <kvferry/flight.h>

#include "track/assignments.h"
#include "engine/engine_cuda.h"
#include "nccl/nccl_runtime.h"

enum {
    KVF__OP_TRANSFERS = 32, /* under way for one operation, at most */
};

typedef enum kvf__turn_kind {
    KVF__TURN_REFUSAL = 1, /* this rank has nothing to submit in this turn */
    KVF__TURN_JOIN,
    KVF__TURN_LEAVE,
    KVF__TURN_CREATE_WIRE,
    KVF__TURN_DESTROY_WIRE,
    KVF__TURN_ONBOARD, /* from here on: operations */
    KVF__TURN_OFFLOAD,
    KVF__TURN_HAND_OVER,
} kvf__turn_kind;

/* What a rank contributes to a gather: 64 bytes, little-endian. A failed gather leaves garbage or
 * an older table, so every entry carries the gather's number and a checksum. */
typedef struct kvf__entry {
    uint64_t turn; /* number of the announced turn; 0: none */
    uint16_t kind, offer;
    uint32_t refused;       /* a kvf_status other than OK: this rank cannot do it */
    uint64_t where, digest; /* of wire, layout and share; of the plans */
    uint64_t voted;         /* number of the turn voted on; 0: none */
    uint32_t vote, version;
    uint64_t gather; /* its number */
    uint64_t check;  /* hash of everything above */
} kvf__entry;

typedef struct kvf__turn {
    struct kvf__turn *next;
    kvf__turn_kind kind;
    uint16_t offer; /* KVF__TURN_CREATE_WIRE: the kind of memory this rank has */
    kvf_status refused;
    uint64_t where, digest;
    uint64_t number;
    size_t refusals; /* turns after this one that this rank refuses */
    kvf_status why;  /* the last of them */

    /* Under the group's lock. */
    bool ended;
    bool enqueued; /* everything it enqueues is in its streams */
    kvf_error outcome;
} kvf__turn;

/* One plan or hand-over of an operation: consecutive pairs of it. */
typedef struct kvf__op_part {
    uint64_t first_position;
    size_t first, count;  /* pairs */
    int from, to;         /* hand-over: ranks */
    kvf_assignments *dst; /* the owner's; held until the flight is resolved; NULL: none */
    kvf_flight flight;
} kvf__op_part;

/* How far the chunks have come: filled >= shared >= drained. */
typedef struct kvf__op_run {
    size_t *order;  /* onboard, offload: pairs sorted by owner, each owner's in order */
    size_t *starts; /* [ranks + 1]: where an owner's pairs start in `order` */
    size_t chunk_count, filled, shared, drained;
    size_t checked_in;  /* chunks that all ranks have confirmed */
    bool calling;       /* NCCL still works on the call for chunk `shared` */
    size_t first_place; /* place of chunk 0 on the wire */
    kvf_transfer *transfers[KVF__OP_TRANSFERS]; /* a ring */
    size_t first, count;
    kvf_wire_op_stats stats;
    kvf_error failed; /* the first failure on this rank; the operation is carried on regardless */
} kvf__op_run;

struct kvf_wire_op {
    kvf__turn turn;
    kvf_allocator allocator;
    atomic_size_t references; /* the caller's, and the group's until the operation has ended */
    kvf_group *group;
    kvf_wire *wire;
    kvf_tier *host;
    size_t host_layout;
    kvf_share share;
    kvf_callback callback;
    void *user;
    size_t pairs, part_count;
    uint64_t *ids; /* [2 * pairs]: sources, then destinations */
    kvf__op_part *parts;
    bool resolved; /* the flights have landed or returned; the owner's */

    /* Under the group's lock. */
    uint64_t submit_time, start_time, end_time;
    kvf_wire_op_stats stats;

    kvf__op_run run; /* the driver's */
};

struct kvf_wire {
    kvf__turn turn; /* of creating and of destroying it */
    kvf_group *group;
    kvf_wire *next; /* in the group's list, under its lock */
    uint64_t number;
    kvf_tier *device; /* the caller's */
    size_t device_layout;
    kvf_tier *tier; /* the wire's own */
    char *memory;
    void *window;   /* written by NCCL; NULL: none */
    bool from_nccl; /* NCCL allocated the memory */
    bool abandoned; /* destroyed on some ranks only: the group frees it */
    kvf_wire_explanation explanation;
    size_t bytes;
    size_t block_bytes;
    size_t stripe; /* blocks of one rank's part of a collective */
    size_t chunk;  /* blocks of all ranks' parts */
    size_t chunks;
    size_t next_place;   /* where the next agreed operation starts, the same on all ranks */
    uint64_t *from, *to; /* [chunk]: lists for transfers; the driver's */
};

typedef enum kvf__phase {
    KVF__IDLE,
    KVF__CALLING,     /* NCCL enqueues the gather */
    KVF__GATHERING,   /* the gather is in the stream */
    KVF__CONCLUDING,  /* the table is read; transfers of what it ends are still moving */
    KVF__REGISTERING, /* NCCL makes a wire's window */
    KVF__RUNNING,
} kvf__phase;

struct kvf_group {
    kvf_allocator allocator;
    atomic_size_t references; /* the creator, wires, operations */
    kvf_group_options options;
    kvf__cuda *engine;
    int nccl_version;    /* 0: no communicator */
    cudaStream_t stream; /* NCCL's */
    bool own_stream;
    cudaEvent_t gathered, shared; /* recorded after the last gather and the last chunk */
    kvf__entry *own_entry;        /* pinned */
    kvf__entry *table;            /* pinned: [ranks] */
    char *entries;                /* device: [ranks] */

    /* The driver's. */
    kvf__phase phase;
    kvf__turn *voting, *announcing;
    kvf_wire_op *checking_in; /* resumes when all ranks have said that they go on */
    uint64_t gathers;
    bool all_announced, left;
    int odd_rank;           /* the rank that differs; -1: none */
    const char *difference; /* in what */
    uint64_t wire_count;
    bool draining; /* broken: waits for what NCCL has left in the stream */

    pthread_mutex_t comm_lock;
    struct ncclComm *comm;    /* NULL: none, or taken away */
    struct ncclComm *revoked; /* to be aborted once nothing of it runs */
    bool opened;
    pthread_mutex_t abort_lock; /* held during an abort; a thread that holds it takes no other */

    pthread_mutex_t lock;             /* of the fields below, and of a turn's results */
    pthread_cond_t changed, stopping; /* the watchdog waits for the latter only */
    kvf__turn *first, **last;
    kvf__turn refusal; /* stands in for the refusals: */
    size_t refusals;   /* turns before `first` that this rank refuses */
    kvf_status refusal_why;
    uint64_t turns; /* that have ended */
    kvf_error broken;
    bool stopped; /* broken: NCCL has been stopped */
    bool quiet;   /* broken: nothing of NCCL is in the stream any more */
    bool closed, stop;
    kvf_wire *wires;
    kvf_group_counters counters;

    _Atomic uint64_t deadline; /* for the other ranks; 0: waits for none */
    pthread_mutex_t driver;    /* without a thread: held by the call that drives */
    atomic_bool wanted;        /* the driver makes another round */
    bool retired;              /* no call drives any more; under `driver` */
    pthread_t thread, watchdog;
    bool has_thread, has_watchdog;
};

static inline const kvf__hooks *kvf__group_hooks(const kvf_group *group) {
    return &group->engine->base.hooks;
}

static inline bool kvf__turn_is_op(const kvf__turn *turn) {
    return turn->kind >= KVF__TURN_ONBOARD;
}

/* The rank whose host tier has a pair of a part. */
static inline int kvf__op_owner(const kvf_wire_op *op, const kvf__op_part *part, size_t i) {
    return op->share == KVF_SHARE_RANK_0
               ? 0
               : (int)((part->first_position + i) % (uint64_t)op->group->options.ranks);
}

/* agreement.c: pure. */
uint64_t kvf__entry_check(const kvf__entry *entry);
/* Whether the table is complete and belongs to that gather. */
bool kvf__table_is_valid(const kvf__entry *table, int ranks, uint64_t gather);
/* Returns the first rank that refuses or announces something other than most ranks; -1: none.
 * `*all`: every rank announces something. `*left`: a rank leaves while others do not. `*why`: in
 * what the rank differs. */
int kvf__table_find_odd_rank(const kvf__entry *table, int ranks, bool *all, bool *left,
                             const char **why);
/* Returns the first rank whose vote is an error; -1: none. */
int kvf__table_find_failed_vote(const kvf__entry *table, int ranks);
uint16_t kvf__table_least_offer(const kvf__entry *table, int ranks);

/* group.c */
void kvf__group_hold(kvf_group *group);
void kvf__group_release(kvf_group *group);
/* UNSUPPORTED in a build without NCCL. */
kvf_status kvf__group_require_nccl(kvf_error *error);
/* Appends a turn to the queue. BROKEN, CLOSED: nothing is appended and no turn is taken. */
kvf_status kvf__group_enter(kvf_group *group, kvf__turn *turn, kvf_error *error);
/* Takes a turn that this rank refuses; allocates nothing. Errors: as kvf__group_enter. */
kvf_status kvf__group_refuse(kvf_group *group, kvf_status why, kvf_error *error);
/* Waits until the turn has ended, or, with `enqueued_is_enough`, until all of it is enqueued, or
 * until `end` (kvf__now). */
void kvf__group_wait_turn(kvf_group *group, kvf__turn *turn, bool enqueued_is_enough, uint64_t end);
void kvf__group_sleep(void); /* for one poll interval */
void kvf__group_restart_timeout(kvf_group *group);
extern const char kvf__group_timed_out[]; /* `what` of a group that a deadline has broken */
/* Breaks the group, from any thread; only the first call counts. */
void kvf__group_break(kvf_group *group, kvf_error error);
/* Aborts the communicator that breaking has revoked; returns when no abort is under way. */
void kvf__group_abort(kvf_group *group);
/* Waits until all turns of a broken group have ended and nothing of NCCL runs. */
void kvf__group_wait_quiet(kvf_group *group);
bool kvf__group_is_broken(kvf_group *group);
/* In the group's stream. */
kvf_status kvf__group_copy(kvf_group *group, void *to, const void *from, size_t bytes,
                           enum cudaMemcpyKind kind, kvf_error *error);
kvf_status kvf__group_record(kvf_group *group, cudaEvent_t event, kvf_error *error);
/* Takes `*from`, `comm` or `revoked`, out of the group. */
struct ncclComm *kvf__group_take_comm(kvf_group *group, struct ncclComm **from);
/* Around NCCL calls; false, without the lock, when the communicator has been taken away. */
bool kvf__group_lock_comm(kvf_group *group);
void kvf__group_unlock_comm(kvf_group *group);
/* OK when everything NCCL was asked for is in the stream. PENDING when it is not yet, or when the
 * communicator has been taken away. */
kvf_status kvf__group_settle(kvf_group *group, kvf_error *error);

/* progress.c */
/* Drives the group one step; returns whether anything moved. The driver's. */
bool kvf__group_step(kvf_group *group);
/* Without a thread: drives as far as possible without waiting, unless another call drives. */
void kvf__group_drive(kvf_group *group);

/* execute.c; the driver's, except kvf__op_prepare_run and kvf__op_free_run. */
/* At submit: allocates what a run needs. */
kvf_status kvf__op_prepare_run(kvf_wire_op *op, kvf_error *error);
void kvf__op_free_run(kvf_wire_op *op);
/* Fills chunks before the ranks have agreed, which touches only this rank's wire. */
void kvf__op_fill_ahead(kvf_wire_op *op);
/* Enqueues what can be enqueued now. OK when everything is, or when the ranks are due to check in;
 * PENDING when something is left. An error means that the group cannot go on; the operation's own
 * errors go to run.failed. */
kvf_status kvf__op_advance(kvf_wire_op *op, bool *moved, kvf_error *error);
/* Makes the stream wait for everything that the operation writes on this rank, and notes failures
 * so far. */
kvf_status kvf__op_vote(kvf_wire_op *op, kvf_error *error);
/* Whether none of its transfers moves any more. Notes the failed ones. */
bool kvf__op_is_quiet(kvf_wire_op *op, bool *moved);

/* wire.c */
/* The driver's: all ranks have agreed on a wire, in memory of at least that kind. Starts to
 * register it; kvf__wire_registered follows when NCCL has done so. */
kvf_status kvf__wire_register(kvf_wire *wire, uint16_t offer, kvf_error *error);
void kvf__wire_registered(kvf_wire *wire);
/* Takes the wire out of the group and frees its tier, window and memory. */
void kvf__wire_close(kvf_wire *wire);
void kvf__wires_close(kvf_group *group); /* all of the group's */

/* operation.c */
/* Whether this rank reads a part's id on that side. Host ids are read by their owner only: sources
 * of an onboard, destinations of an offload. An offload reads no other ids. */
bool kvf__op_has_id(const kvf_wire_op *op, const kvf__op_part *part, size_t i, bool dst);
/* The owner's, once: its flights land or return. */
void kvf__op_resolve(kvf_wire_op *op, bool landed);
/* Sets the operation's times and stats and counts it; with `lock` held, once it has an outcome. */
void kvf__op_conclude(kvf_wire_op *op);
void kvf__op_release(kvf_wire_op *op);

#endif
