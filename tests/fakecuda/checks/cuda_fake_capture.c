/* Stream capture: which calls are allowed during one, and what they do to it. */
#include <pthread.h>

#include "check.h"
#include "needs.h"

static enum cudaStreamCaptureStatus status_of(cudaStream_t stream) {
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    ok(cudaStreamIsCapturing(stream, &status));
    return status;
}

static void begin(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    ok(cudaStreamBeginCapture(stream, mode));
    assert_int_equal(status_of(stream), cudaStreamCaptureStatusActive);
}

/* Ends a valid capture, which must have that many nodes. */
static void end(cudaStream_t stream, size_t expected) {
    cudaGraph_t graph = NULL;
    size_t nodes = 0;
    ok(cudaStreamEndCapture(stream, &graph));
    ok(cudaGraphGetNodes(graph, NULL, &nodes));
    assert_int_equal(nodes, expected);
    ok(cudaGraphDestroy(graph));
    assert_int_equal(status_of(stream), cudaStreamCaptureStatusNone);
}

static void end_with(cudaStream_t stream, cudaError_t error) {
    cudaGraph_t graph = NULL;
    assert_int_equal(cudaStreamEndCapture(stream, &graph), error);
    assert_null(graph);
    assert_int_equal(cudaGetLastError(), error);
}

static void captured_work_does_not_happen(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    begin(t.a, cudaStreamCaptureModeGlobal);
    ok(cudaMemcpyAsync(t.out, t.in, 16, cudaMemcpyHostToHost, t.a));
    ok(cudaMemsetAsync(t.out, 1, 16, t.a));
    end(t.a, 2);
    ok(cudaStreamSynchronize(t.a));
    assert_int_equal(t.out[1], 0);
    check_buffers_free(&t);
}

static void captures_have_numbers(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    enum cudaStreamCaptureStatus status;
    unsigned long long first = 0, second = 0;
    begin(t.a, cudaStreamCaptureModeRelaxed);
    begin(t.b, cudaStreamCaptureModeRelaxed);
#if CUDART_VERSION >= 13000
    ok(cudaStreamGetCaptureInfo(t.a, &status, &first, NULL, NULL, NULL, NULL));
    ok(cudaStreamGetCaptureInfo(t.b, &status, &second, NULL, NULL, NULL, NULL));
#else
    ok(cudaStreamGetCaptureInfo(t.a, &status, &first, NULL, NULL, NULL));
    ok(cudaStreamGetCaptureInfo(t.b, &status, &second, NULL, NULL, NULL));
#endif
    assert_int_equal(status, cudaStreamCaptureStatusActive);
    assert_true(first != second);
    assert_int_equal(cudaStreamBeginCapture(t.a, cudaStreamCaptureModeRelaxed),
                     cudaErrorIllegalState);
    end(t.a, 0);
    end(t.b, 0);
    assert_int_equal(cudaStreamBeginCapture(NULL, cudaStreamCaptureModeRelaxed),
                     cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureUnsupported);
    check_buffers_free(&t);
}

typedef struct poller {
    cudaEvent_t event;
    enum cudaStreamCaptureMode mode;
    cudaError_t result;
} poller;

static void *poll_event(void *user) {
    poller *self = user;
    enum cudaStreamCaptureMode mode = self->mode;
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    self->result = cudaEventQuery(self->event);
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    return NULL;
}

static cudaError_t poll_elsewhere(cudaEvent_t event, enum cudaStreamCaptureMode mode) {
    poller self = {.event = event, .mode = mode};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, poll_event, &self), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return self.result;
}

static void a_call_of_another_thread_can_invalidate(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t event;
    ok(cudaEventCreate(&event));
    begin(t.a, cudaStreamCaptureModeGlobal);
    ok(poll_elsewhere(event, cudaStreamCaptureModeRelaxed));
    ok(poll_elsewhere(event, cudaStreamCaptureModeThreadLocal));
    end(t.a, 0);
    begin(t.a, cudaStreamCaptureModeThreadLocal);
    ok(poll_elsewhere(event, cudaStreamCaptureModeGlobal));
    end(t.a, 0);
    begin(t.a, cudaStreamCaptureModeGlobal);
    assert_int_equal(poll_elsewhere(event, cudaStreamCaptureModeGlobal),
                     cudaErrorStreamCaptureUnsupported);
    assert_int_equal(status_of(t.a), cudaStreamCaptureStatusInvalidated);
    assert_int_equal(cudaMemsetAsync(t.out, 0, 16, t.a), cudaErrorStreamCaptureInvalidated);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    ok(cudaEventDestroy(event));
    check_buffers_free(&t);
}

