#include "assignments_run.h"

#include "track/assignments.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- comparing ------------------------------------------------------------------------------ */

static void require(oracle_run *run, bool rule, const char *name) {
    if (!rule && !run->broken)
        run->broken = name;
}

static void compare_view(oracle_run *run, kvf_view view, const oracle_list *list, uint64_t first,
                         bool hashes) {
    require(run, view.count == list->count, "count of a view");
    require(run, view.first_position == first, "first position of a view");
    require(run, (view.ids != NULL) == (list->count > 0), "NULL ids exactly in an empty view");
    require(run, (view.hashes != NULL) == (hashes && list->count > 0), "NULL hashes of a view");
    for (size_t i = 0; !run->broken && i < list->count; i++) {
        require(run, view.ids[i] == list->at[i].id, "id in a view");
        if (hashes)
            require(run, kvf_hash_equal(view.hashes[i], list->at[i].hash), "hash in a view");
    }
}

static bool range_is(kvf_range range, uint64_t start, size_t count) {
    return range.start == start && range.end == start + count;
}

static void compare_counts(oracle_run *run) {
    const oracle_assignments *m = &run->oracle;
    const kvf_assignments *a = run->real;
    const size_t assigned = m->assigned.count, staged = m->staged.count;
    char text[160], want[160];
    require(run, kvf_assignments_offset(a) == m->offset, "offset");
    require(run, kvf_assignments_hash_layout(a) == m->layout, "layout");
    require(run, kvf_assignments_assigned_count(a) == assigned, "assigned count");
    require(run, kvf_assignments_staged_count(a) == staged, "staged count");
    require(run, kvf_assignments_pending_count(a) == m->pending.count, "pending count");
    require(run, kvf_assignments_next_position(a) == oracle_next_position(m), "next position");
    require(run, range_is(kvf_assignments_assigned_positions(a), m->offset, assigned),
            "assigned positions");
    require(run, range_is(kvf_assignments_staged_positions(a), m->offset + assigned, staged),
            "staged positions");
    require(
        run,
        range_is(kvf_assignments_pending_positions(a), oracle_next_position(m), m->pending.count),
        "pending positions");
    require(run, kvf_assignments_memory(a) == run->memory.live_bytes, "memory figure");
    kvf_assignments_format(a, text, sizeof text);
    snprintf(want, sizeof want,
             "ExternalBlockAssignments { assigned_count: %zu, staged_count: %zu, "
             "unassigned_count: %zu, offset: %" PRIu64 " }",
             assigned, staged, m->pending.count, m->offset);
    require(run, strcmp(text, want) == 0, "text");
}

static void compare_flights(oracle_run *run) {
    size_t open = 0;
    for (uint64_t flight = 0; flight <= run->oracle.last_flight + 1; flight++) {
        bool is = oracle_check_flight(&run->oracle, flight).status == KVF_OK;
        open += is;
        require(run, kvf_flight_is_open(run->real, flight) == is, "whether a flight is open");
    }
    require(run, kvf_flight_open_count(run->real) == open, "count of open flights");
}

static kvf_phase oracle_find(const oracle_assignments *m, uint64_t id, size_t *index) {
    const oracle_list *lists[] = {&m->assigned, &m->staged, &m->pending};
    for (size_t k = 0; k < 3; k++)
        for (*index = 0; *index < lists[k]->count; ++*index)
            if (lists[k]->at[*index].id == id)
                return (kvf_phase)(KVF_PHASE_ASSIGNED + k);
    return KVF_PHASE_NONE;
}

static void compare_find(oracle_run *run, uint64_t id) {
    size_t want, index = SIZE_MAX;
    kvf_phase phase = oracle_find(&run->oracle, id, &want);
    require(run, kvf_assignments_find(run->real, id, &index) == phase, "phase of an id");
    require(run, index == (phase == KVF_PHASE_NONE ? SIZE_MAX : want), "index of an id");
    require(run, kvf_assignments_contains(run->real, id) == (phase != KVF_PHASE_NONE), "contains");
}

static bool same_block(bool got, uint64_t id, kvf_hash hash, const oracle_list *list,
                       uint64_t index) {
    if (index >= list->count)
        return !got && id == 77 && hash.low == 77;
    return got && id == list->at[index].id && kvf_hash_equal(hash, list->at[index].hash);
}

