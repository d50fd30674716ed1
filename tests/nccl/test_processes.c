/* Ranks as processes over TCP, one of which is killed in the middle: the others are told in time,
 * and can go their own way. Only the children use CUDA. */
#include "group_rig.h"
#include "needs.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 3, COUNT = 24, WATCHDOG_S = 120, TIMEOUT_US = 2000000 };

typedef enum way {
    NOBODY_DIES,
    KILLED_BY_TEST, /* wherever it is */
    DIES_WORKING,   /* when NCCL begins something on its device */
    WAYS
} way;

/* What the processes of a test share. */
typedef struct shared {
    char address[64];
    way way;
    int victim;
    atomic_int rounds[RANKS]; /* operations that went well */
} shared;

static shared *all;

/* One round: everybody gets all blocks. */
static kvf_status onboard(rig_rank *k, unsigned round, kvf_error *e) {
    uint64_t ids[COUNT], slots[COUNT];
    kvf_hash hashes[COUNT];
    kvf_wire_op *op = NULL;
    for (unsigned i = 0; i < COUNT; i++) {
        ids[i] = i;
        slots[i] = (i * 5 + (unsigned)k->rank) % RIG_SLOTS;
        if (i % RANKS == (unsigned)k->rank)
            rig_fill_host(k, i, i + round);
    }
    rig_hashes(hashes, 0, COUNT);
    kvf_assignments *tracker = rig_tracker(slots, COUNT, 0);
    const kvf_plan plan = {0, COUNT, ids, slots, hashes};
    const kvf_wire_submit_options how = {.tag = round, .dst = &tracker};
    kvf_status status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, e);
    if (status == KVF_OK)
        status = kvf_wire_op_wait(op, 20 * 1000 * 1000, e);
    kvf_wire_op_release(op);
    rig_expect_phases(tracker, status == KVF_OK ? COUNT : 0, status == KVF_OK ? 0 : COUNT);
    kvf_assignments_destroy(tracker);
    for (unsigned i = 0; i < COUNT && status == KVF_OK; i++)
        assert_true(rig_device_is(k, slots[i], i + round));
    return status;
}

static void work(rig_rank *k) {
    kvf_error e = {0};
    unsigned most = all->way == NOBODY_DIES ? 20 : 1000000;
    if (all->way == DIES_WORKING && k->rank == all->victim)
        fakenccl_die(k->rank, 9);
    for (unsigned round = 0; round < most; round++) {
        kvf_status status = onboard(k, round, &e);
        if (status != KVF_OK)
            break;
        atomic_fetch_add(&all->rounds[k->rank], 1);
    }
    if (all->way == NOBODY_DIES) {
        test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
        return;
    }
    test_expect(KVF_ERR_PEER, e.status, &e);
    assert_int_equal(e.index, all->victim);
    test_expect(KVF_ERR_PEER, kvf_group_check(k->group, &e), &e);
    rig_expect_idle(k);
}

/* In a thread of its own, so that a check that fails ends the child and not the test that it is a
 * copy of. */
static void *live(void *context) {
    group_rig *rig = context;
    rig_run(rig, all->address, work);
    return NULL;
}

static _Noreturn void child(int rank) {
    group_rig rig = {.ranks = RANKS, .only = rank, .options = {.timeout_us = TIMEOUT_US}};
    pthread_t thread;
    (void)alarm(WATCHDOG_S);
    if (pthread_create(&thread, NULL, live, &rig) != 0 || pthread_join(thread, NULL) != 0)
        _exit(2);
    size_t violations = fakenccl_reset();
    violations += fakecuda_reset();
    _exit(violations == 0 ? 0 : 3);
}

static void expect_exit(pid_t process, bool killed) {
    int status = 0;
    assert_int_equal(waitpid(process, &status, 0), process);
    if (killed)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    else
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run(way way, int victim, useconds_t pause) {
    pid_t processes[RANKS];
    (void)alarm(WATCHDOG_S);
    memset(all, 0, sizeof *all);
    all->way = way;
    all->victim = victim;
    (void)snprintf(all->address, sizeof all->address, "127.0.0.1:%d", test_port());
    (void)fflush(NULL);
    for (int r = 0; r < RANKS; r++) {
        processes[r] = fork();
        assert_true(processes[r] >= 0);
        if (processes[r] == 0)
            child(r);
    }
    if (way == KILLED_BY_TEST) {
        while (atomic_load(&all->rounds[victim]) < 3)
            usleep(1000);
        usleep(pause);
        assert_int_equal(kill(processes[victim], SIGKILL), 0);
    }
    for (int r = 0; r < RANKS; r++)
        expect_exit(processes[r], way != NOBODY_DIES && r == victim);
}

static void test_processes(void **state) {
    (void)state;
    run(NOBODY_DIES, -1, 0);
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(atomic_load(&all->rounds[r]), 20);
}

static void test_a_process_that_is_killed(void **state) {
    (void)state;
    for (int victim = 0; victim < RANKS; victim++)
        run(KILLED_BY_TEST, victim, 700 * (useconds_t)(victim + 1));
}

static void test_a_process_that_dies_in_a_collective(void **state) {
    (void)state;
    for (int victim = 0; victim < RANKS; victim++)
        run(DIES_WORKING, victim, 0);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_a_process_that_is_killed),
        cmocka_unit_test(test_a_process_that_dies_in_a_collective),
    };
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
