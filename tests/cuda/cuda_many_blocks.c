/* Random schedules of transfers of many small blocks: lists go through the upload ring, packing
 * takes dozens of chunks, background work several windows, and some is cancelled half-way. Contents
 * are compared with an oracle that makes one transfer after the other. */
#include "support/device_fixture.h"

#include "hide.h"
#include "needs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCKS = 1 << 15,
    LAYERS = 2,
    WORDS = 20, /* of 8 bytes; of one layer of a block: 10 MiB in all, three windows */
    BYTES = WORDS * 8,
    STEPS = 30,
    MOST_STREAMS = 64,
    PATIENCE_US = 60 * 1000 * 1000,
};

typedef struct content {
    uint32_t stamp; /* what fills its words */
    bool unknown;   /* what fills it was cancelled */
} content;

typedef struct schedule {
    test_random random;
    kvf_engine *engine;
    kvf_tier *tiers[2]; /* device, pinned */
    void *layers[LAYERS];
    uint64_t *host;                    /* [block][layer][word] */
    content contents[2][BLOCKS];       /* the oracle */
    uint64_t from[BLOCKS], to[BLOCKS]; /* permutations */
    kvf_transfer *transfers[STEPS];
    size_t transfer_count;
    bool held;
} schedule;

static uint64_t below(schedule *s, uint64_t bound) {
    return test_random_below(&s->random, bound);
}

static void ok(kvf_status status, const kvf_error *error) {
    test_expect(KVF_OK, status, error);
}

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static void make_tiers(schedule *s) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = LAYERS, .parts = 1, .bytes = BYTES};
    const size_t bytes = (size_t)BLOCKS * BYTES;
    kvf_buffer buffers[LAYERS];
    kvf_layout *layouts[2];
    kvf_error e = {0};
    for (size_t l = 0; l < LAYERS; l++) {
        cuda_ok(cudaMalloc(&s->layers[l], bytes));
        cuda_ok(cudaMemset(s->layers[l], 0, bytes));
        buffers[l] = (kvf_buffer){s->layers[l], bytes};
    }
    cuda_ok(cudaHostAlloc((void **)&s->host, LAYERS * bytes, 0));
    ok(kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &layouts[0], &e), &e);
    ok(kvf_layout_contiguous(&shape, (kvf_buffer){s->host, LAYERS * bytes}, &layouts[1], &e), &e);
    for (size_t i = 0; i < 2; i++) {
        const kvf_layout *layout = layouts[i];
        const kvf_tier_options options = {.layouts = &layout,
                                          .layout_count = 1,
                                          .memory = i ? KVF_MEMORY_PINNED : KVF_MEMORY_DEVICE};
        ok(kvf_tier_create(s->engine, &options, &s->tiers[i], &e), &e);
        kvf_layout_destroy(layouts[i]);
    }
}

static schedule *open_schedule(const kvf_cuda_options *options, uint64_t seed) {
    schedule *s = calloc(1, sizeof *s);
    /* Unlimited queues: the thread that fills a held stream is the one that releases it. */
    const fakecuda_config config = {
        .shuffle = seed % 2 ? seed : 0, .any_early = true, .queue_entries = SIZE_MAX};
    kvf_error e = {0};
    assert_non_null(s);
    s->random = test_random_make(seed + 1000);
    if (FAKECUDA) {
        fakecuda_configure(&config);
        fakecuda_set_attribute(cudaDevAttrMultiProcessorCount, 2); /* the fake's kernels are slow */
    }
    ok(kvf_engine_cuda_create(options, &s->engine, &e), &e);
    make_tiers(s);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        s->from[i] = s->to[i] = i;
        s->contents[1][i].stamp = i + 1;
        for (size_t w = 0; w < (size_t)LAYERS * WORDS; w++)
            s->host[i * LAYERS * WORDS + w] = i + 1;
    }
    cuda_ok(cudaDeviceSynchronize());
    return s;
}

/* Puts random ids first. */
static void shuffle(schedule *s, uint64_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t k = i + below(s, BLOCKS - i);
        uint64_t swapped = ids[i];
        ids[i] = ids[k];
        ids[k] = swapped;
    }
}