static void compare_get(oracle_run *run, uint64_t index) {
    const oracle_assignments *m = &run->oracle;
    kvf_hash hash = {77, 77};
    uint64_t id = 77;
    bool got = kvf_assignments_get_assigned(run->real, (size_t)index, &id, &hash);
    require(run, same_block(got, id, hash, &m->assigned, index), "get assigned");
    id = hash.low = hash.high = 77;
    got = kvf_assignments_get_at_position(run->real, m->offset + index, &id, &hash);
    require(run, same_block(got, id, hash, &m->assigned, index), "get at position");
    id = hash.low = hash.high = 77;
    got = kvf_assignments_get_staged(run->real, (size_t)index, &id, &hash);
    require(run, same_block(got, id, hash, &m->staged, index), "get staged");
    id = 77;
    got = kvf_assignments_get_pending_at_position(run->real, oracle_next_position(m) + index, &id);
    bool want = index < m->pending.count;
    require(run, got == want && id == (want ? m->pending.at[index].id : 77), "get pending");
}

static void compare(oracle_run *run) {
    const oracle_assignments *m = &run->oracle;
    const char *invariant = kvf__assignments_check(run->real);
    require(run, !invariant, invariant);
    compare_counts(run);
    compare_view(run, kvf_assignments_assigned(run->real), &m->assigned, m->offset, true);
    compare_view(run, kvf_assignments_staged(run->real), &m->staged, m->offset + m->assigned.count,
                 true);
    compare_view(run, kvf_assignments_pending(run->real), &m->pending, oracle_next_position(m),
                 false);
    compare_flights(run);
}

/* ---- doing ---------------------------------------------------------------------------------- */

static uint64_t below(oracle_run *run, uint64_t bound) {
    return run->source.below(run->source.user, bound);
}

static bool one_in(oracle_run *run, uint64_t n) {
    return below(run, n) == n - 1;
}

static const kvf_error untouched = {.status = KVF_PENDING, .fields = 12345};

static bool same_error(const kvf_error *a, const kvf_error *b) {
    return a->status == b->status && a->fields == b->fields && a->id == b->id &&
           a->other_id == b->other_id && a->index == b->index && a->other_index == b->other_index &&
           a->position == b->position && a->expected == b->expected;
}

static bool allocation_failed(const oracle_run *run) {
    return run->memory.fail_at != 0 && run->memory.calls >= run->memory.fail_at;
}

/* Compares the library's result with the oracle's, and takes over the oracle's new state unless the
 * library was out of memory. Returns whether the call should succeed and did. */
static bool settle(oracle_run *run, const oracle_assignments *next, const kvf_error *want,
                   kvf_status status, const kvf_error *error) {
    if (status == KVF_ERR_NO_MEMORY) {
        require(run, allocation_failed(run), "out of memory without cause");
        require(run, error->status == KVF_ERR_NO_MEMORY, "details of out of memory");
        bool extends = oracle_total(next) > oracle_total(&run->oracle);
        require(run, !extends || oracle_total(next) > run->reserved,
                "out of memory although reserved");
        return false;
    }
    require(run, status == want->status, "status");
    require(run, same_error(error, status == KVF_OK ? &untouched : want), "details of an error");
    run->oracle = *next;
    return status == KVF_OK;
}

static bool settle_range(oracle_run *run, const oracle_assignments *next, const kvf_error *want,
                         kvf_status status, const kvf_error *error, kvf_range got,
                         kvf_range range) {
    if (!settle(run, next, want, status, error)) {
        require(run, got.start == 77 && got.end == 77, "range written although it failed");
        return false;
    }
    require(run, got.start == range.start && got.end == range.end, "range");
    return true;
}

/* From few of each kind, so that ids repeat: adjacent, one per entry, spread out, the largest. */
static uint64_t draw_id(oracle_run *run) {
    switch (below(run, 4)) {
    case 0:
        return below(run, 96);
    case 1:
        return 64 * below(run, 48) + 1000;
    case 2:
        return below(run, 48) * UINT64_C(0x9e3779b97f4a7c15);
    default:
        return UINT64_MAX - below(run, 40);
    }
}

