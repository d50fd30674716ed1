/* Groups: creation, the communicator, the end. */
#include "group_fixture.h"

#include "nccl/group.h"
#include "needs.h"

#include <sched.h>
#include <string.h>

enum { COUNT = 12, SHORT_US = 300000 };

static void work(fixture_rank *k) {
    fixture_expect_end(fixture_onboard(k, 3, COUNT, 7), KVF_OK);
    assert_true(fixture_onboarded(k, 3, COUNT, 7));
}

static void expect_config(fixture_rank *k) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    assert_true(fakenccl_comm_config(k->group->comm, &config));
    assert_int_equal(config.blocking, 0);
    assert_int_equal(config.minCTAs, 2);
    assert_int_equal(config.maxCTAs, 5);
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
    assert_int_equal(config.CTAPolicy, 1);
#endif
    work(k);
}

/* Without an id there is no communicator. */
static void work_without_nccl(fixture_rank *k) {
    work(k);
    fixture_leave(k);
    assert_int_equal(fakenccl_calls(NULL), 0);
}

static void use_parent(fixture_rank *k, ncclComm_t parent) {
    void *memory = k->layers[0];
    assert_int_equal(ncclBroadcast(memory, memory, 16, ncclChar, 0, parent, NULL), ncclSuccess);
    assert_int_equal(cudaStreamSynchronize(NULL), cudaSuccess);
}

/* The parent carries the id, and stays usable after the group has ended, or was broken because rank
 * 1 was late. */
