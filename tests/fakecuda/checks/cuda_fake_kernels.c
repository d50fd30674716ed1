/* Kernels on the CPU: compiled from their own source, launched by their function's address. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "sample.h"
#include "needs.h"

#define PAIRS 64u
#define BLOCK 1024u

static const void *gather_kernel(void) {
    return __extension__(const void *) sample_gather;
}

static const void *fill_kernel(void) {
    return __extension__(const void *) sample_fill;
}

static cudaError_t gather(sample_pair *pairs, uint32_t count, uint32_t bytes, cudaStream_t stream) {
    void *arguments[] = {&pairs, &count, &bytes};
    dim3 grid = {16, 1, 1}, block = {64, 1, 1};
    return cudaLaunchKernel(gather_kernel(), grid, block, arguments, 0, stream);
}

/* To the device in reverse, with pairs in device memory; back with pairs in pinned memory. */
static void gather_both_ways(uint64_t shuffle) {
    fakecuda_configure(&(fakecuda_config){.shuffle = shuffle});
    check_buffers t;
    check_buffers_make(&t);
    sample_pair *pairs = NULL, *on_device = NULL;
    ok(cudaHostAlloc((void **)&pairs, PAIRS * sizeof *pairs, 0));
    ok(cudaMalloc((void **)&on_device, PAIRS * sizeof *pairs));
    for (uint32_t i = 0; i < PAIRS; i++)
        pairs[i] = (sample_pair){t.in + i * BLOCK, t.device + (PAIRS - 1 - i) * BLOCK};
    ok(cudaMemcpyAsync(on_device, pairs, PAIRS * sizeof *pairs, cudaMemcpyHostToDevice, t.a));
    ok(gather(on_device, PAIRS, BLOCK, t.a));
    ok(cudaStreamSynchronize(t.a));
    for (uint32_t i = 0; i < PAIRS; i++)
        pairs[i] = (sample_pair){t.device + (PAIRS - 1 - i) * BLOCK, t.out + i * BLOCK};
    ok(gather(pairs, PAIRS, BLOCK, t.a));
    ok(cudaStreamSynchronize(t.a));
    assert_memory_equal(t.in, t.out, CHECK_BYTES);
    ok(cudaFree(on_device));
    ok(cudaFreeHost(pairs));
    check_buffers_free(&t);
}

static void kernels_touch_both_sides(void **state) {
    (void)state;
    gather_both_ways(0);
}

static void threads_can_be_reordered(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= test_seeds(10); seed++) {
        gather_both_ways(seed);
        assert_int_equal(fakecuda_reset(), 0);
    }
}

static void kernels_run_concurrently(void **state) {
    (void)state;
    check_buffers t;
    check_buffers_make(&t);
    uint32_t *second = NULL;
    ok(cudaMalloc((void **)&second, CHECK_BYTES));
    for (uint32_t round = 0; round < 50; round++) {
        uint32_t count = CHECK_BYTES / 4, value = round;
        cudaStream_t streams[] = {t.a, t.b};
        uint32_t *outs[] = {(uint32_t *)(void *)t.device, second};
        for (size_t i = 0; i < 2; i++, value += 1000) {
            void *arguments[] = {&outs[i], &count, &value};
            cudaLaunchConfig_t config = {
                .gridDim = {8, 4, 1}, .blockDim = {64, 8, 1}, .stream = streams[i]};
            ok(cudaLaunchKernelExC(&config, fill_kernel(), arguments));
        }
    }
    ok(cudaMemcpyAsync(t.out, second, CHECK_BYTES, cudaMemcpyDeviceToHost, t.b));
    ok(cudaStreamSynchronize(t.b));
    ok(cudaStreamSynchronize(t.a));
    for (uint32_t i = 0; i < CHECK_BYTES / 4; i++)
        assert_int_equal(((uint32_t *)(void *)t.out)[i], 49 + 1000 + i);
    ok(cudaFree(second));
    check_buffers_free(&t);
}

