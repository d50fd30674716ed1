#include "control_sim.h"

#include "control_messages.h"

#include <stdlib.h>
#include <string.h>

typedef struct packet {
    struct packet *next;
    uint64_t arrives;
    size_t bytes;
    unsigned char message[];
} packet;

typedef struct lane {
    packet *first, **last;
    uint64_t latest; /* arrival */
    bool cut;
} lane;

typedef enum outcome { NOT_ANNOUNCED, OPEN, RUNS, ENDED_WELL, ENDED_BADLY, WAS_REFUSED } outcome;

/* One rank's part in an operation. */
typedef struct part {
    uint64_t announce_at, vote_at; /* UINT64_MAX: never, or not yet */
    uint64_t number, sequence;
    outcome outcome;
    bool broken; /* by the group's end */
    int fault;
    char reason[KVF__CONTROL_REASON];
} part;

typedef struct node {
    kvf__control *control;
    bool alive;
    uint64_t created_at, tick_at, leave_at, last_vote;
    bool ready, left, quiet, broken;
    bool by_itself; /* may know less than the others */
    uint64_t last_sequence, over_at;
    kvf__control_event end;
    part parts[SIM_OPS];
} node;

typedef struct sim {
    sim_options options;
    test_random random;
    uint64_t now, break_at, no_vote_after, limit;
    bool serial, happened;
    sim_op ops[SIM_OPS];
    node nodes[SIM_RANKS];
    lane lanes[SIM_RANKS][SIM_RANKS];
    sim_counts *counts;
} sim;

static uint64_t below(sim *s, uint64_t bound) {
    return test_random_below(&s->random, bound);
}

static bool is_member(const sim_op *op, int rank) {
    return (op->members >> rank & 1) != 0;
}

/* The plan */

static int pick_member(sim *s, const sim_op *op) {
    int rank;
    do
        rank = (int)below(s, (uint64_t)s->options.ranks);
    while (!is_member(op, rank));
    return rank;
}

/* A chain through all members, so that they are one operation, and some more. */
static void plan_transfers(sim *s, sim_op *op) {
    int before = -1;
    for (int r = 0; r < s->options.ranks; r++) {
        if (!is_member(op, r))
            continue;
        if (before >= 0) {
            bool forth = below(s, 2) == 0;
            op->transfers[op->transfer_count].from = forth ? before : r;
            op->transfers[op->transfer_count++].to = forth ? r : before;
        }
        before = r;
    }
    for (uint64_t more = below(s, 4); more > 0; more--) {
        op->transfers[op->transfer_count].from = pick_member(s, op);
        op->transfers[op->transfer_count++].to = pick_member(s, op);
    }
}

/* Hands can only differ where there are some, and who is alone agrees. */
static void plan_spoil(sim *s, sim_op *op, uint64_t index) {
    if (!s->options.spoils || below(s, 2) == 0)
        return;
    op->spoil = (sim_spoil)below(s, SIM_SPOILS);
    op->spoiler = pick_member(s, op);
    bool alone = (op->members & (op->members - 1)) == 0;
    if (op->spoil == SIM_HANDS && op->all)
        op->spoil = SIM_DIGEST;
    if (alone && op->spoil != SIM_BAD_VOTE)
        op->spoil = SIM_WELL;
    if (op->spoil == SIM_ABSENT || op->spoil == SIM_LATE)
        op->tag = 1000 + index; /* or else its next one would come in its place */
}

static void plan_op(sim *s, uint64_t index) {
    sim_op *op = &s->ops[index];
    unsigned everybody = (1u << s->options.ranks) - 1;
    *op = (sim_op){.tag = below(s, 3), .digest = index, .kind = 1 + (uint32_t)below(s, 3)};
    op->all = below(s, 2) == 0;
    op->members = op->all ? everybody : 1 + (unsigned)below(s, everybody);
    if (!op->all)
        plan_transfers(s, op);
    plan_spoil(s, op, index);
}

