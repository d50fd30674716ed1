/* Background transfers: what is enqueued when, observed on held streams. */
#include "support/engine_fixture.h"

#include <kvferry/cuda.h>

#include "fakecuda.h"
#include "needs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW = 4 << 20, /* bytes enqueued at a time: here, one block */
    BLOCKS = 12,
    WINDOWS = 2, /* in streams at a time, each direction */
    MOST_STREAMS = 64,
    MANY_TIMES = 20,
    WATCHDOG_S = 120,
};

static const uint64_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* Blocks of one piece each, so that a window is a copy. */
typedef struct fixture {
    kvf_engine *engine;
    fixture_tier near, far;
} fixture;

static void open_fixture(fixture *l, const kvf_cuda_options *options) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 1, .parts = 1, .bytes = WINDOW};
    kvf_error e = {0};
    *l = (fixture){0};
    (void)alarm(WATCHDOG_S);
    test_expect(KVF_OK, kvf_engine_cuda_create(options, &l->engine, &e), &e);
    l->near = fixture_tier_make_on(l->engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, false);
    l->far = fixture_tier_make(l->engine, &shape, FIXTURE_PADDED, false);
}

static void close_fixture(fixture *l) {
    fixture_tier_free(&l->near);
    fixture_tier_free(&l->far);
    kvf_engine_destroy(l->engine);
    assert_int_equal(fakecuda_reset(), 0);
    (void)alarm(0);
}

static char byte_at(const fixture_tier *tier, uint64_t id, size_t at) {
    char byte;
    fixture_read(&byte, fixture_byte(tier->memory.layout, 0, id, 0, at), 1);
    return byte;
}

/* A byte at each end identifies a block. */
static void mark(const fixture_tier *tier, uint64_t id, char tag) {
    const char last = (char)(tag + 1);
    fixture_write(fixture_byte(tier->memory.layout, 0, id, 0, 0), &tag, 1);
    fixture_write(fixture_byte(tier->memory.layout, 0, id, 0, WINDOW - 1), &last, 1);
}

static bool has_mark(const fixture_tier *tier, uint64_t id, char tag) {
    return byte_at(tier, id, 0) == tag && byte_at(tier, id, WINDOW - 1) == (char)(tag + 1);
}

static void mark_all(const fixture_tier *tier, char first) {
    for (uint64_t id = 0; id < BLOCKS; id++)
        mark(tier, id, (char)(first + 2 * (char)id));
}

/* Moves blocks from `first` on to those from `to` on, by `loop` unless `how` has a strategy. */
static kvf_transfer *move_by(const fixture_tier *src, const fixture_tier *dst, size_t first,
                             size_t to, size_t count, kvf_submit_options how) {
    const kvf_plan plan = fixture_plan(ids + first, ids + to, count);
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    how.strategy = how.strategy == KVF_CUDA_AUTO ? KVF_CUDA_LOOP : how.strategy;
    test_expect(KVF_OK, kvf_transfer_submit(src->tier, dst->tier, &plan, 1, &how, &t, &e), &e);
    return t;
}

static kvf_transfer *background(const fixture_tier *src, const fixture_tier *dst, size_t first,
                                size_t to, size_t count, unsigned priority) {
    return move_by(src, dst, first, to, count,
                   (kvf_submit_options){.background = true, .priority = priority});
}

static void end_as(kvf_transfer *t, kvf_status expected) {
    kvf_error e = {0};
    test_expect(expected, kvf_transfer_wait(t, -1, &e), &e);
    kvf_transfer_release(t);
}

/* Copies in streams, run or not. */
static uint64_t enqueued(void) {
    return fakecuda_calls("cudaMemcpyAsync") + fakecuda_calls("cudaMemcpy2DAsync");
}

static bool is_whole(const kvf_transfer *t) {
    kvf_cuda_explanation x;
    kvf_status status = kvf_cuda_explain(t, &x, NULL);
    assert_true(status == KVF_OK || status == KVF_PENDING);
    return status == KVF_OK;
}

