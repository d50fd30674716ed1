#include "support/support.h"

#include <stdio.h>
#include <string.h>

static const kvf_hash_layout layouts[] = {KVF_HASH_V1_2, KVF_HASH_V1_3};

static kvf_hash lineage(kvf_hash_layout layout, uint64_t current, const uint64_t *parent,
                        uint64_t position) {
    kvf_hash hash;
    assert_int_equal(kvf_hash_lineage(layout, current, parent, position, &hash), KVF_OK);
    return hash;
}

static uint64_t low_bits(uint64_t value, unsigned bits) {
    return bits < 64 ? value & ((UINT64_C(1) << bits) - 1) : value;
}

static unsigned mode_of(uint64_t position) {
    return position < 256 ? 0 : position < 65536 ? 1 : position < 16777216 ? 2 : 3;
}

/* Random, but often near a limit of a field. */
static uint64_t random_position(test_random *random) {
    static const uint64_t edges[] = {0, 256, 65536, 16777214};
    if (test_random_below(random, 2) == 0)
        return test_random_below(random, KVF_MAX_POSITION + 1);
    uint64_t position = edges[test_random_below(random, 4)] + test_random_below(random, 3);
    return position > 0 && position < KVF_MAX_POSITION ? position - 1 : position % 65536;
}

static void known_salts_and_blocks(void **state) {
    (void)state;
    static const uint32_t tokens[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    assert_int_equal(kvf_hash_salt(NULL, 0), 0x2d06800538d394c2);
    assert_int_equal(kvf_hash_salt("salt", 4), 0x9bd63bcd2b4c3683);
    assert_int_equal(kvf_hash_block(tokens, 4, 0), 0xa1d0bd893c9531ac);
    assert_int_equal(kvf_hash_block(tokens + 4, 4, 0), 0xf0bf80b0226b6c14);
    assert_int_equal(kvf_hash_block(tokens + 1, 4, 1337), 0xcb38e4d7fb2dca5c);
    assert_int_equal(kvf_hash_block(NULL, 0, 0), kvf_hash_salt(NULL, 0));
}

static void known_chains(void **state) {
    (void)state;
    const uint64_t first = 0xa1d0bd893c9531ac, second = 0xf0bf80b0226b6c14;
    assert_int_equal(kvf_hash_chain(KVF_HASH_V1_2, 0, first, second), 0xdb33494ff9c294ff);
    assert_int_equal(kvf_hash_chain(KVF_HASH_V1_3, 0, first, second), 0x485a98a2c350d61a);
    assert_int_equal(kvf_hash_chain(KVF_HASH_V1_3, 99, first, second), 0x485a98a2c350d61a);
    assert_int_equal(kvf_hash_chain(KVF_HASH_V1_2, 1337, 0xcb38e4d7fb2dca5c, 0xe8d3ec39b907b74c),
                     0x44a2b2379d6d3c3d);
}

typedef struct known {
    kvf_hash_layout layout;
    uint64_t current, parent;
    bool root;
    uint64_t position, high, low;
    const char *text;
} known;

static const known knowns[] = {
    {KVF_HASH_V1_2, UINT64_MAX, 0, true, 0, 0, 0x07ffffffffffffff, "0:2LcP7TYws98"},
    {KVF_HASH_V1_2, UINT64_MAX, 0, true, 1, 0x0040000000000000, 0x07ffffffffffffff,
     "1:2LcP7TYws98:11111111"},
    {KVF_HASH_V1_2, 0x1234567890abcdef, 0xfedcba9876543210, false, 254, 0x3fb6e5d4c3b2a190,
     0x8234567890abcdef, "254:NPP5MTshdx:29aBidSLjkb"},
    {KVF_HASH_V1_2, 0x1234567890abcdef, 0xfedcba9876543210, false, 255, 0x3ff6e5d4c3b2a190,
     0x8034567890abcdef, "255:12z33jptV6v:29aBidSLjkb"},
    {KVF_HASH_V1_2, 0x1234567890abcdef, 0xfedcba9876543210, false, 256, 0x40402e5d4c3b2a19,
     0x0834567890abcdef, "256:12z33jptV6v:14Wp8P7dnWj"},
    {KVF_HASH_V1_2, 0x1234567890abcdef, 0xfedcba9876543210, false, 16777214, 0xbfffffa5d4c3b2a1,
     0x9084567890abcdef, "16777214:1AXyxoEVjt:1BPqntw91q"},
    {KVF_HASH_V1_3, 0, 0, true, 0, 0, 0, "0:11111111"},
    {KVF_HASH_V1_3, 0xdc5378ace485c588, 0x0f24f3c2ae79b61b, false, 0, 0x003714de2b392171,
     0x6224f3c2ae79b61b, "0:drST3DAbjpT"},
    {KVF_HASH_V1_3, 0x1234567890abcdef, 0xfedcba9876543210, false, 255, 0x3fc48d159e242af3,
     0x7bdcba9876543210, "255:43c9JGZmRvE:1269NgQm8hM"},
    {KVF_HASH_V1_3, UINT64_MAX, UINT64_MAX, false, 256, 0x40403fffffffffff, 0xffffffffffffffff,
     "256:jpXCZedGfVQ:11YsU7xUni"},
    {KVF_HASH_V1_3, 0x1234567890abcdef, 0xfedcba9876543210, false, 16777215, 0xbfffffc48d159e24,
     0x2af37bd876543210, "16777215:43c9JGZmRvE:1113m5BjwV"},
};

static void known_lineages(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof knowns / sizeof knowns[0]; i++) {
        const known *k = &knowns[i];
        kvf_hash hash = lineage(k->layout, k->current, k->root ? NULL : &k->parent, k->position);
        assert_int_equal(hash.high, k->high);
        assert_int_equal(hash.low, k->low);
        char text[KVF_HASH_TEXT_SIZE];
        assert_int_equal(kvf_hash_format(k->layout, hash, text, sizeof text), strlen(k->text));
        assert_string_equal(text, k->text);
    }
}

