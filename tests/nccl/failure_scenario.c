#include "failure_scenario.h"

#include <string.h>

enum { BLOCKS = 11, HANDED = 5, STORED = 7, WAIT_US = 20 * 1000 * 1000 };

/* First slots and host blocks of the operations; none is used twice. */
enum { LOADED_AT = 0, SENT_AT = 12, RECEIVED_AT = 20, KEPT_AT = 28, STORED_AT = 40 };

scenario_end scenario_ends[FIXTURE_RANKS];

static const scenario_options *options;

typedef struct lists {
    uint64_t host[BLOCKS], slots[BLOCKS];
    kvf_hash hashes[BLOCKS];
} lists;

static void run_of(uint64_t *ids, size_t count, uint64_t first) {
    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
}

static int neighbour(const fixture_rank *k, int distance) {
    return (k->rank + distance + k->fixture->ranks) % k->fixture->ranks;
}

static unsigned sent_by(int rank, size_t i) {
    return (unsigned)(50 + 10 * (size_t)rank + i);
}

static void fill(fixture_rank *k) {
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % (unsigned)k->fixture->ranks == (unsigned)k->rank)
            fixture_fill_host(k, i, i + 1);
    for (unsigned i = 0; i < HANDED; i++)
        fixture_fill_device(k, SENT_AT + i, sent_by(k->rank, i));
    for (unsigned i = 0; i < STORED; i++)
        fixture_fill_device(k, KEPT_AT + i, 140 + i);
}

/* Submitting. Errors stay in `end`. */

static void expect_refusal(kvf_status status, const kvf_wire_op *op, const kvf_error *end) {
    assert_int_equal(end->status, status);
    assert_int_equal(op != NULL, status == KVF_OK);
}

static kvf_wire_op *onboard(fixture_rank *k, lists *l, kvf_assignments **assignments,
                            kvf_error *end) {
    kvf_wire_op *op = NULL;
    run_of(l->host, BLOCKS, 0);
    run_of(l->slots, BLOCKS, LOADED_AT);
    fixture_hashes(l->hashes, 0, BLOCKS);
    *assignments = fixture_assignments(l->slots, BLOCKS, 0);
    const kvf_plan plan = {0, BLOCKS, l->host, l->slots, l->hashes};
    const kvf_wire_submit_options how = {.dst = assignments};
    kvf_status status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, end);
    expect_refusal(status, op, end);
    return op;
}

/* Each rank hands over to the next. */
static kvf_wire_op *hand_over(fixture_rank *k, lists *l, kvf_assignments **assignments,
                              kvf_error *end) {
    kvf_wire_op *op = NULL;
    kvf_handover handovers[FIXTURE_RANKS];
    run_of(l->host, HANDED, SENT_AT);
    run_of(l->slots, HANDED, RECEIVED_AT);
    fixture_hashes(l->hashes, 3, HANDED);
    *assignments = fixture_assignments(l->slots, HANDED, 3);
    for (int r = 0; r < k->fixture->ranks; r++)
        handovers[r] = (kvf_handover){r,
                                      (r + 1) % k->fixture->ranks,
                                      {3, HANDED, l->host, l->slots, l->hashes},
                                      *assignments};
    kvf_status status =
        kvf_wire_hand_over(k->wire, handovers, (size_t)k->fixture->ranks, NULL, &op, end);
    expect_refusal(status, op, end);
    return op;
}

static kvf_wire_op *offload(fixture_rank *k, lists *l, kvf_error *end) {
    kvf_wire_op *op = NULL;
    run_of(l->slots, STORED, KEPT_AT);
    run_of(l->host, STORED, STORED_AT);
    const kvf_plan plan = {0, STORED, l->slots, l->host, NULL};
    kvf_status status = kvf_wire_offload(k->wire, k->host_tier, &plan, 1, NULL, &op, end);
    expect_refusal(status, op, end);
    return op;
}

/* Results */

/* Only statuses that a fault explains. A submit may have been refused. */
static void expect_clear(const kvf_error *end) {
    switch (end->status) {
    case KVF_OK:
        return;
    case KVF_ERR_PEER:
    case KVF_ERR_TIMEOUT:
    case KVF_ERR_ENGINE:
    case KVF_ERR_BROKEN:
    case KVF_ERR_NO_MEMORY:
    case KVF_ERR_INVALID:
    case KVF_ERR_CLOSED:
        break;
    default:
        test_expect(KVF_OK, end->status, end);
    }
    if (end->status == KVF_ERR_PEER) {
        assert_non_null(end->what);
        assert_true(strlen(end->what) > 0);
    }
}

