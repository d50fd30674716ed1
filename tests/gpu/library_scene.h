/* Two tiers and transfers between them, for experiments through the library on whatever runtime
 * there is. An error ends the program with a message. */
#ifndef KVF_TEST_GPU_LIBRARY_SCENE_H
#define KVF_TEST_GPU_LIBRARY_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvferry/cuda.h>
#include <kvferry/kvferry.h>

/* Blocks of `layers` fragments: in a buffer a layer on the device, in whole blocks in pinned
 * memory. */
typedef struct scene_shape {
    size_t device_blocks, host_blocks, fragment_bytes;
    unsigned layers;
    bool small_pages; /* no huge ones */
    unsigned ctas;    /* of the engine's options */
} scene_shape;

typedef struct scene {
    kvf_engine *engine;
    kvf_tier *device, *host;
    kvf_cuda_pinned *pinned;
    void *memory;
    uint64_t *device_ids, *host_ids; /* all of them, the device's in random order */
    size_t block_bytes, host_blocks;
    double pin_seconds;
} scene;

void scene_open(scene *s, const scene_shape *shape);
void scene_close(scene *s);

/* Which blocks go where: of the ids, `count` from these positions on. */
typedef struct scene_move {
    bool to_device;
    size_t count, first_device, first_host;
    kvf_cuda_strategy strategy;
    bool background;
} scene_move;

kvf_transfer *scene_submit(const scene *s, const scene_move *move);

/* How a transfer is waited for. */
typedef enum scene_waiting { SCENE_POLL, SCENE_WAIT } scene_waiting;
void scene_finish(kvf_transfer *transfer, scene_waiting waiting);

/* Medians of some samples, after two that do not count. */
typedef struct scene_time {
    double submit_us, whole_us;
} scene_time;
scene_time scene_measure(const scene *s, const scene_move *move, size_t samples,
                         scene_waiting waiting);

/* Prints what moved and how fast: "    WHAT h2d kernel: 123.4 us, 5.6 GB/s". */
void scene_print(const char *what, const scene *s, const scene_move *move, double us);

double scene_now_us(void);

#endif
