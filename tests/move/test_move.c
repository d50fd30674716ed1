#include "move_fixture.h"

#include "move/move.h"
#include "move_oracle.h"

#include <stdlib.h>
#include <string.h>

/* ---- compared with a copy byte by byte ------------------------------------------------------ */

static move_shape even_shape(size_t layers, size_t parts, size_t rows, const size_t *bytes) {
    move_shape s = {.layers = layers, .parts = parts};
    for (size_t l = 0; l < layers; l++)
        for (size_t p = 0; p < parts; p++) {
            s.rows[l][p] = rows;
            s.bytes[l][p] = bytes[l];
        }
    return s;
}

static move_shape tile_shape(size_t layers, size_t parts, size_t tokens, size_t heads,
                             const size_t *piece_bytes) {
    move_shape s = even_shape(layers, parts, 1, piece_bytes);
    for (size_t l = 0; l < layers; l++)
        for (size_t p = 0; p < parts; p++) {
            s.bytes[l][p] *= tokens * heads;
            s.tokens[l][p] = tokens;
            s.heads[l][p] = heads;
        }
    return s;
}

enum { LONGEST = 10 };

/* One or two plans each; two plans may share pairs. */
static const struct {
    size_t counts[2];
    uint64_t src[2][LONGEST], dst[2][LONGEST];
} plan_cases[] = {
    {{0, 0}, {{0}}, {{0}}},
    {{1, 0}, {{6}}, {{2}}},
    {{7, 0}, {{0, 1, 2, 3, 4, 5, 6}}, {{0, 1, 2, 3, 4, 5, 6}}},
    {{4, 0}, {{2, 3, 4, 5}}, {{1, 2, 3, 4}}},
    {{4, 0}, {{0, 2, 4, 6}}, {{6, 4, 2, 0}}},
    {{4, 0}, {{6, 5, 4, 3}}, {{1, 2, 3, 4}}},
    {{3, 0}, {{5, 5, 5}}, {{0, 2, 4}}},
    {{7, 0}, {{3, 6, 1, 0, 5, 2, 4}}, {{5, 0, 2, 6, 1, 4, 3}}},
    {{3, 4}, {{0, 1, 2}, {1, 2, 3, 6}}, {{3, 4, 5}, {4, 5, 6, 0}}},
    {{5, 5}, {{1, 1, 2, 2, 1}, {0, 2, 4, 5, 6}}, {{0, 0, 1, 1, 0}, {2, 4, 6, 5, 3}}},
};

static const kvf_box_limits limit_cases[] = {
    {0},
    {.max_pitch = 64},
    {.max_pitch = SIZE_MAX},
    {.max_pitch = SIZE_MAX, .negative_pitch = true},
    {.max_pitch = SIZE_MAX, .slices = true},
    {.max_pitch = SIZE_MAX, .negative_pitch = true, .slices = true, .free_slice_pitch = true},
    {.max_pitch = SIZE_MAX, .narrow_pitch = true, .slices = true, .free_slice_pitch = true},
    {.max_pitch = 100, .negative_pitch = true, .narrow_pitch = true, .slices = true},
    {.max_pitch = SIZE_MAX, .slices = true, .free_slice_pitch = true, .dst_segment = 97},
    {.max_pitch = SIZE_MAX,
     .negative_pitch = true,
     .narrow_pitch = true,
     .slices = true,
     .free_slice_pitch = true,
     .src_segment = 61,
     .dst_segment = 250},
};

static void expect_oracle(const kvf_move_spec *spec, const kvf_box_limits *limits,
                          move_counts *counts) {
    const char *broken = move_oracle_check(spec, limits, counts);
    if (broken)
        fail_msg("broken: %s", broken);
}

