/** @file
 * What an engine tells the program around it: log lines, ranges for a profiler, counters.
 *
 * All of it belongs to an engine, and a group of ranks has that of its engine; nothing is global.
 * Without hooks each place that has one is a branch.
 *
 * @par Threads
 * Hooks run on whatever thread does the work: the caller's, and threads of engines and groups,
 * several at a time. A log's function runs without any lock of the library's, but must not wait for
 * a transfer, nor destroy an engine, a tier or a group. Functions of ranges may run in the middle
 * of a submit, and must call nothing of an engine, its tiers and its transfers. The functions here
 * may be called from any thread, at any time.
 *
 * @par Ownership
 * A hook is given when the engine is created, is copied then, and stays. What it points to is the
 * caller's, and so are counters and labels.
 *
 * @par Lifetimes
 * What a hook points to outlives the engine, its tiers and its transfers, and the groups that it
 * has. The text of a line is valid during the call; names of levels and ranges are static.
 *
 * @par Errors
 * Half a hook is INVALID where the engine is created. Hooks cannot fail, and errors that a call
 * returns are the caller's to log. Printing returns a negative number for what it cannot print.
 */
#ifndef KVFERRY_HOOKS_H
#define KVFERRY_HOOKS_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** @name The log
 *  @{ */

/** How much a line matters. */
typedef enum kvf_log_level {
    KVF_LOG_ERROR,   /**< A transfer failed, or an engine or a group is beyond use. */
    KVF_LOG_WARNING, /**< It goes on, but otherwise than was asked for. */
    KVF_LOG_INFO,    /**< Engines and groups begin and end. */
    KVF_LOG_DEBUG,   /**< A line a transfer, and one for each submit that was refused. */
} kvf_log_level;

/**
 * Where log lines go. A line of an error is written once, for the transfer or the engine that it
 * ended. Nothing is formatted for a level that is off. Lines come soon after what they tell of,
 * perhaps from another thread when a wait for it returns, and all of them before
 * kvf_engine_destroy does.
 */
typedef struct kvf_log {
    /** One line without a newline, at most 511 bytes. */
    void (*write)(void *user, kvf_log_level level, const char *text);
    void *user;          /**< Given to it. */
    kvf_log_level level; /**< The last level that is written; zero: errors alone. */
} kvf_log;

/** The level's name: "error", "warning", "info", "debug"; NULL past the last. */
KVF_API const char *kvf_log_level_name(kvf_log_level level);

/** @}
 *  @name Ranges
 *  @{ */

/**
 * Told when something begins and ends, on the thread that does it; ranges of one thread are nested.
 * A name is the same pointer each time:
 *
 *     plan     pairs are zipped; plans are checked and lowered
 *     submit   a whole submit: what of the above it does, registering, enqueueing
 *     copy     bytes are copied by this thread or, on a device, copies are enqueued
 *     verify   checksums are taken or checked
 *     wait     a call waits
 *     share    a group enqueues a collective
 *
 * The CUDA engine has ranges of its own when it is given none and an NVTX tool is attached when it
 * is created: these names, in the domain "kvferry".
 */
typedef struct kvf_ranges {
    void (*begin)(void *user, const char *name); /**< A range begins. */
    void (*end)(void *user);                     /**< The innermost one ends. */
    void *user;                                  /**< Given to both. */
} kvf_ranges;

/** @}
 *  @name Counters
 *  @{ */

/**
 * What an engine has done since it was created. No number ever decreases, and of one snapshot
 *
 *     transfers_submitted == transfers_succeeded + transfers_failed + transfers_cancelled + open
 *
 * with `open` the transfers that are not over. `blocks` and bytes are those of transfers that
 * succeeded; on a CUDA engine the bytes by direction and those by strategy have the same sum. Names
 * ending in _ns are nanoseconds.
 */
typedef struct kvf_counters {
    uint64_t transfers_submitted; /**< Transfers that were accepted. */
    uint64_t transfers_succeeded; /**< Transfers that ended as OK. */
    uint64_t transfers_failed;    /**< Transfers that ended with another error than CANCELLED. */
    uint64_t transfers_cancelled; /**< Transfers that ended as CANCELLED. */

    uint64_t refused_again; /**< Submits refused with AGAIN: the engine was full. */
    uint64_t refused_other; /**< Submits refused with any other error. */

    uint64_t blocks;                 /**< Blocks moved. */
    uint64_t boxes;                  /**< Strided copies that they took on a CUDA engine. */
    uint64_t bytes_host_to_device;   /**< Bytes moved from host to device memory. */
    uint64_t bytes_device_to_host;   /**< Bytes moved from device to host memory. */
    uint64_t bytes_host_to_host;     /**< Bytes moved within host memory. */
    uint64_t bytes_device_to_device; /**< Bytes moved within device memory. */

    uint64_t bytes_loop;   /**< Bytes moved by the CUDA engine's strategy `loop`. */
    uint64_t bytes_batch;  /**< Bytes moved by its strategy `batch`. */
    uint64_t bytes_kernel; /**< Bytes moved by its strategy `kernel`. */
    uint64_t bytes_staged; /**< Bytes moved by its strategy `staged`. */
    uint64_t fallbacks;    /**< Transfers that succeeded by another strategy than requested. */

    uint64_t submit_ns; /**< Time spent in submits that were accepted. */
    uint64_t queue_ns;  /**< Time from submit to the first byte, of transfers begun and over. */
    uint64_t copy_ns;   /**< Time from the first byte to the end, of the same transfers. */

    uint64_t waits;         /**< Calls that had to wait for a transfer, a layer or a tier. */
    uint64_t wait_timeouts; /**< Those of them that timed out. */
    uint64_t wait_ns;       /**< Time spent in them. */

    uint64_t corrupt_blocks; /**< Blocks that did not match their checksum. */
    uint64_t callbacks;      /**< Callbacks made. */
} kvf_counters;

/** A label for metrics. The name is one of Prometheus's, [a-zA-Z_][a-zA-Z0-9_]*, and none of
 *  direction, outcome, reason and strategy; the value is any UTF-8, escaped here. */
typedef struct kvf_label {
    const char *name;  /**< As above. */
    const char *value; /**< As above. */
} kvf_label;

/** One engine's counters, and the labels that tell it from others. */
typedef struct kvf_labelled_counters {
    const kvf_counters *counters; /**< A snapshot. */
    const kvf_label *labels;      /**< [label_count] */
    size_t label_count;           /**< 0: none. */
} kvf_labelled_counters;

/**
 * Writes counters of one engine or several in Prometheus's text format, version 0.0.4, always
 * terminated when `size` > 0: each metric once with its HELP and TYPE, then a sample for each
 * engine. Times are seconds. Returns the length of the whole text, as snprintf does; `text` may be
 * NULL when `size` is 0. Negative, and an empty text, for NULL, a label that may not be, or one
 * name twice.
 */
KVF_API int kvf_counters_print(const kvf_labelled_counters *engines, size_t count, char *text,
                               size_t size);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
