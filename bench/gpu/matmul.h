/* A square matrix product of cuBLAS, which is loaded when it is asked for. */
#ifndef KVF_BENCH_MATMUL_H
#define KVF_BENCH_MATMUL_H

#include <cuda_runtime_api.h>

typedef struct matmul matmul;

#define MATMUL_NAME "cuBLAS bf16 8192 x 8192 x 8192"

/* For one stream. NULL where the library, its header at build time, or a product of this kind on
 * this GPU is missing. */
matmul *matmul_open(cudaStream_t stream);
void matmul_close(matmul *matmul);

/* Puts one product into the stream; ends the program on failure. */
void matmul_enqueue(matmul *matmul);

#endif
