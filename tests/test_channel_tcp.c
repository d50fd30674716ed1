/* The TCP channel on loopback: threads, processes, strangers and what goes wrong. */
#include "support.h"

#include <kvferry/nccl.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 6, SECOND = 1000 * 1000, LONG = 20 * SECOND };

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static void nap_us(long us) {
    const struct timespec t = {us / SECOND, us % SECOND * 1000};
    nanosleep(&t, NULL);
}

static const char *address_of(char text[64], const char *host, int port) {
    snprintf(text, 64, "%s:%d", host, port);
    return text;
}

static int connect_to(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
            return fd;
        close(fd);
        nap_us(10000);
    }
    fail_msg("nobody listens");
    return -1;
}

/* Ranks as threads of this process */

typedef struct member {
    kvf_channel_tcp_options options;
    int64_t delay_us;
    kvf_channel channel;
    kvf_error error;
    kvf_status status;
    pthread_t thread;
} member;

typedef struct group {
    char address[64];
    int port, ranks;
    member members[MOST];
} group;

static void *create_member(void *context) {
    member *m = context;
    nap_us((long)m->delay_us);
    m->status = kvf_channel_tcp_create(&m->options, &m->channel, &m->error);
    return NULL;
}

static void plan_group(group *g, int ranks, int64_t timeout_us) {
    *g = (group){.port = test_port(), .ranks = ranks};
    (void)address_of(g->address, "127.0.0.1", g->port);
    for (int r = 0; r < ranks; r++)
        g->members[r].options = (kvf_channel_tcp_options){
            .rank = r, .ranks = ranks, .address = g->address, .timeout_us = timeout_us};
}

static void begin(member *m) {
    assert_int_equal(pthread_create(&m->thread, NULL, create_member, m), 0);
}

static void finish(member *m, kvf_status expected) {
    assert_int_equal(pthread_join(m->thread, NULL), 0);
    test_expect(expected, m->status, &m->error);
}

static void create_group(group *g, kvf_status expected) {
    for (int r = 0; r < g->ranks; r++)
        begin(&g->members[r]);
    for (int r = 0; r < g->ranks; r++)
        finish(&g->members[r], expected);
}

static void open_group(group *g, int ranks) {
    plan_group(g, ranks, LONG);
    create_group(g, KVF_OK);
}

static void close_group(group *g) {
    for (int r = 0; r < g->ranks; r++)
        kvf_channel_tcp_destroy(&g->members[r].channel);
}

static kvf_status send_to(group *g, int from, int to, const void *bytes, size_t count,
                          kvf_error *error) {
    kvf_channel *c = &g->members[from].channel;
    return c->send(c->user, to, bytes, count, error);
}

static kvf_status receive(group *g, int rank, int64_t timeout_us, int *from, void *bytes,
                          size_t capacity, size_t *count, kvf_error *error) {
    kvf_channel *c = &g->members[rank].channel;
    return c->receive(c->user, timeout_us, from, bytes, capacity, count, error);
}

/* The next message, which is to be from `from` and this one. */
static void expect_message(group *g, int rank, int from, const void *bytes, size_t count) {
    unsigned char message[KVF_CHANNEL_BYTES];
    kvf_error error = {0};
    int sender = -1;
    size_t length = 0;
    test_expect(KVF_OK, receive(g, rank, LONG, &sender, message, sizeof message, &length, &error),
                &error);
    assert_int_equal(sender, from);
    assert_int_equal(length, count);
    if (count > 0)
        assert_memory_equal(message, bytes, count);
}

static void expect_ended(group *g, int rank, int other) {
    unsigned char message[KVF_CHANNEL_BYTES];
    kvf_error error = {0};
    int sender = -1;
    size_t length = 0;
    test_expect(KVF_ERR_ENGINE,
                receive(g, rank, LONG, &sender, message, sizeof message, &length, &error), &error);
    assert_true((error.fields & KVF_ERROR_INDEX) != 0);
    assert_int_equal(error.index, other);
    /* Once. */
    test_expect(KVF_ERR_TIMEOUT,
                receive(g, rank, 0, &sender, message, sizeof message, &length, &error), &error);
}

