#include "assignments_state.h"

static void assert_empty(kvf_plan plan, uint64_t first_position) {
    assert_int_equal(plan.count, 0);
    assert_int_equal(plan.first_position, first_position);
    assert_null(plan.src_ids);
    assert_null(plan.dst_ids);
    assert_null(plan.src_hashes);
}

static bool at_assigned(const kvf_assignments *a, uint64_t position, uint64_t *id, kvf_hash *hash) {
    return kvf_assignments_get_at_position(a, position, id, hash);
}

static bool at_pending(const kvf_assignments *a, uint64_t position, uint64_t *id, kvf_hash *hash) {
    (void)hash;
    return kvf_assignments_get_pending_at_position(a, position, id);
}

typedef bool lookup(const kvf_assignments *, uint64_t, uint64_t *, kvf_hash *);

/* Compares a plan with look-ups of every position. */
static void check_zip(kvf_plan plan, const kvf_assignments *src, const kvf_assignments *dst,
                      lookup *at_dst) {
    size_t count = 0;
    for (uint64_t position = 0; position < 64; position++) {
        uint64_t src_id, dst_id;
        kvf_hash hash;
        if (!at_assigned(src, position, &src_id, &hash) || !at_dst(dst, position, &dst_id, NULL))
            continue;
        assert_true(count < plan.count);
        assert_int_equal(plan.first_position + count, position);
        assert_int_equal(plan.src_ids[count], src_id);
        assert_int_equal(plan.dst_ids[count], dst_id);
        assert_true(kvf_hash_equal(plan.src_hashes[count], hash));
        count++;
    }
    assert_int_equal(plan.count, count);
    if (count == 0)
        assert_empty(plan, plan.first_position);
}

/* Every relation of two position ranges: apart, adjacent, overlapping, nested. */
static void test_zip_every_pair(void **state) {
    (void)state;
    enum { KINDS = 4 * 3 * 3 };
    kvf_assignments *src[KINDS], *dst[KINDS];
    for (size_t i = 0; i < KINDS; i++) {
        const size_t offset = i % 4 * 3, assigned = i / 4 % 3 * 4, rest = i / 12 * 3;
        src[i] = make_assignments(NULL, offset, assigned, rest, rest);
        dst[i] = make_assignments(NULL, offset, assigned, rest / 2, rest + 1);
    }
    for (size_t i = 0; i < KINDS; i++)
        for (size_t k = 0; k < KINDS; k++) {
            check_zip(kvf_zip_assigned(src[i], dst[k]), src[i], dst[k], at_assigned);
            check_zip(kvf_zip_assigned_pending(src[i], dst[k]), src[i], dst[k], at_pending);
        }
    for (size_t i = 0; i < KINDS; i++) {
        kvf_assignments_destroy(src[i]);
        kvf_assignments_destroy(dst[i]);
    }
}

static void test_zip_after_drop_front(void **state) {
    (void)state;
    kvf_assignments *src = make_assignments(NULL, 0, 9, 0, 0),
                    *dst = make_assignments(NULL, 4, 1, 0, 6);
    assert_int_equal(kvf_assignments_drop_front(src, 6, NULL), KVF_OK);
    kvf_plan plan = kvf_zip_assigned_pending(src, dst);
    check_zip(plan, src, dst, at_pending);
    assert_int_equal(plan.first_position, 6);
    assert_int_equal(plan.count, 3);
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst);
}

/* The first position of empty plans. */
static void test_empty_zips(void **state) {
    (void)state;
    kvf_assignments *low = make_assignments(NULL, 0, 2, 0, 1),
                    *high = make_assignments(NULL, 9, 2, 0, 0);
    kvf_assignments *none = make_assignments(NULL, UINT64_MAX, 0, 0, 0);
    assert_empty(kvf_zip_assigned(low, high), 9);
    assert_empty(kvf_zip_assigned(high, low), 9);
    assert_empty(kvf_zip_assigned_pending(high, low), 9);
    assert_empty(kvf_zip_assigned(none, low), UINT64_MAX);
    assert_empty(kvf_zip_assigned_pending(low, none), UINT64_MAX);
    assert_empty(kvf_zip_assigned(none, none), UINT64_MAX);
    kvf_assignments_destroy(low);
    kvf_assignments_destroy(high);
    kvf_assignments_destroy(none);
}

static void test_zip_near_uint64_max(void **state) {
    (void)state;
    const kvf_assignments_options options = {.offset = UINT64_MAX - 4};
    const uint64_t ids[] = {1, 2, 3, 4};
    const kvf_hash hashes[] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}};
    kvf_assignments *src;
    assert_int_equal(kvf_assignments_create(&options, &src, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_extend_assigned(src, ids, hashes, 4, NULL), KVF_OK);
    kvf_assignments *dst = make_assignments(NULL, UINT64_MAX - 2, 0, 0, 2);
    const kvf_plan plan = kvf_zip_assigned_pending(src, dst);
    assert_int_equal(plan.first_position, UINT64_MAX - 2);
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.src_ids[0], 3);
    assert_int_equal(plan.dst_ids[1], 2);
    assert_int_equal(plan.src_hashes[1].low, 4);
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst);
}

