/* Operations as their owners see them: submitting, and what becomes of the flights. */
#include "group.h"

#include "idset.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Checking */

static kvf_status check_layouts(const kvf_wire *w, const kvf_tier *host, size_t host_layout,
                                kvf_error *error) {
    if (host->engine != &w->group->engine->base || host->memory != KVF_MEMORY_PINNED)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "not a host tier of the group's engine");
    if (host_layout >= host->layout_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "the tier has no such layout");
    if (kvf_layout_digest(host->layouts[host_layout]) !=
        kvf_layout_digest(w->device->layouts[w->device_layout]))
        return KVF__FAIL(error, .status = KVF_ERR_LAYOUT, .what = "the tiers' layouts disagree");
    return KVF_OK;
}

static kvf_status check_plan(const kvf_plan *plan, size_t index, bool src, bool dst,
                             kvf_error *error) {
    if ((src && !plan->src_ids && plan->count > 0) || (dst && !plan->dst_ids && plan->count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                         .index = index, .what = "the plan has no ids");
    if (plan->count > UINT64_MAX - plan->first_position)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = index,
                         .what = "positions would pass 2^64 - 1");
    return KVF_OK;
}

static kvf_status check_id(uint64_t id, size_t blocks, size_t part, size_t place,
                           kvf_error *error) {
    if (id < blocks)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                     .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX |
                               KVF_ERROR_EXPECTED,
                     .id = id, .index = part, .other_index = place, .expected = blocks,
                     .what = "id is past the tier's blocks");
}

static bool is_mine(const kvf_wire_op *op, const kvf__op_part *part, size_t i) {
    const kvf_group_options *o = &op->group->options;
    uint64_t owner =
        op->share == KVF_SHARE_FIRST ? 0 : (part->first_position + i) % (uint64_t)o->ranks;
    return owner == (uint64_t)o->rank;
}

/* Whether a part's ids on this side are this rank's. Sources of an onboard and destinations of an
 * offload are the host's, of which it has its own. */
static bool has(const kvf_wire_op *op, const kvf__op_part *part, size_t i, bool dst) {
    switch (op->kind) {
    case KVF__OP_ONBOARD:
        return dst || is_mine(op, part, i);
    case KVF__OP_OFFLOAD:
        return is_mine(op, part, i);
    default:
        return dst == part->receives;
    }
}

static size_t blocks_of(const kvf_wire_op *op, bool dst) {
    bool host = (op->kind == KVF__OP_ONBOARD && !dst) || (op->kind == KVF__OP_OFFLOAD && dst);
    return host ? op->host->blocks : op->wire->device->blocks;
}

static kvf_status check_part(const kvf_wire_op *op, size_t p, bool dst, kvf__idset *seen,
                             kvf_error *error) {
    const kvf__op_part *part = &op->parts[p];
    const uint64_t *ids = op->ids + (dst ? op->pairs : 0) + part->first;
    for (size_t i = 0; op->ids && i < part->count; i++) {
        bool no_memory = false;
        if (!has(op, part, i, dst))
            continue;
        kvf_status status = check_id(ids[i], blocks_of(op, dst), p, i, error);
        if (status != KVF_OK)
            return status;
        if (!dst || kvf__idset_add(seen, &op->allocator, ids + i, 1, &no_memory) == 1)
            continue;
        if (no_memory)
            return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
        return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                         .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
                         .id = ids[i], .index = p, .other_index = i,
                         .what = "one destination twice");
    }
    return KVF_OK;
}

/* In an exchange both sides are the device's: what a later round sends, an earlier one must not
 * have received. */
static kvf_status check_sources(const kvf_wire_op *op, const kvf__idset *received,
                                kvf_error *error) {
    for (size_t p = 0; op->kind == KVF__OP_EXCHANGE && p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        const uint64_t *ids = op->ids + part->first;
        for (size_t i = 0; op->ids && !part->receives && i < part->count; i++)
            if (kvf__idset_contains(received, ids[i]))
                return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                                 .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
                                 .id = ids[i], .index = p, .other_index = i,
                                 .what = "a slot is sent and received");
    }
    return KVF_OK;
}

static kvf_status check_parts(const kvf_wire_op *op, kvf_error *error) {
    kvf__idset seen = {0};
    kvf_status status = KVF_OK;
    for (size_t p = 0; status == KVF_OK && p < op->part_count; p++) {
        status = check_part(op, p, false, NULL, error);
        if (status == KVF_OK)
            status = check_part(op, p, true, &seen, error);
    }
    if (status == KVF_OK)
        status = check_sources(op, &seen, error);
    kvf__idset_free(&seen, &op->allocator);
    return status;
}

