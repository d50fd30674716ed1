/* Making a group and destroying it, and the threads that it has meanwhile. */
#include "nccl/group.h"

#include "base/threads.h"

#include <inttypes.h>
#include <string.h>

static const int64_t usual_timeout_us = INT64_C(5000000);

/* Threads */

static bool has_work(const kvf_group *g) {
    bool busy = g->broken.status != KVF_OK ? !g->rested : g->phase != KVF__IDLE;
    return busy || g->first || g->refusals > 0;
}

static void *drive(void *context) {
    kvf_group *g = context;
    kvf__cuda_device_scope guard;
    kvf_error error;
    bool entered = kvf__cuda_enter(g->engine->options.device, &guard, &error) == KVF_OK;
    (void)kvf__timer_slack_lower();
    if (!entered)
        kvf__group_give_up(g, error);
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        if (!has_work(g)) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        pthread_mutex_unlock(&g->lock);
        if (!kvf__group_step(g))
            kvf__group_nap();
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    if (entered)
        kvf__cuda_leave(&guard);
    return NULL;
}

/* The guard gives up for a driver that CUDA holds up: in the engine, say, which may have to let a
 * stream run empty that stands after a collective whose other ranks are gone. */
static void *watch(void *context) {
    kvf_group *g = context;
    uint64_t period = (uint64_t)g->options.timeout_us * 1000 / 4 + 1;
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        uint64_t deadline = atomic_load(&g->deadline), now = kvf__now();
        if (deadline > 0 && now > deadline + period && g->broken.status == KVF_OK) {
            pthread_mutex_unlock(&g->lock);
            kvf__group_give_up(
                g, (kvf_error){.what = "CUDA held this rank up for longer than the timeout"});
            pthread_mutex_lock(&g->lock);
        }
        kvf__cond_wait_until(&g->stopping, &g->lock, now + period);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void stop_threads(kvf_group *g) {
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_cond_broadcast(&g->changed);
    pthread_cond_broadcast(&g->stopping);
    pthread_mutex_unlock(&g->lock);
    if (g->has_thread)
        pthread_join(g->thread, NULL);
    if (g->has_guard)
        pthread_join(g->guard, NULL);
    g->has_thread = g->has_guard = false;
}

static kvf_status start_threads(kvf_group *g, kvf_error *error) {
    if (g->options.no_thread)
        return KVF_OK;
    kvf_status status = kvf__start_thread(&g->guard, watch, g, error);
    g->has_guard = status == KVF_OK;
    if (status == KVF_OK)
        status = kvf__start_thread(&g->thread, drive, g, error);
    if (status == KVF_OK)
        g->has_thread = true;
    return status;
}

/* Making one */

static kvf_status check_options(const kvf_group_options *o, kvf_group **out, kvf_error *error) {
    if (!o || !out || !o->engine)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    int ranks = o->ranks ? o->ranks : 1;
    if (!o->parent && (ranks < 1 || o->rank < 0 || o->rank >= ranks))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such rank");
    if (!o->parent && ranks > 1 && !o->id)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "the id is missing");
    if (o->parent && o->id)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "a parent and an id");
    if (o->timeout_us < 0 || o->timeout_us > INT64_MAX / 2000)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "timeout out of range");
    if (!kvf__cuda_of(o->engine))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "not a CUDA engine");
    return o->id || o->parent ? kvf__nccl_is_there(error) : KVF_OK;
}

static kvf_status set_options(kvf_group *g, const kvf_group_options *o, kvf_error *error) {
    g->options = *o;
    g->options.ranks = o->ranks ? o->ranks : 1;
    if (o->timeout_us == 0)
        g->options.timeout_us = usual_timeout_us;
    g->options.no_thread |= o->stream != NULL;
    g->stream = o->stream;
    g->last = &g->first;
    if (o->id || o->parent)
        g->nccl_version = kvf__nccl_version();
    if (o->parent)
        return kvf__nccl_who(o->parent, &g->options.rank, &g->options.ranks, error);
    return KVF_OK;
}

static kvf_status make_buffers(kvf_group *g, kvf_error *error) {
    size_t ranks = (size_t)g->options.ranks, entries = ranks * sizeof(kvf__entry);
    void *memory;
    kvf_status status = kvf_cuda_device_alloc(
        g->engine->options.device, kvf__max(entries, KVF_GROUP_ID_BYTES), &memory, error);
    if (status != KVF_OK)
        return status;
    g->entries = memory;
    cudaError_t code = cudaHostAlloc(
        &memory, entries + kvf__max(sizeof(kvf__entry), KVF_GROUP_ID_BYTES), cudaHostAllocDefault);
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, "cudaHostAlloc", error);
    g->table = memory;
    g->mine = g->table + ranks;
    if (!g->stream) {
        code = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
        if (code != cudaSuccess) {
            g->stream = NULL;
            return kvf__cuda_fail(code, "cudaStreamCreateWithFlags", error);
        }
        g->own_stream = true;
    }
    cudaEvent_t *events[] = {&g->said, &g->shared};
    for (int i = 0; i < 2; i++) {
        code = cudaEventCreateWithFlags(events[i], cudaEventDisableTiming);
        if (code != cudaSuccess) {
            *events[i] = NULL;
            return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
        }
    }
    return KVF_OK;
}

