#include "support/engine_fixture.h"

#include "engine/completion.h"
#include "engine/transfer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { BLOCKS = 8 };

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};

typedef struct fixture {
    kvf_engine *engine;
    fixture_tier src, dst;
} fixture;

static fixture fixture_make(const kvf_host_options *options) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .bytes = 64};
    fixture s = {.engine = fixture_engine(options)};
    s.src = fixture_tier_make(s.engine, &shape, FIXTURE_PER_PART, true);
    s.dst = fixture_tier_make(s.engine, &shape, FIXTURE_CONTIGUOUS, false);
    fixture_fill_all(s.src.memory.layout, 10);
    return s;
}

static void fixture_free(fixture *s) {
    fixture_tier_free(&s->src);
    fixture_tier_free(&s->dst);
    kvf_engine_destroy(s->engine);
}

typedef struct call {
    atomic_int count;
    kvf_status status;
    uint64_t id;
    kvf_completion *release; /* by the callback */
} call;

static void record(void *user, const kvf_error *error) {
    call *c = user;
    c->status = error->status;
    c->id = error->id;
    atomic_fetch_add(&c->count, 1);
    kvf_completion_release(c->release);
}

static kvf_completion *completion_make(call *c) {
    kvf_completion *completion = NULL;
    assert_int_equal(kvf_completion_create(c ? record : NULL, c, NULL, &completion, NULL), KVF_OK);
    return completion;
}

static kvf_status try_submit(fixture *s, size_t block, kvf_completion *completion,
                             kvf_transfer **out, kvf_error *error) {
    const kvf_plan plan = fixture_plan(ids + block, ids + block, 1);
    const kvf_submit_options o = {.completion = completion};
    return kvf_transfer_submit(s->src.tier, s->dst.tier, &plan, 1, &o, out, error);
}

static void submit(fixture *s, size_t block, kvf_completion *completion) {
    kvf_error error = {0};
    test_expect(KVF_OK, try_submit(s, block, completion, NULL, &error), &error);
}

static const kvf_host_options no_threads = {.no_threads = true}, threads = {.threads = 2},
                              slow = {.threads = 1, .imitate_latency_us = 60e6};

static void counts_transfers_of_several_engines(void **state) {
    (void)state;
    fixture a = fixture_make(&no_threads), b = fixture_make(&threads);
    call c = {0};
    kvf_completion *completion = completion_make(&c);
    for (size_t i = 0; i < BLOCKS; i++)
        submit(i % 2 ? &a : &b, i, completion);
    assert_true(kvf_completion_pending(completion) >= BLOCKS / 2);
    fixture_drain(a.engine);
    fixture_drain(b.engine);
    assert_int_equal(kvf_completion_pending(completion), 0);
    assert_int_equal(atomic_load(&c.count), 0); /* not armed yet */
    assert_int_equal(kvf_completion_poll(completion, NULL), KVF_OK);
    assert_int_equal(atomic_load(&c.count), 1);
    assert_int_equal(kvf_completion_wait(completion, -1, NULL), KVF_OK);
    kvf_completion_arm(completion);
    assert_int_equal(atomic_load(&c.count), 1);
    for (size_t i = 0; i < BLOCKS; i++)
        assert_true(fixture_holds((i % 2 ? &a : &b)->dst.memory.layout, i, 10 + i));
    kvf_completion_release(completion);
    fixture_free(&a);
    fixture_free(&b);
}

static void waiting_makes_progress_in_all_engines(void **state) {
    (void)state;
    fixture a = fixture_make(&no_threads), b = fixture_make(&no_threads),
            c = fixture_make(&threads);
    call called = {0};
    kvf_completion *completion = completion_make(&called);
    for (size_t i = 0; i < BLOCKS; i++) {
        submit(&a, i, completion);
        submit(&b, i, completion);
        submit(&c, i, completion);
    }
    assert_int_equal(kvf_completion_wait(completion, -1, NULL), KVF_OK);
    assert_int_equal(atomic_load(&called.count), 1);
    assert_int_equal(called.status, KVF_OK);
    kvf_completion_release(completion);
    fixture_free(&a);
    fixture_free(&b);
    fixture_free(&c);
}

static void a_completion_of_nothing_is_complete(void **state) {
    (void)state;
    call c = {0};
    kvf_completion *completion = completion_make(&c);
    assert_int_equal(kvf_completion_pending(completion), 0);
    assert_int_equal(atomic_load(&c.count), 0);
    kvf_completion_arm(completion);
    assert_int_equal(atomic_load(&c.count), 1);
    assert_int_equal(kvf_completion_poll(completion, NULL), KVF_OK);
    assert_int_equal(atomic_load(&c.count), 1);
    kvf_completion_release(completion);
}

