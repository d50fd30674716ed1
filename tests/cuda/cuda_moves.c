/* Random moves by every strategy in every direction. Contents show that the blocks have moved and
 * nothing else has changed. */
#include "support/device_fixture.h"
#include "hide.h"
#include "support/move_scene.h"
#include "needs.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MOVES = 6,
    WATCHDOG_S = 60,
    BATCH = 4096,          /* most copies in a call of the driver */
    SMALLEST_RING = 16384, /* packing_bytes is a multiple of it */
    USUAL_RING = 32 << 20,
    BUFFERS = 4,     /* of a ring */
    WIDTHS = 5,      /* of vectors: 1, 2, 4, 8, 16 */
    ALL_SEEDS = 160, /* enough to cover everything */
};

#ifdef FAKE_TSAN
enum { USUAL_SEEDS = 40 }; /* each takes a second */
#else
enum { USUAL_SEEDS = ALL_SEEDS };
#endif

/* What the moves have covered, so that a run can check that nothing is missing. */
typedef struct coverage {
    uint64_t by[KVF_CUDA_STRATEGIES][KVF_CUDA_DIRECTIONS][2][2]; /* [background][by layer] */
    uint64_t widths[WIDTHS];                                     /* of kernels' vectors */
    uint64_t fell_back[KVF_CUDA_STRATEGIES];
    uint64_t too_wide;     /* for a packing buffer */
    uint64_t rings;        /* for the lists of kernels */
    uint64_t rows, slices; /* copies in two and three dimensions by `loop` */
} coverage;

typedef struct trial {
    scene scene;
    kvf_cuda_options options;
    bool has_batch;
    uint64_t seed;
    scene_move moves[MOVES];
    kvf_transfer *transfers[MOVES];
    uint64_t stats[KVF_CUDA_STRATEGIES], bytes;
} trial;

/* The runtime, and the engine on it */

static uint64_t below(test_random *r, uint64_t bound) {
    return test_random_below(r, bound);
}

static void set_up_fake(trial *t, test_random *r) {
    const size_t entries[] = {SIZE_MAX, 0, 16, 200};
    const fakecuda_config config = {.shuffle = below(r, 2) * (t->seed + 1),
                                    .any_early = below(r, 2) == 1,
                                    .batch_copies = BATCH,
                                    .queue_entries = entries[below(r, 4)],
                                    .forbid_legacy = true};
    if (!FAKECUDA)
        return;
    fakecuda_configure(&config);
    if (below(r, 4) == 0)
        fakecuda_set_attribute(cudaDevAttrCanUseHostPointerForRegisteredMem, 0);
    if (below(r, 6) == 0) {
        fakecuda_hide_symbol("cuMemcpyBatchAsync");
        t->has_batch = false;
    }
    if (below(r, 3) == 0)
        fakecuda_hide_symbol("cuMemcpy3DBatchAsync");
    if (below(r, 4) == 0)
        fakecuda_delay((fakecuda_kind)below(r, FAKECUDA_KINDS), (unsigned)below(r, 100));
}

/* Makes pinning the upload ring fail. */
static void forbid_ring(trial *t) {
    if (FAKECUDA && t->seed / SCENE_KINDS % 4 == 1)
        fakecuda_fail_call("cudaHostAlloc", 1, cudaErrorMemoryAllocation, true);
}

static kvf_engine *make_engine(trial *t, test_random *r) {
    const size_t rings[] = {SMALLEST_RING, 5 * SMALLEST_RING + 77, 1 << 20, 0};
    kvf_cuda_options *o = &t->options;
    *o = (kvf_cuda_options){.lanes = (unsigned)below(r, 5),
                            .no_thread = below(r, 2) == 1,
                            .ctas = (unsigned)below(r, 5),
                            .packing_bytes = rings[below(r, 4)],
                            .background_to_gbps = below(r, 4) == 0 ? 1 : 0,
                            .background_from_gbps = below(r, 4) == 0 ? 2 : 0};
    o->packing_limit = below(r, 2) * 2 * o->packing_bytes;
    if (below(r, 4) == 0)
        o->strategy = (kvf_cuda_strategy)below(r, KVF_CUDA_STRATEGIES);
    if (o->strategy == KVF_CUDA_BATCH && !t->has_batch)
        o->strategy = KVF_CUDA_LOOP;
    kvf_engine *engine = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_engine_cuda_create(o, &engine, &e), &e);
    return engine;
}

