/*
 * Random schedules of transfers on shared slots, compared with a sequential oracle.
 *
 *     fresh -> a, b    every block of fresh has content of its own and is never written
 *     a, b -> a, b     between and within the tiers, over few blocks, so that all conflict
 *     a, b -> log      every block of log is written once: a record of what its source held
 *
 * Whatever order the engine chooses, the outcome must equal one transfer after the other, in the
 * order of submission. Blocks that a cancelled transfer should have filled may hold anything.
 */
#include "support/engine_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { FRESH, A, B, LOG, TIERS };
enum {
    SHARED_BLOCKS = 12,
    MANY_BLOCKS = 288,
    STEPS = 48,
    MOST_BLOCKS = 6,
    SUBMITTERS = 3,
    UNKNOWN = 0, /* a tag that no block is filled with */
};

typedef struct entry {
    int src, dst;
    size_t count;
    uint64_t src_ids[MOST_BLOCKS], dst_ids[MOST_BLOCKS];
    kvf_submit_options options;
    kvf_transfer *transfer;
} entry;

/* One submitter's part of a schedule, or all of it. */
typedef struct schedule {
    struct world *world;
    test_random random;
    uint64_t first, step; /* uses shared blocks first, first + step, ... */
    uint64_t next_log, end_log;
    size_t count;
    entry entries[SUBMITTERS * STEPS];
} schedule;

typedef struct world {
    kvf_engine *engine;
    fixture_tier tiers[TIERS];
    uint64_t tags[TIERS][MANY_BLOCKS];
    bool threads;
    pthread_mutex_t lock; /* of a schedule that several submitters share */
    schedule *schedules[SUBMITTERS];
} world;

static size_t blocks_of(int tier) {
    return tier == A || tier == B ? SHARED_BLOCKS : MANY_BLOCKS;
}

static void world_make(world *w, test_random *random, const kvf_host_options *options,
                       size_t bytes) {
    *w = (world){.engine = fixture_engine(options), .threads = !options->no_threads};
    pthread_mutex_init(&w->lock, NULL);
    for (int t = 0; t < TIERS; t++) {
        const kvf_shape shape = {
            .blocks = blocks_of(t), .layers = 2, .parts = 2, .bytes = bytes, .rows = 2};
        fixture_form form = (fixture_form)test_random_below(random, FIXTURE_FORMS);
        fixture_side side = t == A || test_random_below(random, 2) ? FIXTURE_NEAR : FIXTURE_FAR;
        w->tiers[t] = fixture_tier_make_on(w->engine, side, &shape, form, t == B);
        for (uint64_t id = 0; id < shape.blocks; id++) {
            w->tags[t][id] = 1000 * (uint64_t)(t + 1) + id;
            fixture_fill(w->tiers[t].memory.layout, id, w->tags[t][id]);
        }
    }
}

static void world_free(world *w) {
    for (int t = 0; t < TIERS; t++)
        fixture_tier_free(&w->tiers[t]);
    kvf_engine_destroy(w->engine);
    pthread_mutex_destroy(&w->lock);
}

/* Making entries */

static uint64_t shared_id(schedule *s) {
    uint64_t mine = (SHARED_BLOCKS - s->first + s->step - 1) / s->step;
    return s->first + s->step * test_random_below(&s->random, mine);
}

