/* Wires: a tier of packed blocks on the device, through which chunks pass. */
#include "nccl/group.h"

enum { DEFAULT_CHUNKS = 3, MAX_CHUNKS = 64 };
static const size_t default_chunk_bytes = (size_t)8 << 20;

static kvf_status check_options(const kvf_group *g, const kvf_wire_options *o, kvf_wire **out,
                                kvf_error *error) {
    if (!g || !o || !o->device || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o->device->engine != &g->engine->base || o->device->memory != KVF_MEMORY_DEVICE)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "not a device tier of the group's engine");
    if (o->device_layout >= o->device->layout_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "the tier has no layout of that index");
    if (o->chunks > MAX_CHUNKS)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = MAX_CHUNKS, .what = "chunks must be at most 64");
    return KVF_OK;
}

static kvf_status size_wire(kvf_wire *w, const kvf_wire_options *o, kvf_error *error) {
    const kvf_layout *layout = w->device->layouts[o->device_layout];
    w->block_bytes = kvf_layout_block_bytes(layout);
    w->stripe = (o->chunk_bytes ? o->chunk_bytes : default_chunk_bytes) / w->block_bytes;
    w->stripe += w->stripe == 0;
    w->chunks = o->chunks ? o->chunks : DEFAULT_CHUNKS;
    size_t blocks;
    if (!kvf__mul(w->stripe, (size_t)w->group->options.ranks, &w->chunk) ||
        !kvf__mul(w->chunk, w->chunks, &blocks) || blocks > KVF_MAX_BLOCKS ||
        !kvf__mul(blocks, w->block_bytes, &w->bytes))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY, .what = "the wire is too large");
    return KVF_OK;
}

/* The memory that a rank offers; all ranks use the least of it. */
enum { PLAIN = 1, FROM_NCCL, REGISTRABLE };

static void *allocate(kvf_wire *w, kvf_error *error) {
    const kvf_group *g = w->group;
    void *memory = NULL;
    kvf__cuda_device_scope scope;
    w->turn.offer = PLAIN;
    if (g->nccl_version > 0 && kvf__nccl->can_alloc(g->nccl_version) &&
        kvf__cuda_enter(g->engine->options.device, &scope, NULL) == KVF_OK) {
        w->from_nccl = kvf__nccl->alloc(w->bytes, &memory, NULL) == KVF_OK;
        if (w->from_nccl)
            w->turn.offer = kvf__nccl->can_register(g->nccl_version) ? REGISTRABLE : FROM_NCCL;
        kvf__cuda_leave(&scope);
    }
    if (!w->from_nccl &&
        kvf_cuda_device_alloc(g->engine->options.device, w->bytes, &memory, error) != KVF_OK)
        return NULL;
    return memory;
}

