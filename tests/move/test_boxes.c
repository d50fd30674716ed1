#include "move_fixture.h"

static kvf_box box_at(ptrdiff_t dst, ptrdiff_t src, size_t width) {
    return (kvf_box){
        .dst = dst_memory + dst, .src = src_memory + src, .width = width, .rows = 1, .slices = 1};
}

static kvf_box rows_at(ptrdiff_t dst, ptrdiff_t src, size_t width, size_t rows, ptrdiff_t dst_pitch,
                       ptrdiff_t src_pitch) {
    kvf_box box = box_at(dst, src, width);
    box.rows = rows;
    box.dst_row_pitch = dst_pitch;
    box.src_row_pitch = src_pitch;
    return box;
}

static kvf_box slices_of(kvf_box box, size_t slices, ptrdiff_t dst_pitch, ptrdiff_t src_pitch) {
    box.slices = slices;
    box.dst_slice_pitch = dst_pitch;
    box.src_slice_pitch = src_pitch;
    return box;
}

static void assert_boxes_equal(const kvf_box *a, const kvf_box *b) {
    assert_ptr_equal(a->dst, b->dst);
    assert_ptr_equal(a->src, b->src);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->slices, b->slices);
    assert_int_equal(a->dst_row_pitch, b->dst_row_pitch);
    assert_int_equal(a->src_row_pitch, b->src_row_pitch);
    assert_int_equal(a->dst_slice_pitch, b->dst_slice_pitch);
    assert_int_equal(a->src_slice_pitch, b->src_slice_pitch);
}

/* Destroys the move. */
static void expect_boxes(kvf_move *move, const kvf_box *expected, size_t count) {
    kvf_box boxes[16];
    kvf_box_cursor cursor = {0};
    assert_int_equal(kvf_move_next(move, &cursor, boxes, COUNT(boxes)), count);
    for (size_t i = 0; i < count; i++)
        assert_boxes_equal(&boxes[i], &expected[i]);
    assert_int_equal(kvf_move_next(move, &cursor, boxes, COUNT(boxes)), 0);
    kvf_move_destroy(move);
}

#define EXPECT_BOXES(move, ...)                                                                    \
    expect_boxes((move), (const kvf_box[]){__VA_ARGS__}, COUNT(((const kvf_box[]){__VA_ARGS__})))

static void test_runs_of_ids(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    const uint64_t up[] = {3, 4, 5, 6}, down[] = {6, 5, 4, 3}, even[] = {0, 2, 4, 6},
                   same[] = {9, 9, 9, 9}, mixed[] = {0, 2, 3, 4};
    EXPECT_BOXES(move_of(&f, NULL, 4, up, up), box_at(24, 24, 32));
    EXPECT_BOXES(move_of(&f, NULL, 4, down, down), box_at(24, 24, 32));
    EXPECT_BOXES(move_of(&f, NULL, 4, even, up), rows_at(24, 0, 8, 4, 8, 16));
    EXPECT_BOXES(move_of(&f, NULL, 4, down, up), rows_at(24, 48, 8, 4, 8, -8));
    EXPECT_BOXES(move_of(&f, NULL, 4, same, up), rows_at(24, 72, 8, 4, 8, 0));
    EXPECT_BOXES(move_of(&f, NULL, 4, mixed, mixed), box_at(0, 0, 8), box_at(16, 16, 24));
    EXPECT_BOXES(move_of(&f, &rows_only, 2, down, up), box_at(24, 48, 8), box_at(32, 40, 8));
    EXPECT_BOXES(move_of(&f, &rows_only, 2, same, up), box_at(24, 72, 8), box_at(32, 72, 8));
    EXPECT_BOXES(move_of(&f, &single_pieces, 4, up, up), box_at(24, 24, 32));
    EXPECT_BOXES(move_of(&f, &single_pieces, 2, even, up), box_at(24, 0, 8), box_at(32, 16, 8));
    free_fixture(&f);
}

