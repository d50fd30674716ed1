#ifndef KVFERRY_BOUND_H
#define KVFERRY_BOUND_H
#include "flight.h"
#include "transfer.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_bound kvf_bound;
typedef struct kvf_pair {
    const kvf_assignments *src;
    kvf_assignments *dst;
    size_t max_blocks;
} kvf_pair;
KVF_API kvf_status kvf_bound_submit(kvf_tier *src, kvf_tier *dst, const kvf_pair *pairs,
                                    size_t pair_count, const kvf_submit_options *options,
                                    kvf_bound **out, kvf_error *error);
KVF_API kvf_status kvf_bound_poll(kvf_bound *bound, kvf_error *error);
KVF_API kvf_status kvf_bound_wait(kvf_bound *bound, int64_t timeout_us, kvf_error *error);
KVF_API void kvf_bound_cancel(kvf_bound *bound);
KVF_API kvf_status kvf_bound_result(const kvf_bound *bound, size_t pair, size_t *landed);
KVF_API kvf_transfer *kvf_bound_transfer(kvf_bound *bound);
KVF_API void kvf_bound_release(kvf_bound *bound);
#ifdef __cplusplus
}
#endif
#endif
