/* Linked into the example, so that it runs on the fake runtime and fails when it misuses CUDA.
 *
 *     KVFERRY_FAKE=slow            copies and kernels take a while
 *     KVFERRY_FAKE=FUNCTION:N      the Nth call of that function fails
 */
#include "fakecuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An example that exits with an error message need not free anything. */
static void end(int status, void *unused) {
    (void)unused;
    const size_t found = status == 0 ? fakecuda_reset() : fakecuda_violations();
    for (size_t i = 0; i < 10 && fakecuda_violation(i); i++)
        (void)fprintf(stderr, "fakecuda: %s\n", fakecuda_violation(i));
    if (found > 0)
        _exit(99);
}

static void fail_call(const char *fault) {
    static char function[64];
    const char *colon = strchr(fault, ':');
    if (!colon || (size_t)(colon - fault) >= sizeof function)
        return;
    memcpy(function, fault, (size_t)(colon - fault));
    fakecuda_fail_call(function, strtoull(colon + 1, NULL, 10), cudaErrorUnknown, false);
}

__attribute__((constructor)) static void begin(void) {
    const char *asked_for = getenv("KVFERRY_FAKE");
    const fakecuda_config config = {.forbid_legacy = true};
    if (!FAKECUDA)
        return;
    fakecuda_configure(&config);
    (void)on_exit(end, NULL);
    if (asked_for && strcmp(asked_for, "slow") == 0) {
        fakecuda_delay(FAKECUDA_COPY, 50);
        fakecuda_delay(FAKECUDA_KERNEL, 20);
    } else if (asked_for) {
        fail_call(asked_for);
    }
}
