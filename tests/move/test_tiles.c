/* Tiles: which are valid, which pair up, and how a move reorders them. */
#include "support/engine_fixture.h"

#include "layout_oracle.h"
#include "move/move.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

static char src_memory[4096], dst_memory[4096];

static kvf_region tile_at(char *base, kvf_tile_order order, size_t tokens, size_t heads,
                          size_t piece) {
    return (kvf_region){.base = base,
                        .block_stride = 512,
                        .bytes = tokens * heads * piece,
                        .tokens = tokens,
                        .heads = heads,
                        .order = order};
}

/* Gives the tile a row for every outer index, `pitch` apart. */
static kvf_region in_rows(kvf_region r, size_t pitch) {
    r.rows = r.order == KVF_ORDER_NHD ? r.tokens : r.heads;
    r.bytes /= r.rows;
    r.row_pitch = pitch;
    return r;
}

static kvf_layout *layout_of(const kvf_region *regions, size_t count, size_t blocks) {
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_layout_create(regions, count, blocks, NULL, &layout, &error), &error);
    return layout;
}

/* ---- validity ------------------------------------------------------------------------------- */

/* As the second of three regions. */
static void must_refuse(kvf_region bad, const char *what) {
    kvf_layout *const untouched = (kvf_layout *)(void *)src_memory;
    const kvf_region fine = {.base = dst_memory, .block_stride = 8, .bytes = 8};
    kvf_region list[3] = {fine, bad, fine};
    list[2].base = dst_memory + 64;
    kvf_layout *layout = untouched;
    kvf_error error = {0};
    test_expect(KVF_ERR_INVALID, kvf_layout_create(list, 3, 2, NULL, &layout, &error), &error);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_int_equal(error.fields, KVF_ERROR_INDEX);
    assert_int_equal(error.index, 1);
    assert_string_equal(error.what, what);
    assert_ptr_equal(layout, untouched);
    assert_int_equal(kvf_layout_create(list, 3, 2, NULL, &layout, NULL), KVF_ERR_INVALID);
}

static void test_invalid_tiles(void **state) {
    (void)state;
    const kvf_region nhd = tile_at(src_memory, KVF_ORDER_NHD, 4, 3, 8);
    const char *const opaque = "an opaque region must not have tokens or heads";
    const char *const order = "unknown region order";
    const char *const none = "a tile needs tokens and heads";
    const char *const divide = "tokens times heads must divide a tile's bytes";
    const char *const rows = "a tile's rows must be 1 or its outer count";
    for (int i = 0; i < 2; i++) {
        kvf_region r = nhd;
        r.order = i ? (kvf_tile_order)3 : (kvf_tile_order)-1;
        must_refuse(r, order);
        r = nhd;
        r.order = KVF_ORDER_OPAQUE;
        *(i ? &r.tokens : &r.heads) = 0;
        must_refuse(r, opaque);
        r.order = KVF_ORDER_HND;
        must_refuse(r, none);
    }
    /* Counts whose product overflows to a divisor, and pieces of less than a byte. */
    const size_t wrong[][2] = {{5, 3},
                               {96, 2},
                               {97, 1},
                               {SIZE_MAX, SIZE_MAX},
                               {(size_t)1 << 32, (size_t)1 << 32},
                               {SIZE_MAX, 1},
                               {SIZE_MAX / 2 + 1, 2}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        kvf_region r = nhd;
        r.tokens = wrong[i][0];
        r.heads = wrong[i][1];
        must_refuse(r, divide);
    }
    kvf_region r = nhd;
    r.rows = 3; /* those of HND */
    r.bytes = 32;
    r.row_pitch = 32;
    must_refuse(r, rows);
    r.rows = 2;
    r.bytes = 48;
    r.row_pitch = 48;
    must_refuse(r, rows);
    r = in_rows(nhd, 24);
    r.order = KVF_ORDER_HND;
    must_refuse(r, rows);
}