/* Every rank announces operations of one tag in their order; others as it likes. */
static void plan_announcements(sim *s, int rank) {
    uint64_t at[3] = {0};
    for (size_t i = 0; i < s->options.ops; i++) {
        const sim_op *op = &s->ops[i];
        part *p = &s->nodes[rank].parts[i];
        *p = (part){.announce_at = UINT64_MAX, .vote_at = UINT64_MAX};
        if (!is_member(op, rank) || (op->spoil == SIM_ABSENT && op->spoiler == rank))
            continue;
        uint64_t *last = op->tag < 3 ? &at[op->tag] : NULL;
        uint64_t time = below(s, SIM_TIMEOUT / 8) + (last ? *last : below(s, SIM_TIMEOUT / 2));
        if (last)
            *last = time;
        if (op->spoil == SIM_LATE && op->spoiler == rank)
            time += 3 * SIM_TIMEOUT;
        p->announce_at = time;
    }
}

/* Tags in common shift against each other by SIM_OPS * SIM_TIMEOUT / 8 at most, which would be
 * late. So operations of one tag are spread over half a timeout. */
static void squeeze(sim *s) {
    for (int r = 0; r < s->options.ranks; r++)
        for (size_t i = 0; i < s->options.ops; i++)
            if (s->nodes[r].parts[i].announce_at != UINT64_MAX && s->ops[i].tag < 3)
                s->nodes[r].parts[i].announce_at /= 4;
}

static void create(sim *s, int rank) {
    node *n = &s->nodes[rank];
    unsigned char payload[KVF__CONTROL_PAYLOAD];
    memset(payload, 0x5a, sizeof payload);
    kvf__control_options o = {.rank = rank,
                              .ranks = s->options.ranks,
                              .timeout_ns = SIM_TIMEOUT,
                              .beat_ns = SIM_BEAT,
                              .payload = rank == 0 ? payload : NULL,
                              .digest = {7, 9},
                              .allocator = kvf__allocator(s->options.allocator)};
    if (s->options.breaks == SIM_OPTIONS && s->options.culprit == rank)
        o.digest[1]++;
    kvf_status status = KVF_ERR_NO_MEMORY;
    while (status == KVF_ERR_NO_MEMORY)
        status = kvf__control_create(&o, s->now, &n->control, NULL);
    assert_int_equal(status, KVF_OK);
    n->alive = true;
    n->tick_at = s->now;
}

static void plan(sim *s) {
    for (size_t i = 0; i < s->options.ops; i++)
        plan_op(s, i);
    for (int r = 0; r < s->options.ranks; r++) {
        node *n = &s->nodes[r];
        plan_announcements(s, r);
        n->created_at = below(s, SIM_TIMEOUT / 4);
        n->tick_at = n->leave_at = UINT64_MAX;
        if (s->options.breaks == SIM_NO_SHOW && s->options.culprit == r)
            n->created_at = UINT64_MAX;
        for (int t = 0; t < s->options.ranks; t++)
            s->lanes[r][t].last = &s->lanes[r][t].first;
    }
    squeeze(s);
    s->serial = below(s, 2) == 0;
    s->break_at = SIM_TIMEOUT / 4 + below(s, 4 * SIM_TIMEOUT);
    if (below(s, 2) == 0) /* in the thick of it */
        s->break_at = SIM_TIMEOUT / 4 + below(s, SIM_TIMEOUT);
    s->no_vote_after = s->break_at;
    if (s->options.breaks == SIM_NO_VOTE || s->options.breaks == SIM_PEACE ||
        s->options.breaks == SIM_OPTIONS || s->options.breaks == SIM_NO_SHOW)
        s->break_at = UINT64_MAX;
    s->limit = 20 * SIM_TIMEOUT;
}

static kvf__announcement announcement_of(sim *s, size_t index, int rank) {
    const sim_op *op = &s->ops[index];
    bool spoils = op->spoiler == rank;
    kvf__announcement a = {
        .tag = op->tag, .kind = op->kind, .digest = {op->digest, 0}, .all = op->all};
    for (size_t i = 0; i < op->transfer_count; i++)
        for (int receives = 0; receives < 2; receives++) {
            int me = receives ? op->transfers[i].to : op->transfers[i].from;
            if (me == rank)
                a.hands[a.hand_count++] = (kvf__control_hand){
                    .peer = receives ? op->transfers[i].from : op->transfers[i].to,
                    .receives = receives != 0,
                    .digest = {op->digest, i}};
        }
    if (spoils && op->spoil == SIM_KIND)
        a.kind += 10;
    if (spoils && op->spoil == SIM_DIGEST)
        a.digest[1]++;
    if (spoils && op->spoil == SIM_HANDS && below(s, 2) == 0)
        a.hands[below(s, a.hand_count)].digest[0]++;
    else if (spoils && op->spoil == SIM_HANDS)
        a.hands[a.hand_count++] = a.hands[0];
    return a;
}

