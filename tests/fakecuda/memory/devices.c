/* Devices, their attributes, and their contexts, which can end. */
#include "fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct context {
    bool made;
    cudaError_t dead;
    unsigned busy; /* operations that touch memory right now */
    pthread_cond_t quiet;
    bool peer[FAKECUDA_DEVICES];
    char edge; /* released by every operation executed here */
} context;

typedef struct attribute {
    enum cudaDeviceAttr name;
    int value;
} attribute;

static context contexts[FAKECUDA_DEVICES];

/* Roughly those of an H200. */
static const attribute usual[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxGridDimX, 2147483647},
    {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 233472},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxPitch, 2147483647},
    {cudaDevAttrMultiProcessorCount, 132},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrAsyncEngineCount, 3},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrCanMapHostMemory, 1},
    {cudaDevAttrHostRegisterSupported, 1},
    {cudaDevAttrCanUseHostPointerForRegisteredMem, 1},
    {cudaDevAttrComputeCapabilityMajor, 9},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrStreamPrioritiesSupported, 1},
    {cudaDevAttrConcurrentKernels, 1},
    {cudaDevAttrL2CacheSize, 62914560},
};

static attribute changed[32];
static size_t changed_count;

FAKE_EXPORT void fakecuda_set_attribute(enum cudaDeviceAttr name, int value) {
    fake_lock();
    size_t i = 0;
    while (i < changed_count && changed[i].name != name)
        i++;
    if (i < sizeof changed / sizeof *changed) {
        changed[i] = (attribute){name, value};
        changed_count += i == changed_count;
    }
    fake_unlock();
}

int fake_attribute(enum cudaDeviceAttr name) {
    for (size_t i = 0; i < changed_count; i++)
        if (changed[i].name == name)
            return changed[i].value;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (usual[i].name == name)
            return usual[i].value;
    return 0;
}

bool fake_device_valid(int device) {
    return device >= 0 && device < fake_devices();
}

/* ---- contexts ---- */

void fake_context_make(int device) {
    contexts[device].made = true;
}

FAKE_EXPORT bool fakecuda_has_context(int device) {
    fake_lock();
    bool made = fake_device_valid(device) && contexts[device].made;
    fake_unlock();
    return made;
}

cudaError_t fake_context_error(int device) {
    context *self = &contexts[device];
    if (self->dead == cudaSuccess)
        return cudaSuccess;
    while (self->busy > 0)
        fake_wait(&self->quiet, "the last operations of a dead context");
    fake_acquire(&self->edge);
    return self->dead;
}

bool fake_context_dead(int device) {
    return contexts[device].dead != cudaSuccess;
}

void fake_context_kill(int device, cudaError_t error) {
    if (contexts[device].dead != cudaSuccess)
        return;
    contexts[device].dead = error;
    for (fake_stream *stream = fake_streams_first(); stream; stream = stream->next) {
        pthread_cond_broadcast(&stream->work); /* holds end */
        pthread_cond_broadcast(&stream->done);
    }
}

void fake_context_busy(int device) {
    contexts[device].busy++;
}

void fake_context_executed(int device) {
    fake_release(&contexts[device].edge);
}

void fake_context_idle(int device) {
    fake_context_executed(device);
    if (--contexts[device].busy == 0)
        pthread_cond_broadcast(&contexts[device].quiet);
}

FAKE_EXPORT void fakecuda_lose_device(int device, cudaError_t error) {
    fake_lock();
    fake_context_kill(device, error);
    fake_unlock();
}

void fake_devices_reset(void) {
    for (size_t i = 0; i < FAKECUDA_DEVICES; i++)
        contexts[i] = (context){.quiet = PTHREAD_COND_INITIALIZER};
    changed_count = 0;
}

/* ---- the calls ---- */

