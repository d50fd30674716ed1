/* Time: one monotonic clock, in nanoseconds, and waiting by it. */
#ifndef KVF_TIME_H
#define KVF_TIME_H

#include "base/status.h"

#include <pthread.h>

KVF__MODULES uint64_t kvf__now(void);

/* When a wait of that many microseconds, starting at `now`, times out: never (UINT64_MAX) for a
 * negative number and for one that would overflow. */
KVF__MODULES uint64_t kvf__deadline(uint64_t now, int64_t timeout_us);

/* A condition variable on this clock. false: the system has none left. */
KVF__MODULES bool kvf__cond_init(pthread_cond_t *cond);

KVF__MODULES void kvf__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t time);

/* Lowers the calling thread's timer slack, usually 50 us, to 1 us, so that its naps end in time.
 * Returns the old slack, for kvf__timer_slack_restore. The library's own threads never restore it,
 * the caller's do after every nap. */
KVF__MODULES int kvf__timer_slack_lower(void);
void kvf__timer_slack_restore(int slack);

#endif
