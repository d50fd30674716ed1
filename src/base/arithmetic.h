/* Arithmetic on sizes, which have 64 bits. */
#ifndef KVF_ARITHMETIC_H
#define KVF_ARITHMETIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* false: it overflows. */
static inline bool kvf__add(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool kvf__mul(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

static inline uint64_t kvf__min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t kvf__max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

#endif