/* What has to agree */

static void add_number(XXH3_state_t *state, uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    XXH3_128bits_update(state, bytes, sizeof bytes);
}

static void add_plan(XXH3_state_t *state, const kvf_plan *plan) {
    add_number(state, plan->first_position);
    add_number(state, plan->count);
    add_number(state, plan->src_hashes != NULL);
    for (size_t i = 0; plan->src_hashes && i < plan->count; i++) {
        add_number(state, plan->src_hashes[i].low);
        add_number(state, plan->src_hashes[i].high);
    }
}

static void begin_digest(XXH3_state_t *state, const kvf_wire_op *op) {
    const kvf_wire *w = op->wire;
    XXH3_128bits_reset(state);
    add_number(state, kvf_layout_digest(w->device->layouts[w->device_layout]));
    add_number(state, w->stripe);
    add_number(state, (uint64_t)op->share);
}

static void end_digest(XXH3_state_t *state, uint64_t digest[2]) {
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    digest[0] = hash.low64;
    digest[1] = hash.high64;
}

/* Making */

static kvf_wire_op *allocate(kvf_wire *w, kvf__op_kind kind, size_t pairs, size_t parts,
                             const kvf_wire_submit_options *o) {
    const kvf_allocator *a = &w->group->allocator;
    size_t room;
    kvf_wire_op *op = kvf__alloc_zero(a, 1, sizeof *op);
    if (!op)
        return NULL;
    kvf__group_hold(w->group);
    op->allocator = *a;
    op->group = w->group;
    op->wire = w;
    op->kind = kind;
    op->share = o->share;
    op->host_layout = o->host_layout;
    op->callback = o->callback;
    op->user = o->user;
    op->pairs = pairs;
    op->part_count = parts;
    atomic_init(&op->holds, 1);
    op->ids = kvf__mul(pairs, 2, &room) ? kvf__alloc_zero(a, room, sizeof *op->ids) : NULL;
    op->parts = kvf__alloc_zero(a, parts, sizeof *op->parts);
    if ((op->ids || pairs == 0) && (op->parts || parts == 0))
        return op;
    kvf__op_release(op);
    return NULL;
}

/* A plan's place among the pairs. Ids that are not this rank's stay 0. */
static void add_part(kvf_wire_op *op, size_t index, const kvf_plan *plan) {
    kvf__op_part *part = &op->parts[index];
    size_t first = index > 0 ? op->parts[index - 1].first + op->parts[index - 1].count : 0;
    part->first_position = plan->first_position;
    part->first = first;
    part->count = plan->count;
    for (size_t i = 0; i < plan->count; i++) {
        if (has(op, part, i, false))
            op->ids[first + i] = plan->src_ids[i];
        if (has(op, part, i, true))
            op->ids[op->pairs + first + i] = plan->dst_ids[i];
    }
}

void kvf__op_release(kvf_wire_op *op) {
    if (atomic_fetch_sub_explicit(&op->holds, 1, memory_order_acq_rel) != 1)
        return;
    kvf_allocator a = op->allocator;
    kvf_group *group = op->group;
    kvf__free(&a, op->ids, 2 * op->pairs, sizeof *op->ids);
    kvf__free(&a, op->parts, op->part_count, sizeof *op->parts);
    kvf__free(&a, op, 1, sizeof *op);
    kvf__group_release(group);
}

/* Flights */

static kvf_status depart(kvf_wire_op *op, size_t index, kvf_assignments *dst, const kvf_plan *plan,
                         kvf_error *error) {
    kvf__op_part *part = &op->parts[index];
    if (!dst || plan->count == 0)
        return KVF_OK;
    kvf_status status = kvf_flight_depart(dst, plan, &part->flight, error);
    if (status == KVF_OK) {
        kvf__assignments_hold(dst);
        part->dst = dst;
    } else if (error) {
        error->fields |= KVF_ERROR_INDEX;
        error->index = index;
    }
    return status;
}

/* Trackers are let go of here, since the last hold on the operation may be the group's, whose
 * thread must not touch them. */
