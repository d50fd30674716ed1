/* The control protocol: cases one by one, and thousands of simulated groups. */
#include "control_sim.h"

#include "control_messages.h"

#include <string.h>

/* Two or three ranks, wired to each other without delay */

enum { RANKS = 3, EVENTS = 64 };

typedef struct group {
    int ranks;
    uint64_t now;
    kvf__control *control[RANKS];
    kvf__control_event events[RANKS][EVENTS];
    size_t event_count[RANKS], taken[RANKS];
    bool silent[RANKS]; /* what it sends is lost */
} group;

static kvf__control_options options_of(int rank, int ranks) {
    return (kvf__control_options){.rank = rank,
                                  .ranks = ranks,
                                  .timeout_ns = SIM_TIMEOUT,
                                  .beat_ns = SIM_BEAT,
                                  .allocator = kvf__allocator(NULL)};
}

static void pump(group *g) {
    unsigned char message[KVF_CHANNEL_BYTES];
    bool any = true;
    while (any) {
        any = false;
        for (int r = 0; r < g->ranks; r++) {
            int to;
            for (size_t n; (n = kvf__control_next_message(g->control[r], &to, message)) > 0;) {
                if (!g->silent[r])
                    kvf__control_receive(g->control[to], r, message, n, g->now);
                any = true;
            }
        }
    }
    for (int r = 0; r < g->ranks; r++) {
        while (kvf__control_next_event(g->control[r], &g->events[r][g->event_count[r]]))
            g->event_count[r]++;
        assert_null(kvf__control_check(g->control[r]));
    }
}

static const kvf__control_event *next(group *g, int rank, kvf__control_event_kind kind) {
    static const kvf__control_event none;
    if (g->taken[rank] == g->event_count[rank])
        fail_msg("rank %d has no event, but should have one of kind %d", rank, (int)kind);
    const kvf__control_event *e = &g->events[rank][g->taken[rank]++];
    assert_int_equal(e->kind, kind);
    return e ? e : &none;
}

static void nothing(const group *g, int rank) {
    assert_int_equal(g->taken[rank], g->event_count[rank]);
}

static void open_group(group *g, int ranks) {
    *g = (group){.ranks = ranks};
    for (int r = 0; r < ranks; r++) {
        kvf__control_options o = options_of(r, ranks);
        assert_int_equal(kvf__control_create(&o, 0, &g->control[r], NULL), KVF_OK);
    }
    pump(g);
    for (int r = 0; r < ranks; r++)
        (void)next(g, r, KVF__CONTROL_READY);
}

static void close_group(group *g) {
    for (int r = 0; r < g->ranks; r++)
        kvf__control_destroy(g->control[r]);
}

static void pass(group *g, uint64_t time) {
    for (uint64_t end = g->now + time; g->now < end;) {
        g->now += SIM_BEAT / 2;
        for (int r = 0; r < g->ranks; r++)
            (void)kvf__control_tick(g->control[r], g->now);
        pump(g);
    }
}

static uint64_t announce(group *g, int rank, const kvf__announcement *a) {
    uint64_t number = 0;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf__control_announce(g->control[rank], a, g->now, &number, &error),
                &error);
    pump(g);
    return number;
}

static void vote(group *g, int rank, uint64_t number, kvf_status status, const char *reason) {
    kvf__control_vote(g->control[rank], number, status, reason, g->now);
    pump(g);
}

static const kvf__announcement everybody = {.tag = 5, .kind = 1, .digest = {1, 2}, .all = true};

static kvf__announcement hands(int peer, int sends, int receives) {
    kvf__announcement a = {.tag = 5, .kind = 3};
    for (int i = 0; i < sends + receives; i++) {
        bool receive = i >= sends;
        uint64_t digest = (uint64_t)(receive ? i - sends : i);
        a.hands[a.hand_count++] =
            (kvf__control_hand){.peer = peer, .receives = receive, .digest = {digest, 0}};
    }
    return a;
}

