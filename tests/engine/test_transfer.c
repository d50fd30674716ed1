#include "support/engine_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 16 };

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const kvf_host_options engines[] = {{.no_threads = true}, {.threads = 1}, {.threads = 3}};
enum { ENGINES = sizeof engines / sizeof engines[0] };

static kvf_shape shape_of(size_t layers, size_t parts, size_t bytes) {
    return (kvf_shape){.blocks = BLOCKS, .layers = layers, .parts = parts, .bytes = bytes};
}

/* An engine and two tiers of three layers: a full source on the far side, an empty destination on
 * the near one. */
typedef struct fixture {
    kvf_engine *engine;
    fixture_tier src, dst;
} fixture;

static fixture fixture_make(const kvf_host_options *options, size_t bytes) {
    const kvf_shape shape = shape_of(3, 2, bytes);
    fixture f = {.engine = fixture_engine(options)};
    f.src = fixture_tier_make(f.engine, &shape, FIXTURE_BLOCK_SECOND, false);
    f.dst = fixture_tier_make_on(f.engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, false);
    fixture_fill_all(f.src.memory.layout, 100);
    fixture_fill_all(f.dst.memory.layout, 200);
    return f;
}

static void fixture_free(fixture *f) {
    fixture_tier_free(&f->src);
    fixture_tier_free(&f->dst);
    kvf_engine_destroy(f->engine);
}

/* Moves `count` blocks from `first` on to the same ids of the destination. */
static kvf_transfer *submit(fixture *f, size_t first, size_t count, kvf_submit_options options) {
    const kvf_plan plan = fixture_plan(ids + first, ids + first, count);
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK,
                kvf_transfer_submit(f->src.tier, f->dst.tier, &plan, 1, &options, &t, &error),
                &error);
    assert_non_null(t);
    return t;
}

static void expect_moved(const fixture *f, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++)
        assert_true(fixture_holds(f->dst.memory.layout, i, 100 + i));
}

static void expect_untouched(const fixture *f, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++)
        assert_true(fixture_holds(f->dst.memory.layout, i, 200 + i));
}

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What arrives */

static void moves_and_returns_statistics(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (int background = 0; background < 2; background++) {
            fixture f = fixture_make(&engines[e], 40);
            kvf_transfer *t = submit(&f, 2, 5, (kvf_submit_options){.background = background});
            assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
            assert_int_equal(kvf_transfer_poll(t, NULL), KVF_OK);
            assert_int_equal(kvf_transfer_wait(t, 0, NULL), KVF_OK);
            assert_int_equal(kvf_transfer_landed(t, 0), 5);
            assert_int_equal(kvf_transfer_landed(t, 1), 0);
            expect_untouched(&f, 0, 2);
            expect_moved(&f, 2, 5);
            expect_untouched(&f, 7, BLOCKS - 7);
            kvf_transfer_release(t);
            fixture_free(&f);
        }
    }
}

static void polls_until_done(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        fixture f = fixture_make(&engines[e], 40);
        kvf_transfer *t = submit(&f, 0, BLOCKS, (kvf_submit_options){0});
        kvf_status status;
        while ((status = kvf_transfer_poll(t, NULL)) == KVF_PENDING)
            usleep(10);
        assert_int_equal(status, KVF_OK);
        expect_moved(&f, 0, BLOCKS);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

/* An ended transfer occupies no block and no place in the engine. */
static void ended_transfers_occupy_nothing(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.max_transfers = 1;
        fixture f = fixture_make(&options, 40);
        for (int round = 0; round < 100; round++) {
            kvf_transfer *t = submit(&f, 0, BLOCKS, (kvf_submit_options){0});
            assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
            kvf_error error = {0};
            test_expect(KVF_OK, kvf_tier_idle(f.src.tier, ids, BLOCKS, &error), &error);
            test_expect(KVF_OK, kvf_tier_idle(f.dst.tier, ids, BLOCKS, &error), &error);
            kvf_transfer_release(t);
        }
        assert_int_equal(kvf_engine_progress(f.engine), 0);
        fixture_free(&f);
    }
}

static void empty_transfers_succeed(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        fixture f = fixture_make(&engines[e], 40);
        const kvf_plan nothing[] = {{0}, {.first_position = 7}};
        kvf_transfer *none = NULL, *two = NULL;
        const kvf_submit_options by_layer = {.by_layer = true};
        assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, NULL, 0, NULL, &none, NULL),
                         KVF_OK);
        assert_int_equal(
            kvf_transfer_submit(f.src.tier, f.dst.tier, nothing, 2, &by_layer, &two, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait_layer(two, 2, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(none, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(two, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_landed(none, 0), 0);
        assert_int_equal(kvf_transfer_landed(two, 1), 0);
        kvf_transfer_stats stats;
        kvf_transfer_stats_get(none, &stats);
        assert_true(stats.bytes == 0 && stats.blocks == 0 && stats.boxes == 0);
        kvf_transfer_release(none);
        kvf_transfer_release(two);
        fixture_free(&f);
    }
}

static void an_empty_transfer_can_be_cancelled(void **state) {
    (void)state;
    fixture f = fixture_make(&engines[0], 40);
    kvf_transfer *t = NULL;
    const kvf_submit_options o = {.background = !fixture_has(FIXTURE_STEPS)};
    assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, NULL, 0, &o, &t, NULL), KVF_OK);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_poll(t, NULL), KVF_ERR_CANCELLED);
    kvf_transfer_release(t);
    fixture_free(&f);
}

/* Random plans between random layouts, compared with copying byte by byte */

typedef struct plans {
    kvf_plan items[4];
    uint64_t src[4][BLOCKS], dst[4][BLOCKS];
    size_t count;
} plans;

