/* Groups: the thread that pumps messages, starts operations in their order and sees to their end.
 */
#include "group.h"

#include "threads.h"

#include <inttypes.h>

static const int64_t usual_timeout_us = INT64_C(30000000), slowest_heartbeat_us = 1000000;

/* Life */

void kvf__group_hold(kvf_group *g) {
    atomic_fetch_add_explicit(&g->holds, 1, memory_order_relaxed);
}

static void free_group(kvf_group *g) {
    kvf_allocator a = g->allocator;
    if (g->control)
        kvf__control_destroy(g->control);
    pthread_cond_destroy(&g->woken);
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    kvf_engine *engine = &g->engine->base;
    kvf__free(&a, g, 1, sizeof *g);
    kvf__engine_release(engine);
}

void kvf__group_release(kvf_group *g) {
    if (atomic_fetch_sub_explicit(&g->holds, 1, memory_order_acq_rel) == 1)
        free_group(g);
}

/* Being broken; with `lock` held. An error's index may be a block's, and NCCL does not say which
 * other rank it is that has failed, so it is this one that has told. */

void kvf__group_doubt(kvf_group *g, const kvf_error *error) {
    kvf__control_doubt(g->control, g->options.rank, error->status,
                       error->what ? error->what : kvf_status_text(error->status), kvf__now());
}

kvf_status kvf__group_check_open(kvf_group *g, kvf_error *error) {
    return g->state == KVF__GROUP_BROKEN ? kvf__fail(error, g->broken) : KVF_OK;
}

kvf_status kvf_group_check(kvf_group *g, kvf_error *error) {
    if (!g)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    pthread_mutex_lock(&g->lock);
    kvf_status status = kvf__group_check_open(g, error);
    pthread_mutex_unlock(&g->lock);
    return status;
}

/* A channel for a group of one: nobody sends, and wake wakes. */

static kvf_status send_to_nobody(void *user, int to, const void *message, size_t bytes,
                                 kvf_error *error) {
    (void)user;
    (void)message;
    (void)bytes;
    return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX,
                     .index = (uint64_t)to, .what = "no such rank");
}

static kvf_status wait_for_wake(void *user, int64_t timeout_us, int *from, void *message,
                                size_t capacity, size_t *bytes, kvf_error *error) {
    kvf_group *g = user;
    (void)from;
    (void)message;
    (void)capacity;
    (void)bytes;
    uint64_t end = kvf__now() + (uint64_t)timeout_us * 1000;
    pthread_mutex_lock(&g->lock);
    while (!g->wake && kvf__now() < end)
        kvf__cond_wait_until(&g->woken, &g->lock, end);
    g->wake = false;
    pthread_mutex_unlock(&g->lock);
    return KVF__FAIL(error, .status = KVF_ERR_TIMEOUT);
}

static void wake_one(void *user) {
    kvf_group *g = user;
    pthread_mutex_lock(&g->lock);
    g->wake = true;
    pthread_cond_signal(&g->woken);
    pthread_mutex_unlock(&g->lock);
}

void kvf__group_wake(kvf_group *g) {
    if (g->channel.wake)
        g->channel.wake(g->channel.user);
}

/* Creating and destroying */

static kvf_status check_options(const kvf_group_options *o, kvf_group **out, kvf_error *error) {
    if (!o || !out || !o->engine)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o->ranks < 1 || o->rank < 0 || o->rank >= o->ranks)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such rank");
    if (o->ranks > 1 && (!o->channel || !o->channel->send || !o->channel->receive))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "the channel is missing");
    if (o->timeout_us < 0 || o->heartbeat_us < 0 || o->timeout_us > INT64_MAX / 1000 ||
        o->heartbeat_us > INT64_MAX / 1000)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "a time is negative or absurd");
    if (!kvf__cuda_of(o->engine))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED, .what = "not a CUDA engine");
    return o->ranks > 1 || o->parent ? kvf__nccl_is_there(error) : KVF_OK;
}

static kvf_status make_control(kvf_group *g, kvf_error *error) {
    const kvf_group_options *o = &g->options;
    unsigned char payload[KVF__CONTROL_PAYLOAD] = {0};
    kvf__control_options c = {
        .rank = o->rank,
        .ranks = o->ranks,
        .timeout_ns = (uint64_t)o->timeout_us * 1000,
        .beat_ns = (uint64_t)o->heartbeat_us * 1000,
        .digest = {o->parent != NULL, 0},
        .allocator = g->allocator,
    };
    if (o->rank == 0 && o->ranks > 1 && !o->parent) {
        kvf_status status = kvf__nccl_id(payload, error);
        if (status != KVF_OK)
            return status;
    }
    if (o->rank == 0)
        c.payload = payload;
    return kvf__control_create(&c, kvf__now(), &g->control, error);
}

