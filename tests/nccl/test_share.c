/* Sharing out: onboarding to all ranks, offloading once in the group. */
#include "group_rig.h"

enum { COUNT = 23 };

typedef struct job {
    uint64_t host[COUNT], slots[COUNT];
    kvf_share share;
    uint64_t first_position;
} job;

static job current;

/* Scattered slots, another set on every rank; the host ids in their turn. */
static void set_job(job *j, kvf_share share, uint64_t first_position) {
    *j = (job){.share = share, .first_position = first_position};
    for (uint64_t i = 0; i < COUNT; i++)
        j->host[i] = (i * 3 + 1) % RIG_SLOTS;
}

static void choose_slots(const rig_rank *k, uint64_t slots[COUNT]) {
    for (uint64_t i = 0; i < COUNT; i++)
        slots[i] = (i * 5 + (uint64_t)k->rank) % RIG_SLOTS;
}

static bool owns(const rig_rank *k, uint64_t position) {
    uint64_t owner = current.share == KVF_SHARE_FIRST ? 0 : position % (uint64_t)k->rig->ranks;
    return owner == (uint64_t)k->rank;
}

static void onboard(rig_rank *k) {
    uint64_t slots[COUNT];
    const job *j = &current;
    kvf_wire_op *op = NULL;
    kvf_wire_op_stats stats;
    kvf_error e = {0};
    size_t owned = 0;
    choose_slots(k, slots);
    for (uint64_t i = 0; i < COUNT; i++)
        if (owns(k, j->first_position + i)) {
            rig_fill_host(k, j->host[i], (unsigned)i);
            owned++;
        }
    const kvf_plan plan = {j->first_position, COUNT, j->host, slots, NULL};
    const kvf_wire_submit_options how = {.tag = 7, .share = j->share};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    kvf_wire_op_stats_get(op, &stats);
    assert_int_equal(stats.host_bytes, owned * RIG_BLOCK);
    assert_int_equal(stats.blocks, COUNT);
    kvf_wire_op_release(op);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(rig_device_is(k, slots[i], (unsigned)i));
}

static void onboard_on(int ranks, kvf_share share, uint64_t first_position) {
    group_rig rig;
    rig_open(&rig, ranks, NULL);
    set_job(&current, share, first_position);
    rig_on_all(&rig, onboard);
    rig_close(&rig);
}

static void test_onboard_striped(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks++)
        onboard_on(ranks, KVF_SHARE_STRIPED, 0);
    onboard_on(3, KVF_SHARE_STRIPED, 1000001);
}

static void test_onboard_from_the_first(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 3; ranks++)
        onboard_on(ranks, KVF_SHARE_FIRST, 5);
}

static void offload(rig_rank *k) {
    uint64_t slots[COUNT];
    const job *j = &current;
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    choose_slots(k, slots);
    for (uint64_t i = 0; i < COUNT; i++)
        rig_fill_device(k, slots[i], (unsigned)i);
    const kvf_plan plan = {j->first_position, COUNT, slots, j->host, NULL};
    const kvf_wire_submit_options how = {.share = j->share};
    test_expect(KVF_OK, kvf_wire_offload(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    rig_end(op, KVF_OK);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(rig_host_is(k, j->host[i], (unsigned)i), owns(k, j->first_position + i));
}

static void test_offload_once_in_the_group(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 3; ranks++) {
        group_rig rig;
        rig_open(&rig, ranks, NULL);
        set_job(&current, ranks == 2 ? KVF_SHARE_FIRST : KVF_SHARE_STRIPED, 4);
        rig_on_all(&rig, offload);
        rig_close(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onboard_striped),
        cmocka_unit_test(test_onboard_from_the_first),
        cmocka_unit_test(test_offload_once_in_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
