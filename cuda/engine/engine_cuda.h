/*
 * The internals of the CUDA engine.
 *
 * A lane is a stream. Each sequence number of a lane has an event, recorded after the transfer's
 * copies (or, on the lanes of marks, after the caller's event), so that waiting for "lane l up to
 * s" means waiting for one event:
 *
 *     lanes     0..7 to the device | 8..15 from it | 16, 17 on it
 *               18..21, 22..25, 26..27 the same in the background | 28..31 marks
 *     events    of sequence s: events[s % LANE_EVENTS], where s - retired < LANE_EVENTS
 *
 * A staged transfer uses a second stream, its lane's side, in which kernels pack or unpack. At the
 * transfer's end the lane's stream waits for the side.
 *
 * Submits and background work hold `order`, so that streams get their work in the order of slots.
 * Progress holds `lock` while it queries events. For the locks see engine.h.
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
    KVF__CUDA_LENGTHS = 8,   /* classes of expected times of transfers */
    KVF__CUDA_WINDOWS = 2,   /* of background work in flight, each way */
    KVF__CUDA_PATIENCE = 64, /* failed queries in a row after which the engine gives up */
};

typedef struct kvf__cuda_lane {
    cudaStream_t stream;    /* NULL until the lane's first use; under `order` */
    cudaStream_t side;      /* NULL until its first use; under `order` */
    cudaEvent_t fork, join; /* between stream and side */
    cudaEvent_t events[KVF__CUDA_LANE_EVENTS];
    kvf_transfer *head, **tail; /* not retired; under `lock` */
    size_t count;
    uint64_t since;          /* about when the last retired transfer ended; under `lock` */
    uint64_t enqueued;       /* background: all up to this one is enqueued; under `order` */
    _Atomic uint64_t marked; /* marks: the newest whose event is recorded */
} kvf__cuda_lane;

/* A part of background work that is enqueued; under `order`. */
typedef struct kvf__cuda_window {
    cudaEvent_t event; /* NULL until the first use */
    bool open;
} kvf__cuda_window;

/* The relative errors of a strategy's predictions, in bins of 2 %; the last takes the rest. */
typedef struct kvf__cuda_score {
    uint64_t transfers, bytes, boxes, fallbacks, compared;
    uint64_t errors[101];
} kvf__cuda_score;

/* Measured over predicted time, of the last two transfers of one class; 0: none yet. Expectations
 * use the lower, since a transfer may be delayed by something unforeseen. */
typedef struct kvf__cuda_pace {
    double last, before;
} kvf__cuda_pace;

/* Ranges for an NVTX tool. */
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
    kvf_cuda_costs *costs; /* a copy */
    atomic_bool broken;    /* the engine is unusable */
    kvf_error broken_by;   /* set before `broken` is; under `lock` */
    unsigned failures;     /* failed queries in a row; under `lock` */
    kvf_error failing;     /* the first of them; under `lock` */
    kvf__note broken_note, failing_note;
    kvf__note gave_way[KVF_CUDA_STRATEGIES]; /* logged once; AUTO: no memory for packing */
    cudaEvent_t *spare;                      /* unused events for layers and gates; under `lock` */
    size_t spare_count, spare_capacity;
    size_t event_count; /* of all events for layers and gates */

    /* Background work; under `order`. */
    kvf__cuda_window windows[KVF_CUDA_DIRECTIONS][KVF__CUDA_WINDOWS];
    uint64_t next_window[KVF_CUDA_DIRECTIONS]; /* the time from which the cap allows it */
    atomic_size_t waiting;                     /* transfers that are not enqueued whole */

    /* Under `lock`. */
    kvf__cuda_score scores[KVF_CUDA_STRATEGIES]; /* AUTO: all strategies */
    kvf__cuda_pace pace[KVF_CUDA_DIRECTIONS][KVF_CUDA_STRATEGIES][KVF__CUDA_LENGTHS];
} kvf__cuda;

typedef enum kvf__cuda_job_state {
    KVF__CUDA_WAITING,   /* background: nothing is enqueued yet */
    KVF__CUDA_ENQUEUING, /* in the hands of the holder of `order` */
    KVF__CUDA_ENQUEUED,
    KVF__CUDA_REFUSED, /* submit failed: nothing is enqueued, but it keeps its place in the lane */
} kvf__cuda_job_state;

/* The engine's part of a transfer; under `lock`, except that the holder of `order` owns it until it
 * is enqueued. */
typedef struct kvf__cuda_job {
    kvf_transfer *next; /* in its lane */
    kvf__cuda_job_state state;
    bool recorded;       /* its lane's event is recorded for it */
    kvf_error failed;    /* OK, or what it will end with */
    cudaEvent_t *layers; /* [layer_count]; NULL unless by layer */
    uint32_t layer_count, layers_landed;
    _Atomic uint32_t layers_recorded;
    cudaEvent_t gate; /* background: fires once the caller's events have; NULL: none */
    kvf__cuda_copier copier;
    kvf_cuda_explanation explained;
    bool alone;       /* no other transfer or mark was open when it was submitted */
    uint64_t seen;    /* when it was last seen running */
    uint64_t started; /* about when it could start; 0: not yet, or unknown */
} kvf__cuda_job;