static void lineage_fields_read_back(void **state) {
    (void)state;
    static const unsigned widths[][3] = {{59, 55, 51}, {54, 46, 38}};
    test_random random = test_random_make(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t current = test_random_next(&random), parent = test_random_next(&random);
        uint64_t position = random_position(&random);
        unsigned mode = mode_of(position);
        for (size_t l = 0; l < 2; l++) {
            kvf_hash hash = lineage(layouts[l], current, &parent, position);
            assert_int_equal(kvf_hash_mode(hash), mode);
            assert_int_equal(kvf_hash_position(hash), position);
            assert_int_equal(kvf_hash_parent(layouts[l], hash), low_bits(parent, widths[l][mode]));
        }
        unsigned next = mode_of(position + 1) < 3 ? mode_of(position + 1) : 2;
        assert_int_equal(
            kvf_hash_current(KVF_HASH_V1_2, lineage(KVF_HASH_V1_2, current, &parent, position)),
            low_bits(current, widths[0][next]));
        assert_int_equal(
            kvf_hash_current(KVF_HASH_V1_3, lineage(KVF_HASH_V1_3, current, &parent, position)),
            current);
    }
}

static void a_root_has_parent_0(void **state) {
    (void)state;
    const uint64_t none = 0;
    for (size_t l = 0; l < 2; l++)
        assert_true(kvf_hash_equal(lineage(layouts[l], 77, NULL, 300),
                                   lineage(layouts[l], 77, &none, 300)));
}