static void resolve(kvf_wire_op *op, bool landed) {
    if (op->settled)
        return;
    op->settled = true;
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

/* Submitting */

/* All that can be refused has been: joins the group's list. */
static kvf_status enter(kvf_wire_op *op, const kvf__announcement *announcement, kvf_error *error) {
    kvf_group *g = op->group;
    pthread_mutex_lock(&g->lock);
    kvf_status status = kvf__group_check_open(g, error);
    op->submit_time = kvf__now();
    if (status == KVF_OK)
        status =
            kvf__control_announce(g->control, announcement, op->submit_time, &op->number, error);
    if (status == KVF_OK) {
        atomic_fetch_add(&op->holds, 1);
        op->wire->open++;
        g->counters.operations_submitted++;
        *g->last = op;
        g->last = &op->next;
    }
    pthread_mutex_unlock(&g->lock);
    if (status == KVF_OK)
        kvf__group_wake(g);
    return status;
}

static kvf_status submit(kvf_wire_op *op, const kvf__announcement *announcement, kvf_status status,
                         kvf_wire_op **out, kvf_error *error) {
    if (status == KVF_OK)
        status = enter(op, announcement, error);
    if (status == KVF_OK) {
        *out = op;
        return KVF_OK;
    }
    resolve(op, false);
    kvf__op_release(op);
    return status;
}

/* A wire may be NULL until it is checked. */
static void begin_submit(const kvf_wire *w) {
    if (w)
        kvf__range_begin(kvf__group_hooks(w->group), KVF__RANGE_SUBMIT);
}

static kvf_status end_submit(const kvf_wire *w, kvf_status status) {
    if (w)
        kvf__range_end(kvf__group_hooks(w->group));
    return status;
}

static kvf_status share_out(kvf_wire *w, kvf__op_kind kind, kvf_tier *host, const kvf_plan *plans,
                            size_t plan_count, const kvf_wire_submit_options *options,
                            kvf_wire_op **out, kvf_error *error) {
    const kvf_wire_submit_options none = {0};
    const kvf_wire_submit_options *o = options ? options : &none;
    if (!w || !host || !out || (!plans && plan_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o->share != KVF_SHARE_STRIPED && o->share != KVF_SHARE_FIRST)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such share");
    kvf_status status = check_layouts(w, host, o->host_layout, error);
    size_t pairs = 0;
    for (size_t p = 0; status == KVF_OK && p < plan_count; p++) {
        status = check_plan(&plans[p], p, true, true, error);
        if (status == KVF_OK && !kvf__add(pairs, plans[p].count, &pairs))
            status = KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "too many blocks");
    }
    if (status != KVF_OK)
        return status;
    kvf_wire_op *op = allocate(w, kind, pairs, plan_count, o);
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    op->host = host;
    kvf__announcement a = {.tag = o->tag, .kind = (uint32_t)kind, .all = true};
    XXH3_state_t state;
    begin_digest(&state, op);
    for (size_t p = 0; p < plan_count; p++) {
        add_part(op, p, &plans[p]);
        add_plan(&state, &plans[p]);
    }
    end_digest(&state, a.digest);
    status = check_parts(op, error);
    for (size_t p = 0; status == KVF_OK && o->dst && p < plan_count; p++)
        status = depart(op, p, o->dst[p], &plans[p], error);
    return submit(op, &a, status, out, error);
}

kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                            size_t plan_count, const kvf_wire_submit_options *options,
                            kvf_wire_op **out, kvf_error *error) {
    begin_submit(wire);
    kvf_status status =
        share_out(wire, KVF__OP_ONBOARD, host, plans, plan_count, options, out, error);
    return end_submit(wire, status);
}

kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                            size_t plan_count, const kvf_wire_submit_options *options,
                            kvf_wire_op **out, kvf_error *error) {
    begin_submit(wire);
    kvf_status status =
        share_out(wire, KVF__OP_OFFLOAD, host, plans, plan_count, options, out, error);
    return end_submit(wire, status);
}

static kvf_status check_hands(const kvf_wire *w, const kvf_hand *hands, size_t count, size_t *pairs,
                              kvf_error *error) {
    size_t most = kvf__min(w->chunk, KVF__CONTROL_HANDS);
    *pairs = 0;
    if (count > most)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = most, .what = "more hands than the wire has room for");
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < count; i++) {
        if (hands[i].peer < 0 || hands[i].peer >= w->group->options.ranks)
            return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = "no such rank");
        status = check_plan(&hands[i].plan, i, !hands[i].receives, hands[i].receives, error);
        if (status == KVF_OK && !kvf__add(*pairs, hands[i].plan.count, pairs))
            status = KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "too many blocks");
    }
    return status;
}

static void add_hand(kvf_wire_op *op, size_t index, const kvf_hand *hand, kvf__announcement *a) {
    XXH3_state_t state;
    op->parts[index].peer = hand->peer;
    op->parts[index].receives = hand->receives;
    add_part(op, index, &hand->plan);
    begin_digest(&state, op);
    add_plan(&state, &hand->plan);
    kvf__control_hand *h = &a->hands[a->hand_count++];
    h->peer = hand->peer;
    h->receives = hand->receives;
    end_digest(&state, h->digest);
}

