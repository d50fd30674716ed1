#include "engine/integrity.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* What is known of a block's sum in a layout. */
enum {
    UNKNOWN, /* never written or sealed: passes */
    SEALED,
    WRITING, /* written but not sealed since: fails */
    TORN,    /* fails until the whole block is sealed */
};

/* No overflow: blocks are fewer than 2^31, layouts fewer than 2^32. */
static size_t sum_count(const kvf_tier *tier) {
    return tier->blocks * tier->layout_count;
}

bool kvf__integrity_init(kvf_tier *tier) {
    const kvf_allocator *a = &tier->engine->allocator;
    tier->sums = kvf__alloc_zero(a, sum_count(tier), sizeof *tier->sums);
    tier->sealed = kvf__alloc_zero(a, sum_count(tier), sizeof *tier->sealed);
    return tier->sums && tier->sealed;
}

void kvf__integrity_fini(kvf_tier *tier) {
    const kvf_allocator *a = &tier->engine->allocator;
    kvf__free(a, tier->sums, sum_count(tier), sizeof *tier->sums);
    kvf__free(a, tier->sealed, sum_count(tier), sizeof *tier->sealed);
}

static uint64_t sum_of(const kvf_layout *layout, size_t id) {
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *region = &layout->regions[i];
        const char *row = (const char *)region->base + id * region->block_stride;
        for (size_t r = 0; r < region->rows; r++, row += region->row_pitch)
            XXH3_64bits_update(&state, row, region->bytes);
    }
    return XXH3_64bits_digest(&state);
}

/* Index of a block's sum in a layout. */
static size_t place_of(const kvf_tier *tier, const kvf_layout *layout, size_t id) {
    size_t index = 0;
    while (tier->layouts[index] != layout)
        index++;
    return index * tier->blocks + id;
}

void kvf__integrity_seal(kvf_tier *tier, const kvf_layout *layout, size_t id) {
    size_t place = place_of(tier, layout, id);
    tier->sums[place] = sum_of(layout, id);
    atomic_store(&tier->sealed[place], SEALED);
}

bool kvf__integrity_verify(const kvf_tier *tier, const kvf_layout *layout, size_t id) {
    size_t place = place_of(tier, layout, id);
    switch (atomic_load(&tier->sealed[place])) {
    case UNKNOWN:
        return true;
    case SEALED:
        return tier->sums[place] == sum_of(layout, id);
    default:
        return false;
    }
}

void kvf__integrity_write(kvf_tier *tier, const kvf_layout *layout, size_t id) {
    atomic_uchar *sealed = &tier->sealed[place_of(tier, layout, id)];
    if (atomic_load(sealed) != TORN) /* no other thread sets TORN now */
        atomic_store(sealed, WRITING);
}

void kvf__integrity_before_part(kvf_tier *tier, const kvf_layout *layout, size_t id) {
    if (!kvf__integrity_verify(tier, layout, id))
        atomic_store(&tier->sealed[place_of(tier, layout, id)], TORN);
}

void kvf__integrity_seal_part(kvf_tier *tier, const kvf_layout *layout, size_t id) {
    if (atomic_load(&tier->sealed[place_of(tier, layout, id)]) != TORN)
        kvf__integrity_seal(tier, layout, id);
}
