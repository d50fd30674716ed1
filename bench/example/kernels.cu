#include "kernels.h"

#ifdef __CUDACC__
#define KERNEL_REGISTER(kernel) static_assert(true, "")
#else // on the fake runtime of the tests
#include "emulate.hpp"
#define KERNEL_REGISTER(kernel) FAKECUDA_KERNEL(kernel)
#endif

static const unsigned threads = 64;

static __device__ size_t own_index() {
    return static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// One thread per token.
extern "C" __global__ void kvferry_example_write(kernel_layer layer) {
    const size_t token = layer.first_new + own_index();
    if (token < layer.tokens)
        content_write(&layer.view, layer.table, token, layer.seeds[token - layer.first_new]);
}

// One thread per block.
extern "C" __global__ void kvferry_example_attend(kernel_layer layer) {
    const size_t block = own_index();
    if (block < layer.blocks)
        layer.sums[block] = content_sum(&layer.view, layer.table, block, layer.tokens);
}

KERNEL_REGISTER(kvferry_example_write);
KERNEL_REGISTER(kvferry_example_attend);

static cudaError_t launch(const void *kernel, size_t count, const kernel_layer *layer,
                          cudaStream_t stream) {
    kernel_layer argument = *layer;
    void *arguments[] = {&argument};
    const dim3 grid(static_cast<unsigned>((count + threads - 1) / threads));
    return count == 0 ? cudaSuccess
                      : cudaLaunchKernel(kernel, grid, dim3(threads), arguments, 0, stream);
}

cudaError_t kernels_layer(const kernel_layer *layer, cudaStream_t stream) {
    const cudaError_t code = launch(reinterpret_cast<const void *>(kvferry_example_write),
                                    layer->tokens - layer->first_new, layer, stream);
    return code != cudaSuccess ? code
                               : launch(reinterpret_cast<const void *>(kvferry_example_attend),
                                        layer->blocks, layer, stream);
}
