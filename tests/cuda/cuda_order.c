/* Random schedules of transfers and compute on shared slots. Contents are compared with an oracle
 * that does one thing after the other. */
#include "support/compute.h"
#include "support/device_fixture.h"
#include "needs.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    SLOTS = 6,
    STREAMS = 2,
    MOST_STREAMS = 128,
    STEPS = 48,
    MOST_READS = STEPS,
    LAYER = 2 * FIXTURE_BYTES,
    PATIENCE_US = 20 * 1000 * 1000,
    COMPUTE_NS = 200 * 1000, /* the longest that compute works before it touches a layer */
};

/* A block's content: one byte per layer. */
typedef struct content {
    unsigned char layer[FIXTURE_LAYERS];
    bool unknown; /* the transfer that fills it will be cancelled */
} content;

/* A transfer in flight or ended. */
typedef struct flight {
    kvf_transfer *transfer;
    uint64_t to[SLOTS];
    size_t count;
    bool offload, cancelled; /* or to be cancelled */
} flight;

typedef struct schedule {
    device_fixture fixture;
    test_random random;
    content device[SLOTS], host[SLOTS]; /* the oracle */
    size_t written_by[SLOTS];           /* host blocks: by flights[this - 1]; 0 by others */
    cudaStream_t streams[STREAMS];
    cudaEvent_t events[STREAMS];
    unsigned char *results; /* pinned, a block for every read by compute */
    content expected[MOST_READS];
    size_t reads;
    flight flights[STEPS];
    size_t flight_count;
    flight *doomed;     /* to be cancelled soon */
    unsigned char next; /* byte to write */
    bool background;    /* some transfers are */
    bool held;          /* some of the engine's streams */
    bool watched;       /* another thread makes progress all the time */
    pthread_t watcher;
    atomic_bool done; /* tells the watcher to end */
} schedule;

static uint64_t below(schedule *s, uint64_t bound) {
    return test_random_below(&s->random, bound);
}

static unsigned char *layer_of(schedule *s, size_t id, size_t layer) {
    return (unsigned char *)s->fixture.layers[layer] + id * LAYER;
}

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static void ok(kvf_status status, const kvf_error *error) {
    test_expect(KVF_OK, status, error);
}

/* New content for a layer of a block. */
static unsigned char fresh(schedule *s, content *block, size_t layer) {
    block->unknown = false;
    return block->layer[layer] = s->next++;
}

static void *watch(void *schedule_of) {
    schedule *s = schedule_of;
    while (!atomic_load(&s->done)) {
        kvf_engine_progress(s->fixture.engine);
        (void)sched_yield();
    }
    return NULL;
}

static void begin_watching(schedule *s) {
    s->watched = below(s, 2) == 0;
    if (s->watched)
        assert_int_equal(pthread_create(&s->watcher, NULL, watch, s), 0);
}

static void end_watching(schedule *s) {
    atomic_store(&s->done, true);
    if (s->watched)
        assert_int_equal(pthread_join(s->watcher, NULL), 0);
}

static void open_schedule(schedule *s, uint64_t seed) {
    *s = (schedule){.random = test_random_make(seed)};
    const fakecuda_config config = {.shuffle = below(s, 2) * (seed + 1),
                                    .any_early = below(s, 2) == 1};
    if (FAKECUDA) {
        fakecuda_configure(&config);
        if (below(s, 4) == 0)
            fakecuda_delay((fakecuda_kind)below(s, FAKECUDA_KINDS), (unsigned)below(s, 200));
    }
    s->background = below(s, 3) > 0;
    const kvf_cuda_options options = {.lanes = 1 + (unsigned)below(s, 4),
                                      .no_thread = below(s, 2) == 1,
                                      .ctas = 1,
                                      .packing_bytes = FIXTURE_RING,
                                      .packing_limit = below(s, 2) * 2 * FIXTURE_RING};
    fixture_open(&s->fixture, &options);
    for (size_t i = 0; i < STREAMS; i++) {
        cuda_ok(cudaStreamCreateWithFlags(&s->streams[i], cudaStreamNonBlocking));
        cuda_ok(cudaEventCreateWithFlags(&s->events[i], cudaEventDisableTiming));
    }
    cuda_ok(cudaHostAlloc((void **)&s->results, (size_t)MOST_READS * FIXTURE_BLOCK, 0));
    for (size_t id = 0; id < SLOTS; id++)
        for (size_t l = 0; l < FIXTURE_LAYERS; l++)
            cuda_ok(cudaMemset(layer_of(s, id, l), fresh(s, &s->device[id], l), LAYER));
    cuda_ok(cudaDeviceSynchronize());
    memset(s->fixture.host, 0, (size_t)SLOTS * FIXTURE_BLOCK);
}

