/* The thread of a group: pumps messages, starts operations in their order and sees to their end. */
#include "group.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    BUSY_US = 20,        /* between looks at what is under way */
    UNWAKEABLE_US = 100, /* a channel that cannot be woken is asked this often */
    DEAF_US = 1000,      /* a channel that only fails is left alone for this long */
    IDLE_US = 1000 * 1000,
    CHECK_NS = 10 * 1000 * 1000, /* between questions for asynchronous errors */
    CLOSE_NS = 1000 * 1000 * 1000,
};

/* Events; with `lock` held */

static kvf_error error_of(const kvf__control_event *event) {
    kvf_error error = {.status = event->status,
                       .what = kvf__group_reason(event->reason, event->status)};
    if (event->rank >= 0) {
        error.fields = KVF_ERROR_INDEX;
        error.index = (uint64_t)event->rank;
    }
    return error;
}

static kvf_wire_op *find(kvf_group *g, uint64_t number) {
    kvf_wire_op *op = g->first;
    while (op && op->number != number)
        op = op->next;
    return op;
}

/* Takes an operation out of the list. */
static void unlink_op(kvf_group *g, kvf_wire_op *op) {
    kvf_wire_op **at = &g->first;
    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    if (!op->next)
        g->last = at;
    op->next = NULL;
}

/* Moves it behind the operations that were started before it. */
static void start(kvf_group *g, kvf_wire_op *op) {
    unlink_op(g, op);
    op->state = KVF__OP_STARTED;
    op->start_time = kvf__now();
    kvf_wire_op **at = &g->first;
    while (*at && (*at)->state != KVF__OP_ANNOUNCED)
        at = &(*at)->next;
    op->next = *at;
    *at = op;
    if (!op->next)
        g->last = &op->next;
}

/* Of a group that is broken, and of one that was destroyed, the group says so. */
static void write_end(const kvf_group *g, const kvf_wire_op *op, bool broken) {
    const kvf_log *log = &kvf__group_hooks(g)->log;
    bool failed = op->outcome.status != KVF_OK && op->outcome.status != KVF_ERR_CANCELLED;
    kvf_log_level level = failed && !broken ? KVF_LOG_ERROR : KVF_LOG_DEBUG;
    char what[KVF__LOG_BYTES / 4];
    if (!kvf__logs(log, level))
        return;
    (void)snprintf(what, sizeof what, "operation %" PRIu64 " of rank %d, %" PRIu64 " blocks",
                   op->number, g->options.rank, op->stats.blocks);
    kvf__log_error(log, level, what, &op->outcome);
}

static void write_broken(kvf_group *g) {
    const kvf_error by = g->broken;
    char what[KVF__LOG_BYTES / 4];
    (void)snprintf(what, sizeof what, "the group of rank %d is broken", g->options.rank);
    pthread_mutex_unlock(&g->lock);
    kvf__log_error(&kvf__group_hooks(g)->log,
                   by.status == KVF_ERR_CANCELLED ? KVF_LOG_DEBUG : KVF_LOG_ERROR, what, &by);
    pthread_mutex_lock(&g->lock);
}

static void end(kvf_group *g, kvf_wire_op *op, const kvf_error *error) {
    unlink_op(g, op);
    kvf__op_over(op, error);
    bool broken = g->state == KVF__GROUP_BROKEN;
    pthread_mutex_unlock(&g->lock); /* the last hold frees the operation */
    write_end(g, op, broken);
    kvf__op_finish(op);
    kvf__op_release(op);
    pthread_mutex_lock(&g->lock);
}

/* How an operation ends that others have voted on. What went wrong here says more than what the
 * others made of it. */
static void end_voted(kvf_group *g, kvf_wire_op *op, const kvf__control_event *event) {
    bool failed = op->run.failed.status != KVF_OK;
    kvf_error error = failed ? op->run.failed : error_of(event);
    g->counters.votes_lost += !failed && error.status != KVF_OK;
    end(g, op, error.status == KVF_OK ? NULL : &error);
}

static void drop_all(kvf_group *g) {
    for (kvf_wire_op *op = g->first; op; op = op->next)
        op->state = KVF__OP_DROPPED;
}