static void wait_for(kvf_wire_op *op, kvf_error *end) {
    if (!op)
        return;
    kvf_error e = {0};
    kvf_status status = kvf_wire_op_wait(op, WAIT_US, &e);
    assert_int_equal(e.status, status);
    assert_true(status != KVF_ERR_TIMEOUT);
    *end = e;
    kvf_wire_op_release(op);
}

static void close_assignments(kvf_assignments *assignments, const kvf_error *end, size_t count) {
    bool landed = end->status == KVF_OK;
    fixture_expect_phases(assignments, landed ? count : 0, landed ? 0 : count);
    kvf_assignments_destroy(assignments);
}

static void work(fixture_rank *k) {
    scenario_end *e = &scenario_ends[k->rank];
    lists l[SCENARIO_OPS];
    kvf_wire_op *ops[SCENARIO_OPS];
    kvf_assignments *loaded, *received;
    ops[SCENARIO_ONBOARD] = onboard(k, &l[0], &loaded, &e->ops[SCENARIO_ONBOARD]);
    ops[SCENARIO_HAND_OVER] = hand_over(k, &l[1], &received, &e->ops[SCENARIO_HAND_OVER]);
    ops[SCENARIO_OFFLOAD] = offload(k, &l[2], &e->ops[SCENARIO_OFFLOAD]);
    if (options->submitted)
        options->submitted(k);
    for (int i = 0; i < SCENARIO_OPS; i++) {
        wait_for(ops[i], &e->ops[i]);
        expect_clear(&e->ops[i]);
    }
    close_assignments(loaded, &e->ops[SCENARIO_ONBOARD], BLOCKS);
    close_assignments(received, &e->ops[SCENARIO_HAND_OVER], HANDED);
}

static void body(fixture_rank *k) {
    scenario_end *e = &scenario_ends[k->rank];
    const kvf_group_options changes = {
        .rank = k->rank,
        .ranks = k->fixture->ranks,
        .id = k->fixture->id,
        .allocator = k->rank == options->allocating ? options->allocator : NULL};
    *e = (scenario_end){0};
    fill(k);
    fixture_barrier(k);
    if (options->before)
        options->before(k);
    fixture_barrier(k);
    if (options->joins)
        fixture_join(k, &changes, &e->joined);
    expect_clear(&e->joined);
    for (int i = 0; i < SCENARIO_OPS; i++)
        e->ops[i] = e->joined;
    if (k->wire)
        work(k);
    if (options->ends)
        fixture_leave(k);
    if (!options->dies)
        fixture_expect_idle(k);
}

/* The blocks of an operation that was OK on some rank. */
static void expect_content(const fixture_rank *k, scenario_op op) {
    if (op == SCENARIO_ONBOARD)
        for (unsigned i = 0; i < BLOCKS; i++)
            assert_true(fixture_device_is(k, LOADED_AT + i, i + 1));
    if (op == SCENARIO_HAND_OVER)
        for (unsigned i = 0; i < HANDED; i++)
            assert_true(fixture_device_is(k, RECEIVED_AT + i, sent_by(neighbour(k, -1), i)));
    if (op == SCENARIO_OFFLOAD)
        for (unsigned i = 0; i < STORED; i++)
            if (i % (unsigned)k->fixture->ranks == (unsigned)k->rank)
                assert_true(fixture_host_is(k, STORED_AT + i, 140 + i));
}

void scenario_run(group_fixture *fixture, const scenario_options *how) {
    size_t doubtful = 0;
    options = how;
    fixture_on_all(fixture, body);
    for (int op = 0; op < SCENARIO_OPS; op++) {
        int landed = 0;
        for (int r = 0; r < fixture->ranks; r++)
            landed += scenario_ends[r].ops[op].status == KVF_OK;
        doubtful += landed > 0 && landed < fixture->ranks;
        for (int r = 0; r < fixture->ranks && landed > 0 && !how->dies; r++)
            expect_content(&fixture->of[r], (scenario_op)op);
    }
    assert_true(doubtful <= 1);
}

bool scenario_went_well(const group_fixture *fixture) {
    bool well = true;
    for (int r = 0; r < fixture->ranks; r++)
        for (int op = 0; op < SCENARIO_OPS; op++)
            well &= scenario_ends[r].ops[op].status == KVF_OK;
    return well;
}
