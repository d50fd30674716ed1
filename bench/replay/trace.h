/* Request traces: the prompt blocks of each request.
 *
 * The format is that of the Mooncake FAST'25 trace release (kvcache-ai/Mooncake): one JSON object
 * per line. Only `hash_ids` matters here: one id for each block of the prompt, in order. Requests
 * whose lists start alike share that prefix.
 */
#ifndef KVF_BENCH_TRACE_H
#define KVF_BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Request i has ids[starts[i]] .. ids[starts[i + 1] - 1]. Zero-initialise for an empty trace. */
typedef struct trace {
    uint64_t *ids;
    size_t *starts; /* [requests + 1]; NULL without requests */
    size_t requests, blocks;
    uint64_t digest; /* XXH64 (seed 0) of the bytes that trace_read has read */
    size_t id_capacity, start_capacity;
} trace;

/* Limits of trace_read: bytes per line, and blocks per request. */
#define TRACE_MAX_LINE   ((size_t)16 << 20)
#define TRACE_MAX_BLOCKS ((size_t)1 << 20)

/*
 * Reads a whole trace into `out`, which must be empty. Strict: each line is one object with a list
 * `hash_ids` of integers of at least 0; `timestamp`, `input_length` and `output_length` are
 * optional numbers of at least 0; other keys are ignored. On failure returns false, with
 * "NAME:LINE: why" in `message`; `out` then holds the requests before that line. Free it in any
 * case.
 */
bool trace_read(FILE *in, const char *name, trace *out, char *message, size_t size);

/* Appends a request. */
void trace_append(trace *trace, const uint64_t *ids, size_t count);

/* Keeps only the first `requests` requests. */
void trace_truncate(trace *trace, size_t requests);

/* The ids of a request. `count` gets their number. */
const uint64_t *trace_request(const trace *trace, size_t request, size_t *count);

/* The number of distinct blocks. A block is identified by its id and all ids before it. */
size_t trace_distinct(const trace *trace);

void trace_free(trace *trace);

#endif
