/*
 * Running an operation, chunk by chunk. What one rank brings and what goes where follows from the
 * plans' positions alone, so that all ranks cut the same chunks.
 *
 *     onboard, striped   chunk c has pairs [c * stripe, (c + 1) * stripe) of each owner. On the
 * wire owner r's part begins at block r * parts of the chunk, `parts` being the largest of them
 *     onboard, first     chunk c has pairs [c * chunk, (c + 1) * chunk)
 *     exchange           round c has pairs [c * q, (c + 1) * q) of each hand, hand h at block h * q
 *
 * A chunk's place on the wire is used again by the chunk `chunks` behind it; the order of its slots
 * sees to that.
 */
#include "group.h"

static size_t pieces(size_t count, size_t each) {
    return count / each + (count % each != 0);
}

static const uint64_t *sources(const kvf_wire_op *op) {
    return op->ids;
}

static const uint64_t *destinations(const kvf_wire_op *op) {
    return op->ids + op->pairs;
}

static int ranks(const kvf_wire_op *op) {
    return op->group->options.ranks;
}

static int owner_of(const kvf_wire_op *op, const kvf__op_part *part, size_t i) {
    return op->share == KVF_SHARE_FIRST ? 0
                                        : (int)((part->first_position + i) % (uint64_t)ranks(op));
}

/* Blocks of one hand in a round. All ranks have the same, and 32 hands fit a chunk that is so
 * large. */
static size_t hand_blocks(const kvf_wire *w) {
    return kvf__max(w->chunk / KVF__CONTROL_HANDS, 1);
}

/* The wire's block at which a chunk begins. */
static size_t chunk_start(const kvf_wire_op *op) {
    return op->run.chunk % op->wire->chunks * op->wire->chunk;
}

/* Nothing has to be shared: every rank has what it brings, or stores what it has. */
static bool is_alone(const kvf_wire_op *op) {
    return op->kind == KVF__OP_OFFLOAD || (op->kind == KVF__OP_ONBOARD && ranks(op) == 1);
}

/* Preparing */

static void sort_by_owner(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t p = 0; p < op->part_count; p++) {
            const kvf__op_part *part = &op->parts[p];
            for (size_t i = 0; i < part->count; i++) {
                size_t *at = &r->starts[owner_of(op, part, i) + 1];
                if (pass == 1)
                    r->order[*at] = part->first + i;
                (*at)++;
            }
        }
        if (pass == 0) /* counts become the ends of those before, which the second pass raises */
            for (size_t sum = 0, k = 1; k <= (size_t)ranks(op); k++) {
                size_t count = r->starts[k];
                r->starts[k] = sum;
                sum += count;
            }
    }
}

static size_t owned(const kvf__op_run *r, size_t owner) {
    return r->starts[owner + 1] - r->starts[owner];
}

static size_t count_chunks(const kvf_wire_op *op) {
    const kvf_wire *w = op->wire;
    size_t chunks = 0;
    if (is_alone(op))
        return pieces(owned(&op->run, (size_t)op->group->options.rank), w->chunk);
    if (op->kind == KVF__OP_EXCHANGE)
        for (size_t p = 0; p < op->part_count; p++)
            chunks = kvf__max(chunks, pieces(op->parts[p].count, hand_blocks(w)));
    else if (op->share == KVF_SHARE_FIRST)
        chunks = pieces(op->pairs, w->chunk);
    else
        for (size_t k = 0; k < (size_t)ranks(op); k++)
            chunks = kvf__max(chunks, pieces(owned(&op->run, k), w->stripe));
    return chunks;
}

kvf_status kvf__op_prepare(kvf_wire_op *op, kvf_error *error) {
    kvf__op_run *r = &op->run;
    size_t owners = (size_t)ranks(op) + 1;
    r->order = kvf__alloc(&op->allocator, op->pairs, sizeof *r->order);
    r->starts = kvf__alloc_zero(&op->allocator, owners, sizeof *r->starts);
    if (!r->starts || (!r->order && op->pairs > 0))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    cudaError_t code = cudaEventCreateWithFlags(&r->end, cudaEventDisableTiming);
    if (code != cudaSuccess) {
        r->end = NULL;
        return kvf__cuda_fail(code, "cudaEventCreateWithFlags", error);
    }
    if (op->kind != KVF__OP_EXCHANGE)
        sort_by_owner(op);
    r->chunk_count = count_chunks(op);
    return KVF_OK;
}

