/*
 * The bytes of a block, and the checksum that attention computes from them.
 *
 * As in a model, the keys and values of a token depend on all tokens up to it. Its seed is made
 * from the lineage hash of the previous block and the tokens since. Equal prefixes therefore have
 * equal blocks, which sequences can share.
 */
#ifndef KVF_EXAMPLE_CONTENT_H
#define KVF_EXAMPLE_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define CONTENT_BOTH __host__ __device__ static inline
#else
#define CONTENT_BOTH static inline
#endif

/* One layer of the device tier: | b0 K | b0 V | b1 K | b1 V | ... |, K and V by token. */
typedef struct layer_view {
    uint64_t *base;
    uint32_t layer;
    size_t block_tokens, words; /* words: of a token's K, and of its V */
} layer_view;

CONTENT_BOTH uint64_t *content_at(const layer_view *view, uint64_t id, unsigned part,
                                  size_t token) {
    return view->base + ((id * 2 + part) * view->block_tokens + token) * view->words;
}

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
CONTENT_BOTH uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

CONTENT_BOTH uint64_t content_word(uint64_t seed, uint32_t layer, unsigned part, size_t word) {
    return mix(seed + ((uint64_t)layer << 32) + ((uint64_t)part << 31) + word);
}

/* A word's contribution to its block's checksum. It depends on the word's place in the sequence. */
CONTENT_BOTH uint64_t content_term(uint64_t value, size_t token, unsigned part, size_t word) {
    return mix(value ^ mix(((uint64_t)token << 32) + ((uint64_t)part << 31) + word));
}

/* Compute: writes a token's K and V to the sequence's blocks. `table` has the ids of the blocks. */
CONTENT_BOTH void content_write(const layer_view *view, const uint64_t *table, size_t token,
                                uint64_t seed) {
    for (unsigned part = 0; part < 2; part++) {
        uint64_t *words =
            content_at(view, table[token / view->block_tokens], part, token % view->block_tokens);
        for (size_t w = 0; w < view->words; w++)
            words[w] = content_word(seed, view->layer, part, w);
    }
}

/* Attention: the checksum of block number `block` of a sequence of `tokens` tokens. */
CONTENT_BOTH uint64_t content_sum(const layer_view *view, const uint64_t *table, size_t block,
                                  size_t tokens) {
    uint64_t sum = 0;
    for (size_t t = 0, token = block * view->block_tokens; t < view->block_tokens && token < tokens;
         t++, token++) {
        for (unsigned part = 0; part < 2; part++)
            for (size_t w = 0; w < view->words; w++)
                sum += content_term(content_at(view, table[block], part, t)[w], token, part, w);
    }
    return sum;
}

/* The contribution of a token with this seed to its block's checksum, in one layer. */
CONTENT_BOTH uint64_t content_expected(uint64_t seed, uint32_t layer, size_t token, size_t words) {
    uint64_t sum = 0;
    for (unsigned part = 0; part < 2; part++)
        for (size_t w = 0; w < words; w++)
            sum += content_term(content_word(seed, layer, part, w), token, part, w);
    return sum;
}

#endif
