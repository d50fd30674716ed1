/** @file
 * Flights: staged blocks of a tracker whose content is on its way.
 *
 * A flight is opened by departing, which stages its blocks, and resolved once, by landing or
 * returning. Several may be open; they resolve in any order, but blocks become assigned in order:
 *
 *     assigned | flight 1 | own staged | flight 2 (landed) | flight 3 | pending
 *              ^ the fence passes flight 2 only once flight 1 and the own blocks have landed too
 *
 * Flights are pure bookkeeping: nothing is copied here, and tracker and engine may live in
 * different processes. kvferry/bound.h ties them to a transfer.
 *
 * @par Threads
 * All calls are calls on the tracker, see assignments.h.
 *
 * @par Ownership
 * A flight is a number, which nobody frees. Plans are read during the call.
 *
 * @par Lifetimes
 * A flight is open until it lands or returns, until an earlier one of its tracker returns, or until
 * the tracker is cleared. With a destroyed tracker it is gone, and no call may name it. Views and
 * plans of the tracker stay valid throughout.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others take NULL for
 * a tracker without flights.
 */
#ifndef KVFERRY_FLIGHT_H
#define KVFERRY_FLIGHT_H

#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Names a flight within its tracker; never used twice there, never 0. */
typedef uint64_t kvf_flight;

/**
 * Stages the plan's destination ids with the source's hashes and opens a flight over them.
 *
 * The plan comes from kvf_zip_assigned_pending (or is of its form): dst_ids are the first pending
 * ids of `dst`, in order.
 *
 * Errors: INVALID for NULL, an empty plan, one without hashes, or ids that are not the first
 * pending ones (`id`, `index`); GAP when it does not begin at next_position (`position`,
 * `expected`); POSITION_MISMATCH for a hash of another position (`position`, `expected`, `id` that
 * of the destination); LINEAGE when the first block's parent is not the tracker's last block
 * (unchecked while it holds none that is staged or assigned); NO_MEMORY.
 */
KVF_API kvf_status kvf_flight_depart(kvf_assignments *dst, const kvf_plan *plan, kvf_flight *flight,
                                     kvf_error *error);

/**
 * The flight's content is there. Commits every staged block with no open flight and no uncommitted
 * own block before it; `assigned`, when not NULL, gets the range of new indexes.
 * Errors: CLOSED when the flight was resolved before, returned with an earlier one, or detached by
 * clear; INVALID for NULL or a flight that never was.
 */
KVF_API kvf_status kvf_flight_land(kvf_assignments *dst, kvf_flight flight, kvf_range *assigned,
                                   kvf_error *error);

/**
 * The flight failed, but for its first `landed` blocks. These stay and count as landed; the
 * others, and everything staged behind them, go back to pending in order. Flights among those are
 * closed; whoever runs them should cancel and drain them before the ids are used for anything that
 * the copies' own order does not cover.
 * Errors: as kvf_flight_land; RANGE for `landed` above the flight's count.
 */
KVF_API kvf_status kvf_flight_return(kvf_assignments *dst, kvf_flight flight, size_t landed,
                                     kvf_error *error);

/** Whether the flight is still to be resolved. */
KVF_API bool kvf_flight_is_open(const kvf_assignments *dst, kvf_flight flight);

/** Flights still to be resolved. */
KVF_API size_t kvf_flight_open_count(const kvf_assignments *dst);

#ifdef __cplusplus
}
#endif
#endif
