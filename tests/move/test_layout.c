/* Layouts of the caller's own regions. */
#include "support/support.h"

#include "move/layout.h"
#include "layout_oracle.h"

#include <pthread.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static char arena[ORACLE_ARENA];

/* ---- a caller's own regions ----------------------------------------------------------------- */

static kvf_region region(size_t offset, size_t stride, size_t bytes) {
    return (kvf_region){.base = arena + offset, .block_stride = stride, .bytes = bytes};
}

static kvf_region rowed(size_t offset, size_t stride, size_t bytes, size_t row_count,
                        size_t pitch) {
    kvf_region r = region(offset, stride, bytes);
    r.rows = row_count;
    r.row_pitch = pitch;
    return r;
}

static kvf_region at_address(uintptr_t base, size_t stride, size_t bytes) {
    return (kvf_region){.base = (void *)base, .block_stride = stride, .bytes = bytes};
}

static kvf_layout *must_create(const kvf_region *regions, size_t count, size_t blocks) {
    kvf_layout *layout = NULL;
    kvf_error error;
    test_expect(KVF_OK, kvf_layout_create(regions, count, blocks, NULL, &layout, &error), &error);
    return layout;
}

static void must_pass(const kvf_region *regions, size_t count, size_t blocks) {
    kvf_layout_destroy(must_create(regions, count, blocks));
}

static kvf_error must_fail(kvf_status status, const kvf_region *regions, size_t count,
                           size_t blocks) {
    kvf_layout *const untouched = (kvf_layout *)&arena[1];
    kvf_layout *layout = untouched;
    kvf_error error = {.status = KVF_OK};
    test_expect(status, kvf_layout_create(regions, count, blocks, NULL, &layout, &error), &error);
    assert_int_equal(kvf_layout_create(regions, count, blocks, NULL, &layout, NULL), status);
    assert_int_equal(error.status, status);
    assert_non_null(error.what);
    assert_ptr_equal(layout, untouched);
    return error;
}

/* In a list whose other regions are valid, at any index. */
static void must_name(kvf_status status, kvf_region bad, size_t blocks) {
    for (size_t at = 0; at < 3; at++) {
        kvf_region list[3] = {region(9000, 8, 8), region(9100, 8, 8), region(9200, 8, 8)};
        bad.layer = list[at].layer;
        list[at] = bad;
        kvf_error error = must_fail(status, list, 3, blocks);
        assert_int_equal(error.fields, KVF_ERROR_INDEX);
        assert_int_equal(error.index, at);
    }
}

static void must_collide(kvf_region a, kvf_region b, size_t blocks) {
    for (int swapped = 0; swapped < 2; swapped++) {
        kvf_region list[3] = {swapped ? b : a, region(9000, 8, 8), swapped ? a : b};
        kvf_error error = must_fail(KVF_ERR_LAYOUT, list, 3, blocks);
        assert_int_equal(error.fields, KVF_ERROR_INDEX | KVF_ERROR_OTHER_INDEX);
        assert_int_equal(error.index, 2);
        assert_int_equal(error.other_index, 0);
    }
}

static void must_interleave(kvf_region a, kvf_region b, size_t blocks) {
    must_pass((kvf_region[]){a, b}, 2, blocks);
    must_pass((kvf_region[]){b, a}, 2, blocks);
}

static void test_regions_are_copied(void **state) {
    (void)state;
    kvf_region list[] = {rowed(0, 100, 8, 0, 3), rowed(10, 100, 4, 1, 999),
                         rowed(2000, 100, 4, 3, 8)};
    list[1].layer = list[2].layer = 7;
    list[2].part = 5;
    list[2].buffer = 6;
    list[2].kind = UINT64_MAX;
    kvf_layout *layout = must_create(list, 3, 9);
    size_t count;
    const kvf_region *r = kvf_layout_regions(layout, &count);
    assert_ptr_equal(kvf_layout_regions(layout, NULL), r);
    memset(list, 0xff, sizeof list);
    assert_int_equal(count, 3);
    assert_int_equal(r[0].rows, 1);
    assert_int_equal(r[0].row_pitch, 8);
    assert_int_equal(r[1].row_pitch, 4);
    assert_ptr_equal(r[2].base, arena + 2000);
    assert_int_equal(r[2].block_stride, 100);
    assert_int_equal(r[2].rows, 3);
    assert_int_equal(r[2].row_pitch, 8);
    assert_int_equal(r[2].layer, 7);
    assert_int_equal(r[2].part, 5);
    assert_int_equal(r[2].buffer, 6);
    assert_true(r[2].kind == UINT64_MAX);
    assert_int_equal(kvf_layout_blocks(layout), 9);
    assert_int_equal(kvf_layout_layers(layout), 2);
    assert_int_equal(kvf_layout_block_bytes(layout), 8 + 4 + 12);
    kvf_layout_destroy(layout);
}

