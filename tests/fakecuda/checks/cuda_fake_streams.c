/* Streams and events of the fake: nothing happens early, and only the requested order holds. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "needs.h"

static void add_one(void *user) {
    atomic_fetch_add((atomic_int *)user, 1);
}

static int value(atomic_int *counter) {
    return atomic_load(counter);
}

static void nothing_happens_before_the_call_returns(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    fakecuda_hold(t.a);
    ok(cudaMemcpyAsync(t.out, t.in, 16, cudaMemcpyHostToHost, t.a));
    fakecuda_settle();
    assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 0);
    assert_int_equal(fakecuda_pending(t.a), 1);
    assert_int_equal(cudaStreamQuery(t.a), cudaErrorNotReady);
    fakecuda_release(t.a);
    ok(cudaStreamSynchronize(t.a));
    assert_int_equal(t.out[1], t.in[1]);
    assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 1);
    check_buffers_free(&t);
}

static void a_held_stream_can_be_stepped(void **state) {
    (void)state;
    cudaStream_t stream;
    atomic_int calls = 0;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    fakecuda_hold(stream);
    for (int i = 0; i < 3; i++)
        ok(cudaLaunchHostFunc(stream, add_one, &calls));
    fakecuda_step(stream, 2);
    fakecuda_settle();
    assert_int_equal(value(&calls), 2);
    ok(cudaStreamDestroy(stream)); /* releases it; queued work still happens */
    ok(cudaDeviceSynchronize());
    assert_int_equal(value(&calls), 3);
}

static void all_streams_can_be_held(void **state) {
    (void)state;
    cudaStream_t stream, listed[4] = {0};
    atomic_int calls = 0;
    fakecuda_hold_all(true);
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaLaunchHostFunc(stream, add_one, &calls));
    ok(cudaLaunchHostFunc(NULL, add_one, &calls));
    assert_int_equal(fakecuda_streams(listed, 4), 1);
    assert_ptr_equal(listed[0], stream);
    fakecuda_settle();
    assert_int_equal(value(&calls), 0);
    fakecuda_hold_all(false);
    ok(cudaDeviceSynchronize());
    assert_int_equal(value(&calls), 2);
    ok(cudaStreamDestroy(stream));
}

static void waits_follow_the_recording_they_saw(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t event;
    atomic_int calls = 0;
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    fakecuda_hold(t.a);
    ok(cudaStreamWaitEvent(t.b, event, 0)); /* never recorded */
    assert_int_equal(fakecuda_empty_waits(), 1);
    ok(cudaLaunchHostFunc(t.b, add_one, &calls));
    ok(cudaEventRecord(event, t.a));
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    ok(cudaStreamWaitEvent(t.b, event, 0));
    ok(cudaLaunchHostFunc(t.b, add_one, &calls));
    ok(cudaEventRecord(event, t.a));
    fakecuda_settle();
    assert_int_equal(value(&calls), 1);
    fakecuda_step(t.a, 1); /* the first recording only */
    fakecuda_settle();
    assert_int_equal(value(&calls), 2);
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    fakecuda_release(t.a);
    ok(cudaEventSynchronize(event));
    ok(cudaEventDestroy(event));
    check_buffers_free(&t);
}

static void not_ready_is_not_an_error(void **state) {
    (void)state;
    cudaStream_t stream;
    cudaEvent_t event;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    fakecuda_hold(stream);
    ok(cudaEventRecord(event, stream));
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    assert_int_equal(cudaStreamQuery(stream), cudaErrorNotReady);
    ok(cudaPeekAtLastError());
    assert_int_equal(cudaStreamWaitEvent(stream, event, 77), cudaErrorInvalidValue);
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    assert_int_equal(cudaStreamQuery(stream), cudaErrorNotReady);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue); /* unchanged */
    fakecuda_release(stream);
    ok(cudaEventSynchronize(event));
    ok(cudaEventDestroy(event));
    ok(cudaStreamDestroy(stream));
}

