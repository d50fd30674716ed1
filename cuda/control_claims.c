/* Claims meet: what they have to agree in, and which of them are one operation. */
#include "control_claims.h"

#include <stdio.h>
#include <string.h>

/* The lowest rank of a set; -1. */
static int lowest_rank(const kvf__first *f, const uint64_t *set) {
    for (size_t i = 0; i < f->words; i++)
        if (set[i] != 0)
            return (int)i * 64 + __builtin_ctzll(set[i]);
    return -1;
}

/* Claims */

static kvf__node *bucket_of(kvf__first *f, uint64_t tag) {
    return &f->buckets[(tag * UINT64_C(0x9e3779b97f4a7c15)) >> 56];
}

static void name_unmet(const kvf__first *f, kvf__claim *c) {
    for (int r = 0; c->all && r < f->ranks; r++)
        kvf__ranks_add(c->unmet, r);
    for (size_t i = 0; i < c->hand_count; i++)
        kvf__ranks_add(c->unmet, c->hands[i].peer);
    kvf__ranks_remove(c->unmet, c->rank);
    for (size_t i = 0; i < f->words; i++)
        c->unmet_count += (size_t)__builtin_popcountll(c->unmet[i]);
}

kvf__claim *kvf__claim_make(kvf__first *f, int rank, uint64_t number, const kvf__announcement *a) {
    size_t hands = a->hand_count * sizeof *a->hands;
    size_t bytes = sizeof(kvf__claim) + hands + f->words * sizeof(uint64_t);
    kvf__claim *c = kvf__alloc_zero(&f->allocator, 1, bytes);
    if (!c)
        return NULL;
    *c = (kvf__claim){.bytes = bytes,
                      .rank = rank,
                      .number = number,
                      .tag = a->tag,
                      .digest = {a->digest[0], a->digest[1]},
                      .kind = a->kind,
                      .all = a->all,
                      .hand_count = a->hand_count,
                      .unmet = (uint64_t *)(c + 1)};
    c->hands = (kvf__control_hand *)(c->unmet + f->words);
    memcpy(c->hands, a->hands, hands);
    name_unmet(f, c);
    return c;
}

void kvf__claim_free(kvf__first *f, kvf__claim *c) {
    if (!c)
        return;
    kvf__list_remove(&c->bucket);
    kvf__list_remove(&c->owed);
    f->remembered -= c->refused && c->unmet_count > 0;
    kvf__free(&f->allocator, c, 1, c->bytes);
}

static size_t deal_bytes(const kvf__first *f) {
    return sizeof(kvf__deal) + f->words * sizeof(uint64_t);
}

void kvf__deal_free(kvf__first *f, kvf__deal *d) {
    if (!d)
        return;
    for (kvf__claim *c = d->claims, *next; c; c = next) {
        next = c->next;
        kvf__claim_free(f, c);
    }
    kvf__list_remove(&d->time);
    kvf__free(&f->allocator, d, 1, deal_bytes(f));
}

kvf__deal *kvf__deal_make(kvf__first *f, kvf__claim *c, uint64_t now) {
    kvf__deal *d = kvf__alloc_zero(&f->allocator, 1, deal_bytes(f));
    if (!d)
        return NULL;
    d->since = now;
    d->claims = c;
    d->unmet = c->unmet_count;
    d->twice = d->at_odds = d->at_odds_with = -1;
    kvf__ranks_add(d->members, c->rank);
    c->deal = d;
    return d;
}

void kvf__claim_unname(kvf__first *f, kvf__claim *c, int rank) {
    if (!kvf__ranks_have(c->unmet, rank))
        return;
    kvf__ranks_remove(c->unmet, rank);
    c->deal->unmet--;
    if (--c->unmet_count > 0)
        return;
    kvf__list_remove(&c->bucket);
    f->remembered -= c->refused;
}

/* Agreement */

static bool same_kind(const kvf__claim *a, const kvf__claim *b) {
    return a->kind == b->kind && a->all == b->all;
}

static bool same_digest(const uint64_t a[2], const uint64_t b[2]) {
    return a[0] == b[0] && a[1] == b[1];
}

/* The next hand from `i` on of one direction between a claim's rank and another. */
static size_t next_hand(const kvf__claim *c, int peer, bool receives, size_t i) {
    while (i < c->hand_count && (c->hands[i].peer != peer || c->hands[i].receives != receives))
        i++;
    return i;
}

/* NULL, or why what one sends to another is not what that one receives from it. */
static const char *compare_hands(const kvf__claim *from, const kvf__claim *to) {
    size_t i = next_hand(from, to->rank, false, 0), j = next_hand(to, from->rank, true, 0);
    while (i < from->hand_count && j < to->hand_count) {
        if (!same_digest(from->hands[i].digest, to->hands[j].digest))
            return "hands: other blocks, hashes or layouts";
        i = next_hand(from, to->rank, false, i + 1);
        j = next_hand(to, from->rank, true, j + 1);
    }
    return i == from->hand_count && j == to->hand_count ? NULL : "hands: another number of them";
}

