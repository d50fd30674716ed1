#include "matmul.h"

#include "device.h"
#include "tool.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

enum {
    SIDE = 8192,
    ELEMENT = 2,
    PIECE = (2 << 20) + 4099, /* numbers that are made up; no multiple of SIDE */
};
#define NAME        "cuBLASLt bf16 8192 x 8192 x 8192"
#define WORKSPACE   ((size_t)32 << 20)
#define MATRIX      ((size_t)SIDE * SIDE * ELEMENT)
#define TEXT(x)     #x
#define VERSION(x)  TEXT(x)
#define SONAME_TAIL VERSION(CUBLAS_VER_MAJOR)

/* What is used of the library. */
typedef struct blas {
    void *library;
    __typeof__(&cublasLtCreate) create;
    __typeof__(&cublasLtDestroy) destroy;
    __typeof__(&cublasLtMatmulDescCreate) make_product;
    __typeof__(&cublasLtMatmulDescDestroy) drop_product;
    __typeof__(&cublasLtMatrixLayoutCreate) make_matrix;
    __typeof__(&cublasLtMatrixLayoutDestroy) drop_matrix;
    __typeof__(&cublasLtMatmulPreferenceCreate) make_preference;
    __typeof__(&cublasLtMatmulPreferenceDestroy) drop_preference;
    __typeof__(&cublasLtMatmulPreferenceSetAttribute) set_preference;
    __typeof__(&cublasLtMatmulAlgoGetHeuristic) find_algorithm;
    __typeof__(&cublasLtMatmul) multiply;
} blas;

struct matmul {
    blas blas;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t matrix;
    cublasLtMatmulAlgo_t algorithm;
    char *a, *b, *c, *workspace;
};

/* ISO C has no cast from void * to a function; POSIX promises that the bytes are the same. */
static bool find(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

static bool load(blas *blas) {
    void *library = dlopen("libcublasLt.so." SONAME_TAIL, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return false;
    }
    blas->library = library;
    return find(library, "cublasLtCreate", &blas->create) &&
           find(library, "cublasLtDestroy", &blas->destroy) &&
           find(library, "cublasLtMatmulDescCreate", &blas->make_product) &&
           find(library, "cublasLtMatmulDescDestroy", &blas->drop_product) &&
           find(library, "cublasLtMatrixLayoutCreate", &blas->make_matrix) &&
           find(library, "cublasLtMatrixLayoutDestroy", &blas->drop_matrix) &&
           find(library, "cublasLtMatmulPreferenceCreate", &blas->make_preference) &&
           find(library, "cublasLtMatmulPreferenceDestroy", &blas->drop_preference) &&
           find(library, "cublasLtMatmulPreferenceSetAttribute", &blas->set_preference) &&
           find(library, "cublasLtMatmulAlgoGetHeuristic", &blas->find_algorithm) &&
           find(library, "cublasLtMatmul", &blas->multiply);
}

static bool find_algorithm(matmul *matmul) {
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found = {0};
    uint64_t workspace = WORKSPACE;
    int count = 0;
    if (matmul->blas.make_preference(&preference) != CUBLAS_STATUS_SUCCESS) {
        return false;
    }
    bool fine =
        matmul->blas.set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                    &workspace, sizeof(workspace)) == CUBLAS_STATUS_SUCCESS &&
        matmul->blas.find_algorithm(matmul->handle, matmul->product, matmul->matrix, matmul->matrix,
                                    matmul->matrix, matmul->matrix, preference, 1, &found,
                                    &count) == CUBLAS_STATUS_SUCCESS &&
        count > 0;
    matmul->blas.drop_preference(preference);
    matmul->algorithm = found.algo;
    return fine;
}

