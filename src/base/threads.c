#include "base/threads.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

kvf_status kvf__start_thread(pthread_t *thread, void *(*run)(void *), void *context,
                             kvf_error *error) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        return KVF_OK;
    return KVF__FAIL(error, .status = KVF_ERR_ENGINE, .fields = KVF_ERROR_NATIVE_CODE,
                     .native_code = code, .what = "cannot start a thread");
}

unsigned kvf__usable_cpus(unsigned most) {
    cpu_set_t sets[64]; /* one set holds 1024 CPUs; Linux can be built for 8192 */
    long count = sched_getaffinity(0, sizeof sets, sets) == 0 ? CPU_COUNT_S(sizeof sets, sets)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count < most ? (unsigned)count : most;
}
