/* Onboarding to all ranks, and offloading once in the group. */
#include "group_fixture.h"

#include "nccl/group.h"
#include "needs.h"

#include <string.h>

enum { PLANS = 3, MOST = FIXTURE_SLOTS, LONG_US = 1000000, COPY_US = 40000 };

/* Plans of so many blocks, each from a position on. Plans may share positions. */
typedef struct task {
    kvf_share share;
    size_t plans;
    uint64_t first[PLANS];
    size_t count[PLANS];
    bool hashed, with_assignments;
} task;

static task current;

/* One rank's arrays for the task. */
typedef struct lists {
    uint64_t host[PLANS][MOST], slots[PLANS][MOST];
    kvf_hash hashes[PLANS][MOST];
    kvf_plan plans[PLANS];
    kvf_assignments *assignments[PLANS];
    size_t pairs, owned;
} lists;

static uint64_t owner_of(uint64_t position, int ranks) {
    return current.share == KVF_SHARE_RANK_0 ? 0 : position % (uint64_t)ranks;
}

static bool owns(const fixture_rank *k, uint64_t position) {
    return owner_of(position, k->fixture->ranks) == (uint64_t)k->rank;
}

static unsigned content_of(uint64_t position) {
    return (unsigned)(position % 97);
}

static uint64_t host_id(uint64_t position) {
    return (position * 3 + 1) % FIXTURE_SLOTS;
}

/* Slots are scattered and differ between ranks. Host ids are valid on their owner only, since no
 * other rank may read them. */
static void make_lists(const fixture_rank *k, lists *l, bool offload) {
    *l = (lists){0};
    for (size_t p = 0; p < current.plans; p++) {
        for (size_t i = 0; i < current.count[p]; i++, l->pairs++) {
            uint64_t position = current.first[p] + i;
            l->host[p][i] = owns(k, position) ? host_id(position) : UINT64_MAX;
            l->slots[p][i] = (l->pairs * 5 + (uint64_t)k->rank) % FIXTURE_SLOTS;
            l->owned += owns(k, position);
        }
        fixture_hashes(l->hashes[p], current.first[p], current.count[p]);
        l->plans[p] =
            (kvf_plan){current.first[p], current.count[p], offload ? l->slots[p] : l->host[p],
                       offload ? l->host[p] : l->slots[p],
                       current.hashed || current.with_assignments ? l->hashes[p] : NULL};
        if (current.with_assignments)
            l->assignments[p] =
                fixture_assignments(l->plans[p].dst_ids, current.count[p], current.first[p]);
    }
    assert_true(l->pairs <= MOST);
}

static void expect_assignments(lists *l) {
    for (size_t p = 0; p < current.plans; p++) {
        if (l->assignments[p])
            fixture_expect_phases(l->assignments[p], current.count[p], 0);
        kvf_assignments_destroy(l->assignments[p]);
    }
}

/* The number of chunks, computed differently from the module. */
static size_t expected_chunks(const fixture_rank *k) {
    size_t of[FIXTURE_RANKS] = {0}, most = 0;
    size_t each = k->fixture->options.chunk_blocks ? k->fixture->options.chunk_blocks : 2;
    if (current.share == KVF_SHARE_RANK_0)
        each *= (size_t)k->fixture->ranks;
    for (size_t p = 0; p < current.plans; p++)
        for (size_t i = 0; i < current.count[p]; i++)
            of[owner_of(current.first[p] + i, k->fixture->ranks)]++;
    for (int r = 0; r < k->fixture->ranks; r++)
        most = of[r] > most ? of[r] : most;
    return (most + each - 1) / each;
}

/* Only refused operations have failed. After a single operation, the group's counters equal its
 * stats. */
static void expect_counters(const fixture_rank *k, const kvf_wire_op_stats *stats) {
    kvf_group_counters c;
    char text[8192];
    assert_int_equal(kvf_group_counters_get(k->group, &c, NULL), KVF_OK);
    assert_int_equal(c.operations_succeeded + c.operations_refused, c.operations_submitted);
    assert_int_equal(c.operations_failed, c.operations_refused);
    assert_int_equal(c.votes_lost + c.broken, 0);
    if (c.operations_submitted > 1)
        return;
    assert_int_equal(c.blocks, stats->blocks);
    assert_int_equal(c.chunks, stats->chunks);
    assert_int_equal(c.host_bytes, stats->host_bytes);
    assert_int_equal(c.wire_bytes, stats->wire_bytes);
    const kvf_label label = {"rank", "r"};
    const kvf_labelled_group_counters set = {&c, &label, 1};
    assert_in_range(kvf_group_counters_print(&set, 1, text, sizeof text), 1, sizeof text - 1);
    assert_non_null(
        strstr(text, "\nkvferry_operations_ended_total{rank=\"r\",outcome=\"ok\"} 1\n"));
}

