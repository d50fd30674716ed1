/* Experiments with the library that `kvferry bench` has no options for. They print what they
 * measure and judge nothing. */
#include "library_scene.h"

#include "base/base.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

enum { SKIPPED = 77 };

static bool tiny;
static unsigned layers = 64;
static size_t samples = 11;

/* The number of blocks for `bytes` in total. */
static size_t blocks_of(size_t bytes, size_t fragment_bytes) {
    return tiny ? 16 : bytes / fragment_bytes / layers;
}

/* 1 MiB by polling and by waiting. */
static void try_waiting(void) {
    const scene_shape shape = {
        .device_blocks = 64, .host_blocks = 64, .fragment_bytes = 16 << 10, .layers = layers};
    scene s;
    scene_open(&s, &shape);
    for (unsigned i = 0; i < 16; i++) {
        const scene_move move = {
            .to_device = i % 2 == 0, .count = 1, .strategy = KVF_CUDA_LOOP + i / 2 % 4};
        const scene_time t =
            scene_measure(&s, &move, tiny ? 3 : 201, i < 8 ? SCENE_POLL : SCENE_WAIT);
        scene_print(i < 8 ? "poll" : "wait", &s, &move, t.whole_us);
        printf(", submit %.1f us\n", t.submit_us);
    }
    scene_close(&s);
}

/* 256 MiB by `kernel`. */
static void try_thread_blocks(void) {
    static const unsigned ctas[] = {1, 2, 4, 8, 12, 16, 24, 32, 64, 132};
    for (size_t fragment = 4096; fragment <= 65536; fragment *= 16) {
        const size_t blocks = blocks_of((size_t)256 << 20, fragment);
        for (size_t i = 0; i < (tiny ? 2 : sizeof ctas / sizeof *ctas); i++) {
            const scene_shape shape = {.device_blocks = 2 * blocks,
                                       .host_blocks = blocks,
                                       .fragment_bytes = fragment,
                                       .layers = layers,
                                       .ctas = ctas[i]};
            scene s;
            scene_open(&s, &shape);
            for (int to_device = 1; to_device >= 0; to_device--) {
                const scene_move move = {
                    .to_device = to_device, .count = blocks, .strategy = KVF_CUDA_KERNEL};
                char what[64];
                (void)snprintf(what, sizeof what, "%u thread blocks, %zu KiB", ctas[i],
                               fragment >> 10);
                const scene_time t = scene_measure(&s, &move, samples, SCENE_POLL);
                scene_print(what, &s, &move, t.whole_us);
                puts("");
            }
            scene_close(&s);
        }
    }
}

/* A thread that keeps asking whether a block that no transfer uses is idle; its longest wait. */
typedef struct bystander {
    const kvf_tier *tier;
    uint64_t id;
    bool stop;
    double worst_us;
} bystander;

static void *look_on(void *given) {
    bystander *b = given;
    while (!__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE)) {
        kvf_error error = {0};
        const double begin = scene_now_us();
        (void)kvf_tier_idle(b->tier, &b->id, 1, &error);
        const double us = scene_now_us() - begin;
        b->worst_us = us > b->worst_us ? us : b->worst_us;
    }
    return NULL;
}

/* Large ordered transfers: the time of submit, and how long it holds up another thread. */
static void try_large_submits(void) {
    const size_t blocks = blocks_of((size_t)4 << 30, 4096);
    const scene_shape shape = {.device_blocks = blocks + 1,
                               .host_blocks = blocks,
                               .fragment_bytes = 4096,
                               .layers = layers};
    scene s;
    scene_open(&s, &shape);
    for (unsigned i = 0; i < 8; i++) {
        const kvf_cuda_strategy strategy = KVF_CUDA_LOOP + i / 2;
        const bool slow = strategy == KVF_CUDA_LOOP || strategy == KVF_CUDA_BATCH;
        const scene_move move = {
            .to_device = i % 2 == 0, .count = slow ? blocks / 8 : blocks, .strategy = strategy};
        bystander b = {.tier = s.device, .id = s.device_ids[blocks]};
        pthread_t thread;
        if (pthread_create(&thread, NULL, look_on, &b) != 0)
            break;
        const double begin = scene_now_us();
        kvf_transfer *transfer = scene_submit(&s, &move);
        const double submitted = scene_now_us();
        scene_finish(transfer, SCENE_POLL);
        scene_print("4 KiB", &s, &move, scene_now_us() - begin);
        __atomic_store_n(&b.stop, true, __ATOMIC_RELEASE);
        (void)pthread_join(thread, NULL);
        printf(", submit %.0f us, another thread's kvf_tier_idle at most %.0f us\n",
               submitted - begin, b.worst_us);
    }
    scene_close(&s);
}

