#include "support/engine_fixture.h"

#include "track/assignments.h"

#include <kvferry/bound.h>

#include <pthread.h>
#include <unistd.h>

enum { BLOCKS = 64 };

static const kvf_host_options no_threads = {.no_threads = true}, threads = {.threads = 2},
                              slow = {.threads = 1, .imitate_latency_us = 60e6};

typedef struct fixture {
    kvf_engine *engine;
    fixture_tier src, dst;
} fixture;

static fixture fixture_make(const kvf_host_options *options) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 2, .parts = 2, .bytes = 32};
    fixture f = {.engine = fixture_engine(options)};
    f.src = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    f.dst = fixture_tier_make_on(f.engine, FIXTURE_NEAR, &shape, FIXTURE_PER_PART, false);
    fixture_fill_all(f.src.memory.layout, 100);
    fixture_fill_all(f.dst.memory.layout, 300);
    if (fixture_has(FIXTURE_INTEGRITY))
        assert_int_equal(kvf_tier_seal(f.src.tier, NULL, 0, NULL), KVF_OK);
    return f;
}

static void fixture_free(fixture *f) {
    fixture_tier_free(&f->src);
    fixture_tier_free(&f->dst);
    kvf_engine_destroy(f->engine);
}

/* Assignments of sequence `salt`; the source has ids from `first` on. */

static kvf_assignments *assignments_make(void) {
    kvf_assignments *a = NULL;
    assert_int_equal(kvf_assignments_create(NULL, &a, NULL), KVF_OK);
    return a;
}

static kvf_assignments *source(uint64_t salt, uint64_t first, size_t count) {
    kvf_assignments *a = assignments_make();
    for (size_t i = 0; i < count; i++) {
        uint64_t id = first + i;
        kvf_hash hash = test_hash(i, salt);
        assert_int_equal(kvf_assignments_extend_assigned(a, &id, &hash, 1, NULL), KVF_OK);
    }
    return a;
}

static void add_pending(kvf_assignments *a, uint64_t first, size_t count) {
    uint64_t list[BLOCKS];
    for (size_t i = 0; i < count; i++)
        list[i] = first + i;
    assert_int_equal(kvf_assignments_extend_block_ids(a, list, count, NULL), KVF_OK);
}

static kvf_assignments *target(uint64_t first, size_t count) {
    kvf_assignments *a = assignments_make();
    add_pending(a, first, count);
    return a;
}

static void expect_counts(const kvf_assignments *a, size_t assigned, size_t staged,
                          size_t pending) {
    assert_null(kvf__assignments_check(a));
    assert_int_equal(kvf_assignments_assigned_count(a), assigned);
    assert_int_equal(kvf_assignments_staged_count(a), staged);
    assert_int_equal(kvf_assignments_pending_count(a), pending);
}

/* Every assigned block has the hash of its position and the source's bytes. */
static void expect_filled(const fixture *f, const kvf_assignments *src,
                          const kvf_assignments *dst) {
    kvf_view from = kvf_assignments_assigned(src), to = kvf_assignments_assigned(dst);
    for (size_t i = 0; i < to.count; i++) {
        assert_true(from.hashes[i].low == to.hashes[i].low);
        assert_true(from.hashes[i].high == to.hashes[i].high);
        assert_true(fixture_holds(f->dst.memory.layout, to.ids[i], 100 + from.ids[i]));
    }
}

static kvf_bound *submit_as(fixture *f, const kvf_pair *pairs, size_t count,
                            const kvf_submit_options *options) {
    kvf_bound *b = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK,
                kvf_bound_submit(f->src.tier, f->dst.tier, pairs, count, options, &b, &error),
                &error);
    return b;
}

static kvf_bound *submit(fixture *f, const kvf_pair *pairs, size_t count) {
    return submit_as(f, pairs, count, NULL);
}

/* Without threads the transfer has not started when this returns. */
static kvf_bound *submit_for_later(fixture *f, const kvf_pair *pairs, size_t count) {
    return submit_as(f, pairs, count,
                     &(kvf_submit_options){.background = !fixture_has(FIXTURE_STEPS)});
}

