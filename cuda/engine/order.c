/* Order between transfers and the caller's streams: waiting for slots and layers, marking slots. */
#include "engine/engine_cuda.h"

/* The public functions */

static kvf_status check_slots(const kvf_tier *tier, const uint64_t *ids, size_t count,
                              kvf__cuda **engine, kvf_error *error) {
    kvf_status status = kvf__tier_check_ids(tier, ids, count, error);
    if (status != KVF_OK)
        return status;
    if (!kvf__cuda_of(tier->engine))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "not a tier of a CUDA engine");
    *engine = kvf__cuda_of(tier->engine);
    return kvf__cuda_check_broken(*engine, error);
}

/* With `order` held: a tier may outlive its engine's streams. */
static kvf_status check_open(const kvf__cuda *e, kvf_error *error) {
    if (atomic_load(&e->base.closed))
        return KVF__FAIL(error, .status = KVF_ERR_BROKEN, .what = "the engine has been destroyed");
    return KVF_OK;
}

/* With `order` held: raises after[] to what a reader or writer of the blocks must wait for. */
static void users(const kvf_tier *tier, const uint64_t *ids, size_t count, bool writes,
                  uint64_t after[KVF__LANES]) {
    for (size_t i = 0; i < count; i++)
        if (writes)
            kvf__slots_users(&tier->slots, (size_t)ids[i], after);
        else
            kvf__slots_writer(&tier->slots, (size_t)ids[i], after);
}

kvf_status kvf_cuda_wait_slots(kvf_tier *tier, const uint64_t *ids, size_t count, bool writes,
                               struct CUstream_st *stream, kvf_error *error) {
    kvf__cuda *e = NULL;
    kvf_status status = check_slots(tier, ids, count, &e, error);
    if (status != KVF_OK)
        return status;
    kvf__cuda_device_scope scope;
    status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    uint64_t after[KVF__LANES] = {0};
    pthread_mutex_lock(&e->base.order);
    status = check_open(e, error);
    if (status == KVF_OK)
        status = kvf__cuda_check_stream(stream, error);
    users(tier, ids, count, writes, after);
    if (status == KVF_OK)
        status = kvf__cuda_wait_after(e, after, stream, error);
    pthread_mutex_unlock(&e->base.order);
    kvf__cuda_leave(&scope);
    return status;
}

/* With `order` held: enqueues a mark on a lane of marks, after the event and the blocks' users. */
static kvf_status mark(kvf__cuda *e, kvf_tier *tier, const uint64_t *ids, size_t count,
                       bool written, cudaEvent_t event, kvf_error *error) {
    unsigned lane;
    kvf_status status = kvf__cuda_mark_lane(e, &lane, error);
    if (status != KVF_OK)
        return status;
    kvf__cuda_lane *l = &e->lanes[lane];
    uint64_t sequence = e->base.submitted[lane] + 1, after[KVF__LANES] = {0};
    if (sequence - atomic_load(&e->base.retired[lane]) >= KVF__CUDA_LANE_EVENTS)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN,
                         .what = "all lanes of marks are full: wait until marks have fired");
    if (!kvf__slots_prepare(&tier->slots, &e->base.allocator, lane))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    users(tier, ids, count, written, after);
    status = kvf__cuda_check_event(event, error);
    if (status == KVF_OK)
        status = kvf__cuda_wait_after(e, after, l->stream, error);
    if (status != KVF_OK)
        return status;
    cudaError_t code = cudaStreamWaitEvent(l->stream, event, 0);
    if (code == cudaSuccess)
        code = cudaEventRecord(l->events[sequence % KVF__CUDA_LANE_EVENTS], l->stream);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "marking slots", error);
    e->base.submitted[lane] = sequence;
    atomic_store(&l->marked, sequence);
    for (size_t i = 0; i < count; i++)
        kvf__slots_mark(&tier->slots, (size_t)ids[i], written, lane, sequence);
    return KVF_OK;
}

kvf_status kvf_cuda_mark_slots(kvf_tier *tier, const uint64_t *ids, size_t count, bool written,
                               struct CUevent_st *event, kvf_error *error) {
    kvf__cuda *e = NULL;
    kvf_status status = check_slots(tier, ids, count, &e, error);
    if (status == KVF_OK && !event)
        status = KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "the event is NULL");
    if (status != KVF_OK)
        return status;
    kvf__cuda_device_scope scope;
    status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    pthread_mutex_lock(&e->base.order);
    status = check_open(e, error);
    if (status == KVF_OK)
        status = mark(e, tier, ids, count, written, event, error);
    pthread_mutex_unlock(&e->base.order);
    kvf__cuda_leave(&scope);
    return status;
}

/* With `lock` held: the event that fires once the layer has landed; NULL when it has landed. */
static cudaEvent_t event_of(kvf__cuda *e, kvf_transfer *t, uint32_t layer) {
    const kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (t->sequence <= atomic_load(&e->base.retired[t->lane]) || !j->recorded)
        return NULL;
    uint32_t k = layer - t->first_layer;
    return j->layers && k < atomic_load(&j->layers_recorded)
               ? j->layers[k]
               : e->lanes[t->lane].events[t->sequence % KVF__CUDA_LANE_EVENTS];
}

static kvf_status wait_layer(kvf__cuda *e, kvf_transfer *t, uint32_t layer, cudaStream_t stream,
                             kvf_error *error) {
    kvf_status status = kvf__cuda_check_stream(stream, error);
    if (status != KVF_OK)
        return status;
    pthread_mutex_lock(&e->base.lock); /* keeps its events from being reused */
    cudaEvent_t event = event_of(e, t, layer);
    cudaError_t code = event ? cudaStreamWaitEvent(stream, event, 0) : cudaSuccess;
    pthread_mutex_unlock(&e->base.lock);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

kvf_status kvf_cuda_wait_layer(kvf_transfer *t, uint32_t layer, struct CUstream_st *stream,
                               kvf_error *error) {
    kvf__cuda *e = t ? kvf__cuda_of(t->engine) : NULL;
    if (!e)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "NULL argument, or not a transfer of a CUDA engine");
    if (layer < t->first_layer || layer - t->first_layer >= t->layer_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = layer,
                         .what = "the transfer does not move this layer");
    if (t->background)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "background transfers have no stream to wait for");
    kvf_status status = kvf__cuda_check_broken(e, error);
    if (status != KVF_OK)
        return status;
    kvf__cuda_device_scope scope;
    status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    status = wait_layer(e, t, layer, stream, error);
    kvf__cuda_leave(&scope);
    return status;
}
