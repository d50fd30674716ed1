/*
 * Enqueues one transfer: the waits, the copies, the events.
 *
 * A stream cannot wait for background work that is not enqueued, so waiting enqueues that first,
 * whole, and this in turn waits for what was submitted before it:
 *
 *     wait_after -> require -> begin_front -> begin -> wait_after -> ...
 *
 * It ends, since waits go backwards in time.
 */
#include "engine/engine_cuda.h"

#include "base/cap.h"

#include <string.h>

/* Waiting */

static void require(kvf__cuda *e, const uint64_t after[KVF__LANES]);

static void raise(uint64_t after[KVF__LANES], unsigned lane, uint64_t sequence) {
    if (after[lane] < sequence)
        after[lane] = sequence;
}

/* With `lock` held: the transfer of that sequence number, if it has not retired. */
static kvf_transfer *find(const kvf__cuda *e, unsigned lane, uint64_t sequence) {
    for (kvf_transfer *t = e->lanes[lane].head; t; t = kvf__cuda_job_of(t)->next)
        if (t->sequence == sequence)
            return t;
    return NULL;
}

/* With `lock` held: the transfer of that sequence number, if its event is not recorded: it was
 * refused, was cancelled before it began, or recording failed. */
static const kvf_transfer *find_unrecorded(const kvf__cuda *e, unsigned lane, uint64_t sequence) {
    kvf_transfer *t = sequence > 0 ? find(e, lane, sequence) : NULL;
    const kvf__cuda_job *j = t ? kvf__cuda_job_of(t) : NULL;
    bool settled = j && (j->state == KVF__CUDA_ENQUEUED || j->state == KVF__CUDA_REFUSED);
    return settled && !j->recorded ? t : NULL;
}

/* Replaces each transfer in after[] that has no event by what it waited for. Returns whether there
 * was any: what it waited for may not be enqueued yet. */
static bool skip_unrecorded(kvf__cuda *e, uint64_t after[KVF__LANES]) {
    bool any = false;
    pthread_mutex_lock(&e->base.lock);
    for (unsigned lane = 0; lane < KVF__LANES; lane++) {
        const kvf_transfer *t = find_unrecorded(e, lane, after[lane]);
        if (!t)
            continue;
        after[lane] = 0;
        for (unsigned l = 0; l < KVF__LANES; l++)
            raise(after, l, t->after[l]);
        any = true;
    }
    pthread_mutex_unlock(&e->base.lock);
    return any;
}

kvf_status kvf__cuda_wait_after(kvf__cuda *e, uint64_t after[KVF__LANES], cudaStream_t stream,
                                kvf_error *error) {
    do
        require(e, after);
    while (skip_unrecorded(e, after));
    for (unsigned lane = 0; lane < KVF__LANES; lane++) {
        const kvf__cuda_lane *l = &e->lanes[lane];
        if (after[lane] <= atomic_load(&e->base.retired[lane]) || l->stream == stream)
            continue;
        cudaError_t code =
            cudaStreamWaitEvent(stream, l->events[after[lane] % KVF__CUDA_LANE_EVENTS], 0);
        if (code != cudaSuccess)
            return kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
    }
    return KVF_OK;
}

static kvf_status wait_event(cudaStream_t stream, cudaEvent_t event, kvf_error *error) {
    cudaError_t code = cudaStreamWaitEvent(stream, event, 0);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
}

/* Waits for the caller's events; those of a background transfer are in its gate. */
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

/* Beginning */

/* Whether the caller's events have fired. A background transfer that is required begins before its
 * gate has fired. */
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
    kvf_status status = kvf__cuda_demand_layers(e, t, error);
    if (status == KVF_OK && t->move->runs.pairs > 0)
        status = kvf__cuda_ready_copier(e, t, error);
    if (status == KVF_OK)
        status = kvf__cuda_wait_after(e, after, c->stream, error);
    return status == KVF_OK ? wait_events(t, c->stream, error) : status;
}

/* Copies */

/* The end of the strip's layer, in strips; of the move unless it is by layer. */
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

/* Makes the copier's stream wait for the last user of its next buffer. */
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
        kvf__cuda_copier_finish(c); /* no memory for packing: take another strategy */
        kvf__cuda_note_gave_way(e, KVF_CUDA_AUTO);
        status = kvf__cuda_ready_copier(e, t, &details);
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

/* Waits until both streams are empty. */
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

/* The front of a background lane */