static void check_plans_and_limits(const kvf_layout *src, const kvf_layout *dst,
                                   move_counts *counts) {
    for (size_t i = 0; i < COUNT(plan_cases); i++) {
        kvf_plan plans[2];
        for (size_t k = 0; k < 2; k++)
            plans[k] = (kvf_plan){.count = plan_cases[i].counts[k],
                                  .src_ids = plan_cases[i].src[k],
                                  .dst_ids = plan_cases[i].dst[k]};
        for (size_t k = 0; k <= COUNT(limit_cases); k++) {
            const kvf_move_spec spec = {.src = src,
                                        .dst = dst,
                                        .plans = plans,
                                        .plan_count = 2,
                                        .by_layer = (i + k) % 3 == 0};
            expect_oracle(&spec, k < COUNT(limit_cases) ? &limit_cases[k] : NULL, counts);
        }
    }
}

/* Every kind to every other. Padded rows of several sizes have to be apart. */
static void check_kinds(const move_shape *shape, bool apart, move_counts *counts) {
    const move_placement placements[2] = {
        {.blocks = 7,
         .order = 1,
         .pad_row = 4,
         .pad_piece = 3,
         .pad_block = 8,
         .apart = apart,
         .split = UINT32_MAX},
        {.blocks = 8, .order = 3, .pad_piece = 4, .interleave = true, .apart = true, .hnd = 0x5b},
    };
    for (size_t from = 0; from < MOVE_KINDS; from++) {
        kvf_layout *src = move_oracle_layout(MOVE_SRC, (move_kind)from, shape, &placements[0]);
        for (size_t to = 0; src && to < MOVE_KINDS; to++) {
            kvf_layout *dst = move_oracle_layout(MOVE_DST, (move_kind)to, shape, &placements[1]);
            assert_true(dst || (to == MOVE_MLA && shape->parts > 1));
            if (dst)
                check_plans_and_limits(src, dst, counts);
            kvf_layout_destroy(dst);
        }
        assert_true(src || (from == MOVE_MLA && shape->parts > 1));
        kvf_layout_destroy(src);
    }
}

static void test_every_kind_of_layout_to_every_other(void **state) {
    (void)state;
    const size_t even[] = {8, 8, 8}, uneven[] = {4, 12, 8};
    const move_shape shapes[] = {
        even_shape(3, 2, 1, even),      even_shape(3, 2, 2, uneven),  even_shape(2, 1, 3, even),
        tile_shape(3, 2, 4, 3, uneven), tile_shape(2, 1, 2, 5, even),
    };
    move_counts counts = {0};
    for (size_t i = 0; i < COUNT(shapes); i++)
        check_kinds(&shapes[i], i % 2 == 1, &counts);
    const size_t pairs_of_kinds = 3 * 9 * 9 + 2 * 10 * 10, cases = COUNT(limit_cases) + 1;
    assert_int_equal(counts.moves, pairs_of_kinds * COUNT(plan_cases) * cases);
    assert_int_equal(counts.reordered, (9 * 9 + 10 * 10) * COUNT(plan_cases) * cases);
}

static void test_random_moves(void **state) {
    (void)state;
    const uint64_t seeds = test_seeds(20000);
    move_counts counts = {0};
    for (uint64_t seed = 0; seed < seeds; seed++) {
        test_random random = test_random_make(seed);
        uint8_t bytes[256];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(test_random_next(&random) >> 24);
        const char *broken = move_oracle_decode(bytes, sizeof bytes, &counts);
        if (broken)
            fail_msg("seed %llu, violated: %s", (unsigned long long)seed, broken);
    }
    if (seeds < 20000)
        return;
    /* Everything occurred. */
    const uint64_t seen[] = {counts.layer_errors,   counts.range_errors, counts.conflicts,
                             counts.tier_conflicts, counts.rows,         counts.slices,
                             counts.backward,       counts.standing,     counts.narrow,
                             counts.joined,         counts.split,        counts.reordered};
    for (size_t i = 0; i < COUNT(seen); i++)
        assert_in_range(seen[i], 50, UINT64_MAX);
    assert_in_range(counts.moves, 10000, UINT64_MAX);
}

