/* How long calls take, and what they wait for. */
#include "driver.h"

#include "output/measure.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 100, ROWS = 64, STREAMS = 32, BATCH = 4096 };

/* The objects that the timed calls use. */
typedef struct scene {
    cudaStream_t stream, other;
    cudaEvent_t event;
    char *device, *host;
    batch batch;
} scene;

static scene make_scene(void) {
    int usual = 0, highest = 0;
    priorities(&usual, &highest);
    return (scene){.stream = new_stream(highest),
                   .other = new_stream(highest),
                   .event = new_event(),
                   .device = device_memory(64 << 20),
                   .host = pinned_memory(32 << 20)};
}

typedef cudaError_t timed_call(scene *s);

static cudaError_t get_device(scene *s) {
    int device = 0;
    (void)s;
    return cudaGetDevice(&device);
}

static cudaError_t set_device(scene *s) {
    (void)s;
    return cudaSetDevice(0);
}

static cudaError_t exchange_twice(scene *s) {
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    (void)s;
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    return cudaThreadExchangeStreamCaptureMode(&mode);
}

static cudaError_t record(scene *s) {
    return cudaEventRecord(s->event, s->stream);
}

static cudaError_t wait_for_event(scene *s) {
    return cudaStreamWaitEvent(s->other, s->event, 0);
}

static cudaError_t query(scene *s) {
    return cudaEventQuery(s->event);
}

static cudaError_t make_event(scene *s) {
    (void)s;
    return cudaEventDestroy(new_event());
}

static cudaError_t launch(scene *s) {
    return gpu_nothing(0, s->stream);
}

static cudaError_t launch_4000(scene *s) {
    return gpu_nothing(4000, s->stream);
}

static cudaError_t launch_32000(scene *s) {
    return gpu_nothing(32000, s->stream);
}

static cudaError_t copy(scene *s) {
    return cudaMemcpyAsync(s->device, s->host, 4096, cudaMemcpyHostToDevice, s->stream);
}

static cudaError_t copy_rows(scene *s) {
    return cudaMemcpy2DAsync(s->device, 8192, s->host, 4096, 4096, ROWS, cudaMemcpyHostToDevice,
                             s->stream);
}

static cudaError_t copy_batch(scene *s) {
    size_t failed = 0;
    return submit_batch(&s->batch, s->stream, &failed) == CUDA_SUCCESS ? cudaSuccess
                                                                       : cudaErrorUnknown;
}

static cudaError_t record_and_wait(scene *s) {
    const cudaError_t code = record(s);
    return code == cudaSuccess ? cudaStreamWaitEvent(s->stream, s->event, 0) : code;
}

/* Spins until an event recorded after the work has fired. */
static cudaError_t until_done(scene *s, timed_call *first) {
    cudaError_t code = first(s);
    if (code == cudaSuccess)
        code = record(s);
    while (code == cudaSuccess && (code = cudaEventQuery(s->event)) == cudaErrorNotReady)
        code = cudaSuccess;
    return code;
}

static cudaError_t launch_until_done(scene *s) {
    return until_done(s, launch);
}

static cudaError_t copy_until_done(scene *s) {
    return until_done(s, copy);
}

/* The median of calls into streams that start empty and are never full. */
static double median_us(scene *s, timed_call *call) {
    double us[CALLS];
    TRY(call(s));
    TRY(cudaDeviceSynchronize());
    for (int i = 0; i < CALLS; i++) {
        const double begin = now_us();
        TRY(call(s));
        us[i] = now_us() - begin;
    }
    TRY(cudaDeviceSynchronize());
    return median(us, CALLS);
}

void ask_call_costs(void) {
    static const struct {
        const char *name;
        timed_call *call;
    } calls[] = {
        {"cudaGetDevice", get_device},
        {"cudaSetDevice, the same", set_device},
        {"cudaThreadExchangeStreamCaptureMode, twice", exchange_twice},
        {"cudaEventRecord", record},
        {"cudaStreamWaitEvent", wait_for_event},
        {"cudaEventQuery", query},
        {"creating and destroying an event", make_event},
        {"a launch", launch},
        {"a launch with 4,000 bytes of parameters", launch_4000},
        {"a launch with 32,000 bytes of parameters", launch_32000},
        {"cudaMemcpyAsync of 4 KiB", copy},
        {"cudaMemcpy2DAsync of 64 rows of 4 KiB", copy_rows},
        {"a launch until its event has fired", launch_until_done},
        {"a copy of 4 KiB until its event has fired", copy_until_done},
    };
    scene s = make_scene();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        printf("    %s: %.2f us\n", calls[i].name, median_us(&s, calls[i].call));
}