static void handle(kvf_group *g, const kvf__control_event *event) {
    kvf_wire_op *op = find(g, event->number);
    kvf_error error;
    switch (event->kind) {
    case KVF__CONTROL_READY:
        g->state = KVF__GROUP_OPENING;
        g->open_by = kvf__now() + (uint64_t)g->options.timeout_us * 1000;
        memcpy(g->id, event->payload, sizeof g->id);
        break;
    case KVF__CONTROL_STARTED:
        start(g, op);
        break;
    case KVF__CONTROL_REFUSED:
        error = error_of(event);
        g->counters.operations_refused++;
        end(g, op, &error);
        break;
    case KVF__CONTROL_ENDED:
        end_voted(g, op, event);
        break;
    case KVF__CONTROL_BROKEN:
        g->state = KVF__GROUP_BROKEN;
        g->broken = error_of(event);
        g->counters.broken = 1;
        drop_all(g);
        pthread_cond_broadcast(&g->changed);
        write_broken(g);
        break;
    case KVF__CONTROL_QUIET:
        g->quiet = true;
        pthread_cond_broadcast(&g->changed);
        break;
    }
}

static bool handle_events(kvf_group *g) {
    kvf__control_event event;
    bool any = false;
    while (kvf__control_next_event(g->control, &event)) {
        handle(g, &event);
        any = true;
    }
    return any;
}

/* Messages; with `lock` held, which is let go meanwhile */

static const char *text_of(const kvf_error *error, kvf_status status) {
    return error->what ? error->what : kvf_status_text(status);
}

static bool send_messages(kvf_group *g) {
    unsigned char message[KVF_CHANNEL_BYTES];
    int to;
    bool any = false;
    for (size_t bytes; (bytes = kvf__control_next_message(g->control, &to, message)) > 0;) {
        kvf_error error = {0};
        pthread_mutex_unlock(&g->lock);
        kvf_status status = g->channel.send(g->channel.user, to, message, bytes, &error);
        pthread_mutex_lock(&g->lock);
        if (status != KVF_OK)
            kvf__control_doubt(g->control, to, status, text_of(&error, status), kvf__now());
        any = true;
    }
    return any;
}

static void pause_for(kvf_group *g, int64_t us) {
    struct timespec time = {.tv_sec = 0, .tv_nsec = us * 1000};
    pthread_mutex_unlock(&g->lock);
    (void)nanosleep(&time, NULL);
    pthread_mutex_lock(&g->lock);
}

static void receive_message(kvf_group *g, int64_t timeout_us) {
    unsigned char message[KVF_CHANNEL_BYTES];
    int from = -1;
    size_t bytes = 0;
    kvf_error error = {0};
    pthread_mutex_unlock(&g->lock);
    kvf_status status = g->channel.receive(g->channel.user, timeout_us, &from, message,
                                           sizeof message, &bytes, &error);
    pthread_mutex_lock(&g->lock);
    if (status == KVF_OK)
        kvf__control_receive(g->control, from, message, bytes, kvf__now());
    else if (status != KVF_ERR_TIMEOUT && g->state == KVF__GROUP_BROKEN)
        pause_for(g, DEAF_US);
    else if (status != KVF_ERR_TIMEOUT)
        kvf__control_lost(g->control, error.fields & KVF_ERROR_INDEX ? (int)error.index : -1,
                          status, text_of(&error, status), kvf__now());
}

/* The communicator; the thread's, without `lock` */

static void take_communicator(kvf_group *g) {
    g->comm = __atomic_load_n(g->made, __ATOMIC_ACQUIRE);
    g->taken = g->comm != NULL;
}

static kvf_status begin_opening(kvf_group *g, kvf_error *error) {
    const kvf_group_options *o = &g->options;
    const kvf__nccl_config config = {o->min_ctas, o->max_ctas, o->cta_policy};
    g->made = kvf__alloc_zero(&g->allocator, 1, sizeof(struct ncclComm *));
    if (!g->made)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_status status =
        kvf__nccl_open(o->parent, g->id, o->rank, o->ranks, &config, g->made, error);
    if (!o->parent)
        take_communicator(g); /* there at once, also when it is going to fail */
    return status;
}

/* Until it is split off, a communicator is its parent's business, and only the parent tells how
 * that goes. */
static kvf_status find_communicator(kvf_group *g, kvf_error *error) {
    if (g->taken)
        return KVF_OK;
    kvf_status status = kvf__nccl_check(g->options.parent, error);
    if (status == KVF_OK)
        take_communicator(g);
    return status == KVF_OK && !g->taken ? KVF_PENDING : status;
}