/* ---- large moves ---------------------------------------------------------------------------- */

/* The addresses are never accessed. */
static kvf_layout *far_away(uintptr_t base, size_t stride, size_t regions) {
    kvf_region list[8] = {{0}};
    for (size_t i = 0; i < regions; i++)
        list[i] = (kvf_region){.base = (void *)(base + i * KVF_MAX_BLOCKS * stride),
                               .block_stride = stride,
                               .bytes = 4 + 4 * (i % 2)};
    return layout_of(list, regions, KVF_MAX_BLOCKS);
}

enum { BASE = 1 << 16 };

static void test_largest_ids(void **state) {
    (void)state;
    const uint64_t last = KVF_MAX_BLOCKS - 1, ids[] = {0, last}, turned[] = {last, 0};
    fixture f = {far_away(BASE, 4, 1), far_away(BASE, 8, 1)};
    kvf_box box;
    kvf_move *move = move_of(&f, NULL, 2, ids, turned);
    assert_int_equal(kvf_move_next(move, &(kvf_box_cursor){0}, &box, 1), 1);
    kvf_move_destroy(move);
    assert_int_equal((uintptr_t)box.dst, BASE);
    assert_int_equal((uintptr_t)box.src, BASE + 4 * last);
    assert_int_equal(box.rows, 2);
    assert_int_equal(box.dst_row_pitch, 8 * last);
    assert_int_equal(box.src_row_pitch, -4 * (int64_t)last);
    const uint64_t past = KVF_MAX_BLOCKS;
    const kvf_plan plan = {.count = 1, .src_ids = ids, .dst_ids = &past};
    const kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plans = &plan, .plan_count = 1};
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_ERR_RANGE);
    free_fixture(&f);
}

/* Ids on average at most `spread` apart; each is a destination at most once. */
static void random_ids(uint64_t *src, uint64_t *dst, size_t count, uint64_t spread,
                       bool by_chance) {
    test_random random = test_random_make(count);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        next += 1 + test_random_below(&random, spread);
        dst[i] = next;
        src[i] = test_random_below(&random, KVF_MAX_BLOCKS);
        if (!by_chance && i % 5 != 0)
            src[i] = (src[i - 1] + next - dst[i - 1]) % KVF_MAX_BLOCKS;
    }
    for (size_t i = count - 1; by_chance && i > 0; i--) {
        const size_t k = test_random_below(&random, i + 1);
        const uint64_t s = src[i], d = dst[i];
        src[i] = src[k];
        dst[i] = dst[k];
        src[k] = s;
        dst[k] = d;
    }
}

static uint64_t *new_ids(size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids);
    assert_non_null(ids);
    return ids;
}

/* Ids of any size and number come out unchanged and sorted. */
static void test_sorting(void **state) {
    (void)state;
    const size_t counts[] = {2, 63, 64, 65, 66, 1000, 50000};
    const uint64_t spreads[] = {1, 3, 20, 40000};
    uint64_t *src = new_ids(50000), *dst = new_ids(50000);
    fixture f = {far_away(BASE, 8, 1), far_away(BASE, 8, 1)};
    for (size_t i = 0; i < COUNT(counts) * COUNT(spreads); i++) {
        const size_t count = counts[i / COUNT(spreads)];
        random_ids(src, dst, count, spreads[i % COUNT(spreads)], true);
        uint64_t sum = 0, pairs = 0, last = 0;
        for (size_t k = 0; k < count; k++)
            sum += src[k] * dst[k];
        kvf_move *move = move_of(&f, &single_pieces, count, src, dst);
        kvf_box_cursor cursor = {0};
        for (kvf_box box; kvf_move_next(move, &cursor, &box, 1) == 1;) {
            uint64_t s = ((uintptr_t)box.src - BASE) / 8, d = ((uintptr_t)box.dst - BASE) / 8;
            assert_true(d > last);
            for (size_t k = 0; k < (box.width + 4) / 8; k++, pairs++)
                sum -= (s + k) * (d + k);
            last = d;
        }
        assert_int_equal(pairs, count);
        assert_int_equal(sum, 0);
        kvf_move_destroy(move);
    }
    free_fixture(&f);
    free(src);
    free(dst);
}

