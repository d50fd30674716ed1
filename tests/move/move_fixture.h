/* Layouts in two small pieces of memory, and moves between them. */
#ifndef KVF_TEST_MOVE_FIXTURE_H
#define KVF_TEST_MOVE_FIXTURE_H

#include "support/support.h"

static const kvf_box_limits everything = {.max_pitch = SIZE_MAX,
                                          .negative_pitch = true,
                                          .narrow_pitch = true,
                                          .slices = true,
                                          .free_slice_pitch = true};
static const kvf_box_limits single_pieces = {0};
static const kvf_box_limits rows_only = {.max_pitch = 1000};

static char src_memory[4096], dst_memory[4096];

static inline kvf_layout *layout_of(const kvf_region *regions, size_t count, size_t blocks) {
    kvf_layout *layout = NULL;
    kvf_error error;
    test_expect(KVF_OK, kvf_layout_create(regions, count, blocks, NULL, &layout, &error), &error);
    return layout;
}

/* One region of 8 bytes per block, blocks `stride` bytes apart. */
static inline kvf_layout *strided(char *memory, size_t stride) {
    const kvf_region region = {.base = memory, .block_stride = stride, .bytes = 8};
    return layout_of(&region, 1, 4096 / stride);
}

typedef struct fixture {
    kvf_layout *src, *dst;
} fixture;

static inline kvf_move *move_of(const fixture *f, const kvf_box_limits *limits, size_t count,
                                const uint64_t *src_ids, const uint64_t *dst_ids) {
    const kvf_plan plan = {.count = count, .src_ids = src_ids, .dst_ids = dst_ids};
    const kvf_move_spec spec = {.src = f->src, .dst = f->dst, .plans = &plan, .plan_count = 1};
    kvf_move *move = NULL;
    kvf_error error;
    test_expect(KVF_OK, kvf_move_create(&spec, limits, NULL, &move, &error), &error);
    return move;
}

static inline void free_fixture(fixture *f) {
    kvf_layout_destroy(f->src);
    kvf_layout_destroy(f->dst);
}

/* Regions by their offsets: {bytes, rows, src, src pitch, dst, dst pitch}. */
typedef struct twin {
    size_t bytes, rows, src, src_pitch, dst, dst_pitch;
} twin;

static inline fixture twins(const twin *list, size_t count, size_t blocks) {
    assert_in_range(count, 1, 8);
    kvf_region src[8] = {{0}}, dst[8] = {{0}};
    for (size_t i = 0; i < count; i++) {
        src[i] = (kvf_region){.base = src_memory + list[i].src,
                              .block_stride = 256,
                              .bytes = list[i].bytes,
                              .rows = list[i].rows,
                              .row_pitch = list[i].src_pitch,
                              .layer = (uint32_t)i / 2};
        dst[i] = src[i];
        dst[i].base = dst_memory + list[i].dst;
        dst[i].row_pitch = list[i].dst_pitch;
    }
    return (fixture){layout_of(src, count, blocks), layout_of(dst, count, blocks)};
}

static const uint64_t one_id[] = {0};

#endif
