/* Creating and destroying a group, and its threads. */
#include "nccl/group.h"

#include "base/threads.h"

#include <inttypes.h>
#include <string.h>

static const int64_t default_timeout_us = INT64_C(5000000);

/* Threads */

static bool has_work(const kvf_group *g) {
    bool busy = g->broken.status != KVF_OK ? !g->quiet : g->phase != KVF__IDLE;
    return busy || g->first || g->refusals > 0;
}

static void *run_thread(void *context) {
    kvf_group *g = context;
    kvf__cuda_device_scope scope;
    kvf_error error;
    bool entered = kvf__cuda_enter(g->engine->options.device, &scope, &error) == KVF_OK;
    (void)kvf__timer_slack_lower();
    if (!entered)
        kvf__group_break(g, error);
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        if (!has_work(g)) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        pthread_mutex_unlock(&g->lock);
        if (!kvf__group_step(g))
            kvf__group_sleep();
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    if (entered)
        kvf__cuda_leave(&scope);
    return NULL;
}

/* Breaks the group when CUDA blocks its driver, for instance while the engine waits for a stream to
 * run empty that waits for a collective whose other ranks are gone. */
static void *watch(void *context) {
    kvf_group *g = context;
    uint64_t period = (uint64_t)g->options.timeout_us * 1000 / 4 + 1;
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        uint64_t deadline = atomic_load(&g->deadline), now = kvf__now();
        if (deadline > 0 && now > deadline + period && g->broken.status == KVF_OK) {
            pthread_mutex_unlock(&g->lock);
            kvf__group_break(
                g, (kvf_error){.what = "CUDA blocked this rank for longer than the timeout"});
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
    if (g->has_watchdog)
        pthread_join(g->watchdog, NULL);
    g->has_thread = g->has_watchdog = false;
}

static kvf_status start_threads(kvf_group *g, kvf_error *error) {
    if (g->options.no_thread)
        return KVF_OK;
    kvf_status status = kvf__start_thread(&g->watchdog, watch, g, error);
    g->has_watchdog = status == KVF_OK;
    if (status == KVF_OK)
        status = kvf__start_thread(&g->thread, run_thread, g, error);
    if (status == KVF_OK)
        g->has_thread = true;
    return status;
}

/* Creating */

static kvf_status check_options(const kvf_group_options *o, kvf_group **out, kvf_error *error) {
    if (!o || !out || !o->engine)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    int ranks = o->ranks ? o->ranks : 1;
    if (!o->parent && (ranks < 1 || o->rank < 0 || o->rank >= ranks))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "rank must be from 0 to ranks - 1");
    if (!o->parent && ranks > 1 && !o->id)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "several ranks need an id or a parent");
    if (o->parent && o->id)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "id and parent are mutually exclusive");
    if (o->timeout_us < 0 || o->timeout_us > INT64_MAX / 2000)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "timeout out of range");
    if (!kvf__cuda_of(o->engine))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "not a CUDA engine");
    return o->id || o->parent ? kvf__group_require_nccl(error) : KVF_OK;
}

static kvf_status set_options(kvf_group *g, const kvf_group_options *o, kvf_error *error) {
    g->options = *o;
    g->options.ranks = o->ranks ? o->ranks : 1;
    if (o->timeout_us == 0)
        g->options.timeout_us = default_timeout_us;
    g->options.no_thread |= o->stream != NULL;
    g->stream = o->stream;
    g->last = &g->first;
    if (o->id || o->parent)
        g->nccl_version = kvf__nccl->version();
    if (o->parent)
        return kvf__nccl->get_rank(o->parent, &g->options.rank, &g->options.ranks, error);
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
    g->own_entry = g->table + ranks;
    if (!g->stream) {
        code = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
        if (code != cudaSuccess) {
            g->stream = NULL;
            return kvf__cuda_fail(code, "cudaStreamCreateWithFlags", error);
        }
        g->own_stream = true;
    }
    cudaEvent_t *events[] = {&g->gathered, &g->shared};
    for (int i = 0; i < 2; i++) {
        code = cudaEventCreateWithFlags(events[i], cudaEventDisableTiming);
        if (code != cudaSuccess) {
            *events[i] = NULL;
            return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
        }
    }
    return KVF_OK;
}

static void free_buffers(kvf_group *g) {
    if (g->gathered)
        (void)cudaEventDestroy(g->gathered);
    if (g->shared)
        (void)cudaEventDestroy(g->shared);
    if (g->own_stream)
        (void)cudaStreamDestroy(g->stream);
    if (g->table)
        (void)cudaFreeHost(g->table);
    kvf_cuda_device_free(g->engine->options.device, g->entries);
    g->gathered = g->shared = NULL;
    g->table = NULL;
    g->entries = NULL;
    (void)cudaGetLastError();
}

/* Waits up to the timeout for a started call on a communicator, or, without one, for `gathered`. */
static kvf_status wait_for(kvf_group *g, struct ncclComm *comm, kvf_error *error) {
    uint64_t end = kvf__now() + (uint64_t)g->options.timeout_us * 1000;
    for (;;) {
        kvf_status status =
            comm ? kvf__nccl->check(comm, error) : kvf__cuda_query(g->gathered, error);
        if (status != KVF_PENDING)
            return status;
        if (kvf__now() >= end)
            return KVF__FAIL(error, .status = KVF_ERR_TIMEOUT,
                             .what = "a rank has not arrived in time");
        kvf__group_sleep();
    }
}

