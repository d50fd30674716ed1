/* Drives a group forward: gathers, acting on their tables, and winding down a broken group. */
#include "nccl/group.h"

#include <inttypes.h>
#include <stdio.h>

static kvf_wire_op *op_of(kvf__turn *turn) {
    return turn && kvf__turn_is_op(turn) ? (kvf_wire_op *)turn : NULL;
}

/* The queue */

/* The first turn of the queue, or the one after `voting`; NULL: none yet. */
static kvf__turn *turn_after(kvf_group *g, kvf__turn *voting) {
    pthread_mutex_lock(&g->lock);
    kvf__turn *turn = voting ? voting->next : g->first;
    if ((voting ? voting->refusals : g->refusals) > 0) {
        g->refusal = (kvf__turn){.kind = KVF__TURN_REFUSAL,
                                 .refused = voting ? voting->why : g->refusal_why};
        turn = &g->refusal;
    }
    if (turn)
        turn->number = g->turns + (voting ? 2 : 1);
    pthread_mutex_unlock(&g->lock);
    return turn;
}

static void log_end(const kvf_group *g, const kvf_wire_op *op) {
    const kvf_log *log = &kvf__group_hooks(g)->log;
    kvf_status status = op->turn.outcome.status;
    kvf_log_level level =
        status != KVF_OK && status != KVF_ERR_BROKEN ? KVF_LOG_ERROR : KVF_LOG_DEBUG;
    char what[KVF__LOG_BYTES / 4];
    if (!kvf__logs(log, level))
        return;
    (void)snprintf(what, sizeof what, "operation %" PRIu64 " of rank %d, %" PRIu64 " blocks",
                   op->turn.number, g->options.rank, op->stats.blocks);
    kvf__log_error(log, level, what, &op->turn.outcome);
}

/* Ends the first turn and takes it out of the queue. `also`: an operation adds 1 to it; NULL. */
static void end_turn(kvf_group *g, kvf__turn *turn, kvf_error outcome, uint64_t *also) {
    kvf_wire_op *op = op_of(turn);
    pthread_mutex_lock(&g->lock);
    g->turns++;
    if (op && also)
        (*also)++;
    if (turn == &g->refusal) {
        g->refusals--;
        pthread_mutex_unlock(&g->lock);
        return;
    }
    g->first = turn->next;
    if (!g->first)
        g->last = &g->first;
    g->refusals += turn->refusals;
    if (turn->refusals > 0)
        g->refusal_why = turn->why;
    turn->outcome = outcome;
    if (op)
        kvf__op_conclude(op);
    turn->ended = true; /* another thread may free it now, unless it is an operation */
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
    if (!op)
        return;
    log_end(g, op);
    kvf__op_free_run(op);
    kvf__op_release(op);
}

/* Gathers */

static void write_entry(kvf_group *g, const kvf__turn *voted, const kvf__turn *next,
                        kvf_status vote) {
    kvf__entry *e = g->own_entry;
    *e = (kvf__entry){.version = KVF_VERSION_MAJOR << 16 | KVF_VERSION_MINOR,
                      .gather = ++g->gathers};
    if (voted) {
        e->voted = voted->number;
        e->vote = (uint32_t)vote;
    }
    if (next) {
        e->turn = next->number;
        e->kind = (uint16_t)next->kind;
        e->offer = next->offer;
        e->refused = (uint32_t)next->refused;
        e->where = next->where;
        e->digest = next->digest;
    }
    e->check = kvf__entry_check(e);
}

/* In a group of one without a communicator, the rank's own entry is the table. */
static kvf_status begin_gather(kvf_group *g, kvf_error *error) {
    if (!g->opened) {
        g->table[0] = *g->own_entry;
        return KVF_OK;
    }
    char *me = g->entries + (size_t)g->options.rank * sizeof(kvf__entry);
    kvf_status status =
        kvf__group_copy(g, me, g->own_entry, sizeof(kvf__entry), cudaMemcpyHostToDevice, error);
    if (status != KVF_OK)
        return status;
    if (!kvf__group_lock_comm(g))
        return KVF_PENDING;
    status = kvf__nccl->all_gather(g->comm, g->entries, g->options.rank, sizeof(kvf__entry),
                                   g->stream, error);
    kvf__group_unlock_comm(g);
    return status;
}

