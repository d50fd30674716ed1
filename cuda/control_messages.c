/* The control protocol's messages: to bytes, and back with everything checked. */
#include "control_messages.h"

#include <stdio.h>
#include <string.h>

enum {
    HEADER = 4,
    HAND = 4 + 2 * 8,
    ANNOUNCE_BYTES = HEADER + 4 + 2 * 8 + 2 * 8 + 2 * 2,
    VERDICT_BYTES = HEADER + 4 + 8 + 4,
};
static const uint32_t receives_bit = UINT32_C(1) << 31;

_Static_assert((size_t)ANNOUNCE_BYTES + (size_t)KVF__CONTROL_HANDS * HAND <= KVF_CHANNEL_BYTES,
               "the largest announcement fits a message");
_Static_assert(HEADER + (size_t)KVF__CONTROL_PAYLOAD <= KVF_CHANNEL_BYTES,
               "what rank 0 tells all fits a message");

/* Bytes of UTF-8 are let through; whoever shows them may judge them. */
static bool is_printable(char c) {
    return (unsigned char)c >= 0x20 && c != 0x7f;
}

kvf__fault kvf__fault_make(int rank, kvf_status status, const char *reason) {
    kvf__fault fault = {.rank = rank, .status = status};
    const char *text = reason ? reason : kvf_status_text(status);
    (void)snprintf(fault.reason, sizeof fault.reason, "%s", text);
    for (char *c = fault.reason; *c; c++)
        if (!is_printable(*c))
            *c = '?';
    return fault;
}

const char *kvf__announcement_check(const kvf__announcement *announcement, int ranks) {
    if (announcement->hand_count > KVF__CONTROL_HANDS)
        return "more hands than an announcement has";
    if (announcement->all && announcement->hand_count > 0)
        return "hands in an operation of all ranks";
    for (size_t i = 0; i < announcement->hand_count; i++)
        if (announcement->hands[i].peer < 0 || announcement->hands[i].peer >= ranks)
            return "a hand of a rank that does not exist";
    return NULL;
}

/* Writing: `at` moves on */

static void put(unsigned char **at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        *(*at)++ = (unsigned char)(value >> (8 * i));
}

static void put_bytes(unsigned char **at, const void *bytes, size_t count) {
    memcpy(*at, bytes, count);
    *at += count;
}

static void put_digest(unsigned char **at, const uint64_t digest[2]) {
    put(at, digest[0], 8);
    put(at, digest[1], 8);
}

static void put_announcement(unsigned char **at, const kvf__message *m) {
    const kvf__announcement *a = &m->body.announcement;
    put(at, a->kind, 4);
    put(at, m->number, 8);
    put(at, a->tag, 8);
    put_digest(at, a->digest);
    put(at, a->all, 2);
    put(at, a->hand_count, 2);
    for (size_t i = 0; i < a->hand_count; i++) {
        const kvf__control_hand *h = &a->hands[i];
        put(at, (uint32_t)h->peer | (h->receives ? receives_bit : 0), 4);
        put_digest(at, h->digest);
    }
}

static void put_verdict(unsigned char **at, const kvf__message *m) {
    put(at, (uint32_t)m->fault.rank, 4);
    put(at, m->number, 8);
    put(at, (uint32_t)m->fault.status, 4);
    put_bytes(at, m->fault.reason, strlen(m->fault.reason));
}

size_t kvf__message_write(const kvf__message *m, void *bytes) {
    unsigned char *at = bytes;
    put(&at, KVF__MESSAGE_VERSION, 1);
    put(&at, (uint64_t)m->type, 1);
    put(&at, 0, 2);
    switch (m->type) {
    case KVF__HELLO:
        put(&at, m->ranks, 4);
        put_digest(&at, m->digest);
        break;
    case KVF__READY:
        put_bytes(&at, m->body.payload, KVF__CONTROL_PAYLOAD);
        break;
    case KVF__ANNOUNCE:
        put_announcement(&at, m);
        break;
    case KVF__STARTED:
        put(&at, 0, 4);
        put(&at, m->number, 8);
        put(&at, m->sequence, 8);
        break;
    case KVF__VOTE:
    case KVF__REFUSED:
    case KVF__ENDED:
    case KVF__DOUBT:
    case KVF__BROKEN:
        put_verdict(&at, m);
        break;
    case KVF__BEAT:
    case KVF__LEAVE:
    case KVF__QUIET:
        break;
    }
    return (size_t)(at - (unsigned char *)bytes);
}

/* Reading: there is as much as the type needs before anything is taken */

typedef struct reader {
    const unsigned char *at;
    size_t left;
} reader;

static uint64_t take(reader *r, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)r->at[i] << (8 * i);
    r->at += bytes;
    r->left -= bytes;
    return value;
}

