#include "assignments_state.h"

/* A plan for all of a destination's blocks: position p of the sequence is the source's id p. */
static kvf_plan plan_of(const kvf_assignments *dst, size_t count) {
    static uint64_t src_ids[STATE_BLOCKS];
    static kvf_hash hashes[STATE_BLOCKS];
    const kvf_view pending = kvf_assignments_pending(dst);
    assert_true(count <= pending.count);
    for (size_t i = 0; i < count; i++)
        src_ids[i] = pending.first_position + i;
    fill_hashes(hashes, pending.first_position, count);
    return (kvf_plan){pending.first_position, count, src_ids, pending.ids, hashes};
}

static kvf_flight depart(kvf_assignments *dst, size_t count) {
    const kvf_plan plan = plan_of(dst, count);
    kvf_flight flight = 0;
    kvf_error error;
    test_expect(KVF_OK, kvf_flight_depart(dst, &plan, &flight, &error), &error);
    assert_true(kvf_flight_is_open(dst, flight));
    return flight;
}

/* Lands and asserts which indexes became assigned. */
static void land(kvf_assignments *dst, kvf_flight flight, uint64_t start, uint64_t end) {
    kvf_range assigned = {77, 77};
    kvf_error error;
    test_expect(KVF_OK, kvf_flight_land(dst, flight, &assigned, &error), &error);
    assert_int_equal(assigned.start, start);
    assert_int_equal(assigned.end, end);
    assert_false(kvf_flight_is_open(dst, flight));
}

static void give_back(kvf_assignments *dst, kvf_flight flight, size_t landed) {
    kvf_error error;
    test_expect(KVF_OK, kvf_flight_return(dst, flight, landed, &error), &error);
    assert_false(kvf_flight_is_open(dst, flight));
}

static void assert_closed(kvf_assignments *dst, kvf_flight flight) {
    kvf_range range = {77, 77};
    kvf_error error;
    assert_false(kvf_flight_is_open(dst, flight));
    assert_int_equal(kvf_flight_land(dst, flight, &range, &error), KVF_ERR_CLOSED);
    assert_int_equal(error.status, KVF_ERR_CLOSED);
    assert_int_equal(range.start, 77);
    assert_int_equal(kvf_flight_return(dst, flight, 0, &error), KVF_ERR_CLOSED);
}

/* ---- one flight ----------------------------------------------------------------------------- */

static void test_depart_and_land(void **state) {
    (void)state;
    kvf_assignments *src = make_assignments(NULL, 0, 6, 0, 0),
                    *dst = make_assignments(NULL, 0, 2, 0, 6);
    const kvf_plan plan = kvf_zip_assigned_pending(src, dst);
    const uint64_t *ids = kvf_assignments_pending(dst).ids;
    kvf_flight flight = 0;
    assert_int_equal(kvf_flight_depart(dst, &plan, &flight, NULL), KVF_OK);
    assert_int_not_equal(flight, 0);
    assert_int_equal(kvf_flight_open_count(dst), 1);
    assert_blocks(dst, "1 2 | 3 4 5 6 | 7 8");
    assert_ptr_equal(kvf_assignments_staged(dst).ids, ids);
    assert_int_equal(plan.dst_ids[3], 6); /* the plan is still valid */
    land(dst, flight, 2, 6);
    assert_int_equal(kvf_flight_open_count(dst), 0);
    assert_blocks(dst, "1 2 3 4 5 6 | - | 7 8");
    assert_true(kvf_hash_equal(kvf_assignments_assigned(dst).hashes[5], test_hash(5, 1000)));
    assert_closed(dst, flight);
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst);
}

static void test_return(void **state) {
    (void)state;
    const struct {
        size_t landed;
        const char *after;
    } cases[] = {
        {0, "1 2 | - | 3 4 5 6 7"}, {1, "1 2 3 | - | 4 5 6 7"}, {3, "1 2 3 4 5 | - | 6 7"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 5);
        const kvf_flight flight = depart(dst, 3);
        give_back(dst, flight, cases[i].landed);
        assert_blocks(dst, cases[i].after);
        assert_int_equal(kvf_flight_open_count(dst), 0);
        assert_closed(dst, flight);
        /* The same blocks may depart again, as another flight. */
        assert_int_not_equal(depart(dst, 2), flight);
        kvf_assignments_destroy(dst);
    }
}

