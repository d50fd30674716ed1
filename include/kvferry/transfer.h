/** @file
 * Transfers: moves between two tiers of one engine, and completions.
 *
 * A submit that reads a block being written, or writes a block being read or written, is ordered
 * behind whoever does that, on both tiers and across directions; the caller need not wait.
 *
 * @par Threads
 * Any thread, at any time, but for releasing an object that another call still uses. A callback
 * that another thread has begun may still run when a wait returns here; it is over when
 * kvf_engine_destroy returns, unless it is that of a completion and was made by kvf_completion_arm.
 *
 * @par Ownership
 * Whoever is given a transfer or completion releases it. Plans are copied, and options and events
 * read, during submit. A completion keeps the transfers that it counts until it is gone itself, and
 * they keep it until they are over.
 *
 * @par Lifetimes
 * Releasing stops nothing: a transfer that is not over goes on. Transfers and completions stay
 * readable until released, whatever has become of their tiers and engine. What a callback is given
 * as `user` is needed until it was called: those of transfers have been when kvf_engine_destroy
 * returns.
 *
 * @par Errors
 * As in status.h. Errors that are found before anything was enqueued come back from submit, and
 * nothing has changed then. Later ones come from poll and wait, through the callback and through
 * the completion only. Functions that return a status answer INVALID for NULL; the others take NULL
 * for something that is empty.
 */
#ifndef KVFERRY_TRANSFER_H
#define KVFERRY_TRANSFER_H

#include "engine.h"
#include "move.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One for several transfers, see below. */
typedef struct kvf_completion kvf_completion;

/** Options of kvf_transfer_submit: zero-initialise, then set what differs. */
typedef struct kvf_submit_options {
    size_t src_layout;     /**< Which of the source's layouts. */
    size_t dst_layout;     /**< Which of the destination's layouts. */
    uint32_t first_layer;  /**< First layer, counted from the layout's first. */
    uint32_t layer_count;  /**< 0: all from first_layer on. */
    bool by_layer;         /**< Move layer by layer, in order, so that layers can be waited for. */
    bool background;       /**< See below. */
    unsigned priority;     /**< Background only: 0 (first) to KVF_PRIORITIES - 1. */
    unsigned strategy;     /**< One of the engine's ways of copying, by its own numbers; 0: its
                                choice. INVALID for a number it does not have. */
    kvf_callback callback; /**< Called once when the transfer is over; NULL for none. */
    void *user;            /**< Given to it. */
    kvf_completion *completion; /**< Counts this transfer in; NULL for none. */
    void *const *events;        /**< It begins behind these events of the engine's runtime.
                                     UNSUPPORTED where there is no such thing. */
    size_t event_count;         /**< 0: none. */
} kvf_submit_options;

/**
 * Submits the plans as one transfer from `src` to `dst`.
 *
 *  - ordered (the default): everything is enqueued when this returns;
 *  - background: enqueued bit by bit behind ordered work, by priority and under the engine's cap.
 *    Something that must wait for a background transfer lends it its own priority.
 *
 * No blocks at all is a transfer that has succeeded. `out` may be NULL when only the callback or
 * completion matters.
 *
 * Errors: those of kvf_move_create; INVALID for NULL, a priority that does not exist or tiers of
 * different engines; RANGE for a layout that does not exist; AGAIN when the engine is full; BROKEN
 * for an engine that is destroyed or beyond use; NO_MEMORY.
 */
KVF_API kvf_status kvf_transfer_submit(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans,
                                       size_t plan_count, const kvf_submit_options *options,
                                       kvf_transfer **out, kvf_error *error);

/** PENDING, or how the transfer ended: OK, CANCELLED, CORRUPT, ENGINE, NO_MEMORY, BROKEN. Never
 *  blocks; does the engine's progress. */
KVF_API kvf_status kvf_transfer_poll(kvf_transfer *transfer, kvf_error *error);

