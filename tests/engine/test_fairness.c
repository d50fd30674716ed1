/* Fairness of the engine: no transfer starves, and no caller's request holds up the others. */
#include "support/engine_fixture.h"

#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t now_us(void) {
    return kvf__now() / 1000;
}

/* Two tiers of one shape. */
typedef struct fixture {
    kvf_engine *engine;
    fixture_tier src, dst;
} fixture;

static fixture fixture_make(const kvf_host_options *options, const kvf_shape *shape) {
    fixture f = {.engine = fixture_engine(options)};
    f.src = fixture_tier_make(f.engine, shape, FIXTURE_CONTIGUOUS, false);
    f.dst = fixture_tier_make(f.engine, shape, FIXTURE_PER_PART, false);
    return f;
}

static void fixture_free(fixture *f) {
    fixture_tier_free(&f->src);
    fixture_tier_free(&f->dst);
    kvf_engine_destroy(f->engine);
}

static kvf_transfer *submit(fixture *f, const uint64_t *ids, size_t count,
                            const kvf_submit_options *options) {
    const kvf_plan plan = fixture_plan(ids, ids, count);
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK,
                kvf_transfer_submit(f->src.tier, f->dst.tier, &plan, 1, options, &t, &error),
                &error);
    return t;
}

/* Order */

/* A submitter keeps a number of transfers in flight, each of several chunks, and replaces each that
 * ends at once. Only a few later ones may overtake any of them. */
static void no_transfer_starves(void **state) {
    (void)state;
    enum { IN_FLIGHT = 8, BLOCKS = 4, ROUNDS = 400 };
    const kvf_shape shape = {
        .blocks = IN_FLIGHT * BLOCKS, .layers = 1, .parts = 1, .bytes = 1 << 19};
    fixture f = fixture_make(&(kvf_host_options){.no_threads = true}, &shape);
    struct {
        uint64_t ids[BLOCKS];
        kvf_transfer *transfer;
        unsigned born, overtaken;
    } flights[IN_FLIGHT];
    unsigned born = 0;
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        for (unsigned k = 0; k < BLOCKS; k++)
            flights[i].ids[k] = i * BLOCKS + k;
        flights[i].transfer = submit(&f, flights[i].ids, BLOCKS, NULL);
        flights[i].born = born++;
        flights[i].overtaken = 0;
    }
    while (born < ROUNDS) {
        for (unsigned i = 0; i < IN_FLIGHT; i++) {
            if (kvf_transfer_poll(flights[i].transfer, NULL) != KVF_OK)
                continue;
            for (unsigned k = 0; k < IN_FLIGHT; k++)
                if (flights[k].born < flights[i].born)
                    assert_true(++flights[k].overtaken <= IN_FLIGHT);
            kvf_transfer_release(flights[i].transfer);
            flights[i].transfer = submit(&f, flights[i].ids, BLOCKS, NULL);
            flights[i].born = born++;
            flights[i].overtaken = 0;
        }
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        kvf_transfer_release(flights[i].transfer);
    fixture_free(&f);
}

/* Statistics */

/* Boxes are counted once, however often statistics are queried. */
static void statistics_of_many_boxes_are_cheap(void **state) {
    (void)state;
    enum { BLOCKS = 1 << 16, ASKS = 1000 };
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 64, .parts = 1, .bytes = 1};
    fixture f = fixture_make(&(kvf_host_options){.no_threads = true}, &shape);
    uint64_t *order = malloc(2 * BLOCKS * sizeof *order), *straight = order + BLOCKS;
    assert_non_null(order);
    test_random random = test_random_make(1);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        uint64_t at = test_random_below(&random, i + 1);
        order[i] = order[at];
        order[at] = straight[i] = i;
    }
    const kvf_plan plan = fixture_plan(order, straight, BLOCKS);
    const kvf_submit_options by_layer = {.by_layer = true};
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, &plan, 1, &by_layer, &t, NULL),
                     KVF_OK);
    uint64_t start = now_us();
    kvf_transfer_stats first, stats;
    kvf_transfer_stats_get(t, &first);
    for (int i = 0; i < ASKS; i++)
        kvf_transfer_stats_get(t, &stats);
    assert_true(now_us() - start < 5000000);
    assert_true(first.boxes >= BLOCKS && stats.boxes == first.boxes);
    assert_true(stats.blocks == BLOCKS && stats.bytes == 64 * BLOCKS);
    kvf_transfer_cancel(t);
    kvf_transfer_release(t);
    free(order);
    fixture_free(&f);
}