void kvf__op_finish(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    kvf__free(&op->allocator, r->order, op->pairs, sizeof *r->order);
    kvf__free(&op->allocator, r->starts, (size_t)ranks(op) + 1, sizeof *r->starts);
    r->order = r->starts = NULL;
    if (r->end)
        (void)cudaEventDestroy(r->end);
    r->end = NULL;
    (void)cudaGetLastError();
}

/* The event is recorded anew behind everything. */
void kvf__op_drop(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    r->shared = cudaEventRecord(r->end, op->group->stream) == cudaSuccess;
    if (!r->shared)
        (void)cudaGetLastError();
}

/* Transfers */

static void note(kvf__op_run *r, const kvf_error *error) {
    if (r->failed.status == KVF_OK)
        r->failed = *error;
}

/* The wire's lists, cut to `count`, as a transfer. AGAIN: not now. What else goes wrong is the
 * operation's own failure, and the others go on. */
static kvf_status submit(kvf_wire_op *op, kvf_tier *src, size_t src_layout, kvf_tier *dst,
                         size_t dst_layout, size_t count) {
    kvf__op_run *r = &op->run;
    const kvf_wire *w = op->wire;
    const kvf_plan plan = {.count = count, .src_ids = w->from, .dst_ids = w->to};
    const kvf_submit_options how = {.src_layout = src_layout, .dst_layout = dst_layout};
    kvf_error error = {0};
    if (count == 0)
        return KVF_OK;
    if (r->count == KVF__OP_TRANSFERS)
        return KVF_ERR_AGAIN;
    kvf_transfer *t = NULL;
    kvf__guard_enter(op->group);
    kvf_status status = kvf_transfer_submit(src, dst, &plan, 1, &how, &t, &error);
    kvf__guard_leave(op->group);
    if (status == KVF_OK)
        r->transfers[(r->first + r->count++) % KVF__OP_TRANSFERS] = t;
    else if (status != KVF_ERR_AGAIN)
        note(r, &error);
    return status == KVF_ERR_AGAIN ? status : KVF_OK;
}

/* A pair between the host and the wire, or the wire and a slot. */
static void list(kvf_wire *w, size_t *count, uint64_t from, uint64_t to) {
    w->from[*count] = from;
    w->to[(*count)++] = to;
}

/* Onboarding: a chunk */

/* How many blocks each owner's part takes in this chunk, and how many an owner has in it. */
static size_t in_chunk(const kvf_wire_op *op, size_t owner) {
    size_t each = op->share == KVF_SHARE_FIRST ? op->wire->chunk : op->wire->stripe;
    size_t before = kvf__min(op->run.chunk * each, owned(&op->run, owner));
    return kvf__min(owned(&op->run, owner) - before, each);
}

static size_t part_blocks(const kvf_wire_op *op) {
    size_t most = 0;
    for (size_t k = 0; k < (size_t)ranks(op); k++)
        most = kvf__max(most, in_chunk(op, k));
    return most;
}

/* The pair that is the i-th of an owner's in this chunk. */
static size_t pair_at(const kvf_wire_op *op, size_t owner, size_t i) {
    size_t each = op->share == KVF_SHARE_FIRST ? op->wire->chunk : op->wire->stripe;
    return op->run.order[op->run.starts[owner] + op->run.chunk * each + i];
}

static kvf_status fill_onboard(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    size_t me = (size_t)op->group->options.rank, count = 0;
    size_t start = chunk_start(op) + (op->share == KVF_SHARE_FIRST ? 0 : me * part_blocks(op));
    size_t mine = in_chunk(op, me);
    for (size_t i = 0; i < mine; i++)
        list(w, &count, sources(op)[pair_at(op, me, i)], start + i);
    kvf_status status = submit(op, op->host, op->host_layout, w->tier, 0, count);
    if (status == KVF_OK)
        op->run.stats.host_bytes += mine * w->block_bytes;
    return status;
}

static kvf_status share_onboard(kvf_wire_op *op, kvf_error *error) {
    kvf_wire *w = op->wire;
    kvf_group *g = op->group;
    char *memory = w->memory + chunk_start(op) * w->block_bytes;
    size_t bytes = part_blocks(op) * w->block_bytes;
    if (op->share == KVF_SHARE_FIRST) {
        op->run.stats.wire_bytes += bytes;
        return kvf__nccl_broadcast(g->comm, memory, bytes, g->stream, error);
    }
    op->run.stats.wire_bytes += bytes * (size_t)ranks(op);
    return kvf__nccl_all_gather(g->comm, memory, g->options.rank, bytes, g->stream, error);
}

