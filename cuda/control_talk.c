/* What a rank hears and says: messages that come, silence, and messages that go. */
#include "control_state.h"

#include <string.h>

static const char *const out_of_order = "sent a message out of order";

/* Messages that come */

/* `m` is the message of another rank; NULL, or what is wrong with it. */
static const char *greet(kvf__control *c, int from, const kvf__message *m) {
    kvf__peer *p = &c->peers[from];
    const uint64_t *mine = c->options.digest;
    if (p->here)
        return out_of_order;
    if (m->ranks != (uint32_t)c->options.ranks)
        return "says that the group has another number of ranks";
    if (m->digest[0] != mine[0] || m->digest[1] != mine[1])
        return "has other options";
    p->here = true;
    p->beat_due = true; /* so that it knows that rank 0 is there */
    if (++c->here == (size_t)c->options.ranks)
        kvf__control_be_ready(c);
    return NULL;
}

static const char *take_announcement(kvf__control *c, int from, const kvf__message *m) {
    kvf__peer *p = &c->peers[from];
    kvf__fault fault = {0};
    if (m->number != p->announced + 1 || kvf__first_has_left(c->first, from))
        return out_of_order;
    p->announced++;
    kvf_status status =
        kvf__first_announce(c->first, from, m->number, &m->body.announcement, c->clock, &fault);
    if (status == KVF_ERR_NO_MEMORY)
        kvf__control_break_for(c, 0, KVF_ERR_NO_MEMORY, kvf_status_text(status));
    else if (status != KVF_OK)
        kvf__control_break(c, &fault, true, -1);
    return NULL;
}

/* Rank 0: a message of a rank that is here, when all are. */
static const char *serve(kvf__control *c, int from, const kvf__message *m) {
    switch (m->type) {
    case KVF__ANNOUNCE:
        return take_announcement(c, from, m);
    case KVF__VOTE:
        return kvf__first_vote(c->first, from, m->number, &m->fault, c->clock) ? NULL
                                                                               : out_of_order;
    case KVF__LEAVE:
        if (kvf__first_has_left(c->first, from))
            return out_of_order;
        kvf__first_leave(c->first, from);
        return NULL;
    default:
        return out_of_order;
    }
}

/* Beats may be left over from a group that had the channel before. */
static const char *handle_as_first(kvf__control *c, int from, const kvf__message *m) {
    const char *wrong = NULL;
    if (m->type == KVF__DOUBT)
        kvf__control_break(c, &m->fault, true, from);
    else if (m->type == KVF__HELLO)
        wrong = greet(c, from, m);
    else if (m->type != KVF__BEAT)
        wrong = c->ready ? serve(c, from, m) : out_of_order;
    if (!wrong)
        kvf__control_hear_oneself(c);
    return wrong;
}

static const char *handle(kvf__control *c, const kvf__message *m) {
    switch (m->type) {
    case KVF__READY:
        if (c->ready || c->hello_due)
            return out_of_order;
        memcpy(c->payload, m->body.payload, sizeof c->payload);
        kvf__control_be_ready(c);
        return NULL;
    case KVF__BROKEN:
        kvf__control_break(c, &m->fault, false, -1);
        return NULL;
    case KVF__QUIET:
        if (!c->left || c->leave_due || c->open > 0)
            return out_of_order;
        c->quiet = c->quiet_event = true;
        return NULL;
    case KVF__BEAT:
        return NULL;
    default:
        return kvf__control_obey(c, m);
    }
}

void kvf__control_receive(kvf__control *c, int from, const void *message, size_t bytes,
                          uint64_t now) {
    kvf__message m;
    kvf__control_look(c, now);
    if (kvf__control_is_over(c))
        return;
    if (from < 0 || from >= c->options.ranks || (from == 0) == kvf__control_is_first(c)) {
        bool exists = from >= 0 && from < c->options.ranks;
        kvf__control_break_for(c, exists ? from : -1, KVF_ERR_PEER,
                               "a message of a rank that sends none");
        return;
    }
    kvf__peer *p = &c->peers[from];
    if (p->lost)
        return;
    p->heard = c->clock;
    const char *wrong = kvf__message_read(message, bytes, c->options.ranks, &m);
    if (!wrong)
        wrong = kvf__control_is_first(c) ? handle_as_first(c, from, &m) : handle(c, &m);
    if (wrong)
        kvf__control_break_for(c, from, KVF_ERR_PEER, wrong);
}

/* Time */

/* The next time at which something is due with a peer; what is due now is done. */
static uint64_t tick_peer(kvf__control *c, int rank) {
    kvf__peer *p = &c->peers[rank];
    if (p->lost || (kvf__control_is_first(c) && !p->here))
        return UINT64_MAX;
    if (!kvf__control_is_gone(c, rank) && c->clock - p->heard >= c->options.timeout_ns) {
        kvf__control_break_for(c, rank, c->ready ? KVF_ERR_PEER : KVF_ERR_TIMEOUT,
                               c->ready ? "silent for longer than the timeout"
                                        : "late: has not come in time");
        return UINT64_MAX;
    }
    if (c->clock - p->sent >= c->options.beat_ns)
        p->beat_due = true;
    return kvf__control_is_gone(c, rank) ? UINT64_MAX : p->heard + c->options.timeout_ns;
}