/* A plan is a view: staging and committing do not move what it points to. */
static void test_plans_outlive_staging(void **state) {
    (void)state;
    kvf_assignments *src = make_assignments(NULL, 0, 6, 0, 0),
                    *dst = make_assignments(NULL, 0, 2, 0, 4);
    const kvf_plan plan = kvf_zip_assigned_pending(src, dst);
    stage_some(dst, 3);
    kvf_assignments_commit_oldest(dst, 2, NULL);
    kvf_assignments_rollback_staged(dst, 1, NULL);
    assert_int_equal(plan.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(plan.src_ids[i], 3 + i);
        assert_int_equal(plan.dst_ids[i], 3 + i);
    }
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst);
}

/* ---- slices --------------------------------------------------------------------------------- */

static const uint64_t src_ids[] = {10, 11, 12, 13, 14}, dst_ids[] = {20, 21, 22, 23, 24};
static const kvf_hash hashes[5] = {{0, 0}};

/* Of a plan of five blocks, the first at position `first`. */
static const struct {
    uint64_t first;
    kvf_range positions;
    uint64_t skipped; /* blocks cut off in front of the remaining `count` */
    size_t count;
    uint64_t slice_first;
} slices[] = {
    {5, {5, 10}, 0, 5, 5},
    {5, {0, 100}, 0, 5, 5},
    {5, {0, UINT64_MAX}, 0, 5, 5},
    {5, {0, 6}, 0, 1, 5},
    {5, {9, 10}, 4, 1, 9},
    {5, {9, 11}, 4, 1, 9},
    {5, {6, 9}, 1, 3, 6},
    {5, {7, 7}, 0, 0, 7},    /* empty */
    {5, {8, 6}, 0, 0, 8},    /* backwards */
    {5, {0, 5}, 0, 0, 5},    /* before */
    {5, {10, 12}, 0, 0, 10}, /* after */
    {5, {UINT64_MAX, UINT64_MAX}, 0, 0, UINT64_MAX},
    {UINT64_MAX - 5, {0, UINT64_MAX}, 0, 5, UINT64_MAX - 5},
    {UINT64_MAX - 5, {UINT64_MAX - 1, UINT64_MAX}, 4, 1, UINT64_MAX - 1},
    {UINT64_MAX - 5, {UINT64_MAX, UINT64_MAX}, 0, 0, UINT64_MAX},
    {UINT64_MAX - 5, {0, UINT64_MAX - 5}, 0, 0, UINT64_MAX - 5},
    /* A caller's plan that exceeds the last position is cut there. */
    {UINT64_MAX - 2, {0, UINT64_MAX}, 0, 2, UINT64_MAX - 2},
    {UINT64_MAX - 2, {UINT64_MAX - 1, UINT64_MAX}, 1, 1, UINT64_MAX - 1},
    {UINT64_MAX - 2, {0, 3}, 0, 0, UINT64_MAX - 2},
};

static void test_slice(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(slices); i++) {
        const kvf_plan plan = {slices[i].first, 5, src_ids, dst_ids, hashes};
        const kvf_plan slice = kvf_plan_slice(plan, slices[i].positions);
        if (slices[i].count == 0) {
            assert_empty(slice, slices[i].slice_first);
            continue;
        }
        assert_int_equal(slice.first_position, slices[i].slice_first);
        assert_int_equal(slice.count, slices[i].count);
        assert_ptr_equal(slice.src_ids, src_ids + slices[i].skipped);
        assert_ptr_equal(slice.dst_ids, dst_ids + slices[i].skipped);
        assert_ptr_equal(slice.src_hashes, hashes + slices[i].skipped);
    }
}

static void test_slice_without_hashes(void **state) {
    (void)state;
    const kvf_plan plan = {5, 5, src_ids, dst_ids, NULL};
    const kvf_plan slice = kvf_plan_slice(plan, (kvf_range){7, 9});
    assert_int_equal(slice.count, 2);
    assert_ptr_equal(slice.dst_ids, dst_ids + 2);
    assert_null(slice.src_hashes);
}

static void test_slice_of_an_empty_plan(void **state) {
    (void)state;
    const kvf_plan plan = {.first_position = 5};
    assert_empty(kvf_plan_slice(plan, (kvf_range){0, 100}), 5);
    assert_empty(kvf_plan_slice(plan, (kvf_range){7, 100}), 7);
}

/* A slice of a slice is the slice of the ranges' intersection. */
static void test_slices_of_slices(void **state) {
    (void)state;
    const kvf_plan plan = {3, 5, src_ids, dst_ids, hashes};
    for (uint64_t i = 0; i < 10 * 10 * 10 * 10; i++) {
        const kvf_range one = {i % 10, i / 10 % 10}, two = {i / 100 % 10, i / 1000};
        const kvf_range both = {one.start > two.start ? one.start : two.start,
                                one.end < two.end ? one.end : two.end};
        const kvf_plan twice = kvf_plan_slice(kvf_plan_slice(plan, one), two);
        const kvf_plan once = kvf_plan_slice(plan, both);
        assert_int_equal(twice.count, once.count);
        assert_ptr_equal(twice.src_ids, once.src_ids);
        assert_ptr_equal(twice.dst_ids, once.dst_ids);
        assert_ptr_equal(twice.src_hashes, once.src_hashes);
        if (once.count > 0)
            assert_int_equal(twice.first_position, once.first_position);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zip_every_pair),
        cmocka_unit_test(test_zip_after_drop_front),
        cmocka_unit_test(test_empty_zips),
        cmocka_unit_test(test_zip_near_uint64_max),
        cmocka_unit_test(test_plans_outlive_staging),
        cmocka_unit_test(test_slice),
        cmocka_unit_test(test_slice_without_hashes),
        cmocka_unit_test(test_slice_of_an_empty_plan),
        cmocka_unit_test(test_slices_of_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
