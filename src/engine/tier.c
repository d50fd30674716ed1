#include "engine/integrity.h"
#include "engine/transfer.h"
#include "engine/wait.h"

static kvf_status check_tier(kvf_engine *engine, const kvf_tier_options *options,
                             kvf_error *error) {
    if (!engine || !options || !options->layouts || options->layout_count == 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument or no layouts");
    for (size_t i = 0; i < options->layout_count; i++) {
        if (!options->layouts[i])
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                             .index = i, .what = "the layout is NULL");
        if (kvf_layout_blocks(options->layouts[i]) != kvf_layout_blocks(options->layouts[0]))
            return KVF__FAIL(error, .status = KVF_ERR_LAYOUT, .fields = KVF_ERROR_INDEX, .index = i,
                             .what = "layouts differ in number of blocks");
    }
    if (options->integrity && (options->memory == KVF_MEMORY_DEVICE || !engine->ops->has_integrity))
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "integrity needs host memory and an engine that supports it");
    if (atomic_load(&engine->closed))
        return KVF__FAIL(error, .status = KVF_ERR_BROKEN, .what = "the engine has been destroyed");
    return KVF_OK;
}

static kvf_status accept_layouts(kvf_tier *tier, const kvf_tier_options *options,
                                 kvf_error *error) {
    const kvf__engine_ops *ops = tier->engine->ops;
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < options->layout_count; i++)
        status = ops->accept(tier->engine, options->layouts[i], options->memory,
                             (char *)tier->places + i * ops->place_size, error);
    return status;
}

/* Of one layout. At least 1, since an allocation of 0 bytes returns NULL. */
static size_t place_bytes(const kvf_engine *engine) {
    return engine->ops->place_size ? engine->ops->place_size : 1;
}

static void free_tier(kvf_tier *tier) {
    kvf_engine *engine = tier->engine;
    const kvf_allocator *a = &engine->allocator;
    for (size_t i = 0; tier->layouts && i < tier->layout_count; i++)
        kvf_layout_destroy(tier->layouts[i]);
    kvf__free(a, tier->layouts, tier->layout_count, sizeof *tier->layouts);
    kvf__free(a, tier->places, tier->layout_count, place_bytes(engine));
    kvf__slots_free(&tier->slots, a);
    kvf__integrity_fini(tier);
    kvf__free(a, tier, 1, sizeof *tier);
    kvf__engine_release(engine);
}

kvf_status kvf_tier_create(kvf_engine *engine, const kvf_tier_options *options, kvf_tier **out,
                           kvf_error *error) {
    if (!out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_tier(engine, options, error);
    if (status != KVF_OK)
        return status;
    const kvf_allocator *a = &engine->allocator;
    kvf_tier *tier = kvf__alloc_zero(a, 1, sizeof *tier);
    if (!tier)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__engine_hold(engine);
    tier->engine = engine;
    tier->memory = options->memory;
    tier->blocks = kvf_layout_blocks(options->layouts[0]);
    tier->layout_count = options->layout_count;
    tier->layouts = kvf__alloc_zero(a, options->layout_count, sizeof *tier->layouts);
    tier->places = kvf__alloc_zero(a, options->layout_count, place_bytes(engine));
    if (!tier->layouts || !tier->places || !kvf__slots_init(&tier->slots, a, tier->blocks) ||
        (options->integrity && !kvf__integrity_init(tier))) {
        free_tier(tier);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    status = accept_layouts(tier, options, error);
    if (status != KVF_OK) {
        free_tier(tier);
        return status;
    }
    for (size_t i = 0; i < options->layout_count; i++)
        tier->layouts[i] = kvf__layout_hold(options->layouts[i]);
    *out = tier;
    return KVF_OK;
}

static bool tier_unused(void *context) {
    kvf_tier *tier = context;
    return atomic_load(&tier->open) == 0;
}

void kvf_tier_destroy(kvf_tier *tier) {
    if (!tier)
        return;
    kvf__transfers_cancel(tier->engine, tier);
    kvf__engine_wait(tier->engine, &(kvf__wait){.done = tier_unused, .context = tier}, -1);
    free_tier(tier);
}

size_t kvf_tier_blocks(const kvf_tier *tier) {
    return tier ? tier->blocks : 0;
}

kvf_memory kvf_tier_memory(const kvf_tier *tier) {
    return tier ? tier->memory : KVF_MEMORY_HOST;
}

const kvf_layout *kvf_tier_layout(const kvf_tier *tier, size_t index) {
    return tier && index < tier->layout_count ? tier->layouts[index] : NULL;
}

kvf_status kvf__tier_check_ids(const kvf_tier *tier, const uint64_t *ids, size_t count,
                               kvf_error *error) {
    if (!tier || (!ids && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= tier->blocks)
            return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                             .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_EXPECTED,
                             .id = ids[i], .index = i, .expected = tier->blocks,
                             .what = "id exceeds the tier's blocks");
    return KVF_OK;
}

/* With `order` held. */
static kvf_status check_idle(const kvf_tier *tier, const uint64_t *ids, size_t count,
                             kvf_error *error) {
    for (size_t i = 0; i < count; i++) {
        uint64_t after[KVF__LANES] = {0};
        kvf__slots_users(&tier->slots, ids[i], after);
        if (!kvf__engine_reached(tier->engine, after))
            return KVF__FAIL(error, .status = KVF_ERR_BUSY,
                             .fields = KVF_ERROR_ID | KVF_ERROR_INDEX, .id = ids[i], .index = i,
                             .what = "a transfer is using the block");
    }
    return KVF_OK;
}

kvf_status kvf_tier_idle(const kvf_tier *tier, const uint64_t *ids, size_t count,
                         kvf_error *error) {
    kvf_status status = kvf__tier_check_ids(tier, ids, count, error);
    if (status != KVF_OK)
        return status;
    pthread_mutex_lock(&tier->engine->order);
    status = check_idle(tier, ids, count, error);
    pthread_mutex_unlock(&tier->engine->order);
    return status;
}

kvf_status kvf_tier_seal(kvf_tier *tier, const uint64_t *ids, size_t count, kvf_error *error) {
    if (tier && !tier->sums)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "the tier was created without integrity");
    kvf_status status = kvf_tier_idle(tier, ids, count, error);
    for (size_t i = 0; status == KVF_OK && i < count; i++)
        for (size_t k = 0; k < tier->layout_count; k++)
            kvf__integrity_seal(tier, tier->layouts[k], (size_t)ids[i]);
    return status;
}
