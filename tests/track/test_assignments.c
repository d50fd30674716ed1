#include "assignments_state.h"

#include <string.h>

static void assert_range(kvf_range range, uint64_t start, uint64_t end) {
    assert_int_equal(range.start, start);
    assert_int_equal(range.end, end);
}

/* ---- making and reading --------------------------------------------------------------------- */

static void test_create(void **state) {
    (void)state;
    kvf_assignments *a = NULL;
    assert_int_equal(kvf_assignments_create(NULL, &a, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_offset(a), 0);
    assert_int_equal(kvf_assignments_hash_layout(a), KVF_HASH_V1_2);
    assert_blocks(a, "- | - | -");
    kvf_assignments_destroy(a);
    kvf_assignments_destroy(NULL);

    const kvf_assignments_options options = {.offset = UINT64_MAX, .layout = KVF_HASH_V1_3};
    assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_offset(a), UINT64_MAX);
    assert_int_equal(kvf_assignments_hash_layout(a), KVF_HASH_V1_3);
    kvf_assignments_destroy(a);
}

static void test_create_refuses(void **state) {
    (void)state;
    const kvf_assignments_options unknown = {.layout = (kvf_hash_layout)2};
    kvf_assignments *const untouched = (kvf_assignments *)&state;
    kvf_assignments *a = untouched;
    kvf_error error;
    assert_int_equal(kvf_assignments_create(&unknown, &a, &error), KVF_ERR_INVALID);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_int_equal(kvf_assignments_create(NULL, NULL, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_assignments_create(&unknown, &a, NULL), KVF_ERR_INVALID);
    assert_ptr_equal(a, untouched);
}

static void test_views_of_empty_assignments(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 5, 0, 0, 0);
    const kvf_view views[] = {kvf_assignments_assigned(a), kvf_assignments_staged(a),
                              kvf_assignments_pending(a)};
    for (size_t i = 0; i < COUNT(views); i++) {
        assert_null(views[i].ids);
        assert_null(views[i].hashes);
        assert_int_equal(views[i].count, 0);
        assert_int_equal(views[i].first_position, 5);
    }
    kvf_assignments_destroy(a);
}

static void test_positions_and_views(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 3, 2, 4);
    assert_blocks(a, "1 2 3 | 4 5 | 6 7 8 9");
    assert_int_equal(kvf_assignments_next_position(a), 15);
    assert_range(kvf_assignments_assigned_positions(a), 10, 13);
    assert_range(kvf_assignments_staged_positions(a), 13, 15);
    assert_range(kvf_assignments_pending_positions(a), 15, 19);
    kvf_view staged = kvf_assignments_staged(a), pending = kvf_assignments_pending(a);
    assert_int_equal(staged.first_position, 13);
    assert_true(kvf_hash_equal(staged.hashes[1], test_hash(14, 1000)));
    assert_int_equal(pending.first_position, 15);
    assert_null(pending.hashes);
    kvf_assignments_destroy(a);
}

static void test_get(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 2, 1, 1);
    const struct {
        bool staged, by_position;
        uint64_t at, id; /* id 0: none there */
    } cases[] = {
        {false, false, 0, 1},        {false, false, 1, 2}, {false, false, 2, 0},
        {false, false, SIZE_MAX, 0}, {true, false, 0, 3},  {true, false, 1, 0},
        {false, true, 9, 0},         {false, true, 10, 1}, {false, true, 11, 2},
        {false, true, 12, 0},        {false, true, 0, 0},  {false, true, UINT64_MAX, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t id = 77;
        kvf_hash hash = {77, 77}, same = hash;
        bool (*by_index)(const kvf_assignments *, size_t, uint64_t *, kvf_hash *) =
            cases[i].staged ? kvf_assignments_get_staged : kvf_assignments_get_assigned;
        bool got = cases[i].by_position
                       ? kvf_assignments_get_at_position(a, cases[i].at, &id, &hash)
                       : by_index(a, (size_t)cases[i].at, &id, &hash);
        assert_int_equal(got, cases[i].id != 0);
        assert_int_equal(id, got ? cases[i].id : 77);
        assert_true(kvf_hash_equal(hash, got ? test_hash(9 + id, 1000) : same));
    }
    assert_true(kvf_assignments_get_assigned(a, 0, NULL, NULL));
    assert_true(kvf_assignments_get_at_position(a, 10, NULL, NULL));
    assert_true(kvf_assignments_get_pending_at_position(a, 13, NULL));
    kvf_assignments_destroy(a);
}

