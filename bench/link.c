#include "link.h"

#include "tool.h"

#include <stdlib.h>

enum {
    COPIES = 4,   /* of each buffer in a sample */
    ATTEMPTS = 3, /* to take one without a hold ending by itself */
};

_Static_assert(3 * COPIES + 4 <= DEVICE_HELD_ENTRIES, "held streams take no more");

/* A buffer on each side, and the stream that copies between them. */
typedef struct way {
    char *device, *pinned;
    cudaStream_t stream;
} way;

struct link {
    device *device;
    size_t bytes;        /* of a buffer */
    way measured, other; /* the other way */
    cudaEvent_t begin, end;
};

static way open_way(size_t bytes) {
    way opened = {.pinned = device_pinned(bytes), .stream = device_stream()};
    must_cuda(cudaMalloc((void **)&opened.device, bytes), "cudaMalloc");
    return opened;
}

static void close_way(const way *way) {
    must_cuda(cudaStreamDestroy(way->stream), "cudaStreamDestroy");
    must_cuda(cudaFree(way->device), "cudaFree");
    must_cuda(cudaFreeHost(way->pinned), "cudaFreeHost");
}

link_limit *link_open(device *device, size_t bytes) {
    link_limit *link = must_grow(NULL, 1, sizeof(*link));
    *link = (link_limit){.device = device, .bytes = bytes / 2 > 0 ? bytes / 2 : 1};
    link->measured = open_way(link->bytes);
    link->other = open_way(link->bytes);
    link->begin = device_event();
    link->end = device_event();
    return link;
}

void link_close(link_limit *link) {
    close_way(&link->measured);
    close_way(&link->other);
    must_cuda(cudaEventDestroy(link->begin), "cudaEventDestroy");
    must_cuda(cudaEventDestroy(link->end), "cudaEventDestroy");
    free(link);
}

static void copy(const link_limit *link, const way *way, bool to_device, int copies) {
    void *dst = to_device ? way->device : way->pinned;
    const void *src = to_device ? way->pinned : way->device;
    for (int i = 0; i < copies; i++) {
        must_cuda(cudaMemcpyAsync(dst, src, link->bytes,
                                  to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                                  way->stream),
                  "cudaMemcpyAsync");
    }
}

/* Milliseconds of COPIES copies. */
static float run(link_limit *link, bool to_device, bool opposed) {
    float ms = 0;
    device_hold_begin(link->device);
    if (opposed) {
        device_hold(link->device, link->other.stream);
        copy(link, &link->other, !to_device, 2 * COPIES);
    }
    device_hold(link->device, link->measured.stream);
    must_cuda(cudaEventRecord(link->begin, link->measured.stream), "cudaEventRecord");
    copy(link, &link->measured, to_device, COPIES);
    must_cuda(cudaEventRecord(link->end, link->measured.stream), "cudaEventRecord");
    device_hold_end(link->device);
    must_cuda(cudaStreamSynchronize(link->measured.stream), "measuring the link");
    must_cuda(cudaStreamSynchronize(link->other.stream), "measuring the link");
    must_cuda(cudaEventElapsedTime(&ms, link->begin, link->end), "cudaEventElapsedTime");
    return ms;
}

double link_sample_ns(link_limit *link, bool to_device, bool opposed) {
    for (int i = 0; i < ATTEMPTS; i++) {
        float ms = run(link, to_device, opposed);
        if (device_held(link->device)) {
            return (double)ms * 1e6 / ((double)link->bytes * COPIES);
        }
    }
    fail(EXIT_CHECK, "measuring the link: queueing %d copies took longer than a stream is held",
         3 * COPIES);
}
