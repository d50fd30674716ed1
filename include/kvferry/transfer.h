/** @file
 * Transfers: moves between two tiers of one engine, and completions.
 *
 * A submit that reads a block being written, or writes a block being read or written, is ordered
 * after those uses, on both tiers and across directions; the caller need not wait.
 *
 * @par Threads
 * Any thread, at any time. Do not release an object that another call still uses. When a wait here
 * returns, a callback that another thread has started may still be running. It has returned when
 * kvf_engine_destroy returns, unless kvf_completion_arm called it for a completion.
 *
 * @par Ownership
 * The caller releases every transfer and completion that it receives. Submit copies plans, and
 * reads options and events. A completion keeps the transfers it counts alive as long as it exists;
 * they keep it alive until they have ended.
 *
 * @par Lifetimes
 * Releasing stops nothing: a transfer that has not ended continues. Transfers and completions stay
 * readable until released, whatever happens to their tiers and engine. The `user` of a callback
 * must stay valid until the callback has run; callbacks of transfers have run when
 * kvf_engine_destroy returns.
 *
 * @par Errors
 * As in status.h. Errors found before anything is enqueued come from submit, and nothing has
 * changed then. Later errors come only from poll and wait, through the callback and through the
 * completion. Functions that return a status answer INVALID for NULL; the others treat NULL as an
 * empty object.
 */
#ifndef KVFERRY_TRANSFER_H
#define KVFERRY_TRANSFER_H

#include "engine.h"
#include "move.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Counts several transfers and reports when all have ended. */
typedef struct kvf_completion kvf_completion;

/** Options of kvf_transfer_submit: zero-initialise, then set what differs. */
typedef struct kvf_submit_options {
    size_t src_layout;     /**< Index of the source's layout. */
    size_t dst_layout;     /**< Index of the destination's layout. */
    uint32_t first_layer;  /**< The first layer, counted from the layout's first. */
    uint32_t layer_count;  /**< 0: all from first_layer on. */
    bool by_layer;         /**< Move layer by layer, in order, so that layers can be waited for. */
    bool background;       /**< See kvf_transfer_submit. */
    unsigned priority;     /**< Background only: 0 (first) to KVF_PRIORITIES - 1. */
    unsigned strategy;     /**< How to copy, in the engine's own numbers (kvf_cuda_strategy); 0: the
                                engine chooses. INVALID for a number that it does not have. */
    kvf_callback callback; /**< Called once when the transfer has ended; NULL: none. */
    void *user;            /**< Passed to the callback. */
    kvf_completion *completion; /**< Counts this transfer; NULL: none. */
    void *const *events;        /**< The transfer starts after these events of the engine's runtime.
                                     UNSUPPORTED for an engine without events. */
    size_t event_count;         /**< 0: none. */
} kvf_submit_options;

/**
 * Submits the plans as one transfer from `src` to `dst`. `options` NULL: all zero.
 *
 *  - ordered (the default): everything is enqueued when this returns;
 *  - background: enqueued piece by piece after ordered work, by priority and under the engine's
 *    cap. If other work has to wait for a background transfer, that transfer inherits the priority
 *    of the work.
 *
 * A transfer without blocks succeeds. `out` may be NULL if only the callback or the completion
 * matters.
 *
 * Errors: those of kvf_move_create; INVALID for NULL, a priority that is out of range or without
 * background, and tiers of different engines; RANGE for an unknown layout; AGAIN if the engine is
 * full; BROKEN for an engine that is destroyed or unusable; NO_MEMORY.
 */
KVF_API kvf_status kvf_transfer_submit(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans,
                                       size_t plan_count, const kvf_submit_options *options,
                                       kvf_transfer **out, kvf_error *error);

/** Returns PENDING or the transfer's result: OK, CANCELLED, CORRUPT, ENGINE, NO_MEMORY, BROKEN.
 *  Never blocks; makes progress on the engine. */
KVF_API kvf_status kvf_transfer_poll(kvf_transfer *transfer, kvf_error *error);

/** Waits for the end. `timeout_us` is in microseconds; negative: no limit, 0: poll. The calling
 *  thread spins for 20 us, then sleeps until it is woken. The CUDA engine is not notified when
 *  bytes land, so there it polls between naps: see kvf_engine_cuda_create. Errors: TIMEOUT (the
 *  transfer continues), else as kvf_transfer_poll. */
