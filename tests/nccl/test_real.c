/* A group of one with a communicator: what a single GPU can show of the real libraries, that our
 * calls are legal and in their order. On the fakes the same. With --real it is for these only. */
#include "group_rig.h"
#include "needs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WATCHDOG_S = 300, HANDED = 9 };

static bool blocking;

static void nccl_ok(ncclResult_t result) {
    assert_true(result == ncclSuccess || result == ncclInProgress);
}

static void settle(ncclComm_t comm) {
    ncclResult_t result = ncclInProgress;
    while (result == ncclInProgress) {
        assert_int_equal(ncclCommGetAsyncError(comm, &result), ncclSuccess);
        usleep(100);
    }
    assert_int_equal(result, ncclSuccess);
}

static ncclComm_t make_parent(void) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    config.blocking = blocking;
    nccl_ok(ncclGetUniqueId(&id));
    nccl_ok(ncclCommInitRankConfig(&parent, 1, id, 0, &config));
    settle(parent);
    return parent;
}

static void drop_parent(ncclComm_t parent) {
    nccl_ok(ncclCommFinalize(parent));
    settle(parent);
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Several hands to oneself, in several rounds: sends and receives in one group of calls. */
static void exchange(rig_rank *k) {
    uint64_t from[HANDED], to[HANDED];
    kvf_hash hashes[HANDED];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < HANDED; i++) {
        from[i] = i;
        to[i] = 30 + i;
        rig_put_device(k, from[i], (unsigned)i + 1);
    }
    rig_hashes(hashes, 0, HANDED);
    kvf_assignments *tracker = rig_tracker(to, 6, 0);
    const kvf_hand hands[] = {{.plan = {0, 6, from, NULL, hashes}},
                              {.plan = {6, 3, from + 6, NULL, NULL}},
                              {.receives = true, .plan = {0, 6, NULL, to, hashes}, .dst = tracker},
                              {.receives = true, .plan = {6, 3, NULL, to + 6, NULL}}};
    test_expect(KVF_OK, kvf_wire_exchange(k->wire, hands, 4, NULL, &op, &e), &e);
    rig_end(op, KVF_OK);
    rig_expect_phases(tracker, 6, 0);
    kvf_assignments_destroy(tracker);
    for (unsigned i = 0; i < HANDED; i++)
        assert_true(rig_got_device(k, to[i], i + 1));
}

static void onboard(rig_rank *k) {
    uint64_t host[HANDED], slots[HANDED];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < HANDED; i++) {
        host[i] = 3 * i;
        slots[i] = 60 - i;
        rig_fill_host(k, host[i], (unsigned)i + 70);
    }
    const kvf_plan plan = {0, HANDED, host, slots, NULL};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &op, &e), &e);
    rig_end(op, KVF_OK);
    for (unsigned i = 0; i < HANDED; i++)
        assert_true(rig_got_device(k, slots[i], i + 70));
}

static void live(rig_rank *k) {
    ncclComm_t parent = make_parent();
    kvf_error e = {0};
    uint64_t sends = FAKENCCL ? fakenccl_calls("ncclSend") : 0;
    test_expect(KVF_OK, rig_join(k, &(kvf_group_options){.parent = parent}, &e), &e);
    exchange(k);
    onboard(k);
    exchange(k);
    if (FAKENCCL)
        assert_true(fakenccl_calls("ncclSend") > sends);
    test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
    kvf_wire_destroy(k->wire);
    kvf_group_destroy(k->group);
    k->wire = NULL;
    k->group = NULL;
    drop_parent(parent);
}

static void run(void (*body)(rig_rank *k)) {
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(
        &rig, 1,
        &(rig_options){.alone = true, .chunk_blocks = 8, .timeout_us = 60000000, .max_ctas = 2});
    rig_on_all(&rig, body);
    rig_close(&rig);
}

static void test_a_group_of_one_with_a_communicator(void **state) {
    (void)state;
    blocking = false;
    run(live);
    blocking = true;
    run(live);
}

/* Without a parent there is no communicator. */
static void live_alone(rig_rank *k) {
    kvf_error e = {0};
    test_expect(KVF_OK, rig_join(k, NULL, &e), &e);
    exchange(k);
    onboard(k);
}

static void test_a_group_of_one_without(void **state) {
    (void)state;
    run(live_alone);
}

/* Destroyed with something open: the communicator is aborted, its parent lives. */
static void abort_it(rig_rank *k) {
    ncclComm_t parent = make_parent();
    kvf_error e = {0};
    kvf_wire_op *op = NULL;
    uint64_t from[] = {1}, to[] = {2};
    test_expect(KVF_OK, rig_join(k, &(kvf_group_options){.parent = parent}, &e), &e);
    const kvf_hand hands[] = {{.plan = {0, 1, from, NULL, NULL}},
                              {.receives = true, .plan = {0, 1, NULL, to, NULL}}};
    test_expect(KVF_OK, kvf_wire_exchange(k->wire, hands, 2, NULL, &op, &e), &e);
    kvf_wire_destroy(k->wire);
    kvf_group_destroy(k->group);
    k->wire = NULL;
    k->group = NULL;
    kvf_status status = kvf_wire_op_poll(op, &e);
    assert_true(status == KVF_OK || status == KVF_ERR_CANCELLED);
    kvf_wire_op_release(op);
    drop_parent(parent);
}

static void test_aborting(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        blocking = i % 2 == 1;
        run(abort_it);
    }
}

int main(int argc, char **argv) {
    const bool real = argc > 1 && strcmp(argv[1], "--real") == 0;
    if (!needs_device() || !needs(FAKECUDA == FAKENCCL, "both fakes or both real libraries") ||
        !needs(!real || !(FAKECUDA || FAKENCCL), "the real libraries"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_of_one_with_a_communicator),
        cmocka_unit_test(test_a_group_of_one_without),
        cmocka_unit_test(test_aborting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
