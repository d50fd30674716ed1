/** @file
 * The block assignment tracker: which block id stands at which position of a sequence.
 *
 * A tracker is one queue of block ids with two fences. Ids enter at the back and move forward:
 *
 *     ids     [ a a a a a a | s s s | p p p p p ]     hashes beside ids up to staged_end
 *               assigned     staged   pending
 *
 * Index i of the assigned ids stands at position offset + i; staged and pending ids follow.
 *
 *  - pending: allocated, no content yet (the reference says "unassigned");
 *  - staged: content on its way or not yet committed, hash known;
 *  - assigned: content there.
 *
 * Behaviour of the reference's operations is that of kvbm-logical 1.2.1, ExternalBlockAssignments.
 *
 * @par Threads
 * A tracker belongs to one owner: calls on it must not overlap in time. Making a plan of it
 * (plan.h), resolving its flights (flight.h) and finishing what fills it (bound.h, nccl.h) are
 * calls on it, too.
 *
 * @par Ownership
 * Whoever is given a tracker, by create or clone, destroys it. Ids and hashes given to it are
 * copied; a kvf_view shows its own. Ids only name blocks: a tracker frees none.
 *
 * @par Lifetimes
 * A view, and a plan made of it, is valid until a call that may move or drop ids, whether or not it
 * succeeds: extend, take_staged, truncate, drop_front, clear, reserve, destroy. Staging,
 * committing, rolling back, departing, landing and returning move no id, but change what is in
 * which phase. A tracker may be cleared or destroyed while content is on its way: its flights are
 * detached, and bound transfers and operations of wires that fill it end as CLOSED, or as they do
 * without it. Some bytes of a destroyed tracker stay allocated until these are released.
 *
 * @par Errors
 * As in status.h: each call does all of what it says or, with an error, nothing. Functions that
 * return a status answer INVALID for NULL; the others that read need a tracker.
 */
#ifndef KVFERRY_ASSIGNMENTS_H
#define KVFERRY_ASSIGNMENTS_H

#include "sequence.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A tracker. */
typedef struct kvf_assignments kvf_assignments;

/** Where an id is. */
typedef enum kvf_phase {
    KVF_PHASE_NONE,     /**< Not in the tracker. */
    KVF_PHASE_ASSIGNED, /**< Its content is there. */
    KVF_PHASE_STAGED,   /**< Its content is on its way, or not yet committed. */
    KVF_PHASE_PENDING,  /**< It has no content yet. */
} kvf_phase;

/**
 * The blocks of one phase, in order: ids[count] and, but for pending ones, hashes[count]. The
 * block at index i stands at first_position + i.
 */
typedef struct kvf_view {
    const uint64_t *ids;     /**< NULL when there are none. */
    const kvf_hash *hashes;  /**< NULL for pending blocks, and when there are none. */
    size_t count;            /**< Blocks of the phase. */
    uint64_t first_position; /**< That of the first block, or where one would stand. */
} kvf_view;

