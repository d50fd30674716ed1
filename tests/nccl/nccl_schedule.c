/* Random operations of all kinds, queued in the same order but at a different pace on every rank,
 * compared with an oracle that knows the content of every block. */
#include "group_fixture.h"
#include "needs.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPS = 6,
    PHASES = 3,
    MOST_BLOCKS = 9,
    MOST_DELIVERIES = 5,
    MOST_RANKS = FIXTURE_RANKS,
};

typedef enum kind { ONBOARD, OFFLOAD, HAND_OVER, KINDS } kind;

/* Some blocks from one rank to another. */
typedef struct delivery {
    int from, to;
    size_t count;
    uint64_t sources[MOST_BLOCKS], destinations[MOST_BLOCKS];
} delivery;

typedef struct operation {
    kind kind;
    kvf_share share;
    int odd_one; /* a rank that submits something else; -1: none */
    uint64_t first;
    size_t count;
    uint64_t host[MOST_RANKS][MOST_BLOCKS], slots[MOST_RANKS][MOST_BLOCKS];
    size_t delivery_count;
    delivery deliveries[MOST_DELIVERIES];
} operation;

/* Blocks that no operation of this phase uses yet. */
typedef struct pool {
    uint64_t ids[FIXTURE_SLOTS];
    size_t left;
} pool;

typedef struct world {
    test_random random;
    int ranks;
    size_t op_count;
    operation ops[OPS];
    unsigned device[MOST_RANKS][FIXTURE_SLOTS], host[MOST_RANKS][FIXTURE_SLOTS]; /* contents */
    pool free_slots[MOST_RANKS], free_hosts[MOST_RANKS];
    uint64_t pace[MOST_RANKS]; /* each rank's own random numbers */
} world;

static world w;

static size_t below(size_t bound) {
    return (size_t)test_random_below(&w.random, bound);
}

static void refill(pool *p) {
    p->left = FIXTURE_SLOTS;
    for (size_t i = 0; i < FIXTURE_SLOTS; i++)
        p->ids[i] = i;
    for (size_t i = FIXTURE_SLOTS; i > 1; i--) {
        size_t j = below(i);
        uint64_t id = p->ids[i - 1];
        p->ids[i - 1] = p->ids[j];
        p->ids[j] = id;
    }
}

/* Operations shrink when few blocks are left. */
static size_t at_most(const pool *p, size_t count, size_t each) {
    return count * each <= p->left ? count : p->left / each;
}

static uint64_t take(pool *p) {
    assert_true(p->left > 0);
    return p->ids[--p->left];
}

static int owner_of(const operation *o, size_t i) {
    return o->share == KVF_SHARE_RANK_0 ? 0 : (int)((o->first + i) % (uint64_t)w.ranks);
}

/* Making a phase */

static void make_shared(operation *o) {
    o->share = (kvf_share)below(2);
    o->first = below(1000);
    o->count = below(MOST_BLOCKS + 1);
    for (int r = 0; r < w.ranks; r++)
        o->count = at_most(&w.free_hosts[r], at_most(&w.free_slots[r], o->count, 1), 1);
    for (size_t i = 0; i < o->count; i++) {
        uint64_t id = take(&w.free_hosts[owner_of(o, i)]);
        for (int r = 0; r < w.ranks; r++) {
            o->host[r][i] = r == owner_of(o, i) ? id : FIXTURE_SLOTS + 1; /* must not be read */
            o->slots[r][i] = take(&w.free_slots[r]);
        }
    }
}

static void make_deliveries(operation *o) {
    o->delivery_count = 1 + below(MOST_DELIVERIES);
    for (size_t d = 0; d < o->delivery_count; d++) {
        delivery *made = &o->deliveries[d];
        made->from = (int)below((size_t)w.ranks);
        made->to = (int)below((size_t)w.ranks);
        made->count = at_most(&w.free_slots[made->from], below(4), 2);
        made->count = at_most(&w.free_slots[made->to], made->count, 2);
        for (size_t i = 0; i < made->count; i++) {
            made->sources[i] = take(&w.free_slots[made->from]);
            made->destinations[i] = take(&w.free_slots[made->to]);
        }
    }
}

static void make_phase(void) {
    w.op_count = 1 + below(OPS - 2);
    for (int r = 0; r < w.ranks; r++) {
        refill(&w.free_slots[r]);
        refill(&w.free_hosts[r]);
        w.pace[r] = test_random_next(&w.random);
    }
    for (size_t n = 0; n < w.op_count; n++) {
        operation *o = &w.ops[n];
        *o = (operation){.kind = (kind)below(KINDS), .odd_one = -1};
        if (o->kind == HAND_OVER)
            make_deliveries(o);
        else
            make_shared(o);
        if (o->kind != HAND_OVER && w.ranks > 1 && below(6) == 0)
            o->odd_one = (int)below((size_t)w.ranks);
    }
}

/* The contents after a phase */

