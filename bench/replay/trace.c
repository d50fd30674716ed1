#include "replay/trace.h"

#include "replay/lru.h"
#include "base/base.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct line {
    char *text;
    size_t length, capacity;
} line;

/* The reader's position, and its error message. */
typedef struct reader {
    FILE *in;
    const char *name;
    uint64_t number;
    char *message;
    size_t message_size;
    line line;
    uint64_t *ids;
    XXH64_state_t *bytes;
} reader;

static bool refuse(const reader *reader, const char *what) {
    snprintf(reader->message, reader->message_size, "%s:%" PRIu64 ": %s", reader->name,
             reader->number, what);
    return false;
}

static bool refuse_key(const reader *reader, const char *key, const char *what) {
    char text[160];
    snprintf(text, sizeof text, "%s %s", key, what);
    return refuse(reader, text);
}

/* Grows an array to at least `needed` elements. */
static void *room(void *block, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity)
        return block;
    *capacity = needed + needed / 2 + 64;
    return must_grow(block, *capacity, size);
}

void trace_append(trace *trace, const uint64_t *ids, size_t count) {
    trace->ids = room(trace->ids, &trace->id_capacity, trace->blocks + count, sizeof *ids);
    trace->starts =
        room(trace->starts, &trace->start_capacity, trace->requests + 2, sizeof *trace->starts);
    if (count > 0)
        memcpy(trace->ids + trace->blocks, ids, count * sizeof *ids);
    trace->starts[trace->requests++] = trace->blocks;
    trace->blocks += count;
    trace->starts[trace->requests] = trace->blocks;
}

/* Reads a line, without its newline. Returns false at the end and for a line that is too long. */
static bool read_line(reader *reader) {
    line *line = &reader->line;
    int c = getc_unlocked(reader->in);
    line->length = 0;
    if (c == EOF)
        return false;
    for (; c != EOF && c != '\n'; c = getc_unlocked(reader->in)) {
        if (line->length == TRACE_MAX_LINE)
            return refuse(reader, "line is too long (at most 16M bytes)");
        line->text = room(line->text, &line->capacity, line->length + 1, 1);
        line->text[line->length++] = (char)c;
    }
    XXH64_update(reader->bytes, line->text, line->length);
    XXH64_update(reader->bytes, "\n", c == '\n');
    return true;
}

/* Times and lengths are not used, but wrong ones show that the file is not a trace. */
static bool check_number(const reader *reader, const json_t *request, const char *key) {
    const json_t *value = json_object_get(request, key);
    if (!value || (json_is_number(value) && json_number_value(value) >= 0))
        return true;
    return refuse_key(reader, key, json_is_number(value) ? "is negative" : "is not a number");
}

static bool read_ids(reader *reader, const json_t *list, trace *out) {
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return refuse_key(reader, "hash_ids", list ? "is not a list" : "is missing");
    if (count > TRACE_MAX_BLOCKS)
        return refuse_key(reader, "hash_ids", "is too long (at most 2^20 blocks)");
    reader->ids = must_grow(reader->ids, count, sizeof *reader->ids);
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(list, i);
        char key[48];
        if (!json_is_integer(id) || json_integer_value(id) < 0) {
            snprintf(key, sizeof key, "hash_ids[%zu]", i);
            return refuse_key(reader, key,
                              json_is_integer(id) ? "is negative" : "is not an integer");
        }
        reader->ids[i] = (uint64_t)json_integer_value(id);
    }
    trace_append(out, reader->ids, count);
    return true;
}

static bool read_request(reader *reader, const json_t *request, trace *out) {
    if (!json_is_object(request))
        return refuse(reader, "not a JSON object");
    return check_number(reader, request, "timestamp") &&
           check_number(reader, request, "input_length") &&
           check_number(reader, request, "output_length") &&
           read_ids(reader, json_object_get(request, "hash_ids"), out);
}

static bool parse_line(reader *reader, trace *out) {
    const line *line = &reader->line;
    json_error_t error;
    if (line->length == 0)
        return refuse(reader, "empty line");
    if (memchr(line->text, '\0', line->length))
        return refuse(reader, "NUL byte");
    json_t *request = json_loadb(line->text, line->length, JSON_REJECT_DUPLICATES, &error);
    if (!request)
        return refuse(reader, error.text);
    bool good = read_request(reader, request, out);
    json_decref(request);
    return good;
}

bool trace_read(FILE *in, const char *name, trace *out, char *message, size_t size) {
    reader reader = {.in = in, .name = name, .number = 1, .message = message, .message_size = size};
    message[0] = '\0';
    if (!(reader.bytes = XXH64_createState()))
        fail(EXIT_CHECK, "out of memory for a trace");
    XXH64_reset(reader.bytes, 0);
    while (read_line(&reader) && parse_line(&reader, out))
        reader.number++;
    if (message[0] == '\0' && ferror(in))
        refuse_key(&reader, "read failed:", strerror(errno));
    out->digest = XXH64_digest(reader.bytes);
    XXH64_freeState(reader.bytes);
    free(reader.line.text);
    free(reader.ids);
    return message[0] == '\0';
}

void trace_truncate(trace *trace, size_t requests) {
    if (requests < trace->requests) {
        trace->requests = requests;
        trace->blocks = trace->starts[requests];
    }
}

const uint64_t *trace_request(const trace *trace, size_t request, size_t *count) {
    *count = trace->starts[request + 1] - trace->starts[request];
    return *count > 0 ? trace->ids + trace->starts[request] : NULL;
}

size_t trace_distinct(const trace *trace) {
    lru *seen = lru_create(trace->blocks > 0 ? trace->blocks : 1);
    if (!seen)
        fail(EXIT_CHECK, "out of memory for %zu blocks", trace->blocks);
    for (size_t i = 0; i < trace->requests; i++) {
        size_t count;
        const uint64_t *ids = trace_request(trace, i, &count);
        kvf_hash prefix = {0};
        for (size_t j = 0; j < count; j++) {
            prefix.low = mix64(prefix.low + mix64(ids[j] + 1));
            prefix.high = mix64(prefix.high ^ mix64(~ids[j]));
            if (lru_find(seen, prefix) == LRU_NONE)
                lru_take(seen, prefix);
        }
    }
    size_t distinct = lru_used(seen);
    lru_destroy(seen);
    return distinct;
}

void trace_free(trace *trace) {
    free(trace->ids);
    free(trace->starts);
    memset(trace, 0, sizeof *trace);
}