static bool describe(matmul *matmul) {
    return matmul->blas.create(&matmul->handle) == CUBLAS_STATUS_SUCCESS &&
           matmul->blas.make_product(&matmul->product, CUBLAS_COMPUTE_32F, CUDA_R_32F) ==
               CUBLAS_STATUS_SUCCESS &&
           matmul->blas.make_matrix(&matmul->matrix, CUDA_R_16BF, SIDE, SIDE, SIDE) ==
               CUBLAS_STATUS_SUCCESS &&
           find_algorithm(matmul);
}

static char *make_matrix(void) {
    char *matrix = NULL;
    must_cuda(cudaMalloc((void **)&matrix, MATRIX), "cudaMalloc");
    return matrix;
}

/* Zeros and patterns make a GPU quicker than data does, since it then draws less power. The same
 * random numbers are there again and again, at a distance that no row or column has. */
static void fill(char *matrix, uint64_t state) {
    uint16_t *numbers = must_grow(NULL, PIECE, ELEMENT);
    for (size_t i = 0; i < PIECE; i++) {
        numbers[i] = mix_bf16(random_next(&state));
    }
    for (size_t at = 0; at < MATRIX; at += (size_t)PIECE * ELEMENT) {
        size_t left = MATRIX - at, bytes = (size_t)PIECE * ELEMENT;
        must_cuda(
            cudaMemcpy(matrix + at, numbers, left < bytes ? left : bytes, cudaMemcpyHostToDevice),
            "cudaMemcpy");
    }
    free(numbers);
}

matmul *matmul_open(void) {
    matmul *opened = must_grow(NULL, 1, sizeof(*opened));
    memset(opened, 0, sizeof(*opened));
    if (!load(&opened->blas) || !describe(opened)) {
        matmul_close(opened);
        return NULL;
    }
    opened->a = make_matrix();
    opened->b = make_matrix();
    opened->c = make_matrix();
    fill(opened->a, 1);
    fill(opened->b, 2);
    must_cuda(cudaMalloc((void **)&opened->workspace, WORKSPACE), "cudaMalloc");
    matmul_enqueue(opened, NULL); /* the first one loads kernels, and shows whether it works */
    must_cuda(cudaDeviceSynchronize(), "a matrix product");
    return opened;
}

/* Also of one that was opened in part. */
void matmul_close(matmul *matmul) {
    if (matmul->matrix != NULL) {
        matmul->blas.drop_matrix(matmul->matrix);
    }
    if (matmul->product != NULL) {
        matmul->blas.drop_product(matmul->product);
    }
    if (matmul->handle != NULL) {
        matmul->blas.destroy(matmul->handle);
    }
    char *memory[] = {matmul->a, matmul->b, matmul->c, matmul->workspace};
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
        must_cuda(cudaFree(memory[i]), "cudaFree");
    }
    if (matmul->blas.library != NULL) {
        dlclose(matmul->blas.library);
    }
    free(matmul);
}

const char *matmul_name(const matmul *matmul) {
    (void)matmul;
    return NAME;
}

void matmul_enqueue(matmul *matmul, cudaStream_t stream) {
    const float one = 1, zero = 0;
    cublasStatus_t status = matmul->blas.multiply(
        matmul->handle, matmul->product, &one, matmul->a, matmul->matrix, matmul->b, matmul->matrix,
        &zero, matmul->c, matmul->matrix, matmul->c, matmul->matrix, &matmul->algorithm,
        matmul->workspace, WORKSPACE, stream);
    if (status != CUBLAS_STATUS_SUCCESS) {
        fail(EXIT_CHECK, "a matrix product: cuBLASLt status %d", (int)status);
    }
}

#else /* the toolkit has no cuBLAS */

matmul *matmul_open(void) {
    return NULL;
}

void matmul_close(matmul *matmul) {
    (void)matmul;
}

const char *matmul_name(const matmul *matmul) {
    (void)matmul;
    return NULL;
}

void matmul_enqueue(matmul *matmul, cudaStream_t stream) {
    (void)matmul, (void)stream;
}

#endif
