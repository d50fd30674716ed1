#include "support/engine_fixture.h"

#include <string.h>

enum { BLOCKS = 24 };

static uint64_t ids[BLOCKS];

static const kvf_host_options no_threads = {.no_threads = true}, threads = {.threads = 3};

/* `away` is moved to `host`, which keeps checksums, and from there to `back`. */
typedef struct fixture {
    kvf_engine *engine;
    fixture_tier away, host, back;
} fixture;

static void expect_move(kvf_status expected, kvf_tier *src, kvf_tier *dst, const kvf_plan *plan) {
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_transfer_submit(src, dst, plan, 1, NULL, &t, &error), &error);
    test_expect(expected, kvf_transfer_wait(t, -1, &error), &error);
    kvf_transfer_release(t);
}

/* All blocks are in the host tier, with their checksums; the last tier is filled with 500 + id. */
static fixture fixture_make(const kvf_host_options *options, size_t bytes) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = bytes, .rows = 2};
    fixture f = {.engine = fixture_engine(options)};
    for (uint64_t i = 0; i < BLOCKS; i++)
        ids[i] = i;
    f.away = fixture_tier_make(f.engine, &shape, FIXTURE_BLOCK_SECOND, false);
    f.host = fixture_tier_make(f.engine, &shape, FIXTURE_PADDED, true);
    f.back = fixture_tier_make(f.engine, &shape, FIXTURE_PER_PART, false);
    fixture_fill_all(f.away.memory.layout, 100);
    fixture_fill_all(f.back.memory.layout, 500);
    const kvf_plan all = fixture_plan(ids, ids, BLOCKS);
    expect_move(KVF_OK, f.away.tier, f.host.tier, &all);
    return f;
}

static void fixture_free(fixture *f) {
    fixture_tier_free(&f->away);
    fixture_tier_free(&f->host);
    fixture_tier_free(&f->back);
    kvf_engine_destroy(f->engine);
}

static void flip(const fixture *f, uint64_t id) {
    *fixture_byte(f->host.memory.layout, 4, id, 1, 0) ^= 0x40;
}

static kvf_transfer *submit(fixture *f, const kvf_plan *plans, size_t count,
                            kvf_submit_options options) {
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK,
                kvf_transfer_submit(f->host.tier, f->back.tier, plans, count, &options, &t, &error),
                &error);
    return t;
}

static void expect_corrupt(kvf_transfer *t, uint64_t plan, uint64_t id, uint64_t position) {
    kvf_error error = {0};
    test_expect(KVF_ERR_CORRUPT, kvf_transfer_wait(t, -1, &error), &error);
    assert_int_equal(error.fields, KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_POSITION);
    assert_true(error.index == plan && error.id == id && error.position == position);
}

static void expect_moved(const fixture *f, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++)
        assert_true(fixture_holds(f->back.memory.layout, i, 100 + i));
}

static void expect_untouched(const fixture *f, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++)
        assert_true(fixture_holds(f->back.memory.layout, i, 500 + i));
}