static void test_get_pending(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 2, 1, 2);
    uint64_t id = 77;
    assert_false(kvf_assignments_get_pending_at_position(a, 12, &id));
    assert_false(kvf_assignments_get_pending_at_position(a, 15, &id));
    assert_false(kvf_assignments_get_pending_at_position(a, UINT64_MAX, &id));
    assert_int_equal(id, 77);
    assert_true(kvf_assignments_get_pending_at_position(a, 13, &id));
    assert_int_equal(id, 4);
    assert_true(kvf_assignments_get_pending_at_position(a, 14, &id));
    assert_int_equal(id, 5);
    kvf_assignments_destroy(a);
}

static void test_find(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 3, 2, 2);
    assert_int_equal(kvf_assignments_drop_front(a, 1, NULL), KVF_OK);
    const struct {
        uint64_t id;
        kvf_phase phase;
        size_t index;
    } cases[] = {
        {2, KVF_PHASE_ASSIGNED, 0}, {3, KVF_PHASE_ASSIGNED, 1},       {4, KVF_PHASE_STAGED, 0},
        {5, KVF_PHASE_STAGED, 1},   {6, KVF_PHASE_PENDING, 0},        {7, KVF_PHASE_PENDING, 1},
        {1, KVF_PHASE_NONE, 77},    {0, KVF_PHASE_NONE, 77},          {8, KVF_PHASE_NONE, 77},
        {66, KVF_PHASE_NONE, 77},   {UINT64_MAX, KVF_PHASE_NONE, 77},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t index = 77;
        assert_int_equal(kvf_assignments_find(a, cases[i].id, &index), cases[i].phase);
        assert_int_equal(index, cases[i].index);
        assert_int_equal(kvf_assignments_find(a, cases[i].id, NULL), cases[i].phase);
        assert_int_equal(kvf_assignments_contains(a, cases[i].id),
                         cases[i].phase != KVF_PHASE_NONE);
    }
    kvf_assignments_destroy(a);
}

static void test_format(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 3, 2, 1);
    const char want[] = "ExternalBlockAssignments { assigned_count: 3, staged_count: 2, "
                        "unassigned_count: 1, offset: 10 }";
    char text[sizeof want] = "";
    assert_int_equal(kvf_assignments_format(a, NULL, 0), sizeof want - 1);
    assert_int_equal(kvf_assignments_format(a, text, sizeof text), sizeof want - 1);
    assert_string_equal(text, want);
    assert_int_equal(kvf_assignments_format(a, text, 9), sizeof want - 1);
    assert_string_equal(text, "External");
    kvf_assignments_destroy(a);
}

static void test_memory_counts_every_byte(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_assignments *a = make_assignments(&memory.allocator, 0, 0, 0, 0);
    assert_int_equal(kvf_assignments_memory(a), memory.live_bytes);
    add_pending(a, 1, 100);
    assert_int_equal(kvf_assignments_memory(a), memory.live_bytes);
    kvf_assignments_destroy(a);
    test_allocator_done(&memory);
}

/* ---- invalid arguments ---------------------------------------------------------------------- */

static void test_null_assignments(void **state) {
    (void)state;
    const uint64_t ids[1] = {1};
    const kvf_hash hashes[1] = {{0, 0}};
    kvf_assignments *a;
    size_t count;
    kvf_range range;
    const kvf_status statuses[] = {
        kvf_assignments_clone(NULL, &a, NULL),
        kvf_assignments_extend_block_ids(NULL, ids, 1, NULL),
        kvf_assignments_extend_assigned(NULL, ids, hashes, 1, NULL),
        kvf_assignments_stage_pending(NULL, hashes, 1, &range, NULL),
        kvf_assignments_stage_next(NULL, hashes, 1, &range, NULL),
        kvf_assignments_assign_pending(NULL, hashes, 1, &range, NULL),
        kvf_assignments_take_staged(NULL, NULL, NULL, 0, &count, NULL),
        kvf_assignments_rollback_staged(NULL, 0, NULL),
        kvf_assignments_commit_oldest(NULL, 0, NULL),
        kvf_assignments_truncate(NULL, 0, NULL),
        kvf_assignments_drop_front(NULL, 0, NULL),
        kvf_assignments_reserve(NULL, 0, NULL),
    };
    for (size_t i = 0; i < COUNT(statuses); i++)
        assert_int_equal(statuses[i], KVF_ERR_INVALID);
    kvf_assignments_clear(NULL);
}