/* Destinations are some of the ids in random order, so that steps are up and down. */
static void choose_plans(plans *p, test_random *random, bool same_tier) {
    uint64_t order[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t at = (size_t)test_random_below(random, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    bool backwards = test_random_below(random, 3) == 0;
    size_t room = same_tier ? BLOCKS / 2 : BLOCKS, taken = 0;
    p->count = 1 + (size_t)test_random_below(random, 4);
    for (size_t i = 0; i < p->count; i++) {
        size_t n = (size_t)test_random_below(random, room - taken + 1);
        for (size_t k = 0; k < n; k++, taken++) {
            uint64_t other = test_random_below(random, BLOCKS);
            p->dst[i][k] = backwards && !same_tier ? taken : order[taken];
            p->src[i][k] = same_tier   ? order[room + other % room]
                           : backwards ? BLOCKS - 1 - taken
                                       : other;
        }
        p->items[i] = fixture_plan(p->src[i], p->dst[i], n);
    }
}

static kvf_shape choose_shape(test_random *random, size_t *bytes) {
    kvf_shape shape = shape_of(1 + (size_t)test_random_below(random, 4),
                               1 + (size_t)test_random_below(random, 2), 0);
    shape.rows = 1 + (size_t)test_random_below(random, 5);
    uint64_t kind = test_random_below(random, 12);
    size_t row = kind < 4 ? 1 : (size_t)(1 + test_random_below(random, kind == 5 ? 30000 : 70));
    for (size_t l = 0; l < shape.layers; l++)
        bytes[l] = shape.rows * (row + (kind > 8 ? l : 0));
    shape.bytes = bytes[0];
    if (kind > 8)
        shape.bytes_per_layer = bytes;
    return shape;
}

/* A random tile order, with or without rows. */
static void choose_order(test_random *random, kvf_shape *shape) {
    const bool hnd = test_random_below(random, 2);
    shape->order = hnd ? KVF_ORDER_HND : KVF_ORDER_NHD;
    shape->rows = test_random_below(random, 2) ? 1 : hnd ? shape->heads : shape->tokens;
}

/* Makes `shape` one of tiles, and `other` its counterpart on the other side. */
static void make_tiles(test_random *random, kvf_shape *shape, kvf_shape *other, size_t *bytes) {
    shape->tokens = 1 + (size_t)test_random_below(random, 9);
    shape->heads = 1 + (size_t)test_random_below(random, 6);
    for (size_t l = 0; l < shape->layers; l++)
        bytes[l] = bytes[l] / shape->rows * shape->tokens * shape->heads;
    shape->bytes = bytes[0];
    *other = *shape;
    choose_order(random, shape);
    choose_order(random, other);
}

static fixture_form choose_form(test_random *random, const kvf_shape *shape) {
    fixture_form form = (fixture_form)test_random_below(random, FIXTURE_FORMS);
    /* Layers of different sizes cannot share a row or interleave their rows. */
    bool mixes = form == FIXTURE_TOKEN_FIRST || form == FIXTURE_PADDED;
    return shape->bytes_per_layer && mixes ? FIXTURE_PER_PART : form;
}

static void choose_layers(kvf_submit_options *o, test_random *random, const kvf_shape *shape) {
    o->by_layer = test_random_below(random, 2);
    if (test_random_below(random, 2))
        return;
    o->first_layer = (uint32_t)test_random_below(random, shape->layers);
    o->layer_count = (uint32_t)test_random_below(random, shape->layers - o->first_layer + 1);
}

static void copy_at_random(const kvf_host_options *options, uint64_t seed) {
    test_random random = test_random_make(seed);
    size_t bytes[4];
    kvf_shape shape = choose_shape(&random, bytes), turned = shape;
    if (test_random_below(&random, 3) == 0)
        make_tiles(&random, &shape, &turned, bytes);
    bool same_tier = test_random_below(&random, 4) == 0;
    kvf_engine *engine = fixture_engine(options);
    fixture_side side = seed % 2 && !same_tier ? FIXTURE_FAR : FIXTURE_NEAR;
    fixture_tier a =
        fixture_tier_make_on(engine, side, &shape, choose_form(&random, &shape), false);
    fixture_tier b = fixture_tier_make_on(
        engine, side == FIXTURE_FAR || seed % 4 == 0 ? FIXTURE_NEAR : FIXTURE_FAR, &turned,
        choose_form(&random, &turned), false);
    fixture_tier *dst = same_tier ? &a : &b;
    fixture_fill_all(a.memory.layout, 1000);
    fixture_fill_all(b.memory.layout, 2000);
    plans p;
    choose_plans(&p, &random, same_tier);
    kvf_submit_options o = {.background = test_random_below(&random, 2)};
    choose_layers(&o, &random, &shape);

    /* Applies the plans to a copy of the destination's memory too, and compares. */
    char *there = dst->memory.bytes, *expected = malloc(dst->memory.size);
    char *found = malloc(dst->memory.size);
    assert_true(found && expected);
    fixture_read(found, there, dst->memory.size);
    fixture_copy(a.memory.layout, dst->memory.layout, p.items, p.count, o.first_layer,
                 o.layer_count);
    fixture_read(expected, there, dst->memory.size);
    fixture_write(there, found, dst->memory.size);

    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_transfer_submit(a.tier, dst->tier, p.items, p.count, &o, &t, &error),
                &error);
    test_expect(KVF_OK, kvf_transfer_wait(t, -1, &error), &error);
    fixture_read(found, there, dst->memory.size);
    if (memcmp(found, expected, dst->memory.size) != 0)
        fail_msg("seed %llu: differs from copying byte by byte", (unsigned long long)seed);
    kvf_transfer_release(t);
    free(found);
    free(expected);
    fixture_tier_free(&a);
    fixture_tier_free(&b);
    kvf_engine_destroy(engine);
}

static void equals_copying_byte_by_byte(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(400); seed++)
        copy_at_random(&engines[seed % ENGINES], seed);
}

