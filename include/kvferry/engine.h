/** @file
 * Engines, which move bytes, and tiers, which say where the bytes of block ids are and who uses
 * them.
 *
 * @par Threads
 * Any thread, at any time, but for destroying an object that another call still uses. Callbacks run
 * inside calls of the caller's, never on a thread of an engine's own: see kvf_callback. Calls that
 * only look at something, kvf_tier_idle among them, move nothing on: it takes somebody who polls,
 * waits or calls kvf_engine_progress for an engine without threads to copy, and for the CUDA engine
 * to notice what has landed.
 *
 * @par Ownership
 * Whoever is given an engine or tier destroys it. A tier keeps its layouts alive; the memory that
 * these tell of is the caller's. Options are copied.
 *
 * @par Lifetimes
 * Engines and tiers may be destroyed at any time and in any order, but not from a callback: that
 * cancels what has not begun, waits for what runs and then lets go. Memory may be freed once the
 * tiers over it are destroyed, and not before. Transfers stay readable until released. An engine's
 * allocator is needed until its tiers, transfers and bound transfers are gone, too.
 *
 * @par Errors
 * As in status.h. Functions that return a status answer INVALID for NULL; the others take NULL for
 * something that is empty.
 */
#ifndef KVFERRY_ENGINE_H
#define KVFERRY_ENGINE_H

#include "hooks.h"
#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An engine. */
typedef struct kvf_engine kvf_engine;
/** A tier of an engine. */
typedef struct kvf_tier kvf_tier;
/** A transfer between two tiers, see transfer.h. */
typedef struct kvf_transfer kvf_transfer;

/** Told how a transfer, or all of a completion, ended. `error` is valid during the call; its status
 *  is KVF_OK when all went well. Runs inside whatever call on the engine, its tiers, transfers or
 *  completions waits or makes progress, or arms a completion, on the thread that calls it, and
 *  nested when it does so itself; it must not wait, nor destroy an engine or tier. */
typedef void (*kvf_callback)(void *user, const kvf_error *error);

/** Priorities of background transfers: 0 (first) to KVF_PRIORITIES - 1. */
#define KVF_PRIORITIES 4

/** Options of kvf_engine_host_create: zero-initialise, then set what differs. */
typedef struct kvf_host_options {
    unsigned threads; /**< Worker threads, 64 at most; 0: one for each CPU that the creating thread
                           may run on, 8 at most. */
    bool no_threads;  /**< None: kvf_engine_progress and the waits of the caller do the copying. */
    size_t max_transfers;           /**< Transfers at a time before AGAIN; 0 means 1024. */
    double background_gbps;         /**< Cap on background transfers, 10^9 bytes/s, 0.001 at
                                         least; 0: none. */
    double imitate_gbps;            /**< Imitates a link of this speed, 10^9 bytes/s, 0.001 at
                                         least; 0: none. */
    double imitate_latency_us;      /**< ... and this delay before a transfer begins. */
    const kvf_allocator *allocator; /**< NULL: malloc. Called from several threads. */
    const kvf_log *log;             /**< Copied; NULL: none. */
    const kvf_ranges *ranges;       /**< Copied; NULL: none. */
} kvf_host_options;

/**
 * The host engine: memcpy between host tiers, by threads of its own. The reference for all other
 * engines, and the default without a GPU. With an imitated link it copies as always, holds results
 * back as the link would, and marks its statistics as imitated. `options` NULL: all zero.
 * Errors: INVALID for NULL, negative or infinite numbers, speeds out of range and halves of hooks;
 * NO_MEMORY; ENGINE when no thread can be had (`native_code` is errno).
 */
KVF_API kvf_status kvf_engine_host_create(const kvf_host_options *options, kvf_engine **out,
                                          kvf_error *error);

/** Cancels what has not begun, waits for what runs, delivers outstanding callbacks and ends the
 *  engine's threads. Submitting to tiers of it is BROKEN from then on. NULL is fine. */
