/* What every part of the tool uses: error exits, memory, random numbers. */
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

/* Ends the program with the error's text unless `status` is KVF_OK. `doing` names the action. */
void must(kvf_status status, const kvf_error *error, const char *doing);

/* Resizes `block` (NULL: a new one) to `count` elements of `size` bytes. Never returns NULL, not
 * even for a count of 0. Ends the program when memory runs out. */
void *must_grow(void *block, size_t count, size_t size);

/* The seed of generated ids and contents: equal runs do equal work. */
enum { SEED = 1 };

/* The number of CPUs that the calling thread may run on, capped at `most`. Counted as the library
 * counts them for its own threads. */
unsigned usable_cpus(unsigned most);

/* Looks up a function of a library. `function` points to a function pointer, which is set to NULL
 * when the library lacks the function; then returns false. */
bool find_function(void *library, const char *name, void *function);

/* splitmix64, the generator based on mix64. */
static inline uint64_t random_next(uint64_t *state) {
    return mix64(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/* A number below `bound`, which must be above 0 and far below 2^64. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound) {
    return random_next(state) % bound;
}

/* Puts the values into random order. */
void shuffle(uint64_t *values, size_t count, uint64_t *state);

#endif
