/** @file
 * Plans: which block goes where, as a view of two trackers.
 *
 * Making a plan allocates nothing, cannot fail and takes the same few nanoseconds at any size.
 */
#ifndef KVFERRY_PLAN_H
#define KVFERRY_PLAN_H

#include "assignments.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Pairs of ids at common positions: src_ids[i] and dst_ids[i] stand at first_position + i. An
 * empty plan has count 0 and NULL pointers.
 *
 * A plan points into its trackers and is valid as long as their views are (see kvf_view): until
 * extend, take_staged, truncate, drop_front, clear, reserve or destroy of either. A caller may fill
 * one with arrays of its own; `src_hashes` may then be NULL.
 */
typedef struct kvf_plan {
    uint64_t first_position;
    size_t count;
    const uint64_t *src_ids;
    const uint64_t *dst_ids;
    const kvf_hash *src_hashes;
} kvf_plan;

/** Pairs the assigned blocks of `a` (as source) and `b` over their common positions. */
KVF_API kvf_plan kvf_zip_assigned(const kvf_assignments *a, const kvf_assignments *b);

/** Pairs the assigned blocks of `src` with the pending ids of `dst` over their common positions:
 *  what to copy to fill `dst`. */
KVF_API kvf_plan kvf_zip_assigned_pending(const kvf_assignments *src, const kvf_assignments *dst);

/** The part of a plan inside the positions start <= p < end; empty where they do not meet. */
KVF_API kvf_plan kvf_plan_slice(kvf_plan plan, kvf_range positions);

#ifdef __cplusplus
}
#endif
#endif
