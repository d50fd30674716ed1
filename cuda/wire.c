/* Wires: a tier of packed blocks on the device, in which chunks stand on their way. */
#include "group.h"

enum { USUAL_CHUNKS = 3, MOST_CHUNKS = 64 };
static const size_t usual_chunk_bytes = (size_t)8 << 20;

static kvf_status check_options(const kvf_group *g, const kvf_wire_options *o, kvf_wire **out,
                                kvf_error *error) {
    if (!g || !o || !o->device || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o->device->engine != &g->engine->base || o->device->memory != KVF_MEMORY_DEVICE)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "not a device tier of the group's engine");
    if (o->device_layout >= o->device->layout_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "the tier has no such layout");
    if (o->chunks > MOST_CHUNKS)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_EXPECTED,
                         .expected = MOST_CHUNKS, .what = "too many chunks");
    return KVF_OK;
}

/* How many blocks there are to be, as one product. */
static kvf_status size_wire(kvf_wire *w, const kvf_wire_options *o, kvf_error *error) {
    const kvf_layout *layout = w->device->layouts[o->device_layout];
    w->block_bytes = kvf_layout_block_bytes(layout);
    w->stripe = (o->chunk_bytes ? o->chunk_bytes : usual_chunk_bytes) / w->block_bytes;
    w->stripe += w->stripe == 0;
    w->chunks = o->chunks ? o->chunks : USUAL_CHUNKS;
    size_t blocks;
    if (!kvf__mul(w->stripe, (size_t)w->group->options.ranks, &w->chunk) ||
        !kvf__mul(w->chunk, w->chunks, &blocks) || blocks > KVF_MAX_BLOCKS ||
        !kvf__mul(blocks, w->block_bytes, &w->bytes))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY, .what = "too large a wire");
    return KVF_OK;
}

static kvf_status make_tier(kvf_wire *w, kvf_error *error) {
    kvf_layout *layout = NULL;
    void *memory = NULL;
    kvf_status status =
        kvf_cuda_device_alloc(w->group->engine->options.device, w->bytes, &memory, error);
    if (status != KVF_OK)
        return status;
    w->memory = memory;
    status = kvf_layout_recommend(w->device->layouts[w->device_layout], KVF_USE_WHOLE_BLOCKS,
                                  w->chunk * w->chunks, (kvf_buffer){memory, w->bytes},
                                  &w->group->allocator, &layout, error);
    if (status != KVF_OK)
        return status;
    const kvf_layout *layouts[] = {layout};
    const kvf_tier_options options = {
        .layouts = layouts, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    status = kvf_tier_create(&w->group->engine->base, &options, &w->tier, error);
    kvf_layout_destroy(layout);
    return status;
}

static void free_wire(kvf_wire *w) {
    kvf_group *g = w->group;
    kvf_tier_destroy(w->tier);
    kvf_cuda_device_free(g->engine->options.device, w->memory);
    kvf__free(&g->allocator, w->from, w->chunk, sizeof *w->from);
    kvf__free(&g->allocator, w->to, w->chunk, sizeof *w->to);
    kvf__free(&g->allocator, w, 1, sizeof *w);
    kvf__group_release(g);
}

kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options, kvf_wire **out,
                           kvf_error *error) {
    kvf_status status = check_options(group, options, out, error);
    if (status != KVF_OK)
        return status;
    kvf_wire *w = kvf__alloc_zero(&group->allocator, 1, sizeof *w);
    if (!w)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
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
    if (status == KVF_OK)
        *out = w;
    else
        free_wire(w);
    return status;
}

void kvf_wire_destroy(kvf_wire *w) {
    if (!w)
        return;
    kvf_group *g = w->group;
    const kvf_error error = {.status = KVF_ERR_CANCELLED, .what = "a wire was destroyed"};
    pthread_mutex_lock(&g->lock);
    if (w->open > 0) {
        kvf__group_doubt(g, &error);
        pthread_mutex_unlock(&g->lock);
        kvf__group_wake(g);
        pthread_mutex_lock(&g->lock);
    }
    while (w->open > 0)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    free_wire(w);
}