/* Submitting */

static void submit(trial *t, size_t i) {
    scene *s = &t->scene;
    scene_move *m = &t->moves[i];
    *m = scene_move_make(s);
    kvf_submit_options *o = &m->options;
    o->background = scene_below(s, 2);
    o->priority = o->background ? (unsigned)scene_below(s, KVF_PRIORITIES) : 0;
    o->strategy = (unsigned)scene_below(s, KVF_CUDA_STRATEGIES);
    kvf_error e = {0};
    test_expect(KVF_OK,
                kvf_transfer_submit(s->tiers[m->src].tier, s->tiers[m->dst].tier, m->plans,
                                    m->plan_count, o, &t->transfers[i], &e),
                &e);
    scene_move_apply(s, m);
    if (scene_below(s, 3) == 0)
        test_expect(KVF_OK, kvf_transfer_wait(t->transfers[i], -1, &e), &e);
}

static void wait_in_parts(trial *t, size_t i) {
    scene *s = &t->scene;
    const scene_move *m = &t->moves[i];
    const uint32_t layers = (uint32_t)s->shapes[m->layout].layers;
    const uint32_t end =
        m->options.layer_count ? m->options.first_layer + m->options.layer_count : layers;
    kvf_error e = {0};
    for (uint32_t g = m->options.first_layer; g < end; g++)
        test_expect(KVF_OK, kvf_transfer_wait_layer(t->transfers[i], g, -1, &e), &e);
    test_expect(KVF_OK, kvf_transfer_wait(t->transfers[i], -1, &e), &e);
    for (size_t p = 0; p < m->plan_count; p++)
        assert_int_equal(kvf_transfer_landed(t->transfers[i], p), m->plans[p].count);
}

/* The strategy that was used */

static size_t buffer_bytes(const trial *t) {
    size_t ring = t->options.packing_bytes ? t->options.packing_bytes : USUAL_RING;
    return (ring - ring % SMALLEST_RING) / BUFFERS;
}

static bool can(trial *t, const scene_move *m, kvf_cuda_strategy strategy, coverage *seen) {
    if (strategy == KVF_CUDA_BATCH)
        return t->has_batch;
    if (strategy != KVF_CUDA_STAGED)
        return true;
    const bool too_wide = scene_lower(&t->scene, m).widest > buffer_bytes(t);
    seen->too_wide += too_wide && scene_direction(m) != KVF_CUDA_ON_DEVICE;
    return !too_wide && scene_direction(m) != KVF_CUDA_ON_DEVICE;
}

static kvf_cuda_explanation explain(trial *t, size_t i) {
    kvf_cuda_explanation x;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_explain(t->transfers[i], &x, &e), &e);
    assert_in_range(x.chosen, KVF_CUDA_LOOP, KVF_CUDA_STAGED);
    assert_int_equal(x.bytes, t->moves[i].bytes);
    assert_false(x.calibrated);
    assert_true(x.us[x.chosen] > 0 && x.us[KVF_CUDA_AUTO] == x.us[x.chosen]);
    return x;
}

static void expect_strategy(trial *t, size_t i, coverage *seen) {
    const scene_move *m = &t->moves[i];
    const kvf_cuda_explanation x = explain(t, i);
    const kvf_cuda_strategy asked =
        m->options.strategy ? (kvf_cuda_strategy)m->options.strategy : t->options.strategy;
    if (asked == KVF_CUDA_AUTO) {
        assert_true(x.reason == KVF_CUDA_CHEAPEST || x.reason == KVF_CUDA_SPARING);
    } else if (can(t, m, asked, seen)) {
        assert_int_equal(x.reason, KVF_CUDA_FORCED);
        assert_int_equal(x.chosen, asked);
    } else {
        assert_int_equal(x.reason, KVF_CUDA_FELL_BACK);
        assert_int_not_equal(x.chosen, asked);
        seen->fell_back[asked]++;
    }
    assert_true(can(t, m, x.chosen, &(coverage){0}));
    seen->by[x.chosen][scene_direction(m)][m->options.background][m->options.by_layer]++;
    for (size_t w = 0; x.chosen == KVF_CUDA_KERNEL && w < WIDTHS; w++)
        seen->widths[w] += t->scene.unit == (size_t)1 << w;
    if (x.chosen == KVF_CUDA_LOOP) {
        const scene_copies copies = scene_lower(&t->scene, m);
        seen->rows += copies.rows;
        seen->slices += copies.slices;
    }
    t->stats[x.chosen]++;
    t->bytes += x.bytes;
}