/* The network */

static void send_bytes(sim *s, int from, int to, const void *bytes, size_t count) {
    lane *l = &s->lanes[from][to];
    uint64_t arrives = s->now + below(s, SIM_DELAY);
    if (l->cut)
        return;
    packet *p = malloc(sizeof *p + count);
    assert_non_null(p);
    l->latest = arrives > l->latest ? arrives : l->latest;
    *p = (packet){.arrives = l->latest, .bytes = count};
    memcpy(p->message, bytes, count);
    *l->last = p;
    l->last = &p->next;
    s->counts->messages++;
}

static packet *pop(lane *l) {
    packet *p = l->first;
    l->first = p->next;
    if (!l->first)
        l->last = &l->first;
    return p;
}

static void cut_off(sim *s, int rank) {
    for (int r = 0; r < s->options.ranks; r++)
        s->lanes[rank][r].cut = s->lanes[r][rank].cut = true;
}

/* Events */

static part *part_of(node *n, uint64_t number, size_t *index) {
    for (size_t i = 0; i < SIM_OPS; i++)
        if (n->parts[i].number == number && number > 0) {
            *index = i;
            return &n->parts[i];
        }
    fail_msg("an event of number %llu, which was never announced", (unsigned long long)number);
    return NULL;
}

static void on_started(sim *s, int rank, const kvf__control_event *event) {
    node *n = &s->nodes[rank];
    size_t index = 0;
    part *p = part_of(n, event->number, &index);
    assert_int_equal(p->outcome, OPEN);
    assert_true(event->sequence > n->last_sequence);
    n->last_sequence = p->sequence = event->sequence;
    p->outcome = RUNS;
    uint64_t start = s->serial && n->last_vote > s->now ? n->last_vote : s->now;
    p->vote_at = n->last_vote = start + below(s, SIM_TIMEOUT / 3);
    if (s->options.breaks == SIM_NO_VOTE && s->options.culprit == rank &&
        p->vote_at > s->no_vote_after) {
        p->vote_at = UINT64_MAX;
        s->happened = true;
    }
}

static void on_over(sim *s, int rank, const kvf__control_event *event) {
    node *n = &s->nodes[rank];
    size_t index = 0;
    part *p = part_of(n, event->number, &index);
    bool refused = event->kind == KVF__CONTROL_REFUSED;
    assert_int_equal(p->outcome, refused ? OPEN : RUNS);
    if (refused) {
        bool mine = event->status == KVF_ERR_CANCELLED;
        assert_true(mine || event->status == KVF_ERR_PEER);
        assert_true(!mine || (n->left && event->rank == rank));
        s->counts->refused++;
        p->outcome = WAS_REFUSED;
    } else if (event->status == KVF_OK) {
        assert_int_equal(event->rank, -1);
        s->counts->ended_well++;
        p->outcome = ENDED_WELL;
    } else {
        assert_int_equal(event->status, KVF_ERR_PEER);
        s->counts->ended_badly++;
        p->outcome = ENDED_BADLY;
    }
    p->fault = event->rank;
    memcpy(p->reason, event->reason, sizeof p->reason);
}

static void on_end(sim *s, int rank, const kvf__control_event *event) {
    node *n = &s->nodes[rank];
    n->end = *event;
    n->over_at = s->now;
    if (event->kind == KVF__CONTROL_QUIET) {
        assert_true(n->left);
        n->quiet = true;
        s->counts->quiet++;
    } else {
        assert_true(event->status != KVF_OK);
        assert_true(event->reason[0] != 0);
        n->broken = true;
        s->counts->broken++;
    }
    for (size_t i = 0; i < s->options.ops; i++) {
        part *p = &n->parts[i];
        if (p->outcome == OPEN || p->outcome == RUNS) {
            assert_true(n->broken);
            p->broken = true;
        }
    }
}

