/* Messages between ranks, apart from the group: every rank sends to rank 0, which answers all.
 * Every rank keeps a TCP connection to rank 0. */
#ifndef KVF_BENCH_GATHER_H
#define KVF_BENCH_GATHER_H

#include "collective/ranks.h"

#include <stddef.h>

typedef struct gather gather;

/* The largest message: a socket takes it at once. */
enum { GATHER_MAX_BYTES = 256 };

/* Returns when all ranks are connected. All functions here end the program when a rank is missing,
 * has died or does not answer within the timeout. */
gather *gather_open(const rank_self *self, int64_t timeout_us);
void gather_close(gather *gather);

/* First half of a round: every rank sends `bytes`, at most GATHER_MAX_BYTES, and rank 0 gets them
 * in `all`, [ranks]. */
void gather_collect(gather *gather, const void *mine, void *all, size_t bytes);

/* Second half: rank 0 sends `answer`, the others receive it. */
void gather_broadcast(gather *gather, void *answer, size_t bytes);

#endif
