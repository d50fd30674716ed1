/** @file
 * Assignments: which block id is at which position of a sequence.
 *
 * An assignments object is one queue of block ids with two fences. Ids enter at the back and move
 * forward:
 *
 *     ids     [ a a a a a a | s s s | p p p p p ]     hashes next to ids up to staged_end
 *               assigned     staged   pending
 *
 * The assigned id at index i has position offset + i; staged and pending ids follow.
 *
 *  - pending: allocated, without content (the reference says "unassigned");
 *  - staged: hash known, content on its way or not committed yet;
 *  - assigned: content has arrived.
 *
 * The reference is ExternalBlockAssignments of kvbm-logical 1.2.1; operations that it has give the
 * same results here.
 *
 * @par Threads
 * An assignments object belongs to one owner: calls on it must not overlap in time. Making a plan
 * of it (plan.h), opening or resolving its flights (flight.h), and submitting, polling, waiting for
 * or releasing what fills it (bound.h, nccl.h) are calls on it, too.
 *
 * @par Ownership
 * The caller destroys what create and clone return. Ids and hashes passed in are copied; a kvf_view
 * shows the object's own. Ids only name blocks: no call here frees a block.
 *
 * @par Lifetimes
 * A view, and a plan made of it, is valid until a call that may move or drop ids, whether or not
 * that call succeeds: extend, take_staged, truncate, drop_front, clear, reserve, destroy. Staging,
 * committing, rolling back, departing, landing and returning move no id, but change which phase ids
 * are in. Assignments may be cleared or destroyed while content is on its way: their flights are
 * detached, the pairs of bound transfers that fill them end as CLOSED, and wire operations continue
 * as if they had no assignments to fill. A destroyed object keeps some bytes allocated until those
 * transfers and operations are released.
 *
 * @par Errors
 * As in status.h: a call does everything it says or, if it fails, nothing. Functions that return a
 * status answer INVALID for NULL; functions that only read must not be passed NULL.
 */
#ifndef KVFERRY_ASSIGNMENTS_H
#define KVFERRY_ASSIGNMENTS_H

#include "sequence.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The block ids of one sequence in one tier. */
typedef struct kvf_assignments kvf_assignments;

/** The phase of an id. */
typedef enum kvf_phase {
    KVF_PHASE_NONE,     /**< The id is unknown. */
    KVF_PHASE_ASSIGNED, /**< Its content has arrived. */
    KVF_PHASE_STAGED,   /**< Its content is on its way, or not committed yet. */
    KVF_PHASE_PENDING,  /**< It has no content yet. */
} kvf_phase;

/**
 * The blocks of one phase, in order: ids[count] and, except for pending blocks, hashes[count]. The
 * block at index i has position first_position + i.
 */
typedef struct kvf_view {
    const uint64_t *ids;     /**< NULL if there are none. */
    const kvf_hash *hashes;  /**< NULL for pending blocks, and if there are none. */
    size_t count;            /**< Blocks of the phase. */
    uint64_t first_position; /**< Position of the first block, or where one would be. */
} kvf_view;

/** Options of kvf_assignments_create: zero-initialise, then set what differs. */
typedef struct kvf_assignments_options {
    uint64_t offset;                /**< Position of the first block. */
    kvf_hash_layout layout;         /**< Layout of the hashes, for lineage checks; default v1.2. */
    const kvf_allocator *allocator; /**< NULL: malloc. */
} kvf_assignments_options;

/** Makes an empty object. `options` NULL: all zero. Errors: INVALID for a NULL `out` or an unknown
 *  layout; NO_MEMORY. */
KVF_API kvf_status kvf_assignments_create(const kvf_assignments_options *options,
                                          kvf_assignments **out, kvf_error *error);

/** Frees the object. Open flights are detached: their bound transfers find them CLOSED. Does
 *  nothing for NULL. */
KVF_API void kvf_assignments_destroy(kvf_assignments *assignments);

/** Makes an independent copy with the same allocator. Errors: INVALID; BUSY while a flight is open,
 *  since its blocks can land in one object only; NO_MEMORY. */
KVF_API kvf_status kvf_assignments_clone(const kvf_assignments *assignments, kvf_assignments **out,
                                         kvf_error *error);

/** @name Reading
 *  @{ */

/** Position of the first block. */
KVF_API uint64_t kvf_assignments_offset(const kvf_assignments *assignments);