static void on_event(sim *s, int rank, const kvf__control_event *event) {
    node *n = &s->nodes[rank];
    assert_false(n->quiet || n->broken);
    switch (event->kind) {
    case KVF__CONTROL_READY:
        assert_false(n->ready);
        n->ready = true;
        for (size_t i = 0; i < sizeof event->payload; i++)
            assert_int_equal(event->payload[i], 0x5a);
        break;
    case KVF__CONTROL_STARTED:
        on_started(s, rank, event);
        break;
    case KVF__CONTROL_REFUSED:
    case KVF__CONTROL_ENDED:
        on_over(s, rank, event);
        break;
    case KVF__CONTROL_BROKEN:
    case KVF__CONTROL_QUIET:
        on_end(s, rank, event);
        break;
    }
}

static void pump(sim *s, int rank) {
    node *n = &s->nodes[rank];
    kvf__control_event event;
    unsigned char message[KVF_CHANNEL_BYTES];
    int to = -1;
    n->tick_at = kvf__control_tick(n->control, s->now);
    assert_true(n->tick_at > s->now);
    for (size_t bytes; (bytes = kvf__control_next_message(n->control, &to, message)) > 0;) {
        kvf__message read;
        assert_null(kvf__message_read(message, bytes, s->options.ranks, &read));
        assert_true(to != rank && (to == 0 || rank == 0));
        send_bytes(s, rank, to, message, bytes);
    }
    while (kvf__control_next_event(n->control, &event))
        on_event(s, rank, &event);
    const char *broken = kvf__control_check(n->control);
    if (broken)
        fail_msg("%s", broken);
}

/* What happens */

static void announce(sim *s, int rank, size_t index) {
    node *n = &s->nodes[rank];
    part *p = &n->parts[index];
    kvf__announcement a = announcement_of(s, index, rank);
    kvf_error error = {0};
    kvf_status status = KVF_ERR_NO_MEMORY;
    while (status == KVF_ERR_NO_MEMORY)
        status = kvf__control_announce(n->control, &a, s->now, &p->number, &error);
    p->announce_at = UINT64_MAX;
    if (status == KVF_OK)
        p->outcome = OPEN;
    else if (n->left)
        test_expect(KVF_ERR_CLOSED, status, &error);
    else
        test_expect(KVF_ERR_PEER, status, &error);
}

static void vote(sim *s, int rank, size_t index) {
    const sim_op *op = &s->ops[index];
    part *p = &s->nodes[rank].parts[index];
    bool bad = op->spoil == SIM_BAD_VOTE && op->spoiler == rank;
    p->vote_at = UINT64_MAX;
    kvf__control_vote(s->nodes[rank].control, p->number, bad ? KVF_ERR_ENGINE : KVF_OK,
                      bad ? "it caught fire" : NULL, s->now);
}

static void send_garbage(sim *s, int rank) {
    unsigned char garbage[] = {KVF__MESSAGE_VERSION, (unsigned char)below(s, 256), 1, 2, 3};
    for (int r = 0; r < s->options.ranks; r++)
        if (r != rank && (r == 0 || rank == 0)) {
            send_bytes(s, rank, r, garbage, 1 + below(s, sizeof garbage - 1));
            s->nodes[r].by_itself |= rank == 0;
        }
}

static void break_it(sim *s) {
    int culprit = s->options.culprit;
    node *n = &s->nodes[culprit];
    s->break_at = UINT64_MAX;
    if (!n->control || n->quiet || n->broken)
        return;
    s->happened = true;
    switch (s->options.breaks) {
    case SIM_DEATH:
    case SIM_LOSS:
        n->alive = false;
        for (int r = 0; s->options.breaks == SIM_LOSS && r < s->options.ranks; r++)
            if (r != culprit && s->nodes[r].alive && (r == 0 || culprit == 0)) {
                s->nodes[r].by_itself |= culprit == 0;
                kvf__control_lost(s->nodes[r].control, culprit, KVF_ERR_ENGINE, "lost", s->now);
                pump(s, r);
            }
        break;
    case SIM_CUT:
        n->by_itself = true;
        cut_off(s, culprit);
        break;
    case SIM_DOUBT:
        n->by_itself = true;
        kvf__control_doubt(n->control, culprit, KVF_ERR_ENGINE, "I doubt it", s->now);
        pump(s, culprit);
        break;
    case SIM_GARBAGE:
        send_garbage(s, culprit);
        break;
    case SIM_DESERTER:
        n->leave_at = s->now;
        break;
    default:
        break;
    }
}

