#include "support.h"

#include "layout.h"
#include "layout_model.h"

#include <pthread.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static char arena[MODEL_ARENA];

/* ---- the named constructors ----------------------------------------------------------------- */

static size_t layer_bytes(const kvf_shape *s, size_t layer) {
    return s->bytes_per_layer ? s->bytes_per_layer[layer] : s->bytes;
}

/* Of one part. */
static size_t bytes_below(const kvf_shape *s, size_t layer) {
    size_t bytes = 0;
    for (size_t l = 0; l < layer; l++)
        bytes += layer_bytes(s, l);
    return bytes;
}

static size_t parts(const kvf_shape *s) {
    return s->parts ? s->parts : 1;
}

static size_t rows(const kvf_shape *s) {
    return s->rows ? s->rows : 1;
}

typedef struct place {
    size_t buffer, offset;
} place;

/* Block, layer, part, row. */
typedef struct spot {
    size_t b, l, p, r;
} spot;

static size_t row_in_layer(const kvf_shape *s, spot at) {
    return at.r * (layer_bytes(s, at.l) / rows(s));
}

static place contiguous_place(const kvf_shape *s, spot at) {
    size_t block = parts(s) * bytes_below(s, s->layers);
    return (place){0, at.b * block + parts(s) * bytes_below(s, at.l) + at.p * layer_bytes(s, at.l) +
                          row_in_layer(s, at)};
}

