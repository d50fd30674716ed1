/* The tool's own kernels, as functions that put them into a stream. */
#ifndef KVF_BENCH_KERNELS_H
#define KVF_BENCH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The piece of every block that is at base + id * stride, `bytes` long. */
typedef struct kernel_piece {
    char *base;
    size_t stride, bytes;
} kernel_piece;

/* Blocks of `piece_count` pieces each. All pointers are the device's. */
typedef struct kernel_blocks {
    const kernel_piece *pieces;
    const uint64_t *ids, *seeds;
    unsigned char *wrong; /* kernels_check sets that of a block to 1 where a byte is wrong */
    uint32_t piece_count;
    uint32_t block_count;
} kernel_blocks;

cudaError_t kernels_fill(const kernel_blocks *blocks, cudaStream_t stream);
cudaError_t kernels_poison(const kernel_blocks *blocks, cudaStream_t stream);
cudaError_t kernels_check(const kernel_blocks *blocks, cudaStream_t stream);

/* What the host and kernels_hold tell each other, in pinned memory. */
typedef struct kernel_hold {
    unsigned released;  /* by the host */
    unsigned timed_out; /* the kernel went on by itself */
} kernel_hold;

/* Holds the stream until `hold->released` is set, but no longer than that. */
cudaError_t kernels_hold(kernel_hold *hold, uint64_t timeout_ns, cudaStream_t stream);

/* Arithmetic on `count` numbers in device memory by `blocks` thread blocks of 256: each is read,
 * taken through `rounds` multiplications and additions, and written. */
cudaError_t kernels_compute(float *numbers, size_t count, unsigned rounds, unsigned blocks,
                            cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