/* Leaves once it has nothing to do. */
static void plan_leave(sim *s, int rank) {
    node *n = &s->nodes[rank];
    bool done = n->ready && !n->left && n->leave_at == UINT64_MAX;
    for (size_t i = 0; i < s->options.ops; i++)
        done = done && n->parts[i].announce_at == UINT64_MAX && n->parts[i].outcome != OPEN &&
               n->parts[i].outcome != RUNS;
    if (done)
        n->leave_at = s->now + below(s, SIM_TIMEOUT);
}

static void act(sim *s, int rank) {
    node *n = &s->nodes[rank];
    if (n->created_at <= s->now) {
        n->created_at = UINT64_MAX;
        create(s, rank);
    }
    if (!n->alive)
        return;
    for (size_t i = 0; i < s->options.ops; i++) {
        if (n->ready && n->parts[i].announce_at <= s->now)
            announce(s, rank, i);
        if (n->parts[i].vote_at <= s->now)
            vote(s, rank, i);
    }
    if (n->leave_at <= s->now && n->ready) {
        n->leave_at = UINT64_MAX;
        n->left = true;
        kvf__control_leave(n->control, s->now);
    }
    for (int r = 0; r < s->options.ranks; r++) {
        lane *l = &s->lanes[r][rank];
        while (l->first && l->first->arrives <= s->now) {
            packet *p = pop(l);
            kvf__control_receive(n->control, r, p->message, p->bytes, s->now);
            free(p);
        }
    }
    pump(s, rank);
    plan_leave(s, rank);
}

static uint64_t next_of(const sim *s, int rank) {
    const node *n = &s->nodes[rank];
    uint64_t next = n->created_at;
    if (!n->alive)
        return next;
    next = kvf__min(next, n->tick_at);
    next = kvf__min(next, n->ready ? n->leave_at : UINT64_MAX);
    for (size_t i = 0; i < s->options.ops; i++) {
        next = kvf__min(next, n->ready ? n->parts[i].announce_at : UINT64_MAX);
        next = kvf__min(next, n->parts[i].vote_at);
    }
    for (int r = 0; r < s->options.ranks; r++)
        if (s->lanes[r][rank].first)
            next = kvf__min(next, s->lanes[r][rank].first->arrives);
    return next;
}

static bool step(sim *s) {
    uint64_t next = s->break_at;
    int rank = -1;
    for (int r = 0; r < s->options.ranks; r++) {
        uint64_t at = next_of(s, r);
        if (at < next) {
            next = at;
            rank = r;
        }
    }
    if (next == UINT64_MAX)
        return false;
    s->now = next > s->now ? next : s->now;
    assert_true(s->now < s->limit);
    if (rank < 0)
        break_it(s);
    else
        act(s, rank);
    return true;
}

/* What must hold in the end */

/* Who is dead, or learned no more, says nothing about what the others saw. */
static bool is_witness(const sim *s, int rank) {
    const node *n = &s->nodes[rank];
    return n->control && n->alive && !n->by_itself;
}

/* Rank 0 decides: who outlives it knows what it could say. */
static bool is_rank_0_gone(const sim *s) {
    return s->happened && s->options.culprit == 0;
}

/* Where somebody never comes, others of an exchange may not meet, and be refused each for itself.
 */
static bool is_one(const sim *s, const sim_op *op) {
    return op->all || (!s->happened && op->spoil != SIM_ABSENT);
}

/* Two ranks of one operation. */
static void compare(const sim *s, const sim_op *op, const part *a, const part *b) {
    if (a->sequence > 0 && b->sequence > 0)
        assert_int_equal(a->sequence, b->sequence);
    if (is_rank_0_gone(s))
        return;
    assert_int_equal(a->outcome == ENDED_WELL, b->outcome == ENDED_WELL);
    if (a->broken || b->broken)
        return;
    assert_int_equal(a->outcome, b->outcome);
    if (s->options.breaks == SIM_DESERTER || !is_one(s, op))
        return;
    assert_int_equal(a->fault, b->fault);
    assert_string_equal(a->reason, b->reason);
}

