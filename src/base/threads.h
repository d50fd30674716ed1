/* The library's own threads: how many, and starting one. */
#ifndef KVF_THREADS_H
#define KVF_THREADS_H

#include "base/allocator.h"

#include <pthread.h>

/* Starts a thread that takes no signals: these are for the caller's threads. ENGINE when there is
 * none. */
KVF__MODULES kvf_status kvf__start_thread(pthread_t *thread, void *(*run)(void *), void *context,
                                          kvf_error *error);

/* How many CPUs the calling thread may run on, `most` at the most; those online when the kernel
 * does not say. */
KVF__MODULES unsigned kvf__usable_cpus(unsigned most);

#endif