/* Found by what was written there, or by AddressSanitizer at the access. */
static void writing_past_an_allocation_is_reported(void **state) {
    (void)state;
    uint32_t *device = NULL, count = 25, value = 0;
    void *arguments[] = {&device, &count, &value};
    dim3 one = {1, 1, 1}, block = {32, 1, 1};
    ok(cudaMalloc((void **)&device, 100));
    ok(cudaLaunchKernel(fill_kernel(), one, block, arguments, 0, cudaStreamPerThread));
    ok(cudaDeviceSynchronize());
    assert_false(check_deadly(fakecuda_shadow(device, 100)));
#ifdef FAKE_ASAN
    assert_true(check_deadly((char *)fakecuda_shadow(device, 100) + 100));
    ok(cudaFree(device));
#else
    count = 26;
    ok(cudaLaunchKernel(fill_kernel(), one, block, arguments, 0, cudaStreamPerThread));
    ok(cudaDeviceSynchronize());
    ok(cudaFree(device));
    check_violation("a kernel wrote past the end of the 100 bytes");
#endif
}

static void launches_are_checked(void **state) {
    (void)state;
    uint32_t *device = NULL, count = 0, value = 0;
    void *arguments[] = {&device, &count, &value};
    dim3 none = {0, 1, 1}, one = {1, 1, 1}, large = {1024, 2, 1};
    assert_int_equal(cudaLaunchKernel(fill_kernel(), none, one, arguments, 0, NULL),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(cudaLaunchKernel(fill_kernel(), one, large, arguments, 0, NULL),
                     cudaErrorInvalidConfiguration);
    assert_int_equal(cudaLaunchKernel(&count, one, one, arguments, 0, NULL),
                     cudaErrorInvalidDeviceFunction);
    check_violation("no body");
    fakecuda_fail_operation(FAKECUDA_KERNEL, 1, cudaErrorLaunchFailure);
    ok(cudaLaunchKernel(fill_kernel(), one, one, arguments, 0, NULL));
    assert_int_equal(cudaStreamSynchronize(NULL), cudaErrorLaunchFailure);
}

/* Addresses that a kernel touches. */
typedef struct probe {
    char *live, *freed, *guard;
    bool live_deadly, freed_deadly, guard_deadly;
} probe;

static void probe_addresses(const fakecuda_launch *launch, void **arguments) {
    (void)launch;
    probe *self = *(probe **)arguments[0];
    self->live_deadly = check_deadly(self->live);
    self->freed_deadly = check_deadly(self->freed);
    self->guard_deadly = check_deadly(self->guard);
}

static void kernels_reach_live_memory_only(void **state) {
    (void)state;
    static const char function = 0;
    const size_t size = sizeof(void *);
    probe self, *pointer = &self;
    void *arguments[] = {&pointer};
    dim3 one = {1, 1, 1};
    ok(cudaMalloc((void **)&self.freed, 4096));
    ok(cudaMalloc((void **)&self.live, 4096));
    ok(cudaFree(self.freed));
    self.guard = self.live + 4096;
    fakecuda_kernel(&function, "probe", probe_addresses, &size, 1);
    ok(cudaLaunchKernel(&function, one, one, arguments, 0, cudaStreamPerThread));
    ok(cudaStreamSynchronize(cudaStreamPerThread));
    assert_false(self.live_deadly);
    assert_true(self.freed_deadly);
    assert_true(self.guard_deadly);
    assert_true(check_deadly(self.live)); /* the kernel has ended */
    ok(cudaFree(self.live));
}

static atomic_int begun, ended;

static void slow(const fakecuda_launch *launch, void **arguments) {
    (void)launch;
    (void)arguments;
    atomic_store(&begun, 1);
    usleep(50000);
    atomic_store(&ended, 1);
}

/* A caller that has seen a dead context's error may free or reuse memory. */
static void nothing_runs_after_the_error_of_a_dead_context(void **state) {
    (void)state;
    static const char function = 0;
    const size_t none = 0;
    dim3 one = {1, 1, 1};
    fakecuda_kernel(&function, "slow", slow, &none, 0);
    ok(cudaLaunchKernel(&function, one, one, NULL, 0, NULL));
    while (!atomic_load(&begun))
        usleep(100);
    fakecuda_lose_device(0, cudaErrorLaunchTimeout);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorLaunchTimeout);
    assert_int_equal(atomic_load(&ended), 1);
}

