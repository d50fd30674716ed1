/*
 * A group's inside: the thread that runs it, its wires and its operations.
 *
 *     submit (any thread) --announce--> control <--messages--> channel
 *                                          |
 *                              STARTED, in the same order everywhere
 *                                          v
 *     the group's thread:   run chunk by chunk --> vote --> ENDED --> over
 *
 * The control and the list of operations are under `lock`, which is not held while messages are
 * sent or something is enqueued. What an operation's run consists of is the thread's alone.
 */
#ifndef KVF_CUDA_GROUP_H
#define KVF_CUDA_GROUP_H

#include <kvferry/flight.h>

#include "assignments.h"
#include "control.h"
#include "engine_cuda.h"
#include "nccl_runtime.h"

enum {
    KVF__OP_TRANSFERS = 32, /* of one operation on their way */
};

typedef enum kvf__op_kind { KVF__OP_ONBOARD = 1, KVF__OP_OFFLOAD, KVF__OP_EXCHANGE } kvf__op_kind;

/* One plan or hand of an operation, some of its pairs in a row. */
typedef struct kvf__op_part {
    uint64_t first_position;
    size_t first, count; /* pairs */
    int peer;            /* exchange */
    bool receives;
    kvf_assignments *dst; /* held until it is resolved; NULL: none; the owner's */
    kvf_flight flight;
} kvf__op_part;

/*
 * How far a chunk is:
 *
 *     FILL    what this rank brings goes into the wire, from the host or from slots
 *     SHARE   behind that, NCCL
 *     SETTLE  NCCL has taken it; the wire's blocks are marked as written behind it
 *     DRAIN   out of the wire into slots
 */
typedef enum kvf__op_stage {
    KVF__OP_FILL,
    KVF__OP_SHARE,
    KVF__OP_SETTLE,
    KVF__OP_DRAIN
} kvf__op_stage;

typedef struct kvf__op_run {
    size_t *order;  /* onboard: pairs by owner, each owner's in order */
    size_t *starts; /* [ranks + 1]: where an owner's begin */
    size_t chunk, chunk_count;
    kvf__op_stage stage;
    kvf_transfer *transfers[KVF__OP_TRANSFERS]; /* a ring */
    size_t first, count;
    cudaEvent_t end; /* behind the last use of NCCL; NULL: not made */
    bool shared;     /* `end` is recorded */
    kvf_wire_op_stats stats;
    kvf_error failed; /* the first failure here; the operation is carried on all the same */
} kvf__op_run;

typedef enum kvf__op_state {
    KVF__OP_ANNOUNCED,
    KVF__OP_STARTED,
    KVF__OP_VOTED,
    KVF__OP_DROPPED, /* will not be carried on, but something of it may still move */
    KVF__OP_OVER,
} kvf__op_state;

struct kvf_wire_op {
    kvf_allocator allocator;
    atomic_size_t holds; /* the caller, the group until it is over */
    kvf_group *group;
    kvf_wire *wire;
    kvf_tier *host;
    size_t host_layout;
    kvf__op_kind kind;
    kvf_share share;
    kvf_callback callback;
    void *user;
    size_t pairs, part_count;
    uint64_t *ids; /* [2 * pairs]: sources, then destinations */
    kvf__op_part *parts;
    bool settled; /* flights are resolved; the owner's */

    /* Under the group's lock. */
    kvf_wire_op *next;
    uint64_t number;
    kvf__op_state state;
    kvf_error outcome; /* once it is over */
    uint64_t submit_time, start_time, end_time;
    kvf_wire_op_stats stats;

    kvf__op_run run; /* the thread's, and these */
    bool prepared, dropped;
};

struct kvf_wire {
    kvf_group *group;
    kvf_tier *device; /* the caller's */
    size_t device_layout;
    kvf_tier *tier; /* the wire itself */
    char *memory;
    size_t bytes;
    size_t block_bytes;
    size_t stripe; /* blocks of one rank's part of a collective */
    size_t chunk;  /* blocks of all ranks' */
    size_t chunks;
    uint64_t *from, *to; /* [chunk]; the thread's */
    size_t open;         /* operations; under the group's lock */
};

