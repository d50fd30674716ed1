/* In every scenario each CUDA call fails in turn, once and for ever, with the errors that it may
 * return; so does each operation when it executes, and each allocation. fault_scene.h has what must
 * hold afterwards.
 *
 * An argument selects the scenarios whose names start with it. By default a few calls of each
 * function fail, with three errors each; under sanitizers fewer calls, with one or three errors.
 * With KVF_TEST_SEEDS above 1 all calls fail, with all errors; of the hundreds that create the
 * lanes' events, 64. */
#include "support/fault_scene.h"
#include "needs.h"

#include <stdlib.h>
#include <string.h>

static const scenario scenarios[] = {
    {.name = "loop", .strategy = KVF_CUDA_LOOP, .pairs = 5, .bytes = 512},
    {.name = "loop, by layer, bound, slow",
     .strategy = KVF_CUDA_LOOP,
     .pairs = 5,
     .bytes = 512,
     .by_layer = true,
     .bound = true,
     .slow = true},
    {.name = "loop, in the background, in a row",
     .strategy = KVF_CUDA_LOOP,
     .pairs = 12,
     .bytes = 256,
     .in_a_row = true,
     .background = true},
    {.name = "loop, in the background, cancelled",
     .strategy = KVF_CUDA_LOOP,
     .pairs = 150, /* three windows */
     .bytes = 16,
     .background = true,
     .cancel = true},
    {.name = "loop, with creation and a thread",
     .strategy = KVF_CUDA_LOOP,
     .pairs = 2,
     .bytes = 64,
     .create = true},
    {.name = "batch", .strategy = KVF_CUDA_BATCH, .pairs = 5, .bytes = 512, .slow = true},
    {.name = "batch, by layer, in a row",
     .strategy = KVF_CUDA_BATCH,
     .pairs = 12,
     .bytes = 256,
     .in_a_row = true,
     .by_layer = true},
    {.name = "batch, in the background, bound",
     .strategy = KVF_CUDA_BATCH,
     .pairs = 5,
     .bytes = 512,
     .background = true,
     .bound = true},
    {.name = "batch, left", .strategy = KVF_CUDA_BATCH, .pairs = 5, .bytes = 512, .leave = true},
    {.name = "batch, with a thread",
     .strategy = KVF_CUDA_BATCH,
     .pairs = 5,
     .bytes = 512,
     .background = true,
     .by_layer = true,
     .thread = true},
    {.name = "kernel, bound, slow",
     .strategy = KVF_CUDA_KERNEL,
     .pairs = 5,
     .bytes = 512,
     .bound = true,
     .slow = true},
    {.name = "kernel, by layer, with long lists in its parameters",
     .strategy = KVF_CUDA_KERNEL,
     .pairs = 500,
     .bytes = 16,
     .by_layer = true},
    {.name = "kernel, with lists in the ring",
     .strategy = KVF_CUDA_KERNEL,
     .pairs = 4000,
     .bytes = 4},
    {.name = "kernel, in the background, required",
     .strategy = KVF_CUDA_KERNEL,
     .pairs = 5,
     .bytes = 512,
     .by_layer = true,
     .background = true,
     .required = true},
    {.name = "kernel, in the background, left",
     .strategy = KVF_CUDA_KERNEL,
     .pairs = 5,
     .bytes = 512,
     .background = true,
     .leave = true},
    {.name = "staged", .strategy = KVF_CUDA_STAGED, .pairs = 13, .bytes = 256},
    {.name = "staged, by layer, bound, slow",
     .strategy = KVF_CUDA_STAGED,
     .pairs = 13,
     .bytes = 256,
     .by_layer = true,
     .bound = true,
     .slow = true},
    {.name = "staged, in the background, by layer",
     .strategy = KVF_CUDA_STAGED,
     .pairs = 13,
     .bytes = 256,
     .by_layer = true,
     .background = true},
    {.name = "staged, in the background, required, cancelled",
     .strategy = KVF_CUDA_STAGED,
     .pairs = 13,
     .bytes = 256,
     .background = true,
     .required = true,
     .cancel = true},
    {.name = "staged, left, slow",
     .strategy = KVF_CUDA_STAGED,
     .pairs = 13,
     .bytes = 256,
     .leave = true,
     .slow = true},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static const char *chosen = "";

static bool is_chosen(const scenario *how) {
    return strncmp(how->name, chosen, strlen(chosen)) == 0;
}

/* Errors */

enum { MOST_ERRORS = 8, MOST_ALIKE = 64 };

/* The errors that each function's documentation lists; 0 ends a list. */
static const struct {
    const char *function;
    cudaError_t errors[MOST_ERRORS];
} of_function[] = {
    {"cudaGetDeviceCount", {cudaErrorNoDevice, cudaErrorInsufficientDriver}},
    {"cudaGetDevice", {cudaErrorInvalidValue, cudaErrorDevicesUnavailable}},
    {"cudaSetDevice", {cudaErrorInvalidDevice, cudaErrorDevicesUnavailable}},
    {"cudaDeviceGetAttribute", {cudaErrorInvalidValue, cudaErrorInvalidDevice}},
    {"cudaDriverGetVersion", {cudaErrorInvalidValue}},
    {"cudaDeviceGetStreamPriorityRange", {cudaErrorInvalidValue}},
    {"cudaThreadExchangeStreamCaptureMode", {cudaErrorInvalidValue}},
    {"cudaGetDriverEntryPointByVersion",
     {cudaErrorInvalidValue, cudaErrorNotSupported, cudaErrorSymbolNotFound}},
    {"cudaPointerGetAttributes", {cudaErrorInvalidValue, cudaErrorInvalidDevice}},
    {"cuPointerGetAttribute", {cudaErrorInvalidValue, cudaErrorInvalidDevice}},
    {"cudaMalloc", {cudaErrorMemoryAllocation, cudaErrorInvalidValue, cudaErrorNotSupported}},
    {"cudaHostAlloc", {cudaErrorMemoryAllocation, cudaErrorInvalidValue, cudaErrorNotSupported}},
    {"cudaHostRegister",
     {cudaErrorMemoryAllocation, cudaErrorHostMemoryAlreadyRegistered, cudaErrorNotSupported,
      cudaErrorInvalidValue}},
    {"cudaHostUnregister", {cudaErrorHostMemoryNotRegistered, cudaErrorInvalidValue}},
    {"cudaFree", {cudaErrorInvalidValue}},
    {"cudaFreeHost", {cudaErrorInvalidValue}},
    {"cudaStreamCreateWithPriority", {cudaErrorInvalidValue, cudaErrorMemoryAllocation}},
    {"cudaStreamIsCapturing",
     {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle, cudaErrorStreamCaptureImplicit}},
    {"cudaStreamSynchronize", {cudaErrorInvalidResourceHandle, cudaErrorStreamCaptureUnsupported}},
    {"cudaStreamWaitEvent", {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle}},
    {"cudaStreamDestroy", {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle}},
    {"cudaEventCreateWithFlags", {cudaErrorMemoryAllocation, cudaErrorInvalidValue}},
    {"cudaEventRecord", {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle}},
    {"cudaEventQuery", {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle, cudaErrorNotReady}},
    {"cudaEventDestroy", {cudaErrorInvalidValue, cudaErrorInvalidResourceHandle}},
    {"cudaMemcpyAsync", {cudaErrorInvalidValue, cudaErrorInvalidMemcpyDirection}},
    {"cudaMemcpy2DAsync",
     {cudaErrorInvalidValue, cudaErrorInvalidPitchValue, cudaErrorInvalidMemcpyDirection}},
    {"cudaMemcpy3DAsync",
     {cudaErrorInvalidValue, cudaErrorInvalidPitchValue, cudaErrorInvalidMemcpyDirection}},
    {"cuMemcpyBatchAsync", {cudaErrorInvalidValue, cudaErrorNotSupported}},
    {"cuMemcpy3DBatchAsync", {cudaErrorInvalidValue, cudaErrorNotSupported}},
    {"cudaLaunchKernel",
     {cudaErrorInvalidDeviceFunction, cudaErrorInvalidConfiguration, cudaErrorLaunchOutOfResources,
      cudaErrorNoKernelImageForDevice, cudaErrorUnsupportedPtxVersion}},
};

/* What any call may return: lack of memory, an error of an earlier kernel or of the device, and an
 * unknown error, which need not end the context. Destroyed contexts are left to cuda_device_lost.c:
 * the fake's streams would go on. */
static const cudaError_t of_any[] = {cudaErrorMemoryAllocation,    cudaErrorIllegalAddress,
                                     cudaErrorLaunchFailure,       cudaErrorECCUncorrectable,
                                     cudaErrorLaunchTimeout,       cudaErrorHardwareStackError,
                                     cudaErrorNvlinkUncorrectable, cudaErrorUnknown};
enum { OF_ANY = sizeof of_any / sizeof of_any[0] };

static const cudaError_t *errors_of(const char *function, size_t *count) {
    size_t i = 0;
    while (i < sizeof of_function / sizeof of_function[0] &&
           strcmp(of_function[i].function, function) != 0)
        i++;
    if (i == sizeof of_function / sizeof of_function[0]) {
        print_error("errors[] does not list %s\n", function);
        fail();
    }
    for (*count = 0; *count < MOST_ERRORS && of_function[i].errors[*count]; ++*count)
        continue;
    return of_function[i].errors;
}

/* Sweeps */

static bool is_long(void) {
    return test_seeds(1) > 1;
}

/* Picks `most` of `count` similar ones, the first and the last included. */
static uint64_t sample(uint64_t index, uint64_t count, uint64_t most) {
    return most >= count ? index + 1 : most == 1 ? 1 : 1 + index * (count - 1) / (most - 1);
}

/* Fewer samples where a run takes long. */
static uint64_t samples(const scenario *how, uint64_t count, size_t usual) {
    uint64_t most = is_long() ? MOST_ALIKE : scene_density(how->pairs > 1000 ? usual / 2 : usual);
    return count < most ? count : most;
}

static scene_counts measure(const scenario *how) {
    scene_counts counts;
    scene_run(how, &(fault){0}, &counts);
    return counts;
}

static void run(const scenario *how, const fault *f) {
    scene_counts ignored;
    /* An event that is never ready is not a failure. */
    if (!(f->for_ever && f->error == cudaErrorNotReady))
        scene_run(how, f, &ignored);
}

/* Fails one call: with all its function's errors, or one of them and two of `of_any`. */
static void fail_call(const scenario *how, const char *function, uint64_t nth, bool for_ever) {
    size_t count;
    const cudaError_t *errors = errors_of(function, &count);
    fault f = {.kind = FAULT_CALL, .function = function, .nth = nth, .for_ever = for_ever};
    static size_t turn;
    turn++;
    size_t others = 1 + turn % (OF_ANY - 1);
    for (size_t i = 0; i < count; i++) {
        f.error = errors[i];
        if (is_long() || i == turn % count)
            run(how, &f);
    }
    for (size_t i = 0; i < OF_ANY; i++) {
        f.error = of_any[i];
        if (is_long() || (scene_density(2) > 1 && (i == 0 || i == others)) || i == turn % OF_ANY)
            run(how, &f);
    }
}

/* For calls that create an order it matters which one fails. */
static bool orders(const char *function) {
    return strcmp(function, "cudaEventRecord") == 0 || strcmp(function, "cudaStreamWaitEvent") == 0;
}

static void fail_calls(const scenario *how, bool for_ever) {
    const scene_counts counts = measure(how);
    for (size_t i = 0; i < counts.function_count; i++) {
        const char *function = counts.functions[i].function;
        uint64_t count = counts.functions[i].calls;
        uint64_t most = samples(how, count, orders(function) ? 16 : 3);
        for (uint64_t k = 0; k < most; k++)
            fail_call(how, function, sample(k, count, most), for_ever);
    }
}

static void test_every_call_fails_once(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++)
        if (is_chosen(&scenarios[i]))
            fail_calls(&scenarios[i], false);
}