static void test_regions_keep_their_tiles(void **state) {
    (void)state;
    const kvf_region given[] = {
        tile_at(src_memory, KVF_ORDER_HND, 4, 3, 8),
        in_rows(tile_at(src_memory + 2048, KVF_ORDER_NHD, 4, 3, 8), 32),
    };
    kvf_layout *layout = layout_of(given, 2, 3);
    const kvf_region *r = kvf_layout_regions(layout, NULL);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r[i].tokens, 4);
        assert_int_equal(r[i].heads, 3);
        assert_int_equal(r[i].order, given[i].order);
    }
    assert_int_equal(r[0].rows, 1);
    assert_int_equal(r[1].rows, 4);
    assert_int_equal(kvf_layout_block_bytes(layout), 2 * 96);
    kvf_layout *packed = NULL;
    kvf_error error = {0};
    const kvf_buffer buffer = {dst_memory, sizeof dst_memory};
    test_expect(
        KVF_OK,
        kvf_layout_recommend(layout, KVF_USE_WHOLE_BLOCKS, 3, buffer, NULL, &packed, &error),
        &error);
    r = kvf_layout_regions(packed, NULL);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r[i].tokens, 4);
        assert_int_equal(r[i].heads, 3);
        assert_int_equal(r[i].order, given[i].order);
        assert_int_equal(r[i].block_stride, 2 * 96);
    }
    kvf_layout_destroy(packed);
    kvf_layout_destroy(layout);
}

/* Every constructor gives its regions the shape's tile, or names the region that cannot have it. */
static void test_shapes_of_tiles(void **state) {
    (void)state;
    for (int form = 0; form < FIXTURE_FORMS; form++) {
        const kvf_shape shape = {.blocks = 3,
                                 .layers = 2,
                                 .parts = 2,
                                 .bytes = 120,
                                 .rows = 3,
                                 .tokens = 5,
                                 .heads = 3,
                                 .order = KVF_ORDER_HND};
        fixture_memory m = fixture_memory_make(&shape, (fixture_form)form);
        size_t count;
        const kvf_region *r = kvf_layout_regions(m.layout, &count);
        assert_int_equal(count, 4);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(r[i].tokens, 5);
            assert_int_equal(r[i].heads, 3);
            assert_int_equal(r[i].order, KVF_ORDER_HND);
            assert_int_equal(r[i].rows, 3);
        }
        fixture_memory_free(&m);
    }
    const size_t bytes[] = {16, 18};
    const kvf_shape odd = {.blocks = 1,
                           .layers = 2,
                           .parts = 2,
                           .bytes_per_layer = bytes,
                           .tokens = 4,
                           .heads = 2,
                           .order = KVF_ORDER_NHD};
    kvf_layout *layout = NULL;
    kvf_error error = {0};
    const kvf_buffer buffer = {dst_memory, sizeof dst_memory};
    test_expect(KVF_ERR_INVALID, kvf_layout_contiguous(&odd, buffer, &layout, &error), &error);
    assert_int_equal(error.index, 2);
    assert_null(layout);
}

/* ---- pairing -------------------------------------------------------------------------------- */

static uint64_t digest_of(kvf_region r) {
    kvf_layout *layout = layout_of(&r, 1, 2);
    const uint64_t digest = kvf_layout_digest(layout);
    kvf_layout_destroy(layout);
    return digest;
}

static void test_digest_is_as_documented(void **state) {
    (void)state;
    kvf_region r = in_rows(tile_at(src_memory, KVF_ORDER_HND, 4, 3, 8), 40);
    r.layer = 7;
    r.part = 1;
    r.kind = 9;
    const uint64_t numbers[] = {1, 96, 0, 7, 1, 9, 4, 3};
    unsigned char bytes[sizeof numbers];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(numbers[i / 8] >> (i % 8 * 8));
    assert_true(digest_of(r) == XXH3_64bits(bytes, sizeof bytes));
}

