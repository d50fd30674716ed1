/* The strategy loop: one copy call for each box. */
#include "copy/copier.h"

/* A window of background work leaves room in its stream, which holds about 1,000 operations. */
enum { MOST_OF_A_WINDOW = 256 };

static enum cudaMemcpyKind kind_of(const kvf__cuda_copier *c) {
    switch (c->direction) {
    case KVF_CUDA_TO_DEVICE:
        return cudaMemcpyHostToDevice;
    case KVF_CUDA_FROM_DEVICE:
        return cudaMemcpyDeviceToHost;
    default:
        return cudaMemcpyDeviceToDevice;
    }
}

static cudaError_t copy_3d(const kvf__cuda_copier *c, const kvf_box *b) {
    struct cudaMemcpy3DParms p = {
        .srcPtr = {(void *)(uintptr_t)b->src, (size_t)b->src_row_pitch, b->width,
                   (size_t)(b->src_slice_pitch / b->src_row_pitch)},
        .dstPtr = {b->dst, (size_t)b->dst_row_pitch, b->width,
                   (size_t)(b->dst_slice_pitch / b->dst_row_pitch)},
        .extent = {b->width, b->rows, b->slices},
        .kind = kind_of(c),
    };
    return cudaMemcpy3DAsync(&p, c->stream);
}

kvf_status kvf__cuda_copy_box(kvf__cuda_copier *c, const kvf_box *b, kvf_error *error) {
    cudaError_t code;
    const char *what;
    if (b->rows == 1 && b->slices == 1) {
        what = "cudaMemcpyAsync";
        code = cudaMemcpyAsync(b->dst, b->src, b->width, kind_of(c), c->stream);
    } else if (b->slices == 1) {
        what = "cudaMemcpy2DAsync";
        code = cudaMemcpy2DAsync(b->dst, (size_t)b->dst_row_pitch, b->src, (size_t)b->src_row_pitch,
                                 b->width, b->rows, kind_of(c), c->stream);
    } else {
        what = "cudaMemcpy3DAsync";
        code = copy_3d(c, b);
    }
    if (code != cudaSuccess)
        return kvf__cuda_fail(code, what, error);
    c->enqueued = true;
    return KVF_OK;
}

kvf_status kvf__cuda_loop(kvf__cuda_copier *c, size_t end_strip, size_t budget, kvf_error *error) {
    size_t most = budget < SIZE_MAX ? MOST_OF_A_WINDOW : SIZE_MAX;
    kvf_box b;
    for (size_t copies = 0; budget > 0 && copies < most; copies++) {
        if (kvf__move_next(c->move, &kvf__cuda_loop_limits, end_strip, budget, &c->cursor, &b, 1) ==
            0)
            break;
        kvf_status status = kvf__cuda_copy_box(c, &b, error);
        if (status != KVF_OK)
            return status;
        c->copied += b.width * b.rows * b.slices;
        budget -= budget < SIZE_MAX ? b.width * b.rows * b.slices : 0;
    }
    return KVF_OK;
}