KVF_API void kvf_engine_destroy(kvf_engine *engine);

/** The engine's name: "host", ...; "none" for NULL. Static text. */
KVF_API const char *kvf_engine_name(const kvf_engine *engine);

/** Does what can be done without waiting: copies, for an engine without threads, and callbacks of
 *  finished transfers. Returns how many transfers are not finished. */
KVF_API size_t kvf_engine_progress(kvf_engine *engine);

/** A snapshot of the engine's counters, all of the same moment. Errors: INVALID for NULL. */
KVF_API kvf_status kvf_engine_counters_get(kvf_engine *engine, kvf_counters *out, kvf_error *error);

/** What kind of memory a tier's layouts lie in. */
typedef enum kvf_memory {
    KVF_MEMORY_HOST,   /**< Ordinary memory. */
    KVF_MEMORY_PINNED, /**< Host memory that a device can reach. */
    KVF_MEMORY_DEVICE, /**< Memory of a device. */
} kvf_memory;

/** Options of kvf_tier_create: zero-initialise, then set what differs. */
typedef struct kvf_tier_options {
    const kvf_layout *const *layouts; /**< [layout_count], all of the same number of blocks: views
                                         of one id space (the KV groups of a hybrid model). */
    size_t layout_count;              /**< 1 or more. */
    kvf_memory memory;                /**< What kind of memory all of them lie in. */
    /** Host memory only: keep an XXH3-64 of every block that a transfer wrote here, one a layout
     *  (region by region, row by row), and check it before a transfer reads the block through that
     *  layout. A block that was neither written by transfers nor sealed is believed. A transfer of
     *  some layers vouches for the others as they are, unless the block was CORRUPT before: then it
     *  stays so until all layers are written at once or it is sealed. One that was cut short leaves
     *  what it half wrote CORRUPT, until written so or sealed again. */
    bool integrity;
} kvf_tier_options;

/**
 * Makes a tier of an engine: slots 0 .. blocks - 1, each knowing who writes and who reads it.
 * Errors: INVALID; LAYOUT when the layouts have different numbers of blocks (`index`); UNSUPPORTED
 * for memory the engine cannot reach or integrity outside host memory; BROKEN; NO_MEMORY.
 */
KVF_API kvf_status kvf_tier_create(kvf_engine *engine, const kvf_tier_options *options,
                                   kvf_tier **out, kvf_error *error);

/** Cancels the transfers that touch the tier and have not begun, waits for the others, and lets
 *  go: afterwards nothing reads or writes its memory. NULL is fine. */
KVF_API void kvf_tier_destroy(kvf_tier *tier);

/** Number of block ids; 0 for NULL. */
KVF_API size_t kvf_tier_blocks(const kvf_tier *tier);

/** What kind of memory its layouts lie in; host memory for NULL. */
KVF_API kvf_memory kvf_tier_memory(const kvf_tier *tier);

/** One of the tier's layouts; NULL past the last. Valid as long as the tier. */
KVF_API const kvf_layout *kvf_tier_layout(const kvf_tier *tier, size_t index);

/**
 * Whether no transfer reads or writes these ids any more, so that they may be given to somebody
 * else. A transfer that was cancelled before it began keeps its place, and its ids, until what was
 * submitted before it has let it through. Errors: BUSY for the first id still in use (`id`,
 * `index`); RANGE for an id past the tier's blocks; INVALID.
 */
KVF_API kvf_status kvf_tier_idle(const kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);

/**
 * Takes the checksums of blocks whose content the caller wrote himself, so that they are checked
 * like any other. The blocks must be idle and stay so during the call.
 * Errors: UNSUPPORTED for a tier without integrity; BUSY, RANGE, INVALID as kvf_tier_idle.
 */
KVF_API kvf_status kvf_tier_seal(kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);

#ifdef __cplusplus
}
#endif
#endif
