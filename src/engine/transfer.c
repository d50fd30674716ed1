#include "engine/transfer.h"
#include "engine/wait.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* References */

void kvf__transfer_hold(kvf_transfer *t) {
    atomic_fetch_add_explicit(&t->holds, 1, memory_order_relaxed);
}

static void free_transfer(kvf_transfer *t) {
    kvf_engine *engine = t->engine;
    const kvf_allocator *a = &engine->allocator;
    kvf_move_destroy(t->move);
    kvf__free(a, t->layer_left, t->layer_count, sizeof *t->layer_left);
    if (t->src_layout)
        kvf_layout_destroy((kvf_layout *)t->src_layout);
    if (t->dst_layout)
        kvf_layout_destroy((kvf_layout *)t->dst_layout);
    kvf__free(a, t->plan_blocks, t->plan_count, sizeof *t->plan_blocks);
    kvf__free(a, t->landed, t->plan_count, sizeof *t->landed);
    kvf__free(a, t->plans.items, t->plan_count, sizeof *t->plans.items);
    kvf__free(a, t->plans.ids, t->plans.id_count, sizeof *t->plans.ids);
    kvf__free(a, t, 1, sizeof *t + engine->ops->job_size);
    kvf__engine_release(engine);
}

void kvf_transfer_release(kvf_transfer *t) {
    if (t && atomic_fetch_sub_explicit(&t->holds, 1, memory_order_acq_rel) == 1)
        free_transfer(t);
}

static void release_called(void *transfer) {
    kvf_transfer_release(transfer);
}

/* Called by engines, with `lock` held */

static void count_accepted(kvf_transfer *t) {
    t->engine->counters.transfers_submitted += !t->accepted;
    t->accepted = true;
}

void kvf__transfer_accepted(kvf_transfer *t, uint64_t now) {
    count_accepted(t);
    t->engine->counters.submit_ns += now - t->submit_time;
}

void kvf__transfer_begin(kvf_transfer *t) {
    t->begun = true;
    t->begin_time = kvf__now();
}

void kvf__transfer_layer_landed(kvf_transfer *t, uint32_t layer, size_t bytes) {
    if (!t->layer_left)
        return;
    t->layer_left[layer - t->first_layer] -= bytes;
    if (t->layer_left[layer - t->first_layer] == 0)
        pthread_cond_broadcast(&t->engine->changed);
}

/* Its tiers may be destroyed without waiting for it. */
static void leave_tiers(kvf_transfer *t) {
    if (!t->src)
        return;
    atomic_fetch_sub(&t->src->open, 1);
    atomic_fetch_sub(&t->dst->open, 1);
    t->src = t->dst = NULL;
}

/* A transfer may end before submit has returned. */
static void count_over(kvf_transfer *t) {
    kvf_counters *c = &t->engine->counters;
    if (t->refused)
        return;
    count_accepted(t);
    c->transfers_succeeded += t->error.status == KVF_OK;
    c->transfers_cancelled += t->error.status == KVF_ERR_CANCELLED;
    c->transfers_failed += t->error.status != KVF_OK && t->error.status != KVF_ERR_CANCELLED;
    if (t->begun) {
        c->queue_ns += t->begin_time - t->submitted_time;
        c->copy_ns += t->end_time - t->begin_time;
    }
    if (t->error.status == KVF_OK) {
        c->blocks += t->move->runs.pairs;
        *t->direction += (uint64_t)t->move->block_bytes * t->move->runs.pairs;
    }
}

/* DEBUG for BROKEN: the engine itself logs that as an error. */
static kvf_log_level level_of(kvf_status status) {
    return status == KVF_ERR_ENGINE || status == KVF_ERR_NO_MEMORY || status == KVF_ERR_CORRUPT
               ? KVF_LOG_ERROR
               : KVF_LOG_DEBUG;
}

static void log_over(kvf_engine *engine, void *transfer) {
    kvf_transfer *t = transfer;
    kvf_transfer_stats s;
    char end[KVF__LOG_BYTES / 2];
    kvf_error_format(&t->error, end, sizeof end);
    kvf_transfer_stats_get(t, &s);
    kvf__log(&engine->hooks.log, level_of(t->error.status),
             "transfer of %" PRIu64 " blocks, %" PRIu64
             " bytes: %s; submit %.0f us, queue %.0f us, copy %.0f us",
             s.blocks, s.bytes, end, s.submit_us, s.queue_us, s.copy_us);
    kvf_transfer_release(t);
}

static void note_over(kvf_transfer *t) {
    if (!kvf__logs(&t->engine->hooks.log, level_of(t->error.status)))
        return;
    t->note.write = log_over;
    t->note.about = t;
    kvf__transfer_hold(t);
    kvf__engine_note(t->engine, &t->note);
}

