/*
 * The block ids of a move: gathered from its plans, checked, sorted and cut into runs.
 *
 *     pairs (src>dst)   3>7 9>1 4>8 5>9 3>7     sorted by dst, equal ones once
 *     runs              9>1 | 3>7 4>8 5>9       each advances by one step on both sides
 */
#ifndef KVF_PAIRS_H
#define KVF_PAIRS_H

#include <kvferry/plan.h>

#include "base/allocator.h"

/* Block src + i * src_step goes to dst + i * dst_step, 0 <= i < count. dst_step is positive. Both
 * steps are 1 if count is 1. */
typedef struct kvf__run {
    uint32_t src, dst;
    uint32_t count;
    uint32_t start; /* pairs before this run */
    int32_t src_step, dst_step;
} kvf__run;

typedef struct kvf__runs {
    kvf__run *items;
    size_t count, capacity;
    size_t pairs;
} kvf__runs;

typedef struct kvf__pairs_spec {
    const kvf_plan *plans;
    size_t plan_count;
    size_t src_blocks, dst_blocks; /* at most KVF_MAX_BLOCKS */
    bool same_tier;
    /* Steps a run may have in addition to (1, 1): up to these sizes; on the source's side also
     * downwards, or none. */
    uint32_t max_src_step, max_dst_step;
    bool backwards, standing;
    /* Whether runs of (1, 1) are preferred to runs of other steps, or the reverse. */
    bool neighbours_first;
} kvf__pairs_spec;

/* Errors: those of kvf_move_create; nothing stays allocated. */
kvf_status kvf__pairs_to_runs(const kvf__pairs_spec *spec, const kvf_allocator *allocator,
                              kvf__runs *runs, kvf_error *error);

/* Sorts words by their upper halves, which are all below `bound`; stable. `spare` has room for as
 * many words. Returns the array with the result, one of the two. */
KVF__MODULES uint64_t *kvf__pairs_sort(uint64_t *words, uint64_t *spare, size_t count,
                                       size_t bound);

void kvf__runs_free(kvf__runs *runs, const kvf_allocator *allocator);

/* The run with the pair of this index, which is below runs->pairs. */
const kvf__run *kvf__runs_find(const kvf__runs *runs, size_t ordinal);

#endif
