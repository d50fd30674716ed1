/* Handing over: rings, all to all, several hands to one peer, a rank to itself, other layouts. */
#include "group_rig.h"
#include "needs.h"

#include <stdlib.h>
#include <unistd.h>

enum { DEALS = 64, MOST_BLOCKS = 32, WATCHDOG_S = 120 };

/* So many blocks go from one rank to another. */
typedef struct deal {
    int from, to;
    size_t count;
} deal;

typedef struct scene {
    deal deals[DEALS];
    size_t count;
    bool tracked; /* with hashes, and trackers of those that receive */
} scene;

static scene current;

static void add(int from, int to, size_t count) {
    assert_true(current.count < DEALS);
    current.deals[current.count++] = (deal){from, to, count};
}

/* What tells block `i` of a deal from all others. */
static unsigned block_of(size_t deal, size_t i) {
    return (unsigned)(deal * 37 + i + 1);
}

static uint64_t position_of(size_t deal) {
    return deal * 100 + 3;
}

typedef struct side {
    size_t count;
    kvf_hand hands[2 * DEALS];
    size_t deals[2 * DEALS];
    uint64_t ids[2 * DEALS][MOST_BLOCKS];
    kvf_hash hashes[2 * DEALS][MOST_BLOCKS];
} side;

static void add_hand(side *s, size_t d, bool receives, uint64_t *slot, int step) {
    const deal *made = &current.deals[d];
    size_t h = s->count++;
    for (size_t i = 0; i < made->count; i++, *slot += (uint64_t)step)
        s->ids[h][i] = *slot;
    rig_hashes(s->hashes[h], position_of(d), made->count);
    s->deals[h] = d;
    s->hands[h] = (kvf_hand){.peer = receives ? made->from : made->to,
                             .receives = receives,
                             .plan = {.first_position = position_of(d),
                                      .count = made->count,
                                      .src_ids = receives ? NULL : s->ids[h],
                                      .dst_ids = receives ? s->ids[h] : NULL,
                                      .src_hashes = current.tracked ? s->hashes[h] : NULL}};
    if (receives && current.tracked)
        s->hands[h].dst = rig_tracker(s->ids[h], made->count, position_of(d));
}

/* Sources from the first slot up, destinations from the last one down. */
static void make_side(const rig_rank *k, side *s) {
    uint64_t up = 0, down = k->slots - 1;
    s->count = 0;
    for (size_t d = 0; d < current.count; d++) {
        if (current.deals[d].from == k->rank)
            add_hand(s, d, false, &up, 1);
        if (current.deals[d].to == k->rank)
            add_hand(s, d, true, &down, -1);
    }
    assert_true(up <= down + 1);
}

static void fill(rig_rank *k, const side *s) {
    for (size_t h = 0; h < s->count; h++)
        for (size_t i = 0; !s->hands[h].receives && i < s->hands[h].plan.count; i++)
            rig_fill_device(k, s->ids[h][i], block_of(s->deals[h], i));
}

static void expect(const rig_rank *k, const side *s) {
    for (size_t h = 0; h < s->count; h++)
        for (size_t i = 0; i < s->hands[h].plan.count; i++)
            assert_true(rig_device_is(k, s->ids[h][i], block_of(s->deals[h], i)));
}

static void expect_stats(kvf_wire_op *op, const side *s) {
    size_t received = 0, all = 0;
    kvf_wire_op_stats stats;
    for (size_t h = 0; h < s->count; h++) {
        all += s->hands[h].plan.count;
        received += s->hands[h].receives ? s->hands[h].plan.count : 0;
    }
    kvf_wire_op_stats_get(op, &stats);
    assert_int_equal(stats.blocks, received);
    assert_int_equal(stats.wire_bytes, all * RIG_BLOCK);
    assert_int_equal(stats.host_bytes, 0);
}

static void expect_trackers(const side *s, bool landed) {
    for (size_t h = 0; h < s->count; h++) {
        size_t count = s->hands[h].plan.count;
        if (!s->hands[h].dst)
            continue;
        rig_expect_phases(s->hands[h].dst, landed ? count : 0, landed ? 0 : count);
        kvf_assignments_destroy(s->hands[h].dst);
    }
}

static void hand_over(rig_rank *k) {
    side *s = calloc(1, sizeof *s);
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    make_side(k, s);
    fill(k, s);
    const kvf_wire_submit_options how = {.tag = 5};
    test_expect(KVF_OK, kvf_wire_exchange(k->wire, s->hands, s->count, &how, &op, &e), &e);
    for (size_t h = 0; h < s->count; h++)
        if (s->hands[h].dst && s->hands[h].plan.count > 0)
            assert_int_equal(kvf_flight_open_count(s->hands[h].dst), 1);
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    expect_stats(op, s);
    kvf_wire_op_release(op);
    expect(k, s);
    expect_trackers(s, true);
    rig_expect_idle(k);
    free(s);
}

