#include "support/support.h"

static char arena[4096];

static const kvf_region regions[] = {
    {.base = arena, .block_stride = 32, .bytes = 8, .rows = 2, .row_pitch = 8},
    {.base = arena + 16, .block_stride = 32, .bytes = 16, .part = 1},
    {.base = arena + 1024, .block_stride = 8, .bytes = 8, .layer = 1},
};

static kvf_shape shape_with(const kvf_allocator *allocator) {
    return (kvf_shape){
        .blocks = 4, .layers = 2, .parts = 1, .bytes = 16, .rows = 2, .allocator = allocator};
}

static const kvf_buffer buffers[] = {{arena, 1024}, {arena + 1024, 1024}};

typedef kvf_status make_function(const kvf_layout *pattern, const kvf_allocator *allocator,
                                 kvf_layout **out, kvf_error *error);

static kvf_status create(const kvf_layout *pattern, const kvf_allocator *allocator,
                         kvf_layout **out, kvf_error *error) {
    (void)pattern;
    return kvf_layout_create(regions, 3, 4, allocator, out, error);
}

static kvf_status create_overlapping(const kvf_layout *pattern, const kvf_allocator *allocator,
                                     kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_region twice[] = {regions[0], regions[0]};
    return kvf_layout_create(twice, 2, 4, allocator, out, error);
}

static kvf_status contiguous(const kvf_layout *pattern, const kvf_allocator *allocator,
                             kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_contiguous(&shape, buffers[0], out, error);
}

static kvf_status per_layer(const kvf_layout *pattern, const kvf_allocator *allocator,
                            kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_per_layer(&shape, buffers, KVF_BLOCK_SECOND, out, error);
}

static kvf_status per_part(const kvf_layout *pattern, const kvf_allocator *allocator,
                           kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_per_part(&shape, buffers, out, error);
}

static kvf_status mla(const kvf_layout *pattern, const kvf_allocator *allocator, kvf_layout **out,
                      kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_mla(&shape, buffers, out, error);
}

static kvf_status page_first(const kvf_layout *pattern, const kvf_allocator *allocator,
                             kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_page_first(&shape, buffers[0], out, error);
}

static kvf_status token_first(const kvf_layout *pattern, const kvf_allocator *allocator,
                              kvf_layout **out, kvf_error *error) {
    (void)pattern;
    const kvf_shape shape = shape_with(allocator);
    return kvf_layout_token_first(&shape, buffers[0], out, error);
}

static kvf_status recommend(const kvf_layout *pattern, const kvf_allocator *allocator,
                            kvf_layout **out, kvf_error *error) {
    return kvf_layout_recommend(pattern, KVF_USE_BY_LAYER, 4, buffers[0], allocator, out, error);
}

/* Fails one allocation after the other; returns how many there are. */
static size_t fail_in_turn(make_function *make, const kvf_layout *pattern, bool ever_after,
                           kvf_status in_the_end) {
    kvf_layout *const untouched = (kvf_layout *)&arena[1];
    for (size_t fail_at = 1;; fail_at++) {
        test_allocator memory;
        test_allocator_init(&memory);
        memory.fail_at = fail_at;
        memory.fail_ever_after = ever_after;
        kvf_layout *layout = untouched;
        kvf_error error = {.status = KVF_OK};
        kvf_status status = make(pattern, &memory.allocator, &layout, &error);
        if (memory.calls < fail_at) {
            test_expect(in_the_end, status, &error);
            if (status == KVF_OK)
                kvf_layout_destroy(layout);
            test_allocator_done(&memory);
            return fail_at - 1;
        }
        test_expect(KVF_ERR_NO_MEMORY, status, &error);
        assert_int_equal(error.status, KVF_ERR_NO_MEMORY);
        assert_ptr_equal(layout, untouched);
        test_allocator_done(&memory);
    }
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    const struct {
        make_function *make;
        kvf_status in_the_end;
    } cases[] = {
        {create, KVF_OK},     {create_overlapping, KVF_ERR_LAYOUT},
        {contiguous, KVF_OK}, {per_layer, KVF_OK},
        {per_part, KVF_OK},   {mla, KVF_OK},
        {page_first, KVF_OK}, {token_first, KVF_OK},
        {recommend, KVF_OK},
    };
    kvf_layout *pattern;
    assert_int_equal(create(NULL, NULL, &pattern, NULL), KVF_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t once = fail_in_turn(cases[i].make, pattern, false, cases[i].in_the_end);
        size_t ever = fail_in_turn(cases[i].make, pattern, true, cases[i].in_the_end);
        assert_in_range(once, 1, 10);
        assert_int_equal(ever, once);
    }
    kvf_layout_destroy(pattern);
}

/* More regions than any memory can hold: no product overflows on the way to the allocator. */
static void test_huge_counts_find_no_memory(void **state) {
    (void)state;
    kvf_layout *layout;
    const size_t counts[] = {SIZE_MAX, SIZE_MAX / sizeof(kvf_region),
                             SIZE_MAX / sizeof(kvf_region) + 1, PTRDIFF_MAX / sizeof(kvf_region)};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_int_equal(kvf_layout_create(regions, counts[i], 1, NULL, &layout, NULL),
                         KVF_ERR_NO_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_huge_counts_find_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
