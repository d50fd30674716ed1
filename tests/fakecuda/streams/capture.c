/* Stream capture: what is allowed during one. Captured work is counted, not kept.
 *
 * A capture has a slot for each of its streams. A slot's vector counts the work of every slot that
 * it follows: recording an event copies the vector, waiting for the event takes the larger of each
 * count. A capture is joined when the stream that started it follows all work of all slots. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 32

typedef struct clock_vector {
    uint64_t at[SLOTS];
} clock_vector;

struct fake_capture {
    struct fake_capture *next; /* all captures; events may refer to ended ones */
    unsigned long long id;
    enum cudaStreamCaptureMode mode;
    uint64_t thread;
    bool ended, invalid;
    size_t slots, nodes;
    fake_stream *streams[SLOTS];
    clock_vector seen[SLOTS];
};

struct fake_captured {
    fake_capture *capture;
    clock_vector seen;
};

typedef struct CUgraph_st {
    struct CUgraph_st *next;
    size_t nodes;
} fake_graph;

static fake_capture *captures;
static fake_graph *graphs;
static unsigned long long ids;

static bool is_blocking(const fake_stream *stream) {
    return fake_stream_joins_legacy(stream);
}

/* ---- what captures forbid ---- */

static bool prohibits(const fake_capture *capture, const fake_thread *thread) {
    bool own = capture->thread == thread->number;
    if (capture->ended || thread->mode == cudaStreamCaptureModeRelaxed)
        return false;
    if (own && capture->mode != cudaStreamCaptureModeRelaxed)
        return true;
    return !own && thread->mode == cudaStreamCaptureModeGlobal &&
           capture->mode == cudaStreamCaptureModeGlobal;
}

cudaError_t fake_capture_unsafe(void) {
    cudaError_t error = cudaSuccess;
    const fake_thread *thread = fake_self();
    for (fake_capture *capture = captures; capture; capture = capture->next) {
        if (prohibits(capture, thread)) {
            capture->invalid = true;
            error = cudaErrorStreamCaptureUnsupported;
        }
    }
    return error;
}

/* The legacy stream depends on all blocking streams of its device, captured ones too. */
static bool implicit(const fake_stream *stream, bool invalidate) {
    bool found = false;
    if (!fake_stream_is_legacy(stream))
        return false;
    for (fake_stream *each = fake_streams_first(); each; each = each->next) {
        if (!each->capture || each->device != stream->device || !is_blocking(each))
            continue;
        each->capture->invalid = each->capture->invalid || invalidate;
        found = true;
    }
    return found;
}

cudaError_t fake_capture_use(fake_stream *stream) {
    if (implicit(stream, true))
        return cudaErrorStreamCaptureImplicit;
    if (stream->capture && stream->capture->invalid)
        return cudaErrorStreamCaptureInvalidated;
    return cudaSuccess;
}