static void polls_and_times_out(void **state) {
    (void)state;
    fixture s = fixture_make(&slow);
    kvf_completion *completion = completion_make(NULL);
    kvf_transfer *t = NULL;
    assert_int_equal(try_submit(&s, 0, completion, &t, NULL), KVF_OK);
    submit(&s, 1, completion);
    kvf_error error = {0};
    assert_int_equal(kvf_completion_poll(completion, &error), KVF_PENDING);
    assert_int_equal(error.status, KVF_OK);
    assert_int_equal(kvf_completion_wait(completion, 0, &error), KVF_ERR_TIMEOUT);
    assert_int_equal(error.status, KVF_ERR_TIMEOUT);
    assert_int_equal(kvf_completion_wait(completion, 2000, &error), KVF_ERR_TIMEOUT);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_completion_pending(completion), 1);
    assert_int_equal(kvf_completion_poll(completion, NULL), KVF_PENDING);
    kvf_tier_destroy(s.src.tier);
    s.src.tier = NULL;
    assert_int_equal(kvf_completion_poll(completion, &error), KVF_ERR_CANCELLED);
    assert_int_equal(error.status, KVF_ERR_CANCELLED);
    kvf_transfer_release(t);
    kvf_completion_release(completion);
    fixture_free(&s);
}

static void the_first_error_is_kept(void **state) {
    (void)state;
    fixture s = fixture_make(&no_threads);
    call c = {0};
    kvf_completion *completion = completion_make(&c);
    assert_int_equal(kvf_tier_seal(s.src.tier, ids, BLOCKS, NULL), KVF_OK);
    *fixture_byte(s.src.memory.layout, 0, 2, 0, 5) ^= 1;
    *fixture_byte(s.src.memory.layout, 0, 3, 0, 5) ^= 1;
    kvf_transfer *t = NULL;
    submit(&s, 1, completion);
    assert_int_equal(try_submit(&s, 2, completion, &t, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_ERR_CORRUPT);
    submit(&s, 3, completion);
    submit(&s, 4, completion);
    kvf_error error = {0};
    assert_int_equal(kvf_completion_wait(completion, -1, &error), KVF_ERR_CORRUPT);
    assert_true(error.id == 2 && c.id == 2 && c.status == KVF_ERR_CORRUPT);
    assert_true(fixture_holds(s.dst.memory.layout, 4, 14));
    kvf_transfer_release(t);
    kvf_completion_release(completion);
    fixture_free(&s);
}

static void an_armed_completion_refuses_transfers(void **state) {
    (void)state;
    fixture s = fixture_make(&no_threads);
    kvf_completion *completion = completion_make(NULL);
    submit(&s, 0, completion);
    kvf_completion_arm(completion);
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    assert_int_equal(try_submit(&s, 1, completion, &t, &error), KVF_ERR_INVALID);
    assert_null(t);
    assert_int_equal(kvf_completion_pending(completion), 1);
    assert_int_equal(kvf_tier_idle(s.dst.tier, ids + 1, 1, NULL), KVF_OK);
    assert_int_equal(kvf_completion_wait(completion, -1, NULL), KVF_OK);
    kvf_completion_release(completion);
    fixture_free(&s);
}

static void a_released_completion_still_calls_back(void **state) {
    (void)state;
    fixture s = fixture_make(&threads);
    call c = {0};
    kvf_completion *completion = completion_make(&c);
    for (size_t i = 0; i < BLOCKS; i++)
        submit(&s, i, completion);
    kvf_completion_arm(completion);
    kvf_completion_release(completion);
    fixture_drain(s.engine);
    kvf_engine_progress(s.engine);
    assert_int_equal(atomic_load(&c.count), 1);
    fixture_free(&s);
}

static void the_callback_may_release_the_completion(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        fixture s = fixture_make(how % 2 ? &threads : &no_threads);
        call c = {0};
        c.release = completion_make(&c);
        if (how < 3)
            submit(&s, 0, c.release);
        if (how == 0)
            assert_int_equal(kvf_completion_wait(c.release, -1, NULL), KVF_OK);
        while (how > 0 && atomic_load(&c.count) == 0)
            kvf_completion_poll(c.release, NULL);
        assert_int_equal(atomic_load(&c.count), 1);
        fixture_free(&s);
    }
}

