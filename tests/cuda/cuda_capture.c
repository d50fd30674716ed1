/* During stream captures: what belongs to a capture is refused; the rest goes on and harms none. */
#include "support/device_fixture.h"
#include "needs.h"

typedef struct capture_setup {
    device_fixture fixture;
    cudaStream_t captured, plain;
    cudaEvent_t event;
} capture_setup;

static const uint64_t ids[] = {1, 2};

static void set_up(capture_setup *b, enum cudaStreamCaptureMode mode) {
    fixture_open(&b->fixture, NULL);
    assert_int_equal(cudaStreamCreateWithFlags(&b->captured, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaStreamCreateWithFlags(&b->plain, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&b->event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(b->captured, mode), cudaSuccess);
}

/* Ends the capture, expecting this result, and everything else. */
static void tear_down(capture_setup *b, cudaError_t expected) {
    cudaGraph_t graph = NULL;
    assert_int_equal(cudaStreamEndCapture(b->captured, &graph), expected);
    if (graph)
        assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    (void)cudaGetLastError();
    assert_int_equal(cudaEventDestroy(b->event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(b->captured), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(b->plain), cudaSuccess);
    fixture_close(&b->fixture);
}

static void test_a_capturing_stream_is_refused(void **state) {
    (void)state;
    capture_setup b;
    kvf_error e = {0};
    set_up(&b, cudaStreamCaptureModeGlobal);
    kvf_transfer *t = fixture_submit(b.fixture.device, b.fixture.pinned, ids, ids, 2, NULL);
    test_expect(KVF_ERR_UNSUPPORTED,
                kvf_cuda_wait_slots(b.fixture.device, ids, 2, true, b.captured, &e), &e);
    test_expect(KVF_ERR_UNSUPPORTED, kvf_cuda_wait_layer(t, 0, b.captured, &e), &e);
    fixture_finish(t, KVF_OK);
    tear_down(&b, cudaSuccess);
}

/* Querying a captured event may invalidate the capture, but is refused. */
static void test_a_captured_event_is_refused(void **state) {
    (void)state;
    capture_setup b;
    kvf_error e = {0};
    set_up(&b, cudaStreamCaptureModeGlobal);
    assert_int_equal(cudaEventRecord(b.event, b.captured), cudaSuccess);
    test_expect(KVF_ERR_UNSUPPORTED,
                kvf_cuda_mark_slots(b.fixture.device, ids, 2, true, b.event, &e), &e);
    const kvf_plan plan = {.count = 2, .src_ids = ids, .dst_ids = ids};
    const kvf_submit_options how = {.events = (void *[]){b.event}, .event_count = 1};
    kvf_transfer *t = NULL;
    test_expect(KVF_ERR_UNSUPPORTED,
                kvf_transfer_submit(b.fixture.device, b.fixture.pinned, &plan, 1, &how, &t, &e),
                &e);
    assert_null(t);
    fixture_finish(fixture_submit(b.fixture.device, b.fixture.pinned, ids, ids, 2, NULL), KVF_OK);
    cudaGraph_t graph = NULL;
    if (cudaStreamEndCapture(b.captured, &graph) == cudaSuccess)
        assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    (void)cudaGetLastError();
    assert_int_equal(cudaStreamBeginCapture(b.captured, cudaStreamCaptureModeRelaxed), cudaSuccess);
    tear_down(&b, cudaSuccess);
}

static void test_transfers_run_during_a_capture(void **state) {
    (void)state;
    static const enum cudaStreamCaptureMode modes[] = {cudaStreamCaptureModeGlobal,
                                                       cudaStreamCaptureModeThreadLocal,
                                                       cudaStreamCaptureModeRelaxed};
    for (size_t m = 0; m < 3; m++) {
        capture_setup b;
        kvf_error e = {0};
        kvf_engine *another = NULL;
        kvf_cuda_pinned *pinned = NULL;
        const kvf_cuda_pinned_options options = {.bytes = 1};
        set_up(&b, modes[m]);
        assert_int_equal(cudaEventRecord(b.event, b.plain), cudaSuccess);
        const kvf_submit_options how = {
            .by_layer = true, .events = (void *[]){b.event}, .event_count = 1};
        kvf_transfer *t = fixture_submit(b.fixture.device, b.fixture.pinned, ids, ids, 2, &how);
        test_expect(KVF_OK, kvf_cuda_wait_layer(t, 0, b.plain, &e), &e);
        test_expect(KVF_OK, kvf_cuda_mark_slots(b.fixture.device, ids, 2, false, b.event, &e), &e);
        test_expect(KVF_OK, kvf_cuda_wait_slots(b.fixture.device, ids, 2, true, b.plain, &e), &e);
        while (kvf_transfer_poll(t, NULL) == KVF_PENDING)
            kvf_engine_progress(b.fixture.engine);
        fixture_finish(t, KVF_OK);
        test_expect(KVF_OK, kvf_engine_cuda_create(NULL, &another, &e), &e);
        test_expect(KVF_OK, kvf_cuda_pinned_create(&options, &pinned, NULL, &e), &e);
        kvf_cuda_pinned_destroy(pinned);
        kvf_engine_destroy(another);
        enum cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
        assert_int_equal(cudaThreadExchangeStreamCaptureMode(&mode), cudaSuccess);
        assert_int_equal(mode, cudaStreamCaptureModeGlobal);
        tear_down(&b, cudaSuccess);
    }
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_capturing_stream_is_refused),
        cmocka_unit_test(test_a_captured_event_is_refused),
        cmocka_unit_test(test_transfers_run_during_a_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