static void expect_result(const kvf_bound *b, size_t pair, kvf_status status, size_t landed) {
    size_t got = SIZE_MAX;
    test_expect(status, kvf_bound_result(b, pair, &got), NULL);
    assert_int_equal(got, landed);
    assert_int_equal(kvf_bound_result(b, pair, NULL), status);
}

static void assigns_what_landed(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        fixture f = fixture_make(k ? &threads : &no_threads);
        kvf_assignments *s[] = {source(1000, 0, 10), source(2000, 10, 5), source(3000, 15, 6)};
        kvf_assignments *d[] = {target(0, 8), target(20, 9), target(40, 6)};
        const kvf_pair pairs[] = {{s[0], d[0], 0}, {s[1], d[1], 0}, {s[2], d[2], 4}};
        kvf_bound *b = submit(&f, pairs, 3);
        expect_counts(d[0], 0, 8, 0);
        expect_counts(d[1], 0, 5, 4);
        expect_counts(d[2], 0, 4, 2);
        expect_result(b, 0, KVF_PENDING, 0);
        assert_int_equal(kvf_transfer_wait(kvf_bound_transfer(b), -1, NULL), KVF_OK);
        expect_counts(d[0], 0, 8, 0); /* only poll and wait change assignments */
        assert_int_equal(k ? kvf_bound_wait(b, -1, NULL) : kvf_bound_poll(b, NULL), KVF_OK);
        expect_counts(d[0], 8, 0, 0);
        expect_counts(d[1], 5, 0, 4);
        expect_counts(d[2], 4, 0, 2);
        expect_result(b, 0, KVF_OK, 8);
        expect_result(b, 1, KVF_OK, 5);
        expect_result(b, 2, KVF_OK, 4);
        assert_int_equal(kvf_bound_wait(b, 0, NULL), KVF_OK);
        kvf_bound_release(b);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(kvf_flight_open_count(d[i]), 0);
            expect_filled(&f, s[i], d[i]);
            kvf_assignments_destroy(s[i]);
            kvf_assignments_destroy(d[i]);
        }
        fixture_free(&f);
    }
}

static void empty_pairs_are_allowed(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads);
    kvf_assignments *s = source(1000, 0, 4), *none = assignments_make();
    kvf_assignments *d = target(0, 4), *full = assignments_make();
    const kvf_pair pairs[] = {{none, d, 0}, {s, full, 0}};
    kvf_bound *b = submit(&f, pairs, 2);
    expect_result(b, 1, KVF_PENDING, 0);
    assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_OK);
    expect_result(b, 0, KVF_OK, 0);
    expect_result(b, 1, KVF_OK, 0);
    expect_counts(d, 0, 0, 4);
    kvf_bound_release(b);
    b = submit(&f, NULL, 0);
    assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_OK);
    assert_int_equal(kvf_bound_result(b, 0, NULL), KVF_ERR_RANGE);
    kvf_bound_release(b);
    kvf_assignments_destroy(s);
    kvf_assignments_destroy(none);
    kvf_assignments_destroy(d);
    kvf_assignments_destroy(full);
    fixture_free(&f);
}