/* Many submits, waits and cancels at once. */
typedef struct work {
    fixture *s;
    kvf_completion *completion;
    size_t block;
} work;

static void *submit_many(void *context) {
    work *w = context;
    for (int i = 0; i < 50; i++) {
        kvf_transfer *t = NULL;
        assert_int_equal(try_submit(w->s, w->block, w->completion, &t, NULL), KVF_OK);
        if (i % 7 == 0)
            kvf_transfer_cancel(t);
        kvf_transfer_release(t);
    }
    return NULL;
}

static void *wait_for(void *context) {
    work *w = context;
    kvf_status status = kvf_completion_wait(w->completion, -1, NULL);
    assert_true(status == KVF_OK || status == KVF_ERR_CANCELLED);
    return NULL;
}

static void run_all(pthread_t *t, void *(*function)(void *), work *w, int count) {
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&t[i], NULL, function, &w[i]), 0);
    for (int i = 0; i < count; i++)
        pthread_join(t[i], NULL);
}

static void from_several_threads(void **state) {
    (void)state;
    enum { THREADS = 3 };
    for (int round = 0; round < 30; round++) {
        fixture a = fixture_make(&no_threads), b = fixture_make(&threads);
        call c = {0};
        kvf_completion *completion = completion_make(&c);
        pthread_t t[THREADS];
        work w[THREADS];
        for (size_t i = 0; i < THREADS; i++)
            w[i] = (work){i % 2 ? &a : &b, completion, i};
        run_all(t, submit_many, w, THREADS);
        run_all(t, wait_for, w, THREADS);
        fixture_drain(a.engine);
        fixture_drain(b.engine);
        assert_int_equal(kvf_completion_pending(completion), 0);
        fixture_free(&a);
        fixture_free(&b);
        assert_int_equal(atomic_load(&c.count), 1);
        kvf_completion_release(completion);
    }
}

/* A failed submit counts its transfer out again, which may complete the completion. */
static void failed_submits_do_not_count(void **state) {
    (void)state;
    fixture s = fixture_make(&no_threads), other = fixture_make(&no_threads);
    call c = {0};
    kvf_completion *completion = completion_make(&c), *unused = completion_make(NULL);
    kvf_transfer *t = NULL;
    assert_int_equal(try_submit(&s, 0, unused, &t, NULL), KVF_OK);
    submit(&other, 1, completion);
    assert_int_equal(kvf__completion_add(completion, t, NULL), KVF_OK);
    assert_int_equal(kvf_completion_pending(completion), 2);
    kvf_completion_arm(completion);
    fixture_drain(other.engine);
    assert_int_equal(atomic_load(&c.count), 0);
    kvf__completion_remove(completion, t);
    assert_int_equal(kvf_completion_pending(completion), 0);
    kvf_engine_progress(s.engine);
    assert_int_equal(atomic_load(&c.count), 1);
    assert_int_equal(c.status, KVF_OK);
    assert_int_equal(kvf_completion_wait(unused, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
    kvf_completion_release(completion);
    kvf_completion_release(unused);
    fixture_free(&s);
    fixture_free(&other);
}

static void refuses_null(void **state) {
    (void)state;
    kvf_error error = {0};
    assert_int_equal(kvf_completion_create(NULL, NULL, NULL, NULL, &error), KVF_ERR_INVALID);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_int_equal(kvf_completion_poll(NULL, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_completion_wait(NULL, -1, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_completion_pending(NULL), 0);
    kvf_completion_arm(NULL);
    kvf_completion_release(NULL);
    test_allocator t;
    test_allocator_init(&t);
    t.fail_at = 1;
    kvf_completion *completion = NULL;
    assert_int_equal(kvf_completion_create(NULL, NULL, &t.allocator, &completion, &error),
                     KVF_ERR_NO_MEMORY);
    assert_null(completion);
    test_allocator_done(&t);
}

int main(void) {
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_transfers_of_several_engines),
        cmocka_unit_test(waiting_makes_progress_in_all_engines),
        cmocka_unit_test(a_completion_of_nothing_is_complete),
        cmocka_unit_test(polls_and_times_out),
        cmocka_unit_test(the_first_error_is_kept),
        cmocka_unit_test(an_armed_completion_refuses_transfers),
        cmocka_unit_test(a_released_completion_still_calls_back),
        cmocka_unit_test(the_callback_may_release_the_completion),
        cmocka_unit_test(from_several_threads),
        cmocka_unit_test(failed_submits_do_not_count),
        cmocka_unit_test(refuses_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
