/* The control protocol, out of memory at every allocation. */
#include "control_sim.h"

/* All of one run of a group; returns how many allocations there were. */
static size_t run(uint64_t seed, size_t fail_at, bool ever_after, sim_counts *counts) {
    test_allocator memory;
    test_allocator_init(&memory);
    memory.fail_at = fail_at;
    memory.fail_ever_after = ever_after;
    const sim_options o = {.ranks = 3,
                           .seed = seed,
                           .ops = 6,
                           .spoils = true,
                           .allocator = &memory.allocator,
                           .may_lack_memory = fail_at > 0};
    sim_run(&o, counts);
    test_allocator_done(&memory);
    return memory.calls;
}

/* Own announcements are tried again; others' break the group, and rank 0 is to blame. */
static void test_once(void **state) {
    (void)state;
    sim_counts counts = {0};
    for (uint64_t seed = 0; seed < test_seeds(20); seed++) {
        size_t calls = run(seed, 0, false, &counts);
        assert_int_equal(counts.broken, 0);
        for (size_t fail_at = 1; fail_at <= calls; fail_at++)
            (void)run(seed, fail_at, false, &counts);
        assert_true(counts.broken > 0 && counts.ended_well > 0);
        counts = (sim_counts){0};
    }
}

/* Rank 0 runs out in the middle and for ever: breaking needs no memory. */
static void test_ever_after(void **state) {
    (void)state;
    for (size_t fail_at = 1; fail_at <= 12; fail_at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        kvf__control *control[2] = {NULL, NULL};
        const kvf__announcement all = {.all = true};
        bool broken[2] = {false, false};
        for (int r = 0; r < 2; r++) {
            const kvf__control_options o = {.rank = r,
                                            .ranks = 2,
                                            .timeout_ns = 100,
                                            .beat_ns = 10,
                                            .allocator =
                                                r == 0 ? memory.allocator : kvf__allocator(NULL)};
            memory.fail_at = r == 0 ? fail_at : 0;
            memory.fail_ever_after = true;
            kvf_status status = kvf__control_create(&o, 0, &control[r], NULL);
            if (status != KVF_OK) {
                assert_int_equal(status, KVF_ERR_NO_MEMORY);
                assert_true(r == 0 && fail_at <= 2);
                break;
            }
        }
        if (!control[0]) {
            test_allocator_done(&memory);
            continue;
        }
        memory.fail_at = fail_at;
        for (int round = 0; round < 8; round++) {
            uint64_t number;
            for (int r = 1; r >= 0; r--)
                (void)kvf__control_announce(control[r], &all, 0, &number, NULL);
            for (int r = 0; r < 2; r++) {
                unsigned char message[KVF_CHANNEL_BYTES];
                int to;
                kvf__control_event event;
                for (size_t n; (n = kvf__control_next_message(control[r], &to, message)) > 0;)
                    kvf__control_receive(control[to], r, message, n, 0);
                while (kvf__control_next_event(control[r], &event)) {
                    broken[r] |= event.kind == KVF__CONTROL_BROKEN;
                    if (broken[r]) {
                        assert_int_equal(event.rank, 0);
                        assert_int_equal(event.status, r == 0 ? KVF_ERR_NO_MEMORY : KVF_ERR_PEER);
                    }
                }
                assert_null(kvf__control_check(control[r]));
            }
        }
        assert_true(broken[0] && broken[1]);
        kvf__control_destroy(control[1]);
        kvf__control_destroy(control[0]);
        test_allocator_done(&memory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_ever_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
