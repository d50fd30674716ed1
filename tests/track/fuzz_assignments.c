/* Decodes bytes to operations on assignments, and compares with the oracle after each. */
#include "assignments_run.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

/* Takes as many bytes as the bound needs; zeros past the end. */
static uint64_t take_below(void *user, uint64_t bound) {
    input *in = user;
    uint64_t value = 0;
    for (uint64_t most = bound - 1; most > 0; most >>= 8) {
        value = value << 8 | (in->size ? *in->data : 0);
        in->data += in->size > 0;
        in->size -= in->size > 0;
    }
    return value % bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static oracle_run run;
    input in = {data, size};
    oracle_run_begin(&run, (oracle_source){take_below, &in});
    while (in.size > 0 && oracle_run_step(&run)) {
    }
    if (run.broken) {
        fprintf(stderr, "broken in %s: %s\n", run.operation, run.broken);
        abort();
    }
    if (!oracle_run_end(&run))
        abort();
    return 0;
}
