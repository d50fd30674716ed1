/*
 * A channel over TCP. What comes from a rank waits in a buffer of its own until it is received:
 *
 *     | received already | length | message | length | mess...        |
 *                        ^start                              ^end
 *
 * A send that has to wait reads meanwhile, so that two who send to each other do not wait for each
 * other, as long as there is room.
 */
#include "channel_tcp.h"

#include "engine.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAME = 4,
    KEEP_IDLE_S = 10,
    KEEP_INTERVAL_S = 5,
    KEEP_COUNT = 3,
    FLUSH_NS = 1000 * 1000 * 1000, /* for what was sent to arrive before a connection is closed */
    FLUSH_NAP_NS = 1000 * 1000,
};
static const int64_t usual_timeout_us = INT64_C(30) * 1000 * 1000;
static const uint64_t second_ns = UINT64_C(1000) * 1000 * 1000;

_Static_assert(KVF__TCP_BUFFER >= FRAME + (size_t)KVF_CHANNEL_BYTES, "a message fits the buffer");

int kvf__tcp_poll(struct pollfd *polls, size_t count, uint64_t deadline) {
    uint64_t now = kvf__now();
    uint64_t left = deadline > now ? deadline - now : 0;
    const struct timespec wait = {.tv_sec = (time_t)(left / second_ns),
                                  .tv_nsec = (long)(left % second_ns)};
    int ready = ppoll(polls, count, deadline == UINT64_MAX ? NULL : &wait, NULL);
    if (ready >= 0 || errno != EINTR)
        return ready;
    for (size_t i = 0; i < count; i++)
        polls[i].revents = 0;
    return 0;
}

