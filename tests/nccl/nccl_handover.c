/* Hand-overs: rings, all to all, several to one rank, a rank to itself, different layouts. */
#include "group_fixture.h"
#include "needs.h"

#include <stdlib.h>

enum { DELIVERIES = 64, MOST_BLOCKS = 32 };

/* Some blocks from one rank to another. */
typedef struct delivery {
    int from, to;
    size_t count;
} delivery;

typedef struct scene {
    int least, most; /* ranks */
    fixture_options fixture;
    size_t all;      /* blocks from every rank to every rank, at least; 0: none */
    size_t rings[2]; /* blocks from every rank to the next; 0: none */
    size_t count;    /* further deliveries */
    delivery deliveries[6];
    bool with_assignments; /* with hashes, and assignments on the receiving rank */
} scene;

static struct {
    delivery deliveries[DELIVERIES];
    size_t count;
    bool with_assignments;
} current;

static void add(int from, int to, size_t count) {
    assert_true(current.count < DELIVERIES);
    current.deliveries[current.count++] = (delivery){from, to, count};
}

/* The content of block `i` of a delivery, unlike any other's. */
static unsigned block_of(size_t delivery, size_t i) {
    return (unsigned)(delivery * 37 + i + 1);
}

static uint64_t position_of(size_t delivery) {
    return delivery * 100 + 3;
}

/* All ranks make the same list. Sources take slots from the first up, destinations from the last
 * down. */
typedef struct list {
    kvf_handover handovers[DELIVERIES];
    uint64_t from[DELIVERIES][MOST_BLOCKS], to[DELIVERIES][MOST_BLOCKS];
    kvf_hash hashes[DELIVERIES][MOST_BLOCKS];
} list;

static void make_list(const fixture_rank *k, list *l) {
    uint64_t up[FIXTURE_RANKS] = {0}, down[FIXTURE_RANKS] = {0};
    for (size_t d = 0; d < current.count; d++) {
        const delivery *made = &current.deliveries[d];
        for (size_t i = 0; i < made->count; i++) {
            l->from[d][i] = up[made->from]++;
            l->to[d][i] = k->fixture->of[made->to].slots - 1 - down[made->to]++;
        }
        fixture_hashes(l->hashes[d], position_of(d), made->count);
        l->handovers[d] = (kvf_handover){.from = made->from,
                                         .to = made->to,
                                         .plan = {position_of(d), made->count,
                                                  made->from == k->rank ? l->from[d] : NULL,
                                                  made->to == k->rank ? l->to[d] : NULL,
                                                  current.with_assignments ? l->hashes[d] : NULL}};
        if (current.with_assignments)
            l->handovers[d].dst = fixture_assignments(l->to[d], made->count, position_of(d));
    }
    assert_true(up[k->rank] + down[k->rank] <= k->slots);
}

/* A rank's blocks sent and received. Blocks that stay on the rank do not cross the wire. */
static void expect_stats(const fixture_rank *k, kvf_wire_op *op) {
    size_t received = 0, crossed = 0;
    kvf_wire_op_stats stats;
    for (size_t d = 0; d < current.count; d++) {
        const delivery *made = &current.deliveries[d];
        received += made->to == k->rank ? made->count : 0;
        if (made->from != made->to)
            crossed += made->to == k->rank || made->from == k->rank ? made->count : 0;
    }
    kvf_wire_op_stats_get(op, &stats);
    assert_int_equal(stats.blocks, received);
    assert_int_equal(stats.wire_bytes, crossed * FIXTURE_BLOCK);
    assert_int_equal(stats.host_bytes, 0);
}

static void expect_arrived(const fixture_rank *k, const list *l) {
    for (size_t d = 0; d < current.count; d++) {
        const delivery *made = &current.deliveries[d];
        for (size_t i = 0; i < made->count; i++) {
            if (made->from == k->rank)
                assert_true(fixture_device_is(k, l->from[d][i], block_of(d, i)));
            if (made->to == k->rank)
                assert_true(fixture_device_is(k, l->to[d][i], block_of(d, i)));
        }
        if (!current.with_assignments)
            continue;
        const bool lands = made->to == k->rank; /* other ranks do not use them */
        fixture_expect_phases(l->handovers[d].dst, lands ? made->count : 0,
                              lands ? 0 : made->count);
        kvf_assignments_destroy(l->handovers[d].dst);
    }
}

