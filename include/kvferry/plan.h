/** @file
 * Plans: which block goes where, as a view of two trackers.
 *
 * Making a plan allocates nothing and takes the same few nanoseconds at any size.
 *
 * @par Threads
 * Making a plan is a call on both trackers, see assignments.h. Slicing one is pure.
 *
 * @par Ownership
 * A plan is a value that owns nothing: it points into its trackers, or into arrays of the caller's
 * own.
 *
 * @par Lifetimes
 * A plan is valid as long as views of both its trackers are, see assignments.h.
 *
 * @par Errors
 * Nothing here can fail. Making a plan needs both trackers.
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
 * A caller may fill one with arrays of its own; `src_hashes` may then be NULL.
 */
typedef struct kvf_plan {
    uint64_t first_position;    /**< That of the first pair. */
    size_t count;               /**< Pairs. */
    const uint64_t *src_ids;    /**< [count] ids of blocks to read. */
    const uint64_t *dst_ids;    /**< [count] ids of blocks to write. */
    const kvf_hash *src_hashes; /**< [count], of what is read. */
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
