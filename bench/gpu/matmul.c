#include "gpu/matmul.h"

#include "gpu/device.h"
#include "base/base.h"

#include <stdlib.h>

#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#include <dlfcn.h>

enum { SIDE = 8192 };
#define NUMBERS   ((size_t)SIDE * SIDE)
#define TEXT(x)   #x
#define SONAME(x) "libcublas.so." TEXT(x)

struct matmul {
    __typeof__(&cublasCreate_v2) create;
    __typeof__(&cublasDestroy_v2) destroy;
    __typeof__(&cublasSetStream_v2) set_stream;
    __typeof__(&cublasGemmEx) multiply;
    cublasHandle_t handle;
    uint16_t *a, *b, *c; /* bf16 */
};

/* Not linked: cuBLAS takes half a gigabyte, few runs use it, and some machines lack it. */
static bool load(matmul *matmul) {
    void *library = dlopen(SONAME(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    return library && find_function(library, "cublasCreate_v2", &matmul->create) &&
           find_function(library, "cublasDestroy_v2", &matmul->destroy) &&
           find_function(library, "cublasSetStream_v2", &matmul->set_stream) &&
           find_function(library, "cublasGemmEx", &matmul->multiply);
}

/* Random numbers: with zeros or patterns a GPU draws less power and runs faster than with data. */
static void fill(matmul *matmul) {
    uint64_t state = SEED;
    uint16_t *numbers = must_grow(NULL, NUMBERS, sizeof *numbers);
    for (size_t i = 0; i < NUMBERS; i++)
        numbers[i] = mix_bf16(random_next(&state));
    uint16_t **matrices[] = {&matmul->a, &matmul->b, &matmul->c};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        size_t bytes = NUMBERS * sizeof *numbers;
        must_cuda(cudaMalloc((void **)matrices[i], bytes), "cudaMalloc");
        must_cuda(cudaMemcpy(*matrices[i], numbers, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    free(numbers);
}

static cublasStatus_t multiply(const matmul *matmul) {
    const float one = 1, zero = 0;
    return matmul->multiply(matmul->handle, CUBLAS_OP_N, CUBLAS_OP_N, SIDE, SIDE, SIDE, &one,
                            matmul->a, CUDA_R_16BF, SIDE, matmul->b, CUDA_R_16BF, SIDE, &zero,
                            matmul->c, CUDA_R_16BF, SIDE, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

matmul *matmul_open(cudaStream_t stream) {
    matmul *opened = must_grow(NULL, 1, sizeof *opened);
    *opened = (matmul){0};
    if (load(opened) && opened->create(&opened->handle) == CUBLAS_STATUS_SUCCESS &&
        opened->set_stream(opened->handle, stream) == CUBLAS_STATUS_SUCCESS) {
        fill(opened);
        if (multiply(opened) == CUBLAS_STATUS_SUCCESS) /* loads the kernels */
            return opened;
    }
    matmul_close(opened);
    return NULL;
}

/* Also closes one that is only partly open. */
void matmul_close(matmul *matmul) {
    if (matmul->handle)
        matmul->destroy(matmul->handle);
    must_cuda(cudaFree(matmul->a), "cudaFree");
    must_cuda(cudaFree(matmul->b), "cudaFree");
    must_cuda(cudaFree(matmul->c), "cudaFree");
    free(matmul);
}

void matmul_enqueue(matmul *matmul) {
    cublasStatus_t status = multiply(matmul);
    if (status != CUBLAS_STATUS_SUCCESS)
        fail(EXIT_CHECK, "starting a matrix product: cuBLAS status %d", (int)status);
}

#else /* the toolkit has no cuBLAS */

matmul *matmul_open(cudaStream_t stream) {
    (void)stream;
    return NULL;
}

void matmul_close(matmul *matmul) {
    (void)matmul;
}

void matmul_enqueue(matmul *matmul) {
    (void)matmul;
}

#endif