void kvf__tcp_tune(const kvf__tcp *t, int fd) {
    const int on = 1, idle = KEEP_IDLE_S, interval = KEEP_INTERVAL_S, count = KEEP_COUNT;
    uint64_t ms = t->timeout_ns / 1000000 + 1;
    const unsigned unacknowledged = ms < INT32_MAX ? (unsigned)ms : INT32_MAX;
    /* All of them only speed things up. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
}

/* What comes */

static bool is_interruption(int code) {
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

static void end_peer(kvf__tcp_peer *p, int why) {
    p->ended = true;
    p->why = why;
}

/* Takes in what is there and fits. */
static void read_some(kvf__tcp_peer *p) {
    if (p->start > 0) {
        memmove(p->buffer, p->buffer + p->start, p->end - p->start);
        p->end -= p->start;
        p->start = 0;
    }
    ssize_t n = recv(p->fd, p->buffer + p->end, sizeof p->buffer - p->end, MSG_DONTWAIT);
    if (n > 0)
        p->end += (size_t)n;
    else if (n == 0)
        end_peer(p, 0);
    else if (!is_interruption(errno))
        end_peer(p, errno);
}

static uint32_t length_at(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Whether the buffer begins with a whole message. One of an absurd length ends the connection. */
static bool has_message(kvf__tcp_peer *p, size_t *bytes) {
    size_t there = p->end - p->start;
    if (there < FRAME)
        return false;
    *bytes = length_at(p->buffer + p->start);
    if (*bytes <= KVF_CHANNEL_BYTES)
        return there - FRAME >= *bytes;
    p->start = p->end;
    end_peer(p, EPROTO);
    return false;
}

static bool has_room(const kvf__tcp_peer *p) {
    return p->fd >= 0 && !p->ended && p->end - p->start < sizeof p->buffer;
}

/* Fills in what is to be waited for, and returns how much it is: all peers with room, then `writer`
 * if any, or else the wake. */
static size_t watch(const kvf__tcp *t, const kvf__tcp_peer *writer) {
    for (size_t i = 0; i < t->peer_count; i++) {
        const kvf__tcp_peer *p = &t->peers[i];
        t->polls[i] = (struct pollfd){.fd = has_room(p) ? p->fd : -1, .events = POLLIN};
    }
    if (writer)
        t->polls[t->peer_count] = (struct pollfd){.fd = writer->fd, .events = POLLOUT};
    else
        t->polls[t->peer_count] = (struct pollfd){.fd = t->wake_fd, .events = POLLIN};
    return t->peer_count + 1;
}

/* Waits as kvf__tcp_poll and reads what has come. */
static int wait_and_read(kvf__tcp *t, const kvf__tcp_peer *writer, uint64_t deadline) {
    size_t count = watch(t, writer);
    int ready = kvf__tcp_poll(t->polls, count, deadline);
    for (size_t i = 0; ready > 0 && i < t->peer_count; i++)
        if (t->polls[i].revents != 0)
            read_some(&t->peers[i]);
    return ready;
}

static kvf_status fail_peer(const kvf__tcp_peer *p, int code, const char *what, kvf_error *error) {
    return KVF__FAIL(error, .status = KVF_ERR_ENGINE,
                     .fields = KVF_ERROR_INDEX | KVF_ERROR_NATIVE_CODE, .index = (uint64_t)p->rank,
                     .native_code = code, .what = what);
}

/* Takes a message of a rank; PENDING when there is none. */
static kvf_status take(kvf__tcp_peer *p, void *message, size_t capacity, size_t *bytes,
                       kvf_error *error) {
    size_t length;
    if (p->fd < 0)
        return KVF_PENDING;
    if (has_message(p, &length)) {
        if (length > capacity)
            return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                             .fields = KVF_ERROR_INDEX | KVF_ERROR_EXPECTED,
                             .index = (uint64_t)p->rank, .expected = length,
                             .what = "the message is longer than there is room for");
        if (length > 0)
            memcpy(message, p->buffer + p->start + FRAME, length);
        p->start += FRAME + length;
        *bytes = length;
        return KVF_OK;
    }
    if (!p->ended || p->told)
        return KVF_PENDING;
    p->told = true;
    return fail_peer(p, p->why,
                     p->why == EPROTO ? "a rank sent something else than messages"
                                      : "the connection to a rank has ended",
                     error);
}

/* The next message in turn, so that none is kept waiting by another's many. */
static kvf_status take_any(kvf__tcp *t, int *from, void *message, size_t capacity, size_t *bytes,
                           kvf_error *error) {
    kvf_status status = KVF_PENDING;
    for (size_t n = 0; status == KVF_PENDING && n < t->peer_count; n++) {
        kvf__tcp_peer *p = &t->peers[t->next];
        status = take(p, message, capacity, bytes, error);
        if (status == KVF_OK)
            *from = p->rank;
        if (status != KVF_ERR_RANGE)
            t->next = (t->next + 1) % t->peer_count;
    }
    return status;
}

static bool was_woken(const kvf__tcp *t) {
    uint64_t count;
    return t->polls[t->peer_count].revents != 0 && read(t->wake_fd, &count, sizeof count) > 0;
}

static uint64_t deadline_of(int64_t timeout_us) {
    if (timeout_us < 0 || timeout_us > INT64_MAX / 1000)
        return UINT64_MAX;
    return kvf__now() + (uint64_t)timeout_us * 1000;
}

static kvf_status tcp_receive(void *user, int64_t timeout_us, int *from, void *message,
                              size_t capacity, size_t *bytes, kvf_error *error) {
    kvf__tcp *t = user;
    uint64_t deadline = deadline_of(timeout_us);
    for (bool last = false;;) {
        kvf_status status = take_any(t, from, message, capacity, bytes, error);
        if (status != KVF_PENDING)
            return status;
        if (last)
            return KVF__FAIL(error, .status = KVF_ERR_TIMEOUT);
        if (wait_and_read(t, NULL, deadline) < 0)
            return KVF__FAIL(error, .status = KVF_ERR_ENGINE, .fields = KVF_ERROR_NATIVE_CODE,
                             .native_code = errno, .what = "poll");
        last = was_woken(t) || kvf__now() >= deadline;
    }
}

/* What goes */

static kvf_status check_send(const kvf__tcp *t, int to, const void *message, size_t bytes,
                             kvf_error *error) {
    if (!message && bytes > 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (bytes > KVF_CHANNEL_BYTES)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = KVF_CHANNEL_BYTES, .what = "the message is too long");
    if (to < 0 || to >= t->ranks || (to == 0) == (t->rank == 0))
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_INDEX,
                         .index = (uint64_t)to, .what = "no connection to such a rank");
    return KVF_OK;
}

static kvf_status send_frame(kvf__tcp *t, kvf__tcp_peer *p, const unsigned char *bytes,
                             size_t count, kvf_error *error) {
    uint64_t deadline = kvf__now() + t->timeout_ns;
    for (size_t sent = 0; sent < count;) {
        ssize_t n =
            p->ended ? -1 : send(p->fd, bytes + sent, count - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        int code = p->ended ? EPIPE : errno;
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        p->cut = sent > 0;
        if (!is_interruption(code)) {
            p->cut = true;
            return fail_peer(p, code, "the connection to a rank has ended", error);
        }
        if (kvf__now() >= deadline)
            return KVF__FAIL(error, .status = KVF_ERR_TIMEOUT, .fields = KVF_ERROR_INDEX,
                             .index = (uint64_t)p->rank, .what = "a rank does not receive");
        if (wait_and_read(t, p, deadline) < 0)
            return fail_peer(p, errno, "poll", error);
    }
    p->cut = false;
    return KVF_OK;
}

static kvf_status tcp_send(void *user, int to, const void *message, size_t bytes,
                           kvf_error *error) {
    kvf__tcp *t = user;
    unsigned char frame[FRAME + KVF_CHANNEL_BYTES];
    kvf_status status = check_send(t, to, message, bytes, error);
    if (status != KVF_OK)
        return status;
    kvf__tcp_peer *p = &t->peers[to];
    if (p->cut)
        return fail_peer(p, EPIPE, "the connection to a rank has ended", error);
    for (size_t i = 0; i < FRAME; i++)
        frame[i] = (unsigned char)(bytes >> (8 * i));
    if (bytes > 0)
        memcpy(frame + FRAME, message, bytes);
    return send_frame(t, p, frame, FRAME + bytes, error);
}

static void tcp_wake(void *user) {
    const kvf__tcp *t = user;
    const uint64_t one = 1;
    ssize_t written = write(t->wake_fd, &one, sizeof one);
    (void)written; /* fails when it is awake very often already */
}

/* Life */

static kvf_status check_options(const kvf_channel_tcp_options *o, const kvf_channel *out,
                                kvf_error *error) {
    if (!o || !out || (o->ranks > 1 && !o->address))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (o->ranks < 1 || o->ranks > KVF__TCP_RANKS || o->rank < 0 || o->rank >= o->ranks)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such rank");
    if (o->timeout_us < 0 || o->timeout_us > INT64_MAX / 2000)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "the timeout is absurd");
    return KVF_OK;
}

static size_t tcp_bytes(size_t peers) {
    return sizeof(kvf__tcp) + peers * sizeof(kvf__tcp_peer);
}

static void free_tcp(kvf__tcp *t) {
    kvf_allocator a = t->allocator;
    for (size_t i = 0; i < t->peer_count; i++)
        if (t->peers[i].fd >= 0)
            close(t->peers[i].fd);
    if (t->wake_fd >= 0)
        close(t->wake_fd);
    kvf__free(&a, t->polls, t->peer_count + KVF__TCP_EXTRA_POLLS, sizeof *t->polls);
    kvf__free(&a, t, 1, tcp_bytes(t->peer_count));
}

static kvf__tcp *make_tcp(const kvf_channel_tcp_options *o) {
    kvf_allocator a = kvf__allocator(o->allocator);
    size_t peers = o->rank == 0 ? (size_t)o->ranks : 1;
    kvf__tcp *t = kvf__alloc_zero(&a, 1, tcp_bytes(peers));
    if (!t)
        return NULL;
    t->allocator = a;
    t->rank = o->rank;
    t->ranks = o->ranks;
    t->timeout_ns = (uint64_t)(o->timeout_us > 0 ? o->timeout_us : usual_timeout_us) * 1000;
    t->wake_fd = -1;
    t->peer_count = peers;
    for (size_t i = 0; i < peers; i++) {
        t->peers[i].fd = -1;
        t->peers[i].rank = (int)i;
    }
    t->polls = kvf__alloc(&a, peers + KVF__TCP_EXTRA_POLLS, sizeof *t->polls);
    if (t->polls)
        return t;
    free_tcp(t);
    return NULL;
}

kvf_status kvf_channel_tcp_create(const kvf_channel_tcp_options *options, kvf_channel *out,
                                  kvf_error *error) {
    kvf_status status = check_options(options, out, error);
    if (status != KVF_OK)
        return status;
    kvf__tcp *t = make_tcp(options);
    if (!t)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0)
        status = KVF__FAIL(error, .status = KVF_ERR_ENGINE, .fields = KVF_ERROR_NATIVE_CODE,
                           .native_code = errno, .what = "eventfd");
    else if (t->ranks > 1)
        status = kvf__tcp_meet(t, options->address, kvf__now() + t->timeout_ns, error);
    if (status != KVF_OK) {
        free_tcp(t);
        return status;
    }
    *out = (kvf_channel){.user = t, .send = tcp_send, .receive = tcp_receive, .wake = tcp_wake};
    return KVF_OK;
}

