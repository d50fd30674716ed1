/* Broken engines, failed transfers, and what is logged about both. */
#include "engine/engine_cuda.h"

/* Log lines, written without a lock */

static void write_broken(kvf_engine *engine, void *cuda) {
    kvf_error by = {.status = KVF_OK};
    (void)kvf__cuda_check_broken(cuda, &by);
    kvf__log_error(&engine->hooks.log, KVF_LOG_ERROR, "the engine is broken", &by);
}

static void write_failing(kvf_engine *engine, void *cuda) {
    const kvf__cuda *e = cuda;
    pthread_mutex_lock(&engine->lock);
    kvf_error failing = e->failing;
    pthread_mutex_unlock(&engine->lock);
    kvf__log_error(&engine->hooks.log, KVF_LOG_WARNING,
                   "querying events failed and will be retried", &failing);
}

static void write_gave_way(kvf_engine *engine, void *name) {
    kvf__log(&engine->hooks.log, KVF_LOG_WARNING,
             "requested strategy %s cannot do a move, which takes another (logged once)",
             (const char *)name);
}

static void write_no_room(kvf_engine *engine, void *nothing) {
    (void)nothing;
    kvf__log(&engine->hooks.log, KVF_LOG_WARNING,
             "no device memory for packing: moves take another strategy than staged (logged once)");
}

/* With `lock` held. */
static void note(kvf__cuda *e, kvf_log_level level, kvf__note *n,
                 void (*write)(kvf_engine *engine, void *about), void *about) {
    if (!kvf__logs(&e->base.hooks.log, level) || n->queued)
        return;
    n->write = write;
    n->about = about;
    kvf__engine_note(&e->base, n);
}

bool kvf__cuda_note_broken(kvf__cuda *e, const kvf_error *error) {
    if (error->status != KVF_ERR_BROKEN || atomic_load(&e->broken))
        return atomic_load(&e->broken);
    e->broken_by = *error;
    atomic_store(&e->broken, true);
    note(e, KVF_LOG_ERROR, &e->broken_note, write_broken, e);
    return true;
}

static void let_through(cudaStream_t stream) {
    if (stream)
        (void)cudaStreamSynchronize(stream);
}

void kvf__cuda_give_up(kvf__cuda *e, const kvf_error *error) {
    kvf_error by = *error;
    for (unsigned lane = 0; lane < KVF__LANES; lane++) {
        let_through(e->lanes[lane].stream);
        let_through(e->lanes[lane].side);
    }
    (void)cudaGetLastError();
    by.status = KVF_ERR_BROKEN;
    kvf__cuda_note_broken(e, &by);
}

bool kvf__cuda_note_failure(kvf__cuda *e, const kvf_error *error) {
    if (!kvf__cuda_note_broken(e, error) && ++e->failures >= KVF__CUDA_PATIENCE)
        kvf__cuda_give_up(e, error);
    if (e->failures == 1 && !atomic_load(&e->broken)) {
        e->failing = *error;
        note(e, KVF_LOG_WARNING, &e->failing_note, write_failing, e);
    }
    return atomic_load(&e->broken);
}

void kvf__cuda_note_gave_way(kvf__cuda *e, kvf_cuda_strategy strategy) {
    kvf__note *n = &e->gave_way[strategy];
    if (n->write || !kvf__logs(&e->base.hooks.log, KVF_LOG_WARNING)) /* logged already */
        return;
    pthread_mutex_lock(&e->base.lock);
    if (strategy == KVF_CUDA_AUTO)
        note(e, KVF_LOG_WARNING, n, write_no_room, NULL);
    else
        note(e, KVF_LOG_WARNING, n, write_gave_way,
             (void *)(uintptr_t)kvf_cuda_strategy_name(strategy));
    pthread_mutex_unlock(&e->base.lock);
}

kvf_status kvf__cuda_check_broken(kvf__cuda *e, kvf_error *error) {
    if (!atomic_load(&e->broken))
        return KVF_OK;
    pthread_mutex_lock(&e->base.lock);
    kvf_error by = e->broken_by;
    pthread_mutex_unlock(&e->base.lock);
    return kvf__fail(error, by);
}

void kvf__cuda_fail_job(kvf__cuda_job *j, const kvf_error *error) {
    if (j->failed.status != KVF_OK)
        return;
    j->failed = *error;
    if (error->status != KVF_ERR_BROKEN && error->status != KVF_ERR_NO_MEMORY &&
        error->status != KVF_ERR_CANCELLED)
        j->failed.status =
            KVF_ERR_ENGINE; /* no error of the runtime is the caller's fault at this point */
}
