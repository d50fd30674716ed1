/* Every CUDA call of a scenario fails in turn, once and for ever. Afterwards nothing is stuck, left
 * or misused, and the next transfer works or is refused. */
#include "device_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAIRS = 4, WATCHDOG_S = 60, PROBE_TAG = 90, EVERY = 307 };

static const uint64_t first[PAIRS] = {3, 9, 4, 5}, middle[PAIRS] = {0, 1, 2, 3};
static const uint64_t second[PAIRS] = {20, 21, 23, 22}, third[PAIRS] = {28, 30, 29, 31};

typedef struct scenario {
    kvf_cuda_strategy strategy;
    bool by_group;
} scenario;

typedef struct fault {
    const char *function; /* NULL: any call */
    uint64_t nth;         /* call or, with `copy`, copy; 0: no fault */
    cudaError_t error;
    bool for_ever, copy;
} fault;

typedef struct scene {
    device_rig rig;
    char *mapping; /* adopted */
    kvf_cuda_pinned *adopted;
    kvf_tier *other;
    cudaStream_t compute;
    cudaEvent_t ready;
    bool all_well;
} scene;

/* What a call says when the runtime fails below it. */
static void expect_clear(scene *s, kvf_status status, const kvf_error *error) {
    if (status == KVF_OK)
        return;
    s->all_well = false;
    if (status == KVF_ERR_ENGINE || status == KVF_ERR_BROKEN || status == KVF_ERR_NO_MEMORY ||
        status == KVF_ERR_INVALID)
        assert_int_equal(error->status, status);
    else
        test_expect(KVF_OK, status, error);
}

/* How a transfer may end. */
static void expect_end(scene *s, kvf_transfer *t) {
    kvf_error e = {0};
    if (!t)
        return;
    kvf_status status = kvf_transfer_wait(t, 20 * 1000 * 1000, &e);
    if (status != KVF_ERR_ENGINE && status != KVF_ERR_BROKEN && status != KVF_ERR_NO_MEMORY)
        test_expect(KVF_OK, status, &e);
    s->all_well = s->all_well && status == KVF_OK;
    kvf_transfer_release(t);
}

static void set_up(scene *s) {
    *s = (scene){.all_well = true};
    assert_int_equal(cudaStreamCreateWithFlags(&s->compute, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&s->ready, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventRecord(s->ready, s->compute), cudaSuccess);
    for (size_t l = 0; l < RIG_LAYERS; l++)
        assert_int_equal(cudaMalloc(&s->rig.layers[l], (size_t)RIG_BLOCKS * 2 * RIG_BYTES),
                         cudaSuccess);
    s->mapping = aligned_alloc(4096, (size_t)RIG_BLOCKS * RIG_BLOCK);
    assert_non_null(s->mapping);
    for (unsigned i = 0; i < PAIRS; i++)
        rig_fill_device(&s->rig, first[i], i + 1);
    rig_fill_device(&s->rig, 15, PROBE_TAG);
}

static void make_tiers(scene *s) {
    const kvf_shape shape = {
        .blocks = RIG_BLOCKS, .layers = RIG_LAYERS, .parts = 2, .bytes = RIG_BYTES};
    const size_t bytes = (size_t)RIG_BLOCKS * RIG_BLOCK;
    char *memory[] = {s->rig.host, s->mapping};
    kvf_tier **tiers[] = {&s->rig.pinned, &s->other};
    kvf_buffer buffers[RIG_LAYERS];
    kvf_layout *near, *far;
    kvf_error e = {0};
    for (size_t l = 0; l < RIG_LAYERS; l++)
        buffers[l] = (kvf_buffer){s->rig.layers[l], bytes / RIG_LAYERS};
    test_expect(KVF_OK, kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &near, &e), &e);
    const kvf_layout *layout = near;
    const kvf_tier_options device = {
        .layouts = &layout, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    expect_clear(s, kvf_tier_create(s->rig.engine, &device, &s->rig.device, &e), &e);
    for (size_t i = 0; i < 2; i++) {
        test_expect(KVF_OK,
                    kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, RIG_BLOCKS,
                                         (kvf_buffer){memory[i], bytes}, NULL, &far, &e),
                    &e);
        layout = far;
        const kvf_tier_options host = {
            .layouts = &layout, .layout_count = 1, .memory = KVF_MEMORY_PINNED};
        expect_clear(s, kvf_tier_create(s->rig.engine, &host, tiers[i], &e), &e);
        kvf_layout_destroy(far);
    }
    kvf_layout_destroy(near);
}

static void create(scene *s, const scenario *how) {
    const kvf_cuda_options options = {.strategy = how->strategy, .lanes = 1};
    const kvf_cuda_pinned_options pinned = {.bytes = (size_t)RIG_BLOCKS * RIG_BLOCK, .threads = 1};
    kvf_error e = {0};
    expect_clear(s, kvf_engine_cuda_create(&options, &s->rig.engine, &e), &e);
    expect_clear(s, kvf_cuda_pinned_create(&pinned, &s->rig.memory, NULL, &e), &e);
    expect_clear(s, kvf_cuda_pinned_adopt(s->mapping, pinned.bytes, 0, NULL, &s->adopted, NULL, &e),
                 &e);
    if (!s->rig.engine || !s->rig.memory || !s->adopted)
        return;
    s->rig.host = kvf_cuda_pinned_base(s->rig.memory);
    make_tiers(s);
}

