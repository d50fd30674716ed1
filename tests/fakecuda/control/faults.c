/* Violations, counts of calls and operations, and scripted failures. */
#include "fake_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOG_MAX ((size_t)1 << 22)

static const char **call_log;
static size_t call_capacity, call_count;
static uint64_t operations[FAKECUDA_KINDS];
static unsigned delays[FAKECUDA_KINDS];
static bool calls_have_failed;

FAKE_EXPORT size_t fakecuda_violations(void) {
    fake_lock();
    size_t found = fake_violations();
    fake_unlock();
    return found;
}

FAKE_EXPORT const char *fakecuda_violation(size_t index) {
    fake_lock();
    const char *text = fake_violation_at(index);
    fake_unlock();
    return text;
}

FAKE_EXPORT void fakecuda_forgive(void) {
    fake_lock();
    fake_forgive();
    fake_unlock();
}

/* ---- counts ---- */

void fake_log_call(const char *function) {
    fake_count_call(function, true);
    if (call_count == LOG_MAX)
        return;
    if (call_count == call_capacity) {
        call_capacity = call_capacity ? 2 * call_capacity : 1024;
        call_log = fake_must(realloc(call_log, call_capacity * sizeof *call_log));
    }
    call_log[call_count++] = function;
}

FAKE_EXPORT uint64_t fakecuda_calls(const char *function) {
    fake_lock();
    uint64_t calls = fake_calls(function);
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
    const char *function = index < call_count ? call_log[index] : NULL;
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

/* A kernel's stack overflow, a broken link, ...: errors that end the context. */
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

cudaError_t fake_call_fault(const char *function) {
    cudaError_t error = (cudaError_t)fake_fault_strike(function, FAKE_ANY);
    calls_have_failed = calls_have_failed || error != cudaSuccess;
    return error;
}

bool fake_calls_have_failed(void) {
    return calls_have_failed;
}

cudaError_t fake_operation_fault(fakecuda_kind kind) {
    operations[kind]++;
    return (cudaError_t)fake_fault_strike(NULL, (int)kind);
}

unsigned fake_operation_delay(fakecuda_kind kind) {
    return delays[kind];
}

static void add_fault(const fake_fault *fault) {
    fake_lock();
    fake_fault_add(fault);
    fake_unlock();
}

FAKE_EXPORT void fakecuda_fail_call(const char *function, uint64_t nth, cudaError_t error,
                                    bool for_ever) {
    add_fault(&(fake_fault){.function = function,
                            .of = FAKE_ANY,
                            .nth = nth,
                            .error = (int)error,
                            .for_ever = for_ever});
}

FAKE_EXPORT void fakecuda_fail_operation(fakecuda_kind kind, uint64_t nth, cudaError_t error) {
    add_fault(&(fake_fault){.operation = true, .of = (int)kind, .nth = nth, .error = (int)error});
}

FAKE_EXPORT void fakecuda_fail_nothing(void) {
    fake_lock();
    fake_faults_forget();
    fake_unlock();
}

FAKE_EXPORT void fakecuda_delay(fakecuda_kind kind, unsigned microseconds) {
    fake_lock();
    delays[kind] = microseconds;
    fake_unlock();
}

void fake_faults_reset(void) {
    fake_script_reset();
    free((void *)call_log);
    call_log = NULL;
    call_capacity = 0;
    call_count = 0;
    calls_have_failed = false;
    memset(operations, 0, sizeof operations);
    memset(delays, 0, sizeof delays);
}