static void only_the_verified_prefix_lands(void **state) {
    (void)state;
    const kvf_host_options *engines[] = {&no_threads, &threads};
    for (int k = 0; k < 8; k++) {
        /* Small blocks are verified in one chunk, large ones in several. */
        fixture f = fixture_make(engines[k % 2], k < 4 ? 32 : 40000);
        flip(&f, 9);
        flip(&f, 14);
        kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
        plan.first_position = 1000;
        kvf_transfer *t =
            submit(&f, &plan, 1, (kvf_submit_options){.by_layer = k & 2, .background = k % 3 == 0});
        expect_corrupt(t, 0, 9, 1009);
        assert_int_equal(kvf_transfer_landed(t, 0), 9);
        expect_moved(&f, 0, 9);
        expect_untouched(&f, 9, BLOCKS);
        kvf_transfer_stats stats;
        kvf_transfer_stats_get(t, &stats);
        assert_int_equal(stats.blocks, 9);
        assert_int_equal(kvf_tier_idle(f.back.tier, ids, BLOCKS, NULL), KVF_OK);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

/* A layer with dropped blocks never lands, and is reported while the rest moves. */
static void layers_with_dropped_blocks_are_corrupt(void **state) {
    (void)state;
    for (int by_layer = 0; by_layer < 2; by_layer++) {
        fixture f = fixture_make(&no_threads, 40000);
        flip(&f, 20);
        const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
        kvf_transfer *t = submit(&f, &plan, 1, (kvf_submit_options){.by_layer = by_layer});
        for (uint32_t layer = 0; layer < 3; layer++) {
            kvf_error error = {0};
            test_expect(KVF_ERR_CORRUPT, kvf_transfer_wait_layer(t, layer, -1, &error), &error);
            assert_int_equal(error.fields, KVF_ERROR_ID | KVF_ERROR_INDEX | KVF_ERROR_POSITION);
            assert_true(error.index == 0 && error.id == 20 && error.position == 20);
            assert_int_equal(kvf_transfer_poll(t, NULL), KVF_PENDING);
            assert_int_equal(kvf_transfer_landed(t, 0), 0);
        }
        expect_corrupt(t, 0, 20, 20);
        assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, NULL), KVF_ERR_CORRUPT);
        assert_int_equal(kvf_transfer_landed(t, 0), 20);
        expect_moved(&f, 0, 20);
        expect_untouched(&f, 20, BLOCKS);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

static void waiting_for_a_layer_of_a_corrupt_transfer(void **state) {
    (void)state;
    for (int k = 0; k < 10; k++) {
        fixture f = fixture_make(&threads, 20000);
        flip(&f, 20);
        const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
        kvf_transfer *t = submit(&f, &plan, 1, (kvf_submit_options){.by_layer = true});
        assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, NULL), KVF_ERR_CORRUPT);
        expect_corrupt(t, 0, 20, 20);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

static void each_plan_has_its_own_prefix(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        fixture f = fixture_make(k ? &threads : &no_threads, 32);
        flip(&f, 10);
        flip(&f, 17);
        kvf_plan plans[] = {
            fixture_plan(ids, ids, 6),           /* intact */
            fixture_plan(ids + 6, ids + 6, 6),   /* corrupt at 10 */
            {0},                                 /* empty */
            fixture_plan(ids + 12, ids + 12, 4), /* intact */
            fixture_plan(ids + 16, ids + 16, 4), /* corrupt at 17 */
        };
        plans[1].first_position = 70;
        kvf_transfer *t = submit(&f, plans, 5, (kvf_submit_options){.by_layer = k});
        expect_corrupt(t, 1, 10, 74);
        const size_t landed[] = {6, 4, 0, 4, 1, 0};
        for (size_t p = 0; p < 6; p++)
            assert_int_equal(kvf_transfer_landed(t, p), landed[p]);
        expect_moved(&f, 0, 10);
        expect_untouched(&f, 10, 12);
        expect_moved(&f, 12, 17);
        expect_untouched(&f, 17, BLOCKS);
        kvf_transfer_release(t);
        fixture_free(&f);
    }
}

/* One block in two plans, intact or corrupt, before or after a corrupt one. */
static void plans_may_share_blocks(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 32);
    flip(&f, 1);
    const uint64_t first[] = {0, 1, 2}, second[] = {2, 3, 1, 4};
    const kvf_plan plans[] = {fixture_plan(first, first, 3), fixture_plan(second, second, 4)};
    kvf_transfer *t = submit(&f, plans, 2, (kvf_submit_options){0});
    expect_corrupt(t, 0, 1, 1);
    assert_int_equal(kvf_transfer_landed(t, 0), 1);
    assert_int_equal(kvf_transfer_landed(t, 1), 2);
    expect_moved(&f, 0, 1);
    expect_untouched(&f, 1, 2);
    expect_moved(&f, 2, 4);
    expect_untouched(&f, 4, BLOCKS);
    kvf_transfer_release(t);
    fixture_free(&f);
}

static void all_may_be_corrupt(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 32);
    flip(&f, 0);
    flip(&f, 4);
    const kvf_plan plans[] = {fixture_plan(ids, ids, 4), fixture_plan(ids + 4, ids + 4, 4)};
    kvf_transfer *t = submit(&f, plans, 2, (kvf_submit_options){.by_layer = true});
    expect_corrupt(t, 0, 0, 0);
    assert_int_equal(kvf_transfer_landed(t, 0) + kvf_transfer_landed(t, 1), 0);
    expect_untouched(&f, 0, BLOCKS);
    kvf_transfer_release(t);
    const kvf_plan good = fixture_plan(ids + 1, ids + 1, 3);
    expect_move(KVF_OK, f.host.tier, f.back.tier, &good);
    expect_moved(&f, 1, 4);
    fixture_free(&f);
}

