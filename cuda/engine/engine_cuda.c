/* The CUDA engine's life, and its operations (kvf__engine_ops). */
#include "engine/engine_cuda.h"

enum {
    USUAL_LANES = 4,
    ON_DEVICE_LANES = 2,
    USUAL_TRANSFERS = 1024,
    USUAL_PACKING_BYTES = 32 << 20,
    USUAL_PACKING_LIMIT = 128 << 20,
    LEAST_PACKING_BYTES = 4096 * KVF__CUDA_BUFFERS,
    MOST_CTAS = 1024,
    LONGEST_NAP_NS = 50 * 1000, /* short, since nothing wakes a wait when a copy lands */
};

/* Submitting; with `order` held */

static kvf_cuda_direction direction_of(const kvf_transfer *t) {
    bool from = t->src->memory == KVF_MEMORY_DEVICE, to = t->dst->memory == KVF_MEMORY_DEVICE;
    return from && to ? KVF_CUDA_ON_DEVICE : from ? KVF_CUDA_FROM_DEVICE : KVF_CUDA_TO_DEVICE;
}

static unsigned background_lane(const kvf_transfer *t, kvf_cuda_direction direction) {
    unsigned first = KVF__CUDA_BACKGROUND + KVF_PRIORITIES * (unsigned)direction;
    return first + (direction == KVF_CUDA_ON_DEVICE ? t->priority / 2 : t->priority);
}

static unsigned cuda_lane(kvf_engine *engine, const kvf_transfer *t) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf_cuda_direction direction = direction_of(t);
    if (t->background)
        return background_lane(t, direction);
    unsigned first = KVF__CUDA_ORDERED + KVF__CUDA_MOST_LANES * (unsigned)direction, best = first;
    unsigned lanes = direction == KVF_CUDA_ON_DEVICE ? ON_DEVICE_LANES : e->options.lanes;
    pthread_mutex_lock(&engine->lock);
    for (unsigned i = 1; i < lanes; i++)
        if (e->lanes[first + i].count < e->lanes[best].count)
            best = first + i;
    pthread_mutex_unlock(&engine->lock);
    return best;
}

/* Rejects what the tiers, the lane or a broken engine rule out. */
static kvf_status check_submit(kvf__cuda *e, const kvf_transfer *t, kvf_error *error) {
    uint64_t retired = atomic_load(&e->base.retired[t->lane]);
    if (t->src->memory != KVF_MEMORY_DEVICE && t->dst->memory != KVF_MEMORY_DEVICE)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "at least one tier must be in device memory");
    if (t->sequence - retired >= KVF__CUDA_LANE_EVENTS)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN,
                         .what = "the lane has too many open transfers");
    return kvf__cuda_check_broken(e, error);
}

static const kvf__cuda_reach *reach_of(const kvf_tier *tier, const kvf_layout *layout) {
    const kvf__cuda_reach *reaches = tier->places;
    size_t i = 0;
    while (tier->layouts[i] != layout)
        i++;
    return &reaches[i];
}

/* Keeps what copying needs of the tiers: they may be gone once a background transfer begins. */
static void note_tiers(const kvf_transfer *t, kvf__cuda_copier *c) {
    const kvf__cuda_reach *src = reach_of(t->src, t->src_layout);
    const kvf__cuda_reach *dst = reach_of(t->dst, t->dst_layout);
    c->direction = direction_of(t);
    c->reachable = src->reachable && dst->reachable;
    c->src_shift = src->shift;
    c->dst_shift = dst->shift;
}