KVF_API kvf_status kvf_transfer_wait(kvf_transfer *transfer, int64_t timeout_us, kvf_error *error);

/**
 * Waits until one layer has landed; `layer` counts from the layout's first. Without by_layer, it
 * waits for all layers. OK says only that the bytes of this layer have arrived: the transfer may
 * still fail, and its destinations can be trusted only once the whole transfer is OK. Errors: RANGE
 * for a layer that the transfer does not move; TIMEOUT; those of the transfer; CORRUPT, for any
 * layer, as soon as a corrupt block is found, although the transfer still moves the other blocks.
 */
KVF_API kvf_status kvf_transfer_wait_layer(kvf_transfer *transfer, uint32_t layer,
                                           int64_t timeout_us, kvf_error *error);

/** Drops what has not started and drains what has; the transfer then ends as CANCELLED, or as OK if
 *  nothing was left to drop. Does not wait. Allowed at any time. On a CUDA device an ordered
 *  transfer has started, as a whole, when its submit returns. */
KVF_API void kvf_transfer_cancel(kvf_transfer *transfer);

/**
 * How many leading blocks of one plan have landed. After OK: all. After CORRUPT: those before the
 * plan's first bad block. After any other end, while pending, and for a plan out of range: 0.
 */
KVF_API size_t kvf_transfer_landed(const kvf_transfer *transfer, size_t plan);

/** Times and sizes of a transfer. */
typedef struct kvf_transfer_stats {
    double submit_us; /**< Time in submit: checking, lowering, registering, enqueueing. */
    double queue_us;  /**< From submit to the first byte, or until now if none has moved. */
    double copy_us;   /**< From the first byte to the end, or until now; 0 if none has moved. */
    uint64_t bytes;   /**< Total bytes to move. */
    uint64_t blocks;  /**< Total blocks to move. */
    uint64_t boxes;   /**< Copies it takes. */
    bool imitated;    /**< The times are those of an imitated link. */
} kvf_transfer_stats;

/** Statistics so far. */
KVF_API void kvf_transfer_stats_get(const kvf_transfer *transfer, kvf_transfer_stats *stats);

/** Releases the caller's reference. Does nothing for NULL. */
KVF_API void kvf_transfer_release(kvf_transfer *transfer);

/** What one copy of this engine can do. For a move created with these limits, kvf_move_describe
 *  tells what a transfer takes. Valid as long as the engine; NULL for NULL. */
KVF_API const kvf_box_limits *kvf_engine_limits(const kvf_engine *engine);

/** @name Completions
 *  A completion reports when several transfers, of one engine or several, have all ended.
 *  @{ */

/** Makes a completion. `callback` (may be NULL) is called once, with the first error, when the
 *  completion is armed (see kvf_completion_arm) and all its transfers have ended. Errors: INVALID,
 *  NO_MEMORY. */
KVF_API kvf_status kvf_completion_create(kvf_callback callback, void *user,
                                         const kvf_allocator *allocator, kvf_completion **out,
                                         kvf_error *error);

/** Number of counted transfers that have not ended. */
KVF_API size_t kvf_completion_pending(const kvf_completion *completion);

/** Arms the completion: no more transfers will be added, and the callback may run from here on.
 *  Submitting with an armed completion is INVALID. poll and wait arm, too. */
KVF_API void kvf_completion_arm(kvf_completion *completion);

/** Returns PENDING, OK, or the first error of any of the transfers. Arms; makes progress on the
 *  engines of the transfers. */
KVF_API kvf_status kvf_completion_poll(kvf_completion *completion, kvf_error *error);

/** As kvf_completion_poll, but waits up to `timeout_us` (see kvf_transfer_wait). Errors: TIMEOUT,
 *  else as kvf_completion_poll. */
KVF_API kvf_status kvf_completion_wait(kvf_completion *completion, int64_t timeout_us,
                                       kvf_error *error);

/** Releases the caller's reference. Does nothing for NULL. */
KVF_API void kvf_completion_release(kvf_completion *completion);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
