#include "engine_cuda.h"

#include <stddef.h>
#include <string.h>

enum {
    USUAL_LANES = 4,
    ON_DEVICE_LANES = 2,
    USUAL_TRANSFERS = 1024,
    LONGEST_NAP_NS = 50 * 1000, /* nobody tells when a copy has landed */
};

static const kvf__engine_ops cuda_ops;

kvf__cuda *kvf__cuda_of(kvf_engine *engine) {
    return engine->ops == &cuda_ops ? (kvf__cuda *)engine : NULL;
}

/* Beyond use */

/* With `lock` held: whether an error of the runtime has ended the context. */
static bool note_broken(kvf__cuda *e, const kvf_error *error) {
    if (error->status != KVF_ERR_BROKEN || atomic_load(&e->broken))
        return atomic_load(&e->broken);
    e->broken_by = *error;
    atomic_store(&e->broken, true);
    return true;
}

/* With `lock` held: a runtime that no longer tells what has finished is beyond use, too. What the
 * lanes hold is let through first, as far as that can be done. */
static void give_up(kvf__cuda *e, const kvf_error *error) {
    kvf_error by = *error;
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        if (e->lanes[lane].stream)
            (void)cudaStreamSynchronize(e->lanes[lane].stream);
    (void)cudaGetLastError();
    by.status = KVF_ERR_BROKEN;
    note_broken(e, &by);
}

/* With `lock` held: whether asking for progress has failed for good. */
static bool note_failure(kvf__cuda *e, const kvf_error *error) {
    if (!note_broken(e, error) && ++e->failures >= KVF__CUDA_PATIENCE)
        give_up(e, error);
    return atomic_load(&e->broken);
}

/* How the transfer will end, if nothing came before. */
static void fail_job(kvf__cuda_job *j, const kvf_error *error) {
    if (j->failed.status != KVF_OK)
        return;
    j->failed = *error;
    if (error->status != KVF_ERR_BROKEN && error->status != KVF_ERR_NO_MEMORY)
        j->failed.status =
            KVF_ERR_ENGINE; /* whatever the runtime meant, the caller is not at fault */
}

kvf_status kvf__cuda_check_broken(kvf__cuda *e, kvf_error *error) {
    if (!atomic_load(&e->broken))
        return KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    kvf_error by = e->broken_by;
    pthread_mutex_unlock(&e->base.lock);
    return kvf__fail(error, by);
}

/* Events of groups */

static void give_back(kvf__cuda *e, kvf__cuda_job *j) {
    for (uint32_t g = 0; g < j->group_count; g++)
        if (j->groups[g])
            e->spare[e->spare_count++] = j->groups[g]; /* there is room; see demand */
    kvf__free(&e->base.allocator, j->groups, j->group_count, sizeof(cudaEvent_t));
    j->groups = NULL;
    j->group_count = 0;
}

/* With `lock` held: an event and room to give it back. */
static kvf_status demand(kvf__cuda *e, cudaEvent_t *out, kvf_error *error) {
    if (e->spare_count > 0) {
        *out = e->spare[--e->spare_count];
        return KVF_OK;
    }
    /* The list has room for all events there are. */
    size_t events = e->event_count + 1;
    if (!kvf__grow(&e->base.allocator, &e->spare, &e->spare_capacity, events, sizeof(cudaEvent_t)))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    cudaError_t code = cudaEventCreateWithFlags(out, cudaEventDisableTiming);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
    e->event_count = events;
    return KVF_OK;
}

static kvf_status demand_groups(kvf__cuda *e, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (!t->group_left)
        return KVF_OK;
    cudaEvent_t *groups = kvf__alloc_zero(&e->base.allocator, t->group_count, sizeof *groups);
    if (!groups)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    j->groups = groups;
    j->group_count = t->group_count;
    kvf_status status = KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    for (uint32_t g = 0; status == KVF_OK && g < t->group_count; g++)
        status = demand(e, &groups[g], error);
    pthread_mutex_unlock(&e->base.lock);
    return status;
}

/* Submitting; with `order` held */

static unsigned first_lane(const kvf_transfer *t) {
    bool from = t->src->memory == KVF_MEMORY_DEVICE, to = t->dst->memory == KVF_MEMORY_DEVICE;
    return from && to ? KVF__CUDA_ON_DEVICE : from ? KVF__CUDA_FROM_DEVICE : KVF__CUDA_TO_DEVICE;
}