static void progress(const fixture *l) {
    for (int i = 0; i < MANY_TIMES; i++)
        kvf_engine_progress(l->engine);
}

/* Expects that many copies in streams; waits for them where the engine has a thread. */
static void await_enqueued(const fixture *l, uint64_t count) {
    while (enqueued() < count) {
        kvf_engine_progress(l->engine);
        (void)usleep(50);
    }
    progress(l);
    (void)usleep(1000);
    assert_int_equal(enqueued(), count);
}

/* Lets each stream with pending work run that many operations. */
static void step_all(size_t operations) {
    cudaStream_t all[MOST_STREAMS];
    size_t count = fakecuda_streams(all, MOST_STREAMS);
    for (size_t i = 0; i < count; i++)
        if (fakecuda_pending(all[i]) > 0)
            fakecuda_step(all[i], operations);
    fakecuda_settle();
}

static void let_all_go(void) {
    cudaStream_t all[MOST_STREAMS];
    fakecuda_hold_all(false);
    for (size_t i = fakecuda_streams(all, MOST_STREAMS); i > 0; i--)
        fakecuda_release(all[i - 1]);
}

static const kvf_cuda_options no_thread = {.no_thread = true}, thread = {0};
static const kvf_cuda_options *const both[] = {&no_thread, &thread};

/* Windows */

static void at_most_two_windows_each_way(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        open_fixture(&l, both[k]);
        mark_all(&l.near, 10);
        mark_all(&l.far, 60);
        fakecuda_hold_all(true);
        kvf_transfer *on = background(&l.far, &l.near, 0, 0, 6, 1);
        kvf_transfer *off = background(&l.near, &l.far, 6, 6, 6, 1);
        assert_true(k == 1 || enqueued() == 0);
        uint64_t expected = 2 * (uint64_t)WINDOWS;
        for (await_enqueued(&l, expected); expected < 12; await_enqueued(&l, expected)) {
            step_all(2); /* a copy, and the window's event */
            expected += 2;
        }
        assert_true(is_whole(on) && is_whole(off));
        let_all_go();
        end_as(on, KVF_OK);
        end_as(off, KVF_OK);
        for (uint64_t id = 0; id < 6; id++) {
            assert_true(has_mark(&l.near, id, (char)(60 + 2 * (char)id)));
            assert_true(has_mark(&l.far, id + 6, (char)(10 + 2 * (char)(id + 6))));
        }
        close_fixture(&l);
    }
}

static void priorities_set_the_order(void **state) {
    (void)state;
    static const unsigned priorities[] = {3, 1, 2, 0, 1};
    static const size_t order[] = {3, 1, 4, 2, 0};
    for (size_t way = 0; way < 2; way++) {
        fixture l;
        kvf_transfer *t[5];
        open_fixture(&l, &no_thread);
        fakecuda_hold_all(true);
        const fixture_tier *src = way ? &l.near : &l.far, *dst = way ? &l.far : &l.near;
        for (size_t i = 0; i < 5; i++)
            t[i] = background(src, dst, i, i, 1, priorities[i]);
        for (size_t begun = WINDOWS; begun <= 5; begun++) {
            progress(&l);
            for (size_t i = 0; i < 5; i++)
                assert_int_equal(is_whole(t[order[i]]), i < begun);
            cudaStream_t all[MOST_STREAMS];
            for (size_t s = fakecuda_streams(all, MOST_STREAMS); s > 0; s--)
                if (fakecuda_pending(all[s - 1]) > 0) { /* one window only */
                    fakecuda_step(all[s - 1], 3);       /* its copy and two events */
                    break;
                }
            fakecuda_settle();
        }
        let_all_go();
        for (size_t i = 0; i < 5; i++)
            end_as(t[i], KVF_OK);
        close_fixture(&l);
    }
}