/* An operation of all ranks starts. */
static void start_everybody(group *g) {
    for (int r = 0; r < g->ranks; r++)
        (void)announce(g, r, &everybody);
    for (int r = 0; r < g->ranks; r++)
        (void)next(g, r, KVF__CONTROL_STARTED);
}

static void expect_refused(group *g, int rank, int fault, const char *reason) {
    const kvf__control_event *e = next(g, rank, KVF__CONTROL_REFUSED);
    assert_int_equal(e->status, KVF_ERR_PEER);
    assert_int_equal(e->rank, fault);
    if (!strstr(e->reason, reason))
        fail_msg("\"%s\" does not say \"%s\"", e->reason, reason);
}

static void expect_broken(group *g, int rank, int fault, kvf_status status, const char *reason) {
    const kvf__control_event *e = next(g, rank, KVF__CONTROL_BROKEN);
    assert_int_equal(e->status, status);
    assert_int_equal(e->rank, fault);
    if (!strstr(e->reason, reason))
        fail_msg("\"%s\" does not say \"%s\"", e->reason, reason);
    nothing(g, rank);
    uint64_t number = 0;
    kvf_error error = {0};
    test_expect(KVF_ERR_PEER,
                kvf__control_announce(g->control[rank], &everybody, g->now, &number, &error),
                &error);
    assert_int_equal(number, 0);
}

