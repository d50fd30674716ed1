/* A lost device, a device short of memory, and tiers destroyed, each with transfers in flight. */
#include "support/device_fixture.h"
#include "needs.h"

#include <string.h>

static const uint64_t some[] = {3, 9, 4, 6, 1, 11}, others[] = {20, 22, 21, 25, 28, 30};
enum { COUNT = sizeof some / sizeof some[0], PATIENCE_US = 20 * 1000 * 1000 };

static void fill(device_fixture *fixture) {
    for (unsigned i = 0; i < COUNT; i++)
        fixture_fill_device(fixture, some[i], i + 1);
}

static void expect_offloaded(const device_fixture *fixture) {
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(fixture_host_is(fixture, others[i], i + 1));
}

static void expect_broken(kvf_status status, const kvf_error *e, cudaError_t code) {
    test_expect(KVF_ERR_BROKEN, status, e);
    assert_int_equal(e->native_code, code);
}

/* The engine is broken: every call fails at once, and nothing is enqueued. */
static void expect_refusals(device_fixture *fixture, kvf_transfer *gone, cudaStream_t stream,
                            cudaEvent_t event, cudaError_t code) {
    const kvf_plan plan = {.count = COUNT, .src_ids = some, .dst_ids = others};
    for (int background = 0; background < 2; background++) {
        const kvf_submit_options how = {.background = background};
        kvf_transfer *t = NULL;
        kvf_error e = {0};
        expect_broken(kvf_transfer_submit(fixture->device, fixture->pinned, &plan, 1, &how, &t, &e),
                      &e, code);
        assert_null(t);
    }
    kvf_error e = {0};
    expect_broken(kvf_cuda_wait_layer(gone, 0, stream, &e), &e, code);
    expect_broken(kvf_cuda_wait_slots(fixture->device, some, COUNT, true, stream, &e), &e, code);
    expect_broken(kvf_cuda_mark_slots(fixture->device, some, COUNT, true, event, &e), &e, code);
}

static void lose(kvf_cuda_strategy strategy, bool no_thread, cudaError_t code) {
    const kvf_cuda_options options = {
        .strategy = strategy, .no_thread = no_thread, .ctas = 1, .packing_bytes = FIXTURE_RING};
    device_fixture fixture;
    cudaStream_t compute;
    cudaEvent_t event;
    fixture_open(&fixture, &options);
    assert_int_equal(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    fakecuda_hold_all(true);
    const kvf_submit_options by_layer = {.by_layer = true}, background = {.background = true};
    kvf_transfer *t[] = {
        fixture_submit(fixture.device, fixture.pinned, some, others, COUNT, &by_layer),
        fixture_submit(fixture.pinned, fixture.device, others, others, COUNT, &background),
        fixture_submit(fixture.device, fixture.pinned, some, some, COUNT, &background),
    };
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_wait_layer(t[0], FIXTURE_LAYERS - 1, compute, &e), &e);
    assert_int_equal(kvf_transfer_poll(t[0], NULL), KVF_PENDING);
    fakecuda_lose_device(0, code);
    for (size_t i = 0; i < 3; i++) {
        expect_broken(kvf_transfer_wait(t[i], PATIENCE_US, &e), &e, code);
        assert_int_equal(kvf_transfer_landed(t[i], 0), 0);
    }
    expect_refusals(&fixture, t[0], compute, event, code);
    assert_int_equal(kvf_tier_idle(fixture.device, others, COUNT, NULL), KVF_OK);
    for (size_t i = 0; i < 3; i++)
        kvf_transfer_release(t[i]);
    (void)cudaEventDestroy(event);
    (void)cudaStreamDestroy(compute);
    fakecuda_hold_all(false);
    fixture_close(&fixture);
}

static void test_a_lost_device(void **state) {
    (void)state;
    static const cudaError_t codes[] = {
        cudaErrorECCUncorrectable,    cudaErrorIllegalAddress,  cudaErrorDevicesUnavailable,
        cudaErrorContextIsDestroyed,  cudaErrorExternalDevice,  cudaErrorLaunchTimeout,
        cudaErrorNvlinkUncorrectable, cudaErrorCudartUnloading,
    };
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
            lose((kvf_cuda_strategy)s, i % 2 == 0, codes[i]);
}

/* Without room for packing buffers another strategy copies, and kvf_cuda_explain shows it. */
static void test_no_memory_for_packing_buffers(void **state) {
    (void)state;
    for (int background = 0; background < 2; background++) {
        const kvf_cuda_options options = {
            .strategy = KVF_CUDA_STAGED, .ctas = 1, .packing_bytes = (size_t)64 << 20};
        const fakecuda_config config = {.device_bytes = 8 << 20};
        const kvf_submit_options how = {.background = background, .by_layer = true};
        kvf_cuda_explanation why;
        device_fixture fixture;
        kvf_error e = {0};
        fakecuda_configure(&config);
        fixture_open(&fixture, &options);
        fill(&fixture);
        kvf_transfer *t = fixture_submit(fixture.device, fixture.pinned, some, others, COUNT, &how);
        test_expect(KVF_OK, kvf_transfer_wait(t, PATIENCE_US, &e), &e);
        expect_offloaded(&fixture);
        test_expect(KVF_OK, kvf_cuda_explain(t, &why, &e), &e);
        assert_int_not_equal(why.chosen, KVF_CUDA_STAGED);
        assert_int_equal(why.reason, KVF_CUDA_FELL_BACK);
        kvf_transfer_release(t);
        fakecuda_configure(NULL);
        fixture_close(&fixture);
    }
}