/* A high-priority onboard needs what a low-priority offload writes: the offload goes first. */
static void waiting_transfers_pass_on_their_priority(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    mark(&l.near, 0, 33);
    fakecuda_hold_all(true);
    kvf_transfer *between = background(&l.near, &l.far, 4, 4, 6, 1);
    kvf_transfer *low = background(&l.near, &l.far, 0, 0, 1, 3);
    kvf_transfer *high = background(&l.far, &l.near, 0, 1, 1, 0);
    progress(&l);
    assert_int_equal(enqueued(), WINDOWS); /* `low`, and the first of `between` */
    assert_true(is_whole(low));
    assert_false(is_whole(between) || is_whole(high));
    let_all_go();
    end_as(high, KVF_OK);
    end_as(low, KVF_OK);
    end_as(between, KVF_OK);
    assert_true(has_mark(&l.near, 1, 33));
    close_fixture(&l);
}

/* Background transfers that a stream needs */

typedef struct compute {
    cudaStream_t stream;
    cudaEvent_t event;
} compute;

static compute compute_make(void) {
    compute c;
    assert_int_equal(cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&c.event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaEventRecord(c.event, c.stream), cudaSuccess);
    return c;
}

static void compute_free(compute *c) {
    assert_int_equal(cudaStreamSynchronize(c->stream), cudaSuccess);
    assert_int_equal(cudaEventDestroy(c->event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(c->stream), cudaSuccess);
}

typedef enum need { BY_SUBMIT, BY_WAIT, BY_MARK, NEEDS } need;

/* Makes the stream, or an ordered transfer, need block 5 of the near tier. */
static kvf_transfer *make_need(const fixture *l, need how, const compute *c) {
    kvf_error e = {0};
    if (how == BY_SUBMIT)
        return move_by(&l->near, &l->far, 5, 11, 1, (kvf_submit_options){0});
    if (how == BY_WAIT)
        test_expect(KVF_OK, kvf_cuda_wait_slots(l->near.tier, ids + 5, 1, false, c->stream, &e),
                    &e);
    else
        test_expect(KVF_OK, kvf_cuda_mark_slots(l->near.tier, ids + 5, 1, false, c->event, &e), &e);
    return NULL;
}

static void needed_transfers_are_enqueued_whole(void **state) {
    (void)state;
    for (need how = BY_SUBMIT; how < NEEDS; how++) {
        for (size_t begun = 0; begun < 2; begun++) {
            fixture l;
            const kvf_cuda_options capped = {.no_thread = true, .background_to_gbps = 1e-3};
            open_fixture(&l, &capped);
            compute c = compute_make();
            mark(&l.far, 5, 77);
            fakecuda_hold_all(true);
            kvf_transfer *t = background(&l.far, &l.near, 0, 0, 6, 3);
            for (size_t i = 0; i < begun; i++)
                kvf_engine_progress(l.engine);
            assert_int_equal(enqueued(), begun);
            kvf_transfer *after = make_need(&l, how, &c);
            assert_int_equal(enqueued(), begun + 1 + (after != NULL)); /* the rest at once */
            assert_true(is_whole(t));
            let_all_go();
            end_as(t, KVF_OK);
            if (after)
                end_as(after, KVF_OK);
            assert_true(has_mark(after ? &l.far : &l.near, after ? 11 : 5, 77));
            compute_free(&c);
            close_fixture(&l);
        }
    }
}

/* A stream can wait for slots of a transfer that has not started. */
static void a_stream_waits_for_slots(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        kvf_error e = {0};
        char *there = NULL;
        open_fixture(&l, both[k]);
        assert_int_equal(cudaHostAlloc((void **)&there, WINDOW, 0), cudaSuccess);
        compute c = compute_make();
        mark_all(&l.far, 20);
        fakecuda_delay(FAKECUDA_COPY, 1000);
        kvf_transfer *t = background(&l.far, &l.near, 0, 0, 8, 2);
        test_expect(KVF_OK, kvf_cuda_wait_slots(l.near.tier, ids + 7, 1, false, c.stream, &e), &e);
        const char *block = l.near.memory.bytes + 7 * (size_t)WINDOW;
        assert_int_equal(cudaMemcpyAsync(there, block, WINDOW, cudaMemcpyDeviceToHost, c.stream),
                         cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(c.stream), cudaSuccess);
        assert_int_equal(there[0], 20 + 2 * 7);
        assert_int_equal(there[WINDOW - 1], 20 + 2 * 7 + 1);
        end_as(t, KVF_OK);
        compute_free(&c);
        assert_int_equal(cudaFreeHost(there), cudaSuccess);
        close_fixture(&l);
    }
}