static void a_child_follows_its_parent_only(void **state) {
    (void)state;
    test_random random = test_random_make(2);
    for (int i = 0; i < 20000; i++) {
        kvf_hash_layout layout = layouts[i % 2];
        uint64_t a = test_random_next(&random), b = test_random_next(&random);
        uint64_t grandparent = test_random_next(&random);
        uint64_t position = random_position(&random);
        kvf_hash parent = lineage(layout, a, &grandparent, position);
        if (position == KVF_MAX_POSITION) {
            assert_false(kvf_hash_follows(layout, parent, lineage(layout, b, &a, 0)));
            continue;
        }
        kvf_hash child = lineage(layout, b, &a, position + 1);
        uint64_t stranger = a ^ UINT64_C(1) << test_random_below(&random, 38);
        assert_true(kvf_hash_follows(layout, parent, child));
        assert_false(kvf_hash_follows(layout, child, parent));
        assert_false(kvf_hash_follows(layout, parent, parent));
        assert_false(kvf_hash_follows(layout, parent, lineage(layout, b, &stranger, position + 1)));
        if (position + 2 <= KVF_MAX_POSITION)
            assert_false(kvf_hash_follows(layout, parent, lineage(layout, b, &a, position + 2)));
        if (layout == KVF_HASH_V1_2)
            assert_int_equal(kvf_hash_parent(layout, child), kvf_hash_current(layout, parent));
    }
}

static void other_hashes_follow_nothing(void **state) {
    (void)state;
    const kvf_hash garbage = {.low = 0, .high = UINT64_C(3) << 62};
    for (size_t l = 0; l < 2; l++) {
        kvf_hash root = lineage(layouts[l], 0, NULL, 0);
        assert_int_equal(kvf_hash_position(garbage), UINT64_MAX);
        assert_false(kvf_hash_follows(layouts[l], garbage, root));
        assert_false(kvf_hash_follows(layouts[l], root, garbage));
        assert_false(kvf_hash_follows(layouts[l], garbage, garbage));
    }
}

static int sign(int value) {
    return (value > 0) - (value < 0);
}

static void order_is_position_then_current_then_bits(void **state) {
    (void)state;
    const uint64_t small = 5, large = UINT64_C(1) << 37;
    for (size_t l = 0; l < 2; l++) {
        const kvf_hash ascending[] = {
            lineage(layouts[l], 9, &large, 0),    lineage(layouts[l], 1, &small, 1),
            lineage(layouts[l], 1, &large, 1),    lineage(layouts[l], 2, &small, 1),
            lineage(layouts[l], 0, &small, 255),  lineage(layouts[l], 3, &large, 256),
            lineage(layouts[l], 4, &small, 256),  lineage(layouts[l], 0, &small, 65535),
            lineage(layouts[l], 0, &small, 65536)};
        const int count = sizeof ascending / sizeof ascending[0];
        for (int i = 0; i < count; i++)
            for (int j = 0; j < count; j++) {
                int order = kvf_hash_compare(layouts[l], ascending[i], ascending[j]);
                assert_int_equal(sign(order), sign(i - j));
                assert_int_equal(kvf_hash_equal(ascending[i], ascending[j]), i == j);
            }
    }
}

static void text_is_cut_as_snprintf_does(void **state) {
    (void)state;
    kvf_hash hash = lineage(KVF_HASH_V1_3, UINT64_MAX, NULL, 1);
    char text[8] = "unused";
    assert_int_equal(kvf_hash_format(KVF_HASH_V1_3, hash, NULL, 0), 22);
    assert_int_equal(kvf_hash_format(KVF_HASH_V1_3, hash, text, 6), 22);
    assert_string_equal(text, "1:jpX");
}

static void any_text_has_room(void **state) {
    (void)state;
    test_random random = test_random_make(3);
    for (int i = 0; i < 20000; i++) {
        kvf_hash hash = {.low = test_random_next(&random), .high = test_random_next(&random)};
        char text[KVF_HASH_TEXT_SIZE];
        int length = kvf_hash_format(layouts[i % 2], hash, text, sizeof text);
        assert_in_range(length, 1, KVF_HASH_TEXT_SIZE - 1);
        assert_int_equal(strlen(text), length);
    }
}

static void positional_hashes(void **state) {
    (void)state;
    static const struct {
        uint64_t position, high;
    } cases[] = {
        {65535, 0x7ffffa9876543210},
        {16777216, 0xc080000076543210},
        {2147483647, 0xfffffffff6543210},
    };
    kvf_hash hash;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            kvf_hash_positional(0x1234567890abcdef, cases[i].position, 0xfedcba9876543210, &hash),
            KVF_OK);
        assert_int_equal(hash.high, cases[i].high);
        assert_int_equal(hash.low, 0x1234567890abcdef);
    }
}