void kvf__transfer_over(kvf_transfer *t, const kvf_error *error) {
    assert(!kvf__transfer_is_over(t));
    if (!t->begun) /* it may wait long for its turn to retire */
        leave_tiers(t);
    t->end_time = kvf__now();
    if (error)
        t->error = *error;
    if (t->plan_count > 0 && t->error.status != KVF_OK && t->error.status != KVF_ERR_CORRUPT)
        memset(t->landed, 0, t->plan_count * sizeof *t->landed);
    count_over(t);
    note_over(t);
    atomic_store_explicit(&t->status, t->error.status, memory_order_release);
    if (t->delivery.callback) {
        t->delivery.error = &t->error;
        t->delivery.done = release_called;
        t->delivery.owner = t;
        kvf__transfer_hold(t);
        kvf__engine_deliver(t->engine, &t->delivery);
    }
    if (t->listener)
        t->listener(t->completion, t->engine, &t->error);
    t->listener = NULL;
    pthread_cond_broadcast(&t->engine->changed);
}

void kvf__transfer_retire(kvf_transfer *t) {
    kvf_engine *engine = t->engine;
    assert(kvf__transfer_is_over(t));
    assert(atomic_load(&engine->retired[t->lane]) == t->sequence - 1);
    atomic_store_explicit(&engine->retired[t->lane], t->sequence, memory_order_release);
    leave_tiers(t);
    atomic_fetch_sub(&engine->open, 1);
    *t->link_open = t->next_open;
    if (t->next_open)
        t->next_open->link_open = t->link_open;
    pthread_cond_broadcast(&engine->changed);
}

/* With `lock` held. A transfer that has not begun ends at once. */
static void cancel(kvf_transfer *t) {
    if (kvf__transfer_is_over(t))
        return;
    atomic_store(&t->cancelled, true);
    if (!t->begun)
        kvf__transfer_over(t, &(kvf_error){.status = KVF_ERR_CANCELLED});
    t->engine->ops->wake(t->engine);
}

void kvf__transfers_cancel(kvf_engine *engine, const kvf_tier *tier) {
    pthread_mutex_lock(&engine->lock);
    for (kvf_transfer *t = engine->first; t; t = t->next_open)
        if (!tier || t->src == tier || t->dst == tier)
            cancel(t);
    pthread_mutex_unlock(&engine->lock);
}

/* The move */

kvf_status kvf__transfer_lower(kvf_transfer *t, const kvf_plan *plans, size_t plan_count,
                               bool by_layer, kvf_move **move, kvf_error *error) {
    const kvf_move_spec spec = {
        .src = t->src_layout,
        .dst = t->dst_layout,
        .plans = plans,
        .plan_count = plan_count,
        .first_layer = t->first_layer,
        .layer_count = t->layer_count,
        .same_tier = t->src == t->dst,
        .by_layer = by_layer,
    };
    return kvf_move_create(&spec, t->engine->ops->limits, &t->engine->allocator, move, error);
}

void kvf__transfer_count_layer_bytes(kvf_transfer *t) {
    const kvf_move *m = t->move;
    if (!t->layer_left)
        return;
    memset(t->layer_left, 0, t->layer_count * sizeof *t->layer_left);
    for (size_t s = 0; s < m->strip_count; s++)
        t->layer_left[m->strips[s].layer - t->first_layer] +=
            m->strips[s].width * m->strips[s].rows * m->runs.pairs;
}

kvf_status kvf__transfer_shorten(kvf_transfer *t, const kvf_error *corrupt, kvf_error *error) {
    for (size_t i = 0; i < t->plan_count; i++)
        t->plans.items[i].count = t->landed[i];
    kvf_move *shorter = NULL, *longer = t->move;
    kvf_status status =
        kvf__transfer_lower(t, t->plans.items, t->plan_count, longer->by_layer, &shorter, error);
    if (status != KVF_OK)
        return status;
    pthread_mutex_lock(&t->engine->lock);
    t->move = shorter;
    t->known = *corrupt;
    kvf__transfer_count_layer_bytes(t);
    pthread_cond_broadcast(&t->engine->changed);
    pthread_mutex_unlock(&t->engine->lock);
    kvf_move_destroy(longer);
    return KVF_OK;
}

void kvf__transfer_locate(const kvf_transfer *t, kvf_error *error) {
    const kvf_plan *plans = t->plans.items ? t->plans.items : t->given;
    const uint32_t pair = KVF_ERROR_ID | KVF_ERROR_OTHER_ID;
    if (!plans || (error->fields & pair) != pair)
        return;
    for (size_t p = 0; p < t->plan_count; p++)
        for (size_t i = 0; i < plans[p].count; i++)
            if (plans[p].dst_ids[i] == error->id && plans[p].src_ids[i] == error->other_id) {
                error->fields |= KVF_ERROR_INDEX | KVF_ERROR_POSITION;
                error->index = p;
                error->position = plans[p].first_position + i;
                return;
            }
}

