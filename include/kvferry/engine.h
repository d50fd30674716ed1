/** @file
 * Engines, which move bytes, and tiers, which say where the bytes of block ids are and track who
 * uses them.
 *
 * @par Threads
 * Any thread, at any time. Do not destroy an object that another call still uses. Callbacks run
 * inside the caller's calls, never on a thread of an engine: see kvf_callback. Queries, including
 * kvf_tier_idle, make no progress. In an engine without threads copies advance, and on the CUDA
 * engine landed copies are noticed, only in poll, wait and kvf_engine_progress.
 *
 * @par Ownership
 * The caller destroys every engine and tier that it creates. A tier keeps its layouts alive; the
 * memory that they describe is the caller's. Options are copied.
 *
 * @par Lifetimes
 * Engines and tiers may be destroyed at any time and in any order, but not from a callback.
 * Destroying one cancels what has not started and waits for what runs. Memory may be freed only
 * after the tiers that lie in it are destroyed. Transfers stay readable until released. An engine's
 * allocator must outlive the engine's tiers, transfers and bound transfers, too.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others treat NULL as
 * an empty object.
 */
#ifndef KVFERRY_ENGINE_H
#define KVFERRY_ENGINE_H

#include "hooks.h"
#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Moves bytes between its tiers. */
typedef struct kvf_engine kvf_engine;
/** Blocks in one kind of memory, for one engine. */
typedef struct kvf_tier kvf_tier;
/** A transfer between two tiers, see transfer.h. */
typedef struct kvf_transfer kvf_transfer;

/** Called when a transfer, or everything that a completion counts, has ended. `error` is valid
 *  during the call; its status is KVF_OK on success. A callback runs inside any call on the engine,
 *  its tiers, transfers or completions that waits, makes progress or arms a completion, on the
 *  calling thread. Callbacks nest if one of them makes a call of this kind. A callback must not
 *  wait, nor destroy an engine or tier. */
typedef void (*kvf_callback)(void *user, const kvf_error *error);

/** Priorities of background transfers: 0 (first) to KVF_PRIORITIES - 1. */
#define KVF_PRIORITIES 4

/** Options of kvf_engine_host_create: zero-initialise, then set what differs. */
typedef struct kvf_host_options {
    unsigned threads; /**< Worker threads, at most 64; 0: one per CPU that the creating thread may
                           run on, at most 8. */
    bool no_threads;  /**< No workers: copies run in the caller's poll, wait and progress calls. */
    size_t max_transfers;           /**< Most open transfers; then AGAIN. 0 means 1024. */
    double background_gbps;         /**< Cap on background transfers in 10^9 bytes/s, at least
                                         0.001; 0: no cap. */
    double imitate_gbps;            /**< Imitate a link of this speed in 10^9 bytes/s, at least
                                         0.001; 0: none. */
    double imitate_latency_us;      /**< Delay before a transfer starts, in us; 0: none. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
    const kvf_log *log;             /**< Copied; NULL: none. */
    const kvf_ranges *ranges;       /**< Copied; NULL: none. */
} kvf_host_options;

/**
 * Makes the host engine: memcpy between host tiers, on its own threads. It needs no GPU and defines
 * the behaviour of all engines. With an imitated link it copies as usual, reports results when that
 * link would have delivered them, and marks its statistics as imitated. `options` NULL: all zero.
 * Errors: INVALID for NULL, negative or infinite numbers, speeds out of range, and a hook with only
 * one of its functions; NO_MEMORY; ENGINE if a thread cannot be started (`native_code` is errno).
 */
KVF_API kvf_status kvf_engine_host_create(const kvf_host_options *options, kvf_engine **out,
                                          kvf_error *error);

/** Cancels what has not started, waits for what runs, delivers outstanding callbacks and ends the
 *  engine's threads. From then on, submitting to its tiers is BROKEN. Does nothing for NULL. */
