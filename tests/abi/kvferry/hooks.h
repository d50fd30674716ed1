#ifndef KVFERRY_HOOKS_H
#define KVFERRY_HOOKS_H
#include "status.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum kvf_log_level {
    KVF_LOG_ERROR,
    KVF_LOG_WARNING,
    KVF_LOG_INFO,
    KVF_LOG_DEBUG,
} kvf_log_level;
typedef struct kvf_log {
    void (*write)(void *user, kvf_log_level level, const char *text);
    void *user;
    kvf_log_level level;
} kvf_log;
KVF_API const char *kvf_log_level_name(kvf_log_level level);
typedef struct kvf_ranges {
    void (*begin)(void *user, const char *name);
    void (*end)(void *user);
    void *user;
} kvf_ranges;
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
typedef struct kvf_counters {
#define KVF_X(member, metric, label, per, text) uint64_t member;
    KVF_COUNTER_MAP(KVF_X)
#undef KVF_X
} kvf_counters;
typedef struct kvf_label {
    const char *name;
    const char *value;
} kvf_label;
typedef struct kvf_labelled_counters {
    const kvf_counters *counters;
    const kvf_label *labels;
    size_t label_count;
} kvf_labelled_counters;
KVF_API int kvf_counters_print(const kvf_labelled_counters *engines, size_t count, char *text,
                               size_t size);
#ifdef __cplusplus
}
#endif
#endif
