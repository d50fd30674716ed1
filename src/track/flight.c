#include <kvferry/flight.h>

#include "track/assignments.h"

#include <string.h>

/* The hash of the last block that has one; false: no block has. */
static bool last_hash(const kvf_assignments *a, kvf_hash *hash) {
    if (a->staged_end == a->first)
        return false;
    *hash = a->hashes[a->staged_end - 1];
    return true;
}

static kvf_status check_ids(const kvf_assignments *dst, const kvf_plan *plan, kvf_error *error) {
    kvf_view pending = kvf_assignments_pending(dst);
    for (size_t i = 0; i < plan->count; i++)
        if (i >= pending.count || plan->dst_ids[i] != pending.ids[i])
            return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                             .fields = KVF_ERROR_ID | KVF_ERROR_INDEX, .id = plan->dst_ids[i],
                             .index = i, .what = "destination ids must be the first pending ids");
    return KVF_OK;
}

/* Checks what zipping does not. */
static kvf_status check_plan(const kvf_assignments *dst, const kvf_plan *plan, kvf_error *error) {
    uint64_t next = kvf_assignments_next_position(dst);
    if (plan->first_position != next)
        return KVF__FAIL(error, .status = KVF_ERR_GAP,
                         .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                         .position = plan->first_position, .expected = next);
    kvf_status status = check_ids(dst, plan, error);
    if (status == KVF_OK)
        status = kvf__assignments_check_positions(dst, plan->src_hashes, plan->count, error);
    if (status != KVF_OK)
        return status;
    kvf_hash last;
    if (last_hash(dst, &last) && !kvf_hash_follows(dst->layout, last, plan->src_hashes[0]))
        return KVF__FAIL(error, .status = KVF_ERR_LINEAGE,
                         .fields = KVF_ERROR_ID | KVF_ERROR_POSITION, .id = plan->dst_ids[0],
                         .position = next);
    return KVF_OK;
}

kvf_status kvf_flight_depart(kvf_assignments *dst, const kvf_plan *plan, kvf_flight *flight,
                             kvf_error *error) {
    if (!dst || !plan || !flight)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (plan->count == 0 || !plan->dst_ids || !plan->src_hashes)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = "plan needs blocks, destination ids and hashes");
    kvf_status status = check_plan(dst, plan, error);
    if (status != KVF_OK)
        return status;
    size_t tail = kvf_assignments_staged_count(dst) - kvf__segments_blocks(&dst->segments);
    if (!kvf__segments_depart(&dst->segments, &dst->allocator, tail, dst->last_flight + 1,
                              plan->count))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf__assignments_stage(dst, plan->src_hashes, plan->count);
    *flight = ++dst->last_flight;
    return KVF_OK;
}

static kvf_status find(const kvf_assignments *dst, kvf_flight flight, kvf__segment **segment,
                       size_t *start, kvf_error *error) {
    if (!dst || flight == 0 || flight > dst->last_flight)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = dst ? "unknown flight" : "NULL argument");
    *segment = kvf__segments_find(&dst->segments, flight, start);
    if (!*segment)
        return KVF__FAIL(error, .status = KVF_ERR_CLOSED,
                         .what = "the flight has landed, returned or been detached");
    return KVF_OK;
}

kvf_status kvf_flight_land(kvf_assignments *dst, kvf_flight flight, kvf_range *assigned,
                           kvf_error *error) {
    kvf__segment *segment;
    size_t start;
    kvf_status status = find(dst, flight, &segment, &start, error);
    if (status != KVF_OK)
        return status;
    size_t before = kvf_assignments_assigned_count(dst);
    kvf__segments_land(&dst->segments, segment);
    kvf__assignments_advance(dst);
    if (assigned)
        *assigned = (kvf_range){before, kvf_assignments_assigned_count(dst)};
    return KVF_OK;
}

kvf_status kvf_flight_return(kvf_assignments *dst, kvf_flight flight, size_t landed,
                             kvf_error *error) {
    kvf__segment *segment;
    size_t start;
    kvf_status status = find(dst, flight, &segment, &start, error);
    if (status != KVF_OK)
        return status;
    if (landed > segment->count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = segment->count, .what = "landed exceeds the flight's blocks");
    if (landed > 0)
        kvf__segments_land(&dst->segments, segment);
    kvf__segments_keep_front(&dst->segments, start + landed);
    dst->staged_end = dst->assigned_end + start + landed;
    kvf__assignments_advance(dst);
    return KVF_OK;
}

bool kvf_flight_is_open(const kvf_assignments *dst, kvf_flight flight) {
    size_t start;
    return dst && flight != 0 && kvf__segments_find(&dst->segments, flight, &start);
}

size_t kvf_flight_open_count(const kvf_assignments *dst) {
    return dst ? dst->segments.open : 0;
}
