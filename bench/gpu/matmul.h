/* A square matrix product of cuBLAS, which is loaded on first use. */
#ifndef KVF_BENCH_MATMUL_H
#define KVF_BENCH_MATMUL_H

#include <cuda_runtime_api.h>

typedef struct matmul matmul;

#define MATMUL_NAME "cuBLAS bf16 8192 x 8192 x 8192"

/* Prepares products in a stream. NULL if the library is missing, its header was missing at build
 * time, or the GPU does not support this product. */
matmul *matmul_open(cudaStream_t stream);
void matmul_close(matmul *matmul);

/* Enqueues one product. Ends the program on failure. */
void matmul_enqueue(matmul *matmul);

#endif
