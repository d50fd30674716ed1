/* When the engine expects transfers to end, and how it spares compute. Times on the fake mean
 * nothing, so expectations are compared with what the engine has noted. */
#include "support/device_fixture.h"

#include "engine/engine_cuda.h"
#include "needs.h"

#include <sys/prctl.h>

static const uint64_t ids[] = {0, 1, 2, 3}, others[] = {8, 9, 10, 11};

static kvf__expectation expect(kvf_transfer *t, double share) {
    pthread_mutex_lock(&t->engine->lock);
    kvf__expectation x = t->engine->ops->expect(t->engine, t, share);
    pthread_mutex_unlock(&t->engine->lock);
    return x;
}

static uint64_t predicted_ns(const kvf_transfer *t) {
    kvf_cuda_explanation x = {0};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    return (uint64_t)(x.us[KVF_CUDA_AUTO] * 1e3);
}

static void expect_same(kvf__expectation a, kvf__expectation b) {
    assert_true(a.time == b.time && a.length == b.length);
}

static kvf_transfer *onboard(device_fixture *fixture, const uint64_t *blocks,
                             const kvf_submit_options *options) {
    return fixture_submit(fixture->pinned, fixture->device, blocks, blocks, 4, options);
}

static void open_one_lane(device_fixture *fixture) {
    fixture_open(fixture, &(kvf_cuda_options){.lanes = 1, .strategy = KVF_CUDA_LOOP});
    fakecuda_hold_all(true);
}

static void finish(device_fixture *fixture, kvf_transfer **transfers, size_t count) {
    fakecuda_hold_all(false);
    for (size_t i = 0; i < count; i++)
        fixture_finish(transfers[i], KVF_OK);
    fixture_close(fixture);
}

/* From submit, as the cost table predicts; layers in proportion. */
static void test_alone(void **state) {
    (void)state;
    device_fixture fixture;
    open_one_lane(&fixture);
    kvf_transfer *t = onboard(&fixture, ids, &(kvf_submit_options){.by_layer = true});
    uint64_t ns = predicted_ns(t);
    assert_true(ns > 0);
    expect_same(expect(t, 1), (kvf__expectation){t->submit_time + ns, ns});
    kvf__expectation half = expect(t, 0.5);
    assert_in_range(half.length, ns / 2 - 1, ns / 2 + 1);
    assert_true(half.time == t->submit_time + half.length);
    finish(&fixture, &t, 1);
}

/* In one lane: after the previous transfer's expected end, then from its actual end. */
static void test_in_turn(void **state) {
    (void)state;
    device_fixture fixture;
    open_one_lane(&fixture);
    kvf_transfer *t[] = {onboard(&fixture, ids, NULL), onboard(&fixture, others, NULL)};
    expect_same(expect(t[1], 1), expect(t[0], 1));
    kvf__cuda_lane *lane = &kvf__cuda_of(fixture.engine)->lanes[t[0]->lane];
    kvf_error e = {0};
    while (kvf_transfer_poll(t[0], &e) == KVF_PENDING)
        fakecuda_step(lane->stream, 1);
    fakecuda_release(lane->stream);
    kvf__expectation x = expect(t[1], 1);
    assert_true(lane->since > t[0]->submit_time && lane->since <= t[0]->end_time);
    assert_true(x.time == lane->since + x.length && x.length > 0);
    finish(&fixture, t, 2);
}

/* The opposite move of the same blocks waits in another lane. */
static void test_other_lane(void **state) {
    (void)state;
    device_fixture fixture;
    open_one_lane(&fixture);
    kvf_transfer *t[] = {onboard(&fixture, ids, NULL),
                         fixture_submit(fixture.device, fixture.pinned, ids, others, 4, NULL)};
    assert_true(t[0]->lane != t[1]->lane);
    expect_same(expect(t[1], 1), expect(t[0], 1));
    finish(&fixture, t, 2);
}

/* When compute ends and when a background transfer gets its turn is unknown. */
static void test_unknown(void **state) {
    (void)state;
    device_fixture fixture;
    cudaStream_t stream;
    cudaEvent_t event;
    kvf_error e = {0};
    open_one_lane(&fixture);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    void *events[] = {event};
    test_expect(KVF_OK, kvf_cuda_mark_slots(fixture.device, others, 4, true, event, &e), &e);
    kvf_transfer *t[] = {
        onboard(&fixture, ids, &(kvf_submit_options){.events = events, .event_count = 1}),
        onboard(&fixture, others, NULL),
        onboard(&fixture, (const uint64_t[]){16, 17, 18, 19},
                &(kvf_submit_options){.background = true}),
    };
    for (size_t i = 0; i < 3; i++)
        assert_true(expect(t[i], 1).time == 0);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    finish(&fixture, t, 3);
}