/* The checksum covers every byte of a block and no other. */
static void every_byte_counts(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 6);
    size_t count;
    const kvf_region *regions = kvf_layout_regions(f.host.memory.layout, &count);
    for (size_t at = 0; at < f.host.memory.size; at += 1) {
        const char *address = f.host.memory.bytes + at;
        uint64_t owner = BLOCKS;
        for (size_t i = 0; i < count; i++)
            for (uint64_t id = 3; id < 6; id++)
                for (size_t row = 0; row < regions[i].rows; row++) {
                    const char *start = fixture_byte(f.host.memory.layout, i, id, row, 0);
                    if (address >= start && address < start + regions[i].bytes)
                        owner = id;
                }
        const kvf_plan plan = fixture_plan(ids + 3, ids + 3, 3);
        f.host.memory.bytes[at] ^= 1;
        kvf_transfer *t = submit(&f, &plan, 1, (kvf_submit_options){0});
        if (owner == BLOCKS)
            assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
        else
            expect_corrupt(t, 0, owner, owner - 3);
        kvf_transfer_release(t);
        f.host.memory.bytes[at] ^= 1;
    }
    fixture_free(&f);
}

static void unknown_content_passes_until_sealed(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = 32, .rows = 2};
    fixture f = fixture_make(&no_threads, 32);
    fixture_tier mine = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_fill_all(mine.memory.layout, 100);
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    expect_move(KVF_OK, mine.tier, f.back.tier, &plan);
    expect_moved(&f, 0, 4);
    assert_int_equal(kvf_tier_seal(mine.tier, ids, 4, NULL), KVF_OK);
    expect_move(KVF_OK, mine.tier, f.back.tier, &plan);
    *fixture_byte(mine.memory.layout, 0, 3, 0, 0) ^= 1;
    expect_move(KVF_ERR_CORRUPT, mine.tier, f.back.tier, &plan);
    /* After the caller has written to sealed blocks it must seal them again. */
    assert_int_equal(kvf_tier_seal(mine.tier, ids + 3, 1, NULL), KVF_OK);
    expect_move(KVF_OK, mine.tier, f.back.tier, &plan);
    fixture_tier_free(&mine);
    fixture_free(&f);
}

static void a_transfer_renews_checksums(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 32);
    const kvf_plan plan = fixture_plan(ids, ids, 4), one = fixture_plan(ids + 2, ids + 2, 1);
    flip(&f, 2);
    expect_move(KVF_ERR_CORRUPT, f.host.tier, f.back.tier, &plan);
    expect_move(KVF_OK, f.away.tier, f.host.tier, &one);
    expect_move(KVF_OK, f.host.tier, f.back.tier, &plan);
    expect_moved(&f, 0, 4);
    flip(&f, 2);
    expect_move(KVF_ERR_CORRUPT, f.host.tier, f.back.tier, &plan);
    fixture_free(&f);
}

/* Between tiers with checksums, a corrupt source leaves the destination's checksum unchanged. */
static void checksums_on_both_sides(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = 32, .rows = 2};
    fixture f = fixture_make(&threads, 32);
    fixture_tier other = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_fill_all(other.memory.layout, 700);
    assert_int_equal(kvf_tier_seal(other.tier, ids, BLOCKS, NULL), KVF_OK);
    flip(&f, 2);
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    expect_move(KVF_ERR_CORRUPT, f.host.tier, other.tier, &plan);
    expect_move(KVF_OK, other.tier, f.back.tier, &plan);
    expect_moved(&f, 0, 2);
    for (uint64_t id = 2; id < 4; id++)
        assert_true(fixture_holds(f.back.memory.layout, id, 700 + id));
    fixture_tier_free(&other);
    fixture_free(&f);
}

