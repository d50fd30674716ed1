/* The module in a build without NCCL: a group of one works, others are refused at once. */
#include "group_fixture.h"
#include "needs.h"

static void refuse(fixture_rank *k) {
    kvf_error e = {0};
    test_expect(KVF_ERR_UNSUPPORTED, fixture_join(k, NULL, &e), &e);
    assert_string_equal(e.what, "the module was built without NCCL");
    assert_null(k->group);
}

static void test_there_are_no_ids(void **state) {
    unsigned char id[KVF_GROUP_ID_BYTES];
    kvf_error e = {0};
    (void)state;
    test_expect(KVF_ERR_UNSUPPORTED, kvf_group_id_create(id, &e), &e);
    assert_int_equal(kvf_group_id_create(NULL, &e), KVF_ERR_INVALID);
}

static void test_ranks_are_refused(void **state) {
    (void)state;
    fixture_run(2, &(fixture_options){.alone = true}, refuse);
}

static void refuse_parent(fixture_rank *k) {
    struct ncclComm *parent = (struct ncclComm *)k; /* never dereferenced */
    kvf_error e = {0};
    test_expect(KVF_ERR_UNSUPPORTED, fixture_join(k, &(kvf_group_options){.parent = parent}, &e),
                &e);
}

static void test_a_parent_is_refused(void **state) {
    (void)state;
    fixture_run(1, &(fixture_options){.alone = true}, refuse_parent);
}

static void work(fixture_rank *k) {
    const uint64_t host[] = {4, 2, 9}, slots[] = {7, 8, 1};
    const kvf_plan plan = {.first_position = 5, .count = 3, .src_ids = host, .dst_ids = slots};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (unsigned i = 0; i < 3; i++)
        fixture_fill_host(k, host[i], i + 1);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &op, &e), &e);
    fixture_expect_end(op, KVF_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_true(fixture_got_device(k, slots[i], i + 1));
    const kvf_handover handover = {.plan = {.count = 1, .src_ids = slots, .dst_ids = &host[2]}};
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, &handover, 1, NULL, &op, &e), &e);
    fixture_expect_end(op, KVF_OK);
    assert_true(fixture_got_device(k, host[2], 1));
}

static void test_a_group_of_one_works(void **state) {
    (void)state;
    fixture_run_forms(1, NULL, work);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_are_no_ids),
        cmocka_unit_test(test_ranks_are_refused),
        cmocka_unit_test(test_a_parent_is_refused),
        cmocka_unit_test(test_a_group_of_one_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