/* Events */

/* The event's recording at submit counts; later recordings do not. */
static void events_count_as_recorded_at_submit(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        open_fixture(&l, both[k]);
        compute first = compute_make(), second = compute_make();
        mark(&l.near, 0, 11);
        fakecuda_hold(first.stream);
        fakecuda_hold(second.stream);
        assert_int_equal(cudaMemsetAsync(l.near.memory.bytes, 44, WINDOW, first.stream),
                         cudaSuccess);
        assert_int_equal(cudaEventRecord(first.event, first.stream), cudaSuccess);
        void *events[] = {first.event};
        kvf_transfer *t =
            move_by(&l.near, &l.far, 0, 0, 1,
                    (kvf_submit_options){.background = true, .events = events, .event_count = 1});
        assert_int_equal(cudaEventRecord(first.event, second.stream), cudaSuccess);
        assert_int_equal(kvf_transfer_wait(t, 5000, NULL), KVF_ERR_TIMEOUT);
        assert_int_equal(enqueued(), 0);
        fakecuda_release(first.stream);
        end_as(t, KVF_OK);
        assert_int_equal(byte_at(&l.far, 0, WINDOW - 1), 44);
        fakecuda_release(second.stream);
        compute_free(&first);
        compute_free(&second);
        close_fixture(&l);
    }
}

/* A needed transfer is enqueued before its event has fired and then waits in its stream, even with
 * a driver that reads sources as early as it may. */
static void needed_transfers_still_wait_for_events(void **state) {
    static const unsigned strategies[] = {KVF_CUDA_LOOP, KVF_CUDA_BATCH};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        fakecuda_configure(&(fakecuda_config){.any_early = true});
        open_fixture(&l, &no_thread);
        compute c = compute_make();
        fakecuda_hold(c.stream);
        assert_int_equal(cudaMemsetAsync(l.near.memory.bytes, 44, WINDOW, c.stream), cudaSuccess);
        assert_int_equal(cudaEventRecord(c.event, c.stream), cudaSuccess);
        void *events[] = {c.event};
        kvf_transfer *t = move_by(
            &l.near, &l.far, 0, 0, 1,
            (kvf_submit_options){
                .background = true, .strategy = strategies[k], .events = events, .event_count = 1});
        kvf_transfer *needs = move_by(&l.far, &l.near, 0, 1, 1, (kvf_submit_options){0});
        assert_true(is_whole(t));
        assert_int_equal(kvf_transfer_wait(needs, 5000, NULL), KVF_ERR_TIMEOUT);
        fakecuda_release(c.stream);
        end_as(needs, KVF_OK);
        end_as(t, KVF_OK);
        assert_int_equal(byte_at(&l.near, 1, WINDOW - 1), 44);
        compute_free(&c);
        close_fixture(&l);
    }
}

/* A transfer that waits for an event does not hold up other lanes. */
static void events_do_not_hold_up_other_lanes(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    compute c = compute_make();
    fakecuda_hold(c.stream);
    assert_int_equal(cudaEventRecord(c.event, c.stream), cudaSuccess);
    void *events[] = {c.event};
    const kvf_submit_options how = {
        .background = true, .priority = 0, .events = events, .event_count = 1};
    kvf_transfer *stuck = move_by(&l.near, &l.far, 0, 0, 1, how);
    end_as(background(&l.near, &l.far, 1, 1, 2, 3), KVF_OK);
    end_as(background(&l.far, &l.near, 5, 5, 2, 0), KVF_OK);
    end_as(move_by(&l.near, &l.far, 8, 8, 2, (kvf_submit_options){0}), KVF_OK);
    assert_int_equal(kvf_transfer_poll(stuck, NULL), KVF_PENDING);
    fakecuda_release(c.stream);
    end_as(stuck, KVF_OK);
    compute_free(&c);
    close_fixture(&l);
}