static kvf_transfer *submit(scene *s, kvf_tier *src, kvf_tier *dst, const uint64_t *from,
                            const uint64_t *to, bool by_group) {
    const kvf_plan plan = {.count = PAIRS, .src_ids = from, .dst_ids = to};
    const kvf_submit_options options = {
        .by_group = by_group, .events = (void *[]){s->ready}, .event_count = 1};
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    if (src && dst)
        expect_clear(s, kvf_transfer_submit(src, dst, &plan, 1, &options, &t, &e), &e);
    return t;
}

static void work(scene *s, const scenario *how) {
    device_rig *r = &s->rig;
    kvf_error e = {0};
    if (r->device)
        expect_clear(s, kvf_cuda_mark_slots(r->device, first, PAIRS, true, s->ready, &e), &e);
    kvf_transfer *off = submit(s, r->device, r->pinned, first, middle, how->by_group);
    kvf_transfer *on = submit(s, r->pinned, r->device, middle, second, how->by_group);
    for (uint32_t g = 0; on && g < RIG_LAYERS; g++)
        expect_clear(s, kvf_cuda_wait_group(on, g, s->compute, &e), &e);
    if (r->device) {
        expect_clear(s, kvf_cuda_wait_slots(r->device, second, PAIRS, false, s->compute, &e), &e);
        expect_clear(s, kvf_cuda_mark_slots(r->device, second, PAIRS, false, s->ready, &e), &e);
    }
    kvf_transfer *move = submit(s, r->device, r->device, second, third, how->by_group);
    kvf_transfer *out = submit(s, r->device, s->other, third, middle, how->by_group);
    expect_end(s, out);
    expect_end(s, move);
    expect_end(s, off);
    expect_end(s, on);
}

static void expect_content(const scene *s) {
    for (unsigned i = 0; i < PAIRS; i++) {
        assert_true(rig_host_is(&s->rig, middle[i], i + 1));
        assert_true(rig_device_is(&s->rig, second[i], i + 1));
        assert_true(rig_device_is(&s->rig, third[i], i + 1));
    }
}

/* The faults are over: the engine works, or says at once that it never will. */
static void probe(scene *s, const fault *f) {
    static const uint64_t from[] = {15}, to[] = {10};
    const kvf_plan plan = {.count = 1, .src_ids = from, .dst_ids = to};
    bool dead = cudaDeviceSynchronize() != cudaSuccess;
    assert_true(cudaStreamSynchronize(s->compute) == cudaSuccess || dead);
    for (int i = 0; i < 2 && s->rig.device && s->rig.pinned; i++) {
        kvf_transfer *t = NULL;
        kvf_error e = {0};
        kvf_status status =
            kvf_transfer_submit(s->rig.device, s->rig.pinned, &plan, 1, NULL, &t, &e);
        if (status == KVF_OK) {
            status = kvf_transfer_wait(t, 20 * 1000 * 1000, &e);
            kvf_transfer_release(t);
        } else {
            assert_null(t);
        }
        if (dead || (f->for_ever && status != KVF_OK))
            test_expect(KVF_ERR_BROKEN, status, &e);
        else
            test_expect(KVF_OK, status, &e);
        if (status == KVF_OK)
            assert_true(rig_host_is(&s->rig, 10, PROBE_TAG));
    }
}

static void tear_down(scene *s, bool engine_first) {
    if (engine_first)
        kvf_engine_destroy(s->rig.engine);
    kvf_tier_destroy(s->rig.device);
    kvf_tier_destroy(s->rig.pinned);
    kvf_tier_destroy(s->other);
    if (!engine_first)
        kvf_engine_destroy(s->rig.engine);
    kvf_cuda_pinned_destroy(s->rig.memory);
    kvf_cuda_pinned_destroy(s->adopted);
    s->rig.engine = NULL;
}

