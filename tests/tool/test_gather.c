/* How the tool's ranks connect and exchange messages. Each rank is a process, since a failure ends
 * it. */
#include "support/support.h"

#include "collective/gather.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG = 20000000, SHORT = 400000, FOR_EVER = 1 << 30 };

typedef struct member {
    pid_t process;
    int messages;
} member;

static char address[64];
static struct sockaddr_in side; /* the same address */

static void next_address(const char *host) {
    int port = test_port();
    snprintf(address, sizeof address, "%s:%d", host, port);
    side = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void must_not_be_inherited(void) {
    int type;
    socklen_t bytes = sizeof type;
    for (int fd = 3; fd < 256; fd++)
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && fcntl(fd, F_GETFD) == 0)
            exit(4);
}

static void live(const rank_self *self, int64_t timeout_us, uint64_t rounds) {
    gather *gather = gather_open(self, timeout_us);
    must_not_be_inherited();
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t mine[32] = {[31] = round + (uint64_t)self->rank}, all[4][32], answer = 0;
        gather_collect(gather, mine, all, sizeof mine);
        for (int rank = 0; self->rank == 0 && rank < self->ranks; rank++)
            answer += all[rank][31] - round;
        gather_broadcast(gather, &answer, sizeof answer);
        if (answer != (uint64_t)(self->ranks * (self->ranks - 1) / 2))
            exit(5);
    }
    gather_close(gather);
    exit(0);
}

/* Memory that a failing rank still holds is no leak. */
static void end_at_once(int code, void *nothing) {
    (void)nothing;
    _exit(code);
}

static member begin(int rank, int ranks, int64_t timeout_us, uint64_t rounds) {
    member m = {.messages = memfd_create("messages", MFD_CLOEXEC)};
    fflush(NULL);
    m.process = fork();
    assert_true(m.messages >= 0 && m.process >= 0);
    if (m.process == 0) {
        const rank_self self = {.rank = rank, .ranks = ranks, .address = address};
        dup2(m.messages, STDERR_FILENO);
        on_exit(end_at_once, NULL);
        live(&self, timeout_us, rounds);
    }
    return m;
}

/* Expects that exit code and, unless it is 0, these words in its messages. */
static void ended(member m, int code, const char *words) {
    char text[4096] = {0};
    int status = 0;
    assert_int_equal(waitpid(m.process, &status, 0), m.process);
    assert_true(pread(m.messages, text, sizeof text - 1, 0) >= 0);
    close(m.messages);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code || (code > 0 && !strstr(text, words)))
        fail_msg("status %x, not %d with '%s': %s", (unsigned)status, code, words, text);
}

static void nap(long ms) {
    usleep((useconds_t)ms * 1000);
}

static int knock(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int tries = 0; connect(fd, (struct sockaddr *)&side, sizeof side) != 0; tries++) {
        assert_in_range(tries, 0, 500);
        nap(10);
    }
    return fd;
}

static int occupy(void) {
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&side, sizeof side), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* Ranks may start in any order. */
static void test_rounds(void **state) {
    (void)state;
    const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6,
                                          .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const char *hosts[] = {"127.0.0.1", "", "[::1]"};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    close(fd);
    for (int ranks = 1; ranks <= 4; ranks++)
        for (int way = 0; way < (has_ipv6 ? 6 : 4); way++) {
            member members[4];
            next_address(hosts[way / 2]);
            for (int i = 0; i < ranks; i++)
                members[i] = begin(way % 2 ? ranks - 1 - i : i, ranks, LONG, 100);
            for (int i = 0; i < ranks; i++)
                ended(members[i], 0, "");
        }
    if (!has_ipv6)
        print_message("without IPv6, which this machine does not have\n");
}