/* A failed submit leaves no pair's blocks staged, whatever the error and the pair that has it. */
static void a_failed_submit_changes_nothing(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads);
    kvf_assignments *s = source(1000, 0, 6), *good = target(0, 6), *other = source(2000, 6, 4);
    kvf_assignments *far = target(BLOCKS - 1, 3), *strange = source(3000, 40, 2);
    add_pending(strange, 50, 2);
    kvf_assignments *ahead = assignments_make();
    const uint64_t shifted = 5;
    kvf_assignments *later = NULL;
    assert_int_equal(kvf_assignments_create(&(kvf_assignments_options){.offset = 2}, &later, NULL),
                     KVF_OK);
    for (uint64_t i = 0; i < 3; i++) {
        kvf_hash hash = test_hash(i + 2, 1000);
        uint64_t id = 20 + i;
        assert_int_equal(kvf_assignments_extend_assigned(later, &id, &hash, 1, NULL), KVF_OK);
    }
    add_pending(ahead, shifted, 4);
    const struct {
        kvf_pair second;
        kvf_status expected;
    } cases[] = {
        {{s, good, 0}, KVF_ERR_CONFLICT},     /* one destination twice, */
        {{other, good, 2}, KVF_ERR_CONFLICT}, /* even if the second has nothing to do */
        {{s, strange, 0}, KVF_ERR_LINEAGE},   /* starts as another sequence */
        {{later, ahead, 0}, KVF_ERR_GAP},     /* the source starts after it */
        {{other, far, 0}, KVF_ERR_RANGE},     /* ids that the tier does not have */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const kvf_pair pairs[] = {{s, good, i == 0 ? 0 : 3}, cases[i].second};
        kvf_bound *b = NULL;
        kvf_error error = {0};
        test_expect(cases[i].expected,
                    kvf_bound_submit(f.src.tier, f.dst.tier, pairs, 2, NULL, &b, &error), &error);
        assert_null(b);
        assert_true(error.fields & KVF_ERROR_INDEX);
        assert_int_equal(error.index, 1);
        expect_counts(good, 0, 0, 6);
        expect_counts(strange, 2, 0, 2);
        expect_counts(far, 0, 0, 3);
        expect_counts(ahead, 0, 0, 4);
        assert_int_equal(kvf_flight_open_count(good), 0);
    }
    /* The caller's own staged blocks are unchanged. */
    kvf_hash hash = test_hash(0, 1000);
    assert_int_equal(kvf_assignments_stage_next(good, &hash, 1, NULL, NULL), KVF_OK);
    const kvf_pair pairs[] = {{s, good, 3}, {other, far, 0}};
    kvf_bound *b = NULL;
    assert_int_equal(kvf_bound_submit(f.src.tier, f.dst.tier, pairs, 2, NULL, &b, NULL),
                     KVF_ERR_RANGE);
    expect_counts(good, 0, 1, 5);
    kvf_range range = kvf_assignments_commit_staged(good);
    assert_true(range.start == 0 && range.end == 1);
    expect_counts(good, 1, 0, 5);
    b = submit(&f, pairs, 1);
    assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_OK);
    expect_counts(good, 4, 0, 2);
    kvf_bound_release(b);
    kvf_assignments *all[] = {s, good, other, far, strange, ahead, later};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        kvf_assignments_destroy(all[i]);
    fixture_free(&f);
}

static void a_full_engine_changes_no_assignments(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    kvf_host_options options = slow;
    options.max_transfers = 1;
    fixture f = fixture_make(&options);
    kvf_assignments *s = source(1000, 0, 6), *a = target(0, 6), *c = target(10, 6);
    const kvf_pair first = {s, a, 0}, second = {s, c, 0};
    kvf_bound *b = submit(&f, &first, 1), *none = NULL;
    assert_int_equal(kvf_bound_submit(f.src.tier, f.dst.tier, &second, 1, NULL, &none, NULL),
                     KVF_ERR_AGAIN);
    assert_null(none);
    expect_counts(c, 0, 0, 6);
    kvf_error error = {0};
    assert_int_equal(kvf_bound_poll(b, &error), KVF_PENDING);
    assert_int_equal(error.status, KVF_OK);
    assert_int_equal(kvf_bound_wait(b, 1000, &error), KVF_ERR_TIMEOUT);
    assert_int_equal(error.status, KVF_ERR_TIMEOUT);
    expect_counts(a, 0, 6, 0);
    kvf_bound_cancel(b);
    assert_int_equal(kvf_bound_wait(b, -1, &error), KVF_ERR_CANCELLED);
    expect_counts(a, 0, 0, 6);
    expect_result(b, 0, KVF_ERR_CANCELLED, 0);
    assert_int_equal(kvf_bound_poll(b, NULL), KVF_ERR_CANCELLED);
    kvf_bound_release(b);
    kvf_assignments_destroy(s);
    kvf_assignments_destroy(a);
    kvf_assignments_destroy(c);
    fixture_free(&f);
}

