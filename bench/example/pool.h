/*
 * The blocks of a tier: which are free, and which hold what others may share.
 *
 * Blocks are given back as soon as nobody will use them any more, which is sooner than those who
 * use them now are through: a transfer may still read or write them, or a step in a stream. The
 * tier knows, and nobody here keeps count: before a block is handed out, kvf_tier_idle is asked.
 *
 * What the engine orders by itself needs no asking: transfers, and steps that wait for the blocks
 * they write. Where nothing else touches a tier's memory, blocks that are not idle are handed out
 * too, if there are no others, and whoever gets them waits for them on the device and not on the
 * host.
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
    bool in_order;  /* all who use its blocks are ordered by the engine */
    uint64_t *free; /* ids, those longest free first; some may be in use still */
    size_t free_count;
    struct block {
        size_t users;
        bool shared; /* whoever has a prefix that ends in `hash` may use it too */
        kvf_hash hash;
    } * blocks;
} pool;

void pool_open_device(pool *device, machine *machine, const options *options);
/* With a layout that pairs with the device's. */
void pool_open_host(pool *host, machine *machine, const options *options, const kvf_layout *device);
void pool_close(pool *pool);

/* Takes up to `most` blocks; returns how many. */
size_t pool_take(pool *pool, uint64_t *ids, size_t most);

/* A user of these blocks is done with them. */
void pool_give(pool *pool, const uint64_t *ids, size_t count);

/* From now on, until its last user is done with it, a complete block can be found, ... */
void pool_publish(pool *pool, uint64_t id, kvf_hash hash);

/* ... which makes one more user of it; ... */
bool pool_share(pool *pool, kvf_hash hash, uint64_t *id);

/* ... or not any more: its content has gone bad. */
void pool_withdraw(pool *pool, uint64_t id);

#endif
