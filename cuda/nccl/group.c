/* What all parts of a group use: its lifetime, stream, communicator, turns, and breaking it. */
#include "nccl/group.h"

#include "base/threads.h"

#include <time.h>

enum { POLL_NS = 20000 };

/* Lifetime */

void kvf__group_hold(kvf_group *g) {
    atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed);
}

static void free_group(kvf_group *g) {
    kvf_allocator a = g->allocator;
    kvf_engine *engine = &g->engine->base;
    pthread_cond_destroy(&g->changed);
    pthread_cond_destroy(&g->stopping);
    pthread_mutex_destroy(&g->driver);
    pthread_mutex_destroy(&g->comm_lock);
    pthread_mutex_destroy(&g->abort_lock);
    pthread_mutex_destroy(&g->lock);
    kvf__free(&a, g, 1, sizeof *g);
    kvf__engine_release(engine);
}

void kvf__group_release(kvf_group *g) {
    if (atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) == 1)
        free_group(g);
}

/* The stream */

kvf_status kvf__group_copy(kvf_group *g, void *to, const void *from, size_t bytes,
                           enum cudaMemcpyKind kind, kvf_error *error) {
    cudaError_t code = cudaMemcpyAsync(to, from, bytes, kind, g->stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaMemcpyAsync", error);
}

kvf_status kvf__group_record(kvf_group *g, cudaEvent_t event, kvf_error *error) {
    cudaError_t code = cudaEventRecord(event, g->stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaEventRecord", error);
}

/* The communicator */

bool kvf__group_lock_comm(kvf_group *g) {
    pthread_mutex_lock(&g->comm_lock);
    if (g->comm)
        return true;
    pthread_mutex_unlock(&g->comm_lock);
    return false;
}

void kvf__group_unlock_comm(kvf_group *g) {
    pthread_mutex_unlock(&g->comm_lock);
}

kvf_status kvf__group_settle(kvf_group *g, kvf_error *error) {
    if (!g->opened)
        return KVF_OK;
    if (!kvf__group_lock_comm(g))
        return KVF_PENDING;
    kvf_status status = kvf__nccl->check(g->comm, error);
    kvf__group_unlock_comm(g);
    return status;
}

struct ncclComm *kvf__group_take_comm(kvf_group *g, struct ncclComm **from) {
    pthread_mutex_lock(&g->comm_lock);
    struct ncclComm *comm = *from;
    *from = NULL;
    pthread_mutex_unlock(&g->comm_lock);
    return comm;
}

static void abort_comm(kvf_group *g, struct ncclComm *comm) {
    pthread_mutex_lock(&g->abort_lock);
    if (comm)
        kvf__nccl->abort(comm);
    pthread_mutex_unlock(&g->abort_lock);
}

/* Revoking frees nothing and therefore does not wait. An NCCL that cannot revoke lets the stream go
 * on only after an abort. */
static void stop_comm(kvf_group *g) {
    struct ncclComm *comm = kvf__group_take_comm(g, &g->comm);
    if (comm && g->opened && kvf__nccl->revoke(comm, g->nccl_version) == KVF_OK) {
        pthread_mutex_lock(&g->comm_lock);
        g->revoked = comm;
        pthread_mutex_unlock(&g->comm_lock);
    } else {
        abort_comm(g, comm);
    }
    pthread_mutex_lock(&g->lock);
    g->stopped = true;
    pthread_mutex_unlock(&g->lock);
}

void kvf__group_abort(kvf_group *g) {
    abort_comm(g, kvf__group_take_comm(g, &g->revoked));
}

void kvf__group_wait_quiet(kvf_group *g) {
    for (;;) {
        kvf__group_drive(g);
        pthread_mutex_lock(&g->lock);
        bool done = g->quiet && !g->first && g->refusals == 0;
        pthread_mutex_unlock(&g->lock);
        if (done)
            break;
        kvf__group_sleep();
    }
    kvf__group_abort(g);
}

const char kvf__group_timed_out[] = "a rank is late or dead";

void kvf__group_restart_timeout(kvf_group *g) {
    atomic_store(&g->deadline, kvf__now() + (uint64_t)g->options.timeout_us * 1000);
}

void kvf__group_break(kvf_group *g, kvf_error error) {
    pthread_mutex_lock(&g->lock);
    bool first = g->broken.status == KVF_OK;
    if (first) {
        g->broken = (kvf_error){.status = KVF_ERR_BROKEN,
                                .fields = error.fields & KVF_ERROR_NATIVE_CODE,
                                .native_code = error.native_code,
                                .what = error.what ? error.what : kvf_status_text(error.status)};
        g->counters.broken = 1;
        pthread_cond_broadcast(&g->changed);
    }
    error = g->broken;
    pthread_mutex_unlock(&g->lock);
    if (!first)
        return;
    kvf__log_error(&kvf__group_hooks(g)->log, KVF_LOG_ERROR, "group broken", &error);
    kvf__group_restart_timeout(g);
    stop_comm(g);
}

bool kvf__group_is_broken(kvf_group *g) {
    pthread_mutex_lock(&g->lock);
    bool broken = g->broken.status != KVF_OK;
    pthread_mutex_unlock(&g->lock);
    return broken;
}

kvf_status kvf_group_check(kvf_group *g, kvf_error *error) {
    if (!g)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf__group_drive(g);
    pthread_mutex_lock(&g->lock);
    kvf_status status = g->broken.status == KVF_OK ? KVF_OK : kvf__fail(error, g->broken);
    pthread_mutex_unlock(&g->lock);
    return status;
}

/* Turns */

/* With `lock` held. */
static kvf_status check_open(const kvf_group *g, kvf_error *error) {
    if (g->broken.status != KVF_OK)
        return kvf__fail(error, g->broken);
    if (g->closed)
        return KVF__FAIL(error, .status = KVF_ERR_CLOSED, .what = "the group was destroyed");
    return KVF_OK;
}

kvf_status kvf__group_enter(kvf_group *g, kvf__turn *turn, kvf_error *error) {
    pthread_mutex_lock(&g->lock);
    kvf_status status = check_open(g, error);
    if (status == KVF_OK) {
        turn->next = NULL;
        turn->ended = turn->enqueued = false;
        *g->last = turn;
        g->last = &turn->next;
        if (kvf__turn_is_op(turn))
            g->counters.operations_submitted++;
        pthread_cond_broadcast(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
    return status;
}

kvf_status kvf__group_refuse(kvf_group *g, kvf_status why, kvf_error *error) {
    pthread_mutex_lock(&g->lock);
    kvf_status status = check_open(g, error);
    if (status == KVF_OK) {
        kvf__turn *newest = g->first;
        while (newest && newest->next)
            newest = newest->next;
        size_t *count = newest ? &newest->refusals : &g->refusals;
        (*count)++;
        *(newest ? &newest->why : &g->refusal_why) = why;
        pthread_cond_broadcast(&g->changed);
    }
    pthread_mutex_unlock(&g->lock);
    if (status == KVF_OK)
        kvf__group_drive(g);
    /* In the ordered form the turn ends within the call, as in submit. */
    while (status == KVF_OK && g->options.stream && kvf_group_progress(g) > 0)
        kvf__group_sleep();
    return status;
}

void kvf__group_sleep(void) {
    (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
}

static bool has_ended(const kvf__turn *turn, bool enqueued_is_enough) {
    return turn->ended || (enqueued_is_enough && turn->enqueued);
}

void kvf__group_wait_turn(kvf_group *g, kvf__turn *turn, bool enqueued_is_enough, uint64_t end) {
    pthread_mutex_lock(&g->lock);
    while (!has_ended(turn, enqueued_is_enough) && kvf__now() < end) {
        uint64_t until = end;
        if (!g->has_thread) {
            pthread_mutex_unlock(&g->lock);
            kvf__group_drive(g);
            until = kvf__min(end, kvf__now() + POLL_NS);
            pthread_mutex_lock(&g->lock);
        }
        if (!has_ended(turn, enqueued_is_enough))
            kvf__cond_wait_until(&g->changed, &g->lock, until);
    }
    pthread_mutex_unlock(&g->lock);
}

size_t kvf_group_progress(kvf_group *g) {
    if (!g)
        return 0;
    kvf__group_drive(g);
    pthread_mutex_lock(&g->lock);
    size_t count = g->refusals;
    for (const kvf__turn *turn = g->first; turn; turn = turn->next)
        count += 1 + turn->refusals;
    pthread_mutex_unlock(&g->lock);
    return count;
}

kvf_status kvf__group_require_nccl(kvf_error *error) {
    return kvf__nccl ? KVF_OK
                     : KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                                 .what = "the module was built without NCCL");
}

kvf_status kvf_group_id_create(unsigned char id[KVF_GROUP_ID_BYTES], kvf_error *error) {
    if (!id)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = kvf__group_require_nccl(error);
    return status == KVF_OK ? kvf__nccl->make_id(id, error) : status;
}

int kvf_group_rank(const kvf_group *g) {
    return g ? g->options.rank : -1;
}

int kvf_group_ranks(const kvf_group *g) {
    return g ? g->options.ranks : 0;
}