static void run(int ranks, const rig_options *options) {
    group_rig rig;
    (void)alarm(WATCHDOG_S);
    rig_open(&rig, ranks, options);
    rig_on_all(&rig, hand_over);
    rig_close(&rig);
    current = (scene){0};
}

static void make_ring(int ranks, size_t count) {
    for (int r = 0; r < ranks; r++)
        add(r, (r + 1) % ranks, count);
}

static void test_rings(void **state) {
    (void)state;
    for (int ranks = 2; ranks <= 8; ranks += 2) {
        make_ring(ranks, 13);
        run(ranks, NULL);
    }
    make_ring(3, 32); /* in many rounds, one chunk at a time */
    run(3, &(rig_options){.chunk_blocks = 1, .chunks = 1});
}

static void test_all_to_all(void **state) {
    (void)state;
    for (int ranks = 2; ranks <= 5; ranks++) {
        for (int from = 0; from < ranks; from++)
            for (int to = 0; to < ranks; to++)
                add(from, to, 1 + (size_t)(from + 2 * to) % 6);
        run(ranks, &(rig_options){.chunk_blocks = 8});
    }
}

/* All of a round is one group of calls, however many peers there are. */
static void test_many_peers_in_one_call(void **state) {
    (void)state;
    group_rig rig;
    for (int from = 0; from < 8; from++)
        for (int to = 0; to < 8; to++)
            if (from != to)
                add(from, to, 3);
    rig_open(&rig, 8, &(rig_options){.chunk_blocks = 12}); /* three blocks of a hand in a round */
    uint64_t before = fakenccl_calls("ncclGroupEnd");
    rig_on_all(&rig, hand_over);
    assert_int_equal(fakenccl_calls("ncclGroupEnd") - before, 8);
    for (int r = 0; r < 8; r++) {
        fakenccl_traffic sent = fakenccl_traffic_of(r, FAKENCCL_SEND);
        assert_int_equal(sent.operations, 7);
        assert_int_equal(sent.sent, 7 * 3 * RIG_BLOCK);
    }
    rig_close(&rig);
    current = (scene){0};
}

/* They pair in order, whatever their lengths. */
static void test_several_hands_to_one_peer(void **state) {
    (void)state;
    add(0, 1, 4);
    add(0, 1, 0);
    add(1, 0, 9);
    add(0, 1, 11);
    add(0, 1, 1);
    add(1, 0, 2);
    run(2, &(rig_options){.chunk_blocks = 4});
    add(0, 1, 1);
    add(0, 2, 20);
    add(1, 2, 3);
    run(3, &(rig_options){.chunk_blocks = 2, .chunks = 2});
}

static void test_hands_to_oneself(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 3; ranks++) {
        add(0, 0, 7);
        add(0, 0, 2);
        add(0, 0, 0);
        if (ranks > 1)
            add(0, 1, 5);
        add(ranks - 1, ranks - 1, 3);
        run(ranks, &(rig_options){.chunk_blocks = 8});
    }
}

static void test_nothing(void **state) {
    (void)state;
    run(1, NULL);
    run(3, NULL); /* no hands: operations of one rank each */
    add(0, 1, 0);
    add(1, 1, 0);
    run(2, NULL);
}

static void test_ranks_that_are_not_named_go_on(void **state) {
    (void)state;
    add(1, 3, 6);
    run(4, NULL);
}

static void test_trackers(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks++) {
        make_ring(ranks, 9);
        make_ring(ranks, 4);
        current.tracked = true;
        run(ranks, &(rig_options){.chunk_blocks = 4});
    }
}

/* Layers apart on even ranks, pages first and another number of them on odd ones. */
static void test_layouts_that_only_lie_elsewhere(void **state) {
    (void)state;
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++)
            add(from, to, 5);
    run(4, &(rig_options){.chunk_blocks = 8, .mixed = true});
}

static void expect_refused(rig_rank *k, const kvf_hand *hands, size_t count, kvf_status expected,
                           uint64_t index) {
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    test_expect(expected, kvf_wire_exchange(k->wire, hands, count, NULL, &op, &e), &e);
    assert_null(op);
    assert_int_equal(e.status, expected);
    assert_int_equal(e.index, index);
}