static void gather(kvf_group *g, kvf__turn *voted, kvf__turn *next, kvf_status vote) {
    kvf_error error = {0};
    g->voting = voted;
    g->announcing = next;
    kvf__group_restart_timeout(g);
    write_entry(g, voted, next, vote);
    g->phase = KVF__CALLING;
    kvf_status status = begin_gather(g, &error);
    if (status != KVF_OK && status != KVF_PENDING)
        kvf__group_break(g, error);
    if (op_of(next))
        kvf__op_fill_ahead(op_of(next));
    pthread_mutex_lock(&g->lock);
    g->counters.gathers++;
    pthread_mutex_unlock(&g->lock);
}

static bool copy_table(kvf_group *g) {
    kvf_error error = {0};
    kvf_status status = kvf__group_settle(g, &error);
    if (status == KVF_PENDING)
        return false;
    if (status == KVF_OK && g->opened)
        status =
            kvf__group_copy(g, g->table, g->entries, (size_t)g->options.ranks * sizeof(kvf__entry),
                            cudaMemcpyDeviceToHost, &error);
    if (status == KVF_OK)
        status = kvf__group_record(g, g->gathered, &error);
    if (status != KVF_OK) {
        kvf__group_break(g, error);
        return true;
    }
    pthread_mutex_lock(&g->lock);
    if (g->voting)
        g->voting->enqueued = true;
    pthread_mutex_unlock(&g->lock);
    g->phase = KVF__GATHERING;
    return true;
}

/* The event also fires after a failed gather. But a valid table is one that the other ranks may
 * have read too, so it counts whatever has happened to the communicator since. */
static bool check_table(kvf_group *g) {
    kvf_error error = {.status = KVF_ERR_ENGINE, .what = "a gather failed"};
    kvf_status status = kvf__cuda_query(g->gathered, &error);
    if (status == KVF_OK && kvf__table_is_valid(g->table, g->options.ranks, g->gathers)) {
        g->odd_rank = kvf__table_find_odd_rank(g->table, g->options.ranks, &g->all_announced,
                                               &g->left, &g->difference);
        kvf__group_restart_timeout(g);
        g->phase = KVF__CONCLUDING;
        return true;
    }
    kvf_status state = kvf__group_settle(g, &error);
    if (status != KVF_PENDING || (state != KVF_OK && state != KVF_PENDING)) {
        kvf__group_break(g, error);
        return true;
    }
    return false;
}

/* Acting on a table */

static kvf_error peer_error(int rank, const char *why) {
    return (kvf_error){
        .status = KVF_ERR_PEER, .fields = KVF_ERROR_INDEX, .index = (uint64_t)rank, .what = why};
}

/* An error of this rank says more than the others' votes. */
static void end_voted(kvf_group *g, kvf_wire_op *op) {
    int failed = kvf__table_find_failed_vote(g->table, g->options.ranks);
    kvf_error error = op->run.failed;
    bool lost = error.status == KVF_OK && failed >= 0;
    if (lost)
        error = peer_error(failed, kvf_status_text((kvf_status)g->table[failed].vote));
    if (error.status != KVF_OK && failed < 0) /* failed after the vote, and landed elsewhere */
        kvf__group_break(g, error);
    end_turn(g, &op->turn, error, lost ? &g->counters.votes_lost : NULL);
}

static void become_idle(kvf_group *g) {
    atomic_store(&g->deadline, 0);
    g->phase = KVF__IDLE;
}