static kvf_status make_stream(kvf_group *g, kvf_error *error) {
    kvf__cuda_guard guard;
    kvf_status status = kvf__cuda_enter(g->engine->options.device, &guard, error);
    if (status != KVF_OK)
        return status;
    cudaError_t code = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
    if (code != cudaSuccess) {
        g->stream = NULL;
        status = kvf__cuda_fail(code, "cudaStreamCreateWithFlags", error);
    } else if ((code = cudaEventCreateWithFlags(&g->shared, cudaEventDisableTiming)) !=
               cudaSuccess) {
        g->shared = NULL;
        status = kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
    }
    kvf__cuda_leave(&guard);
    return status;
}

static void drop_stream(kvf_group *g) {
    kvf__cuda_guard guard;
    bool entered = kvf__cuda_enter(g->engine->options.device, &guard, NULL) == KVF_OK;
    if (g->shared)
        (void)cudaEventDestroy(g->shared);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
    g->shared = NULL;
    g->stream = NULL;
    (void)cudaGetLastError();
    if (entered)
        kvf__cuda_leave(&guard);
}

/* Ends the thread: in peace with the others, if they come to it in time. */
static void stop_thread(kvf_group *g, bool in_peace) {
    pthread_mutex_lock(&g->lock);
    uint64_t end = kvf__now() + (uint64_t)g->options.timeout_us * 1000;
    if (in_peace && g->state == KVF__GROUP_OPEN)
        kvf__control_leave(g->control, kvf__now());
    pthread_mutex_unlock(&g->lock);
    kvf__group_wake(g);
    pthread_mutex_lock(&g->lock);
    while (in_peace && !g->quiet && g->state != KVF__GROUP_BROKEN && kvf__now() < end)
        kvf__cond_wait_until(&g->changed, &g->lock, end);
    const kvf_error left = {.status = KVF_ERR_CANCELLED, .what = "the group was destroyed"};
    if (!g->quiet)
        kvf__group_doubt(g, &left);
    g->stop = true;
    pthread_mutex_unlock(&g->lock);
    kvf__group_wake(g);
    pthread_join(g->thread, NULL);
    kvf__guard_stop(g);
}

/* Until all ranks are there and have a communicator. */
static kvf_status wait_open(kvf_group *g, kvf_error *error) {
    pthread_mutex_lock(&g->lock);
    while (g->state == KVF__GROUP_MEETING || g->state == KVF__GROUP_OPENING)
        pthread_cond_wait(&g->changed, &g->lock);
    kvf_status status = kvf__group_check_open(g, error);
    pthread_mutex_unlock(&g->lock);
    return status;
}

static kvf_status init_locks(kvf_group *g) {
    if (pthread_mutex_init(&g->lock, NULL) != 0)
        return KVF_ERR_NO_MEMORY;
    if (kvf__cond_init(&g->changed)) {
        if (kvf__cond_init(&g->woken))
            return KVF_OK;
        pthread_cond_destroy(&g->changed);
    }
    pthread_mutex_destroy(&g->lock);
    return KVF_ERR_NO_MEMORY;
}

static void set_options(kvf_group *g, const kvf_group_options *o) {
    g->options = *o;
    if (o->timeout_us == 0)
        g->options.timeout_us = usual_timeout_us;
    if (o->heartbeat_us == 0) {
        int64_t tenth = g->options.timeout_us / 10 + 1;
        g->options.heartbeat_us = tenth < slowest_heartbeat_us ? tenth : slowest_heartbeat_us;
    }
    if (o->ranks > 1)
        g->channel = *o->channel;
    else
        g->channel = (kvf_channel){g, send_to_nobody, wait_for_wake, wake_one};
    g->options.channel = NULL;
    g->last = &g->first;
    atomic_init(&g->holds, 1);
}

static kvf_status open_group(kvf_group *g, kvf_error *error) {
    kvf_status status = make_control(g, error);
    if (status == KVF_OK)
        status = make_stream(g, error);
    if (status == KVF_OK)
        status = kvf__start_thread(&g->thread, kvf__group_run, g, error);
    if (status != KVF_OK)
        return status;
    status = wait_open(g, error);
    if (status == KVF_OK)
        status = kvf__guard_start(g, error);
    if (status != KVF_OK)
        stop_thread(g, false);
    return status;
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
    kvf__engine_hold(&g->engine->base);
    set_options(g, options);
    status = open_group(g, error);
    if (status == KVF_OK) {
        kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
                 "group: rank %d of %d, on device %d, timeout %" PRId64 " us", options->rank,
                 options->ranks, g->engine->options.device, g->options.timeout_us);
        *out = g;
        return KVF_OK;
    }
    drop_stream(g);
    kvf__group_release(g);
    return status;
}

void kvf_group_destroy(kvf_group *g) {
    if (!g)
        return;
    stop_thread(g, true);
    drop_stream(g);
    kvf__log(&kvf__group_hooks(g)->log, KVF_LOG_INFO,
             "group: rank %d of %d has left, after %" PRIu64 " operations, of which %" PRIu64
             " failed",
             g->options.rank, g->options.ranks, g->counters.operations_submitted,
             g->counters.operations_failed);
    kvf__group_release(g);
}

int kvf_group_rank(const kvf_group *g) {
    return g ? g->options.rank : -1;
}

int kvf_group_ranks(const kvf_group *g) {
    return g ? g->options.ranks : 0;
}
