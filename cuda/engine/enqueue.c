/* One transfer's way into its streams. */
#include "engine/engine_cuda.h"

#include <string.h>

/* Beginning */

static kvf_status demand_layers(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (!t->layer_left)
        return KVF_OK;
    cudaEvent_t *layers = kvf__alloc_zero(&e->base.allocator, t->layer_count, sizeof *layers);
    if (!layers)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    j->layers = layers;
    j->layer_count = t->layer_count;
    kvf_status status = KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    for (uint32_t g = 0; status == KVF_OK && g < t->layer_count; g++)
        status = kvf__cuda_demand_event(e, &layers[g], error);
    pthread_mutex_unlock(&e->base.lock);
    return status;
}

static kvf_status wait_event(cudaStream_t stream, cudaEvent_t event, kvf_error *error) {
    cudaError_t code = cudaStreamWaitEvent(stream, event, 0);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

/* The caller's events, which a background transfer has seen when it was submitted. */
static kvf_status wait_events(kvf_transfer *t, cudaStream_t stream, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (t->background)
        return j->gate ? wait_event(stream, j->gate, error) : KVF_OK;
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < t->event_count; i++) {
        status = kvf__cuda_check_event(t->events[i], error);
        if (status == KVF_OK)
            status = wait_event(stream, t->events[i], error);
    }
    return status;
}

static kvf_status prepare(kvf__cuda *e, kvf__cuda_copier *c, kvf_error *error) {
    kvf_status status = kvf__cuda_copier_prepare(c, error);
    if (status != KVF_OK || c->strategy != KVF_CUDA_STAGED)
        return status;
    status = kvf__cuda_open_side(e, c->user.lane, error);
    if (status != KVF_OK)
        kvf__cuda_copier_finish(c);
    c->side = e->lanes[c->user.lane].side;
    c->fork = e->lanes[c->user.lane].fork;
    return status;
}

/* Chooses a strategy that can do this, and readies it. */
static kvf_status ready_copier(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_copier *c = &kvf__cuda_job_of(t)->copier;
    kvf_status status;
    c->last = c->stream;
    c->forked = false;
    do {
        kvf__cuda_choose(e, t);
        status = prepare(e, c, error);
        c->excluded |= 1u << c->strategy;
    } while (status == KVF_ERR_UNSUPPORTED);
    return status;
}

/* Whether the caller's events are over. A background transfer that somebody waits for begins before
 * its gate has fired. */
static bool have_fired(const kvf_transfer *t, const kvf__cuda_job *j) {
    return t->event_count == 0 || (j->gate && kvf__cuda_query(j->gate, NULL) == KVF_OK);
}

kvf_status kvf__cuda_begin(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_copier *c = &j->copier;
    uint64_t after[KVF__LANES];
    memcpy(after, t->after, sizeof after);
    c->context = &e->copying;
    c->move = t->move;
    c->user = (kvf__cuda_user){t->lane, t->sequence};
    c->stream = e->lanes[t->lane].stream;
    bool fired = have_fired(t, j), marks = kvf__cuda_has_marks(e);
    c->settled = fired && kvf__engine_reached(&e->base, t->after);
    c->computing = !fired || marks;
    c->holds_long = !c->settled || marks;
    kvf_status status = demand_layers(e, t, error);
    if (status == KVF_OK && t->move->runs.pairs > 0)
        status = ready_copier(e, t, error);
    if (status == KVF_OK)
        status = kvf__cuda_wait_after(e, after, c->stream, error);
    return status == KVF_OK ? wait_events(t, c->stream, error) : status;
}

/* Copies */

/* The end of the strips of the layer that a strip belongs to; of all unless by layer. */
static size_t end_of_layer(const kvf_move *move, size_t strip) {
    size_t end = strip + 1;
    while (end < move->strip_count &&
           (!move->by_layer || move->strips[end].layer == move->strips[strip].layer))
        end++;
    return end;
}

static kvf__cuda_copy_fn *const copy_by[KVF_CUDA_STRATEGIES] = {
    [KVF_CUDA_LOOP] = kvf__cuda_loop,
    [KVF_CUDA_BATCH] = kvf__cuda_batch,
    [KVF_CUDA_KERNEL] = kvf__cuda_kernel,
    [KVF_CUDA_STAGED] = kvf__cuda_staged,
};