/** The hash layout that lineage checks assume. */
KVF_API kvf_hash_layout kvf_assignments_hash_layout(const kvf_assignments *assignments);

/** Number of assigned blocks. */
KVF_API size_t kvf_assignments_assigned_count(const kvf_assignments *assignments);
/** Number of staged blocks. */
KVF_API size_t kvf_assignments_staged_count(const kvf_assignments *assignments);
/** Number of pending blocks. */
KVF_API size_t kvf_assignments_pending_count(const kvf_assignments *assignments);

/** Position of the first pending block: offset + assigned + staged. */
KVF_API uint64_t kvf_assignments_next_position(const kvf_assignments *assignments);

/** Absolute positions of the assigned blocks. */
KVF_API kvf_range kvf_assignments_assigned_positions(const kvf_assignments *assignments);
/** Absolute positions of the staged blocks. */
KVF_API kvf_range kvf_assignments_staged_positions(const kvf_assignments *assignments);
/** Absolute positions reserved for the pending blocks. */
KVF_API kvf_range kvf_assignments_pending_positions(const kvf_assignments *assignments);

/** The assigned blocks. */
KVF_API kvf_view kvf_assignments_assigned(const kvf_assignments *assignments);
/** The staged blocks. */
KVF_API kvf_view kvf_assignments_staged(const kvf_assignments *assignments);
/** The pending blocks, which have no hashes. */
KVF_API kvf_view kvf_assignments_pending(const kvf_assignments *assignments);

/** Whether the id is in any phase. Constant time. */
KVF_API bool kvf_assignments_contains(const kvf_assignments *assignments, uint64_t id);

/** The phase of an id and its index in that phase. `index` may be NULL, and is not written for
 *  KVF_PHASE_NONE. Constant time for an unknown id, linear for a known one. */
KVF_API kvf_phase kvf_assignments_find(const kvf_assignments *assignments, uint64_t id,
                                       size_t *index);

/** Reads the assigned block at an index of its phase. Returns false, and writes nothing, if there
 *  is none. `id` and `hash` may be NULL. */
KVF_API bool kvf_assignments_get_assigned(const kvf_assignments *assignments, size_t index,
                                          uint64_t *id, kvf_hash *hash);
/** Reads the staged block at an index of its phase; otherwise as kvf_assignments_get_assigned. */
KVF_API bool kvf_assignments_get_staged(const kvf_assignments *assignments, size_t index,
                                        uint64_t *id, kvf_hash *hash);
/** Reads the assigned block at an absolute position; otherwise as kvf_assignments_get_assigned. */
KVF_API bool kvf_assignments_get_at_position(const kvf_assignments *assignments, uint64_t position,
                                             uint64_t *id, kvf_hash *hash);
/** Reads the pending id whose block will have an absolute position; otherwise as
 *  kvf_assignments_get_assigned. */
KVF_API bool kvf_assignments_get_pending_at_position(const kvf_assignments *assignments,
                                                     uint64_t position, uint64_t *id);

/** Writes the reference's debug text, with its word "unassigned" for pending. Returns the length as
 *  snprintf does. */
KVF_API int kvf_assignments_format(const kvf_assignments *assignments, char *buffer, size_t size);

/** Bytes that the object occupies, including itself. */
KVF_API size_t kvf_assignments_memory(const kvf_assignments *assignments);

/** @}
 *  @name The reference's operations
 *  @{ */

/**
 * Appends new ids to pending. `ids` is the whole ordered list of ids allocated so far, or its end:
 * the known ids, in whatever phase, come first and are skipped.
 *
 * Errors, for the first offender in list order: ORDERING_VIOLATION for a known id after a new one,
 * DUPLICATE_BLOCK_ID for a new id that occurs twice; then RANGE if positions would exceed 2^64 - 1;
 * NO_MEMORY, as soon as memory runs out; INVALID.
 */
KVF_API kvf_status kvf_assignments_extend_block_ids(kvf_assignments *assignments,
                                                    const uint64_t *ids, size_t count,
                                                    kvf_error *error);

/**
 * Appends blocks whose content has arrived to the assigned ones, ahead of the staged and pending
 * blocks, whose positions grow by `count`. Hashes are not checked. The arrays must not be the
 * object's own.
 *
 * Errors: DUPLICATE_BLOCK_ID for the first id that is known or occurs twice; RANGE; BUSY while a
 * flight is open; NO_MEMORY; INVALID.
 */
