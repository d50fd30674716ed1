/* Groups: how they are made, with what communicator, and how they end. */
#include "group_rig.h"

#include "group.h"
#include "needs.h"

#include <string.h>
#include <unistd.h>

enum { COUNT = 12, WATCHDOG_S = 120, SHORT_US = 300000 };

/* One operation of all ranks. */
static kvf_wire_op *submit(rig_rank *k, uint64_t tag) {
    static const uint64_t ids[COUNT] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 20, 30};
    const kvf_plan plan = {0, COUNT, ids, ids, NULL};
    const kvf_wire_submit_options how = {.tag = tag};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    return op;
}

static void work(rig_rank *k) {
    rig_end(submit(k, 0), KVF_OK);
}

static void join_and_work(rig_rank *k) {
    kvf_error e = {0};
    test_expect(KVF_OK, rig_join(k, NULL, &e), &e);
    work(k);
}

/* The configuration */

static void expect_config(rig_rank *k) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    assert_true(fakenccl_comm_config(k->group->comm, &config));
    assert_int_equal(config.blocking, 0);
    assert_int_equal(config.minCTAs, 2);
    assert_int_equal(config.maxCTAs, 5);
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    assert_int_equal(config.CTAPolicy, 1);
#endif
    work(k);
}

static void test_what_collectives_may_take(void **state) {
    (void)state;
    group_rig rig;
    rig_open(&rig, 2, &(rig_options){.min_ctas = 2, .max_ctas = 5, .cta_policy = 1});
    rig_on_all(&rig, expect_config);
    rig_close(&rig);
}

/* A group of one has no communicator, and makes no call. */
static void test_a_group_of_one(void **state) {
    (void)state;
    group_rig rig;
    rig_open(&rig, 1, NULL);
    rig_on_all(&rig, work);
    assert_int_equal(fakenccl_calls(NULL), 0);
    rig_close(&rig);
}

/* Parents */

static ncclUniqueId parents_id;
static int parents_block;
static ncclComm_t parents[MAIL_RANKS];

static void nccl_ok(ncclResult_t result) {
    assert_int_equal(result, ncclSuccess);
}

static void settle(ncclComm_t comm) {
    ncclResult_t result = ncclInProgress;
    while (result == ncclInProgress) {
        nccl_ok(ncclCommGetAsyncError(comm, &result));
        usleep(50);
    }
    nccl_ok(result);
}

static void make_parent(rig_rank *k) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = parents_block;
    ncclResult_t result =
        ncclCommInitRankConfig(&parents[k->rank], k->rig->ranks, parents_id, k->rank, &config);
    assert_true(result == ncclSuccess || result == ncclInProgress);
    settle(parents[k->rank]);
}

static void use_parent(rig_rank *k) {
    ncclComm_t comm = parents[k->rank];
    cudaStream_t stream;
    void *memory;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaMalloc(&memory, 64 * MAIL_RANKS), cudaSuccess);
    ncclResult_t result =
        ncclAllGather((char *)memory + (ptrdiff_t)64 * k->rank, memory, 64, ncclInt8, comm, stream);
    assert_true(result == ncclSuccess || result == ncclInProgress);
    settle(comm);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
}

static void drop_parent(rig_rank *k) {
    if (!parents_block) {
        ncclResult_t result = ncclCommFinalize(parents[k->rank]);
        assert_true(result == ncclSuccess || result == ncclInProgress);
        settle(parents[k->rank]);
    }
    nccl_ok(ncclCommDestroy(parents[k->rank]));
}

/* Other options than the parent's, nothing of the parent in use, and it goes on behind us. */
static void split_and_work(rig_rank *k) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    kvf_error e = {0};
    make_parent(k);
    test_expect(KVF_OK, rig_join(k, &(kvf_group_options){.parent = parents[k->rank]}, &e), &e);
    assert_true(k->group->comm && k->group->comm != parents[k->rank]);
    assert_true(fakenccl_comm_config(k->group->comm, &config));
    assert_int_equal(config.maxCTAs, 3);
    assert_int_equal(config.blocking, 0);
    use_parent(k);
    rig_meet(k);
    work(k);
    assert_int_equal(fakenccl_comm_traffic(parents[k->rank], FAKENCCL_ALL_GATHER).operations, 1);
    use_parent(k);
}

/* By destroying it in the midst of something that the others have not come to. */
static void abort_and_use_parent(rig_rank *k) {
    kvf_wire_op *op = k->rank == 0 ? submit(k, 99) : NULL;
    rig_meet(k);
    kvf_wire_destroy(k->wire);
    kvf_group_destroy(k->group);
    k->wire = NULL;
    k->group = NULL;
    kvf_wire_op_release(op);
    rig_meet(k); /* freeing a wire waits for all that runs on any device of the process */
    use_parent(k);
    rig_meet(k);
    drop_parent(k);
}

