#include "track/idset.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum { SMALLEST = 16 };

/* Where the search for a key starts, for any capacity. Multiples of the golden ratio spread
 * consecutive keys evenly (Knuth, The Art of Computer Programming 3, 6.4). */
static size_t home(uint64_t key, size_t capacity) {
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(((wide)hash * capacity) >> 64);
}

/* The key's entry, or the empty one where it belongs. The table is never full. */
static size_t locate(const kvf__idset *set, uint64_t key) {
    size_t at = home(key, set->capacity);
    while (set->entries[at].bits != 0 && set->entries[at].key != key)
        at = at + 1 == set->capacity ? 0 : at + 1;
    return at;
}

static bool contains(const kvf__idset *set, uint64_t id) {
    return set->capacity != 0 && (set->entries[locate(set, id / 64)].bits >> (id % 64) & 1) != 0;
}

bool kvf__idset_contains(const kvf__idset *set, uint64_t id) {
    return contains(set, id);
}

size_t kvf__idset_known_prefix(const kvf__idset *set, const uint64_t *ids, size_t count) {
    size_t known = 0;
    while (known < count && contains(set, ids[known]))
        known++;
    return known;
}

static bool rehash(kvf__idset *set, const kvf_allocator *allocator, size_t capacity) {
    kvf__idset grown = {.capacity = capacity, .used = set->used};
    grown.entries = kvf__alloc_zero(allocator, capacity, sizeof *grown.entries);
    if (!grown.entries)
        return false;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->entries[i].bits != 0)
            grown.entries[locate(&grown, set->entries[i].key)] = set->entries[i];
    kvf__idset_free(set, allocator);
    *set = grown;
    return true;
}

static bool full(const kvf__idset *set) {
    return set->used >= set->capacity - set->capacity / 4;
}

static bool grow(kvf__idset *set, const kvf_allocator *allocator) {
    size_t capacity = set->capacity ? set->capacity * 2 : SMALLEST;
    return capacity > set->capacity && rehash(set, allocator, capacity);
}

/* The key's entry, added if it is missing; NULL: out of memory. */
static kvf__idset_entry *demand(kvf__idset *set, const kvf_allocator *allocator, uint64_t key) {
    if (set->capacity == 0 && !grow(set, allocator))
        return NULL;
    size_t at = locate(set, key);
    if (set->entries[at].bits == 0) {
        if (full(set)) {
            if (!grow(set, allocator))
                return NULL;
            at = locate(set, key);
        }
        set->entries[at].key = key;
        set->used++;
    }
    return &set->entries[at];
}

size_t kvf__idset_add(kvf__idset *set, const kvf_allocator *allocator, const uint64_t *ids,
                      size_t count, bool *no_memory) {
    *no_memory = false;
    for (size_t i = 0; i < count;) {
        uint64_t key = ids[i] / 64;
        kvf__idset_entry *entry = demand(set, allocator, key);
        if (!entry) {
            *no_memory = true;
            return i;
        }
        /* Neighbouring ids usually come together: keep their bits in a register. */
        uint64_t bits = entry->bits, bit = UINT64_C(1) << (ids[i] % 64);
        while (!(bits & bit)) {
            bits |= bit;
            if (++i == count || ids[i] / 64 != key)
                break;
            bit = UINT64_C(1) << (ids[i] % 64);
        }
        entry->bits = bits;
        if (i < count && ids[i] / 64 == key)
            return i;
    }
    return count;
}

/* Closes the gap at an entry that has become empty: entries that were pushed past it move back. */
static void close_gap(kvf__idset *set, size_t gap) {
    set->used--;
    for (size_t at = gap;;) {
        at = at + 1 == set->capacity ? 0 : at + 1;
        if (set->entries[at].bits == 0)
            break;
        size_t from = home(set->entries[at].key, set->capacity);
        bool passes_gap = gap <= at ? from <= gap || from > at : from <= gap && from > at;
        if (!passes_gap)
            continue;
        set->entries[gap] = set->entries[at];
        gap = at;
    }
    set->entries[gap].bits = 0;
}

void kvf__idset_remove(kvf__idset *set, const uint64_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t at = locate(set, ids[i] / 64);
        set->entries[at].bits &= ~(UINT64_C(1) << (ids[i] % 64));
        if (set->entries[at].bits == 0)
            close_gap(set, at);
    }
}

bool kvf__idset_reserve(kvf__idset *set, const kvf_allocator *allocator, size_t count) {
    size_t capacity;
    if (!kvf__add(count, count / 3 + 2, &capacity))
        return false;
    if (capacity < SMALLEST) /* full() rounds down: a table of fewer than 4 entries could fill up */
        capacity = SMALLEST;
    return capacity <= set->capacity || rehash(set, allocator, capacity);
}

void kvf__idset_clear(kvf__idset *set) {
    if (set->used != 0)
        memset(set->entries, 0, set->capacity * sizeof *set->entries);
    set->used = 0;
}

bool kvf__idset_clone(const kvf__idset *set, const kvf_allocator *allocator, kvf__idset *out) {
    *out = (kvf__idset){0};
    if (set->capacity == 0)
        return true;
    out->entries = kvf__alloc(allocator, set->capacity, sizeof *out->entries);
    if (!out->entries)
        return false;
    memcpy(out->entries, set->entries, set->capacity * sizeof *out->entries);
    out->capacity = set->capacity;
    out->used = set->used;
    return true;
}

void kvf__idset_free(kvf__idset *set, const kvf_allocator *allocator) {
    kvf__free(allocator, set->entries, set->capacity, sizeof *set->entries);
    *set = (kvf__idset){0};
}

size_t kvf__idset_count(const kvf__idset *set) {
    size_t count = 0;
    for (size_t i = 0; i < set->capacity; i++)
        count += (size_t)__builtin_popcountll(set->entries[i].bits);
    return count;
}
