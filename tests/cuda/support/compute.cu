#ifdef __CUDACC__
#define KVF_KERNEL          extern "C" __global__
#define KVF_EMULATE(kernel) static_assert(true, "")
#else
#include "emulate.hpp"
#define KVF_KERNEL          static
#define KVF_EMULATE(kernel) FAKECUDA_KERNEL(kernel)
#endif
#include "compute.h"

static __device__ void pass_time(unsigned long long ns) {
#ifdef __CUDACC__
    unsigned long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    while (now - start < ns);
#else
    (void)ns;
#endif
}

KVF_KERNEL void kvf_test_compute(compute_work work) {
    pass_time(work.ns);
    for (unsigned i = threadIdx.x; i < work.bytes; i += blockDim.x)
        work.to[i] = work.from ? work.from[i] : work.value;
}

KVF_EMULATE(kvf_test_compute);

#if defined(__CUDACC__) || defined(KVF_NO_NVCC)
cudaError_t compute_enqueue(const compute_work *work, cudaStream_t stream) {
    compute_work copy = *work;
    void *arguments[] = {&copy};
    return cudaLaunchKernel(reinterpret_cast<const void *>(kvf_test_compute), dim3(1), dim3(128),
                            arguments, 0, stream);
}
#endif