static void start(kvf_group *g, kvf__turn *turn) {
    kvf_wire_op *op = op_of(turn);
    kvf_error error = {0};
    kvf__group_restart_timeout(g);
    if (op) {
        pthread_mutex_lock(&g->lock);
        op->start_time = kvf__now();
        pthread_mutex_unlock(&g->lock);
        op->run.first_place = op->wire->next_place;
        op->wire->next_place = (op->wire->next_place + op->run.chunk_count) % op->wire->chunks;
        g->phase = KVF__RUNNING;
    } else if (turn->kind == KVF__TURN_CREATE_WIRE) {
        uint16_t offer = kvf__table_least_offer(g->table, g->options.ranks);
        kvf_status status = kvf__wire_register((kvf_wire *)turn, offer, &error);
        g->phase = KVF__REGISTERING;
        if (status != KVF_OK && status != KVF_PENDING)
            kvf__group_break(g, error);
    } else {
        if (turn->kind == KVF__TURN_DESTROY_WIRE)
            kvf__wire_close((kvf_wire *)turn);
        become_idle(g);
        end_turn(g, turn, (kvf_error){0}, NULL);
    }
}

/* A wire that only some ranks destroy stays registered on all. */
static void refuse(kvf_group *g, kvf__turn *turn) {
    if (turn->kind == KVF__TURN_DESTROY_WIRE)
        ((kvf_wire *)turn)->abandoned = true;
    become_idle(g);
    if (g->left)
        kvf__group_break(g, (kvf_error){.what = "a rank has left"});
    end_turn(g, turn, peer_error(g->odd_rank, g->difference), &g->counters.operations_refused);
}

static bool conclude(kvf_group *g) {
    bool moved = false;
    if (g->checking_in) {
        g->announcing = &g->checking_in->turn;
        g->checking_in = NULL;
        g->phase = KVF__RUNNING;
        return true;
    }
    if (g->voting) {
        kvf_wire_op *op = op_of(g->voting);
        if (!kvf__op_is_quiet(op, &moved))
            return moved;
        g->voting = NULL;
        end_voted(g, op);
        if (kvf__group_is_broken(g))
            return true;
    }
    kvf__turn *turn = g->announcing;
    if (!turn || !g->all_announced) { /* it gets a gather of its own */
        g->announcing = NULL;
        become_idle(g);
    } else if (g->odd_rank >= 0) {
        if (op_of(turn) && !kvf__op_is_quiet(op_of(turn), &moved))
            return moved;
        g->announcing = NULL;
        refuse(g, turn);
    } else {
        start(g, turn);
        if (g->phase == KVF__IDLE)
            g->announcing = NULL;
    }
    return true;
}

static bool run(kvf_group *g) {
    kvf_wire_op *op = op_of(g->announcing);
    kvf_error error = {0};
    bool moved = false;
    kvf_status status = kvf__op_advance(op, &moved, &error);
    if (status == KVF_OK)
        status = kvf__op_vote(op, &error);
    if (moved)
        kvf__group_restart_timeout(g);
    if (status == KVF_PENDING)
        return moved;
    if (status != KVF_OK) {
        kvf__group_break(g, error);
    } else if (op->run.drained < op->run.chunk_count) {
        op->run.checked_in = op->run.drained;
        g->checking_in = op;
        gather(g, NULL, NULL, KVF_OK);
    } else
        gather(g, &op->turn, turn_after(g, &op->turn), op->run.failed.status);
    return true;
}

static bool end_registering(kvf_group *g) {
    kvf_error error = {0};
    kvf_status status = kvf__group_settle(g, &error);
    if (status == KVF_PENDING)
        return false;
    if (status != KVF_OK) {
        kvf__group_break(g, error);
        return true;
    }
    kvf__turn *turn = g->announcing;
    kvf__wire_registered((kvf_wire *)turn);
    g->announcing = NULL;
    become_idle(g);
    end_turn(g, turn, (kvf_error){0}, NULL);
    return true;
}

/* Broken: once NCCL is stopped, the stream runs empty. Then all turns end. */

/* Whether NCCL has been stopped and enqueues nothing more. */
static bool has_stopped(kvf_group *g) {
    pthread_mutex_lock(&g->lock);
    bool stopped = g->stopped;
    pthread_mutex_unlock(&g->lock);
    pthread_mutex_lock(&g->comm_lock);
    bool busy = g->revoked && kvf__nccl->check(g->revoked, NULL) == KVF_PENDING;
    pthread_mutex_unlock(&g->comm_lock);
    return stopped && !busy;
}

