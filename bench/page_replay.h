/* What a replay came to: hits, and what was moved for them. */
#ifndef KVF_BENCH_PAGE_REPLAY_H
#define KVF_BENCH_PAGE_REPLAY_H

#include "page_results.h"

#include <stdio.h>

void put_replay(FILE *out, const results *results);

#endif