static void test_null_arrays(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 2, 2, 2);
    const assignments_state before = assignments_state_of(a);
    const uint64_t ids[1] = {50};
    const kvf_hash hashes[1] = {{0, 0}};
    kvf_error error;
    const kvf_status statuses[] = {
        kvf_assignments_clone(a, NULL, &error),
        kvf_assignments_extend_block_ids(a, NULL, 1, &error),
        kvf_assignments_extend_assigned(a, NULL, hashes, 1, &error),
        kvf_assignments_extend_assigned(a, ids, NULL, 1, &error),
        kvf_assignments_stage_pending(a, NULL, 9, NULL, &error),
        kvf_assignments_stage_next(a, NULL, 1, NULL, &error),
        kvf_assignments_assign_pending(a, NULL, 9, NULL, &error),
    };
    for (size_t i = 0; i < COUNT(statuses); i++)
        assert_int_equal(statuses[i], KVF_ERR_INVALID);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_unchanged(a, &before);
    kvf_assignments_destroy(a);
}

/* Counts of 0 are allowed, with NULL arrays too, on empty and on filled assignments. */
static void test_zero_counts(void **state) {
    (void)state;
    const size_t sizes[] = {0, 2};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        kvf_assignments *a = make_assignments(NULL, 3, sizes[i], sizes[i], sizes[i]);
        const assignments_state before = assignments_state_of(a);
        kvf_range range = {9, 9};
        assert_int_equal(kvf_assignments_extend_block_ids(a, NULL, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_extend_assigned(a, NULL, NULL, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_stage_next(a, NULL, 0, &range, NULL), KVF_OK);
        assert_range(range, sizes[i], sizes[i]);
        assert_int_equal(kvf_assignments_stage_pending(a, NULL, 0, NULL, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_rollback_staged(a, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_commit_oldest(a, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_drop_front(a, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_reserve(a, 0, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_truncate(a, UINT64_MAX, NULL), KVF_OK);
        assert_unchanged(a, &before);
        kvf_assignments_destroy(a);
    }
}

/* ---- the reference's operations ------------------------------------------------------------- */

static void test_extend_block_ids(void **state) {
    (void)state;
    /* On "1 2 | 3 | 4". */
    const struct {
        uint64_t ids[7];
        size_t count;
        const char *after;
    } cases[] = {
        {{1, 2, 3, 4}, 4, "1 2 | 3 | 4"},
        {{1, 2, 3, 4, 9, 8}, 6, "1 2 | 3 | 4 9 8"},
        {{9, 8}, 2, "1 2 | 3 | 4 9 8"},        /* none of the known ids */
        {{3, 9}, 2, "1 2 | 3 | 4 9"},          /* some of them */
        {{4, 3, 2, 1, 9}, 5, "1 2 | 3 | 4 9"}, /* in another order */
        {{4, 4, 4, 9}, 4, "1 2 | 3 | 4 9"},    /* a known one more than once */
        {{1, 2, 9}, 3, "1 2 | 3 | 4 9"},
        {{0}, 1, "1 2 | 3 | 4 0"},
        {{UINT64_MAX}, 1, "1 2 | 3 | 4 18446744073709551615"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *a = make_assignments(NULL, 0, 2, 1, 1);
        kvf_error error = {.status = KVF_OK, .fields = 9};
        test_expect(KVF_OK,
                    kvf_assignments_extend_block_ids(a, cases[i].ids, cases[i].count, &error),
                    &error);
        assert_int_equal(error.fields, 9); /* written on failure only */
        assert_blocks(a, cases[i].after);
        kvf_assignments_destroy(a);
    }
}

static void test_extend_block_ids_refuses(void **state) {
    (void)state;
    const kvf_status ordering = KVF_ERR_ORDERING_VIOLATION;
    const kvf_status duplicate = KVF_ERR_DUPLICATE_BLOCK_ID;
    /* On "1 2 | 3 | 4". The first offender counts. */
    const struct {
        uint64_t ids[7];
        size_t count;
        kvf_status status;
        uint64_t id, other_id, index, other_index;
    } cases[] = {
        {{9, 1}, 2, ordering, 1, 9, 1, 0},
        {{9, 3}, 2, ordering, 3, 9, 1, 0},
        {{9, 4}, 2, ordering, 4, 9, 1, 0},
        {{1, 2, 9, 8, 3}, 5, ordering, 3, 9, 4, 2},
        {{1, 9, 2, 3, 4}, 5, ordering, 2, 9, 2, 1},
        {{9, 9}, 2, duplicate, 9, 0, 0, 0},
        {{1, 9, 8, 7, 9}, 5, duplicate, 9, 0, 0, 0},
        {{9, 8, 1, 8}, 4, ordering, 1, 9, 2, 0},  /* before a duplicate */
        {{9, 8, 8, 1}, 4, duplicate, 8, 0, 0, 0}, /* before a violation */
        {{2, 9, 2}, 3, ordering, 2, 9, 2, 1},     /* known before and after */
        {{900, 9, 900, 1}, 4, duplicate, 900, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *a = make_assignments(NULL, 0, 2, 1, 1);
        const assignments_state before = assignments_state_of(a);
        kvf_error error;
        kvf_status status =
            kvf_assignments_extend_block_ids(a, cases[i].ids, cases[i].count, &error);
        assert_int_equal(status, cases[i].status);
        assert_int_equal(error.status, cases[i].status);
        assert_int_equal(error.fields, status == duplicate
                                           ? KVF_ERROR_ID
                                           : KVF_ERROR_ID | KVF_ERROR_OTHER_ID | KVF_ERROR_INDEX |
                                                 KVF_ERROR_OTHER_INDEX);
        assert_int_equal(error.id, cases[i].id);
        assert_int_equal(error.other_id, cases[i].other_id);
        assert_int_equal(error.index, cases[i].index);
        assert_int_equal(error.other_index, cases[i].other_index);
        assert_unchanged(a, &before);
        assert_false(kvf_assignments_contains(a, 9));
        assert_false(kvf_assignments_contains(a, 8));
        kvf_assignments_destroy(a);
    }
}

static void test_extend_assigned(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 10, 2, 2, 2);
    const uint64_t ids[] = {70, 71, 72};
    const kvf_hash hashes[] = {{1, 2}, {3, 4}, {5, 6}}; /* stored unchecked */
    assert_int_equal(kvf_assignments_extend_assigned(a, ids, hashes, 3, NULL), KVF_OK);
    assert_blocks(a, "1 2 70 71 72 | 3 4 | 5 6");
    kvf_view assigned = kvf_assignments_assigned(a), staged = kvf_assignments_staged(a);
    assert_memory_equal(assigned.hashes + 2, hashes, sizeof hashes);
    assert_true(kvf_hash_equal(assigned.hashes[1], test_hash(11, 1000)));
    assert_true(kvf_hash_equal(staged.hashes[0], test_hash(12, 1000)));
    assert_int_equal(staged.first_position, 15);
    assert_int_equal(kvf_assignments_next_position(a), 17);
    kvf_assignments_destroy(a);
}

static void test_extend_assigned_refuses(void **state) {
    (void)state;
    const struct {
        uint64_t ids[4];
        uint64_t index;
    } cases[] = {
        {{1, 9, 8, 7}, 0}, {{9, 2, 8, 7}, 1}, {{9, 8, 3, 7}, 2}, {{9, 8, 7, 4}, 3},
        {{9, 9, 8, 7}, 1}, {{9, 8, 7, 9}, 3}, {{9, 8, 9, 1}, 2}, {{9, 8, 1, 9}, 2},
    };
    const kvf_hash hashes[4] = {{0, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *a = make_assignments(NULL, 0, 2, 1, 1);
        const assignments_state before = assignments_state_of(a);
        kvf_error error;
        kvf_status status = kvf_assignments_extend_assigned(a, cases[i].ids, hashes, 4, &error);
        assert_int_equal(status, KVF_ERR_DUPLICATE_BLOCK_ID);
        assert_int_equal(error.status, KVF_ERR_DUPLICATE_BLOCK_ID);
        assert_int_equal(error.fields, KVF_ERROR_ID | KVF_ERROR_INDEX);
        assert_int_equal(error.id, cases[i].ids[cases[i].index]);
        assert_int_equal(error.index, cases[i].index);
        assert_unchanged(a, &before);
        kvf_assignments_destroy(a);
    }
}

/* Uses a whole sequence's hashes from next_position on, as many as there are pending ids. */
static void test_stage_pending(void **state) {
    (void)state;
    const struct {
        uint64_t offset;
        size_t count;
        uint64_t start, end;
        const char *after;
    } cases[] = {
        {0, 0, 1, 1, "1 2 | 3 | 4 5"},   {0, 3, 1, 1, "1 2 | 3 | 4 5"},
        {0, 4, 1, 2, "1 2 | 3 4 | 5"},   {0, 5, 1, 3, "1 2 | 3 4 5 | -"},
        {0, 9, 1, 3, "1 2 | 3 4 5 | -"}, {7, 10, 1, 1, "1 2 | 3 | 4 5"},
        {7, 11, 1, 2, "1 2 | 3 4 | 5"},  {7, 20, 1, 3, "1 2 | 3 4 5 | -"},
    };
    kvf_hash hashes[20];
    fill_hashes(hashes, 0, 20);
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *a = make_assignments(NULL, cases[i].offset, 2, 1, 2);
        kvf_range staged = {77, 77}, assigned = {77, 77};
        assert_int_equal(kvf_assignments_stage_pending(a, hashes, cases[i].count, &staged, NULL),
                         KVF_OK);
        assert_range(staged, cases[i].start, cases[i].end);
        assert_blocks(a, cases[i].after);
        kvf_view v = kvf_assignments_staged(a);
        assert_memory_equal(v.hashes, hashes + v.first_position, v.count * sizeof *hashes);

        assert_int_equal(kvf_assignments_assign_pending(a, hashes, cases[i].count, &assigned, NULL),
                         KVF_OK);
        assert_range(assigned, 2, 2 + v.count);
        assert_int_equal(kvf_assignments_staged_count(a), 0);
        kvf_assignments_destroy(a);
    }
}

static void test_stage_next(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 7, 2, 1, 3);
    kvf_hash hashes[9];
    kvf_range staged;
    fill_hashes(hashes, 10, 9);
    assert_int_equal(kvf_assignments_stage_next(a, hashes, 2, &staged, NULL), KVF_OK);
    assert_range(staged, 1, 3);
    assert_blocks(a, "1 2 | 3 4 5 | 6");
    assert_int_equal(kvf_assignments_stage_next(a, hashes + 2, 7, &staged, NULL), KVF_OK);
    assert_range(staged, 3, 4);
    assert_blocks(a, "1 2 | 3 4 5 6 | -");
    assert_int_equal(kvf_assignments_stage_next(a, hashes + 3, 6, &staged, NULL), KVF_OK);
    assert_range(staged, 4, 4);
    kvf_assignments_destroy(a);
}

/* Staging, from both kinds of list, and assigning report the same first wrong hash. */
static void test_position_mismatch(void **state) {
    (void)state;
    const kvf_hash mode3 = {1, UINT64_C(3) << 62};
    const struct {
        size_t at; /* in the three hashes from next_position on */
        kvf_hash hash;
        uint64_t actual;
    } cases[] = {
        {0, test_hash(4, 1000), 4},     {0, test_hash(0, 1000), 0},
        {1, test_hash(5, 1000), 5},     {2, test_hash(70000, 1000), 70000},
        {2, test_hash(255, 1000), 255}, {1, test_hash(256 + 4, 1000), 260},
        {1, mode3, UINT64_MAX},         {0, test_hash(KVF_MAX_POSITION, 1000), KVF_MAX_POSITION},
    };
    for (size_t i = 0; i < COUNT(cases) * 3; i++) {
        const size_t k = i / 3, at = 3 + cases[k].at;
        kvf_assignments *a = make_assignments(NULL, 0, 2, 1, 3);
        const assignments_state before = assignments_state_of(a);
        kvf_hash hashes[6];
        kvf_range range = {77, 77};
        kvf_error error;
        fill_hashes(hashes, 0, 6);
        hashes[5] = test_hash(99, 1000); /* wrong too, but later unless `at` is 2 */
        hashes[at] = cases[k].hash;
        kvf_status status = i % 3 == 0 ? kvf_assignments_stage_pending(a, hashes, 6, &range, &error)
                            : i % 3 == 1
                                ? kvf_assignments_assign_pending(a, hashes, 6, &range, &error)
                                : kvf_assignments_stage_next(a, hashes + 3, 3, &range, &error);
        assert_int_equal(status, KVF_ERR_POSITION_MISMATCH);
        assert_int_equal(error.status, KVF_ERR_POSITION_MISMATCH);
        assert_int_equal(error.fields, KVF_ERROR_ID | KVF_ERROR_POSITION | KVF_ERROR_EXPECTED);
        assert_int_equal(error.id, at + 1);
        assert_int_equal(error.position, cases[k].actual);
        assert_int_equal(error.expected, at);
        assert_range(range, 77, 77);
        assert_unchanged(a, &before);
        kvf_assignments_destroy(a);
    }
}

/* Hashes without a pending id are not checked. */
static void test_surplus_hashes_are_not_checked(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 0, 0, 1);
    const kvf_hash hashes[] = {test_hash(0, 1000), test_hash(9, 1000)};
    assert_int_equal(kvf_assignments_stage_pending(a, hashes, 2, NULL, NULL), KVF_OK);
    assert_blocks(a, "- | 1 | -");
    kvf_assignments_destroy(a);
}

static void test_commit_staged(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 7, 2, 3, 1);
    const kvf_view before = kvf_assignments_staged(a);
    assert_range(kvf_assignments_commit_staged(a), 2, 5);
    assert_blocks(a, "1 2 3 4 5 | - | 6");
    assert_ptr_equal(kvf_assignments_assigned(a).ids + 2, before.ids);
    assert_range(kvf_assignments_commit_staged(a), 5, 5);
    kvf_assignments_destroy(a);
}

static void test_take_staged(void **state) {
    (void)state;
    uint64_t ids[3];
    kvf_hash hashes[3];
    for (size_t i = 0; i < 4; i++) {
        kvf_assignments *a = make_assignments(NULL, 7, 2, 3, 2);
        uint64_t *to_ids = i & 1 ? ids : NULL;
        kvf_hash *to_hashes = i & 2 ? hashes : NULL;
        size_t count = 77;
        memset(ids, 0, sizeof ids);
        assert_int_equal(kvf_assignments_take_staged(a, to_ids, to_hashes, i ? 3 : 0, &count, NULL),
                         KVF_OK);
        assert_int_equal(count, 3);
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(ids[k], to_ids ? 3 + k : 0);
            if (to_hashes)
                assert_true(kvf_hash_equal(hashes[k], test_hash(9 + k, 1000)));
        }
        assert_blocks(a, "1 2 | - | 6 7");
        assert_int_equal(kvf_assignments_next_position(a), 9);
        add_pending(a, 3, 1); /* taken, so it may be added again */
        assert_blocks(a, "1 2 | - | 6 7 3");
        assert_int_equal(kvf_assignments_take_staged(a, ids, hashes, 0, &count, NULL), KVF_OK);
        assert_int_equal(count, 0);
        kvf_assignments_destroy(a);
    }
}

static void test_take_staged_refuses_small_arrays(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 7, 2, 3, 2);
    const assignments_state before = assignments_state_of(a);
    for (size_t i = 1; i < 4; i++) {
        uint64_t ids[3] = {77, 77, 77};
        kvf_hash hashes[3];
        size_t count = 77;
        kvf_error error;
        assert_int_equal(kvf_assignments_take_staged(a, i & 1 ? ids : NULL, i & 2 ? hashes : NULL,
                                                     2, &count, &error),
                         KVF_ERR_RANGE);
        assert_int_equal(error.fields, KVF_ERROR_EXPECTED);
        assert_int_equal(error.expected, 3);
        assert_int_equal(count, 77);
        assert_int_equal(ids[0], 77);
        assert_unchanged(a, &before);
    }
    assert_int_equal(kvf_assignments_take_staged(a, NULL, NULL, 0, NULL, NULL), KVF_OK);
    assert_blocks(a, "1 2 | - | 6 7");
    kvf_assignments_destroy(a);
}

static void test_clear(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 7, 4, 2, 2);
    assert_int_equal(kvf_assignments_drop_front(a, 1, NULL), KVF_OK);
    kvf_assignments_clear(a);
    assert_blocks(a, "- | - | -");
    assert_int_equal(kvf_assignments_offset(a), 8);
    assert_int_equal(kvf_assignments_next_position(a), 8);
    add_pending(a, 1, 3);
    assert_blocks(a, "- | - | 1 2 3");
    kvf_assignments_destroy(a);
}

/* ---- positions near 2^64 -------------------------------------------------------------------- */

static void test_positions_end_at_uint64_max(void **state) {
    (void)state;
    const uint64_t ids[] = {1, 2, 3, 4};
    const kvf_hash hashes[4] = {{0, 0}};
    for (uint64_t room = 0; room < 4; room++) {
        const kvf_assignments_options options = {.offset = UINT64_MAX - room};
        for (size_t assigned = 0; assigned < 2; assigned++) {
            kvf_assignments *a;
            kvf_error error;
            assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
            for (size_t count = 4; count > room; count--) {
                kvf_status status =
                    assigned ? kvf_assignments_extend_assigned(a, ids, hashes, count, &error)
                             : kvf_assignments_extend_block_ids(a, ids, count, &error);
                assert_int_equal(status, KVF_ERR_RANGE);
                assert_int_equal(error.status, KVF_ERR_RANGE);
                assert_int_equal(kvf_assignments_reserve(a, count, &error), KVF_ERR_RANGE);
                assert_blocks(a, "- | - | -");
                assert_false(kvf_assignments_contains(a, 1));
            }
            assert_int_equal(kvf_assignments_reserve(a, room, NULL), KVF_OK);
            kvf_status status = assigned
                                    ? kvf_assignments_extend_assigned(a, ids, hashes, room, NULL)
                                    : kvf_assignments_extend_block_ids(a, ids, room, NULL);
            assert_int_equal(status, KVF_OK);
            assert_int_equal(kvf_assignments_pending_positions(a).end, UINT64_MAX);
            assert_int_equal(kvf_assignments_extend_block_ids(a, ids + room, 1, NULL),
                             KVF_ERR_RANGE);
            assert_int_equal(kvf_assignments_truncate(a, UINT64_MAX, NULL), KVF_OK);
            assert_int_equal(kvf_assignments_assigned_count(a) + kvf_assignments_pending_count(a),
                             room);
            assert_false(kvf_assignments_get_at_position(a, UINT64_MAX, NULL, NULL));
            assert_false(kvf_assignments_get_pending_at_position(a, UINT64_MAX, NULL));
            kvf_assignments_destroy(a);
        }
    }
}

static void test_dropping_frees_no_positions(void **state) {
    (void)state;
    const kvf_assignments_options options = {.offset = UINT64_MAX - 2};
    const uint64_t ids[] = {1, 2, 3};
    const kvf_hash hashes[3] = {{0, 0}};
    kvf_assignments *a;
    assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_extend_assigned(a, ids, hashes, 2, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_drop_front(a, 2, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_offset(a), UINT64_MAX);
    assert_int_equal(kvf_assignments_extend_assigned(a, ids, hashes, 1, NULL), KVF_ERR_RANGE);
    assert_int_equal(kvf_assignments_extend_block_ids(a, ids, 1, NULL), KVF_ERR_RANGE);
    assert_blocks(a, "- | - | -");
    kvf_assignments_destroy(a);
}

/* An invalid id in the list is reported before a range error. */
static void test_invalid_id_before_range(void **state) {
    (void)state;
    const kvf_assignments_options options = {.offset = UINT64_MAX};
    const uint64_t ids[] = {1, 1};
    const kvf_hash hashes[2] = {{0, 0}};
    kvf_assignments *a;
    assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_extend_block_ids(a, ids, 2, NULL), KVF_ERR_DUPLICATE_BLOCK_ID);
    assert_int_equal(kvf_assignments_extend_assigned(a, ids, hashes, 2, NULL),
                     KVF_ERR_DUPLICATE_BLOCK_ID);
    kvf_assignments_destroy(a);
}

/* No lineage hash can have such a position. */
static void test_staging_near_uint64_max(void **state) {
    (void)state;
    const uint64_t offsets[] = {KVF_MAX_POSITION + 1, UINT64_C(1) << 62, UINT64_MAX - 1};
    for (size_t i = 0; i < COUNT(offsets); i++) {
        kvf_assignments *a = make_assignments(NULL, offsets[i], 0, 0, 1);
        /* The last has the right position, but a mode that lineage hashes do not have. */
        const kvf_hash hashes[] = {test_hash(offsets[i] & KVF_MAX_POSITION, 1000),
                                   {UINT64_MAX, UINT64_MAX},
                                   {0, UINT64_C(3) << 62 | (offsets[i] & UINT32_MAX) << 30}};
        for (size_t k = 0; k < COUNT(hashes); k++) {
            kvf_error error;
            assert_int_equal(kvf_assignments_stage_next(a, &hashes[k], 1, NULL, &error),
                             KVF_ERR_POSITION_MISMATCH);
            assert_int_equal(error.expected, offsets[i]);
            assert_int_equal(error.position, kvf_hash_position(hashes[k]));
        }
        assert_int_equal(kvf_assignments_stage_pending(a, hashes, COUNT(hashes), NULL, NULL),
                         KVF_OK);
        assert_blocks(a, "- | - | 1");
        kvf_assignments_destroy(a);
    }
}

/* ---- arguments that point into the object itself --------------------------------------------- */

/* Passes the object's own list back: nothing is new. */
static void test_extending_by_its_own_ids(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 2, 2, 4);
    const assignments_state before = assignments_state_of(a);
    assert_int_equal(kvf_assignments_extend_block_ids(a, kvf_assignments_assigned(a).ids, 8, NULL),
                     KVF_OK);
    assert_int_equal(kvf_assignments_extend_block_ids(a, kvf_assignments_pending(a).ids, 4, NULL),
                     KVF_OK);
    assert_unchanged(a, &before);
    kvf_assignments_destroy(a);
}