static void check_counts(const kvf_move *move) {
    static kvf_box boxes[1000];
    kvf_move_summary r;
    assert_int_equal(kvf_move_describe(move, &r, NULL), KVF_OK);
    uint64_t bytes = 0, count = 0, fragments = 0;
    size_t smallest = SIZE_MAX;
    kvf_box_cursor cursor = {0};
    for (size_t n; (n = kvf_move_next(move, &cursor, boxes, COUNT(boxes))) > 0;)
        for (size_t i = 0; i < n; i++) {
            const size_t pieces = boxes[i].rows * boxes[i].slices;
            bytes += pieces * boxes[i].width;
            smallest = pieces * boxes[i].width < smallest ? pieces * boxes[i].width : smallest;
            fragments += pieces;
            count++;
        }
    assert_int_equal(r.bytes, bytes);
    assert_int_equal(r.boxes, count);
    assert_int_equal(kvf__move_box_count(move, &move->limits), count);
    assert_int_equal(r.fragments, fragments);
    assert_int_equal(r.smallest_box, smallest);
    assert_in_range(r.median_box, smallest, bytes);
}

static void test_a_million_blocks(void **state) {
    (void)state;
    enum { MILLION = 1000000 };
    const kvf_box_limits *limits[] = {&everything, &rows_only, &single_pieces};
    uint64_t *src = new_ids(MILLION), *dst = new_ids(MILLION);
    fixture f = {far_away(BASE, 8, 4), far_away(BASE, 16, 4)};
    for (size_t i = 0; i < COUNT(limits); i++) {
        random_ids(src, dst, MILLION, 3, i % 2 == 0);
        kvf_move *move = move_of(&f, limits[i], MILLION, src, dst);
        check_counts(move);
        kvf_move_destroy(move);
    }
    free_fixture(&f);
    free(src);
    free(dst);
}

/* Rows of neighbouring blocks interleave, so slices are possible for some steps of ids only. */
static void test_counts_of_interleaved_rows(void **state) {
    (void)state;
    const kvf_region src = {
        .base = src_memory, .block_stride = 8, .bytes = 4, .rows = 2, .row_pitch = 12};
    const kvf_region dst = {
        .base = dst_memory, .block_stride = 8, .bytes = 4, .rows = 2, .row_pitch = 12};
    fixture f = {layout_of(&src, 1, 20), layout_of(&dst, 1, 20)};
    const uint64_t from[] = {0, 1, 4, 6}, to[] = {0, 2, 5, 7};
    for (size_t i = 0; i < 4; i++) {
        const kvf_box_limits l = {.max_pitch = SIZE_MAX,
                                  .narrow_pitch = i & 1,
                                  .slices = true,
                                  .free_slice_pitch = i & 2};
        kvf_move *move = move_of(&f, &l, 4, from, to);
        check_counts(move);
        kvf_move_destroy(move);
    }
    free_fixture(&f);
}