static unsigned cuda_lane(kvf_engine *engine, const kvf_transfer *t) {
    kvf__cuda *e = kvf__cuda_of(engine);
    unsigned first = first_lane(t), best = first;
    pthread_mutex_lock(&engine->lock);
    for (unsigned i = 1; i < KVF__CUDA_MOST_LANES; i++) {
        const kvf__cuda_lane *l = &e->lanes[first + i];
        if (l->stream && l->count < e->lanes[best].count)
            best = first + i;
    }
    pthread_mutex_unlock(&engine->lock);
    return best;
}

static enum cudaMemcpyKind kind_of(const kvf_transfer *t) {
    switch (first_lane(t)) {
    case KVF__CUDA_TO_DEVICE:
        return cudaMemcpyHostToDevice;
    case KVF__CUDA_FROM_DEVICE:
        return cudaMemcpyDeviceToHost;
    default:
        return cudaMemcpyDeviceToDevice;
    }
}

/* What a call takes the driver, in nanoseconds, as measured by others on H100s: 2.3 us a copy call,
 * 0.5 us a piece of a batch. */
static bool batch_is_quicker(const kvf_move *move) {
    enum { CALL = 2300, PIECE = 500, BATCH = 5000 };
    uint64_t boxes = kvf__move_box_count(move, &kvf__cuda_loop_limits);
    uint64_t pieces = kvf__move_box_count(move, &kvf__cuda_batch_limits);
    return BATCH + PIECE * pieces < CALL * boxes;
}

static kvf__cuda_strategy_fn *choose(const kvf__cuda *e, const kvf_move *move) {
    if (e->options.strategy == KVF_CUDA_LOOP || !e->driver.batch)
        return kvf__cuda_loop;
    if (e->options.strategy == KVF_CUDA_BATCH || batch_is_quicker(move))
        return kvf__cuda_batch;
    return kvf__cuda_loop;
}

/* Behind whom the transfer begins. */
static kvf_status enqueue_waits(kvf__cuda *e, kvf_transfer *t, cudaStream_t stream,
                                kvf_error *error) {
    uint64_t after[KVF__LANES];
    memcpy(after, t->after, sizeof after);
    kvf_status status = kvf__cuda_wait_after(e, after, stream, error);
    for (size_t i = 0; status == KVF_OK && i < t->event_count; i++) {
        cudaEvent_t event = t->events[i];
        status = kvf__cuda_check_event(event, error);
        if (status != KVF_OK)
            break;
        cudaError_t code = cudaStreamWaitEvent(stream, event, 0);
        if (code != cudaSuccess)
            status = kvf__cuda_fail(code, "cudaStreamWaitEvent", error);
    }
    return status;
}

/* The end of the spans of the group that the next span belongs to; of all unless by group. */
static size_t end_of_group(const kvf_move *move, size_t span) {
    size_t end = span + 1;
    while (end < move->span_count &&
           (!move->by_group || move->spans[end].group == move->spans[span].group))
        end++;
    return end;
}

static kvf_status enqueue_copies(kvf__cuda_queue *q, kvf_transfer *t, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_strategy_fn *strategy = choose(q->engine, q->move);
    while (q->move->runs.pairs > 0 && q->cursor.span < q->move->span_count) {
        kvf_status status = strategy(q, end_of_group(q->move, q->cursor.span), error);
        if (status != KVF_OK)
            return status;
        if (!j->groups)
            continue;
        cudaError_t code = cudaEventRecord(j->groups[j->groups_recorded], q->stream);
        if (code != cudaSuccess)
            return kvf__cuda_fail(code, "cudaEventRecord", error);
        j->groups_recorded++;
    }
    return KVF_OK;
}

/* Behind the last copy. Where that fails the stream is drained, so that nothing of the transfer is
 * left in it. */
static void record_end(kvf__cuda *e, kvf_transfer *t, kvf__cuda_queue *q) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    cudaEvent_t end = e->lanes[t->lane].ring[t->sequence % KVF__CUDA_RING];
    cudaError_t code = cudaEventRecord(end, q->stream);
    j->recorded = code == cudaSuccess;
    if (j->recorded)
        return;
    kvf_error failed = {.status = KVF_ERR_ENGINE};
    kvf__cuda_fail(code, "cudaEventRecord", &failed);
    if (q->enqueued && (code = cudaStreamSynchronize(q->stream)) != cudaSuccess) {
        kvf__cuda_fail(code, "cudaStreamSynchronize", &failed);
        pthread_mutex_lock(&e->base.lock);
        give_up(e, &failed);
        pthread_mutex_unlock(&e->base.lock);
    }
    fail_job(j, &failed);
}

