#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static kvf_sequence *make(size_t block_size, uint64_t salt, kvf_hash_layout layout) {
    kvf_sequence *s = NULL;
    kvf_error error = {0};
    const kvf_sequence_options options = {.block_size = block_size, .salt = salt, .layout = layout};
    test_expect(KVF_OK, kvf_sequence_create(&options, &s, &error), &error);
    return s;
}

static kvf_range extend_mm(kvf_sequence *s, const uint32_t *tokens, size_t count,
                           const kvf_mm_run *runs, size_t run_count) {
    kvf_range done = {99, 0};
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_sequence_extend_mm(s, tokens, count, runs, run_count, &done, &error),
                &error);
    return done;
}

static kvf_range extend(kvf_sequence *s, const uint32_t *tokens, size_t count) {
    kvf_range done = {99, 0};
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_sequence_extend(s, tokens, count, &done, &error), &error);
    return done;
}

static void truncate_to(kvf_sequence *s, size_t count) {
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_sequence_truncate(s, count, &error), &error);
}

static kvf_token_block block_at(const kvf_sequence *s, size_t index) {
    kvf_token_block block;
    kvf_error error = {0};
    test_expect(KVF_OK, kvf_sequence_block(s, index, &block, &error), &error);
    return block;
}

static void assert_range(kvf_range range, uint64_t start, uint64_t end) {
    assert_int_equal(range.start, start);
    assert_int_equal(range.end, end);
}

static void assert_equal(const kvf_sequence *a, const kvf_sequence *b) {
    size_t tokens = kvf_sequence_token_count(a), blocks = kvf_sequence_block_count(a);
    assert_int_equal(tokens, kvf_sequence_token_count(b));
    assert_int_equal(blocks, kvf_sequence_block_count(b));
    if (tokens > 0)
        assert_memory_equal(kvf_sequence_tokens(a), kvf_sequence_tokens(b), tokens * 4);
    for (size_t i = 0; i < blocks; i++) {
        kvf_token_block x = block_at(a, i), y = block_at(b, i);
        assert_int_equal(x.block_hash, y.block_hash);
        assert_int_equal(x.sequence_hash, y.sequence_hash);
        assert_true(kvf_hash_equal(x.lineage, y.lineage));
        assert_true(kvf_hash_equal(kvf_sequence_hashes(a)[i], kvf_sequence_hashes(b)[i]));
    }
}

/* A seeded sequence's arguments; runs only where the hash layout has them. */
typedef struct sample {
    size_t block_size, count, run_count;
    uint64_t salt;
    kvf_hash_layout layout;
    uint32_t *tokens;
    kvf_mm_run runs[16];
} sample;

static void sample_runs(sample *s, test_random *random) {
    uint64_t at = test_random_below(random, 20);
    while (s->run_count < 16) {
        uint64_t length = 1 + test_random_below(random, 3 * s->block_size);
        if (at + length > s->count)
            break;
        s->runs[s->run_count++] = (kvf_mm_run){test_random_next(random), at, length};
        at += length + test_random_below(random, 2) * test_random_below(random, 40);
    }
}

static sample sample_make(uint64_t seed) {
    test_random random = test_random_make(seed);
    static const size_t sizes[] = {1, 2, 3, 4, 16, 32, 60, 61, 64, 100, 128};
    sample s = {.layout = seed % 2 ? KVF_HASH_V1_3 : KVF_HASH_V1_2};
    s.block_size = sizes[test_random_below(&random, sizeof sizes / sizeof sizes[0])];
    s.count = (size_t)test_random_below(&random, 900);
    s.salt = test_random_below(&random, 3) == 0 ? 0 : test_random_next(&random);
    s.tokens = malloc((s.count + 1) * sizeof *s.tokens);
    assert_non_null(s.tokens);
    for (size_t i = 0; i < s.count; i++)
        s.tokens[i] = (uint32_t)test_random_next(&random);
    if (s.layout == KVF_HASH_V1_3 && test_random_below(&random, 3) > 0)
        sample_runs(&s, &random);
    return s;
}