static void test_known_summary(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    const uint64_t src[] = {0, 1, 2, 9, 20}, dst[] = {0, 1, 2, 12, 11};
    kvf_move *move = move_of(&f, &rows_only, 5, src, dst);
    kvf_move_summary r;
    assert_int_equal(kvf_move_describe(move, &r, NULL), KVF_OK);
    const kvf_move_summary expected = {.bytes = 40,
                                       .blocks = 5,
                                       .boxes = 3,
                                       .fragments = 3,
                                       .smallest_box = 8,
                                       .median_box = 8,
                                       .smallest_fragment = 8,
                                       .median_fragment = 8,
                                       .strips = 1,
                                       .runs = 3};
    assert_memory_equal(&r, &expected, sizeof r);
    kvf_move_destroy(move);
    free_fixture(&f);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* A refused move changes nothing except the error's details. */
static kvf_error refused(const kvf_move_spec *spec, kvf_status expected) {
    kvf_error error = {.status = KVF_OK};
    kvf_move *const untouched = (kvf_move *)(void *)src_memory, *move = untouched;
    test_expect(expected, kvf_move_create(spec, NULL, NULL, &move, &error), &error);
    assert_ptr_equal(move, untouched);
    assert_int_equal(error.status, expected);
    assert_int_equal(kvf_move_create(spec, NULL, NULL, &move, NULL), expected);
    return error;
}

static void test_null_arguments(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    const kvf_plan no_ids[] = {{.count = 0}, {.count = 1, .src_ids = one_id}};
    const kvf_plan no_src = {.count = 1, .dst_ids = one_id};
    kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plan_count = 1};
    refused(NULL, KVF_ERR_INVALID);
    refused(&spec, KVF_ERR_INVALID);
    spec = (kvf_move_spec){.dst = f.dst};
    refused(&spec, KVF_ERR_INVALID);
    spec = (kvf_move_spec){.src = f.src};
    refused(&spec, KVF_ERR_INVALID);
    spec = (kvf_move_spec){.src = f.src, .dst = f.dst, .plans = no_ids, .plan_count = 2};
    kvf_error e = refused(&spec, KVF_ERR_INVALID);
    assert_int_equal(e.fields, KVF_ERROR_INDEX);
    assert_int_equal(e.index, 1);
    spec.plans = &no_src;
    spec.plan_count = 1;
    refused(&spec, KVF_ERR_INVALID);
    spec.plan_count = 0;
    assert_int_equal(kvf_move_create(&spec, NULL, NULL, NULL, NULL), KVF_ERR_INVALID);

    kvf_move *move = move_of(&f, NULL, 1, one_id, one_id);
    kvf_box box;
    kvf_box_cursor cursor = {0};
    kvf_move_summary info;
    kvf_error error = {.status = KVF_OK};
    assert_int_equal(kvf_move_next(NULL, &cursor, &box, 1), 0);
    assert_int_equal(kvf_move_next(move, NULL, &box, 1), 0);
    assert_int_equal(kvf_move_next(move, &cursor, NULL, 1), 0);
    assert_int_equal(kvf_move_next(move, &cursor, &box, 0), 0);
    assert_int_equal(kvf_move_next(move, &cursor, &box, 1), 1);
    assert_int_equal(kvf_move_describe(NULL, &info, &error), KVF_ERR_INVALID);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_int_equal(kvf_move_describe(move, NULL, NULL), KVF_ERR_INVALID);
    kvf_move_destroy(move);
    kvf_move_destroy(NULL);
    free_fixture(&f);
}

static void test_empty_plans(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    const kvf_plan empty[2] = {{.count = 0}, {.count = 0, .src_ids = one_id}};
    for (size_t n = 0; n <= 2; n++) {
        const kvf_move_spec spec = {
            .src = f.src, .dst = f.dst, .plans = n ? empty : NULL, .plan_count = n};
        kvf_move *move;
        kvf_move_summary info;
        kvf_box box;
        assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
        assert_int_equal(kvf_move_next(move, &(kvf_box_cursor){0}, &box, 1), 0);
        assert_int_equal(kvf_move_describe(move, &info, NULL), KVF_OK);
        const kvf_move_summary nothing = {.strips = 1};
        assert_memory_equal(&info, &nothing, sizeof info);
        assert_int_equal(kvf__move_box_count(move, &move->limits), 0);
        kvf_move_destroy(move);
    }
    free_fixture(&f);
}

