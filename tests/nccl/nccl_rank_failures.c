/* Ranks that disagree, are late, fail or skip an operation: the results on all ranks, and whether
 * the group goes on. */
#include "failure_scenario.h"

#include "nccl/group.h"
#include "needs.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 12, RANKS = 3, FIRST = 4, OTHER = 30, POSITION = 6 };

/* No living rank may be delayed for that long. */
#ifdef __SANITIZE_THREAD__
enum { SHORT_US = 1500000 };
#else
enum { SHORT_US = 300000 };
#endif

static int victim;

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* All ranks get the same index. */
static void end_as_peer(kvf_wire_op *op, const char *part) {
    kvf_error e;
    fixture_expect_end_with(op, KVF_ERR_PEER, &e);
    assert_true((e.fields & KVF_ERROR_INDEX) != 0);
    assert_int_equal(e.index, victim);
    if (!strstr(e.what, part))
        fail_msg("'%s' is not in: %s", part, e.what);
}

static void end_as_broken(kvf_wire_op *op) {
    kvf_error e;
    fixture_expect_end_with(op, KVF_ERR_BROKEN, &e);
    assert_false((e.fields & KVF_ERROR_INDEX) != 0);
}

static void expect_broken(fixture_rank *k) {
    kvf_error e = {0};
    assert_int_equal(kvf_group_check(k->group, &e), KVF_ERR_BROKEN);
    assert_true(e.what && strlen(e.what) > 0);
    assert_int_equal(kvf_wire_refuse(k->wire, KVF_ERR_CORRUPT, NULL), KVF_ERR_BROKEN);
}

/* A valid operation of all ranks shows that the group goes on. */
static void go_on(fixture_rank *k) {
    kvf_error e = {0};
    fixture_barrier(k);
    test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
    fixture_expect_end(fixture_onboard(k, 40, COUNT, 90), KVF_OK);
    assert_true(fixture_onboarded(k, 40, COUNT, 90));
    fixture_expect_idle(k);
}

/* A new group can be made after a broken one. */
static void make_new_group(fixture_rank *k) {
    kvf_error e = {0};
    fixture_leave(k);
    fixture_barrier(k);
    if (k->rank == 0)
        test_expect(KVF_OK, kvf_group_id_create(k->fixture->id, &e), &e);
    fixture_barrier(k);
    test_expect(KVF_OK, fixture_join(k, NULL, &e), &e);
    go_on(k);
}

/* Disagreement: one rank submits something else */

typedef enum twist {
    OTHER_POSITION,
    OTHER_COUNT,
    OTHER_HASH,
    NO_HASHES,
    OTHER_SHARE,
    OTHER_KIND,
    OTHER_PLANS,
    OTHER_WIRE,
    HANDS_OVER,
    REFUSES,
    FAILS, /* to submit */
    TWISTS
} twist;

static twist now;

static void disagree(fixture_rank *k) {
    const bool odd = k->rank == victim;
    uint64_t ids[COUNT];
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    kvf_wire *other = NULL;
    kvf_error e = {0};
    uint64_t first = odd && now == OTHER_POSITION ? POSITION + 1 : POSITION;
    const kvf_wire_options same = {.device = k->device, .chunk_bytes = (size_t)2 * FIXTURE_BLOCK};
    for (uint64_t i = 0; i < COUNT; i++) {
        ids[i] = i;
        fixture_fill_device(k, i, 200);
        fixture_fill_host(k, i, (unsigned)i);
    }
    fixture_hashes(hashes, first, COUNT);
    kvf_assignments *assignments[] = {fixture_assignments(ids, COUNT, first), NULL};
    kvf_plan plans[2] = {{first, COUNT, ids, ids, hashes}};
    kvf_wire_submit_options how = {.dst = assignments};
    if (now == OTHER_WIRE)
        test_expect(KVF_OK, kvf_wire_create(k->group, &same, &other, &e), &e);
    plans[0].count -= odd && now == OTHER_COUNT;
    hashes[COUNT - 1].low ^= odd && now == OTHER_HASH;
    if (odd && now == NO_HASHES) {
        plans[0].src_hashes = NULL;
        how.dst = NULL;
    }
    if (odd && now == OTHER_SHARE)
        how.share = KVF_SHARE_RANK_0;
    if (odd && now == FAILS)
        ids[COUNT - 1] = ids[0];
    size_t count = odd && now == OTHER_PLANS ? 2 : 1;
    const kvf_handover handover = {victim, victim, {0, 1, ids, &ids[1], NULL}, NULL};
    kvf_wire *wire = odd && other ? other : k->wire;
    fixture_barrier(k);
    kvf_status status = KVF_OK;
    if (odd && now == REFUSES)
        status = kvf_wire_refuse(wire, KVF_ERR_CORRUPT, &e);
    else if (odd && now == HANDS_OVER)
        status = kvf_wire_hand_over(wire, &handover, 1, NULL, &op, &e);
    else if (odd && now == OTHER_KIND)
        status = kvf_wire_offload(wire, k->host_tier, plans, count, &how, &op, &e);
    else
        status = kvf_wire_onboard(wire, k->host_tier, plans, count, &how, &op, &e);
    test_expect(odd && now == FAILS ? KVF_ERR_CONFLICT : KVF_OK, status, &e);
    if (odd && (now == REFUSES || now == FAILS))
        assert_null(op);
    else
        end_as_peer(op, "");
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(fixture_device_is(k, i, 200));
        assert_true(fixture_host_is(k, i, i));
    }
    fixture_expect_phases(assignments[0], 0, COUNT);
    kvf_assignments_destroy(assignments[0]);
    kvf_wire_destroy(other);
    go_on(k);
}

