/*
 * The blocks of a tier: which are free, in use or shared.
 *
 * A block is given back as soon as no new use of it will start. Transfers, or steps in a stream,
 * may still be using it. The tier tracks them, so the pool does not count them: it asks
 * kvf_tier_idle before it hands out a block.
 *
 * The engine orders transfers, and steps that wait for the blocks they write (machine.in_order). If
 * nothing else accesses a tier's memory, the pool also hands out blocks that are not idle when no
 * idle ones are left. Their new user then waits for them on the device, not on the host.
 */
#ifndef KVF_EXAMPLE_POOL_H
#define KVF_EXAMPLE_POOL_H

#include "machine.h"

typedef struct pool {
    machine *machine;
    kvf_memory kind;
    void *memory;
    kvf_layout *layout;
    kvf_tier *tier;
    bool in_order;  /* the engine orders all uses of its blocks */
    uint64_t *free; /* ids, longest free first; some may still be in use */
    size_t free_count;
    struct block *blocks; /* by id */
} pool;

struct block {
    size_t users;
    bool shared; /* other sequences with the prefix that ends in `hash` may use it */
    kvf_hash hash;
};

void pool_open_device(pool *device, machine *machine, const options *options);

/* Opens the host tier with the layout that the library recommends for the device's. */
void pool_open_host(pool *host, machine *machine, const options *options, const kvf_layout *device);
void pool_close(pool *pool);

/* Takes up to `most` blocks. Returns their number. */
size_t pool_take(pool *pool, uint64_t *ids, size_t most);

/* Removes a user from each block. Blocks without users become free. */
void pool_give(pool *pool, const uint64_t *ids, size_t count);

/* Makes a complete block available to pool_share, until it has no users. */
void pool_publish(pool *pool, uint64_t id, kvf_hash hash);

/* Finds a published block by its hash, and adds a user to it. Returns false if there is none. */
bool pool_share(pool *pool, kvf_hash hash, uint64_t *id);

/* Ends publishing: the block's content is corrupt. */
void pool_withdraw(pool *pool, uint64_t id);

#endif
