/*
 * Executing an operation, chunk by chunk. Which rank contributes what, and where each block goes,
 * follows from the plans' positions alone, so all ranks cut the same chunks:
 *
 *     onboard, striped   chunk c has pairs [c * stripe, (c + 1) * stripe) of each owner. On the
 *                        wire, owner r's part starts at block r * parts of the chunk; `parts` is
 *                        the size of the largest part
 *     onboard, rank 0    chunk c has pairs [c * chunk, (c + 1) * chunk)
 *     hand-over          chunk c has pairs [c * q, (c + 1) * q) of each hand-over; hand-over h
 *                        starts at block h * q of the chunk
 *     offload            chunk c has pairs [c * chunk, (c + 1) * chunk) of each owner; they do not
 *                        cross the wire
 *
 * A chunk is filled, shared by NCCL and drained; chunk c + 1 is filled while NCCL works on the call
 * for chunk c. A place on the wire is used again `chunks` chunks later, across operations too; the
 * use order of the wire tier's slots makes that safe.
 */
#include "nccl/group.h"

enum { CHECK_IN_CHUNKS = 16 }; /* between two check-ins */

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

static bool is_hand_over(const kvf_wire_op *op) {
    return op->turn.kind == KVF__TURN_HAND_OVER;
}

/* Blocks of one hand-over in a chunk. */
static size_t handover_blocks(const kvf_wire_op *op) {
    return op->part_count > 0 ? op->wire->chunk / op->part_count : 1;
}

/* The wire's block at which a chunk starts. */
static size_t chunk_start(const kvf_wire_op *op, size_t chunk) {
    return (op->run.first_place + chunk) % op->wire->chunks * op->wire->chunk;
}

/* Nothing has to be shared: the only rank reads all blocks, or each rank stores its own. */
static bool skips_wire(const kvf_wire_op *op) {
    return op->turn.kind == KVF__TURN_OFFLOAD ||
           (op->turn.kind == KVF__TURN_ONBOARD && ranks(op) == 1);
}

/* Preparing */

static void sort_by_owner(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t p = 0; p < op->part_count; p++) {
            const kvf__op_part *part = &op->parts[p];
            for (size_t i = 0; i < part->count; i++) {
                size_t *at = &r->starts[kvf__op_owner(op, part, i) + 1];
                if (pass == 1)
                    r->order[*at] = part->first + i;
                (*at)++;
            }
        }
        if (pass == 0) /* counts become starts, which the second pass advances to ends */
            for (size_t sum = 0, k = 1; k <= (size_t)ranks(op); k++) {
                size_t count = r->starts[k];
                r->starts[k] = sum;
                sum += count;
            }
    }
}

static size_t owned_pairs(const kvf__op_run *r, size_t owner) {
    return r->starts[owner + 1] - r->starts[owner];
}

/* Blocks of one owner in a full chunk. */
static size_t owner_blocks(const kvf_wire_op *op) {
    return skips_wire(op) || op->share == KVF_SHARE_RANK_0 ? op->wire->chunk : op->wire->stripe;
}

static size_t count_chunks(const kvf_wire_op *op) {
    size_t chunks = 0;
    if (is_hand_over(op))
        for (size_t p = 0; p < op->part_count; p++)
            chunks = kvf__max(chunks, pieces(op->parts[p].count, handover_blocks(op)));
    else
        for (size_t k = 0; k < (size_t)ranks(op); k++)
            chunks = kvf__max(chunks, pieces(owned_pairs(&op->run, k), owner_blocks(op)));
    return chunks;
}

kvf_status kvf__op_prepare_run(kvf_wire_op *op, kvf_error *error) {
    kvf__op_run *r = &op->run;
    size_t owners = (size_t)ranks(op) + 1;
    r->order = kvf__alloc(&op->allocator, op->pairs, sizeof *r->order);
    r->starts = kvf__alloc_zero(&op->allocator, owners, sizeof *r->starts);
    if (!r->starts || (!r->order && op->pairs > 0))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (r->order && !is_hand_over(op))
        sort_by_owner(op);
    r->chunk_count = count_chunks(op);
    return KVF_OK;
}

void kvf__op_free_run(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    kvf__free(&op->allocator, r->order, op->pairs, sizeof *r->order);
    kvf__free(&op->allocator, r->starts, (size_t)ranks(op) + 1, sizeof *r->starts);
    r->order = r->starts = NULL;
}

/* Transfers */