static void test_options(void **state) {
    (void)state;
    kvf_channel channel = {0};
    kvf_error error = {0};
    char local[] = "127.0.0.1:9";
    const struct {
        kvf_channel_tcp_options options;
    } wrong[] = {
        {{.rank = 0, .ranks = 0, .address = local}},
        {{.rank = -1, .ranks = 2, .address = local}},
        {{.rank = 2, .ranks = 2, .address = local}},
        {{.rank = 0, .ranks = 1 << 20, .address = local}},
        {{.rank = 0, .ranks = 2, .address = NULL}},
        {{.rank = 0, .ranks = 2, .address = local, .timeout_us = -1}},
        {{.rank = 0, .ranks = 2, .address = local, .timeout_us = INT64_MAX}},
        {{.rank = 0, .ranks = 2, .address = ""}},
        {{.rank = 0, .ranks = 2, .address = "host"}},
        {{.rank = 0, .ranks = 2, .address = "host:"}},
        {{.rank = 0, .ranks = 2, .address = "127.0.0.1:0"}},
        {{.rank = 0, .ranks = 2, .address = "127.0.0.1:65536"}},
        {{.rank = 0, .ranks = 2, .address = "127.0.0.1:-1"}},
        {{.rank = 0, .ranks = 2, .address = "127.0.0.1:99999999999"}},
        {{.rank = 0, .ranks = 2, .address = "127.0.0.1:http"}},
        {{.rank = 0, .ranks = 2, .address = "::1:9"}},
        {{.rank = 0, .ranks = 2, .address = "[::1:9"}},
        {{.rank = 0, .ranks = 2, .address = "[::1]9"}},
        {{.rank = 0, .ranks = 2, .address = "[::1]"}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        test_expect(KVF_ERR_INVALID, kvf_channel_tcp_create(&wrong[i].options, &channel, &error),
                    &error);
    char endless[400];
    memset(endless, 'a', sizeof endless);
    memcpy(endless + sizeof endless - 4, ":80", 4);
    kvf_channel_tcp_options o = {.rank = 1, .ranks = 2, .address = endless};
    test_expect(KVF_ERR_INVALID, kvf_channel_tcp_create(&o, &channel, &error), &error);
    test_expect(KVF_ERR_INVALID, kvf_channel_tcp_create(NULL, &channel, &error), &error);
    test_expect(KVF_ERR_INVALID, kvf_channel_tcp_create(&o, NULL, &error), &error);
    assert_null(channel.user);
    kvf_channel_tcp_destroy(NULL);
    kvf_channel_tcp_destroy(&channel);
}

static void test_alone(void **state) {
    (void)state;
    group g = {.ranks = 1, .members = {{.options = {.ranks = 1}}}};
    create_group(&g, KVF_OK);
    char byte = 0;
    int from;
    size_t count;
    kvf_error error = {0};
    test_expect(KVF_ERR_TIMEOUT, receive(&g, 0, 1000, &from, &byte, 1, &count, &error), &error);
    test_expect(KVF_ERR_RANGE, send_to(&g, 0, 0, &byte, 1, &error), &error);
    close_group(&g);
    close_group(&g);
}

static void test_messages(void **state) {
    (void)state;
    group g;
    unsigned char longest[KVF_CHANNEL_BYTES + 1];
    kvf_error error = {0};
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = (unsigned char)(i * 7);
    open_group(&g, 3);
    for (int r = 1; r < 3; r++) {
        test_expect(KVF_OK, send_to(&g, r, 0, NULL, 0, &error), &error);
        test_expect(KVF_OK, send_to(&g, r, 0, longest, KVF_CHANNEL_BYTES, &error), &error);
        expect_message(&g, 0, r, NULL, 0);
        expect_message(&g, 0, r, longest, KVF_CHANNEL_BYTES);
        test_expect(KVF_OK, send_to(&g, 0, r, longest, 1, &error), &error);
        expect_message(&g, r, 0, longest, 1);
    }
    test_expect(KVF_ERR_RANGE, send_to(&g, 0, 1, longest, sizeof longest, &error), &error);
    test_expect(KVF_ERR_INVALID, send_to(&g, 0, 1, NULL, 1, &error), &error);
    const int nobody[][2] = {{0, 0}, {0, 3}, {0, -1}, {1, 1}, {1, 2}};
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++)
        test_expect(KVF_ERR_RANGE, send_to(&g, nobody[i][0], nobody[i][1], longest, 1, &error),
                    &error);

    /* One that there is no room for stays. */
    int from = -1;
    size_t count = 0;
    unsigned char little[4];
    test_expect(KVF_OK, send_to(&g, 2, 0, longest, 5, &error), &error);
    test_expect(KVF_ERR_RANGE, receive(&g, 0, LONG, &from, little, sizeof little, &count, &error),
                &error);
    assert_int_equal(error.expected, 5);
    assert_int_equal(error.index, 2);
    expect_message(&g, 0, 2, longest, 5);
    close_group(&g);
}

/* In turn, so that nobody is drowned out, and each in its order. */
static void test_flood(void **state) {
    (void)state;
    group g;
    enum { COUNT = 3000 };
    open_group(&g, 3);
    kvf_error error = {0};
    uint64_t next[3] = {0};
    uint64_t sent[3] = {0}, longest_row = 0, row = 0;
    int last = 0;
    while (next[1] < COUNT || next[2] < COUNT) {
        for (int r = 1; r < 3; r++)
            for (int burst = 0; burst < 50 && sent[r] < COUNT; burst++, sent[r]++)
                test_expect(KVF_OK, send_to(&g, r, 0, &sent[r], sizeof sent[r], &error), &error);
        for (int i = 0; i < 100; i++) {
            uint64_t value = 0;
            int from = -1;
            size_t count = 0;
            kvf_status status = receive(&g, 0, next[1] + next[2] < sent[1] + sent[2] ? LONG : 0,
                                        &from, &value, sizeof value, &count, &error);
            if (status == KVF_ERR_TIMEOUT)
                break;
            test_expect(KVF_OK, status, &error);
            assert_int_equal(value, next[from]++);
            row = from == last ? row + 1 : 0;
            last = from;
            longest_row = row > longest_row ? row : longest_row;
        }
    }
    assert_true(longest_row <= KVF_CHANNEL_BYTES);
    close_group(&g);
}

typedef struct talker {
    group *group;
    int rank, other;
    uint64_t count;
    kvf_status status;
    kvf_error error;
    pthread_t thread;
} talker;

/* Sends all, and only then receives. */
static void *talk(void *context) {
    talker *t = context;
    uint64_t message[KVF_CHANNEL_BYTES / 8] = {0}, value[KVF_CHANNEL_BYTES / 8];
    for (uint64_t i = 0; i < t->count && t->status == KVF_OK; i++) {
        message[0] = i;
        t->status = send_to(t->group, t->rank, t->other, message, sizeof message, &t->error);
    }
    for (uint64_t i = 0; i < t->count && t->status == KVF_OK; i++) {
        int from;
        size_t count;
        t->status = receive(t->group, t->rank, LONG, &from, value, sizeof value, &count, &t->error);
        if (t->status == KVF_OK && (count != sizeof value || value[0] != i))
            t->status = KVF_ERR_CORRUPT;
    }
    return NULL;
}

/* More each way than a buffer of ours holds. */
static void test_both_ways(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    talker t[2];
    for (int r = 0; r < 2; r++) {
        t[r] = (talker){.group = &g, .rank = r, .other = 1 - r, .count = 64};
        assert_int_equal(pthread_create(&t[r].thread, NULL, talk, &t[r]), 0);
    }
    for (int r = 0; r < 2; r++) {
        pthread_join(t[r].thread, NULL);
        test_expect(KVF_OK, t[r].status, &t[r].error);
    }
    close_group(&g);
}

/* Nobody reads: sending ends in time, and half a message is the last one. */
static void test_nobody_receives(void **state) {
    (void)state;
    group g;
    plan_group(&g, 2, SECOND / 4);
    create_group(&g, KVF_OK);
    unsigned char message[KVF_CHANNEL_BYTES] = {0};
    kvf_error error = {0};
    kvf_status status = KVF_OK;
    int64_t start = 0, sent = 0;
    while (status == KVF_OK && sent++ < 1000000) {
        start = now_us();
        status = send_to(&g, 0, 1, message, sizeof message, &error);
    }
    test_expect(KVF_ERR_TIMEOUT, status, &error);
    assert_int_equal(error.index, 1);
    assert_in_range(now_us() - start, SECOND / 5, LONG);
    /* What was sent whole arrives whole. */
    for (int64_t i = 0; i < sent - 1; i++)
        expect_message(&g, 1, 0, message, sizeof message);
    close_group(&g);
}

typedef struct waker {
    kvf_channel *channel;
    atomic_bool stop;
} waker;

static void *wake_now_and_then(void *context) {
    waker *w = context;
    while (!atomic_load(&w->stop)) {
        nap_us(20000);
        w->channel->wake(w->channel->user);
    }
    return NULL;
}

static void test_wake(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    kvf_error error = {0};
    char byte;
    int from;
    size_t count;
    for (int r = 0; r < 2; r++) {
        waker w = {.channel = &g.members[r].channel};
        pthread_t thread;
        atomic_init(&w.stop, false);
        int64_t start = now_us();
        assert_int_equal(pthread_create(&thread, NULL, wake_now_and_then, &w), 0);
        for (int i = 0; i < 5; i++)
            test_expect(KVF_ERR_TIMEOUT,
                        receive(&g, r, i % 2 ? LONG : -1, &from, &byte, 1, &count, &error), &error);
        assert_in_range(now_us() - start, 0, LONG / 2);
        atomic_store(&w.stop, true);
        pthread_join(thread, NULL);

        /* Wakes before a receive count as one, and do not hide a message. */
        for (int i = 0; i < 3; i++)
            w.channel->wake(w.channel->user);
        test_expect(KVF_OK, send_to(&g, 1 - r, r, "x", 1, &error), &error);
        while (receive(&g, r, LONG, &from, &byte, 1, &count, &error) != KVF_OK)
            ;
        assert_int_equal(byte, 'x');
    }
    close_group(&g);
}

static void test_timeouts(void **state) {
    (void)state;
    group g;
    open_group(&g, 2);
    kvf_error error = {0};
    char byte;
    int from;
    size_t count;
    const int64_t waits[] = {0, 50, 20000, 100000};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        int64_t start = now_us();
        test_expect(KVF_ERR_TIMEOUT, receive(&g, 0, waits[i], &from, &byte, 1, &count, &error),
                    &error);
        assert_in_range(now_us() - start, waits[i], waits[i] + LONG / 2);
    }
    close_group(&g);
}

