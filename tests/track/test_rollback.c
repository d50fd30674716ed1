/* Operations beyond the reference's: rollback, truncate, drop_front, clone, reserve. */
#include "assignments_state.h"

/* Operations with one number, on "1 2 3 | 4 5 | 6 7" from position 10 on. */
static void test_operations_with_a_number(void **state) {
    (void)state;
    typedef kvf_status (*size_operation)(kvf_assignments *, size_t, kvf_error *);
    const struct {
        size_operation run; /* NULL: truncate */
        uint64_t number;
        const char *after; /* NULL: a range error, `expected` below */
        uint64_t expected;
    } cases[] = {
        {kvf_assignments_rollback_staged, 0, "1 2 3 | 4 5 | 6 7", 0},
        {kvf_assignments_rollback_staged, 1, "1 2 3 | 4 | 5 6 7", 0},
        {kvf_assignments_rollback_staged, 2, "1 2 3 | - | 4 5 6 7", 0},
        {kvf_assignments_rollback_staged, 3, NULL, 2},
        {kvf_assignments_rollback_staged, SIZE_MAX, NULL, 2},
        {kvf_assignments_commit_oldest, 0, "1 2 3 | 4 5 | 6 7", 0},
        {kvf_assignments_commit_oldest, 1, "1 2 3 4 | 5 | 6 7", 0},
        {kvf_assignments_commit_oldest, 2, "1 2 3 4 5 | - | 6 7", 0},
        {kvf_assignments_commit_oldest, 3, NULL, 2},
        {kvf_assignments_commit_oldest, SIZE_MAX, NULL, 2},
        {kvf_assignments_drop_front, 0, "1 2 3 | 4 5 | 6 7", 0},
        {kvf_assignments_drop_front, 1, "2 3 | 4 5 | 6 7", 0},
        {kvf_assignments_drop_front, 3, "- | 4 5 | 6 7", 0},
        {kvf_assignments_drop_front, 4, NULL, 3},
        {kvf_assignments_drop_front, SIZE_MAX, NULL, 3},
        {NULL, 9, NULL, 10},
        {NULL, 0, NULL, 10},
        {NULL, 10, "- | - | -", 0},
        {NULL, 11, "1 | - | -", 0},
        {NULL, 13, "1 2 3 | - | -", 0},
        {NULL, 14, "1 2 3 | 4 | -", 0},
        {NULL, 15, "1 2 3 | 4 5 | -", 0},
        {NULL, 16, "1 2 3 | 4 5 | 6", 0},
        {NULL, 17, "1 2 3 | 4 5 | 6 7", 0},
        {NULL, 18, "1 2 3 | 4 5 | 6 7", 0},
        {NULL, UINT64_MAX, "1 2 3 | 4 5 | 6 7", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *a = make_assignments(NULL, 10, 3, 2, 2);
        const assignments_state before = assignments_state_of(a);
        kvf_error error = {.status = KVF_OK};
        kvf_status status = cases[i].run ? cases[i].run(a, (size_t)cases[i].number, &error)
                                         : kvf_assignments_truncate(a, cases[i].number, &error);
        if (cases[i].after) {
            test_expect(KVF_OK, status, &error);
            assert_blocks(a, cases[i].after);
        } else {
            assert_int_equal(status, KVF_ERR_RANGE);
            assert_int_equal(error.status, KVF_ERR_RANGE);
            assert_true(error.fields & KVF_ERROR_EXPECTED);
            assert_int_equal(error.expected, cases[i].expected);
            assert_unchanged(a, &before);
        }
        kvf_assignments_destroy(a);
    }
}

static void test_drop_front_keeps_positions(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 3, 1, 1);
    uint64_t id;
    assert_int_equal(kvf_assignments_drop_front(a, 2, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_offset(a), 12);
    assert_int_equal(kvf_assignments_next_position(a), 14);
    assert_true(kvf_assignments_get_at_position(a, 12, &id, NULL));
    assert_int_equal(id, 3);
    assert_false(kvf_assignments_get_at_position(a, 11, &id, NULL));
    assert_false(kvf_assignments_contains(a, 1));
    assert_int_equal(kvf_assignments_truncate(a, 11, NULL), KVF_ERR_RANGE);
    add_pending(a, 1, 2);
    assert_blocks(a, "3 | 4 | 5 1 2");
    kvf_assignments_destroy(a);
}

/* Truncated ids may be added again; they do not get their old hashes back. */
static void test_truncated_ids_are_forgotten(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 3, 2, 2);
    assert_int_equal(kvf_assignments_truncate(a, 2, NULL), KVF_OK);
    for (uint64_t id = 3; id <= 7; id++)
        assert_false(kvf_assignments_contains(a, id));
    add_pending(a, 5, 3);
    stage_some(a, 1);
    assert_blocks(a, "1 2 | 5 | 6 7");
    assert_true(kvf_hash_equal(kvf_assignments_staged(a).hashes[0], test_hash(2, 1000)));
    kvf_assignments_destroy(a);
}