/* During a kernel that spins for at most 200 ms, or while the GPU is idle. */
static void ask_allocations(scene *s, bool busy) {
    if (busy)
        hold(s->stream, 200);
    const double begin = now_us();
    char *device = device_memory(8 << 20);
    const double allocated = now_us();
    char *pinned = pinned_memory(4 << 20);
    const double pinned_at = now_us();
    TRY(cudaFree(device));
    const double freed = now_us();
    TRY(cudaFreeHost(pinned));
    printf("    %s: cudaMalloc of 8 MiB %.0f us, cudaHostAlloc of 4 MiB %.0f us, cudaFree %.0f us, "
           "cudaFreeHost %.0f us\n",
           busy ? "during a kernel of 200 ms" : "idle", allocated - begin, pinned_at - allocated,
           freed - pinned_at, now_us() - freed);
    if (busy)
        release();
    TRY(cudaDeviceSynchronize());
}

void ask_allocation_costs(void) {
    scene s = make_scene();
    int usual = 0, highest = 0;
    priorities(&usual, &highest);
    ask_allocations(&s, false);
    ask_allocations(&s, true);
    const double begin = now_us();
    (void)new_stream(highest);
    const double made = now_us();
    for (int i = 0; i < 256; i++)
        (void)new_event();
    printf("    a stream %.0f us, 256 events %.0f us\n", made - begin, now_us() - made);
}

/* Calls into a held stream, until one takes long or the hold has ended. */
static void fill_stream(const char *name, timed_call *call, int most_calls, double blocked_us) {
    enum { MOST_MS = 400 };
    scene s = make_scene();
    double worst = 0;
    int calls = 0;
    s.batch = make_batch(s.device, 8192, s.host, 4096, BATCH, true);
    TRY(call(&s)); /* loads whatever a first call loads */
    TRY(cudaStreamSynchronize(s.stream));
    hold(s.stream, MOST_MS);
    const double begin = now_us();
    while (calls < most_calls && worst < blocked_us && now_us() - begin < MOST_MS * 1e3) {
        const double called = now_us();
        TRY(call(&s));
        const double us = now_us() - called;
        worst = us > worst ? us : worst;
        calls++;
    }
    printf("    %s: %d calls, the slowest took %.0f us%s\n", name, calls, worst,
           worst < blocked_us ? "" : ", the last one");
    release();
    TRY(cudaStreamSynchronize(s.stream));
    free_batch(&s.batch);
    TRY(cudaFree(s.device));
    TRY(cudaFreeHost(s.host));
}

void ask_queue_depth(void) {
    const int most = tiny ? 2000 : 20000;
    fill_stream("cudaMemcpyAsync", copy, most, 20e3);
    fill_stream("cudaMemcpy2DAsync of 64 rows", copy_rows, most, 20e3);
    fill_stream("launch", launch, most, 20e3);
    fill_stream("launch with 32,000 bytes of parameters", launch_32000, most, 20e3);
    fill_stream("record and wait", record_and_wait, most, 20e3);
    fill_stream("batch of 4096 copies", copy_batch, 64, 50e3);
}

/* One of many streams waits for an event after a kernel of 20 ms. Counts the other streams whose
 * work is not done 5 ms later. */
static int count_held_up(cudaStream_t *streams, scene *s, timed_call *work) {
    cudaStream_t held = new_stream(0);
    cudaEvent_t events[STREAMS] = {NULL}, gate = new_event();
    int held_up = 0;
    for (int i = 1; i < STREAMS; i++)
        events[i] = new_event();
    hold(held, 20);
    TRY(cudaEventRecord(gate, held));
    TRY(cudaStreamWaitEvent(streams[0], gate, 0));
    for (int i = 1; i < STREAMS; i++) {
        s->stream = streams[i];
        TRY(work(s));
        TRY(cudaEventRecord(events[i], streams[i]));
    }
    for (const double begin = now_us(); now_us() - begin < 5e3;)
        ;
    for (int i = 1; i < STREAMS; i++)
        held_up += cudaEventQuery(events[i]) == cudaErrorNotReady;
    (void)cudaGetLastError();
    release();
    TRY(cudaDeviceSynchronize());
    return held_up;
}

void ask_shared_queues(void) {
    int of[2] = {0, 0};
    scene s = make_scene();
    priorities(&of[0], &of[1]);
    for (int p = 0; p < 2; p++) {
        cudaStream_t streams[STREAMS];
        for (int i = 0; i < STREAMS; i++) {
            s.stream = streams[i] = new_stream(of[p]);
            TRY(launch(&s));
            TRY(copy(&s));
        }
        TRY(cudaDeviceSynchronize());
        printf("    priority %d: %d of %d streams held up with kernels", of[p],
               count_held_up(streams, &s, launch), STREAMS - 1);
        printf(", %d with copies\n", count_held_up(streams, &s, copy));
    }
}