static void positional_fields_read_back(void **state) {
    (void)state;
    static const unsigned widths[] = {54, 46, 38, 31};
    test_random random = test_random_make(4);
    for (int i = 0; i < 20000; i++) {
        uint64_t sequence = test_random_next(&random), block = test_random_next(&random);
        uint64_t position =
            i % 2 ? random_position(&random) : test_random_below(&random, UINT64_C(1) << 31);
        unsigned mode = mode_of(position);
        kvf_hash hash;
        assert_int_equal(kvf_hash_positional(sequence, position, block, &hash), KVF_OK);
        assert_int_equal(kvf_hash_mode(hash), mode);
        assert_int_equal(kvf_hash_positional_position(hash), position);
        assert_int_equal(kvf_hash_positional_block_hash(hash), low_bits(block, widths[mode]));
        assert_int_equal(kvf_hash_positional_sequence_hash(hash), sequence);
    }
}

static const uint32_t mm_tokens[] = {26160, 87782, 40119, 36675};
static const kvf_mm_run mm_runs[] = {{0x2b05035583616b54, 0, 1}, {0x0e9e9c5eaa4d7f70, 2, 3}};

static void a_touched_block_is_frames(void **state) {
    (void)state;
    static const uint8_t expected[52] = {
        1, 2,    0,    0, 0, 0x70, 0x7f, 0x4d, 0xaa, 0x5e, 0x9c, 0x9e, 0x0e, /**/
        0, 0xe6, 0x56, 1, 0, 0,    0,    0,    0,    0,    0,    0,    0,    /**/
        0, 0xb7, 0x9c, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,    /**/
        0, 0x43, 0x8f, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,
    };
    uint8_t bytes[53];
    size_t size = 0;
    memset(bytes, 0xee, sizeof bytes);
    assert_int_equal(
        kvf_hash_block_bytes(mm_tokens, 4, 4, mm_runs, 2, bytes, sizeof bytes, &size, NULL),
        KVF_OK);
    assert_int_equal(size, 52);
    assert_memory_equal(bytes, expected, 52);
    assert_int_equal(bytes[52], 0xee);
    uint32_t words[13];
    memcpy(words, bytes, sizeof words);
    assert_int_equal(kvf_hash_block(words, 13, 1808663819962385523), 0x9aad4bc2ccb4edb9);
}

static void an_untouched_block_is_its_tokens(void **state) {
    (void)state;
    uint8_t bytes[16];
    size_t size;
    for (uint64_t first = 5; first < 100; first += 94) {
        assert_int_equal(
            kvf_hash_block_bytes(mm_tokens, 4, first, mm_runs, 2, bytes, sizeof bytes, &size, NULL),
            KVF_OK);
        assert_int_equal(size, sizeof bytes);
        assert_memory_equal(bytes, mm_tokens, sizeof bytes);
    }
    assert_int_equal(kvf_hash_block_bytes(NULL, 0, 0, NULL, 0, bytes, sizeof bytes, &size, NULL),
                     KVF_OK);
    assert_int_equal(size, 0);
}

static void bytes_need_room(void **state) {
    (void)state;
    uint8_t bytes[52] = {0}, untouched[52] = {0};
    size_t size = 0;
    assert_int_equal(kvf_hash_block_bytes(mm_tokens, 4, 4, mm_runs, 2, bytes, 51, &size, NULL),
                     KVF_OK);
    assert_int_equal(size, 52);
    assert_memory_equal(bytes, untouched, 52);
    size = 0;
    assert_int_equal(kvf_hash_block_bytes(mm_tokens, 4, 4, mm_runs, 2, NULL, 99, &size, NULL),
                     KVF_OK);
    assert_int_equal(size, 52);
}

