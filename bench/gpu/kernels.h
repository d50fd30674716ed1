/* The tool's own kernels, as functions that enqueue them in a stream. */
#ifndef KVF_BENCH_KERNELS_H
#define KVF_BENCH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of every block: `bytes` bytes at base + id * stride. */
typedef struct kernel_piece {
    char *base;
    size_t stride, bytes;
} kernel_piece;

/* Blocks of `piece_count` pieces each. The device must reach all pointers. */
typedef struct kernel_blocks {
    const kernel_piece *pieces;
    const uint64_t *ids, *seeds;
    unsigned char *wrong; /* kernels_check sets a block's entry to 1 if any byte is wrong */
    uint32_t piece_count;
    uint32_t block_count;
} kernel_blocks;

cudaError_t kernels_fill(const kernel_blocks *blocks, cudaStream_t stream);
cudaError_t kernels_poison(const kernel_blocks *blocks, cudaStream_t stream);
cudaError_t kernels_check(const kernel_blocks *blocks, cudaStream_t stream);

/* Shared by the host and kernels_hold, in pinned memory. */
typedef struct kernel_hold {
    unsigned released;  /* set by the host */
    unsigned timed_out; /* set by the kernel */
} kernel_hold;

/* Holds the stream until `hold->released` is set, or for `timeout_ns` nanoseconds. */
cudaError_t kernels_hold(kernel_hold *hold, uint64_t timeout_ns, cudaStream_t stream);

/* Arithmetic on `count` numbers in device memory, by `blocks` thread blocks of 256 threads: each
 * number is read, multiplied and added to `rounds` times, and written. */
cudaError_t kernels_compute(float *numbers, size_t count, unsigned rounds, unsigned blocks,
                            cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
