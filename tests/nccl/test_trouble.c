/* Ranks that disagree, are late, fail or die: what the others are told, and what becomes of them.
 */
#include "ordeal.h"

#include "group.h"
#include "needs.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 12, RANKS = 3, WATCHDOG_S = 120, WAIT_US = 30 * 1000 * 1000 };

/* Of those who live nobody may be held up for that long. */
#ifdef __SANITIZE_THREAD__
enum { SHORT_US = 2000000 };
#else
enum { SHORT_US = 1000000 };
#endif

static void open_rig(group_rig *rig, const rig_options *options) {
    (void)alarm(WATCHDOG_S);
    rig_open(rig, RANKS, options);
}

static void expect_error(const kvf_error *e, kvf_status status, int rank, const char *part) {
    test_expect(status, e->status, e);
    assert_true((e->fields & KVF_ERROR_INDEX) != 0);
    assert_int_equal(e->index, rank);
    if (!strstr(e->what, part))
        print_error("'%s' is not in: %s\n", part, e->what);
    assert_non_null(strstr(e->what, part));
}

static void expect_end_of(kvf_wire_op *op, kvf_status status, int rank, int or_rank,
                          const char *part) {
    kvf_error e = {0};
    kvf_status ended = kvf_wire_op_wait(op, WAIT_US, &e);
    assert_int_equal(ended, e.status);
    kvf_wire_op_release(op);
    if ((e.fields & KVF_ERROR_INDEX) != 0 && e.index == (uint64_t)or_rank)
        rank = or_rank;
    expect_error(&e, status, rank, part); /* the text outlives the operation */
}

static void expect_end(kvf_wire_op *op, kvf_status status, int rank, const char *part) {
    expect_end_of(op, status, rank, rank, part);
}

/* A good operation of all, to see that the group goes on. */
static void go_on(rig_rank *k) {
    uint64_t ids[COUNT];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        ids[i] = 40 + i;
        rig_fill_host(k, ids[i], (unsigned)(i + 90));
    }
    rig_meet(k);
    const kvf_plan plan = {0, COUNT, ids, ids, NULL};
    const kvf_wire_submit_options how = {.tag = 4711};
    test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    rig_end(op, KVF_OK);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(rig_device_is(k, ids[i], i + 90));
    rig_expect_idle(k);
}

/* Disagreement: what rank 1 does otherwise */

typedef enum twist {
    OTHER_POSITION,
    OTHER_COUNT,
    OTHER_HASH,
    NO_HASHES,
    OTHER_SHARE,
    OTHER_KIND,
    OTHER_PLANS,
    OTHER_CHUNK,
    OTHER_LAYOUT,
    TWISTS
} twist;

static twist now;

static kvf_wire *wire_with_other_chunks(rig_rank *k) {
    const kvf_wire_options options = {.device = k->device, .chunk_bytes = 5 * RIG_BLOCK};
    kvf_wire *wire = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_wire_create(k->group, &options, &wire, &e), &e);
    return wire;
}

/* The rig's own tiers, seen as blocks of half the size: the first layer's memory is enough. */
typedef struct halves {
    kvf_tier *near, *far;
    kvf_wire *wire;
} halves;

static void open_halves(rig_rank *k, halves *h) {
    const kvf_shape shape = {.blocks = RIG_SLOTS, .layers = 1, .bytes = RIG_PART};
    const kvf_buffer buffers[] = {{k->layers[0], RIG_SLOTS * RIG_PART},
                                  {k->host, RIG_SLOTS * RIG_PART}};
    kvf_tier **tiers[] = {&h->near, &h->far};
    kvf_error e = {0};
    for (size_t i = 0; i < 2; i++) {
        kvf_layout *layout;
        test_expect(KVF_OK, kvf_layout_contiguous(&shape, buffers[i], &layout, &e), &e);
        const kvf_layout *layouts[] = {layout};
        const kvf_tier_options options = {.layouts = layouts,
                                          .layout_count = 1,
                                          .memory = i ? KVF_MEMORY_PINNED : KVF_MEMORY_DEVICE};
        test_expect(KVF_OK, kvf_tier_create(k->engine, &options, tiers[i], &e), &e);
        kvf_layout_destroy(layout);
    }
    const kvf_wire_options wire = {.device = h->near, .chunk_bytes = 2 * RIG_PART};
    test_expect(KVF_OK, kvf_wire_create(k->group, &wire, &h->wire, &e), &e);
}

