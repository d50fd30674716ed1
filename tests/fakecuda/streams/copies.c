/* Single copies: checks of their memory, and the calls that make them. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- checks ---- */

static bool is_device(const fake_operand *operand) {
    return operand->memory == FAKE_DEVICE;
}

static bool direction_fits(const fake_copy *copy, enum cudaMemcpyKind kind) {
    bool from = is_device(&copy->src.operand), to = is_device(&copy->dst.operand);
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !from && !to;
    case cudaMemcpyHostToDevice:
        return !from && to;
    case cudaMemcpyDeviceToHost:
        return from && !to;
    case cudaMemcpyDeviceToDevice:
        return from && to;
    default:
        return true;
    }
}

static bool is_early(const fake_copy *copy, const fake_request *request) {
    switch (request->order) {
    case cudaMemcpySrcAccessOrderDuringApiCall:
        return true;
    case cudaMemcpySrcAccessOrderAny:
        return fake_config()->any_early;
    default:
        return copy->src.operand.memory == FAKE_PAGEABLE && !request->synchronous;
    }
}

/* CUDA accepts pageable memory, but copies it slowly and not asynchronously, so passing it is taken
 * for a mistake. Sources with another order than the stream's may well be pageable. */
static void check_pageable(const fake_copy *copy, const fake_request *request, bool *wait) {
    if (request->synchronous)
        return;
    if (copy->src.operand.memory == FAKE_PAGEABLE &&
        request->order == cudaMemcpySrcAccessOrderStream)
        fake_violation("%s: source %p is pageable", fake_function(), request->src);
    if (copy->dst.operand.memory == FAKE_PAGEABLE) {
        fake_violation("%s: destination %p is pageable", fake_function(), request->dst);
        *wait = true;
    }
}

cudaError_t fake_copy_check(fake_copy *copy, const fake_request *request, bool *wait) {
    size_t from = fake_copy_span(&copy->src, copy), to = fake_copy_span(&copy->dst, copy);
    if (!fake_operand_find("source", request->src, from, &copy->src.operand) ||
        !fake_operand_find("destination", request->dst, to, &copy->dst.operand))
        return cudaErrorInvalidValue;
    if (!direction_fits(copy, request->kind)) {
        fake_violation("%s from %p to %p: the direction does not match the memory", fake_function(),
                       request->src, request->dst);
        return cudaErrorInvalidValue;
    }
    if (request->batch && (copy->src.operand.host_name || copy->dst.operand.host_name)) {
        fake_violation("%s from %p to %p: a host address that is not valid on the device",
                       fake_function(), request->src, request->dst);
        return cudaErrorInvalidValue;
    }
    check_pageable(copy, request, wait);
    *wait = *wait || request->synchronous;
    if (is_early(copy, request))
        fake_copy_stage(copy);
    return cudaSuccess;
}

void fake_copies_free(fake_copy *copies, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(copies[i].staged);
    free(copies);
}

static cudaError_t submit(fake_stream *stream, fake_op *op, bool wait) {
    cudaError_t error = fake_submit(stream, op);
    if (error == cudaSuccess && wait && !stream->capture)
        error = fake_stream_drain(stream);
    return error;
}

cudaError_t fake_copies_submit(fake_stream *stream, fake_copy *copies, size_t count, bool wait) {
    fake_op *op = fake_op_make(FAKECUDA_COPY);
    op->copies = copies;
    op->copy_count = count;
    return submit(stream, op, wait);
}

static fake_copy *copy_of(const fake_copy *shape) {
    fake_copy *made = malloc(sizeof *made);
    if (!made)
        abort();
    *made = *shape;
    return made;
}

static cudaError_t copy_one(cudaStream_t handle, const fake_copy *shape,
                            const fake_request *request) {
    fake_stream *stream = NULL;
    cudaError_t error = fake_stream_find(handle, &stream);
    if (error != cudaSuccess || shape->width == 0 || shape->height == 0 || shape->depth == 0)
        return error;
    bool wait = false;
    fake_copy *copy = copy_of(shape);
    error = fake_copy_check(copy, request, &wait);
    if (error == cudaSuccess)
        return fake_copies_submit(stream, copy, 1, wait);
    fake_copies_free(copy, 1);
    return error;
}

static fake_copy flat(size_t size) {
    fake_side side = {.pitch = size, .slice = size};
    return (fake_copy){.dst = side, .src = side, .width = size, .height = 1, .depth = 1};
}

/* ---- the calls ---- */

FAKE_EXPORT cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size,
                                        enum cudaMemcpyKind kind, cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_copy shape = flat(size);
    fake_request request = {
        .dst = dst, .src = src, .kind = kind, .order = cudaMemcpySrcAccessOrderStream};
    return fake_leave(error != cudaSuccess ? error : copy_one(stream, &shape, &request));
}

FAKE_EXPORT cudaError_t cudaMemcpy(void *dst, const void *src, size_t size,
                                   enum cudaMemcpyKind kind) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    fake_copy shape = flat(size);
    fake_request request = {.dst = dst,
                            .src = src,
                            .kind = kind,
                            .order = cudaMemcpySrcAccessOrderStream,
                            .synchronous = true};
    return fake_leave(error != cudaSuccess ? error : copy_one(NULL, &shape, &request));
}