/* Everything between entering the device and leaving it. */
static kvf_status enqueue(kvf__cuda *e, kvf_transfer *t, bool cancelled, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf__cuda_queue q = {.engine = e,
                         .move = t->move,
                         .stream = e->lanes[t->lane].stream,
                         .kind = kind_of(t),
                         .settled = t->event_count == 0 && kvf__engine_reached(&e->base, t->after)};
    kvf_status status = demand_groups(e, t, error);
    if (status == KVF_OK)
        status = enqueue_waits(e, t, q.stream, error);
    if (status == KVF_OK && !cancelled)
        status = enqueue_copies(&q, t, error);
    if (status != KVF_OK && !q.enqueued)
        return status; /* some waits may be missing: its event would say too much */
    if (status != KVF_OK)
        fail_job(j, error); /* too late for submit to say it */
    record_end(e, t, &q);
    return KVF_OK;
}

/* What the tiers or the lane rule out. */
static kvf_status check_submit(kvf__cuda *e, const kvf_transfer *t, kvf_error *error) {
    uint64_t retired = atomic_load(&e->base.retired[t->lane]);
    if (t->src->memory != KVF_MEMORY_DEVICE && t->dst->memory != KVF_MEMORY_DEVICE)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "neither tier is in device memory");
    if (t->sequence - retired >= KVF__CUDA_RING)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN, .what = "the lane is full");
    return kvf__cuda_check_broken(e, error);
}

/* Joins the lane. Returns whether the transfer was cancelled before it could begin. */
static bool join_lane(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_lane *l = &e->lanes[t->lane];
    pthread_mutex_lock(&e->base.lock);
    bool cancelled = kvf__transfer_is_over(t);
    if (!cancelled)
        kvf__transfer_begin(t); /* from here on it is the stream's */
    *l->tail = t;
    l->tail = &kvf__cuda_job_of(t)->next;
    l->count++;
    pthread_mutex_unlock(&e->base.lock);
    return cancelled;
}

static kvf_status try_submit(kvf__cuda *e, kvf_transfer *t, bool cancelled, kvf_error *error) {
    kvf__cuda_guard guard;
    kvf_status status = check_submit(e, t, error);
    if (status == KVF_OK)
        status = kvf__cuda_enter(e->options.device, &guard, error);
    if (status != KVF_OK)
        return status;
    status = enqueue(e, t, cancelled, error);
    kvf__cuda_leave(&guard);
    return status;
}

static kvf_status cuda_submit(kvf_engine *engine, kvf_transfer *t, kvf_error *error) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_status status = try_submit(e, t, join_lane(e, t), error);
    pthread_mutex_lock(&engine->lock);
    note_broken(e, status != KVF_OK ? error : &j->failed);
    j->state = status == KVF_OK ? KVF__CUDA_ENQUEUED : KVF__CUDA_REFUSED;
    pthread_mutex_unlock(&engine->lock);
    return status;
}

/* Progress; with `lock` held, on the engine's device */

static bool has_fired(kvf__cuda *e, cudaEvent_t event, kvf_error *failed) {
    cudaError_t code = atomic_load(&e->broken) ? cudaSuccess : cudaEventQuery(event);
    if (code == cudaSuccess || code == cudaErrorNotReady) {
        e->failures = 0;
        return code == cudaSuccess;
    }
    kvf__cuda_fail(code, "cudaEventQuery", failed);
    return note_failure(e, failed);
}

static bool land_groups(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_error failed;
    bool any = false;
    while (j->groups_landed < j->groups_recorded && !atomic_load(&e->broken) &&
           has_fired(e, j->groups[j->groups_landed], &failed)) {
        uint32_t k = j->groups_landed++;
        kvf__transfer_group_landed(t, t->first_group + k, t->group_left[k]);
        any = true;
    }
    return any;
}

/* Whether nothing of the transfer is left in its stream. */
static bool is_through(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    if (!j->recorded)
        return atomic_load(&e->broken) || kvf__engine_reached(&e->base, t->after);
    kvf_error failed = {.status = KVF_OK};
    bool fired = has_fired(e, e->lanes[t->lane].ring[t->sequence % KVF__CUDA_RING], &failed);
    if (failed.status != KVF_OK)
        fail_job(j, &failed);
    return fired;
}

static void end(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    const kvf_error *error = atomic_load(&e->broken)      ? &e->broken_by
                             : j->failed.status != KVF_OK ? &j->failed
                                                          : NULL;
    if (!error)
        (void)land_groups(e, t);
    if (!kvf__transfer_is_over(t))
        kvf__transfer_over(t, error);
    give_back(e, j);
    kvf__transfer_retire(t);
}