/* Returns how many calls it took, and how many copies. */
static uint64_t run_with(const scenario *how, const fault *f, uint64_t *copies) {
    scene s;
    (void)alarm(WATCHDOG_S);
    set_up(&s);
    uint64_t before = fakecuda_calls(NULL);
    if (f->nth > 0 && f->copy)
        fakecuda_fail_operation(FAKECUDA_COPY, f->nth, f->error);
    else if (f->nth > 0)
        fakecuda_fail_call(f->function, f->nth, f->error, f->for_ever);
    create(&s, how);
    work(&s, how);
    if (s.all_well && cudaPeekAtLastError() == cudaSuccess)
        expect_content(&s);
    bool destroyed_failing = f->nth % 2 == 0; /* destroys under faults too */
    if (!destroyed_failing) {
        fakecuda_fail_nothing();
        probe(&s, f);
    }
    tear_down(&s, f->nth % 3 == 0);
    uint64_t calls = fakecuda_calls(NULL) - before;
    *copies = fakecuda_operations(FAKECUDA_COPY);
    fakecuda_fail_nothing();
    for (size_t l = 0; l < RIG_LAYERS; l++)
        (void)cudaFree(s.rig.layers[l]);
    (void)cudaEventDestroy(s.ready);
    (void)cudaStreamDestroy(s.compute);
    size_t violations = fakecuda_reset();
    if (violations > 0)
        print_error("%s call %lu error %d%s: %zu violations\n", f->copy ? "copy" : "call",
                    (unsigned long)f->nth, (int)f->error, f->for_ever ? " for ever" : "",
                    violations);
    assert_int_equal(violations, 0);
    free(s.mapping);
    (void)alarm(0);
    return calls;
}

static const scenario scenarios[] = {
    {KVF_CUDA_LOOP, false},
    {KVF_CUDA_BATCH, false},
    {KVF_CUDA_LOOP, true},
    {KVF_CUDA_BATCH, true},
};
enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

static const cudaError_t errors[] = {cudaErrorInvalidValue, cudaErrorMemoryAllocation,
                                     cudaErrorIllegalAddress};
enum { ERRORS = sizeof errors / sizeof errors[0] };

/* The calls worth failing: not each of the many alike. */
static size_t list_calls(const scenario *how, uint64_t *list, size_t capacity) {
    scene s;
    size_t count = 0;
    set_up(&s);
    uint64_t before = fakecuda_calls(NULL);
    create(&s, how);
    work(&s, how);
    tear_down(&s, false);
    uint64_t calls = fakecuda_calls(NULL) - before;
    for (uint64_t k = 0; k < calls; k++) {
        const char *name = fakecuda_call(before + k), *next = fakecuda_call(before + k + 1);
        const char *last = k > 0 ? fakecuda_call(before + k - 1) : NULL;
        bool alike = name == next && name == last && k > 8;
        if ((!alike || k % EVERY == 0) && count < capacity)
            list[count++] = k + 1;
    }
    for (size_t l = 0; l < RIG_LAYERS; l++)
        (void)cudaFree(s.rig.layers[l]);
    (void)cudaEventDestroy(s.ready);
    (void)cudaStreamDestroy(s.compute);
    assert_int_equal(fakecuda_reset(), 0);
    free(s.mapping);
    assert_true(count > 50 && count < capacity);
    return count;
}

static void sweep(const scenario *how, bool for_ever) {
    static uint64_t calls[4096];
    size_t count = list_calls(how, calls, sizeof calls / sizeof calls[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t e = 0; e < ERRORS; e++) {
            uint64_t copies;
            const fault f = {.nth = calls[i], .error = errors[e], .for_ever = for_ever};
            if (getenv("KVF_TEST_VERBOSE"))
                print_message("%d/%d call %lu error %d for ever %d\n", (int)how->strategy,
                              how->by_group, (unsigned long)f.nth, (int)f.error, for_ever);
            run_with(how, &f, &copies);
        }
    }
}

static void test_every_call_fails_once(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++)
        sweep(&scenarios[i], false);
}

static void test_every_call_fails_for_ever(void **state) {
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++)
        sweep(&scenarios[i], true);
}

static void test_every_copy_fails(void **state) {
    (void)state;
    static const cudaError_t ends[] = {cudaErrorIllegalAddress, cudaErrorECCUncorrectable};
    for (size_t i = 0; i < SCENARIOS; i++) {
        uint64_t copies = 0, ignored;
        run_with(&scenarios[i], &(fault){0}, &copies);
        assert_true(copies > 0);
        for (uint64_t k = 1; k <= copies; k++) {
            const fault f = {.nth = k, .error = ends[k % 2], .copy = true};
            run_with(&scenarios[i], &f, &ignored);
        }
    }
}

/* A function that never works again, though the others do. */
static void test_every_function_fails_for_ever(void **state) {
    (void)state;
    static const char *const functions[] = {
        "cudaEventQuery",        "cudaEventRecord",    "cudaStreamWaitEvent",
        "cudaStreamSynchronize", "cudaMemcpyAsync",    "cudaSetDevice",
        "cudaGetDevice",         "cuMemcpyBatchAsync", "cudaStreamIsCapturing"};
    for (size_t i = 0; i < SCENARIOS; i++) {
        for (size_t k = 0; k < sizeof functions / sizeof functions[0]; k++) {
            for (uint64_t nth = 1; nth < 12; nth++) {
                uint64_t ignored;
                const fault f = {.function = functions[k],
                                 .nth = nth,
                                 .error = cudaErrorInvalidValue,
                                 .for_ever = true};
                if (getenv("KVF_TEST_VERBOSE"))
                    print_message("%s %lu\n", f.function, (unsigned long)nth);
                run_with(&scenarios[i], &f, &ignored);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_copy_fails),
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_every_function_fails_for_ever),
        cmocka_unit_test(test_every_call_fails_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