static void test_return_of_more_than_departed(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 5);
    const kvf_flight flight = depart(dst, 3);
    depart(dst, 1);
    const assignments_state before = assignments_state_of(dst);
    const size_t counts[] = {4, 5, SIZE_MAX};
    for (size_t i = 0; i < COUNT(counts); i++) {
        kvf_error error;
        assert_int_equal(kvf_flight_return(dst, flight, counts[i], &error), KVF_ERR_RANGE);
        assert_int_equal(error.fields, KVF_ERROR_EXPECTED);
        assert_int_equal(error.expected, 3);
        assert_true(kvf_flight_is_open(dst, flight));
        assert_unchanged(dst, &before);
    }
    kvf_assignments_destroy(dst);
}

static void test_land_without_a_range(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 0, 0, 0, 1);
    assert_int_equal(kvf_flight_land(dst, depart(dst, 1), NULL, NULL), KVF_OK);
    assert_blocks(dst, "1 | - | -");
    kvf_assignments_destroy(dst);
}

/* ---- refused departures --------------------------------------------------------------------- */

static void refuse(kvf_assignments *dst, kvf_plan plan, kvf_error want) {
    const assignments_state before = assignments_state_of(dst);
    kvf_flight flight = 77;
    kvf_error error;
    test_expect(want.status, kvf_flight_depart(dst, &plan, &flight, &error), &error);
    assert_int_equal(error.status, want.status);
    assert_int_equal(error.fields, want.fields);
    assert_int_equal(error.id, want.id);
    assert_int_equal(error.index, want.index);
    assert_int_equal(error.position, want.position);
    assert_int_equal(error.expected, want.expected);
    assert_int_equal(flight, 77);
    assert_unchanged(dst, &before);
    assert_int_equal(kvf_flight_depart(dst, &plan, &flight, NULL), want.status);
}

static void test_depart_refuses_incomplete_plans(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 5);
    const kvf_plan good = plan_of(dst, 3);
    const kvf_error invalid = {.status = KVF_ERR_INVALID};
    kvf_plan plan = good;
    plan.count = 0;
    refuse(dst, plan, invalid);
    plan = good;
    plan.dst_ids = NULL;
    refuse(dst, plan, invalid);
    plan = good;
    plan.src_hashes = NULL;
    refuse(dst, plan, invalid);

    kvf_flight flight;
    assert_int_equal(kvf_flight_depart(NULL, &good, &flight, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_flight_depart(dst, NULL, &flight, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_flight_depart(dst, &good, NULL, NULL), KVF_ERR_INVALID);
    plan = good;
    plan.src_ids = NULL; /* not needed */
    assert_int_equal(kvf_flight_depart(dst, &plan, &flight, NULL), KVF_OK);
    kvf_assignments_destroy(dst);
}

static void test_depart_refuses_other_ids(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 3);
    const uint64_t lists[][4] = {
        {9, 4, 5, 0}, {4, 5, 6, 0}, {3, 5, 4, 0}, {3, 4, 1, 0}, {3, 4, 5, 6}};
    const size_t wrong[] = {0, 0, 1, 2, 3};
    kvf_hash hashes[4];
    fill_hashes(hashes, 6, 4);
    for (size_t i = 0; i < COUNT(lists); i++) {
        const kvf_plan plan = {6, 4, NULL, lists[i], hashes};
        refuse(dst, plan,
               (kvf_error){.status = KVF_ERR_INVALID,
                           .fields = KVF_ERROR_ID | KVF_ERROR_INDEX,
                           .id = lists[i][wrong[i]],
                           .index = wrong[i]});
    }
    kvf_assignments_destroy(dst);
}

static void test_gap(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 1, 5);
    const uint64_t positions[] = {0, 4, 6, 8, UINT64_MAX};
    for (size_t i = 0; i < COUNT(positions); i++) {
        kvf_plan plan = plan_of(dst, 2);
        plan.first_position = positions[i];
        refuse(dst, plan,
               (kvf_error){.status = KVF_ERR_GAP,
                           .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                           .position = positions[i],
                           .expected = 7});
    }
    kvf_assignments_destroy(dst);
}

