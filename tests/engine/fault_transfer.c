/* Every allocation of engines, tiers, transfers and bound transfers fails in turn, once and for
 * ever. A failed call has changed nothing, and everything works once memory is available again. */
#include "support/engine_fixture.h"

#include "track/assignments.h"

#include <kvferry/bound.h>

#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 12 };

/* The failing allocator, with a lock for several threads. */
typedef struct shared_allocator {
    test_allocator inner;
    kvf_allocator allocator;
    pthread_mutex_t lock;
} shared_allocator;

static void *locked_resize(void *user, void *block, size_t old_size, size_t new_size) {
    shared_allocator *s = user;
    pthread_mutex_lock(&s->lock);
    void *result = s->inner.allocator.resize(s->inner.allocator.user, block, old_size, new_size);
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void shared_init(shared_allocator *s) {
    test_allocator_init(&s->inner);
    pthread_mutex_init(&s->lock, NULL);
    s->allocator = (kvf_allocator){locked_resize, s};
}

static void shared_done(shared_allocator *s) {
    test_allocator_done(&s->inner);
    pthread_mutex_destroy(&s->lock);
}

static void set_fault(shared_allocator *s, size_t at, bool for_ever) {
    pthread_mutex_lock(&s->lock);
    s->inner.calls = 0;
    s->inner.fail_at = at;
    s->inner.fail_ever_after = for_ever;
    pthread_mutex_unlock(&s->lock);
}

/* Ends the fault; returns whether it struck. */
static bool end_fault(shared_allocator *s) {
    pthread_mutex_lock(&s->lock);
    bool came = s->inner.fail_at != 0 && s->inner.calls >= s->inner.fail_at;
    s->inner.fail_at = 0;
    pthread_mutex_unlock(&s->lock);
    return came;
}

/* The tiers' memory comes from elsewhere, so it never fails. */
typedef struct fixture {
    shared_allocator *allocator;
    bool threads;
    uint64_t ids[BLOCKS];
    fixture_memory memory[2][2]; /* tier, layout */
    size_t layout_count;         /* of each tier */
    kvf_engine *engine;
    kvf_tier *tiers[2];
} fixture;

static kvf_status make_engine(fixture *r) {
    const kvf_host_options o = {.allocator = &r->allocator->allocator,
                                .no_threads = !r->threads,
                                .threads = r->threads ? 2 : 0};
    return kvf_engine_host_create(&o, &r->engine, NULL);
}

static kvf_status make_tier(fixture *r, int i) {
    const kvf_layout *const layouts[] = {r->memory[i][0].layout, r->memory[i][1].layout};
    const kvf_tier_options o = {
        .layouts = layouts, .layout_count = r->layout_count, .integrity = true};
    return kvf_tier_create(r->engine, &o, &r->tiers[i], NULL);
}

static void start_fixture(fixture *r, shared_allocator *allocator, size_t layout_count,
                          bool threads) {
    *r = (fixture){.allocator = allocator, .layout_count = layout_count, .threads = threads};
    for (uint64_t i = 0; i < BLOCKS; i++)
        r->ids[i] = i;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 32};
            r->memory[i][k] =
                fixture_memory_make(&shape, i ? FIXTURE_PER_PART : FIXTURE_CONTIGUOUS);
        }
    assert_int_equal(make_engine(r), KVF_OK);
    assert_int_equal(make_tier(r, 0), KVF_OK);
    assert_int_equal(make_tier(r, 1), KVF_OK);
    fixture_fill_all(r->memory[0][0].layout, 100);
    fixture_fill_all(r->memory[1][0].layout, 200);
    assert_int_equal(kvf_tier_seal(r->tiers[0], r->ids, BLOCKS, NULL), KVF_OK);
}

static void stop_fixture(fixture *r) {
    kvf_tier_destroy(r->tiers[0]);
    kvf_tier_destroy(r->tiers[1]);
    kvf_engine_destroy(r->engine);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            fixture_memory_free(&r->memory[i][k]);
}

