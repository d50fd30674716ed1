/** @file
 * What an engine reports to the program around it: log lines, ranges for a profiler, counters.
 *
 * Hooks belong to an engine, and a group of ranks uses those of its engine; nothing is global. A
 * hook that is not set costs one branch.
 *
 * @par Threads
 * Hooks run on whichever thread does the work: the caller's, or threads of engines and groups,
 * several at a time. The log function runs without any lock of the library, but must not wait for a
 * transfer, nor destroy an engine, a tier or a group. The functions of ranges may run in the middle
 * of a submit, and must not call anything on an engine, its tiers or its transfers. The functions
 * declared here may be called from any thread, at any time.
 *
 * @par Ownership
 * A hook is passed when the engine is created; the engine copies it and keeps it to its end. What
 * it points to is the caller's, and so are counters and labels.
 *
 * @par Lifetimes
 * What a hook points to must outlive the engine, its tiers and transfers, and the groups that use
 * it. The text of a line is valid during the call; names of levels and ranges are static.
 *
 * @par Errors
 * A hook with only one of its functions makes engine creation fail with INVALID. Hooks cannot fail;
 * errors that a call returns are the caller's to log. Printing returns a negative number for what
 * it cannot print.
 */
#ifndef KVFERRY_HOOKS_H
#define KVFERRY_HOOKS_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** @name The log
 *  @{ */

/** The severity of a line. */
typedef enum kvf_log_level {
    KVF_LOG_ERROR,   /**< A transfer failed, or an engine or a group became unusable. */
    KVF_LOG_WARNING, /**< Work continues, but not as requested. */
    KVF_LOG_INFO,    /**< Engines and groups start and end; a calibration ends. */
    KVF_LOG_DEBUG,   /**< One line per transfer, and one per refused submit. */
} kvf_log_level;

/**
 * Where log lines go. An error is written once, for the transfer or the engine that it ended.
 * Nothing is formatted for a level that is off. A line may come shortly after its event and from
 * another thread, so a wait may return before the line about its transfer. All lines have been
 * written when kvf_engine_destroy returns.
 */
typedef struct kvf_log {
    /** Writes one line, without a newline, of at most 511 bytes. */
    void (*write)(void *user, kvf_log_level level, const char *text);
    void *user;          /**< Passed to `write`. */
    kvf_log_level level; /**< The most detailed level that is written; zero: errors only. */
} kvf_log;

/** The level's name: "error", "warning", "info", "debug"; NULL past the last. */
KVF_API const char *kvf_log_level_name(kvf_log_level level);

/** @}
 *  @name Ranges
 *  @{ */

/**
 * Functions called when a range begins and ends, on the thread that does the work; the ranges of
 * one thread nest. A name is the same pointer each time:
 *
 *     plan     pairs are zipped; plans are checked and lowered
 *     submit   a whole submit: its plan range, registering the blocks, enqueueing
 *     copy     bytes are copied by this thread or, on a device, copies are enqueued
 *     verify   checksums are taken or checked
 *     wait     a call waits
 *     share    a group enqueues a collective
 *
 * A CUDA engine that is created without ranges while an NVTX tool is attached reports these ranges
 * to NVTX, in the domain "kvferry".
 */
typedef struct kvf_ranges {
    void (*begin)(void *user, const char *name); /**< A range begins. */
    void (*end)(void *user);                     /**< The innermost range ends. */
    void *user;                                  /**< Passed to both. */
} kvf_ranges;

/** @}
 *  @name Counters
 *  @{ */

/**
 * What an engine has done since it was created. No number ever decreases, and in every snapshot
 *
 *     transfers_submitted == transfers_succeeded + transfers_failed + transfers_cancelled + open
 *
 * where `open` is the number of transfers that have not ended. `blocks` and all bytes count
 * transfers that succeeded; on a CUDA engine the bytes by direction and the bytes by strategy have
 * the same sum. Names ending in _ns are nanoseconds.
 */
typedef struct kvf_counters {
    uint64_t transfers_submitted; /**< Transfers that were accepted. */
    uint64_t transfers_succeeded; /**< Transfers that ended as OK. */
    uint64_t transfers_failed;    /**< Transfers that ended with an error other than CANCELLED. */
    uint64_t transfers_cancelled; /**< Transfers that ended as CANCELLED. */

    uint64_t refused_again; /**< Submits refused with AGAIN: engine full. */
    uint64_t refused_other; /**< Submits refused with any other error. */

    uint64_t blocks;                 /**< Blocks moved. */
    uint64_t boxes;                  /**< Strided copies they took; CUDA engine only. */
    uint64_t bytes_host_to_device;   /**< Bytes moved from host to device memory. */
    uint64_t bytes_device_to_host;   /**< Bytes moved from device to host memory. */
    uint64_t bytes_host_to_host;     /**< Bytes moved within host memory. */
    uint64_t bytes_device_to_device; /**< Bytes moved within device memory. */

    uint64_t bytes_loop;   /**< Bytes moved by the CUDA engine's strategy `loop`. */
    uint64_t bytes_batch;  /**< Bytes moved by its strategy `batch`. */
    uint64_t bytes_kernel; /**< Bytes moved by its strategy `kernel`. */
    uint64_t bytes_staged; /**< Bytes moved by its strategy `staged`. */
    uint64_t fallbacks;    /**< Transfers that succeeded with a strategy other than requested. */

    uint64_t submit_ns; /**< Time in submits that were accepted. */
    uint64_t queue_ns;  /**< Submit to first byte, of transfers that began and ended. */
    uint64_t copy_ns;   /**< First byte to end, of the same transfers. */

    uint64_t waits;         /**< Calls that had to wait for a transfer, a layer or a tier. */
    uint64_t wait_timeouts; /**< Those that timed out. */
    uint64_t wait_ns;       /**< Time in these calls. */

    uint64_t corrupt_blocks; /**< Blocks found not to match their checksum. */
    uint64_t callbacks;      /**< Callbacks made. */
} kvf_counters;

/** A label for metrics. The name is a Prometheus label name, [a-zA-Z_][a-zA-Z0-9_]*, other than
 *  direction, outcome, reason and strategy. The value is any UTF-8; printing escapes it. */
typedef struct kvf_label {
    const char *name;  /**< As above. */
    const char *value; /**< As above. */
} kvf_label;

/** One engine's counters, and the labels that distinguish it from other engines. */
typedef struct kvf_labelled_counters {
    const kvf_counters *counters; /**< A snapshot. */
    const kvf_label *labels;      /**< [label_count] The labels. */
    size_t label_count;           /**< 0: none. */
} kvf_labelled_counters;

/**
 * Writes the counters of one or more engines in Prometheus's text format, version 0.0.4, into
 * `text` of `size` bytes, and terminates it if `size` > 0. Each metric comes once with its HELP and
 * TYPE, followed by a sample for each engine. Times are seconds. Returns the length of the whole
 * text, as snprintf does; `text` may be NULL if `size` is 0. Returns a negative number, and writes
 * an empty text, for NULL, a label that is not allowed, or a label name that occurs twice.
 */
KVF_API int kvf_counters_print(const kvf_labelled_counters *engines, size_t count, char *text,
                               size_t size);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