/* What was sent before somebody went arrives, then its end is told. */
static void test_leaving(void **state) {
    (void)state;
    group g;
    open_group(&g, 3);
    kvf_error error = {0};
    test_expect(KVF_OK, send_to(&g, 0, 1, "unread", 6, &error), &error);
    for (int i = 0; i < 20; i++)
        test_expect(KVF_OK, send_to(&g, 1, 0, "bye", 3, &error), &error);
    kvf_channel_tcp_destroy(&g.members[1].channel);
    for (int i = 0; i < 20; i++)
        expect_message(&g, 0, 1, "bye", 3);
    expect_ended(&g, 0, 1);
    test_expect(KVF_ERR_ENGINE, send_to(&g, 0, 1, "?", 1, &error), &error);
    assert_int_equal(error.index, 1);
    test_expect(KVF_OK, send_to(&g, 0, 2, "!", 1, &error), &error);
    expect_message(&g, 2, 0, "!", 1);
    kvf_channel_tcp_destroy(&g.members[0].channel);
    expect_ended(&g, 2, 0);
    close_group(&g);
}

/* Coming together */

static void test_any_order(void **state) {
    (void)state;
    group g;
    for (int late = 0; late < 3; late++) {
        plan_group(&g, 3, LONG);
        g.members[late].delay_us = 300000;
        create_group(&g, KVF_OK);
        kvf_error error = {0};
        test_expect(KVF_OK, send_to(&g, late ? late : 1, 0, "x", 1, &error), &error);
        expect_message(&g, 0, late ? late : 1, "x", 1);
        close_group(&g);
    }
}

