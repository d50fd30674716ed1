#include "fault_scene.h"

#include "track/assignments.h"
#include "hide.h"

#include <kvferry/bound.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LAYERS = 4,
    LEGS = 4,
    EXTRA_BLOCKS = 2, /* the probe's and a bystander, after those of the legs */
    POLLS = 3000,     /* without an end count as a hang */
    PATIENCE_US = 20 * 1000 * 1000,
    WATCHDOG_S = 100,
    SLOW_US = 40,
};

/* Contents; a leg's blocks have 1, 2, ... */
enum { NEVER_WRITTEN = 1000, PROBE, BYSTANDER, REUSED };

/* One of the transfers. */
typedef struct leg {
    const kvf_tier *const *src, *const *dst; /* point into the scene */
    const uint64_t *from, *to;
    kvf_transfer *transfer; /* NULL: not accepted */
    kvf_bound *bound;
    kvf_assignments *have, *want; /* of a bound one */
    unsigned called;
    kvf_status ended; /* PENDING: abandoned in flight */
    bool intact;      /* it and all it depends on succeeded */
} leg;

typedef struct scene {
    const scenario *how;
    const fault *fault;
    test_allocator counted;
    pthread_mutex_t counting;
    kvf_allocator allocator;
    kvf_engine *engine;
    kvf_tier *device, *pinned, *other;
    kvf_cuda_pinned *created, *adopted;
    char *host[2]; /* the two pinned tiers' memory, whole blocks */
    char *mapping; /* adopted memory */
    void *layers[LAYERS];
    char *shadows[LAYERS]; /* where the fake keeps them: [block][part] */
    size_t blocks, block_bytes;
    uint64_t *first, *middle, *second, *third; /* [pairs] */
    cudaStream_t compute;
    cudaEvent_t ready;
    leg legs[LEGS];
} scene;

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

/* Names the current run, for the messages of a failure */

static char now[200];

int scene_tell(void **state) {
    (void)state;
    if (now[0])
        print_error("in this run: %s\n", now);
    now[0] = '\0';
    return 0;
}

static void note_run(const scenario *how, const fault *f) {
    static const char *const kinds[] = {"nothing", "call", "operation", "allocation"};
    snprintf(now, sizeof now, "%s: %s %s %d.%lu fails with %d%s", how->name, kinds[f->kind],
             f->function ? f->function : "", (int)f->operation, (unsigned long)f->nth,
             (int)f->error, f->for_ever ? " for ever" : "");
    if (getenv("KVF_TEST_VERBOSE"))
        print_message("%s\n", now);
}

static void give_up(int signal) {
    (void)signal;
    (void)!write(STDERR_FILENO, "hangs: ", 7);
    (void)!write(STDERR_FILENO, now, strlen(now));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(1);
}

size_t scene_density(size_t usual) {
#if defined FAKE_TSAN
    return usual > 8 ? usual / 8 : 1;
#elif defined FAKE_ASAN
    return usual > 2 ? usual / 2 : 1;
#else
    return usual;
#endif
}

/* Faults */

static void *count_allocation(void *user, void *block, size_t old_size, size_t new_size) {
    scene *s = user;
    pthread_mutex_lock(&s->counting);
    void *got = s->counted.allocator.resize(s->counted.allocator.user, block, old_size, new_size);
    pthread_mutex_unlock(&s->counting);
    return got;
}

static void arm(scene *s) {
    const fault *f = s->fault;
    if (f->kind == FAULT_CALL)
        fakecuda_fail_call(f->function, f->nth, f->error, f->for_ever);
    if (f->kind == FAULT_OPERATION)
        fakecuda_fail_operation(f->operation, f->nth, f->error);
    if (f->kind == FAULT_ALLOCATION) {
        s->counted.fail_at = s->counted.calls + f->nth;
        s->counted.fail_ever_after = f->for_ever;
    }
}

static void disarm(scene *s) {
    fakecuda_fail_nothing();
    pthread_mutex_lock(&s->counting);
    s->counted.fail_at = 0;
    pthread_mutex_unlock(&s->counting);
}

