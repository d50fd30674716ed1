#include "base/time.h"

#include <sys/prctl.h>
#include <time.h>

enum { LOW_SLACK_NS = 1000 };

static const uint64_t second = UINT64_C(1000000000);

uint64_t kvf__now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * second + (uint64_t)t.tv_nsec;
}

uint64_t kvf__deadline(uint64_t now, int64_t timeout_us) {
    bool never = timeout_us < 0 || timeout_us > INT64_MAX / 2000;
    return never ? UINT64_MAX : now + (uint64_t)timeout_us * 1000;
}

bool kvf__cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(cond, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
}

void kvf__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t time) {
    const struct timespec t = {.tv_sec = (time_t)(time / second), .tv_nsec = (long)(time % second)};
    pthread_cond_timedwait(cond, mutex, &t);
}

int kvf__timer_slack_lower(void) {
    int slack = prctl(PR_GET_TIMERSLACK);
    if (slack > LOW_SLACK_NS)
        (void)prctl(PR_SET_TIMERSLACK, (unsigned long)LOW_SLACK_NS);
    return slack;
}

void kvf__timer_slack_restore(int slack) {
    if (slack > LOW_SLACK_NS)
        (void)prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
}