static void break_for_the_missing(kvf__control *c) {
    int rank = 1;
    while (c->peers[rank].here)
        rank++;
    kvf__control_break_for(c, rank, KVF_ERR_TIMEOUT, "late: has not come in time");
}

static uint64_t tick_as_first(kvf__control *c) {
    uint64_t next = UINT64_MAX;
    kvf__fault fault;
    if (!c->ready) {
        if (c->clock >= c->options.timeout_ns)
            break_for_the_missing(c);
        return c->options.timeout_ns;
    }
    if (kvf__first_tick(c->first, c->clock, &next, &fault))
        kvf__control_break(c, &fault, true, -1);
    kvf__control_hear_oneself(c);
    return next;
}

uint64_t kvf__control_tick(kvf__control *c, uint64_t now) {
    kvf__control_look(c, now);
    uint64_t next = c->clock + c->options.beat_ns;
    for (size_t i = kvf__control_is_first(c); i < c->peer_count && !kvf__control_is_over(c); i++)
        next = kvf__min(next, tick_peer(c, (int)i));
    if (kvf__control_is_first(c) && !kvf__control_is_over(c))
        next = kvf__min(next, tick_as_first(c));
    if (kvf__control_is_over(c))
        return UINT64_MAX;
    return now + (next > c->clock ? next - c->clock : 0);
}

/* Messages that go */

static kvf__own *pop_to_send(kvf__control *c) {
    kvf__own *o = c->to_send.first;
    o->queued = false;
    c->to_send.first = o->next_to_send;
    if (!c->to_send.first)
        c->to_send.last = &c->to_send.first;
    return o;
}

static kvf__message broken_message(const kvf__control *c, kvf__message_type type) {
    kvf__message m = {.type = type, .fault = c->fault};
    m.fault.status = c->told_status;
    return m;
}

static kvf__message own_message(kvf__control *c) {
    kvf__own *o = pop_to_send(c);
    kvf__message m = {.number = o->number};
    if (o->state == KVF__OWN_UNSENT) {
        o->state = KVF__OWN_SENT;
        m.type = KVF__ANNOUNCE;
        m.body.announcement = o->announcement;
    } else {
        m.type = KVF__VOTE;
        m.fault = o->fault;
    }
    return m;
}

/* From another rank to rank 0. */
static bool message_to_first(kvf__control *c, kvf__message *m) {
    if (c->broken && !c->leave_due) {
        if (!kvf__flag_clear(&c->doubt_due))
            return false;
        *m = broken_message(c, KVF__DOUBT);
    } else if (kvf__flag_clear(&c->hello_due)) {
        *m = (kvf__message){.type = KVF__HELLO,
                            .ranks = (uint32_t)c->options.ranks,
                            .digest = {c->options.digest[0], c->options.digest[1]}};
    } else if (!c->broken && c->to_send.first) {
        *m = own_message(c);
    } else if (kvf__flag_clear(&c->leave_due)) {
        *m = (kvf__message){.type = KVF__LEAVE};
    } else if (!kvf__control_is_over(c) && kvf__flag_clear(&c->peers[0].beat_due)) {
        *m = (kvf__message){.type = KVF__BEAT};
    } else {
        return false;
    }
    return true;
}

/* From rank 0 to another. What was decided before it broke goes out first, but nothing is started
 * any more. */
static bool message_to_other(kvf__control *c, int rank, kvf__message *m) {
    kvf__peer *p = &c->peers[rank];
    if (kvf__flag_clear(&p->ready_due) && !c->broken) {
        *m = (kvf__message){.type = KVF__READY};
        memcpy(m->body.payload, c->payload, sizeof c->payload);
        return true;
    }
    while (kvf__first_next(c->first, rank, m))
        if (!p->lost && !(c->broken && m->type == KVF__STARTED))
            return true;
    if (p->lost)
        return false;
    if (kvf__flag_clear(&p->quiet_due))
        *m = (kvf__message){.type = KVF__QUIET};
    else if (kvf__flag_clear(&p->broken_due))
        *m = broken_message(c, KVF__BROKEN);
    else if (kvf__flag_clear(&p->beat_due) && !kvf__control_is_over(c))
        *m = (kvf__message){.type = KVF__BEAT};
    else
        return false;
    return true;
}

/* Whom the group breaks for may not read any more, and is told last. */
static bool message_of_first(kvf__control *c, int *to, kvf__message *m) {
    int last = c->broken ? c->fault.rank : -1;
    for (int n = 0; n < c->options.ranks; n++) {
        *to = (c->talking_to + n) % c->options.ranks;
        if (*to != 0 && *to != last && message_to_other(c, *to, m)) {
            c->talking_to = *to;
            return true;
        }
    }
    *to = last;
    return last > 0 && message_to_other(c, last, m);
}

size_t kvf__control_next_message(kvf__control *c, int *to, void *message) {
    kvf__message m;
    int receiver = 0;
    bool any =
        kvf__control_is_first(c) ? message_of_first(c, &receiver, &m) : message_to_first(c, &m);
    if (!any)
        return 0;
    c->peers[receiver].sent = c->clock;
    *to = receiver;
    return kvf__message_write(&m, message);
}