static kvf_status exchange(kvf_wire *w, const kvf_hand *hands, size_t count,
                           const kvf_wire_submit_options *options, kvf_wire_op **out,
                           kvf_error *error) {
    kvf_wire_submit_options o = {0};
    if (options)
        o = *options;
    o.share = KVF_SHARE_STRIPED;
    if (!w || !out || (!hands && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    size_t pairs;
    kvf_status status = check_hands(w, hands, count, &pairs, error);
    if (status != KVF_OK)
        return status;
    kvf_wire_op *op = allocate(w, KVF__OP_EXCHANGE, pairs, count, &o);
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__announcement a = {.tag = o.tag, .kind = KVF__OP_EXCHANGE};
    for (size_t i = 0; i < count; i++)
        add_hand(op, i, &hands[i], &a);
    status = check_parts(op, error);
    for (size_t i = 0; status == KVF_OK && i < count; i++)
        if (hands[i].receives)
            status = depart(op, i, hands[i].dst, &hands[i].plan, error);
    return submit(op, &a, status, out, error);
}

kvf_status kvf_wire_exchange(kvf_wire *wire, const kvf_hand *hands, size_t count,
                             const kvf_wire_submit_options *options, kvf_wire_op **out,
                             kvf_error *error) {
    begin_submit(wire);
    kvf_status status = exchange(wire, hands, count, options, out, error);
    return end_submit(wire, status);
}

/* The end */

/* Blocks that have come to this rank: into its slots, or its host tier. */
static size_t landed(const kvf_wire_op *op) {
    size_t count = 0;
    for (size_t p = 0; p < op->part_count; p++)
        for (size_t i = 0; i < op->parts[p].count; i++)
            count += has(op, &op->parts[p], i, true);
    return count;
}

static void count_over(const kvf_wire_op *op) {
    kvf_group_counters *c = &op->group->counters;
    kvf_status status = op->outcome.status;
    c->operations_succeeded += status == KVF_OK;
    c->operations_cancelled += status == KVF_ERR_CANCELLED;
    c->operations_failed += status != KVF_OK && status != KVF_ERR_CANCELLED;
    c->blocks += op->stats.blocks;
    c->chunks += op->stats.chunks;
    c->host_bytes += op->stats.host_bytes;
    c->wire_bytes += op->stats.wire_bytes;
    if (op->start_time == 0)
        return;
    c->wait_ns += op->start_time - op->submit_time;
    c->run_ns += op->end_time - op->start_time;
}

void kvf__op_over(kvf_wire_op *op, const kvf_error *error) {
    op->state = KVF__OP_OVER;
    op->outcome = error ? *error : (kvf_error){0};
    op->end_time = kvf__now();
    op->stats = op->run.stats;
    op->stats.blocks = error ? 0 : landed(op);
    count_over(op);
    op->wire->open--;
    pthread_cond_broadcast(&op->group->changed);
}

static kvf_status result(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    pthread_mutex_lock(&g->lock);
    bool over = op->state == KVF__OP_OVER;
    kvf_error outcome = op->outcome;
    pthread_mutex_unlock(&g->lock);
    if (!over)
        return KVF_PENDING;
    bool first = !op->settled;
    resolve(op, outcome.status == KVF_OK);
    if (first && op->callback)
        op->callback(op->user, &op->outcome);
    return outcome.status == KVF_OK ? KVF_OK : kvf__fail(error, outcome);
}

kvf_status kvf_wire_op_poll(kvf_wire_op *op, kvf_error *error) {
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    return result(op, error);
}

static void wait_over(kvf_wire_op *op, uint64_t end) {
    kvf_group *g = op->group;
    pthread_mutex_lock(&g->lock);
    while (op->state != KVF__OP_OVER && kvf__now() < end) {
        if (end == UINT64_MAX)
            pthread_cond_wait(&g->changed, &g->lock);
        else
            kvf__cond_wait_until(&g->changed, &g->lock, end);
    }
    pthread_mutex_unlock(&g->lock);
}

kvf_status kvf_wire_op_wait(kvf_wire_op *op, int64_t timeout_us, kvf_error *error) {
    if (!op)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    bool forever = timeout_us < 0 || timeout_us > INT64_MAX / 2000;
    kvf__range_begin(kvf__group_hooks(op->group), KVF__RANGE_WAIT);
    wait_over(op, forever ? UINT64_MAX : kvf__now() + (uint64_t)timeout_us * 1000);
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
    uint64_t end = op->state == KVF__OP_OVER ? op->end_time : kvf__now();
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
        resolve(op, false);
    kvf__op_release(op);
}