bool scene_is_fatal(cudaError_t error) {
    static const cudaError_t fatal[] = {
        cudaErrorIllegalAddress,      cudaErrorLaunchFailure,       cudaErrorLaunchTimeout,
        cudaErrorHardwareStackError,  cudaErrorIllegalInstruction,  cudaErrorMisalignedAddress,
        cudaErrorInvalidAddressSpace, cudaErrorInvalidPc,           cudaErrorAssert,
        cudaErrorECCUncorrectable,    cudaErrorNvlinkUncorrectable, cudaErrorDevicesUnavailable,
        cudaErrorCudartUnloading,     cudaErrorContextIsDestroyed,  cudaErrorExternalDevice};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        if (error == fatal[i])
            return true;
    return false;
}

/* Whether the fault may break the engine. */
static bool may_break(const fault *f) {
    return f->kind == FAULT_OPERATION ||
           (f->kind == FAULT_CALL && (f->for_ever || scene_is_fatal(f->error)));
}

/* Whether a runtime's error may appear to the caller as this status, other than ENGINE. */
static bool means(cudaError_t error, kvf_status status) {
    switch (error) {
    case cudaErrorMemoryAllocation:
        return status == KVF_ERR_NO_MEMORY;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorHostMemoryAlreadyRegistered:
    case cudaErrorHostMemoryNotRegistered:
        return status == KVF_ERR_INVALID;
    case cudaErrorInvalidDevice:
        return status == KVF_ERR_RANGE;
    case cudaErrorNotSupported:
    case cudaErrorSymbolNotFound:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureImplicit:
        return status == KVF_ERR_UNSUPPORTED;
    default:
        return false;
    }
}

/* A call's error must come from the fault and carry its native code. */
static void expect_clear(const scene *s, kvf_status status, const kvf_error *e) {
    const fault *f = s->fault;
    if (status == KVF_OK)
        return;
    bool explained = f->kind == FAULT_ALLOCATION ? status == KVF_ERR_NO_MEMORY
                     : status == KVF_ERR_BROKEN  ? may_break(f)
                     : status == KVF_ERR_ENGINE  ? f->kind == FAULT_CALL
                                                 : f->kind == FAULT_CALL && means(f->error, status);
    if (!explained)
        test_expect(KVF_OK, status, e);
    assert_int_equal(e->status, status);
    if (e->fields & KVF_ERROR_NATIVE_CODE)
        assert_int_equal(e->native_code, f->error);
}

/* Contents */

static char byte_of(unsigned tag, size_t at) {
    return (char)(tag * 7 + at * 13 + at / 256);
}

static char *host_block(const scene *s, size_t tier, uint64_t id) {
    return s->host[tier] + id * s->block_bytes;
}

static char *device_part(const scene *s, uint64_t id, size_t at) {
    size_t part = at / s->how->bytes;
    return s->shadows[part / 2] + (2 * id + part % 2) * s->how->bytes;
}

static void fill_host(const scene *s, size_t tier, uint64_t id, unsigned tag) {
    for (size_t i = 0; i < s->block_bytes; i++)
        host_block(s, tier, id)[i] = byte_of(tag, i);
}

static void fill_device(const scene *s, uint64_t id, unsigned tag) {
    for (size_t i = 0; i < s->block_bytes; i++)
        device_part(s, id, i)[i % s->how->bytes] = byte_of(tag, i);
}

static void expect_host(const scene *s, size_t tier, uint64_t id, unsigned tag) {
    for (size_t i = 0; i < s->block_bytes; i++)
        assert_int_equal(host_block(s, tier, id)[i], byte_of(tag, i));
}

static void expect_device(const scene *s, uint64_t id, unsigned tag) {
    for (size_t i = 0; i < s->block_bytes; i++)
        assert_int_equal(device_part(s, id, i)[i % s->how->bytes], byte_of(tag, i));
}

static uint64_t probe_id(const scene *s) {
    return s->blocks - 2;
}

static uint64_t bystander(const scene *s) {
    return s->blocks - 1;
}

/* Setting up */

static uint64_t *ids_from(const scene *s, uint64_t start, uint64_t seed) {
    size_t count = s->how->pairs;
    uint64_t *ids = malloc(count * sizeof *ids);
    test_random random = test_random_make(seed);
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = start + i;
    for (size_t i = count - 1; i > 0 && !s->how->in_a_row; i--) {
        size_t k = test_random_below(&random, i + 1);
        uint64_t swapped = ids[i];
        ids[i] = ids[k];
        ids[k] = swapped;
    }
    return ids;
}