/* A view stays valid through staging, committing and rolling back, so it can be staged again. */
static void test_staging_again_from_a_view(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 0, 1, 3, 1);
    const assignments_state before = assignments_state_of(a);
    const kvf_view v = kvf_assignments_staged(a);
    assert_int_equal(kvf_assignments_rollback_staged(a, 3, NULL), KVF_OK);
    assert_blocks(a, "1 | - | 2 3 4 5");
    assert_int_equal(kvf_assignments_stage_next(a, v.hashes, v.count, NULL, NULL), KVF_OK);
    assert_unchanged(a, &before);
    kvf_assignments_commit_staged(a);
    assert_ptr_equal(kvf_assignments_assigned(a).ids + 1, v.ids);
    kvf_assignments_destroy(a);
}

/* Fills one object from another's views. */
static void test_filling_from_views(void **state) {
    (void)state;
    kvf_assignments *a = make_assignments(NULL, 5, 4, 1, 0),
                    *b = make_assignments(NULL, 5, 0, 0, 0);
    const kvf_view v = kvf_assignments_assigned(a);
    assert_int_equal(kvf_assignments_extend_assigned(b, v.ids, v.hashes, v.count, NULL), KVF_OK);
    const kvf_view s = kvf_assignments_staged(a);
    assert_int_equal(kvf_assignments_extend_block_ids(b, s.ids, s.count, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_stage_next(b, s.hashes, s.count, NULL, NULL), KVF_OK);
    const assignments_state same = assignments_state_of(a);
    assert_unchanged(b, &same);
    kvf_assignments_destroy(a);
    kvf_assignments_destroy(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_views_of_empty_assignments),
        cmocka_unit_test(test_positions_and_views),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_get_pending),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_memory_counts_every_byte),
        cmocka_unit_test(test_null_assignments),
        cmocka_unit_test(test_null_arrays),
        cmocka_unit_test(test_zero_counts),
        cmocka_unit_test(test_extend_block_ids),
        cmocka_unit_test(test_extend_block_ids_refuses),
        cmocka_unit_test(test_extend_assigned),
        cmocka_unit_test(test_extend_assigned_refuses),
        cmocka_unit_test(test_stage_pending),
        cmocka_unit_test(test_stage_next),
        cmocka_unit_test(test_position_mismatch),
        cmocka_unit_test(test_surplus_hashes_are_not_checked),
        cmocka_unit_test(test_commit_staged),
        cmocka_unit_test(test_take_staged),
        cmocka_unit_test(test_take_staged_refuses_small_arrays),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_positions_end_at_uint64_max),
        cmocka_unit_test(test_dropping_frees_no_positions),
        cmocka_unit_test(test_invalid_id_before_range),
        cmocka_unit_test(test_staging_near_uint64_max),
        cmocka_unit_test(test_extending_by_its_own_ids),
        cmocka_unit_test(test_staging_again_from_a_view),
        cmocka_unit_test(test_filling_from_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
