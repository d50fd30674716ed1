/* How the ranks of a TCP channel come together. */
#include "channel_tcp.h"

#include "engine.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAGIC = 8,
    GREETING = MAGIC + 3 * 4,
    HOST = 256,
    PORT = 6,
    FIRST_NAP_NS = 5 * 1000 * 1000, /* between attempts to connect, growing */
    LONGEST_NAP_NS = 200 * 1000 * 1000,
};
static const char hello_magic[MAGIC] = "kvferry", answer_magic[MAGIC] = "KVFERRY";
static const uint64_t attempt_ns = UINT64_C(3) * 1000 * 1000 * 1000; /* for one address */

typedef struct place {
    char host[HOST], port[PORT];
} place;

/* Numbers of a hello or an answer. */
typedef struct greeting {
    uint32_t version, first, second;
} greeting;

typedef struct stranger {
    int fd; /* -1: none */
    size_t got;
    unsigned char bytes[GREETING];
} stranger;

typedef struct meeting {
    kvf__tcp *tcp;
    uint64_t deadline;
    int listeners[KVF__TCP_LISTENERS];
    size_t listener_count;
    stranger strangers[KVF__TCP_STRANGERS];
    size_t victim; /* dropped when one more comes than there is room for; each in turn */
    int missing;
} meeting;

static kvf_status fail(kvf_status status, int rank, const char *what, kvf_error *error) {
    return KVF__FAIL(error, .status = status, .fields = KVF_ERROR_INDEX, .index = (uint64_t)rank,
                     .what = what);
}

static kvf_status fail_native(int code, const char *what, kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_ENGINE, .fields = KVF_ERROR_NATIVE_CODE,
                     .native_code = code, .what = what);
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Addresses */

static bool is_port(const char *text) {
    unsigned port = 0;
    if (strlen(text) == 0 || strlen(text) >= PORT)
        return false;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        port = port * 10 + (unsigned)(*c - '0');
    }
    return port >= 1 && port <= 65535;
}

/* "host:port" or "[address]:port". */
static kvf_status parse(const char *address, place *p, kvf_error *error) {
    bool bracketed = address[0] == '[';
    const char *host = address + bracketed;
    const char *end = bracketed ? strchr(address, ']') : strchr(address, ':');
    const char *colon = end && bracketed ? end + 1 : end;
    if (!colon || *colon != ':' || !is_port(colon + 1) || (size_t)(end - host) >= HOST)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "the address is not host:port or [address]:port");
    *p = (place){.host = ""};
    memcpy(p->host, host, (size_t)(end - host));
    memcpy(p->port, colon + 1, strlen(colon + 1));
    return KVF_OK;
}

/* NULL when the host's name is not known (now). */
static struct addrinfo *resolve(const place *p, bool passive) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
    struct addrinfo *list = NULL;
    if (getaddrinfo(p->host[0] ? p->host : NULL, p->port, &hints, &list) != 0)
        return NULL;
    return list;
}

/* Greetings */

