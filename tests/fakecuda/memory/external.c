/* For fakes of other libraries: their work in streams, and which device memory belongs to. */
#include "fake_internal.h"

#include <stdlib.h>

/* Resolves a stream handle on that device, which need not be the current one. */
static cudaError_t find(int device, cudaStream_t handle, fake_stream **out) {
    fake_thread *thread = fake_self();
    int current = thread->device;
    thread->device = device;
    cudaError_t error = fake_stream_find(handle, out);
    thread->device = current;
    if (error == cudaSuccess && (*out)->device != device)
        error = cudaErrorInvalidResourceHandle;
    return error;
}

/* The operation lists the memory as copy destinations, so that freeing it early is reported. */
static fake_op *make(const fakecuda_work *work) {
    fake_op *op = fake_op_make(FAKECUDA_EXTERNAL);
    op->external = *work;
    op->external.spans = NULL;
    op->copies = calloc(work->span_count + 1, sizeof *op->copies);
    if (!op->copies)
        abort();
    for (size_t i = 0; i < work->span_count; i++) {
        fake_copy copy = {.width = work->spans[i].size, .height = 1, .depth = 1};
        if (copy.width > 0 &&
            fake_operand_find("memory", work->spans[i].address, copy.width, &copy.dst.operand))
            op->copies[op->copy_count++] = copy;
    }
    return op;
}

FAKE_EXPORT cudaError_t fakecuda_enqueue(int device, cudaStream_t handle,
                                         const fakecuda_work *work) {
    fake_begin("fakecuda_enqueue");
    fake_stream *stream = NULL;
    cudaError_t error =
        fake_device_valid(device) ? find(device, handle, &stream) : cudaErrorInvalidDevice;
    if (error == cudaSuccess && stream->capture)
        error = cudaErrorStreamCaptureUnsupported;
    if (error == cudaSuccess)
        error = fake_submit(stream, make(work));
    fake_unlock();
    return error;
}

FAKE_EXPORT int fakecuda_device(void) {
    fake_lock();
    int device = fake_self()->device;
    fake_unlock();
    return device;
}

FAKE_EXPORT int fakecuda_device_of(const void *address) {
    fake_lock();
    const fake_range *range = fake_range_find(address);
    int device = range && range->memory == FAKE_DEVICE ? range->device : -1;
    fake_unlock();
    return device;
}

FAKE_EXPORT bool fakecuda_dead(int device) {
    fake_lock();
    bool dead = fake_device_valid(device) && fake_context_dead(device);
    fake_unlock();
    return dead;
}