static void disagree_in_all_ways(fixture_rank *k) {
    for (int odd = 0; odd < RANKS; odd++)
        for (int way = 0; way < TWISTS; way++) {
            fixture_barrier(k);
            if (k->rank == 0) {
                victim = odd;
                now = (twist)way;
            }
            fixture_barrier(k);
            disagree(k);
        }
}

static void test_disagreement(void **state) {
    (void)state;
    fixture_run_forms(RANKS, NULL, disagree_in_all_ways);
}

/* Lists of hand-overs differ in a part that concerns only two of the ranks. */
static void disagree_on_hands(fixture_rank *k) {
    for (int way = 0; way < 5; way++) {
        const uint64_t from[] = {1, 2, 3}, to[] = {11, 12, 13};
        kvf_hash hashes[3];
        kvf_wire_op *op = NULL;
        kvf_error e = {0};
        fixture_hashes(hashes, 0, 3);
        kvf_handover handovers[2] = {{1, 0, {0, 3, from, to, hashes}, NULL},
                                     {1, 2, {0, 3, from, to, NULL}, NULL}};
        const bool odd = k->rank == victim;
        handovers[0].plan.count -= odd && way == 0;
        hashes[2].high ^= odd && way == 1 ? 4 : 0;
        if (odd && way == 2)
            handovers[0].plan.src_hashes = NULL;
        if (odd && way == 3)
            handovers[0].to = 2 * (handovers[1].to = 0) + 2; /* swaps the two */
        const size_t count = odd && way == 4 ? 1 : 2;
        fixture_fill_device(k, 11, 200);
        fixture_barrier(k);
        test_expect(KVF_OK, kvf_wire_hand_over(k->wire, handovers, count, NULL, &op, &e), &e);
        end_as_peer(op, "");
        assert_true(fixture_device_is(k, 11, 200));
        go_on(k);
    }
}

static void test_hands_that_differ(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++)
        fixture_run(RANKS, NULL, disagree_on_hands);
}

/* One rank creates a different wire, or submits an operation instead. */
static void create_otherwise(fixture_rank *k) {
    for (int way = 0; way < 3; way++) {
        const bool odd = k->rank == victim;
        kvf_wire_options options = {.device = k->device, .chunk_bytes = (size_t)4 * FIXTURE_BLOCK};
        kvf_wire *wire = NULL;
        kvf_wire_op *op = NULL;
        kvf_error e = {0};
        if (odd && way == 0)
            options.chunk_bytes *= 2;
        if (odd && way == 1)
            options.chunks = 5;
        if (odd && way == 2) {
            end_as_peer(fixture_onboard(k, 0, COUNT, 0), "");
        } else {
            test_expect(KVF_ERR_PEER, kvf_wire_create(k->group, &options, &wire, &e), &e);
            assert_int_equal(e.index, victim);
        }
        assert_null(wire);
        assert_null(op);
        go_on(k);
    }
}

static void test_wires_that_differ(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++)
        fixture_run(RANKS, NULL, create_otherwise);
}

