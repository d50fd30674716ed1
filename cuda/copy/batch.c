/* The strategy batch: many pieces in one call of the driver. */
#include "copy/copier.h"

static const kvf_box_limits batch_limits = {
    .src_segment = KVF_CUDA_SEGMENT,
    .dst_segment = KVF_CUDA_SEGMENT,
};

enum {
    LARGE = 128 << 10, /* bytes from which a piece gains nothing in a batch, as others measured */
    FEW = 4,           /* pieces below which a batch gains nothing */
    ROWS_PAY = 4,      /* average rows a box from which batches of boxes beat batches of pieces */
};

/* Lists */

/* The id of the block that holds an address, in a strip whose block 0 is at `base`. */
static uint64_t block_at(CUdeviceptr address, uintptr_t base, size_t stride) {
    return stride > 0 ? (address - base) / stride : 0;
}

/* Adds the blocks of a strip's copy to an error, from the device addresses given to the driver. */
static void name_blocks(const kvf__cuda_copier *c, size_t strip, CUdeviceptr dst, CUdeviceptr src,
                        kvf_error *details) {
    if (strip >= c->move->strip_count)
        return;
    const kvf__strip *s = &c->move->strips[strip];
    dst -= (CUdeviceptr)c->dst_shift;
    src -= (CUdeviceptr)c->src_shift;
    details->fields |= KVF_ERROR_ID | KVF_ERROR_OTHER_ID;
    details->id = block_at(dst, (uintptr_t)s->dst, s->dst_stride);
    details->other_id = block_at(src, (uintptr_t)s->src, s->src_stride);
}

static kvf_error details_of(CUresult code, const char *what) {
    kvf_error details = {.status = KVF_ERR_ENGINE};
    /* Driver and runtime share their codes where both have one. */
    kvf__cuda_fail((cudaError_t)code, what, &details);
    return details;
}

/* Packed sources are written by kernels in the same streams, hence only in stream order. */
static CUmemcpySrcAccessOrder access_order(const kvf__cuda_copier *c) {
    bool packed = c->strategy == KVF_CUDA_STAGED && c->direction == KVF_CUDA_FROM_DEVICE;
    return c->settled && !packed ? CU_MEMCPY_SRC_ACCESS_ORDER_ANY
                                 : CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
}

/* Batches take device addresses, unlike single copies, which also take the host's. */
static void shift(const kvf__cuda_copier *c, kvf__cuda_lists *l) {
    for (size_t i = 0; (c->dst_shift != 0 || c->src_shift != 0) && i < l->count; i++) {
        l->dsts[i] += (CUdeviceptr)c->dst_shift;
        l->srcs[i] += (CUdeviceptr)c->src_shift;
    }
}

static kvf_status flush_batch(kvf__cuda_copier *c, kvf_error *error) {
    kvf__cuda_lists *l = c->context->lists;
    shift(c, l);
    CUmemcpyAttributes how = {.srcAccessOrder = access_order(c)};
    size_t start = 0, failed = SIZE_MAX;
    CUresult code = c->context->driver->batch(l->dsts, l->srcs, l->sizes, l->count, &how, &start, 1,
                                              &failed, c->stream);
    if (code == CUDA_SUCCESS) {
        c->enqueued = true;
        return KVF_OK;
    }
    kvf_error details = details_of(code, "cuMemcpyBatchAsync");
    if (failed < l->count)
        name_blocks(c, l->strips[failed], l->dsts[failed], l->srcs[failed], &details);
    return kvf__fail(error, details);
}

static kvf_status flush_singly(kvf__cuda_copier *c, kvf_error *error) {
    const kvf__cuda_lists *l = c->context->lists;
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < l->count; i++) {
        kvf_box box = {.dst = (char *)(uintptr_t)l->dsts[i],
                       .src = (const char *)(uintptr_t)l->srcs[i],
                       .width = l->sizes[i],
                       .rows = 1,
                       .slices = 1};
        status = kvf__cuda_copy_box(c, &box, error);
    }
    return status;
}

static bool batch_pays(const kvf__cuda_copier *c) {
    const kvf__cuda_lists *l = c->context->lists;
    size_t bytes = 0;
    if (!c->context->driver->batch || !c->reachable || c->strategy == KVF_CUDA_BATCH)
        return c->strategy == KVF_CUDA_BATCH;
    for (size_t i = 0; i < l->count; i++)
        bytes += l->sizes[i];
    return l->count >= FEW && bytes / l->count < LARGE;
}

kvf_status kvf__cuda_flush(kvf__cuda_copier *c, kvf_error *error) {
    kvf__cuda_lists *l = c->context->lists;
    kvf_status status = l->count == 0   ? KVF_OK
                        : batch_pays(c) ? flush_batch(c, error)
                                        : flush_singly(c, error);
    l->count = 0;
    return status;
}

/* Pieces */