static void corrupt_blocks_return(void **state) {
    (void)state;
    fixture_needs(FIXTURE_INTEGRITY);
    fixture f = fixture_make(&no_threads);
    kvf_assignments *s[] = {source(1000, 0, 6), source(2000, 10, 6), source(3000, 20, 6)};
    kvf_assignments *d[] = {target(0, 6), target(10, 6), target(20, 6)};
    uint64_t all[BLOCKS];
    for (uint64_t i = 0; i < BLOCKS; i++)
        all[i] = i;
    assert_int_equal(kvf_tier_seal(f.src.tier, all, BLOCKS, NULL), KVF_OK);
    *fixture_byte(f.src.memory.layout, 0, 14, 0, 0) ^= 1;
    *fixture_byte(f.src.memory.layout, 0, 20, 0, 0) ^= 1;
    const kvf_pair pairs[] = {{s[0], d[0], 0}, {s[1], d[1], 0}, {s[2], d[2], 0}};
    kvf_bound *b = submit(&f, pairs, 3);
    kvf_error error = {0};
    assert_int_equal(kvf_bound_wait(b, -1, &error), KVF_ERR_CORRUPT);
    assert_true(error.index == 1 && error.id == 14 && error.position == 4);
    expect_result(b, 0, KVF_OK, 6);
    expect_result(b, 1, KVF_ERR_CORRUPT, 4);
    expect_result(b, 2, KVF_ERR_CORRUPT, 0);
    expect_counts(d[0], 6, 0, 0);
    expect_counts(d[1], 4, 0, 2);
    expect_counts(d[2], 0, 0, 6);
    expect_filled(&f, s[0], d[0]);
    expect_filled(&f, s[1], d[1]);
    kvf_bound_release(b);
    for (int i = 0; i < 3; i++) {
        kvf_assignments_destroy(s[i]);
        kvf_assignments_destroy(d[i]);
    }
    fixture_free(&f);
}

/* The middle one of three flights of a sequence fails; the order of their ends does not matter. */
static void a_middle_flight_fails(void **state) {
    (void)state;
    const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}, {1, 2, 0}, {0, 2, 1}};
    for (int k = 0; k < 6; k++) {
        fixture f = fixture_make(&no_threads);
        kvf_assignments *s = source(1000, 0, 9), *d = target(0, 9);
        const kvf_pair pair = {s, d, 3};
        kvf_bound *b[3];
        for (int i = 0; i < 3; i++)
            b[i] = submit_for_later(&f, &pair, 1);
        expect_counts(d, 0, 9, 0);
        kvf_bound_cancel(b[1]);
        for (int i = 0; i < 3; i++) {
            int which = orders[k][i];
            (void)kvf_bound_wait(b[which], -1, NULL);
            assert_null(kvf__assignments_check(d));
        }
        expect_result(b[0], 0, KVF_OK, 3);
        expect_result(b[1], 0, KVF_ERR_CANCELLED, 0);
        /* Settled before the failure it has landed; settled after it, its flight is closed. */
        size_t landed;
        kvf_status last = kvf_bound_result(b[2], 0, &landed);
        bool before = orders[k][0] == 2 || (orders[k][0] == 0 && orders[k][1] == 2);
        assert_int_equal(last, before ? KVF_OK : KVF_ERR_CLOSED);
        assert_int_equal(landed, before ? 3 : 0);
        assert_int_equal(kvf_bound_wait(b[2], -1, NULL), last);
        expect_counts(d, 3, 0, 6);
        expect_filled(&f, s, d);
        for (int i = 0; i < 3; i++)
            kvf_bound_release(b[i]);
        b[0] = submit(&f, &(kvf_pair){s, d, 0}, 1);
        assert_int_equal(kvf_bound_wait(b[0], -1, NULL), KVF_OK);
        expect_counts(d, 9, 0, 0);
        expect_filled(&f, s, d);
        kvf_bound_release(b[0]);
        kvf_assignments_destroy(s);
        kvf_assignments_destroy(d);
        fixture_free(&f);
    }
}

