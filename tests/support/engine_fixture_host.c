/* The seam of the rig on the host engine, which has all there is but a device. */
#include "engine_fixture.h"

#include <stdlib.h>
#include <string.h>

const char *const rig_engine_name = "host";

bool rig_has(rig_ability ability) {
    return ability != RIG_DEVICE;
}

bool rig_available(void) {
    return true;
}

kvf_engine *rig_engine(const kvf_host_options *options) {
    kvf_engine *engine = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_engine_host_create(options, &engine, &error), &error);
    return engine;
}

kvf_memory rig_kind(rig_side side) {
    (void)side;
    return KVF_MEMORY_HOST;
}

char *rig_allocate(rig_side side, size_t bytes) {
    (void)side;
    char *memory = calloc(1, bytes);
    assert_non_null(memory);
    return memory;
}

void rig_deallocate(rig_side side, char *memory) {
    (void)side;
    free(memory);
}

void rig_write(char *there, const char *from, size_t bytes) {
    memcpy(there, from, bytes);
}

void rig_read(char *to, const char *there, size_t bytes) {
    memcpy(to, there, bytes);
}

uint64_t rig_seeds(uint64_t usual) {
    return test_seeds(usual);
}

int rig_end(int failed) {
    return failed;
}
