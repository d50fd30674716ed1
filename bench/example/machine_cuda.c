/*
 * A GPU. Each lane is a stream, and steps are enqueued before they run. Four calls order steps and
 * transfers, without the host waiting:
 *
 *     begin    kvf_cuda_wait_slots    the stream waits for other users of the blocks to be written
 *     layer    kvf_cuda_wait_layer    the stream waits for a layer of the blocks in flight
 *     end      kvf_cuda_mark_slots    later transfers wait for the step, and kvf_tier_idle reports
 *                                     its blocks as in use
 *     done     cudaEventQuery         the checksums have arrived
 */
#include "kernels.h"
#include "machine.h"

#include <kvferry/cuda.h>

#include <stdlib.h>

enum { MOST_PINNED = 2 };

typedef struct cuda {
    machine machine; /* first: a machine is a cuda */
    int device;
    cudaStream_t streams[MOST_LANES];
    cudaEvent_t events[MOST_LANES];
    kvf_cuda_pinned *pinned[MOST_PINNED]; /* the host tier, and the arrays of steps */
    size_t pinned_count;
} cuda;

static cuda *of(machine *machine) {
    return (cuda *)machine;
}

static void check_cuda(cudaError_t code, const char *what) {
    if (code != cudaSuccess)
        die(what, cudaGetErrorString(code));
}

static void *cuda_allocate(machine *machine, kvf_memory memory, size_t bytes) {
    cuda *own = of(machine);
    void *allocated = NULL;
    if (memory == KVF_MEMORY_DEVICE) {
        (void)kvf_cuda_device_alloc(own->device, bytes, &allocated, NULL);
        return allocated;
    }
    const kvf_cuda_pinned_options options = {
        .bytes = bytes, .device = own->device, .near_device = true};
    kvf_cuda_pinned **pinned = &own->pinned[own->pinned_count];
    if (own->pinned_count == MOST_PINNED ||
        kvf_cuda_pinned_create(&options, pinned, NULL, NULL) != KVF_OK)
        return NULL;
    own->pinned_count++;
    return kvf_cuda_pinned_base(*pinned);
}

static void cuda_release(machine *machine, kvf_memory memory, void *bytes) {
    cuda *own = of(machine);
    /* cuda_close frees pinned memory, when nothing uses it any more. */
    if (memory == KVF_MEMORY_DEVICE)
        kvf_cuda_device_free(own->device, bytes);
}

/* Blocks that are only read need no wait here: the step that wrote them is done, and cuda_layer
 * waits for those in flight. */
static void cuda_begin(machine *machine, kvf_tier *tier, const step *step) {
    kvf_error error = {0};
    check(kvf_cuda_wait_slots(tier, step->table + step->written, step->blocks - step->written, true,
                              of(machine)->streams[step->lane], &error),
          &error);
}

static void cuda_layer(machine *machine, const step *step, const layer_view *view) {
    cudaStream_t stream = of(machine)->streams[step->lane];
    const kernel_layer layer = {
        .view = *view,
        .table = step->table,
        .seeds = step->seeds,
        .sums = step->sums + view->layer * step->blocks,
        .tokens = step->tokens,
        .first_new = step->first_new,
        .blocks = step->blocks,
    };
    kvf_error error = {0};
    if (step->landing)
        check(kvf_cuda_wait_layer(step->landing, view->layer, stream, &error), &error);
    check_cuda(kernels_layer(&layer, stream), "launching a kernel");
}

/* The engine limits the number of marks (AGAIN). Progress lets it drop marks whose events are over.
 */
static void mark(machine *machine, kvf_tier *tier, const uint64_t *ids, size_t count, bool written,
                 cudaEvent_t event) {
    kvf_error error = {0};
    kvf_status status = KVF_ERR_AGAIN;
    while (status == KVF_ERR_AGAIN) {
        status = kvf_cuda_mark_slots(tier, ids, count, written, event, &error);
        (void)kvf_engine_progress(machine->engine);
    }
    check(status, &error);
}

static void cuda_end(machine *machine, kvf_tier *tier, const step *step) {
    cudaEvent_t event = of(machine)->events[step->lane];
    check_cuda(cudaEventRecord(event, of(machine)->streams[step->lane]), "cudaEventRecord");
    mark(machine, tier, step->table, step->written, false, event);
    mark(machine, tier, step->table + step->written, step->blocks - step->written, true, event);
}

static bool cuda_done(machine *machine, const step *step) {
    cudaError_t code = cudaEventQuery(of(machine)->events[step->lane]);
    if (code != cudaErrorNotReady)
        check_cuda(code, "a step");
    return code == cudaSuccess;
}

static void cuda_close(machine *machine) {
    cuda *own = of(machine);
    kvf_engine_destroy(machine->engine);
    for (size_t lane = 0; lane < MOST_LANES && own->streams[lane]; lane++) {
        check_cuda(cudaEventDestroy(own->events[lane]), "cudaEventDestroy");
        check_cuda(cudaStreamDestroy(own->streams[lane]), "cudaStreamDestroy");
    }
    for (size_t i = 0; i < own->pinned_count; i++)
        kvf_cuda_pinned_destroy(own->pinned[i]);
    free(own);
}

machine *machine_cuda_open(const options *options) {
    const kvf_cuda_options chosen = {
        .device = (int)options->device,
        .max_transfers = options->max_transfers,
        .no_thread = options->no_threads,
        .background_from_gbps = (double)options->offload_mbps / 1000,
    };
    cuda *own = must_have(1, sizeof *own);
    own->device = chosen.device;
    own->machine = (machine){
        .device_memory = KVF_MEMORY_DEVICE,
        .host_memory = KVF_MEMORY_PINNED,
        .in_order = true,
        .allocate = cuda_allocate,
        .release = cuda_release,
        .begin = cuda_begin,
        .layer = cuda_layer,
        .end = cuda_end,
        .done = cuda_done,
        .close = cuda_close,
    };
    kvf_error error = {0};
    check(kvf_engine_cuda_create(&chosen, &own->machine.engine, &error), &error);
    check_cuda(cudaSetDevice(own->device), "cudaSetDevice");
    for (size_t lane = 0; lane < options->lanes; lane++) {
        check_cuda(cudaStreamCreateWithFlags(&own->streams[lane], cudaStreamNonBlocking),
                   "cudaStreamCreateWithFlags");
        check_cuda(cudaEventCreateWithFlags(&own->events[lane], cudaEventDisableTiming),
                   "cudaEventCreateWithFlags");
    }
    return &own->machine;
}
