#include "track/hash.h"
#include "base/allocator.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t kvf_hash_salt(const void *bytes, size_t size) {
    return XXH3_64bits(bytes, size);
}

uint64_t kvf_hash_block(const uint32_t *tokens, size_t count, uint64_t salt) {
    return XXH3_64bits_withSeed(tokens, count * sizeof *tokens, salt);
}

uint64_t kvf_hash_chain(kvf_hash_layout layout, uint64_t salt, uint64_t parent,
                        uint64_t block_hash) {
    return kvf__chain(kvf__chain_seed(layout, salt), parent, block_hash);
}

kvf_status kvf_hash_lineage(kvf_hash_layout layout, uint64_t current, const uint64_t *parent,
                            uint64_t position, kvf_hash *out) {
    if (!out || !kvf__layout_known(layout))
        return KVF_ERR_INVALID;
    if (position > KVF_MAX_POSITION)
        return KVF_ERR_RANGE;
    *out = kvf__lineage(layout, current, parent ? *parent : 0, position);
    return KVF_OK;
}

kvf_status kvf_hash_positional(uint64_t sequence_hash, uint64_t position, uint64_t block_hash,
                               kvf_hash *out) {
    if (!out)
        return KVF_ERR_INVALID;
    if (position >> 31 != 0)
        return KVF_ERR_RANGE;
    *out = kvf__positional(sequence_hash, position, block_hash);
    return KVF_OK;
}

unsigned kvf_hash_mode(kvf_hash hash) {
    return (unsigned)(hash.high >> 62);
}

static uint64_t position_bits(kvf_hash hash) {
    return kvf__low_bits(hash.high, 62) >> kvf__position_shift(kvf_hash_mode(hash));
}

uint64_t kvf_hash_position(kvf_hash hash) {
    return kvf_hash_mode(hash) < 3 ? position_bits(hash) : UINT64_MAX;
}

uint64_t kvf_hash_current(kvf_hash_layout layout, kvf_hash hash) {
    unsigned mode = kvf_hash_mode(hash);
    unsigned shift = kvf__position_shift(mode);
    if (layout == KVF_HASH_V1_3)
        return hash.high << (64 - shift) | hash.low >> shift;
    return kvf__low_bits(hash.low, kvf__fragment_bits(mode));
}

uint64_t kvf_hash_parent(kvf_hash_layout layout, kvf_hash hash) {
    unsigned mode = kvf_hash_mode(hash);
    if (layout == KVF_HASH_V1_3)
        return kvf__low_bits(hash.low, kvf__position_shift(mode));
    unsigned bits = kvf__fragment_bits(mode);
    return kvf__low_bits(hash.high << (64 - bits) | hash.low >> bits, bits);
}

bool kvf_hash_follows(kvf_hash_layout layout, kvf_hash hash, kvf_hash next) {
    uint64_t position = kvf_hash_position(hash);
    if (position >= KVF_MAX_POSITION || kvf_hash_position(next) != position + 1)
        return false;
    unsigned mode = kvf_hash_mode(next);
    unsigned bits = layout == KVF_HASH_V1_3 ? kvf__position_shift(mode) : kvf__fragment_bits(mode);
    return kvf_hash_parent(layout, next) == kvf__low_bits(kvf_hash_current(layout, hash), bits);
}