static size_t pick(schedule *s, uint64_t ids[SLOTS]) {
    for (size_t i = 0; i < SLOTS; i++)
        ids[i] = i;
    for (size_t i = SLOTS - 1; i > 0; i--) {
        size_t j = below(s, i + 1);
        uint64_t swapped = ids[i];
        ids[i] = ids[j];
        ids[j] = swapped;
    }
    return 1 + below(s, 3);
}

/* Compute touches a layer by a kernel or by a copy, equally often; some kernels work for a while
 * first. */
static void compute_layer(schedule *s, cudaStream_t stream, const compute_work *how) {
    compute_work work = *how;
    work.bytes = LAYER;
    if (below(s, 2) == 0) {
        work.ns = below(s, 2) * below(s, COMPUTE_NS);
        cuda_ok(compute_enqueue(&work, stream));
    } else if (work.from) {
        cuda_ok(cudaMemcpyAsync(work.to, work.from, LAYER, cudaMemcpyDefault, stream));
    } else {
        cuda_ok(cudaMemsetAsync(work.to, work.value, LAYER, stream));
    }
}

static void write_blocks(schedule *s, cudaStream_t stream, const uint64_t *ids, size_t count) {
    kvf_error e = {0};
    ok(kvf_cuda_wait_slots(s->fixture.device, ids, count, true, stream, &e), &e);
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < FIXTURE_LAYERS; l++)
            compute_layer(s, stream,
                          &(compute_work){.to = layer_of(s, ids[i], l),
                                          .value = fresh(s, &s->device[ids[i]], l)});
}

static void compute_writes(schedule *s) {
    uint64_t ids[SLOTS];
    kvf_error e = {0};
    size_t count = pick(s, ids), k = below(s, STREAMS);
    write_blocks(s, s->streams[k], ids, count);
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->fixture.device, ids, count, true, s->events[k], &e), &e);
}

/* Enqueues a read of a block's layer, to be checked at the end. */
static void read_layer(schedule *s, cudaStream_t stream, size_t id, size_t layer) {
    compute_layer(s, stream,
                  &(compute_work){.to = s->results + s->reads * FIXTURE_BLOCK + layer * LAYER,
                                  .from = layer_of(s, id, layer)});
}

static void compute_reads(schedule *s) {
    uint64_t ids[SLOTS];
    kvf_error e = {0};
    size_t k = below(s, STREAMS);
    (void)pick(s, ids);
    ok(kvf_cuda_wait_slots(s->fixture.device, ids, 1, false, s->streams[k], &e), &e);
    for (size_t l = 0; l < FIXTURE_LAYERS; l++)
        read_layer(s, s->streams[k], ids[0], l);
    s->expected[s->reads++] = s->device[ids[0]];
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->fixture.device, ids, 1, false, s->events[k], &e), &e);
}

/* The caller marks blocks as used, without having touched or waited for them. */
static void mark_untouched(schedule *s) {
    uint64_t ids[SLOTS];
    kvf_error e = {0};
    size_t count = pick(s, ids);
    kvf_tier *tier = below(s, 2) == 0 ? s->fixture.device : s->fixture.pinned;
    ok(kvf_cuda_mark_slots(tier, ids, count, below(s, 2) == 0, s->events[below(s, STREAMS)], &e),
       &e);
}

/* The caller may write to an idle block directly. */
static void host_writes(schedule *s) {
    const uint64_t id = below(s, SLOTS);
    char *at = s->fixture.host + id * FIXTURE_BLOCK;
    if (kvf_tier_idle(s->fixture.pinned, &id, 1, NULL) != KVF_OK)
        return;
    for (size_t l = 0; l < FIXTURE_LAYERS; l++)
        memset(at + l * LAYER, fresh(s, &s->host[id], l), LAYER);
    s->written_by[id] = 0;
}

/* Compute follows a transfer layer by layer. */
static void read_by_layer(schedule *s, kvf_transfer *t, uint64_t id) {
    kvf_error e = {0};
    size_t k = below(s, STREAMS);
    for (uint32_t l = 0; l < FIXTURE_LAYERS; l++) {
        ok(kvf_cuda_wait_layer(t, l, s->streams[k], &e), &e);
        read_layer(s, s->streams[k], id, l);
    }
    s->expected[s->reads++] = s->device[id];
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->fixture.device, &id, 1, false, s->events[k], &e), &e);
}

/* Makes a wait fail now and then: the submit is refused, with no effect on anything else. Not where
 * the failing wait could belong to a transfer in flight. */
static bool refuse(schedule *s, const kvf_submit_options *how) {
    bool waits_later = how->strategy == KVF_CUDA_AUTO || how->strategy == KVF_CUDA_STAGED;
    if (!FAKECUDA || s->background || waits_later || below(s, 5) > 0)
        return false;
    fakecuda_fail_call("cudaStreamWaitEvent", 1 + below(s, 2), cudaErrorInvalidValue, false);
    return true;
}