static void close_halves(halves *h) {
    kvf_wire_destroy(h->wire);
    kvf_tier_destroy(h->near);
    kvf_tier_destroy(h->far);
}

/* Rank 0 is first, so that it is not rank 1's opinion that rank 2 differs from. */
static void disagree(rig_rank *k) {
    bool twists = k->rank == 1;
    uint64_t ids[COUNT];
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    halves other = {0};
    kvf_wire *wire = k->wire;
    kvf_tier *host = k->host_tier;
    kvf_plan plans[2] = {{6, COUNT, ids, ids, hashes}};
    kvf_wire_submit_options how = {.tag = 17};
    for (uint64_t i = 0; i < COUNT; i++)
        ids[i] = i;
    uint64_t first = twists && now == OTHER_POSITION ? 7 : 6;
    rig_hashes(hashes, first, COUNT);
    kvf_assignments *tracker = rig_tracker(ids, COUNT, first);
    kvf_assignments *trackers[] = {tracker, NULL};
    how.dst = trackers;
    plans[0].first_position = first;
    if (twists && now == OTHER_COUNT)
        plans[0].count--;
    if (twists && now == OTHER_HASH)
        hashes[COUNT - 1].low ^= 1;
    if (twists && now == NO_HASHES) {
        plans[0].src_hashes = NULL;
        how.dst = NULL;
    }
    if (twists && now == OTHER_SHARE)
        how.share = KVF_SHARE_FIRST;
    if (twists && now == OTHER_CHUNK)
        wire = wire_with_other_chunks(k);
    if (twists && now == OTHER_LAYOUT) {
        open_halves(k, &other);
        wire = other.wire;
        host = other.far;
    }
    size_t count = twists && now == OTHER_PLANS ? 2 : 1;
    if (k->rank != 0)
        rig_meet(k);
    kvf_status status = twists && now == OTHER_KIND
                            ? kvf_wire_offload(wire, host, plans, count, &how, &op, &e)
                            : kvf_wire_onboard(wire, host, plans, count, &how, &op, &e);
    test_expect(KVF_OK, status, &e);
    if (k->rank == 0)
        rig_meet(k);
    /* Rank 2 is named where it and rank 1 are the first to come: the two of them differ. */
    expect_end_of(op, KVF_ERR_PEER, 1, 2,
                  now == OTHER_KIND ? "kind" : "other plans, hashes or layouts");
    rig_expect_phases(tracker, 0, COUNT);
    kvf_assignments_destroy(tracker);
    if (wire != k->wire && now == OTHER_CHUNK)
        kvf_wire_destroy(wire);
    close_halves(&other);
    go_on(k);
}

static void test_disagreement(void **state) {
    (void)state;
    group_rig rig;
    open_rig(&rig, NULL);
    for (now = 0; now < TWISTS; now++)
        rig_on_all(&rig, disagree);
    rig_close(&rig);
}

/* Hands that do not pair. Rank 1 sends to rank 0. */
typedef enum hand_twist {
    HAND_OTHER_COUNT,
    HAND_OTHER_HASH,
    HAND_NO_HASH,
    HAND_BOTH_SEND,
    HAND_ONE_MORE,
    HAND_TWISTS
} hand_twist;

static hand_twist hands_now;