/* Corrupt blocks shorten a transfer while a thread queries its statistics. */
static void statistics_while_a_transfer_shrinks(void **state) {
    (void)state;
    enum { BLOCKS = 64 };
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 16, .parts = 2, .bytes = 64};
    uint64_t ids[BLOCKS];
    for (uint64_t i = 0; i < BLOCKS; i++)
        ids[i] = i * 5 % BLOCKS;
    kvf_engine *engine = fixture_engine(&(kvf_host_options){.threads = 2});
    fixture_tier src = fixture_tier_make(engine, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_tier dst = fixture_tier_make(engine, &shape, FIXTURE_PER_PART, false);
    fixture_fill_all(src.memory.layout, 1);
    assert_int_equal(kvf_tier_seal(src.tier, ids, BLOCKS, NULL), KVF_OK);
    *fixture_byte(src.memory.layout, 0, ids[BLOCKS / 2], 0, 0) ^= 1;
    for (int round = 0; round < 100; round++) {
        const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
        kvf_transfer *t = NULL;
        assert_int_equal(kvf_transfer_submit(src.tier, dst.tier, &plan, 1, NULL, &t, NULL), KVF_OK);
        kvf_transfer_stats stats;
        kvf_status status;
        do {
            status = kvf_transfer_poll(t, NULL);
            kvf_transfer_stats_get(t, &stats);
            assert_true(stats.blocks == BLOCKS || stats.blocks == BLOCKS / 2);
            assert_true(stats.boxes > 0 && stats.boxes <= 32 * stats.blocks);
        } while (status == KVF_PENDING);
        assert_int_equal(status, KVF_ERR_CORRUPT);
        assert_int_equal(stats.blocks, BLOCKS / 2);
        kvf_transfer_release(t);
    }
    fixture_tier_free(&src);
    fixture_tier_free(&dst);
    kvf_engine_destroy(engine);
}

/* Allocators that check the engine's locks */

typedef struct watcher {
    kvf_allocator allocator;
    kvf_engine *engine; /* its locks must be free; NULL: not checked */
    size_t calls, under_lock, live;
} watcher;

static void *watch(void *user, void *block, size_t old_size, size_t new_size) {
    watcher *w = user;
    w->calls++;
    if (w->engine) {
        if (pthread_mutex_trylock(&w->engine->lock) == 0)
            pthread_mutex_unlock(&w->engine->lock);
        else
            w->under_lock++;
    }
    w->live += new_size - old_size;
    if (new_size > 0)
        return realloc(block, new_size);
    free(block);
    return NULL;
}

static void watcher_init(watcher *w) {
    *w = (watcher){.allocator = {watch, w}};
}

/* A full engine refuses before it reads the plans. */
static void refusing_is_cheap(void **state) {
    (void)state;
    const uint64_t ids[] = {0, 1, 2, 3};
    const kvf_shape shape = {.blocks = 4, .layers = 2, .parts = 1, .bytes = 8};
    watcher w;
    watcher_init(&w);
    fixture f = fixture_make(
        &(kvf_host_options){.no_threads = true, .max_transfers = 1, .allocator = &w.allocator},
        &shape);
    kvf_transfer *t = submit(&f, ids, 2, NULL), *more = NULL;
    size_t calls = w.calls;
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    kvf_error error = {0};
    assert_int_equal(kvf_transfer_submit(f.src.tier, f.dst.tier, &plan, 1, NULL, &more, &error),
                     KVF_ERR_AGAIN);
    assert_int_equal(error.status, KVF_ERR_AGAIN);
    assert_null(more);
    assert_int_equal(w.calls, calls);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
    t = submit(&f, ids, 4, NULL);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
    fixture_free(&f);
    assert_int_equal(w.live, 0);
}

static void count(void *user, const kvf_error *error) {
    (void)error;
    ++*(int *)user;
}

/* A completion that only its transfers still hold is freed with the last of them, and frees those
 * that only it holds. The caller's allocator must then be called without a lock. */
