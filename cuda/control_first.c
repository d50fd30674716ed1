/* Rank 0's side: claims meet, start in one order everywhere, and are voted on. */
#include "control_claims.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MOST_REMEMBERED = 1 << 14 }; /* refused claims that somebody has not come to */

/* Life */

static size_t first_bytes(int ranks) {
    return sizeof(kvf__first) + (size_t)ranks * sizeof(kvf__member);
}

kvf__first *kvf__first_create(int ranks, uint64_t timeout_ns, const kvf_allocator *allocator) {
    kvf__first *f = kvf__alloc_zero(allocator, 1, first_bytes(ranks));
    if (!f)
        return NULL;
    f->allocator = *allocator;
    f->ranks = ranks;
    f->words = ((size_t)ranks + 63) / 64;
    f->timeout = timeout_ns;
    kvf__list_empty(&f->waiting);
    kvf__list_empty(&f->fronts);
    kvf__list_empty(&f->refused);
    for (size_t i = 0; i < KVF__TAG_BUCKETS; i++)
        kvf__list_empty(&f->buckets[i]);
    for (int r = 0; r < ranks; r++) {
        kvf__list_empty(&f->members[r].owed);
        f->members[r].last_told = &f->members[r].told;
    }
    return f;
}

/* A deal that has ended is only in queues, and one that was started is owed by somebody. */
void kvf__first_destroy(kvf__first *f) {
    kvf__message message;
    if (!f)
        return;
    for (int r = 0; r < f->ranks; r++)
        while (kvf__first_next(f, r, &message))
            ;
    while (!kvf__list_is_empty(&f->waiting))
        kvf__deal_free(f, f->waiting.next->owner);
    while (!kvf__list_is_empty(&f->refused))
        kvf__deal_free(f, f->refused.next->owner);
    for (int r = 0; r < f->ranks; r++)
        while (!kvf__list_is_empty(&f->members[r].owed))
            kvf__deal_free(f, ((kvf__claim *)f->members[r].owed.next->owner)->deal);
    kvf__free(&f->allocator, f, 1, first_bytes(f->ranks));
}

/* Telling */

static void tell(kvf__first *f, kvf__claim *c, kvf__message_type what) {
    kvf__member *m = &f->members[c->rank];
    assert(c->told == 0);
    c->told = what;
    c->next_told = NULL;
    *m->last_told = c;
    m->last_told = &c->next_told;
    c->deal->untold++;
}

/* Frees what nobody has to hear of any more. */
static void forget(kvf__first *f, kvf__deal *d) {
    if (d->untold == 0 &&
        (d->state == KVF__DEAL_ENDED || (d->state == KVF__DEAL_REFUSED && d->unmet == 0)))
        kvf__deal_free(f, d);
}

/* Who leaves gets CANCELLED for it, the others PEER. */
static kvf__fault fault_for(const kvf__deal *d, int rank) {
    kvf__fault fault = d->fault;
    if (fault.status == KVF_ERR_CANCELLED && fault.rank != rank)
        fault.status = KVF_ERR_PEER;
    return fault;
}

bool kvf__first_next(kvf__first *f, int rank, kvf__message *message) {
    kvf__member *m = &f->members[rank];
    kvf__claim *c = m->told;
    if (!c)
        return false;
    *message = (kvf__message){.type = c->told,
                              .number = c->number,
                              .sequence = c->deal->sequence,
                              .fault = fault_for(c->deal, rank)};
    m->told = c->next_told;
    if (!m->told)
        m->last_told = &m->told;
    c->told = 0;
    c->deal->untold--;
    forget(f, c->deal);
    return true;
}

/* Ends */

