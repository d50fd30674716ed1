/* Behaviour that the fake CUDA runtime shares with a real one. These tests run on both and are
 * skipped on a real one without a device. The cuda_fake_* programs test what only the
 * fake can do. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "needs.h"

static void copies_both_ways(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    ok(cudaMemcpyAsync(t.device, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a));
    ok(cudaMemcpyAsync(t.out, t.device, CHECK_BYTES, cudaMemcpyDefault, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.in, t.out, CHECK_BYTES);
    ok(cudaMemsetAsync(t.device, 0x5a, 100, t.a));
    ok(cudaStreamSynchronize(t.a));
    ok(cudaMemcpy(t.out, t.device, 200, cudaMemcpyDeviceToHost));
    assert_int_equal(t.out[99], 0x5a);
    assert_int_equal(t.out[100], t.in[100]);
    ok(cudaMemcpyAsync(t.device, t.in, 0, cudaMemcpyHostToDevice, t.a));
    check_buffers_free(&t);
}

static void copies_rows(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    ok(cudaMemcpy2DAsync(t.device, 256, t.in, 1024, 200, 64, cudaMemcpyHostToDevice, t.a));
    ok(cudaMemcpy2DAsync(t.out, 512, t.device, 256, 200, 64, cudaMemcpyDeviceToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    for (size_t row = 0; row < 64; row++)
        assert_memory_equal(t.out + row * 512, t.in + row * 1024, 200);
    assert_int_equal(t.out[200], 0); /* between the rows */
    assert_int_equal(
        cudaMemcpy2DAsync(t.device, 100, t.in, 256, 200, 2, cudaMemcpyHostToDevice, t.a),
        cudaErrorInvalidPitchValue);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidPitchValue);
    check_buffers_free(&t);
}

