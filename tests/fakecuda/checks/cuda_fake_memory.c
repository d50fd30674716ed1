/* Memory of the fake: addresses, limits, and the misuse that it reports. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cuda.h>

#include "check.h"
#include "sample.h"
#include "needs.h"

static void addresses_are_handed_out_once(void **state) {
    (void)state;
    void *first = NULL, *second = NULL;
    ok(cudaMalloc(&first, 1000));
    ok(cudaFree(first));
    ok(cudaMalloc(&second, 1000));
    assert_ptr_not_equal(first, second);
    assert_int_equal((size_t)second % 512, 0);
    assert_int_equal(cudaFree(first), cudaErrorInvalidValue);
    check_violation("no live allocation");
    ok(cudaFree(second));
    ok(cudaFree(NULL));
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void memory_is_limited(void **state) {
    (void)state;
    void *block = NULL, *more = NULL;
    size_t unused = 0, total = 0;
    fakecuda_configure(
        &(fakecuda_config){.device_bytes = 1 << 20, .pinned_bytes = 8192, .register_bytes = 4096});
    ok(cudaMalloc(&block, 1 << 19));
    ok(cudaMemGetInfo(&unused, &total));
    assert_int_equal(total, 1 << 20);
    assert_int_equal(unused, 1 << 19);
    assert_int_equal(cudaMalloc(&more, (1 << 19) + 1), cudaErrorMemoryAllocation);
    ok(cudaFree(block));
    ok(cudaHostAlloc(&block, 4096, 0));
    assert_int_equal(cudaHostAlloc(&more, 4097, 0), cudaErrorMemoryAllocation);
    ok(cudaFreeHost(block));
    char *host = malloc(8192);
    assert_int_equal(cudaHostRegister(host, 8192, 0), cudaErrorMemoryAllocation);
    ok(cudaHostRegister(host, 4096, 0));
    ok(cudaHostUnregister(host));
    free(host);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
}

static void copies_stay_inside_allocations(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    assert_int_equal(cudaMemcpyAsync(t.device + 1, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a),
                     cudaErrorInvalidValue);
    check_violation("crosses the end");
    assert_int_equal(
        cudaMemcpy2DAsync(t.device, 4096, t.in, 4096, 16, 17, cudaMemcpyHostToDevice, t.a),
        cudaErrorInvalidValue);
    check_violation("crosses the end");
    assert_int_equal(cudaMemcpyAsync(t.device, t.in, 16, cudaMemcpyDeviceToHost, t.a),
                     cudaErrorInvalidValue);
    check_violation("the direction does not match");
    char *gone = t.device;
    ok(cudaFree(t.device));
    assert_int_equal(cudaMemcpyAsync(t.out, gone, 16, cudaMemcpyDeviceToHost, t.a),
                     cudaErrorInvalidValue);
    check_violation("in no live allocation");
    ok(cudaMalloc((void **)&t.device, 16));
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void copies_stay_inside_registrations(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    char *host = calloc(3, 4096);
    ok(cudaHostRegister(host, 4096, 0));
    ok(cudaHostRegister(host + 4096, 4096, cudaHostRegisterPortable));
    assert_int_equal(cudaHostRegister(host + 8000, 200, 0), cudaErrorHostMemoryAlreadyRegistered);
    ok(cudaMemcpyAsync(t.device, host, 4096, cudaMemcpyHostToDevice, t.a));
    assert_int_equal(cudaMemcpyAsync(t.device, host + 4000, 200, cudaMemcpyHostToDevice, t.a),
                     cudaErrorInvalidValue);
    check_violation("crosses the end");
    assert_int_equal(cudaMemcpyAsync(host + 8000, t.device, 400, cudaMemcpyDeviceToHost, t.a),
                     cudaErrorInvalidValue);
    check_violation("crosses the end");
    ok(cudaStreamSynchronize(t.a));
    ok(cudaHostUnregister(host));
    assert_int_equal(cudaHostUnregister(host), cudaErrorHostMemoryNotRegistered);
    check_violation("no live allocation or registration");
    assert_int_equal(cudaMemcpyAsync(t.device, host + 4000, 200, cudaMemcpyHostToDevice, t.a),
                     cudaErrorInvalidValue);
    check_violation("starts outside");
    ok(cudaHostUnregister(host + 4096));
    free(host);
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void pageable_memory_is_reported(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    char page[64] = "pageable";
    ok(cudaMemcpyAsync(t.device, page, sizeof page, cudaMemcpyHostToDevice, t.a));
    check_violation("pageable");
    ok(cudaMemcpyAsync(page, t.device, sizeof page, cudaMemcpyDeviceToHost, t.a));
    check_violation("pageable");
    ok(cudaMemcpy(page, t.device, sizeof page, cudaMemcpyDeviceToHost)); /* synchronous anyway */
    assert_string_equal(page, "pageable");
    check_buffers_free(&t);
}

