#include "device_fixture.h"

#include <string.h>

static void open_device(device_fixture *fixture) {
    const kvf_shape shape = {
        .blocks = FIXTURE_BLOCKS, .layers = FIXTURE_LAYERS, .parts = 2, .bytes = FIXTURE_BYTES};
    kvf_error e = {0};
    kvf_buffer buffers[FIXTURE_LAYERS];
    for (size_t l = 0; l < FIXTURE_LAYERS; l++) {
        buffers[l].bytes = (size_t)FIXTURE_BLOCKS * 2 * FIXTURE_BYTES;
        assert_int_equal(cudaMalloc(&fixture->layers[l], buffers[l].bytes), cudaSuccess);
        buffers[l].base = fixture->layers[l];
    }
    kvf_layout *near, *far;
    test_expect(KVF_OK, kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &near, &e), &e);
    test_expect(
        KVF_OK,
        kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, FIXTURE_BLOCKS,
                             (kvf_buffer){fixture->host, (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK},
                             NULL, &far, &e),
        &e);
    const kvf_layout *layouts[] = {near, far};
    kvf_tier_options device = {.layouts = layouts, .layout_count = 1, .memory = KVF_MEMORY_DEVICE};
    kvf_tier_options host = {
        .layouts = layouts + 1, .layout_count = 1, .memory = KVF_MEMORY_PINNED};
    test_expect(KVF_OK, kvf_tier_create(fixture->engine, &device, &fixture->device, &e), &e);
    test_expect(KVF_OK, kvf_tier_create(fixture->engine, &host, &fixture->pinned, &e), &e);
    kvf_layout_destroy(near);
    kvf_layout_destroy(far);
}

void fixture_open(device_fixture *fixture, const kvf_cuda_options *options) {
    kvf_error e = {0};
    const kvf_cuda_pinned_options pinned = {.bytes = (size_t)FIXTURE_BLOCKS * FIXTURE_BLOCK};
    *fixture = (device_fixture){0};
    test_expect(KVF_OK, kvf_engine_cuda_create(options, &fixture->engine, &e), &e);
    test_expect(KVF_OK, kvf_cuda_pinned_create(&pinned, &fixture->memory, NULL, &e), &e);
    fixture->host = kvf_cuda_pinned_base(fixture->memory);
    open_device(fixture);
}

void fixture_close(device_fixture *fixture) {
    kvf_tier_destroy(fixture->device);
    kvf_tier_destroy(fixture->pinned);
    kvf_engine_destroy(fixture->engine);
    kvf_cuda_pinned_destroy(fixture->memory);
    for (size_t l = 0; l < FIXTURE_LAYERS; l++)
        (void)cudaFree(fixture->layers[l]);
    fixture_reset();
}

static char byte_of(unsigned tag, size_t at) {
    return (char)(tag * 7 + at * 13 + at / 256);
}

static char *part_at(const device_fixture *fixture, size_t id, size_t piece) {
    return (char *)fixture->layers[piece / 2] + (2 * id + piece % 2) * FIXTURE_BYTES;
}

/* Writes one part of one layer of a block; on the fake without a call that a fault could hit. */
static void write_part(const device_fixture *fixture, size_t id, size_t piece, const char *bytes) {
    char *at = part_at(fixture, id, piece);
    if (FAKECUDA)
        memcpy(fakecuda_shadow(at, FIXTURE_BYTES), bytes, FIXTURE_BYTES);
    else
        assert_true(cudaMemcpy(at, bytes, FIXTURE_BYTES, cudaMemcpyDefault) == cudaSuccess &&
                    cudaStreamSynchronize(NULL) == cudaSuccess);
}

static void read_part(const device_fixture *fixture, size_t id, size_t piece, char *bytes) {
    const char *at = part_at(fixture, id, piece);
    if (FAKECUDA)
        memcpy(bytes, fakecuda_shadow(at, FIXTURE_BYTES), FIXTURE_BYTES);
    else
        assert_int_equal(cudaMemcpy(bytes, at, FIXTURE_BYTES, cudaMemcpyDefault), cudaSuccess);
}

void fixture_fill_host(device_fixture *fixture, size_t id, unsigned tag) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        fixture->host[id * FIXTURE_BLOCK + i] = byte_of(tag, i);
}

bool fixture_host_is(const device_fixture *fixture, size_t id, unsigned tag) {
    for (size_t i = 0; i < FIXTURE_BLOCK; i++)
        if (fixture->host[id * FIXTURE_BLOCK + i] != byte_of(tag, i))
            return false;
    return true;
}

void fixture_fill_device(device_fixture *fixture, size_t id, unsigned tag) {
    char bytes[FIXTURE_BYTES];
    for (size_t piece = 0; piece < FIXTURE_BLOCK / FIXTURE_BYTES; piece++) {
        for (size_t i = 0; i < FIXTURE_BYTES; i++)
            bytes[i] = byte_of(tag, piece * FIXTURE_BYTES + i);
        write_part(fixture, id, piece, bytes);
    }
}

bool fixture_device_is(const device_fixture *fixture, size_t id, unsigned tag) {
    char bytes[FIXTURE_BYTES];
    for (size_t piece = 0; piece < FIXTURE_BLOCK / FIXTURE_BYTES; piece++) {
        read_part(fixture, id, piece, bytes);
        for (size_t i = 0; i < FIXTURE_BYTES; i++)
            if (bytes[i] != byte_of(tag, piece * FIXTURE_BYTES + i))
                return false;
    }
    return true;
}

void fixture_reset(void) {
    if (FAKECUDA)
        assert_int_equal(fakecuda_reset(), 0);
}

void fixture_needs_fake(void) {
    if (!FAKECUDA)
        skip();
}

kvf_transfer *fixture_submit(kvf_tier *src, kvf_tier *dst, const uint64_t *src_ids,
                             const uint64_t *dst_ids, size_t count,
                             const kvf_submit_options *options) {
    const kvf_plan plan = {.count = count, .src_ids = src_ids, .dst_ids = dst_ids};
    kvf_transfer *transfer = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_transfer_submit(src, dst, &plan, 1, options, &transfer, &e), &e);
    return transfer;
}

void fixture_finish(kvf_transfer *transfer, kvf_status expected) {
    kvf_error e = {0};
    test_expect(expected, kvf_transfer_wait(transfer, 20 * 1000 * 1000, &e), &e);
    kvf_transfer_release(transfer);
}