/* A bare system may have no file of hosts. */
static bool knows_localhost(void) {
    struct addrinfo *found = NULL;
    bool knows = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (knows)
        freeaddrinfo(found);
    return knows;
}

static void test_addresses(void **state) {
    (void)state;
    const struct {
        const char *first, *other;
    } hosts[] = {{"localhost", "localhost"}, {"", "127.0.0.1"},
                 {"127.0.0.1", "localhost"}, {"", ""},
                 {"[::1]", "[::1]"},         {"", "[::1]"}};
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    bool has_names = knows_localhost();
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        group g;
        char first[64], other[64];
        if (!has_ipv6 && strchr(hosts[i].other, '['))
            continue;
        if (!has_names && strstr(hosts[i].other, "localhost"))
            continue;
        plan_group(&g, 2, LONG);
        g.members[0].options.address = address_of(first, hosts[i].first, g.port);
        g.members[1].options.address = address_of(other, hosts[i].other, g.port);
        create_group(&g, KVF_OK);
        close_group(&g);
    }
    if (!has_ipv6)
        print_message("without IPv6, which this machine does not have\n");
    if (!has_names)
        print_message("without names, of which this machine knows none\n");
}

static void test_nobody_comes(void **state) {
    (void)state;
    group g;
    for (int missing = 0; missing < 3; missing++) {
        plan_group(&g, 3, SECOND / 2);
        int64_t start = now_us();
        for (int r = 0; r < 3; r++)
            if (r != missing)
                begin(&g.members[r]);
        for (int r = 0; r < 3; r++) {
            if (r == missing)
                continue;
            finish(&g.members[r], KVF_ERR_TIMEOUT);
            /* Who gives up just before rank 0 can only blame rank 0. */
            if (r == 0)
                assert_int_equal(g.members[r].error.index, missing);
            else
                assert_true(g.members[r].error.index == 0 ||
                            g.members[r].error.index == (uint64_t)missing);
            assert_null(g.members[r].channel.user);
        }
        assert_in_range(now_us() - start, SECOND / 2, LONG);
    }
}

