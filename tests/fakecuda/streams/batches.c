/* Batches of copies: the runtime's calls and the driver's, with the signature of either version.
 * The whole batch is checked before it is enqueued, as one operation. */
#include "fake_internal.h"

#include <cuda.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX ((size_t)1 << 18) /* compared with each other */

typedef struct batch {
    fake_copy *copies;
    size_t count;
    size_t failing; /* index of the copy that an error concerns; SIZE_MAX: none */
    bool wait;
} batch;

/* The caller's stream, if it accepts a batch. A capture is refused but stays valid. */
static cudaError_t batch_stream(cudaStream_t handle, fake_stream **out) {
    cudaError_t error = fake_stream_find(handle, out);
    if (error != cudaSuccess)
        return error;
    if (fake_stream_is_legacy(*out))
        return cudaErrorInvalidValue;
    return (*out)->capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

static bool order_valid(enum cudaMemcpySrcAccessOrder order, unsigned flags) {
    return order >= cudaMemcpySrcAccessOrderStream && order <= cudaMemcpySrcAccessOrderAny &&
           (flags & ~(unsigned)cudaMemcpyFlagPreferOverlapWithCompute) == 0;
}

static void batch_begin(batch *self, size_t count) {
    *self = (batch){.copies = calloc(count, sizeof *self->copies), .count = count};
    if (!self->copies)
        abort();
    size_t limit = fake_config()->batch_copies;
    if (limit > 0 && count > limit)
        fake_violation("%s: %zu copies in a batch", fake_function(), count);
}

/* ---- dependence: copies of one batch must not touch the same bytes, unless both read ---- */

typedef struct row {
    const char *begin, *end;
    bool written;
} row;

static int by_begin(const void *left, const void *right) {
    const row *a = left, *b = right;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

static void add_rows(row *rows, size_t *count, const fake_side *side, const fake_copy *copy) {
    for (size_t i = 0; i < copy->height * copy->depth; i++) {
        const char *begin =
            side->operand.raw + i / copy->height * side->slice + i % copy->height * side->pitch;
        rows[(*count)++] = (row){begin, begin + copy->width, side == &copy->dst};
    }
}

static bool rows_clash(row *rows, size_t count) {
    const char *read_to = NULL, *written_to = NULL;
    qsort(rows, count, sizeof *rows, by_begin);
    for (size_t i = 0; i < count; i++) {
        const row *each = &rows[i];
        if (each->begin < written_to || (each->written && each->begin < read_to))
            return true;
        if (each->written)
            written_to = each->end > written_to ? each->end : written_to;
        else
            read_to = each->end > read_to ? each->end : read_to;
    }
    return false;
}

static void check_dependence(const batch *self) {
    size_t total = 0, count = 0;
    for (size_t i = 0; i < self->count; i++)
        total += 2 * self->copies[i].height * self->copies[i].depth;
    if (total == 0 || total > ROWS_MAX)
        return;
    row *rows = malloc(total * sizeof *rows);
    if (!rows)
        abort();
    for (size_t i = 0; i < self->count; i++) {
        add_rows(rows, &count, &self->copies[i].dst, &self->copies[i]);
        add_rows(rows, &count, &self->copies[i].src, &self->copies[i]);
    }
    if (rows_clash(rows, count))
        fake_violation("%s: copies of one batch depend on each other", fake_function());
    free(rows);
}

static void shuffle(const batch *self) {
    uint64_t seed = fake_config()->shuffle;
    if (seed == 0)
        return;
    uint64_t x = (seed + fake_call_number()) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (size_t i = self->count; i > 1; i--) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        size_t j = (size_t)(x >> 11) % i;
        fake_copy other = self->copies[j];
        self->copies[j] = self->copies[i - 1];
        self->copies[i - 1] = other;
    }
}

static cudaError_t batch_end(batch *self, fake_stream *stream, cudaError_t error) {
    if (error != cudaSuccess) {
        fake_copies_free(self->copies, self->count);
        return error;
    }
    check_dependence(self);
    shuffle(self);
    self->failing = SIZE_MAX;
    return fake_copies_submit(stream, self->copies, self->count, self->wait);
}

/* ---- flat copies ---- */

typedef struct flat_batch {
    void *const *dsts;
    const void *const *srcs;
    const size_t *sizes;
    size_t count;
    const struct cudaMemcpyAttributes *attributes;
    const size_t *firsts; /* the first copy of each attribute */
    size_t attribute_count;
} flat_batch;

static bool attributes_valid(const flat_batch *self) {
    if (!self->attributes || !self->firsts || self->attribute_count == 0 ||
        self->attribute_count > self->count || self->firsts[0] != 0)
        return false;
    for (size_t i = 0; i < self->attribute_count; i++) {
        const struct cudaMemcpyAttributes *each = &self->attributes[i];
        if (self->firsts[i] >= self->count || (i > 0 && self->firsts[i] <= self->firsts[i - 1]) ||
            !order_valid(each->srcAccessOrder, each->flags))
            return false;
    }
    return true;
}

static cudaError_t flat_check(const flat_batch *self, batch *out) {
    cudaError_t error = cudaSuccess;
    size_t attribute = 0;
    for (size_t i = 0; i < self->count && error == cudaSuccess; i++) {
        out->failing = i;
        while (attribute + 1 < self->attribute_count && self->firsts[attribute + 1] <= i)
            attribute++;
        if (!self->dsts[i] || !self->srcs[i] || self->sizes[i] == 0)
            return cudaErrorInvalidValue;
        fake_copy *copy = &out->copies[i];
        fake_side side = {.pitch = self->sizes[i], .slice = self->sizes[i]};
        *copy =
            (fake_copy){.dst = side, .src = side, .width = self->sizes[i], .height = 1, .depth = 1};
        fake_request request = {.dst = self->dsts[i],
                                .src = self->srcs[i],
                                .kind = cudaMemcpyDefault,
                                .order = self->attributes[attribute].srcAccessOrder,
                                .batch = true};
        error = fake_copy_check(copy, &request, &out->wait);
    }
    return error;
}

static cudaError_t flat_submit(const flat_batch *self, cudaStream_t handle, size_t *failing) {
    fake_stream *stream = NULL;
    *failing = SIZE_MAX;
    cudaError_t error = batch_stream(handle, &stream);
    if (error != cudaSuccess)
        return error;
    if (!self->dsts || !self->srcs || !self->sizes || self->count == 0 || !attributes_valid(self))
        return cudaErrorInvalidValue;
    batch work;
    batch_begin(&work, self->count);
    error = batch_end(&work, stream, flat_check(self, &work));
    *failing = work.failing;
    return error;
}

/* ---- boxes ---- */

static bool operand(const struct cudaMemcpy3DOperand *self, const struct cudaExtent *extent,
                    fake_side *side) {
    size_t row = self->op.ptr.rowLength, layer = self->op.ptr.layerHeight;
    side->pitch = row ? row : extent->width;
    side->slice = side->pitch * (layer ? layer : extent->height);
    return self->type == cudaMemcpyOperandTypePointer && self->op.ptr.ptr &&
           side->pitch >= extent->width && (layer == 0 || layer >= extent->height) &&
           side->pitch <= (size_t)fake_attribute(cudaDevAttrMaxPitch);
}

static cudaError_t box_check(const struct cudaMemcpy3DBatchOp *self, fake_copy *copy, bool *wait) {
    const struct cudaExtent *extent = &self->extent;
    if (extent->width == 0 || extent->height == 0 || extent->depth == 0 ||
        !operand(&self->src, extent, &copy->src) || !operand(&self->dst, extent, &copy->dst) ||
        !order_valid(self->srcAccessOrder, self->flags))
        return cudaErrorInvalidValue;
    copy->width = extent->width;
    copy->height = extent->height;
    copy->depth = extent->depth;
    fake_request request = {.dst = self->dst.op.ptr.ptr,
                            .src = self->src.op.ptr.ptr,
                            .kind = cudaMemcpyDefault,
                            .order = self->srcAccessOrder,
                            .batch = true};
    return fake_copy_check(copy, &request, wait);
}

static cudaError_t box_submit(size_t count, const struct cudaMemcpy3DBatchOp *list,
                              unsigned long long flags, cudaStream_t handle, size_t *failing) {
    fake_stream *stream = NULL;
    *failing = SIZE_MAX;
    cudaError_t error = batch_stream(handle, &stream);
    if (error != cudaSuccess)
        return error;
    if (count == 0 || !list || flags != 0)
        return cudaErrorInvalidValue;
    batch work;
    batch_begin(&work, count);
    for (size_t i = 0; i < count && error == cudaSuccess; i++) {
        work.failing = i;
        error = box_check(&list[i], &work.copies[i], &work.wait);
    }
    error = batch_end(&work, stream, error);
    *failing = work.failing;
    return error;
}

/* ---- the runtime's calls ---- */

#if CUDART_VERSION >= 13000
FAKE_EXPORT cudaError_t cudaMemcpyBatchAsync(void *const *dsts, const void *const *srcs,
                                             const size_t *sizes, size_t count,
                                             struct cudaMemcpyAttributes *attributes,
                                             size_t *firsts, size_t attribute_count,
                                             cudaStream_t stream) {
    size_t failing = 0;
    size_t *out = &failing;
    const void *const *from = srcs;
#else
FAKE_EXPORT cudaError_t cudaMemcpyBatchAsync(void **dsts, void **srcs, size_t *sizes, size_t count,
                                             struct cudaMemcpyAttributes *attributes,
                                             size_t *firsts, size_t attribute_count, size_t *out,
                                             cudaStream_t stream) {
    const void *const *from = (const void *const *)srcs;
#endif
    cudaError_t error = fake_enter("cudaMemcpyBatchAsync", 0);
    flat_batch self = {dsts, from, sizes, count, attributes, firsts, attribute_count};
    if (error == cudaSuccess)
        error = out ? flat_submit(&self, stream, out) : cudaErrorInvalidValue;
    return fake_leave(error);
}

#if CUDART_VERSION >= 13000
FAKE_EXPORT cudaError_t cudaMemcpy3DBatchAsync(size_t count, struct cudaMemcpy3DBatchOp *list,
                                               unsigned long long flags, cudaStream_t stream) {
    size_t failing = 0;
    size_t *out = &failing;
#else
FAKE_EXPORT cudaError_t cudaMemcpy3DBatchAsync(size_t count, struct cudaMemcpy3DBatchOp *list,
                                               size_t *out, unsigned long long flags,
                                               cudaStream_t stream) {
#endif
    cudaError_t error = fake_enter("cudaMemcpy3DBatchAsync", 0);
    if (error == cudaSuccess)
        error = out ? box_submit(count, list, flags, stream, out) : cudaErrorInvalidValue;
    return fake_leave(error);
}

/* ---- the driver's: the same structures under other names ---- */

_Static_assert(sizeof(CUmemcpyAttributes) == sizeof(struct cudaMemcpyAttributes) &&
                   sizeof(CUDA_MEMCPY3D_BATCH_OP) == sizeof(struct cudaMemcpy3DBatchOp) &&
                   sizeof(CUdeviceptr) == sizeof(void *),
               "the driver's structures are the runtime's");

static void *copied(const void *list, size_t count, size_t size) {
    void *copy = list && count > 0 ? malloc(count * size) : NULL;
    if (copy)
        memcpy(copy, list, count * size);
    return copy;
}

static CUresult driver_flat(const CUdeviceptr *dsts, const CUdeviceptr *srcs, const size_t *sizes,
                            size_t count, const CUmemcpyAttributes *attributes,
                            const size_t *firsts, size_t attribute_count, size_t *failing,
                            CUstream stream) {
    cudaError_t error = fake_enter("cuMemcpyBatchAsync", 0);
    void *to = copied(dsts, count, sizeof *dsts);
    void *from = copied(srcs, count, sizeof *srcs);
    void *how = copied(attributes, attribute_count, sizeof *attributes);
    flat_batch self = {to, from, sizes, count, how, firsts, attribute_count};
    if (error == cudaSuccess)
        error = failing ? flat_submit(&self, stream, failing) : cudaErrorInvalidValue;
    free(to);
    free(from);
    free(how);
    return (CUresult)fake_leave_driver(error);
}

static CUresult CUDAAPI flat_12080(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes,
                                   size_t count, CUmemcpyAttributes *attributes, size_t *firsts,
                                   size_t attribute_count, size_t *failing, CUstream stream) {
    return driver_flat(dsts, srcs, sizes, count, attributes, firsts, attribute_count, failing,
                       stream);
}

static CUresult CUDAAPI flat_13000(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes,
                                   size_t count, CUmemcpyAttributes *attributes, size_t *firsts,
                                   size_t attribute_count, CUstream stream) {
    size_t failing = 0;
    return driver_flat(dsts, srcs, sizes, count, attributes, firsts, attribute_count, &failing,
                       stream);
}

static CUresult CUDAAPI boxes_12080(size_t count, CUDA_MEMCPY3D_BATCH_OP *list, size_t *failing,
                                    unsigned long long flags, CUstream stream) {
    cudaError_t error = fake_enter("cuMemcpy3DBatchAsync", 0);
    void *boxes = copied(list, count, sizeof *list);
    if (error == cudaSuccess)
        error = failing ? box_submit(count, boxes, flags, stream, failing) : cudaErrorInvalidValue;
    free(boxes);
    return (CUresult)fake_leave_driver(error);
}

static CUresult CUDAAPI boxes_13000(size_t count, CUDA_MEMCPY3D_BATCH_OP *list,
                                    unsigned long long flags, CUstream stream) {
    size_t failing = 0;
    return boxes_12080(count, list, &failing, flags, stream);
}

const fake_entry fake_batch_entries[] = {
    {"cuMemcpyBatchAsync", 13000, (fake_function_pointer)flat_13000},
    {"cuMemcpyBatchAsync", 12080, (fake_function_pointer)flat_12080},
    {"cuMemcpy3DBatchAsync", 13000, (fake_function_pointer)boxes_13000},
    {"cuMemcpy3DBatchAsync", 12080, (fake_function_pointer)boxes_12080},
};
const size_t fake_batch_entry_count = sizeof fake_batch_entries / sizeof *fake_batch_entries;