static void drop_buffers(kvf_group *g) {
    if (g->said)
        (void)cudaEventDestroy(g->said);
    if (g->shared)
        (void)cudaEventDestroy(g->shared);
    if (g->own_stream)
        (void)cudaStreamDestroy(g->stream);
    if (g->table)
        (void)cudaFreeHost(g->table);
    kvf_cuda_device_free(g->engine->options.device, g->entries);
    g->said = g->shared = NULL;
    g->table = NULL;
    g->entries = NULL;
    (void)cudaGetLastError();
}

/* Waits up to the timeout for what was begun on a communicator, or for the event. */
static kvf_status wait_for(kvf_group *g, struct ncclComm *comm, kvf_error *error) {
    uint64_t end = kvf__now() + (uint64_t)g->options.timeout_us * 1000;
    for (;;) {
        kvf_status status = comm ? kvf__nccl_check(comm, error) : kvf__cuda_query(g->said, error);
        if (status != KVF_PENDING)
            return status;
        if (kvf__now() >= end)
            return KVF__FAIL(error, .status = KVF_ERR_TIMEOUT,
                             .what = "a rank has not come in time");
        kvf__group_nap();
    }
}

/* Carries rank 0's new id over the caller's communicator; zeros, when there is none. When a rank
 * does not come, NCCL still waits for it on the device, and only the caller can end that: then the
 * buffers are left to it. */
static kvf_status carry_id(kvf_group *g, unsigned char *id, bool *stuck, kvf_error *error) {
    static const unsigned char none[KVF_GROUP_ID_BYTES];
    struct ncclComm *parent = g->options.parent;
    unsigned char *pinned = memset(g->mine, 0, KVF_GROUP_ID_BYTES);
    bool first = g->options.rank == 0;
    kvf_status made = first ? kvf__nccl_id(pinned, error) : KVF_OK;
    kvf_status status = KVF_OK;
    if (first)
        status = kvf__group_copy(g, g->entries, pinned, KVF_GROUP_ID_BYTES, cudaMemcpyHostToDevice,
                                 error);
    *stuck = status == KVF_OK;
    if (status == KVF_OK)
        status = kvf__nccl_broadcast(parent, g->entries, KVF_GROUP_ID_BYTES, g->stream, error);
    if (status == KVF_OK)
        status = wait_for(g, parent, error);
    if (status == KVF_OK)
        status = kvf__group_copy(g, pinned, g->entries, KVF_GROUP_ID_BYTES, cudaMemcpyDeviceToHost,
                                 error);
    if (status == KVF_OK)
        status = kvf__group_record(g, g->said, error);
    if (status == KVF_OK)
        status = wait_for(g, NULL, error);
    if (status != KVF_OK)
        return status;
    *stuck = false;
    if (made != KVF_OK)
        return made;
    if (memcmp(pinned, none, sizeof none) == 0)
        return KVF__FAIL(error, .status = KVF_ERR_PEER, .fields = KVF_ERROR_INDEX, .index = 0,
                         .what = "could not make an id");
    memcpy(id, pinned, KVF_GROUP_ID_BYTES);
    return KVF_OK;
}

static kvf_status open_comm(kvf_group *g, bool *stuck, kvf_error *error) {
    const kvf_group_options *o = &g->options;
    const kvf__nccl_config config = {o->min_ctas, o->max_ctas, o->cta_policy};
    unsigned char id[KVF_GROUP_ID_BYTES];
    kvf_status status = KVF_OK;
    if (o->parent)
        status = carry_id(g, id, stuck, error);
    else if (o->id)
        memcpy(id, o->id, sizeof id);
    else
        return KVF_OK;
    if (status == KVF_OK)
        status = kvf__nccl_open(id, o->rank, o->ranks, &config, &g->comm, error);
    if (status == KVF_OK)
        status = wait_for(g, g->comm, error);
    g->opened = status == KVF_OK;
    return status;
}

