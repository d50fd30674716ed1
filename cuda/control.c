/* One rank of the control protocol: what it wants, what it votes, and the events it gets. */
#include "control_state.h"

#include <assert.h>
#include <string.h>

enum { HELD_UP_BEATS = 2 }; /* between two looks at the time; what is more does not count */

void kvf__control_look(kvf__control *c, uint64_t now) {
    uint64_t passed = now > c->looked_at ? now - c->looked_at : 0;
    c->clock += kvf__min(passed, HELD_UP_BEATS * c->options.beat_ns);
    c->looked_at += passed;
}

/* Queues */

static void push(kvf__own_queue *q, kvf__own *o, kvf__own **next) {
    *next = NULL;
    *q->last = o;
    q->last = next;
}

static void push_event(kvf__control *c, kvf__own *o) {
    push(&c->events, o, &o->next_event);
}

static void push_to_send(kvf__control *c, kvf__own *o) {
    o->queued = true;
    push(&c->to_send, o, &o->next_to_send);
}

static kvf__own *pop_event(kvf__control *c) {
    kvf__own *o = c->events.first;
    if (o && !(c->events.first = o->next_event))
        c->events.last = &c->events.first;
    return o;
}

/* Life */

static size_t control_bytes(size_t peers) {
    return sizeof(kvf__control) + peers * sizeof(kvf__peer);
}

static kvf_status check_options(const kvf__control_options *o, kvf_error *error) {
    if (o->ranks < 1 || o->rank < 0 || o->rank >= o->ranks)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "no such rank");
    if (o->ranks > KVF__CONTROL_RANKS)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = KVF__CONTROL_RANKS, .what = "too many ranks");
    if (o->beat_ns == 0 || o->beat_ns >= o->timeout_ns || o->timeout_ns > INT64_MAX)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "heartbeats are not more frequent than the timeout");
    return KVF_OK;
}

void kvf__control_be_ready(kvf__control *c) {
    c->ready = c->ready_event = true;
    for (size_t i = 1; i < c->peer_count; i++)
        c->peers[i].ready_due = true;
}

static void init(kvf__control *c, const kvf__control_options *o, uint64_t now, size_t peers) {
    c->options = *o;
    c->options.payload = NULL;
    if (o->rank == 0 && o->payload)
        memcpy(c->payload, o->payload, sizeof c->payload);
    c->looked_at = now;
    c->last_own = &c->owns;
    c->to_send.last = &c->to_send.first;
    c->events.last = &c->events.first;
    c->hello_due = o->rank != 0;
    c->here = 1;
    c->peer_count = peers;
    if (o->ranks == 1)
        kvf__control_be_ready(c);
}