static void the_legacy_stream_is_ordered_with_blocking_streams(void **state) {
    (void)state;
    cudaStream_t blocking, other, free_running;
    atomic_int first = 0, legacy = 0, second = 0, apart = 0;
    ok(cudaStreamCreate(&blocking));
    ok(cudaStreamCreate(&other));
    ok(cudaStreamCreateWithFlags(&free_running, cudaStreamNonBlocking));
    fakecuda_hold(blocking);
    ok(cudaLaunchHostFunc(blocking, add_one, &first));
    ok(cudaLaunchHostFunc(cudaStreamLegacy, add_one, &legacy));
    ok(cudaLaunchHostFunc(other, add_one, &second));
    ok(cudaLaunchHostFunc(free_running, add_one, &apart));
    fakecuda_settle();
    assert_int_equal(value(&first) + value(&legacy) + value(&second), 0);
    assert_int_equal(value(&apart), 1);
    assert_int_equal(cudaStreamQuery(NULL), cudaErrorNotReady);
    fakecuda_release(blocking);
    ok(cudaStreamSynchronize(other));
    assert_int_equal(value(&first) + value(&legacy) + value(&second), 3);
    ok(cudaStreamQuery(NULL));
    ok(cudaStreamDestroy(blocking));
    ok(cudaStreamDestroy(other));
    ok(cudaStreamDestroy(free_running));
}

static void synchronising_the_legacy_stream_waits_for_blocking_ones(void **state) {
    (void)state;
    cudaStream_t blocking;
    atomic_int calls = 0;
    ok(cudaStreamCreate(&blocking));
    fakecuda_delay(FAKECUDA_HOST_FUNCTION, 20000);
    ok(cudaLaunchHostFunc(blocking, add_one, &calls));
    ok(cudaStreamSynchronize(NULL));
    assert_int_equal(value(&calls), 1);
    ok(cudaStreamDestroy(blocking));
}

static void *on_its_own_stream(void *user) {
    cudaError_t error = cudaLaunchHostFunc(cudaStreamPerThread, add_one, user);
    return error == cudaSuccess && cudaStreamSynchronize(cudaStreamPerThread) == cudaSuccess ? user
                                                                                             : NULL;
}

static void each_thread_has_a_stream(void **state) {
    (void)state;
    atomic_int mine = 0, others = 0;
    pthread_t thread;
    void *result = NULL;
    ok(cudaLaunchHostFunc(cudaStreamPerThread, add_one, &mine));
    ok(cudaStreamSynchronize(cudaStreamPerThread));
    fakecuda_hold(cudaStreamPerThread);
    ok(cudaLaunchHostFunc(cudaStreamPerThread, add_one, &mine));
    assert_int_equal(pthread_create(&thread, NULL, on_its_own_stream, &others), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
    assert_int_equal(value(&others), 1);
    assert_int_equal(value(&mine), 1);
    fakecuda_release(cudaStreamPerThread);
    ok(cudaStreamSynchronize(cudaStreamPerThread));
}

static void a_full_queue_blocks(void **state) {
    (void)state;
    cudaStream_t stream;
    atomic_int calls = 0;
    fakecuda_configure(&(fakecuda_config){.queue_entries = 2});
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    fakecuda_delay(FAKECUDA_HOST_FUNCTION, 10000);
    for (int i = 0; i < 6; i++) {
        ok(cudaLaunchHostFunc(stream, add_one, &calls));
        assert_true(fakecuda_pending(stream) <= 2);
    }
    assert_true(fakecuda_full_queues() > 0);
    ok(cudaStreamSynchronize(stream));
    ok(cudaStreamDestroy(stream));
}

static void *call_one_more(void *user) {
    cudaStream_t stream = user;
    static atomic_int calls;
    return cudaLaunchHostFunc(stream, add_one, &calls) == cudaSuccess ? user : NULL;
}

static void a_full_queue_does_not_block_other_threads(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    atomic_int calls = 0;
    pthread_t thread;
    void *result = NULL;
    fakecuda_hold(t.a);
    for (int i = 0; i < 1024; i++)
        ok(cudaLaunchHostFunc(t.a, add_one, &calls));
    assert_int_equal(fakecuda_full_queues(), 0);
    assert_int_equal(pthread_create(&thread, NULL, call_one_more, t.a), 0);
    for (int i = 0; i < 50000 && fakecuda_full_queues() == 0; i++)
        usleep(100);
    assert_int_equal(fakecuda_full_queues(), 1);
    ok(cudaMemcpyAsync(t.out, t.in, 16, cudaMemcpyHostToHost, t.b));
    ok(cudaStreamSynchronize(t.b));
    assert_int_equal(fakecuda_pending(t.a), 1024); /* it still waits */
    fakecuda_step(t.a, 1);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, t.a);
    assert_int_equal(fakecuda_pending(t.a), 1024);
    fakecuda_configure(&(fakecuda_config){.queue_entries = SIZE_MAX});
    for (int i = 0; i < 1024; i++)
        ok(cudaLaunchHostFunc(t.a, add_one, &calls));
    assert_int_equal(fakecuda_full_queues(), 1);
    fakecuda_release(t.a);
    check_buffers_free(&t);
    ok(cudaDeviceSynchronize());
    assert_int_equal(value(&calls), 2048);
}

