/* Many pieces a call, by the driver's batched copy. */
#include "engine_cuda.h"

const kvf_box_limits kvf__cuda_batch_limits = {
    .src_segment = KVF_CUDA_SEGMENT,
    .dst_segment = KVF_CUDA_SEGMENT,
};

/* Fills the lists with the next pieces. Returns how many. */
static size_t list(kvf__cuda_queue *q, size_t end_span) {
    kvf__cuda_lists *l = q->engine->lists;
    size_t count = 0;
    while (count < KVF__CUDA_BATCH) {
        kvf_box box;
        size_t span = q->cursor.span;
        if (kvf__move_next(q->move, &kvf__cuda_batch_limits, end_span, &q->cursor, &box, 1) == 0)
            break;
        l->dsts[count] = (CUdeviceptr)(uintptr_t)box.dst;
        l->srcs[count] = (CUdeviceptr)(uintptr_t)box.src;
        l->sizes[count] = box.width;
        l->spans[count++] = span;
    }
    return count;
}

/* The block that has an address, in a span that begins at `base`. */
static uint64_t block_at(CUdeviceptr address, uintptr_t base, size_t stride) {
    return stride > 0 ? (address - base) / stride : 0;
}

/* Names the blocks of the piece that the driver refused, if it told which. */
static kvf_status refused(const kvf__cuda_queue *q, CUresult code, size_t count, size_t failed,
                          kvf_error *error) {
    const kvf__cuda_lists *l = q->engine->lists;
    kvf_error details = {.status = KVF_ERR_ENGINE};
    /* A driver's codes are the runtime's, wherever both have one. */
    kvf__cuda_fail((cudaError_t)code, "cuMemcpyBatchAsync", &details);
    if (failed < count) {
        const kvf__span *span = &q->move->spans[l->spans[failed]];
        details.fields |= KVF_ERROR_INDEX | KVF_ERROR_ID | KVF_ERROR_OTHER_ID;
        details.index = failed;
        details.id = block_at(l->dsts[failed], (uintptr_t)span->dst, span->dst_stride);
        details.other_id = block_at(l->srcs[failed], (uintptr_t)span->src, span->src_stride);
    }
    return kvf__fail(error, details);
}

kvf_status kvf__cuda_batch(kvf__cuda_queue *q, size_t end_span, kvf_error *error) {
    kvf__cuda_lists *l = q->engine->lists;
    CUmemcpyAttributes how = {.srcAccessOrder = q->settled ? CU_MEMCPY_SRC_ACCESS_ORDER_ANY
                                                           : CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    size_t count;
    while ((count = list(q, end_span)) > 0) {
        size_t start = 0, failed = SIZE_MAX;
        CUresult code = q->engine->driver.batch(l->dsts, l->srcs, l->sizes, count, &how, &start, 1,
                                                &failed, q->stream);
        if (code != CUDA_SUCCESS)
            return refused(q, code, count, failed, error);
        q->enqueued = true;
    }
    return KVF_OK;
}