static void test_invalid_regions(void **state) {
    (void)state;
    kvf_region fine[2] = {region(0, 8, 8), region(100, 8, 8)};
    kvf_error error;
    assert_int_equal(must_fail(KVF_ERR_INVALID, NULL, 1, 1).fields, 0);
    assert_int_equal(must_fail(KVF_ERR_INVALID, fine, 0, 1).fields, 0);
    assert_int_equal(must_fail(KVF_ERR_INVALID, fine, 1, 0).fields, 0);
    assert_int_equal(kvf_layout_create(fine, 1, 1, NULL, NULL, &error), KVF_ERR_INVALID);
    must_name(KVF_ERR_INVALID, at_address(0, 8, 8), 2);
    must_name(KVF_ERR_INVALID, region(0, 8, 0), 2);
    must_name(KVF_ERR_INVALID, rowed(0, 8, 4, 2, 3), 2);
    fine[0].layer = 3;
    fine[1].layer = 2;
    assert_int_equal(must_fail(KVF_ERR_INVALID, fine, 2, 1).index, 1);
}

static void test_address_limits(void **state) {
    (void)state;
    const uintptr_t top = UINTPTR_MAX;
    kvf_region r = at_address(top - 80, 16, 16);
    must_pass(&r, 1, 5);
    must_name(KVF_ERR_RANGE, at_address(top - 79, 16, 16), 5);
    must_name(KVF_ERR_RANGE, at_address(1, SIZE_MAX, 1), 2);
    must_name(KVF_ERR_RANGE, at_address(1, SIZE_MAX / 2 + 1, 1), 3);
    must_name(KVF_ERR_RANGE, at_address(1, 8, SIZE_MAX), 1);
    must_name(KVF_ERR_RANGE, rowed(0, 8, 8, SIZE_MAX, 8), 1);
    must_name(KVF_ERR_RANGE, rowed(0, 8, 8, 2, SIZE_MAX), 1);
    r = at_address(1, 4, 4);
    must_pass(&r, 1, KVF_MAX_BLOCKS);
    kvf_error error = must_fail(KVF_ERR_RANGE, &r, 1, (size_t)KVF_MAX_BLOCKS + 1);
    assert_true(error.expected == KVF_MAX_BLOCKS);
    /* A region ends where a signed distance does; up to there no difference may overflow. */
    const size_t far = PTRDIFF_MAX - 10;
    r = at_address(1, far, 10);
    must_pass(&r, 1, 2);
    must_name(KVF_ERR_RANGE, at_address(1, far, 11), 2);
    must_interleave(at_address(1, far, 4), at_address(5, far, 4), 2);
    must_collide(at_address(1, far, 5), at_address(5, far, 4), 2);
}

static void test_overlap_within_a_region(void **state) {
    (void)state;
    kvf_region r = region(0, 0, 8);
    must_pass(&r, 1, 1);
    must_name(KVF_ERR_LAYOUT, region(0, 0, 8), 2);
    must_name(KVF_ERR_LAYOUT, region(0, 7, 8), 2);
    /* Rows reach into the next block and may or may not hit its rows. */
    r = rowed(0, 12, 4, 4, 16);
    must_name(KVF_ERR_LAYOUT, r, 5);
    must_pass(&r, 1, 4);
    r = rowed(0, 10, 5, 2, 15);
    must_pass(&r, 1, 100);
    must_name(KVF_ERR_LAYOUT, rowed(0, 10, 5, 2, 16), 100);
    /* Rows outside blocks. */
    r = rowed(0, 8, 8, 3, 80);
    must_pass(&r, 1, 10);
    must_name(KVF_ERR_LAYOUT, r, 11);
}

