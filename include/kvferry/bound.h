/** @file
 * Bound transfers: a transfer tied to the trackers it fills.
 *
 * Submitting departs, finishing lands or returns: a block is assigned only once its last byte has
 * landed.
 *
 * @par Threads
 * Submit, poll, wait, result and release are calls on the trackers that it fills, see
 * assignments.h, and submit is one on those that it reads: their owner makes them, and needs no
 * lock, since trackers change in no other call. Cancelling, and asking for the transfer below, may
 * be done from any thread.
 *
 * @par Ownership
 * Whoever is given a bound transfer releases it. Pairs are read during submit. The transfer below
 * is not the caller's to release.
 *
 * @par Lifetimes
 * Sources are needed during submit only. Destinations may be cleared or destroyed at any time:
 * their flights detach. Releasing what is not over cancels it, waits for its end, and lands or
 * returns the flights by that.
 *
 * @par Errors
 * As in transfer.h: before anything was enqueued from submit, and no tracker has changed then;
 * later ones from poll, wait and result.
 */
#ifndef KVFERRY_BOUND_H
#define KVFERRY_BOUND_H

#include "flight.h"
#include "transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A bound transfer. */
typedef struct kvf_bound kvf_bound;

/** One sequence: what `src` has assigned goes to the pending ids of `dst`. */
typedef struct kvf_pair {
    const kvf_assignments *src; /**< What is there. */
    kvf_assignments *dst;       /**< What is to be filled. */
    size_t max_blocks;          /**< 0: as many as there are. */
} kvf_pair;

/**
 * Zips every pair, opens their flights and submits one transfer of all layers. All or none: with an
 * error no tracker has changed. A pair that has nothing to move is fine and lands 0 blocks.
 * `options` as in kvf_transfer_submit; its layer range must be left 0.
 *
 * Errors: those of kvf_flight_depart and kvf_transfer_submit, `index` naming the pair where the
 * pair is at fault; CONFLICT for one destination tracker in two pairs; UNSUPPORTED for tiers of
 * several layouts, of which a transfer moves one: there, submit a transfer a layout to one
 * completion and resolve a flight when it is over.
 */
KVF_API kvf_status kvf_bound_submit(kvf_tier *src, kvf_tier *dst, const kvf_pair *pairs,
                                    size_t pair_count, const kvf_submit_options *options,
                                    kvf_bound **out, kvf_error *error);

/**
 * PENDING, or how it ended. Once over, the flights have landed or returned. A flight that its
 * tracker has closed meanwhile (an earlier one failed, clear, destroy) ends as CLOSED; when that is
 * so for all pairs the transfer is cancelled.
 */
KVF_API kvf_status kvf_bound_poll(kvf_bound *bound, kvf_error *error);

/** As poll, waiting up to `timeout_us` (see kvf_transfer_wait). Errors: TIMEOUT, else as poll. */
KVF_API kvf_status kvf_bound_wait(kvf_bound *bound, int64_t timeout_us, kvf_error *error);

/** Asks the transfer to stop; poll or wait tells when it has. */
KVF_API void kvf_bound_cancel(kvf_bound *bound);

/** The result of one pair: PENDING, OK, CLOSED, or the transfer's error. `landed`, when not NULL,
 *  gets the blocks that landed. These become assigned once everything before them has landed too;
 *  when an earlier flight of the tracker fails, they return to pending with it. Errors: RANGE for a
 * pair that does not exist. */
KVF_API kvf_status kvf_bound_result(const kvf_bound *bound, size_t pair, size_t *landed);

/** The transfer below, for waiting on layers and for statistics; valid until release. */
KVF_API kvf_transfer *kvf_bound_transfer(kvf_bound *bound);

/** Lets go. NULL is fine. */
KVF_API void kvf_bound_release(kvf_bound *bound);

#ifdef __cplusplus
}
#endif
#endif
