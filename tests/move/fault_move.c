#include "support/support.h"

#include "move/move.h"

#include <string.h>

static char src_memory[4096], dst_memory[4096];

/* A tile of two lines, and a region of one strip. */
static kvf_layout *layout_at(char *memory, kvf_tile_order order) {
    const kvf_region regions[] = {
        {.base = memory, .block_stride = 16, .bytes = 8, .tokens = 2, .heads = 2, .order = order},
        {.base = memory + 12, .block_stride = 16, .bytes = 4, .layer = 1},
    };
    kvf_layout *layout;
    assert_int_equal(kvf_layout_create(regions, 2, 256, NULL, &layout, NULL), KVF_OK);
    return layout;
}

enum { PAIRS = 120 };

/* Unordered ids so far apart that sets and runs have to grow; none is source and destination. */
typedef struct fixture {
    kvf_layout *src, *dst;
    uint64_t src_ids[PAIRS], dst_ids[PAIRS];
    kvf_plan plan;
    kvf_move_spec spec;
} fixture;

static void open_fixture(fixture *f, bool same_tier) {
    *f = (fixture){.src = layout_at(src_memory, KVF_ORDER_NHD),
                   .dst = layout_at(dst_memory, KVF_ORDER_HND)};
    for (uint64_t i = 0; i < PAIRS; i++) {
        f->src_ids[i] = 2 * (i * i % PAIRS);
        f->dst_ids[i] = 2 * (i * 7 % PAIRS) + 1;
    }
    f->plan = (kvf_plan){.count = PAIRS, .src_ids = f->src_ids, .dst_ids = f->dst_ids};
    f->spec = (kvf_move_spec){
        .src = f->src, .dst = f->dst, .plans = &f->plan, .plan_count = 1, .same_tier = same_tier};
}

static void close_fixture(fixture *f) {
    kvf_layout_destroy(f->src);
    kvf_layout_destroy(f->dst);
}

static size_t count_boxes(const kvf_move *move) {
    kvf_box box;
    kvf_box_cursor cursor = {0};
    size_t count = 0;
    while (kvf_move_next(move, &cursor, &box, 1) == 1)
        count++;
    return count;
}

/* Fails one allocation after the other; returns how many there are. */
static size_t fail_to_create(const kvf_move_spec *spec, bool ever_after, kvf_status in_the_end) {
    kvf_move *const untouched = (kvf_move *)(void *)src_memory;
    const kvf_box_limits none = {0};
    for (size_t fail_at = 1;; fail_at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        memory.fail_at = fail_at;
        memory.fail_ever_after = ever_after;
        kvf_move *move = untouched;
        kvf_error error = {.status = KVF_OK};
        kvf_status status = kvf_move_create(spec, &none, &memory.allocator, &move, &error);
        if (memory.calls < fail_at) {
            test_expect(in_the_end, status, &error);
            if (status == KVF_OK) {
                assert_int_equal(count_boxes(move), (4 + 1) * PAIRS);
                kvf_move_destroy(move);
            }
            test_allocator_done(&memory);
            return fail_at - 1;
        }
        test_expect(KVF_ERR_NO_MEMORY, status, &error);
        assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
        assert_ptr_equal(move, untouched);
        test_allocator_done(&memory);
    }
}

static void test_create(void **state) {
    (void)state;
    fixture f;
    for (int same_tier = 0; same_tier < 2; same_tier++) {
        open_fixture(&f, same_tier);
        size_t once = fail_to_create(&f.spec, false, KVF_OK);
        size_t ever = fail_to_create(&f.spec, true, KVF_OK);
        /* The move, its strips and pairs, every growth of the runs, and the set of ids. */
        assert_in_range(once, same_tier ? 8 : 7, 30);
        assert_int_equal(ever, once);
        close_fixture(&f);
    }
}

/* A refused move leaks nothing either. */
static void test_refusals(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, true);
    f.src_ids[PAIRS - 1] = f.dst_ids[0];
    assert_in_range(fail_to_create(&f.spec, false, KVF_ERR_CONFLICT), 4, 30);
    f.src_ids[PAIRS - 1] = 2;
    f.dst_ids[PAIRS - 1] = f.dst_ids[0];
    assert_in_range(fail_to_create(&f.spec, true, KVF_ERR_CONFLICT), 3, 3);
    f.dst_ids[PAIRS - 1] = 256;
    assert_in_range(fail_to_create(&f.spec, true, KVF_ERR_RANGE), 3, 3);
    close_fixture(&f);
}

static void test_describe(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, false);
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_move *move;
    assert_int_equal(kvf_move_create(&f.spec, NULL, &memory.allocator, &move, NULL), KVF_OK);
    kvf_move_summary wanted, untouched;
    assert_int_equal(kvf_move_describe(move, &wanted, NULL), KVF_OK);
    memset(&untouched, 0x33, sizeof untouched);
    const size_t live = memory.live_bytes;
    for (int ever_after = 0; ever_after < 2; ever_after++) {
        kvf_status status = KVF_ERR_NO_MEMORY;
        size_t failures = 0;
        for (; status != KVF_OK; failures++) {
            kvf_move_summary info = untouched;
            kvf_error error = {.status = KVF_OK};
            memory.fail_at = memory.calls + 1 + failures;
            memory.fail_ever_after = ever_after;
            status = kvf_move_describe(move, &info, &error);
            assert_memory_equal(&info, status == KVF_OK ? &wanted : &untouched, sizeof info);
            assert_int_equal(error.status, status);
            assert_int_equal(memory.live_bytes, live);
        }
        assert_int_equal(failures, 3); /* two, then none */
    }
    memory.fail_at = 0;
    kvf_move_destroy(move);
    test_allocator_done(&memory);
    close_fixture(&f);
}

/* As many pairs as size_t can count: no product overflows on the way to the allocator. */
static void test_huge_counts_find_no_memory(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, false);
    f.plan.count = UINT32_MAX;
    test_allocator memory;
    test_allocator_init(&memory);
    memory.fail_at = 3; /* before an id is read */
    kvf_move *move;
    kvf_error error;
    assert_int_equal(kvf_move_create(&f.spec, NULL, &memory.allocator, &move, &error),
                     KVF_ERR_NO_MEMORY);
    test_allocator_done(&memory);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_huge_counts_find_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