/* A gap in a plan from zipping: the source starts too late. */
static void test_gap_of_a_zip(void **state) {
    (void)state;
    kvf_assignments *src = make_assignments(NULL, 3, 4, 0, 0),
                    *dst = make_assignments(NULL, 0, 2, 0, 6);
    refuse(dst, kvf_zip_assigned_pending(src, dst),
           (kvf_error){.status = KVF_ERR_GAP,
                       .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                       .position = 3,
                       .expected = 2});
    kvf_assignments_destroy(src);
    kvf_assignments_destroy(dst);
}

static void test_hashes_of_other_positions(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 5);
    for (size_t at = 0; at < 3; at++) {
        kvf_plan plan = plan_of(dst, 3);
        kvf_hash hashes[3];
        fill_hashes(hashes, 6, 3);
        hashes[at] = test_hash(50 + at, 1000);
        plan.src_hashes = hashes;
        refuse(dst, plan,
               (kvf_error){.status = KVF_ERR_POSITION_MISMATCH,
                           .fields = KVF_ERROR_ID | KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                           .id = 3 + at,
                           .position = 50 + at,
                           .expected = 6 + at});
    }
    kvf_assignments_destroy(dst);
}

/* Another sequence's blocks at the right positions, after an assigned and after a staged one. */
static void test_lineage(void **state) {
    (void)state;
    for (size_t staged = 0; staged < 2; staged++) {
        kvf_assignments *dst = make_assignments(NULL, 4, 2, staged, 5);
        const uint64_t next = 6 + staged;
        const kvf_hash hashes[] = {test_hash(next, 5), test_hash(next + 1, 5)};
        kvf_plan plan = plan_of(dst, 2);
        plan.src_hashes = hashes;
        refuse(dst, plan,
               (kvf_error){.status = KVF_ERR_LINEAGE,
                           .fields = KVF_ERROR_ID | KVF_ERROR_POSITION,
                           .id = 3 + staged,
                           .position = next});
        kvf_assignments_destroy(dst);
    }
}

/* Empty assignments accept any lineage: there is nothing to compare it with. */
static void test_no_lineage_before_the_first_block(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 4, 2, 0, 5);
    const kvf_hash hash = test_hash(6, 5);
    const uint64_t id = 3;
    const kvf_plan plan = {6, 1, NULL, &id, &hash};
    kvf_flight flight;
    assert_int_equal(kvf_assignments_drop_front(dst, 2, NULL), KVF_OK);
    assert_int_equal(kvf_flight_depart(dst, &plan, &flight, NULL), KVF_OK);
    kvf_assignments_destroy(dst);
}

/* Real sequences of both hash layouts, across the positions where field widths change: a
 * continuation is accepted, one that differs in its first block is not. */