/* One rank skips an operation, so that its second meets the others' first. */
static void skip_one(fixture_rank *k) {
    kvf_error e = {0};
    kvf_wire_op *ops[3] = {0};
    for (unsigned n = 0; n < 3; n++)
        for (unsigned i = 0; i < 5; i++)
            fixture_fill_device(k, n * 10 + i, 200);
    fixture_barrier(k);
    for (unsigned n = 0; n < 3; n++)
        if (n > 0 || k->rank != victim)
            ops[n] = fixture_onboard(k, (uint64_t)n * 10, 5, (uint64_t)100 + n * 10);
    for (unsigned n = 0; n < 3; n++) {
        if (!ops[n])
            continue;
        kvf_status status = kvf_wire_op_wait(ops[n], 20 * 1000 * 1000, &e);
        assert_true(status == KVF_ERR_PEER || status == KVF_ERR_BROKEN);
        kvf_wire_op_release(ops[n]);
        for (unsigned i = 0; i < 5; i++)
            assert_true(fixture_device_is(k, n * 10 + i, 200));
    }
    fixture_barrier(k); /* the others' last operation has timed out */
    if (k->rank == victim)
        end_as_broken(fixture_onboard(k, FIRST, COUNT, 0));
    fakenccl_forgive();
    expect_broken(k);
    make_new_group(k);
}

static void test_an_operation_left_out(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++)
        fixture_run(RANKS, &(fixture_options){.timeout_us = SHORT_US}, skip_one);
}

/* One rank is late, and no rank can tell which. Queued operations end with the group. */
static void be_late(fixture_rank *k) {
    const bool late = k->rank == victim;
    fixture_barrier(k);
    if (late)
        usleep(3 * SHORT_US);
    double begun = now_s();
    kvf_wire_op *ops[] = {
        fixture_onboard(k, FIRST, COUNT, 0),
        k->fixture->options.form == FIXTURE_ORDERED ? NULL : fixture_onboard(k, OTHER, COUNT, 0)};
    for (int i = 0; i < 2; i++)
        if (ops[i])
            end_as_broken(ops[i]);
    if (!late)
        assert_true((now_s() - begun) * 1e6 < 2.5 * SHORT_US);
    expect_broken(k);
    fixture_expect_idle(k);
    fixture_barrier(k);
    fakenccl_forgive(); /* ranks may have waited for longer than its patience */
    make_new_group(k);
}

static void test_a_rank_that_does_not_come_in_time(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS;
         victim++) { /* NCCL revokes; cannot revoke; revokes without effect */
        fixture_options o = {.timeout_us = SHORT_US,
                             .nccl = {.no_revoke = victim == 1, .deaf = victim == 2}};
        if (victim == 0)
            fixture_run_forms(RANKS, &o, be_late);
        else
            fixture_run(RANKS, &o, be_late);
    }
}

/* A host copy fails. Only rank 0 copies from the host. */
static void fail_to_copy(fixture_rank *k) {
    uint64_t ids[COUNT];
    kvf_wire_op *op = NULL;
    kvf_wire_op_stats stats;
    kvf_error e = {0};
    kvf_hash hashes[COUNT];
    for (uint64_t i = 0; i < COUNT; i++)
        ids[i] = i;
    fixture_hashes(hashes, 0, COUNT);
    kvf_assignments *assignments = fixture_assignments(ids, COUNT, 0);
    const kvf_plan plan = {0, COUNT, ids, ids, hashes};
    const kvf_wire_submit_options how = {.share = KVF_SHARE_RANK_0, .dst = &assignments};
    fixture_barrier(k);
    if (k->rank == 0)
        fakecuda_fail_call("cudaMemcpyAsync", 1, cudaErrorInvalidValue, false);
    fixture_barrier(k);
    /* Gathers copy, too, so the failing copy may be one of theirs. */
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_status status = kvf_wire_op_wait(op, 20 * 1000 * 1000, &e);
    kvf_wire_op_stats_get(op, &stats);
    assert_true(status != KVF_OK && status != KVF_ERR_TIMEOUT);
    assert_int_equal(stats.blocks, 0);
    kvf_wire_op_release(op);
    fixture_expect_phases(assignments, 0, COUNT);
    kvf_assignments_destroy(assignments);
    if (kvf_group_check(k->group, NULL) == KVF_OK)
        go_on(k);
    fixture_expect_idle(k);
}

static void test_a_host_copy_that_fails(void **state) {
    (void)state;
    fixture_run(RANKS,
                &(fixture_options){.timeout_us = SHORT_US, .engine = {.strategy = KVF_CUDA_LOOP}},
                fail_to_copy);
}

