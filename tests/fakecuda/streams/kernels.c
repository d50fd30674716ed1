/* Kernels: their bodies on the CPU, by name and by the host function that launches them. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#define PARAMETERS_MAX 32764u /* bytes */
#define BLOCKS_MAX     32     /* on a multiprocessor at once */
#define REGISTERS      32     /* per thread of every kernel */

static fake_kernel *kernels;
static uint64_t loads; /* at launches */

fake_kernel *fake_kernel_named(const char *name) {
    fake_kernel *kernel = kernels;
    while (kernel && strcmp(kernel->name, name) != 0)
        kernel = kernel->next;
    if (kernel)
        return kernel;
    kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        abort();
    kernel->name = strdup(name);
    kernel->next = kernels;
    kernels = kernel;
    return kernel;
}

void fake_kernel_alias(fake_kernel *kernel, const void *function) {
    if (kernel->function_count == sizeof kernel->functions / sizeof *kernel->functions)
        abort();
    kernel->functions[kernel->function_count++] = function;
}

fake_kernel *fake_kernel_of(const void *function) {
    for (fake_kernel *kernel = kernels; kernel; kernel = kernel->next) {
        for (size_t i = 0; i < kernel->function_count; i++)
            if (kernel->functions[i] == function)
                return kernel;
    }
    return NULL;
}

FAKE_EXPORT void fakecuda_kernel(const void *function, const char *name, fakecuda_body body,
                                 const size_t *sizes, size_t count) {
    fake_lock();
    fake_kernel *kernel = fake_kernel_named(name);
    if (function && fake_kernel_of(function) != kernel)
        fake_kernel_alias(kernel, function);
    if (count > FAKE_ARGUMENTS)
        abort();
    kernel->body = body;
    kernel->count = count;
    memcpy(kernel->sizes, sizes, count * sizeof *sizes);
    fake_unlock();
}

/* ---- launching ---- */

static bool shape_valid(const fakecuda_launch *launch) {
    const dim3 *grid = &launch->grid, *block = &launch->block;
    size_t threads = (size_t)block->x * block->y * block->z;
    return grid->x > 0 && grid->x <= 2147483647u && grid->y > 0 && grid->y <= 65535 &&
           grid->z > 0 && grid->z <= 65535 && threads > 0 && block->x <= 1024 && block->y <= 1024 &&
           block->z <= 64 && threads <= (size_t)fake_attribute(cudaDevAttrMaxThreadsPerBlock) &&
           launch->shared_bytes <= (size_t)fake_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
}

static size_t aligned(size_t size) {
    return (size + 15) / 16 * 16;
}

/* One allocation: the pointers, then the values they point to. NULL when too large. */
static void **keep_arguments(const fake_kernel *kernel, void **arguments) {
    size_t pointers = aligned(kernel->count * sizeof *arguments), bytes = 0;
    for (size_t i = 0; i < kernel->count; i++)
        bytes += aligned(kernel->sizes[i]);
    if (bytes > PARAMETERS_MAX)
        return NULL;
    char *block = malloc(pointers + bytes + 1);
    if (!block)
        abort();
    void **kept = (void **)(void *)block;
    char *at = block + pointers;
    for (size_t i = 0; i < kernel->count; at += aligned(kernel->sizes[i++])) {
        memcpy(at, arguments[i], kernel->sizes[i]);
        kept[i] = at;
    }
    return kept;
}

static void load(fake_kernel *kernel, int device) {
    loads += !kernel->loaded[device];
    kernel->loaded[device] = true;
}

FAKE_EXPORT uint64_t fakecuda_loads(void) {
    fake_lock();
    uint64_t count = loads;
    fake_unlock();
    return count;
}

void fake_kernels_reset(void) {
    for (fake_kernel *kernel = kernels; kernel; kernel = kernel->next)
        memset(kernel->loaded, 0, sizeof kernel->loaded);
    loads = 0;
}

/* Unlike copies, kernels require a stream of the current device. */
static cudaError_t launch_on(fake_kernel *kernel, const fakecuda_launch *launch, void **arguments,
                             fake_stream *stream) {
    if (stream->device != fake_self()->device)
        return cudaErrorInvalidResourceHandle;
    if (!shape_valid(launch))
        return cudaErrorInvalidConfiguration;
    void **kept = keep_arguments(kernel, arguments);
    if (!kept)
        return cudaErrorInvalidValue;
    load(kernel, stream->device);
    fake_op *op = fake_op_make(FAKECUDA_KERNEL);
    op->launch = *launch;
    op->launch.shuffle = fake_config()->shuffle ? fake_config()->shuffle + fake_call_number() : 0;
    op->body = kernel->body;
    op->arguments = kept;
    return fake_submit(stream, op);
}

