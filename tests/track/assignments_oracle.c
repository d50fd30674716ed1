#include "assignments_oracle.h"

#include <string.h>

/* ---- lists ---------------------------------------------------------------------------------- */

static void insert(oracle_list *list, size_t index, oracle_block block) {
    memmove(&list->at[index + 1], &list->at[index], (list->count - index) * sizeof *list->at);
    list->at[index] = block;
    list->count++;
}

void oracle_push(oracle_list *list, oracle_block block) {
    insert(list, list->count, block);
}

static oracle_block take_at(oracle_list *list, size_t index) {
    oracle_block block = list->at[index];
    list->count--;
    memmove(&list->at[index], &list->at[index + 1], (list->count - index) * sizeof *list->at);
    return block;
}

static oracle_block shift(oracle_list *list) {
    return take_at(list, 0);
}

static oracle_block pop(oracle_list *list) {
    return take_at(list, list->count - 1);
}

bool oracle_holds(const oracle_list *list, uint64_t id) {
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].id == id)
            return true;
    return false;
}

bool oracle_knows(const oracle_assignments *m, uint64_t id) {
    return oracle_holds(&m->assigned, id) || oracle_holds(&m->staged, id) ||
           oracle_holds(&m->pending, id);
}

size_t oracle_total(const oracle_assignments *m) {
    return m->assigned.count + m->staged.count + m->pending.count;
}

uint64_t oracle_next_position(const oracle_assignments *m) {
    return m->offset + m->assigned.count + m->staged.count;
}

static bool is_open(const oracle_block *block) {
    return block->flight != 0 && !block->landed;
}

static bool open_within(const oracle_assignments *m, size_t start, size_t end) {
    for (size_t i = start; i < end && i < m->staged.count; i++)
        if (is_open(&m->staged.at[i]))
            return true;
    return false;
}

bool oracle_any_open(const oracle_assignments *m) {
    return open_within(m, 0, m->staged.count);
}

/* ---- operations: each returns the error that the library should return ----------------------- */

static bool in_range(const oracle_assignments *m, size_t more) {
    return more <= UINT64_MAX - m->offset - oracle_total(m);
}

kvf_error oracle_extend_block_ids(oracle_assignments *m, const uint64_t *ids, size_t count) {
    size_t first_new = count;
    oracle_list fresh = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        if (oracle_knows(m, ids[i])) {
            if (first_new == count)
                continue;
            return SAYS(.status = KVF_ERR_ORDERING_VIOLATION,
                        .fields = KVF_ERROR_ID | KVF_ERROR_OTHER_ID | KVF_ERROR_INDEX |
                                  KVF_ERROR_OTHER_INDEX,
                        .id = ids[i], .other_id = ids[first_new], .index = i,
                        .other_index = first_new);
        }
        if (oracle_holds(&fresh, ids[i]))
            return SAYS(.status = KVF_ERR_DUPLICATE_BLOCK_ID, .fields = KVF_ERROR_ID, .id = ids[i]);
        if (first_new == count)
            first_new = i;
        oracle_push(&fresh, (oracle_block){.id = ids[i]});
    }
    if (!in_range(m, fresh.count))
        return SAYS(.status = KVF_ERR_RANGE);
    while (fresh.count > 0)
        oracle_push(&m->pending, shift(&fresh));
    return SAYS(.status = KVF_OK);
}

kvf_error oracle_extend_assigned(oracle_assignments *m, const uint64_t *ids, const kvf_hash *hashes,
                                 size_t count) {
    if (oracle_any_open(m))
        return SAYS(.status = KVF_ERR_BUSY);
    oracle_list fresh = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        if (oracle_knows(m, ids[i]) || oracle_holds(&fresh, ids[i]))
            return SAYS(.status = KVF_ERR_DUPLICATE_BLOCK_ID,
                        .fields = KVF_ERROR_ID | KVF_ERROR_INDEX, .id = ids[i], .index = i);
        oracle_push(&fresh, (oracle_block){.id = ids[i], .hash = hashes[i]});
    }
    if (!in_range(m, count))
        return SAYS(.status = KVF_ERR_RANGE);
    while (fresh.count > 0)
        oracle_push(&m->assigned, shift(&fresh));
    return SAYS(.status = KVF_OK);
}

