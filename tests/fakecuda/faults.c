/* Violations, counts of calls and operations, and the failures that a test asks for. */
#include "fake_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MAX ((size_t)1 << 22)

typedef struct count {
    const char *function;
    uint64_t calls;
} count;

typedef struct fault {
    struct fault *next;
    char *function; /* NULL: any */
    bool operation;
    fakecuda_kind kind;
    uint64_t left; /* until it strikes; 0 it does, each time */
    cudaError_t error;
    bool for_ever;
} fault;

static char **violations;
static size_t violation_count;
static count counts[256];
static size_t count_count;
static const char **call_log;
static size_t call_capacity;
static uint64_t call_count, operations[FAKECUDA_KINDS];
static unsigned delays[FAKECUDA_KINDS];
static fault *faults;
static bool calls_have_failed;

static void *must(void *block) {
    if (!block)
        abort();
    return block;
}

void fake_violation(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    violations = must(realloc(violations, (violation_count + 1) * sizeof *violations));
    violations[violation_count++] = text;
}

static void violations_free(void) {
    for (size_t i = 0; i < violation_count; i++)
        free(violations[i]);
    free(violations);
    violations = NULL;
    violation_count = 0;
}

size_t fake_violations_report(void) {
    size_t found = violation_count;
    for (size_t i = 0; i < violation_count; i++)
        fprintf(stderr, "fakecuda: %s\n", violations[i]);
    violations_free();
    return found;
}

FAKE_EXPORT size_t fakecuda_violations(void) {
    fake_lock();
    size_t found = violation_count;
    fake_unlock();
    return found;
}

FAKE_EXPORT const char *fakecuda_violation(size_t index) {
    fake_lock();
    const char *text = index < violation_count ? violations[index] : NULL;
    fake_unlock();
    return text;
}

FAKE_EXPORT void fakecuda_forgive(void) {
    fake_lock();
    violations_free();
    fake_unlock();
}

/* ---- counts ---- */

static void log_call(const char *function) {
    if (call_count >= LOG_MAX)
        return;
    if (call_count == call_capacity) {
        call_capacity = call_capacity ? 2 * call_capacity : 1024;
        call_log = must(realloc(call_log, call_capacity * sizeof *call_log));
    }
    call_log[call_count] = function;
}

void fake_count_call(const char *function, bool can_fail) {
    size_t i = 0;
    while (i < count_count && counts[i].function != function)
        i++;
    if (i == count_count) {
        if (count_count == sizeof counts / sizeof *counts)
            abort();
        counts[count_count++] = (count){.function = function};
    }
    counts[i].calls++;
    if (can_fail) {
        log_call(function);
        call_count++;
    }
}

FAKE_EXPORT uint64_t fakecuda_calls(const char *function) {
    fake_lock();
    uint64_t calls = function ? 0 : call_count;
    for (size_t i = 0; function && i < count_count; i++) {
        if (strcmp(counts[i].function, function) == 0)
            calls += counts[i].calls;
    }
    fake_unlock();
    return calls;
}

FAKE_EXPORT uint64_t fakecuda_heavy_calls(void) {
    static const char *const heavy[] = {
        "cudaMalloc",           "cudaFree",
        "cudaHostAlloc",        "cudaMallocHost",
        "cudaFreeHost",         "cudaHostRegister",
        "cudaHostUnregister",   "cudaStreamCreate",
        "cudaStreamDestroy",    "cudaStreamCreateWithFlags",
        "cudaMemcpy",           "cudaStreamCreateWithPriority",
        "cudaMemset",           "cudaStreamSynchronize",
        "cudaEventSynchronize", "cudaDeviceSynchronize",
    };
    uint64_t calls = 0;
    for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++)
        calls += fakecuda_calls(heavy[i]);
    return calls;
}

FAKE_EXPORT const char *fakecuda_call(uint64_t index) {
    fake_lock();
    const char *function = index < call_count && index < LOG_MAX ? call_log[index] : NULL;
    fake_unlock();
    return function;
}

FAKE_EXPORT uint64_t fakecuda_operations(fakecuda_kind kind) {
    fake_lock();
    uint64_t count = operations[kind];
    fake_unlock();
    return count;
}

/* ---- faults ---- */

/* A stack overflow of a kernel, a broken link, ...: the context is lost with it. */
bool fake_is_sticky(cudaError_t error) {
    switch ((int)error) {
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
        return true;
    default:
        return false;
    }
}

static bool concerns(const fault *fault, const char *function, int kind) {
    if (function)
        return !fault->operation && (!fault->function || strcmp(fault->function, function) == 0);
    return fault->operation && (int)fault->kind == kind;
}

/* All faults that concern it come nearer; the first one made that strikes is taken. */
static cudaError_t strike(const char *function, int kind) {
    cudaError_t error = cudaSuccess;
    for (fault **at = &faults; *at;) {
        fault *each = *at;
        at = &each->next;
        if (!concerns(each, function, kind))
            continue;
        if (each->left > 0)
            each->left--;
        if (each->left > 0 || error != cudaSuccess)
            continue;
        error = each->error;
        if (!each->for_ever)
            each->left = UINT64_MAX; /* spent */
    }
    return error;
}

cudaError_t fake_call_fault(const char *function) {
    cudaError_t error = strike(function, -1);
    calls_have_failed = calls_have_failed || error != cudaSuccess;
    return error;
}

bool fake_calls_have_failed(void) {
    return calls_have_failed;
}

cudaError_t fake_operation_fault(fakecuda_kind kind) {
    operations[kind]++;
    return strike(NULL, (int)kind);
}

unsigned fake_operation_delay(fakecuda_kind kind) {
    return delays[kind];
}

static void add_fault(const fault *wanted, const char *function) {
    fake_lock();
    fault *made = must(malloc(sizeof *made));
    *made = *wanted;
    made->function = function ? must(strdup(function)) : NULL;
    made->left = wanted->left ? wanted->left : 1;
    fault **at = &faults;
    while (*at)
        at = &(*at)->next;
    *at = made;
    fake_unlock();
}

FAKE_EXPORT void fakecuda_fail_call(const char *function, uint64_t nth, cudaError_t error,
                                    bool for_ever) {
    add_fault(&(fault){.left = nth, .error = error, .for_ever = for_ever}, function);
}

FAKE_EXPORT void fakecuda_fail_operation(fakecuda_kind kind, uint64_t nth, cudaError_t error) {
    add_fault(&(fault){.operation = true, .kind = kind, .left = nth, .error = error}, NULL);
}

static void faults_free(void) {
    while (faults) {
        fault *gone = faults;
        faults = gone->next;
        free(gone->function);
        free(gone);
    }
}

FAKE_EXPORT void fakecuda_fail_nothing(void) {
    fake_lock();
    faults_free();
    fake_unlock();
}

FAKE_EXPORT void fakecuda_delay(fakecuda_kind kind, unsigned microseconds) {
    fake_lock();
    delays[kind] = microseconds;
    fake_unlock();
}

void fake_faults_reset(void) {
    faults_free();
    free((void *)call_log);
    call_log = NULL;
    call_capacity = 0;
    call_count = 0;
    count_count = 0;
    calls_have_failed = false;
    memset(operations, 0, sizeof operations);
    memset(delays, 0, sizeof delays);
}
