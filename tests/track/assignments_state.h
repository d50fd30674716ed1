/* Creates assignments for tests, and checks whether they have changed. */
#ifndef KVF_TEST_ASSIGNMENTS_STATE_H
#define KVF_TEST_ASSIGNMENTS_STATE_H

#include "support/support.h"

#include "track/assignments.h"

#include <stdio.h>

enum { STATE_BLOCKS = 256 };

/* Everything that assignments hold. */
typedef struct assignments_state {
    uint64_t offset, next_position;
    size_t assigned, staged, pending, open;
    uint64_t ids[STATE_BLOCKS];
    kvf_hash hashes[STATE_BLOCKS];
} assignments_state;

static inline void assignments_state_append(assignments_state *state, kvf_view view,
                                            size_t *count) {
    for (size_t i = 0; i < view.count; i++, ++*count) {
        assert_true(*count < STATE_BLOCKS);
        state->ids[*count] = view.ids[i];
        state->hashes[*count] = view.hashes ? view.hashes[i] : (kvf_hash){0, 0};
    }
}

static inline assignments_state assignments_state_of(const kvf_assignments *a) {
    const char *broken = kvf__assignments_check(a);
    if (broken)
        fail_msg("%s", broken);
    assignments_state state = {.offset = kvf_assignments_offset(a),
                               .next_position = kvf_assignments_next_position(a),
                               .assigned = kvf_assignments_assigned_count(a),
                               .staged = kvf_assignments_staged_count(a),
                               .pending = kvf_assignments_pending_count(a),
                               .open = kvf_flight_open_count(a)};
    size_t count = 0;
    assignments_state_append(&state, kvf_assignments_assigned(a), &count);
    assignments_state_append(&state, kvf_assignments_staged(a), &count);
    assignments_state_append(&state, kvf_assignments_pending(a), &count);
    return state;
}

static inline void assert_unchanged(const kvf_assignments *a, const assignments_state *before) {
    const assignments_state now = assignments_state_of(a);
    assert_int_equal(now.offset, before->offset);
    assert_int_equal(now.next_position, before->next_position);
    assert_int_equal(now.assigned, before->assigned);
    assert_int_equal(now.staged, before->staged);
    assert_int_equal(now.pending, before->pending);
    assert_int_equal(now.open, before->open);
    for (size_t i = 0; i < STATE_BLOCKS; i++) {
        assert_int_equal(now.ids[i], before->ids[i]);
        assert_true(kvf_hash_equal(now.hashes[i], before->hashes[i]));
    }
}

/* Asserts the ids of the phases, as "1 2 | 3 | 4 5"; an empty phase is "-". */
#define assert_blocks(a, text) assert_blocks_at((a), (text), __FILE__, __LINE__)

static inline void assert_blocks_at(const kvf_assignments *a, const char *text, const char *file,
                                    int line) {
    const assignments_state state = assignments_state_of(a);
    const size_t ends[] = {state.assigned, state.assigned + state.staged,
                           state.assigned + state.staged + state.pending};
    char got[4096];
    size_t length = 0, at = 0;
    for (size_t phase = 0; phase < 3; phase++) {
        const char *between = phase ? " | " : "";
        if (at == ends[phase])
            length += (size_t)snprintf(got + length, sizeof got - length, "%s-", between);
        for (; at < ends[phase]; at++, between = " ")
            length += (size_t)snprintf(got + length, sizeof got - length, "%s%llu", between,
                                       (unsigned long long)state.ids[at]);
    }
    _assert_string_equal(got, text, file, line);
}

/* The hashes of `count` positions of the only sequence in these tests. */
static inline void fill_hashes(kvf_hash *hashes, uint64_t first, size_t count) {
    for (size_t i = 0; i < count; i++)
        hashes[i] = test_hash(first + i, 1000);
}

static inline void add_pending(kvf_assignments *a, uint64_t first_id, size_t count) {
    assignments_state state = assignments_state_of(a);
    size_t known = state.assigned + state.staged + state.pending;
    assert_true(known + count <= STATE_BLOCKS);
    for (size_t i = 0; i < count; i++)
        state.ids[known + i] = first_id + i;
    kvf_error error;
    test_expect(KVF_OK, kvf_assignments_extend_block_ids(a, state.ids, known + count, &error),
                &error);
}

static inline void stage_some(kvf_assignments *a, size_t count) {
    kvf_hash hashes[STATE_BLOCKS];
    kvf_error error;
    kvf_range staged;
    fill_hashes(hashes, kvf_assignments_next_position(a), count);
    test_expect(KVF_OK, kvf_assignments_stage_next(a, hashes, count, &staged, &error), &error);
    assert_int_equal(staged.end - staged.start, count);
}

/* Ids from 1 on: first the assigned ones, then the staged, then the pending. */
static inline kvf_assignments *make_assignments(const kvf_allocator *allocator, uint64_t offset,
                                                size_t assigned, size_t staged, size_t pending) {
    const kvf_assignments_options options = {.offset = offset, .allocator = allocator};
    kvf_assignments *a = NULL;
    assert_int_equal(kvf_assignments_create(&options, &a, NULL), KVF_OK);
    add_pending(a, 1, assigned + staged + pending);
    stage_some(a, assigned);
    kvf_assignments_commit_staged(a);
    stage_some(a, staged);
    return a;
}

#endif