static void a_full_queue_can_be_a_violation(void **state) {
    (void)state;
    cudaStream_t stream;
    atomic_int calls = 0;
    fakecuda_configure(&(fakecuda_config){.queue_entries = 1, .full_is_violation = true});
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    fakecuda_hold(stream);
    ok(cudaLaunchHostFunc(stream, add_one, &calls));
    ok(cudaLaunchHostFunc(stream, add_one, &calls));
    check_violation("holds 1 entries");
    fakecuda_release(stream);
    ok(cudaStreamSynchronize(stream));
    ok(cudaStreamDestroy(stream));
}

static void the_legacy_stream_can_be_forbidden(void **state) {
    (void)state;
    atomic_int calls = 0;
    fakecuda_configure(&(fakecuda_config){.forbid_legacy = true});
    ok(cudaLaunchHostFunc(cudaStreamPerThread, add_one, &calls));
    ok(cudaLaunchHostFunc(NULL, add_one, &calls));
    check_violation("legacy");
    ok(cudaDeviceSynchronize());
}

/* In a child process, forked while there is no other thread. */
static void waiting_too_long_ends_the_program(void **state) {
    (void)state;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cudaStream_t stream;
        atomic_int calls = 0;
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        fakecuda_configure(&(fakecuda_config){.patience_s = 1});
        (void)cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        fakecuda_hold(stream);
        (void)cudaLaunchHostFunc(stream, add_one, &calls);
        (void)cudaStreamSynchronize(stream);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void use_after_destroy_is_reported(void **state) {
    (void)state;
    cudaStream_t stream, kept;
    cudaEvent_t event;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaStreamCreateWithFlags(&kept, cudaStreamNonBlocking));
    ok(cudaEventCreate(&event));
    ok(cudaStreamDestroy(stream));
    assert_int_equal(cudaStreamQuery(stream), cudaErrorInvalidResourceHandle);
    check_violation("was destroyed");
    ok(cudaEventDestroy(event));
    assert_int_equal(cudaEventRecord(event, kept), cudaErrorInvalidResourceHandle);
    check_violation("was destroyed");
    assert_int_equal(cudaStreamDestroy(NULL), cudaErrorInvalidResourceHandle);
    ok(cudaStreamDestroy(kept));
}

