/* Entry points for the host code that nvcc generates from a .cu file, which announces kernels by
 * name and host function and launches <<<>>> through handles. An announced kernel has no body until
 * a test registers one of the same name. The declarations are the toolkit's private ones. */
#include "streams/kernels.h"

static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
} configuration;

static void *binary[1];

FAKE_EXPORT void **__cudaRegisterFatBinary(void *image);
FAKE_EXPORT void __cudaRegisterFatBinaryEnd(void **handle);
FAKE_EXPORT void __cudaUnregisterFatBinary(void **handle);
FAKE_EXPORT char __cudaInitModule(void **handle);
FAKE_EXPORT void __cudaRegisterFunction(void **handle, const char *function, char *device_function,
                                        const char *name, int limit, uint3 *thread, uint3 *block,
                                        dim3 *block_shape, dim3 *grid_shape, int *warp);
FAKE_EXPORT void __cudaRegisterVar(void **handle, char *host, char *device, const char *name,
                                   int external, size_t size, int constant, int global);
FAKE_EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared,
                                                 void *stream);
FAKE_EXPORT cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared,
                                                   void *stream);
FAKE_EXPORT cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *function);
FAKE_EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block,
                                           void **arguments, size_t shared, cudaStream_t stream);

void **__cudaRegisterFatBinary(void *image) {
    (void)image;
    return binary;
}

void __cudaRegisterFatBinaryEnd(void **handle) {
    (void)handle;
}

void __cudaUnregisterFatBinary(void **handle) {
    (void)handle;
}

char __cudaInitModule(void **handle) {
    (void)handle;
    return 1;
}

void __cudaRegisterFunction(void **handle, const char *function, char *device_function,
                            const char *name, int limit, uint3 *thread, uint3 *block,
                            dim3 *block_shape, dim3 *grid_shape, int *warp) {
    (void)handle;
    (void)device_function;
    (void)limit;
    (void)thread;
    (void)block;
    (void)block_shape;
    (void)grid_shape;
    (void)warp;
    fake_lock();
    if (!fake_kernel_of(function))
        fake_kernel_alias(fake_kernel_named(name), function);
    fake_unlock();
}

void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int external,
                       size_t size, int constant, int global) {
    (void)handle;
    (void)host;
    (void)device;
    (void)name;
    (void)external;
    (void)size;
    (void)constant;
    (void)global;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    configuration.grid = grid;
    configuration.block = block;
    configuration.shared = shared;
    configuration.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = configuration.grid;
    *block = configuration.block;
    *shared = configuration.shared;
    *(void **)stream = configuration.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *function) {
    fake_lock();
    *out = (cudaKernel_t)(void *)fake_kernel_of(function);
    fake_unlock();
    return *out ? cudaSuccess : cudaErrorInvalidDeviceFunction;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments,
                               size_t shared, cudaStream_t stream) {
    cudaError_t error = fake_enter("cudaLaunchKernel", 0);
    fakecuda_launch launch = {.grid = grid, .block = block, .shared_bytes = shared};
    if (error == cudaSuccess)
        error = fake_kernel_launch((fake_kernel *)(void *)kernel, &launch, arguments, stream);
    return fake_leave(error);
}