/* Whether all that was sent has arrived, or never will. Closing a connection with something unread
 * would throw it away. */
static bool is_flushed(const kvf__tcp_peer *p) {
    unsigned char bytes[KVF__TCP_BUFFER];
    int unacknowledged = 0;
    ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        return false; /* there may be more */
    if (n == 0 || !is_interruption(errno))
        return true; /* nobody is there */
    return ioctl(p->fd, SIOCOUTQ, &unacknowledged) != 0 || unacknowledged == 0;
}

static void flush(kvf__tcp *t) {
    uint64_t end = kvf__now() + FLUSH_NS;
    for (size_t i = 0; i < t->peer_count; i++)
        if (t->peers[i].fd >= 0)
            (void)shutdown(t->peers[i].fd, SHUT_WR);
    for (size_t i = 0; i < t->peer_count; i++)
        while (t->peers[i].fd >= 0 && kvf__now() < end && !is_flushed(&t->peers[i]))
            (void)kvf__tcp_poll(NULL, 0, kvf__now() + FLUSH_NAP_NS);
}

void kvf_channel_tcp_destroy(kvf_channel *channel) {
    if (!channel || channel->send != tcp_send)
        return;
    flush(channel->user);
    free_tcp(channel->user);
    *channel = (kvf_channel){0};
}