static uint64_t fragment(uint64_t salt, uint64_t position) {
    return (position + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ salt * UINT64_C(0xbf58476d1ce4e5b9);
}

/* The lineage hash of a position in the salt's sequence; for positions that no lineage hash can
 * hold, the hash of another position. */
static kvf_hash chain_hash(kvf_hash_layout layout, uint64_t salt, uint64_t position) {
    kvf_hash hash = {0, 0};
    position &= KVF_MAX_POSITION;
    uint64_t parent = fragment(salt, position - 1);
    kvf_hash_lineage(layout, fragment(salt, position), position ? &parent : NULL, position, &hash);
    return hash;
}

static void draw_hashes(oracle_run *run, uint64_t first, kvf_hash *hashes, size_t count) {
    uint64_t salt = one_in(run, 10);
    for (size_t i = 0; i < count; i++)
        hashes[i] = chain_hash(run->oracle.layout, salt, first + i);
    if (count == 0 || !one_in(run, 10))
        return;
    size_t at = (size_t)below(run, count);
    uint64_t wrong = first + at + 1 + below(run, 300);
    hashes[at] = chain_hash(run->oracle.layout, salt, wrong);
    if (one_in(run, 3)) /* not a lineage hash, though its position may be right */
        hashes[at].high = UINT64_C(3) << 62 | ((first + at) & (UINT64_MAX >> 33)) << 30;
}

/* Any number up to `count` + 1. */
static size_t draw_count(oracle_run *run, size_t count) {
    return (size_t)below(run, count + 2);
}

/* New ids, now and then a known or duplicate one; as many as still fit. */
static size_t draw_new_ids(oracle_run *run, uint64_t *ids) {
    size_t room = ORACLE_BLOCKS - oracle_total(&run->oracle);
    size_t count = (size_t)below(run, one_in(run, 6) ? 80 : 9);
    bool careless = one_in(run, 6);
    oracle_list drawn = {.count = 0};
    while (drawn.count < count && drawn.count < room) {
        uint64_t id = draw_id(run);
        for (int tries = 0;
             tries < 30 && (oracle_knows(&run->oracle, id) || oracle_holds(&drawn, id)); tries++)
            id = careless ? id : draw_id(run) + (uint64_t)tries;
        ids[drawn.count] = id;
        oracle_push(&drawn, (oracle_block){.id = id});
    }
    return drawn.count;
}

static size_t all_ids(const oracle_assignments *m, uint64_t *ids) {
    const oracle_list *lists[] = {&m->assigned, &m->staged, &m->pending};
    size_t count = 0;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < lists[k]->count; i++)
            ids[count++] = lists[k]->at[i].id;
    return count;
}

static void do_extend_block_ids(oracle_run *run) {
    uint64_t ids[2 * ORACLE_BLOCKS];
    oracle_assignments next = run->oracle;
    size_t known = all_ids(&run->oracle, ids);
    if (one_in(run, 3)) /* only some of the known ids, in another order */
        known = (size_t)below(run, known + 1);
    if (known > 1 && one_in(run, 3)) {
        size_t i = (size_t)below(run, known), k = (size_t)below(run, known);
        uint64_t id = ids[i];
        ids[i] = ids[k];
        ids[k] = id;
    }
    size_t count = known + draw_new_ids(run, ids + known);
    kvf_error error = untouched, want = oracle_extend_block_ids(&next, ids, count);
    kvf_status status = kvf_assignments_extend_block_ids(run->real, ids, count, &error);
    settle(run, &next, &want, status, &error);
}

static void do_extend_assigned(oracle_run *run) {
    uint64_t ids[ORACLE_BLOCKS];
    kvf_hash hashes[ORACLE_BLOCKS];
    oracle_assignments next = run->oracle;
    size_t count = draw_new_ids(run, ids);
    draw_hashes(run, next.offset + next.assigned.count, hashes, count);
    kvf_error error = untouched, want = oracle_extend_assigned(&next, ids, hashes, count);
    kvf_status status = kvf_assignments_extend_assigned(run->real, ids, hashes, count, &error);
    settle(run, &next, &want, status, &error);
}

