/* Driver functions that programs look up by name and version. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>

#define HIDDEN_MAX 16

static char *hidden[HIDDEN_MAX];
static size_t hidden_count;

FAKE_EXPORT void fakecuda_hide_symbol(const char *symbol) {
    fake_lock();
    if (hidden_count == HIDDEN_MAX)
        abort();
    hidden[hidden_count++] = strdup(symbol);
    fake_unlock();
}

void fake_entries_reset(void) {
    while (hidden_count > 0)
        free(hidden[--hidden_count]);
}

static bool is_hidden(const char *symbol) {
    for (size_t i = 0; i < hidden_count; i++)
        if (strcmp(hidden[i], symbol) == 0)
            return true;
    return false;
}

/* The newest of that name that both the driver and the requested version have. */
static const fake_entry *look(const fake_entry *list, size_t count, const char *symbol, int version,
                              bool *known) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].symbol, symbol) != 0 || list[i].version > fake_driver_version())
            continue;
        *known = true;
        if (list[i].version <= version)
            return &list[i];
    }
    return NULL;
}

static cudaError_t entry_point(const char *symbol, void **out, unsigned version,
                               enum cudaDriverEntryPointQueryResult *status) {
    if (!symbol || !out || version > (unsigned)fake_driver_version())
        return cudaErrorInvalidValue;
    bool known = false;
    const fake_entry *found = NULL;
    if (!is_hidden(symbol)) {
        found = look(fake_batch_entries, fake_batch_entry_count, symbol, (int)version, &known);
        if (!found)
            found =
                look(fake_pointer_entries, fake_pointer_entry_count, symbol, (int)version, &known);
    }
    *out = NULL;
    if (found)
        memcpy(out, &found->function, sizeof *out);
    if (status)
        *status = found   ? cudaDriverEntryPointSuccess
                  : known ? cudaDriverEntryPointVersionNotSufficent
                          : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

FAKE_EXPORT cudaError_t cudaGetDriverEntryPointByVersion(
    const char *symbol, void **out, unsigned version, unsigned long long flags,
    enum cudaDriverEntryPointQueryResult *status) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    if (error == cudaSuccess && flags > cudaEnableLegacyStream)
        error = cudaErrorNotSupported;
    return fake_leave(error != cudaSuccess ? error : entry_point(symbol, out, version, status));
}

/* Looks up the version this runtime was built for. */
FAKE_EXPORT cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **out,
                                                unsigned long long flags,
                                                enum cudaDriverEntryPointQueryResult *status) {
    cudaError_t error = fake_enter(__func__, FAKE_NO_CONTEXT);
    int version = fake_driver_version() < CUDART_VERSION ? fake_driver_version() : CUDART_VERSION;
    if (error == cudaSuccess && flags > cudaEnableLegacyStream)
        error = cudaErrorNotSupported;
    return fake_leave(error != cudaSuccess ? error
                                           : entry_point(symbol, out, (unsigned)version, status));
}
