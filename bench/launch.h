/* Starting all ranks of a group on this machine, a process each. */
#ifndef KVF_BENCH_LAUNCH_H
#define KVF_BENCH_LAUNCH_H

#include "ranks.h"

typedef struct launch_job {
    int (*run)(const rank_self *self, void *context); /* a rank's work; returns its exit code */
    void *context;
    int64_t timeout_us; /* in which ranks learn that another has failed */
} launch_job;

/*
 * Runs the job on all ranks that the options ask for, and returns the worst exit code. The runtime
 * must not have been used yet: ranks are forked. One rank runs in this process. When a rank fails,
 * the others may end by themselves for as long as the timeout, and are killed then; bad usage is
 * everybody's, and ends them at once.
 */
int launch(const rank_options *options, const launch_job *job);

#endif
