/* Streams and events, created on first use. */
#include "engine/engine_cuda.h"

/* High, since our kernels are short and would otherwise wait for the caller's long ones. */
static int priority(void) {
    int least = 0, greatest = 0;
    if (cudaDeviceGetStreamPriorityRange(&least, &greatest) == cudaSuccess)
        return greatest;
    (void)cudaGetLastError();
    return 0;
}

static kvf_status make_stream(cudaStream_t *out, kvf_error *error) {
    cudaError_t code = cudaStreamCreateWithPriority(out, cudaStreamNonBlocking, priority());
    if (code == cudaSuccess)
        return KVF_OK;
    *out = NULL;
    return kvf__cuda_fail(code, "cudaStreamCreateWithPriority", error);
}

static kvf_status make_event(cudaEvent_t *out, kvf_error *error) {
    cudaError_t code = cudaEventCreateWithFlags(out, cudaEventDisableTiming);
    if (code == cudaSuccess)
        return KVF_OK;
    *out = NULL;
    return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
}

static void drop_event(cudaEvent_t *event) {
    if (*event)
        (void)cudaEventDestroy(*event);
    *event = NULL;
}

static void drop_stream(cudaStream_t *stream) {
    if (*stream)
        (void)cudaStreamDestroy(*stream);
    *stream = NULL;
}

static void close_side(kvf__cuda_lane *l) {
    drop_event(&l->fork);
    drop_event(&l->join);
    drop_stream(&l->side);
}

static void close_lane(kvf__cuda_lane *l) {
    for (size_t i = 0; i < KVF__CUDA_LANE_EVENTS; i++)
        drop_event(&l->events[i]);
    drop_stream(&l->stream);
    close_side(l);
}

kvf_status kvf__cuda_open_lane(kvf__cuda *e, unsigned lane, kvf_error *error) {
    kvf__cuda_lane *l = &e->lanes[lane];
    if (l->stream)
        return KVF_OK;
    kvf_status status = make_stream(&l->stream, error);
    for (size_t i = 0; status == KVF_OK && i < KVF__CUDA_LANE_EVENTS; i++)
        status = make_event(&l->events[i], error);
    if (status != KVF_OK)
        close_lane(l);
    return status;
}

kvf_status kvf__cuda_open_side(kvf__cuda *e, unsigned lane, kvf_error *error) {
    kvf__cuda_lane *l = &e->lanes[lane];
    if (l->side)
        return KVF_OK;
    kvf_status status = make_stream(&l->side, error);
    if (status == KVF_OK)
        status = make_event(&l->fork, error);
    if (status == KVF_OK)
        status = make_event(&l->join, error);
    if (status != KVF_OK)
        close_side(l);
    return status;
}

void kvf__cuda_close_lanes(kvf__cuda *e) {
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        close_lane(&e->lanes[lane]);
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        for (size_t i = 0; i < KVF__CUDA_WINDOWS; i++)
            drop_event(&e->windows[d][i].event);
    for (size_t i = 0; i < e->spare_count; i++)
        drop_event(&e->spare[i]);
    e->spare_count = 0;
    (void)cudaGetLastError();
}

kvf_status kvf__cuda_demand_event(kvf__cuda *e, cudaEvent_t *out, kvf_error *error) {
    if (e->spare_count > 0) {
        *out = e->spare[--e->spare_count];
        return KVF_OK;
    }
    /* The spare list always has room for all events, so that returning one cannot fail. */
    size_t events = e->event_count + 1;
    if (!kvf__grow(&e->base.allocator, &e->spare, &e->spare_capacity, events, sizeof(cudaEvent_t)))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = make_event(out, error);
    if (status == KVF_OK)
        e->event_count = events;
    return status;
}

void kvf__cuda_return_event(kvf__cuda *e, cudaEvent_t event) {
    e->spare[e->spare_count++] = event;
}

static uint64_t outstanding(const kvf__cuda *e, unsigned lane) {
    return atomic_load(&e->lanes[lane].marked) - atomic_load(&e->base.retired[lane]);
}

/* Prefers an open lane without marks outstanding, then a lane that is not open yet. */
kvf_status kvf__cuda_mark_lane(kvf__cuda *e, unsigned *lane, kvf_error *error) {
    unsigned best = KVF__CUDA_MARKS;
    for (unsigned l = best; l < KVF__CUDA_MARKS + KVF__CUDA_MARK_LANES; l++) {
        if (!e->lanes[l].stream) {
            best = outstanding(e, best) > 0 || l == best ? l : best;
            break;
        }
        best = outstanding(e, l) < outstanding(e, best) ? l : best;
    }
    *lane = best;
    return kvf__cuda_open_lane(e, best, error);
}

bool kvf__cuda_has_marks(const kvf__cuda *e) {
    for (unsigned l = KVF__CUDA_MARKS; l < KVF__CUDA_MARKS + KVF__CUDA_MARK_LANES; l++)
        if (outstanding(e, l) > 0)
            return true;
    return false;
}

kvf_status kvf__cuda_check_event(cudaEvent_t event, kvf_error *error) {
    kvf_status status = kvf__cuda_query(event, error);
    return status == KVF_PENDING ? KVF_OK : status;
}

kvf_status kvf__cuda_check_stream(cudaStream_t stream, kvf_error *error) {
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaError_t code = cudaStreamIsCapturing(stream, &status);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaStreamIsCapturing", error);
    if (status != cudaStreamCaptureStatusNone)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the stream is under capture");
    return KVF_OK;
}
