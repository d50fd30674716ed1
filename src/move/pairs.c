#include "move/pairs.h"

#include "track/idset.h"

#include <assert.h>
#include <string.h>

/* Two ids in one word, so that sorting the words sorts by destination, then by source. */
typedef uint64_t pair;

static pair make_pair(uint64_t src, uint64_t dst) {
    return dst << 32 | src;
}

static uint32_t src_of(pair p) {
    return (uint32_t)p;
}

static uint32_t dst_of(pair p) {
    return (uint32_t)(p >> 32);
}

/* The error for the first id of a plan that exceeds its layout's blocks. */
static kvf_status out_of_range(const kvf__pairs_spec *spec, size_t plan, kvf_error *error) {
    const kvf_plan *p = &spec->plans[plan];
    for (size_t i = 0; i < p->count; i++) {
        bool src = p->src_ids[i] >= spec->src_blocks;
        if (!src && p->dst_ids[i] < spec->dst_blocks)
            continue;
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .fields = KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX |
                                   KVF_ERROR_EXPECTED,
                         .id = src ? p->src_ids[i] : p->dst_ids[i], .index = plan, .other_index = i,
                         .expected = src ? spec->src_blocks : spec->dst_blocks,
                         .what = src ? "source id exceeds the layout's blocks"
                                     : "destination id exceeds the layout's blocks");
    }
    return KVF_ERR_RANGE;
}

static kvf_status count_pairs(const kvf__pairs_spec *spec, size_t *count, kvf_error *error) {
    *count = 0;
    for (size_t i = 0; i < spec->plan_count; i++) {
        const kvf_plan *p = &spec->plans[i];
        if (p->count > 0 && (!p->src_ids || !p->dst_ids))
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .fields = KVF_ERROR_INDEX,
                             .index = i, .what = "the plan's ids are NULL");
        if (!kvf__add(*count, p->count, count))
            return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "too many blocks");
    }
    return KVF_OK;
}

/* Writes all pairs. `*sorted`: whether the destinations ascend strictly. */
static kvf_status gather(const kvf__pairs_spec *spec, pair *pairs, bool *sorted, kvf_error *error) {
    size_t at = 0;
    bool ascending = true;
    uint64_t last = 0; /* destination + 1, so that 0 may come first */
    for (size_t i = 0; i < spec->plan_count; i++) {
        const kvf_plan *p = &spec->plans[i];
        bool inside = true;
        for (size_t k = 0; k < p->count; k++) {
            uint64_t src = p->src_ids[k], dst = p->dst_ids[k];
            inside &= src < spec->src_blocks && dst < spec->dst_blocks;
            ascending &= dst >= last;
            last = dst + 1;
            pairs[at++] = make_pair(src, dst);
        }
        if (!inside)
            return out_of_range(spec, i, error);
    }
    *sorted = ascending;
    return KVF_OK;
}

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, FEW = 64 };

