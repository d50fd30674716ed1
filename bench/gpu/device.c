#include "gpu/device.h"

#include "base/base.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_NS UINT64_C(1000000000)

void must_cuda(cudaError_t code, const char *what) {
    if (code != cudaSuccess)
        fail(EXIT_CHECK, "%s: %s", what, cudaGetErrorString(code));
}

int device_count(void) {
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess)
        fail(EXIT_CHECK, "there is no GPU: %s", cudaGetErrorString(code));
    return count;
}

static void choose(int index) {
    int count = device_count();
    if (index >= count)
        fail(EXIT_USAGE, "--device: there is no GPU %d (expected 0 to %d)", index, count - 1);
    must_cuda(cudaSetDevice(index), "cudaSetDevice");
}

void device_open(device *device, int index) {
    struct cudaDeviceProp properties;
    choose(index);
    must_cuda(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    *device = (struct device){
        .index = index,
        .imitated = dlsym(RTLD_DEFAULT, "fakecuda_reset"),
        .multiprocessors = (unsigned)properties.multiProcessorCount,
    };
    memcpy(device->name, properties.name, sizeof device->name - 1);
    device->hold = device_pinned(sizeof *device->hold);
}

void device_close(device *device) {
    must_cuda(cudaFreeHost(device->hold), "cudaFreeHost");
}

void *device_pinned(size_t bytes) {
    void *memory = NULL;
    must_cuda(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
              "cudaHostAlloc");
    return memory;
}

cudaStream_t device_stream(void) {
    cudaStream_t stream = NULL;
    must_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
              "cudaStreamCreateWithFlags");
    return stream;
}

cudaEvent_t device_event(void) {
    cudaEvent_t event = NULL;
    must_cuda(cudaEventCreate(&event), "cudaEventCreate");
    return event;
}

void device_hold_begin(device *device) {
    __atomic_store_n(&device->hold->timed_out, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&device->hold->released, 0, __ATOMIC_RELEASE);
}

void device_hold(device *device, cudaStream_t stream) {
    must_cuda(kernels_hold(device->hold, HOLD_NS, stream), "holding a stream");
}

void device_hold_end(device *device) {
    __atomic_store_n(&device->hold->released, 1, __ATOMIC_RELEASE);
}

bool device_held(const device *device) {
    return __atomic_load_n(&device->hold->timed_out, __ATOMIC_ACQUIRE) == 0;
}