static void disagree_on_hands(rig_rank *k) {
    uint64_t ids[2][4] = {{1, 2, 3, 4}, {11, 12, 13, 14}};
    kvf_hash hashes[4];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    bool sends = k->rank == 1;
    kvf_hand hands[2];
    rig_hashes(hashes, 0, 4);
    if (k->rank < 2) {
        for (size_t h = 0; h < 2; h++)
            hands[h] =
                (kvf_hand){.peer = 1 - k->rank,
                           .receives = !sends,
                           .plan = {0, 4, sends ? ids[h] : NULL, sends ? NULL : ids[h], hashes}};
        size_t count = 1;
        if (sends && hands_now == HAND_OTHER_COUNT)
            hands[0].plan.count = 3;
        if (sends && hands_now == HAND_OTHER_HASH)
            hashes[3].high ^= 4;
        if (sends && hands_now == HAND_NO_HASH)
            hands[0].plan.src_hashes = NULL;
        if (!sends && hands_now == HAND_BOTH_SEND) {
            hands[0].receives = false;
            hands[0].plan.src_ids = ids[0];
        }
        if (sends && hands_now == HAND_ONE_MORE)
            count = 2;
        kvf_assignments *tracker = rig_tracker(ids[0], 4, 0);
        if (hands[0].receives)
            hands[0].dst = tracker;
        const kvf_wire_submit_options how = {.tag = 3};
        test_expect(KVF_OK, kvf_wire_exchange(k->wire, hands, count, &how, &op, &e), &e);
        expect_end(op, KVF_ERR_PEER, 1, "hands: ");
        rig_expect_phases(tracker, 0, 4);
        kvf_assignments_destroy(tracker);
    }
    go_on(k);
}

static void test_hands_that_do_not_pair(void **state) {
    (void)state;
    group_rig rig;
    open_rig(&rig, NULL);
    for (hands_now = 0; hands_now < HAND_TWISTS; hands_now++)
        rig_on_all(&rig, disagree_on_hands);
    rig_close(&rig);
}

/* Late */

