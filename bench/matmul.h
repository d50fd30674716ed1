/* A square matrix product of cuBLASLt, which is loaded when it is asked for. */
#ifndef KVF_BENCH_MATMUL_H
#define KVF_BENCH_MATMUL_H

#include <cuda_runtime_api.h>

typedef struct matmul matmul;

/* NULL where the library, its headers at build time, or a product of this kind cannot be had. */
matmul *matmul_open(void);
void matmul_close(matmul *matmul);

const char *matmul_name(const matmul *matmul);

/* Puts one product into the stream; ends the program on failure. */
void matmul_enqueue(matmul *matmul, cudaStream_t stream);

#endif