static bool is_quiet(kvf_group *g) {
    kvf_error error;
    if (!g->draining && !has_stopped(g))
        return false;
    bool marked = g->phase == KVF__IDLE || g->phase == KVF__GATHERING ||
                  g->phase == KVF__CONCLUDING; /* otherwise a call may have reached the stream */
    if (!g->draining && !marked)
        (void)kvf__group_record(g, g->shared, &error);
    g->draining = true;
    return kvf__cuda_query(g->gathered, &error) != KVF_PENDING &&
           kvf__cuda_query(g->shared, &error) != KVF_PENDING;
}

static bool end_broken(kvf_group *g) {
    bool moved = false;
    kvf__turn *turn;
    (void)g->engine->base.ops->progress(&g->engine->base);
    if (!g->quiet && !is_quiet(g)) {
        if (kvf__now() > atomic_load(&g->deadline)) /* revoking was not enough */
            kvf__group_abort(g);
        return false;
    }
    pthread_mutex_lock(&g->lock);
    g->quiet = true;
    pthread_mutex_unlock(&g->lock);
    while ((turn = turn_after(g, NULL)) != NULL) {
        if (op_of(turn) && !kvf__op_is_quiet(op_of(turn), &moved))
            return moved;
        end_turn(g, turn, g->broken, NULL);
        moved = true;
    }
    g->voting = g->announcing = NULL;
    g->checking_in = NULL;
    return moved;
}

static void check_deadline(kvf_group *g) {
    uint64_t deadline = atomic_load(&g->deadline);
    if (deadline > 0 && kvf__now() > deadline)
        kvf__group_break(g, (kvf_error){.what = kvf__group_timed_out});
}

/* Ended transfers of a long operation restart the timeout. */
static bool note_progress(kvf_group *g) {
    kvf_wire_op *op = g->checking_in ? g->checking_in : op_of(g->voting);
    bool moved = false;
    if (op)
        (void)kvf__op_is_quiet(op, &moved);
    if (moved)
        kvf__group_restart_timeout(g);
    return moved;
}

bool kvf__group_step(kvf_group *g) {
    if (kvf__group_is_broken(g))
        return end_broken(g);
    bool moved = false;
    switch (g->phase) {
    case KVF__IDLE: {
        kvf__turn *turn = turn_after(g, NULL);
        if (turn)
            gather(g, NULL, turn, KVF_OK);
        return turn != NULL;
    }
    case KVF__CALLING:
        moved = copy_table(g);
        break;
    case KVF__GATHERING:
        moved = note_progress(g);
        moved |= check_table(g);
        break;
    case KVF__CONCLUDING:
        moved = conclude(g);
        break;
    case KVF__REGISTERING:
        moved = end_registering(g);
        break;
    case KVF__RUNNING:
        moved = run(g);
        break;
    }
    if (!moved) {
        (void)g->engine->base.ops->progress(&g->engine->base);
        check_deadline(g);
    }
    return moved;
}

/* A device that cannot be entered breaks the group; ending its turns takes steps, too. */
static void drive(kvf_group *g) {
    kvf__cuda_device_scope scope;
    kvf_error error;
    bool entered = kvf__cuda_enter(g->engine->options.device, &scope, &error) == KVF_OK;
    if (!entered)
        kvf__group_break(g, error);
    while (kvf__group_step(g)) {
    }
    if (entered)
        kvf__cuda_leave(&scope);
}

/* A call that finds another one driving asks it for one more round. */
void kvf__group_drive(kvf_group *g) {
    if (g->has_thread)
        return;
    atomic_store(&g->wanted, true);
    while (atomic_load(&g->wanted) && pthread_mutex_trylock(&g->driver) == 0) {
        atomic_store(&g->wanted, false);
        if (!g->retired)
            drive(g);
        pthread_mutex_unlock(&g->driver);
    }
}