static kvf_sequence *sample_sequence(const sample *s) {
    kvf_sequence *sequence = make(s->block_size, s->salt, s->layout);
    extend_mm(sequence, s->tokens, s->count, s->runs, s->run_count);
    return sequence;
}

static void known_sequence_v1_2(void **state) {
    (void)state;
    static const uint32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    kvf_sequence *s = make(4, 1337, KVF_HASH_V1_2);
    assert_range(extend(s, tokens, 13), 0, 3);
    kvf_token_block b = block_at(s, 2);
    assert_int_equal(b.position, 2);
    assert_int_equal(b.block_hash, 0x06b748f1777d599c);
    assert_int_equal(b.sequence_hash, 0xaea1e67a6c80cf84);
    assert_true(b.has_parent);
    assert_int_equal(b.parent, 0x44a2b2379d6d3c3d);
    assert_int_equal(b.lineage.high, 0x00a51591bceb69e1);
    assert_int_equal(b.lineage.low, 0xeea1e67a6c80cf84);
    assert_int_equal(b.positional.high, 0x00b748f1777d599c);
    assert_int_equal(b.positional.low, 0xaea1e67a6c80cf84);
    assert_memory_equal(b.tokens, tokens + 8, 16);
    b = block_at(s, 0);
    assert_false(b.has_parent);
    assert_int_equal(b.parent, 0);
    assert_int_equal(b.sequence_hash, b.block_hash);
    kvf_sequence_destroy(s);
}

static void known_sequence_with_runs(void **state) {
    (void)state;
    static const uint32_t tokens[] = {34145, 20952, 7956,  39379, 24640, 43666,
                                      47058, 78594, 53861, 97882, 23452};
    static const kvf_mm_run run = {0xca74e11a6b23e869, 1, 5};
    static const uint64_t expected[] = {0xd547d9608f1ee302, 0xf95ed2fe50a80114, 0x276586e9cf0a4f35};
    kvf_sequence *s = make(2, 8292523946574504276, KVF_HASH_V1_3);
    assert_range(extend_mm(s, tokens, 11, &run, 1), 0, 5);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(block_at(s, i).sequence_hash, expected[i]);
    assert_int_equal(block_at(s, 2).block_hash, 0x80b191a312d693f6);
    assert_int_equal(block_at(s, 2).lineage.high, 0x0089d961ba73c293);
    assert_int_equal(block_at(s, 2).lineage.low, 0xcd5ed2fe50a80114);
    kvf_sequence_destroy(s);
}

static void fields_read_back(void **state) {
    (void)state;
    kvf_sequence *s = make(3, 7, KVF_HASH_V1_3);
    assert_int_equal(kvf_sequence_block_size(s), 3);
    assert_int_equal(kvf_sequence_salt(s), 7);
    assert_int_equal(kvf_sequence_hash_layout(s), KVF_HASH_V1_3);
    assert_int_equal(kvf_sequence_token_count(s), 0);
    assert_int_equal(kvf_sequence_block_count(s), 0);
    assert_null(kvf_sequence_tokens(s));
    assert_null(kvf_sequence_hashes(s));
    assert_range(extend(s, (uint32_t[]){1, 2}, 2), 0, 0);
    assert_non_null(kvf_sequence_tokens(s));
    assert_null(kvf_sequence_hashes(s));
    assert_range(extend(s, NULL, 0), 0, 0);
    assert_range(extend(s, (uint32_t[]){3}, 1), 0, 1);
    assert_range(extend(s, NULL, 0), 1, 1);
    assert_non_null(kvf_sequence_hashes(s));
    truncate_to(s, 0);
    assert_null(kvf_sequence_tokens(s));
    assert_null(kvf_sequence_hashes(s));
    kvf_sequence_destroy(s);
    kvf_sequence_destroy(NULL);
}

