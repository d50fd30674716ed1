/* Kernels with which a driver is asked, as functions that put them into a stream. */
#ifndef KVF_TEST_GPU_KERNELS_H
#define KVF_TEST_GPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Holds the stream until `*flag`, in pinned memory, is set, but no longer than that. */
cudaError_t gpu_hold(const unsigned *flag, uint64_t most_ns, cudaStream_t stream);

/* One that does nothing, with parameters of 0, 4,000 or 32,000 bytes. */
cudaError_t gpu_nothing(size_t parameter_bytes, cudaStream_t stream);

/* Another one that does nothing. */
cudaError_t gpu_other(cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