static kvf_status make_tier(kvf_wire *w, kvf_error *error) {
    kvf_layout *layout = NULL;
    kvf_error none = {.status = KVF_ERR_NO_MEMORY};
    w->memory = allocate(w, &none);
    if (!w->memory)
        return kvf__fail(error, none);
    kvf_status status = kvf_layout_recommend(
        w->device->layouts[w->device_layout], KVF_USE_WHOLE_BLOCKS, w->chunk * w->chunks,
        (kvf_buffer){w->memory, w->bytes}, &w->group->allocator, &layout, error);
    if (status != KVF_OK)
        return status;
    const kvf_layout *layouts[] = {layout};
    const kvf_tier_options options = {
        .layouts = layouts, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    status = kvf_tier_create(&w->group->engine->base, &options, &w->tier, error);
    kvf_layout_destroy(layout);
    return status;
}

kvf_status kvf__wire_register(kvf_wire *w, uint16_t offer, kvf_error *error) {
    kvf_group *g = w->group;
    w->number = ++g->wire_count;
    pthread_mutex_lock(&g->lock);
    w->next = g->wires;
    g->wires = w;
    pthread_mutex_unlock(&g->lock);
    w->explanation.memory = offer >= FROM_NCCL ? KVF_WIRE_NCCL : KVF_WIRE_PLAIN;
    w->explanation.reason = g->nccl_version == 0 ? "the group has no communicator"
                            : offer == PLAIN     ? "a rank got no memory from ncclMemAlloc"
                            : offer == FROM_NCCL
                                ? "a rank's NCCL or its header is older than 2.27.3"
                                : NULL;
    if (offer < REGISTRABLE)
        return KVF_OK;
    if (!kvf__group_lock_comm(g))
        return KVF_PENDING;
    kvf_status status = kvf__nccl->register_window(g->comm, w->memory, w->bytes, &w->window, error);
    kvf__group_unlock_comm(g);
    return status;
}

void kvf__wire_registered(kvf_wire *w) {
    if (w->window)
        w->explanation.memory = KVF_WIRE_WINDOW;
    else if (!w->explanation.reason)
        w->explanation.reason = "NCCL has no symmetric windows on this machine";
}

void kvf__wire_close(kvf_wire *w) {
    kvf_group *g = w->group;
    pthread_mutex_lock(&g->lock);
    kvf_wire **at = &g->wires;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    pthread_mutex_unlock(&g->lock);
    kvf_tier_destroy(w->tier);
    w->tier = NULL;
    if (w->window && kvf__group_lock_comm(g)) {
        kvf__nccl->deregister_window(g->comm, &w->window);
        kvf__group_unlock_comm(g);
    }
    if (w->from_nccl && w->memory)
        kvf__nccl->free(w->memory);
    else
        kvf_cuda_device_free(g->engine->options.device, w->memory);
    w->memory = NULL;
}

static void free_wire(kvf_wire *w) {
    kvf_group *g = w->group;
    kvf__free(&g->allocator, w->from, w->chunk, sizeof *w->from);
    kvf__free(&g->allocator, w->to, w->chunk, sizeof *w->to);
    kvf__free(&g->allocator, w, 1, sizeof *w);
    kvf__group_release(g);
}

void kvf__wires_close(kvf_group *g) {
    while (g->wires) {
        kvf_wire *w = g->wires;
        kvf__wire_close(w);
        if (w->abandoned)
            free_wire(w);
    }
}

/* Takes the turn even if this rank could not make the wire. */
static kvf_status agree(kvf_wire *w, kvf_status status, kvf_error *error) {
    kvf_group *g = w->group;
    kvf_error ignored;
    w->turn.kind = KVF__TURN_CREATE_WIRE;
    w->turn.refused = status;
    if (w->device_layout < w->device->layout_count)
        w->turn.where = kvf_layout_digest(w->device->layouts[w->device_layout]);
    w->turn.digest = (uint64_t)w->stripe << 16 | w->chunks;
    kvf_status entered = kvf__group_enter(g, &w->turn, status == KVF_OK ? error : &ignored);
    if (entered != KVF_OK)
        return status == KVF_OK ? entered : status;
    kvf__group_wait_turn(g, &w->turn, false, UINT64_MAX);
    if (status != KVF_OK)
        return status;
    return w->turn.outcome.status == KVF_OK ? KVF_OK : kvf__fail(error, w->turn.outcome);
}

kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options, kvf_wire **out,
                           kvf_error *error) {
    if (!group)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_options(group, options, out, error);
    kvf_wire *w = status == KVF_OK ? kvf__alloc_zero(&group->allocator, 1, sizeof *w) : NULL;
    if (status == KVF_OK && !w)
        status = KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (status != KVF_OK) {
        (void)kvf__group_refuse(group, status, NULL);
        return status;
    }
    kvf__group_hold(group);
    w->group = group;
    w->device = options->device;
    w->device_layout = options->device_layout;
    status = size_wire(w, options, error);
    if (status == KVF_OK) {
        w->from = kvf__alloc(&group->allocator, w->chunk, sizeof *w->from);
        w->to = kvf__alloc(&group->allocator, w->chunk, sizeof *w->to);
        status =
            w->from && w->to ? make_tier(w, error) : KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    kvf__cuda_device_scope scope;
    bool entered = kvf__cuda_enter(group->engine->options.device, &scope, NULL) == KVF_OK;
    status = agree(w, status, error);
    if (status == KVF_OK) {
        w->explanation.bytes = w->bytes;
        w->explanation.chunk_blocks = w->chunk;
        w->explanation.chunks = w->chunks;
        w->explanation.nccl_version = group->nccl_version;
        *out = w;
    } else {
        if (kvf__group_is_broken(group))
            kvf__group_wait_quiet(group);
        kvf__wire_close(w);
        free_wire(w);
    }
    if (entered)
        kvf__cuda_leave(&scope);
    return status;
}

void kvf_wire_destroy(kvf_wire *w) {
    if (!w)
        return;
    kvf_group *g = w->group;
    w->turn = (kvf__turn){.kind = KVF__TURN_DESTROY_WIRE, .where = w->number};
    kvf_status status = kvf__group_enter(g, &w->turn, NULL);
    if (status == KVF_OK)
        kvf__group_wait_turn(g, &w->turn, false, UINT64_MAX);
    if (w->abandoned)
        return;
    if (w->memory) { /* broken or destroyed: the group has not closed it */
        kvf__cuda_device_scope scope;
        bool entered = kvf__cuda_enter(g->engine->options.device, &scope, NULL) == KVF_OK;
        kvf__group_wait_quiet(g);
        kvf__wire_close(w);
        if (entered)
            kvf__cuda_leave(&scope);
    }
    free_wire(w);
}

kvf_status kvf_wire_explain(const kvf_wire *w, kvf_wire_explanation *out, kvf_error *error) {
    if (!w || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    *out = w->explanation;
    return KVF_OK;
}
