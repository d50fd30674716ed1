/* Calibration on the fake: it completes, measures what it claims to, and fails cleanly. Times on
 * the fake mean nothing. */
#include "support/support.h"

#include <kvferry/cuda.h>

#include "fakecuda.h"
#include "hide.h"
#include "needs.h"
#include "cost/costs.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* Calls of a function past this one are not made to fail. */
#if defined FAKE_ASAN || defined FAKE_TSAN
enum { LATEST = 40 };
#else
enum { LATEST = 600 };
#endif

enum { SCRATCH = 1 << 20, WATCHDOG_S = 120 };

static kvf_status calibrate(const kvf_allocator *allocator, kvf_cuda_costs **out,
                            kvf_error *error) {
    const kvf_cuda_calibrate_options options = {.scratch_bytes = SCRATCH, .allocator = allocator};
    *out = NULL;
    (void)alarm(WATCHDOG_S);
    kvf_status status = kvf_cuda_costs_calibrate(&options, out, error);
    (void)alarm(0);
    assert_true((status == KVF_OK) == (*out != NULL));
    return status;
}

static void test_calibrate(void **state) {
    (void)state;
    kvf_cuda_costs *m;
    kvf_error e = {0};
    test_allocator memory;
    test_allocator_init(&memory);
    test_expect(KVF_OK, calibrate(&memory.allocator, &m, &e), &e);
    assert_true(m->calibrated);
    assert_string_equal(m->key.gpu, "Fake GPU 0");
    assert_int_equal(m->key.driver, CUDART_VERSION);
    assert_int_equal(m->date[10], 'T');
    assert_true(kvf_cuda_costs_noise(m) > 0 && kvf_cuda_costs_noise(m) < 1e3);
    for (kvf_cuda_direction d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        assert_true(m->link[d] > 0);
        for (kvf_cuda_strategy s = KVF_CUDA_LOOP; s <= KVF_CUDA_BATCH; s++) {
            const kvf__cuda_cost *c = &m->cost[d][s];
            assert_in_range(c->piece.count, 10, KVF__CUDA_POINTS);
            assert_int_equal(c->piece.bytes[0], 512);
            assert_int_equal(c->piece.bytes[c->piece.count - 1], 40 << 10);
            assert_in_range(c->row.count, 6, KVF__CUDA_POINTS);
            for (size_t i = 0; i < c->piece.count; i++)
                assert_true(c->piece.ns[i] > 0 && isfinite(c->piece.ns[i]));
        }
    }
    kvf_cuda_costs_destroy(m);
    test_allocator_done(&memory);
    assert_int_equal(fakecuda_reset(), 0);
}

