/* Transfers between device and pinned memory, by every strategy. */
#include "support/device_fixture.h"
#include "needs.h"

static const uint64_t scattered[] = {3, 9, 4, 5, 6, 20, 31, 0};
static const uint64_t rising[] = {0, 1, 2, 3, 4, 5, 6, 7};
enum { COUNT = 8 };

static void round_trip(const kvf_cuda_options *options, bool by_layer) {
    device_fixture fixture;
    fixture_open(&fixture, options);
    for (size_t i = 0; i < COUNT; i++)
        fixture_fill_device(&fixture, scattered[i], (unsigned)i);
    const kvf_submit_options how = {.by_layer = by_layer};
    fixture_finish(fixture_submit(fixture.device, fixture.pinned, scattered, rising, COUNT, &how),
                   KVF_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(fixture_host_is(&fixture, rising[i], (unsigned)i));
    for (size_t i = 0; i < COUNT; i++)
        fixture_fill_host(&fixture, rising[i], (unsigned)i + 50);
    fixture_finish(fixture_submit(fixture.pinned, fixture.device, rising, scattered, COUNT, &how),
                   KVF_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(fixture_device_is(&fixture, scattered[i], (unsigned)i + 50));
    fixture_close(&fixture);
}

static void test_every_strategy_both_ways(void **state) {
    (void)state;
    for (unsigned s = KVF_CUDA_AUTO; s < KVF_CUDA_STRATEGIES; s++) {
        const kvf_cuda_options options = {
            .strategy = (kvf_cuda_strategy)s, .packing_bytes = FIXTURE_RING, .ctas = 2};
        round_trip(&options, false);
        round_trip(&options, true);
    }
}

static void test_on_the_device(void **state) {
    (void)state;
    device_fixture fixture;
    fixture_open(&fixture, NULL);
    static const uint64_t from[] = {1, 2, 3}, to[] = {10, 12, 11};
    for (size_t i = 0; i < 3; i++)
        fixture_fill_device(&fixture, from[i], (unsigned)i + 5);
    fixture_finish(fixture_submit(fixture.device, fixture.device, from, to, 3, NULL), KVF_OK);
    for (size_t i = 0; i < 3; i++)
        assert_true(fixture_device_is(&fixture, to[i], (unsigned)i + 5));
    fixture_close(&fixture);
}

/* Nothing moves before the caller's event; then the blocks move in the order of their slots. */
static void test_slots_order_both_directions(void **state) {
    (void)state;
    fixture_needs_fake();
    device_fixture fixture;
    fixture_open(&fixture, NULL);
    static const uint64_t one[] = {1}, two[] = {2}, three[] = {3};
    fixture_fill_device(&fixture, 1, 77);
    fakecuda_hold_all(true);
    kvf_transfer *off = fixture_submit(fixture.device, fixture.pinned, one, two, 1, NULL);
    kvf_transfer *on = fixture_submit(fixture.pinned, fixture.device, two, three, 1, NULL);
    assert_int_equal(kvf_transfer_poll(on, NULL), KVF_PENDING);
    assert_int_equal(kvf_tier_idle(fixture.device, three, 1, NULL), KVF_ERR_BUSY);
    fakecuda_hold_all(false);
    fixture_finish(on, KVF_OK);
    assert_true(fixture_device_is(&fixture, 3, 77));
    fixture_finish(off, KVF_OK);
    fixture_close(&fixture);
}

static void test_starts_after_events(void **state) {
    (void)state;
    fixture_needs_fake();
    device_fixture fixture;
    fixture_open(&fixture, NULL);
    cudaStream_t compute;
    cudaEvent_t ready;
    assert_int_equal(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming), cudaSuccess);
    fakecuda_hold(compute);
    assert_int_equal(cudaMemsetAsync(fixture.layers[0], 0x3c, FIXTURE_BYTES, compute), cudaSuccess);
    assert_int_equal(cudaEventRecord(ready, compute), cudaSuccess);
    static const uint64_t zero[] = {0};
    void *events[] = {ready};
    const kvf_submit_options how = {.events = events, .event_count = 1};
    kvf_transfer *off = fixture_submit(fixture.device, fixture.pinned, zero, zero, 1, &how);
    assert_int_equal(kvf_transfer_wait(off, 20000, NULL), KVF_ERR_TIMEOUT);
    fakecuda_release(compute);
    fixture_finish(off, KVF_OK);
    assert_int_equal(fixture.host[0], 0x3c);
    assert_int_equal(fixture.host[FIXTURE_BYTES - 1], 0x3c);
    assert_int_equal(cudaEventDestroy(ready), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(compute), cudaSuccess);
    fixture_close(&fixture);
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_strategy_both_ways),
        cmocka_unit_test(test_on_the_device),
        cmocka_unit_test(test_slots_order_both_directions),
        cmocka_unit_test(test_starts_after_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