static void hand_over(fixture_rank *k) {
    list *l = calloc(1, sizeof *l);
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    make_list(k, l);
    for (size_t d = 0; d < current.count; d++)
        for (size_t i = 0; current.deliveries[d].from == k->rank && i < current.deliveries[d].count;
             i++)
            fixture_fill_device(k, l->from[d][i], block_of(d, i));
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, l->handovers, current.count, NULL, &op, &e),
                &e);
    for (size_t d = 0; d < current.count; d++)
        if (current.with_assignments && current.deliveries[d].to == k->rank &&
            current.deliveries[d].count > 0)
            assert_int_equal(kvf_flight_open_count(l->handovers[d].dst), 1);
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    expect_stats(k, op);
    kvf_wire_op_release(op);
    expect_arrived(k, l);
    fixture_expect_idle(k);
    free(l);
}

static void run(const scene *s, int ranks, void (*body)(fixture_rank *)) {
    current.count = 0;
    current.with_assignments = s->with_assignments;
    for (int from = 0; from < ranks && s->all > 0; from++)
        for (int to = 0; to < ranks; to++)
            add(from, to, s->all + (size_t)(from + 2 * to) % 6);
    for (int i = 0; i < 2 && s->rings[i] > 0; i++)
        for (int from = 0; from < ranks; from++)
            add(from, (from + 1) % ranks, s->rings[i]);
    for (size_t i = 0; i < s->count; i++)
        add(s->deliveries[i].from, s->deliveries[i].to, s->deliveries[i].count);
    fixture_run_forms(ranks, &s->fixture, body);
}

static void test_lists(void **state) {
    static const scene scenes[] = {
        {2, 8, .rings = {13}},
        {3, 3, {.chunk_blocks = 1, .chunks = 1}, .rings = {32}}, /* one chunk at a time */
        {1, 4, {.chunk_blocks = 4}, .rings = {9, 4}, .with_assignments = true},
        {2, 5, {.chunk_blocks = 8}, .all = 1},
        /* Different layouts: per layer on even ranks, page first on odd ones. */
        {4, 4, {.chunk_blocks = 8, .mixed = true}, .all = 4},
        /* Several to one rank, in order, whatever their lengths. */
        {2,
         2,
         {.chunk_blocks = 4},
         .count = 6,
         .deliveries = {{0, 1, 4}, {0, 1, 0}, {1, 0, 9}, {0, 1, 11}, {0, 1, 1}, {1, 0, 2}}},
        {3,
         3,
         {.chunk_blocks = 2, .chunks = 2},
         .count = 3,
         .deliveries = {{0, 1, 1}, {0, 2, 20}, {1, 2, 3}}},
        /* To the same rank, alone or next to others. */
        {1, 3, {.chunk_blocks = 8}, .count = 3, .deliveries = {{0, 0, 7}, {0, 0, 2}, {0, 0, 0}}},
        {3, 3, {.chunk_blocks = 8}, .count = 3, .deliveries = {{0, 0, 7}, {0, 1, 5}, {2, 2, 3}}},
        /* No blocks; ranks that take no part. */
        {1, 3, .count = 0},
        {2, 2, .count = 2, .deliveries = {{0, 1, 0}, {1, 1, 0}}},
        {4, 4, .count = 1, .deliveries = {{1, 3, 6}}},
    };
    (void)state;
    for (const scene *s = scenes; s < scenes + sizeof scenes / sizeof scenes[0]; s++)
        for (int ranks = s->least; ranks <= s->most; ranks++)
            run(s, ranks, hand_over);
}

/* A chunk is one NCCL group of calls, however many peers there are. */
static void count_calls(fixture_rank *k) {
    const uint64_t before = fakenccl_calls("ncclGroupEnd");
    fixture_barrier(k);
    hand_over(k);
    fixture_barrier(k);
    fakenccl_traffic sent = fakenccl_traffic_of(k->rank, FAKENCCL_SEND);
    assert_int_equal(fakenccl_calls("ncclGroupEnd") - before, 8);
    assert_int_equal(sent.operations, 7);
    assert_int_equal(sent.sent, 7 * 3 * FIXTURE_BLOCK);
    fixture_barrier(k);
}