/* Adds the transfer to its lane. Returns whether it was cancelled before it could begin. */
static bool join_lane(kvf__cuda *e, kvf_transfer *t) {
    kvf__cuda_lane *l = &e->lanes[t->lane];
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    pthread_mutex_lock(&e->base.lock);
    bool cancelled = kvf__transfer_is_over(t);
    j->seen = kvf__now();
    j->state = t->background ? KVF__CUDA_WAITING : KVF__CUDA_ENQUEUING;
    j->alone = !t->background && t->event_count == 0 && atomic_load(&e->base.open) == 1 &&
               !kvf__cuda_has_marks(e);
    if (!cancelled && !t->background)
        kvf__transfer_begin(t);
    *l->tail = t;
    l->tail = &j->next;
    l->count++;
    if (t->background)
        atomic_fetch_add(&e->waiting, 1);
    pthread_mutex_unlock(&e->base.lock);
    return cancelled;
}

/* Enqueues an ordered transfer, or the gate of a background one; on the engine's device. */
static kvf_status enqueue(kvf__cuda *e, kvf_transfer *t, bool cancelled, kvf_error *error) {
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_status status = kvf__cuda_open_lane(e, t->lane, error);
    if (status == KVF_OK && t->background)
        return kvf__cuda_gate(e, t, error);
    if (status == KVF_OK)
        status = kvf__cuda_begin(e, t, error);
    bool done;
    if (status == KVF_OK && !cancelled)
        status = kvf__cuda_copy_some(e, t, SIZE_MAX, &done, error);
    bool moves = j->copier.enqueued;
    if (status != KVF_OK && moves)
        kvf__cuda_fail_job(j, error); /* too late for submit to return it */
    /* Not where waits may be missing: its event could fire too early. */
    if (status == KVF_OK || moves)
        kvf__cuda_record_end(e, t);
    kvf__cuda_copier_finish(&j->copier);
    return moves ? KVF_OK : status;
}

static kvf_status try_submit(kvf__cuda *e, kvf_transfer *t, bool cancelled, kvf_error *error) {
    kvf__cuda_device_scope scope;
    kvf_status status = check_submit(e, t, error);
    if (status == KVF_OK)
        status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    note_tiers(t, &kvf__cuda_job_of(t)->copier);
    status = enqueue(e, t, cancelled, error);
    kvf__cuda_leave(&scope);
    return status;
}

static kvf_status cuda_submit(kvf_engine *engine, kvf_transfer *t, kvf_error *error) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf__cuda_job *j = kvf__cuda_job_of(t);
    kvf_status status = try_submit(e, t, join_lane(e, t), error);
    pthread_mutex_lock(&engine->lock);
    kvf__cuda_note_broken(e, status != KVF_OK ? error : &j->failed);
    if (status != KVF_OK)
        j->state = KVF__CUDA_REFUSED;
    else if (!t->background)
        j->state = KVF__CUDA_ENQUEUED;
    if (status == KVF_OK) {
        kvf__transfer_accepted(t, kvf__now());
        kvf__cuda_note_start(e, t);
    }
    if (status != KVF_OK && t->background)
        atomic_fetch_sub(&e->waiting, 1);
    if (t->background)
        pthread_cond_signal(&engine->work);
    pthread_mutex_unlock(&engine->lock);
    return status;
}

/* With `lock` held: wakes the thread. Waits look again soon anyway. */
static void cuda_wake(kvf_engine *engine) {
    pthread_cond_signal(&engine->work);
}

static kvf_status cuda_accept(kvf_engine *engine, const kvf_layout *layout, kvf_memory memory,
                              void *reach, kvf_error *error) {
    kvf__cuda *e = kvf__cuda_of(engine);
    if (memory == KVF_MEMORY_HOST)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the CUDA engine needs pinned host memory");
    kvf__cuda_device_scope scope;
    kvf_status status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    status = kvf__cuda_check_layout(e, layout, memory, reach, error);
    kvf__cuda_leave(&scope);
    return status;
}

/* Closing */

static void cuda_close(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf__cuda_device_scope scope;
    kvf__engine_stop_threads(engine);
    bool entered = kvf__cuda_enter(e->options.device, &scope, NULL) == KVF_OK;
    /* Marks may still wait for the caller's events; a destroyed stream finishes its work. */
    kvf__cuda_close_lanes(e);
    kvf__cuda_upload_ring_free(&e->copying.uploads);
    kvf__cuda_buffers_free(&e->copying);
    for (unsigned l = KVF__CUDA_MARKS; l < KVF__CUDA_MARKS + KVF__CUDA_MARK_LANES; l++)
        atomic_store(&engine->retired[l], atomic_load(&e->lanes[l].marked));
    if (entered)
        kvf__cuda_leave(&scope);
}