/* A block's hash by the functions of hash.h. */
static uint64_t oracle_block_hash(const sample *s, size_t block) {
    uint32_t words[128 * 13];
    size_t size, first = block * s->block_size;
    assert_int_equal(kvf_hash_block_bytes(s->tokens + first, s->block_size, first, s->runs,
                                          s->run_count, (uint8_t *)words, sizeof words, &size,
                                          NULL),
                     KVF_OK);
    if (s->salt == 0)
        return kvf_hash_salt(words, size);
    assert_int_equal(size % 4, 0);
    return kvf_hash_block(words, size / 4, s->salt);
}

static void every_block_agrees_with_hash_h(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(400); seed++) {
        sample sample = sample_make(seed);
        if (sample.block_size % 4 != 0)
            sample.salt = 0;
        kvf_sequence *s = sample_sequence(&sample);
        assert_int_equal(kvf_sequence_block_count(s), sample.count / sample.block_size);
        uint64_t parent = 0;
        for (size_t i = 0; i < kvf_sequence_block_count(s); i++) {
            uint64_t own = oracle_block_hash(&sample, i);
            uint64_t current =
                i > 0 ? kvf_hash_chain(sample.layout, sample.salt, parent, own) : own;
            kvf_hash lineage, positional;
            kvf_hash_lineage(sample.layout, current, i > 0 ? &parent : NULL, i, &lineage);
            kvf_hash_positional(current, i, own, &positional);
            kvf_token_block b = block_at(s, i);
            assert_int_equal(b.block_hash, own);
            assert_int_equal(b.sequence_hash, current);
            assert_int_equal(b.parent, parent);
            assert_true(kvf_hash_equal(b.lineage, lineage));
            assert_true(kvf_hash_equal(b.lineage, kvf_sequence_hashes(s)[i]));
            assert_true(kvf_hash_equal(b.positional, positional));
            assert_ptr_equal(b.tokens, kvf_sequence_tokens(s) + i * sample.block_size);
            parent = current;
        }
        kvf_sequence_destroy(s);
        free(sample.tokens);
    }
}

static void hashes_follow_each_other_over_all_modes(void **state) {
    (void)state;
    uint32_t tokens[1024];
    for (int layout = KVF_HASH_V1_2; layout <= KVF_HASH_V1_3; layout++) {
        kvf_sequence *s = make(1, 3, (kvf_hash_layout)layout);
        while (kvf_sequence_token_count(s) < 66000) {
            for (size_t i = 0; i < 1024; i++)
                tokens[i] = (uint32_t)(kvf_sequence_token_count(s) + i);
            extend(s, tokens, 1024);
        }
        const kvf_hash *hashes = kvf_sequence_hashes(s);
        for (size_t i = 0; i < kvf_sequence_block_count(s); i++) {
            assert_int_equal(kvf_hash_position(hashes[i]), i);
            if (i > 0)
                assert_true(kvf_hash_follows((kvf_hash_layout)layout, hashes[i - 1], hashes[i]));
        }
        kvf_sequence_destroy(s);
    }
}

/* The runs that start in tokens [from, to); moves `to` so that none is cut. */
static size_t runs_between(const sample *s, size_t from, size_t *to, const kvf_mm_run **first) {
    size_t count = 0;
    *first = s->runs;
    for (size_t i = 0; i < s->run_count; i++) {
        if (s->runs[i].offset < from) {
            *first = &s->runs[i + 1];
        } else if (s->runs[i].offset < *to) {
            count++;
            if (s->runs[i].offset + s->runs[i].length > *to)
                *to = s->runs[i].offset + s->runs[i].length;
        }
    }
    return count;
}

static void any_split_gives_the_same(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(400); seed++) {
        sample sample = sample_make(seed);
        test_random random = test_random_make(seed + 1000);
        kvf_sequence *whole = sample_sequence(&sample);
        kvf_sequence *split = make(sample.block_size, sample.salt, sample.layout);
        for (size_t from = 0, to; from < sample.count; from = to) {
            to = from + (size_t)test_random_below(&random, 3 * sample.block_size);
            if (to > sample.count)
                to = sample.count;
            const kvf_mm_run *runs;
            size_t run_count = runs_between(&sample, from, &to, &runs);
            kvf_range done = extend_mm(split, sample.tokens + from, to - from, runs, run_count);
            assert_range(done, from / sample.block_size, to / sample.block_size);
        }
        assert_equal(whole, split);
        kvf_sequence_destroy(split);
        kvf_sequence_destroy(whole);
        free(sample.tokens);
    }
}

