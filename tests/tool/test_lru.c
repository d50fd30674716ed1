/* The tool's block lookup with eviction, compared with a list that is searched linearly. */
#include "support/support.h"

#include <replay/lru.h>

static kvf_hash hash_of(uint64_t name) {
    return (kvf_hash){.low = name, .high = name % 3};
}

static void gives_slots_in_order_until_full(void **state) {
    (void)state;
    lru *tier = lru_create(3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(lru_used(tier), i);
        assert_int_equal(lru_find(tier, hash_of(i)), LRU_NONE);
        assert_int_equal(lru_take(tier, hash_of(i)), i);
        assert_int_equal(lru_find(tier, hash_of(i)), i);
    }
    assert_int_equal(lru_take(tier, hash_of(9)), LRU_NONE); /* all are pinned */
    assert_int_equal(lru_used(tier), 3);
    lru_destroy(tier);
}

static void gives_up_the_least_recently_used(void **state) {
    (void)state;
    lru *tier = lru_create(3);
    for (uint64_t i = 0; i < 3; i++)
        lru_unpin(tier, lru_take(tier, hash_of(i)));
    lru_pin(tier, 0);
    lru_unpin(tier, 0); /* used again: now 1 is the oldest, then 2, then 0 */
    lru_pin(tier, 2);
    assert_int_equal(lru_take(tier, hash_of(10)), 1);
    assert_int_equal(lru_find(tier, hash_of(1)), LRU_NONE);
    assert_int_equal(lru_take(tier, hash_of(11)), 0); /* 2 is pinned */
    assert_int_equal(lru_take(tier, hash_of(12)), LRU_NONE);
    lru_unpin(tier, 2);
    assert_int_equal(lru_take(tier, hash_of(12)), 2);
    assert_int_equal(lru_find(tier, hash_of(10)), 1);
    assert_int_equal(lru_find(tier, hash_of(11)), 0);
    lru_destroy(tier);
}

static void refuses_what_cannot_be(void **state) {
    (void)state;
    assert_null(lru_create(0));
    assert_null(lru_create((size_t)1 << 31));
    lru_destroy(NULL);
}

#define SLOTS 24
#define NAMES 80

/* What each slot holds, whether it is pinned, and when it was last used. */
typedef struct model {
    bool used[SLOTS], pinned[SLOTS];
    uint64_t name[SLOTS], time[SLOTS], now;
    size_t count;
} model;

static uint32_t model_find(const model *model, uint64_t name) {
    for (uint32_t i = 0; i < SLOTS; i++)
        if (model->used[i] && model->name[i] == name)
            return i;
    return LRU_NONE;
}

static uint32_t model_take(model *model, uint64_t name) {
    uint32_t slot = model->count < SLOTS ? (uint32_t)model->count++ : LRU_NONE;
    for (uint32_t i = 0; slot == LRU_NONE && i < SLOTS; i++) {
        bool oldest = !model->pinned[i];
        for (uint32_t j = 0; j < SLOTS; j++)
            oldest = oldest && (model->pinned[j] || model->time[i] <= model->time[j]);
        slot = oldest ? i : slot;
    }
    if (slot != LRU_NONE) {
        model->used[slot] = model->pinned[slot] = true;
        model->name[slot] = name;
    }
    return slot;
}

static void use(lru *tier, model *model, uint64_t name) {
    uint32_t slot = model_find(model, name);
    assert_int_equal(lru_find(tier, hash_of(name)), slot);
    if (slot == LRU_NONE) {
        assert_int_equal(lru_take(tier, hash_of(name)), model_take(model, name));
    } else if (model->pinned[slot]) {
        lru_unpin(tier, slot);
        model->pinned[slot] = false;
        model->time[slot] = ++model->now;
    } else {
        lru_pin(tier, slot);
        model->pinned[slot] = true;
    }
}

static void agrees_with_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= test_seeds(20); seed++) {
        test_random random = test_random_make(seed);
        lru *tier = lru_create(SLOTS);
        model model = {0};
        for (size_t i = 0; i < 5000; i++)
            use(tier, &model, test_random_below(&random, NAMES));
        for (uint64_t name = 0; name < NAMES; name++)
            assert_int_equal(lru_find(tier, hash_of(name)), model_find(&model, name));
        lru_destroy(tier);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_slots_in_order_until_full),
        cmocka_unit_test(gives_up_the_least_recently_used),
        cmocka_unit_test(refuses_what_cannot_be),
        cmocka_unit_test(agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