/* Whether a move accepts the two regions; the same in both directions. */
static bool pairs_up(kvf_region a, kvf_region b) {
    kvf_layout *layouts[2] = {layout_of(&a, 1, 2), layout_of(&b, 1, 2)};
    bool made[2] = {false, false};
    for (size_t i = 0; i < 2; i++) {
        const kvf_move_spec spec = {.src = layouts[i], .dst = layouts[1 - i]};
        kvf_move *move = NULL;
        kvf_error error = {0};
        made[i] = kvf_move_create(&spec, NULL, NULL, &move, &error) == KVF_OK;
        if (!made[i]) {
            assert_int_equal(error.status, KVF_ERR_LAYOUT);
            assert_int_equal(error.fields, KVF_ERROR_INDEX);
            assert_int_equal(error.index, 0);
            assert_non_null(error.what);
        }
        kvf_move_destroy(move);
    }
    kvf_layout_destroy(layouts[0]);
    kvf_layout_destroy(layouts[1]);
    assert_int_equal(made[0], made[1]);
    return made[0];
}

/* The first four are the same tile; no other two agree. */
static void test_tiles_pair_up_whatever_their_order(void **state) {
    (void)state;
    const kvf_region nhd = tile_at(src_memory, KVF_ORDER_NHD, 4, 3, 8);
    const kvf_region hnd = tile_at(src_memory, KVF_ORDER_HND, 4, 3, 8);
    kvf_region list[] = {
        nhd,
        hnd,
        in_rows(nhd, 24),
        in_rows(hnd, 50),
        tile_at(src_memory, KVF_ORDER_NHD, 3, 4, 8),
        tile_at(src_memory, KVF_ORDER_NHD, 4, 3, 4),
        tile_at(src_memory, KVF_ORDER_HND, 4, 6, 4),
        tile_at(src_memory, KVF_ORDER_HND, 2, 3, 16),
        {.base = src_memory, .block_stride = 512, .bytes = 96},
        {.base = src_memory, .block_stride = 512, .bytes = 24, .rows = 4, .row_pitch = 24},
        hnd,
        hnd,
        hnd,
    };
    list[10].layer = list[11].part = 1;
    list[12].kind = 1;
    for (size_t a = 0; a < COUNT(list); a++)
        for (size_t b = 0; b < COUNT(list); b++) {
            const bool same = a == b || (a < 4 && b < 4);
            assert_int_equal(pairs_up(list[a], list[b]), same);
            assert_int_equal(digest_of(list[a]) == digest_of(list[b]), same);
        }
}

/* Lists that would have equal digests if tiles were not distinguished from opaque regions. */
static void test_digests_of_mixed_lists(void **state) {
    (void)state;
    kvf_region ours[] = {
        tile_at(src_memory, KVF_ORDER_NHD, 4, 1, 2),
        {.base = src_memory + 8, .bytes = 8, .layer = 5, .part = 2, .kind = 2},
    };
    kvf_region theirs[] = {
        {.base = src_memory, .bytes = 8},
        tile_at(src_memory + 8, KVF_ORDER_NHD, 2, 2, 1),
    };
    theirs[1].layer = 8;
    theirs[1].part = 1;
    theirs[1].kind = 5;
    kvf_layout *a = layout_of(ours, 2, 1), *b = layout_of(theirs, 2, 1);
    assert_true(kvf_layout_digest(a) != kvf_layout_digest(b));
    kvf_layout_destroy(a);
    kvf_layout_destroy(b);
}

/* ---- lowering ------------------------------------------------------------------------------- */

static const uint64_t id_list[] = {0, 1, 2, 3, 4, 5, 6, 7};

/* A move of the first blocks to the same ids; the caller frees it. */
static kvf_move *move_between(const kvf_region *src, const kvf_region *dst, size_t regions,
                              size_t blocks, bool by_layer, const kvf_box_limits *limits) {
    kvf_layout *from = layout_of(src, regions, blocks), *to = layout_of(dst, regions, blocks);
    const kvf_plan plan = {.count = blocks, .src_ids = id_list, .dst_ids = id_list};
    const kvf_move_spec spec = {
        .src = from, .dst = to, .plans = &plan, .plan_count = 1, .by_layer = by_layer};
    kvf_move *move = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_move_create(&spec, limits, NULL, &move, &error), &error);
    kvf_layout_destroy(from);
    kvf_layout_destroy(to);
    return move;
}