static void apply_shared(const operation *o) {
    for (size_t i = 0; i < o->count; i++) {
        int owner = owner_of(o, i);
        unsigned *host = &w.host[owner][o->host[owner][i]];
        if (o->kind == OFFLOAD)
            *host = w.device[owner][o->slots[owner][i]];
        for (int r = 0; o->kind == ONBOARD && r < w.ranks; r++)
            w.device[r][o->slots[r][i]] = *host;
    }
}

static void apply_phase(void) {
    for (size_t n = 0; n < w.op_count; n++) {
        const operation *o = &w.ops[n];
        if (o->odd_one < 0)
            apply_shared(o);
        for (size_t d = 0; d < o->delivery_count; d++)
            for (size_t i = 0; i < o->deliveries[d].count; i++)
                w.device[o->deliveries[d].to][o->deliveries[d].destinations[i]] =
                    w.device[o->deliveries[d].from][o->deliveries[d].sources[i]];
    }
}

static void expect_world(fixture_rank *k) {
    for (size_t i = 0; i < FIXTURE_SLOTS; i++) {
        assert_true(fixture_device_is(k, i, w.device[k->rank][i]));
        assert_true(fixture_host_is(k, i, w.host[k->rank][i]));
    }
}

static void fill_world(fixture_rank *k) {
    for (size_t i = 0; i < FIXTURE_SLOTS; i++) {
        fixture_fill_device(k, i, w.device[k->rank][i]);
        fixture_fill_host(k, i, w.host[k->rank][i]);
    }
}

/* A rank's part */

static kvf_wire_op *submit_shared(fixture_rank *k, const operation *o) {
    const uint64_t *host = o->host[k->rank], *slots = o->slots[k->rank];
    bool loads = o->kind == ONBOARD;
    /* A plan that differs keeps its owners, so that its ids are valid. */
    uint64_t first = o->first + (o->odd_one == k->rank ? (uint64_t)w.ranks : 0);
    const kvf_plan plan = {first, o->count, loads ? host : slots, loads ? slots : host, NULL};
    const kvf_wire_submit_options how = {.share = o->share};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    kvf_status status = loads ? kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e)
                              : kvf_wire_offload(k->wire, k->host_tier, &plan, 1, &how, &op, &e);
    test_expect(KVF_OK, status, &e);
    return op;
}

static kvf_wire_op *submit_deliveries(fixture_rank *k, const operation *o) {
    kvf_handover handovers[MOST_DELIVERIES];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (size_t n = 0; n < o->delivery_count; n++) {
        const delivery *d = &o->deliveries[n];
        handovers[n] =
            (kvf_handover){d->from, d->to, {n, d->count, d->sources, d->destinations, NULL}, NULL};
    }
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, handovers, o->delivery_count, NULL, &op, &e),
                &e);
    return op;
}

static void pause_for(test_random *random) {
    if (test_random_below(random, 2) == 0)
        usleep((useconds_t)test_random_below(random, 400));
}

static void live(fixture_rank *k) {
    test_random random = test_random_make(w.pace[k->rank]);
    kvf_wire_op *ops[OPS];
    for (size_t n = 0; n < w.op_count; n++) {
        const operation *o = &w.ops[n];
        pause_for(&random);
        ops[n] = o->kind == HAND_OVER ? submit_deliveries(k, o) : submit_shared(k, o);
    }
    for (size_t n = 0; n < w.op_count; n++)
        fixture_expect_end(ops[n], w.ops[n].odd_one >= 0 ? KVF_ERR_PEER : KVF_OK);
    fixture_expect_idle(k);
}

static void run(uint64_t seed) {
    group_fixture fixture;
    memset(&w, 0, sizeof w);
    w.random = test_random_make(seed);
    static const int ranks[] = {1, 2, 3, FIXTURE_RANKS};
    w.ranks = ranks[seed % 4];
    fixture_options options = {.chunk_blocks = 1 + below(6),
                               .chunks = 1 + below(4),
                               .form = (fixture_form)below(FIXTURE_FORMS)};
    while (options.chunk_blocks * (size_t)w.ranks < 2 * MOST_DELIVERIES)
        options.chunk_blocks++; /* room for all deliveries at one rank */
    fixture_open(&fixture, w.ranks, &options);
    for (int r = 0; r < w.ranks; r++) {
        for (size_t i = 0; i < FIXTURE_SLOTS; i++) {
            w.device[r][i] = (unsigned)below(256);
            w.host[r][i] = (unsigned)below(256);
        }
        fakenccl_delay(r, below(3) == 0 ? (unsigned)below(2000) : 0);
    }
    fixture_on_all(&fixture, fill_world);
    for (int phase = 0; phase < PHASES; phase++) {
        make_phase();
        fixture_on_all(&fixture, live);
        apply_phase();
        fixture_on_all(&fixture, expect_world);
    }
    fixture_close(&fixture);
}

static void test_random_schedules(void **state) {
    (void)state;
    uint64_t seeds = test_seeds(60);
    for (uint64_t seed = 0; seed < seeds; seed++) {
        (void)alarm(300);
        run(seed);
    }
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