static bool among(const uint64_t *ids, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void choose_tiers(schedule *s, entry *e) {
    const fixture_tier *tiers = s->world->tiers;
    do {
        uint64_t kind = test_random_below(&s->random, 10);
        int one = test_random_below(&s->random, 2) ? A : B;
        int other = test_random_below(&s->random, 2) ? A : B;
        e->src = kind < 3 ? FRESH : one;
        e->dst = kind < 7 || s->next_log + MOST_BLOCKS > s->end_log ? other : LOG;
    } while (!fixture_moves(tiers[e->src].memory.side, tiers[e->dst].memory.side));
}

static void choose_ids(schedule *s, entry *e) {
    uint64_t wanted = 1 + test_random_below(&s->random, MOST_BLOCKS);
    for (uint64_t i = 0; i < wanted; i++) {
        uint64_t dst = e->dst == LOG ? s->next_log++ : shared_id(s);
        if (!among(e->dst_ids, e->count, dst))
            e->dst_ids[e->count++] = dst;
    }
    for (size_t i = 0; i < e->count; i++) {
        uint64_t src = e->src == FRESH ? test_random_below(&s->random, MANY_BLOCKS) : shared_id(s);
        /* Within one tier no id is source and destination; without a free id, drop the pair. */
        for (int tries = 0; e->src == e->dst && among(e->dst_ids, e->count, src); tries++) {
            if (tries > 100) {
                e->count = i;
                return;
            }
            src = shared_id(s);
        }
        e->src_ids[i] = src;
    }
}

static entry make_entry(schedule *s) {
    entry e = {0};
    choose_tiers(s, &e);
    choose_ids(s, &e);
    e.options.by_layer = test_random_below(&s->random, 4) == 0;
    e.options.background = test_random_below(&s->random, 2) == 0;
    if (e.options.background)
        e.options.priority = (unsigned)test_random_below(&s->random, KVF_PRIORITIES);
    return e;
}

/* Running */

static void submit(schedule *s) {
    world *w = s->world;
    entry *e = &s->entries[s->count];
    *e = make_entry(s);
    const kvf_plan plan = fixture_plan(e->src_ids, e->dst_ids, e->count);
    for (;;) {
        kvf_error error = {0};
        kvf_status status = kvf_transfer_submit(w->tiers[e->src].tier, w->tiers[e->dst].tier, &plan,
                                                1, &e->options, &e->transfer, &error);
        if (status == KVF_OK)
            break;
        test_expect(KVF_ERR_AGAIN, status, &error);
        kvf_engine_progress(w->engine);
        sched_yield();
    }
    s->count++;
}

/* Calls that must not change the outcome, except for cancelled transfers. */
static void disturb(schedule *s, size_t count) {
    world *w = s->world;
    uint64_t what = test_random_below(&s->random, 8);
    kvf_transfer *some = s->entries[test_random_below(&s->random, count)].transfer;
    uint64_t id = shared_id(s);
    if (what == 0)
        kvf_transfer_cancel(some);
    else if (what == 1 && test_random_below(&s->random, 4) == 0)
        kvf_transfer_wait(some, (int64_t)test_random_below(&s->random, 300), NULL);
    else if (what == 2)
        (void)kvf_tier_idle(w->tiers[A].tier, &id, 1, NULL);
    else if (what == 3 && w->threads)
        sched_yield();
    for (uint64_t i = test_random_below(&s->random, 4); i > 0 && what > 3; i--)
        kvf_engine_progress(w->engine);
}

static void run(schedule *s, size_t steps) {
    for (size_t i = 0; i < steps; i++) {
        submit(s);
        disturb(s, s->count);
    }
}

/* The oracle */

/* Applies a transfer that ended with this status. Only blocks that a cancelled transfer wrote in
 * part can be corrupt, and blocks after them in the plan are not touched. */
static void follow(world *w, const entry *e, kvf_status status) {
    uint64_t tags[MOST_BLOCKS];
    size_t count = e->count;
    if (status == KVF_ERR_CORRUPT) {
        count = kvf_transfer_landed(e->transfer, 0);
        assert_true(e->src == B && count < e->count);
        assert_int_equal(w->tags[B][e->src_ids[count]], UNKNOWN);
    }
    for (size_t i = 0; i < count; i++)
        tags[i] = status == KVF_ERR_CANCELLED ? UNKNOWN : w->tags[e->src][e->src_ids[i]];
    for (size_t i = 0; i < count; i++)
        w->tags[e->dst][e->dst_ids[i]] = tags[i];
}

static void replay(world *w, schedule *s) {
    for (size_t i = 0; i < s->count; i++) {
        entry *e = &s->entries[i];
        kvf_error error = {0};
        kvf_status status = kvf_transfer_wait(e->transfer, -1, &error);
        if (status != KVF_ERR_CANCELLED && status != KVF_ERR_CORRUPT)
            test_expect(KVF_OK, status, &error);
        follow(w, e, status);
    }
}

static void check_content(const world *w, uint64_t seed) {
    for (int t = 0; t < TIERS; t++)
        for (uint64_t id = 0; id < blocks_of(t); id++) {
            uint64_t tag = w->tags[t][id];
            if (tag == UNKNOWN || fixture_holds(w->tiers[t].memory.layout, id, tag))
                continue;
            fail_msg("seed %llu: block %llu of tier %d does not hold %llu",
                     (unsigned long long)seed, (unsigned long long)id, t, (unsigned long long)tag);
        }
}

static void check_idle(const world *w) {
    for (int t = 0; t < TIERS; t++)
        for (uint64_t id = 0; id < blocks_of(t); id++)
            test_expect(KVF_OK, kvf_tier_idle(w->tiers[t].tier, &id, 1, NULL), NULL);
}

static void finish(world *w, schedule *s, uint64_t seed) {
    replay(w, s);
    for (size_t i = 0; i < s->count; i++)
        kvf_transfer_release(s->entries[i].transfer);
    fixture_drain(w->engine);
    check_idle(w);
    check_content(w, seed);
}

static schedule *schedule_make(world *w, uint64_t seed) {
    schedule *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->world = w;
    s->random = test_random_make(seed);
    s->step = 1;
    s->end_log = MANY_BLOCKS;
    return s;
}

static void one_submitter(const kvf_host_options *options, size_t bytes, uint64_t seed) {
    world w;
    test_random random = test_random_make(seed);
    world_make(&w, &random, options, bytes);
    schedule *s = schedule_make(&w, seed + 1000000);
    run(s, STEPS);
    finish(&w, s, seed);
    free(s);
    world_free(&w);
}

/* Without threads the whole order depends only on the seed. */
static void without_threads(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(1500); seed++) {
        const kvf_host_options options = {.no_threads = true,
                                          .max_transfers = seed % 3 == 0 ? 6 : 0};
        one_submitter(&options, 16, seed);
    }
}

