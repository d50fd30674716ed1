#include "support/support.h"

#include "track/idset.h"

#include <stdlib.h>
#include <string.h>

static kvf_allocator with_malloc(void) {
    return kvf__allocator(NULL);
}

static bool add_one(kvf__idset *set, uint64_t id) {
    const kvf_allocator memory = with_malloc();
    bool no_memory;
    size_t added = kvf__idset_add(set, &memory, &id, 1, &no_memory);
    assert_false(no_memory);
    return added == 1;
}

static void test_empty(void **state) {
    (void)state;
    const kvf_allocator memory = with_malloc();
    kvf__idset set = {0}, copy;
    const uint64_t id = 0;
    assert_false(kvf__idset_contains(&set, 0));
    assert_int_equal(kvf__idset_known_prefix(&set, &id, 1), 0);
    assert_int_equal(kvf__idset_known_prefix(&set, NULL, 0), 0);
    assert_int_equal(kvf__idset_count(&set), 0);
    kvf__idset_clear(&set);
    assert_true(kvf__idset_clone(&set, &memory, &copy));
    assert_int_equal(copy.capacity, 0);
    kvf__idset_free(&set, &memory);
}

/* Adding stops at the first id that is already in the set, or earlier in the list. */
static void test_add_stops_at_a_known_id(void **state) {
    (void)state;
    const struct {
        uint64_t ids[5];
        size_t added;
    } cases[] = {
        {{1, 2, 3, 4, 5}, 5},
        {{1, 1, 2, 3, 4}, 1},          /* twice in a row */
        {{1, 2, 3, 1, 4}, 3},          /* twice, in one entry */
        {{1, 64, 1, 2, 3}, 2},         /* twice, another entry in between */
        {{1, 64, 128, 192, 64}, 4},    /* the last */
        {{100, 1, 2, 3, 4}, 0},        /* in the set, the first */
        {{63, 64, 100, 1, 2}, 2},      /* in the set, after one of its entry */
        {{0, UINT64_MAX, 0, 1, 2}, 2}, /* smallest and largest id */
        {{UINT64_MAX - 64, 5, 4, 3, UINT64_MAX}, 5},
    };
    const kvf_allocator memory = with_malloc();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kvf__idset set = {0};
        bool no_memory = true;
        assert_true(add_one(&set, 100));
        size_t added = kvf__idset_add(&set, &memory, cases[i].ids, 5, &no_memory);
        assert_int_equal(added, cases[i].added);
        assert_false(no_memory);
        assert_int_equal(kvf__idset_count(&set), 1 + added);
        assert_int_equal(kvf__idset_known_prefix(&set, cases[i].ids, added), added);
        kvf__idset_remove(&set, cases[i].ids, added);
        assert_int_equal(kvf__idset_count(&set), 1);
        assert_int_equal(set.used, 1);
        assert_true(kvf__idset_contains(&set, 100));
        kvf__idset_free(&set, &memory);
    }
}

static void test_known_prefix_ends_at_the_first_unknown(void **state) {
    (void)state;
    const kvf_allocator memory = with_malloc();
    const uint64_t ids[] = {5, 6, 500, 6, 7, 5};
    kvf__idset set = {0};
    bool no_memory;
    assert_int_equal(kvf__idset_add(&set, &memory, ids, 3, &no_memory), 3);
    assert_int_equal(kvf__idset_known_prefix(&set, ids, 6), 4);
    assert_int_equal(kvf__idset_known_prefix(&set, ids, 2), 2);
    assert_int_equal(kvf__idset_known_prefix(&set, ids + 4, 2), 0);
    kvf__idset_free(&set, &memory);
}

/* The table always has a free entry, so that a search for an absent id terminates. */
static void test_small_reserves_leave_a_free_entry(void **state) {
    (void)state;
    const kvf_allocator memory = with_malloc();
    for (size_t count = 0; count < 64; count++) {
        kvf__idset set = {0};
        assert_true(kvf__idset_reserve(&set, &memory, count));
        for (uint64_t i = 0; i < count + 5; i++) {
            assert_true(add_one(&set, i * 64));
            assert_true(set.used < set.capacity);
        }
        assert_false(kvf__idset_contains(&set, 64 * 1000));
        kvf__idset_free(&set, &memory);
    }
}

/* As many ids as reserved need no memory, even with one entry each. */
static void test_reserve_holds(void **state) {
    (void)state;
    for (size_t count = 1; count < 600; count += 1 + count / 8) {
        test_allocator memory;
        test_allocator_init(&memory);
        kvf__idset set = {0};
        assert_true(kvf__idset_reserve(&set, &memory.allocator, count));
        size_t calls = memory.calls;
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t id = i * UINT64_C(0x9e3779b97f4a7c15);
            bool no_memory;
            assert_int_equal(kvf__idset_add(&set, &memory.allocator, &id, 1, &no_memory), 1);
        }
        assert_true(kvf__idset_reserve(&set, &memory.allocator, count));
        assert_int_equal(memory.calls, calls);
        kvf__idset_free(&set, &memory.allocator);
        test_allocator_done(&memory);
    }
}

static void test_huge_reserves_find_no_memory(void **state) {
    (void)state;
    const kvf_allocator memory = with_malloc();
    const size_t counts[] = {SIZE_MAX, SIZE_MAX / 4 * 3, SIZE_MAX / 16, PTRDIFF_MAX / 16};
    kvf__idset set = {0};
    assert_true(add_one(&set, 3));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_false(kvf__idset_reserve(&set, &memory, counts[i]));
    assert_true(kvf__idset_contains(&set, 3));
    assert_int_equal(kvf__idset_count(&set), 1);
    kvf__idset_free(&set, &memory);
}