static void expect_stats(fixture_rank *k, kvf_wire_op *op, const lists *l) {
    kvf_wire_op_stats stats;
    kvf_wire_op_stats_get(op, &stats);
    expect_counters(k, &stats);
    assert_int_equal(stats.host_bytes, l->owned * FIXTURE_BLOCK);
    assert_int_equal(stats.blocks, l->pairs);
    assert_true(stats.wait_us >= 0 && stats.run_us >= 0);
    if (k->fixture->ranks == 1)
        return;
    assert_int_equal(stats.chunks, expected_chunks(k));
    assert_true(stats.wire_bytes >= l->pairs * FIXTURE_BLOCK);
}

static void onboard(fixture_rank *k) {
    lists l;
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    make_lists(k, &l, false);
    for (size_t p = 0; p < current.plans; p++)
        for (size_t i = 0; i < current.count[p]; i++)
            if (owns(k, current.first[p] + i))
                fixture_fill_host(k, l.host[p][i], content_of(current.first[p] + i));
    const kvf_wire_submit_options how = {.share = current.share,
                                         .dst = current.with_assignments ? l.assignments : NULL};
    test_expect(KVF_OK,
                kvf_wire_onboard(k->wire, k->host_tier, l.plans, current.plans, &how, &op, &e), &e);
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    expect_stats(k, op, &l);
    kvf_wire_op_release(op);
    for (size_t p = 0; p < current.plans; p++)
        for (size_t i = 0; i < current.count[p]; i++)
            assert_true(fixture_device_is(k, l.slots[p][i], content_of(current.first[p] + i)));
    expect_assignments(&l);
    fixture_expect_idle(k);
}

static void set_plan(kvf_share share, uint64_t first, size_t count) {
    current = (task){.share = share, .plans = 1, .first = {first}, .count = {count}};
}

static void test_onboard_striped(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 8; ranks++) {
        set_plan(KVF_SHARE_STRIPED, ranks == 3 ? 1000001 : 0, 23);
        fixture_run_forms(ranks, NULL, onboard);
    }
}

static void test_onboard_from_rank_0(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 8; ranks += ranks < 3 ? 1 : 5) {
        set_plan(KVF_SHARE_RANK_0, 5, 23);
        fixture_run_forms(ranks, NULL, onboard);
    }
}

static void test_chunks_of_all_sizes(void **state) {
    (void)state;
    for (size_t blocks = 1; blocks <= 13; blocks += 6)
        for (size_t chunks = 1; chunks <= 5; chunks += 2)
            for (int share = KVF_SHARE_STRIPED; share <= KVF_SHARE_RANK_0; share++) {
                set_plan((kvf_share)share, 2, 31);
                fixture_run_forms(3, &(fixture_options){.chunk_blocks = blocks, .chunks = chunks},
                                  onboard);
            }
}

/* Two sequences with a common prefix, and another one. */
static void test_several_plans(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks++)
        for (int share = KVF_SHARE_STRIPED; share <= KVF_SHARE_RANK_0; share++) {
            current = (task){.share = (kvf_share)share,
                             .plans = 3,
                             .first = {0, 0, 40},
                             .count = {20, 11, 14},
                             .hashed = ranks == 2,
                             .with_assignments = ranks != 2};
            fixture_run_forms(ranks, NULL, onboard);
        }
}

static void test_few_blocks_and_none(void **state) {
    (void)state;
    for (size_t count = 0; count < 4; count++) {
        current = (task){.plans = 2,
                         .first = {0, 9},
                         .count = {count, count / 2},
                         .with_assignments = count > 1};
        fixture_run_forms(4, NULL, onboard);
    }
    current = (task){.plans = 0};
    fixture_run_forms(3, NULL, onboard);
}

/* Every rank contributes its part of the bytes and no more, in one collective per chunk. Gathers
 * add 64 bytes each, including those of creating the group and wire. */