/* Refuses those of a deal who have not heard of it. */
static void refuse(kvf__first *f, kvf__deal *d, const kvf__fault *fault) {
    if (d->state != KVF__DEAL_REFUSED) {
        d->fault = *fault;
        d->state = KVF__DEAL_REFUSED;
        kvf__list_remove(&d->time);
        kvf__list_append(&f->refused, &d->time, d);
    }
    for (kvf__claim *c = d->claims; c; c = c->next) {
        if (c->refused)
            continue;
        c->refused = true;
        f->remembered += c->unmet_count > 0;
        f->members[c->rank].open--;
        f->open--;
        tell(f, c, KVF__REFUSED);
    }
}

/* The clock of a deal runs while everybody who owes a vote on it owes nothing before it. */
static void check_front(kvf__first *f, kvf__deal *d, uint64_t now) {
    if (d->in_front != d->owing || d->time.next)
        return;
    d->since = now;
    kvf__list_append(&f->fronts, &d->time, d);
}

static void start(kvf__first *f, kvf__deal *d, uint64_t now) {
    d->state = KVF__DEAL_STARTED;
    d->sequence = ++f->sequence;
    kvf__list_remove(&d->time);
    for (kvf__claim *c = d->claims; c; c = c->next) {
        kvf__node *owed = &f->members[c->rank].owed;
        d->owing++;
        d->in_front += kvf__list_is_empty(owed);
        kvf__list_append(owed, &c->owed, c);
        tell(f, c, KVF__STARTED);
    }
    check_front(f, d, now);
}

static void end(kvf__first *f, kvf__deal *d) {
    d->state = KVF__DEAL_ENDED;
    kvf__list_remove(&d->time);
    if (d->fault.status == KVF_OK)
        d->fault.rank = -1;
    for (kvf__claim *c = d->claims; c; c = c->next) {
        f->members[c->rank].open--;
        f->open--;
        tell(f, c, KVF__ENDED);
    }
}

/* Announcing */

/* Those who have left will not come any more. Returns the lowest of them that is waited for; -1. */
static int strike_out_left(kvf__first *f, kvf__claim *c) {
    int rank = -1;
    for (int r = f->ranks - 1; f->left > 0 && r >= 0; r--)
        if (f->members[r].left && kvf__ranks_have(c->unmet, r)) {
            kvf__claim_unname(f, c, r);
            rank = r;
        }
    return rank;
}

static kvf__fault fault_of_left(int rank) {
    return kvf__fault_make(rank, KVF_ERR_CANCELLED, "has left the group");
}

/* What becomes of a deal that a claim has joined. */
static void settle(kvf__first *f, kvf__deal *d, int left, uint64_t now) {
    if (d->state == KVF__DEAL_REFUSED) {
        refuse(f, d, &d->fault);
        return;
    }
    kvf__fault fault = kvf__deal_judge(d);
    if (fault.status == KVF_OK && left >= 0)
        fault = fault_of_left(left);
    if (fault.status != KVF_OK)
        refuse(f, d, &fault);
    else if (d->unmet == 0)
        start(f, d, now);
    else if (!d->time.next)
        kvf__list_append(&f->waiting, &d->time, d);
}

static bool is_beyond_limit(const kvf__first *f, int rank, kvf__fault *fault) {
    if (f->members[rank].open >= KVF__CONTROL_OPEN) {
        *fault = kvf__fault_make(rank, KVF_ERR_PEER, "announces more than may be open");
        return true;
    }
    if (f->remembered < MOST_REMEMBERED)
        return false;
    int missing = -1; /* at the oldest */
    for (const kvf__node *n = f->refused.next; missing < 0 && n != &f->refused; n = n->next)
        missing = kvf__deal_missing(f, n->owner);
    *fault = kvf__fault_make(missing, KVF_ERR_PEER, "has not come to very many operations");
    return true;
}

