/* Destroying objects in every allowed order with transfers in flight. Memory is freed as early as
 * allowed, so that AddressSanitizer finds late accesses. */
#include "support/engine_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { BLOCKS = 16 };

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const kvf_host_options engines[] = {
    {.no_threads = true},
    {.threads = 1},
    {.threads = 3},
    {.no_threads = true, .imitate_latency_us = 60e6},
    {.threads = 2, .imitate_latency_us = 60e6},
    {.threads = 2, .imitate_gbps = 0.5},
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

/* b is on the near side, and so is a or c. */
typedef struct fixture {
    kvf_engine *engine;
    fixture_tier a, b, c;
} fixture;

static fixture fixture_make(const kvf_host_options *options) {
    const bool outward = (options - engines) % 2;
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 2000};
    fixture f = {.engine = fixture_engine(options)};
    f.a = fixture_tier_make_on(f.engine, outward ? FIXTURE_NEAR : FIXTURE_FAR, &shape,
                               FIXTURE_PER_PART, true);
    f.b = fixture_tier_make_on(f.engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, true);
    f.c = fixture_tier_make_on(f.engine, outward ? FIXTURE_FAR : FIXTURE_NEAR, &shape,
                               FIXTURE_PADDED, false);
    fixture_fill_all(f.a.memory.layout, 100);
    return f;
}

static kvf_status try_submit(const fixture_tier *src, const fixture_tier *dst, size_t first,
                             size_t count, const kvf_submit_options *o, kvf_transfer **out) {
    const kvf_plan plan = fixture_plan(ids + first, ids + first, count);
    return kvf_transfer_submit(src->tier, dst->tier, &plan, 1, o, out, NULL);
}

/* a to b and b to c, block by block, half of it in the background. */
static void start(fixture *f, kvf_transfer **t) {
    for (size_t i = 0; i < BLOCKS; i++) {
        const kvf_submit_options o = {.background = i % 2, .by_layer = i % 3 == 0};
        assert_int_equal(try_submit(&f->a, &f->b, i, 1, &o, &t[2 * i]), KVF_OK);
        assert_int_equal(try_submit(&f->b, &f->c, i, 1, &o, &t[2 * i + 1]), KVF_OK);
    }
}

static void expect_ended(kvf_transfer **t) {
    for (size_t i = 0; i < 2 * BLOCKS; i++) {
        kvf_status status = kvf_transfer_poll(t[i], NULL);
        /* A reader of a block whose writer was cancelled half-way finds it corrupt. */
        bool torn = i % 2 == 1 && status == KVF_ERR_CORRUPT;
        assert_true(status == KVF_OK || status == KVF_ERR_CANCELLED || torn);
        assert_int_equal(kvf_transfer_wait(t[i], -1, NULL), status);
        assert_int_equal(kvf_transfer_landed(t[i], 0), status == KVF_OK);
        kvf_transfer_stats stats;
        kvf_transfer_stats_get(t[i], &stats);
        assert_int_equal(stats.bytes, torn ? 0 : 8000);
        kvf_transfer_cancel(t[i]);
        kvf_transfer_release(t[i]);
    }
}

/* Tiers in every order, then the engine. */
static void tiers_end_first(void **state) {
    (void)state;
    for (int k = 0; k < 6 * ENGINES; k++) {
        if (!fixture_offers(&engines[k % ENGINES]))
            continue;
        fixture f = fixture_make(&engines[k % ENGINES]);
        kvf_transfer *t[2 * BLOCKS];
        start(&f, t);
        fixture_tier *tiers[] = {&f.a, &f.b, &f.c};
        for (int i = 0; i < 3; i++)
            fixture_tier_free(tiers[(k / ENGINES + i) % 3]);
        if (k / ENGINES < 3)
            kvf_engine_destroy(f.engine);
        expect_ended(t);
        if (k / ENGINES >= 3)
            kvf_engine_destroy(f.engine);
    }
}

static void the_engine_ends_first(void **state) {
    (void)state;
    for (int k = 0; k < 3 * ENGINES; k++) {
        if (!fixture_offers(&engines[k % ENGINES]))
            continue;
        fixture f = fixture_make(&engines[k % ENGINES]);
        kvf_transfer *t[2 * BLOCKS], *none = NULL;
        start(&f, t);
        kvf_engine_destroy(f.engine);
        assert_int_equal(try_submit(&f.a, &f.b, 0, 1, NULL, &none), KVF_ERR_BROKEN);
        assert_int_equal(try_submit(&f.a, &f.b, 0, 0, NULL, &none), KVF_ERR_BROKEN);
        assert_null(none);
        assert_int_equal(kvf_tier_idle(f.b.tier, ids, BLOCKS, NULL), KVF_OK);
        assert_int_equal(kvf_tier_blocks(f.b.tier), BLOCKS);
        if (k % 2)
            expect_ended(t);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
        if (k % 2 == 0)
            expect_ended(t);
    }
}

