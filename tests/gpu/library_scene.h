/* Two tiers and transfers between them, for experiments on the fake or a real runtime. An error
 * ends the program with a message. */
#ifndef KVF_TEST_GPU_LIBRARY_SCENE_H
#define KVF_TEST_GPU_LIBRARY_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvferry/cuda.h>
#include <kvferry/kvferry.h>

/* Blocks of `layers` fragments: a buffer per layer on the device, whole blocks in pinned memory. */
typedef struct scene_shape {
    size_t device_blocks, host_blocks, fragment_bytes;
    unsigned layers;
    bool small_pages; /* no huge pages */
    unsigned ctas;    /* the engine's option */
} scene_shape;

typedef struct scene {
    kvf_engine *engine;
    kvf_tier *device, *host;
    kvf_cuda_pinned *pinned;
    void *memory;
    uint64_t *device_ids, *host_ids; /* all ids, the device's in random order */
    size_t block_bytes, host_blocks;
    double pin_seconds;
} scene;

void scene_open(scene *s, const scene_shape *shape);
void scene_close(scene *s);

/* The blocks to move: `count` ids from these indexes on. */
typedef struct scene_move {
    bool to_device;
    size_t count, first_device, first_host;
    kvf_cuda_strategy strategy;
    bool background;
} scene_move;

kvf_transfer *scene_submit(const scene *s, const scene_move *move);

/* How to wait for a transfer. */
typedef enum scene_waiting { SCENE_POLL, SCENE_WAIT } scene_waiting;
void scene_finish(kvf_transfer *transfer, scene_waiting waiting);

/* Medians of some samples, after two warm-up samples. */
typedef struct scene_time {
    double submit_us, whole_us;
} scene_time;
scene_time scene_measure(const scene *s, const scene_move *move, size_t samples,
                         scene_waiting waiting);

/* Prints what moved and how fast: "    WHAT h2d kernel: 123.4 us, 5.6 GB/s". */
void scene_print(const char *what, const scene *s, const scene_move *move, double us);

double scene_now_us(void);

#endif
