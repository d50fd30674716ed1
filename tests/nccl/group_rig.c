#include "group_rig.h"

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <string.h>

static void cuda_ok(cudaError_t code) {
    assert_int_equal(code, cudaSuccess);
}

static void ok(kvf_status status, const kvf_error *error) {
    test_expect(KVF_OK, status, error);
}

typedef struct start {
    rig_rank *rank;
    void (*body)(rig_rank *);
} start;

static void *run_body(void *context) {
    start *s = context;
    cuda_ok(cudaSetDevice(s->rank->rank));
    s->body(s->rank);
    return NULL;
}

void rig_on_all(group_rig *rig, void (*body)(rig_rank *rank)) {
    pthread_t threads[MAIL_RANKS];
    start starts[MAIL_RANKS];
    for (int r = 0; r < rig->ranks; r++) {
        starts[r] = (start){&rig->of[r], body};
        assert_int_equal(pthread_create(&threads[r], NULL, run_body, &starts[r]), 0);
    }
    for (int r = 0; r < rig->ranks; r++)
        assert_int_equal(pthread_join(threads[r], NULL), 0);
}

static void open_tiers(rig_rank *k) {
    const kvf_shape shape = {
        .blocks = RIG_SLOTS, .layers = RIG_LAYERS, .parts = 2, .bytes = RIG_PART};
    kvf_buffer buffers[RIG_LAYERS];
    kvf_layout *near, *far;
    kvf_error e = {0};
    for (size_t l = 0; l < RIG_LAYERS; l++) {
        buffers[l].bytes = (size_t)RIG_SLOTS * 2 * RIG_PART;
        cuda_ok(cudaMalloc(&k->layers[l], buffers[l].bytes));
        buffers[l].base = k->layers[l];
    }
    ok(kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &near, &e), &e);
    ok(kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, RIG_SLOTS,
                            (kvf_buffer){k->host, (size_t)RIG_SLOTS * RIG_BLOCK}, NULL, &far, &e),
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

static void open_rank(rig_rank *k) {
    const rig_options *o = &k->rig->options;
    kvf_cuda_options engine = o->engine;
    const kvf_cuda_pinned_options pinned = {
        .bytes = (size_t)RIG_SLOTS * RIG_BLOCK, .device = k->rank, .threads = 1};
    kvf_error e = {0};
    engine.device = k->rank;
    ok(kvf_engine_cuda_create(&engine, &k->engine, &e), &e);
    ok(kvf_cuda_pinned_create(&pinned, &k->memory, NULL, &e), &e);
    k->host = kvf_cuda_pinned_base(k->memory);
    memset(k->host, 0, (size_t)RIG_SLOTS * RIG_BLOCK);
    open_tiers(k);
    const kvf_channel channel = mail_channel(k->rig->mail, k->rank);
    const kvf_group_options group = {.rank = k->rank,
                                     .ranks = k->rig->ranks,
                                     .engine = k->engine,
                                     .channel = &channel,
                                     .timeout_us = o->timeout_us ? o->timeout_us : 5000000,
                                     .heartbeat_us = 20000};
    ok(kvf_group_create(&group, &k->group, &e), &e);
    const kvf_wire_options wire = {.device = k->device,
                                   .chunk_bytes =
                                       (o->chunk_blocks ? o->chunk_blocks : 2) * RIG_BLOCK,
                                   .chunks = o->chunks};
    ok(kvf_wire_create(k->group, &wire, &k->wire, &e), &e);
}

void rig_open(group_rig *rig, int ranks, const rig_options *options) {
    const fakecuda_config machine = {.devices = ranks};
    *rig = (group_rig){.ranks = ranks};
    if (options)
        rig->options = *options;
    if (FAKECUDA)
        fakecuda_configure(&machine);
    rig->mail = mail_open(ranks);
    for (int r = 0; r < ranks; r++)
        rig->of[r] = (rig_rank){.rig = rig, .rank = r};
    rig_on_all(rig, open_rank);
}

static void close_rank(rig_rank *k) {
    kvf_wire_destroy(k->wire);
    kvf_group_destroy(k->group);
    kvf_tier_destroy(k->device);
    kvf_tier_destroy(k->host_tier);
    kvf_engine_destroy(k->engine);
    kvf_cuda_pinned_destroy(k->memory);
    for (size_t l = 0; l < RIG_LAYERS; l++)
        (void)cudaFree(k->layers[l]);
}

void rig_close(group_rig *rig) {
    rig_on_all(rig, close_rank);
    mail_close(rig->mail);
    assert_int_equal(fakenccl_reset(), 0);
    assert_int_equal(fakecuda_reset(), 0);
}

static char byte_of(unsigned position, size_t at) {
    return (char)(position * 11 + at * 7 + at / 128);
}

static char *device_part(const rig_rank *k, size_t id, size_t piece) {
    char *at = (char *)k->layers[piece / 2] + (2 * id + piece % 2) * RIG_PART;
    char *shadow = fakecuda_shadow(at, RIG_PART);
    assert_non_null(shadow);
    return shadow;
}

void rig_fill_host(rig_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < RIG_BLOCK; i++)
        k->host[id * RIG_BLOCK + i] = byte_of(position, i);
}

void rig_fill_device(rig_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < RIG_BLOCK; i++)
        device_part(k, id, i / RIG_PART)[i % RIG_PART] = byte_of(position, i);
}

bool rig_host_is(const rig_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < RIG_BLOCK; i++)
        if (k->host[id * RIG_BLOCK + i] != byte_of(position, i))
            return false;
    return true;
}

bool rig_device_is(const rig_rank *k, size_t id, unsigned position) {
    for (size_t i = 0; i < RIG_BLOCK; i++)
        if (device_part(k, id, i / RIG_PART)[i % RIG_PART] != byte_of(position, i))
            return false;
    return true;
}

void rig_end(kvf_wire_op *op, kvf_status expected) {
    kvf_error e = {0};
    test_expect(expected, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    kvf_wire_op_release(op);
}
