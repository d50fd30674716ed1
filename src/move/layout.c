#include "move/layout.h"

#include "base/allocator.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Wide enough for the difference of any two addresses plus any sum of strides. */
__extension__ typedef __int128 wide;

/* Overlap */

/* The offsets 0, step, ... (count - 1) * step. The step of a single offset is 0. */
typedef struct axis {
    size_t count, step;
} axis;

/* A region: pieces of `width` bytes at outer offset + inner offset, with inner.step <= outer.step:
 *
 *     |w| |w| |w|         |w| |w| |w|         ...
 *      <-> inner.step
 *      <------------------> outer.step
 *
 * Blocks are the outer axis and rows the inner one, or the reverse (token first).
 */
typedef struct lattice {
    axis outer, inner;
    size_t width;
} lattice;

static axis axis_make(size_t count, size_t step) {
    return count > 1 ? (axis){count, step} : (axis){1, 0};
}

static lattice lattice_make(axis a, axis b, size_t width) {
    return a.step >= b.step ? (lattice){a, b, width} : (lattice){b, a, width};
}

/* Rows without gaps form one piece. */
static bool is_solid(const kvf_region *r) {
    return r->row_pitch == r->bytes;
}

static wide divide_down(wide a, size_t b) {
    wide quotient = a / (wide)b;
    return quotient * (wide)b > a ? quotient - 1 : quotient;
}

static wide divide_up(wide a, size_t b) {
    return -divide_down(-a, b);
}

typedef struct step_range {
    wide first, last; /* both included; none when last < first */
} step_range;

/* All k with |k| < count and low <= distance + k * step <= high. */
static step_range steps_into(axis a, wide distance, wide low, wide high) {
    if (a.step == 0)
        return low <= distance && distance <= high ? (step_range){0, 0} : (step_range){0, -1};
    const wide most = (wide)a.count - 1;
    step_range s = {divide_up(low - distance, a.step), divide_down(high - distance, a.step)};
    if (s.first < -most)
        s.first = -most;
    if (s.last > most)
        s.last = most;
    return s;
}

/* Whether distance + k * outer.step + m * inner.step lies in [low, high] for some k >= from and
 * some m. Tries only those k that bring it within reach of the inner axis: at most three where one
 * axis fits into a step of the other. */
static bool meets(const lattice *l, wide distance, wide low, wide high, wide from) {
    const wide reach = ((wide)l->inner.count - 1) * (wide)l->inner.step;
    step_range outer = steps_into(l->outer, distance, low - reach, high + reach);
    if (outer.first < from)
        outer.first = from;
    for (wide k = outer.first; k <= outer.last; k++) {
        step_range inner = steps_into(l->inner, distance + k * (wide)l->outer.step, low, high);
        if (inner.first <= inner.last)
            return true;
    }
    return false;
}

/* By symmetry k > 0 suffices; k = 0 is the inner axis alone. */
static bool meets_itself(const kvf_region *r, size_t blocks) {
    lattice l = lattice_make(axis_make(blocks, r->block_stride), axis_make(r->rows, r->row_pitch),
                             r->bytes);
    if ((l.outer.count > 1 && l.outer.step < l.width) ||
        (l.inner.count > 1 && l.inner.step < l.width))
        return true;
    return meets(&l, 0, 1 - (wide)l.width, (wide)l.width - 1, 1);
}

/* Whether a and b share a byte; a starts `distance` bytes below b. Called only for regions whose
 * extents meet. Regions that do not advance alike then count as overlapping: no layout in use
 * interleaves those. */
static bool meet(const kvf_region *a, const kvf_region *b, size_t distance, size_t blocks) {
    const axis block_axis = axis_make(blocks, a->block_stride);
    if (blocks > 1 && a->block_stride != b->block_stride)
        return true;
    lattice l;
    wide a_bytes, b_bytes;
    if (is_solid(a) && is_solid(b)) {
        l = lattice_make(block_axis, axis_make(1, 0), 0);
        a_bytes = (wide)(a->rows * a->bytes);
        b_bytes = (wide)(b->rows * b->bytes);
    } else if (a->rows == b->rows && a->row_pitch == b->row_pitch) {
        l = lattice_make(block_axis, axis_make(a->rows, a->row_pitch), 0);
        a_bytes = (wide)a->bytes;
        b_bytes = (wide)b->bytes;
    } else {
        return true;
    }
    return meets(&l, (wide)distance, 1 - b_bytes, a_bytes - 1, -(wide)l.outer.count);
}

/* First and last address of a region over all blocks. */
typedef struct extent {
    size_t start, last;
    kvf__region_ref ref;
} extent;

static int compare_extents(const void *a, const void *b) {
    const extent *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->ref.region < y->ref.region ? -1 : x->ref.region > y->ref.region;
}