static void check_lineage_at(kvf_hash_layout layout, uint64_t first) {
    enum { BLOCKS = 6 };
    const kvf_sequence_options with = {.block_size = 1, .layout = layout};
    const kvf_assignments_options options = {.offset = first, .layout = layout};
    const kvf_assignments_options source = {.layout = layout};
    kvf_assignments *sources[2], *dst;
    assert_int_equal(kvf_assignments_create(&options, &dst, NULL), KVF_OK);
    add_pending(dst, 1, BLOCKS);
    for (uint32_t k = 0; k < 2; k++) {
        const size_t count = (size_t)first + BLOCKS;
        uint32_t *tokens = test_calloc(count, sizeof *tokens);
        uint64_t *ids = test_calloc(count, sizeof *ids);
        kvf_sequence *sequence;
        tokens[0] = k;
        for (size_t i = 0; i < count; i++)
            ids[i] = i;
        assert_int_equal(kvf_sequence_create(&with, &sequence, NULL), KVF_OK);
        assert_int_equal(kvf_sequence_extend(sequence, tokens, count, NULL, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_create(&source, &sources[k], NULL), KVF_OK);
        assert_int_equal(kvf_assignments_extend_block_ids(sources[k], ids, count, NULL), KVF_OK);
        assert_int_equal(kvf_assignments_assign_pending(sources[k], kvf_sequence_hashes(sequence),
                                                        count, NULL, NULL),
                         KVF_OK);
        kvf_sequence_destroy(sequence);
        test_free(tokens);
        test_free(ids);
    }
    for (uint64_t position = first; position < first + BLOCKS; position++) {
        kvf_flight flight;
        const kvf_range one = {position, position + 1};
        const kvf_plan right = kvf_plan_slice(kvf_zip_assigned_pending(sources[0], dst), one);
        const kvf_plan wrong = kvf_plan_slice(kvf_zip_assigned_pending(sources[1], dst), one);
        if (position > first)
            assert_int_equal(kvf_flight_depart(dst, &wrong, &flight, NULL), KVF_ERR_LINEAGE);
        assert_int_equal(kvf_flight_depart(dst, &right, &flight, NULL), KVF_OK);
    }
    kvf_assignments_destroy(dst);
    kvf_assignments_destroy(sources[0]);
    kvf_assignments_destroy(sources[1]);
}

static void test_lineage_in_both_layouts(void **state) {
    (void)state;
    const uint64_t firsts[] = {0, 1, 253, 65533};
    for (size_t i = 0; i < COUNT(firsts); i++) {
        check_lineage_at(KVF_HASH_V1_2, firsts[i]);
        check_lineage_at(KVF_HASH_V1_3, firsts[i]);
    }
}

/* ---- several flights ------------------------------------------------------------------------- */

/* Flights land in any order; blocks become assigned in order, and finally all are. */
static void test_landing_in_every_order(void **state) {
    (void)state;
    const size_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < COUNT(orders); i++) {
        kvf_assignments *dst = make_assignments(NULL, 0, 1, 0, 6);
        const size_t ends[] = {2, 4, 7};
        kvf_flight flights[3];
        bool landed[3] = {false};
        for (size_t k = 0; k < 3; k++)
            flights[k] = depart(dst, k + 1);
        for (size_t k = 0; k < 3; k++) {
            size_t before = kvf_assignments_assigned_count(dst), after = before;
            landed[orders[i][k]] = true;
            for (size_t f = 0; f < 3 && landed[f]; f++)
                after = ends[f];
            land(dst, flights[orders[i][k]], before, after);
            assert_int_equal(kvf_flight_open_count(dst), 2 - k);
            assert_int_equal(kvf_assignments_assigned_count(dst), after);
            assert_null(kvf__assignments_check(dst));
        }
        assert_blocks(dst, "1 2 3 4 5 6 7 | - | -");
        kvf_assignments_destroy(dst);
    }
}

/* A failed flight returns everything after it, landed or not; what landed before it stays. */
static void test_return_includes_later_flights(void **state) {
    (void)state;
    const struct {
        size_t which, landed;
        const char *after;
    } cases[] = {
        {0, 0, "1 | - | 2 3 4 5 6 7 8 9"}, {0, 1, "1 2 | - | 3 4 5 6 7 8 9"},
        {0, 2, "1 2 3 | - | 4 5 6 7 8 9"}, {2, 0, "1 | 2 3 4 5 | 6 7 8 9"},
        {2, 1, "1 | 2 3 4 5 6 | 7 8 9"},   {2, 2, "1 | 2 3 4 5 6 7 | 8 9"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        kvf_assignments *dst = make_assignments(NULL, 0, 1, 0, 8);
        kvf_flight flights[4];
        for (size_t k = 0; k < 4; k++)
            flights[k] = depart(dst, k < 3 ? 2 : 1);
        land(dst, flights[1], 1, 1);
        land(dst, flights[3], 1, 1);
        give_back(dst, flights[cases[i].which], cases[i].landed);
        assert_blocks(dst, cases[i].after);
        for (size_t k = cases[i].which; k < 4; k++)
            assert_closed(dst, flights[k]);
        if (cases[i].which == 2) {
            uint64_t assigned = 5 + cases[i].landed;
            land(dst, flights[0], 1, assigned);
        }
        assert_int_equal(kvf_assignments_staged_count(dst), 0);
        kvf_assignments_destroy(dst);
    }
}

/* A flight that was returned with an earlier one assigns nothing when it completes late. */
static void test_late_landing_assigns_nothing(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 0, 0, 0, 4);
    const kvf_flight first = depart(dst, 2), second = depart(dst, 2);
    give_back(dst, first, 0);
    const kvf_flight again = depart(dst, 4);
    assert_closed(dst, first);
    assert_closed(dst, second);
    assert_blocks(dst, "- | 1 2 3 4 | -");
    land(dst, again, 0, 4);
    kvf_assignments_destroy(dst);
}