/* Applies the move to the oracle; `way`: 0 offload, 1 onboard, 2 within the device. */
static void apply(schedule *s, unsigned way, const uint64_t *from, const flight *f) {
    const content *a = way == 1 ? s->host : s->device;
    content *b = way == 0 ? s->host : s->device;
    for (size_t i = 0; i < f->count; i++) {
        b[f->to[i]] = a[from[i]];
        b[f->to[i]].unknown |= f->cancelled;
        if (way == 0)
            s->written_by[f->to[i]] = s->flight_count;
    }
}

static flight *new_flight(schedule *s, unsigned way, uint64_t from[SLOTS]) {
    flight *f = &s->flights[s->flight_count];
    *f = (flight){.count = pick(s, from), .offload = way == 0};
    (void)pick(s, f->to);
    for (size_t i = 0; way == 2 && i < f->count; i++)
        f->to[i] = from[f->count + i]; /* no id is both source and destination */
    return f;
}

static kvf_submit_options choose_options(schedule *s, void **event) {
    const bool background = s->background && below(s, 2) == 0;
    *event = s->events[below(s, STREAMS)];
    return (kvf_submit_options){
        .by_layer = below(s, 2) == 1,
        .background = background,
        .priority = background ? (unsigned)below(s, KVF_PRIORITIES) : 0,
        .strategy = (unsigned)below(s, KVF_CUDA_STRATEGIES),
        .events = event,
        .event_count = below(s, 4) == 0,
    };
}

static void transfer(schedule *s) {
    uint64_t from[SLOTS];
    const unsigned way = (unsigned)below(s, 3);
    flight *f = new_flight(s, way, from);
    void *event;
    const kvf_submit_options how = choose_options(s, &event);
    const kvf_plan plan = {.count = f->count, .src_ids = from, .dst_ids = f->to};
    kvf_error e = {0};
    bool refused = refuse(s, &how);
    kvf_status status = kvf_transfer_submit(way == 1 ? s->fixture.pinned : s->fixture.device,
                                            way == 0 ? s->fixture.pinned : s->fixture.device, &plan,
                                            1, &how, &f->transfer, &e);
    if (FAKECUDA)
        fakecuda_fail_nothing();
    if (refused && status != KVF_OK)
        return;
    ok(status, &e);
    s->flight_count++;
    f->cancelled = !s->doomed && below(s, 8) == 0;
    s->doomed = f->cancelled ? f : s->doomed;
    apply(s, way, from, f);
    if (way != 0 && !how.background && below(s, 2) == 0)
        read_by_layer(s, f->transfer, f->to[below(s, f->count)]);
}

/* Compute writes blocks and announces that only to the transfer that offloads them, by an event;
 * the blocks are marked once it is submitted. */
static void hand_over(schedule *s) {
    uint64_t ids[SLOTS];
    const size_t count = pick(s, ids), k = below(s, STREAMS);
    kvf_error e = {0};
    write_blocks(s, s->streams[k], ids, count);
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    flight *f = &s->flights[s->flight_count];
    *f = (flight){.count = count, .offload = true};
    (void)pick(s, f->to);
    void *event;
    kvf_submit_options how = choose_options(s, &event);
    event = s->events[k];
    how.event_count = 1;
    const kvf_plan plan = {.count = count, .src_ids = ids, .dst_ids = f->to};
    ok(kvf_transfer_submit(s->fixture.device, s->fixture.pinned, &plan, 1, &how, &f->transfer, &e),
       &e);
    s->flight_count++;
    apply(s, 0, ids, f);
    ok(kvf_cuda_mark_slots(s->fixture.device, ids, count, true, event, &e), &e);
}

static void cancel(schedule *s) {
    if (s->doomed)
        kvf_transfer_cancel(s->doomed->transfer);
    s->doomed = NULL;
}

/* Holds some of the engine's streams, or releases all. */
static void hold_some(schedule *s) {
    if (!FAKECUDA)
        return;
    cudaStream_t all[MOST_STREAMS];
    size_t count = fakecuda_streams(all, MOST_STREAMS);
    for (size_t i = 0; i < count; i++) {
        if (all[i] == s->streams[0] || all[i] == s->streams[1])
            continue;
        if (!s->held && below(s, 2) == 0)
            fakecuda_hold(all[i]);
        else
            fakecuda_release(all[i]);
    }
    s->held = !s->held;
}

static void hold_compute(schedule *s) {
    cudaStream_t stream = s->streams[below(s, STREAMS)];
    if (FAKECUDA && below(s, 2) == 0)
        fakecuda_hold(stream);
    else if (FAKECUDA)
        fakecuda_release(stream);
}

