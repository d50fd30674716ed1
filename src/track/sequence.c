#include "track/hash.h"
#include "base/allocator.h"

#include <kvferry/sequence.h>

#include <stdlib.h>
#include <string.h>

/*
 *     tokens            [ t t t t | t t t t | t t ]     token_count
 *     block_hashes      [    b    |    b    ]           block_count = token_count / block_size
 *     sequence_hashes   [    s    |    s    ]
 *     lineage           [    l    |    l    ]
 *     runs              [   r   r     ]                 ascending, inside the tokens, no overlap
 */
struct kvf_sequence {
    kvf_allocator allocator;
    size_t block_size;
    uint64_t salt;
    kvf_hash_layout layout;

    size_t token_count, block_count, run_count;
    uint32_t *tokens;
    uint64_t *block_hashes;
    uint64_t *sequence_hashes;
    kvf_hash *lineage;
    kvf_mm_run *runs;
    size_t token_capacity, block_hash_capacity, sequence_hash_capacity, lineage_capacity,
        run_capacity;

    /* XXH3's secret for this salt; otherwise every long block would derive it again. */
    uint8_t secret[XXH_SECRET_DEFAULT_SIZE];
};

static kvf_sequence *make(const kvf_allocator *allocator, size_t block_size, uint64_t salt,
                          kvf_hash_layout layout) {
    kvf_sequence *s = kvf__alloc(allocator, 1, sizeof *s);
    if (!s)
        return NULL;
    *s = (kvf_sequence){
        .allocator = *allocator,
        .block_size = block_size,
        .salt = salt,
        .layout = layout,
    };
    XXH3_generateSecret_fromSeed(s->secret, salt);
    return s;
}

kvf_status kvf_sequence_create(const kvf_sequence_options *options, kvf_sequence **out,
                               kvf_error *error) {
    if (!options || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (options->block_size == 0)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "block size must not be 0");
    if (!kvf__layout_known(options->layout))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "unknown hash layout");
    kvf_allocator allocator = kvf__allocator(options->allocator);
    kvf_sequence *s = make(&allocator, options->block_size, options->salt, options->layout);
    if (!s)
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    *out = s;
    return KVF_OK;
}

void kvf_sequence_destroy(kvf_sequence *s) {
    if (!s)
        return;
    kvf_allocator allocator = s->allocator;
    kvf__free(&allocator, s->runs, s->run_capacity, sizeof *s->runs);
    kvf__free(&allocator, s->lineage, s->lineage_capacity, sizeof *s->lineage);
    kvf__free(&allocator, s->sequence_hashes, s->sequence_hash_capacity,
              sizeof *s->sequence_hashes);
    kvf__free(&allocator, s->block_hashes, s->block_hash_capacity, sizeof *s->block_hashes);
    kvf__free(&allocator, s->tokens, s->token_capacity, sizeof *s->tokens);
    kvf__free(&allocator, s, 1, sizeof *s);
}

/* Makes room for that many tokens and the blocks they fill. */
static bool make_room(kvf_sequence *s, size_t tokens) {
    const kvf_allocator *a = &s->allocator;
    size_t blocks = tokens / s->block_size;
    return kvf__grow(a, &s->tokens, &s->token_capacity, tokens, sizeof *s->tokens) &&
           kvf__grow(a, &s->block_hashes, &s->block_hash_capacity, blocks,
                     sizeof *s->block_hashes) &&
           kvf__grow(a, &s->sequence_hashes, &s->sequence_hash_capacity, blocks,
                     sizeof *s->sequence_hashes) &&
           kvf__grow(a, &s->lineage, &s->lineage_capacity, blocks, sizeof *s->lineage);
}

static bool make_run_room(kvf_sequence *s, size_t runs) {
    return kvf__grow(&s->allocator, &s->runs, &s->run_capacity, runs, sizeof *s->runs);
}

/* memcpy must not get NULL, even for 0 bytes. */
static void copy(void *to, const void *from, size_t count, size_t size) {
    if (count > 0)
        memcpy(to, from, count * size);
}

