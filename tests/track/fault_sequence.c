/* Every allocation of every call on a sequence fails in turn, once and for ever. */
#include "support/support.h"

#include <string.h>

enum { BEFORE = 10, ADDED = 200 };

static uint32_t tokens[BEFORE + ADDED];
static const kvf_mm_run runs_before[] = {{5, 1, 3}, {6, 7, 3}};
static const kvf_mm_run runs_added[] = {{7, 100, 9}, {8, 11, 30}, {9, 60, 1}, {1, 62, 1},
                                        {2, 64, 1},  {3, 66, 1},  {4, 68, 1}, {5, 70, 1}};

static kvf_status call_extend(kvf_sequence *s, kvf_sequence **made) {
    (void)made;
    return kvf_sequence_extend(s, tokens + BEFORE, ADDED, NULL, NULL);
}

static kvf_status call_extend_mm(kvf_sequence *s, kvf_sequence **made) {
    (void)made;
    return kvf_sequence_extend_mm(s, tokens + BEFORE, ADDED, runs_added, 8, NULL, NULL);
}

static kvf_status call_reserve(kvf_sequence *s, kvf_sequence **made) {
    (void)made;
    return kvf_sequence_reserve(s, 1000, NULL);
}

static kvf_status call_clone(kvf_sequence *s, kvf_sequence **made) {
    return kvf_sequence_clone(s, made, NULL);
}

typedef kvf_status call(kvf_sequence *s, kvf_sequence **made);

static void assert_equal(const kvf_sequence *a, const kvf_sequence *b) {
    size_t count = kvf_sequence_token_count(a), blocks = kvf_sequence_block_count(a);
    assert_int_equal(count, kvf_sequence_token_count(b));
    assert_int_equal(blocks, kvf_sequence_block_count(b));
    assert_memory_equal(kvf_sequence_tokens(a), kvf_sequence_tokens(b), count * sizeof *tokens);
    assert_memory_equal(kvf_sequence_hashes(a), kvf_sequence_hashes(b), blocks * sizeof(kvf_hash));
}

static kvf_sequence *make(const kvf_allocator *allocator) {
    const kvf_sequence_options options = {
        .block_size = 4, .salt = 3, .layout = KVF_HASH_V1_3, .allocator = allocator};
    kvf_sequence *s;
    assert_int_equal(kvf_sequence_create(&options, &s, NULL), KVF_OK);
    assert_int_equal(kvf_sequence_extend_mm(s, tokens, BEFORE, runs_before, 2, NULL, NULL), KVF_OK);
    return s;
}

/* One call whose allocation number `fail_at` fails; false when it had fewer. */
static bool fails_cleanly(call *tested, size_t fail_at, bool for_ever) {
    test_allocator t;
    test_allocator_init(&t);
    kvf_sequence *s = make(&t.allocator), *same = make(NULL);
    kvf_sequence *made = NULL, *same_made = NULL;
    t.fail_at = t.calls + fail_at;
    t.fail_ever_after = for_ever;
    kvf_status status = tested(s, &made);
    bool failed = status != KVF_OK;
    t.fail_at = 0;
    if (failed) {
        assert_int_equal(status, KVF_ERR_NO_MEMORY);
        assert_null(made);
        assert_equal(s, same);
        assert_int_equal(kvf_sequence_memory(s), t.live_bytes);
        assert_int_equal(tested(s, &made), KVF_OK);
    }
    assert_int_equal(tested(same, &same_made), KVF_OK);
    assert_equal(s, same);
    if (made)
        assert_equal(made, same_made);
    kvf_sequence_destroy(made);
    kvf_sequence_destroy(same_made);
    kvf_sequence_destroy(s);
    kvf_sequence_destroy(same);
    test_allocator_done(&t);
    return failed;
}

static void fail_each(call *tested, size_t at_least) {
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        size_t fail_at = 1;
        while (fails_cleanly(tested, fail_at, for_ever))
            fail_at++;
        assert_true(fail_at > at_least);
    }
}

static void extend_fails_cleanly(void **state) {
    (void)state;
    fail_each(call_extend, 4);
}

static void extend_mm_fails_cleanly(void **state) {
    (void)state;
    fail_each(call_extend_mm, 5);
}

static void reserve_fails_cleanly(void **state) {
    (void)state;
    fail_each(call_reserve, 4);
}

static void clone_fails_cleanly(void **state) {
    (void)state;
    fail_each(call_clone, 6);
}

static void create_fails_cleanly(void **state) {
    (void)state;
    test_allocator t;
    test_allocator_init(&t);
    t.fail_at = 1;
    const kvf_sequence_options options = {.block_size = 4, .allocator = &t.allocator};
    kvf_sequence *s = NULL;
    kvf_error error = {0};
    assert_int_equal(kvf_sequence_create(&options, &s, &error), KVF_ERR_NO_MEMORY);
    assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
    assert_null(s);
    test_allocator_done(&t);
}

static void append_fails_cleanly(void **state) {
    (void)state;
    test_allocator t;
    test_allocator_init(&t);
    kvf_sequence *s = make(&t.allocator), *same = make(NULL);
    t.fail_ever_after = true;
    for (size_t i = BEFORE; i < BEFORE + ADDED; i++) {
        t.fail_at = t.calls + 1;
        kvf_status status = kvf_sequence_append(s, tokens[i], NULL, NULL);
        t.fail_at = 0;
        if (status != KVF_OK) {
            assert_equal(s, same);
            assert_int_equal(kvf_sequence_append(s, tokens[i], NULL, NULL), KVF_OK);
        }
        assert_int_equal(kvf_sequence_append(same, tokens[i], NULL, NULL), KVF_OK);
        assert_equal(s, same);
    }
    kvf_sequence_destroy(s);
    kvf_sequence_destroy(same);
    test_allocator_done(&t);
}

int main(void) {
    for (size_t i = 0; i < BEFORE + ADDED; i++)
        tokens[i] = (uint32_t)(i * 31);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_fails_cleanly),    cmocka_unit_test(extend_fails_cleanly),
        cmocka_unit_test(extend_mm_fails_cleanly), cmocka_unit_test(append_fails_cleanly),
        cmocka_unit_test(reserve_fails_cleanly),   cmocka_unit_test(clone_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
