/*
 * A set of block ids. Sixty-four neighbouring ids share one entry of an open-addressing table,
 * since block ids come from pools: dense ids cost a bit each, scattered ones an entry.
 *
 *     entries   | key = id / 64, bits | ... | empty: bits = 0 | ...      used <= 3/4 of capacity
 *
 * Removing shifts later entries back, which leaves no tombstones: adding and removing the same
 * number of ids never makes the set grow.
 */
#ifndef KVF_IDSET_H
#define KVF_IDSET_H

#include "base/allocator.h"

typedef struct kvf__idset_entry {
    uint64_t key, bits;
} kvf__idset_entry;

typedef struct kvf__idset {
    kvf__idset_entry *entries;
    size_t capacity, used;
} kvf__idset;

KVF__MODULES bool kvf__idset_contains(const kvf__idset *set, uint64_t id);

/* How many ids are in the set before the first one that is not. */
size_t kvf__idset_known_prefix(const kvf__idset *set, const uint64_t *ids, size_t count);

/* Adds ids until one is present already or memory runs out. Returns how many were added;
 * `*no_memory` tells which of the two stopped it. */
KVF__MODULES size_t kvf__idset_add(kvf__idset *set, const kvf_allocator *allocator,
                                   const uint64_t *ids, size_t count, bool *no_memory);

/* Removes ids, all of which are in the set. */
void kvf__idset_remove(kvf__idset *set, const uint64_t *ids, size_t count);

/* Makes room for `count` ids in total, even if no two of them share an entry. */
bool kvf__idset_reserve(kvf__idset *set, const kvf_allocator *allocator, size_t count);

void kvf__idset_clear(kvf__idset *set);
bool kvf__idset_clone(const kvf__idset *set, const kvf_allocator *allocator, kvf__idset *out);
KVF__MODULES void kvf__idset_free(kvf__idset *set, const kvf_allocator *allocator);

/* Number of ids. Walks the table. */
size_t kvf__idset_count(const kvf__idset *set);

#endif
