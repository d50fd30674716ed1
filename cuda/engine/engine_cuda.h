/*
 * The CUDA engine's inside.
 *
 * A lane is a stream. Every sequence number of a lane has an event, recorded behind the transfer's
 * copies (or, on a marks' lane, behind the caller's event), so that waiting for "lane l up to s" is
 * waiting for one event:
 *
 *     lanes    0..7 to the device | 8..15 from it | 16, 17 on it
 *              18..21, 22..25, 26..27 the same in the background | 28..31 marks
 *     ring     event of sequence s at s % RING; s - retired < RING
 *
 * A staged transfer has a second stream, its lane's side, on which kernels pack or unpack; at its
 * end the lane waits for the side.
 *
 * Submits and background work hold `order`, so that streams get their work in the order of slots.
 * Progress holds `lock` while it asks events. Locks as in engine.h.
 */
#ifndef KVF_ENGINE_CUDA_H
#define KVF_ENGINE_CUDA_H

#include "copy/copier.h"
#include "engine/engine.h"
#include "cost/costs.h"
#include "runtime/runtime.h"
#include "engine/transfer.h"

enum {
    KVF__CUDA_ORDERED = 0, /* + 8 * direction */
    KVF__CUDA_MOST_LANES = 8,
    KVF__CUDA_BACKGROUND = 18, /* + 4 * direction */
    KVF__CUDA_MARKS = 28,
    KVF__CUDA_MARK_LANES = 4,
    KVF__CUDA_LANE_EVENTS = 256,
    KVF__CUDA_LENGTHS = 8,   /* classes of how long transfers are expected to take */
    KVF__CUDA_WINDOWS = 2,   /* of background work in its streams at a time, each way */
    KVF__CUDA_PATIENCE = 64, /* failures in a row to ask for progress before the engine gives up */
};

typedef struct kvf__cuda_lane {
    cudaStream_t stream;    /* NULL: no such lane yet; under `order` */
    cudaStream_t side;      /* NULL: not needed yet; under `order` */
    cudaEvent_t fork, join; /* between the two */
    cudaEvent_t events[KVF__CUDA_LANE_EVENTS];
    kvf_transfer *head, **tail; /* not retired; under `lock` */
    size_t count;
    uint64_t since;          /* when the last to retire was over, or about; under `lock` */
    uint64_t enqueued;       /* background: up to here nothing is left to enqueue; under `order` */
    _Atomic uint64_t marked; /* marks: the newest whose event is recorded */
} kvf__cuda_lane;

/* A piece of background work in its stream; under `order`. */
typedef struct kvf__cuda_window {
    cudaEvent_t event; /* NULL: not made yet */
    bool open;
} kvf__cuda_window;

/* How well a strategy's predictions were met: relative errors, in bins of 2 %, the last for more.
 */
typedef struct kvf__cuda_score {
    uint64_t transfers, bytes, boxes, fallbacks, compared;
    uint64_t errors[101];
} kvf__cuda_score;

/* What the last two transfers of some length took, over what was predicted; 0: none yet. The lower
 * counts: now and then something is in the way that was not foreseen. */
typedef struct kvf__cuda_pace {
    double last, before;
} kvf__cuda_pace;

/* Ranges for an NVTX tool; see nvtx.c. */
typedef struct kvf__cuda_nvtx {
    void *domain, *names[KVF__RANGES];
} kvf__cuda_nvtx;

typedef struct kvf__cuda {
    kvf_engine base;
    kvf__cuda_nvtx nvtx;
    kvf_cuda_options options;
    kvf__cuda_driver driver;
    kvf__cuda_copy_context copying; /* under `order` */
    kvf__cuda_lane lanes[KVF__LANES];
    kvf_cuda_costs *costs; /* its own */
    atomic_bool broken;    /* the context is beyond use */
    kvf_error broken_by;   /* set before `broken` is; under `lock` */
    unsigned failures;     /* in a row, of asking for progress; under `lock` */
    kvf_error failing;     /* the first of them; under `lock` */
    kvf__note broken_note, failing_note;
    kvf__note gave_way[KVF_CUDA_STRATEGIES]; /* said once; AUTO: no memory to pack in */
    cudaEvent_t *spare; /* events of layers and gates, not in use; under `lock` */
    size_t spare_count, spare_capacity;
    size_t event_count; /* of them, in all */

    /* Background work; under `order`. */
    uint64_t submitted; /* transfers so far */
    kvf__cuda_window windows[KVF_CUDA_DIRECTIONS][KVF__CUDA_WINDOWS];
    uint64_t next_window[KVF_CUDA_DIRECTIONS]; /* when the cap allows it */
    atomic_size_t waiting;                     /* transfers that are not enqueued whole */

    /* Its thread. */
    pthread_t thread;
    bool has_thread, stop; /* under `lock` */
    pthread_cond_t work;   /* there may be something to do; with `lock` */

    kvf__cuda_score scores[KVF_CUDA_STRATEGIES]; /* AUTO: all; under `lock` */
    kvf__cuda_pace pace[KVF_CUDA_DIRECTIONS][KVF_CUDA_STRATEGIES][KVF__CUDA_LENGTHS]; /* too */
} kvf__cuda;

