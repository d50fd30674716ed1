#include "threads.h"

#include <signal.h>

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