static kvf_status open_communicator(kvf_group *g, kvf_error *error) {
    kvf_status status = KVF_OK;
    if (g->options.ranks == 1 && !g->options.parent)
        return KVF_OK;
    if (!g->made)
        status = begin_opening(g, error);
    if (status == KVF_OK)
        status = find_communicator(g, error);
    if (status == KVF_OK)
        status = kvf__nccl_check(g->comm, error);
    if (status == KVF_PENDING && kvf__now() >= g->open_by)
        status = KVF__FAIL(error, .status = KVF_ERR_TIMEOUT,
                           .what = "NCCL has not made the communicator in time");
    return status;
}

/* With `lock` held, which is let go meanwhile. */
static bool go_on_opening(kvf_group *g) {
    kvf_error error = {0};
    pthread_mutex_unlock(&g->lock);
    kvf_status status = open_communicator(g, &error);
    pthread_mutex_lock(&g->lock);
    if (status == KVF_PENDING || g->state != KVF__GROUP_OPENING)
        return false;
    if (status != KVF_OK) {
        kvf__group_doubt(g, &error);
        return true;
    }
    g->state = KVF__GROUP_OPEN;
    pthread_cond_broadcast(&g->changed);
    return true;
}

/* Aborts it, so that whatever waits for other ranks comes to an end. */
static void abort_communicator(kvf_group *g) {
    struct ncclComm *comm = g->comm;
    g->comm = NULL;
    if (!comm)
        return;
    pthread_mutex_unlock(&g->lock);
    kvf__nccl_abort(comm);
    pthread_mutex_lock(&g->lock);
}

static void check_communicator(kvf_group *g) {
    kvf_error error = {0};
    uint64_t now = kvf__now();
    if (!g->comm || g->state != KVF__GROUP_OPEN || now < g->next_check)
        return;
    g->next_check = now + CHECK_NS;
    pthread_mutex_unlock(&g->lock);
    kvf_status status = kvf__nccl_check(g->comm, &error);
    pthread_mutex_lock(&g->lock);
    if (status != KVF_OK && status != KVF_PENDING)
        kvf__group_doubt(g, &error);
}

/* Operations; with `lock` held, which is let go meanwhile */

static void vote(kvf_group *g, kvf_wire_op *op) {
    const kvf_error *failed = &op->run.failed;
    op->state = KVF__OP_VOTED;
    kvf__control_vote(g->control, op->number, failed->status,
                      failed->what ? failed->what : kvf_status_text(failed->status), kvf__now());
}

/* An operation that cannot even be prepared is one that this rank would not take part in, and the
 * others would wait for it. */
static kvf_status prepare_and_advance(kvf_wire_op *op, bool *moved, kvf_error *error) {
    if (!op->prepared) {
        kvf_status status = kvf__op_prepare(op, error);
        if (status != KVF_OK)
            return status;
        op->prepared = true;
        *moved = true;
    }
    kvf_status status = kvf__op_advance(op, moved, error);
    kvf_error stuck;
    if ((status == KVF_OK || status == KVF_PENDING) &&
        kvf__guard_check(op->group, &stuck) != KVF_OK)
        return kvf__fail(error, stuck);
    return status;
}

/* Carries on one started operation. Returns whether all of it is enqueued. */
static bool carry_on(kvf_group *g, kvf_wire_op *op, bool *moved) {
    kvf_error error = {0};
    pthread_mutex_unlock(&g->lock);
    kvf_status status = prepare_and_advance(op, moved, &error);
    bool quiet = status == KVF_OK && kvf__op_is_quiet(op, moved);
    if (status == KVF_PENDING)
        (void)kvf__op_is_quiet(op, moved);
    pthread_mutex_lock(&g->lock);
    if (op->state != KVF__OP_STARTED)
        return false;
    if (status != KVF_OK && status != KVF_PENDING) {
        kvf__group_doubt(g, &error);
        *moved = true;
        return false;
    }
    if (quiet) {
        vote(g, op);
        *moved = true;
    }
    return status == KVF_OK;
}

/* Each only behind what was started before it, since the other ranks enqueue them in that order. */
static bool carry_on_all(kvf_group *g) {
    bool moved = false;
    kvf_wire_op *op = g->first;
    while (op && g->state == KVF__GROUP_OPEN && op->state != KVF__OP_ANNOUNCED) {
        if (op->state == KVF__OP_STARTED && !carry_on(g, op, &moved))
            break;
        op = op->next;
    }
    return moved;
}

/* Of a broken group: what moves no more ends. */
static bool end_dropped(kvf_group *g) {
    bool moved = false;
    for (kvf_wire_op *op = g->first, *next; op; op = next) {
        pthread_mutex_unlock(&g->lock);
        if (op->prepared && !op->dropped)
            kvf__op_drop(op);
        op->dropped = true;
        bool quiet = !op->prepared || kvf__op_is_quiet(op, &moved);
        pthread_mutex_lock(&g->lock);
        next = op->next;
        if (!quiet)
            continue;
        kvf_error error = g->broken;
        end(g, op, &error);
        moved = true;
    }
    return moved;
}