static void test_options(void **state) {
    (void)state;
    kvf__control *control = NULL;
    kvf__control_options o = options_of(0, 2);
    kvf_error error = {0};
    test_expect(KVF_ERR_INVALID, kvf__control_create(NULL, 0, &control, &error), &error);
    test_expect(KVF_ERR_INVALID, kvf__control_create(&o, 0, NULL, &error), &error);
    const struct {
        int rank, ranks;
        uint64_t timeout, beat;
        kvf_status status;
    } wrong[] = {
        {0, 0, 10, 1, KVF_ERR_INVALID},  {2, 2, 10, 1, KVF_ERR_INVALID},
        {-1, 2, 10, 1, KVF_ERR_INVALID}, {0, 2, 10, 0, KVF_ERR_INVALID},
        {0, 2, 10, 10, KVF_ERR_INVALID}, {0, 2, UINT64_MAX, 1, KVF_ERR_INVALID},
        {0, 5000, 10, 1, KVF_ERR_RANGE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o = options_of(wrong[i].rank, wrong[i].ranks);
        o.timeout_ns = wrong[i].timeout;
        o.beat_ns = wrong[i].beat;
        test_expect(wrong[i].status, kvf__control_create(&o, 0, &control, &error), &error);
        assert_null(control);
    }
    kvf__control_destroy(NULL);
}

/* A group of one needs no messages. */
static void test_alone(void **state) {
    (void)state;
    group g;
    open_group(&g, 1);
    uint64_t number = announce(&g, 0, &everybody);
    const kvf__control_event *e = next(&g, 0, KVF__CONTROL_STARTED);
    assert_int_equal(e->number, number);
    assert_int_equal(e->sequence, 1);
    pass(&g, 2 * SIM_TIMEOUT / 3);
    vote(&g, 0, number, KVF_OK, NULL);
    assert_int_equal(next(&g, 0, KVF__CONTROL_ENDED)->status, KVF_OK);
    kvf__announcement a = hands(0, 2, 2);
    vote(&g, 0, announce(&g, 0, &a), KVF_ERR_ENGINE, "too\nbad");
    (void)next(&g, 0, KVF__CONTROL_STARTED);
    e = next(&g, 0, KVF__CONTROL_ENDED);
    assert_int_equal(e->status, KVF_ERR_PEER);
    assert_int_equal(e->rank, 0);
    assert_string_equal(e->reason, "too?bad");
    a = hands(0, 2, 1);
    (void)announce(&g, 0, &a);
    expect_refused(&g, 0, 0, "hands");
    kvf__control_leave(g.control[0], g.now);
    pump(&g);
    (void)next(&g, 0, KVF__CONTROL_QUIET);
    uint64_t none = 0;
    assert_int_equal(kvf__control_announce(g.control[0], &everybody, g.now, &none, NULL),
                     KVF_ERR_CLOSED);
    assert_true(kvf__control_tick(g.control[0], g.now) == UINT64_MAX);
    close_group(&g);
}

static void test_all_well(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    uint64_t numbers[3];
    for (int r = 2; r >= 0; r--) {
        for (int o = 0; o < 3; o++)
            nothing(&g, o);
        numbers[r] = announce(&g, r, &everybody);
    }
    for (int r = 0; r < 3; r++) {
        const kvf__control_event *e = next(&g, r, KVF__CONTROL_STARTED);
        assert_int_equal(e->number, numbers[r]);
        assert_int_equal(e->sequence, 1);
    }
    for (int r = 0; r < 3; r++) {
        nothing(&g, 0);
        vote(&g, r, numbers[r], KVF_OK, NULL);
        vote(&g, r, numbers[r], KVF_ERR_ENGINE, "twice"); /* ignored */
    }
    for (int r = 0; r < 3; r++) {
        assert_int_equal(next(&g, r, KVF__CONTROL_ENDED)->status, KVF_OK);
        nothing(&g, r);
    }
    close_group(&g);
}

static void test_disagreement(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    kvf__announcement a = everybody;
    (void)announce(&g, 2, &everybody);
    a.kind++;
    (void)announce(&g, 1, &a);
    expect_refused(&g, 1, 2, "kind: another operation than rank 1's");
    expect_refused(&g, 2, 2, "kind");
    (void)announce(&g, 0, &everybody); /* late, and hears the same */
    expect_refused(&g, 0, 2, "kind");

    a = everybody;
    a.digest[1]++;
    (void)announce(&g, 0, &everybody);
    (void)announce(&g, 1, &a);
    (void)announce(&g, 2, &everybody);
    for (int r = 0; r < 3; r++)
        expect_refused(&g, r, 1, "digest: other plans, hashes or layouts than rank 0's");

    /* Nothing of it is left. */
    start_everybody(&g);
    close_group(&g);
}

static void test_hands(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    kvf__announcement one = hands(2, 2, 1), other = hands(1, 1, 2);
    (void)announce(&g, 1, &one);
    (void)announce(&g, 2, &other);
    assert_int_equal(next(&g, 1, KVF__CONTROL_STARTED)->sequence, 1);
    assert_int_equal(next(&g, 2, KVF__CONTROL_STARTED)->sequence, 1);
    nothing(&g, 0);

    other = hands(1, 1, 1);
    (void)announce(&g, 1, &one);
    (void)announce(&g, 2, &other);
    expect_refused(&g, 1, 2, "hands: another number of them than rank 1's");
    expect_refused(&g, 2, 2, "hands");

    other = hands(1, 1, 2);
    other.hands[2].digest[1] = 9;
    (void)announce(&g, 2, &other);
    (void)announce(&g, 1, &one);
    expect_refused(&g, 1, 2, "hands: other blocks");
    expect_refused(&g, 2, 2, "hands");

    /* All ranks against some. */
    kvf__announcement all = everybody;
    all.kind = one.kind;
    (void)announce(&g, 0, &all);
    (void)announce(&g, 1, &one);
    nothing(&g, 1); /* its peer may come to both */
    other = hands(0, 1, 0);
    (void)announce(&g, 2, &other);
    expect_refused(&g, 0, 2, "kind");
    expect_refused(&g, 2, 2, "kind");
    nothing(&g, 1);
    close_group(&g);
}

/* What is wanted of whom decides what meets, not when it comes. */
static void test_one_tag(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    kvf__announcement one = hands(2, 1, 0), other = hands(1, 0, 1);
    uint64_t all[3], some[3];
    all[0] = announce(&g, 0, &everybody);
    some[1] = announce(&g, 1, &one);
    all[1] = announce(&g, 1, &everybody);
    some[2] = announce(&g, 2, &other);
    assert_int_equal(next(&g, 1, KVF__CONTROL_STARTED)->number, some[1]);
    assert_int_equal(next(&g, 2, KVF__CONTROL_STARTED)->number, some[2]);
    nothing(&g, 0);
    all[2] = announce(&g, 2, &everybody);
    for (int r = 0; r < 3; r++) {
        const kvf__control_event *e = next(&g, r, KVF__CONTROL_STARTED);
        assert_int_equal(e->number, all[r]);
        assert_int_equal(e->sequence, 2);
    }
    close_group(&g);
}

/* More tags than buckets. */
static void test_many_tags(void **state) {
    (void)state;
    enum { TAGS = 700 };
    static group g;
    open_group(&g, 2);
    for (int r = 0; r < 2; r++)
        for (uint64_t i = 0; i < TAGS; i++) {
            kvf__announcement a = everybody;
            a.tag = r == 0 ? i : TAGS - 1 - i;
            a.digest[0] = a.tag;
            (void)announce(&g, r, &a);
            if (r == 1) {
                const kvf__control_event *e = next(&g, 0, KVF__CONTROL_STARTED);
                assert_int_equal(e->number, a.tag + 1);
                (void)next(&g, 1, KVF__CONTROL_STARTED);
                g.event_count[0] = g.event_count[1] = g.taken[0] = g.taken[1] = 0;
            }
        }
    close_group(&g);
}

/* Nobody knows of what he was not told. */
static void test_ahead_of_time(void **state) {
    (void)state;
    unsigned char bytes[KVF_CHANNEL_BYTES];
    kvf__message m = {.type = KVF__VOTE, .number = 1};
    int to;
    group g;
    open_group(&g, 2);
    (void)announce(&g, 1, &everybody);
    uint64_t number;
    assert_int_equal(kvf__control_announce(g.control[0], &everybody, 0, &number, NULL), KVF_OK);
    kvf__control_receive(g.control[0], 1, bytes, kvf__message_write(&m, bytes), 0);
    pump(&g);
    (void)next(&g, 0, KVF__CONTROL_STARTED);
    expect_broken(&g, 0, 1, KVF_ERR_PEER, "order");
    expect_broken(&g, 1, 1, KVF_ERR_PEER, "order"); /* and nothing is started any more */
    close_group(&g);

    open_group(&g, 2);
    for (int r = 0; r < 2; r++)
        (void)announce(&g, r, &everybody);
    kvf__control_vote(g.control[1], 1, KVF_OK, NULL, 0);
    m.type = KVF__ENDED;
    kvf__control_receive(g.control[1], 0, bytes, kvf__message_write(&m, bytes), 0);
    assert_int_equal(kvf__control_next_message(g.control[1], &to, bytes) > 0, 1);
    pump(&g);
    (void)next(&g, 1, KVF__CONTROL_STARTED);
    (void)next(&g, 1, KVF__CONTROL_BROKEN);
    close_group(&g);
}

/* 0 has as two what the others have as one. */
static void test_two_in_one(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    kvf__announcement a = hands(1, 1, 0), b = hands(2, 1, 0);
    (void)announce(&g, 0, &a);
    (void)announce(&g, 0, &b);
    a = (kvf__announcement){.tag = 5,
                            .kind = 3,
                            .hand_count = 2,
                            .hands = {{.peer = 0, .receives = true}, {.peer = 2}}};
    b = (kvf__announcement){
        .tag = 5,
        .kind = 3,
        .hand_count = 2,
        .hands = {{.peer = 0, .receives = true}, {.peer = 1, .receives = true}}};
    (void)announce(&g, 1, &a);
    (void)announce(&g, 2, &b);
    expect_refused(&g, 0, 0, "hands: two");
    expect_refused(&g, 0, 0, "hands: two");
    expect_refused(&g, 1, 0, "hands: two");
    expect_refused(&g, 2, 0, "hands: two");
    close_group(&g);
}

static void test_late(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    (void)announce(&g, 0, &everybody);
    pass(&g, SIM_TIMEOUT / 2);
    (void)announce(&g, 2, &everybody);
    pass(&g, SIM_TIMEOUT / 2 - SIM_BEAT);
    nothing(&g, 0);
    pass(&g, 2 * SIM_BEAT);
    expect_refused(&g, 0, 1, "late");
    expect_refused(&g, 2, 1, "late");
    /* It is still expected, and then it is over. */
    (void)announce(&g, 1, &everybody);
    expect_refused(&g, 1, 1, "late");
    start_everybody(&g);
    close_group(&g);
}

static void test_bad_vote(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    uint64_t numbers[3];
    for (int r = 0; r < 3; r++)
        numbers[r] = announce(&g, r, &everybody);
    vote(&g, 2, numbers[2], KVF_ERR_CORRUPT, "a checksum");
    vote(&g, 0, numbers[0], KVF_OK, NULL);
    for (int r = 0; r < 3; r++) {
        (void)next(&g, r, KVF__CONTROL_STARTED);
        nothing(&g, r); /* not before all have */
    }
    vote(&g, 1, numbers[1], KVF_ERR_ENGINE, "not the first");
    for (int r = 0; r < 3; r++) {
        const kvf__control_event *e = next(&g, r, KVF__CONTROL_ENDED);
        assert_int_equal(e->status, KVF_ERR_PEER);
        assert_int_equal(e->rank, 2);
        assert_string_equal(e->reason, "a checksum");
    }
    start_everybody(&g);
    close_group(&g);
}

/* What stands behind something that is carried on is not late. */
static void test_votes_in_turn(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    enum { COUNT = 5 };
    uint64_t numbers[2][COUNT];
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < COUNT; i++)
            numbers[r][i] = announce(&g, r, &everybody);
    for (int i = 0; i < COUNT; i++) {
        (void)next(&g, 0, KVF__CONTROL_STARTED);
        (void)next(&g, 1, KVF__CONTROL_STARTED);
    }
    for (int i = 0; i < COUNT - 1; i++) {
        pass(&g, SIM_TIMEOUT - SIM_BEAT);
        for (int r = 0; r < 2; r++)
            vote(&g, r, numbers[r][i], KVF_OK, NULL);
        (void)next(&g, 0, KVF__CONTROL_ENDED);
        (void)next(&g, 1, KVF__CONTROL_ENDED);
    }
    vote(&g, 0, numbers[0][COUNT - 1], KVF_OK, NULL);
    pass(&g, SIM_TIMEOUT - SIM_BEAT);
    nothing(&g, 0);
    pass(&g, 2 * SIM_BEAT);
    expect_broken(&g, 0, 1, KVF_ERR_PEER, "late: has not voted in time");
    expect_broken(&g, 1, 1, KVF_ERR_PEER, "late: has not voted in time");
    close_group(&g);
}

