#ifndef KVFERRY_CUDA_H
#define KVFERRY_CUDA_H
#include "transfer.h"
#ifdef __cplusplus
extern "C" {
#endif
struct CUstream_st;
struct CUevent_st;
typedef struct kvf_cuda_pinned kvf_cuda_pinned;
#define KVF_CUDA_SEGMENT ((size_t)1 << 36)
typedef struct kvf_cuda_pinned_options {
    size_t bytes;
    int device;
    bool near_device;
    bool no_huge_pages;
    unsigned threads;
    const kvf_allocator *allocator;
} kvf_cuda_pinned_options;
typedef struct kvf_cuda_pinned_report {
    size_t bytes;
    size_t page_bytes;
    size_t huge_bytes;
    int numa_node;
    size_t segments;
    double touch_seconds;
    double register_seconds;
} kvf_cuda_pinned_report;
KVF_API kvf_status kvf_cuda_pinned_create(const kvf_cuda_pinned_options *options,
                                          kvf_cuda_pinned **out, kvf_cuda_pinned_report *report,
                                          kvf_error *error);
KVF_API kvf_status kvf_cuda_pinned_adopt(void *base, size_t bytes, int device,
                                         const kvf_allocator *allocator, kvf_cuda_pinned **out,
                                         kvf_cuda_pinned_report *report, kvf_error *error);
KVF_API void *kvf_cuda_pinned_base(const kvf_cuda_pinned *pinned);
KVF_API size_t kvf_cuda_pinned_bytes(const kvf_cuda_pinned *pinned);
KVF_API void kvf_cuda_pinned_destroy(kvf_cuda_pinned *pinned);
KVF_API kvf_status kvf_cuda_device_alloc(int device, size_t bytes, void **out, kvf_error *error);
KVF_API void kvf_cuda_device_free(int device, void *memory);
typedef enum kvf_cuda_strategy {
    KVF_CUDA_AUTO,
    KVF_CUDA_LOOP,
    KVF_CUDA_BATCH,
    KVF_CUDA_KERNEL,
    KVF_CUDA_STAGED,
} kvf_cuda_strategy;
#define KVF_CUDA_STRATEGIES 5
KVF_API const char *kvf_cuda_strategy_name(kvf_cuda_strategy strategy);
typedef enum kvf_cuda_direction {
    KVF_CUDA_TO_DEVICE,
    KVF_CUDA_FROM_DEVICE,
    KVF_CUDA_ON_DEVICE,
} kvf_cuda_direction;
#define KVF_CUDA_DIRECTIONS 3
typedef struct kvf_cuda_model kvf_cuda_model;
KVF_API kvf_status kvf_cuda_model_builtin(const kvf_allocator *allocator, kvf_cuda_model **out,
                                          kvf_error *error);
typedef struct kvf_cuda_calibrate_options {
    int device;
    size_t scratch_bytes;
    const kvf_allocator *allocator;
    const kvf_log *log;
} kvf_cuda_calibrate_options;
KVF_API kvf_status kvf_cuda_model_calibrate(const kvf_cuda_calibrate_options *options,
                                            kvf_cuda_model **out, kvf_error *error);
KVF_API kvf_status kvf_cuda_model_save(const kvf_cuda_model *model, const char *path,
                                       kvf_error *error);
KVF_API kvf_status kvf_cuda_model_load(const char *path, int device, const kvf_allocator *allocator,
                                       kvf_cuda_model **out, kvf_error *error);
KVF_API void kvf_cuda_model_destroy(kvf_cuda_model *model);
typedef enum kvf_cuda_reason {
    KVF_CUDA_CHEAPEST,
    KVF_CUDA_FORCED,
    KVF_CUDA_ONLY,
    KVF_CUDA_FELL_BACK,
} kvf_cuda_reason;
typedef struct kvf_cuda_explanation {
    kvf_cuda_strategy chosen;
    kvf_cuda_reason reason;
    bool calibrated;
    double us[KVF_CUDA_STRATEGIES];
    double wire_us;
    uint64_t bytes;
    uint64_t boxes;
    uint64_t fragments;
    uint64_t host_boxes;
    double measured_us;
} kvf_cuda_explanation;
KVF_API const kvf_box_limits *kvf_cuda_limits(void);
KVF_API kvf_status kvf_cuda_model_explain(const kvf_cuda_model *model, const kvf_move *move,
                                          kvf_cuda_direction direction, kvf_cuda_explanation *out,
                                          kvf_error *error);
typedef struct kvf_cuda_options {
    int device;
    unsigned lanes;
    size_t max_transfers;
    kvf_cuda_strategy strategy;
    const kvf_cuda_model *model;
    bool no_thread;
    double background_to_gbps;
    double background_from_gbps;
    unsigned ctas;
    size_t ring_bytes;
    size_t ring_limit;
    const kvf_allocator *allocator;
    const kvf_log *log;
    const kvf_ranges *ranges;
} kvf_cuda_options;
KVF_API kvf_status kvf_engine_cuda_create(const kvf_cuda_options *options, kvf_engine **out,
                                          kvf_error *error);
KVF_API kvf_status kvf_cuda_explain(const kvf_transfer *transfer, kvf_cuda_explanation *out,
                                    kvf_error *error);
typedef struct kvf_cuda_strategy_stats {
    uint64_t transfers;
    uint64_t bytes;
    uint64_t compared;
    double median_error;
} kvf_cuda_strategy_stats;
typedef struct kvf_cuda_stats {
    kvf_cuda_strategy_stats by[KVF_CUDA_STRATEGIES];
    size_t ring_bytes[KVF_CUDA_DIRECTIONS];
} kvf_cuda_stats;
KVF_API kvf_status kvf_cuda_stats_get(kvf_engine *engine, kvf_cuda_stats *out, kvf_error *error);
KVF_API kvf_status kvf_cuda_wait_group(kvf_transfer *transfer, uint32_t group,
                                       struct CUstream_st *stream, kvf_error *error);
KVF_API kvf_status kvf_cuda_wait_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool writes, struct CUstream_st *stream, kvf_error *error);
KVF_API kvf_status kvf_cuda_mark_slots(kvf_tier *tier, const uint64_t *ids, size_t count,
                                       bool written, struct CUevent_st *event, kvf_error *error);
#ifdef __cplusplus
}
#endif
#endif