/* All blocks are idle, no transfer is open, and a transfer of everything works. */
static void expect_sound(fixture *r) {
    fixture_drain(r->engine);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kvf_tier_idle(r->tiers[i], r->ids, BLOCKS, NULL), KVF_OK);
    fixture_fill_all(r->memory[0][0].layout, 100);
    assert_int_equal(kvf_tier_seal(r->tiers[0], r->ids, BLOCKS, NULL), KVF_OK);
    const kvf_plan plan = fixture_plan(r->ids, r->ids, BLOCKS);
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(r->tiers[0], r->tiers[1], &plan, 1, NULL, &t, NULL),
                     KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    for (uint64_t i = 0; i < BLOCKS; i++)
        assert_true(fixture_holds(r->memory[1][0].layout, i, 100 + i));
    kvf_transfer_release(t);
}

/* Scenarios: each works under a fault and checks the outcome. */

static void engine_and_tiers(fixture *r) {
    kvf_engine *engine = r->engine;
    kvf_tier *tiers[] = {r->tiers[0], r->tiers[1]};
    r->engine = NULL;
    r->tiers[0] = r->tiers[1] = NULL;
    kvf_status status = make_engine(r);
    for (int i = 0; i < 2 && r->engine; i++) {
        status = make_tier(r, i);
        assert_true((status == KVF_OK) == (r->tiers[i] != NULL));
        assert_true(status == KVF_OK || status == KVF_ERR_NO_MEMORY);
    }
    assert_true(r->engine || status == KVF_ERR_NO_MEMORY);
    kvf_tier_destroy(r->tiers[0]);
    kvf_engine_destroy(r->engine);
    kvf_tier_destroy(r->tiers[1]);
    r->engine = engine;
    r->tiers[0] = tiers[0];
    r->tiers[1] = tiers[1];
}

static void note(void *user, const kvf_error *error) {
    (void)error;
    ++*(int *)user;
}

