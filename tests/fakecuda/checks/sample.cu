#ifdef __CUDACC__
#define SAMPLE_REGISTER(kernel) static_assert(true, "")
#else
#include "emulate.hpp"
#define SAMPLE_REGISTER(kernel) FAKECUDA_KERNEL(kernel)
#endif
#define SAMPLE_KERNEL __global__
#include "sample.h"

extern "C" __global__ void sample_gather(const sample_pair *pairs, uint32_t count, uint32_t bytes) {
    for (uint32_t i = blockIdx.x; i < count; i += gridDim.x) {
        const uint4 *src = static_cast<const uint4 *>(pairs[i].src);
        uint4 *dst = static_cast<uint4 *>(pairs[i].dst);
        for (uint32_t at = threadIdx.x; at < bytes / sizeof *src; at += blockDim.x)
            __stcs(dst + at, __ldcs(src + at));
    }
}

extern "C" __global__ void sample_fill(uint32_t *out, uint32_t count, uint32_t value) {
    uint32_t block = blockIdx.y * gridDim.x + blockIdx.x;
    uint32_t threads = blockDim.x * blockDim.y;
    uint32_t i = block * threads + threadIdx.y * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = value + i;
}

SAMPLE_REGISTER(sample_gather);
SAMPLE_REGISTER(sample_fill);