/* Copies take far longer than predicted, so the next one is expected to, too. */
static void test_pace(void **state) {
    (void)state;
    device_fixture fixture;
    fixture_open(&fixture, &(kvf_cuda_options){.lanes = 1, .strategy = KVF_CUDA_LOOP});
    fakecuda_delay(FAKECUDA_COPY, 2000);
    int slack = prctl(PR_GET_TIMERSLACK);
    for (int i = 0; i < 8; i++)
        fixture_finish(onboard(&fixture, ids, NULL), KVF_OK);
    assert_int_equal(prctl(PR_GET_TIMERSLACK), slack); /* the caller's slack is unchanged */
    fakecuda_delay(FAKECUDA_COPY, 0);
    for (int i = 0; i < 2; i++) { /* not polled: their ends are not observed */
        kvf_transfer *unwatched = onboard(&fixture, ids, NULL);
        fakecuda_settle();
        fixture_finish(unwatched, KVF_OK);
    }
    fakecuda_hold_all(true);
    kvf_transfer *t = onboard(&fixture, ids, NULL);
    kvf__expectation x = expect(t, 1);
    /* It took at least the delay of one copy. */
    assert_true(x.length > 2000 * 1000 && predicted_ns(t) < 1000 * 1000);
    assert_true(x.time == t->submit_time + x.length);
    finish(&fixture, &t, 1);
}

/* A cost table with `kernel` at 0.85 of `loop`, and no other strategy. */
static kvf_cuda_costs *make_costs(void) {
    kvf_cuda_costs *m = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_costs_builtin(NULL, &m, &e), &e);
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        m->cost[KVF_CUDA_TO_DEVICE][s] = (kvf__cuda_cost){0};
    const kvf__cuda_curve none = {.count = 1, .bytes = {512}, .ns = {1}};
    m->cost[KVF_CUDA_TO_DEVICE][KVF_CUDA_LOOP] = (kvf__cuda_cost){.fixed_ns = 1e6, .piece = none};
    m->cost[KVF_CUDA_TO_DEVICE][KVF_CUDA_KERNEL] =
        (kvf__cuda_cost){.fixed_ns = 850e3, .piece = none};
    kvf__cuda_costs_seal(m);
    return m;
}

static void expect_choice(kvf_transfer *t, kvf_cuda_strategy chosen, kvf_cuda_reason reason) {
    kvf_cuda_explanation x = {0};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    assert_int_equal(x.chosen, chosen);
    assert_int_equal(x.reason, reason);
}

/* Compute keeps its thread blocks when a transfer waits for it or it is marked on other blocks;
 * other transfers do not count as compute. */
static void test_spares_compute(void **state) {
    (void)state;
    device_fixture fixture;
    cudaEvent_t event;
    kvf_error e = {0};
    kvf_cuda_costs *costs = make_costs();
    fixture_open(&fixture, &(kvf_cuda_options){.lanes = 1, .costs = costs});
    kvf_cuda_costs_destroy(costs);
    fakecuda_hold_all(true);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    cudaStream_t stream;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    void *events[] = {event};
    kvf_transfer *t[4] = {onboard(&fixture, ids, NULL), onboard(&fixture, ids, NULL)};
    expect_choice(t[0], KVF_CUDA_KERNEL, KVF_CUDA_CHEAPEST);
    expect_choice(t[1], KVF_CUDA_KERNEL, KVF_CUDA_CHEAPEST);
    t[2] = onboard(&fixture, ids, &(kvf_submit_options){.events = events, .event_count = 1});
    expect_choice(t[2], KVF_CUDA_LOOP, KVF_CUDA_SPARING);
    test_expect(KVF_OK, kvf_cuda_mark_slots(fixture.device, others, 4, false, event, &e), &e);
    t[3] = onboard(&fixture, ids, NULL);
    expect_choice(t[3], KVF_CUDA_LOOP, KVF_CUDA_SPARING);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    finish(&fixture, t, 4);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),      cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_other_lane), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_pace),       cmocka_unit_test(test_spares_compute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