/* Nothing of it is left to enqueue. Others may free it after this. */
static void pass(kvf__cuda *e, kvf_transfer *t) {
    e->lanes[t->lane].enqueued = t->sequence;
    pthread_mutex_lock(&e->base.lock);
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_note_broken(e, &j->failed);
    atomic_fetch_sub(&e->waiting, 1);
    j->state = KVF__CUDA_ENQUEUED;
    pthread_cond_broadcast(&e->base.changed);
    pthread_mutex_unlock(&e->base.lock);
}

void kvf__cuda_end_here(kvf__cuda *e, kvf_transfer *t, const kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_fail_job(j, error);
    if (j->copier.enqueued || j->copier.forked)
        kvf__cuda_record_end(e, t);
    kvf__cuda_copier_finish(&j->copier);
    pass(e, t);
}

/* With `lock` held: the first transfer of a lane that is not enqueued whole; NULL without one. */
static kvf_transfer *look_up_front(kvf__cuda_lane *l) {
    kvf_transfer *t = l->head;
    for (; t; t = kvf__cuda_job_of(t)->next) {
        if (kvf__cuda_job_of(t)->state == KVF__CUDA_REFUSED && t->sequence > l->enqueued)
            l->enqueued = t->sequence;
        if (t->sequence > l->enqueued)
            break;
    }
    return t;
}

kvf_transfer *kvf__cuda_front(kvf__cuda *e, unsigned lane) {
    for (;;) {
        pthread_mutex_lock(&e->base.lock);
        kvf_transfer *t = look_up_front(&e->lanes[lane]);
        bool dead =
            t && kvf__cuda_job_of(t)->state == KVF__CUDA_WAITING && kvf__transfer_is_over(t);
        pthread_mutex_unlock(&e->base.lock);
        if (!dead)
            return t;
        pass(e, t);
    }
}

bool kvf__cuda_begin_front(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (j->state != KVF__CUDA_WAITING)
        return true;
    pthread_mutex_lock(&e->base.lock);
    bool cancelled = kvf__transfer_is_over(t);
    if (!cancelled) {
        kvf__transfer_begin(t);
        j->state = KVF__CUDA_ENQUEUING;
    }
    pthread_mutex_unlock(&e->base.lock);
    if (cancelled) {
        pass(e, t);
        return false;
    }
    kvf_error error = {.status = KVF_ERR_ENGINE};
    if (kvf__cuda_begin(e, t, &error) == KVF_OK)
        return true;
    kvf__cuda_end_here(e, t, &error);
    return false;
}

static double cap_of(const kvf__cuda *e, kvf_cuda_direction d) {
    return d == KVF_CUDA_TO_DEVICE     ? e->options.background_to_gbps
           : d == KVF_CUDA_FROM_DEVICE ? e->options.background_from_gbps
                                       : 0;
}

bool kvf__cuda_copy_front(kvf__cuda *e, kvf_transfer *t, size_t budget) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    const kvf_cuda_direction d = kvf__cuda_direction_of(t->lane);
    kvf_error error = {.status = KVF_ERR_CANCELLED};
    bool done = false;
    const uint64_t before = j->copier.copied, now = kvf__now();
    kvf_status status = KVF_ERR_CANCELLED;
    if (!atomic_load(&t->cancelled))
        status = kvf__cuda_copy_some(e, t, budget, &done, &error);
    /* Work enqueued past the cap delays the next window, too. */
    kvf__cap_charge(&e->next_window[d], cap_of(e, d), j->copier.copied - before, now);
    if (status != KVF_OK) {
        kvf__cuda_end_here(e, t, &error);
        return false;
    }
    if (!done)
        return true;
    kvf__cuda_record_end(e, t);
    kvf__cuda_copier_finish(&j->copier);
    pass(e, t);
    return false;
}

/* Enqueues all background work that after[] asks for, whole. */
static void require(kvf__cuda *e, const uint64_t after[KVF__LANES]) {
    for (unsigned lane = KVF__CUDA_BACKGROUND; lane < KVF__CUDA_MARKS; lane++) {
        while (e->lanes[lane].enqueued < after[lane]) {
            kvf_transfer *t = kvf__cuda_front(e, lane);
            if (!t || t->sequence > after[lane])
                break;
            if (kvf__cuda_begin_front(e, t))
                (void)kvf__cuda_copy_front(e, t, SIZE_MAX);
        }
    }
}
