#include "engine/engine.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

/* Time */

enum {
    SPIN_NS = 20 * 1000,
    SHORTEST_NAP_NS = 10 * 1000,
    LONGEST_NAP_NS = 1000 * 1000,
    OVERDUE_NS = 50 * 1000, /* past what was expected, before a wait rests again */
    MARGIN = 8,    /* ... and a part in so many of what was expected, on both sides: models err */
    NAP_PART = 64, /* a nap may be as late as a part in so many of the time waited so far */
    TOLD_PART = 8, /* ... where the engine tells the end */
    EXACT_SLACK_NS = 1000,
};

uint64_t kvf__now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static struct timespec timespec_of(uint64_t time) {
    const uint64_t second = UINT64_C(1000000000);
    return (struct timespec){.tv_sec = (time_t)(time / second), .tv_nsec = (long)(time % second)};
}

bool kvf__cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(cond, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
}

void kvf__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t time) {
    struct timespec t = timespec_of(time);
    pthread_cond_timedwait(cond, mutex, &t);
}

int kvf__timers_be_exact(void) {
    int slack = prctl(PR_GET_TIMERSLACK);
    if (slack > EXACT_SLACK_NS)
        (void)prctl(PR_SET_TIMERSLACK, (unsigned long)EXACT_SLACK_NS);
    return slack;
}

void kvf__timers_be_as_before(int slack) {
    if (slack > EXACT_SLACK_NS)
        (void)prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
}

/* Life */

kvf_status kvf__engine_init(kvf_engine *engine, const kvf__engine_ops *ops,
                            const kvf_allocator *allocator, const kvf__hooks *hooks,
                            size_t max_open, kvf_error *error) {
    engine->ops = ops;
    engine->allocator = *allocator;
    engine->hooks = *hooks;
    engine->max_open = max_open;
    engine->due_end = &engine->due;
    engine->notes_end = &engine->notes;
    atomic_init(&engine->holds, 1);
    if (pthread_mutex_init(&engine->order, NULL) == 0) {
        if (pthread_mutex_init(&engine->lock, NULL) == 0) {
            if (kvf__cond_init(&engine->changed))
                return KVF_OK;
            pthread_mutex_destroy(&engine->lock);
        }
        pthread_mutex_destroy(&engine->order);
    }
    return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

void kvf__engine_fini(kvf_engine *engine) {
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->order);
}

void kvf__engine_hold(kvf_engine *engine) {
    atomic_fetch_add_explicit(&engine->holds, 1, memory_order_relaxed);
}

void kvf__engine_release(kvf_engine *engine) {
    if (atomic_fetch_sub_explicit(&engine->holds, 1, memory_order_acq_rel) == 1)
        engine->ops->free(engine);
}

const char *kvf_engine_name(const kvf_engine *engine) {
    return engine ? engine->ops->name : "none";
}

/* Notes */

void kvf__engine_note(kvf_engine *engine, kvf__note *note) {
    if (note->queued)
        return;
    note->queued = true;
    note->next = NULL;
    *engine->notes_end = note;
    engine->notes_end = &note->next;
}

/* With `lock` held. */
static kvf__note *take_notes(kvf_engine *engine) {
    kvf__note *notes = engine->notes;
    engine->notes = NULL;
    engine->notes_end = &engine->notes;
    return notes;
}

/* Each may be gone, or be queued anew, once it is written. */
static void write_notes(kvf_engine *engine, kvf__note *notes) {
    while (notes) {
        kvf__note *note = notes;
        pthread_mutex_lock(&engine->lock);
        notes = note->next;
        note->queued = false;
        pthread_mutex_unlock(&engine->lock);
        note->write(engine, note->about);
    }
}