static kvf_error check_positions(const oracle_assignments *m, const kvf_hash *hashes,
                                 size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t expected = oracle_next_position(m) + i, actual = kvf_hash_position(hashes[i]);
        if (actual != expected)
            return SAYS(.status = KVF_ERR_POSITION_MISMATCH,
                        .fields = KVF_ERROR_ID | KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                        .id = m->pending.at[i].id, .position = actual, .expected = expected);
    }
    return SAYS(.status = KVF_OK);
}

static void stage(oracle_assignments *m, const kvf_hash *hashes, size_t count, uint64_t flight) {
    for (size_t i = 0; i < count; i++) {
        oracle_block block = shift(&m->pending);
        block.hash = hashes[i];
        block.flight = flight;
        block.landed = false;
        oracle_push(&m->staged, block);
    }
}

kvf_error oracle_stage_next(oracle_assignments *m, const kvf_hash *hashes, size_t count,
                            kvf_range *staged) {
    if (count > m->pending.count)
        count = m->pending.count;
    kvf_error says = check_positions(m, hashes, count);
    if (says.status != KVF_OK)
        return says;
    *staged = (kvf_range){m->staged.count, m->staged.count + count};
    stage(m, hashes, count, 0);
    return says;
}

kvf_error oracle_stage_pending(oracle_assignments *m, const kvf_hash *hashes, size_t count,
                               kvf_range *staged) {
    uint64_t skip = oracle_next_position(m) < count ? oracle_next_position(m) : count;
    return oracle_stage_next(m, hashes + skip, count - (size_t)skip, staged);
}

static void advance(oracle_assignments *m) {
    while (m->staged.count > 0 && m->staged.at[0].landed)
        oracle_push(&m->assigned, shift(&m->staged));
}

kvf_range oracle_commit_staged(oracle_assignments *m) {
    size_t start = m->assigned.count;
    for (size_t i = 0; i < m->staged.count; i++)
        if (m->staged.at[i].flight == 0)
            m->staged.at[i].landed = true;
    advance(m);
    return (kvf_range){start, m->assigned.count};
}

kvf_error oracle_take_staged(oracle_assignments *m, bool arrays, size_t capacity) {
    if (oracle_any_open(m))
        return SAYS(.status = KVF_ERR_BUSY);
    if (arrays && capacity < m->staged.count)
        return SAYS(.status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                    .expected = m->staged.count);
    m->staged.count = 0;
    return SAYS(.status = KVF_OK);
}

void oracle_clear(oracle_assignments *m) {
    m->assigned.count = m->staged.count = m->pending.count = 0;
}

/* Whether the `count` newest or oldest staged blocks may be rolled back or committed. */
static kvf_error check_staged(const oracle_assignments *m, size_t count, bool newest) {
    if (count > m->staged.count)
        return SAYS(.status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                    .expected = m->staged.count);
    size_t start = newest ? m->staged.count - count : 0;
    return SAYS(.status = open_within(m, start, start + count) ? KVF_ERR_BUSY : KVF_OK);
}

static void unstage(oracle_assignments *m, size_t keep) {
    while (m->staged.count > keep)
        insert(&m->pending, 0, pop(&m->staged));
}

kvf_error oracle_rollback_staged(oracle_assignments *m, size_t count) {
    kvf_error says = check_staged(m, count, true);
    if (says.status == KVF_OK)
        unstage(m, m->staged.count - count);
    return says;
}

kvf_error oracle_commit_oldest(oracle_assignments *m, size_t count) {
    kvf_error says = check_staged(m, count, false);
    if (says.status != KVF_OK)
        return says;
    for (size_t i = 0; i < count; i++)
        oracle_push(&m->assigned, shift(&m->staged));
    advance(m);
    return says;
}