/* ---- the caller's own staged blocks --------------------------------------------------------- */

/* own 2 3 | flight 4 5 | own 6 | flight 7 | own 8 | pending 9 */
static kvf_assignments *make_mixed(kvf_flight flights[2]) {
    kvf_assignments *dst = make_assignments(NULL, 0, 1, 2, 6);
    flights[0] = depart(dst, 2);
    stage_some(dst, 1);
    flights[1] = depart(dst, 1);
    stage_some(dst, 1);
    assert_blocks(dst, "1 | 2 3 4 5 6 7 8 | 9");
    return dst;
}

static void test_own_blocks_hold_back_landed_ones(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights);
    land(dst, flights[0], 1, 1);
    assert_int_equal(kvf_assignments_commit_oldest(dst, 1, NULL), KVF_OK);
    assert_blocks(dst, "1 2 | 3 4 5 6 7 8 | 9");
    /* Once nothing before them is open, landed blocks after them are assigned, too. */
    assert_int_equal(kvf_assignments_commit_oldest(dst, 1, NULL), KVF_OK);
    assert_blocks(dst, "1 2 3 4 5 | 6 7 8 | 9");
    land(dst, flights[1], 5, 5);
    kvf_range range = kvf_assignments_commit_staged(dst);
    assert_int_equal(range.start, 5);
    assert_int_equal(range.end, 8);
    assert_blocks(dst, "1 2 3 4 5 6 7 8 | - | 9");
    kvf_assignments_destroy(dst);
}

static void test_commit_staged_stops_at_an_open_flight(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights);
    kvf_range range = kvf_assignments_commit_staged(dst);
    assert_int_equal(range.start, 1);
    assert_int_equal(range.end, 3);
    assert_blocks(dst, "1 2 3 | 4 5 6 7 8 | 9");
    stage_some(dst, 1); /* staged after the commit: not committed */
    land(dst, flights[1], 3, 3);
    land(dst, flights[0], 3, 8);
    assert_blocks(dst, "1 2 3 4 5 6 7 8 | 9 | -");
    kvf_assignments_commit_staged(dst);
    assert_blocks(dst, "1 2 3 4 5 6 7 8 9 | - | -");
    kvf_assignments_destroy(dst);
}

static void test_return_between_own_blocks(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights);
    give_back(dst, flights[1], 0);
    assert_blocks(dst, "1 | 2 3 4 5 6 | 7 8 9");
    kvf_assignments_commit_staged(dst);
    assert_blocks(dst, "1 2 3 | 4 5 6 | 7 8 9");
    give_back(dst, flights[0], 1); /* returns the committed 6, too */
    assert_blocks(dst, "1 2 3 4 | - | 5 6 7 8 9");
    kvf_assignments_destroy(dst);
}

/* ---- operations refused while a flight is open ----------------------------------------------- */

static void test_busy(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights), *copy = NULL;
    const assignments_state before = assignments_state_of(dst);
    const uint64_t id = 50;
    const kvf_hash hash = test_hash(1, 1000);
    kvf_error error;
    const kvf_status busy[] = {
        kvf_assignments_extend_assigned(dst, &id, &hash, 1, &error),
        kvf_assignments_take_staged(dst, NULL, NULL, 0, NULL, &error),
        kvf_assignments_clone(dst, &copy, &error),
        kvf_assignments_commit_oldest(dst, 3, &error),
        kvf_assignments_commit_oldest(dst, 7, &error),
        kvf_assignments_rollback_staged(dst, 2, &error),
        kvf_assignments_rollback_staged(dst, 7, &error),
        kvf_assignments_truncate(dst, 0, &error),
        kvf_assignments_truncate(dst, 1, &error),
        kvf_assignments_truncate(dst, 4, &error),
        kvf_assignments_truncate(dst, 6, &error),
    };
    for (size_t i = 0; i < COUNT(busy); i++)
        assert_int_equal(busy[i], KVF_ERR_BUSY);
    assert_int_equal(error.status, KVF_ERR_BUSY);
    assert_null(copy);
    assert_unchanged(dst, &before);
    kvf_assignments_destroy(dst);
}