/* Adjacent ids are preferred to other steps, unless only the others make one copy. */
static void test_adjacent_ids_are_preferred(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 64), strided(dst_memory, 8)};
    const uint64_t src[] = {0, 1, 1}, dst[] = {0, 1, 2};
    kvf_box_limits near = everything;
    EXPECT_BOXES(move_of(&f, &near, 3, src, dst), rows_at(0, 0, 8, 2, 8, 64), box_at(16, 64, 8));
    near.max_pitch = 63;
    EXPECT_BOXES(move_of(&f, &near, 3, src, dst), box_at(0, 0, 8), rows_at(8, 64, 8, 2, 8, 0));
    near.max_pitch = 7;
    EXPECT_BOXES(move_of(&f, &near, 3, src, dst), box_at(0, 0, 8), box_at(8, 64, 8),
                 box_at(16, 64, 8));
    free_fixture(&f);
}

/* A block is two rows of 8 bytes, 16 apart in the source. */
static void test_rows_become_slices(void **state) {
    (void)state;
    kvf_region src = {
        .base = src_memory, .block_stride = 40, .bytes = 8, .rows = 2, .row_pitch = 16};
    kvf_region dst = {
        .base = dst_memory, .block_stride = 16, .bytes = 8, .rows = 2, .row_pitch = 8};
    fixture f = {layout_of(&src, 1, 20), layout_of(&dst, 1, 20)};
    const uint64_t two[] = {1, 2};
    kvf_box_limits l = everything;
    const kvf_box first = rows_at(16, 40, 8, 2, 8, 16), second = rows_at(32, 80, 8, 2, 8, 16);
    EXPECT_BOXES(move_of(&f, &l, 2, two, two), slices_of(first, 2, 16, 40));
    l.free_slice_pitch = false; /* 40 is not a multiple of 16 */
    EXPECT_BOXES(move_of(&f, &l, 2, two, two), first, second);
    l = everything;
    l.slices = false;
    EXPECT_BOXES(move_of(&f, &l, 2, two, two), first, second);
    l.max_pitch = 15;
    EXPECT_BOXES(move_of(&f, &l, 2, two, two), box_at(16, 40, 8), box_at(24, 56, 8),
                 box_at(32, 80, 8), box_at(40, 96, 8));
    free_fixture(&f);

    src.block_stride = 32; /* a block's rows continue those of the previous one */
    f = (fixture){layout_of(&src, 1, 20), layout_of(&dst, 1, 20)};
    EXPECT_BOXES(move_of(&f, &rows_only, 2, two, two), rows_at(16, 32, 8, 4, 8, 16));
    free_fixture(&f);
}

/* Expects these boxes for block 0 of `blocks`. */
static void expect_joined(const twin *list, size_t count, size_t blocks,
                          const kvf_box_limits *limits, const kvf_box *boxes, size_t box_count) {
    fixture f = twins(list, count, blocks);
    expect_boxes(move_of(&f, limits, 1, one_id, one_id), boxes, box_count);
    free_fixture(&f);
}

#define EXPECT_JOINED(twins, blocks, limits, ...)                                                  \
    expect_joined((twins), COUNT(twins), (blocks), (limits), (const kvf_box[]){__VA_ARGS__},       \
                  COUNT(((const kvf_box[]){__VA_ARGS__})))

static void test_regions_join(void **state) {
    (void)state;
    const twin touching[] = {{8, 1, 16, 0, 48, 0}, {8, 1, 0, 0, 32, 0}, {8, 1, 8, 0, 40, 0}};
    EXPECT_JOINED(touching, 2, NULL, box_at(32, 0, 24));
    const twin apart[] = {{8, 1, 0, 0, 0, 0}, {8, 1, 8, 0, 16, 0}, {8, 1, 16, 0, 32, 0}};
    EXPECT_JOINED(apart, 2, NULL, rows_at(0, 0, 8, 3, 16, 8));
    EXPECT_JOINED(apart, 2, &single_pieces, box_at(0, 0, 8), box_at(16, 8, 8), box_at(32, 16, 8));
    const twin turned[] = {{8, 1, 40, 0, 0, 0}, {8, 1, 20, 0, 16, 0}, {8, 1, 0, 0, 32, 0}};
    EXPECT_JOINED(turned, 2, NULL, rows_at(0, 40, 8, 3, 16, -20));
    EXPECT_JOINED(turned, 2, &rows_only, box_at(0, 40, 8), box_at(16, 20, 8), box_at(32, 0, 8));
    const twin unlike[] = {{8, 1, 0, 0, 0, 0}, {4, 1, 8, 0, 16, 0}, {4, 1, 20, 0, 24, 0}};
    EXPECT_JOINED(unlike, 2, NULL, box_at(0, 0, 8), rows_at(16, 8, 4, 2, 8, 12));
}

