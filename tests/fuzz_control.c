/*
 * Bytes to a life of one rank: what it wants, what comes from others, and time. Whatever comes, it
 * says nothing that the others cannot read, each announcement ends once, and nothing comes behind
 * the last event.
 *
 *     ranks | rank | then one step after another: what | its bytes
 */
#include "control_messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 256, TIMEOUT = 1000, BEAT = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *bytes;
    size_t size;
} input;

typedef struct life {
    kvf__control *control;
    int rank, ranks;
    uint64_t now, sequence;
    bool over;
    unsigned char state[NUMBERS]; /* 0: unknown, 1: announced, 2: started, 3: over */
} life;

static void require(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static uint8_t take(input *in) {
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->bytes++;
}

static void on_event(life *l, const kvf__control_event *e) {
    require(!l->over, "an event behind the last");
    require(memchr(e->reason, 0, sizeof e->reason) != NULL, "a reason without an end");
    require(e->rank >= -1 && e->rank < l->ranks, "a rank that does not exist");
    switch (e->kind) {
    case KVF__CONTROL_READY:
        break;
    case KVF__CONTROL_STARTED:
        require(e->number < NUMBERS && l->state[e->number] == 1, "started, but not announced");
        require(e->sequence > l->sequence, "out of sequence");
        l->sequence = e->sequence;
        l->state[e->number] = 2;
        break;
    case KVF__CONTROL_REFUSED:
        require(e->number < NUMBERS && l->state[e->number] == 1, "refused, but not announced");
        require(e->status != KVF_OK, "refused for nothing");
        l->state[e->number] = 3;
        break;
    case KVF__CONTROL_ENDED:
        require(e->number < NUMBERS && l->state[e->number] == 2, "ended, but not started");
        l->state[e->number] = 3;
        break;
    case KVF__CONTROL_BROKEN:
        require(e->status != KVF_OK, "broken for nothing");
        l->over = true;
        break;
    case KVF__CONTROL_QUIET:
        for (size_t i = 0; i < NUMBERS; i++)
            require(l->state[i] == 0 || l->state[i] == 3, "quiet, but something is open");
        l->over = true;
        break;
    }
}

static void take_all(life *l) {
    unsigned char message[KVF_CHANNEL_BYTES];
    kvf__message read;
    kvf__control_event event;
    int to = -1;
    for (size_t n; (n = kvf__control_next_message(l->control, &to, message)) > 0;) {
        require(kvf__message_read(message, n, l->ranks, &read) == NULL, "an unreadable message");
        require(to >= 0 && to < l->ranks && (to == 0) == (l->rank != 0), "to nobody");
    }
    while (kvf__control_next_event(l->control, &event))
        on_event(l, &event);
    require(kvf__control_check(l->control) == NULL, "an invariant");
}

static void announce(life *l, input *in) {
    kvf__announcement a = {.tag = take(in) % 4, .kind = take(in) % 2, .digest = {take(in) % 2}};
    a.hand_count = take(in) % 4;
    a.all = a.hand_count == 3;
    if (a.all)
        a.hand_count = 0;
    for (size_t i = 0; i < a.hand_count; i++) {
        uint8_t hand = take(in);
        a.hands[i] = (kvf__control_hand){.peer = (hand >> 1) % l->ranks, .receives = hand & 1};
    }
    uint64_t number = 0;
    if (kvf__control_announce(l->control, &a, l->now, &number, NULL) == KVF_OK && number < NUMBERS)
        l->state[number] = 1;
}

/* Bytes as they come, or with a header that makes them more than nonsense. */
static void receive(life *l, input *in, bool with_header) {
    unsigned char message[KVF_CHANNEL_BYTES] = {0};
    int from = (int)take(in) % (l->ranks + 1);
    size_t size = take(in), start = 0;
    if (with_header) {
        message[0] = KVF__MESSAGE_VERSION;
        message[1] = (unsigned char)(size % 13);
        start = 4;
        size = take(in) + start;
    }
    for (size_t i = start; i < size && in->size > 0; i++)
        message[i] = take(in);
    kvf__control_receive(l->control, from, message, size, l->now);
}

/* A message that can be: to get further than nonsense would. */
static void receive_well(life *l, input *in) {
    unsigned char bytes[KVF_CHANNEL_BYTES];
    kvf__message m = {.type = (kvf__message_type)(1 + take(in) % 12),
                      .ranks = (uint32_t)l->ranks,
                      .number = take(in) % 8,
                      .sequence = take(in)};
    uint8_t more = take(in);
    int from = l->rank == 0 && l->ranks > 1 ? 1 + more % (l->ranks - 1) : 0;
    m.fault = kvf__fault_make(more % l->ranks, (kvf_status)(more % 4 == 1 ? 0 : more % 4), "x");
    if (m.type == KVF__REFUSED || m.type == KVF__DOUBT || m.type == KVF__BROKEN)
        m.fault.status = KVF_ERR_PEER;
    if (m.type == KVF__ANNOUNCE) {
        m.body.announcement = (kvf__announcement){.tag = take(in) % 4, .all = more % 2 == 0};
        m.body.announcement.hand_count = more % 2;
        m.body.announcement.hands[0].peer = take(in) % l->ranks;
    }
    kvf__control_receive(l->control, from, bytes, kvf__message_write(&m, bytes), l->now);
}

static void step(life *l, input *in) {
    switch (take(in) % 12) {
    case 0:
        receive(l, in, false);
        break;
    case 1:
        receive(l, in, true);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        receive_well(l, in);
        break;
    case 6:
    case 7:
        announce(l, in);
        break;
    case 8:
        kvf__control_vote(l->control, take(in), take(in) % 2 ? KVF_ERR_ENGINE : KVF_OK, "y",
                          l->now);
        break;
    case 9:
        l->now += take(in);
        require(kvf__control_tick(l->control, l->now) > l->now, "no time to wait");
        break;
    case 10:
        if (take(in) % 8 == 0)
            kvf__control_leave(l->control, l->now);
        else
            kvf__control_lost(l->control, take(in) % 5 - 1, KVF_ERR_ENGINE, "z", l->now);
        break;
    default:
        if (take(in) % 8 == 0)
            kvf__control_doubt(l->control, take(in) % 5 - 1, KVF_ERR_ENGINE, NULL, l->now);
        take_all(l);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    life l = {.ranks = 1 + take(&in) % 4};
    l.rank = take(&in) % l.ranks;
    const kvf__control_options o = {.rank = l.rank,
                                    .ranks = l.ranks,
                                    .timeout_ns = TIMEOUT,
                                    .beat_ns = BEAT,
                                    .allocator = kvf__allocator(NULL)};
    if (kvf__control_create(&o, 0, &l.control, NULL) != KVF_OK)
        return 0;
    while (in.size > 0)
        step(&l, &in);
    take_all(&l);
    kvf__control_destroy(l.control);
    return 0;
}