/* Cancelling */

/* A reader waits for an event, a writer of the same block waits for the reader and is cancelled.
 * The next writer must still follow the reader, which is not in its stream until then. */
static void cancelled_transfers_pass_on_their_waits(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    mark_all(&l.near, 10);
    mark_all(&l.far, 60);
    compute c = compute_make();
    fakecuda_hold(c.stream);
    assert_int_equal(cudaEventRecord(c.event, c.stream), cudaSuccess);
    void *events[] = {c.event};
    kvf_transfer *reads =
        move_by(&l.near, &l.far, 0, 0, 1,
                (kvf_submit_options){
                    .background = true, .priority = 1, .events = events, .event_count = 1});
    kvf_transfer *cancelled = background(&l.far, &l.near, 5, 0, 1, 2);
    kvf_transfer_cancel(cancelled);
    end_as(cancelled, KVF_ERR_CANCELLED);
    kvf_transfer *writes = move_by(&l.far, &l.near, 6, 0, 1, (kvf_submit_options){0});
    assert_int_equal(kvf_transfer_wait(writes, 20000, NULL), KVF_ERR_TIMEOUT);
    fakecuda_release(c.stream);
    end_as(reads, KVF_OK);
    end_as(writes, KVF_OK);
    assert_true(has_mark(&l.far, 0, 10));
    assert_true(has_mark(&l.near, 0, 60 + 2 * 6));
    compute_free(&c);
    close_fixture(&l);
}

static void cancelled_before_it_begins(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    mark_all(&l.near, 10);
    kvf_transfer *t = background(&l.near, &l.far, 0, 0, 6, 1);
    kvf_transfer *later = background(&l.near, &l.far, 1, 1, 2, 1);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_poll(t, NULL), KVF_ERR_CANCELLED);
    assert_int_equal(kvf_transfer_landed(t, 0), 0);
    end_as(t, KVF_ERR_CANCELLED);
    end_as(later, KVF_OK);
    assert_int_equal(enqueued(), 2);
    assert_true(has_mark(&l.far, 1, 12) && !has_mark(&l.far, 0, 10));
    fixture_drain(l.engine);
    assert_int_equal(kvf_tier_idle(l.far.tier, ids, BLOCKS, NULL), KVF_OK);
    close_fixture(&l);
}

static void cancelled_while_it_runs(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        open_fixture(&l, both[k]);
        mark_all(&l.near, 10);
        fakecuda_hold_all(true);
        kvf_transfer *t = background(&l.near, &l.far, 0, 0, 6, 1);
        await_enqueued(&l, WINDOWS);
        kvf_transfer_cancel(t);
        progress(&l);
        assert_int_equal(kvf_transfer_poll(t, NULL), KVF_PENDING); /* two copies are in flight */
        assert_int_equal(kvf_tier_idle(l.far.tier, ids, 1, NULL), KVF_ERR_BUSY);
        let_all_go();
        end_as(t, KVF_ERR_CANCELLED);
        assert_int_equal(enqueued(), WINDOWS);
        for (uint64_t id = 0; id < 6; id++)
            assert_int_equal(has_mark(&l.far, id, (char)(10 + 2 * (char)id)), id < WINDOWS);
        assert_int_equal(kvf_tier_idle(l.far.tier, ids, BLOCKS, NULL), KVF_OK);
        end_as(background(&l.near, &l.far, 0, 0, 6, 1), KVF_OK);
        assert_true(has_mark(&l.far, 5, 20));
        close_fixture(&l);
    }
}