static kvf_wire_op *submit(rig_rank *k, uint64_t tag, kvf_assignments **tracker) {
    static const uint64_t ids[COUNT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    rig_hashes(hashes, 0, COUNT);
    *tracker = rig_tracker(ids, COUNT, 0);
    const kvf_plan plan = {0, COUNT, ids, ids, hashes};
    const kvf_wire_submit_options how = {.tag = tag, .dst = tracker};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    return op;
}

static void expect_nothing_landed(kvf_assignments *tracker) {
    rig_expect_phases(tracker, 0, COUNT);
    kvf_assignments_destroy(tracker);
}

/* Rank 2 comes when the others have been told already, and hears the same. */
static void be_late(rig_rank *k) {
    kvf_assignments *tracker;
    if (k->rank == 2)
        rig_meet(k);
    kvf_wire_op *op = submit(k, 9, &tracker);
    expect_end(op, KVF_ERR_PEER, 2, "late: has not announced");
    if (k->rank != 2)
        rig_meet(k);
    expect_nothing_landed(tracker);
    go_on(k);
}

static void test_a_rank_that_does_not_come_in_time(void **state) {
    (void)state;
    group_rig rig;
    open_rig(&rig, &(rig_options){.timeout_us = SHORT_US});
    rig_on_all(&rig, be_late);
    rig_close(&rig);
}

/* A host copy fails */

/* Of all ranks only rank 0 copies from the host, and its copy is the first. */
static void fail_to_copy(rig_rank *k) {
    static const uint64_t ids[COUNT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    kvf_wire_op_stats stats;
    kvf_error e = {0};
    rig_hashes(hashes, 0, COUNT);
    kvf_assignments *tracker = rig_tracker(ids, COUNT, 0);
    const kvf_plan plan = {0, COUNT, ids, ids, hashes};
    const kvf_wire_submit_options how = {.share = KVF_SHARE_FIRST, .dst = &tracker};
    rig_meet(k);
    if (k->rank == 0)
        fakecuda_fail_call("cudaMemcpyAsync", 1, cudaErrorInvalidValue, false);
    rig_meet(k);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_status status = kvf_wire_op_wait(op, WAIT_US, &e);
    kvf_wire_op_stats_get(op, &stats);
    assert_int_equal(stats.blocks, 0);
    assert_int_equal(stats.chunks, 2); /* carried on nevertheless, for the others */
    kvf_wire_op_release(op);
    if (k->rank == 0)
        assert_int_equal(status, KVF_ERR_INVALID); /* its own error, with the code */
    else
        expect_error(&e, KVF_ERR_PEER, 0, "cuda");
    expect_nothing_landed(tracker);
    go_on(k);
}

static void test_a_host_copy_that_fails(void **state) {
    (void)state;
    group_rig rig;
    open_rig(&rig, &(rig_options){.engine = {.strategy = KVF_CUDA_LOOP}});
    rig_on_all(&rig, fail_to_copy);
    rig_close(&rig);
}

/* The group breaks */

static int victim;

/* All ranks are told whose fault it is, everything behind it is refused for that, and nobody has
 * got anything. */
static void expect_broken(const group_rig *rig, const char *part) {
    for (int r = 0; r < rig->ranks; r++) {
        kvf_error e = {0};
        kvf_group_check(rig->of[r].group, &e);
        assert_true((e.fields & KVF_ERROR_INDEX) != 0);
        assert_int_equal(e.index, victim);
        if (!strstr(e.what, part))
            fail_msg("'%s' is not in: %s", part, e.what);
        if (r != victim)
            assert_int_equal(e.status, KVF_ERR_PEER);
        for (int op = 0; op < ORDEAL_OPS; op++)
            assert_true(ordeal_ends[r].ops[op].status != KVF_OK);
    }
}

static void fail_asynchronously(rig_rank *k) {
    if (k->rank == 0)
        fakenccl_async_error(victim, 1, ncclSystemError);
}

static void test_an_asynchronous_error(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++) {
        group_rig rig;
        open_rig(&rig, NULL);
        ordeal_run(&rig, &(ordeal_options){.before = fail_asynchronously});
        /* The offload needs no NCCL and may have landed before. */
        for (int r = 0; r < RANKS; r++)
            ordeal_ends[r].ops[ORDEAL_OFFLOAD].status = KVF_ERR_PEER;
        expect_broken(&rig, ""); /* told by whichever call comes next */
        rig_close(&rig);
    }
}

static void fail_remotely(rig_rank *k) {
    if (k->rank == 0)
        fakenccl_async_error(victim, 1, ncclRemoteError);
}

/* NCCL does not say who it was; who tells is named. */
static void test_a_remote_error(void **state) {
    (void)state;
    group_rig rig;
    victim = 2;
    open_rig(&rig, NULL);
    ordeal_run(&rig, &(ordeal_options){.before = fail_remotely});
    for (int r = 0; r < RANKS; r++)
        ordeal_ends[r].ops[ORDEAL_OFFLOAD].status = KVF_ERR_PEER;
    expect_broken(&rig, "NCCL: another rank has failed");
    rig_close(&rig);
}

static void fail_call(rig_rank *k) {
    if (k->rank == 0)
        fakenccl_fail_call_of(victim, "ncclAllGather", 1, ncclInternalError, false);
}

static void test_a_call_that_fails(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++) {
        group_rig rig;
        open_rig(&rig, NULL);
        ordeal_run(&rig, &(ordeal_options){.before = fail_call});
        for (int r = 0; r < RANKS; r++)
            ordeal_ends[r].ops[ORDEAL_OFFLOAD].status = KVF_ERR_PEER;
        expect_broken(&rig, "ncclAllGather");
        rig_close(&rig);
    }
}