/* Blocks of several chunks, contiguous or with rows. */
static void copies_big_blocks(void **state) {
    (void)state;
    for (int form = 0; form < FIXTURE_FORMS; form++) {
        kvf_shape shape = shape_of(2, 1, 400000);
        shape.blocks = 4;
        shape.rows = 4;
        kvf_engine *engine = fixture_engine(&engines[2]);
        fixture_tier a =
            fixture_tier_make_on(engine, FIXTURE_NEAR, &shape, (fixture_form)form, false);
        fixture_tier b = fixture_tier_make(engine, &shape, FIXTURE_CONTIGUOUS, false);
        fixture_fill_all(a.memory.layout, 1);
        const uint64_t src[] = {3, 2, 1, 0}, dst[] = {0, 1, 2, 3};
        const kvf_plan plan = fixture_plan(src, dst, 4);
        kvf_transfer *t = NULL;
        assert_int_equal(kvf_transfer_submit(a.tier, b.tier, &plan, 1, NULL, &t, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        for (uint64_t id = 0; id < 4; id++)
            assert_true(fixture_holds(b.memory.layout, id, 1 + (3 - id)));
        kvf_transfer_release(t);
        fixture_tier_free(&a);
        fixture_tier_free(&b);
        kvf_engine_destroy(engine);
    }
}

/* A single block may have any stride. */
static void copies_a_single_block_of_any_stride(void **state) {
    (void)state;
    char *memory[2] = {fixture_allocate(FIXTURE_FAR, 8), fixture_allocate(FIXTURE_NEAR, 8)};
    const size_t strides[] = {0, 1, PTRDIFF_MAX, SIZE_MAX};
    kvf_engine *engine = fixture_engine(&engines[0]);
    memcpy(memory[0], "1234567", 8);
    for (size_t i = 0; i < 4; i++) {
        kvf_layout *layouts[2] = {0};
        kvf_tier *tiers[2] = {0};
        for (size_t k = 0; k < 2; k++) {
            const kvf_region r = {
                .base = memory[k], .bytes = 8, .block_stride = strides[k ? 3 - i : i]};
            assert_int_equal(kvf_layout_create(&r, 1, 1, NULL, &layouts[k], NULL), KVF_OK);
            const kvf_layout *const list[] = {layouts[k]};
            const kvf_tier_options options = {.layouts = list,
                                              .layout_count = 1,
                                              .memory =
                                                  fixture_kind(k ? FIXTURE_NEAR : FIXTURE_FAR),
                                              .integrity = fixture_has(FIXTURE_INTEGRITY)};
            assert_int_equal(kvf_tier_create(engine, &options, &tiers[k], NULL), KVF_OK);
        }
        const kvf_plan plan = fixture_plan(ids, ids, 1);
        kvf_transfer *t = NULL;
        char found[8] = "";
        fixture_write(memory[1], found, 8);
        assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, NULL, &t, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        fixture_read(found, memory[1], 8);
        assert_string_equal(found, "1234567");
        kvf_transfer_release(t);
        for (int k = 0; k < 2; k++) {
            kvf_tier_destroy(tiers[k]);
            kvf_layout_destroy(layouts[k]);
        }
    }
    kvf_engine_destroy(engine);
    fixture_deallocate(FIXTURE_FAR, memory[0]);
    fixture_deallocate(FIXTURE_NEAR, memory[1]);
}

/* Two layouts over one id space: moved separately, ordered by common slots. */
static void layouts_of_one_tier_share_slots(void **state) {
    (void)state;
    kvf_engine *engine = fixture_engine(&engines[0]);
    const kvf_shape shapes[] = {shape_of(2, 2, 48), shape_of(1, 1, 24)};
    fixture_memory memory[2][2];
    kvf_tier *tiers[2];
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            memory[i][k] = fixture_memory_make_at(
                &shapes[k], i ? FIXTURE_PER_PART : FIXTURE_CONTIGUOUS,
                &(fixture_placement){.side = i ? FIXTURE_NEAR : FIXTURE_FAR});
            fixture_fill_all(memory[i][k].layout, (uint64_t)(1000 * i + 100 * k));
        }
        const kvf_layout *const layouts[] = {memory[i][0].layout, memory[i][1].layout};
        const kvf_tier_options options = {.layouts = layouts,
                                          .layout_count = 2,
                                          .memory = fixture_kind(i ? FIXTURE_NEAR : FIXTURE_FAR)};
        assert_int_equal(kvf_tier_create(engine, &options, &tiers[i], NULL), KVF_OK);
        assert_int_equal(kvf_tier_blocks(tiers[i]), BLOCKS);
        assert_ptr_equal(kvf_tier_layout(tiers[i], 1), memory[i][1].layout);
        assert_null(kvf_tier_layout(tiers[i], 2));
    }
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    for (size_t k = 0; k < 2; k++) {
        const kvf_submit_options o = {.src_layout = k, .dst_layout = k};
        kvf_transfer *t = NULL;
        assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &o, &t, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        kvf_transfer_release(t);
        assert_true(fixture_holds(memory[1][k].layout, 3, 100 * k + 3));
        assert_true(fixture_holds(memory[1][k].layout, 4, 1000 + 100 * k + 4));
        if (k == 0)
            assert_true(fixture_holds(memory[1][1].layout, 3, 1103));
    }
    const kvf_submit_options crossed = {.src_layout = 0, .dst_layout = 1};
    kvf_error error = {0};
    assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &crossed, NULL, &error),
                     KVF_ERR_LAYOUT);
    /* A background write to one layout makes the block busy for the other, too. */
    const kvf_submit_options slow = {.background = true},
                             other = {.src_layout = 1, .dst_layout = 1};
    kvf_transfer *first = NULL, *second = NULL;
    assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &slow, &first, NULL),
                     KVF_OK);
    assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &other, &second, NULL),
                     KVF_OK);
    assert_int_equal(kvf_transfer_wait(second, -1, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_poll(first, NULL), KVF_OK);
    kvf_transfer_release(first);
    kvf_transfer_release(second);
    for (int i = 0; i < 2; i++) {
        kvf_tier_destroy(tiers[i]);
        fixture_memory_free(&memory[i][0]);
        fixture_memory_free(&memory[i][1]);
    }
    kvf_engine_destroy(engine);
}

/* Waiting */

static void waiting_times_out(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.imitate_latency_us = 60e6;
        fixture f = fixture_make(&options, 40);
        kvf_transfer *t = submit(&f, 0, 2, (kvf_submit_options){.by_layer = true});
        kvf_error error = {.status = KVF_OK};
        assert_int_equal(kvf_transfer_poll(t, &error), KVF_PENDING);
        assert_int_equal(error.status, KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, 0, &error), KVF_ERR_TIMEOUT);
        assert_int_equal(error.status, KVF_ERR_TIMEOUT);
        uint64_t start = now_us();
        assert_int_equal(kvf_transfer_wait(t, 3000, NULL), KVF_ERR_TIMEOUT);
        assert_true(now_us() - start >= 3000);
        assert_int_equal(kvf_transfer_wait_layer(t, 0, 1000, NULL), KVF_ERR_TIMEOUT);
        assert_int_equal(kvf_transfer_landed(t, 0), 0);
        kvf_transfer_cancel(t);
        assert_int_equal(kvf_transfer_wait(t, INT64_MAX, &error), KVF_ERR_CANCELLED);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

