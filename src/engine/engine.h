/*
 * The base of every engine, tiers, and the seam: the functions that an engine provides.
 *
 *     lane 0   submitted[0] = 5 -> | 5 | 4 | 3 | -> retired[0] = 2
 *     lane 1   submitted[1] = 2 ->         | 2 | -> retired[1] = 1     its after[] is {4, 1}
 *
 * A lane is a queue that runs in order. A transfer waits until every lane l has retired after[l]:
 * here 2 on lane 1 waits for 3 and 4 on lane 0.
 *
 * Locks, outermost first:
 *
 *   order  One submit at a time: lane sequence numbers and the tiers' slots. Held while a submit
 *          registers its blocks and enqueues, so that slots and lanes have the same order.
 *   lock   Queues and the states of transfers. Never held while bytes move or callbacks run.
 *   A completion's own lock is the innermost.
 *
 * Preconditions of the seam, which engines do not check again: a submitted transfer has a move that
 * was checked and lowered within the engine's limits; its lane, sequence and after[] are set; both
 * tiers belong to the engine.
 *
 * For every transfer that its submit accepts, an engine must
 *
 *  - begin it only after every lane l has retired after[l], and transfers of one lane in order;
 *  - call kvf__transfer_accepted, with `lock` held, when nothing can make submit fail any more;
 *  - call kvf__transfer_over once, with `lock` held, unless it has ended already;
 *  - call kvf__transfer_retire once after that, with `lock` held, in the order of the lane, and
 *    not before every lane l has retired after[l]. This holds even if nothing was copied: waiting
 *    for this transfer also means waiting for what it waits for.
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

/* When an engine expects something to finish. */
typedef struct kvf__expectation {
    uint64_t time;   /* 0: unknown */
    uint64_t length; /* nanoseconds from its start to that time */
} kvf__expectation;

typedef struct kvf__engine_ops {
    const char *name;
    const kvf_box_limits *limits;
    uint64_t longest_nap; /* nanoseconds that a wait may sleep between checks; 0: 1 ms, for engines
                             that signal `changed` */
    bool has_events;      /* transfers may wait for the caller's events */
    bool has_background;  /* background transfers */
    bool has_integrity;   /* tiers with checksums */
    bool needs_plans;     /* background transfers keep their plans, to name the block that failed */
    unsigned strategies;  /* a submit may request strategies 1 to this number */
    size_t job_size;      /* bytes of the engine's own in every transfer, zeroed */
    size_t place_size;    /* bytes of the engine's own for every layout of a tier, zeroed */
    /* Checks that the engine can move this layout's bytes in that memory. Fills in `place`, the
     * engine's own bytes for this layout. */
    kvf_status (*accept)(kvf_engine *engine, const kvf_layout *layout, kvf_memory memory,
                         void *place, kvf_error *error);
    /* With `order` held. Returns the lane for a transfer. */
    unsigned (*lane)(kvf_engine *engine, const kvf_transfer *transfer);
    /* With `order` held. On failure nothing was enqueued; the caller ends the transfer, but the
     * engine still retires it in its turn. */
    kvf_status (*submit)(kvf_engine *engine, kvf_transfer *transfer, kvf_error *error);
    /* With `lock` held. Something was cancelled. */
    void (*wake)(kvf_engine *engine);
    /* With no lock held. Does what can be done without waiting. false: nothing. */
    bool (*progress)(kvf_engine *engine);
    /* With `lock` held. When that share of the transfer should have landed or, while something
     * holds the transfer up, when that should have ended. NULL: the engine cannot predict. */
    kvf__expectation (*expect)(const kvf_engine *engine, const kvf_transfer *transfer,
                               double share);
    /* With `lock` held. Fills in the counters that only the engine knows. NULL: none. */
    void (*count)(const kvf_engine *engine, kvf_counters *counters);
    /* Ends the engine's threads. No transfer is open. */
    void (*close)(kvf_engine *engine);
    /* Frees the engine, including its base. */
    void (*free)(kvf_engine *engine);
} kvf__engine_ops;