/* Transfers of every kind, both ways, counted in by a completion, some cancelled. */
static void transfers(fixture *r) {
    enum { COUNT = 6 };
    int called = 0, submitted = 0, completed = 0;
    kvf_completion *completion = NULL;
    kvf_status made =
        kvf_completion_create(note, &completed, &r->allocator->allocator, &completion, NULL);
    assert_true((made == KVF_OK) == (completion != NULL));
    kvf_transfer *t[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        const kvf_plan plans[] = {fixture_plan(r->ids + i, r->ids + 6 - i, 2),
                                  fixture_plan(r->ids + 8, r->ids + 8, 3)};
        const kvf_submit_options o = {
            .src_layout = i == 4,
            .dst_layout = i == 4,
            .by_layer = i % 2,
            .background = i % 3 == 0,
            .priority = i == 3,
            .callback = note,
            .user = &called,
            .completion = completion,
        };
        size_t before = kvf_completion_pending(completion);
        kvf_error error = {0};
        kvf_status status =
            kvf_transfer_submit(r->tiers[i % 2], r->tiers[1 - i % 2], plans, 2, &o, &t[i], &error);
        assert_true((status == KVF_OK) == (t[i] != NULL));
        if (status != KVF_OK) {
            assert_int_equal(status, KVF_ERR_NO_MEMORY);
            assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
            assert_true(kvf_completion_pending(completion) <= before);
        }
        submitted += status == KVF_OK;
        if (i == 2)
            kvf_transfer_cancel(t[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (!t[i])
            continue;
        kvf_status status = kvf_transfer_wait(t[i], -1, NULL);
        /* Cancelled half-way means corrupt, and dropping corrupt blocks takes memory. */
        assert_true(status == KVF_OK || i == 2 || status == KVF_ERR_CORRUPT ||
                    status == KVF_ERR_NO_MEMORY);
        kvf_transfer_release(t[i]);
    }
    fixture_drain(r->engine);
    assert_int_equal(called, submitted);
    if (completion)
        (void)kvf_completion_wait(completion, -1, NULL);
    assert_int_equal(completed, completion != NULL);
    kvf_completion_release(completion);
}

/* Lowering the rest of a corrupt transfer allocates while it runs. */
static void corrupt(fixture *r) {
    *fixture_byte(r->memory[0][0].layout, 1, 5, 0, 0) ^= 1;
    for (uint64_t i = 0; i < BLOCKS; i++)
        fixture_fill(r->memory[1][0].layout, i, 200 + i);
    const kvf_plan plans[] = {fixture_plan(r->ids, r->ids, 4),
                              fixture_plan(r->ids + 4, r->ids + 4, 4)};
    kvf_transfer *t = NULL;
    const kvf_submit_options o = {.by_layer = true};
    kvf_status status = kvf_transfer_submit(r->tiers[0], r->tiers[1], plans, 2, &o, &t, NULL);
    if (status == KVF_OK) {
        kvf_error error = {0};
        status = kvf_transfer_wait(t, -1, &error);
        assert_int_equal(error.status, status);
        assert_true(status == KVF_ERR_CORRUPT || status == KVF_ERR_NO_MEMORY);
        size_t whole = status == KVF_ERR_CORRUPT ? 4 : 0, part = status == KVF_ERR_CORRUPT;
        assert_int_equal(kvf_transfer_landed(t, 0), whole);
        assert_int_equal(kvf_transfer_landed(t, 1), part);
        for (uint64_t i = 0; i < 8; i++)
            assert_true(
                fixture_holds(r->memory[1][0].layout, i, (i < whole + part ? 100 : 200) + i));
        kvf_transfer_release(t);
    }
    assert_true(status == KVF_ERR_CORRUPT || status == KVF_ERR_NO_MEMORY);
}

/* Creates assignments; NULL: with the default allocator, which does not fail. */
static kvf_assignments *make_assignments(const kvf_allocator *allocator) {
    kvf_assignments *a = NULL;
    const kvf_assignments_options o = {.allocator = allocator};
    return kvf_assignments_create(&o, &a, NULL) == KVF_OK ? a : NULL;
}

static void bound(fixture *r) {
    kvf_assignments *src = make_assignments(NULL), *dst[2] = {0};
    for (uint64_t i = 0; i < 4; i++) {
        kvf_hash hash = test_hash(i, 1000);
        assert_int_equal(kvf_assignments_extend_assigned(src, &i, &hash, 1, NULL), KVF_OK);
    }
    bool ready = true;
    for (uint64_t i = 0; i < 2; i++) {
        dst[i] = make_assignments(&r->allocator->allocator);
        ready = ready && dst[i] &&
                kvf_assignments_extend_block_ids(dst[i], r->ids + 4 * i, 4, NULL) == KVF_OK;
    }
    if (ready) {
        const kvf_pair pairs[] = {{src, dst[0], 0}, {src, dst[1], 3}};
        kvf_bound *b = NULL;
        kvf_status status = kvf_bound_submit(r->tiers[0], r->tiers[1], pairs, 2, NULL, &b, NULL);
        assert_true((status == KVF_OK) == (b != NULL));
        assert_true(status == KVF_OK || status == KVF_ERR_NO_MEMORY);
        if (b)
            assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_OK);
        for (size_t i = 0; i < 2; i++) {
            assert_null(kvf__assignments_check(dst[i]));
            assert_int_equal(kvf_assignments_assigned_count(dst[i]), b ? 4 - i : 0);
            assert_int_equal(kvf_assignments_staged_count(dst[i]), 0);
            assert_int_equal(kvf_flight_open_count(dst[i]), 0);
        }
        kvf_bound_release(b);
    }
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst[0]);
    kvf_assignments_destroy(dst[1]);
}

typedef struct scenario {
    void (*run)(fixture *r);
    size_t layout_count;
} scenario;

static void fail_each(const scenario *scenario, bool threads) {
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        bool came = true;
        for (size_t at = 1; came; at++) {
            shared_allocator allocator;
            shared_init(&allocator);
            fixture r;
            start_fixture(&r, &allocator, scenario->layout_count, threads);
            set_fault(&allocator, at, for_ever);
            scenario->run(&r);
            came = end_fault(&allocator);
            expect_sound(&r);
            stop_fixture(&r);
            shared_done(&allocator);
            assert_true(at < 1000);
        }
    }
}

static const scenario scenarios[] = {
    {engine_and_tiers, 2}, {transfers, 2}, {corrupt, 2}, {bound, 1}};

static void without_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        fail_each(&scenarios[i], false);
}

static void with_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        fail_each(&scenarios[i], true);
}

int main(void) {
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_threads),
        cmocka_unit_test(with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
