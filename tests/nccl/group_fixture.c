#include "group_fixture.h"

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { WATCHDOG_S = 300 };

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static void ok(kvf_status status, const kvf_error *error) {
    test_expect(KVF_OK, status, error);
}

typedef struct start {
    fixture_rank *rank;
    void (*body)(fixture_rank *);
} start;

static void *run_body(void *context) {
    start *s = context;
    cuda_ok(cudaSetDevice(s->rank->rank));
    s->body(s->rank);
    return NULL;
}

void fixture_on_all(group_fixture *fixture, void (*body)(fixture_rank *rank)) {
    pthread_t threads[FIXTURE_RANKS];
    start starts[FIXTURE_RANKS];
    for (int r = 0; r < fixture->ranks; r++) {
        starts[r] = (start){&fixture->of[r], body};
        assert_int_equal(pthread_create(&threads[r], NULL, run_body, &starts[r]), 0);
    }
    for (int r = 0; r < fixture->ranks; r++)
        assert_int_equal(pthread_join(threads[r], NULL), 0);
}

void fixture_barrier(fixture_rank *k) {
    (void)pthread_barrier_wait(&k->fixture->barrier);
}

static void open_layout(fixture_rank *k, kvf_layout **out) {
    const kvf_shape shape = {
        .blocks = k->slots, .layers = FIXTURE_LAYERS, .parts = 2, .bytes = FIXTURE_PART};
    const size_t bytes = k->slots * FIXTURE_BLOCK, allocations = k->page_first ? 1 : FIXTURE_LAYERS;
    kvf_buffer buffers[FIXTURE_LAYERS];
    kvf_error e = {0};
    for (size_t l = 0; l < allocations; l++) {
        buffers[l].bytes = bytes / allocations;
        cuda_ok(cudaMalloc(&k->layers[l], buffers[l].bytes));
        buffers[l].base = k->layers[l];
    }
    if (k->page_first)
        ok(kvf_layout_page_first(&shape, buffers[0], out, &e), &e);
    else
        ok(kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, out, &e), &e);
}

static void open_tiers(fixture_rank *k) {
    kvf_layout *near, *far;
    kvf_error e = {0};
    open_layout(k, &near);
    ok(kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, FIXTURE_SLOTS,
                            (kvf_buffer){k->host, (size_t)FIXTURE_SLOTS * FIXTURE_BLOCK}, NULL,
                            &far, &e),
       &e);
    const kvf_layout *layouts[] = {near, far};
    const kvf_tier_options device = {
        .layouts = layouts, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    const kvf_tier_options host = {
        .layouts = layouts + 1, .layout_count = 1, .memory = KVF_MEMORY_PINNED};
    ok(kvf_tier_create(k->engine, &device, &k->device, &e), &e);
    ok(kvf_tier_create(k->engine, &host, &k->host_tier, &e), &e);
    kvf_layout_destroy(near);
    kvf_layout_destroy(far);
}

kvf_status fixture_join(fixture_rank *k, const kvf_group_options *changes, kvf_error *error) {
    const fixture_options *o = &k->fixture->options;
    kvf_group_options group = {.rank = k->rank, .ranks = k->fixture->ranks, .id = k->fixture->id};
    if (changes)
        group = *changes;
    else if (k->fixture->ranks == 1)
        group.id = NULL;
    group.engine = k->engine;
    group.stream = k->stream;
    group.no_thread = o->form == FIXTURE_NO_THREAD;
    if (group.timeout_us == 0)
        group.timeout_us = o->timeout_us;
    group.min_ctas = o->min_ctas;
    group.max_ctas = o->max_ctas;
    group.cta_policy = o->cta_policy;
    const kvf_wire_options wire = {.device = k->device,
                                   .chunk_bytes =
                                       (o->chunk_blocks ? o->chunk_blocks : 2) * FIXTURE_BLOCK,
                                   .chunks = o->chunks};
    kvf_status status = kvf_group_create(&group, &k->group, error);
    return status == KVF_OK ? kvf_wire_create(k->group, &wire, &k->wire, error) : status;
}

void fixture_leave(fixture_rank *k) {
    kvf_wire_destroy(k->wire);
    kvf_group_destroy(k->group);
    k->wire = NULL;
    k->group = NULL;
}