static void choose_blocks(scene *s) {
    size_t pairs = s->how->pairs;
    s->blocks = 3 * pairs + EXTRA_BLOCKS;
    s->block_bytes = (size_t)LAYERS * 2 * s->how->bytes;
    s->first = ids_from(s, 0, 1);
    s->middle = ids_from(s, 0, 2);
    s->second = ids_from(s, pairs, 3);
    s->third = ids_from(s, 2 * pairs, 4);
}

/* Fills all blocks of host memory that are checked later. */
static void fill_hosts(const scene *s) {
    for (size_t tier = 0; tier < 2; tier++)
        for (uint64_t id = 0; id < s->blocks; id++)
            fill_host(s, tier, id, id == bystander(s) ? BYSTANDER : NEVER_WRITTEN);
}

static void fill_layers(const scene *s) {
    for (unsigned i = 0; i < s->how->pairs; i++)
        fill_device(s, s->first[i], i + 1);
    fill_device(s, probe_id(s), PROBE);
    fill_device(s, bystander(s), BYSTANDER);
}

static void take_memory(scene *s) {
    size_t bytes = s->blocks * s->block_bytes;
    for (size_t l = 0; l < LAYERS; l++) {
        cuda_ok(cudaMalloc(&s->layers[l], bytes / LAYERS));
        s->shadows[l] = fakecuda_shadow(s->layers[l], bytes / LAYERS);
        assert_non_null(s->shadows[l]);
    }
    fill_layers(s);
    if (s->how->create) {
        s->mapping = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
        assert_non_null(s->mapping);
        return;
    }
    for (size_t tier = 0; tier < 2; tier++)
        cuda_ok(cudaHostAlloc((void **)&s->host[tier], bytes, 0));
    fill_hosts(s);
}

static kvf_assignments *make_assignments(const uint64_t *ids, size_t count, bool assigned) {
    kvf_assignments *a = NULL;
    assert_int_equal(kvf_assignments_create(NULL, &a, NULL), KVF_OK);
    for (size_t i = 0; i < count && assigned; i++) {
        kvf_hash hash = test_hash(i, 1000);
        assert_int_equal(kvf_assignments_extend_assigned(a, &ids[i], &hash, 1, NULL), KVF_OK);
    }
    if (!assigned)
        assert_int_equal(kvf_assignments_extend_block_ids(a, ids, count, NULL), KVF_OK);
    return a;
}

static void make_legs(scene *s) {
    const kvf_tier *const *device = (const kvf_tier *const *)&s->device;
    const kvf_tier *const *pinned = (const kvf_tier *const *)&s->pinned;
    const kvf_tier *const *other = (const kvf_tier *const *)&s->other;
    const leg legs[LEGS] = {
        {.src = device, .dst = pinned, .from = s->first, .to = s->middle},
        {.src = pinned, .dst = device, .from = s->middle, .to = s->second},
        {.src = device, .dst = device, .from = s->second, .to = s->third},
        {.src = device, .dst = other, .from = s->third, .to = s->middle},
    };
    memcpy(s->legs, legs, sizeof legs);
    for (size_t i = 0; i < 2 && s->how->bound; i++) {
        s->legs[i].have = make_assignments(legs[i].from, s->how->pairs, true);
        s->legs[i].want = make_assignments(legs[i].to, s->how->pairs, false);
    }
}

static void set_up(scene *s, const scenario *how, const fault *f) {
    *s = (scene){.how = how, .fault = f};
    (void)signal(SIGALRM, give_up);
    (void)alarm(WATCHDOG_S);
    test_allocator_init(&s->counted);
    pthread_mutex_init(&s->counting, NULL);
    s->allocator = (kvf_allocator){count_allocation, s};
    choose_blocks(s);
    cuda_ok(cudaStreamCreateWithFlags(&s->compute, cudaStreamNonBlocking));
    cuda_ok(cudaEventCreateWithFlags(&s->ready, cudaEventDisableTiming));
    cuda_ok(cudaEventRecord(s->ready, s->compute));
    take_memory(s);
    make_legs(s);
    fakecuda_set_attribute(cudaDevAttrMultiProcessorCount, 1); /* kernels are slow on the fake */
    if (how->slow) {
        fakecuda_delay(FAKECUDA_COPY, SLOW_US);
        fakecuda_delay(FAKECUDA_KERNEL, SLOW_US);
    }
}

