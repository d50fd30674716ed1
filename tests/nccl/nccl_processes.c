/* Ranks as processes, one of which is killed: the others learn of it in time and go on without it.
 * Only the children use CUDA. */
#include "group_fixture.h"
#include "needs.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3, COUNT = 24, WATCHDOG_S = 120, TIMEOUT_US = 500000 };

/* NCCL's operations: two gathers for group and wire; then in each round a gather, four chunks and a
 * vote. */
enum { FIRST_VOTE = 8, LAST_VOTE = 14 };

/* Shared by the processes of a test. */
typedef struct shared {
    unsigned char id[KVF_GROUP_ID_BYTES];
    int victim;     /* -1: none */
    uint64_t point; /* number of the NCCL operation at which it dies; 0: before the first */
    bool killed;    /* instead, the test kills it `point` us after its third round */
    atomic_uint rounds[RANKS]; /* successful operations */
    atomic_int ended;          /* ranks that have finished their rounds */
} shared;

static shared *all;

static uint64_t slot_of(const fixture_rank *k, unsigned i) {
    return (i * 5 + (unsigned)k->rank) % FIXTURE_SLOTS;
}

static void expect_blocks(const fixture_rank *k, unsigned round) {
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(fixture_device_is(k, slot_of(k, i), i + round));
}

/* One round: every rank gets all blocks. */
static kvf_status onboard(fixture_rank *k, unsigned round, kvf_error *e) {
    uint64_t ids[COUNT], slots[COUNT];
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    for (unsigned i = 0; i < COUNT; i++) {
        ids[i] = i;
        slots[i] = slot_of(k, i);
        if (i % RANKS == (unsigned)k->rank)
            fixture_fill_host(k, i, i + round);
    }
    fixture_hashes(hashes, 0, COUNT);
    kvf_assignments *assignments = fixture_assignments(slots, COUNT, 0);
    const kvf_plan plan = {0, COUNT, ids, slots, hashes};
    const kvf_wire_submit_options how = {.dst = &assignments};
    kvf_status status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, e);
    if (status == KVF_OK)
        status = kvf_wire_op_wait(op, 20 * 1000 * 1000, e);
    kvf_wire_op_release(op);
    fixture_expect_phases(assignments, status == KVF_OK ? COUNT : 0, status == KVF_OK ? 0 : COUNT);
    kvf_assignments_destroy(assignments);
    if (status == KVF_OK)
        expect_blocks(k, round);
    return status;
}

/* At most one operation is in doubt, and blocks that have landed on any rank are on this one. */
static void compare(const fixture_rank *k, unsigned rounds) {
    atomic_fetch_add(&all->ended, 1);
    while (atomic_load(&all->ended) < RANKS - 1)
        usleep(1000);
    for (int r = 0; r < RANKS; r++) {
        unsigned theirs = atomic_load(&all->rounds[r]);
        assert_in_range(theirs + 1, rounds, rounds + 2);
        if (theirs > rounds)
            expect_blocks(k, rounds);
    }
}

static void work(fixture_rank *k) {
    const bool dies = k->rank == all->victim;
    const unsigned most = all->victim < 0 ? 20 : UINT_MAX;
    unsigned round = 0;
    kvf_error e = {0};
    if (dies && all->point == 0)
        (void)raise(SIGKILL);
    if (dies && !all->killed)
        fakenccl_die(k->rank, all->point);
    (void)fixture_join(k, NULL, &e);
    while (e.status == KVF_OK && round < most && onboard(k, round, &e) == KVF_OK)
        atomic_store(&all->rounds[k->rank], ++round);
    const kvf_status end = all->victim < 0 ? KVF_OK : k->group ? KVF_ERR_BROKEN : KVF_ERR_TIMEOUT;
    test_expect(end, e.status, &e);
    assert_false((e.fields & KVF_ERROR_INDEX) != 0);
    if (k->group)
        test_expect(end, kvf_group_check(k->group, &e), &e);
    compare(k, round);
    fixture_expect_idle(k);
}

/* Runs in a thread of its own, so that a failed check ends the child and not the test that it was
 * forked from. */
static void *live(void *context) {
    group_fixture *fixture = context;
    memcpy(fixture->id, all->id, sizeof fixture->id);
    fixture_process(fixture, work);
    return NULL;
}

static _Noreturn void child(int rank) {
    group_fixture fixture = {
        .ranks = RANKS, .only = rank, .options = {.alone = true, .timeout_us = TIMEOUT_US}};
    pthread_t thread;
    (void)alarm(WATCHDOG_S);
    if (pthread_create(&thread, NULL, live, &fixture) != 0 || pthread_join(thread, NULL) != 0)
        _exit(2);
    size_t violations = fakenccl_reset();
    violations += fakecuda_reset();
    _exit(violations == 0 ? 0 : 3);
}

static void run(int victim, unsigned point, bool killed) {
    pid_t processes[RANKS];
    (void)alarm(WATCHDOG_S);
    memset(all, 0, sizeof *all);
    all->victim = victim;
    all->point = point;
    all->killed = killed;
    assert_int_equal(kvf_group_id_create(all->id, NULL), KVF_OK);
    (void)fflush(NULL);
    for (int r = 0; r < RANKS; r++) {
        processes[r] = fork();
        assert_true(processes[r] >= 0);
        if (processes[r] == 0)
            child(r);
    }
    if (killed) {
        while (atomic_load(&all->rounds[victim]) < 3)
            usleep(1000);
        usleep(point);
        assert_int_equal(kill(processes[victim], SIGKILL), 0);
    }
    for (int r = 0; r < RANKS; r++) {
        int status;
        assert_int_equal(waitpid(processes[r], &status, 0), processes[r]);
        assert_int_equal(status, r == victim ? SIGKILL : 0);
    }
}

static void test_processes(void **state) {
    (void)state;
    run(-1, 0, false);
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(atomic_load(&all->rounds[r]), 20);
}

static void test_a_process_that_is_killed(void **state) {
    (void)state;
    for (int victim = 0; victim < RANKS; victim++)
        run(victim, 700 * (unsigned)(victim + 1), true);
}

static void test_a_process_that_dies_at_each_point(void **state) {
    (void)state;
    for (unsigned point = 0; point <= LAST_VOTE; point++) {
        run((int)point % RANKS, point, false);
        for (int r = 0; r < RANKS; r++)
            assert_int_equal(atomic_load(&all->rounds[r]), point > FIRST_VOTE);
    }
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_a_process_that_is_killed),
        cmocka_unit_test(test_a_process_that_dies_at_each_point),
    };
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