kvf_status kvf__control_create(const kvf__control_options *options, uint64_t now,
                               kvf__control **out, kvf_error *error) {
    if (!options || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_options(options, error);
    if (status != KVF_OK)
        return status;
    kvf_allocator a = options->allocator;
    size_t peers = options->rank == 0 ? (size_t)options->ranks : 1;
    kvf__control *c = kvf__alloc_zero(&a, 1, control_bytes(peers));
    if (!c)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (options->rank == 0 &&
        !(c->first = kvf__first_create(options->ranks, options->timeout_ns, &a))) {
        kvf__free(&a, c, 1, control_bytes(peers));
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    init(c, options, now, peers);
    *out = c;
    return KVF_OK;
}

static void free_owns(kvf__control *c) {
    for (kvf__own *o = c->owns, *next; o; o = next) {
        next = o->next;
        kvf__free(&c->options.allocator, o, 1, sizeof *o);
    }
    c->owns = NULL;
    c->last_own = &c->owns;
    c->own_count = c->open = 0;
}

void kvf__control_destroy(kvf__control *c) {
    if (!c)
        return;
    kvf_allocator a = c->options.allocator;
    free_owns(c);
    kvf__first_destroy(c->first);
    kvf__free(&a, c, 1, control_bytes(c->peer_count));
}

/* The end of all */

void kvf__control_break(kvf__control *c, const kvf__fault *fault, bool local, int except) {
    if (kvf__control_is_over(c))
        return;
    bool mine = fault->rank == c->options.rank || (local && fault->rank < 0);
    bool late = fault->status == KVF_ERR_TIMEOUT && !c->ready;
    c->broken = c->broken_event = true;
    c->fault = *fault;
    c->fault.status = mine || late ? fault->status : KVF_ERR_PEER;
    c->told_status = fault->status;
    for (size_t r = 1; r < c->peer_count; r++)
        c->peers[r].broken_due = (int)r != except;
    c->doubt_due = !kvf__control_is_first(c) && local;
}

void kvf__control_break_for(kvf__control *c, int rank, kvf_status status, const char *reason) {
    kvf__fault fault = kvf__fault_make(rank, status, reason);
    kvf__control_break(c, &fault, true, -1);
}

/* What rank 0 decided */

static kvf__own *find(kvf__control *c, uint64_t number) {
    kvf__own *o = c->owns;
    while (o && o->number != number)
        o = o->next;
    return o;
}

static void end(kvf__control *c, kvf__own *o, const kvf__fault *fault, bool refused) {
    o->state = KVF__OWN_OVER;
    o->refused = refused;
    o->fault = *fault;
    c->open--;
    push_event(c, o);
}

const char *kvf__control_obey(kvf__control *c, const kvf__message *m) {
    kvf__own *o = find(c, m->number);
    if (m->type == KVF__STARTED && o && o->state == KVF__OWN_SENT &&
        m->sequence > c->last_sequence) {
        o->state = KVF__OWN_STARTED;
        o->sequence = c->last_sequence = m->sequence;
        push_event(c, o);
        return NULL;
    }
    if (m->type == KVF__REFUSED && o && o->state == KVF__OWN_SENT) {
        end(c, o, &m->fault, true);
        return NULL;
    }
    if (m->type == KVF__ENDED && o && o->state == KVF__OWN_VOTED && !o->queued) {
        end(c, o, &m->fault, false);
        return NULL;
    }
    return "sent a message out of order";
}

void kvf__control_hear_oneself(kvf__control *c) {
    kvf__message m;
    while (!kvf__control_is_over(c) && kvf__first_next(c->first, 0, &m)) {
        const char *wrong = kvf__control_obey(c, &m);
        assert(!wrong);
        (void)wrong;
    }
    if (kvf__control_is_over(c) || !kvf__first_is_quiet(c->first))
        return;
    c->quiet = c->quiet_event = true;
    for (size_t r = 1; r < c->peer_count; r++)
        c->peers[r].quiet_due = true;
}

/* What this rank wants */

static kvf_status check_open(const kvf__control *c, kvf_error *error) {
    if (c->broken)
        return KVF__FAIL(error, .status = KVF_ERR_PEER,
                         .fields = c->fault.rank >= 0 ? KVF_ERROR_INDEX : 0,
                         .index = c->fault.rank >= 0 ? (uint64_t)c->fault.rank : 0,
                         .what = "the group is broken");
    if (c->left)
        return KVF__FAIL(error, .status = KVF_ERR_CLOSED, .what = "this rank has left the group");
    if (!c->ready)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN, .what = "not all ranks are there");
    if (c->own_count >= KVF__CONTROL_OPEN)
        return KVF__FAIL(error, .status = KVF_ERR_AGAIN, .what = "very many operations are open");
    return KVF_OK;
}

static kvf__own *add_own(kvf__control *c, const kvf__announcement *announcement) {
    kvf__own *o = kvf__alloc(&c->options.allocator, 1, sizeof *o);
    if (!o)
        return NULL;
    *o = (kvf__own){.number = c->last_number + 1, .announcement = *announcement};
    return o;
}

static void keep_own(kvf__control *c, kvf__own *o) {
    c->last_number = o->number;
    *c->last_own = o;
    c->last_own = &o->next;
    c->own_count++;
    c->open++;
}

/* What rank 0 says to an announcement is told to it at once. */
static kvf_status announce_oneself(kvf__control *c, kvf__own *o, kvf_error *error) {
    kvf__fault fault = {0};
    kvf_status status =
        kvf__first_announce(c->first, 0, o->number, &o->announcement, c->clock, &fault);
    if (status == KVF_OK) {
        o->state = KVF__OWN_SENT;
        keep_own(c, o);
        kvf__control_hear_oneself(c);
        return KVF_OK;
    }
    kvf__free(&c->options.allocator, o, 1, sizeof *o);
    if (status == KVF_ERR_NO_MEMORY)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__control_break(c, &fault, true, -1);
    return check_open(c, error);
}

kvf_status kvf__control_announce(kvf__control *c, const kvf__announcement *announcement,
                                 uint64_t now, uint64_t *number, kvf_error *error) {
    kvf__control_look(c, now);
    kvf_status status = check_open(c, error);
    if (status != KVF_OK)
        return status;
    const char *wrong = kvf__announcement_check(announcement, c->options.ranks);
    if (wrong)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = wrong);
    kvf__own *o = add_own(c, announcement);
    if (!o)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    uint64_t its_number = o->number;
    if (kvf__control_is_first(c)) {
        status = announce_oneself(c, o, error);
    } else {
        keep_own(c, o);
        push_to_send(c, o);
    }
    if (status == KVF_OK)
        *number = its_number;
    return status;
}

void kvf__control_vote(kvf__control *c, uint64_t number, kvf_status status, const char *reason,
                       uint64_t now) {
    kvf__control_look(c, now);
    kvf__own *o = find(c, number);
    assert(status != KVF_PENDING);
    if (kvf__control_is_over(c) || !o || o->state != KVF__OWN_RUNNING)
        return;
    o->state = KVF__OWN_VOTED;
    o->fault = kvf__fault_make(c->options.rank, status, status == KVF_OK ? "" : reason);
    if (kvf__control_is_first(c)) {
        bool owed = kvf__first_vote(c->first, 0, number, &o->fault, c->clock);
        assert(owed);
        (void)owed;
        kvf__control_hear_oneself(c);
    } else {
        push_to_send(c, o);
    }
}

