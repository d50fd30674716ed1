/* Groups: how they are made, with what communicator, and how they end. */
#include "group_fixture.h"

#include "nccl/group.h"
#include "needs.h"

#include <sched.h>
#include <string.h>

enum { COUNT = 12, SHORT_US = 300000 };

static void work(fixture_rank *k) {
    fixture_end(fixture_onboard(k, 3, COUNT, 7), KVF_OK);
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

/* It carries an id, and is as before when the group has ended, or was broken by rank 1's being
 * late. */
static void live_with_parent(fixture_rank *k) {
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    kvf_error e = {0};
    memcpy(&id, k->fixture->id, sizeof id);
    assert_int_equal(ncclCommInitRank(&parent, k->fixture->ranks, id, k->rank), ncclSuccess);
    for (int i = 0; i < 2; i++) {
        test_expect(KVF_OK, fixture_join(k, &(kvf_group_options){.parent = parent}, &e), &e);
        assert_true(k->group->comm && k->group->comm != parent);
        fixture_meet(k);
        use_parent(k, parent);
        work(k);
        for (int late = 0; late < 2; late++) {
            fixture_meet(k);
            if (i == 1 && late == (k->rank == 1))
                fixture_end(fixture_onboard(k, 3, COUNT, 7), KVF_ERR_BROKEN);
        }
        fixture_leave(k);
        fixture_meet(k);
        fakenccl_forgive();
        use_parent(k, parent);
    }
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Rank 0 gets no id to carry: all are told in time, and the parent is as before. */
static void get_no_id(fixture_rank *k) {
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    kvf_error e = {0};
    memcpy(&id, k->fixture->id, sizeof id);
    assert_int_equal(ncclCommInitRank(&parent, k->fixture->ranks, id, k->rank), ncclSuccess);
    fixture_meet(k);
    if (k->rank == 0)
        fakenccl_fail_call("ncclGetUniqueId", 1, ncclSystemError, false);
    kvf_status status = fixture_join(k, &(kvf_group_options){.parent = parent}, &e);
    assert_null(k->group);
    if (k->rank == 0)
        test_expect(KVF_ERR_ENGINE, status, &e);
    else
        test_expect(KVF_ERR_PEER, status, &e);
    fixture_meet(k);
    use_parent(k, parent);
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Making it fails, since rank 1 does something else: all are told in time, and nothing is left. */

typedef enum way { STAYS_AWAY, NCCL_FAILS, NEVER_MADE, OTHER_TIMEOUT, OTHER_RANKS, WAYS } way;

static way now;

static void join_in_vain(fixture_rank *k) {
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
    else if (e.status != KVF_ERR_ENGINE) /* whoever comes first is right */
        test_expect(KVF_ERR_TIMEOUT, e.status, &e);
    assert_true(e.what || e.status == KVF_OK);
    if (now == OTHER_TIMEOUT) {
        assert_int_equal(e.index, 1);
        assert_string_equal(e.what, "has other options");
    }
    assert_null(k->group);
    assert_true(kvf__now() - begun < UINT64_C(4000) * SHORT_US);
    fixture_meet(k);
    if (now == OTHER_RANKS)
        fakenccl_forgive();
}

static void test_making_it_fails(void **state) {
    (void)state;
    for (now = 0; now < WAYS; now++)
        fixture_run_forms(
            3,
            &(fixture_options){.alone = true, .nccl.lag_us = now == NEVER_MADE ? 2 * SHORT_US : 0},
            join_in_vain);
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

static void live_often(fixture_rank *k) {
    kvf_error e = {0};
    for (int i = 0; i < 10; i++) {
        fixture_meet(k);
        if (k->rank == 0 && k->fixture->ranks > 1) {
            fakenccl_fail_call("ncclGetUniqueId", 1, ncclSystemError, false);
            assert_int_equal(kvf_group_id_create(k->fixture->id, &e), KVF_ERR_ENGINE);
            assert_int_equal(e.native_code, ncclSystemError);
            assert_int_equal(kvf_group_id_create(k->fixture->id, &e), KVF_OK);
        }
        fixture_meet(k);
        test_expect(KVF_OK, fixture_join(k, NULL, &e), &e);
        (i % 2 ? work : destroy_group_first)(k);
        fixture_leave(k);
    }
}

/* To the others' next operation; after it there is no group any more. */
static void leave_early(fixture_rank *k) {
    kvf_error e = {0};
    if (k->rank == 1) {
        kvf_group_destroy(k->group);
        k->group = NULL;
        return;
    }
    fixture_end_with(fixture_onboard(k, 3, COUNT, 7), KVF_ERR_PEER, &e);
    assert_int_equal(e.index, 1);
    assert_non_null(strstr(e.what, "has left"));
    while (kvf_group_check(k->group, &e) == KVF_OK)
        (void)kvf_group_progress(k->group);
    assert_int_equal(e.status, KVF_ERR_BROKEN);
}

/* Several threads of a rank submit, in the same order on all ranks: each waits for the one before
 * its own, which another has submitted, while the rank's own thread looks on. */

enum { THREADS = 4, TURNS = 60 };

typedef struct crowd {
    fixture_rank *rank;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned members, turns; /* that have begun */
    kvf_wire_op *newest;
} crowd;

static void end_turn(crowd *c, kvf_wire_op *op, unsigned turn) {
    fixture_end(op, KVF_OK);
    assert_true(fixture_onboarded(c->rank, turn % (THREADS + 1) * COUNT, COUNT, turn));
}

static void *submit_in_turn(void *context) {
    crowd *c = context;
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

static void look_on(crowd *c) {
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

static void be_a_crowd(fixture_rank *k) {
    crowd c = {k, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, NULL};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_in_turn, &c), 0);
    look_on(&c);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    end_turn(&c, c.newest, TURNS - 1);
}

typedef struct piece {
    int ranks;
    fixture_options options;
    void (*body)(fixture_rank *rank);
} piece;

static void run(void **state) {
    const piece *p = *state;
    fixture_run_forms(p->ranks, &p->options, p->body);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const fixture_options limited = {.min_ctas = 2, .max_ctas = 5, .cta_policy = 1};
    const fixture_options alone = {.alone = true}, none = {0}, brief = {.timeout_us = SHORT_US};
    const fixture_options both = {.alone = true, .timeout_us = SHORT_US};
    const struct CMUnitTest tests[] = {
        {"what collectives may take", run, NULL, NULL, &(piece){2, limited, expect_config}},
        {"a group of one", run, NULL, NULL, &(piece){1, none, work_without_nccl}},
        {"a parent", run, NULL, NULL, &(piece){3, both, live_with_parent}},
        {"no id for a parent", run, NULL, NULL, &(piece){3, both, get_no_id}},
        cmocka_unit_test(test_making_it_fails),
        {"many lives of 1", run, NULL, NULL, &(piece){1, alone, live_often}},
        {"many lives of 2", run, NULL, NULL, &(piece){2, alone, live_often}},
        {"many lives of 3", run, NULL, NULL, &(piece){3, alone, live_often}},
        {"one leaves early", run, NULL, NULL, &(piece){3, brief, leave_early}},
        {"many threads", run, NULL, NULL, &(piece){3, none, be_a_crowd}},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