/* A due callback (NULL: none). It runs without locks; then `done` is called with `owner`. */
typedef struct kvf__delivery {
    struct kvf__delivery *next;
    kvf_callback callback;
    void *user;
    const kvf_error *error;
    void (*done)(void *owner);
    void *owner;
} kvf__delivery;

/* A log line that was triggered with `lock` held and is written without it. */
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
    atomic_size_t holds; /* references: the creator, tiers, transfers */
    pthread_mutex_t order, lock;
    pthread_cond_t changed; /* a transfer, a layer or a lane has progressed; with `lock` */
    size_t max_open;
    atomic_size_t open; /* transfers not yet retired; grows under `order` */
    atomic_bool closed;
    uint64_t submitted[KVF__LANES]; /* under `order` */
    _Atomic uint64_t retired[KVF__LANES];
    kvf_transfer *first;           /* open transfers, under `lock` */
    kvf__delivery *due, **due_end; /* under `lock` */
    kvf__note *notes, **notes_end; /* under `lock` */
    size_t calling;                /* threads in callbacks or writing notes; under `lock` */
    kvf_counters counters;         /* under `lock` */
    pthread_cond_t work;           /* the engine's threads may have something to do; with `lock` */
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
    atomic_size_t open;   /* transfers that may touch the tier: not retired, and not ended before
                           * they began */
    uint64_t *sums;       /* [layout][block], XXH3-64; NULL: without integrity */
    atomic_uchar *sealed; /* [layout][block], what is known of the sum; see integrity.c */
};

/* Errors: INVALID for NULL, RANGE for an id that exceeds the tier's blocks. */
KVF__MODULES kvf_status kvf__tier_check_ids(const kvf_tier *tier, const uint64_t *ids, size_t count,
                                            kvf_error *error);

/* Initializes the base of an engine, with one reference. */
KVF__MODULES kvf_status kvf__engine_init(kvf_engine *engine, const kvf__engine_ops *ops,
                                         const kvf_allocator *allocator, const kvf__hooks *hooks,
                                         size_t max_open, kvf_error *error);
/* Undoes kvf__engine_init. */
KVF__MODULES void kvf__engine_fini(kvf_engine *engine);

/* Starts the engine's threads; `run` gets the engine. Errors: ENGINE when a thread cannot be
 * started; then none runs. */
KVF__MODULES kvf_status kvf__engine_start_threads(kvf_engine *engine, unsigned count,
                                                  void *(*run)(void *engine), kvf_error *error);
/* Sets `stop`, signals `work` and joins the threads. */
KVF__MODULES void kvf__engine_stop_threads(kvf_engine *engine);

KVF__MODULES void kvf__engine_hold(kvf_engine *engine);
KVF__MODULES void kvf__engine_release(kvf_engine *engine);

/* Makes progress and calls due callbacks. false: there was nothing to do. */
bool kvf__engine_step(kvf_engine *engine);

/* Calls due callbacks and writes notes. false: there were none. */
bool kvf__engine_call_back(kvf_engine *engine);

/* With `lock` held. The callback runs in the next poll, wait or progress. */
void kvf__engine_deliver(kvf_engine *engine, kvf__delivery *delivery);

/* With `lock` held. Queues a note unless it is queued. Only for engines with a log. */
KVF__MODULES void kvf__engine_note(kvf_engine *engine, kvf__note *note);

/* Without any lock held. Writes the queued notes. */
KVF__MODULES void kvf__engine_write_notes(kvf_engine *engine);

/* Counts a refused submit. */
void kvf__engine_count_refusal(kvf_engine *engine, kvf_status status);

/* Whether every lane l has retired after[l]. */
KVF__MODULES bool kvf__engine_reached(const kvf_engine *engine, const uint64_t after[KVF__LANES]);

#endif