typedef enum kvf__cuda_job_state {
    KVF__CUDA_WAITING,   /* in the background: nothing is enqueued yet */
    KVF__CUDA_ENQUEUING, /* whoever holds `order` has it */
    KVF__CUDA_ENQUEUED,
    KVF__CUDA_REFUSED, /* submit failed: nothing was enqueued, but it keeps its place */
} kvf__cuda_job_state;

/* A transfer's state here; under `lock`, but that whoever holds `order` alone has it until it is
 * enqueued. */
typedef struct kvf__cuda_job {
    kvf_transfer *next; /* in its lane */
    kvf__cuda_job_state state;
    bool recorded;       /* its event in the ring is its own */
    kvf_error failed;    /* behind the first copy */
    cudaEvent_t *layers; /* by layer; NULL unless by layer */
    uint32_t layer_count, layers_landed;
    _Atomic uint32_t layers_recorded;
    cudaEvent_t gate; /* background: fires once the caller's events have; NULL: none */
    uint64_t number;  /* in the order of submitting */
    kvf__cuda_copier copier;
    kvf_cuda_explanation explained;
    bool alone;       /* nothing else was on its way when it was submitted */
    uint64_t seen;    /* when it was last seen not to be over; under `lock` */
    uint64_t started; /* when nothing was in its way any more, or about; 0: not yet, or unknown */
} kvf__cuda_job;

/* What the engine keeps of a tier's layout. */
typedef struct kvf__cuda_reach {
    bool reachable; /* by kernels and batches, all of it, at one distance: */
    ptrdiff_t shift;
} kvf__cuda_reach;

static inline kvf__cuda_job *kvf__cuda_job_of(kvf_transfer *t) {
    return (kvf__cuda_job *)t->job;
}

static inline const kvf__cuda_job *kvf__cuda_job_in(const kvf_transfer *t) {
    return (const kvf__cuda_job *)t->job;
}

static inline bool kvf__cuda_is_background(unsigned lane) {
    return lane >= KVF__CUDA_BACKGROUND && lane < KVF__CUDA_MARKS;
}

/* Of a background lane. */
static inline kvf_cuda_direction kvf__cuda_direction_of(unsigned lane) {
    unsigned d = (lane - KVF__CUDA_BACKGROUND) / KVF_PRIORITIES;
    return d < KVF_CUDA_ON_DEVICE ? (kvf_cuda_direction)d : KVF_CUDA_ON_DEVICE;
}

/* engine_cuda.c */
KVF__MODULES extern const kvf__engine_ops kvf__cuda_ops;

/* The engine as a CUDA engine; NULL for another kind. */
static inline kvf__cuda *kvf__cuda_of(kvf_engine *engine) {
    return engine->ops == &kvf__cuda_ops ? (kvf__cuda *)engine : NULL;
}

/* ranges.c: whether a layout's bytes are all in memory of that kind that the engine reaches. */
kvf_status kvf__cuda_check_layout(const kvf__cuda *engine, const kvf_layout *layout,
                                  kvf_memory memory, kvf__cuda_reach *reach, kvf_error *error);

/* lanes.c; with `order` held, on the engine's device. */
kvf_status kvf__cuda_open_lane(kvf__cuda *engine, unsigned lane, kvf_error *error);
kvf_status kvf__cuda_open_side(kvf__cuda *engine, unsigned lane, kvf_error *error);
void kvf__cuda_close_lanes(kvf__cuda *engine);

/* Takes an event without timing from the spare ones, or makes one, with `lock` held; gives it back
 * to them. */
kvf_status kvf__cuda_demand_event(kvf__cuda *engine, cudaEvent_t *out, kvf_error *error);
void kvf__cuda_return_event(kvf__cuda *engine, cudaEvent_t event);

/* The lane of marks that has least to wait for, opened; whether any has something to wait for. */
kvf_status kvf__cuda_mark_lane(kvf__cuda *engine, unsigned *lane, kvf_error *error);
bool kvf__cuda_has_marks(const kvf__cuda *engine);

/* UNSUPPORTED for an event or stream that a capture has. */
kvf_status kvf__cuda_check_event(cudaEvent_t event, kvf_error *error);
kvf_status kvf__cuda_check_stream(cudaStream_t stream, kvf_error *error);

/* nvtx.c: ranges for a tool; false, and nothing has changed, when none is attached. */
bool kvf__cuda_attach_nvtx(kvf__cuda_nvtx *nvtx, kvf_ranges *ranges);

/* state.c: beyond use. With `lock` held: whether an error of the runtime has ended the context;
 * whether asking for progress has failed for good. */
