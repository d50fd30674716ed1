/* Violations, counts of calls and bytes, and the failures that a test asks for. */
#include "fake_nccl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct count {
    const char *function;
    uint64_t calls;
} count;

typedef struct fault {
    struct fault *next;
    char *function; /* NULL: any */
    bool operation;
    int rank;      /* or NFAKE_ANY */
    uint64_t left; /* until it strikes; 0 it does, each time */
    ncclResult_t result;
    bool for_ever;
} fault;

static char **violations;
static size_t violation_count;
static count counts[64];
static size_t count_count;
static uint64_t call_count;
static fault *faults;
static unsigned delays[FAKENCCL_RANKS];
static fakenccl_traffic traffic[FAKENCCL_RANKS][FAKENCCL_KINDS];

static void *must(void *block) {
    if (!block)
        abort();
    return block;
}

void nfake_violation(const char *format, ...) {
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

size_t nfake_violations_report(void) {
    size_t found = violation_count;
    for (size_t i = 0; i < violation_count; i++)
        fprintf(stderr, "fakenccl: %s\n", violations[i]);
    violations_free();
    return found;
}

NFAKE_EXPORT size_t fakenccl_violations(void) {
    nfake_lock();
    size_t found = violation_count;
    nfake_unlock();
    return found;
}

NFAKE_EXPORT const char *fakenccl_violation(size_t index) {
    nfake_lock();
    const char *text = index < violation_count ? violations[index] : NULL;
    nfake_unlock();
    return text;
}

NFAKE_EXPORT void fakenccl_forgive(void) {
    nfake_lock();
    violations_free();
    nfake_unlock();
}

/* ---- counts ---- */

void nfake_count_call(const char *function, bool can_fail) {
    size_t i = 0;
    while (i < count_count && strcmp(counts[i].function, function) != 0)
        i++;
    if (i == count_count) {
        if (count_count == sizeof counts / sizeof *counts)
            abort();
        counts[count_count++] = (count){.function = function};
    }
    counts[i].calls++;
    call_count += can_fail;
}

NFAKE_EXPORT uint64_t fakenccl_calls(const char *function) {
    nfake_lock();
    uint64_t calls = function ? 0 : call_count;
    for (size_t i = 0; function && i < count_count; i++) {
        if (strcmp(counts[i].function, function) == 0)
            calls = counts[i].calls;
    }
    nfake_unlock();
    return calls;
}

static void add_traffic(fakenccl_traffic *to, uint64_t sent, uint64_t received) {
    to->operations++;
    to->sent += sent;
    to->received += received;
}

void nfake_count_traffic(ncclComm_t comm, fakenccl_kind kind, uint64_t sent, uint64_t received) {
    add_traffic(&comm->traffic[kind], sent, received);
    add_traffic(&traffic[comm->rank][kind], sent, received);
}

NFAKE_EXPORT fakenccl_traffic fakenccl_traffic_of(int rank, fakenccl_kind kind) {
    nfake_lock();
    bool valid = rank >= 0 && rank < FAKENCCL_RANKS && kind < FAKENCCL_KINDS;
    fakenccl_traffic found = valid ? traffic[rank][kind] : (fakenccl_traffic){0};
    nfake_unlock();
    return found;
}

NFAKE_EXPORT fakenccl_traffic fakenccl_comm_traffic(ncclComm_t handle, fakenccl_kind kind) {
    nfake_lock();
    const struct ncclComm *comm = nfake_comm_find(handle, true);
    bool valid = comm && kind < FAKENCCL_KINDS;
    fakenccl_traffic found = valid ? comm->traffic[kind] : (fakenccl_traffic){0};
    nfake_unlock();
    return found;
}

/* ---- faults ---- */

static bool concerns(const fault *fault, const char *function, int rank) {
    if (fault->rank != NFAKE_ANY && fault->rank != rank)
        return false;
    if (!function || fault->operation)
        return fault->operation && !function;
    return !fault->function || strcmp(fault->function, function) == 0;
}

/* All faults that concern it come nearer; the first one made that strikes is taken. */
static ncclResult_t strike(const char *function, int rank) {
    ncclResult_t result = ncclSuccess;
    for (fault *each = faults; each; each = each->next) {
        if (!concerns(each, function, rank))
            continue;
        if (each->left > 0)
            each->left--;
        if (each->left > 0 || result != ncclSuccess)
            continue;
        result = each->result;
        if (!each->for_ever)
            each->left = UINT64_MAX; /* spent */
    }
    return result;
}

ncclResult_t nfake_call_fault(const char *function, int rank) {
    ncclResult_t result = strike(function, rank);
    return result == ncclSuccess ? result : nfake_fail(result, "%s was made to fail", function);
}

ncclResult_t nfake_operation_fault(int rank) {
    return strike(NULL, rank);
}

unsigned nfake_rank_delay(int rank) {
    return delays[rank];
}

static void add_fault(const fault *wanted, const char *function) {
    nfake_lock();
    fault *made = must(malloc(sizeof *made));
    *made = *wanted;
    made->function = function ? must(strdup(function)) : NULL;
    made->left = wanted->left ? wanted->left : 1;
    fault **at = &faults;
    while (*at)
        at = &(*at)->next;
    *at = made;
    nfake_unlock();
}

NFAKE_EXPORT void fakenccl_fail_call(const char *function, uint64_t nth, ncclResult_t result,
                                     bool for_ever) {
    fakenccl_fail_call_of(NFAKE_ANY, function, nth, result, for_ever);
}

NFAKE_EXPORT void fakenccl_fail_call_of(int rank, const char *function, uint64_t nth,
                                        ncclResult_t result, bool for_ever) {
    add_fault(&(fault){.rank = rank, .left = nth, .result = result, .for_ever = for_ever},
              function);
}

NFAKE_EXPORT void fakenccl_async_error(int rank, uint64_t nth, ncclResult_t result) {
    add_fault(&(fault){.operation = true, .rank = rank, .left = nth, .result = result}, NULL);
}

NFAKE_EXPORT void fakenccl_die(int rank, uint64_t nth) {
    fakenccl_async_error(rank, nth, NFAKE_DEATH);
}

static void faults_free(void) {
    while (faults) {
        fault *gone = faults;
        faults = gone->next;
        free(gone->function);
        free(gone);
    }
}

NFAKE_EXPORT void fakenccl_fail_nothing(void) {
    nfake_lock();
    faults_free();
    nfake_unlock();
}

NFAKE_EXPORT void fakenccl_delay(int rank, unsigned microseconds) {
    nfake_lock();
    if (rank >= 0 && rank < FAKENCCL_RANKS)
        delays[rank] = microseconds;
    nfake_unlock();
}

void nfake_faults_reset(void) {
    faults_free();
    call_count = 0;
    count_count = 0;
    memset(delays, 0, sizeof delays);
    memset(traffic, 0, sizeof traffic);
}
