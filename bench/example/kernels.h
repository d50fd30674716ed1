/* The compute of the CUDA machine: a layer of a step, put into a stream. */
#ifndef KVF_EXAMPLE_KERNELS_H
#define KVF_EXAMPLE_KERNELS_H

#include "content.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As in a step; pointers are the device's. */
typedef struct kernel_layer {
    layer_view view;
    const uint64_t *table, *seeds;
    uint64_t *sums; /* of this layer */
    size_t tokens, first_new, blocks;
} kernel_layer;

cudaError_t kernels_layer(const kernel_layer *layer, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
