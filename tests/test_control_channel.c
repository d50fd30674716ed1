/* The control protocol over real connections: in peace, and with a rank that is killed. */
#include "support.h"

#include "control.h"
#include "engine.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 4, OPS = 200, OPEN = 16 };
static const uint64_t timeout_ns = UINT64_C(10) * 1000 * 1000 * 1000;

typedef struct member {
    int rank;
    const char *address;
    bool for_ever; /* until something breaks */
    kvf_status status;
    kvf_error error;
    uint64_t announced, open, ended, refused;
    bool quiet, broken, ready, left;
    uint64_t sequence;
    kvf__control_event end;
    uint64_t end_time;
    kvf_channel channel;
    kvf__control *control;
    pthread_t thread;
} member;

static const char *pick_address(char text[64]) {
    int port = test_port();
    snprintf(text, 64, "127.0.0.1:%d", port);
    return port != 0 ? text : NULL;
}

static void on_event(member *m, const kvf__control_event *e) {
    switch (e->kind) {
    case KVF__CONTROL_READY:
        m->ready = true;
        break;
    case KVF__CONTROL_STARTED:
        m->status = e->sequence == ++m->sequence ? m->status : KVF_ERR_CORRUPT;
        kvf__control_vote(m->control, e->number, KVF_OK, NULL, kvf__now());
        break;
    case KVF__CONTROL_REFUSED:
        m->refused++;
        m->open--;
        break;
    case KVF__CONTROL_ENDED:
        m->ended += e->status == KVF_OK;
        m->open--;
        break;
    case KVF__CONTROL_BROKEN:
    case KVF__CONTROL_QUIET:
        m->broken = e->kind == KVF__CONTROL_BROKEN;
        m->quiet = !m->broken;
        m->end = *e;
        m->end_time = kvf__now();
        break;
    }
}

static void want(member *m) {
    kvf__announcement a = {.tag = 1, .kind = 1, .all = true};
    while (m->ready && m->status == KVF_OK && m->open < OPEN &&
           (m->for_ever || m->announced < OPS)) {
        uint64_t number;
        if (kvf__control_announce(m->control, &a, kvf__now(), &number, &m->error) != KVF_OK)
            return;
        m->announced++;
        m->open++;
    }
    if (m->ready && !m->left && m->announced == OPS && m->open == 0 && !m->for_ever) {
        m->left = true;
        kvf__control_leave(m->control, kvf__now());
    }
}

/* One turn of what a group's thread does. */
static void turn(member *m) {
    unsigned char message[KVF_CHANNEL_BYTES];
    kvf__control_event event;
    kvf_channel *c = &m->channel;
    int to;
    uint64_t deadline = kvf__control_tick(m->control, kvf__now());
    want(m);
    while (kvf__control_next_event(m->control, &event))
        on_event(m, &event);
    want(m);
    for (size_t n; (n = kvf__control_next_message(m->control, &to, message)) > 0;) {
        kvf_error error = {0};
        kvf_status status = c->send(c->user, to, message, n, &error);
        if (status != KVF_OK)
            kvf__control_lost(m->control, to, status, error.what, kvf__now());
    }
    if (m->quiet || m->broken)
        return;
    uint64_t now = kvf__now();
    int64_t wait = deadline > now ? (int64_t)((deadline - now) / 1000) : 0;
    int from = -1;
    size_t bytes;
    kvf_error error = {0};
    kvf_status status = c->receive(c->user, wait, &from, message, sizeof message, &bytes, &error);
    if (status == KVF_OK)
        kvf__control_receive(m->control, from, message, bytes, kvf__now());
    else if (status != KVF_ERR_TIMEOUT)
        kvf__control_lost(m->control, (int)error.index, status, error.what, kvf__now());
}

static void *live(void *context) {
    member *m = context;
    const kvf_channel_tcp_options options = {
        .rank = m->rank, .ranks = RANKS, .address = m->address};
    m->status = kvf_channel_tcp_create(&options, &m->channel, &m->error);
    if (m->status != KVF_OK)
        return NULL;
    const kvf__control_options o = {.rank = m->rank,
                                    .ranks = RANKS,
                                    .timeout_ns = timeout_ns,
                                    .beat_ns = timeout_ns / 100,
                                    .allocator = kvf__allocator(NULL)};
    m->status = kvf__control_create(&o, kvf__now(), &m->control, &m->error);
    while (m->status == KVF_OK && !m->quiet && !m->broken)
        turn(m);
    kvf__control_destroy(m->control);
    kvf_channel_tcp_destroy(&m->channel);
    return NULL;
}

static void begin(member *m, int rank, const char *address, bool for_ever) {
    *m = (member){.rank = rank, .address = address, .for_ever = for_ever};
    assert_int_equal(pthread_create(&m->thread, NULL, live, m), 0);
}

static void test_peace(void **state) {
    (void)state;
    char text[64];
    const char *address = pick_address(text);
    member m[RANKS];
    for (int r = 0; r < RANKS; r++)
        begin(&m[r], r, address, false);
    for (int r = 0; r < RANKS; r++)
        pthread_join(m[r].thread, NULL);
    for (int r = 0; r < RANKS; r++) {
        test_expect(KVF_OK, m[r].status, &m[r].error);
        assert_true(m[r].quiet);
        assert_int_equal(m[r].ended, OPS);
        assert_int_equal(m[r].refused, 0);
    }
}

/* Everybody else hears of it soon, whoever it was. */
static void test_killed(void **state) {
    (void)state;
    for (int victim = 0; victim < 2; victim++) {
        char text[64];
        const char *address = pick_address(text);
        member m[RANKS];
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            m[victim] = (member){.rank = victim, .address = address, .for_ever = true};
            (void)live(&m[victim]);
            _exit(0);
        }
        for (int r = 0; r < RANKS; r++)
            if (r != victim)
                begin(&m[r], r, address, true);
        const struct timespec nap = {.tv_nsec = 500 * 1000 * 1000};
        nanosleep(&nap, NULL);
        uint64_t time = kvf__now();
        assert_int_equal(kill(child, SIGKILL), 0);
        for (int r = 0; r < RANKS; r++) {
            if (r == victim)
                continue;
            pthread_join(m[r].thread, NULL);
            test_expect(KVF_OK, m[r].status, &m[r].error);
            assert_true(m[r].broken);
            assert_int_equal(m[r].end.status, KVF_ERR_PEER);
            assert_int_equal(m[r].end.rank, victim);
            assert_true(m[r].end_time - time < timeout_ns);
            assert_true(m[r].ended > 0);
        }
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
}

int main(void) {
    char text[64];
    if (!pick_address(text)) {
        printf("skipped: there are no sockets to be had\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peace),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