static void completions_are_freed_without_locks(void **state) {
    (void)state;
    const uint64_t ids[] = {0, 1, 2, 3};
    const kvf_shape shape = {.blocks = 4, .layers = 2, .parts = 1, .bytes = 8};
    for (int kind = 0; kind < 6; kind++) { /* none, armed or unarmed; done or cancelled */
        watcher w, own;
        watcher_init(&w);
        watcher_init(&own);
        fixture f = fixture_make(&(kvf_host_options){.no_threads = true, .allocator = &w.allocator},
                                 &shape);
        int calls = 0;
        kvf_completion *completion = NULL;
        assert_int_equal(kvf_completion_create(kind % 3 ? count : NULL, &calls, &own.allocator,
                                               &completion, NULL),
                         KVF_OK);
        const kvf_submit_options o = {.completion = completion};
        kvf_transfer *t[4];
        for (size_t i = 0; i < 4; i++)
            t[i] = submit(&f, &ids[i], 1, &o);
        if (kind % 3 == 1)
            kvf_completion_arm(completion);
        kvf_completion_release(completion);
        w.engine = own.engine = f.engine;
        for (size_t i = 0; i < 4; i++) {
            if (kind >= 3)
                kvf_transfer_cancel(t[i]);
            kvf_transfer_release(t[i]);
        }
        fixture_drain(f.engine);
        kvf_engine_progress(f.engine);
        assert_int_equal(w.under_lock, 0);
        assert_int_equal(own.under_lock, 0);
        assert_int_equal(own.live, 0);
        assert_int_equal(calls, kind % 3 == 1);
        w.engine = NULL;
        fixture_free(&f);
        assert_int_equal(w.live, 0);
    }
}

/* Slow links */

/* An imitated link holds one unit for seconds; cancelling does not wait for it. */
static void cancelling_ends_the_wait_for_a_link(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = 2, .layers = 1, .parts = 1, .bytes = 8 << 20};
    const uint64_t ids[] = {0, 1};
    for (unsigned threads = 0; threads < 3; threads++) {
        for (int destroy = 0; destroy < 2; destroy++) {
            fixture f = fixture_make(&(kvf_host_options){.no_threads = threads == 0,
                                                         .threads = threads,
                                                         .imitate_gbps = 1e-3},
                                     &shape);
            kvf_transfer *t = submit(&f, ids, 2, NULL);
            for (int i = 0; i < 20; i++) {
                assert_int_equal(kvf_transfer_poll(t, NULL), KVF_PENDING);
                usleep(1000);
            }
            uint64_t start = now_us();
            if (destroy) {
                kvf_tier_destroy(f.dst.tier);
                f.dst.tier = NULL;
            } else {
                kvf_transfer_cancel(t);
                kvf_status status = kvf_transfer_wait(t, -1, NULL);
                assert_true(status == KVF_ERR_CANCELLED || status == KVF_OK);
                fixture_drain(f.engine);
            }
            assert_true(now_us() - start < 4000000); /* of 8 s, or 16 */
            kvf_transfer_release(t);
            fixture_free(&f);
        }
    }
}

/* A worker that waits for the link does not consume another worker's wake-up. */
static void a_slow_link_does_not_delay_other_workers(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = 4, .layers = 1, .parts = 1, .bytes = 1 << 20};
    const uint64_t ids[] = {0, 1, 2, 3};
    fixture f = fixture_make(&(kvf_host_options){.threads = 3, .imitate_gbps = 0.01}, &shape);
    for (int round = 0; round < 3; round++) {
        kvf_transfer *slow = submit(&f, ids, 2, NULL);
        usleep(2000);
        kvf_transfer *cancelled = submit(&f, ids + 2, 1, NULL);
        kvf_transfer *other = submit(&f, ids + 3, 1, NULL);
        usleep(2000);
        kvf_transfer_cancel(cancelled);
        assert_int_equal(kvf_transfer_wait(other, -1, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(slow, -1, NULL), KVF_OK);
        assert_int_not_equal(kvf_transfer_wait(cancelled, -1, NULL), KVF_PENDING);
        kvf_transfer_release(slow);
        kvf_transfer_release(cancelled);
        kvf_transfer_release(other);
    }
    fixture_free(&f);
}

int main(void) {
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_transfer_starves),
        cmocka_unit_test(statistics_of_many_boxes_are_cheap),
        cmocka_unit_test(statistics_while_a_transfer_shrinks),
        cmocka_unit_test(refusing_is_cheap),
        cmocka_unit_test(completions_are_freed_without_locks),
        cmocka_unit_test(cancelling_ends_the_wait_for_a_link),
        cmocka_unit_test(a_slow_link_does_not_delay_other_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