static void test_split_from_a_parent(void **state) {
    (void)state;
    for (parents_block = 0; parents_block <= 1; parents_block++) {
        group_rig rig;
        (void)alarm(WATCHDOG_S);
        rig_open(&rig, 3, &(rig_options){.alone = true, .max_ctas = 3});
        nccl_ok(ncclGetUniqueId(&parents_id));
        rig_on_all(&rig, split_and_work);
        assert_int_equal(fakenccl_calls("ncclCommSplit"), 3);
        rig_on_all(&rig, abort_and_use_parent);
        rig_close(&rig);
    }
}

/* Memory that nobody misses when it is left to NCCL. */
static void *resize_in_places(void *user, void *block, size_t old_size, size_t new_size) {
    static _Alignas(64) char places[1 << 18];
    static size_t used;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)user;
    pthread_mutex_lock(&lock);
    char *made = places + used;
    used += (new_size + 63) / 64 * 64;
    assert_true(used <= sizeof places);
    pthread_mutex_unlock(&lock);
    if (old_size > 0 && new_size > 0)
        memcpy(made, block, old_size < new_size ? old_size : new_size);
    return new_size > 0 ? made : NULL;
}

/* Rank 2 stays away from the split, so that it is never done; the group cannot be made, and what
 * NCCL may still write to stays. */
static void split_without_one(rig_rank *k) {
    const kvf_allocator allocator = {.resize = resize_in_places};
    kvf_error e = {0};
    make_parent(k);
    if (k->rank == 2)
        fakenccl_fail_call_of(2, "ncclCommSplit", 1, ncclSystemError, false);
    rig_meet(k);
    const kvf_group_options changes = {.parent = parents[k->rank], .allocator = &allocator};
    kvf_status status = rig_join(k, &changes, &e);
    assert_int_equal(status, k->rank == 2 ? KVF_ERR_ENGINE : KVF_ERR_PEER);
    assert_int_equal(e.index, 2);
    assert_string_equal(e.what, "ncclCommSplit");
    nccl_ok(ncclCommAbort(parents[k->rank]));
}

static void test_a_split_that_fails(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    parents_block = 0;
    rig_open(&rig, 3, &(rig_options){.alone = true});
    nccl_ok(ncclGetUniqueId(&parents_id));
    rig_on_all(&rig, split_without_one);
    rig_close(&rig);
}

/* Making it fails */

static void join_when_others_stay_away(rig_rank *k) {
    kvf_error e = {0};
    if (k->rank == 1)
        return;
    test_expect(KVF_ERR_TIMEOUT, rig_join(k, NULL, &e), &e);
    assert_int_equal(e.index, 1);
    assert_non_null(strstr(e.what, "late"));
    assert_null(k->group);
}

static void test_a_rank_that_does_not_come(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, 3, &(rig_options){.alone = true, .timeout_us = SHORT_US});
    rig_on_all(&rig, join_when_others_stay_away);
    rig_close(&rig);
}

static void join_saying_otherwise(rig_rank *k) {
    kvf_group_options changes = {0};
    kvf_error e = {0};
    if (k->rank == 1)
        changes.parent = (struct ncclComm *)k; /* only that there is one is looked at */
    test_expect(KVF_ERR_PEER, rig_join(k, &changes, &e), &e);
    assert_int_equal(e.index, 1);
    assert_non_null(strstr(e.what, "options"));
}

static void test_ranks_that_say_otherwise(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, 3, &(rig_options){.alone = true, .timeout_us = SHORT_US});
    rig_on_all(&rig, join_saying_otherwise);
    rig_close(&rig);
}

/* NCCL fails one rank, or never ends */

static void join_in_vain(rig_rank *k) {
    kvf_error e = {0};
    kvf_status status = rig_join(k, NULL, &e);
    assert_int_equal(status, k->rank == 1 ? KVF_ERR_ENGINE : KVF_ERR_PEER);
    assert_int_equal(e.index, 1);
    assert_string_equal(e.what, "ncclCommInitRankConfig");
}

static void test_nccl_fails_to_make_it(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, 3, &(rig_options){.alone = true});
    fakenccl_fail_call_of(1, "ncclCommInitRankConfig", 1, ncclSystemError, false);
    rig_on_all(&rig, join_in_vain);
    rig_close(&rig);
}

static void join_for_ever(rig_rank *k) {
    kvf_error e = {0};
    kvf_status status = rig_join(k, NULL, &e);
    assert_true(status == KVF_ERR_TIMEOUT || status == KVF_ERR_PEER);
    assert_non_null(strstr(e.what, "communicator in time"));
}

