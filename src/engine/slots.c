#include "engine/slots.h"

bool kvf__slots_init(kvf__slots *slots, const kvf_allocator *allocator, size_t blocks) {
    *slots = (kvf__slots){.blocks = blocks};
    slots->writer = kvf__alloc_zero(allocator, blocks, sizeof *slots->writer);
    slots->readers = kvf__alloc_zero(allocator, blocks, sizeof *slots->readers);
    if (slots->writer && slots->readers)
        return true;
    kvf__slots_free(slots, allocator);
    return false;
}

void kvf__slots_free(kvf__slots *slots, const kvf_allocator *allocator) {
    kvf__free(allocator, slots->writer, slots->blocks, sizeof *slots->writer);
    kvf__free(allocator, slots->readers, slots->blocks, sizeof *slots->readers);
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        kvf__free(allocator, slots->reader[lane], slots->blocks, sizeof *slots->reader[lane]);
    *slots = (kvf__slots){0};
}

bool kvf__slots_prepare(kvf__slots *slots, const kvf_allocator *allocator, unsigned lane) {
    if (!slots->reader[lane])
        slots->reader[lane] = kvf__alloc_zero(allocator, slots->blocks, sizeof(uint64_t));
    return slots->reader[lane] != NULL;
}

static void raise(uint64_t after[KVF__LANES], unsigned lane, uint64_t sequence) {
    if (after[lane] < sequence)
        after[lane] = sequence;
}

void kvf__slots_writer(const kvf__slots *slots, size_t id, uint64_t after[KVF__LANES]) {
    uint64_t writer = slots->writer[id];
    raise(after, (unsigned)(writer % KVF__LANES), writer / KVF__LANES);
}

void kvf__slots_users(const kvf__slots *slots, size_t id, uint64_t after[KVF__LANES]) {
    kvf__slots_writer(slots, id, after);
    for (uint32_t readers = slots->readers[id]; readers != 0; readers &= readers - 1) {
        unsigned lane = (unsigned)__builtin_ctz(readers);
        raise(after, lane, slots->reader[lane][id]);
    }
}

/* Scattered ids miss the caches: prefetch this many runs ahead. */
enum { AHEAD = 16 };

static void fetch_ahead(const kvf__slots *slots, const kvf__runs *runs, size_t r,
                        const uint64_t *reader) {
    if (r + AHEAD >= runs->count)
        return;
    uint32_t id = runs->items[r + AHEAD].src;
    __builtin_prefetch(&slots->writer[id]);
    __builtin_prefetch(&slots->readers[id], 1);
    __builtin_prefetch(&reader[id], 1);
}

void kvf__slots_read(kvf__slots *slots, const kvf__runs *runs, unsigned lane, uint64_t sequence,
                     uint64_t after[KVF__LANES]) {
    uint64_t *reader = slots->reader[lane];
    uint32_t bit = UINT32_C(1) << lane;
    for (size_t r = 0; r < runs->count; r++) {
        const kvf__run *run = &runs->items[r];
        uint32_t id = run->src;
        fetch_ahead(slots, runs, r, reader);
        for (uint32_t i = 0; i < run->count; i++, id += (uint32_t)run->src_step) {
            kvf__slots_writer(slots, id, after);
            reader[id] = sequence;
            slots->readers[id] |= bit;
        }
    }
}

void kvf__slots_write(kvf__slots *slots, const kvf__runs *runs, unsigned lane, uint64_t sequence,
                      uint64_t after[KVF__LANES]) {
    for (size_t r = 0; r < runs->count; r++) {
        const kvf__run *run = &runs->items[r];
        uint32_t id = run->dst;
        for (uint32_t i = 0; i < run->count; i++, id += (uint32_t)run->dst_step) {
            kvf__slots_users(slots, id, after);
            slots->writer[id] = sequence * KVF__LANES + lane;
            slots->readers[id] = 0;
        }
    }
}

void kvf__slots_mark(kvf__slots *slots, size_t id, bool write, unsigned lane, uint64_t sequence) {
    if (write) {
        slots->writer[id] = sequence * KVF__LANES + lane;
        slots->readers[id] = 0;
    } else {
        slots->reader[lane][id] = sequence;
        slots->readers[id] |= UINT32_C(1) << lane;
    }
}