KVF_API void kvf_engine_destroy(kvf_engine *engine);

/** The engine's name, such as "host"; "none" for NULL. Static text. */
KVF_API const char *kvf_engine_name(const kvf_engine *engine);

/** Does what can be done without waiting: copies, for an engine without threads, and the callbacks
 *  of transfers that have ended. Returns the number of transfers that have not ended. */
KVF_API size_t kvf_engine_progress(kvf_engine *engine);

/** A snapshot of the engine's counters, all taken at the same moment. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_engine_counters_get(kvf_engine *engine, kvf_counters *out, kvf_error *error);

/** A kind of memory. */
typedef enum kvf_memory {
    KVF_MEMORY_HOST,   /**< Ordinary host memory. */
    KVF_MEMORY_PINNED, /**< Host memory that a device can reach. */
    KVF_MEMORY_DEVICE, /**< Device memory. */
} kvf_memory;

/** Options of kvf_tier_create: zero-initialise, then set what differs. */
typedef struct kvf_tier_options {
    const kvf_layout *const *layouts; /**< [layout_count] All of the same number of blocks: views of
                                         one id space (the KV groups of a hybrid model). */
    size_t layout_count;              /**< 1 or more. */
    kvf_memory memory;                /**< The kind of memory that all of them lie in. */
    /** Host memory only: keep an XXH3-64 of every block that a transfer writes here, one per layout
     *  (region by region, row by row), and check it before a transfer reads the block through that
     *  layout. A block that was neither written by a transfer nor sealed passes unchecked. After
     *  a transfer of some layers, the checksum covers the other layers as they are. But a block
     *  that was CORRUPT before stays so until one transfer writes all its layers or it is sealed.
     *  A transfer that is cut short leaves the blocks that it wrote in part CORRUPT, until they are
     *  written as a whole or sealed again. */
    bool integrity;
} kvf_tier_options;

/**
 * Makes a tier of an engine, with slots 0 .. blocks - 1. A slot tracks the block's writer and
 * readers. Errors: INVALID; LAYOUT if the layouts have different numbers of blocks (`index`);
 * UNSUPPORTED for memory that the engine cannot reach, and for integrity outside host memory;
 * BROKEN; NO_MEMORY.
 */
KVF_API kvf_status kvf_tier_create(kvf_engine *engine, const kvf_tier_options *options,
                                   kvf_tier **out, kvf_error *error);

/** Cancels the transfers that use the tier and have not started, waits for the others, and releases
 *  the tier: afterwards nothing reads or writes its memory. Does nothing for NULL. */
KVF_API void kvf_tier_destroy(kvf_tier *tier);

/** Number of block ids; 0 for NULL. */
KVF_API size_t kvf_tier_blocks(const kvf_tier *tier);

/** The kind of memory that the layouts lie in; KVF_MEMORY_HOST for NULL. */
KVF_API kvf_memory kvf_tier_memory(const kvf_tier *tier);

/** One of the tier's layouts; NULL past the last. Valid as long as the tier. */
KVF_API const kvf_layout *kvf_tier_layout(const kvf_tier *tier, size_t index);

/**
 * Returns OK if no transfer, and no use that kvf_cuda_mark_slots has marked, reads or writes these
 * ids any more, so that they may be given to another sequence. The ids of a transfer that was
 * cancelled before it started stay in use until the work ahead of it has ended. Errors: BUSY for
 * the first id still in use (`id`, `index`); RANGE for an id past the tier's blocks; INVALID.
 */
KVF_API kvf_status kvf_tier_idle(const kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);

/**
 * Takes the checksums of blocks that the caller wrote directly, so that later transfers check them.
 * The blocks must be idle and stay idle during the call. Errors: UNSUPPORTED for a tier without
 * integrity; BUSY, RANGE and INVALID as kvf_tier_idle.
 */
KVF_API kvf_status kvf_tier_seal(kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);

#ifdef __cplusplus
}
#endif
#endif