static void expect_stats(const trial *t) {
    kvf_cuda_stats stats;
    kvf_error e = {0};
    uint64_t all = 0;
    test_expect(KVF_OK, kvf_cuda_stats_get(t->scene.engine, &stats, &e), &e);
    for (size_t s = KVF_CUDA_LOOP; s < KVF_CUDA_STRATEGIES; s++) {
        assert_int_equal(stats.by[s].transfers, t->stats[s]);
        all += t->stats[s];
    }
    assert_int_equal(stats.by[KVF_CUDA_AUTO].transfers, all);
    assert_int_equal(stats.by[KVF_CUDA_AUTO].bytes, t->bytes);
}

/* The test */

static void run(uint64_t seed, coverage *seen) {
    trial t = {.seed = seed, .has_batch = true};
    test_random r = test_random_make(seed);
    size_t offset;
    (void)alarm(WATCHDOG_S);
    set_up_fake(&t, &r);
    kvf_engine *engine = make_engine(&t, &r);
    scene_open(&t.scene, seed + 1000000, (scene_kind)(seed % SCENE_KINDS), engine);
    const uint64_t before = FAKECUDA ? fakecuda_calls("cudaHostAlloc") : 0;
    forbid_ring(&t);
    for (size_t i = 0; i < MOVES; i++)
        submit(&t, i);
    for (size_t i = MOVES; i > 0; i--)
        wait_in_parts(&t, i - 1);
    if (FAKECUDA) {
        fakecuda_fail_nothing();
        seen->rings += fakecuda_calls("cudaHostAlloc") > before;
    }
    const char *differs = scene_compare(&t.scene, &offset);
    if (differs)
        fail_msg("seed %llu: the %s tier at byte %zu", (unsigned long long)seed, differs, offset);
    for (size_t i = 0; i < MOVES; i++)
        expect_strategy(&t, i, seen);
    expect_stats(&t);
    for (size_t i = 0; i < MOVES; i++) {
        kvf_transfer_release(t.transfers[i]);
        scene_move_free(&t.moves[i]);
    }
    scene_close(&t.scene);
    if (FAKECUDA && fakecuda_reset() > 0)
        fail_msg("seed %llu: violations", (unsigned long long)seed);
    (void)alarm(0);
}

static void expect_everything_seen(const coverage *seen) {
    for (size_t i = 0; i < (size_t)KVF_CUDA_STRATEGIES * KVF_CUDA_DIRECTIONS * 4; i++) {
        const size_t strategy = i / 4 / KVF_CUDA_DIRECTIONS;
        const size_t direction = i / 4 % KVF_CUDA_DIRECTIONS;
        const bool none = strategy == KVF_CUDA_AUTO ||
                          (strategy == KVF_CUDA_STAGED && direction == KVF_CUDA_ON_DEVICE);
        assert_int_equal(seen->by[strategy][direction][i / 2 % 2][i % 2] > 0, !none);
    }
    for (size_t w = 0; w < WIDTHS; w++)
        assert_true(seen->widths[w] > 0);
    assert_true(seen->fell_back[KVF_CUDA_LOOP] == 0 && seen->fell_back[KVF_CUDA_KERNEL] == 0);
    assert_true(seen->fell_back[KVF_CUDA_STAGED] > 0 && seen->too_wide > 0);
    assert_true(seen->rows > 0 && seen->slices > 0);
    /* Only the fake can disable or count these. */
    assert_int_equal(seen->fell_back[KVF_CUDA_BATCH] > 0, FAKECUDA);
    assert_int_equal(seen->rings > 0, FAKECUDA);
}