cudaError_t fake_kernel_launch(fake_kernel *kernel, const fakecuda_launch *launch, void **arguments,
                               cudaStream_t handle) {
    if (!kernel || !kernel->body) {
        fake_violation("%s: the kernel %s has no body on the fake", fake_function(),
                       kernel ? kernel->name : "");
        return cudaErrorInvalidDeviceFunction;
    }
    if (!arguments && kernel->count > 0)
        return cudaErrorInvalidValue;
    fake_stream *stream = NULL;
    cudaError_t error = fake_stream_find(handle, &stream);
    return error != cudaSuccess ? error : launch_on(kernel, launch, arguments, stream);
}

FAKE_EXPORT cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block,
                                         void **arguments, size_t shared, cudaStream_t stream) {
    cudaError_t error = fake_enter("cudaLaunchKernel", 0);
    fakecuda_launch launch = {.grid = grid, .block = block, .shared_bytes = shared};
    if (error == cudaSuccess)
        error = fake_kernel_launch(fake_kernel_of(function), &launch, arguments, stream);
    return fake_leave(error);
}

/* Launch attributes (priority, clusters, ...) are ignored. */
FAKE_EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function,
                                            void **arguments) {
    cudaError_t error = fake_enter("cudaLaunchKernelExC", 0);
    if (error == cudaSuccess && (!config || (config->numAttrs > 0 && !config->attrs)))
        error = cudaErrorInvalidValue;
    if (error != cudaSuccess)
        return fake_leave(error);
    fakecuda_launch launch = {.grid = config->gridDim,
                              .block = config->blockDim,
                              .shared_bytes = config->dynamicSmemBytes};
    return fake_leave(
        fake_kernel_launch(fake_kernel_of(function), &launch, arguments, config->stream));
}

/* ---- queries ---- */

FAKE_EXPORT cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out,
                                              const void *function) {
    cudaError_t error = fake_enter("cudaFuncGetAttributes", 0);
    if (error == cudaSuccess && !out)
        error = cudaErrorInvalidValue;
    fake_kernel *kernel = fake_kernel_of(function);
    if (error == cudaSuccess && !kernel)
        error = cudaErrorInvalidDeviceFunction;
    if (error != cudaSuccess)
        return fake_leave(error);
    kernel->loaded[fake_self()->device] = true;
    memset(out, 0, sizeof *out);
    out->maxThreadsPerBlock = fake_attribute(cudaDevAttrMaxThreadsPerBlock);
    out->numRegs = REGISTERS;
    out->binaryVersion = fake_attribute(cudaDevAttrComputeCapabilityMajor) * 10;
    out->ptxVersion = out->binaryVersion;
    out->maxDynamicSharedSizeBytes = fake_attribute(cudaDevAttrMaxSharedMemoryPerBlock);
    return fake_leave(cudaSuccess);
}

FAKE_EXPORT cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute,
                                             int value) {
    cudaError_t error = fake_enter("cudaFuncSetAttribute", 0);
    if (error == cudaSuccess && !fake_kernel_of(function))
        error = cudaErrorInvalidDeviceFunction;
    bool dynamic = attribute == cudaFuncAttributeMaxDynamicSharedMemorySize;
    if (error == cudaSuccess && dynamic &&
        (value < 0 || value > fake_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)))
        error = cudaErrorInvalidValue;
    return fake_leave(error);
}

static int occupancy(int block, size_t shared) {
    int warps = (block + 31) / 32;
    int fit = fake_attribute(cudaDevAttrMaxThreadsPerMultiProcessor) / (32 * warps);
    size_t memory = (size_t)fake_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    if (shared > 0 && memory / shared < (size_t)fit)
        fit = (int)(memory / shared);
    return fit < BLOCKS_MAX ? fit : BLOCKS_MAX;
}

FAKE_EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *out,
                                                                      const void *function,
                                                                      int block, size_t shared) {
    cudaError_t error = fake_enter("cudaOccupancyMaxActiveBlocksPerMultiprocessor", 0);
    if (error == cudaSuccess && (!out || block <= 0))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && !fake_kernel_of(function))
        error = cudaErrorInvalidDeviceFunction;
    if (error == cudaSuccess)
        *out = occupancy(block, shared);
    return fake_leave(error);
}