static void expect_traffic(fixture_rank *k) {
    const bool striped = current.share == KVF_SHARE_STRIPED;
    const fakenccl_traffic gathered = fakenccl_traffic_of(k->rank, FAKENCCL_ALL_GATHER);
    const fakenccl_traffic cast = fakenccl_traffic_of(k->rank, FAKENCCL_BROADCAST);
    const uint64_t all = current.count[0] * FIXTURE_BLOCK, chunks = expected_chunks(k);
    kvf_group_counters c = {0};
    assert_int_equal(kvf_group_counters_get(k->group, &c, NULL), KVF_OK);
    assert_int_equal(gathered.operations, c.gathers + (striped ? chunks : 0));
    assert_int_equal(gathered.sent,
                     64 * c.gathers + (striped ? all / (uint64_t)k->fixture->ranks : 0));
    assert_int_equal(cast.operations, striped ? 0 : chunks);
    assert_int_equal(cast.sent, striped || k->rank > 0 ? 0 : all);
    assert_int_equal(fakenccl_traffic_of(k->rank, FAKENCCL_SEND).operations, 0);
}

static void onboard_and_count(fixture_rank *k) {
    onboard(k);
    fixture_barrier(k);
    expect_traffic(k);
    fixture_barrier(k);
}

static void test_bytes_on_the_wire(void **state) {
    (void)state;
    for (int ranks = 2; ranks <= 8; ranks *= 2) {
        set_plan(ranks == 4 ? KVF_SHARE_RANK_0 : KVF_SHARE_STRIPED, 0, 48);
        fixture_run_forms(ranks, &(fixture_options){.chunk_blocks = 4}, onboard_and_count);
        set_plan(KVF_SHARE_STRIPED, 0, 48);
        fixture_run(ranks, &(fixture_options){.chunk_blocks = 4}, onboard_and_count);
    }
}

/* The memory of a wire, by what NCCL supports. */
static kvf_wire_memory expected_memory;

static void explain(fixture_rank *k) {
    kvf_wire_explanation e;
    assert_int_equal(kvf_wire_explain(k->wire, &e, NULL), KVF_OK);
    assert_int_equal(e.memory, expected_memory);
    assert_int_equal(!e.reason, e.memory == KVF_WIRE_WINDOW);
    assert_int_equal(e.chunks, 2);
    assert_int_equal(e.chunk_blocks, 5 * k->fixture->ranks);
    assert_true(e.bytes >= (size_t)10 * (size_t)k->fixture->ranks * FIXTURE_BLOCK);
    assert_int_equal(e.nccl_version > 0, k->fixture->ranks > 1);
    assert_int_equal(kvf_wire_explain(NULL, &e, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_explain(k->wire, NULL, NULL), KVF_ERR_INVALID);
    onboard(k);
}

static void test_wire_memory(void **state) {
    (void)state;
    static const struct {
        fakenccl_config config;
        kvf_wire_memory memory;
    } cases[] = {
        {{0}, KVF_WIRE_WINDOW},
        {{.no_windows = true}, KVF_WIRE_NCCL},
        {{.version = 22602}, KVF_WIRE_NCCL},
        {{.version = 21805}, KVF_WIRE_PLAIN},
        {{.meet = true}, KVF_WIRE_WINDOW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const fixture_options options = {.chunk_blocks = 5, .chunks = 2, .nccl = cases[i].config};
        set_plan(KVF_SHARE_STRIPED, 3, 23);
        expected_memory = cases[i].memory;
        fixture_run_forms(3, &options, explain);
        expected_memory = KVF_WIRE_PLAIN;
        fixture_run(1, &options, explain);
    }
}

static void offload(fixture_rank *k) {
    lists l;
    kvf_wire_op *op = NULL;
    kvf_wire_op_stats stats;
    kvf_error e = {0};
    make_lists(k, &l, true);
    for (size_t i = 0; i < current.count[0]; i++)
        fixture_fill_device(k, l.slots[0][i], content_of(current.first[0] + i));
    const kvf_wire_submit_options how = {.share = current.share};
    test_expect(KVF_OK,
                kvf_wire_offload(k->wire, k->host_tier, l.plans, current.plans, &how, &op, &e), &e);
    test_expect(KVF_OK, kvf_wire_op_wait(op, 20 * 1000 * 1000, &e), &e);
    kvf_wire_op_stats_get(op, &stats);
    assert_int_equal(stats.blocks, l.owned);
    assert_int_equal(stats.host_bytes, l.owned * FIXTURE_BLOCK);
    assert_int_equal(stats.wire_bytes, 0);
    kvf_wire_op_release(op);
    for (size_t i = 0; i < current.count[0]; i++) {
        uint64_t position = current.first[0] + i;
        assert_int_equal(fixture_host_is(k, host_id(position), content_of(position)),
                         owns(k, position));
    }
    fixture_expect_idle(k);
}

static void test_offload_once_in_the_group(void **state) {
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks++) {
        set_plan(ranks == 2 ? KVF_SHARE_RANK_0 : KVF_SHARE_STRIPED, 4, 23);
        fixture_run_forms(ranks, NULL, offload);
    }
}

/* The assignments are those of the host tier, whose ids all ranks know. */
static void offload_with_assignments(fixture_rank *k) {
    uint64_t slots[16], ids[16];
    kvf_hash hashes[16];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < 16; i++) {
        slots[i] = 2 * i + 1;
        ids[i] = 40 - i;
        fixture_fill_device(k, slots[i], (unsigned)i);
    }
    fixture_hashes(hashes, 8, 16);
    kvf_assignments *assignments = fixture_assignments(ids, 16, 8);
    const kvf_plan plan = {8, 16, slots, ids, hashes};
    const kvf_wire_submit_options how = {.dst = &assignments};
    test_expect(KVF_OK, kvf_wire_offload(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    assert_int_equal(kvf_assignments_staged_count(assignments), 16);
    fixture_expect_end(op, KVF_OK);
    fixture_expect_phases(assignments, 16, 0);
    kvf_assignments_destroy(assignments);
}

static void test_offload_with_assignments(void **state) {
    (void)state;
    fixture_run_forms(3, NULL, offload_with_assignments);
}

/* Callbacks */

typedef struct seen {
    unsigned times;
    kvf_status status;
} seen;

static void note(void *user, const kvf_error *error) {
    seen *t = user;
    t->times++;
    t->status = error->status;
}

static void submit_with_callback(fixture_rank *k) {
    const uint64_t host[] = {3, 4}, slots[] = {8, 9};
    const kvf_plan plan = {0, 2, host, slots, NULL};
    seen polled = {0}, released = {0}, dropped = {0};
    kvf_wire_op *ops[3];
    seen *all[] = {&polled, &released, &dropped};
    kvf_error e = {0};
    for (size_t i = 0; i < 3; i++) {
        const kvf_wire_submit_options how = {.callback = note, .user = all[i]};
        test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &ops[i], &e),
                    &e);
        if (i == 2)
            kvf_wire_op_release(ops[2]);
        while (i == 0 && kvf_wire_op_poll(ops[0], NULL) == KVF_PENDING)
            (void)kvf_group_progress(k->group);
    }
    assert_int_equal(kvf_wire_op_poll(ops[0], NULL), KVF_OK);
    assert_int_equal(kvf_wire_op_wait(ops[0], 0, NULL), KVF_OK);
    assert_int_equal(polled.times, 1);
    assert_int_equal(polled.status, KVF_OK);
    test_expect(KVF_OK, kvf_wire_op_wait(ops[1], -1, &e), &e);
    kvf_wire_op_release(ops[0]);
    kvf_wire_op_release(ops[1]);
    assert_int_equal(released.times, 1);
    assert_true(dropped.times <= 1); /* only if it had ended when it was released */
}