/* Frees what init made so far, except for the base. */
static void free_parts(kvf__cuda *e, const kvf_allocator *allocator) {
    kvf__free(allocator, e->spare, e->spare_capacity, sizeof(cudaEvent_t));
    kvf__free(allocator, e->copying.lists, 1, sizeof *e->copying.lists);
    kvf_cuda_costs_destroy(e->costs);
    kvf__free(allocator, e, 1, sizeof *e);
}

static void cuda_free(kvf_engine *engine) {
    kvf__cuda *e = kvf__cuda_of(engine);
    kvf_allocator allocator = engine->allocator;
    kvf__engine_fini(engine);
    free_parts(e, &allocator);
}

const kvf__engine_ops kvf__cuda_ops = {
    .name = "cuda",
    .limits = &kvf__cuda_loop_limits,
    .longest_nap = LONGEST_NAP_NS,
    .has_events = true,
    .has_background = true,
    .needs_plans = true,
    .strategies = KVF_CUDA_STRATEGIES - 1,
    .job_size = sizeof(kvf__cuda_job),
    .place_size = sizeof(kvf__cuda_reach),
    .accept = cuda_accept,
    .lane = cuda_lane,
    .submit = cuda_submit,
    .wake = cuda_wake,
    .progress = kvf__cuda_progress,
    .expect = kvf__cuda_expect,
    .count = kvf__cuda_count,
    .close = cuda_close,
    .free = cuda_free,
};

/* Opening */

static bool speed_fits(double gbps) {
    return gbps == 0 || (gbps >= 1e-3 && gbps <= 1e12);
}

static kvf_status check_options(const kvf_cuda_options *o, kvf_error *error) {
    if (o->lanes > KVF__CUDA_MOST_LANES)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = KVF__CUDA_MOST_LANES, .what = "lanes must be at most 8");
    if ((unsigned)o->strategy >= KVF_CUDA_STRATEGIES)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "unknown strategy");
    if (!speed_fits(o->background_to_gbps) || !speed_fits(o->background_from_gbps))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "a background cap must be 0 or from 1e-3 to 1e12 GB/s");
    if (o->ctas > MOST_CTAS)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = MOST_CTAS, .what = "ctas must be at most 1024");
    if (o->packing_bytes > 0 && o->packing_bytes < LEAST_PACKING_BYTES)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = LEAST_PACKING_BYTES,
                         .what = "packing_bytes must be 0 or at least 16384");
    return KVF_OK;
}

static void set_options(kvf__cuda *e, const kvf_cuda_options *o) {
    e->options = *o;
    e->options.lanes = o->lanes ? o->lanes : USUAL_LANES;
    e->options.packing_bytes = o->packing_bytes ? o->packing_bytes : USUAL_PACKING_BYTES;
    e->options.packing_bytes -= e->options.packing_bytes % LEAST_PACKING_BYTES;
    e->options.packing_limit = o->packing_limit ? o->packing_limit : USUAL_PACKING_LIMIT;
    e->options.costs = NULL; /* these are copied elsewhere */
    e->options.allocator = NULL;
    e->options.log = NULL;
    e->options.ranges = NULL;
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        e->lanes[lane].tail = &e->lanes[lane].head;
}

