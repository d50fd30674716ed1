#include "gpu/link.h"

#include "base/base.h"

#include <kvferry/cuda.h>
#include <stdlib.h>

enum {
    COPIES = 4,   /* of each buffer in a sample */
    ATTEMPTS = 3, /* to take a sample before a hold times out */
};

/* Each copy may be two, see copy. */
_Static_assert(2 * 3 * COPIES + 4 <= DEVICE_HELD_ENTRIES, "a held stream must not be full");

/* A buffer on each side, and the stream that copies between them. The host's buffer is pinned like
 * the tiers: near the device, in huge pages. */
typedef struct way {
    char *device;
    kvf_cuda_pinned *pinned;
    cudaStream_t stream;
} way;

struct link {
    device *device;
    size_t bytes;        /* of a buffer */
    way measured, other; /* other: the opposite direction */
    cudaEvent_t begin, end;
};

static way open_way(const device *device, size_t bytes) {
    const kvf_cuda_pinned_options options = {
        .bytes = bytes, .device = device->index, .near_device = true};
    kvf_error error = {0};
    way opened = {.stream = device_stream()};
    must(kvf_cuda_pinned_create(&options, &opened.pinned, NULL, &error), &error,
         "pinning memory to measure the link");
    must_cuda(cudaMalloc((void **)&opened.device, bytes), "cudaMalloc");
    return opened;
}

static void close_way(const way *way) {
    must_cuda(cudaStreamDestroy(way->stream), "cudaStreamDestroy");
    must_cuda(cudaFree(way->device), "cudaFree");
    kvf_cuda_pinned_destroy(way->pinned);
}

link_limit *link_open(device *device, size_t bytes) {
    link_limit *link = must_grow(NULL, 1, sizeof *link);
    *link = (link_limit){.device = device, .bytes = bytes / 2 > 0 ? bytes / 2 : 1};
    link->measured = open_way(device, link->bytes);
    link->other = open_way(device, link->bytes);
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

static void copy_piece(const way *way, bool to_device, size_t at, size_t bytes) {
    char *host = (char *)kvf_cuda_pinned_base(way->pinned) + at, *device = way->device + at;
    must_cuda(cudaMemcpyAsync(to_device ? device : host, to_device ? host : device, bytes,
                              to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost,
                              way->stream),
              "cudaMemcpyAsync");
}

/* No copy crosses the boundary of a registered segment. */
static void copy(const link_limit *link, const way *way, bool to_device, int copies) {
    size_t end = KVF_CUDA_SEGMENT - (uintptr_t)kvf_cuda_pinned_base(way->pinned) % KVF_CUDA_SEGMENT;
    size_t first = end < link->bytes ? end : link->bytes;
    for (int i = 0; i < copies; i++) {
        copy_piece(way, to_device, 0, first);
        if (first < link->bytes)
            copy_piece(way, to_device, first, link->bytes - first);
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
        if (device_held(link->device))
            return (double)ms * 1e6 / ((double)link->bytes * COPIES);
    }
    fail(EXIT_CHECK, "measuring the link: queueing %d copies took longer than a stream can be held",
         3 * COPIES);
}
