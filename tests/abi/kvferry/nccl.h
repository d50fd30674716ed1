#ifndef KVFERRY_NCCL_H
#define KVFERRY_NCCL_H
#include "assignments.h"
#include "cuda.h"
#include "plan.h"
#ifdef __cplusplus
extern "C" {
#endif
struct ncclComm;
typedef struct kvf_channel {
    void *user;
    kvf_status (*send)(void *user, int to, const void *message, size_t bytes, kvf_error *error);
    kvf_status (*receive)(void *user, int64_t timeout_us, int *from, void *message, size_t capacity,
                          size_t *bytes, kvf_error *error);
    void (*wake)(void *user);
} kvf_channel;
#define KVF_CHANNEL_BYTES ((size_t)1024)
typedef struct kvf_channel_tcp_options {
    int rank;
    int ranks;
    const char *address;
    int64_t timeout_us;
    const kvf_allocator *allocator;
} kvf_channel_tcp_options;
KVF_API kvf_status kvf_channel_tcp_create(const kvf_channel_tcp_options *options, kvf_channel *out,
                                          kvf_error *error);
KVF_API void kvf_channel_tcp_destroy(kvf_channel *channel);
typedef struct kvf_group kvf_group;
typedef struct kvf_group_options {
    int rank;
    int ranks;
    kvf_engine *engine;
    const kvf_channel *channel;
    struct ncclComm *parent;
    int64_t timeout_us;
    int64_t heartbeat_us;
    int min_ctas;
    int max_ctas;
    int cta_policy;
    const kvf_allocator *allocator;
} kvf_group_options;
KVF_API kvf_status kvf_group_create(const kvf_group_options *options, kvf_group **out,
                                    kvf_error *error);
KVF_API void kvf_group_destroy(kvf_group *group);
KVF_API int kvf_group_rank(const kvf_group *group);
KVF_API int kvf_group_ranks(const kvf_group *group);
KVF_API kvf_status kvf_group_check(kvf_group *group, kvf_error *error);
#define KVF_GROUP_COUNTER_MAP(X)                                                                   \
    X(operations_submitted, "kvferry_operations_submitted_total", "", 1,                           \
      "Operations that were accepted")                                                             \
    X(operations_succeeded, "kvferry_operations_ended_total", "outcome=\"ok\"", 1,                 \
      "Operations that are over")                                                                  \
    X(operations_failed, "kvferry_operations_ended_total", "outcome=\"failed\"", 1, "")            \
    X(operations_cancelled, "kvferry_operations_ended_total", "outcome=\"cancelled\"", 1, "")      \
    X(operations_refused, "kvferry_operations_refused_total", "", 1,                               \
      "Those that failed before they began, since ranks disagreed or did not come")                \
    X(votes_lost, "kvferry_votes_lost_total", "", 1,                                               \
      "Those that went well on this rank and failed by another's vote")                            \
    X(blocks, "kvferry_operation_blocks_total", "", 1,                                             \
      "Blocks that have come to this rank's slots or host tier")                                   \
    X(chunks, "kvferry_operation_chunks_total", "", 1, "Chunks of operations that are over")       \
    X(host_bytes, "kvferry_operation_host_bytes_total", "", 1,                                     \
      "Bytes over this rank's link to the host")                                                   \
    X(wire_bytes, "kvferry_operation_wire_bytes_total", "", 1,                                     \
      "Bytes that NCCL was asked to send and receive, padding included")                           \
    X(wait_ns, "kvferry_operation_wait_seconds_total", "", 1000000000,                             \
      "Time from submit until all ranks had come, over operations that began and are over")        \
    X(run_ns, "kvferry_operation_run_seconds_total", "", 1000000000,                               \
      "Time from then until all had voted, over the same")                                         \
    X(broken, "kvferry_groups_broken_total", "", 1, "Groups that are beyond use")
typedef struct kvf_group_counters {
#define KVF_X(member, metric, label, per, text) uint64_t member;
    KVF_GROUP_COUNTER_MAP(KVF_X)
#undef KVF_X
} kvf_group_counters;
KVF_API kvf_status kvf_group_counters_get(kvf_group *group, kvf_group_counters *out,
                                          kvf_error *error);
typedef struct kvf_labelled_group_counters {
    const kvf_group_counters *counters;
    const kvf_label *labels;
    size_t label_count;
} kvf_labelled_group_counters;
KVF_API int kvf_group_counters_print(const kvf_labelled_group_counters *groups, size_t count,
                                     char *text, size_t size);
typedef struct kvf_wire kvf_wire;
typedef struct kvf_wire_options {
    kvf_tier *device;
    size_t device_layout;
    size_t chunk_bytes;
    size_t chunks;
} kvf_wire_options;
KVF_API kvf_status kvf_wire_create(kvf_group *group, const kvf_wire_options *options,
                                   kvf_wire **out, kvf_error *error);
KVF_API void kvf_wire_destroy(kvf_wire *wire);
typedef struct kvf_wire_op kvf_wire_op;
typedef enum kvf_share {
    KVF_SHARE_STRIPED,
    KVF_SHARE_FIRST,
} kvf_share;
typedef struct kvf_wire_submit_options {
    uint64_t tag;
    size_t host_layout;
    kvf_share share;
    kvf_assignments *const *dst;
    kvf_callback callback;
    void *user;
} kvf_wire_submit_options;
KVF_API kvf_status kvf_wire_onboard(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);
KVF_API kvf_status kvf_wire_offload(kvf_wire *wire, kvf_tier *host, const kvf_plan *plans,
                                    size_t plan_count, const kvf_wire_submit_options *options,
                                    kvf_wire_op **out, kvf_error *error);
typedef struct kvf_hand {
    int peer;
    bool receives;
    kvf_plan plan;
    kvf_assignments *dst;
} kvf_hand;
KVF_API kvf_status kvf_wire_exchange(kvf_wire *wire, const kvf_hand *hands, size_t count,
                                     const kvf_wire_submit_options *options, kvf_wire_op **out,
                                     kvf_error *error);
KVF_API kvf_status kvf_wire_op_poll(kvf_wire_op *op, kvf_error *error);
KVF_API kvf_status kvf_wire_op_wait(kvf_wire_op *op, int64_t timeout_us, kvf_error *error);
typedef struct kvf_wire_op_stats {
    uint64_t blocks;
    uint64_t host_bytes;
    uint64_t wire_bytes;
    uint64_t chunks;
    double wait_us;
    double run_us;
} kvf_wire_op_stats;
KVF_API void kvf_wire_op_stats_get(const kvf_wire_op *op, kvf_wire_op_stats *stats);
KVF_API void kvf_wire_op_release(kvf_wire_op *op);
#ifdef __cplusplus
}
#endif
#endif
