#include "base/base.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A single write: several ranks may share the terminal. */
void fail(int code, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    bool made = vasprintf(&text, format, arguments) >= 0;
    fprintf(stderr, "kvferry: %s\n", made ? text : "out of memory for an error message");
    va_end(arguments);
    if (made)
        free(text);
    exit(code);
}

void must(kvf_status status, const kvf_error *error, const char *doing) {
    char text[256];
    if (status == KVF_OK)
        return;
    if (error->status == status) {
        kvf_error_format(error, text, sizeof text);
        fail(EXIT_CHECK, "%s: %s", doing, text);
    }
    fail(EXIT_CHECK, "%s: %s", doing, kvf_status_text(status));
}

void *must_grow(void *block, size_t count, size_t size) {
    void *grown = reallocarray(block, count > 0 ? count : 1, size);
    if (!grown)
        fail(EXIT_CHECK, "out of memory for %zu x %zu bytes", count, size);
    return grown;
}

unsigned usable_cpus(unsigned most) {
    cpu_set_t sets[64]; /* one holds 1024 CPUs, and Linux can be built for 8192 */
    long count = sched_getaffinity(0, sizeof sets, sets) == 0 ? CPU_COUNT_S(sizeof sets, sets)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count < most ? (unsigned)count : most;
}

/* ISO C cannot cast void * to a function pointer. POSIX promises equal representations. */
bool find_function(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found;
}

void shuffle(uint64_t *values, size_t count, uint64_t *state) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)random_below(state, i);
        uint64_t swapped = values[i - 1];
        values[i - 1] = values[j];
        values[j] = swapped;
    }
}