static void do_stage_next(oracle_run *run) {
    kvf_hash hashes[ORACLE_BLOCKS + 1];
    oracle_assignments next = run->oracle;
    size_t count = draw_count(run, next.pending.count);
    draw_hashes(run, oracle_next_position(&next), hashes, count);
    kvf_range range = {0, 0}, got = {77, 77};
    kvf_error error = untouched, want = oracle_stage_next(&next, hashes, count, &range);
    kvf_status status = kvf_assignments_stage_next(run->real, hashes, count, &got, &error);
    settle_range(run, &next, &want, status, &error, got, range);
}

/* A whole sequence's hashes, about as long as the assignments. */
enum { WHOLE = 512 };

static size_t draw_whole(oracle_run *run, kvf_hash *hashes) {
    size_t end = oracle_total(&run->oracle) + 10;
    if (run->oracle.offset < WHOLE)
        end += (size_t)run->oracle.offset;
    size_t count = (size_t)below(run, (end < WHOLE ? end : WHOLE) + 1);
    draw_hashes(run, 0, hashes, count);
    return count;
}

static void do_stage_pending(oracle_run *run) {
    kvf_hash hashes[WHOLE];
    oracle_assignments next = run->oracle;
    size_t count = draw_whole(run, hashes);
    kvf_range range = {0, 0}, got = {77, 77};
    kvf_error error = untouched, want = oracle_stage_pending(&next, hashes, count, &range);
    kvf_status status = kvf_assignments_stage_pending(run->real, hashes, count, &got, &error);
    settle_range(run, &next, &want, status, &error, got, range);
}

static void do_assign_pending(oracle_run *run) {
    kvf_hash hashes[WHOLE];
    oracle_assignments next = run->oracle;
    size_t count = draw_whole(run, hashes);
    kvf_range range = {0, 0}, got = {77, 77};
    kvf_error error = untouched, want = oracle_stage_pending(&next, hashes, count, &range);
    if (want.status == KVF_OK)
        range = oracle_commit_staged(&next);
    kvf_status status = kvf_assignments_assign_pending(run->real, hashes, count, &got, &error);
    settle_range(run, &next, &want, status, &error, got, range);
}

static void do_commit_staged(oracle_run *run) {
    kvf_range range = oracle_commit_staged(&run->oracle);
    kvf_range got = kvf_assignments_commit_staged(run->real);
    require(run, got.start == range.start && got.end == range.end, "range");
}

static void do_take_staged(oracle_run *run) {
    uint64_t ids[ORACLE_BLOCKS + 1];
    kvf_hash hashes[ORACLE_BLOCKS + 1];
    oracle_assignments next = run->oracle;
    oracle_list staged = next.staged;
    bool want_ids = below(run, 2), want_hashes = below(run, 2);
    size_t capacity = one_in(run, 4) ? draw_count(run, staged.count) : staged.count, count = 77;
    kvf_error error = untouched,
              want = oracle_take_staged(&next, want_ids || want_hashes, capacity);
    kvf_status status = kvf_assignments_take_staged(
        run->real, want_ids ? ids : NULL, want_hashes ? hashes : NULL, capacity, &count, &error);
    bool took = settle(run, &next, &want, status, &error);
    require(run, count == (took ? staged.count : 77), "count of taken blocks");
    for (size_t i = 0; took && i < staged.count; i++) {
        require(run, !want_ids || ids[i] == staged.at[i].id, "taken id");
        require(run, !want_hashes || kvf_hash_equal(hashes[i], staged.at[i].hash), "taken hash");
    }
}

static void do_clear(oracle_run *run) {
    if (!one_in(run, 6))
        return;
    oracle_clear(&run->oracle);
    kvf_assignments_clear(run->real);
}

static void do_rollback_staged(oracle_run *run) {
    oracle_assignments next = run->oracle;
    size_t count = draw_count(run, next.staged.count);
    kvf_error error = untouched, want = oracle_rollback_staged(&next, count);
    kvf_status status = kvf_assignments_rollback_staged(run->real, count, &error);
    settle(run, &next, &want, status, &error);
}

static void do_commit_oldest(oracle_run *run) {
    oracle_assignments next = run->oracle;
    size_t count = draw_count(run, next.staged.count);
    kvf_error error = untouched, want = oracle_commit_oldest(&next, count);
    kvf_status status = kvf_assignments_commit_oldest(run->real, count, &error);
    settle(run, &next, &want, status, &error);
}

