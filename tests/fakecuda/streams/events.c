/* Events: each recording makes a ticket, to which waits and queries refer. */
#include "fake_internal.h"

#include <stdlib.h>

typedef struct CUevent_st {
    struct CUevent_st *next; /* all events, newest first, destroyed ones too */
    unsigned flags;
    int device;
    bool destroyed;
    fake_ticket *ticket;     /* of the last recording, NULL before the first */
    fake_captured *captured; /* when recorded in a capture */
    uint64_t call;
} fake_event;

static fake_event *events;
static uint64_t empty_waits;

static cudaError_t find(cudaEvent_t handle, fake_event **out) {
    fake_event *event = events;
    while (event && event != handle)
        event = event->next;
    *out = event;
    if (event && !event->destroyed)
        return cudaSuccess;
    fake_violation("%s of event %p, which %s", fake_function(), (void *)handle,
                   event ? "was destroyed" : "never existed");
    return cudaErrorInvalidResourceHandle;
}

static void forget(fake_event *event) {
    fake_ticket_drop(event->ticket);
    fake_captured_free(event->captured);
    event->ticket = NULL;
    event->captured = NULL;
}

static cudaError_t create(cudaError_t error, cudaEvent_t *out, unsigned flags) {
    const unsigned known = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
    if (error != cudaSuccess)
        return error;
    if (!out || (flags & ~known) != 0)
        return cudaErrorInvalidValue;
    if ((flags & cudaEventInterprocess) && !(flags & cudaEventDisableTiming))
        return cudaErrorInvalidValue;
    fake_event *made = calloc(1, sizeof *made);
    if (!made)
        return cudaErrorMemoryAllocation;
    made->flags = flags;
    made->device = fake_self()->device;
    made->call = fake_call_number();
    made->next = events;
    events = made;
    *out = made;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaEventCreate(cudaEvent_t *out) {
    return fake_leave(create(fake_enter(__func__, 0), out, cudaEventDefault));
}

FAKE_EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    return fake_leave(create(fake_enter(__func__, 0), out, flags));
}

FAKE_EXPORT cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    cudaError_t error = fake_enter(__func__, 0);
    if (fake_gives_back()) {
        fake_event *event = NULL;
        cudaError_t found = find(handle, &event);
        if (found == cudaSuccess) {
            event->destroyed = true;
            forget(event);
        }
        error = fake_first(error, found);
    }
    return fake_leave(error);
}

/* ---- recording and waiting ---- */

static cudaError_t record_captured(fake_event *event, fake_stream *stream) {
    fake_captured *captured = NULL;
    cudaError_t error = fake_capture_record(stream, &captured);
    if (error == cudaSuccess) {
        forget(event);
        event->captured = captured;
    }
    return error;
}

static cudaError_t record(cudaEvent_t handle, cudaStream_t stream_handle) {
    fake_event *event = NULL;
    fake_stream *stream = NULL;
    cudaError_t error = find(handle, &event);
    if (error == cudaSuccess)
        error = fake_stream_find(stream_handle, &stream);
    if (error == cudaSuccess && event->device != stream->device)
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = fake_capture_use(stream);
    if (error != cudaSuccess)
        return error;
    if (stream->capture)
        return record_captured(event, stream);
    fake_op *op = fake_op_make(FAKECUDA_RECORD);
    op->ticket = fake_ticket_make();
    forget(event);
    event->ticket = fake_ticket_keep(op->ticket);
    return fake_submit(stream, op);
}

FAKE_EXPORT cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
    cudaError_t error = fake_enter(__func__, 0);
    return fake_leave(error != cudaSuccess ? error : record(handle, stream));
}

FAKE_EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream,
                                                 unsigned flags) {
    cudaError_t error = fake_enter(__func__, 0);
    if (error == cudaSuccess && flags != cudaEventRecordDefault)
        error = cudaErrorInvalidValue;
    return fake_leave(error != cudaSuccess ? error : record(handle, stream));
}