/* The engine and its tiers, created before or under the fault */

static void make_tier(scene *s, const kvf_layout *layout, kvf_memory memory, kvf_tier **out) {
    const kvf_tier_options options = {.layouts = &layout, .layout_count = 1, .memory = memory};
    kvf_error e = {0};
    kvf_status status = kvf_tier_create(s->engine, &options, out, &e);
    expect_clear(s, status, &e);
    assert_true((status == KVF_OK) == (*out != NULL));
}

static void make_tiers(scene *s) {
    const kvf_shape shape = {
        .blocks = s->blocks, .layers = LAYERS, .parts = 2, .bytes = s->how->bytes};
    const size_t bytes = s->blocks * s->block_bytes;
    kvf_tier **tiers[] = {&s->pinned, &s->other};
    kvf_buffer buffers[LAYERS];
    kvf_layout *near, *far;
    kvf_error e = {0};
    for (size_t l = 0; l < LAYERS; l++)
        buffers[l] = (kvf_buffer){s->layers[l], bytes / LAYERS};
    test_expect(KVF_OK, kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &near, &e), &e);
    make_tier(s, near, KVF_MEMORY_DEVICE, &s->device);
    for (size_t i = 0; i < 2; i++) {
        test_expect(KVF_OK,
                    kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, s->blocks,
                                         (kvf_buffer){s->host[i], bytes}, NULL, &far, &e),
                    &e);
        make_tier(s, far, KVF_MEMORY_PINNED, tiers[i]);
        kvf_layout_destroy(far);
    }
    kvf_layout_destroy(near);
}

static void pin_memory(scene *s) {
    const kvf_cuda_pinned_options options = {
        .bytes = s->blocks * s->block_bytes, .threads = 1, .allocator = &s->allocator};
    kvf_error e = {0};
    expect_clear(s, kvf_cuda_pinned_create(&options, &s->created, NULL, &e), &e);
    expect_clear(
        s,
        kvf_cuda_pinned_adopt(s->mapping, options.bytes, 0, &s->allocator, &s->adopted, NULL, &e),
        &e);
    if (!s->created || !s->adopted)
        return;
    s->host[0] = kvf_cuda_pinned_base(s->created);
    s->host[1] = s->mapping;
    fill_hosts(s);
}

static void create(scene *s) {
    const kvf_cuda_options options = {
        .strategy = s->how->strategy,
        .lanes = 1,
        .no_thread = !s->how->thread,
        .ctas = 1,
        .packing_bytes = FIXTURE_RING,
        .allocator = &s->allocator,
    };
    kvf_error e = {0};
    kvf_status status = kvf_engine_cuda_create(&options, &s->engine, &e);
    expect_clear(s, status, &e);
    assert_true((status == KVF_OK) == (s->engine != NULL));
    if (s->how->create)
        pin_memory(s);
    if (s->engine && s->host[0])
        make_tiers(s);
}

/* The work */

static void count_call(void *user, const kvf_error *error) {
    leg *l = user;
    (void)error;
    l->called++;
}

static void submit(scene *s, size_t index) {
    leg *l = &s->legs[index];
    const scenario *how = s->how;
    kvf_tier *src = (kvf_tier *)*l->src, *dst = (kvf_tier *)*l->dst;
    const bool background = how->background && !(how->required && index == LEGS - 1);
    const kvf_submit_options options = {
        .by_layer = how->by_layer,
        .background = background,
        .priority = background ? (unsigned)index % KVF_PRIORITIES : 0,
        .callback = count_call,
        .user = l,
        .events = (void *[]){s->ready},
        .event_count = 1,
    };
    const kvf_plan plan = {.count = how->pairs, .src_ids = l->from, .dst_ids = l->to};
    const kvf_pair pair = {.src = l->have, .dst = l->want};
    kvf_error e = {0};
    kvf_status status = l->want
                            ? kvf_bound_submit(src, dst, &pair, 1, &options, &l->bound, &e)
                            : kvf_transfer_submit(src, dst, &plan, 1, &options, &l->transfer, &e);
    expect_clear(s, status, &e);
    if (l->bound)
        l->transfer = kvf_bound_transfer(l->bound);
    assert_true((status == KVF_OK) == (l->transfer != NULL));
    l->ended = status == KVF_OK ? KVF_PENDING : status;
}

