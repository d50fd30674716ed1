/*
 * The blocks of a tier: which are free, and which have content that other sequences may share.
 *
 * A block is given back as soon as no sequence needs it. At that time a transfer, or a step in a
 * stream, may still read or write it. The tier tracks these uses, so the pool does not: it asks
 * kvf_tier_idle before it hands out a block.
 *
 * Uses that the engine orders need no such question: transfers, and steps that wait for the blocks
 * they write. If a tier has no other uses (`in_order`), the pool also hands out blocks that are not
 * idle when no idle ones are left. Their new user then waits on the device, not on the host.
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
    bool in_order;  /* the engine orders all uses of the blocks */
    uint64_t *free; /* ids, the longest free first; transfers or steps may still use some */
    size_t free_count;
    struct block {
        size_t users; /* sequences */
        bool shared;  /* sequences with a prefix that ends in `hash` may use the block, too */
        kvf_hash hash;
    } * blocks;
} pool;

void pool_open_device(pool *device, machine *machine, const options *options);
/* The host tier's layout pairs with `device`. */
void pool_open_host(pool *host, machine *machine, const options *options, const kvf_layout *device);
void pool_close(pool *pool);

/* Takes up to `most` blocks and writes their ids; returns their number. */
size_t pool_take(pool *pool, uint64_t *ids, size_t most);

/* Removes one user of each of these blocks; a block without users is free. */
void pool_give(pool *pool, const uint64_t *ids, size_t count);

/* Makes a complete block available to pool_share, until its last user gives it back. */
void pool_publish(pool *pool, uint64_t id, kvf_hash hash);

/* Finds a published block by its hash and adds a user. false: none has this hash. */
bool pool_share(pool *pool, kvf_hash hash, uint64_t *id);

/* Makes a block unavailable to pool_share, because its content is bad. */
void pool_withdraw(pool *pool, uint64_t id);

#endif
