/* Hidden work of a submit: loading kernels, and calls that allocate or may wait for the device.
 * Only the first transfer by a strategy in a direction does any. */
#include "support/device_fixture.h"
#include "needs.h"

enum { COUNT = 4 };

static const uint64_t some[COUNT] = {1, 3, 4, 9}, others[COUNT] = {20, 11, 12, 30};

typedef struct hidden_work {
    uint64_t loads, heavy;
} hidden_work;

static hidden_work in_submit(const device_fixture *fixture, kvf_cuda_strategy strategy,
                             kvf_cuda_direction direction) {
    kvf_tier *src = direction == KVF_CUDA_TO_DEVICE ? fixture->pinned : fixture->device;
    kvf_tier *dst = direction == KVF_CUDA_FROM_DEVICE ? fixture->pinned : fixture->device;
    const kvf_submit_options how = {.strategy = strategy};
    const hidden_work before = {fakecuda_loads(), fakecuda_heavy_calls()};
    kvf_transfer *t = fixture_submit(src, dst, some, others, COUNT, &how);
    const hidden_work did = {fakecuda_loads() - before.loads,
                             fakecuda_heavy_calls() - before.heavy};
    kvf_cuda_explanation x;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    assert_int_equal(x.chosen, strategy);
    fixture_finish(t, KVF_OK);
    return did;
}

static void expect(kvf_cuda_strategy strategy, kvf_cuda_direction direction, hidden_work first) {
    static const char *const directions[] = {"to the device", "from the device", "on the device"};
    const kvf_cuda_options options = {.lanes = 1, .no_thread = true};
    device_fixture fixture;
    fixture_open(&fixture, &options);
    const hidden_work did = in_submit(&fixture, strategy, direction);
    print_message("%s %s: the first submit loads %d kernels and makes %d heavy calls\n",
                  kvf_cuda_strategy_name(strategy), directions[direction], (int)did.loads,
                  (int)did.heavy);
    assert_int_equal(did.loads, first.loads);
    assert_int_equal(did.heavy, first.heavy);
    for (int i = 0; i < 3; i++) {
        const hidden_work warm = in_submit(&fixture, strategy, direction);
        assert_int_equal(warm.loads, 0);
        assert_int_equal(warm.heavy, 0);
    }
    fixture_close(&fixture);
}

/* A lane's stream is created at its first use. */
static void test_copies(void **state) {
    (void)state;
    for (unsigned d = 0; d < KVF_CUDA_DIRECTIONS; d++) {
        expect(KVF_CUDA_LOOP, (kvf_cuda_direction)d, (hidden_work){.heavy = 1});
        expect(KVF_CUDA_BATCH, (kvf_cuda_direction)d, (hidden_work){.heavy = 1});
    }
}

static void test_kernels(void **state) {
    (void)state;
    for (unsigned d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        expect(KVF_CUDA_KERNEL, (kvf_cuda_direction)d, (hidden_work){.loads = 1, .heavy = 1});
}

/* Two streams and a packing buffer. */
static void test_packing(void **state) {
    (void)state;
    expect(KVF_CUDA_STAGED, KVF_CUDA_TO_DEVICE, (hidden_work){.loads = 1, .heavy = 3});
    expect(KVF_CUDA_STAGED, KVF_CUDA_FROM_DEVICE, (hidden_work){.loads = 1, .heavy = 3});
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_packing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