static void devices_are_independent(void **state) {
    (void)state;
    fakecuda_configure(&(fakecuda_config){.devices = 2});
    check_buffers t;
    check_buffers_make(&t);
    char *other = NULL;
    cudaEvent_t event;
    int device = -1;
    ok(cudaSetDevice(1));
    ok(cudaMalloc((void **)&other, CHECK_BYTES));
    ok(cudaEventCreate(&event));
    assert_int_equal(cudaEventRecord(event, t.a), cudaErrorInvalidResourceHandle);
    ok(cudaStreamGetDevice(NULL, &device));
    assert_int_equal(device, 1);
    ok(cudaMemcpyAsync(t.device, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a));
    ok(cudaMemcpyPeerAsync(other, 1, t.device, 0, CHECK_BYTES, t.a));
    ok(cudaMemcpyAsync(t.out, other, CHECK_BYTES, cudaMemcpyDefault, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.in, t.out, CHECK_BYTES);
    assert_int_equal(cudaMemcpyPeerAsync(other, 0, t.device, 1, 16, t.a), cudaErrorInvalidValue);
    check_violation("the devices do not match");
    ok(cudaEventDestroy(event));
    ok(cudaFree(other));
    ok(cudaSetDevice(0));
    check_buffers_free(&t);
}

static int contexts(void) {
    int bits = 0;
    for (int i = 0; i < FAKECUDA_DEVICES; i++)
        bits |= fakecuda_has_context(i) << i;
    return bits;
}

static void *free_nothing(void *user) {
    return cudaFree(NULL) == cudaSuccess ? user : NULL;
}

static void contexts_are_created_when_needed(void **state) {
    (void)state;
    int value = 0;
    pthread_t thread;
    void *result = NULL;
    fakecuda_configure(&(fakecuda_config){.devices = 4});
    ok(cudaGetDeviceCount(&value));
    ok(cudaGetDevice(&value));
    ok(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 1));
    ok(cudaDriverGetVersion(&value));
    ok(cudaGetLastError());
    assert_int_equal(contexts(), 0);
    assert_int_equal(cudaSetDevice(4), cudaErrorInvalidDevice);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidDevice);
    assert_int_equal(contexts(), 0);
    ok(cudaSetDevice(3));
    assert_int_equal(contexts(), 8);
    ok(cudaFree(NULL));
    assert_int_equal(contexts(), 8);
    /* A thread that has not chosen a device. */
    assert_int_equal(pthread_create(&thread, NULL, free_nothing, &value), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &value);
    assert_int_equal(contexts(), 9);
    assert_int_equal(fakecuda_reset(), 0);
    fakecuda_configure(&(fakecuda_config){.devices = 4});
    assert_int_equal(contexts(), 0);
}

#define STREAMS 6

static void many_streams_run_at_once(void **state) {
    (void)state;
    cudaStream_t streams[STREAMS];
    char *host[STREAMS], *device[STREAMS];
    fakecuda_delay(FAKECUDA_COPY, 50);
    for (unsigned i = 0; i < STREAMS; i++) {
        ok(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
        ok(cudaHostAlloc((void **)&host[i], 8192, 0));
        ok(cudaMalloc((void **)&device[i], 4096));
        check_fill(host[i], 4096, i);
    }
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < STREAMS; i++) {
            ok(cudaMemcpyAsync(device[i], host[i], 4096, cudaMemcpyHostToDevice, streams[i]));
            ok(cudaMemcpyAsync(host[i] + 4096, device[i], 4096, cudaMemcpyDeviceToHost,
                               streams[i]));
        }
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        ok(cudaStreamSynchronize(streams[i]));
        assert_true(check_filled(host[i] + 4096, 4096, i));
        ok(cudaStreamDestroy(streams[i]));
        ok(cudaFree(device[i]));
        ok(cudaFreeHost(host[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(nothing_happens_before_the_call_returns),
        CHECK(a_held_stream_can_be_stepped),
        CHECK(all_streams_can_be_held),
        CHECK(waits_follow_the_recording_they_saw),
        CHECK(not_ready_is_not_an_error),
        CHECK(the_legacy_stream_is_ordered_with_blocking_streams),
        CHECK(synchronising_the_legacy_stream_waits_for_blocking_ones),
        CHECK(each_thread_has_a_stream),
        CHECK(a_full_queue_blocks),
        CHECK(a_full_queue_does_not_block_other_threads),
        CHECK(a_full_queue_can_be_a_violation),
        CHECK(the_legacy_stream_can_be_forbidden),
        CHECK(waiting_too_long_ends_the_program),
        CHECK(use_after_destroy_is_reported),
        CHECK(devices_are_independent),
        CHECK(contexts_are_created_when_needed),
        CHECK(many_streams_run_at_once),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