static void with_threads(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(120); seed++) {
        const kvf_host_options options = {.threads = 1 + (unsigned)(seed % 4),
                                          .max_transfers = seed % 3 == 0 ? 6 : 0};
        one_submitter(&options, seed % 8 == 0 ? 3000 : 100, seed);
    }
}

/* Results arrive late and in another order, while content arrives at once. */
static void over_an_imitated_link(void **state) {
    (void)state;
    fixture_needs(FIXTURE_IMITATION);
    for (uint64_t seed = 1; seed <= fixture_seeds(80); seed++) {
        const kvf_host_options options = {
            .threads = seed % 2 == 0 ? 0 : 1 + (unsigned)(seed % 3),
            .no_threads = seed % 2 == 0,
            .imitate_gbps = seed % 4 < 2 ? 1 : 0,
            .imitate_latency_us = (double)(seed % 5) * 30,
            .background_gbps = seed % 3 == 0 ? 2 : 0,
        };
        one_submitter(&options, 100, seed);
    }
}

/* A large block is several chunks, copied by several threads. */
static void in_large_blocks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(2); seed++) {
        const kvf_host_options options = {.threads = 3};
        world w;
        test_random random = test_random_make(seed);
        world_make(&w, &random, &options, 16000);
        schedule *s = schedule_make(&w, seed);
        run(s, STEPS);
        finish(&w, s, seed);
        free(s);
        world_free(&w);
    }
}

/* Several submitters of one schedule, in the order that a lock makes. */
static void *submit_under_lock(void *context) {
    schedule *shared = context;
    world *w = shared->world;
    for (int i = 0; i < STEPS; i++) {
        pthread_mutex_lock(&w->lock);
        submit(shared);
        kvf_transfer *mine = shared->entries[shared->count - 1].transfer;
        bool cancel = test_random_below(&shared->random, 8) == 0;
        pthread_mutex_unlock(&w->lock);
        if (cancel)
            kvf_transfer_cancel(mine);
        kvf_transfer_poll(mine, NULL);
    }
    return NULL;
}

/* Submitters with blocks of their own, not synchronised with each other. */
static void *submit_freely(void *context) {
    run(context, STEPS);
    return NULL;
}

static void join_all(pthread_t *threads) {
    for (int i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
}

static kvf_host_options options_for(uint64_t seed) {
    return (kvf_host_options){.threads = seed % 4 == 0 ? 0 : (unsigned)(seed % 4),
                              .no_threads = seed % 4 == 0,
                              .max_transfers = seed % 3 == 0 ? 8 : 0};
}

static void several_submitters_in_one_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(60); seed++) {
        const kvf_host_options options = options_for(seed);
        world w;
        test_random random = test_random_make(seed);
        world_make(&w, &random, &options, 100);
        schedule *s = schedule_make(&w, seed);
        pthread_t threads[SUBMITTERS];
        for (int i = 0; i < SUBMITTERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, submit_under_lock, s), 0);
        join_all(threads);
        finish(&w, s, seed);
        free(s);
        world_free(&w);
    }
}

static void several_submitters_at_once(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= fixture_seeds(60); seed++) {
        const kvf_host_options options = options_for(seed);
        world w;
        test_random random = test_random_make(seed);
        world_make(&w, &random, &options, 100);
        pthread_t threads[SUBMITTERS];
        for (int i = 0; i < SUBMITTERS; i++) {
            schedule *s = w.schedules[i] = schedule_make(&w, seed * SUBMITTERS + (uint64_t)i);
            s->first = (uint64_t)i;
            s->step = SUBMITTERS;
            s->next_log = (uint64_t)i * (MANY_BLOCKS / SUBMITTERS);
            s->end_log = s->next_log + MANY_BLOCKS / SUBMITTERS;
            assert_int_equal(pthread_create(&threads[i], NULL, submit_freely, s), 0);
        }
        join_all(threads);
        for (int i = 0; i < SUBMITTERS; i++)
            replay(&w, w.schedules[i]);
        for (int i = 0; i < SUBMITTERS; i++) {
            for (size_t k = 0; k < w.schedules[i]->count; k++)
                kvf_transfer_release(w.schedules[i]->entries[k].transfer);
            free(w.schedules[i]);
        }
        fixture_drain(w.engine);
        check_idle(&w);
        check_content(&w, seed);
        world_free(&w);
    }
}

int main(void) {
    if (!fixture_available())
        return FIXTURE_SKIPPED;
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_threads),
        cmocka_unit_test(with_threads),
        cmocka_unit_test(over_an_imitated_link),
        cmocka_unit_test(in_large_blocks),
        cmocka_unit_test(several_submitters_in_one_order),
        cmocka_unit_test(several_submitters_at_once),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