static cudaError_t wait_in_stream(fake_stream *stream, fake_event *event, unsigned flags) {
    if (event->captured)
        return fake_capture_wait(stream, event->captured);
    cudaError_t error = fake_capture_use(stream);
    if (error != cudaSuccess)
        return error;
    if (!event->ticket) {
        empty_waits++;
        return cudaSuccess;
    }
    if (stream->capture && flags == cudaEventWaitDefault)
        return fake_capture_foreign_event(stream);
    fake_op *op = fake_op_make(FAKECUDA_WAIT);
    op->ticket = fake_ticket_keep(event->ticket);
    return fake_submit(stream, op);
}

FAKE_EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle,
                                            unsigned flags) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    fake_event *event = NULL;
    if (error == cudaSuccess && flags != cudaEventWaitDefault && flags != cudaEventWaitExternal)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = find(event_handle, &event);
    if (error == cudaSuccess)
        error = fake_stream_find(handle, &stream);
    if (error == cudaSuccess)
        error = wait_in_stream(stream, event, flags);
    return fake_leave(error);
}

/* ---- queries ---- */

static cudaError_t find_to_ask(cudaEvent_t handle, fake_event **out) {
    cudaError_t error = find(handle, out);
    if (error != cudaSuccess)
        return error;
    if ((*out)->captured) {
        fake_captured_used((*out)->captured);
        return cudaErrorCapturedEvent;
    }
    return fake_context_error((*out)->device);
}

FAKE_EXPORT cudaError_t cudaEventQuery(cudaEvent_t handle) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    fake_event *event = NULL;
    if (error == cudaSuccess)
        error = find_to_ask(handle, &event);
    if (error == cudaSuccess && event->ticket) {
        if (event->ticket->done)
            fake_acquire(event->ticket);
        else
            error = cudaErrorNotReady;
    }
    return fake_leave_query(error);
}

/* Keeps the ticket: the event may be recorded again during the wait. */
static cudaError_t wait_for(fake_ticket *ticket, int device) {
    fake_ticket_keep(ticket);
    while (!ticket->done)
        fake_wait(&ticket->changed, "an event");
    fake_acquire(ticket);
    fake_ticket_drop(ticket);
    return fake_context_error(device);
}

FAKE_EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    cudaError_t error = fake_enter(__func__, FAKE_UNSAFE);
    fake_event *event = NULL;
    if (error == cudaSuccess)
        error = find_to_ask(handle, &event);
    if (error == cudaSuccess && event->ticket)
        error = wait_for(event->ticket, event->device);
    return fake_leave(error);
}

static cudaError_t elapsed(float *out, const fake_event *start, const fake_event *end) {
    if (start->device != end->device || !start->ticket || !end->ticket ||
        ((start->flags | end->flags) & cudaEventDisableTiming))
        return cudaErrorInvalidResourceHandle;
    if (!start->ticket->done || !end->ticket->done)
        return cudaErrorNotReady;
    const struct timespec *from = &start->ticket->at, *to = &end->ticket->at;
    *out = (float)((double)(to->tv_sec - from->tv_sec) * 1e3 +
                   (double)(to->tv_nsec - from->tv_nsec) / 1e6);
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaEventElapsedTime(float *out, cudaEvent_t start_handle,
                                             cudaEvent_t end_handle) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_event *start = NULL, *end = NULL;
    if (error == cudaSuccess && !out)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = find_to_ask(start_handle, &start);
    if (error == cudaSuccess)
        error = find_to_ask(end_handle, &end);
    if (error == cudaSuccess)
        error = elapsed(out, start, end);
    return fake_leave(error);
}

FAKE_EXPORT uint64_t fakecuda_empty_waits(void) {
    fake_lock();
    uint64_t waits = empty_waits;
    fake_unlock();
    return waits;
}

size_t fake_events_live(void) {
    size_t live = 0;
    for (const fake_event *event = events; event; event = event->next)
        live += !event->destroyed;
    return live;
}

void fake_events_reset(void) {
    while (events) {
        fake_event *gone = events;
        events = gone->next;
        if (!gone->destroyed)
            fake_violation("leaked: an event, made by call %llu", (unsigned long long)gone->call);
        forget(gone);
        free(gone);
    }
    empty_waits = 0;
}
