/* Bound transfers: every pair departs as a flight before the submit. When the transfer has ended,
 * poll and wait settle the flights: they land, or return the blocks that did not. */
#include <kvferry/bound.h>

#include "track/assignments.h"
#include "engine/transfer.h"

/* A pair whose transfer is under way. */
typedef struct pair_state {
    kvf_assignments *dst; /* referenced; NULL: the pair has nothing to move */
    kvf_flight flight;
    size_t plan; /* index in the transfer */
    kvf_status result;
    size_t landed;
} pair_state;

struct kvf_bound {
    kvf_allocator allocator;
    kvf_transfer *transfer;
    size_t pair_count;
    bool settled; /* flights are resolved */
    pair_state pairs[];
};

static kvf_bound *allocate(const kvf_allocator *allocator, size_t pairs) {
    size_t bytes;
    if (!kvf__mul(pairs, sizeof(pair_state), &bytes) || !kvf__add(bytes, sizeof(kvf_bound), &bytes))
        return NULL;
    kvf_bound *b = kvf__alloc_zero(allocator, 1, bytes);
    if (b) {
        b->allocator = *allocator;
        b->pair_count = pairs;
    }
    return b;
}

static void free_bound(kvf_bound *b) {
    kvf_allocator allocator = b->allocator;
    for (size_t i = 0; i < b->pair_count; i++)
        if (b->pairs[i].dst)
            kvf__assignments_release(b->pairs[i].dst);
    kvf_transfer_release(b->transfer);
    kvf__free(&allocator, b, 1, sizeof *b + b->pair_count * sizeof *b->pairs);
}

/* Submitting */

static kvf_status check(const kvf_tier *src, const kvf_tier *dst, const kvf_pair *pairs,
                        size_t count, const kvf_submit_options *o, kvf_bound **out,
                        kvf_error *error) {
    if (!src || !dst || !out || (!pairs && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o && (o->first_layer != 0 || o->layer_count != 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "a bound transfer moves all layers");
    if (src->layout_count > 1 || dst->layout_count > 1)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "bound transfers need tiers with a single layout");
    for (size_t i = 0; i < count; i++)
        if (!pairs[i].src || !pairs[i].dst)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                             .index = i, .what = "the pair's assignments are NULL");
    for (size_t i = 1; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (pairs[i].dst == pairs[k].dst)
                return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                                 .fields = KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX, .index = i,
                                 .other_index = k, .what = "two pairs have the same destination");
    return KVF_OK;
}

static kvf_status at_pair(kvf_status status, size_t pair, kvf_error *error) {
    if (error && status != KVF_OK) {
        error->index = pair;
        error->fields |= KVF_ERROR_INDEX;
    }
    return status;
}

static kvf_status depart(pair_state *p, const kvf_pair *pair, kvf_plan *plan, kvf_error *error) {
    *plan = kvf_zip_assigned_pending(pair->src, pair->dst);
    if (pair->max_blocks > 0 && plan->count > pair->max_blocks)
        plan->count = pair->max_blocks;
    if (plan->count == 0)
        return KVF_OK;
    kvf_status status = kvf_flight_depart(pair->dst, plan, &p->flight, error);
    if (status != KVF_OK)
        return status;
    kvf__assignments_hold(pair->dst);
    p->dst = pair->dst;
    return KVF_OK;
}

/* Returns all flights that have departed. */
static void undo(kvf_bound *b) {
    for (size_t i = 0; i < b->pair_count; i++)
        if (b->pairs[i].dst)
            kvf_flight_return(b->pairs[i].dst, b->pairs[i].flight, 0, NULL);
}

static kvf_status depart_all(kvf_bound *b, const kvf_pair *pairs, kvf_plan *plans,
                             kvf_error *error) {
    for (size_t i = 0; i < b->pair_count; i++) {
        b->pairs[i].plan = i;
        b->pairs[i].result = KVF_PENDING;
        kvf_status status = depart(&b->pairs[i], &pairs[i], &plans[i], error);
        if (status != KVF_OK)
            return at_pair(status, i, error);
    }
    return KVF_OK;
}

static kvf_status submit(kvf_bound *b, kvf_tier *src, kvf_tier *dst, const kvf_pair *pairs,
                         kvf_plan *plans, const kvf_submit_options *o, kvf_error *error) {
    kvf__range_begin(&src->engine->hooks, KVF__RANGE_PLAN);
    kvf_status status = depart_all(b, pairs, plans, error);
    kvf__range_end(&src->engine->hooks);
    if (status != KVF_OK)
        return status;
    return kvf_transfer_submit(src, dst, plans, b->pair_count, o, &b->transfer, error);
}

