/* Hashing, inline for the loops of hash.c and sequence.c. kvferry/hash.h draws the formats. */
#ifndef KVF_HASH_H
#define KVF_HASH_H

#include <kvferry/hash.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the hashes are over little-endian data");

/* Seeds every chain of v1.3; the salt does not. */
#define KVF__CHAIN_SEED_V1_3 UINT64_C(1337)

/* Bytes hashed for each token of a multimodal block. */
#define KVF__FRAME_SIZE 13

static inline bool kvf__layout_known(kvf_hash_layout layout) {
    return layout == KVF_HASH_V1_2 || layout == KVF_HASH_V1_3;
}

static inline uint64_t kvf__chain_seed(kvf_hash_layout layout, uint64_t salt) {
    return layout == KVF_HASH_V1_3 ? KVF__CHAIN_SEED_V1_3 : salt;
}

static inline uint64_t kvf__chain(uint64_t seed, uint64_t parent, uint64_t block_hash) {
    const uint64_t link[2] = {parent, block_hash};
    return XXH3_64bits_withSeed(link, sizeof link, seed);
}

static inline uint64_t kvf__low_bits(uint64_t value, unsigned bits) {
    return value & ((UINT64_C(1) << bits) - 1);
}

static inline unsigned kvf__lineage_mode(uint64_t position) {
    return (unsigned)(position >= UINT64_C(1) << 8) + (unsigned)(position >= UINT64_C(1) << 16);
}

/* The position's lowest bit in the upper half of a lineage or positional hash. Also the number of
 * bits of v1.3's parent fragment, and of a positional hash's block hash. */
static inline unsigned kvf__position_shift(unsigned mode) {
    return mode < 3 ? 54 - 8 * mode : 31;
}

/* Bits of a fragment in v1.2, which has two of them below the position. */
static inline unsigned kvf__fragment_bits(unsigned mode) {
    return (64 + kvf__position_shift(mode)) / 2;
}

static inline uint64_t kvf__hash_head(unsigned mode, uint64_t position) {
    return (uint64_t)mode << 62 | position << kvf__position_shift(mode);
}

static inline kvf_hash kvf__lineage_v1_2(uint64_t current, uint64_t parent, uint64_t position) {
    unsigned mode = kvf__lineage_mode(position);
    unsigned bits = kvf__fragment_bits(mode);
    unsigned current_bits = kvf__fragment_bits(kvf__lineage_mode(position + 1));
    parent = kvf__low_bits(parent, bits);
    return (kvf_hash){
        .low = parent << bits | kvf__low_bits(current, current_bits),
        .high = kvf__hash_head(mode, position) | parent >> (64 - bits),
    };
}

static inline kvf_hash kvf__lineage_v1_3(uint64_t current, uint64_t parent, uint64_t position) {
    unsigned mode = kvf__lineage_mode(position);
    unsigned bits = kvf__position_shift(mode);
    return (kvf_hash){
        .low = current << bits | kvf__low_bits(parent, bits),
        .high = kvf__hash_head(mode, position) | current >> (64 - bits),
    };
}

/* position <= KVF_MAX_POSITION; the parent of a root is 0. */
static inline kvf_hash kvf__lineage(kvf_hash_layout layout, uint64_t current, uint64_t parent,
                                    uint64_t position) {
    return layout == KVF_HASH_V1_3 ? kvf__lineage_v1_3(current, parent, position)
                                   : kvf__lineage_v1_2(current, parent, position);
}

/* position < 2^31. */
static inline kvf_hash kvf__positional(uint64_t sequence_hash, uint64_t position,
                                       uint64_t block_hash) {
    unsigned mode = position >> 24 != 0 ? 3 : kvf__lineage_mode(position);
    return (kvf_hash){
        .low = sequence_hash,
        .high =
            kvf__hash_head(mode, position) | kvf__low_bits(block_hash, kvf__position_shift(mode)),
    };
}

/* Writes the frames of `count` tokens, the first at token position `first`. The runs ascend and do
 * not overlap; no run's end overflows. */
void kvf__hash_frames(const uint32_t *tokens, size_t count, uint64_t first, const kvf_mm_run *runs,
                      size_t run_count, uint8_t *out);

#endif