static void assignments_may_be_destroyed(void **state) {
    (void)state;
    for (int k = 0; k < 8; k++) {
        const kvf_host_options *options = k % 2 ? &slow : &no_threads;
        if (!fixture_offers(options))
            continue;
        fixture f = fixture_make(options);
        kvf_assignments *s[] = {source(1000, 0, 4), source(2000, 10, 4)};
        kvf_assignments *d[] = {target(0, 4), target(10, 4)};
        const kvf_pair pairs[] = {{s[0], d[0], 0}, {s[1], d[1], 0}};
        kvf_bound *b = submit_for_later(&f, pairs, 2);
        kvf_assignments_destroy(s[0]); /* needed only during submit */
        kvf_assignments_destroy(s[1]);
        if (k & 2)
            kvf_assignments_clear(d[0]);
        else
            kvf_assignments_destroy(d[0]);
        if (k & 4) { /* cleared: nothing waits for the blocks */
            kvf_assignments_clear(d[1]);
            kvf_error error = {0};
            assert_int_equal(kvf_bound_wait(b, -1, &error), KVF_ERR_CLOSED);
            assert_int_equal(error.index, 0);
            assert_int_equal(kvf_transfer_poll(kvf_bound_transfer(b), NULL), KVF_ERR_CANCELLED);
            expect_result(b, 1, KVF_ERR_CLOSED, 0);
        } else if (k & 1) {
            assert_int_equal(kvf_bound_poll(b, NULL), KVF_PENDING);
            kvf_bound_cancel(b);
            assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_ERR_CLOSED);
            expect_result(b, 1, KVF_ERR_CANCELLED, 0);
            expect_counts(d[1], 0, 0, 4);
        } else {
            assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_ERR_CLOSED);
            expect_result(b, 1, KVF_OK, 4);
            expect_counts(d[1], 4, 0, 0);
        }
        expect_result(b, 0, KVF_ERR_CLOSED, 0);
        if (k & 2) {
            expect_counts(d[0], 0, 0, 0);
            kvf_assignments_destroy(d[0]);
        }
        if (k % 3 == 0) {
            kvf_bound_release(b);
            kvf_assignments_destroy(d[1]);
        } else {
            kvf_assignments_destroy(d[1]);
            kvf_bound_release(b);
        }
        fixture_free(&f);
    }
}

static void released_while_it_runs(void **state) {
    (void)state;
    const kvf_host_options *engines[] = {&no_threads, &threads, &slow};
    for (int k = 0; k < 30; k++) {
        if (!fixture_offers(engines[k % 3]))
            continue;
        fixture f = fixture_make(engines[k % 3]);
        kvf_assignments *s = source(1000, 0, 16), *d = target(0, 16);
        const kvf_pair pair = {s, d, 0};
        kvf_bound *b = submit(&f, &pair, 1);
        if (k % 2)
            kvf_engine_progress(f.engine);
        kvf_bound_release(b);
        assert_int_equal(kvf_flight_open_count(d), 0);
        size_t landed = kvf_assignments_assigned_count(d);
        assert_true(landed == 0 || landed == 16);
        expect_counts(d, landed, 0, 16 - landed);
        expect_filled(&f, s, d);
        kvf_assignments_destroy(s);
        kvf_assignments_destroy(d);
        fixture_free(&f);
    }
}

static void outlives_tiers_and_engine(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    fixture f = fixture_make(&slow);
    kvf_assignments *s = source(1000, 0, 4), *d = target(0, 4);
    const kvf_pair pair = {s, d, 0};
    kvf_bound *b = submit(&f, &pair, 1);
    fixture_free(&f);
    expect_counts(d, 0, 4, 0);
    assert_int_equal(kvf_bound_wait(b, -1, NULL), KVF_ERR_CANCELLED);
    expect_counts(d, 0, 0, 4);
    kvf_bound_release(b);
    kvf_assignments_destroy(s);
    kvf_assignments_destroy(d);
}

/* Each owner has assignments of its own; the engine is shared. */
typedef struct owner {
    fixture *f;
    uint64_t first;
} owner;

