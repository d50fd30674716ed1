#include <kvferry/plan.h>

#include "base/allocator.h"

static uint64_t end_of(kvf_view view) {
    return view.first_position + view.count;
}

static kvf_plan zip(kvf_view src, kvf_view dst) {
    uint64_t start = kvf__max(src.first_position, dst.first_position);
    uint64_t end = kvf__min(end_of(src), end_of(dst));
    if (start >= end)
        return (kvf_plan){.first_position = start};
    return (kvf_plan){
        .first_position = start,
        .count = (size_t)(end - start),
        .src_ids = src.ids + (start - src.first_position),
        .dst_ids = dst.ids + (start - dst.first_position),
        .src_hashes = src.hashes + (start - src.first_position),
    };
}

kvf_plan kvf_zip_assigned(const kvf_assignments *a, const kvf_assignments *b) {
    return zip(kvf_assignments_assigned(a), kvf_assignments_assigned(b));
}

kvf_plan kvf_zip_assigned_pending(const kvf_assignments *src, const kvf_assignments *dst) {
    return zip(kvf_assignments_assigned(src), kvf_assignments_pending(dst));
}

kvf_plan kvf_plan_slice(kvf_plan plan, kvf_range positions) {
    uint64_t start = kvf__max(plan.first_position, positions.start);
    uint64_t skip = start - plan.first_position;
    if (start >= positions.end || skip >= plan.count)
        return (kvf_plan){.first_position = start};
    return (kvf_plan){
        .first_position = start,
        .count = (size_t)kvf__min(plan.count - skip, positions.end - start),
        .src_ids = plan.src_ids + skip,
        .dst_ids = plan.dst_ids + skip,
        .src_hashes = plan.src_hashes ? plan.src_hashes + skip : NULL,
    };
}
