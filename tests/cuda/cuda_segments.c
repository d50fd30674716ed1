/* Pinned memory registered in segments much smaller than real ones: no strategy's copy crosses a
 * segment's end. The sources that use the segment size are compiled into this program with a small
 * one, and replace the library's. */
#include <kvferry/cuda.h>

#undef KVF_CUDA_SEGMENT
#define KVF_CUDA_SEGMENT ((size_t)1 << 13)

#include "copy/batch.c"       // NOLINT(bugprone-suspicious-include)
#include "copy/loop.c"        // NOLINT(bugprone-suspicious-include)
#include "engine/reachable.c" // NOLINT(bugprone-suspicious-include)
#include "copy/staged.c"      // NOLINT(bugprone-suspicious-include)
#include "runtime/limits.c"   // NOLINT(bugprone-suspicious-include)

#include "fakecuda.h"
#include "needs.h"
#include "support/engine_fixture.h"

#include <sys/mman.h>

enum {
    LAYERS = 3,
    BLOCKS = 24,
    BYTES = 4096, /* most bytes of a region in a block */
    WATCHDOG_S = 60,
    USUAL_SEEDS = 40,
};

/* A tier on each side; the host's is registered segment by segment. */
typedef struct fixture {
    kvf_engine *engine;
    kvf_tier *device, *host;
    kvf_layout *near, *far;
    char *memory, *pinned, *mapping;
    size_t bytes, segments;
    size_t layer; /* bytes of a block in it */
} fixture;

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static kvf_tier *make_tier(const fixture *s, const kvf_layout *layout, kvf_memory memory) {
    const kvf_tier_options options = {.layouts = &layout, .layout_count = 1, .memory = memory};
    kvf_tier *tier = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_tier_create(s->engine, &options, &tier, &e), &e);
    return tier;
}

static void make_memory(fixture *s) {
    s->segments = (s->bytes + KVF_CUDA_SEGMENT - 1) / KVF_CUDA_SEGMENT;
    const size_t whole = (s->segments + 1) * KVF_CUDA_SEGMENT;
    s->mapping = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(s->mapping != MAP_FAILED);
    s->pinned = s->mapping + (KVF_CUDA_SEGMENT - (uintptr_t)s->mapping % KVF_CUDA_SEGMENT);
    for (size_t i = 0; i < s->segments; i++)
        cuda_ok(cudaHostRegister(s->pinned + i * KVF_CUDA_SEGMENT, KVF_CUDA_SEGMENT, 0));
    cuda_ok(cudaMalloc((void **)&s->memory, s->bytes));
}

/* On the host whole blocks, layers, or rows with gaps; on the device layers. */
static void open_fixture(fixture *s, test_random *r, const kvf_cuda_options *options) {
    kvf_error e = {0};
    *s = (fixture){.layer = 2 * (1 + test_random_below(r, BYTES / 2))};
    test_expect(KVF_OK, kvf_engine_cuda_create(options, &s->engine, &e), &e);
    const bool gaps = test_random_below(r, 3) == 0;
    const size_t block = LAYERS * s->layer + (gaps ? LAYERS * 64 : 0);
    s->bytes = BLOCKS * block;
    make_memory(s);
    kvf_region near[LAYERS], far[LAYERS];
    const bool by_layer = !gaps && test_random_below(r, 2);
    for (size_t l = 0; l < LAYERS; l++) {
        near[l] = (kvf_region){.base = s->memory + l * BLOCKS * s->layer,
                               .block_stride = s->layer,
                               .bytes = s->layer / (gaps ? 2 : 1),
                               .rows = gaps ? 2 : 1,
                               .row_pitch = s->layer / 2,
                               .layer = (uint32_t)l};
        far[l] = near[l];
        far[l].row_pitch += gaps ? 32 : 0;
        far[l].base = s->pinned + l * (by_layer ? BLOCKS * s->layer : block / LAYERS);
        far[l].block_stride = by_layer ? s->layer : block;
    }
    test_expect(KVF_OK, kvf_layout_create(near, LAYERS, BLOCKS, NULL, &s->near, &e), &e);
    test_expect(KVF_OK, kvf_layout_create(far, LAYERS, BLOCKS, NULL, &s->far, &e), &e);
    s->device = make_tier(s, s->near, KVF_MEMORY_DEVICE);
    s->host = make_tier(s, s->far, KVF_MEMORY_PINNED);
}

static void close_fixture(fixture *s) {
    kvf_tier_destroy(s->device);
    kvf_tier_destroy(s->host);
    kvf_engine_destroy(s->engine);
    kvf_layout_destroy(s->near);
    kvf_layout_destroy(s->far);
    cuda_ok(cudaFree(s->memory));
    for (size_t i = 0; i < s->segments; i++)
        cuda_ok(cudaHostUnregister(s->pinned + i * KVF_CUDA_SEGMENT));
    assert_int_equal(munmap(s->mapping, (s->segments + 1) * KVF_CUDA_SEGMENT), 0);
}

static void move_all(const fixture *s, bool out, const uint64_t *src, const uint64_t *dst,
                     size_t count, kvf_cuda_strategy strategy, bool by_layer) {
    const kvf_plan plan = {.count = count, .src_ids = src, .dst_ids = dst};
    const kvf_submit_options how = {
        .by_layer = by_layer, .background = by_layer, .strategy = (unsigned)strategy};
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    kvf_cuda_explanation x;
    test_expect(KVF_OK,
                kvf_transfer_submit(out ? s->device : s->host, out ? s->host : s->device, &plan, 1,
                                    &how, &t, &e),
                &e);
    test_expect(KVF_OK, kvf_transfer_wait(t, -1, &e), &e);
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    assert_int_equal(x.chosen, strategy);
    kvf_transfer_release(t);
}

/* Offloads blocks and onboards them to other blocks, in runs and in random order. */
static void there_and_back(uint64_t seed, kvf_cuda_strategy strategy) {
    test_random r = test_random_make(seed);
    const kvf_cuda_options options = {.packing_bytes = (size_t)1 << (17 + test_random_below(&r, 3)),
                                      .no_thread = seed % 2};
    uint64_t here[BLOCKS], there[BLOCKS];
    fixture s;
    open_fixture(&s, &r, &options);
    const size_t step = seed % 3 == 0 ? 1 : seed % 3 == 1 ? BLOCKS - 1 : 5;
    for (size_t i = 0; i < BLOCKS; i++) {
        here[i] = i * step % BLOCKS;
        there[i] = i;
        fixture_fill(s.near, here[i], i);
    }
    move_all(&s, true, here, there, BLOCKS, strategy, seed / 2 % 2);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(fixture_holds(s.far, there[i], i));
        fixture_fill(s.far, there[i], i + 100);
    }
    move_all(&s, false, there, here, BLOCKS, strategy, seed / 4 % 2);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_true(fixture_holds(s.near, here[i], i + 100));
    close_fixture(&s);
    if (FAKECUDA && fakecuda_reset() > 0)
        fail_msg("seed %llu, %s", (unsigned long long)seed, kvf_cuda_strategy_name(strategy));
}

static void no_copy_crosses_segments(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(USUAL_SEEDS); seed++)
        for (unsigned k = KVF_CUDA_LOOP; k < KVF_CUDA_STRATEGIES; k++) {
            fixture_watchdog(WATCHDOG_S);
            there_and_back(seed, (kvf_cuda_strategy)k);
        }
    fixture_watchdog(0);
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_copy_crosses_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
