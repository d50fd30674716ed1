/*
 * Rank 0 listens, the others connect. They exchange hellos, in the machine's byte order:
 *
 *     rank to 0   "kvferry" 0 | version | its rank      | ranks |
 *     0 to rank   "kvferry" 0 | version | 0, or REFUSED | ranks |   0 once all ranks are connected
 *
 * The messages of the rounds follow without framing.
 */
#include "collective/gather.h"

#include "output/measure.h"
#include "base/base.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VERSION = 1, REFUSED = -1, STRANGERS = 64, NAP_MS = 50, CONNECT_S = 1 };

typedef struct hello {
    char magic[8];
    int32_t version, rank, ranks;
} hello;

struct gather {
    int rank, ranks;
    int64_t timeout_us;
    int *fds; /* [ranks]: on rank 0 by rank, on the others only [0]; -1: none */
};

_Noreturn static void fail_to_meet(const gather *gather, const char *why) {
    fail(EXIT_CHECK, "rank %d: connecting the ranks: %s", gather->rank, why);
}

static bool send_all(int fd, const void *content, size_t bytes) {
    return send(fd, content, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

/* Returns NULL or what went wrong. */
static const char *receive_all(int fd, void *content, size_t bytes) {
    ssize_t got;
    do
        got = recv(fd, content, bytes, MSG_WAITALL);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)bytes)
        return NULL;
    if (got >= 0 || errno == ECONNRESET)
        return "the connection was closed";
    return errno == EAGAIN ? "no answer in time" : strerror(errno);
}

/* Sockets */

/* An empty host means listening on all addresses, and connecting to this machine. */
static struct addrinfo *resolve(const char *address, int flags, const char **why) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char *host = strcpy(must_grow(NULL, strlen(address) + 1, 1), address);
    char *colon = strrchr(host, ':');
    bool bracketed = host[0] == '[' && colon > host && colon[-1] == ']';
    bool numeric = colon && colon[1 + strspn(colon + 1, "0123456789")] == '\0';
    long port = numeric ? strtol(colon + 1, NULL, 10) : 0;
    if (port < 1 || port > UINT16_MAX || (!bracketed && strchr(host, ':') != colon))
        fail(EXIT_USAGE, "%s: the address is not host:port or [address]:port", address);
    colon[bracketed ? -1 : 0] = '\0';
    int code = getaddrinfo(host[bracketed] ? host + bracketed : NULL, colon + 1, &hints, &list);
    *why = code == 0 ? NULL : gai_strerror(code);
    free(host);
    return code == 0 ? list : NULL;
}

static bool set_up_socket(const gather *gather, int fd, const struct addrinfo *address) {
    const int on = 1;
    const struct timeval connect_timeout = {.tv_sec = CONNECT_S};
    const struct timeval timeout = {gather->timeout_us / 1000000, gather->timeout_us % 1000000};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &connect_timeout, sizeof connect_timeout);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0)
        return false;
    if (gather->rank > 0)
        return connect(fd, address->ai_addr, address->ai_addrlen) == 0;
    return bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
}

/* Rank 0 listens on the first of the host's addresses that works, the others connect to the first
 * that works. Returns -1 when none does. Accepted sockets inherit the options. */
static int open_socket(const gather *gather, const char *address, const char **why) {
    struct addrinfo *list = resolve(address, gather->rank == 0 ? AI_PASSIVE : 0, why);
    int only_poll_waits = gather->rank == 0 ? SOCK_NONBLOCK : 0;
    int fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | only_poll_waits, 0);
        if (fd >= 0 && set_up_socket(gather, fd, a))
            break;
        *why = strerror(errno);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (list)
        freeaddrinfo(list);
    return fd;
}

/* Rank 0 */

static hello hello_of(const gather *gather, int rank) {
    return (hello){"kvferry", VERSION, rank, gather->ranks};
}