static void append_is_an_extend_of_one(void **state) {
    (void)state;
    static const uint32_t tokens[] = {9, 8, 7, 6, 5, 4, 3};
    kvf_sequence *whole = make(3, 1, KVF_HASH_V1_2), *one = make(3, 1, KVF_HASH_V1_2);
    extend(whole, tokens, 7);
    for (size_t i = 0; i < 7; i++) {
        kvf_range done;
        kvf_error error = {0};
        test_expect(KVF_OK, kvf_sequence_append(one, tokens[i], &done, &error), &error);
        assert_range(done, i / 3, (i + 1) / 3);
    }
    assert_equal(whole, one);
    assert_int_equal(kvf_sequence_append(one, 2, NULL, NULL), KVF_OK);
    kvf_sequence_destroy(whole);
    kvf_sequence_destroy(one);
}

/* The sample cut after `count` tokens. */
static sample sample_cut(const sample *s, size_t count) {
    sample cut = *s;
    cut.count = count;
    cut.run_count = 0;
    for (size_t i = 0; i < s->run_count && s->runs[i].offset < count; i++) {
        cut.runs[cut.run_count] = s->runs[i];
        if (s->runs[i].offset + s->runs[i].length > count)
            cut.runs[cut.run_count].length = count - s->runs[i].offset;
        cut.run_count++;
    }
    return cut;
}

static void truncated_equals_a_shorter_sequence(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(400); seed++) {
        sample sample = sample_make(seed);
        test_random random = test_random_make(seed + 2000);
        size_t count = (size_t)test_random_below(&random, sample.count + 1);
        if (sample.run_count > 0 && seed % 4 == 1)
            count = (size_t)sample.runs[test_random_below(&random, sample.run_count)].offset;
        struct sample cut = sample_cut(&sample, count);
        kvf_sequence *s = sample_sequence(&sample), *fresh = sample_sequence(&cut);
        truncate_to(s, sample.count);
        truncate_to(s, count);
        assert_equal(s, fresh);
        /* Tokens added after a cut are plain, whatever was there before. */
        extend(s, sample.tokens + count, sample.count - count);
        extend(fresh, sample.tokens + count, sample.count - count);
        assert_equal(s, fresh);
        kvf_sequence_destroy(s);
        kvf_sequence_destroy(fresh);
        free(sample.tokens);
    }
}

static void a_clone_is_independent(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < test_seeds(100); seed++) {
        sample sample = sample_make(seed);
        test_allocator t;
        test_allocator_init(&t);
        const kvf_sequence_options options = {.block_size = sample.block_size,
                                              .salt = sample.salt,
                                              .layout = sample.layout,
                                              .allocator = &t.allocator};
        kvf_sequence *s, *clone, *same = sample_sequence(&sample);
        assert_int_equal(kvf_sequence_create(&options, &s, NULL), KVF_OK);
        extend_mm(s, sample.tokens, sample.count, sample.runs, sample.run_count);
        assert_int_equal(kvf_sequence_clone(s, &clone, NULL), KVF_OK);
        assert_equal(clone, s);
        assert_int_equal(kvf_sequence_salt(clone), sample.salt);
        assert_int_equal(kvf_sequence_hash_layout(clone), sample.layout);
        truncate_to(s, sample.count / 2);
        extend(s, sample.tokens, sample.count / 2);
        assert_equal(clone, same);
        kvf_sequence_destroy(s);
        extend(clone, sample.tokens, sample.count);
        extend(same, sample.tokens, sample.count);
        assert_equal(clone, same);
        kvf_sequence_destroy(clone);
        kvf_sequence_destroy(same);
        test_allocator_done(&t);
        free(sample.tokens);
    }
}

