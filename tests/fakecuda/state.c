/* The lock, state of each thread, and the start and end of every call. */
#include "fake_internal.h"

#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static fakecuda_config config;
static uint64_t generation = 1, threads, calls;
static const char *current; /* the call that holds the lock */
static _Thread_local fake_thread self;

void fake_lock(void) {
    fake_hide();
    pthread_mutex_lock(&mutex);
}

void fake_unlock(void) {
    pthread_mutex_unlock(&mutex);
    fake_show();
}

void fake_wait(pthread_cond_t *condition, const char *what) {
    const char *function = current;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += config.patience_s ? config.patience_s : 60;
    if (pthread_cond_timedwait(condition, &mutex, &until) != 0) {
        fprintf(stderr, "fakecuda: %s waited too long for %s\n", function, what);
        abort();
    }
    current = function;
}

void fake_idle(pthread_cond_t *condition) {
    pthread_cond_wait(condition, &mutex);
}

const fakecuda_config *fake_config(void) {
    return &config;
}

int fake_driver_version(void) {
    return config.driver_version ? config.driver_version : CUDART_VERSION;
}

int fake_devices(void) {
    return config.devices ? config.devices : 1;
}

FAKE_EXPORT void fakecuda_configure(const fakecuda_config *wanted) {
    fake_lock();
    config = wanted ? *wanted : (fakecuda_config){0};
    if (config.devices > FAKECUDA_DEVICES)
        config.devices = FAKECUDA_DEVICES;
    fake_unlock();
}

fake_thread *fake_self(void) {
    if (self.generation != generation) {
        self = (fake_thread){.generation = generation,
                             .number = ++threads,
                             .mode = cudaStreamCaptureModeGlobal,
                             .in_host_function = self.in_host_function};
    }
    return &self;
}

void fake_begin(const char *function) {
    fake_lock();
    current = function;
}

/* No driver, a driver too old for this runtime, or no device. */
static cudaError_t machine_error(void) {
    if (config.no_device != cudaSuccess)
        return config.no_device;
    if (fake_driver_version() / 1000 < CUDART_VERSION / 1000)
        return cudaErrorInsufficientDriver;
    return cudaSuccess;
}

/* The error of a call that is not allowed here at all. */
static cudaError_t refusal(const char *function, unsigned traits) {
    if (self.in_host_function) {
        fake_violation("%s inside a host function", function);
        return cudaErrorNotPermitted;
    }
    return traits & FAKE_UNSAFE ? fake_capture_unsafe() : cudaSuccess;
}

cudaError_t fake_enter(const char *function, unsigned traits) {
    fake_lock();
    fake_thread *thread = fake_self();
    current = function;
    calls++;
    thread->refused = false;
    fake_log_call(function);
    cudaError_t error = traits & FAKE_NO_DEVICE ? cudaSuccess : machine_error();
    if (error == cudaSuccess)
        error = refusal(function, traits);
    thread->refused = error != cudaSuccess;
    if (error == cudaSuccess && !(traits & FAKE_NO_CONTEXT)) {
        fake_context_make(thread->device);
        error = fake_context_error(thread->device);
    }
    if (error == cudaSuccess) {
        error = fake_call_fault(function);
        if (fake_is_sticky(error)) {
            fake_context_kill(thread->device, error);
            error = fake_context_error(thread->device);
        }
    }
    return error;
}

bool fake_gives_back(void) {
    return !self.refused;
}

cudaError_t fake_leave_driver(cudaError_t error) {
    fake_unlock();
    return error;
}

cudaError_t fake_leave(cudaError_t error) {
    if (error != cudaSuccess)
        self.last = error;
    return fake_leave_driver(error);
}

cudaError_t fake_leave_query(cudaError_t error) {
    return error == cudaErrorNotReady ? fake_leave_driver(error) : fake_leave(error);
}

cudaError_t fake_first(cudaError_t first, cudaError_t second) {
    return first != cudaSuccess ? first : second;
}

const char *fake_function(void) {
    return current;
}

uint64_t fake_call_number(void) {
    return calls;
}

FAKE_EXPORT size_t fakecuda_live(void) {
    fake_lock();
    size_t live = fake_memory_live() + fake_streams_live() + fake_events_live();
    fake_unlock();
    return live;
}

FAKE_EXPORT size_t fakecuda_reset(void) {
    fake_begin("fakecuda_reset");
    fake_streams_reset();
    fake_capture_reset();
    fake_events_reset();
    fake_memory_reset();
    fake_arenas_reset();
    fake_devices_reset();
    fake_entries_reset();
    fake_kernels_reset();
    size_t violations = fake_violations_report("fakecuda");
    fake_faults_reset();
    config = (fakecuda_config){0};
    generation++;
    calls = 0;
    fake_unlock();
    return violations;
}