/* Dead without a word: its messages do not arrive, and nothing of it moves. */
static void be_slow(rig_rank *k) {
    if (k->rank == 0)
        for (int r = 0; r < RANKS; r++)
            fakenccl_delay(r, 100000);
}

static void silence(rig_rank *k) {
    if (k->rank == victim)
        mail_silence(k->rig->mail, victim);
}

static void silence_later(rig_rank *k) {
    usleep(50000);
    silence(k);
}

/* To the victim it is the others who are silent; all but rank 0 hear rank 0 only. */
static void expect_silence_noticed(const group_rig *rig) {
    for (int r = 0; r < rig->ranks; r++) {
        kvf_error e = {0};
        while (kvf_group_check(rig->of[r].group, &e) == KVF_OK)
            usleep(1000);
        assert_int_equal(e.status, KVF_ERR_PEER);
        assert_true((e.fields & KVF_ERROR_INDEX) != 0);
        if (e.index != (uint64_t)(r == victim ? 0 : victim) && r + victim > 0)
            print_error("rank %d of victim %d: %s (%lu)\n", r, victim, e.what,
                        (unsigned long)e.index);
        if (victim == 0 && r == 0)
            assert_true(e.index > 0);
        else
            assert_int_equal(e.index, r == victim ? 0 : victim);
        assert_true(strstr(e.what, "silent") || strstr(e.what, "late"));
    }
}

static void test_a_rank_that_falls_silent(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++) {
        for (int stage = 0; stage < 2; stage++) {
            group_rig rig;
            open_rig(&rig, &(rig_options){.timeout_us = SHORT_US});
            ordeal_run(&rig, &(ordeal_options){.before = stage == 0 ? silence : be_slow,
                                               .submitted = stage == 1 ? silence_later : NULL});
            expect_silence_noticed(&rig);
            rig_close(&rig);
        }
    }
}

/* Silent when all is done, and while nothing is to be done. */
static void silence_when_done(rig_rank *k) {
    go_on(k);
    rig_meet(k);
    silence(k);
    while (kvf_group_check(k->group, NULL) == KVF_OK)
        usleep(1000);
}

static void test_silence_between_operations(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++) {
        group_rig rig;
        open_rig(&rig, &(rig_options){.timeout_us = SHORT_US});
        rig_on_all(&rig, silence_when_done);
        expect_silence_noticed(&rig);
        rig_close(&rig);
    }
}

/* A rank's device dies in the middle. */
static void die(rig_rank *k) {
    if (k->rank == victim)
        fakecuda_lose_device(victim, cudaErrorECCUncorrectable);
}

static void test_a_device_that_dies(void **state) {
    (void)state;
    for (victim = 0; victim < RANKS; victim++) {
        group_rig rig;
        open_rig(&rig, NULL);
        ordeal_run(&rig, &(ordeal_options){.submitted = die, .dies = true});
        for (int r = 0; r < RANKS; r++) {
            kvf_error e = {0};
            if (ordeal_went_well(&rig))
                continue; /* it was too late to matter */
            while (kvf_group_check(rig.of[r].group, &e) == KVF_OK)
                usleep(1000);
            assert_int_equal(e.index, victim);
        }
        rig_close(&rig);
    }
}

/* An engine that has to let a stream run empty, behind a collective that never ends */

static uint64_t records, failing; /* calls of cudaEventRecord in all, and the one that fails */

static void record_in_vain(rig_rank *k) {
    static const uint64_t ids[] = {5, 6};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    const kvf_plan plan = {0, 2, ids, ids, NULL};
    const kvf_wire_submit_options how = {.share = KVF_SHARE_FIRST};
    rig_meet(k);
    if (k->rank == 0)
        records = fakecuda_calls("cudaEventRecord");
    if (k->rank == 0 && failing > 0) {
        fakenccl_delay(0, 60000000);
        fakecuda_fail_call("cudaEventRecord", failing, cudaErrorInvalidValue, false);
    }
    rig_meet(k);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_status status = kvf_wire_op_wait(op, WAIT_US, &e);
    assert_true(kvf_wire_op_poll(op, NULL) != KVF_PENDING);
    assert_int_equal(status == KVF_OK, failing == 0);
    kvf_wire_op_release(op);
}

