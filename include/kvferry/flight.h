/** @file
 * Flights: staged blocks whose content is on its way.
 *
 * Departing opens a flight and stages its blocks. The flight is resolved once, by landing or
 * returning. Several flights of one assignments object may be open and resolve in any order, but
 * blocks become assigned in order:
 *
 *     assigned | flight 1 | own staged | flight 2 (landed) | flight 3 | pending
 *              ^ the fence passes flight 2 only once flight 1 and the own blocks have landed too
 *
 * "Own" are blocks that the caller staged without a flight (kvf_assignments_stage_pending); they
 * land when the caller commits them.
 *
 * Flights are pure bookkeeping: nothing is copied here, so the assignments and the engine may live
 * in different processes. kvferry/bound.h ties flights to a transfer.
 *
 * @par Threads
 * Every call here is a call on the assignments, see assignments.h.
 *
 * @par Ownership
 * A flight is a number; nothing has to be freed. Plans are read during the call.
 *
 * @par Lifetimes
 * A flight is open until it lands or returns, until an earlier flight of the same assignments
 * returns, or until the assignments are cleared. Destroying the assignments ends their flights; no
 * call may name these afterwards. Views and plans of the assignments stay valid throughout.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others treat NULL as
 * assignments without flights.
 */
#ifndef KVFERRY_FLIGHT_H
#define KVFERRY_FLIGHT_H

#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Names a flight within its assignments object. Never 0, and never reused there. */
typedef uint64_t kvf_flight;

/**
 * Stages the plan's destination ids with the source's hashes and opens a flight over them.
 *
 * The plan comes from kvf_zip_assigned_pending or has the same form: its dst_ids are the first
 * pending ids of `dst`, in order.
 *
 * Errors: INVALID for NULL, an empty plan, a plan without hashes, or ids that are not the first
 * pending ones (`id`, `index`); GAP if the plan does not start at next_position (`position`,
 * `expected`); POSITION_MISMATCH for a hash of another position (`position`, `expected`; `id` is
 * the destination's); LINEAGE if the first block's parent is not the last block of `dst` (not
 * checked while `dst` has no staged or assigned block); NO_MEMORY.
 */
KVF_API kvf_status kvf_flight_depart(kvf_assignments *dst, const kvf_plan *plan, kvf_flight *flight,
                                     kvf_error *error);

/**
 * Marks the flight's content as arrived. Commits every staged block that has no open flight and no
 * uncommitted block of the caller's before it; `assigned`, if not NULL, receives the range of their
 * indexes among the assigned blocks.
 * Errors: CLOSED if the flight was resolved before, returned with an earlier one, or was detached
 * by clear; INVALID for NULL or a flight that never existed.
 */
KVF_API kvf_status kvf_flight_land(kvf_assignments *dst, kvf_flight flight, kvf_range *assigned,
                                   kvf_error *error);

/**
 * Ends a flight that failed after its first `landed` blocks. These blocks stay and count as landed.
 * The others, and everything staged after them, go back to pending, in order. Flights among those
 * are closed, but their copies may still run: cancel them and wait for their end before the ids are
 * used for anything that the engine does not order after these copies. Errors: those of
 * kvf_flight_land; RANGE if `landed` exceeds the flight's count.
 */
KVF_API kvf_status kvf_flight_return(kvf_assignments *dst, kvf_flight flight, size_t landed,
                                     kvf_error *error);

/** Whether the flight is still open. */
KVF_API bool kvf_flight_is_open(const kvf_assignments *dst, kvf_flight flight);

/** Number of open flights. */
KVF_API size_t kvf_flight_open_count(const kvf_assignments *dst);

#ifdef __cplusplus
}
#endif
#endif