static void layouts_may_be_destroyed_at_once(void **state) {
    (void)state;
    kvf_engine *engine = fixture_engine(&engines[2]);
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 200};
    fixture_tier a = fixture_tier_make(engine, &shape, FIXTURE_PER_PART, true);
    fixture_tier b = fixture_tier_make_on(engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_fill_all(a.memory.layout, 7);
    kvf_layout_destroy(a.memory.layout);
    kvf_layout_destroy(b.memory.layout);
    kvf_transfer *t = NULL;
    assert_int_equal(try_submit(&a, &b, 0, BLOCKS, NULL, &t), KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    for (uint64_t id = 0; id < BLOCKS; id++)
        assert_true(fixture_holds(kvf_tier_layout(b.tier, 0), id, 7 + id));
    a.memory.layout = b.memory.layout = NULL;
    fixture_tier_free(&a);
    fixture_tier_free(&b);
    kvf_engine_destroy(engine);
    kvf_transfer_release(t);
}

/* Destroying in one thread while others wait, poll and query */

typedef struct watcher {
    kvf_transfer *transfer;
    kvf_status status;
    bool poll;
} watcher;

static void *watch(void *context) {
    watcher *w = context;
    do {
        w->status = w->poll ? kvf_transfer_poll(w->transfer, NULL)
                            : kvf_transfer_wait(w->transfer, -1, NULL);
    } while (w->status == KVF_PENDING);
    kvf_transfer_release(w->transfer);
    return NULL;
}

static void destroying_while_others_wait(void **state) {
    (void)state;
    enum { WATCHERS = 3 };
    for (int k = 0; k < 10 * ENGINES; k++) {
        if (!fixture_offers(&engines[k % ENGINES]))
            continue;
        fixture f = fixture_make(&engines[k % ENGINES]);
        watcher w[WATCHERS];
        pthread_t threads[WATCHERS];
        for (size_t i = 0; i < WATCHERS; i++) {
            w[i] = (watcher){.poll = (i + (size_t)k) % 2};
            assert_int_equal(try_submit(&f.a, i % 2 ? &f.b : &f.c, i * 4, 4, NULL, &w[i].transfer),
                             KVF_OK);
            assert_int_equal(pthread_create(&threads[i], NULL, watch, &w[i]), 0);
        }
        if (k % 3 == 0)
            usleep(50);
        bool engine_first = k / ENGINES % 2;
        if (engine_first)
            kvf_engine_destroy(f.engine);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
        if (!engine_first)
            kvf_engine_destroy(f.engine);
        for (int i = 0; i < WATCHERS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(w[i].status == KVF_OK || w[i].status == KVF_ERR_CANCELLED);
        }
    }
}

typedef struct busy {
    fixture *f;
    atomic_bool stop;
    atomic_int rounds;
} busy;

static void *keep_busy(void *context) {
    busy *b = context;
    while (!atomic_load(&b->stop)) {
        kvf_transfer *t = NULL;
        kvf_status status = try_submit(&b->f->a, &b->f->b, 0, 4, NULL, &t);
        if (status == KVF_ERR_AGAIN)
            continue;
        assert_int_equal(status, KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        kvf_transfer_release(t);
        atomic_fetch_add(&b->rounds, 1);
    }
    return NULL;
}

/* A cancelled transfer keeps its place in the engine until those before it have ended. */
static void submit_with_patience(fixture *f, const fixture_tier *src, const fixture_tier *dst,
                                 size_t first, size_t count) {
    kvf_status status;
    while ((status = try_submit(src, dst, first, count, NULL, NULL)) == KVF_ERR_AGAIN)
        kvf_engine_progress(f->engine);
    assert_int_equal(status, KVF_OK);
}

/* A tier is created and destroyed while the engine's other tiers are in use. */
static void other_tiers_are_not_disturbed(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        fixture f = fixture_make(&engines[k]);
        busy b = {.f = &f};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, keep_busy, &b), 0);
        const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 2000};
        for (int i = 0; i < 60 || atomic_load(&b.rounds) < 3; i++) {
            fixture_tier tier =
                fixture_tier_make_on(f.engine, FIXTURE_NEAR, &shape, FIXTURE_PAGE_FIRST, i % 2);
            submit_with_patience(&f, &f.a, &tier, 0, BLOCKS);
            submit_with_patience(&f, &tier, &f.c, 4, 4);
            fixture_tier_free(&tier);
        }
        atomic_store(&b.stop, true);
        pthread_join(thread, NULL);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
        kvf_engine_destroy(f.engine);
    }
}

