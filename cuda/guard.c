/*
 * The guard of a group. The group's thread enqueues through the engine, and the engine may have to
 * wait for a stream: when the runtime fails it an event, it lets the stream run empty. Such a
 * stream may stand behind a collective whose other ranks are gone, and then only aborting the
 * communicator lets it go on, which nobody can do who waits himself.
 *
 *     the group's thread   enter -- engine ................................ leave --> doubt
 *     the guard                       enter is long ago: takes and aborts
 *
 * NCCL is never called between enter and leave, so that the communicator is not in use.
 */
#include "group.h"

#include "threads.h"

void kvf__guard_enter(kvf_group *g) {
    pthread_mutex_lock(&g->lock);
    g->entered = kvf__now();
    pthread_mutex_unlock(&g->lock);
}

void kvf__guard_leave(kvf_group *g) {
    pthread_mutex_lock(&g->lock);
    g->entered = 0;
    pthread_mutex_unlock(&g->lock);
}

kvf_status kvf__guard_check(const kvf_group *g, kvf_error *error) {
    if (!g->rescued)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_ENGINE,
                     .what = "CUDA held this rank up for longer than the timeout");
}

static bool is_stuck(const kvf_group *g, uint64_t now) {
    return g->entered > 0 && g->comm && now >= g->entered + (uint64_t)g->options.timeout_us * 1000;
}

/* With `lock` held, which is let go meanwhile. */
static void rescue(kvf_group *g) {
    struct ncclComm *comm = g->comm;
    g->comm = NULL;
    g->rescued = true;
    pthread_mutex_unlock(&g->lock);
    kvf__nccl_abort(comm);
    pthread_mutex_lock(&g->lock);
}

static void *watch(void *context) {
    kvf_group *g = context;
    uint64_t period = (uint64_t)g->options.timeout_us * 1000 / 4 + 1;
    pthread_mutex_lock(&g->lock);
    while (!g->guard_stop) {
        if (is_stuck(g, kvf__now()))
            rescue(g);
        kvf__cond_wait_until(&g->changed, &g->lock, kvf__now() + period);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

kvf_status kvf__guard_start(kvf_group *g, kvf_error *error) {
    kvf_status status = kvf__start_thread(&g->guard, watch, g, error);
    g->has_guard = status == KVF_OK;
    return status;
}

void kvf__guard_stop(kvf_group *g) {
    if (!g->has_guard)
        return;
    pthread_mutex_lock(&g->lock);
    g->guard_stop = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->guard, NULL);
    g->has_guard = false;
}