/* false: an address overflows. The end must be an address too, as an end pointer is. */
static bool region_extent(const kvf_region *r, size_t blocks, extent *out) {
    const size_t start = (size_t)(uintptr_t)r->base;
    size_t blocks_reach, rows_reach, end;
    if (!kvf__mul(blocks - 1, r->block_stride, &blocks_reach) ||
        !kvf__mul(r->rows - 1, r->row_pitch, &rows_reach) || !kvf__add(start, blocks_reach, &end) ||
        !kvf__add(end, rows_reach, &end) || !kvf__add(end, r->bytes, &end))
        return false;
    *out = (extent){.start = start, .last = end - 1};
    return end - start <= PTRDIFF_MAX; /* pitches are signed */
}

/* Sweeps over the extents in the order of addresses, comparing only neighbours. */
static kvf_status check_pairs(const kvf_layout *layout, const extent *extents, kvf_error *error) {
    for (size_t i = 0; i < layout->count; i++) {
        const extent *a = &extents[i];
        for (size_t k = i + 1; k < layout->count && extents[k].start <= a->last; k++) {
            const size_t x = a->ref.region, y = extents[k].ref.region;
            if (!meet(&layout->regions[x], &layout->regions[y], extents[k].start - a->start,
                      layout->blocks))
                continue;
            return KVF__FAIL(error, .status = KVF_ERR_LAYOUT,
                             .fields = KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
                             .index = x > y ? x : y, .other_index = x > y ? y : x,
                             .what = "two regions overlap");
        }
    }
    return KVF_OK;
}

/* Also fills in `refs`. */
static kvf_status check_overlap(const kvf_layout *layout, kvf__region_ref *refs, kvf_error *error) {
    uint32_t layer = 0;
    extent *extents = kvf__alloc(&layout->allocator, layout->count, sizeof *extents);
    if (!extents)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *r = &layout->regions[i];
        layer += i > 0 && r->layer != r[-1].layer;
        region_extent(r, layout->blocks, &extents[i]);
        extents[i].ref = (kvf__region_ref){i, layer};
    }
    qsort(extents, layout->count, sizeof *extents, compare_extents);
    for (size_t i = 0; i < layout->count; i++)
        refs[i] = extents[i].ref;
    kvf_status status = check_pairs(layout, extents, error);
    kvf__free(&layout->allocator, extents, layout->count, sizeof *extents);
    return status;
}

/* Creating */

static kvf_status fail_region(kvf_error *error, kvf_status status, size_t index, const char *what) {
    return KVF__FAIL(error, .status = status, .fields = KVF_ERROR_INDEX, .index = index,
                     .what = what);
}

/* The error in a tile, or in an opaque region with tokens or heads; NULL: there is none. The
 * region's addresses do not overflow. */
static const char *find_tile_fault(const kvf_region *r) {
    size_t pieces;
    if (r->order != KVF_ORDER_OPAQUE && r->order != KVF_ORDER_NHD && r->order != KVF_ORDER_HND)
        return "unknown region order";
    if (!kvf__is_tile(r))
        return r->tokens || r->heads ? "an opaque region must not have tokens or heads" : NULL;
    if (r->tokens == 0 || r->heads == 0)
        return "a tile needs tokens and heads";
    if (!kvf__mul(r->tokens, r->heads, &pieces) || kvf__region_bytes(r) % pieces != 0)
        return "tokens times heads must divide a tile's bytes";
    if (r->rows != 1 && r->rows != (r->order == KVF_ORDER_NHD ? r->tokens : r->heads))
        return "a tile's rows must be 1 or its outer count";
    return NULL;
}

static kvf_status check_region(const kvf_layout *layout, size_t index, kvf_error *error) {
    const kvf_region *r = &layout->regions[index];
    extent unused;
    if (!r->base)
        return fail_region(error, KVF_ERR_INVALID, index, "a region's base is NULL");
    if (r->bytes == 0)
        return fail_region(error, KVF_ERR_INVALID, index, "a region's bytes are 0");
    if (r->row_pitch < r->bytes)
        return fail_region(error, KVF_ERR_INVALID, index,
                           "a row pitch must be at least the row's bytes");
    if (index > 0 && r->layer < r[-1].layer)
        return fail_region(error, KVF_ERR_INVALID, index, "layers must not descend");
    if (!region_extent(r, layout->blocks, &unused))
        return fail_region(error, KVF_ERR_RANGE, index, "a region's addresses overflow");
    const char *tile_fault = find_tile_fault(r);
    if (tile_fault)
        return fail_region(error, KVF_ERR_INVALID, index, tile_fault);
    if (meets_itself(r, layout->blocks))
        return fail_region(error, KVF_ERR_LAYOUT, index, "a region's blocks or rows overlap");
    return KVF_OK;
}

static void copy_regions(kvf_layout *layout, const kvf_region *regions) {
    for (size_t i = 0; i < layout->count; i++) {
        kvf_region *r = &layout->regions[i];
        *r = regions[i];
        if (r->rows == 0)
            r->rows = 1;
        if (r->rows == 1)
            r->row_pitch = r->bytes;
    }
}