static kvf_status drain_onboard(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    size_t count = 0, parts = part_blocks(op);
    for (size_t k = 0; k < (size_t)ranks(op); k++)
        for (size_t i = 0; i < in_chunk(op, k); i++)
            list(w, &count, chunk_start(op) + k * parts + i, destinations(op)[pair_at(op, k, i)]);
    return submit(op, w->tier, 0, w->device, w->device_layout, count);
}

/* Exchanging: a round */

static size_t in_round(const kvf_wire_op *op, const kvf__op_part *part) {
    size_t each = hand_blocks(op->wire), before = kvf__min(op->run.chunk * each, part->count);
    return kvf__min(part->count - before, each);
}

/* Lists one direction's pairs of the round, between slots and the wire. */
static size_t list_round(kvf_wire_op *op, bool receives) {
    kvf_wire *w = op->wire;
    size_t count = 0, each = hand_blocks(w);
    for (size_t p = 0; p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        for (size_t i = 0; part->receives == receives && i < in_round(op, part); i++) {
            size_t pair = part->first + op->run.chunk * each + i;
            size_t block = chunk_start(op) + p * each + i;
            if (receives)
                list(w, &count, block, destinations(op)[pair]);
            else
                list(w, &count, sources(op)[pair], block);
        }
    }
    return count;
}

static kvf_status fill_exchange(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    return submit(op, w->device, w->device_layout, w->tier, 0, list_round(op, false));
}

static kvf_status drain_exchange(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    return submit(op, w->tier, 0, w->device, w->device_layout, list_round(op, true));
}

/* A group of one has a communicator only if it was given a parent, and all hands are its own. */
static kvf_status exchange_alone(kvf_wire_op *op, const kvf__nccl_hand *hands, size_t count,
                                 kvf_error *error) {
    size_t receives = 0;
    for (size_t i = 0; i < count; i++) {
        if (hands[i].receives)
            continue;
        while (!hands[receives].receives)
            receives++;
        cudaError_t code =
            cudaMemcpyAsync(hands[receives++].memory, hands[i].memory, hands[i].bytes,
                            cudaMemcpyDeviceToDevice, op->group->stream);
        if (code != cudaSuccess)
            return kvf__cuda_fail(code, "cudaMemcpyAsync", error);
    }
    return KVF_OK;
}

static kvf_status share_exchange(kvf_wire_op *op, kvf_error *error) {
    kvf_wire *w = op->wire;
    kvf__nccl_hand hands[KVF__CONTROL_HANDS];
    size_t count = 0;
    for (size_t p = 0; p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        size_t bytes = in_round(op, part) * w->block_bytes;
        char *memory = w->memory + (chunk_start(op) + p * hand_blocks(w)) * w->block_bytes;
        if (bytes > 0)
            hands[count++] = (kvf__nccl_hand){part->peer, part->receives, memory, bytes};
        op->run.stats.wire_bytes += bytes;
    }
    if (count == 0)
        return KVF_OK;
    return op->group->comm
               ? kvf__nccl_exchange(op->group->comm, hands, count, op->group->stream, error)
               : exchange_alone(op, hands, count, error);
}

/* Alone: between the host and slots, in slices that the wire's lists hold */

static kvf_status move_alone(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    kvf__op_run *r = &op->run;
    size_t me = (size_t)op->group->options.rank, start = r->chunk * w->chunk, listed = 0;
    size_t count = kvf__min(owned(r, me) - start, w->chunk);
    while (listed < count) {
        size_t pair = r->order[r->starts[me] + start + listed];
        list(w, &listed, sources(op)[pair], destinations(op)[pair]);
    }
    kvf_status status =
        op->kind == KVF__OP_ONBOARD
            ? submit(op, op->host, op->host_layout, w->device, w->device_layout, count)
            : submit(op, w->device, w->device_layout, op->host, op->host_layout, count);
    if (status != KVF_OK)
        return status;
    r->chunk++;
    r->stats.chunks++;
    r->stats.host_bytes += count * w->block_bytes;
    return KVF_OK;
}

/* Stages */

