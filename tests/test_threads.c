#include "support.h"

#include "threads.h"

#include <signal.h>

static bool takes(int number) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return !sigismember(&mask, number);
}

static void *look(void *context) {
    *(bool *)context = takes(SIGTERM) || takes(SIGUSR1);
    return NULL;
}

static void test_a_thread_takes_no_signals(void **state) {
    (void)state;
    pthread_t thread;
    bool took = true;
    assert_int_equal(kvf__start_thread(&thread, look, &took, NULL), KVF_OK);
    pthread_join(thread, NULL);
    assert_false(took);
    assert_true(takes(SIGTERM));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_takes_no_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
