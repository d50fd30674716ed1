/* Violations, counts of calls and bytes, and failures that a test requests. */
#include "fake_nccl.h"

#include <string.h>

static unsigned delays[FAKENCCL_RANKS];
static fakenccl_traffic traffic[FAKENCCL_RANKS][FAKENCCL_KINDS];

NFAKE_EXPORT size_t fakenccl_violations(void) {
    nfake_lock();
    size_t found = fake_violations();
    nfake_unlock();
    return found;
}

NFAKE_EXPORT const char *fakenccl_violation(size_t index) {
    nfake_lock();
    const char *text = fake_violation_at(index);
    nfake_unlock();
    return text;
}

NFAKE_EXPORT void fakenccl_forgive(void) {
    nfake_lock();
    fake_forgive();
    nfake_unlock();
}

/* ---- counts ---- */

NFAKE_EXPORT uint64_t fakenccl_calls(const char *function) {
    nfake_lock();
    uint64_t calls = fake_calls(function);
    nfake_unlock();
    return calls;
}

void nfake_count_traffic(const struct ncclComm *comm, fakenccl_kind kind, uint64_t sent,
                         uint64_t received) {
    fakenccl_traffic *to = &traffic[comm->rank][kind];
    to->operations++;
    to->sent += sent;
    to->received += received;
}

NFAKE_EXPORT fakenccl_traffic fakenccl_traffic_of(int rank, fakenccl_kind kind) {
    nfake_lock();
    bool valid = rank >= 0 && rank < FAKENCCL_RANKS && kind < FAKENCCL_KINDS;
    fakenccl_traffic found = valid ? traffic[rank][kind] : (fakenccl_traffic){0};
    nfake_unlock();
    return found;
}

/* ---- faults ---- */

ncclResult_t nfake_call_fault(const char *function, int rank) {
    return (ncclResult_t)fake_fault_strike(function, rank);
}

ncclResult_t nfake_operation_fault(int rank) {
    return (ncclResult_t)fake_fault_strike(NULL, rank);
}

unsigned nfake_rank_delay(int rank) {
    return delays[rank];
}

static void add_fault(const fake_fault *fault) {
    nfake_lock();
    fake_fault_add(fault);
    nfake_unlock();
}

NFAKE_EXPORT void fakenccl_fail_call(const char *function, uint64_t nth, ncclResult_t result,
                                     bool for_ever) {
    fakenccl_fail_call_of(FAKE_ANY, function, nth, result, for_ever);
}

NFAKE_EXPORT void fakenccl_fail_call_of(int rank, const char *function, uint64_t nth,
                                        ncclResult_t result, bool for_ever) {
    add_fault(&(fake_fault){
        .function = function, .of = rank, .nth = nth, .error = (int)result, .for_ever = for_ever});
}

NFAKE_EXPORT void fakenccl_async_error(int rank, uint64_t nth, ncclResult_t result) {
    add_fault(&(fake_fault){.operation = true, .of = rank, .nth = nth, .error = (int)result});
}

NFAKE_EXPORT void fakenccl_die(int rank, uint64_t nth) {
    fakenccl_async_error(rank, nth, NFAKE_DEATH);
}

NFAKE_EXPORT void fakenccl_fail_nothing(void) {
    nfake_lock();
    fake_faults_forget();
    nfake_unlock();
}

NFAKE_EXPORT void fakenccl_delay(int rank, unsigned microseconds) {
    nfake_lock();
    if (rank >= 0 && rank < FAKENCCL_RANKS)
        delays[rank] = microseconds;
    nfake_unlock();
}

void nfake_faults_reset(void) {
    fake_script_reset();
    memset(delays, 0, sizeof delays);
    memset(traffic, 0, sizeof traffic);
}