static void open_rank(fixture_rank *k) {
    const fixture_options *o = &k->fixture->options;
    kvf_cuda_options engine = o->engine;
    const kvf_cuda_pinned_options pinned = {
        .bytes = (size_t)FIXTURE_SLOTS * FIXTURE_BLOCK, .device = k->rank, .threads = 1};
    kvf_error e = {0};
    k->page_first = o->mixed && k->rank % 2 == 1;
    k->slots = k->page_first ? FIXTURE_SLOTS + 7 : FIXTURE_SLOTS;
    engine.device = k->rank;
    ok(kvf_engine_cuda_create(&engine, &k->engine, &e), &e);
    ok(kvf_cuda_pinned_create(&pinned, &k->memory, NULL, &e), &e);
    k->host = kvf_cuda_pinned_base(k->memory);
    memset(k->host, 0, (size_t)FIXTURE_SLOTS * FIXTURE_BLOCK);
    open_tiers(k);
    if (o->form == FIXTURE_ORDERED)
        cuda_ok(cudaStreamCreateWithFlags(&k->stream, cudaStreamNonBlocking));
    if (!o->alone)
        ok(fixture_join(k, NULL, &e), &e);
}

void fixture_open(group_fixture *fixture, int ranks, const fixture_options *options) {
    const fakecuda_config machine = {.devices = ranks};
    *fixture = (group_fixture){.ranks = ranks};
    if (options)
        fixture->options = *options;
    if (FAKECUDA)
        fakecuda_configure(&machine);
    if (FAKENCCL)
        fakenccl_configure(&fixture->options.nccl);
    if (ranks > 1) {
        kvf_error e = {0};
        kvf_status status = kvf_group_id_create(fixture->id, &e);
        test_expect(fixture->options.alone && status == KVF_ERR_UNSUPPORTED ? status : KVF_OK,
                    status, &e);
    }
    assert_int_equal(pthread_barrier_init(&fixture->barrier, NULL, (unsigned)ranks), 0);
    for (int r = 0; r < ranks; r++)
        fixture->of[r] = (fixture_rank){.fixture = fixture, .rank = r};
    fixture_on_all(fixture, open_rank);
}

static void close_rank(fixture_rank *k) {
    fixture_leave(k);
    if (k->stream)
        cuda_ok(cudaStreamDestroy(k->stream));
    kvf_tier_destroy(k->device);
    kvf_tier_destroy(k->host_tier);
    kvf_engine_destroy(k->engine);
    kvf_cuda_pinned_destroy(k->memory);
    for (size_t l = 0; l < FIXTURE_LAYERS; l++)
        (void)cudaFree(k->layers[l]);
}

void fixture_close(group_fixture *fixture) {
    fixture_on_all(fixture, close_rank);
    pthread_barrier_destroy(&fixture->barrier);
    if (FAKENCCL)
        assert_int_equal(fakenccl_reset(), 0);
    if (FAKECUDA)
        assert_int_equal(fakecuda_reset(), 0);
}

void fixture_run(int ranks, const fixture_options *options, void (*body)(fixture_rank *rank)) {
    group_fixture fixture;
    (void)alarm(WATCHDOG_S);
    fixture_open(&fixture, ranks, options);
    fixture_on_all(&fixture, body);
    fixture_close(&fixture);
}

void fixture_run_forms(int ranks, const fixture_options *options,
                       void (*body)(fixture_rank *rank)) {
    fixture_options o = {0};
    if (options)
        o = *options;
    for (o.form = 0; o.form < FIXTURE_FORMS; o.form++)
        fixture_run(ranks, &o, body);
}

void fixture_process(group_fixture *fixture, void (*body)(fixture_rank *rank)) {
    const fakecuda_config machine = {.devices = fixture->ranks};
    fixture_rank *k = &fixture->of[fixture->only];
    fakecuda_configure(&machine);
    cuda_ok(cudaSetDevice(fixture->only));
    *k = (fixture_rank){.fixture = fixture, .rank = fixture->only};
    open_rank(k);
    body(k);
    close_rank(k);
}

static char byte_of(unsigned position, size_t at) {
    return (char)(position * 11 + at * 7 + at / 128);
}

static char *device_address(const fixture_rank *k, size_t id, size_t piece) {
    size_t layer = piece / 2, part = piece % 2;
    char *at = (char *)k->layers[k->page_first ? 0 : layer];
    if (k->page_first)
        at += ((part * k->slots + id) * FIXTURE_LAYERS + layer) * FIXTURE_PART;
    else
        at += (2 * id + part) * FIXTURE_PART;
    return at;
}

static char *device_part(const fixture_rank *k, size_t id, size_t piece) {
    const char *at = device_address(k, id, piece);
    char *shadow = fakecuda_shadow(at, FIXTURE_PART);
    assert_non_null(shadow);
    return shadow;
}

void fixture_fill_host(fixture_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        k->host[id * FIXTURE_BLOCK + i] = byte_of(position, i);
}

