/* The loop and the summary. Exit codes: 0 success, 1 a mismatch or failure, 2 bad usage. */
#include "scheduler.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static machine *open_machine(const options *options) {
    if (strcmp(options->engine, "host") == 0)
        return machine_host_open(options);
#ifdef EXAMPLE_CUDA
    return machine_cuda_open(options);
#else
    die("engine cuda", "this example was built without it");
#endif
}

static void run(runtime *rt, const options *options) {
    const time_t begin = time(NULL);
    while (rt->counts.finished < options->sequences &&
           (options->steps == 0 || rt->counts.steps < options->steps) &&
           (options->seconds == 0 || time(NULL) - begin < (time_t)options->seconds))
        if (!runtime_round(rt))
            (void)sched_yield(); /* transfers and streams need time */
}

static void print_counts(const char *engine, const counts *counts) {
    (void)printf(
        "%s: %" PRIu64 " steps, %" PRIu64 " void; sequences: %" PRIu64 " finished, %" PRIu64
        " preempted, %" PRIu64 " begun again; blocks: %" PRIu64 " offloaded, %" PRIu64
        " onboarded, %" PRIu64 " shared; transfers: %" PRIu64 " cancelled, %" PRIu64
        " failed, %" PRIu64 " put off; texts %016" PRIx64 "; %" PRIu64 " mismatches\n",
        engine, counts->steps, counts->discarded, counts->finished, counts->preempted,
        counts->restarted, counts->offloaded, counts->onboarded, counts->shared, counts->cancelled,
        counts->failed, counts->again, counts->texts, counts->mismatches);
}

int main(int argc, char **argv) {
    const options options = options_parse(argc, argv);
    runtime rt;
    runtime_open(&rt, open_machine(&options), &options);
    run(&rt, &options);
    runtime_close(&rt);
    print_counts(options.engine, &rt.counts);
    return rt.counts.mismatches == 0 ? 0 : 1;
}
