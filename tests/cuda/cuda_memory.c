/* The memory, devices and drivers that the module accepts, and its errors for others. */
#include "support/device_fixture.h"
#include "needs.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 4, BLOCK = 4096, BYTES = BLOCKS * BLOCK };

static kvf_status make_tier(kvf_engine *engine, void *base, kvf_memory memory, kvf_tier **out,
                            kvf_error *e) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 1, .parts = 1, .bytes = BLOCK};
    const kvf_buffer buffer = {base, BYTES};
    kvf_layout *layout;
    test_expect(KVF_OK, kvf_layout_per_layer(&shape, &buffer, KVF_BLOCK_FIRST, &layout, e), e);
    const kvf_layout *layouts[] = {layout};
    const kvf_tier_options options = {.layouts = layouts, .layout_count = 1, .memory = memory};
    kvf_status status = kvf_tier_create(engine, &options, out, e);
    kvf_layout_destroy(layout);
    return status;
}

static void expect_tier(kvf_status expected, kvf_engine *engine, void *base, kvf_memory memory) {
    kvf_tier *tier = NULL;
    kvf_error e = {0};
    test_expect(expected, make_tier(engine, base, memory, &tier, &e), &e);
    if (expected != KVF_OK)
        assert_int_equal(e.index, 0);
    kvf_tier_destroy(tier);
}

static kvf_engine *engine_on(int device) {
    const kvf_cuda_options options = {.device = device};
    kvf_engine *engine = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_engine_cuda_create(&options, &engine, &e), &e);
    return engine;
}

static void done(void) {
    fixture_reset();
}

static void test_pageable_memory_is_refused(void **state) {
    (void)state;
    kvf_engine *engine = engine_on(0);
    char *pageable = malloc(BYTES);
    expect_tier(KVF_ERR_UNSUPPORTED, engine, pageable, KVF_MEMORY_PINNED);
    expect_tier(KVF_ERR_UNSUPPORTED, engine, pageable, KVF_MEMORY_HOST);
    expect_tier(KVF_ERR_INVALID, engine, pageable, KVF_MEMORY_DEVICE);
    free(pageable);
    kvf_engine_destroy(engine);
    done();
}

static void test_kinds_of_memory(void **state) {
    (void)state;
    kvf_engine *engine = engine_on(0);
    char *device, *pinned;
    assert_int_equal(cudaMalloc((void **)&device, BYTES), cudaSuccess);
    assert_int_equal(cudaHostAlloc((void **)&pinned, BYTES, 0), cudaSuccess);
    expect_tier(KVF_OK, engine, device, KVF_MEMORY_DEVICE);
    expect_tier(KVF_OK, engine, pinned, KVF_MEMORY_PINNED);
    expect_tier(KVF_ERR_INVALID, engine, device, KVF_MEMORY_PINNED);
    expect_tier(KVF_ERR_INVALID, engine, pinned, KVF_MEMORY_DEVICE);
    if (FAKECUDA) { /* a driver may place both in one larger mapping */
        expect_tier(KVF_ERR_INVALID, engine, device + BLOCK, KVF_MEMORY_DEVICE);
        expect_tier(KVF_ERR_UNSUPPORTED, engine, pinned + BLOCK, KVF_MEMORY_PINNED);
    }
    kvf_engine_destroy(engine);
    assert_int_equal(cudaFree(device), cudaSuccess);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
    done();
}

static void test_growing_segments(void **state) {
    (void)state;
    fixture_needs_fake();
    const size_t sizes[] = {4096, 8192, 4096}, few[] = {4096, 8192};
    kvf_engine *engine = engine_on(0);
    void *whole = fakecuda_map_segments(BYTES, sizes, 3);
    void *part = fakecuda_map_segments(BYTES, few, 2);
    assert_non_null(whole);
    assert_non_null(part);
    expect_tier(KVF_OK, engine, whole, KVF_MEMORY_DEVICE);
    expect_tier(KVF_ERR_INVALID, engine, part, KVF_MEMORY_DEVICE);
    fakecuda_unmap_segments(whole);
    fakecuda_unmap_segments(part);
    kvf_engine_destroy(engine);
    done();
}