static void layers_land_one_after_the_other(void **state) {
    (void)state;
    fixture_needs(FIXTURE_STEPS);
    fixture f = fixture_make(&engines[0], 40);
    kvf_transfer *t = submit(&f, 0, 4, (kvf_submit_options){.by_layer = true});
    for (uint32_t layer = 0; layer < 3; layer++) {
        assert_int_equal(kvf_transfer_wait_layer(t, layer, -1, NULL), KVF_OK);
        size_t count;
        const kvf_region *regions = kvf_layout_regions(f.dst.memory.layout, &count);
        for (size_t i = 0; i < count; i++) {
            for (uint64_t id = 0; id < 4; id++) {
                const char *to = fixture_byte(f.dst.memory.layout, i, id, 0, 0);
                const char *from = fixture_byte(f.src.memory.layout, i, id, 0, 0);
                bool there = memcmp(to, from, regions[i].bytes) == 0;
                if (regions[i].layer <= layer)
                    assert_true(there);
                else if (regions[i].layer > layer + 1)
                    assert_false(there);
            }
        }
        if (layer < 2)
            assert_int_equal(kvf_transfer_landed(t, 0), 0);
    }
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_wait_layer(t, 0, 0, NULL), KVF_OK);
    expect_moved(&f, 0, 4);
    kvf_transfer_release(t);
    fixture_free(&f);
}

static void layers_count_from_the_first_of_the_layout(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        fixture f = fixture_make(&engines[e], 40);
        kvf_transfer *t = submit(
            &f, 0, 4, (kvf_submit_options){.by_layer = true, .first_layer = 1, .layer_count = 1});
        kvf_error error = {0};
        assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, &error), KVF_ERR_RANGE);
        assert_int_equal(error.fields, KVF_ERROR_INDEX);
        assert_int_equal(error.index, 0);
        assert_int_equal(kvf_transfer_wait_layer(t, 2, -1, NULL), KVF_ERR_RANGE);
        assert_int_equal(kvf_transfer_wait_layer(t, UINT32_MAX, -1, NULL), KVF_ERR_RANGE);
        assert_int_equal(kvf_transfer_wait_layer(t, 1, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        kvf_transfer_release(t);
        t = submit(&f, 4, 4, (kvf_submit_options){0});
        assert_int_equal(kvf_transfer_wait_layer(t, 2, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_poll(t, NULL), KVF_OK); /* not by layer: all have landed */
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

/* Order */

typedef struct journal {
    int order[16];
    int count;
} journal;

typedef struct entry {
    journal *journal;
    int name;
} entry;

static void note(void *user, const kvf_error *error) {
    entry *e = user;
    assert_int_equal(error->status, KVF_OK);
    e->journal->order[e->journal->count++] = e->name;
}

static void expect_order(const journal *j, const int *order, int count) {
    assert_int_equal(j->count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(j->order[i], order[i]);
}

static void priorities_set_the_order(void **state) {
    (void)state;
    fixture_needs(FIXTURE_STEPS);
    fixture f = fixture_make(&engines[0], 40);
    journal j = {0};
    entry entries[6];
    kvf_transfer *t[6];
    const unsigned priorities[] = {3, 1, 2, 0, 1};
    for (int i = 0; i < 6; i++) {
        entries[i] = (entry){&j, i};
        t[i] = submit(&f, (size_t)i, 1,
                      (kvf_submit_options){.background = i < 5,
                                           .priority = i < 5 ? priorities[i] : 0,
                                           .callback = note,
                                           .user = &entries[i]});
    }
    fixture_drain(f.engine);
    expect_order(&j, (const int[]){5, 3, 1, 4, 2, 0}, 6);
    for (int i = 0; i < 6; i++)
        kvf_transfer_release(t[i]);
    fixture_free(&f);
}

/* A transfer that waits for a background transfer passes its turn to it. */
static void waiting_transfers_pass_on_their_priority(void **state) {
    (void)state;
    fixture_needs(FIXTURE_STEPS);
    fixture f = fixture_make(&engines[0], 40);
    journal j = {0};
    entry entries[4];
    kvf_transfer *t[4];
    const kvf_submit_options options[4] = {
        {.background = true, .priority = 3},
        {.background = true, .priority = 1},
        {.background = true, .priority = 2},
        {0},
    };
    for (int i = 0; i < 4; i++) {
        entries[i] = (entry){&j, i};
        kvf_submit_options o = options[i];
        o.callback = note;
        o.user = &entries[i];
        /* The ordered transfer fills the same block as the first. */
        t[i] = submit(&f, i == 3 ? 0 : (size_t)i, 1, o);
    }
    fixture_drain(f.engine);
    expect_order(&j, (const int[]){0, 3, 1, 2}, 4);
    for (int i = 0; i < 4; i++)
        kvf_transfer_release(t[i]);
    fixture_free(&f);
}

static void progress_a_while(kvf_engine *engine) {
    for (int i = 0; i < 50; i++)
        kvf_engine_progress(engine);
}

/* The lowest cap, so deep in debt that nothing more passes during the test. Work that runs with an
 * inherited turn counts towards the cap, too. */
static void only_ordered_waiters_bypass_the_cap(void **state) {
    (void)state;
    const kvf_host_options options = {.no_threads = true, .background_gbps = 1e-3};
    fixture f = fixture_make(&options, 100000); /* 600,000 bytes a block */
    const kvf_submit_options low = {.background = true, .priority = 3};
    kvf_transfer *first = submit(&f, 2, BLOCKS - 2, low);
    kvf_transfer *later = submit(&f, 2, 1, (kvf_submit_options){0});
    assert_int_equal(kvf_transfer_wait(later, -1, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_poll(first, NULL), KVF_OK);
    kvf_transfer *second = submit(&f, 1, 1, low);
    kvf_transfer *above = submit(&f, 1, 1, (kvf_submit_options){.background = true});
    progress_a_while(f.engine);
    assert_int_equal(kvf_transfer_poll(second, NULL), KVF_PENDING);
    assert_int_equal(kvf_transfer_poll(above, NULL), KVF_PENDING);
    expect_untouched(&f, 1, 1);
    kvf_transfer *ordered = submit(&f, 1, 1, (kvf_submit_options){0});
    assert_int_equal(kvf_transfer_wait(ordered, -1, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_poll(second, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_poll(above, NULL), KVF_OK);
    kvf_transfer_release(first);
    kvf_transfer_release(later);
    kvf_transfer_release(second);
    kvf_transfer_release(above);
    kvf_transfer_release(ordered);
    fixture_free(&f);
}

/* Speed */

static uint64_t time_of(const kvf_host_options *options, bool background, bool *imitated) {
    fixture f = fixture_make(options, 160000); /* 16 blocks of 960,000 bytes: 15.36 MB */
    uint64_t start = now_us();
    kvf_transfer *t = submit(&f, 0, BLOCKS, (kvf_submit_options){.background = background});
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    uint64_t end = now_us();
    expect_moved(&f, 0, BLOCKS);
    kvf_transfer_stats stats;
    kvf_transfer_stats_get(t, &stats);
    *imitated = stats.imitated;
    kvf_transfer_release(t);
    fixture_free(&f);
    return end - start;
}

static void the_cap_holds(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.background_gbps = 0.1;
        bool imitated = true;
        /* The cap applies to all but the last piece: at least 11 MB at 0.1 GB/s. */
        assert_true(time_of(&options, true, &imitated) > 110000);
        assert_false(imitated);
    }
}

static void an_imitated_link_limits_the_speed(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.imitate_gbps = 0.1;
        bool imitated = false;
        uint64_t spent = time_of(&options, false, &imitated);
        assert_true(spent >= 153600 && spent < 20000000);
        assert_true(imitated);
        options.imitate_gbps = 0;
        options.imitate_latency_us = 30000;
        imitated = false;
        assert_true(time_of(&options, false, &imitated) >= 30000);
        assert_true(imitated);
    }
}

static void statistics_add_up(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    const kvf_host_options options = {.no_threads = true, .imitate_latency_us = 2000};
    fixture f = fixture_make(&options, 64);
    kvf_transfer *t = submit(&f, 0, 4, (kvf_submit_options){.by_layer = true});
    kvf_transfer_stats stats, later;
    kvf_transfer_stats_get(t, &stats);
    assert_true(stats.submit_us > 0 && stats.copy_us == 0);
    assert_int_equal(stats.bytes, 4 * 3 * 2 * 64);
    assert_int_equal(stats.blocks, 4);
    assert_int_equal(stats.boxes, 3); /* a layer each: two parts of four blocks are one box */
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_stats_get(t, &stats);
    assert_true(stats.queue_us >= 2000 && stats.copy_us > 0);
    usleep(1000);
    kvf_transfer_stats_get(t, &later);
    kvf_transfer_stats_get(NULL, &later);
    kvf_transfer_stats_get(t, NULL);
    assert_true(later.submit_us == stats.submit_us && later.queue_us == stats.queue_us);
    assert_true(later.copy_us == stats.copy_us && later.bytes == stats.bytes);
    kvf_transfer_release(t);
    fixture_free(&f);
}

/* Cancelling */

static void cancelled_before_it_begins(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.imitate_latency_us = 30e6;
        fixture f = fixture_make(&options, 40);
        kvf_transfer *t = submit(&f, 0, 4, (kvf_submit_options){0});
        kvf_transfer *later = submit(&f, 0, 4, (kvf_submit_options){0});
        kvf_transfer_cancel(t);
        kvf_transfer_cancel(t);
        assert_int_equal(kvf_transfer_poll(t, NULL), KVF_ERR_CANCELLED);
        kvf_error error = {0};
        assert_int_equal(kvf_transfer_wait(t, -1, &error), KVF_ERR_CANCELLED);
        assert_int_equal(error.status, KVF_ERR_CANCELLED);
        assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, NULL), KVF_ERR_CANCELLED);
        assert_int_equal(kvf_transfer_landed(t, 0), 0);
        kvf_transfer_cancel(later);
        assert_int_equal(kvf_transfer_wait(later, -1, NULL), KVF_ERR_CANCELLED);
        fixture_drain(f.engine);
        assert_int_equal(kvf_tier_idle(f.dst.tier, ids, BLOCKS, NULL), KVF_OK);
        expect_untouched(&f, 0, BLOCKS);
        kvf_transfer_release(t);
        kvf_transfer_release(later);
        fixture_free(&f);
    }
}

static void cancelled_while_it_runs(void **state) {
    (void)state;
    fixture_needs(FIXTURE_STEPS);
    fixture f = fixture_make(&engines[0], 40);
    kvf_transfer *t = submit(&f, 0, 4, (kvf_submit_options){.by_layer = true});
    kvf_transfer *later = submit(&f, 0, 4, (kvf_submit_options){.background = true});
    assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, NULL), KVF_OK);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_ERR_CANCELLED);
    assert_int_equal(kvf_transfer_landed(t, 0), 0);
    expect_untouched(&f, 4, BLOCKS - 4);
    assert_false(fixture_holds(f.dst.memory.layout, 0, 100)); /* the last layer was not started */
    assert_int_equal(kvf_transfer_wait(later, -1, NULL), KVF_OK);
    expect_moved(&f, 0, 4);
    kvf_transfer_release(t);
    kvf_transfer_release(later);
    fixture_free(&f);
}

