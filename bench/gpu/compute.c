#include "gpu/compute.h"

#include "gpu/matmul.h"
#include "base/base.h"

#include <stdlib.h>

/* The tool's own kernel keeps every multiprocessor busy for far longer than a launch takes. */
enum { NUMBERS_A_PROCESSOR = 8192, ROUNDS = 16384, BLOCKS_A_PROCESSOR = 8 };

/* A stream holds some 1,000 entries; then queueing blocks. */
enum { MOST_UNITS = 256 };

struct compute {
    const device *device;
    cudaStream_t stream;
    cudaEvent_t begin, end;
    matmul *matmul; /* NULL: the tool's own kernel */
    float *numbers;
    size_t count;
    unsigned rounds;
};

/* A fake GPU computes on the CPU: less work there. */
static void open_own(compute *compute) {
    compute->count = compute->device->imitated
                         ? 1024
                         : (size_t)compute->device->multiprocessors * NUMBERS_A_PROCESSOR;
    compute->rounds = compute->device->imitated ? 64 : ROUNDS;
    size_t bytes = compute->count * sizeof *compute->numbers;
    must_cuda(cudaMalloc((void **)&compute->numbers, bytes), "cudaMalloc");
    must_cuda(cudaMemset(compute->numbers, 0, bytes), "cudaMemset");
}

compute *compute_open(const device *device) {
    compute *opened = must_grow(NULL, 1, sizeof *opened);
    *opened = (compute){.device = device, .stream = device_stream()};
    opened->begin = device_event();
    opened->end = device_event();
    opened->matmul = device->imitated ? NULL : matmul_open(opened->stream);
    if (!opened->matmul)
        open_own(opened);
    must_cuda(cudaDeviceSynchronize(), "preparing a computation");
    return opened;
}

void compute_close(compute *compute) {
    if (compute->matmul)
        matmul_close(compute->matmul);
    must_cuda(cudaFree(compute->numbers), "cudaFree");
    must_cuda(cudaEventDestroy(compute->begin), "cudaEventDestroy");
    must_cuda(cudaEventDestroy(compute->end), "cudaEventDestroy");
    must_cuda(cudaStreamDestroy(compute->stream), "cudaStreamDestroy");
    free(compute);
}

const char *compute_name(const compute *compute) {
    return compute->matmul ? MATMUL_NAME : "multiply-add kernel";
}

static void enqueue(compute *compute) {
    if (compute->matmul) {
        matmul_enqueue(compute->matmul);
        return;
    }
    must_cuda(kernels_compute(compute->numbers, compute->count, compute->rounds,
                              compute->device->multiprocessors * BLOCKS_A_PROCESSOR,
                              compute->stream),
              "starting a computation");
}

void compute_begin(compute *compute, size_t units) {
    size_t count = units < MOST_UNITS ? units : MOST_UNITS;
    must_cuda(cudaEventRecord(compute->begin, compute->stream), "cudaEventRecord");
    for (size_t i = 0; i < count; i++)
        enqueue(compute);
    must_cuda(cudaEventRecord(compute->end, compute->stream), "cudaEventRecord");
}

bool compute_running(const compute *compute) {
    cudaError_t code = cudaEventQuery(compute->end);
    if (code != cudaErrorNotReady)
        must_cuda(code, "computing");
    return code == cudaErrorNotReady;
}

double compute_end(compute *compute) {
    float ms = 0;
    must_cuda(cudaEventSynchronize(compute->end), "computing");
    must_cuda(cudaEventElapsedTime(&ms, compute->begin, compute->end), "cudaEventElapsedTime");
    return (double)ms * 1e6;
}