/* Ends what is through at the head of a lane; `*left` collects it, by job.next. */
static bool advance(kvf__cuda *e, kvf__cuda_lane *l, kvf_transfer **left) {
    bool any = false;
    for (kvf_transfer *t; (t = l->head) != NULL; any = true) {
        kvf__cuda_job *j = kvf__cuda_job_of(t);
        if (j->state == KVF__CUDA_ENQUEUING ||
            (j->state == KVF__CUDA_REFUSED && !kvf__transfer_is_over(t)))
            return any;
        if (!is_through(e, t))
            return land_groups(e, t) || any;
        l->head = j->next;
        if (!j->next)
            l->tail = &l->head;
        l->count--;
        end(e, t);
        j->next = *left;
        *left = t;
    }
    return any;
}

static bool advance_marks(kvf__cuda *e) {
    _Atomic uint64_t *retired = &e->base.retired[KVF__CUDA_MARKS];
    const kvf__cuda_lane *l = &e->lanes[KVF__CUDA_MARKS];
    kvf_error failed;
    bool any = false;
    while (atomic_load(retired) < atomic_load(&e->marked) &&
           has_fired(e, l->ring[(atomic_load(retired) + 1) % KVF__CUDA_RING], &failed)) {
        atomic_fetch_add(retired, 1);
        any = true;
    }
    return any;
}

static bool advance_all(kvf__cuda *e, kvf_transfer **left) {
    bool any = advance_marks(e);
    for (unsigned lane = 0; lane < KVF__CUDA_MARKS; lane++)
        any |= advance(e, &e->lanes[lane], left);
    return any;
}

static bool cuda_progress(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    if (atomic_load(&engine->open) == 0 &&
        atomic_load(&engine->retired[KVF__CUDA_MARKS]) == atomic_load(&e->marked))
        return false;
    kvf__cuda_guard guard;
    kvf_error failed;
    bool entered = kvf__cuda_enter(e->options.device, &guard, &failed) == KVF_OK;
    kvf_transfer *left = NULL;
    pthread_mutex_lock(&engine->lock);
    if (!entered)
        note_failure(e, &failed);
    bool any = (entered || atomic_load(&e->broken)) && advance_all(e, &left);
    pthread_mutex_unlock(&engine->lock);
    if (entered)
        kvf__cuda_leave(&guard);
    while (left) {
        kvf_transfer *t = left;
        left = kvf__cuda_job_of(t)->next;
        kvf_transfer_release(t);
    }
    return any;
}

/* Life */

static void cuda_wake(kvf_engine *engine) {
    (void)engine; /* whoever waits has a look soon */
}

static kvf_status cuda_accept(kvf_engine *engine, const kvf_layout *layout, kvf_memory memory,
                              kvf_error *error) {
    kvf__cuda *e = kvf__cuda_of(engine);
    if (memory == KVF_MEMORY_HOST)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the CUDA engine needs pinned host memory");
    kvf__cuda_guard guard;
    kvf_status status = kvf__cuda_enter(e->options.device, &guard, error);
    if (status != KVF_OK)
        return status;
    status = kvf__cuda_check_layout(e, layout, memory, error);
    kvf__cuda_leave(&guard);
    return status;
}

static void close_lane(kvf__cuda_lane *l) {
    for (size_t i = 0; i < KVF__CUDA_RING; i++)
        if (l->ring[i])
            (void)cudaEventDestroy(l->ring[i]);
    if (l->stream)
        (void)cudaStreamDestroy(l->stream);
    *l = (kvf__cuda_lane){0};
}

/* Gives back what the runtime has given, on its device. */
static void close_all(kvf__cuda *e) {
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        close_lane(&e->lanes[lane]);
    for (size_t i = 0; i < e->spare_count; i++)
        (void)cudaEventDestroy(e->spare[i]);
    e->spare_count = 0;
    (void)cudaGetLastError();
}

static void cuda_close(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf__cuda_guard guard;
    bool entered = kvf__cuda_enter(e->options.device, &guard, NULL) == KVF_OK;
    /* Marks may still wait for events of the caller's; destroying a stream lets it finish. */
    close_all(e);
    atomic_store(&engine->retired[KVF__CUDA_MARKS], atomic_load(&e->marked));
    if (entered)
        kvf__cuda_leave(&guard);
}

static void cuda_free(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf_allocator allocator = engine->allocator;
    kvf__free(&allocator, e->spare, e->spare_capacity, sizeof(cudaEvent_t));
    kvf__free(&allocator, e->lists, 1, sizeof *e->lists);
    kvf__engine_fini(engine);
    kvf__free(&allocator, e, 1, sizeof *e);
}