static void test_nccl_never_makes_it(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    fakenccl_configure(&(fakenccl_config){.lag_us = 3000000});
    rig_open(&rig, 2, &(rig_options){.alone = true, .timeout_us = SHORT_US});
    rig_on_all(&rig, join_for_ever);
    fakenccl_configure(NULL);
    rig_close(&rig);
}

/* The end */

static void destroy_group_first(rig_rank *k) {
    const kvf_plan plan = {0};
    kvf_wire_op *op = submit(k, 0), *none = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    kvf_group_destroy(k->group);
    k->group = NULL;
    kvf_status status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &none, &e);
    assert_int_equal(status, KVF_ERR_CLOSED);
    assert_int_equal(kvf_wire_op_poll(op, NULL), KVF_OK);
    kvf_wire_op_release(op);
    kvf_wire_destroy(k->wire);
    k->wire = NULL;
}

static void test_wires_and_operations_outlive_the_group(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++) {
        group_rig rig;
        (void)alarm(WATCHDOG_S);
        rig_open(&rig, ranks, NULL);
        rig_on_all(&rig, destroy_group_first);
        rig_close(&rig);
    }
}

/* What nobody else has come to is cancelled, wherever one is. */
static void destroy_with_open_operations(rig_rank *k) {
    kvf_wire_op *op = submit(k, 10 + (uint64_t)k->rank); /* nobody else's */
    kvf_error e = {0};
    rig_meet(k);
    kvf_group_destroy(k->group);
    k->group = NULL;
    kvf_status status = kvf_wire_op_wait(op, 20 * 1000 * 1000, &e);
    assert_true(status == KVF_ERR_CANCELLED || status == KVF_ERR_PEER);
    kvf_wire_op_release(op);
}

static void test_destroying_with_open_operations(void **state) {
    (void)state;
    for (int ranks = 2; ranks <= 4; ranks++) {
        group_rig rig;
        (void)alarm(WATCHDOG_S);
        rig_open(&rig, ranks, NULL);
        rig_on_all(&rig, destroy_with_open_operations);
        rig_close(&rig);
    }
}

/* A rank that goes while the others stay is not waited for beyond the timeout. */
static void leave_early(rig_rank *k) {
    kvf_wire_op *op = NULL;
    if (k->rank == 1) {
        kvf_wire_destroy(k->wire);
        kvf_group_destroy(k->group); /* the others do not come to this for long */
        k->wire = NULL;
        k->group = NULL;
    }
    rig_meet(k);
    if (k->rank != 1) {
        op = submit(k, 5);
        kvf_error e = {0};
        assert_int_equal(kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), KVF_ERR_PEER);
        assert_int_equal(e.index, 1);
        kvf_wire_op_release(op);
        test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
    }
}

static void test_one_leaves_early(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, 3, &(rig_options){.timeout_us = SHORT_US});
    rig_on_all(&rig, leave_early);
    rig_close(&rig);
}

/* Without rank 0 there is no group, and it says so when it goes. */
static void lose_the_first(rig_rank *k) {
    kvf_error e = {0};
    if (k->rank == 0) {
        kvf_group_destroy(k->group);
        k->group = NULL;
        return;
    }
    while (kvf_group_check(k->group, &e) == KVF_OK)
        usleep(1000);
    assert_int_equal(e.status, KVF_ERR_PEER);
    assert_int_equal(e.index, 0);
    assert_string_equal(e.what, "the group was destroyed");
}

static void test_the_first_leaves_early(void **state) {
    (void)state;
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, 3, &(rig_options){.timeout_us = SHORT_US});
    rig_on_all(&rig, lose_the_first);
    rig_close(&rig);
}

static void test_many_lives(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) {
        group_rig rig;
        (void)alarm(WATCHDOG_S);
        rig_open(&rig, 2, &(rig_options){.alone = true});
        rig_on_all(&rig, join_and_work);
        rig_close(&rig);
    }
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_collectives_may_take),
        cmocka_unit_test(test_a_group_of_one),
        cmocka_unit_test(test_split_from_a_parent),
        cmocka_unit_test(test_a_split_that_fails),
        cmocka_unit_test(test_a_rank_that_does_not_come),
        cmocka_unit_test(test_ranks_that_say_otherwise),
        cmocka_unit_test(test_nccl_fails_to_make_it),
        cmocka_unit_test(test_nccl_never_makes_it),
        cmocka_unit_test(test_wires_and_operations_outlive_the_group),
        cmocka_unit_test(test_destroying_with_open_operations),
        cmocka_unit_test(test_one_leaves_early),
        cmocka_unit_test(test_the_first_leaves_early),
        cmocka_unit_test(test_many_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
