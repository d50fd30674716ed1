/* The boxes that cudaMemcpyAsync, cudaMemcpy2DAsync and cudaMemcpy3DAsync take. */
#include "runtime/runtime.h"

const kvf_box_limits kvf__cuda_loop_limits = {
    .max_pitch = INT32_MAX,
    .slices = true,
    .src_segment = KVF_CUDA_SEGMENT,
    .dst_segment = KVF_CUDA_SEGMENT,
};

const kvf_box_limits *kvf_cuda_limits(void) {
    return &kvf__cuda_loop_limits;
}
