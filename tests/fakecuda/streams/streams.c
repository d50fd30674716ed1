/* Streams: a queue and a thread each, and their order with the legacy stream. */
#include "fake_internal.h"

#include <stdlib.h>
#include <unistd.h>

#define QUEUE_ENTRIES 1024 /* of a stream, by default */

static fake_stream *streams; /* newest first, destroyed ones too */
static uint64_t numbers, full_queues;

bool fake_hold_all;

fake_stream *fake_streams_first(void) {
    return streams;
}

bool fake_stream_is_legacy(const fake_stream *stream) {
    return !stream->created && stream->owner == 0;
}

bool fake_stream_joins_legacy(const fake_stream *stream) {
    return !fake_stream_is_legacy(stream) && !(stream->flags & cudaStreamNonBlocking);
}

static bool idle(const fake_stream *stream) {
    return stream->completed == stream->submitted;
}

/* ---- the thread ---- */

static bool ready(const fake_stream *stream) {
    if (!stream->head)
        return false;
    return !(stream->held || fake_hold_all) || stream->steps > 0 || stream->closing ||
           fake_context_dead(stream->device);
}

static fake_op *take(fake_stream *stream) {
    while (!ready(stream) && !(stream->closing && !stream->head))
        fake_idle(&stream->work);
    fake_op *op = stream->head;
    if (op) {
        stream->head = op->next;
        stream->tail = stream->head ? stream->tail : &stream->head;
        stream->steps -= stream->steps > 0;
    }
    stream->running = op;
    return op;
}

static void *work(void *argument) {
    fake_stream *stream = argument;
    fake_lock();
    for (fake_op *op = take(stream); op; op = take(stream)) {
        fake_op_run(op, stream->device);
        fake_release(&stream->edge);
        stream->running = NULL;
        stream->completed++;
        fake_op_free(op);
        pthread_cond_broadcast(&stream->done);
    }
    fake_unlock();
    return NULL;
}

static fake_stream *stream_make(int device, unsigned flags, int priority) {
    fake_stream *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->device = device;
    made->flags = flags;
    made->priority = priority;
    made->number = ++numbers;
    made->call = fake_call_number();
    made->tail = &made->head;
    pthread_cond_init(&made->work, NULL);
    pthread_cond_init(&made->done, NULL);
    if (pthread_create(&made->thread, NULL, work, made) != 0) {
        free(made);
        return NULL;
    }
    made->next = streams;
    streams = made;
    return made;
}

/* ---- handles ---- */

/* A device's legacy stream (owner 0), or its per-thread stream of a thread. */
static fake_stream *default_stream(int device, uint64_t owner) {
    fake_stream *stream = streams;
    while (stream && (stream->created || stream->device != device || stream->owner != owner))
        stream = stream->next;
    if (!stream)
        stream = stream_make(device, 0, 0);
    if (!stream)
        abort();
    stream->owner = owner;
    return stream;
}

static fake_stream *created_stream(cudaStream_t handle) {
    fake_stream *stream = streams;
    while (stream && stream != handle)
        stream = stream->next;
    if (stream && stream->created && !stream->destroyed)
        return stream;
    fake_violation("%s of stream %p, which %s", fake_function(), (void *)handle,
                   stream ? "was destroyed" : "never existed");
    return NULL;
}

cudaError_t fake_stream_find(cudaStream_t handle, fake_stream **out) {
    const fake_thread *thread = fake_self();
    if (!handle || handle == cudaStreamLegacy)
        *out = default_stream(thread->device, 0);
    else if (handle == cudaStreamPerThread)
        *out = default_stream(thread->device, thread->number);
    else
        *out = created_stream(handle);
    return *out ? fake_context_error((*out)->device) : cudaErrorInvalidResourceHandle;
}

/* ---- enqueuing ---- */

static void append(fake_stream *stream, fake_op *op) {
    fake_release(op);
    op->next = NULL;
    *stream->tail = op;
    stream->tail = &op->next;
    stream->submitted++;
    pthread_cond_signal(&stream->work);
}

