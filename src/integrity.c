#include "integrity.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

bool kvf__integrity_init(kvf_tier *tier) {
    const kvf_allocator *a = &tier->engine->allocator;
    tier->sums = kvf__alloc_zero(a, tier->blocks, sizeof *tier->sums);
    tier->sealed = kvf__alloc_zero(a, tier->blocks, sizeof *tier->sealed);
    return tier->sums && tier->sealed;
}

void kvf__integrity_fini(kvf_tier *tier) {
    const kvf_allocator *a = &tier->engine->allocator;
    kvf__free(a, tier->sums, tier->blocks, sizeof *tier->sums);
    kvf__free(a, tier->sealed, tier->blocks, sizeof *tier->sealed);
}

static void hash_layout(XXH3_state_t *state, const kvf_layout *layout, size_t id) {
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *region = &layout->regions[i];
        const char *row = (const char *)region->base + id * region->block_stride;
        for (size_t r = 0; r < region->rows; r++, row += region->row_pitch)
            XXH3_64bits_update(state, row, region->bytes);
    }
}

static uint64_t sum_of(const kvf_tier *tier, size_t id) {
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (size_t i = 0; i < tier->layout_count; i++)
        hash_layout(&state, tier->layouts[i], id);
    return XXH3_64bits_digest(&state);
}

void kvf__integrity_seal(kvf_tier *tier, size_t id) {
    tier->sums[id] = sum_of(tier, id);
    atomic_store(&tier->sealed[id], 1);
}

bool kvf__integrity_verify(const kvf_tier *tier, size_t id) {
    return atomic_load(&tier->sealed[id]) == 0 || tier->sums[id] == sum_of(tier, id);
}
