/* What ranks tell each other besides what their group moves: they send numbers to rank 0, which
 * answers. Every rank keeps a TCP connection to rank 0. */
#ifndef KVF_BENCH_GATHER_H
#define KVF_BENCH_GATHER_H

#include "collective/ranks.h"

#include <stddef.h>

typedef struct gather gather;

/* What a rank says at a time: so little that a socket takes it at once. */
enum { GATHER_BYTES = 256 };

/* Returns when all ranks are there. This and all else ends the program when one is missing, has
 * died or stands still for longer than the timeout. */
gather *gather_open(const rank_self *self, int64_t timeout_us);
void gather_close(gather *gather);

/*
 * One round: every rank says `bytes`, GATHER_BYTES at most, of which rank 0 gets [ranks] in `all`,
 * by rank; then rank 0 gives all its answer.
 */
void gather_gather(gather *gather, const void *mine, void *all, size_t bytes);

/* `answer` is read on rank 0 and written on the others. */
void gather_answer(gather *gather, void *answer, size_t bytes);

#endif