/* Everything in `first` so far precedes what is enqueued in `second` from here on. */
static void join(fake_stream *first, fake_stream *second) {
    if (first->destroyed && idle(first)) {
        fake_acquire(&first->edge); /* its thread has ended; the next operation passes it on */
        return;
    }
    fake_op *record = fake_op_make(FAKECUDA_RECORD), *wait = fake_op_make(FAKECUDA_WAIT);
    record->internal = wait->internal = true;
    record->ticket = fake_ticket_make();
    wait->ticket = fake_ticket_keep(record->ticket);
    append(first, record);
    append(second, wait);
}

/* The legacy stream follows all work on blocking streams so far and precedes their later work. */
static void order_with_legacy(fake_stream *stream) {
    if (fake_stream_is_legacy(stream)) {
        for (fake_stream *each = streams; each; each = each->next) {
            if (each->device != stream->device || !fake_stream_joins_legacy(each) ||
                each->seen_end == each->submitted)
                continue;
            join(each, stream);
            each->seen_end = each->submitted;
        }
        return;
    }
    fake_stream *legacy = streams;
    while (legacy && (legacy->device != stream->device || !fake_stream_is_legacy(legacy)))
        legacy = legacy->next;
    if (!legacy || !fake_stream_joins_legacy(stream) || stream->legacy_seen == legacy->submitted)
        return;
    join(legacy, stream);
    stream->legacy_seen = legacy->submitted;
}

static void wait_for_room(fake_stream *stream) {
    const fakecuda_config *config = fake_config();
    size_t room = config->queue_entries ? config->queue_entries : QUEUE_ENTRIES;
    if (stream->submitted - stream->completed < room)
        return;
    full_queues++;
    if (config->full_is_violation) {
        fake_violation("%s: the stream holds %zu entries already", fake_function(), room);
        return;
    }
    while (stream->submitted - stream->completed >= room && !fake_context_dead(stream->device))
        fake_wait(&stream->done, "room in a stream's queue");
}

cudaError_t fake_submit(fake_stream *stream, fake_op *op) {
    cudaError_t error = fake_capture_use(stream);
    if (error == cudaSuccess && stream->capture) {
        fake_op_free(op);
        return fake_capture_add(stream);
    }
    if (error != cudaSuccess) {
        fake_op_free(op);
        return error;
    }
    if (fake_stream_is_legacy(stream) && fake_config()->forbid_legacy)
        fake_violation("%s on the legacy stream", fake_function());
    wait_for_room(stream);
    order_with_legacy(stream);
    append(stream, op);
    return cudaSuccess;
}

/* ---- waiting ---- */

cudaError_t fake_stream_drain(fake_stream *stream) {
    if (fake_stream_is_legacy(stream))
        order_with_legacy(stream);
    uint64_t until = stream->submitted;
    while (stream->completed < until && !fake_context_dead(stream->device))
        fake_wait(&stream->done, "a stream");
    fake_acquire(&stream->edge);
    return fake_context_error(stream->device);
}

void fake_synchronize(int device) {
    for (fake_stream *stream = streams; stream; stream = stream->next)
        if (device < 0 || stream->device == device)
            (void)fake_stream_drain(stream);
}

/* Whether waiting for `stream` includes `each`: the legacy stream follows all blocking ones. */
static bool concerns(const fake_stream *each, const fake_stream *stream) {
    if (each == stream)
        return true;
    return fake_stream_is_legacy(stream) && each->device == stream->device &&
           fake_stream_joins_legacy(each);
}

static cudaError_t query(const fake_stream *stream) {
    for (const fake_stream *each = streams; each; each = each->next)
        if (concerns(each, stream) && !idle(each))
            return cudaErrorNotReady;
    for (fake_stream *each = streams; each; each = each->next)
        if (concerns(each, stream))
            fake_acquire(&each->edge);
    return cudaSuccess;
}