/* Waiting. Each call takes a reference, since a callback may release the transfer. */

static kvf_status result(const kvf_transfer *t, kvf_error *error) {
    kvf_status status = atomic_load_explicit(&t->status, memory_order_acquire);
    if (status == KVF_OK || status == KVF_PENDING)
        return status;
    return kvf__fail(error, t->error);
}

static kvf_status finish(kvf_transfer *t, kvf_status status) {
    kvf_transfer_release(t);
    return status;
}

static bool is_over(void *context) {
    return kvf__transfer_is_over(context);
}

kvf_status kvf_transfer_poll(kvf_transfer *t, kvf_error *error) {
    if (!t)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf__transfer_hold(t);
    kvf__engine_step(t->engine);
    if (kvf__transfer_is_over(t))
        kvf__engine_call_back(t->engine);
    return finish(t, result(t, error));
}

kvf_status kvf_transfer_wait(kvf_transfer *t, int64_t timeout_us, kvf_error *error) {
    if (!t)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    const kvf__wait w = {.done = is_over, .context = t, .transfer = t, .share = 1};
    kvf__transfer_hold(t);
    if (!kvf__engine_wait(t->engine, &w, timeout_us))
        return finish(t, KVF__FAIL(error, .status = KVF_ERR_TIMEOUT));
    kvf__engine_call_back(t->engine);
    return finish(t, result(t, error));
}

typedef struct layer_wait {
    kvf_transfer *transfer;
    uint32_t layer;
} layer_wait;

static bool layer_landed(void *context) {
    const layer_wait *w = context;
    const size_t *left = w->transfer->layer_left;
    return kvf__transfer_is_over(w->transfer) || w->transfer->known.status != KVF_OK ||
           (left && left[w->layer] == 0);
}

/* A layer has not landed if corrupt blocks were left out. */
static kvf_status layer_result(kvf_transfer *t, kvf_error *error) {
    kvf_status status = result(t, error);
    if (status != KVF_PENDING)
        return status;
    pthread_mutex_lock(&t->engine->lock);
    kvf_error known = t->known;
    pthread_mutex_unlock(&t->engine->lock);
    return known.status == KVF_OK ? KVF_OK : kvf__fail(error, known);
}

kvf_status kvf_transfer_wait_layer(kvf_transfer *t, uint32_t layer, int64_t timeout_us,
                                   kvf_error *error) {
    if (!t)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (layer < t->first_layer || layer - t->first_layer >= t->layer_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = layer,
                         .what = "the transfer does not move this layer");
    layer_wait g = {t, layer - t->first_layer};
    const kvf__wait w = {.done = layer_landed,
                         .context = &g,
                         .transfer = t,
                         .share = t->layer_left ? (g.layer + 1.0) / t->layer_count : 1};
    kvf__transfer_hold(t);
    if (!kvf__engine_wait(t->engine, &w, timeout_us))
        return finish(t, KVF__FAIL(error, .status = KVF_ERR_TIMEOUT));
    return finish(t, layer_result(t, error));
}

void kvf_transfer_cancel(kvf_transfer *t) {
    if (!t)
        return;
    pthread_mutex_lock(&t->engine->lock);
    cancel(t);
    pthread_mutex_unlock(&t->engine->lock);
    if (t->engine->hooks.log.write)
        kvf__engine_write_notes(t->engine);
}

size_t kvf_transfer_landed(const kvf_transfer *t, size_t plan) {
    return t && kvf__transfer_is_over(t) && plan < t->plan_count ? t->landed[plan] : 0;
}

static double microseconds(uint64_t start, uint64_t end) {
    return end > start ? (double)(end - start) / 1e3 : 0;
}

void kvf_transfer_stats_get(const kvf_transfer *t, kvf_transfer_stats *stats) {
    if (!t || !stats)
        return;
    pthread_mutex_lock(&t->engine->lock);
    kvf_move *move = t->move; /* referenced, since shortening replaces it */
    atomic_fetch_add_explicit(&move->holds, 1, memory_order_relaxed);
    bool over = kvf__transfer_is_over(t);
    uint64_t end = over ? t->end_time : kvf__now();
    *stats = (kvf_transfer_stats){
        .submit_us = microseconds(t->submit_time, t->submitted_time),
        .queue_us = microseconds(t->submitted_time, t->begun ? t->begin_time : end),
        .copy_us = t->begun ? microseconds(t->begin_time, end) : 0,
        .bytes = (uint64_t)move->block_bytes * move->runs.pairs,
        .blocks = move->runs.pairs,
        .imitated = t->imitated,
    };
    pthread_mutex_unlock(&t->engine->lock);
    stats->boxes = kvf__move_boxes(move);
    kvf_move_destroy(move);
}

const kvf_box_limits *kvf_engine_limits(const kvf_engine *engine) {
    return engine ? engine->ops->limits : NULL;
}