KVF_API kvf_status kvf_assignments_extend_assigned(kvf_assignments *assignments,
                                                   const uint64_t *ids, const kvf_hash *hashes,
                                                   size_t count, kvf_error *error);

/**
 * Stages pending ids with the hashes of a whole sequence: hashes[i] is the hash of position i,
 * whatever the offset. Stages as many blocks as there are both pending ids and hashes from
 * next_position on, possibly none. `staged`, if not NULL, receives the range of their indexes among
 * the staged blocks.
 *
 * Errors: POSITION_MISMATCH for the first hash that is not at its own position; INVALID.
 */
KVF_API kvf_status kvf_assignments_stage_pending(kvf_assignments *assignments,
                                                 const kvf_hash *hashes, size_t count,
                                                 kvf_range *staged, kvf_error *error);

/** As kvf_assignments_stage_pending, except that hashes[0] is the hash of next_position. */
KVF_API kvf_status kvf_assignments_stage_next(kvf_assignments *assignments, const kvf_hash *hashes,
                                              size_t count, kvf_range *staged, kvf_error *error);

/**
 * Commits all staged blocks. While flights are open, marks the caller's own staged blocks as landed
 * and commits those that have no open flight before them. Returns the range of the committed
 * blocks' indexes among the assigned blocks.
 */
KVF_API kvf_range kvf_assignments_commit_staged(kvf_assignments *assignments);

/** kvf_assignments_stage_pending, then kvf_assignments_commit_staged, whose range `assigned`
 *  receives if it is not NULL. Errors: those of kvf_assignments_stage_pending. */
KVF_API kvf_status kvf_assignments_assign_pending(kvf_assignments *assignments,
                                                  const kvf_hash *hashes, size_t count,
                                                  kvf_range *assigned, kvf_error *error);

/**
 * Removes all staged blocks and forgets their ids; the pending ids take over their positions. `ids`
 * and `hashes`, each either NULL or an array of `capacity`, receive the blocks in order; `count`,
 * if not NULL, receives their number. Errors: RANGE if `capacity` is too small for an array that is
 * passed; BUSY while a flight is open; INVALID.
 */
KVF_API kvf_status kvf_assignments_take_staged(kvf_assignments *assignments, uint64_t *ids,
                                               kvf_hash *hashes, size_t capacity, size_t *count,
                                               kvf_error *error);

/** Forgets every block and keeps the offset. Open flights are detached: resolving one later is
 *  CLOSED. Does nothing for NULL. */
KVF_API void kvf_assignments_clear(kvf_assignments *assignments);

/** @}
 *  @name Beyond the reference
 *  @{ */

/** Returns the newest `count` staged blocks to the front of pending, in order. Errors: RANGE for
 *  more than are staged; BUSY if an open flight is among them; INVALID. */
KVF_API kvf_status kvf_assignments_rollback_staged(kvf_assignments *assignments, size_t count,
                                                   kvf_error *error);

/** Commits the oldest `count` staged blocks, and the blocks directly after them that have landed.
 *  Errors: RANGE for more than are staged; BUSY if an open flight is among them; INVALID. */
KVF_API kvf_status kvf_assignments_commit_oldest(kvf_assignments *assignments, size_t count,
                                                 kvf_error *error);

/**
 * Drops every block at or after `position`, in whatever phase, and forgets its id: read the views
 * first if the ids are to be freed. A position past the end drops nothing.
 * Errors: RANGE for a position before the offset; BUSY if it would cut an open flight; INVALID.
 */
KVF_API kvf_status kvf_assignments_truncate(kvf_assignments *assignments, uint64_t position,
                                            kvf_error *error);

/**
 * Drops the first `count` assigned blocks and forgets their ids (a sliding window). The others keep
 * their positions: the offset grows by `count`.
 * Errors: RANGE for more than are assigned; INVALID.
 */
KVF_API kvf_status kvf_assignments_drop_front(kvf_assignments *assignments, size_t count,
                                              kvf_error *error);

/** Makes room for `count` blocks in total, whatever their ids, so that growing to that count cannot
 *  run out of memory. Errors: INVALID, RANGE, NO_MEMORY. */
KVF_API kvf_status kvf_assignments_reserve(kvf_assignments *assignments, size_t count,
                                           kvf_error *error);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
