/* A copy call for every box. */
#include "engine_cuda.h"

const kvf_box_limits kvf__cuda_loop_limits = {
    .max_pitch = INT32_MAX,
    .slices = true,
    .src_segment = KVF_CUDA_SEGMENT,
    .dst_segment = KVF_CUDA_SEGMENT,
};

static cudaError_t copy_3d(const kvf__cuda_queue *q, const kvf_box *b) {
    struct cudaMemcpy3DParms p = {
        .srcPtr = {(void *)(uintptr_t)b->src, (size_t)b->src_row_pitch, b->width,
                   (size_t)(b->src_slice_pitch / b->src_row_pitch)},
        .dstPtr = {b->dst, (size_t)b->dst_row_pitch, b->width,
                   (size_t)(b->dst_slice_pitch / b->dst_row_pitch)},
        .extent = {b->width, b->rows, b->slices},
        .kind = q->kind,
    };
    return cudaMemcpy3DAsync(&p, q->stream);
}

static kvf_status copy(kvf__cuda_queue *q, const kvf_box *b, kvf_error *error) {
    cudaError_t code;
    const char *what;
    if (b->rows == 1 && b->slices == 1) {
        what = "cudaMemcpyAsync";
        code = cudaMemcpyAsync(b->dst, b->src, b->width, q->kind, q->stream);
    } else if (b->slices == 1) {
        what = "cudaMemcpy2DAsync";
        code = cudaMemcpy2DAsync(b->dst, (size_t)b->dst_row_pitch, b->src, (size_t)b->src_row_pitch,
                                 b->width, b->rows, q->kind, q->stream);
    } else {
        what = "cudaMemcpy3DAsync";
        code = copy_3d(q, b);
    }
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, what, error);
    q->enqueued = true;
    return KVF_OK;
}

kvf_status kvf__cuda_loop(kvf__cuda_queue *q, size_t end_span, kvf_error *error) {
    kvf_box boxes[32];
    size_t count;
    do {
        count = kvf__move_next(q->move, &kvf__cuda_loop_limits, end_span, &q->cursor, boxes,
                               sizeof boxes / sizeof boxes[0]);
        for (size_t i = 0; i < count; i++) {
            kvf_status status = copy(q, &boxes[i], error);
            if (status != KVF_OK)
                return status;
        }
    } while (count > 0);
    return KVF_OK;
}
