/*
 * The TCP channel's inside. Every rank is connected to rank 0, and rank 0 to every rank.
 *
 *     coming together (channel_meet.c), little-endian:
 *
 *     hello     rank to 0   "kvferry" 0 | version u32 | rank u32 | ranks u32 |
 *     answer    0 to rank   "KVFERRY" 0 | version u32 | status u32 | index u32 |
 *
 *     from then on, both ways (channel_tcp.c):
 *
 *     message   length u32 | bytes |
 *
 * Rank 0 answers once all have said hello, or once it is clear that they will not. Connections that
 * say something else, or nothing, are not its own and are dropped.
 */
#ifndef KVF_CUDA_CHANNEL_TCP_H
#define KVF_CUDA_CHANNEL_TCP_H

#include <kvferry/nccl.h>
#include <poll.h>

#include "memory.h"

enum {
    KVF__TCP_VERSION = 1,
    KVF__TCP_RANKS = 4096,
    KVF__TCP_BUFFER = 8192, /* of what came and was not received yet; more than a message */
    KVF__TCP_LISTENERS = 8,
    KVF__TCP_STRANGERS = 64, /* who have not said hello */
    KVF__TCP_EXTRA_POLLS = KVF__TCP_LISTENERS + KVF__TCP_STRANGERS,
};

typedef struct kvf__tcp_peer {
    int fd; /* non-blocking; -1: none */
    int rank;
    bool came;  /* has said hello, though it may have gone since */
    bool ended; /* nothing comes any more but what is in the buffer */
    int why;    /* errno; 0: it was closed */
    bool told;  /* that it has ended */
    bool cut;   /* half a message was sent: nothing can follow */
    size_t start, end;
    unsigned char buffer[KVF__TCP_BUFFER];
} kvf__tcp_peer;

typedef struct kvf__tcp {
    kvf_allocator allocator;
    int rank, ranks;
    uint64_t timeout_ns;
    int wake_fd;
    size_t next;          /* the peer to look at first */
    struct pollfd *polls; /* [peer_count + KVF__TCP_EXTRA_POLLS] */
    size_t peer_count;    /* rank 0: by rank; else rank 0 alone */
    kvf__tcp_peer peers[];
} kvf__tcp;

/* Waits until something happens or `deadline` (by kvf__now; UINT64_MAX: for ever) has passed;
 * returns as poll does, but 0 when interrupted. */
int kvf__tcp_poll(struct pollfd *polls, size_t count, uint64_t deadline);

/* For a connection of either side, once it stands. */
void kvf__tcp_tune(const kvf__tcp *tcp, int fd);

/* Connects all ranks by `deadline`. Errors as kvf_channel_tcp_create. */
kvf_status kvf__tcp_meet(kvf__tcp *tcp, const char *address, uint64_t deadline, kvf_error *error);

#endif