static void note_failure(kvf__op_run *r, const kvf_error *error) {
    if (r->failed.status == KVF_OK)
        r->failed = *error;
}

/* Submits the first `count` pairs of the wire's lists as a transfer. AGAIN: try later. Any other
 * error is noted as the operation's, and the operation is carried on for the other ranks. */
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
    kvf_status status = kvf_transfer_submit(src, dst, &plan, 1, &how, &t, &error);
    if (status == KVF_OK)
        r->transfers[(r->first + r->count++) % KVF__OP_TRANSFERS] = t;
    else if (status != KVF_ERR_AGAIN)
        note_failure(r, &error);
    return status == KVF_ERR_AGAIN ? status : KVF_OK;
}

static void list_pair(kvf_wire *w, size_t *count, uint64_t from, uint64_t to) {
    w->from[*count] = from;
    w->to[(*count)++] = to;
}

/* Onboarding */

/* Blocks that an owner has in a chunk, and blocks that each owner's part takes on the wire. */
static size_t blocks_in_chunk(const kvf_wire_op *op, size_t owner, size_t chunk) {
    size_t before = kvf__min(chunk * owner_blocks(op), owned_pairs(&op->run, owner));
    return kvf__min(owned_pairs(&op->run, owner) - before, owner_blocks(op));
}

static size_t part_blocks(const kvf_wire_op *op, size_t chunk) {
    size_t most = 0;
    for (size_t k = 0; k < (size_t)ranks(op); k++)
        most = kvf__max(most, blocks_in_chunk(op, k, chunk));
    return most;
}

/* The pair that is the i-th of an owner's in this chunk. */
static size_t pair_at(const kvf_wire_op *op, size_t owner, size_t chunk, size_t i) {
    return op->run.order[op->run.starts[owner] + chunk * owner_blocks(op) + i];
}

static kvf_status fill_onboard(kvf_wire_op *op, size_t chunk) {
    kvf_wire *w = op->wire;
    size_t me = (size_t)op->group->options.rank, count = 0;
    size_t start =
        chunk_start(op, chunk) + (op->share == KVF_SHARE_RANK_0 ? 0 : me * part_blocks(op, chunk));
    size_t mine = blocks_in_chunk(op, me, chunk);
    for (size_t i = 0; i < mine; i++)
        list_pair(w, &count, sources(op)[pair_at(op, me, chunk, i)], start + i);
    kvf_status status = submit(op, op->host, op->host_layout, w->tier, 0, count);
    if (status == KVF_OK)
        op->run.stats.host_bytes += mine * w->block_bytes;
    return status;
}

static kvf_status share_onboard(kvf_wire_op *op, size_t chunk, kvf_error *error) {
    kvf_wire *w = op->wire;
    kvf_group *g = op->group;
    char *memory = w->memory + chunk_start(op, chunk) * w->block_bytes;
    size_t bytes = part_blocks(op, chunk) * w->block_bytes;
    if (op->share == KVF_SHARE_RANK_0) {
        op->run.stats.wire_bytes += bytes;
        return kvf__nccl->broadcast(g->comm, memory, bytes, g->stream, error);
    }
    op->run.stats.wire_bytes += bytes * (size_t)ranks(op);
    return kvf__nccl->all_gather(g->comm, memory, g->options.rank, bytes, g->stream, error);
}

static kvf_status drain_onboard(kvf_wire_op *op, size_t chunk) {
    kvf_wire *w = op->wire;
    size_t count = 0, parts = part_blocks(op, chunk), start = chunk_start(op, chunk);
    for (size_t k = 0; k < (size_t)ranks(op); k++)
        for (size_t i = 0; i < blocks_in_chunk(op, k, chunk); i++)
            list_pair(w, &count, start + k * parts + i, destinations(op)[pair_at(op, k, chunk, i)]);
    return submit(op, w->tier, 0, w->device, w->device_layout, count);
}

/* Handing over. Within a rank, blocks are filled and drained but not sent. */

static size_t blocks_handed_over(const kvf_wire_op *op, const kvf__op_part *part, size_t chunk) {
    size_t before = kvf__min(chunk * handover_blocks(op), part->count);
    return kvf__min(part->count - before, handover_blocks(op));
}

