/* The compute of the CUDA machine: enqueues one layer of a step in a stream. */
#ifndef KVF_EXAMPLE_KERNELS_H
#define KVF_EXAMPLE_KERNELS_H

#include "content.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Members as in a step (machine.h); the pointers are valid on the device. */
typedef struct kernel_layer {
    layer_view view;
    const uint64_t *table, *seeds;
    uint64_t *sums; /* [blocks], of this layer */
    size_t tokens, first_new, blocks;
} kernel_layer;

cudaError_t kernels_layer(const kernel_layer *layer, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
