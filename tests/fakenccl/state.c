/* The lock, per-thread state, and the start and end of every call. */
#include "fake_nccl.h"

#include <time.h>

#define PATIENCE_MS 20000u
#define LAG_US      200u
#define USUAL                                                                                      \
    { .patience_ms = PATIENCE_MS, .lag_us = LAG_US, .version = NCCL_VERSION_CODE }

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static fakenccl_config config = USUAL;
static uint64_t generation = 1, threads, calls;
static const char *current; /* the call that holds the lock */
static _Thread_local nfake_thread self;

void nfake_lock(void) {
    fake_hide();
    pthread_mutex_lock(&mutex);
}

void nfake_unlock(void) {
    pthread_mutex_unlock(&mutex);
    fake_show();
}

const fakenccl_config *nfake_config(void) {
    return &config;
}

NFAKE_EXPORT void fakenccl_configure(const fakenccl_config *wanted) {
    nfake_lock();
    config = wanted ? *wanted : (fakenccl_config){0};
    if (config.patience_ms == 0)
        config.patience_ms = PATIENCE_MS;
    if (config.lag_us == 0)
        config.lag_us = LAG_US;
    if (config.version == 0)
        config.version = NCCL_VERSION_CODE;
    nfake_unlock();
}

uint64_t nfake_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t nfake_deadline_us(void) {
    nfake_lock();
    uint64_t patience = (uint64_t)config.patience_ms * 1000;
    nfake_unlock();
    return nfake_now_us() + patience;
}

nfake_thread *nfake_self(void) {
    if (self.generation != generation)
        self = (nfake_thread){.generation = generation, .number = ++threads};
    return &self;
}

const char *nfake_function(void) {
    return current;
}

uint64_t nfake_call_number(void) {
    return calls;
}

static void begin(const char *function) {
    nfake_lock();
    current = function;
    calls++;
    fake_count_call(function, true);
}

ncclResult_t nfake_enter(const char *function, int rank) {
    begin(function);
    return nfake_call_fault(function, rank);
}

/* Records calls that the communicator's state forbids. */
static ncclResult_t check(ncclComm_t comm, unsigned traits) {
    nfake_name name = nfake_comm_name(comm);
    if ((traits & NFAKE_OWN) && comm->claims > 0 && comm->user != nfake_self()->number) {
        fake_violation("%s on %s, which another thread is using", current, name.text);
        return ncclInvalidUsage;
    }
    if ((traits & NFAKE_READY) && comm->pending > 0) {
        fake_violation("%s on %s, which is still in progress", current, name.text);
        return ncclInvalidArgument;
    }
    if ((traits & NFAKE_ALONE) && self.group) {
        fake_violation("%s on %s, inside a group", current, name.text);
        return ncclInvalidUsage;
    }
    if ((traits & NFAKE_READY) && comm->revoked) {
        fake_violation("%s on %s, which was revoked", current, name.text);
        return ncclInvalidUsage;
    }
    return traits & NFAKE_READY ? nfake_comm_state(comm) : ncclSuccess;
}

/* Shows ThreadSanitizer the use of the handle, so that two threads without order are a race. */
static void touch(ncclComm_t comm) {
    fake_show();
    fake_saw_write(&comm->touched, 1);
    fake_hide();
}

ncclResult_t nfake_enter_comm(const char *function, ncclComm_t handle, unsigned traits,
                              ncclComm_t *out) {
    begin(function);
    *out = nfake_comm_find(handle, false);
    if (!*out) {
        bool was = nfake_comm_find(handle, true) != NULL;
        fake_violation("%s on communicator %p, which %s", function, (void *)handle,
                       was ? "was destroyed or aborted" : "never was");
        return ncclInvalidArgument;
    }
    if (traits & NFAKE_OWN)
        touch(*out);
    ncclResult_t result = nfake_call_fault(function, (*out)->rank);
    return result != ncclSuccess ? result : check(*out, traits);
}

ncclResult_t nfake_leave(ncclResult_t result) {
    nfake_unlock();
    return result;
}

NFAKE_EXPORT ncclResult_t ncclGetVersion(int *version) {
    ncclResult_t result = nfake_enter(__func__, FAKE_ANY);
    if (result == ncclSuccess)
        *version = config.version;
    return nfake_leave(result);
}

NFAKE_EXPORT size_t fakenccl_reset(void) {
    nfake_lock();
    current = "fakenccl_reset";
    nfake_groups_reset();
    nfake_comms_end();
    nfake_jobs_drain();
    nfake_comms_reset();
    nfake_segments_reset();
    nfake_blocks_reset();
    size_t violations = fake_violations_report("fakenccl");
    nfake_faults_reset();
    config = (fakenccl_config)USUAL;
    generation++;
    calls = 0;
    nfake_unlock();
    return violations;
}
