#include "engine/wait.h"

#include <sched.h>

enum {
    SPIN_NS = 20 * 1000,
    SHORTEST_NAP_NS = 10 * 1000,
    LONGEST_NAP_NS = 1000 * 1000,
    OVERDUE_NS = 50 * 1000, /* how long a wait spins past the expected time */
    MARGIN = 8,             /* ... plus length / MARGIN, and before it: predictions err */
    NAP_PART = 64,          /* a nap lasts at most waited / NAP_PART */
    TOLD_PART = 8,          /* ... or waited / TOLD_PART if the engine signals changes */
};

/* Whether the condition holds; if not, also when it is expected to. */
static bool check(kvf_engine *engine, const kvf__wait *w, kvf__expectation *expected) {
    *expected = (kvf__expectation){0};
    pthread_mutex_lock(&engine->lock);
    bool yes = w->done(w->context);
    if (!yes && w->transfer && engine->ops->expect)
        *expected = engine->ops->expect(engine, w->transfer, w->share);
    pthread_mutex_unlock(&engine->lock);
    return yes;
}

/*
 *     |--- naps of `rest` or less ---|--- spins ---|--- spins ---|--- naps
 *                                     length / 8   ^  length / 8
 *                                     + SPIN_NS    |  + OVERDUE_NS
 *                                              expected
 */
uint64_t kvf__nap_until(uint64_t now, uint64_t waited, kvf__expectation expected, uint64_t rest) {
    const uint64_t margin = expected.length / MARGIN;
    if (waited < SPIN_NS)
        return now;
    if (expected.time == 0 || now > expected.time + margin + OVERDUE_NS)
        return now + rest;
    if (expected.time <= now + margin + SPIN_NS)
        return now;
    uint64_t look = expected.time - margin - SPIN_NS;
    return kvf__min(look, now + rest);
}

/* Sleeps until something changes, but no longer than `until`, and not if the condition holds. */
static void nap(kvf_engine *engine, const kvf__wait *w, uint64_t until) {
    int slack = kvf__timer_slack_lower();
    pthread_mutex_lock(&engine->lock);
    if (!w->done(w->context) && !engine->due && !engine->notes)
        kvf__cond_wait_until(&engine->changed, &engine->lock, until);
    pthread_mutex_unlock(&engine->lock);
    kvf__timer_slack_restore(slack);
}

static uint64_t rest_after(const kvf_engine *engine, uint64_t waited) {
    const uint64_t longest = engine->ops->longest_nap ? engine->ops->longest_nap : LONGEST_NAP_NS;
    const uint64_t rest = waited / (engine->ops->longest_nap ? NAP_PART : TOLD_PART);
    return rest < SHORTEST_NAP_NS ? SHORTEST_NAP_NS : rest < longest ? rest : longest;
}

/* `*waited`: whether the first check failed with time left. */
static bool wait_for(kvf_engine *engine, const kvf__wait *w, uint64_t start, uint64_t end,
                     bool *waited) {
    for (;;) {
        kvf__expectation expected;
        bool moved = kvf__engine_step(engine);
        if (check(engine, w, &expected))
            return true;
        uint64_t now = kvf__now();
        if (now >= end)
            return false;
        *waited = true;
        uint64_t rest = rest_after(engine, now - start);
        uint64_t until = moved ? now : kvf__nap_until(now, now - start, expected, rest);
        if (until > now)
            nap(engine, w, kvf__min(until, end));
        else
            (void)sched_yield(); /* others may need the processor or the lock */
    }
}

static void count_wait(kvf_engine *engine, uint64_t start, bool done) {
    pthread_mutex_lock(&engine->lock);
    engine->counters.waits++;
    engine->counters.wait_timeouts += !done;
    engine->counters.wait_ns += kvf__now() - start;
    pthread_mutex_unlock(&engine->lock);
}

bool kvf__engine_wait(kvf_engine *engine, const kvf__wait *w, int64_t timeout_us) {
    uint64_t start = kvf__now();
    uint64_t end = kvf__deadline(start, timeout_us);
    bool waited = false;
    if (timeout_us == 0)
        return wait_for(engine, w, start, end, &waited);
    kvf__range_begin(&engine->hooks, KVF__RANGE_WAIT);
    bool finished = wait_for(engine, w, start, end, &waited);
    kvf__range_end(&engine->hooks);
    if (waited)
        count_wait(engine, start, finished);
    return finished;
}
