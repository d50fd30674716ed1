/* Random operations on kvf_assignments, compared with the oracle. */
#include "assignments_run.h"

#include <inttypes.h>

enum { STEPS = 90 };

static uint64_t random_below(void *user, uint64_t bound) {
    return test_random_below(user, bound);
}

static void run_seed(uint64_t seed) {
    static oracle_run run;
    test_random random = test_random_make(seed);
    oracle_run_begin(&run, (oracle_source){random_below, &random});
    for (size_t step = 0; step < STEPS; step++)
        if (!oracle_run_step(&run))
            fail_msg("seed %" PRIu64 ", step %zu, %s: %s", seed, step, run.operation, run.broken);
    assert_true(oracle_run_end(&run));
}

static void test_agrees_with_the_oracle(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(20) * 200; seed++)
        run_seed(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
