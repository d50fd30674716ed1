/* How fast the copy engine copies rows and pieces, without the time of enqueuing: the stream is
 * held until everything is enqueued. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 3, PART = 4096 };

typedef struct copies {
    char *device, *host;
    size_t width, count; /* pieces; 2 * width apart on the device */
    bool to_device;
    cudaStream_t stream;
} copies;

static char *device_piece(const copies *c, size_t i) {
    return c->device + 2 * i * c->width;
}

static char *host_piece(const copies *c, size_t i) {
    return c->host + i * c->width;
}

static void enqueue_rows(const copies *c, size_t rows) {
    for (size_t i = 0; i + rows <= c->count; i += rows)
        TRY(c->to_device
                ? cudaMemcpy2DAsync(device_piece(c, i), 2 * c->width, host_piece(c, i), c->width,
                                    c->width, rows, cudaMemcpyHostToDevice, c->stream)
                : cudaMemcpy2DAsync(host_piece(c, i), c->width, device_piece(c, i), 2 * c->width,
                                    c->width, rows, cudaMemcpyDeviceToHost, c->stream));
}

static void enqueue_64_rows(const copies *c) {
    enqueue_rows(c, 64);
}

static void enqueue_2_rows(const copies *c) {
    enqueue_rows(c, 2);
}

static void enqueue_batches(const copies *c) {
    for (size_t i = 0; i < c->count; i += PART) {
        const size_t left = c->count - i;
        size_t failed = 0;
        batch b = make_batch(device_piece(c, i), 2 * c->width, host_piece(c, i), c->width,
                             left < PART ? left : PART, c->to_device);
        const CUresult code = submit_batch(&b, c->stream, &failed);
        if (code != CUDA_SUCCESS)
            printf("    !! cuMemcpyBatchAsync: CUresult %d\n", (int)code);
        free_batch(&b);
    }
}

static void enqueue_one_by_one(const copies *c) {
    for (size_t i = 0; i < c->count; i++)
        TRY(c->to_device ? cudaMemcpyAsync(device_piece(c, i), host_piece(c, i), c->width,
                                           cudaMemcpyHostToDevice, c->stream)
                         : cudaMemcpyAsync(host_piece(c, i), device_piece(c, i), c->width,
                                           cudaMemcpyDeviceToHost, c->stream));
}

/* How pieces are enqueued: so many per call, in at most so many calls, so that the held stream's
 * queue does not fill up. */
typedef struct way {
    const char *name;
    void (*enqueue)(const copies *c);
    size_t most, together;
} way;

static const way ways[] = {
    {"64 rows", enqueue_64_rows, 400, 64},
    {"2 rows", enqueue_2_rows, 400, 2},
    {"batch", enqueue_batches, 4 * PART, 1},
    {"one by one", enqueue_one_by_one, 400, 1},
};

/* The best of some runs, in GB/s, and the host's time per piece. */
static void measure(copies c, const way *w, size_t most_bytes) {
    cudaEvent_t begin = NULL, end = NULL;
    double best = 0, host_us = 0;
    TRY(cudaEventCreate(&begin));
    TRY(cudaEventCreate(&end));
    c.count = w->most * w->together;
    if (c.count > most_bytes / c.width)
        c.count = most_bytes / c.width / w->together * w->together;
    for (int i = 0; i < REPEATS && c.count > 0; i++) {
        float ms = 0;
        hold(c.stream, 900);
        TRY(cudaEventRecord(begin, c.stream));
        const double enqueued = now_us();
        w->enqueue(&c);
        host_us = (now_us() - enqueued) / (double)c.count;
        TRY(cudaEventRecord(end, c.stream));
        release();
        TRY(cudaStreamSynchronize(c.stream));
        TRY(cudaEventElapsedTime(&ms, begin, end));
        const double gbps = (double)(c.count * c.width) / (double)ms / 1e6;
        best = ms > 0 && gbps > best ? gbps : best;
    }
    printf("; %s %.1f (%.2f us)", w->name, best, host_us);
    TRY(cudaEventDestroy(begin));
    TRY(cudaEventDestroy(end));
}

void ask_copy_rates(void) {
    static const size_t widths[] = {256, 1024, 4096, 16384, 65536};
    const size_t most_bytes = tiny ? 4 << 20 : 256 << 20;
    copies c = {.device = device_memory(2 * most_bytes),
                .host = pinned_memory(most_bytes),
                .stream = new_stream(0)};
    memset(c.host, 1, most_bytes);
    puts("    GB/s (host time per piece)");
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        for (int to_device = 1; to_device >= 0; to_device--) {
            c.width = widths[i];
            c.to_device = to_device;
            printf("    %zu bytes %s", c.width, to_device ? "h2d" : "d2h");
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
                measure(c, &ways[w], most_bytes);
            puts("");
        }
    }
}