static void test_layouts_that_disagree(void **state) {
    (void)state;
    const kvf_region fine[2] = {
        {.base = src_memory, .block_stride = 64, .bytes = 8, .rows = 2, .row_pitch = 16},
        {.base = src_memory + 32,
         .block_stride = 64,
         .bytes = 8,
         .layer = 1,
         .part = 1,
         .kind = 9}};
    kvf_region wrong[6][2];
    for (size_t i = 0; i < COUNT(wrong); i++)
        memcpy(wrong[i], fine, sizeof fine);
    wrong[0][1].bytes = 7;
    wrong[1][1].rows = 2;
    wrong[1][1].row_pitch = 8;
    wrong[2][1].layer = 2;
    wrong[3][1].part = 0;
    wrong[4][1].kind = 8;
    wrong[5][0].rows = 1;
    kvf_layout *a = layout_of(fine, 2, 1), *shorter = layout_of(fine, 1, 1);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        kvf_layout *b = layout_of(wrong[i], 2, 1);
        kvf_error one_way = refused(&(kvf_move_spec){.src = a, .dst = b}, KVF_ERR_LAYOUT);
        kvf_error other = refused(&(kvf_move_spec){.src = b, .dst = a}, KVF_ERR_LAYOUT);
        assert_int_equal(one_way.fields, KVF_ERROR_INDEX);
        assert_int_equal(one_way.index, i < 5);
        assert_int_equal(other.index, i < 5);
        kvf_layout_destroy(b);
    }
    kvf_error e = refused(&(kvf_move_spec){.src = a, .dst = shorter}, KVF_ERR_LAYOUT);
    assert_int_equal(e.index, 1);
    e = refused(&(kvf_move_spec){.src = shorter, .dst = a}, KVF_ERR_LAYOUT);
    assert_int_equal(e.index, 1);
    kvf_layout_destroy(a);
    kvf_layout_destroy(shorter);
}

static void test_layers_past_the_last(void **state) {
    (void)state;
    fixture f =
        twins((const twin[]){{8, 1, 0, 0, 0, 0}, {8, 1, 8, 0, 8, 0}, {8, 1, 16, 0, 16, 0}}, 3, 1);
    const uint32_t ranges[][2] = {{2, 0}, {2, 1}, {0, 3}, {1, 2}, {UINT32_MAX, 0}, {0, UINT32_MAX}};
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const kvf_move_spec spec = {
            .src = f.src, .dst = f.dst, .first_layer = ranges[i][0], .layer_count = ranges[i][1]};
        kvf_error e = refused(&spec, KVF_ERR_RANGE);
        assert_int_equal(e.fields, KVF_ERROR_INDEX | KVF_ERROR_EXPECTED);
        assert_int_equal(e.index, ranges[i][0]);
        assert_int_equal(e.expected, 2);
    }
    free_fixture(&f);
}

static void test_ids_out_of_range(void **state) {
    (void)state;
    const kvf_region src = {.base = src_memory, .block_stride = 8, .bytes = 8};
    const kvf_region dst = {.base = dst_memory, .block_stride = 8, .bytes = 8};
    fixture f = {layout_of(&src, 1, 10), layout_of(&dst, 1, 20)};
    const uint64_t fine[] = {1, 2, 3}, bad[] = {10, 20, UINT64_MAX, UINT64_C(1) << 32};
    for (size_t i = 0; i < 2 * COUNT(bad); i++) {
        const uint64_t ids[] = {4, 5, bad[i / 2]};
        const bool is_src = i % 2 == 0;
        if (!is_src && i / 2 == 0)
            continue; /* the destination has a block 10 */
        const kvf_plan plans[] = {
            {.count = 3, .src_ids = fine, .dst_ids = fine},
            {.count = 3, .src_ids = is_src ? ids : fine, .dst_ids = is_src ? fine : ids}};
        const kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plans = plans, .plan_count = 2};
        kvf_error e = refused(&spec, KVF_ERR_RANGE);
        assert_int_equal(e.fields, KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX |
                                       KVF_ERROR_EXPECTED);
        assert_int_equal(e.id, bad[i / 2]);
        assert_int_equal(e.index, 1);
        assert_int_equal(e.other_index, 2);
        assert_int_equal(e.expected, is_src ? 10 : 20);
    }
    free_fixture(&f);
}