static void take_digest(reader *r, uint64_t digest[2]) {
    digest[0] = take(r, 8);
    digest[1] = take(r, 8);
}

static const char *read_announcement(reader *r, int ranks, kvf__message *m) {
    kvf__announcement *a = &m->body.announcement;
    if (r->left < ANNOUNCE_BYTES - HEADER)
        return "a message of the wrong length";
    a->kind = (uint32_t)take(r, 4);
    m->number = take(r, 8);
    a->tag = take(r, 8);
    take_digest(r, a->digest);
    uint64_t all = take(r, 2);
    a->all = all == 1;
    a->hand_count = (size_t)take(r, 2);
    if (all > 1 || a->hand_count > KVF__CONTROL_HANDS || r->left != a->hand_count * HAND)
        return "a malformed announcement";
    for (size_t i = 0; i < a->hand_count; i++) {
        uint32_t peer = (uint32_t)take(r, 4);
        a->hands[i] = (kvf__control_hand){.peer = (int)(peer & ~receives_bit),
                                          .receives = (peer & receives_bit) != 0};
        take_digest(r, a->hands[i].digest);
    }
    return kvf__announcement_check(a, ranks);
}

static const char *read_verdict(reader *r, int ranks, kvf__message *m) {
    if (r->left < VERDICT_BYTES - HEADER)
        return "a message of the wrong length";
    int64_t rank = (int64_t)(int32_t)take(r, 4);
    m->number = take(r, 8);
    uint64_t status = take(r, 4);
    if (rank < -1 || rank >= ranks || status >= KVF__STATUSES || status == KVF_PENDING)
        return "a verdict that cannot be";
    if (r->left >= KVF__CONTROL_REASON)
        return "a message of the wrong length";
    m->fault = (kvf__fault){.rank = (int)rank, .status = (kvf_status)status};
    for (size_t i = 0; i < r->left; i++) {
        m->fault.reason[i] = (char)r->at[i];
        if (!is_printable(m->fault.reason[i]))
            return "a reason that is not text";
    }
    bool good = m->type == KVF__VOTE || m->type == KVF__ENDED;
    if (m->fault.status == KVF_OK && !good)
        return "a verdict that cannot be";
    return NULL;
}

static const char *read_started(reader *r, kvf__message *m) {
    uint64_t zero = take(r, 4);
    m->number = take(r, 8);
    m->sequence = take(r, 8);
    return zero == 0 ? NULL : "a malformed message";
}

/* The length of those that have only one; SIZE_MAX for the others, 0 for an unknown type. */
static size_t length_of(uint64_t type) {
    switch (type) {
    case KVF__HELLO:
        return HEADER + 4 + 2 * 8;
    case KVF__READY:
        return HEADER + KVF__CONTROL_PAYLOAD;
    case KVF__STARTED:
        return HEADER + 4 + 2 * 8;
    case KVF__BEAT:
    case KVF__LEAVE:
    case KVF__QUIET:
        return HEADER;
    case KVF__ANNOUNCE:
    case KVF__VOTE:
    case KVF__REFUSED:
    case KVF__ENDED:
    case KVF__DOUBT:
    case KVF__BROKEN:
        return SIZE_MAX;
    default:
        return 0;
    }
}

static const char *read_body(reader *r, int ranks, kvf__message *m) {
    switch (m->type) {
    case KVF__HELLO:
        m->ranks = (uint32_t)take(r, 4);
        take_digest(r, m->digest);
        return NULL;
    case KVF__READY:
        memcpy(m->body.payload, r->at, KVF__CONTROL_PAYLOAD);
        return NULL;
    case KVF__ANNOUNCE:
        return read_announcement(r, ranks, m);
    case KVF__STARTED:
        return read_started(r, m);
    case KVF__VOTE:
    case KVF__REFUSED:
    case KVF__ENDED:
    case KVF__DOUBT:
    case KVF__BROKEN:
        return read_verdict(r, ranks, m);
    case KVF__BEAT:
    case KVF__LEAVE:
    case KVF__QUIET:
        break;
    }
    return NULL;
}

const char *kvf__message_read(const void *bytes, size_t size, int ranks, kvf__message *m) {
    reader r = {.at = bytes, .left = size};
    *m = (kvf__message){.type = KVF__BEAT};
    if (size < HEADER)
        return "a message of the wrong length";
    if (take(&r, 1) != KVF__MESSAGE_VERSION)
        return "another version of the protocol";
    uint64_t type = take(&r, 1), zero = take(&r, 2);
    size_t length = length_of(type);
    if (length == 0 || zero != 0)
        return "a malformed message";
    if (length != SIZE_MAX && length != size)
        return "a message of the wrong length";
    m->type = (kvf__message_type)type;
    return read_body(&r, ranks, m);
}