/* Writing one layout's part of a block does not seal the other's. */
static void layouts_are_sealed_separately(void **state) {
    (void)state;
    const kvf_shape shapes[] = {{.blocks = BLOCKS, .layers = 2, .bytes = 24},
                                {.blocks = BLOCKS, .layers = 1, .bytes = 40}};
    kvf_engine *engine = fixture_engine(&no_threads);
    for (uint64_t i = 0; i < BLOCKS; i++)
        ids[i] = i;
    fixture_memory memory[2][2];
    kvf_tier *tiers[2] = {0};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            memory[i][k] = fixture_memory_make(&shapes[k], FIXTURE_CONTIGUOUS);
            fixture_fill_all(memory[i][k].layout, (uint64_t)(100 * i + 10 * k));
        }
        const kvf_layout *const layouts[] = {memory[i][0].layout, memory[i][1].layout};
        const kvf_tier_options o = {.layouts = layouts, .layout_count = 2, .integrity = i == 1};
        assert_int_equal(kvf_tier_create(engine, &o, &tiers[i], NULL), KVF_OK);
    }
    const kvf_plan plan = fixture_plan(ids, ids, 2);
    const kvf_submit_options options[] = {{0}, {.src_layout = 1, .dst_layout = 1}};
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &options[0], &t, NULL),
                     KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
    *fixture_byte(memory[1][0].layout, 1, 1, 0, 3) ^= 1;
    memory[1][1].bytes[0] ^= 1; /* not sealed yet */
    assert_int_equal(kvf_transfer_submit(tiers[0], tiers[1], &plan, 1, &options[1], &t, NULL),
                     KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
    const kvf_status expected[] = {KVF_ERR_CORRUPT, KVF_OK};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(kvf_transfer_submit(tiers[1], tiers[0], &plan, 1, &options[k], &t, NULL),
                         KVF_OK);
        test_expect(expected[k], kvf_transfer_wait(t, -1, &error), &error);
        assert_int_equal(kvf_transfer_landed(t, 0), k == 0 ? 1 : 2);
        kvf_transfer_release(t);
    }
    assert_int_equal(error.id, 1);
    /* Sealing covers all layouts. */
    assert_int_equal(kvf_tier_seal(tiers[1], ids, 2, NULL), KVF_OK);
    for (int k = 0; k < 2; k++) {
        *fixture_byte(memory[1][k].layout, 0, 1, 0, 3) ^= 1;
        assert_int_equal(kvf_transfer_submit(tiers[1], tiers[0], &plan, 1, &options[k], &t, NULL),
                         KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_ERR_CORRUPT);
        kvf_transfer_release(t);
    }
    for (int i = 0; i < 2; i++) {
        kvf_tier_destroy(tiers[i]);
        fixture_memory_free(&memory[i][0]);
        fixture_memory_free(&memory[i][1]);
    }
    kvf_engine_destroy(engine);
}

static kvf_status read_one(fixture *f, kvf_tier *src, uint64_t id) {
    const kvf_plan plan = fixture_plan(&id, &id, 1);
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(src, f->back.tier, &plan, 1, NULL, &t, NULL), KVF_OK);
    kvf_status status = kvf_transfer_wait(t, -1, NULL);
    kvf_transfer_release(t);
    return status;
}

static void write_layer(fixture *f, kvf_tier *dst, const kvf_plan *plan, uint32_t layer) {
    const kvf_submit_options o = {.first_layer = layer, .layer_count = 1};
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(f->away.tier, dst, plan, 1, &o, &t, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_OK);
    kvf_transfer_release(t);
}

static bool same_block(const kvf_layout *a, const kvf_layout *b, uint64_t id) {
    size_t count;
    const kvf_region *regions = kvf_layout_regions(a, &count);
    bool same = true;
    for (size_t i = 0; i < count; i++)
        for (size_t row = 0; row < regions[i].rows; row++)
            same &= memcmp(fixture_byte(a, i, id, row, 0), fixture_byte(b, i, id, row, 0),
                           regions[i].bytes) == 0;
    return same;
}

/* Cancels a transfer after some steps. Exactly the blocks it had started to write are corrupt until
 * sealed, whether or not they had a checksum before. */