static void test_interleaved_regions(void **state) {
    (void)state;
    must_interleave(region(0, 16, 8), region(8, 16, 8), 50);
    must_collide(region(0, 16, 8), region(7, 16, 8), 50);
    must_collide(region(0, 16, 9), region(8, 16, 8), 50);
    must_collide(region(0, 16, 8), region(8, 16, 9), 50);
    must_interleave(region(0, 16, 8), region(8, 16, 9), 1);
    /* Starts in a later block; the residue decides. */
    must_interleave(region(0, 16, 8), region(168, 16, 8), 50);
    must_collide(region(0, 16, 8), region(167, 16, 8), 50);
    must_collide(region(0, 16, 8), region(169, 16, 8), 50);
    must_interleave(region(0, 16, 8), region(800, 16, 8), 50);
    /* Adjacent rows are one piece, whatever their number: layers of different sizes. */
    must_interleave(rowed(0, 24, 2, 4, 2), rowed(8, 24, 4, 4, 4), 50);
    must_collide(rowed(0, 24, 2, 4, 2), rowed(7, 24, 4, 4, 4), 50);
    /* Token first: rows of two layers alternate. */
    must_interleave(rowed(0, 32, 4, 4, 8), rowed(4, 32, 4, 4, 8), 50);
    must_collide(rowed(0, 32, 4, 4, 8), rowed(3, 32, 4, 4, 8), 50);
    /* Rows outside blocks, alternating too. */
    must_interleave(rowed(0, 8, 4, 20, 40), rowed(4, 8, 4, 20, 40), 5);
    must_collide(rowed(0, 8, 4, 20, 40), rowed(740, 8, 5, 20, 40), 5);
    /* Of different structure: only the extents are compared. */
    must_collide(region(0, 16, 8), region(8, 32, 8), 4);
    must_interleave(region(0, 16, 8), region(56, 32, 8), 4);
    /* The stride of a single block does not matter. */
    must_interleave(rowed(0, 16, 4, 4, 8), rowed(4, 32, 4, 4, 8), 1);
    must_collide(rowed(0, 16, 4, 4, 8), rowed(3, 32, 4, 4, 8), 1);
    must_collide(rowed(0, 64, 4, 4, 8), rowed(4, 64, 4, 3, 8), 4);
}

static kvf_region random_region(test_random *random, size_t blocks) {
    kvf_region r = {.base = arena + test_random_below(random, 60),
                    .block_stride = test_random_below(random, 40),
                    .bytes = 1 + test_random_below(random, 6),
                    .rows = test_random_below(random, 5)};
    r.row_pitch = r.bytes + test_random_below(random, 3) * test_random_below(random, 20);
    if (test_random_below(random, 4) == 0)
        r.row_pitch = r.bytes + blocks * r.block_stride;
    return r;
}

static void check_against_oracle(const kvf_region *list, size_t count, size_t blocks) {
    kvf_layout *layout = NULL;
    kvf_error error;
    kvf_status status = kvf_layout_create(list, count, blocks, NULL, &layout, &error);
    if (status == KVF_OK)
        assert_false(oracle_overlaps(list, count, blocks, arena, NULL));
    kvf_status want = oracle_accepts(list, count, blocks, arena) ? KVF_OK : KVF_ERR_LAYOUT;
    test_expect(want, status, &error);
    kvf_layout_destroy(layout);
}

static void test_random_regions(void **state) {
    (void)state;
    const uint64_t seeds = test_seeds(20);
    size_t accepted = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        test_random random = test_random_make(seed);
        for (size_t round = 0; round < 2000; round++) {
            const size_t count = 1 + test_random_below(&random, 4);
            const size_t blocks = 1 + test_random_below(&random, 6);
            const bool alike = test_random_below(&random, 4) != 0;
            kvf_region list[4];
            for (size_t i = 0; i < count; i++) {
                list[i] = random_region(&random, blocks);
                if (!alike || i == 0)
                    continue;
                list[i].block_stride = list[0].block_stride;
                list[i].rows = list[0].rows;
                list[i].row_pitch = list[0].row_pitch;
                list[i].bytes = 1 + test_random_below(&random, list[0].bytes);
            }
            check_against_oracle(list, count, blocks);
            accepted += oracle_accepts(list, count, blocks, arena);
        }
    }
    assert_in_range(accepted, seeds * 100, seeds * 1900);
}

