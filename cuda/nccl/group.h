/*
 * A group's inside. The rule by which all ranks make the same NCCL calls in the same order: what a
 * rank calls next follows from the order of its turns and from the tables it has read, which are
 * the same on all ranks; never from time.
 *
 *     1. One gather at a time; the next one begins when the host has read the last.
 *     2. With nothing under way, the first turn of the queue is announced as soon as there is one.
 *     3. What all ranks announce alike is run: all its chunks, and after them a gather in which
 *        all vote. It announces the next turn, too, if there is one. Where not every chunk is a
 *        collective, an empty gather after some of them says that all go on.
 *     4. If all ranks have announced the next turn with their votes, and alike, it is run at once;
 *        otherwise by 2.
 *
 *     submit --> queue [ voting | announcing | ... ] --> gather --> chunks --> gather --> over
 *
 * `lock` guards the queue, what is over, and the counters. Everything else of a group that is open
 * belongs to whoever drives it: the group's thread, or the caller's call that holds `driver`. NCCL
 * is called with `comm_lock` held, since the guard takes the communicator away from a driver that
 * CUDA holds up. Aborting it holds nothing but `abort_lock`.
 */
#ifndef KVF_NCCL_GROUP_H
#define KVF_NCCL_GROUP_H

#include <kvferry/flight.h>

#include "track/assignments.h"
#include "engine/engine_cuda.h"
#include "nccl/nccl_runtime.h"

enum {
    KVF__OP_TRANSFERS = 32, /* of one operation on their way */
};

typedef enum kvf__turn_kind {
    KVF__TURN_REFUSAL = 1, /* this rank has nothing to submit in this turn */
    KVF__TURN_HELLO,
    KVF__TURN_LEAVE,
    KVF__TURN_WIRE,
    KVF__TURN_UNWIRE,
    KVF__TURN_ONBOARD, /* operations from here on */
    KVF__TURN_OFFLOAD,
    KVF__TURN_HAND_OVER,
} kvf__turn_kind;

/* What a rank says in a gather, 64 bytes, little-endian. A gather that fails leaves garbage or an
 * older table: so each entry has the gather's number, and a check of all before it. */
typedef struct kvf__entry {
    uint64_t turn; /* the number of what is announced; 0: nothing */
    uint16_t kind, offer;
    uint32_t refused;       /* a status: this rank cannot do it */
    uint64_t where, digest; /* of the wire and layout; of the plan */
    uint64_t voted;         /* the number of what is voted on; 0: nothing */
    uint32_t vote, version;
    uint64_t gather;
    uint64_t check;
} kvf__entry;

typedef struct kvf__turn {
    struct kvf__turn *next;
    kvf__turn_kind kind;
    uint16_t offer; /* a wire's: the memory that this rank has */
    kvf_status refused;
    uint64_t where, digest;
    uint64_t number;
    size_t refusals; /* turns after it that this rank refuses, the last one for: */
    kvf_status why;

    /* Under the group's lock. */
    bool over;
    bool enqueued; /* all that it enqueues stands in streams */
    kvf_error outcome;
} kvf__turn;

/* One plan or hand-over of an operation, some of its pairs in a row. */
typedef struct kvf__op_part {
    uint64_t first_position;
    size_t first, count;  /* pairs */
    int from, to;         /* hand-over */
    kvf_assignments *dst; /* held until it is resolved; NULL: none; the owner's */
    kvf_flight flight;
} kvf__op_part;

/* How far the chunks are: filled >= shared >= drained. */
typedef struct kvf__op_run {
    size_t *order;  /* onboard, offload: pairs by owner, each owner's in order */
    size_t *starts; /* [ranks + 1]: where an owner's begin */
    size_t chunk_count, filled, shared, drained;
    size_t heard;                               /* up to here all ranks have said that they go on */
    bool calling;                               /* the call of chunk `shared` has not settled */
    size_t place;                               /* on the wire, of chunk 0 */
    kvf_transfer *transfers[KVF__OP_TRANSFERS]; /* a ring */
    size_t first, count;
    kvf_wire_op_stats stats;
    kvf_error failed; /* the first failure here; the operation is carried on all the same */
} kvf__op_run;