bool kvf__cuda_note_broken(kvf__cuda *engine, const kvf_error *error);
bool kvf__cuda_note_failure(kvf__cuda *engine, const kvf_error *error);
/* With `order` held: says once that a strategy that was asked for gives way, or, for AUTO, that
 * there was no memory to pack in. */
void kvf__cuda_note_gave_way(kvf__cuda *engine, kvf_cuda_strategy strategy);
/* With `lock` held: a runtime that no longer tells what has finished is beyond use. What the lanes
 * hold is let through first, as far as that can be done. */
void kvf__cuda_give_up(kvf__cuda *engine, const kvf_error *error);
/* The error of an engine that is beyond use, or KVF_OK. Takes `lock`. */
kvf_status kvf__cuda_check_broken(kvf__cuda *engine, kvf_error *error);
/* How the transfer will end, if nothing came before. */
void kvf__cuda_fail_job(kvf__cuda_job *job, const kvf_error *error);

/* prepare.c; with `order` held, on the engine's device. Takes an event for each layer that can be
 * waited for alone. */
kvf_status kvf__cuda_demand_layers(kvf__cuda *engine, kvf_transfer *transfer, kvf_error *error);
/* Chooses a strategy that can do the transfer's move, and prepares its copier. */
kvf_status kvf__cuda_ready_copier(kvf__cuda *engine, kvf_transfer *transfer, kvf_error *error);

/* enqueue.c; with `order` held, on the engine's device.
 *
 * Makes a stream wait for everything in after[] that has not retired; enqueues what of it is
 * background work first, whole. Changes after[]. */
kvf_status kvf__cuda_wait_after(kvf__cuda *engine, uint64_t after[KVF__LANES], cudaStream_t stream,
                                kvf_error *error);
/* Prepares the copies and makes the transfer's stream wait for what the transfer waits for.
 * Enqueues nothing yet that touches memory. */
kvf_status kvf__cuda_begin(kvf__cuda *engine, kvf_transfer *transfer, kvf_error *error);
/* Enqueues about `budget` bytes of its copies, and each layer's event after the layer. On failure
 * part of it may be enqueued. `*done`: nothing is left. */
kvf_status kvf__cuda_copy_some(kvf__cuda *engine, kvf_transfer *transfer, size_t budget, bool *done,
                               kvf_error *error);
/* After the last copy, whether or not all succeeded: joins the streams and records the transfer's
 * event. */
void kvf__cuda_record_end(kvf__cuda *engine, kvf_transfer *transfer);

/* The first transfer of a background lane that is not enqueued whole; NULL without one. Passes
 * those that were cancelled before they began. */
kvf_transfer *kvf__cuda_front(kvf__cuda *engine, unsigned lane);
/* Begins it unless it has begun. false: it has ended instead. */
bool kvf__cuda_begin_front(kvf__cuda *engine, kvf_transfer *transfer);
/* Enqueues about `budget` bytes of it. false: it is enqueued whole or has ended, and others may
 * free it. */
bool kvf__cuda_copy_front(kvf__cuda *engine, kvf_transfer *transfer, size_t budget);
/* Ends it with the error; the rest of it is not enqueued. */
void kvf__cuda_end_here(kvf__cuda *engine, kvf_transfer *transfer, const kvf_error *error);

/* background.c; with `order` held, on the engine's device. Makes a gate of a background transfer's
 * events: an event that fires once they all have. */
kvf_status kvf__cuda_gate(kvf__cuda *engine, kvf_transfer *transfer, kvf_error *error);
/* Enqueues what windows, caps and priorities allow. false: nothing. */
bool kvf__cuda_background(kvf__cuda *engine);
kvf_status kvf__cuda_start_thread(kvf__cuda *engine, kvf_error *error);
void kvf__cuda_stop_thread(kvf__cuda *engine);

/* progress.c: the seam's. */
bool kvf__cuda_progress(kvf_engine *engine);

/* expect.c; with `lock` held. */
/* Notes when the first transfer of a lane could start. */
void kvf__cuda_note_start(kvf__cuda *engine, kvf_transfer *transfer);
/* When the lane's first transfer, which is over now, ended. */
uint64_t kvf__cuda_end_of(const kvf__cuda *engine, const kvf_transfer *transfer);
/* Updates the pace by it. */
void kvf__cuda_learn_pace(kvf__cuda *engine, const kvf_transfer *transfer);
/* The seam's. */
kvf__expectation kvf__cuda_expect(const kvf_engine *engine, const kvf_transfer *transfer,
                                  double share);

/* choose.c: which strategy, what is expected of it, and how that was met. */
void kvf__cuda_choose(kvf__cuda *engine, kvf_transfer *transfer);
void kvf__cuda_tell(kvf__cuda *engine, kvf_transfer *transfer);
void kvf__cuda_count(const kvf_engine *engine, kvf_counters *counters);
/* Whether the device and driver offer a strategy at all. */
bool kvf__cuda_offers(const kvf__cuda *engine, kvf_cuda_strategy strategy);

#endif