static void put_u32(unsigned char *at, uint32_t value) {
    for (size_t i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get_u32(const unsigned char *at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

/* So short that it goes into an empty socket at once, or not at all. */
static bool send_greeting(int fd, const char magic[MAGIC], uint32_t first, uint32_t second) {
    unsigned char bytes[GREETING];
    memcpy(bytes, magic, MAGIC);
    put_u32(bytes + MAGIC, KVF__TCP_VERSION);
    put_u32(bytes + MAGIC + 4, first);
    put_u32(bytes + MAGIC + 8, second);
    return send(fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof bytes;
}

static bool read_greeting(const unsigned char *bytes, const char magic[MAGIC], greeting *g) {
    if (memcmp(bytes, magic, MAGIC) != 0)
        return false;
    *g = (greeting){get_u32(bytes + MAGIC), get_u32(bytes + MAGIC + 4), get_u32(bytes + MAGIC + 8)};
    return true;
}

typedef enum hearing { MORE, WHOLE, GONE } hearing;

/* Takes what is there of a greeting, and nothing behind it. */
static hearing hear(stranger *s) {
    ssize_t n = recv(s->fd, s->bytes + s->got, GREETING - s->got, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return MORE;
    if (n <= 0)
        return GONE;
    s->got += (size_t)n;
    return s->got == GREETING ? WHOLE : MORE;
}

/* Rank 0: listening */

static int listen_at(const struct addrinfo *a) {
    const int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* The IPv4 address has a socket of its own. */
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

/* Names may list an address twice. */
static bool is_repeated(const struct addrinfo *list, const struct addrinfo *a) {
    for (; list != a; list = list->ai_next)
        if (list->ai_addrlen == a->ai_addrlen &&
            memcmp(list->ai_addr, a->ai_addr, a->ai_addrlen) == 0)
            return true;
    return false;
}

/* At all addresses of the place that this machine has. One that is taken is an error: others would
 * find somebody else there. */
static kvf_status listen_all(meeting *m, const place *p, kvf_error *error) {
    struct addrinfo *list = resolve(p, true);
    int code = list ? EADDRNOTAVAIL : EHOSTUNREACH;
    for (const struct addrinfo *a = list; a && m->listener_count < KVF__TCP_LISTENERS;
         a = a->ai_next) {
        if (is_repeated(list, a))
            continue;
        int fd = listen_at(a);
        if (fd >= 0)
            m->listeners[m->listener_count++] = fd;
        else if (code != EADDRINUSE)
            code = errno;
    }
    if (list)
        freeaddrinfo(list);
    if (m->listener_count > 0 && code != EADDRINUSE)
        return KVF_OK;
    return fail_native(code, list ? "cannot listen at the address" : "the host is not known",
                       error);
}

/* Rank 0: gathering */

static void accept_one(meeting *m, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    stranger *s = &m->strangers[m->victim];
    for (size_t i = 0; s->fd >= 0 && i < KVF__TCP_STRANGERS; i++)
        if (m->strangers[i].fd < 0)
            s = &m->strangers[i];
    if (s->fd >= 0)
        m->victim = (m->victim + 1) % KVF__TCP_STRANGERS;
    close_fd(&s->fd);
    *s = (stranger){.fd = fd};
}

/* Who never came, or else who has gone: others may have given up for the same reason before rank 0
 * does. */
static int first_missing(const kvf__tcp *t) {
    int gone = 0;
    for (int r = 1; r < t->ranks; r++) {
        if (!t->peers[r].came)
            return r;
        if (gone == 0 && t->peers[r].fd < 0)
            gone = r;
    }
    return gone;
}

/* Tells everybody how the meeting ended. */
static void answer_all(const kvf__tcp *t, kvf_status status, int rank) {
    for (size_t r = 1; r < t->peer_count; r++)
        if (t->peers[r].fd >= 0)
            (void)send_greeting(t->peers[r].fd, answer_magic, (uint32_t)status, (uint32_t)rank);
}

static kvf_status refuse(meeting *m, stranger *s, int rank, const char *what, kvf_error *error) {
    (void)send_greeting(s->fd, answer_magic, KVF_ERR_CONFLICT, (uint32_t)rank);
    close_fd(&s->fd);
    answer_all(m->tcp, KVF_ERR_CONFLICT, rank);
    return fail(KVF_ERR_CONFLICT, rank, what, error);
}

/* Somebody has said all that a hello has. */
static kvf_status greet(meeting *m, stranger *s, kvf_error *error) {
    kvf__tcp *t = m->tcp;
    greeting g;
    if (!read_greeting(s->bytes, hello_magic, &g) || g.first < 1 || g.first >= KVF__TCP_RANKS) {
        close_fd(&s->fd);
        return KVF_OK;
    }
    int rank = (int)g.first;
    if (g.version != KVF__TCP_VERSION)
        return refuse(m, s, rank, "a rank has another version of the channel", error);
    if (g.second != (uint32_t)t->ranks || rank >= t->ranks)
        return refuse(m, s, rank, "a rank says another number of ranks", error);
    if (t->peers[rank].fd >= 0)
        return refuse(m, s, rank, "two of one rank", error);
    t->peers[rank].fd = s->fd;
    t->peers[rank].came = true;
    s->fd = -1;
    kvf__tcp_tune(t, t->peers[rank].fd);
    m->missing--;
    return KVF_OK;
}

static void watch(struct pollfd *p, int fd) {
    *p = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* Those who have said hello have nothing to say until they are answered: they are gone, and may
 * come again. */
static void drop_gone(meeting *m, const struct pollfd *polls) {
    for (size_t r = 1; r < m->tcp->peer_count; r++) {
        if (polls[r].revents == 0)
            continue;
        close_fd(&m->tcp->peers[r].fd);
        m->missing++;
    }
}

static kvf_status gather_some(meeting *m, kvf_error *error) {
    kvf__tcp *t = m->tcp;
    struct pollfd *listening = t->polls + t->peer_count, *strange = listening + m->listener_count;
    kvf_status status = KVF_OK;
    for (size_t r = 0; r < t->peer_count; r++)
        watch(&t->polls[r], t->peers[r].fd);
    for (size_t i = 0; i < m->listener_count; i++)
        watch(&listening[i], m->listeners[i]);
    for (size_t i = 0; i < KVF__TCP_STRANGERS; i++)
        watch(&strange[i], m->strangers[i].fd);
    size_t count = t->peer_count + m->listener_count + KVF__TCP_STRANGERS;
    if (kvf__tcp_poll(t->polls, count, m->deadline) < 0)
        return fail_native(errno, "poll", error);
    drop_gone(m, t->polls);
    for (size_t i = 0; status == KVF_OK && i < KVF__TCP_STRANGERS; i++) {
        stranger *s = &m->strangers[i];
        hearing heard = s->fd >= 0 && strange[i].revents != 0 ? hear(s) : MORE;
        if (heard == GONE)
            close_fd(&s->fd);
        else if (heard == WHOLE)
            status = greet(m, s, error);
    }
    for (size_t i = 0; i < m->listener_count; i++)
        if (listening[i].revents != 0)
            accept_one(m, m->listeners[i]);
    return status;
}

static kvf_status gather(meeting *m, kvf_error *error) {
    kvf_status status = KVF_OK;
    while (status == KVF_OK && m->missing > 0) {
        if (kvf__now() >= m->deadline) {
            int rank = first_missing(m->tcp);
            answer_all(m->tcp, KVF_ERR_TIMEOUT, rank);
            return fail(KVF_ERR_TIMEOUT, rank, "a rank has not come", error);
        }
        status = gather_some(m, error);
    }
    if (status == KVF_OK)
        answer_all(m->tcp, KVF_OK, 0);
    return status;
}

static kvf_status meet_as_first(kvf__tcp *t, const place *p, uint64_t deadline, kvf_error *error) {
    meeting m = {.tcp = t, .deadline = deadline, .missing = t->ranks - 1};
    for (size_t i = 0; i < KVF__TCP_STRANGERS; i++)
        m.strangers[i].fd = -1;
    kvf_status status = listen_all(&m, p, error);
    if (status == KVF_OK)
        status = gather(&m, error);
    for (size_t i = 0; i < m.listener_count; i++)
        close(m.listeners[i]);
    for (size_t i = 0; i < KVF__TCP_STRANGERS; i++)
        close_fd(&m.strangers[i].fd);
    return status;
}

/* Other ranks: connecting */

/* While nobody listens at a port of the range that connections get theirs from, a socket may find
 * itself there. */
static bool is_connected_to_itself(int fd) {
    struct sockaddr_storage mine, theirs;
    socklen_t mine_bytes = sizeof mine, their_bytes = sizeof theirs;
    memset(&mine, 0, sizeof mine);
    memset(&theirs, 0, sizeof theirs);
    return getsockname(fd, (struct sockaddr *)&mine, &mine_bytes) == 0 &&
           getpeername(fd, (struct sockaddr *)&theirs, &their_bytes) == 0 &&
           mine_bytes == their_bytes && memcmp(&mine, &theirs, mine_bytes) == 0;
}

static bool has_connected(int fd, uint64_t deadline) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int code = 0;
    socklen_t bytes = sizeof code;
    while (p.revents == 0 && kvf__now() < deadline)
        if (kvf__tcp_poll(&p, 1, deadline) < 0)
            return false;
    return p.revents != 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &bytes) == 0 &&
           code == 0 && !is_connected_to_itself(fd);
}

/* -1: not now. */
static int connect_to(const struct addrinfo *a, uint64_t deadline) {
    uint64_t soon = kvf__now() + attempt_ns;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    if ((connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) &&
        has_connected(fd, kvf__min(soon, deadline)))
        return fd;
    close(fd);
    return -1;
}

/* What rank 0 says; false: nothing that it would say. */
static bool wait_for_answer(stranger *s, uint64_t deadline, greeting *g) {
    hearing heard = MORE;
    while (heard == MORE && kvf__now() < deadline) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (kvf__tcp_poll(&p, 1, deadline) < 0)
            return false;
        heard = hear(s);
    }
    return heard == WHOLE && read_greeting(s->bytes, answer_magic, g);
}

/* PENDING: not now, perhaps later. */
static kvf_status ask(kvf__tcp *t, int fd, uint64_t deadline, kvf_error *error) {
    stranger s = {.fd = fd};
    greeting g;
    kvf__tcp_tune(t, fd);
    if (!send_greeting(fd, hello_magic, (uint32_t)t->rank, (uint32_t)t->ranks) ||
        !wait_for_answer(&s, deadline, &g))
        return KVF_PENDING;
    if (g.version != KVF__TCP_VERSION)
        return fail(KVF_ERR_CONFLICT, 0, "rank 0 has another version of the channel", error);
    if (g.first == KVF_OK)
        return KVF_OK;
    if (g.first == KVF_ERR_TIMEOUT)
        return fail(KVF_ERR_TIMEOUT, (int)g.second, "a rank has not come", error);
    return fail(KVF_ERR_CONFLICT, (int)g.second,
                "two of one rank, or another number of ranks or version", error);
}

static kvf_status try_all(kvf__tcp *t, const place *p, uint64_t deadline, bool *known,
                          kvf_error *error) {
    struct addrinfo *list = resolve(p, false);
    kvf_status status = KVF_PENDING;
    *known = list != NULL;
    for (const struct addrinfo *a = list; status == KVF_PENDING && a; a = a->ai_next) {
        int fd = connect_to(a, deadline);
        if (fd < 0)
            continue;
        status = ask(t, fd, deadline, error);
        if (status == KVF_OK)
            t->peers[0].fd = fd;
        else
            close(fd);
    }
    if (list)
        freeaddrinfo(list);
    return status;
}

static kvf_status meet_first(kvf__tcp *t, const place *p, uint64_t deadline, kvf_error *error) {
    uint64_t nap = FIRST_NAP_NS;
    bool known = true;
    for (;;) {
        kvf_status status = try_all(t, p, deadline, &known, error);
        if (status != KVF_PENDING)
            return status;
        uint64_t now = kvf__now();
        if (now >= deadline)
            break;
        (void)kvf__tcp_poll(NULL, 0, nap < deadline - now ? now + nap : deadline);
        nap = nap < LONGEST_NAP_NS / 2 ? nap * 2 : LONGEST_NAP_NS;
    }
    return known ? fail(KVF_ERR_TIMEOUT, 0, "rank 0 has not come", error)
                 : fail_native(EHOSTUNREACH, "the host is not known", error);
}

kvf_status kvf__tcp_meet(kvf__tcp *t, const char *address, uint64_t deadline, kvf_error *error) {
    place p;
    kvf_status status = parse(address, &p, error);
    if (status != KVF_OK)
        return status;
    return t->rank == 0 ? meet_as_first(t, &p, deadline, error)
                        : meet_first(t, &p, deadline, error);
}