/* A transfer that is whole in its stream can no longer be cancelled, and reports that. */
static void cancelled_too_late(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    mark_all(&l.near, 10);
    fakecuda_hold_all(true);
    kvf_transfer *t = background(&l.near, &l.far, 0, 0, WINDOWS, 1);
    progress(&l);
    assert_true(is_whole(t));
    kvf_transfer_cancel(t);
    let_all_go();
    end_as(t, KVF_OK);
    assert_true(has_mark(&l.far, 0, 10) && has_mark(&l.far, 1, 12));
    close_fixture(&l);
}

/* Caps */

static double seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* At most the first window, plus what the cap allows since then, is enqueued. */
static void follow_cap(const fixture *l, kvf_transfer *t, double gbps) {
    const double start = seconds();
    while (kvf_transfer_poll(t, NULL) == KVF_PENDING) {
        const double bytes = (double)enqueued() * WINDOW,
                     allowed = (seconds() - start) * gbps * 1e9;
        assert_true(bytes <= allowed + 2 * WINDOW);
        if (kvf_engine_progress(l->engine) > 0)
            (void)usleep(100);
    }
}

static void caps_hold(void **state) {
    (void)state;
    static const double cap = 0.5;
    for (size_t k = 0; k < 4; k++) {
        const bool to = k % 2;
        const kvf_cuda_options o = {.no_thread = k / 2,
                                    .background_to_gbps = to ? cap : 0,
                                    .background_from_gbps = to ? 0 : cap};
        fixture l;
        open_fixture(&l, &o);
        const fixture_tier *src = to ? &l.far : &l.near, *dst = to ? &l.near : &l.far;
        const double start = seconds();
        kvf_transfer *t = background(src, dst, 0, 0, BLOCKS, 0);
        follow_cap(&l, t, cap);
        assert_true(seconds() - start >= (BLOCKS - 1) * WINDOW / (cap * 1e9));
        end_as(t, KVF_OK);
        close_fixture(&l);
    }
}

/* With the lowest cap, transfers that it does not cover still run. */
static void a_cap_covers_one_direction_in_the_background(void **state) {
    (void)state;
    const kvf_cuda_options o = {.no_thread = true, .background_to_gbps = 1e-3};
    fixture l;
    open_fixture(&l, &o);
    kvf_transfer *slow = background(&l.far, &l.near, 0, 0, 4, 0);
    progress(&l);
    assert_int_equal(enqueued(), 1);
    end_as(background(&l.near, &l.far, 4, 4, 4, 3), KVF_OK);
    end_as(move_by(&l.far, &l.near, 8, 8, 4, (kvf_submit_options){0}), KVF_OK);
    assert_int_equal(enqueued(), 1 + 4 + 1);
    assert_int_equal(kvf_transfer_poll(slow, NULL), KVF_PENDING);
    kvf_transfer_cancel(slow); /* ends now, not once the cap allows its next window */
    progress(&l);
    fakecuda_settle();
    progress(&l);
    assert_int_equal(kvf_transfer_poll(slow, NULL), KVF_ERR_CANCELLED);
    end_as(slow, KVF_ERR_CANCELLED);
    close_fixture(&l);
}

/* Ends */

static void ended_in_the_middle(void **state) {
    (void)state;
    for (size_t k = 0; k < 12; k++) {
        fixture l;
        kvf_transfer *t[4];
        open_fixture(&l, both[k % 2]);
        mark_all(&l.near, 10);
        mark_all(&l.far, 60);
        fakecuda_delay(FAKECUDA_COPY, 1500);
        for (size_t i = 0; i < 4; i++)
            t[i] = i % 2 ? background(&l.near, &l.far, 3 * i, 3 * i, 3, 3 - (unsigned)i)
                         : background(&l.far, &l.near, 3 * i, 3 * i, 3, 3 - (unsigned)i);
        for (size_t i = 0; i < k; i++)
            kvf_engine_progress(l.engine);
        if (k % 3 == 0)
            kvf_engine_destroy(l.engine);
        fixture_tier_free(k % 3 == 1 ? &l.near : &l.far);
        for (size_t i = 0; i < 4; i++) {
            kvf_status status = kvf_transfer_poll(t[i], NULL);
            assert_true(status == KVF_OK || status == KVF_ERR_CANCELLED);
            kvf_transfer_release(t[i]);
        }
        fixture_tier_free(k % 3 == 1 ? &l.far : &l.near);
        if (k % 3 != 0)
            kvf_engine_destroy(l.engine);
        assert_int_equal(fakecuda_reset(), 0);
        (void)alarm(0);
    }
}