kvf_status kvf_bound_submit(kvf_tier *src, kvf_tier *dst, const kvf_pair *pairs, size_t pair_count,
                            const kvf_submit_options *options, kvf_bound **out, kvf_error *error) {
    kvf_status status = check(src, dst, pairs, pair_count, options, out, error);
    if (status != KVF_OK)
        return status;
    const kvf_allocator *a = &src->engine->allocator;
    kvf_bound *b = allocate(a, pair_count);
    kvf_plan *plans = b ? kvf__alloc(a, pair_count + 1, sizeof *plans) : NULL;
    if (!plans) {
        if (b)
            free_bound(b);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    status = submit(b, src, dst, pairs, plans, options, error);
    kvf__free(a, plans, pair_count + 1, sizeof *plans);
    if (status == KVF_OK) {
        *out = b;
    } else {
        undo(b);
        free_bound(b);
    }
    return status;
}

/* Finishing */

static bool is_open(const pair_state *p) {
    return p->dst && !p->dst->destroyed && kvf_flight_is_open(p->dst, p->flight);
}

/* Whether every flight was closed, so that nothing needs the bytes. */
static bool abandoned(const kvf_bound *b) {
    bool any = false;
    for (size_t i = 0; i < b->pair_count; i++) {
        if (is_open(&b->pairs[i]))
            return false;
        any |= b->pairs[i].dst != NULL;
    }
    return any;
}

static void settle_pair(pair_state *p, const kvf_transfer *transfer, kvf_status ended) {
    size_t landed = kvf_transfer_landed(transfer, p->plan);
    if (!p->dst) {
        p->result = KVF_OK;
    } else if (!is_open(p)) {
        p->result = KVF_ERR_CLOSED;
    } else if (ended == KVF_OK || landed == transfer->plan_blocks[p->plan]) {
        p->result = kvf_flight_land(p->dst, p->flight, NULL, NULL);
        p->landed = landed;
    } else {
        kvf_flight_return(p->dst, p->flight, landed, NULL);
        p->result = ended;
        p->landed = landed;
    }
}

static void settle(kvf_bound *b, kvf_status ended) {
    for (size_t i = 0; i < b->pair_count; i++)
        settle_pair(&b->pairs[i], b->transfer, ended);
    b->settled = true;
}

/* The transfer's result, or CLOSED for the first pair whose flight was closed. */
static kvf_status overall(const kvf_bound *b, kvf_status ended, kvf_error *error) {
    if (ended != KVF_OK && ended != KVF_ERR_CANCELLED)
        return ended;
    for (size_t i = 0; i < b->pair_count; i++)
        if (b->pairs[i].result == KVF_ERR_CLOSED)
            return KVF__FAIL(error, .status = KVF_ERR_CLOSED, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = "the pair's flight was closed");
    return ended;
}

static void cancel_abandoned(kvf_bound *b) {
    if (!b->settled && abandoned(b))
        kvf_transfer_cancel(b->transfer);
}

static kvf_status finish(kvf_bound *b, kvf_status ended, kvf_error *error) {
    if (ended == KVF_PENDING || ended == KVF_ERR_TIMEOUT)
        return ended;
    if (!b->settled)
        settle(b, ended);
    return overall(b, ended, error);
}

kvf_status kvf_bound_poll(kvf_bound *b, kvf_error *error) {
    if (!b)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    cancel_abandoned(b);
    return finish(b, kvf_transfer_poll(b->transfer, error), error);
}

kvf_status kvf_bound_wait(kvf_bound *b, int64_t timeout_us, kvf_error *error) {
    if (!b)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    cancel_abandoned(b);
    return finish(b, kvf_transfer_wait(b->transfer, timeout_us, error), error);
}

void kvf_bound_cancel(kvf_bound *b) {
    if (b)
        kvf_transfer_cancel(b->transfer);
}

kvf_status kvf_bound_result(const kvf_bound *b, size_t pair, size_t *landed) {
    if (!b)
        return KVF_ERR_INVALID;
    if (pair >= b->pair_count)
        return KVF_ERR_RANGE;
    if (landed)
        *landed = b->pairs[pair].landed;
    return b->pairs[pair].result;
}

kvf_transfer *kvf_bound_transfer(kvf_bound *b) {
    return b ? b->transfer : NULL;
}

void kvf_bound_release(kvf_bound *b) {
    if (!b)
        return;
    if (!b->settled) {
        kvf_transfer_cancel(b->transfer);
        kvf_bound_wait(b, -1, NULL);
    }
    free_bound(b);
}