static void unsafe_calls_of_the_capturing_thread_are_refused(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    void *block = NULL;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    begin(t.a, cudaStreamCaptureModeThreadLocal);
    ok(cudaThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, cudaStreamCaptureModeGlobal);
    ok(cudaMalloc(&block, 16));
    ok(cudaFree(block));
    ok(cudaThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(cudaMalloc(&block, 16), cudaErrorStreamCaptureUnsupported);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    ok(cudaMalloc(&block, 16));
    end(t.a, 0);
    begin(t.a, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaFree(block), cudaErrorStreamCaptureUnsupported);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    ok(cudaFree(block)); /* the refused call freed nothing */
    check_buffers_free(&t);
}

static void capturing_streams_cannot_be_waited_for(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    assert_int_equal(cudaStreamQuery(t.a), cudaErrorStreamCaptureUnsupported);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    check_buffers_free(&t);
}

static void captured_events_pull_streams_in(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t fork, join;
    ok(cudaEventCreate(&fork));
    ok(cudaEventCreate(&join));
    begin(t.a, cudaStreamCaptureModeRelaxed);
    ok(cudaMemsetAsync(t.out, 1, 16, t.a));
    ok(cudaEventRecord(fork, t.a));
    ok(cudaStreamWaitEvent(t.b, fork, 0));
    assert_int_equal(status_of(t.b), cudaStreamCaptureStatusActive);
    ok(cudaMemsetAsync(t.out, 2, 16, t.b));
    ok(cudaEventRecord(join, t.b));
    ok(cudaStreamWaitEvent(t.a, join, 0));
    end(t.a, 2);
    assert_int_equal(status_of(t.b), cudaStreamCaptureStatusNone);
    /* events stay captured until recorded again */
    assert_int_equal(cudaEventQuery(join), cudaErrorCapturedEvent);
    assert_int_equal(cudaStreamWaitEvent(t.b, join, 0), cudaErrorCapturedEvent);
    ok(cudaEventRecord(join, t.b));
    ok(cudaEventSynchronize(join));
    assert_int_equal(cudaGetLastError(), cudaErrorCapturedEvent);
    ok(cudaEventDestroy(fork));
    ok(cudaEventDestroy(join));
    check_buffers_free(&t);
}

static void forks_must_be_joined(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t event;
    cudaGraph_t graph;
    ok(cudaEventCreate(&event));
    begin(t.a, cudaStreamCaptureModeRelaxed);
    ok(cudaEventRecord(event, t.a));
    ok(cudaStreamWaitEvent(t.b, event, 0));
    ok(cudaMemsetAsync(t.out, 2, 16, t.b));
    assert_int_equal(cudaStreamEndCapture(t.b, &graph), cudaErrorStreamCaptureUnmatched);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    ok(cudaEventRecord(event, t.a));
    ok(cudaStreamWaitEvent(t.b, event, 0));
    ok(cudaMemsetAsync(t.out, 2, 16, t.b));
    end_with(t.a, cudaErrorStreamCaptureUnjoined);
    ok(cudaEventDestroy(event));
    check_buffers_free(&t);
}

static void captures_do_not_mix(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t outside, inside;
    ok(cudaEventCreate(&outside));
    ok(cudaEventCreate(&inside));
    ok(cudaEventRecord(outside, t.b));
    ok(cudaEventSynchronize(outside));
    begin(t.a, cudaStreamCaptureModeRelaxed);
    assert_int_equal(cudaStreamWaitEvent(t.a, outside, 0), cudaErrorStreamCaptureIsolation);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    begin(t.b, cudaStreamCaptureModeRelaxed);
    ok(cudaEventRecord(inside, t.a));
    assert_int_equal(cudaEventQuery(outside), cudaSuccess);
    assert_int_equal(cudaStreamWaitEvent(t.b, inside, 0), cudaErrorStreamCaptureMerge);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    end_with(t.b, cudaErrorStreamCaptureInvalidated);
    begin(t.a, cudaStreamCaptureModeRelaxed);
    ok(cudaEventRecord(inside, t.a));
    assert_int_equal(cudaEventSynchronize(inside), cudaErrorCapturedEvent);
    end_with(t.a, cudaErrorStreamCaptureInvalidated);
    ok(cudaEventDestroy(outside));
    ok(cudaEventDestroy(inside));
    check_buffers_free(&t);
}

static void a_blocking_capture_makes_the_legacy_stream_unusable(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaStream_t blocking;
    enum cudaStreamCaptureStatus status;
    ok(cudaStreamCreate(&blocking));
    begin(t.a, cudaStreamCaptureModeRelaxed); /* a non-blocking one does not matter */
    ok(cudaMemsetAsync(t.out, 0, 16, NULL));
    end(t.a, 0);
    begin(blocking, cudaStreamCaptureModeRelaxed);
    assert_int_equal(cudaStreamIsCapturing(NULL, &status), cudaErrorStreamCaptureImplicit);
    assert_int_equal(status_of(blocking), cudaStreamCaptureStatusActive); /* intact */
    assert_int_equal(cudaMemsetAsync(t.out, 0, 16, NULL), cudaErrorStreamCaptureImplicit);
    assert_int_equal(status_of(blocking), cudaStreamCaptureStatusInvalidated);
    end_with(blocking, cudaErrorStreamCaptureInvalidated);
    ok(cudaStreamDestroy(blocking));
    check_buffers_free(&t);
}

typedef struct ender {
    cudaStream_t stream;
    cudaError_t result;
} ender;

static void *end_elsewhere(void *user) {
    ender *self = user;
    cudaGraph_t graph = NULL;
    self->result = cudaStreamEndCapture(self->stream, &graph);
    return graph;
}

static void captures_belong_to_threads(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    ender self = {.stream = t.a};
    pthread_t thread;
    begin(t.a, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(pthread_create(&thread, NULL, end_elsewhere, &self), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(self.result, cudaErrorStreamCaptureWrongThread);
    end(t.a, 0);
    check_buffers_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(captured_work_does_not_happen),
        CHECK(captures_have_numbers),
        CHECK(a_call_of_another_thread_can_invalidate),
        CHECK(unsafe_calls_of_the_capturing_thread_are_refused),
        CHECK(capturing_streams_cannot_be_waited_for),
        CHECK(captured_events_pull_streams_in),
        CHECK(forks_must_be_joined),
        CHECK(captures_do_not_mix),
        CHECK(a_blocking_capture_makes_the_legacy_stream_unusable),
        CHECK(captures_belong_to_threads),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