static void test_callbacks(void **state) {
    (void)state;
    fixture_run_forms(2, NULL, submit_with_callback);
}

/* Released early */

/* The flight returns at once, and the group finishes without the assignments. */
static void release_early(fixture_rank *k) {
    uint64_t host[8], slots[8];
    kvf_hash hashes[8];
    kvf_error e = {0};
    kvf_wire_op *op = NULL;
    for (uint64_t i = 0; i < 8; i++)
        host[i] = slots[i] = i;
    fixture_hashes(hashes, 0, 8);
    kvf_assignments *assignments = fixture_assignments(slots, 8, 0);
    const kvf_plan plan = {0, 8, host, slots, hashes};
    const kvf_wire_submit_options how = {.dst = &assignments};
    if (k->rank == 0)
        fixture_barrier(k);
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_wire_op_release(op);
    assert_int_equal(assignments->holders, 0);
    if (k->rank > 0) {
        fixture_expect_phases(assignments, 0, 8);
        fixture_barrier(k);
    }
    kvf_assignments_destroy(assignments);
}

static void test_release_before_the_end(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++)
        fixture_run(3, &(fixture_options){.form = i % 2 ? FIXTURE_THREADED : FIXTURE_NO_THREAD},
                    release_early);
}

/* An operation ends well after its assignments were destroyed. */
static void destroy_assignments_early(fixture_rank *k) {
    const uint64_t host[] = {3, 4}, slots[] = {8, 9};
    kvf_hash hashes[2];
    kvf_error e = {0};
    kvf_wire_op *op = NULL;
    fixture_hashes(hashes, 0, 2);
    kvf_assignments *assignments = fixture_assignments(slots, 2, 0);
    const kvf_plan plan = {0, 2, host, slots, hashes};
    const kvf_wire_submit_options how = {.dst = &assignments};
    test_expect(KVF_OK, kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    kvf_assignments_destroy(assignments);
    fixture_expect_end(op, KVF_OK);
}

static void test_assignments_destroyed_in_between(void **state) {
    (void)state;
    fixture_run_forms(2, NULL, destroy_assignments_early);
}

/* Several wires, of several layouts of one tier */

typedef struct pages {
    void *device[2];
    char *host[2];
    kvf_cuda_pinned *pinned;
    kvf_tier *near, *far;
} pages;

enum { PAGES = 16 };
static const size_t page_bytes[2] = {512, 96};

static void open_pages(fixture_rank *k, pages *p) {
    const kvf_layout *near[2], *far[2];
    const kvf_cuda_pinned_options options = {.bytes = 16384, .device = k->rank, .threads = 1};
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_cuda_pinned_create(&options, &p->pinned, NULL, &e), &e);
    for (size_t i = 0; i < 2; i++) {
        const kvf_shape shape = {.blocks = PAGES, .layers = 1, .bytes = page_bytes[i]};
        kvf_layout *made[2];
        p->host[i] = (char *)kvf_cuda_pinned_base(p->pinned) + i * 8192;
        assert_int_equal(cudaMalloc(&p->device[i], PAGES * page_bytes[i]), cudaSuccess);
        const kvf_buffer buffers[] = {{p->device[i], PAGES * page_bytes[i]},
                                      {p->host[i], PAGES * page_bytes[i]}};
        for (size_t side = 0; side < 2; side++)
            test_expect(KVF_OK, kvf_layout_contiguous(&shape, buffers[side], &made[side], &e), &e);
        near[i] = made[0];
        far[i] = made[1];
    }
    const kvf_tier_options device = {
        .layouts = near, .layout_count = 2, .memory = KVF_MEMORY_DEVICE};
    const kvf_tier_options host = {.layouts = far, .layout_count = 2, .memory = KVF_MEMORY_PINNED};
    test_expect(KVF_OK, kvf_tier_create(k->engine, &device, &p->near, &e), &e);
    test_expect(KVF_OK, kvf_tier_create(k->engine, &host, &p->far, &e), &e);
    for (size_t i = 0; i < 2; i++) {
        kvf_layout_destroy((kvf_layout *)near[i]);
        kvf_layout_destroy((kvf_layout *)far[i]);
    }
}