static void test_two_registrations_side_by_side(void **state) {
    (void)state;
    kvf_engine *engine = engine_on(0);
    char *memory = aligned_alloc(4096, BYTES);
    kvf_cuda_pinned *low, *high;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_pinned_adopt(memory, BYTES / 2, 0, NULL, &low, NULL, &e), &e);
    test_expect(KVF_OK,
                kvf_cuda_pinned_adopt(memory + BYTES / 2, BYTES / 2, 0, NULL, &high, NULL, &e), &e);
    expect_tier(KVF_ERR_INVALID, engine, memory, KVF_MEMORY_PINNED);
    kvf_cuda_pinned_destroy(low);
    kvf_cuda_pinned_destroy(high);
    free(memory);
    kvf_engine_destroy(engine);
    done();
}

static void test_pinned_memory(void **state) {
    (void)state;
    test_allocator a;
    test_allocator_init(&a);
    kvf_cuda_pinned_options options = {.bytes = 5 << 20, .threads = 3, .allocator = &a.allocator};
    kvf_cuda_pinned *pinned = NULL, *again = NULL;
    kvf_cuda_pinned_info info = {0};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_pinned_create(&options, &pinned, &info, &e), &e);
    assert_int_equal(info.bytes, 6 << 20);
    assert_int_equal(kvf_cuda_pinned_bytes(pinned), 6 << 20);
    assert_true(info.segments >= 1 && info.segments <= 2);
    assert_int_equal(info.numa_node, -1);
    assert_true(info.page_bytes >= 4096 && info.touch_seconds >= 0);
    char *base = kvf_cuda_pinned_base(pinned);
    memset(base, 1, 6 << 20);
    test_expect(KVF_ERR_INVALID,
                kvf_cuda_pinned_adopt(base, 4096, 0, &a.allocator, &again, NULL, &e), &e);
    assert_null(again);
    test_expect(KVF_ERR_INVALID, kvf_cuda_pinned_adopt(NULL, 1, 0, NULL, &again, NULL, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_pinned_adopt(base, 0, 0, NULL, &again, NULL, &e), &e);
    options.bytes = 0;
    test_expect(KVF_ERR_INVALID, kvf_cuda_pinned_create(&options, &again, NULL, &e), &e);
    options.bytes = SIZE_MAX;
    test_expect(KVF_ERR_NO_MEMORY, kvf_cuda_pinned_create(&options, &again, NULL, &e), &e);
    options.bytes = 1;
    a.fail_at = a.calls + 1;
    test_expect(KVF_ERR_NO_MEMORY, kvf_cuda_pinned_create(&options, &again, NULL, &e), &e);
    kvf_cuda_pinned_destroy(pinned);
    kvf_cuda_pinned_destroy(NULL);
    test_allocator_done(&a);
    done();
}

static void test_memory_that_cannot_be_pinned(void **state) {
    (void)state;
    fixture_needs_fake();
    const fakecuda_config config = {.pinned_bytes = 1 << 20};
    const kvf_cuda_pinned_options options = {.bytes = 4 << 20};
    kvf_cuda_pinned *pinned = NULL;
    kvf_error e = {0};
    fakecuda_configure(&config);
    test_expect(KVF_ERR_NO_MEMORY, kvf_cuda_pinned_create(&options, &pinned, NULL, &e), &e);
    assert_int_equal(e.native_code, cudaErrorMemoryAllocation);
    assert_null(pinned);
    done();
}

static void test_no_device(void **state) {
    (void)state;
    fixture_needs_fake();
    static const cudaError_t codes[] = {cudaErrorNoDevice, cudaErrorInsufficientDriver};
    const kvf_cuda_pinned_options options = {.bytes = 1};
    for (size_t i = 0; i < 2; i++) {
        const fakecuda_config config = {.no_device = codes[i]};
        kvf_engine *engine = NULL;
        kvf_cuda_pinned *pinned = NULL;
        kvf_error e = {0};
        fakecuda_configure(&config);
        test_expect(KVF_ERR_UNSUPPORTED, kvf_engine_cuda_create(NULL, &engine, &e), &e);
        assert_int_equal(e.native_code, codes[i]);
        test_expect(KVF_ERR_UNSUPPORTED, kvf_cuda_pinned_create(&options, &pinned, NULL, &e), &e);
        assert_null(engine);
        assert_null(pinned);
        assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
        done();
    }
}