static void test_silence(void **state) {
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        group g;
        open_group(&g, 3);
        (void)announce(&g, 1, &everybody);
        g.silent[silent] = true;
        pass(&g, SIM_TIMEOUT - SIM_BEAT);
        nothing(&g, 1 - silent);
        pass(&g, 2 * SIM_BEAT);
        if (silent == 1) {
            (void)next(&g, 1, KVF__CONTROL_BROKEN); /* told, but it tells nobody */
            expect_broken(&g, 0, 1, KVF_ERR_PEER, "silent");
            expect_broken(&g, 2, 1, KVF_ERR_PEER, "silent");
        } else {
            expect_broken(&g, 1, 0, KVF_ERR_PEER, "silent");
            expect_broken(&g, 2, 0, KVF_ERR_PEER, "silent");
        }
        close_group(&g);
    }
}

/* Who was held up itself blames nobody. */
static void test_held_up(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    g.now += 10 * SIM_TIMEOUT;
    for (int r = 0; r < 2; r++)
        (void)kvf__control_tick(g.control[r], g.now);
    pump(&g);
    pass(&g, SIM_TIMEOUT);
    nothing(&g, 0);
    nothing(&g, 1);
    close_group(&g);
}

static void test_missing(void **state) {
    (void)state;
    group g = {.ranks = 2};
    for (int r = 0; r < 2; r++) {
        kvf__control_options o = options_of(r, 3);
        assert_int_equal(kvf__control_create(&o, 0, &g.control[r], NULL), KVF_OK);
    }
    uint64_t none = 0;
    assert_int_equal(kvf__control_announce(g.control[1], &everybody, 0, &none, NULL),
                     KVF_ERR_AGAIN);
    /* There is nobody to pump to. */
    for (g.now = 0; g.now <= SIM_TIMEOUT; g.now += SIM_BEAT / 2) {
        unsigned char message[KVF_CHANNEL_BYTES];
        for (int r = 0; r < 2; r++) {
            int to;
            (void)kvf__control_tick(g.control[r], g.now);
            for (size_t n; (n = kvf__control_next_message(g.control[r], &to, message)) > 0;)
                if (to < 2)
                    kvf__control_receive(g.control[to], r, message, n, g.now);
        }
    }
    for (int r = 0; r < 2; r++) {
        kvf__control_event e;
        assert_true(kvf__control_next_event(g.control[r], &e));
        assert_int_equal(e.kind, KVF__CONTROL_BROKEN);
        assert_int_equal(e.status, KVF_ERR_TIMEOUT);
        assert_int_equal(e.rank, 2);
        kvf__control_destroy(g.control[r]);
    }
}

