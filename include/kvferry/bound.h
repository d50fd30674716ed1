/** @file
 * Bound transfers: a transfer tied to the assignments it fills.
 *
 * Submitting departs a flight for each pair; poll or wait lands or returns it when the transfer has
 * ended. So a block is assigned only once its last byte has landed.
 *
 * @par Threads
 * Submit, poll, wait, result and release are calls on the assignments that the transfer fills, see
 * assignments.h; submit is also a call on those it reads. The owner of the assignments makes these
 * calls and needs no lock, since no other call changes them. Cancelling, and asking for the
 * underlying transfer, may happen on any thread.
 *
 * @par Ownership
 * The caller releases every bound transfer that it receives. Pairs are read during submit. The
 * underlying transfer is not the caller's to release.
 *
 * @par Lifetimes
 * Sources are needed during submit only. Destinations may be cleared or destroyed at any time:
 * their flights are detached. Releasing a bound transfer that has not ended cancels it, waits for
 * its end, and lands or returns the flights accordingly.
 *
 * @par Errors
 * As in transfer.h. Errors found before anything is enqueued come from submit, and no assignments
 * have changed then; later ones come from poll, wait and result.
 */
#ifndef KVFERRY_BOUND_H
#define KVFERRY_BOUND_H

#include "flight.h"
#include "transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A transfer with a flight for each of its pairs. */
typedef struct kvf_bound kvf_bound;

/** One sequence: the assigned blocks of `src` go to the pending ids of `dst`. */
typedef struct kvf_pair {
    const kvf_assignments *src; /**< Has the content. */
    kvf_assignments *dst;       /**< Is to be filled. */
    size_t max_blocks;          /**< 0: as many as possible. */
} kvf_pair;

/**
 * Plans every pair with kvf_zip_assigned_pending, departs the flights and submits one transfer of
 * all layers. All or nothing: after an error no assignments have changed. A pair with nothing to
 * move is allowed and lands 0 blocks. `options` as in kvf_transfer_submit, with the layer range
 * left 0.
 *
 * Errors: those of kvf_flight_depart and kvf_transfer_submit, with `index` naming the pair if the
 * pair is at fault; CONFLICT for two pairs with the same destination; UNSUPPORTED for tiers of
 * several layouts, since a transfer moves one of them. For those, depart a flight, submit one
 * transfer per layout with a common completion, and resolve the flight when the completion has
 * ended.
 */
KVF_API kvf_status kvf_bound_submit(kvf_tier *src, kvf_tier *dst, const kvf_pair *pairs,
                                    size_t pair_count, const kvf_submit_options *options,
                                    kvf_bound **out, kvf_error *error);

/**
 * Returns PENDING or the result; the flights have then landed or returned. A pair whose flight was
 * closed before that (an earlier flight of the destination failed, or the destination was cleared
 * or destroyed) ends as CLOSED; if this holds for all pairs, the call cancels the transfer. The
 * result is the transfer's. But if that is OK or CANCELLED and a pair ended as CLOSED, the result
 * is CLOSED, and `index` names the first of these pairs.
 */
KVF_API kvf_status kvf_bound_poll(kvf_bound *bound, kvf_error *error);

/** As kvf_bound_poll, but waits up to `timeout_us` (see kvf_transfer_wait). Errors: TIMEOUT, else
 *  as kvf_bound_poll. */
KVF_API kvf_status kvf_bound_wait(kvf_bound *bound, int64_t timeout_us, kvf_error *error);

/** Cancels as kvf_transfer_cancel does, without waiting; poll or wait reports the end. */
KVF_API void kvf_bound_cancel(kvf_bound *bound);

/** The result of one pair: PENDING, OK if all its blocks landed (even if the transfer failed),
 *  CLOSED, or the transfer's error. `landed`, if not NULL, receives the number of its blocks that
 *  landed; 0 while PENDING. They become assigned once everything before them has landed, too; if an
 *  earlier flight of the destination fails, they return to pending with it. Errors: RANGE for an
 *  unknown pair. */
KVF_API kvf_status kvf_bound_result(const kvf_bound *bound, size_t pair, size_t *landed);

/** The underlying transfer, for waiting on layers and for statistics. Valid until release. */
KVF_API kvf_transfer *kvf_bound_transfer(kvf_bound *bound);

/** Releases the bound transfer, see Lifetimes. Does nothing for NULL. */
KVF_API void kvf_bound_release(kvf_bound *bound);

#ifdef __cplusplus
}
#endif
#endif
