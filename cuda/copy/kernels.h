/*
 * What the copying kernels are given; shared with the .cu file.
 *
 * A launch copies pieces x pairs. A piece is a strip with addresses of the device: block b has row
 * r at base + b * stride + r * pitch. Its rows, seen as vectors one behind the other, are cut into
 * units that a warp copies at a time:
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
    KVF__CUDA_THREADS = 512, /* of a thread block */
    KVF__CUDA_UNIT = 8192,   /* bytes of a unit, at most */
    /* Bytes of pieces and pairs that go into a launch itself: as many as every driver takes, and as
     * drivers of 12.1 and later do. */
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
    uint32_t columns;                 /* vectors of a row */
    uint32_t vectors;                 /* of all rows */
    uint32_t per_pair;                /* units */
    uint32_t first;                   /* unit */
    uint16_t bytes;                   /* of a vector: 1, 2, 4, 8 or 16 */
    uint8_t dst_in_turn, src_in_turn; /* that side's blocks are numbered as the pairs are: 1 or 0 */
} kvf__cuda_piece;

typedef struct kvf__cuda_work {
    const kvf__cuda_piece *pieces;
    const kvf__cuda_pair *pairs;
    uint32_t piece_count, units;
} kvf__cuda_work;

/* The same with its lists in the parameters: pieces, then pairs. */
typedef struct kvf__cuda_few {
    uint32_t piece_count, units;
    uint64_t lists[KVF__CUDA_FEW / 8];
} kvf__cuda_few;

typedef struct kvf__cuda_many {
    uint32_t piece_count, units;
    uint64_t lists[KVF__CUDA_MANY / 8];
} kvf__cuda_many;

/* For cudaLaunchKernel; NULL where the module was built without nvcc. Grids and blocks are
 * one-dimensional, of whole warps. */
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