static void test_doubt(void **state) {
    (void)state;
    group g;
    for (int doubter = 0; doubter < 2; doubter++) {
        open_group(&g, 3);
        start_everybody(&g);
        kvf__control_doubt(g.control[doubter], doubter, KVF_ERR_BROKEN, "the device is gone", 0);
        pump(&g);
        for (int r = 0; r < 3; r++)
            expect_broken(&g, r, doubter, r == doubter ? KVF_ERR_BROKEN : KVF_ERR_PEER,
                          "the device is gone");
        close_group(&g);
    }
}

static void test_leaving(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    (void)announce(&g, 0, &everybody);
    (void)announce(&g, 2, &everybody);
    kvf__control_leave(g.control[2], g.now);
    pump(&g);
    expect_refused(&g, 0, 2, "left");
    const kvf__control_event *e = next(&g, 2, KVF__CONTROL_REFUSED);
    assert_int_equal(e->status, KVF_ERR_CANCELLED);
    (void)announce(&g, 1, &everybody);
    expect_refused(&g, 1, 2, "left");

    /* Those that stay go on, whatever becomes of it. */
    g.silent[2] = true;
    pass(&g, 2 * SIM_TIMEOUT);
    kvf__control_lost(g.control[0], 2, KVF_ERR_ENGINE, "its connection", g.now);
    kvf__control_doubt(g.control[0], 2, KVF_ERR_ENGINE, "its connection", g.now);
    kvf__announcement a = hands(1, 1, 0), b = hands(0, 0, 1);
    uint64_t number[2] = {announce(&g, 0, &a), announce(&g, 1, &b)};
    for (int r = 0; r < 2; r++) {
        (void)next(&g, r, KVF__CONTROL_STARTED);
        kvf__control_leave(g.control[r], g.now);
        pump(&g);
        nothing(&g, r); /* there is something to vote on */
    }
    for (int r = 0; r < 2; r++)
        vote(&g, r, number[r], KVF_OK, NULL);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(next(&g, r, KVF__CONTROL_ENDED)->status, KVF_OK);
        (void)next(&g, r, KVF__CONTROL_QUIET);
        nothing(&g, r);
    }
    close_group(&g);
}

