/*
 * What the bytes of a block must be, and what attention makes of them.
 *
 * As in a model, the keys and values of a token depend on all tokens up to it: a token's seed is
 * made of the lineage hash of the block before and of the tokens since. Equal prefixes then have
 * equal blocks, which is what lets sequences share them.
 *
 * Compiled for the processor and for kernels.
 */
#ifndef KVF_EXAMPLE_CONTENT_H
#define KVF_EXAMPLE_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define CONTENT_BOTH __host__ __device__
#else
#define CONTENT_BOTH
#endif

/* One layer of a tier: token t of block b has its K and V at base + b * stride + t * words. */
typedef struct layer_view {
    uint64_t *base[2];
    size_t stride[2]; /* words from one block to the next */
    size_t words;     /* of a token's K, and of its V */
    size_t block_tokens;
    uint32_t layer;
} layer_view;

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
CONTENT_BOTH static inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A word of a token's K (part 0) or V (1) in a layer. */
CONTENT_BOTH static inline uint64_t content_word(uint64_t seed, uint32_t layer, unsigned part,
                                                 size_t word) {
    return mix(seed + ((uint64_t)layer << 32) + ((uint64_t)part << 31) + word);
}

/* What a word adds to its block's checksum: not the same at any two places of a sequence. */
CONTENT_BOTH static inline uint64_t content_term(uint64_t value, size_t token, unsigned part,
                                                 size_t word) {
    return mix(value ^ mix(((uint64_t)token << 32) + ((uint64_t)part << 31) + word));
}

/* What a token should add to the checksum of its block in a layer. */
CONTENT_BOTH static inline uint64_t content_expected(uint64_t seed, uint32_t layer, size_t token,
                                                     size_t words) {
    uint64_t sum = 0;
    for (unsigned part = 0; part < 2; part++) {
        for (size_t w = 0; w < words; w++) {
            sum += content_term(content_word(seed, layer, part, w), token, part, w);
        }
    }
    return sum;
}

/* Compute: writes a token's K and V into its place in the sequence's blocks. */
CONTENT_BOTH static inline void content_write(const layer_view *view, const uint64_t *table,
                                              size_t token, uint64_t seed) {
    const uint64_t id = table[token / view->block_tokens];
    const size_t at = token % view->block_tokens * view->words;
    for (unsigned part = 0; part < 2; part++) {
        uint64_t *words = view->base[part] + id * view->stride[part] + at;
        for (size_t w = 0; w < view->words; w++) {
            words[w] = content_word(seed, view->layer, part, w);
        }
    }
}

/* Attention: the checksum of one of a sequence's blocks, which holds those of its `tokens` that lie
 * there. */
CONTENT_BOTH static inline uint64_t content_sum(const layer_view *view, const uint64_t *table,
                                                size_t block, size_t tokens) {
    const size_t first = block * view->block_tokens;
    const size_t left = tokens - first;
    const size_t count = left < view->block_tokens ? left : view->block_tokens;
    uint64_t sum = 0;
    for (unsigned part = 0; part < 2; part++) {
        const uint64_t *words = view->base[part] + table[block] * view->stride[part];
        for (size_t t = 0; t < count; t++) {
            for (size_t w = 0; w < view->words; w++) {
                sum += content_term(words[t * view->words + w], first + t, part, w);
            }
        }
    }
    return sum;
}

#endif