static void test_many_peers_in_one_call(void **state) {
    (void)state;
    current.with_assignments = false;
    current.count = 0;
    for (int i = 0; i < 64; i++)
        if (i / 8 != i % 8)
            add(i / 8, i % 8, 3);
    fixture_run(8, &(fixture_options){.chunk_blocks = 21},
                count_calls); /* three blocks of each in a chunk */
}

/* Hand-overs to the same rank, so that every rank sees every fault. The second one is at fault,
 * after the first has departed. */
static void submit_bad_arguments(fixture_rank *k) {
    static const uint64_t low[] = {1, 2, 3}, far[] = {1, 2, FIXTURE_SLOTS + 9}, twice[] = {4, 5, 4};
    static const uint64_t overlap[] = {9, 3, 8}, other[] = {11, 12, 13};
    const int me = k->rank, ranks = k->fixture->ranks;
    kvf_hash hashes[3];
    fixture_hashes(hashes, 0, 3);
    kvf_assignments *assignments = fixture_assignments(other, 3, 0);
    const struct {
        kvf_handover handover;
        kvf_status expected;
    } bad[] = {
        {{me, me, {0, 3, low, far, NULL}, NULL}, KVF_ERR_RANGE},
        {{ranks, me, {0, 1, low, overlap, NULL}, NULL}, KVF_ERR_RANGE},
        {{-1, me, {0, 1, low, overlap, NULL}, NULL}, KVF_ERR_RANGE},
        {{me, ranks, {0, 1, low, overlap, NULL}, NULL}, KVF_ERR_RANGE},
        {{me, -1, {0, 1, low, overlap, NULL}, NULL}, KVF_ERR_RANGE},
        {{me, me, {UINT64_MAX - 1, 3, low, overlap, NULL}, NULL}, KVF_ERR_RANGE},
        {{me, me, {0, 3, low, twice, NULL}, NULL}, KVF_ERR_CONFLICT},
        {{me, me, {0, 3, low, overlap, NULL}, NULL}, KVF_ERR_CONFLICT}, /* 3 is sent too */
        {{me, me, {0, 3, low, NULL, NULL}, NULL}, KVF_ERR_INVALID},
        {{me, me, {0, 1, low, overlap, NULL}, assignments}, KVF_ERR_INVALID}, /* no hashes */
        {{me, me, {0, 1, low, overlap, hashes}, assignments}, KVF_ERR_GAP},   /* 2 is next */
    };
    kvf_handover handovers[2] = {{me, me, {0, 2, low, other, hashes}, assignments}};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    assert_int_equal(kvf_wire_hand_over(NULL, handovers, 1, NULL, &op, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_hand_over(k->wire, NULL, 1, NULL, &op, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_hand_over(k->wire, handovers, 1, NULL, NULL, NULL), KVF_ERR_INVALID);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        handovers[1] = bad[i].handover;
        test_expect(bad[i].expected, kvf_wire_hand_over(k->wire, handovers, 2, NULL, &op, &e), &e);
        assert_null(op);
        assert_int_equal(e.status, bad[i].expected);
        assert_int_equal(e.index, 1);
        fixture_expect_phases(assignments, 0, 3);
    }
    kvf_assignments_destroy(assignments);
}

/* Each hand-over takes at least a block of the wire. */
static void submit_too_many(fixture_rank *k) {
    kvf_wire_explanation wire;
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    assert_int_equal(kvf_wire_explain(k->wire, &wire, NULL), KVF_OK);
    kvf_handover *handovers = calloc(wire.chunk_blocks + 1, sizeof *handovers);
    test_expect(KVF_ERR_RANGE,
                kvf_wire_hand_over(k->wire, handovers, wire.chunk_blocks + 1, NULL, &op, &e), &e);
    assert_int_equal(e.expected, wire.chunk_blocks);
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, handovers, wire.chunk_blocks, NULL, &op, &e),
                &e);
    fixture_expect_end(op, KVF_OK);
    free(handovers);
}

static void refuse(fixture_rank *k) {
    submit_bad_arguments(k);
    submit_too_many(k);
    hand_over(k);
}

static void test_refusals_change_nothing(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++)
        run(&(scene){.fixture = {.chunk_blocks = 4}, .rings = {5}}, ranks, refuse);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_many_peers_in_one_call),
        cmocka_unit_test(test_refusals_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
