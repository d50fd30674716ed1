/* The library's own threads: starting one. */
#ifndef KVF_THREADS_H
#define KVF_THREADS_H

#include "memory.h"

#include <pthread.h>

/* Starts a thread that takes no signals: these are for the caller's threads. ENGINE when there is
 * none. */
KVF__MODULES kvf_status kvf__start_thread(pthread_t *thread, void *(*run)(void *), void *context,
                                          kvf_error *error);

#endif