/* A box, as offsets from the start of the memory. */
typedef struct known {
    size_t dst, src, width, rows;
    ptrdiff_t dst_pitch, src_pitch;
} known;

static void expect_boxes(kvf_region src, kvf_region dst, const known *boxes, size_t count) {
    kvf_move *move = move_between(&src, &dst, 1, 1, false, NULL);
    kvf_box_cursor cursor = {0};
    kvf_box b;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kvf_move_next(move, &cursor, &b, 1), 1);
        assert_int_equal(b.dst - dst_memory, boxes[i].dst);
        assert_int_equal(b.src - src_memory, boxes[i].src);
        assert_int_equal(b.width, boxes[i].width);
        assert_int_equal(b.rows, boxes[i].rows);
        assert_int_equal(b.slices, 1);
        assert_int_equal(b.dst_row_pitch, boxes[i].dst_pitch);
        assert_int_equal(b.src_row_pitch, boxes[i].src_pitch);
    }
    assert_int_equal(kvf_move_next(move, &cursor, &b, 1), 0);
    kvf_move_destroy(move);
}

/* As many lines as there are tokens or heads, whichever are fewer. */
static void test_known_lines(void **state) {
    (void)state;
    kvf_region nhd = tile_at(src_memory, KVF_ORDER_NHD, 4, 2, 8);
    kvf_region hnd = tile_at(dst_memory, KVF_ORDER_HND, 4, 2, 8);
    expect_boxes(nhd, hnd, (const known[]){{0, 0, 8, 4, 8, 16}, {32, 8, 8, 4, 8, 16}}, 2);
    expect_boxes(in_rows(nhd, 20), in_rows(hnd, 40),
                 (const known[]){{0, 0, 8, 4, 8, 20}, {40, 8, 8, 4, 8, 20}}, 2);
    hnd.base = src_memory;
    nhd.base = dst_memory;
    expect_boxes(hnd, nhd, (const known[]){{0, 0, 8, 4, 16, 8}, {8, 32, 8, 4, 16, 8}}, 2);
    /* More heads than tokens. */
    nhd = tile_at(src_memory, KVF_ORDER_NHD, 2, 3, 8);
    hnd = tile_at(dst_memory, KVF_ORDER_HND, 2, 3, 8);
    expect_boxes(nhd, hnd, (const known[]){{0, 0, 8, 3, 16, 8}, {8, 24, 8, 3, 16, 8}}, 2);
}

static void test_same_order_is_not_cut(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const kvf_tile_order order = i ? KVF_ORDER_HND : KVF_ORDER_NHD;
        const kvf_region a = tile_at(src_memory, order, 4, 4, 8);
        const kvf_region b = tile_at(dst_memory, order, 4, 4, 8);
        expect_boxes(a, b, (const known[]){{0, 0, 128, 1, 0, 0}}, 1);
        expect_boxes(a, in_rows(b, 32), (const known[]){{0, 0, 128, 1, 0, 0}}, 1);
        expect_boxes(in_rows(a, 40), b, (const known[]){{0, 0, 32, 4, 32, 40}}, 1);
        expect_boxes(a, in_rows(b, 48), (const known[]){{0, 0, 32, 4, 48, 32}}, 1);
        expect_boxes(in_rows(a, 40), in_rows(b, 48), (const known[]){{0, 0, 32, 4, 48, 40}}, 1);
    }
}

