/* Pseudo-random numbers that CPU and GPU compute alike. */
#ifndef KVF_BENCH_SPLITMIX_H
#define KVF_BENCH_SPLITMIX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define MIX_BOTH __host__ __device__
#else
#define MIX_BOTH
#endif

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
MIX_BOTH static inline uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Word i of a pattern, little-endian in memory. As fast as memory; no two words of one seed are
 * equal. */
MIX_BOTH static inline uint64_t pattern_word(uint64_t seed, uint64_t i) {
    return seed + i * UINT64_C(0x9e3779b97f4a7c15);
}

/* The seed of the index'th piece of a block. */
MIX_BOTH static inline uint64_t pattern_piece_seed(uint64_t seed, uint64_t index) {
    return mix64(seed + index);
}

/* A bfloat16 (the upper half of a float) from random bits, uniform between -1 and 1. */
static inline uint16_t mix_bf16(uint64_t random) {
    float number = (float)((int32_t)(random >> 40) - (1 << 23)) / (float)(1 << 23);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* Poison for destinations. A pattern holds it only by chance. */
#define PATTERN_POISON 0xa5

#endif