static void runs_come_in_any_order(void **state) {
    (void)state;
    static const uint32_t tokens[10] = {0};
    static const kvf_mm_run ascending[] = {{7, 1, 2}, {8, 3, 1}, {9, 6, 4}};
    static const kvf_mm_run mixed[] = {{9, 6, 4}, {7, 1, 2}, {8, 3, 1}};
    kvf_sequence *a = make(4, 0, KVF_HASH_V1_3), *b = make(4, 0, KVF_HASH_V1_3);
    extend_mm(a, tokens, 10, ascending, 3);
    extend_mm(b, tokens, 10, mixed, 3);
    assert_equal(a, b);
    /* The last block's run was added before the block was complete. */
    extend(a, tokens, 2);
    extend(b, tokens, 2);
    assert_equal(a, b);
    assert_int_not_equal(block_at(a, 2).block_hash, kvf_hash_block(tokens, 4, 0));
    kvf_sequence_destroy(a);
    kvf_sequence_destroy(b);
}

static void a_placeholders_token_does_not_matter(void **state) {
    (void)state;
    const kvf_mm_run run = {5, 0, 4};
    kvf_sequence *a = make(4, 0, KVF_HASH_V1_3), *b = make(4, 0, KVF_HASH_V1_3);
    extend_mm(a, (uint32_t[]){1, 2, 3, 4}, 4, &run, 1);
    extend_mm(b, (uint32_t[]){5, 6, 7, 8}, 4, &run, 1);
    assert_int_equal(block_at(a, 0).block_hash, block_at(b, 0).block_hash);
    kvf_sequence_destroy(a);
    kvf_sequence_destroy(b);
}

static void reserved_needs_no_memory(void **state) {
    (void)state;
    static const uint32_t tokens[100] = {0};
    test_allocator t;
    test_allocator_init(&t);
    const kvf_sequence_options options = {.block_size = 3, .allocator = &t.allocator};
    kvf_sequence *s;
    assert_int_equal(kvf_sequence_create(&options, &s, NULL), KVF_OK);
    assert_int_equal(kvf_sequence_memory(s), t.live_bytes);
    assert_int_equal(kvf_sequence_reserve(s, 100, NULL), KVF_OK);
    size_t calls = t.calls;
    assert_int_equal(kvf_sequence_memory(s), t.live_bytes);
    for (size_t i = 0; i < 100; i += 10)
        extend(s, tokens + i, 10);
    assert_int_equal(kvf_sequence_reserve(s, 50, NULL), KVF_OK);
    assert_int_equal(t.calls, calls);
    extend(s, tokens, 100);
    assert_int_equal(kvf_sequence_memory(s), t.live_bytes);
    kvf_sequence_destroy(s);
    test_allocator_done(&t);
}

/* Only range checks may run: the token array is too short, and there is no memory. */
static void positions_end(void **state) {
    (void)state;
    static const size_t block_sizes[] = {1, 3, 16};
    const size_t most = KVF_MAX_POSITION + 1;
    for (size_t i = 0; i < 3; i++) {
        size_t size = block_sizes[i];
        test_allocator t;
        test_allocator_init(&t);
        const kvf_sequence_options options = {.block_size = size, .allocator = &t.allocator};
        kvf_sequence *s;
        kvf_error error = {0};
        kvf_range done = {7, 8};
        const uint32_t tokens[20] = {0};
        assert_int_equal(kvf_sequence_create(&options, &s, NULL), KVF_OK);
        for (size_t there = 0; there < 40; there += 20) {
            size_t fits = most * size + size - 1 - there;
            t.fail_at = 0;
            if (there > 0)
                extend(s, tokens, 20);
            t.fail_at = 1;
            t.fail_ever_after = true;
            assert_int_equal(kvf_sequence_extend(s, tokens, fits, &done, NULL), KVF_ERR_NO_MEMORY);
            assert_int_equal(kvf_sequence_extend(s, tokens, fits + 1, &done, &error),
                             KVF_ERR_RANGE);
            assert_int_equal(error.fields, KVF_ERROR_POSITION);
            assert_int_equal(error.position, most);
            assert_int_equal(kvf_sequence_extend(s, tokens, SIZE_MAX, &done, NULL), KVF_ERR_RANGE);
            assert_int_equal(kvf_sequence_reserve(s, fits + there, NULL), KVF_ERR_NO_MEMORY);
            assert_int_equal(kvf_sequence_reserve(s, fits + there + 1, NULL), KVF_ERR_RANGE);
            assert_int_equal(kvf_sequence_token_count(s), there);
        }
        assert_range(done, 7, 8);
        kvf_sequence_destroy(s);
        test_allocator_done(&t);
    }
}

