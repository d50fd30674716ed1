#include "library_scene.h"

#include "output/measure.h"
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

enum { GAP = 4096, WARM_UP = 2, MOST_SAMPLES = 512 };

double scene_now_us(void) {
    return (double)clock_ns() / 1e3;
}

static void ok(kvf_status status, const kvf_error *error) {
    must(status, error, "an experiment");
}

static uint64_t *make_ids(size_t count) {
    uint64_t *ids = must_grow(NULL, count, sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = i;
    return ids;
}

static kvf_tier *make_tier(const scene *s, const kvf_layout *layout, kvf_memory memory) {
    kvf_tier *tier = NULL;
    kvf_error error = {0};
    const kvf_tier_options options = {.layouts = &layout, .layout_count = 1, .memory = memory};
    ok(kvf_tier_create(s->engine, &options, &tier, &error), &error);
    return tier;
}

/* A gap between the layers' buffers, so that their fragments are not adjacent. */
static kvf_layout *make_device_layout(scene *s, const scene_shape *shape) {
    const kvf_shape near = {.blocks = shape->device_blocks,
                            .layers = shape->layers,
                            .parts = 1,
                            .bytes = shape->fragment_bytes};
    const size_t each = shape->device_blocks * shape->fragment_bytes;
    kvf_buffer *buffers = must_grow(NULL, shape->layers, sizeof *buffers);
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    ok(kvf_cuda_device_alloc(0, shape->layers * (each + GAP), &s->memory, &error), &error);
    for (size_t i = 0; i < shape->layers; i++)
        buffers[i] = (kvf_buffer){(char *)s->memory + i * (each + GAP), each};
    ok(kvf_layout_per_layer(&near, buffers, KVF_BLOCK_FIRST, &layout, &error), &error);
    free(buffers);
    return layout;
}

void scene_open(scene *s, const scene_shape *shape) {
    const kvf_cuda_options options = {.ctas = shape->ctas};
    const size_t block = shape->layers * shape->fragment_bytes;
    const kvf_cuda_pinned_options pinned = {.bytes = shape->host_blocks * block,
                                            .no_huge_pages = shape->small_pages};
    kvf_layout *far = NULL;
    kvf_error error = {0};
    *s = (scene){.block_bytes = block, .host_blocks = shape->host_blocks};
    ok(kvf_engine_cuda_create(&options, &s->engine, &error), &error);
    kvf_layout *near = make_device_layout(s, shape);
    const double begin = scene_now_us();
    ok(kvf_cuda_pinned_create(&pinned, &s->pinned, NULL, &error), &error);
    s->pin_seconds = (scene_now_us() - begin) / 1e6;
    const kvf_buffer buffer = {kvf_cuda_pinned_base(s->pinned), pinned.bytes};
    ok(kvf_layout_recommend(near, KVF_USE_WHOLE_BLOCKS, shape->host_blocks, buffer, NULL, &far,
                            &error),
       &error);
    s->device = make_tier(s, near, KVF_MEMORY_DEVICE);
    s->host = make_tier(s, far, KVF_MEMORY_PINNED);
    kvf_layout_destroy(near);
    kvf_layout_destroy(far);
    s->device_ids = make_ids(shape->device_blocks);
    s->host_ids = make_ids(shape->host_blocks);
    shuffle(s->device_ids, shape->device_blocks, &(uint64_t){1});
}

void scene_close(scene *s) {
    kvf_tier_destroy(s->device);
    kvf_tier_destroy(s->host);
    kvf_engine_destroy(s->engine);
    kvf_cuda_pinned_destroy(s->pinned);
    kvf_cuda_device_free(0, s->memory);
    free(s->device_ids);
    free(s->host_ids);
}

kvf_transfer *scene_submit(const scene *s, const scene_move *move) {
    const uint64_t *near = s->device_ids + move->first_device;
    const uint64_t *far = s->host_ids + move->first_host;
    const kvf_plan plan = {.count = move->count,
                           .src_ids = move->to_device ? far : near,
                           .dst_ids = move->to_device ? near : far};
    const kvf_submit_options options = {.strategy = move->strategy, .background = move->background};
    kvf_transfer *transfer = NULL;
    kvf_error error = {0};
    ok(kvf_transfer_submit(move->to_device ? s->host : s->device,
                           move->to_device ? s->device : s->host, &plan, 1, &options, &transfer,
                           &error),
       &error);
    return transfer;
}

void scene_finish(kvf_transfer *transfer, scene_waiting waiting) {
    kvf_error error = {0};
    kvf_status status = KVF_PENDING;
    if (waiting == SCENE_WAIT)
        status = kvf_transfer_wait(transfer, -1, &error);
    while (status == KVF_PENDING)
        status = kvf_transfer_poll(transfer, &error);
    ok(status, &error);
    kvf_transfer_release(transfer);
}

scene_time scene_measure(const scene *s, const scene_move *move, size_t samples,
                         scene_waiting waiting) {
    double submits[WARM_UP + MOST_SAMPLES], wholes[WARM_UP + MOST_SAMPLES];
    for (size_t i = 0; i < WARM_UP + samples; i++) {
        const double begin = scene_now_us();
        kvf_transfer *transfer = scene_submit(s, move);
        submits[i] = scene_now_us() - begin;
        scene_finish(transfer, waiting);
        wholes[i] = scene_now_us() - begin;
    }
    return (scene_time){median(submits + WARM_UP, samples), median(wholes + WARM_UP, samples)};
}

void scene_print(const char *what, const scene *s, const scene_move *move, double us) {
    printf("    %s %s %s: %.1f us, %.1f GB/s", what, move->to_device ? "h2d" : "d2h",
           kvf_cuda_strategy_name(move->strategy), us,
           (double)(move->count * s->block_bytes) / us / 1e3);
}
