/* Contents that can be checked: every piece of every block is a stream of its own seed. */
#ifndef KVF_BENCH_PATTERN_H
#define KVF_BENCH_PATTERN_H

#include "base/splitmix.h"

#include <stdbool.h>

void pattern_fill(void *bytes, size_t count, uint64_t seed);

/* Whether every byte is that of pattern_fill with this seed. */
bool pattern_matches(const void *bytes, size_t count, uint64_t seed);

#endif
