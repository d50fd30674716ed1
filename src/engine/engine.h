/*
 * What every engine and tier is made of, and the seam between them and the engines.
 *
 * Locks, outer first:
 *
 *   order  one submit at a time: lane sequence numbers and the tiers' slots. Held while a submit
 *          registers its blocks and enqueues, so that the order of slots is the order of lanes.
 *   lock   queues and the states of transfers. Never held while bytes move or callbacks run.
 *   (a completion's own lock comes behind both)
 *
 * The seam's preconditions, stated here and not checked again below it: a submitted transfer has a
 * move that was checked and lowered within the engine's limits; its lane, sequence and after[] are
 * set; both tiers are the engine's.
 *
 * Duties of an engine, for every transfer that its submit accepted:
 *
 *  - begin it only once every lane l has retired after[l], and transfers of one lane in order;
 *  - call kvf__transfer_accepted, with `lock` held, once nothing can make submit fail any more;
 *  - call kvf__transfer_over once, with `lock` held, unless it is over already;
 *  - call kvf__transfer_retire once, with `lock` held, behind that, in the order of the lane and
 *    not before every lane l has retired after[l], even when nothing was copied: others wait for
 *    this transfer and, through it, for what it waited for.
 */
#ifndef KVF_ENGINE_H
#define KVF_ENGINE_H

#include <kvferry/engine.h>

#include "base/hooks.h"
#include "base/time.h"
#include "move/layout.h"
#include "move/move.h"
#include "engine/slots.h"

#include <pthread.h>
#include <stdatomic.h>

/* When an engine expects something to be over. */
typedef struct kvf__expectation {
    uint64_t time;   /* 0: it cannot tell */
    uint64_t length; /* nanoseconds from its beginning to that */
} kvf__expectation;

typedef struct kvf__engine_ops {
    const char *name;
    const kvf_box_limits *limits;
    uint64_t longest_nap; /* nanoseconds that a wait may sleep without a look; 0: 1 ms, for engines
                             that tell `changed` */
    bool has_events;      /* transfers may begin behind the caller's events */
    bool has_background;  /* background transfers */
    bool has_integrity;   /* tiers that keep checksums */
    bool needs_plans;     /* background transfers can name the blocks of a copy that failed */
    unsigned strategies;  /* ways of copying that a submit may ask for, 1 to this number */
    size_t job_size;      /* bytes of its own that the engine wants in every transfer, zeroed */
    size_t place_size;    /* bytes of its own that the engine wants for every layout of a tier */
    /* Whether the engine can move this layout's bytes, which are to lie in that memory. Fills in
     * `place`, zeroed bytes of the tier's, which nobody but the engine reads. */
    kvf_status (*accept)(kvf_engine *engine, const kvf_layout *layout, kvf_memory memory,
                         void *place, kvf_error *error);
    /* With `order` held: the lane for a transfer. */
    unsigned (*lane)(kvf_engine *engine, const kvf_transfer *transfer);
    /* With `order` held. On failure nothing was enqueued; the transfer is over then without the
     * engine's doing, and the engine retires it all the same once its turn comes. */
    kvf_status (*submit)(kvf_engine *engine, kvf_transfer *transfer, kvf_error *error);
    /* With `lock` held: something was cancelled. */
    void (*wake)(kvf_engine *engine);
    /* With no lock held: does what can be done without waiting. false: there was nothing. */
    bool (*progress)(kvf_engine *engine);
    /* With `lock` held: when that share of the transfer is expected to have landed or, while
     * something is in its way, when that is expected to be over. NULL: the engine cannot tell. */
    kvf__expectation (*expect)(const kvf_engine *engine, const kvf_transfer *transfer,
                               double share);
    /* With `lock` held: fills in the counters that only the engine can. NULL: there are none. */
    void (*count)(const kvf_engine *engine, kvf_counters *counters);
    /* Nothing is open any more: ends threads. */
    void (*close)(kvf_engine *engine);
    /* Frees the engine itself, its base included. */
    void (*free)(kvf_engine *engine);
} kvf__engine_ops;

/* A callback (NULL: none) that is due. It runs without locks, then `done` gets its owner. */
typedef struct kvf__delivery {
    struct kvf__delivery *next;
    kvf_callback callback;
    void *user;
    const kvf_error *error;
    void (*done)(void *owner);
    void *owner;
} kvf__delivery;