static void live_with_parent(fixture_rank *k) {
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    kvf_error e = {0};
    memcpy(&id, k->fixture->id, sizeof id);
    assert_int_equal(ncclCommInitRank(&parent, k->fixture->ranks, id, k->rank), ncclSuccess);
    for (int i = 0; i < 2; i++) {
        test_expect(KVF_OK, fixture_join(k, &(kvf_group_options){.parent = parent}, &e), &e);
        assert_true(k->group->comm && k->group->comm != parent);
        fixture_barrier(k);
        use_parent(k, parent);
        work(k);
        for (int late = 0; late < 2; late++) {
            fixture_barrier(k);
            if (i == 1 && late == (k->rank == 1))
                fixture_expect_end(fixture_onboard(k, 3, COUNT, 7), KVF_ERR_BROKEN);
        }
        fixture_leave(k);
        fixture_barrier(k);
        fakenccl_forgive();
        use_parent(k, parent);
    }
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Rank 0 gets no id to broadcast: all ranks fail in time, and the parent stays usable. */
static void get_no_id(fixture_rank *k) {
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    kvf_error e = {0};
    memcpy(&id, k->fixture->id, sizeof id);
    assert_int_equal(ncclCommInitRank(&parent, k->fixture->ranks, id, k->rank), ncclSuccess);
    fixture_barrier(k);
    if (k->rank == 0)
        fakenccl_fail_call("ncclGetUniqueId", 1, ncclSystemError, false);
    kvf_status status = fixture_join(k, &(kvf_group_options){.parent = parent}, &e);
    assert_null(k->group);
    if (k->rank == 0)
        test_expect(KVF_ERR_ENGINE, status, &e);
    else
        test_expect(KVF_ERR_PEER, status, &e);
    fixture_barrier(k);
    use_parent(k, parent);
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Creation fails because of rank 1: all ranks learn of it in time, and nothing leaks. */

typedef enum failure {
    STAYS_AWAY,
    NCCL_FAILS,
    NEVER_MADE,
    OTHER_TIMEOUT,
    OTHER_RANKS,
    FAILURES
} failure;

static failure now;

static void fail_to_join(fixture_rank *k) {
    static const kvf_status expected[][2] = {
        [STAYS_AWAY] = {KVF_ERR_TIMEOUT, KVF_OK},
        [NCCL_FAILS] = {KVF_ERR_TIMEOUT, KVF_ERR_ENGINE},
        [NEVER_MADE] = {KVF_ERR_TIMEOUT, KVF_ERR_TIMEOUT},
        [OTHER_TIMEOUT] = {KVF_ERR_PEER, KVF_ERR_PEER},
    };
    const bool odd = k->rank == 1;
    const uint64_t begun = kvf__now();
    const kvf_group_options o = {.rank = k->rank,
                                 .ranks = k->fixture->ranks - (odd && now == OTHER_RANKS),
                                 .id = k->fixture->id,
                                 .timeout_us = SHORT_US + (odd && now == OTHER_TIMEOUT)};
    kvf_error e = {0};
    if (odd && now == NCCL_FAILS)
        fakenccl_fail_call_of(1, "ncclCommInitRankConfig", 1, ncclSystemError, false);
    if (!odd || now != STAYS_AWAY)
        (void)fixture_join(k, &o, &e);
    if (now != OTHER_RANKS)
        test_expect(expected[now][odd], e.status, &e);
    else if (e.status != KVF_ERR_ENGINE) /* the first rank to arrive sets the number */
        test_expect(KVF_ERR_TIMEOUT, e.status, &e);
    assert_true(e.what || e.status == KVF_OK);
    if (now == OTHER_TIMEOUT) {
        assert_int_equal(e.index, 1);
        assert_string_equal(e.what, "has other options");
    }
    assert_null(k->group);
    assert_true(kvf__now() - begun < UINT64_C(4000) * SHORT_US);
    fixture_barrier(k);
    if (now == OTHER_RANKS)
        fakenccl_forgive();
}

static void test_making_it_fails(void **state) {
    (void)state;
    for (now = 0; now < FAILURES; now++)
        fixture_run_forms(
            3,
            &(fixture_options){.alone = true, .nccl.lag_us = now == NEVER_MADE ? 2 * SHORT_US : 0},
            fail_to_join);
}

static void destroy_group_first(fixture_rank *k) {
    const kvf_plan plan = {0};
    kvf_wire_op *op = fixture_onboard(k, 3, COUNT, 7), *none = NULL;
    kvf_error e = {0};
    kvf_group_destroy(k->group); /* waits for it */
    k->group = NULL;
    kvf_status status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &none, &e);
    assert_int_equal(status, KVF_ERR_CLOSED);
    assert_int_equal(kvf_wire_refuse(k->wire, KVF_ERR_CORRUPT, &e), KVF_ERR_CLOSED);
    assert_int_equal(kvf_wire_op_poll(op, NULL), KVF_OK);
    kvf_wire_op_release(op);
    assert_true(fixture_onboarded(k, 3, COUNT, 7));
}

static void join_often(fixture_rank *k) {
    kvf_error e = {0};
    for (int i = 0; i < 10; i++) {
        fixture_barrier(k);
        if (k->rank == 0 && k->fixture->ranks > 1) {
            fakenccl_fail_call("ncclGetUniqueId", 1, ncclSystemError, false);
            assert_int_equal(kvf_group_id_create(k->fixture->id, &e), KVF_ERR_ENGINE);
            assert_int_equal(e.native_code, ncclSystemError);
            assert_int_equal(kvf_group_id_create(k->fixture->id, &e), KVF_OK);
        }
        fixture_barrier(k);
        test_expect(KVF_OK, fixture_join(k, NULL, &e), &e);
        (i % 2 ? work : destroy_group_first)(k);
        fixture_leave(k);
    }
}

/* Rank 1 leaves while the others submit: they get PEER, and the group is broken. */
static void leave_early(fixture_rank *k) {
    kvf_error e = {0};
    if (k->rank == 1) {
        kvf_group_destroy(k->group);
        k->group = NULL;
        return;
    }
    fixture_expect_end_with(fixture_onboard(k, 3, COUNT, 7), KVF_ERR_PEER, &e);
    assert_int_equal(e.index, 1);
    assert_non_null(strstr(e.what, "has left"));
    while (kvf_group_check(k->group, &e) == KVF_OK)
        (void)kvf_group_progress(k->group);
    assert_int_equal(e.status, KVF_ERR_BROKEN);
}

/* Several threads of a rank submit, in the same order on all ranks. Each waits for the operation
 * before its own, which another thread has submitted, while the rank's main thread polls. */

enum { THREADS = 4, TURNS = 60 };

typedef struct submitters {
    fixture_rank *rank;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned members, turns; /* that have started */
    kvf_wire_op *newest;
} submitters;

static void end_turn(submitters *c, kvf_wire_op *op, unsigned turn) {
    fixture_expect_end(op, KVF_OK);
    assert_true(fixture_onboarded(c->rank, turn % (THREADS + 1) * COUNT, COUNT, turn));
}

static void *submit_in_turn(void *context) {
    submitters *c = context;
    pthread_mutex_lock(&c->lock);
    for (unsigned turn = c->members++; turn < TURNS; turn += THREADS) {
        while (c->turns < turn)
            pthread_cond_wait(&c->changed, &c->lock);
        kvf_wire_op *before = c->newest;
        c->newest = fixture_onboard(c->rank, turn % (THREADS + 1) * COUNT, COUNT, turn);
        c->turns++;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        if (before)
            end_turn(c, before, turn - 1);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void watch_progress(submitters *c) {
    kvf_group_counters counters, before = {0};
    kvf_wire_op_stats stats;
    while (before.operations_submitted < TURNS) {
        assert_int_equal(kvf_group_check(c->rank->group, NULL), KVF_OK);
        assert_int_equal(kvf_group_counters_get(c->rank->group, &counters, NULL), KVF_OK);
        assert_true(counters.operations_succeeded >= before.operations_succeeded);
        assert_true(kvf_group_progress(c->rank->group) <= THREADS + 1);
        pthread_mutex_lock(&c->lock);
        if (c->newest) {
            kvf_status status = kvf_wire_op_poll(c->newest, NULL);
            kvf_wire_op_stats_get(c->newest, &stats);
            assert_true(status == KVF_OK ? stats.blocks == COUNT : status == KVF_PENDING);
        }
        pthread_mutex_unlock(&c->lock);
        before = counters;
        (void)sched_yield();
    }
}

static void submit_from_threads(fixture_rank *k) {
    submitters c = {k, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, NULL};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_in_turn, &c), 0);
    watch_progress(&c);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    end_turn(&c, c.newest, TURNS - 1);
}

typedef struct test_case {
    int ranks;
    fixture_options options;
    void (*body)(fixture_rank *rank);
} test_case;

static void run(void **state) {
    const test_case *p = *state;
    fixture_run_forms(p->ranks, &p->options, p->body);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const fixture_options limited = {.min_ctas = 2, .max_ctas = 5, .cta_policy = 1};
    const fixture_options alone = {.alone = true}, none = {0}, brief = {.timeout_us = SHORT_US};
    const fixture_options both = {.alone = true, .timeout_us = SHORT_US};
    const struct CMUnitTest tests[] = {
        {"what collectives may take", run, NULL, NULL, &(test_case){2, limited, expect_config}},
        {"a group of one", run, NULL, NULL, &(test_case){1, none, work_without_nccl}},
        {"a parent", run, NULL, NULL, &(test_case){3, both, live_with_parent}},
        {"no id for a parent", run, NULL, NULL, &(test_case){3, both, get_no_id}},
        cmocka_unit_test(test_making_it_fails),
        {"many lives of 1", run, NULL, NULL, &(test_case){1, alone, join_often}},
        {"many lives of 2", run, NULL, NULL, &(test_case){2, alone, join_often}},
        {"many lives of 3", run, NULL, NULL, &(test_case){3, alone, join_often}},
        {"one leaves early", run, NULL, NULL, &(test_case){3, brief, leave_early}},
        {"many threads", run, NULL, NULL, &(test_case){3, none, submit_from_threads}},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