/* An engine's first transfers, of 16 MiB. */
static void try_first_transfers(void) {
    const size_t blocks = blocks_of((size_t)16 << 20, 4096);
    const scene_shape shape = {.device_blocks = 2 * blocks,
                               .host_blocks = blocks,
                               .fragment_bytes = 4096,
                               .layers = layers};
    for (unsigned strategy = KVF_CUDA_LOOP; strategy <= KVF_CUDA_STAGED; strategy++) {
        const scene_move move = {.to_device = true, .count = blocks, .strategy = strategy};
        scene s;
        scene_open(&s, &shape);
        printf("    %s:", kvf_cuda_strategy_name(strategy));
        for (int i = 0; i < 4; i++) {
            const double begin = scene_now_us();
            kvf_transfer *transfer = scene_submit(&s, &move);
            const double submitted = scene_now_us();
            scene_finish(transfer, SCENE_POLL);
            printf(" %.0f us (submit %.0f)", scene_now_us() - begin, submitted - begin);
        }
        puts("");
        scene_close(&s);
    }
}

/* 1 GiB in 16 transfers. */
static void try_background(void) {
    enum { TRANSFERS = 16 };
    const size_t blocks = blocks_of((size_t)64 << 20, 4096);
    const scene_shape shape = {.device_blocks = TRANSFERS * blocks,
                               .host_blocks = TRANSFERS * blocks,
                               .fragment_bytes = 4096,
                               .layers = layers};
    scene s;
    scene_open(&s, &shape);
    for (unsigned i = 0; i < 6; i++) {
        scene_move move = {.to_device = i % 2 == 0,
                           .count = blocks,
                           .strategy = KVF_CUDA_BATCH + i / 2,
                           .background = true};
        kvf_transfer *transfers[TRANSFERS];
        const double begin = scene_now_us();
        for (size_t j = 0; j < TRANSFERS; j++) {
            move.first_device = move.first_host = j * blocks;
            transfers[j] = scene_submit(&s, &move);
        }
        for (size_t j = 0; j < TRANSFERS; j++)
            scene_finish(transfers[j], SCENE_WAIT);
        move.count *= TRANSFERS;
        scene_print("16 transfers", &s, &move, scene_now_us() - begin);
        puts("");
    }
    kvf_cuda_stats stats;
    kvf_error error = {0};
    if (kvf_cuda_stats_get(s.engine, &stats, &error) == KVF_OK)
        printf("    packing buffers: %zu and %zu MiB\n", stats.packing_bytes[0] >> 20,
               stats.packing_bytes[1] >> 20);
    scene_close(&s);
}

/* 64 MiB at a time, each to or from different host blocks of a pool. */
static void try_pool(size_t gib, bool small_pages) {
    const size_t count = blocks_of((size_t)64 << 20, 4096);
    const scene_shape shape = {.device_blocks = 4 * count,
                               .host_blocks = tiny ? 64 : (gib << 30) / 4096 / layers,
                               .fragment_bytes = 4096,
                               .layers = layers,
                               .small_pages = small_pages};
    scene s;
    char what[64];
    scene_open(&s, &shape);
    shuffle(s.host_ids, shape.host_blocks, &(uint64_t){2});
    (void)snprintf(what, sizeof what, "%zu MiB, %s pages", shape.host_blocks * s.block_bytes >> 20,
                   small_pages ? "4 KiB" : "huge");
    printf("    %s: pinned in %.2f s\n", what, s.pin_seconds);
    for (unsigned i = 0; i < 6; i++) {
        scene_move move = {
            .to_device = i % 2 == 0, .count = count, .strategy = KVF_CUDA_BATCH + i / 2};
        const size_t times = shape.host_blocks / count < 15 ? shape.host_blocks / count : 15;
        double us = 0;
        for (size_t j = 0; j < times; j++) {
            move.first_host = j * count;
            const double begin = scene_now_us();
            scene_finish(scene_submit(&s, &move), SCENE_POLL);
            us += scene_now_us() - begin;
        }
        scene_print(what, &s, &move, us / (double)times);
        puts("");
    }
    scene_close(&s);
}

static void try_pools(void) {
    try_pool(1, false);
    try_pool(16, false);
    try_pool(1, true);
    try_pool(16, true);
}

static const struct {
    const char *name, *text;
    void (*go)(void);
} experiments[] = {
    {"waiting", "how soon the end of a small transfer is noticed", try_waiting},
    {"thread-blocks", "how many thread blocks a copying kernel needs", try_thread_blocks},
    {"large-submits", "how long a large submit takes and holds up others", try_large_submits},
    {"first-transfers", "how long an engine's first transfers take", try_first_transfers},
    {"background", "how fast background transfers are", try_background},
    {"pools", "whether a large pool of pinned memory is slower", try_pools},
};

/* gpu_library [tiny] [EXPERIMENT...] */
int main(int argc, char **argv) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        puts("no GPU");
        return SKIPPED;
    }
    tiny = argc > 1 && strcmp(argv[1], "tiny") == 0;
    if (tiny) {
        layers = 4;
        samples = 2;
    }
    for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++) {
        bool chosen = argc == 1 + tiny;
        for (int j = 1 + tiny; j < argc; j++)
            chosen |= strcmp(argv[j], experiments[i].name) == 0;
        if (!chosen)
            continue;
        printf("%s: %s\n", experiments[i].name, experiments[i].text);
        experiments[i].go();
        (void)fflush(stdout);
    }
    return 0;
}