static void sizes_do_not_wrap(void **state) {
    (void)state;
    static const uint32_t token = 1;
    kvf_sequence *s = make(SIZE_MAX, 0, KVF_HASH_V1_2);
    assert_int_equal(kvf_sequence_extend(s, &token, SIZE_MAX / 4 + 2, NULL, NULL),
                     KVF_ERR_NO_MEMORY);
    assert_int_equal(kvf_sequence_reserve(s, SIZE_MAX / 2, NULL), KVF_ERR_NO_MEMORY);
    assert_int_equal(kvf_sequence_token_count(s), 0);
    extend(s, &token, 1);
    assert_int_equal(kvf_sequence_block_count(s), 0);
    kvf_sequence_destroy(s);
}

static void expect_bad_runs(kvf_status expected, uint64_t index, const kvf_mm_run *runs,
                            size_t count) {
    static const uint32_t tokens[10] = {0};
    kvf_sequence *s = make(2, 0, KVF_HASH_V1_3), *same = make(2, 0, KVF_HASH_V1_3);
    kvf_range done = {7, 8};
    kvf_error error = {0};
    extend(s, tokens, 5);
    extend(same, tokens, 5);
    assert_int_equal(kvf_sequence_extend_mm(s, tokens, 10, runs, count, &done, &error), expected);
    assert_int_equal(error.status, expected);
    assert_int_equal(error.fields, KVF_ERROR_INDEX);
    assert_int_equal(error.index, index);
    assert_range(done, 7, 8);
    assert_equal(s, same);
    extend(s, tokens, 10);
    extend(same, tokens, 10);
    assert_equal(s, same);
    kvf_sequence_destroy(s);
    kvf_sequence_destroy(same);
}

static void invalid_runs_are_refused(void **state) {
    (void)state;
    expect_bad_runs(KVF_ERR_INVALID, 0, (kvf_mm_run[]){{1, 6, 0}}, 1);
    expect_bad_runs(KVF_ERR_INVALID, 1, (kvf_mm_run[]){{1, 5, 2}, {1, 6, 2}}, 2);
    expect_bad_runs(KVF_ERR_INVALID, 0, (kvf_mm_run[]){{1, 14, 1}, {1, 7, 8}}, 2);
    expect_bad_runs(KVF_ERR_INVALID, 2, (kvf_mm_run[]){{1, 5, 1}, {1, 9, 1}, {1, 9, 1}}, 3);
    expect_bad_runs(KVF_ERR_RANGE, 0, (kvf_mm_run[]){{1, 4, 2}}, 1);
    expect_bad_runs(KVF_ERR_RANGE, 1, (kvf_mm_run[]){{1, 5, 2}, {1, 14, 2}}, 2);
    expect_bad_runs(KVF_ERR_RANGE, 0, (kvf_mm_run[]){{1, 16, 1}}, 1);
    expect_bad_runs(KVF_ERR_RANGE, 0, (kvf_mm_run[]){{1, 6, UINT64_MAX}}, 1);
    expect_bad_runs(KVF_ERR_RANGE, 0, (kvf_mm_run[]){{1, UINT64_MAX, 2}}, 1);
    /* An argument that is never valid is reported before one that is out of range. */
    expect_bad_runs(KVF_ERR_INVALID, 1, (kvf_mm_run[]){{1, 99, 1}, {1, 6, 0}}, 2);
}