/* Something that was found with `lock` held and is to be logged without it. */
typedef struct kvf__note {
    struct kvf__note *next;
    bool queued; /* under `lock` */
    void (*write)(kvf_engine *engine, void *about);
    void *about;
} kvf__note;

enum { KVF__ENGINE_THREADS = 64 };

struct kvf_engine {
    const kvf__engine_ops *ops;
    kvf_allocator allocator;
    kvf__hooks hooks;
    atomic_size_t holds; /* the creator, tiers, transfers */
    pthread_mutex_t order, lock;
    pthread_cond_t changed; /* a transfer, a layer or a lane got on; with `lock` */
    size_t max_open;
    atomic_size_t open; /* transfers not retired; grows under `order` */
    atomic_bool closed;
    uint64_t submitted[KVF__LANES]; /* under `order` */
    _Atomic uint64_t retired[KVF__LANES];
    kvf_transfer *first;           /* open transfers, under `lock` */
    kvf__delivery *due, **due_end; /* under `lock` */
    kvf__note *notes, **notes_end; /* under `lock` */
    size_t calling;                /* threads that make callbacks or write notes; under `lock` */
    kvf_counters counters;         /* under `lock` */
    pthread_cond_t work; /* there may be something to do for the engine's threads; with `lock` */
    pthread_t threads[KVF__ENGINE_THREADS];
    unsigned thread_count;
    bool stop; /* the threads end; under `lock` */
};

struct kvf_tier {
    kvf_engine *engine;
    kvf_memory memory;
    kvf_layout **layouts;
    size_t layout_count;
    void *places; /* [layout_count], the engine's place_size each */
    size_t blocks;
    kvf__slots slots;     /* under the engine's `order` */
    atomic_size_t open;   /* transfers that may touch the tier: all but the retired, and those that
                           * were over before they began */
    uint64_t *sums;       /* [layout][block], XXH3-64, with integrity; else NULL */
    atomic_uchar *sealed; /* beside it: what is known of the block; see integrity.c */
};

/* INVALID for NULL, RANGE for an id that is none of the tier's. */
KVF__MODULES kvf_status kvf__tier_check_ids(const kvf_tier *tier, const uint64_t *ids, size_t count,
                                            kvf_error *error);

/* Fills in the base of an engine. The holds are 1. */
KVF__MODULES kvf_status kvf__engine_init(kvf_engine *engine, const kvf__engine_ops *ops,
                                         const kvf_allocator *allocator, const kvf__hooks *hooks,
                                         size_t max_open, kvf_error *error);
/* Undoes it. */
KVF__MODULES void kvf__engine_fini(kvf_engine *engine);

/* Starts the engine's threads; each gets the engine. ENGINE: a thread cannot be started; then none
 * runs. */
KVF__MODULES kvf_status kvf__engine_start_threads(kvf_engine *engine, unsigned count,
                                                  void *(*run)(void *engine), kvf_error *error);
/* Has them end, by `stop` and `work`, and waits for that. */
KVF__MODULES void kvf__engine_stop_threads(kvf_engine *engine);

KVF__MODULES void kvf__engine_hold(kvf_engine *engine);
KVF__MODULES void kvf__engine_release(kvf_engine *engine);

/* Progress and due callbacks. false: there was nothing to do. */
bool kvf__engine_step(kvf_engine *engine);

/* Makes the callbacks that are due. false: there were none. */
bool kvf__engine_call_back(kvf_engine *engine);

/* With `lock` held: the callback runs at the next poll, wait or progress. */
void kvf__engine_deliver(kvf_engine *engine, kvf__delivery *delivery);

/* With `lock` held: is written soon, unless it is to be already. Only for engines with a log. */
KVF__MODULES void kvf__engine_note(kvf_engine *engine, kvf__note *note);

/* Without any lock: writes what is to be logged. */
KVF__MODULES void kvf__engine_write_notes(kvf_engine *engine);

/* A submit was refused. */
void kvf__engine_count_refusal(kvf_engine *engine, kvf_status status);

/* Whether every lane has retired what after[] asks for. */
KVF__MODULES bool kvf__engine_reached(const kvf_engine *engine, const uint64_t after[KVF__LANES]);

#endif