/* Leaving with something started is no excuse. */
static void test_deserting(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    start_everybody(&g);
    kvf__control_leave(g.control[1], g.now);
    pump(&g);
    kvf__control_lost(g.control[0], 1, KVF_ERR_ENGINE, "its connection", g.now);
    pump(&g);
    expect_broken(&g, 0, 1, KVF_ERR_PEER, "its connection");
    close_group(&g);
}

/* What does not fit breaks the group and is traced to its sender. */
static void test_nonsense(void **state) {
    (void)state;
    kvf__message valid = {.type = KVF__BEAT};
    unsigned char bytes[KVF_CHANNEL_BYTES];
    size_t size = kvf__message_write(&valid, bytes);
    const kvf__message wrong[] = {
        {.type = KVF__HELLO, .ranks = 2},
        {.type = KVF__READY},
        {.type = KVF__STARTED, .number = 1, .sequence = 1},
        {.type = KVF__ENDED, .number = 1},
        {.type = KVF__REFUSED, .number = 1, .fault = {.status = KVF_ERR_PEER}},
        {.type = KVF__VOTE, .number = 1},
        {.type = KVF__ANNOUNCE, .number = 2},
        {.type = KVF__QUIET},
    };
    for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++)
        for (int to = 0; to < 2; to++) {
            group g;
            open_group(&g, 2);
            kvf__control_receive(g.control[to], 1 - to, bytes, size, g.now);
            if (i < sizeof wrong / sizeof *wrong) {
                unsigned char other[KVF_CHANNEL_BYTES];
                size_t n = kvf__message_write(&wrong[i], other);
                kvf__control_receive(g.control[to], 1 - to, other, n, g.now);
            } else {
                kvf__control_receive(g.control[to], 1 - to, bytes, 0, g.now);
            }
            pump(&g);
            expect_broken(&g, 0, 1 - to, KVF_ERR_PEER, "");
            expect_broken(&g, 1, 1 - to, KVF_ERR_PEER, "");
            close_group(&g);
        }
    const int strangers[] = {-1, 0, 3, 100};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        group g;
        open_group(&g, 3);
        kvf__control_receive(g.control[0], strangers[i], bytes, size, g.now);
        pump(&g);
        assert_int_equal(next(&g, 2, KVF__CONTROL_BROKEN)->kind, KVF__CONTROL_BROKEN);
        close_group(&g);
    }
}

