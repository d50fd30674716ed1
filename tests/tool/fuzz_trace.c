/* Fuzzes the trace reader: it accepts or refuses any bytes, and what it accepts is a valid trace.
 */
#include <replay/trace.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const trace *read) {
    size_t blocks = 0;
    for (size_t i = 0; i < read->requests; i++) {
        size_t count;
        const uint64_t *ids = trace_request(read, i, &count);
        for (size_t j = 0; j < count; j++)
            assert(ids[j] <= INT64_MAX);
        blocks += count;
    }
    assert(blocks == read->blocks);
    assert(trace_distinct(read) <= blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char message[128];
    trace read = {0};
    FILE *in = size > 0 ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (!in)
        return 0;
    bool good = trace_read(in, "name", &read, message, sizeof message);
    assert(good == (message[0] == '\0'));
    assert(good || strncmp(message, "name:", strlen("name:")) == 0);
    check(&read);
    trace_free(&read);
    fclose(in);
    return 0;
}