/** Options of kvf_assignments_create: zero-initialise, then set what differs. */
typedef struct kvf_assignments_options {
    uint64_t offset;                /**< Position of the first block. */
    kvf_hash_layout layout;         /**< Of the hashes, for lineage checks; default v1.2. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_assignments_options;

/** Makes an empty tracker. `options` NULL: all zero. Errors: INVALID for a NULL `out` or an unknown
 *  layout; NO_MEMORY. */
KVF_API kvf_status kvf_assignments_create(const kvf_assignments_options *options,
                                          kvf_assignments **out, kvf_error *error);

/** Frees the tracker. Open flights are detached: bound transfers learn that they are CLOSED. NULL
 * is fine. */
KVF_API void kvf_assignments_destroy(kvf_assignments *assignments);

/** An independent copy with the same allocator. Errors: INVALID; BUSY while a flight is open (its
 *  blocks can land in one tracker only); NO_MEMORY. */
KVF_API kvf_status kvf_assignments_clone(const kvf_assignments *assignments, kvf_assignments **out,
                                         kvf_error *error);

/** @name Reading
 *  @{ */

/** Position of the first block. */
KVF_API uint64_t kvf_assignments_offset(const kvf_assignments *assignments);

/** Whose hashes lineage checks take them for. */
KVF_API kvf_hash_layout kvf_assignments_hash_layout(const kvf_assignments *assignments);

/** Number of assigned blocks. */
KVF_API size_t kvf_assignments_assigned_count(const kvf_assignments *assignments);
/** Number of staged blocks. */
KVF_API size_t kvf_assignments_staged_count(const kvf_assignments *assignments);
/** Number of pending blocks. */
KVF_API size_t kvf_assignments_pending_count(const kvf_assignments *assignments);

/** offset + assigned + staged: where the first pending block goes. */
KVF_API uint64_t kvf_assignments_next_position(const kvf_assignments *assignments);

/** Absolute positions of the assigned blocks. */
KVF_API kvf_range kvf_assignments_assigned_positions(const kvf_assignments *assignments);
/** Absolute positions of the staged blocks. */
KVF_API kvf_range kvf_assignments_staged_positions(const kvf_assignments *assignments);
/** Absolute positions at which the pending blocks are to stand. */
KVF_API kvf_range kvf_assignments_pending_positions(const kvf_assignments *assignments);

/** The assigned blocks. */
KVF_API kvf_view kvf_assignments_assigned(const kvf_assignments *assignments);
/** The staged blocks. */
KVF_API kvf_view kvf_assignments_staged(const kvf_assignments *assignments);
/** The pending blocks, which have no hashes. */
KVF_API kvf_view kvf_assignments_pending(const kvf_assignments *assignments);

/** Whether the id is in any phase. Constant time. */
KVF_API bool kvf_assignments_contains(const kvf_assignments *assignments, uint64_t id);

/** The phase of an id and its index there (`index` may be NULL; untouched for KVF_PHASE_NONE).
 *  Constant time for an absent id, linear for one that is there. */
KVF_API kvf_phase kvf_assignments_find(const kvf_assignments *assignments, uint64_t id,
                                       size_t *index);

/** The assigned block at an index of its phase. false when there is none; then nothing is written.
 *  `id` and `hash` may be NULL. */
KVF_API bool kvf_assignments_get_assigned(const kvf_assignments *assignments, size_t index,
                                          uint64_t *id, kvf_hash *hash);
/** As kvf_assignments_get_assigned, of the staged blocks. */
KVF_API bool kvf_assignments_get_staged(const kvf_assignments *assignments, size_t index,
                                        uint64_t *id, kvf_hash *hash);
/** As kvf_assignments_get_assigned, at an absolute position. */
KVF_API bool kvf_assignments_get_at_position(const kvf_assignments *assignments, uint64_t position,
                                             uint64_t *id, kvf_hash *hash);
/** The pending id that is to stand at an absolute position; otherwise as
 *  kvf_assignments_get_assigned. */
KVF_API bool kvf_assignments_get_pending_at_position(const kvf_assignments *assignments,
                                                     uint64_t position, uint64_t *id);

/** The reference's debug text, with its word "unassigned" for pending. Returns the length as
 *  snprintf does. */
KVF_API int kvf_assignments_format(const kvf_assignments *assignments, char *buffer, size_t size);

/** Bytes the tracker holds, itself included. */
KVF_API size_t kvf_assignments_memory(const kvf_assignments *assignments);

/** @}
 *  @name The reference's operations
 *  @{ */

/**
 * `ids` is the whole ordered list of the ids allocated so far, or its end: those known already, in
 * whatever phase, come first and are skipped; the new ones are appended to pending.
 *
 * Errors, the first offender in list order: ORDERING_VIOLATION for a known id behind a new one,
 * DUPLICATE_BLOCK_ID for a new id that comes twice; then RANGE when positions would pass 2^64 - 1;
 * NO_MEMORY, as soon as there is none; INVALID.
 */
KVF_API kvf_status kvf_assignments_extend_block_ids(kvf_assignments *assignments,
                                                    const uint64_t *ids, size_t count,
                                                    kvf_error *error);

/**
 * Appends blocks whose content is there to assigned, before staged and pending ones, whose
 * positions move up. Hashes are taken as they are. The arrays must not be the tracker's own.
 *
 * Errors: DUPLICATE_BLOCK_ID for the first id that is known or comes twice; RANGE; BUSY while a
 * flight is open; NO_MEMORY; INVALID.
 */
KVF_API kvf_status kvf_assignments_extend_assigned(kvf_assignments *assignments,
                                                   const uint64_t *ids, const kvf_hash *hashes,
                                                   size_t count, kvf_error *error);

/**
 * Stages pending ids with the hashes of a whole sequence: hashes[i] is position i's, whatever the
 * tracker's offset. As many as there are pending ids and hashes from next_position on; none is
 * fine. `staged`, when not NULL, gets the range of new indexes in the staged blocks.
 *
 * Errors: POSITION_MISMATCH for the first hash that stands elsewhere than its own position says;
 * INVALID.
 */
KVF_API kvf_status kvf_assignments_stage_pending(kvf_assignments *assignments,
                                                 const kvf_hash *hashes, size_t count,
                                                 kvf_range *staged, kvf_error *error);

/** Stages as kvf_assignments_stage_pending, but hashes[0] is that of next_position. */
KVF_API kvf_status kvf_assignments_stage_next(kvf_assignments *assignments, const kvf_hash *hashes,
                                              size_t count, kvf_range *staged, kvf_error *error);

/**
 * Commits all staged blocks. With flights open, the caller's own staged blocks are marked as
 * landed, and those with no open flight before them are committed. Returns the range of new
 * indexes in the assigned blocks.
 */
KVF_API kvf_range kvf_assignments_commit_staged(kvf_assignments *assignments);

/** kvf_assignments_stage_pending, then kvf_assignments_commit_staged; `assigned`, when not NULL,
 *  gets the latter's range. Errors: those of stage_pending. */
KVF_API kvf_status kvf_assignments_assign_pending(kvf_assignments *assignments,
                                                  const kvf_hash *hashes, size_t count,
                                                  kvf_range *assigned, kvf_error *error);

/**
 * Removes all staged blocks and forgets their ids. `ids` and `hashes`, when not NULL, get them in
 * order and hold `capacity` each; `count`, when not NULL, gets how many there were. Pending ids
 * move up.
 * Errors: RANGE when `capacity` is too small for an array that is given; BUSY while a flight is
 * open; INVALID.
 */
KVF_API kvf_status kvf_assignments_take_staged(kvf_assignments *assignments, uint64_t *ids,
                                               kvf_hash *hashes, size_t capacity, size_t *count,
                                               kvf_error *error);

/** Forgets every block; the offset stays. Open flights are detached: who resolves one later learns
 *  CLOSED. NULL is fine. */
KVF_API void kvf_assignments_clear(kvf_assignments *assignments);

/** @}
 *  @name Beyond the reference
 *  @{ */

/** Returns the newest `count` staged blocks to the front of pending, in order.
 *  Errors: RANGE for more than are staged; BUSY when an open flight is among them; INVALID. */
KVF_API kvf_status kvf_assignments_rollback_staged(kvf_assignments *assignments, size_t count,
                                                   kvf_error *error);

/** Commits the oldest `count` staged blocks, and what has landed right behind them. Errors: RANGE
 * for more than are staged; BUSY when an open flight is among them; INVALID. */
KVF_API kvf_status kvf_assignments_commit_oldest(kvf_assignments *assignments, size_t count,
                                                 kvf_error *error);

/**
 * Drops every block at `position` or behind it, whatever its phase, and forgets its id: read the
 * views first when the ids are to be freed. A position past the end drops nothing.
 * Errors: RANGE for a position before the offset; BUSY when it would cut an open flight; INVALID.
 */
KVF_API kvf_status kvf_assignments_truncate(kvf_assignments *assignments, uint64_t position,
                                            kvf_error *error);

/**
 * Drops the first `count` assigned blocks and forgets their ids (a sliding window); the others
 * keep their positions: the offset grows by `count`.
 * Errors: RANGE for more than are assigned; INVALID.
 */
KVF_API kvf_status kvf_assignments_drop_front(kvf_assignments *assignments, size_t count,
                                              kvf_error *error);

/** Makes room for `count` blocks in all, whatever their ids, so that reaching that count cannot
 *  run out of memory. Errors: INVALID, RANGE, NO_MEMORY. */
KVF_API kvf_status kvf_assignments_reserve(kvf_assignments *assignments, size_t count,
                                           kvf_error *error);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
