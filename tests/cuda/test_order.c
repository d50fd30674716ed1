/* Random schedules of transfers and compute on shared slots, checked by content against a model
 * that does one thing after the other. */
#include "device_rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SLOTS = 6,
    STREAMS = 2,
    MOST_STREAMS = 128,
    STEPS = 48,
    MOST_READS = STEPS,
    LAYER = 2 * RIG_BYTES
};

/* What is in a block: one byte a layer. */
typedef struct content {
    unsigned char layer[RIG_LAYERS];
} content;

typedef struct schedule {
    device_rig rig;
    test_random random;
    content device[SLOTS], host[SLOTS]; /* the model */
    cudaStream_t streams[STREAMS];
    cudaEvent_t events[STREAMS];
    char *results; /* pinned, a block for every read by compute */
    content expected[MOST_READS];
    size_t reads;
    kvf_transfer *transfers[STEPS];
    size_t transfer_count;
    unsigned char next; /* byte to write */
    bool background;    /* some transfers are */
    bool held;          /* some of the engine's streams */
} schedule;

static uint64_t below(schedule *s, uint64_t bound) {
    return test_random_below(&s->random, bound);
}

static char *layer_of(schedule *s, size_t id, size_t layer) {
    return (char *)s->rig.layers[layer] + id * LAYER;
}

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static void ok(kvf_status status, const kvf_error *error) {
    test_expect(KVF_OK, status, error);
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
                                      .ring_bytes = RIG_RING,
                                      .ring_limit = below(s, 2) * 2 * RIG_RING};
    rig_open(&s->rig, &options);
    for (size_t i = 0; i < STREAMS; i++) {
        cuda_ok(cudaStreamCreateWithFlags(&s->streams[i], cudaStreamNonBlocking));
        cuda_ok(cudaEventCreateWithFlags(&s->events[i], cudaEventDisableTiming));
    }
    cuda_ok(cudaHostAlloc((void **)&s->results, (size_t)MOST_READS * RIG_BLOCK, 0));
    for (size_t id = 0; id < SLOTS; id++)
        for (size_t l = 0; l < RIG_LAYERS; l++) {
            s->device[id].layer[l] = s->next;
            cuda_ok(cudaMemset(layer_of(s, id, l), s->next++, LAYER));
        }
    cuda_ok(cudaDeviceSynchronize());
    memset(s->rig.host, 0, (size_t)SLOTS * RIG_BLOCK);
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

/* A write by compute; `event` also gets what a submit may begin behind. */
static void compute_writes(schedule *s) {
    uint64_t ids[SLOTS];
    kvf_error e = {0};
    size_t count = pick(s, ids), k = below(s, STREAMS);
    ok(kvf_cuda_wait_slots(s->rig.device, ids, count, true, s->streams[k], &e), &e);
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < RIG_LAYERS; l++) {
            s->device[ids[i]].layer[l] = s->next;
            cuda_ok(cudaMemsetAsync(layer_of(s, ids[i], l), s->next++, LAYER, s->streams[k]));
        }
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->rig.device, ids, count, true, s->events[k], &e), &e);
}

/* Enqueues the reading of a layer of a block for the end. */
static void read_layer(schedule *s, cudaStream_t stream, size_t id, size_t layer) {
    cuda_ok(cudaMemcpyAsync(s->results + s->reads * RIG_BLOCK + layer * LAYER,
                            layer_of(s, id, layer), LAYER, cudaMemcpyDeviceToHost, stream));
}

static void compute_reads(schedule *s) {
    uint64_t ids[SLOTS];
    kvf_error e = {0};
    size_t k = below(s, STREAMS);
    (void)pick(s, ids);
    ok(kvf_cuda_wait_slots(s->rig.device, ids, 1, false, s->streams[k], &e), &e);
    for (size_t l = 0; l < RIG_LAYERS; l++)
        read_layer(s, s->streams[k], ids[0], l);
    s->expected[s->reads++] = s->device[ids[0]];
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->rig.device, ids, 1, false, s->events[k], &e), &e);
}

/* Compute follows a transfer layer by layer. */
static void read_by_group(schedule *s, kvf_transfer *t, uint64_t id) {
    kvf_error e = {0};
    size_t k = below(s, STREAMS);
    for (uint32_t l = 0; l < RIG_LAYERS; l++) {
        ok(kvf_cuda_wait_group(t, l, s->streams[k], &e), &e);
        read_layer(s, s->streams[k], id, l);
    }
    s->expected[s->reads++] = s->device[id];
    cuda_ok(cudaEventRecord(s->events[k], s->streams[k]));
    ok(kvf_cuda_mark_slots(s->rig.device, &id, 1, false, s->events[k], &e), &e);
}