static void cancelled_while_threads_run_it(void **state) {
    (void)state;
    for (int round = 0; round < 200; round++) {
        kvf_host_options options = {.threads = 1 + (unsigned)round % 3};
        fixture f = fixture_make(&options, 2000);
        kvf_transfer *t = submit(&f, 0, BLOCKS, (kvf_submit_options){.background = round % 2});
        for (volatile int spin = 0; spin < round * 40; spin++)
            ;
        kvf_transfer_cancel(t);
        kvf_status status = kvf_transfer_wait(t, -1, NULL);
        assert_true(status == KVF_ERR_CANCELLED || status == KVF_OK);
        assert_int_equal(kvf_transfer_landed(t, 0), status == KVF_OK ? BLOCKS : 0);
        if (status == KVF_OK)
            expect_moved(&f, 0, BLOCKS);
        kvf_transfer_release(t);
        t = submit(&f, 0, BLOCKS, (kvf_submit_options){0});
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        expect_moved(&f, 0, BLOCKS);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

static void cancelled_afterwards(void **state) {
    (void)state;
    fixture f = fixture_make(&engines[1], 40);
    kvf_transfer *t = submit(&f, 0, 4, (kvf_submit_options){0});
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_poll(t, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_landed(t, 0), 4);
    kvf_transfer_cancel(NULL);
    kvf_transfer_release(t);
    kvf_transfer_release(NULL);
    fixture_free(&f);
}

/* Callbacks */

typedef struct call {
    atomic_int count;
    pthread_t thread;
    kvf_status status;
} call;

static void record(void *user, const kvf_error *error) {
    call *c = user;
    c->thread = pthread_self();
    c->status = error->status;
    atomic_fetch_add(&c->count, 1);
}

static void callbacks_run_once_in_the_callers_thread(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        fixture f = fixture_make(&engines[e], 40);
        call c[3] = {0};
        kvf_transfer *waited =
            submit(&f, 0, 1, (kvf_submit_options){.callback = record, .user = &c[0]});
        kvf_transfer *polled =
            submit(&f, 1, 1, (kvf_submit_options){.callback = record, .user = &c[1]});
        const kvf_submit_options o = {.callback = record, .user = &c[2], .background = true};
        const kvf_plan plan = fixture_plan(ids + 2, ids + 2, 1);
        assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, &plan, 1, &o, NULL, NULL),
                         KVF_OK);
        usleep(2000);
        for (int i = 0; i < 3; i++)
            assert_int_equal(atomic_load(&c[i].count), 0); /* only within our calls */
        assert_int_equal(kvf_transfer_wait(waited, -1, NULL), KVF_OK);
        assert_int_equal(atomic_load(&c[0].count), 1);
        while (kvf_transfer_poll(polled, NULL) == KVF_PENDING)
            usleep(10);
        assert_int_equal(atomic_load(&c[1].count), 1);
        fixture_drain(f.engine);
        kvf_engine_progress(f.engine);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(atomic_load(&c[i].count), 1);
            assert_true(pthread_equal(c[i].thread, pthread_self()));
            assert_int_equal(c[i].status, KVF_OK);
        }
        kvf_transfer_release(waited);
        kvf_transfer_release(polled);
        fixture_free(&f);
    }
}