static void expect_bad_runs(kvf_status expected, const kvf_mm_run runs[2]) {
    size_t size = 123;
    kvf_error error = {0};
    assert_int_equal(kvf_hash_block_bytes(mm_tokens, 4, 0, runs, 2, NULL, 0, &size, &error),
                     expected);
    assert_int_equal(size, 123);
    assert_int_equal(error.status, expected);
    assert_int_equal(error.fields, KVF_ERROR_INDEX);
    assert_int_equal(error.index, 1);
}

static void invalid_bytes_are_refused(void **state) {
    (void)state;
    size_t size;
    expect_bad_runs(KVF_ERR_INVALID, (kvf_mm_run[]){{1, 0, 2}, {2, 2, 0}});
    expect_bad_runs(KVF_ERR_INVALID, (kvf_mm_run[]){{1, 0, 2}, {2, 1, 1}});
    expect_bad_runs(KVF_ERR_INVALID, (kvf_mm_run[]){{1, 4, 2}, {2, 0, 1}});
    expect_bad_runs(KVF_ERR_RANGE, (kvf_mm_run[]){{1, 0, 2}, {2, UINT64_MAX, 1}});
    assert_int_equal(kvf_hash_block_bytes(NULL, 1, 0, NULL, 0, NULL, 0, &size, NULL),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_hash_block_bytes(mm_tokens, 4, 0, NULL, 1, NULL, 0, &size, NULL),
                     KVF_ERR_INVALID);
    assert_int_equal(kvf_hash_block_bytes(mm_tokens, 4, 0, NULL, 0, NULL, 0, NULL, NULL),
                     KVF_ERR_INVALID);
    assert_int_equal(
        kvf_hash_block_bytes(mm_tokens, SIZE_MAX / 4, 0, NULL, 0, NULL, 0, &size, NULL),
        KVF_ERR_RANGE);
    assert_int_equal(
        kvf_hash_block_bytes(mm_tokens, 4, UINT64_MAX - 2, NULL, 0, NULL, 0, &size, NULL),
        KVF_ERR_RANGE);
}

static void invalid_arguments_are_refused(void **state) {
    (void)state;
    const kvf_hash before = {.low = 1, .high = 2};
    kvf_hash hash = before;
    assert_int_equal(kvf_hash_lineage((kvf_hash_layout)2, 1, NULL, 0, &hash), KVF_ERR_INVALID);
    assert_int_equal(kvf_hash_lineage(KVF_HASH_V1_2, 1, NULL, 0, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_hash_lineage(KVF_HASH_V1_2, 1, NULL, KVF_MAX_POSITION + 1, &hash),
                     KVF_ERR_RANGE);
    assert_int_equal(kvf_hash_lineage(KVF_HASH_V1_3, 1, NULL, UINT64_MAX, &hash), KVF_ERR_RANGE);
    assert_int_equal(kvf_hash_positional(1, UINT64_C(1) << 31, 1, &hash), KVF_ERR_RANGE);
    assert_int_equal(kvf_hash_positional(1, UINT64_MAX, 1, &hash), KVF_ERR_RANGE);
    assert_int_equal(kvf_hash_positional(1, 0, 1, NULL), KVF_ERR_INVALID);
    assert_true(kvf_hash_equal(hash, before));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_salts_and_blocks),
        cmocka_unit_test(known_chains),
        cmocka_unit_test(known_lineages),
        cmocka_unit_test(lineage_fields_read_back),
        cmocka_unit_test(a_root_has_parent_0),
        cmocka_unit_test(a_child_follows_its_parent_only),
        cmocka_unit_test(other_hashes_follow_nothing),
        cmocka_unit_test(order_is_position_then_current_then_bits),
        cmocka_unit_test(text_is_cut_as_snprintf_does),
        cmocka_unit_test(any_text_has_room),
        cmocka_unit_test(positional_hashes),
        cmocka_unit_test(positional_fields_read_back),
        cmocka_unit_test(a_touched_block_is_frames),
        cmocka_unit_test(an_untouched_block_is_its_tokens),
        cmocka_unit_test(bytes_need_room),
        cmocka_unit_test(invalid_bytes_are_refused),
        cmocka_unit_test(invalid_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
