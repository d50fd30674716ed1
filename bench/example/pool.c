#include "pool.h"

#include <stdlib.h>

static void open_tier(pool *pool, size_t blocks, bool integrity) {
    const kvf_tier_options options = {
        .layouts = (const kvf_layout *[]){pool->layout},
        .layout_count = 1,
        .memory = pool->kind,
        .integrity = integrity,
    };
    kvf_error error = {0};
    check(kvf_tier_create(pool->machine->engine, &options, &pool->tier, &error), &error);
    pool->free = must_have(blocks, sizeof *pool->free);
    pool->blocks = must_have(blocks, sizeof *pool->blocks);
    for (uint64_t id = 0; id < blocks; id++)
        pool->free[pool->free_count++] = id;
}

static kvf_buffer allocate(pool *pool, size_t bytes) {
    pool->memory = pool->machine->allocate(pool->machine, pool->kind, bytes);
    if (!pool->memory)
        die("creating a tier", "out of memory");
    return (kvf_buffer){.base = pool->memory, .bytes = bytes};
}

/* One buffer per layer, as kernels expect it in most runtimes. */
void pool_open_device(pool *device, machine *machine, const options *options) {
    const kvf_shape shape = {
        .blocks = options->device_blocks,
        .layers = options->layers,
        .parts = PARTS,
        .bytes = options->block_tokens * options->token_bytes,
    };
    const size_t bytes = shape.blocks * PARTS * shape.bytes;
    kvf_error error = {0};
    *device =
        (pool){.machine = machine, .kind = machine->device_memory, .in_order = machine->in_order};
    char *memory = allocate(device, options->layers * bytes).base;
    kvf_buffer *buffers = must_have(options->layers, sizeof *buffers);
    for (size_t layer = 0; layer < options->layers; layer++)
        buffers[layer] = (kvf_buffer){.base = memory + layer * bytes, .bytes = bytes};
    check(kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &device->layout, &error), &error);
    free(buffers);
    open_tier(device, shape.blocks, false);
}

/* Whole blocks, as the library recommends: copies are then large at least on this side. */
void pool_open_host(pool *host, machine *machine, const options *options,
                    const kvf_layout *device) {
    const size_t blocks = options->host_blocks;
    kvf_error error = {0};
    *host = (pool){.machine = machine, .kind = machine->host_memory, .in_order = true};
    kvf_buffer buffer = allocate(host, kvf_layout_recommend_bytes(device, blocks));
    check(kvf_layout_recommend(device, KVF_USE_WHOLE_BLOCKS, blocks, buffer, NULL, &host->layout,
                               &error),
          &error);
    open_tier(host, blocks, options->integrity);
}

/* The tier must be destroyed before its memory is freed. */
void pool_close(pool *pool) {
    kvf_tier_destroy(pool->tier);
    kvf_layout_destroy(pool->layout);
    pool->machine->release(pool->machine, pool->kind, pool->memory);
    free(pool->free);
    free(pool->blocks);
}

/* Takes the blocks that were freed first: they are most likely to be idle. */
static size_t take(pool *pool, uint64_t *ids, size_t most, bool idle) {
    size_t taken = 0, kept = 0;
    for (size_t i = 0; i < pool->free_count; i++) {
        uint64_t id = pool->free[i];
        if (taken < most && (!idle || kvf_tier_idle(pool->tier, &id, 1, NULL) == KVF_OK)) {
            pool->blocks[id] = (struct block){.users = 1};
            ids[taken++] = id;
        } else {
            pool->free[kept++] = id; /* probably BUSY: stays free for later */
        }
    }
    pool->free_count = kept;
    return taken;
}

size_t pool_take(pool *pool, uint64_t *ids, size_t most) {
    size_t taken = take(pool, ids, most, true);
    return pool->in_order ? taken + take(pool, ids + taken, most - taken, false) : taken;
}

void pool_give(pool *pool, const uint64_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct block *block = &pool->blocks[ids[i]];
        if (--block->users == 0) {
            block->shared = false;
            pool->free[pool->free_count++] = ids[i];
        }
    }
}

void pool_publish(pool *pool, uint64_t id, kvf_hash hash) {
    pool->blocks[id].shared = true;
    pool->blocks[id].hash = hash;
}

/* A real runtime uses a hash table here. */
bool pool_share(pool *pool, kvf_hash hash, uint64_t *id) {
    for (uint64_t i = 0; i < kvf_tier_blocks(pool->tier); i++) {
        if (pool->blocks[i].shared && kvf_hash_equal(pool->blocks[i].hash, hash)) {
            pool->blocks[i].users++;
            *id = i;
            return true;
        }
    }
    return false;
}

void pool_withdraw(pool *pool, uint64_t id) {
    pool->blocks[id].shared = false;
}