kvf_status kvf__first_announce(kvf__first *f, int rank, uint64_t number,
                               const kvf__announcement *announcement, uint64_t now,
                               kvf__fault *fault) {
    assert(!f->members[rank].left);
    if (is_beyond_limit(f, rank, fault))
        return KVF_ERR_RANGE;
    kvf__claim *c = kvf__claim_make(f, rank, number, announcement);
    if (!c)
        return KVF_ERR_NO_MEMORY;
    if (!kvf__deal_make(f, c, now)) {
        kvf__claim_free(f, c);
        return KVF_ERR_NO_MEMORY;
    }
    f->members[rank].open++;
    f->open++;
    kvf__claim_meet(f, c);
    int left = strike_out_left(f, c);
    settle(f, c->deal, left, now);
    return KVF_OK;
}

/* Voting */

static kvf__claim *find_owed(const kvf__member *m, uint64_t number) {
    for (const kvf__node *n = m->owed.next; n != &m->owed; n = n->next) {
        kvf__claim *c = n->owner;
        if (c->number == number)
            return c->told == 0 ? c : NULL; /* it cannot know of it yet */
    }
    return NULL;
}

bool kvf__first_vote(kvf__first *f, int rank, uint64_t number, const kvf__fault *vote,
                     uint64_t now) {
    kvf__member *m = &f->members[rank];
    kvf__claim *c = find_owed(m, number);
    if (!c)
        return false;
    kvf__deal *d = c->deal;
    bool was_first = m->owed.next == &c->owed;
    kvf__list_remove(&c->owed);
    d->owing--;
    if (was_first) {
        d->in_front--;
        if (!kvf__list_is_empty(&m->owed)) {
            kvf__deal *behind = ((kvf__claim *)m->owed.next->owner)->deal;
            behind->in_front++;
            check_front(f, behind, now);
        }
    }
    if (vote->status != KVF_OK && d->fault.status == KVF_OK)
        d->fault = kvf__fault_make(rank, KVF_ERR_PEER, vote->reason);
    if (d->owing == 0)
        end(f, d);
    else
        check_front(f, d, now);
    return true;
}

/* Leaving */

static bool concerns(const kvf__deal *d, int rank) {
    bool yes = kvf__ranks_have(d->members, rank);
    for (const kvf__claim *c = d->claims; c && !yes; c = c->next)
        yes = kvf__ranks_have(c->unmet, rank);
    return yes;
}

void kvf__first_leave(kvf__first *f, int rank) {
    kvf__fault fault = fault_of_left(rank);
    assert(!f->members[rank].left);
    f->members[rank].left = true;
    f->left++;
    for (kvf__node *n = f->waiting.next, *next; n != &f->waiting; n = next) {
        next = n->next;
        if (concerns(n->owner, rank))
            refuse(f, n->owner, &fault);
    }
    for (size_t i = 0; i < KVF__TAG_BUCKETS; i++)
        for (kvf__node *n = f->buckets[i].next, *next; n != &f->buckets[i]; n = next) {
            next = n->next;
            kvf__claim_unname(f, n->owner, rank);
        }
    for (kvf__node *n = f->refused.next, *next; n != &f->refused; n = next) {
        next = n->next;
        forget(f, n->owner);
    }
}

bool kvf__first_has_left(const kvf__first *f, int rank) {
    return f->members[rank].left;
}

bool kvf__first_is_gone(const kvf__first *f, int rank) {
    return f->members[rank].left && kvf__list_is_empty(&f->members[rank].owed);
}

bool kvf__first_is_quiet(const kvf__first *f) {
    return f->left == (size_t)f->ranks && f->open == 0;
}

/* Time */

static kvf__fault fault_of_votes(const kvf__deal *d) {
    int rank = -1;
    size_t others = d->owing - 1;
    char text[KVF__CONTROL_REASON];
    for (const kvf__claim *c = d->claims; c; c = c->next)
        if (c->owed.next && (rank < 0 || c->rank < rank))
            rank = c->rank;
    if (others == 0)
        (void)snprintf(text, sizeof text, "late: has not voted in time");
    else
        (void)snprintf(text, sizeof text, "late: has not voted in time, nor have %zu others",
                       others);
    return kvf__fault_make(rank, KVF_ERR_PEER, text);
}