static void test_every_call_fails_for_ever(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++)
        if (is_chosen(&scenarios[i]))
            fail_calls(&scenarios[i], true);
}

static void fail_operations(const scenario *how) {
    static const cudaError_t ends[] = {cudaErrorIllegalAddress, cudaErrorECCUncorrectable,
                                       cudaErrorLaunchFailure};
    const scene_counts counts = measure(how);
    for (int kind = 0; kind < FAKECUDA_KINDS; kind++) {
        uint64_t count = counts.operations[kind], most = samples(how, count, 8);
        for (uint64_t k = 0; k < most; k++)
            run(how, &(fault){.kind = FAULT_OPERATION,
                              .operation = (fakecuda_kind)kind,
                              .nth = sample(k, count, most),
                              .error = ends[k % 3]});
    }
}

static void test_every_operation_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++)
        if (is_chosen(&scenarios[i]))
            fail_operations(&scenarios[i]);
}

static void fail_allocations(const scenario *how, bool for_ever) {
    uint64_t count = measure(how).allocations, most = samples(how, count, 40);
    assert_true(count > 0);
    for (uint64_t k = 0; k < most; k++)
        run(how, &(fault){.kind = FAULT_ALLOCATION,
                          .nth = sample(k, count, most),
                          .for_ever = for_ever});
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (!is_chosen(&scenarios[i]))
            continue;
        fail_allocations(&scenarios[i], false);
        fail_allocations(&scenarios[i], true);
    }
}

int main(int argc, char **argv) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_operation_fails, scene_tell),
        cmocka_unit_test_teardown(test_every_allocation_fails, scene_tell),
        cmocka_unit_test_teardown(test_every_call_fails_once, scene_tell),
        cmocka_unit_test_teardown(test_every_call_fails_for_ever, scene_tell),
    };
    chosen = argc > 1 ? argv[1] : "";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