static void callbacks_report_cancelling(void **state) {
    (void)state;
    fixture f = fixture_make(&engines[0], 40);
    call c = {0};
    kvf_transfer *t =
        submit(&f, 0, 1,
               (kvf_submit_options){
                   .callback = record, .user = &c, .background = !fixture_has(FIXTURE_STEPS)});
    kvf_transfer_cancel(t);
    assert_int_equal(atomic_load(&c.count), 0);
    kvf_engine_progress(f.engine);
    assert_int_equal(atomic_load(&c.count), 1);
    assert_int_equal(c.status, KVF_ERR_CANCELLED);
    kvf_transfer_release(t);
    fixture_free(&f);
}

/* A chain: each callback releases its transfer and submits the next. */
typedef struct chain {
    fixture *f;
    kvf_transfer *current;
    size_t next;
} chain;

static void go_on(void *user, const kvf_error *error) {
    chain *c = user;
    assert_int_equal(error->status, KVF_OK);
    kvf_transfer *done = c->current;
    assert_int_equal(kvf_transfer_poll(done, NULL), KVF_OK);
    c->current = NULL;
    if (c->next < BLOCKS) {
        size_t first = c->next++;
        c->current = submit(c->f, first, 1, (kvf_submit_options){.callback = go_on, .user = c});
    }
    kvf_transfer_release(done);
}

static void callbacks_may_submit_and_release(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (int how = 0; how < 4; how++) {
            fixture f = fixture_make(&engines[e], 40);
            chain c = {&f, NULL, 1};
            c.current = submit(
                &f, 0, 1, (kvf_submit_options){.callback = go_on, .user = &c, .by_layer = true});
            while (c.current) {
                /* The callback releases its transfer, whichever call makes it. */
                if (how == 0)
                    kvf_transfer_poll(c.current, NULL);
                else if (how == 1)
                    kvf_transfer_wait(c.current, -1, NULL);
                else if (how == 2)
                    kvf_transfer_wait_layer(c.current, 0, 10, NULL);
                else
                    kvf_engine_progress(f.engine);
            }
            expect_moved(&f, 0, BLOCKS);
            fixture_free(&f);
        }
    }
}

typedef struct crowd {
    kvf_engine *engine;
    atomic_bool stop;
} crowd;

static void *push(void *context) {
    crowd *c = context;
    while (!atomic_load(&c->stop))
        kvf_engine_progress(c->engine);
    return NULL;
}

static void callbacks_run_once_with_many_callers(void **state) {
    (void)state;
    enum { COUNT = 300, THREADS = 3 };
    for (size_t e = 0; e < ENGINES; e++) {
        fixture f = fixture_make(&engines[e], 40);
        crowd c = {.engine = f.engine};
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, push, &c), 0);
        call *calls = calloc(COUNT, sizeof *calls);
        assert_non_null(calls);
        for (size_t i = 0; i < COUNT; i++) {
            const kvf_submit_options o = {
                .callback = record, .user = &calls[i], .background = i % 3 == 0};
            kvf_transfer *t = submit(&f, i % BLOCKS, 1, o);
            if (i % 5 == 0)
                kvf_transfer_cancel(t);
            kvf_transfer_release(t);
        }
        fixture_drain(f.engine);
        atomic_store(&c.stop, true);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(atomic_load(&calls[i].count), 1);
            assert_true(calls[i].status == KVF_OK || i % 5 == 0);
        }
        free(calls);
        fixture_free(&f);
    }
}

/* Waiting from several threads */

typedef struct waiter {
    kvf_transfer *transfer;
    uint32_t layer;
    kvf_status layer_status, status;
} waiter;

static void *wait_for_layer(void *context) {
    waiter *w = context;
    w->layer_status = kvf_transfer_wait_layer(w->transfer, w->layer, -1, NULL);
    w->status = kvf_transfer_wait(w->transfer, -1, NULL);
    return NULL;
}

static void several_threads_wait_for_layers(void **state) {
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (int round = 0; round < 20; round++) {
            fixture f = fixture_make(&engines[e], 400);
            kvf_transfer *t = submit(&f, 0, BLOCKS, (kvf_submit_options){.by_layer = true});
            waiter waiters[3];
            pthread_t threads[3];
            for (uint32_t i = 0; i < 3; i++) {
                waiters[i] = (waiter){.transfer = t, .layer = i};
                assert_int_equal(pthread_create(&threads[i], NULL, wait_for_layer, &waiters[i]), 0);
            }
            for (int i = 0; i < 3; i++) {
                pthread_join(threads[i], NULL);
                assert_int_equal(waiters[i].layer_status, KVF_OK);
                assert_int_equal(waiters[i].status, KVF_OK);
            }
            expect_moved(&f, 0, BLOCKS);
            kvf_transfer_release(t);
            fixture_free(&f);
        }
    }
}

/* Full */

