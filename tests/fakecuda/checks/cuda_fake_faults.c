/* Failures that a test can script, and counts of calls. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "needs.h"

static void the_nth_call_fails(void **state) {
    (void)state;
    cudaEvent_t events[4];
    fakecuda_fail_call("cudaEventCreate", 2, cudaErrorMemoryAllocation, false);
    ok(cudaEventCreate(&events[0]));
    assert_int_equal(cudaEventCreate(&events[1]), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    ok(cudaEventCreate(&events[1]));
    fakecuda_fail_call("cudaEventCreate", 1, cudaErrorMemoryAllocation, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaEventCreate(&events[2]), cudaErrorMemoryAllocation);
    fakecuda_fail_nothing();
    ok(cudaEventCreate(&events[2]));
    for (int i = 0; i < 3; i++)
        ok(cudaEventDestroy(events[i]));
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
}

/* A small scenario of which every call can fail. It always frees what it has. */
static cudaError_t scenario(void) {
    cudaStream_t stream = NULL;
    void *device = NULL;
    cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (error == cudaSuccess)
        error = cudaMalloc(&device, 4096);
    if (error == cudaSuccess)
        error = cudaMemsetAsync(device, 1, 4096, stream);
    if (error == cudaSuccess)
        error = cudaStreamSynchronize(stream);
    if (device) {
        cudaError_t freed = cudaFree(device);
        error = error == cudaSuccess ? freed : error;
    }
    if (stream) {
        cudaError_t destroyed = cudaStreamDestroy(stream);
        error = error == cudaSuccess ? destroyed : error;
    }
    return error;
}

static void every_call_can_be_failed_in_turn(void **state) {
    (void)state;
    static const char *const order[] = {
        "cudaStreamCreateWithFlags", "cudaMalloc", "cudaMemsetAsync",
        "cudaStreamSynchronize",     "cudaFree",   "cudaStreamDestroy"};
    ok(scenario());
    assert_int_equal(fakecuda_calls(NULL), 6);
    for (uint64_t i = 0; i < 6; i++)
        assert_string_equal(fakecuda_call(i), order[i]);
    assert_null(fakecuda_call(6));
    assert_int_equal(fakecuda_calls("cudaMalloc"), 1);
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (uint64_t k = 1; k <= 6; k++) {
            assert_int_equal(fakecuda_reset(), 0);
            fakecuda_fail_call(NULL, k, cudaErrorUnknown, for_ever);
            assert_int_equal(scenario(), cudaErrorUnknown);
            assert_int_equal(fakecuda_live(), 0); /* freed, though cudaFree returned an error */
        }
    }
    assert_int_equal(cudaGetLastError(), cudaErrorUnknown);
}

static void a_failed_operation_ends_the_context(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    void *block = NULL;
    fakecuda_fail_operation(FAKECUDA_COPY, 2, cudaErrorECCUncorrectable);
    fakecuda_hold(t.a); /* so that everything can still be enqueued */
    ok(cudaMemcpyAsync(t.out, t.in, 16, cudaMemcpyHostToHost, t.a));
    ok(cudaMemcpyAsync(t.out + 16, t.in, 16, cudaMemcpyHostToHost, t.a));
    ok(cudaMemcpyAsync(t.out + 32, t.in, 16, cudaMemcpyHostToHost, t.a));
    fakecuda_release(t.a);
    assert_int_equal(cudaStreamSynchronize(t.a), cudaErrorECCUncorrectable);
    assert_memory_equal(t.out, t.in, 16);
    assert_int_equal(t.out[17], 0);
    assert_int_equal(t.out[33], 0); /* the operation did not happen */
    assert_int_equal(cudaMalloc(&block, 16), cudaErrorECCUncorrectable);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGetLastError(), cudaErrorECCUncorrectable); /* stays */
    assert_int_equal(cudaPeekAtLastError(), cudaErrorECCUncorrectable);
    assert_int_equal(cudaFree(t.device), cudaErrorECCUncorrectable);
    assert_int_equal(cudaFreeHost(t.in), cudaErrorECCUncorrectable);
    assert_int_equal(cudaFreeHost(t.out), cudaErrorECCUncorrectable);
    assert_int_equal(cudaStreamDestroy(t.a), cudaErrorECCUncorrectable);
    assert_int_equal(cudaStreamDestroy(t.b), cudaErrorECCUncorrectable);
    assert_int_equal(fakecuda_live(), 0);
}

static void never(void *user) {
    *(bool *)user = true;
}

static void a_lost_device_ends_waits_and_holds(void **state) {
    (void)state;
    fakecuda_configure(&(fakecuda_config){.devices = 2});
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t event;
    bool called = false;
    ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    fakecuda_hold(t.a);
    ok(cudaLaunchHostFunc(t.a, never, &called));
    ok(cudaEventRecord(event, t.a));
    ok(cudaStreamWaitEvent(t.b, event, 0));
    fakecuda_lose_device(0, cudaErrorDevicesUnavailable);
    assert_int_equal(cudaEventSynchronize(event), cudaErrorDevicesUnavailable);
    assert_int_equal(cudaStreamSynchronize(t.b), cudaErrorDevicesUnavailable);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorDevicesUnavailable);
    assert_false(called);
    ok(cudaSetDevice(1)); /* another device is not affected */
    ok(cudaDeviceSynchronize());
    assert_int_equal(cudaStreamQuery(t.b), cudaErrorDevicesUnavailable);
    fakecuda_forgive();
    assert_int_equal(fakecuda_reset(), 6);
    ok(cudaDeviceSynchronize());
}