static void count_broken(void *user, kvf_log_level level, const char *text) {
    if (level == KVF_LOG_ERROR && strstr(text, "is broken") != NULL)
        atomic_fetch_add((atomic_size_t *)user, 1);
}

/* The last event that is recorded stands behind what takes blocks off the wire. Without it the
 * group's thread waits for the stream, and the guard has to break off what that waits for. */
static void test_a_thread_that_is_stuck(void **state) {
    (void)state;
    failing = 0;
    for (int i = 0; i < 2; i++) {
        group_rig rig;
        atomic_size_t lines = 0;
        const kvf_log log = {count_broken, &lines, KVF_LOG_ERROR};
        (void)alarm(WATCHDOG_S);
        rig_open(&rig, 2,
                 &(rig_options){.timeout_us = SHORT_US,
                                .engine = {.strategy = KVF_CUDA_LOOP, .log = &log}});
        rig_on_all(&rig, record_in_vain);
        failing = fakecuda_calls("cudaEventRecord") - records;
        bool held_up = false;
        for (int r = 0; r < 2 && i == 1; r++)
            held_up |= rig.of[r].group->rescued;
        assert_int_equal(held_up, i == 1);
        rig_close(&rig);
        assert_int_equal(lines, i == 1 ? 2 : 0); /* a rank, a line */
    }
}

/* Destroyed in the middle */

static void destroy_group(rig_rank *k) {
    if (k->rank != victim)
        return;
    kvf_group_destroy(k->group);
    k->group = NULL;
}

static void destroy_wire(rig_rank *k) {
    if (k->rank != victim)
        return;
    kvf_wire_destroy(k->wire);
    k->wire = NULL;
}

static void destroy_both(rig_rank *k) {
    destroy_wire(k);
    destroy_group(k);
}

static void test_destroying_in_the_middle(void **state) {
    (void)state;
    static void (*const ways[])(rig_rank * k) = {destroy_group, destroy_wire, destroy_both};
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        for (victim = 0; victim < RANKS; victim++) {
            group_rig rig;
            open_rig(&rig, &(rig_options){.timeout_us = SHORT_US});
            ordeal_run(&rig, &(ordeal_options){.before = be_slow, .submitted = ways[way]});
            rig_close(&rig);
        }
    }
}

/* What is destroyed names itself, and its own operations are cancelled. */
static void test_a_destroyed_wire_is_told(void **state) {
    (void)state;
    group_rig rig;
    victim = 1;
    open_rig(&rig, &(rig_options){.timeout_us = 10 * SHORT_US});
    ordeal_run(&rig, &(ordeal_options){.before = be_slow, .submitted = destroy_wire});
    for (int r = 0; r < RANKS; r++)
        expect_error(&ordeal_ends[r].ops[ORDEAL_ONBOARD],
                     r == victim ? KVF_ERR_CANCELLED : KVF_ERR_PEER, victim,
                     "a wire was destroyed");
    rig_close(&rig);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_hands_that_do_not_pair),
        cmocka_unit_test(test_a_rank_that_does_not_come_in_time),
        cmocka_unit_test(test_a_host_copy_that_fails),
        cmocka_unit_test(test_an_asynchronous_error),
        cmocka_unit_test(test_a_remote_error),
        cmocka_unit_test(test_a_call_that_fails),
        cmocka_unit_test(test_a_rank_that_falls_silent),
        cmocka_unit_test(test_silence_between_operations),
        cmocka_unit_test(test_a_device_that_dies),
        cmocka_unit_test(test_a_thread_that_is_stuck),
        cmocka_unit_test(test_destroying_in_the_middle),
        cmocka_unit_test(test_a_destroyed_wire_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
