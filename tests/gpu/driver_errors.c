/* What calls return when something fails or is not ready. */
#include "driver.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 64, PIECE = 4096 };

void ask_lazy_loading(void) {
    const double most_ms = 300;
    cudaStream_t held = new_stream(0), other = new_stream(0);
    hold(held, most_ms); /* never released */
    const double begin = now_us();
    TRY(gpu_other(other));
    printf("    the launch took %.0f us; waiting for the kernel would take about %.0f\n",
           now_us() - begin, most_ms * 1e3);
    TRY(cudaDeviceSynchronize());
}

void ask_last_error(void) {
    cudaStream_t stream = new_stream(0);
    cudaEvent_t event = new_event();
    hold(stream, 200);
    TRY(cudaEventRecord(event, stream));
    const cudaError_t own = cudaSetDevice(1000);
    cudaError_t asked = cudaEventQuery(event);
    printf("    after an application error (%s) the query returns %s, the last error is %s\n",
           cudaGetErrorName(own), cudaGetErrorName(asked), cudaGetErrorName(cudaGetLastError()));
    asked = cudaEventQuery(event);
    printf("    without an earlier error the query returns %s, the last error is %s\n",
           cudaGetErrorName(asked), cudaGetErrorName(cudaGetLastError()));
    release();
    TRY(cudaStreamSynchronize(stream));
}

static void ask_captured_event(cudaStream_t stream) {
    cudaEvent_t event = new_event();
    cudaGraph_t graph = NULL;
    TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    TRY(cudaEventRecord(event, stream));
    const cudaError_t first = cudaEventQuery(event), second = cudaEventQuery(event);
    const cudaError_t end = cudaStreamEndCapture(stream, &graph);
    printf("    query of a captured event: %s, again: %s, end of the capture: %s\n",
           cudaGetErrorName(first), cudaGetErrorName(second), cudaGetErrorName(end));
    (void)cudaGetLastError();
}

void ask_capture(void) {
    cudaStream_t stream = new_stream(0);
    cudaGraph_t graph = NULL;
    void *device = NULL, *pinned = NULL;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    ask_captured_event(stream);
    TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    TRY(cudaThreadExchangeStreamCaptureMode(&mode));
    const cudaError_t one = cudaMalloc(&device, 8 << 20);
    const cudaError_t two = cudaHostAlloc(&pinned, 4 << 20, cudaHostAllocDefault);
    (void)new_stream(0);
    TRY(cudaThreadExchangeStreamCaptureMode(&mode));
    const cudaError_t end = cudaStreamEndCapture(stream, &graph);
    printf("    in relaxed mode: cudaMalloc %s, cudaHostAlloc %s, end of the capture: %s\n",
           cudaGetErrorName(one), cudaGetErrorName(two), cudaGetErrorName(end));
}

/* Counts the copies that ran of a batch whose last copy is invalid. */
static void ask_batch(const char *what, void (*spoil)(batch *b)) {
    char *device = device_memory((size_t)COPIES * PIECE), *back = malloc((size_t)COPIES * PIECE);
    char *host = pinned_memory((size_t)COPIES * PIECE);
    cudaStream_t stream = new_stream(0);
    size_t failed = 0, ran = 0;
    if (!back || !device || !host)
        abort();
    memset(host, 7, (size_t)COPIES * PIECE);
    TRY(cudaMemset(device, 0, (size_t)COPIES * PIECE));
    TRY(cudaDeviceSynchronize());
    batch b = make_batch(device, PIECE, host, PIECE, COPIES, true);
    spoil(&b);
    const CUresult code = submit_batch(&b, stream, &failed);
    const cudaError_t end = cudaStreamSynchronize(stream);
    (void)cudaGetLastError();
    if (TRY(cudaMemcpy(back, device, (size_t)COPIES * PIECE, cudaMemcpyDeviceToHost)))
        for (size_t i = 0; i + 1 < COPIES; i++)
            ran += back[i * PIECE] == 7;
    printf("    last copy %s: CUresult %d, names copy %td, stream %s, %zu of %d valid copies ran\n",
           what, (int)code, (ptrdiff_t)failed, cudaGetErrorName(end), ran, COPIES - 1);
    free_batch(&b);
    free(back);
}

static void make_last_empty(batch *b) {
    b->sizes[b->count - 1] = 0;
}

typedef CUresult reserve_fn(CUdeviceptr *out, size_t size, size_t alignment, CUdeviceptr address,
                            unsigned long long flags);

/* Reserved addresses without memory. */
static CUdeviceptr reserved;

static void aim_last_at_nothing(batch *b) {
    b->dsts[b->count - 1] = reserved;
}

/* Asked last, as it may end the context. */
void ask_bad_batch(void) {
    reserve_fn *reserve = NULL;
    *(void **)&reserve = driver_function("cuMemAddressReserve", 10020);
    ask_batch("of 0 bytes", make_last_empty);
    if (reserve && reserve(&reserved, 2 << 20, 0, 0, 0) == CUDA_SUCCESS)
        ask_batch("to unmapped addresses", aim_last_at_nothing);
    else
        puts("    no cuMemAddressReserve: unmapped addresses not tried");
}