/* One wait is refused now and then: the submit is, and nobody else may notice. Not where the wait
 * may be that of a transfer on its way. */
static bool refuse(schedule *s, const kvf_submit_options *how) {
    bool waits_later = how->strategy == KVF_CUDA_AUTO || how->strategy == KVF_CUDA_STAGED;
    if (!FAKECUDA || s->background || waits_later || below(s, 5) > 0)
        return false;
    fakecuda_fail_call("cudaStreamWaitEvent", 1 + below(s, 2), cudaErrorInvalidValue, false);
    return true;
}

static void transfer(schedule *s) {
    uint64_t from[SLOTS], to[SLOTS];
    size_t count = pick(s, from), way = below(s, 3);
    (void)pick(s, to);
    kvf_tier *src = way == 1 ? s->rig.pinned : s->rig.device;
    kvf_tier *dst = way == 0 ? s->rig.pinned : s->rig.device;
    content *a = way == 1 ? s->host : s->device, *b = way == 0 ? s->host : s->device;
    if (src == dst) /* sources are no destinations */
        for (size_t i = 0; i < count; i++)
            to[i] = from[count + i];
    if (src == dst && count > SLOTS / 2)
        count = SLOTS / 2;
    void *events[] = {s->events[below(s, STREAMS)]};
    const bool background = s->background && below(s, 2) == 0;
    const kvf_submit_options how = {
        .by_group = below(s, 2) == 1,
        .background = background,
        .priority = background ? (unsigned)below(s, KVF_PRIORITIES) : 0,
        .strategy = (unsigned)below(s, KVF_CUDA_STRATEGIES),
        .events = events,
        .event_count = below(s, 4) == 0,
    };
    const kvf_plan plan = {.count = count, .src_ids = from, .dst_ids = to};
    kvf_transfer *t = NULL;
    kvf_error e = {0};
    bool refused = refuse(s, &how);
    kvf_status status = kvf_transfer_submit(src, dst, &plan, 1, &how, &t, &e);
    if (FAKECUDA)
        fakecuda_fail_nothing();
    if (refused && status != KVF_OK)
        return;
    ok(status, &e);
    s->transfers[s->transfer_count++] = t;
    for (size_t i = 0; i < count; i++)
        b[to[i]] = a[from[i]];
    if (dst == s->rig.device && !background && below(s, 2) == 0)
        read_by_group(s, t, to[below(s, count)]);
}

/* Holds some of the engine's streams, or lets all go. */
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

static void step(schedule *s) {
    switch (below(s, 10)) {
    case 0:
    case 1:
        compute_writes(s);
        break;
    case 2:
        compute_reads(s);
        break;
    case 3:
        hold_some(s);
        break;
    case 4:
        hold_compute(s);
        break;
    case 5:
        kvf_engine_progress(s->rig.engine);
        break;
    default:
        transfer(s);
        break;
    }
}

static void expect_block(const char *bytes, const content *expected) {
    for (size_t l = 0; l < RIG_LAYERS; l++)
        for (size_t i = 0; i < LAYER; i++)
            assert_int_equal((unsigned char)bytes[l * LAYER + i], expected->layer[l]);
}

static void finish(schedule *s) {
    static char block[RIG_BLOCK];
    cudaStream_t all[MOST_STREAMS];
    for (size_t i = FAKECUDA ? fakecuda_streams(all, MOST_STREAMS) : 0; i > 0; i--)
        fakecuda_release(all[i - 1]);
    while (s->transfer_count > 0)
        rig_finish(s->transfers[--s->transfer_count], KVF_OK);
    for (size_t i = 0; i < STREAMS; i++)
        cuda_ok(cudaStreamSynchronize(s->streams[i]));
    for (size_t i = 0; i < s->reads; i++)
        expect_block(s->results + i * RIG_BLOCK, &s->expected[i]);
    for (size_t id = 0; id < SLOTS; id++) {
        expect_block(s->rig.host + id * RIG_BLOCK, &s->host[id]);
        for (size_t l = 0; l < RIG_LAYERS; l++)
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
    rig_close(&s->rig);
}

static void test_random_schedules(void **state) {
    (void)state;
    uint64_t seeds = test_seeds(300);
    for (uint64_t seed = 0; seed < seeds; seed++) {
        schedule s;
        (void)alarm(60);
        open_schedule(&s, seed);
        for (size_t i = 0; i < STEPS; i++)
            step(&s);
        finish(&s);
        close_schedule(&s);
    }
    (void)alarm(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