static void hold_or_release(schedule *s) {
    cudaStream_t all[MOST_STREAMS];
    size_t count = FAKECUDA ? fakecuda_streams(all, MOST_STREAMS) : 0;
    s->held = !s->held;
    for (size_t i = 0; i < count; i++)
        if (s->held && below(s, 3) > 0)
            fakecuda_hold(all[i]);
        else
            fakecuda_release(all[i]);
}

static void transfer(schedule *s) {
    static const size_t sizes[] = {600, 3000, 20000};
    const unsigned src = (unsigned)below(s, 2);
    const size_t count = sizes[below(s, 3)];
    shuffle(s, s->from, count);
    shuffle(s, s->to, count);
    const kvf_submit_options how = {
        .by_layer = below(s, 2) == 1,
        .background = below(s, 2) == 1,
        .strategy = KVF_CUDA_BATCH + (unsigned)below(s, 3) - (count == 600 && below(s, 2) == 1),
    };
    const kvf_plan plan = {.count = count, .src_ids = s->from, .dst_ids = s->to};
    kvf_transfer **t = &s->transfers[s->transfer_count++];
    kvf_error e = {0};
    ok(kvf_transfer_submit(s->tiers[src], s->tiers[1 - src], &plan, 1, &how, t, &e), &e);
    bool cancel = how.background && below(s, 5) == 0;
    for (size_t i = 0; i < count; i++) {
        content *to = &s->contents[1 - src][s->to[i]];
        *to = s->contents[src][s->from[i]];
        to->unknown |= cancel;
    }
    if (cancel && below(s, 2) == 0)
        kvf_engine_progress(s->engine);
    if (cancel)
        kvf_transfer_cancel(*t);
}

static void step(schedule *s) {
    switch (below(s, 8)) {
    case 0:
        hold_or_release(s);
        break;
    case 1:
        kvf_engine_progress(s->engine);
        break;
    default:
        transfer(s);
        break;
    }
}

static void expect_layer(const content *contents, const uint64_t *words, size_t blocks_apart) {
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t w = 0; w < WORDS && !contents[b].unknown; w++)
            if (words[b * blocks_apart + w] != contents[b].stamp)
                assert_int_equal(words[b * blocks_apart + w], contents[b].stamp);
}

static void finish(schedule *s) {
    const size_t bytes = (size_t)BLOCKS * BYTES;
    uint64_t *copy = malloc(bytes);
    assert_non_null(copy);
    if (s->held)
        hold_or_release(s);
    for (size_t i = 0; i < s->transfer_count; i++) {
        kvf_error e = {0};
        kvf_status status = kvf_transfer_wait(s->transfers[i], PATIENCE_US, &e);
        if (status != KVF_ERR_CANCELLED)
            ok(status, &e);
        kvf_transfer_release(s->transfers[i]);
    }
    for (size_t l = 0; l < LAYERS; l++) {
        expect_layer(s->contents[1], s->host + l * WORDS, (size_t)LAYERS * WORDS);
        cuda_ok(cudaMemcpy(copy, s->layers[l], bytes, cudaMemcpyDeviceToHost));
        expect_layer(s->contents[0], copy, WORDS);
    }
    free(copy);
}

static void close_schedule(schedule *s) {
    kvf_tier_destroy(s->tiers[0]);
    kvf_tier_destroy(s->tiers[1]);
    kvf_engine_destroy(s->engine);
    for (size_t l = 0; l < LAYERS; l++)
        cuda_ok(cudaFree(s->layers[l]));
    cuda_ok(cudaFreeHost(s->host));
    if (FAKECUDA)
        assert_int_equal(fakecuda_reset(), 0);
    free(s);
}

static uint64_t usual_seeds(void) {
#if defined FAKE_ASAN || defined FAKE_TSAN
    return 2;
#else
    return 6;
#endif
}