static void account(kvf__cuda_copier *c, size_t bytes, size_t *budget) {
    c->copied += bytes;
    *budget -= *budget < SIZE_MAX ? bytes : 0;
}

/* Fills the lists with the next pieces, up to about `*budget` bytes. */
static void list(kvf__cuda_copier *c, size_t end_strip, size_t *budget) {
    kvf__cuda_lists *l = c->context->lists;
    l->count = 0;
    while (*budget > 0 && l->count < KVF__CUDA_BATCH) {
        kvf_box box;
        size_t strip = c->cursor.strip;
        if (kvf__move_next(c->move, &batch_limits, end_strip, *budget, &c->cursor, &box, 1) == 0)
            break;
        l->dsts[l->count] = (CUdeviceptr)(uintptr_t)box.dst;
        l->srcs[l->count] = (CUdeviceptr)(uintptr_t)box.src;
        l->sizes[l->count] = box.width;
        l->strips[l->count++] = strip;
        account(c, box.width, budget);
    }
}

static kvf_status copy_pieces(kvf__cuda_copier *c, size_t end_strip, size_t budget,
                              kvf_error *error) {
    kvf_status status;
    bool more;
    do {
        list(c, end_strip, &budget);
        more = c->context->lists->count == KVF__CUDA_BATCH;
        status = kvf__cuda_flush(c, error);
    } while (status == KVF_OK && more);
    return status;
}

/* Boxes */

enum { BOXES = 512 }; /* in one call */

static CUmemcpy3DOperand operand(const void *address, const kvf_box *b, ptrdiff_t row,
                                 ptrdiff_t slice) {
    return (CUmemcpy3DOperand){
        .type = CU_MEMCPY_OPERAND_TYPE_POINTER,
        .op.ptr = {.ptr = (CUdeviceptr)(uintptr_t)address,
                   .rowLength = b->rows > 1 ? (size_t)row : 0,
                   .layerHeight = b->slices > 1 ? (size_t)(slice / row) : 0},
    };
}

static CUDA_MEMCPY3D_BATCH_OP operation(const kvf__cuda_copier *c, const kvf_box *b) {
    return (CUDA_MEMCPY3D_BATCH_OP){
        .src = operand(b->src + c->src_shift, b, b->src_row_pitch, b->src_slice_pitch),
        .dst = operand(b->dst + c->dst_shift, b, b->dst_row_pitch, b->dst_slice_pitch),
        .extent = {b->width, b->rows, b->slices},
        .srcAccessOrder = access_order(c),
    };
}

static kvf_status call_boxes(kvf__cuda_copier *c, CUDA_MEMCPY3D_BATCH_OP *operations,
                             const size_t *strips, size_t count, kvf_error *error) {
    size_t failed = SIZE_MAX;
    CUresult code = c->context->driver->batch_3d(count, operations, &failed, 0, c->stream);
    if (code == CUDA_SUCCESS) {
        c->enqueued = true;
        return KVF_OK;
    }
    kvf_error details = details_of(code, "cuMemcpy3DBatchAsync");
    if (failed < count)
        name_blocks(c, strips[failed], operations[failed].dst.op.ptr.ptr,
                    operations[failed].src.op.ptr.ptr, &details);
    return kvf__fail(error, details);
}

static kvf_status copy_boxes(kvf__cuda_copier *c, size_t end_strip, size_t budget,
                             kvf_error *error) {
    CUDA_MEMCPY3D_BATCH_OP operations[BOXES];
    size_t strips[BOXES], count;
    kvf_status status = KVF_OK;
    do {
        kvf_box b;
        for (count = 0; count < BOXES && budget > 0; count++) {
            strips[count] = c->cursor.strip;
            if (kvf__move_next(c->move, &kvf__cuda_loop_limits, end_strip, budget, &c->cursor, &b,
                               1) == 0)
                break;
            operations[count] = operation(c, &b);
            account(c, b.width * b.rows * b.slices, &budget);
        }
        if (count > 0)
            status = call_boxes(c, operations, strips, count, error);
    } while (status == KVF_OK && count == BOXES);
    return status;
}

static bool boxes_pay(const kvf__cuda_copier *c) {
    if (!c->context->driver->batch_3d)
        return false;
    return kvf__move_box_count(c->move, &batch_limits) / ROWS_PAY >=
           kvf__move_box_count(c->move, &kvf__cuda_loop_limits);
}

kvf_status kvf__cuda_batch(kvf__cuda_copier *c, size_t end_strip, size_t budget, kvf_error *error) {
    if (c->cursor.strip == 0 && c->cursor.run == 0 && c->cursor.slice == 0 && c->cursor.row == 0 &&
        c->cursor.column == 0)
        c->in_boxes = boxes_pay(c);
    return c->in_boxes ? copy_boxes(c, end_strip, budget, error)
                       : copy_pieces(c, end_strip, budget, error);
}