/* The thread */

static bool advance(kvf_group *g) {
    kvf_error error;
    bool moved = handle_events(g);
    moved |= send_messages(g);
    switch (g->state) {
    case KVF__GROUP_OPENING:
        return go_on_opening(g) || moved;
    case KVF__GROUP_OPEN:
        if (kvf__guard_check(g, &error) != KVF_OK)
            kvf__group_doubt(g, &error);
        moved |= carry_on_all(g);
        check_communicator(g);
        return moved;
    case KVF__GROUP_BROKEN:
        abort_communicator(g);
        return end_dropped(g) || moved;
    default:
        return moved;
    }
}

/* Whether there is something that only looking at it moves on. */
static bool is_busy(const kvf_group *g) {
    bool busy = g->state == KVF__GROUP_OPENING;
    for (const kvf_wire_op *op = g->first; op && !busy; op = op->next)
        busy = op->state == KVF__OP_STARTED || op->state == KVF__OP_DROPPED;
    return busy;
}

static int64_t time_to_wait(const kvf_group *g, bool moved, uint64_t deadline) {
    uint64_t now = kvf__now();
    int64_t until = deadline > now ? (int64_t)((deadline - now) / 1000) : 0;
    int64_t most = moved ? 0 : is_busy(g) ? BUSY_US : !g->channel.wake ? UNWAKEABLE_US : IDLE_US;
    return until < most ? until : most;
}

static void step(kvf_group *g) {
    uint64_t deadline = kvf__control_tick(g->control, kvf__now());
    bool moved = advance(g);
    if (is_busy(g)) {
        pthread_mutex_unlock(&g->lock);
        kvf__guard_enter(g);
        moved |= g->engine->base.ops->progress(&g->engine->base);
        kvf__guard_leave(g);
        pthread_mutex_lock(&g->lock);
    }
    if (!g->stop)
        receive_message(g, time_to_wait(g, moved, deadline));
}

/* Waits for what was begun on a communicator, for a while. */
static kvf_status see_it_done(struct ncclComm *comm) {
    const struct timespec nap = {.tv_sec = 0, .tv_nsec = BUSY_US * 1000L};
    uint64_t end = kvf__now() + CLOSE_NS;
    kvf_status status;
    while ((status = kvf__nccl_check(comm, NULL)) == KVF_PENDING && kvf__now() < end)
        (void)nanosleep(&nap, NULL);
    return status;
}

/* A split that the group did not wait for. While it is under way NCCL may write where it was told
 * to, and where somebody has died that may be for ever: then this place is left to it. */
static void end_split(kvf_group *g) {
    if (!g->made)
        return;
    if (!g->taken && g->options.parent) {
        if (see_it_done(g->options.parent) == KVF_PENDING)
            return;
        kvf__nccl_abort(__atomic_load_n(g->made, __ATOMIC_ACQUIRE));
    }
    kvf__free(&g->allocator, g->made, 1, sizeof(struct ncclComm *));
    g->made = NULL;
}

/* Lets go of the communicator in peace where everybody is done, and otherwise at once. */
static void close_communicator(kvf_group *g) {
    struct ncclComm *comm = g->comm;
    end_split(g);
    g->comm = NULL;
    if (!comm)
        return;
    kvf_status status = g->quiet ? kvf__nccl_finalize(comm, NULL) : KVF_ERR_ENGINE;
    if (status == KVF_OK)
        status = see_it_done(comm);
    if (status == KVF_OK)
        kvf__nccl_destroy(comm);
    else
        kvf__nccl_abort(comm);
}

void *kvf__group_run(void *context) {
    kvf_group *g = context;
    kvf__cuda_guard guard;
    kvf_error error;
    bool entered = kvf__cuda_enter(g->engine->options.device, &guard, &error) == KVF_OK;
    (void)kvf__timers_be_exact();
    pthread_mutex_lock(&g->lock);
    if (!entered)
        kvf__group_doubt(g, &error);
    while (!g->stop || g->first)
        step(g);
    (void)handle_events(g);
    (void)send_messages(g); /* that this rank goes, if nobody has heard it yet */
    pthread_mutex_unlock(&g->lock);
    close_communicator(g);
    if (entered)
        kvf__cuda_leave(&guard);
    return NULL;
}