static void test_old_driver(void **state) {
    (void)state;
    fixture_needs_fake();
    kvf_cuda_options options = {.strategy = KVF_CUDA_BATCH};
    kvf_engine *engine = NULL;
    kvf_error e = {0};
    static const uint64_t ids[] = {0, 2, 5};
    device_fixture fixture;
    fakecuda_hide_symbol("cuMemcpyBatchAsync");
    test_expect(KVF_ERR_UNSUPPORTED, kvf_engine_cuda_create(&options, &engine, &e), &e);
    options.strategy = KVF_CUDA_AUTO;
    fixture_open(&fixture, &options);
    for (unsigned i = 0; i < 3; i++)
        fixture_fill_device(&fixture, ids[i], i);
    fixture_finish(fixture_submit(fixture.device, fixture.pinned, ids, ids, 3, NULL), KVF_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_true(fixture_host_is(&fixture, ids[i], i));
    assert_int_equal(fakecuda_calls("cuMemcpyBatchAsync"), 0);
    fixture_close(&fixture);
}

static void expect_device(int expected) {
    int device = -1;
    assert_int_equal(cudaGetDevice(&device), cudaSuccess);
    assert_int_equal(device, expected);
}

static void test_several_devices(void **state) {
    (void)state;
    fixture_needs_fake();
    const fakecuda_config config = {.devices = 3};
    static const uint64_t from[] = {0, 1}, to[] = {2, 3};
    kvf_tier *tier, *other;
    kvf_error e = {0};
    void *memory[2];
    fakecuda_configure(&config);
    for (int d = 0; d < 2; d++) {
        assert_int_equal(cudaSetDevice(d), cudaSuccess);
        assert_int_equal(cudaMalloc(&memory[d], BYTES), cudaSuccess);
    }
    assert_int_equal(cudaSetDevice(2), cudaSuccess);
    kvf_engine *zero = engine_on(0), *one = engine_on(1);
    expect_device(2);
    expect_tier(KVF_ERR_INVALID, zero, memory[1], KVF_MEMORY_DEVICE);
    expect_tier(KVF_ERR_INVALID, one, memory[0], KVF_MEMORY_DEVICE);
    test_expect(KVF_OK, make_tier(zero, memory[0], KVF_MEMORY_DEVICE, &other, &e), &e);
    test_expect(KVF_OK, make_tier(one, memory[1], KVF_MEMORY_DEVICE, &tier, &e), &e);
    expect_device(2);
    fixture_finish(fixture_submit(tier, tier, from, to, 2, NULL), KVF_OK);
    fixture_finish(fixture_submit(other, other, from, to, 2, NULL), KVF_OK);
    expect_device(2);
    kvf_engine_destroy(one);
    kvf_tier_destroy(tier);
    kvf_tier_destroy(other);
    kvf_engine_destroy(zero);
    expect_device(2);
    for (int d = 0; d < 2; d++)
        assert_int_equal(cudaFree(memory[d]), cudaSuccess);
    kvf_engine *engine = NULL;
    const kvf_cuda_options past = {.device = 3}, below = {.device = -1};
    test_expect(KVF_ERR_RANGE, kvf_engine_cuda_create(&past, &engine, &e), &e);
    test_expect(KVF_ERR_RANGE, kvf_engine_cuda_create(&below, &engine, &e), &e);
    done();
}

/* A tier outlives its engine; its slots then have no streams to be ordered in. */
static void test_slots_of_a_destroyed_engine(void **state) {
    (void)state;
    static const uint64_t ids[] = {1};
    kvf_engine *engine = engine_on(0);
    kvf_tier *tier;
    kvf_error e = {0};
    void *memory;
    cudaEvent_t event;
    assert_int_equal(cudaMalloc(&memory, BYTES), cudaSuccess);
    assert_int_equal(cudaEventCreate(&event), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, NULL), cudaSuccess);
    test_expect(KVF_OK, make_tier(engine, memory, KVF_MEMORY_DEVICE, &tier, &e), &e);
    test_expect(KVF_OK, kvf_cuda_mark_slots(tier, ids, 1, true, event, &e), &e);
    kvf_engine_destroy(engine);
    test_expect(KVF_ERR_BROKEN, kvf_cuda_mark_slots(tier, ids, 1, true, event, &e), &e);
    test_expect(KVF_ERR_BROKEN, kvf_cuda_wait_slots(tier, ids, 1, true, NULL, &e), &e);
    test_expect(KVF_OK, kvf_tier_idle(tier, ids, 1, &e), &e);
    kvf_tier_destroy(tier);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaFree(memory), cudaSuccess);
    done();
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pageable_memory_is_refused),
        cmocka_unit_test(test_kinds_of_memory),
        cmocka_unit_test(test_growing_segments),
        cmocka_unit_test(test_two_registrations_side_by_side),
        cmocka_unit_test(test_pinned_memory),
        cmocka_unit_test(test_memory_that_cannot_be_pinned),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_old_driver),
        cmocka_unit_test(test_several_devices),
        cmocka_unit_test(test_slots_of_a_destroyed_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
