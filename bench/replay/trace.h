/* Request traces: which prompt blocks each request has.
 *
 * The format is that of the Mooncake FAST'25 trace release (kvcache-ai/Mooncake): a JSON object a
 * line, of which `hash_ids` counts here, one id for each block of the prompt in order. Equal ids at
 * equal places behind equal ids are a shared prefix.
 */
#ifndef KVF_BENCH_TRACE_H
#define KVF_BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Request i has the ids [starts[i]] .. [starts[i + 1] - 1]. Zero-initialise for an empty one. */
typedef struct trace {
    uint64_t *ids;
    size_t *starts; /* [requests + 1]; NULL while there are none */
    size_t requests, blocks;
    uint64_t digest; /* XXH64 of the bytes that were read, with seed 0; 0 for no such */
    size_t id_capacity, start_capacity;
} trace;

/* Bounds of what a reader takes: a line's bytes, and a request's blocks. */
#define TRACE_MAX_LINE   ((size_t)16 << 20)
#define TRACE_MAX_BLOCKS ((size_t)1 << 20)

/*
 * Reads a whole trace into `out`, which is empty before. Strict: each line is one object with a
 * list `hash_ids` of integers that are 0 or more; `timestamp`, `input_length` and `output_length`
 * are numbers of 0 or more where present; other keys are ignored. On failure, false and
 * "NAME:LINE: what" in `message`; `out` holds what came before and is to be freed all the same.
 */
bool trace_read(FILE *in, const char *name, trace *out, char *message, size_t size);

/* Appends a request. */
void trace_append(trace *trace, const uint64_t *ids, size_t count);

/* Keeps the first `requests` requests, if there are more. */
void trace_truncate(trace *trace, size_t requests);

/* The ids of a request; `count` gets how many. */
const uint64_t *trace_request(const trace *trace, size_t request, size_t *count);

/* How many different blocks there are, a block being its id and all ids before it. */
size_t trace_distinct(const trace *trace);

void trace_free(trace *trace);

#endif