/* The group breaks */

static void fail_asynchronously(fixture_rank *k) {
    if (k->rank == 0)
        fakenccl_async_error(victim, 1, ncclSystemError);
}

static void fail_call(fixture_rank *k) {
    if (k->rank == 0)
        fakenccl_fail_call_of(victim, "ncclAllGather", 1, ncclInternalError, false);
}

static void die(fixture_rank *k) {
    if (k->rank == victim)
        fakecuda_lose_device(victim, cudaErrorECCUncorrectable);
}

/* All ranks learn of it in time, and no operation succeeds. */
static void break_by(const scenario_options *how, const char *part) {
    for (victim = 0; victim < RANKS; victim++) {
        group_fixture fixture;
        double begun = now_s();
        fixture_open(&fixture, RANKS, &(fixture_options){.timeout_us = SHORT_US});
        scenario_run(&fixture, how);
        assert_true(now_s() - begun < 10);
        for (int r = 0; r < RANKS && !(how->dies && scenario_went_well(&fixture)); r++) {
            kvf_error e = {0};
            while (kvf_group_check(fixture.of[r].group, &e) == KVF_OK)
                usleep(1000);
            assert_int_equal(e.status, KVF_ERR_BROKEN);
            if (r == victim && !strstr(e.what, part))
                fail_msg("'%s' is not in: %s", part, e.what);
            for (int op = 0; op < SCENARIO_OPS && !how->dies; op++)
                assert_true(scenario_ends[r].ops[op].status != KVF_OK);
        }
        fakenccl_forgive();
        if (!how->dies)
            fixture_on_all(&fixture, make_new_group);
        fixture_close(&fixture);
    }
}

static void test_an_asynchronous_error(void **state) {
    (void)state;
    break_by(&(scenario_options){.before = fail_asynchronously},
             ""); /* the next call reports it, whichever it is */
}

static void test_a_call_that_fails(void **state) {
    (void)state;
    break_by(&(scenario_options){.before = fail_call}, "ncclAllGather");
}

static void test_a_device_that_dies(void **state) {
    (void)state;
    break_by(&(scenario_options){.submitted = die, .dies = true}, "");
}

/* The engine has to wait for a stream to run empty after a collective that never ends. That blocks
 * the group's thread, and the watchdog has to break the group. */

static uint64_t records, failing; /* calls of cudaEventRecord; the one that fails */

static void record_in_vain(fixture_rank *k) {
    static const uint64_t ids[] = {5, 6};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    const kvf_plan plan = {0, 2, ids, ids, NULL};
    const kvf_wire_submit_options how = {.share = KVF_SHARE_RANK_0};
    fixture_barrier(k);
    uint64_t before = fakecuda_calls("cudaEventRecord");
    fixture_barrier(k);
    if (k->rank == 0 && failing > 0) {
        fakenccl_delay(0, 60000000);
        fakecuda_fail_call("cudaEventRecord", failing, cudaErrorInvalidValue, false);
    }
    fixture_barrier(k);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_status status = kvf_wire_op_wait(op, 20 * 1000 * 1000, &e);
    assert_true(kvf_wire_op_poll(op, NULL) != KVF_PENDING);
    assert_int_equal(status == KVF_OK, failing == 0);
    kvf_wire_op_release(op);
    fixture_barrier(k);
    if (k->rank == 0 && failing == 0)
        records = fakecuda_calls("cudaEventRecord") - before;
}

static void test_a_thread_that_is_stuck(void **state) {
    (void)state;
    failing = 0;
    fixture_run(2,
                &(fixture_options){.timeout_us = SHORT_US, .engine = {.strategy = KVF_CUDA_LOOP}},
                record_in_vain);
    assert_int_not_equal(records, 0);
    for (failing = 1; failing <= records; failing++)
        fixture_run(
            2, &(fixture_options){.timeout_us = SHORT_US, .engine = {.strategy = KVF_CUDA_LOOP}},
            record_in_vain);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_hands_that_differ),
        cmocka_unit_test(test_wires_that_differ),
        cmocka_unit_test(test_an_operation_left_out),
        cmocka_unit_test(test_a_rank_that_does_not_come_in_time),
        cmocka_unit_test(test_a_host_copy_that_fails),
        cmocka_unit_test(test_an_asynchronous_error),
        cmocka_unit_test(test_a_call_that_fails),
        cmocka_unit_test(test_a_device_that_dies),
        cmocka_unit_test(test_a_thread_that_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