static void *own(void *context) {
    owner *o = context;
    for (int round = 0; round < 40; round++) {
        kvf_assignments *s = source(1000, o->first, 12), *d = target(o->first, 12);
        const kvf_pair pair = {s, d, 4};
        kvf_bound *b[3];
        for (int i = 0; i < 3; i++)
            b[i] = submit(o->f, &pair, 1);
        kvf_bound_cancel(b[round % 3]);
        for (int i = 0; i < 3; i++) {
            (void)kvf_bound_wait(b[2 - i], -1, NULL);
            assert_null(kvf__assignments_check(d));
        }
        for (int i = 0; i < 3; i++)
            kvf_bound_release(b[i]);
        assert_int_equal(kvf_assignments_staged_count(d), 0);
        assert_int_equal(kvf_assignments_assigned_count(d) % 4, 0);
        expect_filled(o->f, s, d);
        kvf_assignments_destroy(s);
        kvf_assignments_destroy(d);
    }
    return NULL;
}

static void several_owners(void **state) {
    (void)state;
    enum { OWNERS = 3 };
    fixture f = fixture_make(&threads);
    pthread_t t[OWNERS];
    owner owners[OWNERS];
    for (uint64_t i = 0; i < OWNERS; i++) {
        owners[i] = (owner){&f, i * 16};
        assert_int_equal(pthread_create(&t[i], NULL, own, &owners[i]), 0);
    }
    for (int i = 0; i < OWNERS; i++)
        pthread_join(t[i], NULL);
    fixture_free(&f);
}

static void invalid_arguments_are_refused(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads), other = fixture_make(&no_threads);
    kvf_assignments *s = source(1000, 0, 4), *d = target(0, 4);
    const kvf_pair good = {s, d, 0};
    const kvf_pair holes[] = {{s, d, 0}, {NULL, d, 0}}, hole = {s, NULL, 0};
    kvf_bound *b = NULL;
    kvf_error e = {0};
    kvf_tier *src = f.src.tier, *dst = f.dst.tier;
    assert_int_equal(kvf_bound_submit(NULL, dst, &good, 1, NULL, &b, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_submit(src, NULL, &good, 1, NULL, &b, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_submit(src, dst, NULL, 1, NULL, &b, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_submit(src, dst, &good, 1, NULL, NULL, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_submit(src, dst, &hole, 1, NULL, &b, &e), KVF_ERR_INVALID);
    assert_int_equal(e.index, 0);
    assert_int_equal(kvf_bound_submit(src, dst, holes, 2, NULL, &b, &e), KVF_ERR_INVALID);
    assert_int_equal(e.index, 1);
    assert_int_equal(kvf_bound_submit(src, other.dst.tier, &good, 1, NULL, &b, &e),
                     KVF_ERR_INVALID);
    const kvf_submit_options bad[] = {{.layer_count = 1}, {.first_layer = 1}, {.priority = 1}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(kvf_bound_submit(src, dst, &good, 1, &bad[i], &b, &e), KVF_ERR_INVALID);
    assert_null(b);
    expect_counts(d, 0, 0, 4);
    assert_int_equal(kvf_bound_poll(NULL, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_wait(NULL, 0, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_bound_result(NULL, 0, NULL), KVF_ERR_INVALID);
    assert_null(kvf_bound_transfer(NULL));
    kvf_bound_cancel(NULL);
    kvf_bound_release(NULL);
    kvf_assignments_destroy(s);
    kvf_assignments_destroy(d);
    fixture_free(&f);
    fixture_free(&other);
}

int main(void) {
    if (!fixture_available())
        return FIXTURE_SKIPPED;
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assigns_what_landed),
        cmocka_unit_test(empty_pairs_are_allowed),
        cmocka_unit_test(a_failed_submit_changes_nothing),
        cmocka_unit_test(a_full_engine_changes_no_assignments),
        cmocka_unit_test(corrupt_blocks_return),
        cmocka_unit_test(a_middle_flight_fails),
        cmocka_unit_test(assignments_may_be_destroyed),
        cmocka_unit_test(released_while_it_runs),
        cmocka_unit_test(outlives_tiers_and_engine),
        cmocka_unit_test(several_owners),
        cmocka_unit_test(invalid_arguments_are_refused),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
