/* Groups of one: what a single GPU can test of the real libraries. A communicator is opened, by id
 * or by a broadcast over the caller's; announcements and votes are gathered over it; a wire is
 * registered with it. The blocks of a single rank cross no wire, so their all-gather, send and
 * receive need several GPUs. The same tests run on the fakes; with --real, on real libraries only.
 */
#include "group_fixture.h"
#include "needs.h"

#include <string.h>

enum { HANDED = 9 };

/* To the same rank, in several chunks. */
static void hand_over(fixture_rank *k) {
    uint64_t from[HANDED], to[HANDED];
    kvf_hash hashes[HANDED];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < HANDED; i++) {
        from[i] = i;
        to[i] = 30 + i;
        fixture_put_device(k, from[i], (unsigned)i + 1);
    }
    fixture_hashes(hashes, 0, HANDED);
    kvf_assignments *assignments = fixture_assignments(to, 6, 0);
    const kvf_handover handovers[] = {{.plan = {0, 6, from, to, hashes}, .dst = assignments},
                                      {.plan = {6, 3, from + 6, to + 6, NULL}}};
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, handovers, 2, NULL, &op, &e), &e);
    fixture_expect_end(op, KVF_OK);
    fixture_expect_phases(assignments, 6, 0);
    kvf_assignments_destroy(assignments);
    for (unsigned i = 0; i < HANDED; i++)
        assert_true(fixture_got_device(k, to[i], i + 1));
}

static void onboard(fixture_rank *k) {
    uint64_t host[HANDED], slots[HANDED];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < HANDED; i++) {
        host[i] = 3 * i;
        slots[i] = 60 - i;
        fixture_fill_host(k, host[i], (unsigned)i + 70);
    }
    const kvf_plan plan = {0, HANDED, host, slots, NULL};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &op, &e), &e);
    fixture_expect_end(op, KVF_OK);
    for (unsigned i = 0; i < HANDED; i++)
        assert_true(fixture_got_device(k, slots[i], i + 70));
}

static void work(fixture_rank *k) {
    kvf_error e = {0};
    hand_over(k);
    onboard(k);
    hand_over(k);
    test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
}

/* NCCL gathers once for the group, once for the wire and twice for each operation. */
static void work_by_nccl(fixture_rank *k) {
    static const char *const names[] = {"plain memory", "memory of ncclMemAlloc", "a window"};
    const uint64_t before = FAKENCCL ? fakenccl_calls("ncclAllGather") : 0;
    kvf_group_counters c;
    kvf_wire_explanation wire;
    kvf_error e = {0};
    work(k);
    test_expect(KVF_OK, kvf_group_counters_get(k->group, &c, &e), &e);
    assert_int_equal(c.gathers, 2 + 3 * 2);
    assert_int_equal(c.wire_bytes, 0);
    test_expect(KVF_OK, kvf_wire_explain(k->wire, &wire, &e), &e);
    assert_true(wire.nccl_version > 20000);
    assert_int_equal(wire.memory == KVF_WIRE_WINDOW, !wire.reason);
    if (FAKENCCL) {
        assert_int_equal(fakenccl_calls("ncclAllGather") - before, 3 * 2);
        assert_int_equal(wire.memory, KVF_WIRE_WINDOW);
    }
    print_message("NCCL %d: a wire in %s%s%s; %d gathers; no block crossed it\n", wire.nccl_version,
                  names[wire.memory], wire.reason ? ": " : "", wire.reason ? wire.reason : "",
                  (int)c.gathers);
}

static void live(fixture_rank *k) {
    unsigned char id[KVF_GROUP_ID_BYTES];
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_group_id_create(id, &e), &e);
    test_expect(KVF_OK, fixture_join(k, &(kvf_group_options){.ranks = 1, .id = id}, &e), &e);
    work_by_nccl(k);
}

/* The caller's communicator carries the id and stays usable. */
static void live_with_parent(fixture_rank *k) {
    ncclComm_t parent = NULL;
    ncclUniqueId id;
    kvf_error e = {0};
    assert_int_equal(ncclGetUniqueId(&id), ncclSuccess);
    assert_int_equal(ncclCommInitRank(&parent, 1, id, 0), ncclSuccess);
    test_expect(KVF_OK, fixture_join(k, &(kvf_group_options){.parent = parent}, &e), &e);
    work_by_nccl(k);
    fixture_leave(k);
    assert_int_equal(ncclCommDestroy(parent), ncclSuccess);
}

/* Without id and parent there is no communicator. */
static void live_alone(fixture_rank *k) {
    kvf_wire_explanation wire;
    kvf_error e = {0};
    test_expect(KVF_OK, fixture_join(k, NULL, &e), &e);
    test_expect(KVF_OK, kvf_wire_explain(k->wire, &wire, &e), &e);
    assert_int_equal(wire.nccl_version, 0);
    work(k);
    fixture_leave(k);
    assert_true(!FAKENCCL || fakenccl_calls(NULL) == 0);
}

/* Destroying the group right after a submit ends the operation first. */
static void leave_at_once(fixture_rank *k) {
    unsigned char id[KVF_GROUP_ID_BYTES];
    const uint64_t from[] = {1}, to[] = {2};
    const kvf_handover handover = {.plan = {0, 1, from, to, NULL}};
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_group_id_create(id, &e), &e);
    test_expect(KVF_OK, fixture_join(k, &(kvf_group_options){.ranks = 1, .id = id}, &e), &e);
    test_expect(KVF_OK, kvf_wire_hand_over(k->wire, &handover, 1, NULL, &op, &e), &e);
    fixture_leave(k);
    assert_int_equal(kvf_wire_op_poll(op, &e), KVF_OK);
    kvf_wire_op_release(op);
}

static void test_groups_of_one(void **state) {
    static void (*const bodies[])(fixture_rank *) = {live, live_with_parent, live_alone,
                                                     leave_at_once};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        fixture_run_forms(
            1,
            &(fixture_options){
                .alone = true, .chunk_blocks = 8, .timeout_us = 60000000, .max_ctas = 2},
            bodies[i]);
}

int main(int argc, char **argv) {
    const bool real = argc > 1 && strcmp(argv[1], "--real") == 0;
    if (!needs_device() || !needs(FAKECUDA == FAKENCCL, "both fakes or both real libraries") ||
        !needs(!real || !(FAKECUDA || FAKENCCL), "the real libraries"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