static void a_full_engine_changes_nothing(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    for (size_t e = 0; e < ENGINES; e++) {
        kvf_host_options options = engines[e];
        options.max_transfers = 2;
        options.imitate_latency_us = 30e6;
        fixture f = fixture_make(&options, 40);
        kvf_transfer *a = submit(&f, 0, 2, (kvf_submit_options){0});
        kvf_transfer *b = submit(&f, 2, 2, (kvf_submit_options){.background = true});
        call c = {0};
        kvf_completion *completion = NULL;
        assert_int_equal(kvf_completion_create(NULL, NULL, NULL, &completion, NULL), KVF_OK);
        const kvf_submit_options o = {.callback = record, .user = &c, .completion = completion};
        const kvf_plan plan = fixture_plan(ids + 4, ids + 4, 2);
        kvf_transfer *t = NULL;
        kvf_error error = {0};
        assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, &plan, 1, &o, &t, &error),
                         KVF_ERR_AGAIN);
        assert_int_equal(error.status, KVF_ERR_AGAIN);
        assert_null(t);
        assert_int_equal(kvf_completion_pending(completion), 0);
        assert_int_equal(kvf_tier_idle(f.src.tier, ids + 4, 2, NULL), KVF_OK);
        assert_int_equal(kvf_tier_idle(f.dst.tier, ids + 4, 2, NULL), KVF_OK);
        assert_int_equal(kvf_engine_progress(f.engine), 2);
        kvf_transfer_cancel(a);
        kvf_transfer_cancel(b);
        fixture_drain(f.engine);
        assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, &plan, 1, &o, &t, &error),
                         KVF_OK);
        assert_int_equal(kvf_completion_pending(completion), 1);
        kvf_transfer_cancel(t);
        assert_int_equal(kvf_completion_wait(completion, -1, NULL), KVF_ERR_CANCELLED);
        assert_int_equal(atomic_load(&c.count), 1);
        kvf_completion_release(completion);
        kvf_transfer_release(a);
        kvf_transfer_release(b);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

/* Invalid arguments */

static void expect_submit(kvf_status expected, const fixture *f, const kvf_plan *plan,
                          const kvf_submit_options *o, kvf_error *error) {
    kvf_transfer *t = NULL;
    *error = (kvf_error){0};
    test_expect(expected, kvf_transfer_submit(f->src.tier, f->dst.tier, plan, 1, o, &t, error),
                error);
    assert_null(t);
    assert_int_equal(error->status, expected);
    assert_int_equal(kvf_transfer_submit(f->src.tier, f->dst.tier, plan, 1, o, NULL, NULL),
                     expected);
    assert_int_equal(kvf_engine_progress(f->engine), 0);
}

static void submit_refuses_invalid_arguments(void **state) {
    (void)state;
    fixture f = fixture_make(&engines[0], 40), other = fixture_make(&engines[0], 40);
    kvf_error e = {0};
    const kvf_plan good = fixture_plan(ids, ids, 2);
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(NULL, f.dst.tier, &good, 1, NULL, &t, &e),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_submit(f.src.tier, NULL, &good, 1, NULL, &t, &e),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, NULL, 1, NULL, &t, &e),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_submit(f.src.tier, other.dst.tier, &good, 1, NULL, &t, &e),
                     KVF_ERR_INVALID);
    assert_null(t);

    const kvf_submit_options priority = {.background = true, .priority = KVF_PRIORITIES};
    expect_submit(KVF_ERR_INVALID, &f, &good, &priority, &e);
    assert_int_equal(e.index, KVF_PRIORITIES);
    const kvf_submit_options ordered = {.priority = 1};
    expect_submit(KVF_ERR_INVALID, &f, &good, &ordered, &e);
    const kvf_submit_options src_layout = {.src_layout = 1}, dst_layout = {.dst_layout = SIZE_MAX};
    expect_submit(KVF_ERR_RANGE, &f, &good, &src_layout, &e);
    expect_submit(KVF_ERR_RANGE, &f, &good, &dst_layout, &e);
    const kvf_submit_options layer = {.first_layer = 3},
                             layers = {.first_layer = 2, .layer_count = 2};
    expect_submit(KVF_ERR_RANGE, &f, &good, &layer, &e);
    assert_true(e.index == 3 && e.expected == 3);
    expect_submit(KVF_ERR_RANGE, &f, &good, &layers, &e);

    const uint64_t far[] = {1, BLOCKS}, twice[] = {5, 5};
    kvf_plan bad = fixture_plan(far, ids, 2);
    expect_submit(KVF_ERR_RANGE, &f, &bad, NULL, &e);
    assert_int_equal(e.fields,
                     KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX | KVF_ERROR_EXPECTED);
    assert_true(e.id == BLOCKS && e.index == 0 && e.other_index == 1 && e.expected == BLOCKS);
    bad = fixture_plan(ids, far, 2);
    expect_submit(KVF_ERR_RANGE, &f, &bad, NULL, &e);
    bad = fixture_plan(ids, twice, 2);
    expect_submit(KVF_ERR_CONFLICT, &f, &bad, NULL, &e);
    assert_int_equal(e.id, 5);
    bad = fixture_plan(NULL, ids, 2);
    expect_submit(KVF_ERR_INVALID, &f, &bad, NULL, &e);
    assert_int_equal(e.index, 0);
    assert_int_equal(kvf_transfer_submit(f.src.tier, f.src.tier, &good, 1, NULL, &t, &e),
                     KVF_ERR_CONFLICT);
    expect_untouched(&f, 0, BLOCKS);
    fixture_free(&f);
    fixture_free(&other);
}