/* ---- digest --------------------------------------------------------------------------------- */

static uint64_t digest_of(const kvf_region *list, size_t count, size_t blocks) {
    kvf_layout *layout = must_create(list, count, blocks);
    uint64_t digest = kvf_layout_digest(layout);
    kvf_layout_destroy(layout);
    return digest;
}

static const kvf_region digested[2] = {
    {.base = arena, .block_stride = 64, .bytes = 4, .rows = 3, .row_pitch = 6, .kind = 9},
    {.base = arena + 1000, .block_stride = 64, .bytes = 8, .layer = 1, .part = 2, .kind = 1},
};

static void test_digest_is_as_documented(void **state) {
    (void)state;
    const uint64_t numbers[] = {2, 4, 3, 0, 0, 9, 8, 1, 1, 2, 1};
    unsigned char bytes[sizeof numbers];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(numbers[i / 8] >> (i % 8 * 8));
    assert_true(digest_of(digested, 2, 5) == XXH3_64bits(bytes, sizeof bytes));
    assert_true(digest_of(digested, 2, 5) == UINT64_C(0x5c5d32f252a3fe14));
}

static void test_digest_ignores_addresses(void **state) {
    (void)state;
    const uint64_t digest = digest_of(digested, 2, 5);
    kvf_region list[2] = {digested[0], digested[1]};
    assert_true(digest_of(list, 2, 6) == digest);
    list[0].base = arena + 10000;
    list[0].block_stride = 1000;
    list[0].row_pitch = 40;
    list[1].buffer = 3;
    assert_true(digest_of(list, 2, 5) == digest);
}

static void test_digest_covers_what_must_agree(void **state) {
    (void)state;
    uint64_t seen[7] = {digest_of(digested, 2, 5), digest_of(digested, 1, 5)};
    for (size_t i = 2; i < 7; i++) {
        kvf_region list[2] = {digested[0], digested[1]};
        list[1].bytes -= i == 2;
        list[1].rows = i == 3 ? 2 : 1;
        list[1].row_pitch = 8;
        list[1].layer += i == 4;
        list[1].part += i == 5;
        list[1].kind += i == 6;
        seen[i] = digest_of(list, 2, 5);
    }
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
}

/* ---- lifetime ------------------------------------------------------------------------------- */

static void test_references(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_layout *layout;
    kvf_layout_destroy(NULL);
    assert_int_equal(kvf_layout_create(digested, 2, 5, &memory.allocator, &layout, NULL), KVF_OK);
    assert_int_equal(memory.live_blocks, 1);
    assert_ptr_equal(kvf__layout_hold(layout), layout);
    kvf_layout_destroy(layout);
    assert_int_equal(kvf_layout_blocks(layout), 5);
    kvf_layout_destroy(layout);
    test_allocator_done(&memory);
}

static void *hold_and_drop(void *layout) {
    for (size_t i = 0; i < 20000; i++)
        kvf_layout_destroy(kvf__layout_hold(layout));
    kvf_layout_destroy(layout);
    return NULL;
}

static void test_references_of_threads(void **state) {
    (void)state;
    test_allocator memory;
    test_allocator_init(&memory);
    kvf_layout *layout;
    assert_int_equal(kvf_layout_create(digested, 2, 5, &memory.allocator, &layout, NULL), KVF_OK);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, kvf__layout_hold(layout)),
                         0);
    kvf_layout_destroy(layout);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    test_allocator_done(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions_are_copied),
        cmocka_unit_test(test_invalid_regions),
        cmocka_unit_test(test_address_limits),
        cmocka_unit_test(test_overlap_within_a_region),
        cmocka_unit_test(test_interleaved_regions),
        cmocka_unit_test(test_random_regions),
        cmocka_unit_test(test_digest_is_as_documented),
        cmocka_unit_test(test_digest_ignores_addresses),
        cmocka_unit_test(test_digest_covers_what_must_agree),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_references_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
