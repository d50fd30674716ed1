/* Kernels for the questions to the driver, as functions that enqueue them. */
#ifndef KVF_TEST_GPU_KERNELS_H
#define KVF_TEST_GPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Holds the stream until `*flag`, in pinned memory, is set, or for the given time. */
cudaError_t gpu_hold(const unsigned *flag, uint64_t most_ns, cudaStream_t stream);

/* An empty kernel with 0, 4,000 or 32,000 bytes of parameters. */
cudaError_t gpu_nothing(size_t parameter_bytes, cudaStream_t stream);

/* Another empty kernel. */
cudaError_t gpu_other(cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