static const kvf__engine_ops cuda_ops = {
    .name = "cuda",
    .limits = &kvf__cuda_loop_limits,
    .longest_nap = LONGEST_NAP_NS,
    .has_events = true,
    .job_size = sizeof(kvf__cuda_job),
    .accept = cuda_accept,
    .lane = cuda_lane,
    .submit = cuda_submit,
    .wake = cuda_wake,
    .progress = cuda_progress,
    .close = cuda_close,
    .free = cuda_free,
};

static kvf_status open_lane(kvf__cuda *e, unsigned lane, kvf_error *error) {
    kvf__cuda_lane *l = &e->lanes[lane];
    cudaError_t code = cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking);
    if (code != cudaSuccess) {
        l->stream = NULL;
        return kvf__cuda_fail(code, "cudaStreamCreateWithFlags", error);
    }
    for (size_t i = 0; i < KVF__CUDA_RING; i++) {
        code = cudaEventCreateWithFlags(&l->ring[i], cudaEventDisableTiming);
        if (code == cudaSuccess)
            continue;
        l->ring[i] = NULL;
        return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
    }
    return KVF_OK;
}

static kvf_status open_lanes(kvf__cuda *e, kvf_error *error) {
    kvf_status status = open_lane(e, KVF__CUDA_MARKS, error);
    for (unsigned i = 0; status == KVF_OK && i < e->options.lanes; i++) {
        status = open_lane(e, KVF__CUDA_TO_DEVICE + i, error);
        if (status == KVF_OK)
            status = open_lane(e, KVF__CUDA_FROM_DEVICE + i, error);
        if (status == KVF_OK && i < ON_DEVICE_LANES)
            status = open_lane(e, KVF__CUDA_ON_DEVICE + i, error);
    }
    return status;
}

static kvf_status open_device(kvf__cuda *e, kvf_error *error) {
    kvf__cuda_guard guard;
    int devices = 0;
    cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaGetDeviceCount", error);
    if (e->options.device < 0 || e->options.device >= devices)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = (uint64_t)devices, .what = "no such device");
    kvf_status status = kvf__cuda_enter(e->options.device, &guard, error);
    if (status != KVF_OK)
        return status;
    status = kvf__cuda_load_driver(&e->driver, error);
    if (status == KVF_OK && e->options.strategy == KVF_CUDA_BATCH && !e->driver.batch)
        status = KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                           .what = "the driver has no batched copies");
    if (status == KVF_OK)
        status = open_lanes(e, error);
    if (status != KVF_OK)
        close_all(e);
    kvf__cuda_leave(&guard);
    return status;
}

static kvf_status check_options(const kvf_cuda_options *o, kvf_error *error) {
    if (o->lanes > KVF__CUDA_MOST_LANES)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = KVF__CUDA_MOST_LANES, .what = "too many lanes");
    if (o->strategy != KVF_CUDA_AUTO && o->strategy != KVF_CUDA_LOOP &&
        o->strategy != KVF_CUDA_BATCH)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such strategy");
    return KVF_OK;
}

static kvf_status init(kvf__cuda *e, const kvf_cuda_options *o, const kvf_allocator *allocator,
                       kvf_error *error) {
    e->options = *o;
    e->options.lanes = o->lanes ? o->lanes : USUAL_LANES;
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        e->lanes[lane].tail = &e->lanes[lane].head;
    e->lists = kvf__alloc(allocator, 1, sizeof *e->lists);
    if (!e->lists)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    size_t most = o->max_transfers ? o->max_transfers : USUAL_TRANSFERS;
    kvf_status status = kvf__engine_init(&e->base, &cuda_ops, allocator, most, error);
    if (status != KVF_OK)
        return status;
    status = open_device(e, error);
    if (status != KVF_OK)
        kvf__engine_fini(&e->base);
    return status;
}

kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                  kvf_error *error) {
    const kvf_cuda_options none = {0};
    const kvf_cuda_options *o = options ? options : &none;
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "out is NULL");
    kvf_status status = check_options(o, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator allocator = kvf__allocator(o->allocator);
    kvf__cuda *e = kvf__alloc_zero(&allocator, 1, sizeof *e);
    if (!e)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    status = init(e, o, &allocator, error);
    if (status == KVF_OK) {
        *out = &e->base;
        return KVF_OK;
    }
    kvf__free(&allocator, e->spare, e->spare_capacity, sizeof(cudaEvent_t));
    kvf__free(&allocator, e->lists, 1, sizeof *e->lists);
    kvf__free(&allocator, e, 1, sizeof *e);
    return status;
}