/* A cancelled transfer ends before its turn, so its tiers may be destroyed then. */
static void a_tier_is_destroyed_before_its_cancelled_transfer(void **state) {
    (void)state;
    fixture l;
    open_fixture(&l, &no_thread);
    kvf_transfer *first = background(&l.far, &l.near, 0, 0, 4, 1);
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 1, .parts = 1, .bytes = WINDOW};
    fixture_tier other =
        fixture_tier_make_on(l.engine, FIXTURE_NEAR, &shape, FIXTURE_CONTIGUOUS, false);
    kvf_transfer *second = background(&l.far, &other, 0, 0, 4, 1);
    kvf_transfer_cancel(second);
    fixture_tier_free(&other);
    end_as(first, KVF_OK);
    end_as(second, KVF_ERR_CANCELLED);
    close_fixture(&l);
}

/* Without a thread work happens only in the caller's calls; with one, the thread does it. */
static void work_is_done_by_the_thread_or_in_calls(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture l;
        open_fixture(&l, both[k]);
        mark_all(&l.near, 10);
        kvf_transfer *t = background(&l.near, &l.far, 0, 0, 6, 2);
        for (int i = 0; i < 2000 && fakecuda_operations(FAKECUDA_COPY) < 6 * k; i++)
            (void)usleep(1000);
        (void)usleep(3000);
        assert_int_equal(fakecuda_operations(FAKECUDA_COPY), 6 * k);
        end_as(t, KVF_OK);
        close_fixture(&l);
    }
}

/* Layers, explanations, statistics */