/* Lists one direction's pairs of a chunk, between slots and the wire. */
static size_t list_handover(kvf_wire_op *op, size_t chunk, bool receives) {
    size_t count = 0, most = handover_blocks(op);
    for (size_t p = 0; p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        bool mine = op->group->options.rank == (receives ? part->to : part->from);
        for (size_t i = 0; mine && i < blocks_handed_over(op, part, chunk); i++) {
            size_t pair = part->first + chunk * most + i;
            size_t block = chunk_start(op, chunk) + p * most + i;
            if (receives)
                list_pair(op->wire, &count, block, destinations(op)[pair]);
            else
                list_pair(op->wire, &count, sources(op)[pair], block);
        }
    }
    return count;
}

/* One NCCL group of calls; it is ended even if one of them fails. */
static kvf_status share_handover(kvf_wire_op *op, size_t chunk, kvf_error *error) {
    kvf_wire *w = op->wire;
    kvf_group *g = op->group;
    int me = g->options.rank;
    kvf_status status = kvf__nccl->begin(error);
    if (status != KVF_OK)
        return status;
    for (size_t p = 0; status == KVF_OK && p < op->part_count; p++) {
        const kvf__op_part *part = &op->parts[p];
        size_t bytes = blocks_handed_over(op, part, chunk) * w->block_bytes;
        char *memory =
            w->memory + (chunk_start(op, chunk) + p * handover_blocks(op)) * w->block_bytes;
        if (part->from == part->to || bytes == 0 || (part->from != me && part->to != me))
            continue;
        op->run.stats.wire_bytes += bytes;
        status = part->from == me
                     ? kvf__nccl->send(g->comm, memory, bytes, part->to, g->stream, error)
                     : kvf__nccl->receive(g->comm, memory, bytes, part->from, g->stream, error);
    }
    return kvf__nccl->end(status, error);
}

static bool sends_or_receives(const kvf_wire_op *op, size_t chunk) {
    int me = op->group->options.rank;
    for (size_t p = 0; p < op->part_count; p++)
        if (op->parts[p].from != op->parts[p].to &&
            blocks_handed_over(op, &op->parts[p], chunk) > 0 &&
            (op->parts[p].from == me || op->parts[p].to == me))
            return true;
    return false;
}

/* Without the wire: between host and slots, in slices that the wire's lists hold */

static kvf_status move_directly(kvf_wire_op *op) {
    kvf_wire *w = op->wire;
    kvf__op_run *r = &op->run;
    size_t me = (size_t)op->group->options.rank, listed = 0;
    size_t count = blocks_in_chunk(op, me, r->drained);
    while (listed < count) {
        size_t pair = pair_at(op, me, r->drained, listed);
        list_pair(w, &listed, sources(op)[pair], destinations(op)[pair]);
    }
    kvf_status status =
        op->turn.kind == KVF__TURN_ONBOARD
            ? submit(op, op->host, op->host_layout, w->device, w->device_layout, count)
            : submit(op, w->device, w->device_layout, op->host, op->host_layout, count);
    if (status == KVF_OK)
        r->stats.host_bytes += count * w->block_bytes;
    return status;
}

/* Chunks */

static kvf_status fill(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    kvf_wire *w = op->wire;
    if (r->filled == r->chunk_count || r->filled == r->drained + w->chunks)
        return KVF_OK;
    kvf_status status = is_hand_over(op) ? submit(op, w->device, w->device_layout, w->tier, 0,
                                                  list_handover(op, r->filled, false))
                                         : fill_onboard(op, r->filled);
    if (status == KVF_OK)
        r->filled++;
    return status;
}

void kvf__op_fill_ahead(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    r->first_place = op->wire->next_place;
    size_t before;
    do
        before = r->filled;
    while (!skips_wire(op) && op->turn.refused == KVF_OK && fill(op) == KVF_OK &&
           r->filled > before);
}

/* The wire's blocks that a chunk uses on this rank. */
static size_t list_chunk(kvf_wire_op *op, size_t chunk) {
    kvf_wire *w = op->wire;
    size_t blocks = is_hand_over(op)                ? op->part_count * handover_blocks(op)
                    : op->share == KVF_SHARE_RANK_0 ? part_blocks(op, chunk)
                                                    : part_blocks(op, chunk) * (size_t)ranks(op);
    for (size_t i = 0; i < blocks; i++)
        w->from[i] = chunk_start(op, chunk) + i;
    return blocks;
}

static bool needs_nccl(const kvf_wire_op *op, size_t chunk) {
    return op->group->opened && (!is_hand_over(op) || sends_or_receives(op, chunk));
}