static void nothing(const fakecuda_launch *launch, void **arguments) {
    (void)launch;
    (void)arguments;
}

static void parameters_have_a_limit(void **state) {
    (void)state;
    static const char fits = 0, not = 0;
    const size_t most[] = {32752}, more[] = {32768};
    char *block = calloc(1, 32768);
    void *arguments[] = {block};
    dim3 one = {1, 1, 1};
    fakecuda_kernel(&fits, "fits", nothing, most, 1);
    fakecuda_kernel(&not, "does not fit", nothing, more, 1);
    ok(cudaLaunchKernel(&fits, one, one, arguments, 0, NULL));
    free(block); /* parameters were copied by the call */
    block = calloc(1, 32768);
    arguments[0] = block;
    assert_int_equal(cudaLaunchKernel(&not, one, one, arguments, 0, NULL), cudaErrorInvalidValue);
    ok(cudaDeviceSynchronize());
    free(block);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
}

static void kernels_have_attributes(void **state) {
    (void)state;
    struct cudaFuncAttributes attributes;
    int blocks = 0;
    ok(cudaFuncGetAttributes(&attributes, gather_kernel()));
    assert_int_equal(attributes.maxThreadsPerBlock, 1024);
    ok(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, gather_kernel(), 256, 0));
    assert_int_equal(blocks, 8);
    assert_int_equal(cudaFuncGetAttributes(&attributes, &blocks), cudaErrorInvalidDeviceFunction);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidDeviceFunction);
}

static void launch_on(cudaStream_t stream) {
    uint32_t *nowhere = NULL, count = 0, value = 0;
    void *arguments[] = {&nowhere, &count, &value};
    dim3 one = {1, 1, 1};
    ok(cudaLaunchKernel(fill_kernel(), one, one, arguments, 0, stream));
}

static void a_kernel_is_loaded_by_its_first_launch(void **state) {
    (void)state;
    struct cudaFuncAttributes attributes;
    fakecuda_configure(&(fakecuda_config){.devices = 3});
    launch_on(NULL);
    launch_on(NULL);
    assert_int_equal(fakecuda_loads(), 1);
    ok(gather(NULL, 0, BLOCK, NULL));
    assert_int_equal(fakecuda_loads(), 2);
    ok(cudaSetDevice(1)); /* loads its own */
    launch_on(NULL);
    assert_int_equal(fakecuda_loads(), 3);
    ok(cudaSetDevice(2));
    ok(cudaFuncGetAttributes(&attributes, fill_kernel()));
    launch_on(NULL);
    assert_int_equal(fakecuda_loads(), 3);
    assert_int_equal(fakecuda_reset(), 0);
    assert_int_equal(fakecuda_loads(), 0);
    launch_on(NULL);
    assert_int_equal(fakecuda_loads(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CHECK(kernels_touch_both_sides),
        CHECK(threads_can_be_reordered),
        CHECK(kernels_run_concurrently),
        CHECK(writing_past_an_allocation_is_reported),
        CHECK(kernels_reach_live_memory_only),
        CHECK(launches_are_checked),
        CHECK(nothing_runs_after_the_error_of_a_dead_context),
        CHECK(parameters_have_a_limit),
        CHECK(kernels_have_attributes),
        CHECK(a_kernel_is_loaded_by_its_first_launch),
    };
    if (!needs_fake())
        return NEEDS_SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