kvf_error oracle_truncate(oracle_assignments *m, uint64_t position) {
    if (position < m->offset)
        return SAYS(.status = KVF_ERR_RANGE, .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                    .position = position, .expected = m->offset);
    uint64_t keep = position - m->offset;
    if (keep < m->assigned.count + m->staged.count) {
        size_t staged = keep > m->assigned.count ? (size_t)keep - m->assigned.count : 0;
        if (open_within(m, staged, m->staged.count))
            return SAYS(.status = KVF_ERR_BUSY);
    }
    while (oracle_total(m) > keep)
        pop(m->pending.count ? &m->pending : m->staged.count ? &m->staged : &m->assigned);
    return SAYS(.status = KVF_OK);
}

kvf_error oracle_drop_front(oracle_assignments *m, size_t count) {
    if (count > m->assigned.count)
        return SAYS(.status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                    .expected = m->assigned.count);
    for (size_t i = 0; i < count; i++)
        shift(&m->assigned);
    m->offset += count;
    return SAYS(.status = KVF_OK);
}

kvf_error oracle_depart(oracle_assignments *m, const kvf_plan *plan) {
    uint64_t next = oracle_next_position(m);
    if (plan->count == 0 || !plan->dst_ids || !plan->src_hashes)
        return SAYS(.status = KVF_ERR_INVALID);
    if (plan->first_position != next)
        return SAYS(.status = KVF_ERR_GAP, .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                    .position = plan->first_position, .expected = next);
    for (size_t i = 0; i < plan->count; i++)
        if (i >= m->pending.count || plan->dst_ids[i] != m->pending.at[i].id)
            return SAYS(.status = KVF_ERR_INVALID, .fields = KVF_ERROR_ID | KVF_ERROR_INDEX,
                        .id = plan->dst_ids[i], .index = i);
    kvf_error says = check_positions(m, plan->src_hashes, plan->count);
    if (says.status != KVF_OK)
        return says;
    const oracle_list *newest = m->staged.count ? &m->staged : &m->assigned;
    if (newest->count > 0 &&
        !kvf_hash_follows(m->layout, newest->at[newest->count - 1].hash, plan->src_hashes[0]))
        return SAYS(.status = KVF_ERR_LINEAGE, .fields = KVF_ERROR_ID | KVF_ERROR_POSITION,
                    .id = plan->dst_ids[0], .position = next);
    stage(m, plan->src_hashes, plan->count, ++m->last_flight);
    return says;
}

/* The open flight's blocks among the staged ones. */
kvf_range oracle_find_flight(const oracle_assignments *m, uint64_t flight) {
    kvf_range found = {0, 0};
    for (size_t i = 0; flight != 0 && i < m->staged.count; i++) {
        if (m->staged.at[i].flight != flight || !is_open(&m->staged.at[i]))
            continue;
        if (found.end == 0)
            found.start = i;
        found.end = i + 1;
    }
    return found;
}

kvf_error oracle_check_flight(const oracle_assignments *m, uint64_t flight) {
    if (flight == 0 || flight > m->last_flight)
        return SAYS(.status = KVF_ERR_INVALID);
    kvf_range found = oracle_find_flight(m, flight);
    return SAYS(.status = found.start == found.end ? KVF_ERR_CLOSED : KVF_OK);
}

static void land_blocks(oracle_assignments *m, uint64_t start, uint64_t end) {
    for (uint64_t i = start; i < end; i++)
        m->staged.at[i].landed = true;
}

kvf_error oracle_land(oracle_assignments *m, uint64_t flight, kvf_range *assigned) {
    kvf_error says = oracle_check_flight(m, flight);
    if (says.status != KVF_OK)
        return says;
    kvf_range found = oracle_find_flight(m, flight);
    assigned->start = m->assigned.count;
    land_blocks(m, found.start, found.end);
    advance(m);
    assigned->end = m->assigned.count;
    return says;
}

kvf_error oracle_return(oracle_assignments *m, uint64_t flight, size_t landed) {
    kvf_error says = oracle_check_flight(m, flight);
    if (says.status != KVF_OK)
        return says;
    kvf_range found = oracle_find_flight(m, flight);
    if (landed > found.end - found.start)
        return SAYS(.status = KVF_ERR_RANGE, .fields = KVF_ERROR_EXPECTED,
                    .expected = found.end - found.start);
    unstage(m, (size_t)found.start + landed);
    land_blocks(m, found.start, found.start + landed);
    advance(m);
    return says;
}