static void test_conflicts(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    uint64_t src[100], dst[100];
    for (uint64_t i = 0; i < 100; i++) {
        src[i] = 200 + i;
        dst[i] = 100 + i;
    }
    for (size_t count = 4; count <= 100; count += 96) { /* both sorting algorithms */
        const kvf_plan plans[] = {{.count = count, .src_ids = src, .dst_ids = dst},
                                  {.count = 2, .src_ids = src + 1, .dst_ids = dst + 1}};
        kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plans = plans, .plan_count = 2};
        kvf_move *move;
        spec.same_tier = true; /* duplicate pairs are allowed; no id is on both sides */
        assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
        assert_int_equal(move->runs.pairs, count);
        kvf_move_destroy(move);
        src[3] = 102;
        kvf_error e = refused(&spec, KVF_ERR_CONFLICT);
        assert_int_equal(e.fields, KVF_ERROR_ID);
        assert_int_equal(e.id, 102);
        spec.same_tier = false;
        assert_int_equal(kvf_move_create(&spec, NULL, NULL, &move, NULL), KVF_OK);
        kvf_move_destroy(move);
        src[3] = 203;
        dst[3] = 101;
        e = refused(&spec, KVF_ERR_CONFLICT);
        assert_int_equal(e.fields, KVF_ERROR_ID | KVF_ERROR_OTHER_ID);
        assert_int_equal(e.id, 101);
        assert_true(e.other_id == 201 || e.other_id == 203);
        dst[3] = 103;
    }
    const kvf_plan onto_itself = {.count = 1, .src_ids = one_id, .dst_ids = one_id};
    kvf_move_spec spec = {
        .src = f.src, .dst = f.dst, .plans = &onto_itself, .plan_count = 1, .same_tier = true};
    assert_int_equal(refused(&spec, KVF_ERR_CONFLICT).id, 0);
    free_fixture(&f);
}

static void test_counts_that_overflow(void **state) {
    (void)state;
    fixture f = {strided(src_memory, 8), strided(dst_memory, 8)};
    const size_t counts[][2] = {{SIZE_MAX, 0},
                                {SIZE_MAX, SIZE_MAX},
                                {SIZE_MAX, 1},
                                {SIZE_MAX / 2, SIZE_MAX / 2 + 2},
                                {(size_t)UINT32_MAX + 1, 0},
                                {UINT32_MAX, 1}};
    for (size_t i = 0; i < COUNT(counts); i++) {
        const kvf_plan plans[] = {{.count = counts[i][0], .src_ids = one_id, .dst_ids = one_id},
                                  {.count = counts[i][1], .src_ids = one_id, .dst_ids = one_id}};
        const kvf_move_spec spec = {.src = f.src, .dst = f.dst, .plans = plans, .plan_count = 2};
        assert_int_equal(refused(&spec, KVF_ERR_RANGE).fields, 0);
    }
    free_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_layout_to_every_other),
        cmocka_unit_test(test_random_moves),
        cmocka_unit_test(test_largest_ids),
        cmocka_unit_test(test_sorting),
        cmocka_unit_test(test_a_million_blocks),
        cmocka_unit_test(test_counts_of_interleaved_rows),
        cmocka_unit_test(test_known_summary),
        cmocka_unit_test(test_null_arguments),
        cmocka_unit_test(test_empty_plans),
        cmocka_unit_test(test_layouts_that_disagree),
        cmocka_unit_test(test_layers_past_the_last),
        cmocka_unit_test(test_ids_out_of_range),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_counts_that_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
