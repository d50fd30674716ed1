/** @file
 * Plans: which source block goes into which destination block, as a view of two assignments
 * objects.
 *
 * Making a plan allocates nothing and takes the same few nanoseconds at any size.
 *
 * @par Threads
 * Making a plan is a call on both assignments objects, see assignments.h. Slicing a plan is pure.
 *
 * @par Ownership
 * A plan is a value that owns nothing: it points into the assignments, or into arrays of the
 * caller's.
 *
 * @par Lifetimes
 * A plan is valid as long as views of both assignments objects are, see assignments.h.
 *
 * @par Errors
 * Nothing here can fail. Both assignments objects are required.
 */
#ifndef KVFERRY_PLAN_H
#define KVFERRY_PLAN_H

#include "assignments.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Pairs of block ids at common positions: src_ids[i] and dst_ids[i] are the ids at position
 * first_position + i. An empty plan has count 0 and NULL pointers.
 *
 * The caller may also fill in a plan with its own arrays; `src_hashes` may then be NULL.
 */
typedef struct kvf_plan {
    uint64_t first_position;    /**< Absolute position of the first pair, in blocks. */
    size_t count;               /**< Number of pairs. */
    const uint64_t *src_ids;    /**< [count] Ids of the blocks to read. */
    const uint64_t *dst_ids;    /**< [count] Ids of the blocks to write. */
    const kvf_hash *src_hashes; /**< [count] Lineage hashes of the blocks to read. */
} kvf_plan;

/** Pairs the assigned blocks of `a`, as source, with those of `b` over their common positions. */
KVF_API kvf_plan kvf_zip_assigned(const kvf_assignments *a, const kvf_assignments *b);

/** Pairs the assigned blocks of `src` with the pending ids of `dst` over their common positions:
 *  what to copy to fill `dst`. */
KVF_API kvf_plan kvf_zip_assigned_pending(const kvf_assignments *src, const kvf_assignments *dst);

/** The part of a plan within `positions`, start <= p < end; empty if they do not overlap. */
KVF_API kvf_plan kvf_plan_slice(kvf_plan plan, kvf_range positions);

#ifdef __cplusplus
}
#endif
#endif