static void check_agreement(const sim *s, size_t index) {
    const sim_op *op = &s->ops[index];
    const part *first = NULL;
    for (int r = 0; r < s->options.ranks; r++) {
        const part *p = &s->nodes[r].parts[index];
        if (!is_member(op, r) || !is_witness(s, r) || p->outcome == NOT_ANNOUNCED)
            continue;
        if (first)
            compare(s, op, first, p);
        first = p;
    }
}

/* In peace everything ends as planned. */
static void check_planned(const sim_op *op, const part *p) {
    switch (op->spoil) {
    case SIM_WELL:
        assert_int_equal(p->outcome, ENDED_WELL);
        break;
    case SIM_BAD_VOTE:
        assert_int_equal(p->outcome, ENDED_BADLY);
        assert_int_equal(p->fault, op->spoiler);
        assert_string_equal(p->reason, "it caught fire");
        break;
    case SIM_ABSENT:
    case SIM_LATE:
        assert_int_equal(p->outcome, WAS_REFUSED);
        assert_int_equal(p->fault, op->spoiler);
        assert_true(strncmp(p->reason, "late", 4) == 0 ||
                    (op->spoil == SIM_ABSENT && strcmp(p->reason, "has left the group") == 0));
        break;
    default: /* disagreement: if the spoiler was the lowest of them, another one differs from it */
        assert_int_equal(p->outcome, WAS_REFUSED);
        assert_true(p->fault >= op->spoiler && is_member(op, p->fault));
        assert_memory_equal(p->reason,
                            op->spoil == SIM_KIND     ? "kind"
                            : op->spoil == SIM_DIGEST ? "digest"
                                                      : "hands",
                            4);
        break;
    }
}

static void check_peace(const sim *s) {
    for (int r = 0; r < s->options.ranks; r++) {
        assert_true(s->nodes[r].quiet);
        for (size_t i = 0; i < s->options.ops; i++)
            if (s->nodes[r].parts[i].outcome != NOT_ANNOUNCED)
                check_planned(&s->ops[i], &s->nodes[r].parts[i]);
    }
}

/* Everybody has an end, and knows whose fault it is. */
static void check_ends(const sim *s) {
    int culprit = s->options.culprit;
    for (int r = 0; r < s->options.ranks; r++) {
        const node *n = &s->nodes[r];
        if (!n->control || !n->alive)
            continue;
        assert_true(n->quiet || n->broken);
        if (!n->broken)
            continue;
        assert_int_not_equal(s->options.breaks, SIM_DESERTER);
        assert_true(s->happened || s->options.breaks == SIM_NO_SHOW ||
                    s->options.breaks == SIM_OPTIONS || s->options.may_lack_memory);
        if (s->options.may_lack_memory)
            assert_int_equal(n->end.status, r == 0 ? KVF_ERR_NO_MEMORY : KVF_ERR_PEER);
        else if (s->options.breaks == SIM_CUT && r == culprit)
            assert_true(n->end.rank == (r == 0 ? n->end.rank : 0));
        else
            assert_int_equal(n->end.rank, culprit);
        if (s->options.breaks == SIM_NO_SHOW)
            assert_int_equal(n->end.status, KVF_ERR_TIMEOUT);
        else if (r != culprit && !(n->end.status == KVF_ERR_TIMEOUT && !n->ready))
            assert_int_equal(n->end.status, KVF_ERR_PEER);
    }
}

static void check_end(const sim *s) {
    bool peace = !s->happened && s->options.breaks != SIM_NO_SHOW &&
                 s->options.breaks != SIM_OPTIONS && !s->options.may_lack_memory;
    for (size_t i = 0; i < s->options.ops; i++)
        check_agreement(s, i);
    check_ends(s);
    if (peace)
        check_peace(s);
}

static void clean_up(sim *s) {
    for (int r = 0; r < s->options.ranks; r++) {
        kvf__control_destroy(s->nodes[r].control);
        for (int t = 0; t < s->options.ranks; t++)
            while (s->lanes[r][t].first)
                free(pop(&s->lanes[r][t]));
    }
}

void sim_run(const sim_options *options, sim_counts *counts) {
    sim *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->options = *options;
    s->random = test_random_make(options->seed);
    s->counts = counts;
    plan(s);
    while (step(s))
        ;
    check_end(s);
    clean_up(s);
    free(s);
}