static void random_moves(void **state) {
    (void)state;
    coverage seen = {0};
    const uint64_t seeds = test_seeds(USUAL_SEEDS);
    for (uint64_t seed = 0; seed < seeds; seed++)
        run(seed, &seen);
    if (seeds >= ALL_SEEDS)
        expect_everything_seen(&seen);
}

/* More pairs than a kernel's list can hold, all packed in one buffer. */
static void chunks_of_very_many_pairs(void **state) {
    (void)state;
    enum { BLOCKS = 150000, STEP = 7919 }; /* a prime that does not divide it */
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 1, .parts = 1, .bytes = 16};
    kvf_engine *engine = fixture_engine(NULL);
    fixture_tier near =
        fixture_tier_make_on(engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, false);
    fixture_tier far = fixture_tier_make(engine, &shape, FIXTURE_CONTIGUOUS, false);
    static uint64_t here[BLOCKS], there[BLOCKS], words[BLOCKS][2];
    for (uint64_t i = 0; i < BLOCKS; i++) {
        here[i] = i * STEP % BLOCKS;
        there[i] = i;
    }
    (void)alarm(WATCHDOG_S);
    for (size_t out = 0; out < 2; out++) {
        const fixture_tier *src = out ? &near : &far, *dst = out ? &far : &near;
        const kvf_plan plan = fixture_plan(out ? here : there, out ? there : here, BLOCKS);
        const kvf_submit_options how = {.strategy = KVF_CUDA_STAGED};
        kvf_transfer *t = NULL;
        kvf_error e = {0};
        for (uint64_t i = 0; i < BLOCKS; i++) {
            words[i][0] = i + 1000 * out;
            words[i][1] = ~i;
        }
        fixture_write(src->memory.bytes, (const char *)words, sizeof words);
        test_expect(KVF_OK, kvf_transfer_submit(src->tier, dst->tier, &plan, 1, &how, &t, &e), &e);
        test_expect(KVF_OK, kvf_transfer_wait(t, -1, &e), &e);
        kvf_transfer_release(t);
        fixture_read((char *)words, dst->memory.bytes, sizeof words);
        for (size_t i = 0; i < BLOCKS; i++) {
            assert_int_equal(words[plan.dst_ids[i]][0], plan.src_ids[i] + 1000 * out);
            assert_int_equal(words[plan.dst_ids[i]][1], ~plan.src_ids[i]);
        }
    }
    (void)alarm(0);
    fixture_tier_free(&near);
    fixture_tier_free(&far);
    kvf_engine_destroy(engine);
    fixture_reset();
}

/* Addresses */

enum { BLOCKS = 8, BYTES = 4096 };

static const uint64_t ids[BLOCKS] = {0, 1, 2, 3, 4, 5, 6, 7},
                      turned[BLOCKS] = {7, 5, 3, 1, 0, 2, 4, 6};

/* Two layers on the device, and in one or two pieces of pinned memory. */
typedef struct pair {
    kvf_engine *engine;
    kvf_layout *near, *far;
    kvf_tier *device, *host;
    char *memory, *pieces[2];
} pair;

static kvf_layout *make_layout(char *first, char *second) {
    const kvf_region regions[] = {
        {.base = first, .block_stride = BYTES, .bytes = BYTES},
        {.base = second, .block_stride = BYTES, .bytes = BYTES, .layer = 1, .buffer = 1}};
    kvf_layout *layout = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_layout_create(regions, 2, BLOCKS, NULL, &layout, &e), &e);
    return layout;
}

static kvf_tier *make_tier(kvf_engine *engine, const kvf_layout *layout, fixture_side side) {
    const kvf_tier_options options = {
        .layouts = &layout, .layout_count = 1, .memory = fixture_kind(side)};
    kvf_tier *tier = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_tier_create(engine, &options, &tier, &e), &e);
    return tier;
}

