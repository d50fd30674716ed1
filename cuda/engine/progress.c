/* Noticing what has finished; with `lock` held, on the engine's device. */
#include "engine/engine_cuda.h"

enum { NAP_NS = 20 * 1000 };

static bool has_fired(kvf__cuda *e, cudaEvent_t event, kvf_error *failed) {
    kvf_status status = atomic_load(&e->broken) ? KVF_OK : kvf__cuda_query(event, failed);
    if (status != KVF_OK && status != KVF_PENDING)
        return kvf__cuda_note_failure(e, failed);
    /* An engine is never NULL here. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    e->failures = 0;
    return status == KVF_OK;
}

static bool land_layers(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_error failed;
    bool any = false;
    while (j->layers_landed < atomic_load(&j->layers_recorded) && !atomic_load(&e->broken) &&
           has_fired(e, j->layers[j->layers_landed], &failed)) {
        uint32_t k = j->layers_landed++;
        kvf__transfer_layer_landed(t, t->first_layer + k, t->layer_left[k]);
        any = true;
    }
    return any;
}

/* Whether the transfer has left its streams. */
static bool is_through(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (!j->recorded)
        return atomic_load(&e->broken) || kvf__engine_reached(&e->base, t->after);
    kvf_error failed = {.status = KVF_OK};
    bool fired =
        has_fired(e, e->lanes[t->lane].events[t->sequence % KVF__CUDA_LANE_EVENTS], &failed);
    if (failed.status != KVF_OK)
        kvf__cuda_fail_job(j, &failed);
    return fired;
}

static void return_events(kvf__cuda *e, kvf__cuda_job *j) {
    for (uint32_t g = 0; g < j->layer_count; g++)
        if (j->layers[g])
            kvf__cuda_return_event(e, j->layers[g]);
    kvf__free(&e->base.allocator, j->layers, j->layer_count, sizeof(cudaEvent_t));
    j->layers = NULL;
    j->layer_count = 0;
    if (j->gate)
        kvf__cuda_return_event(e, j->gate);
    j->gate = NULL;
}

static void end(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    const kvf_error *error = atomic_load(&e->broken)      ? &e->broken_by
                             : j->failed.status != KVF_OK ? &j->failed
                                                          : NULL;
    if (!error)
        (void)land_layers(e, t);
    if (!kvf__transfer_is_over(t)) {
        kvf__transfer_over(t, error);
        kvf__cuda_tell(e, t);
    }
    return_events(e, j);
    kvf__transfer_retire(t);
}

/* Ends what has finished at the head of a lane; `*ended` collects it, linked by job.next. */
static bool advance(kvf__cuda *e, kvf__cuda_lane *l, kvf_transfer **ended) {
    bool any = false;
    for (kvf_transfer *t; (t = l->head) != NULL; any = true) {
        kvf__cuda_job *j = kvf__cuda_job_of(t);
        if (j->state == KVF__CUDA_ENQUEUING && t->background)
            return land_layers(e, t) || any;
        if (j->state == KVF__CUDA_WAITING || j->state == KVF__CUDA_ENQUEUING ||
            (j->state == KVF__CUDA_REFUSED && !kvf__transfer_is_over(t)))
            return any;
        if (!is_through(e, t)) {
            j->seen = kvf__now();
            kvf__cuda_note_start(e, t);
            return land_layers(e, t) || any;
        }
        l->since = kvf__cuda_end_of(e, t);
        l->head = j->next;
        if (!j->next)
            l->tail = &l->head;
        l->count--;
        end(e, t);
        j->next = *ended;
        *ended = t;
    }
    return any;
}

static bool advance_marks(kvf__cuda *e, unsigned lane) {
    _Atomic uint64_t *retired = &e->base.retired[lane];
    kvf__cuda_lane *l = &e->lanes[lane];
    kvf_error failed;
    bool any = false;
    while (atomic_load(retired) < atomic_load(&l->marked) &&
           has_fired(e, l->events[(atomic_load(retired) + 1) % KVF__CUDA_LANE_EVENTS], &failed)) {
        atomic_fetch_add(retired, 1);
        l->since = kvf__now();
        any = true;
    }
    return any;
}

static bool advance_all(kvf__cuda *e, kvf_transfer **ended) {
    bool any = false;
    for (unsigned lane = KVF__CUDA_MARKS; lane < KVF__CUDA_MARKS + KVF__CUDA_MARK_LANES; lane++)
        any |= advance_marks(e, lane);
    for (unsigned lane = 0; lane < KVF__CUDA_MARKS; lane++)
        any |= advance(e, &e->lanes[lane], ended);
    return any;
}

/* Takes `lock`. */
static bool land(kvf__cuda *e, bool entered, const kvf_error *failed) {
    kvf_transfer *ended = NULL;
    pthread_mutex_lock(&e->base.lock);
    if (!entered)
        kvf__cuda_note_failure(e, failed);
    bool any = (entered || atomic_load(&e->broken)) && advance_all(e, &ended);
    pthread_mutex_unlock(&e->base.lock);
    while (ended) {
        kvf_transfer *t = ended;
        ended = kvf__cuda_job_of(t)->next;
        kvf_transfer_release(t);
    }
    if (e->base.hooks.log.write)
        kvf__engine_write_notes(&e->base);
    return any;
}

/* Leaves it to the next progress if a submit holds `order` at the moment. */
static bool enqueue_more(kvf__cuda *e) {
    if (atomic_load(&e->waiting) == 0 || pthread_mutex_trylock(&e->base.order) != 0)
        return false;
    bool any = kvf__cuda_background(e);
    pthread_mutex_unlock(&e->base.order);
    return any;
}

bool kvf__cuda_progress(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    if (atomic_load(&engine->open) == 0 && !kvf__cuda_has_marks(e))
        return false;
    kvf__cuda_device_scope scope;
    kvf_error failed;
    bool entered = kvf__cuda_enter(e->options.device, &scope, &failed) == KVF_OK;
    bool any = land(e, entered, &failed);
    if (entered || atomic_load(&e->broken))
        any |= enqueue_more(e);
    if (entered)
        kvf__cuda_leave(&scope);
    return any;
}

/* The thread */

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
