#include "base/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

const char *kvf_version(void) {
    return KVF_VERSION_STRING;
}

#define STATUS(status, text) [status] = {#status, text}

static const struct {
    const char *name, *text;
} statuses[KVF__STATUSES] = {
    STATUS(KVF_OK, "ok"),
    STATUS(KVF_PENDING, "not finished yet"),
    STATUS(KVF_ERR_INVALID, "invalid argument"),
    STATUS(KVF_ERR_NO_MEMORY, "out of memory"),
    STATUS(KVF_ERR_RANGE, "out of range"),
    STATUS(KVF_ERR_ORDERING_VIOLATION, "known block id after a new one"),
    STATUS(KVF_ERR_POSITION_MISMATCH, "hash belongs to another position"),
    STATUS(KVF_ERR_DUPLICATE_BLOCK_ID, "block id already present"),
    STATUS(KVF_ERR_GAP, "plan does not start at the destination's next position"),
    STATUS(KVF_ERR_LINEAGE, "source does not continue the destination's prefix"),
    STATUS(KVF_ERR_BUSY, "blocks are in flight"),
    STATUS(KVF_ERR_CLOSED, "no longer open"),
    STATUS(KVF_ERR_CONFLICT, "blocks of one move conflict"),
    STATUS(KVF_ERR_LAYOUT, "invalid or mismatching layout"),
    STATUS(KVF_ERR_AGAIN, "engine is full, nothing has changed"),
    STATUS(KVF_ERR_TIMEOUT, "timed out"),
    STATUS(KVF_ERR_CANCELLED, "cancelled"),
    STATUS(KVF_ERR_CORRUPT, "checksum mismatch"),
    STATUS(KVF_ERR_UNSUPPORTED, "not supported"),
    STATUS(KVF_ERR_ENGINE, "engine failed"),
    STATUS(KVF_ERR_BROKEN, "no longer usable"),
    STATUS(KVF_ERR_PEER, "another rank failed or disagrees"),
};

static bool is_known(kvf_status status) {
    return (size_t)status < KVF__STATUSES;
}

const char *kvf_status_name(kvf_status status) {
    return is_known(status) ? statuses[status].name : "unknown status";
}

const char *kvf_status_text(kvf_status status) {
    return is_known(status) ? statuses[status].text : "unknown status";
}

/* Appends to a buffer that may be too small; counts as snprintf does. */
typedef struct writer {
    char *buffer;
    size_t size, length;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t left = w->length < w->size ? w->size - w->length : 0;
    int n = vsnprintf(left > 0 ? w->buffer + w->length : NULL, left, format, arguments);
    va_end(arguments);
    if (n > 0)
        w->length += (size_t)n;
}

static void put_fields(writer *w, const kvf_error *e) {
    const struct {
        uint32_t bit;
        const char *name;
        uint64_t value;
    } fields[] = {
        {KVF_ERROR_ID, "id", e->id},
        {KVF_ERROR_OTHER_ID, "other id", e->other_id},
        {KVF_ERROR_INDEX, "index", e->index},
        {KVF_ERROR_OTHER_INDEX, "other index", e->other_index},
        {KVF_ERROR_POSITION, "position", e->position},
        {KVF_ERROR_EXPECTED, "expected", e->expected},
    };
    const char *between = " (";
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!(e->fields & fields[i].bit))
            continue;
        put(w, "%s%s %" PRIu64, between, fields[i].name, fields[i].value);
        between = ", ";
    }
    if (e->fields & KVF_ERROR_NATIVE_CODE) {
        put(w, "%snative code %d", between, e->native_code);
        between = ", ";
    }
    if (between[0] == ',')
        put(w, ")");
}

int kvf_error_format(const kvf_error *error, char *buffer, size_t size) {
    writer w = {.buffer = buffer, .size = buffer ? size : 0};
    const kvf_error none = {.status = KVF_OK};
    const kvf_error *e = error ? error : &none;
    switch (e->status) {
    case KVF_ERR_ORDERING_VIOLATION:
        put(&w,
            "ordering violation: known block_id %" PRIu64 " at index %" PRIu64
            " appeared after new block_id %" PRIu64 " at index %" PRIu64,
            e->id, e->index, e->other_id, e->other_index);
        break;
    case KVF_ERR_POSITION_MISMATCH:
        put(&w, "position mismatch for block_id %" PRIu64 ": expected %" PRIu64 ", actual %" PRIu64,
            e->id, e->expected, e->position);
        break;
    case KVF_ERR_DUPLICATE_BLOCK_ID:
        put(&w, "duplicate block_id %" PRIu64 " already present", e->id);
        break;
    default:
        put(&w, "%s", kvf_status_text(e->status));
        if (e->what)
            put(&w, ": %s", e->what);
        put_fields(&w, e);
    }
    return (int)w.length;
}
