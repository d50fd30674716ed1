#include "engine/engine.h"

#include "base/threads.h"

/* Creating and releasing */

kvf_status kvf__engine_init(kvf_engine *engine, const kvf__engine_ops *ops,
                            const kvf_allocator *allocator, const kvf__hooks *hooks,
                            size_t max_open, kvf_error *error) {
    engine->ops = ops;
    engine->allocator = *allocator;
    engine->hooks = *hooks;
    engine->max_open = max_open;
    engine->due_end = &engine->due;
    engine->notes_end = &engine->notes;
    atomic_init(&engine->holds, 1);
    bool order = pthread_mutex_init(&engine->order, NULL) == 0;
    bool lock = pthread_mutex_init(&engine->lock, NULL) == 0;
    bool changed = kvf__cond_init(&engine->changed), work = kvf__cond_init(&engine->work);
    if (order && lock && changed && work)
        return KVF_OK;
    if (order)
        pthread_mutex_destroy(&engine->order);
    if (lock)
        pthread_mutex_destroy(&engine->lock);
    if (changed)
        pthread_cond_destroy(&engine->changed);
    if (work)
        pthread_cond_destroy(&engine->work);
    return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

void kvf__engine_fini(kvf_engine *engine) {
    pthread_cond_destroy(&engine->work);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->order);
}

void kvf__engine_hold(kvf_engine *engine) {
    atomic_fetch_add_explicit(&engine->holds, 1, memory_order_relaxed);
}

void kvf__engine_release(kvf_engine *engine) {
    if (atomic_fetch_sub_explicit(&engine->holds, 1, memory_order_acq_rel) == 1)
        engine->ops->free(engine);
}

const char *kvf_engine_name(const kvf_engine *engine) {
    return engine ? engine->ops->name : "none";
}

/* Threads */

kvf_status kvf__engine_start_threads(kvf_engine *engine, unsigned count, void *(*run)(void *),
                                     kvf_error *error) {
    kvf_status status = KVF_OK;
    while (status == KVF_OK && engine->thread_count < count) {
        status = kvf__start_thread(&engine->threads[engine->thread_count], run, engine, error);
        engine->thread_count += status == KVF_OK;
    }
    if (status != KVF_OK)
        kvf__engine_stop_threads(engine);
    return status;
}

void kvf__engine_stop_threads(kvf_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    engine->stop = true;
    pthread_cond_broadcast(&engine->work);
    pthread_mutex_unlock(&engine->lock);
    for (unsigned i = 0; i < engine->thread_count; i++)
        pthread_join(engine->threads[i], NULL);
}

/* Notes */

void kvf__engine_note(kvf_engine *engine, kvf__note *note) {
    if (note->queued)
        return;
    note->queued = true;
    note->next = NULL;
    *engine->notes_end = note;
    engine->notes_end = &note->next;
}

/* With `lock` held. */
static kvf__note *take_notes(kvf_engine *engine) {
    kvf__note *notes = engine->notes;
    engine->notes = NULL;
    engine->notes_end = &engine->notes;
    return notes;
}

/* A note may be freed or queued again as soon as it is written. */
static void write_notes(kvf_engine *engine, kvf__note *notes) {
    while (notes) {
        kvf__note *note = notes;
        pthread_mutex_lock(&engine->lock);
        notes = note->next;
        note->queued = false;
        pthread_mutex_unlock(&engine->lock);
        note->write(engine, note->about);
    }
}

void kvf__engine_write_notes(kvf_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    kvf__note *notes = take_notes(engine);
    engine->calling += notes != NULL;
    pthread_mutex_unlock(&engine->lock);
    if (!notes)
        return;
    write_notes(engine, notes);
    pthread_mutex_lock(&engine->lock);
    engine->calling--;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

/* Counters */

void kvf__engine_count_refusal(kvf_engine *engine, kvf_status status) {
    bool again = status == KVF_ERR_AGAIN;
    pthread_mutex_lock(&engine->lock);
    engine->counters.refused_again += again;
    engine->counters.refused_other += !again;
    pthread_mutex_unlock(&engine->lock);
}

kvf_status kvf_engine_counters_get(kvf_engine *engine, kvf_counters *out, kvf_error *error) {
    if (!engine || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    pthread_mutex_lock(&engine->lock);
    *out = engine->counters;
    if (engine->ops->count)
        engine->ops->count(engine, out);
    pthread_mutex_unlock(&engine->lock);
    return KVF_OK;
}

/* Progress */

void kvf__engine_deliver(kvf_engine *engine, kvf__delivery *delivery) {
    delivery->next = NULL;
    *engine->due_end = delivery;
    engine->due_end = &delivery->next;
}

/* Calls the callbacks; returns how many. */
static uint64_t call_back(kvf__delivery *due) {
    uint64_t count = 0;
    while (due) {
        kvf__delivery *next = due->next;
        if (due->callback) {
            due->callback(due->user, due->error);
            count++;
        }
        due->done(due->owner);
        due = next;
    }
    return count;
}

bool kvf__engine_call_back(kvf_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    kvf__delivery *due = engine->due;
    kvf__note *notes = take_notes(engine);
    engine->due = NULL;
    engine->due_end = &engine->due;
    engine->calling += due || notes;
    pthread_mutex_unlock(&engine->lock);
    if (!due && !notes)
        return false;
    write_notes(engine, notes);
    uint64_t callbacks = call_back(due);
    pthread_mutex_lock(&engine->lock);
    engine->calling--;
    engine->counters.callbacks += callbacks;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    return true;
}

bool kvf__engine_step(kvf_engine *engine) {
    bool moved = engine->ops->progress(engine);
    bool called = kvf__engine_call_back(engine);
    return moved || called;
}

size_t kvf_engine_progress(kvf_engine *engine) {
    if (!engine)
        return 0;
    kvf__engine_hold(engine); /* a callback may release the last other reference */
    engine->ops->progress(engine);
    /* Counted before the callbacks, so that none is due when this returns 0, and again after them,
     * since they may submit. */
    size_t before = atomic_load(&engine->open);
    kvf__engine_call_back(engine);
    size_t open = atomic_load(&engine->open);
    kvf__engine_release(engine);
    return kvf__max(open, before);
}

bool kvf__engine_reached(const kvf_engine *engine, const uint64_t after[KVF__LANES]) {
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        if (atomic_load_explicit(&engine->retired[lane], memory_order_acquire) < after[lane])
            return false;
    return true;
}