void fixture_fill_device(fixture_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        device_part(k, id, i / FIXTURE_PART)[i % FIXTURE_PART] = byte_of(position, i);
}

bool fixture_host_is(const fixture_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        if (k->host[id * FIXTURE_BLOCK + i] != byte_of(position, i))
            return false;
    return true;
}

bool fixture_device_is(const fixture_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        if (device_part(k, id, i / FIXTURE_PART)[i % FIXTURE_PART] != byte_of(position, i))
            return false;
    return true;
}

void fixture_put_device(fixture_rank *k, size_t id, unsigned position) {
    char bytes[FIXTURE_BLOCK];
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        bytes[i] = byte_of(position, i);
    for (size_t piece = 0; piece < (size_t)2 * FIXTURE_LAYERS; piece++)
        cuda_ok(cudaMemcpy(device_address(k, id, piece), bytes + piece * FIXTURE_PART, FIXTURE_PART,
                           cudaMemcpyHostToDevice));
    cuda_ok(cudaDeviceSynchronize());
}

bool fixture_got_device(const fixture_rank *k, size_t id, unsigned position) {
    char bytes[FIXTURE_BLOCK];
    bool got = true;
    for (size_t piece = 0; piece < (size_t)2 * FIXTURE_LAYERS; piece++)
        cuda_ok(cudaMemcpy(bytes + piece * FIXTURE_PART, device_address(k, id, piece), FIXTURE_PART,
                           cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        got &= bytes[i] == byte_of(position, i);
    return got;
}

void fixture_hashes(kvf_hash *hashes, uint64_t first_position, size_t count) {
    for (size_t i = 0; i < count; i++)
        hashes[i] = test_hash(first_position + i, 1000);
}

kvf_assignments *fixture_assignments(const uint64_t *ids, size_t count, uint64_t first_position) {
    const kvf_assignments_options options = {.offset = first_position};
    kvf_assignments *assignments;
    kvf_error e = {0};
    ok(kvf_assignments_create(&options, &assignments, &e), &e);
    ok(kvf_assignments_extend_block_ids(assignments, ids, count, &e), &e);
    return assignments;
}

void fixture_expect_phases(const kvf_assignments *assignments, size_t assigned, size_t pending) {
    assert_int_equal(kvf_assignments_assigned_count(assignments), assigned);
    assert_int_equal(kvf_assignments_staged_count(assignments), 0);
    assert_int_equal(kvf_assignments_pending_count(assignments), pending);
    assert_int_equal(kvf_flight_open_count(assignments), 0);
}

static void expect_idle(kvf_engine *engine, const kvf_tier *tier) {
    uint64_t ids[FIXTURE_SLOTS];
    kvf_status status = KVF_ERR_BUSY;
    kvf_error e = {0};
    for (uint64_t i = 0; i < FIXTURE_SLOTS; i++)
        ids[i] = i;
    for (int tries = 0; status == KVF_ERR_BUSY && tries < 20000; tries++) {
        (void)kvf_engine_progress(engine);
        status = kvf_tier_idle(tier, ids, FIXTURE_SLOTS, &e);
        if (status == KVF_ERR_BUSY)
            usleep(1000);
    }
    ok(status, &e);
}

void fixture_expect_idle(const fixture_rank *k) {
    expect_idle(k->engine, k->device);
    expect_idle(k->engine, k->host_tier);
}

void fixture_expect_end_with(kvf_wire_op *op, kvf_status expected, kvf_error *error) {
    *error = (kvf_error){0};
    test_expect(expected, kvf_wire_op_wait(op, 20 * 1000 * 1000, error), error);
    assert_int_equal(error->status, expected);
    kvf_wire_op_release(op);
}

void fixture_expect_end(kvf_wire_op *op, kvf_status expected) {
    kvf_error e;
    fixture_expect_end_with(op, expected, &e);
}

kvf_wire_op *fixture_onboard(fixture_rank *k, uint64_t first, size_t count, uint64_t position) {
    uint64_t ids[FIXTURE_SLOTS];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        if ((position + i) % (uint64_t)k->fixture->ranks == (uint64_t)k->rank)
            fixture_fill_host(k, ids[i], (unsigned)(position + i));
    }
    const kvf_plan plan = {position, count, ids, ids, NULL};
    ok(kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &op, &e), &e);
    return op;
}

bool fixture_onboarded(const fixture_rank *k, uint64_t first, size_t count, uint64_t position) {
    bool all = true;
    for (size_t i = 0; i < count; i++)
        all &= fixture_device_is(k, first + i, (unsigned)(position + i));
    return all;
}