/* Nothing overflows: the bytes are all at different addresses. */
static void sum_up(kvf_layout *layout) {
    layout->layers = 1;
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *r = &layout->regions[i];
        layout->block_bytes += kvf__region_bytes(r);
        if (i > 0 && r->layer != r[-1].layer)
            layout->layers++;
    }
}

static void digest_number(XXH3_state_t *state, uint64_t number) {
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    XXH3_64bits_update(state, bytes, sizeof bytes);
}

/*     | count | region 0: bytes | rows | layer | part | kind | region 1: ... |   u64 each
 *
 * A tile is: all its bytes | 0 | layer | part | kind | tokens | heads. No other region has 0 rows,
 * so that different lists of regions never give the same numbers. */
static uint64_t digest_regions(const kvf_layout *layout) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    digest_number(&state, layout->count);
    for (size_t i = 0; i < layout->count; i++) {
        const kvf_region *r = &layout->regions[i];
        const bool tile = kvf__is_tile(r);
        digest_number(&state, tile ? kvf__region_bytes(r) : r->bytes);
        digest_number(&state, tile ? 0 : r->rows);
        digest_number(&state, r->layer);
        digest_number(&state, r->part);
        digest_number(&state, r->kind);
        if (tile) {
            digest_number(&state, r->tokens);
            digest_number(&state, r->heads);
        }
    }
    return XXH3_64bits_digest(&state);
}

static kvf_status check_layout(kvf_layout *layout, kvf_error *error) {
    for (size_t i = 0; i < layout->count; i++) {
        kvf_status status = check_region(layout, i, error);
        if (status != KVF_OK)
            return status;
    }
    kvf__region_ref *refs = (kvf__region_ref *)&layout->regions[layout->count];
    layout->by_address = refs;
    return check_overlap(layout, refs, error);
}

static kvf_status check_arguments(const kvf_region *regions, size_t count, size_t blocks,
                                  kvf_layout **out, kvf_error *error) {
    const char *what = NULL;
    if (!out)
        what = "NULL argument";
    else if (!regions || count == 0)
        what = "no regions";
    else if (blocks == 0)
        what = "blocks must not be 0";
    if (what)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = what);
    if (blocks > KVF_MAX_BLOCKS)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = KVF_MAX_BLOCKS, .what = "too many blocks");
    return KVF_OK;
}

static size_t layout_size(size_t count) {
    size_t size;
    bool fits = kvf__mul(count, sizeof(kvf_region) + sizeof(kvf__region_ref), &size) &&
                kvf__add(size, sizeof(kvf_layout), &size);
    return fits ? size : SIZE_MAX;
}

kvf_status kvf_layout_create(const kvf_region *regions, size_t count, size_t blocks,
                             const kvf_allocator *allocator, kvf_layout **out, kvf_error *error) {
    kvf_status status = check_arguments(regions, count, blocks, out, error);
    if (status != KVF_OK)
        return status;
    const kvf_allocator memory = kvf__allocator(allocator);
    kvf_layout *layout = kvf__alloc_zero(&memory, 1, layout_size(count));
    if (!layout)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    layout->allocator = memory;
    atomic_init(&layout->holds, 1);
    layout->blocks = blocks;
    layout->count = count;
    copy_regions(layout, regions);
    status = check_layout(layout, error);
    if (status != KVF_OK) {
        kvf_layout_destroy(layout);
        return status;
    }
    sum_up(layout);
    layout->digest = digest_regions(layout);
    *out = layout;
    return KVF_OK;
}

/* References and reading */

kvf_layout *kvf__layout_hold(const kvf_layout *layout) {
    /* Layouts are always allocated, so the object itself is never const. */
    kvf_layout *held = (kvf_layout *)(uintptr_t)layout;
    atomic_fetch_add_explicit(&held->holds, 1, memory_order_relaxed);
    return held;
}

void kvf_layout_destroy(kvf_layout *layout) {
    if (!layout || atomic_fetch_sub_explicit(&layout->holds, 1, memory_order_acq_rel) != 1)
        return;
    const kvf_allocator memory = layout->allocator;
    kvf__free(&memory, layout, 1, layout_size(layout->count));
}

size_t kvf_layout_blocks(const kvf_layout *layout) {
    return layout->blocks;
}

const kvf_region *kvf_layout_regions(const kvf_layout *layout, size_t *count) {
    if (count)
        *count = layout->count;
    return layout->regions;
}

size_t kvf_layout_layers(const kvf_layout *layout) {
    return layout->layers;
}

size_t kvf_layout_block_bytes(const kvf_layout *layout) {
    return layout->block_bytes;
}

uint64_t kvf_layout_digest(const kvf_layout *layout) {
    return layout->digest;
}