/* On the device, pinned memory has different addresses. */
static pair open_pair(size_t pieces) {
    enum { LAYER = BLOCKS * BYTES };
    pair p = {.engine = fixture_engine(NULL)};
    fakecuda_set_attribute(cudaDevAttrCanUseHostPointerForRegisteredMem, 0);
    p.memory = fixture_allocate(FIXTURE_NEAR, (size_t)2 * LAYER);
    for (size_t i = 0; i < pieces; i++)
        p.pieces[i] = fixture_allocate(FIXTURE_FAR, (2 - pieces + 1) * (size_t)LAYER);
    p.near = make_layout(p.memory, p.memory + LAYER);
    p.far = make_layout(p.pieces[0], pieces == 2 ? p.pieces[1] : p.pieces[0] + LAYER);
    p.device = make_tier(p.engine, p.near, FIXTURE_NEAR);
    p.host = make_tier(p.engine, p.far, FIXTURE_FAR);
    return p;
}

static void close_pair(pair *p) {
    kvf_tier_destroy(p->device);
    kvf_tier_destroy(p->host);
    kvf_engine_destroy(p->engine);
    kvf_layout_destroy(p->near);
    kvf_layout_destroy(p->far);
    fixture_deallocate(FIXTURE_NEAR, p->memory);
    for (size_t i = 0; i < 2; i++)
        if (p->pieces[i])
            fixture_deallocate(FIXTURE_FAR, p->pieces[i]);
    fixture_reset();
}

static kvf_cuda_explanation move_pair(const pair *p, bool out, kvf_cuda_strategy strategy) {
    const kvf_plan plan = fixture_plan(ids, turned, BLOCKS);
    const kvf_submit_options how = {.strategy = (unsigned)strategy};
    kvf_transfer *t = NULL;
    kvf_cuda_explanation x;
    kvf_error e = {0};
    test_expect(KVF_OK,
                kvf_transfer_submit(out ? p->device : p->host, out ? p->host : p->device, &plan, 1,
                                    &how, &t, &e),
                &e);
    test_expect(KVF_OK, kvf_transfer_wait(t, -1, &e), &e);
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    kvf_transfer_release(t);
    return x;
}

/* Kernels cannot use the host's addresses. */
static void kernels_use_device_addresses(void **state) {
    (void)state;
    fixture_needs_fake();
    enum { ALL = 2 * BLOCKS * BYTES };
    for (size_t out = 0; out < 2; out++) {
        pair p = open_pair(1);
        fixture_fill_all(p.near, out ? 100 : 0);
        fixture_fill_all(p.far, out ? 0 : 100);
        assert_int_equal(mprotect(p.pieces[0], ALL, PROT_NONE), 0);
        assert_int_equal(move_pair(&p, out, KVF_CUDA_KERNEL).reason, KVF_CUDA_FORCED);
        assert_int_equal(mprotect(p.pieces[0], ALL, PROT_READ | PROT_WRITE), 0);
        for (size_t i = 0; i < BLOCKS; i++)
            assert_true(fixture_holds(out ? p.far : p.near, turned[i], 100 + ids[i]));
        close_pair(&p);
    }
}

/* Where the offset between host and device addresses differs across a layout, kernels and batches
 * give way to other strategies. */
static void memory_at_two_offsets_uses_other_strategies(void **state) {
    (void)state;
    fixture_needs_fake();
    for (unsigned k = KVF_CUDA_LOOP; k < KVF_CUDA_STRATEGIES; k++) {
        const bool can = k == KVF_CUDA_LOOP || k == KVF_CUDA_STAGED;
        for (size_t out = 0; out < 2; out++) {
            pair p = open_pair(2);
            fixture_fill_all(out ? p.near : p.far, 100);
            const kvf_cuda_explanation x = move_pair(&p, out, (kvf_cuda_strategy)k);
            assert_int_equal(x.reason, can ? KVF_CUDA_FORCED : KVF_CUDA_FELL_BACK);
            assert_true(can ? x.chosen == k : x.chosen != KVF_CUDA_KERNEL);
            assert_true(can || x.chosen != KVF_CUDA_BATCH);
            for (size_t i = 0; i < BLOCKS; i++)
                assert_true(fixture_holds(out ? p.far : p.near, turned[i], 100 + ids[i]));
            close_pair(&p);
        }
    }
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_use_device_addresses),
        cmocka_unit_test(memory_at_two_offsets_uses_other_strategies),
        cmocka_unit_test(chunks_of_very_many_pairs),
        cmocka_unit_test(random_moves),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
