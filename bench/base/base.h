/* What every part of the tool needs: ending with a message, memory or the end, random numbers. */
#ifndef KVF_BENCH_BASE_H
#define KVF_BENCH_BASE_H

#include "base/splitmix.h"

#include <kvferry/kvferry.h>

#include <stdbool.h>

/* Exit codes, besides 0. */
enum {
    EXIT_CHECK = 1, /* a check, or the machine, failed */
    EXIT_USAGE = 2, /* bad usage or bad input */
};

/* Prints "kvferry: ..." and ends the program. */
_Noreturn void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Goes on when `status` is KVF_OK; else ends the program with the error's text. */
void must(kvf_status status, const kvf_error *error, const char *doing);

/* An array of `count` elements, grown from `block` (NULL for none); ends the program for lack of
 * memory. Never NULL, not even for none. */
void *must_grow(void *block, size_t count, size_t size);

/* Ids and contents are generated from it, so that equal runs do equal work. */
enum { SEED = 1 };

/* How many CPUs the calling thread may run on, at most `most`: as the library counts them for its
 * own threads. */
unsigned usable_cpus(unsigned most);

/* Makes `function`, a pointer to a function pointer, point to what a library has by that name; NULL
 * and false when it has nothing. */
bool find_function(void *library, const char *name, void *function);

/* splitmix64, the generator made of mix64. */
static inline uint64_t random_next(uint64_t *state) {
    return mix64(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/* Below `bound`, which is more than 0 and far below 2^64. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound) {
    return random_next(state) % bound;
}

/* Puts the elements into a random order. */
void shuffle(uint64_t *values, size_t count, uint64_t *state);

#endif