/* With one token or one head there is only one order. */
static void test_single_lines(void **state) {
    (void)state;
    const size_t counts[][2] = {{1, 5}, {5, 1}, {1, 1}};
    for (size_t i = 0; i < COUNT(counts); i++) {
        const size_t n = counts[i][0], h = counts[i][1];
        const kvf_region nhd = tile_at(src_memory, KVF_ORDER_NHD, n, h, 8);
        const kvf_region hnd = tile_at(dst_memory, KVF_ORDER_HND, n, h, 8);
        const size_t all = 8 * n * h;
        expect_boxes(nhd, hnd, (const known[]){{0, 0, all, 1, 0, 0}}, 1);
        if (h > 1)
            expect_boxes(nhd, in_rows(hnd, 12), (const known[]){{0, 0, 8, 5, 12, 8}}, 1);
        if (n > 1)
            expect_boxes(in_rows(nhd, 12), hnd, (const known[]){{0, 0, 8, 5, 8, 12}}, 1);
    }
}

/* Layers whose lines continue each other are joined:
 *
 *     src HND   | l0: h0: n0 n1 | h1: n0 n1 | h2: n0 n1 | l1: h0: ...
 *     dst NHD   | n0: l0: h0 h1 h2 | l1: h0 h1 h2 | n1: ...
 */
static void test_lines_of_layers_are_joined(void **state) {
    (void)state;
    kvf_region src[3], dst[3];
    for (size_t l = 0; l < 3; l++) {
        src[l] = tile_at(src_memory + l * 48, KVF_ORDER_HND, 2, 3, 8);
        dst[l] = in_rows(tile_at(dst_memory + l * 24, KVF_ORDER_NHD, 2, 3, 8), 72);
        src[l].layer = dst[l].layer = (uint32_t)l;
    }
    for (int by_layer = 0; by_layer < 2; by_layer++) {
        kvf_move *move = move_between(src, dst, 3, 1, by_layer, NULL);
        kvf_box boxes[8];
        assert_int_equal(kvf_move_next(move, &(kvf_box_cursor){0}, boxes, 8), by_layer ? 6 : 2);
        for (size_t i = 0; i < (by_layer ? 6 : 2); i++) {
            const size_t layer = by_layer ? i / 2 : 0, token = by_layer ? i % 2 : i;
            assert_int_equal(boxes[i].rows, by_layer ? 3 : 9);
            assert_ptr_equal(boxes[i].dst, dst_memory + token * 72 + layer * 24);
            assert_ptr_equal(boxes[i].src, src_memory + layer * 48 + token * 8);
        }
        kvf_move_destroy(move);
    }
}

/* Regions with interleaved lines, listed in descending order of addresses. */
static void test_lines_are_sorted_by_destination(void **state) {
    (void)state;
    enum { REGIONS = 4 };
    kvf_region src[REGIONS], dst[REGIONS];
    for (size_t i = 0; i < REGIONS; i++) {
        const size_t rank = REGIONS - 1 - i;
        src[i] = tile_at(src_memory + i * 50, KVF_ORDER_HND, 3, 4, 4);
        dst[i] = in_rows(tile_at(dst_memory + rank * 16, KVF_ORDER_NHD, 3, 4, 4), 64);
        src[i].layer = dst[i].layer = (uint32_t)i / 2;
    }
    for (int by_layer = 0; by_layer < 2; by_layer++) {
        kvf_move *move = move_between(src, dst, REGIONS, 1, by_layer, NULL);
        assert_int_equal(move->strip_count, 3 * REGIONS);
        for (size_t i = 1; i < move->strip_count; i++) {
            const kvf__strip *a = &move->strips[i - 1], *b = &move->strips[i];
            assert_true(by_layer && a->layer != b->layer ? a->layer < b->layer : a->dst < b->dst);
        }
        kvf_move_destroy(move);
    }
}