/* Accepts a connection, which replaces the oldest one that has not sent a hello. */
static void accept_one(const gather *gather, int listener, struct pollfd *stranger) {
    const int whole = sizeof(hello);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        fail_to_meet(gather, strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &whole, sizeof whole); /* for poll */
    if (stranger->fd >= 0)
        close(stranger->fd);
    *stranger = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* Returns whether this connection belongs to a rank that was missing. */
static bool accept_hello(const gather *gather, int fd) {
    const hello refusal = hello_of(gather, REFUSED);
    hello received = {0};
    if (recv(fd, &received, sizeof received, MSG_DONTWAIT) != sizeof received ||
        memcmp(received.magic, refusal.magic, sizeof refusal.magic) != 0)
        return false;
    if (received.version == VERSION && received.ranks == gather->ranks && received.rank > 0 &&
        received.rank < gather->ranks && gather->fds[received.rank] < 0) {
        gather->fds[received.rank] = fd;
        return true;
    }
    (void)send_all(fd, &refusal, sizeof refusal);
    return false;
}

_Noreturn static void fail_missing(const gather *gather) {
    int rank = 1;
    while (gather->fds[rank] >= 0)
        rank++;
    fail(EXIT_CHECK, "rank 0: connecting the ranks: rank %d has not connected", rank);
}

/* Returns when all ranks are connected. polls[0] listens; the others have not sent a hello yet. */
static void accept_ranks(const gather *gather, struct pollfd *polls, uint64_t deadline) {
    size_t accepted = 0;
    for (int missing = gather->ranks - 1; missing > 0;) {
        if (clock_ns() >= deadline)
            fail_missing(gather);
        if (poll(polls, 1 + STRANGERS, NAP_MS) <= 0)
            continue;
        for (size_t i = 1; i <= STRANGERS; i++) {
            if (polls[i].revents == 0)
                continue;
            if (accept_hello(gather, polls[i].fd))
                missing--;
            else
                close(polls[i].fd);
            polls[i].fd = -1;
        }
        if (polls[0].revents != 0)
            accept_one(gather, polls[0].fd, &polls[1 + accepted++ % STRANGERS]);
    }
}

static void listen_for_ranks(const gather *gather, const char *address, uint64_t deadline) {
    const hello welcome = hello_of(gather, 0);
    const char *why = NULL;
    struct rlimit limit;
    struct pollfd polls[1 + STRANGERS] = {{open_socket(gather, address, &why), POLLIN, 0}};
    if (polls[0].fd < 0)
        fail_to_meet(gather, why);
    for (size_t i = 1; i <= STRANGERS; i++)
        polls[i].fd = -1;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* each rank takes a descriptor */
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    accept_ranks(gather, polls, deadline);
    for (size_t i = 0; i <= STRANGERS; i++)
        if (polls[i].fd >= 0)
            close(polls[i].fd);
    for (int rank = 1; rank < gather->ranks; rank++)
        (void)send_all(gather->fds[rank], &welcome,
                       sizeof welcome); /* a round detects lost ranks */
}

/* The others */

/* Returns NULL once rank 0 has all ranks, otherwise why to try again. */
static const char *exchange_hellos(const gather *gather, int fd) {
    const hello mine = hello_of(gather, gather->rank);
    hello received = {0};
    const char *why = send_all(fd, &mine, sizeof mine) ? receive_all(fd, &received, sizeof received)
                                                       : strerror(errno);
    if (why)
        return why;
    if (memcmp(received.magic, mine.magic, sizeof mine.magic) != 0 || received.rank > 0)
        return "rank 0's address belongs to another program"; /* or to this very socket */
    if (received.version != VERSION || received.ranks != gather->ranks)
        fail_to_meet(gather, "rank 0 has another version or another number of ranks");
    if (received.rank == REFUSED)
        fail_to_meet(gather, "rank 0 already has a rank of this number");
    return NULL;
}

static void connect_to_rank_0(const gather *gather, const char *address, uint64_t deadline) {
    for (;;) {
        const char *why = NULL;
        int fd = open_socket(gather, address, &why);
        if (fd >= 0)
            why = exchange_hellos(gather, fd);
        if (!why) {
            gather->fds[0] = fd;
            return;
        }
        if (fd >= 0)
            close(fd);
        if (clock_ns() >= deadline)
            fail_to_meet(gather, why);
        (void)poll(NULL, 0, NAP_MS);
    }
}

gather *gather_open(const rank_self *self, int64_t timeout_us) {
    gather *gather = must_grow(NULL, 1, sizeof *gather);
    int *fds = must_grow(NULL, (size_t)self->ranks, sizeof *fds);
    for (int rank = 0; rank < self->ranks; rank++)
        fds[rank] = -1;
    *gather = (struct gather){self->rank, self->ranks, timeout_us, fds};
    uint64_t deadline = clock_ns() + (uint64_t)timeout_us * 1000;
    if (self->ranks > 1)
        (self->rank == 0 ? listen_for_ranks : connect_to_rank_0)(gather, self->address, deadline);
    return gather;
}

void gather_close(gather *gather) {
    for (int rank = 0; rank < gather->ranks; rank++)
        if (gather->fds[rank] >= 0)
            close(gather->fds[rank]);
    free(gather->fds);
    free(gather);
}

/* Rounds */

static void send_to(const gather *gather, int to, const void *content, size_t bytes) {
    if (!send_all(gather->fds[to], content, bytes))
        fail(EXIT_CHECK, "rank %d: sending to rank %d: %s", gather->rank, to, strerror(errno));
}

static void receive_from(const gather *gather, int from, void *content, size_t bytes) {
    const char *why = receive_all(gather->fds[from], content, bytes);
    if (why)
        fail(EXIT_CHECK, "rank %d: waiting for rank %d: %s", gather->rank, from, why);
}

void gather_collect(gather *gather, const void *mine, void *all, size_t bytes) {
    if (gather->rank > 0) {
        send_to(gather, 0, mine, bytes);
        return;
    }
    memcpy(all, mine, bytes);
    for (int rank = 1; rank < gather->ranks; rank++)
        receive_from(gather, rank, (char *)all + (size_t)rank * bytes, bytes);
}

void gather_broadcast(gather *gather, void *answer, size_t bytes) {
    if (gather->rank > 0)
        receive_from(gather, 0, answer, bytes);
    for (int rank = 1; gather->rank == 0 && rank < gather->ranks; rank++)
        send_to(gather, rank, answer, bytes);
}