static void test_clone_is_independent(void **state) {
    (void)state;
    const kvf_allocator memory = with_malloc();
    const uint64_t ids[] = {1, 2, 1000, UINT64_MAX};
    kvf__idset set = {0}, copy;
    bool no_memory;
    kvf__idset_add(&set, &memory, ids, 4, &no_memory);
    assert_true(kvf__idset_clone(&set, &memory, &copy));
    kvf__idset_remove(&set, ids, 2);
    assert_true(add_one(&set, 77));
    assert_int_equal(kvf__idset_known_prefix(&copy, ids, 4), 4);
    assert_false(kvf__idset_contains(&copy, 77));
    kvf__idset_clear(&copy);
    assert_int_equal(kvf__idset_count(&copy), 0);
    assert_true(kvf__idset_contains(&set, 1000));
    kvf__idset_free(&set, &memory);
    kvf__idset_free(&copy, &memory);
}

static void test_out_of_memory_returns_the_added_count(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf__idset set = {0};
    uint64_t ids[200];
    for (uint64_t i = 0; i < 200; i++)
        ids[i] = i * 64;
    memory.fail_at = 2;
    bool no_memory = false;
    size_t added = kvf__idset_add(&set, &memory.allocator, ids, 200, &no_memory);
    assert_true(no_memory);
    assert_in_range(added, 1, 199);
    assert_int_equal(kvf__idset_count(&set), added);
    assert_int_equal(kvf__idset_known_prefix(&set, ids, 200), added);
    kvf__idset_free(&set, &memory.allocator);
    test_allocator_done(&memory);
}

/* ---- compared with a list -------------------------------------------------------------------- */

typedef struct family {
    const char *name;
    uint64_t ids[96];
} family;

/* The entry at which the search for a key starts. */
static size_t home(uint64_t key, size_t capacity) {
    __extension__ typedef unsigned __int128 wide;
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(((wide)hash * capacity) >> 64);
}

/* Ids whose keys all hash to the last entry of a table of 16 to 128 entries, so probing wraps. */
static void fill_wrapping(family *f) {
    uint64_t key = 0;
    for (size_t i = 0; i < 96; i++, key++) {
        while (home(key, 128) != 127 && (i % 4 != 0 || home(key, 16) > 1))
            key++;
        f->ids[i] = key * 64 + i % 64;
    }
}

static void check_same(const kvf__idset *set, const family *f, const bool *in) {
    size_t count = 0;
    for (size_t i = 0; i < 96; i++) {
        assert_int_equal(kvf__idset_contains(set, f->ids[i]), in[i]);
        count += in[i];
    }
    assert_int_equal(kvf__idset_count(set), count);
    assert_true(set->used <= count);
}

static void churn(const family *f, uint64_t seed) {
    test_random random = test_random_make(seed);
    const kvf_allocator memory = with_malloc();
    kvf__idset set = {0};
    bool in[96] = {false};
    /* Few at first, so that small tables are tested too. */
    for (size_t step = 0, most = 6; step < 400; step++, most += step % 50 ? 0 : 12) {
        size_t i = (size_t)test_random_below(&random, most < 96 ? most : 96);
        if (in[i] && test_random_below(&random, 2)) {
            kvf__idset_remove(&set, &f->ids[i], 1);
            in[i] = false;
        } else {
            assert_int_equal(add_one(&set, f->ids[i]), !in[i]);
            in[i] = true;
        }
        check_same(&set, f, in);
    }
    assert_true(set.capacity <= 128 * 2);
    kvf__idset_clear(&set);
    memset(in, 0, sizeof in);
    check_same(&set, f, in);
    kvf__idset_free(&set, &memory);
}

static void test_churn(void **state) {
    (void)state;
    static family families[] = {{.name = "dense"}, {.name = "far apart"}, {.name = "wrapping"}};
    for (uint64_t i = 0; i < 96; i++) {
        families[0].ids[i] = i + 40;
        families[1].ids[i] = i * 64 * 64 + UINT64_MAX / 2;
    }
    fill_wrapping(&families[2]);
    for (uint64_t seed = 0; seed < test_seeds(20); seed++)
        for (size_t k = 0; k < 3; k++)
            churn(&families[k], seed);
}

/* Adding and removing ids does not make the table grow. */
static void test_no_growth_by_churn(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf__idset set = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t id = i * 64, old = id - 640;
        bool no_memory;
        assert_int_equal(kvf__idset_add(&set, &memory.allocator, &id, 1, &no_memory), 1);
        if (i >= 10)
            kvf__idset_remove(&set, &old, 1);
    }
    assert_int_equal(memory.calls, 1);
    assert_int_equal(kvf__idset_count(&set), 10);
    kvf__idset_free(&set, &memory.allocator);
    test_allocator_done(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_add_stops_at_a_known_id),
        cmocka_unit_test(test_known_prefix_ends_at_the_first_unknown),
        cmocka_unit_test(test_small_reserves_leave_a_free_entry),
        cmocka_unit_test(test_reserve_holds),
        cmocka_unit_test(test_huge_reserves_find_no_memory),
        cmocka_unit_test(test_clone_is_independent),
        cmocka_unit_test(test_out_of_memory_returns_the_added_count),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_no_growth_by_churn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
