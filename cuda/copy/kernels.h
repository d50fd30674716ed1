/*
 * The arguments of the copying kernels; shared with kernels.cu.
 *
 * A launch copies pieces x pairs. A piece is a strip with device addresses: row r of block b is at
 * base + b * stride + r * pitch. The vectors of all its rows, in order, are cut into units, which
 * a warp copies one at a time:
 *
 *     units    | piece 0: pair 0, pair 1, ... | piece 1: pair 0, pair 1, ... |
 *              0                              first of piece 1
 */
#ifndef KVF_CUDA_KERNELS_H
#define KVF_CUDA_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KVF__CUDA_THREADS = 512, /* in a thread block */
    KVF__CUDA_UNIT = 8192,   /* bytes in a unit, at most */
    /* Bytes of pieces and pairs that fit into the kernel's parameters: with every driver, and with
     * drivers of CUDA 12.1 and later. */
    KVF__CUDA_FEW = 4000,
    KVF__CUDA_MANY = 32000,
};

typedef struct kvf__cuda_pair {
    uint32_t src, dst;
} kvf__cuda_pair;

typedef struct kvf__cuda_piece {
    uint64_t dst, src;
    uint64_t dst_stride, src_stride;
    int64_t dst_pitch, src_pitch;
    uint32_t columns;                 /* vectors in a row */
    uint32_t vectors;                 /* in all rows of a block */
    uint32_t per_pair;                /* units for each pair */
    uint32_t first;                   /* its first unit in the launch */
    uint16_t bytes;                   /* in a vector: 1, 2, 4, 8 or 16 */
    uint8_t dst_in_turn, src_in_turn; /* 1: this side's block is the pair's index, not its id */
} kvf__cuda_piece;

typedef struct kvf__cuda_work {
    const kvf__cuda_piece *pieces;
    const kvf__cuda_pair *pairs;
    uint32_t piece_count, units;
} kvf__cuda_work;

/* Work whose lists are in the parameters: pieces, then pairs. */
typedef struct kvf__cuda_few {
    uint32_t piece_count, units;
    uint64_t lists[KVF__CUDA_FEW / 8];
} kvf__cuda_few;

typedef struct kvf__cuda_many {
    uint32_t piece_count, units;
    uint64_t lists[KVF__CUDA_MANY / 8];
} kvf__cuda_many;

/* The kernels, for cudaLaunchKernel; NULL if built without nvcc. Grids and blocks have one
 * dimension and whole warps. */
typedef struct kvf__cuda_kernel_table {
    const void *copy;      /* (kvf__cuda_work) */
    const void *copy_few;  /* (kvf__cuda_few) */
    const void *copy_many; /* (kvf__cuda_many) */
} kvf__cuda_kernel_table;

extern const kvf__cuda_kernel_table kvf__cuda_kernels;

#ifdef __cplusplus
}
#endif
#endif