kvf_status kvf_sequence_clone(const kvf_sequence *s, kvf_sequence **out, kvf_error *error) {
    if (!s || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_sequence *c = make(&s->allocator, s->block_size, s->salt, s->layout);
    if (!c || !make_room(c, s->token_count) || !make_run_room(c, s->run_count)) {
        kvf_sequence_destroy(c);
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    }
    c->token_count = s->token_count;
    c->block_count = s->block_count;
    c->run_count = s->run_count;
    copy(c->tokens, s->tokens, s->token_count, sizeof *s->tokens);
    copy(c->block_hashes, s->block_hashes, s->block_count, sizeof *s->block_hashes);
    copy(c->sequence_hashes, s->sequence_hashes, s->block_count, sizeof *s->sequence_hashes);
    copy(c->lineage, s->lineage, s->block_count, sizeof *s->lineage);
    copy(c->runs, s->runs, s->run_count, sizeof *s->runs);
    *out = c;
    return KVF_OK;
}

static uint64_t run_end(const kvf_mm_run *run) {
    return run->offset + run->length;
}

static void hash_plain_blocks(kvf_sequence *s, size_t from, size_t to) {
    const size_t block_size = s->block_size;
    const uint64_t salt = s->salt;
    for (size_t i = from; i < to; i++)
        s->block_hashes[i] = XXH3_64bits_withSecretandSeed(s->tokens + i * block_size,
                                                           block_size * sizeof *s->tokens,
                                                           s->secret, sizeof s->secret, salt);
}

/* In pieces, so that blocks of any size need no memory for their frames. */
static uint64_t hash_framed_block(const kvf_sequence *s, size_t block, const kvf_mm_run *runs,
                                  size_t run_count) {
    enum { PIECE = 64 };
    uint8_t frames[PIECE * KVF__FRAME_SIZE];
    XXH3_state_t state;
    XXH3_64bits_reset_withSecretandSeed(&state, s->secret, sizeof s->secret, s->salt);
    size_t first = block * s->block_size, end = first + s->block_size;
    for (size_t i = first; i < end; i += PIECE) {
        size_t n = kvf__min(end - i, PIECE);
        kvf__hash_frames(s->tokens + i, n, i, runs, run_count, frames);
        XXH3_64bits_update(&state, frames, n * KVF__FRAME_SIZE);
    }
    return XXH3_64bits_digest(&state);
}

static void hash_blocks(kvf_sequence *s, size_t from, size_t to) {
    size_t r = s->run_count, i = from;
    while (r > 0 && run_end(&s->runs[r - 1]) > from * s->block_size)
        r--;
    for (; r < s->run_count && i < to; r++) {
        size_t first = s->runs[r].offset / s->block_size;
        size_t end = (run_end(&s->runs[r]) - 1) / s->block_size + 1;
        if (first >= to)
            break;
        if (first > i) {
            hash_plain_blocks(s, i, first);
            i = first;
        }
        for (; i < end && i < to; i++)
            s->block_hashes[i] = hash_framed_block(s, i, s->runs + r, s->run_count - r);
    }
    hash_plain_blocks(s, i, to);
}

/* Not in the loop of hash_blocks, which is bound by throughput. Each step here waits for the one
 * before, and one loop for both is no faster. */
static void chain_blocks(kvf_sequence *s, size_t from, size_t to) {
    const kvf_hash_layout layout = s->layout;
    const uint64_t seed = kvf__chain_seed(layout, s->salt);
    uint64_t parent = from > 0 ? s->sequence_hashes[from - 1] : 0;
    for (size_t i = from; i < to; i++) {
        uint64_t block_hash = s->block_hashes[i];
        uint64_t current = i > 0 ? kvf__chain(seed, parent, block_hash) : block_hash;
        s->sequence_hashes[i] = current;
        s->lineage[i] = kvf__lineage(layout, current, parent, i);
        parent = current;
    }
}

/* Hashes the blocks that tokens already copied have completed. */
static kvf_range grow_to(kvf_sequence *s, size_t token_count) {
    size_t from = s->block_count, to = token_count / s->block_size;
    hash_blocks(s, from, to);
    chain_blocks(s, from, to);
    s->token_count = token_count;
    s->block_count = to;
    return (kvf_range){from, to};
}

static kvf_status check_token_count(const kvf_sequence *s, size_t token_count, kvf_error *error) {
    if (token_count / s->block_size > KVF_MAX_POSITION + 1)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "more blocks than KVF_MAX_POSITION allows",
                         .fields = KVF_ERROR_POSITION, .position = KVF_MAX_POSITION + 1);
    return KVF_OK;
}

