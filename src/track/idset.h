/*
 * A set of block ids. Sixty-four neighbouring ids share one entry of an open-addressing table,
 * since block ids come from pools: dense ids cost a bit each, scattered ones an entry.
 *
 *     entries   | key = id / 64, bits | ... | empty: bits = 0 | ...      used <= 3/4 of capacity
 *
 * Removing shifts later entries back, so that there are no tombstones and a set never grows by
 * churn.
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

/* How many of the ids, from the first on, are in the set without a gap. */
size_t kvf__idset_known_prefix(const kvf__idset *set, const uint64_t *ids, size_t count);

/* Adds the ids one by one until one is present already or there is no memory. Returns how many
 * were added; `*no_memory` tells why it stopped short. */
KVF__MODULES size_t kvf__idset_add(kvf__idset *set, const kvf_allocator *allocator,
                                   const uint64_t *ids, size_t count, bool *no_memory);

/* Removes ids that are in the set. */
void kvf__idset_remove(kvf__idset *set, const uint64_t *ids, size_t count);

/* Makes room for `count` ids in all, however scattered. */
bool kvf__idset_reserve(kvf__idset *set, const kvf_allocator *allocator, size_t count);

void kvf__idset_clear(kvf__idset *set);
bool kvf__idset_clone(const kvf__idset *set, const kvf_allocator *allocator, kvf__idset *out);
KVF__MODULES void kvf__idset_free(kvf__idset *set, const kvf_allocator *allocator);

/* Number of ids. Walks the table. */
size_t kvf__idset_count(const kvf__idset *set);

#endif