/* Joined regions can be joined with further ones. */
static void test_joined_regions_join_again(void **state) {
    (void)state;
    const twin closing[] = {
        {8, 1, 0, 0, 0, 0}, {4, 2, 8, 8, 8, 8}, {4, 2, 12, 8, 12, 8}, {8, 1, 24, 0, 24, 0}};
    EXPECT_JOINED(closing, 1, NULL, box_at(0, 0, 32));
    EXPECT_JOINED(closing, 1, &single_pieces, box_at(0, 0, 32));
    const twin going_on[] = {{4, 2, 0, 8, 0, 4}, {4, 3, 16, 8, 8, 4}, {4, 1, 40, 0, 20, 0}};
    EXPECT_JOINED(going_on, 1, NULL, rows_at(0, 0, 4, 6, 4, 8));
    const twin alike[] = {{4, 2, 0, 8, 0, 4}, {4, 2, 16, 8, 8, 4}};
    EXPECT_JOINED(alike, 2, &rows_only, rows_at(0, 0, 4, 4, 4, 8));
    const twin before[] = {{4, 1, 0, 0, 0, 0}, {4, 2, 8, 8, 4, 4}};
    EXPECT_JOINED(before, 1, &rows_only, rows_at(0, 0, 4, 3, 4, 8));
    const twin other_pitch[] = {{4, 2, 0, 8, 0, 4}, {4, 2, 16, 12, 8, 4}};
    EXPECT_JOINED(other_pitch, 1, NULL, rows_at(0, 0, 4, 2, 4, 8), rows_at(8, 16, 4, 2, 4, 12));
}

/* Regions that only missing blocks would separate are joined; regions in two buffers are not. */
static void test_strides_and_buffers(void **state) {
    (void)state;
    kvf_region r[] = {{.base = src_memory, .block_stride = 100, .bytes = 8},
                      {.base = src_memory + 8, .block_stride = 50, .bytes = 8}};
    kvf_region to[] = {{.base = dst_memory, .block_stride = 8, .bytes = 8},
                       {.base = dst_memory + 8, .block_stride = 16, .bytes = 8}};
    fixture f = {layout_of(r, 2, 1), layout_of(to, 2, 1)};
    EXPECT_BOXES(move_of(&f, NULL, 1, one_id, one_id), box_at(0, 0, 16));
    free_fixture(&f);
    to[1].buffer = 1;
    f = (fixture){layout_of(r, 2, 1), layout_of(to, 2, 1)};
    EXPECT_BOXES(move_of(&f, NULL, 1, one_id, one_id), box_at(0, 0, 8), box_at(8, 8, 8));
    free_fixture(&f);
}