static int compare(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

int kvf_hash_compare(kvf_hash_layout layout, kvf_hash a, kvf_hash b) {
    int order = compare(kvf_hash_position(a), kvf_hash_position(b));
    if (order == 0)
        order = compare(kvf_hash_current(layout, a), kvf_hash_current(layout, b));
    if (order == 0)
        order = compare(a.high, b.high);
    if (order == 0)
        order = compare(a.low, b.low);
    return order;
}

bool kvf_hash_equal(kvf_hash a, kvf_hash b) {
    return a.low == b.low && a.high == b.high;
}

/* The digits of the largest 64-bit number and a terminator. */
#define BASE58_SIZE 12

/* Base58 of the eight big-endian bytes: a '1' for each leading zero byte, then the number. */
static void base58(uint64_t value, char text[static BASE58_SIZE]) {
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    char digits[BASE58_SIZE];
    size_t zeros = 0, count = 0;
    while (zeros < 8 && value >> (56 - 8 * zeros) == 0)
        zeros++;
    for (; value > 0; value /= 58)
        digits[count++] = alphabet[value % 58];
    memset(text, alphabet[0], zeros);
    for (size_t i = 0; i < count; i++)
        text[zeros + i] = digits[count - 1 - i];
    text[zeros + count] = '\0';
}

int kvf_hash_format(kvf_hash_layout layout, kvf_hash hash, char *buffer, size_t size) {
    char current[BASE58_SIZE], parent[BASE58_SIZE];
    uint64_t position = kvf_hash_position(hash);
    base58(kvf_hash_current(layout, hash), current);
    base58(kvf_hash_parent(layout, hash), parent);
    if (position == 0)
        return snprintf(buffer, size, "0:%s", current);
    return snprintf(buffer, size, "%" PRIu64 ":%s:%s", position, current, parent);
}

uint64_t kvf_hash_positional_position(kvf_hash hash) {
    return position_bits(hash);
}

uint64_t kvf_hash_positional_block_hash(kvf_hash hash) {
    return kvf__low_bits(hash.high, kvf__position_shift(kvf_hash_mode(hash)));
}

uint64_t kvf_hash_positional_sequence_hash(kvf_hash hash) {
    return hash.low;
}

static void put_frame(uint8_t *out, uint8_t tag, uint32_t value, uint64_t mm_hash) {
    out[0] = tag;
    memcpy(out + 1, &value, sizeof value);
    memcpy(out + 5, &mm_hash, sizeof mm_hash);
}

void kvf__hash_frames(const uint32_t *tokens, size_t count, uint64_t first, const kvf_mm_run *runs,
                      size_t run_count, uint8_t *out) {
    const kvf_mm_run *run = runs, *end = runs + run_count;
    for (size_t i = 0; i < count; i++, out += KVF__FRAME_SIZE) {
        uint64_t position = first + i;
        while (run < end && run->offset + run->length <= position)
            run++;
        if (run < end && run->offset <= position)
            put_frame(out, 1, (uint32_t)(position - run->offset), run->mm_hash);
        else
            put_frame(out, 0, tokens[i], 0);
    }
}

static kvf_status check_runs(const kvf_mm_run *runs, size_t count, kvf_error *error) {
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (runs[i].length == 0)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "a multimodal run is empty",
                             .fields = KVF_ERROR_INDEX, .index = i);
        if (runs[i].offset < end)
            return KVF__FAIL(error, .status = KVF_ERR_INVALID,
                             .what = "multimodal runs overlap or are out of order",
                             .fields = KVF_ERROR_INDEX, .index = i);
        if (__builtin_add_overflow(runs[i].offset, runs[i].length, &end))
            return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                             .what = "a multimodal run ends past 2^64 - 1",
                             .fields = KVF_ERROR_INDEX, .index = i);
    }
    return KVF_OK;
}

static bool touched(uint64_t first, uint64_t end, const kvf_mm_run *runs, size_t run_count) {
    for (size_t i = 0; i < run_count; i++)
        if (runs[i].offset < end && runs[i].offset + runs[i].length > first)
            return true;
    return false;
}

kvf_status kvf_hash_block_bytes(const uint32_t *tokens, size_t count, uint64_t first,
                                const kvf_mm_run *runs, size_t run_count, uint8_t *out,
                                size_t capacity, size_t *size, kvf_error *error) {
    if (!size || (!tokens && count > 0) || (!runs && run_count > 0))
        return KVF__FAIL(error, .status = KVF_ERR_INVALID, .what = "NULL argument");
    kvf_status status = check_runs(runs, run_count, error);
    if (status != KVF_OK)
        return status;
    uint64_t end;
    size_t bytes;
    if (!kvf__mul(count, KVF__FRAME_SIZE, &bytes) || __builtin_add_overflow(first, count, &end))
        return KVF__FAIL(error, .status = KVF_ERR_RANGE,
                         .what = "token count or position out of range");
    bool frames = touched(first, end, runs, run_count);
    if (!frames)
        bytes = count * sizeof *tokens;
    if (out && bytes > 0 && bytes <= capacity) {
        if (frames)
            kvf__hash_frames(tokens, count, first, runs, run_count, out);
        else
            memcpy(out, tokens, bytes);
    }
    *size = bytes;
    return KVF_OK;
}