/* Without batched copies in the driver, all strategies but `batch` are measured. */
static void test_without_batch(void **state) {
    (void)state;
    kvf_cuda_costs *m;
    kvf_error e = {0};
    fakecuda_hide_symbol("cuMemcpyBatchAsync");
    test_expect(KVF_OK, calibrate(NULL, &m, &e), &e);
    for (kvf_cuda_direction d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        assert_int_equal(m->cost[d][KVF_CUDA_BATCH].piece.count, 0);
        assert_int_equal(m->cost[d][KVF_CUDA_BATCH].row.count, 0);
        assert_true(m->cost[d][KVF_CUDA_LOOP].piece.count > 0);
    }
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

/* Adds the pieces that `loop` copies in the cells of that size. */
static void count_cell(uint64_t bytes, uint64_t *pieces) {
    uint64_t most = SCRATCH / 6 / bytes, more = SCRATCH / 2 / bytes;
    most = most < 2048 ? most : 2048;
    *pieces += most + most / 8 + most / 64;
    if (bytes == 8 << 10 || bytes == 64 << 10) /* a large cell too */
        *pieces += more;
}

/* Pieces of a cell must not be joined, or its sample would measure something else. The fake's count
 * of copies shows it: each cell is copied four times. */
static void test_copies_are_counted(void **state) {
    (void)state;
    kvf_cuda_costs *m;
    kvf_error e = {0};
    fakecuda_hide_symbol("cuMemcpyBatchAsync");
    test_expect(KVF_OK, calibrate(NULL, &m, &e), &e);
    uint64_t pieces = fakecuda_calls("cudaMemcpyAsync"),
             boxes = fakecuda_calls("cudaMemcpy2DAsync");
    uint64_t cells_pieces = 0, cells_boxes = 0;
    const kvf__cuda_cost *c = &m->cost[KVF_CUDA_TO_DEVICE][KVF_CUDA_LOOP];
    for (size_t i = 0; i < c->piece.count; i++)
        count_cell(c->piece.bytes[i], &cells_pieces);
    for (size_t i = 0; i < c->row.count; i++) {
        uint64_t most = SCRATCH / 6 / c->row.bytes[i];
        most = most < 2048 ? most : 2048;
        cells_boxes += most / 8 + most / 64;
    }
    /* Layers: 16 of 16 blocks; the reference of 10 pieces, twice. Every fallback from another
     * strategy adds one copy of each piece. */
    cells_pieces += 256 + 2 * 10;
    assert_true(pieces >= cells_pieces * 3 * 4);
    assert_true(boxes >= cells_boxes * 3 * 4);
    assert_true(pieces <= cells_pieces * 3 * 8);
    assert_true(boxes <= cells_boxes * 3 * 8);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

static void test_arguments(void **state) {
    (void)state;
    kvf_cuda_costs *m = NULL;
    kvf_error e = {0};
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_calibrate(NULL, NULL, &e), &e);
    kvf_cuda_calibrate_options options = {.scratch_bytes = SCRATCH - 1};
    test_expect(KVF_ERR_INVALID, kvf_cuda_costs_calibrate(&options, &m, &e), &e);
    assert_int_equal(e.expected, SCRATCH);
    options = (kvf_cuda_calibrate_options){.scratch_bytes = SCRATCH, .device = 1};
    test_expect(KVF_ERR_RANGE, kvf_cuda_costs_calibrate(&options, &m, &e), &e);
    options.device = -1;
    test_expect(KVF_ERR_RANGE, kvf_cuda_costs_calibrate(&options, &m, &e), &e);
    const fakecuda_config none = {.no_device = cudaErrorInsufficientDriver};
    fakecuda_configure(&none);
    options.device = 0;
    test_expect(KVF_ERR_UNSUPPORTED, kvf_cuda_costs_calibrate(&options, &m, &e), &e);
    const fakecuda_config small = {.device_bytes = 1 << 19};
    assert_int_equal(fakecuda_reset(), 0);
    fakecuda_configure(&small);
    test_expect(KVF_ERR_NO_MEMORY, kvf_cuda_costs_calibrate(&options, &m, &e), &e);
    assert_null(m);
    fakecuda_configure(NULL);
    assert_int_equal(fakecuda_reset(), 0);
}

static void test_out_of_memory(void **state) {
    (void)state;
    kvf_cuda_costs *m;
    kvf_error e = {0};
    test_allocator memory;
    test_allocator_init(&memory);
    test_expect(KVF_OK, calibrate(&memory.allocator, &m, &e), &e);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
    /* The first allocations and the last; many of those in between are alike. */
    size_t calls = memory.calls;
    for (size_t fail_at = 1; fail_at <= calls; fail_at = fail_at < 24          ? fail_at + 1
                                                         : fail_at < calls / 2 ? 2 * fail_at
                                                         : fail_at < calls     ? calls
                                                                               : calls + 1) {
        test_allocator_init(&memory);
        memory.fail_at = fail_at;
        test_expect(KVF_ERR_NO_MEMORY, calibrate(&memory.allocator, &m, &e), &e);
        test_allocator_done(&memory);
        assert_int_equal(fakecuda_reset(), 0);
    }
}

/* Every function that calibration calls fails, at its first call and at later ones. The error is
 * the runtime's, nothing leaks, and the next calibration works. */
static void test_every_function_fails(void **state) {
    (void)state;
    static const cudaError_t errors[] = {cudaErrorOperatingSystem, cudaErrorMemoryAllocation,
                                         cudaErrorIllegalAddress};
    const char *functions[64];
    uint64_t calls[64] = {0};
    size_t count = 0;
    kvf_cuda_costs *m;
    kvf_error e = {0};
    uint64_t before = fakecuda_calls(NULL);
    test_expect(KVF_OK, calibrate(NULL, &m, &e), &e);
    kvf_cuda_costs_destroy(m);
    for (const char *name; (name = fakecuda_call(before++)) != NULL;) {
        size_t i = 0;
        while (i < count && functions[i] != name)
            i++;
        if (i == count && count < 64)
            functions[count++] = name;
        calls[i < 64 ? i : 63]++;
    }
    assert_in_range(count, 15, 63);
    assert_int_equal(fakecuda_reset(), 0);
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t nth = 1; nth <= calls[i] && nth <= LATEST; nth = nth < 2 ? 2 : nth * 16) {
            cudaError_t error = errors[(i + nth) % 3];
            if (getenv("KVF_TEST_VERBOSE"))
                print_message("%s %lu %d\n", functions[i], (unsigned long)nth, (int)error);
            fakecuda_fail_call(functions[i], nth, error, nth % 2);
            kvf_status status = calibrate(NULL, &m, &e);
            kvf_cuda_costs_destroy(m);
            fakecuda_fail_nothing();
            failed += status != KVF_OK;
            if (status != KVF_OK && status != KVF_ERR_ENGINE && status != KVF_ERR_BROKEN)
                test_expect(KVF_ERR_NO_MEMORY, status, &e);
            assert_int_equal(fakecuda_reset(), 0);
        }
    }
    assert_true(failed > count);
    test_expect(KVF_OK, calibrate(NULL, &m, &e), &e);
    kvf_cuda_costs_destroy(m);
    assert_int_equal(fakecuda_reset(), 0);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calibrate),          cmocka_unit_test(test_without_batch),
        cmocka_unit_test(test_copies_are_counted), cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_out_of_memory),      cmocka_unit_test(test_every_function_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
