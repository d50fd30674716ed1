#ifndef KVFERRY_ENGINE_H
#define KVFERRY_ENGINE_H
#include "hooks.h"
#include "layout.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_engine kvf_engine;
typedef struct kvf_tier kvf_tier;
typedef struct kvf_transfer kvf_transfer;
typedef void (*kvf_callback)(void *user, const kvf_error *error);
#define KVF_PRIORITIES 4
typedef struct kvf_host_options {
    unsigned threads;
    bool no_threads;
    size_t max_transfers;
    double background_gbps;
    double imitate_gbps;
    double imitate_latency_us;
    const kvf_allocator *allocator;
    const kvf_log *log;
    const kvf_ranges *ranges;
} kvf_host_options;
KVF_API kvf_status kvf_engine_host_create(const kvf_host_options *options, kvf_engine **out,
                                          kvf_error *error);
KVF_API void kvf_engine_destroy(kvf_engine *engine);
KVF_API const char *kvf_engine_name(const kvf_engine *engine);
KVF_API size_t kvf_engine_progress(kvf_engine *engine);
KVF_API kvf_status kvf_engine_counters_get(kvf_engine *engine, kvf_counters *out, kvf_error *error);
typedef enum kvf_memory {
    KVF_MEMORY_HOST,
    KVF_MEMORY_PINNED,
    KVF_MEMORY_DEVICE,
} kvf_memory;
typedef struct kvf_tier_options {
    const kvf_layout *const *layouts;
    size_t layout_count;
    kvf_memory memory;
    bool integrity;
} kvf_tier_options;
KVF_API kvf_status kvf_tier_create(kvf_engine *engine, const kvf_tier_options *options,
                                   kvf_tier **out, kvf_error *error);
KVF_API void kvf_tier_destroy(kvf_tier *tier);
KVF_API size_t kvf_tier_blocks(const kvf_tier *tier);
KVF_API kvf_memory kvf_tier_memory(const kvf_tier *tier);
KVF_API const kvf_layout *kvf_tier_layout(const kvf_tier *tier, size_t index);
KVF_API kvf_status kvf_tier_idle(const kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);
KVF_API kvf_status kvf_tier_seal(kvf_tier *tier, const uint64_t *ids, size_t count,
                                 kvf_error *error);
#ifdef __cplusplus
}
#endif
#endif