static void test_unknown_host(void **state) {
    (void)state;
    kvf_channel channel;
    kvf_error error = {0};
    for (int r = 0; r < 2; r++) {
        kvf_channel_tcp_options o = {
            .rank = r, .ranks = 2, .address = "no.such.host.invalid:4711", .timeout_us = 50000};
        test_expect(KVF_ERR_ENGINE, kvf_channel_tcp_create(&o, &channel, &error), &error);
    }
    kvf_channel_tcp_options o = {.ranks = 2, .address = "192.0.2.1:4711", .timeout_us = 50000};
    test_expect(KVF_ERR_ENGINE, kvf_channel_tcp_create(&o, &channel, &error), &error);
    assert_int_equal(error.native_code, EADDRNOTAVAIL);
}

static void test_taken_port(void **state) {
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, bytes), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &bytes), 0);
    char text[64];
    kvf_channel channel;
    kvf_error error = {0};
    const char *hosts[] = {"127.0.0.1", ""};
    for (size_t i = 0; i < 2; i++) {
        kvf_channel_tcp_options o = {.ranks = 2,
                                     .address = address_of(text, hosts[i], ntohs(a.sin_port)),
                                     .timeout_us = 50000};
        test_expect(KVF_ERR_ENGINE, kvf_channel_tcp_create(&o, &channel, &error), &error);
        assert_int_equal(error.native_code, EADDRINUSE);
    }
    close(fd);
}

/* Two of one rank, another number of ranks: everybody who is there hears of it. */
static void test_conflicts(void **state) {
    (void)state;
    for (int what = 0; what < 2; what++) {
        group g;
        plan_group(&g, 3, 2 * SECOND);
        if (what == 0)
            g.members[2].options.rank = 1;
        else
            g.members[2].options.ranks = 4;
        g.members[2].delay_us = 200000;
        for (int r = 0; r < 3; r++)
            begin(&g.members[r]);
        for (int r = 0; r < 3; r++) {
            finish(&g.members[r], KVF_ERR_CONFLICT);
            assert_int_equal(g.members[r].error.index, what == 0 ? 1 : 2);
        }
    }
}

/* Those who say nothing, nonsense, half a hello, or more than one. */
static void test_strangers(void **state) {
    (void)state;
    group g;
    enum { STRANGERS = 100 };
    int fds[STRANGERS];
    plan_group(&g, 3, LONG);
    begin(&g.members[0]);
    for (int i = 0; i < STRANGERS; i++) {
        static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        static const char half[] = "kvferry\0\1\0";
        fds[i] = connect_to(g.port);
        ssize_t sent = 0;
        if (i % 4 == 1)
            sent = send(fds[i], http, sizeof http, MSG_NOSIGNAL);
        else if (i % 4 == 2)
            sent = send(fds[i], half, sizeof half - 1, MSG_NOSIGNAL);
        (void)sent;
        if (i % 4 == 3)
            close(fds[i]);
    }
    for (int r = 1; r < 3; r++)
        begin(&g.members[r]);
    for (int r = 0; r < 3; r++)
        finish(&g.members[r], KVF_OK);
    for (int i = 0; i < STRANGERS; i++)
        if (i % 4 != 3)
            close(fds[i]);
    close_group(&g);
}

