/* The library's own threads: how many to use, and starting one. */
#ifndef KVF_THREADS_H
#define KVF_THREADS_H

#include "base/allocator.h"

#include <pthread.h>

/* Starts a thread with all signals blocked, so that they reach the caller's threads. Errors: ENGINE
 * when the system cannot start one. */
KVF__MODULES kvf_status kvf__start_thread(pthread_t *thread, void *(*run)(void *), void *context,
                                          kvf_error *error);

/* How many CPUs the calling thread may run on, but no more than `most`. Falls back to the CPUs
 * online. */
KVF__MODULES unsigned kvf__usable_cpus(unsigned most);

#endif