/* Broadcasts rank 0's new id over the caller's communicator, or zeros if it got none. If a rank
 * does not arrive, NCCL keeps waiting for it on the device, and only the caller can end that.
 * `*stuck` then says that NCCL may still write to the buffers, so that they must not be freed. */
static kvf_status broadcast_id(kvf_group *g, unsigned char *id, bool *stuck, kvf_error *error) {
    static const unsigned char zeros[KVF_GROUP_ID_BYTES];
    struct ncclComm *parent = g->options.parent;
    unsigned char *pinned = memset(g->own_entry, 0, KVF_GROUP_ID_BYTES);
    bool first = g->options.rank == 0;
    kvf_status made = first ? kvf__nccl->make_id(pinned, error) : KVF_OK;
    kvf_status status = KVF_OK;
    if (first)
        status = kvf__group_copy(g, g->entries, pinned, KVF_GROUP_ID_BYTES, cudaMemcpyHostToDevice,
                                 error);
    *stuck = status == KVF_OK;
    if (status == KVF_OK)
        status = kvf__nccl->broadcast(parent, g->entries, KVF_GROUP_ID_BYTES, g->stream, error);
    if (status == KVF_OK)
        status = wait_for(g, parent, error);
    if (status == KVF_OK)
        status = kvf__group_copy(g, pinned, g->entries, KVF_GROUP_ID_BYTES, cudaMemcpyDeviceToHost,
                                 error);
    if (status == KVF_OK)
        status = kvf__group_record(g, g->gathered, error);
    if (status == KVF_OK)
        status = wait_for(g, NULL, error);
    if (status != KVF_OK)
        return status;
    *stuck = false;
    if (made != KVF_OK)
        return made;
    if (memcmp(pinned, zeros, sizeof zeros) == 0)
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
        status = broadcast_id(g, id, stuck, error);
    else if (o->id)
        memcpy(id, o->id, sizeof id);
    else
        return KVF_OK;
    if (status == KVF_OK)
        status = kvf__nccl->open(id, o->rank, o->ranks, &config, &g->comm, error);
    if (status == KVF_OK)
        status = wait_for(g, g->comm, error);
    g->opened = status == KVF_OK;
    return status;
}

static kvf_status join(kvf_group *g, kvf_error *error) {
    kvf__turn turn = {.kind = KVF__TURN_JOIN,
                      .where = (uint64_t)g->options.timeout_us,
                      .digest = (uint64_t)g->options.ranks};
    kvf_status status = kvf__group_enter(g, &turn, error);
    if (status != KVF_OK)
        return status;
    kvf__group_wait_turn(g, &turn, false, UINT64_MAX);
    if (turn.outcome.what == kvf__group_timed_out)
        turn.outcome.status = KVF_ERR_TIMEOUT;
    return turn.outcome.status == KVF_OK ? KVF_OK : kvf__fail(error, turn.outcome);
}

static kvf_status open_group(kvf_group *g, bool *stuck, kvf_error *error) {
    kvf_status status = make_buffers(g, error);
    if (status == KVF_OK)
        status = open_comm(g, stuck, error);
    if (status == KVF_OK)
        status = join(g, error);
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

/* After the last turn, or when create fails. */
static void close_comm(kvf_group *g, bool orderly) {
    if (orderly)
        kvf__wires_close(g);
    struct ncclComm *comm = kvf__group_take_comm(g, &g->comm);
    if (comm && orderly && kvf__nccl->finalize(comm, NULL) == KVF_OK &&
        wait_for(g, comm, NULL) == KVF_OK)
        kvf__nccl->destroy(comm);
    else if (comm)
        kvf__nccl->abort(comm);
    kvf__group_abort(g);
    kvf__wires_close(g);
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
    atomic_init(&g->references, 1);
    kvf__engine_hold(&g->engine->base);
    kvf__cuda_device_scope scope;
    bool stuck = false;
    status = kvf__cuda_enter(g->engine->options.device, &scope, error);
    bool entered = status == KVF_OK;
    if (status == KVF_OK)
        status = set_options(g, options, error);
    if (status == KVF_OK)
        status = open_group(g, &stuck, error);
    if (status == KVF_OK) {
        kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
                 "group: rank %d of %d on device %d, NCCL %d, timeout %" PRId64 " us",
                 g->options.rank, g->options.ranks, g->engine->options.device, g->nccl_version,
                 g->options.timeout_us);
        *out = g;
    } else {
        stop_threads(g);
        close_comm(g, false);
        if (!stuck)
            free_buffers(g);
    }
    if (entered)
        kvf__cuda_leave(&scope);
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
        kvf__group_wait_quiet(g);
    stop_threads(g);
    pthread_mutex_lock(&g->driver);
    g->retired = true;
    pthread_mutex_unlock(&g->driver);
    kvf__cuda_device_scope scope;
    bool entered = kvf__cuda_enter(g->engine->options.device, &scope, NULL) == KVF_OK;
    close_comm(g, status == KVF_OK && turn.outcome.status == KVF_OK);
    free_buffers(g);
    if (entered)
        kvf__cuda_leave(&scope);
    pthread_mutex_lock(&g->lock);
    g->closed = true;
    kvf_group_counters c = g->counters;
    pthread_mutex_unlock(&g->lock);
    kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
             "group: rank %d of %d leaves after %" PRIu64 " operations, of which %" PRIu64
             " failed",
             g->options.rank, g->options.ranks, c.operations_submitted, c.operations_failed);
    kvf__group_release(g);
}
