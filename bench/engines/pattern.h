/* Contents that can be checked: the bytes of each piece of a block follow from its seed. */
#ifndef KVF_BENCH_PATTERN_H
#define KVF_BENCH_PATTERN_H

#include "base/splitmix.h"

#include <stdbool.h>

void pattern_fill(void *bytes, size_t count, uint64_t seed);

/* Whether all bytes are those that pattern_fill writes for this seed. */
bool pattern_matches(const void *bytes, size_t count, uint64_t seed);

#endif
