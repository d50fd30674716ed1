#ifndef KVFERRY_PLAN_H
#define KVFERRY_PLAN_H
#include "assignments.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct kvf_plan {
    uint64_t first_position;
    size_t count;
    const uint64_t *src_ids;
    const uint64_t *dst_ids;
    const kvf_hash *src_hashes;
} kvf_plan;
KVF_API kvf_plan kvf_zip_assigned(const kvf_assignments *a, const kvf_assignments *b);
KVF_API kvf_plan kvf_zip_assigned_pending(const kvf_assignments *src, const kvf_assignments *dst);
KVF_API kvf_plan kvf_plan_slice(kvf_plan plan, kvf_range positions);
#ifdef __cplusplus
}
#endif
#endif
