/* Operations after their submit: flights, counters, poll and wait, statistics. */
#include "nccl/group.h"

static bool owns(const kvf_wire_op *op, const kvf__op_part *part, size_t i) {
    return kvf__op_owner(op, part, i) == op->group->options.rank;
}

bool kvf__op_has_id(const kvf_wire_op *op, const kvf__op_part *part, size_t i, bool dst) {
    switch (op->turn.kind) {
    case KVF__TURN_ONBOARD:
        return dst || owns(op, part, i);
    case KVF__TURN_OFFLOAD:
        return owns(op, part, i);
    default:
        return op->group->options.rank == (dst ? part->to : part->from);
    }
}

/* Releases the assignments here, since the operation's last reference may be the group's, whose
 * thread must not touch them. */
void kvf__op_resolve(kvf_wire_op *op, bool landed) {
    if (op->resolved)
        return;
    op->resolved = true;
    for (size_t p = 0; p < op->part_count; p++) {
        kvf__op_part *part = &op->parts[p];
        kvf_assignments *dst = part->dst;
        part->dst = NULL;
        if (!dst)
            continue;
        bool open = !dst->destroyed && kvf_flight_is_open(dst, part->flight);
        if (open && landed)
            kvf_flight_land(dst, part->flight, NULL, NULL);
        else if (open)
            kvf_flight_return(dst, part->flight, 0, NULL);
        kvf__assignments_release(dst);
    }
}

void kvf__op_release(kvf_wire_op *op) {
    if (atomic_fetch_sub_explicit(&op->references, 1, memory_order_acq_rel) != 1)
        return;
    kvf_allocator a = op->allocator;
    kvf_group *group = op->group;
    kvf__op_free_run(op);
    kvf__free(&a, op->ids, 2 * op->pairs, sizeof *op->ids);
    kvf__free(&a, op->parts, op->part_count, sizeof *op->parts);
    kvf__free(&a, op, 1, sizeof *op);
    kvf__group_release(group);
}

/* Results */

/* Blocks that have arrived on this rank, in its slots or its host tier. */
static size_t landed(const kvf_wire_op *op) {
    size_t count = 0;
    for (size_t p = 0; p < op->part_count; p++)
        for (size_t i = 0; i < op->parts[p].count; i++)
            count += kvf__op_has_id(op, &op->parts[p], i, true);
    return count;
}

static void count_ended(const kvf_wire_op *op) {
    kvf_group_counters *c = &op->group->counters;
    kvf_status status = op->turn.outcome.status;
    c->operations_succeeded += status == KVF_OK;
    c->operations_failed += status != KVF_OK;
    c->blocks += op->stats.blocks;
    c->chunks += op->stats.chunks;
    c->host_bytes += op->stats.host_bytes;
    c->wire_bytes += op->stats.wire_bytes;
    if (op->start_time == 0)
        return;
    c->wait_ns += op->start_time - op->submit_time;
    c->run_ns += op->end_time - op->start_time;
}

void kvf__op_conclude(kvf_wire_op *op) {
    op->end_time = kvf__now();
    op->stats = op->run.stats;
    op->stats.blocks = op->turn.outcome.status == KVF_OK ? landed(op) : 0;
    count_ended(op);
}

static kvf_status result(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    kvf__group_drive(g);
    pthread_mutex_lock(&g->lock);
    bool over = op->turn.ended;
    kvf_error outcome = op->turn.outcome;
    pthread_mutex_unlock(&g->lock);
    if (!over)
        return KVF_PENDING;
    bool first = !op->resolved;
    kvf__op_resolve(op, outcome.status == KVF_OK);
    if (first && op->callback)
        op->callback(op->user, &op->turn.outcome);
    return outcome.status == KVF_OK ? KVF_OK : kvf__fail(error, outcome);
}

kvf_status kvf_wire_op_poll(kvf_wire_op *op, kvf_error *error) {
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    return result(op, error);
}

kvf_status kvf_wire_op_wait(kvf_wire_op *op, int64_t timeout_us, kvf_error *error) {
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf__range_begin(kvf__group_hooks(op->group), KVF__RANGE_WAIT);
    kvf__group_wait_turn(op->group, &op->turn, false, kvf__deadline(kvf__now(), timeout_us));
    kvf__range_end(kvf__group_hooks(op->group));
    kvf_status status = result(op, error);
    return status == KVF_PENDING ? KVF__FAIL(error, .status = KVF_ERR_TIMEOUT) : status;
}

static double microseconds(uint64_t start, uint64_t end) {
    return end > start ? (double)(end - start) / 1e3 : 0;
}

void kvf_wire_op_stats_get(const kvf_wire_op *op, kvf_wire_op_stats *stats) {
    if (!op || !stats)
        return;
    pthread_mutex_lock(&op->group->lock);
    uint64_t end = op->turn.ended ? op->end_time : kvf__now();
    bool started = op->start_time > 0;
    *stats = op->stats;
    stats->wait_us = microseconds(op->submit_time, started ? op->start_time : end);
    stats->run_us = started ? microseconds(op->start_time, end) : 0;
    pthread_mutex_unlock(&op->group->lock);
}

void kvf_wire_op_release(kvf_wire_op *op) {
    if (!op)
        return;
    if (kvf_wire_op_poll(op, NULL) == KVF_PENDING)
        kvf__op_resolve(op, false);
    kvf__op_release(op);
}
