/* Submitting: the plans are checked and lowered without a lock, then ordered under `order`. */
#include "engine/completion.h"
#include "engine/transfer.h"

#include <assert.h>
#include <string.h>

static kvf_status check_submit(const kvf_tier *src, const kvf_tier *dst, const kvf_plan *plans,
                               size_t plan_count, const kvf_submit_options *o, kvf_error *error) {
    if (!src || !dst || (!plans && plan_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (src->engine != dst->engine)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "tiers belong to different engines");
    if (o->priority >= KVF_PRIORITIES || (o->priority > 0 && !o->background))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                         .index = o->priority,
                         .what = o->background ? "priority must be below KVF_PRIORITIES"
                                               : "priority needs a background transfer");
    if (o->strategy > src->engine->ops->strategies)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                         .index = o->strategy, .what = "unknown strategy for this engine");
    if (!o->events && o->event_count > 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "events are NULL but event_count is not 0");
    if (o->background && !src->engine->ops->has_background)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the engine does not support background transfers");
    if (o->event_count > 0 && !src->engine->ops->has_events)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the engine does not support events");
    if (o->src_layout >= src->layout_count || o->dst_layout >= dst->layout_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "layout index exceeds the tier's layouts");
    return KVF_OK;
}

/* Copies the plans, to find blocks by position later. */
static bool keep_plans(kvf_transfer *t, const kvf_plan *plans) {
    const kvf_allocator *a = &t->engine->allocator;
    size_t count = 0;
    for (size_t i = 0; i < t->plan_count; i++)
        count += 2 * plans[i].count;
    t->plans.items = kvf__alloc_zero(a, t->plan_count, sizeof *t->plans.items);
    t->plans.ids = kvf__alloc(a, count, sizeof *t->plans.ids);
    t->plans.id_count = t->plans.ids ? count : 0;
    if (!t->plans.items || !t->plans.ids)
        return false;
    uint64_t *ids = t->plans.ids;
    for (size_t i = 0; i < t->plan_count; i++) {
        size_t n = plans[i].count;
        t->plans.items[i] = (kvf_plan){plans[i].first_position, n, ids, ids + n, NULL};
        if (n > 0) {
            memcpy(ids, plans[i].src_ids, n * sizeof *ids);
            memcpy(ids + n, plans[i].dst_ids, n * sizeof *ids);
        }
        ids += 2 * n;
    }
    return true;
}

static bool fill_results(kvf_transfer *t, const kvf_plan *plans, size_t plan_count) {
    const kvf_allocator *a = &t->engine->allocator;
    if (t->move->by_layer) {
        t->layer_left = kvf__alloc(a, t->layer_count, sizeof *t->layer_left);
        if (!t->layer_left)
            return false;
        kvf__transfer_count_layer_bytes(t);
    }
    if (plan_count == 0)
        return true;
    t->plan_blocks = kvf__alloc(a, plan_count, sizeof *t->plan_blocks);
    t->landed = kvf__alloc(a, plan_count, sizeof *t->landed);
    t->plan_count = plan_count; /* freeing needs the count even if one of them is NULL */
    if (!t->plan_blocks || !t->landed)
        return false;
    for (size_t i = 0; i < plan_count; i++)
        t->plan_blocks[i] = t->landed[i] = plans[i].count;
    bool wanted = t->src->sums || (t->background && t->engine->ops->needs_plans);
    return !wanted || t->move->runs.pairs == 0 || keep_plans(t, plans);
}

static uint64_t *direction_of(kvf_engine *engine, const kvf_tier *src, const kvf_tier *dst) {
    kvf_counters *c = &engine->counters;
    if (src->memory == KVF_MEMORY_DEVICE)
        return dst->memory == KVF_MEMORY_DEVICE ? &c->bytes_device_to_device
                                                : &c->bytes_device_to_host;
    return dst->memory == KVF_MEMORY_DEVICE ? &c->bytes_host_to_device : &c->bytes_host_to_host;
}

static kvf_transfer *allocate(kvf_tier *src, kvf_tier *dst, const kvf_submit_options *o) {
    kvf_engine *engine = src->engine;
    size_t size = sizeof(kvf_transfer) + engine->ops->job_size;
    kvf_transfer *t = kvf__alloc_zero(&engine->allocator, 1, size);
    if (!t)
        return NULL;
    kvf__engine_hold(engine);
    t->engine = engine;
    t->src = src;
    t->dst = dst;
    t->src_layout = kvf__layout_hold(src->layouts[o->src_layout]);
    t->dst_layout = kvf__layout_hold(dst->layouts[o->dst_layout]);
    t->background = o->background;
    t->priority = o->priority;
    t->strategy = o->strategy;
    t->direction = direction_of(engine, src, dst);
    t->first_layer = o->first_layer;
    t->layer_count = o->layer_count;
    t->delivery.callback = o->callback;
    t->delivery.user = o->user;
    t->completion = o->completion;
    t->events = o->events;
    t->event_count = o->event_count;
    atomic_init(&t->holds, 1);
    atomic_init(&t->status, KVF_PENDING);
    return t;
}

