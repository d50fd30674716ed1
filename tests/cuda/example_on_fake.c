/* Linked into the example, so that it runs on the fake runtime and fails where CUDA was misused.
 *
 *     KVFERRY_FAKE=FUNCTION:N    the Nth call of that function fails
 */
#include "fakecuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An example that ends with a message gives nothing back, and need not. */
static void end(int status, void *unused) {
    (void)unused;
    const size_t found = status == 0 ? fakecuda_reset() : fakecuda_violations();
    if (found > 0) {
        (void)fprintf(stderr, "fakecuda: %zu violations\n", found);
        for (size_t i = 0; i < fakecuda_violations(); i++)
            (void)fprintf(stderr, "fakecuda: %s\n", fakecuda_violation(i));
        _exit(99);
    }
}

__attribute__((constructor)) static void begin(void) {
    static char function[64];
    const char *fault = getenv("KVFERRY_FAKE");
    const char *colon = fault ? strchr(fault, ':') : NULL;
    const fakecuda_config config = {.queue_entries = 1000, .forbid_legacy = true};
    fakecuda_configure(&config);
    (void)on_exit(end, NULL);
    if (colon && (size_t)(colon - fault) < sizeof function) {
        memcpy(function, fault, (size_t)(colon - fault));
        fakecuda_fail_call(function, strtoull(colon + 1, NULL, 10), cudaErrorUnknown, false);
    }
}