/* Whether and how kernels and batches reach the memory of a tier's layout. */
typedef struct kvf__cuda_reach {
    bool reachable;  /* all of it, at one shift */
    ptrdiff_t shift; /* from an address to the device's address of the same byte */
} kvf__cuda_reach;

static inline kvf__cuda_job *kvf__cuda_job_of(kvf_transfer *t) {
    return (kvf__cuda_job *)t->job;
}

static inline const kvf__cuda_job *kvf__cuda_job_in(const kvf_transfer *t) {
    return (const kvf__cuda_job *)t->job;
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

/* reachable.c: checks that a layout's bytes all lie in memory of that kind that the engine can
 * copy. */
kvf_status kvf__cuda_check_layout(const kvf__cuda *engine, const kvf_layout *layout,
                                  kvf_memory memory, kvf__cuda_reach *reach, kvf_error *error);

/* lanes.c; with `order` held, on the engine's device. */
kvf_status kvf__cuda_open_lane(kvf__cuda *engine, unsigned lane, kvf_error *error);
kvf_status kvf__cuda_open_side(kvf__cuda *engine, unsigned lane, kvf_error *error);
void kvf__cuda_close_lanes(kvf__cuda *engine);

/* With `lock` held: takes a spare event or makes one, without timing; puts it back. */
kvf_status kvf__cuda_demand_event(kvf__cuda *engine, cudaEvent_t *out, kvf_error *error);
void kvf__cuda_return_event(kvf__cuda *engine, cudaEvent_t event);

/* Opens the lane of marks with the fewest outstanding; whether any mark is outstanding. */
kvf_status kvf__cuda_mark_lane(kvf__cuda *engine, unsigned *lane, kvf_error *error);
bool kvf__cuda_has_marks(const kvf__cuda *engine);

/* UNSUPPORTED for an event or stream under capture. */
kvf_status kvf__cuda_check_event(cudaEvent_t event, kvf_error *error);
kvf_status kvf__cuda_check_stream(cudaStream_t stream, kvf_error *error);

/* nvtx.c: sends ranges to the attached NVTX tool; false, and `*ranges` unchanged, without one. */
bool kvf__cuda_attach_nvtx(kvf__cuda_nvtx *nvtx, kvf_ranges *ranges);

/* broken.c; with `lock` held. Marks the engine as broken if the error is BROKEN; counts a failed
 * query and gives up after too many in a row. Both return whether the engine is broken. */
bool kvf__cuda_note_broken(kvf__cuda *engine, const kvf_error *error);
bool kvf__cuda_note_failure(kvf__cuda *engine, const kvf_error *error);
/* With `order` held: logs once that a requested strategy cannot do a move or, for AUTO, that there
 * was no memory for packing. */
void kvf__cuda_note_gave_way(kvf__cuda *engine, kvf_cuda_strategy strategy);
/* With `lock` held: marks the engine as broken, since the runtime no longer reports what has
 * finished. Drains the lanes first, as far as the runtime still can. */
void kvf__cuda_give_up(kvf__cuda *engine, const kvf_error *error);
/* OK, or the error of a broken engine. Takes `lock`. */
kvf_status kvf__cuda_check_broken(kvf__cuda *engine, kvf_error *error);
/* Makes the transfer end with this error, unless it has an earlier one. */
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

/* progress.c: kvf__engine_ops.progress. */
bool kvf__cuda_progress(kvf_engine *engine);
/* The engine's thread. */
void *kvf__cuda_thread(void *engine);

/* expect.c; with `lock` held. Notes when the first transfer of a lane could start. */
void kvf__cuda_note_start(kvf__cuda *engine, kvf_transfer *transfer);
/* About when the lane's first transfer, seen to be over just now, ended. */
uint64_t kvf__cuda_end_of(const kvf__cuda *engine, const kvf_transfer *transfer);
/* Updates the pace of the transfer's class. */
void kvf__cuda_learn_pace(kvf__cuda *engine, const kvf_transfer *transfer);
/* kvf__engine_ops.expect. */
kvf__expectation kvf__cuda_expect(const kvf_engine *engine, const kvf_transfer *transfer,
                                  double share);

/* choose.c: chooses the strategy; with `lock` held: compares its prediction with the time taken,
 * and fills in the engine's counters. */
void kvf__cuda_choose(kvf__cuda *engine, kvf_transfer *transfer);
void kvf__cuda_tell(kvf__cuda *engine, kvf_transfer *transfer);
void kvf__cuda_count(const kvf_engine *engine, kvf_counters *counters);
/* Whether device, driver and build offer a strategy at all. */
bool kvf__cuda_offers(const kvf__cuda *engine, kvf_cuda_strategy strategy);

#endif