static void test_options_differ(void **state) {
    (void)state;
    for (int what = 0; what < 2; what++) {
        group g = {.ranks = 2};
        for (int r = 0; r < 2; r++) {
            kvf__control_options o = options_of(r, what == 0 && r == 1 ? 3 : 2);
            o.digest[0] = what == 1 ? (uint64_t)r : 0;
            assert_int_equal(kvf__control_create(&o, 0, &g.control[r], NULL), KVF_OK);
        }
        pump(&g);
        expect_broken(&g, 0, 1, KVF_ERR_PEER, what == 0 ? "ranks" : "options");
        expect_broken(&g, 1, 1, KVF_ERR_PEER, what == 0 ? "ranks" : "options");
        close_group(&g);
    }
}

static void test_limits(void **state) {
    (void)state;
    group g;
    for (int rank = 0; rank < 2; rank++) {
        open_group(&g, 2);
        kvf__announcement a = everybody;
        for (a.tag = 0; a.tag < KVF__CONTROL_OPEN; a.tag++)
            (void)announce(&g, rank, &a);
        uint64_t number = 0;
        assert_int_equal(kvf__control_announce(g.control[rank], &a, 0, &number, NULL),
                         KVF_ERR_AGAIN);
        a.hand_count = 1;
        a.tag = 0;
        assert_int_equal(kvf__control_announce(g.control[1 - rank], &a, 0, &number, NULL),
                         KVF_ERR_INVALID);
        a.all = false;
        a.hands[0].peer = 2;
        assert_int_equal(kvf__control_announce(g.control[1 - rank], &a, 0, &number, NULL),
                         KVF_ERR_INVALID);
        a.hand_count = KVF__CONTROL_HANDS + 1;
        assert_int_equal(kvf__control_announce(g.control[1 - rank], &a, 0, &number, NULL),
                         KVF_ERR_INVALID);
        assert_int_equal(number, 0);
        (void)announce(&g, 1 - rank, &everybody);
        (void)next(&g, rank, KVF__CONTROL_STARTED);
        close_group(&g);
    }
}