void kvf__engine_write_notes(kvf_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    kvf__note *notes = take_notes(engine);
    engine->calling += notes != NULL;
    pthread_mutex_unlock(&engine->lock);
    if (!notes)
        return;
    write_notes(engine, notes);
    pthread_mutex_lock(&engine->lock);
    engine->calling--;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

/* Counters */

void kvf__engine_count_refusal(kvf_engine *engine, kvf_status status) {
    bool again = status == KVF_ERR_AGAIN;
    pthread_mutex_lock(&engine->lock);
    engine->counters.refused_again += again;
    engine->counters.refused_other += !again;
    pthread_mutex_unlock(&engine->lock);
}

static void count_wait(kvf_engine *engine, uint64_t start, bool done) {
    pthread_mutex_lock(&engine->lock);
    engine->counters.waits++;
    engine->counters.wait_timeouts += !done;
    engine->counters.wait_ns += kvf__now() - start;
    pthread_mutex_unlock(&engine->lock);
}

kvf_status kvf_engine_counters_get(kvf_engine *engine, kvf_counters *out, kvf_error *error) {
    if (!engine || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    pthread_mutex_lock(&engine->lock);
    *out = engine->counters;
    if (engine->ops->count)
        engine->ops->count(engine, out);
    pthread_mutex_unlock(&engine->lock);
    return KVF_OK;
}

/* Progress */

void kvf__engine_deliver(kvf_engine *engine, kvf__delivery *delivery) {
    delivery->next = NULL;
    *engine->due_end = delivery;
    engine->due_end = &delivery->next;
}

/* Makes the callbacks, and returns how many they were. */
static uint64_t call_back(kvf__delivery *due) {
    uint64_t count = 0;
    while (due) {
        kvf__delivery *next = due->next;
        if (due->callback) {
            due->callback(due->user, due->error);
            count++;
        }
        due->done(due->owner);
        due = next;
    }
    return count;
}

bool kvf__engine_call_back(kvf_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    kvf__delivery *due = engine->due;
    kvf__note *notes = take_notes(engine);
    engine->due = NULL;
    engine->due_end = &engine->due;
    engine->calling += due || notes;
    pthread_mutex_unlock(&engine->lock);
    if (!due && !notes)
        return false;
    write_notes(engine, notes);
    uint64_t callbacks = call_back(due);
    pthread_mutex_lock(&engine->lock);
    engine->calling--;
    engine->counters.callbacks += callbacks;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    return true;
}

bool kvf__engine_step(kvf_engine *engine) {
    bool moved = engine->ops->progress(engine);
    bool called = kvf__engine_call_back(engine);
    return moved || called;
}

size_t kvf_engine_progress(kvf_engine *engine) {
    if (!engine)
        return 0;
    kvf__engine_hold(engine); /* a callback may destroy what holds it */
    engine->ops->progress(engine);
    /* Counted before the callbacks are made, so that behind a 0 none is due; and behind them again,
     * since they may submit. */
    size_t before = atomic_load(&engine->open);
    kvf__engine_call_back(engine);
    size_t open = atomic_load(&engine->open);
    kvf__engine_release(engine);
    return kvf__max(open, before);
}

bool kvf__engine_reached(const kvf_engine *engine, const uint64_t after[KVF__LANES]) {
    for (unsigned lane = 0; lane < KVF__LANES; lane++)
        if (atomic_load_explicit(&engine->retired[lane], memory_order_acquire) < after[lane])
            return false;
    return true;
}

/* Waiting */

/* When it is not done yet, says when that is expected. */
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
 *     |--- naps of `rest` or less ---|--- looks ---|--- looks ---|--- naps
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

/* Sleeps until something changes or the time has come; not at all once it is done. */
static void nap(kvf_engine *engine, const kvf__wait *w, uint64_t until) {
    int slack = kvf__timers_be_exact();
    pthread_mutex_lock(&engine->lock);
    if (!w->done(w->context) && !engine->due && !engine->notes)
        kvf__cond_wait_until(&engine->changed, &engine->lock, until);
    pthread_mutex_unlock(&engine->lock);
    kvf__timers_be_as_before(slack);
}

static uint64_t rest_after(const kvf_engine *engine, uint64_t waited) {
    const uint64_t longest = engine->ops->longest_nap ? engine->ops->longest_nap : LONGEST_NAP_NS;
    const uint64_t rest = waited / (engine->ops->longest_nap ? NAP_PART : TOLD_PART);
    return rest < SHORTEST_NAP_NS ? SHORTEST_NAP_NS : rest < longest ? rest : longest;
}

/* `*waited`: whether it was not done at the first look, and there was time to wait. */
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
            (void)sched_yield(); /* others want the processor, or the lock */
    }
}

bool kvf__engine_wait(kvf_engine *engine, const kvf__wait *w, int64_t timeout_us) {
    uint64_t start = kvf__now();
    bool forever = timeout_us < 0 || timeout_us > INT64_MAX / 2000, waited = false;
    uint64_t end = forever ? UINT64_MAX : start + (uint64_t)timeout_us * 1000;
    if (timeout_us == 0)
        return wait_for(engine, w, start, end, &waited);
    kvf__range_begin(&engine->hooks, KVF__RANGE_WAIT);
    bool finished = wait_for(engine, w, start, end, &waited);
    kvf__range_end(&engine->hooks);
    if (waited)
        count_wait(engine, start, finished);
    return finished;
}