bool kvf__control_is_gone(const kvf__control *c, int rank) {
    return kvf__control_is_first(c) && c->ready && kvf__first_is_gone(c->first, rank);
}

void kvf__control_doubt(kvf__control *c, int rank, kvf_status status, const char *reason,
                        uint64_t now) {
    kvf__control_look(c, now);
    if (kvf__control_is_over(c))
        return;
    if (rank < -1 || rank >= c->options.ranks)
        rank = -1;
    if (rank > 0 && kvf__control_is_gone(c, rank)) {
        c->peers[rank].lost = true;
        return;
    }
    kvf__control_break_for(c, rank, status, reason);
    if (c->left && c->open == 0)
        c->doubt_due = false;
}

/* Whether the loss of a rank is none to this one. */
static bool can_spare(const kvf__control *c, int rank) {
    if (!kvf__control_is_first(c))
        return rank > 0;
    if (rank >= 0)
        return rank == 0 || kvf__control_is_gone(c, rank);
    for (int r = 1; r < c->options.ranks; r++)
        if (!kvf__control_is_gone(c, r))
            return false;
    return true;
}

void kvf__control_lost(kvf__control *c, int rank, kvf_status status, const char *reason,
                       uint64_t now) {
    kvf__control_look(c, now);
    if (rank < -1 || rank >= c->options.ranks)
        rank = -1;
    if (!can_spare(c, rank))
        kvf__control_break_for(c, rank, status, reason);
    else if (kvf__control_is_first(c) && rank > 0)
        c->peers[rank].lost = true;
}

void kvf__control_leave(kvf__control *c, uint64_t now) {
    kvf__control_look(c, now);
    if (kvf__control_is_over(c) || c->left)
        return;
    if (!c->ready) {
        kvf__control_break_for(c, c->options.rank, KVF_ERR_CANCELLED, "left before all had come");
        return;
    }
    c->left = true;
    c->leave_due = !kvf__control_is_first(c);
    if (kvf__control_is_first(c)) {
        kvf__first_leave(c->first, 0);
        kvf__control_hear_oneself(c);
    }
}

/* Events */

static void drop_own(kvf__control *c, kvf__own *o) {
    kvf__own **at = &c->owns;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    if (!o->next)
        c->last_own = at;
    c->own_count--;
    kvf__free(&c->options.allocator, o, 1, sizeof *o);
}

static void fill(kvf__control_event *event, kvf__control_event_kind kind, const kvf__fault *fault) {
    event->kind = kind;
    event->rank = fault->rank;
    event->status = fault->status;
    memcpy(event->reason, fault->reason, sizeof event->reason);
}

static void own_event(kvf__control *c, kvf__own *o, kvf__control_event *event) {
    const kvf__fault none = {.rank = -1};
    event->number = o->number;
    event->sequence = o->sequence;
    if (o->state == KVF__OWN_OVER) {
        fill(event, o->refused ? KVF__CONTROL_REFUSED : KVF__CONTROL_ENDED, &o->fault);
        drop_own(c, o);
    } else {
        fill(event, KVF__CONTROL_STARTED, &none);
        o->state = KVF__OWN_RUNNING;
    }
}

bool kvf__control_next_event(kvf__control *c, kvf__control_event *event) {
    const kvf__fault none = {.rank = -1};
    kvf__own *o;
    *event = (kvf__control_event){.rank = -1};
    if (kvf__flag_clear(&c->ready_event)) {
        fill(event, KVF__CONTROL_READY, &none);
        memcpy(event->payload, c->payload, sizeof event->payload);
    } else if ((o = pop_event(c))) {
        own_event(c, o, event);
    } else if (kvf__flag_clear(&c->quiet_event)) {
        fill(event, KVF__CONTROL_QUIET, &none);
    } else if (kvf__flag_clear(&c->broken_event)) {
        fill(event, KVF__CONTROL_BROKEN, &c->fault);
        free_owns(c);
        c->to_send = (kvf__own_queue){NULL, &c->to_send.first};
    } else {
        return false;
    }
    return true;
}

/* Invariants */

const char *kvf__control_check(const kvf__control *c) {
    size_t count = 0, open = 0;
    uint64_t number = 0;
    for (const kvf__own *o = c->owns; o; o = o->next) {
        count++;
        open += o->state != KVF__OWN_OVER;
        if (o->number <= number || o->number > c->last_number)
            return "own announcements are not in order";
        number = o->number;
    }
    if (count != c->own_count || open != c->open)
        return "counts of own announcements";
    if (c->broken && c->quiet)
        return "an end behind the end";
    return c->first ? kvf__first_check(c->first) : NULL;
}
