#ifndef KVFERRY_TRANSFER_H
#define KVFERRY_TRANSFER_H
#include "engine.h"
#include "move.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_completion kvf_completion;
typedef struct kvf_submit_options {
    size_t src_layout;
    size_t dst_layout;
    uint32_t first_group;
    uint32_t group_count;
    bool by_group;
    bool background;
    unsigned priority;
    unsigned strategy;
    kvf_callback callback;
    void *user;
    kvf_completion *completion;
    void *const *events;
    size_t event_count;
} kvf_submit_options;
KVF_API kvf_status kvf_transfer_submit(kvf_tier *src, kvf_tier *dst, const kvf_plan *plans,
                                       size_t plan_count, const kvf_submit_options *options,
                                       kvf_transfer **out, kvf_error *error);
KVF_API kvf_status kvf_transfer_poll(kvf_transfer *transfer, kvf_error *error);
KVF_API kvf_status kvf_transfer_wait(kvf_transfer *transfer, int64_t timeout_us, kvf_error *error);
KVF_API kvf_status kvf_transfer_wait_group(kvf_transfer *transfer, uint32_t group,
                                           int64_t timeout_us, kvf_error *error);
KVF_API void kvf_transfer_cancel(kvf_transfer *transfer);
KVF_API size_t kvf_transfer_landed(const kvf_transfer *transfer, size_t plan);
typedef struct kvf_transfer_stats {
    double submit_us;
    double queue_us;
    double copy_us;
    uint64_t bytes;
    uint64_t blocks;
    uint64_t boxes;
    bool imitated;
} kvf_transfer_stats;
KVF_API void kvf_transfer_stats_get(const kvf_transfer *transfer, kvf_transfer_stats *stats);
KVF_API void kvf_transfer_release(kvf_transfer *transfer);
KVF_API const kvf_box_limits *kvf_engine_limits(const kvf_engine *engine);
KVF_API kvf_status kvf_completion_create(kvf_callback callback, void *user,
                                         const kvf_allocator *allocator, kvf_completion **out,
                                         kvf_error *error);
KVF_API size_t kvf_completion_pending(const kvf_completion *completion);
KVF_API void kvf_completion_arm(kvf_completion *completion);
KVF_API kvf_status kvf_completion_poll(kvf_completion *completion, kvf_error *error);
KVF_API kvf_status kvf_completion_wait(kvf_completion *completion, int64_t timeout_us,
                                       kvf_error *error);
KVF_API void kvf_completion_release(kvf_completion *completion);
#ifdef __cplusplus
}
#endif
#endif
