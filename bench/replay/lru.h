/* Which slot of a tier holds which block, and which block to evict when the tier is full.
 *
 * Slots are 0 .. capacity - 1. A slot is free or holds the block of one hash. Slots in use are
 * pinned, or in a queue from the least to the most recently used; a full tier evicts the front of
 * that queue. Results depend only on the calls, so that a replay is repeatable.
 */
#ifndef KVF_BENCH_LRU_H
#define KVF_BENCH_LRU_H

#include <kvferry/hash.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lru lru;

#define LRU_NONE UINT32_MAX

/* `capacity` is 1 to 2^31 - 1. Returns NULL when memory runs out. */
lru *lru_create(size_t capacity);
void lru_destroy(lru *lru);

/* The slot of a block, or LRU_NONE. */
uint32_t lru_find(const lru *lru, kvf_hash hash);

/* Takes a slot for a block that has none, and pins it: a free slot, else that of the least recently
 * used block, which is evicted. Returns LRU_NONE if every slot is pinned. */
uint32_t lru_take(lru *lru, kvf_hash hash);

/* Protects a slot in use from eviction. It must not be pinned yet. */
void lru_pin(lru *lru, uint32_t slot);

/* Unpins a slot, which becomes the most recently used one. */
void lru_unpin(lru *lru, uint32_t slot);

/* The number of slots in use. It never falls. */
size_t lru_used(const lru *lru);

#endif
