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
 * Every counter of an engine. X(member, metric, label, per, text): the member of kvf_counters, the
 * name and own label of its Prometheus metric, how many of the member are one of the metric, and
 * what it counts. Members of one metric stand together.
 */
#define KVF_COUNTER_MAP(X)                                                                         \
    X(transfers_submitted, "kvferry_transfers_submitted_total", "", 1,                             \
      "Transfers that were accepted")                                                              \
    X(transfers_succeeded, "kvferry_transfers_ended_total", "outcome=\"ok\"", 1,                   \
      "Transfers that are over")                                                                   \
    X(transfers_failed, "kvferry_transfers_ended_total", "outcome=\"failed\"", 1, "")              \
    X(transfers_cancelled, "kvferry_transfers_ended_total", "outcome=\"cancelled\"", 1, "")        \
    X(refused_again, "kvferry_submits_refused_total", "reason=\"again\"", 1,                       \
      "Submits that were refused, since the engine was full or for another reason")                \
    X(refused_other, "kvferry_submits_refused_total", "reason=\"other\"", 1, "")                   \
    X(blocks, "kvferry_moved_blocks_total", "", 1, "Blocks of transfers that succeeded")           \
    X(boxes, "kvferry_moved_boxes_total", "", 1,                                                   \
      "Strided copies that those of the CUDA engine consist of")                                   \
    X(bytes_host_to_device, "kvferry_moved_bytes_total", "direction=\"host_to_device\"", 1,        \
      "Bytes of transfers that succeeded")                                                         \
    X(bytes_device_to_host, "kvferry_moved_bytes_total", "direction=\"device_to_host\"", 1, "")    \
    X(bytes_host_to_host, "kvferry_moved_bytes_total", "direction=\"host_to_host\"", 1, "")        \
    X(bytes_device_to_device, "kvferry_moved_bytes_total", "direction=\"device_to_device\"", 1,    \
      "")                                                                                          \
    X(bytes_loop, "kvferry_strategy_bytes_total", "strategy=\"loop\"", 1,                          \
      "The same of the CUDA engine, by strategy")                                                  \
    X(bytes_batch, "kvferry_strategy_bytes_total", "strategy=\"batch\"", 1, "")                    \
    X(bytes_kernel, "kvferry_strategy_bytes_total", "strategy=\"kernel\"", 1, "")                  \
    X(bytes_staged, "kvferry_strategy_bytes_total", "strategy=\"staged\"", 1, "")                  \
    X(fallbacks, "kvferry_strategy_fallbacks_total", "", 1,                                        \
      "Transfers that succeeded by another strategy than was asked for")                           \
    X(submit_ns, "kvferry_submit_seconds_total", "", 1000000000,                                   \
      "Time spent in submits that were accepted")                                                  \
    X(queue_ns, "kvferry_queue_seconds_total", "", 1000000000,                                     \
      "Time from submit to the first byte, over all transfers that began and are over")            \
    X(copy_ns, "kvferry_copy_seconds_total", "", 1000000000,                                       \
      "Time from the first byte to the end, over the same")                                        \
    X(waits, "kvferry_waits_total", "", 1,                                                         \
      "Calls that had to wait for a transfer, a layer or the end of a tier")                       \
    X(wait_timeouts, "kvferry_wait_timeouts_total", "", 1, "Those that ran out of time")           \
    X(wait_ns, "kvferry_wait_seconds_total", "", 1000000000, "Time spent in them")                 \
    X(corrupt_blocks, "kvferry_corrupt_blocks_total", "", 1, "Blocks that failed their checksum")  \
    X(callbacks, "kvferry_callbacks_total", "", 1, "Callbacks made")

/**
 * What an engine has done since it was created. No number ever decreases, and of one snapshot
 *
 *     transfers_submitted == transfers_succeeded + transfers_failed + transfers_cancelled + open
 *
 * with `open` the transfers that are not over. All bytes by direction together are `bytes_loop` and
 * the like together, on a CUDA engine. Names ending in _ns are nanoseconds.
 */
typedef struct kvf_counters {
#define KVF_X(member, metric, label, per, text) uint64_t member;
    KVF_COUNTER_MAP(KVF_X)
#undef KVF_X
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
