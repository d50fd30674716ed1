/*
 * A GPU: every lane is a stream, and a step is in it long before it runs. Four calls keep steps and
 * transfers apart, and nothing here waits on the host for them:
 *
 *     begin    kvf_cuda_wait_slots    the stream waits for who still uses the step's blocks
 *     layer    kvf_cuda_wait_group    ... and for each layer of what is being onboarded
 *     end      kvf_cuda_mark_slots    transfers from now on wait for the step, and kvf_tier_idle
 *                                     knows that its blocks are in use
 *     done     cudaEventQuery         the sums are there
 */
#include "kernels.h"
#include "machine.h"

#include <kvferry/cuda.h>

#include <stdlib.h>

typedef struct cuda {
    machine machine; /* first: a machine is a cuda */
    int device;
    cudaStream_t streams[MOST_LANES];
    cudaEvent_t events[MOST_LANES];
    kvf_cuda_pinned *pinned; /* the host tier's memory */
} cuda;

static cuda *of(machine *machine) {
    return (cuda *)machine;
}

static void must_cuda(cudaError_t code, const char *what) {
    if (code != cudaSuccess) {
        die(what, cudaGetErrorString(code));
    }
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
    if (kvf_cuda_pinned_create(&options, &own->pinned, NULL, NULL) == KVF_OK) {
        allocated = kvf_cuda_pinned_base(own->pinned);
    }
    return allocated;
}

static void cuda_release(machine *machine, kvf_memory memory, void *bytes) {
    if (memory == KVF_MEMORY_DEVICE) {
        kvf_cuda_device_free(of(machine)->device, bytes);
    } else {
        kvf_cuda_pinned_destroy(of(machine)->pinned);
    }
}

static uint64_t *cuda_words(machine *machine, size_t count) {
    (void)machine;
    void *allocated = NULL;
    must_cuda(cudaHostAlloc(&allocated, count * sizeof(uint64_t), cudaHostAllocPortable),
              "cudaHostAlloc");
    return allocated;
}

static void cuda_free_words(machine *machine, uint64_t *words) {
    (void)machine;
    must_cuda(cudaFreeHost(words), "cudaFreeHost");
}

static void cuda_begin(machine *machine, kvf_tier *tier, const step *step) {
    cudaStream_t stream = of(machine)->streams[step->lane];
    kvf_error error = {0};
    /* Not for those on their way: these are waited for layer by layer. */
    must(kvf_cuda_wait_slots(tier, step->table, step->landed, false, stream, &error), &error,
         "waiting for blocks to read");
    must(kvf_cuda_wait_slots(tier, step->table + step->written, step->blocks - step->written, true,
                             stream, &error),
         &error, "waiting for blocks to write");
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
    if (step->landing != NULL) {
        must(kvf_cuda_wait_group(step->landing, view->layer, stream, &error), &error,
             "waiting for a layer");
    }
    must_cuda(kernels_layer(&layer, stream), "launching a kernel");
}

/* The engine takes many marks, but not any number: it is given time to see that old ones are over.
 */
static void mark(machine *machine, kvf_tier *tier, const uint64_t *ids, size_t count, bool written,
                 cudaEvent_t event) {
    kvf_error error = {0};
    kvf_status status = kvf_cuda_mark_slots(tier, ids, count, written, event, &error);
    while (status == KVF_ERR_AGAIN) {
        (void)kvf_engine_progress(machine->engine);
        status = kvf_cuda_mark_slots(tier, ids, count, written, event, &error);
    }
    must(status, &error, "marking blocks");
}

static void cuda_end(machine *machine, kvf_tier *tier, const step *step) {
    cudaEvent_t event = of(machine)->events[step->lane];
    must_cuda(cudaEventRecord(event, of(machine)->streams[step->lane]), "cudaEventRecord");
    mark(machine, tier, step->table, step->written, false, event);
    mark(machine, tier, step->table + step->written, step->blocks - step->written, true, event);
}

static bool cuda_done(machine *machine, const step *step) {
    cudaError_t code = cudaEventQuery(of(machine)->events[step->lane]);
    if (code != cudaErrorNotReady) {
        must_cuda(code, "a step");
    }
    return code == cudaSuccess;
}

static void cuda_close(machine *machine) {
    cuda *own = of(machine);
    kvf_engine_destroy(machine->engine);
    for (size_t lane = 0; lane < MOST_LANES && own->streams[lane] != NULL; lane++) {
        must_cuda(cudaEventDestroy(own->events[lane]), "cudaEventDestroy");
        must_cuda(cudaStreamDestroy(own->streams[lane]), "cudaStreamDestroy");
    }
    free(own);
}

static void open_lanes(cuda *own, size_t lanes) {
    must_cuda(cudaSetDevice(own->device), "cudaSetDevice");
    for (size_t lane = 0; lane < lanes; lane++) {
        must_cuda(cudaStreamCreateWithFlags(&own->streams[lane], cudaStreamNonBlocking),
                  "cudaStreamCreateWithFlags");
        must_cuda(cudaEventCreateWithFlags(&own->events[lane], cudaEventDisableTiming),
                  "cudaEventCreateWithFlags");
    }
}

machine *machine_cuda_open(const options *options) {
    kvf_error error = {0};
    const kvf_cuda_options chosen = {
        .device = (int)options->device,
        .max_transfers = options->max_transfers,
        .no_thread = options->no_threads,
    };
    cuda *own = must_have(1, sizeof(*own));
    own->device = (int)options->device;
    own->machine = (machine){
        .near_memory = KVF_MEMORY_DEVICE,
        .far_memory = KVF_MEMORY_PINNED,
        .allocate = cuda_allocate,
        .release = cuda_release,
        .words = cuda_words,
        .free_words = cuda_free_words,
        .begin = cuda_begin,
        .layer = cuda_layer,
        .end = cuda_end,
        .done = cuda_done,
        .close = cuda_close,
    };
    must(kvf_engine_cuda_create(&chosen, &own->machine.engine, &error), &error,
         "opening the engine");
    open_lanes(own, options->lanes);
    return &own->machine;
}