cudaError_t fake_capture_synchronize(fake_stream *stream) {
    if (implicit(stream, true))
        return cudaErrorStreamCaptureImplicit;
    if (!stream->capture)
        return cudaSuccess;
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t fake_capture_synchronize_device(int device) {
    cudaError_t error = cudaSuccess;
    for (fake_stream *each = fake_streams_first(); each; each = each->next) {
        if (each->capture && each->device == device) {
            each->capture->invalid = true;
            error = cudaErrorStreamCaptureUnsupported;
        }
    }
    return error;
}

/* ---- capturing ---- */

static cudaError_t enter_slot(fake_capture *capture, fake_stream *stream) {
    if (capture->slots == SLOTS)
        return cudaErrorNotSupported;
    stream->capture = capture;
    stream->capture_slot = capture->slots;
    capture->streams[capture->slots++] = stream;
    return cudaSuccess;
}

cudaError_t fake_capture_add(fake_stream *stream) {
    fake_capture *capture = stream->capture;
    capture->nodes++;
    capture->seen[stream->capture_slot].at[stream->capture_slot]++;
    return cudaSuccess;
}

cudaError_t fake_capture_record(fake_stream *stream, fake_captured **out) {
    fake_captured *made = malloc(sizeof *made);
    if (!made)
        abort();
    made->capture = stream->capture;
    made->seen = stream->capture->seen[stream->capture_slot];
    *out = made;
    return cudaSuccess;
}

void fake_captured_free(fake_captured *captured) {
    free(captured);
}

/* Querying a captured event invalidates the capture. */
void fake_captured_used(const fake_captured *captured) {
    captured->capture->invalid = true;
}

cudaError_t fake_capture_wait(fake_stream *stream, const fake_captured *captured) {
    fake_capture *capture = captured->capture;
    if (capture->ended)
        return cudaErrorCapturedEvent;
    if (implicit(stream, true) || fake_stream_is_legacy(stream)) {
        capture->invalid = true;
        return cudaErrorStreamCaptureImplicit;
    }
    if (stream->capture && stream->capture != capture) {
        stream->capture->invalid = capture->invalid = true;
        return cudaErrorStreamCaptureMerge;
    }
    if (capture->invalid)
        return cudaErrorStreamCaptureInvalidated;
    cudaError_t error = stream->capture ? cudaSuccess : enter_slot(capture, stream);
    if (error != cudaSuccess)
        return error;
    clock_vector *own = &capture->seen[stream->capture_slot];
    for (size_t i = 0; i < SLOTS; i++)
        if (own->at[i] < captured->seen.at[i])
            own->at[i] = captured->seen.at[i];
    return cudaSuccess;
}

/* Refuses to make a captured stream depend on work outside its capture. */
cudaError_t fake_capture_foreign_event(fake_stream *stream) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureIsolation;
}

void fake_capture_leave(fake_stream *stream) {
    if (stream->capture)
        stream->capture->invalid = true;
}

/* ---- start and end ---- */

static cudaError_t begin(fake_stream *stream, enum cudaStreamCaptureMode mode) {
    if (fake_stream_is_legacy(stream))
        return cudaErrorStreamCaptureUnsupported;
    if (mode > cudaStreamCaptureModeRelaxed)
        return cudaErrorInvalidValue;
    if (stream->capture)
        return cudaErrorIllegalState;
    fake_capture *made = calloc(1, sizeof *made);
    if (!made)
        return cudaErrorMemoryAllocation;
    made->id = ++ids;
    made->mode = mode;
    made->thread = fake_self()->number;
    made->next = captures;
    captures = made;
    return enter_slot(made, stream);
}

FAKE_EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t handle,
                                               enum cudaStreamCaptureMode mode) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = fake_stream_find(handle, &stream);
    if (error == cudaSuccess)
        error = begin(stream, mode);
    return fake_leave(error);
}

static bool joined(const fake_capture *capture) {
    for (size_t i = 1; i < capture->slots; i++)
        if (capture->seen[0].at[i] < capture->seen[i].at[i])
            return false;
    return true;
}

static cudaGraph_t make_graph(const fake_capture *capture) {
    fake_graph *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->nodes = capture->nodes;
    made->next = graphs;
    graphs = made;
    return made;
}

static cudaError_t end(fake_stream *stream, cudaGraph_t *out) {
    fake_capture *capture = stream->capture;
    *out = NULL;
    if (!capture)
        return cudaErrorIllegalState;
    if (capture->streams[0] != stream) {
        capture->invalid = true;
        return cudaErrorStreamCaptureUnmatched;
    }
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != fake_self()->number)
        return cudaErrorStreamCaptureWrongThread;
    capture->ended = true;
    for (size_t i = 0; i < capture->slots; i++)
        capture->streams[i]->capture = NULL;
    if (capture->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (!joined(capture))
        return cudaErrorStreamCaptureUnjoined;
    *out = make_graph(capture);
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = out ? fake_stream_find(handle, &stream) : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = end(stream, out);
    return fake_leave(error);
}

