/* The host engine's version of the fixture: every ability except a device. */
#include "engine_fixture.h"

#include <stdlib.h>
#include <string.h>

const char *const fixture_engine_name = "host";

bool fixture_has(fixture_ability ability) {
    return ability != FIXTURE_DEVICE;
}

bool fixture_available(void) {
    return true;
}

kvf_engine *fixture_engine(const kvf_host_options *options) {
    kvf_engine *engine = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_engine_host_create(options, &engine, &error), &error);
    return engine;
}

kvf_memory fixture_kind(fixture_side side) {
    (void)side;
    return KVF_MEMORY_HOST;
}

char *fixture_allocate(fixture_side side, size_t bytes) {
    (void)side;
    char *memory = calloc(1, bytes);
    assert_non_null(memory);
    return memory;
}

void fixture_deallocate(fixture_side side, char *memory) {
    (void)side;
    free(memory);
}

void fixture_write(char *there, const char *from, size_t bytes) {
    memcpy(there, from, bytes);
}

void fixture_read(char *to, const char *there, size_t bytes) {
    memcpy(to, there, bytes);
}

uint64_t fixture_seeds(uint64_t usual) {
    return test_seeds(usual);
}

int fixture_end(int failed) {
    return failed;
}