/* Callbacks */

static void count(void *user, const kvf_error *error) {
    assert_true(error->status == KVF_OK || error->status == KVF_ERR_CANCELLED);
    atomic_fetch_add((atomic_int *)user, 1);
}

static void ending_delivers_callbacks(void **state) {
    (void)state;
    for (int k = 0; k < ENGINES && fixture_offers(&engines[k]); k++) {
        fixture f = fixture_make(&engines[k]);
        atomic_int calls = 0;
        kvf_completion *completion = NULL;
        assert_int_equal(kvf_completion_create(count, &calls, NULL, &completion, NULL), KVF_OK);
        for (size_t i = 0; i < BLOCKS; i++) {
            const kvf_submit_options o = {
                .callback = count, .user = &calls, .completion = completion};
            assert_int_equal(try_submit(&f.a, &f.b, i, 1, &o, NULL), KVF_OK);
        }
        kvf_completion_arm(completion);
        kvf_completion_release(completion);
        kvf_engine_destroy(f.engine);
        assert_int_equal(atomic_load(&calls), BLOCKS + 1);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
    }
}

typedef struct lengthy {
    kvf_transfer *transfer;
    atomic_int entered, left;
} lengthy;

static void take_time(void *user, const kvf_error *error) {
    (void)error;
    lengthy *l = user;
    atomic_store(&l->entered, 1);
    usleep(20000);
    atomic_store(&l->left, 1);
}

static void *poll_until_ended(void *context) {
    lengthy *l = context;
    while (kvf_transfer_poll(l->transfer, NULL) == KVF_PENDING)
        usleep(10);
    return NULL;
}

/* After destroy returns no callback runs, whichever thread would call it. */
static void ending_waits_for_callbacks(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        fixture f = fixture_make(&engines[k]);
        lengthy l = {0};
        const kvf_submit_options o = {.callback = take_time, .user = &l};
        assert_int_equal(try_submit(&f.a, &f.b, 0, 1, &o, &l.transfer), KVF_OK);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, poll_until_ended, &l), 0);
        while (!atomic_load(&l.entered))
            usleep(100);
        kvf_engine_destroy(f.engine);
        assert_int_equal(atomic_load(&l.left), 1);
        pthread_join(thread, NULL);
        kvf_transfer_release(l.transfer);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
    }
}

/* A callback may release the transfer that holds the last reference to a destroyed engine. */
static void release_all(void *user, const kvf_error *error) {
    (void)error;
    kvf_transfer **t = user;
    for (int i = 0; i < 2; i++)
        kvf_transfer_release(t[i]);
}

static void callbacks_release_the_last_transfer(void **state) {
    (void)state;
    for (int k = 0; k < ENGINES && fixture_offers(&engines[k]); k++) {
        fixture f = fixture_make(&engines[k]);
        kvf_transfer *t[2] = {0};
        assert_int_equal(try_submit(&f.a, &f.b, 0, 4, NULL, &t[0]), KVF_OK);
        const kvf_submit_options o = {.callback = release_all, .user = t};
        assert_int_equal(try_submit(&f.a, &f.b, 0, 4, &o, &t[1]), KVF_OK);
        fixture_tier_free(&f.a);
        fixture_tier_free(&f.b);
        fixture_tier_free(&f.c);
        kvf_engine_destroy(f.engine);
    }
}

int main(void) {
    if (!fixture_available())
        return FIXTURE_SKIPPED;
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiers_end_first),
        cmocka_unit_test(the_engine_ends_first),
        cmocka_unit_test(layouts_may_be_destroyed_at_once),
        cmocka_unit_test(destroying_while_others_wait),
        cmocka_unit_test(other_tiers_are_not_disturbed),
        cmocka_unit_test(ending_delivers_callbacks),
        cmocka_unit_test(ending_waits_for_callbacks),
        cmocka_unit_test(callbacks_release_the_last_transfer),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