/* The wire's blocks that a chunk uses on this rank. */
static size_t list_chunk(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    size_t blocks = op->kind == KVF__OP_EXCHANGE   ? op->part_count * hand_blocks(w)
                    : op->share == KVF_SHARE_FIRST ? part_blocks(op)
                                                   : part_blocks(op) * (size_t)ranks(op);
    for (size_t i = 0; i < blocks; i++)
        w->from[i] = chunk_start(op) + i;
    return blocks;
}

static kvf_status share(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    size_t blocks = list_chunk(op);
    kvf__guard_enter(g);
    kvf_status status =
        kvf_cuda_wait_slots(op->wire->tier, op->wire->from, blocks, true, g->stream, error);
    kvf__guard_leave(g);
    if (status == KVF_OK)
        status = kvf__guard_check(g, error);
    if (status != KVF_OK)
        return status;
    return op->kind == KVF__OP_EXCHANGE ? share_exchange(op, error) : share_onboard(op, error);
}

static kvf_status record(cudaEvent_t event, cudaStream_t stream, kvf_error *error) {
    cudaError_t code = cudaEventRecord(event, stream);
    return code == cudaSuccess ? KVF_OK : kvf__cuda_fail(code, "cudaEventRecord", error);
}

/* What was begun has been enqueued; only now can an event stand behind it. */
static kvf_status settle(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    kvf_status status = g->comm ? kvf__nccl_check(g->comm, error) : KVF_OK;
    if (status == KVF_OK)
        status = record(g->shared, g->stream, error);
    if (status == KVF_OK)
        status = record(op->run.end, g->stream, error);
    if (status != KVF_OK)
        return status;
    op->run.shared = true;
    size_t blocks = list_chunk(op);
    kvf__guard_enter(g);
    status = kvf_cuda_mark_slots(op->wire->tier, op->wire->from, blocks, true, g->shared, error);
    kvf__guard_leave(g);
    return status;
}

static kvf_status do_stage(kvf_wire_op *op, kvf_error *error) {
    const kvf__hooks *hooks = kvf__group_hooks(op->group);
    bool exchanges = op->kind == KVF__OP_EXCHANGE;
    kvf_status status;
    switch (op->run.stage) {
    case KVF__OP_FILL:
        return exchanges ? fill_exchange(op) : fill_onboard(op);
    case KVF__OP_SHARE:
        kvf__range_begin(hooks, KVF__RANGE_SHARE);
        status = share(op, error);
        kvf__range_end(hooks);
        return status;
    case KVF__OP_SETTLE:
        return settle(op, error);
    default:
        return exchanges ? drain_exchange(op) : drain_onboard(op);
    }
}

static kvf_status next_stage(kvf_wire_op *op, kvf_error *error) {
    kvf__op_run *r = &op->run;
    kvf_status status = do_stage(op, error);
    if (status != KVF_OK)
        return status == KVF_ERR_AGAIN ? KVF_PENDING : status;
    if (r->stage == KVF__OP_DRAIN) {
        r->stage = KVF__OP_FILL;
        r->chunk++;
        op->run.stats.chunks++;
    } else {
        r->stage++;
    }
    return KVF_OK;
}

kvf_status kvf__op_advance(kvf_wire_op *op, bool *moved, kvf_error *error) {
    kvf__op_run *r = &op->run;
    while (r->chunk < r->chunk_count) {
        kvf_status status = is_alone(op) ? move_alone(op) : next_stage(op, error);
        if (status == KVF_PENDING || status == KVF_ERR_AGAIN)
            return KVF_PENDING;
        if (status != KVF_OK)
            return status;
        *moved = true;
    }
    return KVF_OK;
}

bool kvf__op_is_quiet(kvf_wire_op *op, bool *moved) {
    kvf__op_run *r = &op->run;
    while (r->count > 0) {
        kvf_transfer *t = r->transfers[r->first];
        if (!kvf__transfer_is_over(t))
            return false;
        if (t->error.status != KVF_OK)
            note(r, &t->error);
        kvf_transfer_release(t);
        r->first = (r->first + 1) % KVF__OP_TRANSFERS;
        r->count--;
        *moved = true;
    }
    if (!r->shared)
        return true;
    kvf_error error;
    kvf_status status = kvf__cuda_query(r->end, &error);
    if (status == KVF_PENDING)
        return false;
    if (status != KVF_OK)
        note(r, &error);
    return true;
}