static place block_first_place(const kvf_shape *s, spot at) {
    return (place){at.l, (at.b * parts(s) + at.p) * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static place block_second_place(const kvf_shape *s, spot at) {
    return (place){at.l, (at.p * s->blocks + at.b) * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static place per_part_place(const kvf_shape *s, spot at) {
    return (place){at.l * parts(s) + at.p, at.b * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static place page_first_place(const kvf_shape *s, spot at) {
    size_t page = bytes_below(s, s->layers);
    return (place){0,
                   (at.p * s->blocks + at.b) * page + bytes_below(s, at.l) + row_in_layer(s, at)};
}

static place token_first_place(const kvf_shape *s, spot at) {
    size_t page = bytes_below(s, s->layers);
    return (place){0, (at.p * s->blocks + at.b) * page + at.r * (page / rows(s)) +
                          bytes_below(s, at.l) / rows(s)};
}

typedef kvf_status make_function(const kvf_shape *, const kvf_buffer *, kvf_layout **, kvf_error *);

static kvf_status make_contiguous(const kvf_shape *s, const kvf_buffer *buffers, kvf_layout **out,
                                  kvf_error *error) {
    return kvf_layout_contiguous(s, buffers[0], out, error);
}

static kvf_status make_block_first(const kvf_shape *s, const kvf_buffer *buffers, kvf_layout **out,
                                   kvf_error *error) {
    return kvf_layout_per_layer(s, buffers, KVF_BLOCK_FIRST, out, error);
}

static kvf_status make_block_second(const kvf_shape *s, const kvf_buffer *buffers, kvf_layout **out,
                                    kvf_error *error) {
    return kvf_layout_per_layer(s, buffers, KVF_BLOCK_SECOND, out, error);
}

static kvf_status make_page_first(const kvf_shape *s, const kvf_buffer *buffers, kvf_layout **out,
                                  kvf_error *error) {
    return kvf_layout_page_first(s, buffers[0], out, error);
}

static kvf_status make_token_first(const kvf_shape *s, const kvf_buffer *buffers, kvf_layout **out,
                                   kvf_error *error) {
    return kvf_layout_token_first(s, buffers[0], out, error);
}

typedef enum buffering { ONE, PER_LAYER, PER_PART } buffering;

static const struct named {
    make_function *make;
    place (*place)(const kvf_shape *, spot);
    buffering buffers;
    bool mla;
} named[] = {
    {make_contiguous, contiguous_place, ONE, false},
    {make_block_first, block_first_place, PER_LAYER, false},
    {make_block_second, block_second_place, PER_LAYER, false},
    {kvf_layout_per_part, per_part_place, PER_PART, false},
    {kvf_layout_mla, per_part_place, PER_PART, true},
    {make_page_first, page_first_place, ONE, false},
    {make_token_first, token_first_place, ONE, false},
};
enum { NAMED = sizeof named / sizeof named[0], MAX_BUFFERS = 16 };

static size_t buffer_count(buffering how, const kvf_shape *s) {
    return how == ONE ? 1 : how == PER_LAYER ? s->layers : s->layers * parts(s);
}

static size_t buffer_bytes(buffering how, const kvf_shape *s, size_t buffer) {
    if (how == ONE)
        return s->blocks * parts(s) * bytes_below(s, s->layers);
    if (how == PER_LAYER)
        return s->blocks * parts(s) * layer_bytes(s, buffer);
    return s->blocks * layer_bytes(s, buffer / parts(s));
}

/* Buffers of just the right size, last one first in the arena, with space between them. */
static size_t lay_out_buffers(buffering how, const kvf_shape *s, kvf_buffer *buffers) {
    size_t at = 5;
    const size_t count = buffer_count(how, s);
    assert_in_range(count, 1, MAX_BUFFERS);
    for (size_t i = count; i-- > 0;) {
        buffers[i] = (kvf_buffer){arena + at, buffer_bytes(how, s, i)};
        at += buffers[i].bytes + 3;
    }
    assert_in_range(at, 0, MODEL_ARENA);
    return count;
}

static void check_region(const struct named *n, const kvf_shape *s, const kvf_buffer *buffers,
                         const kvf_region *region, spot at) {
    assert_int_equal(region->bytes, layer_bytes(s, at.l) / rows(s));
    assert_int_equal(region->rows, rows(s));
    assert_int_equal(region->group, at.l);
    assert_int_equal(region->part, at.p);
    assert_int_equal(region->kind, s->kind);
    for (at.b = 0; at.b < s->blocks; at.b++)
        for (at.r = 0; at.r < rows(s); at.r++) {
            place want = n->place(s, at);
            assert_int_equal(region->buffer, want.buffer);
            assert_ptr_equal(model_address(region, at.b, at.r),
                             (char *)buffers[want.buffer].base + want.offset);
        }
}

static void check_named(const struct named *n, const kvf_shape *s) {
    kvf_buffer buffers[MAX_BUFFERS];
    lay_out_buffers(n->buffers, s, buffers);
    kvf_layout *layout;
    kvf_error error;
    test_expect(KVF_OK, n->make(s, buffers, &layout, &error), &error);
    size_t count, painted;
    const kvf_region *regions = kvf_layout_regions(layout, &count);
    const size_t block_bytes = parts(s) * bytes_below(s, s->layers);
    assert_int_equal(count, s->layers * parts(s));
    assert_int_equal(kvf_layout_blocks(layout), s->blocks);
    assert_int_equal(kvf_layout_groups(layout), s->layers);
    assert_int_equal(kvf_layout_block_bytes(layout), block_bytes);
    for (size_t i = 0; i < count; i++)
        check_region(n, s, buffers, &regions[i], (spot){.l = i / parts(s), .p = i % parts(s)});
    assert_false(model_overlaps(regions, count, s->blocks, arena, &painted));
    assert_int_equal(painted, s->blocks * block_bytes);
    kvf_layout_destroy(layout);
}

static const size_t uneven[] = {8, 24, 4, 12};
static const kvf_shape shapes[] = {
    {.blocks = 1, .layers = 1, .bytes = 1},
    {.blocks = 5, .layers = 3, .parts = 2, .bytes = 16, .rows = 4, .kind = 77},
    {.blocks = 4, .layers = 4, .parts = 3, .bytes_per_layer = uneven, .kind = 1},
    {.blocks = 3, .layers = 4, .parts = 2, .bytes_per_layer = uneven, .rows = 4},
    {.blocks = 7, .layers = 2, .parts = 1, .bytes = 6, .rows = 6},
    {.blocks = 6, .layers = 4, .bytes_per_layer = uneven, .rows = 2},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void test_named_layouts(void **state) {
    (void)state;
    for (size_t n = 0; n < NAMED; n++)
        for (size_t s = 0; s < SHAPES; s++)
            if (!named[n].mla || parts(&shapes[s]) == 1)
                check_named(&named[n], &shapes[s]);
}

static void test_named_layouts_pair_up(void **state) {
    (void)state;
    uint64_t digest = 0;
    for (size_t n = 0; n < NAMED; n++) {
        if (named[n].mla)
            continue;
        kvf_buffer buffers[MAX_BUFFERS];
        kvf_layout *layout;
        lay_out_buffers(named[n].buffers, &shapes[3], buffers);
        test_expect(KVF_OK, named[n].make(&shapes[3], buffers, &layout, NULL), NULL);
        if (n == 0)
            digest = kvf_layout_digest(layout);
        assert_int_equal(kvf_layout_digest(layout), digest);
        kvf_layout_destroy(layout);
    }
}

static void check_refused(const struct named *n, const kvf_shape *s, const kvf_buffer *buffers,
                          kvf_status status, uint64_t index) {
    kvf_layout *const untouched = (kvf_layout *)&arena[1];
    kvf_layout *layout = untouched;
    kvf_error error = {.status = KVF_OK};
    assert_int_equal(n->make(s, buffers, &layout, NULL), status);
    test_expect(status, n->make(s, buffers, &layout, &error), &error);
    assert_int_equal(error.status, status);
    assert_non_null(error.what);
    assert_ptr_equal(layout, untouched);
    if (index == UINT64_MAX) {
        assert_false(error.fields & KVF_ERROR_INDEX);
    } else {
        assert_true(error.fields & KVF_ERROR_INDEX);
        assert_int_equal(error.index, index);
    }
    if (status == KVF_ERR_RANGE)
        assert_true(error.fields & KVF_ERROR_EXPECTED);
}

static void test_small_buffers_are_refused(void **state) {
    (void)state;
    for (size_t n = 0; n < NAMED; n++)
        for (size_t s = 0; s < SHAPES; s++) {
            if (named[n].mla && parts(&shapes[s]) != 1)
                continue;
            kvf_buffer buffers[MAX_BUFFERS];
            size_t count = lay_out_buffers(named[n].buffers, &shapes[s], buffers);
            for (size_t i = 0; i < count; i++) {
                const kvf_buffer whole = buffers[i];
                buffers[i].bytes--;
                check_refused(&named[n], &shapes[s], buffers, KVF_ERR_RANGE, i);
                kvf_layout *layout;
                kvf_error error;
                named[n].make(&shapes[s], buffers, &layout, &error);
                assert_int_equal(error.expected, whole.bytes);
                buffers[i] = (kvf_buffer){(void *)(UINTPTR_MAX - whole.bytes + 1), whole.bytes};
                check_refused(&named[n], &shapes[s], buffers, KVF_ERR_RANGE, i);
                buffers[i] = (kvf_buffer){NULL, whole.bytes};
                check_refused(&named[n], &shapes[s], buffers, KVF_ERR_INVALID, i);
                buffers[i] = whole;
            }
        }
}

static void test_bad_shapes_are_refused(void **state) {
    (void)state;
    const size_t big = SIZE_MAX / 2 + 1;
    const size_t odd[] = {8, 24, 5}, none[] = {8, 0}, huge[] = {big, big};
    const struct {
        kvf_shape shape;
        kvf_status status;
        uint64_t index;
    } bad[] = {
        {{.blocks = 0, .layers = 1, .bytes = 1}, KVF_ERR_INVALID, UINT64_MAX},
        {{.blocks = 1, .layers = 0, .bytes = 1}, KVF_ERR_INVALID, UINT64_MAX},
        {{.blocks = 1, .layers = 1, .bytes = 0}, KVF_ERR_INVALID, 0},
        {{.blocks = 1, .layers = 2, .bytes_per_layer = none}, KVF_ERR_INVALID, 1},
        {{.blocks = 1, .layers = 2, .bytes = 10, .rows = 4}, KVF_ERR_INVALID, 0},
        {{.blocks = 1, .layers = 2, .bytes = 10, .rows = 11}, KVF_ERR_INVALID, 0},
        {{.blocks = 1, .layers = 3, .bytes_per_layer = odd, .rows = 4}, KVF_ERR_INVALID, 2},
        {{.blocks = 4, .layers = 1, .bytes = big}, KVF_ERR_RANGE, 0},
        {{.blocks = SIZE_MAX, .layers = 1, .bytes = 4}, KVF_ERR_RANGE, 0},
        {{.blocks = 3, .layers = 2, .bytes_per_layer = huge}, KVF_ERR_RANGE, 0},
        {{.blocks = 1, .layers = SIZE_MAX, .bytes = 1}, KVF_ERR_RANGE, UINT64_MAX},
        {{.blocks = 1, .layers = (size_t)1 << 32, .bytes = 1}, KVF_ERR_RANGE, UINT64_MAX},
    };
    kvf_buffer buffers[MAX_BUFFERS];
    for (size_t i = 0; i < MAX_BUFFERS; i++)
        buffers[i] = (kvf_buffer){arena + 64 * i, 64};
    for (size_t n = 0; n < NAMED; n++) {
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
            check_refused(&named[n], &bad[i].shape, buffers, bad[i].status, bad[i].index);
        check_refused(&named[n], NULL, buffers, KVF_ERR_INVALID, UINT64_MAX);
    }
}

static void test_bad_arguments_of_named_layouts(void **state) {
    (void)state;
    const kvf_shape shape = {.blocks = 2, .layers = 2, .parts = 2, .bytes = 4};
    kvf_buffer buffers[2] = {{arena, 15}, {arena + 15, 16}};
    kvf_layout *layout;
    kvf_error error;
    const size_t odd[] = {8, 24, 5};
    const kvf_shape no_rows = {
        .blocks = 1, .layers = 3, .parts = 2, .bytes_per_layer = odd, .rows = 4};
    for (size_t n = 0; n < NAMED; n++)
        if (!named[n].mla)
            check_refused(&named[n], &no_rows, buffers, KVF_ERR_INVALID, 4);
    check_refused(&named[1], &shape, NULL, KVF_ERR_INVALID, UINT64_MAX);
    check_refused(&named[3], &shape, NULL, KVF_ERR_INVALID, UINT64_MAX);
    check_refused(&named[4], &shape, buffers, KVF_ERR_INVALID, UINT64_MAX);
    assert_int_equal(kvf_layout_per_layer(&shape, buffers, (kvf_layer_order)2, &layout, &error),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_layout_contiguous(&shape, (kvf_buffer){arena, 64}, NULL, &error),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &layout, &error),
                     KVF_ERR_RANGE);
    buffers[0].bytes = 16;
    test_expect(KVF_ERR_LAYOUT,
                kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_FIRST, &layout, &error), &error);
    assert_true(error.fields & KVF_ERROR_OTHER_INDEX);
}

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

/* In a list whose other regions are fine, in whichever place. */
static void must_name(kvf_status status, kvf_region bad, size_t blocks) {
    for (size_t at = 0; at < 3; at++) {
        kvf_region list[3] = {region(9000, 8, 8), region(9100, 8, 8), region(9200, 8, 8)};
        bad.group = list[at].group;
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
    list[1].group = list[2].group = 7;
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
    assert_int_equal(r[2].group, 7);
    assert_int_equal(r[2].part, 5);
    assert_int_equal(r[2].buffer, 6);
    assert_true(r[2].kind == UINT64_MAX);
    assert_int_equal(kvf_layout_blocks(layout), 9);
    assert_int_equal(kvf_layout_groups(layout), 2);
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
    fine[0].group = 3;
    fine[1].group = 2;
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
    /* Apart by nearly all there is: no difference may wrap. */
    must_interleave(at_address(1, top - 9, 4), at_address(5, top - 9, 4), 2);
    must_collide(at_address(1, top - 9, 5), at_address(5, top - 9, 4), 2);
}

static void test_overlap_within_a_region(void **state) {
    (void)state;
    kvf_region r = region(0, 0, 8);
    must_pass(&r, 1, 1);
    must_name(KVF_ERR_LAYOUT, region(0, 0, 8), 2);
    must_name(KVF_ERR_LAYOUT, region(0, 7, 8), 2);
    /* Rows reach into the next block, and miss its rows or not. */
    r = rowed(0, 12, 4, 4, 16);
    must_name(KVF_ERR_LAYOUT, r, 5);
    must_pass(&r, 1, 4);
    r = rowed(0, 10, 5, 2, 15);
    must_pass(&r, 1, 100);
    must_name(KVF_ERR_LAYOUT, rowed(0, 10, 5, 2, 16), 100);
    /* Rows slower than blocks. */
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
    /* Begins in a later block, by residue. */
    must_interleave(region(0, 16, 8), region(168, 16, 8), 50);
    must_collide(region(0, 16, 8), region(167, 16, 8), 50);
    must_collide(region(0, 16, 8), region(169, 16, 8), 50);
    must_interleave(region(0, 16, 8), region(800, 16, 8), 50);
    /* Rows that touch are one piece whatever their number: layers of different size. */
    must_interleave(rowed(0, 24, 2, 4, 2), rowed(8, 24, 4, 4, 4), 50);
    must_collide(rowed(0, 24, 2, 4, 2), rowed(7, 24, 4, 4, 4), 50);
    /* Token first: rows of two layers by turns. */
    must_interleave(rowed(0, 32, 4, 4, 8), rowed(4, 32, 4, 4, 8), 50);
    must_collide(rowed(0, 32, 4, 4, 8), rowed(3, 32, 4, 4, 8), 50);
    /* Rows slower than blocks, by turns too. */
    must_interleave(rowed(0, 8, 4, 20, 40), rowed(4, 8, 4, 20, 40), 5);
    must_collide(rowed(0, 8, 4, 20, 40), rowed(740, 8, 5, 20, 40), 5);
    /* Not alike: apart by extent only. */
    must_collide(region(0, 16, 8), region(8, 32, 8), 4);
    must_interleave(region(0, 16, 8), region(56, 32, 8), 4);
    /* One block has no stride. */
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

static void check_against_model(const kvf_region *list, size_t count, size_t blocks) {
    kvf_layout *layout = NULL;
    kvf_error error;
    kvf_status status = kvf_layout_create(list, count, blocks, NULL, &layout, &error);
    if (status == KVF_OK)
        assert_false(model_overlaps(list, count, blocks, arena, NULL));
    kvf_status want = model_accepts(list, count, blocks, arena) ? KVF_OK : KVF_ERR_LAYOUT;
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
            check_against_model(list, count, blocks);
            accepted += model_accepts(list, count, blocks, arena);
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
    {.base = arena + 1000, .block_stride = 64, .bytes = 8, .group = 1, .part = 2, .kind = 1},
};

static void test_digest_is_the_documented_one(void **state) {
    (void)state;
    const uint64_t numbers[] = {2, 4, 3, 0, 0, 9, 8, 1, 1, 2, 1};
    unsigned char bytes[sizeof numbers];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(numbers[i / 8] >> (i % 8 * 8));
    assert_true(digest_of(digested, 2, 5) == XXH3_64bits(bytes, sizeof bytes));
    assert_true(digest_of(digested, 2, 5) == UINT64_C(0x5c5d32f252a3fe14));
}

static void test_digest_ignores_where_bytes_lie(void **state) {
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

static void test_digest_sees_what_must_agree(void **state) {
    (void)state;
    uint64_t seen[7] = {digest_of(digested, 2, 5), digest_of(digested, 1, 5)};
    for (size_t i = 2; i < 7; i++) {
        kvf_region list[2] = {digested[0], digested[1]};
        list[1].bytes -= i == 2;
        list[1].rows = i == 3 ? 2 : 1;
        list[1].row_pitch = 8;
        list[1].group += i == 4;
        list[1].part += i == 5;
        list[1].kind += i == 6;
        seen[i] = digest_of(list, 2, 5);
    }
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(seen[i] != seen[k]);
}

/* ---- recommended ---------------------------------------------------------------------------- */

/* Two regions in group 0, one with rows, and one in group 4. */
static const kvf_region scattered[3] = {
    {.base = arena + 500, .block_stride = 40, .bytes = 4, .rows = 3, .row_pitch = 8, .kind = 3},
    {.base = arena, .block_stride = 20, .bytes = 10, .part = 1, .buffer = 1},
    {.base = arena + 2000, .block_stride = 64, .bytes = 6, .group = 4, .buffer = 2},
};
static const size_t scattered_bytes = 12 + 10 + 6;

static kvf_layout *recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks) {
    kvf_layout *out = NULL;
    kvf_error error;
    const kvf_buffer buffer = {arena + 3, blocks * scattered_bytes};
    test_expect(KVF_OK, kvf_layout_recommend(layout, use, blocks, buffer, NULL, &out, &error),
                &error);
    return out;
}

static void check_recommended(kvf_layout_use use, const size_t *offsets, const size_t *strides) {
    kvf_layout *layout = must_create(scattered, 3, 5);
    const size_t blocks = 9;
    assert_int_equal(kvf_layout_recommend_bytes(layout, blocks), blocks * scattered_bytes);
    kvf_layout *packed = recommend(layout, use, blocks);
    size_t count, painted;
    const kvf_region *r = kvf_layout_regions(packed, &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(r[i].base, arena + 3 + offsets[i]);
        assert_int_equal(r[i].block_stride, strides[i]);
        assert_int_equal(r[i].row_pitch, r[i].bytes);
        assert_int_equal(r[i].buffer, 0);
    }
    assert_true(kvf_layout_digest(packed) == kvf_layout_digest(layout));
    assert_int_equal(kvf_layout_blocks(packed), blocks);
    assert_false(model_overlaps(r, count, blocks, arena, &painted));
    assert_int_equal(painted, blocks * scattered_bytes);
    kvf_layout_destroy(packed);
    kvf_layout_destroy(layout);
}

static void test_recommended_layouts(void **state) {
    (void)state;
    check_recommended(KVF_USE_WHOLE_BLOCKS, (size_t[]){0, 12, 22}, (size_t[]){28, 28, 28});
    check_recommended(KVF_USE_BY_LAYER, (size_t[]){0, 12, 198}, (size_t[]){22, 22, 6});
}

static void test_recommend_refuses(void **state) {
    (void)state;
    kvf_layout *layout = must_create(scattered, 3, 5), *out = NULL;
    kvf_error error;
    const kvf_buffer buffer = {arena, 9 * scattered_bytes}, none = {NULL, 9 * scattered_bytes};
    const kvf_layout_use use = KVF_USE_WHOLE_BLOCKS;
    assert_int_equal(kvf_layout_recommend_bytes(layout, SIZE_MAX / 2), SIZE_MAX);
    test_expect(KVF_ERR_INVALID, kvf_layout_recommend(NULL, use, 9, buffer, NULL, &out, &error),
                &error);
    test_expect(KVF_ERR_INVALID, kvf_layout_recommend(layout, use, 0, buffer, NULL, &out, &error),
                &error);
    test_expect(KVF_ERR_INVALID,
                kvf_layout_recommend(layout, (kvf_layout_use)2, 9, buffer, NULL, &out, &error),
                &error);
    test_expect(KVF_ERR_INVALID, kvf_layout_recommend(layout, use, 9, none, NULL, &out, &error),
                &error);
    test_expect(KVF_ERR_INVALID, kvf_layout_recommend(layout, use, 9, buffer, NULL, NULL, &error),
                &error);
    test_expect(KVF_ERR_RANGE, kvf_layout_recommend(layout, use, 10, buffer, NULL, &out, &error),
                &error);
    assert_int_equal(error.index, 0);
    assert_int_equal(error.expected, 10 * scattered_bytes);
    const kvf_buffer all = {arena, SIZE_MAX};
    test_expect(KVF_ERR_RANGE,
                kvf_layout_recommend(layout, use, SIZE_MAX / 2, all, NULL, &out, &error), &error);
    assert_null(out);
    kvf_layout_destroy(layout);
}

/* ---- lifetime ------------------------------------------------------------------------------- */

static void test_holds(void **state) {
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

static void test_holds_of_threads(void **state) {
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
        cmocka_unit_test(test_named_layouts),
        cmocka_unit_test(test_named_layouts_pair_up),
        cmocka_unit_test(test_small_buffers_are_refused),
        cmocka_unit_test(test_bad_shapes_are_refused),
        cmocka_unit_test(test_bad_arguments_of_named_layouts),
        cmocka_unit_test(test_regions_are_copied),
        cmocka_unit_test(test_invalid_regions),
        cmocka_unit_test(test_address_limits),
        cmocka_unit_test(test_overlap_within_a_region),
        cmocka_unit_test(test_interleaved_regions),
        cmocka_unit_test(test_random_regions),
        cmocka_unit_test(test_digest_is_the_documented_one),
        cmocka_unit_test(test_digest_ignores_where_bytes_lie),
        cmocka_unit_test(test_digest_sees_what_must_agree),
        cmocka_unit_test(test_recommended_layouts),
        cmocka_unit_test(test_recommend_refuses),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_holds_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