FAKE_EXPORT cudaError_t cudaGetDeviceCount(int *count) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (!count)
        return fake_leave(fake_first(error, cudaErrorInvalidValue));
    *count = error == cudaSuccess ? fake_devices() : 0;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaSetDevice(int device) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !fake_device_valid(device))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess) {
        fake_self()->device = device;
        fake_context_make(device);
    }
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaGetDevice(int *device) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !device)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *device = fake_self()->device;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr name, int device) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !value)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && !fake_device_valid(device))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        *value = fake_attribute(name);
    return fake_leave(error);
}

static void describe(struct cudaDeviceProp *out, int device) {
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "Fake GPU %d", device);
    memcpy(out->uuid.bytes, "fakecuda", 8);
    out->uuid.bytes[15] = (char)device;
    out->totalGlobalMem = fake_device_bytes();
    out->major = fake_attribute(cudaDevAttrComputeCapabilityMajor);
    out->minor = fake_attribute(cudaDevAttrComputeCapabilityMinor);
    out->multiProcessorCount = fake_attribute(cudaDevAttrMultiProcessorCount);
    out->asyncEngineCount = fake_attribute(cudaDevAttrAsyncEngineCount);
    out->maxThreadsPerBlock = fake_attribute(cudaDevAttrMaxThreadsPerBlock);
    out->warpSize = fake_attribute(cudaDevAttrWarpSize);
    out->memPitch = (size_t)fake_attribute(cudaDevAttrMaxPitch);
    out->unifiedAddressing = fake_attribute(cudaDevAttrUnifiedAddressing);
    out->canMapHostMemory = fake_attribute(cudaDevAttrCanMapHostMemory);
    out->hostRegisterSupported = fake_attribute(cudaDevAttrHostRegisterSupported);
    out->canUseHostPointerForRegisteredMem =
        fake_attribute(cudaDevAttrCanUseHostPointerForRegisteredMem);
    out->pciBusID = device + 1;
}

FAKE_EXPORT cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device) {
    cudaError_t error = fake_enter("cudaGetDeviceProperties", FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !out)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && !fake_device_valid(device))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        describe(out, device);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !fake_device_valid(device))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess && (!text || size < 13))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        snprintf(text, (size_t)size, "0000:%02X:00.0", (unsigned)device + 1);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *text) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    const char *bus = text ? strchr(text, ':') : NULL;
    int found = bus ? (int)strtol(bus + 1, NULL, 16) - 1 : -1;
    if (error == cudaSuccess && (!device || !bus))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && !fake_device_valid(found))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        *device = found;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && least)
        *least = 0;
    if (error == cudaSuccess && greatest)
        *greatest = -5;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceSynchronize(void) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    int device = fake_self()->device;
    if (error == cudaSuccess)
        error = fake_capture_synchronize_device(device);
    if (error == cudaSuccess) {
        fake_synchronize(device);
        error = fake_context_error(device);
    }
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaRuntimeGetVersion(int *version) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_DEVICE | FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !version)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *version = fake_config()->runtime_version ? fake_config()->runtime_version : CUDART_VERSION;
    return fake_leave(error);
}

/* The version is 0 when there is no driver. */
FAKE_EXPORT cudaError_t cudaDriverGetVersion(int *version) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_DEVICE | FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !version)
        error = cudaErrorInvalidValue;
    bool none = fake_config()->no_device == cudaErrorInsufficientDriver;
    if (error == cudaSuccess)
        *version = none && !fake_config()->driver_version ? 0 : fake_driver_version();
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && !can)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && (!fake_device_valid(device) || !fake_device_valid(peer)))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        *can = device != peer;
    return fake_leave(error);
}

static cudaError_t set_peer(int peer, bool on) {
    int device = fake_self()->device;
    if (!fake_device_valid(peer) || peer == device)
        return cudaErrorInvalidDevice;
    if (contexts[device].peer[peer] == on)
        return on ? cudaErrorPeerAccessAlreadyEnabled : cudaErrorPeerAccessNotEnabled;
    contexts[device].peer[peer] = on;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess)
        error = flags ? cudaErrorInvalidValue : set_peer(peer, true);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaDeviceDisablePeerAccess(int peer) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess)
        error = set_peer(peer, false);
    return fake_leave(error);
}