static void do_truncate(oracle_run *run) {
    oracle_assignments next = run->oracle;
    uint64_t end = next.offset + oracle_total(&next), position;
    switch (below(run, 6)) {
    case 0:
        position = next.offset + below(run, oracle_total(&next) + 1);
        break;
    case 1:
        position = next.offset - 1 - below(run, 3);
        break;
    case 2:
        position = end + below(run, 3);
        break;
    default: /* a few at the end */
        position = end - below(run, (oracle_total(&next) < 8 ? oracle_total(&next) : 8) + 1);
    }
    kvf_error error = untouched, want = oracle_truncate(&next, position);
    kvf_status status = kvf_assignments_truncate(run->real, position, &error);
    settle(run, &next, &want, status, &error);
}

static void do_drop_front(oracle_run *run) {
    oracle_assignments next = run->oracle;
    size_t count = draw_count(run, next.assigned.count);
    kvf_error error = untouched, want = oracle_drop_front(&next, count);
    kvf_status status = kvf_assignments_drop_front(run->real, count, &error);
    settle(run, &next, &want, status, &error);
}

static void do_reserve(oracle_run *run) {
    oracle_assignments next = run->oracle;
    size_t count = (size_t)below(run, ORACLE_BLOCKS + 1);
    bool fits = count <= UINT64_MAX - next.offset;
    kvf_error error = untouched, want = SAYS(.status = fits ? KVF_OK : KVF_ERR_RANGE);
    kvf_status status = kvf_assignments_reserve(run->real, count, &error);
    if (settle(run, &next, &want, status, &error) && run->reserved < count)
        run->reserved = count;
}

/* Replaces the object by its clone. */
static void do_clone(oracle_run *run) {
    oracle_assignments next = run->oracle;
    kvf_assignments *copy = NULL;
    kvf_error error = untouched,
              want = SAYS(.status = oracle_any_open(&next) ? KVF_ERR_BUSY : KVF_OK);
    kvf_status status = kvf_assignments_clone(run->real, &copy, &error);
    require(run, (copy != NULL) == (status == KVF_OK), "a copy exactly when it is OK");
    if (!settle(run, &next, &want, status, &error))
        return;
    kvf_assignments_destroy(run->real);
    run->real = copy;
    run->reserved = 0;
}

static void do_depart(oracle_run *run) {
    uint64_t ids[ORACLE_BLOCKS + 1] = {0};
    kvf_hash hashes[ORACLE_BLOCKS + 1];
    oracle_assignments next = run->oracle;
    size_t pending = next.pending.count, few = pending < 6 ? pending : 6;
    kvf_plan plan = {oracle_next_position(&next), few, NULL, ids, hashes};
    plan.count = one_in(run, 8) ? draw_count(run, pending) : (size_t)below(run, few + 1);
    for (size_t i = 0; i < plan.count; i++)
        ids[i] = i < pending ? next.pending.at[i].id : 5;
    draw_hashes(run, plan.first_position, hashes, plan.count);
    switch (below(run, 24)) {
    case 0:
        plan.first_position += below(run, 2) ? 1 : UINT64_MAX;
        break;
    case 1:
        ids[plan.count / 2] += 1;
        break;
    case 2:
        plan.src_hashes = NULL;
        break;
    case 3:
        plan.dst_ids = NULL;
        break;
    default: /* the object's own ids, as zipping gives them */
        if (plan.count > 0 && plan.count <= pending && below(run, 2))
            plan.dst_ids = kvf_assignments_pending(run->real).ids;
    }
    kvf_flight flight = 77;
    kvf_error error = untouched, want = oracle_depart(&next, &plan);
    size_t reserved = run->reserved;
    kvf_status status = kvf_flight_depart(run->real, &plan, &flight, &error);
    bool departed = settle(run, &next, &want, status, &error);
    run->reserved = reserved;
    require(run, flight == (departed ? next.last_flight : 77), "the flight's name");
}

/* Mostly an open flight. */
static uint64_t draw_flight(oracle_run *run) {
    const oracle_list *staged = &run->oracle.staged;
    if (staged->count > 0 && !one_in(run, 8))
        return staged->at[below(run, staged->count)].flight;
    return below(run, run->oracle.last_flight + 2);
}