static void progress(schedule *s) {
    kvf_engine_progress(s->fixture.engine);
}

static void release_all(schedule *s) {
    cudaStream_t all[MOST_STREAMS];
    for (size_t i = FAKECUDA ? fakecuda_streams(all, MOST_STREAMS) : 0; i > 0; i--)
        fakecuda_release(all[i - 1]);
    s->held = false;
}

static void expect_layer(const unsigned char *block, const content *expected, size_t layer) {
    for (size_t i = 0; i < LAYER && !expected->unknown; i++)
        assert_int_equal(block[layer * LAYER + i], expected->layer[layer]);
}

static const unsigned char *host_of(const schedule *s) {
    return (const unsigned char *)s->fixture.host;
}

static void expect_block(const unsigned char *block, const content *expected) {
    for (size_t l = 0; l < FIXTURE_LAYERS; l++)
        expect_layer(block, expected, l);
}

/* Checks host blocks that the flight filled and nothing has written since. */
static void expect_landed(const schedule *s, const flight *f, size_t layer) {
    for (size_t i = 0; i < f->count; i++)
        if (s->written_by[f->to[i]] == (size_t)(f - s->flights) + 1)
            expect_layer(host_of(s) + f->to[i] * FIXTURE_BLOCK, &s->host[f->to[i]], layer);
}

/* Waits for a flight by layers and checks each at once. */
static void look(schedule *s) {
    kvf_error e = {0};
    const flight *f = &s->flights[s->flight_count > 0 ? below(s, s->flight_count) : 0];
    if (s->flight_count == 0 || f->cancelled)
        return;
    release_all(s);
    for (uint32_t l = 0; l < FIXTURE_LAYERS; l++) {
        ok(kvf_transfer_wait_layer(f->transfer, l, PATIENCE_US, &e), &e);
        if (f->offload)
            expect_landed(s, f, l);
    }
}

static void step(schedule *s) {
    static void (*const steps[])(schedule *) = {
        compute_writes, compute_writes, compute_reads, mark_untouched, host_writes, hold_some,
        hold_compute,   hand_over,      progress,      cancel,         look,        transfer,
        transfer,       transfer,       transfer,      transfer,       transfer,
    };
    steps[below(s, sizeof steps / sizeof steps[0])](s);
}

static void finish_flights(schedule *s) {
    for (; s->flight_count > 0; s->flight_count--) {
        const flight *f = &s->flights[s->flight_count - 1];
        kvf_error e = {0};
        kvf_status status = kvf_transfer_wait(f->transfer, PATIENCE_US, &e);
        if (!f->cancelled || status != KVF_ERR_CANCELLED)
            ok(status, &e);
        if (f->offload && !f->cancelled)
            for (size_t l = 0; l < FIXTURE_LAYERS; l++)
                expect_landed(s, f, l);
        kvf_transfer_release(f->transfer);
    }
}

static void finish(schedule *s) {
    static unsigned char block[FIXTURE_BLOCK];
    release_all(s);
    finish_flights(s);
    for (size_t i = 0; i < STREAMS; i++)
        cuda_ok(cudaStreamSynchronize(s->streams[i]));
    for (size_t i = 0; i < s->reads; i++)
        expect_block(s->results + i * FIXTURE_BLOCK, &s->expected[i]);
    for (size_t id = 0; id < SLOTS; id++) {
        expect_block(host_of(s) + id * FIXTURE_BLOCK, &s->host[id]);
        for (size_t l = 0; l < FIXTURE_LAYERS; l++)
            cuda_ok(
                cudaMemcpy(block + l * LAYER, layer_of(s, id, l), LAYER, cudaMemcpyDeviceToHost));
        expect_block(block, &s->device[id]);
    }
}

static void close_schedule(schedule *s) {
    for (size_t i = 0; i < STREAMS; i++) {
        cuda_ok(cudaEventDestroy(s->events[i]));
        cuda_ok(cudaStreamDestroy(s->streams[i]));
    }
    cuda_ok(cudaFreeHost(s->results));
    fixture_close(&s->fixture);
}

static uint64_t seed_now;

static int tell_seed(void **state) {
    (void)state;
    print_message("the last seed was %lu\n", (unsigned long)seed_now);
    return 0;
}

static void test_random_schedules(void **state) {
    (void)state;
    uint64_t seeds = test_seeds(300);
    for (seed_now = 0; seed_now < seeds; seed_now++) {
        schedule s;
        (void)alarm(60);
        open_schedule(&s, seed_now);
        begin_watching(&s);
        for (size_t i = 0; i < STEPS; i++)
            step(&s);
        finish(&s);
        end_watching(&s);
        close_schedule(&s);
    }
    (void)alarm(0);
}

int main(void) {
    if (!needs_device())
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_schedules, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