static void freeing_memory_in_use_is_reported(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    fakecuda_delay(FAKECUDA_COPY, 300000);
    ok(cudaMemcpyAsync(t.device, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a));
    ok(cudaFree(t.device));
    check_violation("has not completed uses");
    ok(cudaStreamQuery(t.a)); /* cudaFree has waited */
    ok(cudaMalloc((void **)&t.device, 16));
    check_buffers_free(&t);
}

static void calls_that_may_wait_are_counted(void **state) {
    (void)state;
    check_buffers t;
    cudaEvent_t event;
    ok(cudaEventCreate(&event));
    assert_int_equal(fakecuda_heavy_calls(), 0);
    check_buffers_make(&t); /* two streams, three buffers */
    assert_int_equal(fakecuda_heavy_calls(), 5);
    ok(cudaMemcpyAsync(t.device, t.in, 16, cudaMemcpyHostToDevice, t.a));
    ok(cudaEventRecord(event, t.a));
    ok(cudaStreamWaitEvent(t.b, event, 0));
    (void)cudaEventQuery(event);
    (void)cudaStreamQuery(t.b);
    assert_int_equal(fakecuda_heavy_calls(), 5);
    ok(cudaEventSynchronize(event));
    ok(cudaStreamSynchronize(t.b));
    ok(cudaDeviceSynchronize());
    ok(cudaMemcpy(t.out, t.device, 16, cudaMemcpyDeviceToHost));
    ok(cudaMemset(t.device, 0, 16));
    assert_int_equal(fakecuda_heavy_calls(), 10);
    void *host = malloc(4096);
    ok(cudaHostRegister(host, 4096, 0));
    ok(cudaHostUnregister(host));
    free(host);
    assert_int_equal(fakecuda_heavy_calls(), 12);
    ok(cudaEventDestroy(event));
    check_buffers_free(&t);
    assert_int_equal(fakecuda_heavy_calls(), 17);
}

static void leaks_are_reported(void **state) {
    (void)state;
    void *block = NULL;
    cudaEvent_t event;
    cudaStream_t stream;
    ok(cudaMalloc(&block, 100));
    ok(cudaHostAlloc(&block, 100, 0));
    ok(cudaEventCreate(&event));
    ok(cudaStreamCreate(&stream));
    assert_int_equal(fakecuda_live(), 4);
    assert_int_equal(fakecuda_reset(), 4);
    assert_int_equal(fakecuda_live(), 0);
    assert_int_equal(cudaStreamQuery(stream), cudaErrorInvalidResourceHandle);
    fakecuda_forgive();
}