static kvf_status fail_run(kvf_status status, const char *what, size_t index, kvf_error *error) {
    return KVF__FAIL(error, .status = status, .what = what, .fields = KVF_ERROR_INDEX,
                     .index = index);
}

static kvf_status check_arguments(const kvf_sequence *s, const uint32_t *tokens, size_t count,
                                  const kvf_mm_run *runs, size_t run_count, kvf_error *error) {
    if (!s || (!tokens && count > 0) || (!runs && run_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (run_count > 0 && s->layout == KVF_HASH_V1_2)
        return KVF__FAIL(error, .status = KVF_ERR_UNSUPPORTED,
                         .what = "multimodal runs need hash layout v1.3");
    for (size_t i = 0; i < run_count; i++)
        if (runs[i].length == 0)
            return fail_run(KVF_ERR_INVALID, "a multimodal run is empty", i, error);
    return KVF_OK;
}

static kvf_status check_ranges(const kvf_sequence *s, size_t count, const kvf_mm_run *runs,
                               size_t run_count, size_t *token_count, kvf_error *error) {
    size_t total;
    if (!kvf__add(s->token_count, count, &total))
        total = SIZE_MAX;
    kvf_status status = check_token_count(s, total, error);
    if (status != KVF_OK)
        return status;
    for (size_t i = 0; i < run_count; i++)
        if (runs[i].offset < s->token_count || runs[i].offset > total ||
            runs[i].length > total - runs[i].offset)
            return fail_run(KVF_ERR_RANGE, "a multimodal run is outside the new tokens", i, error);
    *token_count = total;
    return KVF_OK;
}

static int by_offset(const void *a, const void *b) {
    const kvf_mm_run *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Index of the caller's last run at that offset. */
static size_t find_run(const kvf_mm_run *runs, size_t count, uint64_t offset) {
    while (count > 0 && runs[count - 1].offset != offset)
        count--;
    return count - 1;
}

/* Sorts the new runs after the old ones; run_count does not include them yet. */
static kvf_status place_runs(kvf_sequence *s, const kvf_mm_run *runs, size_t count,
                             kvf_error *error) {
    size_t total;
    if (count == 0)
        return KVF_OK;
    if (!kvf__add(s->run_count, count, &total) || !make_run_room(s, total))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    kvf_mm_run *placed = s->runs + s->run_count;
    memcpy(placed, runs, count * sizeof *runs);
    qsort(placed, count, sizeof *placed, by_offset);
    for (size_t i = 1; i < count; i++)
        if (placed[i].offset < run_end(&placed[i - 1]))
            return fail_run(KVF_ERR_INVALID, "multimodal runs overlap",
                            find_run(runs, count, placed[i].offset), error);
    return KVF_OK;
}

kvf_status kvf_sequence_extend_mm(kvf_sequence *s, const uint32_t *tokens, size_t count,
                                  const kvf_mm_run *runs, size_t run_count, kvf_range *completed,
                                  kvf_error *error) {
    size_t total = 0;
    kvf_status status = check_arguments(s, tokens, count, runs, run_count, error);
    if (status == KVF_OK)
        status = check_ranges(s, count, runs, run_count, &total, error);
    if (status == KVF_OK)
        status = place_runs(s, runs, run_count, error);
    if (status != KVF_OK)
        return status;
    if (!make_room(s, total))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    if (count > 0)
        memcpy(s->tokens + s->token_count, tokens, count * sizeof *tokens);
    s->run_count += run_count;
    kvf_range blocks = grow_to(s, total);
    if (completed)
        *completed = blocks;
    return KVF_OK;
}

kvf_status kvf_sequence_extend(kvf_sequence *s, const uint32_t *tokens, size_t count,
                               kvf_range *completed, kvf_error *error) {
    return kvf_sequence_extend_mm(s, tokens, count, NULL, 0, completed, error);
}

kvf_status kvf_sequence_append(kvf_sequence *s, uint32_t token, kvf_range *completed,
                               kvf_error *error) {
    return kvf_sequence_extend(s, &token, 1, completed, error);
}

static void cut_runs(kvf_sequence *s, size_t token_count) {
    while (s->run_count > 0 && s->runs[s->run_count - 1].offset >= token_count)
        s->run_count--;
    if (s->run_count == 0)
        return;
    kvf_mm_run *last = &s->runs[s->run_count - 1];
    if (run_end(last) > token_count)
        last->length = token_count - last->offset;
}

kvf_status kvf_sequence_truncate(kvf_sequence *s, size_t token_count, kvf_error *error) {
    if (!s)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (token_count > s->token_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "token count exceeds the sequence's tokens",
                         .fields = KVF_ERROR_EXPECTED, .expected = s->token_count);
    cut_runs(s, token_count);
    s->token_count = token_count;
    s->block_count = token_count / s->block_size;
    return KVF_OK;
}

kvf_status kvf_sequence_reserve(kvf_sequence *s, size_t token_count, kvf_error *error) {
    if (!s)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_token_count(s, token_count, error);
    if (status != KVF_OK)
        return status;
    if (!make_room(s, token_count))
        return KVF__FAIL(error, .status = KVF_ERR_NO_MEMORY);
    return KVF_OK;
}

size_t kvf_sequence_block_size(const kvf_sequence *s) {
    return s->block_size;
}

uint64_t kvf_sequence_salt(const kvf_sequence *s) {
    return s->salt;
}

kvf_hash_layout kvf_sequence_hash_layout(const kvf_sequence *s) {
    return s->layout;
}

size_t kvf_sequence_block_count(const kvf_sequence *s) {
    return s->block_count;
}

size_t kvf_sequence_token_count(const kvf_sequence *s) {
    return s->token_count;
}

const uint32_t *kvf_sequence_tokens(const kvf_sequence *s) {
    return s->token_count > 0 ? s->tokens : NULL;
}

const kvf_hash *kvf_sequence_hashes(const kvf_sequence *s) {
    return s->block_count > 0 ? s->lineage : NULL;
}

kvf_status kvf_sequence_block(const kvf_sequence *s, size_t index, kvf_token_block *out,
                              kvf_error *error) {
    if (!s || !out)
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    if (index >= s->block_count)
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "index exceeds the sequence's blocks", .fields = KVF_ERROR_INDEX,
                         .index = index);
    *out = (kvf_token_block){
        .position = index,
        .block_hash = s->block_hashes[index],
        .sequence_hash = s->sequence_hashes[index],
        .parent = index > 0 ? s->sequence_hashes[index - 1] : 0,
        .has_parent = index > 0,
        .lineage = s->lineage[index],
        .positional = kvf__positional(s->sequence_hashes[index], index, s->block_hashes[index]),
        .tokens = s->tokens + index * s->block_size,
    };
    return KVF_OK;
}

size_t kvf_sequence_memory(const kvf_sequence *s) {
    return sizeof *s + s->token_capacity * sizeof *s->tokens +
           s->block_hash_capacity * sizeof *s->block_hashes +
           s->sequence_hash_capacity * sizeof *s->sequence_hashes +
           s->lineage_capacity * sizeof *s->lineage + s->run_capacity * sizeof *s->runs;
}
