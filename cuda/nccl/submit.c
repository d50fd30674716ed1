/* Submitting an operation: checks, digests, departing flights, and its turn. */
#include "nccl/group.h"

#include "track/idset.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The arguments of a submit: plans between host and slots, or hand-overs. */
typedef struct request {
    kvf_wire *wire;
    kvf__turn_kind kind;
    kvf_tier *host;
    const kvf_plan *plans;
    const kvf_handover *handovers;
    size_t count;
    const kvf_wire_submit_options *options;
} request;

static bool is_hand_over(const request *r) {
    return r->kind == KVF__TURN_HAND_OVER;
}

static const kvf_plan *plan_at(const request *r, size_t i) {
    return is_hand_over(r) ? &r->handovers[i].plan : &r->plans[i];
}

/* Checking */

static kvf_status check_layouts(const kvf_wire *w, const kvf_tier *host, size_t host_layout,
                                kvf_error *error) {
    if (host->engine != &w->group->engine->base || host->memory != KVF_MEMORY_PINNED)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "not a host tier of the group's engine");
    if (host_layout >= host->layout_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "the tier has no layout of that index");
    if (kvf_layout_digest(host->layouts[host_layout]) !=
        kvf_layout_digest(w->device->layouts[w->device_layout]))
        return KVF__FAIL(error, .status = KVF_ERR_LAYOUT,
                         .what = "the tiers' layouts do not match");
    return KVF_OK;
}

static kvf_status check_plan(const request *r, size_t i, kvf_error *error) {
    const kvf_plan *plan = plan_at(r, i);
    int me = r->wire->group->options.rank, ranks = r->wire->group->options.ranks;
    bool src = true, dst = true;
    if (is_hand_over(r)) {
        const kvf_handover *h = &r->handovers[i];
        if (h->from < 0 || h->from >= ranks || h->to < 0 || h->to >= ranks)
            return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = "rank out of range");
        src = h->from == me;
        dst = h->to == me;
    }
    if (plan->count > 0 && ((src && !plan->src_ids) || (dst && !plan->dst_ids)))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX, .index = i,
                         .what = "the plan has no ids");
    if (plan->count > UINT64_MAX - plan->first_position)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX, .index = i,
                         .what = "positions exceed 2^64 - 1");
    return KVF_OK;
}

/* Checks everything but the ids, and counts the pairs. */
static kvf_status check_request(const request *r, size_t *pairs, kvf_error *error) {
    const kvf_wire *w = r->wire;
    const kvf_wire_submit_options *o = r->options;
    kvf_status status = KVF_OK;
    if (is_hand_over(r) && r->count > w->chunk)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = w->chunk,
                         .what = "more hand-overs than blocks in a chunk of the wire");
    if (!is_hand_over(r)) {
        if (o->share != KVF_SHARE_STRIPED && o->share != KVF_SHARE_RANK_0)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "unknown share");
        status = check_layouts(w, r->host, o->host_layout, error);
    }
    for (size_t i = 0; status == KVF_OK && i < r->count; i++) {
        status = check_plan(r, i, error);
        if (status == KVF_OK && !kvf__add(*pairs, plan_at(r, i)->count, pairs))
            status = KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "too many blocks");
    }
    return status;
}

static kvf_status check_id(uint64_t id, size_t blocks, size_t part, size_t place,
                           kvf_error *error) {
    if (id < blocks)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                     .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX |
                               KVF_ERROR_EXPECTED,
                     .id = id, .index = part, .other_index = place, .expected = blocks,
                     .what = "id exceeds the tier's blocks");
}

static size_t tier_blocks(const kvf_wire_op *op, bool dst) {
    bool host =
        (op->turn.kind == KVF__TURN_ONBOARD && !dst) || (op->turn.kind == KVF__TURN_OFFLOAD && dst);
    return host ? op->host->blocks : op->wire->device->blocks;
}