static void copies_boxes(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    struct cudaMemcpy3DParms box = {.srcPtr = {t.in, 256, 256, 16},
                                    .srcPos = {16, 2, 1},
                                    .dstPtr = {t.device, 128, 128, 8},
                                    .extent = {100, 8, 3},
                                    .kind = cudaMemcpyHostToDevice};
    ok(cudaMemcpy3DAsync(&box, t.a));
    ok(cudaMemcpyAsync(t.out, t.device, 4096, cudaMemcpyDeviceToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    for (size_t z = 0; z < 3; z++) {
        for (size_t y = 0; y < 8; y++)
            assert_memory_equal(t.out + (z * 8 + y) * 128, t.in + ((z + 1) * 16 + y + 2) * 256 + 16,
                                100);
    }
    check_buffers_free(&t);
}

static void events_order_streams(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    cudaEvent_t start, end;
    ok(cudaEventCreate(&start));
    ok(cudaEventCreate(&end));
    ok(cudaEventQuery(start)); /* never recorded: nothing to wait for */
    ok(cudaStreamWaitEvent(t.b, start, 0));
    ok(cudaEventRecord(start, t.a));
    ok(cudaMemcpyAsync(t.device, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a));
    ok(cudaEventRecord(end, t.a));
    ok(cudaStreamWaitEvent(t.b, end, 0));
    ok(cudaMemcpyAsync(t.out, t.device, CHECK_BYTES, cudaMemcpyDeviceToHost, t.b));
    ok(cudaStreamSynchronize(t.b));
    assert_memory_equal(t.in, t.out, CHECK_BYTES);
    float milliseconds = -1;
    ok(cudaEventElapsedTime(&milliseconds, start, end));
    assert_true(milliseconds >= 0);
    ok(cudaEventDestroy(start));
    ok(cudaEventDestroy(end));
    check_buffers_free(&t);
}

static void events_without_timing_have_no_times(void **state) {
    (void)state;
    cudaEvent_t timed, untimed;
    float milliseconds;
    ok(cudaEventCreate(&timed));
    ok(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    ok(cudaEventRecord(timed, cudaStreamPerThread));
    ok(cudaEventRecord(untimed, cudaStreamPerThread));
    ok(cudaEventSynchronize(untimed));
    assert_int_equal(cudaEventElapsedTime(&milliseconds, timed, untimed),
                     cudaErrorInvalidResourceHandle);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidResourceHandle);
    ok(cudaEventDestroy(timed));
    ok(cudaEventDestroy(untimed));
}

static void keeps_the_last_error_until_asked(void **state) {
    (void)state;
    void *block = NULL;
    assert_int_equal(cudaMalloc(&block, (size_t)1 << 50), cudaErrorMemoryAllocation);
    ok(cudaMalloc(&block, 16));
    ok(cudaFree(block));
    assert_int_equal(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_string_equal(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
    assert_non_null(cudaGetErrorString(cudaErrorMemoryAllocation));
}

static void knows_its_memory(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    int local = 0;
    struct cudaPointerAttributes attributes;
    ok(cudaPointerGetAttributes(&attributes, t.device + 5));
    assert_int_equal(attributes.type, cudaMemoryTypeDevice);
    assert_ptr_equal(attributes.devicePointer, t.device + 5);
    ok(cudaPointerGetAttributes(&attributes, t.in));
    assert_int_equal(attributes.type, cudaMemoryTypeHost);
    assert_ptr_equal(attributes.hostPointer, t.in);
    ok(cudaPointerGetAttributes(&attributes, &local));
    assert_int_equal(attributes.type, cudaMemoryTypeUnregistered);
    void *device = NULL;
    ok(cudaHostGetDevicePointer(&device, t.in, 0));
    assert_ptr_equal(device, t.in);
    size_t unused = 0, total = 0;
    ok(cudaMemGetInfo(&unused, &total));
    assert_true(unused < total);
    check_buffers_free(&t);
}

static void describes_the_device(void **state) {
    (void)state;
    int count = 0, device = -1, value = 0, least = 1, greatest = 1;
    ok(cudaGetDeviceCount(&count));
    assert_true(count > 0);
    ok(cudaGetDevice(&device));
    ok(cudaSetDevice(device));
    assert_int_equal(cudaSetDevice(count), cudaErrorInvalidDevice);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidDevice);
    ok(cudaDeviceGetAttribute(&value, cudaDevAttrUnifiedAddressing, device));
    assert_int_equal(value, 1);
    struct cudaDeviceProp properties;
    ok(cudaGetDeviceProperties(&properties, device));
    assert_true(strlen(properties.name) > 0);
    char bus[16];
    ok(cudaDeviceGetPCIBusId(bus, sizeof bus, device));
    ok(cudaDeviceGetByPCIBusId(&value, bus));
    assert_int_equal(value, device);
    ok(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    assert_true(greatest <= least);
    ok(cudaRuntimeGetVersion(&value));
    assert_true(value >= 12000);
    ok(cudaDriverGetVersion(&value));
    assert_true(value >= 12000);
}

static void streams_have_priorities(void **state) {
    (void)state;
    int least = 0, greatest = 0, priority = 1;
    unsigned flags = 0;
    cudaStream_t stream;
    ok(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    ok(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
    ok(cudaStreamGetPriority(stream, &priority));
    assert_int_equal(priority, greatest);
    ok(cudaStreamGetFlags(stream, &flags));
    assert_int_equal(flags, cudaStreamNonBlocking);
    ok(cudaStreamQuery(stream));
    ok(cudaStreamDestroy(stream));
    assert_int_equal(cudaStreamCreateWithFlags(&stream, 77), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void upper(void *user) {
    *(char *)user = 'X';
}

static void host_functions_run_in_order(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    ok(cudaMemcpyAsync(t.out, t.in, 16, cudaMemcpyHostToHost, t.a));
    ok(cudaLaunchHostFunc(t.a, upper, t.out));
    ok(cudaMemcpyAsync(t.out + 16, t.out, 16, cudaMemcpyHostToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_int_equal(t.out[16], 'X');
    assert_memory_equal(t.in + 1, t.out + 17, 15);
    check_buffers_free(&t);
}

static void host_code_cannot_touch_device_memory(void **state) {
    (void)state;
    char *device = NULL, *host = NULL;
    ok(cudaMalloc((void **)&device, 4096));
    ok(cudaHostAlloc((void **)&host, 4096, 0));
    assert_true(check_deadly(device));
    if (FAKECUDA) /* a driver may hide pinned memory from a child process */
        assert_false(check_deadly(host));
    ok(cudaFreeHost(host));
    ok(cudaFree(device));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(copies_both_ways),
        CHECK(copies_rows),
        CHECK(copies_boxes),
        CHECK(events_order_streams),
        CHECK(events_without_timing_have_no_times),
        CHECK(keeps_the_last_error_until_asked),
        CHECK(knows_its_memory),
        CHECK(describes_the_device),
        CHECK(streams_have_priorities),
        CHECK(host_functions_run_in_order),
        CHECK(host_code_cannot_touch_device_memory),
    };
    if (!needs_device())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