static void close_pages(pages *p) {
    kvf_tier_destroy(p->near);
    kvf_tier_destroy(p->far);
    kvf_cuda_pinned_destroy(p->pinned);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(cudaFree(p->device[i]), cudaSuccess);
}

static void use_two_wires(fixture_rank *k) {
    pages p;
    kvf_wire *wires[2];
    kvf_wire_op *ops[2], *none = NULL;
    uint64_t ids[PAGES];
    kvf_error e = {0};
    open_pages(k, &p);
    for (size_t i = 0; i < 2; i++) {
        const kvf_wire_options options = {.device = p.near,
                                          .device_layout = i,
                                          .chunk_bytes = 3 * page_bytes[i],
                                          .chunks = 1 + i};
        test_expect(KVF_OK, kvf_wire_create(k->group, &options, &wires[i], &e), &e);
        memset(p.host[i], (int)(7 + i), PAGES * page_bytes[i]);
    }
    for (uint64_t i = 0; i < PAGES; i++)
        ids[i] = i;
    const kvf_plan plan = {0, PAGES, ids, ids, NULL};
    for (size_t i = 0; i < 2; i++) {
        const kvf_wire_submit_options how = {.host_layout = i};
        test_expect(KVF_OK, kvf_wire_onboard(wires[i], p.far, &plan, 1, &how, &ops[i], &e), &e);
        assert_int_equal(kvf_wire_onboard(wires[1 - i], p.far, &plan, 1, &how, &none, &e),
                         KVF_ERR_LAYOUT);
    }
    for (size_t i = 0; i < 2; i++) {
        fixture_expect_end(ops[i], KVF_OK);
        const char *shadow = fakecuda_shadow(p.device[i], PAGES * page_bytes[i]);
        for (size_t b = 0; b < PAGES * page_bytes[i]; b++)
            assert_int_equal(shadow[b], 7 + i);
        kvf_wire_destroy(wires[i]);
    }
    close_pages(&p);
}

static void test_wires_of_several_layouts(void **state) {
    (void)state;
    fixture_run_forms(1, NULL, use_two_wires);
    fixture_run_forms(3, NULL, use_two_wires);
}

/* Refusals */