typedef enum kvf__group_state {
    KVF__GROUP_MEETING, /* not all ranks are there */
    KVF__GROUP_OPENING, /* the communicator is being made */
    KVF__GROUP_OPEN,
    KVF__GROUP_BROKEN,
} kvf__group_state;

struct kvf_group {
    kvf_allocator allocator;
    atomic_size_t holds; /* the creator, wires, operations */
    kvf_group_options options;
    kvf__cuda *engine;
    kvf_channel channel;
    pthread_t thread;
    cudaStream_t stream;    /* of NCCL; the thread's */
    cudaEvent_t shared;     /* behind the newest use of NCCL; the thread's */
    struct ncclComm *comm;  /* the thread's, as what follows; NULL: none, or not known yet: */
    struct ncclComm **made; /* where NCCL puts it, maybe late; NULL: not begun */
    bool taken;             /* from there */
    uint64_t next_check, open_by;
    unsigned char id[KVF__NCCL_ID];

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t changed;
    kvf__control *control;
    kvf__group_state state;
    kvf_error broken;
    kvf_wire_op *first, **last; /* in the order of their sequence, those not started behind */
    bool stop;                  /* the thread is to end as soon as it can */
    bool quiet;                 /* all have left */
    kvf_group_counters counters;

    pthread_t guard; /* see guard.c */
    bool has_guard;  /* the creator's */
    bool guard_stop, rescued;
    uint64_t entered; /* the engine, when; 0: not in it. Else `comm` and `rescued` are the guard's,
                         with the lock. */

    /* For a group of one, in place of a channel. */
    pthread_cond_t woken;
    bool wake;
};

/* group.c; with `lock` held. This rank cannot go on. */
void kvf__group_doubt(kvf_group *group, const kvf_error *error);
/* What the engine was given. */
static inline const kvf__hooks *kvf__group_hooks(const kvf_group *group) {
    return &group->engine->base.hooks;
}

void kvf__group_hold(kvf_group *group);
void kvf__group_release(kvf_group *group);
/* Without it: the thread has something to look at. */
void kvf__group_wake(kvf_group *group);
/* PEER, when the group is broken. */
kvf_status kvf__group_check_open(kvf_group *group, kvf_error *error);

/* reason.c: the same text, for ever; that of the status when there are too many. Any thread. */
const char *kvf__group_reason(const char *reason, kvf_status status);

/* guard.c. Around all that the thread does with the engine; without `lock`. */
void kvf__guard_enter(kvf_group *group);
void kvf__guard_leave(kvf_group *group);
/* The thread's, behind leave: an error when the communicator is gone. */
kvf_status kvf__guard_check(const kvf_group *group, kvf_error *error);
kvf_status kvf__guard_start(kvf_group *group, kvf_error *error);
void kvf__guard_stop(kvf_group *group);

/* pump.c: the thread. */
void *kvf__group_run(void *context);

/* run.c; the thread's, without `lock`. Readies a started operation. */
kvf_status kvf__op_prepare(kvf_wire_op *op, kvf_error *error);
/* Enqueues what can be enqueued now: OK when that was all, PENDING when some is left, `*moved`
 * whether anything was done. Errors are such that the group cannot go on; the operation's own are
 * in run.failed. */
kvf_status kvf__op_advance(kvf_wire_op *op, bool *moved, kvf_error *error);
/* Whether nothing of it moves any more. Notes transfers that have failed. */
bool kvf__op_is_quiet(kvf_wire_op *op, bool *moved);
/* Behind an abort: what was begun and never settled is waited for, too. */
void kvf__op_drop(kvf_wire_op *op);
/* Frees what prepare has made. */
void kvf__op_finish(kvf_wire_op *op);

/* op.c; with `lock` held. `error` NULL for well. */
void kvf__op_over(kvf_wire_op *op, const kvf_error *error);
void kvf__op_release(kvf_wire_op *op);

#endif