static void shadows_show_device_memory(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    ok(cudaMemcpyAsync(t.device, t.in, CHECK_BYTES, cudaMemcpyHostToDevice, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(fakecuda_shadow(t.device, CHECK_BYTES), t.in, CHECK_BYTES);
    assert_null(fakecuda_shadow(t.device + 1, CHECK_BYTES));
    assert_null(fakecuda_shadow(t.in, 1));
    check_buffers_free(&t);
}

/* ---- registered memory with different addresses on the device ---- */

static void copy_by_batch(const void *src, void *dst, cudaStream_t stream, cudaError_t expected) {
    struct cudaMemcpyAttributes how = {.srcAccessOrder = cudaMemcpySrcAccessOrderStream};
    void *dsts[] = {dst};
    const void *srcs[] = {src};
    size_t sizes[] = {4096}, firsts[] = {0};
#if CUDART_VERSION >= 13000
    assert_int_equal(cudaMemcpyBatchAsync(dsts, srcs, sizes, 1, &how, firsts, 1, stream), expected);
#else
    size_t failing = 0;
    assert_int_equal(
        cudaMemcpyBatchAsync(dsts, (void **)srcs, sizes, 1, &how, firsts, 1, &failing, stream),
        expected);
#endif
}

static char *map_pages(int sharing) {
    char *host = mmap(NULL, 8192, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(host, MAP_FAILED);
    check_fill(host, 8192, 3);
    return host;
}

static void device_addresses_can_differ(int sharing) {
    check_buffers t;
    check_buffers_make(&t);
    fakecuda_set_attribute(cudaDevAttrCanUseHostPointerForRegisteredMem, 0);
    char *host = map_pages(sharing), *device = NULL;
    ok(cudaHostRegister(host, 8192, cudaHostRegisterMapped));
    assert_true(check_filled(host, 8192, 3));
    ok(cudaHostGetDevicePointer((void **)&device, host + 4096, 0));
    assert_ptr_not_equal(device, host + 4096);
    struct cudaPointerAttributes attributes;
    ok(cudaPointerGetAttributes(&attributes, device));
    assert_ptr_equal(attributes.hostPointer, host + 4096);
    assert_ptr_equal(attributes.devicePointer, device);
    copy_by_batch(host, t.device, t.a, cudaErrorInvalidValue);
    check_violation("a host address");
    copy_by_batch(device, t.device, t.a, cudaSuccess);
    ok(cudaMemcpyAsync(t.out, t.device, 4096, cudaMemcpyDeviceToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.out, host + 4096, 4096);
    sample_pair *pair = (sample_pair *)(void *)t.in;
    *pair = (sample_pair){t.device, device};
    memset(host + 4096, 0, 4096);
    uint32_t count = 1, bytes = 4096;
    void *arguments[] = {&pair, &count, &bytes};
    dim3 one = {1, 1, 1}, many = {32, 1, 1};
    const void *kernel = __extension__(const void *) sample_gather;
    ok(cudaLaunchKernel(kernel, one, many, arguments, 0, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.out, host + 4096, 4096);
    ok(cudaHostUnregister(host));
    assert_int_equal(munmap(host, 8192), 0);
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void device_addresses_can_differ_for_private_memory(void **state) {
    (void)state;
    device_addresses_can_differ(MAP_PRIVATE);
}

static void device_addresses_can_differ_for_shared_memory(void **state) {
    (void)state;
    device_addresses_can_differ(MAP_SHARED);
}

/* ---- ranges of several mappings ---- */

typedef CUresult(CUDAAPI *range_function)(CUdeviceptr *, size_t *, CUdeviceptr);
typedef CUresult(CUDAAPI *attribute_function)(void *, CUpointer_attribute, CUdeviceptr);
typedef CUresult(CUDAAPI *attributes_function)(unsigned, CUpointer_attribute *, void **,
                                               CUdeviceptr);

static void function_of(void *out, const char *symbol) {
    void *found = check_entry(symbol, 12080);
    assert_non_null(found);
    memcpy(out, &found, sizeof found);
}

static void segments_are_several_mappings(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    range_function range;
    attribute_function attribute;
    function_of(&range, "cuMemGetAddressRange");
    function_of(&attribute, "cuPointerGetAttribute");
    const size_t sizes[] = {4096, 8192};
    char *segments = fakecuda_map_segments(16384, sizes, 2);
    CUdeviceptr base = 0, at = (CUdeviceptr)(uintptr_t)(segments + 5000);
    size_t size = 0;
    assert_int_equal(range(&base, &size, at), CUDA_SUCCESS);
    assert_int_equal(base, (CUdeviceptr)(uintptr_t)(segments + 4096));
    assert_int_equal(size, 8192);
    assert_int_equal(attribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at), CUDA_SUCCESS);
    assert_int_equal(base, (CUdeviceptr)(uintptr_t)segments);
    assert_int_equal(attribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, at), CUDA_SUCCESS);
    assert_int_equal(size, 16384);
    ok(cudaMemcpyAsync(segments + 100, t.in, 12000, cudaMemcpyHostToDevice, t.a));
    ok(cudaMemcpyAsync(t.out, segments + 100, 12000, cudaMemcpyDeviceToHost, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.in, t.out, 12000);
    assert_int_equal(cudaMemcpyAsync(t.out, segments + 100, 12200, cudaMemcpyDeviceToHost, t.a),
                     cudaErrorInvalidValue);
    check_violation("crosses the end");
    assert_int_equal(range(&base, &size, at + 8192), CUDA_ERROR_NOT_FOUND);
    fakecuda_unmap_segments(segments);
    check_buffers_free(&t);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void the_driver_knows_attributes(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    attribute_function attribute;
    attributes_function attributes;
    function_of(&attribute, "cuPointerGetAttribute");
    function_of(&attributes, "cuPointerGetAttributes");
    CUmemorytype type = 0;
    int ordinal = -1;
    CUdeviceptr at = (CUdeviceptr)(uintptr_t)(t.device + 7), nowhere = (CUdeviceptr)(uintptr_t)&t;
    CUpointer_attribute asked[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    void *answers[] = {&type, &ordinal};
    assert_int_equal(attributes(2, asked, answers, at), CUDA_SUCCESS);
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    assert_int_equal(ordinal, 0);
    assert_int_equal(attributes(2, asked, answers, nowhere), CUDA_SUCCESS);
    assert_int_equal(type, 0);
    assert_int_equal(attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, nowhere),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(
        attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)(uintptr_t)t.in),
        CUDA_SUCCESS);
    assert_int_equal(type, CU_MEMORYTYPE_HOST);
    check_buffers_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(addresses_are_handed_out_once),
        CHECK(memory_is_limited),
        CHECK(copies_stay_inside_allocations),
        CHECK(copies_stay_inside_registrations),
        CHECK(pageable_memory_is_reported),
        CHECK(freeing_memory_in_use_is_reported),
        CHECK(calls_that_may_wait_are_counted),
        CHECK(leaks_are_reported),
        CHECK(shadows_show_device_memory),
        CHECK(device_addresses_can_differ_for_private_memory),
        CHECK(device_addresses_can_differ_for_shared_memory),
        CHECK(segments_are_several_mappings),
        CHECK(the_driver_knows_attributes),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
