/* Holding, stepping and querying streams. */
#include "fake_internal.h"

#include <unistd.h>

FAKE_EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = out ? fake_stream_find(handle, &stream) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = stream->flags;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = out ? fake_stream_find(handle, &stream) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = stream->priority;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaStreamGetId(cudaStream_t handle, unsigned long long *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = out ? fake_stream_find(handle, &stream) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = stream->number;
    return fake_leave(error);
}

#if CUDART_VERSION >= 12080
FAKE_EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t handle, int *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = out ? fake_stream_find(handle, &stream) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *out = stream->device;
    return fake_leave(error);
}
#endif

/* ---- holding ---- */

static void set_hold(cudaStream_t handle, bool held, size_t steps) {
    fake_lock();
    fake_stream *stream = NULL;
    (void)fake_stream_find(handle, &stream);
    if (stream) {
        stream->held = held;
        stream->steps = steps;
        pthread_cond_broadcast(&stream->work);
    }
    fake_unlock();
}

FAKE_EXPORT void fakecuda_hold(cudaStream_t stream) {
    set_hold(stream, true, 0);
}

FAKE_EXPORT void fakecuda_release(cudaStream_t stream) {
    set_hold(stream, false, 0);
}

FAKE_EXPORT void fakecuda_step(cudaStream_t stream, size_t operations) {
    set_hold(stream, true, operations);
}

FAKE_EXPORT void fakecuda_hold_all(bool hold) {
    fake_lock();
    fake_hold_all = hold;
    for (fake_stream *stream = fake_streams_first(); stream; stream = stream->next)
        pthread_cond_broadcast(&stream->work);
    fake_unlock();
}

FAKE_EXPORT size_t fakecuda_pending(cudaStream_t handle) {
    fake_lock();
    fake_stream *stream = NULL;
    (void)fake_stream_find(handle, &stream);
    size_t pending = stream ? (size_t)(stream->submitted - stream->completed) : 0;
    fake_unlock();
    return pending;
}

FAKE_EXPORT size_t fakecuda_streams(cudaStream_t *out, size_t capacity) {
    fake_lock();
    size_t live = fake_streams_live(), at = live;
    for (fake_stream *stream = fake_streams_first(); stream; stream = stream->next)
        if (stream->created && !stream->destroyed && --at < capacity)
            out[at] = stream;
    fake_unlock();
    return live;
}

/* The stream does nothing until a call, or another stream, makes it go on. */
static bool settled(const fake_stream *stream) {
    const fake_op *running = stream->running;
    if (running && running->kind == FAKECUDA_EXTERNAL)
        return running->external.stuck && running->external.stuck(running->external.user);
    if (running)
        return running->kind == FAKECUDA_WAIT && !running->ticket->done;
    return !stream->head || ((stream->held || fake_hold_all) && stream->steps == 0);
}

static bool all_settled(void) {
    fake_lock();
    bool all = true;
    for (const fake_stream *stream = fake_streams_first(); stream && all; stream = stream->next)
        all = settled(stream);
    fake_unlock();
    return all;
}

FAKE_EXPORT void fakecuda_settle(void) {
    while (!all_settled())
        usleep(100);
}