bool fake_memory_in_use(const char *raw, size_t size) {
    for (const fake_stream *stream = streams; stream; stream = stream->next) {
        if (fake_context_dead(stream->device))
            continue;
        if (stream->running && fake_op_uses(stream->running, raw, size))
            return true;
        for (const fake_op *op = stream->head; op; op = op->next)
            if (fake_op_uses(op, raw, size))
                return true;
    }
    return false;
}

/* ---- the calls ---- */

static cudaError_t create(cudaError_t error, cudaStream_t *out, unsigned flags, int priority) {
    if (error != cudaSuccess)
        return error;
    if (!out || (flags & ~(unsigned)cudaStreamNonBlocking) != 0)
        return cudaErrorInvalidValue;
    int clamped = priority > 0 ? 0 : priority < -5 ? -5 : priority;
    *out = stream_make(fake_self()->device, flags, clamped);
    if (!*out)
        return cudaErrorMemoryAllocation;
    (*out)->created = true;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaStreamCreate(cudaStream_t *out) {
    return fake_leave(create(fake_enter(__func__, 0), out, cudaStreamDefault, 0));
}

FAKE_EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    return fake_leave(create(fake_enter(__func__, 0), out, flags, 0));
}

FAKE_EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags,
                                                     int priority) {
    return fake_leave(create(fake_enter(__func__, 0), out, flags, priority));
}

/* Returns at once; queued work still happens. */
static cudaError_t destroy(cudaStream_t handle) {
    if (!handle || handle == cudaStreamLegacy || handle == cudaStreamPerThread)
        return cudaErrorInvalidResourceHandle;
    fake_stream *stream = created_stream(handle);
    if (!stream)
        return cudaErrorInvalidResourceHandle;
    fake_capture_leave(stream);
    stream->destroyed = stream->closing = true;
    pthread_cond_broadcast(&stream->work);
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    cudaError_t error = fake_enter(__func__, 0);
    if (fake_gives_back())
        error = fake_first(error, destroy(handle));
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = fake_stream_find(handle, &stream);
    if (error == cudaSuccess)
        error = fake_capture_synchronize(stream);
    if (error == cudaSuccess)
        error = fake_stream_drain(stream);
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaStreamQuery(cudaStream_t handle) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = fake_stream_find(handle, &stream);
    if (error == cudaSuccess)
        error = fake_capture_synchronize(stream);
    if (error == cudaSuccess)
        error = query(stream);
    return fake_leave_query(error);
}

FAKE_EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void *user) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess && !function)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = fake_stream_find(handle, &stream);
    if (error == cudaSuccess) {
        fake_op *op = fake_op_make(FAKECUDA_HOST_FUNCTION);
        op->function = function;
        op->user = user;
        error = fake_submit(stream, op);
    }
    return fake_leave(error);
}

/* ---- the end ---- */

FAKE_EXPORT uint64_t fakecuda_full_queues(void) {
    fake_lock();
    uint64_t count = full_queues;
    fake_unlock();
    return count;
}

size_t fake_streams_live(void) {
    size_t live = 0;
    for (const fake_stream *stream = streams; stream; stream = stream->next)
        live += stream->created && !stream->destroyed;
    return live;
}

static void stream_end(fake_stream *stream) {
    stream->closing = true;
    pthread_cond_broadcast(&stream->work);
    fake_unlock();
    pthread_join(stream->thread, NULL);
    fake_lock();
    pthread_cond_destroy(&stream->work);
    pthread_cond_destroy(&stream->done);
    free(stream);
}

void fake_streams_reset(void) {
    fake_hold_all = false;
    for (fake_stream *stream = streams; stream; stream = stream->next) {
        stream->held = false;
        pthread_cond_broadcast(&stream->work);
    }
    fake_synchronize(-1);
    while (streams) {
        fake_stream *gone = streams;
        streams = gone->next;
        if (gone->created && !gone->destroyed)
            fake_violation("leaked: a stream, made by call %llu", (unsigned long long)gone->call);
        stream_end(gone);
    }
    full_queues = 0;
}