static void insertion_sort(pair *pairs, size_t count) {
    for (size_t i = 1; i < count; i++) {
        pair p = pairs[i];
        size_t at = i;
        for (; at > 0 && pairs[at - 1] > p; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = p;
    }
}

/* One pass of a radix sort on the destinations. */
static void scatter(const pair *from, pair *to, size_t count, unsigned shift) {
    uint32_t next[DIGITS] = {0};
    for (size_t i = 0; i < count; i++)
        next[from[i] >> shift & (DIGITS - 1)]++;
    uint32_t sum = 0;
    for (size_t d = 0; d < DIGITS; d++) {
        uint32_t here = next[d];
        next[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[next[from[i] >> shift & (DIGITS - 1)]++] = from[i];
}

uint64_t *kvf__pairs_sort(uint64_t *words, uint64_t *spare, size_t count, size_t bound) {
    for (unsigned bit = 0; bit < 32 && (bound - 1) >> bit != 0; bit += DIGIT_BITS) {
        scatter(words, spare, count, 32 + bit);
        uint64_t *swap = words;
        words = spare;
        spare = swap;
    }
    return words;
}

/* Drops repeated pairs; the pairs are sorted. */
static kvf_status unite(pair *pairs, size_t *count, kvf_error *error) {
    size_t kept = 1;
    for (size_t i = 1; i < *count; i++) {
        pair last = pairs[kept - 1];
        if (dst_of(pairs[i]) != dst_of(last))
            pairs[kept++] = pairs[i];
        else if (pairs[i] != last)
            return KVF__FAIL(error, .status = KVF_ERR_CONFLICT,
                             .fields = KVF_ERROR_ID | KVF_ERROR_OTHER_ID, .id = dst_of(last),
                             .other_id = src_of(pairs[i]),
                             .what = "two sources have the same destination");
    }
    *count = kept;
    return KVF_OK;
}

static kvf_status check_same_tier(const pair *pairs, size_t count, const kvf_allocator *allocator,
                                  kvf_error *error) {
    kvf__idset destinations = {0};
    kvf_status status = KVF_OK;
    for (size_t i = 0; i < count && status == KVF_OK; i++) {
        bool no_memory;
        uint64_t dst = dst_of(pairs[i]);
        kvf__idset_add(&destinations, allocator, &dst, 1, &no_memory);
        if (no_memory)
            status = KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    for (size_t i = 0; i < count && status == KVF_OK; i++)
        if (kvf__idset_contains(&destinations, src_of(pairs[i])))
            status = KVF__FAIL(error, .status = KVF_ERR_CONFLICT, .fields = KVF_ERROR_ID,
                               .id = src_of(pairs[i]),
                               .what = "a block id is both source and destination");
    kvf__idset_free(&destinations, allocator);
    return status;
}

typedef struct step {
    int32_t src, dst;
} step;

static step step_between(pair a, pair b) {
    return (step){(int32_t)(src_of(b) - src_of(a)), (int32_t)(dst_of(b) - dst_of(a))};
}

static bool is_next(step s) {
    return s.src == 1 && s.dst == 1;
}

static bool same(step a, step b) {
    return a.src == b.src && a.dst == b.dst;
}

static bool may_stride(const kvf__pairs_spec *spec, step s) {
    uint32_t size = s.src < 0 ? 0u - (uint32_t)s.src : (uint32_t)s.src;
    return !is_next(s) && size <= spec->max_src_step && (uint32_t)s.dst <= spec->max_dst_step &&
           (s.src > 0 || (s.src < 0 && spec->backwards) || (s.src == 0 && spec->standing));
}

static bool may_run(const kvf__pairs_spec *spec, step s) {
    return is_next(s) || may_stride(spec, s);
}

/* How many pairs from `at` on form one run of step `s`. Leaves out the last one if it can start a
 * run of a preferred step. */
static size_t run_length(const kvf__pairs_spec *spec, const pair *pairs, size_t count, size_t at,
                         step s) {
    size_t end = at + 1;
    while (end < count && same(step_between(pairs[end - 1], pairs[end]), s))
        end++;
    if (end == count || is_next(s) == spec->neighbours_first)
        return end - at;
    step following = step_between(pairs[end - 1], pairs[end]);
    bool better = spec->neighbours_first ? is_next(following) : may_stride(spec, following);
    return end - at - better;
}

static bool append(kvf__runs *runs, const kvf_allocator *allocator, pair first, size_t count,
                   step s) {
    if (!kvf__grow(allocator, &runs->items, &runs->capacity, runs->count + 1, sizeof *runs->items))
        return false;
    if (count == 1)
        s = (step){1, 1};
    runs->items[runs->count++] = (kvf__run){
        .src = src_of(first),
        .dst = dst_of(first),
        .count = (uint32_t)count,
        .start = (uint32_t)runs->pairs,
        .src_step = s.src,
        .dst_step = s.dst,
    };
    runs->pairs += count;
    return true;
}

static kvf_status cut(const kvf__pairs_spec *spec, const pair *pairs, size_t count,
                      const kvf_allocator *allocator, kvf__runs *runs, kvf_error *error) {
    for (size_t at = 0; at < count;) {
        size_t length = 1;
        step s = {1, 1};
        if (at + 1 < count) {
            s = step_between(pairs[at], pairs[at + 1]);
            length = may_run(spec, s) ? run_length(spec, pairs, count, at, s) : 1;
        }
        if (!append(runs, allocator, pairs[at], length, s)) {
            kvf__runs_free(runs, allocator);
            return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
        }
        at += length;
    }
    return KVF_OK;
}

/* Sorts, unites, checks and cuts the pairs. `pairs` has room for twice `count`. */
static kvf_status lower(const kvf__pairs_spec *spec, pair *pairs, size_t count, bool sorted,
                        const kvf_allocator *allocator, kvf__runs *runs, kvf_error *error) {
    if (!sorted && count <= FEW)
        insertion_sort(pairs, count);
    else if (!sorted)
        pairs = kvf__pairs_sort(pairs, pairs + count, count, spec->dst_blocks);
    kvf_status status = sorted ? KVF_OK : unite(pairs, &count, error);
    if (status == KVF_OK && spec->same_tier)
        status = check_same_tier(pairs, count, allocator, error);
    if (status == KVF_OK)
        status = cut(spec, pairs, count, allocator, runs, error);
    return status;
}

kvf_status kvf__pairs_to_runs(const kvf__pairs_spec *spec, const kvf_allocator *allocator,
                              kvf__runs *runs, kvf_error *error) {
    *runs = (kvf__runs){0};
    size_t count, room;
    kvf_status status = count_pairs(spec, &count, error);
    if (status != KVF_OK || count == 0)
        return status;
    if (count > UINT32_MAX || !kvf__mul(count, 2, &room))
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "too many blocks");
    pair *pairs = kvf__alloc(allocator, room, sizeof *pairs);
    if (!pairs)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    bool sorted = false;
    status = gather(spec, pairs, &sorted, error);
    if (status == KVF_OK)
        status = lower(spec, pairs, count, sorted, allocator, runs, error);
    kvf__free(allocator, pairs, room, sizeof *pairs);
    return status;
}

void kvf__runs_free(kvf__runs *runs, const kvf_allocator *allocator) {
    kvf__free(allocator, runs->items, runs->capacity, sizeof *runs->items);
    *runs = (kvf__runs){0};
}

const kvf__run *kvf__runs_find(const kvf__runs *runs, size_t ordinal) {
    assert(ordinal < runs->pairs);
    size_t low = 0, high = runs->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (runs->items[middle].start <= ordinal)
            low = middle;
        else
            high = middle;
    }
    return &runs->items[low];
}
