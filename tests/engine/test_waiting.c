/* When a wait polls and when it sleeps. */
#include "support/support.h"

#include "engine/wait.h"

#include <sys/prctl.h>

#define US UINT64_C(1000)

static const uint64_t start = 1000 * 1000 * US, rest = 50 * US, late = 5 * US;

/* A first poll, and the margins before and after the expected end. */
#define MOST_AWAKE (92 * US)

/* The outcome of a wait. */
typedef struct outcome {
    uint64_t late;  /* from the end until it was noticed */
    uint64_t awake; /* time spent polling */
} outcome;

/* Waits for a transfer that takes `took`, with `length` expected; a poll takes a microsecond. */
static outcome wait_through(uint64_t took, uint64_t length) {
    const kvf__expectation expected = {length > 0 ? start + length : 0, length};
    outcome o = {0};
    uint64_t now = start;
    while (now < start + took) {
        uint64_t until = kvf__nap_until(now, now - start, expected, rest);
        assert_true(until >= now && until <= now + rest);
        o.awake += until == now ? US : 0;
        now = until == now ? now + US : until + late;
    }
    o.late = now - start - took;
    return o;
}

/* An end within an eighth of the expected length is noticed at once. */
static void test_ends_are_noticed(void **state) {
    (void)state;
    for (uint64_t length = 5 * US; length <= 50000 * US; length += 1 + length / 7)
        for (uint64_t part = 89; part <= 111; part += 2) {
            outcome o = wait_through(length * part / 100, length);
            assert_true(o.late <= 2 * US);
            assert_true(o.awake <= MOST_AWAKE + length / 4);
        }
}

/* With a wrong expectation, or none, the wait sleeps in naps as usual, and the time spent polling
 * is bounded by the expected length. */
static void test_wrong_expectations(void **state) {
    (void)state;
    static const uint64_t factors[] = {2, 3, 10, 100};
    for (uint64_t length = 5 * US; length <= 5000 * US; length += 1 + length / 7)
        for (size_t i = 0; i < 4; i++) {
            outcome slow = wait_through(length * factors[i], length);
            outcome quick = wait_through(length / factors[i], length);
            assert_true(slow.late <= rest + late && quick.late <= rest + late);
            assert_true(slow.awake <= MOST_AWAKE + length / 4);
            assert_true(quick.awake <= MOST_AWAKE + length / 4);
        }
    outcome unknown = wait_through(10000 * US, 0);
    assert_true(unknown.late <= rest + late && unknown.awake <= 21 * US);
}

/* A transfer that is overdue at the first poll, or expected at time 0, must not cause spinning. */
static void test_long_overdue(void **state) {
    (void)state;
    const kvf__expectation expected = {1, 1};
    assert_true(kvf__nap_until(start, 0, expected, rest) == start);
    assert_true(kvf__nap_until(start, 20 * US, expected, rest) == start + rest);
}

static void test_timers(void **state) {
    (void)state;
    assert_int_equal(prctl(PR_SET_TIMERSLACK, 70000UL), 0);
    int slack = kvf__timer_slack_lower();
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 1000);
    kvf__timer_slack_restore(slack);
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 70000);
    assert_int_equal(prctl(PR_SET_TIMERSLACK, 500UL), 0); /* a smaller slack is kept */
    slack = kvf__timer_slack_lower();
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 500);
    kvf__timer_slack_restore(slack);
    assert_int_equal(prctl(PR_GET_TIMERSLACK), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_are_noticed),
        cmocka_unit_test(test_wrong_expectations),
        cmocka_unit_test(test_long_overdue),
        cmocka_unit_test(test_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
