/* Which slot of one tier holds which block, and which block to give up when the tier is full.
 *
 * Slots are 0 .. capacity - 1. A slot is free, or holds the block of one hash. Slots in use are
 * pinned, or in a queue from the least to the most recently used; a full tier gives up the front of
 * that queue. Everything follows from the calls alone, so that a replay repeats exactly.
 */
#ifndef KVF_BENCH_LRU_H
#define KVF_BENCH_LRU_H

#include <kvferry/hash.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lru lru;

#define LRU_NONE UINT32_MAX

/* `capacity` is 1 to 2^31 - 1. NULL when there is no memory. */
lru *lru_create(size_t capacity);
void lru_destroy(lru *lru);

/* The slot of a block, or LRU_NONE. */
uint32_t lru_find(const lru *lru, kvf_hash hash);

/* A pinned slot for a block that is not there: a free one, else that of the least recently used
 * block, which is forgotten. LRU_NONE when every slot is pinned. */
uint32_t lru_take(lru *lru, kvf_hash hash);

/* Keeps a slot in use from being given up. Not for one that is pinned already. */
void lru_pin(lru *lru, uint32_t slot);

/* Makes a pinned slot the most recently used one. */
void lru_unpin(lru *lru, uint32_t slot);

/* Slots in use, now. It never falls. */
size_t lru_used(const lru *lru);

#endif
