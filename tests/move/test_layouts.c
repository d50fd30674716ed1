/* The named layouts and the recommended ones. */
#include "support/support.h"

#include "layout_oracle.h"

static char arena[ORACLE_ARENA];

/* ---- the named constructors ----------------------------------------------------------------- */

static size_t layer_bytes(const kvf_shape *s, size_t layer) {
    return s->bytes_per_layer ? s->bytes_per_layer[layer] : s->bytes;
}

/* The bytes of one part in all layers before this one. */
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

typedef struct placement {
    size_t buffer, offset;
} placement;

/* Block, layer, part, row. */
typedef struct spot {
    size_t b, l, p, r;
} spot;

static size_t row_in_layer(const kvf_shape *s, spot at) {
    return at.r * (layer_bytes(s, at.l) / rows(s));
}

static placement contiguous_placement(const kvf_shape *s, spot at) {
    size_t block = parts(s) * bytes_below(s, s->layers);
    return (placement){0, at.b * block + parts(s) * bytes_below(s, at.l) +
                              at.p * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static placement block_first_placement(const kvf_shape *s, spot at) {
    return (placement){at.l, (at.b * parts(s) + at.p) * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static placement block_second_placement(const kvf_shape *s, spot at) {
    return (placement){at.l,
                       (at.p * s->blocks + at.b) * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static placement per_part_placement(const kvf_shape *s, spot at) {
    return (placement){at.l * parts(s) + at.p, at.b * layer_bytes(s, at.l) + row_in_layer(s, at)};
}

static placement page_first_placement(const kvf_shape *s, spot at) {
    size_t page = bytes_below(s, s->layers);
    return (placement){0, (at.p * s->blocks + at.b) * page + bytes_below(s, at.l) +
                              row_in_layer(s, at)};
}

static placement token_first_placement(const kvf_shape *s, spot at) {
    size_t page = bytes_below(s, s->layers);
    return (placement){0, (at.p * s->blocks + at.b) * page + at.r * (page / rows(s)) +
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
    placement (*placement)(const kvf_shape *, spot);
    buffering buffers;
    bool mla;
} named[] = {
    {make_contiguous, contiguous_placement, ONE, false},
    {make_block_first, block_first_placement, PER_LAYER, false},
    {make_block_second, block_second_placement, PER_LAYER, false},
    {kvf_layout_per_part, per_part_placement, PER_PART, false},
    {kvf_layout_mla, per_part_placement, PER_PART, true},
    {make_page_first, page_first_placement, ONE, false},
    {make_token_first, token_first_placement, ONE, false},
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

/* Buffers of exactly the right size, in reverse order in the arena, with gaps. */
static size_t lay_out_buffers(buffering how, const kvf_shape *s, kvf_buffer *buffers) {
    size_t at = 5;
    const size_t count = buffer_count(how, s);
    assert_in_range(count, 1, MAX_BUFFERS);
    for (size_t i = count; i-- > 0;) {
        buffers[i] = (kvf_buffer){arena + at, buffer_bytes(how, s, i)};
        at += buffers[i].bytes + 3;
    }
    assert_in_range(at, 0, ORACLE_ARENA);
    return count;
}

static void check_region(const struct named *n, const kvf_shape *s, const kvf_buffer *buffers,
                         const kvf_region *region, spot at) {
    assert_int_equal(region->bytes, layer_bytes(s, at.l) / rows(s));
    assert_int_equal(region->rows, rows(s));
    assert_int_equal(region->layer, at.l);
    assert_int_equal(region->part, at.p);
    assert_int_equal(region->kind, s->kind);
    for (at.b = 0; at.b < s->blocks; at.b++)
        for (at.r = 0; at.r < rows(s); at.r++) {
            placement want = n->placement(s, at);
            assert_int_equal(region->buffer, want.buffer);
            assert_ptr_equal(oracle_address(region, at.b, at.r),
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
    assert_int_equal(kvf_layout_layers(layout), s->layers);
    assert_int_equal(kvf_layout_block_bytes(layout), block_bytes);
    for (size_t i = 0; i < count; i++)
        check_region(n, s, buffers, &regions[i], (spot){.l = i / parts(s), .p = i % parts(s)});
    assert_false(oracle_overlaps(regions, count, s->blocks, arena, &painted));
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

static void test_invalid_shapes_are_refused(void **state) {
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

static void test_invalid_arguments_of_named_layouts(void **state) {
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

/* ---- recommended ---------------------------------------------------------------------------- */

/* Two regions in layer 0, one with rows, and one in layer 4. */
static const kvf_region scattered[3] = {
    {.base = arena + 500, .block_stride = 40, .bytes = 4, .rows = 3, .row_pitch = 8, .kind = 3},
    {.base = arena, .block_stride = 20, .bytes = 10, .part = 1, .buffer = 1},
    {.base = arena + 2000, .block_stride = 64, .bytes = 6, .layer = 4, .buffer = 2},
};
static const size_t scattered_bytes = 12 + 10 + 6;

static kvf_layout *make_scattered(void) {
    kvf_layout *layout = NULL;
    kvf_error error;
    test_expect(KVF_OK, kvf_layout_create(scattered, 3, 5, NULL, &layout, &error), &error);
    return layout;
}

static kvf_layout *recommend(const kvf_layout *layout, kvf_layout_use use, size_t blocks) {
    kvf_layout *out = NULL;
    kvf_error error;
    const kvf_buffer buffer = {arena + 3, blocks * scattered_bytes};
    test_expect(KVF_OK, kvf_layout_recommend(layout, use, blocks, buffer, NULL, &out, &error),
                &error);
    return out;
}

static void check_recommended(kvf_layout_use use, const size_t *offsets, const size_t *strides) {
    kvf_layout *layout = make_scattered();
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
    assert_false(oracle_overlaps(r, count, blocks, arena, &painted));
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
    kvf_layout *layout = make_scattered(), *out = NULL;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_layouts),
        cmocka_unit_test(test_named_layouts_pair_up),
        cmocka_unit_test(test_small_buffers_are_refused),
        cmocka_unit_test(test_invalid_shapes_are_refused),
        cmocka_unit_test(test_invalid_arguments_of_named_layouts),
        cmocka_unit_test(test_recommended_layouts),
        cmocka_unit_test(test_recommend_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