static kvf_status say_hello(kvf_group *g, kvf_error *error) {
    kvf__turn turn = {.kind = KVF__TURN_HELLO,
                      .where = (uint64_t)g->options.timeout_us,
                      .digest = (uint64_t)g->options.ranks};
    kvf_status status = kvf__group_enter(g, &turn, error);
    if (status != KVF_OK)
        return status;
    kvf__group_wait_turn(g, &turn, false, UINT64_MAX);
    if (turn.outcome.what == kvf__group_late)
        turn.outcome.status = KVF_ERR_TIMEOUT;
    return turn.outcome.status == KVF_OK ? KVF_OK : kvf__fail(error, turn.outcome);
}

static kvf_status open_group(kvf_group *g, bool *stuck, kvf_error *error) {
    kvf_status status = make_buffers(g, error);
    if (status == KVF_OK)
        status = open_comm(g, stuck, error);
    if (status == KVF_OK)
        status = say_hello(g, error);
    if (status == KVF_OK)
        status = start_threads(g, error);
    return status;
}

static kvf_status init_locks(kvf_group *g) {
    pthread_mutex_t *mutexes[] = {&g->lock, &g->comm_lock, &g->abort_lock, &g->driver};
    const size_t all = sizeof mutexes / sizeof mutexes[0];
    size_t count = 0;
    while (count < all && pthread_mutex_init(mutexes[count], NULL) == 0)
        count++;
    if (count == all && kvf__cond_init(&g->changed)) {
        if (kvf__cond_init(&g->stopping))
            return KVF_OK;
        pthread_cond_destroy(&g->changed);
    }
    while (count > 0)
        pthread_mutex_destroy(mutexes[--count]);
    return KVF_ERR_NO_MEMORY;
}

/* After the last turn, or on the way out of create. */
static void close_comm(kvf_group *g, bool in_peace) {
    if (in_peace)
        kvf__wires_end(g);
    struct ncclComm *comm = kvf__group_take_comm(g, &g->comm);
    if (comm && in_peace && kvf__nccl_finalize(comm, NULL) == KVF_OK &&
        wait_for(g, comm, NULL) == KVF_OK)
        kvf__nccl_destroy(comm);
    else
        kvf__nccl_abort(comm);
    kvf__group_abort(g);
    kvf__wires_end(g);
}

kvf_status kvf_group_create(const kvf_group_options *options, kvf_group **out, kvf_error *error) {
    kvf_status status = check_options(options, out, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator a = kvf__allocator(options->allocator);
    kvf_group *g = kvf__alloc_zero(&a, 1, sizeof *g);
    if (!g)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    g->allocator = a;
    g->engine = kvf__cuda_of(options->engine);
    if (init_locks(g) != KVF_OK) {
        kvf__free(&a, g, 1, sizeof *g);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    atomic_init(&g->holds, 1);
    kvf__engine_hold(&g->engine->base);
    kvf__cuda_device_scope guard;
    bool stuck = false;
    status = kvf__cuda_enter(g->engine->options.device, &guard, error);
    bool entered = status == KVF_OK;
    if (status == KVF_OK)
        status = set_options(g, options, error);
    if (status == KVF_OK)
        status = open_group(g, &stuck, error);
    if (status == KVF_OK) {
        kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
                 "group: rank %d of %d, on device %d, NCCL %d, timeout %" PRId64 " us",
                 g->options.rank, g->options.ranks, g->engine->options.device, g->nccl_version,
                 g->options.timeout_us);
        *out = g;
    } else {
        stop_threads(g);
        close_comm(g, false);
        if (!stuck)
            drop_buffers(g);
    }
    if (entered)
        kvf__cuda_leave(&guard);
    if (status != KVF_OK)
        kvf__group_release(g);
    return status;
}

void kvf_group_destroy(kvf_group *g) {
    if (!g)
        return;
    kvf__turn turn = {.kind = KVF__TURN_LEAVE};
    kvf_status status = kvf__group_enter(g, &turn, NULL);
    if (status == KVF_OK)
        kvf__group_wait_turn(g, &turn, false, UINT64_MAX);
    if (kvf__group_is_broken(g))
        kvf__group_wait_rest(g);
    stop_threads(g);
    pthread_mutex_lock(&g->driver);
    g->ended = true;
    pthread_mutex_unlock(&g->driver);
    kvf__cuda_device_scope guard;
    bool entered = kvf__cuda_enter(g->engine->options.device, &guard, NULL) == KVF_OK;
    close_comm(g, status == KVF_OK && turn.outcome.status == KVF_OK);
    drop_buffers(g);
    if (entered)
        kvf__cuda_leave(&guard);
    pthread_mutex_lock(&g->lock);
    g->closed = true;
    kvf_group_counters c = g->counters;
    pthread_mutex_unlock(&g->lock);
    kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
             "group: rank %d of %d has left, after %" PRIu64 " operations, of which %" PRIu64
             " failed",
             g->options.rank, g->options.ranks, c.operations_submitted, c.operations_failed);
    kvf__group_release(g);
}
