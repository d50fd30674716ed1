/* Kernels for the fake's own tests, in sample.cu. */
#ifndef KVF_TEST_SAMPLE_H
#define KVF_TEST_SAMPLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sample_pair {
    const void *src;
    void *dst;
} sample_pair;

#ifndef SAMPLE_KERNEL
#define SAMPLE_KERNEL
#endif

/* Copies `bytes`, a multiple of 16, for each of `count` pairs; a block handles every gridDim-th. */
SAMPLE_KERNEL void sample_gather(const sample_pair *pairs, uint32_t count, uint32_t bytes);

/* out[i] = value + i for i below `count`; parameters by value, a grid of two dimensions. */
SAMPLE_KERNEL void sample_fill(uint32_t *out, uint32_t count, uint32_t value);

#ifdef __cplusplus
}
#endif

#endif