static void put_u32(unsigned char *at, uint32_t value) {
    for (size_t i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

/* A hello as a rank would say it. */
static int say_hello(int port, uint32_t version, uint32_t rank, uint32_t ranks) {
    unsigned char hello[20] = "kvferry";
    put_u32(hello + 8, version);
    put_u32(hello + 12, rank);
    put_u32(hello + 16, ranks);
    int fd = connect_to(port);
    for (size_t i = 0; i < sizeof hello; i++) /* byte by byte */
        assert_int_equal(send(fd, hello + i, 1, MSG_NOSIGNAL), 1);
    return fd;
}

/* A rank that comes, goes and comes again is no two ranks; one of no group at all is a stranger. */
static void test_come_again(void **state) {
    (void)state;
    group g;
    plan_group(&g, 3, LONG);
    begin(&g.members[0]);
    close(say_hello(g.port, 1, 1, 3));
    int zero = say_hello(g.port, 1, 0, 3), huge = say_hello(g.port, 1, UINT32_MAX, 3);
    nap_us(200000);
    begin(&g.members[1]);
    nap_us(100000);
    begin(&g.members[2]);
    for (int r = 0; r < 3; r++)
        finish(&g.members[r], KVF_OK);
    close(zero);
    close(huge);
    close_group(&g);

    plan_group(&g, 3, LONG);
    begin(&g.members[0]);
    int other = say_hello(g.port, 2, 1, 3);
    finish(&g.members[0], KVF_ERR_CONFLICT);
    close(other);
}

/* Rank 0's place is taken by somebody else, who hangs up, and then rank 0 comes. */
static void test_wrong_rank_0(void **state) {
    (void)state;
    group g;
    plan_group(&g, 2, LONG);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)g.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 8), 0);
    begin(&g.members[1]);
    for (int i = 0; i < 3; i++) {
        int fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        if (i > 0)
            (void)!send(fd, "220 mail.example.org ESMTP\r\n", 28, MSG_NOSIGNAL);
        close(fd);
    }
    close(listener);
    begin(&g.members[0]);
    for (int r = 0; r < 2; r++)
        finish(&g.members[r], KVF_OK);
    close_group(&g);
}

/* Somebody speaks well at first, and then nonsense. */
static void test_nonsense_later(void **state) {
    (void)state;
    for (int what = 0; what < 2; what++) {
        group g;
        plan_group(&g, 2, LONG);
        g.members[0].options.ranks = 2;
        begin(&g.members[0]);
        int fd = say_hello(g.port, 1, 1, 2);
        finish(&g.members[0], KVF_OK);
        unsigned char bytes[8] = {2, 0, 0, 0, 'o', 'k'};
        assert_int_equal(send(fd, bytes, 6, MSG_NOSIGNAL), 6);
        if (what == 0) {
            put_u32(bytes, 1025);
            assert_int_equal(send(fd, bytes, 4, MSG_NOSIGNAL), 4);
        } else {
            assert_int_equal(send(fd, bytes, 5, MSG_NOSIGNAL), 5); /* the last one never comes */
            close(fd);
        }
        expect_message(&g, 0, 1, "ok", 2);
        expect_ended(&g, 0, 1);
        if (what == 0)
            close(fd);
        kvf_channel_tcp_destroy(&g.members[0].channel);
    }
}

/* Processes */

/* The child's life: says that it is there, and then nothing but what it is sent back, for ever. */
static void live(int rank, int ranks, const char *address) {
    kvf_channel channel;
    kvf_channel_tcp_options o = {
        .rank = rank, .ranks = ranks, .address = address, .timeout_us = LONG};
    kvf_status status = kvf_channel_tcp_create(&o, &channel, NULL);
    while (status == KVF_OK) {
        unsigned char message[KVF_CHANNEL_BYTES];
        size_t count;
        int from;
        status = channel.receive(channel.user, -1, &from, message, sizeof message, &count, NULL);
        if (status == KVF_OK)
            status = channel.send(channel.user, 0, message, count, NULL);
    }
    _exit(0);
}