static kvf_status share(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    size_t chunk = op->run.shared, blocks = list_chunk(op, chunk);
    kvf_status status =
        kvf_cuda_wait_slots(op->wire->tier, op->wire->from, blocks, true, g->stream, error);
    if (status != KVF_OK)
        return status;
    if (!kvf__group_lock_comm(g))
        return KVF_PENDING;
    kvf__range_begin(kvf__group_hooks(g), KVF__RANGE_SHARE);
    status = is_hand_over(op) ? share_handover(op, chunk, error) : share_onboard(op, chunk, error);
    kvf__range_end(kvf__group_hooks(g));
    kvf__group_unlock_comm(g);
    op->run.calling = status == KVF_OK;
    return status;
}

/* Records the event only once NCCL has enqueued the call. */
static kvf_status settle(kvf_wire_op *op, kvf_error *error) {
    kvf_group *g = op->group;
    kvf_status status = kvf__group_settle(g, error);
    if (status == KVF_OK)
        status = kvf__group_record(g, g->shared, error);
    if (status != KVF_OK)
        return status;
    size_t blocks = list_chunk(op, op->run.shared);
    status = kvf_cuda_mark_slots(op->wire->tier, op->wire->from, blocks, true, g->shared, error);
    if (status != KVF_OK)
        return status == KVF_ERR_AGAIN ? KVF_PENDING : status;
    op->run.calling = false;
    op->run.shared++;
    return KVF_OK;
}

static kvf_status drain(kvf_wire_op *op) {
    kvf__op_run *r = &op->run;
    kvf_wire *w = op->wire;
    kvf_status status = skips_wire(op)     ? move_directly(op)
                        : is_hand_over(op) ? submit(op, w->tier, 0, w->device, w->device_layout,
                                                    list_handover(op, r->drained, true))
                                           : drain_onboard(op, r->drained);
    if (status == KVF_OK) {
        r->drained++;
        r->stats.chunks++;
    }
    return status;
}

static kvf_status next_step(kvf_wire_op *op, kvf_error *error) {
    kvf__op_run *r = &op->run;
    if (skips_wire(op) || r->drained < r->shared)
        return drain(op);
    if (r->calling) {
        (void)fill(op);
        return settle(op, error);
    }
    if (r->shared == r->filled)
        return fill(op);
    if (needs_nccl(op, r->shared))
        return share(op, error);
    r->shared++;
    return KVF_OK;
}

/* Where not every chunk is a collective, a rank with less to do would take the others for dead. */
static bool is_check_in_due(const kvf_wire_op *op) {
    const kvf__op_run *r = &op->run;
    return op->turn.kind != KVF__TURN_ONBOARD && r->drained == r->checked_in + CHECK_IN_CHUNKS;
}

kvf_status kvf__op_advance(kvf_wire_op *op, bool *moved, kvf_error *error) {
    kvf__op_run *r = &op->run;
    (void)kvf__op_is_quiet(op, moved);
    while (r->drained < r->chunk_count && !is_check_in_due(op)) {
        kvf_status status = next_step(op, error);
        if (status == KVF_PENDING || status == KVF_ERR_AGAIN)
            return KVF_PENDING;
        if (status != KVF_OK)
            return status;
        *moved = true;
    }
    return KVF_OK;
}

/* A transfer that fails after its first copy reports it when it ends, which is after the vote. */
static void note_early_failure(kvf_wire_op *op, const kvf_transfer *t) {
    kvf__cuda *e = op->group->engine;
    pthread_mutex_lock(&e->base.lock);
    kvf_error failed = kvf__cuda_job_in(t)->failed;
    pthread_mutex_unlock(&e->base.lock);
    if (failed.status != KVF_OK)
        note_failure(&op->run, &failed);
}

kvf_status kvf__op_vote(kvf_wire_op *op, kvf_error *error) {
    kvf__op_run *r = &op->run;
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < r->count; i++) {
        kvf_transfer *t = r->transfers[(r->first + i) % KVF__OP_TRANSFERS];
        status = kvf_cuda_wait_layer(t, 0, op->group->stream, error);
        note_early_failure(op, t);
    }
    return status;
}

bool kvf__op_is_quiet(kvf_wire_op *op, bool *moved) {
    kvf__op_run *r = &op->run;
    while (r->count > 0) {
        kvf_transfer *t = r->transfers[r->first];
        if (!kvf__transfer_is_over(t))
            return false;
        if (t->error.status != KVF_OK)
            note_failure(r, &t->error);
        kvf_transfer_release(t);
        r->first = (r->first + 1) % KVF__OP_TRANSFERS;
        r->count--;
        *moved = true;
    }
    return true;
}