static void submit_badly(rig_rank *k) {
    static const uint64_t low[] = {1, 2, 3}, far[] = {1, 2, RIG_SLOTS + 9}, twice[] = {4, 5, 4};
    static const uint64_t overlap[] = {9, 3, 8}, other[] = {11, 12, 13};
    kvf_wire_op *op = NULL;
    kvf_hash hashes[3];
    rig_hashes(hashes, 0, 3);
    kvf_assignments *tracker = rig_tracker(other, 3, 0);
    kvf_hand hands[40] = {{.peer = 0, .plan = {.count = 3, .src_ids = low}},
                          {.peer = 0, .receives = true, .plan = {.count = 3, .dst_ids = far}}};
    assert_int_equal(kvf_wire_exchange(NULL, hands, 1, NULL, &op, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_exchange(k->wire, NULL, 1, NULL, &op, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_exchange(k->wire, hands, 1, NULL, NULL, NULL), KVF_ERR_INVALID);
    expect_refused(k, hands, 2, KVF_ERR_RANGE, 1);
    hands[1].plan.dst_ids = twice;
    expect_refused(k, hands, 2, KVF_ERR_CONFLICT, 1);
    hands[1].plan.dst_ids = overlap; /* 3 is sent as well */
    expect_refused(k, hands, 2, KVF_ERR_CONFLICT, 0);
    hands[1].plan.dst_ids = NULL;
    expect_refused(k, hands, 2, KVF_ERR_INVALID, 1);
    hands[1].plan.dst_ids = other;
    hands[1].peer = k->rig->ranks;
    expect_refused(k, hands, 2, KVF_ERR_RANGE, 1);
    hands[1].peer = -1;
    expect_refused(k, hands, 2, KVF_ERR_RANGE, 1);
    hands[1].peer = 0;
    hands[1].plan.first_position = UINT64_MAX - 1;
    expect_refused(k, hands, 2, KVF_ERR_RANGE, 1);
    hands[1].plan.first_position = 1; /* the tracker begins at 0 */
    hands[1].plan.src_hashes = hashes;
    hands[1].dst = tracker;
    expect_refused(k, hands, 2, KVF_ERR_GAP, 1);
    hands[1].plan.first_position = 0;
    hands[1].plan.src_hashes = NULL;
    expect_refused(k, hands, 2, KVF_ERR_INVALID, 1);
    /* The first departs before the second is found wrong. */
    hands[0] = (kvf_hand){
        .peer = 0, .receives = true, .plan = {0, 2, NULL, other, hashes}, .dst = tracker};
    hands[1] =
        (kvf_hand){.peer = 0, .receives = true, .plan = {0, 3, NULL, low, hashes}, .dst = tracker};
    expect_refused(k, hands, 2, KVF_ERR_GAP, 1);
    rig_expect_phases(tracker, 0, 3);
    kvf_assignments_destroy(tracker);
}

/* A hand takes at least a block of the wire. */
static void submit_too_many(rig_rank *k) {
    size_t room = (size_t)k->rig->ranks * k->rig->options.chunk_blocks;
    kvf_hand hands[40] = {0};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    if (room > 32)
        room = 32;
    for (size_t i = 0; i < 40; i++)
        hands[i] = (kvf_hand){.peer = k->rank, .receives = i % 2 == 0};
    test_expect(KVF_ERR_RANGE, kvf_wire_exchange(k->wire, hands, room + 1, NULL, &op, &e), &e);
    assert_int_equal(e.expected, room);
    test_expect(KVF_OK, kvf_wire_exchange(k->wire, hands, room / 2 * 2, NULL, &op, &e), &e);
    rig_end(op, KVF_OK);
}

static void test_refusals_change_nothing(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++) {
        group_rig rig;
        rig_open(&rig, ranks, &(rig_options){.chunk_blocks = 4});
        rig_on_all(&rig, submit_badly);
        rig_on_all(&rig, submit_too_many);
        rig_close(&rig);
    }
    group_rig rig;
    rig_open(&rig, 2, &(rig_options){.chunk_blocks = 40});
    rig_on_all(&rig, submit_too_many);
    rig_close(&rig);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_all_to_all),
        cmocka_unit_test(test_many_peers_in_one_call),
        cmocka_unit_test(test_several_hands_to_one_peer),
        cmocka_unit_test(test_hands_to_oneself),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_ranks_that_are_not_named_go_on),
        cmocka_unit_test(test_trackers),
        cmocka_unit_test(test_layouts_that_only_lie_elsewhere),
        cmocka_unit_test(test_refusals_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