/* Strangers send nothing, something else, half a hello or a bad rank; they stay or leave. */
static void test_strangers(void **state) {
    (void)state;
    struct {
        char magic[8];
        int32_t version, rank, ranks;
    } hello = {"kvferry", 1, 0, 3};
    const void *texts[] = {"GET / HTTP/1.1\r\n\r\nXX", &hello, &hello, "", "?"};
    const size_t lengths[] = {20, 20, 10, 0, 1};
    enum { STRANGERS = 100 };
    int fds[STRANGERS];
    next_address("127.0.0.1");
    member first = begin(0, 3, LONG, 10);
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = knock();
        (void)!send(fds[i], texts[i % 5], lengths[i % 5], MSG_NOSIGNAL);
        if (i % 2)
            close(fds[i]);
    }
    member other = begin(2, 3, LONG, 10);
    fds[1] = knock();
    hello.rank = 1;
    for (size_t i = 0; i < sizeof hello; i++) /* byte by byte */
        assert_int_equal(send(fds[1], (char *)&hello + i, 1, MSG_NOSIGNAL), 1);
    char welcome[sizeof hello];
    assert_int_equal(recv(fds[1], welcome, sizeof welcome, MSG_WAITALL), sizeof welcome);
    close(fds[1]);
    ended(first, 1, "rank 0: waiting for rank 1: the connection was closed");
    ended(other, 1, "rank 2: ");
    for (int i = 0; i < STRANGERS; i += 2)
        close(fds[i]);
}

/* A duplicate rank and a rank of another job fail, without effect on the others. */
static void test_conflicts(void **state) {
    (void)state;
    next_address("127.0.0.1");
    member first = begin(0, 3, LONG, 10), second = begin(1, 3, LONG, 10);
    nap(300);
    ended(begin(1, 3, LONG, 10), 1,
          "rank 1: connecting the ranks: rank 0 already has a rank of this number");
    ended(begin(2, 4, LONG, 10), 1, "rank 0 has another version or another number of ranks");
    ended(begin(2, 3, LONG, 10), 0, "");
    ended(first, 0, "");
    ended(second, 0, "");
}

static void test_missing(void **state) {
    (void)state;
    const char *words[3][3] = {
        {"", "connecting the ranks: Connection refused", "Connection refused"},
        {"rank 0: connecting the ranks: rank 1 has not connected", "", "rank 2: connecting"},
        {"rank 0: connecting the ranks: rank 2 has not connected", "rank 1: connecting", ""}};
    for (int missing = 0; missing < 3; missing++) {
        member members[3];
        next_address("127.0.0.1");
        for (int rank = 0; rank < 3; rank++)
            if (rank != missing)
                members[rank] = begin(rank, 3, SHORT, 10);
        for (int rank = 0; rank < 3; rank++)
            if (rank != missing)
                ended(members[rank], 1, words[missing][rank]);
    }
}

/* In the middle of the rounds. */
static void test_dies_or_stops(void **state) {
    (void)state;
    for (int what = 0; what < 2; what++) {
        next_address("127.0.0.1");
        member first = begin(0, 2, SHORT, FOR_EVER), second = begin(1, 2, SHORT, FOR_EVER);
        nap(300);
        kill(second.process, what == 0 ? SIGKILL : SIGSTOP);
        ended(first, 1, what == 0 ? "rank 1: " : "rank 0: waiting for rank 1: no answer in time");
        kill(second.process, SIGKILL);
        waitpid(second.process, NULL, 0);
        close(second.messages);
    }
}

/* Another program has rank 0's address, closes all connections, and ends. */
static void test_taken_address(void **state) {
    (void)state;
    next_address("127.0.0.1");
    member second = begin(1, 2, LONG, 10);
    int listener = occupy();
    ended(begin(0, 2, LONG, 10), 1, "Address already in use");
    for (int i = 0; i < 3; i++) {
        int fd = accept(listener, NULL, NULL);
        if (i > 0)
            (void)!send(fd, "220 mail.example.org ESMTP\r\n", 28, MSG_NOSIGNAL);
        close(fd);
    }
    close(listener);
    ended(begin(0, 2, LONG, 10), 0, "");
    ended(second, 0, "");
}

static void test_addresses(void **state) {
    (void)state;
    const char *bad[] = {"nonsense", "host:",  ":",     "host:0", "host:65536",      "host:1x",
                         "host: 1",  "::1:80", "[::1]", "",       "host:99999999999"};
    for (int rank = 0; rank < 2; rank++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            snprintf(address, sizeof address, "%s", bad[i]);
            ended(begin(rank, 2, LONG, 0), 2, "the address is not host:port or [address]:port");
        }
        snprintf(address, sizeof address, "no.such.host.invalid:4711");
        ended(begin(rank, 2, SHORT, 0), 1, "connecting the ranks: ");
    }
}

int main(void) {
    if (test_port() == 0) {
        printf("skipped: no sockets on this machine\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_conflicts),     cmocka_unit_test(test_missing),
        cmocka_unit_test(test_addresses),     cmocka_unit_test(test_dies_or_stops),
        cmocka_unit_test(test_taken_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