/* ---- queries ---- */

static cudaError_t status(cudaStream_t handle, enum cudaStreamCaptureStatus *out,
                          fake_stream **stream) {
    cudaError_t error = out ? fake_stream_find(handle, stream) : cudaErrorInvalidValue;
    if (error != cudaSuccess)
        return error;
    if (implicit(*stream, false))
        return cudaErrorStreamCaptureImplicit;
    *out = cudaStreamCaptureStatusNone;
    if ((*stream)->capture)
        *out = (*stream)->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t handle,
                                              enum cudaStreamCaptureStatus *out) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_stream *stream = NULL;
    return fake_leave(error != cudaSuccess ? error : status(handle, out, &stream));
}

static cudaError_t info(cudaError_t error, cudaStream_t handle,
                        enum cudaStreamCaptureStatus *status_out, unsigned long long *id_out) {
    fake_stream *stream = NULL;
    if (error == cudaSuccess)
        error = status(handle, status_out, &stream);
    if (error == cudaSuccess && id_out && *status_out == cudaStreamCaptureStatusActive)
        *id_out = stream->capture->id;
    return error;
}

/* Graphs and nodes under capture are not kept; queries return none. */
#if CUDART_VERSION >= 13000
FAKE_EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle,
                                                 enum cudaStreamCaptureStatus *status_out,
                                                 unsigned long long *id_out, cudaGraph_t *graph_out,
                                                 const cudaGraphNode_t **dependencies_out,
                                                 const cudaGraphEdgeData **edges_out,
                                                 size_t *count_out) {
    cudaError_t error = info(fake_enter("cudaStreamGetCaptureInfo", 0), handle, status_out, id_out);
    if (edges_out)
        *edges_out = NULL;
#else
FAKE_EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle,
                                                 enum cudaStreamCaptureStatus *status_out,
                                                 unsigned long long *id_out, cudaGraph_t *graph_out,
                                                 const cudaGraphNode_t **dependencies_out,
                                                 size_t *count_out) {
    cudaError_t error = info(fake_enter("cudaStreamGetCaptureInfo", 0), handle, status_out, id_out);
#endif
    if (graph_out)
        *graph_out = NULL;
    if (dependencies_out)
        *dependencies_out = NULL;
    if (count_out)
        *count_out = 0;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && (!mode || *mode > cudaStreamCaptureModeRelaxed))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess) {
        enum cudaStreamCaptureMode before = fake_self()->mode;
        fake_self()->mode = *mode;
        *mode = before;
    }
    return fake_leave(error);
}

/* ---- graphs: a number of nodes ---- */

static fake_graph **find_graph(cudaGraph_t graph) {
    fake_graph **at = &graphs;
    while (*at && *at != graph)
        at = &(*at)->next;
    return at;
}

FAKE_EXPORT cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes,
                                          size_t *count) {
    cudaError_t error = fake_enter(__func__, 0);
    const fake_graph *found = *find_graph(graph);
    if (error == cudaSuccess && (!found || !count || nodes))
        error = nodes ? cudaErrorNotSupported : cudaErrorInvalidValue;
    if (error == cudaSuccess)
        *count = found->nodes;
    return fake_leave(error);
}

FAKE_EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    cudaError_t error = fake_enter(__func__, 0);
    fake_graph **at = find_graph(graph);
    if (fake_gives_back() && *at) {
        fake_graph *gone = *at;
        *at = gone->next;
        free(gone);
    } else {
        error = fake_first(error, cudaErrorInvalidValue);
    }
    return fake_leave(error);
}

/* Called after the streams are gone. */
void fake_capture_reset(void) {
    while (captures) {
        fake_capture *gone = captures;
        captures = gone->next;
        if (!gone->ended)
            fake_violation("leaked: a capture");
        free(gone);
    }
    while (graphs) {
        fake_graph *gone = graphs;
        graphs = gone->next;
        fake_violation("leaked: a graph");
        free(gone);
    }
}