/* When the first deal of a list is late. */
static uint64_t deadline(const kvf__first *f, const kvf__node *list) {
    return kvf__list_is_empty(list) ? UINT64_MAX
                                    : ((const kvf__deal *)list->next->owner)->since + f->timeout;
}

bool kvf__first_tick(kvf__first *f, uint64_t now, uint64_t *next, kvf__fault *fault) {
    if (now >= deadline(f, &f->fronts)) {
        *fault = fault_of_votes(f->fronts.next->owner);
        return true;
    }
    while (now >= deadline(f, &f->waiting)) {
        kvf__deal *d = f->waiting.next->owner;
        kvf__fault late = kvf__fault_make(kvf__deal_missing(f, d), KVF_ERR_PEER,
                                          "late: has not announced the operation in time");
        refuse(f, d, &late);
    }
    *next = kvf__min(deadline(f, &f->fronts), deadline(f, &f->waiting));
    return false;
}

/* Invariants */

static const char *check_deal(const kvf__deal *d, kvf__deal_state state, size_t *remembered) {
    size_t unmet = 0, untold = 0;
    if (d->state != state)
        return "a deal is in another's list";
    for (const kvf__claim *c = d->claims; c; c = c->next) {
        unmet += c->unmet_count;
        untold += c->told != 0;
        *remembered += c->refused && c->unmet_count > 0;
        if (c->deal != d || (c->bucket.next != NULL) != (c->unmet_count > 0))
            return "a claim is not where it belongs";
    }
    if (d->unmet != unmet || d->untold != untold)
        return "a deal's counts";
    if (state == KVF__DEAL_WAITING && unmet == 0)
        return "a deal waits for nobody";
    if (state == KVF__DEAL_REFUSED && unmet == 0 && untold == 0)
        return "a deal that nobody needs";
    if (state == KVF__DEAL_STARTED && (d->owing == 0 || d->in_front != d->owing))
        return "a clock that must not run";
    return NULL;
}

static const char *check_list(const kvf__node *list, kvf__deal_state state, size_t *remembered) {
    const char *broken = NULL;
    uint64_t since = 0;
    for (const kvf__node *n = list->next; n != list && !broken; n = n->next) {
        const kvf__deal *d = n->owner;
        broken = check_deal(d, state, remembered);
        if (state != KVF__DEAL_REFUSED && d->since < since)
            broken = "deals are not in the order of their time";
        since = d->since;
    }
    return broken;
}

/* What a rank owes is in the order of the start, and the first of all has its clock running. */
static const char *check_owed(const kvf__first *f) {
    const kvf__deal *oldest = NULL;
    for (int r = 0; r < f->ranks; r++) {
        uint64_t sequence = 0;
        const kvf__node *owed = &f->members[r].owed;
        for (const kvf__node *n = owed->next; n != owed; n = n->next) {
            const kvf__deal *d = ((const kvf__claim *)n->owner)->deal;
            if (d->state != KVF__DEAL_STARTED || d->sequence <= sequence)
                return "what a rank owes";
            if (!oldest || d->sequence < oldest->sequence)
                oldest = d;
            sequence = d->sequence;
        }
    }
    return oldest && !oldest->time.next ? "no clock runs" : NULL;
}

const char *kvf__first_check(const kvf__first *f) {
    size_t remembered = 0, open = 0, left = 0;
    for (int r = 0; r < f->ranks; r++) {
        open += f->members[r].open;
        left += f->members[r].left;
    }
    if (open != f->open || left != f->left)
        return "counts of all ranks";
    const char *broken = check_list(&f->waiting, KVF__DEAL_WAITING, &remembered);
    if (!broken)
        broken = check_list(&f->fronts, KVF__DEAL_STARTED, &remembered);
    if (!broken)
        broken = check_list(&f->refused, KVF__DEAL_REFUSED, &remembered);
    if (!broken && remembered != f->remembered)
        broken = "count of what is remembered";
    return broken ? broken : check_owed(f);
}