static kvf_status take_costs(kvf__cuda *e, const kvf_cuda_costs *costs,
                             const kvf_allocator *allocator, kvf_error *error) {
    if (!costs)
        return kvf_cuda_costs_builtin(allocator, &e->costs, error);
    e->costs = kvf__cuda_costs_copy(costs, allocator);
    return e->costs ? KVF_OK : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

static kvf_status ask_device(kvf__cuda *e, kvf_error *error) {
    kvf_status status = kvf__cuda_load_driver(&e->driver, error);
    if (status == KVF_OK && !kvf__cuda_offers(e, e->options.strategy))
        status = KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                           .what = "the strategy is not available");
    if (status != KVF_OK)
        return status;
    cudaError_t code = cudaDeviceGetAttribute(&e->copying.processors,
                                              cudaDevAttrMultiProcessorCount, e->options.device);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaDeviceGetAttribute", error);
}

static kvf_status open_device(kvf__cuda *e, kvf_error *error) {
    kvf__cuda_device_scope scope;
    int devices = 0;
    cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaGetDeviceCount", error);
    if (e->options.device < 0 || e->options.device >= devices)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = (uint64_t)devices,
                         .what = "device must be below the number of devices");
    kvf_status status = kvf__cuda_enter(e->options.device, &scope, error);
    if (status != KVF_OK)
        return status;
    status = ask_device(e, error);
    kvf__cuda_leave(&scope);
    return status;
}

static kvf_status init_base(kvf__cuda *e, const kvf_cuda_options *o, const kvf_allocator *allocator,
                            kvf_error *error) {
    size_t most = o->max_transfers ? o->max_transfers : USUAL_TRANSFERS;
    kvf__hooks hooks;
    kvf_status status = kvf__hooks_take(&hooks, o->log, o->ranges, error);
    if (status != KVF_OK)
        return status;
    if (!o->ranges)
        kvf__cuda_attach_nvtx(&e->nvtx, &hooks.ranges);
    status = kvf__engine_init(&e->base, &kvf__cuda_ops, allocator, &hooks, most, error);
    if (status != KVF_OK)
        return status;
    status = open_device(e, error);
    if (status == KVF_OK && !o->no_thread)
        status = kvf__engine_start_threads(&e->base, 1, kvf__cuda_thread, error);
    if (status != KVF_OK)
        kvf__engine_fini(&e->base);
    return status;
}

static kvf_status init(kvf__cuda *e, const kvf_cuda_options *o, const kvf_allocator *allocator,
                       kvf_error *error) {
    set_options(e, o);
    e->copying.allocator = &e->base.allocator;
    e->copying.driver = &e->driver;
    e->copying.options = &e->options;
    e->copying.retired = e->base.retired;
    e->copying.lists = kvf__alloc(allocator, 1, sizeof *e->copying.lists);
    if (!e->copying.lists)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = take_costs(e, o->costs, allocator, error);
    return status == KVF_OK ? init_base(e, o, allocator, error) : status;
}

static void log_opening(const kvf__cuda *e) {
    const kvf_cuda_options *o = &e->options;
    kvf__log(
        &e->base.hooks.log, KVF_LOG_INFO,
        "engine cuda: device %d, %u lanes each way, %zu transfers at a time, strategy %s, "
        "cost table %s, packing buffers of %zu to %zu bytes each way, background %s at up to %g "
        "and %g GB/s (0: no limit)%s",
        o->device, o->lanes, e->base.max_open, kvf_cuda_strategy_name(o->strategy),
        e->costs->calibrated ? "calibrated" : "built-in", o->packing_bytes, o->packing_limit,
        o->no_thread ? "without a thread" : "by a thread", o->background_to_gbps,
        o->background_from_gbps, e->nvtx.domain ? ", NVTX ranges" : "");
}

kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                  kvf_error *error) {
    const kvf_cuda_options none = {0};
    const kvf_cuda_options *o = options ? options : &none;
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_options(o, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator allocator = kvf__allocator(o->allocator);
    kvf__cuda *e = kvf__alloc_zero(&allocator, 1, sizeof *e);
    if (!e)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    status = init(e, o, &allocator, error);
    if (status != KVF_OK) {
        free_parts(e, &allocator);
        return status;
    }
    log_opening(e);
    *out = &e->base;
    return KVF_OK;
}
