#include "track/assignments.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t total(const kvf_assignments *a) {
    return a->end - a->first;
}

kvf_status kvf_assignments_create(const kvf_assignments_options *options, kvf_assignments **out,
                                  kvf_error *error) {
    const kvf_assignments_options none = {0};
    const kvf_assignments_options *o = options ? options : &none;
    if (!out || (o->layout != KVF_HASH_V1_2 && o->layout != KVF_HASH_V1_3))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                         .what = out ? "unknown hash layout" : "NULL argument");
    kvf_allocator allocator = kvf__allocator(o->allocator);
    kvf_assignments *a = kvf__alloc_zero(&allocator, 1, sizeof *a);
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    a->allocator = allocator;
    a->layout = o->layout;
    a->offset = o->offset;
    *out = a;
    return KVF_OK;
}

static void free_arrays(kvf_assignments *a) {
    kvf__free(&a->allocator, a->ids, a->ids_capacity, sizeof *a->ids);
    kvf__free(&a->allocator, a->hashes, a->hashes_capacity, sizeof *a->hashes);
    kvf__free(&a->allocator, a->segments.items, a->segments.capacity, sizeof *a->segments.items);
    kvf__idset_free(&a->known, &a->allocator);
    a->ids = NULL;
    a->hashes = NULL;
    a->segments = (kvf__segments){0};
    a->ids_capacity = a->hashes_capacity = 0;
    a->first = a->assigned_end = a->staged_end = a->end = 0;
}

static void free_shell(kvf_assignments *a) {
    kvf_allocator allocator = a->allocator;
    kvf__free(&allocator, a, 1, sizeof *a);
}

void kvf_assignments_destroy(kvf_assignments *a) {
    if (!a)
        return;
    free_arrays(a);
    a->destroyed = true;
    if (a->holders == 0)
        free_shell(a);
}

void kvf__assignments_hold(kvf_assignments *a) {
    a->holders++;
}

void kvf__assignments_release(kvf_assignments *a) {
    assert(a->holders > 0);
    a->holders--;
    if (a->destroyed && a->holders == 0)
        free_shell(a);
}

