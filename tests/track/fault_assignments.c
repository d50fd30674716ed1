/* Every allocation of every operation on assignments fails in turn, once and for ever. */
#include "assignments_state.h"

/* An operation. It destroys whatever else it creates before it returns. */
typedef kvf_status operation(kvf_assignments *a, kvf_error *error);

static uint64_t scattered(uint64_t i) {
    return (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

enum { MORE = 80 };

static kvf_status extend_block_ids(kvf_assignments *a, kvf_error *error) {
    uint64_t ids[MORE];
    for (uint64_t i = 0; i < MORE; i++)
        ids[i] = scattered(i);
    return kvf_assignments_extend_block_ids(a, ids, MORE, error);
}

static kvf_status extend_by_the_whole_list(kvf_assignments *a, kvf_error *error) {
    assignments_state state = assignments_state_of(a);
    size_t known = state.assigned + state.staged + state.pending;
    for (uint64_t i = 0; i < MORE; i++)
        state.ids[known + i] = 5000 + i;
    return kvf_assignments_extend_block_ids(a, state.ids, known + MORE, error);
}

static kvf_status extend_assigned(kvf_assignments *a, kvf_error *error) {
    uint64_t ids[MORE];
    const kvf_hash hashes[MORE] = {{0, 0}};
    for (uint64_t i = 0; i < MORE; i++)
        ids[i] = scattered(i);
    return kvf_assignments_extend_assigned(a, ids, hashes, MORE, error);
}

/* Without a flight this is refused, with or without memory. */
static kvf_status extend_by_a_duplicate(kvf_assignments *a, kvf_error *error) {
    uint64_t ids[MORE];
    for (uint64_t i = 0; i < MORE; i++)
        ids[i] = scattered(i < MORE - 1 ? i : 0);
    return kvf_assignments_extend_block_ids(a, ids, MORE, error);
}

static kvf_status reserve(kvf_assignments *a, kvf_error *error) {
    return kvf_assignments_reserve(a, 500, error);
}

static kvf_status clone(kvf_assignments *a, kvf_error *error) {
    kvf_assignments *const untouched = (kvf_assignments *)error;
    kvf_assignments *copy = untouched;
    kvf_status status = kvf_assignments_clone(a, &copy, error);
    if (status == KVF_OK) {
        const assignments_state same = assignments_state_of(a);
        assert_unchanged(copy, &same);
        kvf_assignments_destroy(copy);
    } else {
        assert_ptr_equal(copy, untouched);
    }
    return status;
}

/* So many flights of one block each that their list grows; returns the first error. */
static kvf_status depart_often(kvf_assignments *a, kvf_error *error) {
    kvf_status status = KVF_OK;
    for (size_t i = 0; status == KVF_OK && i < 10; i++) {
        const uint64_t next = kvf_assignments_next_position(a);
        const kvf_hash hash = test_hash(next, 1000);
        const kvf_view pending = kvf_assignments_pending(a);
        const kvf_plan plan = {next, 1, pending.ids, pending.ids, &hash};
        const assignments_state before = assignments_state_of(a);
        kvf_flight flight = 77;
        status = kvf_flight_depart(a, &plan, &flight, error);
        if (status != KVF_OK) {
            assert_int_equal(flight, 77);
            assert_unchanged(a, &before);
        }
    }
    return status;
}

static void pristine(kvf_assignments *a) {
    (void)a;
}

static void dropped(kvf_assignments *a) {
    assert_int_equal(kvf_assignments_drop_front(a, 9, NULL), KVF_OK);
}

/* More is dropped than remains, so that extending compacts. */
static void mostly_dropped(kvf_assignments *a) {
    assert_int_equal(kvf_assignments_truncate(a, 27, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_drop_front(a, 18, NULL), KVF_OK);
}

/* Flights that landed after blocks that are not committed. */
static void landed_after_uncommitted(kvf_assignments *a) {
    kvf_error error;
    test_expect(KVF_OK, depart_often(a, &error), &error);
    for (kvf_flight flight = 1; flight <= 10; flight++)
        assert_int_equal(kvf_flight_land(a, flight, NULL, NULL), KVF_OK);
    assert_int_equal(kvf_flight_open_count(a), 0);
    assert_int_equal(kvf_assignments_staged_count(a), 13);
}

static kvf_assignments *make(test_allocator *memory, void (*prepare)(kvf_assignments *)) {
    test_allocator_init(memory);
    kvf_assignments *a = make_assignments(&memory->allocator, 5, 20, 3, 12);
    prepare(a);
    return a;
}

/* The object still works, whatever failed before. */
static void check_alive(kvf_assignments *a) {
    const uint64_t id = 123456;
    const size_t pending = kvf_assignments_pending_count(a);
    assert_int_equal(kvf_assignments_extend_block_ids(a, &id, 1, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_pending_count(a), pending + 1);
    assert_null(kvf__assignments_check(a));
}

/* Fails one allocation after the other; returns how many there are. */
static size_t fail_in_turn(operation *run, void (*prepare)(kvf_assignments *), bool ever_after,
                           kvf_status in_the_end, bool partial) {
    for (size_t fail_at = 1;; fail_at++) {
        test_allocator memory;
        kvf_assignments *a = make(&memory, prepare);
        const assignments_state before = assignments_state_of(a);
        const size_t calls = memory.calls;
        memory.fail_at = calls + fail_at;
        memory.fail_ever_after = ever_after;
        kvf_error error = {.status = KVF_OK};
        const kvf_status status = run(a, &error);
        const bool failed = memory.calls >= memory.fail_at;
        memory.fail_at = 0;
        test_expect(failed ? KVF_ERR_NO_MEMORY : in_the_end, status, &error);
        assert_int_equal(error.status, status);
        if (status != KVF_OK && !partial)
            assert_unchanged(a, &before);
        check_alive(a);
        kvf_assignments_destroy(a);
        test_allocator_done(&memory);
        if (!failed)
            return fail_at - 1;
    }
}

static const struct {
    operation *run;
    void (*prepare)(kvf_assignments *);
    kvf_status in_the_end;
    bool partial; /* several calls, checked separately */
    size_t least; /* fewest allocations expected */
} cases[] = {
    {extend_block_ids, pristine, KVF_OK, false, 4},
    {extend_block_ids, dropped, KVF_OK, false, 4},
    {extend_block_ids, mostly_dropped, KVF_OK, false, 4},
    {extend_block_ids, landed_after_uncommitted, KVF_OK, false, 4},
    {extend_by_the_whole_list, pristine, KVF_OK, false, 2},
    {extend_by_the_whole_list, mostly_dropped, KVF_OK, false, 2},
    {extend_assigned, pristine, KVF_OK, false, 4},
    {extend_assigned, dropped, KVF_OK, false, 4},
    {extend_assigned, mostly_dropped, KVF_OK, false, 4},
    {extend_assigned, landed_after_uncommitted, KVF_OK, false, 4},
    {extend_by_a_duplicate, pristine, KVF_ERR_DUPLICATE_BLOCK_ID, false, 2},
    {reserve, pristine, KVF_OK, false, 3},
    {reserve, dropped, KVF_OK, false, 3},
    {clone, pristine, KVF_OK, false, 4},
    {clone, dropped, KVF_OK, false, 4},
    {clone, landed_after_uncommitted, KVF_OK, false, 5},
    {depart_often, pristine, KVF_OK, true, 2},
    {depart_often, dropped, KVF_OK, true, 2},
};

static void test_every_allocation_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t once = fail_in_turn(cases[i].run, cases[i].prepare, false, cases[i].in_the_end,
                                   cases[i].partial);
        size_t ever = fail_in_turn(cases[i].run, cases[i].prepare, true, cases[i].in_the_end,
                                   cases[i].partial);
        assert_in_range(once, cases[i].least, 20);
        assert_int_equal(ever, once);
    }
}

static void test_create_without_memory(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    memory.fail_at = 1;
    const kvf_assignments_options options = {.allocator = &memory.allocator};
    kvf_assignments *const untouched = (kvf_assignments *)&memory;
    kvf_assignments *a = untouched;
    kvf_error error;
    assert_int_equal(kvf_assignments_create(&options, &a, &error), KVF_ERR_NO_MEMORY);
    assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
    assert_ptr_equal(a, untouched);
    test_allocator_done(&memory);
}

/* All other operations allocate nothing, with or without flights. */
static void test_other_operations_need_no_memory(void **state) {
    (void)state;
    test_allocator memory;
    kvf_assignments *a = make(&memory, pristine);
    kvf_error error;
    test_expect(KVF_OK, depart_often(a, &error), &error);
    const size_t calls = memory.calls;
    stage_some(a, 2);
    assert_int_equal(kvf_flight_land(a, 3, NULL, NULL), KVF_OK);
    kvf_assignments_commit_staged(a); /* marks the newest two as landed */
    assert_int_equal(kvf_flight_return(a, 9, 1, NULL), KVF_OK);
    stage_some(a, 1);
    assert_int_equal(kvf_assignments_rollback_staged(a, 1, NULL), KVF_OK);
    for (kvf_flight flight = 8; flight > 0; flight--)
        if (flight != 3)
            assert_int_equal(kvf_flight_land(a, flight, NULL, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_drop_front(a, 5, NULL), KVF_OK);
    stage_some(a, 2);
    assert_int_equal(kvf_assignments_commit_oldest(a, 1, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_take_staged(a, NULL, NULL, 0, NULL, NULL), KVF_OK);
    assert_int_equal(kvf_assignments_truncate(a, 20, NULL), KVF_OK);
    assert_null(kvf__assignments_check(a));
    kvf_assignments_clear(a);
    assert_int_equal(memory.calls, calls);
    kvf_assignments_destroy(a);
    test_allocator_done(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_create_without_memory),
        cmocka_unit_test(test_other_operations_need_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