/* Destroying a tier waits for work in streams and drops work that is not enqueued. */
static void destroy_under(kvf_cuda_strategy strategy, bool host_first) {
    const kvf_cuda_options options = {
        .strategy = strategy, .no_thread = true, .ctas = 1, .packing_bytes = FIXTURE_RING};
    device_fixture fixture;
    fixture_open(&fixture, &options);
    fill(&fixture);
    memset(fixture.host, 0, (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK);
    fakecuda_delay(FAKECUDA_COPY, 500);
    fakecuda_delay(FAKECUDA_KERNEL, 500);
    const kvf_submit_options background = {.background = true};
    kvf_transfer *ordered =
        fixture_submit(fixture.device, fixture.pinned, some, others, COUNT, NULL);
    kvf_transfer *later =
        fixture_submit(fixture.device, fixture.pinned, some, some, COUNT, &background);
    kvf_tier **first = host_first ? &fixture.pinned : &fixture.device;
    kvf_tier_destroy(*first);
    *first = NULL;
    expect_offloaded(&fixture);
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_transfer_poll(ordered, &e), &e);
    test_expect(KVF_ERR_CANCELLED, kvf_transfer_poll(later, &e), &e);
    memset(fixture.host, 7, (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK);
    for (int i = 0; i < 4; i++)
        kvf_engine_progress(fixture.engine);
    fakecuda_settle();
    for (size_t i = 0; i < (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK; i++)
        assert_int_equal(fixture.host[i], 7);
    kvf_transfer_release(ordered);
    kvf_transfer_release(later);
    fixture_close(&fixture);
}

static void test_tiers_destroyed_under_transfers(void **state) {
    (void)state;
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
        destroy_under((kvf_cuda_strategy)s, false);
        destroy_under((kvf_cuda_strategy)s, true);
    }
}

/* The runtime's queries fail for ever: the engine gives up, but only once nothing runs. */
static void give_up_under(kvf_cuda_strategy strategy) {
    const kvf_cuda_options options = {
        .strategy = strategy, .no_thread = true, .ctas = 1, .packing_bytes = FIXTURE_RING};
    device_fixture fixture;
    fixture_open(&fixture, &options);
    fill(&fixture);
    fakecuda_delay(FAKECUDA_COPY, 5000);
    fakecuda_delay(FAKECUDA_KERNEL, 5000);
    kvf_transfer *t = fixture_submit(fixture.device, fixture.pinned, some, others, COUNT, NULL);
    fakecuda_fail_call("cudaEventQuery", 1, cudaErrorInvalidValue, true);
    kvf_error e = {0};
    kvf_status status = KVF_PENDING;
    while (status == KVF_PENDING)
        status = kvf_transfer_poll(t, &e);
    expect_broken(status, &e, cudaErrorInvalidValue);
    memset(fixture.host, 7, (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK);
    fakecuda_fail_nothing();
    fakecuda_settle();
    for (size_t i = 0; i < (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK; i++)
        assert_int_equal(fixture.host[i], 7);
    kvf_transfer_release(t);
    fixture_close(&fixture);
}

static void test_queries_fail_for_ever(void **state) {
    (void)state;
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        give_up_under((kvf_cuda_strategy)s);
}

/* A packing buffer whose last use has no event is filled again only once its transfer has ended. */
static void test_a_buffer_without_an_event(void **state) {
    (void)state;
    enum { BUFFERS = 4 };
    const kvf_cuda_options options = {.strategy = KVF_CUDA_STAGED,
                                      .no_thread = true,
                                      .packing_bytes = FIXTURE_RING,
                                      .packing_limit = FIXTURE_RING};
    device_fixture fixture;
    cudaStream_t compute;
    cudaEvent_t event;
    fixture_open(&fixture, &options);
    fill(&fixture);
    assert_int_equal(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    fakecuda_hold(compute);
    assert_int_equal(cudaEventRecord(event, compute), cudaSuccess);
    const kvf_submit_options gated = {.events = (void *const[]){event}, .event_count = 1};
    enum { DRAINED = 3 }; /* after the side's start and the buffer's being filled */
    fakecuda_fail_call("cudaEventRecord", DRAINED, cudaErrorInvalidValue, false);
    kvf_transfer *first = fixture_submit(fixture.device, fixture.pinned, some, others, 1, &gated);
    kvf_transfer *second =
        fixture_submit(fixture.device, fixture.pinned, some + 1, others + 1, BUFFERS, NULL);
    fakecuda_settle();
    assert_int_equal(kvf_transfer_poll(second, NULL), KVF_PENDING);
    fakecuda_release(compute);
    fixture_finish(second, KVF_OK);
    fixture_finish(first, KVF_ERR_ENGINE);
    for (unsigned i = 1; i <= BUFFERS; i++)
        assert_true(fixture_host_is(&fixture, others[i], i + 1));
    (void)cudaEventDestroy(event);
    (void)cudaStreamDestroy(compute);
    fixture_close(&fixture);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lost_device),
        cmocka_unit_test(test_no_memory_for_packing_buffers),
        cmocka_unit_test(test_tiers_destroyed_under_transfers),
        cmocka_unit_test(test_queries_fail_for_ever),
        cmocka_unit_test(test_a_buffer_without_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