/* Nobody comes, again and again: what is remembered of it has an end. */
static void test_never_comes(void **state) {
    (void)state;
    static group g;
    open_group(&g, 2);
    uint64_t refused = 0;
    bool broken = false;
    for (int round = 0; round < 40 && !broken; round++) {
        uint64_t number;
        while (kvf__control_announce(g.control[0], &everybody, g.now, &number, NULL) == KVF_OK)
            ;
        for (uint64_t end = g.now + SIM_TIMEOUT + SIM_BEAT; g.now < end; g.now += SIM_BEAT / 2) {
            kvf__control_event e;
            for (int r = 0; r < 2; r++)
                (void)kvf__control_tick(g.control[r], g.now);
            unsigned char message[KVF_CHANNEL_BYTES];
            for (int r = 0, to; r < 2; r++)
                for (size_t n; (n = kvf__control_next_message(g.control[r], &to, message)) > 0;)
                    kvf__control_receive(g.control[to], r, message, n, g.now);
            while (kvf__control_next_event(g.control[0], &e)) {
                assert_int_equal(e.rank, 1);
                refused += e.kind == KVF__CONTROL_REFUSED;
                broken |= e.kind == KVF__CONTROL_BROKEN;
            }
        }
    }
    assert_true(broken);
    assert_in_range(refused, KVF__CONTROL_OPEN, 40 * KVF__CONTROL_OPEN);
    assert_null(kvf__control_check(g.control[0]));
    close_group(&g);
}

/* Simulated groups */

static void test_peace(void **state) {
    (void)state;
    sim_counts counts = {0};
    uint64_t runs = test_seeds(2000);
    for (uint64_t seed = 0; seed < runs; seed++) {
        sim_options o = {.ranks = 1 + (int)(seed % SIM_RANKS),
                         .seed = seed,
                         .ops = 1 + seed % SIM_OPS,
                         .spoils = seed % 3 > 0};
        sim_run(&o, &counts);
    }
    assert_int_equal(counts.broken, 0);
    assert_true(counts.ended_well > runs && counts.ended_badly > runs / 4);
    assert_true(counts.refused > runs && counts.quiet >= runs);
}

static void test_breaks(void **state) {
    (void)state;
    for (sim_break b = SIM_DEATH; b < SIM_BREAKS; b++) {
        sim_counts counts = {0};
        uint64_t runs = test_seeds(1000);
        for (uint64_t seed = 0; seed < runs; seed++) {
            test_random random = test_random_make(seed);
            sim_options o = {.ranks = 2 + (int)(seed % (SIM_RANKS - 1)),
                             .seed = seed,
                             .ops = 1 + seed % SIM_OPS,
                             .spoils = seed % 2 > 0,
                             .breaks = b};
            o.culprit = (int)test_random_below(&random, (uint64_t)o.ranks);
            if (b == SIM_OPTIONS && o.culprit == 0)
                o.culprit = 1;
            sim_run(&o, &counts);
        }
        if (b == SIM_DESERTER)
            assert_int_equal(counts.broken, 0);
        else
            assert_true(counts.broken > runs);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),       cmocka_unit_test(test_alone),
        cmocka_unit_test(test_all_well),      cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_hands),         cmocka_unit_test(test_one_tag),
        cmocka_unit_test(test_two_in_one),    cmocka_unit_test(test_many_tags),
        cmocka_unit_test(test_ahead_of_time), cmocka_unit_test(test_late),
        cmocka_unit_test(test_bad_vote),      cmocka_unit_test(test_votes_in_turn),
        cmocka_unit_test(test_silence),       cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_missing),       cmocka_unit_test(test_doubt),
        cmocka_unit_test(test_leaving),       cmocka_unit_test(test_deserting),
        cmocka_unit_test(test_nonsense),      cmocka_unit_test(test_options_differ),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_never_comes),
        cmocka_unit_test(test_peace),         cmocka_unit_test(test_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