/* Makes the copier's next buffer available to it. */
static kvf_status wait_for_user(kvf__cuda *e, const kvf__cuda_copier *c, kvf_error *error) {
    uint64_t after[KVF__LANES] = {0};
    after[c->blocked.user.lane] = c->blocked.user.sequence;
    return kvf__cuda_wait_after(e, after, c->blocked.filler, error);
}

static kvf_status copy_layers(kvf__cuda *e, kvf__cuda_job *j, size_t budget, kvf_error *error) {
    kvf__cuda_copier *c = &j->copier;
    const uint64_t start = c->copied;
    while (c->cursor.strip < c->move->strip_count && c->copied - start < budget) {
        size_t end = end_of_layer(c->move, c->cursor.strip);
        size_t left = budget == SIZE_MAX ? budget : budget - (size_t)(c->copied - start);
        kvf_status status = copy_by[c->strategy](c, end, left, error);
        if (status == KVF_PENDING) {
            status = wait_for_user(e, c, error);
            if (status == KVF_OK)
                continue;
        }
        if (status != KVF_OK)
            return status;
        if (c->cursor.strip < end)
            return KVF_OK;
        if (!j->layers)
            continue;
        uint32_t layer = atomic_load(&j->layers_recorded);
        cudaError_t code = cudaEventRecord(j->layers[layer], c->last);
        if (code != cudaSuccess)
            return kvf__cuda_fail(code, "cudaEventRecord", error);
        atomic_store(&j->layers_recorded, layer + 1);
    }
    return KVF_OK;
}

kvf_status kvf__cuda_copy_some(kvf__cuda *e, kvf_transfer *t, size_t budget, bool *done,
                               kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_copier *c = &j->copier;
    kvf_error details = {.status = KVF_ERR_ENGINE};
    *done = t->move->runs.pairs == 0;
    kvf__range_begin(&e->base.hooks, KVF__RANGE_COPY);
    kvf_status status = *done ? KVF_OK : copy_layers(e, j, budget, &details);
    while (status == KVF_ERR_NO_MEMORY && c->strategy == KVF_CUDA_STAGED && !c->enqueued) {
        kvf__cuda_copier_finish(c); /* no room to pack in: another way then */
        kvf__cuda_note_gave_way(e, KVF_CUDA_AUTO);
        status = ready_copier(e, t, &details);
        if (status == KVF_OK)
            status = copy_layers(e, j, budget, &details);
    }
    kvf__range_end(&e->base.hooks);
    *done = *done || c->cursor.strip == t->move->strip_count;
    if (status == KVF_OK)
        return KVF_OK;
    kvf__transfer_locate(t, &details);
    return kvf__fail(error, details);
}

/* The end */

/* Makes the stream wait for the side. */
static cudaError_t join(kvf__cuda *e, kvf__cuda_copier *c, const char **what) {
    kvf__cuda_lane *l = &e->lanes[c->user.lane];
    if (!c->forked)
        return cudaSuccess;
    *what = "cudaEventRecord";
    cudaError_t code = cudaEventRecord(l->join, c->side);
    if (code != cudaSuccess)
        return code;
    *what = "cudaStreamWaitEvent";
    return cudaStreamWaitEvent(c->stream, l->join, 0);
}

/* Lets both streams run empty. */
static cudaError_t drain(const kvf__cuda_copier *c) {
    cudaError_t code = c->forked ? cudaStreamSynchronize(c->side) : cudaSuccess;
    cudaError_t other = cudaStreamSynchronize(c->stream);
    return code != cudaSuccess ? code : other;
}

void kvf__cuda_record_end(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_copier *c = &j->copier;
    const char *what = NULL;
    cudaError_t code = join(e, c, &what);
    if (code == cudaSuccess) {
        what = "cudaEventRecord";
        code = cudaEventRecord(e->lanes[t->lane].events[t->sequence % KVF__CUDA_LANE_EVENTS],
                               c->stream);
    }
    j->recorded = code == cudaSuccess;
    if (j->recorded)
        return;
    kvf_error failed = {.status = KVF_ERR_ENGINE};
    kvf__cuda_fail(code, what, &failed);
    if ((c->enqueued || c->forked) && (code = drain(c)) != cudaSuccess) {
        kvf__cuda_fail(code, "cudaStreamSynchronize", &failed);
        pthread_mutex_lock(&e->base.lock);
        kvf__cuda_give_up(e, &failed);
        pthread_mutex_unlock(&e->base.lock);
    }
    kvf__cuda_fail_job(j, &failed);
}
