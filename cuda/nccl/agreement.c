/* What the ranks' entries in a gather say together: whether all agree, and who does not. */
#include "nccl/group.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(kvf__entry) == 64, "an entry has 64 bytes and no padding");

uint64_t kvf__entry_check(const kvf__entry *entry) {
    return XXH3_64bits(entry, offsetof(kvf__entry, check));
}

bool kvf__table_is_valid(const kvf__entry *table, int ranks, uint64_t gather) {
    for (int r = 0; r < ranks; r++)
        if (table[r].check != kvf__entry_check(&table[r]) || table[r].gather != gather)
            return false;
    return true;
}

static bool is_alike(const kvf__entry *a, const kvf__entry *b) {
    return a->turn == b->turn && a->kind == b->kind && a->where == b->where &&
           a->digest == b->digest && a->version == b->version;
}

/* The entry of the majority, if there is one (Boyer and Moore's majority vote), else rank 0's. */
static const kvf__entry *majority(const kvf__entry *table, int ranks) {
    const kvf__entry *candidate = table;
    int lead = 0, count = 0;
    for (int r = 0; r < ranks; r++) {
        if (lead == 0)
            candidate = &table[r];
        lead += is_alike(&table[r], candidate) ? 1 : -1;
    }
    for (int r = 0; r < ranks; r++)
        count += is_alike(&table[r], candidate);
    return 2 * count > ranks ? candidate : table;
}

static const char *describe_difference(const kvf__entry *a, const kvf__entry *b) {
    if (a->refused != 0)
        return kvf_status_text((kvf_status)a->refused);
    if (a->kind == KVF__TURN_LEAVE)
        return "has left";
    if (a->version != b->version)
        return "has another version of the library";
    if (a->kind != b->kind)
        return "submitted another kind of operation";
    if (a->where != b->where)
        return a->kind == KVF__TURN_JOIN ? "has other options"
                                         : "submitted another wire, layout or share";
    return "submitted another plan";
}

int kvf__table_find_odd_rank(const kvf__entry *table, int ranks, bool *all, bool *left,
                             const char **why) {
    const kvf__entry *most = majority(table, ranks);
    int bad = -1, leaver = -1;
    *all = true;
    *why = NULL;
    for (int r = 0; r < ranks; r++) {
        *all &= table[r].turn != 0;
        if (bad < 0 && (table[r].refused != 0 || !is_alike(&table[r], most)))
            bad = r;
        if (leaver < 0 && table[r].kind == KVF__TURN_LEAVE)
            leaver = r;
    }
    *left = leaver >= 0 && bad >= 0; /* if all leave, none is odd */
    if (*left)
        bad = leaver;
    if (bad >= 0)
        *why = describe_difference(&table[bad], most);
    return bad;
}

int kvf__table_find_failed_vote(const kvf__entry *table, int ranks) {
    for (int r = 0; r < ranks; r++)
        if (table[r].vote != KVF_OK)
            return r;
    return -1;
}

uint16_t kvf__table_least_offer(const kvf__entry *table, int ranks) {
    uint16_t least = table[0].offer;
    for (int r = 1; r < ranks; r++)
        least = (uint16_t)kvf__min(least, table[r].offer);
    return least;
}