static void v1_2_refuses_runs(void **state) {
    (void)state;
    static const uint32_t tokens[4] = {0};
    static const kvf_mm_run run = {1, 0, 1};
    kvf_sequence *s = make(2, 0, KVF_HASH_V1_2);
    kvf_error error = {0};
    assert_int_equal(kvf_sequence_extend_mm(s, tokens, 4, &run, 1, NULL, &error),
                     KVF_ERR_UNSUPPORTED);
    assert_int_equal(error.status, KVF_ERR_UNSUPPORTED);
    assert_int_equal(kvf_sequence_token_count(s), 0);
    assert_range(extend_mm(s, tokens, 4, NULL, 0), 0, 2);
    kvf_sequence_destroy(s);
}

static void invalid_options_are_refused(void **state) {
    (void)state;
    kvf_sequence *const untouched = (kvf_sequence *)&untouched;
    kvf_sequence *s = untouched;
    kvf_error error = {0};
    const kvf_sequence_options good = {.block_size = 1}, zero = {.block_size = 0},
                               unknown = {.block_size = 1, .layout = (kvf_hash_layout)2};
    assert_int_equal(kvf_sequence_create(NULL, &s, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_create(&good, NULL, &error), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_create(&zero, &s, &error), KVF_ERR_INVALID);
    assert_int_equal(error.status, KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_create(&unknown, &s, NULL), KVF_ERR_INVALID);
    assert_ptr_equal(s, untouched);
}

static void invalid_arguments_are_refused(void **state) {
    (void)state;
    static const uint32_t tokens[4] = {0};
    kvf_sequence *s = make(2, 0, KVF_HASH_V1_3), *clone = NULL;
    kvf_token_block block;
    kvf_error error = {0};
    extend(s, tokens, 3);
    assert_int_equal(kvf_sequence_extend(NULL, tokens, 1, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_extend(s, NULL, 1, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_extend(s, NULL, SIZE_MAX, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_extend_mm(s, tokens, 1, NULL, 1, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_append(NULL, 1, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_clone(NULL, &clone, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_clone(s, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_truncate(NULL, 0, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_truncate(s, 4, &error), KVF_ERR_RANGE);
    assert_int_equal(error.expected, 3);
    assert_int_equal(kvf_sequence_reserve(NULL, 0, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_block(NULL, 0, &block, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_block(s, 0, NULL, NULL), KVF_ERR_INVALID);
    assert_int_equal(kvf_sequence_block(s, 1, &block, &error), KVF_ERR_RANGE);
    assert_int_equal(error.index, 1);
    assert_int_equal(kvf_sequence_block(s, SIZE_MAX, &block, NULL), KVF_ERR_RANGE);
    assert_null(clone);
    assert_int_equal(kvf_sequence_token_count(s), 3);
    kvf_sequence_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sequence_v1_2),
        cmocka_unit_test(known_sequence_with_runs),
        cmocka_unit_test(fields_read_back),
        cmocka_unit_test(every_block_agrees_with_hash_h),
        cmocka_unit_test(hashes_follow_each_other_over_all_modes),
        cmocka_unit_test(any_split_gives_the_same),
        cmocka_unit_test(append_is_an_extend_of_one),
        cmocka_unit_test(truncated_equals_a_shorter_sequence),
        cmocka_unit_test(a_clone_is_independent),
        cmocka_unit_test(runs_come_in_any_order),
        cmocka_unit_test(a_placeholders_token_does_not_matter),
        cmocka_unit_test(reserved_needs_no_memory),
        cmocka_unit_test(positions_end),
        cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(invalid_runs_are_refused),
        cmocka_unit_test(v1_2_refuses_runs),
        cmocka_unit_test(invalid_options_are_refused),
        cmocka_unit_test(invalid_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