/** Waits for the end. `timeout_us` in microseconds, negative for ever, 0 to poll. The calling
 * thread spins for 20 us, then sleeps until it is woken. The CUDA engine is not notified when
 *  bytes land, so there it polls between naps: see kvf_engine_cuda_create. Errors: TIMEOUT (the
 *  transfer goes on), else as poll. */
KVF_API kvf_status kvf_transfer_wait(kvf_transfer *transfer, int64_t timeout_us, kvf_error *error);

/**
 * Waits until one layer has landed; `layer` counts from the layout's first. Without
 * by_layer that is when all have. OK says only that this layer's bytes are there; the transfer may
 * still fail, and what it fills is to be believed once the whole is OK.
 * Errors: RANGE for a layer the transfer does not move; TIMEOUT; the transfer's own, and CORRUPT as
 * soon as a block is known to be, for every layer, although the transfer still moves the rest.
 */
KVF_API kvf_status kvf_transfer_wait_layer(kvf_transfer *transfer, uint32_t layer,
                                           int64_t timeout_us, kvf_error *error);

/** What was not started is dropped, what runs is drained; then the transfer ends as CANCELLED (or
 *  as OK, if it was all but done). Does not wait. Safe at any time. On a CUDA device an ordered
 *  transfer has started, whole, when its submit returned. */
KVF_API void kvf_transfer_cancel(kvf_transfer *transfer);

/**
 * How many leading blocks of one plan are there: all after OK; after CORRUPT those before the
 * plan's first bad block; 0 after any other end and while pending, and for a plan out of range.
 */
KVF_API size_t kvf_transfer_landed(const kvf_transfer *transfer, size_t plan);

/** How a transfer has fared. */
typedef struct kvf_transfer_stats {
    double submit_us; /**< Spent in submit: checking, lowering, registering, enqueueing. */
    double queue_us;  /**< From submit to the first byte moving, as far as it got. */
    double copy_us;   /**< From the first byte moving to the end. */
    uint64_t bytes;   /**< To move in all. */
    uint64_t blocks;  /**< To move in all. */
    uint64_t boxes;   /**< Copies it takes. */
    bool imitated;    /**< An imitated link made these times. */
} kvf_transfer_stats;

/** Statistics so far. */
KVF_API void kvf_transfer_stats_get(const kvf_transfer *transfer, kvf_transfer_stats *stats);

/** Gives the caller's hold on the transfer back. NULL is fine. */
KVF_API void kvf_transfer_release(kvf_transfer *transfer);

/** What one copy of this engine can do, to ask kvf_move_describe what a transfer would take. Valid
 * as long as the engine; NULL for NULL. */
KVF_API const kvf_box_limits *kvf_engine_limits(const kvf_engine *engine);

/** @name Completions
 *  One completion stands for several transfers, of one engine or several.
 *  @{ */

/** `callback` (may be NULL) is called once, when the completion is armed (see wait) and all its
 *  transfers are over, with the first error. Errors: INVALID, NO_MEMORY. */
KVF_API kvf_status kvf_completion_create(kvf_callback callback, void *user,
                                         const kvf_allocator *allocator, kvf_completion **out,
                                         kvf_error *error);

/** Transfers counted in that are not over. */
KVF_API size_t kvf_completion_pending(const kvf_completion *completion);

/** Says that no more transfers will be added: from now on the callback may come. Submitting with an
 *  armed completion is INVALID. poll and wait arm. */
KVF_API void kvf_completion_arm(kvf_completion *completion);

/** PENDING, or OK, or the first error of any of the transfers. Arms; does their engines' progress.
 */
KVF_API kvf_status kvf_completion_poll(kvf_completion *completion, kvf_error *error);

/** As poll, waiting up to `timeout_us` (see kvf_transfer_wait). Errors: TIMEOUT, else as poll. */
KVF_API kvf_status kvf_completion_wait(kvf_completion *completion, int64_t timeout_us,
                                       kvf_error *error);

/** Gives the caller's hold on the completion back. NULL is fine. */
KVF_API void kvf_completion_release(kvf_completion *completion);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
