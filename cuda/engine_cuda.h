/*
 * The CUDA engine's inside.
 *
 * A lane is a stream. Every sequence number of a lane has an event, recorded behind the transfer's
 * copies (or, on the marks' lane, behind the caller's event), so that waiting for "lane l up to s"
 * is waiting for one event:
 *
 *     lanes    0..7 to the device | 8..15 from it | 16, 17 on it | 24 marks
 *     ring     event of sequence s at s % RING; s - retired < RING
 *
 * Submits hold `order`, so that streams get their work in the order of slots. Progress holds `lock`
 * while it asks events. Locks as in engine.h.
 */
#ifndef KVF_ENGINE_CUDA_H
#define KVF_ENGINE_CUDA_H

#include "engine.h"
#include "runtime.h"
#include "transfer.h"

enum {
    KVF__CUDA_TO_DEVICE = 0,
    KVF__CUDA_FROM_DEVICE = 8,
    KVF__CUDA_ON_DEVICE = 16,
    KVF__CUDA_MARKS = 24,
    KVF__CUDA_MOST_LANES = 8,
    KVF__CUDA_RING = 256,
    KVF__CUDA_BATCH = 4096,  /* pieces a call; drivers misbehave with very many */
    KVF__CUDA_PATIENCE = 64, /* failures in a row to ask for progress before the engine gives up */
};

typedef struct kvf__cuda_lane {
    cudaStream_t stream; /* NULL: no such lane */
    cudaEvent_t ring[KVF__CUDA_RING];
    kvf_transfer *head, **tail; /* not retired; under `lock` */
    size_t count;
} kvf__cuda_lane;

/* Lists for one batch call; under `order`. */
typedef struct kvf__cuda_lists {
    CUdeviceptr dsts[KVF__CUDA_BATCH], srcs[KVF__CUDA_BATCH];
    size_t sizes[KVF__CUDA_BATCH];
    size_t spans[KVF__CUDA_BATCH]; /* which of the move's each piece belongs to */
} kvf__cuda_lists;

typedef struct kvf__cuda {
    kvf_engine base;
    kvf_cuda_options options;
    kvf__cuda_driver driver;
    kvf__cuda_lane lanes[KVF__LANES];
    kvf__cuda_lists *lists;
    atomic_bool broken;  /* the context is beyond use */
    kvf_error broken_by; /* set before `broken` is; under `lock` */
    unsigned failures;   /* in a row, of asking for progress; under `lock` */
    cudaEvent_t *spare;  /* events of groups, not in use; under `lock` */
    size_t spare_count, spare_capacity;
    size_t event_count;      /* of groups, in all */
    _Atomic uint64_t marked; /* the newest mark whose event is recorded */
} kvf__cuda;

typedef enum kvf__cuda_state {
    KVF__CUDA_ENQUEUING, /* submit has it */
    KVF__CUDA_ENQUEUED,
    KVF__CUDA_REFUSED, /* submit failed: nothing was enqueued, but it keeps its place */
} kvf__cuda_state;

/* A transfer's state here; under `lock`, but that submit alone has it while it enqueues. */
typedef struct kvf__cuda_job {
    kvf_transfer *next; /* in its lane */
    kvf__cuda_state state;
    bool recorded;       /* its event in the ring is its own */
    kvf_error failed;    /* behind the first copy */
    cudaEvent_t *groups; /* by group; NULL unless by group */
    uint32_t group_count, groups_recorded, groups_landed;
} kvf__cuda_job;

static inline kvf__cuda_job *kvf__cuda_job_of(kvf_transfer *t) {
    return (kvf__cuda_job *)t->job;
}

/* One transfer's copies on their way into its stream. */
typedef struct kvf__cuda_queue {
    kvf__cuda *engine;
    const kvf_move *move;
    cudaStream_t stream;
    enum cudaMemcpyKind kind;
    bool settled;  /* nobody writes the sources any more */
    bool enqueued; /* at least one copy was accepted */
    kvf_box_cursor cursor;
} kvf__cuda_queue;

/* Enqueues the copies up to a span. Part of them may be enqueued when it fails. */
typedef kvf_status kvf__cuda_strategy_fn(kvf__cuda_queue *queue, size_t end_span, kvf_error *error);
kvf__cuda_strategy_fn kvf__cuda_loop, kvf__cuda_batch;

extern const kvf_box_limits kvf__cuda_loop_limits, kvf__cuda_batch_limits;

/* Whether a layout's bytes are all in memory of that kind that the engine reaches. */
kvf_status kvf__cuda_check_layout(const kvf__cuda *engine, const kvf_layout *layout,
                                  kvf_memory memory, kvf_error *error);

/* Makes a stream wait for everything after[] says that has not retired. With `order` held, on the
 * engine's device. Changes after[]. */
kvf_status kvf__cuda_wait_after(kvf__cuda *engine, uint64_t after[KVF__LANES], cudaStream_t stream,
                                kvf_error *error);

/* UNSUPPORTED for an event or stream that a capture has. */
kvf_status kvf__cuda_check_event(cudaEvent_t event, kvf_error *error);
kvf_status kvf__cuda_check_stream(cudaStream_t stream, kvf_error *error);

/* The error of an engine that is beyond use, or KVF_OK. */
kvf_status kvf__cuda_check_broken(kvf__cuda *engine, kvf_error *error);

/* The engine, when it is a CUDA engine; NULL otherwise. */
kvf__cuda *kvf__cuda_of(kvf_engine *engine);

#endif