kvf_status kvf_assignments_clone(const kvf_assignments *a, kvf_assignments **out,
                                 kvf_error *error) {
    if (!a || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (a->segments.open > 0)
        return KVF__FAIL(error, .status = KVF_ERR_BUSY, .what = "a flight is open");
    const kvf_assignments_options options = {a->offset, a->layout, &a->allocator};
    kvf_assignments *copy = NULL;
    kvf_status status = kvf_assignments_create(&options, &copy, error);
    if (!copy)
        return status;
    size_t n = total(a);
    if (!kvf__grow(&copy->allocator, &copy->ids, &copy->ids_capacity, n, sizeof *copy->ids) ||
        !kvf__grow(&copy->allocator, &copy->hashes, &copy->hashes_capacity, n,
                   sizeof *copy->hashes) ||
        !kvf__idset_clone(&a->known, &copy->allocator, &copy->known) ||
        !kvf__segments_clone(&a->segments, &copy->allocator, &copy->segments)) {
        kvf_assignments_destroy(copy);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    copy->last_flight = a->last_flight;
    copy->assigned_end = a->assigned_end - a->first;
    copy->staged_end = a->staged_end - a->first;
    copy->end = n;
    if (n > 0)
        memcpy(copy->ids, a->ids + a->first, n * sizeof *copy->ids);
    if (copy->staged_end > 0)
        memcpy(copy->hashes, a->hashes + a->first, copy->staged_end * sizeof *copy->hashes);
    *out = copy;
    return KVF_OK;
}

/* Reading */

uint64_t kvf_assignments_offset(const kvf_assignments *a) {
    return a->offset;
}

kvf_hash_layout kvf_assignments_hash_layout(const kvf_assignments *a) {
    return a->layout;
}

size_t kvf_assignments_assigned_count(const kvf_assignments *a) {
    return a->assigned_end - a->first;
}

size_t kvf_assignments_staged_count(const kvf_assignments *a) {
    return a->staged_end - a->assigned_end;
}

size_t kvf_assignments_pending_count(const kvf_assignments *a) {
    return a->end - a->staged_end;
}

uint64_t kvf_assignments_next_position(const kvf_assignments *a) {
    return a->offset + (a->staged_end - a->first);
}

static kvf_range positions(const kvf_assignments *a, size_t start, size_t end) {
    return (kvf_range){a->offset + (start - a->first), a->offset + (end - a->first)};
}

kvf_range kvf_assignments_assigned_positions(const kvf_assignments *a) {
    return positions(a, a->first, a->assigned_end);
}

kvf_range kvf_assignments_staged_positions(const kvf_assignments *a) {
    return positions(a, a->assigned_end, a->staged_end);
}

kvf_range kvf_assignments_pending_positions(const kvf_assignments *a) {
    return positions(a, a->staged_end, a->end);
}

static kvf_view view(const kvf_assignments *a, size_t start, size_t end, bool hashes) {
    kvf_view v = {.count = end - start, .first_position = a->offset + (start - a->first)};
    if (v.count > 0) {
        v.ids = a->ids + start;
        v.hashes = hashes ? a->hashes + start : NULL;
    }
    return v;
}

kvf_view kvf_assignments_assigned(const kvf_assignments *a) {
    return view(a, a->first, a->assigned_end, true);
}

kvf_view kvf_assignments_staged(const kvf_assignments *a) {
    return view(a, a->assigned_end, a->staged_end, true);
}

kvf_view kvf_assignments_pending(const kvf_assignments *a) {
    return view(a, a->staged_end, a->end, false);
}

bool kvf_assignments_contains(const kvf_assignments *a, uint64_t id) {
    return kvf__idset_contains(&a->known, id);
}

kvf_phase kvf_assignments_find(const kvf_assignments *a, uint64_t id, size_t *index) {
    if (!kvf__idset_contains(&a->known, id))
        return KVF_PHASE_NONE;
    size_t at = a->first;
    while (a->ids[at] != id)
        at++;
    kvf_phase phase = at < a->assigned_end ? KVF_PHASE_ASSIGNED
                      : at < a->staged_end ? KVF_PHASE_STAGED
                                           : KVF_PHASE_PENDING;
    size_t start = phase == KVF_PHASE_ASSIGNED ? a->first
                   : phase == KVF_PHASE_STAGED ? a->assigned_end
                                               : a->staged_end;
    if (index)
        *index = at - start;
    return phase;
}

static bool get(kvf_view v, uint64_t index, uint64_t *id, kvf_hash *hash) {
    if (index >= v.count)
        return false;
    if (id)
        *id = v.ids[index];
    if (hash)
        *hash = v.hashes[index];
    return true;
}

bool kvf_assignments_get_assigned(const kvf_assignments *a, size_t index, uint64_t *id,
                                  kvf_hash *hash) {
    return get(kvf_assignments_assigned(a), index, id, hash);
}

bool kvf_assignments_get_staged(const kvf_assignments *a, size_t index, uint64_t *id,
                                kvf_hash *hash) {
    return get(kvf_assignments_staged(a), index, id, hash);
}

bool kvf_assignments_get_at_position(const kvf_assignments *a, uint64_t position, uint64_t *id,
                                     kvf_hash *hash) {
    return position >= a->offset &&
           get(kvf_assignments_assigned(a), position - a->offset, id, hash);
}

bool kvf_assignments_get_pending_at_position(const kvf_assignments *a, uint64_t position,
                                             uint64_t *id) {
    kvf_view v = kvf_assignments_pending(a);
    return position >= v.first_position && get(v, position - v.first_position, id, NULL);
}

int kvf_assignments_format(const kvf_assignments *a, char *buffer, size_t size) {
    return snprintf(buffer, size,
                    "ExternalBlockAssignments { assigned_count: %zu, staged_count: %zu, "
                    "unassigned_count: %zu, offset: %" PRIu64 " }",
                    kvf_assignments_assigned_count(a), kvf_assignments_staged_count(a),
                    kvf_assignments_pending_count(a), a->offset);
}

size_t kvf_assignments_memory(const kvf_assignments *a) {
    return sizeof *a + a->ids_capacity * sizeof *a->ids + a->hashes_capacity * sizeof *a->hashes +
           a->known.capacity * sizeof *a->known.entries +
           a->segments.capacity * sizeof *a->segments.items;
}

/* Changing */

/* Moves everything to the front of the arrays, over what was dropped. */
static void compact(kvf_assignments *a) {
    memmove(a->ids, a->ids + a->first, total(a) * sizeof *a->ids);
    memmove(a->hashes, a->hashes + a->first, (a->staged_end - a->first) * sizeof *a->hashes);
    a->assigned_end -= a->first;
    a->staged_end -= a->first;
    a->end -= a->first;
    a->first = 0;
}

/* Makes room for `more` ids and their hashes after the end. */
static bool make_room(kvf_assignments *a, size_t more) {
    /* Compacting pays once it frees as much as it moves. */
    if (a->first > 0 && more > a->ids_capacity - a->end && a->first >= total(a))
        compact(a);
    size_t needed;
    if (kvf__add(a->end, more, &needed) &&
        kvf__grow(&a->allocator, &a->ids, &a->ids_capacity, needed, sizeof *a->ids) &&
        kvf__grow(&a->allocator, &a->hashes, &a->hashes_capacity, needed, sizeof *a->hashes))
        return true;
    /* Out of memory: reuse the room of dropped blocks, as kvf_assignments_reserve promises. */
    size_t room = kvf__min(a->ids_capacity, a->hashes_capacity) - total(a);
    if (a->first == 0 || more > room)
        return false;
    compact(a);
    return true;
}

/* Makes room and checks the positions for `count` new blocks. Their ids are in `known` already; on
 * failure they are removed from it. */
static kvf_status admit(kvf_assignments *a, const uint64_t *ids, size_t count, kvf_error *error) {
    bool in_range = count <= UINT64_MAX - a->offset - total(a);
    if (in_range && make_room(a, count))
        return KVF_OK;
    kvf__idset_remove(&a->known, ids, count);
    if (!in_range)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "positions would exceed 2^64 - 1");
    return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
}

static size_t common_prefix(const uint64_t *a, const uint64_t *b, size_t count) {
    size_t i = 0;
    while (i < count && a[i] == b[i])
        i++;
    return i;
}

/* How many ids at the front are known. Most callers pass the list that is held already. */
static size_t known_prefix(const kvf_assignments *a, const uint64_t *ids, size_t count) {
    size_t shared = kvf__min(count, total(a));
    size_t same = shared > 0 ? common_prefix(ids, a->ids + a->first, shared) : 0;
    return same + kvf__idset_known_prefix(&a->known, ids + same, count - same);
}

/* The error for ids[at], which cannot follow the new ids[first_new .. at). These are in `known`. */
static kvf_status refuse_id(const uint64_t *ids, size_t first_new, size_t at, kvf_error *error) {
    for (size_t i = first_new; i < at; i++)
        if (ids[i] == ids[at])
            return KVF__FAIL(error, .status = KVF_ERR_DUPLICATE_BLOCK_ID, .fields = KVF_ERROR_ID,
                             .id = ids[at]);
    return KVF__FAIL(
        error, .status = KVF_ERR_ORDERING_VIOLATION,
        .fields = KVF_ERROR_ID | KVF_ERROR_OTHER_ID | KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX,
        .id = ids[at], .other_id = ids[first_new], .index = at, .other_index = first_new);
}

kvf_status kvf_assignments_extend_block_ids(kvf_assignments *a, const uint64_t *ids, size_t count,
                                            kvf_error *error) {
    if (!a || (!ids && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    size_t first_new = count > 0 ? known_prefix(a, ids, count) : 0;
    size_t fresh = count - first_new;
    if (fresh == 0)
        return KVF_OK;
    bool no_memory;
    size_t added = kvf__idset_add(&a->known, &a->allocator, ids + first_new, fresh, &no_memory);
    if (added < fresh) {
        kvf_status status = no_memory ? KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY)
                                      : refuse_id(ids, first_new, first_new + added, error);
        kvf__idset_remove(&a->known, ids + first_new, added);
        return status;
    }
    kvf_status status = admit(a, ids + first_new, fresh, error);
    if (status != KVF_OK)
        return status;
    memcpy(a->ids + a->end, ids + first_new, fresh * sizeof *ids);
    a->end += fresh;
    return KVF_OK;
}

/* Opens a gap of `count` blocks after the assigned ones; the arrays have room. */
static void open_gap(kvf_assignments *a, size_t count) {
    memmove(a->ids + a->assigned_end + count, a->ids + a->assigned_end,
            (a->end - a->assigned_end) * sizeof *a->ids);
    memmove(a->hashes + a->assigned_end + count, a->hashes + a->assigned_end,
            (a->staged_end - a->assigned_end) * sizeof *a->hashes);
    a->assigned_end += count;
    a->staged_end += count;
    a->end += count;
}

kvf_status kvf_assignments_extend_assigned(kvf_assignments *a, const uint64_t *ids,
                                           const kvf_hash *hashes, size_t count, kvf_error *error) {
    if (!a || ((!ids || !hashes) && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (a->segments.open > 0)
        return KVF__FAIL(error, .status = KVF_ERR_BUSY, .what = "a flight is open");
    if (count == 0)
        return KVF_OK;
    bool no_memory;
    size_t added = kvf__idset_add(&a->known, &a->allocator, ids, count, &no_memory);
    if (added < count) {
        kvf__idset_remove(&a->known, ids, added);
        if (no_memory)
            return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
        return KVF__FAIL(error, .status = KVF_ERR_DUPLICATE_BLOCK_ID,
                         .fields = KVF_ERROR_ID | KVF_ERROR_INDEX, .id = ids[added],
                         .index = added);
    }
    kvf_status status = admit(a, ids, count, error);
    if (status != KVF_OK)
        return status;
    open_gap(a, count);
    memcpy(a->ids + a->assigned_end - count, ids, count * sizeof *ids);
    memcpy(a->hashes + a->assigned_end - count, hashes, count * sizeof *hashes);
    return KVF_OK;
}

kvf_status kvf__assignments_check_positions(const kvf_assignments *a, const kvf_hash *hashes,
                                            size_t count, kvf_error *error) {
    uint64_t first = kvf_assignments_next_position(a);
    for (size_t i = 0; i < count; i++) {
        /* Both layouts keep mode and position in the same bits; see hash.h. */
        uint64_t high = hashes[i].high;
        unsigned mode = (unsigned)(high >> 62);
        uint64_t position = (high & (UINT64_MAX >> 2)) >> (54 - 8 * mode);
        if (__builtin_expect(position == first + i && mode != 3, 1))
            continue;
        return KVF__FAIL(error, .status = KVF_ERR_POSITION_MISMATCH,
                         .fields = KVF_ERROR_ID | KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                         .id = a->ids[a->staged_end + i], .position = kvf_hash_position(hashes[i]),
                         .expected = first + i);
    }
    return KVF_OK;
}

void kvf__assignments_stage(kvf_assignments *a, const kvf_hash *hashes, size_t count) {
    if (count > 0)
        memmove(a->hashes + a->staged_end, hashes, count * sizeof *hashes);
    a->staged_end += count;
}

kvf_status kvf_assignments_stage_next(kvf_assignments *a, const kvf_hash *hashes, size_t count,
                                      kvf_range *staged, kvf_error *error) {
    if (!a || (!hashes && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    size_t pending = kvf_assignments_pending_count(a);
    size_t stage = kvf__min(count, pending);
    kvf_status status = kvf__assignments_check_positions(a, hashes, stage, error);
    if (status != KVF_OK)
        return status;
    size_t start = kvf_assignments_staged_count(a);
    kvf__assignments_stage(a, hashes, stage);
    if (staged)
        *staged = (kvf_range){start, start + stage};
    return KVF_OK;
}

kvf_status kvf_assignments_stage_pending(kvf_assignments *a, const kvf_hash *hashes, size_t count,
                                         kvf_range *staged, kvf_error *error) {
    if (!a || (!hashes && count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    uint64_t next = kvf_assignments_next_position(a);
    if (next >= count)
        return kvf_assignments_stage_next(a, NULL, 0, staged, error);
    return kvf_assignments_stage_next(a, hashes + next, count - (size_t)next, staged, error);
}

void kvf__assignments_advance(kvf_assignments *a) {
    a->assigned_end += kvf__segments_take_landed(&a->segments);
}

kvf_range kvf_assignments_commit_staged(kvf_assignments *a) {
    if (!a)
        return (kvf_range){0, 0};
    size_t start = kvf_assignments_assigned_count(a);
    if (a->segments.count == 0) {
        a->assigned_end = a->staged_end;
    } else {
        size_t tail = kvf_assignments_staged_count(a) - kvf__segments_blocks(&a->segments);
        kvf__segments_land_own(&a->segments, tail);
        kvf__assignments_advance(a);
    }
    return (kvf_range){start, kvf_assignments_assigned_count(a)};
}

kvf_status kvf_assignments_assign_pending(kvf_assignments *a, const kvf_hash *hashes, size_t count,
                                          kvf_range *assigned, kvf_error *error) {
    kvf_status status = kvf_assignments_stage_pending(a, hashes, count, NULL, error);
    if (status != KVF_OK)
        return status;
    kvf_range range = kvf_assignments_commit_staged(a);
    if (assigned)
        *assigned = range;
    return KVF_OK;
}

kvf_status kvf_assignments_take_staged(kvf_assignments *a, uint64_t *ids, kvf_hash *hashes,
                                       size_t capacity, size_t *count, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (a->segments.open > 0)
        return KVF__FAIL(error, .status = KVF_ERR_BUSY, .what = "a flight is open");
    size_t staged = kvf_assignments_staged_count(a);
    if ((ids || hashes) && capacity < staged)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = staged,
                         .what = "capacity is below the number of staged blocks");
    if (count)
        *count = staged;
    if (staged == 0)
        return KVF_OK;
    kvf_view v = kvf_assignments_staged(a);
    if (ids)
        memcpy(ids, v.ids, staged * sizeof *ids);
    if (hashes)
        memcpy(hashes, v.hashes, staged * sizeof *hashes);
    kvf__idset_remove(&a->known, v.ids, staged);
    memmove(a->ids + a->assigned_end, a->ids + a->staged_end,
            (a->end - a->staged_end) * sizeof *a->ids);
    kvf__segments_keep_front(&a->segments, 0);
    a->staged_end = a->assigned_end;
    a->end -= staged;
    return KVF_OK;
}

void kvf_assignments_clear(kvf_assignments *a) {
    if (!a)
        return;
    kvf__idset_clear(&a->known);
    kvf__segments_keep_front(&a->segments, 0);
    a->first = a->assigned_end = a->staged_end = a->end = 0;
}

static kvf_status check_count(size_t count, size_t most, const char *what, kvf_error *error) {
    if (count > most)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                         .expected = most, .what = what);
    return KVF_OK;
}

static kvf_status check_staged(const kvf_assignments *a, size_t start, size_t end,
                               kvf_error *error) {
    if (kvf__segments_open_within(&a->segments, start, end))
        return KVF__FAIL(error, .status = KVF_ERR_BUSY,
                         .what = "it would cut through an open flight");
    return KVF_OK;
}

kvf_status kvf_assignments_rollback_staged(kvf_assignments *a, size_t count, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    size_t staged = kvf_assignments_staged_count(a);
    kvf_status status = check_count(count, staged, "count exceeds the staged blocks", error);
    if (status == KVF_OK)
        status = check_staged(a, staged - count, staged, error);
    if (status != KVF_OK)
        return status;
    kvf__segments_keep_front(&a->segments, staged - count);
    a->staged_end -= count;
    return KVF_OK;
}

kvf_status kvf_assignments_commit_oldest(kvf_assignments *a, size_t count, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_count(count, kvf_assignments_staged_count(a),
                                    "count exceeds the staged blocks", error);
    if (status == KVF_OK)
        status = check_staged(a, 0, count, error);
    if (status != KVF_OK)
        return status;
    kvf__segments_drop_front(&a->segments, count);
    a->assigned_end += count;
    kvf__assignments_advance(a);
    return KVF_OK;
}

kvf_status kvf_assignments_truncate(kvf_assignments *a, uint64_t position, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (position < a->offset)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED, .position = position,
                         .expected = a->offset, .what = "position is below the offset");
    if (position - a->offset >= total(a))
        return KVF_OK;
    size_t end = a->first + (size_t)(position - a->offset);
    size_t kept = end > a->assigned_end ? end - a->assigned_end : 0;
    kvf_status status = check_staged(a, kept, kvf_assignments_staged_count(a), error);
    if (status != KVF_OK)
        return status;
    kvf__idset_remove(&a->known, a->ids + end, a->end - end);
    kvf__segments_keep_front(&a->segments, kept);
    a->assigned_end = kvf__min(a->assigned_end, end);
    a->staged_end = kvf__min(a->staged_end, end);
    a->end = end;
    return KVF_OK;
}

kvf_status kvf_assignments_drop_front(kvf_assignments *a, size_t count, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_count(count, kvf_assignments_assigned_count(a),
                                    "count exceeds the assigned blocks", error);
    if (status != KVF_OK)
        return status;
    if (count == 0)
        return KVF_OK; /* the array may be NULL */
    kvf__idset_remove(&a->known, a->ids + a->first, count);
    a->first += count;
    a->offset += count;
    return KVF_OK;
}

kvf_status kvf_assignments_reserve(kvf_assignments *a, size_t count, kvf_error *error) {
    if (!a)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (count > UINT64_MAX - a->offset)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE, .what = "positions would exceed 2^64 - 1");
    if (count == 0)
        return KVF_OK;
    if (a->first > 0)
        compact(a);
    if (!kvf__reserve(&a->allocator, &a->ids, &a->ids_capacity, count, sizeof *a->ids) ||
        !kvf__reserve(&a->allocator, &a->hashes, &a->hashes_capacity, count, sizeof *a->hashes) ||
        !kvf__idset_reserve(&a->known, &a->allocator, count))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    return KVF_OK;
}

const char *kvf__assignments_check(const kvf_assignments *a) {
    if (a->first > a->assigned_end || a->assigned_end > a->staged_end || a->staged_end > a->end)
        return "fences out of order";
    if (a->end > a->ids_capacity || a->end > a->hashes_capacity)
        return "more blocks than capacity";
    if (a->end - a->first > UINT64_MAX - a->offset)
        return "positions past 2^64 - 1";
    if (kvf__idset_count(&a->known) != total(a))
        return "number of known ids differs from the number of blocks";
    if (total(a) > 0 && kvf__idset_known_prefix(&a->known, a->ids + a->first, total(a)) != total(a))
        return "a block's id is not known";
    if (kvf__segments_blocks(&a->segments) > kvf_assignments_staged_count(a))
        return "segments longer than the staged blocks";
    size_t open = 0;
    for (size_t i = 0; i < a->segments.count; i++) {
        const kvf__segment *s = &a->segments.items[i];
        open += s->flight != 0 && !s->landed;
        if (s->count == 0 || s->flight > a->last_flight)
            return "a segment is empty or names an unknown flight";
    }
    if (open != a->segments.open)
        return "open flights miscounted";
    if (a->segments.count > 0 && a->segments.items[0].landed)
        return "a landed segment was not committed";
    const kvf__segment *last = a->segments.count ? &a->segments.items[a->segments.count - 1] : NULL;
    if (last && last->flight != 0 && a->segments.count == a->segments.capacity)
        return "no room to commit the tail";
    return NULL;
}