static void other_calls_refuse_null(void **state) {
    (void)state;
    kvf_error e = {0};
    assert_int_equal(kvf_transfer_poll(NULL, &e), KVF_ERR_INVALID);
    assert_int_equal(e.status, KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_wait(NULL, 0, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_wait_layer(NULL, 0, 0, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_transfer_landed(NULL, 0), 0);
    assert_int_equal(kvf_engine_progress(NULL), 0);
    assert_string_equal(kvf_engine_name(NULL), "none");
    assert_int_equal(kvf_tier_blocks(NULL), 0);
    assert_int_equal(kvf_tier_memory(NULL), KVF_MEMORY_HOST);
    assert_null(kvf_tier_layout(NULL, 0));
    kvf_engine_destroy(NULL);
    kvf_tier_destroy(NULL);
}

static void engines_refuse_invalid_options(void **state) {
    (void)state;
    kvf_error error = {0};
    kvf_engine *engine = NULL;
    assert_int_equal(kvf_engine_host_create(NULL, NULL, &error), KVF_ERR_INVALID);
    double huge = 1e300;
    const kvf_host_options bad[] = {
        {.background_gbps = -1},
        {.imitate_gbps = -0.5},
        {.background_gbps = 0.99e-3},
        {.imitate_gbps = 1e-300},
        {.imitate_latency_us = -1},
        {.background_gbps = huge * huge},
        {.imitate_gbps = huge * huge},
        {.imitate_latency_us = huge * huge - huge * huge},
        {.threads = 65},
        {.threads = 1, .no_threads = true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kvf_engine_host_create(&bad[i], &engine, &error), KVF_ERR_INVALID);
        assert_null(engine);
    }
    assert_int_equal(error.expected, 0);
    engine = fixture_engine(&(kvf_host_options){.threads = 64});
    assert_string_equal(kvf_engine_name(engine), fixture_engine_name);
    kvf_engine_destroy(engine);
}

static void tiers_refuse_invalid_options(void **state) {
    (void)state;
    kvf_error error = {0};
    kvf_engine *engine = fixture_engine(NULL);
    kvf_shape shape = shape_of(1, 1, 8);
    fixture_memory a = fixture_memory_make(&shape, FIXTURE_CONTIGUOUS);
    shape.blocks = BLOCKS - 1;
    fixture_memory b = fixture_memory_make(&shape, FIXTURE_CONTIGUOUS);
    const kvf_layout *const different[] = {a.layout, b.layout}, *const hole[] = {a.layout, NULL};
    kvf_tier *tier = NULL;
    const kvf_memory kind = fixture_kind(FIXTURE_FAR);
    kvf_tier_options o = {.layouts = different, .layout_count = 1, .memory = kind};
    assert_int_equal(kvf_tier_create(NULL, &o, &tier, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_tier_create(engine, NULL, &tier, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_tier_create(engine, &o, NULL, &error), KVF_ERR_INVALID);
    o.layout_count = 0;
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error), KVF_ERR_INVALID);
    o = (kvf_tier_options){.layout_count = 1, .memory = kind};
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error), KVF_ERR_INVALID);
    o = (kvf_tier_options){.layouts = hole, .layout_count = 2, .memory = kind};
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error), KVF_ERR_INVALID);
    assert_int_equal(error.index, 1);
    o = (kvf_tier_options){.layouts = different, .layout_count = 2, .memory = kind};
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error), KVF_ERR_LAYOUT);
    assert_int_equal(error.index, 1);
    o = (kvf_tier_options){.layouts = hole, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error),
                     fixture_has(FIXTURE_DEVICE) ? KVF_ERR_INVALID : KVF_ERR_UNSUPPORTED);
    assert_null(tier);
    o.memory = KVF_MEMORY_PINNED;
    assert_int_equal(kvf_tier_create(engine, &o, &tier, &error), KVF_OK);
    assert_int_equal(kvf_tier_memory(tier), KVF_MEMORY_PINNED);

    const uint64_t far[] = {0, BLOCKS};
    assert_int_equal(kvf_tier_idle(NULL, ids, 1, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_tier_idle(tier, NULL, 1, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_tier_idle(tier, NULL, 0, &error), KVF_OK);
    assert_int_equal(kvf_tier_idle(tier, far, 2, &error), KVF_ERR_RANGE);
    assert_true(error.id == BLOCKS && error.index == 1 && error.expected == BLOCKS);
    assert_int_equal(kvf_tier_seal(tier, ids, 1, &error), KVF_ERR_UNSUPPORTED);
    assert_int_equal(kvf_tier_seal(NULL, ids, 1, &error), KVF_ERR_INVALID);
    kvf_tier_destroy(tier);
    fixture_memory_free(&a);
    fixture_memory_free(&b);
    kvf_engine_destroy(engine);
}

static void busy_blocks_are_named(void **state) {
    (void)state;
    fixture f = fixture_make(&engines[0], 40);
    kvf_transfer *t = submit(&f, 3, 2, (kvf_submit_options){.background = true});
    kvf_error error = {0};
    assert_int_equal(kvf_tier_idle(f.dst.tier, ids, 3, &error), KVF_OK);
    assert_int_equal(kvf_tier_idle(f.dst.tier, ids + 1, 5, &error), KVF_ERR_BUSY);
    assert_int_equal(error.fields, KVF_ERROR_ID | KVF_ERROR_INDEX);
    assert_true(error.id == 3 && error.index == 2);
    assert_int_equal(kvf_tier_idle(f.src.tier, ids + 4, 1, &error), KVF_ERR_BUSY);
    assert_int_equal(kvf_tier_idle(f.src.tier, ids + 5, 1, &error), KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    assert_int_equal(kvf_tier_idle(f.src.tier, ids, BLOCKS, &error), KVF_OK);
    kvf_transfer_release(t);
    fixture_free(&f);
}

int main(void) {
    if (!fixture_available())
        return FIXTURE_SKIPPED;
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_and_returns_statistics),
        cmocka_unit_test(polls_until_done),
        cmocka_unit_test(ended_transfers_occupy_nothing),
        cmocka_unit_test(empty_transfers_succeed),
        cmocka_unit_test(an_empty_transfer_can_be_cancelled),
        cmocka_unit_test(equals_copying_byte_by_byte),
        cmocka_unit_test(copies_big_blocks),
        cmocka_unit_test(copies_a_single_block_of_any_stride),
        cmocka_unit_test(layouts_of_one_tier_share_slots),
        cmocka_unit_test(waiting_times_out),
        cmocka_unit_test(layers_land_one_after_the_other),
        cmocka_unit_test(layers_count_from_the_first_of_the_layout),
        cmocka_unit_test(several_threads_wait_for_layers),
        cmocka_unit_test(priorities_set_the_order),
        cmocka_unit_test(waiting_transfers_pass_on_their_priority),
        cmocka_unit_test(only_ordered_waiters_bypass_the_cap),
        cmocka_unit_test(the_cap_holds),
        cmocka_unit_test(an_imitated_link_limits_the_speed),
        cmocka_unit_test(statistics_add_up),
        cmocka_unit_test(cancelled_before_it_begins),
        cmocka_unit_test(cancelled_while_it_runs),
        cmocka_unit_test(cancelled_while_threads_run_it),
        cmocka_unit_test(cancelled_afterwards),
        cmocka_unit_test(callbacks_run_once_in_the_callers_thread),
        cmocka_unit_test(callbacks_report_cancelling),
        cmocka_unit_test(callbacks_may_submit_and_release),
        cmocka_unit_test(callbacks_run_once_with_many_callers),
        cmocka_unit_test(a_full_engine_changes_nothing),
        cmocka_unit_test(submit_refuses_invalid_arguments),
        cmocka_unit_test(other_calls_refuse_null),
        cmocka_unit_test(engines_refuse_invalid_options),
        cmocka_unit_test(tiers_refuse_invalid_options),
        cmocka_unit_test(busy_blocks_are_named),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