static void refuse(fixture_rank *k, const kvf_plan *plans, size_t count,
                   const kvf_wire_submit_options *how, kvf_status expected, kvf_error *e) {
    kvf_wire_op *op = NULL;
    *e = (kvf_error){0};
    test_expect(expected, kvf_wire_onboard(k->wire, k->host_tier, plans, count, how, &op, e), e);
    assert_int_equal(e->status, expected);
    assert_null(op);
}

static void submit_bad_arguments(fixture_rank *k) {
    const uint64_t good[] = {1, 2, 3}, far[] = {4, 5, FIXTURE_SLOTS}, other[] = {7, 8, 3};
    kvf_hash hashes[3];
    kvf_error e;
    kvf_wire_op *op = NULL;
    kvf_plan plans[2] = {{0, 3, good, good, NULL}, {0, 3, good, far, NULL}};
    fixture_hashes(hashes, 0, 3);
    refuse(k, NULL, 1, NULL, KVF_ERR_INVALID, &e);
    assert_int_equal(kvf_wire_onboard(NULL, k->host_tier, plans, 1, NULL, &op, NULL),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_onboard(k->wire, NULL, plans, 1, NULL, &op, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_onboard(k->wire, k->host_tier, plans, 1, NULL, NULL, NULL),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_onboard(k->wire, k->device, plans, 1, NULL, &op, NULL),
                     KVF_ERR_INVALID);
    refuse(k, plans, 1, &(kvf_wire_submit_options){.share = (kvf_share)2}, KVF_ERR_INVALID, &e);
    refuse(k, plans, 1, &(kvf_wire_submit_options){.host_layout = 1}, KVF_ERR_RANGE, &e);
    refuse(k, plans, 2, NULL, KVF_ERR_RANGE, &e);
    assert_int_equal(e.id, FIXTURE_SLOTS);
    assert_int_equal(e.index, 1);
    assert_int_equal(e.other_index, 2);
    plans[1].dst_ids = other;
    refuse(k, plans, 2, NULL, KVF_ERR_CONFLICT, &e);
    assert_int_equal(e.id, 3);
    assert_int_equal(e.index, 1);
    assert_int_equal(e.other_index, 2);
    plans[1].dst_ids = NULL;
    refuse(k, plans, 2, NULL, KVF_ERR_INVALID, &e);
    assert_int_equal(e.index, 1);
    plans[0].first_position = UINT64_MAX;
    refuse(k, plans, 1, NULL, KVF_ERR_RANGE, &e);
    /* The first plan's flight returns when the second's cannot depart. */
    kvf_assignments *assignments[] = {fixture_assignments(good, 3, 0),
                                      fixture_assignments(other, 2, 5)};
    plans[0] = (kvf_plan){0, 3, good, good, hashes};
    plans[1] = (kvf_plan){0, 2, good, other, hashes};
    refuse(k, plans, 2, &(kvf_wire_submit_options){.dst = assignments}, KVF_ERR_GAP, &e);
    assert_int_equal(e.index, 1);
    fixture_expect_phases(assignments[0], 0, 3);
    fixture_expect_phases(assignments[1], 0, 2);
    kvf_assignments_destroy(assignments[0]);
    kvf_assignments_destroy(assignments[1]);
}

static void make_bad_wires(fixture_rank *k) {
    kvf_wire *wire = NULL;
    kvf_error e;
    const kvf_wire_options good = {.device = k->device};
    kvf_wire_options bad = {0};
    assert_int_equal(kvf_wire_create(NULL, &good, &wire, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_create(k->group, NULL, &wire, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_create(k->group, &good, NULL, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_INVALID);
    bad.device = k->host_tier;
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_INVALID);
    bad = (kvf_wire_options){.device = k->device, .device_layout = 1};
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_RANGE);
    bad = (kvf_wire_options){.device = k->device, .chunks = 65};
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_INVALID);
    bad = (kvf_wire_options){.device = k->device, .chunk_bytes = SIZE_MAX};
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_NO_MEMORY);
    bad = (kvf_wire_options){.device = k->device, .chunk_bytes = SIZE_MAX / 4, .chunks = 64};
    assert_int_equal(kvf_wire_create(k->group, &bad, &wire, &e), KVF_ERR_NO_MEMORY);
    assert_null(wire);
    kvf_wire_destroy(NULL);
    kvf_wire_op_release(NULL);
    assert_int_equal(kvf_wire_op_poll(NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_wire_op_wait(NULL, 0, NULL), KVF_ERR_INVALID);
}

static void make_bad_groups(fixture_rank *k) {
    kvf_group *group = NULL;
    kvf_engine *host = NULL;
    kvf_error e = {0};
    const kvf_group_options good = {.engine = k->engine};
    kvf_group_options bad = good;
    assert_int_equal(kvf_group_create(NULL, &group, &e), KVF_ERR_INVALID);
    assert_int_equal(kvf_group_create(&good, NULL, &e), KVF_ERR_INVALID);
    bad.engine = NULL;
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_INVALID);
    bad = (kvf_group_options){.engine = k->engine, .ranks = 2, .rank = 2, .id = k->fixture->id};
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_INVALID);
    bad.rank = 0;
    bad.id = NULL;
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_INVALID);
    bad = good;
    bad.timeout_us = -1;
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_INVALID);
    bad.timeout_us = INT64_MAX;
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_INVALID);
    test_expect(KVF_OK, kvf_engine_host_create(NULL, &host, &e), &e);
    bad = good;
    bad.engine = host;
    assert_int_equal(kvf_group_create(&bad, &group, &e), KVF_ERR_UNSUPPORTED);
    kvf_engine_destroy(host);
    assert_null(group);
    kvf_group_destroy(NULL);
    assert_int_equal(kvf_group_check(NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_group_counters_get(NULL, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_group_id_create(NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_group_progress(NULL), 0);
    assert_int_equal(kvf_group_rank(NULL), -1);
    assert_int_equal(kvf_group_ranks(NULL), 0);
    assert_int_equal(kvf_group_rank(k->group), k->rank);
    assert_int_equal(kvf_group_ranks(k->group), k->fixture->ranks);
    test_expect(KVF_OK, kvf_group_check(k->group, &e), &e);
}

static void refuse_all(fixture_rank *k) {
    submit_bad_arguments(k);
    make_bad_wires(k);
    make_bad_groups(k);
    onboard(k);
}

/* A refused submit of rank 1 takes its turn: the others get PEER, and the next operation works. */
static void refuse_one(fixture_rank *k) {
    const uint64_t ids[] = {1, 2, 3}, twice[] = {4, 5, 4}, far[] = {4, 5, FIXTURE_SLOTS};
    kvf_wire *none = NULL;
    kvf_wire_op *op = NULL;
    for (int way = 0; way < 4; way++) {
        const bool odd = k->rank == 1;
        kvf_error e = {0};
        const kvf_plan plan = {0, 3, ids, odd ? (way == 0 ? twice : far) : ids, NULL};
        const kvf_wire_options wire = {.device = k->device, .device_layout = odd ? 1 : 0};
        const kvf_handover handover = {1, 1, plan, NULL};
        kvf_status status;
        if (way < 2)
            status = kvf_wire_onboard(k->wire, k->host_tier, &plan, 1, NULL, &op, &e);
        else if (way == 2)
            status = kvf_wire_hand_over(k->wire, &handover, 1, NULL, &op, &e);
        else
            status = kvf_wire_create(k->group, &wire, &none, &e);
        if (odd) {
            assert_int_equal(status, way == 0 ? KVF_ERR_CONFLICT : KVF_ERR_RANGE);
            continue;
        }
        if (way < 3) {
            test_expect(KVF_OK, status, &e);
            fixture_expect_end_with(op, KVF_ERR_PEER, &e);
        }
        assert_int_equal(e.status, KVF_ERR_PEER);
        assert_int_equal(e.index, 1);
    }
    onboard(k);
}

static void test_refusals_change_nothing(void **state) {
    (void)state;
    set_plan(KVF_SHARE_STRIPED, 0, 23);
    fixture_run_forms(1, NULL, refuse_all);
    fixture_run_forms(3, NULL, refuse_one);
}

/* When submit returns, all of the operation is in the caller's stream, however slowly NCCL enqueues
 * its calls. Later work in the stream runs after the operation. */
static void onboard_in_order(fixture_rank *k) {
    for (unsigned n = 0; n < 3; n++) {
        kvf_wire_op *op = fixture_onboard(k, 8 * n, 7, n);
        kvf_status status = KVF_PENDING;
        assert_int_equal(cudaStreamSynchronize(k->stream), cudaSuccess);
        for (int look = 0; status == KVF_PENDING && look < 4; look++)
            status = kvf_wire_op_poll(op, NULL);
        assert_int_equal(status, KVF_OK);
        assert_true(fixture_onboarded(k, 8 * n, 7, n));
        kvf_wire_op_release(op);
    }
}

static void test_in_the_callers_stream(void **state) {
    (void)state;
    fixture_run(3, &(fixture_options){.form = FIXTURE_ORDERED, .nccl = {.lag_us = 20000}},
                onboard_in_order);
}

/* However uneven the offloads were, all ranks use the same place of the wire next. NCCL requires
 * that of windows, and the fake checks it. */
static void offload_unevenly(fixture_rank *k) {
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (unsigned n = 0; n < 5; n++) {
        const uint64_t kept = 40 + n, stored = 50 + n;
        const kvf_plan plan = {n, 1, &kept, &stored, NULL};
        const kvf_wire_submit_options how = {.share =
                                                 n % 2 == 0 ? KVF_SHARE_RANK_0 : KVF_SHARE_STRIPED};
        fixture_fill_device(k, kept, n);
        test_expect(KVF_OK, kvf_wire_offload(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
        fixture_expect_end(op, KVF_OK);
        fixture_expect_end(fixture_onboard(k, 0, 7, n), KVF_OK);
        assert_true(fixture_onboarded(k, 0, 7, n));
    }
}

static void test_the_same_place_on_all_ranks(void **state) {
    (void)state;
    fixture_run(3, NULL, offload_unevenly);
}

/* A wire that only some ranks destroy stays registered on all, and the group goes on. */
static void destroy_alone(fixture_rank *k) {
    const kvf_wire_options options = {.device = k->device, .chunk_bytes = FIXTURE_BLOCK};
    kvf_wire *other = NULL, *third = NULL;
    kvf_error e = {0};
    test_expect(KVF_OK, kvf_wire_create(k->group, &options, &other, &e), &e);
    if (k->rank == 1)
        test_expect(KVF_OK, kvf_wire_refuse(k->wire, KVF_ERR_CORRUPT, &e), &e);
    else
        kvf_wire_destroy(other);
    test_expect(KVF_OK, kvf_wire_create(k->group, &options, &third, &e), &e);
    fixture_expect_end(fixture_onboard(k, 0, 7, 3), KVF_OK);
    assert_true(fixture_onboarded(k, 0, 7, 3));
    kvf_wire_destroy(third);
    fixture_leave(k);
    if (k->rank == 1)
        kvf_wire_destroy(other);
}

static void test_a_wire_that_some_destroy(void **state) {
    (void)state;
    fixture_run_forms(3, NULL, destroy_alone);
}

/* Only rank 0 stores, for longer than the timeout; check-ins tell the others that it goes on. */
static void store_for_long(fixture_rank *k) {
    uint64_t ids[FIXTURE_SLOTS], slots[FIXTURE_SLOTS];
    kvf_wire_op *op = NULL;
    kvf_error e = {0};
    for (uint64_t i = 0; i < FIXTURE_SLOTS; i++) {
        ids[i] = i;
        slots[i] = 5 * i % FIXTURE_SLOTS; /* apart */
    }
    const kvf_plan plan = {0, FIXTURE_SLOTS, slots, ids, NULL};
    const kvf_wire_submit_options how = {.share = KVF_SHARE_RANK_0};
    if (k->rank == 0)
        fakecuda_delay(FAKECUDA_COPY, COPY_US);
    fixture_barrier(k);
    uint64_t begun = kvf__now();
    test_expect(KVF_OK, kvf_wire_offload(k->wire, k->host_tier, &plan, 1, &how, &op, &e), &e);
    fixture_expect_end(op, KVF_OK);
    if (k->rank == 0 && kvf__now() - begun < UINT64_C(1000) * LONG_US)
        fail_msg("it took only %d ms", (int)((kvf__now() - begun) / 1000000));
}

static void test_longer_than_the_timeout(void **state) {
    (void)state;
    fixture_run(2,
                &(fixture_options){.timeout_us = LONG_US,
                                   .chunk_blocks = 1,
                                   .engine = {.strategy = KVF_CUDA_LOOP}},
                store_for_long);
    fakecuda_delay(FAKECUDA_COPY, 0);
}

int main(void) {
    if (!needs_fake() || !needs(FAKENCCL, "the fake NCCL"))
        return NEEDS_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onboard_striped),
        cmocka_unit_test(test_onboard_from_rank_0),
        cmocka_unit_test(test_chunks_of_all_sizes),
        cmocka_unit_test(test_several_plans),
        cmocka_unit_test(test_few_blocks_and_none),
        cmocka_unit_test(test_bytes_on_the_wire),
        cmocka_unit_test(test_wire_memory),
        cmocka_unit_test(test_offload_once_in_the_group),
        cmocka_unit_test(test_offload_with_assignments),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_release_before_the_end),
        cmocka_unit_test(test_assignments_destroyed_in_between),
        cmocka_unit_test(test_wires_of_several_layouts),
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_in_the_callers_stream),
        cmocka_unit_test(test_the_same_place_on_all_ranks),
        cmocka_unit_test(test_a_wire_that_some_destroy),
        cmocka_unit_test(test_longer_than_the_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