static kvf_status make(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans, size_t plan_count,
                       const kvf_submit_options *o, kvf_transfer **out, kvf_error *error) {
    kvf_transfer *t = allocate(src, dst, o);
    if (!t)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status = kvf__transfer_lower(t, plans, plan_count, o->by_layer, &t->move, error);
    if (status == KVF_OK) {
        t->layer_count = t->move->layer_count;
        if (!fill_results(t, plans, plan_count))
            status = KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    if (status == KVF_OK)
        *out = t;
    else
        kvf_transfer_release(t);
    return status;
}

/* With `order` held: orders the transfer after all users of its blocks. */
static void put_in_order(kvf_transfer *t) {
    kvf_engine *engine = t->engine;
    t->sequence = ++engine->submitted[t->lane];
    t->after[t->lane] = t->sequence - 1;
    kvf__slots_read(&t->src->slots, &t->move->runs, t->lane, t->sequence, t->after);
    kvf__slots_write(&t->dst->slots, &t->move->runs, t->lane, t->sequence, t->after);
    assert(t->after[t->lane] == t->sequence - 1);
    atomic_fetch_add(&t->src->open, 1);
    atomic_fetch_add(&t->dst->open, 1);
    atomic_fetch_add(&engine->open, 1);
    pthread_mutex_lock(&engine->lock);
    t->next_open = engine->first;
    t->link_open = &engine->first;
    if (engine->first)
        engine->first->link_open = &t->next_open;
    engine->first = t;
    pthread_mutex_unlock(&engine->lock);
}

/* Whether the engine accepts another transfer. Final only with `order` held. */
static kvf_status check_room(kvf_engine *engine, kvf_error *error) {
    if (atomic_load(&engine->closed))
        return KVF__FAIL(error, .status = KVF_ERR_BROKEN, .what = "the engine has been destroyed");
    if (atomic_load(&engine->open) >= engine->max_open)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN);
    return KVF_OK;
}

/* With `order` held. */
static kvf_status enqueue(kvf_transfer *t, kvf_error *error) {
    kvf_engine *engine = t->engine;
    kvf_status room = check_room(engine, error);
    if (room != KVF_OK)
        return room;
    t->lane = engine->ops->lane(engine, t);
    if (!kvf__slots_prepare(&t->src->slots, &engine->allocator, t->lane))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (t->completion) {
        kvf_status status = kvf__completion_add(t->completion, t, error);
        if (status != KVF_OK)
            return status;
        t->listener = kvf__completion_note;
    }
    put_in_order(t);
    kvf__transfer_hold(t); /* the engine's reference, until retired */
    t->submitted_time = kvf__now();
    kvf_error details = {.status = KVF_ERR_ENGINE};
    if (engine->ops->submit(engine, t, &details) == KVF_OK)
        return KVF_OK;
    if (t->listener)
        kvf__completion_remove(t->completion, t);
    t->listener = NULL;
    t->delivery.callback = NULL; /* submit's return says it all */
    pthread_mutex_lock(&engine->lock);
    t->refused = true;
    if (!kvf__transfer_is_over(t)) /* unless cancelled in between */
        kvf__transfer_over(t, &details);
    engine->ops->wake(engine);
    pthread_mutex_unlock(&engine->lock);
    return kvf__fail(error, details);
}

static kvf_status submit(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans, size_t plan_count,
                         const kvf_submit_options *o, kvf_transfer **out, kvf_error *error) {
    kvf_engine *engine = src->engine;
    uint64_t start = kvf__now();
    kvf_status status = check_room(engine, error); /* early, since lowering may take long */
    if (status != KVF_OK)
        return status;
    kvf_transfer *t = NULL;
    kvf__range_begin(&engine->hooks, KVF__RANGE_PLAN);
    status = make(src, dst, plans, plan_count, o, &t, error);
    kvf__range_end(&engine->hooks);
    if (status != KVF_OK)
        return status;
    t->submit_time = start;
    t->given = plans;
    pthread_mutex_lock(&engine->order);
    status = enqueue(t, error);
    t->given = NULL;
    pthread_mutex_unlock(&engine->order);
    if (status == KVF_OK && out)
        *out = t;
    else
        kvf_transfer_release(t);
    return status;
}

kvf_status kvf_transfer_submit(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans,
                               size_t plan_count, const kvf_submit_options *options,
                               kvf_transfer **out, kvf_error *error) {
    const kvf_submit_options none = {0};
    const kvf_submit_options *o = options ? options : &none;
    kvf_error own, *details = error ? error : &own;
    kvf_status status = check_submit(src, dst, plans, plan_count, o, details);
    if (!src) /* no engine to count or log it */
        return status;
    kvf_engine *engine = src->engine;
    kvf__range_begin(&engine->hooks, KVF__RANGE_SUBMIT);
    if (status == KVF_OK)
        status = submit(src, dst, plans, plan_count, o, out, details);
    kvf__range_end(&engine->hooks);
    if (status != KVF_OK) {
        kvf__engine_count_refusal(engine, status);
        kvf__log_error(&engine->hooks.log, KVF_LOG_DEBUG, "submit refused", details);
    }
    if (engine->hooks.log.write)
        kvf__engine_write_notes(engine);
    return status;
}
