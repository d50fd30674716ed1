/* The ordering mistakes that a GPU program can make, which ThreadSanitizer finds on the fake:
 *
 *     cuda_fake_race MISTAKE
 *
 * makes one mistake, or none when MISTAKE is "none". Nothing depends on time: where a slow program
 * would get away with a mistake, fakecuda_settle runs the streams without synchronising. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakecuda.h"
#include "needs.h"
#include "sample.h"

#define BYTES ((size_t)4096)

typedef struct program {
    const char *mistake;
    cudaStream_t a, b;
    cudaEvent_t event;
    char *in, *out, *device;
} program;

static void ok(cudaError_t error) {
    if (error != cudaSuccess) {
        fprintf(stderr, "%s\n", cudaGetErrorName(error));
        exit(3);
    }
}

static bool is(const program *p, const char *mistake) {
    return strcmp(p->mistake, mistake) == 0;
}

static void fill_by_kernel(program *p, cudaStream_t stream) {
    uint32_t count = BYTES / sizeof(uint32_t), value = 7;
    void *arguments[] = {&p->device, &count, &value};
    dim3 grid = {8, 1, 1}, block = {128, 1, 1};
    ok(cudaLaunchKernel(__extension__(const void *) sample_fill, grid, block, arguments, 0,
                        stream));
}

/* in -> device on a; device -> out on b, after an event. */
static void copy_by_two_streams(program *p) {
    ok(cudaMemcpyAsync(p->device, p->in, BYTES, cudaMemcpyHostToDevice, p->a));
    if (is(p, "source-reused"))
        p->in[100] = 9;
    ok(cudaEventRecord(p->event, p->a));
    if (is(p, "no-wait"))
        fakecuda_settle();
    else
        ok(cudaStreamWaitEvent(p->b, p->event, 0));
    ok(cudaMemcpyAsync(p->out, p->device, BYTES, cudaMemcpyDeviceToHost, p->b));
    if (is(p, "read-early")) {
        fakecuda_settle();
        printf("%d\n", p->out[5]);
    }
    if (is(p, "wrong-stream"))
        ok(cudaStreamSynchronize(p->a));
    else if (is(p, "query"))
        while (cudaStreamQuery(p->b) == cudaErrorNotReady)
            fakecuda_settle();
    else
        ok(cudaStreamSynchronize(p->b));
    printf("%d\n", p->out[7]);
    p->in[1] = p->out[1] = 3;
    ok(cudaDeviceSynchronize());
}

/* A kernel writes what a copy reads, and reads what a copy wrote. */
static void copy_after_a_kernel(program *p) {
    fill_by_kernel(p, p->a);
    ok(cudaEventRecord(p->event, p->a));
    if (is(p, "kernel-no-wait"))
        fakecuda_settle();
    else
        ok(cudaStreamWaitEvent(p->b, p->event, 0));
    ok(cudaMemcpyAsync(p->out, p->device, BYTES, cudaMemcpyDeviceToHost, p->b));
    ok(cudaStreamSynchronize(p->b));
    printf("%d\n", p->out[0]);
}

/* A source of order Any may be read before what the stream waits for. */
static void copy_in_any_order(program *p) {
    fakecuda_configure(&(fakecuda_config){.any_early = true});
    bool any = is(p, "any-early");
    struct cudaMemcpyAttributes how = {.srcAccessOrder = any ? cudaMemcpySrcAccessOrderAny
                                                             : cudaMemcpySrcAccessOrderStream};
    void *dsts[] = {p->out};
    const void *srcs[] = {p->device};
    size_t sizes[] = {BYTES}, firsts[] = {0};
    fill_by_kernel(p, p->a);
    ok(cudaEventRecord(p->event, p->a));
    ok(cudaStreamWaitEvent(p->b, p->event, 0));
    fakecuda_settle();
#if CUDART_VERSION >= 13000
    ok(cudaMemcpyBatchAsync(dsts, srcs, sizes, 1, &how, firsts, 1, p->b));
#else
    size_t failing = 0;
    ok(cudaMemcpyBatchAsync(dsts, (void **)srcs, sizes, 1, &how, firsts, 1, &failing, p->b));
#endif
    ok(cudaStreamSynchronize(p->b));
}

/* Work on the legacy stream follows that on blocking streams, without an event. */
static void order_by_the_legacy_stream(program *p) {
    cudaStream_t blocking;
    unsigned flags = is(p, "legacy-non-blocking") ? cudaStreamNonBlocking : cudaStreamDefault;
    ok(cudaStreamCreateWithFlags(&blocking, flags));
    ok(cudaMemcpyAsync(p->device, p->in, BYTES, cudaMemcpyHostToDevice, blocking));
    fakecuda_settle();
    ok(cudaMemcpyAsync(p->out, p->device, BYTES, cudaMemcpyDeviceToHost, NULL));
    fakecuda_settle();
    ok(cudaMemcpyAsync(p->device, p->in, BYTES, cudaMemcpyHostToDevice, blocking));
    ok(cudaStreamSynchronize(blocking));
    ok(cudaStreamSynchronize(NULL));
    ok(cudaStreamDestroy(blocking));
}

/* After a dead context's error nothing runs: memory may be reused. */
static void reuse_memory_after_a_failure(program *p) {
    ok(cudaMemcpyAsync(p->out, p->in, BYTES, cudaMemcpyHostToHost, p->b));
    fakecuda_settle();
    fakecuda_lose_device(0, cudaErrorDevicesUnavailable);
    if (!is(p, "failure-unseen") && cudaStreamSynchronize(p->a) != cudaErrorDevicesUnavailable)
        exit(3);
    p->out[1] = 3;
}

int main(int argc, char **argv) {
    program p = {.mistake = argc > 1 ? argv[1] : "none"};
    if (!needs_fake())
        return NEEDS_SKIPPED;
    ok(cudaStreamCreateWithFlags(&p.a, cudaStreamNonBlocking));
    ok(cudaStreamCreateWithFlags(&p.b, cudaStreamNonBlocking));
    ok(cudaEventCreateWithFlags(&p.event, cudaEventDisableTiming));
    ok(cudaHostAlloc((void **)&p.in, BYTES, 0));
    ok(cudaHostAlloc((void **)&p.out, BYTES, 0));
    ok(cudaMalloc((void **)&p.device, BYTES));
    memset(p.in, 1, BYTES);
    copy_by_two_streams(&p);
    copy_after_a_kernel(&p);
    copy_in_any_order(&p);
    order_by_the_legacy_stream(&p);
    reuse_memory_after_a_failure(&p);
    (void)cudaFree(p.device);
    (void)cudaFreeHost(p.in);
    (void)cudaFreeHost(p.out);
    (void)cudaEventDestroy(p.event);
    (void)cudaStreamDestroy(p.a);
    (void)cudaStreamDestroy(p.b);
    return fakecuda_reset() == 0 ? 0 : 4;
}