static void do_land(oracle_run *run) {
    oracle_assignments next = run->oracle;
    uint64_t flight = draw_flight(run);
    kvf_range range = {0, 0}, got = {77, 77};
    kvf_error error = untouched, want = oracle_land(&next, flight, &range);
    kvf_status status = kvf_flight_land(run->real, flight, &got, &error);
    settle_range(run, &next, &want, status, &error, got, range);
}

static void do_return(oracle_run *run) {
    oracle_assignments next = run->oracle;
    uint64_t flight = draw_flight(run);
    kvf_range found = oracle_find_flight(&next, flight);
    size_t landed = draw_count(run, (size_t)(found.end - found.start));
    kvf_error error = untouched, want = oracle_return(&next, flight, landed);
    kvf_status status = kvf_flight_return(run->real, flight, landed, &error);
    settle(run, &next, &want, status, &error);
}

static void do_read(oracle_run *run) {
    uint64_t ids[ORACLE_BLOCKS];
    size_t count = all_ids(&run->oracle, ids);
    if (count > 0)
        compare_find(run, ids[below(run, count)]);
    compare_find(run, draw_id(run));
    compare_get(run, below(run, ORACLE_BLOCKS));
    compare_get(run, below(run, 4));
    compare_get(run, UINT64_MAX - below(run, 2));
}

/* `stable` operations do not move the ids in memory. */
static const struct operation {
    const char *name;
    void (*run)(oracle_run *);
    bool stable;
} operations[] = {
    {"extend_block_ids", do_extend_block_ids, false},
    {"extend_block_ids", do_extend_block_ids, false},
    {"extend_assigned", do_extend_assigned, false},
    {"stage_next", do_stage_next, true},
    {"stage_pending", do_stage_pending, true},
    {"commit_staged", do_commit_staged, true},
    {"assign_pending", do_assign_pending, true},
    {"take_staged", do_take_staged, false},
    {"clear", do_clear, false},
    {"rollback_staged", do_rollback_staged, true},
    {"commit_oldest", do_commit_oldest, true},
    {"truncate", do_truncate, false},
    {"drop_front", do_drop_front, false},
    {"reserve", do_reserve, false},
    {"clone", do_clone, false},
    {"depart", do_depart, true},
    {"depart", do_depart, true},
    {"depart", do_depart, true},
    {"land", do_land, true},
    {"land", do_land, true},
    {"return", do_return, true},
    {"read", do_read, true},
};

void oracle_run_begin(oracle_run *run, oracle_source source) {
    static const uint64_t offsets[] = {
        0, 0, 0, 3, 250, 65530, KVF_MAX_POSITION - 20, UINT64_MAX - 40, UINT64_MAX};
    *run = (oracle_run){.source = source, .operation = "create"};
    test_allocator_init(&run->memory);
    run->oracle.offset = offsets[below(run, sizeof offsets / sizeof offsets[0])];
    run->oracle.layout = below(run, 2) ? KVF_HASH_V1_3 : KVF_HASH_V1_2;
    const kvf_assignments_options options = {run->oracle.offset, run->oracle.layout,
                                             &run->memory.allocator};
    kvf_status status = kvf_assignments_create(&options, &run->real, NULL);
    require(run, status == KVF_OK, "creating");
}

/* The address of the first id. */
static const uint64_t *front(const kvf_assignments *a) {
    const kvf_view views[] = {kvf_assignments_assigned(a), kvf_assignments_staged(a),
                              kvf_assignments_pending(a)};
    for (size_t i = 0; i < 3; i++)
        if (views[i].count > 0)
            return views[i].ids;
    return NULL;
}

bool oracle_run_step(oracle_run *run) {
    if (run->broken)
        return false;
    const struct operation *o = &operations[below(run, sizeof operations / sizeof operations[0])];
    const uint64_t *before = front(run->real);
    run->operation = o->name;
    run->memory.fail_at = one_in(run, 5) ? run->memory.calls + 1 + below(run, 3) : 0;
    run->memory.fail_ever_after = below(run, 2);
    o->run(run);
    run->memory.fail_at = 0;
    require(run, !o->stable || front(run->real) == before, "a stable operation does not move ids");
    if (!run->broken)
        compare(run);
    return !run->broken;
}

bool oracle_run_end(oracle_run *run) {
    kvf_assignments_destroy(run->real);
    run->real = NULL;
    return run->memory.live_blocks == 0 && run->memory.live_bytes == 0;
}
