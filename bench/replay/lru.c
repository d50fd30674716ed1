#include "replay/lru.h"

#include <assert.h>
#include <stdlib.h>

/* The queue is a ring of slots. Node `capacity` is its head, not a slot:
 *
 *     capacity -> least recent -> ... -> most recent -> capacity
 *
 * A pinned slot is not in the ring and points to itself. The table maps hashes to slots, with open
 * addressing and linear probing; it is at most half full. */
typedef struct node {
    kvf_hash hash;
    uint32_t before, after;
} node;

struct lru {
    size_t capacity, used; /* slots used .. capacity - 1 are free */
    node *nodes;           /* [capacity + 1] */
    uint32_t *table;       /* [mask + 1], LRU_NONE for empty */
    size_t mask;
};

static size_t home(const lru *lru, kvf_hash hash) {
    uint64_t x = (hash.low ^ (hash.high * UINT64_C(0x9e3779b97f4a7c15)));
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return (size_t)(x ^ (x >> 32)) & lru->mask;
}

lru *lru_create(size_t capacity) {
    lru *made = calloc(1, sizeof *made);
    if (!made || capacity == 0 || capacity > INT32_MAX) {
        free(made);
        return NULL;
    }
    size_t table = 2;
    while (table < 2 * capacity)
        table *= 2;
    made->capacity = capacity;
    made->mask = table - 1;
    made->nodes = calloc(capacity + 1, sizeof *made->nodes);
    made->table = malloc(table * sizeof *made->table);
    if (!made->nodes || !made->table) {
        lru_destroy(made);
        return NULL;
    }
    made->nodes[capacity].before = made->nodes[capacity].after = (uint32_t)capacity;
    for (size_t i = 0; i < table; i++)
        made->table[i] = LRU_NONE;
    return made;
}

void lru_destroy(lru *lru) {
    if (lru) {
        free(lru->nodes);
        free(lru->table);
        free(lru);
    }
}

/* The hash's index in the table, or that of the empty entry where it belongs. */
static size_t probe(const lru *lru, kvf_hash hash) {
    size_t at = home(lru, hash);
    while (lru->table[at] != LRU_NONE && !kvf_hash_equal(lru->nodes[lru->table[at]].hash, hash))
        at = (at + 1) & lru->mask;
    return at;
}

uint32_t lru_find(const lru *lru, kvf_hash hash) {
    return lru->table[probe(lru, hash)];
}

/* Removes an entry, and moves up following ones that would no longer be found. */
static void forget(lru *lru, kvf_hash hash) {
    size_t hole = probe(lru, hash);
    size_t at = hole;
    for (;;) {
        lru->table[hole] = LRU_NONE;
        do {
            at = (at + 1) & lru->mask;
            if (lru->table[at] == LRU_NONE)
                return;
            /* An entry may move into the hole unless its home lies between the two. */
        } while (((at - home(lru, lru->nodes[lru->table[at]].hash)) & lru->mask) <
                 ((at - hole) & lru->mask));
        lru->table[hole] = lru->table[at];
        hole = at;
    }
}

void lru_pin(lru *lru, uint32_t slot) {
    node *node = &lru->nodes[slot];
    assert(slot < lru->used && node->after != slot);
    lru->nodes[node->before].after = node->after;
    lru->nodes[node->after].before = node->before;
    node->before = node->after = slot;
}

void lru_unpin(lru *lru, uint32_t slot) {
    node *node = &lru->nodes[slot];
    struct node *ring = &lru->nodes[lru->capacity];
    assert(slot < lru->used && node->after == slot);
    node->before = ring->before;
    node->after = (uint32_t)lru->capacity;
    lru->nodes[ring->before].after = slot;
    ring->before = slot;
}

uint32_t lru_take(lru *lru, kvf_hash hash) {
    uint32_t slot = lru->nodes[lru->capacity].after;
    assert(lru_find(lru, hash) == LRU_NONE);
    if (lru->used < lru->capacity) {
        slot = (uint32_t)lru->used++;
    } else if (slot == lru->capacity) {
        return LRU_NONE;
    } else {
        lru_pin(lru, slot);
        forget(lru, lru->nodes[slot].hash);
    }
    lru->nodes[slot] = (node){.hash = hash, .before = slot, .after = slot};
    lru->table[probe(lru, hash)] = slot;
    return slot;
}

size_t lru_used(const lru *lru) {
    return lru->used;
}