static void follow_by_layer(scene *s, const leg *l) {
    kvf_error e = {0};
    for (uint32_t g = 0; l->transfer && !s->how->background && g < LAYERS; g++)
        expect_clear(s, kvf_cuda_wait_layer(l->transfer, g, s->compute, &e), &e);
}

static void mark(scene *s, const uint64_t *ids, bool written) {
    kvf_error e = {0};
    expect_clear(s, kvf_cuda_mark_slots(s->device, ids, s->how->pairs, written, s->ready, &e), &e);
}

static void cancel_some(scene *s) {
    fakecuda_settle();
    kvf_engine_progress(s->engine);
    kvf_transfer_cancel(s->legs[0].transfer);
    kvf_transfer_cancel(s->legs[1].transfer);
}

static void work(scene *s) {
    kvf_error e = {0};
    if (!s->device || !s->pinned || !s->other)
        return;
    mark(s, s->first, true);
    submit(s, 0);
    submit(s, 1);
    follow_by_layer(s, &s->legs[1]);
    expect_clear(s, kvf_cuda_wait_slots(s->device, s->second, s->how->pairs, false, s->compute, &e),
                 &e);
    mark(s, s->second, false);
    submit(s, 2);
    submit(s, 3);
    if (s->how->cancel)
        cancel_some(s);
}

/* Ends */

static kvf_status poll(const leg *l, kvf_error *e) {
    return l->bound ? kvf_bound_poll(l->bound, e) : kvf_transfer_poll(l->transfer, e);
}

static kvf_status wait(const leg *l, kvf_error *e) {
    return l->bound ? kvf_bound_wait(l->bound, PATIENCE_US, e)
                    : kvf_transfer_wait(l->transfer, PATIENCE_US, e);
}

/* Polls in step with the streams, so that every run makes the same calls; or waits. */
static kvf_status end_of(const scene *s, const leg *l, kvf_error *e) {
    if (s->how->slow || s->how->thread)
        return wait(l, e);
    for (int polls = 0; polls < POLLS; polls++) {
        fakecuda_settle();
        kvf_status status = poll(l, e);
        if (status != KVF_PENDING)
            return status;
    }
    print_error("the transfer does not end\n");
    return KVF_ERR_TIMEOUT;
}

static void finish(scene *s, size_t index) {
    leg *l = &s->legs[index];
    kvf_error e = {0};
    if (!l->transfer)
        return;
    l->ended = end_of(s, l, &e);
    if (l->ended == KVF_ERR_CANCELLED)
        assert_true(s->how->cancel && index < 2);
    else
        expect_clear(s, l->ended, &e);
    size_t landed = l->ended == KVF_OK ? s->how->pairs : 0;
    assert_int_equal(kvf_transfer_landed(l->transfer, 0), landed);
    assert_int_equal(kvf_transfer_poll(l->transfer, NULL), l->ended); /* the result is final */
    if (!l->bound)
        return;
    assert_int_equal(kvf_bound_result(l->bound, 0, &landed), l->ended);
    assert_int_equal(landed, l->ended == KVF_OK ? s->how->pairs : 0);
}

static void finish_all(scene *s) {
    bool intact = true;
    for (size_t i = LEGS; i > 0 && !s->how->leave; i--)
        finish(s, i - 1);
    for (size_t i = 0; i < LEGS; i++) {
        leg *l = &s->legs[i];
        intact = intact && l->transfer && l->ended == KVF_OK;
        l->intact = intact;
    }
}

static void release(leg *l) {
    if (l->bound)
        kvf_bound_release(l->bound);
    else
        kvf_transfer_release(l->transfer);
}