static void test_known_summary(void **state) {
    (void)state;
    const kvf_region nhd = tile_at(src_memory, KVF_ORDER_NHD, 4, 2, 8);
    const kvf_region hnd = tile_at(dst_memory, KVF_ORDER_HND, 4, 2, 8);
    const kvf_box_limits none = {0};
    const kvf_move_summary whole = {.bytes = 192,
                                    .blocks = 3,
                                    .boxes = 2,
                                    .fragments = 24,
                                    .smallest_box = 96,
                                    .median_box = 96,
                                    .smallest_fragment = 8,
                                    .median_fragment = 8,
                                    .strips = 2,
                                    .runs = 1};
    kvf_move_summary cut = whole, r;
    cut.boxes = 24;
    cut.smallest_box = cut.median_box = 8;
    for (int limited = 0; limited < 2; limited++) {
        kvf_move *move = move_between(&nhd, &hnd, 1, 3, false, limited ? &none : NULL);
        assert_int_equal(kvf_move_describe(move, &r, NULL), KVF_OK);
        assert_memory_equal(&r, limited ? &cut : &whole, sizeof r);
        kvf_move_destroy(move);
    }
}

/* ---- moving --------------------------------------------------------------------------------- */

enum { BLOCKS = 5, LAYERS = 2, PARTS = 2, TOKENS = 16, HEADS = 6, PIECE = 24 };

static kvf_shape shape_in(kvf_tile_order order) {
    return (kvf_shape){.blocks = BLOCKS,
                       .layers = LAYERS,
                       .parts = PARTS,
                       .bytes = (size_t)TOKENS * HEADS * PIECE,
                       .tokens = TOKENS,
                       .heads = HEADS,
                       .order = order};
}

/* A byte's content by its block, region, token, head and offset, independent of the oracles. */
static char content(size_t block, size_t region, size_t token, size_t head, size_t byte) {
    size_t x = (((block * 7 + region) * TOKENS + token) * HEADS + head) * PIECE + byte;
    return (char)(x * 2654435761u >> 13);
}

static char *piece_of(const fixture_tier *tier, size_t block, size_t region, size_t token,
                      size_t head) {
    const kvf_region *r = &kvf_layout_regions(tier->memory.layout, NULL)[region];
    const bool nhd = r->order == KVF_ORDER_NHD;
    const size_t outer = nhd ? token : head, inner = nhd ? head : token;
    const size_t dense = (nhd ? (size_t)HEADS : (size_t)TOKENS) * PIECE;
    return (char *)r->base + block * r->block_stride +
           outer * (r->rows > 1 ? r->row_pitch : dense) + inner * PIECE;
}

/* Fills the tier or checks it. */
static void for_all_pieces(const fixture_tier *tier, bool fill) {
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t i = 0; i < (size_t)LAYERS * PARTS; i++)
            for (size_t n = 0; n < TOKENS; n++)
                for (size_t h = 0; h < HEADS; h++) {
                    char *piece = piece_of(tier, b, i, n, h);
                    for (size_t k = 0; k < PIECE; k++) {
                        const char wanted = content(b, i, n, h, k);
                        if (fill)
                            piece[k] = wanted;
                        else if (piece[k] != wanted)
                            fail_msg("block %zu, region %zu, token %zu, head %zu", b, i, n, h);
                    }
                }
}

static void carry(const fixture_tier *from, const fixture_tier *to, bool by_layer) {
    const uint64_t ids[BLOCKS] = {3, 0, 1, 2, 4};
    const kvf_plan plan = fixture_plan(ids, ids, BLOCKS);
    const kvf_submit_options options = {.by_layer = by_layer};
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_transfer_submit(from->tier, to->tier, &plan, 1, &options, &t, &error),
                &error);
    for (uint32_t layer = 0; by_layer && layer < LAYERS; layer++)
        test_expect(KVF_OK, kvf_transfer_wait_layer(t, layer, -1, &error), &error);
    test_expect(KVF_OK, kvf_transfer_wait(t, -1, &error), &error);
    kvf_transfer_stats stats;
    kvf_transfer_stats_get(t, &stats);
    assert_int_equal(stats.bytes, (uint64_t)BLOCKS * LAYERS * PARTS * TOKENS * HEADS * PIECE);
    kvf_transfer_release(t);
}