static void test_random_schedules(void **state) {
    (void)state;
    uint64_t seeds = test_seeds(usual_seeds());
    for (uint64_t seed = 0; seed < seeds; seed++) {
        const kvf_cuda_options options = {.lanes = 1 + (unsigned)(seed % 2),
                                          .no_thread = seed / 2 % 2 == 1,
                                          .ctas = 2,
                                          .packing_bytes = (size_t)1 << 20,
                                          .packing_limit = (size_t)2 << 20};
        (void)alarm(120);
        schedule *s = open_schedule(&options, seed);
        for (size_t i = 0; i < STEPS; i++)
            step(s);
        finish(s);
        close_schedule(s);
    }
    (void)alarm(0);
}

/* Cancels a transfer whose first windows are in held streams. It ends once they have run, its
 * blocks are idle then, and the rest is never copied. */
static void cancel_half_way(kvf_cuda_strategy strategy) {
    const kvf_cuda_options options = {
        .strategy = strategy, .no_thread = true, .ctas = 2, .packing_bytes = (size_t)1 << 20};
    const kvf_submit_options how = {.background = true, .by_layer = true};
    schedule *s = open_schedule(&options, 1);
    const size_t count = strategy == KVF_CUDA_LOOP ? 600 : BLOCKS;
    shuffle(s, s->from, count);
    shuffle(s, s->to, count);
    const kvf_plan plan = {.count = count, .src_ids = s->from, .dst_ids = s->to};
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    ok(kvf_transfer_submit(s->tiers[1], s->tiers[0], &plan, 1, &how, &t, &e), &e);
    fakecuda_hold_all(true);
    kvf_engine_progress(s->engine);
    kvf_transfer_cancel(t);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kvf_transfer_poll(t, NULL), KVF_PENDING);
    assert_int_equal(kvf_tier_idle(s->tiers[0], s->to, count, NULL), KVF_ERR_BUSY);
    fakecuda_hold_all(false);
    test_expect(KVF_ERR_CANCELLED, kvf_transfer_wait(t, PATIENCE_US, &e), &e);
    assert_int_equal(kvf_transfer_landed(t, 0), 0);
    ok(kvf_tier_idle(s->tiers[0], s->to, count, &e), &e);
    kvf_transfer_release(t);
    close_schedule(s);
}

static void test_cancelled_half_way(void **state) {
    (void)state;
    fixture_needs_fake();
    for (unsigned s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++)
        cancel_half_way((kvf_cuda_strategy)s);
}

typedef struct helper {
    kvf_engine *engine;
    atomic_bool done;
} helper;

static void *help(void *context) {
    helper *h = context;
    while (!atomic_load(&h->done))
        kvf_engine_progress(h->engine);
    return NULL;
}

/* One thread enqueues a layer in held streams while another asks whether the layer has landed. It
 * has not. */
static void query_while_enqueuing(uint64_t seed) {
    const kvf_cuda_options options = {.strategy = KVF_CUDA_BATCH, .no_thread = true};
    const kvf_submit_options how = {.background = true, .by_layer = true};
    enum { COUNT = 10000 }; /* takes a while, and a layer is less than a window */
    schedule *s = open_schedule(&options, seed);
    helper h = {.engine = s->engine};
    pthread_t thread;
    shuffle(s, s->from, COUNT);
    shuffle(s, s->to, COUNT);
    const kvf_plan plan = {.count = COUNT, .src_ids = s->from, .dst_ids = s->to};
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    fakecuda_hold_all(true);
    assert_int_equal(pthread_create(&thread, NULL, help, &h), 0);
    ok(kvf_transfer_submit(s->tiers[1], s->tiers[0], &plan, 1, &how, &t, &e), &e);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(kvf_transfer_wait_layer(t, 0, 0, NULL), KVF_ERR_TIMEOUT);
    fakecuda_hold_all(false);
    ok(kvf_transfer_wait(t, PATIENCE_US, &e), &e);
    atomic_store(&h.done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    kvf_transfer_release(t);
    close_schedule(s);
}

static void test_queried_while_enqueuing(void **state) {
    (void)state;
    fixture_needs_fake();
    for (uint64_t seed = 0; seed < 4; seed++)
        query_while_enqueuing(seed);
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_schedules),
        cmocka_unit_test(test_cancelled_half_way),
        cmocka_unit_test(test_queried_while_enqueuing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