/* A bound leg's blocks: all assigned, or all pending in order. */
static void expect_assignments(const scene *s, const leg *l) {
    if (!l->want)
        return;
    bool assigned = kvf_assignments_assigned_count(l->want) > 0;
    kvf_view view = assigned ? kvf_assignments_assigned(l->want) : kvf_assignments_pending(l->want);
    if (!s->how->leave)
        assert_true(assigned == (l->transfer && l->ended == KVF_OK));
    assert_null(kvf__assignments_check(l->want));
    assert_int_equal(kvf_flight_open_count(l->want), 0);
    assert_int_equal(view.count, s->how->pairs);
    assert_memory_equal(view.ids, l->to, s->how->pairs * sizeof *l->to);
}

static void expect_contents(const scene *s) {
    for (unsigned i = 0; i < s->how->pairs; i++) {
        expect_device(s, s->first[i], i + 1);
        if (s->legs[0].intact)
            expect_host(s, 0, s->middle[i], i + 1);
        if (s->legs[1].intact)
            expect_device(s, s->second[i], i + 1);
        if (s->legs[2].intact)
            expect_device(s, s->third[i], i + 1);
        if (s->legs[3].intact)
            expect_host(s, 1, s->middle[i], i + 1);
    }
}

/* Lets all streams run; where copies are slow, only for a while. */
static void pause_for_streams(const scene *s) {
    if (!s->how->slow)
        fakecuda_settle();
    else if (usleep(SLOW_US) != 0)
        fail();
}

/* All blocks become idle soon. */
static void expect_idle(const scene *s) {
    kvf_tier *tiers[] = {s->device, s->pinned, s->other};
    uint64_t *all = malloc(s->blocks * sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < s->blocks; i++)
        all[i] = i;
    for (size_t t = 0; t < 3; t++) {
        kvf_status status = KVF_ERR_BUSY;
        for (int i = 0; tiers[t] && status == KVF_ERR_BUSY && i < POLLS; i++) {
            pause_for_streams(s);
            kvf_engine_progress(s->engine);
            status = kvf_tier_idle(tiers[t], all, s->blocks, NULL);
        }
        assert_true(!tiers[t] || status == KVF_OK);
    }
    free(all);
}

/* Overwrites the destinations, as their next owner would. */
static void reuse(const scene *s) {
    for (size_t i = 0; s->host[0] && i < s->how->pairs; i++) {
        fill_host(s, 0, s->middle[i], REUSED);
        fill_host(s, 1, s->middle[i], REUSED);
        fill_device(s, s->second[i], REUSED);
        fill_device(s, s->third[i], REUSED);
    }
}

static void expect_reused(const scene *s) {
    fakecuda_settle();
    for (size_t i = 0; s->host[0] && i < s->how->pairs; i++) {
        expect_host(s, 0, s->middle[i], REUSED);
        expect_host(s, 1, s->middle[i], REUSED);
        expect_device(s, s->second[i], REUSED);
        expect_device(s, s->third[i], REUSED);
    }
    expect_device(s, bystander(s), BYSTANDER);
    for (size_t tier = 0; s->host[0] && tier < 2; tier++)
        expect_host(s, tier, bystander(s), BYSTANDER);
}

/* After the faults the engine works, or reports at once that it is broken. */
static void probe(scene *s) {
    const uint64_t id = probe_id(s);
    const kvf_plan plan = {.count = 1, .src_ids = &id, .dst_ids = &id};
    bool dead = cudaDeviceSynchronize() != cudaSuccess;
    assert_true(cudaStreamSynchronize(s->compute) == cudaSuccess || dead);
    for (int i = 0; i < 2 && s->device && s->pinned; i++) {
        kvf_transfer *t = NULL;
        kvf_error e = {0};
        kvf_status status = kvf_transfer_submit(s->device, s->pinned, &plan, 1, NULL, &t, &e);
        assert_true((status == KVF_OK) == (t != NULL));
        if (i == 1 && dead)
            assert_int_equal(status, KVF_ERR_BROKEN);
        if (t)
            status = kvf_transfer_wait(t, PATIENCE_US, &e);
        kvf_transfer_release(t);
        if (dead || (may_break(s->fault) && status != KVF_OK))
            test_expect(KVF_ERR_BROKEN, status, &e);
        else
            test_expect(KVF_OK, status, &e);
        if (status == KVF_OK)
            expect_host(s, 0, id, PROBE);
    }
}