/* The arrays' addresses are given, so segment sizes are chosen to make them start where needed. */
static void test_segments_cut(void **state) {
    (void)state;
    const uintptr_t base = (uintptr_t)dst_memory;
    kvf_region src = {.base = src_memory, .block_stride = 8, .bytes = 8};
    kvf_region dst = {.base = dst_memory, .block_stride = 100, .bytes = 8};
    fixture f = {layout_of(&src, 1, 8), layout_of(&dst, 1, 8)};
    const uint64_t up[] = {0, 1, 2, 3, 4}, down[] = {4, 3, 2, 1, 0};
    kvf_box_limits l = everything;
    l.dst_segment = base + 204; /* ends in the middle of block 2 */
    EXPECT_BOXES(move_of(&f, &l, 5, up, up), rows_at(0, 0, 8, 2, 100, 8), box_at(200, 16, 4),
                 box_at(204, 20, 4), rows_at(300, 24, 8, 2, 100, 8));
    free_fixture(&f);
    src = (kvf_region){.base = src_memory, .block_stride = 100, .bytes = 8};
    dst = (kvf_region){.base = dst_memory, .block_stride = 8, .bytes = 8};
    f = (fixture){layout_of(&src, 1, 8), layout_of(&dst, 1, 8)};
    l = everything;
    l.src_segment = (uintptr_t)src_memory + 200; /* starts with block 2 */
    EXPECT_BOXES(move_of(&f, &l, 5, down, up), rows_at(0, 400, 8, 3, 8, -100),
                 rows_at(24, 100, 8, 2, 8, -100));
    l.src_segment = (uintptr_t)src_memory + 201;
    EXPECT_BOXES(move_of(&f, &l, 5, down, up), rows_at(0, 400, 8, 2, 8, -100), box_at(16, 200, 1),
                 box_at(17, 201, 7), rows_at(24, 100, 8, 2, 8, -100));
    free_fixture(&f);
}

/* Four layers of one part; the destination's buffers are adjacent, in descending order. */
static void test_layers(void **state) {
    (void)state;
    kvf_region src[4], dst[4];
    for (uint32_t i = 0; i < 4; i++) {
        src[i] = (kvf_region){
            .base = src_memory + 8 * (3 - i), .block_stride = 32, .bytes = 8, .layer = 5 + i};
        dst[i] = src[i];
        dst[i].base = dst_memory + 8 * (3 - i);
    }
    fixture f = {layout_of(src, 4, 8), layout_of(dst, 4, 8)};
    const kvf_plan plan = {.count = 1, .src_ids = one_id, .dst_ids = one_id};
    kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plans = &plan, .plan_count = 1};
    kvf_move *move;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(0, 0, 32));
    spec.by_layer = true;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(24, 24, 8), box_at(16, 16, 8), box_at(8, 8, 8), box_at(0, 0, 8));
    spec.first_layer = 1;
    spec.layer_count = 2;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(16, 16, 8), box_at(8, 8, 8));
    spec.by_layer = false;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(8, 8, 16));
    spec.layer_count = 0;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(0, 0, 24));
    free_fixture(&f);
}

/* A layer's regions are joined whatever their order in the list. */
static void test_order_inside_layers(void **state) {
    (void)state;
    const twin list[] = {
        {8, 1, 24, 0, 24, 0}, {8, 1, 16, 0, 16, 0}, {8, 1, 8, 0, 8, 0}, {8, 1, 0, 0, 0, 0}};
    fixture f = twins(list, COUNT(list), 2);
    const kvf_plan plan = {.count = 1, .src_ids = one_id, .dst_ids = one_id};
    const kvf_move_spec spec = {
        .src = f.src, .dst = f.dst, .plans = &plan, .plan_count = 1, .by_layer = true};
    kvf_move *move;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
    EXPECT_BOXES(move, box_at(16, 16, 16), box_at(0, 0, 16));
    free_fixture(&f);
}

static void test_moves_outlive_layouts_and_plans(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 16)};
    uint64_t ids[] = {1, 3};
    kvf_move *move = move_of(&f, NULL, 2, ids, ids);
    free_fixture(&f);
    ids[0] = ids[1] = 0;
    EXPECT_BOXES(move, rows_at(16, 8, 8, 2, 32, 16));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_of_ids),
        cmocka_unit_test(test_adjacent_ids_are_preferred),
        cmocka_unit_test(test_rows_become_slices),
        cmocka_unit_test(test_regions_join),
        cmocka_unit_test(test_joined_regions_join_again),
        cmocka_unit_test(test_strides_and_buffers),
        cmocka_unit_test(test_segments_cut),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_order_inside_layers),
        cmocka_unit_test(test_moves_outlive_layouts_and_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
