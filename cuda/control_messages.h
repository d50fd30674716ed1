/*
 * The control protocol's messages as bytes. All numbers are little-endian; version 1:
 *
 *     every message    version u8 | type u8 | 0 u16 | ...
 *
 *     HELLO     to 0   | ranks u32 | digest 2 x u64 |
 *     READY     from 0 | payload 256 |
 *     BEAT      both   |
 *     ANNOUNCE  to 0   | kind u32 | number u64 | tag u64 | digest 2 x u64 | all u16 | n u16 | n
 * hands: | peer u31, receives on top | digest 2 x u64 | STARTED   from 0 | 0 u32 | number u64 |
 * sequence u64 | VOTE      to 0   | rank i32 | number u64 | status u32 | reason, to the end |
 *     REFUSED   from 0   ... the same ...
 *     ENDED     from 0   ... the same ...
 *     DOUBT     to 0     ... the same, number 0 ...
 *     BROKEN    from 0   ... the same, number 0 ...
 *     LEAVE     to 0   |
 *     QUIET     from 0 |
 *
 * The version comes first in every later one, too. A reason is printable text without its end.
 */
#ifndef KVF_CUDA_CONTROL_MESSAGES_H
#define KVF_CUDA_CONTROL_MESSAGES_H

#include "control.h"

enum { KVF__MESSAGE_VERSION = 1 };

typedef enum kvf__message_type {
    KVF__HELLO = 1,
    KVF__READY,
    KVF__BEAT,
    KVF__ANNOUNCE,
    KVF__STARTED,
    KVF__VOTE,
    KVF__REFUSED,
    KVF__ENDED,
    KVF__DOUBT,
    KVF__BROKEN,
    KVF__LEAVE,
    KVF__QUIET,
} kvf__message_type;

/* Whose fault something is, and why. */
typedef struct kvf__fault {
    int rank; /* -1: nobody's */
    kvf_status status;
    char reason[KVF__CONTROL_REASON];
} kvf__fault;

/* Which members count follows from the type. */
typedef struct kvf__message {
    kvf__message_type type;
    uint32_t ranks;
    uint64_t digest[2];
    uint64_t number, sequence;
    kvf__fault fault;
    union {
        kvf__announcement announcement;
        unsigned char payload[KVF__CONTROL_PAYLOAD];
    } body;
} kvf__message;

/* A fault with this text; what is not printable becomes '?', what is too long is cut. */
kvf__fault kvf__fault_make(int rank, kvf_status status, const char *reason);

/* NULL, or what is wrong with an announcement of this rank in a group of so many. */
const char *kvf__announcement_check(const kvf__announcement *announcement, int ranks);

/* Writes a message into KVF_CHANNEL_BYTES; returns its length. */
size_t kvf__message_write(const kvf__message *message, void *bytes);

/* Reads a message of a group of `ranks`. NULL, or what is wrong with it. */
const char *kvf__message_read(const void *bytes, size_t size, int ranks, kvf__message *message);

#endif