static void tear_down(scene *s) {
    bool engine_first = s->fault->nth % 3 == 0;
    if (engine_first)
        kvf_engine_destroy(s->engine);
    kvf_tier_destroy(s->device);
    kvf_tier_destroy(s->pinned);
    kvf_tier_destroy(s->other);
    if (!engine_first)
        kvf_engine_destroy(s->engine);
    for (size_t i = 0; i < LEGS; i++)
        assert_int_equal(s->legs[i].called, s->legs[i].transfer ? 1 : 0);
}

static void free_all(scene *s) {
    kvf_cuda_pinned_destroy(s->created);
    kvf_cuda_pinned_destroy(s->adopted);
    disarm(s);
    for (size_t l = 0; l < LAYERS; l++)
        (void)cudaFree(s->layers[l]);
    for (size_t tier = 0; tier < 2 && !s->how->create; tier++)
        (void)cudaFreeHost(s->host[tier]);
    (void)cudaEventDestroy(s->ready);
    (void)cudaStreamDestroy(s->compute);
    assert_int_equal(fakecuda_reset(), 0);
    test_allocator_done(&s->counted);
    pthread_mutex_destroy(&s->counting);
    for (size_t i = 0; i < LEGS; i++) {
        kvf_assignments_destroy(s->legs[i].have);
        kvf_assignments_destroy(s->legs[i].want);
    }
    free(s->mapping);
    free(s->first);
    free(s->middle);
    free(s->second);
    free(s->third);
    (void)alarm(0);
}

/* Counting */

static void count_function(scene_counts *counts, const char *function) {
    size_t i = 0;
    while (i < counts->function_count && counts->functions[i].function != function)
        i++;
    if (i == counts->function_count) {
        assert_true(i < sizeof counts->functions / sizeof counts->functions[0]);
        counts->functions[counts->function_count++].function = function;
    }
    counts->functions[i].calls++;
}

static scene_counts counts_now(const scene *s) {
    scene_counts counts = {.allocations = s->counted.calls};
    for (int k = 0; k < FAKECUDA_KINDS; k++)
        counts.operations[k] = fakecuda_operations((fakecuda_kind)k);
    return counts;
}

static scene_counts counts_since(const scene *s, const scene_counts *before, uint64_t call) {
    scene_counts counts = counts_now(s);
    counts.allocations -= before->allocations;
    for (int k = 0; k < FAKECUDA_KINDS; k++)
        counts.operations[k] -= before->operations[k];
    for (; call < fakecuda_calls(NULL); call++)
        count_function(&counts, fakecuda_call(call));
    return counts;
}

/* A run */

static void run_under_fault(scene *s, scene_counts *counts) {
    if (!s->how->create)
        create(s);
    scene_counts before = counts_now(s);
    uint64_t call = fakecuda_calls(NULL);
    arm(s);
    if (s->how->create)
        create(s);
    work(s);
    finish_all(s);
    if (s->how->leave)
        for (size_t i = 0; i < LEGS; i++)
            release(&s->legs[i]);
    else
        expect_contents(s);
    if (!s->how->slow || s->fault->kind == FAULT_NONE)
        fakecuda_settle(); /* so that all operations are counted */
    *counts = counts_since(s, &before, call);
}

void scene_run(const scenario *how, const fault *f, scene_counts *counts) {
    scene s;
    note_run(how, f);
    set_up(&s, how, f);
    run_under_fault(&s, counts);
    for (size_t i = 0; i < LEGS; i++)
        expect_assignments(&s, &s.legs[i]);
    if (!how->leave) {
        expect_idle(&s);
        reuse(&s);
    }
    bool destroyed_failing = f->nth % 2 == 0; /* destroys while the fault lasts */
    if (!destroyed_failing) {
        disarm(&s);
        if (!how->leave)
            probe(&s);
    }
    for (size_t i = 0; i < LEGS && !how->leave; i++)
        release(&s.legs[i]);
    tear_down(&s);
    if (how->leave)
        reuse(&s);
    expect_reused(&s);
    free_all(&s);
    now[0] = '\0';
}