static void streams_cannot_wait_for_background_layers(void **state) {
    (void)state;
    fixture l;
    kvf_error e = {0};
    open_fixture(&l, &no_thread);
    compute c = compute_make();
    kvf_transfer *t = move_by(&l.near, &l.far, 0, 0, 2,
                              (kvf_submit_options){.background = true, .by_layer = true});
    test_expect(KVF_ERR_UNSUPPORTED, kvf_cuda_wait_layer(t, 0, c.stream, &e), &e);
    test_expect(KVF_ERR_RANGE, kvf_cuda_wait_layer(t, 1, c.stream, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_wait_layer(NULL, 0, c.stream, &e), &e);
    test_expect(KVF_OK, kvf_transfer_wait_layer(t, 0, -1, &e), &e);
    test_expect(KVF_ERR_UNSUPPORTED, kvf_cuda_wait_layer(t, 0, c.stream, &e), &e);
    end_as(t, KVF_OK);
    compute_free(&c);
    close_fixture(&l);
}

static void explained_once_whole_in_its_stream(void **state) {
    (void)state;
    fixture l;
    kvf_error e = {0};
    kvf_cuda_explanation x = {.bytes = 7};
    open_fixture(&l, &no_thread);
    kvf_transfer *t = background(&l.near, &l.far, 0, 0, 2, 0);
    kvf_transfer *never = background(&l.near, &l.far, 4, 4, 2, 3);
    test_expect(KVF_PENDING, kvf_cuda_explain(t, &x, &e), &e);
    assert_int_equal(x.bytes, 7);
    test_expect(KVF_ERR_INVALID, kvf_cuda_explain(NULL, &x, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_explain(t, NULL, &e), &e);
    kvf_transfer_cancel(never);
    test_expect(KVF_OK, kvf_transfer_wait(t, -1, &e), &e);
    test_expect(KVF_OK, kvf_cuda_explain(t, &x, &e), &e);
    assert_true(x.chosen == KVF_CUDA_LOOP && x.reason == KVF_CUDA_FORCED);
    assert_int_equal(x.bytes, 2 * WINDOW);
    assert_int_equal(x.boxes, 1);
    assert_int_equal(x.fragments, 2);
    assert_true(x.measured_us != x.measured_us); /* NaN: only ordered ones are measured */
    test_expect(KVF_OK, kvf_cuda_explain(never, &x, &e), &e);
    assert_true(x.chosen == KVF_CUDA_AUTO && x.bytes == 0);
    kvf_transfer_release(t);
    kvf_transfer_release(never);
    close_fixture(&l);
}

static void statistics_count_successful_transfers(void **state) {
    (void)state;
    fixture l;
    kvf_error e = {0};
    kvf_cuda_stats s;
    open_fixture(&l, &no_thread);
    test_expect(KVF_ERR_INVALID, kvf_cuda_stats_get(NULL, &s, &e), &e);
    test_expect(KVF_ERR_INVALID, kvf_cuda_stats_get(l.engine, NULL, &e), &e);
    kvf_transfer *dropped = background(&l.near, &l.far, 4, 4, 2, 3);
    kvf_transfer_cancel(dropped);
    end_as(background(&l.near, &l.far, 0, 0, 2, 0), KVF_OK);
    end_as(dropped, KVF_ERR_CANCELLED);
    test_expect(KVF_OK, kvf_cuda_stats_get(l.engine, &s, &e), &e);
    for (size_t k = KVF_CUDA_AUTO; k < KVF_CUDA_STRATEGIES; k++) {
        const bool used = k == KVF_CUDA_AUTO || k == KVF_CUDA_LOOP;
        assert_int_equal(s.by[k].transfers, used);
        assert_int_equal(s.by[k].bytes, used ? 2 * WINDOW : 0);
        assert_true(s.by[k].compared == 0 && s.by[k].median_error != s.by[k].median_error);
    }
    for (size_t d = 0; d < KVF_CUDA_DIRECTIONS; d++)
        assert_int_equal(s.packing_bytes[d], 0);
    /* An ordered transfer that waits for nothing is measured if its end is observed. */
    fakecuda_delay(FAKECUDA_COPY, 20000);
    end_as(move_by(&l.near, &l.far, 0, 0, 1, (kvf_submit_options){0}), KVF_OK);
    test_expect(KVF_OK, kvf_cuda_stats_get(l.engine, &s, &e), &e);
    assert_int_equal(s.by[KVF_CUDA_LOOP].transfers, 2);
    if (s.by[KVF_CUDA_LOOP].compared > 0)
        assert_true(s.by[KVF_CUDA_LOOP].median_error >= 0);
    close_fixture(&l);
}

int main(void) {
    if (!needs_fake())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_two_windows_each_way),
        cmocka_unit_test(priorities_set_the_order),
        cmocka_unit_test(waiting_transfers_pass_on_their_priority),
        cmocka_unit_test(needed_transfers_are_enqueued_whole),
        cmocka_unit_test(a_stream_waits_for_slots),
        cmocka_unit_test(events_count_as_recorded_at_submit),
        cmocka_unit_test(needed_transfers_still_wait_for_events),
        cmocka_unit_test(events_do_not_hold_up_other_lanes),
        cmocka_unit_test(cancelled_transfers_pass_on_their_waits),
        cmocka_unit_test(cancelled_before_it_begins),
        cmocka_unit_test(cancelled_while_it_runs),
        cmocka_unit_test(cancelled_too_late),
        cmocka_unit_test(caps_hold),
        cmocka_unit_test(a_cap_covers_one_direction_in_the_background),
        cmocka_unit_test(ended_in_the_middle),
        cmocka_unit_test(a_tier_is_destroyed_before_its_cancelled_transfer),
        cmocka_unit_test(work_is_done_by_the_thread_or_in_calls),
        cmocka_unit_test(streams_cannot_wait_for_background_layers),
        cmocka_unit_test(explained_once_whole_in_its_stream),
        cmocka_unit_test(statistics_count_successful_transfers),
    };
    return fixture_end(cmocka_run_group_tests(tests, NULL, NULL));
}