/* Moves blocks to the other tier and back, with checksums on both sides. */
static void round_trip(kvf_engine *engine, fixture_form form, bool rows, bool by_layer,
                       kvf_tile_order order) {
    const kvf_tile_order other = order == KVF_ORDER_NHD ? KVF_ORDER_HND : KVF_ORDER_NHD;
    kvf_shape shape = shape_in(order), turned = shape_in(other);
    if (rows) {
        shape.rows = order == KVF_ORDER_NHD ? TOKENS : HEADS;
        turned.rows = other == KVF_ORDER_NHD ? TOKENS : HEADS;
    }
    fixture_tier tiers[] = {fixture_tier_make(engine, &shape, form, true),
                            fixture_tier_make(engine, &turned, FIXTURE_CONTIGUOUS, true),
                            fixture_tier_make(engine, &shape, FIXTURE_BLOCK_SECOND, true)};
    for_all_pieces(&tiers[0], true);
    carry(&tiers[0], &tiers[1], by_layer);
    for_all_pieces(&tiers[1], false);
    carry(&tiers[1], &tiers[2], by_layer);
    for_all_pieces(&tiers[2], false);
    for (size_t i = 0; i < 3; i++)
        fixture_tier_free(&tiers[i]);
}

static void test_round_trips(void **state) {
    (void)state;
    const kvf_host_options engines[] = {{.no_threads = true}, {.threads = 2}};
    for (size_t e = 0; e < COUNT(engines); e++) {
        kvf_engine *engine = fixture_engine(&engines[e]);
        for (int form = 0; form < FIXTURE_FORMS; form++)
            for (unsigned how = 0; how < 8; how++)
                round_trip(engine, (fixture_form)form, how & 1, how & 2,
                           how & 4 ? KVF_ORDER_NHD : KVF_ORDER_HND);
        kvf_engine_destroy(engine);
    }
}

/* Blocks sealed in one order and damaged are found corrupt by a transfer to the other order. */
static void test_corrupt_tiles_are_found(void **state) {
    (void)state;
    kvf_engine *engine = fixture_engine(NULL);
    const kvf_shape nhd = shape_in(KVF_ORDER_NHD), hnd = shape_in(KVF_ORDER_HND);
    fixture_tier a = fixture_tier_make(engine, &nhd, FIXTURE_PAGE_FIRST, true);
    fixture_tier b = fixture_tier_make(engine, &hnd, FIXTURE_PER_PART, true);
    for_all_pieces(&a, true);
    carry(&a, &b, false);
    piece_of(&b, 2, 3, 7, 4)[5] ^= 1;
    const uint64_t id = 2;
    const kvf_plan plan = fixture_plan(&id, &id, 1);
    kvf_transfer *t = NULL;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_transfer_submit(b.tier, a.tier, &plan, 1, NULL, &t, &error), &error);
    test_expect(KVF_ERR_CORRUPT, kvf_transfer_wait(t, -1, &error), &error);
    assert_int_equal(error.id, 2);
    kvf_transfer_release(t);
    fixture_tier_free(&a);
    fixture_tier_free(&b);
    kvf_engine_destroy(engine);
}

int main(void) {
    fixture_watchdog(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invalid_tiles),
        cmocka_unit_test(test_regions_keep_their_tiles),
        cmocka_unit_test(test_shapes_of_tiles),
        cmocka_unit_test(test_digest_is_as_documented),
        cmocka_unit_test(test_tiles_pair_up_whatever_their_order),
        cmocka_unit_test(test_digests_of_mixed_lists),
        cmocka_unit_test(test_known_lines),
        cmocka_unit_test(test_same_order_is_not_cut),
        cmocka_unit_test(test_single_lines),
        cmocka_unit_test(test_lines_of_layers_are_joined),
        cmocka_unit_test(test_lines_are_sorted_by_destination),
        cmocka_unit_test(test_known_summary),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_corrupt_tiles_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