static kvf_status cut_short(size_t steps, bool sealed, const kvf_submit_options *options) {
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = 20000, .rows = 2};
    fixture f = fixture_make(&no_threads, 20000);
    fixture_tier mine = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_fill_all(mine.memory.layout, 900);
    if (sealed)
        assert_int_equal(kvf_tier_seal(mine.tier, ids, BLOCKS, NULL), KVF_OK);
    const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(f.away.tier, mine.tier, &plan, 1, options, &t, NULL),
                     KVF_OK);
    for (size_t i = 0; i < steps; i++)
        kvf_engine_progress(f.engine);
    kvf_transfer_cancel(t);
    kvf_status status = kvf_transfer_wait(t, -1, NULL);
    kvf_transfer_release(t);
    bool corrupt[BLOCKS];
    fixture_memory wanted = fixture_memory_make(&shape, FIXTURE_CONTIGUOUS);
    fixture_fill_all(wanted.layout, 900);
    fixture_copy(f.away.memory.layout, wanted.layout, &plan, 1, options->first_layer,
                 options->layer_count);
    for (uint64_t id = 0; id < BLOCKS; id++) {
        corrupt[id] = read_one(&f, mine.tier, id) == KVF_ERR_CORRUPT;
        bool as_before = fixture_holds(mine.memory.layout, id, 900 + id);
        bool written = same_block(mine.memory.layout, wanted.layout, id);
        if (as_before || status == KVF_OK)
            assert_false(corrupt[id]);
        else
            assert_true(written || corrupt[id]);
    }
    fixture_memory_free(&wanted);
    /* Writing one of their layers does not change that. */
    write_layer(&f, mine.tier, &plan, 1);
    for (uint64_t id = 0; id < BLOCKS; id++)
        assert_int_equal(read_one(&f, mine.tier, id) == KVF_ERR_CORRUPT, corrupt[id]);
    assert_int_equal(kvf_tier_seal(mine.tier, ids, BLOCKS / 2, NULL), KVF_OK);
    const kvf_plan rest = fixture_plan(ids + BLOCKS / 2, ids + BLOCKS / 2, BLOCKS / 2);
    expect_move(KVF_OK, f.away.tier, mine.tier, &rest);
    expect_move(KVF_OK, mine.tier, f.back.tier, &plan);
    expect_moved(&f, BLOCKS / 2, BLOCKS);
    fixture_tier_free(&mine);
    fixture_free(&f);
    return status;
}

static void cancelled_while_it_verifies(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 40000); /* of several chunks */
    flip(&f, 0);
    const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
    kvf_transfer *t = submit(&f, &plan, 1, (kvf_submit_options){0});
    kvf_engine_progress(f.engine);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_ERR_CANCELLED);
    assert_int_equal(kvf_transfer_landed(t, 0), 0);
    expect_untouched(&f, 0, BLOCKS);
    kvf_transfer_release(t);
    fixture_free(&f);
}

static void half_written_blocks_are_corrupt(void **state) {
    (void)state;
    const kvf_submit_options options[] = {
        {0}, {.by_layer = true}, {.first_layer = 1, .layer_count = 2}};
    for (size_t k = 0; k < 6; k++) {
        size_t steps = 0;
        while (cut_short(steps, k % 2, &options[k / 2]) == KVF_ERR_CANCELLED)
            steps++;
        assert_true(steps > 4);
    }
}

/* Writing one layer of a corrupt block does not make the block valid. */
static void writing_a_layer_does_not_validate_a_corrupt_block(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        fixture f = fixture_make(k % 2 ? &threads : &no_threads, k < 2 ? 32 : 20000);
        const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
        flip(&f, 2); /* in layer 2 */
        flip(&f, 20);
        write_layer(&f, f.host.tier, &plan, 0);
        for (uint64_t id = 0; id < BLOCKS; id++)
            assert_int_equal(read_one(&f, f.host.tier, id),
                             id == 2 || id == 20 ? KVF_ERR_CORRUPT : KVF_OK);
        /* Not even the corrupt layer: it need not be the only one. */
        write_layer(&f, f.host.tier, &plan, 2);
        assert_int_equal(read_one(&f, f.host.tier, 2), KVF_ERR_CORRUPT);
        assert_int_equal(kvf_tier_seal(f.host.tier, ids + 2, 1, NULL), KVF_OK);
        assert_int_equal(read_one(&f, f.host.tier, 2), KVF_OK);
        assert_int_equal(read_one(&f, f.host.tier, 20), KVF_ERR_CORRUPT);
        const kvf_plan one = fixture_plan(ids + 20, ids + 20, 1);
        expect_move(KVF_OK, f.away.tier, f.host.tier, &one);
        expect_move(KVF_OK, f.host.tier, f.back.tier, &plan);
        expect_moved(&f, 0, BLOCKS);
        fixture_free(&f);
    }
}

static void layers_of_an_unknown_block_are_sealed_with_it(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = 32, .rows = 2};
    fixture f = fixture_make(&no_threads, 32);
    fixture_tier mine = fixture_tier_make(f.engine, &shape, FIXTURE_CONTIGUOUS, true);
    fixture_fill_all(mine.memory.layout, 900);
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    for (uint32_t layer = 0; layer < 3; layer++) {
        write_layer(&f, mine.tier, &plan, layer);
        expect_move(KVF_OK, mine.tier, f.back.tier, &plan);
    }
    expect_moved(&f, 0, 4);
    *fixture_byte(mine.memory.layout, 5, 3, 0, 0) ^= 1;
    expect_move(KVF_ERR_CORRUPT, mine.tier, f.back.tier, &plan);
    fixture_tier_free(&mine);
    fixture_free(&f);
}