static kvf_status check_part(const kvf_wire_op *op, size_t p, bool dst, kvf__idset *seen,
                             kvf_error *error) {
    const kvf__op_part *part = &op->parts[p];
    const uint64_t *ids = op->ids + (dst ? op->pairs : 0) + part->first;
    for (size_t i = 0; op->ids && i < part->count; i++) {
        bool no_memory = false;
        if (!kvf__op_has_id(op, part, i, dst))
            continue;
        kvf_status status = check_id(ids[i], tier_blocks(op, dst), p, i, error);
        if (status != KVF_OK)
            return status;
        if (!dst || kvf__idset_add(seen, &op->allocator, ids + i, 1, &no_memory) == 1)
            continue;
        if (no_memory)
            return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
        return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                         .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
                         .id = ids[i], .index = p, .other_index = i,
                         .what = "two blocks have the same destination");
    }
    return KVF_OK;
}

/* Both sides of a hand-over are slots of the device: no chunk may send what an earlier one has
 * received. */
static kvf_status check_sources(const kvf_wire_op *op, const kvf__idset *received,
                                kvf_error *error) {
    for (size_t p = 0; op->turn.kind == KVF__TURN_HAND_OVER && p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        const uint64_t *ids = op->ids + part->first;
        bool sends = kvf__op_has_id(op, part, 0, false);
        for (size_t i = 0; op->ids && sends && i < part->count; i++)
            if (kvf__idset_contains(received, ids[i]))
                return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                                 .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
                                 .id = ids[i], .index = p, .other_index = i,
                                 .what = "a slot is both sent and received");
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

/* Digests, which have to be equal on all ranks */

static void add_number(XXH3_state_t *state, uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    XXH3_64bits_update(state, bytes, sizeof bytes);
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

/* Allocating and filling */

static kvf_wire_op *allocate(const request *r, size_t pairs) {
    kvf_group *g = r->wire->group;
    const kvf_allocator *a = &g->allocator;
    const kvf_wire_submit_options *o = r->options;
    size_t room;
    kvf_wire_op *op = kvf__alloc_zero(a, 1, sizeof *op);
    if (!op)
        return NULL;
    kvf__group_hold(g);
    op->allocator = *a;
    op->group = g;
    op->wire = r->wire;
    op->host = r->host;
    op->turn.kind = r->kind;
    op->share = is_hand_over(r) ? KVF_SHARE_STRIPED : o->share;
    op->host_layout = o->host_layout;
    op->callback = o->callback;
    op->user = o->user;
    op->pairs = pairs;
    op->part_count = r->count;
    atomic_init(&op->references, 1);
    op->ids = kvf__mul(pairs, 2, &room) ? kvf__alloc_zero(a, room, sizeof *op->ids) : NULL;
    op->parts = kvf__alloc_zero(a, r->count, sizeof *op->parts);
    if ((op->ids || pairs == 0) && (op->parts || r->count == 0))
        return op;
    kvf__op_release(op);
    return NULL;
}

/* Copies a plan into the pairs. Ids that this rank does not read stay 0. */
static void fill_part(kvf_wire_op *op, size_t index, const request *r) {
    const kvf_plan *plan = plan_at(r, index);
    kvf__op_part *part = &op->parts[index];
    size_t first = index > 0 ? op->parts[index - 1].first + op->parts[index - 1].count : 0;
    part->first_position = plan->first_position;
    part->first = first;
    part->count = plan->count;
    if (is_hand_over(r)) {
        part->from = r->handovers[index].from;
        part->to = r->handovers[index].to;
    }
    for (size_t i = 0; i < plan->count; i++) {
        if (kvf__op_has_id(op, part, i, false))
            op->ids[first + i] = plan->src_ids[i];
        if (kvf__op_has_id(op, part, i, true))
            op->ids[op->pairs + first + i] = plan->dst_ids[i];
    }
}

/* Copies the plans, and digests them together with wire, layout and share. */
static void fill_parts(kvf_wire_op *op, const request *r) {
    const kvf_wire *w = op->wire;
    const uint64_t where[] = {w->number, kvf_layout_digest(w->device->layouts[w->device_layout]),
                              (uint64_t)op->share};
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < r->count; i++) {
        fill_part(op, i, r);
        add_number(&state, (uint64_t)op->parts[i].from << 32 | (uint64_t)op->parts[i].to);
        add_plan(&state, plan_at(r, i));
    }
    op->turn.digest = XXH3_64bits_digest(&state);
    op->turn.where = XXH3_64bits(where, sizeof where);
}

/* Flights */

static kvf_status depart(kvf_wire_op *op, size_t index, const request *r, kvf_error *error) {
    kvf__op_part *part = &op->parts[index];
    kvf_assignments *dst = NULL;
    if (!is_hand_over(r))
        dst = r->options->dst ? r->options->dst[index] : NULL;
    else if (part->to == op->group->options.rank)
        dst = r->handovers[index].dst;
    if (!dst || part->count == 0)
        return KVF_OK;
    kvf_status status = kvf_flight_depart(dst, plan_at(r, index), &part->flight, error);
    if (status == KVF_OK) {
        kvf__assignments_hold(dst);
        part->dst = dst;
    } else if (error) {
        error->fields |= KVF_ERROR_INDEX;
        error->index = index;
    }
    return status;
}

/* Submitting */

static kvf_status enter(kvf_wire_op *op, kvf_wire_op **out, kvf_error *error) {
    kvf_group *g = op->group;
    op->submit_time = kvf__now();
    atomic_fetch_add(&op->references, 1);
    kvf_status status = kvf__group_enter(g, &op->turn, error);
    if (status != KVF_OK) {
        atomic_fetch_sub(&op->references, 1);
        return status;
    }
    *out = op;
    if (g->options.stream)
        kvf__group_wait_turn(g, &op->turn, true, UINT64_MAX);
    else
        kvf__group_drive(g);
    return KVF_OK;
}

/* Takes the turn in any case, with an operation or with a refusal. */
static kvf_status submit(const request *r, kvf_wire_op **out, kvf_error *error) {
    size_t pairs = 0;
    kvf_wire_op *op = NULL;
    kvf_status status = check_request(r, &pairs, error);
    if (status == KVF_OK) {
        op = allocate(r, pairs);
        status = op ? KVF_OK : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    if (status == KVF_OK) {
        fill_parts(op, r);
        status = check_parts(op, error);
    }
    for (size_t i = 0; status == KVF_OK && i < r->count; i++)
        status = depart(op, i, r, error);
    if (status == KVF_OK)
        status = kvf__op_prepare_run(op, error);
    if (status != KVF_OK)
        (void)kvf__group_refuse(r->wire->group, status, NULL);
    else if ((status = enter(op, out, error)) == KVF_OK)
        return KVF_OK;
    if (op) {
        kvf__op_resolve(op, false);
        kvf__op_release(op);
    }
    return status;
}

static kvf_status take_turn(request r, bool complete, kvf_wire_op **out, kvf_error *error) {
    const kvf_wire_submit_options none = {0};
    if (!r.wire)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (!out || !complete) {
        (void)kvf__group_refuse(r.wire->group, KVF_ERR_INVALID, NULL);
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    }
    r.options = r.options ? r.options : &none;
    const kvf__hooks *hooks = kvf__group_hooks(r.wire->group);
    kvf__range_begin(hooks, KVF__RANGE_SUBMIT);
    kvf_status status = submit(&r, out, error);
    kvf__range_end(hooks);
    return status;
}

kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                            size_t plan_count, const kvf_wire_submit_options *options,
                            kvf_wire_op **out, kvf_error *error) {
    const request r = {wire, KVF__TURN_ONBOARD, host, plans, NULL, plan_count, options};
    return take_turn(r, host && (plans || plan_count == 0), out, error);
}

kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                            size_t plan_count, const kvf_wire_submit_options *options,
                            kvf_wire_op **out, kvf_error *error) {
    const request r = {wire, KVF__TURN_OFFLOAD, host, plans, NULL, plan_count, options};
    return take_turn(r, host && (plans || plan_count == 0), out, error);
}

kvf_status kvf_wire_hand_over(kvf_wire *wire, const kvf_handover *handovers, size_t count,
                              const kvf_wire_submit_options *options, kvf_wire_op **out,
                              kvf_error *error) {
    const request r = {wire, KVF__TURN_HAND_OVER, NULL, NULL, handovers, count, options};
    return take_turn(r, handovers || count == 0, out, error);
}

kvf_status kvf_wire_refuse(kvf_wire *w, kvf_status why, kvf_error *error) {
    if (!w)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (why <= KVF_PENDING || (int)why >= KVF__STATUSES)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "why must be an error");
    return kvf__group_refuse(w->group, why, error);
}