/* Notes in the deal of `a` whether two of its claims agree. They may be the same. */
static void compare(const kvf__claim *a, const kvf__claim *b) {
    kvf__deal *d = a->deal;
    const char *odds = compare_hands(a, b);
    if (!odds)
        odds = compare_hands(b, a);
    if (!odds && same_kind(a, b) && same_digest(a->digest, b->digest))
        return;
    d->disagrees = true;
    if (odds && d->at_odds < 0) {
        d->at_odds = a->rank > b->rank ? a->rank : b->rank;
        d->at_odds_with = a->rank > b->rank ? b->rank : a->rank;
        d->odds = odds;
    }
}

static const kvf__claim *lowest(const kvf__deal *d) {
    const kvf__claim *low = d->claims;
    for (const kvf__claim *c = d->claims; c; c = c->next)
        if (c->rank < low->rank)
            low = c;
    return low;
}

/* The lowest rank that differs from the lowest of all in kind, or in the digest; -1. */
static int find_different(const kvf__deal *d, const kvf__claim *low, bool by_kind) {
    int rank = -1;
    for (const kvf__claim *c = d->claims; c; c = c->next) {
        bool same = by_kind ? same_kind(low, c) : same_digest(low->digest, c->digest);
        if (!same && (rank < 0 || c->rank < rank))
            rank = c->rank;
    }
    return rank;
}

static kvf__fault name_disagreement(const kvf__deal *d) {
    char text[KVF__CONTROL_REASON];
    const kvf__claim *low = lowest(d);
    int with = low->rank;
    const char *what = "kind: another operation";
    int rank = find_different(d, low, true);
    if (rank < 0) {
        what = "digest: other plans, hashes or layouts";
        rank = find_different(d, low, false);
    }
    if (rank < 0) {
        what = d->odds;
        rank = d->at_odds;
        with = d->at_odds_with;
    }
    (void)snprintf(text, sizeof text, "%s than rank %d's", what, with);
    return kvf__fault_make(rank, KVF_ERR_PEER, text);
}

kvf__fault kvf__deal_judge(const kvf__deal *d) {
    if (d->disagrees)
        return name_disagreement(d);
    if (d->twice >= 0)
        return kvf__fault_make(d->twice, KVF_ERR_PEER,
                               "hands: two of its operations would be one of the others");
    return (kvf__fault){.rank = -1, .status = KVF_OK};
}

int kvf__deal_missing(const kvf__first *f, const kvf__deal *d) {
    int rank = -1;
    for (const kvf__claim *c = d->claims; c; c = c->next) {
        int r = lowest_rank(f, c->unmet);
        if (r >= 0 && (rank < 0 || r < rank))
            rank = r;
    }
    return rank;
}

/* Meeting */

static void merge(kvf__first *f, kvf__deal *a, kvf__deal *b) {
    bool keep_a =
        a->state == KVF__DEAL_REFUSED || (b->state != KVF__DEAL_REFUSED && a->since <= b->since);
    kvf__deal *keep = keep_a ? a : b, *drop = keep_a ? b : a;
    if (a == b)
        return;
    for (kvf__claim *c = drop->claims, *next; c; c = next) {
        next = c->next;
        c->deal = keep;
        c->next = keep->claims;
        keep->claims = c;
    }
    for (size_t i = 0; i < f->words; i++) {
        uint64_t both = keep->members[i] & drop->members[i];
        if (both != 0 && keep->twice < 0)
            keep->twice = (int)i * 64 + __builtin_ctzll(both);
        keep->members[i] |= drop->members[i];
    }
    if (keep->twice < 0)
        keep->twice = drop->twice;
    keep->disagrees |= drop->disagrees;
    if (keep->at_odds < 0) {
        keep->at_odds = drop->at_odds;
        keep->at_odds_with = drop->at_odds_with;
        keep->odds = drop->odds;
    }
    keep->unmet += drop->unmet;
    keep->untold += drop->untold;
    drop->claims = NULL;
    kvf__deal_free(f, drop);
}

void kvf__claim_meet(kvf__first *f, kvf__claim *c) {
    kvf__node *bucket = bucket_of(f, c->tag);
    compare(c, c);
    for (kvf__node *n = bucket->next, *next; n != bucket; n = next) {
        kvf__claim *other = n->owner;
        next = n->next;
        if (other->tag != c->tag || !kvf__ranks_have(c->unmet, other->rank) ||
            !kvf__ranks_have(other->unmet, c->rank))
            continue;
        kvf__claim_unname(f, c, other->rank);
        kvf__claim_unname(f, other, c->rank);
        merge(f, c->deal, other->deal);
        compare(c, other);
    }
    if (c->unmet_count > 0)
        kvf__list_append(bucket, &c->bucket, c);
}