static void test_killed(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        group g;
        plan_group(&g, 3, LONG);
        pid_t children[3] = {0};
        for (int r = 1; r < 3; r++) {
            children[r] = fork();
            assert_true(children[r] >= 0);
            if (children[r] == 0)
                live(r, 3, g.address);
        }
        begin(&g.members[0]);
        finish(&g.members[0], KVF_OK);
        kvf_error error = {0};
        unsigned char message[KVF_CHANNEL_BYTES] = {0};
        /* In the middle of a lot. */
        for (int i = 0; i < 20 * round; i++)
            test_expect(KVF_OK, send_to(&g, 0, 1, message, sizeof message, &error), &error);
        assert_int_equal(kill(children[1], SIGKILL), 0);
        /* Who only sends must not be killed for it either. */
        assert_int_equal(waitpid(children[1], NULL, 0), children[1]);
        while (round % 2 == 0 && send_to(&g, 0, 1, message, sizeof message, &error) == KVF_OK)
            nap_us(1000);
        kvf_status status = KVF_OK;
        int echoes = 0;
        while (status == KVF_OK) {
            int from;
            size_t count;
            status = receive(&g, 0, LONG, &from, message, sizeof message, &count, &error);
            echoes += status == KVF_OK;
        }
        test_expect(KVF_ERR_ENGINE, status, &error);
        assert_int_equal(error.index, 1);
        assert_in_range(echoes, 0, 20 * round);
        while (send_to(&g, 0, 1, message, sizeof message, &error) == KVF_OK)
            ; /* not for ever, and no signal */
        test_expect(KVF_OK, send_to(&g, 0, 2, "x", 1, &error), &error);
        expect_message(&g, 0, 2, "x", 1);
        kvf_channel_tcp_destroy(&g.members[0].channel);
        assert_int_equal(waitpid(children[2], NULL, 0), children[2]);
    }
}

/* Rank 0 dies: the others hear of it. */
static void test_killed_first(void **state) {
    (void)state;
    group g;
    plan_group(&g, 2, LONG);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kvf_channel channel;
        kvf_status status = kvf_channel_tcp_create(&g.members[0].options, &channel, NULL);
        if (status == KVF_OK)
            for (;;)
                pause();
        _exit(0);
    }
    begin(&g.members[1]);
    finish(&g.members[1], KVF_OK);
    assert_int_equal(kill(child, SIGKILL), 0);
    expect_ended(&g, 1, 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    kvf_channel_tcp_destroy(&g.members[1].channel);
}

static size_t count_fds(void) {
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF;
    return count;
}

static void test_no_memory(void **state) {
    (void)state;
    size_t before = count_fds();
    for (size_t fail_at = 1; fail_at <= 3; fail_at++)
        for (int r = 0; r < 2; r++) {
            test_allocator memory;
            test_allocator_init(&memory);
            memory.fail_at = fail_at;
            kvf_channel channel = {0};
            kvf_channel_tcp_options o = {.rank = r,
                                         .ranks = 2,
                                         .address = "127.0.0.1:1",
                                         .timeout_us = 20000,
                                         .allocator = &memory.allocator};
            kvf_error error = {0};
            kvf_status status = kvf_channel_tcp_create(&o, &channel, &error);
            if (memory.calls >= fail_at)
                test_expect(KVF_ERR_NO_MEMORY, status, &error);
            else
                assert_true(status != KVF_ERR_NO_MEMORY);
            if (status == KVF_OK)
                kvf_channel_tcp_destroy(&channel);
            test_allocator_done(&memory);
        }
    assert_int_equal(count_fds(), before);
}

/* Nothing stays open, and nothing is handed on to other programs. */
static void test_descriptors(void **state) {
    (void)state;
    size_t before = count_fds();
    group g;
    open_group(&g, 4);
    assert_true(count_fds() > before);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char command[128];
        snprintf(command, sizeof command,
                 "for f in /proc/self/fd/*; do readlink $f; done | grep -c 'socket:\\|eventfd'");
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1); /* grep has found none */
    close_group(&g);
    assert_int_equal(count_fds(), before);
}

int main(void) {
    if (test_port() == 0) {
        printf("skipped: there are no sockets to be had\n");
        return 77;
    }
    signal(SIGPIPE, SIG_DFL); /* whatever this was started by */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_messages),       cmocka_unit_test(test_flood),
        cmocka_unit_test(test_both_ways),      cmocka_unit_test(test_nobody_receives),
        cmocka_unit_test(test_wake),           cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_leaving),        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_addresses),      cmocka_unit_test(test_nobody_comes),
        cmocka_unit_test(test_unknown_host),   cmocka_unit_test(test_taken_port),
        cmocka_unit_test(test_conflicts),      cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_come_again),     cmocka_unit_test(test_wrong_rank_0),
        cmocka_unit_test(test_nonsense_later), cmocka_unit_test(test_killed),
        cmocka_unit_test(test_killed_first),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