static void *synchronise(void *user) {
    cudaStream_t stream = user;
    return cudaStreamSynchronize(stream) == cudaErrorECCUncorrectable ? user : NULL;
}

static void a_lost_device_wakes_a_waiting_thread(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    pthread_t thread;
    void *result = NULL;
    fakecuda_hold(t.a);
    ok(cudaMemsetAsync(t.device, 1, 16, t.a));
    assert_int_equal(pthread_create(&thread, NULL, synchronise, t.a), 0);
    usleep(10000); /* by then it most likely waits */
    fakecuda_lose_device(0, cudaErrorECCUncorrectable);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, t.a);
    while (fakecuda_pending(t.a) > 0)
        usleep(100); /* the hold has ended */
    assert_int_equal(fakecuda_operations(FAKECUDA_MEMSET), 0);
    assert_int_equal(fakecuda_reset(), 5);
}

static void a_sticky_error_of_a_call_is_sticky(void **state) {
    (void)state;
    cudaEvent_t event;
    ok(cudaEventCreate(&event));
    fakecuda_fail_call("cudaEventQuery", 1, cudaErrorIllegalAddress, false);
    assert_int_equal(cudaEventQuery(event), cudaErrorIllegalAddress);
    assert_int_equal(cudaEventQuery(event), cudaErrorIllegalAddress);
    assert_int_equal(cudaEventDestroy(event), cudaErrorIllegalAddress);
}

static void operations_fail_by_kind(void **state) {
    (void)state;
    static const fakecuda_kind kinds[] = {FAKECUDA_MEMSET, FAKECUDA_HOST_FUNCTION, FAKECUDA_RECORD,
                                          FAKECUDA_WAIT};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        check_buffers t;
        check_buffers_make(&t);
        cudaEvent_t event;
        bool called = false;
        ok(cudaEventCreate(&event));
        fakecuda_fail_operation(kinds[i], 1, cudaErrorLaunchFailure);
        ok(cudaMemcpyAsync(t.device, t.in, 16, cudaMemcpyHostToDevice, t.a));
        ok(cudaStreamSynchronize(t.a));
        fakecuda_hold(t.a);
        ok(cudaMemsetAsync(t.device, 1, 16, t.a));
        ok(cudaLaunchHostFunc(t.a, never, &called));
        ok(cudaEventRecord(event, t.a));
        ok(cudaStreamWaitEvent(t.a, event, 0));
        fakecuda_release(t.a);
        assert_int_equal(cudaStreamSynchronize(t.a), cudaErrorLaunchFailure);
        assert_int_equal(fakecuda_reset(), 6);
    }
}

static void query(void *user) {
    *(cudaError_t *)user = cudaStreamQuery(cudaStreamPerThread);
}

static void host_functions_must_not_call(void **state) {
    (void)state;
    cudaStream_t stream;
    cudaError_t inside = cudaSuccess;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ok(cudaLaunchHostFunc(stream, query, &inside));
    ok(cudaStreamSynchronize(stream));
    assert_int_equal(inside, cudaErrorNotPermitted);
    check_violation("inside a host function");
    ok(cudaStreamDestroy(stream));
}

static void no_device_and_no_driver(void **state) {
    (void)state;
    int count = 7;
    void *block = NULL;
    fakecuda_configure(&(fakecuda_config){.no_device = cudaErrorNoDevice});
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    assert_int_equal(count, 0);
    assert_int_equal(cudaMalloc(&block, 16), cudaErrorNoDevice);
    fakecuda_configure(&(fakecuda_config){.no_device = cudaErrorInsufficientDriver});
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    ok(cudaDriverGetVersion(&count));
    assert_int_equal(count, 0);
    fakecuda_configure(&(fakecuda_config){.driver_version = CUDART_VERSION - 1000});
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    ok(cudaDriverGetVersion(&count));
    assert_int_equal(count, CUDART_VERSION - 1000);
    assert_int_equal(cudaGetLastError(), cudaErrorInsufficientDriver);
}

static void delays_delay(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t start, end;
    float milliseconds = 0;
    ok(cudaEventCreate(&start));
    ok(cudaEventCreate(&end));
    fakecuda_delay(FAKECUDA_COPY, 20000);
    fakecuda_hold(t.a);
    ok(cudaEventRecord(start, t.a));
    ok(cudaMemcpyAsync(t.device, t.in, 16, cudaMemcpyHostToDevice, t.a));
    ok(cudaEventRecord(end, t.a));
    assert_int_equal(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
    fakecuda_release(t.a);
    ok(cudaEventSynchronize(end));
    ok(cudaEventElapsedTime(&milliseconds, start, end));
    assert_true(milliseconds >= 20);
    ok(cudaEventDestroy(start));
    ok(cudaEventDestroy(end));
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorNotReady);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(the_nth_call_fails),
        CHECK(every_call_can_be_failed_in_turn),
        CHECK(a_failed_operation_ends_the_context),
        CHECK(a_lost_device_ends_waits_and_holds),
        CHECK(a_lost_device_wakes_a_waiting_thread),
        CHECK(a_sticky_error_of_a_call_is_sticky),
        CHECK(operations_fail_by_kind),
        CHECK(host_functions_must_not_call),
        CHECK(no_device_and_no_driver),
        CHECK(delays_delay),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