/* A transfer cut short leaves the other layout's part of its blocks valid. */
static void half_writing_one_layout_keeps_the_other_valid(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = BLOCKS, .layers = 3, .parts = 2, .bytes = 32, .rows = 2};
    fixture f = fixture_make(&no_threads, 32);
    fixture_memory parts[2];
    for (int k = 0; k < 2; k++) {
        parts[k] = fixture_memory_make(&shape, FIXTURE_CONTIGUOUS);
        fixture_fill_all(parts[k].layout, 900);
    }
    const kvf_layout *const layouts[] = {parts[0].layout, parts[1].layout};
    const kvf_tier_options o = {.layouts = layouts, .layout_count = 2, .integrity = true};
    kvf_tier *mine = NULL;
    assert_int_equal(kvf_tier_create(f.engine, &o, &mine, NULL), KVF_OK);
    const kvf_plan plan = fixture_plan(ids, ids, 4);
    const kvf_submit_options by_layer = {.dst_layout = 1, .by_layer = true};
    kvf_transfer *t = NULL;
    assert_int_equal(kvf_transfer_submit(f.away.tier, mine, &plan, 1, &by_layer, &t, NULL), KVF_OK);
    assert_int_equal(kvf_transfer_wait_layer(t, 0, -1, NULL), KVF_OK);
    kvf_transfer_cancel(t);
    assert_int_equal(kvf_transfer_wait(t, -1, NULL), KVF_ERR_CANCELLED);
    kvf_transfer_release(t);
    for (size_t k = 0; k < 2; k++) {
        const kvf_submit_options read = {.src_layout = k};
        assert_int_equal(kvf_transfer_submit(mine, f.back.tier, &plan, 1, &read, &t, NULL), KVF_OK);
        assert_int_equal(kvf_transfer_wait(t, -1, NULL), k == 0 ? KVF_OK : KVF_ERR_CORRUPT);
        kvf_transfer_release(t);
    }
    kvf_tier_destroy(mine);
    fixture_memory_free(&parts[0]);
    fixture_memory_free(&parts[1]);
    fixture_free(&f);
}

static void sealing_refuses(void **state) {
    (void)state;
    fixture f = fixture_make(&no_threads, 32);
    kvf_error error = {0};
    const uint64_t far[] = {3, BLOCKS};
    assert_int_equal(kvf_tier_seal(f.away.tier, ids, 1, &error), KVF_ERR_UNSUPPORTED);
    assert_int_equal(kvf_tier_seal(f.host.tier, NULL, 1, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_tier_seal(f.host.tier, NULL, 0, &error), KVF_OK);
    flip(&f, 3);
    assert_int_equal(kvf_tier_seal(f.host.tier, far, 2, &error), KVF_ERR_RANGE);
    assert_true(error.id == BLOCKS && error.index == 1);
    const kvf_plan plan = fixture_plan(ids + 3, ids + 3, 2);
    kvf_transfer *t = submit(&f, &plan, 1, (kvf_submit_options){0});
    assert_int_equal(kvf_tier_seal(f.host.tier, ids + 2, 3, &error), KVF_ERR_BUSY);
    assert_true(error.id == 3 && error.index == 1);
    expect_corrupt(t, 0, 3, 0); /* a failed seal has sealed nothing */
    kvf_transfer_release(t);
    fixture_free(&f);
}

int main(void) {
    fixture_watchdog(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_verified_prefix_lands),
        cmocka_unit_test(layers_with_dropped_blocks_are_corrupt),
        cmocka_unit_test(waiting_for_a_layer_of_a_corrupt_transfer),
        cmocka_unit_test(each_plan_has_its_own_prefix),
        cmocka_unit_test(plans_may_share_blocks),
        cmocka_unit_test(all_may_be_corrupt),
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(unknown_content_passes_until_sealed),
        cmocka_unit_test(a_transfer_renews_checksums),
        cmocka_unit_test(checksums_on_both_sides),
        cmocka_unit_test(layouts_are_sealed_separately),
        cmocka_unit_test(cancelled_while_it_verifies),
        cmocka_unit_test(half_written_blocks_are_corrupt),
        cmocka_unit_test(writing_a_layer_does_not_validate_a_corrupt_block),
        cmocka_unit_test(layers_of_an_unknown_block_are_sealed_with_it),
        cmocka_unit_test(half_writing_one_layout_keeps_the_other_valid),
        cmocka_unit_test(sealing_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