struct kvf_wire_op {
    kvf__turn turn;
    kvf_allocator allocator;
    atomic_size_t holds; /* the caller, the group until it is over */
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
    bool settled; /* flights are resolved; the owner's */

    /* Under the group's lock. */
    uint64_t submit_time, start_time, end_time;
    kvf_wire_op_stats stats;

    kvf__op_run run; /* the driver's */
};

struct kvf_wire {
    kvf__turn turn; /* of creating and destroying it */
    kvf_group *group;
    kvf_wire *next; /* of the group; under its lock */
    uint64_t number;
    kvf_tier *device; /* the caller's */
    size_t device_layout;
    kvf_tier *tier; /* the wire itself */
    char *memory;
    void *window; /* written by NCCL; NULL: none */
    bool of_nccl; /* the memory */
    bool left;    /* destroyed, but not by all ranks: the group's */
    kvf_wire_explanation explained;
    size_t bytes;
    size_t block_bytes;
    size_t stripe; /* blocks of one rank's part of a collective */
    size_t chunk;  /* blocks of all ranks' */
    size_t chunks;
    size_t place;        /* of the next chunk that all have agreed on, the same on all ranks */
    uint64_t *from, *to; /* [chunk]; the driver's */
};

typedef enum kvf__phase {
    KVF__IDLE,
    KVF__CALLING,     /* NCCL has begun the gather */
    KVF__GATHERING,   /* the gather is in the stream */
    KVF__CONCLUDING,  /* the table is read; what it ends has to come to rest */
    KVF__REGISTERING, /* NCCL makes a wire's window */
    KVF__RUNNING,
} kvf__phase;

struct kvf_group {
    kvf_allocator allocator;
    atomic_size_t holds; /* the creator, wires, operations */
    kvf_group_options options;
    kvf__cuda *engine;
    int nccl_version;
    cudaStream_t stream; /* of NCCL */
    bool own_stream;
    cudaEvent_t said, shared; /* after the newest gather, after the newest chunk */
    kvf__entry *mine, *table; /* pinned: one, and [ranks] */
    char *entries;            /* device: [ranks] */

    /* The driver's. */
    kvf__phase phase;
    kvf__turn *voting, *announcing;
    kvf_wire_op *pausing; /* runs, and goes on when all have said so */
    uint64_t gathers;
    bool all_announced, left;
    int bad;         /* the rank that differs; -1: none */
    const char *why; /* in what */
    uint64_t wire_count;
    bool resting; /* broken: what NCCL had in the stream is waited for */

    pthread_mutex_t comm_lock;
    struct ncclComm *comm;    /* NULL: none, or given up: */
    struct ncclComm *revoked; /* to be aborted when nothing of it runs any more */
    bool opened;
    pthread_mutex_t abort_lock; /* held during an abort, by nobody who holds another */

    pthread_mutex_t lock;             /* of what follows, and of a turn's end */
    pthread_cond_t changed, stopping; /* the guard waits for the latter only */
    kvf__turn *first, **last;
    kvf__turn refusal; /* stands for those: */
    size_t refusals;   /* before `first` */
    kvf_status refusal_why;
    uint64_t turns; /* that are over */
    kvf_error broken;
    bool stopped, rested; /* broken: NCCL has been told; nothing of it is in the stream any more */
    bool closed, stop;
    kvf_wire *wires;
    kvf_group_counters counters;

    _Atomic uint64_t deadline; /* of what is waited for; 0: nothing */
    pthread_mutex_t driver;    /* without a thread: who drives */
    atomic_bool wanted;        /* drives once more */
    bool ended;                /* nobody does any more; under `driver` */
    pthread_t thread, guard;
    bool has_thread, has_guard;
};

static inline const kvf__hooks *kvf__group_hooks(const kvf_group *group) {
    return &group->engine->base.hooks;
}

static inline bool kvf__turn_is_op(const kvf__turn *turn) {
    return turn->kind >= KVF__TURN_ONBOARD;
}

/* agreement.c: pure. */
uint64_t kvf__entry_check(const kvf__entry *entry);
/* Whether a table is the one of that gather. */
bool kvf__table_is_valid(const kvf__entry *table, int ranks, uint64_t gather);
/* The first rank that announces something else than most do, or refuses; -1: none. `*all`: every
 * rank announces something; `*left`: one leaves; `*why`: what differs. */
