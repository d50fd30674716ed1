/*
 * Background transfers: enqueued in windows, by priority and under caps.
 *
 *     lane    | t: enqueued | t: window 3 of 7 | t | t |
 *                      enqueued  ^ front
 *
 * A transfer begins once everything it waits for in other streams has finished, so that a stream
 * only holds work that can run. Priority inheritance: a blocked lane passes its turn to the lane it
 * waits for. Ordered work and the caller's streams that wait for a background transfer need it in
 * its stream, so they have it enqueued whole, past windows and caps.
 */
#include "engine/engine_cuda.h"

#include <string.h>

enum {
    WINDOW_BYTES = 4 << 20,
};

kvf_status kvf__cuda_gate(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    unsigned lane = 0;
    if (t->event_count == 0)
        return KVF_OK;
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < t->event_count; i++)
        status = kvf__cuda_check_event(t->events[i], error);
    if (status == KVF_OK)
        status = kvf__cuda_mark_lane(e, &lane, error);
    if (status != KVF_OK)
        return status;
    pthread_mutex_lock(&e->base.lock);
    status = kvf__cuda_demand_event(e, &j->gate, error);
    pthread_mutex_unlock(&e->base.lock);
    if (status != KVF_OK)
        return status;
    cudaError_t code = cudaSuccess;
    for (size_t i = 0; code == cudaSuccess && i < t->event_count; i++)
        code = cudaStreamWaitEvent(e->lanes[lane].stream, t->events[i], 0);
    if (code == cudaSuccess)
        code = cudaEventRecord(j->gate, e->lanes[lane].stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "waiting for events", error);
}

/* Windows */

static bool has_fired(kvf__cuda *e, cudaEvent_t event) {
    kvf_error failed;
    kvf_status status = kvf__cuda_query(event, &failed);
    if (status == KVF_OK || status == KVF_PENDING)
        return status == KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    kvf__cuda_note_failure(e, &failed);
    pthread_mutex_unlock(&e->base.lock);
    return false;
}

static kvf__cuda_window *free_window(kvf__cuda *e, kvf_cuda_direction d) {
    for (size_t i = 0; i < KVF__CUDA_WINDOWS; i++) {
        kvf__cuda_window *w = &e->windows[d][i];
        if (!w->open || has_fired(e, w->event)) {
            w->open = false;
            return w;
        }
    }
    return NULL;
}

/* A window without an event would never close, so it does not count as open. */
static void open_window(kvf__cuda_window *w, cudaStream_t stream) {
    if (!w->event && cudaEventCreateWithFlags(&w->event, cudaEventDisableTiming) != cudaSuccess)
        w->event = NULL;
    w->open = w->event && cudaEventRecord(w->event, stream) == cudaSuccess;
    if (!w->open)
        (void)cudaGetLastError();
}

/* Whether it may begin: what it waits for has finished, or is before it in its own stream. */
static bool is_ready(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (j->state != KVF__CUDA_WAITING)
        return true;
    uint64_t after[KVF__LANES];
    memcpy(after, t->after, sizeof after);
    after[t->lane] = 0;
    return kvf__engine_reached(&e->base, after) && (!j->gate || has_fired(e, j->gate));
}

static bool copy_window(kvf__cuda *e, unsigned lane, kvf_transfer *t) {
    kvf_cuda_direction d = kvf__cuda_direction_of(lane);
    if (atomic_load(&t->cancelled)) { /* ends without taking a window */
        if (kvf__cuda_begin_front(e, t))
            (void)kvf__cuda_copy_front(e, t, 0);
        return true;
    }
    kvf__cuda_window *w = free_window(e, d);
    if (!w || kvf__now() < e->next_window[d])
        return false;
    if (!kvf__cuda_begin_front(e, t))
        return true;
    kvf__cuda_copier *c = &kvf__cuda_job_of(t)->copier;
    kvf__transfer_hold(t);
    bool more = kvf__cuda_copy_front(e, t, WINDOW_BYTES);
    open_window(w, more ? c->last : c->stream);
    kvf_transfer_release(t);
    return true;
}

/* Enqueues a window of a lane, or of a lane it waits for. Ends, since lanes wait for what was
 * submitted before. */
static bool advance_lane(kvf__cuda *e, unsigned lane) {
    kvf_transfer *t = kvf__cuda_front(e, lane);
    if (!t)
        return false;
    if (is_ready(e, t))
        return copy_window(e, lane, t);
    for (unsigned l = KVF__CUDA_BACKGROUND; l < KVF__CUDA_MARKS; l++)
        if (l != lane && e->lanes[l].enqueued < t->after[l] && advance_lane(e, l))
            return true;
    return false;
}

static bool advance_first(kvf__cuda *e) {
    for (unsigned p = 0; p < KVF_PRIORITIES; p++)
        if (advance_lane(e, KVF__CUDA_BACKGROUND + p) ||
            advance_lane(e, KVF__CUDA_BACKGROUND + KVF_PRIORITIES + p) ||
            advance_lane(e, KVF__CUDA_BACKGROUND + 2 * KVF_PRIORITIES + p / 2))
            return true;
    return false;
}

/* Ends all background transfers of a broken engine. */
static void end_all(kvf__cuda *e) {
    kvf_error broken;
    (void)kvf__cuda_check_broken(e, &broken);
    for (unsigned lane = KVF__CUDA_BACKGROUND; lane < KVF__CUDA_MARKS; lane++)
        for (kvf_transfer *t; (t = kvf__cuda_front(e, lane)) != NULL;)
            kvf__cuda_end_here(e, t, &broken);
}

bool kvf__cuda_background(kvf__cuda *e) {
    bool any = false;
    while (!atomic_load(&e->broken) && atomic_load(&e->waiting) > 0 && advance_first(e))
        any = true;
    if (atomic_load(&e->broken) && atomic_load(&e->waiting) > 0) {
        end_all(e);
        any = true;
    }
    return any;
}