static void test_not_busy(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights);
    const uint64_t id = 50;
    assert_int_equal(kvf_assignments_commit_oldest(dst, 2, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_rollback_staged(dst, 1, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_truncate(dst, 7, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_extend_block_ids(dst, &id, 1, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_drop_front(dst, 2, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_reserve(dst, 500, NULL), KVF_OK);
    assert_blocks(dst, "3 | 4 5 6 7 | 50");
    assert_int_equal(kvf_flight_open_count(dst), 2);
    land(dst, flights[0], 1, 3);
    kvf_assignments_commit_staged(dst);
    land(dst, flights[1], 4, 5);
    assert_blocks(dst, "3 4 5 6 7 | - | 50");
    kvf_assignments_destroy(dst);
}

/* Landed flights block nothing, even while own blocks before them are not committed. */
static void test_landed_is_not_busy(void **state) {
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        kvf_flight flights[2];
        kvf_assignments *dst = make_mixed(flights);
        const uint64_t id = 50;
        const kvf_hash hash = {0, 0};
        land(dst, flights[0], 1, 1);
        land(dst, flights[1], 1, 1);
        switch (i) {
        case 0:
            assert_int_equal(kvf_assignments_extend_assigned(dst, &id, &hash, 1, NULL), KVF_OK);
            assert_blocks(dst, "1 50 | 2 3 4 5 6 7 8 | 9");
            break;
        case 1:
            assert_int_equal(kvf_assignments_take_staged(dst, NULL, NULL, 0, NULL, NULL), KVF_OK);
            assert_blocks(dst, "1 | - | 9");
            break;
        case 2:
            assert_int_equal(kvf_assignments_rollback_staged(dst, 4, NULL), KVF_OK);
            assert_blocks(dst, "1 | 2 3 4 | 5 6 7 8 9");
            break;
        case 3: /* cut within a landed flight; the rest of it is still assigned */
            assert_int_equal(kvf_assignments_truncate(dst, 4, NULL), KVF_OK);
            assert_int_equal(kvf_assignments_commit_oldest(dst, 2, NULL), KVF_OK);
            assert_blocks(dst, "1 2 3 4 | - | -");
            break;
        default: /* into a landed flight */
            assert_int_equal(kvf_assignments_commit_oldest(dst, 3, NULL), KVF_OK);
            assert_blocks(dst, "1 2 3 4 5 | 6 7 8 | 9");
        }
        kvf_assignments_destroy(dst);
    }
}

/* A clone keeps what has landed, and its flights are closed. */
static void test_clone_keeps_what_has_landed(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights), *copy;
    land(dst, flights[1], 1, 1);
    land(dst, flights[0], 1, 1);
    assert_int_equal(kvf_assignments_clone(dst, &copy, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_commit_oldest(copy, 2, NULL), KVF_OK);
    assert_blocks(copy, "1 2 3 4 5 | 6 7 8 | 9");
    assert_blocks(dst, "1 | 2 3 4 5 6 7 8 | 9");
    assert_closed(copy, flights[1]);
    kvf_assignments_destroy(dst);
    assert_int_not_equal(depart(copy, 1), flights[1]);
    kvf_assignments_destroy(copy);
}

/* ---- detaching ------------------------------------------------------------------------------- */

static void test_clear_detaches(void **state) {
    (void)state;
    kvf_flight flights[2];
    kvf_assignments *dst = make_mixed(flights);
    kvf_assignments_clear(dst);
    assert_int_equal(kvf_flight_open_count(dst), 0);
    assert_closed(dst, flights[0]);
    assert_closed(dst, flights[1]);
    add_pending(dst, 20, 3);
    const kvf_flight next = depart(dst, 2);
    assert_true(next != flights[0] && next != flights[1]);
    assert_closed(dst, flights[1]);
    assert_blocks(dst, "- | 20 21 | 22");
    kvf_assignments_destroy(dst);
}

/* With a bound transfer, destroying frees all but the shell; the transfer then gets CLOSED. */
static void test_destroy_detaches(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_assignments *dst = make_assignments(&memory.allocator, 0, 0, 0, 4);
    const kvf_flight flight = depart(dst, 2);
    kvf__assignments_hold(dst);
    kvf__assignments_hold(dst);
    kvf_assignments_destroy(dst);
    assert_int_equal(memory.live_blocks, 1);
    assert_closed(dst, flight);
    assert_int_equal(kvf_flight_open_count(dst), 0);
    kvf__assignments_release(dst);
    assert_closed(dst, flight);
    kvf__assignments_release(dst);
    test_allocator_done(&memory);
}

static void test_release_before_destroy(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_assignments *dst = make_assignments(&memory.allocator, 0, 0, 0, 4);
    const kvf_flight flight = depart(dst, 2);
    kvf__assignments_hold(dst);
    kvf__assignments_release(dst);
    land(dst, flight, 0, 2);
    kvf_assignments_destroy(dst);
    test_allocator_done(&memory);
}

static void test_unknown_flights(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, 0, 0, 0, 4);
    const kvf_flight flight = depart(dst, 2);
    const assignments_state before = assignments_state_of(dst);
    const kvf_flight others[] = {0, flight + 1, UINT64_MAX};
    for (size_t i = 0; i < COUNT(others); i++) {
        kvf_error error;
        assert_int_equal(kvf_flight_land(dst, others[i], NULL, &error), KVF_ERR_INVALID);
        assert_int_equal(error.status, KVF_ERR_INVALID);
        assert_int_equal(kvf_flight_return(dst, others[i], 0, &error), KVF_ERR_INVALID);
        assert_false(kvf_flight_is_open(dst, others[i]));
        assert_unchanged(dst, &before);
    }
    assert_int_equal(kvf_flight_land(NULL, flight, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_flight_return(NULL, flight, 0, NULL), KVF_ERR_INVALID);
    assert_false(kvf_flight_is_open(NULL, flight));
    assert_int_equal(kvf_flight_open_count(NULL), 0);
    kvf_assignments_destroy(dst);
}

/* Positions near 2^64 have no hashes, so nothing departs there; GAP is still reported as such. */
static void test_depart_near_uint64_max(void **state) {
    (void)state;
    kvf_assignments *dst = make_assignments(NULL, UINT64_MAX - 1, 0, 0, 1);
    const uint64_t id = 1;
    const kvf_hash hash = {UINT64_MAX, UINT64_MAX};
    refuse(dst, (kvf_plan){0, 1, NULL, &id, &hash},
           (kvf_error){.status = KVF_ERR_GAP,
                       .fields = KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                       .position = 0,
                       .expected = UINT64_MAX - 1});
    refuse(dst, (kvf_plan){UINT64_MAX - 1, 1, NULL, &id, &hash},
           (kvf_error){.status = KVF_ERR_POSITION_MISMATCH,
                       .fields = KVF_ERROR_ID | KVF_ERROR_POSITION | KVF_ERROR_EXPECTED,
                       .id = 1,
                       .position = UINT64_MAX,
                       .expected = UINT64_MAX - 1});
    kvf_assignments_destroy(dst);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depart_and_land),
        cmocka_unit_test(test_return),
        cmocka_unit_test(test_return_of_more_than_departed),
        cmocka_unit_test(test_land_without_a_range),
        cmocka_unit_test(test_depart_refuses_incomplete_plans),
        cmocka_unit_test(test_depart_refuses_other_ids),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_gap_of_a_zip),
        cmocka_unit_test(test_hashes_of_other_positions),
        cmocka_unit_test(test_lineage),
        cmocka_unit_test(test_no_lineage_before_the_first_block),
        cmocka_unit_test(test_lineage_in_both_layouts),
        cmocka_unit_test(test_landing_in_every_order),
        cmocka_unit_test(test_return_includes_later_flights),
        cmocka_unit_test(test_late_landing_assigns_nothing),
        cmocka_unit_test(test_own_blocks_hold_back_landed_ones),
        cmocka_unit_test(test_commit_staged_stops_at_an_open_flight),
        cmocka_unit_test(test_return_between_own_blocks),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_not_busy),
        cmocka_unit_test(test_landed_is_not_busy),
        cmocka_unit_test(test_clone_keeps_what_has_landed),
        cmocka_unit_test(test_clear_detaches),
        cmocka_unit_test(test_destroy_detaches),
        cmocka_unit_test(test_release_before_destroy),
        cmocka_unit_test(test_unknown_flights),
        cmocka_unit_test(test_depart_near_uint64_max),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
