/*
 * Background transfers: enqueued in windows, by priority and under caps.
 *
 *     lane    | t: enqueued | t: window 3 of 7 | t | t |
 *                      enqueued  ^ front
 *
 * A transfer begins once what it waits for in other streams is over, so that nothing stands in a
 * stream that could not run. Something of better priority that waits for it lends it its turn;
 * ordered work and the caller's streams, which need it in its stream, have it enqueued whole.
 */
#include "engine/engine_cuda.h"

#include "base/cap.h"

#include <string.h>

enum {
    WINDOW_BYTES = 4 << 20,
    NAP_NS = 20 * 1000,
};

static kvf_cuda_direction direction_of(unsigned lane) {
    unsigned d = (lane - KVF__CUDA_BACKGROUND) / KVF_PRIORITIES;
    return d < KVF_CUDA_ON_DEVICE ? (kvf_cuda_direction)d : KVF_CUDA_ON_DEVICE;
}

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

/* The front of a lane */

/* Nothing of it is left to enqueue. Others may free it from here on. */
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

/* What is left of it is not enqueued. */
static void end_here(kvf__cuda *e, kvf_transfer *t, const kvf_error *error) {
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

/* The same, behind what was cancelled before it began. */
static kvf_transfer *front(kvf__cuda *e, unsigned lane) {
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

/* false: it has ended instead. */
static bool begin(kvf__cuda *e, kvf_transfer *t) {
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
    end_here(e, t, &error);
    return false;
}

static double cap_of(const kvf__cuda *e, kvf_cuda_direction d) {
    return d == KVF_CUDA_TO_DEVICE     ? e->options.background_to_gbps
           : d == KVF_CUDA_FROM_DEVICE ? e->options.background_from_gbps
                                       : 0;
}

/* Enqueues about `budget` bytes of a transfer that has begun. false: it has ended. */
static bool copy(kvf__cuda *e, kvf_transfer *t, size_t budget) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    const kvf_cuda_direction d = direction_of(t->lane);
    kvf_error error = {.status = KVF_ERR_CANCELLED};
    bool done = false;
    const uint64_t before = j->copier.copied, now = kvf__now();
    kvf_status status = KVF_ERR_CANCELLED;
    if (!atomic_load(&t->cancelled))
        status = kvf__cuda_copy_some(e, t, budget, &done, &error);
    kvf__cap_charge(&e->next_window[d], cap_of(e, d), j->copier.copied - before, now);
    if (status != KVF_OK) {
        end_here(e, t, &error);
        return false;
    }
    if (!done)
        return true;
    kvf__cuda_record_end(e, t);
    kvf__cuda_copier_finish(&j->copier);
    pass(e, t);
    return false;
}

void kvf__cuda_require(kvf__cuda *e, const uint64_t after[KVF__LANES]) {
    for (unsigned lane = KVF__CUDA_BACKGROUND; lane < KVF__CUDA_MARKS; lane++) {
        while (e->lanes[lane].enqueued < after[lane]) {
            kvf_transfer *t = front(e, lane);
            if (!t || t->sequence > after[lane])
                break;
            if (begin(e, t))
                (void)copy(e, t, SIZE_MAX);
        }
    }
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

/* Without an event nobody can tell when it is over; then it does not count. */
static void open_window(kvf__cuda_window *w, cudaStream_t stream) {
    if (!w->event && cudaEventCreateWithFlags(&w->event, cudaEventDisableTiming) != cudaSuccess)
        w->event = NULL;
    w->open = w->event && cudaEventRecord(w->event, stream) == cudaSuccess;
    if (!w->open)
        (void)cudaGetLastError();
}

/* Whether it may begin now: what it waits for is over, or before it in its own stream. */
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
    kvf_cuda_direction d = direction_of(lane);
    if (atomic_load(&t->cancelled)) { /* ends without another window */
        if (begin(e, t))
            (void)copy(e, t, 0);
        return true;
    }
    kvf__cuda_window *w = free_window(e, d);
    if (!w || kvf__now() < e->next_window[d])
        return false;
    if (!begin(e, t))
        return true;
    kvf__cuda_copier *c = &kvf__cuda_job_of(t)->copier;
    kvf__transfer_hold(t);
    bool more = copy(e, t, WINDOW_BYTES);
    open_window(w, more ? c->last : c->stream);
    kvf_transfer_release(t);
    return true;
}

/* A window from a lane, or from a lane it waits for. Lanes wait for what was submitted before, so
 * that this comes to an end. */
static bool advance_lane(kvf__cuda *e, unsigned lane) {
    kvf_transfer *t = front(e, lane);
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

/* Of an engine that is beyond use nothing moves any more. */
static void end_all(kvf__cuda *e) {
    kvf_error broken;
    (void)kvf__cuda_check_broken(e, &broken);
    for (unsigned lane = KVF__CUDA_BACKGROUND; lane < KVF__CUDA_MARKS; lane++)
        for (kvf_transfer *t; (t = front(e, lane)) != NULL;)
            end_here(e, t, &broken);
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

void *kvf__cuda_thread(void *engine) {
    kvf__cuda *e = engine;
    (void)kvf__timer_slack_lower();
    pthread_mutex_lock(&e->base.lock);
    while (!e->base.stop) {
        if (atomic_load(&e->waiting) == 0) {
            pthread_cond_wait(&e->base.work, &e->base.lock);
            continue;
        }
        pthread_mutex_unlock(&e->base.lock);
        bool any = kvf__cuda_progress(&e->base);
        pthread_mutex_lock(&e->base.lock);
        if (!any && !e->base.stop)
            kvf__cond_wait_until(&e->base.work, &e->base.lock, kvf__now() + NAP_NS);
    }
    pthread_mutex_unlock(&e->base.lock);
    return NULL;
}