static cudaError_t copy_peer(const fake_request *request, size_t size, cudaStream_t stream,
                             const int devices[2]) {
    const fake_range *dst = fake_range_find(request->dst), *src = fake_range_find(request->src);
    if (!fake_device_valid(devices[0]) || !fake_device_valid(devices[1]))
        return cudaErrorInvalidDevice;
    if ((dst && dst->device != devices[0]) || (src && src->device != devices[1])) {
        fake_violation("%s from %p to %p: the devices do not match the memory", fake_function(),
                       request->src, request->dst);
        return cudaErrorInvalidValue;
    }
    fake_copy shape = flat(size);
    return copy_one(stream, &shape, request);
}

FAKE_EXPORT cudaError_t cudaMemcpyPeerAsync(void *dst, int dst_device, const void *src,
                                            int src_device, size_t size, cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    const int devices[2] = {dst_device, src_device};
    fake_request request = {
        .dst = dst, .src = src, .kind = cudaMemcpyDefault, .order = cudaMemcpySrcAccessOrderStream};
    return fake_leave(error != cudaSuccess ? error : copy_peer(&request, size, stream, devices));
}

static bool pitch_fits(size_t width, size_t pitch) {
    return width <= pitch && pitch <= (size_t)fake_attribute(cudaDevAttrMaxPitch);
}

FAKE_EXPORT cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src,
                                          size_t src_pitch, size_t width, size_t height,
                                          enum cudaMemcpyKind kind, cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess && (!pitch_fits(width, dst_pitch) || !pitch_fits(width, src_pitch)))
        error = cudaErrorInvalidPitchValue;
    fake_copy shape = {.dst = {.pitch = dst_pitch},
                       .src = {.pitch = src_pitch},
                       .width = width,
                       .height = height,
                       .depth = 1};
    fake_request request = {
        .dst = dst, .src = src, .kind = kind, .order = cudaMemcpySrcAccessOrderStream};
    return fake_leave(error != cudaSuccess ? error : copy_one(stream, &shape, &request));
}

/* The copy's start and steps in a pitched pointer; false when it exceeds the pitches. */
static bool corner(const struct cudaPitchedPtr *pointer, const struct cudaPos *at,
                   const struct cudaExtent *extent, fake_side *side, void **out) {
    side->pitch = pointer->pitch;
    side->slice = pointer->pitch * pointer->ysize;
    *out = (char *)pointer->ptr + at->z * side->slice + at->y * side->pitch + at->x;
    bool rows_fit = extent->depth <= 1 || at->y + extent->height <= pointer->ysize;
    return pointer->ptr && pitch_fits(at->x + extent->width, pointer->pitch) && rows_fit;
}

static cudaError_t copy_box(const struct cudaMemcpy3DParms *box, cudaStream_t stream) {
    if (!box || box->srcArray || box->dstArray)
        return box ? cudaErrorNotSupported : cudaErrorInvalidValue;
    fake_copy shape = {
        .width = box->extent.width, .height = box->extent.height, .depth = box->extent.depth};
    void *src = NULL;
    fake_request request = {.kind = box->kind, .order = cudaMemcpySrcAccessOrderStream};
    if (!corner(&box->srcPtr, &box->srcPos, &box->extent, &shape.src, &src) ||
        !corner(&box->dstPtr, &box->dstPos, &box->extent, &shape.dst, &request.dst))
        return cudaErrorInvalidPitchValue;
    request.src = src;
    return copy_one(stream, &shape, &request);
}

FAKE_EXPORT cudaError_t cudaMemcpy3DAsync(const struct cudaMemcpy3DParms *box,
                                          cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    return fake_leave(error != cudaSuccess ? error : copy_box(box, stream));
}

/* ---- filling ---- */

static cudaError_t fill(void *dst, int value, size_t size, cudaStream_t handle, bool wait) {
    fake_stream *stream = NULL;
    cudaError_t error = fake_stream_find(handle, &stream);
    if (error != cudaSuccess || size == 0)
        return error;
    fake_copy shape = flat(size);
    shape.value = value;
    if (!fake_operand_find("destination", dst, size, &shape.dst.operand))
        return cudaErrorInvalidValue;
    if (shape.dst.operand.memory == FAKE_PAGEABLE) {
        fake_violation("%s: destination %p is pageable", fake_function(), dst);
        return cudaErrorInvalidValue;
    }
    fake_op *op = fake_op_make(FAKECUDA_MEMSET);
    op->copies = copy_of(&shape);
    op->copy_count = 1;
    return submit(stream, op, wait);
}

FAKE_EXPORT cudaError_t cudaMemsetAsync(void *dst, int value, size_t size, cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    return fake_leave(error != cudaSuccess ? error : fill(dst, value, size, stream, false));
}

FAKE_EXPORT cudaError_t cudaMemset(void *dst, int value, size_t size) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    return fake_leave(error != cudaSuccess ? error : fill(dst, value, size, NULL, true));
}