int kvf__table_judge(const kvf__entry *table, int ranks, bool *all, bool *left, const char **why);
/* The first rank whose vote is an error; -1: none. */
int kvf__table_vote(const kvf__entry *table, int ranks);
uint16_t kvf__table_least_offer(const kvf__entry *table, int ranks);

/* group.c */
void kvf__group_hold(kvf_group *group);
void kvf__group_release(kvf_group *group);
/* Puts a turn into the queue. BROKEN or CLOSED: it is not there, and no turn is taken. */
kvf_status kvf__group_enter(kvf_group *group, kvf__turn *turn, kvf_error *error);
/* Takes a turn that this rank refuses; needs no memory. As enter. */
kvf_status kvf__group_refuse(kvf_group *group, kvf_status why, kvf_error *error);
/* Until the turn is over, or, without a thread, all of it is enqueued; or until that time. */
void kvf__group_wait_turn(kvf_group *group, kvf__turn *turn, bool enqueued_is_enough, uint64_t end);
void kvf__group_nap(void); /* between looks at what is under way */
/* Gives what is waited for the whole timeout again. */
void kvf__group_wait_anew(kvf_group *group);
extern const char kvf__group_late[]; /* what a group says that is broken by the deadline */
/* Ends the group, from any thread, once. */
void kvf__group_give_up(kvf_group *group, kvf_error error);
/* Frees what giving up has left of the communicator; returns when no abort is under way. */
void kvf__group_abort(kvf_group *group);
/* Of a broken group: returns when all turns are over and nothing of NCCL's runs any more. */
void kvf__group_wait_rest(kvf_group *group);
bool kvf__group_is_broken(kvf_group *group);
/* In the group's stream. */
kvf_status kvf__group_copy(kvf_group *group, void *to, const void *from, size_t bytes,
                           enum cudaMemcpyKind kind, kvf_error *error);
kvf_status kvf__group_record(kvf_group *group, cudaEvent_t event, kvf_error *error);
/* Takes the communicator away, or the one that is revoked. */
struct ncclComm *kvf__group_take_comm(kvf_group *group, struct ncclComm **from);
/* Around NCCL calls; false when the communicator is gone. */
bool kvf__group_lock_comm(kvf_group *group);
void kvf__group_unlock_comm(kvf_group *group);
/* OK when what NCCL has begun stands in the stream. PENDING: not yet, or the communicator is gone.
 */
kvf_status kvf__group_settle(kvf_group *group, kvf_error *error);

/* progress.c: drives the group one step; whether anything moved. The driver's. */
bool kvf__group_step(kvf_group *group);
/* Without a thread: drives as far as can be done now, unless another call does. */
void kvf__group_drive(kvf_group *group);

/* execute.c; the driver's. */
/* At submit: what a run needs. Freed by finish. */
kvf_status kvf__op_prepare(kvf_wire_op *op, kvf_error *error);
void kvf__op_finish(kvf_wire_op *op);
/* Fills chunks before the ranks have agreed: the wire is this rank's own. */
void kvf__op_fill_ahead(kvf_wire_op *op);
/* Enqueues what can be enqueued now: OK when that was all, or when it is time for all ranks to say
 * that they go on; PENDING when some is left. Errors are such that the group cannot go on; the
 * operation's own are in run.failed. */
kvf_status kvf__op_advance(kvf_wire_op *op, bool *moved, kvf_error *error);
/* Makes the stream wait for all that the operation writes here, and tells how that has gone so far.
 */
kvf_status kvf__op_vote(kvf_wire_op *op, kvf_error *error);
/* Whether none of its transfers moves any more. Notes those that have failed. */
bool kvf__op_is_quiet(kvf_wire_op *op, bool *moved);

/* wire.c; the driver's. */
/* All ranks make it, of memory of that kind at least: begins to. */
kvf_status kvf__wire_begin(kvf_wire *wire, uint16_t offer, kvf_error *error);
void kvf__wire_made(kvf_wire *wire);
/* Gives back its memory. */
void kvf__wire_end(kvf_wire *wire);
void kvf__wires_end(kvf_group *group); /* all */

/* operation.c */
void kvf__op_over(kvf_wire_op *op); /* with `lock` held, after its outcome */
void kvf__op_release(kvf_wire_op *op);

#endif