/* A window of 20 blocks slides over 5,000: contents are right, and only the start allocates. */
static void test_sliding_window(void **state) {
    (void)state;
    enum { WINDOW = 20, BLOCKS = 5000 };
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_assignments *a = make_assignments(&memory.allocator, 0, 0, 0, 0);
    size_t calls = 0;
    for (uint64_t position = 0; position < BLOCKS; position++) {
        const uint64_t id = position * 64 + 7;
        const kvf_hash hash = test_hash(position, 1000);
        assert_int_equal(kvf_assignments_extend_block_ids(a, &id, 1, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_stage_next(a, &hash, 1, NULL, NULL), KVF_OK);
        kvf_assignments_commit_staged(a);
        if (position >= WINDOW)
            assert_int_equal(kvf_assignments_drop_front(a, 1, NULL), KVF_OK);
        if (position == 500)
            calls = memory.calls;
    }
    assert_int_equal(memory.calls, calls);
    const kvf_view v = kvf_assignments_assigned(a);
    assert_int_equal(v.count, WINDOW);
    assert_int_equal(v.first_position, BLOCKS - WINDOW);
    for (size_t i = 0; i < WINDOW; i++) {
        assert_int_equal(v.ids[i], (v.first_position + i) * 64 + 7);
        assert_true(kvf_hash_equal(v.hashes[i], test_hash(v.first_position + i, 1000)));
    }
    assert_null(kvf__assignments_check(a));
    kvf_assignments_destroy(a);
    test_allocator_done(&memory);
}

/* All three phases survive compaction over dropped blocks and growth after it. */
static void test_growth_after_drop_front(void **state) {
    (void)state;
    for (size_t dropped = 1; dropped <= 30; dropped++) {
        kvf_assignments *a = make_assignments(NULL, 0, 30, 2, 2);
        kvf_assignments *same = make_assignments(NULL, 0, 30, 2, 2);
        assert_int_equal(kvf_assignments_drop_front(a, dropped, NULL), KVF_OK);
        add_pending(a, 100, 100);
        add_pending(same, 100, 100);
        assert_int_equal(kvf_assignments_drop_front(same, dropped, NULL), KVF_OK);
        const assignments_state expected = assignments_state_of(same);
        assert_unchanged(a, &expected);
        kvf_assignments_destroy(a);
        kvf_assignments_destroy(same);
    }
}

static void test_clone(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_assignments *a = make_assignments(&memory.allocator, 10, 3, 2, 2), *copy;
    assert_int_equal(kvf_assignments_drop_front(a, 1, NULL), KVF_OK);
    const assignments_state before = assignments_state_of(a);
    assert_int_equal(kvf_assignments_clone(a, &copy, NULL), KVF_OK);
    assert_unchanged(copy, &before);
    assert_int_equal(kvf_assignments_memory(a) + kvf_assignments_memory(copy), memory.live_bytes);
    kvf_assignments_commit_staged(copy);
    add_pending(copy, 50, 1);
    assert_blocks(copy, "2 3 4 5 | - | 6 7 50");
    assert_unchanged(a, &before);
    kvf_assignments_destroy(a);
    assert_blocks(copy, "2 3 4 5 | - | 6 7 50");
    kvf_assignments_destroy(copy);
    test_allocator_done(&memory);
}

static void test_clone_of_empty_assignments(void **state) {
    (void)state;
    const kvf_assignments_options options = {.offset = 9, .layout = KVF_HASH_V1_3};
    kvf_assignments *a, *copy;
    assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_clone(a, &copy, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_offset(copy), 9);
    assert_int_equal(kvf_assignments_hash_layout(copy), KVF_HASH_V1_3);
    assert_blocks(copy, "- | - | -");
    kvf_assignments_destroy(a);
    kvf_assignments_destroy(copy);
}

/* ---- reserving ------------------------------------------------------------------------------- */

typedef uint64_t make_id(uint64_t i);

static uint64_t dense_id(uint64_t i) {
    return i + 5;
}

static uint64_t scattered_id(uint64_t i) {
    return (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Keys that are multiples of the hash factor's inverse all start their search at the same entry. */
static uint64_t colliding_id(uint64_t i) {
    const uint64_t inverse = UINT64_C(0xf1de83e19937733d); /* of 0x9e3779b97f4a7c15 */
    uint64_t key = 0;
    for (uint64_t n = 0, found = 0; found <= i; n++) {
        key = n * inverse;
        found += key < UINT64_C(1) << 58;
    }
    return key * 64 + i % 64;
}

static make_id *const kinds[] = {dense_id, scattered_id, colliding_id};

enum { RESERVED = 100 };

static void fill_from(kvf_assignments *a, make_id *make, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        const uint64_t id = make(i);
        const kvf_hash hash = test_hash(kvf_assignments_next_position(a), 1000);
        kvf_error error;
        kvf_status status = i % 2 ? kvf_assignments_extend_assigned(a, &id, &hash, 1, &error)
                                  : kvf_assignments_extend_block_ids(a, &id, 1, &error);
        test_expect(KVF_OK, status, &error);
    }
}

static kvf_assignments *make_reserved(test_allocator *memory, size_t count) {
    test_allocator_init(memory);
    kvf_assignments *a = make_assignments(&memory->allocator, 0, 0, 0, 0);
    assert_int_equal(kvf_assignments_reserve(a, count, NULL), KVF_OK);
    return a;
}

static void allow_no_more(test_allocator *memory) {
    memory->fail_at = memory->calls + 1;
    memory->fail_ever_after = true;
}

static void finish(kvf_assignments *a, test_allocator *memory) {
    assert_null(kvf__assignments_check(a));
    kvf_assignments_destroy(a);
    test_allocator_done(memory);
}

static void test_reserved_room_needs_no_memory(void **state) {
    (void)state;
    const size_t counts[] = {1, 2, 3, 4, 5, 12, 13, RESERVED};
    for (size_t i = 0; i < COUNT(counts) * COUNT(kinds); i++) {
        test_allocator memory;
        const size_t count = counts[i / COUNT(kinds)];
        kvf_assignments *a = make_reserved(&memory, count);
        allow_no_more(&memory);
        fill_from(a, kinds[i % COUNT(kinds)], 0, count);
        assert_int_equal(kvf_assignments_reserve(a, count, NULL), KVF_OK);
        finish(a, &memory);
    }
}

/* Reserved room lasts, however many blocks are dropped or truncated in between. */
static void test_reserved_room_survives_dropping(void **state) {
    (void)state;
    for (size_t dropped = 1; dropped <= RESERVED / 2; dropped += 7) {
        test_allocator memory;
        kvf_assignments *a = make_reserved(&memory, RESERVED);
        allow_no_more(&memory);
        fill_from(a, scattered_id, 0, RESERVED);
        assert_int_equal(kvf_assignments_drop_front(a, dropped, NULL), KVF_OK);
        fill_from(a, scattered_id, RESERVED, RESERVED + dropped);
        assert_int_equal(kvf_assignments_truncate(a, kvf_assignments_offset(a) + 3, NULL), KVF_OK);
        fill_from(a, dense_id, 3, RESERVED);
        finish(a, &memory);
    }
}

/* Room reserved for the current count serves other ids, too. */
static void test_reserving_no_more_than_there_are(void **state) {
    (void)state;
    test_allocator memory;
    kvf_assignments *a = make_reserved(&memory, 0);
    fill_from(a, dense_id, 0, RESERVED);
    assert_int_equal(kvf_assignments_reserve(a, RESERVED, NULL), KVF_OK);
    allow_no_more(&memory);
    assert_int_equal(kvf_assignments_truncate(a, 0, NULL), KVF_OK);
    fill_from(a, scattered_id, 0, RESERVED);
    finish(a, &memory);
}

/* Three blocks in a table reserved for one: the search for a fourth must terminate. */
static void test_a_small_reserve_can_be_outgrown(void **state) {
    (void)state;
    test_allocator memory;
    kvf_assignments *a = make_reserved(&memory, 1);
    fill_from(a, scattered_id, 0, 3);
    assert_false(kvf_assignments_contains(a, scattered_id(3)));
    finish(a, &memory);
}

static void test_reserve_keeps_everything(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 5, 9, 2, 2);
    assert_int_equal(kvf_assignments_drop_front(a, 4, NULL), KVF_OK);
    const assignments_state before = assignments_state_of(a);
    assert_int_equal(kvf_assignments_reserve(a, 1000, NULL), KVF_OK);
    assert_unchanged(a, &before);
    kvf_assignments_destroy(a);
}

static void test_huge_reserves(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 1, 1, 1);
    const assignments_state before = assignments_state_of(a);
    const size_t counts[] = {SIZE_MAX, SIZE_MAX / 8, SIZE_MAX / 8 + 2, PTRDIFF_MAX};
    for (size_t i = 0; i < COUNT(counts); i++) {
        kvf_error error;
        assert_int_equal(kvf_assignments_reserve(a, counts[i], &error), KVF_ERR_NO_MEMORY);
        assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
        assert_unchanged(a, &before);
    }
    kvf_assignments_destroy(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_with_a_number),
        cmocka_unit_test(test_drop_front_keeps_positions),
        cmocka_unit_test(test_truncated_ids_are_forgotten),
        cmocka_unit_test(test_sliding_window),
        cmocka_unit_test(test_growth_after_drop_front),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_clone_of_empty_assignments),
        cmocka_unit_test(test_reserved_room_needs_no_memory),
        cmocka_unit_test(test_reserved_room_survives_dropping),
        cmocka_unit_test(test_reserving_no_more_than_there_are),
        cmocka_unit_test(test_a_small_reserve_can_be_outgrown),
        cmocka_unit_test(test_reserve_keeps_everything),
        cmocka_unit_test(test_huge_reserves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
